"""Terms of an objective: what a student is asked to have in common with its teacher, or with the labels.

Each is a frozen dataclass over a function of :mod:`tabkd.neural.functions`. Losses over several pairs of layers are
summed over the pairs, as in the papers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from tabkd.neural.base import LayerTerm, StateTerm, Term, check_choice, check_number
from tabkd.neural.functions import (
    activation_boundary,
    attention_kl,
    attention_mse,
    check_same_shape,
    cross_entropy,
    hidden_cosine,
    hidden_mse,
    soft_kl,
    squared_error,
)
from tabkd.neural.maps import Layers
from tabkd.neural.outputs import Batch, Outputs, Shape
from tabkd.neural.relational_terms import Angles, Distances, Relations
from tabkd.targets import check_temperature

__all__ = [
    "ActivationBoundary",
    "Angles",
    "Attention",
    "Distances",
    "Embedding",
    "HardLabels",
    "Hidden",
    "Relations",
    "SoftLabels",
]


def _logits(outputs: Outputs) -> Tensor:
    assert outputs.logits is not None  # checked before every loss
    return outputs.logits


def _values_error(student: Tensor, values: Tensor, batch: Batch) -> Tensor:
    """Squared error of a regression of one output or several."""
    weight = None if batch.weight is None else batch.weight.repeat_interleave(student.shape[-1])
    return squared_error(student.flatten(), values.flatten(), weight)


@dataclass(frozen=True)
class SoftLabels(Term):
    """Divergence from the teacher's softened predictions, times the temperature squared.

    A model of one logit is a regression: there it is the squared difference, whatever the temperature.

    Parameters
    ----------
    temperature : float, default=1.0
    weight : float, default=1.0

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.outputs import Batch, Outputs
    >>> from tabkd.neural.terms import SoftLabels
    >>> student, teacher = Outputs(torch.zeros(2, 3)), Outputs(torch.eye(3)[:2])
    >>> SoftLabels(temperature=4.0)(student, teacher, Batch(), torch.nn.ModuleDict())
    tensor(0.1166)
    """

    temperature: float = 1.0
    weight: float = 1.0
    needs = frozenset({"logits"})
    unit = "rows"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature(self.temperature)

    def _loss(self, student: Outputs, teacher: Outputs, batch: Batch, projectors: nn.ModuleDict) -> Tensor:
        ours, theirs = _logits(student), _logits(teacher)
        if ours.shape[-1] == 1 or batch.of_values:
            return _values_error(ours, theirs, batch)
        return soft_kl(ours, theirs, self.temperature, batch.weight)


@dataclass(frozen=True)
class HardLabels(Term):
    """Cross-entropy on true labels, or on those that the teacher predicts.

    Rows without a label are left out. A model of one logit is a regression: there it is the squared error.

    Parameters
    ----------
    weight : float, default=1.0
    source : {"labels", "teacher"}, default="labels"

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.outputs import Batch, Outputs
    >>> from tabkd.neural.terms import HardLabels
    >>> batch = Batch(labels=torch.tensor([1, -100]))
    >>> HardLabels()(Outputs(torch.zeros(2, 2)), None, batch, torch.nn.ModuleDict())
    tensor(0.6931)
    """

    weight: float = 1.0
    source: Literal["labels", "teacher"] = "labels"
    needs = frozenset({"logits"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("source", self.source, ("labels", "teacher"))

    @property
    def teacher(self) -> bool:
        """Whether the teacher gives the labels."""
        return self.source == "teacher"

    @property
    def unit(self) -> str:  # type: ignore[override]
        """The teacher labels every row."""
        return "rows" if self.teacher else "labels"

    def _loss(self, student: Outputs, teacher: Outputs, batch: Batch, projectors: nn.ModuleDict) -> Tensor:
        ours = _logits(student)
        regression = ours.shape[-1] == 1 or batch.of_values
        labels = batch.labels
        if self.teacher:
            theirs = _logits(teacher)
            check_same_shape(ours, theirs)
            labels = theirs if regression else theirs.argmax(-1)
        if labels is None:
            raise ValueError('HardLabels needs labels, and the batch has none. Try HardLabels(source="teacher").')
        return _values_error(ours, labels, batch) if regression else cross_entropy(ours, labels, batch.weight)


@dataclass(frozen=True)
class Hidden(StateTerm):
    """Hidden states like the teacher's.

    Parameters
    ----------
    layers : str, callable or sequence of pairs of int, default="uniform"
        See :func:`~tabkd.neural.maps.layer_pairs`.
    loss : {"mse", "cosine"}, default="mse"
    project : {"auto", True, False}, default="auto"
        Whether a linear map, trained along, brings the student's states to the teacher's width. ``"auto"``: where
        widths differ. One map with a bias serves all layers, as in TinyBERT's code.
    weight : float, default=1.0

    Examples
    --------
    >>> from tabkd.neural.outputs import Shape
    >>> from tabkd.neural.terms import Hidden
    >>> Hidden("last", loss="cosine").projectors(Shape(2, 312, 12), Shape(6, 768, 12))
    ModuleDict(
      (linear): Linear(in_features=312, out_features=768, bias=True)
    )
    """

    layers: Layers = "uniform"
    loss: Literal["mse", "cosine"] = "mse"
    project: Literal["auto"] | bool = "auto"
    weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("loss", self.loss, ("mse", "cosine"))

    def _of_states(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return (hidden_mse if self.loss == "mse" else hidden_cosine)(student, teacher, batch.mask, batch.weight)


@dataclass(frozen=True)
class Embedding(StateTerm):
    """The embedding like the teacher's: mean squared difference of what the first encoder reads.

    Parameters
    ----------
    project : {"auto", True, False}, default="auto"
        As in :class:`Hidden`; the map is the embedding's own, as in TinyBERT's equations.
    weight : float, default=1.0

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.outputs import Batch, Outputs
    >>> from tabkd.neural.terms import Embedding
    >>> student, teacher = (Outputs(None, hidden_states=(torch.full((1, 2, 3), x),) * 2) for x in (0.0, 2.0))
    >>> Embedding()(student, teacher, Batch(), torch.nn.ModuleDict())
    tensor(4.)
    """

    project: Literal["auto"] | bool = "auto"
    weight: float = 1.0
    layers = ((0, 0),)

    def _of_states(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return hidden_mse(student, teacher, batch.mask, batch.weight)


@dataclass(frozen=True)
class ActivationBoundary(StateTerm):
    """Units on the side of zero where the teacher's are, past a margin.

    Units of the teacher within the margin keep even an identical student's loss above zero.

    Parameters
    ----------
    layers : str, callable or sequence of pairs of int, default="uniform"
        See :func:`~tabkd.neural.maps.layer_pairs`.
    margin : float, default=1.0
    project : {"auto", True, False}, default="auto"
        As in :class:`Hidden`.
    weight : float, default=1.0

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.outputs import Batch, Outputs
    >>> from tabkd.neural.terms import ActivationBoundary
    >>> student, teacher = (Outputs(None, hidden_states=(torch.full((1, 2, 3), x),) * 2) for x in (0.5, 2.0))
    >>> ActivationBoundary("last")(student, teacher, Batch(), torch.nn.ModuleDict())
    tensor(0.2500)
    """

    layers: Layers = "uniform"
    margin: float = 1.0
    project: Literal["auto"] | bool = "auto"
    weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("margin", self.margin)

    def _of_states(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return activation_boundary(student, teacher, batch.mask, self.margin, batch.weight)


@dataclass(frozen=True)
class Attention(LayerTerm):
    """Attention like the teacher's, which both models must give: ``attn_implementation="eager"``.

    Estimators switch both models to it in the stages that have this term, and attention's own dropout off: maps are
    told with it, and a student that is its teacher would not agree with itself.

    Parameters
    ----------
    layers : str, callable or sequence of pairs of int, default="uniform"
        See :func:`~tabkd.neural.maps.layer_pairs`.
    loss : {"kl", "mse"}, default="kl"
        Both on probabilities.
    heads : {"same", "auto"}, default="same"
        Where the numbers of heads differ, ``"same"`` refuses and ``"auto"`` compares the means over heads.
    weight : float, default=1.0

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.outputs import Batch, Outputs
    >>> from tabkd.neural.terms import Attention
    >>> student = Outputs(None, attentions=(torch.full((1, 4, 2, 2), 0.5),))
    >>> teacher = Outputs(None, attentions=(torch.eye(2).expand(1, 12, 2, 2),))
    >>> Attention("last", heads="auto")(student, teacher, Batch(), torch.nn.ModuleDict())
    tensor(0.6931)
    """

    layers: Layers = "uniform"
    loss: Literal["kl", "mse"] = "kl"
    heads: Literal["same", "auto"] = "same"
    weight: float = 1.0
    needs = frozenset({"attentions"})
    _lowest = 1

    @property
    def unit(self) -> str:  # type: ignore[override]
        """Divergences are means over queries, squares over pairs."""
        return "tokens" if self.loss == "kl" else "token_pairs"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("loss", self.loss, ("kl", "mse"))
        check_choice("heads", self.heads, ("same", "auto"))

    def projectors(self, student: Shape, teacher: Shape) -> nn.ModuleDict:
        """Check layers and heads; there is nothing to learn."""
        self._averaged(student.heads, teacher.heads)
        return super().projectors(student, teacher)

    def _averaged(self, ours: int, theirs: int) -> bool:
        if ours != theirs and self.heads == "same":
            raise ValueError(
                f"Attention compares head by head, got {ours} heads for the student and {theirs} for the teacher. "
                f'Try Attention(heads="auto"), which averages over heads, or Relations(), which needs none alike.'
            )
        return ours != theirs

    def _of_pair(
        self, student: Outputs, m: int, teacher: Outputs, n: int, batch: Batch, projectors: nn.ModuleDict
    ) -> Tensor:
        maps = student.attentions[m - 1], teacher.attentions[n - 1]
        if self._averaged(maps[0].shape[1], maps[1].shape[1]):
            maps = maps[0].mean(1, keepdim=True), maps[1].mean(1, keepdim=True)
        return (attention_kl if self.loss == "kl" else attention_mse)(*maps, batch.mask, batch.weight)

"""What all terms of an objective have in common: their contract and their checks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import inf
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tabkd.neural.maps import Layers, check_layers, layer_pairs
from tabkd.neural.outputs import Batch, Outputs, Shape

__all__ = ["LayerTerm", "StateTerm", "Term", "check_choice", "check_number"]

_RECORD = (
    "Use BERT, RoBERTa, XLM-R, ELECTRA, ALBERT, MPNet, DistilBERT or MobileBERT: others make them in one layer, or "
    "under other names."
)
#: How a model is made to give what a term needs.
_HINTS = {
    "logits": "Use a model with a head.",
    "next_sentence": "Use BERT or MobileBERT, which have a head for it.",
    "hidden_states": "Call it with output_hidden_states=True.",
    "attentions": 'Load it with attn_implementation="eager": other implementations give no maps.',
    "queries": _RECORD,
    "keys": _RECORD,
    "values": _RECORD,
}


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise unless ``value`` is one of ``choices``; 1 is not True."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.")


def check_number(name: str, value: Any) -> None:
    """Raise unless ``value`` is a finite number that is not negative."""
    if not (isinstance(value, Real) and 0 <= float(value) < inf):
        raise ValueError(f"{name} must be a finite number >= 0, got {value!r}. Try 1.0.")


class Term(ABC):
    """One summand of an objective: terms are frozen dataclasses.

    Attributes
    ----------
    weight : float
        What the caller multiplies the loss by; 0 or more.
    needs : frozenset of str
        Fields of :class:`~tabkd.neural.outputs.Outputs` that it reads, of both sides.
    teacher : bool
        Whether it needs a teacher; if not, ``needs`` speaks of the student alone.
    unit : {"rows", "labels", "pairs", "tokens", "token_pairs", "batches"}
        What the loss is a mean over: by how many of them a batch has, its loss counts among those of one step.
    """

    weight: float
    needs: frozenset[str] = frozenset()
    unit: str = "batches"

    def __post_init__(self) -> None:
        check_number("weight", self.weight)

    @property
    def teacher(self) -> bool:
        """Whether it needs a teacher."""
        return True

    def projectors(self, student: Shape, teacher: Shape) -> nn.ModuleDict:
        """Make the learned maps of this term, often none.

        Parameters
        ----------
        student, teacher : Shape

        Returns
        -------
        torch.nn.ModuleDict

        Raises
        ------
        ValueError
            If the term cannot compare encoders of these shapes.
        """
        return nn.ModuleDict()

    def __call__(self, student: Outputs, teacher: Outputs | None, batch: Batch, projectors: nn.ModuleDict) -> Tensor:
        """Loss of a batch, a scalar, not multiplied by ``weight``."""
        self._check("student", student, batch.mask)
        if not self.teacher:
            return self._loss(student, student, batch, projectors)
        if teacher is None:
            raise ValueError(f"{type(self).__name__} compares with a teacher, got None. Give its outputs.")
        self._check("teacher", teacher, batch.mask)
        return self._loss(student, teacher, batch, projectors)

    def _check(self, side: str, outputs: Outputs, mask: Tensor | None) -> None:
        for name in sorted(self.needs):
            found = getattr(outputs, name)
            if found is None or (isinstance(found, tuple) and (not found or any(entry is None for entry in found))):
                raise ValueError(f"{type(self).__name__} needs {name}, and the {side} gives none. {_HINTS[name]}")
            for entry in found if isinstance(found, tuple) else ():
                if mask is not None and not _by_token(entry, mask):
                    raise ValueError(
                        f"{type(self).__name__} compares token by token, and the {side}'s {name} have the shape "
                        f"{tuple(entry.shape)} for {len(mask)} rows of {mask.shape[1]} tokens. Use a model that keeps "
                        "all tokens in their places, as BERT does, or learn from its answers alone (SoftLabels)."
                    )

    @abstractmethod
    def _loss(self, student: Outputs, teacher: Outputs, batch: Batch, projectors: nn.ModuleDict) -> Tensor:
        """Loss of outputs that were checked; ``teacher`` is the student where none is needed."""


def _by_token(entry: Tensor, mask: Tensor) -> bool:
    """Whether states are of shape (batch, length, width), or maps of shape (batch, heads, length, length)."""
    lengths = entry.shape[2:] if entry.ndim == 4 else entry.shape[1:2]
    return len(entry) == len(mask) and {*lengths} == {mask.shape[1]}


class LayerTerm(Term):
    """A term on pairs of layers: a loss for each, summed as in the papers."""

    layers: Layers
    #: 1 where the embedding has nothing to compare.
    _lowest = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layers(self.layers)

    def projectors(self, student: Shape, teacher: Shape) -> nn.ModuleDict:
        """Check the layers; there is nothing to learn."""
        self._pairs(student.layers, teacher.layers)
        return nn.ModuleDict()

    def _pairs(self, n_student: int, n_teacher: int) -> list[tuple[int, int]]:
        return layer_pairs(self.layers, n_student, n_teacher, lowest=self._lowest)

    def _loss(self, student: Outputs, teacher: Outputs, batch: Batch, projectors: nn.ModuleDict) -> Tensor:
        pairs = self._pairs(student.n_layers, teacher.n_layers)
        return torch.stack([self._of_pair(student, m, teacher, n, batch, projectors) for m, n in pairs]).sum()

    @abstractmethod
    def _of_pair(
        self, student: Outputs, m: int, teacher: Outputs, n: int, batch: Batch, projectors: nn.ModuleDict
    ) -> Tensor:
        """Loss of the student's layer m and the teacher's layer n."""


class StateTerm(LayerTerm):
    """A term on hidden states, with a projector where widths differ."""

    needs = frozenset({"hidden_states"})
    unit = "tokens"
    project: Literal["auto"] | bool

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("project", self.project, ("auto", True, False))

    def projectors(self, student: Shape, teacher: Shape) -> nn.ModuleDict:
        """Check the layers, and make the projector that serves all of them, if there is to be one."""
        super().projectors(student, teacher)
        same = student.width == teacher.width
        if self.project is False and not same:
            raise ValueError(
                f"widths must be equal with project=False, got {student.width} for the student and {teacher.width} "
                f'for the teacher. Try project="auto".'
            )
        if self.project is True or not same:
            return nn.ModuleDict({"linear": nn.Linear(student.width, teacher.width)})
        return nn.ModuleDict()

    def _of_pair(
        self, student: Outputs, m: int, teacher: Outputs, n: int, batch: Batch, projectors: nn.ModuleDict
    ) -> Tensor:
        ours = student.hidden_states[m]
        if "linear" in projectors:
            ours = projectors["linear"](ours)
        return self._of_states(ours, teacher.hidden_states[n], batch)

    @abstractmethod
    def _of_states(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        """Loss of states of one width."""

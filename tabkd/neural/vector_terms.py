"""Terms on vectors, one per row, such as embeddings of texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tabkd.neural.base import Term, check_choice
from tabkd.neural.functions import check_same_shape, masked_mean
from tabkd.neural.outputs import Batch, Outputs

__all__ = ["Similarities", "Vectors"]


@dataclass(frozen=True)
class Vectors(Term):
    """Vectors like the teacher's, by squared error or by direction.

    Parameters
    ----------
    loss : {"mse", "cosine"}, default="mse"
        Squared error, mean over components, as in Reimers and Gurevych 2020; or one minus the cosine.
    weight : float, default=1.0

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.outputs import Batch, Outputs
    >>> from tabkd.neural.vector_terms import Vectors
    >>> student, teacher = Outputs(torch.tensor([[2.0, 0.0]])), Outputs(torch.tensor([[1.0, 0.0]]))
    >>> [float(Vectors(loss)(student, teacher, Batch(), torch.nn.ModuleDict())) for loss in ("mse", "cosine")]
    [0.5, 0.0]

    References
    ----------
    Reimers and Gurevych, "Making Monolingual Sentence Embeddings Multilingual using Knowledge Distillation", 2020.
    """

    loss: Literal["mse", "cosine"] = "mse"
    weight: float = 1.0
    needs = frozenset({"logits"})
    unit = "rows"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("loss", self.loss, ("mse", "cosine"))

    def _loss(self, student: Outputs, teacher: Outputs, batch: Batch, projectors: nn.ModuleDict) -> Tensor:
        ours, theirs = _vectors(student, teacher)
        if self.loss == "mse":
            return masked_mean((ours - theirs).square().mean(-1), None, batch.weight)
        return masked_mean(1 - F.cosine_similarity(ours, theirs, dim=-1), None, batch.weight)


@dataclass(frozen=True)
class Similarities(Term):
    """Cosines between the rows of a batch like the teacher's, by squared error; widths may differ.

    Parameters
    ----------
    weight : float, default=1.0

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.outputs import Batch, Outputs
    >>> from tabkd.neural.vector_terms import Similarities
    >>> student, teacher = Outputs(torch.tensor([[1.0], [1.0]])), Outputs(torch.eye(2))
    >>> float(Similarities()(student, teacher, Batch(), torch.nn.ModuleDict()))
    1.0

    References
    ----------
    Tung and Mori, "Similarity-Preserving Knowledge Distillation", 2019.
    """

    weight: float = 1.0
    needs = frozenset({"logits"})

    def _loss(self, student: Outputs, teacher: Outputs, batch: Batch, projectors: nn.ModuleDict) -> Tensor:
        ours, theirs = (F.normalize(x.logits, dim=-1) for x in (student, teacher))  # type: ignore[arg-type]
        different = (ours @ ours.T - theirs @ theirs.T).square()
        return masked_mean(different, torch.ones_like(different, dtype=torch.bool).triu(1))


def _vectors(student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
    ours, theirs = student.logits, teacher.logits
    assert ours is not None and theirs is not None  # checked before every loss
    check_same_shape(ours, theirs)
    return ours, theirs

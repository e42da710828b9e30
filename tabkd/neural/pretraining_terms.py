"""Terms of a training on raw text: tokens that were masked, and sentences that follow each other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tabkd.neural.base import Term
from tabkd.neural.functions import cross_entropy
from tabkd.neural.outputs import Batch, Outputs

__all__ = ["MLM", "NSP"]


@dataclass(frozen=True)
class MLM(Term):
    """Cross-entropy on the tokens that were masked.

    Beside it :class:`~tabkd.neural.SoftLabels` compares with what the teacher says of the same tokens.

    Parameters
    ----------
    weight : float, default=1.0
    probability : float, default=0.15
        Share of a row's tokens that are to be predicted: 80% of them masked, 10% replaced, 10% as they were.

    References
    ----------
    Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural import MLM
    >>> from tabkd.neural.outputs import Batch, Outputs
    >>> two_of_four_words = Batch(labels=torch.tensor([1, 3]))
    >>> MLM()(Outputs(torch.zeros(2, 4)), None, two_of_four_words, torch.nn.ModuleDict())
    tensor(1.3863)
    """

    weight: float = 1.0
    probability: float = 0.15
    needs = frozenset({"logits"})
    unit = "labels"
    teacher = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.probability < 1:
            raise ValueError(f"probability must be between 0 and 1, got {self.probability}. Try 0.15.")

    def _loss(self, student: Outputs, teacher: Outputs, batch: Batch, projectors: nn.ModuleDict) -> Tensor:
        assert student.logits is not None and batch.labels is not None  # the corpus gives them
        return cross_entropy(student.logits, batch.labels)


@dataclass(frozen=True)
class NSP(Term):
    """Cross-entropy on whether the second text of a row follows the first; rows are pairs of lines then.

    For models with a head for it: BERT and MobileBERT.

    Parameters
    ----------
    weight : float, default=1.0

    References
    ----------
    Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural import NSP
    >>> from tabkd.neural.outputs import Batch, Outputs
    >>> batch = Batch(follows=torch.tensor([0, 1]))
    >>> NSP()(Outputs(None, next_sentence=torch.zeros(2, 2)), None, batch, torch.nn.ModuleDict())
    tensor(0.6931)
    """

    weight: float = 1.0
    needs = frozenset({"next_sentence"})
    unit = "pairs"
    teacher = False

    def _loss(self, student: Outputs, teacher: Outputs, batch: Batch, projectors: nn.ModuleDict) -> Tensor:
        assert student.next_sentence is not None and batch.follows is not None  # the corpus gives them
        return cross_entropy(student.next_sentence, batch.follows)

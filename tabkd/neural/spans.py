"""Long contexts as windows, where an answer stands in them, and the best span of all."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tabkd.neural.base import Term
from tabkd.neural.functions import cross_entropy, soft_kl
from tabkd.neural.loading import takes_types
from tabkd.neural.outputs import Batch, Outputs
from tabkd.neural.squad import Question
from tabkd.targets import check_temperature

__all__ = ["NEVER", "SoftSpans", "SpanLabels", "SpanModel", "Window", "behind_marks", "best_span", "targets", "windows"]

#: The logit of what cannot be: a probability of 0 that stays finite in half precision.
NEVER = -1e4


@dataclass(frozen=True)
class Window:
    """A part of a question's context, as tokens.

    Attributes
    ----------
    question : int
        Whose it is.
    inputs : dict of lists
    spans : ndarray of shape (length, 2)
        First character of each token in the context, and the one behind it; -1 for tokens of no context.
    """

    question: int
    inputs: dict[str, list[int]]
    spans: np.ndarray


def windows(tokenizer: Any, questions: Sequence[Question], max_length: int, stride: int) -> list[Window]:
    """Questions with their contexts as tokens; long contexts as several windows that overlap.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        A fast one.
    questions : sequence of Question
    max_length : int
        Tokens of a window, the question's included.
    stride : int
        Tokens that two neighbours share.

    Returns
    -------
    list of Window

    Raises
    ------
    ValueError
        If a question leaves no place for its context, or ``stride`` is negative.
    """
    if stride < 0:
        raise ValueError(f"stride must be 0 or more, got {stride}. Try 128.")
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True) - stride
    asked = tokenizer([one.question for one in questions], add_special_tokens=False)["input_ids"]
    for one, ids in zip(questions, asked, strict=True):
        if len(ids) >= room:
            raise ValueError(
                f"Question {one.id!r} has {len(ids)} tokens, which leaves no place for its context with "
                f"max_length={max_length} and stride={stride}. Raise max_length, or lower stride."
            )
    found = tokenizer(
        [one.question for one in questions], [one.context for one in questions], truncation="only_second",
        max_length=max_length, stride=stride, return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    owners, offsets = found.pop("overflow_to_sample_mapping"), found.pop("offset_mapping")
    kept = []
    for i, owner in enumerate(owners):
        spans = np.array(offsets[i])
        spans[[part != 1 for part in found.sequence_ids(i)]] = -1
        kept.append(Window(owner, {name: values[i] for name, values in found.items()}, spans))
    return kept


def targets(cut: Sequence[Window], questions: Sequence[Question]) -> np.ndarray:
    """First and last token of the answer in every window; the first token of all where it does not hold all of it.

    Parameters
    ----------
    cut : sequence of Window
        All that the questions have.
    questions : sequence of Question
        The first of several answers is learnt.

    Returns
    -------
    ndarray of int of shape (n_windows, 2)

    Raises
    ------
    ValueError
        If no window holds all of an answer.
    """
    places, edges = np.zeros((len(cut), 2), dtype=np.int64), np.full((len(cut), 2), np.nan)
    for row, window in enumerate(cut):
        text, start = questions[window.question].answers[0]
        held = np.flatnonzero((window.spans[:, 1] > start) & (window.spans[:, 0] < start + len(text)))
        if len(held):
            places[row], edges[row] = held[[0, -1]], (window.spans[held[0], 0], window.spans[held[-1], 1])
    # From the answer's first token to its last, and not its characters: a tokenizer drops blanks, and more.
    owners, whole = np.array([window.question for window in cut]), np.full((len(questions), 2), np.nan)
    np.fmin.at(whole[:, 0], owners, edges[:, 0])
    np.fmax.at(whole[:, 1], owners, edges[:, 1])
    complete = (edges == whole[owners]).all(axis=1)
    lost = np.setdiff1d(np.arange(len(questions)), owners[complete])
    if len(lost):
        raise ValueError(
            f"No window holds all of the answer to {len(lost)} questions, {questions[lost[0]].id!r} first. Raise "
            "max_length and stride, or leave them out."
        )
    places[~complete] = 0
    return places


def best_span(window: Window, logits: np.ndarray, longest: int) -> tuple[float, int, int]:
    """The likeliest answer in a window.

    Parameters
    ----------
    window : Window
    logits : ndarray of shape (2, length)
        Of starts and ends.
    longest : int
        Tokens of an answer.

    Returns
    -------
    tuple of float, int, int
        Sum of two logits, and the first and the last character's successor in the context.
    """
    inside = np.flatnonzero(window.spans[:, 0] >= 0)
    if not len(inside):
        return -np.inf, 0, 0
    starts, ends = logits[:, inside]
    sums = starts[:, None] + ends
    length = np.subtract.outer(np.arange(len(inside)), np.arange(len(inside))).T
    sums[(length < 0) | (length >= longest)] = -np.inf
    first, last = np.unravel_index(sums.argmax(), sums.shape)
    return float(sums[first, last]), int(window.spans[inside[first], 0]), int(window.spans[inside[last], 1])


def behind_marks(context: str, end: int) -> int:
    """The end of an answer, behind the combining characters of its last letter: tokenizers may strip them.

    Parameters
    ----------
    context : str
    end : int

    Returns
    -------
    int
    """
    while end < len(context) and unicodedata.category(context[end]).startswith("M"):
        end += 1
    return end


class SpanModel(nn.Module):
    """A question answering transformer that gives starts and ends as one tensor, padding left out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits of shape (batch, 2, length)."""
        types = {}
        if token_type_ids is not None and takes_types(self.model):
            types["token_type_ids"] = token_type_ids
        answer = self.model(input_ids=input_ids, attention_mask=attention_mask, **types)
        both = torch.stack([answer.start_logits, answer.end_logits], dim=1)
        return both.masked_fill(~attention_mask.bool()[:, None], NEVER)


@dataclass(frozen=True)
class SpanLabels(Term):
    """Cross-entropy of the start and of the end of the answer, their mean."""

    weight: float = 1.0
    needs = frozenset({"logits"})
    unit = "rows"

    @property
    def teacher(self) -> bool:
        """There is none."""
        return False

    def _loss(self, student: Outputs, teacher: Outputs, batch: Batch, projectors: nn.ModuleDict) -> Tensor:
        assert student.logits is not None and batch.labels is not None  # every window has a target
        return cross_entropy(student.logits.flatten(0, 1), batch.labels.flatten())


@dataclass(frozen=True)
class SoftSpans(Term):
    """Divergence from the teacher's softened starts and ends over valid tokens, times the temperature squared."""

    temperature: float = 1.0
    weight: float = 1.0
    needs = frozenset({"logits"})
    unit = "rows"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_temperature(self.temperature)

    def _loss(self, student: Outputs, teacher: Outputs, batch: Batch, projectors: nn.ModuleDict) -> Tensor:
        assert student.logits is not None and teacher.logits is not None  # checked before every loss
        theirs = teacher.logits[..., : student.logits.shape[-1]]  # kept as long as the longest window of all
        return soft_kl(student.logits.flatten(0, 1), theirs.flatten(0, 1), self.temperature)

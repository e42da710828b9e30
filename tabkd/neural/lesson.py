"""Encoded rows with what is to be learnt from them, and what a network says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tabkd.neural.agreement import check_positions
from tabkd.neural.distiller import outputs_of
from tabkd.neural.networks import evaluating

__all__ = ["Lesson", "collator", "predicted"]


@dataclass
class Lesson(torch.utils.data.Dataset):
    """Encoded rows with what is to be learnt from them.

    Attributes
    ----------
    encoded : sequence
        From the reader.
    labels : ndarray of shape (n_rows,) or None
        Class codes, -100 where there is none; values, NaN where there is none.
    log_soft : array-like of shape (n_rows, n_classes) or None
        Logarithms of soft targets; may lie on disk.
    weight : ndarray of shape (n_rows,) or None
    """

    encoded: Sequence[Any]
    labels: np.ndarray | None = None
    log_soft: Any = None
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, row: int) -> dict[str, Any]:
        known = {"labels": self.labels, "log_soft": self.log_soft, "weight": self.weight}
        return {"inputs": self.encoded[row]} | {name: v[row] for name, v in known.items() if v is not None}

    @property
    def content(self) -> Any:
        """All that a fingerprint is to know."""
        return vars(self)

    @property
    def lengths(self) -> list[int]:
        """Tokens of every row."""
        return [_length(row) for row in self.encoded]

    @property
    def labelled(self) -> np.ndarray:
        """Which rows have a label."""
        if self.labels is None:
            return np.zeros(len(self), dtype=bool)
        known = ~np.isnan(self.labels) if self.labels.dtype.kind == "f" else self.labels >= 0
        return np.asarray(known.reshape(len(self), -1).all(axis=1))

    def counting(self) -> Lesson:
        """The rows of some weight."""
        return self if self.weight is None or self.weight.all() else self.take(np.flatnonzero(self.weight))

    def take(self, rows: np.ndarray) -> Lesson:
        """Some of the rows."""
        known = [None if values is None else values[rows] for values in (self.labels, self.log_soft, self.weight)]
        return Lesson([self.encoded[row] for row in rows], *known)


def collator(collated: Callable[[Sequence[Any]], Any]) -> Callable[[Sequence[dict[str, Any]]], dict[str, Any]]:
    """Rows of a lesson as one batch."""

    def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = {"inputs": collated([row["inputs"] for row in rows])}
        for name in rows[0].keys() - {"inputs"}:
            values = np.stack([row[name] for row in rows])
            batch[name] = torch.as_tensor(values if values.dtype.kind == "i" else values.astype(np.float32))
        return batch

    return collate


def _length(row: Any) -> int:
    if isinstance(row, tuple):  # of a pair of texts
        return sum(map(_length, row))
    return len(row["input_ids"]) if isinstance(row, Mapping) else 1


def predicted(
    model: nn.Module, lesson: Lesson, reader: Any, batch_size: int, device: str
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Rows and their logits, batch after batch, rows of like length together."""
    order = np.argsort(lesson.lengths, kind="stable")
    check_positions(model, max(lesson.lengths, default=0))
    with evaluating(model):
        model.to(device)
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                inputs = reader.collated([lesson.encoded[row] for row in rows])
                yield rows, outputs_of(model, _on(inputs, device)).logits.float().cpu()  # type: ignore[union-attr]


def _on(inputs: Any, device: str) -> Any:
    if isinstance(inputs, Mapping):
        return {name: value.to(device) for name, value in inputs.items()}
    return inputs.to(device)

"""Texts that are read one by one, also where they come in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tabkd.neural.reading import TextReader

__all__ = ["SingleReader", "check_pairs", "check_texts"]


class SingleReader(TextReader):
    """Texts by themselves: those of a pair become two rows of tokens."""

    def collated_pairs(self, encoded: Sequence[tuple[dict[str, Any], ...]]) -> dict[str, Tensor]:
        """One batch, of shape (pairs, 2, length)."""
        batch = self.collated([text for pair in encoded for text in pair])
        return {name: values.unflatten(0, (-1, 2)) for name, values in batch.items()}


def check_texts(rows: list[Any]) -> None:
    """Raise unless every row is one text."""
    for number, row in enumerate(rows):
        if not isinstance(row, str):
            raise ValueError(f"Row {number} holds {len(row)} texts; vectors are made of texts one by one. Give a list.")


def check_pairs(rows: list[Any]) -> None:
    """Raise unless every row is two texts."""
    for number, row in enumerate(rows):
        if not isinstance(row, tuple) or len(row) != 2:
            raise ValueError(f"Row {number} holds one text where a pair should be. Give each row two texts.")

"""What networks read of a table: numbers without gaps and of one scale, and categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tabkd.column import FIRST_CATEGORY, MISSING, Column
from tabkd.columns import ColumnEncoder

__all__ = ["CLIP", "TableReader"]

#: Numbers further from the mean than that many standard deviations are read as if they were there: a network answers
#: anything at all to what lies far outside of what it saw.
CLIP = 8.0
#: A column of texts of which most are seen once is no category.
_FEW_TEXTS = 20


@dataclass(frozen=True)
class TableReader:
    """How a table becomes one float32 matrix, as plain data.

    Its columns are the numbers, a 0/1 column for each of those with gaps, and the categories: as 0/1 columns (one for
    missing and one per known category; all zeros are an unknown one), or as codes.

    Attributes
    ----------
    encoder : ColumnEncoder
        Numbers as float32, categories as codes: 0 unknown, 1 missing, 2 and up.
    fill, shift, scale : ndarray of float32 of shape (n_numbers,)
        Median in place of a gap; then ``(number - shift) * scale``.
    gaps : tuple of int
        Which of the numbers had gaps.
    onehot : bool
    """

    encoder: ColumnEncoder
    fill: np.ndarray
    shift: np.ndarray
    scale: np.ndarray
    gaps: tuple[int, ...]
    onehot: bool

    @classmethod
    def fit(cls, X: Any, positions: Sequence[int], *, onehot: bool) -> TableReader:
        """Learn kinds, categories and scales.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n_samples, n_features)
            As :func:`tabkd.frames.as_table` gives it.
        positions : sequence of int
            Of the columns to read.
        onehot : bool

        Returns
        -------
        TableReader

        Raises
        ------
        ValueError
            If a column holds free text.
        """
        encoder = ColumnEncoder.fit(X, positions)
        for column in encoder.columns:
            _check_category(column, len(X))
        numbers = _split(encoder, X)[0].astype(np.float64)
        known = np.where(np.isfinite(numbers), numbers, np.nan)
        known[:, np.isnan(known).all(axis=0)] = 0.0
        shift, spread = np.nanmean(known, axis=0).astype(np.float32), np.nanstd(known, axis=0)
        with np.errstate(divide="ignore", over="ignore"):
            scale = (1 / spread).astype(np.float32)
        # Where all values are one, rounding may leave some spread; where they are huge, none of the scale.
        usable = np.isfinite(scale) & (scale > 0) & (spread > 1e-7 * np.abs(shift))
        return cls(
            encoder,
            fill=np.nanmedian(known, axis=0).astype(np.float32),
            shift=shift,
            scale=np.where(usable, scale, np.float32(1)),
            gaps=tuple(np.flatnonzero(np.isnan(numbers).any(axis=0)).tolist()),
            onehot=onehot,
        )

    @property
    def categories(self) -> list[Column]:
        """The columns of categories."""
        return [column for column in self.encoder.columns if column.kind == "category"]

    @property
    def sizes(self) -> list[int]:
        """Number of codes of each category."""
        return [FIRST_CATEGORY + len(column.categories) for column in self.categories]

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        per_category = sum(size - 1 for size in self.sizes) if self.onehot else len(self.sizes)
        return len(self.fill) + len(self.gaps) + per_category

    def transform(self, X: Any) -> np.ndarray:
        """The matrix of shape (n_samples, width)."""
        numbers, codes = _split(self.encoder, X)
        missing = np.isnan(numbers)
        with np.errstate(over="ignore"):
            scaled = (np.where(missing, self.fill, numbers) - self.shift) * self.scale
        if self.onehot:
            hot = [codes[:, [i]] == np.arange(MISSING, size) for i, size in enumerate(self.sizes)]
            codes = np.hstack([codes[:, :0], *hot]).astype(np.float32)
        return np.hstack([scaled.clip(-CLIP, CLIP), missing[:, self.gaps].astype(np.float32), codes])


def _split(encoder: ColumnEncoder, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, and codes of categories."""
    encoded = np.asarray(encoder.transform(X))
    coded = np.array([column.kind == "category" for column in encoder.columns])
    return encoded[:, ~coded], encoded[:, coded]


def _check_category(column: Column, n_rows: int) -> None:
    n_texts = len(column.categories)
    if n_texts > _FEW_TEXTS and n_texts > n_rows / 2:
        raise ValueError(
            f"Column {column.name!r} holds {n_texts} different values in {n_rows} rows, such as "
            f"{str(column.categories[0])[:40]!r}: free text or names, and no category. Leave it out, or make numbers "
            "of it before, with a TfidfVectorizer in a Pipeline for example."
        )

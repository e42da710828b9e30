"""Columns of a training and a test table, read alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tabkd.column import Column

__all__ = ["PairedColumn", "kind_of", "pair"]

_KINDS = {"number": "number", "integer": "number", "boolean": "number", "category": "text"}


@dataclass(frozen=True)
class PairedColumn:
    """One column of both tables, as numbers.

    Attributes
    ----------
    name : str
    train, test : ndarray of shape (n_samples,)
        Numbers, or codes of ``categories``; NaN where missing.
    categories : tuple of str or None
        What the codes stand for, sorted; None for a column of numbers.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    categories: tuple[str, ...] | None = None

    @property
    def kind(self) -> str:
        """``"number"`` or ``"text"``."""
        return "number" if self.categories is None else "text"

    def take(self, train_rows: np.ndarray, test_rows: np.ndarray) -> PairedColumn:
        """Some of its rows."""
        return replace(self, train=self.train[train_rows], test=self.test[test_rows])

    @property
    def both(self) -> np.ndarray:
        """The values of the training rows, then those of the test rows."""
        return np.concatenate([self.train, self.test])


def kind_of(values: pd.Series) -> str:
    """What a column holds.

    Parameters
    ----------
    values : Series

    Returns
    -------
    str
        ``"number"`` (booleans too), ``"text"`` (categories too), ``"date"``, ``"mixed"``, or ``"empty"``.

    Examples
    --------
    >>> kind_of(pd.Series(["12", "n/a"])), kind_of(pd.Series([12, None]))
    ('text', 'number')
    """
    if values.isna().all():
        return "empty"
    kind = Column.read_any(str(values.name), values).kind
    return _KINDS.get(kind) or ("date" if pd.api.types.is_datetime64_any_dtype(values.dtype) else "mixed")


def pair(name: str, train: pd.Series, test: pd.Series | None = None) -> PairedColumn:
    """Read a column of one kind.

    Parameters
    ----------
    name : str
    train : Series
    test : Series or None
        None if the test table has no such column.

    Returns
    -------
    PairedColumn
        Dates and mixed objects become text, so that every column can be compared.
    """
    if test is None:
        test = train.iloc[:0]
    if {kind_of(train), kind_of(test)} <= {"number", "empty"}:
        return PairedColumn(name, _numbers(train), _numbers(test))
    here, there = _texts(train), _texts(test)
    categories = sorted({*here.dropna().unique(), *there.dropna().unique()} - {""})
    return PairedColumn(name, _codes(here, categories), _codes(there, categories), tuple(categories))


def _numbers(values: pd.Series) -> np.ndarray:
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def _texts(values: pd.Series) -> pd.Series:
    return values.astype(object).map(str, na_action="ignore").astype(object)


def _codes(texts: pd.Series, categories: list[str]) -> np.ndarray:
    found = pd.Index(categories, dtype=object).get_indexer(pd.Index(texts, dtype=object))
    return np.where(found < 0, np.nan, found)

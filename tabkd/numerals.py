"""Cells that keep a column of numbers from being read as one."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

__all__ = ["almost_numbers", "missing_marks"]

#: What people write where there is no number, beside what pandas takes for missing.
_MARKS = {"", "?", "-", "--", ".", "na", "n.a.", "n/a", "nan", "none", "null"}
#: Decimal commas, separated thousands, a currency or a percent sign.
_WRITTEN_OTHERWISE = re.compile(r"\s*[€$£¥₩]?\s*(?=\S*\d)[+-]?(\d{1,3}([.,'\s]\d{3})+|\d*)([.,]\d+)?\s*[€$£¥₩%]?\s*")
#: Share of the cells from which a column is one of numbers.
_MOSTLY = 0.9
#: Up to so many different cells serve as categories as well.
_FEW = 20


def missing_marks(values: pd.Series) -> list[str]:
    """Cells that stand for missing values in a column of text.

    Parameters
    ----------
    values : Series

    Returns
    -------
    list of str

    Examples
    --------
    >>> missing_marks(pd.Series(["1.5", "-", " ", "n/b"]))
    ['-', ' ']
    """
    return [cell for cell in values.dropna().unique() if isinstance(cell, str) and cell.strip().lower() in _MARKS]


def almost_numbers(values: pd.Series) -> str | None:
    """What keeps a column of numbers from being read as one, or None if it holds no numbers, or nothing else.

    Parameters
    ----------
    values : Series

    Returns
    -------
    str or None

    Examples
    --------
    >>> almost_numbers(pd.Series([*map(str, range(99)), "n/b"]))
    "1 of 100 cannot be read as such, first 'n/b' in row 100"
    >>> almost_numbers(pd.Series([f"{i},5" for i in range(100)]))
    "100 of 100 cannot be read as such, first '0,5' in row 1"
    """
    if isinstance(values.dtype, pd.CategoricalDtype) or pd.api.types.is_numeric_dtype(values.dtype):
        return None
    counts = values.dropna().value_counts(sort=False)
    if len(counts) <= _FEW or not all(isinstance(cell, str) for cell in counts.index):
        return None
    cells = pd.Series(counts.index, dtype=object)
    plain = pd.to_numeric(cells, errors="coerce").notna().to_numpy()
    number = plain | cells.map(lambda cell: _WRITTEN_OTHERWISE.fullmatch(cell) is not None).to_numpy(dtype=bool)
    said = ~cells.isin(missing_marks(cells)).to_numpy()
    n_rows = counts.to_numpy()
    if plain.all() or number.sum() <= _FEW or n_rows[number].sum() < _MOSTLY * n_rows[said].sum():
        return None
    odd = values.isin(cells[~(plain if number.all() else number)]).to_numpy(dtype=bool)
    first = int(np.argmax(odd))
    return f"{odd.sum()} of {len(values)} cannot be read as such, first {values.iloc[first]!r} in row {first + 1}"

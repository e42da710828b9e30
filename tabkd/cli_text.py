"""What several commands read and write as text: lists of names, and tables on a screen."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

__all__ = ["aligned", "listed"]


def listed(values: list[str], known: Collection[str]) -> list[str]:
    """Names given as ``a,b,c`` or one by one; a name that holds a comma is taken whole where it is known.

    Parameters
    ----------
    values : list of str
    known : collection of str

    Returns
    -------
    list of str

    Examples
    --------
    >>> listed(["a,b", "x,y"], ["a", "b", "x,y"])
    ['a', 'b', 'x,y']
    """
    return [name for value in values for name in ([value] if value in known else value.split(","))]


def aligned(rows: list[list[str]], *, right: bool = False) -> list[str]:
    """Columns as wide as their widest cell on a screen, where Korean letters take two places.

    Parameters
    ----------
    rows : list of list of str
    right : bool
        All but the first to the right, as numbers are.

    Returns
    -------
    list of str
    """
    widths = [max(_width(row[c]) for row in rows) for c in range(len(rows[0]))]
    return ["  ".join(map(_padded, row, widths, [False] + [right] * (len(row) - 1))).rstrip() for row in rows]


def _padded(cell: str, width: int, right: bool) -> str:
    blank = " " * (width - _width(cell))
    return blank + cell if right else cell + blank


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)

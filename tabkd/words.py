"""Parts of sentences that many messages have."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["near", "several"]


def near(name: str, known: Iterable[Any]) -> str:
    """A sentence with the known names closest to a mistyped one, empty if none is close.

    Parameters
    ----------
    name : str
    known : iterable

    Returns
    -------
    str

    Examples
    --------
    >>> near("Y_LABLE", ["ID", "Y_LABEL"])
    " Did you mean 'Y_LABEL'?"
    """
    by_lower = {str(candidate).lower(): str(candidate) for candidate in known}
    close = [by_lower[match] for match in difflib.get_close_matches(str(name).lower(), by_lower, n=3)]
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def several(names: Sequence[Any], most: int = 12) -> str:
    """The first of some names, and how many more there are.

    Examples
    --------
    >>> several(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    more = len(names) - most
    return ", ".join(map(str, names[:most])) + (f" and {more} more" if more > 0 else "")

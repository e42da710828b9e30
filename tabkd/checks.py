"""Checks of parameters that several estimators share."""

from __future__ import annotations

from numbers import Integral
from typing import Any

__all__ = ["check_alpha", "check_whole"]


def check_whole(name: str, value: Any, least: int, usual: int) -> None:
    """Raise unless ``value`` is a whole number of at least ``least``.

    Parameters
    ----------
    name : str
    value : object
    least : int
    usual : int
        What the message tells to try.

    Raises
    ------
    ValueError
        If it is not; a boolean is no number here.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}. Try {usual}.")


def check_alpha(alpha: float, usual: float) -> None:
    """Raise unless the weight of the true labels is in [0, 1].

    Parameters
    ----------
    alpha : float
    usual : float
        What the message tells to try.

    Raises
    ------
    ValueError
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}. Try {usual}.")

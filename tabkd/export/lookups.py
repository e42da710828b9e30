"""Numbers that a model keeps for texts, and for texts together with answers to thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

import numpy as np

__all__ = ["Bit", "Lookup"]


class Bit(NamedTuple):
    """The question whether a column lies above a border, and where a missing value goes."""

    feature: int
    border: float
    missing_below: bool


@dataclass(frozen=True)
class Lookup:
    """A further column: a number for each combination of texts and of bits.

    Attributes
    ----------
    columns : tuple of int
        Indices among the columns of the encoder whose texts are looked up.
    texts : tuple of tuple of str
        Known texts of each.
    bits : tuple of Bit
        On the matrix that the trees read.
    numbers : tuple of float
        float32 values in C order: an axis per column, on which any other text comes last, then one of two per bit.
    """

    columns: tuple[int, ...]
    texts: tuple[tuple[str, ...], ...]
    bits: tuple[Bit, ...]
    numbers: tuple[float, ...]

    @property
    def strides(self) -> list[int]:
        """How far one step on each axis is apart in ``numbers``."""
        shape = self.shape
        return [prod(shape[axis + 1 :]) for axis in range(len(shape))]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis of ``numbers``."""
        return (*(len(known) + 1 for known in self.texts), *(2 for _ in self.bits))

    def moved(self, places: np.ndarray) -> Lookup:
        """The same on a matrix where the columns stand at ``places``."""
        bits = tuple(bit._replace(feature=int(places[bit.feature])) for bit in self.bits)
        return replace(self, columns=tuple(int(places[column]) for column in self.columns), bits=bits)

    def values(self, X: np.ndarray, texts: Mapping[int, np.ndarray]) -> np.ndarray:
        """Numbers of shape (n_samples,) for a matrix and the texts of the columns."""
        index = np.zeros(len(X), dtype=np.intp)
        axes = [_places(texts[column], known) for column, known in zip(self.columns, self.texts, strict=True)]
        for bit in self.bits:
            x = X[:, bit.feature]
            axes.append(np.where(np.isnan(x), not bit.missing_below, x > bit.border))
        for stride, axis in zip(self.strides, axes, strict=True):
            index += stride * axis
        return np.array(self.numbers)[index]


def _places(texts: np.ndarray, known: tuple[str, ...]) -> np.ndarray:
    places = {text: i for i, text in enumerate(known)}
    return np.array([places.get(text, len(known)) for text in texts], dtype=np.intp)

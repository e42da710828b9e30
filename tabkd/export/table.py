"""What a step of a pipeline reads, as tensors of a graph, beside the same as scikit-learn has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from tabkd.export.graph import Graph

__all__ = ["Part", "Table", "float_dtype", "joined"]


@dataclass(frozen=True)
class Part:
    """Columns of one type side by side.

    Attributes
    ----------
    value : str
        A tensor of shape (n_samples, width).
    width : int
    dtype : type
        ``numpy.float32``, ``numpy.float64`` or ``str``: enough to hold the numbers that scikit-learn has there,
        whatever type it holds them in. Missing text is ``""``.
    none : bool
        Whether missing text is None where scikit-learn has it, which tells it from NaN.
    """

    value: str
    width: int
    dtype: type
    none: bool = False


@dataclass(frozen=True)
class Table:
    """A table on its way through a pipeline.

    Attributes
    ----------
    graph : Graph
    parts : sequence of Part
    sample : DataFrame, ndarray or sparse array
        Some rows of it as scikit-learn has them: they tell the type that the next step computes in.
    """

    graph: Graph
    parts: Sequence[Part]
    sample: Any = None

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(part.width for part in self.parts)

    @property
    def dtypes(self) -> list[type]:
        """The type of each column."""
        return [part.dtype for part in self.parts for _ in range(part.width)]

    def numbers(self, dtype: type) -> str:
        """All columns as one matrix of numbers.

        Raises
        ------
        ValueError
            If there is text among them.
        """
        if str in self.dtypes:
            raise ValueError(
                "A step reads text as numbers, which cannot be exported. Encode text columns before, for example with "
                "OneHotEncoder."
            )
        graph = self.graph
        cast = [graph.as_type(part.value, part.dtype, dtype) for part in joined(graph, self.parts)]
        return graph.concat(cast)

    def select(self, positions: Iterable[int]) -> list[Part]:
        """Some of the columns, in the order of ``positions``."""
        places = [(part, place) for part in self.parts for place in range(part.width)]
        chosen = [places[position] for position in positions]
        parts = []
        for part, group in groupby(chosen, key=lambda pair: pair[0]):
            wanted = [place for _, place in group]
            whole = wanted == list(range(part.width))
            value = part.value if whole else self.graph.columns(part.value, wanted)
            parts.append(replace(part, value=value, width=len(wanted)))
        return parts


def joined(graph: Graph, parts: Iterable[Part]) -> list[Part]:
    """The same columns with neighbours of one type side by side in one tensor."""
    made = []
    for (dtype, none), group in groupby(parts, key=lambda part: (part.dtype, part.none)):
        alike = list(group)
        value, width = graph.concat([part.value for part in alike]), sum(part.width for part in alike)
        made.append(Part(value, width, dtype, none))
    return made


def float_dtype(sample: Any) -> type:
    """The type that scikit-learn's numeric transformers compute in where they get, or give, ``sample``."""
    dtypes = sample.dtypes.tolist() if hasattr(sample, "dtypes") else [sample.dtype]
    alike = all(isinstance(dtype, np.dtype) for dtype in dtypes) and np.result_type(*dtypes) == np.float32
    return np.float32 if alike else np.float64

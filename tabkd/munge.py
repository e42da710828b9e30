"""``Munge``: synthetic rows for a student, made of real rows and their neighbours.

*Distance.* Numbers are centred on their median, divided by their interquartile range (as a standard deviation, which
takes its place where the range is zero), and end at 3. A missing number stands at the median and counts one more
mismatch. Dates count by their order. Everything else is a category: two that differ are 1 apart, the 16 most frequent
of a column apart from each other, rarer ones together as one more. Beyond 64 columns, points are projected onto 128
random directions. Ties are broken at random.

*Neighbours.* Up to 5,000 rows the search is exact. A larger table is halved along its direction of greatest spread
until its parts are that small, and the neighbour is found within the part: time grows in proportion to the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors

from tabkd._compat import read_seed
from tabkd.checks import check_whole
from tabkd.frames import Table, as_table

__all__ = ["Munge", "n_to_make"]

_REACH = 3.0
_LEVELS = 16
_PLAIN_COLUMNS, _DIRECTIONS = 64, 128
_JITTER = np.float32(1e-5)
_EXACT_ROWS = 5_000
_POWER_STEPS = 8
_FEW_VALUES = 20


def n_to_make(ratio: Any, n_rows: int, n_samples: Any) -> int:
    """Rows to make: as many as asked for, or ``ratio`` times those there are."""
    if not (isinstance(ratio, Real) and 0 < float(ratio) < inf):
        raise ValueError(f"ratio must be a number > 0, got {ratio!r}. Try 4.0.")
    if n_samples is None:
        return max(1, round(float(ratio) * n_rows))
    check_whole("n_samples", n_samples, 1, 1000)
    return int(n_samples)


@dataclass(unsafe_hash=True)
class Munge(BaseEstimator):
    """Make synthetic rows: each is a real row that has exchanged some of its values with its nearest neighbour.

    They look like the table's rows, correlations included, and cost no labels: a teacher labels them, so that a small
    student sees more of what the teacher knows.

    Parameters
    ----------
    ratio : float
        Synthetic rows per real row, above 0.
    probability : float
        Chance of an exchange, of each value of a row, in (0, 1].
    variance : float or None
        A number that is exchanged is drawn around that of the neighbour, with a standard deviation of their difference
        divided by this: the greater, the closer. None takes the neighbour's as it is.

    Notes
    -----
    A value drawn is replaced by the nearest that the column has. So whole numbers stay whole, ranges and
    the usual decimals are kept, and no value is invented, but only rows.

    Numbers of few kinds (at most 20 distinct values, each seen twice or more on average), flags, texts, categories,
    dates and missing values are exchanged as they are.

    The paper walks through the table and changes both rows of a pair in place, so that its rows depend on those
    before them. Here every row of the result has one parent, all of them equally often, and one neighbour.

    References
    ----------
    Bucila, Caruana and Niculescu-Mizil, "Model compression", 2006.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from tabkd import Munge
    >>> X, _ = load_wine(return_X_y=True, as_frame=True)
    >>> more = Munge(ratio=2).sample(X, random_state=0)
    >>> more.shape
    (356, 13)
    >>> bool(more["alcohol"].isin(X["alcohol"]).all())
    True
    """

    ratio: float = 4.0
    probability: float = 0.5
    variance: float | None = 5.0

    def sample(self, X: Any, *, n_samples: int | None = None, random_state: Any = None) -> Table:
        """Draw synthetic rows.

        Parameters
        ----------
        X : table of shape (n_rows, n_features)
            pandas or polars frame, or array: two rows or more.
        n_samples : int or None
            Rows to draw; None is ``ratio`` times those of ``X``.
        random_state : int, RandomState or None
            The same integer gives the same rows.

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_features)
            Columns and types of ``X``, without its index; a polars frame comes back as a pandas one.

        Raises
        ------
        TypeError
            If a column holds objects that cannot be compared.
        ValueError
            If ``X`` has less than two rows, or a parameter is out of range.
        """
        X = as_table(X)
        n_samples = self._n_samples(len(X), n_samples)
        rng = np.random.default_rng(read_seed(random_state))
        frame = pd.DataFrame(X)
        with np.errstate(over="ignore", invalid="ignore"):
            neighbours = _nearest(_points(frame, rng), rng)
            parents = np.resize(rng.permutation(len(frame)), n_samples)
            made = {
                i: values.take(self._sources(values, parents, neighbours[parents], rng)).reset_index(drop=True)
                for i, (_, values) in enumerate(frame.items())
            }
        table = pd.DataFrame(made)
        table.columns = frame.columns
        return table if isinstance(X, pd.DataFrame) else table.to_numpy()

    def _n_samples(self, n_rows: int, n_samples: int | None) -> int:
        n_samples = n_to_make(self.ratio, n_rows, n_samples)
        if not (isinstance(self.probability, Real) and 0 < self.probability <= 1):
            raise ValueError(f"probability must be a number in (0, 1], got {self.probability!r}. Try 0.5.")
        if self.variance is not None and not (isinstance(self.variance, Real) and 0 < self.variance < inf):
            raise ValueError(
                f"variance must be a number > 0, got {self.variance!r}. Try 5.0, or None to exchange values as is."
            )
        if n_rows < 2:
            raise ValueError(f"A row exchanges values with another one, but X has {n_rows}. Give two rows or more.")
        return n_samples

    def _sources(
        self, values: pd.Series, parents: np.ndarray, neighbours: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """For every row of the result, the row of the table that its value in this column is taken from."""
        exchanged = rng.random(len(parents)) < self.probability
        rows = np.where(exchanged, neighbours, parents)
        numbers = None if self.variance is None else _many_numbers(values)
        if numbers is None:
            return rows
        here, there = numbers[parents], numbers[neighbours]
        drawn = exchanged & np.isfinite(here) & np.isfinite(there)
        scale = np.abs(here - there)[drawn] / self.variance
        rows[drawn] = _rows_with(numbers, there[drawn] + scale * rng.standard_normal(len(scale)))
        return rows


def _numbers(values: pd.Series) -> np.ndarray | None:
    """A column of numbers as float64, NaN where missing; None for any other column."""
    dtype = values.dtype
    if types.is_bool_dtype(dtype) or types.is_complex_dtype(dtype) or not types.is_numeric_dtype(dtype):
        return None
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def _many_numbers(values: pd.Series) -> np.ndarray | None:
    """The same, None also for numbers of few kinds: flags and codes, between which there is nothing."""
    numbers = _numbers(values)
    if numbers is None:
        return None
    finite = numbers[np.isfinite(numbers)]
    return None if len(np.unique(finite)) <= min(_FEW_VALUES, len(finite) // 2) else numbers


def _rows_with(numbers: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Rows whose numbers are nearest to those wanted."""
    rows = np.flatnonzero(np.isfinite(numbers))
    known, first = np.unique(numbers[rows], return_index=True)
    return rows[first[np.searchsorted(known[:-1] / 2 + known[1:] / 2, wanted)]]


def _points(frame: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Rows as points of shape (n_rows, n_dimensions), float32, between which the distance is Euclidean."""
    blocks = (_coordinates(name, values) for name, values in frame.items())
    if frame.shape[1] <= _PLAIN_COLUMNS:
        points = np.hstack(list(blocks))
    else:
        points = np.zeros((len(frame), _DIRECTIONS), np.float32)
        for block in blocks:
            points += block @ rng.standard_normal((block.shape[1], _DIRECTIONS), np.float32)
        points /= np.float32(np.sqrt(_DIRECTIONS))
    points += _JITTER * rng.standard_normal(points.shape, np.float32)
    return points


def _coordinates(name: Any, values: pd.Series) -> np.ndarray:
    """A column's part of the points."""
    dates = types.is_datetime64_any_dtype(values.dtype) or types.is_timedelta64_dtype(values.dtype)
    numbers = _numbers(values.rank() if dates else values)
    if numbers is not None:
        return _standardised(numbers)
    try:
        codes = pd.factorize(values)[0] + 1  # 0 is missing
    except TypeError as error:
        raise TypeError(
            f"Column {name!r} holds objects that cannot be compared: {error}. Drop it, or make texts of them."
        ) from error
    counts = np.bincount(codes)
    level = np.argsort(np.argsort(-counts, kind="stable"), kind="stable").clip(max=_LEVELS)
    # Two ones per mismatch: a squared distance of 1 takes the root of a half each.
    return np.eye(min(len(counts), _LEVELS + 1), dtype=np.float32)[level[codes]] * np.float32(0.5**0.5)


def _standardised(numbers: np.ndarray) -> np.ndarray:
    finite = np.isfinite(numbers)
    if not finite.any():
        return np.isnan(numbers)[:, None].astype(np.float32)
    low, centre, high = np.quantile(numbers[finite], [0.25, 0.5, 0.75])
    scale = (high - low) / 1.349 or numbers[finite].std() or 1.0
    scaled = np.nan_to_num((numbers - centre) / scale).clip(-_REACH, _REACH)
    missing = np.isnan(numbers)
    columns = [scaled, missing] if missing.any() else [scaled]
    return np.column_stack(columns).astype(np.float32)


def _nearest(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For every row, the number of the row next to it."""
    nearest: np.ndarray = np.empty(len(points), dtype=np.intp)
    for rows in _parts(points, np.arange(len(points)), rng):
        search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points[rows])
        nearest[rows] = rows[search.kneighbors(return_distance=False)[:, 0]]
    return nearest


def _parts(points: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Halve the rows along the direction of their greatest spread until the parts are small."""
    if len(rows) <= _EXACT_ROWS:
        yield rows
        return
    centred = points[rows] - points[rows].mean(axis=0)
    direction = rng.standard_normal(points.shape[1], np.float32)
    for _ in range(_POWER_STEPS):
        direction = centred.T @ (centred @ direction)
        direction /= np.linalg.norm(direction)
    order = np.argpartition(centred @ direction, len(rows) // 2)
    del centred  # before the halves have theirs
    for half in np.split(order, [len(rows) // 2]):
        yield from _parts(points, rows[half], rng)

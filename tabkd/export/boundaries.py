"""Where in the raw columns a model decides: the thresholds of trees behind steps, and within other models."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.pipeline import Pipeline

from tabkd._compat import take_rows
from tabkd.export.answers import read_trees
from tabkd.export.compare import reads_doubles
from tabkd.learners import Member

__all__ = ["raw_thresholds"]

_Step = Callable[[Any], Any]
#: Beyond, scalers overflow float32, and scikit-learn refuses what is infinite.
_LARGEST = 2.0**64
_LARGEST_INTEGER = 2.0**24
#: Where models that are made of others keep these.
_PARTS = ("estimators_", "calibrated_classifiers_", "best_estimator_", "estimator_", "regressor_", "estimator")
#: Where it is looked up whether a number that the trees read follows a raw one.
_MAGNITUDES = 10.0 ** np.arange(-6, 13)


def raw_thresholds(member: Member, sample: Any, columns: Sequence[int]) -> dict[int, np.ndarray]:
    """For each threshold the raw number at which it is crossed, found by bisection through the fitted steps.

    Parameters
    ----------
    member : Member
        That is no sum of trees by itself.
    sample : DataFrame or ndarray
        Encoded rows; the first one is what the other columns hold meanwhile.
    columns : sequence of int
        Positions of the raw columns that hold numbers.

    Returns
    -------
    dict from raw column to ndarray
        float32 numbers, the last ones before a threshold is crossed. Columns that move no number of the trees, or move
        it to and fro, are left out.
    """
    base = take_rows(sample, [0])
    grouped: dict[tuple[_Step, bool], dict[int, np.ndarray]] = {}
    found: dict[int, list[np.ndarray]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for prepare, doubles, thresholds in _inside(member.adapter.estimator, member.prepared, base):
            known = grouped.setdefault((prepare, doubles), {})
            known.update({feature: np.union1d(known.get(feature, []), more) for feature, more in thresholds.items()})
        for (prepare, doubles), thresholds in grouped.items():
            prepared = partial(_numbers_of, prepare, np.float64 if doubles else np.float32)
            for column, numbers in _crossings(prepared, base, thresholds, columns).items():
                found.setdefault(column, []).append(numbers)
    return {column: np.unique(np.concatenate(parts)) for column, parts in found.items()}


def _inside(estimator: Any, prepare: _Step, base: Any) -> Iterator[tuple[_Step, bool, dict[int, np.ndarray]]]:
    """For all trees that a model is made of: what makes what they read, whether they read float64, their thresholds."""
    if isinstance(estimator, Pipeline):
        yield from _inside(estimator[-1], lambda rows: estimator[:-1].transform(prepare(rows)), base)
        return
    trees = read_trees(estimator, prepare(base).shape[1], {})
    if trees is not None:
        yield prepare, reads_doubles(estimator), trees.thresholds()
        return
    found: Any = next((getattr(estimator, name) for name in _PARTS if hasattr(estimator, name)), [])
    parts = found if isinstance(found, list) else [found]
    features = getattr(estimator, "estimators_features_", [None] * len(parts))  # those of each bag
    for part, own in zip(parts, features, strict=True):
        yield from _inside(part, prepare if own is None else partial(_columns, prepare, own), base)


def _columns(prepare: _Step, columns: Any, rows: Any) -> Any:
    return take_rows(prepare(rows), columns, axis=1)


def _numbers_of(prepare: _Step, dtype: type, rows: Any) -> np.ndarray:
    made = prepare(rows)
    return np.asarray(made.toarray() if issparse(made) else made).astype(dtype)


def _crossings(
    prepared: Callable[[Any], np.ndarray], base: Any, thresholds: Mapping[int, np.ndarray], columns: Sequence[int]
) -> dict[int, np.ndarray]:
    asked = [row for column in columns for row in _followers(prepared, base, column, thresholds)]
    if not asked:
        return {}
    column, feature, threshold, rising = np.array(asked).T
    column, feature = column.astype(int), feature.astype(int)
    ends = _places(np.array([-_LARGEST, _LARGEST]))
    low, high = (np.full(len(asked), end) for end in ends)
    while (high - low > 1).any():
        middle = (low + high) // 2
        made = prepared(_rows(base, column, _numbers(middle)))[np.arange(len(asked)), feature]
        before = (made <= threshold) == (rising > 0)
        low, high = np.where(before, middle, low), np.where(before, high, middle)
    crossed = (low > ends[0]) & (high < ends[1])
    found = {int(one): np.unique(_numbers(low[crossed & (column == one)])) for one in np.unique(column)}
    return {one: numbers for one, numbers in found.items() if len(numbers)}


def _followers(
    prepared: Callable[[Any], np.ndarray], base: Any, column: int, thresholds: Mapping[int, np.ndarray]
) -> list[tuple[int, int, float, float]]:
    """The numbers that only rise or only fall with a raw column: both columns, each threshold, and 1 or -1."""
    grid = np.concatenate([-_MAGNITUDES[::-1], [0], _MAGNITUDES])
    try:
        steps = np.diff(prepared(_rows(base, np.full(len(grid), column), grid)), axis=0)
    except ValueError:  # an encoder of categories that are numbers refuses others
        return []
    found = []
    for feature, values in thresholds.items():
        signs = np.sign(steps[:, feature])
        if signs.any() and abs(signs.sum()) == abs(signs).sum():
            found += [(column, feature, value, signs.sum()) for value in values.tolist()]
    return found


def _places(numbers: np.ndarray) -> np.ndarray:
    """float32 numbers as whole ones in the same order, neighbours next to each other."""
    bits = numbers.astype(np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _numbers(places: np.ndarray) -> np.ndarray:
    magnitudes = np.abs(places).astype(np.int32).view(np.float32)
    return np.where(places < 0, -magnitudes, magnitudes)


def _rows(base: Any, column: np.ndarray, values: np.ndarray) -> Any:
    """Copies of a row, each with another number in one of its columns; whole ones in columns of whole numbers."""
    rows = take_rows(base, np.zeros(len(column), dtype=np.intp))
    frame = rows.reset_index(drop=True) if isinstance(rows, pd.DataFrame) else pd.DataFrame(np.array(rows))
    for one in np.unique(column):
        cells = frame.iloc[:, one].to_numpy(copy=True)
        given = values[column == one]
        if cells.dtype.kind in "iu":
            given = np.clip(np.floor(given), -_LARGEST_INTEGER, _LARGEST_INTEGER)
        cells[column == one] = given
        frame.isetitem(one, cells)
    return frame if isinstance(rows, pd.DataFrame) else frame.to_numpy()

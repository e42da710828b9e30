"""Folds: which rows are trained on and which are tested, and pairs of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)

__all__ = ["Folds", "make_folds", "make_parts"]

#: Parts of rows that were put aside.
_N_PARTS = 5

#: Training and test rows.
Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Folds:
    """Train and test rows, one partition of the table per repeat.

    Attributes
    ----------
    splits : list of (train, test)
        Repeat after repeat.
    repeat_of : list of int
        The repeat that each split belongs to.
    """

    splits: list[Split]
    repeat_of: list[int]

    @property
    def n_repeats(self) -> int:
        """Number of times that the rows are partitioned."""
        return self.repeat_of[-1] + 1

    @property
    def n_pairs(self) -> int:
        """Number of pairs of splits of one repeat."""
        sizes = np.bincount(self.repeat_of)
        return int((sizes * (sizes - 1) // 2).sum())

    def pairs(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Two splits of one repeat, and the rows that a teacher of the pair may see."""
        allowed = np.zeros(
            (len(self.splits), 1 + max(rows.max() for split in self.splits for rows in split)), dtype=bool
        )
        for mask, (train, test) in zip(allowed, self.splits, strict=True):
            mask[train] = True
            mask[test] = False
        for i, j in combinations(range(len(self.splits)), 2):
            if self.repeat_of[i] == self.repeat_of[j]:
                yield i, j, np.flatnonzero(allowed[i] & allowed[j])


def make_folds(
    cv: Any,
    X: Any,
    y: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    classifier: bool,
    seed: int | None = None,
    partition: bool | None = True,
    name: str = "cv",
) -> Folds:
    """Split the rows.

    Parameters
    ----------
    cv : int, splitter, or iterable of (train, test)
        An integer gives shuffled folds, stratified for a classifier, by group where there are groups.
    X : table of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Class codes, or values.
    groups : ndarray of shape (n_samples,) or None
    classifier : bool
    seed : int or None
        Shuffles the folds of an integer ``cv``.
    partition : bool or None
        Whether every row must be tested exactly once per repeat; False lets rows be tested at most once, None as often
        as it happens.
    name : str
        Of the parameter, for errors.

    Returns
    -------
    Folds

    Raises
    ------
    ValueError
        If the splitter does not partition the rows, or cannot split them.
    """
    n_samples = len(y)
    if isinstance(cv, int | np.integer) and not isinstance(cv, bool):
        if not 2 <= cv <= n_samples:
            raise ValueError(f"{name}={cv} does not fit {n_samples} rows: use 2 to {n_samples} folds.")
        kinds: tuple[Any, Any] = (StratifiedKFold, KFold)
        if groups is not None:
            kinds = (StratifiedGroupKFold, GroupKFold)
        cv = kinds[0 if classifier else 1](n_splits=int(cv), shuffle=True, random_state=seed)
    splitter = check_cv(cv, y, classifier=classifier)
    given = f"{name}={cv!r}" if hasattr(cv, "split") else f"{name}, a list of splits,"
    with warnings.catch_warnings():
        # A class with fewer rows than folds is judged where it matters: outside each pair.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        try:
            split = list(splitter.split(X, y, groups))
        except ValueError as error:
            if groups is None and "groups" in str(error):
                raise ValueError(f"{given} splits by groups, but there are none. Pass fit(..., groups=).") from error
            raise
    splits = [(_rows(a, n_samples, given), _rows(b, n_samples, given)) for a, b in split]
    repeat_of: list[int] = []
    repeat, tested = 0, np.zeros(n_samples, dtype=int)
    for train, test in splits:
        if len(train) == 0 or len(test) == 0:
            raise ValueError(f"{given} gives a fold without training or test rows. Use fewer folds.")
        if np.isin(test, train).any():
            raise ValueError(f"{given} tests rows that it trains on, so no score is honest. Keep them apart.")
        repeat_of.append(repeat)
        np.add.at(tested, test, 1)
        if tested.min() == 1 == tested.max():
            repeat, tested = repeat + 1, np.zeros(n_samples, dtype=int)
    if partition is not None and (tested.max() > 1 or (tested.max() == 1 and (partition or repeat))):
        raise ValueError(
            f"{given} does not partition the rows: each must be tested exactly once per repeat. Use KFold, "
            'StratifiedKFold or GroupKFold (or TimeSeriesSplit with cross_fit="folds").'
        )
    return Folds(splits, repeat_of)


def _rows(part: Any, n_samples: int, given: str) -> np.ndarray:
    """One side of a split as numbers of rows, which may be a mask of them."""
    rows = np.asarray(part)
    masks = rows.dtype == bool
    if len(rows) != n_samples if masks else len(rows) > 0 and not 0 <= rows.min() <= rows.max() < n_samples:
        raise ValueError(
            f"{given} does not fit {n_samples} rows: it splits those of another table. Use a number of folds, or a "
            "splitter such as KFold."
        )
    return np.flatnonzero(rows) if masks else rows


def make_parts(
    rows: np.ndarray, y: np.ndarray, *, groups: np.ndarray | None, classifier: bool, seed: int | None
) -> Folds:
    """Some rows in up to five parts: what is chosen by the others of them is scored on each.

    Parameters
    ----------
    rows : ndarray of int
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Class codes, or values, of all rows.
    groups : ndarray of shape (n_samples,) or None
    classifier : bool
    seed : int or None
        None is 0.

    Returns
    -------
    Folds
        One of all rows, chosen by and scored on, where a class or the groups are too few for two parts.
    """
    together = Folds([(rows, rows)], [0])
    own = None if groups is None else groups[rows]
    n_parts = min(_N_PARTS, len(rows if own is None else np.unique(own)))
    if classifier:
        n_parts = min(n_parts, np.unique(y[rows], return_counts=True)[1].min())
    if n_parts < 2:
        return together
    try:
        folds = make_folds(int(n_parts), rows, y[rows], groups=own, classifier=classifier, seed=seed or 0)
    except ValueError:  # groups may leave a part empty
        return together
    parts = [(rows[others], rows[part]) for others, part in folds.splits]
    if classifier and any(set(y[others]) < set(y[rows]) for others, _ in parts):  # or hold a class together
        return together
    return Folds(parts, folds.repeat_of)

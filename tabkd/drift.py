"""Adversarial validation: whether the rows of two tables can be told apart, and by which columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from tabkd.heldout import HeldOut, Splits, alone, five_folds, held_out
from tabkd.paired import PairedColumn
from tabkd.presets import threads_for

__all__ = ["Apart", "Drift", "find_drift", "moves", "quantiles"]

#: By name, as people read them.
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
#: Biggest changes of a column's categories that are kept.
N_MOVES = 5
#: ROC AUC of one column from which it parts the tables by itself.
PARTING = 0.99
#: A change of a share of the rows that is worth a word.
_TOLD = 0.005


@dataclass(frozen=True)
class Apart:
    """How well some columns tell test rows from training rows.

    Attributes
    ----------
    columns : list of str
    auc : HeldOut
        ROC AUC of a classifier that reads them.
    seen : bool
        Whether that is above one half by more than chance: its 95 % interval over the folds, and the interval that rows
        without any difference would give.
    """

    columns: list[str]
    auc: HeldOut
    seen: bool


@dataclass(frozen=True)
class Drift:
    """What tells test rows from training rows.

    Attributes
    ----------
    parting : list of str
        Columns that part the tables by themselves, such as the date of a split in time.
    together : Apart or None
        All other columns; None if there is none.
    rest : Apart or None
        The columns not marked as drifted; None if none is marked, or every one.
    columns : DataFrame
        One row per column, the most drifted first: ``column``, ``kind``, ``auc`` of the column alone and ``auc_se``,
        ``drifted`` (that is more than chance gives the best of so many columns), ``share`` of the splits' gain in the
        model of ``together`` (NaN for a column that it does not read), and ``moved``, which says how.
    """

    parting: list[str]
    together: Apart | None
    rest: Apart | None
    columns: pd.DataFrame

    @property
    def seen(self) -> bool:
        """Whether the tables differ by more than chance."""
        return bool(self.parting) or (self.together is not None and self.together.seen)


def find_drift(columns: Sequence[PairedColumn], groups: np.ndarray | None, seed: int) -> Drift:
    """Train classifiers to tell test rows from training rows, and score them on rows held out.

    Parameters
    ----------
    columns : sequence of PairedColumn
        At least one.
    groups : ndarray of shape (n_train + n_test,) or None
        Rows of a group stay in one fold, the training rows' groups first.
    seed : int

    Returns
    -------
    Drift
    """
    y = np.repeat([0, 1], [len(columns[0].train), len(columns[0].test)])
    folds = five_folds(y, groups, regression=False, seed=seed)
    X = np.column_stack([column.both for column in columns])
    single = [alone(values, y, folds) for values in X.T]
    drifted = np.array([_above_chance(score, y, len(columns)) for score in single])
    # Beside a column that parts the tables by itself, a model would look at no other.
    parting = np.array([score.mean >= PARTING for score in single])
    names = np.array([column.name for column in columns], dtype=object)

    def apart(used: np.ndarray) -> tuple[Apart | None, np.ndarray]:
        if not used.any():
            return None, np.array([])
        auc, gains = _by_model(X[:, used], y, folds, seed)
        return Apart(names[used].tolist(), auc, _above_chance(auc, y)), gains

    share = np.full(len(columns), np.nan)
    together, share[~parting] = apart(~parting)
    rest = apart(~drifted)[0] if drifted.any() else None
    table = pd.DataFrame(
        {
            "column": names,
            "kind": [column.kind for column in columns],
            "auc": [score.mean for score in single],
            "auc_se": [score.se for score in single],
            "drifted": drifted,
            "share": share,
            "moved": [_moved(column) for column in columns],
        }
    )
    table = table.sort_values("auc", ascending=False, ignore_index=True, kind="stable")
    return Drift(names[parting].tolist(), together, rest, table)


def _by_model(X: np.ndarray, y: np.ndarray, folds: Splits, seed: int) -> tuple[HeldOut, np.ndarray]:
    """The score of columns together, and each one's share of the splits' gain."""
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(
        n_estimators=100,
        num_leaves=15,
        importance_type="gain",
        deterministic=True,
        force_row_wise=True,
        n_jobs=threads_for(X.size, None),
        random_state=seed,
        verbose=-1,
    )
    score, fitted = held_out(model, X, y, folds)
    gains = np.sum([one.feature_importances_ for one in fitted], axis=0, dtype=np.float64)
    return score, gains / max(gains.sum(), np.finfo(float).tiny)


def _above_chance(auc: HeldOut, y: np.ndarray, n_looks: int = 1) -> bool:
    """Whether a ROC AUC is above one half by more than chance, also where the folds agree by chance."""
    n_test, n = int(y.sum()), len(y)
    # The variance of a rank sum, which ties make smaller; twice, for rows that are alike teach each other's folds.
    chance = np.sqrt(2 * (n + 1) / (12 * n_test * (n - n_test)))
    return bool(auc.interval()[0] > 0.5 and auc.mean > 0.5 + norm.ppf(1 - 0.025 / n_looks) * chance)


def quantiles(columns: Sequence[PairedColumn]) -> pd.DataFrame:
    """How the numbers of both tables lie.

    Parameters
    ----------
    columns : sequence of PairedColumn

    Returns
    -------
    DataFrame
        Two rows per column of numbers: ``column``, ``table``, share ``missing``, and quantiles.
    """
    rows = [
        {"column": column.name, "table": table, "missing": np.isnan(values).mean(), **_quantiles(values)}
        for column in columns
        if column.kind == "number"
        for table, values in (("train", column.train), ("test", column.test))
    ]
    return pd.DataFrame(rows, columns=["column", "table", "missing", *QUANTILES])


def _quantiles(values: np.ndarray) -> dict[str, float]:
    present = values[~np.isnan(values)]
    # Values that occur, for nothing lies between infinities.
    levels = list(QUANTILES.values())
    found = np.quantile(present, levels, method="inverted_cdf") if len(present) else [np.nan] * len(levels)
    return dict(zip(QUANTILES, map(float, found), strict=True))


def moves(columns: Sequence[PairedColumn]) -> pd.DataFrame:
    """The categories whose share of the rows changes most.

    Parameters
    ----------
    columns : sequence of PairedColumn

    Returns
    -------
    DataFrame
        Up to five rows per column of text: ``column``, ``category`` (None for missing values), ``train`` and ``test``,
        its shares there.
    """
    found = [
        {"column": column.name, "category": category, "train": train, "test": test}
        for column in columns
        for category, train, test in _moves(column)
    ]
    return pd.DataFrame(found, columns=["column", "category", "train", "test"])


def _moves(column: PairedColumn) -> list[tuple[str | None, float, float]]:
    if column.categories is None:
        return []
    names = [None, *column.categories]
    train, test = (
        np.bincount(np.nan_to_num(values, nan=-1).astype(int) + 1, minlength=len(names)) / len(values)
        for values in (column.train, column.test)
    )
    biggest = np.argsort(-np.abs(test - train), kind="stable")[:N_MOVES]
    return [(names[c], float(train[c]), float(test[c])) for c in biggest if abs(test[c] - train[c]) > _TOLD]


def _moved(column: PairedColumn) -> str:
    """The biggest change in a few words."""
    if column.categories is not None:
        return ", ".join(
            f"{'missing' if category is None else repr(category)} {train:.1%} -> {test:.1%}"
            for category, train, test in _moves(column)[:2]
        )
    absent = np.isnan(column.train).mean(), np.isnan(column.test).mean()
    words = [f"missing {absent[0]:.1%} -> {absent[1]:.1%}"] if abs(absent[1] - absent[0]) > _TOLD else []
    return ", ".join([*words, *_moved_quantile(column.train, column.test)])


def _moved_quantile(train: np.ndarray, test: np.ndarray) -> list[str]:
    """The quantile that stands elsewhere among the training values, by the share of them that it has passed."""
    before, after, order = _quantiles(train), _quantiles(test), np.sort(train[~np.isnan(train)])
    if not len(order) or np.isnan(test).all():
        return []

    def rank(value: float) -> float:
        return float(np.searchsorted(order, value) + np.searchsorted(order, value, side="right")) / (2 * len(order))

    def passed(name: str) -> float:
        return abs(rank(after[name]) - rank(before[name]))

    name = max(QUANTILES, key=passed)
    return [f"{name} {before[name]:.4g} -> {after[name]:.4g}"] if passed(name) > _TOLD else []

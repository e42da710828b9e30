"""What differs between a training and a test table, and what makes validation on the first one lie about the second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tabkd.competition import MIN_ROWS, identifier
from tabkd.drift import Apart, Drift, find_drift, moves, quantiles
from tabkd.files import InputError
from tabkd.frames import as_table
from tabkd.heldout import N_FOLDS, HeldOut
from tabkd.leaks import find_leaks
from tabkd.numerals import almost_numbers
from tabkd.paired import PairedColumn, kind_of, pair
from tabkd.target_column import Target, read_target
from tabkd.words import near, several

__all__ = ["TableCheck", "check_tables"]

#: A category of fewer training rows is hardly learnt.
RARE = 10
#: Share of numbers outside the range of training from which it is told: extremes alone always are.
OUTSIDE = 0.01
_EXAMPLES = 3
#: With fewer different rows than that they are told by a handful of values, which all occur many times.
_FEW_ROWS = 100


@dataclass(frozen=True)
class TableCheck:
    """What :func:`check_tables` found. Shares and scores are numbers from 0 to 1.

    Attributes
    ----------
    n_train, n_test : int
        Rows of the tables.
    target : str or None
    privileged, test_only : list of str
        Columns of the training table alone, without the target, and of the test table alone.
    identifiers : dict of str to str
        Columns that name their rows, and why that is thought; they are compared with nothing.
    numbers_as_text : dict of str to str
        Columns of numbers that some cells of one table make text, and how many and which.
    kinds : DataFrame
        Columns of different kinds, which are not compared: ``column``, ``train``, ``test`` and an ``example``.
    drift : Drift or None
        Whether training and test rows can be told apart: ``seen``, and by which ``columns``; None without a common
        column, or with fewer than 20 rows in a table.
    n_read : tuple of int
        Training and test rows that the models have read.
    quantiles : DataFrame
        Of the columns of numbers, in both tables.
    categories : DataFrame
        The biggest changes of categories.
    unseen : DataFrame
        What test rows hold and training rows do not: ``column``, ``new`` categories, their ``share`` of the test rows,
        ``examples``, categories ``rare`` in training and their ``rare_share``. For numbers ``share`` is of the rows
        outside the range of training.
    duplicates : DataFrame
        ``finding``, ``rows`` and ``share``; rows are compared by the common columns.
    leaks : DataFrame or None
        What gives the target away: ``clue``, ``column``, ``score``, ``score_se``, ``suspicious`` and ``note``. None
        without a target.
    metric : str or None
        What the scores of ``leaks`` are: ``"roc_auc"`` or ``"r2"``.
    """

    n_train: int
    n_test: int
    target: str | None
    privileged: list[str]
    test_only: list[str]
    identifiers: dict[str, str]
    numbers_as_text: dict[str, str]
    kinds: pd.DataFrame
    drift: Drift | None
    n_read: tuple[int, int]
    quantiles: pd.DataFrame
    categories: pd.DataFrame
    unseen: pd.DataFrame
    duplicates: pd.DataFrame
    leaks: pd.DataFrame | None
    metric: str | None

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data: numbers, texts, lists and dicts, None for what is not a number."""
        return {name: _plain(value) for name, value in vars(self).items()}


def check_tables(
    train: Any,
    test: Any,
    *,
    target: str | None = None,
    task: str | None = None,
    id: str | None = None,
    drop: str | Sequence[str] = (),
    groups: str | None = None,
    weight: str | None = None,
    max_rows: int = 20_000,
    random_state: int = 0,
) -> TableCheck:
    """Compare a training and a test table before anything is learnt from them.

    Looks for columns that only one has, kinds that differ, drift (adversarial validation), what gives the target away,
    rows that occur twice, and values that training never shows.

    Parameters
    ----------
    train, test : pandas or polars frame
    target : str or None
        The column to predict; without it leaks are not looked for.
    task : {"classification", "regression"} or None
        Unless the target says it: text, booleans, and integers of at most 20 values are classes.
    id : str or None
        The column that names the rows. Columns that look like it are found.
    drop : str or sequence of str
        Columns to leave out.
    groups : str or None
        Column of groups whose rows stay in one fold.
    weight : str or None
        Column of row weights, which describes no row.
    max_rows : int
        Rows of either table that models read, drawn at random if there are more.
    random_state : int
        Seed of the draw, the folds and the models.

    Returns
    -------
    TableCheck

    Raises
    ------
    InputError
        A ``ValueError``: if a table is empty, a column is unknown, or the target cannot be learnt.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> iris = load_iris(as_frame=True).frame.sample(frac=1, random_state=0)
    >>> found = check_tables(iris[:100], iris[100:].drop(columns=["target", "petal width (cm)"]), target="target")
    >>> found.privileged, found.drift.seen
    (['petal width (cm)'], False)
    """
    train, test = (_named_by_text(pd.DataFrame(as_table(table))) for table in (train, test))
    drop = [drop] if isinstance(drop, str) else drop
    reserved = _reserved(train, test, target=target, id=id, groups=groups, weight=weight, drop=drop)
    answer = None if target is None else read_target(train[target], task=task)
    features = [name for name in train.columns if name not in reserved]
    as_text = _find(almost_numbers, train, test, features)
    named = {} if id is None else {id: "given as the identifier"}
    identifiers = named | _find(identifier, train, test, [name for name in features if name not in as_text])
    common = [name for name in features if name in test and name not in identifiers]
    kinds = _different_kinds(train, test, common)
    columns = [pair(name, train[name], test[name]) for name in common if name not in set(kinds["column"])]
    rng = np.random.default_rng(random_state)
    read = [_draw(len(table), max_rows, rng) for table in (train, test)]
    codes = None if groups is None else _group_codes(train, test, groups)
    leaks = None
    if answer is not None:
        own = [pair(name, train[name]) for name in features if name not in identifiers]
        names = [pair(name, train[name]) for name in identifiers if name in train]
        leaks = find_leaks(own, names, answer, read[0], None if codes is None else codes[0], random_state)
    return TableCheck(
        n_train=len(train),
        n_test=len(test),
        target=target,
        privileged=[name for name in features if name not in test and name not in identifiers],
        test_only=[name for name in test.columns if name not in train and name not in reserved],
        identifiers=identifiers,
        numbers_as_text=as_text,
        kinds=kinds,
        drift=_drift(columns, read, codes, random_state),
        n_read=(len(read[0]), len(read[1])),
        quantiles=quantiles(columns),
        categories=moves(columns),
        unseen=_unseen(columns),
        duplicates=_duplicates(columns, answer, codes if groups in test else None),
        leaks=leaks,
        metric=None if answer is None else "r2" if answer.regression else "roc_auc",
    )


# ---------------------------------------------------------------- which column is what


def _named_by_text(table: pd.DataFrame) -> pd.DataFrame:
    return as_table(table.set_axis([str(name) for name in table.columns], axis=1))


def _reserved(train: pd.DataFrame, test: pd.DataFrame, **given: Any) -> set[str]:
    """Columns that the caller gave a meaning of their own."""
    either = [*train.columns, *test.columns]
    for what, names in given.items():
        known = list(either if what in ("id", "drop") else train.columns)
        for name in names if what == "drop" else [names]:
            if name is not None and name not in known:
                hint = near(name, known)
                raise InputError(f"{what} {name} is not among the columns.{hint} They are {several(known)}.")
    return {name for what, names in given.items() for name in (names if what == "drop" else [names]) if name}


def _find(
    told: Callable[[pd.Series], str | None], train: pd.DataFrame, test: pd.DataFrame, names: list[str]
) -> dict[str, str]:
    """What is told of some columns, by the training table or else by the test table."""
    found = {name: told(train[name]) or (told(test[name]) if name in test else None) for name in names}
    return {name: why for name, why in found.items() if why is not None}


def _different_kinds(train: pd.DataFrame, test: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    rows = []
    for name in names:
        here, there = kind_of(train[name]), kind_of(test[name])
        if here != there and "empty" not in (here, there):
            rows.append((name, here, there, _odd_ones(train[name] if there == "number" else test[name])))
    return pd.DataFrame(rows, columns=["column", "train", "test", "example"])


def _odd_ones(values: pd.Series) -> str:
    """What makes a column no column of numbers."""
    present = values.dropna()
    odd = present[pd.to_numeric(present.astype(str), errors="coerce").isna()]
    return f"{odd.iloc[0]!r}, in {len(odd)} of {len(values)} rows no number" if len(odd) else "numbers written as text"


def _group_codes(train: pd.DataFrame, test: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A code per group, the same in both tables; test rows are groups of their own if the test table has none."""
    if train[name].isna().any():
        raise InputError(f"groups {name} is missing in {int(train[name].isna().sum())} rows. Fill or remove them.")
    if train[name].nunique() < N_FOLDS:
        raise InputError(
            f"groups {name} has {train[name].nunique()} groups, but {N_FOLDS} folds need as many. Leave it out."
        )
    own = test[name] if name in test else pd.Series(np.arange(len(test))).map("test row {}".format)
    codes, _ = pd.factorize(pd.concat([train[name].map(str), own.map(str)], ignore_index=True))
    return codes[: len(train)], codes[len(train) :]


# ---------------------------------------------------------------- rows


def _draw(n_rows: int, max_rows: int, rng: np.random.Generator) -> np.ndarray:
    if n_rows <= max_rows:
        return np.arange(n_rows)
    return np.sort(rng.choice(n_rows, max_rows, replace=False))


def _row_codes(columns: Sequence[PairedColumn]) -> tuple[np.ndarray, np.ndarray]:
    """A code per row, the same for identical rows."""
    both = pd.DataFrame({i: column.both + 0.0 for i, column in enumerate(columns)})  # + 0.0: -0 is 0
    codes = pd.util.hash_pandas_object(both, index=False).to_numpy()
    n_train = len(columns[0].train)
    return codes[:n_train], codes[n_train:]


def _drift(
    columns: list[PairedColumn], read: list[np.ndarray], codes: tuple[np.ndarray, np.ndarray] | None, seed: int
) -> Drift | None:
    if not columns or min(map(len, read)) < MIN_ROWS:
        return None
    drawn = [column.take(*read) for column in columns]
    # A row that occurs again would be recognised, or taken for the other table's: its copies stay in one fold. Few
    # different rows are values of few columns, and no copies.
    of_train, of_test = _row_codes(drawn) if codes is None else (codes[0][read[0]], codes[1][read[1]])
    together = np.concatenate([of_train, of_test])
    n_groups = len(np.unique(together))
    fewest = _FEW_ROWS if codes is None else N_FOLDS
    return find_drift(drawn, together if fewest <= n_groups < len(together) else None, seed)


def _duplicates(
    columns: list[PairedColumn], target: Target | None, groups: tuple[np.ndarray, np.ndarray] | None
) -> pd.DataFrame:
    found: dict[str, np.ndarray] = {}
    if columns:
        train, test = _row_codes(columns)
        twins = pd.Series(train).duplicated(keep=False).to_numpy()
        found["train rows that occur again"] = twins
        if target is not None:
            answers = pd.Series(target.values).groupby(train).transform("nunique").to_numpy()
            found["train rows that occur again with another target"] = twins & (answers > 1)
        found["test rows that occur again"] = pd.Series(test).duplicated(keep=False).to_numpy()
        found["test rows that occur in train"] = np.isin(test, train)
    if groups is not None:
        found["test rows whose group occurs in train"] = np.isin(groups[1], groups[0])
    rows = [(finding, int(hit.sum()), float(hit.mean())) for finding, hit in found.items()]
    return pd.DataFrame(rows, columns=["finding", "rows", "share"])


def _unseen(columns: list[PairedColumn]) -> pd.DataFrame:
    rows = [row for column in columns for row in (_outside(column) if column.kind == "number" else _new(column))]
    names = ["column", "new", "share", "examples", "rare", "rare_share"]
    return pd.DataFrame(rows, columns=names).sort_values("share", ascending=False, ignore_index=True, kind="stable")


def _new(column: PairedColumn) -> list[tuple[Any, ...]]:
    """Categories that training has not, or hardly."""
    assert column.categories is not None
    train, test = (
        np.bincount(values[~np.isnan(values)].astype(int), minlength=len(column.categories))
        for values in (column.train, column.test)
    )
    new, rare = (train == 0) & (test > 0), (train > 0) & (train < RARE) & (test > 0)
    if not (new | rare).any():
        return []
    most = [code for code in np.argsort(-test, kind="stable") if new[code]][:_EXAMPLES]
    examples = ", ".join(repr(column.categories[code]) for code in most)
    n = len(column.test)
    return [(column.name, int(new.sum()), test[new].sum() / n, examples, int(rare.sum()), test[rare].sum() / n)]


def _outside(column: PairedColumn) -> list[tuple[Any, ...]]:
    """Numbers beyond those of training."""
    if np.isnan(column.train).all():
        return []
    low, high = np.nanmin(column.train), np.nanmax(column.train)
    below, above = column.test < low, column.test > high
    share = float((below | above).mean())
    said = [f"{word} {limit:.6g}" for word, limit, hit in (("below", low, below), ("above", high, above)) if hit.any()]
    return [(column.name, 0, share, " or ".join(said), 0, 0.0)] if share >= OUTSIDE else []


# ---------------------------------------------------------------- plain data


def _plain(value: Any) -> Any:
    if isinstance(value, pd.DataFrame):
        return [_plain(row) for row in value.to_dict("records")]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, HeldOut):
        return _plain({**vars(value), "interval": value.interval()})
    if isinstance(value, Drift):
        return _plain({"seen": value.seen, **vars(value)})
    return _plain(vars(value)) if isinstance(value, Apart) else value

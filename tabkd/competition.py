"""Whose columns are whose in the tables of a competition, and which of its columns mean something of their own."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tabkd.column import Column
from tabkd.files import InputError
from tabkd.numerals import almost_numbers
from tabkd.words import near, several

__all__ = [
    "Plan",
    "check_columns",
    "identifier",
    "plan_columns",
    "row_groups",
    "row_weights",
    "text_columns",
    "warn_of_unseen",
]

#: A column of fewer rows may be unique by chance.
MIN_ROWS = 20
#: Share of different texts above which a column names its rows rather than describing them.
NEARLY_UNIQUE = 0.9
_NAMED_LIKE_ID = re.compile(
    r"(?i:(?:^|[\W_])(?:id|idx|index|key|uuid|guid)$)|[a-z](?:Id|ID)$|^Unnamed: \d+$|(?:번호|아이디|식별자)$"
)


@dataclass(frozen=True)
class Plan:
    """Which columns are for what.

    Attributes
    ----------
    features : list of str
        The teacher's columns, which hold all of the student's.
    student : list of str
    id : str or None
        The column that names the rows.
    dropped : dict of str to str
        Columns that nobody reads, and why.
    """

    features: list[str]
    student: list[str]
    id: str | None
    dropped: dict[str, str]


def text_columns(frame: pd.DataFrame) -> list[str]:
    """Names of the columns that hold text."""
    return [name for name in frame.columns if _is_text(frame[name])]


def _is_text(values: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_datetime64_any_dtype(values.dtype):
        return False
    present = values.dropna()
    return len(present) > 0 and all(isinstance(value, str) for value in present)


def identifier(values: pd.Series) -> str | None:
    """Why a column names its rows instead of describing them, or None if it does not.

    Parameters
    ----------
    values : Series
        Named as its column is.

    Returns
    -------
    str or None

    Examples
    --------
    >>> import pandas as pd
    >>> identifier(pd.Series([f"TRAIN_{i}" for i in range(100)], name="ID"))
    'a different text in every row'
    >>> identifier(pd.Series([30, 41, 30, 28] * 25, name="age"))
    """
    present = values.dropna()
    if len(present) < MIN_ROWS:
        return None
    if _is_text(values):
        share = present.nunique() / len(present)
        if share == 1:
            return "a different text in every row"
        return f"{share:.0%} of its texts are different" if share >= NEARLY_UNIQUE else None
    if not pd.api.types.is_integer_dtype(values.dtype) or not present.is_unique:
        return None
    if present.is_monotonic_increasing or present.is_monotonic_decreasing:
        return "unique integers in the order of the rows"
    if _NAMED_LIKE_ID.search(str(values.name)):
        return "named like an identifier, and unique"
    return None


def plan_columns(
    train: pd.DataFrame,
    test: pd.DataFrame | None,
    *,
    target: str,
    id: str | None = None,
    groups: str | None = None,
    weight: str | None = None,
    drop: Sequence[str] = (),
    student: Sequence[str] = (),
    texts: Sequence[str] = (),
    categories: Sequence[str] = (),
) -> Plan:
    """Decide which columns teacher and student read.

    Parameters
    ----------
    train : DataFrame
    test : DataFrame or None
        Its columns are the student's, unless ``student`` names others.
    target, id, groups, weight : str or None
        Columns with a meaning of their own.
    drop : sequence of str
        Columns to leave out.
    student : sequence of str
        The student's columns; they are kept even if they look like identifiers.
    texts : sequence of str
        Columns of free text, which differ in every row and are no identifiers.
    categories : sequence of str
        Columns of codes, which stay text although they look like numbers.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If a column is unknown or holds numbers beside text, the test table has columns that cannot be learned from,
        or none is left.
    """
    given = list(dict.fromkeys([*train.columns, *([] if test is None else test.columns)]))
    _check_known([target], "--target", train.columns)
    _check_known([name for name in (id,) if name], "--id", given)
    _check_known([name for name in (groups,) if name], "--groups", train.columns)
    _check_known([name for name in (weight,) if name], "--weight", train.columns)
    _check_known(drop, "--drop", given)
    given_to: dict[str, Sequence[Any]] = {
        "--weight": [weight], "--groups": [groups], "--id": [id], "--target": [target], "--drop": drop,
    }  # fmt: skip
    reserved = {name: option for option, names in given_to.items() for name in names}
    free = [name for name in train.columns if name not in reserved]
    given_free = {"--student-features": student, "--text-columns": texts, "--categories": categories}
    for option, names in given_free.items():
        for name in names:
            if name in reserved:
                raise InputError(f"{option} {name} is given to {reserved[name]}, too. Leave it out of one.")
        _check_known(names, option, free)
    _check_test(train, test, student, set(reserved))
    dropped = dict.fromkeys(drop, "--drop")
    for name in train.columns:
        if name not in {*reserved, *texts, *categories}:
            _check_numbers(train[name])
        why = None if name in {*reserved, *student, *texts, *categories} else identifier(train[name])
        if why is not None:
            dropped[name] = why
    features = [name for name in train.columns if name not in reserved and name not in dropped]
    own = list(student) or [name for name in features if test is None or name in test.columns]
    if not own:
        raise InputError("No column is left for the student. Name its columns with --student-features.")
    if id is None:
        named = [name for name in dropped if name not in drop and (test is None or name in test.columns)]
        id = named[0] if named else None
    return Plan(features, own, id, dropped)


def _check_known(names: Sequence[str], option: str, known: Any) -> None:
    for name in names:
        if name not in known:
            listed = several(list(known))
            raise InputError(f"{option} {name} is not among the columns.{near(name, known)} They are {listed}.")


def _check_numbers(values: pd.Series) -> None:
    name, why = values.name, almost_numbers(values)
    if why is not None:
        raise InputError(
            f"Column {name} holds numbers, but {why}, so that all would be categories. Write numbers as 1234.5, and "
            f"nothing where one is missing; or keep codes with --categories {name}, or leave them out: --drop {name}."
        )


def _check_test(train: pd.DataFrame, test: pd.DataFrame | None, student: Sequence[str], reserved: set[Any]) -> None:
    if test is None:
        return
    unknown = [name for name in test.columns if name not in train.columns and name not in reserved]
    if unknown and not student:
        raise InputError(
            f"The test table has columns that the training table lacks: {unknown}. Leave them out with --drop, or "
            "name the student's columns with --student-features."
        )
    missing = [name for name in student if name not in test.columns]
    if missing:
        raise InputError(f"--student-features names columns that the test table lacks: {missing}. Leave them out.")


def check_columns(train: pd.DataFrame, test: pd.DataFrame | None, plan: Plan) -> None:
    """Read every column once, so that one that cannot be read is named before anything is fitted.

    Raises
    ------
    InputError
        If a column holds dates or mixed objects, or numbers in one table and text in the other.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come again, once, from the fit
        for name in plan.features:
            try:
                column = Column.read(name, train[name])
                if test is not None and name in plan.student:
                    column.numbers(test[name])
            except (TypeError, ValueError) as error:
                raise InputError(f"{error} Or leave the column out: --drop {name}.") from error


def warn_of_unseen(categories: Mapping[Any, Collection[Any]], table: pd.DataFrame) -> None:
    """Name categories that a table holds and a model has not learnt, which it takes for one unknown category.

    Parameters
    ----------
    categories : mapping of names to collections
        What each column of categories held in training.
    table : DataFrame
    """
    found = []
    for name, known in categories.items():
        values = table[name].dropna()
        unseen = values[~values.isin(["", *known])]
        if len(unseen):
            found.append(f"{name} ({unseen.iloc[0]!r}; {len(unseen)} of {len(table)} rows)")
    if found:
        warnings.warn(f"Categories that training did not have are taken for unknown: {several(found)}.", stacklevel=2)


def row_groups(values: pd.Series) -> np.ndarray:
    """A code per group.

    Parameters
    ----------
    values : Series
        Named as its column is.

    Returns
    -------
    ndarray of shape (n_samples,)

    Raises
    ------
    InputError
        If a value is missing.
    """
    codes, _ = pd.factorize(values)
    if (codes < 0).any():
        raise InputError(f"--groups {values.name} is missing in {int((codes < 0).sum())} rows. Fill or remove them.")
    return codes


def row_weights(values: pd.Series) -> np.ndarray:
    """Weights as numbers.

    Parameters
    ----------
    values : Series
        Named as its column is.

    Returns
    -------
    ndarray of shape (n_samples,)

    Raises
    ------
    InputError
        If a value is no finite number of at least 0.
    """
    weights = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    bad = ~((weights >= 0) & (weights < np.inf))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"--weight {values.name} must hold numbers >= 0, but row {row + 1} has {values.iloc[row]!r}. Mend it."
        )
    return weights

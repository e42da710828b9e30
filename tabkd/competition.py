"""What is to be learned from the tables of a competition: the target, and whose columns are whose."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from tabkd.columns import Column
from tabkd.files import InputError, near

__all__ = [
    "Plan",
    "Target",
    "check_columns",
    "identifier",
    "plan_columns",
    "read_target",
    "row_groups",
    "row_weights",
    "text_columns",
]

#: Integers with at most this many values are classes, unless the user says otherwise.
MAX_CLASSES = 20
#: A column of fewer rows may be unique by chance.
MIN_ROWS = 20
#: Share of different texts above which a column names its rows rather than describing them.
NEARLY_UNIQUE = 0.9
#: Pairs of folds leave two out, and each class must remain.
MIN_CLASS_ROWS = 3
_NAMED_LIKE_ID = re.compile(
    r"(?i:(?:^|[\W_])(?:id|idx|index|key|uuid|guid)$)|[a-z](?:Id|ID)$|^Unnamed: \d+$|(?:번호|아이디|식별자)$"
)


@dataclass(frozen=True)
class Target:
    """The column to predict.

    Attributes
    ----------
    name : str
    y : ndarray of shape (n_samples,)
        What is fitted: values, labels, or for two classes 0 and 1, where 1 is the positive label.
    labels : ndarray of shape (n_classes,) or None
        In the order of the columns of probabilities, so the positive label of two comes last; None for a regression.
    """

    name: str
    y: np.ndarray
    labels: np.ndarray | None

    @property
    def regression(self) -> bool:
        """Whether values are predicted, not labels."""
        return self.labels is None

    @property
    def two_classes(self) -> bool:
        """Whether there is a positive label."""
        return self.labels is not None and len(self.labels) == 2

    @property
    def values(self) -> np.ndarray:
        """The column as the user wrote it."""
        return self.y if self.coded_labels is None else self.coded_labels[self.y]

    @property
    def coded_labels(self) -> np.ndarray | None:
        """What the codes in ``y`` stand for, where there are codes."""
        return self.labels if self.two_classes else None

    def relabel(self, model: Any) -> None:
        """Give a model that was fitted to codes the labels that they stand for.

        Parameters
        ----------
        model : DistilledEstimator
            Fitted to ``y``.
        """
        if self.coded_labels is None:
            return
        model.classes_ = self.coded_labels
        for part in (model.teacher_, model.student_, model.control_):
            part.set_params(classes=self.coded_labels)
            for adapter in [member.adapter for member in part.members if hasattr(member.adapter.estimator, "to_onnx")]:
                # It writes its file by itself, and its own labels into it.
                adapter.classes = adapter.estimator.classes_ = self.coded_labels

    def describe(self) -> str:
        """A line for people."""
        if self.labels is None:
            return f"{self.name}: regression, values from {self.y.min():g} to {self.y.max():g}"
        counts = pd.Series(self.values).value_counts()
        shares = ", ".join(f"{label} {counts[label] / len(self.y):.1%}" for label in self.labels.tolist()[:10])
        more = ", ..." if len(self.labels) > 10 else ""
        positive = f"; positive is {self.labels[1]}" if self.two_classes else ""
        return f"{self.name}: {len(self.labels)} classes ({shares}{more}){positive}"


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

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If a column is unknown, the test table has columns that cannot be learned from, or none is left.
    """
    given = {*train.columns, *([] if test is None else test.columns)}
    _check_known([target], "--target", train.columns)
    _check_known([name for name in (id,) if name], "--id", given)
    _check_known([name for name in (groups,) if name], "--groups", train.columns)
    _check_known([name for name in (weight,) if name], "--weight", train.columns)
    _check_known(drop, "--drop", given)
    reserved = {target, id, groups, weight, *drop}
    free = [name for name in train.columns if name not in reserved]
    _check_known(student, "--student-features", free)
    _check_known(texts, "--text-columns", free)
    _check_test(train, test, student, reserved)
    dropped = dict.fromkeys(drop, "--drop")
    for name in train.columns:
        why = None if name in {*reserved, *student, *texts} else identifier(train[name])
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
            listed = ", ".join(map(str, list(known)[:12])) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
            raise InputError(f"{option} {name} is not among the columns.{near(name, known)} They are {listed}.")


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


def read_target(values: pd.Series, *, task: str | None = None, positive: str | None = None) -> Target:
    """Read the column to predict.

    Text, booleans, and integers of at most 20 values are classes, everything else is a regression.

    Parameters
    ----------
    values : Series
        Named as its column is.
    task : {"classification", "regression"} or None
        Overrides that rule.
    positive : str or None
        The positive label of two, as it is written in the file; None is the one that sorts last.

    Returns
    -------
    Target

    Raises
    ------
    InputError
        If values are missing or infinite, there is one class only or a class of too few rows, or ``positive`` is not
        a label.
    """
    name = str(values.name)
    _check_complete(values)
    if isinstance(values.iloc[0], Decimal):
        values = values.astype(float)
    numeric = pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)
    integral = numeric and bool((values % 1 == 0).all())
    few = integral and values.nunique() <= MAX_CLASSES
    if task == "regression" or (task is None and numeric and not few):
        if not numeric:
            raise InputError(f"The target {name} holds {values.iloc[0]!r}, not numbers. Use --task classification.")
        if positive is not None:
            raise InputError(
                f"--positive {positive} needs two classes, but {name} is a regression target. Leave it out."
            )
        return Target(name, values.to_numpy(dtype=np.float64), None)
    if integral:
        values = values.astype(np.int64)
    elif numeric:
        raise InputError(
            f"The target {name} holds {values[values % 1 != 0].iloc[0]}, and classes are whole numbers or texts. Write "
            "them so, or use --task regression."
        )
    return _read_classes(values, positive)


def _check_complete(values: pd.Series) -> None:
    absent = values.isna() | values.isin([np.inf, -np.inf])
    if absent.any():
        first = int(np.argmax(absent.to_numpy())) + 1
        raise InputError(
            f"The target {values.name} is missing or infinite in {int(absent.sum())} of {len(values)} rows, first in "
            f"row {first} (an empty cell, NA, None, null and nan are missing). Fill or remove those rows; if it is a "
            "label, write it otherwise."
        )


def _read_classes(values: pd.Series, positive: str | None) -> Target:
    name = str(values.name)
    if odd := [value for value in values.unique().tolist() if not isinstance(value, str | int)]:
        raise InputError(f"The target {name} holds {odd[0]!r}, and classes are numbers or texts. Write them so.")
    counts = values.astype(object).value_counts(sort=False)
    try:
        labels = sorted(counts.index)
    except TypeError:
        raise InputError(f"The target {name} mixes text and numbers. Write every label in the same way.") from None
    if len(labels) == 1:
        raise InputError(f"The target {name} has one class only ({labels[0]!r}). Give rows of at least two classes.")
    small = [label for label in labels if counts[label] < MIN_CLASS_ROWS]
    if small:
        hint = " Or is it --task regression?" if pd.api.types.is_numeric_dtype(values.dtype) else ""
        raise InputError(
            f"Class {small[0]!r} of {name} has too few rows ({counts[small[0]]}): pairs of folds need "
            f"{MIN_CLASS_ROWS} or more. Merge it with another class, or remove its rows.{hint}"
        )
    if positive is not None:
        written = [str(label) for label in labels]
        if len(labels) != 2:
            raise InputError(f"--positive {positive} needs two classes, but {name} has {len(labels)}. Leave it out.")
        if positive not in written:
            raise InputError(f"--positive {positive} is not a label of {name}. Choose from {', '.join(written)}.")
        labels.sort(key=lambda label: str(label) == positive)
    y = values.to_numpy(dtype=object)
    if len(labels) == 2:
        # Coded, so that metrics with a positive class find it, whatever its label.
        return Target(name, (y == labels[1]).astype(np.int64), np.array(labels))
    return Target(name, np.array(y.tolist()), np.array(labels))


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

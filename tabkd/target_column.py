"""The column to predict: whether it holds classes or values, and which label is the positive one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from tabkd.files import InputError

__all__ = ["Target", "read_target"]

#: Integers with at most this many values are classes, unless the user says otherwise.
MAX_CLASSES = 20
#: Pairs of folds leave two out, and each class must remain.
MIN_CLASS_ROWS = 3


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
    if numeric:  # Arrow knows no remainder
        values = values.astype(getattr(values.dtype, "numpy_dtype", values.dtype))
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
    if len(values) == 0:
        raise InputError(f"The target {values.name} has no rows. Give a table that has some.")
    absent = values.isna() | values.astype(object).isin([np.inf, -np.inf])
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
    _warn_of_blanks(name, labels)
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


def _warn_of_blanks(name: str, labels: list[Any]) -> None:
    alike: dict[Any, Any] = {}
    for label in labels:
        first = alike.setdefault(" ".join(label.split()) if isinstance(label, str) else label, label)
        if first != label:
            warnings.warn(
                f"Labels {first!r} and {label!r} of {name} differ in blanks only: two classes. Write them alike.",
                stacklevel=2,
            )

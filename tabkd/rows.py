"""The rows of one ``fit``, read and checked."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from tabkd._compat import check_sample_weight
from tabkd.folds import Folds
from tabkd.frames import as_table, has_names, is_texts
from tabkd.targets import Targets, one_hot

__all__ = [
    "Rows",
    "begin_fit",
    "check_classes_outside_pairs",
    "check_soft_targets",
    "named_like_fit",
    "read_rows",
]


@dataclass(frozen=True)
class Rows:
    """A table, its target, and what goes with each row.

    Attributes
    ----------
    X : DataFrame or ndarray of shape (n_samples, n_features)
    targets : Targets
        Without soft targets yet.
    groups : ndarray of shape (n_samples,) or None
    texts : bool
        Whether ``fit`` was given texts and no table; ``X`` has one column then.
    """

    X: Any
    targets: Targets
    groups: np.ndarray | None
    texts: bool = False

    @property
    def y(self) -> np.ndarray:
        """What a splitter stratifies by: class codes, or values."""
        return self.targets.labels if self.targets.classes is None else self.targets.codes


def read_rows(X: Any, y: Any, sample_weight: Any, groups: Any, *, regression: bool) -> Rows:
    """Read and check what ``fit`` was given.

    Raises
    ------
    ValueError
        If lengths differ, the target is missing, not finite, of one class or of labels that do not compare, a group is
        missing, or a weight is negative.
    """
    table = as_table(X)
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None.")
    if len(table) < 2:
        raise ValueError("Found array with n_samples = 1, while a minimum of 2 is required: folds need more rows.")
    check_consistent_length(table, y, sample_weight, groups)
    hard, classes = _read_values(y) if regression else _read_classes(y)
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, hard, ensure_non_negative=True)
    groups = None if groups is None else column_or_1d(groups)
    if groups is not None and (absent := pd.isna(groups)).any():
        raise ValueError(
            f"groups are missing in {int(absent.sum())} of {len(groups)} rows, first in row {int(np.argmax(absent))}. "
            "Give every row its group: rows without one would all be a group, or each its own."
        )
    return Rows(table, Targets(hard, None, classes, sample_weight), groups, is_texts(X))


def forget(estimator: Any) -> None:
    """Drop what an earlier fit has left."""
    for name in [name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")]:
        delattr(estimator, name)


def begin_fit(estimator: Any, rows: Rows) -> None:
    """Forget an earlier fit, and take down what every estimator says of the rows of this one."""
    forget(estimator)
    validate_data(estimator, rows.X, skip_check_array=True)
    if rows.targets.classes is not None:
        estimator.classes_ = rows.targets.classes


def named_like_fit(estimator: Any, X: Any) -> Any:
    """A table to predict, with a warning if it has names where the table of ``fit`` had none, or lacks them."""
    table = as_table(X)
    if has_names(table) != hasattr(estimator, "feature_names_in_"):
        lacks, had = ("does not have valid", "with") if hasattr(estimator, "feature_names_in_") else ("has", "without")
        warnings.warn(
            f"X {lacks} feature names, but {type(estimator).__name__} was fitted {had} feature names",
            stacklevel=4,
        )
    return table


def _read_values(y: Any) -> tuple[np.ndarray, None]:
    try:
        y = np.asarray(y)
        if y.dtype.kind in "mM":  # NumPy would make numbers of them without a word
            raise TypeError("it holds dates or spans of time")
        y = y.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The teacher is a regressor, but the target is no numbers: {error}. Use a classifier as the teacher."
        ) from error
    if y.ndim != 2 or y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    _refuse_missing(~np.isfinite(y))
    return y.reshape(len(y), -1), None


def _read_classes(y: Any) -> tuple[np.ndarray, np.ndarray]:
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "f":
        _refuse_missing(~np.isfinite(y))
    elif y.dtype.kind == "O":
        _refuse_missing(pd.isna(y))
    try:
        classes, codes = np.unique(y, return_inverse=True)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in y})
        raise ValueError(f"The target mixes {' and '.join(kinds)}. Write every label in the same way.") from None
    check_classification_targets(y)
    if len(classes) == 1:
        raise ValueError(
            f"The target has one class only ({classes.tolist()[0]!r}); a classifier needs rows of at least two."
        )
    return one_hot(codes, len(classes)), classes


def _refuse_missing(missing: np.ndarray) -> None:
    if missing.any():
        row = int(np.argwhere(missing)[0][0])
        raise ValueError(f"Input y contains NaN or infinity, first in row {row}. Drop or fill those rows.")


def _places(names: list[Any], labels: list[Any]) -> list[int]:
    """Where the column of each label is; files hold labels as texts. Other names, and plain positions, tell nothing."""
    positions, texts = list(range(len(names))), [str(label) for label in labels]
    if set(names) != set(labels) and names != positions:
        names, labels = [str(name) for name in names], texts
    if set(names) == set(labels) and len(names) == len(labels) == len(set(labels)):
        return [names.index(label) for label in labels]
    if names != positions and set(names) & set(texts):
        raise ValueError(f"soft_targets has columns {names}, but the labels are {labels}. Call them like the labels.")
    return positions


def check_soft_targets(soft_targets: Any, targets: Targets) -> np.ndarray:
    """Soft targets made elsewhere, as float64 of the shape of ``targets.hard``; columns called like labels by name.

    Raises
    ------
    ValueError
        If the shape is wrong, or probabilities are outside [0, 1] or do not sum to 1.
    """
    soft = np.asarray(soft_targets, dtype=np.float64)
    if targets.classes is not None and hasattr(soft_targets, "columns"):
        soft = soft[:, _places(list(soft_targets.columns), targets.classes.tolist())]
    if targets.classes is None and soft.ndim == 1:
        soft = soft.reshape(-1, 1)
    if soft.shape != targets.hard.shape:
        columns = "one column per output" if targets.classes is None else f"columns {targets.classes.tolist()}"
        raise ValueError(
            f"soft_targets has shape {soft.shape}, but must have {targets.hard.shape}: one row per row of X, {columns}."
        )
    if not np.isfinite(soft).all():
        raise ValueError("soft_targets contains NaN or infinity. Leave those rows out of fit.")
    if targets.classes is not None:
        if soft.min() < 0 or soft.max() > 1:
            worst = soft.min() if soft.min() < 0 else soft.max()
            raise ValueError(f"soft_targets must lie in [0, 1], got {worst}. Clip and renormalise them.")
        total = soft.sum(axis=1)
        if np.abs(total - 1).max() > 1e-6:
            row = int(np.abs(total - 1).argmax())
            raise ValueError(f"Rows of soft_targets must sum to 1, but row {row} sums to {total[row]}. Divide by it.")
    return soft


def check_classes_outside_pairs(
    folds: Folds, targets: Targets, *, instead: str = 'cross_fit="folds" with a number for alpha'
) -> None:
    """Raise unless there are three folds or more, and every class has rows outside each pair of them.

    What to do ``instead`` is said in the error.
    """
    n_folds = len(folds.splits) // folds.n_repeats
    if n_folds < 3:
        raise ValueError(
            f"Pairs of folds need at least 3 folds, got {n_folds}: a teacher must have rows outside each pair. Use "
            f"cv=5, or {instead}."
        )
    if n_folds == 3:
        warnings.warn("Pairs of 3 folds leave each teacher one third of the rows. Use cv=5.", stacklevel=4)
    if targets.classes is None:
        return
    for i, j, rows in folds.pairs():
        seen = np.unique(targets.codes[rows])
        if len(seen) < len(targets.classes):
            code = int(np.setdiff1d(np.arange(len(targets.classes)), seen)[0])
            label, n_rows = targets.classes.tolist()[code], int((targets.codes == code).sum())
            raise ValueError(
                f"Class {label!r} has {n_rows} rows, none of them outside "
                f"folds {i} and {j}: the teacher of that pair would never see it. Merge or drop the class, use a "
                f"splitter that spreads it over three folds or more, or {instead}."
            )

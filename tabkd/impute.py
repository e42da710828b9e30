"""Hallucinated features: which privileged columns a student predicts for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from tabkd._compat import is_regressor
from tabkd.checks import check_whole
from tabkd.columns import ColumnEncoder
from tabkd.families import family

__all__ = ["MAX_CATEGORIES", "MIN_SHARE", "Impute", "privileged_columns", "read_impute"]

#: Of a column of categories, the most frequent ones are predicted, as far as they have this share of the rows.
MAX_CATEGORIES, MIN_SHARE = 8, 0.01


class Impute(BaseEstimator):
    """Which privileged columns a student predicts for itself, and how.

    Numbers are predicted by squared error. Of categories each of the :data:`MAX_CATEGORIES` most frequent, as far as it
    has a hundredth of the rows, becomes a number between about 0 and 1, of two categories the rarer one. What a student
    is fitted on are out-of-fold predictions, later it reads the mean of the inner models.

    Parameters
    ----------
    columns : "all", list, or int
        Names (or positions) of privileged columns, or the number of those that matter most for the target on the
        training rows at hand, by the gain of a small LightGBM on all columns.
    estimator : LGBMRegressor or None
        None is one with 50 trees of 8 leaves. It must answer with the sum of its leaves, as with squared or absolute
        error.
    cv : int
        Inner folds; rows of a group stay together.

    Examples
    --------
    >>> from lightgbm import LGBMClassifier
    >>> from sklearn.datasets import load_breast_cancer
    >>> from tabkd import DistilledEstimator, Impute
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> model = DistilledEstimator(
    ...     LGBMClassifier(n_estimators=50), LGBMClassifier(n_estimators=10),
    ...     student_features=[name for name in X if name.startswith("mean")],
    ...     impute=Impute(["worst radius", "worst texture"]), random_state=0,
    ... ).fit(X, y)
    >>> len(model.student_features_)
    10
    """

    def __init__(self, columns: Any = "all", estimator: Any = None, cv: int = 5) -> None:
        self.columns = columns
        self.estimator = estimator
        self.cv = cv


def read_impute(impute: Any, privileged: Sequence[str | int]) -> Impute:
    """What ``impute=`` of a ``DistilledEstimator`` stands for, checked.

    Parameters
    ----------
    impute : Impute, "all", list or int
    privileged : sequence
        Names (or positions) of the columns that the teacher has and the student has not.

    Returns
    -------
    Impute

    Raises
    ------
    ValueError
        If a column is not privileged, there are none or too few, or the estimator is no LGBMRegressor.
    """
    if not isinstance(impute, Impute):
        impute = Impute(impute)
    columns, model, known = impute.columns, impute.estimator, list(privileged)
    if not known:
        raise ValueError(
            "impute= predicts columns that the teacher has and the student has not, but there are none. Leave such "
            "columns out of student_features, or use impute=None."
        )
    if isinstance(columns, int | np.integer) and not isinstance(columns, bool):
        if not 1 <= columns <= len(known):
            raise ValueError(f"impute={columns} asks for that many privileged columns, but there are {len(known)}.")
    elif isinstance(columns, str) or not isinstance(columns, list | tuple | np.ndarray | pd.Index):
        if not (isinstance(columns, str) and columns == "all"):
            raise ValueError(f'impute must be "all", a list of columns, a number or Impute(...), got {columns!r}.')
    elif len(columns) == 0:
        raise ValueError("impute is an empty list of columns. Use impute=None to impute nothing.")
    elif strange := [name for name in columns if name not in known]:
        raise ValueError(f"impute names {strange}, but the privileged columns are {known}. Name some of these.")
    check_whole("cv of Impute", impute.cv, 2, 5)
    if model is not None and not (family(model) == "lightgbm" and is_regressor(model)):
        raise ValueError(
            f"estimator of Impute must be an LGBMRegressor, got {type(model).__name__}: its trees are made exact in "
            "float32, which is known of no other."
        )
    return impute


def privileged_columns(X: Any, read: Sequence[int], student: ColumnEncoder) -> pd.DataFrame:
    """The columns that the teacher has and the student has not, under their names or positions.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n_samples, n_features)
        A table from :func:`tabkd.frames.as_table`.
    read : sequence of int
        Positions of the teacher's columns.
    student : ColumnEncoder

    Returns
    -------
    DataFrame of shape (n_samples, n_privileged)
    """
    return pd.DataFrame(X).iloc[:, [p for p in read if p not in student.positions]]

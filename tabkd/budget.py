"""``FeatureBudgetSelector``: which columns the student may cost."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.feature_selection import SelectorMixin
from sklearn.model_selection import BaseShuffleSplit, PredefinedSplit, TimeSeriesSplit
from sklearn.utils import Tags, get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from tabkd._compat import clone_estimator, is_fitted_selector, is_regressor
from tabkd.elimination import Budget, ColumnSet, Elimination
from tabkd.estimator import DistilledEstimator
from tabkd.frames import column_positions
from tabkd.recipe import Recipe
from tabkd.rows import read_rows
from tabkd.scoring import Judge
from tabkd.settings import cross_fit_of

__all__ = ["FeatureBudgetSelector"]

#: They list the rows of the whole table, or do not test each row once.
_NOT_REUSABLE = (PredefinedSplit, TimeSeriesSplit, BaseShuffleSplit)


class FeatureBudgetSelector(SelectorMixin, MetaEstimatorMixin, BaseEstimator):
    """Choose the columns that a student shall read, by what they cost and what they are worth to it.

    Backward elimination on the honest score: teachers are fitted once, on all their columns; then the student loses
    the columns that are least important for their cost, a third of those that are left at once. Without a budget,
    several go only while the score stays within an error of the best, and one by one afterwards.

    Parameters
    ----------
    estimator : DistilledEstimator, estimator or None
        Whose student's columns are chosen. Of a plain classifier or regressor, its own, by true labels. None is the
        student of the ``DistilledEstimator`` whose ``student_features`` this is, by the true labels of each training
        fold: without rows that have none, and without imputed columns.
    n_features : int or None
        Columns to choose.
    max_cost : float or None
        The most that they may cost together. With neither, the cheapest set whose score is within one paired
        standard error of the best.
    costs : mapping, sequence or None
        Of every column, by name (or position), or one number per column of ``X``; None is 1 each.
    features : column specification or None
        Columns to choose among; None is ``student_features`` of ``estimator``, or all.
    cv : int, splitter or iterable
        Folds, which test each row once; None is that of ``estimator``, or 5, also where that one cannot split the
        training rows so (lists of rows, ``PredefinedSplit``, ``TimeSeriesSplit``, ``ShuffleSplit``).
    scoring : str, callable or None
        What sets of columns are judged by; None is that of ``estimator``, or log-loss or squared error.
    n_jobs : int or None
        Fits under way at once; None is that of ``estimator``.
    random_state : int, RandomState or None
        None is that of ``estimator``.

    Attributes
    ----------
    support_ : ndarray of bool of shape (n_features_in_,)
        The columns chosen.
    frontier_ : DataFrame
        Sets of columns from all of them down to the budget: ``n_features``, ``cost``, ``score`` (higher is better),
        ``standard_error`` of its difference to the best, and ``columns``.
    best_index_ : int
        Row of ``frontier_`` that was chosen.
    score_ : float
        Its score. Rows that helped to choose the columns are scored: the best of several sets looks a little better
        than it is. As ``student_features`` of a ``DistilledEstimator`` the choice is part of what is scored.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    References
    ----------
    Guyon, Weston, Barnhill and Vapnik, "Gene selection for cancer classification using support vector machines", 2002.
    Breiman, "Random forests", 2001 (importance by permutation).

    Examples
    --------
    >>> from lightgbm import LGBMClassifier
    >>> from sklearn.datasets import load_breast_cancer
    >>> from tabkd import DistilledEstimator, FeatureBudgetSelector
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> teacher, student = LGBMClassifier(n_estimators=50), LGBMClassifier(n_estimators=10)
    >>> model = DistilledEstimator(teacher, student, alpha=0.5, random_state=0)
    >>> selector = FeatureBudgetSelector(model, n_features=4).fit(X, y)
    >>> selector.transform(X).shape
    (569, 4)
    >>> chosen = DistilledEstimator(teacher, student, student_features=selector, random_state=0).fit(X, y)
    >>> len(chosen.student_features_)
    4
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_features: int | None = None,
        max_cost: float | None = None,
        costs: Any = None,
        features: Any = None,
        cv: Any = None,
        scoring: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.n_features = n_features
        self.max_cost = max_cost
        self.costs = costs
        self.features = features
        self.cv = cv
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None, groups: Any = None, X_unlabeled: Any = None) -> Self:
        """Choose columns.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
            pandas or polars frame, or array.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
            Reaches every fit and score.
        groups : array-like of shape (n_samples,), optional
            Rows of a group stay in one fold, and standard errors are clustered by them.
        X_unlabeled : table of shape (n_unlabeled, n_features), optional
            Rows without labels, as for :meth:`DistilledEstimator.fit`: the students to be scored learn from them too.

        Returns
        -------
        FeatureBudgetSelector

        Raises
        ------
        ValueError
            If a budget cannot be met, costs do not fit the columns, or a parameter or the data do not fit.
        """
        settings = self._settings()
        rows = read_rows(X, y, sample_weight, groups, regression=is_regressor(settings))
        recipe = Recipe(settings, rows, None, X_unlabeled)
        validate_data(self, rows.X, skip_check_array=True)
        budget = self._budget(rows.X, recipe.encoder.positions)
        path = Elimination(recipe, budget).run()
        self.frontier_ = _frontier(path, budget, recipe.judge, np.array(recipe.encoder.names, dtype=object))
        self.best_index_ = len(path) - 1
        if self.n_features is None and self.max_cost is None:
            self.best_index_ = _cheapest_good(self.frontier_)
        self.score_ = float(self.frontier_["score"].iloc[self.best_index_])
        chosen = np.array(recipe.encoder.positions)[list(path[self.best_index_].columns)]
        self.support_ = np.isin(np.arange(rows.X.shape[1]), chosen)
        return self

    def inside(self, settings: DistilledEstimator, X: Any) -> tuple[list[int], FeatureBudgetSelector]:
        """Get ready to choose the columns of an estimator that has this selector as ``student_features``.

        Parameters
        ----------
        settings : DistilledEstimator
        X : DataFrame or ndarray of shape (n_samples, n_features)

        Returns
        -------
        positions : list of int
            Columns to choose among.
        selector : FeatureBudgetSelector
            Chooses among those, on the training rows of each fold.

        Raises
        ------
        ValueError
            If the students of several folds, each with columns of its own, are to ship together under one budget.
        """
        if settings.ensemble and not (self.n_features is None and self.max_cost is None):
            raise ValueError(
                "ensemble=True ships the students of all folds, whose columns together may exceed the budget of "
                f"student_features={self!r}. Choose the columns with the selector alone, or use ensemble=False."
            )
        positions = column_positions(X, self.features, "features")
        budget = self._budget(X, positions)
        selector = clone_estimator(self).set_params(features=None, costs=budget.costs)
        if self.estimator is None:
            cv = settings.cv
            reusable = isinstance(cv, int) or (hasattr(cv, "split") and not isinstance(cv, _NOT_REUSABLE))
            plain = {"alpha": 1.0, "temperature": 1.0, "cross_fit": "pairs", "ensemble": False, "verbose": 0}
            plain |= {"targets": "soft", "generations": 1}
            plain |= dict.fromkeys(
                ("teacher_features", "student_features", "student_cv", "memory", "n_jobs", "transfer", "impute")
            )
            plain |= {} if reusable else {"cv": 5}
            selector.set_params(estimator=clone_estimator(settings).set_params(**plain))
        return positions, selector

    def _settings(self) -> DistilledEstimator:
        """The estimator whose student is to lose columns."""
        own = {"cv": self.cv, "scoring": self.scoring, "n_jobs": self.n_jobs, "random_state": self.random_state}
        own = {name: value for name, value in {**own, "student_features": self.features}.items() if value is not None}
        estimator = self.estimator
        if estimator is None:
            raise ValueError(
                "estimator=None stands for the student of the DistilledEstimator whose student_features this is. To "
                "choose columns by itself, give FeatureBudgetSelector a DistilledEstimator, or a plain student."
            )
        if not isinstance(estimator, DistilledEstimator):
            return DistilledEstimator(estimator, estimator, alpha=1.0, **own)
        settings = clone_estimator(estimator).set_params(**own, generations=1)  # the first one chooses
        if cross_fit_of(settings) != "pairs":
            raise ValueError(
                f'Columns are chosen by an honest score, which an estimator with cross_fit="{cross_fit_of(settings)}" '
                'has not. Use "pairs".'
            )
        spec = settings.student_features
        if hasattr(spec, "get_support") and not is_fitted_selector(spec):
            raise ValueError(
                f"The estimator's student_features={spec!r} would choose columns too. Name columns there, or give them "
                "as features=."
            )
        return settings

    def _budget(self, X: Any, positions: Any) -> Budget:
        """The budget for some columns of a table, checked."""
        names = [X.columns[p] if isinstance(X, pd.DataFrame) else p for p in positions]
        costs = _read_costs(self.costs, X, positions, names)
        if self.n_features is not None and self.max_cost is not None:
            raise ValueError(
                f"n_features={self.n_features} and max_cost={self.max_cost} are two budgets. Give one of them; "
                "n_features is max_cost where every column costs 1."
            )
        possible = isinstance(self.n_features, Integral) and 1 <= self.n_features <= len(names)
        if self.n_features is not None and not possible:
            raise ValueError(
                f"n_features must be a whole number from 1 to {len(names)}, the columns to choose among, got "
                f"{self.n_features!r}. Try {max(1, len(names) // 2)}."
            )
        if self.max_cost is not None and not self.max_cost >= costs.min():
            cheapest = names[int(costs.argmin())]
            raise ValueError(
                f"max_cost={self.max_cost} buys no column: the cheapest, {cheapest!r}, costs {costs.min():g}. Raise "
                "max_cost to that or more."
            )
        return Budget(costs, None if self.n_features is None else int(self.n_features), self.max_cost)

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self, "support_")
        return self.support_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = self.estimator is None or get_tags(self.estimator).input_tags.allow_nan
        tags.input_tags.string = tags.input_tags.categorical = True
        return tags


def _read_costs(costs: Any, X: Any, positions: Any, names: list[Any]) -> np.ndarray:
    """What each column costs to choose among."""
    if costs is None:
        return np.ones(len(names))
    if isinstance(costs, pd.Series):
        costs = costs.to_dict()
    if isinstance(costs, Mapping):
        known = X.columns.tolist() if isinstance(X, pd.DataFrame) else list(range(X.shape[1]))
        unknown = [name for name in costs if name not in known]
        if unknown:
            raise ValueError(f"costs names unknown columns {unknown}. X has {known}.")
        missing = [name for name in names if name not in costs]
        if missing:
            raise ValueError(f"costs has no cost of the columns {missing}. Give every column one, if need be 0.")
        costs = [costs[name] for name in names]
    elif len(costs) != X.shape[1]:
        raise ValueError(f"costs has {len(costs)} numbers, but X has {X.shape[1]} columns. Give one each, or a dict.")
    else:
        costs = [costs[p] for p in positions]
    read = np.asarray(costs, dtype=float)
    if not (np.isfinite(read) & (read >= 0)).all():
        worst = int(np.argmin(np.isfinite(read) & (read >= 0)))
        raise ValueError(
            f"Costs must be finite and not negative, but that of {names[worst]!r} is {read[worst]}. Leave a column "
            "that is out of reach out of features=."
        )
    return read


def _frontier(path: list[ColumnSet], budget: Budget, judge: Judge, names: np.ndarray) -> pd.DataFrame:
    best = max(path, key=lambda chosen: chosen.score)
    return pd.DataFrame(
        {
            "n_features": [len(chosen.columns) for chosen in path],
            "cost": [budget.cost(chosen.columns) for chosen in path],
            "score": [chosen.score for chosen in path],
            "standard_error": [0.0 if c is best else judge.compare(best.judged, c.judged)[1] for c in path],
            "columns": [names[list(chosen.columns)].tolist() for chosen in path],
        }
    )


def _cheapest_good(frontier: pd.DataFrame) -> int:
    """The cheapest row within one standard error of the best; of equal ones the one with the fewest columns."""
    good = frontier[frontier["score"].max() - frontier["score"] <= frontier["standard_error"]]
    return int(good.sort_values(["cost", "n_features"]).index[0])

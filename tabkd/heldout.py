"""How well something is predicted on rows held out: one score a fold, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student_t
from sklearn.base import clone
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tabkd._compat import is_regressor

__all__ = ["N_FOLDS", "HeldOut", "Splits", "alone", "corrected_error", "five_folds", "held_out"]

N_FOLDS = 5
#: Leaves of the tree that a single column gets: enough for any curve, too few to learn rows by heart.
_LEAVES, _LEAVES_OF_NUMBERS = 16, 256

#: Training and test rows of each fold.
Splits = Sequence[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class HeldOut:
    """A score over folds.

    Attributes
    ----------
    mean : float
        ROC AUC (the mean over classes, each against the rest) or R²; NaN if no fold could be scored.
    se : float
        Its standard error over the folds, corrected for what folds learn from each other (Nadeau and Bengio).
    n_folds : int
        Splits that could be scored.
    """

    mean: float
    se: float
    n_folds: int

    @classmethod
    def of(cls, scores: Sequence[float]) -> HeldOut:
        """Sum up the scores of folds.

        Parameters
        ----------
        scores : sequence of float
            NaN for a fold that could not be scored.

        Returns
        -------
        HeldOut

        References
        ----------
        C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52, 2003.

        Examples
        --------
        >>> score = HeldOut.of([0.5, 0.6, 0.7])
        >>> [round(limit, 2) for limit in score.interval()]
        [0.21, 0.99]
        """
        known = np.array([score for score in scores if np.isfinite(score)])
        n = len(known)
        if n < 2:
            return cls(np.nan, np.nan, n)
        return cls(float(known.mean()), corrected_error(known, 1 / (n - 1)), n)

    def interval(self, n_looks: int = 1) -> tuple[float, float]:
        """Its 95 % interval by Student's t.

        Parameters
        ----------
        n_looks : int
            Intervals that are looked at together (Bonferroni): wider, so that one of them fails in 5 % of all cases.

        Returns
        -------
        tuple of float
            NaN if there is no score.
        """
        if self.n_folds < 2:
            return np.nan, np.nan
        half = float(student_t.ppf(1 - 0.025 / n_looks, self.n_folds - 1)) * self.se
        return self.mean - half, self.mean + half


def corrected_error(values: np.ndarray, test_share: float) -> float:
    """Standard error of a mean over folds, whose training rows overlap (Nadeau and Bengio, 2003); NaN for one fold.

    Parameters
    ----------
    values : ndarray of shape (n_folds,)
    test_share : float
        Size of the test rows over that of the training rows.

    Returns
    -------
    float
    """
    n = len(values)
    return float(np.sqrt((1 / n + test_share) * values.var(ddof=1))) if n > 1 else np.nan


def five_folds(y: np.ndarray, groups: np.ndarray | None, *, regression: bool, seed: int) -> Splits:
    """Five folds; stratified by class where there are no groups, else a group's rows stay together.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
    groups : ndarray of shape (n_samples,) or None
    regression : bool
    seed : int

    Returns
    -------
    list of tuple of ndarray
    """
    splitter: Any = (KFold if regression else StratifiedKFold)(N_FOLDS, shuffle=True, random_state=seed)
    if groups is not None:
        splitter = GroupKFold(N_FOLDS, shuffle=True, random_state=seed)
    return list(splitter.split(y, y, groups))


def held_out(model: Any, X: np.ndarray, y: np.ndarray, folds: Splits) -> tuple[HeldOut, list[Any]]:
    """Fit to all folds but one and score that one, in turn.

    Parameters
    ----------
    model : estimator
        A classifier with ``predict_proba``, or a regressor; it is cloned.
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    folds : list of tuple of ndarray

    Returns
    -------
    HeldOut
        ROC AUC or R².
    list of estimator
        The fitted models.
    """
    fitted = [clone(model).fit(X[train], y[train]) for train, _ in folds]
    scores = [_score(one, X[test], y[test]) for one, (_, test) in zip(fitted, folds, strict=True)]
    return HeldOut.of(scores), fitted


def alone(values: np.ndarray, y: np.ndarray, folds: Splits, *, regression: bool = False) -> HeldOut:
    """How well one column predicts by itself, by a small tree.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        NaN where missing.
    y : ndarray of shape (n_samples,)
        Class codes, or numbers.
    folds : list of tuple of ndarray
    regression : bool

    Returns
    -------
    HeldOut
    """
    leaves = _LEAVES_OF_NUMBERS if regression else max(_LEAVES, 2 * len(np.unique(y)))
    tree: Any = DecisionTreeRegressor if regression else DecisionTreeClassifier
    limit = np.finfo(np.float32).max  # trees read float32, and refuse what is infinite there
    model = tree(max_leaf_nodes=leaves, min_samples_leaf=5, random_state=0)
    return held_out(model, np.clip(values, -limit, limit)[:, None], y, folds)[0]


def _score(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    if is_regressor(model):
        return float(r2_score(y, model.predict(X))) if len(y) > 1 else np.nan
    proba, classes = model.predict_proba(X), model.classes_
    scores = [
        roc_auc_score(y == label, proba[:, column])
        for column, label in enumerate(classes)
        if (column or len(classes) != 2) and 0 < (y == label).sum() < len(y)
    ]
    return float(np.mean(scores)) if scores else np.nan

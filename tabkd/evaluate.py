"""``evaluate_distillation``: an outer loop around everything, inner choices included."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student_t
from sklearn.base import clone
from sklearn.metrics import get_scorer
from sklearn.utils.validation import has_fit_parameter

from tabkd._compat import is_regressor, is_search, read_seed, takes_weights
from tabkd.estimator import DistilledEstimator
from tabkd.folds import make_folds
from tabkd.frames import rows_of
from tabkd.heldout import corrected_error
from tabkd.mutual import MutualDistilledEstimator
from tabkd.rows import read_rows

__all__ = ["DistillationReport", "evaluate_distillation"]

MODELS = ["teacher", "control", "student"]


@dataclass(frozen=True)
class DistillationReport:
    """Scores of teacher (ceiling), control (floor) and student on rows that none of them has seen.

    Attributes
    ----------
    scores : DataFrame
        One row per fold and metric: ``fold``, ``metric``, ``teacher``, ``control``, ``student``; higher is better.
        Peers that teach each other have no teacher, and no such column. NaN where a fold cannot be scored.
    choices : DataFrame
        One row per fold: the ``alpha`` and ``threshold`` chosen inside, and the ``gain`` reported there with its
        standard error ``gain_se`` (NaN without an honest inner score).
    test_share : float
        Mean size of the test rows over that of the training rows.
    """

    scores: pd.DataFrame
    choices: pd.DataFrame
    test_share: float

    def summary(self, confidence: float = 0.95) -> pd.DataFrame:
        """Means over the folds, the student's gain over the control with its interval, and the gap recovered.

        The interval is the corrected resampled t interval: folds share training rows, so the variance of the mean
        difference is ``(1 / J + n_test / n_train)`` times that of the ``J`` differences.

        Parameters
        ----------
        confidence : float
            Coverage of the interval, between 0 and 1.

        Returns
        -------
        DataFrame
            One row per metric: ``teacher``, ``control``, ``student``, ``gain``, ``gain_se``, ``gain_low``,
            ``gain_high``, and ``gap_recovered``: mean gain over the mean difference of teacher and control (NaN where
            the teacher is not above the control, or there is none).

        References
        ----------
        Nadeau and Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {confidence!r}. Try 0.95.")
        rows = {}
        for metric, scores in self.scores.groupby("metric", sort=False):
            means = scores[[model for model in MODELS if model in scores]].mean()
            gains = (scores["student"] - scores["control"]).dropna().to_numpy()
            n = len(gains)
            error = corrected_error(gains, self.test_share)
            half = float(student_t.ppf((1 + confidence) / 2, max(n - 1, 1))) * error
            gap = means.get("teacher", np.nan) - means["control"]
            rows[metric] = {
                **means,
                "gain": gains.mean(),
                "gain_se": error,
                "gain_low": gains.mean() - half,
                "gain_high": gains.mean() + half,
                "gap_recovered": gains.mean() / gap if gap > 0 else np.nan,
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")

    def __str__(self) -> str:
        return self.summary().to_string(float_format="{:.4f}".format)


def evaluate_distillation(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    cv: Any = 5,
    scoring: Any = None,
    groups: Any = None,
    sample_weight: Any = None,
    X_unlabeled: Any = None,
) -> DistillationReport:
    """Measure teacher, control and student on rows that played no part in any choice.

    In each outer fold the estimator is fitted anew, with all its inner folds and choices, and so is its control.

    Parameters
    ----------
    estimator : DistilledEstimator, MutualDistilledEstimator or DistillationSearchCV
        Cloned, never fitted. The control of a search is that of its winner.
    X : table of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    cv : int, splitter or iterable
        The outer folds; repeats count as further folds, and random splits (``ShuffleSplit``) do as well.
    scoring : str, callable, list of str, dict or None
        Scikit-learn scorers. None is log-loss, ROC AUC and accuracy, or squared error and R².
    groups : array-like of shape (n_samples,), optional
        Given to the outer splitter and to ``fit``.
    sample_weight : array-like of shape (n_samples,), optional
        Given to ``fit`` and to the scorers.
    X_unlabeled : table of shape (n_unlabeled, n_features), optional
        Given to every ``fit``, whole.

    Returns
    -------
    DistillationReport

    Raises
    ------
    ValueError
        If the estimator has no control, the data do not fit it, as in ``fit``, or a scorer takes no weights where there
        are some.

    Examples
    --------
    >>> from lightgbm import LGBMClassifier
    >>> from sklearn.datasets import load_breast_cancer
    >>> from tabkd import DistilledEstimator, evaluate_distillation
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> model = DistilledEstimator(
    ...     LGBMClassifier(n_estimators=20), LGBMClassifier(n_estimators=5), student_features=X.columns[:10],
    ... )
    >>> report = evaluate_distillation(model, X, y, cv=3, scoring="roc_auc")
    >>> list(report.scores.columns)
    ['fold', 'metric', 'teacher', 'control', 'student']
    """
    _check_evaluable(estimator, X_unlabeled)
    regression = is_regressor(estimator)
    rows = read_rows(X, y, sample_weight, groups, regression=regression)
    scorers = _scorers(scoring, None if rows.targets.classes is None else len(rows.targets.classes))
    labels, weight = rows.targets.labels, rows.targets.weight
    if weight is not None and (unweighted := [name for name, scorer in scorers.items() if not takes_weights(scorer)]):
        raise ValueError(
            f"scoring={unweighted[0]!r} takes no sample_weight, but weights were given. Leave it or the weights out."
        )
    splits = make_folds(
        cv, rows.X, rows.y, groups=rows.groups, classifier=not regression, seed=read_seed(estimator.random_state),
        partition=None,
    ).splits  # fmt: skip
    scores, choices = [], []
    for fold, (train, test) in enumerate(splits):
        given = {
            "sample_weight": None if weight is None else weight[train],
            "groups": None if rows.groups is None else rows.groups[train],
        }
        X_train, X_test = (rows_of(rows.X, part) for part in (train, test))
        if rows.texts:
            X_train, X_test = (table.iloc[:, 0].to_numpy(dtype=object) for table in (X_train, X_test))
        more = {} if X_unlabeled is None else {"X_unlabeled": X_unlabeled}
        student = clone(estimator).fit(X_train, labels[train], **given, **more)
        student = getattr(student, "best_estimator_", student)
        control = getattr(student, "control_", None) or estimator.fit_control(X_train, labels[train], **given)
        weighted = {} if weight is None else {"sample_weight": weight[test]}
        for metric, scorer in scorers.items():
            models = zip(MODELS, (getattr(student, "teacher_", None), control, student), strict=True)
            scored = {
                name: _scored(scorer, model, X_test, labels[test], weighted, f"{metric} of fold {fold}")
                for name, model in models
                if model is not None
            }
            scores.append({"fold": fold, "metric": metric, **scored})
        choices.append(
            {
                "fold": fold,
                "alpha": student.alpha_,
                "threshold": student.threshold_,
                "gain": getattr(student, "distillation_gain_", np.nan),
                "gain_se": getattr(student, "distillation_gain_se_", np.nan),
            }
        )
    share = float(np.mean([len(test) / len(train) for train, test in splits]))
    return DistillationReport(pd.DataFrame(scores), pd.DataFrame(choices), share)


def _check_evaluable(estimator: Any, X_unlabeled: Any) -> None:
    searched = is_search(estimator) and estimator.refit
    if not (searched or isinstance(estimator, DistilledEstimator | MutualDistilledEstimator)):
        raise ValueError(
            f"{estimator!r} has no control to be held against. Give a DistilledEstimator, a MutualDistilledEstimator, "
            "or a DistillationSearchCV with refit=True."
        )
    if X_unlabeled is not None and not has_fit_parameter(estimator, "X_unlabeled"):
        raise ValueError(f"{type(estimator).__name__} takes no X_unlabeled. Leave it out.")


def _scored(scorer: Any, model: Any, X: Any, y: np.ndarray, weighted: dict[str, Any], what: str) -> float:
    """A score, NaN where the rows do not allow one: a class may be missing among them."""
    try:
        return float(scorer(model, X, y, **weighted))
    except ValueError as error:
        warnings.warn(f"{what} cannot be computed and is NaN: {error}", stacklevel=3)
        return np.nan


def _scorers(scoring: Any, n_classes: int | None) -> Mapping[str, Callable[..., float]]:
    if scoring is None:
        if n_classes is None:
            scoring = ["neg_mean_squared_error", "r2"]
        else:
            scoring = ["neg_log_loss", "roc_auc" if n_classes == 2 else "roc_auc_ovr", "accuracy"]
    if isinstance(scoring, str):
        scoring = [scoring]
    if callable(scoring):
        return {"score": scoring}
    named = scoring if isinstance(scoring, Mapping) else {name: name for name in scoring}
    return {name: get_scorer(scorer) for name, scorer in named.items()}

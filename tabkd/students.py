"""How any estimator learns from soft targets.

An *adapter* wraps one estimator: it is fitted to :class:`Targets` and answers on a *link* scale, on which the
members of an ensemble are averaged. ``adapt`` chooses the adapter by protocol, family and tags.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import check_cv
from sklearn.utils import get_tags

from tabkd._compat import clone_estimator, is_catboost, is_regressor, nested_estimators, take_rows, takes_weights
from tabkd.adapter import Adapter, Validation
from tabkd.boosters import BoosterCrossEntropy, BoosterSoftmax
from tabkd.families import (
    BOOSTERS,
    averages_trees,
    decision_values,
    family,
    fit_stopping_early,
    named,
    pop_class_weight,
)
from tabkd.links import align_classes, apply_link, invert_link, link_scores
from tabkd.targets import Targets
from tabkd.twins import booster_twin, native_learning_rate, regressor_of

__all__ = ["LOSSES", "FitSoft", "HardLabels", "Regressed", "WeightedRows", "adapt", "resolve_loss"]

LOSSES = ("auto", "cross_entropy", "squared_error", "logit")
#: Classifiers whose ``predict_proba`` is the softmax (or logistic) of their ``decision_function``.
_LINKED = {
    "LogisticRegression",
    "LogisticRegressionCV",
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
}


class HardLabels(Adapter):
    """An estimator as it comes, on true labels: every teacher, and the control."""

    def __init__(self, estimator: Any, classes: np.ndarray | None, *, linked: bool = True) -> None:
        super().__init__(estimator, classes)
        if classes is None:
            self.link = "identity"
        elif linked and (type(estimator).__name__ in _LINKED or family(estimator) in BOOSTERS):
            self.link = "logit" if len(classes) == 2 else "softmax"

    def fit(self, X: Any, targets: Targets, valid: Validation | None = None, teacher: Any = None) -> HardLabels:
        y = targets.labels
        if self.classes is not None and len(seen := np.unique(y)) == 1:
            raise ValueError(
                f"A training fold holds the class {seen.tolist()[0]!r} only. Use folds that mix the classes, such as "
                "StratifiedKFold(shuffle=True)."
            )
        if self.classes is None:
            self.estimator = outputs_ready(self.estimator, targets.hard.shape[1])
        elif family(self.estimator) == "xgboost":
            # XGBoost takes the codes 0, 1, ... only, none left out.
            self.seen, y = np.unique(y, return_inverse=True)
        watched = None
        if valid is not None:
            y_valid = valid[1].labels
            if family(self.estimator) == "xgboost" and self.classes is not None:
                y_valid = np.searchsorted(self.seen, y_valid)
            watched = (named(valid[0], self.estimator), y_valid, valid[1].weight)
        fit_stopping_early(self.estimator, named(X, self.estimator), y, targets.weight, watched)
        return self.link_checked(X)

    def link_checked(self, X: Any) -> Any:
        """Answer in probabilities where they are no softmax of decision values: one-vs-all, exponential, hinge."""
        if self.link in ("logit", "softmax"):
            few = take_rows(X, np.arange(min(X.shape[0], 100)))
            linked = invert_link(self.raw(few), self.link)
            self.link, link = "probability", self.link
            if np.allclose(linked, self.raw(few), atol=1e-5):
                self.link = link
        return self

    def raw(self, X: Any) -> np.ndarray:
        X = named(X, self.estimator)
        if self.classes is None:
            return _columns(self.estimator.predict(X))
        seen = getattr(self, "seen", None)
        seen = self.estimator.classes_ if seen is None else seen
        if self.link == "probability":
            return align_classes(self.estimator.predict_proba(X), seen, self.classes)
        return link_scores(decision_values(self.estimator, X), seen, self.classes)


#: Parameters that count rows, and their values that ask for nothing.
_COUNTS = {"min_samples_leaf": 1, "min_samples_split": 2, "min_data_in_leaf": 1, "min_child_samples": 1}


@contextmanager
def counting_copies(estimator: Any, copies: float) -> Iterator[None]:
    """Parameters that count rows count copies of them, ``copies`` for each, and are as they were afterwards."""
    given = {
        name: int(value)
        for name, value in estimator.get_params(deep=True).items()
        if isinstance(value, Integral) and int(value) > _COUNTS.get(name.rpartition("__")[2], np.inf)
    }
    estimator.set_params(**{name: round(copies * value) for name, value in given.items()})
    yield
    if not is_catboost(estimator):  # which refuses to be told anything once it is fitted
        estimator.set_params(**given)


@contextmanager
def copies_together(estimator: Any, rows: np.ndarray, y: np.ndarray) -> Iterator[None]:
    """An internal cross-validation keeps all copies of a row in one fold; ``rows`` says whose copies they are."""
    params = estimator.get_params(deep=False)
    cv = params.get("cv")
    splits = hasattr(cv, "split") and not isinstance(cv, str)
    if "cv" not in params or not (cv is None or isinstance(cv, Integral) or splits):
        yield
        return
    folds = check_cv(cv, y, classifier=True).split(np.zeros(len(y)), y)
    estimator.set_params(cv=[tuple(np.flatnonzero(np.isin(rows, part)) for part in parts) for parts in folds])
    yield
    estimator.set_params(cv=cv)


class WeightedRows(HardLabels):
    """A scikit-learn classifier: each row once per class, weighted by its probability.

    The weighted log-loss of the duplicated rows is the cross-entropy of the soft targets. Parameters that count rows,
    such as ``min_samples_leaf``, count as many copies as these rows have, and an internal cross-validation, as that of
    ``CalibratedClassifierCV``, splits rows.
    """

    def __init__(self, estimator: Any, classes: np.ndarray) -> None:
        name = type(estimator).__name__
        if not takes_weights(estimator.fit):
            twin = name.replace("Classifier", "Regressor")
            known = twin != name and hasattr(
                importlib.import_module(type(estimator).__module__.partition("._")[0]), twin
            )
            raise ValueError(
                f"{name} cannot learn from soft targets: its fit takes no sample_weight. Use a regressor"
                f"{f' such as {twin}' if known else ''}, or a classifier that takes weights."
            )
        if any(
            getattr(part, "probability", False) is True for part in [estimator, *nested_estimators(estimator).values()]
        ):
            raise ValueError(
                f"{name} cannot learn from soft targets: probability=True splits the rows by itself, and copies of one "
                "row would lie on both sides. Use CalibratedClassifierCV(SVC(), ensemble=False)."
            )
        super().__init__(estimator, classes)

    def fit(self, X: Any, targets: Targets, valid: Validation | None = None, teacher: Any = None) -> WeightedRows:
        params = self.estimator.get_params(deep=False)
        # Copies of one row on both sides of an internal split would make it worthless.
        if "early_stopping" in params:
            self.estimator.set_params(early_stopping=False)
        elif type(self.estimator).__name__.startswith("GradientBoosting"):
            self.estimator.set_params(n_iter_no_change=None)
        self.estimator, class_weight = pop_class_weight(self.estimator, targets.codes, targets.classes, targets.weight)
        labelled = None if valid is None else (valid[0], valid[1].labels, valid[1].weight)
        self.estimator.set_params(**native_learning_rate(self.estimator, X, targets.labels, targets.weight, labelled))
        watched = None
        if valid is not None:
            watched_rows, *labels = self._copies(valid[1], class_weight)
            watched = (take_rows(valid[0], watched_rows), *labels)
        rows, y, weight = self._copies(targets, class_weight)
        n_rows = X.shape[0] if targets.weight is None else np.count_nonzero(targets.weight)
        with counting_copies(self.estimator, len(y) / n_rows), copies_together(self.estimator, rows, targets.labels):
            fit_stopping_early(self.estimator, named(take_rows(X, rows), self.estimator), y, weight, watched)
        return self.link_checked(X)

    @staticmethod
    def _copies(targets: Targets, class_weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Each row (by its number) once per class that it may be, these classes, and the weights, None if all are 1."""
        target, weight = targets.weighted_blend(class_weight)
        weights = target if weight is None else target * weight[:, None]
        rows, codes = np.nonzero(weights)
        given = weights[rows, codes]
        return rows, targets.classes[codes], None if (given == 1).all() else given


class Regressed(Adapter):
    """Any regressor: values, probabilities or log-odds, one output per column."""

    def __init__(self, estimator: Any, classes: np.ndarray | None, link: str) -> None:
        super().__init__(estimator, classes)
        self.link = link
        if classes is not None:
            regressor_of(estimator)  # refuses what has no regressor before anything is fitted

    def fit(self, X: Any, targets: Targets, valid: Validation | None = None, teacher: Any = None) -> Regressed:
        class_weight = None
        if self.classes is not None:
            estimator, class_weight = pop_class_weight(self.estimator, targets.codes, targets.classes, targets.weight)
            self.estimator = regressor_of(estimator)
        y, weight = self._scaled(targets, class_weight)
        self.estimator = outputs_ready(self.estimator, y.shape[1])
        watched = None
        if valid is not None:
            y_valid, weight_valid = self._scaled(valid[1], class_weight)
            watched = (named(valid[0], self.estimator), _flat(y_valid), weight_valid)
        fit_stopping_early(self.estimator, named(X, self.estimator), _flat(y), weight, watched)
        return self

    def _scaled(self, targets: Targets, class_weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        target, weight = targets.weighted_blend(class_weight)
        return (target if self.link == "identity" else apply_link(target, self.link)), weight

    def raw(self, X: Any) -> np.ndarray:
        scores = _columns(self.estimator.predict(named(X, self.estimator)))
        if self.link == "probability" and scores.shape[1] == 1:
            return np.hstack([1 - scores, scores])
        return scores


class FitSoft(Adapter):
    """A student that learns from soft targets by itself, through ``fit_soft``."""

    def __init__(self, estimator: Any, classes: np.ndarray | None) -> None:
        super().__init__(estimator, classes)
        self.link = "identity" if classes is None else "probability"

    def fit(self, X: Any, targets: Targets, valid: Validation | None = None, teacher: Any = None) -> FitSoft:
        self.estimator.fit_soft(
            X,
            targets.hard if targets.soft is None else targets.soft,
            y=targets.given_labels,
            alpha=targets.alpha,
            temperature=targets.temperature,
            sample_weight=targets.weight,
            teacher=teacher,
        )
        return self

    def raw(self, X: Any) -> np.ndarray:
        if self.classes is None:
            return _columns(self.estimator.predict(X))
        return align_classes(self.estimator.predict_proba(X), self.estimator.classes_, self.classes)


def resolve_loss(estimator: Any, loss: str, n_classes: int | None) -> str:
    """The loss that ``loss="auto"`` stands for with this estimator; others are checked and returned.

    Parameters
    ----------
    estimator : estimator
        A student: the last step of a pipeline.
    loss : {"auto", "cross_entropy", "squared_error", "logit"}
    n_classes : int or None
        None for regression.

    Raises
    ------
    ValueError
        If the student cannot learn by that loss.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {LOSSES}, got {loss!r}. Try 'auto'.")
    if n_classes is None:
        if loss not in ("auto", "squared_error"):
            raise ValueError(f"loss={loss!r} is for classification. Use loss='auto' for a regression.")
        return "squared_error"
    kind = family(estimator)
    by_entropy = kind in BOOSTERS or hasattr(estimator, "fit_soft") or not is_regressor(estimator)
    if loss == "cross_entropy" and not by_entropy:
        raise ValueError(
            f"{type(estimator).__name__} cannot minimise cross-entropy. Use loss='squared_error' or 'logit', "
            "or a classifier."
        )
    if loss != "auto":
        return loss
    # Regressors of log-odds have the worse log-loss in every family (benchmarks/bench_students.py).
    return "cross_entropy" if by_entropy else "squared_error"


def adapt(estimator: Any, loss: str, classes: np.ndarray | None) -> Adapter:
    """Wrap a student so that it learns from soft targets.

    Parameters
    ----------
    estimator : estimator
        The student, or the last step of its pipeline; the adapter takes it over.
    loss : {"auto", "cross_entropy", "squared_error", "logit"}
    classes : ndarray of shape (n_classes,) or None
        None for regression.

    Returns
    -------
    Adapter

    Raises
    ------
    ValueError
        If the estimator cannot learn from soft targets by that loss.
    """
    loss = resolve_loss(estimator, loss, None if classes is None else len(classes))
    if hasattr(estimator, "fit_soft"):
        return FitSoft(estimator, classes)
    if classes is None:
        return Regressed(estimator, None, "identity")
    if loss == "squared_error":
        return Regressed(estimator, classes, "probability")
    if loss == "logit":
        return Regressed(estimator, classes, "logit" if len(classes) == 2 else "softmax")
    kind = family(estimator)
    if kind not in BOOSTERS:
        return WeightedRows(estimator, classes)
    if len(classes) == 2:
        return BoosterCrossEntropy(estimator, classes)
    if kind == "catboost" or averages_trees(estimator):  # LightGBM's forests take no objective of ours
        return WeightedRows(booster_twin(estimator, "Classifier"), classes)
    return BoosterSoftmax(estimator, classes)


def _columns(values: Any) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return values.reshape(len(values), -1)


def _flat(values: np.ndarray) -> np.ndarray:
    return values[:, 0] if values.shape[1] == 1 else values


class _PerOutput(RegressorMixin, BaseEstimator):
    """One copy of a regressor per output, each with names and early stopping as if it were alone."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: np.ndarray, sample_weight: Any = None, valid: Any = None) -> _PerOutput:
        self.estimators_ = []
        for k in range(y.shape[1]):
            watched = None if valid is None else (named(valid[0], self.estimator), valid[1][:, k], valid[2])
            part = clone_estimator(self.estimator)
            self.estimators_.append(fit_stopping_early(part, named(X, self.estimator), y[:, k], sample_weight, watched))
        return self

    def set_params(self, **params: Any) -> _PerOutput:
        """Those of the regressor, by its own names, as a search gives them."""
        self.estimator.set_params(**params)
        return self

    def predict(self, X: Any) -> np.ndarray:
        return np.column_stack([part.predict(named(X, part)) for part in self.estimators_])


def outputs_ready(estimator: Any, n_outputs: int) -> Any:
    """``estimator`` if it predicts that many outputs, else one copy of it per output."""
    if n_outputs == 1 or not is_regressor(estimator):
        return estimator
    kind = family(estimator)
    if kind == "catboost" and estimator.get_params().get("loss_function") in (None, "RMSE", "MultiRMSE"):
        return booster_twin(estimator, "Regressor", loss_function="MultiRMSE")
    if kind == "xgboost" or (kind == "sklearn" and get_tags(estimator).target_tags.multi_output):
        return estimator
    return _PerOutput(estimator)

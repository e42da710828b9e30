"""How any estimator learns from soft targets.

An *adapter* wraps one estimator: it is fitted to :class:`Targets` and answers on a *link* scale, on which the
members of an ensemble are averaged. ``adapt`` chooses the adapter by protocol, family and tags.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import get_tags

from tabkd._compat import clone_estimator, is_regressor, take_rows, takes_weights
from tabkd.families import (
    BOOSTERS,
    booster_twin,
    family,
    fit_stopping_early,
    native_learning_rate,
    pop_class_weight,
    regressor_of,
    watching,
)
from tabkd.targets import align_classes, apply_link, blend, link_scores, soften

__all__ = ["LOSSES", "Adapter", "HardLabels", "Targets", "adapt", "resolve_loss"]

LOSSES = ("auto", "cross_entropy", "squared_error", "logit")
#: Classifiers whose ``predict_proba`` is the softmax (or logistic) of their ``decision_function``.
_LINKED = {
    "LogisticRegression",
    "LogisticRegressionCV",
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
}
#: Regressors whose log-odds lie on a smooth surface; the rest predict probabilities (bench_losses.py).
_LOGIT = ("linear_model", "neural_network")


@dataclass(frozen=True)
class Targets:
    """What the rows of one fit are to be learnt as.

    Attributes
    ----------
    hard : ndarray of shape (n_samples, n_outputs)
        One-hot labels, or true values.
    soft : ndarray of shape (n_samples, n_outputs) or None
        What the teacher says, at temperature 1; None without a teacher.
    classes : ndarray of shape (n_classes,) or None
        Labels of the columns; None for regression.
    weight : ndarray of shape (n_samples,) or None
    alpha : float
        Weight of ``hard`` in the blend.
    temperature : float
    """

    hard: np.ndarray
    soft: np.ndarray | None
    classes: Any
    weight: np.ndarray | None = None
    alpha: float = 1.0
    temperature: float = 1.0

    @property
    def labels(self) -> np.ndarray:
        """True labels or values as ``fit`` of a plain estimator takes them."""
        if self.classes is not None:
            return self.classes[self.codes]
        return self.hard[:, 0] if self.hard.shape[1] == 1 else self.hard

    @property
    def codes(self) -> np.ndarray:
        """True classes as positions in ``classes``."""
        return self.hard.argmax(axis=1)

    @property
    def blended(self) -> np.ndarray:
        """The one target that an adapted student sees."""
        if self.soft is None:
            return self.hard
        mixed = blend(self.hard, self.soft, self.alpha)
        return mixed if self.classes is None else soften(mixed, self.temperature)

    def take(self, rows: np.ndarray) -> Targets:
        """The same for some of the rows."""
        return replace(
            self,
            hard=self.hard[rows],
            soft=None if self.soft is None else self.soft[rows],
            weight=None if self.weight is None else self.weight[rows],
        )

    def weighted_blend(self, class_weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """The blend and the row weights once each class counts ``class_weight`` times.

        ``sum_c w_c t_c log p_c`` is the cross-entropy of the renormalised target, weighted by ``sum_c w_c t_c``.
        """
        if class_weight is None:
            return self.blended, self.weight
        scaled = self.blended * class_weight
        total = scaled.sum(axis=1)
        weight = total if self.weight is None else total * self.weight
        return scaled / np.maximum(total, np.finfo(float).tiny)[:, None], weight


Validation = tuple[Any, Targets]


class Adapter:
    """One estimator that learns from :class:`Targets`.

    Parameters
    ----------
    estimator : estimator
        Owned by the adapter: fitted in place.
    classes : ndarray of shape (n_classes,) or None
        None for regression.

    Attributes
    ----------
    link : {"identity", "probability", "logit", "softmax"}
        The scale of ``raw``.
    """

    link = "probability"

    def __init__(self, estimator: Any, classes: np.ndarray | None) -> None:
        self.estimator = estimator
        self.classes = classes

    def fit(self, X: Any, targets: Targets, valid: Validation | None = None, teacher: Any = None) -> Adapter:
        """Fit to ``targets``; ``valid`` are rows for early stopping, ``teacher`` a frozen teacher if there is one."""
        raise NotImplementedError

    def raw(self, X: Any) -> np.ndarray:
        """Scores of shape (n_samples, n_columns) on the link scale."""
        raise NotImplementedError


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
        if self.classes is None:
            self.estimator = _outputs_ready(self.estimator, targets.hard.shape[1])
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


class WeightedRows(Adapter):
    """A scikit-learn classifier: each row once per class, weighted by its probability.

    The weighted log-loss of the duplicated rows is the cross-entropy of the soft targets.
    """

    def __init__(self, estimator: Any, classes: np.ndarray) -> None:
        if not takes_weights(estimator):
            name = type(estimator).__name__
            raise ValueError(
                f"{name} cannot learn from soft targets: its fit takes no sample_weight. Use a regressor such as "
                f"{name.replace('Classifier', 'Regressor')}, or a classifier that takes weights."
            )
        super().__init__(estimator, classes)
        self.link = HardLabels(estimator, classes).link

    def fit(self, X: Any, targets: Targets, valid: Validation | None = None, teacher: Any = None) -> WeightedRows:
        params = self.estimator.get_params(deep=False)
        # Copies of one row on both sides of an internal split would make it worthless.
        if "early_stopping" in params:
            self.estimator.set_params(early_stopping=False)
        elif type(self.estimator).__name__.startswith("GradientBoosting"):
            self.estimator.set_params(n_iter_no_change=None)
        self.estimator, class_weight = pop_class_weight(self.estimator, targets.codes, targets.classes, targets.weight)
        self.estimator.set_params(**native_learning_rate(self.estimator, X, targets.labels, targets.weight))
        watched = None if valid is None else self._copies(valid[0], valid[1], class_weight)
        fit_stopping_early(self.estimator, *self._copies(X, targets, class_weight), watched)
        return self

    @staticmethod
    def _copies(X: Any, targets: Targets, class_weight: np.ndarray | None) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """Each row once per class that it may be, and the weights, None where all are 1."""
        target, weight = targets.weighted_blend(class_weight)
        weights = target if weight is None else target * weight[:, None]
        rows, codes = np.nonzero(weights)
        given = weights[rows, codes]
        return take_rows(X, rows), targets.classes[codes], None if (given == 1).all() else given

    raw = HardLabels.raw


class Regressed(Adapter):
    """Any regressor: values, probabilities or log-odds, one output per column."""

    def __init__(self, estimator: Any, classes: np.ndarray | None, link: str) -> None:
        super().__init__(estimator, classes)
        self.link = link

    def fit(self, X: Any, targets: Targets, valid: Validation | None = None, teacher: Any = None) -> Regressed:
        y = self._scaled(targets)
        self.estimator = _outputs_ready(self.estimator, y.shape[1])
        watched = (
            None if valid is None else (named(valid[0], self.estimator), _flat(self._scaled(valid[1])), valid[1].weight)
        )
        fit_stopping_early(self.estimator, named(X, self.estimator), _flat(y), targets.weight, watched)
        return self

    def _scaled(self, targets: Targets) -> np.ndarray:
        return targets.blended if self.link == "identity" else apply_link(targets.blended, self.link)

    def raw(self, X: Any) -> np.ndarray:
        scores = _columns(self.estimator.predict(named(X, self.estimator)))
        if self.link == "probability" and scores.shape[1] == 1:
            return np.hstack([1 - scores, scores])
        return scores


class BoosterCrossEntropy(Adapter):
    """A booster whose own objective takes the probability of the second of two classes."""

    link = "logit"
    _TWINS: ClassVar[dict[str, tuple[str, dict[str, Any]]]] = {
        "lightgbm": ("Regressor", {"objective": "cross_entropy"}),
        "xgboost": ("Regressor", {"objective": "reg:logistic"}),
        "catboost": ("Classifier", {"loss_function": "CrossEntropy"}),
    }

    def fit(
        self, X: Any, targets: Targets, valid: Validation | None = None, teacher: Any = None
    ) -> BoosterCrossEntropy:
        estimator, class_weight = pop_class_weight(self.estimator, targets.codes, targets.classes, targets.weight)
        kind, objective = self._TWINS[family(estimator)]
        objective = objective | native_learning_rate(estimator, X, targets.labels, targets.weight)
        self.estimator = booster_twin(estimator, kind, **objective)
        target, weight = targets.weighted_blend(class_weight)
        watched = None
        if valid is not None:
            target_valid, weight_valid = valid[1].weighted_blend(class_weight)
            watched = (named(valid[0], estimator), _positive(target_valid), weight_valid)
        fit_stopping_early(self.estimator, named(X, estimator), _positive(target), weight, watched)
        return self

    def raw(self, X: Any) -> np.ndarray:
        return decision_values(self.estimator, named(X, self.estimator)).reshape(-1, 1)


class SoftmaxObjective:
    """Gradient of the softmax cross-entropy of soft labels, for LightGBM and XGBoost.

    Parameters
    ----------
    target : ndarray of shape (n_samples, n_classes)
    weight : ndarray of shape (n_samples,) or None
        Applied by hand: the libraries do not weigh a custom gradient.
    curvature : float
        Factor of the diagonal Hessian ``p (1 - p)``, as in each library's own objective.
    """

    def __init__(self, target: np.ndarray, weight: np.ndarray | None, curvature: float) -> None:
        self.target = target
        self.weight = np.ones((len(target), 1)) if weight is None else weight[:, None]
        self.curvature = curvature

    def __call__(
        self, y_true: np.ndarray, y_pred: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        proba = softmax(y_pred, axis=1)
        hessian = self.curvature * proba * (1 - proba)
        return (proba - self.target) * self.weight, np.maximum(hessian, 1e-16) * self.weight

    def loss(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[str, float, bool]:
        """Mean cross-entropy, for early stopping."""
        losses = -(self.target * log_softmax(y_pred.reshape(self.target.shape), axis=1)).sum(axis=1)
        return "soft_cross_entropy", float(np.average(losses, weights=self.weight[:, 0])), False

    def __deepcopy__(self, memo: dict[int, Any]) -> SoftmaxObjective:
        return self

    def __getstate__(self) -> dict[str, Any]:
        """A pickled model needs no training rows."""
        return {}


class BoosterSoftmax(Adapter):
    """LightGBM or XGBoost on soft labels of more than two classes, as one model.

    The initial score is the log of the weighted class shares, added again in ``raw``.
    """

    link = "softmax"

    def fit(self, X: Any, targets: Targets, valid: Validation | None = None, teacher: Any = None) -> BoosterSoftmax:
        estimator, class_weight = pop_class_weight(self.estimator, targets.codes, targets.classes, targets.weight)
        target, weight = targets.weighted_blend(class_weight)
        n_classes = target.shape[1]
        self.prior = np.log(np.maximum(np.average(target, axis=0, weights=weight), 1e-15))
        lightgbm = family(estimator) == "lightgbm"
        objective = SoftmaxObjective(target, weight, n_classes / (n_classes - 1) if lightgbm else 2.0)
        start = np.tile(self.prior, (len(target), 1))
        fit_params: dict[str, Any]
        if lightgbm:
            self.estimator = booster_twin(
                estimator, "Regressor", objective=objective, num_class=n_classes, metric="None"
            )
            y, fit_params = targets.codes, {"init_score": start}
        else:
            self.estimator = booster_twin(estimator, "Regressor", objective=objective, base_score=0.0)
            # The weights shape the histogram bins, as they do for XGBoost's own objectives.
            y, fit_params = target, {"base_margin": start, "sample_weight": weight}
        if valid is not None:
            watched = SoftmaxObjective(*valid[1].weighted_blend(class_weight), objective.curvature)
            start_valid = np.tile(self.prior, (len(watched.target), 1))
            X_valid = named(valid[0], estimator)
            if lightgbm:
                fit_params |= {
                    "eval_set": [(X_valid, valid[1].codes)],
                    "eval_init_score": [start_valid],
                    "eval_metric": watched.loss,
                }
            else:
                self.estimator.set_params(eval_metric=_XGBoostLoss(watched))
                fit_params |= {
                    "eval_set": [(X_valid, watched.target)],
                    "base_margin_eval_set": [start_valid],
                    "verbose": False,
                }
        with watching():
            self.estimator.fit(named(X, estimator), y, **fit_params)
        return self

    def raw(self, X: Any) -> np.ndarray:
        return decision_values(self.estimator, named(X, self.estimator)) + self.prior


class _XGBoostLoss:
    __name__ = "soft_cross_entropy"

    def __init__(self, objective: SoftmaxObjective) -> None:
        self.objective = objective

    def __call__(self, y_true: np.ndarray, y_pred: np.ndarray) -> float:
        return self.objective.loss(y_true, y_pred)[1]


class FitSoft(Adapter):
    """A student that learns from soft targets by itself, through ``fit_soft``."""

    def __init__(self, estimator: Any, classes: np.ndarray | None) -> None:
        super().__init__(estimator, classes)
        self.link = "identity" if classes is None else "probability"

    def fit(self, X: Any, targets: Targets, valid: Validation | None = None, teacher: Any = None) -> FitSoft:
        self.estimator.fit_soft(
            X,
            targets.hard if targets.soft is None else targets.soft,
            y=targets.labels,
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
    if by_entropy:
        return "cross_entropy"
    return "logit" if any(f".{part}." in type(estimator).__module__ for part in _LOGIT) else "squared_error"


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
        return Regressed(regressor_of(estimator), classes, "probability")
    if loss == "logit":
        return Regressed(regressor_of(estimator), classes, "logit" if len(classes) == 2 else "softmax")
    kind = family(estimator)
    if kind not in BOOSTERS:
        return WeightedRows(estimator, classes)
    if len(classes) == 2:
        return BoosterCrossEntropy(estimator, classes)
    if kind == "catboost":
        return WeightedRows(booster_twin(estimator, "Classifier"), classes)
    return BoosterSoftmax(estimator, classes)


def named(X: Any, estimator: Any) -> Any:
    """A frame under names that LightGBM and XGBoost accept: they refuse ``[ ] { } < > , : "``."""
    if not isinstance(X, pd.DataFrame) or family(estimator) not in ("lightgbm", "xgboost"):
        return X
    names = [str(name) for name in X.columns]
    clean = ["".join("_" if c in _FORBIDDEN or c.isspace() else c for c in name) for name in names]
    if clean == names:
        return X
    # Names that need no cleaning keep theirs; the others give way to them and to each other.
    taken = {name for name, cleaned in zip(names, clean, strict=True) if name == cleaned}
    for i, name in enumerate(names):
        while clean[i] != name and clean[i] in taken:
            clean[i] += "_"
        taken.add(clean[i])
    return X.set_axis(clean, axis=1)


_FORBIDDEN = frozenset('[]{}<>,:"')


def decision_values(estimator: Any, X: Any) -> np.ndarray:
    """A fitted model's values before its link, float64 of shape (n_samples,) or (n_samples, n_classes)."""
    kind = family(estimator)
    if kind == "lightgbm":
        values = estimator.predict(X, raw_score=True)
    elif kind == "xgboost":
        values = estimator.predict(X, output_margin=True)
    elif kind == "catboost":
        values = estimator.predict(X, prediction_type="RawFormulaVal")
    else:
        values = estimator.decision_function(X)
    return np.asarray(values, dtype=np.float64)


def _positive(target: np.ndarray) -> np.ndarray:
    # LightGBM wants labels inside [0, 1] to the last bit.
    return np.clip(target[:, 1], 0, 1)


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

    def predict(self, X: Any) -> np.ndarray:
        return np.column_stack([part.predict(named(X, part)) for part in self.estimators_])


def _outputs_ready(estimator: Any, n_outputs: int) -> Any:
    """``estimator`` if it predicts that many outputs, else one copy of it per output."""
    if n_outputs == 1 or not is_regressor(estimator):
        return estimator
    kind = family(estimator)
    if kind == "catboost":
        return booster_twin(estimator, "Regressor", loss_function="MultiRMSE")
    if kind == "xgboost" or (kind == "sklearn" and get_tags(estimator).target_tags.multi_output):
        return estimator
    return _PerOutput(estimator)

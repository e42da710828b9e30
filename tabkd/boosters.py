"""Boosters on soft labels: their own cross-entropy for two classes, a softmax objective for more."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.special import log_softmax, softmax

from tabkd.adapter import Adapter, Validation
from tabkd.families import decision_values, family, fit_stopping_early, named, pop_class_weight, watching
from tabkd.targets import Targets
from tabkd.twins import booster_twin, native_learning_rate

__all__ = ["BoosterCrossEntropy", "BoosterSoftmax", "SoftmaxObjective"]


class BoosterCrossEntropy(Adapter):
    """A booster whose own objective takes the probability of the second of two classes."""

    link = "logit"
    _TWINS: ClassVar[dict[str, tuple[str, dict[str, Any]]]] = {
        "lightgbm": ("Regressor", {"objective": "cross_entropy"}),
        "xgboost": ("Regressor", {"objective": "reg:logistic", "eval_metric": "logloss"}),
        "catboost": ("Classifier", {"loss_function": "CrossEntropy"}),
    }

    def fit(
        self, X: Any, targets: Targets, valid: Validation | None = None, teacher: Any = None
    ) -> BoosterCrossEntropy:
        estimator, class_weight = pop_class_weight(self.estimator, targets.codes, targets.classes, targets.weight)
        kind, objective = self._TWINS[family(estimator)]
        labelled = None if valid is None else (valid[0], valid[1].labels, valid[1].weight)
        objective = objective | native_learning_rate(estimator, X, targets.labels, targets.weight, labelled)
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


def _positive(target: np.ndarray) -> np.ndarray:
    # LightGBM wants labels inside [0, 1] to the last bit.
    return np.clip(target[:, 1], 0, 1)

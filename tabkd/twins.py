"""Twins: a booster's or another model's counterpart for the other task, to learn soft labels or to be the control."""

from __future__ import annotations

import importlib
from inspect import signature
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from tabkd._compat import clone_estimator, is_regressor
from tabkd.families import BOOSTERS, CLASS_WEIGHTS, STOPPING, family, fit_stopping_early, quiet

__all__ = ["booster_twin", "classifier_of", "native_learning_rate", "regressor_of"]

#: Parameters that only make sense for the objective that a soft-label twin replaces.
_OBJECTIVE = {
    "lightgbm": {"objective", "num_class", "metric"},
    "xgboost": {"objective", "num_class", "eval_metric"},
    "catboost": {
        "loss_function",
        "objective",
        "eval_metric",
        "custom_metric",
        "class_names",
        "classes_count",
    },
}


class _StopAtOnce:
    def after_iteration(self, info: Any) -> bool:
        return False


def native_learning_rate(
    estimator: Any,
    X: Any,
    y: np.ndarray,
    sample_weight: np.ndarray | None,
    valid: tuple[Any, Any, Any] | None = None,
) -> dict[str, float]:
    """The learning rate that CatBoost would choose for true labels, where the user left it to CatBoost.

    CatBoost adapts its rate to rows, rounds and early stopping for its own objectives, but silently takes 0.03 for
    soft labels.

    Returns
    -------
    dict
        ``{"learning_rate": rate}``, or empty where there is nothing to set.
    """
    params = estimator.get_params()
    if family(estimator) != "catboost" or any(params.get(name) is not None for name in ("learning_rate", "eta")):
        return {}
    probe = booster_twin(estimator, "Classifier", **dict.fromkeys(STOPPING["catboost"]))
    fit_stopping_early(probe, X, y, sample_weight, valid, callbacks=[_StopAtOnce()])
    return {"learning_rate": probe.learning_rate_}


def booster_twin(estimator: Any, kind: str, **params: Any) -> Any:
    """A booster of the same family and parameters, as a ``"Classifier"`` or a ``"Regressor"``.

    Parameters
    ----------
    estimator : estimator
        Of a boosting family; not changed.
    kind : {"Classifier", "Regressor"}
    **params
        Set on the result, over what ``estimator`` has; its objective and metrics are not taken along.
    """
    name = family(estimator)
    prefix = {"lightgbm": "LGBM", "xgboost": "XGB", "catboost": "CatBoost"}[name]
    if any(base.__name__.startswith("XGBRF") for base in type(estimator).__mro__):
        prefix = "XGBRF"  # one round of many trees: as XGBRegressor it would boost them at a rate of 1
    module = importlib.import_module(name)
    dropped = _OBJECTIVE[name] | (set(CLASS_WEIGHTS) if name == "catboost" and kind == "Regressor" else set())
    kept = {k: v for k, v in estimator.get_params(deep=False).items() if k not in dropped}
    cls = getattr(module, prefix + kind)
    if isinstance(estimator, cls):
        cls = type(estimator)
    return quiet(cls(**{**kept, **params}))


def classifier_of(regressor: Any) -> Any | None:
    """The classifier that is to ``regressor`` what ``LGBMClassifier`` is to ``LGBMRegressor``, or None.

    Parameters that both have are carried over, except the loss, which has other names there.
    """
    if isinstance(regressor, Pipeline):
        *steps, (name, last) = regressor.steps
        twin = classifier_of(last)
        return None if twin is None else Pipeline([*steps, (name, twin)])
    if family(regressor) in BOOSTERS:
        return booster_twin(regressor, "Classifier")
    module, name = type(regressor).__module__, type(regressor).__name__
    params = regressor.get_params(deep=False)
    if module.startswith("sklearn.linear_model"):
        cls = importlib.import_module("sklearn.linear_model").LogisticRegression
        return cls(fit_intercept=params.get("fit_intercept", True), max_iter=1000)
    cls = getattr(importlib.import_module(module), name.removesuffix("Regressor") + "Classifier", None)
    if cls is None or not hasattr(cls, "predict_proba"):
        return None
    if {"estimators", "estimator"} & {p.name for p in signature(cls).parameters.values() if p.default is p.empty}:
        return None  # made of regressors, as VotingRegressor is
    shared = cls().get_params(deep=False).keys() & params.keys() - {"loss", "criterion", "estimator"}
    return clone_estimator(cls(**{key: params[key] for key in shared}))


def regressor_of(estimator: Any) -> Any:
    """The squared-error regressor of a boosting family, or ``estimator`` itself if it predicts numbers.

    Raises
    ------
    ValueError
        If it is a classifier outside the boosting families.
    """
    if family(estimator) in BOOSTERS:
        return booster_twin(estimator, "Regressor")
    if is_regressor(estimator):
        return estimator
    name = type(estimator).__name__
    raise ValueError(
        f"{name} is a classifier and learns by cross-entropy only. Use loss='auto', or a regressor such as "
        f"{name.replace('Classifier', 'Regressor')}."
    )

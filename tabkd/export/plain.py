"""Estimators that were fitted without this library, seen as fitted models of it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from tabkd._compat import is_regressor, last_step
from tabkd.averages import FittedAverage
from tabkd.columns import ColumnEncoder
from tabkd.encodings import encoding_for
from tabkd.families import family
from tabkd.learners import Member
from tabkd.models import FittedModel, fitted_model, labels_of
from tabkd.students import HardLabels

__all__ = ["fitted_model_of", "is_plain"]

#: Probabilities that differ by more are different (values: by more than that part of their spread).
_APART = 1e-5


def fitted_model_of(model: Any, X: Any) -> FittedModel | FittedAverage:
    """The fitted model inside an estimator of this library, or one around a plain estimator.

    Parameters
    ----------
    model : DistilledEstimator or the like, FittedModel, FittedAverage or estimator
    X : table or None
        As :func:`tabkd.frames.as_table` gives it.

    Returns
    -------
    FittedModel or FittedAverage

    Raises
    ------
    ValueError
        If a plain estimator reads text columns and there is no table to learn their texts from.
    """
    if isinstance(model, FittedModel | FittedAverage):
        return model
    check_is_fitted(model)
    model = getattr(model, "best_estimator_", model)
    if hasattr(model, "student_"):
        return model.student_
    if is_classifier(model) and not hasattr(model, "predict_proba"):
        raise ValueError(
            f"{type(model).__name__} gives no probabilities, which the file of a classifier answers with. Use one that "
            "has predict_proba, or CalibratedClassifierCV around it."
        )
    if family(last_step(model)) == "lightgbm" and last_step(model).booster_.pandas_categorical:
        raise ValueError(
            "LightGBM was fitted on pandas categories, whose codes no file keeps. Fit it as the student of "
            "DistilledEstimator, or on codes with categorical_feature=[...]."
        )
    texts = _text_positions(last_step(model))
    if texts and X is None:
        raise ValueError(f"{type(model).__name__} reads text columns: give some rows, to_onnx(model, path, X=X).")
    given, X = X, _table_like_fit(model) if X is None else X
    pipeline, by_itself = isinstance(model, Pipeline), encoding_for(model) == "table"
    encoding = "table" if by_itself else "catboost" if texts else "ordinal"
    encoder = ColumnEncoder.fit(X, range(X.shape[1]), encoding, () if by_itself else texts)
    if encoding == "ordinal" and (named := [c.name for c in encoder.columns if c.kind == "category"]):
        raise ValueError(
            f"{type(model).__name__} was fitted on numbers, but columns {named} of X hold text. Give X as fit saw it, "
            "or train it as the student of DistilledEstimator."
        )
    classes = None if is_regressor(model) else np.asarray(model.classes_)
    steps, last = ([model[:-1]], model[-1]) if pipeline and len(model) > 1 else ([], last_step(model))
    adapter = HardLabels(last, classes)
    member = Member(adapter, steps=steps)
    fitted = fitted_model(encoder, [member], classes)
    try:
        adapter.link_checked(member.prepared(encoder.transform(X)))
        _check_stand_in(model, fitted, X)
    except (TypeError, ValueError) as error:
        if given is not None:
            raise
        raise ValueError(
            f"{type(model).__name__} does not answer rows of numbers drawn at random ({error}): give some rows, "
            "to_onnx(model, path, X=X)."
        ) from error
    return fitted


def is_plain(model: Any) -> bool:
    """Whether a model was fitted without this library."""
    model = getattr(model, "best_estimator_", model)
    return not isinstance(model, FittedModel | FittedAverage) and not hasattr(model, "student_")


def _check_stand_in(model: Any, fitted: Any, X: Any) -> None:
    """Refuse a model that answers otherwise than from float32 numbers, and by the likeliest class."""
    name, classify = type(model).__name__, fitted.classes is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that the model was fitted without
        answers = np.asarray(model.predict(X)).reshape(X.shape[0], -1)
        expected = model.predict_proba(X) if classify else answers
        found = fitted.predict_proba(X) if classify else fitted.predict(X).reshape(answers.shape)
    scale = 1.0 if classify else np.ptp(expected, axis=0) + 0.1 * np.abs(expected)
    if len(odd := np.flatnonzero((np.abs(found - expected) > _APART * scale).any(axis=1))):
        row = int(odd[0])
        raise ValueError(
            f"{name} reads more digits than float32 has, which files read: row {row} of X gives "
            f"{expected[row].tolist()}, in float32 {found[row].tolist()}. Take an offset off the column (seconds since "
            "the first row, not since 1970), or fit it on float32."
        )
    likeliest = labels_of(expected, None, averaged=fitted.averaged) if classify else 0
    if classify and len(odd := np.flatnonzero(answers[:, 0] != fitted.classes[likeliest])):
        row = int(odd[0])
        raise ValueError(
            f"{name} predicts {answers[row, 0]!r} for row {row} of X, which is not its likeliest class: it has a "
            "threshold of its own, or there is a tie. Files answer with the likeliest class, or by the threshold of a "
            "DistilledEstimator."
        )


def _text_positions(model: Any) -> list[int]:
    return [int(i) for i in model.get_cat_feature_indices()] if family(model) == "catboost" else []


def _table_like_fit(model: Any) -> Any:
    """Random numbers under the names that ``fit`` saw."""
    names = next((list(getattr(model, n)) for n in ("feature_names_in_", "feature_names_") if hasattr(model, n)), None)
    numbers = np.random.default_rng(0).normal(size=(100, model.n_features_in_))
    return numbers if names is None else pd.DataFrame(numbers, columns=names)

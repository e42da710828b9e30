"""Estimators that were fitted without this library, seen as fitted models of it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from tabkd._compat import is_regressor, last_step, take_rows
from tabkd.averages import FittedAverage
from tabkd.columns import ColumnEncoder
from tabkd.encodings import encoding_for
from tabkd.export.parity import ParityError
from tabkd.families import family
from tabkd.learners import Member
from tabkd.models import TIE, FittedModel, fitted_model, labels_of
from tabkd.students import HardLabels

__all__ = ["check_made_rows", "fitted_model_of", "is_plain"]

#: Probabilities that differ by more are different (values: by more than that part of their spread).
_APART = 1e-5
#: Classifiers of several classes that predict by other numbers than they give as probabilities.
_ONE_VS_REST = ("SGDClassifier", "OneVsRestClassifier")
#: Rows that show what kind of answers a classifier gives.
_N_ASKED = 100


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
        If a plain estimator reads text columns and there is no table to learn their texts from, or writes its file
        itself.
    """
    if isinstance(model, FittedModel | FittedAverage):
        return model
    check_is_fitted(model)
    model = getattr(model, "best_estimator_", model)
    inner = getattr(model, "student_", last_step(model))
    if own := [part for part in getattr(inner, "estimators_", [inner]) if hasattr(part, "to_onnx")]:
        raise ValueError(
            f"{type(own[0]).__name__} writes its file itself. Call its own to_onnx(path), or that of the estimator "
            "that distilled it."
        )
    if hasattr(model, "student_"):
        return model.student_
    if not is_classifier(model) and not is_regressor(model):
        raise ValueError(f"{type(model).__name__} neither classifies nor regresses. Give a classifier or a regressor.")
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
    if given is not None:  # of the types that fit saw, which its steps compute in
        dtypes = X.dtypes if isinstance(X, pd.DataFrame) else [X.dtype] * X.shape[1]
        doubles = [name for name, dtype in zip(encoder.names, dtypes, strict=True) if dtype != np.float32]
        encoder = replace(encoder, doubles=frozenset(doubles))
    if encoding == "ordinal" and (named := [c.name for c in encoder.columns if c.kind == "category"]):
        raise ValueError(
            f"{type(model).__name__} was fitted on numbers, but columns {named} of X hold text. Give X as fit saw it, "
            "or train it as the student of DistilledEstimator."
        )
    if given is None:
        _check_answers_numbers(model, X)
    classes = None if is_regressor(model) else _classes(model, take_rows(X, np.arange(min(X.shape[0], _N_ASKED))))
    steps, last = ([model[:-1]], model[-1]) if pipeline and len(model) > 1 else ([], last_step(model))
    adapter = HardLabels(last, classes)
    member = Member(adapter, steps=steps)
    fitted = fitted_model(encoder, [member], classes)
    adapter.link_checked(member.prepared(encoder.transform(X)))
    if given is not None:
        _check_stand_in(model, fitted, X)
    return fitted


def is_plain(model: Any) -> bool:
    """Whether a model was fitted without this library."""
    model = getattr(model, "best_estimator_", model)
    return not isinstance(model, FittedModel | FittedAverage) and not hasattr(model, "student_")


def check_made_rows(model: Any, fitted: Any, rows: pd.DataFrame, given: Any) -> None:
    """Refuse a plain estimator that answers the rows of the proof otherwise than the model that stands for it.

    Parameters
    ----------
    model : estimator
    fitted : FittedModel
        From :func:`fitted_model_of`.
    rows : DataFrame
        Made to find differences.
    given : table or None
        None where no table tells the type of the numbers that it reads: float64 must give what float32 gives.

    Raises
    ------
    ValueError
    """
    name, encoded = type(model).__name__, fitted.encoder.transform(rows)
    labels, expected, found = _answers(model, fitted, encoded if given is not None else encoded.astype(np.float64))
    apart = _apart(expected, found, fitted.classes is not None)
    if len(apart) and given is None:
        raise ValueError(
            f"{name} answers float64 otherwise than float32 ({_both(expected, found, apart)}), and nothing says which "
            "it reads. Give some rows, to_onnx(model, path, X=X)."
        )
    if len(apart):
        raise ParityError(
            f"{name} cannot be exported: for {rows.iloc[apart[0]].to_dict()} it gives "
            f"{_both(expected, found, apart)} from its parts. Please report it."
        )
    if fitted.classes is not None:  # among made rows are ties, which the last digit decides in Python
        clear = np.ptp(np.sort(expected, axis=1)[:, -2:], axis=1) > TIE
        _check_labels(name, labels, np.where(clear, fitted.classes[expected.argmax(axis=1)], labels), "the proof")


def _check_answers_numbers(model: Any, X: Any) -> None:
    """Ask for rows where a model does not answer those that were drawn."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that the model was fitted without
            model.predict(X)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{type(model).__name__} does not answer rows of numbers drawn at random ({error}): give some rows, "
            "to_onnx(model, path, X=X)."
        ) from error


def _classes(model: Any, X: Any) -> np.ndarray:
    """The labels of a classifier that gives each of them a probability."""
    name = type(model).__name__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that the model was fitted without
        labels, proba, again = model.predict(X), model.predict_proba(X), model.predict_proba(X)
    if np.size(labels) != X.shape[0]:
        raise ValueError(f"{name} predicts several labels. Export one model per label.")
    if np.shape(proba) != (X.shape[0], len(model.classes_)):
        raise ValueError(
            f"{name} gives no probability per class (its objective may be one of your own). Fit it with an objective "
            "of its library."
        )
    if not np.allclose(proba.sum(axis=1), 1, atol=_APART):
        raise ValueError(
            f"{name} gives probabilities that do not add up to 1, as those of one-vs-all objectives. Fit it with "
            "'multiclass' (LightGBM) or 'MultiClass' (CatBoost)."
        )
    if (
        len(model.classes_) > 2
        and type(last_step(model)).__name__ in _ONE_VS_REST
        and hasattr(model, "decision_function")
    ):
        raise ValueError(
            f"{name} predicts by decision values of one class against the rest, which its probabilities do not tell "
            "apart where several are near 1. Use LogisticRegression, or CalibratedClassifierCV around it."
        )
    if not np.array_equal(proba, again):
        raise ValueError(f"{name} answers at random, which no file does. Give a model that answers one way.")
    return np.asarray(model.classes_)


def _check_stand_in(model: Any, fitted: Any, X: Any) -> None:
    """Refuse a model that answers otherwise than from float32 numbers, and by the likeliest class."""
    name, classify = type(model).__name__, fitted.classes is not None
    labels, expected, found = _answers(model, fitted, X)
    if len(apart := _apart(expected, found, classify)):
        raise ValueError(
            f"{name} reads more digits than float32 has, which files read: row {apart[0]} of X gives "
            f"{_both(expected, found, apart)} in float32. Take an offset off the column (seconds since the first row, "
            "not since 1970), or fit it on float32."
        )
    if classify:
        likeliest = labels_of(expected, None, averaged=fitted.averaged)
        _check_labels(name, labels, fitted.classes[likeliest], "X")


def _answers(model: Any, fitted: Any, X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A plain estimator's labels, its probabilities or values, and those of the model that stands for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that the model was fitted without
        labels = np.asarray(model.predict(X)).reshape(X.shape[0], -1)
        if fitted.classes is None:
            return labels, labels, fitted.predict(X).reshape(labels.shape)
        return labels[:, 0], model.predict_proba(X), fitted.predict_proba(X)


def _apart(expected: np.ndarray, found: np.ndarray, classify: bool) -> np.ndarray:
    """Rows whose answers differ."""
    with np.errstate(invalid="ignore"):  # infinity less infinity
        scale = 1.0 if classify else np.ptp(expected, axis=0) + 0.1 * np.abs(expected)
        return np.flatnonzero((np.abs(found - expected) > _APART * scale).any(axis=1))


def _both(expected: np.ndarray, found: np.ndarray, rows: np.ndarray) -> str:
    return f"{expected[rows[0]].tolist()}, and {found[rows[0]].tolist()}"


def _check_labels(name: str, labels: np.ndarray, likeliest: np.ndarray, where: str) -> None:
    if len(odd := np.flatnonzero(labels != likeliest)):
        raise ValueError(
            f"{name} predicts {labels[odd[0]]!r} for row {odd[0]} of {where}, which is not its likeliest class: it has "
            "a threshold of its own, or there is a tie. Files answer with the likeliest class, or by the threshold of "
            "a DistilledEstimator."
        )


def _text_positions(model: Any) -> list[int]:
    return [int(i) for i in model.get_cat_feature_indices()] if family(model) == "catboost" else []


def _table_like_fit(model: Any) -> Any:
    """Random numbers under the names that ``fit`` saw."""
    names = next((list(getattr(model, n)) for n in ("feature_names_in_", "feature_names_") if hasattr(model, n)), None)
    numbers = np.random.default_rng(0).normal(size=(100, model.n_features_in_))
    return numbers if names is None else pd.DataFrame(numbers, columns=names)

"""What must be known of each library of models, in one place, and without importing any of them.

A *family* is the library that an estimator comes from: ``"lightgbm"``, ``"xgboost"``, ``"catboost"`` or
``"sklearn"`` (anything else that follows scikit-learn's conventions).
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import has_fit_parameter

from tabkd._compat import fit_weighted, is_search, made_again, nested_estimators

__all__ = [
    "averages_trees",
    "cat_columns",
    "categories_by_position",
    "decision_values",
    "family",
    "fit_stopping_early",
    "limit_threads",
    "named",
    "pop_class_weight",
    "quiet",
    "stops_early",
    "without_stopping",
]

BOOSTERS = ("lightgbm", "xgboost", "catboost")
_THREADS = {"lightgbm": "n_jobs", "xgboost": "n_jobs", "catboost": "thread_count"}
_VERBOSITY: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "lightgbm": (("verbose", "verbosity"), {"verbose": -1}),
    "catboost": (("verbose", "logging_level", "silent", "verbose_eval"), {"verbose": False}),
}
STOPPING = {
    "lightgbm": ("early_stopping_round", "early_stopping_rounds", "early_stopping", "n_iter_no_change"),
    "xgboost": ("early_stopping_rounds",),
    "catboost": ("early_stopping_rounds", "od_wait", "od_type", "od_pval"),
}
CATEGORICAL = ("categorical_feature", "cat_feature", "categorical_column", "cat_column")
CLASS_WEIGHTS = (
    *("class_weight", "class_weights", "auto_class_weights", "scale_pos_weight"),
    *("is_unbalance", "unbalance", "unbalanced_sets"),
)
_TWO_CLASSES = ("scale_pos_weight", "is_unbalance", "unbalance", "unbalanced_sets")


def family(estimator: Any) -> str:
    """The library that ``estimator`` comes from, by its class and its bases.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from tabkd.families import family
    >>> family(LogisticRegression())
    'sklearn'
    """
    modules = {base.__module__.partition(".")[0] for base in type(estimator).__mro__}
    return next((name for name in BOOSTERS if name in modules), "sklearn")


def cat_columns(estimator: Any) -> list[str | int]:
    """The ``cat_features`` and ``text_features`` that a CatBoost model reads as text, else an empty list."""
    while is_search(estimator):
        estimator = estimator.estimator
    if family(estimator) != "catboost":
        return []
    return [column for columns in _named_by(estimator).values() for column in columns]


def _named_by(estimator: Any) -> dict[str, list[str | int]]:
    """The columns of CatBoost's own kinds, by the parameter that names them."""
    given = {name: estimator.get_params().get(name) for name in ("cat_features", "text_features")}
    return {name: list(np.atleast_1d(columns).tolist()) for name, columns in given.items() if columns is not None}


def categories_by_position(estimator: Any, X: Any) -> Any:
    """LightGBM with its ``categorical_feature`` as positions, which its constructor heeds; names it ignores."""
    if family(estimator) != "lightgbm":
        return estimator
    params = estimator.get_params(deep=False)
    given = next((name for name in CATEGORICAL if isinstance(params.get(name), list | tuple)), None)
    if given is None:
        return estimator
    names = list(getattr(X, "columns", []))
    unknown = [column for column in params[given] if isinstance(column, str) and column not in names]
    if unknown:
        raise ValueError(
            f"categorical_feature names {unknown}, but the columns of this model are {names}. Name some of these, or "
            "give positions."
        )
    positions = [names.index(column) if isinstance(column, str) else column for column in params[given]]
    kept = {name: value for name, value in params.items() if name not in CATEGORICAL}
    return made_again(estimator, {**kept, "categorical_column": positions})


def quiet(estimator: Any) -> Any:
    """Stop a model that prints unless told otherwise, and CatBoost's files; what the user set stays."""
    kind = family(estimator)
    if kind not in _VERBOSITY:
        return estimator
    params = estimator.get_params()
    names, silence = _VERBOSITY[kind]
    if not any(params.get(name) is not None for name in names):
        estimator.set_params(**silence)
    if kind == "catboost" and params.get("allow_writing_files") is None:
        estimator.set_params(allow_writing_files=False)
    return estimator


def limit_threads(estimator: Any, threads: int | None) -> Any:
    """Give a booster its share of the cores when several are fitted at once; what the user set stays."""
    for part in () if threads is None else (estimator, *nested_estimators(estimator).values()):
        name = _THREADS.get(family(part))
        if name and part.get_params().get(name) in (None, -1, 0):
            part.set_params(**{name: threads})
    return estimator


def stops_early(estimator: Any) -> bool:
    """Whether a booster asks for early stopping, and so for validation rows."""
    names = STOPPING.get(family(estimator), ())
    params = estimator.get_params()
    return any(params.get(name) for name in names)


def without_stopping(estimator: Any) -> Any:
    """``estimator``, told to use all its rounds: early stopping needs validation rows."""
    if not stops_early(estimator):
        return estimator
    params, names = estimator.get_params(deep=False), STOPPING[family(estimator)]
    return made_again(estimator, {name: value for name, value in params.items() if name not in names})


def averages_trees(estimator: Any) -> bool:
    """Whether a LightGBM model is a random forest rather than a boosted sum."""
    params = estimator.get_params(deep=False) if family(estimator) == "lightgbm" else {}
    return any(params.get(name) in ("rf", "random_forest") for name in ("boosting_type", "boosting", "boost"))


def fit_stopping_early(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: np.ndarray | None,
    valid: tuple[Any, Any, Any] | None,
    **more: Any,
) -> Any:
    """Fit, watching ``valid = (X, y, sample_weight)`` where a booster stops early on it."""
    if valid is not None:
        X_valid, y_valid, weight_valid = valid
        if has_fit_parameter(estimator, "valid"):
            return fit_weighted(estimator, X, y, sample_weight, valid=valid, **more)
        if family(estimator) == "catboost":
            pool = importlib.import_module("catboost").Pool
            more["eval_set"] = pool(X_valid, y_valid, weight=weight_valid, **_named_by(estimator))
        else:
            more["eval_set"] = [(X_valid, y_valid)]
            if family(estimator) == "xgboost":
                more["verbose"] = False
            if weight_valid is not None:
                name = "eval_sample_weight" if family(estimator) == "lightgbm" else "sample_weight_eval_set"
                more[name] = [weight_valid]
    with watching():
        return fit_weighted(estimator, X, y, sample_weight, **more)


@contextmanager
def watching() -> Iterator[None]:
    """Pass ``eval_set`` to LightGBM: what replaces it since 4.7 takes no text labels, and 4.6 does not know it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The argument 'eval_set' is deprecated")
        yield


def pop_class_weight(
    estimator: Any, codes: np.ndarray, classes: Any, sample_weight: np.ndarray | None
) -> tuple[Any, np.ndarray | None]:
    """Take the class weights out of ``estimator`` and return them, one per class.

    Soft labels need them by hand: LightGBM ignores its own under cross-entropy, and ``"balanced"`` would count
    every duplicated row.

    Parameters
    ----------
    estimator : estimator
    codes : ndarray of shape (n_samples,)
        True classes of the training rows, as positions in ``classes``.
    classes : ndarray of shape (n_classes,)
    sample_weight : ndarray of shape (n_samples,) or None
        CatBoost and logistic regression balance weighted counts, the others count rows.

    Returns
    -------
    estimator : estimator
        The same without class weights.
    weights : ndarray of shape (n_classes,) or None
        None where none were asked for.
    """
    params = estimator.get_params(deep=False)
    asked = {name: params[name] for name in CLASS_WEIGHTS if _weighs(params.get(name))}
    if not asked:
        return estimator, None
    counted = sample_weight if family(estimator) == "catboost" or _balances_weights(estimator) else None
    counts = np.maximum(np.bincount(codes, weights=counted, minlength=len(classes)), np.finfo(float).tiny)
    weights = np.ones(len(classes))
    for name, value in asked.items():
        if len(classes) > 2 and name in _TWO_CLASSES:
            continue  # as the libraries do
        if name == "scale_pos_weight":
            weights[1] *= value
        elif isinstance(value, dict):
            weights *= np.array([value.get(label, value.get(str(label), 1.0)) for label in classes.tolist()])
        elif name == "class_weights":
            weights *= value
        elif name == "class_weight":
            seen = np.isin(np.arange(len(classes)), codes)
            weights *= np.where(seen, counts[seen].sum() / (seen.sum() * counts), 1.0)
        else:
            balanced = counts.max() / counts
            weights *= np.sqrt(balanced) if value == "SqrtBalanced" else balanced
    return type(estimator)(**{k: v for k, v in params.items() if k not in asked}), weights


def _weighs(value: Any) -> bool:
    # A plain 1 asks for nothing, but True (LightGBM's ``is_unbalance``) equals it.
    return not (value is None or value is False or (value is not True and np.isscalar(value) and value == 1))


def named(X: Any, estimator: Any) -> Any:
    """A frame under names that LightGBM and XGBoost accept, also inside another model.

    They refuse ``[ ] { } < > , : "`` and no name; LightGBM takes a blank for ``_``.
    """
    kind = family(estimator)
    if kind == "lightgbm" and isinstance(X, np.ndarray):
        # LightGBM 4.6 gives arrays such names in fit, and then warns in predict that they have none.
        return pd.DataFrame(X, columns=[f"Column_{i}" for i in range(X.shape[1])], copy=False)
    if not isinstance(X, pd.DataFrame):
        return X
    if kind == "sklearn":
        X = _writable(X)
    blanks = kind != "sklearn"  # inside a model they stay: LightGBM reads them, and parts beside it may name them
    names = [str(name) for name in X.columns]
    clean = ["".join("_" if c in _FORBIDDEN or (blanks and c.isspace()) else c for c in name) or "_" for name in names]
    if clean == names or not _refuses_names(estimator):
        return X
    # Names that need no cleaning keep theirs; the others give way to them and to each other.
    taken = {name for name, cleaned in zip(names, clean, strict=True) if name == cleaned}
    for i, name in enumerate(names):
        while clean[i] != name and clean[i] in taken:
            clean[i] += "_"
        taken.add(clean[i])
    return X.set_axis(clean, axis=1)


def _refuses_names(estimator: Any) -> bool:
    """Whether it, or a part that is handed its columns, is LightGBM or XGBoost."""
    if (kind := family(estimator)) != "sklearn":
        return kind != "catboost"
    if isinstance(estimator, Pipeline) or not hasattr(estimator, "fit") or get_tags(estimator).input_tags.string:
        return False  # pipelines, and what reads tables by itself, find columns by name
    parts = nested_estimators(estimator)
    return any(_refuses_names(part) for name, part in parts.items() if "__" not in name)


def _balances_weights(estimator: Any) -> bool:
    """Whether "balanced" is of weighted counts: in scikit-learn's logistic regression, since it can."""
    return "sample_weight" in signature(compute_class_weight).parameters and "LogisticRegression" in {
        base.__name__ for base in type(estimator).__mro__
    }


def _writable(X: pd.DataFrame) -> pd.DataFrame:
    """A frame that scikit-learn's trees accept: with numbers that are not finite they refuse read-only arrays."""
    values = X.to_numpy()
    if values.flags.writeable or (values.dtype.kind == "f" and np.isfinite(values).all()):
        return X
    if X.shape[1] == 1 and values.dtype.kind == "f":
        return X.astype(np.float64)  # trees read float32, and make a copy of their own
    return pd.DataFrame({name: X[name] for name in X}, copy=False)  # columns apart, so that an array is a copy


_FORBIDDEN = frozenset('[]{}<>,:"')


def decision_values(estimator: Any, X: Any) -> np.ndarray:
    """A fitted model's values before its link, float64 of shape (n_samples,) or (n_samples, n_classes)."""
    kind = family(estimator)
    if kind == "lightgbm":
        values = estimator.predict(X, raw_score=True)
        if averages_trees(estimator):  # LightGBM sums its raw scores there, too
            booster = estimator.booster_
            values = values / (booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration())
    elif kind == "xgboost":
        values = estimator.predict(X, output_margin=True)
    elif kind == "catboost":
        values = estimator.predict(X, prediction_type="RawFormulaVal")
    else:
        values = estimator.decision_function(X)
    return np.asarray(values, dtype=np.float64)

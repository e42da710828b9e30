"""How a table is encoded for an estimator, or whether it reads the table, or texts, as they are."""

from __future__ import annotations

from typing import Any

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from tabkd._compat import is_search, last_step
from tabkd.families import cat_columns, family

__all__ = ["encoding_for", "reads_texts"]

#: What models call those that they are made of, and which of them hand X on to these as it comes.
_MADE_OF = ("estimator", "estimators", "regressor", "classifier", "base_estimator")
_HANDING_ON = (
    *("CalibratedClassifierCV", "FixedThresholdClassifier", "TunedThresholdClassifierCV", "TransformedTargetRegressor"),
    *("VotingClassifier", "VotingRegressor", "StackingClassifier", "StackingRegressor"),
)
_ONE_HOT = (
    "linear_model",
    "neural_network",
    "neighbors",
    "svm",
    "naive_bayes",
    "gaussian_process",
    "discriminant_analysis",
)


def encoding_for(estimator: Any, *, texts: bool = False) -> str:
    """How the columns are encoded for ``estimator`` (see :mod:`tabkd.columns`).

    Trees read ordinal codes, models that add or measure distances, and what is made of these, read one-hot columns:
    compared by ``benchmarks/bench_students.py``. What reads strings by itself gets the table as it is.

    Raises
    ------
    ValueError
        If X holds ``texts``, one a row, and the estimator reads columns.
    """
    if texts:
        if not reads_texts(estimator):
            raise ValueError(
                f"X holds texts, which {type(last_step(estimator)).__name__} does not read. Put it behind a "
                "TfidfVectorizer in a Pipeline, or give a table."
            )
        return "texts"
    if is_search(estimator):
        return encoding_for(estimator.estimator)
    if isinstance(estimator, Pipeline) or _hands_on_tables(estimator):
        return "table"
    kind = family(estimator)
    if kind == "sklearn" and get_tags(estimator).input_tags.string:
        return "table"
    if any(encoding_for(part) == "onehot" for part in _parts(estimator)):
        return "onehot"  # which trees beside a linear model read as well, and it cannot read codes
    if kind == "catboost" and cat_columns(estimator):
        return "catboost"
    if kind == "xgboost" and estimator.get_params().get("enable_categorical"):
        return "category"
    parts = type(estimator).__module__.split(".")
    return "onehot" if parts[0] == "sklearn" and len(parts) > 1 and parts[1] in _ONE_HOT else "ordinal"


def reads_texts(estimator: Any) -> bool:
    """Whether an estimator takes texts, one a row, rather than columns: a pipeline may, a transformer does."""
    while is_search(estimator) or isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    if parts := _readers(estimator):
        return all(map(reads_texts, parts))
    tags = get_tags(estimator).input_tags
    return isinstance(estimator, Pipeline) or (tags.string and tags.one_d_array)


def _hands_on_tables(estimator: Any) -> bool:
    """Whether an estimator hands its table on, and only to such as read tables for themselves."""
    parts = _readers(estimator)
    return bool(parts) and all(encoding_for(part) == "table" for part in parts)


def _readers(estimator: Any) -> list[Any]:
    """The estimators that read X as another one, made of them, was given it; empty for all others."""
    return _parts(estimator) if type(estimator).__name__ in _HANDING_ON else []


def _parts(estimator: Any) -> list[Any]:
    """The models that another one is made of and hands columns to."""
    params = estimator.get_params(deep=False)
    found: list[Any] = []
    for name in _MADE_OF:
        part = params.get(name)
        found += [one[1] for one in part] if isinstance(part, list | tuple) else [part]
    return [part for part in found if hasattr(part, "fit")]

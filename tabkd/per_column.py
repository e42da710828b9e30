"""Parameters of models that name or number columns, kept true where a selector drops some and where some are added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from tabkd._compat import clone_estimator, nested_estimators
from tabkd.families import CATEGORICAL

__all__ = ["kept_columns", "more_columns"]

_LISTS = ("cat_features", "text_features", "embedding_features", "ignored_features", "categorical_features")
_SETS = ("interaction_constraints", "interaction_cst")
#: One value per column, and the value that asks nothing of a column.
_VALUES = {
    **dict.fromkeys(("monotone_constraints", "monotone_constraint", "monotonic_cst", "mc"), 0),
    **dict.fromkeys(("first_feature_use_penalties", "per_object_feature_penalties"), 0),
    **dict.fromkeys(("feature_weights", "feature_contri", "feature_contrib", "feature_penalty", "fp", "fc"), 1),
    "feature_types": "q",
}
_PER_COLUMN = {*_LISTS, *CATEGORICAL, *_SETS, *_VALUES}


def kept_columns(estimator: Any, names: Sequence[str | int], support: Iterable[int]) -> Any:
    """An estimator whose parameters say of the columns that a selector kept what they said of them among all.

    Parameters
    ----------
    estimator : estimator
        Not changed.
    names : sequence of str or int
        Of all columns.
    support : iterable of int
        Which of them are kept, in order.

    Raises
    ------
    ValueError
        If a parameter cannot follow its columns.
    """
    _refuse_positions(estimator)
    places = {position: place for place, position in enumerate(support)}
    now: dict[Any, Any] = {position: places.get(position) for position in range(len(names))}
    now |= {name: name if p in places else None for p, name in enumerate(names) if isinstance(name, str)}
    follow = _named if _has_pipeline(estimator) else _kept
    made = {path: follow(path, value, now, len(names)) for path, value in _per_column(estimator).items()}
    return clone_estimator(estimator).set_params(**made) if made else estimator


def more_columns(estimator: Any, n_more: int) -> Any:
    """An estimator whose parameters with a value per column ask nothing of ``n_more`` columns behind the others."""
    if _has_pipeline(estimator):
        return estimator
    made = {
        path: type(value)([*value, *[_VALUES.get(_last(path), False)] * n_more])
        for path, value in _per_column(estimator).items()
        if _has_values(path, value)
    }
    return clone_estimator(estimator).set_params(**made) if made else estimator


def _per_column(estimator: Any) -> dict[str, Any]:
    """What an estimator and its parts are told of single columns, under the nested names of the parameters."""
    parts = {f"{name}__": part for name, part in nested_estimators(estimator).items()}
    return {
        prefix + name: value.tolist() if hasattr(value, "tolist") else value
        for prefix, part in {"": estimator, **parts}.items()
        for name, value in part.get_params(deep=False).items()
        if name in _PER_COLUMN and np.iterable(value)
    }


def _kept(path: str, value: Any, now: Mapping[Any, Any], width: int) -> Any:
    """One parameter, where ``now`` is what each of ``width`` columns is called now, None if it was dropped."""

    def left(columns: Iterable[Any]) -> list[Any]:
        return [now.get(column, column) for column in columns if now.get(column, column) is not None]

    if isinstance(value, str) and value not in now:
        if value.isidentifier():  # a word, such as "auto"
            return value
        raise ValueError(f"{path}={value!r} is text, which cannot follow a selector. Give a list, or a dict by name.")
    if isinstance(value, Mapping):
        return {now.get(column, column): one for column, one in value.items() if left([column])}
    if _has_values(path, value):
        if len(value) > width:
            raise ValueError(f"{path} has {len(value)} values, but the model has {width} columns. Give one for each.")
        return type(value)(one for position, one in enumerate(value) if now[position] is not None)
    if _last(path) in _SETS:
        return [kept for group in value if (kept := left(group))]
    return left([value] if isinstance(value, str) else value)


def _named(path: str, value: Any, *_: Any) -> Any:
    """One parameter inside a pipeline, whose steps may make other columns: names alone keep their meaning."""
    if not all(isinstance(column, str) for column in value):
        raise ValueError(
            f"{path}={value!r} counts columns behind the steps of a Pipeline, where they cannot follow a selector. "
            "Name them, or give the model without the Pipeline."
        )
    return value


def _refuse_positions(estimator: Any) -> None:
    """Columns of a ColumnTransformer have names, or are found by what they hold."""
    for part in (estimator, *nested_estimators(estimator).values()):
        for _, _, columns in part.transformers if isinstance(part, ColumnTransformer) else ():
            given = [columns.start, columns.stop] if isinstance(columns, slice) else np.ravel(columns)
            if not callable(columns) and not all(isinstance(column, str | None) for column in given):
                raise ValueError(
                    f"A ColumnTransformer takes the columns {columns} by position, which cannot follow a selector. "
                    "Give their names (in a data frame), or use make_column_selector."
                )


def _has_values(path: str, value: Any) -> bool:
    """Whether a parameter holds a value per column, as masks do."""
    if not isinstance(value, list | tuple) or len(value) == 0:
        return False
    return _last(path) in _VALUES or all(isinstance(one, bool | np.bool_) for one in value)


def _last(path: str) -> str:
    return path.rpartition("__")[2]


def _has_pipeline(estimator: Any) -> bool:
    return any(isinstance(part, Pipeline) for part in (estimator, *nested_estimators(estimator).values()))

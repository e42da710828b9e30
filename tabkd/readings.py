"""Which columns teacher and student of a fit read, and how they are encoded for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import get_tags

from tabkd._compat import is_fitted_selector, last_step, nested_estimators
from tabkd.columns import ColumnEncoder
from tabkd.diagnose import warn_of_prose
from tabkd.encodings import encoding_for
from tabkd.families import cat_columns, family
from tabkd.frames import column_positions
from tabkd.rows import Rows
from tabkd.settings import is_frozen

__all__ = ["check_values", "encoder_for", "student_columns", "teacher_columns"]

#: scikit-learn's boosters, by the beginning of their names; they take gaps and infinite numbers.
_HIST_BOOSTING = "HistGradientBoosting"


def student_columns(settings: Any, rows: Rows) -> tuple[list[int], Any]:
    """Positions of the student's columns, and the selector that chooses among them in each fold, if there is one.

    Parameters
    ----------
    settings : DistilledEstimator
    rows : Rows

    Returns
    -------
    positions : list of int
    selector : selector or None
        To be fitted.
    """
    spec, selector = settings.student_features, None
    if hasattr(spec, "inside") and not is_fitted_selector(spec):
        spec, selector = spec.inside(settings, rows.X)
    elif hasattr(spec, "get_support"):
        spec, selector = _selected(spec)
    return column_positions(rows.X, spec, "student_features"), selector


def teacher_columns(settings: Any, rows: Rows) -> tuple[list[int], Any]:
    """Positions of the teacher's columns, and the selector that chooses among them for each teacher, if there is one.

    Parameters
    ----------
    settings : DistilledEstimator
    rows : Rows

    Returns
    -------
    positions : list of int
    selector : selector or None
        To be fitted.

    Raises
    ------
    ValueError
        If there is a selector, and the teacher is fitted already.
    """
    spec, selector = settings.teacher_features, None
    if hasattr(spec, "get_support"):
        spec, selector = _selected(spec)
    if selector is not None and is_frozen(settings):
        raise ValueError(
            f"teacher_features={selector!r} would choose for a teacher that is fitted already. Name its columns."
        )
    return column_positions(rows.X, spec, "teacher_features"), selector


def _selected(selector: Any) -> tuple[Any, Any]:
    """The columns of a fitted selector; of one that is to be fitted all of them, and itself."""
    if not is_fitted_selector(selector):
        return None, selector
    names = getattr(selector, "feature_names_in_", None)
    return selector.get_support() if names is None else names[selector.get_support()], None


def encoder_for(model: Any, rows: Rows, positions: list[int], *, frozen: bool = False) -> ColumnEncoder:
    """Some columns of the table, or the texts, as a model reads them.

    Parameters
    ----------
    model : estimator
    rows : Rows
    positions : list of int
    frozen : bool
        Whether the model was fitted elsewhere, and so reads the table untouched.

    Returns
    -------
    ColumnEncoder
    """
    encoding = "raw" if frozen and not rows.texts else encoding_for(model, texts=rows.texts)
    encoder = ColumnEncoder.fit(rows.X, positions, encoding, cat_columns(model))
    warn_of_prose(last_step(model), encoder, len(rows.y))
    if encoding in ("ordinal", "onehot", "category"):
        _check_numbers(last_step(model), encoder, rows)
    return encoder


def check_values(model: Any, encoder: ColumnEncoder, rows: Rows, fits: Sequence[np.ndarray]) -> None:
    """Raise unless a model that needs a value in every column finds one in each of its fits.

    Parameters
    ----------
    model : estimator
    encoder : ColumnEncoder
        How it reads the rows.
    rows : Rows
    fits : sequence of ndarray of int
        Positions of the rows of each fit.

    Raises
    ------
    ValueError
    """
    name = type(last_step(model)).__name__
    if not name.startswith(_HIST_BOOSTING) or encoder.encoding != "ordinal":
        return
    if empty := _columns(encoder, rows, lambda values: any(np.isnan(values[own]).all() for own in fits)):
        raise ValueError(
            f"{name} needs a value in every column wherever it is fitted, and columns {empty} have none in some or all "
            "training folds. Drop or fill them."
        )


def _columns(encoder: ColumnEncoder, rows: Rows, hold: Callable[[np.ndarray], bool | np.bool_]) -> list[str | int]:
    """The columns of numbers that something holds of, by their values as they are read."""
    frame = pd.DataFrame(rows.X)
    return [
        column.name
        for column, position in zip(encoder.columns, encoder.positions, strict=True)
        if column.kind != "category" and hold(column.numbers(frame.iloc[:, position]))
    ]


def _check_numbers(model: Any, encoder: ColumnEncoder, rows: Rows) -> None:
    """Name the columns of numbers that a model cannot read, before anything is fitted."""
    check_values(model, encoder, rows, [np.arange(len(rows.y))])
    name = type(model).__name__
    plain = type(model).__module__.startswith("sklearn.") and not name.startswith((_HIST_BOOSTING, "Dummy"))
    # Models made of others do not say what those read.
    if nested_estimators(model) or not (plain or family(model) == "xgboost"):
        return
    if endless := _columns(encoder, rows, lambda values: np.isinf(values).any()):
        raise ValueError(
            f"{name} reads no infinite numbers (Input X contains infinity), and columns {endless} hold some, or such "
            "as are beyond float32. Clip or replace them."
        )
    if not plain or get_tags(model).input_tags.allow_nan:
        return
    if gaps := _columns(encoder, rows, lambda values: np.isnan(values).any()):
        filled = "SimpleImputer()"
        if texts := [column.name for column in encoder.columns if column.kind == "category"]:
            filled = (
                f"make_column_transformer((SimpleImputer(), {gaps}), (OneHotEncoder(handle_unknown='ignore', "
                f"sparse_output=False), {texts}), remainder='passthrough')"
            )
        raise ValueError(
            f"{name} reads no missing values (Input X contains NaN), and columns {gaps} have some. Use "
            f"make_pipeline({filled}, {name}(...)), or a model that does."
        )

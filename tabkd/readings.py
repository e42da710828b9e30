"""Which columns teacher and student of a fit read, and how they are encoded for them."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.utils import get_tags

from tabkd._compat import is_fitted_selector, last_step, nested_estimators
from tabkd.columns import ColumnEncoder
from tabkd.diagnose import warn_of_prose
from tabkd.encodings import encoding_for
from tabkd.families import cat_columns
from tabkd.frames import column_positions
from tabkd.rows import Rows
from tabkd.settings import is_frozen

__all__ = ["encoder_for", "student_columns", "teacher_columns"]


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
    if encoding in ("ordinal", "onehot"):
        _refuse_gaps(last_step(model), encoder, rows)
    return encoder


def _missing(encoder: ColumnEncoder, rows: Rows, *, all_of_them: bool = False) -> list[str | int]:
    """The columns of numbers in which values are missing, one or all."""
    frame = pd.DataFrame(rows.X)
    return [
        column.name
        for column, position in zip(encoder.columns, encoder.positions, strict=True)
        if column.kind != "category"
        and (missing := frame.iloc[:, position].isna()).any()
        and (missing.all() or not all_of_them)
    ]


def _refuse_gaps(model: Any, encoder: ColumnEncoder, rows: Rows) -> None:
    """Name the columns of numbers with gaps that a model of scikit-learn cannot read, before anything is fitted."""
    if type(model).__name__.startswith("HistGradientBoosting"):  # takes gaps, but no column of nothing else
        if empty := _missing(encoder, rows, all_of_them=True):
            raise ValueError(f"{type(model).__name__} needs a value in every column, and {empty} have none. Drop them.")
        return
    # Models made of others do not say what those read, nor do dummies, which read nothing.
    plain = type(model).__module__.startswith("sklearn.") and not type(model).__module__.startswith("sklearn.dummy")
    if not plain or nested_estimators(model) or get_tags(model).input_tags.allow_nan:
        return
    if gaps := _missing(encoder, rows):
        raise ValueError(
            f"{type(model).__name__} reads no missing values (Input X contains NaN), and columns {gaps} have some. Use "
            f"make_pipeline(SimpleImputer(), {type(model).__name__}(...)), or a model that does."
        )

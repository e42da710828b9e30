"""Tables of pandas, polars and NumPy, read here and nowhere else: their columns by any specification, their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import joblib
import numpy as np
import pandas as pd
from scipy.sparse import issparse, vstack

from tabkd._compat import column_indices, optional_import, take_rows

__all__ = ["as_table", "column_positions", "has_names", "is_texts", "rows_of", "stacked"]

#: What :func:`as_table` returns: a pandas frame or a NumPy array.
Table = Any


def as_table(X: Any) -> Table:
    """Read a table: a pandas frame with unique names, or a numeric 2-D array; texts become a table of one column.

    Parameters
    ----------
    X : pandas or polars frame, or array-like of shape (n_samples, n_features)

    Returns
    -------
    DataFrame or ndarray
        Arrays of objects or strings come back as a frame without names (its columns are positions).

    Raises
    ------
    TypeError
        If ``X`` is sparse or lazy.
    ValueError
        If ``X`` is empty, not two-dimensional, complex, or has duplicate column names.
    """
    if type(X).__module__.partition(".")[0] == "polars":
        optional_import("pyarrow", needed_by="A polars table", extra="polars")
        if hasattr(X, "collect"):
            raise TypeError("A polars LazyFrame holds no rows yet. Pass X.collect().")
        X = X.to_pandas()
    if issparse(X):
        raise TypeError("Sparse data was passed for X, but dense data is required. Use X.toarray().")
    if is_texts(X):
        X = pd.DataFrame(np.asarray(X, dtype=object).reshape(-1, 1))
    if not isinstance(X, pd.DataFrame):
        given, X = X, np.asarray(X)
        if X.dtype.kind in "US" and not hasattr(given, "dtype"):  # numbers beside texts would be texts themselves
            X = np.asarray(given, dtype=object)
        if X.ndim != 2:
            raise ValueError(
                f"Expected 2D array, got {X.ndim}D array instead. Reshape your data: "
                "X.reshape(-1, 1) if it has one feature, X.reshape(1, -1) if it is one sample."
            )
        if X.dtype.kind == "c":
            raise ValueError("Complex data not supported. Split it into real and imaginary columns.")
        if X.dtype.kind not in "biuf":
            X = pd.DataFrame(X).infer_objects()
    if X.shape[0] == 0 or X.shape[1] == 0:
        what, unit = ("sample", "rows") if X.shape[0] == 0 else ("feature", "columns")
        raise ValueError(
            f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 is required. "
            f"The table is empty: pass one with {unit}."
        )
    if isinstance(X, pd.DataFrame) and not X.columns.is_unique:
        twice = X.columns[X.columns.duplicated()].unique().tolist()
        raise ValueError(f"Column names must be unique, but {twice} occur more than once. Rename or drop them.")
    return X


def is_texts(X: Any) -> bool:
    """Whether these are texts, one a row, and no table."""
    polars = type(X).__module__.partition(".")[0] == "polars"
    if not (polars or isinstance(X, list | tuple | pd.Series | np.ndarray)) or len(X) == 0 or np.ndim(X) != 1:
        return False
    return isinstance(X.iloc[0] if isinstance(X, pd.Series) else X[0], str)


def column_positions(X: Table, spec: Any, what: str) -> list[int]:
    """Resolve a scikit-learn column specification to positions.

    Parameters
    ----------
    X : DataFrame or ndarray
        A table from :func:`as_table`.
    spec : str, int, sequence of either, slice, boolean mask, callable, or None
        ``None`` is every column.
    what : str
        Name of the parameter, for errors.

    Returns
    -------
    list of int

    Raises
    ------
    ValueError
        If a name is unknown, or no column is chosen.
    """
    if spec is None:
        return list(range(X.shape[1]))
    if isinstance(spec, Callable):  # type: ignore[arg-type]
        spec = spec(X)
    names = [] if isinstance(spec, slice) else [n for n in np.atleast_1d(spec).tolist() if isinstance(n, str)]
    if names and not has_names(X):
        raise ValueError(f"{what} names columns {names}, but X has no column names. Use positions, or a frame.")
    unknown = [name for name in names if name not in X.columns] if names else []
    if unknown:
        raise ValueError(f"{what} names unknown columns {unknown}. X has {X.columns.tolist()}.")
    try:
        positions = column_indices(X, list(spec) if isinstance(spec, pd.Index | tuple) else spec)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{what}={spec!r} does not fit a table of {X.shape[1]} columns: {error}") from error
    if len(positions) == 0:
        raise ValueError(f"{what}={spec!r} chooses no column. Choose at least one, or None for all.")
    twice = sorted({p for p in positions if positions.count(p) > 1})
    if twice:
        columns = [X.columns[p] for p in twice] if isinstance(X, pd.DataFrame) else twice
        raise ValueError(f"{what} names columns {columns} more than once. Name each once.")
    return [int(position) for position in positions]


def has_names(X: Any) -> bool:
    """Whether a table's columns are named by strings."""
    return isinstance(X, pd.DataFrame) and all(isinstance(name, str) for name in X.columns)


def free_name(name: str, taken: Sequence[Any]) -> str:
    """The name, with underscores behind it as long as it is taken."""
    while name in taken:
        name += "_"
    return name


def stacked(tables: Sequence[Any]) -> Any:
    """Encoded tables of the same columns, one below the other."""
    if len(tables) == 1:
        return tables[0]
    if isinstance(tables[0], pd.DataFrame):
        return pd.concat(tables, ignore_index=True)
    return vstack(tables) if issparse(tables[0]) else np.concatenate(tables)


def columns_of(X: Any, positions: Any) -> Any:
    """Some columns of a table, by position or mask."""
    return X.iloc[:, positions] if isinstance(X, pd.DataFrame) else X[:, positions]


def fingerprint(X: Table) -> str:
    """Of a table's cells, whatever objects hold equal ones; names do not count."""
    return joblib.hash(pd.util.hash_pandas_object(pd.DataFrame(X), index=False).to_numpy())


def rows_of(X: Table, rows: np.ndarray) -> Table:
    """A copy of some rows of a table, by position."""
    return take_rows(X, rows)

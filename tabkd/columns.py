"""Tables in, numbers out: names, kinds, categories and missing values.

What an estimator sees of a table depends on its *encoding*:

``"ordinal"``
    One float32 column per table column. Categories become codes: 0 is a category never seen in
    ``fit``, 1 a missing one, 2 and up the known ones in sorted order.
``"onehot"``
    As ``"ordinal"``, but each category column becomes one 0/1 column per known category and one for
    missing; an unknown category is all zeros. The numbers are those of float32, but held in float64, because
    scikit-learn's linear models compute in the precision of their input.
``"catboost"``
    As ``"ordinal"``, but the columns named in CatBoost's ``cat_features`` stay strings, ``""`` if missing.
``"category"``
    As ``"ordinal"``, but category columns are pandas categoricals (for XGBoost's ``enable_categorical``).
``"table"``
    The table as it is, floating-point columns cast to float32 (pipelines encode for themselves).
``"texts"``
    One-dimensional texts as they are.
``"raw"``
    The table untouched (for a model that was fitted elsewhere).

The fitted encoder is plain data, so that it can be exported with the model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tabkd.column import EXACT_INTEGERS, FIRST_CATEGORY, MISSING, UNKNOWN, Column
from tabkd.frames import Table, columns_of, free_name, has_names, rows_of

__all__ = ["ColumnEncoder"]

ENCODINGS = ("ordinal", "onehot", "catboost", "category", "table", "texts", "raw")
#: Rows that are looked at for what is typical of a column.
_N_TYPICAL = 1000


@dataclass(frozen=True)
class ColumnEncoder:
    """How a table becomes what an estimator reads, as plain data.

    Attributes
    ----------
    columns : tuple of Column
        What is needed, in the order that the estimator sees.
    positions : tuple of int
        Where they stood in the table of ``fit``.
    width : int
        Number of columns of that table.
    named : bool
        Whether that table had column names.
    encoding : str
        One of the encodings that the module describes.
    as_text : frozenset of str or int
        Names of the columns that stay text under ``"catboost"``.
    doubles : frozenset of str or int
        Names of the columns whose floats are held in float64, rounded to float32 all the same: what was fitted on
        float64 elsewhere computes so.
    """

    columns: tuple[Column, ...]
    positions: tuple[int, ...]
    width: int
    named: bool
    encoding: str = "ordinal"
    as_text: frozenset[str | int] = frozenset()
    doubles: frozenset[str | int] = frozenset()

    @classmethod
    def fit(
        cls,
        X: Table,
        positions: Sequence[int],
        encoding: str = "ordinal",
        as_text: Iterable[str | int] = (),
    ) -> ColumnEncoder:
        """Learn kinds and categories of the columns at ``positions``.

        Parameters
        ----------
        X : DataFrame or ndarray of shape (n_samples, n_features)
            A table from :func:`tabkd.frames.as_table`.
        positions : sequence of int
        encoding : str
        as_text : iterable of str or int
            ``cat_features`` of a CatBoost model: names, or positions among ``positions``.

        Returns
        -------
        ColumnEncoder
        """
        if encoding != "raw" and (isinstance(X, pd.DataFrame) or X.dtype.kind != "f"):
            frame = pd.DataFrame(X)
            as_it_is = encoding in ("table", "texts")
            read = Column.read_any if as_it_is else Column.read
            columns = tuple(read(frame.columns[p], frame.iloc[:, p]) for p in positions)
            if as_it_is:  # what nobody encodes need not be kept: a pickled model would hold every text it has seen
                columns = tuple(replace(c, categories=()) if c.is_prose(len(frame)) else c for c in columns)
        else:
            names = X.columns if isinstance(X, pd.DataFrame) else range(X.shape[1])
            columns = tuple(Column(names[p], "number") for p in positions)
        known = [column.name for column in columns]
        strange = [c for c in as_text if c not in (range(len(known)) if isinstance(c, int | np.integer) else known)]
        if strange:
            raise ValueError(f"cat_features names {strange}, but the columns of this model are {known}.")
        texts = frozenset(known[c] if isinstance(c, int | np.integer) else c for c in as_text)
        columns = tuple(
            column.with_texts(pd.Series(columns_of(X, p)))
            if encoding == "catboost" and column.name in texts
            else column
            for column, p in zip(columns, positions, strict=True)
        )
        if encoding not in ("raw", "texts"):
            few = X[:: max(1, len(X) // _N_TYPICAL)]
            columns = tuple(c.with_typical(few, p) for c, p in zip(columns, positions, strict=True))
        return cls(columns, tuple(positions), X.shape[1], has_names(X), encoding, texts)

    @property
    def names(self) -> list[str | int]:
        """Names of the columns needed."""
        return [column.name for column in self.columns]

    @property
    def categories(self) -> dict[str | int, tuple[Any, ...]]:
        """The known values of each column that holds categories."""
        return {c.name: c.categories for c in self.columns if c.kind == "category" and c.categories}

    @property
    def _dtype(self) -> type:
        return np.float64 if self.encoding == "onehot" or self.doubles else np.float32

    @property
    def sources(self) -> list[int]:
        """For each encoded column, the index of the table column that it comes from."""
        return [
            index
            for index, column in enumerate(self.columns)
            for _ in range(len(column.categories) + 1 if self.encoding == "onehot" and column.kind == "category" else 1)
        ]

    def select(self, indices: Sequence[int]) -> ColumnEncoder:
        """The same encoder for some of its columns, by index among them."""
        return replace(
            self,
            columns=tuple(self.columns[i] for i in indices),
            positions=tuple(self.positions[i] for i in indices),
        )

    def check_width(self, X: Table, reader: str = "this model") -> None:
        """Raise if columns are found by position, and there are neither all of them nor those needed.

        Parameters
        ----------
        X : DataFrame or ndarray
        reader : str
            Who reads the table, for the message.

        Raises
        ------
        ValueError
        """
        own = len(self.columns)
        if not (self.named and has_names(X)) and X.shape[1] not in (self.width, own):
            more = "." if self.width == own else f", or its own {own}."
            raise ValueError(
                f"X has {X.shape[1]} features, but {reader} is expecting {self.width} features as input{more}"
            )

    def pick(self, X: Table) -> Table:
        """The needed columns of a table, in order: by name where there are names, else by position.

        Raises
        ------
        ValueError
            If a column is missing.
        """
        if self.named and has_names(X):
            if X.columns.tolist() == self.names:
                return X
            missing = [name for name in self.names if name not in X.columns]
            if missing:
                raise ValueError(f"Columns {missing} are missing. This model needs {self.names}.")
            return X[self.names]
        self.check_width(X)
        in_order = list(self.positions) == list(range(self.width))
        if X.shape[1] == len(self.columns) and (X.shape[1] != self.width or in_order):
            return X
        return columns_of(X, list(self.positions))

    def transform(self, X: Table) -> Table:
        """Encode a table.

        Parameters
        ----------
        X : DataFrame or ndarray
            The full table or only the columns needed, as :func:`tabkd.frames.as_table` gives it.

        Returns
        -------
        DataFrame or ndarray
            A frame under the columns' names if the table of ``fit`` had names or is of mixed types, else an array.
        """
        X = self.pick(X)
        if self.encoding == "raw":
            return X
        if self.encoding == "texts":
            return X.iloc[:, 0].to_numpy(dtype=object)
        if self.encoding == "table":
            return _to_float32(X, [column.name for column in self.columns if column.kind == "integer"], self.doubles)
        if not isinstance(X, pd.DataFrame):
            if not (self.named or self.as_text or any(column.kind == "category" for column in self.columns)):
                if X.dtype.kind in "iu":  # rounded twice, as all other ways of reading them do
                    X = X.astype(np.float64)
                with np.errstate(over="ignore"):
                    return X.astype(np.float32).astype(self._dtype, copy=False)
            X = pd.DataFrame(X).infer_objects()
        if self.encoding in ("catboost", "category"):
            return self._mixed_frame(X)
        blocks = [self._block(column, X.iloc[:, i]) for i, column in enumerate(self.columns)]
        names: list[str | int] = []
        for _, block_names in blocks:  # "a" with a category "x" beside a column "a=x"
            names += [free_name(name, names) if isinstance(name, str) else name for name in block_names]
        matrix: np.ndarray = np.empty((len(X), len(names)), dtype=self._dtype)
        start = 0
        for values, block_names in blocks:
            matrix[:, start : start + len(block_names)] = values
            start += len(block_names)
        return pd.DataFrame(matrix, columns=names, index=X.index, copy=False) if self.named else matrix

    def as_new(self, X: Table, rows: np.ndarray, fitted: np.ndarray) -> Table:
        """Some rows of an encoded table as a model fitted to others meets new ones: what those lack is unknown.

        Every category of the table has a place among its neighbours, which a row that was left out must not keep where
        no other has its category: a new one would be unknown.
        """
        new = rows_of(X, rows)
        if not self.categories or self.encoding in ("raw", "texts", "table"):
            return new
        places = [(i, column) for i, column in enumerate(self.columns) if column.kind == "category"]
        if self.encoding in ("catboost", "category"):
            new = new.copy()
            for place in (i for i, column in places if column.name not in self.as_text):
                values, held = new.iloc[:, place], X.iloc[fitted, place]
                if self.encoding == "category":
                    new.isetitem(place, values.where(values.isin(held.unique())))
                else:
                    new.isetitem(place, _known_codes(values.to_numpy(), held))
            return new
        values, sources = np.array(new), np.asarray(self.sources)
        for i, _ in places:
            own = np.flatnonzero(sources == i)
            held = np.asarray(columns_of(X, own))[fitted]
            if self.encoding == "onehot":
                values[:, own[1:][~held[:, 1:].any(axis=0)]] = 0  # the first is for missing
            else:
                values[:, own[0]] = _known_codes(values[:, own[0]], held)
        return pd.DataFrame(values, columns=new.columns, index=new.index) if isinstance(new, pd.DataFrame) else values

    def by_column(self, X: Table) -> Table:
        """An encoded table with one column per table column again: 0/1 columns as the categories they stand for."""
        if self.encoding != "onehot":
            return X
        values, sources = np.asarray(X), np.asarray(self.sources)
        made: dict[str | int, Any] = {}
        for i, column in enumerate(self.columns):
            block = values[:, sources == i]
            if column.kind == "category":  # the first of its columns is for missing
                codes, known = block.argmax(axis=1) - 1, pd.Index(column.categories)
                made[column.name] = pd.Categorical.from_codes(codes, known, ordered=True)
            else:
                made[column.name] = block[:, 0]
        return pd.DataFrame(made)

    def _block(self, column: Column, values: pd.Series) -> tuple[np.ndarray, list[str | int]]:
        numbers = column.numbers(values)[:, None]
        if self.encoding != "onehot" or column.kind != "category":
            return numbers, [column.name]
        codes = np.arange(MISSING, FIRST_CATEGORY + len(column.categories))
        return numbers == codes, [f"{column.name}={label}" for label in ("", *column.categories)]

    def _mixed_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        made: dict[str | int, Any] = {}
        for i, column in enumerate(self.columns):
            values = X.iloc[:, i]
            if column.name in self.as_text:
                made[column.name] = column.texts(values)
            elif self.encoding == "category" and column.kind == "category":
                places = np.maximum(column.codes(values).astype(int) - FIRST_CATEGORY, -1)
                known = pd.Index(column.categories)
                if known.inferred_type not in ("string", "integer"):  # XGBoost takes no others, but their places
                    known = pd.RangeIndex(len(known))
                made[column.name] = pd.Categorical.from_codes(places, known)
            else:
                made[column.name] = column.numbers(values)
        return pd.DataFrame(made, index=X.index)


def _known_codes(codes: np.ndarray, known: Any) -> np.ndarray:
    return np.where((codes < FIRST_CATEGORY) | np.isin(codes, known), codes, UNKNOWN).astype(codes.dtype)


def _to_float32(X: Table, whole: Sequence[str | int], doubles: Collection[str | int]) -> Table:
    """Numbers as float32 holds them, floats of the columns ``doubles`` in float64; whole ones stay whole numbers."""
    with np.errstate(over="ignore"):
        if not isinstance(X, pd.DataFrame):
            return _array_to_float32(X, np.float64 if doubles else np.float32)
        floats = [name for name in X.columns if pd.api.types.is_float_dtype(X[name].dtype)]
        # Whole numbers are floats where one is missing: one gap in a table must not change what scalers compute in.
        X = X.astype({name: np.float64 if name in whole else np.float32 for name in floats})
        if doubles:
            X = X.astype({name: np.float64 for name in floats if name in doubles})
        for name in whole:
            if (X[name].abs() > EXACT_INTEGERS).any():
                X[name] = _rounded(X[name])
        return X


def _array_to_float32(X: np.ndarray, held: type) -> np.ndarray:
    if X.dtype.kind == "f":
        return X.astype(np.float32).astype(held, copy=False)
    return _rounded(X) if X.dtype.kind in "iu" and X.size and np.abs(X).max() > EXACT_INTEGERS else X


def _rounded(whole: Any) -> Any:
    """Whole numbers as float32 rounds them, of the type that they have."""
    dtype = getattr(whole.dtype, "numpy_dtype", whole.dtype)
    near = whole.astype(np.float64).astype(np.float32).astype(np.float64)
    if dtype.kind not in "iu":
        return near
    # float32 may round up beyond what the type holds.
    top = np.nextafter(np.float32(np.iinfo(dtype).max), np.float32(0))
    return near.clip(None, float(top)).astype(whole.dtype)

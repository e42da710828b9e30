"""One column of a table: its name, its kind, its categories, and its values as codes, numbers or texts."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from tabkd.frames import Table, columns_of
from tabkd.runtime import text_of

__all__ = ["Column"]

UNKNOWN, MISSING, FIRST_CATEGORY = 0, 1, 2
#: float32 holds every whole number up to here.
EXACT_INTEGERS = 2**24
#: What is kept of a column's numbers, to draw others like them.
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: Prose has so many different texts at least, of so many words on average.
_MANY_TEXTS, _WORDS = 50, 3
_NUMBER = int | float | np.number | np.bool_ | Decimal
#: Characters of a strange object in an error.
_SHOWN = 40


@dataclass(frozen=True)
class Column:
    """One column of a table as ``fit`` saw it.

    Attributes
    ----------
    name : str or int
        Its name, or its position in a table without names.
    kind : {"number", "integer", "boolean", "category", "other"}
        Missing values are NaN for the first three; for categories NaN, None and ``""``.
    categories : tuple
        The known categories in sorted order: strings, numbers, or what else a pandas categorical held (intervals, say,
        which no file takes). A column that CatBoost reads as text has its known texts here.
    none : bool
        Whether None was among its values: what reads the table by itself may tell it from NaN.
    empty : bool
        Whether ``""`` was, and neither None nor NaN: what reads the table by itself knows that one alone.
    typical : tuple of float
        Smallest, largest and quartiles of some of its numbers, to draw others like them.
    """

    name: str | int
    kind: str
    categories: tuple[Any, ...] = ()
    none: bool = False
    typical: tuple[float, ...] = field(default=(), compare=False)
    empty: bool = False

    @classmethod
    def read(cls, name: str | int, values: pd.Series) -> Column:
        """Find out a column's kind and categories.

        Raises
        ------
        TypeError
            If the values are dates or times, or objects that are neither text nor numbers.
        """
        dtype = values.dtype
        if isinstance(dtype, pd.CategoricalDtype):
            known = dtype.categories[dtype.categories != ""]
            if known.dtype.kind in "mM":
                raise _dates_refused(name, known.dtype)
            return cls(name, "category", tuple(known.tolist()) if dtype.ordered else _sorted_categories(known))
        if pd.api.types.is_bool_dtype(dtype):
            return cls(name, "boolean")
        if pd.api.types.is_complex_dtype(dtype):
            raise ValueError(f"Complex data not supported (column {name!r}). Split it into two columns.")
        if pd.api.types.is_numeric_dtype(dtype):
            kind = "integer" if pd.api.types.is_integer_dtype(dtype) else "number"
            if kind == "integer" and values.notna().any() and values.abs().max() > EXACT_INTEGERS:
                warnings.warn(
                    f"Column {name!r} holds integers beyond 2**24, which float32 rounds to multiples "
                    "of 2 or more. Use differences, or a category if it is a code.",
                    stacklevel=2,
                )
            return cls(name, kind)
        if pd.api.types.is_datetime64_any_dtype(dtype) or dtype.kind in "mM":
            raise _dates_refused(name, dtype)
        present = values[values.notna()]
        if all(isinstance(value, str) for value in present):
            return cls(name, "category", _sorted_categories(present[present != ""].unique()))
        if all(isinstance(value, bool | np.bool_) for value in present):
            return cls(name, "boolean")
        if all(isinstance(value, _NUMBER) for value in present):
            return cls(name, "number")
        odd = next((value for value in present if not isinstance(value, str | _NUMBER)), None)
        if isinstance(odd, datetime.date | datetime.time | datetime.timedelta | pd.Period):
            raise _dates_refused(name, type(odd).__name__)
        if odd is not None:
            raise TypeError(
                f"Column {name!r} holds a {type(odd).__name__} ({str(odd)[:_SHOWN]}), but every argument must be a "
                "string or every one a number. Make columns of numbers or text of it, or leave it out."
            )
        odd = next(value for value in present if not isinstance(value, str))
        raise TypeError(
            f"Column {name!r} mixes text with {odd!r} ({type(odd).__name__}): every argument must be a string "
            "or every one a number. Convert it with .astype(str) or pd.to_numeric."
        )

    @classmethod
    def read_any(cls, name: str | int, values: pd.Series) -> Column:
        """The same for what reads the table by itself, which may be dates and whatever else (kind ``"other"``)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                column = cls.read(name, values)
            except (TypeError, ValueError):
                return cls(name, "other")
        held = values.dtype == object and any(value is None for value in values)
        empty = column.kind == "category" and not values.isna().any() and bool(_is_missing(values).any())
        return replace(column, none=held, empty=empty)

    def with_typical(self, X: Table, position: int) -> Column:
        """The column with what is typical of its numbers, where it holds any."""
        if self.kind not in ("number", "integer"):
            return self
        values = pd.to_numeric(pd.Series(columns_of(X, position)), errors="coerce")
        numbers = values.to_numpy(np.float64, na_value=np.nan)
        finite = numbers[np.isfinite(numbers)]
        return replace(self, typical=tuple(np.quantile(finite, _QUANTILES).tolist())) if len(finite) else self

    def with_texts(self, values: pd.Series) -> Column:
        """The column with its known texts as categories, also where they are texts of numbers.

        Categories that are numbers become a column of numbers first: its texts are those of the same numbers elsewhere.
        """
        column = replace(self, kind=_kind_of(self.categories)) if self.kind == "category" else self
        return replace(column, categories=tuple(sorted(set(column.texts(values)) - {""})))

    def is_prose(self, n_samples: int) -> bool:
        """Whether most rows hold a text of several words of their own, which is no category."""
        texts = [text for text in self.categories if isinstance(text, str)]
        if len(texts) < max(_MANY_TEXTS, n_samples / 2):
            return False
        return sum(len(text.split()) for text in texts) >= _WORDS * len(texts)

    def codes(self, values: pd.Series) -> np.ndarray:
        """Category codes of shape (n_samples,): 0 unknown, 1 missing, 2 and up in sorted order.

        Categories that are numbers are known by what float32 makes of them, as all numbers are read, unless it makes
        some of them equal.

        Raises
        ------
        ValueError
            If the categories are text and the values numbers, or the other way round: none would be known.
        """
        present = values[values.notna()]
        if self.categories and len(present):
            was, numeric = isinstance(self.categories[0], str), pd.api.types.is_numeric_dtype(values.dtype)
            now = not numeric and isinstance(present.iloc[0], str) and all(isinstance(value, str) for value in present)
            if (was and numeric) or (now and not was):
                what = ("text", "numbers") if was else ("numbers", "text")
                raise ValueError(
                    f"Column {self.name!r} held {what[0]} in fit, and holds {what[1]} ({present.iloc[0]!r}). Read it "
                    "in the same way: for a CSV file, with dtype=."
                )
        known, asked = pd.Index(self.categories), pd.Index(values, dtype=object)
        if all(isinstance(category, Real) for category in self.categories):
            rounded = _float32(self.categories)
            known, asked = (rounded, _float32(values)) if rounded.is_unique else (known, asked)
        found = known.get_indexer(asked)
        codes = np.where(found >= 0, found + FIRST_CATEGORY, UNKNOWN).astype(np.float32)
        codes[_is_missing(values)] = MISSING
        return codes

    def texts(self, values: pd.Series) -> pd.Series:
        """Values as text, ``""`` where missing."""
        if self.kind == "number":
            values = pd.Series(self.numbers(values), index=values.index)
        return values.astype(object).map(partial(text_of, kind=self.kind)).astype(object)

    def numbers(self, values: pd.Series) -> np.ndarray:
        """Values as float32 of shape (n_samples,), NaN where missing.

        Raises
        ------
        ValueError
            If a value is not a number.
        """
        if self.kind == "category":
            return self.codes(values)
        try:
            with np.errstate(over="ignore"):
                return values.to_numpy(dtype=np.float64, na_value=np.nan).astype(np.float32)
        except (ValueError, TypeError) as error:
            how = "pd.to_numeric(..., errors='coerce')"
            if self.kind == "boolean":
                how = '.map({"True": True, "False": False})'
            raise ValueError(
                f"Column {self.name!r} was a {self.kind} in fit, but now holds text or objects: {error}. "
                f"Convert it with {how}."
            ) from error


def _float32(values: Iterable[Any]) -> pd.Index:
    """Numbers as float32, NaN of what is none."""
    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").astype(np.float64)
    with np.errstate(over="ignore"):
        return pd.Index(numbers.astype(np.float32))


def _kind_of(categories: tuple[Any, ...]) -> str:
    """The kind of a column that holds no other values."""
    if not categories or not all(isinstance(category, Real) for category in categories):
        return "category"
    if all(isinstance(category, bool) for category in categories):
        return "boolean"
    # Whole numbers become floats where some are missing.
    return "integer" if all(float(category).is_integer() for category in categories) else "number"


def _dates_refused(name: str | int, kind: Any) -> TypeError:
    return TypeError(
        f"Column {name!r} holds dates or times ({kind}). float32 cannot hold them (epoch seconds step "
        "by 128 s): make parts such as .dt.month, .dt.dayofweek or .dt.hour columns of their own."
    )


def _sorted_categories(values: Iterable[Any]) -> tuple[Any, ...]:
    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    try:
        return tuple(sorted(values))
    except TypeError:
        return tuple(sorted(values, key=str))


def _is_missing(values: pd.Series) -> np.ndarray:
    return (values.isna() | (values.astype(object) == "").fillna(False).astype(bool)).to_numpy()

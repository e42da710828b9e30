"""The raw columns of a table as inputs of a graph, and the matrix that a model reads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from tabkd.column import FIRST_CATEGORY, MISSING, UNKNOWN, Column
from tabkd.columns import ColumnEncoder
from tabkd.export.categories import UNSEEN, labelled
from tabkd.export.graph import Graph
from tabkd.export.lookups import Bit, Lookup
from tabkd.export.table import Part
from tabkd.export.trees import at_most

__all__ = ["Inputs", "describe"]


def describe(encoder: ColumnEncoder) -> list[dict[str, Any]]:
    """Names, kinds, tensor types and categories of the columns, as they stand in the file's metadata.

    Raises
    ------
    ValueError
        If a column is of a kind that no tensor holds.
    """
    described = []
    for column in encoder.columns:
        texts, numbers = (all(map(kind, column.categories)) for kind in (_is_text, _is_number))
        if column.kind == "other" or not (texts or numbers):
            raise ValueError(
                f"Column {column.name!r} holds neither numbers nor text alone, which no ONNX input takes. Leave it out "
                "of student_features, or make numbers or texts of it before."
            )
        if not texts and len(np.unique(np.asarray(column.categories, np.float32))) < len(column.categories):
            raise ValueError(f"Categories of column {column.name!r} are equal in float32. Make them text.")
        entry: dict[str, Any] = {"name": input_name(column), "kind": column.kind, "type": _tensor_type(encoder, column)}
        if column.categories:
            entry["categories"] = list(column.categories)
        described.append(entry)
    return described


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and bool(np.isfinite(float(value)))


def input_name(column: Column) -> str:
    """A column's own name; ``x0``, ``x1``, ... in a table without names."""
    return column.name if isinstance(column.name, str) else f"x{column.name}"


def _tensor_type(encoder: ColumnEncoder, column: Column) -> str:
    text = column.name in encoder.as_text or any(isinstance(known, str) for known in column.categories)
    empty = column.kind == "category" and not column.categories
    return "string" if text or empty else "float"


class Inputs:
    """The inputs of a graph, and what is computed from them.

    Parameters
    ----------
    graph : Graph
    encoder : ColumnEncoder
    layout : {"columns", "matrix"}
        One typed input per raw column, or one float32 matrix in which a category is its code.
    """

    def __init__(self, graph: Graph, encoder: ColumnEncoder, layout: str) -> None:
        self.graph = graph
        self.encoder = encoder
        self.layout = layout
        self.described = describe(encoder)
        if layout == "matrix":
            self.matrix = graph.input("features", np.float32, len(encoder.columns))
        else:
            types = {"string": str, "float": np.float32}
            self.columns = [graph.input(entry["name"], types[entry["type"]], 1) for entry in self.described]

    def view(self, encoder: ColumnEncoder) -> Inputs:
        """The same inputs for a model that reads some of the columns in its own way.

        Raises
        ------
        ValueError
            If it reads a column otherwise than one input can give it.
        """
        view = copy.copy(self)
        view.encoder, view.described = encoder, describe(encoder)
        places = [self.encoder.positions.index(position) for position in encoder.positions]
        for place, column, own in zip(places, encoder.columns, view.described, strict=True):
            shared = self.encoder.columns[place].categories == column.categories or self.layout == "columns"
            if own["type"] != self.described[place]["type"] or not shared:
                raise ValueError(
                    f"Averaged models read column {column.name!r} in two ways, as text and as numbers, or with "
                    "other categories, and one input cannot be both. Export one of them alone, or make the column text."
                )
        if self.layout == "matrix":
            view.matrix = self.graph.columns(self.matrix, places)
        else:
            view.columns = [self.columns[place] for place in places]
        return view

    @property
    def coded_numbers(self) -> list[str | int]:
        """Columns of numbers that a pipeline reads from codes: from a matrix, where they are categories."""
        if self.layout == "columns" or self.encoder.encoding != "table":
            return []
        described = zip(self.encoder.names, self.described, strict=True)
        return [name for name, entry in described if (entry["kind"], entry["type"]) == ("category", "float")]

    def features(self, lookups: Sequence[Lookup] = (), *, skipped: Sequence[int] = (), more: Sequence[str] = ()) -> str:
        """The encoded matrix, without the columns ``skipped``, and with more and a column per lookup behind it.

        Parameters
        ----------
        lookups : sequence of Lookup
        skipped : sequence of int
            Indices of columns that nobody reads as numbers.
        more : sequence of str
            Values in the graph's precision.

        Returns
        -------
        str
        """
        as_it_is = self.layout == "matrix" and self.encoder.encoding in ("ordinal", "catboost", "table") and not skipped
        kept = [i for i in range(len(self.encoder.columns)) if i not in skipped]
        parts = [self.graph.cast(self.matrix)] if as_it_is else [self._encoded(i) for i in kept]
        return self.graph.concat([*parts, *more, *([self._looked_up(lookups, more)] if lookups else [])])

    @cached_property
    def numbers(self) -> str:
        """Numbers and codes, a column per column of the encoded matrix, whatever the model takes for them."""
        graph, encoder = self.graph, self.encoder
        if encoder.encoding in ("ordinal", "onehot"):
            return self.features()
        parts = []
        for i, column in enumerate(encoder.columns):
            coded = column.kind == "category" or column.name in encoder.as_text
            value = self._codes(i) if coded else self.raw(i)
            if coded and encoder.encoding == "category":  # where a category never seen is a missing one
                value = graph.add("Max", value, graph.constant(float(MISSING)))
            parts.append(value)
        return graph.concat(parts)

    def raw(self, index: int) -> str:
        """One column as it comes in, numbers in the graph's precision."""
        if self.layout == "matrix":
            return self.graph.cast(self.graph.columns(self.matrix, [index]))
        value, text = self.columns[index], self.described[index]["type"] == "string"
        return value if text else self.graph.cast(value)

    def part(self, index: int) -> Part:
        """One column as a pipeline reads it: text, or float32 numbers."""
        column, text = self.encoder.columns[index], self.described[index]["type"] == "string"
        if self.layout == "columns":
            return Part(self.columns[index], 1, str if text else np.float32)
        codes = Part(self.graph.columns(self.matrix, [index]), 1, np.float32)
        if column.kind != "category":
            return codes
        known = [float(code) for code in range(MISSING, FIRST_CATEGORY + len(column.categories))]
        if not text:
            unseen = max(column.categories) + 1
            return replace(
                codes, value=labelled(self.graph, codes, known, np.array([np.nan, *column.categories, unseen]))
            )
        value = self.graph.add(
            "LabelEncoder",
            codes.value,
            domain="ai.onnx.ml",
            keys_floats=known,
            values_strings=["", *column.categories],
            default_string=UNSEEN,
        )
        return Part(value, 1, str)

    def _encoded(self, index: int) -> str:
        graph, column, encoding = self.graph, self.encoder.columns[index], self.encoder.encoding
        if column.kind != "category" or encoding == "table":
            return self.raw(index)
        codes = self._codes(index)
        if encoding == "onehot":
            known = np.arange(MISSING, FIRST_CATEGORY + len(column.categories), dtype=float)[None]
            return graph.add("Cast", graph.add("Equal", codes, graph.constant(known)), to=graph.float_type)
        if encoding == "category":  # XGBoost counts categories from 0, and takes the others for missing
            shifted = graph.add("Sub", codes, graph.constant(float(FIRST_CATEGORY)))
            known = graph.add("Greater", codes, graph.constant(float(MISSING)))
            return graph.add("Where", known, shifted, graph.constant(np.nan))
        return codes

    def _codes(self, index: int) -> str:
        """Category codes: 0 unknown, 1 missing, 2 and up the known ones."""
        graph, column, value = self.graph, self.encoder.columns[index], self.raw(index)
        if self.layout == "matrix":
            return value
        codes = np.arange(FIRST_CATEGORY, FIRST_CATEGORY + len(column.categories), dtype=float)
        if self.described[index]["type"] == "string":
            return self._labelled(value, ["", *column.categories], [MISSING, *codes], UNKNOWN)
        known = np.asarray(column.categories, dtype=np.float32)  # as values come in, also where more digits are kept
        equal = graph.add("Cast", graph.add("Equal", value, graph.constant(known[None])), to=graph.float_type)
        missing = graph.add("Cast", graph.add("IsNaN", value), to=graph.float_type)
        return graph.add("Add", graph.add("MatMul", equal, graph.constant(codes[:, None])), missing)

    def _looked_up(self, lookups: Sequence[Lookup], more: Sequence[str]) -> str:
        """A column per lookup, at once: places of texts and answers to thresholds make an index into one table."""
        graph = self.graph
        known = {c: texts for lookup in lookups for c, texts in zip(lookup.columns, lookup.texts, strict=True)}
        bits = list(dict.fromkeys(bit for lookup in lookups for bit in lookup.bits))
        axes = [*known, *bits]
        strides = np.zeros((len(axes), len(lookups)))
        for k, lookup in enumerate(lookups):
            strides[[axes.index(axis) for axis in (*lookup.columns, *lookup.bits)], k] = lookup.strides
        starts = np.cumsum([0, *(len(lookup.numbers) for lookup in lookups)])[:-1]
        places = [self._place(column, texts) for column, texts in known.items()] + (
            [self._asked(bits, more)] if bits else []
        )
        index = graph.add("MatMul", graph.concat(places), graph.constant(strides))
        index = graph.add("Add", graph.add("Cast", index, to=7), graph.constant(starts))
        return graph.add("Gather", graph.constant(np.concatenate([one.numbers for one in lookups])), index, axis=0)

    def _place(self, index: int, texts: Sequence[str]) -> str:
        """Where a column's text stands among those known, or how many there are."""
        column, value, places = self.encoder.columns[index], self.raw(index), range(len(texts))
        if self.layout == "columns":
            return self._labelled(value, texts, places, len(texts))
        codes = {text: float(FIRST_CATEGORY + i) for i, text in enumerate(column.categories)} | {"": float(MISSING)}
        return self._labelled(value, [codes[text] for text in texts], places, len(texts))

    def _asked(self, bits: Sequence[Bit], more: Sequence[str]) -> str:
        """Ones where columns lie above borders, a column per bit."""
        graph, features = self.graph, sorted({bit.feature for bit in bits})
        borders, width = np.array([bit.border for bit in bits]), len(self.encoder.columns)
        numbers = graph.concat(
            [
                self._encoded(feature) if feature < width else graph.columns(graph.concat([*more]), [feature - width])
                for feature in features
            ]
        )
        numbers = graph.columns(numbers, [features.index(bit.feature) for bit in bits])
        above = graph.add(
            "Greater", numbers, graph.constant(at_most(borders) if graph.dtype is np.float32 else borders)
        )
        strays = graph.add("And", graph.add("IsNaN", numbers), graph.constant([not bit.missing_below for bit in bits]))
        return graph.add("Cast", graph.add("Or", above, strays), to=graph.float_type)

    def _labelled(self, value: str, keys: Sequence[Any], numbers: Sequence[float], default: float) -> str:
        attributes: dict[str, Any] = {"keys_strings" if isinstance(keys[0], str) else "keys_floats": list(keys)}
        number = self.graph.add(
            "LabelEncoder",
            value,
            domain="ai.onnx.ml",
            values_floats=[float(number) for number in numbers],
            default_float=float(default),
            **attributes,
        )
        return self.graph.cast(number)

"""Encoders of categories as tables of what they answer to every category that they know and to a new one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse

from tabkd.export.graph import Graph
from tabkd.export.table import Part, Table, joined

__all__ = ["UNSEEN", "add_encoder", "labelled"]

#: A text that no column holds.
UNSEEN = "\u2205 never seen"


@dataclass(frozen=True)
class _Column:
    """What an encoder answers to the values of one column, whatever the others hold.

    Attributes
    ----------
    values : list
        The categories that it knows, None for a missing one.
    outputs : ndarray of int
        Which of its numbers depend on the column.
    answers : ndarray of shape (n_values + 1, n_outputs)
        These numbers; the last row is for values that it does not know.
    """

    values: list[Any]
    outputs: np.ndarray
    answers: np.ndarray

    @property
    def one_hot(self) -> bool:
        """Whether each value sets one number at most, and there are several."""
        flags = np.isin(self.answers, (0, 1)).all() and (self.answers.sum(axis=1) <= 1).all()
        return bool(flags) and len(self.outputs) > 1


def add_encoder(table: Table, step: Any, made: Any) -> list[Part]:
    """Append a fitted ``OneHotEncoder``, ``OrdinalEncoder`` or ``TargetEncoder``, whatever its options are.

    Parameters
    ----------
    table : Table
    step : encoder
        With ``categories_``; each number that it makes depends on one column alone.
    made : array or DataFrame
        Its answer to the sample.

    Returns
    -------
    list of Part
    """
    graph, hot, parts, places = table.graph, [], [], []
    sources = [source for i in range(table.width) for source in table.select([i])]
    for source, column in zip(sources, _columns(step, made.shape[1], sources), strict=True):
        if column.one_hot:
            # The number to set, rather than a row of the table: categories may be thousands.
            numbers = np.where(column.answers.any(axis=1), column.answers.argmax(axis=1), -1.0)
            hot.append((labelled(graph, source, column.values, numbers), column.outputs))
        elif len(column.outputs):
            parts.append(_looked_up(graph, source, column))
            places.append(column.outputs)
    if hot:
        codes = graph.concat([code for code, _ in hot])
        asked = graph.columns(codes, np.repeat(np.arange(len(hot)), [len(outputs) for _, outputs in hot]))
        wanted = np.concatenate([np.arange(len(outputs), dtype=float) for _, outputs in hot])
        flags = graph.add("Equal", asked, graph.constant(wanted[None], np.float32))
        parts.append(Part(graph.add("Cast", flags, to=1), len(wanted), np.float32))
        places += [outputs for _, outputs in hot]
    parts, order = joined(graph, parts), np.argsort(np.concatenate(places))
    return parts if np.array_equal(order, np.arange(len(order))) else Table(graph, parts).select(order.tolist())


def _columns(step: Any, n_outputs: int, sources: Sequence[Part]) -> list[_Column]:
    """Ask the encoder for every category of every column, the others at their first one."""
    refuses = getattr(step, "handle_unknown", "ignore") == "error"
    known = [values.tolist() for values in step.categories_]
    asked = [values if refuses else [*values, _unseen(values)] for values in known]
    rows = [[values[0] for values in known]]
    for i, values in enumerate(asked):
        rows += [[*rows[0][:i], value, *rows[0][i + 1 :]] for value in values]
    names = list(getattr(step, "feature_names_in_", range(len(known))))
    cells = zip(*rows, strict=True)
    frame = {name: _cells(values) for name, values in zip(names, cells, strict=True)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = step.transform(pd.DataFrame(frame))
    answers = np.asarray(found.toarray() if issparse(found) else found, dtype=float)
    blocks = np.split(answers[1:], np.cumsum([len(values) for values in asked])[:-1])
    owner = np.full(n_outputs, len(known) - 1)  # numbers that never change are the last column's
    for i, block in enumerate(blocks):
        same = (block == answers[0]) | (np.isnan(block) & np.isnan(answers[0]))
        owner[~same.all(axis=0)] = i
    columns = []
    for i, (values, block, source) in enumerate(zip(known, blocks, sources, strict=True)):
        outputs = np.flatnonzero(owner == i)
        # Where scikit-learn raises an error, a file cannot: it takes what is new for nothing.
        unknown = [np.zeros((1, len(outputs)))] if refuses else []
        readable = _readable(values, source.none)
        answers = np.vstack([block[:, outputs], *unknown])[[*readable, -1]]
        columns.append(_Column(list(readable.values()), outputs, answers))
    return columns


def _unseen(values: list[Any]) -> Any:
    numbers = [value for value in values if isinstance(value, int | float) and value == value]
    return max(numbers) + 1 if numbers else UNSEEN


def _cells(values: Sequence[Any]) -> pd.Series:
    """A column of these values in which None stays None, as pandas' own type of texts does not let it."""
    cells = pd.Series(values, dtype=object)
    return cells if any(isinstance(value, str) for value in values) else cells.infer_objects()


def _readable(values: list[Any], none: bool) -> dict[int, Any]:
    """The categories that a file can meet, by place: a missing one, None here, is that of None or of NaN, or ``""``."""
    missing = [i for i, value in enumerate(values) if value is None or value != value]
    empty = [i for i, value in enumerate(values) if isinstance(value, str) and not value]
    if len(missing) + len(empty) > 1:
        raise ValueError(
            'An encoder of categories tells None, NaN and "" apart, which are one in a file. Fill the gaps with one '
            "kind of missing value before fit."
        )
    meant = [i for i in missing if (values[i] is None) == none] or empty
    known = {i: value for i, value in enumerate(values) if i not in missing}
    return known | dict.fromkeys(meant)


def _looked_up(graph: Graph, source: Part, column: _Column) -> Part:
    """Numbers from a table with a row per category."""
    answers = column.answers
    exact = np.array_equal(answers, answers.astype(np.float32), equal_nan=True)
    dtype, width = np.float32 if exact else np.float64, len(column.outputs)
    if exact and width == 1:
        return Part(labelled(graph, source, column.values, answers[:, 0]), 1, np.float32)
    row = graph.add("Cast", labelled(graph, source, column.values, np.arange(len(answers), dtype=float)), to=7)
    cells = graph.add("Gather", graph.constant(answers, dtype), row, axis=0)
    return Part(graph.add("Reshape", cells, graph.constant([-1, width])), width, dtype)


def labelled(graph: Graph, source: Part, values: Sequence[Any], numbers: np.ndarray) -> str:
    """Append a float32 number for each value of one column.

    Parameters
    ----------
    graph : Graph
    source : Part
        Of width 1.
    values : sequence
        Texts or numbers; None stands for missing.
    numbers : ndarray of shape (n_values + 1,)
        The last one is for any other value.

    Returns
    -------
    str
    """
    *given, other = numbers.tolist()
    pairs = [(value, number) for value, number in zip(values, given, strict=True) if value is not None]
    keys: dict[str, Any]
    if source.dtype is str:
        pairs = [("" if value is None else str(value), number) for value, number in zip(values, given, strict=True)]
        keys = {"keys_strings": [key for key, _ in pairs] or [""]}
    else:
        keys = {"keys_floats": _float_keys([key for key, _ in pairs], source) or [0.0]}
    label = graph.add(
        "LabelEncoder",
        source.value,
        domain="ai.onnx.ml",
        values_floats=[number for _, number in pairs] or [other],
        default_float=other,
        **keys,
    )
    if source.dtype is str or None not in values:
        return label
    missing = graph.constant(float(given[list(values).index(None)]), np.float32)
    return graph.add("Where", graph.add("IsNaN", source.value), missing, label)


def _float_keys(values: list[Any], source: Part) -> list[float]:
    if any(isinstance(value, str) for value in values):
        raise ValueError(
            f"An encoder of categories knows texts such as {values[0]!r} in a column of numbers, which cannot be "
            "exported. Give it the numbers, or make text of the column before fit."
        )
    keys = [float(value) for value in values]
    if source.dtype is np.float64 or len({np.float32(key) for key in keys}) < len(keys):
        raise ValueError(
            f"An encoder of categories reads numbers that float32 does not hold, such as {keys[:3]}, which cannot be "
            "exported. Encode the column before it is scaled, or make text of it before fit."
        )
    return keys

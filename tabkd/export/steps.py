"""scikit-learn's transformers as nodes that compute in the same order and the same types, so that no digit differs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.pipeline import Pipeline

from tabkd._compat import SCALER_ROUNDS_STATISTICS, column_indices, is_fitted_selector, take_rows
from tabkd.export.categories import add_encoder
from tabkd.export.convert import add_converted
from tabkd.export.graph import Graph
from tabkd.export.table import Part, Table, float_dtype, joined

__all__ = ["add_step"]

_SPLIT_TEXTS = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")


def add_step(table: Table, step: Any) -> Table:
    """Append a fitted transformer, or a pipeline of them.

    Parameters
    ----------
    table : Table
        What it reads.
    step : transformer, ``"passthrough"`` or None

    Returns
    -------
    Table
        What it makes.

    Raises
    ------
    ValueError
        If it cannot be exported.
    """
    if isinstance(step, Pipeline):
        for _, part in step.steps:
            table = add_step(table, part)
        return table
    if step is None or step == "passthrough":
        return table
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = step.transform(table.sample)
    name = type(step).__name__ if type(step).__module__.startswith("sklearn.") else ""
    if name in _STEPS:
        parts = _STEPS[name](table, step, made)
    elif is_fitted_selector(step):
        parts = table.select(np.flatnonzero(step.get_support()))
    else:
        parts = [_converted(table, step, made)]
    return Table(table.graph, parts, made)


def _converted(table: Table, step: Any, made: Any) -> Part:
    graph = table.graph
    if type(step).__name__ in _SPLIT_TEXTS:
        raise ValueError(
            f"{type(step).__name__} cannot be exported: no operator of ONNX splits texts as scikit-learn does in every "
            "language and on every device. Use a student that reads other columns, or a TransformerClassifier, whose "
            "file holds its tokenizer; where there is Python, joblib keeps this one."
        )
    if str in table.dtypes:
        columns = [table.select([i])[0] for i in range(table.width)]
        names = map(str, table.sample.columns if hasattr(table.sample, "columns") else range(table.width))
        kinds = {str: "String", np.float32: "Float"}
        inputs = [(name, part.value, kinds[part.dtype], 1) for name, part in zip(names, columns, strict=True)]
    else:
        inputs = [("X", table.numbers(np.float32), "Float", table.width)]
    return Part(add_converted(graph, step, inputs), made.shape[1], np.float32)


# ---------------------------------------------------------------- steps made of other steps


def _column_transformer(table: Table, step: Any, made: Any) -> list[Part]:
    weights, parts = step.transformer_weights or {}, []
    for name, transformer, columns in step.transformers_:
        positions = column_indices(table.sample, columns)
        if _dropped(transformer) or len(positions) == 0:
            continue
        chosen = Table(table.graph, table.select(positions), take_rows(table.sample, columns, axis=1))
        parts += _weighted(add_step(chosen, transformer), weights.get(name))
    return parts


def _feature_union(table: Table, step: Any, made: Any) -> list[Part]:
    weights = step.transformer_weights or {}
    kept = [(name, part) for name, part in step.transformer_list if not _dropped(part)]
    return [part for name, one in kept for part in _weighted(add_step(table, one), weights.get(name))]


def _dropped(transformer: Any) -> bool:
    return isinstance(transformer, str) and transformer == "drop"


def _weighted(table: Table, weight: float | None) -> list[Part]:
    if weight is None:
        return list(table.parts)
    dtype = float_dtype(table.sample)
    return [_part(table, _operate(table.graph, "Mul", table.numbers(dtype), weight, dtype), dtype)]


def _function(table: Table, step: Any, made: Any) -> list[Part]:
    return list(table.parts) if step.func is None else [_converted(table, step, made)]


# ---------------------------------------------------------------- numbers


def _part(table: Table, value: str, dtype: type) -> Part:
    return Part(value, table.width, dtype)


def _operate(graph: Graph, op: str, value: str, statistics: Any, dtype: type) -> str:
    """``value op= statistics`` as NumPy does it in place: in the wider type, rounded to that of ``value``."""
    wide = np.result_type(dtype, statistics).type
    made = graph.add(op, graph.as_type(value, dtype, wide), graph.constant(np.asarray(statistics, float), wide))
    return graph.as_type(made, wide, dtype)


def _clipped(graph: Graph, value: str, bounds: tuple[float, float], dtype: type) -> str:
    """Numbers within bounds; NaN stays, which the operator Clip does not promise."""
    for op, bound in zip(("Less", "Greater"), bounds, strict=True):
        limit = graph.constant(float(bound), dtype)
        value = graph.add("Where", graph.add(op, value, limit), limit, value)
    return value


def _standard_scaler(table: Table, step: Any, made: Any) -> list[Part]:
    dtype, value = float_dtype(made), table.numbers(float_dtype(made))
    rounded = SCALER_ROUNDS_STATISTICS and not issparse(table.sample)
    if step.with_mean:
        value = _operate(table.graph, "Sub", value, step.mean_.astype(dtype if rounded else float), dtype)
    if step.with_std:
        value = _scaled(table, value, step.scale_.astype(dtype if rounded else float), dtype)
    return [_part(table, value, dtype)]


def _scaled(table: Table, value: str, scale: np.ndarray, dtype: type) -> str:
    if issparse(table.sample):  # of which scikit-learn multiplies the entries
        return _operate(table.graph, "Mul", value, 1.0 / scale, dtype)
    return _operate(table.graph, "Div", value, scale, dtype)


def _min_max_scaler(table: Table, step: Any, made: Any) -> list[Part]:
    dtype = float_dtype(made)
    value = _operate(table.graph, "Mul", table.numbers(dtype), step.scale_, dtype)
    value = _operate(table.graph, "Add", value, step.min_, dtype)
    if step.clip:
        value = _clipped(table.graph, value, step.feature_range, dtype)
    return [_part(table, value, dtype)]


def _max_abs_scaler(table: Table, step: Any, made: Any) -> list[Part]:
    dtype = float_dtype(made)
    value = _scaled(table, table.numbers(dtype), step.scale_, dtype)
    if getattr(step, "clip", False):
        value = _clipped(table.graph, value, (-1, 1), dtype)
    return [_part(table, value, dtype)]


def _robust_scaler(table: Table, step: Any, made: Any) -> list[Part]:
    dtype = float_dtype(made)
    value = table.numbers(dtype)
    if step.with_centering:
        value = _operate(table.graph, "Sub", value, step.center_, dtype)
    if step.with_scaling:
        value = _scaled(table, value, step.scale_, dtype)
    return [_part(table, value, dtype)]


def _binarizer(table: Table, step: Any, made: Any) -> list[Part]:
    dtype = float_dtype(made)
    above = table.graph.add("Greater", table.numbers(dtype), table.graph.constant(float(step.threshold), dtype))
    return [_part(table, _as_numbers(table.graph, above), np.float32)]


def _as_numbers(graph: Graph, flags: str) -> str:
    return graph.add("Cast", flags, to=1)


def _normalizer(table: Table, step: Any, made: Any) -> list[Part]:
    graph, dtype = table.graph, float_dtype(made)
    value = table.numbers(dtype)
    size = graph.add("Abs", value)
    if step.norm == "max":
        norm = graph.add("ReduceMax", size, axes=[1], keepdims=1)
    else:
        terms = size if step.norm == "l1" else graph.add("Mul", value, value)
        norm = graph.add("ReduceSum", terms, graph.constant([1]), keepdims=1)
        norm = norm if step.norm == "l1" else graph.add("Sqrt", norm)
    nothing = graph.add("Equal", norm, graph.constant(0.0, dtype))
    norm = graph.add("Where", nothing, graph.constant(1.0, dtype), norm)
    return [_part(table, graph.add("Div", value, norm), dtype)]


def _discretizer(table: Table, step: Any, made: Any) -> list[Part]:
    graph, edges = table.graph, [np.asarray(edge, dtype=float)[1:-1] for edge in step.bin_edges_]
    asked = graph.columns(table.numbers(np.float64), np.repeat(np.arange(table.width), [len(edge) for edge in edges]))
    past = graph.add("GreaterOrEqual", asked, graph.constant(np.concatenate(edges)[None], np.float64))
    owner = np.concatenate([np.full(len(edge), k) for k, edge in enumerate(edges)])
    counts = graph.constant((owner[:, None] == np.arange(table.width)).astype(float), np.float32)
    bins = graph.add("MatMul", _as_numbers(graph, past), counts)
    if step.encode == "ordinal":
        return [_part(table, bins, np.float32)]
    owner = np.concatenate([np.full(len(edge) + 1, k) for k, edge in enumerate(edges)])
    wanted = np.concatenate([np.arange(len(edge) + 1.0) for edge in edges])
    equal = graph.add("Equal", graph.columns(bins, owner), graph.constant(wanted[None], np.float32))
    return [Part(_as_numbers(graph, equal), len(wanted), np.float32)]


def _polynomial(table: Table, step: Any, made: Any) -> list[Part]:
    graph, dtype, powers = table.graph, float_dtype(made), step.powers_
    value = table.numbers(dtype)
    if (powers.sum(axis=1) == 0).any():  # an empty product
        ones = graph.add("Add", graph.add("Mul", graph.columns(value, [0]), graph.constant(0.0, dtype)),
                         graph.constant(1.0, dtype))  # fmt: skip
        value = graph.concat([value, ones])
    factors = [np.repeat(np.arange(table.width), row) for row in powers]
    parts = []
    degrees = np.array([len(row) for row in factors])
    starts = np.flatnonzero(np.diff(degrees, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(factors)], strict=True):
        block = np.array(factors[start:stop], dtype=np.int64)
        if block.shape[1] == 0:
            parts.append(Part(graph.columns(value, [table.width]), 1, dtype))
            continue
        made_of = graph.columns(value, block[:, -1])
        for k in range(block.shape[1] - 2, -1, -1):
            made_of = graph.add("Mul", made_of, graph.columns(value, block[:, k]))
        parts.append(Part(made_of, len(block), dtype))
    return parts


def _projection(table: Table, step: Any, made: Any) -> list[Part]:
    graph, dtype, components = table.graph, float_dtype(made), np.asarray(step.components_, dtype=float)
    value = graph.add("MatMul", table.numbers(dtype), graph.constant(components.T, dtype))
    if getattr(step, "mean_", None) is not None:
        value = graph.add("Sub", value, graph.constant((step.mean_ @ components.T)[None], dtype))
    if getattr(step, "whiten", False):
        scale = np.sqrt(step.explained_variance_)
        value = graph.add("Div", value, graph.constant(np.maximum(scale, np.finfo(scale.dtype).eps)[None], dtype))
    return [Part(value, len(components), dtype)]


# ---------------------------------------------------------------- missing values


def _imputer(table: Table, step: Any, made: Any) -> list[Part]:
    values, flags, start = [], [], 0
    indicated = set(step.indicator_.features_.tolist()) if step.add_indicator else set()
    for part in joined(table.graph, table.parts):
        statistics = np.asarray(step.statistics_[start : start + part.width], dtype=object)
        missing = _missing(table.graph, part, step.missing_values)
        empty = [not step.keep_empty_features and (fill is None or fill != fill) for fill in statistics]
        filled = _filled(table.graph, part, missing, statistics, _fill_dtype(made))
        values += Table(table.graph, [filled]).select(np.flatnonzero(~np.array(empty)))
        if wanted := [i for i in range(part.width) if start + i in indicated]:
            flag = Part(_as_numbers(table.graph, missing), part.width, np.float32)
            flags += Table(table.graph, [flag]).select(wanted)
        start += part.width
    return values + flags


def _missing_indicator(table: Table, step: Any, made: Any) -> list[Part]:
    flags = [
        replace(
            part, value=_as_numbers(table.graph, _missing(table.graph, part, step.missing_values)), dtype=np.float32
        )
        for part in joined(table.graph, table.parts)
    ]
    return Table(table.graph, flags).select(step.features_)


def _fill_dtype(made: Any) -> type:
    """What a number is rounded to where it is filled in."""
    return np.float32 if float_dtype(made) is np.float32 else np.float64


def _missing(graph: Graph, part: Part, marker: Any) -> str:
    if part.dtype is str:
        known = isinstance(marker, str) or part.none == (marker is None)
        flag = graph.add(
            "LabelEncoder",
            part.value,
            domain="ai.onnx.ml",
            keys_strings=[marker if isinstance(marker, str) else ""],
            values_floats=[float(known)],
            default_float=0.0,
        )
        return graph.add("Cast", flag, to=9)
    if isinstance(marker, int | float | np.number) and marker == marker:
        return graph.add("Equal", part.value, graph.constant(float(marker), part.dtype))
    return graph.add("IsNaN", part.value)


def _filled(graph: Graph, part: Part, missing: str, statistics: np.ndarray, dtype: type) -> Part:
    texts = [isinstance(fill, str) for fill in statistics]
    if part.dtype is str:
        if not all(text or fill is None or fill != fill for text, fill in zip(texts, statistics, strict=True)):
            raise ValueError(
                f"SimpleImputer fills text columns with {statistics.tolist()}. Fill them with text to export it."
            )
        fill = np.array([fill if text else "" for text, fill in zip(texts, statistics, strict=True)])[None]
        return replace(part, value=graph.add("Where", missing, graph.constant(fill), part.value))
    if any(texts):
        raise ValueError(
            f"SimpleImputer fills columns of numbers with the texts {statistics.tolist()}. Make text of the columns, "
            "or fill them with numbers, to export it."
        )
    numbers: np.ndarray = np.array([0.0 if fill is None else fill for fill in statistics], dtype=float).astype(dtype)
    exact = np.array_equal(numbers, numbers.astype(np.float32), equal_nan=True)
    kind = np.float32 if exact and part.dtype is np.float32 else np.float64
    value = graph.as_type(part.value, part.dtype, kind)
    return replace(part, value=graph.add("Where", missing, graph.constant(numbers[None], kind), value), dtype=kind)


_STEPS: dict[str, Callable[[Table, Any, Any], list[Part]]] = {
    "Binarizer": _binarizer,
    "ColumnTransformer": _column_transformer,
    "FeatureUnion": _feature_union,
    "FunctionTransformer": _function,
    "KBinsDiscretizer": _discretizer,
    "MaxAbsScaler": _max_abs_scaler,
    "MissingIndicator": _missing_indicator,
    "MinMaxScaler": _min_max_scaler,
    "Normalizer": _normalizer,
    "OneHotEncoder": add_encoder,
    "OrdinalEncoder": add_encoder,
    "PCA": _projection,
    "PolynomialFeatures": _polynomial,
    "RobustScaler": _robust_scaler,
    "SimpleImputer": _imputer,
    "StandardScaler": _standard_scaler,
    "TargetEncoder": add_encoder,
    "TruncatedSVD": _projection,
}

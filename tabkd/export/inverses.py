"""What a ``TransformedTargetRegressor`` does to the values that its model answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.pipeline import Pipeline

from tabkd.export.graph import Graph

__all__ = ["add_inverse"]


def add_inverse(graph: Graph, transformer: Any, values: str) -> str:
    """Append ``transformer.inverse_transform``; returns the name of what it makes.

    Parameters
    ----------
    graph : Graph
    transformer : transformer
        Fitted on the target.
    values : str
        Of shape (n_samples, n_outputs).

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If it cannot be exported.
    """
    if isinstance(transformer, Pipeline):
        for _, step in reversed(transformer.steps):
            values = add_inverse(graph, step, values)
        return values
    if transformer is None or transformer == "passthrough":
        return values
    name = type(transformer).__name__
    if name == "FunctionTransformer":
        return _add_function(graph, transformer.inverse_func, values)
    if name not in _SCALES:
        raise ValueError(
            f"A target transformed by {name} cannot be exported. Use {', '.join(_SCALES)}, or functions of NumPy's."
        )
    scale, shift = _SCALES[name](transformer)
    if scale is not None:
        values = graph.add("Mul", values, graph.constant(np.asarray(scale, float)))
    return values if shift is None else graph.add("Add", values, graph.constant(np.asarray(shift, float)))


def _add_function(graph: Graph, function: Any, values: str) -> str:
    if function is None:
        return values
    if function not in _FUNCTIONS:
        raise ValueError(
            f"inverse_func={getattr(function, '__name__', function)} of a TransformedTargetRegressor cannot be "
            f"exported. Use one of {', '.join(known.__name__ for known in _FUNCTIONS)}, of NumPy or scipy.special."
        )
    return _FUNCTIONS[function](graph, values)


#: By what they multiply, and what they add then; None is nothing.
_SCALES: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "StandardScaler": lambda fitted: (fitted.scale_, fitted.mean_ if fitted.with_mean else None),
    "MinMaxScaler": lambda fitted: (1 / fitted.scale_, -fitted.min_ / fitted.scale_),
    "MaxAbsScaler": lambda fitted: (fitted.scale_, None),
    "RobustScaler": lambda fitted: (fitted.scale_, fitted.center_),
}
#: By themselves, so that a function of the same name elsewhere is none of them.
_FUNCTIONS: dict[Any, Callable[[Graph, str], str]] = {
    np.exp: lambda graph, x: graph.add("Exp", x),
    np.expm1: lambda graph, x: graph.add("Sub", graph.add("Exp", x), graph.constant(1.0)),
    np.exp2: lambda graph, x: graph.add("Pow", graph.constant(2.0), x),
    np.square: lambda graph, x: graph.add("Mul", x, x),
    np.sqrt: lambda graph, x: graph.add("Sqrt", x),
    np.log: lambda graph, x: graph.add("Log", x),
    np.log1p: lambda graph, x: graph.add("Log", graph.add("Add", x, graph.constant(1.0))),
    np.sinh: lambda graph, x: graph.add("Sinh", x),
    np.negative: lambda graph, x: graph.add("Neg", x),
    expit: lambda graph, x: graph.add("Sigmoid", x),
}

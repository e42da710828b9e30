"""What is neither trees nor linear: through skl2onnx, into our graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tabkd._compat import is_regressor, optional_import
from tabkd.export.graph import ML_OPSET, OPSET, Graph

__all__ = ["add_converted"]


def add_converted(graph: Graph, estimator: Any, inputs: Sequence[tuple[str, str, str, int]]) -> str:
    """Append a fitted scikit-learn estimator; returns its answer.

    Parameters
    ----------
    graph : Graph
    estimator : estimator
        A transformer, a regressor or a classifier with ``predict_proba``.
    inputs : sequence of (name, value, kind, width)
        What it reads: the name of the column or columns, their value in ``graph``, ``"Float"`` or ``"String"``, and how
        many they are.

    Returns
    -------
    str
        What it transforms to, its predictions of shape (n_samples, n_outputs), or its probabilities, in float32.

    Raises
    ------
    ValueError
        If skl2onnx does not know the estimator, or not in ONNX's own operators, or the graph is in float64.
    """
    if graph.dtype is not np.float32:
        raise ValueError(
            f"{type(estimator).__name__} cannot be exported with precision='float64'. Use float32, or trees, a linear "
            "model or a network, and scalers, imputers and encoders before them."
        )
    skl2onnx = optional_import("skl2onnx", needed_by="to_onnx", extra="all")
    types = optional_import("skl2onnx.common.data_types", needed_by="to_onnx", extra="all")
    shaped = [(name, getattr(types, f"{kind}TensorType")([None, width])) for name, _, kind, width in inputs]
    classifier = hasattr(estimator, "predict_proba")
    options = {id(estimator): {"zipmap": False}} if classifier else None
    try:
        model = skl2onnx.convert_sklearn(
            estimator, initial_types=shaped, options=options, target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET}
        )
    except Exception as error:  # skl2onnx raises whatever its converters run into
        way_out = "Use trees, a linear model or a network, and steps that skl2onnx supports."
        if np.asarray(getattr(estimator, "classes_", ())).dtype.kind == "b":
            way_out = "Make the labels text or whole numbers: skl2onnx knows no True and False."
        raise ValueError(
            f"{type(estimator).__name__} cannot be exported: {str(error).splitlines()[0]} {way_out}"
        ) from error
    if foreign := {node.domain for node in model.graph.node} - {"", "ai.onnx.ml"}:
        raise ValueError(
            f"{type(estimator).__name__} cannot be exported: it needs operators of {', '.join(sorted(foreign))}, which "
            "are no part of ONNX. Use trees, a linear model or a network."
        )
    graph.converted.append(type(estimator).__name__)
    outputs = _inlined(graph, model, [value for _, value, _, _ in inputs])
    answer = outputs[1] if classifier else outputs[0]
    if is_regressor(estimator) and not hasattr(estimator, "transform"):
        width = sum(width for *_, width in inputs)
        n_outputs = np.asarray(estimator.predict(np.zeros((1, width), dtype=np.float32))).size
        return graph.add("Reshape", answer, graph.constant([-1, n_outputs]))
    return answer


def _inlined(graph: Graph, model: Any, inputs: Sequence[str]) -> list[str]:
    """Copy another graph's nodes and constants under new names; returns the names of its outputs."""
    inner, versions = model.graph, {opset.domain: opset.version for opset in model.opset_import}
    names = dict(zip((info.name for info in inner.input), inputs, strict=True))
    for tensor in inner.initializer:
        names[tensor.name] = tensor.name = graph.name()
        graph.constants.append(tensor)
    for node in inner.node:
        names |= {name: graph.name() for name in node.output if name}
    for node in inner.node:
        renamed = [[names[name] if name else "" for name in side] for side in (node.input, node.output)]
        copy = graph.helper.make_node(node.op_type, *renamed, domain=node.domain)
        copy.attribute.extend(node.attribute)
        graph.nodes.append(copy)
        if node.domain:
            graph.opsets.setdefault(node.domain, versions[node.domain])
    return [names[info.name] for info in inner.output]

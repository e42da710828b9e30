"""Members of an ensemble whose scores are no single sum of trees: pipelines, selectors, networks, mixtures."""

from __future__ import annotations

from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from tabkd.columns import ColumnEncoder
from tabkd.export.convert import add_converted, add_table_converted
from tabkd.export.inputs import Inputs
from tabkd.learners import Member

__all__ = ["add_prepared"]


def add_prepared(inputs: Inputs, member: Member) -> str:
    """Append what comes before the member's model: its columns and the steps of its pipeline.

    Parameters
    ----------
    inputs : Inputs
    member : Member

    Returns
    -------
    str
        The matrix that the model reads.
    """
    graph, encoder = inputs.graph, inputs.encoder
    steps = list(member.steps)
    if steps and _by_column(steps[0]):
        chosen = range(len(encoder.columns)) if member.support is None else member.support.tolist()
        value = add_table_converted(graph, steps.pop(0), [_typed(inputs, encoder, i) for i in chosen])
    else:
        value = inputs.features()
        if member.support is not None:
            value = graph.columns(value, member.support)
    for step in steps:
        value = add_converted(graph, step, value, step.n_features_in_)
    return value


def _by_column(step: Any) -> bool:
    while isinstance(step, Pipeline):
        step = step.steps[0][1]
    return isinstance(step, ColumnTransformer)


def _typed(inputs: Inputs, encoder: ColumnEncoder, index: int) -> tuple[str, str, str, int]:
    column, graph = encoder.columns[index], inputs.graph
    if inputs.layout == "matrix" and column.kind == "category":
        raise ValueError(f"Column {column.name!r} holds text, which a pipeline reads as it is. Use inputs='columns'.")
    value, name = inputs.raw(index), str(column.name)
    if inputs.described[index]["type"] == "string":
        return name, value, "String", 1
    if column.kind == "integer":
        return name, graph.add("Cast", value, to=7), "Int64", 1
    return name, value, "Float", 1

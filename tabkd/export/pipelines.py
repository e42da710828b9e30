"""What the model at the end of a pipeline reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tabkd._compat import take_rows
from tabkd.export.imputed import add_imputed
from tabkd.export.inputs import Inputs
from tabkd.export.steps import add_step
from tabkd.export.table import Part, Table
from tabkd.imputer import Imputer
from tabkd.learners import Member

__all__ = ["add_prepared"]


def add_prepared(inputs: Inputs, member: Member, sample: Any) -> Table:
    """Append what comes before a member's model: its columns and the steps of its pipeline.

    Parameters
    ----------
    inputs : Inputs
    member : Member
    sample : DataFrame or ndarray
        Some encoded rows.

    Returns
    -------
    Table
    """
    graph, encoder = inputs.graph, inputs.encoder
    if encoder.encoding == "table":
        parts = [replace(inputs.part(i), none=column.none) for i, column in enumerate(encoder.columns)]
    else:
        parts = [Part(inputs.features(), len(encoder.sources), graph.dtype)]
    table = Table(graph, parts, sample)
    if member.support is not None:
        table = Table(graph, table.select(member.support), take_rows(sample, member.support, axis=1))
    for step in member.steps:
        if isinstance(step, Imputer):
            table = Table(graph, [*table.parts, *add_imputed(inputs, member)], step.transform(table.sample))
        else:
            table = add_step(table, step)
    return table

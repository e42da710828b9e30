"""What the model at the end of a pipeline reads."""

from __future__ import annotations

from typing import Any

from tabkd._compat import take_rows
from tabkd.export.inputs import Inputs
from tabkd.export.steps import add_step
from tabkd.export.table import Part, Table
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
        parts = [inputs.part(i) for i in range(len(encoder.columns))]
    else:
        parts = [Part(inputs.features(), len(encoder.sources), graph.dtype)]
    table = Table(graph, parts, sample)
    if member.support is not None:
        table = Table(graph, table.select(member.support), take_rows(sample, member.support, axis=1))
    for step in member.steps:
        table = add_step(table, step)
    return table

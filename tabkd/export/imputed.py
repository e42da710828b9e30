"""Imputed columns: trees that predict what the student has not, to the last bit as they do in Python."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tabkd.columns import ColumnEncoder
from tabkd.export.from_lightgbm import read_lightgbm
from tabkd.export.inputs import Inputs
from tabkd.export.table import Part
from tabkd.export.tree_nodes import add_trees
from tabkd.export.trees import Trees, offset_features, stack, summed
from tabkd.imputer import Imputer
from tabkd.learners import Member

__all__ = ["add_imputed", "imputed_widths", "imputer_trees"]


def imputer_trees(member: Member, encoder: ColumnEncoder) -> Trees | None:
    """The trees that predict a member's imputed columns from numbers and codes; None where it has no such columns.

    Parameters
    ----------
    member : Member
    encoder : ColumnEncoder
        Of the model.

    Returns
    -------
    Trees
        One output per imputed column, on a matrix with all columns of the encoder.
    """
    (step,) = _imputers(member) or (None,)
    if step is None or not step.names:
        return None
    width = len(encoder.sources)
    columns = np.arange(width) if member.support is None else member.support
    if not step.reads_as_encoded:
        columns = columns[step.reads]
    parts = [summed([read_lightgbm(model, len(columns)) for model in models]) for models in step.models]
    return offset_features(stack(parts), columns, width)


def add_imputed(inputs: Inputs, member: Member) -> list[Part]:
    """Append a member's imputer; returns what it predicts, in one part or none.

    Parameters
    ----------
    inputs : Inputs
    member : Member

    Returns
    -------
    list of Part
    """
    trees = imputer_trees(member, inputs.encoder)
    if trees is None:
        return []
    return [Part(add_trees(inputs.graph, inputs.numbers, trees), trees.n_outputs, inputs.graph.dtype)]


def imputed_widths(members: Sequence[Member]) -> list[int]:
    """Number of imputed columns of each member."""
    return [sum(len(step.names) for step in _imputers(member)) for member in members]


def _imputers(member: Member) -> list[Imputer]:
    """The first step where it imputes, else nothing."""
    return [step for step in member.steps[:1] if isinstance(step, Imputer)]

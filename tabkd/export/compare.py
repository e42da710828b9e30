"""Trees on numbers that float32 does not hold, run by an operator that reads float32."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tabkd.export.table import Table
from tabkd.export.tree_nodes import add_trees
from tabkd.export.trees import Trees
from tabkd.families import family

__all__ = ["add_exact_trees", "reads_doubles"]


def reads_doubles(estimator: Any) -> bool:
    """Whether a tree model compares float64 numbers as they are; the others round them to float32 first."""
    return family(estimator) == "lightgbm" or type(estimator).__name__.startswith("HistGradientBoosting")


def add_exact_trees(table: Table, trees: Trees, doubles: bool) -> str:
    """Append trees that decide on every number as their library does; returns their scores.

    Parameters
    ----------
    table : Table
    trees : Trees
    doubles : bool
        Whether the library compares in float64.

    Returns
    -------
    str
    """
    graph = table.graph
    wide = np.array([dtype is np.float64 for dtype in table.dtypes])
    if graph.dtype is np.float64 or not doubles or not wide.any():
        dtype = graph.dtype if doubles else np.float32
        return add_trees(graph, graph.as_type(table.numbers(dtype), dtype, graph.dtype), trees)
    return _add_compared(table, trees, wide)


def _add_compared(table: Table, trees: Trees, wide: np.ndarray) -> str:
    """Compare the columns ``wide`` with their thresholds in float64 before; the trees then read the answers."""
    graph, narrow = table.graph, np.flatnonzero(~wide)
    compared = [wide[tree.feature] & (tree.feature >= 0) for tree in trees.trees]
    rows = [_questions(tree) for tree in trees.trees]
    asked = np.unique(np.concatenate([one[which] for one, which in zip(rows, compared, strict=True)]), axis=0)
    values = graph.columns(table.numbers(np.float64), asked[:, 0])
    beyond = graph.add("Greater", values, graph.constant(asked[None, :, 1], np.float64))
    strays = graph.add("And", graph.add("IsNaN", values), graph.constant(asked[None, :, 2] == 0))
    answers = graph.add("Cast", graph.add("Or", beyond, strays), to=1)
    parts = [Table(graph, table.select(narrow)).numbers(np.float32)] if len(narrow) else []
    places = {tuple(row): len(narrow) + i for i, row in enumerate(asked.tolist())}
    moved = []
    for tree, one, which in zip(trees.trees, rows, compared, strict=True):
        feature = np.where(tree.feature < 0, -1, np.searchsorted(narrow, np.maximum(tree.feature, 0)))
        feature[which] = [places[tuple(row)] for row in one[which].tolist()]
        moved.append(replace(tree, feature=feature, threshold=np.where(which, 0.0, tree.threshold)))
    return add_trees(graph, graph.concat([*parts, answers]), replace(trees, trees=moved))


def _questions(tree: Any) -> np.ndarray:
    """Column, threshold and whether NaN follows ``yes``, of every node."""
    return np.column_stack([tree.feature, tree.threshold, tree.missing])

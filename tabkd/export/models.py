"""What a fitted model answers, as trees where it is a sum of trees, and as nodes of a graph elsewhere."""

from __future__ import annotations

import numpy as np

from tabkd._compat import is_regressor
from tabkd.adapter import Adapter
from tabkd.boosters import BoosterCrossEntropy, BoosterSoftmax
from tabkd.export.answers import (
    Texts,
    add_both,
    add_decision,
    add_placed,
    add_probabilities,
    add_trees_of,
    add_values,
    output_link,
    placed,
    read_trees,
)
from tabkd.export.graph import Graph
from tabkd.export.table import Table
from tabkd.export.tree_nodes import add_trees
from tabkd.export.trees import Trees, linear
from tabkd.families import averages_trees, family

__all__ = ["add_scores", "add_tree_scores", "scoring_trees"]


def scoring_trees(adapter: Adapter, n_features: int, texts: Texts) -> Trees | None:
    """The trees whose sum is ``adapter.raw``, or its second column for two probabilities; None where it is no such sum.

    Parameters
    ----------
    adapter : Adapter
        Fitted.
    n_features : int
        Columns that it reads.
    texts : mapping from column index to texts

    Returns
    -------
    Trees or None
    """
    estimator = adapter.estimator
    trees = read_trees(estimator, n_features, texts)
    if trees is None:
        return None
    if isinstance(adapter, BoosterCrossEntropy):
        return trees
    if isinstance(adapter, BoosterSoftmax):
        return linear(trees, np.eye(trees.n_outputs), adapter.prior)
    if is_regressor(estimator):
        if output_link(estimator) != "identity":
            return None
        return trees
    seen, classes = _seen(adapter), np.asarray(adapter.classes)
    if adapter.link in ("logit", "softmax"):
        if not np.array_equal(seen, classes):
            return None
        # The log-odds of two classes are how far apart their margins are.
        return linear(trees, [[-1.0], [1.0]], [0.0]) if len(classes) == trees.n_outputs == 2 else trees
    if family(estimator) == "sklearn" and "Gradient" not in type(estimator).__name__:
        places = placed(seen, classes)[:, 1 if len(classes) == 2 else 0 :]
        return linear(trees, places, np.zeros(places.shape[1]))
    if averages_trees(estimator) and trees.n_outputs == 1 and len(classes) == 2:
        return trees
    return None


def add_tree_scores(graph: Graph, features: str, trees: Trees, link: str, classes: np.ndarray | None) -> str:
    """Append trees that are scores; of two probabilities they hold the second alone.

    Parameters
    ----------
    graph : Graph
    features : str
    trees : Trees
        From :func:`scoring_trees`.
    link : str
        Scale of the scores.
    classes : ndarray or None

    Returns
    -------
    str
        Scores as ``adapter.raw`` has them.
    """
    return _completed(graph, add_trees(graph, features, trees), trees, link, classes)


def _completed(graph: Graph, scores: str, trees: Trees, link: str, classes: np.ndarray | None) -> str:
    both = classes is not None and len(classes) == 2 and link == "probability" and trees.n_outputs == 1
    return add_both(graph, scores) if both else scores


def add_scores(table: Table, adapter: Adapter) -> str:
    """Append nodes that compute ``adapter.raw``; returns the name of its value.

    Parameters
    ----------
    table : Table
        What its estimator reads.
    adapter : Adapter
        Fitted.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the estimator cannot be exported.
    """
    graph, estimator, classes = table.graph, adapter.estimator, np.asarray(adapter.classes)
    trees = scoring_trees(adapter, table.width, {})
    if trees is not None:
        return _completed(graph, add_trees_of(table, estimator, trees), trees, adapter.link, adapter.classes)
    if is_regressor(estimator):
        scores = add_values(table, estimator)
        if adapter.link == "probability" and adapter.classes is not None and len(adapter.classes) == 2:
            return add_both(graph, scores)
        return scores
    seen = _seen(adapter)
    if adapter.link in ("logit", "softmax"):
        scores = add_decision(table, estimator)
        if np.array_equal(seen, classes):
            return scores
        # A class that was never seen lies far below the best one.
        scores = graph.add("Sub", scores, graph.add("ReduceMax", scores, axes=[1], keepdims=1))
        unseen = np.where(np.isin(classes.astype(str), np.asarray(seen).astype(str)), 0.0, -40.0)
        return graph.add("Add", add_placed(graph, scores, seen, classes), graph.constant(unseen))
    return add_placed(graph, add_probabilities(table, estimator), seen, classes)


def _seen(adapter: Adapter) -> np.ndarray:
    seen = getattr(adapter, "seen", None)
    return adapter.estimator.classes_ if seen is None else seen

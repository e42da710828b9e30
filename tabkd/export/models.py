"""What a fitted model answers, as trees where it is a sum of trees, and as nodes of a graph elsewhere."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from tabkd._compat import is_regressor
from tabkd.adapter import Adapter
from tabkd.boosters import BoosterCrossEntropy, BoosterSoftmax
from tabkd.export.compare import add_exact_trees, reads_doubles
from tabkd.export.convert import add_converted
from tabkd.export.graph import Graph
from tabkd.export.inverses import add_inverse
from tabkd.export.steps import add_step
from tabkd.export.table import Table
from tabkd.export.tree_nodes import add_trees
from tabkd.export.trees import Trees, linear, stack
from tabkd.families import BOOSTERS, averages_trees, family

__all__ = ["Texts", "add_scores", "add_tree_scores", "read_trees", "scoring_trees"]

#: Known texts of the text columns, by their position in the matrix that the model reads.
Texts = Mapping[int, Sequence[str]]

_SKLEARN_TREES = ("DecisionTree", "ExtraTree", "RandomForest", "GradientBoosting", "HistGradientBoosting")
_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "identity": "Identity", "softmax": "Softmax"}


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
        if _output_link(estimator) != "identity":
            return None
        return trees
    seen, classes = _seen(adapter), np.asarray(adapter.classes)
    if adapter.link in ("logit", "softmax"):
        if not np.array_equal(seen, classes):
            return None
        # The log-odds of two classes are how far apart their margins are.
        return linear(trees, [[-1.0], [1.0]], [0.0]) if len(classes) == trees.n_outputs == 2 else trees
    if family(estimator) == "sklearn" and "Gradient" not in type(estimator).__name__:
        places = _placed(seen, classes)[:, 1 if len(classes) == 2 else 0 :]
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
    return _add_both(graph, scores) if both else scores


def _add_both(graph: Graph, positive: str) -> str:
    """Probabilities of both classes from that of the second."""
    return graph.add("Add", graph.add("Mul", positive, graph.constant([[-1.0, 1.0]])), graph.constant([[1.0, 0.0]]))


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
        return _completed(graph, _add_trees(table, estimator, trees), trees, adapter.link, adapter.classes)
    if is_regressor(estimator):
        scores = _add_values(table, estimator)
        if adapter.link == "probability" and adapter.classes is not None and len(adapter.classes) == 2:
            return _add_both(graph, scores)
        return scores
    seen = _seen(adapter)
    if adapter.link in ("logit", "softmax"):
        scores = _add_decision(table, estimator)
        if np.array_equal(seen, classes):
            return scores
        # A class that was never seen lies far below the best one.
        scores = graph.add("Sub", scores, graph.add("ReduceMax", scores, axes=[1], keepdims=1))
        unseen = np.where(np.isin(classes.astype(str), np.asarray(seen).astype(str)), 0.0, -40.0)
        return graph.add("Add", _add_placed(graph, scores, seen, classes), graph.constant(unseen))
    return _add_placed(graph, _add_probabilities(table, estimator), seen, classes)


def _seen(adapter: Adapter) -> np.ndarray:
    seen = getattr(adapter, "seen", None)
    return adapter.estimator.classes_ if seen is None else seen


def _placed(seen: Any, classes: np.ndarray) -> np.ndarray:
    """Matrix that puts columns in the order of ``seen`` into that of ``classes``."""
    labels = [str(label) for label in classes.tolist()]
    places = np.zeros((len(seen), len(classes)))
    places[np.arange(len(seen)), [labels.index(str(label)) for label in np.asarray(seen).tolist()]] = 1
    return places


def _add_placed(graph: Graph, values: str, seen: Any, classes: np.ndarray) -> str:
    if np.array_equal(seen, classes):
        return values
    return graph.add("MatMul", values, graph.constant(_placed(seen, classes)))


def read_trees(estimator: Any, n_features: int, texts: Texts) -> Trees | None:
    """The trees of a fitted estimator, before any link; None of what has none."""
    kind, name = family(estimator), type(estimator).__name__
    if name == "_PerOutput":
        parts = [read_trees(part, n_features, texts) for part in estimator.estimators_]
        known_parts = [part for part in parts if part is not None]
        return stack(known_parts) if len(known_parts) == len(parts) else None
    known = name.startswith(_SKLEARN_TREES) or name.startswith("ExtraTrees")
    if kind not in BOOSTERS and not (known and type(estimator).__module__.startswith("sklearn.")):
        return None
    reader = importlib.import_module(f"tabkd.export.from_{kind}")
    more = {"texts": texts} if kind == "catboost" else {}
    return getattr(reader, f"read_{kind}")(estimator, n_features, **more)


def _output_link(estimator: Any) -> str:
    if type(estimator).__name__ == "_PerOutput":
        return _output_link(estimator.estimators_[0])
    reader = importlib.import_module(f"tabkd.export.from_{family(estimator)}")
    return getattr(reader, "output_link", lambda _: "identity")(estimator)


def _add_values(table: Table, estimator: Any) -> str:
    """A regressor's predictions of shape (n_samples, n_outputs)."""
    trees = read_trees(estimator, table.width, {})
    if trees is not None:
        node = {"exp": "Exp", "sigmoid": "Sigmoid", "identity": "Identity"}[_output_link(estimator)]
        return table.graph.add(node, _add_trees(table, estimator, trees))
    if type(estimator).__name__ == "_PerOutput":
        return table.graph.concat([_add_values(table, part) for part in estimator.estimators_])
    if type(estimator).__name__ == "TransformedTargetRegressor":
        return add_inverse(table.graph, estimator.transformer_, _add_values(table, estimator.regressor_))
    if isinstance(estimator, Pipeline):
        return _add_values(add_step(table, estimator[:-1]), estimator[-1])
    if hasattr(estimator, "add_nodes"):
        return estimator.add_nodes(table)
    if type(estimator).__module__.startswith("sklearn.neural_network"):
        return _add_mlp(table.graph, estimator, _matrix(table))
    if _is_linear(estimator, regressor=True):
        return _add_linear(table.graph, estimator, _matrix(table))
    return _add_converted(table, estimator)


def _add_decision(table: Table, estimator: Any) -> str:
    """A classifier's decision values: one column for two classes, one per class for more."""
    trees = read_trees(estimator, table.width, {})
    if trees is not None:
        return _add_trees(table, estimator, trees)
    return _add_linear(table.graph, estimator, _matrix(table))


def _add_probabilities(table: Table, estimator: Any) -> str:
    """``predict_proba``, in the order of the estimator's own classes."""
    name = type(estimator).__name__
    trees = read_trees(estimator, table.width, {})
    if trees is not None:
        return _add_linked(table.graph, estimator, _add_trees(table, estimator, trees), trees.n_outputs)
    if hasattr(estimator, "add_nodes"):
        return estimator.add_nodes(table)
    if isinstance(estimator, Pipeline):
        return _add_probabilities(add_step(table, estimator[:-1]), estimator[-1])
    if name == "VotingClassifier":
        parts = [_add_probabilities(table, part) for part in estimator.estimators_]
        return table.graph.weighted_mean(parts, estimator._weights_not_none)
    if name == "MLPClassifier":
        return _with_complement(table.graph, _add_mlp(table.graph, estimator, _matrix(table)), estimator)
    return _add_converted(table, estimator)


def _with_complement(graph: Graph, positive: str, estimator: Any) -> str:
    """Probabilities of both classes from that of the second; of more classes they are there already."""
    if len(estimator.classes_) > 2:
        return positive
    return graph.concat([graph.add("Sub", graph.constant(1.0), positive), positive])


def _add_linked(graph: Graph, estimator: Any, scores: str, n_scores: int) -> str:
    """A tree classifier's probabilities from its scores, whatever link it has."""
    kind, params = family(estimator), estimator.get_params()
    if kind == "sklearn" and "Gradient" not in type(estimator).__name__:
        return scores
    if averages_trees(estimator):
        return _with_complement(graph, scores, estimator)
    factor, one_vs_all = 1.0, False
    if kind == "lightgbm":
        words = estimator.booster_.model_to_string(num_iteration=1).partition("\nobjective=")[2].split("\n")[0].split()
        one_vs_all = words[0] == "multiclassova"
        factor = next((float(word[8:]) for word in words if word.startswith("sigmoid:")), 1.0)
        if words[0] not in ("binary", "multiclass", "multiclassova"):
            raise ValueError(f"LightGBM's objective {words[0]!r} cannot be exported exactly. Use 'binary'.")
    elif kind == "catboost":
        one_vs_all = estimator.get_all_params()["loss_function"].startswith("MultiClassOneVsAll")
    elif params.get("loss") == "exponential":
        factor = 2.0
    scaled = scores if factor == 1 else graph.add("Mul", scores, graph.constant(factor))
    if n_scores == 1:
        return _with_complement(graph, graph.add("Sigmoid", scaled), estimator)
    return graph.add("Sigmoid", scaled) if one_vs_all else graph.add("Softmax", scaled, axis=1)


def _add_trees(table: Table, estimator: Any, trees: Trees) -> str:
    part = estimator.estimators_[0] if type(estimator).__name__ == "_PerOutput" else estimator
    return add_exact_trees(table, trees, reads_doubles(part))


def _matrix(table: Table) -> str:
    """What a model without thresholds reads: that is computed in the graph's precision."""
    return table.numbers(table.graph.dtype)


def _add_converted(table: Table, estimator: Any) -> str:
    return add_converted(table.graph, estimator, [("X", table.numbers(np.float32), "Float", table.width)])


def _is_linear(estimator: Any, *, regressor: bool) -> bool:
    plain = type(estimator).__module__.startswith("sklearn.linear_model") and hasattr(estimator, "coef_")
    # Generalised linear regressors answer with the exponential of what is linear.
    return plain and not (regressor and hasattr(estimator, "_get_loss"))


def _add_linear(graph: Graph, estimator: Any, features: str) -> str:
    if not hasattr(estimator, "coef_"):
        raise ValueError(f"{type(estimator).__name__} cannot be exported. Use a linear model, a network or trees.")
    weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=float)).T
    offset = np.broadcast_to(np.asarray(estimator.intercept_, dtype=float).ravel(), weights.shape[1:])
    product = graph.add("MatMul", features, graph.constant(weights))
    return graph.add("Add", product, graph.constant(offset))


def _add_mlp(graph: Graph, estimator: Any, features: str) -> str:
    value = features
    activations = [estimator.activation] * (len(estimator.coefs_) - 1) + [estimator.out_activation_]
    for weights, offset, activation in zip(estimator.coefs_, estimator.intercepts_, activations, strict=True):
        value = graph.add("MatMul", value, graph.constant(np.asarray(weights, dtype=float)))
        value = graph.add("Add", value, graph.constant(np.asarray(offset, dtype=float)))
        more: dict[str, Any] = {"axis": 1} if activation == "softmax" else {}
        value = graph.add(_ACTIVATIONS[activation], value, **more)
    return value

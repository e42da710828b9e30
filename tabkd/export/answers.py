"""What a fitted model answers, or one made of others: values, decision values or probabilities, as nodes of a graph."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from tabkd._compat import last_step, take_rows
from tabkd.export.compare import add_exact_trees, reads_doubles
from tabkd.export.convert import add_converted
from tabkd.export.graph import Graph
from tabkd.export.head import add_normalized
from tabkd.export.inverses import add_inverse
from tabkd.export.steps import add_step
from tabkd.export.table import Part, Table
from tabkd.export.trees import Trees, stack
from tabkd.families import BOOSTERS, averages_trees, family

__all__ = [
    "Texts",
    "add_both",
    "add_decision",
    "add_placed",
    "add_probabilities",
    "add_trees_of",
    "add_values",
    "output_link",
    "placed",
    "read_trees",
]

#: Known texts of the text columns, by their position in the matrix that the model reads.
Texts = Mapping[int, Sequence[str]]

_SKLEARN_TREES = ("DecisionTree", "ExtraTree", "RandomForest", "GradientBoosting", "HistGradientBoosting")
_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "identity": "Identity", "softmax": "Softmax"}


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


def placed(seen: Any, classes: np.ndarray) -> np.ndarray:
    """Matrix that puts columns in the order of ``seen`` into that of ``classes``."""
    labels = [str(label) for label in classes.tolist()]
    places = np.zeros((len(seen), len(classes)))
    places[np.arange(len(seen)), [labels.index(str(label)) for label in np.asarray(seen).tolist()]] = 1
    return places


def add_placed(graph: Graph, values: str, seen: Any, classes: np.ndarray) -> str:
    """Columns in the order of ``seen`` in that of ``classes``."""
    if np.array_equal(seen, classes):
        return values
    return graph.add("MatMul", values, graph.constant(placed(seen, classes)))


def output_link(estimator: Any) -> str:
    """What makes values of the trees' sum: ``"identity"``, ``"exp"`` or ``"sigmoid"``."""
    if type(estimator).__name__ == "_PerOutput":
        return output_link(estimator.estimators_[0])
    reader = importlib.import_module(f"tabkd.export.from_{family(estimator)}")
    return getattr(reader, "output_link", lambda _: "identity")(estimator)


def add_values(table: Table, estimator: Any) -> str:
    """A regressor's predictions of shape (n_samples, n_outputs)."""
    name = type(estimator).__name__
    trees = read_trees(estimator, table.width, {})
    if trees is not None:
        node = {"exp": "Exp", "sigmoid": "Sigmoid", "identity": "Identity"}[output_link(estimator)]
        return table.graph.add(node, add_trees_of(table, estimator, trees))
    if name in ("_PerOutput", "MultiOutputRegressor"):
        return table.graph.concat([add_values(table, part) for part in estimator.estimators_])
    if name == "TransformedTargetRegressor":
        return add_inverse(table.graph, estimator.transformer_, add_values(table, estimator.regressor_))
    if isinstance(estimator, Pipeline):
        return add_values(add_step(table, estimator[:-1]), estimator[-1])
    if name == "VotingRegressor":
        parts = [add_values(table, part) for part in estimator.estimators_]
        return table.graph.weighted_mean(parts, estimator._weights_not_none)
    if name == "BaggingRegressor":
        return table.graph.mean([add_values(own, part) for own, part in _bags(table, estimator)])
    if name == "StackingRegressor":
        return add_values(_stacked(table, estimator), estimator.final_estimator_)
    if hasattr(estimator, "add_nodes"):
        return estimator.add_nodes(table)
    if type(estimator).__module__.startswith("sklearn.neural_network"):
        return _add_mlp(table.graph, estimator, _matrix(table))
    if _is_linear(estimator, regressor=True):
        return _add_linear(table.graph, estimator, _matrix(table))
    return _add_converted(table, estimator)


def add_decision(table: Table, estimator: Any) -> str:
    """A classifier's decision values: one column for two classes, one per class for more."""
    trees = read_trees(estimator, table.width, {})
    if trees is not None:
        return add_trees_of(table, estimator, trees)
    return _add_linear(table.graph, estimator, _matrix(table))


def add_probabilities(table: Table, estimator: Any) -> str:
    """``predict_proba``, in the order of the estimator's own classes."""
    name = type(estimator).__name__
    trees = read_trees(estimator, table.width, {})
    if trees is not None:
        return _add_linked(table.graph, estimator, add_trees_of(table, estimator, trees), trees.n_outputs)
    if hasattr(estimator, "add_nodes"):
        return estimator.add_nodes(table)
    if isinstance(estimator, Pipeline):
        return add_probabilities(add_step(table, estimator[:-1]), estimator[-1])
    if name == "VotingClassifier":
        parts = [add_probabilities(table, part) for part in estimator.estimators_]
        return table.graph.weighted_mean(parts, estimator._weights_not_none)
    if name == "BaggingClassifier" and hasattr(estimator.estimators_[0], "predict_proba"):
        bags = [(part, add_probabilities(own, part)) for own, part in _bags(table, estimator)]
        codes = np.arange(len(estimator.classes_))
        return table.graph.mean([add_placed(table.graph, value, part.classes_, codes) for part, value in bags])
    if name == "CalibratedClassifierCV" and all(
        part.method in ("sigmoid", "isotonic") and _responds(part.estimator)
        for part in estimator.calibrated_classifiers_
    ):
        return table.graph.mean([_add_calibrated(table, part) for part in estimator.calibrated_classifiers_])
    if name == "StackingClassifier" and all(
        method == "predict_proba" or (method == "decision_function" and _responds(part))
        for part, method in zip(estimator.estimators_, estimator.stack_method_, strict=True)
    ):
        return add_probabilities(_stacked(table, estimator), estimator.final_estimator_)
    if name == "MLPClassifier":
        return _with_complement(table.graph, _add_mlp(table.graph, estimator, _matrix(table)), estimator)
    return _add_converted(table, estimator)


# ---------------------------------------------------------------- models of models


def _bags(table: Table, estimator: Any) -> list[tuple[Table, Any]]:
    """Bagged models, each with the columns that it reads."""
    everyone, bags = list(range(table.width)), []
    for part, features in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
        own = table
        if list(features) != everyone:
            own = Table(table.graph, table.select(features), take_rows(table.sample, features, axis=1))
        bags.append((own, part))
    return bags


def _stacked(table: Table, estimator: Any) -> Table:
    """What the last model of a stack reads."""
    graph, parts = table.graph, []
    for part, method in zip(estimator.estimators_, estimator.stack_method_, strict=True):
        binary = method != "predict" and len(part.classes_) == 2
        if method == "predict":
            value, width = add_values(table, part), 1
        elif method == "decision_function":
            value, width = _add_response(table, part), 1 if binary else len(part.classes_)
        else:
            value, width = add_probabilities(table, part), len(part.classes_)
            if binary:
                value, width = graph.columns(value, [1]), 1
        parts.append(Part(value, width, graph.dtype))
    return Table(graph, [*parts, *(table.parts if estimator.passthrough else [])], estimator.transform(table.sample))


def _add_calibrated(table: Table, fitted: Any) -> str:
    graph, response = table.graph, _add_response(table, fitted.estimator)
    parts = [
        _add_calibrator(graph, graph.columns(response, [k]) if len(fitted.calibrators) > 1 else response, calibrator)
        for k, calibrator in enumerate(fitted.calibrators)
    ]
    if len(fitted.classes) == 2:
        return add_both(graph, parts[0])
    proba = add_placed(graph, graph.concat(parts), fitted.estimator.classes_, fitted.classes)
    return add_normalized(graph, proba, len(fitted.classes))


def _responds(estimator: Any) -> bool:
    """Whether :func:`_add_response` knows a model: not the decision values of all."""
    last = last_step(estimator)
    linear = _is_linear(last, regressor=False) or type(last).__name__ == "LinearSVC"
    boosted = family(last) in BOOSTERS or "Gradient" in type(last).__name__
    return linear or boosted or not hasattr(last, "decision_function")


def _add_response(table: Table, estimator: Any) -> str:
    """What a model is calibrated by: decision values, or else probabilities, of two classes those of the second."""
    if isinstance(estimator, Pipeline):
        return _add_response(add_step(table, estimator[:-1]), estimator[-1])
    if hasattr(estimator, "decision_function"):
        return add_decision(table, estimator)
    proba = add_probabilities(table, estimator)
    return table.graph.columns(proba, [1]) if len(estimator.classes_) == 2 else proba


def _add_calibrator(graph: Graph, value: str, calibrator: Any) -> str:
    if hasattr(calibrator, "a_"):
        scaled = graph.add("Mul", value, graph.constant(-float(calibrator.a_)))
        return graph.add("Sigmoid", graph.add("Sub", scaled, graph.constant(float(calibrator.b_))))
    graph.steep = True
    # Isotonic: from the first value on, each segment adds its slope as far as the number reaches into it.
    ends, heights = (np.asarray(part, dtype=float) for part in (calibrator.X_thresholds_, calibrator.y_thresholds_))
    first = graph.constant(heights[:1])
    if len(ends) == 1:
        return graph.add("Add", graph.add("Mul", value, graph.constant(0.0)), first)
    reached = graph.add("Max", graph.add("Sub", value, graph.constant(ends[:-1])), graph.constant(0.0))
    reached = graph.add("Min", reached, graph.constant(np.diff(ends)))
    slopes = np.diff(heights) / np.diff(ends)
    return graph.add("Add", graph.add("MatMul", reached, graph.constant(slopes[:, None])), first)


# ---------------------------------------------------------------- nodes of one model


def _with_complement(graph: Graph, positive: str, estimator: Any) -> str:
    """Probabilities of both classes from that of the second; of more classes they are there already."""
    if len(estimator.classes_) > 2:
        return positive
    return add_both(graph, positive)


def add_both(graph: Graph, positive: str) -> str:
    """Probabilities of both classes from that of the second."""
    return graph.add("Add", graph.add("Mul", positive, graph.constant([[-1.0, 1.0]])), graph.constant([[1.0, 0.0]]))


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


def add_trees_of(table: Table, estimator: Any, trees: Trees) -> str:
    """The sum of an estimator's trees, which compare as its library does."""
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

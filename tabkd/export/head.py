"""From scores to what a user asked for: link, temperature, threshold, labels."""

from __future__ import annotations

import numpy as np

from tabkd.averages import FittedAverage
from tabkd.export.graph import Graph
from tabkd.models import TIE, FittedModel

__all__ = ["add_normalized", "add_outputs", "add_predictions", "cut_of", "label_dtype", "tie_of"]


def add_predictions(graph: Graph, model: FittedModel, scores: str) -> str:
    """Append what makes predictions of scores; returns their name.

    Parameters
    ----------
    graph : Graph
    model : FittedModel
    scores : str
        Mean of the members' scores on their link scale.

    Returns
    -------
    str
        Probabilities, or values.
    """
    if model.classes is None:
        return scores
    temperature, link, n_classes = model.members[0].temperature, model.link, len(model.classes)
    if temperature != 1 and link != "probability":
        scores = graph.add("Mul", scores, graph.constant(temperature))
    if link == "logit":
        # Both classes at once: fewer nodes than 1 - p, and small probabilities of either keep their digits.
        return graph.add("Sigmoid", graph.add("Mul", scores, graph.constant([[-1.0, 1.0]])))
    if link == "softmax":
        return graph.add("Softmax", scores, axis=1)
    proba = add_normalized(graph, scores, n_classes)
    if temperature != 1:
        proba = add_normalized(graph, graph.add("Pow", proba, graph.constant(temperature)), n_classes)
    return proba


def add_outputs(graph: Graph, model: FittedModel | FittedAverage, predictions: str, n_outputs: int) -> list[str]:
    """Append the outputs; returns their names.

    Parameters
    ----------
    graph : Graph
    model : FittedModel or FittedAverage
    predictions : str
        Probabilities, or values.
    n_outputs : int
        Columns of ``predictions``.

    Returns
    -------
    list of str
        ``label`` and ``probabilities``, or ``prediction``.

    Raises
    ------
    ValueError
        If labels are floats that float32 does not tell apart.
    """
    if model.classes is None:
        return [graph.output("prediction", predictions, graph.dtype, n_outputs)]
    if model.threshold is None:
        # Where a tie is, the first class wins; only averages of probabilities come near to one.
        likeliest = _likeliest(graph, predictions) if tie_of(model) else predictions
        codes = graph.add("ArgMax", likeliest, axis=1, keepdims=0)
    else:
        above = graph.add("Greater", graph.columns(predictions, 1), graph.constant(cut_of(model, graph.dtype)))
        codes = graph.add("Cast", above, to=7)
    labels: np.ndarray = model.classes.astype(label_dtype(model.classes))
    if len(np.unique(labels)) < len(labels):
        raise ValueError(f"The labels {model.classes.tolist()} are equal in float32. Make them text or whole numbers.")
    if labels.dtype.kind != "i" or not np.array_equal(labels, np.arange(len(labels))):
        codes = graph.add("Gather", graph.constant(labels), codes, axis=0)
    return [
        graph.output("label", codes, label_dtype(model.classes)),
        graph.output("probabilities", predictions, graph.dtype, len(labels)),
    ]


def tie_of(model: FittedModel | FittedAverage) -> float:
    """Probabilities that differ by less are equal."""
    return TIE if model.averaged else 0.0


def cut_of(model: FittedModel | FittedAverage, dtype: type) -> float | None:
    """The threshold as a graph holds it, above those probabilities that are equal to it."""
    return None if model.threshold is None else float(dtype(model.threshold + tie_of(model)))


def _likeliest(graph: Graph, predictions: str) -> str:
    """1 for the likeliest class and for those that are as likely, 0 for others."""
    best = graph.add("Sub", graph.add("ReduceMax", predictions, axes=[1], keepdims=1), graph.constant(TIE))
    return graph.add("Cast", graph.add("GreaterOrEqual", predictions, best), to=graph.float_type)


def add_normalized(graph: Graph, values: str, n_classes: int) -> str:
    """Append what makes shares add up to 1; where all are 0 the classes are equally likely."""
    clipped = graph.add("Clip", values, graph.constant(0.0), graph.constant(1.0))
    total = graph.add("ReduceSum", clipped, graph.constant([1]), keepdims=1)
    shares = graph.add("Div", clipped, total)
    some = graph.add("Greater", total, graph.constant(0.0))
    return graph.add("Where", some, shares, graph.constant(1 / n_classes))


def label_dtype(classes: np.ndarray) -> type:
    """The type of tensor that holds the labels."""
    kinds: dict[str, type] = {"i": np.int64, "u": np.int64, "f": np.float32, "b": np.bool_}
    return kinds.get(classes.dtype.kind, str)

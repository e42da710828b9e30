"""Scores of labels as functions of how often each class is taken for each, for whoever asks for hundreds of them.

scikit-learn's scorers check and sort the rows for every single score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["confusion_score", "weighted_score"]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


#: Of true negatives, false positives, false negatives and true positives.
_OF_TWO: dict[str, Callable[[Any, Any, Any, Any], np.ndarray]] = {
    "accuracy": lambda tn, fp, fn, tp: _ratio(tn + tp, tn + fp + fn + tp),
    "balanced_accuracy": lambda tn, fp, fn, tp: (_ratio(tn, tn + fp) + _ratio(tp, tp + fn)) / 2,
    "f1": lambda tn, fp, fn, tp: _ratio(2 * tp, 2 * tp + fp + fn),
    "f1_macro": lambda tn, fp, fn, tp: (_ratio(2 * tn, 2 * tn + fp + fn) + _ratio(2 * tp, 2 * tp + fp + fn)) / 2,
}
#: Of rows of each class, rows that are taken for it, and rows of it that are.
_OF_MANY: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], Any]] = {
    "balanced_accuracy": lambda own, taken, right: _ratio(right, own)[own > 0].mean(),
    "f1_macro": lambda own, taken, right: _ratio(2 * right, own + taken)[own + taken > 0].mean(),
    "f1_micro": lambda own, taken, right: right.sum() / own.sum(),
    "f1_weighted": lambda own, taken, right: np.average(_ratio(2 * right, own + taken), weights=own),
    "precision_macro": lambda own, taken, right: _ratio(right, taken)[own + taken > 0].mean(),
    "recall_macro": lambda own, taken, right: _ratio(right, own)[own + taken > 0].mean(),
}


def confusion_score(scoring: Any, classes: np.ndarray) -> Callable[[Any, Any, Any, Any], np.ndarray] | None:
    """A scorer of two classes' labels as a function of their confusion matrix, None if it is not known.

    Parameters
    ----------
    scoring : str or callable
    classes : ndarray of shape (n_classes,)

    Returns
    -------
    callable or None
        Of true negatives, false positives, false negatives and true positives, arrays of one shape.
    """
    # scikit-learn's "f1" is that of the label 1, whichever class that is.
    if not isinstance(scoring, str) or len(classes) != 2 or (scoring == "f1" and classes[1] != 1):
        return None
    return _OF_TWO.get(scoring)


def _matrix_score(scoring: Any) -> Callable[[np.ndarray], float] | None:
    """A scorer of any number of classes' labels as a function of their confusion matrix, None if it is not known.

    Parameters
    ----------
    scoring : str or callable

    Returns
    -------
    callable or None
        Of an array of shape (n_classes, n_classes): the weight of the rows of a class that are taken for each.
    """
    known = _OF_MANY.get(scoring) if isinstance(scoring, str) else None
    if known is None:
        return None
    return lambda matrix: float(known(matrix.sum(axis=1), matrix.sum(axis=0), np.diagonal(matrix).copy()))


def weighted_score(
    scoring: Any, classes: np.ndarray, codes: np.ndarray, predictions: np.ndarray, predicted: np.ndarray
) -> Callable[[np.ndarray], float] | None:
    """A score of classes as a function of the rows' weights, None if it is not known as one.

    Parameters
    ----------
    scoring : str or callable
    classes : ndarray of shape (n_classes,)
    codes : ndarray of shape (n_samples,)
        Of the true classes.
    predictions : ndarray of shape (n_repeats, n_samples, n_classes)
    predicted : ndarray of shape (n_repeats, n_samples)
        Codes of the classes that they are taken for.

    Returns
    -------
    callable or None
    """
    of_cells = confusion_score(scoring, classes)
    if of_cells is not None:
        cells = 2 * codes + predicted
        return lambda weight: float(np.mean([of_cells(*np.bincount(one, weight, minlength=4)) for one in cells]))
    of_matrix, n = _matrix_score(scoring), len(classes)
    if of_matrix is not None:
        pairs = n * codes + predicted
        return lambda weight: float(
            np.mean([of_matrix(np.bincount(one, weight, minlength=n * n).reshape(n, n)) for one in pairs])
        )
    if scoring != "roc_auc" or n != 2:
        return None
    places = [np.unique(repeat[:, 1], return_inverse=True)[1] for repeat in predictions]

    def area(weight: np.ndarray) -> float:
        areas = []
        for place in places:
            negative, positive = (np.bincount(place, weight * (codes == code)) for code in (0, 1))
            below = np.cumsum(negative) - negative / 2  # ties count half
            areas.append((positive * below).sum() / (positive.sum() * negative.sum()))
        return float(np.mean(areas))

    return area

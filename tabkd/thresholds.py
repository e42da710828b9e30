"""Placing a threshold: the cut of probabilities that a scorer of labels likes best."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.isotonic import isotonic_regression
from sklearn.metrics import get_scorer

from tabkd._compat import scores_labels, takes_weights
from tabkd.confusion import confusion_score
from tabkd.stored import StoredClassifier

__all__ = ["check_threshold", "is_tuned", "tune_threshold"]

#: Cut points that ``tune_threshold`` asks a scorer for, first over all scores and then around the best; those on the
#: convex hull of the ROC curve come on top.
N_THRESHOLDS = 100


def tune_threshold(
    scoring: Any,
    y: np.ndarray,
    proba: np.ndarray,
    classes: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
) -> float:
    """The cut that maximises a scorer of labels, as the float32 midpoint between two neighbouring scores.

    No row sits on it, so that a device in float32 decides every row as Python does. Scorers that are not known by name
    are asked for some 200 cuts and for those on the convex hull of the ROC curve, where costs, accuracies and F scores
    are greatest.

    Parameters
    ----------
    scoring : str or callable
        A scikit-learn scorer of labels, such as ``"f1_macro"``.
    y : ndarray of shape (n_samples,)
        True labels.
    proba : ndarray of shape (n_samples,)
        Probability of ``classes[1]``.
    classes : ndarray of shape (2,)
    sample_weight : ndarray of shape (n_samples,) or None

    Returns
    -------
    float
    """
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    order = np.argsort(proba, kind="stable")
    values, starts = np.unique(proba[order].astype(np.float32), return_index=True)
    midpoints = ((values[:-1].astype(float) + values[1:]) / 2).astype(np.float32)
    cuts = np.flatnonzero((values[:-1] < midpoints) & (midpoints < values[1:]))
    if len(cuts) == 0:
        return 0.5
    # A score of labels depends on the confusion matrix alone, and each cut has one.
    last = starts[cuts + 1] - 1
    is_positive = (y == classes[1])[order]
    positive = np.cumsum(np.where(is_positive, weight[order], 0))
    negative = np.cumsum(np.where(is_positive, 0, weight[order]))
    confusion = np.stack([negative[last], negative[-1] - negative[last], positive[last], positive[-1] - positive[last]])
    known = confusion_score(scoring, classes)
    if known is not None:
        return float(midpoints[cuts[np.argmax(known(*confusion))]])
    scorer = get_scorer(scoring)
    weighted = takes_weights(scorer)
    if sample_weight is not None and not weighted:
        raise ValueError(
            "it takes no sample_weight, but weights were given. Use a scorer's name, sklearn.metrics.make_scorer of a "
            "function that takes them, or a callable (estimator, X, y, sample_weight=None)."
        )
    truth, codes = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    cells = StoredClassifier(classes, np.eye(2)[codes], codes)

    def score(cut: int) -> float:
        if not weighted:
            rows = np.repeat(np.arange(4), confusion[:, cut].astype(int))
            return scorer(cells, rows, classes[truth[rows]])
        seen = np.flatnonzero(confusion[:, cut] > 0)
        return scorer(cells, seen, classes[truth[seen]], sample_weight=confusion[seen, cut])

    def best_of(low: int, high: int, *more: int) -> int:
        spread = np.linspace(max(low, 0), min(high, len(cuts) - 1), N_THRESHOLDS).round().astype(int)
        tried = np.union1d(spread, more).astype(int)
        return int(tried[np.argmax([score(cut) for cut in tried])])

    step = -(-len(cuts) // N_THRESHOLDS)
    coarse = best_of(0, len(cuts) - 1, *_hull(negative, positive, last))
    return float(midpoints[cuts[best_of(coarse - step, coarse + step, coarse)]])


def _hull(negative: np.ndarray, positive: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Which cuts lie on the convex hull of the ROC curve: those where the isotonic share of positives rises."""
    negative, positive = (np.diff(total[last], prepend=0, append=total[-1]) for total in (negative, positive))
    weight = np.maximum(negative + positive, np.finfo(float).tiny)
    return np.flatnonzero(np.diff(isotonic_regression(positive / weight, sample_weight=weight)) > 0)


def is_tuned(threshold: Any) -> bool:
    """Whether a threshold is to be found by a scorer, rather than given."""
    return isinstance(threshold, str) or callable(threshold)


def check_threshold(threshold: Any, n_classes: int | None) -> None:
    """Raise unless ``threshold`` is None, a number in [0, 1] or a scorer's name, for two classes."""
    if threshold is None:
        return
    if n_classes != 2:
        what = "a regression" if n_classes is None else f"{n_classes} classes"
        raise ValueError(f"threshold={threshold!r} needs two classes, but this is {what}. Use threshold=None.")
    if is_tuned(threshold):
        if not scores_labels(get_scorer(threshold)):
            raise ValueError(
                f"threshold={threshold!r} scores probabilities, which no threshold changes. Name a scorer of labels, "
                "such as 'f1_macro'."
            )
    elif isinstance(threshold, bool) or not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be in [0, 1] or the name of a scorer, got {threshold!r}. Try 'f1_macro'.")

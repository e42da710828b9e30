"""Weights of a blend, found on honest predictions, and what blends with such weights are worth on rows left out.

Predictions have the shape ``(n_repeats, n_samples, n_outputs)``, as everywhere in :mod:`tabkd.scoring`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tabkd.folds import Folds
from tabkd.scoring import Honest, Judge, Judged

__all__ = ["Weigh", "best_weights", "blended", "chosen_again", "greedy_if_better", "greedy_weights", "mean_of"]

#: Steps of the forward selection: weights are multiples of one over as many, or over fewer.
N_STEPS = 25

#: Finds weights by the predictions of every member on some rows.
Weigh = Callable[[Judge, Sequence[np.ndarray], np.ndarray], np.ndarray]


def blended(predictions: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Weighted mean of predictions; one that has all the weight comes back as it is."""
    used = np.flatnonzero(weights)
    total = weights[used[0]] * predictions[used[0]]
    for k in used[1:]:
        total = total + weights[k] * predictions[k]
    return total


def mean_of(copies: Sequence[Honest]) -> Honest:
    """Honest predictions of the mean of some models that share their folds."""
    equal = np.full(len(copies), 1 / len(copies))
    without = zip(*(copy.without for copy in copies), strict=True)
    return Honest(blended([copy.chosen for copy in copies], equal), [blended(split, equal) for split in without])


def best_weights(judge: Judge, predictions: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """All the weight for the member that scores best on ``rows``."""
    scores = [judge.best_score(one, rows) for one in predictions]
    return np.eye(len(predictions))[int(np.argmax(scores))]


def greedy_weights(judge: Judge, predictions: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Forward selection with replacement: add whichever member helps the mean most, and keep the best mean on the way.

    Parameters
    ----------
    judge : Judge
    predictions : sequence of ndarray
        One per member.
    rows : ndarray of int
        The only ones that are scored.

    Returns
    -------
    ndarray of shape (n_members,)
        Not negative, with sum 1. The first step is the best member alone, so on ``rows`` the mean is never below it.

    References
    ----------
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models", ICML 2004.
    """
    counts, total = np.zeros(len(predictions)), np.zeros_like(predictions[0])
    best, weights = -np.inf, counts
    for step in range(1, N_STEPS + 1):
        scores = [judge.best_score((total + one) / step, rows) for one in predictions]
        added = int(np.argmax(scores))
        counts[added] += 1
        total = total + predictions[added]
        if scores[added] > best:
            best, weights = scores[added], counts / step
    return weights


def chosen_again(judge: Judge, members: Sequence[Honest], folds: Folds, weigh: Weigh) -> Judged:
    """The test rows of each split, by weights and a threshold that were found without them.

    Parameters
    ----------
    judge : Judge
    members : sequence of Honest
    folds : Folds
    weigh : callable

    Returns
    -------
    Judged
    """

    outside = enumerate(judge.outside(folds))
    return _held_out(judge, folds, weigh, (([member.without[i] for member in members], rows) for i, rows in outside))


def _held_out(
    judge: Judge, folds: Folds, weigh: Weigh, known: Iterable[tuple[Sequence[np.ndarray], np.ndarray]]
) -> Judged:
    """The test rows of each split, by weights and a threshold from the predictions and rows that are known for it."""

    def answers(predictions: Sequence[np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, float | None]:
        mean = blended(predictions, weigh(judge, predictions, rows))
        return mean, judge.cut(mean, rows)

    return judge.held_out(folds, (answers(*one) for one in known))


def greedy_if_better(folds: Folds) -> Weigh:
    """Weights of a forward selection, unless blends so found are no better than the best member on rows left out."""

    def weigh(judge: Judge, predictions: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
        inside = [np.intersect1d(rows, outside) for outside in judge.outside(folds)]
        if not all(map(len, inside)):  # of two folds nothing is left
            return greedy_weights(judge, predictions, rows)

        blend, single = (
            _held_out(judge, folds, way, ((predictions, left) for left in inside))
            for way in (greedy_weights, best_weights)
        )
        gain, _ = judge.compare(blend, single, rows)
        return (greedy_weights if gain > 0 else best_weights)(judge, predictions, rows)

    return weigh

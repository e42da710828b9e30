"""Links: between probabilities, the scores that models add up, and the columns that regressors learn."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_softmax, logit, softmax

from tabkd.targets import Array

__all__ = ["align_classes", "apply_link", "invert_link", "link_scores", "normalize"]

#: Log-odds are regressed on probabilities clipped to ``[EPSILON, 1 - EPSILON]``.
EPSILON = 1e-3
#: Score of a class that a model never saw: its probability is below 1e-17 of any other's.
_UNSEEN = -40.0


def normalize(proba: ArrayLike) -> Array:
    """Clip to [0, 1] and make every row sum to 1; a row of zeros becomes uniform.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)

    Returns
    -------
    ndarray of shape (n_samples, n_classes)

    Examples
    --------
    >>> from tabkd.links import normalize
    >>> normalize([[-0.1, 1.1], [0.0, 0.0]])
    array([[0. , 1. ],
           [0.5, 0.5]])
    """
    proba = np.clip(np.asarray(proba, dtype=np.float64), 0, 1)
    total = proba.sum(axis=1, keepdims=True)
    uniform = np.full_like(proba, 1 / proba.shape[1])
    return np.divide(proba, total, out=uniform, where=total > 0)


def align_classes(values: ArrayLike, seen: ArrayLike, classes: ArrayLike, fill: float = 0.0) -> Array:
    """Put the columns of ``values`` into the order of ``classes``, by label.

    Parameters
    ----------
    values : array-like of shape (n_samples, n_seen)
        One column per class in ``seen``.
    seen : array-like of shape (n_seen,)
        The labels that a model saw, in its own order.
    classes : array-like of shape (n_classes,)
        The labels wanted.
    fill : float
        Value for a class that the model never saw.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)

    Raises
    ------
    ValueError
        If ``seen`` holds a label outside ``classes``.

    Examples
    --------
    >>> from tabkd.links import align_classes
    >>> align_classes([[0.3, 0.7]], ["b", "a"], ["a", "b", "c"])
    array([[0.7, 0.3, 0. ]])
    """
    values, classes = np.asarray(values, dtype=np.float64), np.asarray(classes)
    if np.array_equal(seen, classes):
        return values
    # CatBoost returns boolean labels as strings, so labels meet on their text.
    position = {str(label): index for index, label in enumerate(classes.tolist())}
    unknown = [label for label in np.asarray(seen).tolist() if str(label) not in position]
    if unknown:
        raise ValueError(
            f"The model predicts classes {unknown} that are not in y, whose classes are "
            f"{classes.tolist()}. Fit it on the same labels."
        )
    aligned = np.full((len(values), len(classes)), fill)
    aligned[:, [position[str(label)] for label in np.asarray(seen).tolist()]] = values
    return aligned


def apply_link(proba: ArrayLike, link: str) -> Array:
    """Probabilities to the scale that a student regresses on.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
    link : {"probability", "logit", "softmax"}
        ``"logit"`` is the log-odds of the second of two classes, ``"softmax"`` the centred
        log-probabilities; both clip at ``EPSILON``.

    Returns
    -------
    ndarray of shape (n_samples, 1) or (n_samples, n_classes)

    Examples
    --------
    >>> from tabkd.links import apply_link
    >>> apply_link([[0.5, 0.5]], "logit")
    array([[0.]])
    """
    proba = np.asarray(proba, dtype=np.float64)
    if link == "probability":
        return proba[:, 1:] if proba.shape[1] == 2 else proba
    if link == "logit":
        return logit(np.clip(proba[:, 1:], EPSILON, 1 - EPSILON))
    log_proba = log_softmax(np.log(np.clip(proba, EPSILON, 1)), axis=1)
    return log_proba - log_proba.mean(axis=1, keepdims=True)


def invert_link(raw: ArrayLike, link: str) -> Array:
    """Scores on a link scale to predictions.

    Parameters
    ----------
    raw : array-like of shape (n_samples, n_columns)
        One column of log-odds (``"logit"``), one column per class (``"softmax"``,
        ``"probability"``), or values (``"identity"``).
    link : {"identity", "probability", "logit", "softmax"}

    Returns
    -------
    ndarray of shape (n_samples, n_classes) or (n_samples, n_outputs)

    Examples
    --------
    >>> from tabkd.links import invert_link
    >>> invert_link([[0.0]], "logit")
    array([[0.5, 0.5]])
    """
    raw = np.asarray(raw, dtype=np.float64)
    if link == "identity":
        return raw
    if link == "logit":
        positive = expit(raw[:, 0])
        return np.column_stack([1 - positive, positive])
    return softmax(raw, axis=1) if link == "softmax" else normalize(raw)


def link_scores(scores: ArrayLike, seen: ArrayLike, classes: ArrayLike) -> Array:
    """Turn a classifier's decision values into link-scale columns for ``classes``.

    Two classes give one column of log-odds, more give one column each; a class outside ``seen``
    gets a score so low that its probability vanishes.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim == 1 or scores.shape[1] == 1:
        scores = scores.reshape(-1, 1)
        if len(np.asarray(classes)) == 2 and len(np.asarray(seen)) == 2:
            return scores
        scores = np.hstack([-scores / 2, scores / 2])
    scores = align_classes(scores - scores.max(axis=1, keepdims=True), seen, classes, fill=_UNSEEN)
    return scores[:, 1:] - scores[:, :1] if scores.shape[1] == 2 else scores

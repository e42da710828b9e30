"""Soft targets as pure NumPy: temperature, blending, trust, and what the rows of one fit are learnt as.

Everything here is a function of arrays. Probabilities are float64 of shape ``(n_samples, n_classes)``
whose rows sum to 1; regression targets are ``(n_samples, n_outputs)``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

__all__ = ["Targets", "blend", "harden", "one_hot", "sharpen", "soften", "trusted"]

Array = NDArray[np.float64]


def one_hot(codes: ArrayLike, n_classes: int) -> Array:
    """Turn class codes into probabilities of 0 and 1.

    Parameters
    ----------
    codes : array-like of int of shape (n_samples,)
        Positions in ``classes_``.
    n_classes : int
        Number of columns of the result.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)

    Examples
    --------
    >>> from tabkd.targets import one_hot
    >>> one_hot([0, 2], 3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    return np.eye(n_classes)[np.asarray(codes, dtype=np.intp)]


def soften(proba: ArrayLike, temperature: float) -> Array:
    """Flatten probabilities by a temperature on their logits.

    ``softmax(log(proba) / T)`` equals ``softmax(z / T)`` for whatever logits ``z`` gave ``proba``,
    because logits are log-probabilities up to a constant per row.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Probabilities; rows sum to 1.
    temperature : float
        Above 1 flattens, below 1 sharpens, 1 changes nothing.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)

    Raises
    ------
    ValueError
        If ``temperature`` is not above 0.

    References
    ----------
    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.

    Examples
    --------
    >>> from tabkd.targets import soften
    >>> soften([[0.9, 0.1]], 2.0).round(3)
    array([[0.75, 0.25]])
    """
    check_temperature(temperature)
    proba = np.asarray(proba, dtype=np.float64)
    if temperature == 1:
        return proba
    with np.errstate(divide="ignore"):
        return softmax(np.log(proba) / temperature, axis=1)


def sharpen(proba: ArrayLike, temperature: float) -> Array:
    """Undo :func:`soften` exactly.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Probabilities softened by ``temperature``.
    temperature : float
        The temperature to undo.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)

    Raises
    ------
    ValueError
        If ``temperature`` is not above 0.

    Examples
    --------
    >>> from tabkd.targets import sharpen
    >>> sharpen([[0.75, 0.25]], 2.0).round(3)
    array([[0.9, 0.1]])
    """
    check_temperature(temperature)
    return soften(proba, 1 / temperature)


def check_temperature(temperature: float) -> None:
    """Raise unless ``temperature`` is a number above 0."""
    if not (isinstance(temperature, Real) and 0 < temperature < np.inf):
        raise ValueError(f"temperature must be > 0, got {temperature!r}. Try 2.0.")


def blend(hard: ArrayLike, soft: ArrayLike, alpha: float) -> Array:
    """Mix true labels and soft targets: ``alpha * hard + (1 - alpha) * soft``.

    Parameters
    ----------
    hard : array-like of shape (n_samples, n_outputs)
        One-hot labels, or true values.
    soft : array-like of shape (n_samples, n_outputs)
        What the teacher says.
    alpha : float in [0, 1]
        Weight of the true labels.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)

    Examples
    --------
    >>> from tabkd.targets import blend
    >>> blend([[0.0, 1.0]], [[0.4, 0.6]], 0.5)
    array([[0.2, 0.8]])
    """
    hard, soft = np.asarray(hard, dtype=np.float64), np.asarray(soft, dtype=np.float64)
    return alpha * hard + (1 - alpha) * soft


def harden(proba: ArrayLike) -> Array:
    """Pseudo-labels: 1 for the likeliest class, 0 for the others; NaN stays.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)

    Returns
    -------
    ndarray of shape (n_samples, n_classes)

    References
    ----------
    Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks", 2013.

    Examples
    --------
    >>> from tabkd.targets import harden
    >>> harden([[0.6, 0.4], [0.1, 0.9]])
    array([[1., 0.],
           [0., 1.]])
    """
    proba = np.asarray(proba, dtype=np.float64)
    return np.where(np.isnan(proba), np.nan, one_hot(proba.argmax(axis=1), proba.shape[1]))


def trusted(hard: ArrayLike, soft: ArrayLike, *, classes: bool) -> Array:
    """Move soft targets towards the truth where they contradict it.

    A row's soft target counts by ``w``, its true label by ``1 - w``. For classes ``w`` is the probability of the true
    class over that of the likeliest: 1 where the teacher is right. For values it is ``exp(-(r / s)**2 / 2)`` with the
    teacher's error ``r`` and a robust standard deviation ``s`` of its errors.

    Parameters
    ----------
    hard : array-like of shape (n_samples, n_outputs)
        One-hot labels, or true values.
    soft : array-like of shape (n_samples, n_outputs)
        What the teacher says of rows that it did not see; NaN stays.
    classes : bool
        Whether these are probabilities.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)

    References
    ----------
    Meng, Li, Zhao and Gong, "Conditional teacher-student learning", ICASSP 2019: the same with ``w`` of 0 or 1.

    Examples
    --------
    >>> from tabkd.targets import trusted
    >>> trusted([[1, 0], [1, 0]], [[0.8, 0.2], [0.25, 0.75]], classes=True).round(3)
    array([[0.8 , 0.2 ],
           [0.75, 0.25]])
    """
    hard, soft = np.asarray(hard, dtype=np.float64), np.asarray(soft, dtype=np.float64)
    if classes:
        weight = (hard * soft).sum(axis=1, keepdims=True) / soft.max(axis=1, keepdims=True)
    else:
        error = soft - hard
        spread = 1.4826 * np.nanmedian(np.abs(error), axis=0)
        weight = np.exp(-((error / np.where(spread > 0, spread, 1.0)) ** 2) / 2)
    return weight * soft + (1 - weight) * hard


@dataclass(frozen=True)
class Targets:
    """What the rows of one fit are to be learnt as.

    Attributes
    ----------
    hard : ndarray of shape (n_samples, n_outputs)
        One-hot labels, or true values.
    soft : ndarray of shape (n_samples, n_outputs) or None
        What the teacher says, at temperature 1; None without a teacher.
    classes : ndarray of shape (n_classes,) or None
        Labels of the columns; None for regression.
    weight : ndarray of shape (n_samples,) or None
    alpha : float
        Weight of ``hard`` in the blend.
    temperature : float
    unlabelled : ndarray of bool of shape (n_samples,) or None
        Rows that have no label: ``hard`` is what the teacher says of them.
    """

    hard: np.ndarray
    soft: np.ndarray | None
    classes: Any
    weight: np.ndarray | None = None
    alpha: float = 1.0
    temperature: float = 1.0
    unlabelled: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        """True labels or values as ``fit`` of a plain estimator takes them."""
        if self.classes is not None:
            return self.classes[self.codes]
        return self.hard[:, 0] if self.hard.shape[1] == 1 else self.hard

    @property
    def given_labels(self) -> np.ndarray:
        """The labels or values, None or NaN for rows that have none."""
        if self.unlabelled is None:
            return self.labels
        labels = self.labels.astype(float if self.classes is None else object)
        labels[self.unlabelled] = np.nan if self.classes is None else None
        return labels

    @property
    def outputs(self) -> np.ndarray:
        """``hard`` without the first of two classes, which says what the second one says."""
        return self.hard[:, 1:] if self.classes is not None and self.hard.shape[1] == 2 else self.hard

    @property
    def codes(self) -> np.ndarray:
        """True classes as positions in ``classes``."""
        return self.hard.argmax(axis=1)

    @property
    def blended(self) -> np.ndarray:
        """The one target that an adapted student sees."""
        if self.soft is None:
            return self.hard
        mixed = blend(self.hard, self.soft, self.alpha)
        return mixed if self.classes is None else soften(mixed, self.temperature)

    def take(self, rows: np.ndarray) -> Targets:
        """The same for some of the rows."""
        return replace(
            self,
            hard=self.hard[rows],
            soft=None if self.soft is None else self.soft[rows],
            weight=None if self.weight is None else self.weight[rows],
            unlabelled=None if self.unlabelled is None else self.unlabelled[rows],
        )

    def followed_by(self, soft: np.ndarray, weight: float) -> Targets:
        """The same with unlabelled rows behind, each of ``weight`` times the mean weight of the others."""
        weights = self.weight
        if weights is not None or weight != 1:
            own = np.ones(len(self.hard)) if weights is None else weights
            weights = np.concatenate([own, np.full(len(soft), weight * own.mean())])
        return replace(
            self,
            hard=np.vstack([self.hard, soft]),
            soft=None if self.soft is None else np.vstack([self.soft, soft]),
            weight=weights,
            unlabelled=np.arange(len(self.hard) + len(soft)) >= len(self.hard),
        )

    def weighted_blend(self, class_weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """The blend and the row weights once each class counts ``class_weight`` times.

        ``sum_c w_c t_c log p_c`` is the cross-entropy of the renormalised target, weighted by ``sum_c w_c t_c``. The
        weights are softened like the target: undoing the temperature raises both to its power.
        """
        if class_weight is None:
            return self.blended, self.weight
        scaled = self.blended * class_weight ** (1 / self.temperature)
        total = scaled.sum(axis=1)
        weight = total if self.weight is None else total * self.weight
        return scaled / np.maximum(total, np.finfo(float).tiny)[:, None], weight

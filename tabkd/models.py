"""Fitted models that read tables: one member or the mean of several, on the scale where means are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from tabkd.columns import ColumnEncoder
from tabkd.frames import as_table
from tabkd.learners import Member

__all__ = ["TIE", "FittedClassifier", "FittedModel", "FittedRegressor", "fitted_model", "labels_of"]

#: Probabilities that differ by less are equal: float32 has no more digits of them.
TIE = 1e-6


class FittedModel(BaseEstimator):
    """The mean of fitted members, reading tables through one encoder.

    ``student_`` and ``teacher_`` of a fitted :class:`~tabkd.DistilledEstimator` are of this kind; it is never
    fitted by hand.

    Parameters
    ----------
    encoder : ColumnEncoder
    members : sequence of Member
        Averaged on their common link scale, then taken back to predictions.
    classes : ndarray of shape (n_classes,) or None
    threshold : float or None
        Probability above which the second of two classes is predicted; None for the likeliest class.
    """

    def __init__(
        self,
        encoder: ColumnEncoder,
        members: Sequence[Member],
        classes: np.ndarray | None = None,
        threshold: float | None = None,
    ) -> None:
        self.encoder = encoder
        self.members = members
        self.classes = classes
        self.threshold = threshold

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def features(self) -> list[str | int]:
        """Names (or positions) of the columns that a table must have."""
        return self.encoder.names

    @property
    def link(self) -> str:
        """The scale on which the members are averaged."""
        return self.members[0].link

    @property
    def averaged(self) -> bool:
        """Whether probabilities are shares that were averaged, as those of forests, and so may be tied."""
        return self.link == "probability" and not hasattr(self.members[0].adapter.estimator, "fit_soft")

    @property
    def estimators_(self) -> list[Any]:
        """The fitted models themselves, for plots and importances; they read what comes out of ``encoder``."""
        return [member.adapter.estimator for member in self.members]

    def fit(self, X: Any, y: Any = None) -> FittedModel:
        """Do nothing: the members are fitted already."""
        return self

    def _mean(self, X: Any) -> np.ndarray:
        encoded = self.encoder.transform(as_table(X))
        scores = self.members[0].raw(encoded)
        for member in self.members[1:]:
            scores = scores + member.raw(encoded)
        return self.members[0].predictions(scores / len(self.members))


def labels_of(proba: np.ndarray, threshold: float | None, *, averaged: bool = False) -> np.ndarray:
    """Class codes of shape (n_samples,): by the threshold, or the likeliest class, of equally likely ones the first.

    Shares of trees that are ``averaged`` add up to a tie, or to a threshold, in one order and to nearly that in
    another: within ``TIE`` they are equally likely, and not above it.
    """
    if threshold is not None:
        return (proba[:, 1] > threshold + TIE * averaged).astype(np.intp)
    return (proba >= proba.max(axis=1, keepdims=True) - TIE * averaged).argmax(axis=1)


class FittedClassifier(ClassifierMixin, FittedModel):
    """A fitted ensemble of classifiers (see :class:`FittedModel`)."""

    @property
    def classes_(self) -> np.ndarray | None:
        """Labels in the order of the columns of ``predict_proba``."""
        return self.classes

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of shape (n_samples, n_classes)."""
        return self._mean(X)

    def predict(self, X: Any) -> np.ndarray:
        """Labels of shape (n_samples,)."""
        return self.classes[labels_of(self.predict_proba(X), self.threshold, averaged=self.averaged)]  # type: ignore[index]


class FittedRegressor(RegressorMixin, FittedModel):
    """A fitted ensemble of regressors (see :class:`FittedModel`)."""

    def predict(self, X: Any) -> np.ndarray:
        """Values of shape (n_samples,) or (n_samples, n_outputs)."""
        values = self._mean(X)
        return values[:, 0] if values.shape[1] == 1 else values


def fitted_model(
    encoder: ColumnEncoder,
    members: Sequence[Member],
    classes: np.ndarray | None,
    threshold: float | None = None,
) -> FittedModel:
    """Bundle members; the encoder and the members keep only the columns that some member reads."""
    supports = [member.support for member in members if member.support is not None]
    if supports:
        used = np.unique(np.concatenate(supports))
        sources = np.asarray(encoder.sources)
        columns = np.unique(sources[used])
        kept = np.flatnonzero(np.isin(sources, columns))
        encoder = encoder.select(columns.tolist())
        members = [
            replace(member, support=np.searchsorted(kept, support))
            for member, support in zip(members, supports, strict=True)
        ]
    cls = FittedRegressor if classes is None else FittedClassifier
    return cls(encoder, members, classes, threshold)

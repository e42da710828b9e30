"""Stored predictions as estimators, for scorers to ask."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

__all__ = ["StoredClassifier", "StoredRegressor"]


class StoredClassifier(ClassifierMixin, BaseEstimator):
    """Probabilities and class codes of known rows; ``X`` are row numbers."""

    def __init__(self, classes: np.ndarray, proba: np.ndarray, codes: np.ndarray) -> None:
        self.classes, self.proba, self.codes = classes, proba, codes

    @property
    def classes_(self) -> np.ndarray:
        """As scorers ask for them."""
        return self.classes

    def fit(self, X: Any, y: Any = None) -> StoredClassifier:
        """Nothing is left to learn."""
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of shape (n_rows, n_classes)."""
        return self.proba[X]

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Labels of shape (n_rows,)."""
        return self.classes[self.codes[X]]


class StoredRegressor(RegressorMixin, BaseEstimator):
    """Values of known rows, of shape (n_samples, n_outputs); ``X`` are row numbers."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def fit(self, X: Any, y: Any = None) -> StoredRegressor:
        """Nothing is left to learn."""
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Values of shape (n_rows,) or (n_rows, n_outputs)."""
        values = self.values[X]
        return values[:, 0] if values.shape[1] == 1 else values

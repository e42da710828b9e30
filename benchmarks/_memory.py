"""A student for tables in which the same machine comes back: it remembers what became of its earlier samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier
from lightgbm import LGBMRegressor
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import TargetEncoder

#: Columns of the oil table that together tell machines apart.
MACHINE = ["ANONYMOUS_1", "YEAR", "ANONYMOUS_2"]


class MachineMemory(ClassifierMixin, BaseEstimator):
    """LightGBM and CatBoost on the columns and on how often samples of the same machine were bad.

    The table has no number of the machine, but three of its columns together are nearly one: 71 % of the rows of a fold
    have company in the other folds, and 75 % of the competition's test rows have it in train. ``fit`` remembers the
    labels of a machine's samples; ``fit_soft`` remembers what the teacher said of them, too. For machines that were
    never seen it is worth nothing.

    Parameters
    ----------
    scale : float
        Share of the trees.
    random_state : int or None
    """

    def __init__(self, scale: float = 1.0, random_state: int | None = None) -> None:
        self.scale = scale
        self.random_state = random_state

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> MachineMemory:
        self.classes_, codes = np.unique(y, return_inverse=True)
        return self._fit(X, {"label": codes.astype(float)}, codes.astype(float))

    def fit_soft(self, X: pd.DataFrame, soft_targets: np.ndarray, *, y: Any, alpha: float, **_: Any) -> MachineMemory:
        self.classes_, codes = np.unique(y, return_inverse=True)
        soft = soft_targets[:, 1]
        return self._fit(X, {"label": codes.astype(float), "teacher": soft}, alpha * codes + (1 - alpha) * soft)

    def _fit(self, X: pd.DataFrame, remembered: dict[str, np.ndarray], target: np.ndarray) -> MachineMemory:
        keys = self._keys(X)
        # Inside fit, a row's own label plays no part in what is remembered for it: the encoder cross-fits.
        self.encoders_ = [
            TargetEncoder(target_type="continuous", smooth=10.0, cv=20, shuffle=False) for _ in remembered
        ]
        pairs = zip(self.encoders_, remembered.values(), strict=True)
        rates = [encoder.fit_transform(keys, values) for encoder, values in pairs]
        table = np.hstack([np.asarray(X, dtype=float), *rates])
        self.light_ = LGBMRegressor(
            objective="cross_entropy", n_estimators=round(250 * self.scale), learning_rate=0.03, num_leaves=8,
            min_child_samples=5, subsample=0.7, subsample_freq=1, colsample_bytree=0.8, verbose=-1,
            random_state=self.random_state,
        ).fit(table, target)  # fmt: skip
        self.cat_ = CatBoostClassifier(
            loss_function="CrossEntropy", iterations=round(200 * self.scale), learning_rate=0.06, depth=5,
            verbose=False, allow_writing_files=False, random_seed=self.random_state,
        ).fit(table, target)  # fmt: skip
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        keys = self._keys(X)
        table = np.hstack([np.asarray(X, dtype=float), *[encoder.transform(keys) for encoder in self.encoders_]])
        positive = (self.light_.predict(table) + self.cat_.predict_proba(table)[:, 1]) / 2
        return np.column_stack([1 - positive, positive])

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    @staticmethod
    def _keys(X: pd.DataFrame) -> pd.DataFrame:
        parts = X[MACHINE].astype(int).astype(str)
        first, year, _ = (parts[name] for name in MACHINE)
        return pd.DataFrame({"build": first + "|" + year, "machine": parts.agg("|".join, axis=1)})

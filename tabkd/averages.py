"""The weighted mean of fitted models that read different columns in different ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import ClassifierTags, RegressorTags, Tags
from sklearn.utils.metaestimators import available_if

from tabkd.columns import ColumnEncoder
from tabkd.frames import as_table, columns_of, has_names
from tabkd.learners import Member
from tabkd.models import FittedModel, labels_of
from tabkd.selection import blended

__all__ = ["FittedAverage"]


class FittedAverage(BaseEstimator):
    """The weighted mean of what fitted models predict, each from its own columns of one table.

    ``student_`` of a fitted :class:`~tabkd.BlendedEstimator` or :class:`~tabkd.MutualDistilledEstimator`; it is never
    fitted by hand.

    Parameters
    ----------
    models : sequence of FittedModel
        Made from the same table.
    weights : sequence of float
        One per model; they sum to 1.
    threshold : float or None
        Probability above which the second of two classes is predicted; None for the likeliest class.
    """

    def __init__(self, models: Sequence[FittedModel], weights: Sequence[float], threshold: float | None = None) -> None:
        self.models = models
        self.weights = weights
        self.threshold = threshold

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def classes(self) -> np.ndarray | None:
        """Labels in the order of the columns of ``predict_proba``; None in a regression."""
        return self.models[0].classes

    @property
    def classes_(self) -> np.ndarray:
        """Labels in the order of the columns of ``predict_proba``."""
        if self.classes is None:
            raise AttributeError("A regression has no classes_.")
        return self.classes

    @property
    def averaged(self) -> bool:
        """Whether probabilities may be tied as those of forests are: they are averages here, too."""
        return True

    @property
    def estimators_(self) -> list[Any]:
        """The fitted models of all of them, without encoders and the steps before them."""
        return [estimator for model in self.models for estimator in model.estimators_]

    @property
    def members(self) -> list[Member]:
        """The members of all models."""
        return [member for model in self.models for member in model.members]

    @property
    def encoder(self) -> ColumnEncoder:
        """The columns that the models need together, in the order of the table of ``fit``."""
        encoders = [model.encoder for model in self.models]
        first = encoders[0]
        pairs = {place: column for one in encoders for place, column in zip(one.positions, one.columns, strict=True)}
        positions = tuple(sorted(pairs))
        texts = frozenset[str | int]().union(*(one.as_text for one in encoders))
        tables = any(one.encoding == "table" for one in encoders)
        encoding = "table" if tables else "catboost" if texts else "ordinal"
        columns = tuple(pairs[place] for place in positions)
        return ColumnEncoder(columns, positions, first.width, first.named, encoding, texts)

    @property
    def features(self) -> list[str | int]:
        """Names (or positions) of the columns that a table must have."""
        return self.encoder.names

    def fit(self, X: Any, y: Any = None) -> Self:
        """Do nothing: the models are fitted already."""
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels or values, of shape (n_samples,) or (n_samples, n_outputs)."""
        values = self._mean(X)
        if self.classes is not None:
            return self.classes[labels_of(values, self.threshold, averaged=self.averaged)]
        return values[:, 0] if values.shape[1] == 1 else values

    @available_if(lambda self: self.classes is not None)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of shape (n_samples, n_classes)."""
        return self._mean(X)

    def _mean(self, X: Any) -> np.ndarray:
        """Weighted mean of what the models say, of shape (n_samples, n_outputs)."""
        pairs = zip(self.models, self._parts(as_table(X)), strict=True)
        if self.classes is None:
            return blended([model.predict(part).reshape(len(part), -1) for model, part in pairs], self._shares)
        return np.clip(blended([model.predict_proba(part) for model, part in pairs], self._shares), 0, 1)

    @property
    def _shares(self) -> np.ndarray:
        return np.asarray(self.weights, dtype=float)

    def _parts(self, table: Any) -> list[Any]:
        """What each model is to read: found by name, or by place among the columns that they need together."""
        encoder = self.encoder
        if not encoder.named or not has_names(table):
            encoder.check_width(table, type(self).__name__)
            if table.shape[1] != encoder.width:
                places = [np.searchsorted(encoder.positions, model.encoder.positions) for model in self.models]
                return [columns_of(table, own) for own in places]
            return [table] * len(self.models)
        encoder.pick(table)  # raises where a column is missing, of whichever model
        return [table] * len(self.models)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "regressor" if self.classes is None else "classifier"
        tags.regressor_tags = RegressorTags() if self.classes is None else None
        tags.classifier_tags = None if self.classes is None else ClassifierTags()
        return tags

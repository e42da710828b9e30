"""The contract that every adapter fulfils."""

from __future__ import annotations

from typing import Any

import numpy as np

from tabkd.targets import Targets

__all__ = ["Adapter", "Validation"]

#: Rows that early stopping watches, and what they are to be learnt as.
Validation = tuple[Any, Targets]


class Adapter:
    """One estimator that learns from :class:`Targets`.

    Parameters
    ----------
    estimator : estimator
        Owned by the adapter: fitted in place.
    classes : ndarray of shape (n_classes,) or None
        None for regression.

    Attributes
    ----------
    link : {"identity", "probability", "logit", "softmax"}
        The scale of ``raw``.
    """

    link = "probability"

    def __init__(self, estimator: Any, classes: np.ndarray | None) -> None:
        self.estimator = estimator
        self.classes = classes

    def fit(self, X: Any, targets: Targets, valid: Validation | None = None, teacher: Any = None) -> Adapter:
        """Fit to ``targets``; ``valid`` are rows for early stopping, ``teacher`` a frozen teacher if there is one."""
        raise NotImplementedError

    def raw(self, X: Any) -> np.ndarray:
        """Scores of shape (n_samples, n_columns) on the link scale."""
        raise NotImplementedError

"""Which privileged columns a teacher should read beside the deployable ones."""

from __future__ import annotations

import importlib
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from tabkd._compat import clone_estimator, read_seed, seeded
from tabkd.columns import ColumnEncoder
from tabkd.families import limit_threads, quiet
from tabkd.frames import as_table, column_positions
from tabkd.targets import one_hot

__all__ = ["SelectPrivileged", "gains", "small_trees"]

#: Few leaves: where such trees impute a column, each number costs several of them in the exported file.
_SIZE: dict[str, Any] = {"n_estimators": 50, "num_leaves": 8}
#: Numbers of more kinds than this are values, not classes.
_MANY = 20


def small_trees(estimator: Any, seed: int | None) -> Any:
    """A silent copy of an ``LGBMRegressor``, or a small one that answers alike on any number of threads."""
    if estimator is None:
        # Histograms are added up in another order where the threads are others, unless told otherwise.
        estimator = importlib.import_module("lightgbm").LGBMRegressor(**_SIZE, deterministic=True, force_col_wise=True)
    return quiet(seeded(clone_estimator(estimator), seed))


def gains(model: Any, X: np.ndarray, outputs: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray:
    """How much the splits on each column gain in trees that predict the target, next to all other columns.

    Parameters
    ----------
    model : LGBMRegressor
        Fitted anew to each output.
    X : ndarray of shape (n_samples, n_features)
    outputs : ndarray of shape (n_samples, n_outputs)
        Values, or one-hot labels.
    sample_weight : ndarray of shape (n_samples,) or None

    Returns
    -------
    ndarray of shape (n_features,)
        Shares of the gain, summed over the outputs.
    """
    total = np.zeros(X.shape[1])
    for output in outputs.T:
        fitted = model.set_params(importance_type="gain").fit(X, output, sample_weight=sample_weight)
        gain = fitted.feature_importances_
        total += gain / max(gain.sum(), np.finfo(float).tiny)
    return total


class SelectPrivileged(SelectorMixin, BaseEstimator):
    """Keep the deployable columns and, of the others, the few that matter most.

    As ``teacher_features=`` of a :class:`~tabkd.DistilledEstimator` it chooses the teacher's columns anew on the rows
    that each teacher is fitted to: a teacher that reads every privileged column learns the noise of most.

    Parameters
    ----------
    deployable : column specification
        Kept in any case: names, positions, a slice, a mask or a callable.
    share : float in (0, 1]
        Of the others, the fewest columns are kept that have this share of what all of them gain in trees that read
        everything.
    estimator : LGBMRegressor, optional
        The trees; None is 50 of 8 leaves.
    random_state : int, RandomState or None

    Attributes
    ----------
    support_ : ndarray of bool of shape (n_features,)
    gains_ : ndarray of shape (n_features,)
        Share of the gain of each column.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from tabkd import SelectPrivileged
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> deployable = [name for name in X.columns if name.startswith("mean")]
    >>> selector = SelectPrivileged(deployable, share=0.5, random_state=0).fit(X, y)
    >>> [name for name in selector.get_feature_names_out() if name not in deployable]
    ['worst perimeter', 'worst area']
    """

    def __init__(
        self, deployable: Any = (), *, share: float = 0.9, estimator: Any = None, random_state: Any = None
    ) -> None:
        self.deployable = deployable
        self.share = share
        self.estimator = estimator
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None) -> Self:
        """Choose columns.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
            pandas or polars frame, or array.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        SelectPrivileged

        Raises
        ------
        ValueError
            If ``share`` is not above 0 and at most 1, no row has a weight, or ``deployable`` names a column that there
            is not.
        """
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share!r}. Try 0.9.")
        if sample_weight is not None and not np.asarray(sample_weight).any():
            raise ValueError("sample_weight is zero in all rows, so that none counts. Give weights above 0, or None.")
        table = as_table(X)
        validate_data(self, table, y, skip_check_array=True)
        none = not callable(self.deployable) and np.size(self.deployable) == 0
        kept = [] if none else column_positions(table, self.deployable, "deployable")
        matrix = np.asarray(ColumnEncoder.fit(table, range(table.shape[1])).transform(table))
        model = limit_threads(small_trees(self.estimator, read_seed(self.random_state)), 1)
        self.gains_ = gains(model, matrix, _outputs(y), sample_weight)
        self.support_ = np.isin(np.arange(table.shape[1]), kept)
        others = np.flatnonzero(~self.support_)
        order = others[np.argsort(-self.gains_[others], kind="stable")]
        reached = np.cumsum(self.gains_[order])
        if len(order) and reached[-1] > 0:
            # The last sum may be a rounding above the share of it.
            self.support_[order[: np.searchsorted(reached, self.share * reached[-1] * (1 - 1e-12)) + 1]] = True
        return self

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self, "support_")
        return self.support_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags


def _outputs(y: Any) -> np.ndarray:
    """Values, or one-hot labels, of which two classes need one column."""
    values = np.asarray(y)
    labels, codes = np.unique(values, return_inverse=True)
    if values.dtype.kind in "fiu" and (values.shape[1:] not in ((), (1,)) or len(labels) > _MANY):
        return values.astype(float).reshape(len(values), -1)
    found = one_hot(codes.ravel(), len(labels))
    return found[:, 1:] if len(labels) == 2 else found

"""Predicted privileged columns, appended to those that a student reads.

The models are sums of trees whose leaves are whole multiples of one power of two, so small that no sum of them needs
more digits than float32 has. Such sums are exact in every order: students split on the predictions, and a file
that adds them up in float32 takes every row to the side of a threshold to which Python takes it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, KFold

from tabkd.column import FIRST_CATEGORY, Column
from tabkd.columns import ColumnEncoder
from tabkd.families import limit_threads
from tabkd.frames import free_name, has_names
from tabkd.impute import MAX_CATEGORIES, MIN_SHARE, Impute
from tabkd.privileged import gains, small_trees

__all__ = ["Imputer", "on_grid"]

#: Rows with a value that a column must have in every inner training fold.
_MIN_ROWS = 2
#: Whole numbers up to here are exact in float32.
_EXACT = 2**24
_SMALLEST_STEP = 2.0**-126
#: Rows on which it is checked that a model answers with the sum of its leaves.
_N_CHECKED = 16


@dataclass(frozen=True)
class _Predicted:
    """One number to predict: the name of its column, and its values, NaN where unknown."""

    name: str
    values: np.ndarray

    @property
    def known(self) -> np.ndarray:
        return ~np.isnan(self.values)

    @property
    def constant(self) -> bool:
        return len(np.unique(self.values[self.known])) < 2


class Imputer:
    """A step before a model: the columns that it gets, and predicted privileged ones behind them.

    Parameters
    ----------
    settings : Impute
    encoder : ColumnEncoder
        Of the columns that the step gets.
    seed : int or None
    threads : int or None
        Threads per model, where several fits are under way.

    Attributes
    ----------
    names : list of str
        What is predicted: privileged columns, and ``"column=category"``.
    models : list of list of LGBMRegressor
        For each of these one model per inner fold; their predictions add up to the answer.
    reads : list of int
        Positions of the columns that the models read, where they read columns of a table.
    """

    def __init__(
        self, settings: Impute, encoder: ColumnEncoder, seed: int | None = None, threads: int | None = None
    ) -> None:
        self.settings = settings
        self.encoder = encoder
        self.seed = seed
        self.threads = threads
        self.reads = [i for i, column in enumerate(encoder.columns) if column.kind != "other"]
        self.names: list[str] = []
        self.models: list[list[Any]] = []

    def fit_transform(
        self,
        X: Any,
        privileged: pd.DataFrame,
        outputs: np.ndarray,
        weight: np.ndarray | None = None,
        groups: np.ndarray | None = None,
    ) -> Any:
        """Fit, and append predictions of models that have not seen the row.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
            Encoded for the student.
        privileged : DataFrame of shape (n_samples, n_privileged)
            Of the same rows.
        outputs : ndarray of shape (n_samples, n_outputs)
            What the student is to learn, as numbers: for the choice of a number of columns alone.
        weight : ndarray of shape (n_samples,), optional
        groups : ndarray of shape (n_samples,), optional

        Returns
        -------
        table of shape (n_samples, n_features + len(names))
        """
        matrix = self.matrix(X)
        folds = self._folds(len(matrix), groups)
        columns = self._columns(matrix, privileged, outputs, weight)
        wanted = {name: _predicted(name, privileged[name]) for name in columns}
        usable = {name: [one for one in parts if _learnable(one, folds)] for name, parts in wanted.items()}
        if skipped := [name for name, parts in usable.items() if not parts]:
            warnings.warn(
                f"Privileged columns {skipped} are not imputed: they hold one value only, too few values, or neither "
                "numbers nor text. Leave them out of impute=.",
                stacklevel=2,
            )
        parts = [one for several in usable.values() for one in several]
        self.names = [one.name for one in parts]
        self.models = [self._models(matrix, one, weight, folds) for one in parts]
        made = np.empty((len(matrix), len(parts)))
        for k, models in enumerate(self.models):
            for (_, test), model in zip(folds, models, strict=True):
                made[test, k] = len(models) * model.booster_.predict(matrix[test])
        return self._appended(X, made)

    def transform(self, X: Any) -> Any:
        """Append the mean of the predictions of the inner models.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)

        Returns
        -------
        table of shape (n_samples, n_features + len(names))
        """
        matrix = self.matrix(X)
        made = np.zeros((len(matrix), len(self.models)))
        for k, models in enumerate(self.models):
            for model in models:
                made[:, k] += model.booster_.predict(matrix)
        return self._appended(X, made)

    def matrix(self, X: Any) -> np.ndarray:
        """What the models read of an encoded table: float32 numbers, and codes of categories."""
        if self.reads_as_encoded:
            return np.ascontiguousarray(X, dtype=np.float32)
        frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(X)
        columns = self.encoder.columns
        coded = [self._is_coded(column) for column in columns]
        read = [
            columns[i].codes(frame.iloc[:, i]) if coded[i] else frame.iloc[:, i].to_numpy(np.float64, na_value=np.nan)
            for i in self.reads
        ]
        with np.errstate(over="ignore"):
            return np.column_stack(read).astype(np.float32)

    @property
    def reads_as_encoded(self) -> bool:
        """Whether encoded rows are numbers as they are."""
        return self.encoder.encoding in ("ordinal", "onehot")

    def _is_coded(self, column: Column) -> bool:
        """Whether an encoded table holds a column as values whose codes are still to be looked up."""
        as_text = column.name in self.encoder.as_text
        return as_text or (column.kind == "category" and self.encoder.encoding != "catboost")

    def _folds(self, n_samples: int, groups: np.ndarray | None) -> list[tuple[np.ndarray, np.ndarray]]:
        n_groups = 1 if groups is None else len(np.unique(groups))
        seed = 0 if self.seed is None else self.seed
        # One group alone cannot be kept together.
        grouped, most = (GroupKFold, n_groups) if n_groups > 1 else (KFold, n_samples)
        folds = grouped(min(self.settings.cv, most), shuffle=True, random_state=seed)
        return list(folds.split(np.zeros(n_samples), groups=groups))

    def _template(self) -> Any:
        return limit_threads(small_trees(self.settings.estimator, self.seed), self.threads)

    def _models(self, matrix: np.ndarray, one: _Predicted, weight: np.ndarray | None, folds: Any) -> list[Any]:
        """A model per inner fold, with leaves on the grid of their common sum."""
        models = []
        for train, _ in folds:
            rows = train[one.known[train]]
            model = self._template()
            model.fit(matrix[rows], one.values[rows], sample_weight=None if weight is None else weight[rows])
            models.append(model)
        leaves = [[values / len(models) for values in _leaves(model)] for model in models]
        rounded = iter(on_grid([values for own in leaves for values in own]))
        for model, own in zip(models, leaves, strict=True):
            for tree in range(len(own)):
                for leaf, value in enumerate(next(rounded).tolist()):
                    model.booster_.set_leaf_output(tree, leaf, value)
            _check_sum_of_leaves(model, matrix[:_N_CHECKED])
        return models

    def _columns(
        self, matrix: np.ndarray, privileged: pd.DataFrame, outputs: np.ndarray, weight: np.ndarray | None
    ) -> list[Any]:
        """The privileged columns asked for; of a number of them, those that matter most, in the order of the table."""
        asked = self.settings.columns
        if not isinstance(asked, int | np.integer):
            return list(privileged if isinstance(asked, str) else asked)
        known: list[Any] = list(privileged)
        columns = {name: Column.read_any(name, privileged[name]) for name in known}
        names = [name for name, column in columns.items() if column.kind != "other"]
        everything = np.column_stack([matrix, *(columns[name].numbers(privileged[name]) for name in names)])
        worth = gains(self._template(), everything, outputs, weight)[matrix.shape[1] :]
        best = np.argsort(-worth, kind="stable")[:asked]
        return [names[i] for i in sorted(best.tolist())]

    def _appended(self, X: Any, made: np.ndarray) -> Any:
        with np.errstate(over="ignore"):
            made = made.astype(np.float32)
        if not isinstance(X, pd.DataFrame):
            return np.hstack([X, made.astype(X.dtype)]) if X.dtype.kind == "f" else np.hstack([X, made])
        taken: list[Any] = list(X.columns)
        for name in self.names:
            taken.append(free_name(f"imputed_{name}", taken) if has_names(X) else len(taken))
        more = pd.DataFrame(made, columns=taken[X.shape[1] :], index=X.index)
        return pd.concat([X, more.astype(np.float64) if self.encoder.encoding == "onehot" else more], axis=1)


def on_grid(leaves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Leaves of trees that are added up, each rounded to a multiple of one power of two.

    It is the smallest for which no sum of one leaf per tree, nor a part of it, has more than 2**24 steps: then float32
    adds them up without rounding, in whatever order.

    Parameters
    ----------
    leaves : sequence of ndarray
        One per tree.

    Returns
    -------
    list of ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from tabkd.imputer import on_grid
    >>> [values.tolist() for values in on_grid([np.array([1.0, 1 / 3]), np.array([0.1])])]
    [[1.0, 0.3333333730697632], [0.10000002384185791]]
    """
    largest = sum(float(np.abs(values).max()) for values in leaves)
    # Rounding moves each leaf by half a step at most.
    step = max(2.0 ** np.ceil(np.log2(max(largest, _SMALLEST_STEP) / (_EXACT - len(leaves)))), _SMALLEST_STEP)
    return [np.round(values / step) * step for values in leaves]


def _leaves(model: Any) -> list[np.ndarray]:
    """The leaves of each tree, to the last digit."""
    text = model.booster_.model_to_string(num_iteration=-1)
    return [np.array(line.split(), dtype=float) for line in re.findall(r"^leaf_value=(.*)$", text, re.M)]


def _check_sum_of_leaves(model: Any, few: np.ndarray) -> None:
    booster, leaves = model.booster_, _leaves(model)
    reached = booster.predict(few, pred_leaf=True).reshape(len(few), len(leaves))
    total = sum(values[reached[:, tree]] for tree, values in enumerate(leaves))
    if not np.array_equal(booster.predict(few), total):
        raise ValueError(
            f"estimator of Impute answers with something else than the sum of its leaves: {model}. Use "
            "objective='regression' and boosting_type='gbdt', without linear_tree."
        )


def _predicted(name: Any, values: pd.Series) -> list[_Predicted]:
    """The numbers that stand for a column: itself, or one per frequent category."""
    column = Column.read_any(name, values)
    if column.kind == "other":
        return []
    numbers = column.numbers(values).astype(np.float64)
    if column.kind != "category":
        return [_Predicted(str(name), np.where(np.isfinite(numbers), numbers, np.nan))]
    known = numbers >= FIRST_CATEGORY
    codes, counts = np.unique(numbers[known], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]
    order = order[1:] if len(codes) == 2 else order
    frequent = codes[order][counts[order] >= MIN_SHARE * known.sum()]
    return [
        _Predicted(
            f"{name}={column.categories[int(code) - FIRST_CATEGORY]}",
            np.where(known, (numbers == code).astype(float), np.nan),
        )
        for code in frequent
    ]


def _learnable(one: _Predicted, folds: Any) -> bool:
    return not one.constant and all(one.known[train].sum() >= _MIN_ROWS for train, _ in folds)

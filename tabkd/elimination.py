"""Backward elimination of a student's columns, scored on soft targets that are made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tabkd.crossfit import StudentFit, cross_fit_students
from tabkd.frames import columns_of
from tabkd.learners import ExtraRows, Learner
from tabkd.per_column import kept_columns
from tabkd.recipe import Recipe
from tabkd.rows import check_classes_outside_pairs
from tabkd.scoring import Judge, Judged
from tabkd.targets import Targets

__all__ = ["Budget", "ColumnSet", "Elimination"]

#: Share of the columns that may go at once.
_BATCH = 1 / 3
#: Rows that are shuffled to measure a column's importance: some of a large table, a small one several times.
_SHUFFLED = 5_000
_MAX_SHUFFLES = 5
#: Numbers in the tables of shuffled columns that are predicted at once.
_CELLS = 2**24
#: By what share a sum of costs may exceed the budget: floats make more than .3 of .1 and .2.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Budget:
    """What the student may cost.

    Attributes
    ----------
    costs : ndarray of shape (n_columns,)
    n_features : int or None
        Columns that shall be left.
    max_cost : float or None
        The most that they may cost together. Without either all that there is to know is wanted, down to one column.
    """

    costs: np.ndarray
    n_features: int | None = None
    max_cost: float | None = None

    def cost(self, columns: Sequence[int]) -> float:
        """What some columns cost together."""
        return float(self.costs[list(columns)].sum())

    def met(self, columns: Sequence[int]) -> bool:
        """Whether elimination is done."""
        if self.max_cost is not None:
            return self.cost(columns) <= self.max_cost * (1 + _ROUNDING)
        return len(columns) <= (self.n_features or 1)

    @property
    def is_open(self) -> bool:
        """Whether nothing is asked for: elimination then looks for the fewest columns that are good enough."""
        return self.n_features is None and self.max_cost is None

    def batch(self, order: Sequence[int]) -> int:
        """How many of some columns, the first to go first, may go at once: no more than the budget asks for."""
        most = max(1, int(_BATCH * len(order)))
        return next((n for n in range(1, most) if self.met(order[n:])), most)


@dataclass(frozen=True)
class ColumnSet:
    """A set of columns, and what the student is worth that reads them.

    Attributes
    ----------
    columns : tuple of int
        By index among the columns to choose from.
    fit : StudentFit
    judged : Judged
    threshold : float or None
    score : float
    """

    columns: tuple[int, ...]
    fit: StudentFit
    judged: Judged
    threshold: float | None
    score: float


class Elimination:
    """Takes columns from a student, the least important for their cost first.

    Teachers are fitted once, on all their columns; every set of columns then costs one student per fold. The student
    is the one that is best with all columns, ``alpha`` included.

    Parameters
    ----------
    recipe : Recipe
        Of an estimator with pairs of folds; its student reads the columns to choose from.
    budget : Budget
    """

    def __init__(self, recipe: Recipe, budget: Budget) -> None:
        self.recipe, self.budget = recipe, budget
        self.judge: Judge = recipe.judge
        self.X = recipe.encoder.transform(recipe.rows.X)
        self.sources = np.asarray(recipe.encoder.sources)
        self.folds = recipe.outer = recipe.folds(recipe.settings.cv, partition=True)
        self.rng = np.random.default_rng(recipe.seed)
        self.batch = len(budget.costs)
        everything = tuple(range(len(budget.costs)))
        kept_columns(recipe.settings.student, recipe.encoder.names, everything)  # refused before any fit, if at all
        taught = recipe.settings.alpha != 1 or bool(recipe.transfer)
        self.own, self.extras = self._lessons() if taught else ([recipe.rows.targets] * len(self.folds.splits), None)
        plain = not taught and recipe.settings.impute is None
        learners = recipe.controls if plain else recipe.controls | recipe.distilled
        fits = self._fits(learners, everything)
        name = self._best(fits)
        self.learner = learners[name]
        self.full = self._judged(everything, fits[name])

    def _lessons(self) -> tuple[list[Targets], Sequence[ExtraRows | None] | None]:
        """What each scored student learns: soft targets from teachers that never saw its fold, and further rows."""
        recipe = self.recipe
        if not recipe.frozen:
            check_classes_outside_pairs(self.folds, recipe.rows.targets)
        teaching = recipe.teach()
        return [recipe.lesson(soft) for soft in teaching.per_fold or ()], teaching.extras

    def _best(self, fits: Mapping[Any, StudentFit]) -> Any:
        recipe = self.recipe
        predictions = {name: fit.predictions for name, fit in fits.items()}
        controls = {name: predictions[name] for name in recipe.controls}
        distilled = {name: values for name, values in predictions.items() if name not in controls} or controls
        forced = recipe.settings.alpha != "auto"
        return self.judge.choose(distilled, controls, recipe.everyone, forced=forced)[0].name

    # ---------------------------------------------------------------- sets of columns

    def _encoded(self, columns: Sequence[int]) -> np.ndarray:
        """Positions of the encoded columns that some columns become."""
        return np.flatnonzero(np.isin(self.sources, columns))

    def _fits(self, learners: Mapping[Any, Learner], columns: Sequence[int]) -> dict[Any, StudentFit]:
        kept, extras = self._encoded(columns), self.extras
        if len(kept) < len(self.sources):
            learners = {name: self._reading(learner, columns) for name, learner in learners.items()}
            if extras is not None:
                extras = [one and replace(one, X=columns_of(one.X, kept)) for one in extras]
        X = columns_of(self.X, kept)
        return cross_fit_students(learners, X, self.own, self.folds, extras=extras, **self.recipe.run)

    def _reading(self, learner: Learner, columns: Sequence[int]) -> Learner:
        """A learner that is fitted to some columns alone."""
        estimator = kept_columns(learner.estimator, self.recipe.encoder.names, columns)
        encoder = None if learner.encoder is None else learner.encoder.select(columns)
        return replace(learner, estimator=estimator, encoder=encoder)

    def _judged(self, columns: Sequence[int], fit: StudentFit) -> ColumnSet:
        threshold = self.judge.cut(fit.predictions, self.recipe.everyone)
        judged = self.judge.judged(fit.predictions, threshold)
        return ColumnSet(tuple(columns), fit, judged, threshold, self.judge.score(judged))

    def scored(self, columns: Sequence[int]) -> ColumnSet:
        """Fit the student to some columns, in every fold, and score it."""
        return self._judged(columns, self._fits({"student": self.learner}, columns)["student"])

    def importances(self, chosen: ColumnSet) -> np.ndarray:
        """How far the score falls where a column is shuffled among the rows that a fitted student left out.

        Returns
        -------
        ndarray of shape (n_columns,)
            For each column of the set.
        """
        rows, n_rows = self.recipe.everyone, len(self.recipe.everyone)
        if n_rows > _SHUFFLED:
            rows = np.sort(self.rng.choice(n_rows, _SHUFFLED, replace=False))
        encoded = self._encoded(chosen.columns)
        X = columns_of(self.X, encoded)
        blocks = [np.flatnonzero(self.sources[encoded] == column) for column in chosen.columns]
        n_shuffles = int(np.clip(_SHUFFLED // n_rows, 1, _MAX_SHUFFLES))
        n_parts = min(len(blocks), -(-len(rows) * len(encoded) * len(blocks) // _CELLS))
        falls = [
            self._falls(chosen, X, [blocks[i] for i in part], rows)
            for _ in range(n_shuffles)
            for part in np.array_split(np.arange(len(blocks)), n_parts)
        ]
        return np.concatenate(falls).reshape(n_shuffles, -1).mean(axis=0)

    def _falls(self, chosen: ColumnSet, X: Any, blocks: Sequence[np.ndarray], rows: np.ndarray) -> list[float]:
        """How far the score on some rows falls where each block of columns is shuffled."""
        shuffled = np.repeat(chosen.fit.predictions[None], len(blocks), axis=0)
        encoder = self.recipe.encoder.select(chosen.columns)
        for repeat, (train, test), member in zip(
            self.folds.repeat_of, self.folds.splits, chosen.fit.members, strict=True
        ):
            left_out = np.intersect1d(test, rows)
            if len(left_out) == 0:
                continue
            order = self.rng.permutation(len(left_out))
            raw = member.raw(_shuffled_copies(encoder.as_new(X, left_out, train), blocks, order))
            shuffled[:, repeat, left_out] = member.predictions(raw).reshape(len(blocks), len(left_out), -1)
        score = self.judge.score(chosen.judged, rows)
        return [score - self.judge.score(self.judge.judged(one, chosen.threshold), rows) for one in shuffled]

    # ---------------------------------------------------------------- elimination

    def run(self) -> list[ColumnSet]:
        """Sets of columns from all of them down to the budget."""
        path, budget = [self.full], self.budget
        if budget.max_cost is not None:
            affordable = [c for c in self.full.columns if budget.met([c])]
            if len(affordable) < len(self.full.columns):
                path.append(self.scored(affordable))
        while not budget.met(path[-1].columns):
            path.append(self._smaller(path))
        if budget.max_cost is not None and len(path) > 1:
            path[-1] = self._filled_up(path)
        return path

    def _smaller(self, path: list[ColumnSet]) -> ColumnSet:
        """Without a third of the columns, those that matter least for their cost; with no budget as many as is safe."""
        order = self._least_first(path[-1])
        batch = self.budget.batch(order)
        if not self.budget.is_open:
            return self.scored(sorted(order[batch:]))
        self.batch = min(self.batch, batch)
        smaller = self.scored(sorted(order[self.batch :]))
        while self.batch > 1 and not self._is_good(smaller, path):
            self.batch //= 2
            smaller = self.scored(sorted(order[self.batch :]))
        return smaller

    def _is_good(self, smaller: ColumnSet, path: list[ColumnSet]) -> bool:
        """Whether the score is within an error of the best."""
        best = max(path, key=lambda chosen: chosen.score)
        return smaller.score >= best.score or sum(self.judge.compare(smaller.judged, best.judged)) >= 0

    def _least_first(self, current: ColumnSet) -> list[int]:
        """Columns by importance for their cost; of those that are worth nothing the dearest first."""
        importance, costs = self.importances(current), self.budget.costs[list(current.columns)]
        worth = np.full(len(costs), np.inf)  # what costs nothing goes last
        np.divide(np.maximum(importance, 0), costs, out=worth, where=costs > 0)
        return [current.columns[i] for i in np.lexsort((importance, -costs, worth))]

    def _filled_up(self, path: list[ColumnSet]) -> ColumnSet:
        """The last set with the columns that went before and still fit, the latest first, if they are worth it."""
        columns = list(path[-1].columns)
        for larger, smaller in zip(path[-2::-1], path[:0:-1], strict=True):
            for column in sorted(set(larger.columns) - set(smaller.columns)):
                if self.budget.met([*columns, column]):
                    columns.append(column)
        if len(columns) == len(path[-1].columns):
            return path[-1]
        return max(path[-1], self.scored(sorted(columns)), key=lambda chosen: chosen.score)


def _shuffled_copies(X: Any, blocks: Sequence[np.ndarray], order: np.ndarray) -> Any:
    """A table once per block of columns, one under the other, with that block in another order of the rows."""
    n_rows = len(X)
    if isinstance(X, pd.DataFrame) and all(dtype.kind == "f" for dtype in X.dtypes):
        return pd.DataFrame(_shuffled_copies(X.to_numpy(), blocks, order), columns=X.columns, copy=False)
    if not isinstance(X, pd.DataFrame):
        copies = np.repeat(X[None], len(blocks), axis=0)
        for one, block in zip(copies, blocks, strict=True):
            one[:, block] = X[order][:, block]
        return copies.reshape(-1, X.shape[1])
    rows = np.tile(np.arange(n_rows), len(blocks))
    frame = X.iloc[rows].reset_index(drop=True)
    for i, block in enumerate(blocks):
        mixed = rows.copy()
        mixed[i * n_rows : (i + 1) * n_rows] = order
        for position in block:
            frame.isetitem(position, X.iloc[mixed, position].array)
    return frame

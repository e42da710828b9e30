"""One learner on the rows of one fold: column selection, pipeline steps, search, early stopping, adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GroupShuffleSplit, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from tabkd._compat import (
    clone_estimator,
    fit_weighted,
    is_regressor,
    is_search,
    last_step,
    nested_estimators,
    seeded,
    takes_groups,
)
from tabkd.adapter import Adapter
from tabkd.columns import ColumnEncoder
from tabkd.families import categories_by_position, family, limit_threads, named, quiet, stops_early, without_stopping
from tabkd.frames import columns_of, rows_of, stacked
from tabkd.impute import Impute
from tabkd.imputer import Imputer
from tabkd.links import invert_link
from tabkd.per_column import kept_columns, more_columns
from tabkd.students import FitSoft, HardLabels, adapt, outputs_ready
from tabkd.targets import Targets, sharpen

__all__ = ["ExtraRows", "Learner", "Member", "fit_members", "frozen_member"]

#: Share of the training rows that a booster's early stopping watches.
VALIDATION_FRACTION = 0.1


@dataclass(frozen=True)
class Learner:
    """What is fitted to the rows of a fold.

    Attributes
    ----------
    estimator : estimator
        A template; it is cloned.
    loss : str or None
        How it learns from soft targets; None for true labels as it comes.
    alpha, temperature : float
    linked : bool
        Whether a plain classifier answers on its link scale (students) or in probabilities (teachers).
    selector : selector or None
        Chooses among the columns, on the training rows alone.
    encoder : ColumnEncoder or None
        Of those rows: what it knows of their columns. None where they are read as they are.
    seed : int or None
    transfers : bool
        Whether it learns from rows without labels as well, where there are some.
    impute : Impute or None
        Which privileged columns are predicted and appended to those that it reads.
    """

    estimator: Any
    loss: str | None = None
    alpha: float = 1.0
    temperature: float = 1.0
    linked: bool = True
    selector: Any = None
    encoder: ColumnEncoder | None = None
    seed: int | None = None
    transfers: bool = False
    impute: Impute | None = None

    def __post_init__(self) -> None:
        if self.selector is not None and self.encoder is not None:  # what cannot lose columns is refused before a fit
            kept_columns(self.estimator, self.encoder.names, range(len(self.encoder.names)))

    def adapter(self, estimator: Any, classes: np.ndarray | None) -> Adapter:
        """The adapter that fits ``estimator`` in this learner's way."""
        if self.loss is None:
            return HardLabels(estimator, classes, linked=self.linked)
        return adapt(estimator, self.loss, classes)

    def lesson(self, targets: Targets) -> Targets:
        """What this learner makes of soft targets and true labels."""
        if self.loss is None or self.alpha == 1:
            return replace(targets, soft=None)
        return replace(targets, alpha=self.alpha, temperature=self.temperature)


@dataclass(frozen=True)
class ExtraRows:
    """Rows without labels that students learn from beside the labelled ones.

    Attributes
    ----------
    X : table of shape (n_extra, n_features)
        Encoded as for the student.
    soft : ndarray of shape (n_extra, n_outputs) or None
        What teachers say of them; None if each student labels them itself, after a first fit without them.
    weight : float
        Of one of them, where a labelled row weighs 1 on average.
    """

    X: Any
    soft: np.ndarray | None
    weight: float = 1.0

    def answers_of(self, member: Member) -> np.ndarray:
        """What a fitted member says of them."""
        return member.predictions(member.raw(self.X))

    def labelled_by(self, member: Member) -> ExtraRows:
        """The same with what a fitted member says of them."""
        return replace(self, soft=self.answers_of(member))


@dataclass(frozen=True)
class _Kept:
    """The step that leaves the columns that a selector kept."""

    support: np.ndarray

    def transform(self, X: Any) -> Any:
        return columns_of(X, self.support)


@dataclass
class Member:
    """One fitted model: its columns, the fitted steps of its pipeline, and its adapter."""

    adapter: Adapter
    support: np.ndarray | None = None
    steps: list[Any] = field(default_factory=list)
    temperature: float = 1.0

    @property
    def link(self) -> str:
        """The scale of ``raw``."""
        return self.adapter.link

    def predictions(self, scores: np.ndarray) -> np.ndarray:
        """Scores, or means of them, to predictions: invert the link, then undo the targets' temperature."""
        values = invert_link(scores, self.link)
        return values if self.temperature == 1 else sharpen(values, self.temperature)

    def prepared(self, X: Any) -> Any:
        """What the adapter's estimator reads."""
        for step in self._all_steps:
            X = step.transform(X)
        return X

    def reading(self, encoder: ColumnEncoder) -> Member:
        """The same on tables that are not encoded yet."""
        return replace(self, support=None, steps=[encoder, *self._all_steps])

    @property
    def _all_steps(self) -> list[Any]:
        return self.steps if self.support is None else [_Kept(self.support), *self.steps]

    def raw(self, X: Any) -> np.ndarray:
        """Scores of shape (n_samples, n_columns) on the adapter's link scale."""
        return self.adapter.raw(self.prepared(X))


def fit_members(
    learners: Sequence[Learner],
    X: Any,
    targets: Targets,
    groups: np.ndarray | None,
    teacher: Any = None,
    threads: int | None = None,
    extra: ExtraRows | None = None,
    privileged: pd.DataFrame | None = None,
) -> list[Member]:
    """Fit several learners to the same rows; they share a selector's choice, and a pipeline's steps.

    Parameters
    ----------
    learners : sequence of Learner
    X : table of shape (n_samples, n_features)
        Encoded training rows.
    targets : Targets
        Of these rows, unblended.
    groups : ndarray of shape (n_samples,) or None
        Kept together when rows are carved out for early stopping.
    teacher : estimator or None
        A frozen teacher, for students that look inside it.
    threads : int or None
        Threads per booster, where several are fitted at once.
    extra : ExtraRows or None
        For the learners that learn from rows without labels.
    privileged : DataFrame or None
        Columns of these rows that the teacher alone has, for the learners that impute some.

    Returns
    -------
    list of Member
    """
    prepared: dict[tuple[int, int], tuple[Member, Any, Any]] = {}
    supports: dict[int, np.ndarray | None] = {id(None): None}
    members = []
    for learner in learners:
        if id(learner.selector) not in supports:
            supports[id(learner.selector)] = _support(learner, X, targets, groups)
        key = id(learner.estimator), id(learner.impute)
        if key not in prepared:
            support = supports[id(learner.selector)]
            prepared[key] = _prepare(learner, X, targets, groups, support, privileged, threads)
        template, readable, estimator = prepared[key]
        estimator = categories_by_position(limit_threads(quiet(clone_estimator(estimator)), threads), readable)
        fit = partial(_fit_last, learner, replace(template), estimator, readable, targets, groups, teacher)
        own = extra if learner.transfers else None
        if own is not None and own.soft is None:
            own = own.labelled_by(fit(None))
        members.append(fit(own))
    return members


def _fit_last(
    learner: Learner,
    template: Member,
    estimator: Any,
    readable: Any,
    targets: Targets,
    groups: np.ndarray | None,
    teacher: Any,
    extra: ExtraRows | None,
) -> Member:
    """Fit a learner's last step."""
    adapter = learner.adapter(clone_estimator(estimator), targets.classes)
    lesson, watched = learner.lesson(targets), None
    if stops_early(estimator):
        kept, seen = _carve(targets, groups, learner.seed)
        watched = (rows_of(readable, seen), lesson.take(seen))
        readable, lesson = rows_of(readable, kept), lesson.take(kept)
    if extra is not None and extra.soft is not None:
        readable = stacked([readable, template.prepared(extra.X)])
        lesson = lesson.followed_by(extra.soft, extra.weight)
    adapter.fit(readable, lesson, watched, teacher)
    temperature = 1.0 if isinstance(adapter, FitSoft) else lesson.temperature
    return replace(template, adapter=adapter, temperature=temperature)


def _support(learner: Learner, X: Any, targets: Targets, groups: np.ndarray | None) -> np.ndarray:
    """Positions of the encoded columns that the learner's selector chooses."""
    selector = seeded(clone_estimator(learner.selector), learner.seed)
    if learner.encoder is not None and get_tags(selector).input_tags.string:  # it reads tables, column by column
        taken = signature(selector.fit).parameters
        known = {"sample_weight": targets.weight, "groups": groups}
        known = {name: value for name, value in known.items() if value is not None and name in taken}
        selector.fit(learner.encoder.by_column(X), targets.labels, **known)
        support = np.flatnonzero(np.isin(learner.encoder.sources, np.flatnonzero(selector.get_support())))
    else:
        selector.fit(_numeric(X), targets.labels)
        support = np.flatnonzero(selector.get_support())
    if len(support) == 0:
        raise ValueError(f"The selector {learner.selector!r} chose no column. Loosen it.")
    return support


def _prepare(
    learner: Learner,
    X: Any,
    targets: Targets,
    groups: np.ndarray | None,
    support: np.ndarray | None,
    privileged: pd.DataFrame | None,
    threads: int | None,
) -> tuple[Member, Any, Any]:
    """Fit what comes before the last step; return it, what the last step reads, and the last step."""
    estimator = seeded(clone_estimator(learner.estimator), learner.seed)
    for part in nested_estimators(estimator).values():
        quiet(part)
    member = Member(HardLabels(estimator, targets.classes), support)
    if support is not None:
        estimator = kept_columns(estimator, getattr(X, "columns", range(X.shape[1])), support)
    readable = member.prepared(X)
    if learner.impute is not None and privileged is not None:
        imputer = Imputer(learner.impute, _supported(learner.encoder, support), learner.seed, threads)
        readable = imputer.fit_transform(readable, privileged, targets.outputs, targets.weight, groups)
        member.steps.append(imputer)
        estimator = more_columns(estimator, len(imputer.names))
    while True:
        if isinstance(estimator, Pipeline):
            *_, (_, last) = estimator.steps
            if len(estimator.steps) > 1:
                steps = estimator[:-1]
                readable = steps.fit_transform(readable, targets.labels)
                member.steps.append(steps)
            estimator = last
        elif is_search(estimator):
            # The search clones like scikit-learn, which trips over CatBoost's lists but not over tuples.
            lists = {k: v for k, v in estimator.get_params().items() if k.endswith("cat_features") and v is not None}
            estimator.set_params(**{name: tuple(np.atleast_1d(value).tolist()) for name, value in lists.items()})
            if estimator.refit is True:  # the winner is fitted below, in its student's way
                estimator.set_params(refit=False)
            grouped = {"groups": groups} if groups is not None and takes_groups(estimator) else {}
            labels, last = targets.labels, last_step(estimator)
            if targets.classes is not None and (is_regressor(last) or family(last) == "xgboost"):
                labels = np.unique(targets.codes, return_inverse=True)[1]
            chosen = clone_estimator(estimator.estimator)
            estimator.set_params(estimator=_tried(estimator.estimator, readable, labels))
            fit_weighted(estimator, named(readable, chosen), labels, targets.weight, **grouped)
            estimator = chosen.set_params(**estimator.best_params_)
        else:
            return member, readable, estimator


def _tried(estimator: Any, X: Any, y: np.ndarray) -> Any:
    """What a search fits in its trials: categories by position, no early stopping, and a copy per output if need be."""
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        return estimator.set_params(**{name: _tried(last, None, y)})  # its steps may make other columns of X
    if is_search(estimator):
        return estimator.set_params(estimator=_tried(estimator.estimator, X, y))
    estimator = without_stopping(categories_by_position(estimator, X))
    return outputs_ready(estimator, 1 if y.ndim == 1 else y.shape[1])


def _supported(encoder: Any, support: np.ndarray | None) -> ColumnEncoder:
    """The encoder of the columns that a selector kept."""
    return encoder if support is None else encoder.select(np.unique(np.asarray(encoder.sources)[support]).tolist())


def _numeric(X: Any) -> Any:
    if isinstance(X, pd.DataFrame) and not all(dtype.kind == "f" for dtype in X.dtypes):
        return ColumnEncoder.fit(X, range(X.shape[1])).transform(X)
    return X


def _carve(targets: Targets, groups: np.ndarray | None, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    kept, watched = _carved(targets, groups, 0 if seed is None else seed)
    if targets.classes is None:
        return kept, watched
    # A class must be learnt before it can be watched.
    known = np.isin(targets.codes[watched], targets.codes[kept])
    return np.concatenate([kept, watched[~known]]), watched[known]


def _carved(targets: Targets, groups: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(len(targets.hard))
    if groups is not None and len(np.unique(groups)) > 1:
        splitter = GroupShuffleSplit(1, test_size=VALIDATION_FRACTION, random_state=seed)
        return next(splitter.split(rows, groups=groups))
    stratify = None
    if targets.classes is not None and np.unique(targets.codes, return_counts=True)[1].min() >= 2:
        stratify = targets.codes
    try:
        return train_test_split(rows, test_size=VALIDATION_FRACTION, random_state=seed, stratify=stratify)
    except ValueError:
        return train_test_split(rows, test_size=VALIDATION_FRACTION, random_state=seed)


def frozen_member(teacher: FrozenEstimator, classes: np.ndarray | None) -> Member:
    """A member around a model that was fitted elsewhere."""
    return Member(HardLabels(teacher, classes, linked=False))

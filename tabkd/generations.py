"""Born-again students: one generation's answers about rows that it left out teach the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from tabkd.crossfit import Job, cross_fit
from tabkd.folds import Folds
from tabkd.learners import ExtraRows, Learner, Member
from tabkd.targets import Targets
from tabkd.teaching import Teaching

__all__ = ["known_rows", "told_by_folds", "told_by_students"]

#: Soft targets to what the labelled rows are learnt as.
Lesson = Callable[[np.ndarray], Targets]


def told_by_students(
    learner: Learner, X: Any, teaching: Teaching, folds: Folds, lesson: Lesson, run: dict[str, Any]
) -> Teaching:
    """Students fitted inside each training fold label the rows that they left out there.

    The student that will be scored on fold ``i`` learns from students which saw no row of fold ``i``: for each other
    fold ``j`` one is fitted to the rows outside both, on what the scored student was told itself, and labels ``j``.
    Those targets came from teachers that had seen fold ``j``; they had not seen fold ``i``, so its score stays honest.

    Parameters
    ----------
    learner : Learner
    X : table of shape (n_samples, n_features)
        Encoded for the student.
    teaching : Teaching
        What these students learn from.
    folds : Folds
    lesson : callable
    run : dict
        For :func:`~tabkd.crossfit.cross_fit`.

    Returns
    -------
    Teaching
        For the next generation.

    References
    ----------
    Furlanello, Lipton, Tschannen, Itti and Anandkumar, "Born-again neural networks", ICML 2018.
    """
    told, extras = teaching.per_fold or [], teaching.extras or [None] * len(folds.splits)
    lessons = [lesson(soft) for soft in told]
    couples = [(a, b, rows) for i, j, rows in folds.pairs() for a, b in ((i, j), (j, i))]
    jobs = [
        Job((learner,), rows, lessons[scored].take(rows), (folds.splits[left][1],), extras[scored])
        for scored, left, rows in couples
    ]
    per_fold = [np.full_like(soft, np.nan) for soft in told]
    members: list[list[Member]] = [[] for _ in folds.splits]
    for (scored, left, _), ([member], [[scores]]) in zip(couples, cross_fit(jobs, X, **run), strict=True):
        per_fold[scored][folds.splits[left][1]] = member.predictions(scores)
        members[scored].append(member)
    return Teaching(
        np.nanmean(per_fold, axis=0),
        per_fold,
        extra=_labelled(teaching.extra, list(chain(*members))),
        extras=[_labelled(extra, own) for extra, own in zip(extras, members, strict=True)],
    )


def told_by_folds(
    learner: Learner, X: Any, teaching: Teaching, folds: Folds, lesson: Lesson, run: dict[str, Any]
) -> Teaching:
    """The same by ordinary folds, where nothing is scored.

    Parameters
    ----------
    learner, X, teaching, folds, lesson, run
        As in :func:`told_by_students`.

    Returns
    -------
    Teaching
    """
    known, targets = known_rows(teaching.soft_targets), lesson(teaching.soft_targets)
    splits = [(np.intersect1d(train, known), test) for train, test in folds.splits]
    splits = [(rows, test) for rows, test in splits if len(rows)]
    jobs = [Job((learner,), rows, targets.take(rows), (test,), teaching.extra) for rows, test in splits]
    total, count = np.zeros_like(teaching.soft_targets), np.zeros((len(targets.hard), 1))
    members = []
    for (_, test), ([member], [[scores]]) in zip(splits, cross_fit(jobs, X, **run), strict=True):
        total[test] += member.predictions(scores)
        count[test] += 1
        members.append(member)
    with np.errstate(invalid="ignore"):
        soft = total / np.where(count > 0, count, np.nan)
    return Teaching(soft, None, extra=_labelled(teaching.extra, members))


def known_rows(soft: np.ndarray) -> np.ndarray:
    """Rows that have soft targets."""
    return np.flatnonzero(~np.isnan(soft).any(axis=1))


def _labelled(extra: ExtraRows | None, members: Sequence[Member]) -> ExtraRows | None:
    """Rows without labels, labelled by the mean of some students."""
    if extra is None:
        return None
    return replace(extra, soft=np.mean([extra.answers_of(member) for member in members], axis=0))

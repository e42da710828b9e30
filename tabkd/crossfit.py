"""Folds, pairs of folds, and the one loop that fits teachers, students and controls.

The invariant, for the student ``S_i`` that is scored on fold ``i``: nothing in its ancestry was fitted on a row
of fold ``i``. Soft targets from ordinary folds break it: a training row of ``S_i`` in fold ``j`` gets its target
from a teacher that has seen the labels of fold ``i``. Pairs keep it: the teacher of the pair ``(i, j)`` has seen
neither fold, labels fold ``j`` for ``S_i`` and fold ``i`` for ``S_j``.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from tabkd.families import family
from tabkd.folds import Folds
from tabkd.frames import rows_of
from tabkd.learners import ExtraRows, Learner, Member, fit_members, frozen_member
from tabkd.targets import Targets

__all__ = [
    "StudentFit",
    "TeacherFit",
    "cross_fit",
    "cross_fit_students",
    "cross_fit_teacher",
    "frozen_fit",
    "untested",
]


@dataclass(frozen=True)
class Job:
    """Learners to fit on some rows, and the rows that they then predict."""

    learners: tuple[Learner, ...]
    rows: np.ndarray
    targets: Targets
    predict: tuple[np.ndarray, ...] = ()
    extra: ExtraRows | None = None


Fitted = tuple[list[Member], list[list[np.ndarray]]]


def cross_fit(
    jobs: Sequence[Job],
    X: Any,
    *,
    groups: np.ndarray | None = None,
    teacher: Any = None,
    n_jobs: int | None = None,
    memory: Any = None,
    privileged: Any = None,
    progress: Callable[[int], Any] | None = None,
) -> list[Fitted]:
    """Fit every job and predict the rows it was told to leave out.

    Parameters
    ----------
    jobs : sequence of Job
    X : table of shape (n_samples, n_features)
        Encoded; only the rows of the jobs under way are copied.
    groups : ndarray of shape (n_samples,) or None
    teacher : estimator or None
        A frozen teacher, handed to ``fit_soft``.
    n_jobs : int or None
        Fits under way at once; the boosters share the cores among them.
    memory : joblib.Memory, str or None
        Where fitted members are cached.
    privileged : DataFrame or None
        Columns that the teacher alone has, for the learners that impute some.
    progress : callable or None
        Told the number of fits after each job.

    Returns
    -------
    list of (members, predictions)
        In the order of ``jobs``; ``predictions[m][p]`` are the scores of member ``m`` on ``job.predict[p]``.
    """
    workers = min(joblib.effective_n_jobs(n_jobs), max(len(jobs), 1))
    threads = None if workers == 1 else max(1, joblib.cpu_count() // workers)
    if memory is None or isinstance(memory, str | os.PathLike):
        memory = joblib.Memory(memory, verbose=0)
    elif not hasattr(memory, "cache"):
        raise ValueError(f"memory must be a folder or a joblib.Memory, got {memory!r}. None keeps nothing.")
    if getattr(memory, "location", None) is not None:
        for estimator in {id(learner): learner.estimator for job in jobs for learner in job.learners}.values():
            _check_told_apart(estimator)
    fit = memory.cache(fit_members, ignore=["threads"])
    tasks = (
        delayed(_run)(
            fit, job, rows_of(X, job.rows), None if groups is None else groups[job.rows], teacher, threads,
            [_left_out(job, X, rows) for rows in job.predict],
            rows_of(privileged, job.rows) if any(learner.impute for learner in job.learners) else None,
        )
        for job in jobs
    )  # fmt: skip
    results = []
    for job, result in zip(jobs, Parallel(n_jobs=workers, return_as="generator")(tasks), strict=True):
        results.append(result)
        if progress is not None:
            progress(len(job.learners))
    return [(_unpacked(members), predictions) for members, predictions in results]


def _check_told_apart(estimator: Any) -> None:
    """Raise if a cache cannot tell an estimator from others, because it holds a lambda, say."""
    if _has_hash(estimator):
        return
    odd = {name: value for name, value in estimator.get_params().items() if not _has_hash(value)}
    name = max(odd, key=lambda name: name.count("__"), default=None)
    part = "" if name is None else f" with {name}={odd[name]!r}"
    raise ValueError(
        f"memory= (and a search, which has its own) cannot tell a {type(estimator).__name__}{part} from others. Use a "
        "function that a module defines by name; outside a search memory=None will do."
    )


def _has_hash(value: Any) -> bool:
    try:
        joblib.hash(value)
    except (pickle.PicklingError, TypeError, AttributeError):
        return False
    return True


def _left_out(job: Job, X: Any, rows: np.ndarray) -> Any:
    """Rows to predict, which hold no category that the fitted rows lack."""
    encoder = job.learners[0].encoder
    return rows_of(X, rows) if encoder is None else encoder.as_new(X, rows, job.rows)


def _run(
    fit: Callable[..., list[Member]],
    job: Job,
    X: Any,
    groups: Any,
    teacher: Any,
    threads: Any,
    predict: list[Any],
    privileged: Any,
) -> tuple[list[Member] | bytes, list[list[np.ndarray]]]:
    with warnings.catch_warnings():
        # joblib grumbles where a cache on a busy disk takes half a second.
        warnings.filterwarnings("ignore", message="Persisting input arguments", category=UserWarning)
        members = fit(job.learners, X, job.targets, groups, teacher, threads, job.extra, privileged)
    return _packed(members), [[member.raw(rows) for rows in predict] for member in members]


def _packed(members: list[Member]) -> list[Member] | bytes:
    """CatBoost's models as bytes: live ones scatter the heap in which it fits the next, and its peak grows."""
    catboost = any(family(member.adapter.estimator) == "catboost" for member in members)
    return pickle.dumps(members) if catboost else members


def _unpacked(members: list[Member] | bytes) -> list[Member]:
    return pickle.loads(members) if isinstance(members, bytes) else members


@dataclass(frozen=True)
class TeacherFit:
    """Cross-fitted teachers.

    Attributes
    ----------
    members : list of Member
    soft_targets : ndarray of shape (n_samples, n_outputs)
        Mean out-of-fold prediction for every row; NaN where no fold tests the row.
    per_fold : list of ndarray or None
        With pairs, for each split the targets of its training rows from teachers that never saw its test rows.
    teaches : list of tuple of int
        For each member the splits whose test rows it never saw.
    """

    members: list[Member]
    soft_targets: np.ndarray
    per_fold: list[np.ndarray] | None
    teaches: list[tuple[int, ...]]


def frozen_fit(teacher: Any, X: Any, classes: np.ndarray | None, folds: Folds) -> TeacherFit:
    """A teacher that was fitted elsewhere, as if it had been cross-fitted: it saw no row of any fold.

    Parameters
    ----------
    teacher : FrozenEstimator
    X : table of shape (n_samples, n_features)
        Encoded.
    classes : ndarray of shape (n_classes,) or None
    folds : Folds

    Returns
    -------
    TeacherFit
    """
    member = frozen_member(teacher, classes)
    soft = member.predictions(member.raw(X))
    return TeacherFit([member], soft, untested(soft, folds), [tuple(range(len(folds.splits)))])


def untested(soft: np.ndarray, folds: Folds) -> list[np.ndarray]:
    """For each split the soft targets of the rows that it does not test, NaN for the others."""
    per_fold = []
    for _, test in folds.splits:
        own = soft.copy()
        own[test] = np.nan
        per_fold.append(own)
    return per_fold


def cross_fit_teacher(
    learner: Learner, X: Any, targets: Targets, folds: Folds, *, pairs: bool, **run: Any
) -> TeacherFit:
    """Fit a teacher per fold, or per pair of folds, and label the rows that each left out.

    Parameters
    ----------
    learner : Learner
    X : table of shape (n_samples, n_features)
        Encoded.
    targets : Targets
    folds : Folds
    pairs : bool
    **run
        For :func:`cross_fit`.

    Returns
    -------
    TeacherFit
    """
    if pairs:
        couples = list(folds.pairs())
        left_out = [(folds.splits[i][1], folds.splits[j][1]) for i, j, _ in couples]
        jobs = [
            Job((learner,), rows, targets.take(rows), tests)
            for (_, _, rows), tests in zip(couples, left_out, strict=True)
        ]
    else:
        jobs = [Job((learner,), train, targets.take(train), (test,)) for train, test in folds.splits]
    fitted = cross_fit(jobs, X, **run)
    members = [member for fold_members, _ in fitted for member in fold_members]
    total, count = np.zeros_like(targets.hard), np.zeros((len(targets.hard), 1))
    per_fold = [np.full_like(total, np.nan) for _ in folds.splits] if pairs else None
    for k, (job, ([member], [scores])) in enumerate(zip(jobs, fitted, strict=True)):
        labelled = [member.predictions(raw) for raw in scores]
        for test, soft in zip(job.predict, labelled, strict=True):
            total[test] += soft
            count[test] += 1
        if per_fold is not None:
            i, j, _ = couples[k]
            per_fold[j][job.predict[0]], per_fold[i][job.predict[1]] = labelled
    teaches: list[tuple[int, ...]] = [(i,) for i in range(len(jobs))]
    if pairs:
        teaches = [(i, j) for i, j, _ in couples]
    with np.errstate(invalid="ignore"):
        return TeacherFit(members, total / np.where(count > 0, count, np.nan), per_fold, teaches)


@dataclass(frozen=True)
class StudentFit:
    """Cross-fitted students of one learner.

    Attributes
    ----------
    members : list of Member
        One per split.
    predictions : ndarray of shape (n_repeats, n_samples, n_outputs)
        For every row from the member that did not see it.
    """

    members: list[Member]
    predictions: np.ndarray


def cross_fit_students(
    learners: Mapping[Any, Learner],
    X: Any,
    targets: Sequence[Targets],
    folds: Folds,
    *,
    extras: Sequence[ExtraRows | None] | None = None,
    **run: Any,
) -> dict[Any, StudentFit]:
    """Fit every learner once per split, side by side, and predict the rows that the split leaves out.

    Parameters
    ----------
    learners : mapping from name to Learner
    X : table of shape (n_samples, n_features)
        Encoded.
    targets : sequence of Targets
        One per split: a scored student has targets of its own.
    folds : Folds
    extras : sequence of ExtraRows or None, optional
        One per split.
    **run
        For :func:`cross_fit`.

    Returns
    -------
    dict from name to StudentFit
    """
    extras = [None] * len(folds.splits) if extras is None else extras
    jobs = [
        Job(tuple(learners.values()), train, own.take(train), (test,), extra)
        for (train, test), own, extra in zip(folds.splits, targets, extras, strict=True)
    ]
    fitted = cross_fit(jobs, X, **run)
    students = {}
    for m, name in enumerate(learners):
        predictions = np.full((folds.n_repeats, *targets[0].hard.shape), np.nan)
        for repeat, (_, test), (members, scores) in zip(folds.repeat_of, folds.splits, fitted, strict=True):
            predictions[repeat, test] = members[m].predictions(scores[m][0])
        students[name] = StudentFit([members[m] for members, _ in fitted], predictions)
    return students

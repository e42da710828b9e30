"""One fit of a ``DistilledEstimator`` under way: teach, score, choose, ship."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from tabkd._compat import is_regressor, last_step, read_seed, seeds_of
from tabkd.columns import ColumnEncoder
from tabkd.crossfit import Job, StudentFit, TeacherFit, cross_fit, cross_fit_students, cross_fit_teacher, frozen_fit
from tabkd.diagnose import warn_of_leaks, warn_of_shift
from tabkd.folds import Folds, make_folds
from tabkd.frames import rows_of
from tabkd.generations import known_rows, told_by_folds, told_by_students
from tabkd.impute import Impute, privileged_columns, read_impute
from tabkd.learners import ExtraRows, Learner, Member
from tabkd.models import FittedModel, fitted_model
from tabkd.readings import check_values, encoder_for, student_columns, teacher_columns
from tabkd.rows import Rows, check_classes_outside_pairs, check_soft_targets
from tabkd.scoring import Choice, Honest, Judge
from tabkd.settings import check_settings, cross_fit_of, is_frozen, teachers_of
from tabkd.targets import Targets, harden, trusted
from tabkd.teaching import Teaching
from tabkd.thresholds import is_tuned
from tabkd.transfer import Labeller, TransferSet
from tabkd.twins import classifier_of

__all__ = ["ALPHAS", "Recipe", "Shipping"]

logger = logging.getLogger(__name__)

#: What ``alpha="auto"`` chooses from, beside the control.
ALPHAS = (0.0, 0.25, 0.5)


@dataclass(frozen=True)
class Scores:
    """Honest predictions and scores, under the names of the estimator's attributes."""

    student_predictions: np.ndarray
    control_predictions: np.ndarray
    alpha_scores: dict[Any, float]
    teacher_score: float
    student_score: float
    control_score: float
    distillation_gain: float
    distillation_gain_se: float


@dataclass(frozen=True)
class Shipping:
    """What a fit hands over; the last three of it where there are honest scores."""

    student: FittedModel
    alpha: float
    generation: int
    control: FittedModel | None = None
    scores: Scores | None = None
    honest: Honest | None = None


class Recipe:
    """The steps of one fit by folds, on rows that are read already.

    Parameters
    ----------
    settings : DistilledEstimator
        Only its parameters are read.
    rows : Rows
    soft_targets : array-like or None
        Made elsewhere.
    X_unlabeled : table or None
        Rows without labels.

    Raises
    ------
    ValueError
        If the parameters do not fit each other or the target.
    """

    #: What ``alpha="auto"`` chooses from.
    alphas: tuple[float, ...] = ALPHAS

    def __init__(self, settings: Any, rows: Rows, soft_targets: Any = None, X_unlabeled: Any = None) -> None:
        check_settings(settings, rows.targets, given=soft_targets is not None)
        self.settings = settings
        self.rows = rows
        self.teachers = teachers_of(settings)
        self.given = None if soft_targets is None else check_soft_targets(soft_targets, rows.targets)
        self.seed = read_seed(settings.random_state)
        self.frozen = is_frozen(settings)
        self.scored = cross_fit_of(settings) != "folds" and self.given is None
        self.judge = Judge(
            rows.targets, groups=rows.groups, scoring=settings.scoring, threshold=settings.threshold, seed=self.seed
        )
        if self.scored:
            self.judge.check()
        self.everyone = np.arange(len(rows.y))  # the rows that choices are judged by
        self.run: dict[str, Any] = {
            "groups": rows.groups,
            "n_jobs": settings.n_jobs,
            "teacher": self.teachers[0] if self.frozen and len(self.teachers) == 1 else None,
        }
        positions, self.selector = student_columns(settings, rows)
        self.encoder = encoder_for(settings.student, rows, positions)
        self.read, self.teacher_selector = teacher_columns(settings, rows)
        self.transfer = TransferSet(settings, rows, X_unlabeled, self.read, self.encoder, self.seed)
        self._read_student()
        if self.given is not None and self.transfer.needs_teacher:
            raise ValueError("soft_targets= leaves no teacher to label further rows. Give transfer=None without them.")

    def _read_student(self) -> None:
        """Everything that may be fitted to the student's columns, by alpha or name."""
        settings, impute = self.settings, self._read_impute()
        template = Learner(settings.student, selector=self.selector, encoder=self.encoder, seed=self.seed)
        taught = replace(template, loss=settings.loss, temperature=settings.temperature, transfers=True, impute=impute)
        alphas: tuple[float, ...] = (float(settings.alpha),) if settings.alpha != "auto" else self.alphas
        if settings.alpha == "auto" and (self.transfer or impute is not None):
            alphas = (*alphas, 1.0)  # the labels where there are some, beside what the control has not
        self.distilled: dict[Any, Learner] = {alpha: replace(taught, alpha=alpha) for alpha in alphas}
        self.controls: dict[Any, Learner] = {"control": template}
        if self.rows.targets.classes is not None and is_regressor(last_step(settings.student)):
            self.controls = {"control": replace(template, loss=settings.loss)}
            twin = classifier_of(settings.student)
            if twin is not None:
                self.controls["classifier"] = replace(template, estimator=twin)

    def _read_impute(self) -> Impute | None:
        """Which privileged columns the student imputes; their values go with the rows of every fit."""
        if self.settings.impute is None:
            return None
        privileged = privileged_columns(self.rows.X, self.read, self.encoder)
        self.run["privileged"] = privileged
        return read_impute(self.settings.impute, privileged.columns.tolist())

    def folds(self, cv: Any, *, partition: bool | None) -> Folds:
        """Split the rows."""
        rows = self.rows
        classifier = rows.targets.classes is not None
        return make_folds(
            cv, rows.X, rows.y, groups=rows.groups, classifier=classifier, seed=self.seed, partition=partition
        )

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Make the folds, and show a bar over the fits to come: all of them, if every generation improves."""
        self.outer = self.folds(self.settings.cv, partition=self.scored)
        pairs, later = self.scored and not self.frozen, self.settings.generations - 1
        if pairs or (self.scored and later):
            check_classes_outside_pairs(self.outer, self.rows.targets)
        if self.scored and self.selector is None:
            check_values(self.settings.student, self.encoder, self.rows, self._fits(pairs=later > 0))
        n_splits, ensemble = len(self.outer.splits), self.settings.ensemble
        n_pairs = self.outer.n_pairs if self.scored else 0
        n_teachers = (n_pairs if pairs else n_splits) * len(self.teachers)
        n_scored = n_splits * len(self.controls | self.distilled) if self.scored else n_splits * ensemble
        n_shipped = 0 if ensemble else 1 + self.scored
        n_later = later * len(self.distilled) * (2 * n_pairs + n_splits if self.scored else n_splits)
        n_fits = n_teachers * (not self.frozen and self.given is None) + n_scored + n_later + n_shipped
        logger.info("%d fits on %d splits", n_fits, n_splits)
        with tqdm(total=n_fits, disable=not self.settings.verbose, unit="fit") as bar:
            self.run["progress"] = bar.update
            yield

    # ---------------------------------------------------------------- teach

    def teach(self) -> Teaching:
        """Fit the teachers and label every row out of fold."""
        if self.given is not None:
            self.transfer.prepare([])
            return Teaching(self.given, None, None, *self._extra_rows())
        # The mean of equal teachers with equal seeds would be one of them.
        seeds = seeds_of(self.seed, len(self.teachers))
        fits = [self._taught_by(*teacher) for teacher in zip(self.teachers, seeds, strict=True)]
        soft = np.mean([fit.soft_targets for _, fit in fits], axis=0)
        per_fold = None
        if all(fit.per_fold is not None for _, fit in fits):
            per_fold = [np.mean(one, axis=0) for one in zip(*(fit.per_fold for _, fit in fits), strict=True)]
        self._diagnose({p for encoder, _ in fits for p in encoder.positions}, soft)
        threshold = self.judge.threshold_for(soft[None], self.everyone) if self.scored else self.settings.threshold
        encoder, members = self._together(fits)
        model = fitted_model(encoder, members, self.rows.targets.classes, threshold)
        self.transfer.prepare([Labeller(encoder, fit.members, fit.teaches) for encoder, fit in fits])
        return Teaching(soft, per_fold, model, *self._extra_rows())

    def read_teacher(self, teacher: Any, seed: int | None) -> tuple[ColumnEncoder, Learner]:
        """A teacher's columns, and what is fitted to them."""
        encoder, selector = encoder_for(teacher, self.rows, self.read, frozen=self.frozen), self.teacher_selector
        if selector is None:
            check_values(teacher, encoder, self.rows, self._fits(pairs=self.scored))
        return encoder, Learner(teacher, linked=False, selector=selector, encoder=encoder, seed=seed)

    def _fits(self, *, pairs: bool) -> list[np.ndarray]:
        """Rows that models are fitted to: outside each pair of splits, if there are pairs, or outside each split."""
        outside = [rows for *_, rows in self.outer.pairs()] if pairs else []
        return outside or [train for train, _ in self.outer.splits]

    def _taught_by(self, teacher: Any, seed: int | None) -> tuple[ColumnEncoder, TeacherFit]:
        """One teacher, cross-fitted."""
        encoder, learner = self.read_teacher(teacher, seed)
        X = encoder.transform(self.rows.X)
        if self.frozen:
            return encoder, frozen_fit(teacher, X, self.rows.targets.classes, self.outer)
        run = {**self.run, "memory": self.settings.memory}
        return encoder, cross_fit_teacher(learner, X, self.rows.targets, self.outer, pairs=self.scored, **run)

    def _together(self, fits: list[tuple[ColumnEncoder, TeacherFit]]) -> tuple[ColumnEncoder, list[Member]]:
        """All members of all teachers; several teachers each encode the table in their own way."""
        if len(fits) == 1:
            return fits[0][0], fits[0][1].members
        raw = ColumnEncoder.fit(self.rows.X, fits[0][0].positions, "raw")
        return raw, [one.reading(encoder) for encoder, fit in fits for one in fit.members]

    def _extra_rows(self) -> tuple[ExtraRows | None, list[ExtraRows | None]]:
        """Rows without labels for the student that ships, and for each scored one."""
        everyone = np.arange(len(self.rows.y))
        scored = enumerate(self.outer.splits) if self.scored else ()
        return self.transfer.rows_for(everyone, None), [self.transfer.rows_for(train, i) for i, (train, _) in scored]

    def _diagnose(self, teacher_positions: Iterable[int], soft: np.ndarray) -> None:
        known = np.flatnonzero(~np.isnan(soft).any(axis=1))
        targets = self.rows.targets.take(known)
        warn_of_shift(targets, soft[known])
        privileged = sorted(set(teacher_positions) - set(self.encoder.positions))
        warn_of_leaks(rows_of(self.rows.X, known), privileged, targets, soft[known])

    # ---------------------------------------------------------------- learn

    def lesson(self, soft: np.ndarray) -> Targets:
        """What the labelled rows are learnt as, once a teacher has said ``soft`` of them."""
        hard, classes, kind = self.rows.targets.hard, self.rows.targets.classes, self.settings.targets
        if kind == "trusted":
            soft = trusted(hard, soft, classes=classes is not None)
        elif kind == "hard":
            soft = harden(soft)
        return replace(self.rows.targets, soft=soft)

    def learn(self, teaching: Teaching) -> Shipping:
        """Fit the student that ships: chosen by honest scores, or as told where there are none."""
        self.X = self.encoder.transform(self.rows.X)
        if not self.scored or teaching.per_fold is None:
            (alpha,) = self.distilled
            members = self._unscored(self.distilled[alpha], teaching)
            return Shipping(self._model(members, self.settings.threshold), alpha, self.settings.generations)
        fits = self.fit_scored(self.controls | self.distilled, teaching)
        self.later_generations(fits, teaching)
        choice, control, scores, honest = self._choose(fits, teaching.soft_targets)
        members = self._shipped(choice, fits)
        held = members
        if control.name != choice.name:
            held = self._shipped(control, fits)
        elif members is not fits[choice.name].members:
            self.run["progress"](1)
        student, plain = self._model(members, choice.threshold), self._model(held, control.threshold)
        if choice.name not in self.distilled:
            return Shipping(student, 1.0, 0, plain, scores, honest)
        alpha, generation = self.distilled[choice.name].alpha, self.taught[choice.name][0]
        return Shipping(student, alpha, generation, plain, scores, honest)

    def fit_scored(self, learners: Mapping[Any, Learner], teaching: Teaching) -> dict[Any, StudentFit]:
        """Fit the students that are scored, each on what its teachers may tell it."""
        own = [self.lesson(soft) for soft in teaching.per_fold or ()]
        return cross_fit_students(learners, self.X, own, self.outer, extras=teaching.extras, **self.run)

    def later_generations(self, fits: dict[Any, StudentFit], teaching: Teaching) -> None:
        """Let each generation of students teach the next, while the honest score improves; adds to ``fits``."""
        self.taught = {name: (1, teaching) for name in self.distilled}
        if self.settings.generations == 1:
            return
        first, best = dict(self.distilled), max(self._score(fits[name]) for name in self.distilled)
        names = {name: name for name in first}  # of the generation that teaches
        for generation in range(2, self.settings.generations + 1):
            for alpha, learner in first.items():
                name = (alpha, generation)
                told = self._told_by(fits[names[alpha]], learner, self.taught[names[alpha]][1])
                fits |= self.fit_scored({name: learner}, told)
                self.distilled[name], self.taught[name], names[alpha] = learner, (generation, told), name
            score = max(self._score(fits[name]) for name in names.values())
            if not score > best:
                break
            best = score

    def _told_by(self, fit: StudentFit, learner: Learner, teaching: Teaching) -> Teaching:
        """What students that learnt by ``teaching`` say of the rows that they left out, inside each training fold."""
        return told_by_students(learner, self.X, teaching, self.outer, self.lesson, self.run)

    def _score(self, fit: StudentFit) -> float:
        return self.judge.best_score(fit.predictions, self.everyone)

    def control_alone(self) -> FittedModel:
        """The control without any teacher: chosen, tuned and shipped as in a fit."""
        settings, targets = self.settings, self.rows.targets
        choice = Choice(next(iter(self.controls)), settings.threshold)
        self.X = self.encoder.transform(self.rows.X)
        fits: dict[Any, StudentFit] = {}
        if settings.ensemble or len(self.controls) > 1 or is_tuned(settings.threshold):
            cv = settings.cv if settings.student_cv is None else settings.student_cv
            folds = self.folds(cv, partition=None if cross_fit_of(settings) == "holdout" else self.scored)
            fits = cross_fit_students(self.controls, self.X, [targets] * len(folds.splits), folds, **self.run)
            controls = {name: fit.predictions for name, fit in fits.items()}
            self.everyone = np.unique(np.concatenate([test for _, test in folds.splits]))
            choice = self._tuned(self.judge.choose(controls, controls, self.everyone, forced=True)[0], fits)
        return self._model(self._shipped(choice, fits), choice.threshold)

    def _choose(self, fits: dict[Any, StudentFit], soft: np.ndarray) -> tuple[Choice, Choice, Scores, Honest]:
        """Who ships, who it is held against, how both score, and the predictions that say so."""
        judge, forced = self.judge, self.settings.alpha != "auto"
        distilled = {name: fits[name].predictions for name in self.distilled}
        controls = {name: fits[name].predictions for name in self.controls}
        chosen = judge.choose(distilled, controls, self.everyone, forced=forced)
        choice, control = (self._tuned(one, fits) for one in chosen)
        again, held_again = judge.choose_again(distilled, controls, self.parts, forced=forced, rows=self.everyone)
        student, held = (
            judge.held_out(self.parts, [(fits[one.name].predictions, one.threshold) for one in side])
            for side in (again, held_again)
        )
        gain, error = judge.compare(student, held, self.everyone)
        if not (forced or gain > error):
            # The best of several alphas looks better than it is: the choice made again says so.
            choice, again = control, held_again
        tried = {**distilled, "control": controls[control.name]}
        honest = Honest(fits[choice.name].predictions, [fits[one.name].predictions for one in again])
        scores = Scores(
            student_predictions=fits[choice.name].predictions.mean(axis=0),
            control_predictions=fits[control.name].predictions.mean(axis=0),
            alpha_scores={name: judge.best_score(predictions, self.everyone) for name, predictions in tried.items()},
            teacher_score=judge.best_score(soft[None], self.everyone),
            student_score=judge.score(student, self.everyone),
            control_score=judge.score(held, self.everyone),
            distillation_gain=gain,
            distillation_gain_se=error,
        )
        return choice, control, scores, honest

    @property
    def parts(self) -> Folds:
        """Splits whose test rows are scored by choices that were made without them."""
        return self.outer

    def _tuned(self, choice: Choice, fits: dict[Any, StudentFit]) -> Choice:
        threshold = self.judge.threshold_for(fits[choice.name].predictions, self.everyone)
        return replace(choice, threshold=threshold)

    def _shipped(self, choice: Choice, fits: dict[Any, StudentFit]) -> list[Member]:
        """The scored students themselves, or one fitted to all rows."""
        if self.settings.ensemble:
            return fits[choice.name].members
        rows = np.arange(len(self.rows.y))
        if choice.name in self.controls:
            return self._fit_rows(self.controls[choice.name], self.rows.targets, [rows])
        _, teaching = self.taught[choice.name]
        learner = self.distilled[choice.name]
        return self._fit_rows(learner, self.lesson(teaching.soft_targets), [rows], teaching.extra)

    def ready(self, choice: Choice, fits: dict[Any, StudentFit]) -> FittedModel:
        """The student of one choice, tuned and fitted, as it ships."""
        choice = self._tuned(choice, fits)
        return self._model(self._shipped(choice, fits), choice.threshold)

    def _unscored(self, learner: Learner, teaching: Teaching) -> list[Member]:
        """The plain recipe: one student on all rows that have soft targets, or one per training fold."""
        settings = self.settings
        for _ in range(1, settings.generations):
            teaching = told_by_folds(learner, self.X, teaching, self.outer, self.lesson, self.run)
        known = known_rows(teaching.soft_targets)
        subsets = [known]
        if settings.ensemble:
            folds = self.outer
            if settings.student_cv is not None:
                folds = self.folds(settings.student_cv, partition=False)
            subsets = [rows for train, _ in folds.splits if len(rows := np.intersect1d(train, known))]
        return self._fit_rows(learner, self.lesson(teaching.soft_targets), subsets, teaching.extra)

    def _fit_rows(
        self, learner: Learner, targets: Targets, subsets: list[np.ndarray], extra: ExtraRows | None = None
    ) -> list[Member]:
        jobs = [Job((learner,), subset, targets.take(subset), (), extra) for subset in subsets]
        return [member for (member,), _ in cross_fit(jobs, self.X, **self.run)]

    def _model(self, members: list[Member], threshold: float | None) -> FittedModel:
        return fitted_model(self.encoder, members, self.rows.targets.classes, threshold)

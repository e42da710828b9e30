"""One fit of a ``DistilledEstimator`` under way: teach, score, choose, ship."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from tqdm.auto import tqdm

from tabkd._compat import clone_estimator, is_fitted_selector, is_regressor, last_step
from tabkd.columns import ColumnEncoder, column_positions, rows_of
from tabkd.crossfit import Folds, Job, StudentFit, cross_fit, cross_fit_students, cross_fit_teacher, make_folds
from tabkd.diagnose import warn_of_leaks, warn_of_shift
from tabkd.families import classifier_of, encoding_for, text_columns
from tabkd.learners import Learner, Member, frozen_member
from tabkd.models import FittedModel, fitted_model
from tabkd.rows import Rows, check_classes_outside_pairs, check_soft_targets, read_seed
from tabkd.scoring import Choice, Honest, Judge, check_threshold, is_tuned
from tabkd.students import adapt
from tabkd.targets import Targets, check_temperature

__all__ = ["ALPHAS", "Recipe", "Teaching", "cross_fit_of"]

logger = logging.getLogger(__name__)

#: What ``alpha="auto"`` chooses from, beside the control.
ALPHAS = (0.0, 0.25, 0.5)


@dataclass(frozen=True)
class Teaching:
    """Soft targets for the shipped student, for each scored one (or None), and the teacher (or None)."""

    soft_targets: np.ndarray
    per_fold: list[np.ndarray] | None
    teacher: FittedModel | None


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

    Raises
    ------
    ValueError
        If the parameters do not fit each other or the target.
    """

    #: What ``alpha="auto"`` chooses from.
    alphas: tuple[float, ...] = ALPHAS

    def __init__(self, settings: Any, rows: Rows, soft_targets: Any = None) -> None:
        check_settings(settings, rows.targets, given=soft_targets is not None)
        self.settings = settings
        self.rows = rows
        self.given = None if soft_targets is None else check_soft_targets(soft_targets, rows.targets)
        self.seed = read_seed(settings.random_state)
        self.frozen = isinstance(settings.teacher, FrozenEstimator)
        self.scored = cross_fit_of(settings) != "folds" and self.given is None
        self.judge = Judge(
            rows.targets, groups=rows.groups, scoring=settings.scoring, threshold=settings.threshold, seed=self.seed
        )
        self.everyone = np.arange(len(rows.y))  # the rows that choices are judged by
        self.run: dict[str, Any] = {
            "groups": rows.groups,
            "n_jobs": settings.n_jobs,
            "teacher": settings.teacher if self.frozen else None,
        }
        self._read_student()

    def _read_student(self) -> None:
        """The student's columns, and everything that may be fitted to them, by alpha or name."""
        settings, X = self.settings, self.rows.X
        spec, selector = settings.student_features, None
        if is_fitted_selector(spec):
            names = getattr(spec, "feature_names_in_", None)
            spec = spec.get_support() if names is None else names[spec.get_support()]
        elif hasattr(spec, "get_support"):
            spec, selector = spec.inside(settings, X) if hasattr(spec, "inside") else (None, spec)
        positions = column_positions(X, spec, "student_features")
        self.encoder = ColumnEncoder.fit(X, positions, self._encoding(settings.student), text_columns(settings.student))
        encoder = None if selector is None else self.encoder
        template = Learner(settings.student, selector=selector, encoder=encoder, seed=self.seed)
        taught = replace(template, loss=settings.loss, temperature=settings.temperature)
        alphas = self.alphas if settings.alpha == "auto" else (float(settings.alpha),)
        self.distilled: dict[Any, Learner] = {alpha: replace(taught, alpha=alpha) for alpha in alphas}
        self.controls: dict[Any, Learner] = {"control": template}
        if self.rows.targets.classes is not None and is_regressor(last_step(settings.student)):
            self.controls = {"control": replace(template, loss=settings.loss)}
            twin = classifier_of(settings.student)
            if twin is not None:
                self.controls["classifier"] = replace(template, estimator=twin)

    def _encoding(self, model: Any) -> str:
        """What a model reads of the table, or of the texts."""
        return encoding_for(model, texts=self.rows.texts)

    def folds(self, cv: Any, *, partition: bool) -> Folds:
        """Split the rows."""
        rows = self.rows
        classifier = rows.targets.classes is not None
        return make_folds(
            cv, rows.X, rows.y, groups=rows.groups, classifier=classifier, seed=self.seed, partition=partition
        )

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Make the folds, and show a bar over all the fits to come."""
        self.outer = self.folds(self.settings.cv, partition=self.scored)
        pairs = self.scored and not self.frozen
        if pairs:
            check_classes_outside_pairs(self.outer, self.rows.targets)
        n_splits, ensemble = len(self.outer.splits), self.settings.ensemble
        n_teachers = len(list(self.outer.pairs())) if pairs else n_splits
        n_scored = n_splits * len(self.controls | self.distilled) if self.scored else n_splits * ensemble
        n_shipped = 0 if ensemble else 1 + self.scored
        n_fits = n_teachers * (not self.frozen and self.given is None) + n_scored + n_shipped
        logger.info("%d fits on %d splits", n_fits, n_splits)
        with tqdm(total=n_fits, disable=not self.settings.verbose, unit="fit") as bar:
            self.run["progress"] = bar.update
            yield

    # ---------------------------------------------------------------- teach

    def teach(self) -> Teaching:
        """Fit the teachers and label every row out of fold."""
        if self.given is not None:
            return Teaching(self.given, None, None)
        settings, rows = self.settings, self.rows
        encoder, learner = self.read_teacher()
        X = encoder.transform(rows.X)
        if self.frozen:
            members = [frozen_member(settings.teacher, rows.targets.classes)]
            soft = members[0].predictions(members[0].raw(X))
            per_fold: list[np.ndarray] | None = [soft] * len(self.outer.splits)
        else:
            run = {**self.run, "memory": settings.memory}
            fit = cross_fit_teacher(learner, X, rows.targets, self.outer, pairs=self.scored, **run)
            members, soft, per_fold = fit.members, fit.soft_targets, fit.per_fold
        self._diagnose(encoder.positions, soft)
        threshold = settings.threshold
        if self.scored:
            threshold = self.judge.threshold_for(soft[None], self.everyone)
        return Teaching(soft, per_fold, fitted_model(encoder, members, rows.targets.classes, threshold))

    def read_teacher(self) -> tuple[ColumnEncoder, Learner]:
        """The teacher's columns, and what is fitted to them."""
        settings, X = self.settings, self.rows.X
        positions = column_positions(X, settings.teacher_features, "teacher_features")
        encoding = "raw" if self.frozen and not self.rows.texts else self._encoding(settings.teacher)
        encoder = ColumnEncoder.fit(X, positions, encoding, text_columns(settings.teacher))
        return encoder, Learner(settings.teacher, linked=False, seed=self.seed)

    def _diagnose(self, teacher_positions: Sequence[int], soft: np.ndarray) -> None:
        known = np.flatnonzero(~np.isnan(soft).any(axis=1))
        targets = self.rows.targets.take(known)
        warn_of_shift(targets, soft[known])
        privileged = [p for p in teacher_positions if p not in self.encoder.positions]
        warn_of_leaks(rows_of(self.rows.X, known), privileged, targets, soft[known])

    # ---------------------------------------------------------------- learn

    def learn(self, teaching: Teaching) -> Shipping:
        """Fit the student that ships: chosen by honest scores, or as told where there are none."""
        self.X = self.encoder.transform(self.rows.X)
        if teaching.per_fold is None or not self.scored:
            (alpha,) = self.distilled
            members = self._unscored(self.distilled[alpha], teaching.soft_targets)
            return Shipping(self._model(members, self.settings.threshold), alpha)
        own = [replace(self.rows.targets, soft=soft) for soft in teaching.per_fold]
        fits = cross_fit_students(self.controls | self.distilled, self.X, own, self.outer, **self.run)
        choice, control, scores, honest = self._choose(fits, teaching.soft_targets)
        targets = replace(self.rows.targets, soft=teaching.soft_targets)
        members = self._shipped(choice, fits, targets)
        held = members
        if control.name != choice.name:
            held = self._shipped(control, fits, targets)
        elif members is not fits[choice.name].members:
            self.run["progress"](1)
        alpha = choice.name if choice.name in self.distilled else 1.0
        student, plain = self._model(members, choice.threshold), self._model(held, control.threshold)
        return Shipping(student, alpha, plain, scores, honest)

    def control_alone(self) -> FittedModel:
        """The control without any teacher: chosen, tuned and shipped as in a fit."""
        settings, targets = self.settings, self.rows.targets
        choice = Choice(next(iter(self.controls)), settings.threshold)
        self.X = self.encoder.transform(self.rows.X)
        fits: dict[Any, StudentFit] = {}
        if settings.ensemble or len(self.controls) > 1 or is_tuned(settings.threshold):
            cv = settings.cv if settings.student_cv is None else settings.student_cv
            folds = self.folds(cv, partition=self.scored)
            fits = cross_fit_students(self.controls, self.X, [targets] * len(folds.splits), folds, **self.run)
            controls = {name: fit.predictions for name, fit in fits.items()}
            self.everyone = np.unique(np.concatenate([test for _, test in folds.splits]))
            choice = self._tuned(self.judge.choose(controls, controls, self.everyone, forced=True)[0], fits)
        return self._model(self._shipped(choice, fits, targets), choice.threshold)

    def _choose(self, fits: dict[Any, StudentFit], soft: np.ndarray) -> tuple[Choice, Choice, Scores, Honest]:
        """Who ships, who it is held against, how both score, and the predictions that say so."""
        judge, forced = self.judge, self.settings.alpha != "auto"
        distilled = {name: fits[name].predictions for name in self.distilled}
        controls = {name: fits[name].predictions for name in self.controls}
        chosen = judge.choose(distilled, controls, self.everyone, forced=forced)
        choice, control = (self._tuned(one, fits) for one in chosen)
        again, held_again = self._again(distilled, controls, (choice, control))
        student, held = (
            judge.held_out(self.outer, [(fits[one.name].predictions, one.threshold) for one in side])
            for side in (again, held_again)
        )
        gain, error = judge.compare(student, held, self.everyone)
        if not forced and gain <= error:
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

    def _again(
        self,
        distilled: dict[Any, np.ndarray],
        controls: dict[Any, np.ndarray],
        chosen: tuple[Choice, Choice],
    ) -> tuple[list[Choice], list[Choice]]:
        """Student and control for each split, chosen without the rows that it tests."""
        return self.judge.choose_again(distilled, controls, self.outer, forced=self.settings.alpha != "auto")

    def _tuned(self, choice: Choice, fits: dict[Any, StudentFit]) -> Choice:
        threshold = self.judge.threshold_for(fits[choice.name].predictions, self.everyone)
        return replace(choice, threshold=threshold)

    def _shipped(self, choice: Choice, fits: dict[Any, StudentFit], targets: Targets) -> list[Member]:
        """The scored students themselves, or one fitted to all rows."""
        if self.settings.ensemble:
            return fits[choice.name].members
        rows = np.arange(len(self.rows.y))
        return self._fit_rows((self.controls | self.distilled)[choice.name], targets, [rows])

    def ready(self, choice: Choice, fits: dict[Any, StudentFit], soft: np.ndarray) -> FittedModel:
        """The student of one choice, tuned and fitted, as it ships."""
        choice = self._tuned(choice, fits)
        targets = replace(self.rows.targets, soft=soft)
        return self._model(self._shipped(choice, fits, targets), choice.threshold)

    def _unscored(self, learner: Learner, soft: np.ndarray) -> list[Member]:
        """The plain recipe: one student on all rows that have soft targets, or one per training fold."""
        settings, known = self.settings, np.flatnonzero(~np.isnan(soft).any(axis=1))
        subsets = [known]
        if settings.ensemble:
            folds = self.outer
            if settings.student_cv is not None:
                folds = self.folds(settings.student_cv, partition=False)
            subsets = [rows for train, _ in folds.splits if len(rows := np.intersect1d(train, known))]
        return self._fit_rows(learner, replace(self.rows.targets, soft=soft), subsets)

    def _fit_rows(self, learner: Learner, targets: Targets, subsets: list[np.ndarray]) -> list[Member]:
        jobs = [Job((learner,), subset, targets.take(subset)) for subset in subsets]
        return [member for (member,), _ in cross_fit(jobs, self.X, **self.run)]

    def _model(self, members: list[Member], threshold: float | None) -> FittedModel:
        return fitted_model(self.encoder, members, self.rows.targets.classes, threshold)


def cross_fit_of(settings: Any) -> str:
    """What ``cross_fit="auto"`` stands for: one split where a fit takes long, pairs of folds elsewhere."""
    if settings.cross_fit != "auto":
        return settings.cross_fit
    teacher = settings.teacher.estimator if isinstance(settings.teacher, FrozenEstimator) else settings.teacher
    slow = any(getattr(last_step(model), "fits_slowly", False) for model in (teacher, settings.student))
    return "holdout" if slow else "pairs"


def check_settings(settings: Any, targets: Targets, *, given: bool) -> None:
    """Check an estimator's parameters against each other and against the target.

    Parameters
    ----------
    settings : DistilledEstimator
    targets : Targets
    given : bool
        Whether soft targets were made elsewhere.

    Raises
    ------
    ValueError
        If something does not fit; the message says what, and how to mend it.
    """
    n_classes = None if targets.classes is None else len(targets.classes)
    teacher, student, alpha, temperature = (
        settings.teacher,
        last_step(settings.student),
        settings.alpha,
        settings.temperature,
    )
    if settings.cross_fit not in ("auto", "pairs", "holdout", "folds"):
        raise ValueError(f'cross_fit must be "auto", "pairs", "holdout" or "folds", got {settings.cross_fit!r}.')
    if alpha != "auto" and not (isinstance(alpha, Real) and 0 <= float(alpha) <= 1):
        raise ValueError(f'alpha must be in [0, 1] or "auto", got {alpha!r}. Try 0.5.')
    check_temperature(temperature)
    check_threshold(settings.threshold, n_classes)
    if n_classes is not None and not given and not hasattr(teacher, "predict_proba"):
        raise ValueError(
            f"The teacher {type(teacher).__name__} has no predict_proba, which gives the soft targets. Use one that "
            "has, or wrap it in CalibratedClassifierCV."
        )
    if n_classes is None and not is_regressor(student) and not hasattr(student, "fit_soft"):
        raise ValueError(
            f"The teacher is a regressor, but the student {type(student).__name__} is not. Use a regressor."
        )
    adapt(clone_estimator(student), settings.loss, targets.classes)  # raises before any teacher is fitted
    if temperature != 1 and n_classes is None:
        raise ValueError(f"temperature={temperature} is for classification. Use temperature=1.0.")
    if temperature != 1 and alpha != 0 and not hasattr(student, "fit_soft"):
        raise ValueError(
            f"temperature={temperature} cannot be undone on targets blended with true labels (alpha={alpha!r}). Use "
            "alpha=0, or temperature=1.0."
        )
    scored = cross_fit_of(settings) != "folds" and not given
    why = "soft_targets= was given" if given else 'of cross_fit="folds"'
    for name in ("alpha", "threshold"):
        value = getattr(settings, name)
        if not scored and is_tuned(value):
            raise ValueError(
                f"{name}={value!r} needs an honest score, and there is none because {why}. Give {name} as a number, or "
                'use cross_fit="pairs" with a teacher.'
            )
    if settings.student_cv is not None and scored:
        raise ValueError(
            'student_cv only exists with cross_fit="folds": pairs of folds are shared by teacher and student. Use '
            "student_cv=None."
        )

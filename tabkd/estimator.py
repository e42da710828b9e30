"""``DistilledEstimator``: the recipe."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, check_scoring, r2_score
from sklearn.utils import ClassifierTags, RegressorTags, Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm.auto import tqdm

from tabkd._compat import clone_estimator, is_regressor, last_step
from tabkd.columns import ColumnEncoder, as_table, column_positions, has_names, rows_of
from tabkd.crossfit import (
    Folds,
    Job,
    StudentFit,
    cross_fit,
    cross_fit_students,
    cross_fit_teacher,
    make_folds,
)
from tabkd.diagnose import warn_of_leaks, warn_of_shift
from tabkd.families import classifier_of, encoding_for, text_columns
from tabkd.learners import Learner, Member, frozen_member
from tabkd.models import FittedModel, fitted_model
from tabkd.rows import Rows, check_classes_outside_pairs, check_soft_targets, read_rows, read_seed
from tabkd.scoring import Choice, Judge, check_threshold, is_tuned
from tabkd.students import Targets, adapt
from tabkd.targets import check_temperature

__all__ = ["DistilledEstimator"]

#: What ``alpha="auto"`` chooses from, beside the control.
ALPHAS = (0.0, 0.25, 0.5)


def _is_classifier(self: DistilledEstimator) -> bool:
    return not is_regressor(self.teacher)


class DistilledEstimator(BaseEstimator):
    """Train a teacher on every column, and a student on those that will exist at prediction time.

    The teacher labels rows that it never saw (soft targets); the student learns from them, blended with the true
    labels. Everything that guides a choice is scored on pairs of folds, so that no label leaks through the
    teacher, and against the *control*: the same student trained without a teacher.

    Parameters
    ----------
    teacher : estimator
        A classifier with ``predict_proba``, or a regressor; decides which of the two this estimator is.
        ``FrozenEstimator(teacher)`` is used as it is: you assert that it saw none of the rows of ``fit``.
    student : estimator
        Anything that :mod:`tabkd.students` can teach: LightGBM, XGBoost, CatBoost, scikit-learn classifiers that
        take ``sample_weight``, any regressor, a ``Pipeline`` or a search that ends in one of these, or an object
        with ``fit_soft``.
    teacher_features, student_features : column specification or None
        Names, positions, a slice, a mask or a callable, as in ``ColumnTransformer``; None is all columns.
        ``student_features`` may also be a feature selector: one that is not fitted yet is fitted on each
        training fold.
    cv : int, splitter or iterable
        Folds. With pairs of folds they must partition the rows; repeats are averaged.
    student_cv : int, splitter or iterable, optional
        Folds of the student with ``cross_fit="folds"`` and ``ensemble=True``; None means ``cv``.
    cross_fit : {"pairs", "folds"}
        ``"pairs"`` fits a teacher per pair of folds: scores, control and gain are honest. ``"folds"`` is the plain
        recipe, cheapest, without any score: ``alpha`` and ``threshold`` must then be numbers.
    alpha : float in [0, 1] or "auto"
        Weight of the true labels in the target. ``"auto"`` chooses from 0, 0.25, 0.5 and the control, and keeps the
        control unless it is beaten by more than one paired standard error.
    temperature : float
        Softens the soft targets. Students with ``fit_soft`` use the two-term loss; elsewhere other values than 1
        need ``alpha=0``, and are undone exactly at prediction.
    loss : {"auto", "cross_entropy", "squared_error", "logit"}
        How the student learns; ``"auto"`` is the best that its family offers.
    ensemble : bool
        Ship the mean of the fold students instead of one student fitted to all rows.
    threshold : float, str, callable or None
        Probability above which the second of two classes is predicted, or the scorer of labels to maximise.
    scoring : str, callable or None
        What ``alpha="auto"`` and the gain are judged by; None is log-loss, or squared error.
    memory : str, joblib.Memory or None
        Caches fitted teachers.
    n_jobs : int or None
        Fits under way at once; boosters share the cores among them.
    random_state : int, RandomState or None
        An integer seeds the folds and every clone; None leaves the models' own seeds.
    verbose : int
        Above 0 shows a progress bar over the fits.

    Attributes
    ----------
    student_ : FittedModel
        Predicts from tables with the student's columns.
    control_ : FittedModel
        The same student trained without a teacher, to hold ``student_`` against (not with ``"folds"``).
    teacher_ : FittedModel
        Mean of the fold teachers; predicts from tables with the teacher's columns.
    student_features_ : list
        Names (or positions) of the columns that the student needs.
    soft_targets_ : ndarray of shape (n_samples, n_classes) or (n_samples, n_outputs)
        The teacher's out-of-fold predictions, in the order of the rows and of ``classes_``; NaN for rows that no
        fold tests.
    classes_ : ndarray of shape (n_classes,)
    alpha_ : float
        The weight used; 1 where the control was kept.
    threshold_ : float or None
    student_predictions_, control_predictions_ : ndarray like ``soft_targets_``
        Honest predictions of the chosen student and of the control for every row (not with ``"folds"``).
    teacher_score_, student_score_, control_score_ : float
        By ``scoring``, higher is better. With ``alpha="auto"`` the student's choice is made again for each fold
        without it.
    distillation_gain_, distillation_gain_se_ : float
        ``student_score_ - control_score_``, and its paired standard error.
    alpha_scores_ : dict
        Score of every alpha tried and of the control.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    References
    ----------
    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
    Lopez-Paz, Bottou, Schoelkopf and Vapnik, "Unifying distillation and privileged information", ICLR 2016.

    Examples
    --------
    >>> from lightgbm import LGBMClassifier
    >>> from sklearn.datasets import load_breast_cancer
    >>> from tabkd import DistilledEstimator
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> deployable = [name for name in X.columns if name.startswith("mean")]
    >>> model = DistilledEstimator(
    ...     LGBMClassifier(n_estimators=50), LGBMClassifier(n_estimators=10),
    ...     student_features=deployable, random_state=0,
    ... ).fit(X, y)
    >>> model.predict_proba(X[deployable]).shape
    (569, 2)
    """

    def __init__(
        self,
        teacher: Any,
        student: Any,
        *,
        teacher_features: Any = None,
        student_features: Any = None,
        cv: Any = 5,
        student_cv: Any = None,
        cross_fit: str = "pairs",
        alpha: float | str = "auto",
        temperature: float = 1.0,
        loss: str = "auto",
        ensemble: bool = False,
        threshold: Any = None,
        scoring: Any = None,
        memory: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.teacher_features = teacher_features
        self.student_features = student_features
        self.cv = cv
        self.student_cv = student_cv
        self.cross_fit = cross_fit
        self.alpha = alpha
        self.temperature = temperature
        self.loss = loss
        self.ensemble = ensemble
        self.threshold = threshold
        self.scoring = scoring
        self.memory = memory
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        soft_targets: Any = None,
    ) -> Self:
        """Fit teachers, students and the control, choose, and fit what ships.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
            pandas or polars frame, or array: the columns of teacher and student.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
            Reaches teacher, student, control and scores.
        groups : array-like of shape (n_samples,), optional
            Rows of a group stay in one fold, and standard errors are clustered by them.
        soft_targets : array-like of shape (n_samples, n_classes) or (n_samples, n_outputs), optional
            Made elsewhere, in the order of the sorted labels; no teacher is fitted, and nothing is scored.

        Returns
        -------
        DistilledEstimator

        Raises
        ------
        ValueError
            If a parameter or the data do not fit; the message says what, and how to mend it.
        """
        rows = read_rows(X, y, sample_weight, groups, regression=is_regressor(self.teacher))
        self._check(rows.targets, soft_targets is not None)
        validate_data(self, rows.X, skip_check_array=True)
        if rows.targets.classes is not None:
            self.classes_ = rows.targets.classes
        scored = self.cross_fit == "pairs" and soft_targets is None
        seed = read_seed(self.random_state)
        folds = self._folds(rows, seed, self.cv, partition=scored)
        students = self._students(rows, seed)
        with self._fits(rows, folds, students, soft_targets) as run:
            if soft_targets is not None:
                self.soft_targets_, per_fold = check_soft_targets(soft_targets, rows.targets), None
            else:
                per_fold = self._teach(rows, folds, seed, run)
                self._diagnose(rows, students.encoder)
            rows = replace(rows, targets=replace(rows.targets, soft=self.soft_targets_))
            if scored:
                fits, choice, control = self._choose(rows, folds, students, per_fold, run)
                members = self._ship(rows, students, choice.name, fits[choice.name].members, run)
                self.control_ = self._ship_control(rows, students, choice, control, members, fits, run)
                self._warn_if_worse()
            else:
                choice = Choice(float(self.alpha), self.threshold)
                members = self._learn_unscored(rows, students, seed, run)
        self.alpha_ = choice.name if choice.name in students.distilled else 1.0
        self.threshold_ = choice.threshold
        self.student_ = fitted_model(students.encoder, members, rows.targets.classes, choice.threshold)
        self.student_features_ = self.student_.features
        return self

    def fit_control(self, X: Any, y: Any, *, sample_weight: Any = None, groups: Any = None) -> FittedModel:
        """Fit the control alone: the same student, folds and seeds, without a teacher.

        With pairs of folds ``fit`` has done so already and keeps it as ``control_``. Parameters are those of
        :meth:`fit`; the estimator itself stays as it is.

        Returns
        -------
        FittedModel
            Single or an ensemble as this estimator is, with a threshold of its own where one is to be tuned.

        Examples
        --------
        >>> from lightgbm import LGBMClassifier
        >>> from sklearn.datasets import load_breast_cancer
        >>> from tabkd import DistilledEstimator
        >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
        >>> model = DistilledEstimator(LGBMClassifier(), LGBMClassifier(n_estimators=10), random_state=0)
        >>> model.fit_control(X, y).predict_proba(X).shape
        (569, 2)
        """
        rows = read_rows(X, y, sample_weight, groups, regression=is_regressor(self.teacher))
        seed = read_seed(self.random_state)
        students = self._students(rows, seed)
        controls = students.controls
        name, threshold = next(iter(controls)), self.threshold
        run = {"groups": rows.groups, "n_jobs": self.n_jobs}
        X_student = students.encoder.transform(rows.X)
        members: list[Member] | None = None
        if self.ensemble or len(controls) > 1 or is_tuned(threshold):
            cv = self.cv if self.student_cv is None else self.student_cv
            folds = self._folds(rows, seed, cv, partition=True)
            targets = [rows.targets] * len(folds.splits)
            fits = cross_fit_students(controls, X_student, targets, folds, **run)
            predictions = {name: fit.predictions for name, fit in fits.items()}
            everyone = np.arange(len(rows.y))
            judge = self._judge(rows, seed)
            choice, _ = judge.choose(predictions, predictions, everyone, forced=True)
            name, members = choice.name, fits[choice.name].members
            threshold = judge.threshold_for(predictions[name], everyone)
        shipped = self._ship(rows, students, name, members, run)
        return fitted_model(students.encoder, shipped, rows.targets.classes, threshold)

    # ---------------------------------------------------------------- settings

    def _check(self, targets: Targets, given: bool) -> None:
        """Check the parameters against each other and against the target."""
        n_classes = None if targets.classes is None else len(targets.classes)
        student = last_step(self.student)
        if self.cross_fit not in ("pairs", "folds"):
            raise ValueError(f'cross_fit must be "pairs" or "folds", got {self.cross_fit!r}.')
        if self.alpha != "auto" and not (isinstance(self.alpha, Real) and 0 <= self.alpha <= 1):
            raise ValueError(f'alpha must be in [0, 1] or "auto", got {self.alpha!r}. Try 0.5.')
        check_temperature(self.temperature)
        check_threshold(self.threshold, n_classes)
        if n_classes is not None and not given and not hasattr(self.teacher, "predict_proba"):
            raise ValueError(
                f"The teacher {type(self.teacher).__name__} has no predict_proba, which gives the soft targets. Use "
                "one that has, or wrap it in CalibratedClassifierCV."
            )
        if n_classes is None and not is_regressor(student) and not hasattr(student, "fit_soft"):
            raise ValueError(
                f"The teacher is a regressor, but the student {type(student).__name__} is not. Use a regressor."
            )
        adapt(clone_estimator(student), self.loss, targets.classes)  # raises before any teacher is fitted
        if self.temperature != 1 and n_classes is None:
            raise ValueError(f"temperature={self.temperature} is for classification. Use temperature=1.0.")
        if self.temperature != 1 and self.alpha != 0 and not hasattr(student, "fit_soft"):
            raise ValueError(
                f"temperature={self.temperature} cannot be undone on targets blended with true labels "
                f"(alpha={self.alpha!r}). Use alpha=0, or temperature=1.0."
            )
        scored = self.cross_fit == "pairs" and not given
        why = "soft_targets= was given" if given else 'of cross_fit="folds"'
        for name in ("alpha", "threshold"):
            value = getattr(self, name)
            if not scored and is_tuned(value):
                raise ValueError(
                    f"{name}={value!r} needs an honest score, and there is none because {why}. Give {name} as a "
                    'number, or use cross_fit="pairs" with a teacher.'
                )
        if self.student_cv is not None and scored:
            raise ValueError(
                'student_cv only exists with cross_fit="folds": pairs of folds are shared by teacher and student. '
                "Use student_cv=None."
            )

    def _folds(self, rows: Rows, seed: int | None, cv: Any, *, partition: bool) -> Folds:
        classifier = rows.targets.classes is not None
        folds = make_folds(
            cv, rows.X, rows.y, groups=rows.groups, classifier=classifier, seed=seed, partition=partition
        )
        if partition and cv is self.cv and self._pairs:
            check_classes_outside_pairs(folds, rows.targets)
        return folds

    @property
    def _pairs(self) -> bool:
        return self.cross_fit == "pairs" and not isinstance(self.teacher, FrozenEstimator)

    def _students(self, rows: Rows, seed: int | None) -> _Students:
        """The student's columns, and everything that may be fitted to them."""
        spec, selector = self.student_features, None
        if hasattr(spec, "get_support"):
            try:
                spec = np.flatnonzero(spec.get_support())
            except (ValueError, AttributeError):  # NotFittedError is a ValueError
                spec, selector = None, self.student_features
        positions = column_positions(rows.X, spec, "student_features")
        encoder = ColumnEncoder.fit(rows.X, positions, encoding_for(self.student), text_columns(self.student))
        template = Learner(self.student, selector=selector, seed=seed)
        distilled = {
            alpha: replace(template, loss=self.loss, alpha=alpha, temperature=self.temperature)
            for alpha in (ALPHAS if self.alpha == "auto" else (float(self.alpha),))
        }
        controls = {"control": template}
        if rows.targets.classes is not None and is_regressor(last_step(self.student)):
            controls = {"control": replace(template, loss=self.loss)}
            family_classifier = classifier_of(self.student)
            if family_classifier is not None:
                controls["classifier"] = replace(template, estimator=family_classifier)
        return _Students(encoder, distilled, controls)

    def _judge(self, rows: Rows, seed: int | None) -> Judge:
        return Judge(rows.targets, groups=rows.groups, scoring=self.scoring, threshold=self.threshold, seed=seed)

    @contextmanager
    def _fits(self, rows: Rows, folds: Folds, students: _Students, soft_targets: Any) -> Iterator[dict[str, Any]]:
        """What every cross-fit shares, with a progress bar over all the fits to come."""
        n_splits = len(folds.splits)
        frozen = isinstance(self.teacher, FrozenEstimator)
        taught = soft_targets is not None or frozen
        n_teachers = 0 if taught else len(list(folds.pairs())) if self.cross_fit == "pairs" else n_splits
        scored = self.cross_fit == "pairs" and soft_targets is None
        n_students = n_splits * len(students.everyone) if scored else n_splits * self.ensemble
        n_shipped = 0 if self.ensemble else 1 + scored
        with tqdm(total=n_teachers + n_students + n_shipped, disable=not self.verbose, unit="fit") as bar:
            yield {
                "groups": rows.groups,
                "n_jobs": self.n_jobs,
                "progress": bar.update,
                "teacher": self.teacher if frozen else None,
            }

    # ---------------------------------------------------------------- the recipe's steps

    def _teach(self, rows: Rows, folds: Folds, seed: int | None, run: dict[str, Any]) -> list[np.ndarray] | None:
        """Fit the teachers; return the soft targets of each scored student, where students are scored."""
        frozen = isinstance(self.teacher, FrozenEstimator)
        positions = column_positions(rows.X, self.teacher_features, "teacher_features")
        encoding = "raw" if frozen else encoding_for(self.teacher)
        encoder = ColumnEncoder.fit(rows.X, positions, encoding, text_columns(self.teacher))
        X_teacher = encoder.transform(rows.X)
        if frozen:
            member = frozen_member(self.teacher, rows.targets.classes)
            self.teacher_ = fitted_model(encoder, [member], rows.targets.classes)
            self.soft_targets_ = member.predictions(member.raw(X_teacher))
            return [self.soft_targets_] * len(folds.splits)
        learner = Learner(self.teacher, linked=False, seed=seed)
        fit = cross_fit_teacher(
            learner, X_teacher, rows.targets, folds, pairs=self._pairs, **{**run, "memory": self.memory}
        )
        self.teacher_ = fitted_model(encoder, fit.members, rows.targets.classes)
        self.soft_targets_ = fit.soft_targets
        return fit.per_fold

    def _diagnose(self, rows: Rows, student: ColumnEncoder) -> None:
        known = np.flatnonzero(~np.isnan(self.soft_targets_).any(axis=1))
        targets, soft = rows.targets.take(known), self.soft_targets_[known]
        warn_of_shift(targets, soft)
        privileged = [p for p in self.teacher_.encoder.positions if p not in student.positions]
        warn_of_leaks(rows_of(rows.X, known), privileged, targets, soft)

    def _choose(
        self, rows: Rows, folds: Folds, students: _Students, per_fold: Any, run: dict[str, Any]
    ) -> tuple[dict[Any, StudentFit], Choice, Choice]:
        """Score everyone who may ship, choose one, and set the scores and the gain."""
        targets = [replace(rows.targets, soft=soft) for soft in per_fold]
        X_student = students.encoder.transform(rows.X)
        fits = cross_fit_students(students.everyone, X_student, targets, folds, **run)
        distilled = {name: fits[name].predictions for name in students.distilled}
        controls = {name: fits[name].predictions for name in students.controls}
        judge = self._judge(rows, read_seed(self.random_state))
        forced = self.alpha != "auto"
        everyone = np.arange(len(rows.y))
        choice, control = judge.choose(distilled, controls, everyone, forced=forced)
        choice, control = (
            replace(c, threshold=judge.threshold_for(fits[c.name].predictions, everyone)) for c in (choice, control)
        )
        self.student_predictions_ = fits[choice.name].predictions.mean(axis=0)
        self.control_predictions_ = fits[control.name].predictions.mean(axis=0)
        self.alpha_scores_ = {
            name: judge.best_score(predictions)
            for name, predictions in [*distilled.items(), ("control", controls[control.name])]
        }
        self.teacher_score_ = judge.best_score(self.soft_targets_[None])
        self.teacher_.threshold = judge.threshold_for(self.soft_targets_[None], everyone)
        student, held = judge.nested(distilled, controls, folds, forced=forced)
        self.student_score_, self.control_score_ = judge.score(student), judge.score(held)
        self.distillation_gain_, self.distillation_gain_se_ = judge.compare(student, held)
        return fits, choice, control

    def _warn_if_worse(self) -> None:
        if self.alpha != "auto" and self.distillation_gain_ < -self.distillation_gain_se_:
            warnings.warn(
                f"With alpha={self.alpha} the distilled student scores {-self.distillation_gain_:.4g} (standard error "
                f"{self.distillation_gain_se_:.2g}) below the same student without a teacher. "
                'alpha="auto" keeps the better one.',
                stacklevel=3,
            )

    def _ship(
        self, rows: Rows, students: _Students, name: Any, scored: list[Member] | None, run: dict[str, Any]
    ) -> list[Member]:
        """The scored students themselves, or one fitted to all rows."""
        if self.ensemble and scored is not None:
            return scored
        return self._fit_rows(rows, students.encoder, students.everyone[name], [np.arange(len(rows.y))], run)

    def _ship_control(
        self,
        rows: Rows,
        students: _Students,
        choice: Choice,
        control: Choice,
        members: list[Member],
        fits: dict[Any, StudentFit],
        run: dict[str, Any],
    ) -> FittedModel:
        if choice.name != control.name:
            members = self._ship(rows, students, control.name, fits[control.name].members, run)
        elif not self.ensemble:
            run["progress"](1)
        return fitted_model(students.encoder, members, rows.targets.classes, control.threshold)

    def _learn_unscored(self, rows: Rows, students: _Students, seed: int | None, run: dict[str, Any]) -> list[Member]:
        """The plain recipe: one student on all rows that have soft targets, or one per training fold."""
        (learner,) = students.distilled.values()
        known = np.flatnonzero(~np.isnan(self.soft_targets_).any(axis=1))
        subsets = [known]
        if self.ensemble:
            cv = self.cv if self.student_cv is None else self.student_cv
            folds = self._folds(rows, seed, cv, partition=False)
            subsets = [np.intersect1d(train, known) for train, _ in folds.splits]
        return self._fit_rows(rows, students.encoder, learner, subsets, run)

    def _fit_rows(
        self,
        rows: Rows,
        encoder: ColumnEncoder,
        learner: Learner,
        subsets: list[np.ndarray],
        run: dict[str, Any],
    ) -> list[Member]:
        jobs = [Job((learner,), subset, rows.targets.take(subset)) for subset in subsets]
        return [member for (member,), _ in cross_fit(jobs, encoder.transform(rows.X), **run)]

    # ---------------------------------------------------------------- prediction

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels or values.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
            The student's columns, or the full table; by name, extra columns and order do not matter.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        check_is_fitted(self, "student_")
        return self.student_.predict(self._named_like_fit(X))

    @available_if(_is_classifier)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
            The student's columns, or the full table.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In [0, 1]; rows sum to 1.
        """
        check_is_fitted(self, "student_")
        return self.student_.predict_proba(self._named_like_fit(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score by ``scoring`` if it is set, else by accuracy or R².

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        if self.scoring is not None:
            weighted = {} if sample_weight is None else {"sample_weight": sample_weight}
            return check_scoring(self, scoring=self.scoring)(self, X, y, **weighted)
        metric = r2_score if is_regressor(self.teacher) else accuracy_score
        return metric(y, self.predict(X), sample_weight=sample_weight)

    def _named_like_fit(self, X: Any) -> Any:
        table = as_table(X)
        if has_names(table) != hasattr(self, "feature_names_in_"):
            lacks, had = ("does not have valid", "with") if hasattr(self, "feature_names_in_") else ("has", "without")
            warnings.warn(
                f"X {lacks} feature names, but {type(self).__name__} was fitted {had} feature names",
                stacklevel=3,
            )
        return table

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "student_")

    def __sklearn_clone__(self) -> Self:
        params = self.get_params(deep=False)
        for name, value in params.items():
            own = hasattr(value, "get_params") and not isinstance(value, type)
            params[name] = clone_estimator(value) if own else clone(value, safe=False)
        new = type(self)(**params)
        if hasattr(self, "_metadata_request"):
            new._metadata_request = copy.deepcopy(self._metadata_request)
        return new

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        teacher, student = get_tags(self.teacher), get_tags(last_step(self.student))
        tags.estimator_type = teacher.estimator_type
        tags.classifier_tags = ClassifierTags() if teacher.classifier_tags else None
        tags.regressor_tags = RegressorTags() if teacher.regressor_tags else None
        tags.target_tags.required = True
        tags.target_tags.multi_output = teacher.estimator_type == "regressor"
        tags.input_tags.allow_nan = teacher.input_tags.allow_nan and student.input_tags.allow_nan
        tags.input_tags.string = tags.input_tags.categorical = True
        return tags


@dataclass(frozen=True)
class _Students:
    """The student's columns and all that may be fitted to them, by alpha or name."""

    encoder: ColumnEncoder
    distilled: dict[Any, Learner]
    controls: dict[Any, Learner]

    @property
    def everyone(self) -> dict[Any, Learner]:
        return {**self.controls, **self.distilled}

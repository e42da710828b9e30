"""Optuna over teacher, student and distillation, judged by the honest score."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from tabkd._compat import clone_estimator, is_regressor, read_seed
from tabkd.checks import check_whole
from tabkd.estimator import DistilledEstimator
from tabkd.rows import forget, read_rows
from tabkd.settings import cross_fit_of, is_frozen
from tabkd.spaces import Space, check_space, default_space, distillation_space, parameter_names
from tabkd.stages import Stage, problem
from tabkd.studies import quiet_optuna
from tabkd.trials import MEASURES, Trials

__all__ = ["DistillationSearchCV"]


def _refitted(method: str) -> Callable[[Any], bool]:
    def check(search: Any) -> bool:
        getattr(search.best_estimator_ if hasattr(search, "best_estimator_") else search.estimator, method)
        return True

    return check


class DistillationSearchCV(MetaEstimatorMixin, BaseEstimator):
    """Search the parameters of teacher, student and distillation with Optuna, by the honest score.

    First teachers, each by its own out-of-fold score; then students and distillation by the score on pairs of folds,
    with the best teacher's soft targets made once: no trial of a student fits a teacher. The first trial of either
    stage is teacher or student as given, which stays unless something else is better also where the choice is made
    again for each fold without it; and what both stages found is held against the whole estimator as it was given,
    because a better teacher may be worse for the student.

    Parameters
    ----------
    estimator : DistilledEstimator
        With pairs of folds. Its ``scoring`` is what the search maximises.
    space : dict, callable or None
        What students and distillation are drawn from: nested parameter names (``"student__num_leaves"``, ``"alpha"``)
        to Optuna distributions, to lists of choices, or to dicts of choices by name; or a function of an Optuna trial
        that returns values by name. None is a default for the student's family, with ``alpha``, and with
        ``teacher_features`` where the teacher has more columns than the student: all of them, the student's, the
        privileged ones, or the student's and those of the privileged ones that matter most
        (:class:`~tabkd.SelectPrivileged`).
    teacher_space : dict, callable or None
        The same for teachers (``"teacher__num_leaves"``). ``{}`` keeps the teacher as it is.
    n_trials : int
        Trials that a study shall hold when it is done, those of earlier runs and other processes included.
    n_teacher_trials : int or None
        The same for teachers; None is ``n_trials``.
    timeout : float or None
        Seconds for the whole search; none is started after them.
    objectives : sequence of {"score", "latency", "size", "n_features"}
        ``"score"`` and what else the exported student costs: microseconds for one row, bytes, columns. More than one
        gives ``pareto_front_``, and no pruning.
    study_name : str
        Studies are called so in the storage, with the stage behind it.
    storage : optuna.storages.BaseStorage, str or None
        Where trials are kept: a URL (``"sqlite:///study.db"``), a path of a journal file, or None for memory. Trials
        that are there already count, and those that a killed process left are done again. Several processes may
        search in one storage.
    sampler : optuna.samplers.BaseSampler or None
        None is TPE with ``random_state``.
    pruner : optuna.pruners.BasePruner or None
        Asked after every fold; None is Optuna's median rule.
    callbacks : sequence of callable
        Optuna's own, such as those for MLflow and Weights & Biases.
    refit : bool or callable
        Whether to fit the best parameters on all rows; or a function of ``cv_results_`` that returns the index of the
        trial to take.
    n_jobs : int
        Trials under way at once, in threads; with more than one the order of trials is left to chance.
    random_state : int, RandomState or None
    verbose : int
        1 shows a progress bar, 2 Optuna's log too.

    Attributes
    ----------
    best_params_ : dict
        Of all stages, by nested name; empty where the estimator stays as it was.
    best_score_ : float
        What to expect on new rows: everything that was chosen, the estimator as it was given included, is chosen again
        for each fold without it. It is below the best trial's own mean, which is the luckiest of many, and may be below
        ``given_score_`` where nothing better was found. With a function as ``refit`` it is the mean of the trial that
        this took.
    best_index_ : int or None
        Row of ``cv_results_``; None where the estimator stays as it was given, with its own teacher rather than the one
        that was found.
    given_score_ : float
        Score of the estimator as it was given, on the same folds; NaN where it cannot be scored.
    best_estimator_ : DistilledEstimator
        Fitted with the best parameters (if ``refit``). Its own scores and gain are of the folds that it was chosen by,
        and so too good; ``best_score_`` is not.
    cv_results_, teacher_results_ : dict of arrays
        As scikit-learn's, one entry per trial of students and of teachers; those that were pruned score NaN.
    pareto_front_ : DataFrame
        Trials that no other beats in every objective.
    study_, teacher_study_ : optuna.Study
        The teachers' is None where there was no search for one.
    n_splits_ : int
    refit_time_ : float
        Seconds.

    References
    ----------
    Akiba et al., "Optuna: a next-generation hyperparameter optimization framework", KDD 2019.
    Cawley and Talbot, "On over-fitting in model selection and subsequent selection bias in performance evaluation",
    JMLR 2010.

    Examples
    --------
    >>> from lightgbm import LGBMClassifier
    >>> from optuna.distributions import IntDistribution
    >>> from sklearn.datasets import load_breast_cancer
    >>> from tabkd import DistillationSearchCV, DistilledEstimator
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> model = DistilledEstimator(
    ...     LGBMClassifier(n_estimators=20), LGBMClassifier(n_estimators=10),
    ...     student_features=[name for name in X if name.startswith("mean")], random_state=0,
    ... )
    >>> search = DistillationSearchCV(
    ...     model, {"student__num_leaves": IntDistribution(4, 31)}, teacher_space={}, n_trials=3, random_state=0
    ... ).fit(X, y)
    >>> len(search.cv_results_["params"])
    3
    """

    def __init__(
        self,
        estimator: Any,
        space: Space | None = None,
        *,
        teacher_space: Space | None = None,
        n_trials: int = 50,
        n_teacher_trials: int | None = None,
        timeout: float | None = None,
        objectives: Sequence[str] = ("score",),
        study_name: str = "tabkd",
        storage: Any = None,
        sampler: Any = None,
        pruner: Any = None,
        callbacks: Sequence[Callable[..., None]] = (),
        refit: Any = True,
        n_jobs: int = 1,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.space = space
        self.teacher_space = teacher_space
        self.n_trials = n_trials
        self.n_teacher_trials = n_teacher_trials
        self.timeout = timeout
        self.objectives = objectives
        self.study_name = study_name
        self.storage = storage
        self.sampler = sampler
        self.pruner = pruner
        self.callbacks = callbacks
        self.refit = refit
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None, groups: Any = None, X_unlabeled: Any = None) -> Self:
        """Search, and fit the best parameters on all rows.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
        groups : array-like of shape (n_samples,), optional
        X_unlabeled : table of shape (n_unlabeled, n_features), optional
            Rows without labels, as for :meth:`DistilledEstimator.fit`.

        Returns
        -------
        DistillationSearchCV

        Raises
        ------
        ValueError
            If a parameter or the data do not fit, the storage cannot be used, or every trial fails.
        """
        self._check()
        rows = read_rows(X, y, sample_weight, groups, regression=is_regressor(self.estimator))
        forget(self)
        started, seed = time.monotonic(), read_seed(self.random_state)
        with tempfile.TemporaryDirectory() as folder, quiet_optuna(self.verbose):
            memory = self.estimator.memory or joblib.Memory(folder, verbose=0)
            trials = Trials(self.estimator, rows, memory, seed, X_unlabeled)
            self.n_splits_ = len(trials.folds.splits)
            teacher = self._search_teachers(trials, seed, started)
            students = self._search_students(trials, teacher, seed, started)
            self.best_params_ = self._choose(students, trials, teacher)
            if self.refit:
                began = time.monotonic()
                chosen = clone_estimator(self.estimator)
                chosen.set_params(**self.best_params_, cv=trials.folds.splits, memory=memory)
                chosen.fit(X, y, sample_weight=sample_weight, groups=groups, X_unlabeled=X_unlabeled)
                self.best_estimator_ = chosen.set_params(cv=self.estimator.cv, memory=self.estimator.memory)
                self.refit_time_ = time.monotonic() - began
        return self

    # ---------------------------------------------------------------- stages

    def _search_teachers(self, trials: Trials, seed: int | None, started: float) -> dict[str, Any]:
        """Parameters of the best teacher."""
        self.teacher_study_, space = None, self.teacher_space
        n_trials = self.n_trials if self.n_teacher_trials is None else self.n_teacher_trials
        if is_frozen(self.estimator) or isinstance(self.estimator.teacher, list | tuple) or n_trials == 0:
            return {}
        if space is None:
            space = default_space(self.estimator.teacher, "teacher", rounds=(0.5, 2.0))
        if not space:
            return {}
        stage = self._stage("teacher", space, ("score",), trials, seed)
        share = n_trials / (n_trials + self.n_trials)
        stage.run(
            lambda params, report: (trials.teacher(params, report), {}),
            n_trials,
            None if self.timeout is None else started + self.timeout * share,
        )
        self.teacher_study_, self.teacher_results_ = stage.study, stage.results()
        return self.teacher_results_["params"][stage.choose()[0]]

    def _search_students(self, trials: Trials, teacher: dict[str, Any], seed: int | None, started: float) -> Stage:
        """Trials of students and distillation."""
        space = self.space
        if space is None:
            space = distillation_space(self.estimator, trials.rows, costs=len(self.objectives) > 1)
        # Scores with one teacher say nothing of another: each has a study of its own.
        name = "student" if not teacher else f"student-{joblib.hash(sorted(map(str, teacher.items())))[:8]}"
        stage = self._stage(name, space, tuple(self.objectives), trials, seed)
        measure = len(self.objectives) > 1
        stage.run(
            lambda params, report: trials.student({**teacher, **params}, report, measure=measure),
            self.n_trials,
            None if self.timeout is None else started + self.timeout,
        )
        self.study_, self.cv_results_, self.pareto_front_ = stage.study, stage.results(), stage.front()
        return stage

    def _choose(self, stage: Stage, trials: Trials, teacher: dict[str, Any]) -> dict[str, Any]:
        """Parameters of all stages; none where the estimator as it was given is not beaten."""
        whole = self._scored_as_given(trials) if teacher else None
        self.given_score_ = stage.given() if not teacher else np.nan if whole is None else float(np.mean(whole))
        if callable(self.refit):
            index: int | None = self._index_of_refit()
            self.best_score_ = float(self.cv_results_["mean_test_score"][index])
        else:
            index, self.best_score_ = stage.choose(whole)
        self.best_index_ = index
        return {} if index is None else teacher | self.cv_results_["params"][index]

    def _scored_as_given(self, trials: Trials) -> list[float] | None:
        """Score of each split, because a teacher that was found may be worse for the student."""
        try:
            return trials.student({})[0]
        except Exception as error:  # as trials may fail
            warnings.warn(
                f"The estimator as it was given cannot be scored ({type(error).__name__}: {error}), so the parameters "
                "that were found are kept without being held against it.",
                stacklevel=4,
            )
            return None

    def _index_of_refit(self) -> int:
        """The trial that a function takes."""
        scores = self.cv_results_["mean_test_score"]
        index = self.refit(self.cv_results_)
        if not 0 <= index < len(scores) or np.isnan(scores[index]):
            raise ValueError(
                f"refit returned {index!r}, which is no trial that was scored: there are {len(scores)}, and those that "
                "were pruned score NaN. Return a place in cv_results_, by np.nanargmax(...) for one."
            )
        return int(index)

    def _stage(self, name: str, space: Space, objectives: Sequence[str], trials: Trials, seed: int | None) -> Stage:
        return Stage(
            self, name, space, names=parameter_names(self.estimator), objectives=objectives,
            problem=problem(self.estimator, trials.rows, trials.folds, **trials.given), folds=trials.folds, seed=seed,
            teacher=name == "teacher",
        )  # fmt: skip

    def _check(self) -> None:
        if not isinstance(self.estimator, DistilledEstimator):
            raise ValueError(
                f"estimator must be a DistilledEstimator, got {self.estimator!r}. A search of another estimator is "
                "scikit-learn's or Optuna's."
            )
        if cross_fit_of(self.estimator) != "pairs":
            raise ValueError(
                f'A search needs an honest score, which an estimator with cross_fit="{cross_fit_of(self.estimator)}" '
                'has not. Use "pairs".'
            )
        unknown = [name for name in self.objectives if name not in ("score", *MEASURES)]
        if unknown or "score" not in self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f'objectives must be "score" and any of {list(MEASURES)}, got {list(self.objectives)!r}.')
        check_whole("n_trials", self.n_trials, 1, 50)
        if self.n_teacher_trials is not None:
            check_whole("n_teacher_trials", self.n_teacher_trials, 0, 50)
        names = parameter_names(self.estimator)
        check_space(self.space or {}, names, teacher=False)
        check_space(self.teacher_space or {}, names, teacher=True)
        if self.space is not None and not callable(self.space) and not self.space:
            raise ValueError("space is empty, so there is nothing to search. Name a parameter, or give None.")

    # ---------------------------------------------------------------- the fitted search

    @available_if(_refitted("predict"))
    def predict(self, X: Any) -> np.ndarray:
        """Predict labels or values with the best estimator.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._best().predict(X)

    @available_if(_refitted("predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities with the best estimator.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return self._best().predict_proba(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score the best estimator by its ``scoring`` if it has one, else by accuracy or R².

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        return self._best().score(X, y, sample_weight)

    def summary(self) -> pd.DataFrame:
        """Scores of the best estimator's teacher, control and student (:meth:`DistilledEstimator.summary`)."""
        return self._best().summary()

    def to_onnx(self, path: Any, **options: Any) -> Path:
        """Write the best estimator as one file (:meth:`DistilledEstimator.to_onnx`).

        Parameters
        ----------
        path : str or Path
        **options

        Returns
        -------
        Path
        """
        return self._best().to_onnx(path, **options)

    def _best(self) -> DistilledEstimator:
        check_is_fitted(self)
        if not self.refit:
            raise AttributeError("This search was made with refit=False, which leaves nothing to predict by. Use True.")
        return self.best_estimator_

    @property
    def classes_(self) -> np.ndarray:
        """Labels in the order of the columns of ``predict_proba``."""
        return self.best_estimator_.classes_

    @property
    def n_features_in_(self) -> int:
        """Columns of the table that was fitted."""
        return self.best_estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Their names, if they have any."""
        return self.best_estimator_.feature_names_in_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "best_params_")

    def __sklearn_tags__(self) -> Tags:
        return get_tags(self.estimator)

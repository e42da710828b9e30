"""``DistilledEstimator``: the recipe."""

from __future__ import annotations

import copy
import warnings
from typing import Any, Self

from sklearn.base import BaseEstimator
from sklearn.utils import ClassifierTags, RegressorTags, Tags, get_tags

from tabkd._compat import clone_estimator, is_fitted_selector, is_regressor, last_step, made_again
from tabkd.deployed import Deployed
from tabkd.holdout import HoldoutRecipe
from tabkd.models import FittedModel
from tabkd.recipe import Recipe, Shipping
from tabkd.rows import begin_fit, read_rows
from tabkd.settings import check_models, cross_fit_of, leader

__all__ = ["DistilledEstimator"]


class DistilledEstimator(Deployed, BaseEstimator):
    """Train a teacher on every column, and a student on those that will exist at prediction time.

    The teacher labels rows that it never saw (soft targets); the student learns from them, blended with the true
    labels. Everything that guides a choice is scored on pairs of folds, so that no label leaks through the
    teacher, and against the *control*: the same student trained without a teacher.

    Parameters
    ----------
    teacher : estimator or list of estimator
        A classifier with ``predict_proba``, or a regressor; decides which of the two this estimator is.
        ``FrozenEstimator(teacher)`` is used as it is: you assert that it saw none of the rows of ``fit``. Several
        teachers are averaged.
    student : estimator
        Anything that :mod:`tabkd.students` can teach: LightGBM, XGBoost, CatBoost, scikit-learn classifiers that
        take ``sample_weight``, any regressor, a ``Pipeline`` or a search that ends in one of these, or an object
        with ``fit_soft``.
    teacher_features, student_features : column specification, selector or None
        Names, positions, a slice, a mask or a callable, as in ``ColumnTransformer``; None is all columns. A feature
        selector that is not fitted yet is fitted on each training fold, for the teacher on the rows of each teacher
        (:class:`~tabkd.SelectPrivileged`).
    cv : int, splitter or iterable
        Folds. With pairs of folds they must partition the rows; repeats are averaged.
    student_cv : int, splitter or iterable, optional
        Folds of the student with ``cross_fit="folds"`` and ``ensemble=True``; None means ``cv``.
    cross_fit : {"auto", "pairs", "holdout", "folds"}
        ``"pairs"`` fits a teacher per pair of folds: scores, control and gain are honest. ``"holdout"`` fits one
        teacher, one control and one student per ``alpha`` on the first training fold, scores them on the rows left
        out, and ships them. ``"folds"`` is the plain recipe, cheapest, without any score: ``alpha`` and ``threshold``
        must then be numbers. ``"auto"`` is ``"holdout"`` for networks of ``tabkd.neural``
        but ``TabularMLP``, ``"pairs"`` for everything else.
    alpha : float in [0, 1] or "auto"
        Weight of the true labels in the target. ``"auto"`` chooses from 0, 0.25, 0.5 and the control, and keeps the
        control unless it is beaten by more than one paired standard error, also where the choice is made again for
        each fold without it (``distillation_gain_``). With a transfer set or
        imputed columns, which the control lacks, it may be 1; with ``"holdout"`` it is 0.1 or the control.
    temperature : float
        Softens the soft targets. Students with ``fit_soft`` use the two-term loss; elsewhere other values than 1
        need ``alpha=0``, and are undone exactly at prediction.
    loss : {"auto", "cross_entropy", "squared_error", "logit"}
        How the student learns; ``"auto"`` is the best that its family offers.
    targets : {"soft", "trusted", "hard"}
        What of the teacher's answers is learnt: the probabilities; the same, moved to the true label where they
        contradict it (:func:`tabkd.targets.trusted`); or pseudo-labels, the likeliest class alone.
    transfer : None, "munge", "spans", Munge, TextSpans or "self-training"
        Rows without labels to learn from as well: synthetic ones made from the training rows of each fold
        (:class:`~tabkd.Munge` of tables, :class:`~tabkd.TextSpans` of texts), or those of ``fit(..., X_unlabeled=)``,
        which need no setting where the teacher can label them; with ``"self-training"`` the student labels those that
        lack the teacher's columns.
    transfer_weight : float
        Weight of a row without label, where a labelled one weighs 1 on average.
    generations : int
        Students of one generation teach the next (self-distillation), at most this often, while the honest score
        improves.
    impute : None, "all", list, int or Impute
        Privileged columns, which the teacher has and the student has not, that the student predicts from its own and
        reads as well: all, some by name, the number of those that matter most, or :class:`~tabkd.Impute`. The control
        does without; ``alpha="auto"`` tries 1, true labels and imputed columns, too.
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
        An integer seeds the folds and every clone, each of several teachers with a seed of its own; None leaves the
        models' own seeds.
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
    generation_ : int
        Generation of the student that ships; 0 where the control was kept.
    threshold_ : float or None
    student_predictions_, control_predictions_ : ndarray like ``soft_targets_``
        Honest predictions of the chosen student and of the control for every row (not with ``"folds"``).
    teacher_score_, student_score_, control_score_ : float
        By ``scoring``, higher is better. With ``alpha="auto"`` the student's choice is made again for each fold
        without it. A teacher, and every entry of ``alpha_scores_``, is scored at the threshold that suits it best
        where the score depends on one.
    distillation_gain_, distillation_gain_se_ : float
        ``student_score_ - control_score_``, and its paired standard error.
    alpha_scores_ : dict
        Score of every alpha tried and of the control; of later generations under ``(alpha, generation)``.
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
        cross_fit: str = "auto",
        alpha: float | str = "auto",
        temperature: float = 1.0,
        loss: str = "auto",
        targets: str = "soft",
        transfer: Any = None,
        transfer_weight: float = 1.0,
        generations: int = 1,
        impute: Any = None,
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
        self.targets = targets
        self.transfer = transfer
        self.transfer_weight = transfer_weight
        self.generations = generations
        self.impute = impute
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
        X_unlabeled: Any = None,
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
        X_unlabeled : table of shape (n_unlabeled, n_features), optional
            Rows without labels, of the columns of teacher and student: the teacher labels them for the student. Where
            they have the student's columns only, ``transfer="self-training"`` lets the student label them.
            ``cross_validate`` slices them like ``X`` if they happen to be as many: give one row more or less.

        Returns
        -------
        DistilledEstimator

        Raises
        ------
        ValueError
            If a parameter or the data do not fit; the message says what, and how to mend it.
        """
        check_models(self)
        rows = read_rows(X, y, sample_weight, groups, regression=is_regressor(leader(self.teacher)))
        # Soft targets made elsewhere leave nothing to score, and no rows to put aside.
        recipe = HoldoutRecipe if cross_fit_of(self) == "holdout" and soft_targets is None else Recipe
        self._follow(recipe(self, rows, soft_targets, X_unlabeled))
        return self

    def _follow(self, recipe: Recipe) -> Shipping:
        """Fit by a recipe for this estimator; a blend also reads what it hands over."""
        begin_fit(self, recipe.rows)
        with recipe.progress():
            teaching = recipe.teach()
            self.soft_targets_ = teaching.soft_targets
            if teaching.teacher is not None:
                self.teacher_ = teaching.teacher
            shipping = recipe.learn(teaching)
        self.student_, self.alpha_, self.generation_ = shipping.student, shipping.alpha, shipping.generation
        self.threshold_, self.student_features_ = shipping.student.threshold, shipping.student.features
        if shipping.scores is not None:
            self.control_ = shipping.control
            for name, value in vars(shipping.scores).items():
                setattr(self, f"{name}_", value)
            self._warn_if_worse()
        return shipping

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
        check_models(self)
        rows = read_rows(X, y, sample_weight, groups, regression=is_regressor(leader(self.teacher)))
        return Recipe(clone_estimator(self).set_params(transfer=None), rows).control_alone()

    def _warn_if_worse(self) -> None:
        if self.alpha != "auto" and self.distillation_gain_ < -self.distillation_gain_se_:
            warnings.warn(
                f"With alpha={self.alpha} the distilled student scores {-self.distillation_gain_:.4g} (standard error "
                f"{self.distillation_gain_se_:.2g}) below the same student without a teacher. "
                'alpha="auto" keeps the better one.',
                stacklevel=4,
            )

    def __sklearn_clone__(self) -> Self:
        params = self.get_params(deep=False)
        for name, value in params.items():
            if name == "teacher" and isinstance(value, list | tuple):
                params[name] = type(value)(map(clone_estimator, value))
                continue
            own = hasattr(value, "get_params") and not isinstance(value, type)
            # A fitted selector is a list of columns: unfitted, it would choose others.
            copied = not own or is_fitted_selector(value)
            params[name] = copy.deepcopy(value) if copied else clone_estimator(value)
        return made_again(self, params)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        teacher, student = get_tags(leader(self.teacher)), get_tags(last_step(self.student))
        tags.estimator_type = teacher.estimator_type
        tags.classifier_tags = ClassifierTags() if teacher.classifier_tags else None
        tags.regressor_tags = RegressorTags() if teacher.regressor_tags else None
        tags.target_tags.required = True
        tags.target_tags.multi_output = teacher.estimator_type == "regressor"
        tags.input_tags.allow_nan = teacher.input_tags.allow_nan and student.input_tags.allow_nan
        tags.input_tags.string = tags.input_tags.categorical = True
        return tags

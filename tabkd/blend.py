"""``BlendedEstimator``: several distilled students, each over several seeds, as one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils import Tags, check_random_state, get_tags
from tqdm.auto import tqdm

from tabkd._compat import BaseComposition, clone_estimator, is_regressor, read_seed
from tabkd.averages import FittedAverage
from tabkd.checks import check_whole
from tabkd.deployed import Deployed
from tabkd.estimator import DistilledEstimator
from tabkd.folds import Folds, make_folds
from tabkd.recipe import Recipe
from tabkd.rows import Rows, begin_fit, read_rows
from tabkd.scoring import Honest, Judge
from tabkd.selection import Weigh, best_weights, blended, chosen_again, greedy_if_better, greedy_weights, mean_of
from tabkd.settings import cross_fit_of
from tabkd.thresholds import check_threshold

__all__ = ["BlendedEstimator"]


class BlendedEstimator(Deployed, BaseComposition):
    """Average distilled students, with weights that were found on their honest predictions.

    Every member is fitted on the same folds, so that the predictions of its students for rows they never saw line up.
    The weights are found on those, and the score says what a blend is worth whose weights were found without the rows
    that are scored.

    Parameters
    ----------
    estimators : list of (str, DistilledEstimator)
        Members with their names, all classifiers or all regressors, with pairs of folds. Their ``cv`` and ``verbose``
        give way to those of the blend, ``random_state`` and ``n_jobs`` where it has some.
    n_seeds : int
        Each member is fitted so many times on the same folds, every time with another seed for its models, and the
        predictions are averaged. Models without randomness gain nothing.
    weights : "auto", "equal" or array-like of shape (n_members,)
        ``"auto"`` adds members with replacement while the honest score rises, and keeps the single best one unless
        the blend chosen again for each fold without it scores higher. Numbers are divided by their sum.
    cv : int, splitter or iterable
        Folds of all members; they must partition the rows.
    scoring : str, callable or None
        What weights are found by; None is log-loss, or squared error. Members choose their ``alpha`` by their own.
    threshold : float, str, callable or None
        Probability above which the second of two classes is predicted, or the scorer of labels to maximise on the
        blended predictions.
    random_state : int, RandomState or None
        An integer seeds the folds and every model, the first copy of a member with the integer itself. None shuffles
        the folds anew and leaves the first copies' own seeds.
    n_jobs : int or None
        Fits under way at once, within one member; None is that of each member.
    verbose : int
        Above 0 shows a progress bar over the members.

    Attributes
    ----------
    estimators_ : list of list of DistilledEstimator
        For each member its ``n_seeds`` fitted copies.
    weights_ : ndarray of shape (n_members,)
        They sum to 1.
    score_ : float
        By ``scoring``, higher is better: what to expect. Weights, threshold, every member's ``alpha`` and whether to
        blend at all are chosen again for each fold without it.
    member_scores_ : dict of str to float
        Score of each member's own mean over its seeds, at the threshold that suits it.
    gain_, gain_se_ : float
        Score of the blend minus that of the best member, both chosen again for each fold without it, and the paired
        standard error. Not above 0 where ``"auto"`` kept a single member.
    student_ : FittedAverage
        Predicts from tables with the columns ``student_features_``.
    threshold_ : float or None
    student_predictions_ : ndarray of shape (n_samples, n_classes) or (n_samples, n_outputs)
        Members' honest predictions for every row, by ``weights_``, which all rows found: what to expect is ``score_``,
        not a score of these.
    student_features_ : list
        Names (or positions) of the columns that members with some weight need.
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    References
    ----------
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models", ICML 2004.

    Examples
    --------
    >>> from lightgbm import LGBMClassifier
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from tabkd import BlendedEstimator, DistilledEstimator
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> teacher, columns = LGBMClassifier(n_estimators=50), list(X.columns[:10])
    >>> blend = BlendedEstimator(
    ...     [
    ...         ("boosted", DistilledEstimator(teacher, LGBMClassifier(n_estimators=10), student_features=columns)),
    ...         ("tree", DistilledEstimator(teacher, DecisionTreeClassifier(max_depth=4), student_features=columns)),
    ...     ],
    ...     random_state=0,
    ... ).fit(X, y)
    >>> blend.predict_proba(X[columns]).shape
    (569, 2)
    """

    def __init__(
        self,
        estimators: Any,
        *,
        n_seeds: int = 1,
        weights: Any = "auto",
        cv: Any = 5,
        scoring: Any = None,
        threshold: Any = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimators = estimators
        self.n_seeds = n_seeds
        self.weights = weights
        self.cv = cv
        self.scoring = scoring
        self.threshold = threshold
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name, with ``deep`` those of the members too: ``member__student__num_leaves``."""
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; a member's own name replaces that member."""
        return self._set_params("estimators", **params)

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None, groups: Any = None) -> Self:
        """Fit every member on the same folds, find the weights and the threshold.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
            pandas or polars frame, or array: the columns of all teachers and students.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
            Reaches every fit and score.
        groups : array-like of shape (n_samples,), optional
            Rows of a group stay in one fold, and standard errors are clustered by them.

        Returns
        -------
        BlendedEstimator

        Raises
        ------
        ValueError
            If a member, a parameter or the data do not fit; the message says what, and how to mend it.
        """
        self._check()
        rows = read_rows(X, y, sample_weight, groups, regression=is_regressor(self))
        classes, seed = rows.targets.classes, read_seed(self.random_state)
        check_threshold(self.threshold, None if classes is None else len(classes))
        judge = Judge(rows.targets, groups=rows.groups, scoring=self.scoring, threshold=self.threshold, seed=seed)
        folds = make_folds(self.cv, rows.X, rows.y, groups=rows.groups, classifier=classes is not None, seed=seed)
        begin_fit(self, rows)
        self.estimators_, honest = self._fit_members(rows, folds, seed)
        self._blend(judge, honest, folds)
        used = [(copies, weight) for copies, weight in zip(self.estimators_, self.weights_, strict=True) if weight > 0]
        students = [copy.student_ for copies, _ in used for copy in copies]
        weights = [weight / len(copies) for copies, weight in used for _ in copies]
        self.student_ = FittedAverage(students, weights, self.threshold_)
        self.student_features_ = self.student_.features
        return self

    def _fit_members(
        self, rows: Rows, folds: Folds, seed: int | None
    ) -> tuple[list[list[DistilledEstimator]], list[Honest]]:
        """The copies of every member, and the honest predictions of their mean."""
        given = {"cv": folds.splits, "verbose": 0} | ({} if self.n_jobs is None else {"n_jobs": self.n_jobs})
        templates = [clone_estimator(member).set_params(**given) for _, member in self.estimators]
        for template in templates:
            Recipe(template, rows)  # raises before anything is fitted
        fitted, honest = [], []
        with tqdm(total=len(templates) * self.n_seeds, disable=not self.verbose, unit="member") as bar:
            for template in templates:
                copies, predictions = [], []
                for seeding in _seedings(seed, self.n_seeds):
                    copy = clone_estimator(template).set_params(**seeding)
                    predictions.append(copy._follow(Recipe(copy, rows)).honest)
                    copies.append(copy.set_params(cv=self.cv))
                    bar.update()
                fitted.append(copies)
                honest.append(mean_of(predictions))
        return fitted, honest

    def _blend(self, judge: Judge, honest: Sequence[Honest], folds: Folds) -> None:
        """Weights and threshold by all rows, and what to expect of them by weights found without each fold."""
        weigh, everyone = self._weigh(), np.arange(len(judge.labels))
        predictions = [member.chosen for member in honest]
        again, single = (chosen_again(judge, honest, folds, way) for way in (weigh, best_weights))
        self.gain_, self.gain_se_ = judge.compare(again, single)
        if weigh is not greedy_weights:
            self._warn_if_worse()
        else:  # whether to blend at all is a choice, too, and made again for each fold
            again = chosen_again(judge, honest, folds, greedy_if_better(folds))
            weigh = greedy_weights if self.gain_ > 0 else best_weights
        self.weights_, self.score_ = weigh(judge, predictions, everyone), judge.score(again)
        mean = blended(predictions, self.weights_)
        self.threshold_ = judge.threshold_for(mean, everyone)
        self.student_predictions_ = mean.mean(axis=0)
        names = [name for name, _ in self.estimators]
        self.member_scores_ = dict(zip(names, map(judge.best_score, predictions), strict=True))

    def _warn_if_worse(self) -> None:
        if self.gain_ < -self.gain_se_:
            warnings.warn(
                f"With weights={self.weights!r} the blend scores {-self.gain_:.4g} (standard error "
                f'{self.gain_se_:.2g}) below its best member. weights="auto" keeps the better one.',
                stacklevel=4,
            )

    def _weigh(self) -> Weigh:
        """How weights are found, or those that were given."""
        if isinstance(self.weights, str) and self.weights == "auto":
            return greedy_weights
        n_members = len(self.estimators)
        given = np.ones(n_members) if isinstance(self.weights, str) else np.asarray(self.weights, dtype=float)
        return lambda *_: given / given.sum()

    def _check(self) -> None:
        """Refuse members and weights that do not fit each other."""
        pairs = self.estimators if isinstance(self.estimators, list) else []
        if not pairs or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            raise ValueError(
                f"estimators must be a list of (name, DistilledEstimator), got {self.estimators!r}. Name at least one."
            )
        self._validate_names([name for name, _ in self.estimators])
        kinds: dict[str, str] = {}
        for name, member in self.estimators:
            if not isinstance(member, DistilledEstimator):
                raise ValueError(f"Member {name!r} is {member!r}, but must be a DistilledEstimator.")
            if cross_fit_of(member) != "pairs":
                raise ValueError(
                    f"Member {name!r} has cross_fit={cross_fit_of(member)!r}, which gives no honest predictions to "
                    'find weights on. Use cross_fit="pairs".'
                )
            kinds.setdefault(str(get_tags(member).estimator_type), name)
        if len(kinds) > 1:
            (one, first), (other, second) = kinds.items()
            raise ValueError(f"Member {first!r} is a {one}, but {second!r} a {other}. Blend members of one kind.")
        check_whole("n_seeds", self.n_seeds, 1, 5)
        _check_weights(self.weights, [name for name, _ in self.estimators])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        members = [get_tags(member) for _, member in self.estimators]
        if members:
            tags.estimator_type = members[0].estimator_type
            tags.classifier_tags, tags.regressor_tags = members[0].classifier_tags, members[0].regressor_tags
            tags.target_tags = members[0].target_tags
            tags.input_tags.allow_nan = all(member.input_tags.allow_nan for member in members)
        tags.input_tags.string = tags.input_tags.categorical = True
        return tags


def _seedings(seed: int | None, n_seeds: int) -> list[dict[str, int]]:
    """What to set in each copy of a member; more seeds leave the first ones as they are."""
    drawn = check_random_state(seed).randint(np.iinfo(np.int32).max, size=n_seeds - 1)
    first = {} if seed is None else {"random_state": seed}
    return [first, *({"random_state": int(one)} for one in drawn)]


def _check_weights(weights: Any, names: Sequence[str]) -> None:
    if isinstance(weights, str):
        if weights not in ("auto", "equal"):
            raise ValueError(f'weights must be "auto", "equal" or one number per member, got {weights!r}.')
        return
    given = np.asarray(weights, dtype=float)
    if given.shape != (len(names),):
        raise ValueError(f"weights={weights!r} has shape {given.shape}, but there are {len(names)} members: {names}.")
    if not (np.isfinite(given) & (given >= 0)).all():
        worst = int(np.argmin(np.isfinite(given) & (given >= 0)))
        raise ValueError(
            f"Weights must be finite and not negative, but that of {names[worst]!r} is {given[worst]}. Use 0 to leave "
            "a member out."
        )
    if not given.any():
        raise ValueError('All weights are 0, so nothing is left to blend. Use weights="auto".')

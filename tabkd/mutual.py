"""``MutualDistilledEstimator``: peers that teach each other."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from numbers import Real
from typing import Any, Self

from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags, get_tags

from tabkd._compat import BaseComposition, clone_estimator, is_regressor, last_step, made_again
from tabkd.checks import check_whole
from tabkd.deployed import Deployed
from tabkd.encodings import reads_texts
from tabkd.peers import HoldoutPeers, PeerRecipe
from tabkd.rows import begin_fit, read_rows
from tabkd.words import near

__all__ = ["MutualDistilledEstimator"]


class MutualDistilledEstimator(Deployed, BaseComposition):
    """Peers that teach each other: models of several families, or of several sets of columns, without a teacher.

    In round 0 every peer learns from the labels. In each later round it learns from the labels and from the mean of
    what the *other* peers of the round before say of rows that they have not seen. All that guides a choice is scored
    on folds whose labels had no part in any round, and against the *control*: the same peers on labels alone.

    Parameters
    ----------
    estimators : list of (name, estimator) or (name, estimator, columns)
        Two peers or more, all classifiers or all regressors: anything that :mod:`tabkd.students` can teach. ``columns``
        are a specification as in ``ColumnTransformer``; left out or None is all.
    rounds : int
        Rounds in which peers learn from each other. With ``alpha="auto"`` the most: they stop where the honest score no
        longer rises.
    alpha : float in [0, 1] or "auto"
        Weight of the true labels in the target. ``"auto"`` chooses from 0, 0.25, 0.5 and the control, and keeps the
        control unless it is beaten by more than one paired standard error, also where the choice is made again for
        each fold without it (``distillation_gain_``). With ``"holdout"`` it is 0.5 or the control.
    cv : int, splitter or iterable
        Folds of all peers; with pairs of folds they must partition the rows.
    cross_fit : {"auto", "pairs", "holdout"}
        ``"pairs"`` plays the rounds inside every training fold, and again on all rows for what ships. ``"holdout"``
        plays them once, on the first training fold, where peers tell each other about rows that they have seen, scores
        them on the rows left out, and ships them; ``alpha="auto"`` is 0.5 or the control there. ``"auto"`` is
        ``"holdout"`` where a peer is a neural network, ``"pairs"`` elsewhere.
    deploy : str or None
        Name of the peer that predicts, whose columns are then enough; None predicts by the mean of all peers.
    scoring : str, callable or None
        What rounds and ``alpha`` are chosen by, and the gain is judged by; None is log-loss, or squared error.
    threshold : float, str, callable or None
        Probability above which the second of two classes is predicted, or the scorer of labels to maximise.
    n_jobs : int or None
        Fits under way at once; boosters share the cores among them.
    random_state : int, RandomState or None
        An integer seeds the folds and every clone, each peer with a seed of its own; None leaves the models' own seeds.
    verbose : int
        Above 0 shows a progress bar over the fits.

    Attributes
    ----------
    peers_ : dict of str to FittedModel
        Each predicts from tables with its own columns.
    student_ : FittedModel or FittedAverage
        What predicts: one of ``peers_``, or their mean.
    control_ : FittedModel or FittedAverage
        The same peers on labels alone, put together in the same way.
    student_features_ : list
        Names (or positions) of the columns that ``student_`` needs.
    classes_ : ndarray of shape (n_classes,)
    alpha_ : float
        The weight used; 1 where the control was kept.
    rounds_ : int
        The rounds used; 0 where the control was kept.
    threshold_ : float or None
    student_predictions_, control_predictions_ : ndarray of shape (n_samples, n_classes) or (n_samples, n_outputs)
        Honest predictions of ``student_`` and ``control_`` for every row; NaN for rows that no fold tests.
    student_score_, control_score_ : float
        By ``scoring``, higher is better. With ``alpha="auto"`` the choice is made again for each fold without it.
    distillation_gain_, distillation_gain_se_ : float
        ``student_score_ - control_score_``, and its paired standard error.
    alpha_scores_ : dict
        Score of every alpha tried, in its best round, and of the control.
    round_scores_ : dict
        Score of every round played, by its best alpha; 0 is the control.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    References
    ----------
    Zhang, Xiang, Hospedales and Lu, "Deep Mutual Learning", CVPR 2018.
    Anil et al., "Large scale distributed neural network training through online distillation", ICLR 2018.

    Examples
    --------
    >>> from lightgbm import LGBMClassifier
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from tabkd import MutualDistilledEstimator
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> model = MutualDistilledEstimator(
    ...     [
    ...         ("boosted", LGBMClassifier(n_estimators=10, verbose=-1)),
    ...         ("tree", DecisionTreeClassifier(max_depth=3), ["mean radius", "mean texture"]),
    ...     ],
    ...     deploy="tree",
    ...     random_state=0,
    ... ).fit(X, y)
    >>> model.predict_proba(X[["mean radius", "mean texture"]]).shape
    (569, 2)
    """

    #: As a student: rows that the teacher alone has labelled are of no use to it.
    needs_labels = True

    def __init__(
        self,
        estimators: Any,
        *,
        rounds: int = 1,
        alpha: float | str = "auto",
        cv: Any = 5,
        cross_fit: str = "auto",
        deploy: str | None = None,
        scoring: Any = None,
        threshold: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.estimators = estimators
        self.rounds = rounds
        self.alpha = alpha
        self.cv = cv
        self.cross_fit = cross_fit
        self.deploy = deploy
        self.scoring = scoring
        self.threshold = threshold
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @property
    def fits_slowly(self) -> bool:
        """Whether one split has to do instead of folds, because a peer takes long."""
        return any(getattr(last_step(peer), "fits_slowly", False) for _, peer in self._named_peers)

    @property
    def _named_peers(self) -> list[tuple[str, Any]]:
        """Names and peers, without columns, as scikit-learn's compositions want them."""
        try:
            return [(name, peer) for name, peer, *_ in self.estimators]
        except (TypeError, ValueError):  # said better by fit
            return []

    @_named_peers.setter
    def _named_peers(self, peers: Sequence[tuple[str, Any]]) -> None:
        pairs = zip(peers, self.estimators, strict=True)
        self.estimators = [(name, peer, *columns) for (name, peer), (_, _, *columns) in pairs]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name, with ``deep`` those of the peers too: ``peer__num_leaves``."""
        return self._get_params("_named_peers", deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; a peer's own name replaces that peer."""
        return self._set_params("_named_peers", **params)

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None, groups: Any = None) -> Self:
        """Play the rounds, choose, and fit the peers that ship.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
            pandas or polars frame, or array: the columns of all peers; or texts.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
            Reaches every fit and score.
        groups : array-like of shape (n_samples,), optional
            Rows of a group stay in one fold, and standard errors are clustered by them.

        Returns
        -------
        MutualDistilledEstimator
        """
        return self._learn(X, y, sample_weight, groups)

    def fit_soft(
        self,
        X: Any,
        soft_targets: Any,
        *,
        y: Any,
        alpha: float = 0.0,
        temperature: float = 1.0,
        sample_weight: Any = None,
        teacher: Any = None,
    ) -> Self:
        """Learn from soft targets, as the student of a :class:`~tabkd.DistilledEstimator`.

        In every round, the soft targets stand beside the labels; what peers choose is judged by the labels.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
        soft_targets : array-like of shape (n_samples, n_classes) or (n_samples, n_outputs)
            In the order of the sorted labels.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        alpha : float
            Weight of ``y`` beside the soft targets; the weight of both beside the peers is that of the estimator.
        temperature : float
            1; peers of other families than neural networks cannot undo any other.
        sample_weight : array-like of shape (n_samples,), optional
        teacher : None
            Not looked into.

        Returns
        -------
        MutualDistilledEstimator
        """
        if temperature != 1:
            raise ValueError(f"Peers that teach each other learn at temperature=1.0 only, got {temperature!r}.")
        return self._learn(X, y, sample_weight, None, soft_targets, alpha)

    def _learn(self, X: Any, y: Any, sample_weight: Any, groups: Any, *soft: Any) -> Self:
        self._check()
        rows = read_rows(X, y, sample_weight, groups, regression=is_regressor(self))
        slow = self.cross_fit == "holdout" or (self.cross_fit == "auto" and self.fits_slowly)
        recipe = (HoldoutPeers if slow else PeerRecipe)(self, rows, *soft)
        begin_fit(self, rows)
        with recipe.progress():
            outcome = recipe.learn()
        self.peers_, self.student_, self.control_ = outcome.peers, outcome.student, outcome.control
        self.rounds_, self.alpha_ = outcome.rounds, outcome.alpha
        self.threshold_, self.student_features_ = self.student_.threshold, self.student_.features
        for name, value in vars(outcome.scores).items():
            setattr(self, f"{name}_", value)
        if self.alpha != "auto" and self.distillation_gain_ < -self.distillation_gain_se_:
            warnings.warn(
                f"With alpha={self.alpha} the peers score {-self.distillation_gain_:.4g} (standard error "
                f"{self.distillation_gain_se_:.2g}) below the same peers on labels alone. "
                'alpha="auto" keeps the better ones.',
                stacklevel=3,
            )
        return self

    def _check(self) -> None:
        """Refuse peers and parameters that do not fit each other."""
        peers = self.estimators if isinstance(self.estimators, list) else []
        if len(peers) < 2 or not all(isinstance(peer, tuple) and len(peer) in (2, 3) for peer in peers):
            raise ValueError(
                "estimators must be a list of two or more (name, estimator) or (name, estimator, columns), got "
                f"{self.estimators!r}. One model alone has nobody to learn from."
            )
        names = [name for name, *_ in peers]
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"Names of peers must differ, but {twice} occur more than once. Rename one.")
        self._validate_names(names)
        self._check_kinds()
        check_whole("rounds", self.rounds, 1, 1)
        if self.alpha != "auto" and not (isinstance(self.alpha, Real) and 0 <= float(self.alpha) <= 1):
            raise ValueError(f'alpha must be in [0, 1] or "auto", got {self.alpha!r}. Try 0.5.')
        if self.cross_fit not in ("auto", "pairs", "holdout"):
            raise ValueError(f'cross_fit must be "auto", "pairs" or "holdout", got {self.cross_fit!r}.')
        if self.deploy is not None and self.deploy not in names:
            meant = near(self.deploy, names)
            raise ValueError(f"deploy={self.deploy!r} is no peer.{meant} Choose from {names}, or None for their mean.")

    def _check_kinds(self) -> None:
        """Refuse peers that are no models, that cannot learn, or that predict other things than the first."""
        first, one = self._named_peers[0]
        for name, peer in self._named_peers:
            if not hasattr(peer, "fit") or isinstance(peer, type):
                raise ValueError(f"Peer {name!r} is {peer!r}, but must be an estimator.")
            if isinstance(last_step(peer), FrozenEstimator):
                raise ValueError(f"Peer {name!r} is frozen, so it cannot learn from others. Use it as a teacher.")
            kinds = [get_tags(model).estimator_type for model in (one, peer)]
            if kinds[0] != kinds[1]:
                raise ValueError(f"Peer {first!r} is a {kinds[0]}, but {name!r} a {kinds[1]}. Use peers of one kind.")
            if kinds[1] != "regressor" and not hasattr(peer, "predict_proba"):
                raise ValueError(
                    f"Peer {name!r} ({type(last_step(peer)).__name__}) has no predict_proba, which the others are to "
                    "learn from. Use a classifier that has, or a regressor in a regression."
                )

    def _check_file(self) -> None:
        by_themselves = [name for name, peer in self._named_peers if hasattr(last_step(peer), "to_onnx")]
        if self.deploy is None and by_themselves:
            raise ValueError(
                f"Peers {by_themselves} write files of their own, which cannot be averaged in one. Use "
                f"deploy={by_themselves[0]!r} for one of them alone."
            )

    def __sklearn_clone__(self) -> Self:
        params = {
            name: copy.deepcopy(value) for name, value in self.get_params(deep=False).items() if name != "estimators"
        }
        given = self.estimators
        if self._named_peers:  # CatBoost's lists trip scikit-learn's way of cloning
            given = [(name, clone_estimator(peer), *copy.deepcopy(columns)) for name, peer, *columns in given]
        return made_again(self, {"estimators": given, **params})

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        peers = [peer for _, peer in self._named_peers]
        known = [get_tags(peer) for peer in peers]
        if known:
            tags.estimator_type = known[0].estimator_type
            tags.classifier_tags, tags.regressor_tags = known[0].classifier_tags, known[0].regressor_tags
            tags.input_tags.allow_nan = all(one.input_tags.allow_nan for one in known)
            tags.input_tags.one_d_array = all(map(reads_texts, peers))
        tags.target_tags.required = True
        tags.target_tags.multi_output = tags.estimator_type == "regressor"
        tags.input_tags.string = tags.input_tags.categorical = True
        return tags

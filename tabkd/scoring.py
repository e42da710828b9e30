"""Scores of stored predictions: comparing a student with its control.

Predictions of all candidates are honest by construction (:mod:`tabkd.crossfit`); everything here only reads
them. They are arrays of shape ``(n_repeats, n_samples, n_outputs)``: repeats of the folds are scored one by one
and averaged.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, check_scoring, get_scorer, r2_score

from tabkd._compat import is_regressor, scores_labels, takes_weights
from tabkd.confusion import weighted_score
from tabkd.folds import Folds
from tabkd.models import labels_of
from tabkd.stored import StoredClassifier, StoredRegressor
from tabkd.targets import Targets
from tabkd.thresholds import is_tuned, tune_threshold

__all__ = ["Choice", "Honest", "Judge", "Judged", "default_scoring", "name_of_score", "score_of"]

#: Bootstrap resamples for the standard error of a score that is not a mean over rows.
N_BOOTSTRAP = 100
#: What a scorer of the caller's own may have taken for granted.
_NO_TABLE = "; scorers see predictions alone, and their X is no table: give costs by row as fit(..., sample_weight=)."


def _log_loss_rows(hard: np.ndarray, proba: np.ndarray, codes: np.ndarray) -> np.ndarray:
    eps = np.finfo(float).eps
    return (hard * np.log(np.clip(proba, eps, 1 - eps))).sum(axis=1)


RowScore = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
#: Scores that are means over rows: true values, predictions and class codes to one number per row.
_CLASS_SCORES: dict[str, RowScore] = {
    "neg_log_loss": _log_loss_rows,
    "accuracy": lambda hard, proba, codes: hard[np.arange(len(hard)), codes],
}
_VALUE_SCORES: dict[str, RowScore] = {
    "neg_mean_squared_error": lambda hard, values, codes: -((hard - values) ** 2).mean(axis=1),
    "neg_mean_absolute_error": lambda hard, values, codes: -np.abs(hard - values).mean(axis=1),
}


@dataclass(frozen=True)
class Choice:
    """A candidate, and the threshold that goes with it."""

    name: Any
    threshold: float | None


@dataclass(frozen=True)
class Judged:
    """Predictions of shape (n_repeats, n_samples, n_outputs) and the class codes that they lead to."""

    predictions: np.ndarray
    codes: np.ndarray


@dataclass(frozen=True)
class Honest:
    """Honest predictions of what a fit chose, of shape (n_repeats, n_samples, n_outputs).

    ``chosen`` are those of the choice made by all rows, ``without[i]`` those of the choice made again without the rows
    that split ``i`` tests.
    """

    chosen: np.ndarray
    without: list[np.ndarray]


class Judge:
    """Scores, compares and chooses among candidates by their stored predictions.

    Parameters
    ----------
    targets : Targets
        True labels or values, and the weights of the rows.
    groups : ndarray of shape (n_samples,) or None
        Rows of a group are not independent: standard errors are clustered by them.
    scoring : str, callable or None
        Any scikit-learn scorer that reads no columns of ``X``; None is log-loss, or squared error for regression.
    threshold : float, str, callable or None
        As in ``DistilledEstimator``.
    seed : int or None
        Of the bootstrap.
    """

    def __init__(
        self,
        targets: Targets,
        *,
        groups: np.ndarray | None = None,
        scoring: Any = None,
        threshold: Any = None,
        seed: int | None = None,
    ) -> None:
        self.targets = targets
        self.groups = groups
        self.scoring = default_scoring(regression=targets.classes is None) if scoring is None else scoring
        self.scorer = get_scorer(self.scoring) if isinstance(self.scoring, str) else self.scoring
        self.threshold = threshold
        self.seed = seed
        self.labels = targets.labels
        self.of_labels = scores_labels(self.scorer)
        if targets.weight is not None and not takes_weights(self.scorer):
            raise ValueError(
                f"scoring={self.scoring!r} takes no sample_weight, but weights were given. Use a scorer's name, "
                "sklearn.metrics.make_scorer, or a callable (estimator, X, y, sample_weight=None), whose X is no table."
            )

    def check(self) -> None:
        """Score the true answers, so that a scorer that does not fit the target is refused before anything is fitted.

        Raises
        ------
        ValueError
            If ``scoring`` or ``threshold`` cannot score them.
        """
        if self.targets.classes is None and not self.of_labels:
            raise ValueError(
                f"scoring={self.scoring!r} scores probabilities, and this is a regression. Use 'r2' or "
                "'neg_mean_squared_error', or make classes of the target."
            )
        perfect = self.targets.hard[None]
        try:
            best = self._score(self.judged(perfect), np.arange(len(self.labels)))
        except Exception as error:  # scorers may raise anything
            way = ""
            if "pos_label" in str(error):
                name = self.targets.classes.tolist()[-1]
                way = f" Use labels 0 and 1, or say which is positive: make_scorer(f1_score, pos_label={name!r})."
            elif callable(self.scoring):
                way = _NO_TABLE
            raise ValueError(f"scoring={self.scoring!r} cannot score this target: {error}{way}") from error
        if not np.isfinite(best):
            raise ValueError(
                f"scoring={self.scoring!r} gives {best} for perfect predictions. Use one that is a number."
            )
        try:
            self.threshold_for(perfect, np.arange(len(self.labels)))
        except Exception as error:
            way = _NO_TABLE if callable(self.threshold) else ""
            raise ValueError(f"threshold={self.threshold!r} cannot be tuned on this target: {error}{way}") from error

    def check_splits(self, folds: Folds) -> None:
        """Score the true answers of each split's test rows alone, for what is to be scored split by split.

        Raises
        ------
        ValueError
            If ``scoring`` cannot score those of one split.
        """
        perfect = self.judged(self.targets.hard[None])
        for i, (_, test) in enumerate(folds.splits):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # undefined scores
                    score = self._score(perfect, test)
            except Exception:  # scorers may raise anything
                score = np.nan
            if np.isfinite(score):
                continue
            rows = test[self._weights(test) > 0]
            classes = [] if self.targets.classes is None else self.targets.classes.tolist()
            lacking = [label for code, label in enumerate(classes) if code not in self.targets.codes[rows]]
            held = f"no row of class {lacking[0]!r}" if lacking and len(rows) else f"{len(rows)} rows"
            weight = "" if self.targets.weight is None else " of a weight above 0"
            raise ValueError(
                f"scoring={self.scoring!r} cannot score fold {i} alone, as a search does: it holds {held}{weight}. Use "
                "a cv that spreads the rows evenly, such as StratifiedKFold(shuffle=True), or fewer folds."
            )

    def judged(self, predictions: np.ndarray, threshold: float | None = None) -> Judged:
        """Predictions with the class codes of one threshold."""
        if self.targets.classes is None:
            return Judged(predictions, np.zeros(predictions.shape[:2], dtype=np.intp))
        return Judged(predictions, np.stack([labels_of(repeat, threshold) for repeat in predictions]))

    def threshold_for(self, predictions: np.ndarray, rows: np.ndarray) -> float | None:
        """The threshold asked for: none, a number, or the best on these rows."""
        if not is_tuned(self.threshold):
            return self.threshold
        proba = predictions[:, rows, 1].ravel()
        repeats = len(predictions)
        weight = None if self.targets.weight is None else np.tile(self.targets.weight[rows], repeats)
        return tune_threshold(
            self.threshold,
            np.tile(self.labels[rows], repeats),
            proba,
            self.targets.classes,
            sample_weight=weight,
        )

    def score(self, judged: Judged, rows: np.ndarray | None = None) -> float:
        """Mean score over the repeats, higher is better."""
        rows = np.arange(len(self.labels)) if rows is None else rows
        try:
            return self._score(judged, rows)
        except ValueError as error:
            if self.targets.classes is not None:
                raise
            values = judged.predictions[:, rows]
            raise ValueError(
                f"scoring={self.scoring!r} cannot score predictions between {values.min():.4g} and {values.max():.4g}: "
                f"{error} Use a score that takes them, or keep them in range by TransformedTargetRegressor(model, "
                "func=np.log1p, inverse_func=np.expm1)."
            ) from error

    def _score(self, judged: Judged, rows: np.ndarray) -> float:
        by_row = self._row_scores(judged)
        if by_row is not None:
            return float(np.average(by_row[rows], weights=self._weights(rows)))
        scores = []
        for predictions, codes in zip(judged.predictions, judged.codes, strict=True):
            if self.targets.classes is None:
                stored: Any = StoredRegressor(predictions)
            else:
                stored = StoredClassifier(self.targets.classes, predictions, codes)
            weighted = {} if self.targets.weight is None else {"sample_weight": self.targets.weight[rows]}
            scores.append(self.scorer(stored, rows, self.labels[rows], **weighted))
        return float(np.mean(scores))

    def cut(self, predictions: np.ndarray, rows: np.ndarray) -> float | None:
        """The threshold at which predictions are scored: that for these rows, where the score depends on one."""
        return self.threshold_for(predictions, rows) if self.of_labels else None

    def best_score(self, predictions: np.ndarray, rows: np.ndarray | None = None) -> float:
        """Score of predictions at the threshold that suits them, where the score depends on one."""
        rows = np.arange(len(self.labels)) if rows is None else rows
        return self.score(self.judged(predictions, self.cut(predictions, rows)), rows)

    def compare(self, one: Judged, other: Judged, rows: np.ndarray | None = None) -> tuple[float, float]:
        """Score of ``one`` minus score of ``other``, and the paired standard error of that difference."""
        rows = np.arange(len(self.labels)) if rows is None else rows
        first, second = self._row_scores(one), self._row_scores(other)
        if first is None or second is None:
            return self._bootstrap(one, other, rows)
        differences = (first - second)[rows]
        weights = self._weights(rows)
        gain = float(np.average(differences, weights=weights))
        deviations = (differences - gain) * weights
        if self.groups is not None:
            _, cluster = np.unique(self.groups[rows], return_inverse=True)
            deviations = np.bincount(cluster, weights=deviations)
        n = max(len(deviations), 2)
        return gain, float(np.sqrt(n / (n - 1) * (deviations**2).sum()) / weights.sum())

    def choose(
        self,
        distilled: Mapping[Any, np.ndarray],
        controls: Mapping[Any, np.ndarray],
        rows: np.ndarray,
        *,
        forced: bool,
    ) -> tuple[Choice, Choice]:
        """The student to ship and the control to hold it against, by their scores on ``rows``.

        Parameters
        ----------
        distilled, controls : mapping from name to predictions
        rows : ndarray of int
        forced : bool
            Whether the student must be a distilled one; else a control stays unless it is beaten by more than one
            paired standard error.

        Returns
        -------
        student, control : Choice
            With the threshold at which they were scored, where the score depends on one.
        """
        judged, choices = {}, {}
        for name, predictions in [*controls.items(), *distilled.items()]:
            choices[name] = Choice(name, self.cut(predictions, rows))
            judged[name] = self.judged(predictions, choices[name].threshold)
        scores = {name: self.score(one, rows) for name, one in judged.items()}
        control, best = (max(names, key=scores.__getitem__) for names in (controls, distilled))
        if not forced:
            beaten = scores[best] > scores[control]  # else no standard error is needed, which may be a bootstrap
            if not (beaten and np.subtract(*self.compare(judged[best], judged[control], rows)) > 0):
                best = control
        return choices[best], choices[control]

    def choose_again(
        self,
        distilled: Mapping[Any, np.ndarray],
        controls: Mapping[Any, np.ndarray],
        folds: Folds,
        *,
        forced: bool,
        rows: np.ndarray | None = None,
    ) -> tuple[list[Choice], list[Choice]]:
        """Student and control for each split, chosen by the rows, all or some, that it does not test."""
        chosen = [self.choose(distilled, controls, others, forced=forced) for others in self.outside(folds, rows)]
        return [student for student, _ in chosen], [control for _, control in chosen]

    def outside(self, folds: Folds, rows: np.ndarray | None = None) -> list[np.ndarray]:
        """For each split, the rows, all or some, that it does not test; all where it tests all."""
        rows = np.arange(len(self.labels)) if rows is None else rows
        return [np.setdiff1d(rows, test) if len(test) < len(rows) else rows for _, test in folds.splits]

    def held_out(self, folds: Folds, answers: Iterable[tuple[np.ndarray, float | None]]) -> Judged:
        """The test rows of each split, by predictions and a threshold that were found without them."""
        shape = (folds.n_repeats, *self.targets.hard.shape)
        out = Judged(np.full(shape, np.nan), np.zeros(shape[:2], dtype=np.intp))
        for repeat, (_, test), (predictions, cut) in zip(folds.repeat_of, folds.splits, answers, strict=True):
            held = self.judged(predictions[[repeat]][:, test], cut)
            out.predictions[repeat, test], out.codes[repeat, test] = held.predictions[0], held.codes[0]
        return out

    def _weights(self, rows: np.ndarray) -> np.ndarray:
        return np.ones(len(rows)) if self.targets.weight is None else self.targets.weight[rows]

    def _row_scores(self, judged: Judged) -> np.ndarray | None:
        known = _VALUE_SCORES if self.targets.classes is None else _CLASS_SCORES
        by_row = known.get(self.scoring) if isinstance(self.scoring, str) else None
        if by_row is None:
            return None
        pairs = zip(judged.predictions, judged.codes, strict=True)
        return np.mean([by_row(self.targets.hard, predictions, codes) for predictions, codes in pairs], axis=0)

    def _of_counts(self, judged: Judged) -> Callable[[np.ndarray], float]:
        """The score as a function of how often each row is drawn."""
        classes, weight = self.targets.classes, self.targets.weight
        found = None
        if classes is not None:
            found = weighted_score(self.scoring, classes, self.targets.codes, judged.predictions, judged.codes)
        if found is None:
            return lambda counts: self.score(judged, np.repeat(np.arange(len(counts)), counts))
        return lambda counts: found(counts if weight is None else counts * weight)

    def _bootstrap(self, one: Judged, other: Judged, rows: np.ndarray) -> tuple[float, float]:
        rng, score_one, score_other = np.random.default_rng(self.seed), self._of_counts(one), self._of_counts(other)
        cluster = np.unique(rows if self.groups is None else self.groups[rows], return_inverse=True)[1]
        n_clusters, n_rows = cluster.max() + 1, len(self.labels)
        counts, gains = np.zeros(n_rows, dtype=np.intp), list[float]()
        codes = np.zeros(n_rows) if self.targets.classes is None else self.targets.codes
        weighs = self._weights(np.arange(n_rows)) > 0
        n_classes = len(np.unique(codes[rows][weighs[rows]]))
        for _ in range(10 * N_BOOTSTRAP):
            drawn = rng.integers(n_clusters, size=n_clusters)
            counts[rows] = np.bincount(drawn, minlength=n_clusters)[cluster]
            # Most scores are undefined where a class is missing.
            seen = np.unique(codes[(counts > 0) & weighs])
            if len(seen) == n_classes and np.isfinite(gain := score_one(counts) - score_other(counts)):
                gains.append(gain)
            if len(gains) == N_BOOTSTRAP:
                break
        if len(gains) < 2:
            raise ValueError(
                f"scoring={self.scoring!r} has no standard error here: resamples of the rows nearly always miss a "
                "class, or score no number. Merge rare classes, or use scoring='neg_log_loss'."
            )
        return self.score(one, rows) - self.score(other, rows), float(np.std(gains, ddof=1))


def default_scoring(*, regression: bool) -> str:
    """What estimators judge by where they are told nothing."""
    return "neg_mean_squared_error" if regression else "neg_log_loss"


def name_of_score(scoring: Any, estimator: Any) -> str:
    """What the score is called that an estimator judges by."""
    if scoring is None and estimator is not None:
        return default_scoring(regression=is_regressor(estimator))
    return scoring if isinstance(scoring, str) else "score"


def score_of(estimator: Any, X: Any, y: Any, sample_weight: Any) -> float:
    """Score a fitted estimator by its ``scoring`` if it is set, else by accuracy or R²."""
    if estimator.scoring is not None:
        weighted = {} if sample_weight is None else {"sample_weight": sample_weight}
        return check_scoring(estimator, scoring=estimator.scoring)(estimator, X, y, **weighted)
    metric = r2_score if is_regressor(estimator) else accuracy_score
    return metric(y, estimator.predict(X), sample_weight=sample_weight)

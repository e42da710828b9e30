"""One fit of a ``MutualDistilledEstimator`` under way: rounds in which peers learn from each other, choice, shipping.

The invariant of :mod:`tabkd.crossfit` holds: for the peers that are scored on fold ``i`` every round is played inside
the other folds, so that no label of fold ``i`` has a part in what they learn. Inside those folds, targets of the
second round and later come from peers whose own targets were made with the labels of the rows that they now predict.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from tabkd._compat import clone_estimator, last_step, read_seed, seeds_of
from tabkd.averages import FittedAverage
from tabkd.columns import ColumnEncoder
from tabkd.crossfit import Job, StudentFit, cross_fit, cross_fit_students, cross_fit_teacher
from tabkd.folds import Folds, make_folds, make_parts
from tabkd.frames import column_positions
from tabkd.learners import Learner, Member
from tabkd.models import FittedModel, fitted_model
from tabkd.readings import check_values, encoder_for
from tabkd.recipe import ALPHAS
from tabkd.rows import Rows, check_classes_outside_pairs, check_soft_targets
from tabkd.scoring import Choice, Judge
from tabkd.students import adapt
from tabkd.targets import Targets
from tabkd.thresholds import check_threshold

__all__ = ["HoldoutPeers", "Outcome", "PeerRecipe"]

logger = logging.getLogger(__name__)

#: A round and its ``alpha``; peers on labels alone are round 0.
CONTROL = (0, 1.0)
#: What one peer says of every split's training rows, without the rows that the split tests.
Inside = list[np.ndarray]


@dataclass(frozen=True)
class Peer:
    """One peer: what is fitted without others to learn from, and the table as it reads it."""

    learner: Learner
    encoder: ColumnEncoder
    X: Any


@dataclass(frozen=True)
class Round:
    """One round: for every peer as whom it learnt, what on each split, and what came of it."""

    learners: list[Learner]
    lessons: list[list[Targets]]
    fits: list[StudentFit]


@dataclass(frozen=True)
class Scores:
    """Honest predictions and scores, under the names of the estimator's attributes."""

    student_predictions: np.ndarray
    control_predictions: np.ndarray
    alpha_scores: dict[Any, float]
    round_scores: dict[int, float]
    student_score: float
    control_score: float
    distillation_gain: float
    distillation_gain_se: float


@dataclass(frozen=True)
class Outcome:
    """What a fit hands over."""

    peers: dict[str, FittedModel]
    student: FittedModel | FittedAverage
    control: FittedModel | FittedAverage
    rounds: int
    alpha: float
    scores: Scores


class PeerRecipe:
    """The steps of one fit by folds.

    Parameters
    ----------
    settings : MutualDistilledEstimator
        Only its parameters are read; they are checked already.
    rows : Rows
    soft_targets : array-like or None
        What a teacher of all peers says.
    label_weight : float
        Weight of the true labels beside ``soft_targets``.
    """

    #: What ``alpha="auto"`` chooses from.
    alphas: tuple[float, ...] = ALPHAS

    def __init__(self, settings: Any, rows: Rows, soft_targets: Any = None, label_weight: float = 1.0) -> None:
        self.settings, self.rows = settings, rows
        self.forced = settings.alpha != "auto"
        if self.forced:
            self.alphas = (float(settings.alpha),)
        self.seed = read_seed(settings.random_state)
        self.classes = rows.targets.classes
        check_threshold(settings.threshold, None if self.classes is None else len(self.classes))
        self.given = None if soft_targets is None else check_soft_targets(soft_targets, rows.targets)
        self.label_weight = label_weight
        self.judge = Judge(
            rows.targets, groups=rows.groups, scoring=settings.scoring, threshold=settings.threshold, seed=self.seed
        )
        self.judge.check()
        self.run: dict[str, Any] = {"groups": rows.groups, "n_jobs": settings.n_jobs}
        self.names = [name for name, *_ in settings.estimators]
        # Equal peers with equal seeds would have nothing to tell each other.
        seeds = seeds_of(self.seed, len(self.names))
        self.peers = [self._peer(seed, *peer) for seed, peer in zip(seeds, settings.estimators, strict=True)]

    def _peer(self, seed: int | None, name: str, estimator: Any, columns: Any = None) -> Peer:
        """The columns of one peer, and what is fitted to them."""
        X = self.rows.X
        adapt(clone_estimator(last_step(estimator)), "auto", self.classes)  # raises before anything is fitted
        positions = column_positions(X, columns, f"The peer {name!r}")
        encoder = encoder_for(estimator, self.rows, positions)
        learner = Learner(estimator, encoder=encoder, seed=seed)
        if self.given is not None:
            learner = replace(learner, loss="auto", alpha=self.label_weight)
        return Peer(learner, encoder, encoder.transform(X))

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Make the folds, and show a bar over the fits to come; where rounds stop it ends early."""
        self._split()
        n_fits = self._n_fits()
        logger.info("At most %d fits of %d peers on %d splits", n_fits, len(self.peers), len(self.outer.splits))
        with tqdm(total=n_fits, disable=not self.settings.verbose, unit="fit") as bar:
            self.run["progress"] = bar.update
            yield
            bar.total = bar.n
            bar.refresh()

    def _split(self) -> None:
        self.outer = self._folds(partition=True)
        check_classes_outside_pairs(self.outer, self.rows.targets, instead='cross_fit="holdout"')
        outside = [rows for *_, rows in self.outer.pairs()]
        for peer in self.peers:
            check_values(peer.learner.estimator, peer.encoder, self.rows, outside)
        self._judge_by(np.arange(len(self.rows.y)), self.outer)

    def _judge_by(self, rows: np.ndarray, parts: Folds) -> None:
        """Choose by these rows, and again without the test rows of each part, which are scored by that choice."""
        self.everyone, self.parts = rows, parts
        self.views = [rows, *self.judge.outside(parts, rows)]

    def _folds(self, *, partition: bool | None) -> Folds:
        rows, classifier = self.rows, self.classes is not None
        return make_folds(
            self.settings.cv, rows.X, rows.y, groups=rows.groups, classifier=classifier, seed=self.seed,
            partition=partition,
        )  # fmt: skip

    def _n_fits(self) -> int:
        n_splits, n_pairs, n_taught = len(self.outer.splits), self.outer.n_pairs, len(self.alphas)
        played = n_splits + n_pairs + n_taught * (self.settings.rounds * (n_splits + 2 * n_pairs) - 2 * n_pairs)
        return len(self.peers) * (played + 2)

    # ---------------------------------------------------------------- play

    def learn(self) -> Outcome:
        """Play the rounds, choose, and fit what ships."""
        rounds = self._played()
        choice, control, scores = self._chosen(rounds)
        number, alpha = choice.name
        held = self._models(rounds, control)
        peers = held if choice.name == control.name else self._models(rounds, choice)
        student, plain = self._together(peers, choice.threshold), self._together(held, control.threshold)
        return Outcome(peers, student, plain, number, alpha, scores)

    def _played(self) -> list[dict[float, Round]]:
        """Rounds by ``alpha``, the first on labels alone; all that are asked for, or until no score rises any more."""
        base = replace(self.rows.targets, soft=self.given)
        learners = [peer.learner for peer in self.peers]
        first = self._round(learners, [[base] * len(self.outer.splits)] * len(self.peers))
        rounds, inside = [{CONTROL[1]: first}], dict.fromkeys(self.alphas, self._first_inside(first))
        while True:
            rounds.append(
                {
                    a: self._round([self._taught(own, a) for own in learners], self._lessons(said, a))
                    for a, said in inside.items()
                }
            )
            if len(rounds) > self.settings.rounds:
                return rounds
            answers = self._answers(rounds)
            if not self.forced and all(self._climb(answers, rows) < len(rounds) for rows in self.views):
                return rounds
            inside = {a: self._inside(one) for a, one in rounds[-1].items()}

    def _taught(self, learner: Learner, alpha: float) -> Learner:
        return replace(learner, loss="auto", alpha=alpha * self.label_weight)

    def _lessons(self, said: list[Inside], alpha: float) -> list[list[Targets]]:
        """For every peer and split the labels, and beside them what the others say, and the teacher if there is one."""
        taught = alpha * (1 - self.label_weight)
        lessons = []
        for peer in range(len(said)):
            means = [np.mean(others, axis=0) for others in zip(*(said[:peer] + said[peer + 1 :]), strict=True)]
            if self.given is not None and taught > 0:
                means = [(taught * self.given + (1 - alpha) * mean) / (taught + 1 - alpha) for mean in means]
            lessons.append([replace(self.rows.targets, soft=mean) for mean in means])
        return lessons

    def _round(self, learners: list[Learner], lessons: list[list[Targets]]) -> Round:
        """Every peer on every split."""
        fits = [
            cross_fit_students({"": learner}, peer.X, own, self.outer, **self.run)[""]
            for peer, learner, own in zip(self.peers, learners, lessons, strict=True)
        ]
        return Round(learners, lessons, fits)

    def _first_inside(self, first: Round) -> list[Inside]:
        """What peers on labels alone say: one fit per pair of folds serves both."""
        fits = [
            cross_fit_teacher(peer.learner, peer.X, own[0], self.outer, pairs=True, **self.run)
            for peer, own in zip(self.peers, first.lessons, strict=True)
        ]
        return [fit.per_fold or [] for fit in fits]

    def _inside(self, one: Round) -> list[Inside]:
        """What the peers of a later round say: for each split they learn again without another fold, and predict it."""
        splits = self.outer.splits
        pairs = [(i, j, rows) for a, b, rows in self.outer.pairs() for i, j in ((a, b), (b, a))]
        inside = []
        for peer, learner, lessons in zip(self.peers, one.learners, one.lessons, strict=True):
            jobs = [Job((learner,), rows, lessons[i].take(rows), (splits[j][1],)) for i, j, rows in pairs]
            said = [np.full_like(self.rows.targets.hard, np.nan) for _ in splits]
            for (i, j, _), ([member], [[scores]]) in zip(pairs, cross_fit(jobs, peer.X, **self.run), strict=True):
                said[i][splits[j][1]] = member.predictions(scores)
            inside.append(said)
        return inside

    # ---------------------------------------------------------------- choose

    def _answers(self, rounds: Sequence[dict[float, Round]]) -> list[dict[float, np.ndarray]]:
        """Honest predictions of what is deployed, by round and ``alpha``: of one peer, or the mean of all."""
        deployed = slice(None)
        if self.settings.deploy is not None:
            place = self.names.index(self.settings.deploy)
            deployed = slice(place, place + 1)
        return [
            {a: np.mean([fit.predictions for fit in one.fits[deployed]], axis=0) for a, one in by_alpha.items()}
            for by_alpha in rounds
        ]

    def _climb(self, answers: Sequence[dict[float, np.ndarray]], rows: np.ndarray) -> int:
        """The first round that scores no better on ``rows`` than the one before, or one that is yet to come."""
        tops = [max(self.judge.best_score(one, rows) for one in by_alpha.values()) for by_alpha in answers]
        return next((n for n in range(1, len(tops)) if not tops[n] > tops[n - 1]), len(tops))

    def _pick(self, answers: Sequence[dict[float, np.ndarray]], rows: np.ndarray) -> tuple[Choice, Choice]:
        """Round and ``alpha`` by their scores on ``rows``, and the control."""
        last = len(answers) - 1
        tried = [last] if self.forced else range(1, min(self._climb(answers, rows), last) + 1)
        distilled = {(number, a): one for number in tried for a, one in answers[number].items()}
        return self.judge.choose(distilled, {CONTROL: answers[0][CONTROL[1]]}, rows, forced=self.forced)

    def _chosen(self, rounds: Sequence[dict[float, Round]]) -> tuple[Choice, Choice, Scores]:
        """What ships, what it is held against, and how both score."""
        judge = self.judge
        answers = self._answers(rounds)
        of = {(number, a): one for number, by_alpha in enumerate(answers) for a, one in by_alpha.items()}
        choice, control = (
            replace(one, threshold=judge.threshold_for(of[one.name], self.everyone))
            for one in self._pick(answers, self.everyone)
        )
        again = [self._pick(answers, rows) for rows in self.views[1:]]  # without the rows that each part tests
        student, held = (
            judge.held_out(self.parts, [(of[one.name], one.threshold) for one in side])
            for side in zip(*again, strict=True)
        )
        gain, error = judge.compare(student, held, self.everyone)
        if not (self.forced or gain > error):
            # The best of several looks better than it is: the choice made again says so.
            choice = control
        best = {name: judge.best_score(one, self.everyone) for name, one in of.items()}
        scores = Scores(
            student_predictions=of[choice.name].mean(axis=0),
            control_predictions=of[control.name].mean(axis=0),
            alpha_scores={a: max(s for (n, b), s in best.items() if n and b == a) for a in self.alphas}
            | {"control": best[CONTROL]},
            round_scores={n: max(s for (m, _), s in best.items() if m == n) for n in range(len(answers))},
            student_score=judge.score(student, self.everyone),
            control_score=judge.score(held, self.everyone),
            distillation_gain=gain,
            distillation_gain_se=error,
        )
        return choice, control, scores

    # ---------------------------------------------------------------- ship

    def _shipped(self, rounds: Sequence[dict[float, Round]], name: tuple[int, float]) -> list[list[Member]]:
        """Every peer on all rows; the others of the round before have not seen the rows that they tell it about."""
        number, alpha = name
        learners = rounds[number][alpha].learners
        lessons = [[replace(self.rows.targets, soft=self.given)]] * len(self.peers)
        if number > 0:
            before = rounds[number - 1].get(alpha) or rounds[0][CONTROL[1]]
            lessons = self._lessons([[fit.predictions.mean(axis=0)] for fit in before.fits], alpha)
        rows = np.arange(len(self.rows.y))
        return [
            cross_fit([Job((learner,), rows, lesson)], peer.X, **self.run)[0][0]
            for peer, learner, (lesson,) in zip(self.peers, learners, lessons, strict=True)
        ]

    def _models(self, rounds: Sequence[dict[float, Round]], choice: Choice) -> dict[str, FittedModel]:
        """The peers of one choice by name; the one that is deployed has its threshold."""
        members = self._shipped(rounds, choice.name)
        deployed = self.settings.deploy
        return {
            name: fitted_model(peer.encoder, own, self.classes, choice.threshold if name == deployed else None)
            for name, peer, own in zip(self.names, self.peers, members, strict=True)
        }

    def _together(self, peers: dict[str, FittedModel], threshold: float | None) -> FittedModel | FittedAverage:
        """What is deployed."""
        if self.settings.deploy is not None:
            return peers[self.settings.deploy]
        return FittedAverage(list(peers.values()), [1 / len(peers)] * len(peers), threshold)


class HoldoutPeers(PeerRecipe):
    """All peers on the training rows of the first split; its test rows score and choose, and what was scored ships.

    The peers tell each other about rows that they were fitted on, as it is usual for neural networks.
    """

    alphas = (0.5,)

    def _split(self) -> None:
        train, test = self._folds(partition=None).splits[0]
        self.outer, classifier = Folds([(train, test)], [0]), self.classes is not None
        parts = make_parts(test, self.rows.y, groups=self.rows.groups, classifier=classifier, seed=self.seed)
        self._judge_by(test, parts)

    def _n_fits(self) -> int:
        return len(self.peers) * (1 + self.settings.rounds * len(self.alphas))

    def _inside(self, one: Round) -> list[Inside]:
        members = [fit.members[0] for fit in one.fits]
        return [[member.predictions(member.raw(peer.X))] for peer, member in zip(self.peers, members, strict=True)]

    def _first_inside(self, first: Round) -> list[Inside]:
        return self._inside(first)

    def _shipped(self, rounds: Sequence[dict[float, Round]], name: tuple[int, float]) -> list[list[Member]]:
        number, alpha = name
        return [fit.members for fit in rounds[number][alpha].fits]

"""One stage of a search: trials drawn, scored, pruned and kept in a study, and the choice among them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import joblib
import numpy as np
import optuna
import pandas as pd
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from tabkd.folds import Folds
from tabkd.frames import fingerprint
from tabkd.rows import Rows
from tabkd.spaces import Space, draw
from tabkd.studies import DEFAULT, finished, mark_as_mine, open_study, reclaim, under_way

__all__ = ["Stage", "problem"]

_LOG = logging.getLogger(__name__)
_SPLITS, _MEASURES, _ERROR = "split scores", "measures", "error"
#: Parameters that say how an estimator runs, not what it answers.
_RUNNING = ("cv", "memory", "n_jobs", "verbose", "random_state", "thread_count")

#: Told a trial's parameters and a function to report to; gives the score of each split, and what else was measured.
Scorer = Callable[[dict[str, Any], Callable[[int, float], None]], tuple[list[float], dict[str, float]]]


class _Failed(Exception):
    """A trial whose parameters do not work."""


def problem(estimator: Any, rows: Rows, folds: Folds, **more: Any) -> dict[str, Any]:
    """What must agree for the scores of two trials to be comparable, as plain data.

    Parameters
    ----------
    estimator : DistilledEstimator
    rows : Rows
    folds : Folds
    **more
        To be added.

    Returns
    -------
    dict
    """
    params = {k: v for k, v in estimator.get_params(deep=True).items() if k.rpartition("__")[2] not in _RUNNING}
    named = getattr(rows.X, "columns", range(rows.X.shape[1]))
    return {
        "columns": [str(name) for name in named],
        "classes": None if rows.targets.classes is None else [str(label) for label in rows.targets.classes.tolist()],
        "rows": len(rows.y),
        "table": fingerprint(rows.X),
        "target": joblib.hash((rows.targets.hard, rows.targets.weight)),
        "folds": joblib.hash(folds.splits),
        **more,
        **{f"the estimator's {name}": _plain(value) for name, value in sorted(params.items())},
    }


def _plain(value: Any) -> str:
    if hasattr(value, "get_params") and not isinstance(value, type):
        return type(value).__name__
    return getattr(value, "__qualname__", None) or repr(value)


class Stage:
    """Trials of one kind in a study of their own.

    Parameters
    ----------
    search : DistillationSearchCV
        Only its parameters are read.
    name : str
        Of the study, behind the search's.
    space : mapping or function
    names : collection of str
        Parameters that there are.
    objectives : sequence of str
        The score first or last, and what else is measured.
    problem : dict
    folds : Folds
    seed : int or None
    teacher : bool
    """

    def __init__(
        self,
        search: Any,
        name: str,
        space: Space,
        *,
        names: set[str],
        objectives: Sequence[str],
        problem: Mapping[str, Any],
        folds: Folds,
        seed: int | None,
        teacher: bool,
    ) -> None:
        self.search = search
        self.space = space
        self.names = names
        self.objectives = objectives
        self.folds = folds
        self.teacher = teacher
        directions: list[Any] = ["maximize" if objective == "score" else "minimize" for objective in objectives]
        self.study = open_study(
            search.storage, f"{search.study_name}-{name}", {**problem, "objectives": list(objectives)}, directions,
            sampler=search.sampler, pruner=search.pruner,
        )  # fmt: skip
        if search.sampler is None:
            # One that goes on must not draw again what it drew at first, nor students what teachers drew.
            known = len(self.study.get_trials(deepcopy=False))
            mixed = None if seed is None else np.random.SeedSequence([seed, known, teacher]).generate_state(1)[0]
            self.study.sampler = optuna.samplers.TPESampler(seed=None if mixed is None else int(mixed))

    def run(self, score: Scorer, n_trials: int, deadline: float | None) -> None:
        """Run trials until the study holds enough.

        Parameters
        ----------
        score : callable
        n_trials : int
            What the study shall hold in the end.
        deadline : float or None
            By the clock of ``time.monotonic``; one trial is run in any case.

        Raises
        ------
        ValueError
            If every trial fails.
        """
        study = self.study
        reclaim(study)
        if not any(DEFAULT in trial.user_attrs for trial in study.get_trials(deepcopy=False)):
            study.enqueue_trial({}, user_attrs={DEFAULT: True})

        def enough(study: optuna.Study, trial: FrozenTrial) -> None:
            if len(finished(study)) + under_way(study) >= n_trials:
                study.stop()

        missing = n_trials - len(finished(study))
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            left, missing = None, int(not finished(study))
        if missing > 0:
            study.optimize(
                lambda trial: self._objective(trial, score), n_trials=missing, timeout=left, n_jobs=self.search.n_jobs,
                callbacks=[*self.search.callbacks, enough], catch=_Failed, show_progress_bar=self.search.verbose > 0,
            )  # fmt: skip
        if not self.complete():
            failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
            causes = [trial.user_attrs[_ERROR] for trial in failed if _ERROR in trial.user_attrs]
            raise ValueError(f"All trials of {study.study_name} failed, the first with {causes[0] if causes else '?'}")

    def _objective(self, trial: optuna.Trial, score: Scorer) -> tuple[float, ...]:
        mark_as_mine(trial)
        params = self._params(trial)

        def report(step: int, value: float) -> None:
            if len(self.objectives) == 1 and DEFAULT not in trial.user_attrs:
                trial.report(value, step)
                if trial.should_prune():
                    raise optuna.TrialPruned

        try:
            splits, measures = score(params, report)
        except optuna.TrialPruned:
            raise
        except Exception as error:  # parameters may break an estimator in any way: the others go on
            trial.set_user_attr(_ERROR, f"{type(error).__name__}: {error}")
            _LOG.warning("Trial %d failed with %s: %s", trial.number, type(error).__name__, error)
            raise _Failed from error
        trial.set_user_attr(_SPLITS, splits)
        trial.set_user_attr(_MEASURES, measures)
        values = {"score": float(np.mean(splits)), **measures}
        return tuple(values[name] for name in self.objectives)

    def _params(self, trial: Any) -> dict[str, Any]:
        if DEFAULT in trial.user_attrs:
            return {}
        return draw(trial, self.space, self.names, teacher=self.teacher)

    def complete(self) -> list[FrozenTrial]:
        """Trials that were scored to the end."""
        return [trial for trial in finished(self.study) if _SPLITS in trial.user_attrs]

    def results(self) -> dict[str, Any]:
        """Every trial that counts, in the form of scikit-learn's ``cv_results_``."""
        trials = finished(self.study)
        params = [self.params_of(trial) for trial in trials]
        nothing = [np.nan] * len(self.folds.splits)
        splits = np.array([trial.user_attrs.get(_SPLITS, nothing) for trial in trials], dtype=float)
        mean = splits.mean(axis=1)
        found: dict[str, Any] = {
            "trial": np.array([trial.number for trial in trials]),
            "state": np.array([trial.state.name for trial in trials]),
            "params": params,
        }
        for name in sorted({name for one in params for name in one}):
            column = np.ma.masked_all(len(trials), dtype=object)
            for row, one in enumerate(params):
                if name in one:
                    column[row] = one[name]
            found[f"param_{name}"] = column
        found |= {f"split{k}_test_score": splits[:, k] for k in range(splits.shape[1])}
        found |= {"mean_test_score": mean, "std_test_score": splits.std(axis=1)}
        found["rank_test_score"] = pd.Series(-mean).rank(method="min", na_option="bottom").to_numpy(dtype=int)
        for name in self.objectives:
            if name != "score":
                measures = [trial.user_attrs.get(_MEASURES, {}).get(name, np.nan) for trial in trials]
                found[name] = np.array(measures, dtype=float)
        return found

    def params_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """What a stored trial set: drawn again from what it drew."""
        return {} if DEFAULT in trial.user_attrs else self._params(FixedTrial(trial.params))

    def given(self) -> float:
        """Score of the first trial; NaN where another process has not finished it."""
        scores = [np.mean(trial.user_attrs[_SPLITS]) for trial in self.complete() if DEFAULT in trial.user_attrs]
        return float(scores[0]) if scores else np.nan

    def front(self) -> pd.DataFrame:
        """Trials that no other beats in every objective, the best score first."""
        rows = [
            {"trial": trial.number, **dict(zip(self.objectives, trial.values, strict=True)), **self.params_of(trial)}
            for trial in self.study.best_trials
        ]
        return pd.DataFrame(rows).sort_values("score", ascending=False, ignore_index=True)

    def choose(self, whole: Sequence[float] | None = None) -> tuple[int | None, float]:
        """The trial to take, and what to expect of the choice.

        For each split the best trial is chosen by the other splits of its repeat, and scored on that one. Where the
        first trial, the estimator as it was given, is not beaten by that, it stays. What to expect is the score of all
        that, made again for each split by the others: to keep the better of two looks better than it is, too.

        Parameters
        ----------
        whole : sequence of float, optional
            Score of each split of the estimator as it was given, if that is none of the trials.

        Returns
        -------
        place : int or None
            In :meth:`results`; None if ``whole`` is not beaten.
        expected : float
        """
        trials = finished(self.study)
        places = [i for i, trial in enumerate(trials) if _SPLITS in trial.user_attrs]
        splits = np.array([trials[i].user_attrs[_SPLITS] for i in places], dtype=float)
        given = next((row for row, i in enumerate(places) if DEFAULT in trials[i].user_attrs), None)
        if whole is not None:
            splits = np.vstack([splits, whole])
        repeats = np.array(self.folds.repeat_of)

        def taken(seen: np.ndarray) -> int:
            return _taken(splits[:, seen], repeats[seen], given, held_against=whole is not None)

        row = taken(np.arange(len(repeats)))
        expected = [splits[taken(others), k] for k, others in enumerate(_others(repeats))]
        return places[row] if row < len(places) else None, float(np.mean(expected))


def _taken(splits: np.ndarray, repeats: np.ndarray, given: int | None, *, held_against: bool) -> int:
    """The row to take by all these splits; the last one, if trials are held against it, is none of them."""
    trials = splits[:-1] if held_against else splits
    means = trials.mean(axis=1)
    row = int(means.argmax())
    again = [trials[trials[:, others].mean(axis=1).argmax(), k] for k, others in enumerate(_others(repeats))]
    score = np.mean(again)
    if given is not None and score <= means[given]:
        row, score = given, means[given]
    return len(trials) if held_against and splits[-1].mean() >= score else row


def _others(repeats: np.ndarray) -> list[np.ndarray]:
    """For each split the others of its repeat; itself where it is alone."""
    places = np.arange(len(repeats))
    others = [places[(repeats == repeat) & (places != k)] for k, repeat in enumerate(repeats)]
    return [some if len(some) else places[[k]] for k, some in enumerate(others)]

"""What one set of parameters is worth: scored split by split, the student on soft targets that are made once."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from tabkd._compat import clone_estimator
from tabkd.crossfit import StudentFit, cross_fit_students
from tabkd.export import to_onnx
from tabkd.folds import Folds
from tabkd.frames import as_table, fingerprint, rows_of
from tabkd.learners import ExtraRows, Learner
from tabkd.models import FittedModel
from tabkd.recipe import Recipe, Teaching
from tabkd.rows import Rows, check_classes_outside_pairs
from tabkd.runtime import OnnxPredictor
from tabkd.scoring import Choice, Judge, Judged
from tabkd.targets import Targets

__all__ = ["MEASURES", "Report", "Trials", "measured"]

Fits = dict[Any, StudentFit]

#: Told the number of splits done and the mean score so far; it may raise to give up.
Report = Callable[[int, float], None]
#: What is measured on the exported file, all the better the smaller.
MEASURES = ("latency", "size", "n_features")
#: Rows that the latency of one row is the median of.
_N_CALLS = 200


class Trials:
    """Scores candidates for one problem, all on the same folds.

    Parameters
    ----------
    estimator : DistilledEstimator
        Candidates are this with other parameters.
    rows : Rows
    memory : joblib.Memory
        Where fitted teachers are cached.
    seed : int or None
        Of the folds, where the estimator has none: every trial must be scored on the same.
    X_unlabeled : table or None
        Rows without labels.

    Attributes
    ----------
    folds : Folds
    """

    def __init__(
        self, estimator: Any, rows: Rows, memory: Any, seed: int | None = None, X_unlabeled: Any = None
    ) -> None:
        self.estimator = estimator
        self.rows = rows
        self.memory = memory
        self.X_unlabeled = X_unlabeled
        recipe = Recipe(estimator, rows, None, X_unlabeled)
        if recipe.seed is None:
            recipe.seed = 0 if seed is None else seed
        self.folds = recipe.folds(estimator.cv, partition=True)
        if not recipe.frozen:
            check_classes_outside_pairs(self.folds, rows.targets)
        recipe.judge.check_splits(self.folds)
        self._taught: dict[str, Teaching] = {}

    @property
    def given(self) -> dict[str, str]:
        """What was given beside the labelled rows, as plain data: scores with and without it are not comparable."""
        return {} if self.X_unlabeled is None else {"rows without labels": fingerprint(as_table(self.X_unlabeled))}

    def teacher(self, params: Mapping[str, Any], report: Report | None = None) -> list[float]:
        """Score of a teacher on each split, by ordinary folds: it learns from true labels alone."""
        recipe = self._recipe(params)
        encoder, learner = recipe.read_teacher(recipe.teachers[0], recipe.seed)
        targets = [self.rows.targets] * len(self.folds.splits)
        fits = self._fit(recipe, {"teacher": learner}, {}, encoder.transform(self.rows.X), targets, report)
        return self._scores(recipe.judge, fits, {})

    def student(
        self, params: Mapping[str, Any], report: Report | None = None, *, measure: bool = False
    ) -> tuple[list[float], dict[str, float]]:
        """Score of a student on each split, by pairs of folds, and what its exported file measures.

        Parameters
        ----------
        params : mapping
            Of student, distillation and teacher. Soft targets are made once for each teacher and set of its columns.
        report : callable, optional
        measure : bool

        Returns
        -------
        scores : list of float
            One per split.
        measures : dict of str to float
            Empty unless asked for.
        """
        recipe = self._recipe(params)
        teaching = self._teaching(recipe, params)
        own = [recipe.lesson(soft) for soft in teaching.per_fold or ()]
        controls = recipe.controls if recipe.settings.alpha == "auto" else {}
        recipe.X = recipe.encoder.transform(self.rows.X)
        fits = self._fit(recipe, recipe.distilled, controls, recipe.X, own, report, teaching.extras)
        recipe.later_generations(fits, teaching)
        scores = self._scores(recipe.judge, fits, controls)
        if not measure:
            return scores, {}
        choice = _chosen(recipe.judge, fits, controls, recipe.everyone)
        return scores, measured(recipe.ready(choice, fits), self.rows.X)

    def _recipe(self, params: Mapping[str, Any]) -> Recipe:
        candidate = clone_estimator(self.estimator).set_params(**params, memory=self.memory, verbose=0)
        recipe = Recipe(candidate, self.rows, None, self.X_unlabeled)
        recipe.outer = self.folds
        return recipe

    def _teaching(self, recipe: Recipe, params: Mapping[str, Any]) -> Teaching:
        of_teacher = {name: value for name, value in params.items() if name.startswith(("teacher", "transfer"))}
        # Rows without labels are encoded as this student reads them.
        key = joblib.hash((of_teacher, recipe.encoder if recipe.transfer else None))
        if key not in self._taught:
            self._taught[key] = replace(recipe.teach(), teacher=None)
        return self._taught[key]

    def _fit(
        self,
        recipe: Recipe,
        learners: Mapping[Any, Learner],
        controls: Mapping[Any, Learner],
        X: Any,
        own: Sequence[Targets],
        report: Report | None,
        extras: Sequence[ExtraRows | None] | None = None,
    ) -> Fits:
        """Fit some splits at a time, and report in between what the score is so far."""
        folds, everyone = self.folds, {**controls, **learners}
        shape = (folds.n_repeats, *self.rows.targets.hard.shape)
        fits = {name: StudentFit([], np.full(shape, np.nan)) for name in everyone}
        step, first_repeat = joblib.effective_n_jobs(recipe.settings.n_jobs), folds.repeat_of.count(0)
        for start in range(0, len(folds.splits), step):
            some = slice(start, start + step)
            splits, repeats = folds.splits[some], folds.repeat_of[some]
            run = recipe.run | {"extras": None if extras is None else extras[some]}
            part = Folds(splits, [repeat - repeats[0] for repeat in repeats])
            for name, fit in cross_fit_students(everyone, X, own[some], part, **run).items():
                fits[name].members.extend(fit.members)
                for repeat, (_, test) in zip(repeats, splits, strict=True):
                    fits[name].predictions[repeat, test] = fit.predictions[repeat - repeats[0], test]
            if report is not None and start + step < first_repeat:
                report(start + step, self._running(recipe.judge, fits, controls, start + step))
        return fits

    def _running(self, judge: Judge, fits: Fits, controls: Mapping[Any, Any], n_splits: int) -> float:
        """Mean score of the first splits, all of the first repeat."""
        tests = [test for _, test in self.folds.splits[:n_splits]]
        first = {name: replace(fit, predictions=fit.predictions[:1]) for name, fit in fits.items()}
        choice = _chosen(judge, first, controls, np.concatenate(tests))
        judged = judge.judged(first[choice.name].predictions, choice.threshold)
        return float(np.mean([judge.score(judged, test) for test in tests]))

    def _scores(self, judge: Judge, fits: Fits, controls: Mapping[Any, Any]) -> list[float]:
        """Score of each split, alpha and threshold chosen without it."""
        choices, _ = judge.choose_again(*_candidates(fits, controls), self.folds, forced=not controls)
        judged = judge.held_out(self.folds, [(fits[one.name].predictions, one.threshold) for one in choices])
        scores = [
            judge.score(Judged(judged.predictions[[repeat]], judged.codes[[repeat]]), test)
            for repeat, (_, test) in zip(self.folds.repeat_of, self.folds.splits, strict=True)
        ]
        if not np.isfinite(scores).all():
            raise ValueError(f"scores of the splits are {scores}")
        return scores


def _candidates(fits: Fits, controls: Mapping[Any, Any]) -> tuple[dict[Any, np.ndarray], dict[Any, np.ndarray]]:
    """Predictions of the distilled students and of the controls; without controls nothing is held against any."""
    predictions = {name: fit.predictions for name, fit in fits.items()}
    distilled = {name: values for name, values in predictions.items() if name not in controls}
    return distilled, {name: predictions[name] for name in controls} or distilled


def _chosen(judge: Judge, fits: Fits, controls: Mapping[Any, Any], rows: np.ndarray) -> Choice:
    return judge.choose(*_candidates(fits, controls), rows, forced=not controls)[0]


def measured(model: FittedModel, X: Any) -> dict[str, float]:
    """What a student costs where it runs: from its exported file.

    Parameters
    ----------
    model : FittedModel
    X : table of shape (n_samples, n_features)
        Rows to predict, one by one.

    Returns
    -------
    dict of str to float
        ``latency`` of one row, the median in microseconds; ``size`` of the file in bytes; ``n_features``, the columns
        that it reads.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = to_onnx(model, Path(folder) / "student.onnx")
        predictor, size = OnnxPredictor(path), path.stat().st_size
    table = pd.DataFrame(model.encoder.pick(rows_of(X, np.arange(min(len(X), _N_CALLS)))))
    rows: list[Any] = table.set_axis(predictor.columns, axis=1).to_dict(orient="records")
    taken = []
    for row in rows * -(-_N_CALLS // len(rows)):
        start = time.perf_counter_ns()
        predictor.predict_one(row)
        taken.append((time.perf_counter_ns() - start) / 1e3)
    return {"latency": float(np.median(taken)), "size": float(size), "n_features": float(len(predictor.columns))}

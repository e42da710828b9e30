"""The competition: 52 columns in train, 18 in test (Dacon 236013, construction-machinery oil).

a. The second-placed recipe, to the digit: written by hand as the plain loop, and through DistilledEstimator.
b. Quality, nested: teacher, control and student on outer folds that played no part in any choice.
c. Honesty: the score reported by ordinary out-of-fold and by pairs of folds, against rows left out.
d. Cost: pairs of folds with alpha="auto" against the plain recipe at fixed alpha.
e. Export: the recipe's student as one file, against Python on the competition's test rows.

Run: python benchmarks/bench_oil.py [--quick] [--parts a,b,c,d,e]
"""

from __future__ import annotations

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from _common import DATA, arguments, save, seconds, spread, table
from _memory import MachineMemory
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier, VotingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, RepeatedStratifiedKFold, StratifiedKFold, train_test_split

from tabkd import DistilledEstimator, evaluate_distillation
from tabkd.columns import ColumnEncoder
from tabkd.crossfit import cross_fit_students, cross_fit_teacher
from tabkd.folds import make_folds
from tabkd.learners import Learner
from tabkd.recipe import ALPHAS
from tabkd.rows import Rows, read_rows
from tabkd.runtime import OnnxPredictor
from tabkd.scoring import Judge

QUESTION = "oil"
CATEGORY = "COMPONENT_ARBITRARY"
SCORING = ["roc_auc", "average_precision", "neg_log_loss", "f1_macro"]


def recipe_teacher(scale: float = 1.0) -> CatBoostClassifier:
    return CatBoostClassifier(
        iterations=round(513 * scale), learning_rate=0.03142344166841527, depth=6, random_seed=39,
        cat_features=[CATEGORY], verbose=False, allow_writing_files=False,
    )  # fmt: skip


def recipe_student(scale: float = 1.0) -> CatBoostRegressor:
    return CatBoostRegressor(
        iterations=round(848 * scale), learning_rate=0.01310047432090872, depth=9, random_seed=39,
        cat_features=[CATEGORY], verbose=False, allow_writing_files=False,
    )  # fmt: skip


def recipe(scale: float = 1.0, **settings: Any) -> DistilledEstimator:
    _, _, entry = table("dacon_oil")
    plain = {"alpha": 0, "loss": "squared_error", "ensemble": True, "cross_fit": "folds"}
    return DistilledEstimator(
        recipe_teacher(scale), recipe_student(scale), teacher_features=[*entry["deploy"], "AL", "BA"],
        student_features=entry["deploy"], **{**plain, **settings},
    )  # fmt: skip


# ---------------------------------------------------------------------- a. the recipe


def by_hand(scale: float) -> np.ndarray:
    """The loop as competitors write it."""
    X, y, entry = table("dacon_oil")
    test = pd.read_csv(DATA / "dacon_oil" / "test.csv.gz")[entry["deploy"]]
    X_teacher, X_student = X[[*entry["deploy"], "AL", "BA"]], X[entry["deploy"]]
    soft = np.zeros(len(y))
    for train, valid in StratifiedKFold(5, shuffle=True, random_state=39).split(X, y):
        teacher = recipe_teacher(scale)
        teacher.fit(X_teacher.iloc[train], y.iloc[train])
        soft[valid] = teacher.predict_proba(X_teacher.iloc[valid])[:, 1]
    total = np.zeros(len(test))
    for train, _ in KFold(5, shuffle=True, random_state=39).split(X):
        student = recipe_student(scale)
        student.fit(X_student.iloc[train], soft[train])
        total += student.predict(test)
    return np.clip(total / 5, 0, 1)


def by_library(scale: float) -> np.ndarray:
    model, test = fitted_recipe(scale)
    return model.predict_proba(test)[:, 1]


def fitted_recipe(scale: float, **settings: Any) -> tuple[DistilledEstimator, pd.DataFrame]:
    """The recipe on all rows, and the competition's test rows."""
    X, y, entry = table("dacon_oil")
    test = pd.read_csv(DATA / "dacon_oil" / "test.csv.gz")[entry["deploy"]]
    folds = {
        "cv": StratifiedKFold(5, shuffle=True, random_state=39),
        "student_cv": KFold(5, shuffle=True, random_state=39),
    }
    return recipe(scale, **folds, **settings).fit(X, y), test


def measured(work: Any, scale: float) -> tuple[np.ndarray, float, float]:
    """Predictions, wall seconds and peak resident MiB of one process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, work, scale).result()


def _measure(work: Any, scale: float) -> tuple[np.ndarray, float, float]:
    start = time.perf_counter()
    predictions = work(scale)
    return predictions, time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def part_a(quick: bool) -> list[dict[str, Any]]:
    rows = []
    for repeat in range(1 if quick else 3):
        scale = 0.05 if quick else 1.0
        order = [by_hand, by_library] if repeat % 2 == 0 else [by_library, by_hand]
        ran = {work.__name__: measured(work, scale) for work in order}
        (hand, hand_s, hand_mib), (ours, ours_s, ours_mib) = ran["by_hand"], ran["by_library"]
        rows.append(
            {
                "repeat": repeat,
                "largest_difference": float(np.abs(hand - ours).max()),
                "by_hand_s": hand_s,
                "library_s": ours_s,
                "time_ratio": ours_s / hand_s,
                "memory_ratio": ours_mib / hand_mib,
            }
        )
    return rows


# ---------------------------------------------------------------------- b. quality


def boosters(library: str, scale: float = 1.0) -> tuple[Any, Any]:
    """The default pair: a teacher of 300 trees and a student of 150."""
    teacher, student = round(300 * scale), round(150 * scale)
    if library == "lightgbm":
        return tuple(LGBMClassifier(n_estimators=n, verbose=-1) for n in (teacher, student))
    quiet = {"cat_features": [CATEGORY], "verbose": False, "allow_writing_files": False}
    return tuple(CatBoostClassifier(iterations=n, **quiet) for n in (teacher, student))


def best(scale: float = 1.0) -> DistilledEstimator:
    """A student that remembers machines, and what the teacher said of them; chosen on folds of other seeds."""
    _, _, entry = table("dacon_oil")
    return DistilledEstimator(
        LGBMClassifier(n_estimators=round(300 * scale), learning_rate=0.05, verbose=-1), MachineMemory(scale),
        student_features=entry["deploy"], alpha=0.5, ensemble=True, threshold="f1_macro", random_state=0,
    )  # fmt: skip


def blended(scale: float = 1.0) -> DistilledEstimator:
    """Three unlike students in one: tuned by hand on five-fold scores of the same table, which flatters it a little."""
    _, _, entry = table("dacon_oil")
    student = VotingClassifier(
        [
            (
                "lightgbm",
                LGBMClassifier(
                    n_estimators=round(150 * scale), learning_rate=0.03, num_leaves=15, min_child_samples=50,
                    subsample=0.7, subsample_freq=1, colsample_bytree=0.5, verbose=-1,
                ),
            ),
            (
                "catboost",
                CatBoostClassifier(
                    iterations=round(200 * scale), learning_rate=0.06, depth=5, verbose=False,
                    allow_writing_files=False,
                ),
            ),
            ("trees", ExtraTreesClassifier(round(50 * scale), min_samples_leaf=5, max_features=None, n_jobs=2)),
        ],
        voting="soft",
    )  # fmt: skip
    teacher = LGBMClassifier(n_estimators=round(300 * scale), learning_rate=0.05, verbose=-1)
    return DistilledEstimator(
        teacher, student, student_features=entry["deploy"], teacher_features=[*entry["deploy"], "AL", "BA"],
        ensemble=True, threshold="f1_macro", random_state=0,
    )  # fmt: skip


def contestants(scale: float, memory: str) -> dict[str, tuple[DistilledEstimator, int]]:
    """Configurations, and how often the five outer folds are repeated for each."""
    _, _, entry = table("dacon_oil")
    inner = {"student_features": entry["deploy"], "threshold": "f1_macro", "random_state": 0, "memory": memory}
    made = {"best": (best(scale), 2), "three models in one": (blended(scale), 2)}
    for library in ("lightgbm", "catboost"):
        for ensemble in (False, True):
            name = f"default, {library}, {'ensemble' if ensemble else 'single'}"
            made[name] = (DistilledEstimator(*boosters(library, scale), ensemble=ensemble, **inner), 2)
    # The recipe has no honest score of its own; pairs of folds give it the threshold that it lacks. Its students of
    # depth 9 take most of the time, so it gets one repeat.
    made["recipe"] = (recipe(scale, cross_fit="pairs", threshold="f1_macro", random_state=39), 1)
    return made


def part_b(quick: bool) -> list[dict[str, Any]]:
    X, y, _ = table("dacon_oil")
    if quick:
        X, _, y, _ = train_test_split(X, y, train_size=2000, stratify=y, random_state=0)
    rows = []
    with TemporaryDirectory() as memory:
        for name, (model, n_repeats) in contestants(0.1 if quick else 1.0, memory).items():
            n_splits, n_repeats = (3, 1) if quick else (5, n_repeats)
            cv = RepeatedStratifiedKFold(n_splits=n_splits, n_repeats=n_repeats, random_state=0)
            start = time.perf_counter()
            report = evaluate_distillation(model, X, y, cv=cv, scoring=SCORING)
            minutes = (time.perf_counter() - start) / 60
            print(f"{name}, {minutes:.1f} min", report, report.choices.to_string(), sep="\n", flush=True)
            for metric, row in report.summary().iterrows():
                rows.append({"configuration": name, "metric": metric, "folds": n_splits * n_repeats, **row})
            save(QUESTION + ("_quick" if quick else ""), "quality", rows)
    return rows


# ---------------------------------------------------------------------- c. honesty


def honesty(rows: Rows, left: Rows, teacher_columns: list[int], student_columns: list[int], scale: float, seed: int):
    """For each alpha: the score by ordinary folds, by pairs, and the same fold students' mean on rows left out."""
    teacher, student = boosters("lightgbm", scale)
    folds = make_folds(5, rows.X, rows.y, classifier=True, seed=seed)
    readers = [ColumnEncoder.fit(rows.X, columns) for columns in (teacher_columns, student_columns)]
    X_teacher, X_student = (reader.transform(rows.X) for reader in readers)
    X_left = readers[1].transform(left.X)
    judge = Judge(rows.targets, scoring="roc_auc", seed=seed)
    chooser = Judge(rows.targets, seed=seed)
    template = Learner(student, seed=seed)
    distilled = {alpha: replace(template, loss="auto", alpha=alpha) for alpha in ALPHAS}
    taught = {}
    for pairs in (True, False):
        fit = cross_fit_teacher(Learner(teacher, linked=False, seed=seed), X_teacher, rows.targets, folds, pairs=pairs)
        own = fit.per_fold if pairs else [fit.soft_targets] * len(folds.splits)
        targets = [replace(rows.targets, soft=soft) for soft in own]
        taught[pairs] = cross_fit_students({"control": template, **distilled}, X_student, targets, folds)
    students = taught[True]
    true = {
        name: np.mean([roc_auc_score(left.y, member.raw(X_left)[:, 0]) for member in fit.members])
        for name, fit in students.items()
    }
    found = {
        name: {
            "ordinary": judge.score(judge.judged(taught[False][name].predictions)),
            "pairs": judge.score(judge.judged(students[name].predictions)),
            "by_fold": np.mean([judge.score(judge.judged(students[name].predictions), t) for _, t in folds.splits]),
            "true": true[name],
        }
        for name in ("control", 0.0, 0.5)
    }
    for name, fits in (("ordinary", taught[False]), ("pairs", students)):
        candidates = {alpha: fits[alpha].predictions for alpha in ALPHAS}
        control = {"control": fits["control"].predictions}
        chosen, _ = chooser.nested(candidates, control, folds, forced=False)
        found.setdefault("auto", {})[name] = judge.score(chosen)
        if name == "pairs":
            choice, _ = chooser.choose(candidates, control, np.arange(len(rows.y)), forced=False)
            found["auto"]["true"] = true[choice.name]
    return found


def part_c(quick: bool) -> list[dict[str, Any]]:
    X, y, entry = table("dacon_oil")
    student_columns = [X.columns.get_loc(name) for name in entry["deploy"]]
    everything = read_rows(X, y, None, None, regression=False)
    teachers = {"all 52 columns": list(range(X.shape[1])), "same 18 columns": student_columns}
    results = []
    for teacher, columns in teachers.items():
        for n_rows, n_seeds in [(1000, 2)] if quick else [(2000, 40), (8000, 10)]:
            found: dict[str, list[dict[str, float]]] = {}
            for seed in range(n_seeds):
                kept, left = train_test_split(np.arange(len(y)), train_size=n_rows, stratify=y, random_state=seed)
                parts = (Rows(X.iloc[k], everything.targets.take(k), None) for k in (kept, left))
                for alpha, scores in honesty(*parts, columns, student_columns, 0.2 if quick else 1.0, seed).items():
                    found.setdefault(str(alpha), []).append(scores)
            for alpha, scores in found.items():
                frame = pd.DataFrame(scores)
                bias = frame["pairs"] - frame["true"]
                results.append(
                    {
                        "rows": n_rows,
                        "teacher": teacher,
                        "alpha": alpha,
                        **frame.mean(),
                        "ordinary_bias": (frame["ordinary"] - frame["true"]).mean(),
                        "pairs_bias": bias.mean(),
                        "pairs_bias_se": spread(bias)["se"],
                    }
                )
            save(QUESTION + ("_quick" if quick else ""), "honesty", results)
    return results


# ---------------------------------------------------------------------- d. cost


def part_d(quick: bool) -> list[dict[str, Any]]:
    X, y, entry = table("dacon_oil")
    if quick:
        X, y = X.iloc[:3000], y.iloc[:3000]
    rows = []
    for library, n_jobs in [("lightgbm", None), ("lightgbm", 2), ("catboost", None), ("catboost", 2)]:
        teacher, _ = boosters(library)
        name = "iterations" if library == "catboost" else "n_estimators"
        student = clone_with(teacher, **{name: 75})
        shared = {"student_features": entry["deploy"], "random_state": 0, "n_jobs": n_jobs}
        pairs = DistilledEstimator(teacher, student, **shared)
        folds = DistilledEstimator(teacher, student, cross_fit="folds", alpha=0.5, **shared)
        clone(folds).fit(X.iloc[:1000], y.iloc[:1000])  # imports and worker processes, once
        for repeat in range(1 if quick else 3):
            pairs_s, folds_s = seconds(lambda m=pairs: m.fit(X, y)), seconds(lambda m=folds: m.fit(X, y))
            rows.append(
                {
                    "library": library,
                    "n_jobs": n_jobs or 1,
                    "repeat": repeat,
                    "pairs_s": pairs_s,
                    "folds_s": folds_s,
                    "ratio": pairs_s / folds_s,
                }
            )
    return rows


def clone_with(model: Any, **params: Any) -> Any:
    return type(model)(**{**model.get_params(), **params})


# ---------------------------------------------------------------------- e. export


def part_e(quick: bool) -> list[dict[str, Any]]:
    rows = []
    for ensemble in (True, False):
        model, test = fitted_recipe(0.05 if quick else 1.0, ensemble=ensemble)
        with TemporaryDirectory() as folder:
            path = model.to_onnx(f"{folder}/student.onnx", X=test)
            predictor = OnnxPredictor(path)
            difference = np.abs(predictor.predict_proba(test) - model.predict_proba(test)).max()
            rows.append(
                {
                    "student": "ensemble" if ensemble else "single",
                    "test_rows": len(test),
                    "largest_difference": difference,
                    "labels_differ": (predictor.predict(test) != model.predict(test)).sum(),
                    "proof_rows": predictor.metadata["proof"]["rows"],
                    "proof_largest_difference": predictor.metadata["proof"]["largest_difference"],
                    "mib": path.stat().st_size / 2**20,
                }
            )
    return rows


PARTS = {
    "a": ("recipe", part_a),
    "b": ("quality", part_b),
    "c": ("honesty", part_c),
    "d": ("cost", part_d),
    "e": ("export", part_e),
}

if __name__ == "__main__":
    given = arguments(__doc__)
    for letter, (title, part) in PARTS.items():
        if not given.parts or letter in given.parts.split(","):
            save(QUESTION + ("_quick" if given.quick else ""), title, part(given.quick))

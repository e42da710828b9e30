"""What does a search bring, what does it cost, does it tell the truth, and does it survive?

a. Oil, 18 columns: an outer five-fold loop around the whole search, 50 trials of teachers and 50 of students; the score
   that the search reports, and the one that ordinary out-of-fold would report of its winner, against the outer folds.
b. Adult, 10,000 rows: a trial of a student against a full fit, and 50 pruned trials against plain Optuna over
   ``cross_val_score`` of the whole estimator.
c. ``kill -9`` at random times, until the search is done.
d. Pure noise, 400 rows, ten trials, 40 tables: ROC AUC that the search reports, and that of its default and of its
   luckiest trial; 4,000 new rows tell the truth.

Run: python benchmarks/bench_search.py [--quick] [--parts a,b,c,d]
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
import pandas as pd
from _common import arguments, save, seconds, table
from lightgbm import LGBMClassifier
from sklearn.base import clone
from sklearn.metrics import f1_score, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.tree import DecisionTreeClassifier

from tabkd import DistillationSearchCV, DistilledEstimator
from tabkd.crossfit import cross_fit_students, cross_fit_teacher
from tabkd.folds import make_folds
from tabkd.recipe import Recipe
from tabkd.rows import read_rows
from tabkd.spaces import draw, parameter_names
from tabkd.studies import studies_in

QUESTION = "search"


def lgbm(n_trees: int) -> LGBMClassifier:
    return LGBMClassifier(n_estimators=n_trees, n_jobs=1, verbose=-1)


# ---------------------------------------------------------------------- a. quality and honesty


def ordinary(model: DistilledEstimator, X: pd.DataFrame, y: pd.Series) -> float:
    """AUC of the student by ordinary out-of-fold: its teachers have seen the labels that it is scored on."""
    rows = read_rows(X, y, None, None, regression=False)
    recipe = Recipe(model, rows)
    folds = make_folds(5, X, rows.y, classifier=True, seed=0)
    encoder, learner = recipe.read_teacher()
    soft = cross_fit_teacher(learner, encoder.transform(X), rows.targets, folds, pairs=False).soft_targets
    own = [rows.targets.__class__(rows.targets.hard, soft, rows.targets.classes, None)] * len(folds.splits)
    fits = cross_fit_students(recipe.distilled, recipe.encoder.transform(X), own, folds)
    (fit, *_) = fits.values()
    return float(np.mean([roc_auc_score(y.iloc[t], fit.predictions[0, t, 1]) for _, t in folds.splits]))


def part_a(quick: bool) -> list[dict[str, Any]]:
    X, y, entry = table("dacon_oil")
    if quick:
        X, _, y, _ = train_test_split(X, y, train_size=2000, stratify=y, random_state=0)
    n_teacher, n_student, n_trials = (30, 15, 3) if quick else (300, 150, 50)
    model = DistilledEstimator(
        lgbm(n_teacher), lgbm(n_student), student_features=entry["deploy"], scoring="roc_auc", threshold="f1_macro",
        random_state=0,
    )  # fmt: skip
    results: list[dict[str, Any]] = []
    for fold, (train, test) in enumerate(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y)):
        if quick and fold == 2:
            break
        start = time.perf_counter()
        search = DistillationSearchCV(model, n_trials=n_trials, random_state=0).fit(X.iloc[train], y.iloc[train])
        taken = time.perf_counter() - start
        default = clone(model).fit(X.iloc[train], y.iloc[train])
        row: dict[str, Any] = {"fold": fold, "minutes": taken / 60}
        for name, fitted in (("default", default), ("search", search)):
            row[f"{name}_auc"] = roc_auc_score(y.iloc[test], fitted.predict_proba(X.iloc[test])[:, 1])
            row[f"{name}_f1_macro"] = f1_score(y.iloc[test], fitted.predict(X.iloc[test]), average="macro")
        row["reported_auc"] = search.best_score_
        row["best_trial_auc"] = float(np.nanmax(search.cv_results_["mean_test_score"]))
        fixed = {"alpha": 0.0} if search.best_estimator_.alpha == "auto" else {}
        winner = clone(model).set_params(**{**search.best_params_, **fixed})
        row["ordinary_auc"] = ordinary(winner, X.iloc[train], y.iloc[train])
        row["pruned"] = int((search.cv_results_["state"] == "PRUNED").sum())
        results.append({**row, "params": str(search.best_params_)})
        save(QUESTION + ("_quick" if quick else ""), "oil", results)
    return results


# ---------------------------------------------------------------------- b. cost


def part_b(quick: bool) -> list[dict[str, Any]]:
    X, y, entry = table("adult")
    y = pd.Series(pd.factorize(y, sort=True)[0], index=X.index)
    n_rows, n_trials, n_teacher = (1500, 5, 40) if quick else (10_000, 50, 300)
    results = []
    for seed in range(1 if quick else 2):
        train, test = train_test_split(np.arange(len(y)), train_size=n_rows, stratify=y, random_state=seed)
        X_train, y_train, X_test, y_test = X.iloc[train], y.iloc[train], X.iloc[test], y.iloc[test]
        model = DistilledEstimator(
            lgbm(n_teacher), lgbm(n_teacher // 4), student_features=entry["deploy"], alpha=0.5, random_state=0
        )
        full_s = seconds(partial(clone(model).fit, X_train, y_train))
        search = DistillationSearchCV(model, teacher_space={}, n_trials=n_trials, random_state=seed)
        search_s = seconds(partial(search.fit, X_train, y_train))
        whole = [t.duration.total_seconds() for t in search.study_.trials if t.state.name == "COMPLETE"]
        plain = PlainOptuna(model, search, n_trials, seed)
        plain_s = seconds(partial(plain.fit, X_train, y_train))
        results.append(
            {
                "seed": seed,
                "full_fit_s": full_s,
                "student_trial_s": float(np.median(whole[1:])),
                "trial_of_full_fit": float(np.median(whole[1:])) / full_s,
                "search_s": search_s,
                "plain_s": plain_s,
                "search_of_plain": search_s / plain_s,
                "pruned": int((search.cv_results_["state"] == "PRUNED").sum()),
                "default_log_loss": log_loss(y_test, clone(model).fit(X_train, y_train).predict_proba(X_test)),
                "search_log_loss": log_loss(y_test, search.predict_proba(X_test)),
                "plain_log_loss": log_loss(y_test, plain.best.predict_proba(X_test)),
            }
        )
        save(QUESTION + ("_quick" if quick else ""), "cost", results)
    return results


class PlainOptuna:
    """What one would write without this search: every trial fits everything, on every fold, in the cheapest way."""

    def __init__(self, model: Any, search: Any, n_trials: int, seed: int) -> None:
        self.model, self.search, self.n_trials, self.seed = model, search, n_trials, seed

    def fit(self, X: pd.DataFrame, y: pd.Series) -> None:
        rows = read_rows(X, y, None, None, regression=False)
        space, names = self.search._default_space(rows), parameter_names(self.model)
        cheap = clone(self.model).set_params(cross_fit="folds")

        def score(trial: optuna.Trial) -> float:
            candidate = clone(cheap).set_params(**draw(trial, space, names, teacher=False))
            return cross_val_score(candidate, X, y, cv=5, scoring="neg_log_loss").mean()

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=self.seed))
        study.optimize(score, n_trials=self.n_trials)
        best = draw(optuna.trial.FixedTrial(study.best_params), space, names, teacher=False)
        self.best = clone(cheap).set_params(**best).fit(X, y)


# ---------------------------------------------------------------------- c. kill -9


SCRIPT = """
    import sys
    from lightgbm import LGBMClassifier
    from sklearn.datasets import load_breast_cancer
    from tabkd import DistillationSearchCV, DistilledEstimator
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    quiet = {"n_estimators": 20, "n_jobs": 1, "verbose": -1}
    model = DistilledEstimator(
        LGBMClassifier(**quiet), LGBMClassifier(**quiet), student_features=slice(0, 10), alpha=0.5, random_state=0
    )
    DistillationSearchCV(model, n_trials=int(sys.argv[2]), storage=sys.argv[1], random_state=0, refit=False).fit(X, y)
"""


def part_c(quick: bool) -> list[dict[str, Any]]:
    n_trials, n_kills, rng = (4, 2, np.random.default_rng(0)) if quick else (60, 20, np.random.default_rng(0))
    results = []
    for kind in ("sqlite", "journal"):
        with TemporaryDirectory() as folder:
            storage = f"sqlite:///{folder}/study.db" if kind == "sqlite" else str(Path(folder) / "study.log")
            killed, lost = 0, 0
            known: dict[Any, Any] = {}
            while killed < n_kills:
                running = _started(storage, n_trials)
                time.sleep(rng.uniform(1.5, 4.0))
                if running.poll() is None:
                    os.kill(running.pid, signal.SIGKILL)
                    running.wait()
                    killed += 1
                now = _completed(storage)
                lost += sum(now.get(key) != value for key, value in known.items())
                known = now
                if running.returncode == 0:
                    break
            assert _started(storage, n_trials).wait() == 0
            counts = [
                sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)
                for study in studies_in(storage)
            ]
        results.append(
            {"storage": kind, "kills": killed, "asked": n_trials, "finished": str(counts), "lost_or_changed": lost}
        )
    return results


def _started(storage: str, n_trials: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", textwrap.dedent(SCRIPT), storage, str(n_trials)])


def _completed(storage: str) -> dict[Any, Any]:
    try:
        studies = studies_in(storage)
    except ValueError:  # killed before there was one
        return {}
    return {
        (study.study_name, trial.number): (trial.state, trial.value)
        for study in studies
        for trial in study.trials
        if trial.state.name in ("COMPLETE", "PRUNED")
    }


# ---------------------------------------------------------------------- d. noise


def part_d(quick: bool) -> list[dict[str, Any]]:
    found = [searched_noise(1000 + seed) for seed in range(4 if quick else 40)]
    return [
        {"score": name, "auc": np.mean(values), "standard_error": np.std(values, ddof=1) / len(values) ** 0.5}
        for name, values in ((name, [one[name] for one in found]) for name in found[0])
    ]


def searched_noise(seed: int) -> dict[str, float]:
    """What a search says of labels that nothing predicts, and what is true."""
    rng, n_rows = np.random.default_rng(seed), 400
    X = rng.normal(size=(n_rows + 4000, 8)).astype(np.float32)
    y = rng.permutation(np.repeat([0, 1], len(X) // 2))
    teacher, student = (DecisionTreeClassifier(max_depth=depth, random_state=0) for depth in (3, 4))
    columns = {"student_features": list(range(5)), "alpha": 0.5, "scoring": "roc_auc", "random_state": seed - 1000}
    search = DistillationSearchCV(
        DistilledEstimator(teacher, student.set_params(min_samples_leaf=5), **columns),
        {"student__max_depth": [1, 2, 3, 4, 6], "student__min_samples_leaf": [1, 5, 20, 40]},
        teacher_space={}, n_trials=10, random_state=seed - 1000, pruner=optuna.pruners.NopPruner(),
    ).fit(X[:n_rows], y[:n_rows])  # fmt: skip
    return {
        "best_score_": search.best_score_,
        "given_score_": search.given_score_,
        "luckiest trial": float(np.max(search.cv_results_["mean_test_score"])),
        "new rows": roc_auc_score(y[n_rows:], search.predict_proba(X[n_rows:])[:, 1]),
    }


PARTS = {"a": ("oil", part_a), "b": ("cost", part_b), "c": ("kills", part_c), "d": ("noise", part_d)}

if __name__ == "__main__":
    given = arguments(__doc__)
    for letter, (title, part) in PARTS.items():
        if not given.parts or letter in given.parts.split(","):
            save(QUESTION + ("_quick" if given.quick else ""), title, part(given.quick))

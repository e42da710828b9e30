"""What do half of the columns keep, and is the frontier as good as that of exhaustive greedy search, and how fast?

half: a distilled student on the deployable columns, and on half of them; how much of the gap between the full student
    and a constant predictor is left on rows that were held out.
forward, backward: scikit-learn's SequentialFeatureSelector against this selector with the same student, folds in
    number and score, at several numbers of columns; held-out scores, how far this selector's is behind and the paired
    standard error of that, and CPU seconds, one thread.
inside: what it costs to choose the columns in every fold, and whether the score reported then is that of new rows.

Run: python benchmarks/bench_budget.py [--quick] [--parts half,forward_support2,...]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from _common import arguments, save, table
from lightgbm import LGBMClassifier
from sklearn.base import clone
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split

from tabkd import DistilledEstimator, FeatureBudgetSelector

QUESTION = "budget"
TABLES = ("bank_marketing", "support2", "dacon_oil")
SEEDS = 3
LEFT = (12, 9, 7, 5, 3)
JUDGED = {"scoring": "neg_log_loss", "cv": 5}


def lgbm(n_trees: int) -> LGBMClassifier:
    return LGBMClassifier(n_estimators=n_trees, num_leaves=15, learning_rate=0.08, n_jobs=1, verbose=-1, random_state=0)


def splits(name: str, n_rows: int, quick: bool) -> Iterator[tuple[int, list[str], list[Any]]]:
    """Seed, deployable columns, and training and held-out rows with their labels."""
    X, y, entry = table(name)
    X = X.apply(lambda c: c if c.dtype.kind in "ifb" else pd.Series(pd.factorize(c, sort=True)[0], index=c.index))
    y = pd.Series(pd.factorize(y, sort=True)[0], index=X.index)
    for seed in range(1 if quick else SEEDS):
        yield seed, entry["deploy"], train_test_split(
            X, y, train_size=1500 if quick else n_rows, stratify=y, random_state=seed
        )  # fmt: skip


def cpu_seconds(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


def scores(model: Any, X: pd.DataFrame, y: pd.Series) -> dict[str, float]:
    proba = model.predict_proba(X)[:, 1]
    return {"log_loss": log_loss(y, proba), "auc": roc_auc_score(y, proba)}


# ---------------------------------------------------------------------- half of the columns


def half(name: str, quick: bool) -> list[dict[str, Any]]:
    results = []
    for seed, deploy, (X, X_test, y, y_test) in splits(name, 7000, quick):
        n_half = -(-len(deploy) // 2)
        with TemporaryDirectory() as folder:
            model = DistilledEstimator(
                lgbm(20 if quick else 150), lgbm(10 if quick else 60), student_features=deploy,
                memory=folder, random_state=0,
            )  # fmt: skip
            full, full_s = cpu_seconds(partial(clone(model).fit, X, y))
            selector, selector_s = cpu_seconds(partial(FeatureBudgetSelector(model, n_features=n_half).fit, X, y))
            small = clone(model).set_params(student_features=selector).fit(X, y)
        constant = log_loss(y_test, np.full(len(y_test), y.mean()))
        all_of, half_of = scores(full, X_test, y_test), scores(small, X_test, y_test)
        results.append(
            {
                "seed": seed,
                "columns": len(deploy),
                "half": n_half,
                "constant_log_loss": constant,
                **{f"full_{key}": value for key, value in all_of.items()},
                **{f"half_{key}": value for key, value in half_of.items()},
                "kept_log_loss": (constant - half_of["log_loss"]) / (constant - all_of["log_loss"]),
                "kept_auc": (half_of["auc"] - 0.5) / (all_of["auc"] - 0.5),
                "fit_with_teachers_s": full_s,
                "selection_s": selector_s,
                "chosen": " ".join(map(str, selector.get_feature_names_out())),
            }
        )
    return results


# ---------------------------------------------------------------------- against sequential selection


class Timed(SequentialFeatureSelector):
    """Sequential selection that keeps every set of columns on its way, and the CPU seconds up to there."""

    def fit(self, X: pd.DataFrame, y: pd.Series) -> Timed:
        self.way, self.spent = {}, 0.0
        super().fit(X, y)
        self._keep(self.support_)
        return self

    def _get_best_new_feature_score(self, *given: Any, **params: Any) -> Any:
        mask = given[4]
        self._keep(mask if self.direction == "forward" else ~mask)
        best, seconds = cpu_seconds(partial(super()._get_best_new_feature_score, *given, **params))
        self.spent += seconds
        return best

    def _keep(self, support: np.ndarray) -> None:
        self.way[int(support.sum())] = support.copy(), self.spent


def sequential(direction: str, X: pd.DataFrame, y: pd.Series, quick: bool) -> dict[int, tuple[np.ndarray, float]]:
    """The columns that sequential selection keeps, and CPU seconds, by their number."""
    last = max(LEFT) if direction == "forward" else min(LEFT)
    selector = Timed(lgbm(20 if quick else 60), n_features_to_select=last, direction=direction, **JUDGED)
    return selector.fit(X, y).way


def against(direction: str, name: str, quick: bool) -> list[dict[str, Any]]:
    results = []
    student = lgbm(20 if quick else 60)
    for seed, deploy, (X, X_test, y, y_test) in splits(name, 4000, quick):
        X, X_test = X[deploy], X_test[deploy]
        way = sequential(direction, X, y, quick)
        for n_left in LEFT:
            ours = FeatureBudgetSelector(student, n_features=n_left, random_state=seed, **JUDGED)
            _, ours_s = cpu_seconds(partial(ours.fit, X, y))
            support, sequential_s = way[n_left]
            row: dict[str, Any] = {"seed": seed, "columns": len(deploy), "left": n_left}
            losses = {}
            for who, chosen in (("ours", X.columns[ours.get_support()]), ("sequential", X.columns[support])):
                fitted = clone(student).fit(X[chosen], y)
                row |= {f"{who}_{key}": value for key, value in scores(fitted, X_test[chosen], y_test).items()}
                proba = fitted.predict_proba(X_test[chosen])
                losses[who] = -np.log(proba[np.arange(len(y_test)), y_test])
            behind = losses["ours"] - losses["sequential"]
            row |= {"behind": behind.mean(), "behind_se": behind.std(ddof=1) / np.sqrt(len(behind))}
            row |= {"ours_s": ours_s, "sequential_s": sequential_s, "time_ratio": ours_s / sequential_s}
            results.append(row)
    return results


# ---------------------------------------------------------------------- inside an estimator


def inside(name: str, quick: bool) -> list[dict[str, Any]]:
    results = []
    for seed, deploy, (X, X_test, y, y_test) in splits(name, 4000, quick):
        selector = FeatureBudgetSelector(n_features=-(-len(deploy) // 2), features=deploy)
        plain = DistilledEstimator(
            lgbm(20 if quick else 150), lgbm(10 if quick else 60), student_features=deploy, random_state=0
        )
        _, plain_s = cpu_seconds(partial(clone(plain).fit, X, y))
        nested, nested_s = cpu_seconds(partial(clone(plain).set_params(student_features=selector).fit, X, y))
        alone = clone(selector).set_params(estimator=plain).fit(X, y)
        outside = clone(plain).set_params(student_features=alone).fit(X, y)
        results.append(
            {
                "seed": seed,
                "plain_fit_s": plain_s,
                "fit_with_selection_s": nested_s,
                "ratio": nested_s / plain_s,
                "inside_reported": -nested.student_score_,
                "inside_held_out": scores(nested, X_test, y_test)["log_loss"],
                "before_reported": -outside.student_score_,
                "before_held_out": scores(outside, X_test, y_test)["log_loss"],
            }
        )
    return results


QUESTIONS = {"half": half, "forward": partial(against, "forward"), "backward": partial(against, "backward")}
QUESTIONS["inside"] = inside

if __name__ == "__main__":
    given = arguments(__doc__)
    wanted = [part for part in given.parts.split(",") if part]
    for question, answer in QUESTIONS.items():
        for name in TABLES if not given.quick or question == "half" else ("support2",):
            if not wanted or question in wanted or f"{question}_{name}" in wanted:
                save(QUESTION + ("_quick" if given.quick else ""), f"{question}_{name}", answer(name, given.quick))

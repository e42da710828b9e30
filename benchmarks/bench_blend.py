"""What do blending and more seeds add on rows that were held out, and is the score of a blend what new rows give?

The single member that scores best, the equal blend and the blend with weights found on honest predictions, each with
one seed and with five. Losses are log-loss; all fits of a split share folds, and a teacher is fitted once per seed.

Run: python benchmarks/bench_blend.py [--quick] [--parts dacon_oil,...]
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from _common import arguments, save, spread, table
from lightgbm import LGBMClassifier
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tabkd import BlendedEstimator, DistilledEstimator

QUESTION = "blend"
TABLES = ("dacon_oil", "bank_marketing", "support2")
N_SPLITS = 4
N_ROWS = 3000
MORE_SEEDS = 5

boosted = partial(
    LGBMClassifier, learning_rate=0.08, subsample=0.7, subsample_freq=1, colsample_bytree=0.7, n_jobs=1, verbose=-1
)


def members(columns: list[str], memory: str, *, quick: bool) -> list[tuple[str, DistilledEstimator]]:
    students = {
        "boosted": boosted(n_estimators=20 if quick else 60, num_leaves=15),
        "forest": ExtraTreesClassifier(20 if quick else 60, min_samples_leaf=5, n_jobs=1),
        "network": make_pipeline(
            SimpleImputer(), StandardScaler(), MLPClassifier(16, max_iter=5 if quick else 20, learning_rate_init=0.003)
        ),
    }
    teacher = boosted(n_estimators=20 if quick else 100)
    shared: dict[str, Any] = {"student_features": columns, "alpha": 0.5, "memory": memory}
    return [(name, DistilledEstimator(teacher, student, **shared)) for name, student in students.items()]


def held_out(proba: Mapping[str, np.ndarray], y: pd.Series) -> dict[str, float]:
    losses = {f"{name}_loss": log_loss(y, values) for name, values in proba.items()}
    return losses | {f"{name}_auc": roc_auc_score(y, values[:, 1]) for name, values in proba.items()}


def one_split(name: str, seed: int, *, quick: bool) -> dict[str, Any]:
    X, y, entry = table(name)
    X = X.apply(lambda c: c if c.dtype.kind in "ifb" else pd.Series(pd.factorize(c, sort=True)[0], index=c.index))
    y = pd.Series(pd.factorize(y, sort=True)[0], index=X.index)
    X, X_test, y, y_test = train_test_split(X, y, train_size=600 if quick else N_ROWS, stratify=y, random_state=seed)
    row: dict[str, Any] = {"split": seed}
    with TemporaryDirectory() as folder:
        given = members(entry["deploy"], folder, quick=quick)
        for n_seeds in (1, 2 if quick else MORE_SEEDS):
            blend = BlendedEstimator(given, n_seeds=n_seeds, random_state=seed, n_jobs=1)
            start = time.process_time()
            blend.fit(X, y)
            row[f"seeds_{n_seeds}_fit_s"] = time.process_time() - start
            means = [np.mean([c.predict_proba(X_test) for c in copies], axis=0) for copies in blend.estimators_]
            best = int(np.argmax(list(blend.member_scores_.values())))
            proba = {"best": means[best], "equal": np.mean(means, axis=0), "auto": blend.predict_proba(X_test)}
            found = {
                **held_out(proba, y_test),
                "reported_loss": -blend.score_,
                "gain": blend.gain_,
                "gain_se": blend.gain_se_,
                "best_member": given[best][0],
                "weights": " ".join(f"{weight:.2f}" for weight in blend.weights_),
            }
            row |= {f"seeds_{n_seeds}_{key}": value for key, value in found.items()}
    return row


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the splits, with standard errors of the paired differences to the best member with one seed."""
    frame = pd.DataFrame(rows)
    results = []
    for n_seeds in sorted({int(column.split("_")[1]) for column in frame if column.startswith("seeds_")}):
        for way in ("best", "equal", "auto"):
            loss, auc = (frame[f"seeds_{n_seeds}_{way}_{metric}"] for metric in ("loss", "auc"))
            result: dict[str, Any] = {"seeds": n_seeds, "way": way, "log_loss": loss.mean(), "auc": auc.mean()}
            if len(frame) > 1:
                better = spread(frame["seeds_1_best_loss"] - loss)
                result |= {"better_by": better["mean"], "better_se": better["se"]}
            if way == "auto":
                result["reported"] = frame[f"seeds_{n_seeds}_reported_loss"].mean()
            results.append(result)
    return results


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", "With alpha")
    given = arguments(__doc__)
    question = QUESTION + ("_quick" if given.quick else "")
    wanted = [part for part in given.parts.split(",") if part] or TABLES
    for name in TABLES[:1] if given.quick else TABLES:
        if name in wanted:
            rows = [one_split(name, seed, quick=given.quick) for seed in range(2 if given.quick else N_SPLITS)]
            save(question, name, rows)
            save(question, f"{name}_summary", summary(rows))

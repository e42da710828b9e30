"""How fast does Munge make rows, how real do they look, and what do they give a small student?

speed: CPU seconds for 4 rows per row, one thread, by the number of rows.
rows_<table>: how well LightGBM tells synthetic rows from fresh real ones (ROC AUC, .5 is not at all), and how an MLP
with 32 hidden units does on held-out rows: taught by 3,000 true labels, by a LightGBM teacher's soft targets of these
rows (1, 2 and 5 times the epochs), and by those of 4 synthetic rows each as well (as many steps as 5 times the epochs).
rows_summary: means over the tables, and how much better than the best of soft targets alone, with its standard error.

Run: python benchmarks/bench_munge.py [--quick] [--parts speed,adult,...]
"""

from __future__ import annotations

import json
import time
import warnings
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from _common import RESULTS, arguments, save, spread, table
from lightgbm import LGBMClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tabkd import Munge
from tabkd.columns import ColumnEncoder
from tabkd.students import adapt
from tabkd.targets import Targets

QUESTION = "munge"
TIMED = ("airline_satisfaction", "adult", "letter")
TABLES = ("adult", "bank_marketing", "higgs_small", "online_shoppers", "telco_churn")
SIZES = (5_000, 10_000, 20_000, 40_000, 80_000)
PROBABILITIES = (0.2, 0.5, 0.8)
VARIANCES = (1.0, 2.0, 5.0, None)
N_ROWS, N_TEST, N_SEEDS = 3_000, 10_000, 3
EPOCHS, PASSES = 16, (1, 2, 5)
NETWORK: dict[str, Any] = {"hidden_layer_sizes": 32, "batch_size": 512, "learning_rate_init": 0.008}
CLASSES = np.arange(2)


def speed(*, quick: bool) -> list[dict[str, Any]]:
    rows = []
    for name in TIMED[1:2] if quick else TIMED:
        X = table(name)[0]
        for n_rows in (size for size in SIZES[: 2 if quick else None] if size <= len(X)):
            part = X.sample(n_rows, random_state=0)
            start = time.process_time()
            made = Munge().sample(part, random_state=0)
            taken = time.process_time() - start
            rows.append({"table": name, "columns": X.shape[1], "rows": n_rows, "made": len(made), "cpu_s": taken})
    return rows


def told_apart(real: np.ndarray, made: np.ndarray) -> float:
    """ROC AUC of LightGBM on rows that it was not fitted on."""
    n_rows = min(len(real), len(made))
    X, y = np.vstack([real[:n_rows], made[:n_rows]]), np.repeat(CLASSES, n_rows)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    model = LGBMClassifier(n_estimators=60, num_leaves=15, n_jobs=1, verbose=-1)
    return float(roc_auc_score(y, cross_val_predict(model, X, y, cv=folds, method="predict_proba")[:, 1]))


def settings(*, quick: bool) -> list[Munge]:
    chosen = [(0.5, 5.0)] if quick else product(PROBABILITIES, VARIANCES)
    return [Munge(probability=probability, variance=variance) for probability, variance in chosen]


def one_split(name: str, seed: int, *, quick: bool) -> list[dict[str, Any]]:
    X, y, entry = table(name)
    X, codes = X.astype({c: str for c in entry["cat_all"] if c in X}), (y == entry["positive"]).to_numpy().astype(int)
    X, X_test, y, y_test = train_test_split(
        X, codes, train_size=600 if quick else N_ROWS, random_state=seed, stratify=codes
    )
    X_test, y_test = X_test[:N_TEST], y_test[:N_TEST]
    plain, onehot = (ColumnEncoder.fit(X, range(X.shape[1]), encoding) for encoding in ("ordinal", "onehot"))
    scaler = make_pipeline(SimpleImputer(), StandardScaler()).fit(onehot.transform(X).to_numpy())

    def numbers(part: pd.DataFrame) -> np.ndarray:
        return plain.transform(part).to_numpy()

    def scaled(part: pd.DataFrame) -> np.ndarray:
        return scaler.transform(onehot.transform(part).to_numpy())

    def score(model: Any, X_read: np.ndarray) -> dict[str, float]:
        proba = model.predict_proba(X_read)[:, 1]
        return {"log_loss": log_loss(y_test, proba), "auc": roc_auc_score(y_test, proba)}

    def student(soft: np.ndarray, *parts: pd.DataFrame, epochs: int) -> dict[str, float]:
        model = MLPClassifier(random_state=seed, max_iter=epochs, **NETWORK)
        taught = adapt(model, "auto", CLASSES)
        taught.fit(np.vstack([scaled(part) for part in parts]), Targets(soft, soft, CLASSES, alpha=0.0))
        return score(taught.estimator, test)

    test, epochs = scaled(X_test), 2 if quick else EPOCHS
    teacher = LGBMClassifier(n_estimators=150, learning_rate=0.05, num_leaves=15, n_jobs=1, verbose=-1)
    soft = cross_val_predict(teacher, numbers(X), y, cv=StratifiedKFold(5), method="predict_proba")
    teacher.fit(numbers(X), y)
    plainly = MLPClassifier(random_state=seed, early_stopping=True, **NETWORK)
    rows: list[dict[str, Any]] = [
        {"way": "teacher", **score(teacher, numbers(X_test))},
        {"way": "true labels", **score(plainly.fit(scaled(X), y), test)},
    ]
    rows += [{"way": f"soft targets, {n} passes", **student(soft, X, epochs=n * epochs)} for n in PASSES]
    for munge in settings(quick=quick):
        made = munge.sample(X, random_state=seed)
        labelled = np.vstack([soft, teacher.predict_proba(numbers(made))])
        rows.append(
            {
                "way": f"p {munge.probability}, {'swap' if munge.variance is None else f's {munge.variance:g}'}",
                **student(labelled, X, made, epochs=epochs),
                "told_apart": told_apart(numbers(X_test), numbers(made)),
            }
        )
    return [{"seed": seed, **row} for row in rows]


def summary(known: dict[str, Any]) -> list[dict[str, Any]]:
    frame = pd.concat([pd.DataFrame(known[f"rows_{name}"]).assign(table=name) for name in TABLES])
    wide = frame.pivot(index=["table", "seed"], columns="way", values="log_loss")
    means = frame.groupby("way", sort=False)[["log_loss", "auc", "told_apart"]].mean()
    alone = wide[means["log_loss"][means.index.str.startswith("soft")].idxmin()]
    better = {way: spread(alone - wide[way]) for way in means.index}
    return [
        {"way": way, **means.loc[way], "better_by": better[way]["mean"], "better_se": better[way]["se"]}
        for way in means.index
    ]


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", "X does not have valid feature names")
    given = arguments(__doc__)
    question = QUESTION + ("_quick" if given.quick else "")
    wanted = [part for part in given.parts.split(",") if part] or ["speed", *TABLES, "summary"]
    if "speed" in wanted:
        save(question, "speed", speed(quick=given.quick))
    for name in TABLES[:1] if given.quick else TABLES:
        if name in wanted:
            seeds = range(1 if given.quick else N_SEEDS)
            save(question, f"rows_{name}", [row for s in seeds for row in one_split(name, s, quick=given.quick)])
    if "summary" in wanted and not given.quick:
        results = json.loads((RESULTS / f"{question}.json").read_text(encoding="utf-8"))
        save(question, "rows_summary", summary(results))

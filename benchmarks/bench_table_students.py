"""Networks for tables as students: how long does a fit take, and what do soft targets and looking inside bring?

students: a perceptron of 32 on the deployable columns, 3,000 rows: scikit-learn's, on labels and on log-odds, and ours,
    on labels and on soft targets; CPU seconds of a fit on one thread, ROC AUC (R2 on california_housing), log-loss.
inside: the same student taught by networks on all columns, by their answers alone, and with their hidden states.
munge: perceptrons of 32 on all columns with soft targets of bench_quality.py's teacher, on the real rows alone and on
    MUNGE's as well: ours, and scikit-learn's on log-odds, as it comes (200 epochs) and stopped after 20.
loop: CPU milliseconds of a training step in the loop for tables, and by Trainer.

Run: python benchmarks/bench_table_students.py [--quick] [--parts students,inside,munge,loop]
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from _common import arguments, save, table
from bench_quality import Cell
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy.special import expit
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss, r2_score, roc_auc_score
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tabkd.columns import ColumnEncoder
from tabkd.frames import as_table
from tabkd.links import apply_link
from tabkd.neural import (
    Distances,
    FTTransformerClassifier,
    FTTransformerRegressor,
    Hidden,
    ModuleClassifier,
    TabularMLPClassifier,
    TabularMLPRegressor,
)
from tabkd.neural.table_models import Perceptron

QUESTION = "table_students"
TABLES = ("adult", "bank_marketing", "higgs_small", "online_shoppers", "telco_churn", "california_housing")
FEW_TABLES = ("adult", "higgs_small", "telco_churn")
WIDTH = 32


def split(name: str, n_rows: int, seed: int) -> tuple[Any, Any, np.ndarray, np.ndarray, list[str]]:
    X, y, entry = table(name)
    regression = name == "california_housing"
    values = y.to_numpy(float) if regression else pd.factorize(y, sort=True)[0]
    X = X.astype({column: str for column in entry["cat_all"] if column in X})
    rows = np.arange(len(y))
    train, test = train_test_split(rows, train_size=n_rows, stratify=None if regression else values, random_state=seed)
    return X.iloc[train], X.iloc[test[:10_000]], values[train], values[test[:10_000]], entry["deploy"]


def soft_targets(X: Any, y: np.ndarray) -> np.ndarray:
    """Of a LightGBM teacher on all columns, out of fold."""
    codes = ColumnEncoder.fit(as_table(X), range(X.shape[1])).transform(X)
    settings = {"n_estimators": 150, "learning_rate": 0.05, "verbose": -1, "n_jobs": 1}
    if y.dtype.kind == "f":
        return cross_val_predict(LGBMRegressor(**settings), codes, y, cv=5)[:, None]
    return cross_val_predict(LGBMClassifier(**settings), codes, y, cv=5, method="predict_proba")


def scored(y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    if y.dtype.kind == "f":
        return {"score": r2_score(y, predicted), "log_loss": np.nan}
    return {"score": roc_auc_score(y, predicted), "log_loss": log_loss(y, predicted)}


def timed(fit: Callable[..., Any], *given: Any, **more: Any) -> tuple[Any, float]:
    start = time.process_time()
    model = fit(*given, **more)
    return model, time.process_time() - start


def scikit_learn(X: Any, X_test: Any, y: np.ndarray, y_test: np.ndarray, soft: np.ndarray, seed: int) -> Any:
    """scikit-learn's perceptrons behind the usual pipeline, whose time counts."""
    numbers, texts = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
    )
    settings = {"hidden_layer_sizes": (WIDTH,), "random_state": seed}
    regression = y.dtype.kind == "f"
    hard = MLPRegressor(**settings) if regression else MLPClassifier(**settings)
    blended = 0.5 * y + 0.5 * soft[:, -1]
    shift, scale = (y.mean(), y.std()) if regression else (0, 1)
    odds = (blended - shift) / scale if regression else apply_link(np.c_[1 - blended, blended], "logit")[:, 0]
    for name, model, target in (
        ("scikit-learn, labels", hard, (y - shift) / scale if regression else y),
        ("scikit-learn, log-odds", MLPRegressor(**settings), odds),
    ):
        fitted, seconds = timed(make_pipeline(prepare, model).fit, X, target)
        if regression:
            found = fitted.predict(X_test) * scale + shift
        else:
            found = fitted.predict_proba(X_test)[:, 1] if model is hard else expit(fitted.predict(X_test))
        yield {"student": name, "seconds": seconds, **scored(y_test, found)}


def answers(model: Any, X: Any) -> np.ndarray:
    return model.predict_proba(X)[:, 1] if hasattr(model, "predict_proba") else model.predict(X)


def students_of(name: str, n_rows: int, seed: int) -> list[dict[str, Any]]:
    X, X_test, y, y_test, deploy = split(name, n_rows, seed)
    soft, few, few_test = soft_targets(X, y), X[deploy], X_test[deploy]
    rows = list(scikit_learn(few, few_test, y, y_test, soft, seed))
    for way, alpha in (("labels", 1.0), ("alpha .5", 0.5), ("alpha 0", 0.0)):
        kind = TabularMLPRegressor if y.dtype.kind == "f" else TabularMLPClassifier
        model = kind(width=WIDTH, random_state=seed, device="cpu")
        if alpha == 1:
            fitted, seconds = timed(model.fit, few, y)
        else:
            fitted, seconds = timed(model.fit_soft, few, soft, y=y, alpha=alpha)
        rows.append({"student": f"ours, {way}", "seconds": seconds, **scored(y_test, answers(fitted, few_test))})
    return [{"table": name, **row} for row in rows]


def inside_of(name: str, n_rows: int, seed: int) -> list[dict[str, Any]]:
    X, X_test, y, y_test, deploy = split(name, n_rows, seed)
    perceptron, transformer = TabularMLPClassifier, FTTransformerClassifier
    if y.dtype.kind == "f":
        perceptron, transformer = TabularMLPRegressor, FTTransformerRegressor
    common = {"random_state": seed, "device": "cpu"}
    teachers = {
        "wide perceptron": perceptron(width=256, n_layers=2, dropout=0.2, **common),
        "FT-Transformer": transformer(width=32, **common),
    }
    rows = []
    for called, teacher in teachers.items():
        _, seconds = timed(teacher.fit, X, y)
        about = {"table": name, "teacher": called}
        rows.append({**about, "student": "(teacher)", "seconds": seconds, **scored(y_test, answers(teacher, X_test))})
        for way, terms in (("answers", None), ("Hidden", [Hidden("last")]), ("Distances", [Distances()])):
            student = perceptron(width=WIDTH, columns=deploy, teacher=teacher, objective=terms, **common)
            _, seconds = timed(student.fit, X, y)
            rows.append({**about, "student": way, "seconds": seconds, **scored(y_test, answers(student, X_test))})
    return rows


def munge_of(name: str, n_rows: int, seed: int) -> list[dict[str, Any]]:
    students = {"torch_mlp": "ours", "mlp_200_epochs": "scikit-learn", "mlp": "scikit-learn, 20 epochs"}
    options = {"control": "labels", "soft_folds": "soft targets", "munge": "and MUNGE"}
    asked = [("", "teacher"), *product(students, options)]
    with TemporaryDirectory() as memory:
        cell = Cell(name, n_rows, seed, memory)
        found = [cell.result("compression", student, option) for student, option in asked]
    return [
        {
            "table": name,
            "student": f"{students[row['student']]}, {options[row['option']]}" if row["student"] else "(teacher)",
            **{key: row[key] for key in ("seconds", "score", "loss")},
        }
        for row in found
    ]


def over_tables(
    of: Callable[..., list[dict[str, Any]]], tables: Sequence[str], seeds: int, quick: bool
) -> list[dict[str, Any]]:
    tables, seeds = (tables[:1], 1) if quick else (tables, seeds)
    n_rows = 1000 if quick else 3000
    return averaged([row for name in tables for seed in range(seeds) for row in of(name, n_rows, seed)])


def averaged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds by table, and over the tables of classes."""
    frame = pd.DataFrame(rows)
    keys = [key for key in ("teacher", "student") if key in frame]
    by_table = frame.groupby(["table", *keys], sort=False).mean().reset_index()
    classes = by_table[by_table["table"] != "california_housing"]
    mean = classes.drop(columns="table").groupby(keys, sort=False).mean().reset_index()
    return [*by_table.to_dict("records"), *mean.assign(table="mean of classes").to_dict("records")]


def part_loop(quick: bool) -> list[dict[str, Any]]:
    X = np.random.default_rng(0).normal(size=(1280 if quick else 3200, 40)).astype(np.float32)
    y, epochs, rows = (X[:, 0] > 0).astype(int), 2 if quick else 10, []
    steps = epochs * len(X) // 128
    ours = TabularMLPClassifier(width=WIDTH, epochs=epochs, validation_fraction=None, device="cpu")
    theirs = ModuleClassifier(Logits(40, 2, width=WIDTH, n_layers=1), epochs=epochs, batch_size=128, device="cpu")
    for name, model in (("loop for tables", ours), ("Trainer", theirs)):
        model.fit(X[:256], y[:256])  # imports apart
        rows.append({"loop": name, "ms_per_step": timed(model.fit, X, y)[1] / steps * 1000})
    return rows


class Logits(Perceptron):
    """The same network, its answer a tensor."""

    def forward(self, features: torch.Tensor) -> Any:
        return super().forward(features).logits


PARTS = {
    "students": partial(over_tables, students_of, TABLES, 2),
    "inside": partial(over_tables, inside_of, FEW_TABLES, 1),
    "munge": partial(over_tables, munge_of, TABLES, 3),
    "loop": part_loop,
}

if __name__ == "__main__":
    given = arguments(__doc__)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for title, part in PARTS.items():
        if not given.parts or title in given.parts.split(","):
            save(QUESTION + ("_quick" if given.quick else ""), title, part(given.quick))

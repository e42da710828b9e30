"""How should each family of students read categories, and by which loss should it learn from soft targets?

encoding: control students on the deployable columns of tables with categories, test log-loss and ROC AUC.
loss: regressors taught probabilities or log-odds; CatBoost taught more than two classes in three ways.

Run: python benchmarks/bench_students.py [--quick] [--parts encoding,loss]
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from _common import arguments, save, spread, table
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier
from scipy.special import expit
from sklearn.base import clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tabkd.columns import ColumnEncoder
from tabkd.frames import as_table
from tabkd.links import invert_link, normalize
from tabkd.students import adapt
from tabkd.targets import Targets, one_hot

QUESTION = "students"


def split(name: str, n_rows: int, seed: int) -> tuple[Any, Any, np.ndarray, np.ndarray, dict[str, Any]]:
    X, y, entry = table(name)
    codes = pd.factorize(y, sort=True)[0]
    X = X.astype({c: str for c in entry["cat_all"] if c in X})
    train, test = train_test_split(np.arange(len(y)), train_size=n_rows, stratify=codes, random_state=seed)
    test = test[:10_000]
    return X.iloc[train], X.iloc[test], codes[train], codes[test], entry


def part_encoding(quick: bool) -> list[dict[str, Any]]:
    def scaled(model: Any) -> Any:
        return make_pipeline(SimpleImputer(), StandardScaler(), model)

    models = {
        "LightGBM": (LGBMClassifier(n_estimators=100, verbose=-1), ("ordinal", "category", "onehot")),
        "CatBoost": (
            CatBoostClassifier(iterations=150, verbose=False, allow_writing_files=False),
            ("ordinal", "catboost", "onehot"),
        ),
        "HistGradientBoosting": (HistGradientBoostingClassifier(), ("ordinal", "category", "onehot")),
        "random forest": (RandomForestClassifier(200, min_samples_leaf=5, random_state=0), ("ordinal", "onehot")),
        "logistic regression": (scaled(LogisticRegression(max_iter=500)), ("ordinal", "onehot")),
    }
    tables = ["adult", "telco_churn"] if quick else ["adult", "bank_marketing", "hotel_bookings", "telco_churn"]
    rows = []
    for family, (model, encodings) in models.items():
        for encoding in encodings:
            losses, aucs = [], []
            start = time.perf_counter()
            for name in tables:
                for seed in range(1 if quick else 3):
                    X, X_test, y, y_test, entry = split(name, 1000 if quick else 4000, seed)
                    texts = [c for c in entry["deploy"] if c in entry["cat_all"]]
                    positions = [X.columns.get_loc(c) for c in entry["deploy"]]
                    encoder = ColumnEncoder.fit(as_table(X), positions, encoding, texts * (encoding == "catboost"))
                    fitted = clone(model)
                    if encoding == "catboost":
                        fitted.set_params(cat_features=texts)
                    encoded = encoder.transform(X)
                    if family == "HistGradientBoosting" and encoding == "category":
                        fitted.set_params(categorical_features="from_dtype")
                    proba = fitted.fit(encoded, y).predict_proba(encoder.transform(X_test))[:, 1]
                    losses.append(log_loss(y_test, proba))
                    aucs.append(roc_auc_score(y_test, proba))
            rows.append(
                {
                    "family": family,
                    "encoding": encoding,
                    "log_loss": float(np.mean(losses)),
                    "roc_auc": float(np.mean(aucs)),
                    "seconds": time.perf_counter() - start,
                }
            )
    return rows


def taught(name: str, n_rows: int, seed: int) -> tuple[Any, Any, Targets, np.ndarray]:
    """Student's columns as numbers, and targets from a LightGBM teacher on all columns, out of fold."""
    X, X_test, y, y_test, entry = split(name, n_rows, seed)
    everything = ColumnEncoder.fit(as_table(X), range(X.shape[1]))
    deploy = ColumnEncoder.fit(as_table(X), [X.columns.get_loc(c) for c in entry["deploy"]])
    teacher = LGBMClassifier(n_estimators=150, verbose=-1)
    soft = cross_val_predict(teacher, everything.transform(X), y, cv=5, method="predict_proba")
    n_classes = soft.shape[1]
    train, test = (np.nan_to_num(np.asarray(deploy.transform(t))) for t in (X, X_test))
    return train, test, Targets(one_hot(y, n_classes), soft, np.arange(n_classes), None, 0.5), y_test


def part_loss(quick: bool) -> list[dict[str, Any]]:
    regressors = {
        "Ridge": make_pipeline(StandardScaler(), Ridge()),
        "MLPRegressor": make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=(32,), early_stopping=True, random_state=0)
        ),
        "RandomForestRegressor": RandomForestRegressor(100, min_samples_leaf=5, random_state=0),
        "HistGradientBoostingRegressor": HistGradientBoostingRegressor(),
    }
    binary = ["adult", "telco_churn"] if quick else ["adult", "bank_marketing", "telco_churn", "higgs_small"]
    seeds = range(1 if quick else 3)
    n_rows = 1000 if quick else 3000
    rows = []
    for name, model in regressors.items():
        for loss in ("squared_error", "logit"):
            losses = []
            for data in binary:
                for seed in seeds:
                    X, X_test, targets, y_test = taught(data, n_rows, seed)
                    steps = clone(model)[:-1] if hasattr(model, "steps") else None
                    last = clone(model)[-1] if hasattr(model, "steps") else clone(model)
                    X, X_test = (X, X_test) if steps is None else (steps.fit_transform(X), steps.transform(X_test))
                    adapter = adapt(last, loss, targets.classes).fit(X, targets)
                    losses.append(log_loss(y_test, np.clip(invert_link(adapter.raw(X_test), adapter.link), 1e-3, 1)))
            rows.append({"student": name, "classes": "two", "way": loss, **spread(losses)})
    quiet = {"iterations": 150, "verbose": False, "allow_writing_files": False}
    for way in ("weighted rows", "MultiCrossEntropy", "MultiRMSE"):
        for data in ["thyroid_ann"] if quick else ["thyroid_ann", "letter"]:
            losses, start = [], time.perf_counter()
            for seed in seeds:
                X, X_test, targets, y_test = taught(data, n_rows, seed)
                if way == "weighted rows":
                    adapter = adapt(CatBoostClassifier(**quiet), "auto", targets.classes).fit(X, targets)
                    proba = invert_link(adapter.raw(X_test), adapter.link)
                elif way == "MultiRMSE":
                    student = CatBoostRegressor(loss_function=way, **quiet).fit(X, targets.blended)
                    proba = normalize(student.predict(X_test))
                else:
                    student = CatBoostClassifier(loss_function=way, **quiet).fit(X, targets.blended)
                    proba = normalize(expit(student.predict(X_test, prediction_type="RawFormulaVal")))
                losses.append(log_loss(y_test, normalize(np.clip(proba, 1e-3, 1))))
            seconds = time.perf_counter() - start
            rows.append({"student": "CatBoost", "classes": data, "way": way, **spread(losses), "seconds": seconds})
    return rows


PARTS = {"encoding": part_encoding, "loss": part_loss}

if __name__ == "__main__":
    given = arguments(__doc__)
    warnings.simplefilter("ignore")
    for title, part in PARTS.items():
        if not given.parts or title in given.parts.split(","):
            save(QUESTION + ("_quick" if given.quick else ""), title, part(given.quick))

"""Does the exported file answer as Python does, and what do the usual converters do?

Every family of students x {two classes, five classes, regression, two outputs} x {numbers, missing values, text
categories, neighbours of thresholds}, on 20,000 rows each. Beside it the usual converter of that family on the same
kind of model fitted directly: onnxmltools, skl2onnx or CatBoost's own export, where they are installed. For every file:
its size, that of the compact form and of the usual converter's, and what it takes to load it with one input per column
and with one matrix.

Run: python benchmarks/bench_export.py [--quick]
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from _common import arguments, save
from _loading import loading
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

from tabkd import DistilledEstimator
from tabkd.export import to_onnx
from tabkd.export.parity import adversarial_rows
from tabkd.export.write import tree_thresholds
from tabkd.runtime import OnnxPredictor

QUESTION = "export"
TASKS = ("two classes", "five classes", "regression", "two outputs")
DATA = ("numbers", "missing", "text", "thresholds")
_QUIET = {"verbose": False, "allow_writing_files": False}


def families(n: int) -> dict[str, tuple[Any, Any]]:
    """Classifier and regressor of each family."""
    return {
        "lightgbm": (LGBMClassifier(n_estimators=n, verbose=-1), LGBMRegressor(n_estimators=n, verbose=-1)),
        "catboost": (CatBoostClassifier(iterations=n, **_QUIET), CatBoostRegressor(iterations=n, **_QUIET)),
        "xgboost": (XGBClassifier(n_estimators=n), XGBRegressor(n_estimators=n)),
        "decision tree": (DecisionTreeClassifier(max_depth=8), DecisionTreeRegressor(max_depth=8)),
        "random forest": (RandomForestClassifier(n // 4, max_depth=8), RandomForestRegressor(n // 4, max_depth=8)),
        "extra trees": (ExtraTreesClassifier(n // 4, max_depth=8), ExtraTreesRegressor(n // 4, max_depth=8)),
        "gradient boosting": (
            GradientBoostingClassifier(n_estimators=n // 4),
            GradientBoostingRegressor(n_estimators=n // 4),
        ),
        "hist gradient boosting": (
            HistGradientBoostingClassifier(max_iter=n, early_stopping=False),
            HistGradientBoostingRegressor(max_iter=n, early_stopping=False),
        ),
        "linear": (LogisticRegression(max_iter=2000), Ridge()),
        "network": (MLPClassifier((16,), max_iter=40), MLPRegressor(hidden_layer_sizes=(16,), max_iter=40)),
    }  # fmt: skip


def made(task: str, kind: str, n_rows: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n_rows, 5)), columns=["온도 (°C)", "b", "c[1]", "d", "e"]).astype(np.float32)
    city = rng.choice(np.array(["Seoul", "Busan", "Jeju", "대구"], dtype=object), n_rows)
    signal = (X["온도 (°C)"] + X["b"] * X["c[1]"] + (city == "Seoul") + rng.normal(scale=0.5, size=n_rows)).to_numpy()
    if kind == "missing":
        X = X.mask(rng.random(X.shape) < 0.1)
    if kind == "text":
        city[rng.random(n_rows) < 0.05] = None
        X["city"] = pd.Series(city, dtype=object)
    if task == "two classes":
        return X, np.where(signal > 0.3, "yes", "no")
    if task == "five classes":
        return X, np.digitize(signal, [-1, 0, 0.5, 1.5])
    return X, signal if task == "regression" else np.column_stack([signal, signal**2])


def cell(family: str, models: tuple[Any, Any], task: str, kind: str, *, ensemble: bool, quick: bool) -> dict[str, Any]:
    """Largest difference and labels that differ, of a student fitted to soft targets."""
    X, y = made(task, kind, 1500 if quick else 4000)
    classify = "classes" in task
    teacher = LGBMClassifier(n_estimators=20, verbose=-1) if classify else LinearRegression()
    numeric = [c for c in X.columns if c != "city"]
    model = DistilledEstimator(
        teacher, models[0 if classify else 1], alpha=0.5, cross_fit="folds", ensemble=ensemble, random_state=0,
        teacher_features=numeric if not classify and kind != "missing" else None,
    )  # fmt: skip
    if not classify and kind == "missing":
        model.set_params(teacher=LGBMRegressor(n_estimators=20, verbose=-1))
        if task == "two outputs":
            model.set_params(teacher=HistLike())
    row: dict[str, Any] = {"family": family, "task": task, "data": kind, "students": 5 if ensemble else 1}
    try:
        model.fit(X, y)
    except ValueError as error:
        return {**row, "ours": "not fitted", "why": str(error).splitlines()[0][:80]}
    rows, _ = made(task, kind, 2000 if quick else 20_000, seed=1)
    fitted = model.student_
    columns, thresholds = fitted.encoder.columns, tree_thresholds(fitted)
    texts: dict[int, Any] = {}
    if kind == "thresholds":
        made_up = [adversarial_rows(columns, thresholds, texts, extreme=(), seed=s) for s in range(3)]
        rows = pd.concat([*made_up, rows])
    elif kind == "text":
        rows.loc[rows.index[:500], "city"] = "never seen"
    with TemporaryDirectory() as folder:
        path = to_onnx(model, Path(folder) / "model.onnx", X=X[:200])
        predictor = OnnxPredictor(path)
        if classify:
            difference = np.abs(predictor.predict_proba(rows) - model.predict_proba(rows)).max()
            labels = int((predictor.predict(rows) != model.predict(rows)).sum())
        else:
            expected = model.predict(rows)
            difference = (np.abs(predictor.predict(rows) - expected) / (np.abs(expected) + expected.std())).max()
            labels = 0
        compact = to_onnx(model, Path(folder) / "compact.onnx", X=X[:200], compact=True)
        matrix = to_onnx(model, Path(folder) / "matrix.onnx", X=X[:200], inputs="matrix")
        loads = {
            f"{name}_{what}": value
            for name, file in (("columns", path), ("matrix", matrix))
            for what, value in loading(file).items()
        }
        verdict, usual_kib = usual(family, models[0 if classify else 1], X, y, rows, classify)
        return {
            **row,
            "ours": "ok",
            "rows": len(rows),
            "largest_difference": float(difference),
            "labels_differ": labels,
            "usual": verdict,
            "kib": path.stat().st_size / 1024,
            "compact_kib": compact.stat().st_size / 1024,
            "usual_kib": usual_kib,
            **loads,
        }


class HistLike(LinearRegression):
    """A teacher of several outputs that takes missing values."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> HistLike:
        return super().fit(np.nan_to_num(X), y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        return super().predict(np.nan_to_num(X))


# ---------------------------------------------------------------------- the usual converters


def usual(
    family: str, model: Any, X: pd.DataFrame, y: np.ndarray, rows: pd.DataFrame, classify: bool
) -> tuple[str, float | None]:
    """What the usual converter makes of the same model fitted directly: wrong rows, or why nothing; and KiB."""
    if "city" in X:
        # Text goes in as it is where the model takes it, which is CatBoost.
        if family != "catboost":
            return "takes no text", None
        X, rows = X.fillna({"city": ""}), rows.fillna({"city": ""})
        model = type(model)(**{**model.get_params(), "cat_features": ["city"]})
    if classify and y.dtype.kind in "OUT":
        y = np.unique(y, return_inverse=True)[1]
    try:
        if "city" not in X:
            X, rows = X.to_numpy(), rows.to_numpy(dtype=np.float32)
        if y.ndim == 2 and family == "catboost":
            model = type(model)(**{**model.get_params(), "loss_function": "MultiRMSE"})
        model.fit(X, y)
    except Exception:
        return "not fitted", None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = _converted(family, model, rows)
            found = _answers(file, rows, classify)
    except Exception as error:
        return f"refused: {type(error).__name__}", None
    expected = model.predict_proba(rows) if classify else np.asarray(model.predict(rows)).reshape(len(rows), -1)
    scale = 1.0 if classify else np.abs(expected) + expected.std()
    wrong = (np.abs(found.reshape(expected.shape) - expected) / scale > 1e-5).any(axis=1).sum()
    return "ok" if wrong == 0 else f"{wrong} rows wrong", len(file) / 1024


def _converted(family: str, model: Any, rows: Any) -> bytes:
    converters: dict[str, Callable[[], Any]] = {
        "lightgbm": lambda: _onnxmltools("convert_lightgbm", model, rows),
        "xgboost": lambda: _onnxmltools("convert_xgboost", model, rows),
        "catboost": lambda: _catboost(model),
    }
    return converters.get(family, lambda: _skl2onnx(model, rows))()


def _answers(file: bytes, rows: Any, classify: bool) -> np.ndarray:
    session = onnxruntime.InferenceSession(file)
    (asked, *_) = session.get_inputs()
    answers = session.run(None, {asked.name: np.asarray(rows, dtype=np.float32)})
    if not classify:
        return np.asarray(answers[0])
    found = answers[1]
    return pd.DataFrame(found).to_numpy() if isinstance(found, list) else np.asarray(found)


def _onnxmltools(name: str, model: Any, rows: np.ndarray) -> bytes:
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    types = [("X", FloatTensorType([None, rows.shape[1]]))]
    options = {"zipmap": False} if name == "convert_lightgbm" else {}
    return getattr(onnxmltools, name)(model, initial_types=types, target_opset=15, **options).SerializeToString()


def _skl2onnx(model: Any, rows: np.ndarray) -> bytes:
    from skl2onnx import to_onnx as convert

    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    target = {"": 15, "ai.onnx.ml": 3}
    return convert(model, rows[:1], options=options, target_opset=target).SerializeToString()


def _catboost(model: Any) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model.save_model(str(path), format="onnx")
        return path.read_bytes()


def main(quick: bool) -> None:
    warnings.simplefilter("ignore")
    onnxruntime.set_default_logger_severity(3)  # the usual converters' files make it talk
    results = []
    for family, models in families(8 if quick else 100).items():
        for task in TASKS[:: 2 if quick else 1]:
            for kind in DATA:
                for ensemble in (False,) if quick else (False, True):
                    results.append(cell(family, models, task, kind, ensemble=ensemble, quick=quick))
    save(QUESTION + ("_quick" if quick else ""), "matrix", results)


if __name__ == "__main__":
    main(arguments(__doc__).quick)

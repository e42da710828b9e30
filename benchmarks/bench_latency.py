"""One row, one thread: how long does a prediction take from the exported file, and from the library that fitted it?

a. Median time of one row, 500 trees of depth 6: native predict, the raw session (``run`` with a dict of arrays, and
   with its tensors bound once) for one matrix input and for one input per column, and ``OnnxPredictor.predict_one``.
m. Five folds of 500 trees merged in one file, against one model of 2,500 trees.
b. Time to load each file, and the memory that it takes.

Run: python benchmarks/bench_latency.py [--quick] [--parts a,b]
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from _common import arguments, save, table
from _loading import loading
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from onnxruntime import OrtValue
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from xgboost import XGBClassifier

from tabkd import DistilledEstimator
from tabkd.export import to_onnx
from tabkd.runtime import OnnxPredictor

QUESTION = "latency"
DEPTH = 6
#: Calls of one kind in a row: longer than caches need to fill, shorter than the machine's moods.
_BLOCK = 50


def models(n_trees: int) -> dict[str, Any]:
    quiet = {"verbose": False, "allow_writing_files": False, "thread_count": 1}
    return {
        "lightgbm": LGBMClassifier(n_estimators=n_trees, num_leaves=64, max_depth=DEPTH, n_jobs=1, verbose=-1),
        "catboost": CatBoostClassifier(iterations=n_trees, depth=DEPTH, **quiet),
        "xgboost": XGBClassifier(n_estimators=n_trees, max_depth=DEPTH, n_jobs=1),
        "scikit-learn hist": HistGradientBoostingClassifier(
            max_iter=n_trees, max_depth=DEPTH, max_leaf_nodes=None, early_stopping=False
        ),
        "scikit-learn": GradientBoostingClassifier(n_estimators=n_trees, max_depth=DEPTH),
    }


def numbers() -> tuple[pd.DataFrame, pd.Series]:
    """The 18 deployable columns of the oil table, its category as codes."""
    X, y, entry = table("dacon_oil")
    X = X[entry["deploy"]].assign(COMPONENT_ARBITRARY=lambda f: f["COMPONENT_ARBITRARY"].astype("category").cat.codes)
    return X.astype(np.float32), y


def median_us(calls: dict[str, Any], n: int) -> dict[str, float]:
    """Median microseconds of each call; the calls take turns by blocks, so that noise meets all of them."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for block in range(n // _BLOCK):
        for name, call in calls.items():
            for k in range(block * _BLOCK, (block + 1) * _BLOCK):
                start = time.perf_counter_ns()
                call(k)
                taken[name].append((time.perf_counter_ns() - start) / 1e3)
    return {name: float(np.median(times)) for name, times in taken.items()}


def calls_of(predictor: OnnxPredictor, rows: np.ndarray, names: list[str]) -> dict[str, Any]:
    """The raw session on arrays that are ready, with bound tensors, and ``predict_one`` on a dict."""
    dicts = [dict(zip(names, row.tolist(), strict=True)) for row in rows]
    if predictor.metadata["inputs"] == "matrix":
        feeds = [{"features": row[None]} for row in rows]
    else:
        feeds = [{name: row[None, i : i + 1] for i, name in enumerate(names)} for row in rows]
    session, outputs = predictor.session, predictor.metadata["outputs"]
    one, binding = np.zeros_like(rows[:1]), session.io_binding()
    for name, part in zip(feeds[0], np.split(one, len(feeds[0]), axis=1), strict=True):
        binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(part))
    for name in outputs:
        binding.bind_output(name)

    def bound(k: int) -> None:
        one[0] = rows[k % len(rows)]
        session.run_with_iobinding(binding)

    return {
        "run": lambda k: session.run(outputs, feeds[k % len(feeds)]),
        "bound": bound,
        "predict_one": lambda k: predictor.predict_one(dicts[k % len(dicts)]),
    }


def part_a(quick: bool) -> list[dict[str, Any]]:
    X, y = numbers()
    n_trees, n_calls = (50, 200) if quick else (500, 2000)
    rows, names = X.to_numpy()[:500], [f"x{i}" for i in range(X.shape[1])]
    results = []
    with TemporaryDirectory() as folder:
        for library, model in models(n_trees).items():
            model.fit(X.to_numpy(), y)
            calls = {"native": partial(_native, model, rows)}
            for inputs in ("matrix", "columns"):
                predictor = OnnxPredictor(to_onnx(model, Path(folder) / f"{inputs}.onnx", X=rows, inputs=inputs))
                calls |= {f"{inputs}_{name}": call for name, call in calls_of(predictor, rows, names).items()}
            found = median_us(calls, n_calls)
            results.append(
                {
                    "model": library,
                    "trees": n_trees,
                    **{f"{name}_us": value for name, value in found.items()},
                    **{f"{name}_times_faster": found["native"] / us for name, us in found.items() if name != "native"},
                    "predict_one_overhead_us": found["columns_predict_one"] - found["columns_bound"],
                }
            )
            save(QUESTION + ("_quick" if quick else ""), "one_row", results)
    return results


def _native(model: Any, rows: np.ndarray, k: int) -> Any:
    """The fastest call that the library offers for one row that is an array already."""
    row = rows[k % len(rows)][None]
    if isinstance(model, LGBMClassifier):
        return model.booster_.predict(row)
    if isinstance(model, XGBClassifier):
        return model.get_booster().inplace_predict(row)
    return model.predict_proba(row)


def part_m(quick: bool) -> list[dict[str, Any]]:
    """Five folds of n trees in one file, against one model of 5 n trees."""
    X, y = numbers()
    n_trees, n_calls = (50, 200) if quick else (500, 2000)
    teacher = LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1)
    results = []
    rows, names = X.to_numpy()[:500], X.columns.tolist()
    with TemporaryDirectory() as folder:
        student = models(n_trees)["lightgbm"]
        merged = DistilledEstimator(teacher, student, alpha=0.5, cross_fit="folds", ensemble=True).fit(X, y)
        single = models(5 * n_trees)["lightgbm"].fit(X, y)
        calls = {}
        for name, model in (("merged", merged), ("single", single)):
            path = to_onnx(model, Path(folder) / f"{name}.onnx", X=X[:500], inputs="matrix")
            calls[name] = calls_of(OnnxPredictor(path), rows, names)["bound"]
        found = median_us(calls, n_calls)
        results.append(
            {
                "trees": 5 * n_trees,
                **{f"{name}_us": us for name, us in found.items()},
                "ratio": found["merged"] / found["single"],
            }
        )
    return results


def part_b(quick: bool) -> list[dict[str, Any]]:
    X, y = numbers()
    results = []
    with TemporaryDirectory() as folder:
        for library, model in models(50 if quick else 500).items():
            if library == "scikit-learn":
                continue
            model.fit(X, y)
            for inputs in ("columns", "matrix"):
                path = to_onnx(model, Path(folder) / "model.onnx", X=X[:500], inputs=inputs)
                size = {"file_kib": path.stat().st_size / 1024}
                results.append({"model": library, "inputs": inputs, **size, **loading(path)})
    return results


PARTS = {"a": ("one_row", part_a), "m": ("merged", part_m), "b": ("loading", part_b)}

if __name__ == "__main__":
    given = arguments(__doc__)
    for letter, (title, part) in PARTS.items():
        if not given.parts or letter in given.parts.split(","):
            save(QUESTION + ("_quick" if given.quick else ""), title, part(given.quick))

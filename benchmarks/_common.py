"""What every benchmark shares: the data folder, a table on the screen, and a JSON file of results."""

from __future__ import annotations

import argparse
import atexit
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import joblib
import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("TABKD_DATA", HERE.parent.parent / "shared" / "data"))
RESULTS = HERE / "results"


def arguments(
    question: str, *, defaults: Mapping[str, Iterable[Any]] | None = None, **selections: Iterable[Any]
) -> argparse.Namespace:
    """Command-line arguments of a benchmark; each selection becomes an option that takes some of its values.

    All of them are the default, unless ``defaults`` names fewer.
    """
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--quick", action="store_true", help="a small version, under a minute on two cores")
    parser.add_argument("--parts", default="", help="only these parts, by letter or name, comma-separated")
    for name, values in selections.items():
        parser.add_argument(f"--{name}", help=f"only some of {','.join(map(str, values))}; comma-separated")
    given = parser.parse_args()
    for name, values in selections.items():
        known = {str(value): value for value in values}
        usual = [str(value) for value in (defaults or {}).get(name, known)]
        wanted = getattr(given, name).split(",") if getattr(given, name) else usual
        if unknown := [text for text in wanted if text not in known]:
            parser.error(f"--{name} has no {', '.join(unknown)}. Choose from {', '.join(known)}.")
        setattr(given, name, [known[text] for text in wanted])
    return given


def table(name: str) -> tuple[pd.DataFrame, pd.Series, dict[str, Any]]:
    """A table of the data folder: features, target, and its entry in the index."""
    index = json.loads((DATA / "index.json").read_text(encoding="utf-8"))
    entry = next(e for e in index if e["name"] == name)
    missing = {"keep_default_na": False, "na_values": [""]} if name == "bank_marketing" else {}
    frame = pd.read_csv(DATA / name / entry["file"], **missing)
    return frame[entry["deploy"] + entry["priv"]], frame[entry["target"]], entry


def save(question: str, part: str, results: Any) -> None:
    """Print a part's results and write them into ``results/<question>.json``, keeping the other parts."""
    frame = pd.DataFrame(results)
    print(f"\n{question} / {part}\n{frame.to_string(index=False, float_format='{:.4f}'.format)}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{question}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    known["versions"] = {p: version(p) for p in ("scikit-learn", "lightgbm", "catboost", "numpy", "pandas")}
    known[part] = json.loads(frame.to_json(orient="records"))
    path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def run(
    question: str, parts: Mapping[str, Callable[[Any], Iterable[Any]]], given: argparse.Namespace, how: Any
) -> None:
    """Run the parts that were asked for, and save their rows as they come."""
    for title, part in parts.items():
        if not given.parts or title in given.parts.split(","):
            rows: list[Any] = []
            for row in part(how):
                rows.append(row)
                save(question + ("_quick" if given.quick else ""), title, rows)


@cache
def checkpoints() -> Path:
    """Where a long run that was cut goes on from: TABKD_CHECKPOINTS, or a folder for this run alone."""
    if not os.environ.get("TABKD_CHECKPOINTS"):
        own = TemporaryDirectory()
        atexit.register(own.cleanup)
        return Path(own.name)
    folder = Path(os.environ["TABKD_CHECKPOINTS"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kept(name: str, make: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What ``make`` makes of the rest, kept for a run that is cut."""
    path = checkpoints() / f"{name}.joblib"
    if not path.exists():
        joblib.dump(make(*given, **named), path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    return joblib.load(path)


def seconds(call: Any) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spread(values: Any) -> dict[str, float]:
    """Mean and standard error over seeds."""
    values = np.asarray(values, dtype=float)
    return {"mean": float(values.mean()), "se": float(values.std(ddof=1) / np.sqrt(len(values)))}

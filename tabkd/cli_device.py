"""The folder that ``tabkd export --with-runtime`` writes: a model, what runs it, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tabkd.cli_text import aligned

__all__ = ["MODEL", "README", "RUNTIME", "SCRIPT", "TEXT_RUNTIME", "column_rows", "device_files"]

MODEL, RUNTIME, SCRIPT, README = "student.onnx", "runtime.py", "predict.py", "README.md"
#: Beside the runtime, for models of texts.
TEXT_RUNTIME = "runtime_text.py"
#: Categories of a column that are shown.
_SHOWN = 8


def device_files(folder: Path, name: str, content: bytes, described: dict[str, Any]) -> dict[Path, bytes]:
    """The model, the runtime, a script that predicts a CSV file, and how to use them."""
    from tabkd import runtime, runtime_text

    texts = described["inputs"] == "text"
    more = {folder / TEXT_RUNTIME: Path(runtime_text.__file__).read_bytes()} if texts else {}
    readme = _README.replace("numpy 'onnx", "numpy tokenizers 'onnx") if texts else _README
    columns = "\n".join(f"    {line}" for line in aligned(column_rows(described)))
    return {
        folder / name: content,
        folder / RUNTIME: Path(runtime.__file__).read_bytes(),
        **more,
        folder / SCRIPT: _SCRIPT.replace(MODEL, name).encode(),
        folder / README: readme.replace(MODEL, name).replace("COLUMNS", columns).encode(),
    }


def column_rows(described: dict[str, Any]) -> list[list[str]]:
    """What a file's columns hold, below a line of headings."""
    rows = [["column", "kind", "tensor", "missing", "categories"]]
    for column in described["columns"]:
        known = [str(category) for category in column.get("categories", ())]
        shown = ", ".join(known[:_SHOWN]) + (f", ... ({len(known)})" if len(known) > _SHOWN else "")
        missing = '""' if column["type"] == "string" else "NaN"
        rows.append([column["name"], column["kind"], column["type"], missing, shown])
    return rows


_SCRIPT = '''"""Predict the rows of a CSV file (UTF-8, commas): python predict.py rows.csv predictions.csv"""

import csv
import sys
from pathlib import Path

from runtime import OnnxPredictor

MISSING = {"", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>"}


def read(cell, kind):
    """A cell as the model takes it: numbers may stay text, which the runtime converts."""
    if kind == "text":
        return cell or ""
    if cell is None or cell in MISSING:
        return None
    if kind == "boolean":
        return {"true": True, "false": False}.get(cell.lower(), cell)
    return cell


def main(rows_path, out_path):
    predictor = OnnxPredictor(Path(__file__).with_name("student.onnx"))
    kinds = {column["name"]: column["kind"] for column in predictor.metadata["columns"]}
    with open(rows_path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        rows = []
        for row in reader:
            if None in row:
                sys.exit(f"{rows_path}, line {reader.line_num}: more fields than the header has names.")
            rows.append({name: read(cell, kinds.get(name)) for name, cell in row.items()})
    answers = predictor.predict(rows)
    if predictor.classes is None:
        values = answers.reshape(len(rows), -1)
        names = ["prediction"] if values.shape[1] == 1 else [f"prediction_{i}" for i in range(values.shape[1])]
        lines = values.tolist()
    else:
        names = ["label", *(f"probability_{label}" for label in predictor.classes.tolist())]
        probabilities = predictor.predict_proba(rows).tolist()
        lines = [[label, *shares] for label, shares in zip(answers.tolist(), probabilities)]
    with open(out_path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *lines])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
'''

_README = """# student.onnx

A model that needs NumPy and onnxruntime, and nothing of what trained it:

    pip install numpy 'onnxruntime!=1.26.0'
    python predict.py rows.csv predictions.csv

Or in a program of your own:

    from runtime import OnnxPredictor

    predictor = OnnxPredictor("student.onnx")
    predictor.predict_one({...})   # one row, as a dict from column to value
    predictor.predict(table)       # a dict of lists, a list of dicts, a pandas or polars frame, an array

A missing value is None, NaN or "", a missing text "" alone. The columns that it needs:

COLUMNS
"""

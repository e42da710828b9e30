"""What a file says about itself, and what programs that call it are written with."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tabkd._compat import optional_import
from tabkd.runtime import METADATA, OnnxPredictor

__all__ = ["Model", "csv_cell", "filled", "identifiers", "is_coded", "known_values", "sealed", "with_helpers"]

_ENSEMBLE_OPSET = 5


class Model:
    """What the programs need to know of a file."""

    def __init__(self, onnx_path: str | Path) -> None:
        self.path = Path(onnx_path)
        predictor = OnnxPredictor(self.path)
        metadata, values = predictor.metadata, predictor.session.get_outputs()[-1]
        if metadata["inputs"] == "text":
            raise ValueError(f"{self.path} reads texts, which only OnnxPredictor can. Give a file that reads a table.")
        self.columns: list[dict[str, Any]] = metadata["columns"]
        self.names = predictor.columns
        self.matrix = metadata["inputs"] == "matrix"
        self.outputs: list[str] = metadata["outputs"]
        self.double = values.type == "tensor(double)"
        self.n_values = int(values.shape[1])
        self.classes: list[Any] = [] if predictor.classes is None else predictor.classes.tolist()
        self.label = type(self.classes[0]) if self.classes else None
        ensemble = metadata.get("opsets", {}).get("ai.onnx.ml", 0) >= _ENSEMBLE_OPSET
        self.release = "1.24" if ensemble else "1.17"

    @property
    def header(self) -> list[str]:
        """Names of the columns that a program writes."""
        if self.classes:
            return ["label", *(f"probability_{label}" for label in self.classes)]
        return ["prediction"] if self.n_values == 1 else [f"prediction_{i}" for i in range(self.n_values)]


def is_coded(column: Mapping[str, Any]) -> bool:
    """Whether a matrix holds the column's code."""
    return column["kind"] == "category" or column["type"] == "string"


def known_values(column: Mapping[str, Any]) -> list[Any]:
    """Categories as the file holds them."""
    known = column.get("categories", ())
    return list(known) if column["type"] == "string" else [float(np.float32(number)) for number in known]


def identifiers(names: Sequence[str], style: Callable[[str], str], reserved: Collection[str]) -> list[str]:
    """An identifier like each name, no two alike even where capital letters count for small ones, or "isX" for "x"."""

    def key(name: str) -> str:
        return name.casefold().removeprefix("is").lstrip("_")  # Kotlin gives both one setter

    taken, made = {key(name) for name in reserved}, []
    for position, name in enumerate(names, 1):
        base = style(name) or str(position)
        base = f"column{base}" if base[0].isnumeric() else base
        free, count = base, 1
        while key(free) in taken:
            count += 1
            free = f"{base}_{count}"
        taken.add(key(free))
        made.append(free)
    return made


def filled(template: str, **parts: Any) -> str:
    """A template with ``@part@`` replaced, in one pass: no name of a column is taken for a part."""
    return re.sub(r"@(\w+)@", lambda found: str(parts[found[1]]), template)


def with_helpers(program: str, helpers: Mapping[str, str]) -> str:
    """A program with the helpers that it calls, and those that they call, at the line ``#helpers``."""
    code = re.sub(r'"(?:\\.|[^"\\])*"', "", program)
    used = ""
    for name, helper in reversed([*helpers.items()]):
        if re.search(rf"\b{name}\(", code + used):
            used = f"{helper}{used}"
    before, after = re.split(r"^#helpers\n", program, maxsplit=1, flags=re.M)
    return before + used + after


def csv_cell(text: str) -> str:
    """A text as a cell of CSV."""
    return '"' + text.replace('"', '""') + '"' if re.search(r'[,"\r\n]', text) else text


def sealed(model: Any, described: Mapping[str, Any], more: Mapping[str, str] | None = None) -> bytes:
    """A file's content: the graph, what it says about itself and the graph's digest.

    Parameters
    ----------
    model : onnx.ModelProto
    described : mapping
    more : mapping of str, optional
        Other metadata.

    Returns
    -------
    bytes
    """
    onnx = optional_import("onnx", needed_by="to_onnx", extra="all")
    del model.metadata_props[:]
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    text = json.dumps({**described, "sha256": digest}, ensure_ascii=False)
    onnx.helper.set_model_props(model, {METADATA: text, **(more or {})})
    return model.SerializeToString()

"""A file in onnxruntime's own format, for phones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tabkd.column import FIRST_CATEGORY, UNKNOWN
from tabkd.export.described import is_coded, known_values
from tabkd.files import replacing
from tabkd.runtime import OnnxPredictor

__all__ = ["write_ort"]


def write_ort(onnx_path: str | Path, folder: str | Path) -> list[Path]:
    """Write a model in onnxruntime's own format, which its small builds for phones read, and the operators it needs.

    The list is what a build of one's own takes as ``--include_ops_by_config``. Before anything is written, the new
    file's answers are compared with those of the old one on rows drawn at random.

    Parameters
    ----------
    onnx_path : str or Path
        A file of ``to_onnx``.
    folder : str or Path
        Gets ``NAME.ort`` and ``NAME.required_operators.config``; made if it does not exist.

    Returns
    -------
    list of Path
        The model and the list.

    Raises
    ------
    ValueError
        If the file was not written by ``to_onnx``, onnxruntime's converter fails, or the answers differ.

    Examples
    --------
    >>> write_ort("student.onnx", "phone")  # doctest: +SKIP
    [PosixPath('phone/student.ort'), PosixPath('phone/student.required_operators.config')]
    """
    path, folder = Path(onnx_path), Path(folder)
    predictor = OnnxPredictor(path)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file. Give a folder.")
    with TemporaryDirectory() as made:
        # In a process of its own: the converter changes the logging and the search path of whoever imports it.
        command = [sys.executable, "-m", "onnxruntime.tools.convert_onnx_models_to_ort", str(path.resolve())]
        done = subprocess.run(
            [*command, "--output_dir", made, "--optimization_style", "Fixed"],
            env=os.environ | {"ORT_CONVERT_ONNX_MODELS_TO_ORT_OPTIMIZATION_LEVEL": "all"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if done.returncode:
            raise ValueError(
                f"onnxruntime's converter to .ort failed: {(done.stderr.splitlines() or ['it says nothing'])[-1]}. "
                "It needs onnx and flatbuffers: pip install onnx flatbuffers."
            )
        model, listed = (Path(made, path.stem + end) for end in (".ort", ".required_operators.config"))
        _check_same(path, predictor, model)
        operators = [line for line in listed.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        head = f"# What {model.name} needs"
        content = {model.name: model.read_bytes(), listed.name: "\n".join([head, *operators, ""]).encode()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(data)
    return [folder / name for name in content]


def _check_same(path: Path, predictor: OnnxPredictor, made: Path, n_rows: int = 256) -> None:
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(str(made), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    matrix = predictor.metadata["inputs"] == "matrix"
    drawn = [_drawn(column, matrix, n_rows, rng) for column in predictor.metadata["columns"]]
    feed = {"features": np.concatenate(drawn, axis=1)} if matrix else dict(zip(predictor.columns, drawn, strict=True))
    for expected, found in zip(predictor.session.run(None, feed), session.run(None, feed), strict=True):
        if expected.dtype.kind == "f":
            same = np.allclose(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True)
        else:
            same = np.array_equal(found, expected)
        if not same:
            raise ValueError(f"{path} answers otherwise in the .ort format. Use the ONNX file itself.")


def _drawn(column: Mapping[str, Any], matrix: bool, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    known = known_values(column)
    if matrix and is_coded(column):
        return rng.integers(UNKNOWN, FIRST_CATEGORY + len(known), (n_rows, 1)).astype(np.float32)
    if column["type"] == "string":
        return rng.choice(np.array(known or [""], dtype=object), (n_rows, 1))
    if known:
        return rng.choice(np.array(known, dtype=np.float32), (n_rows, 1))
    numbers = rng.normal(size=(n_rows, 1)) * 10.0 ** rng.integers(-3, 6, (n_rows, 1))
    return np.where(rng.random((n_rows, 1)) < 0.1, np.nan, numbers).astype(np.float32)

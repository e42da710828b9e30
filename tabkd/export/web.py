"""A static page that predicts in the browser."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from tabkd.files import replacing
from tabkd.runtime import OnnxPredictor

__all__ = ["RUNTIME_FILES", "write_web"]

#: What the page needs of the npm package onnxruntime-web.
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
_MODEL = "student.onnx"
#: What of the metadata the page shows or reads.
_SHOWN = ("task", "inputs", "columns", "outputs", "classes", "threshold", "versions", "sha256", "proof")


def write_web(onnx_path: str | Path, folder: str | Path, *, ort: str | Path | None = None) -> Path:
    """Write a page with a form for a model's columns, which predicts in the browser and sends nothing anywhere.

    A web server must hand it out, since browsers load no programs from the disk: for one's own eyes
    ``python -m http.server`` in the folder. ``index.html#row={"age": 61, "city": "Seoul"}`` fills the form.

    Parameters
    ----------
    onnx_path : str or Path
        A file of ``to_onnx``.
    folder : str or Path
        Gets ``index.html`` and ``student.onnx``; made if it does not exist.
    ort : str or Path, optional
        The folder ``dist`` of the npm package onnxruntime-web, to copy ``RUNTIME_FILES`` from. Without it the page says
        how to put them beside it.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        If the file was not written by ``to_onnx``, ``folder`` is a file, or ``ort`` lacks what the page needs.

    Examples
    --------
    >>> write_web("student.onnx", "page", ort="node_modules/onnxruntime-web/dist")  # doctest: +SKIP
    PosixPath('page/index.html')
    """
    onnx_path, folder = Path(onnx_path), Path(folder)
    metadata = OnnxPredictor(onnx_path).metadata
    described = {"name": onnx_path.stem} | {key: metadata[key] for key in _SHOWN if key in metadata}
    lacking = [] if ort is None else [name for name in RUNTIME_FILES if not (Path(ort) / name).is_file()]
    if lacking:
        raise ValueError(
            f"{ort} has no {' and no '.join(lacking)}. Run npm install onnxruntime-web, and give "
            "node_modules/onnxruntime-web/dist."
        )
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file. Give a folder.")
    content = {_MODEL: onnx_path.read_bytes(), "index.html": _page(described).encode()}
    if ort is not None:
        content |= {name: (Path(ort) / name).read_bytes() for name in RUNTIME_FILES}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(data)
    return folder / "index.html"


def _page(described: dict[str, object]) -> str:
    template = files("tabkd.export").joinpath("web_page.html").read_text(encoding="utf-8")
    # No name of a column can end the script that the description stands in.
    told = json.dumps(described, ensure_ascii=False, allow_nan=False)
    return template.replace("{MODEL}", told.replace("<", "\\u003c"))

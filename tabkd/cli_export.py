"""The command line about ONNX files: ``tabkd export``, ``tabkd inspect``, and what ``tabkd predict`` does with one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tabkd.cli_device import MODEL, README, RUNTIME, SCRIPT, TEXT_RUNTIME, column_rows, device_files
from tabkd.cli_errors import bad_input, reported
from tabkd.cli_text import aligned

if TYPE_CHECKING:
    import pandas as pd

    from tabkd.runtime import OnnxPredictor

__all__ = ["export", "inspect", "predict_file"]


def export(
    model: Annotated[Path, typer.Argument(help="Folder that tabkd fit wrote.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The ONNX file to write.")] = None,
    with_runtime: Annotated[
        Path | None, typer.Option(help="Folder for the file, runtime.py and predict.py: all that a device needs.")
    ] = None,
    web: Annotated[
        Path | None, typer.Option(help="Folder for the file and a page that predicts in the browser.")
    ] = None,
    ort: Annotated[
        Path | None, typer.Option(help="dist folder of the npm package onnxruntime-web, which the page needs.")
    ] = None,
    c: Annotated[Path | None, typer.Option("--c", help="C program to write that calls the file.")] = None,
    kotlin: Annotated[Path | None, typer.Option(help="Kotlin source to write that calls the file.")] = None,
    mobile: Annotated[
        Path | None, typer.Option(help="Folder for the .ort format of phones, with its list of operators.")
    ] = None,
    inputs: Annotated[
        Literal["columns", "matrix"], typer.Option(help="One input per column, or one matrix of numbers and codes.")
    ] = "columns",
    precision: Annotated[
        Literal["float32", "float64"], typer.Option(help="float64 needs onnxruntime 1.24 for trees.")
    ] = "float32",
    compact: Annotated[bool, typer.Option("--compact", help="A smaller file, for newer runtimes.")] = False,
    rows: Annotated[
        Path | None, typer.Option(help="Table of rows to prove the file on, beside the usual ones.")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="A transformer in a quarter of the size; its loss is measured on --rows.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Write a saved student as one ONNX file, proved to answer as Python does."""
    with reported():
        from tabkd.cli_texts import check_export, export_transformer, reads_texts
        from tabkd.export import to_onnx
        from tabkd.export.c_program import c_example
        from tabkd.export.kotlin_program import kotlin_example
        from tabkd.export.mobile import write_ort
        from tabkd.export.web import RUNTIME_FILES, write_web
        from tabkd.files import InputError, read_table
        from tabkd.results import load_model, load_summary
        from tabkd.runtime import OnnxPredictor

        if all(target is None for target in (out, with_runtime, web, mobile)):
            raise InputError(f"Nothing says where to write. Give --out {MODEL}, --with-runtime or --web FOLDER.")
        name = MODEL if out is None else out.name
        summary = load_summary(model)
        texts = reads_texts(summary)
        own = {"--inputs": inputs != "columns", "--precision": precision != "float32", "--compact": compact}
        check_export(texts, {"--web": web, "--c": c, "--kotlin": kotlin, "--mobile": mobile, **own}, int8, rows)
        runtime = (name, RUNTIME, SCRIPT, README, *([TEXT_RUNTIME] if texts else []))
        page = (MODEL, "index.html", *(RUNTIME_FILES if ort is not None else ()))
        phone = tuple(Path(name).stem + end for end in (".ort", ".required_operators.config"))
        folders = ((with_runtime, runtime), (web, page), (mobile, phone))
        inside = [folder / file for folder, files in folders if folder is not None for file in files]
        _check_free(out, [*inside, *(source for source in (c, kotlin) if source is not None)], rows, overwrite)
        fitted = load_model(model)
        table = None
        if rows is not None:
            table = read_table(rows, text=summary["text_columns"], free=summary.get("free_text", ()))
        with TemporaryDirectory() as folder, bad_input():
            made = Path(folder, name)
            if texts:
                export_transformer(fitted, made, table, summary["target"], int8=int8)
            else:
                to_onnx(fitted, made, X=table, inputs=inputs, precision=precision, compact=compact)
            content = made.read_bytes()
            if web is not None:
                write_web(made, web, ort=ort)
            if mobile is not None:
                write_ort(made, mobile)
            sources = {c: c_example, kotlin: kotlin_example}
            examples = {path: example(made).encode() for path, example in sources.items() if path is not None}
        described = OnnxPredictor(content).metadata
        files = examples if out is None else {out: content, **examples}
        if with_runtime is not None:
            files |= device_files(with_runtime, name, content, described)
        _write(files)
        pages = [] if web is None else [web / "index.html"]
        written = [*map(str, [*files, *pages, *([] if mobile is None else [mobile])])]
        typer.echo(f"Wrote {', '.join(written)}.")
        said = (
            _proof_line(described["proof"]) if "proof" in described else f"int8 {_int8_line(described['quantized'])}."
        )
        typer.echo(f"The model: {_size(len(content))}. {said}")


def inspect(model: Annotated[Path, typer.Argument(help="File that tabkd export wrote.")]) -> None:
    """Show what an ONNX file needs, answers and proves."""
    with reported():
        predictor = _opened(model)
        head = f"{model.name}: {predictor.metadata['task']}, {_size(model.stat().st_size)}"
        facts, columns = _facts(model, predictor), column_rows(predictor.metadata)
        typer.echo("\n".join([head, "", *aligned(facts), "", *aligned(columns)]))


def predict_file(model: Path, test: Path, *, id: str | None, proba: bool) -> pd.DataFrame:
    """Predictions of an ONNX file for a table.

    Parameters
    ----------
    model, test : Path
    id : str or None
        Column that names the rows, written first.
    proba : bool
        Write probabilities instead of labels.

    Returns
    -------
    DataFrame

    Raises
    ------
    InputError
        If the file or the table cannot be used.
    """
    import numpy as np
    import pandas as pd

    from tabkd.competition import warn_of_unseen
    from tabkd.files import InputError, read_table
    from tabkd.submission import Answers, prediction_table, probability_columns
    from tabkd.words import near

    predictor = _opened(model)
    if proba and predictor.classes is None:
        raise InputError("--proba needs a classification model, but this one is a regression. Leave it out.")
    columns = predictor.metadata["columns"]
    texts = [c["name"] for c in columns if c["kind"] == "category" and c["type"] == "string"]
    free = [c["name"] for c in columns if c["kind"] == "text"]
    frame = read_table(test, text=texts, free=[*free, *([id] if id else [])])
    if id is not None and id not in frame:
        raise InputError(f"--id {id} is not among the columns of {test}.{near(id, frame)}")
    with bad_input(test):
        values, name = predictor.predict(frame), predictor.metadata["outputs"][0]
        probabilities = predictor.predict_proba(frame) if proba else None
    known = {c["name"]: c["categories"] for c in columns if c["kind"] == "category" and "categories" in c}
    warn_of_unseen(known, frame)
    if values.ndim == 2:
        first: dict[str, Any] = {} if id is None else {id: frame[id]}
        return pd.DataFrame({**first, **probability_columns(name, values, np.arange(values.shape[1]))})
    return prediction_table(
        None if id is None else frame[id], name, Answers(values, probabilities, predictor.classes), proba=proba
    )


def _opened(path: Path) -> OnnxPredictor:
    from tabkd.files import InputError
    from tabkd.runtime import OnnxPredictor
    from tabkd.words import near

    if path.is_dir():
        raise InputError(f"{path} is a folder. Give the file that tabkd export wrote.")
    if not path.exists():
        siblings = [sibling.name for sibling in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"{path} does not exist.{near(path.name, siblings)}")
    with bad_input():
        return OnnxPredictor(path)


# ---------------------------------------------------------------- writing


def _check_free(out: Path | None, others: list[Path], rows: Path | None, overwrite: bool) -> None:
    """Refuse what could not be written, before the work."""
    from tabkd.files import InputError, check_free

    if out is not None and out.suffix.lower() != ".onnx":
        raise InputError(f"--out {out} must end in .onnx, by which tabkd predict knows the file.")
    if out is not None and not out.parent.is_dir():
        raise InputError(f"--out {out}: the folder {out.parent} does not exist. Make it first.")
    for path in [*([] if out is None else [out]), *others]:
        check_free(path, overwrite=overwrite, inputs=[] if rows is None else [rows])


def _write(files: dict[Path, bytes]) -> None:
    from tabkd.files import InputError, replacing

    for path, content in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}. Give another name.") from error


# ---------------------------------------------------------------- inspect


def _facts(path: Path, predictor: OnnxPredictor) -> list[list[str]]:
    described, session = predictor.metadata, predictor.session
    facts = []
    if predictor.classes is not None:
        labels = [str(label) for label in predictor.classes.tolist()]
        facts.append(["classes", ", ".join(labels)])
        if described["threshold"] is not None:
            facts.append(["threshold", f"{described['threshold']:.6g}: {labels[1]} is predicted above it"])
    facts.append(["inputs", _inputs_line(predictor)])
    facts.append(["outputs", ", ".join(_tensor(info) for info in session.get_outputs())])
    facts += _graph_facts(path, described)
    if "proof" in described:
        facts.append(["proof", _proof_line(described["proof"])])
    if "quantized" in described:
        facts.append(["int8", _int8_line(described["quantized"])])
    versions = described.get("versions", {})
    return [*facts, ["made by", ", ".join(f"{name} {version}" for name, version in versions.items())]]


def _inputs_line(predictor: OnnxPredictor) -> str:
    if predictor.metadata["inputs"] == "matrix":
        return _tensor(predictor.session.get_inputs()[0]) + "; categories as codes: 0 unknown, 1 missing, 2 the first"
    if predictor.metadata["inputs"] == "text":
        return f"texts, as {predictor.metadata['max_length']} tokens at most: " + ", ".join(
            _tensor(info) for info in predictor.session.get_inputs()
        )
    return f"{len(predictor.columns)} columns, each [N, 1] under its own name"


def _tensor(info: Any) -> str:
    shape = ", ".join(str(size) for size in info.shape)
    return f"{info.name} [{shape}] {info.type.removeprefix('tensor(').removesuffix(')')}"


def _graph_facts(path: Path, described: dict[str, Any]) -> list[list[str]]:
    """What stands in the graph alone; nothing without onnx."""
    try:
        import onnx
    except ImportError:
        return []
    model = onnx.load(path)
    trees, nodes = 0, 0
    for node in model.graph.node:
        sizes = {attribute.name: len(attribute.ints) for attribute in node.attribute}
        if node.op_type in ("TreeEnsembleRegressor", "TreeEnsembleClassifier"):
            of_trees = next(a.ints for a in node.attribute if a.name == "nodes_treeids")
            trees, nodes = trees + len(set(of_trees)), nodes + len(of_trees)
        elif node.op_type == "TreeEnsemble":
            trees += sizes["tree_roots"]
            nodes += sizes["nodes_featureids"] + sizes["leaf_targetids"]
    opsets = [f"{opset.domain or 'opset'} {opset.version}" for opset in model.opset_import]
    del model.metadata_props[:]
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    kept = "as exported" if digest == described.get("sha256") else "NOT as exported: the graph was changed since"
    return [
        *([["trees", f"{trees:,} with {nodes:,} nodes"]] if trees else []),
        ["needs", ", ".join([*opsets, f"IR {model.ir_version}"])],
        ["sha256", f"{digest[:16]}..., {kept}"],
    ]


def _proof_line(proof: dict[str, Any]) -> str:
    return (
        f"Compared with Python on {proof['rows']:,} rows and {proof['thresholds']:,} thresholds: largest difference "
        f"{proof['largest_difference']:.1e} (allowed {proof['tolerance']:.0e}), {proof['labels_differ']} labels differ."
    )


def _int8_line(report: dict[str, Any]) -> str:
    left_out = f", without {', '.join(report['left_out'])}" if report["left_out"] else ""
    return (
        f"loses {report['drop']:.4f} of {report['measure']} on {report['rows']:,} rows (allowed {report['max_drop']}); "
        f"attempt {len(report['attempts'])}{left_out}"
    )


def _size(size: int) -> str:
    return f"{size / 1024:,.1f} KiB" if size < 2**20 else f"{size / 2**20:,.1f} MiB"

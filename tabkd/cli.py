"""The command line: ``tabkd demo``, ``check``, ``fit``, ``tune``, ``budget``, ``predict``, ``export`` and ``inspect``.

What is heavy to import is imported inside the commands, so that ``tabkd --help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tabkd.cli_budget import budget
from tabkd.cli_check import check
from tabkd.cli_errors import bad_input, reported
from tabkd.cli_export import export, inspect, predict_file
from tabkd.cli_fit import Settings, fit, fit_tables
from tabkd.cli_tables import Tables
from tabkd.cli_tune import tune

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train a strong teacher on every column you have, and a small student on those you will have later.",
)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        from tabkd import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("tabkd-demo"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results in a folder.")] = False,
) -> None:
    """Distil a tumour classifier from 30 measurements into one that needs 10; takes seconds."""
    with reported():
        from sklearn.datasets import load_breast_cancer

        from tabkd.competition import plan_columns
        from tabkd.results import prepare_folder
        from tabkd.target_column import read_target

        prepare_folder(out, overwrite=overwrite or _is_demo(out))
        data = load_breast_cancer(as_frame=True)
        train = data.data.assign(diagnosis=data.target_names[data.target])
        deployable = [name for name in data.data if name.startswith("mean ")]
        target = read_target(train["diagnosis"], positive="malignant")
        plan = plan_columns(train, None, target="diagnosis", student=deployable)
        typer.echo("Breast cancer data of scikit-learn. The 10 'mean' columns will be there when predictions are")
        typer.echo("needed; the 20 'error' and 'worst' columns are known for the training rows alone.\n")
        fit_tables(Tables(train, None, None, target, plan), Settings("demo", student="tree"), out)


def _is_demo(folder: Path) -> bool:
    """Whether everything in a folder is an earlier demo's, so that nothing is lost by replacing it."""
    from tabkd.results import FILES, load_summary

    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return names <= set(FILES) and "summary.json" in names and load_summary(folder)["settings"]["command"] == "demo"


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Folder that tabkd fit wrote, or .onnx file of tabkd export.")],
    test: Annotated[Path, typer.Argument(help="Table to predict: CSV (also compressed) or Parquet.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write: CSV or Parquet, by its suffix.")],
    proba: Annotated[bool, typer.Option("--proba", help="Probabilities instead of labels.")] = False,
    id: Annotated[str | None, typer.Option("--id", help="Column that names the rows (default: that of fit).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Predict a table with a saved student; only the student's columns are needed."""
    with reported():
        from tabkd.files import check_free, write_table

        check_free(out, overwrite=overwrite, inputs=(model, test))
        predicted = predict_file if model.suffix.lower() == ".onnx" else _predict_folder
        table = predicted(model, test, id=id, proba=proba)
        write_table(table, out)
        typer.echo(f"Wrote {len(table)} rows to {out}.")


app.command()(check)
app.command()(fit)
app.command()(tune)
app.command()(budget)
app.command()(export)
app.command()(inspect)


def main() -> None:
    """Run the command line: exit code 0 if all is well, 2 for bad usage or input, 1 for anything unforeseen."""
    app()


def _predict_folder(folder: Path, test: Path, *, id: str | None, proba: bool) -> pd.DataFrame:
    from tabkd.competition import warn_of_unseen
    from tabkd.files import InputError, read_table
    from tabkd.results import load_model, load_summary
    from tabkd.submission import answers_of, prediction_table
    from tabkd.words import near

    summary, fitted = load_summary(folder), load_model(folder)
    if proba and summary["labels"] is None:
        raise InputError("--proba needs a classification model, but this one is a regression. Leave it out.")
    name = id or summary["id"]
    free = [*summary.get("free_text", ()), *([name] if name else [])]
    frame = read_table(test, text=summary["text_columns"], free=free)
    if id is not None and id not in frame:
        raise InputError(f"--id {id} is not among the columns of {test}.{near(id, frame)}")
    missing = [column for column in summary["student_columns"] if column not in frame]
    if missing:
        raise InputError(f"{test} lacks columns that the student needs: {missing}.")
    with bad_input():
        answers = answers_of(fitted, frame)
    warn_of_unseen(fitted.student_.encoder.categories, frame)
    return prediction_table(frame.get(name), summary["target"], answers, proba=proba)

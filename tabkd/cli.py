"""The command line: ``tabkd demo``, ``fit``, ``predict``, ``export`` and ``inspect``.

What is heavy to import is imported inside the commands, so that ``tabkd --help`` answers at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tabkd.cli_errors import bad_input, reported
from tabkd.cli_export import export, inspect, predict_file

if TYPE_CHECKING:
    import pandas as pd

    from tabkd.competition import Plan, Target
    from tabkd.presets import Metric

__all__ = ["main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train a strong teacher on every column you have, and a small student on those you will have later.",
)


#: Trees of the default models.
TEACHER_ROUNDS, STUDENT_ROUNDS = 300, 150


@dataclass(frozen=True)
class Settings:
    """How to fit: everything that is not about the tables."""

    command: str = "fit"
    teacher: str = "lightgbm"
    student: str = "lightgbm"
    metric: str | None = None
    alpha: float | str = "auto"
    folds: int = 5
    seed: int = 0
    ensemble: bool = False
    n_jobs: int | None = None


@dataclass(frozen=True)
class Tables:
    """The tables of a fit, and what is known of their columns."""

    train: pd.DataFrame
    test: pd.DataFrame | None
    sample: pd.DataFrame | None
    target: Target
    plan: Plan
    groups: str | None = None
    weight: str | None = None


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

        from tabkd.competition import plan_columns, read_target
        from tabkd.results import prepare_folder

        prepare_folder(out, overwrite=overwrite or _is_demo(out))
        data = load_breast_cancer(as_frame=True)
        train = data.data.assign(diagnosis=data.target_names[data.target])
        deployable = [name for name in data.data if name.startswith("mean ")]
        target = read_target(train["diagnosis"], positive="malignant")
        plan = plan_columns(train, None, target="diagnosis", student=deployable)
        typer.echo("Breast cancer data of scikit-learn. The 10 'mean' columns will be there when predictions are")
        typer.echo("needed; the 20 'error' and 'worst' columns are known for the training rows alone.\n")
        _fit(Tables(train, None, None, target, plan), Settings("demo", student="tree"), out)


def _is_demo(folder: Path) -> bool:
    """Whether everything in a folder is an earlier demo's, so that nothing is lost by replacing it."""
    from tabkd.results import FILES, load_summary

    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return names <= set(FILES) and "summary.json" in names and load_summary(folder)["settings"]["command"] == "demo"


@app.command()
def fit(
    train: Annotated[Path, typer.Argument(help="Training table: CSV (also compressed) or Parquet.")],
    target: Annotated[str, typer.Option(help="Column to predict.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    test: Annotated[Path | None, typer.Option(help="Table to predict; its columns are the student's.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="Column that names the rows.")] = None,
    sample_submission: Annotated[Path | None, typer.Option(help="Shape of the submission to write.")] = None,
    teacher: Annotated[
        str, typer.Option(help="lightgbm, catboost, xgboost, random_forest or extra_trees.")
    ] = "lightgbm",
    student: Annotated[str, typer.Option(help="One of these, or tree.")] = "lightgbm",
    metric: Annotated[
        str | None, typer.Option(help="scikit-learn scorer, or module:function of (y_true, y_pred); greater is better.")
    ] = None,
    task: Annotated[
        Literal["classification", "regression"] | None, typer.Option(help="Unless the target says it.")
    ] = None,
    positive: Annotated[str | None, typer.Option(help="Positive label of two.  [default: the last sorted]")] = None,
    student_features: Annotated[
        list[str] | None, typer.Option(help="The student's columns: a,b,c, or the option again and again.")
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Columns that nobody reads, listed likewise.")] = None,
    groups: Annotated[str | None, typer.Option(help="Column of groups whose rows stay in one fold.")] = None,
    weight: Annotated[str | None, typer.Option(help="Column of row weights.")] = None,
    alpha: Annotated[str, typer.Option(help="Weight of the true labels in the student's target, or auto.")] = "auto",
    ensemble: Annotated[
        bool, typer.Option("--ensemble/--single", help="Keep the mean of the fold students, or fit one to all rows.")
    ] = False,
    folds: Annotated[int, typer.Option(min=3, help="Folds of the cross-fitting.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds and models.")] = 0,
    n_jobs: Annotated[int | None, typer.Option(help="Fits under way at once.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results in a folder.")] = False,
) -> None:
    """Train teacher, student and the student's control on a table, and write what a competition needs."""
    with reported():
        from tabkd.results import prepare_folder

        settings = Settings("fit", teacher, student, metric, _read_alpha(alpha), folds, seed, ensemble, n_jobs)
        tables = _read_tables(
            train,
            test,
            sample_submission,
            target=target,
            id=id,
            groups=groups,
            weight=weight,
            drop=drop or [],
            student=student_features or [],
            task=task,
            positive=positive,
        )
        prepare_folder(out, overwrite=overwrite)
        _fit(tables, settings, out)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Folder that tabkd fit wrote, or .onnx file of tabkd export.")],
    test: Annotated[Path, typer.Argument(help="Table to predict: CSV (also compressed) or Parquet.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write: CSV or Parquet, by its suffix.")],
    proba: Annotated[bool, typer.Option("--proba", help="Probabilities instead of labels.")] = False,
    id: Annotated[str | None, typer.Option("--id", help="Column that names the rows.  [default: that of fit]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Predict a table with a saved student; only the student's columns are needed."""
    with reported():
        from tabkd.files import InputError, write_table

        if out.exists() and (not overwrite or (test.exists() and out.samefile(test))):
            raise InputError(f"{out} exists. Give another name" + ("." if overwrite else ", or --overwrite."))
        predicted = predict_file if model.suffix.lower() == ".onnx" else _predict_folder
        table = predicted(model, test, id=id, proba=proba)
        write_table(table, out)
        typer.echo(f"Wrote {len(table)} rows to {out}.")


app.command()(export)
app.command()(inspect)


def main() -> None:
    """Run the command line: exit code 0 if all is well, 2 for bad usage or input, 1 for anything unforeseen."""
    app()


# ---------------------------------------------------------------- reading


def _listed(values: list[str], known: Any) -> list[str]:
    """Names given as ``a,b,c`` or one by one; a name that holds a comma is taken whole where it is known."""
    return [name for value in values for name in ([value] if value in known else value.split(","))]


def _read_alpha(text: str) -> float | str:
    from tabkd.files import InputError

    try:
        alpha = text if text == "auto" else float(text)
    except ValueError:
        alpha = -1.0
    if isinstance(alpha, float) and not 0 <= alpha <= 1:
        raise InputError(f"--alpha must be auto or a number from 0 to 1, got {text}. Try 0.5.")
    return alpha


def _read_tables(
    train_path: Path,
    test_path: Path | None,
    sample_path: Path | None,
    *,
    target: str,
    id: str | None,
    groups: str | None,
    weight: str | None,
    drop: list[str],
    student: list[str],
    task: str | None,
    positive: str | None,
) -> Tables:
    from tabkd.competition import check_columns, plan_columns, read_target, text_columns
    from tabkd.files import InputError, read_header, read_table

    if sample_path is not None and test_path is None:
        raise InputError("--sample-submission needs the rows to predict. Give them with --test.")
    if sample_path is not None and test_path is not None and id is None:
        header = read_header(test_path)
        id = next((name for name in read_header(sample_path) if name in header and name != target), None)
    named = [] if id is None else [id]
    train = read_table(train_path, text=named)
    # A column that is text in one table must not become numbers where it happens to hold digits alone.
    test = None if test_path is None else read_table(test_path, text=[*text_columns(train), *named])
    sample = None if sample_path is None else read_table(sample_path, text=named)
    known = {*train.columns, *([] if test is None else test.columns)}
    plan = plan_columns(
        train,
        test,
        target=target,
        id=id,
        groups=groups,
        weight=weight,
        drop=_listed(drop, known),
        student=_listed(student, known),
    )
    check_columns(train, test, plan)
    tables = Tables(train, test, sample, read_target(train[target], task=task, positive=positive), plan, groups, weight)
    typer.echo(f"{train_path.name}: {len(train)} rows, {train.shape[1]} columns.")
    return tables


# ---------------------------------------------------------------- fitting


def _fit(tables: Tables, settings: Settings, out: Path) -> None:
    """Fit, write the folder, and say what came out."""
    from tabkd.competition import row_groups, row_weights, text_columns
    from tabkd.presets import check_metric, read_metric
    from tabkd.results import describe, out_of_fold_tables, save, scores_of, summary_lines
    from tabkd.rows import read_rows
    from tabkd.submission import blank_answers, submission

    started = time.monotonic()
    target, plan, train = tables.target, tables.plan, tables.train
    groups = None if tables.groups is None else row_groups(train[tables.groups])
    weight = None if tables.weight is None else row_weights(train[tables.weight])
    metric = read_metric(settings.metric, regression=target.regression, labels=target.coded_labels)
    with bad_input():
        rows = read_rows(train[plan.features], target.y, weight, groups, regression=target.regression)
    check_metric(metric, rows.targets)
    if tables.sample is not None and tables.test is not None:
        blank = blank_answers(len(tables.test), target.labels)
        submission(tables.sample, tables.test.get(plan.id), target.name, blank)  # refused now, not after the fit
    model = _estimator(tables, settings, metric)
    _announce(tables, settings)
    with bad_input():
        model.fit(train[plan.features], target.y, sample_weight=weight, groups=groups)
    scores = scores_of(model, metric, rows.targets, groups, settings.seed)
    if metric.own:
        model.set_params(scoring=None)  # a module of the user's own, which would have to be there to load the model
    target.relabel(model)
    written = out_of_fold_tables(model, target, train.get(plan.id))
    if tables.test is not None:
        written["submission.csv"] = _submission(model, tables, metric.of_labels or settings.metric is None)
    summary = describe(
        model,
        target,
        plan,
        scores,
        settings=vars(settings),
        metric=metric.name,
        text_columns=text_columns(train[plan.student]),
        seconds=round(time.monotonic() - started, 1),
    )
    save(out, model, written, summary)
    typer.echo("\n".join(summary_lines(summary, out)))


def _estimator(tables: Tables, settings: Settings, metric: Metric) -> Any:
    from tabkd import DistilledEstimator
    from tabkd.competition import text_columns
    from tabkd.presets import make_model, threads_for

    features = tables.train[tables.plan.features]
    regression, threads = tables.target.regression, threads_for(features.size, settings.n_jobs)
    text = text_columns(features)
    teacher = make_model(
        settings.teacher, "teacher", regression=regression, rounds=TEACHER_ROUNDS, threads=threads, text=text
    )
    # No text for the student: CatBoost's own categories would not run on every device.
    student = make_model(settings.student, "student", regression=regression, rounds=STUDENT_ROUNDS, threads=threads)
    tunes = tables.target.two_classes and metric.of_labels and not metric.own
    return DistilledEstimator(
        teacher,
        student,
        student_features=tables.plan.student,
        cv=settings.folds,
        alpha=settings.alpha,
        ensemble=settings.ensemble,
        threshold=metric.name if tunes else None,
        scoring=metric.scoring,
        n_jobs=settings.n_jobs,
        random_state=settings.seed,
        verbose=1,
    )


def _submission(model: Any, tables: Tables, of_labels: bool) -> pd.DataFrame:
    from tabkd.submission import answers_of, prediction_table, submission

    test, name = tables.test, tables.plan.id
    assert test is not None
    answers = answers_of(model, test)
    ids = test.get(name)
    if tables.sample is None:
        return prediction_table(ids, tables.target.name, answers, proba=not of_labels)
    return submission(tables.sample, ids, tables.target.name, answers)


def _predict_folder(folder: Path, test: Path, *, id: str | None, proba: bool) -> pd.DataFrame:
    from tabkd.files import InputError, near, read_table
    from tabkd.results import load_model, load_summary
    from tabkd.submission import answers_of, prediction_table

    summary, fitted = load_summary(folder), load_model(folder)
    if proba and summary["labels"] is None:
        raise InputError("--proba needs a classification model, but this one is a regression. Leave it out.")
    name = id or summary["id"]
    frame = read_table(test, text=[*summary["text_columns"], *([name] if name else [])])
    if id is not None and id not in frame:
        raise InputError(f"--id {id} is not among the columns of {test}.{near(id, frame)}")
    missing = [column for column in summary["student_columns"] if column not in frame]
    if missing:
        raise InputError(f"{test} lacks columns that the student needs: {missing}.")
    with bad_input():
        answers = answers_of(fitted, frame)
    return prediction_table(frame.get(name), summary["target"], answers, proba=proba)


def _announce(tables: Tables, settings: Settings) -> None:
    """Say what is about to be fitted to what."""
    target, plan = tables.target, tables.plan
    typer.echo(f"target    {target.describe()}")
    typer.echo(f"teacher   {settings.teacher} on {len(plan.features)} columns")
    also = "" if len(plan.student) < len(plan.features) else " (all: --test or --student-features would name fewer)"
    typer.echo(f"student   {settings.student} on {len(plan.student)} columns{also}")
    for name, why in plan.dropped.items():
        typer.echo(f"dropped   {name}: {why}")

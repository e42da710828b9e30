"""``tabkd fit``, and what other commands that fit share with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tabkd import cli_options
from tabkd.cli_config import ConfigOption, options_of
from tabkd.cli_errors import bad_input, reported
from tabkd.cli_text import listed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from tabkd.cli_texts import TextSettings
    from tabkd.competition import Plan
    from tabkd.presets import Metric
    from tabkd.target_column import Target

__all__ = ["Settings", "Tables", "fit", "fit_tables", "read_tables"]

#: Trees of the default models.
TEACHER_ROUNDS, STUDENT_ROUNDS = 300, 150


#: A fitted estimator, tables to write, and what to add to the summary.
Learnt = tuple[Any, dict[str, "pd.DataFrame"], dict[str, Any]]


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
    transfer: str | None = None
    generations: int = 1
    impute: str | None = None
    temperature: float | None = None
    texts: TextSettings | None = None


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
    unlabeled: pd.DataFrame | None = None
    texts: tuple[str, ...] = ()
    #: How the sample submission separates columns and decimals.
    dialect: Mapping[str, str] | None = None


def fit(
    context: typer.Context,
    train: cli_options.Train,
    target: cli_options.Target,
    out: cli_options.Out,
    test: cli_options.Test = None,
    id: cli_options.Id = None,
    sample_submission: cli_options.SampleSubmission = None,
    teacher: cli_options.Reader = "lightgbm",
    student: cli_options.Reader = "lightgbm",
    metric: cli_options.Metric = None,
    task: cli_options.Task = None,
    positive: cli_options.Positive = None,
    student_features: cli_options.StudentFeatures = None,
    drop: cli_options.Drop = None,
    groups: cli_options.Groups = None,
    weight: cli_options.Weight = None,
    alpha: Annotated[str, typer.Option(help="Weight of the true labels in the student's target, or auto.")] = "auto",
    transfer: cli_options.Transfer = None,
    unlabeled: cli_options.Unlabeled = None,
    generations: cli_options.Generations = 1,
    impute: cli_options.Impute = None,
    text_columns: cli_options.TextColumns = None,
    max_length: cli_options.MaxLength = None,
    epochs: cli_options.Epochs = None,
    batch_size: cli_options.BatchSize = None,
    learning_rate: cli_options.LearningRate = None,
    temperature: cli_options.Temperature = None,
    ensemble: cli_options.Ensemble = False,
    folds: cli_options.Folds = 5,
    seed: cli_options.Seed = 0,
    n_jobs: cli_options.Jobs = None,
    config: ConfigOption = None,
    overwrite: cli_options.Overwrite = False,
) -> None:
    """Train teacher, student and the student's control on a table, and write what a competition needs."""
    with reported():
        from tabkd.cli_texts import text_settings
        from tabkd.results import prepare_folder

        settings = Settings(
            "fit", teacher, student, metric, _read_alpha(alpha), folds, seed, ensemble, n_jobs, transfer, generations,
            impute, temperature,
            text_settings(
                text_columns, max_length=max_length, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate
            ),
        )  # fmt: skip
        tables = read_tables(
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
            texts=text_columns or [],
        )
        _check_texts(tables, settings)
        tables = _with_unlabeled(tables, unlabeled, settings)
        prepare_folder(out, overwrite=overwrite, inputs=(train, test, sample_submission, unlabeled))
        fit_tables(tables, settings, out, options=options_of(context))


# ---------------------------------------------------------------- reading


def _read_alpha(text: str) -> float | str:
    from tabkd.files import InputError

    try:
        alpha = text if text == "auto" else float(text)
    except ValueError:
        alpha = -1.0
    if isinstance(alpha, float) and not 0 <= alpha <= 1:
        raise InputError(f"--alpha must be auto or a number from 0 to 1, got {text}. Try 0.5.")
    return alpha


def read_tables(
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
    texts: list[str] | None = None,
) -> Tables:
    """Read the tables that a command names, and plan which column is what."""
    from tabkd.competition import check_columns, plan_columns, text_columns
    from tabkd.files import UNNAMED, InputError, as_written, read_dialect, read_header, read_table
    from tabkd.target_column import read_target

    if sample_path is not None and test_path is None:
        raise InputError("--sample-submission needs the rows to predict. Give them with --test.")
    if sample_path is not None and test_path is not None and id is None:
        header = read_header(test_path)
        shared = [name for name in read_header(sample_path) if name in header and name != target]
        id = next((name for name in shared if not name.startswith(UNNAMED)), None)
    named, texts = [] if id is None else [id], listed(texts or [], set(read_header(train_path)) if texts else set())
    train = read_table(train_path, free=[*named, *texts])
    # A column that is text in one table must not become numbers where it happens to hold digits alone.
    test = None if test_path is None else read_table(test_path, text=text_columns(train), free=[*named, *texts])
    sample, dialect = None, None
    if sample_path is not None:
        dialect = read_dialect(sample_path)
        names = read_header(sample_path)
        sample = read_table(sample_path, free=names).set_axis(read_header(sample_path, raw=True), axis=1)
    known = {*train.columns, *([] if test is None else test.columns)}
    plan = plan_columns(
        train,
        test,
        target=target,
        id=id,
        groups=groups,
        weight=weight,
        drop=listed(drop, known),
        student=listed(student, known),
        texts=texts,
    )
    check_columns(train, test, plan)
    for path, table in ((train_path, train), (test_path, test)):
        if path is not None and table is not None and plan.id is not None and plan.id in {*table} - {*named}:
            table[plan.id] = as_written(path, [plan.id])[plan.id]
    if task != "regression":
        train[target] = _with_leading_zeros(train_path, train[target])
    answers = read_target(train[target], task=task, positive=positive)
    tables = Tables(train, test, sample, answers, plan, groups, weight, texts=tuple(texts), dialect=dialect)
    typer.echo(f"{train_path.name}: {len(train)} rows, {train.shape[1]} columns.")
    return tables


def _with_leading_zeros(path: Path, values: pd.Series) -> pd.Series:
    """Labels as text where they are written as 01, which no number is."""
    from tabkd.files import as_written

    if values.dtype.kind not in "iu":
        return values
    written = as_written(path, [str(values.name)])[values.name]
    return written if written.str.fullmatch(r"0\d+").any() else values


def _with_unlabeled(tables: Tables, path: Path | None, settings: Settings) -> Tables:
    """The tables with rows without labels: those of a file, or the test table's for a student that labels them."""
    from tabkd.competition import text_columns
    from tabkd.files import InputError, read_table

    if path is not None:
        rows = read_table(path, text=text_columns(tables.train), free=tables.texts)
        return replace(tables, unlabeled=rows)
    if settings.transfer != "self-training":
        return tables
    if tables.test is None:
        raise InputError("--transfer self-training needs rows without labels. Give them with --unlabeled or --test.")
    return replace(tables, unlabeled=tables.test)


def _check_texts(tables: Tables, settings: Settings) -> None:
    from tabkd.cli_texts import check_texts
    from tabkd.files import InputError

    if not tables.texts:
        if settings.transfer == "spans":
            raise InputError("--transfer spans cuts texts, and there are none. Name their columns: --text-columns.")
        return
    if settings.impute is not None or settings.transfer == "munge":
        option = "--impute" if settings.impute is not None else "--transfer munge"
        raise InputError(f"{option} is for numbers and categories, not for --text-columns. Leave one of them out.")
    check_texts(settings.teacher, settings.student, tables.plan.features, tables.plan.student, tables.texts)


# ---------------------------------------------------------------- fitting


def _learn(model: Any, X: pd.DataFrame, y: np.ndarray, **rows: Any) -> Learnt:
    return model.fit(X, y, **rows), {}, {}


def fit_tables(
    tables: Tables, settings: Settings, out: Path, *, learn: Callable[..., Learnt] = _learn, options: str | None = None
) -> None:
    """Fit, write the folder, and say what came out.

    Parameters
    ----------
    tables : Tables
    settings : Settings
    out : Path
    learn : callable
        Given the estimator, ``X``, ``y``, ``sample_weight``, ``groups`` and perhaps ``X_unlabeled``; returns the fitted
        estimator, further tables to write, and what to add to the summary.
    options : str or None
        Of the command, as a file for ``--config``.
    """
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
        submission(tables.sample, tables.test, plan.id, target.name, blank)  # refused now, not after the fit
    model = _estimator(tables, settings, metric)
    _announce(tables, settings)
    given: dict[str, Any] = {"sample_weight": weight, "groups": groups}
    if tables.unlabeled is not None:
        given["X_unlabeled"] = tables.unlabeled
    with bad_input():
        model, tables_too, more = learn(model, train[plan.features], target.y, **given)
    scores = scores_of(model, metric, rows.targets, groups, settings.seed)
    if metric.own:
        model.set_params(scoring=None)  # a module of the user's own, which would have to be there to load the model
    target.relabel(model)
    written = {**out_of_fold_tables(model, target, train.get(plan.id)), **tables_too}
    if tables.test is not None:
        of_labels = None if settings.metric is None else metric.of_labels
        written["submission.csv"] = _submission(model, tables, of_labels)
    summary = describe(
        model,
        target,
        plan,
        scores,
        settings=asdict(settings),
        metric=metric.name,
        text_columns=[name for name in text_columns(train[plan.student]) if name not in tables.texts],
        free_text=list(tables.texts),
        seconds=round(time.monotonic() - started, 1),
        **more,
    )
    save(out, model, written, summary, options, tables.dialect)
    typer.echo("\n".join(summary_lines(summary, out)))


def _estimator(tables: Tables, settings: Settings, metric: Metric) -> Any:
    from tabkd import DistilledEstimator
    from tabkd.cli_texts import TEMPERATURE, columns_of, is_transformer

    plan, reading = tables.plan, bool(tables.texts) and is_transformer(settings.student)
    # A transformer is exported without a threshold: it answers with the likeliest label.
    tunes = tables.target.two_classes and metric.of_labels and not metric.own and not reading
    usual = TEMPERATURE if reading and not tables.target.regression else 1.0
    return DistilledEstimator(
        _model("teacher", tables, settings),
        _model("student", tables, settings),
        teacher_features=columns_of(settings.teacher, plan.features, tables.texts) if tables.texts else None,
        student_features=columns_of(settings.student, plan.student, tables.texts) if tables.texts else plan.student,
        cv=settings.folds,
        alpha=settings.alpha,
        temperature=usual if settings.temperature is None else settings.temperature,
        transfer=settings.transfer,
        generations=settings.generations,
        impute=_read_impute(settings.impute, plan.features),
        ensemble=settings.ensemble,
        threshold=metric.name if tunes else None,
        scoring=metric.scoring,
        n_jobs=settings.n_jobs,
        random_state=settings.seed,
        verbose=1,
    )


def _model(role: str, tables: Tables, settings: Settings) -> Any:
    from tabkd.cli_texts import is_transformer, make_transformer
    from tabkd.competition import text_columns
    from tabkd.presets import make_model, threads_for

    name, other = settings.teacher, settings.student
    if role == "student":
        name, other = other, name
    regression, features = tables.target.regression, tables.train[tables.plan.features].drop(columns=[*tables.texts])
    if settings.texts is not None and is_transformer(name):
        return make_transformer(name, other, settings.texts, regression=regression)
    # No text for the student: CatBoost's own categories would not run on every device.
    rounds, text = (TEACHER_ROUNDS, text_columns(features)) if role == "teacher" else (STUDENT_ROUNDS, [])
    threads = threads_for(features.size, settings.n_jobs)
    return make_model(name, role, regression=regression, rounds=rounds, threads=threads, text=text)


def _read_impute(text: str | None, known: Iterable[str]) -> Any:
    if text is None or text == "all":
        return text
    return int(text) if text.isdecimal() else listed([text], set(known))


def _submission(model: Any, tables: Tables, of_labels: bool | None) -> pd.DataFrame:
    from tabkd.competition import warn_of_unseen
    from tabkd.submission import answers_of, prediction_table, submission

    test, id, target = tables.test, tables.plan.id, tables.target.name
    assert test is not None
    answers = answers_of(model, test)
    warn_of_unseen(model.student_.encoder.categories, test)
    if tables.sample is None:
        return prediction_table(test.get(id), target, answers, proba=of_labels is False)
    return submission(tables.sample, test, id, target, answers, of_labels=of_labels)


def _announce(tables: Tables, settings: Settings) -> None:
    """Say what is about to be fitted to what."""
    from tabkd.submission import joining

    target, plan = tables.target, tables.plan
    typer.echo(f"target    {target.describe()}")
    typer.echo(f"teacher   {settings.teacher} on {_read_by(settings.teacher, plan.features, tables.texts)}")
    also = "" if len(plan.student) < len(plan.features) else " (all: --test or --student-features would name fewer)"
    typer.echo(f"student   {settings.student} on {_read_by(settings.student, plan.student, tables.texts)}{also}")
    if tables.unlabeled is not None:
        typer.echo(f"unlabeled {len(tables.unlabeled)} rows")
    for name, why in plan.dropped.items():
        typer.echo(f"dropped   {name}: {why}")
    if tables.sample is not None and tables.test is not None:
        found = joining(tables.sample, tables.test, plan.id, target.name)
        rows = "in the order of the test table" if found is None else "matched by " + " = ".join(dict.fromkeys(found))
        typer.echo(f"sample    rows {rows}")


def _read_by(model: str, columns: list[str], texts: tuple[str, ...]) -> str:
    from tabkd.cli_texts import columns_of, is_transformer

    if not texts:
        return f"{len(columns)} columns"
    read = columns_of(model, columns, texts)
    return f"the texts {', '.join(read)}" if is_transformer(model) else f"{len(read)} columns"

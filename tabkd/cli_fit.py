"""``tabkd fit``, and what other commands that fit share with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tabkd import cli_options
from tabkd.cli_config import ConfigOption, options_of
from tabkd.cli_errors import bad_input, reported
from tabkd.cli_tables import Tables, read_tables, with_unlabeled
from tabkd.cli_text import listed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from tabkd.cli_texts import TextSettings
    from tabkd.presets import Metric

__all__ = ["Settings", "fit", "fit_tables"]

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
    categories: cli_options.Categories = None,
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
            metric=metric,
            positive=positive,
            categories=categories or [],
            texts=text_columns or [],
        )
        _check_texts(tables, settings)
        tables = with_unlabeled(tables, unlabeled, transfer)
        prepare_folder(out, overwrite=overwrite, inputs=(train, test, sample_submission, unlabeled))
        fit_tables(tables, settings, out, options=options_of(context))


# ---------------------------------------------------------------- options


def _read_alpha(text: str) -> float | str:
    from tabkd.files import InputError

    try:
        alpha = text if text == "auto" else float(text)
    except ValueError:
        alpha = -1.0
    if isinstance(alpha, float) and not 0 <= alpha <= 1:
        raise InputError(f"--alpha must be auto or a number from 0 to 1, got {text}. Try 0.5.")
    return alpha


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

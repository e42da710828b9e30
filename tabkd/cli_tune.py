"""``tabkd tune``: search before the fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tabkd import cli_options
from tabkd.cli_config import ConfigOption, options_of
from tabkd.cli_errors import reported
from tabkd.cli_fit import Settings, fit_tables
from tabkd.cli_tables import read_tables

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["tune"]


def tune(
    context: typer.Context,
    train: cli_options.Train,
    target: cli_options.Target,
    out: cli_options.Out,
    n_trials: Annotated[int, typer.Option(min=1, help="Students to try, those in the storage included.")] = 50,
    teacher_trials: Annotated[int | None, typer.Option(min=0, help="Teachers to try (default: as many).")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds after which no trial is started.")] = None,
    storage: Annotated[
        str | None, typer.Option(help="Where trials are kept: sqlite:///study.db, or a path of a journal file.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the trials in the storage.")] = False,
    objective: Annotated[
        list[str] | None,
        typer.Option(help="What the student may cost, beside the score: latency, size, n_features."),
    ] = None,
    test: cli_options.Test = None,
    id: cli_options.Id = None,
    sample_submission: cli_options.SampleSubmission = None,
    teacher: cli_options.Teacher = "lightgbm",
    student: cli_options.Student = "lightgbm",
    metric: cli_options.Metric = None,
    task: cli_options.Task = None,
    positive: cli_options.Positive = None,
    student_features: cli_options.StudentFeatures = None,
    drop: cli_options.Drop = None,
    categories: cli_options.Categories = None,
    groups: cli_options.Groups = None,
    weight: cli_options.Weight = None,
    ensemble: cli_options.Ensemble = False,
    folds: cli_options.Folds = 5,
    seed: cli_options.Seed = 0,
    n_jobs: cli_options.Jobs = None,
    config: ConfigOption = None,
    overwrite: cli_options.Overwrite = False,
) -> None:
    """Search teachers, students and distillation by the honest score, then do what tabkd fit does with the best."""
    with reported():
        from tabkd.files import InputError
        from tabkd.results import prepare_folder

        if resume and storage is None:
            raise InputError("--resume needs the --storage that holds the trials.")
        settings = Settings("tune", teacher, student, metric, "auto", folds, seed, ensemble, n_jobs)
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
        )
        if storage is not None and not resume:
            _refuse_trials(storage)
        prepare_folder(out, overwrite=overwrite, inputs=(train, test, sample_submission))

        def search(
            model: Any, X: pd.DataFrame, y: Any, **rows: Any
        ) -> tuple[Any, dict[str, pd.DataFrame], dict[str, Any]]:
            from tabkd import DistillationSearchCV

            found = DistillationSearchCV(
                model.set_params(verbose=0), n_trials=n_trials, n_teacher_trials=teacher_trials, timeout=timeout,
                objectives=("score", *(objective or ())), storage=storage, random_state=seed, verbose=1,
            ).fit(X, y, **rows)  # fmt: skip
            return found.best_estimator_, _tables_of(found), {"search": _described(found)}

        fit_tables(tables, settings, out, learn=search, options=options_of(context))


def _refuse_trials(storage: str) -> None:
    """A search that meets trials nobody spoke of would be another than the one that was asked for."""
    from tabkd.cli_errors import bad_input
    from tabkd.files import InputError
    from tabkd.studies import studies_in

    if "://" not in storage and not Path(storage).exists():
        return
    with bad_input():
        known = sum(len(study.trials) for study in studies_in(storage))
    if known:
        raise InputError(f"--storage {storage} holds {known} trials. Go on with --resume, or give another storage.")


def _tables_of(search: Any) -> dict[str, pd.DataFrame]:
    import pandas as pd

    tables = {"trials.csv": pd.DataFrame(search.cv_results_).drop(columns="params")}
    if search.teacher_study_ is not None:
        tables["teacher_trials.csv"] = pd.DataFrame(search.teacher_results_).drop(columns="params")
    if len(search.objectives) > 1:
        tables["pareto_front.csv"] = search.pareto_front_
    return tables


def _described(search: Any) -> dict[str, Any]:
    plain = (str, int, float, bool, list, type(None))
    params = {name: value if isinstance(value, plain) else repr(value) for name, value in search.best_params_.items()}
    return {
        "best_params": params,
        "expected_score": search.best_score_,
        "default_score": search.given_score_,
        "trials": len(search.cv_results_["params"]),
    }

"""``tabkd budget``: choose the student's columns before the fit."""

from __future__ import annotations

from math import inf
from numbers import Real
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

__all__ = ["budget"]


def budget(
    context: typer.Context,
    train: cli_options.Train,
    target: cli_options.Target,
    out: cli_options.Out,
    n_features: Annotated[int | None, typer.Option(min=1, help="Columns that the student may read.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="The most that its columns may cost together.")] = None,
    costs: Annotated[
        Path | None, typer.Option(help="Table of two columns, column and cost; 1 for those it does not name.")
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
    """Choose the columns that the student is to read, then do what tabkd fit does with them."""
    with reported():
        from tabkd.results import prepare_folder

        settings = Settings("budget", teacher, student, metric, "auto", folds, seed, ensemble, n_jobs)
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
        prices = None if costs is None else _read_costs(costs, tables.plan.student)
        prepare_folder(out, overwrite=overwrite, inputs=(train, test, sample_submission, costs))

        def choose(model: Any, X: pd.DataFrame, y: Any, **rows: Any) -> tuple[Any, dict[str, Any], dict[str, Any]]:
            from tabkd import FeatureBudgetSelector

            typer.echo("Choosing columns ...")
            model.set_params(verbose=0)
            selector = FeatureBudgetSelector(model, n_features=n_features, max_cost=max_cost, costs=prices)
            selector.fit(X, y, **rows)
            chosen = X.columns[selector.get_support()].tolist()
            model.set_params(student_features=chosen, verbose=1).fit(X, y, **rows)
            frontier = selector.frontier_
            full, taken = frontier.iloc[0], frontier.iloc[selector.best_index_]
            found = {"columns": chosen, "cost": float(taken["cost"]), "score": float(taken["score"])}
            more = {"of": int(full["n_features"]), "full_cost": float(full["cost"]), "full_score": float(full["score"])}
            return model, {"frontier.csv": frontier}, {"budget": {**found, **more}}

        fit_tables(tables, settings, out, learn=choose, options=options_of(context))


def _read_costs(path: Path, columns: list[Any]) -> dict[Any, float]:
    from tabkd.files import InputError, read_table
    from tabkd.words import near

    table = read_table(path, text=["column"])
    if list(table.columns) != ["column", "cost"]:
        raise InputError(f"--costs {path} must have the columns column and cost, but has {list(table.columns)}.")
    prices = dict.fromkeys(columns, 1.0)
    for name, cost in zip(table["column"], table["cost"], strict=True):
        if name not in prices:
            raise InputError(f"--costs {path} names {name!r}, which is no column of the student.{near(name, columns)}")
        if not (isinstance(cost, Real) and 0 <= float(cost) < inf):
            raise InputError(f"--costs {path}: {name} costs {cost!r}, which is no number >= 0. Mend it.")
        prices[name] = float(cost)
    return prices

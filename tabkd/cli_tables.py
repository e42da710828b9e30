"""The tables that ``tabkd fit``, ``tune`` and ``budget`` read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tabkd.cli_text import listed

if TYPE_CHECKING:
    import pandas as pd

    from tabkd.competition import Plan
    from tabkd.target_column import Target

__all__ = ["Tables", "read_tables", "with_unlabeled"]


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
    metric: str | None,
    positive: str | None,
    texts: list[str] | None = None,
    categories: list[str] | None = None,
) -> Tables:
    """Read the tables that a command names, and plan which column is what."""
    from tabkd.competition import check_columns, plan_columns, text_columns
    from tabkd.files import UNNAMED, InputError, as_written, read_dialect, read_header, read_table
    from tabkd.presets import task_of
    from tabkd.target_column import read_target

    task = task or task_of(metric)
    if sample_path is not None and test_path is None:
        raise InputError("--sample-submission needs the rows to predict. Give them with --test.")
    if sample_path is not None and test_path is not None and id is None:
        header = read_header(test_path)
        shared = [name for name in read_header(sample_path) if name in header and name != target]
        id = next((name for name in shared if not name.startswith(UNNAMED)), None)
    named = [] if id is None else [id]
    texts, categories = (listed(names, set(read_header(train_path))) if names else [] for names in (texts, categories))
    train = read_table(train_path, text=categories, free=[*named, *texts])
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
        categories=categories,
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


def with_unlabeled(tables: Tables, path: Path | None, transfer: str | None) -> Tables:
    """The tables with rows without labels: those of a file, or the test table's for a student that labels them."""
    from tabkd.competition import text_columns
    from tabkd.files import InputError, read_table

    if path is not None:
        rows = read_table(path, text=text_columns(tables.train), free=tables.texts)
        return replace(tables, unlabeled=rows)
    if transfer != "self-training":
        return tables
    if tables.test is None:
        raise InputError("--transfer self-training needs rows without labels. Give them with --unlabeled or --test.")
    return replace(tables, unlabeled=tables.test)

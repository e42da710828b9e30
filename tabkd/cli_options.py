"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__: list[str] = []  # read as cli_options.Train


def _some(number: int | None) -> int | None:
    if number == 0:
        raise typer.BadParameter("0 fits at once are none. Give 1, or leave it out.")
    return number


Train = Annotated[Path, typer.Argument(help="Training table: CSV (also compressed) or Parquet.")]
Target = Annotated[str, typer.Option(help="Column to predict.")]
Out = Annotated[Path, typer.Option(help="Folder for the results.")]
Test = Annotated[Path | None, typer.Option(help="Table to predict; its columns are the student's.")]
Id = Annotated[str | None, typer.Option("--id", help="Column that names the rows.")]
SampleSubmission = Annotated[Path | None, typer.Option(help="Shape of the submission to write.")]
Teacher = Annotated[str, typer.Option(help="lightgbm, catboost, xgboost, random_forest or extra_trees.")]
Student = Annotated[str, typer.Option(help="One of these, or tree.")]
Reader = Annotated[
    str,
    typer.Option(
        help="lightgbm, catboost, xgboost, random_forest, extra_trees or tree; with --text-columns also the folder or "
        "name of a transformer."
    ),
]
Metric = Annotated[
    str | None, typer.Option(help="scikit-learn scorer, or module:function of (y_true, y_pred); greater is better.")
]
Task = Annotated[Literal["classification", "regression"] | None, typer.Option(help="Unless the target says it.")]
Positive = Annotated[str | None, typer.Option(help="Positive label of two (default: the last sorted).")]
StudentFeatures = Annotated[
    list[str] | None, typer.Option(help="The student's columns: a,b,c, or the option again and again.")
]
Drop = Annotated[list[str] | None, typer.Option(help="Columns that nobody reads, listed likewise.")]
Categories = Annotated[
    list[str] | None, typer.Option(help="Columns of codes, listed likewise, which are text even if they are digits.")
]
Groups = Annotated[str | None, typer.Option(help="Column of groups whose rows stay in one fold.")]
Weight = Annotated[str | None, typer.Option(help="Column of row weights.")]
Transfer = Annotated[
    Literal["munge", "spans", "self-training"] | None,
    typer.Option(
        help="Learn from synthetic rows as well (munge; of texts, spans), or from rows that the student labels itself "
        "(--test's)."
    ),
]
Unlabeled = Annotated[Path | None, typer.Option(help="Table of rows without labels, for the teacher to label.")]
Generations = Annotated[int, typer.Option(min=1, help="Students that teach each other in turn, at most so many.")]
Impute = Annotated[
    str | None,
    typer.Option(help="Privileged columns that the student predicts and reads: all, a,b,c, or the number of the best."),
]
Ensemble = Annotated[
    bool, typer.Option("--ensemble/--single", help="Keep the mean of the fold students, or fit one to all rows.")
]
Folds = Annotated[int, typer.Option(min=3, help="Folds of the cross-fitting.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of folds, models and choices.")]
Jobs = Annotated[int | None, typer.Option(help="Fits under way at once; -1 is one per core.", callback=_some)]
TextColumns = Annotated[
    list[str] | None, typer.Option(help="Columns of free text, listed likewise, which transformers read.")
]
MaxLength = Annotated[
    int | None, typer.Option(min=2, help="Transformers: tokens kept of a text (default: all it has positions for).")
]
Epochs = Annotated[float | None, typer.Option(help="Transformers: passes over the texts (default: 3).")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Transformers: texts per step (default: 32).")]
LearningRate = Annotated[float | None, typer.Option(help="Transformers: learning rate (default: 5e-5).")]
Temperature = Annotated[
    float | None, typer.Option(help="Softens the teacher's answers (default: 4 for a transformer of classes, else 1).")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the results in a folder.")]

"""Predictions as tables: out-of-fold files, prediction files, and submissions in the shape of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tabkd.files import InputError

__all__ = ["Answers", "answers_of", "blank_answers", "joining", "prediction_table", "probability_columns", "submission"]


#: What stands for nothing in a column that is still to be filled.
_NONE = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>")


@dataclass(frozen=True)
class Answers:
    """What a model says about some rows.

    Attributes
    ----------
    values : ndarray of shape (n_samples,)
        Labels, or numbers.
    proba : ndarray of shape (n_samples, n_classes) or None
    labels : ndarray of shape (n_classes,) or None
        In the order of the columns of ``proba``: the positive label of two comes last.
    """

    values: np.ndarray
    proba: np.ndarray | None
    labels: np.ndarray | None


def answers_of(model: Any, X: pd.DataFrame) -> Answers:
    """Predict.

    Parameters
    ----------
    model : DistilledEstimator
        Fitted.
    X : DataFrame

    Returns
    -------
    Answers
    """
    labels = getattr(model, "classes_", None)
    return Answers(model.predict(X), None if labels is None else model.predict_proba(X), labels)


def blank_answers(n_samples: int, labels: np.ndarray | None) -> Answers:
    """Answers that say nothing, to see whether a sample submission could be filled.

    Parameters
    ----------
    n_samples : int
    labels : ndarray of shape (n_classes,) or None

    Returns
    -------
    Answers
    """
    if labels is None:
        return Answers(np.zeros(n_samples), None, None)
    return Answers(np.repeat(labels[:1], n_samples), np.zeros((n_samples, len(labels))), labels)


def probability_columns(prefix: str, predictions: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
    """Name the columns of predictions after the labels: ``prefix_label``, or ``prefix`` alone for a regression.

    Parameters
    ----------
    prefix : str
    predictions : ndarray of shape (n_samples, n_columns)
    labels : ndarray of shape (n_columns,) or None

    Returns
    -------
    dict of str to ndarray of shape (n_samples,)
    """
    if labels is None:
        return {prefix: predictions[:, 0]}
    return {f"{prefix}_{label}": predictions[:, c] for c, label in enumerate(labels.tolist())}


def prediction_table(ids: pd.Series | None, target: str, answers: Answers, *, proba: bool) -> pd.DataFrame:
    """A table of predictions.

    Parameters
    ----------
    ids : Series or None
        Written first, under its name.
    target : str
        Name of the column of labels or numbers.
    answers : Answers
    proba : bool
        Write probabilities instead of labels: of the positive label of two, else of every label.

    Returns
    -------
    DataFrame
    """
    made: dict[str, Any] = {} if ids is None else {str(ids.name): ids.to_numpy()}
    if not proba or answers.proba is None or answers.labels is None:
        return pd.DataFrame({**made, target: answers.values})
    kept = slice(1, None) if len(answers.labels) == 2 else slice(None)
    return pd.DataFrame({**made, **probability_columns("probability", answers.proba[:, kept], answers.labels[kept])})


def joining(sample: pd.DataFrame, test: pd.DataFrame, id: str | None, target: str) -> tuple[str, str] | None:
    """Columns of the sample and of the test table that name the same rows.

    Parameters
    ----------
    sample : DataFrame
        As it is written, all text.
    test : DataFrame
    id : str or None
        The column of identifiers, if it is known.
    target : str
        A column of the sample that names no rows.

    Returns
    -------
    tuple of str, or None
        ``id`` if both have it; else the first two that hold the same values, none of them twice.
    """
    if id is not None and id in sample and id in test:
        return id, id
    if len(sample.columns) == 1 or len(sample) != len(test):
        return None
    for name in sample.columns:
        wanted = _normal(sample[name])
        if name != target and wanted.is_unique:
            for other in test.columns:
                ids = _normal(test[other])
                if ids.is_unique and wanted.isin(ids).all():
                    return name, other
    return None


def _as_text(values: pd.Series) -> pd.Series:
    return values.astype(str)


def _normal(values: pd.Series) -> pd.Series:
    """Numbers where all are, so that 007 is 7."""
    numbers = pd.to_numeric(values, errors="coerce")
    return _as_text(values) if numbers.isna().any() else numbers


def submission(
    sample: pd.DataFrame,
    test: pd.DataFrame,
    id: str | None,
    target: str,
    answers: Answers,
    *,
    of_labels: bool | None = None,
) -> pd.DataFrame:
    """Predictions in the shape of a competition's sample submission.

    Rows follow the sample's identifiers, or the order of the test table if it has none. Where several columns are named
    after the labels, each gets the probability of its own; else one column gets labels, or the probability of the
    positive label of two.

    Parameters
    ----------
    sample : DataFrame
        As it is written, all text.
    test : DataFrame
    id : str or None
        The column of identifiers, if it is known.
    target : str
    answers : Answers
        For the test rows.
    of_labels : bool or None
        Whether numbers in the sample ask for labels; None is what they are: integers do, decimal numbers do not.

    Returns
    -------
    DataFrame

    Raises
    ------
    InputError
        If rows or columns do not match.
    """
    order, columns = np.arange(len(test)), sample.columns.tolist()
    found = joining(sample, test, id, target)
    if found is not None:
        name, other = found
        columns.remove(name)
        same = _as_text if name == other == id else _normal
        order = _match(same(sample[name]), same(test[other]), name)
    elif len(sample) != len(test):
        raise InputError(
            f"The sample submission has {len(sample)} rows, but the test table has {len(test)}, and no column of "
            "identifiers joins them. Name it with --id."
        )
    filled = sample.copy()
    for name, values in _fill(sample, columns, target, answers, of_labels):
        filled[name] = values[order]
    return filled


def _match(wanted: pd.Series, ids: pd.Series, name: str) -> np.ndarray:
    for what, series in (("test table", ids), ("sample submission", wanted)):
        if not series.is_unique:
            twice = series[series.duplicated()].iloc[0]
            raise InputError(f"The {what} names {twice!r} in column {name} more than once. Remove one of the rows.")
    for one, other, here, there in (
        (wanted, ids, "sample submission", "test table"),
        (ids, wanted, "test table", "sample submission"),
    ):
        strange = one[~one.isin(other)]
        if len(strange):
            raise InputError(
                f"{len(strange)} of {len(one)} values of {name} in the {here} are not in the {there}, such as "
                f"{strange.iloc[0]!r}. Give the sample that belongs to this test table."
            )
    return pd.Index(ids).get_indexer(pd.Index(wanted))


def _fill(
    sample: pd.DataFrame, columns: list[str], target: str, answers: Answers, of_labels: bool | None
) -> list[tuple[str, np.ndarray]]:
    """Names of the columns to fill, and their values in the order of the test rows."""
    if len(columns) > 1 and answers.labels is not None and answers.proba is not None:
        by_label = _columns_by_label(columns, answers.labels)
        if by_label is not None:
            return [(name, answers.proba[:, c]) for c, name in enumerate(by_label)]
    if len(columns) != 1 and target not in columns:
        raise InputError(
            f"The sample submission's columns {columns} are neither one column, nor {target}, nor one per label. "
            "Name its column of identifiers with --id."
        )
    name = columns[0] if len(columns) == 1 else target
    return [(name, _like(sample[name], answers, target, of_labels))]


def _columns_by_label(columns: list[str], labels: np.ndarray) -> list[str] | None:
    """The column of each label: named as the label, or with a beginning that all share."""
    first, *others = [str(label) for label in labels.tolist()]
    for column in columns:
        if column.endswith(first):
            named = [column, *(column.removesuffix(first) + label for label in others)]
            if set(named) <= set(columns):
                return named
    return None


def _like(example: pd.Series, answers: Answers, target: str, of_labels: bool | None) -> np.ndarray:
    """Labels, probabilities or numbers: what was asked for, or else what the sample's own values are.

    Where it holds numbers and the labels are text, 1 stands for the positive one of two.
    """
    labels, proba = answers.labels, answers.proba
    if labels is None or proba is None:
        return answers.values
    values = example[~example.isin(_NONE)]
    numbers = pd.to_numeric(values.str.replace(r"^([+-]?\d*),(?=\d+$)", r"\1.", regex=True), errors="coerce")
    numeric = not numbers.isna().any()
    if len(labels) == 2 and numeric:
        wanted = numbers.dtype.kind != "f" or len(values) == 0 if of_labels is None else of_labels
        if not wanted:
            return proba[:, 1]
        if len(values) and labels.dtype.kind not in "iuf":
            return (answers.values == labels[1]).astype(np.int64)
    if len(values) == 0:
        return answers.values
    if labels.dtype.kind == "b":
        values = values.str.capitalize()
    fits = labels.dtype.kind in "iuf" if numeric else set(values) & {str(label) for label in labels}
    if not fits:
        raise InputError(
            f"The sample submission holds {values.iloc[0]!r} in {example.name}, but {target} has the labels "
            f"{labels.tolist()}. Write the training labels as the sample does."
        )
    return answers.values

"""The proof that a file answers as Python does, on rows made to find out where it would not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tabkd.averages import FittedAverage
from tabkd.column import Column
from tabkd.export.categories import UNSEEN
from tabkd.export.inputs import input_name
from tabkd.models import FittedModel
from tabkd.runtime import OnnxPredictor

__all__ = ["EXTREMES", "TOLERANCE", "ParityError", "Proof", "adversarial_rows", "prove", "scale_of"]

#: Largest difference of a probability (of a value, relative to their spread) that is written.
TOLERANCE = 1e-5
#: Steps of float32 by which a value may differ, however little it spreads.
_STEPS = 4
#: Rows replayed one by one, because some runtimes take other paths for one row than for many.
N_SINGLE = 16
#: Share of the cells that hold something extreme, in the rows that hold any.
_EXTREME = 0.05
_N_PLAIN = 512
#: Numbers that are no usual measurement.
EXTREMES = (np.nan, np.inf, -np.inf, 3.4028235e38, -3.4028235e38, 0.0, 1e-36, -1e-36)


class ParityError(ValueError):
    """A file that does not answer as Python does; it was not written."""


@dataclass(frozen=True)
class Proof:
    """What was compared, and how far apart the answers were.

    Attributes
    ----------
    rows : int
    thresholds : int
        Distinct thresholds of trees, each replayed with both of its float32 neighbours.
    largest_difference : float
    labels_differ : int
    tolerance : float
    """

    rows: int
    thresholds: int
    largest_difference: float
    labels_differ: int
    tolerance: float


def adversarial_rows(
    columns: Sequence[Column],
    thresholds: Mapping[int, np.ndarray],
    texts: Mapping[int, Sequence[str]],
    *,
    extreme: Sequence[float] = EXTREMES,
    unseen: bool = True,
    missing: Sequence[Any] = (None,),
    typed: bool = False,
    held: Mapping[int, np.ndarray] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Rows that hold every threshold with its float32 neighbours, missing and unseen values, and infinities.

    Parameters
    ----------
    columns : sequence of Column
    thresholds : mapping from column index to ndarray
    texts : mapping from column index to texts
        Of the columns that are read as text.
    extreme : sequence of float
        Numbers strewn among the others.
    unseen : bool
        Whether categories are among them that were never seen.
    missing : sequence
        What a missing text may be; none are missing if it is empty.
    typed : bool
        Whether columns of whole numbers and of booleans keep their type, as pipelines want them.
    held : mapping from column index to ndarray, optional
        What columns of numbers hold, where they are to hold nothing else; columns with thresholds do.
    seed : int

    Returns
    -------
    DataFrame
        Each column is shuffled by itself, so that rows mix what columns hold.
    """
    rng = np.random.default_rng(seed)
    pools = []
    for i, column in enumerate(columns):
        if column.kind == "category":
            pools.append(_categories(column, unseen, missing))
        elif held and i in held and i not in thresholds:
            pools.append(held[i])
        else:
            pool = _numbers(column, thresholds.get(i), texts.get(i), rng)
            pools.append(_as_typed(column, pool) if typed else pool)
    n_rows = max(_N_PLAIN, *map(len, pools))
    made = {}
    for i, (column, pool) in enumerate(zip(columns, pools, strict=True)):
        cells = rng.permutation(np.concatenate([pool, rng.choice(pool, n_rows - len(pool))]))
        boolean = column.kind == "boolean"
        extremes = [number for number in extreme if not boolean or number != number]
        if extremes and (boolean or i not in texts) and cells.dtype.kind == "f":
            # The first half stays plain: where everything is extreme, few leaves are reached.
            struck = (rng.random(n_rows) < _EXTREME) & (np.arange(n_rows) >= n_rows // 2)
            cells = np.where(struck, rng.choice(extremes, n_rows), cells)
        made[column.name] = cells
    return pd.DataFrame(made)


def _categories(column: Column, unseen: bool, missing: Sequence[Any]) -> np.ndarray:
    known = list(column.categories)
    numeric = bool(known) and not isinstance(known[0], str)
    more = [-12345.0 if numeric else UNSEEN] if unseen or not (known or missing) else []
    cells = [*known, *([np.nan] if numeric and missing else missing), *more]
    pool = np.empty(len(cells), dtype=object)
    pool[:] = cells
    return pool


@np.errstate(over="ignore")  # a column may hold what float32 does not
def _numbers(column: Column, thresholds: Any, texts: Any, rng: np.random.Generator) -> np.ndarray:
    if column.kind == "boolean":
        return np.array([0.0, 1.0])
    if texts is not None:
        return np.array([float(text) for text in texts] + [98765.0, np.nan])
    if thresholds is None or not len(thresholds):
        if column.typical:
            drawn = np.interp(rng.random(_N_PLAIN), np.linspace(0, 1, len(column.typical)), column.typical)
        else:
            drawn = rng.normal(scale=2, size=_N_PLAIN)
        return np.round(drawn).astype(np.int64) if column.kind == "integer" else drawn.astype(np.float32).astype(float)
    near = thresholds.astype(np.float32)
    sides = [np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf)]
    pool = np.unique(np.concatenate([near, *sides])).astype(float)
    return pool[np.isfinite(pool)]


def _as_typed(column: Column, pool: np.ndarray) -> np.ndarray:
    if column.kind == "integer":
        return np.unique([np.floor(pool), np.floor(pool) + 1, np.ceil(pool)]).astype(np.int64)
    return pool.astype(bool) if column.kind == "boolean" else pool


def prove(
    model: FittedModel | FittedAverage, predictor: OnnxPredictor, tables: Sequence[pd.DataFrame], n_thresholds: int
) -> Proof:
    """Compare the file's answers with the model's, on every row of every table.

    Parameters
    ----------
    model : FittedModel or FittedAverage
    predictor : OnnxPredictor
        Of the file.
    tables : sequence of DataFrame
        Raw columns.
    n_thresholds : int
        For the record.

    Returns
    -------
    Proof

    Raises
    ------
    ParityError
        If an answer differs by more than ``TOLERANCE``, or a label at all.
    """
    worst, n_rows, classify = 0.0, 0, model.classes is not None
    inputs = [input_name(column) for column in model.encoder.columns]
    for table in tables:
        expected, labels = _answers(model, table, classify)
        asked = table.set_axis(inputs, axis=1)
        found, found_labels = _answers(predictor, asked, classify)
        singles = [asked.iloc[i : i + 1] for i in range(min(len(table), N_SINGLE))]
        alone = [_answers(predictor, row, classify)[0] for row in singles]
        scale = 1.0 if classify else scale_of(expected)
        for answers in (found, np.concatenate([*alone, found[len(alone) :]])):
            difference = np.abs(answers - expected) / scale
            difference = np.where(np.isnan(difference), np.inf, difference)
            worst = max(worst, float(difference.max(initial=0)))
            if worst > TOLERANCE:
                row, output = np.unravel_index(difference.argmax(), difference.shape)
                name = model.classes[output] if model.classes is not None else int(output)
                _refuse(table, int(row), name, expected[row, output], answers[row, output])
        differ = np.flatnonzero(labels != found_labels)
        if len(differ):
            _refuse(table, int(differ[0]), "label", labels[differ[0]], found_labels[differ[0]])
        n_rows += len(table)
    return Proof(n_rows, n_thresholds, worst, 0, TOLERANCE)


def scale_of(expected: np.ndarray) -> np.ndarray:
    """What differences of values are held against: how far they spread, and a few steps of float32 where they are.

    Parameters
    ----------
    expected : ndarray of shape (n_samples, n_outputs)

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)
    """
    number, size = np.finfo(np.float32), np.abs(expected)
    spread = np.ptp(expected, axis=0) if len(expected) > 1 else size
    return spread + _STEPS * number.eps / TOLERANCE * size + number.tiny


def _answers(model: Any, table: pd.DataFrame, classify: bool) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of shape (n_samples, n_columns), and labels (zeros of a regressor)."""
    if classify:
        return model.predict_proba(table), np.asarray(model.predict(table))
    values = np.asarray(model.predict(table), dtype=np.float64)
    return values.reshape(len(table), -1), np.zeros(len(table))


def _refuse(table: pd.DataFrame, row: int, output: Any, expected: Any, found: Any) -> None:
    cells = {name: table.iloc[row][name] for name in table.columns}
    raise ParityError(
        f"The file is not written: on row {row} of the proof it gives {found!r} for {output!r}, Python {expected!r}. "
        f"The row: {cells}. Please report it, with the versions of the model's library and of onnxruntime."
    )

"""What gives the target away: columns, what is missing, and the order of the rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tabkd.competition import MIN_ROWS
from tabkd.files import InputError
from tabkd.heldout import N_FOLDS, HeldOut, alone, five_folds
from tabkd.paired import PairedColumn
from tabkd.target_column import Target

__all__ = ["ROW_ORDER", "SUSPICIOUS", "find_leaks"]

ROW_ORDER = "(order of the rows)"
#: ROC AUC or R² of one column from which it is all but the target itself.
SUSPICIOUS = 0.99
#: What missing values and the order of rows may say of the target before it is worth a word.
_TELLING_AUC, _TELLING_R2 = 0.55, 0.05


def find_leaks(
    columns: Sequence[PairedColumn],
    identifiers: Sequence[PairedColumn],
    target: Target,
    rows: np.ndarray,
    groups: np.ndarray | None,
    seed: int,
) -> pd.DataFrame:
    """How well the target is predicted by what should not tell it.

    Parameters
    ----------
    columns, identifiers : sequence of PairedColumn
        Columns of the training table: those that describe its rows, and those that name them.
    target : Target
        Of all training rows.
    rows : ndarray of int
        The rows to read.
    groups : ndarray of shape (n_samples,) or None
        Of all training rows.
    seed : int

    Returns
    -------
    DataFrame
        One row per clue, the strongest first: ``clue`` (``"value"``, ``"missing"`` or ``"order"``), ``column``,
        ``score`` on rows held out (ROC AUC or R²) and its ``score_se``, ``suspicious``, and a ``note``.

    Raises
    ------
    InputError
        If there are too few rows, or too few of two classes.
    """
    classes = None if target.regression else np.unique(target.y, return_inverse=True)[1]
    y = target.y if classes is None else classes
    if classes is not None:  # every fold needs a row of each class
        rows = rows[np.bincount(classes[rows])[classes[rows]] >= N_FOLDS]
    if len(rows) < MIN_ROWS or (classes is not None and len(np.unique(y[rows])) < 2):
        raise InputError(
            f"The target {target.name} has too few rows to look for leaks: {MIN_ROWS} are needed, and {N_FOLDS} of "
            "each of two classes. Leave the target out, or give more rows."
        )
    y, groups = y[rows], None if groups is None else groups[rows]
    if groups is not None and len(np.unique(groups)) < N_FOLDS:
        raise InputError(
            f"The rows to look for leaks are of {len(np.unique(groups))} groups, and {N_FOLDS} are needed. Leave the "
            "groups out, or give more of them."
        )
    folds = five_folds(y, groups, regression=target.regression, seed=seed)

    def scored(values: np.ndarray) -> HeldOut:
        return alone(values[rows], y, folds, regression=target.regression)

    clues = [("value", column.name, scored(column.train), "") for column in columns]
    patterns: dict[bytes, HeldOut] = {}
    for column in columns:
        absent = np.isnan(column.train)
        if 0 < absent[rows].mean() < 1:
            key = absent.tobytes()
            patterns[key] = patterns[key] if key in patterns else scored(absent.astype(float))
            clues.append(("missing", column.name, patterns[key], _note(absent[rows], y, target)))
    clues += [("order", column.name, scored(column.train), "") for column in identifiers]
    clues.append(("order", ROW_ORDER, scored(np.arange(len(target.y), dtype=float)), ""))
    found = pd.DataFrame(
        [
            (*clue[:2], clue[2].mean, clue[2].se, _suspicious(clue[0], clue[2], target, len(clues)), clue[3])
            for clue in clues
        ],
        columns=["clue", "column", "score", "score_se", "suspicious", "note"],
    )
    return found.sort_values("score", ascending=False, ignore_index=True, kind="stable")


def _suspicious(clue: str, score: HeldOut, target: Target, n_looks: int) -> bool:
    if clue == "value":
        return bool(score.mean >= SUSPICIOUS)
    chance, telling = (0.0, _TELLING_R2) if target.regression else (0.5, _TELLING_AUC)
    return bool(score.mean >= telling and score.interval(n_looks)[0] > chance)


def _note(absent: np.ndarray, y: np.ndarray, target: Target) -> str:
    """What the target is where a column is missing, and where it is not."""
    if target.labels is not None and len(target.labels) > 2:
        return ""
    where, elsewhere = (float(y[mask].mean()) for mask in (absent, ~absent))
    if target.labels is None:
        return f"mean {where:.4g} where missing, {elsewhere:.4g} elsewhere"
    return f"{target.labels.tolist()[1]!r} in {where:.1%} where missing, {elsewhere:.1%} elsewhere"

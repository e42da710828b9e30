"""Warnings about teachers that are too good, or that answer on another scale than the labels."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tabkd.columns import ColumnEncoder
from tabkd.targets import Targets

__all__ = ["warn_of_leaks", "warn_of_prose", "warn_of_shift"]

#: A score this good makes a privileged column suspect.
_SUSPICIOUS = 0.999
#: Mean probability of a class against its share of the rows.
_SHIFT = 0.1


def warn_of_leaks(X: pd.DataFrame | np.ndarray, privileged: list[int], targets: Targets, soft: np.ndarray) -> None:
    """Warn if the teacher is all but perfect, and name the privileged columns that alone give the target away.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n_samples, n_features)
        The table of ``fit``.
    privileged : list of int
        Positions of the columns that only the teacher sees.
    targets : Targets
    soft : ndarray of shape (n_samples, n_outputs)
        Out-of-fold predictions of the teacher, without missing rows.
    """
    if not privileged or _separation(targets, soft) < _SUSPICIOUS:
        return
    # A class is given away by a few cuts of one column, a continuous value only by as many as there are rows.
    regression = targets.classes is None
    leaves = None if regression else max(8, 2 * targets.hard.shape[1])
    tree: Any = DecisionTreeRegressor if regression else DecisionTreeClassifier
    guilty = []
    for position in privileged:
        try:
            encoder = ColumnEncoder.fit(X, [position])
        except TypeError:  # dates and objects, which only a pipeline reads
            continue
        column = np.nan_to_num(np.asarray(encoder.transform(X)), nan=-1e30, posinf=1e30, neginf=-1e30)
        model = tree(max_leaf_nodes=leaves, min_samples_leaf=2 if regression else 5, random_state=0).fit(
            column, targets.labels
        )
        alone = model.predict(column).reshape(len(column), -1) if regression else model.predict_proba(column)
        if _separation(targets, alone) >= _SUSPICIOUS:
            guilty += encoder.names
    if guilty:
        warnings.warn(
            f"The teacher is all but perfect out of fold, and each of the privileged columns {guilty} alone gives the "
            "target away. If such a column is made from the target, drop it from teacher_features: it teaches nothing.",
            stacklevel=3,
        )


def _separation(targets: Targets, predictions: np.ndarray) -> float:
    if targets.classes is None:
        return float(r2_score(targets.hard, predictions))
    return min(
        float(roc_auc_score(targets.hard[:, c], predictions[:, c]))
        for c in range(targets.hard.shape[1])
        if 0 < targets.hard[:, c].sum() < len(targets.hard)
    )


def warn_of_shift(targets: Targets, soft: np.ndarray) -> None:
    """Warn if the teacher's mean probability of a class is far from the share of its rows.

    Parameters
    ----------
    targets : Targets
    soft : ndarray of shape (n_samples, n_classes)
    """
    if targets.classes is None:
        return
    share, mean = (np.average(a, axis=0, weights=targets.weight) for a in (targets.hard, soft))
    worst = int(np.abs(mean - share).argmax())
    if abs(mean[worst] - share[worst]) > _SHIFT:
        warnings.warn(
            f"The teacher gives class {targets.classes.tolist()[worst]!r} a mean probability of {mean[worst]:.2f}, but "
            f"its share of the rows is {share[worst]:.2f}: the student will inherit that. Train the teacher without "
            "class weights, or wrap it in CalibratedClassifierCV.",
            stacklevel=3,
        )


def warn_of_prose(model: Any, encoder: ColumnEncoder, n_samples: int) -> None:
    """Warn of columns of prose that a model would read as categories, a new one in almost every row.

    Parameters
    ----------
    model : estimator
    encoder : ColumnEncoder
        Of what it reads.
    n_samples : int
    """
    if encoder.encoding in ("table", "texts", "raw"):
        return
    read = [column for column in encoder.columns if column.name not in encoder.as_text]
    if prose := [column.name for column in read if column.is_prose(n_samples)]:
        warnings.warn(
            f"Columns {prose} hold texts that hardly ever occur twice, and {type(model).__name__} reads each as a "
            "category of its own, which tells it nothing of other rows. Put a TfidfVectorizer for such a column before "
            "it (make_column_transformer in a Pipeline), or leave the column out of teacher_features and "
            "student_features.",
            stacklevel=3,
        )

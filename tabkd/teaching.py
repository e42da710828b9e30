"""What one generation of students learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tabkd.learners import ExtraRows
from tabkd.models import FittedModel

__all__ = ["Teaching"]


@dataclass(frozen=True)
class Teaching:
    """What one generation of students learns from.

    Attributes
    ----------
    soft_targets : ndarray of shape (n_samples, n_outputs)
        For the student that ships.
    per_fold : list of ndarray or None
        For the scored student of each split; None where nothing is scored.
    teacher : FittedModel or None
    extra : ExtraRows or None
        Rows without labels, for the student that ships.
    extras : list of ExtraRows or None
        The same for each split.
    """

    soft_targets: np.ndarray
    per_fold: list[np.ndarray] | None
    teacher: FittedModel | None = None
    extra: ExtraRows | None = None
    extras: list[ExtraRows | None] | None = None

"""Transfer sets: rows without labels that the teacher labels for the student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from tabkd._compat import last_step
from tabkd.columns import ColumnEncoder
from tabkd.frames import as_table, has_names, is_texts, rows_of, stacked
from tabkd.learners import ExtraRows, Member
from tabkd.munge import Munge
from tabkd.rows import Rows
from tabkd.text_spans import TextSpans

__all__ = ["SELF_TRAINING", "Labeller", "TransferSet"]

#: ``transfer=`` of students that label rows without the teacher's columns themselves.
SELF_TRAINING = "self-training"


@dataclass(frozen=True)
class Labeller:
    """A cross-fitted teacher that labels rows which nobody has labelled.

    Attributes
    ----------
    encoder : ColumnEncoder
    members : list of Member
    teaches : list of tuple of int
        For each member the splits whose scored students it may teach.
    """

    encoder: ColumnEncoder
    members: list[Member]
    teaches: list[tuple[int, ...]]

    def answers(self, table: Any) -> list[np.ndarray]:
        """What every member says of a table, each of shape (n_samples, n_outputs)."""
        X = self.encoder.transform(table)
        return [member.predictions(member.raw(X)) for member in self.members]

    def mean(self, answers: Sequence[np.ndarray], split: int | None) -> np.ndarray:
        """The mean of the answers of those that may teach the student of one split, or of all."""
        heard = [one for one, who in zip(answers, self.teaches, strict=True) if split is None or split in who]
        return np.mean(heard, axis=0)


class TransferSet:
    """The rows without labels of one fit: those that were given, and synthetic ones.

    Parameters
    ----------
    settings : DistilledEstimator
        Only its parameters are read.
    rows : Rows
    X_unlabeled : table or None
        Of the teacher's columns and the student's, or, with ``transfer="self-training"``, of the student's alone.
    teacher : list of int
        Positions of the teacher's columns.
    student : ColumnEncoder
    seed : int or None

    Raises
    ------
    TypeError, ValueError
        If the rows lack columns, or cannot be made; the message says what is possible.
    """

    def __init__(
        self, settings: Any, rows: Rows, X_unlabeled: Any, teacher: Sequence[int], student: ColumnEncoder, seed: Any
    ) -> None:
        self.rows, self.student, self.seed = rows, student, seed
        self.weight = _read_weight(settings.transfer_weight)
        self_training = isinstance(settings.transfer, str) and settings.transfer == SELF_TRAINING
        self.maker = None if self_training else _read_maker(settings.transfer, rows)
        self.by_student = False
        self.given: Any = None
        self.columns = sorted({*teacher, *student.positions})
        if X_unlabeled is not None:
            self.given = as_table(X_unlabeled)
            missing = self._missing(X_unlabeled, [*teacher])
            self.by_student = bool(missing) and self_training
            if missing and not self.by_student:
                raise ValueError(
                    f"X_unlabeled lacks the teacher's columns {missing}, so the teacher cannot label its rows. Give "
                    f'them, leave them out of teacher_features, or let the student label the rows: transfer="'
                    f'{SELF_TRAINING}".'
                )
            student.pick(self.given)  # raises where the student's columns are missing
        elif self_training:
            raise ValueError(f'transfer="{SELF_TRAINING}" needs rows without labels: fit(X, y, X_unlabeled=...).')

        if self and getattr(last_step(settings.student), "needs_labels", False):
            raise ValueError(
                f"{type(last_step(settings.student)).__name__} learns from labelled rows alone, so as a student it has "
                "no use for others. Leave out transfer= and X_unlabeled=."
            )

    def __bool__(self) -> bool:
        return self.given is not None or self.maker is not None

    @property
    def needs_teacher(self) -> bool:
        """Whether a teacher must label rows."""
        return bool(self) and not self.by_student

    def _missing(self, X_unlabeled: Any, teacher: list[int]) -> list[Any]:
        """The teacher's columns that the unlabelled rows have not."""
        table, X = self.given, self.rows.X
        if is_texts(X_unlabeled) != self.rows.texts:
            raise TypeError("X and X_unlabeled must be of one kind: two tables, or texts twice.")
        if has_names(X) != has_names(table):
            raise TypeError("X and X_unlabeled must both have column names, or neither of them.")
        if has_names(X):
            return [X.columns[p] for p in teacher if X.columns[p] not in table.columns]
        if table.shape[1] == X.shape[1]:
            return []
        if table.shape[1] == len(self.student.positions):
            return sorted(set(teacher) - set(self.student.positions))
        raise ValueError(
            f"X_unlabeled has {table.shape[1]} columns, but X has {X.shape[1]} and the student reads "
            f"{len(self.student.positions)} of them. Give either."
        )

    def prepare(self, labellers: Sequence[Labeller]) -> None:
        """Let teachers label the rows that were given; students label them themselves where there is no teacher."""
        self.labellers = [] if self.by_student else labellers
        self._answers = [one.answers(self.given) for one in self.labellers] if self.given is not None else []

    def rows_for(self, train: np.ndarray, split: int | None) -> ExtraRows | None:
        """What one student learns from beside its labelled rows.

        Parameters
        ----------
        train : ndarray of int
            The rows that it learns from: the parents of synthetic ones.
        split : int or None
            Whose test rows it is scored on; None for the student that ships.

        Returns
        -------
        ExtraRows or None
        """
        if not self:
            return None
        if self.by_student:
            return ExtraRows(self.student.transform(self.given), None, self.weight)
        tables, soft = [], []
        if self.given is not None:
            tables.append(self.student.transform(self.given))
            answers = zip(self.labellers, self._answers, strict=True)
            soft.append(np.mean([one.mean(said, split) for one, said in answers], axis=0))
        if self.maker is not None:
            made = self._synthetic(train)
            tables.append(self.student.transform(made))
            soft.append(np.mean([one.mean(one.answers(made), split) for one in self.labellers], axis=0))
        return ExtraRows(stacked(tables), np.vstack(soft), self.weight)

    def _synthetic(self, train: np.ndarray) -> Any:
        """Rows made from those at ``train`` that count; neighbours are found by the columns that somebody reads."""
        assert self.maker is not None
        weight = self.rows.targets.weight
        train = train if weight is None else train[weight[train] > 0]
        table = rows_of(self.rows.X, train)
        if len(self.columns) == table.shape[1]:
            return self.maker.sample(table, random_state=self.seed)
        if isinstance(table, pd.DataFrame) and has_names(table):
            return self.maker.sample(table.iloc[:, self.columns], random_state=self.seed)
        frame = pd.DataFrame(table)
        made = self.maker.sample(frame.iloc[:, self.columns], random_state=self.seed)
        # Nobody reads the others; whole numbers know no NaN.
        made = made.reindex(columns=frame.columns, fill_value=np.nan if frame.dtypes.iloc[0].kind == "f" else 0)
        return made if isinstance(table, pd.DataFrame) else made.to_numpy(dtype=table.dtype)


def _read_weight(weight: Any) -> float:
    if not (isinstance(weight, Real) and 0 < float(weight) < np.inf):
        raise ValueError(f"transfer_weight must be a number above 0, got {weight!r}. Try 1.0.")
    return float(weight)


def _read_maker(transfer: Any, rows: Rows) -> Munge | TextSpans | None:
    """Who makes rows."""
    known = {"munge": Munge, "spans": TextSpans}
    maker = known[transfer]() if isinstance(transfer, str) and transfer in known else transfer
    if maker is not None and not isinstance(maker, Munge | TextSpans):
        raise ValueError(
            f'transfer must be None, "munge", "spans", a Munge(...), a TextSpans(...) or "{SELF_TRAINING}", got '
            f"{transfer!r}. Rows of your own go to fit(..., X_unlabeled=)."
        )
    if rows.texts and isinstance(maker, Munge):
        raise ValueError('MUNGE makes rows of tables, but X holds texts. Use transfer="spans", which cuts texts.')
    return maker

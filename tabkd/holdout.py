"""A fit on one split instead of folds, for estimators that take long: one teacher, and rows put aside to choose by."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from tabkd.columns import ColumnEncoder
from tabkd.crossfit import Job, StudentFit, TeacherFit, cross_fit, untested
from tabkd.folds import Folds, make_parts
from tabkd.learners import Learner, Member
from tabkd.recipe import Recipe
from tabkd.scoring import Choice
from tabkd.teaching import Teaching

__all__ = ["HoldoutRecipe"]

logger = logging.getLogger(__name__)


class HoldoutRecipe(Recipe):
    """Teacher, students and control on the training rows of the first split; its test rows score and choose.

    The teacher labels rows that it was fitted on, as it is usual for neural networks: softened, its answers tell more
    than the labels do. The scores stay honest, because nothing was fitted on the rows that they are computed from, and
    what is chosen by four fifths of these is scored on the fifth. What ships are the models that were scored.
    """

    alphas = (0.1,)

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Split the rows, and show a bar over the fits to come."""
        train, test = self.folds(self.settings.cv, partition=None).splits[0]
        self.outer, self.everyone = Folds([(train, test)], [0]), test
        n_students = len(self.controls | self.distilled)
        n_students += (self.settings.generations - 1) * len(self.distilled)
        n_teachers = len(self.teachers) * (not self.frozen)
        logger.info("%d fits of a teacher and %d of students on %d rows", n_teachers, n_students, len(train))
        with tqdm(total=n_teachers + n_students, disable=not self.settings.verbose, unit="fit") as bar:
            self.run["progress"] = bar.update
            yield

    def _taught_by(self, teacher: Any, seed: int | None) -> tuple[ColumnEncoder, TeacherFit]:
        """One teacher, fitted to the training rows; it labels every row."""
        if self.frozen:
            return super()._taught_by(teacher, seed)
        encoder, learner = self.read_teacher(teacher, seed)
        X, (train, _) = encoder.transform(self.rows.X), self.outer.splits[0]
        run = {**self.run, "memory": self.settings.memory}
        job = Job((learner,), train, self.rows.targets.take(train), (np.arange(len(self.rows.y)),))
        (([member], [[scores]]),) = cross_fit([job], X, **run)
        soft = member.predictions(scores)
        return encoder, TeacherFit([member], soft, untested(soft, self.outer), [(0,)])

    def _told_by(self, fit: StudentFit, learner: Learner, teaching: Teaching) -> Teaching:
        """What the student of one generation says of the rows that it was fitted on, as the teacher did."""
        (member,), (extra,) = fit.members, teaching.extras or [None]
        soft = member.predictions(member.raw(self.X))
        return Teaching(soft, untested(soft, self.outer), extras=[None if extra is None else extra.labelled_by(member)])

    @cached_property
    def parts(self) -> Folds:
        """Parts of the rows put aside."""
        rows, ((_, test),) = self.rows, self.outer.splits
        classifier = rows.targets.classes is not None
        return make_parts(test, rows.y, groups=rows.groups, classifier=classifier, seed=self.seed)

    def _shipped(self, choice: Choice, fits: dict[Any, StudentFit]) -> list[Member]:
        return fits[choice.name].members

"""A fit on one split instead of folds, for estimators that take long: one teacher, and rows put aside to choose by."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm.auto import tqdm

from tabkd.crossfit import Folds, Job, StudentFit, cross_fit
from tabkd.learners import Member, frozen_member
from tabkd.models import fitted_model
from tabkd.recipe import Recipe, Teaching
from tabkd.scoring import Choice
from tabkd.targets import Targets

__all__ = ["HoldoutRecipe"]

logger = logging.getLogger(__name__)


class HoldoutRecipe(Recipe):
    """Teacher, students and control on the training rows of the first split; its test rows score and choose.

    The teacher labels rows that it was fitted on, as it is usual for neural networks: softened, its answers tell more
    than the labels do. The scores stay honest, because nothing was fitted on the rows that they are computed from.
    What ships are the models that were scored.
    """

    alphas = (0.1,)

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Split the rows, and show a bar over the fits to come."""
        train, test = self.folds(self.settings.cv, partition=False).splits[0]
        self.outer, self.everyone = Folds([(train, test)], [0]), test
        n_students = len(self.controls | self.distilled)
        n_teachers = int(not self.frozen and self.given is None)
        logger.info("%d fits of a teacher and %d of students on %d rows", n_teachers, n_students, len(train))
        with tqdm(total=n_teachers + n_students, disable=not self.settings.verbose, unit="fit") as bar:
            self.run["progress"] = bar.update
            yield

    def teach(self) -> Teaching:
        """Fit one teacher and label every row."""
        if self.given is not None:
            return Teaching(self.given, None, None)
        rows, targets = self.rows, self.rows.targets
        encoder, learner = self.read_teacher()
        X = encoder.transform(rows.X)
        if self.frozen:
            member = frozen_member(self.settings.teacher, targets.classes)
        else:
            train, _ = self.outer.splits[0]
            run = {**self.run, "memory": self.settings.memory}
            (((member,), _),) = cross_fit([Job((learner,), train, targets.take(train))], X, **run)
        soft = member.predictions(member.raw(X))
        self._diagnose(encoder.positions, soft)
        threshold = self.judge.threshold_for(soft[None], self.everyone)
        return Teaching(soft, [soft], fitted_model(encoder, [member], targets.classes, threshold))

    def _again(self, distilled: Any, controls: Any, chosen: tuple[Choice, Choice]) -> tuple[list[Choice], list[Choice]]:
        """The choice itself: there are no other rows to make it again by."""
        return [chosen[0]], [chosen[1]]

    def _shipped(self, choice: Choice, fits: dict[Any, StudentFit], targets: Targets) -> list[Member]:
        return fits[choice.name].members

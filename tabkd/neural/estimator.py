"""What every neural teacher and student is to scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from reprlib import repr as shortened
from typing import Any, Self

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length
from torch import nn

from tabkd._compat import check_sample_weight
from tabkd.neural.agreement import check_vocabulary
from tabkd.neural.lesson import Lesson, collator
from tabkd.neural.loading import bare
from tabkd.neural.recipes import stages_of
from tabkd.neural.tasks import check_metric
from tabkd.neural.teachers import log_soft_targets, module_of, unfrozen
from tabkd.neural.trainable import Trainable
from tabkd.neural.training import Plan, seeded_globals, train

__all__ = ["NeuralEstimator"]


class NeuralEstimator(Trainable):
    """Training, prediction and soft targets; subclasses say what is read and what the model is."""

    #: Folds are not the default: a fit takes long.
    fits_slowly = True
    # What a subclass must give: _reader(model), _built(X, n_outputs), and the mixin of a classifier or a regressor.

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None, eval_set: Any = None) -> Self:
        """Train on labels, and on a teacher's answers if there is a ``teacher``.

        Parameters
        ----------
        X : sequence of length n_samples
        y : array-like of shape (n_samples,)
            None (NaN in a regression) where a row has no label: it is learnt from the teacher alone. Classes that a
            teacher has in ``classes_`` need no label, not even one of them.
        sample_weight : array-like of shape (n_samples,), optional
        eval_set : tuple of (X, y), optional
            Rows that the best checkpoint is chosen by; they are not trained on. Those without a label are left out.
            A list of one such tuple is read as well.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If a row is not what the model reads.
        ValueError
            If a parameter does not fit, or a row has neither a label nor a teacher.
        """
        y = self._read_target(y)
        if self.teacher is None:
            if self._unlabelled(y).any():
                row = int(np.flatnonzero(self._unlabelled(y))[0])
                raise ValueError(f"Row {row} has no label, and there is no teacher to learn from. Give teacher=.")
            return self._fit(X, y, lambda reader: None, 1.0, 1.0, sample_weight, None, eval_set)

        def answered(reader: Any) -> Any:
            found = log_soft_targets(
                self.teacher, X, self._classes(y), reader=reader, folder=self.cache, batch_size=2 * self.batch_size,
                device=self._device(),
            )  # fmt: skip
            return self._taught(found, y)

        return self._fit(X, y, answered, self.alpha, self.temperature, sample_weight, self.teacher, eval_set)

    def fit_soft(
        self,
        X: Any,
        soft_targets: Any,
        *,
        y: Any = None,
        alpha: float = 0.0,
        temperature: float = 1.0,
        sample_weight: Any = None,
        teacher: Any = None,
    ) -> Self:
        """Learn from soft targets, as the student of a :class:`~tabkd.DistilledEstimator`.

        Parameters
        ----------
        X : sequence of length n_samples
        soft_targets : array-like of shape (n_samples, n_classes) or (n_samples, n_outputs)
            At temperature 1, in the order of the sorted labels.
        y : array-like of shape (n_samples,)
        alpha, temperature : float
            Of the loss ``alpha * CE(y, z) + (1 - alpha) * temperature**2 * KL``.
        sample_weight : array-like of shape (n_samples,), optional
        teacher : estimator or None
            A frozen one that terms may look into.

        Returns
        -------
        self
        """
        y = self._read_target(y)

        def answered(reader: Any) -> np.ndarray:
            return self._log_soft(soft_targets, y)

        return self._fit(X, y, answered, alpha, temperature, sample_weight, teacher, None)

    # ---------------------------------------------------------------- fit

    def _fit(
        self,
        X: Any,
        y: np.ndarray,
        answered: Callable[[Any], Any],
        alpha: float,
        temperature: float,
        sample_weight: Any,
        teacher: Any,
        eval_set: Any,
    ) -> Self:
        seed, weight = self._seed(), None
        if sample_weight is not None:
            check_consistent_length(y, sample_weight)
            weight = check_sample_weight(sample_weight, y, ensure_non_negative=True).astype(np.float32)
        self._begin(y, weight)
        check_metric(self.metric, self._metrics)
        X = self._checked(X, fitting=True)
        with seeded_globals(seed), ExitStack() as stack:
            student = self._built(X, self._n_outputs(y))
            reader = self._reader(student)
            rows = reader.rows(X)
            if not rows:
                raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required. X is empty.")
            check_consistent_length(rows, y)
            log_soft = answered(reader)
            lesson = Lesson(reader.encoded(rows), self._targets(y), log_soft, weight)
            lesson, watched = self._watched(lesson, y, eval_set, reader, seed)
            stages = stages_of(
                self.objective, self.stages, alpha=alpha, temperature=temperature, epochs=self.epochs,
                taught=log_soft is not None, student=student, teacher=module_of(teacher),
            )  # fmt: skip
            inside = any(term.needs - {"logits"} for stage in stages for term in stage.objective)
            looked_into = self._looked_into(teacher, reader) if inside else None
            metric = self.metric or self._metrics[0]
            chosen = None if watched is None else (watched.content, metric)
            folder = self._folder(stack, lesson, stages, seed, student, looked_into, chosen)
            plan = Plan(folder, self._arguments(seed), metric, self._scores, collator(reader.collated), self.verbose)
            self.history_ = train(student, stages, lesson, watched, plan, looked_into)
        return self._finished(student, reader)

    def _finished(self, student: nn.Module, reader: Any) -> Self:
        self.model_, self.reader_ = student.eval().cpu(), reader
        self.n_parameters_ = sum(parameter.numel() for parameter in student.parameters())
        return self

    def _watched(
        self, lesson: Lesson, y: np.ndarray, eval_set: Any, reader: Any, seed: int
    ) -> tuple[Lesson, Lesson | None]:
        """The rows to train on, and those that the best checkpoint is chosen by."""
        if eval_set is not None:
            X_valid, y_valid = _pair(eval_set)
            y_valid = self._read_target(y_valid)
            labelled = np.flatnonzero(~self._unlabelled(y_valid))
            if not len(labelled):
                raise ValueError("eval_set has no row with a label. Give some, or leave it out.")
            rows = reader.rows(self._checked(X_valid))
            check_consistent_length(rows, y_valid)
            return lesson, Lesson(reader.encoded(rows), self._targets(y_valid)).take(labelled)
        if not self.validation_fraction:
            return lesson, None
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must be between 0 and 1, got {self.validation_fraction}. Try 0.1, or None."
            )
        counts = ~self._unlabelled(y) if lesson.weight is None else ~self._unlabelled(y) & (lesson.weight > 0)
        labelled = np.flatnonzero(counts)
        if len(labelled) < 2:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} is of the labelled rows, and {len(labelled)} have a "
                "label. Use None, or give labelled rows as fit(..., eval_set=)."
            )
        watched = self._carved(y, labelled, seed)
        kept = np.setdiff1d(np.arange(len(y)), watched)
        return lesson.take(kept), Lesson([lesson.encoded[row] for row in watched], self._targets(y)[watched])

    def _carved(self, y: np.ndarray, labelled: np.ndarray, seed: int) -> np.ndarray:
        return train_test_split(labelled, test_size=self.validation_fraction, random_state=seed)[1]

    def _looked_into(self, teacher: Any, reader: Any) -> nn.Module | None:
        """The teacher's module, if it reads what the student reads."""
        own = getattr(getattr(unfrozen(teacher), "reader_", None), "tokenizer", None)
        if own is not None and hasattr(reader, "tokenizer"):
            check_vocabulary(reader.tokenizer, own)
        return bare(module_of(teacher))


def _pair(eval_set: Any) -> tuple[Any, Any]:
    """Its rows and their labels, also where the pair stands in a list, as LightGBM takes several."""
    if isinstance(eval_set, list) and len(eval_set) == 1:
        (eval_set,) = eval_set
    if not isinstance(eval_set, tuple) or len(eval_set) != 2:
        raise ValueError(f"eval_set must be one tuple (X, y), got {shortened(eval_set)}.")
    return eval_set

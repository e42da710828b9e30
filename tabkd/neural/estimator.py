"""What every neural teacher and student is to scikit-learn."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import nn
from transformers import PreTrainedModel

from tabkd.neural.agreement import check_vocabulary
from tabkd.neural.recipes import stages_of
from tabkd.neural.stages import Stage
from tabkd.neural.tasks import device_of
from tabkd.neural.teachers import log_soft_targets, module_of
from tabkd.neural.training import Lesson, Plan, predicted, seeded_globals, train

__all__ = ["NeuralEstimator"]

#: Arguments of ``TrainingArguments`` that keep it quiet and leave the data alone.
_QUIET: dict[str, Any] = {
    "remove_unused_columns": False,
    "report_to": [],
    "disable_tqdm": True,
    "logging_strategy": "no",
    "save_strategy": "no",
    "dataloader_pin_memory": False,
}


class NeuralEstimator(BaseEstimator):
    """Training, prediction and soft targets; subclasses say what is read and what the model is."""

    #: Folds are not the default: a fit takes long.
    fits_slowly = True
    # What a subclass must give: _reader(model), _built(n_outputs), and the mixin of a classifier or a regressor.

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None, eval_set: Any = None) -> Self:
        """Train on labels, and on a teacher's answers if there is a ``teacher``.

        Parameters
        ----------
        X : sequence of length n_samples
        y : array-like of shape (n_samples,)
            None (NaN in a regression) where a row has no label: it is learnt from the teacher alone.
        sample_weight : array-like of shape (n_samples,), optional
        eval_set : tuple of (X, y), optional
            Rows that the best checkpoint is chosen by; they are not trained on.

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
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        self._begin(y)
        with seeded_globals(seed), ExitStack() as stack:
            student = self._built(self._n_outputs(y))
            reader = self._reader(student)
            rows = reader.rows(X)
            if not rows:
                raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required. X is empty.")
            check_consistent_length(rows, y, sample_weight)
            log_soft = answered(reader)
            weight = None if sample_weight is None else column_or_1d(sample_weight).astype(np.float32)
            lesson = Lesson(reader.encoded(rows), self._targets(y), log_soft, weight)
            lesson, watched = self._watched(lesson, y, eval_set, reader, seed)
            stages = stages_of(
                self.objective, self.stages, alpha=alpha, temperature=temperature, epochs=self.epochs,
                taught=log_soft is not None, student=student, teacher=module_of(teacher),
            )  # fmt: skip
            inside = _inside(stages)
            looked_into = self._looked_into(teacher, reader) if inside else None
            for model in (student, looked_into):
                stack.enter_context(_eager(model, inside))
            folder = self._folder(stack, lesson, stages, seed)
            plan = Plan(
                folder, self._arguments(seed), self.metric or self._metric, self._scores, reader.collated, self.verbose
            )
            self.history_ = train(student, stages, lesson, watched, plan, looked_into)
            self.model_, self.reader_ = student.eval().cpu(), reader
        self.n_parameters_ = sum(parameter.numel() for parameter in student.parameters())
        return self

    def _watched(
        self, lesson: Lesson, y: np.ndarray, eval_set: Any, reader: Any, seed: int
    ) -> tuple[Lesson, Lesson | None]:
        """The rows to train on, and those that the best checkpoint is chosen by."""
        if eval_set is not None:
            X_valid, y_valid = eval_set
            targets = self._targets(self._read_target(y_valid))
            return lesson, Lesson(reader.encoded(reader.rows(X_valid)), targets)
        if not self.validation_fraction:
            return lesson, None
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must be between 0 and 1, got {self.validation_fraction}. Try 0.1, or None."
            )
        labelled = np.flatnonzero(~self._unlabelled(y))
        watched = self._carved(y, labelled, seed)
        kept = np.setdiff1d(np.arange(len(y)), watched)
        return lesson.take(kept), Lesson([lesson.encoded[row] for row in watched], self._targets(y)[watched])

    def _carved(self, y: np.ndarray, labelled: np.ndarray, seed: int) -> np.ndarray:
        return train_test_split(labelled, test_size=self.validation_fraction, random_state=seed)[1]

    def _looked_into(self, teacher: Any, reader: Any) -> nn.Module | None:
        """The teacher's module, if it reads what the student reads."""
        own = getattr(getattr(_unfrozen(teacher), "reader_", None), "tokenizer", None)
        if own is not None and hasattr(reader, "tokenizer"):
            check_vocabulary(reader.tokenizer, own)
        return module_of(teacher)

    def _folder(self, stack: ExitStack, lesson: Lesson, stages: Sequence[Stage], seed: int) -> Path:
        """Where checkpoints go; a folder that holds those of another training is refused."""
        if self.output_dir is None:
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                raise ValueError("Several processes need one folder for their checkpoints. Give output_dir=.")
            return Path(stack.enter_context(TemporaryDirectory()))
        folder = Path(self.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        told = json.dumps([len(lesson), repr(stages), repr(self._arguments(seed)), str(self.model)[:10_000]])
        seen = sha256(told.encode())
        for row in range(0, len(lesson), max(1, len(lesson) // 1000)):
            seen.update(repr(lesson[row]).encode())
        mark = folder / "training.txt"
        if mark.exists() and mark.read_text(encoding="utf-8") != seen.hexdigest():
            raise ValueError(
                f"output_dir={str(folder)!r} holds checkpoints of another training (other rows, objective, model or "
                "arguments). Give another folder, or delete this one."
            )
        mark.write_text(seen.hexdigest(), encoding="utf-8")
        return folder

    def _arguments(self, seed: int) -> dict[str, Any]:
        own = {
            "per_device_train_batch_size": self.batch_size,
            "per_device_eval_batch_size": 2 * self.batch_size,
            "learning_rate": self.learning_rate,
            "seed": seed,
            "data_seed": seed,
            "use_cpu": self._device() == "cpu",
            "save_total_limit": 1,
            "save_only_model": self.output_dir is None,
        }
        return _QUIET | own | ({"save_strategy": "epoch"} if self.output_dir else {}) | (self.training_args or {})

    def _device(self) -> str:
        return device_of(self.device)

    # ---------------------------------------------------------------- predict

    def _raw(self, X: Any) -> np.ndarray:
        """Logits of shape (n_samples, n_outputs) in float32."""
        check_is_fitted(self, "model_")
        lesson = Lesson(self.reader_.encoded(self.reader_.rows(X)))
        found = np.zeros((len(lesson), self.n_outputs_), dtype=np.float32)
        for rows, logits in predicted(self.model_, lesson, self.reader_, 2 * self.batch_size, self._device()):
            found[rows] = logits.numpy()
        self.model_.cpu()
        return found

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __getstate__(self) -> dict[str, Any]:
        return {name: _Packed.of(value) for name, value in super().__getstate__().items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({name: v.model() if isinstance(v, _Packed) else v for name, v in state.items()})


@dataclass(frozen=True)
class _Packed:
    """A transformer as plain data: once it has run, hooks hang on it that cannot be pickled."""

    kind: type
    config: Any
    state: dict[str, Any]

    @classmethod
    def of(cls, value: Any) -> Any:
        """The same, packed if it is a transformer."""
        return cls(type(value), value.config, value.state_dict()) if isinstance(value, PreTrainedModel) else value

    def model(self) -> Any:
        """The model again, ready to predict."""
        model = self.kind(self.config)
        model.load_state_dict(self.state)
        return model.eval()


def _unfrozen(teacher: Any) -> Any:
    return teacher.estimator if isinstance(teacher, FrozenEstimator) else teacher


def _inside(stages: Sequence[Stage]) -> frozenset[str]:
    """What the terms want beside logits."""
    return frozenset[str]().union(*(term.needs for stage in stages for term in stage.objective)) - {"logits"}


class _eager:
    """Attention that gives its maps while a term wants them; the model is left as it was."""

    def __init__(self, model: Any, needs: frozenset[str]) -> None:
        self.model = model if "attentions" in needs and hasattr(model, "set_attn_implementation") else None

    def __enter__(self) -> None:
        if self.model is not None:
            self.before = self.model.config._attn_implementation
            self.model.set_attn_implementation("eager")

    def __exit__(self, *error: Any) -> None:
        if self.model is not None:
            self.model.set_attn_implementation(self.before)

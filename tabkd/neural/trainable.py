"""What everything that is trained here shares: its arguments, its folder, its run over rows, its pickles."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn
from transformers import PreTrainedModel

from tabkd.neural.base import Term
from tabkd.neural.distiller import shape_of
from tabkd.neural.fingerprints import fingerprint
from tabkd.neural.lesson import Lesson, predicted
from tabkd.neural.loading import filled, frozen
from tabkd.neural.stages import Stage
from tabkd.neural.tasks import device_of
from tabkd.neural.teachers import Taught

__all__ = ["Trainable"]

#: Arguments of ``TrainingArguments`` that keep it quiet and leave the data alone.
_QUIET: dict[str, Any] = {
    "remove_unused_columns": False,
    "report_to": [],
    "disable_tqdm": True,
    "logging_strategy": "no",
    "save_strategy": "no",
    "dataloader_pin_memory": False,
}
#: Arguments that are the estimators' own, and what says the same.
_DECIDED = {
    "output_dir": "output_dir= of the estimator is where checkpoints go",
    "num_train_epochs": "epochs= says how long",
    "resume_from_checkpoint": "with output_dir= a training goes on by itself",
    "metric_for_best_model": "metric= says which state is the best",
    "greater_is_better": "metric= says which state is the best",
    "load_best_model_at_end": "the best state is kept where there are evaluation rows, the last one elsewhere",
}


class Trainable(Taught):
    """Has ``model``, ``batch_size``, ``learning_rate``, ``training_args``, ``output_dir`` and ``device``."""

    def _seed(self) -> int:
        """Of one fit; a training that is to go on must draw what it drew before."""
        state = 0 if self.random_state is None and self.output_dir is not None else self.random_state
        return int(check_random_state(state).randint(np.iinfo(np.int32).max))

    def _folder(
        self, stack: ExitStack, lesson: Any, stages: Sequence[Stage], seed: int, student: nn.Module, *given: Any
    ) -> Path:
        """Where checkpoints go: a folder that this training alone finds again, with all else that it is ``given``."""
        if self.output_dir is None:
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                raise ValueError("Several processes need one folder for their checkpoints. Give output_dir=.")
            return Path(stack.enter_context(TemporaryDirectory()))
        terms = [[_told(term, student) for term in stage.objective] for stage in stages]
        times = [(stage.epochs, stage.learning_rate) for stage in stages]
        known_by = fingerprint(terms, times, self._arguments(seed), lesson.content, student, given)[:24]
        folder = Path(self.output_dir) / known_by
        folder.mkdir(parents=True, exist_ok=True)
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
        return _QUIET | own | ({"save_strategy": "epoch"} if self.output_dir else {}) | self._given()

    def _given(self) -> dict[str, Any]:
        """``training_args``, with what they imply."""
        given = {} if self.training_args is None else self.training_args
        if not isinstance(given, Mapping):
            raise TypeError(f"training_args is a dict of arguments, got {type(given).__name__}. Try {{'bf16': True}}.")
        for name, instead in _DECIDED.items():
            if name in given:
                raise ValueError(f"training_args has {name}={given[name]!r}, but {instead}. Leave it out.")
        often = {f"{what}_strategy": "steps" for what in ("save", "eval", "logging") if f"{what}_steps" in given}
        return ({"logging_strategy": "steps"} if given.get("report_to") else {}) | often | dict(given)

    def _device(self) -> str:
        if str(self.device).startswith("cuda:") and str(self.device) != "cuda:0":
            raise ValueError(
                f"device={self.device!r} is not where Trainer trains: on the first GPU that it sees. Use "
                "device='cuda', and the environment variable CUDA_VISIBLE_DEVICES for another one."
            )
        return device_of(self.device)

    def _checked(self, X: Any, *, fitting: bool = False) -> Any:
        """What the reader is given; it checks texts by itself."""
        return X

    def _raw(self, X: Any) -> np.ndarray:
        """Logits of shape (n_samples, n_outputs) in float32."""
        check_is_fitted(self, "model_")
        lesson = Lesson(self.reader_.encoded(self.reader_.rows(self._checked(X))))
        found = np.zeros((len(lesson), self.n_outputs_), dtype=np.float32)
        for rows, logits in predicted(self.model_, lesson, self.reader_, 2 * self.batch_size, self._device()):
            found[rows] = logits.numpy()
        return found

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __getstate__(self) -> dict[str, Any]:
        return {name: _Packed.of(value) for name, value in super().__getstate__().items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({name: v.model() if isinstance(v, _Packed) else v for name, v in state.items()})


def _told(term: Term, student: nn.Module) -> list[Any]:
    """A term in full; a function between layers is what it answers for those of the student."""
    settings = dict(vars(term))
    if callable(layers := settings.get("layers")):
        settings["layers"] = [layers(m) for m in range(1, shape_of(student).layers + 1)]
    return [type(term), settings]


@dataclass(frozen=True)
class _Packed:
    """A transformer as plain data: once it has run, hooks hang on it that cannot be pickled."""

    kind: type
    config: Any
    state: dict[str, Any]
    fixed: Sequence[str] = ()

    @classmethod
    def of(cls, value: Any) -> Any:
        """The same, packed if it is a transformer."""
        if not isinstance(value, PreTrainedModel):
            return value
        return cls(type(value), value.config, value.state_dict(), frozen(value))

    def model(self) -> Any:
        """The model again, ready to predict."""
        return filled(lambda: self.kind(self.config), self.state, self.fixed).eval()

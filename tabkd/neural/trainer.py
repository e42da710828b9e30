"""Hugging Face ``Trainer`` with terms that are means over tokens, pairs or labelled rows, and what it reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import Trainer, TrainerCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from tabkd.neural.distiller import Distiller

__all__ = ["Epochs", "LengthGrouped", "Progress", "StudentTrainer", "scores_of"]


class StudentTrainer(Trainer):
    """Knows what each batch's means count for, so that accumulated gradients are those of one large batch.

    A heavy row counts for more than a light one also where they are in different steps: means over a step's rows are
    those of rows of the data set's mean weight.
    """

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        # The first releases of transformers 5 call it by a flag of its own.
        strategy = getattr(self.args, "train_sampling_strategy", None)
        if strategy != "group_by_length" and not getattr(self.args, "group_by_length", False):
            return super()._get_train_sampler(train_dataset)
        window = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGrouped(window, self.train_dataset.lengths, self.args.seed)  # type: ignore[union-attr]

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """Tied weights are saved under each of their names: as one tensor, safetensors refuses them."""
        whole = cast(nn.Module, self.model).state_dict() if state_dict is None else state_dict
        places = [value.data_ptr() for value in whole.values()]
        apart = [
            value.clone() if place in places[:n] else value
            for n, (place, value) in enumerate(zip(places, whole.values(), strict=True))
        ]
        super()._save(output_dir, dict(zip(whole, apart, strict=True)))

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        return torch.utils.data.SequentialSampler(eval_dataset)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Every row is scored, also where the training drops its last batch."""
        dropping, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = dropping

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> tuple[list[Any], Any]:
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = [_counts(batch) for batch in batches]
        weighs = bool(batches) and "weight" in batches[0]
        weighted = [_counts(batch, batch["weight"]) for batch in batches] if weighs else counts
        for name in counts[0] if counts else ():
            total = torch.tensor(float(sum(count[name] for count in counts)), device=device)
            n_batches = torch.tensor(float(len(batches)), device=device)
            if self.args.world_size > 1:
                total = self.accelerator.gather(total).sum()
                n_batches = self.accelerator.gather(n_batches).sum()
            each = float(n_batches) / (float(total) or 1.0) / self._mean_weights[name == "labels"]
            for batch, count in zip(batches, weighted, strict=True):
                batch.setdefault("shares", {})[name] = count[name] * each
        return batches, None

    @cached_property
    def _mean_weights(self) -> tuple[float, float]:
        """Of the rows, and of those that have a label."""
        lesson: Any = self.train_dataset
        if getattr(lesson, "weight", None) is None:
            return 1.0, 1.0
        labelled = lesson.weight[lesson.labelled]
        return float(lesson.weight.mean()), float(labelled.mean()) if len(labelled) else 1.0


class LengthGrouped(LengthGroupedSampler):
    """Draws from seed and epoch alone: the same in every process, and where a training goes on."""

    def __init__(self, window: int, lengths: list[int], seed: int) -> None:
        super().__init__(window, lengths=lengths, generator=torch.Generator())
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Called before every epoch."""
        self.generator.manual_seed(self.seed + epoch)


def _counts(batch: Mapping[str, Any], weight: Tensor | None = None) -> dict[str, float]:
    """How much of everything that a term may be a mean over there is in a batch, by the weight of its rows."""
    inputs, labels = batch["inputs"], batch.get("labels")
    first = next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    weight = torch.ones(len(first), device=first.device) if weight is None else weight
    counts = {"rows": float(weight.sum()), "labels": 0.0, "pairs": float(len(first))}
    if "tokens" in batch:  # there, every masked token has logits of its own
        counts["rows"] = counts["labels"] = float((batch["tokens"] != -100).sum())
    if labels is not None:
        known = ~labels.isnan() if labels.is_floating_point() else labels >= 0
        labelled = known.view(len(labels), -1).all(dim=1)
        counts["labels"] = float((weight * labelled).sum())
    if mask is not None:
        lengths = mask.flatten(1).sum(dim=1).double()  # of both texts of a pair
        counts |= {"tokens": float((weight * lengths).sum()), "token_pairs": float((weight * lengths**2).sum())}
    return counts


class Progress(TrainerCallback):
    """A bar over the steps, with the value of every term."""

    def __init__(self, distiller: Distiller, title: str) -> None:
        self.distiller, self.title = distiller, title
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self.title, unit="step")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update(1)
        self.bar.set_postfix({name: f"{float(value):.3f}" for name, value in self.distiller.values.items()})

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        kept = {name: round(value, 4) for name, value in scores_of(metrics or {}).items()}
        self.bar.write(f"{self.title}, epoch {state.epoch:g}: {kept}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.close()


_TIMES = {"eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "eval_model_preparation_time"}


def scores_of(logged: Mapping[str, Any]) -> dict[str, float]:
    """What an evaluation says of the student."""
    kept = {name: value for name, value in logged.items() if name.startswith("eval_") and name not in _TIMES}
    return {name.removeprefix("eval_"): float(value) for name, value in kept.items()}


class Epochs(TrainerCallback):
    """Tells a lesson that changes from epoch to epoch which one begins, also where a training goes on."""

    def __init__(self, lesson: Any) -> None:
        self.lesson = lesson

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.lesson.set_epoch(int(state.epoch or 0))

"""Training of a student by Hugging Face ``Trainer``, stage after stage."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from tabkd.neural.agreement import check_positions
from tabkd.neural.distiller import Distiller, outputs_of, telling_maps
from tabkd.neural.networks import check_finite, evaluating
from tabkd.neural.stages import Stage

__all__ = ["Lesson", "Plan", "collator", "predicted", "seeded_globals", "train"]

logger = logging.getLogger(__name__)
_STATE = "student.pt"


@dataclass
class Lesson(torch.utils.data.Dataset):
    """Encoded rows with what is to be learnt from them.

    Attributes
    ----------
    encoded : sequence
        From the reader.
    labels : ndarray of shape (n_rows,) or None
        Class codes, -100 where there is none; values, NaN where there is none.
    log_soft : array-like of shape (n_rows, n_classes) or None
        Logarithms of soft targets; may lie on disk.
    weight : ndarray of shape (n_rows,) or None
    """

    encoded: Sequence[Any]
    labels: np.ndarray | None = None
    log_soft: Any = None
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, row: int) -> dict[str, Any]:
        known = {"labels": self.labels, "log_soft": self.log_soft, "weight": self.weight}
        return {"inputs": self.encoded[row]} | {name: v[row] for name, v in known.items() if v is not None}

    @property
    def content(self) -> Any:
        """All that a fingerprint is to know."""
        return vars(self)

    @property
    def lengths(self) -> list[int]:
        """Tokens of every row."""
        return [_length(row) for row in self.encoded]

    def take(self, rows: np.ndarray) -> Lesson:
        """Some of the rows."""
        known = [None if values is None else values[rows] for values in (self.labels, self.log_soft, self.weight)]
        return Lesson([self.encoded[row] for row in rows], *known)


def collator(collated: Callable[[Sequence[Any]], Any]) -> Callable[[Sequence[dict[str, Any]]], dict[str, Any]]:
    """Rows of a lesson as one batch."""

    def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = {"inputs": collated([row["inputs"] for row in rows])}
        for name in rows[0].keys() - {"inputs"}:
            values = np.stack([row[name] for row in rows])
            batch[name] = torch.as_tensor(values if values.dtype.kind == "i" else values.astype(np.float32))
        return batch

    return collate


class _Trainer(Trainer):
    """Knows what each batch's means count for, so that accumulated gradients are those of one large batch."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        # The first releases of transformers 5 call it by a flag of its own.
        strategy = getattr(self.args, "train_sampling_strategy", None)
        if strategy != "group_by_length" and not getattr(self.args, "group_by_length", False):
            return super()._get_train_sampler(train_dataset)
        window = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroupedSampler(window, lengths=self.train_dataset.lengths)  # type: ignore[union-attr]

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

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> tuple[list[Any], Any]:
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = [_counts(batch) for batch in batches]
        for name in counts[0] if counts else ():
            total = torch.tensor(float(sum(count[name] for count in counts)), device=device)
            n_batches = torch.tensor(float(len(batches)), device=device)
            if self.args.world_size > 1:
                total = self.accelerator.gather(total).sum()
                n_batches = self.accelerator.gather(n_batches).sum()
            each = float(n_batches) / (float(total) or 1.0)
            for batch, count in zip(batches, counts, strict=True):
                batch.setdefault("shares", {})[name] = count[name] * each
        return batches, None


def _length(row: Any) -> int:
    if isinstance(row, tuple):  # of a pair of texts
        return sum(map(_length, row))
    return len(row["input_ids"]) if isinstance(row, Mapping) else 1


def _counts(batch: Mapping[str, Any]) -> dict[str, float]:
    """How much of everything that a term may be a mean over there is in a batch."""
    inputs, labels = batch["inputs"], batch.get("labels")
    first = next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    weight = batch.get("weight")
    weight = torch.ones(len(first), device=first.device) if weight is None else weight
    counts = {"rows": float(weight.sum()), "labels": 0.0, "pairs": float(len(first))}
    if "tokens" in batch:  # there, every masked token has logits of its own
        counts["rows"] = counts["labels"] = float((batch["tokens"] != -100).sum())
    if labels is not None:
        known = ~labels.isnan() if labels.is_floating_point() else labels >= 0
        labelled = known.view(len(labels), -1).all(dim=1)
        counts["labels"] = float((weight * labelled).sum())
    if mask is not None:
        lengths = mask.sum(dim=1).double()
        counts |= {"tokens": float(lengths.sum()), "token_pairs": float((lengths**2).sum())}
    return counts


class _Progress(TrainerCallback):
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
        kept = {name: round(value, 4) for name, value in _scores(metrics or {}).items()}
        self.bar.write(f"{self.title}, epoch {state.epoch:g}: {kept}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.close()


_TIMES = {"eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "eval_model_preparation_time"}


def _scores(logged: Mapping[str, Any]) -> dict[str, float]:
    """What an evaluation says of the student."""
    kept = {name: value for name, value in logged.items() if name.startswith("eval_") and name not in _TIMES}
    return {name.removeprefix("eval_"): float(value) for name, value in kept.items()}


class _Epochs(TrainerCallback):
    """Tells a lesson that changes from epoch to epoch which one begins, also where a training goes on."""

    def __init__(self, lesson: Any) -> None:
        self.lesson = lesson

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.lesson.set_epoch(int(state.epoch or 0))


@dataclass
class Plan:
    """How a training runs.

    Attributes
    ----------
    folder : Path
        Of the checkpoints.
    arguments : dict
        Of ``TrainingArguments``.
    metric : str
        Key of the best checkpoint, higher is better.
    score : callable
        Logits and labels of the evaluation rows to a dict of scores.
    collate : callable
        Rows of the lesson to a batch.
    verbose : int
    """

    folder: Path
    arguments: dict[str, Any]
    metric: str
    score: Callable[[np.ndarray, np.ndarray], dict[str, float]]
    collate: Callable[[Sequence[Any]], dict[str, Any]]
    verbose: int = 0


def train(
    student: nn.Module,
    stages: Sequence[Stage],
    lesson: Any,
    watched: Lesson | None,
    plan: Plan,
    teacher: nn.Module | None = None,
) -> list[dict[str, Any]]:
    """Train a student in place, stage after stage; each goes on from its own last checkpoint if there is one.

    Parameters
    ----------
    student : Module
    stages : sequence of Stage
    lesson : Lesson, or another data set of rows
    watched : Lesson or None
        Rows that the best checkpoint is chosen by.
    plan : Plan
    teacher : Module or None

    Returns
    -------
    list of dict
        Every evaluation: stage, epoch and scores.

    Raises
    ------
    ValueError
        If the weights leave what floating-point numbers can hold, or an argument is not for this training.
    """
    with ExitStack() as stack:
        if teacher is not None:
            check_positions(teacher, max(lesson.lengths))
            stack.enter_context(evaluating(teacher))
        return _train_stages(student, stages, lesson, watched, plan, teacher)


def _train_stages(
    student: nn.Module,
    stages: Sequence[Stage],
    lesson: Any,
    watched: Lesson | None,
    plan: Plan,
    teacher: nn.Module | None,
) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = []
    projectors: list[tuple[Any, nn.ModuleDict]] = []
    for number, stage in enumerate(stages):
        folder = plan.folder / f"stage-{number}"
        distiller = Distiller(student, stage.objective, teacher=teacher, projectors=projectors)
        projectors += distiller.projectors_of
        if (folder / _STATE).exists():
            distiller.load_state_dict(torch.load(folder / _STATE, weights_only=True))
            history += json.loads((folder / "history.json").read_text(encoding="utf-8"))
            continue
        title = f"stage {number + 1} of {len(stages)}" if len(stages) > 1 else "training"
        with ExitStack() as stack:
            for model in filter(None, (student, teacher)) if "attentions" in distiller.needs else ():
                stack.enter_context(telling_maps(model))
            found = _train_stage(distiller, stage, lesson, watched, plan, folder, title)
        history += [{"stage": number} | row for row in found]
        if plan.arguments.get("save_only_model"):
            continue
        _finish(folder, distiller, [{"stage": number} | row for row in found])
    return history


def _finish(folder: Path, distiller: Distiller, history: list[dict[str, Any]]) -> None:
    """Leave the stage's result behind, in a way that half of it is never found."""
    if int(torch.distributed.is_initialized() and torch.distributed.get_rank()):
        return
    (folder / "history.json").write_text(json.dumps(history), encoding="utf-8")
    torch.save(distiller.state_dict(), folder / f"{_STATE}.part")
    (folder / f"{_STATE}.part").replace(folder / _STATE)


def _train_stage(
    distiller: Distiller,
    stage: Stage,
    lesson: Any,
    watched: Lesson | None,
    plan: Plan,
    folder: Path,
    title: str,
) -> list[dict[str, float]]:
    callbacks: list[TrainerCallback] = [_Epochs(lesson)] if hasattr(lesson, "set_epoch") else []
    if plan.verbose:
        callbacks.append(_Progress(distiller, title))
    arguments: dict[str, Any] = {"output_dir": str(folder), "num_train_epochs": stage.epochs} | plan.arguments
    if stage.learning_rate is not None:
        arguments["learning_rate"] = stage.learning_rate
    if "logits" not in distiller.needs:  # what is learnt inside shows in no score: the stage keeps its last state
        watched, arguments = None, {**arguments, "eval_strategy": "no"}
    if watched is not None:
        arguments = {
            "eval_strategy": "epoch",
            **arguments,
            "save_strategy": arguments.get("eval_strategy", "epoch"),
            **({"save_steps": arguments["eval_steps"]} if "eval_steps" in arguments else {}),
            "load_best_model_at_end": True,
            "metric_for_best_model": plan.metric,
            "greater_is_better": True,
        }
    settings = TrainingArguments(**arguments)
    _check_arguments(settings, lesson, watched)
    if settings.n_gpu > 1:  # hooks and projectors know one device; several are for torchrun
        settings._n_gpu = 1

    def scored(found: Any) -> dict[str, float]:
        check_finite(distiller.student, settings.learning_rate)
        return plan.score(np.asarray(found.predictions), np.asarray(found.label_ids))

    trainer = _Trainer(
        model=distiller,
        args=settings,
        train_dataset=lesson,
        eval_dataset=watched,
        data_collator=plan.collate,
        compute_metrics=scored,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    last = _last_checkpoint(folder)
    if last is not None:
        logger.info("%s goes on from %s", title, last)
    try:
        trainer.train(resume_from_checkpoint=last)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            "Batch normalisation cannot learn from the last batch, which has one row. Give another batch_size, or "
            'training_args={"dataloader_drop_last": True}.'
        ) from error
    check_finite(distiller.student, settings.learning_rate)
    # Of a training that went on, also what came before.
    return [{"epoch": row["epoch"]} | scores for row in trainer.state.log_history if (scores := _scores(row))]


def _check_arguments(settings: TrainingArguments, lesson: Any, watched: Lesson | None) -> None:
    """Refuse what Trainer does to a bare transformer, or to rows that never change, and what leaves no scores."""
    if watched is not None and settings.prediction_loss_only:
        raise ValueError(
            "training_args has prediction_loss_only=True, but the best checkpoint is chosen by predictions. Leave it "
            "out, or give no evaluation rows."
        )
    if watched is not None and settings.dataloader_drop_last and len(watched) < settings.eval_batch_size:
        raise ValueError(
            f"training_args has dataloader_drop_last=True, which leaves none of {len(watched)} evaluation rows in "
            f"batches of {settings.eval_batch_size}. Give more, or per_device_eval_batch_size=1."
        )
    for name in ("label_smoothing_factor", "neftune_noise_alpha"):
        if value := getattr(settings, name):
            raise ValueError(
                f"training_args has {name}={value}, which Trainer does to a transformer with a loss of its own, and "
                "here the terms are the loss. Leave it out."
            )
    if settings.dataloader_persistent_workers and hasattr(lesson, "set_epoch"):
        raise ValueError(
            "training_args has dataloader_persistent_workers=True, but masks are drawn anew in every epoch, of which "
            "such workers are not told. Leave it out."
        )


def _last_checkpoint(folder: Path) -> str | None:
    """The last checkpoint that was written to its end, of which its state is the last file."""
    whole = [state.parent for state in folder.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


@contextmanager
def seeded_globals(seed: int) -> Iterator[None]:
    """Seed the global generators that models draw from, and put them back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def predicted(
    model: nn.Module, lesson: Lesson, reader: Any, batch_size: int, device: str
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Rows and their logits, batch after batch, rows of like length together."""
    order = np.argsort(lesson.lengths, kind="stable")
    check_positions(model, max(lesson.lengths, default=0))
    with evaluating(model):
        model.to(device)
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                inputs = reader.collated([lesson.encoded[row] for row in rows])
                yield rows, outputs_of(model, _on(inputs, device)).logits.float().cpu()  # type: ignore[union-attr]


def _on(inputs: Any, device: str) -> Any:
    if isinstance(inputs, Mapping):
        return {name: value.to(device) for name, value in inputs.items()}
    return inputs.to(device)

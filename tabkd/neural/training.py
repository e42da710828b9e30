"""Training of a student by Hugging Face ``Trainer``, stage after stage."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from tabkd.neural.agreement import check_positions
from tabkd.neural.distiller import Distiller, telling_maps
from tabkd.neural.lesson import Lesson
from tabkd.neural.networks import check_finite, evaluating
from tabkd.neural.stages import Stage
from tabkd.neural.trainer import Epochs, Progress, StudentTrainer, scores_of

__all__ = ["Plan", "seeded_globals", "train"]

logger = logging.getLogger(__name__)
_STATE = "student.pt"


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
    if len(stages) > 1 and (steps := plan.arguments.get("max_steps", -1)) > 0:
        raise ValueError(
            f"training_args has max_steps={steps}, which each of {len(stages)} stages would take anew, and a control, "
            "which has one stage, only once. Leave it out, and give epochs."
        )
    if isinstance(lesson, Lesson):
        lesson = lesson.counting()
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
    callbacks: list[TrainerCallback] = [Epochs(lesson)] if hasattr(lesson, "set_epoch") else []
    if plan.verbose:
        callbacks.append(Progress(distiller, title))
    arguments: dict[str, Any] = {"output_dir": str(folder), "num_train_epochs": stage.epochs} | plan.arguments
    if stage.learning_rate is not None:
        arguments["learning_rate"] = stage.learning_rate
    if "logits" not in distiller.needs:  # what is learnt inside shows in no score: the stage keeps its last state
        watched, arguments = None, {**arguments, "eval_strategy": "no"}
    if watched is not None:  # what is scored is saved, or the best could not be had back
        often = "steps" if arguments["save_strategy"] == "steps" else "epoch"
        often, steps = arguments.get("eval_strategy", often), arguments.get("eval_steps", arguments.get("save_steps"))
        arguments |= {"eval_strategy": often, "save_strategy": often, "load_best_model_at_end": True}
        arguments |= {"metric_for_best_model": plan.metric, "greater_is_better": True}
        arguments |= {} if steps is None else {"eval_steps": steps, "save_steps": steps}
    settings = TrainingArguments(**arguments)
    _check_arguments(settings, lesson, watched, inside=bool(distiller.needs - {"logits"}))
    if settings.n_gpu > 1:  # hooks and projectors know one device; several are for torchrun
        settings._n_gpu = 1

    def scored(found: Any) -> dict[str, float]:
        check_finite(distiller.student, settings.learning_rate)
        return plan.score(np.asarray(found.predictions), np.asarray(found.label_ids))

    trainer = StudentTrainer(
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
    return [{"epoch": row["epoch"]} | scores for row in trainer.state.log_history if (scores := scores_of(row))]


def _check_arguments(settings: TrainingArguments, lesson: Any, watched: Lesson | None, *, inside: bool) -> None:
    """Refuse what Trainer does to a bare transformer, or to rows that never change, and what leaves no scores."""
    if watched is None and settings.eval_strategy != "no":
        raise ValueError(
            "training_args has an eval_strategy, but there are no rows to score. Give fit(..., eval_set=) or "
            "validation_fraction=, or leave it out."
        )
    usual = {"prediction_loss_only": False, "batch_eval_metrics": False, "eval_do_concat_batches": True}
    for name in usual if watched is not None else ():
        if (value := getattr(settings, name)) != usual[name]:
            raise ValueError(
                f"training_args has {name}={value}, but the best checkpoint is chosen by predictions for all rows to "
                "score. Leave it out, or give no evaluation rows."
            )
    checkpointing = settings.gradient_checkpointing_kwargs
    if inside and isinstance(checkpointing, dict) and checkpointing.get("use_reentrant"):
        raise ValueError(
            "training_args has gradient_checkpointing_kwargs={'use_reentrant': True}, which computes what terms look "
            "into without gradients. Leave it out."
        )
    if settings.dataloader_drop_last and len(lesson) < settings.train_batch_size:
        raise ValueError(
            f"training_args has dataloader_drop_last=True, which leaves none of {len(lesson)} rows in batches of "
            f"{settings.train_batch_size}. Leave it out, or give a smaller batch_size."
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
    whole = [state.parent for state in folder.glob("checkpoint-*/trainer_state.json") if _is_whole(state)]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def _is_whole(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


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

"""Objectives and stages under the names of the papers that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from tabkd.neural.base import Term
from tabkd.neural.exits import SelfDistillation
from tabkd.neural.stages import Stage, progressive
from tabkd.neural.terms import Attention, Embedding, HardLabels, Hidden, Relations, SoftLabels

__all__ = ["RECIPES", "stages_of"]

RECIPES = ("distilbert", "logits", "minilm", "mobilebert", "tinybert")


def stages_of(
    objective: Any,
    stages: Sequence[Stage] | None,
    *,
    alpha: float,
    temperature: float,
    epochs: float,
    taught: bool,
    student: nn.Module,
    teacher: nn.Module | None,
) -> list[Stage]:
    """The stages of a training.

    Parameters
    ----------
    objective : str, SelfDistillation, sequence of Term, or None
        A recipe's name, or terms beside the two of ``alpha`` and ``temperature``; a SoftLabels or HardLabels among
        them takes the place of that one.
    stages : sequence of Stage or None
        Instead of all that.
    alpha, temperature : float
        Of the two-term loss.
    epochs : float
    taught : bool
        Whether there are soft targets.
    student, teacher : Module
        Whose layers a recipe counts.

    Returns
    -------
    list of Stage

    Raises
    ------
    ValueError
        If a name is not known, or two of the parameters contradict each other.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}. Try 0.1.")
    if isinstance(objective, SelfDistillation):
        if taught or stages is not None:
            raise ValueError("SelfDistillation is its own teacher, in one stage. Leave out teacher= and stages=.")
        return [Stage([objective], epochs)]
    if not taught:  # the control, or a plain fine-tuning: everything else needs a teacher
        return [Stage([HardLabels()], epochs)]
    if stages is not None:
        if objective is not None:
            raise ValueError("objective and stages are two ways to say what is learnt. Give one of them.")
        return list(stages)
    two = _two_terms(alpha, temperature)
    if objective is None:
        return [Stage(two, epochs)]
    if isinstance(objective, str):
        return _recipe(objective, two, epochs, student, teacher)
    terms = tuple(objective)
    replaced = tuple(type(term) for term in terms)
    return [Stage([*(term for term in two if type(term) not in replaced), *terms], epochs)]


def _two_terms(alpha: float, temperature: float) -> list[Term]:
    hard, soft = HardLabels(weight=alpha), SoftLabels(temperature=temperature, weight=1 - alpha)
    return [term for term in (hard, soft) if term.weight > 0]


def _recipe(name: str, two: list[Term], epochs: float, student: nn.Module, teacher: nn.Module | None) -> list[Stage]:
    if name not in RECIPES:
        raise ValueError(f"objective must be one of {RECIPES} or terms, got {name!r}. Try 'logits'.")
    if name == "logits":
        return [Stage(two, epochs)]
    if name == "distilbert":
        return [Stage([*two, Hidden("last", loss="cosine")], epochs)]
    if name == "minilm":
        return [Stage([Relations()], epochs), Stage(two, epochs)]
    if name == "tinybert":
        inside = [Embedding(), Hidden("uniform"), Attention("uniform", loss="mse", heads="auto")]
        return [Stage(inside, epochs), Stage(two, epochs)]
    counts = [getattr(getattr(model, "config", None), "num_hidden_layers", None) for model in (student, teacher)]
    if None in counts:
        raise ValueError("objective='mobilebert' teaches layer by layer: student and teacher must be transformers.")
    return progressive(*counts, final=two, final_epochs=epochs)  # type: ignore[arg-type]

"""Objectives and stages under the names of the papers that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from tabkd.checks import check_alpha
from tabkd.neural.base import Term
from tabkd.neural.exits import SelfDistillation
from tabkd.neural.pretraining_terms import MLM
from tabkd.neural.stages import Stage, progressive, terms_of
from tabkd.neural.terms import Attention, Embedding, HardLabels, Hidden, Relations, SoftLabels

__all__ = ["PRETRAINING", "RECIPES", "given_terms", "pretraining_stages", "stages_of", "two_terms"]

RECIPES = ("distilbert", "logits", "minilm", "mobilebert", "tinybert")
PRETRAINING = ("distilbert", "minilm", "mlm", "mobilebert", "tinybert")


def stages_of(
    objective: Any,
    stages: Stage | Sequence[Stage] | None,
    *,
    alpha: float,
    temperature: float,
    epochs: float,
    taught: bool,
    student: nn.Module | None,
    teacher: nn.Module | None,
) -> list[Stage]:
    """The stages of a training.

    Parameters
    ----------
    objective : str, Term, sequence of Term, or None
        A recipe's name, or terms beside the two of ``alpha`` and ``temperature``; a SoftLabels or HardLabels among
        them takes the place of that one.
    stages : Stage, sequence of Stage, or None
        Instead of all that.
    alpha, temperature : float
        Of the two-term loss.
    epochs : float
    taught : bool
        Whether there are soft targets.
    student, teacher : Module or None
        Whose layers a recipe counts.

    Returns
    -------
    list of Stage

    Raises
    ------
    ValueError
        If a name is not known, or two of the parameters contradict each other.
    """
    check_alpha(alpha, 0.1)
    stages = _listed(stages)
    if isinstance(objective, SelfDistillation):
        if taught or stages is not None:
            raise ValueError("SelfDistillation is its own teacher, in one stage. Leave out teacher= and stages=.")
        return [Stage([objective], epochs)]
    _check_alone(objective, stages)
    if taught and stages is not None and objective is not None:
        raise ValueError("objective and stages are two ways to say what is learnt. Give one of them.")
    if stages is not None and (taught or not any(term.teacher for stage in stages for term in stage.objective)):
        return stages
    two = two_terms(alpha, temperature)
    if stages is None and isinstance(objective, str):
        stages = _recipe(objective, two, epochs, student, teacher if taught else student)
    elif stages is None:
        terms = () if objective is None else terms_of(objective)
        replaced = tuple(type(term) for term in terms)
        stages = [Stage([*(term for term in two if type(term) not in replaced), *terms], epochs)]
    if taught:
        return stages
    # The control, or a plain fine-tuning: as many epochs, at the rate at which a student learns its answers.
    return [Stage([HardLabels()], sum(stage.epochs for stage in stages), stages[-1].learning_rate)]


def given_terms(objective: Any, stages: Stage | Sequence[Stage] | None) -> list[Term]:
    """Terms that are given as such, not by a recipe's name."""
    own = () if objective is None or isinstance(objective, str) else terms_of(objective)
    return [*own, *(term for stage in _listed(stages) or () for term in stage.objective)]


def _listed(stages: Stage | Sequence[Stage] | None) -> list[Stage] | None:
    """Stages, which may be one by itself."""
    if stages is None:
        return None
    found = list(stages) if isinstance(stages, Sequence) else [stages]
    odd = [stage for stage in found if not isinstance(stage, Stage)]
    if odd or not found:
        given = repr(odd[0]) if odd else "nothing"
        raise ValueError(f"stages is a sequence of Stage, got {given}. Try [Stage([SoftLabels()], epochs=3)].")
    return found


def _check_alone(objective: Any, stages: Sequence[Stage] | None) -> None:
    """Raise if there is a SelfDistillation that no exits will be made for."""
    if any(isinstance(term, SelfDistillation) for term in given_terms(objective, stages)):
        raise ValueError(
            "SelfDistillation is all that a classifier learns. Give objective=SelfDistillation(...), by itself."
        )


def two_terms(alpha: float, temperature: float) -> list[Term]:
    """Labels by ``alpha``, soft targets by the rest; what weighs nothing is left out."""
    hard, soft = HardLabels(weight=alpha), SoftLabels(temperature=temperature, weight=1 - alpha)
    return [term for term in (hard, soft) if term.weight > 0]


def _recipe(
    name: str, two: list[Term], epochs: float, student: nn.Module | None, teacher: nn.Module | None
) -> list[Stage]:
    if name not in RECIPES:
        raise ValueError(f"objective must be one of {RECIPES} or terms, got {name!r}. Try 'logits'.")
    if name == "logits":
        return [Stage(two, epochs)]
    if name == "distilbert":
        return [Stage([*two, Hidden("last", loss="cosine")], epochs)]
    if name == "minilm":
        return [Stage([Relations()], epochs), Stage(two, epochs)]
    if name == "tinybert":
        return [Stage(_tinybert(), epochs), Stage(two, epochs)]
    return _mobilebert(two, epochs, student, teacher)


def _tinybert() -> list[Term]:
    return [Embedding(), Hidden("uniform"), Attention("uniform", loss="mse", heads="auto")]


def _mobilebert(final: list[Term], epochs: float, student: nn.Module | None, teacher: nn.Module | None) -> list[Stage]:
    ours, theirs = (getattr(getattr(model, "config", None), "num_hidden_layers", None) for model in (student, teacher))
    if ours is None or theirs is None:
        raise ValueError("objective='mobilebert' teaches layer by layer: student and teacher must be transformers.")
    # All layers together take as long as the answers.
    return progressive(ours, theirs, final=final, epochs=epochs / max(ours, 1), final_epochs=epochs)


def pretraining_stages(
    objective: Any,
    stages: Stage | Sequence[Stage] | None,
    *,
    epochs: float,
    student: nn.Module,
    teacher: nn.Module | None,
) -> list[Stage]:
    """The stages of a training on raw text.

    Parameters
    ----------
    objective : str, Term, sequence of Term, or None
        A recipe's name, or all terms; None is ``"distilbert"`` with a teacher and ``"mlm"`` without.
    stages : Stage, sequence of Stage, or None
        Instead of ``objective`` and ``epochs``.
    epochs : float
    student, teacher : Module
        Whose layers a recipe counts.

    Returns
    -------
    list of Stage

    Raises
    ------
    ValueError
        If the name is not known, two of the parameters contradict each other, or the teacher is missing.

    References
    ----------
    Sanh et al., "DistilBERT, a distilled version of BERT", 2019; the weights 5, 2 and 1 and the temperature of 2 are
    those of its published training.
    """
    stages = _listed(stages)
    if stages is not None and objective is not None:
        raise ValueError("objective and stages are two ways to say what is learnt. Give one of them.")
    _check_alone(objective, stages)
    name = ("mlm" if teacher is None else "distilbert") if objective is None else objective
    if stages is not None:
        found = stages
    elif not isinstance(name, str):
        found = [Stage(name, epochs)]
    elif name not in PRETRAINING:
        raise ValueError(f"objective must be one of {PRETRAINING} or terms, got {name!r}. Try 'distilbert'.")
    elif name == "mobilebert":
        found = _mobilebert([SoftLabels(weight=0.5), MLM(weight=0.5)], epochs, student, teacher)
    else:
        terms: dict[str, list[Term]] = {
            "mlm": [MLM()],
            "distilbert": [SoftLabels(2.0, weight=5.0), MLM(weight=2.0), Hidden("last", loss="cosine")],
            "tinybert": _tinybert(),
            "minilm": [Relations()],
        }
        found = [Stage(terms[name], epochs)]
    asking = [type(term).__name__ for stage in found for term in stage.objective if term.teacher]
    if asking and teacher is None:
        raise ValueError(f"{', '.join(dict.fromkeys(asking))} learn from a teacher, and there is none. Give teacher=.")
    return found

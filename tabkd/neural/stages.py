"""What is learnt when: stages of a training, each with an objective of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tabkd.neural.base import Term
from tabkd.neural.maps import layer_pairs
from tabkd.neural.terms import Attention, HardLabels, Hidden, SoftLabels

__all__ = ["Stage", "progressive", "terms_of"]


def terms_of(objective: Term | Sequence[Term]) -> tuple[Term, ...]:
    """The terms of an objective, which may be one by itself."""
    return (objective,) if isinstance(objective, Term) else tuple(objective)


@dataclass(frozen=True)
class Stage:
    """A part of a training with one objective.

    Parameters
    ----------
    objective : Term or sequence of Term
    epochs : float
    learning_rate : float or None
        None is that of the estimator.

    Examples
    --------
    Two stages as in TinyBERT: first what happens between the layers, then the answers.

    >>> from tabkd.neural import Attention, Embedding, Hidden, SoftLabels, Stage
    >>> inside = [Embedding(), Hidden("uniform"), Attention("uniform", loss="mse")]
    >>> stages = [Stage(inside, epochs=2, learning_rate=5e-5), Stage([SoftLabels()], epochs=1)]
    >>> [stage.epochs for stage in stages]
    [2, 1]
    """

    objective: Sequence[Term]
    epochs: float = 1.0
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", terms_of(self.objective))
        odd = [term for term in self.objective if not isinstance(term, Term)]
        if odd or not self.objective:
            found = repr(odd[0]) if odd else "nothing"
            raise ValueError(f"A stage's objective is a sequence of terms, got {found}. Try [SoftLabels()].")
        if self.epochs <= 0:
            raise ValueError(f"epochs must be > 0, got {self.epochs}. Try 1.")


def progressive(
    n_layers: int,
    n_teacher_layers: int | None = None,
    *,
    final: Sequence[Term] = (HardLabels(weight=0.1), SoftLabels(temperature=4.0, weight=0.9)),
    epochs: float = 1.0,
    final_epochs: float = 3.0,
    learning_rate: float | None = None,
) -> list[Stage]:
    """Early layers first, then deeper ones, then the answers, as MobileBERT is trained.

    The stage of layer n teaches the hidden states and attention maps of layers 1 to n, so that those that were taught
    before stay where they are.

    Parameters
    ----------
    n_layers : int
        Encoders of the student; there is a stage for each.
    n_teacher_layers : int or None
        Encoders of the teacher, to which the student's are spread evenly; None is as many as the student has.
    final : sequence of Term
        Objective of the last stage.
    epochs, final_epochs : float
        Of each layer's stage, and of the last one.
    learning_rate : float or None
        Of the layers' stages.

    Returns
    -------
    list of Stage

    References
    ----------
    Sun et al., "MobileBERT: a compact task-agnostic BERT for resource-limited devices", ACL 2020, section 3.4.

    Examples
    --------
    >>> from tabkd.neural import progressive
    >>> stages = progressive(2, 4)
    >>> len(stages), stages[1].objective[0].layers
    (3, ((1, 2), (2, 4)))
    """
    if n_layers < 1:
        raise ValueError(f"n_layers must be 1 or more, got {n_layers}. Give the number of the student's encoders.")
    n_teacher_layers = n_layers if n_teacher_layers is None else n_teacher_layers
    pairs = tuple(layer_pairs("uniform", n_layers, n_teacher_layers, lowest=1))
    layered = [
        Stage([Hidden(pairs[:n]), Attention(pairs[:n], heads="auto")], epochs, learning_rate)
        for n in range(1, n_layers + 1)
    ]
    return [*layered, Stage(final, final_epochs)]

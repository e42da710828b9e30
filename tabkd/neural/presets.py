"""The field's recipes by name."""

from __future__ import annotations

from tabkd.neural.base import Term
from tabkd.neural.terms import Attention, Embedding, HardLabels, Hidden, Relations, SoftLabels

__all__ = ["RECIPES", "recipe"]

#: Objectives by name.
RECIPES: dict[str, tuple[Term, ...]] = {
    "logits": (SoftLabels(temperature=4.0, weight=0.9), HardLabels(weight=0.1)),
    "distilbert": (
        SoftLabels(temperature=2.0, weight=5.0),
        HardLabels(weight=2.0),
        Hidden("last", loss="cosine", weight=1.0),
    ),
    "tinybert": (Embedding(), Hidden("uniform"), Attention("uniform", loss="mse", heads="auto"), SoftLabels()),
    "mobilebert": (
        Hidden("uniform"),
        Attention("uniform", loss="kl", heads="auto"),
        SoftLabels(weight=0.5),
        HardLabels(weight=0.5),
    ),
    "minilm": (Relations(), SoftLabels(temperature=4.0, weight=0.9), HardLabels(weight=0.1)),
}


def recipe(name: str) -> tuple[Term, ...]:
    """Terms of a well-known objective.

    Parameters
    ----------
    name : {"logits", "distilbert", "tinybert", "mobilebert", "minilm"}
        - ``"logits"``: .9 of softened logits at temperature 4, .1 of true labels; temperature 10 is as usual.
        - ``"distilbert"``: weights 5, 2 and 1 and temperature 2 of the paper's training script for softened logits, the
          hard objective (there masked words, here labels) and the cosine of the last states.
        - ``"tinybert"``: embedding, states and attention of all layers, and predictions, each with weight 1 and at
          temperature 1. True labels have no part. Attention is compared after the softmax, in the paper before it.
        - ``"mobilebert"``: states and attention of all layers; half predictions, half labels: the paper's alpha is .5.
        - ``"minilm"``: relations of the last layer as in MiniLMv2; they do not train a head, so the terms of
          ``"logits"`` join them.

        Where the numbers of heads differ, attention is averaged over heads.

    Returns
    -------
    tuple of Term

    Raises
    ------
    ValueError
        If there is no such recipe.

    References
    ----------
    Sanh et al., "DistilBERT", 2019. Jiao et al., "TinyBERT", 2020. Sun et al., "MobileBERT", 2020. Wang et al.,
    "MiniLMv2", 2021.

    Examples
    --------
    >>> from tabkd.neural.presets import recipe
    >>> recipe("logits")
    (SoftLabels(temperature=4.0, weight=0.9), HardLabels(weight=0.1, source='labels'))
    """
    if name not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(map(repr, RECIPES))}, got {name!r}.")
    return RECIPES[name]

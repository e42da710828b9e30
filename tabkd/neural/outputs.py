"""What the terms of an objective see: a model's outputs for a batch, the batch itself, the shape of an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Batch", "Outputs", "Shape"]


@dataclass
class Outputs:
    """What a model said of a batch.

    Attributes
    ----------
    logits : Tensor of shape (batch, classes) or None
        Log-probabilities do as well: ``softmax(log(p) / T)`` equals ``softmax(z / T)``. Of a masked language model
        they are of shape (masked tokens of the batch, vocabulary).
    hidden_states : tuple of Tensor of shape (batch, length, width)
        Entry 0 is the embedding, 1..N are the encoders.
    attentions : tuple of Tensor of shape (batch, heads, length, length)
        Probabilities, one entry per encoder.
    queries, keys, values : tuple of Tensor of shape (batch, length, width)
        One entry per encoder, before the split into heads.
    next_sentence : Tensor of shape (batch, 2) or None
        Logits of whether the second text of a row follows the first (0) or is another one (1).

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.outputs import Outputs
    >>> Outputs(torch.zeros(4, 2), hidden_states=(torch.zeros(4, 7, 16),) * 3).n_layers
    2
    """

    logits: Tensor | None
    hidden_states: tuple[Tensor, ...] = ()
    attentions: tuple[Tensor, ...] = ()
    queries: tuple[Tensor, ...] = ()
    keys: tuple[Tensor, ...] = ()
    values: tuple[Tensor, ...] = ()
    next_sentence: Tensor | None = None

    @property
    def n_layers(self) -> int:
        """Number of encoders, 0 if nothing but logits is known.

        Raises
        ------
        ValueError
            If the lists disagree.
        """
        names = ("hidden_states", "attentions", "queries", "keys", "values")
        entries = {name: len(getattr(self, name)) for name in names if getattr(self, name)}
        counts = {n - (name == "hidden_states") for name, n in entries.items()}
        if len(counts) > 1:
            found = ", ".join(f"{n} {name}" for name, n in entries.items())
            raise ValueError(f"one model's outputs have lists of unequal length: {found}. Give one entry per encoder.")
        return counts.pop() if counts else 0


@dataclass
class Batch:
    """What is known of a batch besides the models' outputs.

    Attributes
    ----------
    mask : Tensor of shape (batch, length) or None
        1 or True for valid tokens, 0 or False for padding. None: every token is valid, or there are none.
    labels : Tensor of shape (batch,) or None
        int64 with -100 where a row has no label; for regression floats with NaN, also of shape (batch, outputs); of a
        masked language model the masked tokens, in the order of ``logits``.
    weight : Tensor of shape (batch,) or None
        Of the rows; terms between rows do without.
    follows : Tensor of int64 of shape (batch,) or None
        0 where the second text of a row follows the first, 1 where it is another one.
    """

    mask: Tensor | None = None
    labels: Tensor | None = None
    weight: Tensor | None = None
    follows: Tensor | None = None

    @property
    def of_values(self) -> bool:
        """Whether the labels are the values of a regression."""
        return self.labels is not None and self.labels.is_floating_point()


@dataclass(frozen=True)
class Shape:
    """Shape of an encoder.

    Attributes
    ----------
    layers : int
        Number of encoders, the embedding not counted.
    width : int
        Width of the hidden states.
    heads : int
        Number of attention heads.
    attention_width : int or None
        Width of queries, keys and values if it is another one, as in MobileBERT.

    Examples
    --------
    >>> from transformers import DistilBertConfig
    >>> from tabkd.neural.outputs import Shape
    >>> Shape.of(DistilBertConfig())
    Shape(layers=6, width=768, heads=12, attention_width=None)
    """

    layers: int
    width: int
    heads: int
    attention_width: int | None = None

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Read the shape off a transformers configuration.

        Parameters
        ----------
        config : transformers.PretrainedConfig

        Returns
        -------
        Shape
        """
        narrow = getattr(config, "true_hidden_size", config.hidden_size)
        return cls(
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            heads=config.num_attention_heads,
            attention_width=None if narrow == config.hidden_size else narrow,
        )

"""Students made of a teacher's layers, and empty ones of the field's usual shapes.

Encoders count from 0 here, as in the models' own code. Nothing that is given is changed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import BertConfig, DistilBertConfig, MobileBertConfig, PreTrainedModel

__all__ = ["check_vocabulary", "empty_student", "shrink", "to_distilbert"]

#: What stands before and after a layer's number, in the models known here.
_LAYER = re.compile(r"(.*?(?:encoder|transformer)\.layer\.)(\d+)\.(.*)")
_QUERIES = re.compile(r"attention\.(self\.)?(query|key|value|q_lin|k_lin|v_lin)\.")
_MERGED = re.compile(r"attention\.(output\.dense|out_lin)\.weight")
_WIDENED = re.compile(r"^(intermediate\.dense|ffn\.lin1)\.")
_NARROWED = re.compile(r"^(output\.dense|ffn\.lin2)\.weight")
#: Families whose width can be cut, by ``model_type``; layers can be chosen in more.
_CUT = ("bert", "roberta", "xlm-roberta", "distilbert")
_CHOSEN = (*_CUT, "mobilebert", "electra", "camembert")


def shrink(
    model: PreTrainedModel,
    layers: Sequence[int] | int,
    *,
    hidden: int | None = None,
    heads: int | None = None,
    intermediate: int | None = None,
) -> PreTrainedModel:
    """A smaller model with some layers of another, its embeddings and its head.

    Parameters
    ----------
    model : PreTrainedModel
        BERT and its kin, DistilBERT or MobileBERT, with any head.
    layers : sequence of int or int
        Encoders to keep, counted from 0, in this order; a number keeps as many, spread evenly from first to last.
    hidden : int or None
        Width to keep: the same units everywhere, those with the largest weights, so that what layers add to each
        other stays in its place. Attention loses whole heads. None keeps all. Not for MobileBERT.
    heads : int or None
        Heads per layer; with ``hidden`` it must leave their size as it is. Alone it divides the same queries, keys
        and values in another way.
    intermediate : int or None
        Width between the two maps behind attention, by the largest weights; None keeps its ratio to ``hidden``.

    Returns
    -------
    PreTrainedModel
        Of the same class, type of numbers, device and mode, with a configuration to match.

    Raises
    ------
    ValueError
        If a layer does not exist or occurs twice, or widths and heads do not divide.

    References
    ----------
    Sanh et al., "DistilBERT, a distilled version of BERT", 2019 (every second layer of the teacher).

    Examples
    --------
    >>> from tabkd.neural import shrink
    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> config = BertConfig(
    ...     vocab_size=50, hidden_size=32, num_hidden_layers=6, num_attention_heads=4, intermediate_size=64
    ... )
    >>> teacher = BertForSequenceClassification(config)
    >>> student = shrink(teacher, [0, 2, 5], hidden=16)
    >>> student.config.num_hidden_layers, student.config.hidden_size, student.config.num_attention_heads
    (3, 16, 2)
    """
    config: Any = model.config
    if config.model_type not in _CHOSEN:
        raise ValueError(f"shrink knows the families {', '.join(_CHOSEN)}, got {config.model_type!r}.")
    chosen = _chosen(layers, config.num_hidden_layers)
    cut = hidden not in (None, config.hidden_size) or intermediate is not None
    if cut and config.model_type not in _CUT:
        raise ValueError(f"hidden and intermediate can be cut in {', '.join(_CUT)}, not in {config.model_type!r}.")
    smaller = copy.deepcopy(config)
    smaller.num_hidden_layers = len(chosen)
    width = config.hidden_size if hidden is None else hidden
    smaller.num_attention_heads = _n_heads(config, width, heads)
    name = "hidden_dim" if config.model_type == "distilbert" else "intermediate_size"
    between = getattr(config, name)
    if cut:
        smaller.hidden_size = width
        setattr(smaller, name, between * width // config.hidden_size if intermediate is None else intermediate)
    student = type(model)(smaller)
    source = model.state_dict()
    parts = _Parts(source, config, width, getattr(smaller, name)) if cut else None
    state = {}
    for key, value in student.state_dict().items():
        number, rest = _place(key)
        key_there = key if number is None else key.replace(f".{number}.", f".{chosen[number]}.", 1)
        found = source[key_there]
        state[key] = found if parts is None else parts.taken(found, rest, None if number is None else chosen[number])
        if state[key].shape != value.shape:
            raise ValueError(
                f"{key} would have the shape {tuple(state[key].shape)}, and the model needs {tuple(value.shape)}."
            )
    student.load_state_dict(state)
    return _alike(student, model)


def _alike(student: Any, model: Any) -> PreTrainedModel:
    """On the device, of the type of numbers and in the mode of the model that it was made of."""
    return student.to(device=model.device, dtype=model.dtype).train(model.training)


def _chosen(layers: Sequence[int] | int, n_layers: int) -> list[int]:
    if isinstance(layers, int | np.integer):
        if not 1 <= layers <= n_layers:
            raise ValueError(f"layers={layers} must be from 1 to {n_layers}, the encoders that there are.")
        return np.linspace(0, n_layers - 1, int(layers)).round().astype(int).tolist()
    chosen = [int(layer) for layer in layers]
    wrong = [layer for layer in chosen if not 0 <= layer < n_layers]
    if wrong or not chosen:
        raise ValueError(
            f"layers={list(layers)} names {wrong[0] if wrong else 'none'}, but the encoders are 0 to {n_layers - 1}."
        )
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"layers={list(layers)} names an encoder twice. Name each once.")
    return chosen


def _n_heads(config: Any, width: int, heads: int | None) -> int:
    """Heads of a narrower layer: whole ones of the old size."""
    if width == config.hidden_size:
        found = config.num_attention_heads if heads is None else heads
        if width % found:
            raise ValueError(f"heads={found} does not divide the width {width}.")
        return found
    size = config.hidden_size // config.num_attention_heads
    if not 0 < width < config.hidden_size or width % size or heads not in (None, width // size):
        most = max(size, width // size * size)
        raise ValueError(
            f"hidden={width} with heads={heads} does not keep heads of {size} units, which {config.hidden_size} wide "
            f"layers have here. Try hidden={most}, heads={most // size}."
        )
    return width // size


def _place(key: str) -> tuple[int | None, str]:
    """The number of the layer that a parameter belongs to, and its name there."""
    found = _LAYER.match(key)
    return (None, key) if found is None else (int(found[2]), found[3])


class _Parts:
    """Which units, heads and inner units stay when a model becomes narrower."""

    def __init__(self, source: dict[str, Tensor], config: Any, width: int, between: int) -> None:
        self.width, self.n_units = width, config.hidden_size
        scores: Tensor = torch.zeros(self.n_units)
        heads, inner = {}, {}
        size = config.hidden_size // config.num_attention_heads
        for key, value in source.items():
            number, rest = _place(key)
            for axis in self._unit_axes(value, rest):
                squares = value.detach().float().cpu().square().movedim(axis, 0).reshape(self.n_units, -1).sum(1)
                scores = scores + squares / squares.sum().clamp(min=1e-12)
            if number is None:
                continue
            if _MERGED.search(rest):
                heads[number] = _largest(_norms(value.T).reshape(-1, size).sum(1), width // size)
            if _NARROWED.search(rest):
                inner[number] = _largest(_norms(value.T), between)
        self.units = _largest(scores, width)
        spread = torch.arange(size)
        self.heads = {number: (kept[:, None] * size + spread).flatten() for number, kept in heads.items()}
        self.inner = inner

    def _unit_axes(self, value: Tensor, rest: str) -> list[int]:
        """Axes along which a parameter has a number for each unit that passes from layer to layer."""
        axes = [axis for axis, length in enumerate(value.shape) if length == self.n_units]
        if _QUERIES.search(rest) or _WIDENED.search(rest):
            axes = [axis for axis in axes if axis == 1]
        elif _MERGED.search(rest) or _NARROWED.search(rest):
            axes = [axis for axis in axes if axis == 0]
        elif "embeddings" in rest and value.ndim == 2:
            axes = [1]
        return axes

    def taken(self, value: Tensor, rest: str, number: int | None) -> Tensor:
        """The part of a parameter that stays."""
        for axis in self._unit_axes(value, rest):
            value = value.index_select(axis, self.units.to(value.device))
        if number is None:
            return value
        if _QUERIES.search(rest):
            return value.index_select(0, self.heads[number].to(value.device))
        if _MERGED.search(rest):
            return value.index_select(1, self.heads[number].to(value.device))
        if _WIDENED.search(rest):
            return value.index_select(0, self.inner[number].to(value.device))
        if _NARROWED.search(rest):
            return value.index_select(1, self.inner[number].to(value.device))
        return value


def _norms(rows: Tensor) -> Tensor:
    return rows.detach().float().cpu().square().sum(1)


def _largest(scores: Tensor, n: int) -> Tensor:
    """Places of the largest scores, in rising order."""
    return scores.argsort(descending=True, stable=True)[:n].sort().values


#: Names of BERT's parameters as DistilBERT has them.
_RENAMED = (
    ("attention.self.query", "attention.q_lin"),
    ("attention.self.key", "attention.k_lin"),
    ("attention.self.value", "attention.v_lin"),
    ("attention.output.dense", "attention.out_lin"),
    ("attention.output.LayerNorm", "sa_layer_norm"),
    ("intermediate.dense", "ffn.lin1"),
    ("output.dense", "ffn.lin2"),
    ("output.LayerNorm", "output_layer_norm"),
    ("bert.encoder.layer", "distilbert.transformer.layer"),
    ("encoder.layer", "transformer.layer"),
    ("bert.embeddings", "distilbert.embeddings"),
    ("bert.pooler.dense", "pre_classifier"),
    ("cls.predictions.transform.dense", "vocab_transform"),
    ("cls.predictions.transform.LayerNorm", "vocab_layer_norm"),
    ("cls.predictions.decoder", "vocab_projector"),
)


def to_distilbert(model: PreTrainedModel, layers: Sequence[int] | int | None = None) -> PreTrainedModel:
    """A DistilBERT with a BERT's weights.

    DistilBERT has no token types: type 0 is added to the positions, so single texts give the same hidden states. It
    has no pooler either: for classification the pooler's map becomes the one before the classifier, but is followed
    by a rectifier instead of a tangent, so that head wants training.

    Parameters
    ----------
    model : BertModel, BertForMaskedLM or BertForSequenceClassification
    layers : sequence of int, int or None
        As in :func:`shrink`; None keeps all.

    Returns
    -------
    DistilBertModel, DistilBertForMaskedLM or DistilBertForSequenceClassification

    Raises
    ------
    ValueError
        If the model is no BERT, or has a head that DistilBERT does not know.

    References
    ----------
    Sanh et al., "DistilBERT, a distilled version of BERT", 2019.

    Examples
    --------
    >>> from tabkd.neural import to_distilbert
    >>> from transformers import BertConfig, BertModel
    >>> config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=4, num_attention_heads=4)
    >>> type(to_distilbert(BertModel(config), layers=2)).__name__
    'DistilBertModel'
    """
    config: Any = model.config
    target = getattr(transformers, f"Distil{type(model).__name__}", None)
    if config.model_type != "bert" or target is None or config.layer_norm_eps != 1e-12:
        raise ValueError(
            "to_distilbert takes BertModel, BertForMaskedLM or BertForSequenceClassification with "
            f"layer_norm_eps=1e-12, got {type(model).__name__} with {getattr(config, 'layer_norm_eps', None)}."
        )
    kept = model if layers is None else shrink(model, layers)
    shape: Any = kept.config
    student = target(
        DistilBertConfig(
            vocab_size=shape.vocab_size,
            max_position_embeddings=shape.max_position_embeddings,
            n_layers=shape.num_hidden_layers,
            n_heads=shape.num_attention_heads,
            dim=shape.hidden_size,
            hidden_dim=shape.intermediate_size,
            dropout=shape.hidden_dropout_prob,
            attention_dropout=shape.attention_probs_dropout_prob,
            activation=shape.hidden_act,
            pad_token_id=shape.pad_token_id,
            id2label=shape.id2label,
            label2id=shape.label2id,
        )
    )
    state = {}
    for key, value in kept.state_dict().items():
        for old, new in _RENAMED:
            key = key.replace(old, new)
        state[key] = value
    prefix = "" if "embeddings.word_embeddings.weight" in state else "distilbert."
    types = state[f"{prefix}embeddings.token_type_embeddings.weight"][0]
    positions = f"{prefix}embeddings.position_embeddings.weight"
    state[positions] = state[positions] + types
    wanted = student.state_dict()
    student.load_state_dict({key: state.get(key, value) for key, value in wanted.items()})
    return _alike(student, model)


_BERT = {
    "tinybert-4x312": {"num_hidden_layers": 4, "hidden_size": 312, "intermediate_size": 1200},
    "tinybert-6x768": {"num_hidden_layers": 6, "hidden_size": 768, "intermediate_size": 3072},
    "minilm-6x384": {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536},
}


def empty_student(
    shape: Any, *, like: Any = None, tokenizer: Any = None, num_labels: int | None = None, head: str = "classification"
) -> PreTrainedModel:
    """A model with random weights in one of the field's shapes.

    Parameters
    ----------
    shape : {"tinybert-4x312", "tinybert-6x768", "minilm-6x384", "mobilebert"} or PreTrainedConfig
    like : PreTrainedModel or None
        Gives vocabulary, positions, token types and labels: a student that reads what this model reads.
    tokenizer : PreTrainedTokenizerBase or None
        Gives the size of the vocabulary instead.
    num_labels : int or None
        None is that of ``like``, or 2.
    head : {"classification", "masked_lm"}

    Returns
    -------
    PreTrainedModel

    References
    ----------
    Jiao et al., "TinyBERT", 2020. Wang et al., "MiniLM", 2020. Sun et al., "MobileBERT", 2020.

    Examples
    --------
    >>> from tabkd.neural import empty_student
    >>> student = empty_student("tinybert-4x312", num_labels=3)
    >>> student.config.num_hidden_layers, student.config.hidden_size, student.config.num_labels
    (4, 312, 3)
    """
    known = (*_BERT, "mobilebert")
    if not isinstance(shape, str):
        config = copy.deepcopy(shape)
    elif shape in _BERT:
        config = BertConfig(num_attention_heads=12, **_BERT[shape])  # type: ignore[arg-type]
    elif shape == "mobilebert":
        config = MobileBertConfig()
    else:
        raise ValueError(f"shape must be one of {known}, or a configuration, got {shape!r}.")
    if like is not None:
        shared = ("vocab_size", "max_position_embeddings", "type_vocab_size", "pad_token_id", "id2label", "label2id")
        for name in shared:
            if hasattr(like.config, name):
                setattr(config, name, copy.deepcopy(getattr(like.config, name)))
    if tokenizer is not None:
        config.vocab_size = len(tokenizer)
        config.pad_token_id = tokenizer.pad_token_id
    if num_labels is not None and num_labels != config.num_labels:
        config.num_labels = num_labels
    heads = {
        "classification": transformers.AutoModelForSequenceClassification,
        "masked_lm": transformers.AutoModelForMaskedLM,
    }
    if head not in heads:
        raise ValueError(f"head must be one of {tuple(heads)}, got {head!r}.")
    return heads[head].from_config(config)


def check_vocabulary(student: Any, teacher: Any) -> None:
    """Raise unless two tokenizers give every token the same id.

    Parameters
    ----------
    student, teacher : PreTrainedTokenizerBase

    Raises
    ------
    ValueError
        If ids differ: a term that looks inside the teacher would compare different words.
    """
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    differ = sorted(token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token))
    if differ:
        shown = ", ".join(f"{token!r} ({ours.get(token)} and {theirs.get(token)})" for token in differ[:3])
        raise ValueError(
            f"Student and teacher must have one vocabulary for terms that look inside, but the ids of {len(differ)} "
            f"tokens differ: {shown}. Give the student the teacher's tokenizer, or learn from its answers alone."
        )

"""Students made of a teacher's layers.

Encoders count from 0 here, as in the models' own code. Nothing that is given is changed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np
import torch
import transformers
from transformers import DistilBertConfig, PreTrainedModel

from tabkd.neural.loading import bare, without_pooler
from tabkd.neural.widths import narrowed

__all__ = ["shrink", "to_distilbert"]

#: What stands before and after a layer's number, in the models known here.
_LAYER = re.compile(r"(.*?(?:encoder|transformer)\.layer\.)(\d+)(\..*)")
#: Families whose width can be cut, by ``model_type``; layers can be chosen in more.
_CUT = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert")
_CHOSEN = (*_CUT, "electra", "mobilebert")


def shrink(
    model: PreTrainedModel,
    layers: Sequence[int] | int | None,
    *,
    hidden: int | None = None,
    heads: int | None = None,
    intermediate: int | None = None,
) -> PreTrainedModel:
    """A smaller model with some layers of another, its embeddings and its head.

    Parameters
    ----------
    model : PreTrainedModel
        BERT and its kin, DistilBERT or MobileBERT, with any head. Of an ``EmbeddingStudent`` or a classifier with
        exits it is the transformer inside.
    layers : sequence of int, int or None
        Encoders to keep, counted from 0, in this order, each at most once. A number n keeps those nearest to n
        places spread evenly from the first to the last (1 keeps the first): 6 of 12 are 0, 2, 4, 7, 9, 11. None
        keeps all.
    hidden : int or None
        Width to keep: the same units everywhere, those with the largest weights, so that what layers add to each
        other stays in its place. Attention loses whole heads. None keeps all. Not for ELECTRA and MobileBERT.
    heads : int or None
        Heads per layer; with ``hidden`` it must leave their size as it is. Alone it divides the same queries, keys
        and values in another way.
    intermediate : int or None
        Width between the two maps behind attention, by the largest weights of the second; None keeps its ratio to
        ``hidden``.

    Returns
    -------
    PreTrainedModel
        Of the same class, type of numbers, device and mode (training or not), with a configuration to match. All of
        its parameters can be trained, whether or not the given ones were frozen.

    Raises
    ------
    TypeError
        If ``model`` is no transformers model.
    ValueError
        If its family is not known, a layer does not exist or occurs twice, or widths and heads do not divide.

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
    model = _transformer(model, "shrink")
    config: Any = model.config
    if config.model_type not in _CHOSEN:
        raise ValueError(f"shrink knows the families {', '.join(_CHOSEN)}, got {config.model_type!r}.")
    chosen = _chosen(layers, config.num_hidden_layers)
    smaller = _smaller_config(config, len(chosen), hidden, heads, intermediate)
    student = _blank(type(model), smaller, model)
    without_pooler(student, model.state_dict())
    source, wanted = model.state_dict(), student.state_dict()
    state = {key: source[_LAYER.sub(lambda m: f"{m[1]}{chosen[int(m[2])]}{m[3]}", key)] for key in wanted}
    shapes = {key: value.shape for key, value in wanted.items()}
    if any(state[key].shape != shape for key, shape in shapes.items()):
        state = narrowed(state, shapes, config.hidden_size // config.num_attention_heads)
    student.load_state_dict(state)
    return student


def _transformer(given: Any, caller: str) -> Any:
    model = bare(given)
    if not isinstance(model, PreTrainedModel):
        raise TypeError(
            f"{caller} takes a transformers model, got {type(model).__name__}. Load it first: "
            "AutoModelForSequenceClassification.from_pretrained(folder)."
        )
    return model


def _blank(kind: Any, config: Any, like: Any) -> Any:
    """A model to be filled; the weights drawn for it leave the caller's random numbers alone."""
    with torch.random.fork_rng(devices=[]):
        model = kind(config)
    return model.to(device=like.device, dtype=like.dtype).train(like.training)


def _chosen(layers: Sequence[int] | int | None, n_layers: int) -> list[int]:
    if layers is None:
        return list(range(n_layers))
    if isinstance(layers, int | np.integer) and not isinstance(layers, bool):
        if not 1 <= layers <= n_layers:
            raise ValueError(f"layers={layers} must be from 1 to {n_layers}, the encoders that there are.")
        return np.linspace(0, n_layers - 1, int(layers)).round().astype(int).tolist()
    try:
        chosen = [index(layer) for layer in layers]  # type: ignore[union-attr]
    except TypeError:
        raise ValueError(f"layers must be a whole number or a list of them, got {layers!r}. Try [0, 2].") from None
    wrong = [layer for layer in chosen if not 0 <= layer < n_layers]
    if wrong or not chosen:
        raise ValueError(
            f"layers={chosen} names {wrong[0] if wrong else 'none'}, but the encoders are 0 to {n_layers - 1} "
            f"({n_layers} of them)."
        )
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"layers={chosen} names an encoder twice. Name each once.")
    return chosen


def _smaller_config(config: Any, n_layers: int, hidden: int | None, heads: int | None, inner: int | None) -> Any:
    inner_name = "hidden_dim" if config.model_type == "distilbert" else "intermediate_size"
    inner_there = getattr(config, inner_name)
    width = _at_most("hidden", hidden, config.hidden_size)
    between = _at_most("intermediate", inner, inner_there)
    if inner is None:
        between = max(1, between * width // config.hidden_size)
    if (width, between) != (config.hidden_size, inner_there) and config.model_type not in _CUT:
        raise ValueError(f"hidden and intermediate can be cut in {', '.join(_CUT)}, not in {config.model_type!r}.")
    smaller = copy.deepcopy(config)
    smaller.num_hidden_layers, smaller.num_attention_heads = n_layers, _n_heads(config, width, heads)
    smaller.hidden_size = width
    setattr(smaller, inner_name, between)
    return smaller


def _at_most(name: str, value: int | None, most: int) -> int:
    if value is None:
        return most
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
        raise ValueError(f"{name} must be a whole number from 1 to {most}, which the model has, got {value!r}.")
    return int(value)


def _n_heads(config: Any, width: int, heads: int | None) -> int:
    """Heads of a layer: of a narrower one, whole ones of the old size."""
    if width == config.hidden_size:
        across = getattr(config, "true_hidden_size", width)  # MobileBERT attends in its bottleneck
        found = config.num_attention_heads if heads is None else _at_most("heads", heads, across)
        if across % found:
            raise ValueError(f"heads={found} does not divide the width {across}.")
        return found
    size = config.hidden_size // config.num_attention_heads
    if width % size or heads not in (None, width // size):
        most = max(size, width // size * size)
        raise ValueError(
            f"hidden={width} with heads={heads} does not keep heads of {size} units, which {config.hidden_size} wide "
            f"layers have here. Try hidden={most}, heads={most // size}."
        )
    return width // size


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
_HEADS = ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")


def to_distilbert(model: PreTrainedModel, layers: Sequence[int] | int | None = None) -> PreTrainedModel:
    """A DistilBERT with a BERT's weights.

    DistilBERT has no token types: type 0 is added to the positions, so single texts give the same hidden states, and
    the same answers from heads that stand on each token. It has no pooler either: for classification the pooler's
    map becomes the one before the classifier, but is followed by a rectifier instead of a tangent, so that head
    wants training. The pooler of a ``BertModel`` is dropped.

    Parameters
    ----------
    model : BertModel, BertForMaskedLM, -SequenceClassification, -TokenClassification or -QuestionAnswering
    layers : sequence of int, int or None
        As in :func:`shrink`.

    Returns
    -------
    DistilBertModel or DistilBertFor...
        With the same head, type of numbers, device and mode.

    Raises
    ------
    TypeError
        If ``model`` is no transformers model.
    ValueError
        If it is no BERT, has a head that DistilBERT lacks, sees only what came before, or normalises its layers with
        another epsilon than DistilBERT's 1e-12.

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
    model = _transformer(model, "to_distilbert")
    config: Any = model.config
    name = type(model).__name__
    if config.model_type != "bert" or name not in {f"Bert{head}" for head in _HEADS}:
        raise ValueError(f"to_distilbert takes Bert{', Bert'.join(_HEADS)}, got {name}. Try shrink.")
    if config.is_decoder or config.layer_norm_eps != 1e-12:
        raise ValueError(
            f"DistilBERT has layer_norm_eps=1e-12 and is_decoder=False, got {config.layer_norm_eps} and "
            f"{config.is_decoder}. Try shrink, which leaves the model a BERT."
        )
    kept = shrink(model, layers)
    student = _blank(getattr(transformers, f"Distil{name}"), _distilbert_config(kept.config), model)
    state = {}
    for key, value in kept.state_dict().items():
        for old, new in _RENAMED:
            key = key.replace(old, new)
        state[key] = value
    embeddings = "embeddings." if name == "BertModel" else "distilbert.embeddings."
    state[f"{embeddings}position_embeddings.weight"] += state[f"{embeddings}token_type_embeddings.weight"][0]
    student.load_state_dict({key: state[key] for key in student.state_dict()})
    return student


def _distilbert_config(config: Any) -> DistilBertConfig:
    dropout = config.hidden_dropout_prob
    before_head = dropout if config.classifier_dropout is None else config.classifier_dropout
    found = DistilBertConfig(
        n_layers=config.num_hidden_layers,
        n_heads=config.num_attention_heads,
        dim=config.hidden_size,
        hidden_dim=config.intermediate_size,
        dropout=dropout,
        seq_classif_dropout=before_head,
        attention_dropout=config.attention_probs_dropout_prob,
        activation=config.hidden_act,
    )
    same = ("vocab_size", "max_position_embeddings", "pad_token_id", "bos_token_id", "eos_token_id", "id2label")
    for name in (*same, "label2id", "problem_type", "initializer_range", "tie_word_embeddings", "_attn_implementation"):
        setattr(found, name, copy.deepcopy(getattr(config, name)))
    return found

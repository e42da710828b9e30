"""Students with random weights, of the field's usual shapes."""

from __future__ import annotations

import copy
from typing import Any

import transformers
from transformers import BertConfig, DistilBertConfig, MobileBertConfig, PreTrainedConfig, PreTrainedModel

__all__ = ["empty_student"]


def _bert(n_layers: int, width: int, heads: int, inner: int) -> tuple[Any, dict[str, int]]:
    names = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
    return BertConfig, dict(zip(names, (n_layers, width, heads, inner), strict=True))


_SHAPES: dict[str, tuple[Any, dict[str, int]]] = {
    "bert-tiny": _bert(2, 128, 2, 512),
    "bert-mini": _bert(4, 256, 4, 1024),
    "bert-small": _bert(4, 512, 8, 2048),
    "bert-medium": _bert(8, 512, 8, 2048),
    "tinybert-4x312": _bert(4, 312, 12, 1200),
    "tinybert-6x768": _bert(6, 768, 12, 3072),
    "minilm-6x384": _bert(6, 384, 12, 1536),
    "minilm-12x384": _bert(12, 384, 12, 1536),
    "distilbert": (DistilBertConfig, {}),
    "mobilebert": (MobileBertConfig, {}),
}


def empty_student(
    shape: str | PreTrainedConfig,
    *,
    like: PreTrainedModel | None = None,
    tokenizer: Any = None,
    vocab_size: int | None = None,
    num_labels: int | None = None,
    head: str = "classification",
) -> PreTrainedModel:
    """A model with random weights in one of the field's shapes.

    Parameters
    ----------
    shape : str or PreTrainedConfig
        "bert-tiny", "bert-mini", "bert-small", "bert-medium", "tinybert-4x312", "tinybert-6x768", "minilm-6x384",
        "minilm-12x384", "distilbert", "mobilebert"; or a configuration.
    like : PreTrainedModel or None
        Gives vocabulary, positions, token types and labels: a student that reads what this model reads.
    tokenizer : PreTrainedTokenizerBase or None
        Gives the size of the vocabulary instead.
    vocab_size : int or None
        Gives it before both.
    num_labels : int or None
        None is that of ``like``, or of the configuration, which is 2 unless told.
    head : {"classification", "masked_lm"}

    Returns
    -------
    PreTrainedModel
        Its weights are drawn from torch's own random numbers (``torch.manual_seed``).

    Raises
    ------
    ValueError
        If the shape, the head or a number is not one of those.

    References
    ----------
    Turc et al., "Well-Read Students Learn Better", 2019. Jiao et al., "TinyBERT", 2020. Wang et al., "MiniLM", 2020.
    Sun et al., "MobileBERT", 2020.

    Examples
    --------
    >>> from tabkd.neural import empty_student
    >>> student = empty_student("tinybert-4x312", num_labels=3)
    >>> student.config.num_hidden_layers, student.config.hidden_size, student.config.num_labels
    (4, 312, 3)
    """
    kinds = {
        "classification": transformers.AutoModelForSequenceClassification,
        "masked_lm": transformers.AutoModelForMaskedLM,
    }
    if head not in kinds:
        raise ValueError(f"head must be one of {tuple(kinds)}, got {head!r}.")
    config: Any
    if isinstance(shape, PreTrainedConfig):
        config = copy.deepcopy(shape)
    elif shape in _SHAPES:
        kind, sizes = _SHAPES[shape]
        config = kind(**sizes)
    else:
        raise ValueError(f"shape must be one of {tuple(_SHAPES)}, or a configuration, got {shape!r}.")
    if like is not None:
        _take_over(config, like.config)
    if tokenizer is not None:
        # Ids may have gaps, so that the largest counts and not their number.
        config.vocab_size = max(tokenizer.get_vocab().values()) + 1
        config.pad_token_id = tokenizer.pad_token_id
    for name, value in (("vocab_size", vocab_size), ("num_labels", num_labels)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    if vocab_size is not None:
        config.vocab_size = vocab_size
    if num_labels is not None and num_labels != config.num_labels:
        config.num_labels = num_labels
    return kinds[head].from_config(config)


def _take_over(config: Any, theirs: Any) -> None:
    for name in ("vocab_size", "max_position_embeddings", "type_vocab_size", "pad_token_id", "id2label", "label2id"):
        none = name == "type_vocab_size" and not getattr(theirs, name, 0)  # DeBERTa may do without, BERT may not
        if hasattr(config, name) and hasattr(theirs, name) and not none:
            setattr(config, name, copy.deepcopy(getattr(theirs, name)))

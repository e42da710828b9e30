"""Models and tokenizers in the ways that users give them: folders, names, objects, configurations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

__all__ = [
    "bare",
    "filled",
    "found",
    "freeze",
    "frozen",
    "read_model",
    "read_tokenizer",
    "takes_types",
    "without_advice",
    "without_pooler",
]


@contextmanager
def without_advice() -> Iterator[None]:
    """A new head has to be trained, and is: nobody needs to be told, nor shown how weights are read and written."""
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def found(path: str | Path) -> str:
    """A path that exists, or a hub's name; what looks like a path never reaches the network."""
    text = str(path)
    like_path = isinstance(path, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1 or "\\" in text
    folder = Path(text).expanduser()
    if folder.exists():
        return str(folder)
    if like_path:
        raise FileNotFoundError(f"There is no model in {text!r}: no such folder.")
    return text


def read_tokenizer(tokenizer: Any, model: Any) -> Any:
    """A tokenizer: as given, or the one beside the model.

    Parameters
    ----------
    tokenizer : str, Path, PreTrainedTokenizerBase or None
    model : str, Path, PreTrainedModel or PreTrainedConfig

    Returns
    -------
    PreTrainedTokenizerBase
    """
    if tokenizer is None:
        if not isinstance(model, str | Path):
            raise ValueError("The model is not a path, so its tokenizer is not known. Give tokenizer=.")
        tokenizer = model
    return _tokenizer_in(tokenizer) if isinstance(tokenizer, str | Path) else tokenizer


def _tokenizer_in(path: str | Path) -> Any:
    """The tokenizer of a folder or a hub's name; where there is none, transformers makes one that knows no word."""
    tokenizer = AutoTokenizer.from_pretrained(found(path))
    if set(tokenizer.get_vocab()) <= {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}:
        raise ValueError(
            f"There is no tokenizer in {str(path)!r}. Save the model's own there (tokenizer.save_pretrained), or give "
            "tokenizer=."
        )
    return tokenizer


def bare(model: Any) -> Any:
    """The transformer inside what is put on it here, such as exits or a pooling."""
    inner = getattr(model, "model", None)
    return inner if isinstance(inner, PreTrainedModel) and not isinstance(model, PreTrainedModel) else model


def filled(make: Callable[[], Any], state: Mapping[str, Any], fixed: Collection[str] = ()) -> Any:
    """A model with known weights, some ``fixed``; those drawn for it leave the caller's random numbers alone."""
    with torch.random.fork_rng(devices=[]):
        model = make()
    without_pooler(model, state)
    model.load_state_dict(state)
    return freeze(model, fixed)


def frozen(model: nn.Module) -> list[str]:
    """Names of the parameters that a training leaves as they are."""
    return [name for name, parameter in model.named_parameters() if not parameter.requires_grad]


def freeze(model: nn.Module, names: Collection[str]) -> nn.Module:
    """Leave the parameters of these names as they are, in the model itself."""
    for name, parameter in model.named_parameters():
        if name in names:
            parameter.requires_grad_(False)
    return model


def without_pooler(model: Any, state: Mapping[str, Any]) -> None:
    """Take the pooler out of a model for weights that have none: it is no part of a configuration."""
    pooler = getattr(getattr(model, "base_model", None), "pooler", None)
    if pooler is not None and list(pooler.parameters()) and not any("pooler." in name for name in state):
        model.base_model.pooler = None


def takes_types(model: Any) -> bool:
    """Whether a model reads token types; DeBERTa names them and passes them over."""
    has_none = getattr(getattr(model, "config", None), "type_vocab_size", None) == 0
    return not has_none and "token_type_ids" in signature(model.forward).parameters


def read_model(given: Any, kind: Any, **settings: Any) -> nn.Module:
    """A model to train in float32, with the weights that the given one has for it; nothing that is given is changed.

    Parameters
    ----------
    given : str, Path, PreTrainedModel or PreTrainedConfig
    kind : type
        An ``AutoModel`` class of transformers.
    **settings
        Of the configuration, instead of what it says.

    Returns
    -------
    PreTrainedModel
    """
    if isinstance(given, str | Path):
        with without_advice():
            return kind.from_pretrained(found(given), dtype=torch.float32, **settings)
    given = bare(given)
    new = isinstance(given, PreTrainedConfig)
    if not (new or (isinstance(given, nn.Module) and hasattr(given, "config"))):
        raise TypeError(f"model must be a path or name, a transformers model or its configuration, got {given!r}.")
    config = copy.deepcopy(given if new else given.config)
    config.update(settings)
    model = kind.from_config(config, dtype=torch.float32)
    if new:
        return model
    headless = model.base_model is model or given.base_model is given
    own, theirs = (cast(nn.Module, part.base_model if headless else part) for part in (model, given))
    known = own.state_dict()
    own.load_state_dict({name: value for name, value in theirs.state_dict().items() if name in known}, strict=False)
    freeze(own, frozen(theirs))
    return model

"""What was learnt from what: digests of rows, models and settings, to know a cache or a checkpoint again."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from hashlib import sha256
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["fingerprint"]


def fingerprint(*parts: Any) -> str:
    """A digest of values, the same in every process.

    Parameters
    ----------
    *parts : Any
        Arrays and tensors are read byte by byte, mappings and sequences entry by entry, functions by their code, and
        modules by all that decides what they answer and learn: weights, which of them are frozen, and settings. Of
        anything else it is the ``repr``, without places in memory.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    seen = sha256()
    _read(seen, parts)
    return seen.hexdigest()


def _read(seen: Any, value: Any) -> None:
    if isinstance(value, nn.Module):
        value = _told(value)
    elif isinstance(value, FunctionType):
        value = inspect.unwrap(value).__code__
    if isinstance(value, CodeType):  # wherever it stands in its file
        value = [value.co_code, value.co_names, value.co_consts]
    elif isinstance(value, set | frozenset):
        value = sorted(map(_spelled, value))
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        seen.update(repr((value.dtype, tuple(value.shape))).encode())
        seen.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray) and value.dtype != object:
        seen.update(repr((value.dtype, value.shape)).encode())
        seen.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))  # not copied: it may lie on disk
    elif isinstance(value, Mapping):
        _read(seen, list(value.items()))
    elif isinstance(value, list | tuple):
        seen.update(f"{len(value)} ".encode())
        if all(type(entry) is int for entry in value):
            seen.update(repr(value).encode())  # token ids: one by one they take ten times as long
        else:
            for entry in value:
                _read(seen, entry)
    else:
        seen.update((repr(value) if isinstance(value, str | bytes) else _spelled(value)).encode())


def _spelled(value: Any) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _told(module: nn.Module) -> Any:
    """Its parts, its weights and its buffers."""
    parts = [(name, type(part), _settings(part)) for name, part in module.named_modules()]
    weights = [(name, weight.requires_grad, weight) for name, weight in module.named_parameters()]
    return parts, weights, dict(module.named_buffers())


def _settings(part: nn.Module) -> Any:
    """What a module has beside weights and parts, and what it does with them."""
    if type(part).__module__.startswith("transformers."):  # whose configuration says all, and whose rest changes in use
        config = getattr(part, "config", None)
        return config, getattr(config, "_attn_implementation", None)
    own = {name: value for name, value in vars(part).items() if name != "training" and not name.startswith("_")}
    nested = nn.Module | Mapping | list | tuple  # may hold the module itself
    return type(part).forward, {name: _spelled(v) if isinstance(v, nested) else v for name, v in own.items()}

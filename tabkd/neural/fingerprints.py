"""What was learnt from what: digests of rows, models and settings, to know a cache or a checkpoint again."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["fingerprint"]


def fingerprint(*parts: Any) -> str:
    """A digest of values: of arrays, tensors and modules every byte, of anything else its ``repr``.

    Parameters
    ----------
    *parts : Any
        Mappings and sequences are read entry by entry.

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
        value = value.state_dict()
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
        seen.update(repr(value).encode())

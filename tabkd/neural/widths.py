"""Which units, heads and inner units a narrower transformer keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["narrowed"]

#: What the axes of a layer's parameters count, by the names of BERT's and DistilBERT's; the first group is the layer.
_AXES = (
    (r"(.*\.\d+)\.[a-z]*attention\.(?:self\.)?(?:query|key|value|q_lin|k_lin|v_lin)\.", ("heads", "units")),
    (r"(.*\.\d+)\.[a-z]*attention\.(?:output\.dense|out_lin)\.", ("units", "heads")),
    (r"(.*\.\d+)\.(?:intermediate\.dense|ffn\.lin1)\.", ("inner", "units")),
    (r"(.*\.\d+)\.(?:output\.dense|ffn\.lin2)\.", ("units", "inner")),
)
#: What passes from layer to layer is one place; every layer has heads and inner units of its own.
_Place = tuple[str, str]
_UNITS: _Place = ("", "units")


def narrowed(state: Mapping[str, Tensor], shapes: Mapping[str, torch.Size], head_size: int) -> dict[str, Tensor]:
    """Parameters of a narrower model, cut out of those of a wider one.

    Units are the same in every parameter, so that what the layers add up stays in its place: those with the largest
    weights, each parameter counting as much as any other. Each layer keeps the heads, whole, and the inner units
    with the largest weights on their way out.

    Parameters
    ----------
    state : mapping of str to Tensor
        Parameters of the wider model, under the narrower one's names.
    shapes : mapping of str to torch.Size
        Shapes that the narrower one needs.
    head_size : int
        Units of one head, in both.

    Returns
    -------
    dict of str to Tensor

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.widths import narrowed
    >>> state = {"embeddings.weight": torch.tensor([[1.0, 0.0, 3.0], [1.0, 0.0, 2.0]])}
    >>> narrowed(state, {"embeddings.weight": torch.Size([2, 2])}, head_size=1)["embeddings.weight"]
    tensor([[1., 3.],
            [1., 2.]])
    """
    places = {key: _places(key, value.shape, shapes[key]) for key, value in state.items()}
    scores: dict[_Place, Tensor] = {}
    lengths: dict[_Place, int] = {}
    for key, value in state.items():
        for axis, place in enumerate(places[key]):
            if place is not None and (place == _UNITS or axis == 1):
                scores[place] = scores.get(place, torch.zeros(())) + _shares(value, axis)
                lengths[place] = shapes[key][axis]
    kept = {
        place: _largest(score, lengths[place], group=head_size if place[1] == "heads" else 1)
        for place, score in scores.items()
    }
    return {key: _taken(value, places[key], kept) for key, value in state.items()}


def _places(key: str, shape: torch.Size, narrow: torch.Size) -> list[_Place | None]:
    """What each axis counts; None where nothing is cut."""
    for pattern, names in _AXES:
        found = re.match(pattern, key)
        if found:
            return [_UNITS if name == "units" else (found[1], name) for name, _ in zip(names, shape, strict=False)]
    return [_UNITS if length != short else None for length, short in zip(shape, narrow, strict=True)]


def _shares(value: Tensor, axis: int) -> Tensor:
    """Each entry's part of the sum of squares."""
    squares = value.detach().double().cpu().square().movedim(axis, 0).reshape(value.shape[axis], -1).sum(1)
    return squares / squares.sum().clamp(min=torch.finfo(squares.dtype).tiny)


def _largest(scores: Tensor, n: int, group: int) -> Tensor:
    """Places of the ``n`` largest scores in rising order, by whole groups."""
    best = scores.reshape(-1, group).sum(1).argsort(descending=True, stable=True)[: n // group].sort().values
    return (best[:, None] * group + torch.arange(group)).flatten()


def _taken(value: Tensor, places: list[_Place | None], kept: dict[_Place, Tensor]) -> Tensor:
    for axis, place in enumerate(places):
        if place is not None:
            value = value.index_select(axis, kept[place].to(value.device))
    return value

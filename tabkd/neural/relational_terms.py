"""Terms on relations, which have no width: between the tokens of a row, and between the rows of a batch.

Rows of every weight above 0 are compared with each other alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from numbers import Integral

from torch import Tensor, nn

from tabkd.neural.base import LayerTerm
from tabkd.neural.maps import Layers
from tabkd.neural.outputs import Batch, Outputs, Shape
from tabkd.neural.relations import pooled, relation_kl, relational_angles, relational_distances

__all__ = ["Angles", "Distances", "Relations"]

_PARTS = {"q": "queries", "k": "keys", "v": "values"}
#: Width of the teacher's relation heads in MiniLMv2: 768 / 48 for a base teacher, 1024 / 64 for a large one.
_RELATION_WIDTH = 16


@dataclass(frozen=True)
class Relations(LayerTerm):
    """Relations among queries, keys and values like the teacher's, whatever widths and heads.

    Parameters
    ----------
    kinds : sequence of str, default=("qq", "kk", "vv")
        Two letters each, of q, k and v. The losses are summed.
    heads : int or None, default=None
        Number of relation heads, which divides both widths. None: as many as do and leave the teacher's at least
        16 wide, which is 48 for a base teacher and 64 for a large one, as in the paper.
    layers : str, callable or sequence of pairs of int, default="last"
        See :func:`~tabkd.neural.maps.layer_pairs`. From a large teacher the paper takes layer 21 of 24:
        ``[(6, 21)]``.
    weight : float, default=1.0

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.outputs import Batch, Outputs
    >>> from tabkd.neural.relational_terms import Relations
    >>> student, teacher = (Outputs(None, queries=(torch.ones(1, 5, width),)) for width in (8, 32))
    >>> Relations(["qq"])(student, teacher, Batch(), torch.nn.ModuleDict()) < 1e-6
    tensor(True)
    """

    kinds: Sequence[str] = ("qq", "kk", "vv")
    heads: int | None = None
    layers: Layers = "last"
    weight: float = 1.0
    unit = "tokens"
    _lowest = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        kinds = () if isinstance(self.kinds, str) else self.kinds
        if not kinds or not all(
            isinstance(kind, str) and len(kind) == 2 and set(kind) <= set(_PARTS) for kind in kinds
        ):
            raise ValueError(
                f'kinds must be pairs of the letters q, k and v, got {self.kinds!r}. Try ("qq", "kk", "vv").'
            )
        if self.heads is not None and not (isinstance(self.heads, Integral) and self.heads > 0):
            raise ValueError(f"heads must be a number > 0 or None, got {self.heads!r}. Try 12.")

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """Those of queries, keys and values that its kinds name."""
        return frozenset(_PARTS[letter] for kind in self.kinds for letter in kind)

    def projectors(self, student: Shape, teacher: Shape) -> nn.ModuleDict:
        """Check layers and heads; there is nothing to learn."""
        self._n_heads(student.attention_width or student.width, teacher.attention_width or teacher.width)
        return super().projectors(student, teacher)

    def _n_heads(self, ours: int, theirs: int) -> int:
        shared = gcd(ours, theirs)
        finest = max(n for n in range(1, shared + 1) if shared % n == 0 and (n == 1 or theirs // n >= _RELATION_WIDTH))
        heads = finest if self.heads is None else self.heads
        if shared % heads:
            raise ValueError(
                f"heads must divide the widths of queries, keys and values, got {heads} for width {ours} of the "
                f"student and {theirs} of the teacher. Try {finest}."
            )
        return heads

    def _of_pair(
        self, student: Outputs, m: int, teacher: Outputs, n: int, batch: Batch, projectors: nn.ModuleDict
    ) -> Tensor:
        losses = []
        for kind in self.kinds:
            ours, theirs = (
                (getattr(side, _PARTS[kind[0]])[i - 1], getattr(side, _PARTS[kind[1]])[i - 1])
                for side, i in ((student, m), (teacher, n))
            )
            heads = self._n_heads(ours[0].shape[-1], theirs[0].shape[-1])
            losses.append(relation_kl(ours, theirs, heads, batch.mask, batch.weight))
        return sum(losses[1:], start=losses[0])


@dataclass(frozen=True)
class Distances(LayerTerm):
    """Distances between the rows of a batch like the teacher's, rows being the means of their valid tokens.

    Parameters
    ----------
    layers : str, callable or sequence of pairs of int, default="last"
        See :func:`~tabkd.neural.maps.layer_pairs`.
    weight : float, default=1.0

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.outputs import Batch, Outputs
    >>> from tabkd.neural.relational_terms import Distances
    >>> states = torch.arange(24.0).reshape(4, 2, 3) ** 2
    >>> student, teacher = (Outputs(None, hidden_states=(x, x)) for x in (states, 3 * states))
    >>> Distances()(student, teacher, Batch(), torch.nn.ModuleDict()) < 1e-6
    tensor(True)
    """

    layers: Layers = "last"
    weight: float = 1.0
    needs = frozenset({"hidden_states"})

    def _of_pair(
        self, student: Outputs, m: int, teacher: Outputs, n: int, batch: Batch, projectors: nn.ModuleDict
    ) -> Tensor:
        ours, theirs = pooled(student.hidden_states[m], batch.mask), pooled(teacher.hidden_states[n], batch.mask)
        return relational_distances(ours, theirs)


@dataclass(frozen=True)
class Angles(LayerTerm):
    """Angles that the rows of a batch form like the teacher's, rows being the means of their valid tokens.

    Parameters
    ----------
    layers : str, callable or sequence of pairs of int, default="last"
        See :func:`~tabkd.neural.maps.layer_pairs`.
    weight : float, default=1.0

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.outputs import Batch, Outputs
    >>> from tabkd.neural.relational_terms import Angles
    >>> states = torch.arange(24.0).reshape(4, 2, 3) ** 2
    >>> student, teacher = (Outputs(None, hidden_states=(x, x)) for x in (states, states + 5))
    >>> Angles()(student, teacher, Batch(), torch.nn.ModuleDict()) < 1e-6
    tensor(True)
    """

    layers: Layers = "last"
    weight: float = 1.0
    needs = frozenset({"hidden_states"})

    def _of_pair(
        self, student: Outputs, m: int, teacher: Outputs, n: int, batch: Batch, projectors: nn.ModuleDict
    ) -> Tensor:
        ours, theirs = pooled(student.hidden_states[m], batch.mask), pooled(teacher.hidden_states[n], batch.mask)
        return relational_angles(ours, theirs)

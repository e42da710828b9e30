"""Losses on relations: between the tokens of a row, and between the rows of a batch.

As in :mod:`tabkd.neural.functions`, masks are true for valid tokens and means are over those. Relations have no
width, so a student of any width compares with its teacher without a projector.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tabkd.neural.functions import check_same_shape, masked_mean

__all__ = ["pooled", "relation_kl", "relational_angles", "relational_distances"]

#: Legs and mean distances below this have no direction and no scale.
_SHORT = 1e-8


def _relation_scores(left: Tensor, right: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """Scaled dot products (batch, heads, length, length), as low as can be at padded keys."""
    if left.shape[-1] % heads:
        raise ValueError(
            f"heads must divide the width of queries, keys and values, got {heads} heads and width "
            f"{left.shape[-1]}. Try heads=None."
        )
    left, right = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (left, right))
    scores = left @ right.transpose(-1, -2) / math.sqrt(left.shape[-1])
    if mask is None:
        return scores
    # Finite, for rows without a valid key: a softmax of nothing but -inf is NaN.
    return scores.masked_fill(~mask.bool()[:, None, None, :], torch.finfo(scores.dtype).min)


def relation_kl(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    heads: int,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Kullback-Leibler divergence of self-attention relations, over valid queries and relation heads.

    Both tensors are split into relation heads, whatever heads the models have; the relation is
    :math:`R = softmax_{j \in valid}(a_i \cdot b_j / \sqrt{d})`, d being the width of a relation head, and the loss
    :math:`\mathrm{mean}_{h, i \in valid} \sum_j R^t_{hij} \log(R^t_{hij} / R^s_{hij})`. Widths may differ.

    Parameters
    ----------
    student, teacher : tuple of two Tensors of shape (batch, length, width)
        Queries twice for the query-query relation, and so on.
    heads : int
        Number of relation heads; divides both widths.
    mask : Tensor of shape (batch, length) or None, default=None
    weight : Tensor of shape (batch,) or None, default=None

    Returns
    -------
    Tensor
        A scalar.

    References
    ----------
    Wang et al., "MiniLMv2: Multi-Head Self-Attention Relation Distillation", 2021, equations 4 to 7.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.relations import relation_kl
    >>> queries = torch.eye(4)[None]
    >>> narrow = queries[..., :2]
    >>> relation_kl((narrow, narrow), (queries, queries), heads=2)
    tensor(0.0359)
    """
    scores = _relation_scores(*student, heads, mask)
    expected = F.softmax(_relation_scores(*teacher, heads, mask), dim=-1)
    check_same_shape(scores, expected)
    divergence = F.kl_div(F.log_softmax(scores, dim=-1), expected, reduction="none").sum(-1)
    return masked_mean(divergence, None if mask is None else mask[:, None, :], weight)


def pooled(hidden: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""One vector per row: the mean of its valid tokens.

    Parameters
    ----------
    hidden : Tensor of shape (batch, length, width) or (batch, width)
        The latter is returned as it is.
    mask : Tensor of shape (batch, length) or None, default=None

    Returns
    -------
    Tensor of shape (batch, width)

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.relations import pooled
    >>> pooled(torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]]), torch.tensor([[1, 1, 0]]))
    tensor([[2., 3.]])
    """
    if hidden.dim() == 2:
        return hidden
    if mask is None:
        return hidden.mean(1)
    valid = mask.bool()[..., None]
    return torch.where(valid, hidden, 0.0).sum(1) / valid.sum(1).clamp(min=1)


def _precise(rows: Tensor) -> Tensor:
    """Half precision has no kernel for distances, and loses small ones."""
    return rows if rows.dtype == torch.float64 else rows.float()


def relational_distances(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Difference of the distances between rows, each side in units of its mean distance.

    :math:`\mathrm{mean}_{i < j} \, \ell(d^s_{ij} / \bar d^s, d^t_{ij} / \bar d^t)` with :math:`d_{ij} = \lVert x_i -
    x_j \rVert` and the smooth L1 loss. Widths may differ.

    Parameters
    ----------
    student, teacher : Tensor of shape (batch, width)

    Returns
    -------
    Tensor
        A scalar; 0 for fewer than two rows.

    References
    ----------
    Park et al., "Relational Knowledge Distillation", 2019, equations 6 to 8.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.relations import relational_distances
    >>> rows = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    >>> relational_distances(rows, 10 * rows)
    tensor(0.)
    """
    ours, theirs = (_relative_distances(rows) for rows in (student, teacher))
    return masked_mean(F.smooth_l1_loss(ours, theirs, reduction="none"), None)


def _relative_distances(rows: Tensor) -> Tensor:
    distances = F.pdist(_precise(rows))
    return distances / masked_mean(distances, None).clamp(min=_SHORT)


def relational_angles(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Difference of the angles that rows form.

    :math:`\mathrm{mean}_{i \ne j \ne k} \, \ell(\cos^s_{ijk}, \cos^t_{ijk})` over triples of different rows, with
    :math:`\cos_{ijk}` the cosine between :math:`x_i - x_j` and :math:`x_k - x_j` and the smooth L1 loss. Rows that
    coincide form no angle and are left out. Widths may differ.

    Parameters
    ----------
    student, teacher : Tensor of shape (batch, width)

    Returns
    -------
    Tensor
        A scalar; 0 for fewer than three rows.

    References
    ----------
    Park et al., "Relational Knowledge Distillation", 2019, equations 9 and 10.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.relations import relational_angles
    >>> line = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    >>> corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    >>> relational_angles(line, line + 7), relational_angles(line, corner).round(decimals=4)
    (tensor(0.), tensor(0.1953))
    """
    (ours, known), (theirs, known_too) = (_cosines(rows) for rows in (student, teacher))
    different = ~torch.eye(len(student), dtype=torch.bool, device=student.device)
    return masked_mean(F.smooth_l1_loss(ours, theirs, reduction="none"), known & known_too & different)


def _cosines(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines at row j of rows i and k, entry (j, i, k), and where both legs have a length."""
    rows = _precise(rows)
    legs = rows[None] - rows[:, None]
    lengths = legs.norm(dim=-1, keepdim=True)
    units = legs / lengths.clamp(min=_SHORT)
    long = lengths[..., 0] > _SHORT
    return units @ units.transpose(-1, -2), long[:, :, None] & long[:, None, :]

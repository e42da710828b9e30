"""Losses between a student and a teacher as pure functions of tensors.

Masks are of shape ``(batch, length)``, true for valid tokens; ``None`` takes all. Means are over valid tokens,
or valid pairs of them; where there are none, the loss is a zero that still belongs to the graph.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "activation_boundary",
    "attention_kl",
    "attention_mse",
    "check_same_shape",
    "cross_entropy",
    "hidden_cosine",
    "hidden_mse",
    "masked_mean",
    "soft_kl",
    "squared_error",
]


def masked_mean(values: Tensor, valid: Tensor | None, weight: Tensor | None = None) -> Tensor:
    """Mean over valid entries; where there are none, a 0 that still belongs to the graph.

    Parameters
    ----------
    values : Tensor
    valid : Tensor or None
        Broadcasts to ``values``. None: all are.
    weight : Tensor or None, default=None
        Of the rows, or of the shape of ``values``; 0 or more.

    Returns
    -------
    Tensor
        A scalar.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.functions import masked_mean
    >>> masked_mean(torch.tensor([1.0, 3.0, 9.0]), torch.tensor([1, 1, 0]))
    tensor(2.)
    """
    if valid is None:
        valid = torch.ones_like(values, dtype=torch.bool)
    valid = valid.bool().expand_as(values)
    if weight is None:
        return torch.where(valid, values, 0.0).sum() / valid.sum().clamp(min=1)
    weight = weight.reshape(weight.shape + (1,) * (values.dim() - weight.dim())) * valid
    total = weight.sum()
    return (torch.where(valid, values, 0.0) * weight).sum() / torch.where(total > 0, total, 1.0)


def check_same_shape(student: Tensor, teacher: Tensor) -> None:
    """Raise unless both tensors have one shape: broadcasting would compare what does not belong together.

    Parameters
    ----------
    student, teacher : Tensor

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"student and teacher must give tensors of one shape, got {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}. Give both the same rows and tokens; classes must be alike, widths projected."
        )


def soft_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0, weight: Tensor | None = None) -> Tensor:
    r"""Kullback-Leibler divergence of softened predictions, times the temperature squared.

    :math:`T^2 \, \mathrm{mean}_i \sum_c p_{ic} \log(p_{ic} / q_{ic})` with :math:`p = softmax(t / T)` and
    :math:`q = softmax(s / T)`. The factor keeps gradients of one size whatever the temperature.

    Parameters
    ----------
    student : Tensor of shape (batch, classes)
        Logits.
    teacher : Tensor of shape (batch, classes)
        Logits or log-probabilities; ``-inf`` is a probability of 0.
    temperature : float, default=1.0
    weight : Tensor of shape (batch,) or None, default=None

    Returns
    -------
    Tensor
        A scalar.

    References
    ----------
    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.functions import soft_kl
    >>> soft_kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.9, 0.1]]).log())
    tensor(0.3681)
    """
    check_same_shape(student, teacher)
    expected = F.softmax(teacher / temperature, dim=-1)
    divergence = F.kl_div(F.log_softmax(student / temperature, dim=-1), expected, reduction="none").sum(-1)
    return temperature**2 * masked_mean(divergence, None, weight)


def cross_entropy(student: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Cross-entropy on the rows that have a label.

    :math:`\mathrm{mean}_i -\log q_{i y_i}` with :math:`q = softmax(s)`.

    Parameters
    ----------
    student : Tensor of shape (batch, classes)
        Logits.
    labels : Tensor of int64 of shape (batch,)
        Class numbers; -100 where a row has none.
    weight : Tensor of shape (batch,) or None, default=None

    Returns
    -------
    Tensor
        A scalar.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.functions import cross_entropy
    >>> cross_entropy(torch.tensor([[0.0, 0.0], [9.0, 0.0]]), torch.tensor([1, -100]))
    tensor(0.6931)
    """
    losses = F.cross_entropy(student, labels, ignore_index=-100, reduction="none")
    return masked_mean(losses, labels != -100, weight)


def squared_error(student: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Squared error on the rows that have a target: :math:`\mathrm{mean}_i (s_i - y_i)^2`.

    Parameters
    ----------
    student : Tensor of shape (batch,) or (batch, 1)
    target : Tensor of the same shape
        NaN where a row has none.
    weight : Tensor of shape (batch,) or None, default=None

    Returns
    -------
    Tensor
        A scalar.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.functions import squared_error
    >>> squared_error(torch.tensor([1.0, 5.0]), torch.tensor([3.0, float("nan")]))
    tensor(4.)
    """
    check_same_shape(student, target)
    known = ~target.isnan()
    # Filled before the difference: the gradient of a NaN that is masked afterwards is NaN.
    return masked_mean((student - target.nan_to_num()).square(), known, weight)


def hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
    r"""Mean squared difference of hidden states.

    :math:`\mathrm{mean}_{i \in valid} \frac{1}{d} \lVert s_i - t_i \rVert^2`, for embeddings as for encoders.

    Parameters
    ----------
    student, teacher : Tensor of shape (batch, length, width)
    mask : Tensor of shape (batch, length) or None, default=None
    weight : Tensor of shape (batch,) or None, default=None

    Returns
    -------
    Tensor
        A scalar.

    References
    ----------
    Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", 2020, equations 8 and 9.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.functions import hidden_mse
    >>> hidden_mse(torch.zeros(1, 2, 3), torch.tensor([[[2.0] * 3, [9.0] * 3]]), torch.tensor([[1, 0]]))
    tensor(4.)
    """
    check_same_shape(student, teacher)
    return masked_mean((student - teacher).square().mean(-1), mask, weight)


def hidden_cosine(student: Tensor, teacher: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
    r"""One minus the cosine between hidden states: :math:`\mathrm{mean}_{i \in valid} \, 1 - \cos(s_i, t_i)`.

    Parameters
    ----------
    student, teacher : Tensor of shape (batch, length, width)
    mask : Tensor of shape (batch, length) or None, default=None
    weight : Tensor of shape (batch,) or None, default=None

    Returns
    -------
    Tensor
        A scalar.

    References
    ----------
    Sanh et al., "DistilBERT, a distilled version of BERT", 2019.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.functions import hidden_cosine
    >>> hidden_cosine(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 5.0]]]))
    tensor(1.)
    """
    check_same_shape(student, teacher)
    return masked_mean(1 - F.cosine_similarity(student, teacher, dim=-1), mask, weight)


def activation_boundary(
    student: Tensor, teacher: Tensor, mask: Tensor | None = None, margin: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    r"""Push each unit of the student to the side of zero where the teacher's is, past a margin.

    :math:`\mathrm{mean}_{i \in valid, u} \, [t_{iu} > 0] \max(0, \mu - s_{iu})^2 + [t_{iu} \le 0] \max(0, \mu +
    s_{iu})^2`. The paper sums over units; the mean does not grow with the width.

    Parameters
    ----------
    student, teacher : Tensor of shape (batch, length, width)
    mask : Tensor of shape (batch, length) or None, default=None
    margin : float, default=1.0
    weight : Tensor of shape (batch,) or None, default=None

    Returns
    -------
    Tensor
        A scalar.

    References
    ----------
    Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons", 2019.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.functions import activation_boundary
    >>> activation_boundary(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[0.2, -0.2]]]))
    tensor(2.)
    """
    check_same_shape(student, teacher)
    side = torch.where(teacher > 0, 1.0, -1.0)
    return masked_mean(F.relu(margin - side * student).square().mean(-1), mask, weight)


def _pairs_of_tokens(mask: Tensor | None) -> Tensor | None:
    """Shape (batch, 1, length, length): true where both tokens are valid."""
    return None if mask is None else mask.bool()[:, None, :, None] & mask.bool()[:, None, None, :]


def attention_kl(student: Tensor, teacher: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
    r"""Kullback-Leibler divergence of attention, over valid queries and heads.

    :math:`\mathrm{mean}_{h, i \in valid} \sum_{j \in valid} t_{hij} \log(t_{hij} / s_{hij})`.

    Parameters
    ----------
    student, teacher : Tensor of shape (batch, heads, length, length)
        Probabilities, queries before keys.
    mask : Tensor of shape (batch, length) or None, default=None
    weight : Tensor of shape (batch,) or None, default=None

    Returns
    -------
    Tensor
        A scalar.

    References
    ----------
    Wang et al., "MiniLM: Deep Self-Attention Distillation", 2020, equation 5. Sun et al., "MobileBERT", 2020.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.functions import attention_kl
    >>> attention_kl(torch.full((1, 1, 2, 2), 0.5), torch.eye(2)[None, None])
    tensor(0.6931)
    """
    check_same_shape(student, teacher)
    tiny = torch.finfo(student.dtype).tiny
    divergence = F.kl_div(student.clamp(min=tiny).log(), teacher, reduction="none")
    pairs = _pairs_of_tokens(mask)
    if pairs is not None:
        divergence = torch.where(pairs, divergence, 0.0)
    return masked_mean(divergence.sum(-1), None if mask is None else mask[:, None, :], weight)


def attention_mse(student: Tensor, teacher: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
    r"""Mean squared difference of attention: :math:`\mathrm{mean}_{h, i, j \in valid} (s_{hij} - t_{hij})^2`.

    TinyBERT compares scores before the softmax. The formula is the same for them, if both sides are given so.

    Parameters
    ----------
    student, teacher : Tensor of shape (batch, heads, length, length)
    mask : Tensor of shape (batch, length) or None, default=None
    weight : Tensor of shape (batch,) or None, default=None

    Returns
    -------
    Tensor
        A scalar.

    References
    ----------
    Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", 2020, equation 7.

    Examples
    --------
    >>> import torch
    >>> from tabkd.neural.functions import attention_mse
    >>> attention_mse(torch.full((1, 1, 2, 2), 0.5), torch.eye(2)[None, None])
    tensor(0.2500)
    """
    check_same_shape(student, teacher)
    return masked_mean((student - teacher).square(), _pairs_of_tokens(mask), weight)

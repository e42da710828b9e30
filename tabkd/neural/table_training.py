"""Training on tables, in a loop of its own.

A step of a small perceptron took 1.4 ms here, and 4.9 ms by ``Trainer``, which is made for steps that take long
(``benchmarks/bench_table_students.py --parts loop``). Terms and the module that holds the loss are those of
the other networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise, starmap
from math import ceil, cos, pi
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from tabkd.neural.base import Term
from tabkd.neural.distiller import Distiller
from tabkd.neural.networks import check_finite
from tabkd.neural.outputs import Batch, Outputs, Shape

__all__ = ["Plan", "Remembered", "Rows", "train"]

#: Share of the steps in which the learning rate rises; afterwards it falls along a cosine.
_RISE = 0.1


@dataclass
class Rows:
    """Encoded rows with what is to be learnt from them.

    Attributes
    ----------
    features : Tensor of shape (n_rows, n_features)
    labels : Tensor or None
        Class codes, -100 where there is none; values, NaN where there is none.
    log_soft : Tensor of shape (n_rows, n_outputs) or None
    weight : Tensor of shape (n_rows,) or None
    numbers : Tensor of shape (n_rows,)
        Of the rows, by which a teacher remembers them.
    """

    features: Tensor
    labels: Tensor
    log_soft: Tensor | None
    weight: Tensor | None
    numbers: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: Tensor | slice) -> Rows:
        """Some of the rows."""
        return self._each(lambda value: value[rows])

    def to(self, device: str) -> Rows:
        """The same elsewhere."""
        return self._each(lambda value: value.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Rows:
        changed: dict[str, Any] = {name: None if v is None else change(v) for name, v in vars(self).items()}
        return Rows(**changed)

    def counts(self) -> dict[str, Tensor]:
        """What each row counts for in what a term may be a mean over: a row is one token."""
        labels = self.labels
        known = ~labels.isnan().any(-1) if labels.is_floating_point() else labels >= 0
        weight = torch.ones(len(self), device=labels.device) if self.weight is None else self.weight
        return {"rows": weight, "tokens": weight, "labels": weight * known}


class Remembered(nn.Module):
    """A teacher whose hidden states of every row are known: it is run once, not in every epoch.

    Parameters
    ----------
    states : sequence of Tensor of shape (n_rows, width)
    shape : Shape
    """

    def __init__(self, states: Sequence[Tensor], shape: Shape) -> None:
        super().__init__()
        self.states = list(states)
        self.shape = shape

    def forward(self, numbers: Tensor, output_hidden_states: bool = True) -> Outputs:
        """The states of some rows."""
        return Outputs(None, tuple(state[numbers.to(state.device)].to(numbers.device) for state in self.states))


@dataclass
class Plan:
    """How a training runs.

    Attributes
    ----------
    epochs, batch_size : int
    learning_rate, weight_decay : float
    patience : int or None
        Epochs without a better loss on the watched rows after which it ends.
    generator : torch.Generator
        Shuffles the rows.
    watched_terms : sequence of Term
        What the loss on the watched rows is.
    verbose : int
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int | None
    generator: torch.Generator
    watched_terms: Sequence[Term]
    verbose: int = 0


def train(
    student: nn.Module,
    terms: Sequence[Term],
    rows: Rows,
    watched: Rows | None,
    plan: Plan,
    teacher: Remembered | None = None,
) -> list[dict[str, float]]:
    """Train a student in place; where rows are watched, it ends with the weights of its best epoch.

    Parameters
    ----------
    student : Module
    terms : sequence of Term
    rows : Rows
    watched : Rows or None
    plan : Plan
    teacher : Remembered or None

    Returns
    -------
    list of dict
        ``epoch`` and, where rows are watched, their ``loss``.

    Raises
    ------
    ValueError
        If the weights leave what floating-point numbers can hold.
    """
    distiller = Distiller(student, terms, teacher=teacher).to(rows.features.device).train()
    rates = _Rates(distiller, plan, ceil(len(rows) / plan.batch_size))
    history: list[dict[str, float]] = []
    best, best_epoch, kept = float("inf"), 0, {}
    for epoch in tqdm(range(1, plan.epochs + 1), disable=not plan.verbose, unit="epoch"):
        _epoch(distiller, rows, rates, plan.generator)
        history.append({"epoch": epoch})
        if watched is None:
            continue
        loss = history[-1]["loss"] = _loss(student, plan.watched_terms, watched)
        if loss < best:
            best, best_epoch, kept = loss, epoch, deepcopy(student.state_dict())
        elif plan.patience is not None and epoch - best_epoch >= plan.patience:
            break
    if kept:
        student.load_state_dict(kept)
    check_finite(student, plan.learning_rate)
    return history


class _Rates:
    """An optimizer whose learning rate rises, then falls."""

    def __init__(self, distiller: Distiller, plan: Plan, n_batches: int) -> None:
        self.n_batches, self.n_steps, self.taken = n_batches, n_batches * plan.epochs, 0
        self.highest = plan.learning_rate
        self.optimizer = torch.optim.AdamW(distiller.parameters(), weight_decay=plan.weight_decay, fused=True)

    def step(self) -> None:
        done, rise = (self.taken + 1) / self.n_steps, _RISE
        share = done / rise if done < rise else (1 + cos(pi * (done - rise) / (1 - rise))) / 2
        self.optimizer.param_groups[0]["lr"] = self.highest * share
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.taken += 1


def _epoch(distiller: Distiller, rows: Rows, rates: _Rates, generator: torch.Generator) -> None:
    rows = rows.take(torch.randperm(len(rows), generator=generator).to(rows.features.device))
    counts = rows.counts()
    mean = float(counts["rows"].mean())
    uneven = [name for name, count in counts.items() if count.min() != count.max()]
    bounds = [i * len(rows) // rates.n_batches for i in range(rates.n_batches + 1)]
    for batch in starmap(slice, pairwise(bounds)):
        some = rows.take(batch)
        given: Any = {"features": some.features, "numbers": some.numbers} if distiller.looks_inside else some.features
        # Terms are means over what a batch has: without shares, a row would count for more in a batch of light ones,
        # and a label for more where few rows have any.
        shares = {name: float(counts[name][batch].mean()) / mean for name in uneven}
        distiller(given, some.labels, some.log_soft, some.weight, shares)["loss"].backward()
        rates.step()


def _loss(student: nn.Module, terms: Sequence[Term], rows: Rows) -> float:
    """At temperature 1."""
    with torch.inference_mode():
        student.eval()
        found = Outputs(student(rows.features).logits)
        student.train()
        batch, taught = Batch(None, rows.labels, rows.weight), Outputs(rows.log_soft)
        return float(sum(term.weight * term(found, taught, batch, nn.ModuleDict()) for term in terms))

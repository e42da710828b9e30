"""What is done to a network of any kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Affine", "check_finite", "evaluating"]


class Affine(nn.Module):
    """Values on another scale."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: np.ndarray, shift: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float32))

    def forward(self, values: Tensor) -> Tensor:
        return values * self.scale + self.shift


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards the model is where it was, and each part in its own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    home = next((parameter.device for parameter in model.parameters()), "cpu")
    model.eval()
    try:
        yield
    finally:
        model.to(home)
        for module, mode in modes:
            module.training = mode


def check_finite(student: nn.Module, learning_rate: float) -> None:
    """Raise if weights left what floating-point numbers can hold."""
    if not all(values.isfinite().all() for values in student.parameters()):
        raise ValueError(f"The training diverged: weights are not finite. Lower learning_rate={learning_rate}.")

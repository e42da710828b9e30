"""Tables that several test files share."""

from __future__ import annotations

import os

# The tables are small: threads that spin while they wait for a busy core cost more than they give. Before NumPy loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import onnxruntime
import pandas as pd
import pytest

N_ROWS = 400

#: For files with ``TreeEnsemble``, which older runtimes lack or run wrongly.
needs_new_runtime = pytest.mark.skipif(
    tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 24), reason="ai.onnx.ml 5 needs onnxruntime 1.24"
)


@pytest.fixture(scope="session")
def numbers() -> pd.DataFrame:
    """400 rows of four float64 columns ``a`` to ``d``."""
    return pd.DataFrame(np.random.default_rng(0).normal(size=(N_ROWS, 4)), columns=list("abcd"))


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """What the labels depend on beside the columns ``a`` and ``b``."""
    return np.random.default_rng(1).normal(scale=0.7, size=N_ROWS)


@pytest.fixture(scope="session")
def two(numbers: pd.DataFrame, noise: np.ndarray) -> np.ndarray:
    """Labels 0 and 1 for ``numbers``."""
    return (numbers["a"] + numbers["b"] + noise > 0.4).to_numpy().astype(int)


@pytest.fixture(scope="session")
def three(numbers: pd.DataFrame, noise: np.ndarray) -> np.ndarray:
    """Labels ``"high"``, ``"low"`` and ``"middle"`` for ``numbers``."""
    level = np.digitize(numbers["a"] + numbers["b"] + noise, [-0.8, 0.6])
    return np.array(["low", "middle", "high"])[level]


@pytest.fixture(scope="session")
def weights() -> np.ndarray:
    """Positive row weights for ``numbers``."""
    return np.random.default_rng(2).uniform(0.2, 3.0, size=N_ROWS)


@pytest.fixture(scope="session")
def mixed(numbers: pd.DataFrame) -> pd.DataFrame:
    """``numbers`` and a text column ``city`` with missing values."""
    cities = np.random.default_rng(3).choice(["Seoul", "Busan", "Jeju", None], size=N_ROWS, p=[0.5, 0.3, 0.1, 0.1])
    return numbers.assign(city=pd.Series(cities, dtype=object))

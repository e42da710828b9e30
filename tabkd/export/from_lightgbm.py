"""LightGBM's trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from tabkd.export.trees import Tree, Trees, whole_numbers, with_sets

__all__ = ["output_link", "read_lightgbm"]

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_ZERO, _NAN = 1, 2  # kinds of missing value, in the bits above
_TINY = float(np.float32(1e-35))
#: Objectives whose regressors answer with a function of the sum of their trees.
_LINKS = {"poisson": "exp", "gamma": "exp", "tweedie": "exp", "cross_entropy": "sigmoid"}
_IDENTITY = ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "custom", "none")


def output_link(estimator: Any) -> str:
    """What LightGBM applies to the sum of a regressor's trees: ``"identity"``, ``"exp"`` or ``"sigmoid"``.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    words = _header(estimator).get("objective", "custom").split()
    if words[0] in _IDENTITY and "sqrt" not in words:
        return "identity"
    if words[0] not in _LINKS:
        raise ValueError(
            f"LightGBM's objective {' '.join(words)!r} cannot be exported exactly. Use 'regression', 'poisson', "
            "'gamma', 'tweedie' or 'cross_entropy'."
        )
    return _LINKS[words[0]]


def read_lightgbm(estimator: Any, n_features: int) -> Trees:
    """The trees of a fitted ``LGBMClassifier`` or ``LGBMRegressor``.

    Parameters
    ----------
    estimator : LGBMModel
    n_features : int
        Columns of the matrix that it reads.

    Returns
    -------
    Trees
        Their sum are the raw scores; a random forest's is its mean.

    Raises
    ------
    ValueError
        If the model has linear leaves, takes zeros for missing, or leaves out trees for some rows.
    """
    if estimator.get_params().get("pred_early_stop"):
        raise ValueError("LightGBM's pred_early_stop=True leaves out trees, as no file does. Fit without it.")
    booster = estimator.booster_
    header, n_outputs = _header(estimator), booster.num_model_per_iteration()
    best = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
    blocks = [_fields(block) for block in _text(estimator).split("\nTree=")[1 : 1 + best * n_outputs]]
    factor = 1 / best if "average_output" in header else 1.0
    trees = [_read(block, k % n_outputs, n_outputs, factor) for k, block in enumerate(blocks)]
    return Trees(trees, np.zeros(n_outputs), n_features)


def _text(estimator: Any) -> str:
    return estimator.booster_.model_to_string(num_iteration=-1).partition("\nend of trees")[0]


def _fields(block: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in block.splitlines())}


def _header(estimator: Any) -> dict[str, str]:
    return _fields(_text(estimator).partition("\nTree=")[0])


def _read(block: dict[str, str], output: int, n_outputs: int, factor: float) -> Tree:
    if block.get("is_linear", "0") != "0":
        raise ValueError("LightGBM's linear_tree=True cannot be exported: leaves are numbers. Fit without it.")
    leaf_value = np.array(block["leaf_value"].split(), dtype=float) * factor
    n_leaves = len(leaf_value)
    placed = np.zeros((n_leaves, n_outputs))
    placed[:, output] = leaf_value
    if n_leaves == 1:
        return Tree.leaf(placed[0])
    feature = np.array(block["split_feature"].split(), dtype=np.intp)
    kind = np.array(block["decision_type"].split(), dtype=int)
    threshold = np.array(block["threshold"].split(), dtype=float)
    left, right = (np.array(block[side].split(), dtype=np.intp) for side in ("left_child", "right_child"))
    n_inner = len(feature)
    # Inner nodes come first, then leaves: LightGBM counts leaves as -1, -2, ...
    left, right = (np.where(child < 0, n_inner - 1 - child, child) for child in (left, right))
    categorical, default_left, missing = kind & _CATEGORICAL > 0, kind & _DEFAULT_LEFT > 0, kind >> 2
    if (missing[~categorical] == _ZERO).any():
        raise ValueError("LightGBM's zero_as_missing=True cannot be exported exactly. Put NaN for missing, fit anew.")
    # Where the training rows had no missing value, LightGBM takes NaN for zero.
    goes_left = np.where(missing == _NAN, default_left, threshold >= 0) & ~categorical
    tree = Tree(
        feature=np.concatenate([feature, np.full(n_leaves, -1)]),
        threshold=np.concatenate([np.where(categorical, 0, _past_zero(threshold)), np.zeros(n_leaves)]),
        yes=np.concatenate([left, np.zeros(n_leaves, dtype=np.intp)]),
        no=np.concatenate([right, np.zeros(n_leaves, dtype=np.intp)]),
        missing=np.concatenate([goes_left, np.zeros(n_leaves, dtype=bool)]),
        value=np.concatenate([np.zeros((n_inner, n_outputs)), placed]),
    )
    if not categorical.any():
        return tree
    boundaries, words = (np.array(block[name].split(), dtype=np.int64) for name in ("cat_boundaries", "cat_threshold"))
    sets = {}
    for node in np.flatnonzero(categorical).tolist():
        start, stop = boundaries[int(threshold[node])], boundaries[int(threshold[node]) + 1]
        bits = (words[start:stop, None] >> np.arange(32)) & 1
        sets[node] = whole_numbers(np.flatnonzero(bits.ravel()), towards_zero=True)
    return with_sets(tree, sets)


def _past_zero(threshold: np.ndarray) -> np.ndarray:
    """Thresholds that take the numbers which LightGBM reads as zero to the side of zero."""
    below_zero = np.where((threshold >= -_TINY) & (threshold < 0), np.nextafter(-_TINY, -1), threshold)
    return np.where((threshold >= 0) & (threshold < _TINY), _TINY, below_zero)

"""XGBoost's trees."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tabkd.export.trees import Tree, Trees, below, whole_numbers, with_sets

__all__ = ["output_link", "read_xgboost"]

_EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie")
_IDENTITY = ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror")
#: Rows on which the intercept is found out.
_N_PROBES = 64


def output_link(estimator: Any) -> str:
    """What XGBoost applies to the sum of a regressor's trees: ``"identity"``, ``"exp"`` or ``"sigmoid"``.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    name = estimator.objective
    if name == "reg:logistic":
        return "sigmoid"
    if name in _EXPONENTIAL:
        return "exp"
    if name is None or callable(name) or name in _IDENTITY:
        return "identity"
    raise ValueError(f"XGBoost's objective {name!r} cannot be exported exactly. Use 'reg:squarederror'.")


def read_xgboost(estimator: Any, n_features: int) -> Trees:
    """The trees of a fitted ``XGBClassifier``, ``XGBRegressor`` or one of their forests.

    Parameters
    ----------
    estimator : XGBModel
    n_features : int
        Columns of the matrix that it reads.

    Returns
    -------
    Trees
        Their sum are the margins.

    Raises
    ------
    ValueError
        If the model is linear, or has trees of several outputs each.
    """
    booster = estimator.get_booster()
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    boosting = learner["gradient_booster"]
    if boosting["name"] == "gblinear":
        raise ValueError("XGBoost's booster='gblinear' has no trees. Use a linear model of scikit-learn.")
    model = boosting["gbtree"]["model"] if boosting["name"] == "dart" else boosting["model"]
    if any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in model["trees"]):
        raise ValueError("XGBoost's multi_strategy='multi_output_tree' cannot be exported. Use 'one_output_per_tree'.")
    counts = learner["learner_model_param"]
    n_outputs = max(1, int(counts["num_class"]), int(counts.get("num_target", 1)))
    n_rounds = estimator.best_iteration + 1 if estimator.early_stopping_rounds else booster.num_boosted_rounds()
    n_trees = int(model["iteration_indptr"][n_rounds])
    factors = boosting.get("weight_drop", np.ones(n_trees))
    trees = [
        _read(tree, output, n_outputs, float(factor))
        for tree, output, factor in zip(model["trees"][:n_trees], model["tree_info"], factors, strict=False)
    ]
    started = Trees(trees, np.zeros(n_outputs), n_features)
    return Trees(trees, _intercept(estimator, started, n_rounds), n_features)


def _intercept(estimator: Any, trees: Trees, n_rounds: int) -> np.ndarray:
    """What the margins hold beside the trees: XGBoost keeps it on scales that differ between releases."""
    X = np.random.default_rng(0).integers(0, 2, (_N_PROBES, trees.n_features)).astype(np.float32)  # categories, too
    margins = estimator.get_booster().inplace_predict(
        X, iteration_range=(0, n_rounds), predict_type="margin", validate_features=False
    )
    return (margins.reshape(len(X), -1) - trees.scores(X)).mean(axis=0)


def _read(tree: dict[str, Any], output: int, n_outputs: int, factor: float) -> Tree:
    left, right = (np.array(tree[f"{side}_children"], dtype=np.intp) for side in ("left", "right"))
    leaf = left < 0
    condition = np.array(tree["split_conditions"], dtype=np.float32).astype(float)
    default_left = np.array(tree["default_left"], dtype=bool)
    categorical = np.array(tree["split_type"], dtype=bool) & ~leaf
    value = np.zeros((len(leaf), n_outputs))
    value[leaf, output] = condition[leaf] * factor
    # Members of a category set go right.
    read = Tree(
        feature=np.where(leaf, -1, np.array(tree["split_indices"], dtype=np.intp)),
        threshold=np.where(leaf | categorical, 0, below(condition)),
        yes=np.where(leaf, 0, np.where(categorical, right, left)),
        no=np.where(leaf, 0, np.where(categorical, left, right)),
        missing=np.where(categorical, ~default_left, default_left) & ~leaf,
        value=value,
    )
    categories = np.array(tree["categories"], dtype=float)
    segments = zip(tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True)
    return with_sets(read, {node: whole_numbers(categories[start : start + size]) for node, start, size in segments})

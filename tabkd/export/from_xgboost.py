"""XGBoost's trees."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from typing import Any

import numpy as np

from tabkd._compat import is_regressor
from tabkd.export.trees import Tree, Trees, below, whole_numbers, with_sets

__all__ = ["output_link", "read_xgboost"]

_EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie")
_SIGMOID = ("reg:logistic", "binary:logistic")
_IDENTITY = (
    *("reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror"),
    "binary:logitraw",
)
#: Objectives whose classifiers answer with the sigmoid or the softmax of the margins.
_PROBABILITIES = (*_SIGMOID, "multi:softprob", "multi:softmax")
#: More than half of the text, and nothing that predictions need. A quote inside a name is escaped, so no name matches.
_UNUSED = re.compile(rb'"(?:base_weights|loss_changes|sum_hessian|parents)":\[[^\]]*\],')
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
    if name in _SIGMOID:
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
        If the model is linear, has trees of several outputs each, or takes a number for missing; or if a classifier's
        probabilities are no sigmoid or softmax of its margins.
    """
    booster = estimator.get_booster()
    if not (estimator.missing is None or np.isnan(estimator.missing)):
        raise ValueError(f"XGBoost's missing={estimator.missing} cannot be exported. Put NaN for missing, fit anew.")
    learner = json.loads(_UNUSED.sub(b"", bytes(booster.save_raw("json"))))["learner"]
    boosting = learner["gradient_booster"]
    if boosting["name"] == "gblinear":
        raise ValueError("XGBoost's booster='gblinear' has no trees. Use a linear model of scikit-learn.")
    model = boosting["gbtree"]["model"] if boosting["name"] == "dart" else boosting["model"]
    if any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in model["trees"]):
        raise ValueError("XGBoost's multi_strategy='multi_output_tree' cannot be exported. Use 'one_output_per_tree'.")
    counts = learner["learner_model_param"]
    n_outputs = max(1, int(counts["num_class"]), int(counts.get("num_target", 1)))
    if not is_regressor(estimator):
        _check_probabilities(estimator, learner["objective"]["name"], n_outputs)
    # Known after early stopping, whether a parameter or a callback asked for it.
    n_rounds = getattr(estimator, "best_iteration", booster.num_boosted_rounds() - 1) + 1
    n_trees = int(model["iteration_indptr"][n_rounds])
    factors = boosting.get("weight_drop", np.ones(n_trees))
    trees = [
        _read(tree, output, n_outputs, float(factor))
        for tree, output, factor in zip(model["trees"][:n_trees], model["tree_info"], factors, strict=False)
    ]
    started = Trees(trees, np.zeros(n_outputs), n_features)
    return Trees(trees, _intercept(estimator, started, n_rounds), n_features)


def _check_probabilities(classifier: Any, objective: str, n_outputs: int) -> None:
    if objective not in _PROBABILITIES:
        raise ValueError(
            f"XGBoost's objective {objective!r} gives no probabilities to export. Use 'binary:logistic' or "
            "'multi:softprob'."
        )
    n_classes = classifier.n_classes_
    if n_outputs != (1 if n_classes == 2 else n_classes):
        raise ValueError(
            f"{type(classifier).__name__} has {n_outputs} margins for {n_classes} classes. Use objective="
            "'binary:logistic' for two classes, and one model per label for several labels."
        )


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
    sets = {node: whole_numbers(categories[start : start + size]) for node, start, size in segments}
    return _without_deleted(with_sets(read, sets))


def _without_deleted(tree: Tree) -> Tree:
    """The tree without the leaves that pruning cut off: XGBoost keeps them, runtimes take them for further roots."""
    inner = tree.feature >= 0
    kept = np.zeros(len(inner), dtype=bool)
    kept[np.concatenate([[0], tree.yes[inner], tree.no[inner]])] = True
    place = np.where(kept, np.cumsum(kept) - 1, 0)
    moved = replace(tree, yes=place[tree.yes], no=place[tree.no])
    return Tree(*(getattr(moved, part.name)[kept] for part in fields(Tree)))

"""scikit-learn's trees, forests and gradient boosting."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from tabkd._compat import is_regressor
from tabkd.export.trees import Tree, Trees, at_most, below, with_sets

__all__ = ["output_link", "read_sklearn"]


def output_link(estimator: Any) -> str:
    """What a regressor applies to the sum of its trees: ``"identity"`` or ``"exp"``."""
    counts = type(estimator).__name__ == "HistGradientBoostingRegressor" and estimator.loss in ("poisson", "gamma")
    return "exp" if counts else "identity"


def read_sklearn(estimator: Any, n_features: int) -> Trees:
    """The trees of a fitted scikit-learn tree, forest or gradient boosting model.

    Parameters
    ----------
    estimator : estimator
    n_features : int
        Columns of the matrix that it reads.

    Returns
    -------
    Trees
        Their sum are predictions of a regressor before its link, probabilities of trees and forests, and decision
        values of boosted classifiers.

    Raises
    ------
    ValueError
        If the first prediction of gradient boosting is a model of its own, a classifier has several outputs, or the
        categories of histogram gradient boosting are texts.
    """
    name = type(estimator).__name__
    if name.startswith("Hist"):
        return _read_hist(estimator, n_features)
    if name.startswith("GradientBoosting"):
        return _read_boosted(estimator, n_features)
    if not is_regressor(estimator) and estimator.n_outputs_ > 1:
        raise ValueError(f"{name} predicts {estimator.n_outputs_} labels at once. Export one model per label.")
    parts = getattr(estimator, "estimators_", [estimator])
    trees = [_read(part.tree_, 1 / len(parts), is_regressor(estimator)) for part in parts]
    return Trees(trees, np.zeros(trees[0].value.shape[1]), n_features)


def _read(tree: Any, factor: float, regressor: bool) -> Tree:
    leaf = tree.children_left < 0
    value = (tree.value[:, :, 0] if regressor else tree.value[:, 0, :]) * factor
    return Tree(
        feature=np.where(leaf, -1, tree.feature),
        threshold=np.where(leaf, 0, at_most(tree.threshold)),
        yes=np.where(leaf, 0, tree.children_left),
        no=np.where(leaf, 0, tree.children_right),
        missing=np.asarray(tree.missing_go_to_left, dtype=bool) & ~leaf,
        value=np.where(leaf[:, None], value, 0),
    )


def _read_boosted(estimator: Any, n_features: int) -> Trees:
    if not _starts_alike(estimator.init):
        raise ValueError(
            f"{type(estimator).__name__} starts from init={estimator.init!r}, a model of its own. Use init=None."
        )
    stages = estimator.estimators_
    n_outputs = stages.shape[1]
    trees = []
    for stage in stages:
        for output, part in enumerate(stage):
            placed = _read(part.tree_, estimator.learning_rate, True)
            trees.append(_placed(placed, output, n_outputs))
    # Asked of the start itself: predicting on an array would warn where the model was fitted on a frame.
    return Trees(trees, estimator._raw_predict_init(np.zeros((1, n_features)))[0], n_features)


def _starts_alike(init: Any) -> bool:
    """Whether gradient boosting starts from the same values on every row."""
    constant = isinstance(init, DummyClassifier | DummyRegressor) and init.strategy != "stratified"
    return constant or init is None or isinstance(init, str)


def _placed(tree: Tree, output: int, n_outputs: int) -> Tree:
    """A tree of one output as one of several."""
    value = np.zeros((len(tree.feature), n_outputs))
    value[:, output] = tree.value[:, 0]
    return Tree(**{**vars(tree), "value": value})


def _read_hist(estimator: Any, n_features: int) -> Trees:
    stages = estimator._predictors
    n_outputs = len(stages[0]) if stages else 1
    columns, categories = _encoded_columns(estimator, n_features)
    trees = [
        _placed(_read_predictor(part, columns, categories), output, n_outputs)
        for stage in stages
        for output, part in enumerate(stage)
    ]
    return Trees(trees, np.ravel(estimator._baseline_prediction).astype(float), n_features)


def _encoded_columns(estimator: Any, n_features: int) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """For each column that the trees read: which column of the caller it is, and what its category codes stand for."""
    categorical = estimator.is_categorical_
    if categorical is None:
        return np.arange(n_features), {}
    columns = np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])
    known = estimator._preprocessor.named_transformers_["encoder"].categories_
    for column, values in zip(columns, known, strict=False):
        texts = [value for value in values.tolist() if isinstance(value, str)]
        if texts:
            raise ValueError(
                f"{type(estimator).__name__} was fitted on texts in column {column}, such as {texts[0]!r}. Fit it on "
                "numbers in place of them, with categorical_features naming the column."
            )
    return columns, {i: np.asarray(values, dtype=float) for i, values in enumerate(known)}


def _read_predictor(predictor: Any, columns: np.ndarray, categories: dict[int, np.ndarray]) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    categorical = nodes["is_categorical"].astype(bool) & ~leaf
    missing_left = nodes["missing_go_to_left"].astype(bool)
    left, right = nodes["left"].astype(np.intp), nodes["right"].astype(np.intp)
    # What is missing or was never seen goes one way, so the chain of a set asks for those that go the other.
    swapped = categorical & missing_left
    read = Tree(
        feature=np.where(leaf, -1, columns[np.where(leaf, 0, nodes["feature_idx"]).astype(np.intp)]),
        threshold=np.where(leaf | categorical, 0, nodes["num_threshold"]),
        yes=np.where(leaf, 0, np.where(swapped, right, left)),
        no=np.where(leaf, 0, np.where(swapped, left, right)),
        missing=missing_left & ~leaf & ~categorical,
        value=np.where(leaf, nodes["value"], 0.0)[:, None],
    )
    sets = {}
    for node in np.flatnonzero(categorical).tolist():
        bits = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
        goes_left = ((bits[:, None] >> np.arange(32, dtype=np.uint32)) & 1).astype(bool).ravel()
        known = categories[int(nodes["feature_idx"][node])]
        goes_left = goes_left[: len(known)]
        members = known[~goes_left if swapped[node] else goes_left]
        members = np.sort(members[~np.isnan(members)])
        sets[node] = np.column_stack([below(members), at_most(members)])
    return with_sets(read, sets)

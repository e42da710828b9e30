"""Tree ensembles as nodes of a graph: tree operators of two versions, or plain operators for oblivious trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from tabkd.export.graph import COMPACT_ML_OPSET, Graph
from tabkd.export.trees import Tree, Trees, at_most

__all__ = ["add_trees"]

#: How many times larger than all that trees decide between their mean may be, without a loss of digits that matters.
_FAR = 4


def add_trees(graph: Graph, features: str, trees: Trees) -> str:
    """Append a sum of trees; returns its value of shape (n_samples, n_outputs).

    Parameters
    ----------
    graph : Graph
        A compact one takes a newer operator that needs fewer bytes.
    features : str
        The matrix, lookups included.
    trees : Trees

    Returns
    -------
    str
    """
    parts = [tree for tree in trees.trees if len(tree.feature) > 1]
    if graph.dtype is np.float32:
        parts = [replace(tree, threshold=at_most(tree.threshold)) for tree in parts]
    base = trees.base + sum(
        (tree.value[0] for tree in trees.trees if len(tree.feature) == 1), np.zeros(trees.n_outputs)
    )
    if _adds_up_exactly(parts):
        return _add_sum(graph, features, parts, base)
    unit = None if base.any() else _unit(parts)
    if unit is None:
        return _add_sum(graph, features, *_centred(parts, base))
    whole = [replace(tree, value=np.round(tree.value / unit)) for tree in parts]
    return graph.add("Div", _add_sum(graph, features, whole, base), graph.constant(1 / unit))


def _centred(parts: Sequence[Tree], base: np.ndarray) -> tuple[Sequence[Tree], np.ndarray]:
    """Trees and base of the same sum, in which no sum on the way is much larger than what the trees decide between.

    A booster's first tree may hold the mean of its target: adding the others to it in float32 would lose their digits.
    """
    leaves = [tree.value[tree.feature < 0] for tree in parts]
    middles = [(values.min(axis=0) + values.max(axis=0)) / 2 for values in leaves]
    reach = np.sum([np.ptp(values, axis=0) for values in leaves], axis=0)
    if not parts or not (np.abs(np.sum(middles, axis=0)) > _FAR * reach).any():
        return parts, base
    moved = [replace(tree, value=np.where(tree.feature[:, None] < 0, tree.value - middle, 0.0))
             for tree, middle in zip(parts, middles, strict=True)]  # fmt: skip
    return moved, base + np.sum(middles, axis=0)


def _adds_up_exactly(parts: Sequence[Tree]) -> bool:
    """Whether leaves are multiples of a power of two that is large enough for float32 to add them up as they are."""
    if not parts:
        return True
    mantissas, exponents = np.frexp(np.concatenate([tree.value for tree in parts]))
    whole = (mantissas * 2.0**53).astype(np.int64)
    steps = np.where(whole == 0, np.inf, np.ldexp((whole & -whole).astype(float), exponents - 53)).min(axis=0)
    largest = np.sum([np.abs(tree.value).max(axis=0) for tree in parts], axis=0)
    return bool((largest / steps <= 2**24).all())


def _unit(parts: Sequence[Tree]) -> float | None:
    """The number that every leaf is a whole multiple of, as those of fully grown forests are.

    Sums of whole numbers are exact in float32, so that a tie between classes stays one.
    """
    values = np.abs(np.concatenate([tree.value[tree.value != 0] for tree in parts])) if parts else np.zeros(0)
    if len(values) == 0:
        return None
    multiples = values / values.min()
    whole = np.abs(multiples - np.round(multiples)).max() < 1e-9 and multiples.max() * len(parts) < 2**24
    return float(values.min()) if whole else None


def _add_sum(graph: Graph, features: str, parts: Sequence[Tree], base: np.ndarray) -> str:
    if not parts:
        rows = graph.add("Concat", graph.add("Shape", features, end=1), graph.constant([1]), axis=0)
        return graph.add("Expand", graph.constant(base[None]), rows)
    levels = [_levels(tree) for tree in parts]
    if all(level is not None for level in levels):
        return _add_oblivious(graph, features, [level for level in levels if level is not None], base)
    shares = any(_shares_nodes(tree) for tree in parts)
    if shares and graph.dtype is np.float64:
        raise ValueError("Splits on sets of categories cannot be exported with precision='float64'. Use float32.")
    if (graph.compact or graph.dtype is np.float64) and not shares:
        return _add_ensemble(graph, features, parts, base)
    scores = _add_regressor(graph, features, parts, base)
    return graph.cast(scores)  # the operator answers in float32, whatever it is asked in


def _shares_nodes(tree: Tree) -> bool:
    """Whether a node other than a leaf follows several, which ai.onnx.ml 5 forbids."""
    inner = tree.feature >= 0
    named = np.bincount(np.concatenate([tree.yes[inner], tree.no[inner]]), minlength=len(inner))
    return bool((named[inner] > 1).any())


def _joined(parts: Sequence[Tree]) -> Tree:
    """Nodes of several trees one after the other; what follows them still counts within each tree."""
    return Tree(*(np.concatenate([getattr(tree, part.name) for tree in parts]) for part in fields(Tree)))


def _add_regressor(graph: Graph, features: str, parts: Sequence[Tree], base: np.ndarray) -> str:
    """The operator that every runtime knows, in float32."""
    tree, sizes = _joined(parts), np.array([len(part.feature) for part in parts])
    leaf, owner = tree.feature < 0, np.repeat(np.arange(len(sizes)), sizes)
    ids = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    # A leaf names the outputs that it adds to: at least one, and not those it adds nothing to.
    node, output = np.nonzero(leaf[:, None] & ((tree.value != 0) | (np.arange(len(base)) == 0)))
    integers = {
        "nodes_treeids": owner,
        "nodes_nodeids": ids,
        "nodes_featureids": np.maximum(tree.feature, 0),
        "nodes_truenodeids": np.where(leaf, 0, tree.yes),
        "nodes_falsenodeids": np.where(leaf, 0, tree.no),
        "target_treeids": owner[node],
        "target_nodeids": ids[node],
        "target_ids": output,
    }
    if (missing := tree.missing & ~leaf).any():
        integers["nodes_missing_value_tracks_true"] = missing.astype(int)
    numbers = {
        "nodes_values": np.where(leaf, 0, tree.threshold),
        "target_weights": tree.value[node, output],
        "base_values": base,
    }
    return graph.add(
        "TreeEnsembleRegressor",
        features,
        domain="ai.onnx.ml",
        n_targets=len(base),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        **{name: values.tolist() for name, values in integers.items()},
        **{name: values.astype(np.float32).tolist() for name, values in numbers.items()},
    )


def _add_ensemble(graph: Graph, features: str, parts: Sequence[Tree], base: np.ndarray) -> str:
    """The operator of ai.onnx.ml 5: leaves are no nodes, and numbers may be float64."""
    tree, sizes = _joined(parts), [len(part.feature) for part in parts]
    leaf, owner = tree.feature < 0, np.repeat(np.arange(len(parts)), sizes)
    shift = np.repeat(np.cumsum([0, *sizes])[:-1], sizes)
    place = np.where(leaf, np.cumsum(leaf), np.cumsum(~leaf)) - 1
    follow = {side: (getattr(tree, side) + shift)[~leaf] for side in ("yes", "no")}
    values, used = tree.value[leaf], np.array([(part.value != 0).any(axis=0) for part in parts])
    # A leaf has one output: where trees have several, each answers with the number of its leaf in a table of them.
    several = bool((used.sum(axis=1) > 1).any())
    output = used.argmax(axis=1)[owner[leaf]]
    weights = np.arange(len(values)) if several else values[np.arange(len(values)), output]
    integers = {
        "tree_roots": np.cumsum([0, *((part.feature >= 0).sum() for part in parts)])[:-1],
        "nodes_featureids": tree.feature[~leaf],
        "nodes_truenodeids": place[follow["yes"]],
        "nodes_trueleafs": leaf[follow["yes"]].astype(int),
        "nodes_falsenodeids": place[follow["no"]],
        "nodes_falseleafs": leaf[follow["no"]].astype(int),
        "leaf_targetids": owner[leaf] if several else output,
    }
    if tree.missing[~leaf].any():
        integers["nodes_missing_value_tracks_true"] = tree.missing[~leaf].astype(int)
    graph.opsets["ai.onnx.ml"] = COMPACT_ML_OPSET
    scores = graph.add(
        "TreeEnsemble",
        features,
        domain="ai.onnx.ml",
        n_targets=len(parts) if several else len(base),
        nodes_modes=graph.tensor(np.zeros((~leaf).sum(), dtype=np.uint8)),
        nodes_splits=graph.tensor(tree.threshold[~leaf].astype(graph.dtype)),
        leaf_weights=graph.tensor(weights.astype(graph.dtype)),
        **{name: numbers.tolist() for name, numbers in integers.items()},
    )
    if several:
        leaves = graph.add("Gather", graph.constant(values), graph.add("Cast", scores, to=7), axis=0)
        scores = graph.add("ReduceSum", leaves, graph.constant([1]), keepdims=0)
    return graph.add("Add", scores, graph.constant(base))


@dataclass(frozen=True)
class _Levels:
    """An oblivious tree: one question per level, and the leaves in the order of the answers as bits."""

    feature: np.ndarray
    threshold: np.ndarray
    missing: np.ndarray
    value: np.ndarray


def _levels(tree: Tree) -> _Levels | None:
    """The questions of a tree that asks the same one on a whole level, as CatBoost's do; None of any other."""
    at, asked = np.zeros(1, dtype=np.intp), []
    while (tree.feature[at] >= 0).all():
        first = at[0]
        same = (tree.feature[at] == tree.feature[first]) & (tree.threshold[at] == tree.threshold[first])
        if not (same & (tree.missing[at] == tree.missing[first])).all():
            return None
        asked.append(first)
        at = np.concatenate([tree.yes[at], tree.no[at]])
    if (tree.feature[at] >= 0).any():
        return None
    return _Levels(tree.feature[asked], tree.threshold[asked], tree.missing[asked], tree.value[at])


def _add_oblivious(graph: Graph, features: str, trees: Sequence[_Levels], base: np.ndarray) -> str:
    """Oblivious trees as comparisons, bits that make an index, and a table of leaves: operators of every runtime.

    Fewer bytes than nodes, and faster: no step waits for the answer of another.
    """
    depth = max(len(tree.feature) for tree in trees)
    shape = (depth, len(trees))  # levels first, so that the sum over levels runs along whole rows of trees
    feature, threshold = np.zeros(shape, dtype=np.int64), np.full(shape, np.inf)
    kept_right = np.zeros(shape, dtype=bool)
    for k, tree in enumerate(trees):
        level = slice(0, len(tree.feature))
        feature[level, k], threshold[level, k], kept_right[level, k] = tree.feature, tree.threshold, ~tree.missing
    first_leaf = np.cumsum([0, *(len(tree.value) for tree in trees)])[:-1]
    # Gather copies numbers one by one with a call each; this operator, made for features, does not.
    asked = graph.add("ArrayFeatureExtractor", features, graph.constant(feature.ravel()), domain="ai.onnx.ml")
    bits = graph.add("Greater", asked, graph.constant(threshold.ravel()))
    if kept_right.any():
        strays = graph.add("And", graph.add("IsNaN", asked), graph.constant(kept_right.ravel()))
        bits = graph.add("Or", bits, strays)
    bits = graph.add("Reshape", graph.add("Cast", bits, to=graph.float_type), graph.constant([-1, *shape]))
    index = graph.add("MatMul", graph.constant(2.0 ** np.arange(depth)[None]), bits)
    index = graph.add("Add", graph.add("Cast", index, to=7), graph.constant(first_leaf))
    leaves = graph.add("Gather", graph.constant(np.concatenate([tree.value for tree in trees])), index, axis=0)
    return graph.add("Add", graph.add("ReduceSum", leaves, graph.constant([1, 2]), keepdims=0), graph.constant(base))

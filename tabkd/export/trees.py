"""Tree ensembles in a form of our own, between the libraries that fitted them and the ONNX node that runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tabkd.export.graph import COMPACT_ML_OPSET, Graph

__all__ = [
    "Lookup",
    "Tree",
    "Trees",
    "add_trees",
    "at_most",
    "below",
    "linear",
    "merge",
    "offset_features",
    "stack",
    "whole_numbers",
    "with_sets",
]


@dataclass(frozen=True)
class Tree:
    """One tree as arrays over its nodes; node 0 is the root.

    Attributes
    ----------
    feature : ndarray of int of shape (n_nodes,)
        Column that the node looks at; -1 at a leaf.
    threshold : ndarray of float64 of shape (n_nodes,)
        The node asks ``x <= threshold``, as the library does; for an operator that reads float32 it is rounded down
        (:func:`at_most`).
    yes, no : ndarray of int of shape (n_nodes,)
        Nodes that follow. Only ``yes`` may name a node that another node names too.
    missing : ndarray of bool of shape (n_nodes,)
        Whether NaN follows ``yes``.
    value : ndarray of float64 of shape (n_nodes, n_outputs)
        What a leaf adds to the outputs; zeros elsewhere.
    """

    feature: np.ndarray
    threshold: np.ndarray
    yes: np.ndarray
    no: np.ndarray
    missing: np.ndarray
    value: np.ndarray

    @classmethod
    def leaf(cls, value: np.ndarray) -> Tree:
        """A tree that is one leaf."""
        flags, numbers = np.zeros(1, dtype=bool), np.zeros(1)
        nodes = np.zeros(1, dtype=np.intp)
        return cls(nodes - 1, numbers, nodes, nodes, flags, np.asarray(value, dtype=float).reshape(1, -1))

    def scores(self, X: np.ndarray) -> np.ndarray:
        """Leaf values of shape (n_samples, n_outputs), by following the nodes in NumPy."""
        at, rows = np.zeros(len(X), dtype=np.intp), np.arange(len(X))
        while len(rows):
            rows = rows[self.feature[at[rows]] >= 0]
            node = at[rows]
            x, t = X[rows, self.feature[node]], self.threshold[node]
            yes = np.where(np.isnan(x), self.missing[node], x <= t)
            at[rows] = np.where(yes, self.yes[node], self.no[node])
        return self.value[at]


@dataclass(frozen=True)
class Lookup:
    """A further column: a number for each text of an input column.

    Attributes
    ----------
    column : int
        Index among the columns of the encoder whose text is looked up.
    texts : tuple of str
    numbers : tuple of float
        float32 values, one per text.
    default : float
        For any other text.
    """

    column: int
    texts: tuple[str, ...]
    numbers: tuple[float, ...]
    default: float


@dataclass(frozen=True)
class Trees:
    """A sum of trees.

    Attributes
    ----------
    trees : list of Tree
    base : ndarray of float64 of shape (n_outputs,)
        Added to every row.
    n_features : int
        Columns of the matrix that the trees read; columns from there on are ``lookups``.
    lookups : tuple of Lookup
    """

    trees: list[Tree]
    base: np.ndarray
    n_features: int
    lookups: tuple[Lookup, ...] = field(default=())

    @property
    def n_outputs(self) -> int:
        """Numbers per row."""
        return len(self.base)

    def scores(self, X: np.ndarray) -> np.ndarray:
        """Outputs of shape (n_samples, n_outputs) in float64; ``X`` holds the lookups' columns too."""
        return self.base + sum((tree.scores(X) for tree in self.trees), np.zeros((len(X), self.n_outputs)))

    def thresholds(self) -> dict[int, np.ndarray]:
        """The distinct thresholds of every column that is looked at."""
        pairs = [(tree.feature[inner], tree.threshold[inner]) for tree in self.trees for inner in [tree.feature >= 0]]
        if not pairs:
            return {}
        feature, threshold = (np.concatenate(part) for part in zip(*pairs, strict=True))
        return {int(column): np.unique(threshold[feature == column]) for column in np.unique(feature)}


def at_most(threshold: np.ndarray) -> np.ndarray:
    """Thresholds of ``x <= threshold`` rounded down to float32: the same answer for every float32 ``x``."""
    exact = np.asarray(threshold, dtype=np.float64)
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
        rounded = np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    return rounded.astype(np.float64)


def below(threshold: np.ndarray) -> np.ndarray:
    """Thresholds of ``x < threshold`` as those of ``x <= threshold``, for float32 ``x``."""
    exact = np.asarray(threshold, dtype=np.float64)
    rounded = at_most(exact)
    return np.where(rounded == exact, np.nextafter(rounded.astype(np.float32), np.float32(-np.inf)), rounded)


def linear(trees: Trees, weights: ArrayLike, offset: ArrayLike) -> Trees:
    """The same trees with outputs ``outputs @ weights + offset``."""
    weights = np.asarray(weights, dtype=float)
    moved = [replace(tree, value=tree.value @ weights) for tree in trees.trees]
    return replace(trees, trees=moved, base=trees.base @ weights + np.asarray(offset, dtype=float))


def stack(parts: Sequence[Trees]) -> Trees:
    """Ensembles on one matrix side by side: each gives the outputs of its own."""
    widths = np.cumsum([0, *(part.n_outputs for part in parts)])
    places, nothing = np.eye(widths[-1]), np.zeros(widths[-1])
    return _sum([linear(part, places[a:b], nothing) for part, a, b in zip(parts, widths, widths[1:], strict=False)])


def offset_features(trees: Trees, positions: np.ndarray, n_features: int) -> Trees:
    """The same trees on a wider matrix, whose columns ``positions`` are those that they were fitted on."""
    places = np.concatenate([positions, n_features + np.arange(len(trees.lookups))]).astype(np.intp)
    moved = [replace(t, feature=np.where(t.feature < 0, -1, places[np.maximum(t.feature, 0)])) for t in trees.trees]
    lookups = tuple(replace(lookup, column=int(positions[lookup.column])) for lookup in trees.lookups)
    return replace(trees, trees=moved, n_features=n_features, lookups=lookups)


def merge(parts: Sequence[Trees]) -> Trees:
    """The mean of several ensembles on one matrix, as one sum of trees."""
    if len(parts) == 1:
        return parts[0]
    return _sum([linear(part, np.eye(part.n_outputs) / len(parts), np.zeros(part.n_outputs)) for part in parts])


def _sum(parts: Sequence[Trees]) -> Trees:
    trees: list[Tree] = []
    lookups: list[Lookup] = []
    n_features = parts[0].n_features
    for part in parts:
        lookups += [one for one in part.lookups if one not in lookups]
        known = [n_features + lookups.index(one) for one in part.lookups]
        columns = np.concatenate([np.arange(n_features), np.array(known, dtype=np.intp)])
        for tree in part.trees:
            feature = np.where(tree.feature < 0, -1, columns[np.maximum(tree.feature, 0)])
            trees.append(replace(tree, feature=feature))
    base = np.sum([part.base for part in parts], axis=0)
    return Trees(trees, base, n_features, tuple(lookups))


def with_sets(tree: Tree, sets: Mapping[int, np.ndarray]) -> Tree:
    """Nodes that ask whether a value is in a set, as chains of nodes with thresholds.

    Plain thresholds rather than nodes that ask for equality: onnxruntime turns chains of those into tables of bits, in
    which a missing value may be anything.

    Parameters
    ----------
    tree : Tree
        What is in a node's set follows its ``yes``, everything else its ``no``.
    sets : mapping from node to ndarray of shape (n_intervals, 2)
        Intervals ``low < x <= high`` that make up the set, in rising order.

    Returns
    -------
    Tree
    """
    arrays = {part.name: getattr(tree, part.name).copy() for part in fields(Tree)}
    size = len(tree.feature)
    more: list[dict[str, Any]] = []
    for node, intervals in sets.items():
        bounds = (intervals if len(intervals) else np.full((1, 2), -np.inf)).ravel()
        chain = np.concatenate([[node], size + len(more) + np.arange(len(bounds) - 1)])
        for k, (place, bound) in enumerate(zip(chain.tolist(), bounds, strict=True)):
            inside = k % 2 == 1
            asked = {
                "threshold": bound,
                "yes": (tree.yes if inside else tree.no)[node],
                "no": chain[k + 1] if k + 1 < len(chain) else tree.no[node],
                "missing": tree.missing[node] == inside,
            }
            if k:
                more.append({"feature": tree.feature[node], "value": tree.value[node], **asked})
            else:
                for name, value in asked.items():
                    arrays[name][place] = value
    added = {name: [row[name] for row in more] for name in arrays} if more else {}
    return Tree(**{name: np.concatenate([values, added[name]]) if more else values for name, values in arrays.items()})


def whole_numbers(members: np.ndarray) -> np.ndarray:
    """The set of numbers whose whole part is among ``members``, as intervals ``low < x <= high``."""
    starts = np.sort(np.asarray(members, dtype=float))
    return np.column_stack([below(starts), below(starts + 1)])


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
    unit = None if base.any() else _unit(parts)
    if unit is None:
        return _add_sum(graph, features, parts, base)
    whole = [replace(tree, value=np.round(tree.value / unit)) for tree in parts]
    return graph.add("Div", _add_sum(graph, features, whole, base), graph.constant(1 / unit))


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
    levels = [_levels(tree) for tree in parts]
    if parts and all(level is not None for level in levels):
        return _add_oblivious(graph, features, [level for level in levels if level is not None], base)
    shares = any(_shares_nodes(tree) for tree in parts)
    if shares and graph.dtype is np.float64:
        raise ValueError("Splits on sets of categories cannot be exported with precision='float64'. Use float32.")
    if (graph.compact or graph.dtype is np.float64) and parts and not shares:
        return _add_ensemble(graph, features, parts, base)
    scores = _add_regressor(graph, features, parts or [Tree.leaf(np.zeros(len(base)))], base)
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

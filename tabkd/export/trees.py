"""Tree ensembles in a form of our own, between the libraries that fitted them and the nodes that run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tabkd.export.lookups import Lookup

__all__ = [
    "Tree",
    "Trees",
    "at_most",
    "below",
    "linear",
    "merge",
    "offset_features",
    "stack",
    "summed",
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
        """The distinct thresholds of every column that is looked at, those of lookups included."""
        pairs = [(tree.feature[inner], tree.threshold[inner]) for tree in self.trees for inner in [tree.feature >= 0]]
        pairs += [(np.array([bit.feature]), np.array([bit.border])) for one in self.lookups for bit in one.bits]
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
    return summed([linear(part, places[a:b], nothing) for part, a, b in zip(parts, widths, widths[1:], strict=False)])


def offset_features(trees: Trees, positions: np.ndarray, n_features: int) -> Trees:
    """The same trees on a wider matrix, whose columns ``positions`` are those that they were fitted on."""
    places = np.concatenate([positions, n_features + np.arange(len(trees.lookups))]).astype(np.intp)
    moved = [replace(t, feature=np.where(t.feature < 0, -1, places[np.maximum(t.feature, 0)])) for t in trees.trees]
    lookups = tuple(lookup.moved(positions) for lookup in trees.lookups)
    return replace(trees, trees=moved, n_features=n_features, lookups=lookups)


def merge(parts: Sequence[Trees]) -> Trees:
    """The mean of several ensembles on one matrix, as one sum of trees."""
    if len(parts) == 1:
        return parts[0]
    return summed([linear(part, np.eye(part.n_outputs) / len(parts), np.zeros(part.n_outputs)) for part in parts])


def summed(parts: Sequence[Trees]) -> Trees:
    """Several ensembles on one matrix as one, whose outputs are the sums of theirs."""
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


def whole_numbers(members: np.ndarray, *, towards_zero: bool = False) -> np.ndarray:
    """The set of numbers whose whole part is among ``members``, as intervals ``low < x <= high``.

    Parameters
    ----------
    members : array-like of int
    towards_zero : bool
        Whether the whole part of -0.5 is 0.
    """
    starts = np.sort(np.asarray(members, dtype=float))
    return np.column_stack([np.where(towards_zero & (starts == 0), -1.0, below(starts)), below(starts + 1)])

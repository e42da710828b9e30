"""CatBoost's trees, with splits on categories as lookups of their texts."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tabkd.export.trees import Lookup, Tree, Trees

__all__ = ["output_link", "read_catboost"]

_MASK = 2**64 - 1
#: The multiplier of CatBoost's hash of several hashes.
_MAGIC = 0x4906BA494954CB65


class _Split(NamedTuple):
    """A question: does the column lie above the border, and where does a missing value go?"""

    feature: int
    border: float
    missing_below: bool


def output_link(estimator: Any) -> str:
    """What CatBoost applies to the sum of a regressor's trees: ``"identity"`` or ``"exp"``."""
    loss = estimator.get_all_params().get("loss_function", "RMSE").partition(":")[0]
    return "exp" if loss in ("Poisson", "Tweedie") else "identity"


def read_catboost(estimator: Any, n_features: int, texts: Mapping[int, Sequence[str]] | None = None) -> Trees:
    """The trees of a fitted ``CatBoostClassifier`` or ``CatBoostRegressor``.

    Parameters
    ----------
    estimator : CatBoost
    n_features : int
        Columns of the matrix that it reads, in the order of ``fit``; what stands in text columns is never looked at.
    texts : mapping from column index to texts
        Known texts of the text columns: CatBoost keeps their hashes only.

    Returns
    -------
    Trees
        Their sum are the raw values. Splits on categories read ``lookups``.

    Raises
    ------
    ValueError
        If a split combines several columns, or reads text features or embeddings.
    """
    texts = {} if texts is None else texts
    for kind in ("text", "embedding"):
        if found := getattr(estimator, f"get_{kind}_feature_indices")():
            names = [estimator.feature_names_[i] for i in found]
            raise ValueError(f"CatBoost's {kind} features {names} cannot be exported. Leave them out.")
    model = _json(estimator, n_features, texts)
    info = model["features_info"]
    hashes = {entry["value"]: int(entry["hash"]) for entry in info.get("cat_features_hash", [])}
    lookups: list[Lookup] = []
    splits = _splits(model, n_features, texts, hashes, lookups)
    scale, base = model["scale_and_bias"]
    if "oblivious_trees" in model:
        trees = [_oblivious(tree, splits, len(base), scale) for tree in model["oblivious_trees"]]
    else:
        trees = [_grown(tree, splits, len(base), scale) for tree in model["trees"]]
    return Trees(trees, np.array(base, dtype=float), n_features, tuple(lookups))


def _json(estimator: Any, n_features: int, texts: Mapping[int, Sequence[str]]) -> dict[str, Any]:
    """The model as CatBoost writes it, with the hashes of the texts."""
    pool = None
    if texts:
        n_rows = max(len(known) for known in texts.values())
        columns = {
            i: np.resize(np.array(texts[i], dtype=object), n_rows) if i in texts else np.zeros(n_rows)
            for i in range(n_features)
        }
        frame = pd.DataFrame(columns).set_axis(estimator.feature_names_, axis=1)
        pool = importlib.import_module("catboost").Pool(frame, cat_features=sorted(texts))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        estimator.save_model(str(path), format="json", pool=pool)
        return json.loads(path.read_text(encoding="utf-8"))


def _splits(
    model: dict[str, Any],
    n_features: int,
    texts: Mapping[int, Sequence[str]],
    hashes: Mapping[str, int],
    lookups: list[Lookup],
) -> list[_Split]:
    """The questions in the order of ``split_index``: borders of numbers, single categories, borders of statistics."""
    info = model["features_info"]
    categorical = info.get("categorical_features", [])
    splits = []
    for feature in info.get("float_features", []):
        below = feature["nan_value_treatment"] != "AsTrue"
        splits += [_Split(feature["flat_feature_index"], border, below) for border in feature["borders"] or []]
    for feature in categorical:
        column = feature["flat_feature_index"]
        for value in feature.get("values", []):
            known = tuple(texts[column])
            numbers = tuple(float(hashes[text] == value & 0xFFFFFFFF) for text in known)
            splits.append(_Split(n_features + len(lookups), 0.5, True))
            lookups.append(Lookup(column, known, numbers, 0.0))
    for ctr in info.get("ctrs", []):
        column = _single_column(ctr, categorical)
        lookup = _statistic(ctr, model["ctr_data"][ctr["identifier"]], column, texts[column], hashes)
        splits += [_Split(n_features + len(lookups), border, True) for border in ctr["borders"]]
        lookups.append(lookup)
    return splits


def _single_column(ctr: dict[str, Any], categorical: list[dict[str, Any]]) -> int:
    parts = ctr["elements"]
    if len(parts) > 1 or parts[0]["combination_element"] != "cat_feature_value":
        used = [part["cat_feature_index"] for part in parts if "cat_feature_index" in part]
        names = [entry["feature_name"] for entry in categorical if entry["feature_index"] in used]
        raise ValueError(
            f"CatBoost combines the category {names} with other columns in one split, which cannot be exported. Fit "
            "with max_ctr_complexity=1."
        )
    (entry,) = [entry for entry in categorical if entry["feature_index"] == parts[0]["cat_feature_index"]]
    return int(entry["flat_feature_index"])


def _statistic(
    ctr: dict[str, Any], table: dict[str, Any], column: int, texts: Sequence[str], hashes: Mapping[str, int]
) -> Lookup:
    """The statistic of each text, in CatBoost's float32 arithmetic."""
    stride, cells = table["hash_stride"], table["hash_map"]
    buckets = {int(cells[i]): cells[i + 1 : i + stride] for i in range(0, len(cells), stride)}
    kind, border = ctr["ctr_type"], ctr["target_border_idx"]
    counted = kind in ("Counter", "FeatureFreq")

    def value(bucket: Sequence[Any] | None) -> float:
        good: float
        if bucket is None:
            good, total = 0, table["counter_denominator"] if counted else 0
        elif counted:
            good, total = bucket[0], table["counter_denominator"]
        elif kind in ("BinarizedTargetMeanValue", "FloatTargetMeanValue"):
            good, total = bucket
        elif kind == "Buckets":
            good, total = bucket[border], sum(bucket)
        else:
            good, total = sum(bucket[border + 1 :]), sum(bucket)
        prior, weight = np.float32(ctr["prior_numerator"]), np.float32(ctr["prior_denomerator"])
        share = (np.float32(good) + prior) / (np.float32(total) + weight)
        return float((share + np.float32(ctr["shift"])) * np.float32(ctr["scale"]))

    numbers = tuple(value(buckets.get(_projected(hashes[text]))) for text in texts)
    return Lookup(column, tuple(texts), numbers, value(None))


def _projected(text_hash: int) -> int:
    """CatBoost's hash of a list of one hash, which it extends by its sign to 64 bits."""
    signed = text_hash - 2**32 if text_hash >= 2**31 else text_hash
    return (_MAGIC * ((_MAGIC * (signed & _MASK)) & _MASK)) & _MASK


def _oblivious(tree: dict[str, Any], splits: Sequence[_Split], n_outputs: int, scale: float) -> Tree:
    """A tree that asks one question per level, as a complete binary tree, level after level."""
    asked = [splits[split["split_index"]] for split in tree["splits"] or []]
    depth = len(asked)
    level = np.repeat(np.arange(depth), 2 ** np.arange(depth))
    place = np.arange(2**depth - 1) - (2**level - 1)
    below = 2 ** (level + 1) - 1 + place
    n_leaves = 2**depth
    questions = np.array([(split.feature, split.border, split.missing_below) for split in asked]).reshape(-1, 3)[level]
    nothing = np.zeros(n_leaves, dtype=np.intp)
    value = np.zeros((2 * n_leaves - 1, n_outputs))
    value[n_leaves - 1 :] = np.reshape(tree["leaf_values"], (n_leaves, n_outputs)) * scale
    return Tree(
        feature=np.concatenate([questions[:, 0].astype(np.intp), nothing - 1]),
        threshold=np.concatenate([questions[:, 1], nothing]),
        yes=np.concatenate([below, nothing]),
        no=np.concatenate([below + 2**level, nothing]),
        missing=np.concatenate([questions[:, 2], nothing]).astype(bool),
        value=value,
    )


def _grown(tree: dict[str, Any], splits: Sequence[_Split], n_outputs: int, scale: float) -> Tree:
    """A tree of any shape (``grow_policy`` other than ``SymmetricTree``)."""
    nodes: list[dict[str, Any]] = []
    below: list[tuple[int, int]] = []
    waiting = [(tree, -1, 0)]
    while waiting:
        node, parent, side = waiting.pop()
        if parent >= 0:
            below[parent] = (len(nodes), below[parent][1]) if side == 0 else (below[parent][0], len(nodes))
        nodes.append(node)
        below.append((0, 0))
        if "split" in node:
            waiting += [(node["left"], len(nodes) - 1, 0), (node["right"], len(nodes) - 1, 1)]
    asked = [splits[node["split"]["split_index"]] if "split" in node else None for node in nodes]
    yes, no = np.array(below, dtype=np.intp).T
    value = np.zeros((len(nodes), n_outputs))
    for k, node in enumerate(nodes):
        if "split" not in node:
            value[k] = np.ravel(node["value"]) * scale
    return Tree(
        feature=np.array([-1 if split is None else split.feature for split in asked], dtype=np.intp),
        threshold=np.array([0.0 if split is None else split.border for split in asked]),
        yes=yes,
        no=no,
        missing=np.array([split is not None and split.missing_below for split in asked]),
        value=value,
    )

"""CatBoost's trees, with splits on categories as lookups of their texts."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from tabkd.export.lookups import Bit, Lookup
from tabkd.export.trees import Tree, Trees

__all__ = ["output_link", "read_catboost"]

#: The multiplier of CatBoost's hash of several hashes.
_MAGIC = np.uint64(0x4906BA494954CB65)
#: Stands for a text that was never seen; hashes have 32 bits.
_NO_HASH = 2**40
#: Most numbers that are kept for the combinations of texts in one split.
_MOST_NUMBERS = 2**18


def output_link(estimator: Any) -> str:
    """What CatBoost applies to the sum of a regressor's trees: ``"identity"`` or ``"exp"``.

    Raises
    ------
    ValueError
        If it answers with something else.
    """
    loss = estimator.get_all_params().get("loss_function", "RMSE").partition(":")[0]
    if loss == "RMSEWithUncertainty":
        raise ValueError("CatBoost's loss 'RMSEWithUncertainty' cannot be exported exactly. Use 'RMSE'.")
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
        If the model reads text features or embeddings, has statistics of categories for several outputs, or a split
        combines columns of too many texts.
    """
    texts = {} if texts is None else texts
    for kind in ("text", "embedding"):
        if found := getattr(estimator, f"get_{kind}_feature_indices")():
            names = [estimator.feature_names_[i] for i in found]
            raise ValueError(f"CatBoost's {kind} features {names} cannot be exported. Leave them out.")
    model = _json(estimator, n_features, texts)
    info = model["features_info"]
    if info.get("ctrs") and estimator.get_all_params()["loss_function"].startswith("MultiRMSE"):
        raise ValueError(
            "CatBoost's file keeps the statistics of categories for one output only, so a model of several "
            "outputs with cat_features cannot be exported. Fit with one_hot_max_size=255, or one model per output."
        )
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
) -> list[Bit]:
    """The questions in the order of ``split_index``: borders of numbers, single categories, borders of statistics."""
    info = model["features_info"]
    categorical = info.get("categorical_features", [])
    splits = []
    for feature in info.get("float_features", []):
        splits += [_bit(feature, border) for border in feature["borders"] or []]
    for feature in categorical:
        column = feature["flat_feature_index"]
        for value in feature.get("values", []):
            known = tuple(texts[column])
            numbers = tuple(float(hashes[text] == value & 0xFFFFFFFF) for text in known)
            splits.append(Bit(n_features + len(lookups), 0.5, True))
            lookups.append(Lookup((column,), (known,), (), (*numbers, 0.0)))
    for ctr in info.get("ctrs", []):
        lookup = _statistic(ctr, model["ctr_data"][ctr["identifier"]], info, texts, hashes)
        splits += [Bit(n_features + len(lookups), border, True) for border in ctr["borders"]]
        lookups.append(lookup)
    return splits


def _statistic(
    ctr: dict[str, Any],
    table: dict[str, Any],
    info: dict[str, Any],
    texts: Mapping[int, Sequence[str]],
    hashes: Mapping[str, int],
) -> Lookup:
    """The statistic of each combination that a split looks at, in CatBoost's float32 arithmetic."""
    categorical = {entry["feature_index"]: entry for entry in info["categorical_features"]}
    numeric = {entry["feature_index"]: entry for entry in info.get("float_features", [])}
    parts = ctr["elements"]
    used = {part["cat_feature_index"]: categorical[part["cat_feature_index"]] for part in parts if _of_text(part)}
    bits = tuple(_bit(numeric[part["float_feature_index"]], part["border"]) for part in parts if not _of_text(part))
    columns = tuple(entry["flat_feature_index"] for entry in used.values())
    lookup = Lookup(columns, tuple(tuple(texts[column]) for column in columns), bits, ())
    if np.prod(lookup.shape, dtype=float) > _MOST_NUMBERS:
        names = [entry["feature_name"] for entry in used.values()]
        raise ValueError(
            f"CatBoost combines the categories {names} in one split, whose {' x '.join(map(str, lookup.shape))} "
            "combinations are too many for a file. Fit with max_ctr_complexity=1."
        )
    axes = np.ix_(*(_signed(known, hashes) for known in lookup.texts), *([[0, 1]] * len(bits)))
    of_column, of_bit = dict(zip(used, axes, strict=False)), iter(axes[len(used) :])
    hashed, unknown = np.zeros((1,) * len(axes), dtype=np.uint64), np.zeros((1,) * len(axes), dtype=bool)
    for part in parts:
        answer = of_column[part["cat_feature_index"]] if _of_text(part) else next(of_bit)
        if part["combination_element"] == "cat_feature_exact_value":
            answer = answer == _as_signed(part["value"])
        elif _of_text(part):
            unknown = unknown | (answer == _NO_HASH)
        hashed = _MAGIC * (hashed + _MAGIC * answer.astype(np.int64).astype(np.uint64))
    buckets, values = _buckets(ctr, table)
    place = np.searchsorted(buckets, hashed).clip(max=len(buckets) - 1)
    found = (buckets[place] == hashed) & ~unknown
    return replace(lookup, numbers=tuple(np.where(found, values[place], values[-1]).ravel().tolist()))


def _of_text(part: dict[str, Any]) -> bool:
    return "cat_feature_index" in part


def _bit(feature: dict[str, Any], border: float) -> Bit:
    return Bit(feature["flat_feature_index"], border, feature["nan_value_treatment"] != "AsTrue")


def _as_signed(text_hash: int) -> int:
    """CatBoost's hash of a text, of 32 bits, as it is extended to 64."""
    return (text_hash & 0xFFFFFFFF) - (2**32 if text_hash & 0x80000000 else 0)


def _signed(known: Sequence[str], hashes: Mapping[str, int]) -> np.ndarray:
    return np.array([*(_as_signed(hashes[text]) for text in known), _NO_HASH])


def _buckets(ctr: dict[str, Any], table: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of combinations in rising order, and the statistic of each; last that of a combination never seen."""
    stride, cells = table["hash_stride"], table["hash_map"]
    keys = np.array([int(key) for key in cells[::stride]], dtype=np.uint64)
    counts = np.array([*(cells[i + 1 : i + stride] for i in range(0, len(cells), stride)), [0] * (stride - 1)], float)
    kind, border = ctr["ctr_type"], ctr["target_border_idx"]
    total = counts.sum(axis=1)
    if kind in ("Counter", "FeatureFreq"):
        good, total = counts[:, 0], np.full(len(counts), table["counter_denominator"], dtype=float)
    elif kind in ("BinarizedTargetMeanValue", "FloatTargetMeanValue"):
        good, total = counts.T
    elif kind == "Buckets":
        good = counts[:, border]
    else:
        good = counts[:, border + 1 :].sum(axis=1)
    prior, weight, shift, scale = (
        np.float32(ctr[name]) for name in ("prior_numerator", "prior_denomerator", "shift", "scale")
    )
    share = (good.astype(np.float32) + prior) / (total.astype(np.float32) + weight)
    values, order = (share + shift) * scale, np.argsort(keys)
    return keys[order], np.append(values[order], values[-1])


def _oblivious(tree: dict[str, Any], splits: Sequence[Bit], n_outputs: int, scale: float) -> Tree:
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


def _grown(tree: dict[str, Any], splits: Sequence[Bit], n_outputs: int, scale: float) -> Tree:
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

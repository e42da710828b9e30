"""Trees that learn how alike a teacher finds two rows, by several ways, beside soft targets alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from _common import table
from lightgbm import LGBMClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.tree import DecisionTreeRegressor

from tabkd.columns import ColumnEncoder

__all__ = ["relations"]


def numeric(name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """A table as numbers, the student's columns first; how many those are."""
    X, y, entry = table(name)
    deploy, more = (
        ColumnEncoder.fit(X[columns], range(len(columns))).transform(X[columns]).to_numpy()
        for columns in (entry["deploy"], entry["priv"])
    )
    known = np.nan_to_num(np.hstack([deploy, more]), nan=-1.0)
    return known, (y == entry["positive"]).to_numpy().astype(int), deploy.shape[1]


def leaf_kernel(model: LGBMClassifier, X: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """In which share of the teacher's trees each row falls into the leaf of each landmark."""
    own, theirs = (model.predict(rows, pred_leaf=True) for rows in (X, landmarks))
    return np.stack([(own == leaves).mean(axis=1) for leaves in theirs], axis=1)


def lessons(X: np.ndarray, y: np.ndarray, landmarks: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Out of fold: the teacher's probability, and how alike it finds each row and each landmark."""
    soft, alike = np.zeros(len(y)), np.zeros((len(y), len(landmarks)))
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y):
        model = LGBMClassifier(n_estimators=150, learning_rate=0.05, num_leaves=15, n_jobs=1, verbose=-1)
        model.fit(X[train], y[train])
        soft[test] = model.predict_proba(X[test])[:, 1]
        alike[test] = leaf_kernel(model, X[test], X[landmarks])
    return soft, alike


def tree_of_pairs(X: np.ndarray, soft: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A tree on pairs of rows, |x_i - x_j|, that tells how likely the teacher gives them one class."""
    draw = np.random.default_rng(seed)
    i, j = (draw.integers(len(X), size=20 * len(X)) for _ in range(2))
    likely = soft[i] * soft[j] + (1 - soft[i]) * (1 - soft[j])
    tree = DecisionTreeRegressor(max_depth=6, min_samples_leaf=20).fit(np.abs(X[i] - X[j]), likely)
    anchors = draw.choice(len(X), 100, replace=False)

    def predict(rows: np.ndarray) -> np.ndarray:
        alike = np.stack([tree.predict(np.abs(rows - X[anchor])) for anchor in anchors], axis=1)
        return alike @ soft[anchors] / alike.sum(axis=1)

    return predict


def relations(seed: int, name: str, quick: bool) -> list[dict[str, Any]]:
    X, y, width = numeric(name)
    n_train = 600 if quick else 3000
    n_test = min(len(y) - n_train, 4000)
    X, X_test, y, y_test = train_test_split(X, y, train_size=n_train, test_size=n_test, stratify=y, random_state=seed)
    landmarks = np.random.default_rng(seed).choice(len(X), 32, replace=False)
    soft, alike = lessons(X, y, landmarks, seed)
    own, asked, target = X[:, :width], X_test[:, :width], (soft + y) / 2
    components = np.linalg.svd(alike - alike.mean(axis=0), full_matrices=False)
    main = components[0][:, :8] * components[1][:8]
    main /= main.std()

    def tree(outputs: np.ndarray) -> np.ndarray:
        model = DecisionTreeRegressor(max_depth=6, min_samples_leaf=20, random_state=seed).fit(own, outputs)
        return model.predict(asked).reshape(len(asked), -1)[:, 0]

    def beside_target(weight: float) -> np.ndarray:
        return tree(np.column_stack([target / target.std(), weight * main / np.sqrt(main.shape[1])]))

    def with_landmarks() -> np.ndarray:
        guess = DecisionTreeRegressor(max_depth=6, min_samples_leaf=20, random_state=seed).fit(own, alike[:, :8])
        model = DecisionTreeRegressor(max_depth=6, min_samples_leaf=20, random_state=seed)
        model.fit(np.hstack([own, guess.predict(own)]), target)
        return model.predict(np.hstack([asked, guess.predict(asked)]))

    ways = {
        "labels alone": lambda: tree(y),
        "soft targets": lambda: tree(target),
        "and relations, weight .3": lambda: beside_target(0.3),
        "and relations, weight 1": lambda: beside_target(1.0),
        "columns of similarity to landmarks": with_landmarks,
        "tree of pairs, 100 anchors": lambda: tree_of_pairs(own, target, seed)(asked),
    }
    return [
        {"table": name, "seed": seed, "way": way, "auc": roc_auc_score(y_test, made())} for way, made in ways.items()
    ]

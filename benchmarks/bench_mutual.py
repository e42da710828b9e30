"""Do peers that teach each other predict better than the same peers on labels alone, on rows that were held out?

Boosted trees, extremely randomized trees and a small network: their plain mean (the control), one and two rounds of
mutual learning at alpha 0.5, and what alpha="auto" chooses for one round; and each peer alone against itself on
labels alone. Losses are log-loss, or squared error over the variance of the held-out target.

Run: python benchmarks/bench_mutual.py [--quick] [--parts adult,...]
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from _common import arguments, save, spread, table
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tabkd import MutualDistilledEstimator

QUESTION = "mutual"
TABLES = ("adult", "bank_marketing", "support2", "higgs_small", "bike_sharing")
N_SEEDS, N_ROWS, N_TEST = 3, 3000, 20_000
WAYS: dict[str, dict[str, Any]] = {
    "round_1": {"alpha": 0.5, "rounds": 1},
    "round_2": {"alpha": 0.5, "rounds": 2},
    "auto": {"alpha": "auto", "rounds": 1},
}


def peers(*, regression: bool, quick: bool) -> list[tuple[str, Any]]:
    boosted = LGBMRegressor if regression else LGBMClassifier
    forest = ExtraTreesRegressor if regression else ExtraTreesClassifier
    network: Any = MLPRegressor if regression else MLPClassifier
    n_trees, n_epochs = (10, 5) if quick else (40, 20)
    last: Any = network(hidden_layer_sizes=16, learning_rate_init=0.003, max_iter=n_epochs)
    if regression:
        last = TransformedTargetRegressor(last, transformer=StandardScaler())
    return [
        ("boosted", boosted(n_estimators=n_trees, learning_rate=0.1, num_leaves=15, n_jobs=1, verbose=-1)),
        ("forest", forest(n_trees, min_samples_leaf=5, n_jobs=1)),
        ("network", make_pipeline(SimpleImputer(), StandardScaler(), last)),
    ]


def loss(model: Any, X: pd.DataFrame, y: pd.Series) -> float:
    if hasattr(model, "predict_proba"):
        return float(log_loss(y, model.predict_proba(X)))
    return float(mean_squared_error(y, model.predict(X)) / np.var(y))


def losses(models: Mapping[str, Any], X: pd.DataFrame, y: pd.Series) -> dict[str, float]:
    return {name: loss(model, X, y) for name, model in models.items()}


def one_seed(name: str, seed: int, *, quick: bool) -> dict[str, Any]:
    X, y, entry = table(name)
    regression = entry["task"] == "regression"
    X = X.apply(lambda c: c if c.dtype.kind in "ifb" else pd.Series(pd.factorize(c, sort=True)[0], index=c.index))
    if not regression:
        y = pd.Series(pd.factorize(y, sort=True)[0], index=X.index)
    train, test = train_test_split(
        X.index, train_size=600 if quick else N_ROWS, stratify=None if regression else y, random_state=seed
    )
    test = test[:N_TEST]
    row: dict[str, Any] = {"seed": seed}
    for way, settings in WAYS.items():
        model = MutualDistilledEstimator(peers(regression=regression, quick=quick), random_state=seed, **settings)
        start = time.process_time()
        model.fit(X.loc[train], y.loc[train])
        row[f"{way}_fit_s"] = time.process_time() - start
        row[way] = loss(model, X.loc[test], y.loc[test])
        alone = losses(model.peers_, X.loc[test], y.loc[test])
        row |= {f"{way}_{peer}": value for peer, value in alone.items()}
        row |= {f"{way}_gain": model.distillation_gain_, f"{way}_gain_se": model.distillation_gain_se_}
    controls = dict(zip(model.peers_, model.control_.models, strict=True)) | {"mean": model.control_}
    row |= {f"control_{peer}": value for peer, value in losses(controls, X.loc[test], y.loc[test]).items()}
    return row | {"auto_alpha": model.alpha_, "n_test": len(test)}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean loss of each way, and by how much it is below the control's, for the mean of the peers and each alone."""
    frame = pd.DataFrame(rows)
    results = []
    for who in ("mean", "boosted", "forest", "network"):
        control = frame[f"control_{who}"]
        results.append({"who": who, "way": "control", "loss": control.mean()})
        for way in WAYS:
            found = frame[way if who == "mean" else f"{way}_{who}"]
            better = spread(control - found)
            results.append(
                {"who": who, "way": way, "loss": found.mean(), "better_by": better["mean"], "better_se": better["se"]}
            )
    return results


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", "With alpha")
    given = arguments(__doc__)
    question = QUESTION + ("_quick" if given.quick else "")
    wanted = [part for part in given.parts.split(",") if part] or TABLES
    for name in TABLES[:1] if given.quick else TABLES:
        if name in wanted:
            rows = [one_seed(name, seed, quick=given.quick) for seed in range(2 if given.quick else N_SEEDS)]
            save(question, name, rows)
            save(question, f"{name}_summary", summary(rows))

"""Scores of stored predictions, and their standard errors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, make_scorer, roc_auc_score

from tabkd.scoring import Judge
from tabkd.stored import StoredClassifier
from tabkd.targets import Targets, one_hot

SLOW = {
    "f1": make_scorer(f1_score),
    "f1_macro": make_scorer(f1_score, average="macro"),
    "balanced_accuracy": make_scorer(balanced_accuracy_score),
    "roc_auc": make_scorer(roc_auc_score, response_method="predict_proba"),
}


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", sorted(SLOW))
def test_bootstrap_of_a_known_score_is_that_of_scikit_learns(name, weighted, grouped):
    draw = np.random.default_rng(0)
    y = draw.integers(2, size=90)
    weight = draw.uniform(0.5, 2, 90) if weighted else None
    groups = np.repeat(np.arange(30), 3) if grouped else None
    raw = np.clip(0.3 * y + 0.5 * draw.random((2, 2, 90)), 0, 1).round(1)  # two models, two repeats, many ties
    models = np.stack([1 - raw, raw], axis=-1)
    found = []
    for scoring in (name, SLOW[name]):
        judge = Judge(Targets(one_hot(y, 2), None, np.arange(2), weight, 1.0), groups=groups, scoring=scoring, seed=0)
        found.append(judge.compare(*(judge.judged(one, 0.45) for one in models)))
    np.testing.assert_allclose(*found, atol=1e-12)


def test_stored_predictions_show_themselves():
    assert "StoredClassifier" in repr(StoredClassifier(np.array([0, 1]), np.ones((1, 2)) / 2, np.zeros(1, dtype=int)))

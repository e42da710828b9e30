"""Scores of stored predictions, and their standard errors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, get_scorer, make_scorer, roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from tabkd import DistilledEstimator, MutualDistilledEstimator
from tabkd.scoring import Judge
from tabkd.stored import StoredClassifier
from tabkd.targets import Targets, one_hot
from tabkd.thresholds import tune_threshold

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


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "name", ["balanced_accuracy", "f1_macro", "f1_micro", "f1_weighted", "precision_macro", "recall_macro"]
)
@pytest.mark.filterwarnings("ignore:Precision is ill-defined")
def test_bootstrap_of_many_classes_is_that_of_scikit_learns(name, weighted):
    draw = np.random.default_rng(0)
    y = np.resize(np.arange(5), 100)
    weight = draw.uniform(0.5, 2, 100) if weighted else None
    models = one_hot(y, 5) + 2 * draw.random((2, 2, 100, 5))  # two models, two repeats
    models[0, :, :, 4] = 0  # that one never says the last class
    found = []
    for scoring in (name, get_scorer(name)):
        judge = Judge(Targets(one_hot(y, 5), None, np.arange(5), weight, 1.0), scoring=scoring, seed=0)
        found.append(judge.compare(*(judge.judged(one / one.sum(axis=-1, keepdims=True)) for one in models)))
    np.testing.assert_allclose(*found, atol=1e-12)


@pytest.mark.parametrize("scoring", ["roc_auc", SLOW["roc_auc"]], ids=["known", "scikit-learn's"])
def test_resamples_without_a_weighted_row_of_a_class_are_drawn_again(scoring):
    y = np.arange(60) % 2
    weight = np.where((y == 1) & (np.arange(60) > 4), 0.0, 1.0)
    raw = np.random.default_rng(0).random((2, 1, 60))
    judge = Judge(Targets(one_hot(y, 2), None, np.arange(2), weight, 1.0), scoring=scoring, seed=0)
    gain, error = judge.compare(*(judge.judged(np.stack([1 - one, one], axis=-1)) for one in raw))
    assert np.isfinite(gain)
    assert error > 0


def test_resamples_that_score_no_number_are_drawn_again():
    def whole(estimator, X, y):
        return float(y.mean()) if len(np.unique(X)) > 25 else np.nan

    judge = Judge(Targets(np.arange(40.0)[:, None], None, None, None, 1.0), scoring=whole, seed=0)
    assert judge.compare(*[judge.judged(np.zeros((1, 40, 1)))] * 2) == (0, 0)


def test_a_gain_of_unknown_error_does_not_beat_the_control(two, monkeypatch):
    monkeypatch.setattr(Judge, "compare", lambda *_: (0.1, np.nan))
    right = one_hot(two, 2)[None] * 0.5 + 0.25
    judge = Judge(Targets(one_hot(two, 2), None, np.arange(2), None, 1.0), scoring="roc_auc")
    student, control = judge.choose({0.5: right}, {"control": 1 - right}, np.arange(400), forced=False)
    assert student == control


@pytest.mark.parametrize(
    "model",
    [
        DistilledEstimator(LogisticRegression(), DecisionTreeClassifier(max_depth=2), random_state=0),
        MutualDistilledEstimator([("a", LogisticRegression()), ("b", LogisticRegression())], rounds=1, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_student_of_unknown_error_does_not_ship(numbers, two, model, monkeypatch):
    plain = Judge.choose
    monkeypatch.setattr(Judge, "choose", lambda *given, forced: plain(*given, forced=True))
    monkeypatch.setattr(Judge, "compare", lambda *_: (0.1, np.nan))
    assert model.fit(numbers, two).alpha_ == 1


def test_stored_predictions_show_themselves():
    assert "StoredClassifier" in repr(StoredClassifier(np.array([0, 1]), np.ones((1, 2)) / 2, np.zeros(1, dtype=int)))


def test_score_of_a_positive_label_says_how_to_name_it():
    X, y = np.arange(60.0)[:, None], np.resize(["no", "yes"], 60)
    with pytest.raises(ValueError, match=r"make_scorer\(f1_score, pos_label='yes'\)"):
        DistilledEstimator(LogisticRegression(), LogisticRegression(), scoring="f1").fit(X, y)


@pytest.mark.parametrize("name", ["scoring", "threshold"])
def test_scorer_that_reads_the_table_is_told_that_there_is_none(name):
    X, y = np.arange(60.0)[:, None], np.resize([0, 1], 60)
    by_row = {name: lambda model, X, y: (X[:, 0] * (model.predict(X) == y)).sum()}
    with pytest.raises(ValueError, match=rf"{name}=.*their X is no table: give costs by row as fit\(.*sample_weight"):
        DistilledEstimator(LogisticRegression(), LogisticRegression(), **by_row).fit(X, y)


@pytest.mark.parametrize("name", ["f1", "balanced_accuracy"])
def test_threshold_of_ones_own_scorer_is_as_good_as_the_one_known_by_name(name):
    draw = np.random.default_rng(1)
    y = (draw.random(3000) < 0.05).astype(int)
    proba = 1 / (1 + np.exp(2 - 1.2 * y - draw.normal(size=3000)))
    own, known = (tune_threshold(scoring, y, proba, np.array([0, 1])) for scoring in (SLOW[name], name))
    score = SLOW[name]._score_func
    assert score(y, proba > own) == pytest.approx(score(y, proba > known))

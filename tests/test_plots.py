"""Displays: they read what was fitted, and draw it."""

from __future__ import annotations

import copy

import matplotlib
import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from optuna.distributions import IntDistribution
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer

from tabkd import DistillationSearchCV, DistilledEstimator, FeatureBudgetSelector
from tabkd.plots import FrontierDisplay, ParetoDisplay

matplotlib.use("agg")
pytestmark = pytest.mark.filterwarnings("ignore:With alpha=")


@pytest.fixture(scope="module")
def search():
    X, y = load_breast_cancer(return_X_y=True)
    quiet = {"n_estimators": 10, "n_jobs": 1, "verbose": -1}
    model = DistilledEstimator(LGBMClassifier(**quiet), LGBMClassifier(**quiet), alpha=0.5, random_state=0)
    space = {"student__n_estimators": IntDistribution(1, 30)}
    costs = ("score", "size", "n_features")
    return DistillationSearchCV(model, space, teacher_space={}, n_trials=6, objectives=costs, random_state=0).fit(X, y)


def test_trials_of_the_front_are_beaten_by_none_in_both(search):
    display = ParetoDisplay.from_search(search, "size")
    score, size = display.trials["score"].to_numpy(), display.trials["size"].to_numpy()
    for row in range(len(score)):
        better = ((score > score[row]) & (size <= size[row])) | ((score >= score[row]) & (size < size[row]))
        assert display.front[row] == (not better.any())


def test_plot_marks_the_trial_that_was_chosen(search):
    marked = ParetoDisplay.from_search(search).plot().ax_.collections[-1].get_offsets()[0]
    np.testing.assert_allclose(marked[1], search.cv_results_["mean_test_score"][search.best_index_])


def test_trials_below_the_whole_front_are_counted_instead_of_drawn():
    trials = pd.DataFrame({"score": [-0.3, -0.2, -0.25, -0.9, -0.8], "size": [1024, 4096, 8192, 2048, 9000]})
    display = ParetoDisplay(trials, np.array([True, True, False, False, False]), None, "size").plot()
    np.testing.assert_array_equal(display.ax_.collections[0].get_offsets(), [[8, -0.25]])
    assert "beaten by another (2 more below)" in [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_score_is_named_on_the_axis(search, selector):
    assert ParetoDisplay.from_search(search).plot().ax_.get_ylabel() == "neg_log_loss (greater is better)"
    selector = clone(selector).set_params(scoring="roc_auc").fit(*load_breast_cancer(return_X_y=True))
    assert FrontierDisplay.from_selector(selector).plot().ax_.get_ylabel() == "roc_auc (greater is better)"


def test_plot_is_drawn_where_it_is_told(search):
    ax = matplotlib.figure.Figure().subplots()
    assert ParetoDisplay.from_search(search, "n_features").plot(ax).ax_ is ax


def test_cost_that_was_not_measured_is_refused(search):
    with pytest.raises(ValueError, match="cost='latency' was not measured"):
        ParetoDisplay.from_search(search, "latency")


@pytest.fixture(scope="module")
def selector():
    X, y = load_breast_cancer(return_X_y=True)
    student = LGBMClassifier(n_estimators=5, num_leaves=4, n_jobs=1, verbose=-1)
    return FeatureBudgetSelector(student, features=slice(0, 8), costs=[2] * 30, random_state=0).fit(X, y)


def test_frontier_is_drawn_with_its_errors_and_the_chosen_set_marked(selector):
    ax = FrontierDisplay.from_selector(selector, "n_features").plot().ax_
    (bars,) = ax.containers
    np.testing.assert_array_equal(bars[0].get_xydata(), selector.frontier_[["n_features", "score"]])
    lengths = [np.ptp(segment[:, 1]) / 2 for segment in bars[2][0].get_segments()]
    np.testing.assert_allclose(lengths, selector.frontier_["standard_error"], atol=1e-12)
    marked = ax.collections[-1].get_offsets()[0]
    np.testing.assert_allclose(marked, selector.frontier_.loc[selector.best_index_, ["n_features", "score"]].tolist())


def test_frontier_is_drawn_against_costs_where_there_are_any(selector):
    line = FrontierDisplay.from_selector(selector).plot(matplotlib.figure.Figure().subplots()).ax_.containers[0][0]
    np.testing.assert_array_equal(line.get_xdata(), selector.frontier_["cost"])


def test_frontier_against_something_else_is_refused(selector):
    with pytest.raises(ValueError, match="against must be"):
        FrontierDisplay.from_selector(selector, "latency")


def test_no_trial_is_marked_where_the_estimator_stays_as_it_was(search):
    kept = copy.copy(search)
    kept.best_index_ = None
    assert ParetoDisplay.from_search(kept).chosen is None

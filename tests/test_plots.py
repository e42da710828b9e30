"""Displays: they read what was fitted, and draw it."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from lightgbm import LGBMClassifier
from optuna.distributions import IntDistribution
from sklearn.datasets import load_breast_cancer

from tabkd import DistillationSearchCV, DistilledEstimator
from tabkd.plots import ParetoDisplay

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


def test_plot_shows_every_trial_and_marks_the_chosen_one(search):
    display = ParetoDisplay.from_search(search).plot()
    drawn = [len(points.get_offsets()) for points in display.ax_.collections]
    assert sum(drawn[:-1]) + display.front.sum() == 6
    marked = display.ax_.collections[-1].get_offsets()[0]
    np.testing.assert_allclose(marked[1], search.cv_results_["mean_test_score"][search.best_index_])


def test_plot_is_drawn_where_it_is_told(search):
    ax = matplotlib.figure.Figure().subplots()
    assert ParetoDisplay.from_search(search, "n_features").plot(ax).ax_ is ax


def test_cost_that_was_not_measured_is_refused(search):
    with pytest.raises(ValueError, match="cost='latency' was not measured"):
        ParetoDisplay.from_search(search, "latency")

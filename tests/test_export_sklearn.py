"""scikit-learn's models as trees: where they start, which columns their categories are, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeRegressor
from test_export_trees import GAPS, PAIR, SIGNAL, THREE, TWO, N, X, assert_same, by_runtime, hard_rows

from tabkd.export.from_sklearn import output_link, read_sklearn

SMALL = {"max_depth": 6, "random_state": 0}
COUNTS = np.abs(SIGNAL) + 0.1
#: Columns 2 and 3 hold categories: whole numbers, and fractions with a negative one.
CODED = np.column_stack([GAPS[:, :2], X[:, 2], np.round(X[:, 3]) * 2.5 - 1.25]).astype(np.float32)
NAMES = list("abcd")
#: scikit-learn looks for NaN in a sum, which rows with the largest numbers of both signs do not have.
HUGE = pytest.mark.filterwarnings("ignore:invalid value encountered")


def assert_equal_scores(trees, rows, expected):
    expected = np.asarray(expected).reshape(len(rows), -1)
    np.testing.assert_allclose(trees.scores(np.asarray(rows, dtype=float)), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(by_runtime(trees, np.asarray(rows, np.float32)), expected, rtol=2e-6, atol=4e-6)


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeRegressor(criterion="poisson", **SMALL),
        DecisionTreeRegressor(monotonic_cst=[1, -1, 0, 0], **SMALL),
        ExtraTreeRegressor(max_leaf_nodes=9),
        ExtraTreesRegressor(5, monotonic_cst=[1, -1, 0, 0], **SMALL),
        RandomForestRegressor(3, criterion="absolute_error", max_depth=3),
    ],
    ids=str,
)
def test_regressor_with_options(model):
    model.fit(X, COUNTS)
    assert_same(read_sklearn(model, 4), model.predict, gaps=False)


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(ccp_alpha=0.005),
        DecisionTreeClassifier(max_leaf_nodes=9, class_weight="balanced"),
        RandomForestClassifier(5, max_samples=0.3, **SMALL),
    ],
    ids=str,
)
@HUGE
def test_classifier_with_options_and_missing_values(model):
    model.fit(GAPS, THREE)
    assert_same(read_sklearn(model, 4), model.predict_proba)


def test_classifier_with_monotonic_constraints():
    model = RandomForestClassifier(5, monotonic_cst=[1, -1, 0, 0], **SMALL).fit(X, TWO)
    assert_same(read_sklearn(model, 4), model.predict_proba, gaps=False)


def test_classifier_that_saw_one_class():
    model = DecisionTreeClassifier().fit(X, np.zeros(N))
    assert_same(read_sklearn(model, 4), model.predict_proba, gaps=False)


@HUGE
def test_regressor_of_several_outputs_with_missing_values():
    model = RandomForestRegressor(5, **SMALL).fit(GAPS, PAIR)
    assert_same(read_sklearn(model, 4), model.predict)


@pytest.mark.parametrize("strategy", ["prior", "most_frequent", "uniform"])
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
def test_gradient_boosting_classifier_that_starts_from_a_constant(strategy, y):
    model = GradientBoostingClassifier(n_estimators=5, init=DummyClassifier(strategy=strategy)).fit(X, y)
    assert_same(read_sklearn(model, 4), model.decision_function, gaps=False)


@pytest.mark.parametrize("start", ["mean", "median"])
def test_gradient_boosting_regressor_that_starts_from_a_constant(start):
    model = GradientBoostingRegressor(n_estimators=5, init=DummyRegressor(strategy=start)).fit(X, SIGNAL)
    assert_same(read_sklearn(model, 4), model.predict, gaps=False)


def test_gradient_boosting_that_starts_at_random_is_refused():
    model = GradientBoostingClassifier(n_estimators=2, init=DummyClassifier(strategy="stratified")).fit(X, TWO)
    with pytest.raises(ValueError, match=r"starts from init=DummyClassifier\(strategy='stratified'\)"):
        read_sklearn(model, 4)


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "quantile"])
def test_gradient_boosting_regressor_of_every_loss(loss):
    model = GradientBoostingRegressor(n_estimators=9, loss=loss).fit(X, SIGNAL)
    assert_same(read_sklearn(model, 4), model.predict, gaps=False)


def test_gradient_boosting_that_stopped_early():
    model = GradientBoostingClassifier(n_estimators=90, n_iter_no_change=2, subsample=0.5).fit(X, TWO)
    assert_same(read_sklearn(model, 4), model.decision_function, gaps=False)


def test_gradient_boosting_fitted_on_a_frame_is_read_without_a_warning():
    model = GradientBoostingClassifier(n_estimators=5).fit(pd.DataFrame(X, columns=NAMES), TWO)
    assert len(read_sklearn(model, 4).trees) == 5


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "quantile", "poisson", "gamma"])
def test_link_of_the_trees_is_what_hist_gradient_boosting_predicts(loss):
    more = {"quantile": 0.3} if loss == "quantile" else {}
    model = HistGradientBoostingRegressor(max_iter=9, loss=loss, **more).fit(GAPS, COUNTS)
    link = {"identity": lambda scores: scores, "exp": np.exp}[output_link(model)]
    trees = read_sklearn(model, 4)
    rows = hard_rows(trees)
    np.testing.assert_allclose(link(trees.scores(rows))[:, 0], model.predict(rows), rtol=1e-12)


def test_hist_gradient_boosting_with_infinite_values():
    model = HistGradientBoostingRegressor(max_iter=9).fit(GAPS, SIGNAL)
    rows = X.copy()
    rows[::3, 0], rows[1::3, 1], rows[2::3, 3] = np.inf, -np.inf, np.finfo(np.float32).max
    assert_equal_scores(read_sklearn(model, 4), rows, model.predict(rows))


def test_hist_gradient_boosting_that_separates_missing_values_alone():
    column = np.where(np.arange(N) % 3, 1.0, np.nan)[:, None]
    model = HistGradientBoostingRegressor(max_iter=3).fit(np.hstack([column, X[:, :3]]), np.isnan(column[:, 0]))
    rows = np.repeat(np.array([[np.nan], [np.inf], [-np.inf], [0], [5]], dtype=np.float32), 4, axis=1)
    assert_equal_scores(read_sklearn(model, 4), rows, model.predict(rows))


@pytest.mark.parametrize("categories", [[3, 2], [3], [False, False, True, True]], ids=str)
@pytest.mark.parametrize("gaps", [False, True], ids=["full", "gaps"])
def test_categories_that_are_unseen_missing_or_between_known_ones(categories, gaps):
    table = np.where(np.arange(N)[:, None] % [9, 9, 7, 5] if gaps else True, CODED, np.float32(np.nan))
    model = HistGradientBoostingClassifier(max_iter=9, categorical_features=categories, min_samples_leaf=5)
    model.fit(table, THREE)
    rows = table.copy()
    odd = np.array([np.nan, -1, -1.25, 0, 0.5, 3.7, 99, 3e38, -3e38], dtype=np.float32)
    rows[: 9 * len(odd), 2], rows[: 9 * len(odd), 3] = np.tile(odd, 9), np.repeat(odd, 9)
    assert_equal_scores(read_sklearn(model, 4), rows, model.decision_function(rows))


def test_categories_that_float32_cannot_hold_are_unknown():
    table = X.astype(float) / [1, 1, 10, 1]
    model = HistGradientBoostingClassifier(max_iter=9, categorical_features=[2], min_samples_leaf=5).fit(table, THREE)
    rows = table.astype(np.float32)
    assert_equal_scores(read_sklearn(model, 4), rows, model.decision_function(rows))


def test_categories_by_dtype():
    frame = pd.DataFrame(CODED, columns=NAMES).astype({"d": "category"})
    model = HistGradientBoostingClassifier(max_iter=9, categorical_features="from_dtype").fit(frame, THREE)
    assert_equal_scores(read_sklearn(model, 4), CODED, model.decision_function(frame))


def test_frame_without_categories():
    frame = pd.DataFrame(GAPS, columns=NAMES)
    model = HistGradientBoostingClassifier(max_iter=9, categorical_features="from_dtype").fit(frame, THREE)
    assert_equal_scores(read_sklearn(model, 4), GAPS, model.decision_function(frame))


def test_categories_with_early_stopping_and_monotonic_constraints():
    model = HistGradientBoostingClassifier(
        max_iter=60, categorical_features=[2], monotonic_cst=[1, -1, 0, 0], early_stopping=True, n_iter_no_change=2
    ).fit(GAPS, TWO)
    assert_same(read_sklearn(model, 4), model.decision_function)


def test_categories_of_text_are_refused_by_column():
    frame = pd.DataFrame(X, columns=NAMES).assign(c=pd.Categorical(np.where(TWO, "yes", "no")))
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features="from_dtype").fit(frame, THREE)
    with pytest.raises(ValueError, match="was fitted on texts in column 2, such as 'no'"):
        read_sklearn(model, 4)

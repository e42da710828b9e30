"""XGBoost's models as trees: what its own files hide, its links, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost
from scipy.special import expit, softmax
from test_export_trees import GAPS, PAIR, SIGNAL, THREE, TWO, N, X, assert_same, by_runtime, hard_rows
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier

from tabkd.boosters import SoftmaxObjective
from tabkd.export.from_xgboost import output_link, read_xgboost
from tabkd.families import decision_values

FEW = {"n_estimators": 12, "n_jobs": 1}
COUNTS = np.abs(SIGNAL) + 0.1
LINKS = {"identity": lambda scores: scores, "exp": np.exp, "sigmoid": expit}
CATEGORICAL = {"enable_categorical": True, "feature_types": ["q", "q", "c", "q"]}


def squared_log_odds(y, raw):
    return expit(raw) - y, np.full_like(raw, 0.25)


def assert_margins(model, **options):
    assert_same(read_xgboost(model, 4), lambda rows: decision_values(model, rows), rtol=1e-6, **options)


def test_nodes_cut_off_by_pruning_are_left_out():
    model = XGBRegressor(**FEW, tree_method="exact", gamma=9).fit(GAPS, SIGNAL)
    sizes = [(len(tree.feature), int((tree.feature >= 0).sum())) for tree in read_xgboost(model, 4).trees]
    assert all(nodes == 2 * splits + 1 for nodes, splits in sizes)


def test_pruned_trees_give_the_margins():
    assert_margins(XGBRegressor(**FEW, tree_method="exact", gamma=9).fit(GAPS, SIGNAL))


def test_pruned_categories_give_the_margins():
    kinds = {"enable_categorical": True, "feature_types": CATEGORICAL["feature_types"]}
    grown = xgboost.train({"max_cat_to_onehot": 1, "nthread": 1}, xgboost.DMatrix(X, SIGNAL, **kinds), 12)
    update = {"process_type": "update", "updater": "prune", "gamma": 9.0, "nthread": 1, "verbosity": 0}
    model = XGBRegressor(**FEW)
    model._Booster = xgboost.train(update, xgboost.DMatrix(X, SIGNAL, **kinds), 12, xgb_model=grown)
    assert_margins(model)


def test_early_stopping_by_a_callback_has_the_best_rounds():
    model = XGBClassifier(n_estimators=90, n_jobs=1, callbacks=[xgboost.callback.EarlyStopping(rounds=3)])
    model.fit(X[:400], TWO[:400], eval_set=[(X[400:], TWO[400:])], verbose=False)
    assert len(read_xgboost(model, 4).trees) == model.best_iteration + 1


def test_early_stopping_outlives_a_file(tmp_path):
    model = XGBClassifier(n_estimators=90, n_jobs=1, early_stopping_rounds=3)
    model.fit(X[:400], THREE[:400], eval_set=[(X[400:], THREE[400:])], verbose=False)
    model.save_model(tmp_path / "model.json")
    loaded = XGBClassifier()
    loaded.load_model(tmp_path / "model.json")
    assert_margins(loaded)


@pytest.mark.parametrize("value", [0.0, -999.0, np.inf])
def test_a_number_for_missing_is_refused(value):
    model = XGBRegressor(**FEW, missing=value).fit(X, SIGNAL)
    with pytest.raises(ValueError, match=rf"missing={value} cannot be exported\. Put NaN"):
        read_xgboost(model, 4)


@pytest.mark.parametrize(
    "params",
    [{"base_score": 0.3}, {"base_score": 0.3, "objective": "count:poisson"}],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_intercept_is_on_the_scale_of_the_margins(params):
    model = XGBRegressor(**FEW, **params).fit(X, COUNTS)
    assert_same(read_xgboost(model, 4), lambda rows: model.predict(rows, output_margin=True), rtol=1e-6)


def test_intercept_of_large_targets():
    assert_margins(XGBRegressor(**FEW).fit(X, 1e6 + SIGNAL))


def test_margins_given_for_training_are_not_in_the_trees():
    assert_margins(XGBClassifier(**FEW).fit(X, TWO, base_margin=np.full(N, 2.0)))


def test_dart_of_several_outputs():
    assert_margins(XGBRegressor(**FEW, booster="dart", rate_drop=0.5).fit(GAPS, PAIR))


def test_rounds_of_parallel_trees():
    assert_margins(XGBClassifier(n_estimators=4, num_parallel_tree=3, subsample=0.5, n_jobs=1).fit(GAPS, THREE))


def test_forest_classifier():
    assert_margins(XGBRFClassifier(**FEW).fit(GAPS, THREE))


def test_monotone_constraints():
    assert_margins(XGBRegressor(**FEW, monotone_constraints=(1, -1, 0, 0)).fit(GAPS, SIGNAL))


def test_model_without_splits():
    assert_margins(XGBRegressor(**FEW, gamma=1e9).fit(X, SIGNAL))


def test_infinite_values():
    model = XGBRegressor(**FEW).fit(GAPS, SIGNAL)
    rows = X.copy()
    rows[::3, 0], rows[1::3, 1], rows[2::3, 3] = np.inf, -np.inf, np.finfo(np.float32).max
    np.testing.assert_allclose(read_xgboost(model, 4).scores(rows)[:, 0], model.predict(rows), rtol=1e-6, atol=1e-6)


def test_thresholds_at_zero_and_at_the_largest_number():
    model = XGBRegressor(**FEW).fit(np.where(X > 1, np.finfo(np.float32).max, np.sign(X)), SIGNAL)
    assert_margins(model)


@pytest.mark.parametrize("one_hot", [1, 100])
@pytest.mark.parametrize("method", ["hist", "approx"])
@pytest.mark.parametrize("column", [X[:, 2], np.where(np.arange(N) % 7, X[:, 2], np.nan)], ids=["full", "gaps"])
def test_categories_that_are_unseen_missing_or_between_codes(one_hot, method, column):
    table = np.column_stack([GAPS[:, :2], column, GAPS[:, 3]]).astype(np.float32)
    model = XGBClassifier(**FEW, **CATEGORICAL, max_cat_to_onehot=one_hot, tree_method=method).fit(table, THREE)
    trees = read_xgboost(model, 4)
    rows = hard_rows(trees)
    odd = np.array([np.nan, -1, -0.5, -0.0, 0.5, 3.7, 12, 31, 32, 1e9, 3e38], dtype=np.float32)
    rows[20 : 20 + 3 * len(odd), 2] = np.tile(odd, 3)
    expected = decision_values(model, rows)
    np.testing.assert_allclose(trees.scores(rows), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(by_runtime(trees, rows), expected, rtol=2e-6, atol=4e-6)


@pytest.mark.parametrize(
    ("objective", "y"),
    [
        ("reg:squarederror", SIGNAL),
        ("reg:squaredlogerror", COUNTS),
        ("reg:absoluteerror", SIGNAL),
        ("reg:pseudohubererror", SIGNAL),
        ("count:poisson", COUNTS),
        ("reg:gamma", COUNTS),
        ("reg:tweedie", COUNTS),
        ("reg:logistic", TWO * 0.9),
        ("binary:logistic", TWO),
        ("binary:logitraw", TWO),
    ],
)
def test_link_of_the_trees_is_what_a_regressor_predicts(objective, y):
    model = XGBRegressor(**FEW, objective=objective).fit(GAPS, y)
    predicted = LINKS[output_link(model)](read_xgboost(model, 4).scores(GAPS))[:, 0]
    np.testing.assert_allclose(predicted, model.predict(GAPS), rtol=2e-6, atol=1e-6)


def test_several_quantiles():
    model = XGBRegressor(**FEW, objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9]).fit(GAPS, SIGNAL)
    assert_same(read_xgboost(model, 4), model.predict, rtol=1e-6)


def test_regressor_with_a_strange_link_is_refused():
    with pytest.raises(ValueError, match="objective 'binary:hinge' cannot be exported exactly"):
        output_link(XGBRegressor(**FEW, objective="binary:hinge").fit(X, TWO))


def test_soft_labels_of_three_classes():
    objective = SoftmaxObjective(np.eye(3)[THREE], None, 2.0)
    assert_margins(XGBRegressor(**FEW, objective=objective, base_score=0.0).fit(X, np.eye(3)[THREE]))


@pytest.mark.parametrize(
    "objective",
    ["binary:logistic", "reg:logistic", squared_log_odds],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_sigmoid_of_the_trees_is_the_probability(objective):
    model = XGBClassifier(**FEW, objective=objective).fit(GAPS, TWO)
    scores = read_xgboost(model, 4).scores(GAPS)
    np.testing.assert_allclose(expit(scores)[:, 0], model.predict_proba(GAPS)[:, 1], atol=1e-6)


@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_softmax_of_the_trees_is_the_probability(objective):
    model = XGBClassifier(**FEW, objective=objective).fit(GAPS, THREE)
    scores = read_xgboost(model, 4).scores(GAPS)
    np.testing.assert_allclose(softmax(scores, axis=1), model.predict_proba(GAPS), atol=1e-6)


@pytest.mark.parametrize("objective", ["binary:hinge", "binary:logitraw", "reg:squarederror"])
def test_classifier_without_probabilities_is_refused(objective):
    model = XGBClassifier(**FEW, objective=objective).fit(X, TWO)
    with pytest.raises(ValueError, match=f"objective '{objective}' gives no probabilities"):
        read_xgboost(model, 4)


def test_classifier_of_several_labels_is_refused():
    model = XGBClassifier(**FEW).fit(X, np.column_stack([TWO, THREE > 0, THREE > 1]).astype(int))
    with pytest.raises(ValueError, match="has 3 margins for 2 classes"):
        read_xgboost(model, 4)


def test_softmax_of_two_classes_is_refused():
    model = XGBClassifier(**FEW, objective="multi:softprob", num_class=2).fit(X, TWO)
    with pytest.raises(ValueError, match=r"has 2 margins for 2 classes.*'binary:logistic'"):
        read_xgboost(model, 4)


def test_texts_that_look_like_the_trees_change_nothing():
    model = XGBRegressor(**FEW).fit(X, SIGNAL)
    before = read_xgboost(model, 4).scores(X)
    model.get_booster().set_attr(note='"parents":[1],', sum_hessian='"],"')
    np.testing.assert_array_equal(read_xgboost(model, 4).scores(X), before)

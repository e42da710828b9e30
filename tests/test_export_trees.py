"""Trees of every library in our own form give the library's own answers, at every threshold and beside it."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor, Pool
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier
from xgboost import XGBClassifier, XGBRegressor, XGBRFRegressor

from tabkd.export.from_catboost import output_link as catboost_link
from tabkd.export.from_catboost import read_catboost
from tabkd.export.from_lightgbm import output_link as lightgbm_link
from tabkd.export.from_lightgbm import read_lightgbm
from tabkd.export.from_sklearn import read_sklearn
from tabkd.export.from_xgboost import output_link as xgboost_link
from tabkd.export.from_xgboost import read_xgboost
from tabkd.export.graph import Graph
from tabkd.export.tree_nodes import add_trees
from tabkd.export.trees import merge
from tabkd.families import decision_values, watching

RNG = np.random.default_rng(0)
N = 600
#: Two columns of numbers, one of category codes, one of numbers; the second array has gaps.
X = np.column_stack([RNG.normal(size=(N, 2)), RNG.integers(0, 12, N), RNG.normal(size=N)]).astype(np.float32)
GAPS = np.where(RNG.random(X.shape) < [0.1, 0.1, 0, 0.1], np.float32(np.nan), X)
SIGNAL = X[:, 0] - X[:, 1] ** 2 + (X[:, 2] % 3 == 1) + RNG.normal(scale=0.3, size=N)
TWO, THREE, PAIR = (SIGNAL > 0).astype(int), np.digitize(SIGNAL, [-1, 0.5]), np.column_stack([SIGNAL, SIGNAL**2])


def hard_rows(trees, *, gaps=True):
    """Every threshold and both neighbours, and rows with what is missing, infinite or never seen."""
    pools = {column: values.astype(np.float32) for column, values in trees.thresholds().items() if column < 4}
    with np.errstate(over="ignore"):
        pools = {
            c: np.concatenate([v, *(np.nextafter(v, np.float32(s)) for s in (-np.inf, np.inf))])
            for c, v in pools.items()
        }
    pools = {column: values[np.isfinite(values)] for column, values in pools.items()}
    rng = np.random.default_rng(1)
    n_rows = max([N, *map(len, pools.values())])
    rows = X[rng.integers(0, N, n_rows)].copy()
    for column, values in pools.items():
        if column != 2:
            rows[: len(values), column] = rng.permutation(values)
    if gaps:
        struck = rng.random(rows.shape) < [0.1, 0.1, 0, 0.1]
        rows = np.where(struck, rng.choice(np.array([np.nan, 3e38, -3e38, 0], dtype=np.float32), rows.shape), rows)
        rows[:20, 2] = 99
    return rows


def by_runtime(trees, rows):
    graph = Graph()
    graph.output("scores", add_trees(graph, graph.input("x", np.float32, 4), trees), np.float32, trees.n_outputs)
    session = onnxruntime.InferenceSession(graph.model().SerializeToString())
    return session.run(None, {"x": rows})[0]


def assert_same(trees, answer, *, gaps=True, rtol=1e-12):
    rows = hard_rows(trees, gaps=gaps)
    expected = np.asarray(answer(rows), dtype=float).reshape(len(rows), -1)
    np.testing.assert_allclose(trees.scores(rows), expected, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(by_runtime(trees, rows), expected, rtol=2e-6, atol=4e-6)


QUIET = {"n_estimators": 20, "verbose": -1, "n_jobs": 1, "min_child_samples": 5}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"categorical_column": [2], "min_data_per_group": 5},
        {"boosting_type": "dart"},
        {"boosting_type": "rf", "subsample": 0.6, "subsample_freq": 1},
        {"use_missing": False},
        {"extra_trees": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
@pytest.mark.filterwarnings("ignore:X does not have valid feature names", "ignore:categorical_column in param dict")
def test_lightgbm_classifier(params, y):
    model = LGBMClassifier(**QUIET, **params).fit(GAPS, y)
    assert_same(read_lightgbm(model, 4), lambda rows: decision_values(model, rows))


def test_lightgbm_after_early_stopping_has_the_best_rounds():
    model = LGBMClassifier(**{**QUIET, "n_estimators": 200}, early_stopping_rounds=3)
    with watching():
        model.fit(X[:400], TWO[:400], eval_set=[(X[400:], TWO[400:])])
    assert len(read_lightgbm(model, 4).trees) == model.best_iteration_


@pytest.mark.parametrize(("objective", "link"), [("poisson", "exp"), ("l1", "identity"), ("cross_entropy", "sigmoid")])
def test_lightgbm_regressor_has_a_link(objective, link):
    model = LGBMRegressor(**QUIET, objective=objective).fit(X, TWO)
    assert lightgbm_link(model) == link


def test_lightgbm_regressor_with_a_strange_link_is_refused():
    with pytest.raises(ValueError, match="objective 'cross_entropy_lambda' cannot be exported"):
        lightgbm_link(LGBMRegressor(**QUIET, objective="cross_entropy_lambda").fit(X, TWO))


@pytest.mark.parametrize(
    "params",
    [{}, {"booster": "dart", "rate_drop": 0.3}, {"base_score": 0.3}, {"max_leaves": 6, "grow_policy": "lossguide"}],
    ids=str,
)
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
def test_xgboost_classifier(params, y):
    if "base_score" in params and y is THREE:
        params = {}
    model = XGBClassifier(n_estimators=15, n_jobs=1, **params).fit(GAPS, y)
    assert_same(read_xgboost(model, 4), lambda rows: decision_values(model, rows), rtol=2e-6)


@pytest.mark.parametrize("one_hot", [1, 50])
def test_xgboost_categories(one_hot):
    frame = pd.DataFrame(X, columns=list("abcd")).assign(c=pd.Categorical(X[:, 2].astype(int), categories=range(12)))
    model = XGBClassifier(n_estimators=15, enable_categorical=True, max_cat_to_onehot=one_hot, n_jobs=1).fit(frame, TWO)
    expected = decision_values(model, frame).reshape(N, -1)
    np.testing.assert_allclose(read_xgboost(model, 4).scores(X), expected, rtol=1e-5, atol=2e-6)


def test_xgboost_after_early_stopping_has_the_best_rounds():
    model = XGBClassifier(n_estimators=200, early_stopping_rounds=3, n_jobs=1)
    model.fit(X[:400], TWO[:400], eval_set=[(X[400:], TWO[400:])], verbose=False)
    assert_same(read_xgboost(model, 4), lambda rows: decision_values(model, rows), rtol=2e-6)


@pytest.mark.parametrize("y", [SIGNAL, PAIR], ids=["one output", "two outputs"])
@pytest.mark.parametrize(
    "model", [XGBRegressor(n_estimators=9), XGBRFRegressor(n_estimators=9)], ids=["boosted", "forest"]
)
def test_xgboost_regressor(model, y):
    model.fit(GAPS, y)
    assert_same(read_xgboost(model, 4), model.predict, rtol=1e-5)


def test_xgboost_without_trees_is_refused():
    with pytest.raises(ValueError, match="booster='gblinear' has no trees"):
        read_xgboost(XGBRegressor(booster="gblinear", n_estimators=2).fit(X, SIGNAL), 4)


def test_xgboost_trees_of_several_outputs_are_refused():
    with pytest.raises(ValueError, match="multi_output_tree' cannot be exported"):
        read_xgboost(XGBRegressor(multi_strategy="multi_output_tree", n_estimators=2).fit(X, PAIR), 4)


@pytest.mark.parametrize(("objective", "link"), [("count:poisson", "exp"), ("reg:logistic", "sigmoid")])
def test_xgboost_regressor_has_a_link(objective, link):
    assert xgboost_link(XGBRegressor(objective=objective)) == link


TREES = {"max_depth": 6, "random_state": 0}


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(**TREES),
        ExtraTreeClassifier(**TREES),
        RandomForestClassifier(9, **TREES),
        ExtraTreesClassifier(9, **TREES),
    ],
    ids=["tree", "extra tree", "forest", "extra trees"],
)
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_scikit_learn_classifier_with_missing_values(model, y):
    model.fit(GAPS, y)
    assert_same(read_sklearn(model, 4), model.predict_proba)


@pytest.mark.parametrize("y", [SIGNAL, PAIR], ids=["one output", "two outputs"])
@pytest.mark.parametrize(
    "model",
    [DecisionTreeRegressor(**TREES), RandomForestRegressor(9, **TREES), ExtraTreesRegressor(9, **TREES)],
    ids=["tree", "forest", "extra trees"],
)
def test_scikit_learn_regressor(model, y):
    model.fit(X, y)
    assert_same(read_sklearn(model, 4), model.predict, gaps=False)


@pytest.mark.parametrize("params", [{}, {"loss": "exponential"}, {"init": "zero"}], ids=str)
def test_gradient_boosting_classifier(params):
    model = GradientBoostingClassifier(n_estimators=15, **params).fit(X, TWO)
    assert_same(read_sklearn(model, 4), model.decision_function, gaps=False)


def test_gradient_boosting_of_three_classes():
    model = GradientBoostingClassifier(n_estimators=9).fit(X, THREE)
    assert_same(read_sklearn(model, 4), model.decision_function, gaps=False)


def test_gradient_boosting_regressor():
    model = GradientBoostingRegressor(n_estimators=15).fit(X, SIGNAL)
    assert_same(read_sklearn(model, 4), model.predict, gaps=False)


def test_gradient_boosting_that_starts_from_a_model_is_refused():
    model = GradientBoostingClassifier(n_estimators=2, init=LogisticRegression()).fit(X, TWO)
    with pytest.raises(ValueError, match=r"starts from init=LogisticRegression\(\)"):
        read_sklearn(model, 4)


def test_tree_of_several_labels_is_refused():
    model = DecisionTreeClassifier(max_depth=2).fit(X, np.column_stack([TWO, THREE]))
    with pytest.raises(ValueError, match="predicts 2 labels at once"):
        read_sklearn(model, 4)


@pytest.mark.parametrize("categories", [None, [2], [False, False, True, False]], ids=str)
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
def test_hist_gradient_boosting_classifier(categories, y):
    model = HistGradientBoostingClassifier(max_iter=15, categorical_features=categories).fit(GAPS, y)
    assert_same(read_sklearn(model, 4), model.decision_function)


def test_hist_gradient_boosting_with_categories_by_name():
    frame = pd.DataFrame(GAPS, columns=list("abcd"))
    model = HistGradientBoostingClassifier(max_iter=15, categorical_features=["c"]).fit(frame, TWO)
    assert_same(read_sklearn(model, 4), lambda rows: model.decision_function(pd.DataFrame(rows, columns=list("abcd"))))


def test_hist_gradient_boosting_of_counts_has_a_link():
    model = HistGradientBoostingRegressor(max_iter=9, loss="poisson").fit(X, np.abs(SIGNAL))
    assert_same(read_sklearn(model, 4), lambda rows: np.log(model.predict(rows)), rtol=1e-9)


CAT = {"iterations": 20, "depth": 4, "verbose": False, "allow_writing_files": False, "thread_count": 1}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"nan_mode": "Max"},
        {"grow_policy": "Lossguide"},
        {"grow_policy": "Depthwise"},
        {"boost_from_average": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
def test_catboost_classifier(params, y):
    if "boost_from_average" in params and y is THREE:
        params = {}
    model = CatBoostClassifier(**CAT, **params).fit(GAPS, y)
    assert_same(read_catboost(model, 4), lambda rows: decision_values(model, rows))


@pytest.mark.parametrize(("loss", "y"), [("RMSE", SIGNAL), ("MultiRMSE", PAIR)])
def test_catboost_regressor(loss, y):
    model = CatBoostRegressor(**CAT, loss_function=loss).fit(GAPS, y)
    assert_same(read_catboost(model, 4), model.predict)


def test_oblivious_trees_of_unequal_depth_are_merged():
    models = [CatBoostRegressor(**{**CAT, "depth": depth}).fit(GAPS, SIGNAL) for depth in (2, 5)]
    trees = merge([read_catboost(model, 4) for model in models])
    assert_same(trees, lambda rows: np.mean([model.predict(rows) for model in models], axis=0))


def test_oblivious_trees_are_written_without_nodes_of_trees():
    graph = Graph()
    trees = read_catboost(CatBoostRegressor(**CAT).fit(GAPS, SIGNAL), 4)
    add_trees(graph, graph.input("x", np.float32, 4), trees)
    assert not any("Tree" in node.op_type for node in graph.nodes)


def test_catboost_of_counts_has_a_link():
    assert catboost_link(CatBoostRegressor(**CAT, loss_function="Poisson").fit(X, np.abs(SIGNAL))) == "exp"


CITIES = np.array(["Seoul", "Busan", "제주", "대구", "", "New York", "42"], dtype=object)


@pytest.fixture(scope="module")
def towns():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(b=rng.choice(CITIES, N), d=rng.choice(["p", "q"], N))
    return frame, TWO ^ (frame["b"] == "Seoul").to_numpy() ^ (frame["d"] == "p").to_numpy()


def with_lookups(trees, frame):
    columns = [frame[name].to_numpy(dtype=float) if name in "ac" else np.zeros(len(frame)) for name in frame]
    matrix, texts = np.column_stack(columns), {i: frame[name].to_numpy() for i, name in enumerate(frame)}
    columns += [lookup.values(matrix, texts) for lookup in trees.lookups]
    return np.column_stack(columns)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"one_hot_max_size": 10},
        {"simple_ctr": ["Borders:CtrBorderCount=9:Prior=0/1:Prior=0.5/1"]},
        {"simple_ctr": ["Buckets"]},
        {"simple_ctr": ["BinarizedTargetMeanValue"]},
        {"simple_ctr": ["Counter"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("classes", [2, 3])
def test_catboost_with_text_columns(towns, params, classes):
    frame, y = towns
    y = y if classes == 2 else y + (frame["c"] > 6)
    model = CatBoostClassifier(**CAT, **params, cat_features=["b", "d"], max_ctr_complexity=1).fit(frame, y)
    unseen = frame.assign(b=frame["b"].where(frame.index % 5 > 0, "never seen"), d=frame["d"].where(frame["a"] > 0, ""))
    trees = read_catboost(model, 4, {1: CITIES.tolist(), 3: ["", "p", "q"]})
    for rows in (frame, unseen):
        expected = decision_values(model, rows).reshape(N, -1)
        np.testing.assert_allclose(trees.scores(with_lookups(trees, rows)), expected, atol=1e-12)


def test_catboost_regressor_with_text_columns(towns):
    frame, _ = towns
    model = CatBoostRegressor(**CAT, cat_features=["b"], max_ctr_complexity=1).fit(frame.drop(columns="d"), SIGNAL)
    trees = read_catboost(model, 3, {1: CITIES.tolist()})
    rows = frame.drop(columns="d")
    np.testing.assert_allclose(trees.scores(with_lookups(trees, rows))[:, 0], model.predict(rows), atol=1e-12)


@pytest.mark.parametrize(
    "params",
    [
        {"one_hot_max_size": 1},
        {},
        {"one_hot_max_size": 1, "combinations_ctr": ["Buckets", "Counter"]},
        {"one_hot_max_size": 1, "nan_mode": "Max"},
    ],
    ids=str,
)
def test_catboost_that_combines_columns(towns, params):
    frame, y = towns
    frame = frame.assign(a=frame["a"].where(frame.index % 7 > 0))
    model = CatBoostClassifier(
        **CAT | {"iterations": 60, "depth": 5, "max_ctr_complexity": 4} | params, cat_features=["b", "d"]
    ).fit(frame, y)
    trees = read_catboost(model, 4, {1: CITIES.tolist(), 3: ["", "p", "q"]})
    assert any(len(lookup.shape) > 1 for lookup in trees.lookups)
    unseen = frame.assign(b=frame["b"].where(frame.index % 5 > 0, "never seen"), d=frame["d"].where(frame["c"] > 0, ""))
    for rows in (frame, unseen):
        expected = decision_values(model, rows).reshape(N, -1)
        np.testing.assert_allclose(trees.scores(with_lookups(trees, rows)), expected, atol=1e-12)


def test_catboost_that_combines_too_many_texts_is_refused_by_name(towns):
    frame, y = towns
    model = CatBoostClassifier(**CAT, cat_features=["b", "d"], one_hot_max_size=1, max_ctr_complexity=4).fit(frame, y)
    many = [*CITIES.tolist(), *map(str, range(100_000))]
    with pytest.raises(ValueError, match=r"combines the categories \['b', 'd'\].*max_ctr_complexity=1"):
        read_catboost(model, 4, {1: many, 3: ["", "p", "q"]})


def test_catboost_with_texts_is_refused_by_name():
    texts = pd.DataFrame({"a": X[:, 0], "note": np.where(TWO, "good one", "bad one")})
    model = CatBoostClassifier(**CAT).fit(Pool(texts, TWO, text_features=["note"]))
    with pytest.raises(ValueError, match=r"text features \['note'\] cannot be exported"):
        read_catboost(model, 2)

"""ONNX files: they answer exactly as Python does, or they are not written."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from conftest import needs_new_runtime
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import AdaBoostClassifier, ExtraTreesClassifier, RandomForestClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

import tabkd.export.models
from tabkd import DistilledEstimator
from tabkd.export import ParityError, to_onnx
from tabkd.export.graph import Graph
from tabkd.export.tree_nodes import add_trees
from tabkd.export.trees import Tree, Trees, at_most, below, merge, whole_numbers, with_sets
from tabkd.runtime import OnnxPredictor


def lgbm(cls=LGBMClassifier, **params):
    return cls(**{"n_estimators": 20, "num_leaves": 7, "n_jobs": 1, "verbose": -1, **params})


@pytest.fixture(scope="module")
def table(numbers):
    """Numbers with gaps under odd names, text, whole numbers, booleans and numeric categories."""
    rng = np.random.default_rng(7)
    frame = numbers.set_axis(["a b", "나이 (세)", "c[1]", "d"], axis=1).copy()
    frame.loc[rng.random(len(frame)) < 0.1, "d"] = np.nan
    cities = pd.Series(rng.choice(["Seoul", "Busan", "제주", None], len(frame)), dtype=object)
    return frame.assign(
        city=cities,
        grade=pd.Categorical(rng.integers(0, 4, len(frame))),
        count=rng.integers(0, 9, len(frame)),
        flag=rng.random(len(frame)) > 0.5,
    )


def distilled(student, table, y, **params):
    model = DistilledEstimator(lgbm(), student, **{"alpha": 0.5, "cross_fit": "folds", "random_state": 0, **params})
    return model.fit(table, y)


def exported(model, folder, table, **options):
    path = to_onnx(model, folder / "model.onnx", X=table, **options)
    return OnnxPredictor(path)


def pipeline(model):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    encode = ColumnTransformer(
        [("n", numbers, ["a b", "나이 (세)", "d"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["count"])]
    )
    return Pipeline([("encode", encode), ("model", model)])


PLAIN = ["a b", "나이 (세)", "city", "grade", "count", "flag"]
STUDENTS = {
    "lightgbm": (lgbm(), {}),
    "lightgbm ensemble": (lgbm(), {"ensemble": True}),
    "lightgbm squared error": (lgbm(), {"loss": "squared_error", "ensemble": True}),
    "lightgbm logit": (lgbm(), {"loss": "logit", "ensemble": True}),
    "lightgbm temperature": (lgbm(), {"alpha": 0, "temperature": 2.0, "ensemble": True}),
    "catboost": (CatBoostClassifier(iterations=15, depth=3, thread_count=1), {"ensemble": True}),
    "xgboost": (XGBClassifier(n_estimators=15, max_depth=3, n_jobs=1), {"ensemble": True}),
    "xgboost categories": (XGBClassifier(n_estimators=9, enable_categorical=True, n_jobs=1), {"ensemble": True}),
    "lightgbm categories": (lgbm(categorical_feature=["city"], min_data_per_group=5), {"ensemble": True}),
    "tree": (DecisionTreeClassifier(max_depth=4, random_state=0), {"student_features": PLAIN}),
    "forest": (RandomForestClassifier(10, max_depth=4, random_state=0), {"student_features": PLAIN}),
    "extra trees": (ExtraTreesClassifier(10, max_depth=4), {"student_features": PLAIN, "ensemble": True}),
    "logistic": (LogisticRegression(max_iter=500), {"student_features": PLAIN, "ensemble": True}),
    "network": (
        MLPRegressor(hidden_layer_sizes=(8,), max_iter=20, random_state=0),
        {"student_features": ["a b", "city"]},
    ),
    "pipeline of trees": (pipeline(lgbm()), {}),
    "pipeline": (pipeline(LogisticRegression()), {"ensemble": True}),
    "selector": (lgbm(), {"student_features": SelectKBest(k=2), "ensemble": True, "teacher_features": [0, 1]}),
}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", STUDENTS)
def test_file_answers_as_the_student_does(table, two, three, tmp_path, name, classes):
    student, params = STUDENTS[name]
    given = table.drop(columns=["d"]) if name == "selector" else table
    model = distilled(student, given, two if classes == 2 else three, **params)
    found = exported(model, tmp_path, given).predict_proba(given)
    np.testing.assert_allclose(found, model.predict_proba(given), atol=1e-5 if name == "network" else 2e-6)


@pytest.mark.parametrize(
    "student", [lgbm(LGBMRegressor), Ridge(), MLPRegressor(max_iter=20, random_state=0)], ids=["lgbm", "ridge", "mlp"]
)
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_file_answers_as_a_regressor_does(table, noise, tmp_path, student, outputs):
    columns = ["a b", "나이 (세)", "city", "count"]
    y = noise if outputs == 1 else np.column_stack([noise, 2 * noise + 1])
    teacher = LinearRegression() if outputs == 2 else lgbm(LGBMRegressor)
    model = DistilledEstimator(
        teacher, student, student_features=columns, teacher_features=["a b"], alpha=0.5, cross_fit="folds"
    ).fit(table, y)
    found = exported(model, tmp_path, table).predict(table)
    np.testing.assert_allclose(found, model.predict(table), atol=2e-5)


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 7], [False, True], [1.0, 2.0]], ids=str)
@pytest.mark.parametrize("student", [lgbm(), CatBoostClassifier(iterations=5, thread_count=1)], ids=["lgbm", "cat"])
def test_labels_keep_their_type(table, two, tmp_path, labels, student):
    model = distilled(student, table, np.array(labels)[two])
    np.testing.assert_array_equal(exported(model, tmp_path, table).predict(table), model.predict(table))


def test_threshold_decides_the_labels_of_the_file(table, two, tmp_path):
    model = distilled(lgbm(), table, two, threshold=0.2)
    np.testing.assert_array_equal(exported(model, tmp_path, table).predict(table), model.predict(table))


def test_matrix_of_codes_gives_the_same_as_columns(table, three, tmp_path):
    model = distilled(lgbm(), table, three)
    by_column, by_matrix = (
        exported(model, tmp_path, table, inputs=inputs).predict_proba(table) for inputs in ("columns", "matrix")
    )
    np.testing.assert_array_equal(by_column, by_matrix)


def test_inputs_have_the_names_of_the_columns(table, two, tmp_path):
    exported(distilled(lgbm(), table, two), tmp_path, table)
    names = [info.name for info in onnx.load(tmp_path / "model.onnx").graph.input]
    assert names == table.columns.tolist()


def test_column_that_is_called_like_an_output_keeps_its_name(table, two, tmp_path):
    named = table.rename(columns={"a b": "label", "c[1]": "probabilities"})
    model = distilled(lgbm(), named, two)
    np.testing.assert_array_equal(exported(model, tmp_path, named).predict(named), model.predict(named))


def test_array_without_names_is_exported(numbers, two, tmp_path):
    X = numbers.to_numpy()
    model = distilled(lgbm(), X, two)
    np.testing.assert_allclose(exported(model, tmp_path, X).predict_proba(X), model.predict_proba(X), atol=2e-6)


def test_estimator_has_to_onnx(table, two, tmp_path):
    path = distilled(lgbm(), table, two).to_onnx(tmp_path / "student.onnx")
    assert OnnxPredictor(path).predict(table).shape == (400,)


@pytest.mark.parametrize(
    "model",
    [lgbm(), RandomForestClassifier(10, max_depth=5), LogisticRegression(), XGBClassifier(n_estimators=9, n_jobs=1)],
    ids=["lightgbm", "forest", "logistic", "xgboost"],
)
def test_plain_classifier_is_exported(numbers, two, tmp_path, model):
    X = numbers.astype(np.float32)
    model.fit(X, two)
    np.testing.assert_allclose(exported(model, tmp_path, X).predict_proba(X), model.predict_proba(X), atol=2e-6)


@pytest.mark.parametrize("options", [{"inputs": "columns"}, {"inputs": "matrix"}, {"precision": "float64"}], ids=str)
def test_catboost_that_combines_text_with_numbers_is_exported(mixed, two, tmp_path, options):
    X = mixed.fillna({"city": ""}).astype({name: np.float32 for name in "abcd"})
    model = CatBoostClassifier(
        iterations=60, cat_features=["city"], one_hot_max_size=1, max_ctr_complexity=4, verbose=False,
        allow_writing_files=False,
    )  # fmt: skip
    model.fit(X, two)
    path = to_onnx(model, tmp_path / "model.onnx", X=X, **options)  # its proof holds unseen and missing texts
    assert OnnxPredictor(path).metadata["proof"]["largest_difference"] < 2e-6


@pytest.mark.parametrize("objective", ["poisson", "regression_l1", "cross_entropy"])
def test_plain_regressor_with_a_link_is_exported(numbers, two, tmp_path, objective):
    X = numbers.astype(np.float32)
    model = lgbm(LGBMRegressor, objective=objective).fit(X, two.astype(float))
    np.testing.assert_allclose(exported(model, tmp_path, X).predict(X), model.predict(X), rtol=1e-5)


def test_mixture_of_models_is_exported(numbers, two, tmp_path):
    voting = VotingClassifier(
        [("lgbm", lgbm()), ("trees", ExtraTreesClassifier(10, max_depth=4)), ("mlp", MLPClassifier((4,), max_iter=5))],
        voting="soft",
        weights=[2, 1, 1],
    )
    with pytest.warns(UserWarning, match="Stochastic Optimizer"):
        model = voting.fit(numbers.astype(np.float32), two)
    found = exported(model, tmp_path, numbers).predict_proba(numbers)
    np.testing.assert_allclose(found, model.predict_proba(numbers.astype(np.float32)), atol=2e-6)


# ---------------------------------------------------------------- exactness


def test_column_beyond_float32_is_exported(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"huge": 1e300 * rng.normal(size=200), "small": rng.normal(size=200)})
    model = lgbm().fit(table, table["small"] > 0)
    predictor = exported(model, tmp_path, table)
    np.testing.assert_allclose(predictor.predict_proba(table), model.predict_proba(table), atol=1e-5)


@pytest.mark.parametrize("side", [-np.inf, 0, np.inf])
def test_thresholds_rounded_down_decide_every_float32_as_float64_does(side):
    thresholds = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.arange(-5, 5).repeat(100)
    near = np.nextafter(thresholds.astype(np.float32), np.float32(side)) if side else thresholds.astype(np.float32)
    np.testing.assert_array_equal(near <= at_most(thresholds), near <= thresholds)
    np.testing.assert_array_equal(near <= below(thresholds), near < thresholds)


def test_epoch_seconds_are_split_exactly(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.integers(1_600_000_000, 1_700_000_000, (3000, 1)).astype(np.float32)
    y = (X[:, 0] % 1000 > 500).astype(int)
    model = lgbm(n_estimators=50, num_leaves=63, min_child_samples=1).fit(X, y)
    np.testing.assert_allclose(exported(model, tmp_path, X).predict_proba(X), model.predict_proba(X), atol=2e-6)


def test_folds_are_merged_into_one_node(table, two, tmp_path):
    exported(distilled(lgbm(), table, two, ensemble=True), tmp_path, table)
    nodes = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert nodes.count("TreeEnsembleRegressor") == 1


def test_merged_trees_are_the_mean_of_the_ensembles():
    one, other = (Trees([Tree.leaf(np.array([value]))], np.array([value]), 1) for value in (1.0, 3.0))
    np.testing.assert_array_equal(merge([one, other]).scores(np.zeros((1, 1))), [[4.0]])


def test_oblivious_trees_take_an_eighth_of_catboosts_own_file(tmp_path):
    X, y = load_breast_cancer(return_X_y=True)
    model = CatBoostClassifier(iterations=200, depth=6, thread_count=1, verbose=False, allow_writing_files=False)
    model.fit(X.astype(np.float32), y).save_model(str(tmp_path / "own.onnx"), format="onnx")
    to_onnx(model, tmp_path / "model.onnx", X=X)
    assert (tmp_path / "model.onnx").stat().st_size < (tmp_path / "own.onnx").stat().st_size / 8


@needs_new_runtime
def test_compact_file_is_half_the_size_and_answers_the_same(table, two, tmp_path):
    model = distilled(lgbm(n_estimators=60), table, two)
    plain = exported(model, tmp_path, table).predict_proba(table)
    size = (tmp_path / "model.onnx").stat().st_size
    np.testing.assert_allclose(exported(model, tmp_path, table, compact=True).predict_proba(table), plain, atol=2e-6)
    assert (tmp_path / "model.onnx").stat().st_size < size / 2


@needs_new_runtime
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_leaves_of_several_outputs_are_kept_in_a_table(tmp_path, precision):
    X, y = load_iris(return_X_y=True)
    model = RandomForestClassifier(20, random_state=0).fit(X, y)
    found = exported(model, tmp_path, X, compact=True, precision=precision).predict_proba(X.astype(np.float32))
    np.testing.assert_allclose(found, model.predict_proba(X.astype(np.float32)), atol=1e-6)


@pytest.mark.parametrize("compact", [False, pytest.param(True, marks=needs_new_runtime)])
def test_ties_between_the_votes_of_a_forest_stay_ties(tmp_path, compact):
    X, y = load_iris(return_X_y=True)
    rows = np.random.default_rng(0).uniform(X.min(axis=0), X.max(axis=0), (3000, 4)).astype(np.float32)
    model = RandomForestClassifier(12, random_state=0).fit(X, y)
    proba = model.predict_proba(rows)
    assert (np.sort(proba)[:, 1] == np.sort(proba)[:, 2]).sum() >= 20
    found = exported(model, tmp_path, X, compact=compact).predict(rows)
    np.testing.assert_array_equal(found, model.predict(rows))


@needs_new_runtime
def test_compact_file_with_sets_of_categories_answers_the_same(table, two, tmp_path):
    model = distilled(lgbm(categorical_feature=["city"], min_data_per_group=5), table, two, ensemble=True)
    found = exported(model, tmp_path, table, compact=True).predict_proba(table)
    np.testing.assert_allclose(found, model.predict_proba(table), atol=2e-6)


@needs_new_runtime
@pytest.mark.parametrize(
    ("other", "options"),
    [
        (lgbm(categorical_column=[0], min_data_per_group=5, cat_smooth=1), {"compact": True}),
        (AdaBoostClassifier(n_estimators=5), {"compact": True}),
        (lgbm(min_child_samples=300), {"precision": "float64"}),
    ],
    ids=["sets", "converted", "without splits"],
)
def test_trees_that_no_operator_runs_together_are_exported(tmp_path, other, options):
    X = np.random.default_rng(0).integers(0, 6, (300, 2)).astype(np.float32)
    model = VotingClassifier([("forest", RandomForestClassifier(5)), ("other", other)], voting="soft")
    model.fit(X, (X[:, 0] % 3 > X[:, 1] % 2).astype(int))
    found = exported(model, tmp_path, X, **options).predict_proba(X)
    np.testing.assert_allclose(found, model.predict_proba(X), atol=2e-6)


def test_sets_of_categories_in_float64_are_refused_with_the_fix():
    leaves, numbers = [False] * 5, np.array([[0.0], [0.0], [1.0], [2.0], [3.0]])
    asked = Tree(
        feature=np.array([0, 1, -1, -1, -1]), threshold=np.zeros(5), yes=np.array([1, 2, 0, 0, 0]),
        no=np.array([4, 3, 0, 0, 0]), missing=np.array(leaves), value=numbers,
    )  # fmt: skip
    trees = Trees([with_sets(asked, {0: whole_numbers(np.array([1, 3]))})], np.zeros(1), 2)
    graph = Graph(np.float64)
    with pytest.raises(ValueError, match="sets of categories cannot be exported with precision='float64'"):
        add_trees(graph, graph.input("x", np.float64, 2), trees)


def test_numbers_as_categories_are_known_again_in_float64(tmp_path):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"grade": pd.Categorical(rng.choice([0.5, 1.1, 7.25], 300)), "x": rng.normal(size=300)})
    y = (X["grade"].astype(float) == 1.1).to_numpy().astype(int)
    student = CatBoostClassifier(iterations=10, depth=2, verbose=False, allow_writing_files=False)
    model = distilled(student, X, y, teacher_features=["x"])
    found = exported(model, tmp_path, X, precision="float64").predict_proba(X)
    np.testing.assert_allclose(found, model.predict_proba(X), atol=1e-12)


@needs_new_runtime
def test_float64_answers_to_the_last_digits(table, two, tmp_path):
    model = distilled(lgbm(), table, two, ensemble=True)
    found = exported(model, tmp_path, table, precision="float64").predict_proba(table)
    np.testing.assert_allclose(found, model.predict_proba(table), atol=1e-14)


def test_default_file_is_made_of_old_operators(table, two, tmp_path):
    exported(distilled(lgbm(), table, two), tmp_path, table)
    file = onnx.load(tmp_path / "model.onnx")
    assert (file.ir_version, {o.domain: o.version for o in file.opset_import}) == (8, {"": 15, "ai.onnx.ml": 3})


# ---------------------------------------------------------------- the proof


def test_metadata_describe_columns_classes_and_proof(table, two, tmp_path):
    exported(distilled(lgbm(), table, two), tmp_path, table)
    (entry,) = onnx.load(tmp_path / "model.onnx").metadata_props
    described = json.loads(entry.value)
    assert described["columns"][4] == {
        "name": "city", "kind": "category", "type": "string", "categories": ["Busan", "Seoul", "제주"],
    }  # fmt: skip
    assert described["classes"] == [0, 1]
    assert described["proof"]["largest_difference"] < 2e-6


def test_file_holds_no_training_parameters(table, two, tmp_path):
    exported(distilled(CatBoostClassifier(iterations=5, thread_count=1), table, two), tmp_path, table)
    assert [entry.key for entry in onnx.load(tmp_path / "model.onnx").metadata_props] == ["tabkd"]


def test_proof_replays_every_threshold(table, two, tmp_path):
    model = distilled(lgbm(), table, two)
    splits = model.student_.members[0].adapter.estimator.booster_.trees_to_dataframe().dropna(subset="threshold")
    distinct = splits.drop_duplicates(["split_feature", "threshold"])
    assert exported(model, tmp_path, table).metadata["proof"]["thresholds"] == len(distinct)


def test_file_that_differs_is_not_written(table, two, tmp_path, monkeypatch):
    def wrong(graph, features, trees):
        moved = Trees([Tree(**{**vars(t), "threshold": t.threshold + 1e-6}) for t in trees.trees], trees.base, 1)
        return add_trees(graph, features, moved)

    monkeypatch.setattr(tabkd.export.models, "add_trees", wrong)
    with pytest.raises(ParityError, match=r"on row \d+ of the proof it gives .* Python"):
        to_onnx(distilled(lgbm(), table, two), tmp_path / "wrong.onnx")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- what is refused


def test_folder_that_does_not_exist_is_named(table, two, tmp_path):
    with pytest.raises(ValueError, match=r"folder .*nowhere does not exist"):
        to_onnx(distilled(lgbm(), table, two), tmp_path / "nowhere" / "model.onnx")


def test_zero_as_missing_is_refused(numbers, two, tmp_path):
    model = lgbm(zero_as_missing=True).fit(numbers.round(), two)
    with pytest.raises(ValueError, match="zero_as_missing=True cannot be exported"):
        to_onnx(model, tmp_path / "model.onnx")


def test_linear_leaves_are_refused(numbers, two, tmp_path):
    model = lgbm(linear_tree=True).fit(numbers, two)
    with pytest.raises(ValueError, match="linear_tree=True cannot be exported"):
        to_onnx(model, tmp_path / "model.onnx")


def test_pandas_categories_of_a_plain_model_are_refused(mixed, two, tmp_path):
    X = mixed.astype({"city": "category"})
    with pytest.raises(ValueError, match="pandas categories"):
        to_onnx(lgbm().fit(X, two), tmp_path / "model.onnx")


def test_student_without_a_converter_is_refused(numbers, two, tmp_path):
    class Odd(LogisticRegression):
        def predict_proba(self, X):
            return super().predict_proba(X) ** 2

    model = distilled(make_pipeline(StandardScaler(), Odd()), numbers, two)
    with pytest.raises(ValueError, match=r"not written|cannot be exported"):
        to_onnx(model, tmp_path / "model.onnx", X=numbers)


def test_column_without_a_name_is_refused():
    with pytest.raises(ValueError, match="A column is called ''"):
        Graph().input("", np.float32, 1)


def test_unknown_layout_is_refused(numbers, two, tmp_path):
    with pytest.raises(ValueError, match='inputs must be "columns" or "matrix", got \'rows\''):
        to_onnx(lgbm().fit(numbers, two), tmp_path / "model.onnx", inputs="rows")

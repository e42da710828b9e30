"""The mean of models of several families and columns: blends and peers, in Python and as one ONNX file."""

from __future__ import annotations

import numpy as np
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tabkd import BlendedEstimator, DistilledEstimator, MutualDistilledEstimator
from tabkd.export import to_onnx
from tabkd.runtime import OnnxPredictor

pytestmark = [pytest.mark.filterwarnings("ignore:With "), pytest.mark.filterwarnings("ignore:Pairs of 3 folds")]

BOOSTED = LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1)
LINEAR, FOREST = LogisticRegression(), ExtraTreesClassifier(5, max_depth=4, random_state=0)
CAT = CatBoostClassifier(5, cat_features=["city"], thread_count=1)
STEPS = make_column_transformer((StandardScaler(), ["a", "b"]), (OneHotEncoder(handle_unknown="ignore"), ["city"]))


def mutual(peers, **params):
    return MutualDistilledEstimator(peers, **{"alpha": 0.5, "cv": 3, "random_state": 0, **params})


def families():
    """Every way to read columns: codes, 0/1 columns, texts, a pipeline."""
    return [
        ("boosted", BOOSTED),
        ("line", LINEAR, ["city", "a"]),
        ("cat", CAT, ["city", "c"]),
        ("steps", make_pipeline(STEPS, LINEAR), ["a", "b", "city"]),
    ]


@pytest.mark.parametrize("inputs", ["columns", "matrix"])
@pytest.mark.parametrize("threshold", [None, 0.3])
def test_file_of_several_families_answers_as_python_does(mixed, two, tmp_path, inputs, threshold):
    X = mixed.fillna({"city": "elsewhere"})
    model = mutual(families(), threshold=threshold).fit(X, two)
    file = OnnxPredictor(model.to_onnx(tmp_path / "mean.onnx", X=X, inputs=inputs))
    assert file.columns == ["a", "b", "c", "d", "city"]
    np.testing.assert_allclose(file.predict_proba(X), model.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(file.predict(X), model.predict(X))
    assert file.metadata["proof"]["thresholds"] > 0


def test_file_of_several_classes_has_their_labels(mixed, three, tmp_path):
    model = mutual([("boosted", BOOSTED), ("line", LINEAR, ["a", "city"])]).fit(mixed, three)
    file = OnnxPredictor(model.to_onnx(tmp_path / "mean.onnx", X=mixed))
    np.testing.assert_array_equal(file.predict(mixed), model.predict(mixed))


def test_file_of_regressors_reads_the_columns_of_all(numbers, tmp_path):
    y = numbers["a"] + numbers["b"]
    peers = [
        ("boosted", LGBMRegressor(n_estimators=5, n_jobs=1, verbose=-1), ["a", "b"]),
        ("line", Ridge(), ["d", "a"]),
        ("tree", DecisionTreeRegressor(max_depth=3), ["b"]),
    ]
    model = mutual(peers).fit(numbers, y)
    file = OnnxPredictor(model.to_onnx(tmp_path / "mean.onnx"))
    assert file.columns == ["a", "b", "d"]
    np.testing.assert_allclose(file.predict(numbers[["d", "b", "a"]]), model.predict(numbers), rtol=1e-5, atol=1e-5)


def test_file_of_a_table_without_names(numbers, two, tmp_path):
    model = mutual([("forest", FOREST, [3, 1]), ("line", LINEAR, [0, 1])]).fit(numbers.to_numpy(), two)
    file = OnnxPredictor(model.to_onnx(tmp_path / "mean.onnx"))
    assert file.columns == ["x0", "x1", "x3"]
    table = numbers[["a", "b", "d"]].set_axis(["x0", "x1", "x3"], axis=1)
    np.testing.assert_allclose(file.predict_proba(table), model.predict_proba(numbers.to_numpy()), atol=1e-6)


def test_file_of_a_blend_has_its_weights(mixed, two, tmp_path):
    members = [
        ("line", DistilledEstimator(BOOSTED, LINEAR, student_features=["a", "city"], alpha=0.5)),
        ("forest", DistilledEstimator(BOOSTED, FOREST, student_features=["b", "city"], alpha=0.5)),
    ]
    blend = BlendedEstimator(members, weights=[3, 1], n_seeds=2, random_state=0).fit(mixed, two)
    file = OnnxPredictor(blend.to_onnx(tmp_path / "blend.onnx", X=mixed))
    assert file.columns == ["a", "b", "city"]
    np.testing.assert_allclose(file.predict_proba(mixed), blend.predict_proba(mixed), atol=1e-6)
    assert blend.student_.weights == [0.375, 0.375, 0.125, 0.125]


def test_file_of_one_peer_reads_its_columns_alone(mixed, two, tmp_path):
    model = mutual(families(), deploy="cat").fit(mixed, two)
    file = OnnxPredictor(to_onnx(model, tmp_path / "cat.onnx"))
    assert file.columns == ["city", "c"]
    np.testing.assert_allclose(file.predict_proba(mixed), model.predict_proba(mixed[["city", "c"]]), atol=1e-6)


def test_file_of_peers_that_are_a_student_reads_raw_columns(mixed, two, tmp_path):
    student = mutual([("line", LINEAR), ("tree", DecisionTreeClassifier(max_depth=3))])
    model = DistilledEstimator(BOOSTED, student, student_features=["a", "city"], alpha=0.5, cv=3, random_state=0)
    model.fit(mixed, two)
    file = OnnxPredictor(model.to_onnx(tmp_path / "student.onnx", X=mixed))
    np.testing.assert_allclose(file.predict_proba(mixed), model.predict_proba(mixed), atol=1e-6)


def test_column_that_is_text_for_one_and_a_number_for_another_is_refused(numbers, two, tmp_path):
    X = numbers.assign(kind=np.arange(len(numbers)) % 3)
    cat = CatBoostClassifier(5, cat_features=["kind"], thread_count=1)
    model = mutual([("cat", cat), ("line", LINEAR)]).fit(X, two)
    with pytest.raises(ValueError, match="Averaged models read column 'kind' in two ways, as text and as numbers"):
        model.to_onnx(tmp_path / "mean.onnx", X=X)


def test_array_of_another_width_is_refused(numbers, two):
    model = mutual([("forest", FOREST, [3, 1]), ("line", LINEAR, [0, 1])]).fit(numbers.to_numpy(), two)
    with pytest.raises(
        ValueError,
        match="X has 2 features, but MutualDistilledEstimator is expecting 4 features as input, or its own 3",
    ):
        model.predict(numbers.to_numpy()[:, :2])


def test_the_fitted_models_are_at_hand():
    X, y = load_breast_cancer(return_X_y=True)
    model = DistilledEstimator(DecisionTreeClassifier(), DecisionTreeClassifier(max_depth=2), alpha=0.5).fit(X, y)
    (tree,) = model.student_.estimators_
    np.testing.assert_array_equal(tree.predict_proba(X.astype(np.float32)), model.predict_proba(X))

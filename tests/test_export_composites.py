"""Models made of others in ONNX files: calibrated, bagged, stacked and voting ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostRegressor
from conftest import needs_new_runtime
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from tabkd import DistilledEstimator
from tabkd.export import ParityError, to_onnx
from tabkd.runtime import OnnxPredictor

N = 300
RNG = np.random.default_rng(0)
X = pd.DataFrame({name: RNG.normal(size=N).astype(np.float32) for name in "abcd"})
GAPS = X.mask(RNG.random(X.shape) < 0.1)
TEXT = X.assign(site=RNG.choice(["u", "v", "w"], N))
SIGNAL = (X["a"] + X["b"] + 0.3 * RNG.normal(size=N)).to_numpy()
TWO, THREE = SIGNAL > 0, np.array(["x", "y", "z"])[np.digitize(SIGNAL, [-0.7, 0.7])]
BOOSTED = LGBMClassifier(n_estimators=4, verbose=-1)
VALUES = LGBMRegressor(n_estimators=4, verbose=-1)
TREE, LINE = DecisionTreeClassifier(max_depth=4, random_state=0), LogisticRegression()
FOREST = RandomForestClassifier(4, max_depth=4, random_state=0)


def reading_text(model):
    return make_pipeline(make_column_transformer((OneHotEncoder(), ["site"]), remainder="passthrough"), model)


CLASSIFIERS = [
    CalibratedClassifierCV(FOREST, cv=3),
    CalibratedClassifierCV(BOOSTED, cv=3),
    CalibratedClassifierCV(HistGradientBoostingClassifier(max_iter=4), cv=3, method="isotonic"),
    CalibratedClassifierCV(HistGradientBoostingClassifier(max_iter=4), cv=3),
    CalibratedClassifierCV(GradientBoostingClassifier(n_estimators=4), cv=3, ensemble=False),
    CalibratedClassifierCV(LINE, cv=3, method="isotonic"),
    CalibratedClassifierCV(LinearSVC(), cv=3),
    BaggingClassifier(TREE, 4, random_state=0),
    BaggingClassifier(BOOSTED, 3, max_features=0.5, random_state=0),
    BaggingClassifier(LINE, 3, random_state=0),
    StackingClassifier([("tree", TREE), ("trees", BOOSTED)], cv=3),
    StackingClassifier([("svm", LinearSVC()), ("line", LINE)], final_estimator=FOREST, cv=3, passthrough=True),
    VotingClassifier(
        [("one", CalibratedClassifierCV(BOOSTED, cv=3)), ("bag", BaggingClassifier(TREE, 3))], voting="soft"
    ),
]


def assert_file_answers_as(model, rows, folder):
    predictor = OnnxPredictor(to_onnx(model, folder / "model.onnx", X=rows))
    shuffled = rows.sample(frac=1, random_state=1)
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(predictor.predict_proba(shuffled), model.predict_proba(shuffled), atol=1e-5)
    else:
        np.testing.assert_allclose(predictor.predict(shuffled), model.predict(shuffled), atol=1e-5)


@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("model", CLASSIFIERS, ids=str)
def test_classifier_made_of_others(model, y, tmp_path):
    assert_file_answers_as(model.fit(X, y), X, tmp_path)


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (VotingRegressor([("trees", VALUES), ("line", Ridge())], weights=[1, 2]), SIGNAL),
        (BaggingRegressor(VALUES, 3, max_features=0.5, random_state=0), SIGNAL),
        (StackingRegressor([("trees", VALUES), ("line", Ridge())], cv=3), SIGNAL),
        (MultiOutputRegressor(VALUES), np.column_stack([SIGNAL, -SIGNAL])),
    ],
    ids=["voting", "bagged", "stacked", "outputs"],
)
def test_regressor_made_of_others(model, y, tmp_path):
    assert_file_answers_as(model.fit(X, y), X, tmp_path)


@pytest.mark.parametrize("model", [CLASSIFIERS[0], CLASSIFIERS[7], CLASSIFIERS[10]], ids=str)
def test_gaps_reach_the_trees_inside(model, tmp_path):
    distilled = DistilledEstimator(BOOSTED, model, alpha=1.0, cross_fit="folds", random_state=0).fit(GAPS, TWO)
    assert_file_answers_as(distilled, GAPS, tmp_path)


@pytest.mark.parametrize(
    "model",
    [
        CalibratedClassifierCV(reading_text(LINE), cv=3),
        StackingClassifier([("line", reading_text(LINE)), ("tree", reading_text(TREE))], cv=3),
    ],
    ids=["calibrated", "stacked"],
)
def test_pipelines_that_read_text_may_be_inside(model, tmp_path):
    distilled = DistilledEstimator(BOOSTED, model, alpha=1.0, cross_fit="folds", random_state=0).fit(TEXT, TWO)
    assert_file_answers_as(distilled, TEXT, tmp_path)


def test_classes_that_a_bag_never_saw(tmp_path):
    rare = np.where(np.arange(N) < 3, "rare", THREE)
    model = BaggingClassifier(make_pipeline(StandardScaler(), TREE), 4, max_samples=8, random_state=0).fit(X, rare)
    assert any(len(part.classes_) < 4 for part in model.estimators_)
    assert_file_answers_as(model, X, tmp_path)


@pytest.mark.parametrize("model", [CLASSIFIERS[8], CLASSIFIERS[0]], ids=str)
def test_thresholds_inside_are_proved(model, tmp_path):
    path = to_onnx(model.fit(X, TWO), tmp_path / "model.onnx", X=X)
    assert OnnxPredictor(path).metadata["proof"]["thresholds"] > 10


def test_shares_that_lie_on_a_threshold_are_not_above_it(tmp_path):
    steps = pd.DataFrame({"a": np.repeat(np.arange(10.0), 100)})
    y = np.concatenate([np.arange(100) < 10 * k for k in range(10)])
    forest = ExtraTreesClassifier(7, random_state=0)
    model = DistilledEstimator(BOOSTED, forest, alpha=1.0, cross_fit="folds", threshold=0.7).fit(steps, y)
    predictor = OnnxPredictor(model.to_onnx(tmp_path / "model.onnx"))
    np.testing.assert_array_equal(predictor.predict(steps), model.predict(steps))
    assert not predictor.predict_one({"a": 7.0}).label


@needs_new_runtime
def test_curves_that_are_too_steep_for_float32_ask_for_float64(tmp_path):
    model = CalibratedClassifierCV(FOREST, cv=3, method="isotonic").fit(X, THREE)
    path = tmp_path / "model.onnx"
    with pytest.raises(ParityError, match=r"isotonic calibration, whose curve is steeper .* precision='float64'"):
        to_onnx(model, path, X=X)
    found = OnnxPredictor(to_onnx(model, path, X=X, precision="float64")).predict_proba(X)
    np.testing.assert_allclose(found, model.predict_proba(X), atol=1e-12)


def test_labels_that_skl2onnx_does_not_know_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"AdaBoostClassifier cannot be exported: .* Make the labels text or whole"):
        to_onnx(AdaBoostClassifier(n_estimators=2).fit(X, TWO), tmp_path / "model.onnx", X=X)


def test_statistics_of_several_outputs_are_refused(tmp_path):
    rows = pd.DataFrame({"a": X["a"], "site": RNG.choice(list("abcdefgh"), N)})
    y = np.column_stack([rows["site"] < "d", rows["site"] == "b"]).astype(float)
    settings = {"iterations": 5, "loss_function": "MultiRMSE", "cat_features": ["site"], "verbose": 0}
    model = CatBoostRegressor(one_hot_max_size=2, allow_writing_files=False, **settings).fit(rows, y)
    with pytest.raises(ValueError, match=r"a model of several outputs .* Fit with one_hot_max_size=255"):
        to_onnx(model, tmp_path / "model.onnx", X=rows)

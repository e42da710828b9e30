"""Models whose own answers a file must give, or be refused: thresholds, float64 digits, offsets, odd columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import make_column_transformer
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import GammaRegressor, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from tabkd import DistilledEstimator
from tabkd.export import ParityError, to_onnx
from tabkd.runtime import OnnxPredictor

pytestmark = pytest.mark.filterwarnings("ignore:(With alpha|Pairs of 3 folds)")
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(300, 3)).astype(np.float32).astype(float)
Y = (X[:, 0] + DRAW.normal(size=300) > 1).astype(int)
BOOSTED = {"n_estimators": 20, "n_jobs": 1, "verbose": -1}


def answers(model, path, **options):
    return OnnxPredictor(to_onnx(model, path / "m.onnx", **options))


def catboost():
    model = CatBoostClassifier(iterations=5, allow_writing_files=False, verbose=0).fit(X, Y)
    model.set_probability_threshold(0.1)
    return model


def fixed():
    return FixedThresholdClassifier(LogisticRegression(), threshold=0.1).fit(X, Y)


@pytest.mark.parametrize("make", [catboost, fixed])
def test_threshold_of_a_plain_model_is_refused(tmp_path, make):
    with pytest.raises(ValueError, match="which is not its likeliest class: it has a threshold of its own"):
        to_onnx(make(), tmp_path / "m.onnx", X=X)


def test_plain_model_that_needs_digits_beyond_float32_is_refused(tmp_path):
    seconds = 1.7e9 + DRAW.integers(0, 500, size=(300, 1)).astype(float)
    model = LGBMClassifier(min_child_samples=5, **BOOSTED).fit(seconds, seconds[:, 0] % 100 > 50)
    with pytest.raises(ValueError, match=r"reads more digits than float32 has, .* Take an offset off the column"):
        to_onnx(model, tmp_path / "m.onnx", X=seconds)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("base", [1e6, 1.7e9])
def test_small_differences_of_large_targets_are_kept(tmp_path, base):
    y = np.float32(base).item() + base / 3e5 * np.tanh(X[:, 0])
    model = LGBMRegressor(**{**BOOSTED, "n_estimators": 200}).fit(X, y)
    found, expected = answers(model, tmp_path, X=X).predict(X), model.predict(X)
    assert np.abs(found - expected).max() <= np.spacing(np.float32(base))


def test_offset_that_float32_cannot_add_up_is_refused_without_rows(tmp_path):
    far = X + 1.7e6
    model = DistilledEstimator(LGBMRegressor(**BOOSTED), Ridge(), alpha=0.5, random_state=0).fit(far, X[:, 0])
    with pytest.raises(ParityError):
        model.to_onnx(tmp_path / "m.onnx")


def test_plain_model_without_thresholds_needs_rows(tmp_path):
    with pytest.raises(ValueError, match=r"LogisticRegression has no thresholds .* Give some rows"):
        to_onnx(LogisticRegression().fit(X, Y), tmp_path / "m.onnx")


@pytest.mark.parametrize("model", [SVC(), RidgeClassifier()], ids=["svc", "ridge"])
def test_classifier_without_probabilities_is_refused(tmp_path, model):
    with pytest.raises(ValueError, match="gives no probabilities"):
        to_onnx(model.fit(X, Y), tmp_path / "m.onnx", X=X)


def test_pipeline_on_text_asks_for_rows(tmp_path):
    table = pd.DataFrame({"city": np.where(Y > 0, "a", "b"), "x": X[:, 0]})
    model = make_pipeline(make_column_transformer((OneHotEncoder(), ["city"])), LogisticRegression()).fit(table, Y)
    with pytest.raises(ValueError, match=r"does not answer rows of numbers drawn at random .* give some rows"):
        to_onnx(model, tmp_path / "m.onnx")


def test_numbers_around_zero_are_lightgbms_category_zero(tmp_path):
    codes = np.column_stack([DRAW.integers(0, 12, 300).astype(float), X[:, 0]])
    model = LGBMClassifier(**BOOSTED, min_data_per_group=1, cat_smooth=0.1, min_child_samples=2)
    model.fit(codes, np.isin(codes[:, 0], [0, 3, 5]), categorical_feature=[0])
    odd = np.column_stack([[-0.9, -0.0, 0.5, -1.0, 0.99], np.zeros(5)])
    found = answers(model, tmp_path, X=codes).predict_proba(odd.astype(np.float32))
    np.testing.assert_allclose(found, model.predict_proba(odd), atol=1e-6)


def test_generalised_linear_regressors_are_no_linear_ones(tmp_path):
    model = GammaRegressor().fit(X, np.exp(X[:, 0]))
    np.testing.assert_allclose(answers(model, tmp_path, X=X).predict(X), model.predict(X), rtol=1e-4)


def test_several_outputs_of_one_regressor_each(tmp_path):
    model = MultiOutputRegressor(Ridge()).fit(X, X[:, :2] @ [[1, 2], [3, 4]])
    np.testing.assert_allclose(answers(model, tmp_path, X=X).predict(X), model.predict(X), atol=1e-4)


@pytest.mark.parametrize("inputs", ["columns", "matrix"])
@pytest.mark.parametrize(
    "odd", [pd.cut(X[:, 0], 3), pd.Categorical([1 if label else "a" for label in Y])], ids=["intervals", "mixed"]
)
def test_categories_of_no_tensor_are_refused(tmp_path, odd, inputs):
    table = pd.DataFrame({"odd": odd, "x": X[:, 0]})
    model = DistilledEstimator(LGBMClassifier(**BOOSTED), LGBMClassifier(**BOOSTED), alpha=0.5).fit(table, Y)
    with pytest.raises(ValueError, match="'odd' holds neither numbers nor text alone"):
        model.to_onnx(tmp_path / "m.onnx", inputs=inputs)


def test_whole_numbers_that_float32_rounds_are_read_so_in_python_too(tmp_path):
    table = pd.DataFrame({"t": 1_700_000_000 + DRAW.integers(0, 300, 300), "x": X[:, 0]})
    y = (table["t"] % 100 > 50).astype(int)
    steps = make_pipeline(StandardScaler(), LGBMClassifier(**BOOSTED, min_child_samples=5))
    model = DistilledEstimator(steps, steps, alpha=0.5, random_state=0).fit(table, y)
    found = answers(model, tmp_path).predict_proba(table)
    np.testing.assert_allclose(found, model.predict_proba(table), atol=1e-5)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"is a folder\. Name a file in it"):
        to_onnx(LogisticRegression().fit(X, Y), tmp_path, X=X)


def test_numbers_beyond_every_float_are_refused(tmp_path):
    model = LGBMClassifier(**BOOSTED).fit(pd.DataFrame(X, columns=list("abc")), Y)
    with pytest.raises(ValueError, match="must hold numbers, but row 0"):
        answers(model, tmp_path).predict_one({"a": 10**400, "b": 0, "c": 0})


def test_nearly_equal_classes_of_a_linear_model_are_not_equal(tmp_path):
    rows = np.vstack([X, [[1e-7, 0, 0]]])
    model = LogisticRegression(fit_intercept=False).fit(np.vstack([X, -X]), np.r_[Y, 1 - Y])
    predictor = answers(model, tmp_path, X=rows)
    assert predictor.predict(rows).tolist() == model.predict(rows).tolist()
    assert predictor.predict_one(dict(zip(predictor.columns, rows[-1].tolist(), strict=True))).label == 1


@pytest.mark.parametrize("seed", range(8))
def test_classes_that_trees_make_equally_likely_get_one_label_everywhere(tmp_path, seed):
    draw = np.random.default_rng(seed)
    rows, y = draw.integers(0, 10, (400, 6)).astype(float), draw.integers(3, size=400)
    forest = ExtraTreesClassifier(7, min_samples_leaf=3, random_state=seed)
    model = DistilledEstimator(LGBMClassifier(**BOOSTED), forest, cv=3, alpha=1.0, random_state=0).fit(rows, y)
    predictor = answers(model, tmp_path, X=rows)
    expected = model.predict(rows)
    np.testing.assert_array_equal(predictor.predict(rows), expected)
    singles = [predictor.predict_one(dict(zip(predictor.columns, row, strict=True))).label for row in rows.tolist()]
    assert singles == expected.tolist()

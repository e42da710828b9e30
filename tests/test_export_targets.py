"""Regressors of a transformed target in ONNX files: the way back from what the model learnt is in the graph."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor
from scipy.special import expit, logit
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from tabkd import DistilledEstimator
from tabkd.export import to_onnx
from tabkd.runtime import OnnxPredictor

N = 300
TREES = LGBMRegressor(n_estimators=5, num_leaves=6, verbose=-1)
ONE_HOT = make_column_transformer((OneHotEncoder(), ["site"]), remainder="passthrough")
#: What undoes a function, and targets that it takes.
FUNCTIONS = {
    "exp": (np.log, np.exp, 1.0, 900.0),
    "expm1": (np.log1p, np.expm1, 0.0, 900.0),
    "exp2": (np.log2, np.exp2, 1.0, 900.0),
    "square": (np.sqrt, np.square, 0.0, 90.0),
    "sqrt": (np.square, np.sqrt, 5.0, 6.0),
    "log": (np.exp, np.log, 1.0, 2.0),
    "log1p": (np.expm1, np.log1p, 1.0, 2.0),
    "sinh": (np.arcsinh, np.sinh, -50.0, 50.0),
    "negative": (np.negative, np.negative, -1.0, 1.0),
    "expit": (logit, expit, 0.1, 0.9),
    "none": (None, None, -1.0, 1.0),
}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=N), "z": rng.normal(size=N), "site": rng.choice(["a", "b", "c"], N)})
    return X, (np.tanh(X["x"] + (X["site"] == "a")) + 1) / 2


def assert_file_answers_as(model, X, folder):
    path = to_onnx(model, folder / "model.onnx", X=X)
    expected = model.predict(X)
    np.testing.assert_allclose(OnnxPredictor(path).predict(X), expected, rtol=1e-5, atol=1e-5 * np.ptp(expected))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_of_the_target(name, table, tmp_path):
    X, share = table
    func, inverse, low, high = FUNCTIONS[name]
    model = TransformedTargetRegressor(Ridge(), func=func, inverse_func=inverse, check_inverse=False)
    assert_file_answers_as(model.fit(X[["x", "z"]], low + (high - low) * share), X[["x", "z"]], tmp_path)


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        MinMaxScaler((-2, 3)),
        MaxAbsScaler(),
        RobustScaler(),
        RobustScaler(with_centering=False),
        RobustScaler(with_scaling=False),
        make_pipeline(FunctionTransformer(np.log1p, np.expm1), "passthrough", StandardScaler()),
    ],
    ids=str,
)
def test_scaled_target(scaler, table, tmp_path):
    X, share = table
    model = TransformedTargetRegressor(Ridge(), transformer=scaler).fit(X[["x", "z"]], 300 * share)
    assert_file_answers_as(model, X[["x", "z"]], tmp_path)


@pytest.mark.parametrize("inner", [TREES, Ridge(), make_pipeline(ONE_HOT, Ridge())], ids=str)
def test_distilled_student_of_a_transformed_target(inner, table, tmp_path):
    X, share = table
    student = TransformedTargetRegressor(inner, func=np.log1p, inverse_func=np.expm1)
    teacher = RandomForestRegressor(10, random_state=0)
    model = DistilledEstimator(teacher, student, alpha=0.5, cross_fit="folds").fit(X, 100 * share)
    assert_file_answers_as(model, X, tmp_path)


def test_thresholds_behind_a_transformed_target_are_proved(table, tmp_path):
    X, share = table
    student = TransformedTargetRegressor(TREES, func=np.log1p, inverse_func=np.expm1)
    model = DistilledEstimator(RandomForestRegressor(10), student, alpha=0.5, cross_fit="folds").fit(X, 100 * share)
    assert OnnxPredictor(to_onnx(model, tmp_path / "model.onnx")).metadata["proof"]["thresholds"] > 0


def test_function_without_a_node_is_refused_by_name(table, tmp_path):
    X, share = table
    model = TransformedTargetRegressor(Ridge(), func=np.cbrt, inverse_func=lambda x: x**3).fit(X[["x", "z"]], share)
    with pytest.raises(ValueError, match=r"inverse_func=<lambda> of a TransformedTargetRegressor.*exp, expm1"):
        to_onnx(model, tmp_path / "model.onnx", X=X[["x", "z"]])


def test_transformer_without_nodes_is_refused_by_name(table, tmp_path):
    X, share = table
    model = TransformedTargetRegressor(Ridge(), transformer=QuantileTransformer(n_quantiles=20))
    with pytest.raises(ValueError, match=r"transformed by QuantileTransformer cannot be exported\. Use StandardScaler"):
        to_onnx(model.fit(X[["x", "z"]], share), tmp_path / "model.onnx", X=X[["x", "z"]])

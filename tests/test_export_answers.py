"""Models whose own answers a file must give, or be refused: thresholds, float64 digits, offsets, odd columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import GammaRegressor, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.neighbors import RadiusNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tabkd import DistilledEstimator
from tabkd.export import ParityError, to_onnx
from tabkd.runtime import OnnxPredictor

pytestmark = pytest.mark.filterwarnings("ignore:(With alpha|Pairs of 3 folds)")
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(300, 3)).astype(np.float32).astype(float)
Y = (X[:, 0] + DRAW.normal(size=300) > 1).astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
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


SCALED = {
    "histogram boosting": make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=10)),
    "lightgbm": make_pipeline(StandardScaler(), LGBMClassifier(**BOOSTED)),
    "forest": make_pipeline(MinMaxScaler(), RandomForestClassifier(10, random_state=0)),
    "adaboost": make_pipeline(StandardScaler(), AdaBoostClassifier(n_estimators=10, random_state=0)),
    "mixture": VotingClassifier(  # which reads a matrix, as not all of its parts read tables
        [
            ("scaled", make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=10))),
            ("tree", DecisionTreeClassifier(max_depth=2)),
        ],
        voting="soft",
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SCALED)
def test_numbers_are_scaled_in_the_type_of_the_rows_given(tmp_path, name, dtype):
    draw = np.random.default_rng(0)
    rows, many = (
        np.round(draw.normal(size=(n, 3)), d).astype(np.float32).astype(dtype) for n, d in [(300, 1), (9999, 2)]
    )
    model = clone(SCALED[name]).fit(rows, np.sign(rows[:, 0] * rows[:, 1] + rows[:, 2]).astype(int))
    np.testing.assert_allclose(
        answers(model, tmp_path, X=rows).predict_proba(many), model.predict_proba(many), atol=1e-6
    )


def test_plain_model_is_asked_about_the_made_rows_itself(tmp_path):
    class Capped(Pipeline):
        def predict(self, X):
            return np.minimum(super().predict(X), 0)

    model = Capped([("tree", DecisionTreeRegressor(max_depth=3))]).fit(X, X[:, 0])
    with pytest.raises(ParityError, match=r"Capped cannot be exported: for .* it gives \[0\.0\]"):
        to_onnx(model, tmp_path / "m.onnx", X=X[X[:, 0] < -1])


def test_plain_model_without_thresholds_needs_rows(tmp_path):
    with pytest.raises(ValueError, match=r"LogisticRegression has no thresholds .* Give some rows"):
        to_onnx(LogisticRegression().fit(X, Y), tmp_path / "m.onnx")


@pytest.mark.parametrize("model", [SVC(), RidgeClassifier()], ids=["svc", "ridge"])
def test_classifier_without_probabilities_is_refused(tmp_path, model):
    with pytest.raises(ValueError, match="gives no probabilities"):
        to_onnx(model.fit(X, Y), tmp_path / "m.onnx", X=X)


@pytest.mark.parametrize("rows", [X, None], ids=["rows", "no rows"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: CatBoostClassifier(3, loss_function="MultiLogloss", verbose=0, allow_writing_files=False),
        lambda: RandomForestClassifier(3),
        lambda: MultiOutputClassifier(LogisticRegression()),
    ],
)
def test_several_labels_are_refused(tmp_path, make, rows):
    model = make().fit(X, np.column_stack([Y, X[:, 1] > 0]).astype(int))
    with pytest.raises(ValueError, match=r"^\w+ predicts several labels\. Export one model per label\.$"):
        to_onnx(model, tmp_path / "m.onnx", X=rows)


@pytest.mark.parametrize(
    "model",
    [
        LGBMClassifier(**BOOSTED, objective="multiclassova"),
        CatBoostClassifier(3, loss_function="MultiClassOneVsAll", verbose=0, allow_writing_files=False),
    ],
    ids=["lightgbm", "catboost"],
)
def test_probabilities_that_do_not_add_up_to_one_are_refused(tmp_path, model):
    with pytest.raises(ValueError, match=r"do not add up to 1.*Fit it with 'multiclass'"):
        to_onnx(model.fit(X, THREE), tmp_path / "m.onnx", X=X)


def test_objective_of_ones_own_is_refused(tmp_path):
    model = LGBMClassifier(**BOOSTED, objective=lambda y, score: (score - y, np.ones_like(y))).fit(X, Y)
    with pytest.raises(ValueError, match="gives no probability per class"):
        to_onnx(model, tmp_path / "m.onnx", X=X)


def test_classifier_that_answers_at_random_is_refused(tmp_path):
    model = DummyClassifier(strategy="stratified").fit(X, Y)
    with pytest.raises(ValueError, match="answers at random"):
        to_onnx(model, tmp_path / "m.onnx", X=X)


@pytest.mark.parametrize("model", [SGDClassifier(loss="log_loss"), OneVsRestClassifier(LogisticRegression())], ids=str)
def test_classifier_that_predicts_by_other_numbers_than_its_probabilities_is_refused(tmp_path, model):
    with pytest.raises(ValueError, match="predicts by decision values of one class against the rest"):
        to_onnx(model.fit(X, THREE), tmp_path / "m.onnx", X=X)


@pytest.mark.parametrize(
    "model",
    [LGBMRanker(**BOOSTED), KMeans(2, n_init=1), IsolationForest(n_estimators=5), make_pipeline(StandardScaler())],
    ids=["ranker", "clusters", "outliers", "steps"],
)
def test_what_neither_classifies_nor_regresses_is_refused(tmp_path, model):
    more = {"group": [100, 200]} if isinstance(model, LGBMRanker) else {}
    with pytest.raises(ValueError, match="neither classifies nor regresses"):
        to_onnx(model.fit(X, Y, **more), tmp_path / "m.onnx", X=X)


def test_graph_that_does_not_run_is_refused(tmp_path):
    model = RadiusNeighborsRegressor().fit(X[:30], X[:30, 0])
    with pytest.raises(ValueError, match=r"cannot be exported: the graph, with .*, does not run \(.*\)\. Use trees"):
        to_onnx(model, tmp_path / "m.onnx", X=X[:30])


def test_operators_that_are_no_part_of_onnx_are_refused(tmp_path):
    model = GaussianProcessClassifier().fit(X[:30], X[:30, 0] > 0)
    with pytest.raises(ValueError, match=r"needs operators of com\.microsoft, which are no part of ONNX"):
        to_onnx(model, tmp_path / "m.onnx", X=X[:30])


@pytest.mark.parametrize("model", [DecisionTreeClassifier(), RandomForestClassifier(3)], ids=["tree", "forest"])
def test_trees_that_saw_one_class_are_exported(tmp_path, model):
    predictor = answers(model.fit(X, np.ones(len(X), int)), tmp_path, X=X)
    assert predictor.predict_proba(X).tolist() == [[1.0]] * len(X)


@pytest.mark.parametrize("loss", ["MultiClass", "MultiClassOneVsAll"])
@pytest.mark.parametrize("mixed", [False, True])
def test_two_classes_with_a_margin_each_are_exported(tmp_path, loss, mixed):
    model = CatBoostClassifier(5, loss_function=loss, verbose=0, allow_writing_files=False)
    model = VotingClassifier([("one", model), ("two", model)], voting="soft") if mixed else model
    model.fit(X, Y)
    np.testing.assert_allclose(answers(model, tmp_path, X=X).predict_proba(X), model.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("gaps", [[None, ""], [np.nan, ""], [None, np.nan]], ids=str)
def test_encoder_that_tells_kinds_of_missing_text_apart_is_refused(tmp_path, gaps):
    cells = np.array(["a", "b", *gaps], dtype=object)[DRAW.integers(0, 4, len(X))]
    table = pd.DataFrame({"city": pd.Series(cells, dtype=object)})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), DecisionTreeClassifier()).fit(table, Y)
    with pytest.raises(ValueError, match=r"Fill the gaps with one kind of missing value before fit\."):
        to_onnx(model, tmp_path / "m.onnx", X=table)


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


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (CatBoostRegressor(3, loss_function="RMSEWithUncertainty", verbose=0, allow_writing_files=False), "Use 'RMSE'"),
        (LGBMRegressor(**BOOSTED, pred_early_stop=True), "pred_early_stop=True leaves out trees"),
    ],
    ids=["catboost", "lightgbm"],
)
def test_answers_of_no_sum_of_all_trees_are_refused(tmp_path, model, said):
    with pytest.raises(ValueError, match=said):
        to_onnx(model.fit(X, X[:, 0]), tmp_path / "m.onnx", X=X)


def test_labels_that_float32_does_not_tell_apart_are_refused(tmp_path):
    model = DecisionTreeClassifier(max_depth=2).fit(X, 2.0**24 + Y)
    with pytest.raises(ValueError, match=r"The labels .* are equal in float32\. Make them text"):
        to_onnx(model, tmp_path / "m.onnx", X=X)


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

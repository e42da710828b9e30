"""Pipelines in ONNX files: what reaches the model is what scikit-learn makes, to the last digit."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from conftest import needs_new_runtime
from lightgbm import LGBMClassifier
from scipy.sparse import issparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

import tabkd.export.steps
from tabkd import DistilledEstimator
from tabkd._compat import clone_estimator
from tabkd.columns import ColumnEncoder
from tabkd.export import ParityError, to_onnx
from tabkd.export.boundaries import raw_thresholds
from tabkd.export.graph import Graph
from tabkd.export.inputs import Inputs
from tabkd.export.pipelines import add_prepared
from tabkd.export.plain import fitted_model_of
from tabkd.export.table import Part
from tabkd.frames import as_table
from tabkd.learners import Member
from tabkd.runtime import OnnxPredictor, _Column

N = 400

#: For steps that skl2onnx 1.18 does not know, or not together with NumPy 2.
needs_new_converters = pytest.mark.skipif(
    tuple(map(int, version("skl2onnx").split(".")[:2])) < (1, 20), reason="needs skl2onnx 1.20"
)


@pytest.fixture(scope="module")
def table():
    """Numbers of all sizes with gaps, whole numbers, booleans, texts with gaps and a rare one."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "skewed": rng.lognormal(3, 2, N),
            "small": rng.normal(scale=1e-4, size=N) + 1,
            "gaps": np.where(rng.random(N) < 0.2, np.nan, rng.normal(size=N)),
            "count": rng.integers(0, 9, N),
            "large": rng.integers(0, 10**6, N),
            "flag": rng.random(N) < 0.3,
            "city": rng.choice(["Seoul", "Busan", "제주", None], N, p=[0.5, 0.3, 0.17, 0.03]),
            "kind": rng.choice(["a", "b"], N),
        }
    )
    return frame.astype({"skewed": np.float32, "small": np.float32, "gaps": np.float32})


def by_file(step, table, rows, inputs="columns", dtype=np.float32):
    """What a fitted step makes of ``rows`` in onnxruntime, in float64."""
    encoder = ColumnEncoder.fit(as_table(table), range(table.shape[1]), "table")
    graph = Graph(dtype)
    columns = Inputs(graph, encoder, inputs)
    made = add_prepared(columns, Member(None, steps=[step]), encoder.transform(as_table(table)))
    graph.output("made", made.numbers(np.float64), np.float64, made.width)
    session = onnxruntime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    cells = pd.DataFrame(rows)
    read = [
        _Column(entry).read(cells.iloc[:, i], coded=inputs == "matrix")[:, None]
        for i, entry in enumerate(columns.described)
    ]
    feed = {"features": np.hstack(read)} if inputs == "matrix" else dict(
        zip([entry["name"] for entry in columns.described], read, strict=True)
    )  # fmt: skip
    return session.run(None, feed)[0]


def by_python(step, rows):
    made = step.transform(rows)
    return np.asarray(made.toarray() if issparse(made) else made, dtype=np.float64)


def spread(rows, n=4000):
    """More rows: every float32 number of the table and its neighbours, mixed with each other."""
    rng = np.random.default_rng(1)
    made = {}
    for name in rows:
        cells = rows[name].to_numpy()
        if cells.dtype == np.float32:
            cells = np.concatenate([cells, np.nextafter(cells, np.float32(9e9)), cells * np.float32(np.pi)])
        made[name] = rng.choice(cells, n)
    return pd.DataFrame(made).astype(rows.dtypes)


NUMBERS = ["skewed", "small"]
STEPS = {
    "standard": StandardScaler(),
    "standard without mean": StandardScaler(with_mean=False),
    "standard without scale": StandardScaler(with_std=False),
    "min max": MinMaxScaler(),
    "min max clipped": MinMaxScaler((-1, 2), clip=True),
    "max abs": MaxAbsScaler(),
    "robust": RobustScaler(),
    "robust by scale": RobustScaler(with_centering=False, unit_variance=True),
    "binarizer": Binarizer(threshold=1.0),
    "bins": KBinsDiscretizer(5, encode="ordinal", quantile_method="averaged_inverted_cdf"),
    "bins one-hot": KBinsDiscretizer(4, strategy="uniform"),
    "polynomial": PolynomialFeatures(3),
    "interactions": PolynomialFeatures(2, interaction_only=True, include_bias=False),
    "passthrough": FunctionTransformer(),
    "scaler of a scaler": make_pipeline(RobustScaler(), MinMaxScaler()),
    "union": make_union(StandardScaler(), MinMaxScaler(), "passthrough"),
    "weighted union": FeatureUnion([("a", StandardScaler()), ("b", MinMaxScaler())], transformer_weights={"b": 0.3}),
    "selector": make_pipeline(PolynomialFeatures(2), VarianceThreshold(1e-9)),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("columns", [NUMBERS, ["large", "count"], ["skewed", "count"]], ids=["float", "whole", "both"])
def test_step_on_numbers_is_exact(table, name, columns):
    step = STEPS[name].fit(table[columns])
    rows = spread(table[columns])
    np.testing.assert_array_equal(by_file(step, table[columns], rows), by_python(step, rows))


@pytest.mark.parametrize("name", STEPS)
def test_step_on_an_array_is_exact(table, name):
    X = table[NUMBERS].to_numpy()
    step = STEPS[name].fit(X)
    np.testing.assert_array_equal(by_file(step, X, X), by_python(step, X))


@pytest.mark.parametrize("name", ["standard", "robust", "polynomial", "union", "bins one-hot"])
def test_step_is_exact_where_the_file_computes_in_float64(table, name):
    step = STEPS[name].fit(table[NUMBERS])
    found = by_file(step, table[NUMBERS], table[NUMBERS], dtype=np.float64)
    np.testing.assert_array_equal(found, by_python(step, table[NUMBERS]))


@pytest.mark.parametrize("features", ["all", "missing-only"])
def test_indicator_of_missing_values_is_exact(table, features):
    given = table[["gaps", "skewed"]]
    step = MissingIndicator(features=features).fit(given)
    np.testing.assert_array_equal(by_file(step, given, given), by_python(step, given))


IMPUTERS = {
    "mean": SimpleImputer(),
    "median": SimpleImputer(strategy="median", add_indicator=True),
    "most frequent": SimpleImputer(strategy="most_frequent"),
    "constant": SimpleImputer(strategy="constant", fill_value=-1),
    "of a number": SimpleImputer(missing_values=3, strategy="mean"),
}


@pytest.mark.parametrize("name", IMPUTERS)
@pytest.mark.parametrize("columns", [["gaps", "skewed"], ["gaps", "count"], ["count", "large"]], ids=str)
def test_imputer_of_numbers_is_exact(table, name, columns):
    given = table[columns].fillna(9) if name == "of a number" else table[columns]
    step = make_pipeline(IMPUTERS[name], StandardScaler()).fit(given)
    rows = spread(given)
    np.testing.assert_array_equal(by_file(step, given, rows), by_python(step, rows))


def test_imputer_leaves_out_a_column_without_values(table):
    given = table[["gaps", "skewed"]].assign(empty=np.float32(np.nan))
    with pytest.warns(UserWarning, match="Skipping features"):
        step = SimpleImputer(add_indicator=True).fit(given)
        expected = by_python(step, given)
    np.testing.assert_array_equal(by_file(step, given, given), expected)


ENCODERS = {
    "one-hot": OneHotEncoder(handle_unknown="ignore"),
    "one-hot, strict": OneHotEncoder(),
    "first dropped": OneHotEncoder(drop="first", sparse_output=False),
    "binary dropped": OneHotEncoder(drop="if_binary"),
    "rare ones together": OneHotEncoder(min_frequency=0.1, handle_unknown="infrequent_if_exist"),
    "few": OneHotEncoder(max_categories=2, handle_unknown="ignore"),
    "ordinal": OrdinalEncoder(),
    "ordinal with codes": OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-7, encoded_missing_value=-2, dtype=np.float32
    ),
    "ordinal with NaN": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
    "target": TargetEncoder(random_state=0),
    "target of three": TargetEncoder(random_state=0),
}


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize("inputs", ["columns", "matrix"])
@pytest.mark.parametrize("columns", [["city"], ["kind", "city"], ["city", "count"], ["kind", "flag"]], ids=str)
@pytest.mark.parametrize("name", ENCODERS)
def test_encoder_is_exact(table, name, columns, inputs):
    y = np.arange(N) % (3 if "three" in name else 2)
    step = ENCODERS[name].fit(table[columns], y)
    given = table[columns]
    rows = given.copy()
    if getattr(step, "handle_unknown", "") != "error":
        rows.iloc[:9, 0] = "Atlantis"
    np.testing.assert_array_equal(by_file(step, given, rows, inputs), by_python(step, rows))


@pytest.mark.parametrize("gap", [None, np.nan], ids=str)
@pytest.mark.parametrize("strategy", ["most_frequent", "constant"])
def test_imputer_of_text_is_exact(table, strategy, gap):
    given = table[["city", "kind"]].astype(object)
    given["city"] = given["city"].where(given["city"].notna(), gap)
    fill = {"fill_value": "none"} if strategy == "constant" else {}
    imputer = SimpleImputer(strategy=strategy, missing_values=gap, add_indicator=True, **fill)
    encode = ColumnTransformer([("texts", OneHotEncoder(), [0, 1])], remainder="passthrough")
    step = make_pipeline(imputer, encode).fit(given)
    np.testing.assert_array_equal(by_file(step, given, given), by_python(step, given).astype(float))


@pytest.mark.parametrize("gap", [None, np.nan], ids=str)
@pytest.mark.parametrize("name", ["one-hot", "ordinal"])
def test_gap_is_the_category_that_it_was_in_fit(table, name, gap):
    given = table[["city"]].astype(object)
    given["city"] = given["city"].where(given["city"].notna(), gap)
    encoders = {"one-hot": OneHotEncoder(handle_unknown="ignore"), "ordinal": OrdinalEncoder()}
    step = encoders[name].fit(given)
    np.testing.assert_array_equal(by_file(step, given, given), by_python(step, given))


# ---------------------------------------------------------------- whole pipelines


def lgbm(**params):
    return LGBMClassifier(**{"n_estimators": 20, "num_leaves": 15, "n_jobs": 1, "verbose": -1, **params})


def prepared(table, model):
    """The usual pipeline: gaps filled, numbers scaled, texts one-hot."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    text = [name for name in table if name in ("city", "kind")]
    encode = ColumnTransformer([("texts", texts, text), ("numbers", numbers, [n for n in table if n not in text])])
    return Pipeline([("encode", encode), ("model", model)])


def exported(model, folder, table, **options):
    return OnnxPredictor(to_onnx(model, folder / "model.onnx", X=table, **options))


@pytest.fixture(scope="module")
def labels(table):
    score = np.log(table["skewed"]) + table["gaps"].fillna(1) + (table["city"] == "Seoul") + table["large"] / 5e5
    return (score + np.random.default_rng(5).normal(size=N) > 4.5).to_numpy().astype(int)


MODELS = {
    "lightgbm": lgbm(),
    "histogram boosting": HistGradientBoostingClassifier(max_iter=15),
    "forest": RandomForestClassifier(10, max_depth=6, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=10),
    "catboost": CatBoostClassifier(iterations=10, depth=4, thread_count=1, verbose=False, allow_writing_files=False),
    "xgboost": XGBClassifier(n_estimators=10, max_depth=3, n_jobs=1),
    "logistic": LogisticRegression(max_iter=500),
    "network": MLPClassifier((8,), max_iter=20, random_state=0),
}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("name", MODELS)
def test_plain_pipeline_is_exported(table, labels, tmp_path, name):
    model = prepared(table, clone_estimator(MODELS[name])).fit(table, labels)
    np.testing.assert_allclose(
        exported(model, tmp_path, table).predict_proba(table), model.predict_proba(table), atol=2e-6
    )


@pytest.mark.parametrize("options", [{"inputs": "matrix"}, {"compact": True}, {"precision": "float64"}], ids=str)
@pytest.mark.parametrize("name", ["lightgbm", "histogram boosting", "forest", "xgboost", "logistic"])
@needs_new_runtime
def test_pipeline_is_exported_with(table, labels, tmp_path, name, options):
    model = prepared(table, clone_estimator(MODELS[name])).fit(table, labels)
    found = exported(model, tmp_path, table, **options).predict_proba(table)
    in_doubles = "precision" in options and name != "xgboost"  # which computes in float32 itself
    np.testing.assert_allclose(found, model.predict_proba(table), atol=1e-12 if in_doubles else 2e-6)


@pytest.mark.parametrize("ensemble", [False, True])
def test_distilled_pipeline_is_exported(table, labels, tmp_path, ensemble):
    model = DistilledEstimator(
        prepared(table, lgbm()), prepared(table, lgbm()), alpha=0.5, cross_fit="folds", ensemble=ensemble, cv=3
    ).fit(table, labels)  # fmt: skip
    found = exported(model, tmp_path, table).predict_proba(table)
    np.testing.assert_allclose(found, model.predict_proba(table), atol=2e-6)


def test_pipeline_is_exported_without_rows(table, labels, tmp_path):
    numbers = table[NUMBERS]
    model = make_pipeline(SimpleImputer(), lgbm()).fit(numbers, labels)
    path = to_onnx(model, tmp_path / "model.onnx")
    np.testing.assert_allclose(OnnxPredictor(path).predict_proba(numbers), model.predict_proba(numbers), atol=2e-6)


def test_pipeline_that_tells_float64_from_float32_asks_for_rows(table, labels, tmp_path):
    model = make_pipeline(StandardScaler(), lgbm()).fit(table[NUMBERS], labels)
    with pytest.raises(ValueError, match=r"answers float64 otherwise than float32 .* Give some rows"):
        to_onnx(model, tmp_path / "model.onnx")


def test_encoder_that_refuses_the_unseen_is_exported(table, labels, tmp_path):
    given = table[["kind", "skewed"]]
    encode = ColumnTransformer([("kind", OneHotEncoder(), ["kind"])], remainder=StandardScaler())
    model = make_pipeline(encode, lgbm()).fit(given, labels)
    found = exported(model, tmp_path, given).predict_proba(given)
    np.testing.assert_allclose(found, model.predict_proba(given), atol=2e-6)


CHOICES = {
    "names": ["skewed", "gaps"],
    "positions": [0, 2],
    "slice": slice(0, 3),
    "selector": make_column_selector(dtype_include=np.float32),
    "mask": [True, False, True, False, False],
}


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("remainder", ["drop", "passthrough"])
def test_columns_are_chosen_in_every_way(table, labels, tmp_path, name, remainder):
    given, scale = table.drop(columns=["city", "kind", "flag"]), make_pipeline(SimpleImputer(), StandardScaler())
    encode = ColumnTransformer([("scaled", scale, CHOICES[name])], remainder=remainder)
    model = make_pipeline(encode, lgbm()).fit(given, labels)
    found = exported(model, tmp_path, given).predict_proba(given)
    np.testing.assert_allclose(found, model.predict_proba(given), atol=2e-6)


def test_steps_that_answer_in_frames_are_exported(table, labels, tmp_path):
    given = table[["skewed", "large", "gaps"]]
    scale = ColumnTransformer([("s", StandardScaler(), ["large"])], remainder="passthrough")
    again = ColumnTransformer([("m", MinMaxScaler(), ["s__large"])], remainder="passthrough")
    model = make_pipeline(scale, again, lgbm()).set_output(transform="pandas").fit(given, labels)
    found = exported(model, tmp_path, given).predict_proba(given)
    np.testing.assert_allclose(found, model.predict_proba(given), atol=2e-6)


@pytest.mark.parametrize("model", [lgbm(), RandomForestClassifier(5, random_state=0), LogisticRegression()], ids=str)
@pytest.mark.parametrize(
    "scaler", [StandardScaler(with_mean=False), MaxAbsScaler(), RobustScaler(with_centering=False)]
)
def test_sparse_steps_are_exported(table, labels, tmp_path, scaler, model):
    given = table[["kind", "count", "skewed"]]
    encode = ColumnTransformer([("e", OneHotEncoder(), ["kind", "count"])], remainder="passthrough", sparse_threshold=1)
    fitted = make_pipeline(encode, scaler, model).fit(given, labels)
    assert issparse(fitted[:-1].transform(given))
    found = exported(fitted, tmp_path, given).predict_proba(given)
    np.testing.assert_allclose(found, fitted.predict_proba(given), atol=2e-6)


def test_pipelines_inside_a_mixture_are_exported(table, labels, tmp_path):
    given = table[NUMBERS]
    parts = [("a", make_pipeline(StandardScaler(), lgbm())), ("b", make_pipeline(RobustScaler(), LogisticRegression()))]
    model = VotingClassifier(parts, voting="soft").fit(given, labels)
    found = exported(model, tmp_path, given).predict_proba(given)
    np.testing.assert_allclose(found, model.predict_proba(given), atol=2e-6)


NORMS = [Normalizer(norm) for norm in ("l1", "l2", "max")]


@pytest.mark.parametrize("step", [PCA(2), PCA(2, whiten=True), TruncatedSVD(2), *NORMS], ids=str)
def test_step_that_mixes_columns_is_exported(table, labels, tmp_path, step):
    given = table[["skewed", "small", "large"]]
    model = make_pipeline(StandardScaler(), step, LogisticRegression()).fit(given, labels)
    found = exported(model, tmp_path, given).predict_proba(given)
    np.testing.assert_allclose(found, model.predict_proba(given), atol=2e-6)


@needs_new_converters
def test_step_that_skl2onnx_knows_is_exported(table, labels, tmp_path):
    model = make_pipeline(StandardScaler(), PowerTransformer(), LogisticRegression()).fit(table[NUMBERS], labels)
    found = exported(model, tmp_path, table[NUMBERS]).predict_proba(table[NUMBERS])
    np.testing.assert_allclose(found, model.predict_proba(table[NUMBERS]), atol=2e-6)


def test_texts_with_none_are_told_from_texts_with_nan(table, labels, tmp_path):
    given = pd.DataFrame({name: table["city"].astype(object) for name in ("none", "nan")}).assign(
        skewed=table["skewed"]
    )
    given["none"] = given["none"].where(given["none"].notna(), None)
    given["nan"] = given["nan"].where(given["nan"].notna(), np.nan)
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    model = make_pipeline(ColumnTransformer([("t", texts, ["none", "nan"])], remainder="passthrough"), lgbm())
    model.fit(given, given["none"].isna())
    found = exported(model, tmp_path, given).predict_proba(given)
    np.testing.assert_allclose(found, model.predict_proba(given), atol=2e-6)


@pytest.mark.parametrize("encoder", [OneHotEncoder(handle_unknown="ignore"), TargetEncoder()], ids=str)
def test_empty_texts_are_the_category_that_they_were_in_fit(table, labels, tmp_path, encoder):
    given = table[["gaps"]].fillna(0).assign(city=table["city"].fillna(""))
    encode = ColumnTransformer([("t", encoder, ["city"])], remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression())
    model.fit(given, labels)
    found = exported(model, tmp_path, given).predict_proba(given)
    np.testing.assert_allclose(found, model.predict_proba(given), atol=2e-6)


def test_numeric_category_that_is_read_as_a_number_asks_for_columns(table, labels, tmp_path):
    given = table[["skewed"]].assign(count=pd.Categorical(labels + 3 * table["flag"]))
    model = DistilledEstimator(lgbm(), make_pipeline(StandardScaler(), lgbm()), alpha=0.5, cross_fit="folds")
    model.fit(given, labels)
    assert model.to_onnx(tmp_path / "model.onnx").exists()
    with pytest.raises(ParityError, match=r"\['count'\], categories that are numbers.*inputs=\"columns\""):
        model.to_onnx(tmp_path / "model.onnx", inputs="matrix")


# ---------------------------------------------------------------- exactness of trees behind steps


def tiny_beside_large():
    """Whole numbers whose differences float32 loses as soon as they are scaled."""
    X = pd.DataFrame({"n": np.r_[np.arange(300), 10**7 * np.arange(1, 101)]})
    return X, (np.r_[np.arange(300), np.zeros(100)] // 10 % 2).astype(int)


@pytest.mark.parametrize(
    "model",
    [
        lgbm(min_child_samples=1, num_leaves=63),
        HistGradientBoostingClassifier(min_samples_leaf=1, max_iter=20),
        DecisionTreeClassifier(),
        XGBClassifier(n_estimators=9, n_jobs=1),
    ],
    ids=["lightgbm", "histogram boosting", "tree", "xgboost"],
)
@pytest.mark.parametrize("options", [{}, {"compact": True}, {"precision": "float64"}], ids=str)
@needs_new_runtime
def test_numbers_that_float32_does_not_tell_apart_are_split_exactly(tmp_path, model, options):
    X, y = tiny_beside_large()
    fitted = make_pipeline(StandardScaler(), model).fit(X, y)
    np.testing.assert_allclose(
        exported(fitted, tmp_path, X, **options).predict_proba(X), fitted.predict_proba(X), atol=2e-6
    )


@pytest.mark.parametrize("model", [lgbm(), HistGradientBoostingClassifier(max_iter=15)], ids=["lightgbm", "histogram"])
def test_missing_numbers_that_were_scaled_in_float64_follow_their_branch(table, tmp_path, model):
    given = table[["gaps", "large"]]
    y = (given["gaps"].isna() ^ (given["large"] > 5e5)).astype(int)
    fitted = make_pipeline(StandardScaler(), model).fit(given, y)
    found = exported(fitted, tmp_path, given).predict_proba(given)
    np.testing.assert_allclose(found, fitted.predict_proba(given), atol=2e-6)


def by_reciprocal(table, step, made):
    graph, dtype = table.graph, np.float32
    shifted = graph.add("Sub", table.numbers(dtype), graph.constant(step.mean_, dtype))
    return [Part(graph.add("Mul", shifted, graph.constant(1 / step.scale_, dtype)), table.width, dtype)]


@pytest.mark.parametrize("name", ["lightgbm", "histogram boosting", "forest", "xgboost"])
def test_proof_finds_a_scaler_that_multiplies_by_the_reciprocal(table, labels, tmp_path, monkeypatch, name):
    model = make_pipeline(StandardScaler(), clone_estimator(MODELS[name])).fit(table[NUMBERS], labels)
    monkeypatch.setitem(tabkd.export.steps._STEPS, "StandardScaler", by_reciprocal)
    with pytest.raises(ParityError, match="The file is not written"):
        to_onnx(model, tmp_path / "model.onnx", X=table[NUMBERS].iloc[:5])


def test_proof_replays_thresholds_behind_steps(table, labels, tmp_path):
    model = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=4)).fit(table[NUMBERS], labels)
    tree = model[-1].tree_
    distinct = {*zip(tree.feature[tree.feature >= 0], tree.threshold[tree.feature >= 0], strict=True)}
    assert exported(model, tmp_path, table[NUMBERS]).metadata["proof"]["thresholds"] == len(distinct)


@pytest.mark.parametrize("column", ["skewed", "large"])
@pytest.mark.parametrize("sign", [1, -1])
def test_raw_thresholds_are_where_the_answer_changes(table, labels, column, sign):
    given = sign * table[[column]]
    model = make_pipeline(StandardScaler(), lgbm()).fit(given, labels)
    member = fitted_model_of(model, as_table(given)).members[0]
    (found,) = raw_thresholds(member, given, [0]).values()
    last = found if column == "skewed" else np.floor(found)
    beyond = np.nextafter(found, np.float32(np.inf)) if column == "skewed" else last + 1
    before, after = (model.predict_proba(pd.DataFrame({column: v.astype(given[column].dtype)})) for v in (last, beyond))
    splits = model[-1].booster_.trees_to_dataframe()["threshold"].dropna().nunique()
    assert len(found) == splits
    assert (before != after).any(axis=1).mean() > 0.9


def test_missing_whole_number_is_answered_as_in_python(tmp_path):
    given, y = tiny_beside_large()
    model = make_pipeline(SimpleImputer(), StandardScaler(), lgbm(min_child_samples=1)).fit(given, y)
    rows = given.astype(float)
    rows.iloc[::7] = np.nan
    expected = fitted_model_of(model, as_table(given)).predict_proba(rows)
    np.testing.assert_allclose(exported(model, tmp_path, given).predict_proba(rows), expected, atol=2e-6)


def test_encoder_of_whole_numbers_that_refuses_others_is_exported(table, labels, tmp_path):
    given = table[["count", "skewed"]]
    encode = ColumnTransformer([("count", OneHotEncoder(), ["count"])], remainder=StandardScaler())
    model = make_pipeline(encode, lgbm()).fit(given, labels)
    found = exported(model, tmp_path, given).predict_proba(given)
    np.testing.assert_allclose(found, model.predict_proba(given), atol=2e-6)


# ---------------------------------------------------------------- what is refused


def test_text_that_a_step_reads_as_numbers_is_refused(table):
    step = FunctionTransformer().fit(table[["city"]])
    with pytest.raises(ValueError, match=r"reads text as numbers.*OneHotEncoder"):
        by_file(step, table[["city"]], table[["city"]])


def test_categories_that_float32_does_not_hold_are_refused(table):
    step = make_pipeline(StandardScaler(), OneHotEncoder()).fit(table[["count"]])
    with pytest.raises(ValueError, match="numbers that float32 does not hold"):
        by_file(step, table[["count"]], table[["count"]])


def test_numbers_filled_with_text_are_refused(table):
    given = table[["gaps"]].astype(object)
    step = SimpleImputer(strategy="constant", fill_value="none").fit(given)
    with pytest.raises(ValueError, match="fills columns of numbers with the texts"):
        by_file(step, given, given)


TREES = {
    "mixture": VotingClassifier([("a", DecisionTreeClassifier(max_depth=6)), ("b", lgbm())], voting="soft"),
    "mixture of pipelines": VotingClassifier(
        [("a", make_pipeline(MinMaxScaler(), DecisionTreeClassifier()))], voting="soft"
    ),
    "boosted": AdaBoostClassifier(DecisionTreeClassifier(max_depth=4), n_estimators=8, random_state=0),
    "bagged": BaggingClassifier(DecisionTreeClassifier(max_depth=4), random_state=0),
    "calibrated": CalibratedClassifierCV(DecisionTreeClassifier(max_depth=4), cv=2),
}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("scaler", [StandardScaler(), None], ids=str)
def test_thresholds_of_trees_within_other_models_are_found(table, labels, name, scaler):
    model = make_pipeline(scaler, clone_estimator(TREES[name])).fit(table[NUMBERS], labels)
    member = fitted_model_of(model, as_table(table[NUMBERS])).members[0]
    found = raw_thresholds(member, table[NUMBERS], [0, 1])
    assert sum(map(len, found.values())) > 20


@needs_new_converters
def test_mixture_of_trees_behind_a_step_that_rounds_otherwise_is_refused(table, labels, tmp_path):
    mixture = VotingClassifier([("a", DecisionTreeClassifier()), ("b", DecisionTreeClassifier())], voting="soft")
    step = make_pipeline(QuantileTransformer(n_quantiles=50), mixture)
    model = DistilledEstimator(lgbm(), step, random_state=0).fit(table[NUMBERS], labels)
    with pytest.raises(ParityError, match=r"may be due to .'QuantileTransformer'"):
        model.to_onnx(tmp_path / "model.onnx")


@needs_new_converters
def test_step_that_rounds_otherwise_is_named(table, labels, tmp_path):
    model = make_pipeline(QuantileTransformer(n_quantiles=50), DecisionTreeClassifier()).fit(table[NUMBERS], labels)
    with pytest.raises(ParityError, match=r"may be due to .'QuantileTransformer'.*Leave a step out before trees"):
        to_onnx(model, tmp_path / "model.onnx", X=table[NUMBERS])


def test_step_without_nodes_is_refused_in_float64(table, labels, tmp_path):
    model = make_pipeline(PowerTransformer(), LogisticRegression()).fit(table[NUMBERS], labels)
    with pytest.raises(ValueError, match="PowerTransformer cannot be exported with precision='float64'"):
        to_onnx(model, tmp_path / "model.onnx", precision="float64")

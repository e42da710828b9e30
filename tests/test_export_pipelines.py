"""Pipelines in ONNX files: what reaches the model is what scikit-learn makes, to the last digit."""

from __future__ import annotations

import onnxruntime
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import issparse
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
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
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from tabkd.columns import ColumnEncoder, as_table
from tabkd.export.graph import Graph
from tabkd.export.inputs import Inputs
from tabkd.export.steps import add_step
from tabkd.export.table import Table
from tabkd.runtime import _Column

N = 400


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
    parts = [columns.part(i) for i in range(len(encoder.columns))]
    made = add_step(Table(graph, parts, encoder.transform(as_table(table))[:16]), step)
    graph.output("made", made.numbers(np.float64), np.float64, made.width)
    session = onnxruntime.InferenceSession(graph.model({}).SerializeToString(), providers=["CPUExecutionProvider"])
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

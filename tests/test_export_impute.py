"""Imputed columns in ONNX files: what a student splits on is what Python has, to the last bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from conftest import needs_new_runtime
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

import tabkd.export.imputed
from tabkd.columns import ColumnEncoder
from tabkd.encodings import encoding_for
from tabkd.export import ParityError, to_onnx
from tabkd.export.from_lightgbm import read_lightgbm
from tabkd.export.graph import Graph
from tabkd.export.imputed import add_imputed, imputer_trees
from tabkd.export.inputs import Inputs
from tabkd.export.tree_nodes import add_trees
from tabkd.export.trees import Tree, Trees
from tabkd.families import cat_columns
from tabkd.frames import rows_of
from tabkd.impute import Impute
from tabkd.learners import Learner, fit_members
from tabkd.models import fitted_model
from tabkd.runtime import OnnxPredictor, _Column
from tabkd.targets import Targets, one_hot

N = 300
IMPUTE = Impute(estimator=LGBMRegressor(n_estimators=5, num_leaves=6, n_jobs=1, verbose=-1), cv=2)


@pytest.fixture(scope="module")
def table():
    """Numbers with gaps, whole numbers, a flag and texts with gaps."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "gaps": np.where(rng.random(N) < 0.1, np.nan, rng.normal(size=N)),
            "kind": pd.Series(rng.choice(["x", "y", "제주", np.nan], N, p=[0.4, 0.3, 0.2, 0.1]), dtype=object).replace(
                "nan", np.nan
            ),
            "skewed": rng.lognormal(size=N),
            "count": rng.integers(0, 9, N),
            "flag": rng.random(N) < 0.5,
        }
    )


@pytest.fixture(scope="module")
def privileged(table):
    """What depends on the table: numbers far from zero, a category and a flag."""
    rng = np.random.default_rng(1)
    a = table["gaps"].fillna(1) + rng.normal(scale=0.3, size=N)
    return pd.DataFrame(
        {
            "far": 1e6 + 10 * a + table["skewed"],
            "level": np.where(a > 0, "high", np.where(table["count"] > 4, "middle", "low")),
            "flagged": table["flag"] & (table["kind"] == "x"),
        }
    )


@pytest.fixture(scope="module")
def labels(table, privileged):
    score = (privileged["far"] - 1e6) / 10 + privileged["flagged"] + np.random.default_rng(2).normal(size=N)
    return (score > 0.8).to_numpy().astype(int)


@pytest.fixture(scope="module")
def fitted(table, privileged, labels):
    """A function that fits a student, or two to parts of the rows, each with an imputer of its own."""

    def fit(student, *, n_members=1, columns=None, selector=None):
        X = table if columns is None else table[columns]
        encoder = ColumnEncoder.fit(X, range(X.shape[1]), encoding_for(student), cat_columns(student))
        encoded, targets = encoder.transform(X), Targets(one_hot(labels, 2), None, np.array([0, 1]))
        learner = Learner(student, loss="auto", selector=selector, encoder=encoder, seed=0, impute=IMPUTE)
        members = []
        for k in range(n_members):
            rows = np.flatnonzero(np.arange(N) % 3 != k)
            own = privileged.iloc[rows]
            members += fit_members([learner], rows_of(encoded, rows), targets.take(rows), None, privileged=own)
        return fitted_model(encoder, members, targets.classes)

    return fit


def small(**params):
    return LGBMClassifier(**{"n_estimators": 10, "num_leaves": 7, "n_jobs": 1, "verbose": -1, **params})


def catboost(**params):
    return CatBoostClassifier(
        iterations=15, depth=4, thread_count=1, verbose=False, allow_writing_files=False, **params
    )


def piped(model):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    return make_pipeline(
        make_column_transformer(
            (numbers, make_column_selector(dtype_include="number")), (texts, ["kind"]), remainder="passthrough"
        ),
        model,
    )


NUMBERS = ["skewed", "count", "flag", "kind"]
STUDENTS = {
    "lightgbm": (small(), None),
    "catboost": (catboost(), None),
    "catboost with texts": (catboost(cat_features=["kind", "count"], one_hot_max_size=2), None),
    "xgboost": (XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1), None),
    "xgboost with categories": (
        XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1, enable_categorical=True, tree_method="hist"),
        None,
    ),
    "tree": (DecisionTreeClassifier(max_depth=5, random_state=0), None),
    "forest": (RandomForestClassifier(5, max_depth=5, random_state=0), None),
    "histogram boosting": (HistGradientBoostingClassifier(max_iter=8), None),
    "linear": (LogisticRegression(C=1e-3, max_iter=2000), NUMBERS),
    "network": (MLPClassifier((4,), max_iter=5, random_state=0), NUMBERS),
    "pipeline of trees": (piped(small(n_estimators=3)), None),
    "pipeline of a network": (piped(MLPClassifier((4,), max_iter=10, random_state=0)), None),
    "pipeline, linear": (piped(LogisticRegression()), None),
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer"),
    pytest.mark.filterwarnings("ignore:lbfgs failed to converge"),
]


def exported(model, folder, table, **options):
    return OnnxPredictor(to_onnx(model, folder / "model.onnx", X=table, **options))


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("name", STUDENTS)
def test_student_with_imputed_columns_is_exported(fitted, table, tmp_path, name, n_members):
    student, columns = STUDENTS[name]
    model = fitted(student, n_members=n_members, columns=columns)
    found = exported(model, tmp_path, table if columns is None else table[columns])
    np.testing.assert_allclose(found.predict_proba(table), model.predict_proba(table), atol=2e-6)
    assert found.columns == list(table if columns is None else table[columns])


@pytest.mark.parametrize("options", [{"inputs": "matrix"}, {"compact": True}, {"precision": "float64"}], ids=str)
@pytest.mark.parametrize("name", ["lightgbm", "catboost with texts", "tree", "pipeline of trees", "linear"])
@needs_new_runtime
def test_student_with_imputed_columns_is_exported_with(fitted, table, tmp_path, name, options):
    student, columns = STUDENTS[name]
    model = fitted(student, columns=columns)
    found = exported(model, tmp_path, table if columns is None else table[columns], **options)
    np.testing.assert_allclose(found.predict_proba(table), model.predict_proba(table), atol=2e-6)


@pytest.mark.parametrize("name", ["lightgbm", "linear"])
def test_imputer_reads_the_columns_that_a_selector_kept(fitted, table, tmp_path, name):
    student, columns = STUDENTS[name][0], ["skewed", "count", "flag"]
    model = fitted(student, columns=columns, selector=SelectKBest(k=2))
    assert len(model.features) == 2
    found = exported(model, tmp_path, table[columns])
    np.testing.assert_allclose(found.predict_proba(table), model.predict_proba(table), atol=2e-6)


def spread(table, n=3000):
    """More rows: every number and its float32 neighbours, unknown and missing texts, mixed with each other."""
    rng = np.random.default_rng(3)
    made = {}
    for name, cells in table.items():
        if cells.dtype.kind == "f":
            near = cells.to_numpy(np.float32)
            cells = np.concatenate([near, np.nextafter(near, np.float32(9e9)), near * np.float32(np.pi)])
        elif cells.dtype == object:
            cells = np.append(cells.to_numpy(), ["never seen", np.nan])
        made[name] = rng.choice(np.asarray(cells), n)
    return pd.DataFrame(made)


@pytest.mark.parametrize("layout", ["columns", "matrix"])
@pytest.mark.parametrize(
    "name", ["lightgbm", "linear", "catboost with texts", "xgboost with categories", "pipeline of trees"]
)
def test_imputed_numbers_are_those_of_python_to_the_last_bit(fitted, table, name, layout):
    student, columns = STUDENTS[name]
    model = fitted(student, columns=columns)
    rows, (member,) = spread(table if columns is None else table[columns]), model.members
    graph = Graph()
    inputs = Inputs(graph, model.encoder, layout)
    (made,) = add_imputed(inputs, member)
    graph.output("made", made.value, np.float32, made.width)
    session = onnxruntime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    read = [
        _Column(entry).read(rows.iloc[:, i], coded=layout == "matrix")[:, None]
        for i, entry in enumerate(inputs.described)
    ]
    feed = {"features": np.hstack(read)} if layout == "matrix" else dict(
        zip([entry["name"] for entry in inputs.described], read, strict=True)
    )  # fmt: skip
    prepared = member.steps[0].transform(model.encoder.transform(rows))
    expected = np.asarray(prepared)[:, -made.width :].astype(np.float32)
    np.testing.assert_array_equal(session.run(None, feed)[0], expected)


def test_sums_that_float32_holds_are_not_divided():
    tree = Tree(
        feature=np.array([0, -1, 0, -1, -1]),
        threshold=np.array([0.0, 0, 1, 0, 0]),
        yes=np.array([1, 0, 3, 0, 0]),
        no=np.array([2, 0, 4, 0, 0]),
        missing=np.zeros(5, dtype=bool),
        value=np.array([[0], [7], [0], [14], [49]]) / 2**20,  # multiples of a number whose reciprocal is rounded
    )
    trees, graph = Trees([tree], np.zeros(1), 1), Graph()
    X = np.array([[-1.0], [0.5], [2.0]], dtype=np.float32)
    graph.output("sum", add_trees(graph, graph.input("x", np.float32, 1), trees), np.float32, 1)
    session = onnxruntime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], trees.scores(X))


# ---------------------------------------------------------------- the proof


def test_proof_replays_the_thresholds_of_imputers(fitted, table, tmp_path):
    model = fitted(small(n_estimators=1, num_leaves=2))
    trees = imputer_trees(model.members[0], model.encoder)
    proof = exported(model, tmp_path, table).metadata["proof"]
    assert proof["thresholds"] >= sum(len(values) for values in trees.thresholds().values()) > 10


def moved(estimator, n_features):
    """Trees that ask for the next float32 number."""
    trees = read_lightgbm(estimator, n_features)
    following = [
        replace(tree, threshold=np.nextafter(tree.threshold.astype(np.float32), np.float32(9e9)).astype(float))
        for tree in trees.trees
    ]
    return replace(trees, trees=following)


@pytest.mark.parametrize("name", ["lightgbm", "tree", "linear", "pipeline of trees"])
def test_proof_finds_an_imputer_whose_thresholds_are_off_by_one_bit(fitted, table, tmp_path, monkeypatch, name):
    student, columns = STUDENTS[name]
    model = fitted(student, columns=columns)
    monkeypatch.setattr(tabkd.export.imputed, "read_lightgbm", moved)
    with pytest.raises(ParityError, match="The file is not written"):
        to_onnx(model, tmp_path / "model.onnx", X=(table if columns is None else table[columns]).iloc[:5])

"""Networks for tables: scikit-learn's checks, what they read, learning from a teacher, files."""

# ruff: noqa: E402

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

from tabkd import DistilledEstimator
from tabkd.export import to_onnx
from tabkd.neural import (
    ActivationBoundary,
    Angles,
    Attention,
    Distances,
    FTTransformerClassifier,
    FTTransformerRegressor,
    Hidden,
    TabularMLPClassifier,
    TabularMLPRegressor,
)
from tabkd.neural.table_reader import TableReader
from tabkd.runtime import OnnxPredictor

MLP = {"width": 16, "epochs": 20, "batch_size": 64, "learning_rate": 2e-2, "device": "cpu", "random_state": 0}
FTT = {"width": 8, "n_layers": 1, "n_heads": 2, "dropout": 0.0, "epochs": 14, "batch_size": 32, "learning_rate": 2e-2}


def expected_failures(estimator):
    return {
        "check_sample_weight_equivalence_on_dense_data": "rows given twice fall into other batches",
        "check_dataframe_column_names_consistency": "columns are found by name: their order does not matter",
    }


@parametrize_with_checks(
    [
        TabularMLPClassifier(**MLP),
        TabularMLPRegressor(**MLP),
        FTTransformerClassifier(**FTT, device="cpu", random_state=0),
        FTTransformerRegressor(**FTT, device="cpu", random_state=0),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_check(estimator, check):
    check(estimator)


# ---------------------------------------------------------------- what they read


@pytest.fixture(scope="module")
def table(mixed):
    gaps = mixed.assign(flag=mixed["c"] > 0, count=np.arange(len(mixed)) % 7)
    gaps.loc[::9, "b"] = np.nan
    return gaps


NETWORKS = [TabularMLPClassifier(**MLP), FTTransformerClassifier(**FTT, device="cpu", random_state=0)]
REGRESSORS = [TabularMLPRegressor(**MLP), FTTransformerRegressor(**FTT, device="cpu", random_state=0)]
both = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)


def test_numbers_are_standardised_and_gaps_marked(table):
    matrix = TableReader.fit(table, [0, 1], onehot=True).transform(table)
    known = table["b"].notna().to_numpy()
    assert matrix[:, 0].mean() == pytest.approx(0, abs=1e-5) and matrix[:, 0].std() == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(matrix[:, 2], ~known)
    np.testing.assert_allclose(
        matrix[~known, 1], (table["b"].median() - table["b"].mean()) / table["b"].std(ddof=0), 1e-5
    )


def test_unknown_category_is_zeros_and_a_missing_one_has_a_column(table):
    reader = TableReader.fit(table[["city"]], [0], onehot=True)
    found = reader.transform(pd.DataFrame({"city": ["Paris", None, "Busan"]}))
    np.testing.assert_array_equal(found, [[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]])


def test_constant_and_empty_columns_are_no_trouble(two):
    X = pd.DataFrame({"one": np.full(len(two), 16777216.0), "none": np.full(len(two), np.nan), "a": two + 0.0})
    assert clone(NETWORKS[0]).fit(X, two).score(X, two) == 1


def test_many_classes_of_few_rows_are_learnt():
    rows = np.random.default_rng(0).normal(size=(320, 3))
    assert len(clone(NETWORKS[0]).fit(rows, np.arange(320) % 40).classes_) == 40


def test_a_clone_learns_from_the_same_fitted_teacher(table, two):
    trees = CatBoostClassifier(iterations=5, cat_features=["city"], verbose=0, allow_writing_files=False)
    given = table.fillna({"city": "none"})
    student = clone(NETWORKS[0]).set_params(teacher=trees.fit(given, two))
    assert clone(student).fit(given, two).score(given, two) > 0.5


@both
def test_infinite_numbers_are_read_as_far_ones(network, numbers, two):
    fitted = clone(network).fit(numbers, two)
    far = pd.DataFrame([[np.inf, -np.inf, 3e38, 0.0], [1e6, -1e6, 1e6, 0.0]], columns=numbers.columns)
    first, second = fitted.predict_proba(far)
    np.testing.assert_array_equal(first, second)


def test_free_text_is_refused_by_name(numbers, two):
    X = numbers.assign(comment=[f"words of row {i}" for i in range(len(numbers))])
    with pytest.raises(ValueError, match=r"Column 'comment' holds 400 different values in 400 rows.* Leave it out"):
        clone(NETWORKS[0]).fit(X, two)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": ["a", "nothing"]}, r"columns names unknown columns \['nothing'\]"),
        ({"width": 0}, "width must be a whole number of at least 1, got 0. Try 64"),
        ({"dropout": 1.0}, "dropout must be >= 0 and < 1, got 1.0"),
        ({"validation_fraction": 2}, "validation_fraction must be between 0 and 1, got 2"),
        ({"objective": "tinybert"}, "objective must be terms, got 'tinybert'"),
        ({"device": "cuda:99"}, "device='cuda:99' asks for a GPU"),
    ],
    ids=str,
)
def test_bad_setting_is_refused(settings, message, numbers, two):
    if "device" in settings and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match=message):
        TabularMLPClassifier(**{**MLP, **settings}).fit(numbers, two)


def test_heads_that_do_not_divide_the_width_are_refused(numbers, two):
    with pytest.raises(ValueError, match="n_heads must divide width=8, got 3"):
        FTTransformerClassifier(width=8, n_heads=3).fit(numbers, two)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_soft_targets_that_are_not_finite_are_refused(bad, numbers, two):
    soft = np.full((len(two), 2), 0.5)
    soft[3] = bad
    with pytest.raises(ValueError, match="soft_targets holds NaN or infinity in 1 rows, row 3 first"):
        clone(NETWORKS[0]).fit_soft(numbers, soft, y=two)


# ---------------------------------------------------------------- training


def test_same_seed_gives_the_same_weights_and_leaves_global_generators_alone(table, two):
    before = torch.random.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    first, second = (clone(NETWORKS[1]).set_params(dropout=0.2).fit(table, two).predict_proba(table) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert torch.equal(before[0], torch.random.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_other_seed_gives_other_weights(table, two):
    first, second = (clone(NETWORKS[0]).set_params(random_state=seed).fit(table, two) for seed in (0, 1))
    assert not np.array_equal(first.predict_proba(table), second.predict_proba(table))


def test_training_ends_once_it_gets_no_better(numbers):
    labels = np.random.default_rng(5).integers(0, 2, len(numbers))
    fitted = TabularMLPClassifier(**{**MLP, "width": 128, "epochs": 200, "patience": 3}).fit(numbers, labels)
    losses = [epoch["loss"] for epoch in fitted.history_]
    assert len(losses) < 200 and int(np.argmin(losses)) == len(losses) - 4


def test_weights_of_the_best_epoch_are_kept(numbers):
    labels = np.random.default_rng(5).integers(0, 2, len(numbers))
    settings = {**MLP, "width": 128, "epochs": 60, "patience": None}
    watched, last = (TabularMLPClassifier(**settings, validation_fraction=n).fit(numbers, labels) for n in (0.1, None))
    assert watched.score(numbers, labels) + 0.1 < last.score(numbers, labels)


def test_rows_of_no_weight_teach_nothing(numbers, two):
    weight = np.where(np.arange(len(two)) % 2, 1.0, 0.0)
    wrong = np.where(weight > 0, two, 1 - two)
    assert clone(NETWORKS[0]).fit(numbers, wrong, sample_weight=weight).score(numbers, two) > 0.85


@both
def test_rows_of_weight_zero_are_as_if_they_were_not_there(network, table, two):
    kept = np.arange(len(two)) % 3 > 0
    fits = clone(network).fit(table, two, sample_weight=kept), clone(network).fit(table[kept], two[kept])
    np.testing.assert_array_equal(*(fitted.predict_proba(table) for fitted in fits))


@pytest.mark.parametrize("network", REGRESSORS, ids=lambda network: type(network).__name__)
def test_values_of_rows_of_weight_zero_leave_the_others_alone(network, numbers):
    kept, values = np.arange(len(numbers)) % 9 > 0, numbers["a"].to_numpy()
    weighed = clone(network).fit(numbers, np.where(kept, values, 1e7), sample_weight=kept)
    without = clone(network).fit(numbers[kept], values[kept])
    np.testing.assert_array_equal(weighed.predict(numbers), without.predict(numbers))


@both
def test_pickled_network_answers_alike(network, table, two):
    fitted = clone(network).fit(table, two)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(fitted.predict_proba(table), again.predict_proba(table))


def test_regression_of_several_outputs(numbers):
    targets = np.c_[numbers["a"] * 100, numbers["b"] - 7]
    assert clone(REGRESSORS[0]).set_params(epochs=60).fit(numbers, targets).score(numbers, targets) > 0.9


# ---------------------------------------------------------------- learning from a teacher


@pytest.fixture(scope="module")
def teacher(table, two):
    return TabularMLPClassifier(**{**MLP, "width": 64}).fit(table, two)


def test_rows_without_a_label_are_learnt_from_the_teacher_alone(teacher, table, two):
    few = np.array([label if i < 20 else None for i, label in enumerate(two)], dtype=object)
    student = TabularMLPClassifier(**{**MLP, "epochs": 60}, teacher=teacher, alpha=0.1).fit(table, few)
    assert (student.predict(table) == teacher.predict(table)).mean() > 0.9


def test_rows_without_a_label_are_refused_where_there_is_no_teacher(table, two):
    with pytest.raises(ValueError, match="Row 1 has no label, and there is no teacher"):
        clone(NETWORKS[0]).fit(table, [0, None, *two[2:].tolist()])


@both
@pytest.mark.parametrize("term", [Hidden, Distances, Angles, ActivationBoundary])
def test_term_changes_what_is_learnt_from_a_teacher_of_another_width(term, network, teacher, table, two):
    found = []
    for weight in (0.0, 1.0):
        student = clone(network).set_params(epochs=2, teacher=teacher, objective=[term("last", weight=weight)])
        found.append(student.fit(table.head(120), two[:120]).predict_proba(table))
    assert not np.allclose(*found)


def test_distances_bring_rows_apart_as_they_are_in_the_teacher(teacher, table, two):
    def likeness(weight):
        student = TabularMLPClassifier(**MLP, teacher=teacher, objective=[Distances(weight=weight)]).fit(table, two)
        sides = [torch.pdist(m._outputs(m._encoded(table), True)[0].hidden_states[-1]) for m in (student, teacher)]
        return float(torch.corrcoef(torch.stack(sides))[0, 1])

    assert likeness(100.0) > likeness(0.0) + 0.02


def test_student_of_few_columns_looks_into_a_teacher_of_all(teacher, table, two):
    student = TabularMLPClassifier(**MLP, teacher=teacher, columns=["a", "city"], objective=[Hidden("last")])
    assert student.fit(table, two).predict(table[["city", "a"]]).shape == two.shape


def test_terms_on_attention_are_refused(teacher, table, two):
    with pytest.raises(ValueError, match="Attention compares attentions, which networks for tables do not give"):
        TabularMLPClassifier(**MLP, teacher=teacher, objective=[Attention()]).fit(table, two)


def test_terms_that_look_inside_a_tree_are_refused(table, two):
    trees = LGBMClassifier(n_estimators=3, verbose=-1).fit(table[["a", "b"]], two)
    with pytest.raises(ValueError, match="Hidden looks inside the teacher, but there is none to look into"):
        TabularMLPClassifier(**MLP, objective=[Hidden()]).fit_soft(
            table, trees.predict_proba(table[["a", "b"]]), y=two, teacher=FrozenEstimator(trees)
        )


def test_teacher_of_columns_that_the_student_lacks_is_refused_where_terms_look_inside(teacher, table, two):
    student = TabularMLPClassifier(**MLP, objective=[Hidden("last")])
    model = DistilledEstimator(FrozenEstimator(teacher), student, student_features=["a", "city"], alpha=0.5, cv=2)
    with pytest.raises(ValueError, match="Hidden looks inside the teacher, which needs columns that this table lacks"):
        model.set_params(random_state=0, cross_fit="folds").fit(table, two)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("ensemble", [False, True], ids=["single", "ensemble"])
@pytest.mark.parametrize("student", [*NETWORKS, *REGRESSORS], ids=lambda network: type(network).__name__)
def test_file_of_a_student_takes_raw_columns(student, ensemble, table, two, tmp_path):
    from lightgbm import LGBMRegressor

    trees = {"n_estimators": 5, "verbose": -1}
    teacher = LGBMRegressor(**trees) if student in REGRESSORS else LGBMClassifier(**trees)
    model = DistilledEstimator(
        teacher, clone(student).set_params(epochs=2), student_features=["a", "b", "city", "flag", "count"],
        cross_fit="folds", cv=2, alpha=0.5, ensemble=ensemble, random_state=0,
    ).fit(table, two)  # fmt: skip
    predictor = OnnxPredictor(model.to_onnx(tmp_path / "student.onnx", X=table))
    assert predictor.columns == ["a", "b", "city", "flag", "count"]
    # Values are relative to how far they spread alone, which is half of their spread and size.
    assert predictor.metadata["proof"]["largest_difference"] < (2e-6 if student in REGRESSORS else 1e-6)


@both
@pytest.mark.parametrize("options", [{}, {"inputs": "matrix"}, {"precision": "float64"}], ids=str)
def test_file_of_a_network_by_itself(network, options, table, three, tmp_path):
    fitted = clone(network).set_params(epochs=2).fit(table, three)
    predictor = OnnxPredictor(to_onnx(fitted, tmp_path / "network.onnx", X=table, **options))
    assert predictor.metadata["proof"]["largest_difference"] < 1e-6


@both
def test_file_reads_infinity_and_unknown_categories_as_python_does(network, table, two, tmp_path):
    fitted = clone(network).set_params(epochs=2).fit(table, two)
    predictor = OnnxPredictor(to_onnx(fitted, tmp_path / "network.onnx", X=table))
    odd = table.head(4).assign(a=[np.inf, -np.inf, np.nan, 3e38], city=["Paris", None, "", "Busan"])
    np.testing.assert_allclose(predictor.predict_proba(odd), fitted.predict_proba(odd), atol=1e-6)


def test_a_training_that_diverges_is_refused(table, two):
    with pytest.raises(ValueError, match=r"Lower learning_rate=1e\+38"):
        TabularMLPClassifier(**{**MLP, "learning_rate": 1e38}).fit(table, two)

"""Students that teach students, several teachers, and what of a teacher's answers is learnt."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.datasets import load_diabetes, load_iris, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, RepeatedStratifiedKFold, TimeSeriesSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tabkd import DistilledEstimator
from tabkd.runtime import OnnxPredictor
from tabkd.targets import harden, trusted

pytestmark = pytest.mark.filterwarnings("ignore:With alpha")

FAST = {"n_estimators": 15, "num_leaves": 7, "verbose": -1, "n_jobs": 1, "random_state": 0}
TREE = DecisionTreeClassifier(max_depth=4, min_samples_leaf=10, random_state=0)


@pytest.fixture(scope="module")
def data():
    return make_classification(400, 8, n_informative=5, flip_y=0.1, random_state=0)


def model(teacher=None, student=TREE, **settings) -> DistilledEstimator:
    settings = {"cv": 4, "alpha": 0.5, "random_state": 0, **settings}
    return DistilledEstimator(LGBMClassifier(**FAST) if teacher is None else teacher, student, **settings)


# ---------------------------------------------------------------- generations


def test_a_generation_learns_from_the_answers_of_the_one_before(data) -> None:
    X, y = data
    X_student = X.astype(np.float32)
    frozen = FrozenEstimator(LGBMClassifier(**FAST).fit(X[:200], y[:200]))
    folds = list(RepeatedStratifiedKFold(n_splits=4, n_repeats=1, random_state=0).split(X[200:], y[200:]))
    fitted = model(frozen, DecisionTreeRegressor(max_depth=3, random_state=0), cv=folds, alpha=0.0, generations=2)
    fitted.fit(X[200:], y[200:])
    X_student, first = X_student[200:], frozen.predict_proba(X[200:])[:, 1]
    told = np.full((4, 200), np.nan)
    for i, (train, _) in enumerate(folds):
        for j, (other, left) in enumerate(folds):
            if i != j:
                both = np.intersect1d(train, other)
                told[i, left] = (
                    DecisionTreeRegressor(max_depth=3, random_state=0)
                    .fit(X_student[both], first[both])
                    .predict(X_student[left])
                )
    by_hand = np.zeros(200)
    for i, (train, test) in enumerate(folds):
        tree = DecisionTreeRegressor(max_depth=3, random_state=0).fit(X_student[train], told[i, train])
        by_hand[test] = tree.predict(X_student[test])
    losses = {key: value for key, value in fitted.alpha_scores_.items() if key != "control"}
    clipped = np.clip(by_hand, np.finfo(float).eps, 1 - np.finfo(float).eps)
    by_hand_score = np.mean(np.log(np.where(y[200:] == 1, clipped, 1 - clipped)))
    assert losses[0.0, 2] == pytest.approx(by_hand_score)


def test_generations_end_where_the_honest_score_no_longer_improves(data) -> None:
    fitted = model(generations=9).fit(*data)
    scores = [fitted.alpha_scores_[0.5]] + [
        fitted.alpha_scores_[0.5, n] for n in range(2, 10) if (0.5, n) in fitted.alpha_scores_
    ]
    assert len(scores) == 9 or scores[-1] <= max(scores[:-1])
    assert all(later > earlier for earlier, later in pairwise(scores[:-1]))
    assert fitted.generation_ == np.argmax(scores) + 1


def test_every_alpha_has_generations_of_its_own(data) -> None:
    fitted = model(alpha="auto", generations=2).fit(*data)
    assert {(0.0, 2), (0.25, 2), (0.5, 2)} < set(fitted.alpha_scores_)


def test_a_kept_control_is_of_no_generation(data) -> None:
    X, y = data
    noise = np.random.default_rng(0).integers(2, size=len(y))
    teacher = FrozenEstimator(LogisticRegression().fit(X, noise))
    fitted = model(teacher, LogisticRegression(), alpha="auto", generations=2).fit(X, y)
    assert (fitted.alpha_, fitted.generation_) == (1.0, 0)


@pytest.mark.parametrize("ensemble", [False, True])
def test_a_later_generation_ships(data, ensemble) -> None:
    X, y = data
    fitted = model(student=DecisionTreeClassifier(random_state=0), generations=3, alpha=0.25, ensemble=ensemble)
    fitted.fit(X, y)
    assert fitted.generation_ > 1
    assert len(fitted.student_.members) == (4 if ensemble else 1)
    assert fitted.student_score_ > fitted.alpha_scores_[0.25]


@pytest.mark.parametrize(
    "settings",
    [
        {"cross_fit": "folds", "cv": TimeSeriesSplit(4)},
        {"cross_fit": "folds", "ensemble": True},
        {"cross_fit": "holdout"},
        {"cv": RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0)},
    ],
    ids=["time", "folds", "holdout", "repeats"],
)
@pytest.mark.filterwarnings("ignore:Pairs of 3 folds")
def test_generations_work_with(data, settings) -> None:
    X, y = data
    fitted = model(generations=2, **settings).fit(X, y)
    assert fitted.predict_proba(X).shape == (400, 2)


def test_groups_stay_together_through_generations(data) -> None:
    X, y = data
    fitted = model(generations=2, cv=GroupKFold(4)).fit(X, y, groups=np.arange(400) // 4)
    assert np.isfinite(fitted.student_predictions_).all()


def test_several_classes_and_weights() -> None:
    X, y = load_iris(return_X_y=True)
    fitted = model(student=LGBMClassifier(**FAST), generations=2, targets="trusted")
    assert fitted.fit(X, y, sample_weight=np.linspace(1, 2, 150)).score(X, y) > 0.9


def test_a_regression_with_two_outputs() -> None:
    X, y = load_diabetes(return_X_y=True)
    fitted = model(Ridge(), Ridge(alpha=0.1), generations=2, targets="trusted", transfer="munge")
    assert fitted.fit(X, np.column_stack([y, -y])).predict(X).shape == (442, 2)


def test_exported_exactly(data, tmp_path) -> None:
    X, y = data
    fitted = model(generations=2, ensemble=True).fit(X, y)
    path = fitted.to_onnx(tmp_path / "student.onnx")
    np.testing.assert_allclose(OnnxPredictor(path).predict_proba(X), fitted.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("generations", [0, 1.5, "two", None])
def test_a_number_of_generations_is_whole_and_positive(data, generations) -> None:
    with pytest.raises(ValueError, match="generations must be a whole number"):
        model(generations=generations).fit(*data)


# ---------------------------------------------------------------- several teachers


def test_several_teachers_are_averaged(data) -> None:
    X, y = data
    each = [model(teacher).fit(X, y) for teacher in (LGBMClassifier(**FAST), LogisticRegression())]
    both = model([LGBMClassifier(**FAST), LogisticRegression()]).fit(X, y)
    np.testing.assert_allclose(both.soft_targets_, np.mean([one.soft_targets_ for one in each], axis=0))
    by_hand = np.mean([one.teacher_.predict_proba(X) for one in each], axis=0)
    np.testing.assert_allclose(both.teacher_.predict_proba(X), by_hand)


def test_equal_teachers_have_seeds_of_their_own(data) -> None:
    forest = RandomForestClassifier(5)
    one, two = (model(teachers).fit(*data).soft_targets_ for teachers in (forest, [forest, forest]))
    assert not np.allclose(one, two)


def test_a_teacher_that_knows_its_training_rows_by_heart_does_no_harm(data) -> None:
    X, y = data
    fitted = model([KNeighborsClassifier(1), LGBMClassifier(**FAST)], transfer="munge").fit(X, y)
    agreement = (fitted.soft_targets_.argmax(axis=1) == y).mean()
    assert agreement < 0.95


def test_frozen_teachers_are_averaged(data) -> None:
    X, y = data
    teachers = [FrozenEstimator(one.fit(X[:200], y[:200])) for one in (LogisticRegression(), LGBMClassifier(**FAST))]
    fitted = model(teachers).fit(X[200:], y[200:])
    mean = np.mean([teacher.predict_proba(X[200:]) for teacher in teachers], axis=0)
    np.testing.assert_allclose(fitted.soft_targets_, mean)


def test_teachers_encode_the_table_each_in_their_own_way() -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    X["kind"] = np.where(X.iloc[:, 0] > 5.5, "long", "short")
    fitted = model([LogisticRegression(max_iter=1000), LGBMClassifier(**FAST)], LGBMClassifier(**FAST)).fit(X, y)
    assert fitted.teacher_.predict_proba(X).shape == (150, 3)


def test_an_estimator_with_several_teachers_is_pickled(data) -> None:
    X, y = data
    fitted = model([LGBMClassifier(**FAST), LogisticRegression()]).fit(X, y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        ([LogisticRegression(), LGBMRegressor()], r"mixed kinds: \['LGBMRegressor'\] predict numbers"),
        ([make_pipeline(LogisticRegression()), make_pipeline(Ridge())], r"mixed kinds: \['Ridge'\] predict numbers"),
        ([LogisticRegression(), FrozenEstimator(LogisticRegression())], "Freeze all of them"),
        ([], r"teacher=\[\] names no teacher"),
    ],
)
def test_teachers_must_go_together(data, teachers, message) -> None:
    X, y = data
    for teacher in teachers:
        if isinstance(teacher, FrozenEstimator):
            teacher.estimator.fit(X, y)
    with pytest.raises(ValueError, match=message):
        model(teachers).fit(X, y)


# ---------------------------------------------------------------- what is learnt


def test_pseudo_labels_are_what_the_student_hears(data) -> None:
    X, y = data
    fitted = model(student=DecisionTreeRegressor(max_depth=3, random_state=0), alpha=0.0, targets="hard").fit(X, y)
    by_hand = DecisionTreeRegressor(max_depth=3, random_state=0)
    by_hand.fit(X.astype(np.float32), fitted.soft_targets_.argmax(axis=1))
    np.testing.assert_allclose(fitted.predict_proba(X)[:, 1], by_hand.predict(X.astype(np.float32)))


def test_a_teacher_that_is_right_is_trusted_whole() -> None:
    soft = np.array([[0.9, 0.1], [0.3, 0.7]])
    np.testing.assert_array_equal(trusted(np.eye(2), soft, classes=True), soft)


def test_a_teacher_that_is_wrong_and_sure_is_not_heard() -> None:
    np.testing.assert_allclose(trusted([[1, 0]], [[0, 1]], classes=True), [[1, 0]])


def test_trust_in_numbers_falls_with_the_error() -> None:
    hard, soft = np.zeros((5, 1)), np.array([[0.0], [1.0], [-1.0], [1.0], [100.0]])
    moved = trusted(hard, soft, classes=False)
    assert 0.7 < moved[1, 0] < 1 and abs(moved[4, 0]) < 1e-6


def test_rows_without_soft_targets_stay_so() -> None:
    unknown = np.full((1, 2), np.nan)
    assert np.isnan(harden(unknown)).all() and np.isnan(trusted([[1, 0]], unknown, classes=True)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": "softer"}, "targets must be one of"),
        ({"targets": "trusted", "temperature": 2.0, "alpha": 0.0}, "cannot be undone on targets='trusted'"),
    ],
)
def test_targets_that_do_not_fit_are_refused(data, settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        model(**settings).fit(*data)


def test_a_regression_has_no_pseudo_labels() -> None:
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match="likeliest class, which a regression has not"):
        model(Ridge(), Ridge(), targets="hard").fit(X, y)

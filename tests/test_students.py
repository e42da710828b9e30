"""How estimators of every family learn from soft targets."""

from __future__ import annotations

import functools
import pickle
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

from tabkd import DistilledEstimator
from tabkd._compat import clone_estimator
from tabkd.learners import Learner, fit_members
from tabkd.links import invert_link
from tabkd.students import HardLabels, WeightedRows, adapt
from tabkd.targets import Targets, one_hot


def lgbm(cls=LGBMClassifier, **params):
    return cls(**{"n_estimators": 20, "num_leaves": 7, "n_jobs": 1, "verbose": -1, **params})


def xgb(cls=XGBClassifier, **params):
    return cls(**{"n_estimators": 20, "max_depth": 3, "n_jobs": 1, **params})


def cat(cls=CatBoostClassifier, **params):
    return cls(**{"n_estimators": 20, "depth": 3, "thread_count": 1, "allow_writing_files": False, **params})


def hgb(cls=HistGradientBoostingClassifier, **params):
    return cls(**{"max_iter": 10, "max_bins": 31, **params})


def lessons(y, soft=None, alpha=0.0, weight=None):
    classes, codes = np.unique(y, return_inverse=True)
    return Targets(one_hot(codes, len(classes)), soft, classes, weight, alpha if soft is not None else 1.0)


def soft_labels(y, seed=0):
    hard = one_hot(np.unique(y, return_inverse=True)[1], len(np.unique(y)))
    return 0.6 * hard + 0.4 * np.random.default_rng(seed).dirichlet(np.ones(hard.shape[1]), len(hard))


def proba_of(adapter, X):
    return invert_link(adapter.raw(X), adapter.link)


def as32(table):
    return table.astype(np.float32)


def taught(student, X, y, soft=None, **params):
    """A student fitted to given soft targets, so that no teacher is."""
    fit_params = {name: params.pop(name) for name in ("sample_weight",) if name in params}
    params = {"alpha": 0.5, "cross_fit": "folds", **params}
    model = DistilledEstimator(LogisticRegression(), student, **params)
    return model.fit(X, y, soft_targets=soft_labels(y) if soft is None else soft, **fit_params)


# ---------------------------------------------------------------- alpha = 1 is the native model


def native_proba(model, X, y, weight):
    if isinstance(model, XGBClassifier):
        y = np.unique(y, return_inverse=True)[1]
    if isinstance(model, CatBoostClassifier):
        model.set_params(verbose=False)
    return model.fit(X, y, sample_weight=weight).predict_proba(X)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("student", "classes", "tolerance"),
    [
        (lgbm(), 2, 0),
        (lgbm(), 3, 2e-8),
        (lgbm(subsample=0.7, subsample_freq=1, colsample_bytree=0.7, random_state=0), 2, 0),
        (cat(), 2, 0),
        (cat(), 3, 0),
        (cat(learning_rate=0.2), 2, 0),
        (cat(n_estimators=200), 2, 0),
        (xgb(), 2, 1e-6),
        (LogisticRegression(), 2, 1e-9),
        (LogisticRegression(), 3, 1e-9),
        (hgb(), 2, 1e-6),
        (hgb(), 3, 1e-6),
        (RandomForestClassifier(20, max_depth=4, random_state=0), 2, 1e-12),
        (RandomForestClassifier(20, max_depth=4, random_state=0), 3, 1e-12),
        (DecisionTreeClassifier(max_depth=4, random_state=0), 3, 1e-12),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else str(value),
)
def test_alpha_one_through_the_adapter_equals_the_native_model(
    numbers, two, three, weights, student, classes, tolerance, weighted
):
    X, y, weight = as32(numbers), two if classes == 2 else three, weights if weighted else None
    if isinstance(student, LogisticRegression):
        X = X.astype(np.float64)  # as the one-hot encoding holds it
    adapter = adapt(clone(student), "auto", np.unique(y)).fit(X, lessons(y, weight=weight))
    expected = native_proba(clone(student), X, y, weight)
    np.testing.assert_allclose(proba_of(adapter, X), expected, rtol=0, atol=max(tolerance, 1e-15))


def test_catboost_keeps_its_automatic_learning_rate_under_soft_targets(numbers, two):
    X = as32(numbers)
    adapter = adapt(cat(), "auto", np.unique(two)).fit(X, lessons(two, soft_labels(two)))
    native = cat(verbose=False).fit(X, two)
    assert adapter.estimator.learning_rate_ == native.learning_rate_


def test_catboost_keeps_the_learning_rate_that_the_user_set(numbers, two):
    adapter = adapt(cat(learning_rate=0.123), "auto", np.unique(two)).fit(as32(numbers), lessons(two))
    assert adapter.estimator.learning_rate_ == pytest.approx(0.123)


@pytest.mark.parametrize("alpha", [1, 1.0])
def test_alpha_one_in_the_estimator_equals_the_native_model(numbers, three, alpha):
    model = taught(lgbm(), numbers, three, alpha=alpha)
    native = lgbm().fit(as32(numbers), three)
    np.testing.assert_allclose(model.predict_proba(numbers), native.predict_proba(as32(numbers)), atol=1e-9)


def test_alpha_one_ignores_the_soft_targets(numbers, two):
    one, other = (taught(lgbm(), numbers, two, soft_labels(two, seed), alpha=1) for seed in (0, 1))
    np.testing.assert_array_equal(one.predict_proba(numbers), other.predict_proba(numbers))


@pytest.mark.parametrize(
    "student", [lgbm(), xgb(), cat(), LogisticRegression(), Ridge()], ids=lambda s: type(s).__name__
)
def test_alpha_zero_ignores_the_true_labels(numbers, two, student):
    soft, flipped = soft_labels(two), two.copy()
    flipped[[np.flatnonzero(two == 0)[0], np.flatnonzero(two == 1)[0]]] = 1, 0
    params = {"learning_rate": 0.1} if isinstance(student, CatBoostClassifier) else {}
    one, other = (taught(clone(student).set_params(**params), numbers, y, soft, alpha=0) for y in (two, flipped))
    np.testing.assert_array_equal(one.predict_proba(numbers), other.predict_proba(numbers))


# ---------------------------------------------------------------- soft labels do what they should


def cross_entropy(target, proba):
    return -(target * np.log(np.clip(proba, 1e-12, 1))).sum(axis=1).mean()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("student", [lgbm(), xgb(), cat(), LogisticRegression(), hgb()], ids=lambda s: type(s).__name__)
def test_students_learn_the_soft_targets_rather_than_the_labels(numbers, classes, student):
    """The true labels are noise here: only the soft targets can be learnt."""
    X, y = as32(numbers), np.random.default_rng(5).integers(classes, size=400)
    soft = softmax(np.column_stack([2 * numbers["a"], -numbers["b"], 0 * numbers["c"]])[:, :classes], axis=1)
    adapter = adapt(clone(student), "auto", np.arange(classes)).fit(X, lessons(y, soft))
    entropy = cross_entropy(soft, soft)
    floor = cross_entropy(soft, np.tile(soft.mean(axis=0), (400, 1)))
    assert cross_entropy(soft, proba_of(adapter, X)) - entropy < 0.35 * (floor - entropy)


def test_lightgbm_soft_labels_equal_its_own_cross_entropy(numbers, two):
    X, soft = as32(numbers), soft_labels(two)
    adapter = adapt(lgbm(), "auto", np.unique(two)).fit(X, lessons(two, soft))
    native = lgbm(LGBMRegressor, objective="cross_entropy").fit(X, soft[:, 1])
    np.testing.assert_array_equal(adapter.raw(X)[:, 0], native.predict(X, raw_score=True))


@pytest.mark.parametrize("classes", [2, 3])
def test_weighted_rows_equal_each_row_once_per_class(numbers, two, three, weights, classes):
    X, y = as32(numbers), two if classes == 2 else three
    soft, names = soft_labels(y), np.unique(y)
    adapter = adapt(LogisticRegression(), "auto", names).fit(X, lessons(y, soft, weight=weights))
    by_hand = LogisticRegression().fit(
        pd.concat([X] * classes), np.repeat(names, 400), sample_weight=(soft * weights[:, None]).T.ravel()
    )
    np.testing.assert_allclose(proba_of(adapter, X), by_hand.predict_proba(X), atol=1e-4)


class CountingClassifier(DecisionTreeClassifier):
    """Remembers the weights that it was given."""

    def fit(self, X, y, sample_weight=None):
        self.given_ = sample_weight
        return super().fit(X, y, sample_weight=sample_weight)


def test_rows_of_weight_zero_are_dropped(numbers, two):
    soft = soft_labels(two)
    soft[:100] = one_hot(two[:100], 2)
    adapter = adapt(CountingClassifier(max_depth=2), "auto", np.unique(two)).fit(as32(numbers), lessons(two, soft))
    assert len(adapter.estimator.given_) == 100 + 2 * 300
    assert (adapter.estimator.given_ > 0).all()


def test_rows_of_the_users_weight_zero_are_dropped(numbers, two, weights):
    weight = np.where(np.arange(400) < 50, 0.0, weights)
    targets = lessons(two, soft_labels(two), weight=weight)
    adapter = adapt(CountingClassifier(max_depth=2), "auto", np.unique(two)).fit(as32(numbers), targets)
    assert len(adapter.estimator.given_) == 2 * 350


def test_multiclass_softmax_weighs_rows_as_if_they_were_repeated(numbers, three):
    X, soft = as32(numbers), soft_labels(three)
    weight = np.where(np.arange(400) % 3 == 0, 2.0, 1.0)
    rows = np.repeat(np.arange(400), weight.astype(int))
    student = lgbm(min_child_samples=1, min_child_weight=0.0, max_bin=15)
    weighted = adapt(clone(student), "auto", np.unique(three)).fit(X, lessons(three, soft, weight=weight))
    repeated = adapt(clone(student), "auto", np.unique(three)).fit(X.iloc[rows], lessons(three[rows], soft[rows]))
    np.testing.assert_allclose(
        np.average(proba_of(weighted, X), axis=0, weights=weight),
        proba_of(repeated, X.iloc[rows]).mean(axis=0),
        atol=0.01,
    )


# ---------------------------------------------------------------- class weights

BALANCED = [
    (lgbm(class_weight="balanced"), 1e-9),
    (lgbm(class_weight={0: 1.0, 1: 4.0}), 1e-9),
    (xgb(scale_pos_weight=3.0, base_score=0.5), 1e-5),
    (cat(auto_class_weights="Balanced"), 1e-9),
    (cat(class_weights=[1.0, 4.0]), 1e-9),
    (LogisticRegression(class_weight="balanced"), 1e-6),
    (DecisionTreeClassifier(max_depth=3, class_weight="balanced", random_state=0), 1e-9),
]


@pytest.mark.parametrize(
    ("student", "tolerance"),
    BALANCED,
    ids=[
        *("lightgbm balanced", "lightgbm dict", "xgboost scale", "catboost balanced", "catboost list"),
        *("logistic balanced", "tree balanced"),
    ],
)
def test_class_weights_on_true_labels_equal_the_native_model(numbers, two, student, tolerance):
    X = as32(numbers).round(1).astype(np.float64)
    adapter = adapt(clone_estimator(student), "auto", np.unique(two)).fit(X, lessons(two))
    native = native_proba(clone_estimator(student), X, two, None)
    np.testing.assert_allclose(proba_of(adapter, X), native, atol=tolerance)


@pytest.mark.parametrize(
    "student", [lgbm(is_unbalance=True), lgbm(class_weight={0: 1, 1: 4})], ids=["unbalance", "dict"]
)
def test_lightgbm_class_weights_reach_soft_labels(numbers, two, student):
    X = as32(numbers)
    rare = (two == 1) & (np.arange(400) % 4 == 0)
    targets = lessons(rare.astype(int), soft_labels(rare))
    weighted = adapt(clone(student), "auto", np.array([0, 1])).fit(X, targets)
    plain = adapt(lgbm(), "auto", np.array([0, 1])).fit(X, targets)
    assert proba_of(weighted, X)[:, 1].mean() > proba_of(plain, X)[:, 1].mean() + 0.1


@pytest.mark.parametrize("classes", [2, 3])
def test_class_weights_on_soft_labels_equal_weighting_by_hand(numbers, two, three, classes):
    X, y = as32(numbers), two if classes == 2 else three
    soft, names = soft_labels(y), np.unique(y)
    factors = np.array([1.0, 4.0, 2.0])[:classes]
    student = LogisticRegression(class_weight=dict(zip(names.tolist(), factors.tolist(), strict=True)))
    adapter = adapt(student, "auto", names).fit(X, lessons(y, soft))
    by_hand = LogisticRegression().fit(pd.concat([X] * classes), np.repeat(names, 400), (soft * factors).T.ravel())
    np.testing.assert_allclose(proba_of(adapter, X), by_hand.predict_proba(X), atol=1e-4)


def test_booster_class_weights_on_soft_labels_equal_weighting_by_hand(numbers, two):
    X, soft = as32(numbers), soft_labels(two)
    adapter = adapt(lgbm(class_weight={0: 1.0, 1: 4.0}), "auto", np.unique(two)).fit(X, lessons(two, soft))
    mass = soft @ [1.0, 4.0]
    by_hand = lgbm(LGBMRegressor, objective="cross_entropy").fit(X, 4 * soft[:, 1] / mass, sample_weight=mass)
    np.testing.assert_allclose(adapter.raw(X)[:, 0], by_hand.predict(X, raw_score=True), atol=1e-9)


def test_catboost_class_weights_with_squared_error_are_no_crash(numbers, two):
    model = taught(cat(class_weights=[1.0, 4.0]), numbers, two, loss="squared_error")
    assert model.predict_proba(numbers).shape == (400, 2)


# ---------------------------------------------------------------- probabilities, always

STUDENTS = {
    "lightgbm": lgbm(),
    "xgboost": xgb(),
    "catboost": cat(),
    "logistic": LogisticRegression(),
    "hist boosting": hgb(),
    "forest": RandomForestClassifier(10, random_state=0),
    "lightgbm regressor": lgbm(LGBMRegressor),
    "xgboost regressor": xgb(XGBRegressor),
    "catboost regressor": cat(CatBoostRegressor),
    "hist boosting regressor": hgb(HistGradientBoostingRegressor),
    "forest regressor": RandomForestRegressor(10, random_state=0),
    "linear regression": LinearRegression(),
    "perceptron regressor": MLPRegressor(
        hidden_layer_sizes=(4,), solver="lbfgs", max_iter=2000, tol=1e-2, random_state=0
    ),
    "neighbours regressor": KNeighborsRegressor(),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
}
ENTROPY_ONLY = {"logistic", "hist boosting", "forest", "pipeline"}
NO_ENTROPY = {"hist boosting regressor", "forest regressor", "linear regression", "perceptron regressor"} | {
    "neighbours regressor"
}
COMBINATIONS = [
    (name, loss)
    for name in STUDENTS
    for loss in ("auto", "cross_entropy", "squared_error", "logit")
    if not (name in ENTROPY_ONLY and loss in ("squared_error", "logit"))
    and not (name in NO_ENTROPY and loss == "cross_entropy")
]


@pytest.fixture(scope="module")
def every_student(numbers, two, three):
    """Fits each student once: ``every_student(name, loss, classes)``."""

    @functools.cache
    def fitted(name, loss, classes):
        return taught(clone(STUDENTS[name]), numbers, two if classes == 2 else three, loss=loss)

    return fitted


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("name", "loss"), COMBINATIONS, ids=[f"{name}-{loss}" for name, loss in COMBINATIONS])
def test_probabilities_lie_in_0_to_1_and_sum_to_1(numbers, every_student, name, loss, classes):
    extreme = pd.concat([numbers, 50 * numbers])
    proba = every_student(name, loss, classes).predict_proba(extreme)
    assert proba.shape == (800, classes)
    assert proba.min() >= 0
    assert proba.max() <= 1
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("name", "loss"), COMBINATIONS, ids=[f"{name}-{loss}" for name, loss in COMBINATIONS])
def test_every_student_finds_the_right_class_more_often_than_chance(
    numbers, two, three, every_student, name, loss, classes
):
    """Columns in the wrong order would be worse than chance."""
    y = two if classes == 2 else three
    share = np.unique(y, return_counts=True)[1].max() / 400
    assert every_student(name, loss, classes).score(numbers, y) > share + 0.1


@pytest.mark.parametrize("name", sorted(ENTROPY_ONLY - {"pipeline"}))
@pytest.mark.parametrize("loss", ["squared_error", "logit"])
def test_classifier_outside_the_boosters_refuses_to_regress(numbers, two, name, loss):
    with pytest.raises(ValueError, match="learns by cross-entropy only"):
        taught(clone(STUDENTS[name]), numbers, two, loss=loss)


@pytest.mark.parametrize("name", sorted(NO_ENTROPY))
def test_regressor_outside_the_boosters_refuses_cross_entropy(numbers, two, name):
    with pytest.raises(ValueError, match="cannot minimise cross-entropy"):
        taught(clone(STUDENTS[name]), numbers, two, loss="cross_entropy")


def test_regressor_by_squared_error_fits_the_blended_probability(numbers, two):
    X, soft = as32(numbers), soft_labels(two)
    model = taught(DecisionTreeRegressor(max_depth=4, random_state=0), numbers, two, soft, alpha=0.25)
    native = DecisionTreeRegressor(max_depth=4, random_state=0).fit(X, 0.25 * two + 0.75 * soft[:, 1])
    np.testing.assert_allclose(model.predict_proba(numbers)[:, 1], native.predict(X), atol=1e-12)


def test_regressor_by_logit_fits_the_log_odds(numbers, two):
    X, soft = numbers.astype(np.float32).astype(float), soft_labels(two).clip(0.01, 0.99)
    soft /= soft.sum(axis=1, keepdims=True)
    model = taught(LinearRegression(), numbers, two, soft, alpha=0, loss="logit")
    native = LinearRegression().fit(X, np.log(soft[:, 1] / soft[:, 0]))
    np.testing.assert_allclose(model.predict_proba(numbers)[:, 1], expit(native.predict(X)), atol=1e-9)


@pytest.mark.parametrize(
    ("student", "loss"),
    [(LinearRegression(), "squared_error"), (lgbm(LGBMRegressor), "cross_entropy")],
    ids=["linear", "lightgbm"],
)
def test_auto_loss_is_the_best_that_the_family_offers(numbers, two, student, loss):
    auto, named = (taught(clone(student), numbers, two, loss=choice) for choice in ("auto", loss))
    np.testing.assert_array_equal(auto.predict_proba(numbers), named.predict_proba(numbers))


# ---------------------------------------------------------------- early stopping

STOPPING = {
    "lightgbm": lgbm(n_estimators=300, learning_rate=0.5, early_stopping_round=5),
    "xgboost": xgb(n_estimators=300, learning_rate=0.7, early_stopping_rounds=5),
    "catboost": cat(n_estimators=300, learning_rate=0.7, early_stopping_rounds=5),
}


def n_trees(model):
    if hasattr(model, "estimators_"):
        return max(n_trees(part) for part in model.estimators_)
    for name in ("tree_count_", "n_iter_"):
        if hasattr(model, name):
            return getattr(model, name)
    return model.get_booster().num_boosted_rounds()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("loss", [None, "cross_entropy", "squared_error"], ids=["hard labels", "entropy", "squares"])
@pytest.mark.parametrize("library", STOPPING)
def test_early_stopping_fits_fewer_trees(numbers, two, three, library, loss, classes):
    y = two if classes == 2 else three
    learner = Learner(STOPPING[library], loss=loss, alpha=0.5, seed=0)
    (member,) = fit_members([learner], as32(numbers), lessons(y, soft_labels(y)), None)
    assert n_trees(member.adapter.estimator) < 150


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("library", STOPPING)
def test_early_stopping_fits_fewer_trees_in_regression(numbers, noise, library, outputs):
    params = {name: value for name, value in STOPPING[library].get_params().items() if value is not None}
    cls = {"lightgbm": LGBMRegressor, "xgboost": XGBRegressor, "catboost": CatBoostRegressor}[library]
    params = {name: value for name, value in params.items() if name != "objective"}
    y = np.column_stack([numbers["a"] + 2 * noise, numbers["b"] - 2 * noise])[:, :outputs]
    (member,) = fit_members([Learner(cls(**params), loss="auto", seed=0)], as32(numbers), Targets(y, None, None), None)
    assert n_trees(member.adapter.estimator) < 150


def test_early_stopping_watches_rows_that_are_not_trained_on(numbers, two):
    learner = Learner(STOPPING["lightgbm"], loss="auto", alpha=0.5, seed=0)
    (member,) = fit_members([learner], as32(numbers), lessons(two, soft_labels(two)), None)
    assert member.adapter.estimator.booster_.trees_to_dataframe()["count"].iloc[0] == 360


def test_early_stopping_keeps_groups_together(numbers, two):
    groups = np.repeat(np.arange(20), 20)
    learner = Learner(STOPPING["lightgbm"], loss="auto", alpha=0.5, seed=0)
    (member,) = fit_members([learner], as32(numbers), lessons(two, soft_labels(two)), groups)
    assert member.adapter.estimator.booster_.trees_to_dataframe()["count"].iloc[0] % 20 == 0


@pytest.mark.parametrize("library", STOPPING)
def test_early_stopping_prints_nothing(numbers, three, library, capfd):
    for loss in (None, "auto"):
        learner = Learner(STOPPING[library], loss=loss, alpha=0.5, seed=0)
        fit_members([learner], as32(numbers), lessons(three, soft_labels(three)), None)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("student", "steps"),
    [
        (hgb(max_iter=40, learning_rate=1.0, early_stopping=True, n_iter_no_change=2), lambda model: model.n_iter_),
        (GradientBoostingClassifier(n_estimators=40, learning_rate=1.0, n_iter_no_change=2), lambda m: m.n_estimators_),
    ],
    ids=["hist boosting", "boosting"],
)
def test_internal_early_stopping_of_scikit_learn_students_is_off(numbers, two, student, steps):
    assert steps(clone(student).fit(as32(numbers), two)) < 40
    adapter = adapt(clone(student), "auto", np.unique(two)).fit(as32(numbers), lessons(two, soft_labels(two)))
    assert steps(adapter.estimator) == 40


def test_internal_early_stopping_of_sgd_is_off(numbers, two):
    student = SGDClassifier(loss="log_loss", early_stopping=True, random_state=0)
    adapter = adapt(student, "auto", np.unique(two)).fit(as32(numbers), lessons(two, soft_labels(two)))
    assert adapter.estimator.early_stopping is False


# ---------------------------------------------------------------- fitted adapters


@pytest.mark.parametrize("early", [False, True], ids=["plain", "early stopping"])
@pytest.mark.parametrize("student", [lgbm(), xgb()], ids=["lightgbm", "xgboost"])
def test_pickled_softmax_student_holds_no_training_rows(numbers, three, student, early):
    soft = np.random.default_rng(8).dirichlet(np.ones(3), 400)
    if early:
        name = "early_stopping_round" if isinstance(student, LGBMClassifier) else "early_stopping_rounds"
        student = clone(student).set_params(**{name: 5})
    learner = Learner(student, loss="auto", alpha=0.0, seed=0)
    (member,) = fit_members([learner], as32(numbers), lessons(three, soft), None)
    pickled = pickle.dumps(member.adapter)
    assert not any(row.tobytes() in pickled for row in soft)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", STUDENTS)
def test_pickled_student_predicts_the_same(numbers, every_student, name, classes):
    model = every_student(name, "auto", classes)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(numbers), model.predict_proba(numbers))


@pytest.mark.parametrize("linked", [True, False], ids=["link scale", "probabilities"])
@pytest.mark.parametrize("model", [lgbm(), xgb(), cat(), LogisticRegression(), hgb()], ids=lambda m: type(m).__name__)
def test_class_missing_from_a_fold_gets_no_probability_from_a_plain_model(numbers, three, model, linked):
    rows = np.flatnonzero(three != "low")
    targets = lessons(three).take(rows)
    adapter = HardLabels(fit_quietly(model), np.unique(three), linked=linked).fit(as32(numbers).iloc[rows], targets)
    proba = proba_of(adapter, as32(numbers))
    assert proba.shape == (400, 3)
    assert proba[:, 1].max() < 1e-12
    assert (proba.argmax(axis=1) == targets_of(three))[rows].mean() > 0.8


@pytest.mark.parametrize("model", [lgbm(), xgb(), cat(), LogisticRegression(), hgb()], ids=lambda m: type(m).__name__)
def test_class_missing_from_a_fold_gets_no_probability_from_an_adapted_student(numbers, three, model):
    rows = np.flatnonzero(three != "low")
    targets = lessons(three).take(rows)
    adapter = adapt(fit_quietly(model), "auto", np.unique(three)).fit(as32(numbers).iloc[rows], targets)
    proba = proba_of(adapter, as32(numbers))
    assert proba[:, 1].max() < 1e-6
    assert (proba.argmax(axis=1) == targets_of(three))[rows].mean() > 0.8


def fit_quietly(model):
    model = clone(model)
    return model.set_params(verbose=False) if isinstance(model, CatBoostClassifier) else model


def targets_of(y):
    return np.unique(y, return_inverse=True)[1]


@pytest.mark.filterwarnings("ignore:The teacher gives class")
def test_soft_targets_are_aligned_by_label_where_a_fold_misses_a_class(numbers, three):
    order = np.argsort(three, kind="stable")
    X, y = numbers.iloc[order], three[order]
    splits = [(np.flatnonzero(y != name), np.flatnonzero(y == name)) for name in np.unique(y)]
    model = DistilledEstimator(LogisticRegression(), LogisticRegression(), cv=splits, cross_fit="folds", alpha=0.5)
    soft = model.fit(X, y).soft_targets_
    assert soft[np.arange(400), targets_of(y)].max() == 0
    np.testing.assert_allclose(soft.sum(axis=1), 1)


@pytest.mark.parametrize("labels", [["no", "yes"], [True, False], [-1, 1], [2.0, 1.0]], ids=str)
@pytest.mark.parametrize(
    "student", [lgbm(), xgb(), cat(), LogisticRegression(), Ridge()], ids=lambda s: type(s).__name__
)
def test_students_answer_with_the_callers_labels(numbers, two, student, labels):
    y = np.array(labels)[two]
    model = taught(clone(student), numbers, y)
    assert model.classes_.tolist() == sorted(labels)
    assert model.predict(numbers).dtype == y.dtype
    assert model.score(numbers, y) > 0.75


@pytest.mark.parametrize("teacher", [lgbm(), xgb(), cat(), LogisticRegression()], ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("labels", [["no", "yes"], [True, False]], ids=str)
def test_teachers_answer_in_the_order_of_the_classes(numbers, two, teacher, labels):
    y = np.array(labels)[two]
    model = DistilledEstimator(clone(teacher), LogisticRegression(), cross_fit="folds", alpha=0.5, cv=3).fit(numbers, y)
    assert ((model.soft_targets_[:, 1] > 0.5) == (y == model.classes_[1])).mean() > 0.7


# ---------------------------------------------------------------- regression


@pytest.mark.parametrize(
    "student",
    [
        *(
            lgbm(LGBMRegressor),
            xgb(XGBRegressor),
            cat(CatBoostRegressor, learning_rate=0.5),
            hgb(HistGradientBoostingRegressor),
        ),
        *(RandomForestRegressor(10, random_state=0), Ridge()),
    ],
    ids=lambda s: type(s).__name__,
)
@pytest.mark.parametrize("outputs", [1, 2])
def test_regression_students_learn_every_output(numbers, student, outputs):
    y = np.column_stack([numbers["a"], -3 * numbers["b"]])[:, :outputs]
    y = y[:, 0] if outputs == 1 else y
    teacher = RandomForestRegressor(10, random_state=0)
    model = DistilledEstimator(teacher, clone(student), cross_fit="folds", alpha=1, cv=3).fit(numbers, y)
    assert model.predict(numbers).shape == y.shape
    assert model.score(numbers, y) > 0.5


@pytest.mark.parametrize(
    "teacher", [lgbm(LGBMRegressor), xgb(XGBRegressor), cat(CatBoostRegressor)], ids=lambda t: type(t).__name__
)
def test_teachers_of_several_outputs_give_one_soft_target_each(numbers, teacher):
    y = np.column_stack([numbers["a"], -3 * numbers["b"]])
    model = DistilledEstimator(clone(teacher), Ridge(), cross_fit="folds", alpha=0.5, cv=3).fit(numbers, y)
    assert model.soft_targets_.shape == (400, 2)
    assert (np.sign(model.soft_targets_) == np.sign(y)).mean() > 0.8


def test_regression_fits_the_blended_value(numbers, noise):
    y = numbers["a"].to_numpy()
    model = DistilledEstimator(
        Ridge(), DecisionTreeRegressor(max_depth=3, random_state=0), cross_fit="folds", alpha=0.25
    )
    model.fit(numbers, y, soft_targets=noise)
    native = DecisionTreeRegressor(max_depth=3, random_state=0).fit(as32(numbers), 0.25 * y + 0.75 * noise)
    np.testing.assert_allclose(model.predict(numbers), native.predict(as32(numbers)), atol=1e-12)


# ---------------------------------------------------------------- CatBoost with categories


def test_catboost_with_cat_features_survives_clone_of_the_estimator():
    model = DistilledEstimator(cat(cat_features=["city"]), cat(cat_features=["city"]))
    copy = clone(model)
    assert copy.student.get_params()["cat_features"] == copy.teacher.get_params()["cat_features"] == ["city"]


def test_cloned_catboost_is_not_the_callers_own():
    model = DistilledEstimator(cat(cat_features=["city"]), cat(cat_features=["city"]))
    assert clone(model).student is not model.student


@pytest.mark.parametrize("classes", [2, 3])
def test_catboost_with_cat_features_is_teacher_and_student(mixed, two, three, classes):
    y, model = two if classes == 2 else three, cat(cat_features=["city"])
    fitted = DistilledEstimator(model, model, cross_fit="folds", alpha=0.5, cv=3).fit(mixed, y)
    assert fitted.score(mixed, y) > 0.6


def test_catboost_with_cat_features_and_early_stopping(mixed, two):
    model = clone_with(STOPPING["catboost"], cat_features=["city"])
    fitted = DistilledEstimator(model, model, cross_fit="folds", alpha=0.5, cv=3, random_state=0).fit(mixed, two)
    assert fitted.student_.members[0].adapter.estimator.tree_count_ < 150


def clone_with(model, **params):
    return type(model)(**{**model.get_params(), **params})


def test_grid_search_over_a_catboost_student_with_cat_features(mixed, two):
    model = DistilledEstimator(LogisticRegression(), cat(cat_features=["city"]), cross_fit="folds", alpha=0.5, cv=3)
    search = GridSearchCV(model, {"student__depth": [1, 2]}, cv=2, refit=False).fit(mixed, two)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# ---------------------------------------------------------------- pipelines and searches


def pipeline(model):
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    return Pipeline([("encode", encode), ("model", model)])


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("model", [LogisticRegression(), lgbm(), hgb()], ids=lambda m: type(m).__name__)
def test_pipeline_student_at_alpha_one_equals_the_pipeline(mixed, two, weights, model, weighted):
    student = pipeline(clone(model))
    given = {"sample_weight": weights} if weighted else {}
    ours = taught(student, mixed, two, alpha=1, **given).predict_proba(mixed)
    table = mixed.astype(dict.fromkeys("abcd", np.float32))
    routed = {"model__sample_weight": weights} if weighted else {}
    native = clone(student).fit(table, two, **routed).predict_proba(table)
    np.testing.assert_allclose(ours, native, atol=1e-6)


def test_last_step_of_a_pipeline_learns_soft_targets(mixed, two):
    soft = soft_labels(two)
    ours = taught(pipeline(LogisticRegression()), mixed, two, soft, alpha=0).predict_proba(mixed)
    table = mixed.astype(dict.fromkeys("abcd", np.float32))
    encoded = pipeline(LogisticRegression())[:-1].fit_transform(table)
    adapter = adapt(LogisticRegression(), "auto", np.unique(two)).fit(encoded, lessons(two, soft))
    np.testing.assert_allclose(ours, proba_of(adapter, encoded), atol=1e-9)


def test_steps_of_a_pipeline_see_each_row_once(numbers, two):
    seen = []

    class Counting(StandardScaler):
        def fit(self, X, y=None, sample_weight=None):
            seen.append(len(X))
            return super().fit(X, y)

    taught(make_pipeline(Counting(), LogisticRegression()), numbers, two)
    assert seen == [400]


def test_pipeline_is_a_teacher_with_weights(mixed, two, weights):
    splits = list(KFold(3).split(mixed))
    model = DistilledEstimator(pipeline(LogisticRegression()), lgbm(), cv=splits, cross_fit="folds", alpha=0.5)
    soft = model.fit(mixed, two, sample_weight=weights).soft_targets_
    train, test = splits[0]
    table = mixed.astype(dict.fromkeys("abcd", np.float32))
    native = pipeline(LogisticRegression()).fit(table.iloc[train], two[train], model__sample_weight=weights[train])
    np.testing.assert_allclose(soft[test], native.predict_proba(table.iloc[test]), atol=1e-9)


def test_weights_reach_a_pipeline_inside_a_transformed_target(numbers, weights):
    y = np.exp(numbers["a"].to_numpy())
    student = TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge()), func=np.log, inverse_func=np.exp)
    model = DistilledEstimator(Ridge(), clone(student), alpha=1, cross_fit="folds")
    ours = model.fit(numbers, y, soft_targets=y, sample_weight=weights).predict(numbers)
    native = student.fit(as32(numbers), y, ridge__sample_weight=weights).predict(as32(numbers))
    np.testing.assert_allclose(ours, native, rtol=1e-5)


def search(model, **grid):
    return GridSearchCV(model, grid, cv=3, scoring="neg_log_loss")


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_search_is_a_teacher(numbers, two, weights, weighted):
    teacher, splits = search(LogisticRegression(), C=[1e-4, 1.0]), list(KFold(3).split(numbers))
    weight = weights if weighted else None
    model = DistilledEstimator(teacher, lgbm(), cv=splits, cross_fit="folds", alpha=0.5)
    soft = model.fit(numbers, two, sample_weight=weight).soft_targets_
    train, test = splits[0]
    X = as32(numbers).astype(float)
    given = {"sample_weight": weights[train]} if weighted else {}
    native = clone(teacher).fit(X.iloc[train], two[train], **given)
    np.testing.assert_allclose(soft[test], native.predict_proba(X.iloc[test]), atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_search_student_at_alpha_one_equals_the_search(numbers, two, weights, weighted):
    student, X = search(LogisticRegression(), C=[1e-4, 1.0]), as32(numbers).astype(float)
    given = {"sample_weight": weights} if weighted else {}
    native = clone(student).fit(X, two, **given)
    ours = taught(student, numbers, two, alpha=1, **given).predict_proba(numbers)
    np.testing.assert_allclose(ours, native.predict_proba(X), atol=1e-6)


class WeightWitness(DecisionTreeClassifier):
    """Remembers, for all its copies, whether it was given weights."""

    weighted: list[bool] = []  # noqa: RUF012

    def fit(self, X, y, sample_weight=None):
        self.weighted.append(sample_weight is not None)
        return super().fit(X, y, sample_weight=sample_weight)


def test_weights_reach_every_fit_of_a_search(numbers, two, weights):
    WeightWitness.weighted.clear()
    taught(search(WeightWitness(), max_depth=[1, 2]), numbers, two, sample_weight=weights)
    assert len(WeightWitness.weighted) > 6
    assert all(WeightWitness.weighted)


def test_best_parameters_of_a_search_learn_the_soft_targets(numbers, two):
    soft = soft_labels(two)
    one = taught(search(LogisticRegression(), C=[1.0]), numbers, two, soft, alpha=0)
    other = taught(LogisticRegression(C=1.0), numbers, two, soft, alpha=0)
    np.testing.assert_array_equal(one.predict_proba(numbers), other.predict_proba(numbers))


def test_search_around_a_pipeline_is_a_student(mixed, two, weights):
    student = search(pipeline(LogisticRegression()), model__C=[0.1, 1.0])
    assert taught(student, mixed, two, sample_weight=weights).score(mixed, two) > 0.7


def test_pipeline_around_a_search_is_a_student(numbers, two):
    student = make_pipeline(StandardScaler(), search(LogisticRegression(), C=[0.1, 1.0]))
    assert taught(student, numbers, two).score(numbers, two) > 0.7


def test_pipelines_of_one_student_share_their_steps(numbers, two):
    student = make_pipeline(ColumnTransformer([("scale", StandardScaler(), ["a", "b"])]), LogisticRegression())
    learners = [Learner(student, loss="auto", alpha=alpha) for alpha in (0.0, 0.5)]
    one, other = fit_members(learners, as32(numbers), lessons(two, soft_labels(two)), None)
    assert one.steps is other.steps


# ---------------------------------------------------------------- the student protocol


class SoftStudent(ClassifierMixin, BaseEstimator):
    """Learns from soft targets by itself, and remembers what it was given."""

    calls: list[dict] = []  # noqa: RUF012

    def fit(self, X, y, sample_weight=None):
        return self.fit_soft(X, None, y=y, alpha=1.0, temperature=1.0, sample_weight=sample_weight, teacher=None)

    def fit_soft(self, X, soft_targets, *, y, alpha, temperature, sample_weight, teacher):
        self.classes_ = np.unique(y)
        given = {"X": X, "soft": soft_targets, "y": y, "alpha": alpha, "temperature": temperature}
        SoftStudent.calls.append({**given, "weight": sample_weight, "teacher": teacher})
        self.inner_ = DummyClassifier().fit(X, y)
        return self

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)


@pytest.fixture
def calls():
    SoftStudent.calls = []
    return SoftStudent.calls


def test_fit_soft_gets_targets_unblended_and_at_temperature_one(calls, numbers, two):
    soft = soft_labels(two)
    taught(SoftStudent(), numbers, two, soft, alpha=0.3, temperature=2.0)
    np.testing.assert_array_equal(calls[-1]["soft"], soft)


def test_fit_soft_gets_labels_alpha_temperature_and_weights(calls, numbers, two, weights):
    y = np.array(["no", "yes"])[two]
    taught(SoftStudent(), numbers, y, alpha=0.3, temperature=2.0, sample_weight=weights)
    assert (calls[-1]["alpha"], calls[-1]["temperature"]) == (0.3, 2.0)
    np.testing.assert_array_equal(calls[-1]["y"], y)
    np.testing.assert_array_equal(calls[-1]["weight"], weights)


def test_fit_soft_gets_float32(calls, numbers, two):
    taught(SoftStudent(), numbers, two)
    assert set(calls[-1]["X"].dtypes) == {np.dtype(np.float32)}


def test_fit_soft_gets_the_frozen_teacher(calls, numbers, two):
    fitted = LogisticRegression().fit(numbers, two)
    model = DistilledEstimator(FrozenEstimator(fitted), SoftStudent(), alpha=0.5, cross_fit="folds")
    model.fit(numbers, two)
    assert calls[-1]["teacher"].estimator is fitted


def test_fit_soft_gets_no_teacher_unless_it_is_frozen(calls, numbers, two):
    DistilledEstimator(LogisticRegression(), SoftStudent(), alpha=0.5, cross_fit="folds").fit(numbers, two)
    assert calls[-1]["teacher"] is None


def test_temperature_of_a_fit_soft_student_is_not_undone(calls, numbers, two):
    model = taught(SoftStudent(), numbers, two, alpha=0.3, temperature=3.0)
    share = np.bincount(two) / 400
    np.testing.assert_allclose(model.predict_proba(numbers), np.tile(share, (400, 1)))


# ---------------------------------------------------------------- temperature


@pytest.mark.parametrize("temperature", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("classes", [2, 3])
def test_temperature_is_undone_exactly_at_alpha_zero(numbers, two, three, classes, temperature):
    """A tree with one row per leaf repeats its targets, so it must repeat the teacher's probabilities."""
    y = two if classes == 2 else three
    soft = soft_labels(y)
    student = DecisionTreeRegressor(random_state=0)
    model = taught(student, numbers, y, soft, alpha=0, temperature=temperature, loss="squared_error")
    np.testing.assert_allclose(model.predict_proba(numbers), soft, atol=1e-9)


def test_student_is_fitted_to_the_softened_targets(numbers, two):
    soft = soft_labels(two)
    model = taught(DecisionTreeRegressor(random_state=0), numbers, two, soft, alpha=0, temperature=4.0)
    odds = soft[:, 1] / soft[:, 0]
    raw = model.student_.members[0].raw(as32(numbers))[:, 1]
    np.testing.assert_allclose(raw, odds**0.25 / (1 + odds**0.25), atol=1e-9)


@pytest.mark.parametrize("student", [lgbm(), xgb(), cat(), LogisticRegression()], ids=lambda s: type(s).__name__)
def test_temperature_with_alpha_zero_predicts_probabilities_at_temperature_one(numbers, two, student):
    soft = soft_labels(two)
    plain, softened = (taught(clone(student), numbers, two, soft, alpha=0, temperature=t) for t in (1.0, 3.0))
    spread = [model.predict_proba(numbers)[:, 1].std() for model in (plain, softened)]
    assert spread[1] == pytest.approx(spread[0], rel=0.25)


COUNTING = {
    "tree": (DecisionTreeClassifier(min_samples_leaf=20), lambda model: model),
    "forest": (RandomForestClassifier(3, min_samples_leaf=20, bootstrap=False), lambda model: model.estimators_[0]),
    "boosted": (GradientBoostingClassifier(n_estimators=3, min_samples_leaf=20), lambda model: model.estimators_[0, 0]),
}


@pytest.mark.parametrize("student", COUNTING)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_leaf_holds_as_many_rows_as_asked_for_and_not_copies(numbers, n_classes, weighted, student):
    (model, first_tree), X = COUNTING[student], numbers.to_numpy(dtype=np.float32)
    soft = softmax(np.random.default_rng(0).normal(size=(len(X), n_classes)), axis=1)
    counted = np.arange(len(X)) % 2 == 0 if weighted else np.full(len(X), True)  # rows of weight 0 are none
    weight = counted.astype(float) if weighted else None
    targets = Targets(one_hot(soft.argmax(1), n_classes), soft, np.arange(n_classes), weight, 0.0)
    fitted = WeightedRows(clone(model), np.arange(n_classes)).fit(X, targets).estimator
    leaves = np.unique(first_tree(fitted).apply(X[counted]), return_counts=True)[1]
    assert 20 <= leaves.min() < 40
    assert fitted.get_params() == model.get_params()


class FoldWitness(DecisionTreeClassifier):
    """Keeps what each of its copies was fitted on."""

    seen: ClassVar[list] = []

    def fit(self, X, y, sample_weight=None):
        self.seen.append(X[:, 0])
        return super().fit(X, y, sample_weight=sample_weight)


@pytest.mark.parametrize("cv", [None, 3, StratifiedKFold(3, shuffle=True, random_state=0)])
def test_internal_folds_keep_the_copies_of_a_row_together(two, cv):
    soft, X = soft_labels(two), np.arange(len(two), dtype=np.float32)[:, None]
    FoldWitness.seen.clear()
    model = CalibratedClassifierCV(FoldWitness(max_depth=1), cv=cv)
    fitted = WeightedRows(model, np.unique(two)).fit(X, lessons(two, soft, 0.5))
    assert {count for seen in FoldWitness.seen for count in np.unique(seen, return_counts=True)[1]} == {2}
    assert fitted.estimator.cv is cv


# ---------------------------------------------------------------- what cannot be taught


def test_classifier_without_weights_is_refused_with_the_fix():
    with pytest.raises(ValueError, match=r"KNeighborsClassifier .* takes no sample_weight.*KNeighborsRegressor"):
        WeightedRows(KNeighborsClassifier(), np.array([0, 1]))

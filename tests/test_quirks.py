"""Quirks of the libraries of models, each met once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRFClassifier, XGBRFRegressor

from tabkd import DistilledEstimator
from tabkd.families import limit_threads, pop_class_weight, stops_early
from tabkd.learners import Learner, _carve, fit_members
from tabkd.links import invert_link
from tabkd.scoring import Judge
from tabkd.students import HardLabels, adapt
from tabkd.targets import Targets, one_hot
from tabkd.twins import booster_twin

QUIET = {"verbose": False, "allow_writing_files": False, "thread_count": 1}


def lgbm(cls=LGBMClassifier, **params):
    return cls(**{"n_estimators": 20, "num_leaves": 7, "n_jobs": 1, "verbose": -1, **params})


def hard(y):
    classes, codes = np.unique(y, return_inverse=True)
    return Targets(one_hot(codes, len(classes)), None, classes, None)


def proba_of(adapter, X):
    return invert_link(adapter.raw(X), adapter.link)


# ---------------------------------------------------------------- links


@pytest.mark.parametrize(
    "model",
    [
        GradientBoostingClassifier(n_estimators=5, loss="exponential"),
        lgbm(boosting_type="rf", subsample=0.7, subsample_freq=1),
        CatBoostClassifier(iterations=5, loss_function="CrossEntropy", **QUIET),
        XGBClassifier(n_estimators=5, n_jobs=1),
    ],
    ids=["exponential", "forest", "cross entropy", "xgboost"],
)
def test_link_of_two_classes_gives_the_models_own_probabilities(numbers, two, model):
    adapter = HardLabels(model, np.unique(two)).fit(numbers, hard(two))
    np.testing.assert_allclose(proba_of(adapter, numbers), model.predict_proba(numbers), atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [lgbm(objective="multiclassova"), CatBoostClassifier(iterations=5, loss_function="MultiClassOneVsAll", **QUIET)],
    ids=["lightgbm", "catboost"],
)
def test_one_vs_all_gives_the_models_own_probabilities_made_to_sum_to_1(numbers, three, model):
    adapter = HardLabels(model, np.unique(three)).fit(numbers, hard(three))
    own = model.predict_proba(numbers)
    np.testing.assert_allclose(proba_of(adapter, numbers), own / own.sum(axis=1, keepdims=True), atol=1e-6)


def test_lightgbm_forest_averages_its_trees(numbers, two):
    model = lgbm(boosting_type="rf", subsample=0.7, subsample_freq=1)
    adapter = adapt(model, "auto", np.unique(two)).fit(numbers, hard(two))
    assert log_loss(two, proba_of(adapter, numbers)) < log_loss(two, np.full(400, two.mean()))


def test_xgboost_forest_stays_a_forest():
    twin = booster_twin(XGBRFClassifier(n_estimators=7), "Regressor")
    assert isinstance(twin, XGBRFRegressor)


# ---------------------------------------------------------------- names and positions


@pytest.mark.parametrize("positions", [[2, 0, 1], [1, 3]])
def test_columns_of_an_array_keep_their_meaning_in_any_order(numbers, two, positions):
    X = numbers.to_numpy()
    model = DistilledEstimator(lgbm(), lgbm(), student_features=positions, cv=4, random_state=0).fit(X, two)
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X[:, positions]))


# ---------------------------------------------------------------- early stopping


def test_xgboost_stops_early_on_log_loss_whatever_metric_it_was_given(numbers, two):
    student = XGBClassifier(n_estimators=50, n_jobs=1, early_stopping_rounds=5, eval_metric="error")
    targets = hard(two)
    (member,) = fit_members([Learner(student, loss="auto")], numbers, targets, None)
    assert member.adapter.estimator.eval_metric == "logloss"


def test_class_with_one_row_is_learnt_and_not_watched():
    y = np.array(["a"] * 30 + ["b"] * 30 + ["c"])
    kept, _ = _carve(hard(y), None, 0)
    assert "c" in y[kept]


def test_carved_rows_are_each_used_once():
    kept, watched = _carve(hard(np.array(["a"] * 30 + ["b"] * 30 + ["c"])), None, 0)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, watched])), np.arange(61))


# ---------------------------------------------------------------- class weights


@pytest.mark.parametrize("name", ["scale_pos_weight", "is_unbalance"])
def test_weights_for_two_classes_are_ignored_for_more(three, name):
    codes = np.unique(three, return_inverse=True)[1]
    _, weights = pop_class_weight(lgbm(**{name: 2.0}), codes, np.unique(three), None)
    np.testing.assert_array_equal(weights, [1, 1, 1])


@pytest.mark.parametrize("loss", ["squared_error", "logit"])
def test_class_weights_reach_a_regressing_student(numbers, two, loss):
    soft = 0.8 * hard(two).hard + 0.1
    targets = Targets(hard(two).hard, soft, np.unique(two), None, 0.0)
    weighted = adapt(lgbm(class_weight={0: 1.0, 1: 4.0}), loss, np.unique(two)).fit(numbers, targets)
    plain = adapt(lgbm(), loss, np.unique(two)).fit(numbers, targets)
    assert proba_of(weighted, numbers)[:, 1].mean() > proba_of(plain, numbers)[:, 1].mean() + 0.05


def test_class_weights_are_softened_with_the_target(two):
    soft = 0.8 * hard(two).hard + 0.1
    cool = Targets(hard(two).hard, soft, np.unique(two), None, 0.0, 1.0)
    warm = Targets(hard(two).hard, soft, np.unique(two), None, 0.0, 2.0)
    (target, _), (softened, _) = (t.weighted_blend(np.array([1.0, 4.0])) for t in (cool, warm))
    np.testing.assert_allclose((softened[:, 1] / softened[:, 0]) ** 2, target[:, 1] / target[:, 0])


# ---------------------------------------------------------------- folds that hold one class


def test_one_class_training_fold_is_refused_with_the_fix(numbers, two):
    order = np.argsort(two, kind="stable")
    folds = [(np.arange(two[order].sum() - 1), np.arange(two[order].sum() - 1, 400))]
    model = DistilledEstimator(lgbm(), lgbm(), cv=folds, cross_fit="folds", alpha=0.5)
    with pytest.raises(ValueError, match=r"holds the class 0 only.*StratifiedKFold"):
        model.fit(numbers.iloc[order], two[order])


# ---------------------------------------------------------------- searches


def test_grid_search_over_cat_features_as_a_list(mixed, two):
    student = CatBoostClassifier(iterations=5, cat_features=["city"], **QUIET)
    search = GridSearchCV(student, {"depth": [2, 3]}, cv=2)
    (member,) = fit_members([Learner(search)], mixed.fillna({"city": ""}), hard(two), None)
    assert member.adapter.estimator.get_params()["depth"] in (2, 3)


def test_search_does_not_refit_its_winner(numbers, two):
    fits = []

    class Counting(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            fits.append(len(X))
            return super().fit(X, y, sample_weight)

    fit_members([Learner(GridSearchCV(Counting(), {"C": [0.1, 1.0]}, cv=2))], numbers, hard(two), None)
    assert fits.count(400) == 1


def test_search_of_text_labels_inside_another_estimator(numbers, three):
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2)
    model = DistilledEstimator(search, search, cv=4, random_state=0).fit(numbers, three)
    assert set(model.predict(numbers)) <= set(three)


@pytest.mark.parametrize("splitter", [KFold(2), GroupKFold(2)], ids=["without groups", "with groups"])
def test_search_gets_groups_only_where_its_splitter_asked_for_them(numbers, two, splitter):
    groups = np.arange(400) // 4
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=splitter)
        (member,) = fit_members([Learner(search)], numbers, hard(two), groups)
    assert member.adapter.estimator.C in (0.1, 1.0)


def winner(search, X, targets):
    (member,) = fit_members([Learner(search)], X, targets, None)
    return member.adapter.estimator


def test_search_over_a_booster_that_is_told_of_categories_by_name(mixed, two):
    X = mixed.assign(city=mixed["city"].factorize()[0])
    search = GridSearchCV(lgbm(categorical_feature=["city"]), {"num_leaves": [3, 7]}, cv=2)
    assert winner(search, X, hard(two)).get_params()["categorical_column"] == [4]


def test_categories_behind_steps_that_a_search_repeats_are_refused_by_name(numbers, two):
    pipeline = make_pipeline(StandardScaler(), lgbm(categorical_feature=["c"]))
    with pytest.raises(ValueError, match=r"categorical_feature names \['c'\].*give positions"):
        winner(GridSearchCV(pipeline, {"lgbmclassifier__num_leaves": [3, 7]}, cv=2), numbers, hard(two))


@pytest.mark.parametrize(
    ("booster", "grid"),
    [
        (lgbm(early_stopping_round=3), {"num_leaves": [3, 7]}),
        (XGBClassifier(n_estimators=5, n_jobs=1, early_stopping_rounds=3), {"max_depth": [1, 2]}),
        (CatBoostClassifier(iterations=5, early_stopping_rounds=3, **QUIET), {"depth": [1, 2]}),
    ],
    ids=["lightgbm", "xgboost", "catboost"],
)
def test_the_winner_of_a_search_alone_stops_early(numbers, two, booster, grid):
    assert stops_early(winner(GridSearchCV(booster, grid, cv=2), numbers, hard(two)))


def test_search_around_a_pipeline_whose_booster_stops_early(numbers, two):
    pipeline = make_pipeline(StandardScaler(), lgbm(early_stopping_round=3))
    search = GridSearchCV(pipeline, {"lgbmclassifier__num_leaves": [3, 7]}, cv=2)
    assert stops_early(winner(search, numbers, hard(two)))


@pytest.mark.parametrize("steps", [[], [StandardScaler()]], ids=["alone", "pipeline"])
def test_search_over_a_regressor_of_one_output_for_several(numbers, steps):
    name, y = "lgbmregressor__num_leaves" if steps else "num_leaves", numbers[["a", "b"]].to_numpy()
    model = make_pipeline(*steps, lgbm(LGBMRegressor)) if steps else lgbm(LGBMRegressor)
    best = winner(GridSearchCV(model, {name: [2, 7]}, cv=2), numbers, Targets(y, None, None, None))
    assert best.estimator.num_leaves == 7


def test_search_over_xgboost_takes_any_labels(numbers, three):
    search = GridSearchCV(XGBClassifier(n_estimators=5, n_jobs=1), {"max_depth": [1, 2]}, cv=2)
    assert winner(search, numbers, hard(three)).max_depth in (1, 2)


# ---------------------------------------------------------------- nested models


def test_nested_catboost_prints_nothing(numbers, two, capfd):
    voting = VotingClassifier(
        [("catboost", CatBoostClassifier(iterations=3, thread_count=1)), ("logistic", LogisticRegression())],
        voting="soft",
    )
    DistilledEstimator(voting, lgbm(), cv=4, random_state=0).fit(numbers, two)
    assert capfd.readouterr().out == ""


def test_nested_boosters_share_the_cores():
    voting = limit_threads(VotingClassifier([("lightgbm", LGBMClassifier())]), 1)
    assert voting.estimators[0][1].n_jobs == 1


# ---------------------------------------------------------------- scorers


def test_scorer_without_weights_is_refused_where_there_are_weights(numbers, two, weights):
    def auc(estimator, X, y):
        return roc_auc_score(y, estimator.predict_proba(X)[:, 1])

    with pytest.raises(ValueError, match=r"takes no sample_weight.*make_scorer"):
        DistilledEstimator(lgbm(), lgbm(), scoring=auc).fit(numbers, two, sample_weight=weights)


def test_control_that_is_ahead_needs_no_bootstrap(two, monkeypatch):
    monkeypatch.setattr(Judge, "_bootstrap", lambda *_: pytest.fail("bootstrapped"))
    rng = np.random.default_rng(0)
    right = one_hot(two, 2)[None] * 0.5 + 0.25
    noise = rng.dirichlet([1, 1], 400)[None]
    judge = Judge(hard(two), scoring="roc_auc")
    student, control = judge.choose({0.5: noise}, {"control": right}, np.arange(400), forced=False)
    assert student == control


# ---------------------------------------------------------------- missing values


@pytest.mark.parametrize("student", [DecisionTreeClassifier(max_depth=3), DecisionTreeRegressor(max_depth=3)], ids=str)
def test_trees_of_scikit_learn_take_frames_with_missing_values(numbers, two, student):
    X = numbers.mask(np.random.default_rng(0).random(numbers.shape) < 0.1)
    model = DistilledEstimator(DecisionTreeClassifier(max_depth=5), student, cv=4, random_state=0).fit(X, two)
    assert model.predict_proba(X).shape == (400, 2)


def test_search_over_trees_takes_frames_with_missing_values(numbers, two):
    X = numbers.mask(np.random.default_rng(0).random(numbers.shape) < 0.1)
    search = GridSearchCV(RandomForestClassifier(3), {"max_depth": [2, 3]}, cv=2)
    model = DistilledEstimator(search, DecisionTreeClassifier(max_depth=3), alpha=0.5, cross_fit="folds", cv=3)
    assert model.fit(X, two).predict_proba(X).shape == (400, 2)


# ---------------------------------------------------------------- no probabilities


def test_classifier_without_probabilities_is_no_teacher(numbers, two):
    with pytest.raises(ValueError, match="RidgeClassifier has no predict_proba"):
        DistilledEstimator(RidgeClassifier(), lgbm()).fit(pd.DataFrame(numbers), two)

"""BlendedEstimator: shared folds, honest weights, and life inside scikit-learn."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import f1_score, log_loss, mean_squared_error, roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold, RepeatedStratifiedKFold, StratifiedKFold, cross_validate
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tabkd import BlendedEstimator, DistilledEstimator, selection
from tabkd.folds import make_folds
from tabkd.scoring import Honest, Judge
from tabkd.selection import best_weights, chosen_again, greedy_if_better, greedy_weights
from tabkd.targets import Targets, one_hot

pytestmark = [
    pytest.mark.filterwarnings("ignore:With alpha"),
    pytest.mark.filterwarnings(r"ignore:With weights=(\[|'equal')"),
]

LINEAR, TREE = LogisticRegression(), DecisionTreeClassifier(max_depth=3, random_state=0)
MEMORISER = DecisionTreeClassifier(random_state=0)


def member(student, **params):
    return DistilledEstimator(LINEAR, clone(student), **{"alpha": 0.5, **params})


def both(**params):
    """A line and a tree that see different columns of ``numbers``."""
    return [
        ("line", member(LINEAR, student_features=["a", "c"], **params)),
        ("tree", member(TREE, student_features=["b", "c"], **params)),
    ]


def blend(members=None, **params):
    return BlendedEstimator(both() if members is None else members, **{"random_state": 0, **params})


@pytest.fixture(scope="module")
def fitted(numbers, two):
    return blend().fit(numbers, two)


# ---------------------------------------------------------------- folds and seeds


def test_one_member_with_one_seed_is_that_estimator(numbers, two):
    alone = member(TREE, random_state=3).fit(numbers, two)
    one = blend([("tree", member(TREE))], random_state=3).fit(numbers, two)
    np.testing.assert_array_equal(one.predict_proba(numbers), alone.predict_proba(numbers))
    np.testing.assert_array_equal(one.student_predictions_, alone.student_predictions_)
    assert one.score_ == alone.student_score_


def test_members_and_seeds_share_the_folds_of_the_blend(numbers, two):
    folds = StratifiedKFold(4, shuffle=True, random_state=7)
    by_hand = member(LINEAR, cv=list(folds.split(numbers, two))).fit(numbers, two)
    model = blend([("a", member(LINEAR)), ("b", member(LINEAR, cv=3))], cv=folds, n_seeds=2).fit(numbers, two)
    for copies in model.estimators_:
        for copy in copies:
            np.testing.assert_array_equal(copy.student_predictions_, by_hand.student_predictions_)


def test_seeds_of_a_random_model_differ_and_are_averaged(numbers, two):
    forest = RandomForestClassifier(5, max_depth=4)
    model = blend([("forest", member(forest))], n_seeds=3).fit(numbers, two)
    answers = [copy.predict_proba(numbers) for copy in model.estimators_[0]]
    assert not np.allclose(answers[0], answers[1])
    np.testing.assert_allclose(model.predict_proba(numbers), np.mean(answers, axis=0), rtol=1e-12)


def test_more_seeds_leave_the_first_copies_as_they_are(numbers, two):
    forest = RandomForestClassifier(5, max_depth=4)
    one, three = (blend([("forest", member(forest))], n_seeds=n).fit(numbers, two) for n in (1, 3))
    np.testing.assert_array_equal(
        one.estimators_[0][0].predict_proba(numbers), three.estimators_[0][0].predict_proba(numbers)
    )


def test_without_a_seed_the_first_copy_keeps_its_own(numbers, two):
    model = blend([("tree", member(TREE, random_state=5))], random_state=None, n_seeds=2).fit(numbers, two)
    seeds = [copy.random_state for copy in model.estimators_[0]]
    assert seeds[0] == 5 != seeds[1]


def test_same_seed_gives_identical_predictions_for_any_n_jobs(numbers, two):
    forest = [("forest", member(RandomForestClassifier(5))), ("line", member(LINEAR))]
    with parallel_config(backend="threading"):
        one, other = (blend(forest, n_seeds=2, n_jobs=n).fit(numbers, two) for n in (1, 2))
    np.testing.assert_array_equal(one.predict_proba(numbers), other.predict_proba(numbers))


def test_repeated_folds_are_scored_one_by_one(numbers, two):
    model = blend(cv=RepeatedStratifiedKFold(n_splits=4, n_repeats=2, random_state=0), weights=[1, 1])
    model.fit(numbers, two)
    assert model.score_ < -log_loss(two, model.student_predictions_)  # whose repeats are averaged


# ---------------------------------------------------------------- weights


def test_prediction_is_the_weighted_mean_of_the_members(numbers, two, fitted):
    line, tree = (copies[0].predict_proba(numbers) for copies in fitted.estimators_)
    share = fitted.weights_[0]
    assert 0 < share < 1
    np.testing.assert_allclose(fitted.predict_proba(numbers), share * line + (1 - share) * tree, rtol=1e-12)


def test_members_that_know_different_columns_gain_from_each_other(two, fitted):
    assert fitted.gain_ > fitted.gain_se_ > 0
    assert -log_loss(two, fitted.student_predictions_) > max(fitted.member_scores_.values())


def test_best_member_is_kept_where_the_others_know_nothing(numbers, two):
    members = [("noise", member(LINEAR, student_features=["d"])), ("all", member(LINEAR))]
    model = blend(members).fit(numbers, two)
    assert model.weights_.tolist() == [0, 1]
    assert model.gain_ <= 0
    np.testing.assert_array_equal(model.predict_proba(numbers), model.estimators_[1][0].predict_proba(numbers))


def test_a_blend_that_was_not_kept_is_no_reason_to_warn(numbers, two, monkeypatch):
    monkeypatch.setattr(Judge, "compare", lambda *_: (-1.0, 0.1))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "With weights")
        assert blend().fit(numbers, two).weights_.max() == 1


def test_score_is_that_of_the_best_member_where_it_was_kept(numbers, two):
    members = [("noise", member(LINEAR, student_features=["d"])), ("all", member(LINEAR))]
    assert blend(members).fit(numbers, two).score_ == pytest.approx(
        member(LINEAR, random_state=0).fit(numbers, two).student_score_
    )


def test_whether_to_blend_is_decided_without_the_rows_left_out():
    draw = np.random.default_rng(0)
    labels, predictions = draw.integers(2, size=80), draw.dirichlet([1, 1], size=(3, 1, 80))
    folds = make_folds(4, np.zeros((80, 1)), labels, groups=None, classifier=True, seed=0)
    decided = []
    for seed in (0, 1):
        train, test = folds.splits[0]
        labels[test] = np.random.default_rng(seed).permutation(labels[test])
        judge = Judge(Targets(one_hot(labels, 2), None, np.arange(2), None, 1.0), seed=0)
        decided.append(greedy_if_better(folds)(judge, predictions, train))
    np.testing.assert_array_equal(*decided)


def test_two_folds_are_enough_for_a_blend(numbers, two):
    folds = make_folds(2, numbers, two, groups=None, classifier=True, seed=0)
    judge = Judge(Targets(one_hot(two, 2), None, np.unique(two), None, 1.0), seed=0)
    predictions = np.random.default_rng(0).dirichlet([1, 1], size=(3, 1, len(two)))
    assert greedy_if_better(folds)(judge, predictions, folds.splits[0][0]).sum() == pytest.approx(1)


def test_weights_given_are_divided_by_their_sum(numbers, two):
    assert blend(weights=[3, 1]).fit(numbers, two).weights_.tolist() == [0.75, 0.25]


def test_equal_weights_score_as_their_mean(numbers, two):
    model = blend(weights="equal").fit(numbers, two)
    mean = np.mean([copy.student_predictions_ for (copy,) in model.estimators_], axis=0)
    np.testing.assert_allclose(model.student_predictions_, mean)
    assert model.score_ == pytest.approx(-log_loss(two, mean))


def test_given_weights_that_are_worse_than_a_member_are_reported(numbers, two):
    members = [("noise", member(LINEAR, student_features=["d"])), ("all", member(LINEAR))]
    with pytest.warns(UserWarning, match="below its best member"):
        blend(members, weights="equal").fit(numbers, two)


def test_scoring_decides_the_weights(numbers, two):
    model = blend(scoring="roc_auc").fit(numbers, two)
    line = model.estimators_[0][0]
    assert model.member_scores_["line"] == pytest.approx(roc_auc_score(two, line.student_predictions_[:, 1]))
    assert roc_auc_score(two, model.student_predictions_[:, 1]) > max(model.member_scores_.values())


def test_forward_selection_finds_the_mixture_that_made_the_target():
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(3, 1, 500, 1))
    values = (0.6 * parts[0] + 0.4 * parts[1])[0]
    weights = greedy_weights(Judge(Targets(values, None, None)), list(parts), np.arange(500))
    np.testing.assert_allclose(weights, [0.6, 0.4, 0], atol=1e-12)


# ---------------------------------------------------------------- honesty


@pytest.fixture(scope="module")
def rows_of_folds():
    X, y = make_classification(300, 5, n_informative=3, flip_y=0.2, random_state=0)
    return X, y, list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))


def permuted(y, rows):
    changed = y.copy()
    changed[rows] = y[rows][::-1]
    assert (changed != y).sum() > 10
    return changed


def test_labels_of_a_fold_never_reach_the_blend_that_is_scored_on_it(rows_of_folds):
    X, y, folds = rows_of_folds
    model = blend([("a", member(LINEAR)), ("b", member(MEMORISER))], cv=folds, weights=[2, 1])
    before = model.fit(X, y).student_predictions_
    for _, test in folds:
        after = clone(model).fit(X, permuted(y, test)).student_predictions_
        np.testing.assert_array_equal(before[test], after[test])


def honest_of(model, folds):
    own = [copies[0].student_predictions_[None] for copies in model.estimators_]
    return [Honest(predictions, [predictions] * len(folds)) for predictions in own]


@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc", "f1_macro"])
@pytest.mark.parametrize("weigh", [greedy_weights, best_weights])
def test_weights_and_threshold_for_a_fold_do_not_depend_on_its_labels(rows_of_folds, scoring, weigh, monkeypatch):
    monkeypatch.setattr(selection, "N_STEPS", 4)
    X, y, splits = rows_of_folds
    model = blend([("a", member(LINEAR)), ("b", member(TREE)), ("c", member(MEMORISER))], cv=splits)
    honest, folds = honest_of(model.fit(X, y), splits), make_folds(splits, X, y, classifier=True)

    def scored(labels):
        threshold = "f1_macro" if scoring == "f1_macro" else None
        judge = Judge(Targets(one_hot(labels, 2), None, np.array([0, 1])), scoring=scoring, threshold=threshold)
        return chosen_again(judge, honest, folds, weigh)

    before = scored(y)
    for _, test in splits:
        after = scored(permuted(y, test))
        np.testing.assert_array_equal(before.predictions[:, test], after.predictions[:, test])
        np.testing.assert_array_equal(before.codes[:, test], after.codes[:, test])


def test_alpha_of_a_member_is_chosen_again_for_the_score(numbers, two):
    auto = member(TREE, alpha="auto", random_state=0)
    alone = auto.fit(numbers, two)
    model = blend([("tree", auto)]).fit(numbers, two)
    expected = alone.control_score_ if alone.alpha_ == 1 else alone.student_score_
    assert model.score_ == pytest.approx(expected)


def test_score_is_below_that_of_weights_that_were_found_on_the_scored_rows(numbers, two, monkeypatch):
    monkeypatch.setattr(selection, "N_STEPS", 4)
    shuffled = np.random.default_rng(0).permutation(two)
    members = [(f"on_{name}", member(TREE, student_features=[name], alpha=1.0)) for name in "abcd"]
    model = blend(members, scoring="roc_auc").fit(numbers, shuffled)
    assert model.score_ < roc_auc_score(shuffled, model.student_predictions_[:, 1])


# ---------------------------------------------------------------- kinds of target


def test_tuned_threshold_is_the_blends_own_and_no_row_sits_on_it(numbers, two):
    rare = two * (np.arange(len(two)) % 3 == 0)
    model = blend(threshold="f1_macro").fit(numbers, rare)
    proba = model.student_predictions_[:, 1]
    assert f1_score(rare, proba > model.threshold_, average="macro") > f1_score(rare, proba > 0.5, average="macro")
    assert not np.any(proba.astype(np.float32) == np.float32(model.threshold_))
    expected = (model.predict_proba(numbers)[:, 1] > model.threshold_).astype(int)
    np.testing.assert_array_equal(model.predict(numbers), expected)


def test_score_of_labels_uses_thresholds_tuned_without_each_fold(numbers, two):
    rare = two * (np.arange(len(two)) % 3 == 0)
    model = blend(threshold="f1_macro", scoring="f1_macro").fit(numbers, rare)
    tuned_on_all = f1_score(rare, model.student_predictions_[:, 1] > model.threshold_, average="macro")
    assert model.score_ < tuned_on_all


def test_more_than_two_classes_with_text_labels(numbers, three):
    model = blend().fit(numbers, three)
    assert model.classes_.tolist() == ["high", "low", "middle"]
    np.testing.assert_allclose(model.predict_proba(numbers).sum(axis=1), 1)
    assert set(model.predict(numbers)) <= set(three)


def regressors():
    tree = DecisionTreeRegressor(max_depth=4, random_state=0)
    return [("line", DistilledEstimator(Ridge(), LinearRegression())), ("tree", DistilledEstimator(tree, tree))]


def test_regression(numbers, noise):
    y = numbers["a"] + np.abs(numbers["b"]) + noise
    model = blend(regressors()).fit(numbers, y)
    assert is_regressor(model)
    assert not is_classifier(model)
    assert not hasattr(model, "predict_proba")
    assert model.gain_ > 0
    assert model.score_ > -mean_squared_error(y, model.estimators_[0][0].student_predictions_)
    assert model.predict(numbers).shape == (400,)


def test_regression_of_two_outputs(numbers, noise):
    Y = np.column_stack([numbers["a"] + noise, np.abs(numbers["b"]) + noise])
    model = blend(regressors()).fit(numbers, Y)
    assert model.predict(numbers).shape == Y.shape
    assert model.student_predictions_.shape == Y.shape


# ---------------------------------------------------------------- columns


def test_blend_needs_the_columns_of_its_members_together(numbers, fitted):
    assert fitted.student_features_ == ["a", "b", "c"]
    shuffled = numbers[["c", "a", "b"]].assign(extra=1)
    np.testing.assert_array_equal(fitted.predict_proba(shuffled), fitted.predict_proba(numbers))


def test_columns_of_members_without_weight_are_not_needed(numbers, two):
    model = blend(weights=[0, 2]).fit(numbers, two)
    assert model.student_features_ == ["b", "c"]
    assert model.predict_proba(numbers[["b", "c"]]).shape == (400, 2)


def test_missing_columns_are_named_for_all_members_at_once(numbers, fitted):
    with pytest.raises(ValueError, match=r"Columns \['a', 'b'\] are missing"):
        fitted.predict(numbers[["c"]])


def test_arrays_of_the_needed_columns_alone_are_read_by_place(numbers, two):
    X = numbers.to_numpy()
    members = [("line", member(LINEAR, student_features=[0, 3])), ("tree", member(TREE, student_features=[3, 1]))]
    model = blend(members, weights="equal").fit(X, two)
    assert model.student_features_ == [0, 1, 3]
    np.testing.assert_array_equal(model.predict_proba(X[:, [0, 1, 3]]), model.predict_proba(X))


def test_arrays_of_another_width_are_refused(numbers, two):
    X = numbers.to_numpy()
    members = [("line", member(LINEAR, student_features=[0, 3])), ("tree", member(TREE, student_features=[3, 1]))]
    model = blend(members, weights="equal").fit(X, two)
    with pytest.raises(ValueError, match="X has 2 features, but BlendedEstimator is expecting 4"):
        model.predict(X[:, :2])


def test_polars_table_gives_the_pandas_answer(numbers, two, fitted):
    polars = pytest.importorskip("polars")
    np.testing.assert_array_equal(fitted.predict_proba(polars.from_pandas(numbers)), fitted.predict_proba(numbers))


def test_categories_and_missing_values_are_read(mixed, two):
    members = [("city", member(TREE, student_features=["a", "city"])), ("line", member(TREE, student_features=["b"]))]
    model = blend(members, weights="equal").fit(mixed, two)
    unseen = pd.DataFrame({"city": ["Ulsan", None], "b": [0.0, 1.0], "a": [0.0, 1.0]})
    assert np.isfinite(model.predict_proba(unseen)).all()


# ---------------------------------------------------------------- inside scikit-learn


def test_parameters_of_members_have_nested_names(numbers, two):
    model = blend().set_params(tree__student__max_depth=1, line__alpha=0.0)
    assert model.estimators[1][1].student.max_depth == 1
    assert model.get_params()["line__alpha"] == 0.0
    model.set_params(tree=member(LINEAR))
    assert isinstance(model.get_params()["tree"].student, LogisticRegression)


def test_grid_search_over_a_member(numbers, two):
    search = GridSearchCV(blend(cv=4), {"tree__student__max_depth": [1, 3]}, cv=2, scoring="neg_log_loss")
    assert search.fit(numbers, two).best_params_["tree__student__max_depth"] in (1, 3)


def test_fit_does_not_touch_the_members(numbers, two):
    model = blend()
    before = model.get_params()
    model.fit(numbers, two)
    assert not hasattr(model.estimators[0][1], "student_")
    assert {name: str(value) for name, value in model.get_params().items()} == {
        name: str(value) for name, value in before.items()
    }


def test_clone_forgets_the_fit_and_fits_the_same(numbers, two, fitted):
    again = clone(fitted)
    assert not hasattr(again, "weights_")
    np.testing.assert_array_equal(again.fit(numbers, two).predict_proba(numbers), fitted.predict_proba(numbers))


def test_pickle_predicts_the_same(numbers, fitted):
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict_proba(numbers), fitted.predict_proba(numbers))


def test_weights_of_rows_reach_members_and_scores(numbers, two, weights):
    model = blend(weights="equal").fit(numbers, two, sample_weight=weights)
    alone = both()[0][1].set_params(random_state=0).fit(numbers, two, sample_weight=weights)
    np.testing.assert_array_equal(model.estimators_[0][0].student_predictions_, alone.student_predictions_)
    assert model.score_ == pytest.approx(-log_loss(two, model.student_predictions_, sample_weight=weights))


def test_groups_stay_together_and_cluster_the_standard_error(numbers, two):
    X = pd.concat([numbers] * 4, ignore_index=True)
    y, groups = np.tile(two, 4), np.tile(np.arange(400), 4)
    model = blend(cv=GroupKFold(4), weights="equal")
    clustered = model.fit(X, y, groups=groups).gain_se_
    plain = model.set_params(cv=list(GroupKFold(4).split(X, y, groups))).fit(X, y).gain_se_
    assert clustered == pytest.approx(2 * plain, rel=0.05)


def test_routed_weights_and_groups_reach_fit(numbers, two):
    with config_context(enable_metadata_routing=True):
        model = blend(cv=4).set_fit_request(sample_weight=True, groups=True).set_score_request(sample_weight=True)
        given = {"sample_weight": np.ones(400), "groups": np.arange(400) % 40}
        result = cross_validate(model, numbers, two, cv=2, params=given, error_score="raise")
    assert np.isfinite(result["test_score"]).all()


def test_score_is_by_scoring_where_it_is_set(numbers, two, fitted):
    by_auc = clone(fitted).set_params(scoring="roc_auc").fit(numbers, two)
    assert by_auc.score(numbers, two) == pytest.approx(roc_auc_score(two, by_auc.predict_proba(numbers)[:, 1]))
    assert fitted.score(numbers, two) == pytest.approx(np.mean(fitted.predict(numbers) == two))


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "estimators must be a list"),
        ([member(TREE)], r"estimators must be a list of \(name, DistilledEstimator\), got \[DistilledEstimator"),
        ([("a", member(TREE)), ("a", member(LINEAR))], r"not unique.*'a'"),
        ([("weights", member(TREE))], r"conflict with constructor arguments.*'weights'"),
        ([("a__b", member(TREE))], "must not contain __"),
        ([("a", member(TREE)), ("bare", TREE)], "Member 'bare' is DecisionTreeClassifier.*DistilledEstimator"),
        ([("a", member(TREE)), ("folds", member(TREE, cross_fit="folds"))], "Member 'folds' has cross_fit='folds'"),
        ([("a", member(TREE)), ("value", regressors()[0][1])], "'a' is a classifier, but 'value' a regressor"),
        ([("a", member(TREE)), ("b", member(TREE, student_features=["x"]))], "x"),
    ],
)
def test_members_that_do_not_fit_are_named(numbers, two, members, message):
    with pytest.raises(ValueError, match=message):
        blend(members).fit(numbers, two)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"weights": "best"}, 'weights must be "auto", "equal" or one number per member'),
        ({"weights": [1.0]}, r"there are 2 members: \['line', 'tree'\]"),
        ({"weights": [1.0, -0.5]}, "'tree' is -0.5"),
        ({"weights": [np.nan, 1]}, "'line' is nan"),
        ({"weights": [0, 0]}, "All weights are 0"),
        ({"n_seeds": 0}, "n_seeds must be a whole number of at least 1, got 0"),
        ({"n_seeds": 1.5}, "n_seeds must be a whole number"),
        ({"threshold": 2.0}, r"threshold must be in \[0, 1\]"),
        ({"cv": 2}, "at least 3 folds"),
    ],
)
def test_parameters_that_do_not_fit_say_so(numbers, two, params, message):
    with pytest.raises(ValueError, match=message):
        blend(**params).fit(numbers, two)


def test_bad_member_is_refused_before_anything_is_fitted(numbers, two):
    model = blend([("good", member(TREE)), ("bad", member(TREE, loss="hinge"))])
    with pytest.raises(ValueError, match="hinge"):
        model.fit(numbers, two)
    assert not hasattr(model, "estimators_")

"""MutualDistilledEstimator: rounds, honesty, the control, and life inside scikit-learn."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from joblib import parallel_config
from lightgbm import LGBMClassifier
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_diabetes, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, log_loss, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    RepeatedStratifiedKFold,
    StratifiedKFold,
    cross_val_predict,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tabkd import DistilledEstimator, MutualDistilledEstimator, evaluate_distillation
from tabkd.peers import PeerRecipe
from tabkd.rows import read_rows
from tabkd.targets import blend, one_hot

pytestmark = [pytest.mark.filterwarnings("ignore:With alpha"), pytest.mark.filterwarnings("ignore:Pairs of 3 folds")]

LINEAR, TREE = LogisticRegression(), DecisionTreeClassifier(max_depth=3, random_state=0)
MEMORISER = DecisionTreeClassifier(random_state=0)
VALUES = [("line", Ridge(), [0, 2]), ("tree", DecisionTreeRegressor(max_depth=3, random_state=0))]


def pair():
    """A line and a tree that see different columns of ``numbers``."""
    return [("line", LINEAR, ["a", "c"]), ("tree", TREE, ["b", "c"])]


def mutual(peers=None, **params):
    return MutualDistilledEstimator(pair() if peers is None else peers, **{"random_state": 0, "cv": 3, **params})


@pytest.fixture(scope="module")
def fitted(numbers, two):
    return mutual(alpha=0.5, cv=4).fit(numbers, two)


# ---------------------------------------------------------------- rounds


def test_control_is_the_mean_of_the_peers_on_labels_alone(numbers, two, fitted):
    X = numbers.astype(np.float32).astype(float)
    plain = [clone(peer).fit(X[columns], two).predict_proba(X[columns]) for _, peer, columns in pair()]
    np.testing.assert_allclose(fitted.control_.predict_proba(numbers), np.mean(plain, axis=0), atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.25])
def test_a_peer_learns_from_labels_and_what_the_other_says_out_of_fold(numbers, two, alpha):
    folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(numbers, two))
    X = numbers.astype(np.float32)
    said = cross_val_predict(LINEAR, X[["a", "c"]].astype(float), two, cv=folds, method="predict_proba")
    target = blend(one_hot(two, 2), said, alpha)
    twice, labels = pd.concat([X[["b", "c"]]] * 2), np.repeat([0, 1], len(X))
    by_hand = clone(TREE).fit(twice, labels, sample_weight=target.T.ravel())
    model = mutual(cv=folds, alpha=alpha).fit(numbers, two)
    np.testing.assert_allclose(model.peers_["tree"].predict_proba(numbers), by_hand.predict_proba(X[["b", "c"]]))


def test_of_three_peers_each_learns_from_the_mean_of_the_other_two(numbers, two):
    model = mutual([*pair(), ("same", LINEAR, ["a", "c"])], alpha=0.0, cv=3).fit(numbers, two)
    np.testing.assert_array_equal(
        model.peers_["line"].predict_proba(numbers), model.peers_["same"].predict_proba(numbers)
    )
    folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(numbers, two))
    X = numbers.astype(np.float32)
    others = [(LINEAR, ["a", "c"], float), (TREE, ["b", "c"], np.float32)]
    said = [
        cross_val_predict(peer, X[columns].astype(kind), two, cv=folds, method="predict_proba")
        for peer, columns, kind in others
    ]
    target, twice = np.mean(said, axis=0), pd.concat([X[["a", "c"]].astype(float)] * 2)
    by_hand = clone(LINEAR).fit(twice, np.repeat([0, 1], len(X)), sample_weight=target.T.ravel())
    np.testing.assert_allclose(
        model.peers_["line"].predict_proba(numbers), by_hand.predict_proba(twice[: len(X)]), atol=1e-4
    )


def test_second_round_learns_from_the_first(numbers, two):
    one, two_rounds = (mutual(alpha=0.0, rounds=n, deploy="tree").fit(numbers, two) for n in (1, 2))
    assert (one.rounds_, two_rounds.rounds_) == (1, 2)
    tree = clone(TREE)  # what the line of round 1 says, it has from the tree: "c" is all that both know
    said = one.student_predictions_
    assert np.abs(two_rounds.student_predictions_ - said).max() > 0.05
    spread = [np.std(model.student_predictions_[:, 1]) for model in (one, two_rounds)]
    assert spread[1] < spread[0]
    assert tree.get_params() == TREE.get_params()


def test_alpha_one_is_the_control(numbers, two):
    model = mutual([("line", LINEAR), ("tree", TREE)], alpha=1.0).fit(numbers, two)
    np.testing.assert_array_equal(model.student_predictions_, model.control_predictions_)


def test_equal_models_with_randomness_differ(numbers, two):
    forest = RandomForestClassifier(5)
    model = mutual([("one", forest), ("other", forest)], alpha=1.0).fit(numbers, two)
    one, other = (peer.predict_proba(numbers) for peer in model.peers_.values())
    assert not np.allclose(one, other)


def test_same_seed_gives_identical_predictions_for_any_n_jobs(numbers, two):
    peers = [("forest", RandomForestClassifier(5)), ("line", LINEAR)]
    with parallel_config(backend="threading"):
        found = [mutual(peers, alpha=0.5, n_jobs=n).fit(numbers, two).predict_proba(numbers) for n in (1, 2)]
    np.testing.assert_array_equal(*found)


def test_without_a_seed_peers_keep_their_own(numbers, two):
    forests = [(name, RandomForestClassifier(5, random_state=3)) for name in ("one", "other")]
    model = mutual(forests, alpha=1.0, random_state=None).fit(numbers, two)
    one, other = (peer.predict_proba(numbers) for peer in model.peers_.values())
    np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------- honesty


@pytest.fixture(scope="module")
def noisy():
    X, y = make_classification(240, 5, n_informative=3, flip_y=0.2, random_state=0)
    return X, y, list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, y))


def permuted(y, rows):
    changed = y.copy()
    changed[rows] = y[rows][::-1]
    assert (changed != y).sum() > 10
    return changed


@pytest.mark.parametrize("rounds", [1, 3])
def test_labels_of_a_fold_never_reach_the_peers_that_are_scored_on_it(noisy, rounds):
    X, y, folds = noisy
    model = mutual([("deep", MEMORISER), ("line", LINEAR, [0, 1])], cv=folds, rounds=rounds, alpha=0.25)
    before = model.fit(X, y).student_predictions_
    for _, test in folds:
        after = clone(model).fit(X, permuted(y, test)).student_predictions_
        np.testing.assert_array_equal(before[test], after[test])
        assert (before != after).any()


@pytest.mark.parametrize("rounds", [1, 2])
def test_labels_held_out_of_one_split_never_reach_the_peers(noisy, rounds):
    X, y, ((train, test), *_) = noisy
    model = mutual([("deep", MEMORISER), ("line", LINEAR)], cv=[(train, test)], rounds=rounds, cross_fit="holdout")
    found = [clone(model).set_params(alpha=0.5).fit(X, labels) for labels in (y, permuted(y, test))]
    np.testing.assert_array_equal(*(one.student_predictions_ for one in found))
    np.testing.assert_array_equal(*(one.predict_proba(X) for one in found))


def test_choice_for_a_fold_does_not_read_its_labels(noisy):
    X, y, folds = noisy
    model = mutual([("deep", MEMORISER), ("line", LINEAR)], cv=folds, rounds=2)

    def recipe(labels):
        return PeerRecipe(model, read_rows(X, labels, None, None, regression=False))

    first = recipe(y)
    with first.progress():
        answers = first._answers(first._played())
    for rows, (_, test) in zip(first.views[1:], folds, strict=True):
        assert first._pick(answers, rows) == recipe(permuted(y, test))._pick(answers, rows)


@pytest.mark.parametrize("rounds", [1, 2])
def test_peers_that_learn_rows_by_heart_tell_nothing_about_noise(noisy, rounds):
    X, y, folds = noisy
    y = np.random.default_rng(5).permutation(y)
    peers = [("one", MEMORISER), ("other", DecisionTreeClassifier(min_samples_leaf=2, random_state=1))]
    model = mutual(peers, cv=folds, rounds=rounds, alpha=0.0).fit(X, y)
    assert roc_auc_score(y, model.student_predictions_[:, 1]) < 0.6


def test_gain_is_the_difference_of_the_scores(two, fitted):
    assert fitted.distillation_gain_ == pytest.approx(fitted.student_score_ - fitted.control_score_)
    assert fitted.student_score_ == pytest.approx(-log_loss(two, fitted.student_predictions_))
    assert fitted.control_score_ == pytest.approx(-log_loss(two, fitted.control_predictions_))
    assert fitted.distillation_gain_se_ > 0


def test_groups_cluster_the_standard_error(numbers, two):
    rows = np.tile(np.arange(len(two)), 4)
    X, y = numbers.iloc[rows], two[rows]
    model = mutual(cv=GroupKFold(4), alpha=0.5)
    clustered = model.fit(X, y, groups=rows).distillation_gain_se_
    plain = model.set_params(cv=list(GroupKFold(4).split(X, y, rows))).fit(X, y).distillation_gain_se_
    assert clustered == pytest.approx(2 * plain, rel=0.05)


def test_repeated_folds_are_scored_one_by_one(numbers, two):
    folds = RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0)
    model = mutual(cv=folds, alpha=0.5, rounds=2).fit(numbers, two)
    assert model.student_score_ < -log_loss(two, model.student_predictions_)  # whose repeats are averaged


# ---------------------------------------------------------------- choice


def test_control_is_kept_where_the_others_know_nothing(numbers, two):
    model = mutual([("all", LINEAR), ("noise", TREE, ["d"])], rounds=3).fit(numbers, two)
    assert (model.alpha_, model.rounds_) == (1, 0)
    np.testing.assert_array_equal(model.predict_proba(numbers), model.control_.predict_proba(numbers))
    assert model.student_score_ <= model.control_score_ + model.distillation_gain_se_


def test_rounds_stop_where_the_score_no_longer_rises(numbers, two):
    model = mutual([("all", LINEAR), ("noise", TREE, ["d"])], rounds=5).fit(numbers, two)
    assert list(model.round_scores_) == [0, 1]


def test_small_peer_gains_from_one_that_knows_more(numbers, two):
    peers = [("small", MEMORISER, ["a", "c"]), ("strong", LINEAR)]
    model = mutual(peers, deploy="small", cv=4).fit(numbers, two)
    assert model.alpha_ < 1 and model.rounds_ == 1
    assert model.distillation_gain_ > model.distillation_gain_se_
    assert max(model.alpha_scores_, key=model.alpha_scores_.get) == model.alpha_
    assert set(model.alpha_scores_) == {0.0, 0.25, 0.5, "control"}


def test_fixed_alpha_plays_all_rounds(numbers, two):
    model = mutual([("all", LINEAR), ("noise", TREE, ["d"])], alpha=0.5, rounds=2).fit(numbers, two)
    assert model.rounds_ == 2
    assert list(model.round_scores_) == [0, 1, 2]


@pytest.mark.filterwarnings("default:With alpha")
def test_fixed_alpha_that_does_harm_is_reported(numbers, two):
    with pytest.warns(UserWarning, match=r"With alpha=0\.0 the peers score .* below the same peers on labels alone"):
        mutual([("all", LINEAR), ("noise", TREE, ["d"])], alpha=0.0).fit(numbers, two)


def test_scoring_is_what_is_chosen_by(numbers, two):
    model = mutual(scoring="roc_auc").fit(numbers, two)
    assert model.control_score_ == pytest.approx(roc_auc_score(two, model.control_predictions_[:, 1]))


# ---------------------------------------------------------------- what is deployed


def test_prediction_is_the_mean_of_the_peers(numbers, fitted):
    mean = np.mean([peer.predict_proba(numbers) for peer in fitted.peers_.values()], axis=0)
    np.testing.assert_allclose(fitted.predict_proba(numbers), mean, rtol=1e-12)
    assert fitted.student_features_ == ["a", "b", "c"]


def test_deployed_peer_needs_its_own_columns_alone(numbers, two, fitted):
    model = mutual(alpha=0.5, cv=4, deploy="tree").fit(numbers, two)
    np.testing.assert_array_equal(
        model.predict_proba(numbers[["c", "b"]]), fitted.peers_["tree"].predict_proba(numbers)
    )
    assert model.student_features_ == ["b", "c"]
    assert model.control_.features == ["b", "c"]


def test_missing_column_is_named(numbers, fitted):
    with pytest.raises(ValueError, match=r"Columns \['a'\] are missing"):
        fitted.predict(numbers[["b", "c"]])


def test_tuned_threshold_is_that_of_what_is_deployed(numbers, two):
    rare = two * (np.arange(len(two)) % 3 == 0)
    for deploy in (None, "tree"):
        model = mutual(threshold="f1_macro", alpha=0.5, deploy=deploy).fit(numbers, rare)
        proba = model.student_predictions_[:, 1]
        assert f1_score(rare, proba > model.threshold_, average="macro") > f1_score(rare, proba > 0.5, average="macro")
        expected = (model.predict_proba(numbers)[:, 1] > model.threshold_).astype(int)
        np.testing.assert_array_equal(model.predict(numbers), expected)


# ---------------------------------------------------------------- kinds of target and table


def test_several_classes_with_labels_of_text(numbers, three):
    model = mutual(alpha=0.5, rounds=2).fit(numbers, three)
    proba = model.predict_proba(numbers)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert model.classes_.tolist() == ["high", "low", "middle"]
    np.testing.assert_array_equal(model.predict(numbers), model.classes_[proba.argmax(axis=1)])


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_regression(n_outputs):
    X, y = load_diabetes(return_X_y=True)
    y = y if n_outputs == 1 else np.column_stack([y, -y])
    model = mutual(VALUES, alpha=0.5, rounds=2).fit(X, y)
    assert is_regressor(model) and not hasattr(model, "predict_proba")
    assert model.predict(X).shape == y.shape
    assert model.control_score_ == pytest.approx(-np.mean((model.control_predictions_ - y.reshape(len(y), -1)) ** 2))


def test_arrays_are_read_by_place(numbers, two, fitted):
    peers = [("line", LINEAR, [0, 2]), ("tree", TREE, slice(1, 3))]
    model = mutual(peers, alpha=0.5, cv=4).fit(numbers.to_numpy(), two)
    for table in (numbers.to_numpy(), numbers.to_numpy()[:, :3]):
        np.testing.assert_allclose(model.predict_proba(table), fitted.predict_proba(numbers), rtol=1e-12)


def test_each_peer_reads_text_columns_in_its_own_way(mixed, two):
    boosted = LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1)
    peers = [
        ("trees", boosted),
        ("line", LINEAR, ["a", "city"]),
        ("cat", CatBoostClassifier(5, cat_features=["city"], thread_count=1), ["b", "city"]),
    ]
    model = mutual(peers, alpha=0.5).fit(mixed, two)
    assert [peer.encoder.encoding for peer in model.peers_.values()] == ["ordinal", "onehot", "catboost"]
    np.testing.assert_array_equal(clone(model).fit(mixed, two).predict_proba(mixed), model.predict_proba(mixed))


def test_peers_read_texts():
    rng = np.random.default_rng(0)
    words = ["good", "great", "fun", "bad", "awful", "film"]
    texts = [" ".join(rng.choice(words, 5)) for _ in range(150)]
    labels = np.array([sum((w in words[:3]) - (w in words[3:5]) for w in text.split()) > 1 for text in texts])
    peers = [("tree", make_pipeline(TfidfVectorizer(), TREE)), ("line", make_pipeline(TfidfVectorizer(), LINEAR))]
    model = mutual(peers, alpha=0.5).fit(texts, labels)
    assert model.score(texts, labels) > 0.8


def test_weights_of_zero_leave_rows_out_of_fits_and_scores(numbers, two):
    folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(numbers, two))
    wrong = np.arange(len(two)) % 4 == 0
    model = mutual(alpha=0.5, cv=folds)
    found = [
        model.fit(numbers, labels, sample_weight=np.where(wrong, 0.0, 1.0)) and model.student_score_
        for labels in (two, np.where(wrong, 1 - two, two))
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-9)


# ---------------------------------------------------------------- scikit-learn


def test_nested_parameters_reach_the_peers_and_leave_their_columns(fitted):
    model = clone(fitted).set_params(tree__max_depth=7)
    assert model.get_params()["tree__max_depth"] == 7
    model.set_params(line=TREE)
    assert model.estimators[0] == ("line", TREE, ["a", "c"])
    assert fitted.estimators[1][1].max_depth == 3


def test_pickled_model_answers_alike(numbers, fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(numbers), fitted.predict_proba(numbers))


def test_grid_search_inside_a_pipeline(numbers, two):
    peers = [("line", LINEAR), ("tree", TREE)]
    search = GridSearchCV(
        make_pipeline(StandardScaler(), mutual(peers)), {"mutualdistilledestimator__tree__max_depth": [1, 3]}, cv=2
    )
    assert search.fit(numbers, two).score(numbers, two) > 0.7


def test_cross_validate_with_weights_and_groups_routed(numbers, two, weights):
    groups = np.arange(len(two)) // 4
    with config_context(enable_metadata_routing=True):
        model = mutual(alpha=0.5).set_fit_request(sample_weight=True, groups=True).set_score_request(sample_weight=True)
        params = {"sample_weight": weights, "groups": groups}
        scores = cross_validate(model, numbers, two, cv=GroupKFold(2), params=params, error_score="raise")
    assert np.isfinite(scores["test_score"]).all()


def test_fit_forgets_an_earlier_fit(numbers, two, three):
    model = mutual([("line", LINEAR), ("tree", TREE)], alpha=0.5)
    model.fit(numbers.to_numpy(), three).fit(numbers, two)
    assert model.classes_.tolist() == [0, 1] and is_classifier(model)
    assert model.feature_names_in_.tolist() == list("abcd")


def test_as_a_teacher_it_reads_the_table_as_it_is(mixed, two):
    peers = [("cat", CatBoostClassifier(5, cat_features=["city"], thread_count=1)), ("line", LINEAR, ["a", "b"])]
    model = DistilledEstimator(
        mutual(peers, alpha=0.5), TREE, student_features=["a", "c"], alpha=0.5, random_state=0, cv=3
    )
    assert model.fit(mixed, two).teacher_score_ > model.control_score_


def test_as_a_student_it_has_no_use_for_rows_without_labels(mixed, two):
    with pytest.raises(ValueError, match="MutualDistilledEstimator learns from labelled rows alone"):
        DistilledEstimator(LGBMClassifier(verbose=-1), mutual(), transfer="munge").fit(mixed, two)


def test_as_a_student_it_learns_from_soft_targets(mixed, two):
    student = mutual([("line", LINEAR), ("tree", TREE)], alpha=0.5)
    model = DistilledEstimator(LINEAR, student, student_features=["a", "city"], alpha=0.5, random_state=0, cv=3)
    model.fit(mixed, two)
    assert model.student_.members[0].adapter.estimator.rounds_ == 1
    assert model.student_score_ > -log_loss(two, np.full(len(two), two.mean()))


def test_soft_targets_stand_beside_the_labels_in_every_round(numbers, two):
    soft = LogisticRegression().fit(numbers, two).predict_proba(numbers)
    model = mutual([("line", LINEAR), ("tree", TREE)], alpha=0.5)
    taught = clone(model).fit_soft(numbers, soft, y=two, alpha=0.25)
    untaught = clone(model).fit_soft(numbers, soft, y=two, alpha=1.0)
    alone = clone(model).fit(numbers, two)
    np.testing.assert_allclose(untaught.predict_proba(numbers), alone.predict_proba(numbers), atol=1e-4)
    said = taught.control_.models[0]  # round 0 learns 0.25 * labels + 0.75 * soft
    target = blend(one_hot(two, 2), soft, 0.25).T.ravel()
    X = numbers.astype(np.float32).astype(float)
    by_hand = clone(LINEAR).fit(pd.concat([X] * 2), np.repeat([0, 1], len(X)), sample_weight=target)
    np.testing.assert_allclose(said.predict_proba(numbers), by_hand.predict_proba(X), atol=1e-3)


def test_other_temperatures_are_refused(numbers, two):
    with pytest.raises(ValueError, match=r"at temperature=1\.0 only, got 2\.0"):
        mutual().fit_soft(numbers, one_hot(two, 2), y=two, temperature=2.0)


def test_report_has_no_teacher(numbers, two):
    report = evaluate_distillation(mutual(alpha=0.5), numbers, two, cv=2)
    assert list(report.scores) == ["fold", "metric", "control", "student"]
    summary = report.summary()
    assert np.isfinite(summary["gain"]).all() and summary["gap_recovered"].isna().all()
    assert "gain" in str(report)


# ---------------------------------------------------------------- errors


class _Slow(LogisticRegression):
    fits_slowly = True


def test_slow_peers_get_one_split(numbers, two):
    model = mutual([("slow", _Slow()), ("tree", TREE)], cv=4).fit(numbers, two)
    known = ~np.isnan(model.student_predictions_).any(axis=1)
    assert known.sum() == 100
    assert set(model.alpha_scores_) == {0.5, "control"}
    shipped = model.predict_proba(numbers)[known]
    np.testing.assert_allclose(shipped, model.student_predictions_[known], rtol=1e-12)


FROZEN = FrozenEstimator(LogisticRegression())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"estimators": [("one", LINEAR)]}, "two or more"),
        ({"estimators": LINEAR}, "must be a list of two or more"),
        ({"estimators": [("one", LINEAR, [0], 1), ("two", TREE)]}, "must be a list of two or more"),
        ({"estimators": [("one", LINEAR), ("one", TREE)]}, r"must differ, but \['one'\] occur more than once"),
        ({"estimators": [("one", LINEAR), ("two", Ridge())]}, "Peer 'one' is a classifier, but 'two' a regressor"),
        ({"estimators": [("one", LINEAR), ("two", "tree")]}, "Peer 'two' is 'tree', but must be an estimator"),
        ({"estimators": [("one", LINEAR), ("two", FROZEN)]}, "Peer 'two' is frozen"),
        ({"estimators": [("one", LINEAR), ("two", LinearSVC())]}, r"Peer 'two' \(LinearSVC\) has no predict_proba"),
        ({"estimators": [("one", LINEAR, ["z"]), ("two", TREE)]}, r"The peer 'one' names unknown columns \['z'\]"),
        ({"estimators": [("cv", LINEAR), ("two", TREE)]}, "conflict with constructor arguments"),
        ({"rounds": 0}, "rounds must be a whole number of at least 1, got 0"),
        ({"rounds": 1.5}, "got 1.5"),
        ({"alpha": 1.5}, r'alpha must be in \[0, 1\] or "auto", got 1\.5'),
        ({"alpha": "best"}, "got 'best'"),
        ({"cross_fit": "folds"}, 'cross_fit must be "auto", "pairs" or "holdout", got \'folds\''),
        ({"deploy": "tre"}, r"deploy='tre' is no peer\. Did you mean 'tree'\? Choose from \['line', 'tree'\]"),
        ({"threshold": 2.0}, "threshold must be in"),
        ({"cv": 2}, 'Use cv=5, or cross_fit="holdout"'),
    ],
)
def test_bad_parameters_are_refused(numbers, two, params, message):
    with pytest.raises(ValueError, match=message):
        mutual().set_params(**params).fit(numbers, two)


def test_what_cannot_learn_from_soft_targets_is_refused(numbers, two):
    from sklearn.neighbors import KNeighborsClassifier

    with pytest.raises(ValueError, match="KNeighborsClassifier cannot learn from soft targets"):
        mutual([("near", KNeighborsClassifier()), ("tree", TREE)]).fit(numbers, two)


def test_scorer_that_does_not_fit_the_target_is_told_before_any_fit(mixed, monkeypatch):
    monkeypatch.setattr(PeerRecipe, "learn", None)
    with pytest.raises(ValueError, match="scoring='roc_auc' cannot score this target"):
        mutual().set_params(scoring="roc_auc").fit(mixed, np.arange(len(mixed)) % 3)

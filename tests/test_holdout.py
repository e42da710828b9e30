"""One split instead of folds, and texts instead of tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from tabkd import DistilledEstimator, MutualDistilledEstimator

X, Y = load_breast_cancer(return_X_y=True, as_frame=True)
DEPLOYABLE = [name for name in X.columns if name.startswith("mean")]
WORDS = ["good", "great", "fun", "bad", "awful", "boring", "film", "plot"]
RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(WORDS, 6)) for _ in range(200)]
LABELS = np.array([sum((w in WORDS[:3]) - (w in WORDS[3:6]) for w in text.split()) > 0 for text in TEXTS])


def lgbm(n=20, kind=LGBMClassifier):
    return kind(n_estimators=n, n_jobs=1, verbose=-1)


def holdout(**settings):
    shared = {"cross_fit": "holdout", "student_features": DEPLOYABLE, "random_state": 0}
    return DistilledEstimator(lgbm(40), DecisionTreeClassifier(max_depth=4), **{**shared, **settings})


# ---------------------------------------------------------------- one split


def test_scores_are_those_of_the_rows_held_out():
    model = holdout(alpha=0.1).fit(X, Y)
    held = ~np.isnan(model.student_predictions_).any(axis=1)
    assert held.sum() == pytest.approx(len(X) / 5, abs=1)
    assert model.student_score_ == pytest.approx(-log_loss(Y[held], model.student_predictions_[held]))
    assert model.teacher_score_ == pytest.approx(-log_loss(Y[held], model.soft_targets_[held]))


def test_what_is_scored_is_what_ships():
    model = holdout(alpha=0.1).fit(X, Y)
    held = ~np.isnan(model.student_predictions_).any(axis=1)
    np.testing.assert_array_equal(model.predict_proba(X[held]), model.student_predictions_[held])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_no_label_held_out_reaches_the_scored_student(alpha):
    first = holdout(alpha=alpha).fit(X, Y)
    held = ~np.isnan(first.student_predictions_).any(axis=1)
    splits = [(np.flatnonzero(~held), np.flatnonzero(held))]
    y = Y.to_numpy().copy()
    y[held] = np.random.default_rng(1).permutation(y[held])
    found = [holdout(alpha=alpha, cv=splits).fit(X, labels).student_predictions_ for labels in (Y, y)]
    np.testing.assert_array_equal(*found)


def test_student_that_is_not_better_gives_way_to_the_control():
    model = DistilledEstimator(lgbm(2), lgbm(60), cross_fit="holdout", random_state=0).fit(X, Y)
    assert model.alpha_ == 1
    assert model.student_score_ == model.control_score_


def test_threshold_is_tuned_on_the_rows_held_out():
    model = holdout(alpha=0.1, threshold="f1_macro").fit(X, Y)
    assert 0 < model.threshold_ < 1


def test_regression():
    data, values = load_diabetes(return_X_y=True, as_frame=True)
    model = DistilledEstimator(lgbm(40, LGBMRegressor), lgbm(5, LGBMRegressor), cross_fit="holdout", random_state=0)
    assert np.isfinite(model.fit(data, values).student_score_)


def test_unknown_way_is_refused():
    with pytest.raises(ValueError, match='cross_fit must be "auto", "pairs", "holdout" or "folds", got \'split\''):
        holdout(cross_fit="split").fit(X, Y)


# ---------------------------------------------------------------- texts


def texts_model(**settings):
    teacher = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10))
    return DistilledEstimator(teacher, make_pipeline(TfidfVectorizer(), lgbm()), random_state=0, **settings)


def test_pipelines_read_texts():
    model = texts_model().fit(TEXTS, LABELS)
    assert model.score(TEXTS, LABELS) > 0.9
    assert model.cross_fit == "auto" and not np.isnan(model.student_predictions_).any()


@pytest.mark.parametrize("as_what", [np.array, tuple, pd.Series], ids=["array", "tuple", "series"])
def test_texts_may_come_as_list_array_or_series(as_what):
    model = texts_model().fit(TEXTS, LABELS)
    np.testing.assert_array_equal(model.predict_proba(as_what(TEXTS)), model.predict_proba(TEXTS))


def test_model_of_columns_refuses_texts():
    with pytest.raises(ValueError, match="X holds texts, which LGBMClassifier does not read"):
        DistilledEstimator(lgbm(), lgbm()).fit(TEXTS, LABELS)


def test_soft_targets_of_ones_own_teach_on_all_rows():
    soft = np.column_stack([1 - Y, Y]).astype(float)
    model = holdout(alpha=0.5, generations=2, student_features=None).fit(X, Y, soft_targets=soft)
    (member,) = model.student_.members
    assert member.adapter.estimator.tree_.weighted_n_node_samples[0] == pytest.approx(len(X))


def test_control_alone_is_fitted_on_the_same_kind_of_split():
    model = holdout(alpha=0.1, cv=ShuffleSplit(1, test_size=0.3, random_state=0), threshold="f1")
    assert model.fit_control(X, Y).threshold is not None


def shuffled(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(120, 5)), rng.permutation(np.repeat([0, 1], 60))


def test_what_is_chosen_on_the_rows_held_out_is_scored_without_them():
    """On labels that mean nothing all scores are those of chance, whatever is tuned and chosen."""
    found = []
    for seed in range(12):
        model = DistilledEstimator(
            ExtraTreesClassifier(5, random_state=0), DecisionTreeClassifier(max_depth=4), student_features=[0, 1, 2],
            cross_fit="holdout", cv=3, scoring="balanced_accuracy", threshold="balanced_accuracy", generations=2,
            random_state=seed,
        ).fit(*shuffled(seed))  # fmt: skip
        found.append((model.student_score_, model.control_score_))
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    assert (mean < 0.5 + 2 * error).all()


def test_peers_choose_without_the_rows_that_are_scored():
    model = MutualDistilledEstimator(
        [("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=3))],
        cross_fit="holdout", scoring="balanced_accuracy", threshold="balanced_accuracy", random_state=0,
    )  # fmt: skip
    scores = [model.fit(*shuffled(seed)).student_score_ for seed in range(12)]
    assert np.mean(scores) < 0.5 + 2 * np.std(scores) / np.sqrt(len(scores))


@pytest.mark.parametrize("groups", [None, np.repeat([0, 1, 2], [100, 60, 409])], ids=["rare class", "few groups"])
def test_where_there_is_too_little_the_choice_is_scored_as_it_is(groups):
    y = Y.to_numpy() if groups is not None else np.where(np.arange(len(Y)) < 3, 2, Y)
    cv = [(np.arange(100, len(Y)), np.arange(100))] if groups is not None else KFold(5)
    model = holdout(alpha=0.1, cv=cv).fit(X, y, groups=groups)
    assert np.isfinite(model.student_score_)

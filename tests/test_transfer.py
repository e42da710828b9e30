"""Rows without labels: given, synthetic, or labelled by the student itself."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from optuna.distributions import CategoricalDistribution
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris, make_classification
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import tabkd.boosters
from tabkd import DistillationSearchCV, DistilledEstimator, Munge, TextSpans, evaluate_distillation
from tabkd.learners import ExtraRows, Learner, fit_members
from tabkd.recipe import Recipe
from tabkd.runtime import OnnxPredictor
from tabkd.targets import Targets, one_hot

pytestmark = pytest.mark.filterwarnings("ignore:With alpha")

FAST = {"n_estimators": 15, "num_leaves": 7, "verbose": -1, "n_jobs": 1, "random_state": 0}
TREE = DecisionTreeClassifier(max_depth=4, min_samples_leaf=10, random_state=0)


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(900, 8, n_informative=5, flip_y=0.1, random_state=0)
    names = [f"c{i}" for i in range(8)]
    return pd.DataFrame(X[:600], columns=names), y[:600], pd.DataFrame(X[600:], columns=names), y[600:]


def model(student=TREE, **settings) -> DistilledEstimator:
    settings = {"cv": 4, "alpha": 0.5, "random_state": 0, **settings}
    return DistilledEstimator(LGBMClassifier(**FAST), student, **settings)


# ---------------------------------------------------------------- what a student learns


def targets_of(y: np.ndarray) -> Targets:
    hard = one_hot(y, 2)
    return Targets(hard, 0.8 * hard + 0.1, np.array([0, 1]))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_an_unlabelled_row_is_learnt_as_its_soft_target_whatever_alpha(data, alpha) -> None:
    X, y, more, _ = data
    soft = one_hot(np.arange(300) % 2, 2) * 0.6 + 0.2
    learner = Learner(LGBMClassifier(**FAST), loss="cross_entropy", alpha=alpha, transfers=True)
    targets, extra = targets_of(y), ExtraRows(more, soft)
    (member,) = fit_members([learner], X, targets, None, extra=extra)
    both = Targets(np.vstack([learner.lesson(targets).blended, soft]), None, targets.classes)
    by_hand = learner.adapter(LGBMClassifier(**FAST), targets.classes).fit(pd.concat([X, more]), both)
    np.testing.assert_array_equal(member.raw(X), by_hand.raw(X))


def test_the_weight_of_an_unlabelled_row_is_relative_to_a_labelled_one() -> None:
    targets = Targets(np.eye(2), None, np.arange(2), np.array([1.0, 3.0]))
    np.testing.assert_array_equal(targets.followed_by(np.eye(2), 0.5).weight, [1, 3, 1, 1])


def test_the_control_never_learns_from_unlabelled_rows(data) -> None:
    X, y, more, _ = data
    alone, helped = model().fit(X, y), model().fit(X, y, X_unlabeled=more)
    np.testing.assert_array_equal(alone.control_predictions_, helped.control_predictions_)
    assert (alone.student_predictions_ != helped.student_predictions_).any()


def test_steps_of_a_pipeline_are_fitted_to_labelled_rows_alone(data) -> None:
    X, y, more, _ = data
    student = make_pipeline(StandardScaler(), LogisticRegression())
    helped = model(student).fit(X, y, X_unlabeled=more * 100)
    (scaler,) = helped.student_.members[0].steps[0]
    np.testing.assert_allclose(scaler.mean_, X.mean(), atol=1e-6)


def test_early_stopping_watches_labelled_rows_alone(data) -> None:
    X, y, more, _ = data
    seen = []
    plain = tabkd.boosters.fit_stopping_early

    def fit(estimator, X, y, weight, watched):
        seen.append((len(X), len(watched[0])))
        return plain(estimator, X, y, weight, watched)

    learner = Learner(LGBMClassifier(**FAST, early_stopping_rounds=3), loss="cross_entropy", transfers=True, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tabkd.boosters, "fit_stopping_early", fit)
        fit_members([learner], X, targets_of(y), None, extra=ExtraRows(more, one_hot(np.zeros(300, int), 2)))
    assert seen == [(540 + 300, 60)]


class Listener(ClassifierMixin, BaseEstimator):
    """A student of its own kind: remembers what it was told."""

    heard: ClassVar[list] = []

    def fit_soft(self, X, soft_targets, *, y, alpha, temperature, sample_weight, teacher):
        type(self).heard.append((len(X), soft_targets, y))
        self.classes_ = np.array([0, 1])
        return self

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


def test_a_student_with_fit_soft_is_told_which_rows_have_no_label(data) -> None:
    X, y, more, _ = data
    Listener.heard.clear()
    model(Listener()).fit(X, y, X_unlabeled=more)
    n_rows, soft, labels = Listener.heard[-1]
    assert n_rows == len(soft) == 900
    assert [label is None for label in labels] == [False] * 600 + [True] * 300


def test_rows_that_weigh_nothing_have_no_synthetic_children(data, monkeypatch) -> None:
    X, y, *_ = data
    left_out, largest, sample = np.arange(600) % 3 == 0, [], Munge.sample

    def watched(self, table, **options):
        largest.append(float(table["c0"].max()))
        return sample(self, table, **options)

    monkeypatch.setattr(Munge, "sample", watched)
    model(transfer="munge").fit(X.assign(c0=X["c0"] + 100 * left_out), y, sample_weight=np.where(left_out, 0.0, 1.0))
    assert max(largest) < 50


# ---------------------------------------------------------------- given rows


def test_the_teacher_labels_what_has_no_label(data) -> None:
    X, y, more, _ = data
    fitted = model(alpha=0.0, transfer_weight=2.0).fit(X, y, X_unlabeled=more)
    soft = fitted.teacher_.predict_proba(more)
    by_hand = Learner(TREE, loss="cross_entropy", alpha=0.0, seed=0, transfers=True)
    targets = Targets(one_hot(y, 2), fitted.soft_targets_, np.array([0, 1]))
    columns = [X.astype(np.float32), more.astype(np.float32)]
    (member,) = fit_members([by_hand], columns[0], targets, None, extra=ExtraRows(columns[1], soft, 2.0))
    np.testing.assert_allclose(fitted.predict_proba(X), member.predictions(member.raw(columns[0])), atol=1e-12)


def test_columns_of_unlabelled_rows_may_come_in_any_order(data) -> None:
    X, y, more, _ = data
    one = model().fit(X, y, X_unlabeled=more).predict_proba(more)
    other = model().fit(X, y, X_unlabeled=more[more.columns[::-1]].assign(spare=1)).predict_proba(more)
    np.testing.assert_array_equal(one, other)


def test_arrays_work_without_names(data) -> None:
    X, y, more, _ = (np.asarray(part) for part in data)
    fitted = model(student_features=[0, 2, 4]).fit(X, y, X_unlabeled=more)
    assert fitted.predict_proba(more[:, [0, 2, 4]]).shape == (300, 2)


def test_several_classes_and_categories() -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    X["kind"] = np.where(X.iloc[:, 0] > 5.5, "long", "short")
    rows = np.random.default_rng(0).permutation(150)
    fitted = model(LGBMClassifier(**FAST), student_features=[0, 1, 4]).fit(
        X.iloc[rows[:90]], y[rows[:90]], X_unlabeled=X.iloc[rows[90:]]
    )
    assert fitted.score(X.iloc[rows[90:]], y[rows[90:]]) > 0.7


def test_a_regression() -> None:
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    fitted = DistilledEstimator(LGBMRegressor(**FAST), LGBMRegressor(**FAST), alpha=0.5, transfer="munge", cv=4)
    assert fitted.fit(X[:300], y[:300], X_unlabeled=X[300:]).score(X[300:], y[300:]) > 0.2


def test_texts() -> None:
    words = np.random.default_rng(0).choice(["good", "bad", "fine", "poor", "film", "book"], (400, 5))
    texts = np.array([" ".join(row) for row in words], dtype=object)
    y = np.array([("good" in t) + ("fine" in t) > ("bad" in t) + ("poor" in t) for t in texts]).astype(int)
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10))
    fitted = DistilledEstimator(pipeline, clone(pipeline), alpha=0.5, random_state=0)
    fitted.fit(texts[:200], y[:200], X_unlabeled=texts[200:])
    assert fitted.score(texts[200:], y[200:]) > 0.8


def test_a_frozen_teacher_labels_them(data) -> None:
    X, y, more, _ = data
    teacher = FrozenEstimator(LGBMClassifier(**FAST).fit(X[:300], y[:300]))
    fitted = DistilledEstimator(teacher, TREE, alpha=0.5, cv=4, random_state=0)
    helped = clone(fitted).fit(X[300:], y[300:], X_unlabeled=more).predict_proba(more)
    assert (helped != fitted.fit(X[300:], y[300:]).predict_proba(more)).any()


def test_one_split_instead_of_folds(data) -> None:
    X, y, more, _ = data
    helped = model(cross_fit="holdout").fit(X, y, X_unlabeled=more).student_predictions_
    alone = model(cross_fit="holdout").fit(X, y).student_predictions_
    held = ~np.isnan(alone).any(axis=1)
    assert (helped[held] != alone[held]).any()


def test_the_plain_recipe_takes_them(data) -> None:
    X, y, more, _ = data
    settings = {"cross_fit": "folds", "ensemble": True, "transfer": Munge(ratio=1.0)}
    assert len(model(**settings).fit(X, y, X_unlabeled=more).student_.members) == 4


# ---------------------------------------------------------------- self-training


def test_the_student_labels_rows_that_lack_columns_of_the_teacher(data) -> None:
    X, y, more, _ = data
    settings = {"student_features": ["c0", "c1", "c2", "c3"], "ensemble": True}
    plain = model(**settings).fit(X, y)
    again = model(**settings, transfer="self-training").fit(X, y, X_unlabeled=more[settings["student_features"]])
    member, first = again.student_.members[0], plain.student_.members[0]
    own = more.iloc[:, :4].astype(np.float32)
    assert (member.raw(own) != first.raw(own)).any()


def test_rows_with_all_columns_are_labelled_by_the_teacher_even_then(data) -> None:
    X, y, more, _ = data
    one = model(transfer="self-training").fit(X, y, X_unlabeled=more)
    other = model().fit(X, y, X_unlabeled=more)
    np.testing.assert_array_equal(one.predict_proba(more), other.predict_proba(more))


# ---------------------------------------------------------------- honesty


def permuted(y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    changed = np.array(y)
    changed[rows] = changed[rows][::-1]
    assert (changed != y).any()
    return changed


def assert_blind(estimator: DistilledEstimator, X, y: np.ndarray, test: np.ndarray, **given) -> None:
    """Predictions for the rows of a fold stay as they are when these rows' labels change."""
    before, after = (scored(estimator, X, labels, **given) for labels in (y, permuted(y, test)))
    for name in before.keys() & after.keys():
        np.testing.assert_array_equal(before[name][test], after[name][test])
    assert len(before.keys() & after.keys()) > 1


def scored(estimator: DistilledEstimator, X, y: np.ndarray, **given) -> dict:
    """What control and students are scored by."""
    predictions = {}

    def keep(recipe, fits, *rest):
        predictions.update({name: fit.predictions[0] for name, fit in fits.items()})
        return plain(recipe, fits, *rest)

    plain = Recipe._choose
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recipe, "_choose", keep)
        clone(estimator).fit(X, y, **given)
    return predictions


EVERYTHING = {
    "munge": {"transfer": "munge"},
    "given": {"given": True},
    "both": {"transfer": Munge(ratio=1.0), "given": True},
    "self-training": {"transfer": "self-training", "given": True, "student_features": ["c0", "c1", "c2", "c3"]},
    "trusted": {"targets": "trusted", "transfer": "munge"},
    "pseudo-labels": {"targets": "hard"},
    "generations": {"generations": 3, "transfer": "munge"},
    "two teachers": {"generations": 2, "second": True},
}


@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("option", EVERYTHING)
def test_labels_of_a_fold_never_reach_the_student_scored_on_it(data, option, alpha) -> None:
    X, y, more, _ = data
    settings = dict(EVERYTHING[option])
    folds = list(StratifiedKFold(4, shuffle=True, random_state=0).split(X, y))
    rows = more
    if settings.get("transfer") == "self-training":
        rows = more[settings["student_features"]]
    given = {"X_unlabeled": rows} if settings.pop("given", False) else {}
    teacher = (
        [LGBMClassifier(**FAST), LogisticRegression()] if settings.pop("second", False) else LGBMClassifier(**FAST)
    )

    fitted = DistilledEstimator(teacher, TREE, cv=folds, alpha=alpha, ensemble=True, random_state=0, **settings)
    assert_blind(fitted, X, y, folds[0][1], **given)


# ---------------------------------------------------------------- beside the rest


def test_exported_exactly(data, tmp_path) -> None:
    X, y, more, _ = data
    fitted = model(LGBMClassifier(**FAST), transfer="munge").fit(X, y, X_unlabeled=more)
    path = fitted.to_onnx(tmp_path / "student.onnx", X=X)
    np.testing.assert_allclose(OnnxPredictor(path).predict_proba(more), fitted.predict_proba(more), atol=1e-5)


def test_evaluation_hands_them_to_every_fold(data) -> None:
    X, y, more, _ = data
    fold = StratifiedKFold(3, shuffle=True, random_state=0)
    one = evaluate_distillation(model(), X, y, cv=fold, scoring="neg_log_loss", X_unlabeled=more).scores
    other = evaluate_distillation(model(), X, y, cv=fold, scoring="neg_log_loss").scores
    assert (one["student"] != other["student"]).all()
    assert (one["control"] == other["control"]).all()


def test_searched_like_any_parameter(data) -> None:
    X, y, _, _ = data
    space = {"transfer": CategoricalDistribution([None, "munge"]), "generations": CategoricalDistribution([1, 2])}
    search = DistillationSearchCV(model(alpha="auto"), space, n_trials=4, n_teacher_trials=0, random_state=0)
    search.fit(X[:300], y[:300])
    tried = {(trial["transfer"], trial["generations"]) for trial in search.cv_results_["params"] if trial}
    assert len(tried) > 1
    assert len(set(search.cv_results_["mean_test_score"])) > 1


def test_cross_validation_hands_over_rows_that_are_not_as_many_as_those_of_the_table(data) -> None:
    X, y, more, _ = data
    scores = cross_validate(model(), X, y, cv=3, params={"X_unlabeled": more}, error_score="raise")["test_score"]
    assert np.isfinite(scores).all()


def test_the_same_seed_makes_the_same_rows_for_any_n_jobs(data) -> None:
    X, y, _, _ = data
    one, two = (model(transfer="munge", n_jobs=n).fit(X, y).predict_proba(X) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


# ---------------------------------------------------------------- bad input


def test_unlabelled_rows_without_the_teachers_columns_are_refused_by_name(data) -> None:
    X, y, more, _ = data
    with pytest.raises(ValueError, match=r"lacks the teacher's columns \['c6', 'c7'\].*self-training"):
        model(student_features=["c0", "c1"]).fit(X, y, X_unlabeled=more.drop(columns=["c6", "c7"]))


def test_unlabelled_rows_without_the_students_columns_are_refused_by_name(data) -> None:
    X, y, more, _ = data
    with pytest.raises(ValueError, match=r"\['c0'\] are missing"):
        model(student_features=["c0", "c1"], transfer="self-training").fit(X, y, X_unlabeled=more.drop(columns=["c0"]))


def test_self_training_without_rows_is_refused(data) -> None:
    X, y, _, _ = data
    with pytest.raises(ValueError, match="needs rows without labels"):
        model(transfer="self-training").fit(X, y)


def test_an_unknown_transfer_is_refused(data) -> None:
    X, y, more, _ = data
    with pytest.raises(ValueError, match="X_unlabeled="):
        model(transfer=more.to_numpy()).fit(X, y)


def test_soft_targets_of_ones_own_leave_no_teacher_to_label_more_rows(data) -> None:
    X, y, more, _ = data
    with pytest.raises(ValueError, match="no teacher to label"):
        model().fit(X, y, soft_targets=one_hot(y, 2), X_unlabeled=more)


READER = make_pipeline(TfidfVectorizer(), LogisticRegression())


def reviews(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    words = ["good", "great", "bad", "awful", "film", "plot", "actor", "and"]
    texts = np.array([" ".join(draw.choice(words, draw.integers(2, 9))) for _ in range(n)], dtype=object)
    return texts, np.array([text.count("g") + draw.integers(2) > text.count("l") for text in texts])


def test_labels_of_a_fold_never_reach_the_student_scored_on_it_through_spans() -> None:
    texts, y = reviews()
    folds = list(StratifiedKFold(4, shuffle=True, random_state=0).split(texts, y))
    fitted = DistilledEstimator(READER, READER, cv=folds, alpha=0.5, transfer="spans", ensemble=True, random_state=0)
    assert_blind(fitted, texts, y, folds[0][1])


def test_spans_are_learnt_from() -> None:
    texts, y = reviews()
    plain, taught = (
        DistilledEstimator(READER, READER, alpha=0.5, cv=4, transfer=option, random_state=0).fit(texts, y)
        for option in (None, TextSpans(ratio=2.0))
    )
    assert (plain.predict_proba(texts) != taught.predict_proba(texts)).any()


def test_spans_are_cut_out_of_the_texts_of_a_table() -> None:
    texts, y = reviews()
    table = pd.DataFrame({"n": np.linspace(0, 1, 200), "text": texts})
    reader = make_pipeline(
        make_column_transformer((TfidfVectorizer(), "text"), ("passthrough", ["n"])), LogisticRegression()
    )
    student = make_pipeline(make_column_transformer((TfidfVectorizer(), "text")), LogisticRegression())
    plain, taught = (
        DistilledEstimator(
            reader, student, student_features=["text"], alpha=0.5, transfer=option, cv=4, random_state=0
        ).fit(table, y)
        for option in (None, "spans")
    )
    assert (plain.predict_proba(table) != taught.predict_proba(table)).any()


def test_rows_of_tables_are_not_made_of_texts() -> None:
    with pytest.raises(ValueError, match=r'X holds texts. Use transfer="spans"'):
        DistilledEstimator(READER, READER, transfer="munge").fit(*reviews(100))


def test_spans_need_texts(data) -> None:
    X, y, _, _ = data
    with pytest.raises(ValueError, match="X holds no text of more than 3 words"):
        model(transfer="spans").fit(X, y)


@pytest.mark.parametrize("weight", [0, -1.0, np.inf, "much"])
def test_a_weight_must_be_a_number_above_zero(data, weight) -> None:
    X, y, _, _ = data
    with pytest.raises(ValueError, match="transfer_weight must be a number above 0"):
        model(transfer_weight=weight).fit(X, y)


def test_a_table_without_names_does_not_go_with_one_that_has_them(data) -> None:
    X, y, more, _ = data
    with pytest.raises(TypeError, match="both have column names"):
        model().fit(X, y, X_unlabeled=more.to_numpy())


def test_whole_numbers_that_nobody_reads_stay_whole() -> None:
    X, y = load_iris(return_X_y=True)
    X = (10 * X).astype(int)
    student = DecisionTreeClassifier(max_depth=3)
    model = DistilledEstimator(
        student, student, teacher_features=[0, 1, 2], student_features=[0, 1], transfer="munge", alpha=0.5
    )
    assert model.fit(X, y).predict_proba(X[:, :2]).shape == (150, 3)

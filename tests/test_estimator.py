"""DistilledEstimator: choices, attributes, and life inside scikit-learn."""

from __future__ import annotations

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_classification
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_selection import SelectFromModel, SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tabkd import DistilledEstimator

TEACHER = LGBMClassifier(n_estimators=40, num_leaves=15, verbose=-1, n_jobs=1)
STUDENT = LGBMClassifier(n_estimators=10, num_leaves=7, verbose=-1, n_jobs=1)

pytestmark = pytest.mark.filterwarnings("ignore:With alpha")


@pytest.fixture(scope="module")
def cancer() -> tuple[pd.DataFrame, pd.Series, list[str]]:
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return X, y, [name for name in X.columns if name.startswith("mean")]


@pytest.fixture(scope="module")
def taught() -> tuple[np.ndarray, np.ndarray, list[int]]:
    """A table on which a small student gains from its teacher: two columns give the target away, noisily."""
    rng = np.random.default_rng(0)
    X, _ = make_classification(1500, 8, n_informative=6, n_redundant=0, random_state=1)
    logits = 2 * np.tanh(X[:, 0]) + X[:, 1] * X[:, 2]
    y = (logits + rng.logistic(size=len(X)) * 1.5 > 0).astype(int)
    privileged = logits[:, None] + 0.3 * rng.normal(size=(len(X), 2))
    return np.hstack([X, privileged]), y, list(range(8))


def distilled(columns, **settings) -> DistilledEstimator:
    return DistilledEstimator(TEACHER, STUDENT, **{"student_features": columns, "random_state": 0, **settings})


# ---------------------------------------------------------------- what is chosen


def test_auto_prefers_soft_targets_where_they_help(taught) -> None:
    X, y, columns = taught
    tree = DecisionTreeClassifier(max_depth=6)
    model = distilled(columns).set_params(student=tree).fit(X, y)
    assert model.alpha_ in (0.0, 0.25, 0.5)
    assert model.distillation_gain_ > model.distillation_gain_se_ > 0


def test_auto_keeps_the_control_when_the_teacher_knows_nothing(cancer) -> None:
    X, y, columns = cancer
    noise = X.assign(noise=np.random.default_rng(0).normal(size=len(X)))
    model = distilled(columns, teacher_features=["noise"]).fit(noise, y)
    assert model.alpha_ == 1.0
    np.testing.assert_array_equal(model.predict_proba(X), model.control_.predict_proba(X))


def test_control_is_the_plain_student(cancer) -> None:
    X, y, columns = cancer
    plain = clone(STUDENT).set_params(random_state=0).fit(X[columns].astype(np.float32), y)
    control = distilled(columns, alpha=0.5).fit(X, y).control_
    np.testing.assert_allclose(control.predict_proba(X), plain.predict_proba(X[columns].astype(np.float32)), rtol=1e-12)


def test_fit_control_is_the_control_of_fit(cancer) -> None:
    X, y, columns = cancer
    model = distilled(columns, threshold="f1_macro", ensemble=True)
    alone, fitted = model.fit_control(X, y), model.fit(X, y).control_
    np.testing.assert_array_equal(alone.predict_proba(X), fitted.predict_proba(X))
    assert alone.threshold == fitted.threshold


def test_a_regressor_is_held_against_its_family_classifier(taught) -> None:
    X, y, columns = taught
    model = DistilledEstimator(
        TEACHER, make_pipeline(StandardScaler(), Ridge()), student_features=columns, random_state=0
    ).fit(X, y)
    adapted = -log_loss(y, model.student_predictions_)
    assert model.control_score_ >= adapted or model.alpha_ != 1.0


def test_a_worse_student_is_reported(taught) -> None:
    X, y, _ = taught
    with pytest.warns(UserWarning, match="below the same student without a teacher"):
        DistilledEstimator(DecisionTreeClassifier(), STUDENT, teacher_features=[7], alpha=0.0, random_state=0).fit(X, y)


def test_gain_is_student_minus_control(taught) -> None:
    X, y, columns = taught
    model = distilled(columns).fit(X, y)
    assert model.distillation_gain_ == pytest.approx(model.student_score_ - model.control_score_)


def test_scores_are_those_of_the_stored_predictions(taught) -> None:
    X, y, columns = taught
    model = distilled(columns, alpha=0.5).fit(X, y)
    assert model.student_score_ == pytest.approx(-log_loss(y, model.student_predictions_))
    assert model.control_score_ == pytest.approx(-log_loss(y, model.control_predictions_))
    assert model.teacher_score_ == pytest.approx(-log_loss(y, model.soft_targets_))


def test_scoring_decides_the_choice(taught) -> None:
    X, y, columns = taught
    model = distilled(columns, scoring="roc_auc", alpha=0.5).fit(X, y)
    assert model.student_score_ == pytest.approx(roc_auc_score(y, model.student_predictions_[:, 1]))
    assert model.distillation_gain_se_ > 0


# ---------------------------------------------------------------- what ships


def test_single_student_is_fitted_to_all_rows_and_bagged_targets(taught) -> None:
    X, y, columns = taught
    model = distilled(columns, alpha=0.0).fit(X, y)
    by_hand = LGBMRegressor(n_estimators=10, num_leaves=7, verbose=-1, random_state=0, objective="cross_entropy")
    by_hand.fit(X[:, columns].astype(np.float32), model.soft_targets_[:, 1])
    np.testing.assert_allclose(
        model.predict_proba(X)[:, 1], by_hand.predict(X[:, columns].astype(np.float32)), rtol=1e-12
    )


def test_ensemble_is_the_mean_of_the_scored_students_on_the_log_odds(taught) -> None:
    X, y, columns = taught
    model = distilled(columns, ensemble=True, alpha=0.5).fit(X, y)
    encoded = X[:, columns].astype(np.float32)
    raw = np.mean([member.raw(encoded) for member in model.student_.members], axis=0)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], 1 / (1 + np.exp(-raw[:, 0])), rtol=1e-12)


def test_ensemble_of_squared_error_students_is_averaged_then_clipped(taught) -> None:
    X, y, columns = taught
    model = distilled(columns, ensemble=True, alpha=0.0, loss="squared_error").fit(X, y)
    encoded = X[:, columns].astype(np.float32)
    raw = np.mean([member.raw(encoded)[:, 1] for member in model.student_.members], axis=0)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], np.clip(raw, 0, 1), rtol=1e-12)


def test_teacher_is_the_mean_of_the_pair_teachers(taught) -> None:
    X, y, columns = taught
    teacher = distilled(columns, alpha=0.5).fit(X, y).teacher_
    assert len(teacher.members) == 10
    means = np.mean([member.raw(X.astype(np.float32)) for member in teacher.members], axis=0)
    np.testing.assert_allclose(teacher.predict_proba(X), means)


def test_tuned_threshold_beats_one_half_and_no_row_sits_on_it(taught) -> None:
    X, y, columns = taught
    rare = y * (np.random.default_rng(0).random(len(y)) < 0.3)
    model = distilled(columns, threshold="f1_macro", alpha=0.5).fit(X, rare)
    proba = model.student_predictions_[:, 1]
    at_half = f1_score(rare, proba > 0.5, average="macro")
    assert f1_score(rare, proba > model.threshold_, average="macro") > at_half
    assert not np.any(proba.astype(np.float32) == np.float32(model.threshold_))
    np.testing.assert_array_equal(model.predict(X), (model.predict_proba(X)[:, 1] > model.threshold_).astype(int))


def test_frozen_teacher_is_used_as_it_is(taught) -> None:
    X, y, columns = taught
    teacher = clone(TEACHER).fit(X[:700], y[:700])
    model = distilled(columns, alpha=0.5).set_params(teacher=FrozenEstimator(teacher)).fit(X[700:], y[700:])
    np.testing.assert_array_equal(model.soft_targets_, teacher.predict_proba(X[700:]))
    assert np.isfinite(model.distillation_gain_)


def test_soft_targets_made_elsewhere_are_learnt(taught) -> None:
    X, y, columns = taught
    soft = np.column_stack([1 - 0.8 * y, 0.8 * y]) * 0.9 + 0.05
    model = distilled(columns, alpha=0.0).fit(X, y, soft_targets=soft)
    np.testing.assert_array_equal(model.soft_targets_, soft)
    assert not hasattr(model, "teacher_")


def test_student_needs_only_its_columns(cancer) -> None:
    X, y, columns = cancer
    model = distilled(columns).fit(X, y)
    assert model.student_features_ == columns
    shuffled = X[columns[::-1]].assign(extra=1)
    np.testing.assert_array_equal(model.predict_proba(shuffled), model.predict_proba(X))


def test_unfitted_selector_chooses_the_students_columns(cancer) -> None:
    X, y, _ = cancer
    model = distilled(SelectKBest(k=4), alpha=0.5).fit(X, y)
    assert len(model.student_features_) == 4
    assert model.predict_proba(X[model.student_features_]).shape == (len(X), 2)


def test_ensemble_with_a_selector_needs_the_union_of_its_columns(cancer) -> None:
    X, y, _ = cancer
    selector = SelectFromModel(DecisionTreeClassifier(max_depth=4, random_state=0), max_features=3)
    model = distilled(selector, alpha=0.5, ensemble=True).fit(X, y)
    assert 3 <= len(model.student_features_) < 15
    np.testing.assert_array_equal(model.predict_proba(X[model.student_features_]), model.predict_proba(X))


def test_fitted_selector_is_taken_as_it_is(cancer) -> None:
    X, y, _ = cancer
    selector = SelectKBest(k=5).fit(X, y)
    assert distilled(selector).fit(X, y).student_features_ == list(selector.get_feature_names_out())


def test_a_cloned_fitted_selector_still_chooses_the_same(cancer) -> None:
    X, y, _ = cancer
    model = distilled(SelectKBest(k=5).fit(X, y))
    assert clone(model).fit(X[::-1], y[::-1]).student_features_ == model.fit(X, y).student_features_


@pytest.mark.parametrize("student", ["lightgbm", "catboost"])
def test_a_selector_may_drop_a_declared_category(student) -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"load": rng.normal(size=300), "site": rng.choice(["a", "b"], 300), "iron": rng.normal(size=300)})
    y = (X["load"] + X["iron"] > 0).astype(int)
    if student == "lightgbm":
        declared = clone(STUDENT).set_params(categorical_feature=["site"])
    else:
        declared = CatBoostClassifier(iterations=5, cat_features=["site"], verbose=False, allow_writing_files=False)
    model = distilled(SelectKBest(k=2), alpha=0.5).set_params(student=declared).fit(X, y)
    assert model.student_features_ == ["load", "iron"]


def test_lightgbm_splits_a_named_category_by_membership() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"kind": rng.choice(list("abcdef"), 600), "size": rng.normal(size=600)})
    y = X["kind"].isin(["a", "c", "e"]).astype(int)
    student = clone(STUDENT).set_params(categorical_feature=["kind"], min_data_per_group=1, cat_smooth=1)
    model = distilled(None, alpha=0.5).set_params(student=student).fit(X, y)
    tree = model.student_.members[0].adapter.estimator.booster_.dump_model()["tree_info"][0]["tree_structure"]
    assert tree["decision_type"] == "=="


def test_pipelines_get_the_raw_table() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"kind": rng.choice(["a", "b", None], 400), "size": rng.normal(size=400), "late": rng.normal(size=400)}
    )
    y = ((X["kind"] == "a") + X["size"] + X["late"] > 0.5).astype(int)
    columns = ColumnTransformer([("kind", OneHotEncoder(handle_unknown="ignore"), ["kind"])], remainder="passthrough")
    student = make_pipeline(columns, LogisticRegression())
    model = DistilledEstimator(TEACHER, student, student_features=["kind", "size"], alpha=0.5, random_state=0)
    assert model.fit(X, y).predict_proba(X[["size", "kind"]]).shape == (400, 2)


# ---------------------------------------------------------------- kinds of target


def test_string_labels_come_back(cancer) -> None:
    X, y, columns = cancer
    names = np.array(["malignant", "benign"])[y]
    model = distilled(columns, threshold="f1_macro").fit(X, names)
    assert list(model.classes_) == ["benign", "malignant"]
    assert set(model.predict(X)) == {"benign", "malignant"}


def test_more_than_two_classes() -> None:
    X, y = load_iris(return_X_y=True)
    model = DistilledEstimator(TEACHER, STUDENT, student_features=[0, 1], random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X[:, :2]).sum(axis=1), 1)


def test_regression() -> None:
    X, y = load_diabetes(return_X_y=True)
    teacher = LGBMRegressor(n_estimators=40, verbose=-1, n_jobs=1)
    model = DistilledEstimator(teacher, Ridge(), student_features=[0, 1, 2, 3], random_state=0).fit(X, y)
    assert is_regressor(model)
    assert not is_classifier(model)
    assert not hasattr(model, "predict_proba")
    assert model.soft_targets_.shape == (len(y), 1)
    assert model.score(X, y) > 0


# ---------------------------------------------------------------- inside scikit-learn


def test_grid_search_with_memory_fits_no_teacher_twice(taught, tmp_path) -> None:
    X, y, columns = taught
    model = distilled(columns, memory=str(tmp_path), cv=4)
    search = GridSearchCV(model, {"alpha": [0.0, 0.5], "student__num_leaves": [3, 7]}, cv=2, refit=False)
    search.fit(X, y)
    cached = joblib.Memory(tmp_path, verbose=0).store_backend.get_items()
    assert len(cached) == 2 * 6  # two outer folds, six pairs of four folds


def test_pipeline_and_cross_validate(cancer) -> None:
    X, y, columns = cancer
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), distilled(columns, alpha=0.5))
    scores = cross_validate(pipeline, X, y, cv=3, scoring="roc_auc", error_score="raise")["test_score"]
    assert scores.min() > 0.9


def test_calibration_on_top(cancer) -> None:
    X, y, columns = cancer
    calibrated = CalibratedClassifierCV(distilled(columns, alpha=0.5), cv=2).fit(X, y)
    assert calibrated.predict_proba(X).shape == (len(X), 2)


def test_stacking_on_top(cancer) -> None:
    X, y, columns = cancer
    stack = StackingClassifier([("kd", distilled(columns, alpha=0.5))], LogisticRegression(), cv=2).fit(X, y)
    assert stack.score(X, y) > 0.9


def test_voting_classifier_as_student(cancer) -> None:
    X, y, columns = cancer
    student = VotingClassifier([("a", STUDENT), ("b", DecisionTreeClassifier(max_depth=3))], voting="soft")
    model = distilled(columns, alpha=0.5).set_params(student=student).fit(X, y)
    assert roc_auc_score(y, model.student_predictions_[:, 1]) > 0.9


def test_routed_weights_and_groups_reach_fit(taught) -> None:
    X, y, columns = taught
    groups = np.arange(len(y)) % 30
    with config_context(enable_metadata_routing=True):
        model = distilled(columns, alpha=0.5).set_fit_request(sample_weight=True, groups=True)
        model.set_score_request(sample_weight=True)
        result = cross_validate(
            model, X, y, cv=2, params={"sample_weight": np.ones(len(y)), "groups": groups}, error_score="raise"
        )
    assert np.isfinite(result["test_score"]).all()


def test_weights_reach_teacher_student_control_and_scores(taught) -> None:
    X, y, columns = taught
    weight = np.where(np.arange(len(y)) % 2 == 0, 5.0, 0.1)
    plain, weighted = (
        distilled(columns, alpha=0.5).fit(X, y),
        distilled(columns, alpha=0.5).fit(X, y, sample_weight=weight),
    )
    for name in ("soft_targets_", "student_predictions_", "control_predictions_"):
        assert not np.allclose(getattr(plain, name), getattr(weighted, name))
    assert weighted.student_score_ == pytest.approx(-log_loss(y, weighted.student_predictions_, sample_weight=weight))


def test_catboost_with_categories_survives_cloning() -> None:
    model = DistilledEstimator(CatBoostClassifier(cat_features=["kind"]), CatBoostClassifier(cat_features=["kind"]))
    assert clone(model).teacher.get_params()["cat_features"] == ["kind"]


def test_pickle_predicts_the_same(cancer) -> None:
    X, y, columns = cancer
    model = distilled(columns, ensemble=True).fit(X, y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))


def test_html_representation_shows_both_models() -> None:
    html = distilled(None)._repr_html_()
    assert html.count("LGBMClassifier") >= 2


def test_fit_does_not_touch_what_it_was_given(cancer) -> None:
    X, y, columns = cancer
    before = X.copy()
    model = distilled(columns).fit(X, y)
    pd.testing.assert_frame_equal(X, before)
    assert not hasattr(model.teacher, "booster_")
    assert model.student.random_state is None


def test_polars_table_gives_the_pandas_answer(cancer) -> None:
    polars = pytest.importorskip("polars")
    X, y, columns = cancer
    frame = polars.from_pandas(X)
    model = distilled(columns).fit(frame, y)
    np.testing.assert_array_equal(model.predict_proba(frame), distilled(columns).fit(X, y).predict_proba(X))


def test_a_leaking_privileged_column_is_named(cancer) -> None:
    X, y, columns = cancer
    leaking = X.assign(result=y * 2.0)
    with pytest.warns(UserWarning, match=r"\['result'\] alone gives the target away"):
        distilled(columns).fit(leaking, y)


def test_a_class_weighted_teacher_is_reported(taught) -> None:
    X, y, columns = taught
    rare = y * (np.random.default_rng(0).random(len(y)) < 0.2)
    model = distilled(columns).set_params(teacher__class_weight="balanced", teacher__n_estimators=10)
    with pytest.warns(UserWarning, match="Train the teacher without class weights"):
        model.fit(X, rare)


def test_temperature_is_undone_exactly(taught) -> None:
    X, y, columns = taught
    tree = DecisionTreeClassifier(max_depth=2, random_state=0)
    model = DistilledEstimator(
        LogisticRegression(max_iter=500), tree, student_features=columns, alpha=0.0, temperature=3.0, random_state=0
    ).fit(X, y)
    leaf = model.student_.members[0].adapter.estimator.apply(X[:, columns].astype(np.float32))
    soft = model.soft_targets_[leaf == leaf[0]]
    softened = (soft ** (1 / 3)) / (soft ** (1 / 3)).sum(axis=1, keepdims=True)
    expected = softened.mean(axis=0) ** 3
    np.testing.assert_allclose(model.predict_proba(X)[0], expected / expected.sum(), rtol=1e-6)


def test_clones_of_several_teachers_are_not_fitted() -> None:
    fitted = DecisionTreeClassifier().fit([[0], [1]], [0, 1])
    copy = clone(DistilledEstimator([fitted, fitted], DecisionTreeClassifier()))
    assert not any(hasattr(teacher, "tree_") for teacher in copy.teacher)


@pytest.mark.parametrize("names", [[1, 0], ["1", "0"]], ids=["numbers", "texts, as files have them"])
def test_columns_of_soft_targets_are_found_by_the_labels_that_name_them(names) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    soft = pd.DataFrame(np.column_stack([y, 1 - y]), columns=names)
    model = DistilledEstimator(DecisionTreeClassifier(), DecisionTreeClassifier(), alpha=0.0)
    np.testing.assert_array_equal(model.fit(X, y, soft_targets=soft).soft_targets_[:, 1], y)


def test_summary_has_the_scores_side_by_side(cancer) -> None:
    X, y, columns = cancer
    model = distilled(columns, alpha=0.5).fit(X, y)
    row = model.summary().loc["neg_log_loss"]
    assert row["gain"] == pytest.approx(row["student"] - row["control"])
    assert row[["teacher", "student", "alpha"]].tolist() == [model.teacher_score_, model.student_score_, 0.5]


def test_what_has_no_scores_has_no_summary(cancer) -> None:
    X, y, columns = cancer
    assert not hasattr(distilled(columns, alpha=0.5, cross_fit="folds").fit(X, y), "summary")


def test_columns_of_soft_targets_without_names_are_in_the_order_of_the_labels() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    soft = pd.DataFrame(np.column_stack([1 - y, y]))  # columns 0 and 1, labels 1 and 2
    model = DistilledEstimator(DecisionTreeClassifier(), DecisionTreeClassifier(), alpha=0.0)
    np.testing.assert_array_equal(model.fit(X, y + 1, soft_targets=soft).soft_targets_[:, 1], y)

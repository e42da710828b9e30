"""What the estimator refuses, and what it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer
from sklearn.model_selection import GroupKFold, KFold, RepeatedKFold, ShuffleSplit, StratifiedKFold, TimeSeriesSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier

from tabkd import DistilledEstimator, MutualDistilledEstimator
from tabkd.targets import one_hot


def estimator(**params):
    return DistilledEstimator(
        params.pop("teacher", DecisionTreeClassifier(max_depth=4, random_state=0)),
        params.pop("student", DecisionTreeClassifier(max_depth=2, random_state=0)),
        **{"random_state": 0, **params},
    )


def regression(**params):
    return estimator(teacher=Ridge(), student=DecisionTreeRegressor(max_depth=3), **params)


def plain(**params):
    """Without scores: the cheapest way to fit."""
    return estimator(cross_fit="folds", alpha=0.5, **params)


def halves(y):
    return 0.5 * one_hot(y, y.max() + 1) + 0.5 / (y.max() + 1)


# ---------------------------------------------------------------- tables


def test_missing_student_column_at_predict_is_named(numbers, two):
    model = plain(student_features=["a", "b"]).fit(numbers, two)
    with pytest.raises(ValueError, match=r"Columns \['b'\] are missing.*needs \['a', 'b'\]"):
        model.predict(numbers[["a", "c"]])


@pytest.mark.parametrize("method", ["fit", "predict"])
def test_duplicate_column_names_are_refused_by_name(numbers, two, method):
    doubled = numbers.set_axis(["a", "b", "a", "d"], axis=1)
    model = plain() if method == "fit" else plain().fit(numbers, two)
    with pytest.raises(ValueError, match=r"Column names must be unique, but \['a'\] occur more than once"):
        model.fit(doubled, two) if method == "fit" else model.predict(doubled)


@pytest.mark.parametrize(
    "table",
    [pd.DataFrame({"a": []}), pd.DataFrame(index=range(400)), np.empty((0, 4)), np.empty((400, 0))],
    ids=["frame without rows", "frame without columns", "array without rows", "array without columns"],
)
@pytest.mark.parametrize("method", ["fit", "predict"])
def test_empty_table_is_refused(numbers, two, table, method):
    model = plain() if method == "fit" else plain().fit(numbers, two)
    with pytest.raises(ValueError, match="The table is empty"):
        model.fit(table, two[: len(table)]) if method == "fit" else model.predict(table)


@pytest.mark.parametrize("parameter", ["teacher_features", "student_features"])
def test_unknown_column_names_are_refused_by_name(numbers, two, parameter):
    with pytest.raises(ValueError, match=rf"{parameter} names unknown columns \['age'\]. X has \['a', 'b', 'c', 'd'\]"):
        plain(**{parameter: ["a", "age"]}).fit(numbers, two)


@pytest.mark.parametrize("parameter", ["teacher_features", "student_features"])
def test_features_that_choose_no_column_are_refused(numbers, two, parameter):
    with pytest.raises(ValueError, match=rf"{parameter}=.* chooses no column"):
        plain(**{parameter: []}).fit(numbers, two)


def test_datetime_column_is_refused_by_name(numbers, two):
    with pytest.raises(TypeError, match=r"'when' holds dates or times"):
        plain().fit(numbers.assign(when=pd.Timestamp("2024-01-01")), two)


@pytest.mark.parametrize("cat_features", [["city"], [7]], ids=["name", "position"])
def test_cat_features_outside_the_students_columns_are_named(numbers, two, cat_features):
    student = CatBoostClassifier(n_estimators=2, cat_features=cat_features)
    with pytest.raises(ValueError, match=r"cat_features.*(city|7)"):
        plain(student=student).fit(numbers, two)


# ---------------------------------------------------------------- targets


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_target_of_numbers_must_be_finite(numbers, two, missing):
    y = two.astype(float)
    y[7] = missing
    with pytest.raises(ValueError, match="Input y contains NaN or infinity, first in row 7"):
        plain().fit(numbers, y)
    with pytest.raises(ValueError, match="Input y contains NaN or infinity, first in row 7"):
        regression().fit(numbers, y)


@pytest.mark.parametrize("dtype", [object, "str", "string", "category"])
@pytest.mark.parametrize("missing", [None, np.nan, pd.NA], ids=["None", "NaN", "NA"])
def test_missing_text_label_is_refused(numbers, two, dtype, missing):
    labels = np.array(["no", "yes"], dtype=object)[two]
    labels[7] = missing
    y = pd.Series(labels, dtype=dtype)  # in pandas 2, astype("str") would write the missing label out as text
    with pytest.raises(ValueError, match="Input y contains NaN or infinity, first in row 7"):
        plain().fit(numbers, y)


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "Float64"])
def test_missing_label_of_a_nullable_dtype_is_refused(numbers, two, dtype):
    y = pd.Series(two).astype(dtype)
    y[7] = pd.NA
    with pytest.raises(ValueError, match="Input y contains NaN"):
        plain().fit(numbers, y)


def test_missing_value_among_several_outputs_is_refused(numbers):
    y = numbers[["a", "b"]].to_numpy().copy()
    y[7, 1] = np.nan
    with pytest.raises(ValueError, match="Input y contains NaN or infinity, first in row 7"):
        regression().fit(numbers, y)


def test_one_class_only_is_refused_by_name(numbers):
    with pytest.raises(ValueError, match=r"one class only \('yes'\)"):
        plain().fit(numbers, ["yes"] * 400)


def test_no_target_is_refused(numbers):
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        plain().fit(numbers, None)


def test_continuous_target_of_a_classifier_is_refused(numbers):
    with pytest.raises(ValueError, match="Unknown label type"):
        plain().fit(numbers, numbers["a"])


@pytest.mark.parametrize("name", ["y", "sample_weight", "groups"])
def test_lengths_that_differ_are_refused(numbers, two, name):
    given = {"y": two, name: np.ones(399)}
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples.*\[?400"):
        plain().fit(numbers, **given)


@pytest.mark.parametrize("absent", [None, np.nan], ids=["None", "NaN"])
def test_rows_without_a_group_are_refused(numbers, two, absent):
    groups = np.array([absent, *(["a"] if absent is None else [1.0]) * 399])
    with pytest.raises(ValueError, match="groups are missing in 1 of 400 rows, first in row 0"):
        plain().fit(numbers, two, groups=groups)


def test_labels_that_do_not_compare_are_refused(numbers, two):
    with pytest.raises(ValueError, match="mixes int and str"):
        plain().fit(numbers, np.array([1 if label == two[0] else "0" for label in two], dtype=object))


def test_lazy_table_is_refused(numbers, two):
    polars = pytest.importorskip("polars")
    with pytest.raises(TypeError, match=r"Pass X.collect\(\)"):
        plain().fit(polars.DataFrame(numbers.to_dict("list")).lazy(), two)


def test_negative_weights_are_refused(numbers, two):
    with pytest.raises(ValueError, match="Negative values"):
        plain().fit(numbers, two, sample_weight=np.r_[-1.0, np.ones(399)])


def test_weights_that_the_teacher_does_not_take_are_refused(numbers, two):
    with pytest.raises(ValueError, match="KNeighborsClassifier takes no sample_weight"):
        plain(teacher=KNeighborsClassifier()).fit(numbers, two, sample_weight=np.ones(400))


# ---------------------------------------------------------------- soft targets made elsewhere


@pytest.mark.parametrize("shape", [(400,), (400, 1), (400, 3), (399, 2)], ids=str)
def test_soft_targets_of_a_wrong_shape_are_refused(numbers, two, shape):
    with pytest.raises(ValueError, match=r"soft_targets has shape .* but must have \(400, 2\)"):
        plain().fit(numbers, two, soft_targets=np.full(shape, 0.5))


@pytest.mark.parametrize(("row", "named"), [([-0.2, 1.2], "-0.2"), ([0.2, 1.5], "1.5")])
def test_soft_targets_outside_0_to_1_are_refused(numbers, two, row, named):
    soft = halves(two)
    soft[3] = row
    with pytest.raises(ValueError, match=rf"must lie in \[0, 1\], got {named}"):
        plain().fit(numbers, two, soft_targets=soft)


def test_soft_targets_that_do_not_sum_to_1_are_refused(numbers, two):
    soft = halves(two)
    soft[3] = [0.2, 0.7]
    with pytest.raises(ValueError, match=r"must sum to 1, but row 3 sums to 0\.[89]"):
        plain().fit(numbers, two, soft_targets=soft)


def test_missing_soft_targets_are_refused(numbers, two):
    soft = halves(two)
    soft[3] = np.nan
    with pytest.raises(ValueError, match="soft_targets contains NaN or infinity"):
        plain().fit(numbers, two, soft_targets=soft)


@pytest.mark.parametrize(("parameter", "value"), [("alpha", "auto"), ("threshold", "f1_macro")])
def test_choices_by_score_are_refused_with_soft_targets_made_elsewhere(numbers, two, parameter, value):
    with pytest.raises(ValueError, match=rf"{parameter}='{value}' needs an honest score.*soft_targets= was given"):
        estimator(**{"alpha": 0.5, parameter: value}).fit(numbers, two, soft_targets=halves(two))


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), "2", None])
def test_temperature_must_be_above_zero(numbers, two, temperature):
    with pytest.raises(ValueError, match=r"temperature must be > 0, got .*Try 2.0"):
        estimator(alpha=0, temperature=temperature).fit(numbers, two)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), "best", None])
def test_alpha_must_lie_in_0_to_1(numbers, two, alpha):
    with pytest.raises(ValueError, match=r'alpha must be in \[0, 1\] or "auto", got'):
        estimator(alpha=alpha).fit(numbers, two)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "best"])
def test_threshold_must_be_a_probability_or_a_scorer(numbers, two, threshold):
    with pytest.raises(ValueError, match=r"threshold|scor"):
        estimator(threshold=threshold).fit(numbers, two)


def test_threshold_needs_two_classes(numbers, three):
    with pytest.raises(ValueError, match=r"threshold=0\.4 needs two classes, but this is 3 classes"):
        estimator(threshold=0.4).fit(numbers, three)


def test_threshold_needs_classes(numbers):
    with pytest.raises(ValueError, match=r"threshold=0\.4 needs two classes, but this is a regression"):
        regression(threshold=0.4).fit(numbers, numbers["a"])


@pytest.mark.parametrize(("parameter", "value"), [("loss", "hinge"), ("cross_fit", "triples")])
def test_unknown_choices_are_refused_by_value(numbers, two, parameter, value):
    with pytest.raises(ValueError, match=rf"{parameter} must be .*{value}"):
        estimator(**{parameter: value}).fit(numbers, two)


@pytest.mark.parametrize("loss", ["cross_entropy", "logit"])
def test_losses_of_classification_are_refused_in_regression(numbers, loss):
    with pytest.raises(ValueError, match=rf"loss='{loss}' is for classification"):
        regression(loss=loss).fit(numbers, numbers["a"])


@pytest.mark.parametrize("alpha", [0.5, 1.0, "auto"])
def test_temperature_that_cannot_be_undone_is_refused(numbers, two, alpha):
    with pytest.raises(ValueError, match=r"temperature=2.0 cannot be undone.*Use alpha=0, or temperature=1.0"):
        estimator(alpha=alpha, temperature=2.0).fit(numbers, two)


def test_temperature_is_refused_in_regression(numbers):
    with pytest.raises(ValueError, match=r"temperature=2.0 is for classification"):
        regression(alpha=0, temperature=2.0).fit(numbers, numbers["a"])


@pytest.mark.parametrize(("parameter", "value"), [("alpha", "auto"), ("threshold", "f1_macro")])
def test_choices_by_score_are_refused_without_pairs(numbers, two, parameter, value):
    params = {"alpha": 0.5, parameter: value}
    with pytest.raises(ValueError, match=rf"{parameter}='{value}' needs an honest score.*\"pairs\""):
        estimator(cross_fit="folds", **params).fit(numbers, two)


def test_folds_of_the_student_alone_are_refused_with_pairs(numbers, two):
    with pytest.raises(ValueError, match=r"student_cv only exists with cross_fit=\"folds\""):
        estimator(student_cv=3).fit(numbers, two)


# ---------------------------------------------------------------- models


class Unfittable(ClassifierMixin, BaseEstimator):
    """A teacher that must not be fitted, because the parameters are wrong."""

    def fit(self, X, y, sample_weight=None):
        raise AssertionError("fitted before everything was checked")

    def predict_proba(self, X):
        raise AssertionError("asked before everything was checked")


def test_teacher_without_predict_proba_is_refused_with_the_fix(numbers, two):
    with pytest.raises(ValueError, match=r"The teacher LinearSVC has no predict_proba.*CalibratedClassifierCV"):
        estimator(teacher=LinearSVC()).fit(numbers, two)


def test_classifier_as_the_student_of_a_regressor_is_refused(numbers):
    with pytest.raises(ValueError, match="The teacher is a regressor, but the student LogisticRegression is not"):
        estimator(teacher=Ridge(), student=LogisticRegression()).fit(numbers, numbers["a"])


def test_student_without_weights_is_refused_before_a_teacher_is_fitted(numbers, two):
    with pytest.raises(ValueError, match=r"KNeighborsClassifier .* takes no sample_weight.*KNeighborsRegressor"):
        estimator(teacher=Unfittable(), student=KNeighborsClassifier()).fit(numbers, two)


@pytest.mark.parametrize("loss", ["squared_error", "logit"])
def test_loss_that_the_student_cannot_learn_by_is_refused_before_a_teacher_is_fitted(numbers, two, loss):
    with pytest.raises(ValueError, match="learns by cross-entropy only"):
        estimator(teacher=Unfittable(), student=LogisticRegression(), loss=loss).fit(numbers, two)


def test_unknown_student_column_is_refused_before_a_teacher_is_fitted(numbers, two):
    with pytest.raises(ValueError, match="student_features"):
        estimator(teacher=Unfittable(), student_features=["age"]).fit(numbers, two)


# ---------------------------------------------------------------- folds


@pytest.mark.parametrize("cv", [ShuffleSplit(4, random_state=0), TimeSeriesSplit(4)], ids=lambda cv: type(cv).__name__)
def test_splitter_that_does_not_partition_is_refused_with_pairs(numbers, two, cv):
    with pytest.raises(ValueError, match="does not partition the rows"):
        estimator(cv=cv).fit(numbers, two)


def test_splitter_of_groups_without_groups_is_refused(numbers, two):
    with pytest.raises(ValueError, match=r"cv=GroupKFold.* splits by groups, but there are none\. Pass fit"):
        estimator(cv=GroupKFold(4)).fit(numbers, two)


def test_splitter_that_tests_rows_twice_is_refused_without_pairs(numbers, two):
    with pytest.raises(ValueError, match="does not partition the rows"):
        plain(cv=ShuffleSplit(8, random_state=0)).fit(numbers, two)


@pytest.mark.parametrize("cv", [2, KFold(2), StratifiedKFold(2)], ids=str)
def test_two_folds_are_refused_with_pairs(numbers, two, cv):
    with pytest.raises(ValueError, match=r"Pairs of folds need at least 3 folds, got 2: .*cross_fit=\"folds\""):
        estimator(cv=cv).fit(numbers, two)


def test_two_folds_in_each_repeat_are_refused_with_pairs(numbers, two):
    with pytest.raises(ValueError, match="Pairs of folds need at least 3 folds, got 2"):
        estimator(cv=RepeatedKFold(n_splits=2, n_repeats=3, random_state=0)).fit(numbers, two)


def test_three_folds_warn_with_pairs(numbers, two):
    with pytest.warns(UserWarning, match="folds"):
        estimator(cv=3, alpha=0.5).fit(numbers, two)


@pytest.mark.parametrize("cv", [0, 1, 401])
def test_impossible_number_of_folds_is_refused(numbers, two, cv):
    with pytest.raises(ValueError, match=rf"cv={cv} does not fit 400 rows"):
        estimator(cv=cv).fit(numbers, two)


@pytest.fixture
def rare(two):
    """Labels with a class of two rows."""
    y = np.array(["no", "yes"], dtype=object)[two]
    y[:2] = "rare"
    return y


@pytest.mark.parametrize("cv", [5, KFold(5, shuffle=True, random_state=0)], ids=["integer", "splitter"])
def test_class_with_too_few_rows_is_named_with_what_to_do(numbers, rare, cv):
    with pytest.raises(ValueError, match=r"Class 'rare' has 2 rows, none of them outside.*cross_fit=\"folds\""):
        estimator(cv=cv).fit(numbers, rare)


def test_class_absent_outside_a_pair_is_refused(numbers, two):
    order = np.argsort(two, kind="stable")
    y = np.r_[np.zeros(240, int), np.ones(160, int)]
    with pytest.raises(ValueError, match=r"Class 1 has 160 rows, none of them outside folds 3 and 4"):
        estimator(cv=KFold(5)).fit(numbers.iloc[order], y)


def test_class_with_few_rows_works_where_the_splitter_works(numbers, rare):
    model = plain(student=DecisionTreeClassifier(max_depth=2)).fit(numbers, rare)
    assert model.predict_proba(numbers).shape == (400, 3)


def test_class_of_three_rows_in_three_folds_works_with_pairs(numbers, two):
    y = np.array(["no", "yes"], dtype=object)[two]
    y[:3] = "rare"
    model = estimator(alpha="auto").fit(numbers, y)
    assert model.classes_.tolist() == ["no", "rare", "yes"]


# ---------------------------------------------------------------- warnings


def test_privileged_column_that_leaks_the_label_is_named(numbers, two):
    with pytest.warns(UserWarning, match=r"privileged columns \['answer'\] alone gives the target away"):
        plain(student_features=["a", "b"]).fit(numbers.assign(answer=two * 10.0), two)


def test_privileged_text_column_that_leaks_the_label_is_named(numbers, two):
    table = numbers.assign(answer=np.array(["n", "y"])[two])
    with pytest.warns(UserWarning, match=r"privileged columns \['answer'\] alone gives the target away"):
        plain(student_features=["a", "b"]).fit(table, two)


def test_column_that_leaks_a_regression_target_is_named(numbers):
    table = numbers[["b", "c"]].assign(answer=2 * numbers["a"])
    with pytest.warns(UserWarning, match=r"privileged columns \['answer'\]"):
        regression(student_features=["b", "c"], cross_fit="folds", alpha=0.5).fit(table, numbers["a"])


def test_honest_privileged_columns_warn_of_nothing(numbers, two):
    assert plain(student_features=["a"]).fit(numbers, two).score(numbers, two) > 0.5


def test_class_weighted_teacher_warns_of_shifted_probabilities(numbers, two):
    y = np.array(["common", "rare"])[two * (np.arange(400) % 5 == 0)]
    teacher = LogisticRegression(class_weight="balanced")
    with pytest.warns(UserWarning, match=r"The teacher gives class '\w+' a mean probability"):
        plain(teacher=teacher).fit(numbers, y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scoring": "roc_auc"}, "scoring='roc_auc' cannot score this target"),
        ({"threshold": "f1"}, "threshold"),
    ],
)
def test_scorers_that_do_not_fit_the_target_are_told_before_any_fit(settings, message, monkeypatch):
    monkeypatch.setattr("tabkd.crossfit.cross_fit", None)
    X = np.random.default_rng(0).normal(size=(90, 3))
    y = np.arange(90) % 3 if "scoring" in settings else np.where(X[:, 0] > 0, "yes", "no")
    with pytest.raises(ValueError, match=message):
        DistilledEstimator(DecisionTreeClassifier(), DecisionTreeClassifier(max_depth=2), **settings).fit(X, y)


def test_soft_targets_under_other_labels_are_refused(numbers, two):
    soft = pd.DataFrame(np.full((400, 2), 0.5), columns=["1", "2"])
    with pytest.raises(ValueError, match=r"columns \['1', '2'\], but the labels are \['0', '1'\]"):
        plain().fit(numbers, two, soft_targets=soft)


@pytest.mark.parametrize("threshold", ["roc_auc", "neg_log_loss", True], ids=str)
def test_threshold_that_cuts_nothing_is_refused(numbers, two, threshold):
    with pytest.raises(ValueError, match=f"threshold.*{threshold}"):
        estimator(threshold=threshold).fit(numbers, two)


def test_a_column_without_any_value_is_named_where_the_model_needs_one(numbers, two):
    with pytest.raises(ValueError, match=r"HistGradientBoostingClassifier needs a value .* \['empty'\] have none"):
        estimator(student=HistGradientBoostingClassifier(max_iter=3)).fit(numbers.assign(empty=np.nan), two)


@pytest.mark.parametrize(
    "model",
    [
        estimator(teacher=HistGradientBoostingClassifier(max_iter=3)),
        estimator(student=HistGradientBoostingClassifier(max_iter=3), generations=2),
        MutualDistilledEstimator([("a", HistGradientBoostingClassifier()), ("b", DecisionTreeClassifier())]),
    ],
    ids=["teacher", "student", "peer"],
)
def test_a_column_without_any_value_in_one_fit_is_named_before_it(numbers, two, model, monkeypatch):
    monkeypatch.setattr("tabkd.crossfit.cross_fit", None)
    rare = numbers.assign(rare=numbers["d"].where(numbers.index.isin([3, 50])))
    with pytest.raises(ValueError, match=r"needs a value .* \['rare'\] have none in some or all training folds"):
        model.fit(rare, two)


@pytest.mark.parametrize(
    "student", [DecisionTreeClassifier(), LogisticRegression(), XGBClassifier()], ids=lambda one: type(one).__name__
)
def test_columns_with_infinite_numbers_are_named_before_any_fit(numbers, two, student, monkeypatch):
    monkeypatch.setattr("tabkd.crossfit.cross_fit", None)
    endless = numbers.assign(b=numbers["b"].mask(numbers.index == 7, 1e39))
    with pytest.raises(ValueError, match=r"reads no infinite numbers .*columns \['b'\] hold some"):
        estimator(student=student).fit(endless, two)


def test_infinite_numbers_are_read_where_they_can_be(numbers, two):
    endless = numbers.assign(b=numbers["b"].mask(numbers.index == 7, np.inf))
    booster = HistGradientBoostingClassifier(max_iter=3)
    assert plain(teacher=booster, student=booster).fit(endless, two).score(endless, two) > 0.5


@pytest.mark.parametrize("columns", [["a", "b"], ["a", "b", "city"]], ids=["numbers", "texts"])
def test_advice_on_missing_values_can_be_followed(mixed, two, columns):
    gaps = mixed.assign(a=mixed["a"].mask(mixed.index % 5 == 0), b=mixed["b"] > 0)[columns]
    with pytest.raises(ValueError, match=r"columns \['a'\] have some") as refused:
        plain(student=LogisticRegression()).fit(gaps.assign(d=mixed["d"]), two)
    advice = str(refused.value).split("Use ")[1].split(", or a model")[0]
    steps = (LogisticRegression, OneHotEncoder, SimpleImputer, make_column_transformer, make_pipeline)
    student = eval(advice.replace("...", ""), {step.__name__: step for step in steps})
    assert plain(student=student).fit(gaps, two).score(gaps, two) > 0.5


def test_predictions_that_the_score_does_not_take_are_named(numbers):
    y = np.exp(numbers["a"])
    given = {"teacher": DecisionTreeRegressor(max_depth=3), "scoring": "neg_root_mean_squared_log_error"}
    with pytest.raises(ValueError, match=r"cannot score predictions between -\d.* in range by TransformedTarget"):
        estimator(student=Ridge(), **given).fit(3 * numbers, y)
    advised = TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1)
    assert estimator(student=advised, **given).fit(3 * numbers, y).student_score_ < 0


def false_alarms_cost(y_true, y_pred):
    return -(10.0 * np.sum((y_true == 1) & (y_pred == 0)) + np.sum((y_true == 0) & (y_pred == 1)))


def test_a_threshold_may_be_tuned_by_a_cost_that_takes_no_weights(numbers, two):
    model = estimator(threshold=make_scorer(false_alarms_cost)).fit(numbers, two)
    expected = model.student_predictions_[:, 1] > model.threshold_
    at_half = model.student_predictions_[:, 1] > 0.5
    assert false_alarms_cost(two, expected) > false_alarms_cost(two, at_half)


def test_a_cost_that_takes_no_weights_is_refused_where_there_are_some(numbers, two):
    with pytest.raises(ValueError, match="takes no sample_weight, but weights were given"):
        estimator(threshold=make_scorer(false_alarms_cost)).fit(numbers, two, sample_weight=np.ones(400))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"teacher": None}, "teacher must be an estimator, got None"),
        ({"teacher": [Ridge(), "ridge"]}, "teacher must be an estimator, got 'ridge'"),
        ({"student": DecisionTreeClassifier}, "student must be an estimator, got the class DecisionTreeClassifier"),
    ],
    ids=["nothing", "a name in a list", "a class"],
)
def test_what_is_no_estimator_is_refused_by_name(numbers, two, given, message):
    with pytest.raises(TypeError, match=message):
        estimator(**given).fit(numbers, two)


def test_a_score_of_probabilities_is_refused_for_a_regression(numbers):
    with pytest.raises(ValueError, match="scoring='roc_auc' scores probabilities, and this is a regression"):
        regression(scoring="roc_auc").fit(numbers, numbers["a"])


@pytest.mark.parametrize(
    "labels", [np.array(["2020-01-01", "2021-01-01"], "datetime64[D]"), np.array([1, 2**63], np.uint64)], ids=["M", "u"]
)
def test_labels_that_no_file_holds_are_named_at_export(numbers, two, tmp_path, labels):
    model = plain().fit(numbers, labels[two])
    with pytest.raises(ValueError, match=f"such as {labels[1]}, which no file holds. Make text of them"):
        model.to_onnx(tmp_path / "model.onnx")

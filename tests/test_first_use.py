"""What people meet who use the library as they are used to use scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    BaggingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, RepeatedStratifiedKFold, StratifiedShuffleSplit
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tabkd import DistillationReport, DistillationSearchCV, DistilledEstimator, MutualDistilledEstimator
from tabkd.column import Column
from tabkd.frames import as_table

pytestmark = pytest.mark.filterwarnings("ignore:With alpha")
DRAW = np.random.default_rng(0)
X = pd.DataFrame(DRAW.normal(size=(240, 3)), columns=["a", "b", "d"])
Y = np.where(X["b"] + 0.5 * DRAW.normal(size=240) > 0.3, "yes", "no")
TEACHER = LGBMClassifier(n_estimators=10, num_leaves=7, n_jobs=1, verbose=-1)
STUDENT = DecisionTreeClassifier(max_depth=3, min_samples_leaf=10)


class NeverFitted(LGBMClassifier):
    """A teacher whose fit is too late."""

    def fit(self, *args, **kwargs):
        raise AssertionError("a teacher was fitted before the refusal")


def model(student=STUDENT, teacher=TEACHER, **params):
    return DistilledEstimator(teacher, student, **{"random_state": 0, "alpha": 0.5, **params})


FOREST = CalibratedClassifierCV(RandomForestClassifier(n_estimators=3, random_state=0), cv=2)


@pytest.mark.parametrize(
    "made",
    [model(teacher=FOREST), model(FOREST), MutualDistilledEstimator([("a", FOREST), ("b", STUDENT)], cv=3)],
    ids=["teacher", "student", "peer"],
)
@pytest.mark.filterwarnings("ignore:Pairs of 3 folds")
def test_calibrated_forests_are_taken(made):
    assert made.fit(X, Y).score(X, Y) > 0.8


def test_forest_of_a_transformed_target_is_taken():
    teacher = TransformedTargetRegressor(RandomForestRegressor(n_estimators=3, random_state=0))
    assert model(DecisionTreeRegressor(max_depth=3), teacher).fit(X, X["b"]).score(X, X["b"]) > 0.8


@pytest.mark.parametrize(
    "cv", [StratifiedShuffleSplit(3, random_state=0), RepeatedStratifiedKFold(n_splits=3, n_repeats=1, random_state=0)]
)
def test_students_with_folds_of_their_own_are_not_turned_around(cv):
    student = CalibratedClassifierCV(DecisionTreeClassifier(max_depth=3, random_state=0), cv=cv)
    assert model(student, alpha=0.0).fit(X, Y).score(X, Y) > 0.8


@pytest.mark.parametrize("student", [SVC(probability=True), StackingClassifier([("a", SVC(probability=True))], cv=3)])
@pytest.mark.filterwarnings("ignore:The `probability` parameter")
def test_probabilities_by_an_internal_split_are_refused(student):
    with pytest.raises(ValueError, match=r"probability=True splits the rows by itself"):
        model(student, NeverFitted()).fit(X, Y)


def test_soft_targets_are_aligned_by_label():
    soft = pd.DataFrame(model().fit(X, Y).soft_targets_, columns=["no", "yes"])
    one, other = (model(alpha=0).fit(X, Y, soft_targets=soft[order]) for order in (["no", "yes"], ["yes", "no"]))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_search_forgets_an_earlier_fit():
    search = DistillationSearchCV(
        model(),
        {"student__max_depth": [1, 2]},
        teacher_space={"teacher__num_leaves": [3, 7]},
        n_trials=2,
        random_state=0,
    ).fit(X, Y)
    search.set_params(refit=False, teacher_space={}).fit(X[["a", "b"]], Y)
    assert not hasattr(search, "best_estimator_") and not hasattr(search, "teacher_results_")
    with pytest.raises(AttributeError, match="refit=False"):
        search.score(X, Y)


@pytest.mark.parametrize("other", [STUDENT, make_pipeline(model())])
def test_search_of_another_estimator_is_refused(other):
    with pytest.raises(ValueError, match="estimator must be a DistilledEstimator"):
        DistillationSearchCV(other).fit(X, Y)


def test_catboost_keeps_its_loss_on_several_outputs():
    y = np.exp(DRAW.normal(size=(240, 2)))
    student = CatBoostRegressor(loss_function="Quantile:alpha=0.9", iterations=50, verbose=0, allow_writing_files=False)
    below = model(student, LGBMRegressor(n_estimators=5, n_jobs=1, verbose=-1), alpha=1.0).fit(X, y).predict(X) > y
    assert below.mean() > 0.8


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (SVC(), "The student SVC gives no probabilities"),
        (FrozenEstimator(STUDENT), "FrozenEstimator, which learns nothing"),
        (OneVsRestClassifier(LogisticRegression()), "takes no sample_weight"),
        (FixedThresholdClassifier(LogisticRegression()), "takes no sample_weight"),
    ],
)
def test_student_that_cannot_learn_is_refused_before_the_teacher_is_fitted(student, said):
    with pytest.raises(ValueError, match=said):
        model(student, NeverFitted()).fit(X, Y)


def test_gaps_that_a_student_cannot_read_are_named_before_the_teacher_is_fitted():
    gaps = X.assign(d=X["d"].mask(X.index == 3))
    with pytest.raises(ValueError, match=r"LogisticRegression reads no missing values .* \['d'\] have some"):
        model(LogisticRegression(), NeverFitted()).fit(gaps, Y)


@pytest.mark.parametrize(
    "teacher",
    [
        CalibratedClassifierCV(HistGradientBoostingClassifier(max_iter=5), cv=2),
        BaggingClassifier(make_pipeline(SimpleImputer(), LogisticRegression()), n_estimators=2),
        DummyClassifier(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_gaps_that_a_model_can_read_are_read(teacher):
    gaps = X.assign(d=X["d"].mask(X.index == 3))
    assert model(TEACHER, teacher, cross_fit="folds").fit(gaps, Y).predict(gaps).shape == (240,)


def test_infinity_is_called_by_its_name():
    with pytest.raises(ValueError, match="infinity"):
        model().fit(X.assign(b=X["b"].mask(X.index == 3, np.inf)), Y)


def test_soft_targets_under_numbers_are_taken_by_position():
    labels = DRAW.integers(12, size=240).astype(str)
    soft = DRAW.dirichlet(np.ones(12), size=240)
    one, other = (model(cross_fit="folds").fit(X, labels, soft_targets=given) for given in (soft, pd.DataFrame(soft)))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_strange_category_among_known_ones_is_unknown_in_any_order(order):
    column = Column("c", "category", (1, 2, 3))
    assert column.codes(pd.Series([1, "strange"], dtype=object).iloc[order]).tolist() == [[2, 0][i] for i in order]


def test_weights_reach_a_student_that_they_are_routed_to():
    with config_context(enable_metadata_routing=True):
        student = OneVsRestClassifier(LogisticRegression().set_fit_request(sample_weight=True))
        assert model(student).fit(X, Y).score(X, Y) > 0.8


@pytest.mark.parametrize(("was", "now"), [(str, int), (int, str)])
def test_categories_read_otherwise_than_in_fit_are_refused(was, now):
    codes = pd.Series(np.where(X["b"] > 0, 1, 2))
    fitted = model(student_features=["c"]).fit(X.assign(c=codes.astype(was).astype("category")), Y)
    with pytest.raises(ValueError, match=r"Column 'c' held .* in fit, and holds"):
        fitted.predict(X.assign(c=codes.astype(now)))


@pytest.mark.parametrize("student", [LogisticRegression(class_weight="balanced"), STUDENT])
def test_balanced_classes_of_weighted_rows_are_the_same_with_and_without_a_teacher(student):
    weights = DRAW.uniform(0.1, 10, 240) * np.where(Y == "yes", 5, 1)
    made = model(student, alpha=1.0).fit(X, Y, sample_weight=weights)
    np.testing.assert_allclose(made.student_predictions_, made.control_predictions_, atol=1e-6)


def test_memory_may_be_a_path(tmp_path):
    assert model(memory=tmp_path).fit(X, Y).score(X, Y) > 0.8
    with pytest.raises(ValueError, match="memory must be a folder"):
        model(memory=3).fit(X, Y)


@pytest.mark.parametrize("target", [Y, np.datetime64("2026-01-01") + np.arange(240)], ids=["text", "dates"])
def test_what_is_no_number_is_no_target_of_a_regressor(target):
    with pytest.raises(ValueError, match="teacher is a regressor, but the target is no numbers"):
        model(DecisionTreeRegressor(), LGBMRegressor()).fit(X, target)


def test_confidence_is_a_share():
    with pytest.raises(ValueError, match="confidence must be between 0 and 1, got 95"):
        DistillationReport(pd.DataFrame(), pd.DataFrame(), 0.25).summary(confidence=95)


def test_rows_given_as_lists_are_read_as_an_array_of_objects_is():
    rows = [[0.5, "x", True], [1.5, "y", False], [float("nan"), "x", True]]
    listed, array = as_table(rows), as_table(np.array(rows, dtype=object))
    pd.testing.assert_frame_equal(listed, array)
    assert [listed[c].dtype.kind for c in (0, 2)] == ["f", "b"]


def test_a_column_may_have_an_empty_name():
    nameless = X.set_axis(["", "b", "d"], axis=1)
    expected = model(TEACHER).fit(X, Y).predict_proba(X)
    np.testing.assert_array_equal(model(TEACHER).fit(nameless, Y).predict_proba(nameless), expected)


def test_target_encoder_is_seeded_without_a_warning():
    frame = X.assign(city=np.resize(["rome", "bonn", "oslo"], len(Y)))
    encoder = make_column_transformer((TargetEncoder(cv=4), ["city"]), remainder="passthrough")
    pipeline = make_pipeline(encoder, LogisticRegression())
    made = [model(pipeline, alpha=0.5, cross_fit="folds", random_state=0).fit(frame, Y) for _ in range(2)]
    np.testing.assert_array_equal(*(one.predict_proba(frame) for one in made))

"""evaluate_distillation and its report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy.stats import t as student_t
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeRegressor

from tabkd import (
    BlendedEstimator,
    DistillationReport,
    DistillationSearchCV,
    DistilledEstimator,
    MutualDistilledEstimator,
    evaluate_distillation,
)

pytestmark = pytest.mark.filterwarnings("ignore:With alpha")
FAST = {"verbose": -1, "n_jobs": 1}


SMALL = LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1)


@pytest.fixture(scope="module")
def report() -> DistillationReport:
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = DistilledEstimator(
        LGBMClassifier(n_estimators=20, **FAST), LGBMClassifier(n_estimators=5, **FAST),
        student_features=list(X.columns[:10]), alpha=0.5, random_state=0,
    )  # fmt: skip
    return evaluate_distillation(model, X, y, cv=3, scoring=["neg_log_loss", "roc_auc"])


def made(student: list[float], control: list[float], teacher: list[float]) -> DistillationReport:
    scores = pd.DataFrame({"fold": range(len(student)), "metric": "m", "teacher": teacher, "control": control})
    return DistillationReport(scores.assign(student=student), pd.DataFrame(), test_share=0.25)


def test_one_row_per_fold_and_metric(report) -> None:
    assert report.scores.groupby("metric").size().to_dict() == {"neg_log_loss": 3, "roc_auc": 3}


def test_choices_made_inside_are_reported(report) -> None:
    assert (report.choices["alpha"] == 0.5).all()
    assert np.isfinite(report.choices["gain_se"]).all()


def test_interval_is_corrected_for_shared_training_rows() -> None:
    gains = np.array([0.1, 0.2, 0.4, 0.1])
    row = made(list(gains), [0.0] * 4, [1.0] * 4).summary().loc["m"]
    error = np.sqrt((1 / 4 + 0.25) * gains.var(ddof=1))
    assert row["gain_se"] == pytest.approx(error)
    assert row["gain_low"] == pytest.approx(gains.mean() - student_t.ppf(0.975, 3) * error)


def test_gap_recovered_is_a_ratio_of_means() -> None:
    row = made([0.2, 0.3], [0.1, 0.1], [0.3, 0.9]).summary().loc["m"]
    assert row["gap_recovered"] == pytest.approx(0.15 / 0.5)


def test_no_gap_where_the_teacher_is_not_better() -> None:
    assert np.isnan(made([0.2, 0.3], [0.5, 0.5], [0.4, 0.4]).summary().loc["m", "gap_recovered"])


def test_regression_with_groups_and_weights() -> None:
    X, y = load_diabetes(return_X_y=True)
    model = DistilledEstimator(
        LGBMRegressor(n_estimators=10, **FAST), DecisionTreeRegressor(max_depth=3), student_features=[0, 1, 2],
        random_state=0,
    )  # fmt: skip
    groups = np.arange(len(y)) // 4
    report = evaluate_distillation(model, X, y, cv=GroupKFold(3), groups=groups, sample_weight=np.ones(len(y)))
    assert list(report.summary().index) == ["neg_mean_squared_error", "r2"]


def test_the_plain_recipe_has_a_control_too() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    model = DistilledEstimator(
        LGBMClassifier(n_estimators=10, **FAST), LGBMClassifier(n_estimators=5, **FAST), student_features=[0, 1],
        cross_fit="folds", alpha=0.0, random_state=0,
    )  # fmt: skip
    scores = evaluate_distillation(model, X, y, cv=3, scoring="roc_auc").scores
    assert np.isfinite(scores[["teacher", "control", "student"]].to_numpy()).all()


def test_texts_are_given_as_they_are() -> None:
    texts = np.array(["good film", "bad film", "good plot", "bad plot"] * 25, dtype=object)
    reader = make_pipeline(TfidfVectorizer(), LogisticRegression())
    report = evaluate_distillation(DistilledEstimator(reader, reader), texts.tolist(), np.arange(100) % 2, cv=2)
    assert report.summary().loc["accuracy", "student"] == 1


def test_a_fold_without_a_class_is_nan_and_said() -> None:
    X, y = load_iris(return_X_y=True)
    rows = np.r_[0:100, 100:104]
    model = DistilledEstimator(SMALL, SMALL, cross_fit="folds", alpha=0.5)
    with pytest.warns(UserWarning, match=r"neg_log_loss of fold \d cannot be computed and is NaN"):
        report = evaluate_distillation(model, X[rows], y[rows], cv=StratifiedKFold(5), scoring="neg_log_loss")
    assert report.scores["student"].isna().sum() == 1
    assert np.isfinite(report.summary().loc["neg_log_loss", "gain"])


def test_random_splits_may_test_a_row_more_than_once() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    report = evaluate_distillation(
        DistilledEstimator(SMALL, SMALL, cross_fit="folds", alpha=0.5),
        X,
        y,
        cv=ShuffleSplit(4, test_size=0.5, random_state=0),
    )
    assert report.scores["fold"].nunique() == 4 and report.test_share == pytest.approx(1, abs=0.01)


def test_scorer_without_weights_is_refused_before_anything_is_fitted() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    model = DistilledEstimator(LGBMClassifier(max_depth="never fitted"), SMALL)
    with pytest.raises(ValueError, match="scoring='neg_max_error' takes no sample_weight"):
        evaluate_distillation(model, X, y, scoring="neg_max_error", sample_weight=np.ones(len(y)))


@pytest.mark.parametrize(
    ("estimator", "given", "message"),
    [
        (BlendedEstimator([("a", DistilledEstimator(SMALL, SMALL))]), {}, "has no control to be held against"),
        (DistillationSearchCV(DistilledEstimator(SMALL, SMALL), refit=False), {}, "has no control to be held against"),
        (
            MutualDistilledEstimator([("a", SMALL), ("b", SMALL)]),
            {"X_unlabeled": np.zeros((3, 30))},
            "MutualDistilledEstimator takes no X_unlabeled",
        ),
    ],
    ids=["blend", "search without a winner", "rows without labels"],
)
def test_what_cannot_be_evaluated_is_refused_before_anything_is_fitted(estimator, given, message) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        evaluate_distillation(estimator, X, y, **given)

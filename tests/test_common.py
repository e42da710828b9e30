"""scikit-learn's own checks: estimators as classifiers and as regressors, searches, blends and selectors."""

from __future__ import annotations

from typing import Any

import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from tabkd import (
    BlendedEstimator,
    DistillationSearchCV,
    DistilledEstimator,
    FeatureBudgetSelector,
    MutualDistilledEstimator,
    SelectPrivileged,
)

BOOSTER = {"n_estimators": 20, "learning_rate": 0.3, "min_child_samples": 2, "verbose": -1, "n_jobs": 1}
PLAIN = {"cross_fit": "folds", "alpha": 0.5, "random_state": 0}

CLASSIFIERS = [
    (LogisticRegression(), LogisticRegression()),
    (ExtraTreesClassifier(10), DecisionTreeClassifier()),
    (LGBMClassifier(**BOOSTER), LGBMClassifier(**BOOSTER)),
]
REGRESSORS = [
    (Ridge(), Ridge()),
    (ExtraTreesRegressor(10), DecisionTreeRegressor()),
    (LGBMRegressor(**BOOSTER), LGBMRegressor(**BOOSTER)),
]


def expected_failures(estimator: Any) -> dict[str, str]:
    failures = {
        "check_dataframe_column_names_consistency": "columns are found by name: their order does not matter",
    }
    if isinstance(estimator, DistillationSearchCV):
        equal = "check_sample_weight_equivalence_on_dense_data"
        failures[equal] = (
            "rows given twice fall into other folds, and the check cannot set the cv of the estimator inside"
        )
    elif isinstance(estimator, BlendedEstimator | MutualDistilledEstimator):
        pass
    elif isinstance(estimator.student, LGBMClassifier):
        failures["check_sample_weight_equivalence_on_dense_data"] = "LightGBM bins and counts rows, not weights"
    return failures


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks(
    [DistilledEstimator(*pair, **PLAIN) for pair in CLASSIFIERS]
    + [DistilledEstimator(*pair, random_state=0) for pair in REGRESSORS],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_check(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks(
    [DistilledEstimator(*pair, random_state=0) for pair in CLASSIFIERS], expected_failed_checks=expected_failures
)
def test_scikit_learn_check_with_pairs_of_folds(estimator: Any, check: Any) -> None:
    try:
        check(estimator)
    except (ValueError, AssertionError) as error:
        if "the teacher of that pair would never see it" not in f"{error} {error.__cause__}":
            raise
        pytest.skip("the check's data hold a class of one or two rows, which pairs of folds refuse")


def search(pair: tuple[Any, Any], space: dict[str, list[Any]]) -> DistillationSearchCV:
    model = DistilledEstimator(*pair, alpha=0.5, random_state=0)
    return DistillationSearchCV(model, space, teacher_space={}, n_trials=2, random_state=0)


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks(
    [
        search(CLASSIFIERS[0], {"student__C": [0.1, 10.0]}),
        search(REGRESSORS[0], {"student__alpha": [0.1, 10.0]}),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_check_of_a_search(estimator: Any, check: Any) -> None:
    try:
        check(estimator)
    except (ValueError, AssertionError) as error:
        if "the teacher of that pair would never see it" not in f"{error} {error.__cause__}":
            raise
        pytest.skip("the check's data hold a class of one or two rows, which pairs of folds refuse")


def blend(pairs: list[tuple[Any, Any]]) -> BlendedEstimator:
    members = [("first", pairs[0]), ("second", pairs[1])]
    return BlendedEstimator([(name, DistilledEstimator(*pair, alpha=0.5)) for name, pair in members], random_state=0)


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks([blend(CLASSIFIERS), blend(REGRESSORS)], expected_failed_checks=expected_failures)
def test_scikit_learn_check_of_a_blend(estimator: Any, check: Any) -> None:
    try:
        check(estimator)
    except (ValueError, AssertionError) as error:
        if "the teacher of that pair would never see it" not in f"{error} {error.__cause__}":
            raise
        pytest.skip("the check's data hold a class of one or two rows, which pairs of folds refuse")


def mutual(peers: list[Any]) -> MutualDistilledEstimator:
    return MutualDistilledEstimator([("first", peers[0]), ("second", peers[1])], alpha=0.5, cv=4, random_state=0)


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks(
    [
        mutual([LogisticRegression(), DecisionTreeClassifier()]),
        mutual([Ridge(), DecisionTreeRegressor()]),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_check_of_peers(estimator: Any, check: Any) -> None:
    try:
        check(estimator)
    except (ValueError, AssertionError) as error:
        if "the teacher of that pair would never see it" not in f"{error} {error.__cause__}":
            raise
        pytest.skip("the check's data hold a class of one or two rows, which pairs of folds refuse")


SELECTORS = [
    FeatureBudgetSelector(LogisticRegression(), cv=3, random_state=0),
    FeatureBudgetSelector(DistilledEstimator(*CLASSIFIERS[2], alpha=0.5), n_features=1, random_state=0),
    FeatureBudgetSelector(DistilledEstimator(*REGRESSORS[0]), max_cost=1, random_state=0),
    SelectPrivileged(random_state=0),
]


def unequal_weights(estimator: Any) -> dict[str, str]:
    equal = "check_sample_weight_equivalence_on_dense_data"
    alone = isinstance(estimator, FeatureBudgetSelector) and isinstance(estimator.estimator, LogisticRegression)
    return {equal: "columns are shuffled among the rows, and rows given twice are shuffled otherwise"} if alone else {}


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks(SELECTORS, expected_failed_checks=unequal_weights)
def test_scikit_learn_check_of_a_selector(estimator: Any, check: Any) -> None:
    try:
        check(estimator)
    except (ValueError, AssertionError) as error:
        if "the teacher of that pair would never see it" not in f"{error} {error.__cause__}":
            raise
        pytest.skip("the check's data hold a class of one or two rows, which pairs of folds refuse")

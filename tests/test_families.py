"""What is known of each library of models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

from tabkd import DistilledEstimator
from tabkd._compat import clone_estimator, last_step, optional_import, seeded
from tabkd.encodings import encoding_for
from tabkd.families import cat_columns, family, limit_threads, pop_class_weight, quiet, stops_early
from tabkd.twins import booster_twin, classifier_of, regressor_of


class MyBooster(LGBMClassifier):
    """A user's own subclass."""


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (LGBMClassifier(), "lightgbm"),
        (XGBRegressor(), "xgboost"),
        (CatBoostClassifier(), "catboost"),
        (RandomForestClassifier(), "sklearn"),
        (MyBooster(), "lightgbm"),
    ],
    ids=["LightGBM", "XGBoost", "CatBoost", "forest", "subclass"],
)
def test_family_is_the_library_of_the_class_or_its_bases(estimator, expected):
    assert family(estimator) == expected


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (LGBMClassifier(), "ordinal"),
        (CatBoostClassifier(), "ordinal"),
        (CatBoostClassifier(cat_features=["city"]), "catboost"),
        (XGBClassifier(), "ordinal"),
        (XGBClassifier(enable_categorical=True), "category"),
        (RandomForestClassifier(), "ordinal"),
        (LogisticRegression(), "onehot"),
        (KNeighborsRegressor(), "onehot"),
        (MLPRegressor(), "onehot"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "table"),
        (GridSearchCV(make_pipeline(LogisticRegression()), {}), "table"),
        (GridSearchCV(LogisticRegression(), {}), "onehot"),
        (CalibratedClassifierCV(LogisticRegression()), "onehot"),
        (BaggingClassifier(LogisticRegression()), "onehot"),
        (MultiOutputRegressor(TransformedTargetRegressor(Ridge())), "onehot"),
        (VotingClassifier([("line", LogisticRegression()), ("trees", LGBMClassifier())]), "onehot"),
        (StackingClassifier([("trees", LGBMClassifier())], final_estimator=LogisticRegression()), "ordinal"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_encoding_follows_the_model(estimator, expected):
    assert encoding_for(estimator) == expected


def test_last_step_looks_through_searches_and_pipelines():
    model = LogisticRegression()
    assert last_step(GridSearchCV(make_pipeline(StandardScaler(), model), {})) is model


def test_catboost_with_cat_features_survives_cloning():
    copy = clone_estimator(CatBoostClassifier(cat_features=["city"], depth=3))
    assert copy.get_params() == {"cat_features": ["city"], "depth": 3}


def test_cloned_catboost_shares_no_list_with_the_original():
    original = CatBoostClassifier(cat_features=["city"])
    clone_estimator(original).get_params()["cat_features"].append("age")
    assert original.get_params()["cat_features"] == ["city"]


def test_catboost_with_cat_features_survives_cloning_inside_a_pipeline():
    copy = clone_estimator(make_pipeline(StandardScaler(), CatBoostClassifier(cat_features=["city"])))
    assert last_step(copy).get_params()["cat_features"] == ["city"]


def test_clone_takes_no_fitted_state_along(numbers, two):
    model = CatBoostClassifier(n_estimators=2, cat_features=[], verbose=False, allow_writing_files=False)
    model.fit(numbers, two)
    assert not clone_estimator(model).is_fitted()


def test_cat_features_are_found_inside_a_search():
    assert cat_columns(GridSearchCV(LGBMClassifier(), {})) == []
    assert cat_columns(CatBoostClassifier(cat_features="city")) == ["city"]


def test_cat_features_given_as_an_array_are_read():
    assert cat_columns(CatBoostClassifier(cat_features=np.array([0, 2]))) == [0, 2]


@pytest.mark.parametrize(
    ("estimator", "name"),
    [(CatBoostClassifier(), "random_seed"), (CatBoostClassifier(random_state=1), "random_state")],
)
def test_catboost_is_seeded_under_the_name_in_use(estimator, name):
    assert seeded(estimator, 7).get_params()[name] == 7


def test_every_part_of_a_pipeline_is_seeded():
    model = seeded(make_pipeline(RandomForestClassifier(), LogisticRegression()), 7)
    assert [step.random_state for _, step in model.steps] == [7, 7]


def test_no_seed_leaves_the_models_own():
    assert seeded(RandomForestClassifier(random_state=3), None).random_state == 3


def test_catboost_stays_silent_unless_told_otherwise():
    params = quiet(CatBoostClassifier()).get_params()
    assert (params["verbose"], params["allow_writing_files"]) == (False, False)


def test_verbosity_that_the_user_set_stays():
    assert "verbose" not in quiet(CatBoostClassifier(logging_level="Info")).get_params()


def test_boosters_share_the_cores():
    assert limit_threads(LGBMClassifier(), 2).n_jobs == 2
    assert limit_threads(CatBoostClassifier(), 2).get_params()["thread_count"] == 2


def test_threads_that_the_user_set_stay():
    assert limit_threads(LGBMClassifier(n_jobs=3), 2).n_jobs == 3


@pytest.mark.parametrize(
    "estimator",
    [
        LGBMClassifier(early_stopping_round=5),
        LGBMClassifier(early_stopping_rounds=5),
        LGBMClassifier(n_iter_no_change=5),
        XGBClassifier(early_stopping_rounds=5),
        CatBoostClassifier(early_stopping_rounds=5),
        CatBoostClassifier(od_type="Iter"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_name_of_early_stopping_is_known(estimator):
    assert stops_early(estimator)


@pytest.mark.parametrize("estimator", [LGBMClassifier(), XGBClassifier(), CatBoostClassifier(), LogisticRegression()])
def test_models_without_early_stopping_need_no_validation_rows(estimator):
    assert not stops_early(estimator)


@pytest.mark.parametrize(
    ("estimator", "kind", "expected"),
    [
        (LGBMClassifier(num_leaves=7), "Regressor", LGBMRegressor),
        (XGBClassifier(max_depth=2), "Regressor", XGBRegressor),
        (CatBoostClassifier(depth=2), "Regressor", CatBoostRegressor),
        (LGBMRegressor(num_leaves=7), "Classifier", LGBMClassifier),
        (CatBoostRegressor(depth=2), "Classifier", CatBoostClassifier),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_booster_twin_keeps_the_parameters(estimator, kind, expected):
    twin = booster_twin(estimator, kind)
    assert type(twin) is expected
    own = {"num_leaves", "max_depth", "depth"} & estimator.get_params().keys()
    assert {name: twin.get_params()[name] for name in own} == {name: estimator.get_params()[name] for name in own}


def test_booster_twin_drops_the_objective_and_its_metric():
    twin = booster_twin(CatBoostClassifier(loss_function="Logloss", eval_metric="AUC"), "Regressor")
    assert (twin.get_params()["loss_function"], twin.get_params().get("eval_metric")) == ("RMSE", None)


def test_booster_twin_leaves_the_estimator_as_it_was():
    estimator = LGBMClassifier(objective="binary")
    booster_twin(estimator, "Regressor", objective="cross_entropy")
    assert estimator.objective == "binary"


def test_booster_twin_of_the_same_kind_keeps_the_users_class():
    assert type(booster_twin(MyBooster(), "Classifier")) is MyBooster


def test_catboost_class_weights_do_not_reach_a_regressor():
    weighted = {"class_weights": [1, 2], "auto_class_weights": "Balanced", "scale_pos_weight": 3.0}
    for name, value in weighted.items():
        twin = booster_twin(CatBoostClassifier(**{name: value}), "Regressor")
        assert name not in twin.get_params()


@pytest.mark.parametrize(
    ("regressor", "expected"),
    [
        (LGBMRegressor(num_leaves=7), LGBMClassifier),
        (Ridge(), LogisticRegression),
        (HistGradientBoostingRegressor(max_iter=7), HistGradientBoostingClassifier),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_regressor_has_a_classifier_of_its_family(regressor, expected):
    assert type(classifier_of(regressor)) is expected


def test_classifier_of_a_regressor_carries_shared_parameters_over():
    assert classifier_of(HistGradientBoostingRegressor(max_iter=7, max_depth=2)).get_params()["max_iter"] == 7


def test_classifier_of_a_pipeline_keeps_its_steps():
    twin = classifier_of(make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=2)))
    assert [name for name, _ in twin.steps] == ["standardscaler", "decisiontreeregressor"]
    assert type(last_step(twin)).__name__ == "DecisionTreeClassifier"


def test_regressor_without_a_probabilistic_classifier_has_none():
    assert classifier_of(SVR()) is None or hasattr(classifier_of(SVR()), "predict_proba")


def test_classifier_without_a_regressor_twin_is_refused_with_the_fix():
    with pytest.raises(ValueError, match="RandomForestRegressor"):
        regressor_of(RandomForestClassifier())


CODES = np.array([0] * 30 + [1] * 10)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (LogisticRegression(class_weight="balanced"), [40 / 60, 40 / 20]),
        (LogisticRegression(class_weight={0: 1.0, 1: 5.0}), [1, 5]),
        (LGBMClassifier(class_weight={1: 5.0}), [1, 5]),
        (LGBMClassifier(is_unbalance=True), [1, 3]),
        (LGBMClassifier(scale_pos_weight=4.0), [1, 4]),
        (XGBClassifier(scale_pos_weight=4.0), [1, 4]),
        (CatBoostClassifier(class_weights=[2, 3]), [2, 3]),
        (CatBoostClassifier(class_weights={0: 2, 1: 3}), [2, 3]),
        (CatBoostClassifier(class_weights=np.array([2.0, 3.0])), [2, 3]),
        (CatBoostClassifier(auto_class_weights="Balanced"), [1, 3]),
        (CatBoostClassifier(auto_class_weights="SqrtBalanced"), [1, np.sqrt(3)]),
    ],
    ids=[
        *("sklearn balanced", "sklearn dict", "lightgbm dict", "lightgbm is_unbalance", "lightgbm scale_pos_weight"),
        *("xgboost scale_pos_weight", "catboost list", "catboost dict", "catboost array", "catboost Balanced"),
        "catboost SqrtBalanced",
    ],
)
def test_class_weights_are_taken_out_of_the_model(estimator, expected):
    bare, weights = pop_class_weight(estimator, CODES, np.array([0, 1]), None)
    np.testing.assert_allclose(weights, expected)
    assert pop_class_weight(bare, CODES, np.array([0, 1]), None)[1] is None


@pytest.mark.parametrize("estimator", [LGBMClassifier(), XGBClassifier(), CatBoostClassifier(), LogisticRegression()])
def test_no_class_weights_are_none(estimator):
    assert pop_class_weight(estimator, CODES, np.array([0, 1]), None)[1] is None


def test_missing_optional_package_names_its_extra():
    with pytest.raises(ImportError, match=r"A thing needs nowhere: pip install 'tabkd\[polars\]'"):
        optional_import("nowhere.at.all", needed_by="A thing", extra="polars")


@pytest.mark.parametrize("student", [DecisionTreeClassifier(max_depth=3), RandomForestClassifier(3)], ids=str)
def test_trees_read_one_column_with_gaps(student) -> None:
    X = pd.DataFrame({"i": pd.array([1, 2, None] * 100, dtype="Int64"), "n": np.arange(300.0)})
    model = DistilledEstimator(LGBMClassifier(n_estimators=3, verbose=-1), student, student_features=["i"], alpha=0.5)
    assert model.fit(X, np.arange(300) % 2).predict(X[["i"]]).shape == (300,)

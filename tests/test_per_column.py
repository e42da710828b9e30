"""Parameters that name or number columns, where a selector drops some and where imputed ones are added."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_selection import SelectorMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

import tabkd.recipe
from tabkd import DistilledEstimator, FeatureBudgetSelector
from tabkd.targets import one_hot

#: On these small tables a teacher may be no help, which an estimator with a number for alpha says.
pytestmark = pytest.mark.filterwarnings("ignore:With alpha=")


class WithoutFirst(SelectorMixin, BaseEstimator):
    """Drops the first column, whatever it is."""

    def fit(self, X, y=None):
        self.n_columns_ = X.shape[1]
        return self

    def _get_support_mask(self):
        return np.arange(self.n_columns_) > 0


def lgbm(**params):
    return LGBMClassifier(n_estimators=10, n_jobs=1, verbose=-1, **params)


def catboost(**params):
    return CatBoostClassifier(
        iterations=10, thread_count=1, verbose=False, allow_writing_files=False, random_seed=0, **params
    )


def xgboost(**params):
    return XGBClassifier(n_estimators=10, n_jobs=1, **params)


def hgb(**params):
    return HistGradientBoostingClassifier(max_iter=10, **params)


def without_first(student, X, y):
    """A student without the first column of ``X``, fitted to given soft targets, so that no teacher is."""
    model = DistilledEstimator(
        LogisticRegression(), student, student_features=WithoutFirst(), alpha=0.5, cross_fit="folds"
    )
    return model.fit(X, y, soft_targets=0.8 * one_hot(y, 2) + 0.1)


def only(model):
    """The one estimator that a fitted model ships."""
    return model.student_.estimators_[0]


# ---------------------------------------------------------------- columns are dropped


@pytest.mark.parametrize(
    "student",
    [
        catboost(monotone_constraints=[0, -1, 0, 0]),
        catboost(monotone_constraints={1: -1}),
        xgboost(monotone_constraints=(0, -1)),
        xgboost(monotone_constraints={"d": 1, "a": -1}),
        lgbm(monotone_constraints=[0, -1, 0, 0]),
        hgb(monotonic_cst=np.array([0, -1, 0, 0])),
        hgb(monotonic_cst={"d": 1, "a": -1}),
        DecisionTreeClassifier(max_depth=4, monotonic_cst=[0, -1, 0, 0]),
        GridSearchCV(hgb(monotonic_cst=[0, -1, 0, 0]), {"max_depth": [2]}, cv=2),
    ],
    ids=lambda student: type(student).__name__,
)
def test_constraint_stays_with_its_column(numbers, two, student):
    model = without_first(student, numbers[["d", "a", "b", "c"]], two)
    line = pd.DataFrame(0.0, index=range(50), columns=["a", "b", "c"])
    falling, rising = (model.predict_proba(line.assign(**{name: np.linspace(-2, 2, 50)}))[:, 1] for name in "ab")
    assert (np.diff(falling) <= 1e-9).all()
    assert rising[-1] > rising[0]


@pytest.mark.parametrize("categorical", [["d", "city"], [0, 2], [True, False, True, False, False]], ids=str)
def test_category_stays_the_column_that_it_was(mixed, two, categorical):
    X = mixed[["d", "a", "city", "b", "c"]].assign(d=np.arange(400) % 3)
    model = without_first(hgb(categorical_features=categorical), X, two)
    assert only(model).is_categorical_.tolist() == [False, True, False, False]


def test_interactions_stay_among_their_columns(numbers, two):
    model = without_first(hgb(interaction_cst=[[0, 1], [0], [2, 3]]), numbers, two)
    assert only(model).interaction_cst == [[0], [1, 2]]


def test_name_inside_a_pipeline_stays(numbers, two):
    constrained = hgb(monotonic_cst={"a": -1})
    student = make_pipeline(StandardScaler().set_output(transform="pandas"), constrained)
    assert only(without_first(student, numbers[["d", "a", "b", "c"]], two)).monotonic_cst == {"a": -1}


@pytest.mark.parametrize(
    "student",
    [hgb(categorical_features=["city"]), DecisionTreeClassifier(max_depth=3, monotonic_cst=[1, 1, 0, 0, 0])],
    ids=["named", "listed"],
)
def test_elimination_may_drop_a_column_that_a_parameter_speaks_of(mixed, student):
    y = (mixed["a"] + mixed["b"] > 0).astype(int)
    assert FeatureBudgetSelector(student, n_features=1, random_state=0).fit(mixed, y).support_.sum() == 1


# ---------------------------------------------------------------- imputed columns are added


@pytest.mark.parametrize(
    ("student", "parameter", "longer"),
    [
        (lgbm(monotone_constraints=[1, 0]), "monotone_constraints", [1, 0, 0]),
        (hgb(monotonic_cst=[1, 0]), "monotonic_cst", [1, 0, 0]),
        (hgb(categorical_features=[False, True]), "categorical_features", [False, True, False]),
    ],
    ids=["lightgbm", "sklearn", "mask"],
)
def test_nothing_is_asked_of_an_imputed_column(numbers, two, student, parameter, longer):
    X = numbers[["a", "b"]].assign(b=numbers["b"].round(), late=numbers["a"] + numbers["b"])
    model = DistilledEstimator(LogisticRegression(), student, student_features=["a", "b"], alpha=0.0, random_state=0)
    fitted = only(model.set_params(impute=["late"]).fit(X, two))
    assert list(fitted.get_params()[parameter]) == longer


def test_nothing_becomes_a_category_where_those_that_were_are_dropped(mixed, two):
    X = mixed[["city", "a", "b"]].assign(late=mixed["a"] + mixed["b"])
    selector = FeatureBudgetSelector(n_features=2, features=["city", "a", "b"])
    student = hgb(categorical_features=["city"])
    model = DistilledEstimator(LogisticRegression(), student, student_features=selector, alpha=0.0, random_state=0)
    assert only(model.set_params(impute=["late"]).fit(X, two)).is_categorical_ is None


# ---------------------------------------------------------------- what cannot follow


@pytest.mark.parametrize(
    ("student", "message"),
    [
        (
            lgbm(monotone_constraints="0,1,0,0"),
            "monotone_constraints='0,1,0,0' is text.*Give a list, or a dict by name",
        ),
        (xgboost(monotone_constraints=(0, 1, 0, 0, 0)), "has 5 values, but the model has 4 columns. Give one for each"),
        (
            make_pipeline(StandardScaler(), xgboost(monotone_constraints=(0, 1))),
            r"xgbclassifier__monotone_constraints=\(0, 1\) counts columns behind the steps of a Pipeline.*Name them",
        ),
        (
            make_pipeline(make_column_transformer((StandardScaler(), [0, 2])), LogisticRegression()),
            r"ColumnTransformer takes the columns \[0, 2\] by position.*Give their names",
        ),
    ],
    ids=["text", "long", "pipeline", "transformer of columns"],
)
@pytest.mark.parametrize("alone", [True, False])
def test_what_cannot_follow_is_refused_before_a_teacher_is_fitted(numbers, two, monkeypatch, student, message, alone):
    monkeypatch.setattr(tabkd.recipe, "cross_fit_teacher", None)
    selector = None if alone else FeatureBudgetSelector(n_features=2)
    model = DistilledEstimator(LogisticRegression(), student, student_features=selector, alpha=0.5)
    with pytest.raises(ValueError, match=message):
        (FeatureBudgetSelector(model, n_features=2) if alone else model).fit(numbers, two)

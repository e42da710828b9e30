"""Budgets of columns: chosen by the honest score, within what they may cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_predict,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import tabkd.recipe
from tabkd import DistilledEstimator, FeatureBudgetSelector
from tabkd.columns import ColumnEncoder
from tabkd.elimination import Elimination
from tabkd.recipe import Recipe
from tabkd.rows import read_rows

#: On these small tables a teacher may be no help, which an estimator with a number for alpha says.
pytestmark = pytest.mark.filterwarnings("ignore:With alpha=")


def lgbm(cls=LGBMClassifier, **params):
    return cls(**{"n_estimators": 10, "num_leaves": 7, "learning_rate": 0.3, "n_jobs": 1, "verbose": -1, **params})


def linear():
    return make_pipeline(StandardScaler(), LogisticRegression())


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(return_X_y=True, as_frame=True)


@pytest.fixture(scope="module")
def known():
    """Six columns: ``strong`` and ``weak`` decide the label, ``copy`` repeats ``strong``, three are noise."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(400, 6)), columns=["noise1", "strong", "noise2", "weak", "copy", "noise3"])
    X["copy"] = X["strong"] + 0.01 * rng.normal(size=400)
    y = (2 * X["strong"] + X["weak"] + rng.logistic(size=400) * 0.5 > 0).to_numpy().astype(int)
    return X, y


def chosen(X, y, estimator=None, **params):
    selector = FeatureBudgetSelector(linear() if estimator is None else estimator, **{"random_state": 0, **params})
    return selector.fit(X, y)


# ---------------------------------------------------------------- what is chosen


def test_columns_that_matter_are_chosen(known):
    names = set(chosen(*known, n_features=2).get_feature_names_out())
    assert names in ({"strong", "weak"}, {"copy", "weak"})


def test_without_a_budget_the_cheapest_set_within_an_error_of_the_best_is_chosen(known):
    selector = chosen(*known)
    frontier = selector.frontier_
    good = frontier[frontier["score"].max() - frontier["score"] <= frontier["standard_error"]]
    assert frontier["cost"].iloc[selector.best_index_] == good["cost"].min()
    assert not selector.get_support()[[0, 2, 5]].any()


def test_frontier_leads_from_all_columns_to_the_budget(cancer):
    X, y = cancer
    frontier = chosen(X, y, lgbm(), n_features=6).frontier_
    assert list(frontier.columns) == ["n_features", "cost", "score", "standard_error", "columns"]
    assert frontier["n_features"].iloc[[0, -1]].tolist() == [30, 6]
    assert all(set(b) < set(a) for a, b in zip(frontier["columns"][:-1], frontier["columns"][1:], strict=True))


def test_scores_are_those_of_students_fitted_to_these_columns(cancer):
    X, y = cancer
    cv = StratifiedKFold(5, shuffle=True, random_state=0)
    frontier = chosen(X, y, lgbm(), n_features=8, cv=cv).frontier_
    for _, row in frontier.iterrows():
        table = X[row["columns"]].astype(np.float32)
        proba = cross_val_predict(lgbm(random_state=0), table, y, cv=cv, method="predict_proba")
        assert row["score"] == pytest.approx(-log_loss(y, proba), rel=1e-9)


def test_standard_errors_are_paired_with_the_best(cancer):
    X, y = cancer
    cv = StratifiedKFold(5, shuffle=True, random_state=0)
    frontier = chosen(X, y, lgbm(), n_features=8, cv=cv).frontier_
    best, first = frontier["score"].idxmax(), 0

    def gains(columns):
        table = X[columns].astype(np.float32)
        proba = cross_val_predict(lgbm(random_state=0), table, y, cv=cv, method="predict_proba")
        return np.log(proba[np.arange(len(y)), y])

    difference = gains(frontier["columns"][best]) - gains(frontier["columns"][first])
    assert frontier["standard_error"][best] == 0
    expected = difference.std(ddof=1) / np.sqrt(len(y))
    assert frontier["standard_error"][first] == pytest.approx(expected, rel=1e-6)


def test_dear_columns_give_way_to_cheap_ones(known):
    X, y = known
    costs = dict.fromkeys(X, 1.0) | {"strong": 5.0}
    assert set(chosen(X, y, max_cost=2, costs=costs).get_feature_names_out()) == {"copy", "weak"}
    assert set(chosen(X, y, max_cost=2, costs=costs | {"copy": 9, "strong": 1}).get_feature_names_out()) == {
        "strong",
        "weak",
    }


def test_chosen_columns_cost_no_more_than_they_may(cancer):
    X, y = cancer
    costs = 1 + np.arange(30) % 4
    selector = chosen(X, y, lgbm(), max_cost=11, costs=costs)
    assert costs[selector.support_].sum() == selector.frontier_["cost"].iloc[-1] <= 11


def test_columns_that_went_but_still_fit_come_back():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(500, 3)), columns=["strong", "dear", "small"])
    y = (3 * X["strong"] + 1.5 * X["dear"] + 0.5 * X["small"] + rng.logistic(size=500) * 0.3 > 0).to_numpy()
    selector = chosen(X, y, max_cost=3, costs={"strong": 2, "dear": 2.9, "small": 1})
    assert selector.frontier_["columns"].tolist()[1:] == [["strong", "dear"], ["strong", "small"]]


def test_a_column_that_alone_is_too_dear_goes_first_however_good(known):
    X, y = known
    X = X.drop(columns=["copy", "noise3"])
    selector = chosen(X, y, max_cost=1, costs={"noise1": 1, "strong": 2, "noise2": 1, "weak": 1})
    assert "strong" not in selector.frontier_["columns"][1]
    assert selector.get_feature_names_out().tolist() == ["weak"]


@pytest.mark.parametrize("dear", ["strong", "copy"])
def test_of_equally_important_columns_the_dearer_ranks_last(known, dear):
    X, y = known
    rows = read_rows(X, y, None, None, regression=False)
    recipe = Recipe(DistilledEstimator(linear(), linear(), alpha=1.0, random_state=0), rows)
    budget = FeatureBudgetSelector(costs=dict.fromkeys(X, 1) | {dear: 2})._budget(rows.X, range(6))
    elimination = Elimination(recipe, budget)
    order = [X.columns[i] for i in elimination._least_first(elimination.full)]
    cheap = {"strong": "copy", "copy": "strong"}[dear]
    assert order.index(dear) < order.index(cheap)


def test_free_columns_stay(known):
    X, y = known
    costs = dict.fromkeys(X, 1.0) | {"noise2": 0}
    assert chosen(X, y, max_cost=1, costs=costs).get_support()[2]


def test_costs_are_added_up_without_the_errors_of_floats(known):
    X, y = known
    assert chosen(X, y, features=["strong", "weak"], max_cost=0.3, costs=[0.1, 0.1, 0.1, 0.2, 1, 1]).support_.sum() == 2


def test_budget_of_all_columns_keeps_them(known):
    assert chosen(*known, n_features=6).get_support().all()


def test_features_limit_the_choice(known):
    X, y = known
    selector = chosen(X, y, n_features=1, features=["noise1", "weak"])
    assert selector.get_feature_names_out().tolist() == ["weak"]
    assert selector.get_support().shape == (6,)


def test_students_columns_of_the_estimator_limit_the_choice(known):
    model = DistilledEstimator(lgbm(), linear(), student_features=["noise1", "weak", "noise2"], alpha=0.5)
    assert chosen(*known, model, n_features=1).get_feature_names_out().tolist() == ["weak"]


# ---------------------------------------------------------------- how


def test_no_step_fits_a_teacher(cancer, monkeypatch):
    taught = []
    plain = tabkd.recipe.cross_fit_teacher
    monkeypatch.setattr(tabkd.recipe, "cross_fit_teacher", lambda *a, **k: taught.append(1) or plain(*a, **k))
    chosen(*cancer, DistilledEstimator(lgbm(), lgbm(), alpha=0.5), n_features=4)
    assert len(taught) == 1


def test_students_are_scored_as_the_estimator_scores_them(cancer):
    X, y = cancer
    model = DistilledEstimator(lgbm(), lgbm(), alpha=0.25, random_state=0)
    frontier = chosen(X, y, model, n_features=10).frontier_
    assert frontier["score"][0] == pytest.approx(clone(model).fit(X, y).student_score_, rel=1e-9)


@pytest.mark.parametrize("alpha", [0.25, 1.0])
@pytest.mark.parametrize("more", ["munge", "unlabelled rows", "imputed columns"])
def test_students_are_scored_with_the_rows_and_imputed_columns_that_they_learn_from(cancer, more, alpha):
    X, y = cancer[0].iloc[:, [0, 1, 4, 6, 23]], cancer[1]
    settings = {"munge": {"transfer": "munge"}, "imputed columns": {"impute": ["worst area"]}}.get(more, {})
    given = {"X_unlabeled": X[250:]} if more == "unlabelled rows" else {}
    model = DistilledEstimator(
        lgbm(), lgbm(n_estimators=5), student_features=X.columns[:4], alpha=alpha, random_state=0, **settings
    )
    selector = FeatureBudgetSelector(model, n_features=3).fit(X[:250], y[:250], **given)
    few = model.set_params(student_features=selector).fit(X[:250], y[:250], **given)
    assert selector.score_ == pytest.approx(few.student_score_, rel=1e-9)


def test_with_alpha_auto_the_student_that_is_best_on_all_columns_is_followed(cancer):
    X, y = cancer
    model = DistilledEstimator(lgbm(), lgbm(), random_state=0)
    first = chosen(X, y, model, n_features=25).frontier_["score"][0]
    assert any(first == pytest.approx(score) for score in clone(model).fit(X, y).alpha_scores_.values())


def test_under_a_budget_a_third_of_the_columns_goes_at_once(cancer):
    assert chosen(*cancer, lgbm(), n_features=3).frontier_["n_features"].tolist() == [30, 20, 14, 10, 7, 5, 4, 3]


def test_without_a_budget_several_columns_go_at_once_within_an_error_of_the_best_only():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    cv = KFold(5, shuffle=True, random_state=0)
    frontier = chosen(X, y, Ridge(alpha=0.01), cv=cv).frontier_
    losses = [
        (y - cross_val_predict(Ridge(alpha=0.01), X[names].astype(np.float32), y, cv=cv)) ** 2
        for names in frontier["columns"]
    ]
    sizes, best = frontier["n_features"], losses[0]
    for i in range(1, len(frontier)):
        fall = losses[i] - best
        within = fall.mean() <= fall.std(ddof=1) / np.sqrt(len(y))
        assert within or sizes[i - 1] - sizes[i] == 1
        best = min(best, losses[i], key=np.mean)
    assert sizes.tolist()[:2] == [10, 7]
    assert (np.diff(sizes) == -1).sum() > 1


def test_shuffling_noise_costs_the_student_nothing_and_shuffling_a_signal_much(known):
    X, y = known
    rows = read_rows(X, y, None, None, regression=False)
    recipe = Recipe(DistilledEstimator(linear(), linear(), alpha=1.0, random_state=0), rows)
    everything = FeatureBudgetSelector()._budget(rows.X, range(6))
    elimination = Elimination(recipe, everything)
    importances = elimination.importances(elimination.full)
    assert importances[[0, 2, 5]].max() < 0.02
    assert importances[[1, 3, 4]].min() > 0.1


def test_importances_of_large_tables_are_measured_on_some_rows_part_by_part(known, monkeypatch):
    X, y = known
    monkeypatch.setattr("tabkd.elimination._SHUFFLED", 300)
    monkeypatch.setattr("tabkd.elimination._CELLS", 500)
    names = set(chosen(X, y, n_features=2).get_feature_names_out())
    assert names in ({"strong", "weak"}, {"copy", "weak"})


def test_same_seed_chooses_the_same(cancer):
    X, y = cancer
    first, second = (chosen(X, y, lgbm(), n_features=11) for _ in range(2))
    pd.testing.assert_frame_equal(first.frontier_, second.frontier_)


def test_scores_of_labels_are_taken_at_their_best_threshold(known):
    X, y = known
    model = DistilledEstimator(linear(), linear(), alpha=1.0, scoring="f1_macro", threshold="f1_macro", random_state=0)
    selector = chosen(X, y, model, n_features=5)
    assert selector.frontier_["score"][0] == pytest.approx(clone(model).fit(X, y).alpha_scores_["control"])


# ---------------------------------------------------------------- rows, targets and tables


def test_weights_reach_the_choice(known):
    X, y = known
    X = X.drop(columns="copy")
    first = np.arange(len(y)) < 200
    labels = np.where(first, X["noise1"] > 0, y)  # rows of one half follow another column
    selectors = [FeatureBudgetSelector(linear(), n_features=1, random_state=0) for _ in range(2)]
    names = [
        selector.fit(X, labels, sample_weight=np.where(heavy, 50.0, 1.0)).get_feature_names_out().tolist()
        for selector, heavy in zip(selectors, (first, ~first), strict=True)
    ]
    assert names == [["noise1"], ["strong"]]


def test_rows_of_a_group_stay_in_one_fold(known):
    X, y = known
    groups = np.arange(len(y)) // 2
    rng = np.random.default_rng(0)
    # Of no use for new groups, but within a group the label is the other row's.
    X = X.assign(identity=np.repeat(rng.normal(size=200), 2))
    y = np.repeat(y[::2], 2)
    selector = FeatureBudgetSelector(lgbm(n_estimators=30, min_child_samples=1), n_features=1, cv=GroupKFold(5))
    assert selector.fit(X, y, groups=groups).get_feature_names_out().tolist() != ["identity"]


def test_more_than_two_classes():
    X, y = load_iris(return_X_y=True, as_frame=True)
    assert all("petal" in name for name in chosen(X, y, n_features=2).get_feature_names_out())


def test_regression_with_a_teacher():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = DistilledEstimator(lgbm(LGBMRegressor), Ridge(alpha=0.01), alpha=0.5)
    assert {"bmi", "s5"} <= set(chosen(X, y, model, n_features=4).get_feature_names_out())


def test_several_outputs():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    targets = np.column_stack([y, -2 * y])
    assert chosen(X, targets, Ridge(alpha=0.01), n_features=3).get_support()[2]


@pytest.mark.parametrize("student", ["lightgbm", "catboost", "linear"])
def test_text_columns_are_chosen_as_columns(mixed, two, student):
    students = {
        "lightgbm": lgbm(categorical_feature=["city"]),
        "catboost": CatBoostClassifier(iterations=10, cat_features=["city"], thread_count=1),
        "linear": LogisticRegression(),
    }
    y = np.where(mixed["city"] == "Seoul", 1, np.where(mixed["a"] > 1, 1, 0))
    assert set(chosen(mixed, y, students[student], n_features=2).get_feature_names_out()) == {"a", "city"}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_numpy_and_polars_choose_what_pandas_does(cancer):
    polars = pytest.importorskip("polars")
    X, y = cancer
    expected = chosen(X, y, lgbm(), n_features=14).get_support()
    np.testing.assert_array_equal(chosen(X.to_numpy(), y, lgbm(), n_features=14).get_support(), expected)
    np.testing.assert_array_equal(chosen(polars.from_pandas(X), y, lgbm(), n_features=14).get_support(), expected)


def test_columns_by_position_have_costs_by_position(known):
    X, y = known
    costs = {0: 1, 1: 9, 2: 1, 3: 1, 4: 1, 5: 1}
    selector = chosen(X.to_numpy(), y, max_cost=2, costs=costs)
    assert selector.frontier_["columns"].iloc[-1] == [3, 4]


def test_pandas_output_keeps_the_table_of_the_chosen_columns(mixed, two):
    selector = chosen(mixed, two, lgbm(), n_features=3).set_output(transform="pandas")
    names = selector.get_feature_names_out()
    pd.testing.assert_frame_equal(selector.transform(mixed), mixed[names])


def test_repeated_folds_are_averaged(known):
    X, y = known
    cv = [split for seed in (0, 1) for split in StratifiedKFold(3, shuffle=True, random_state=seed).split(X, y)]
    single = [chosen(X, y, n_features=5, cv=cv[part]).frontier_["score"][0] for part in (slice(3), slice(3, 6))]
    assert chosen(X, y, n_features=5, cv=cv).frontier_["score"][0] == pytest.approx(np.mean(single))


# ---------------------------------------------------------------- inside an estimator


def inside(**params):
    selector = FeatureBudgetSelector(**{"n_features": 2, **params})
    tree = DecisionTreeClassifier(max_depth=4)
    return DistilledEstimator(lgbm(), tree, student_features=selector, alpha=0.5, random_state=0)


def test_selector_inside_an_estimator_chooses_its_students_columns(known):
    X, y = known
    model = inside().fit(X, y)
    assert len(model.student_features_) == 2
    assert model.predict_proba(X[model.student_features_]).shape == (400, 2)


def test_teacher_inside_may_read_columns_that_are_not_chosen_among(known):
    X, y = known
    names = list(X.columns)
    model = inside(features=names[:-1], n_features=2).set_params(teacher_features=names)
    assert len(model.fit(X, y).student_features_) == 2


def test_labels_of_a_fold_never_reach_the_choice_of_its_student(known):
    X, y = known
    folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, y))
    test = folds[0][1]
    changed = y.copy()
    changed[test] = y[test][::-1]
    assert (changed != y).sum() > 10
    with pytest.warns(UserWarning, match="Pairs of 3 folds"):
        before, after = (inside(n_features=4).set_params(cv=folds).fit(X, labels) for labels in (y, changed))
    np.testing.assert_array_equal(before.student_predictions_[test], after.student_predictions_[test])
    assert not np.array_equal(before.student_predictions_, after.student_predictions_)


def test_inside_no_teacher_is_fitted_to_choose(known, monkeypatch):
    taught = []
    plain = tabkd.recipe.cross_fit_teacher
    monkeypatch.setattr(tabkd.recipe, "cross_fit_teacher", lambda *a, **k: taught.append(1) or plain(*a, **k))
    inside(n_features=4).fit(*known)
    assert len(taught) == 1


def test_inside_only_deployable_columns_are_chosen_and_read(known):
    X, y = known
    model = inside(features=["noise1", "weak", "noise2"], n_features=1).fit(X, y)
    assert model.student_features_ == ["weak"]


def test_inside_costs_are_those_of_the_whole_table(known):
    X, y = known
    costs = dict(zip(X, [1, 5, 1, 1, 1, 1], strict=True))
    selector = {"n_features": None, "max_cost": 2, "features": ["weak", "copy", "strong"]}
    by_name = inside(**selector, costs=costs).fit(X, y)
    assert set(by_name.student_features_) == {"weak", "copy"}
    in_order = inside(**selector, costs=list(costs.values())).fit(X, y)
    assert in_order.student_features_ == by_name.student_features_


def test_inside_a_column_of_categories_is_one_column(mixed):
    y = np.where(mixed["city"] == "Seoul", 1, np.where(mixed["a"] > 1, 1, 0))
    model = inside().set_params(student=LogisticRegression()).fit(mixed, y)
    assert set(model.student_features_) == {"a", "city"}


def test_inside_weights_and_groups_reach_the_choice(known, monkeypatch):
    X, y = known
    seen = []
    plain = FeatureBudgetSelector.fit

    def fit(self, X, y, *, sample_weight=None, groups=None):
        seen.append((len(X), sample_weight.shape, groups.shape))
        return plain(self, X, y, sample_weight=sample_weight, groups=groups)

    monkeypatch.setattr(FeatureBudgetSelector, "fit", fit)
    inside(n_features=5).fit(X, y, sample_weight=np.ones(400), groups=np.arange(400) // 2)
    assert seen == [(rows, (rows,), (rows,)) for rows, _, _ in seen]


def test_inside_students_of_one_fold_share_the_choice(known, monkeypatch):
    fitted = []
    plain = FeatureBudgetSelector.fit
    monkeypatch.setattr(FeatureBudgetSelector, "fit", lambda self, *a, **k: fitted.append(1) or plain(self, *a, **k))
    model = inside(n_features=5).set_params(student=Ridge()).fit(*known)
    assert isinstance(model.student_.members[0].adapter.estimator, Ridge)
    assert len(fitted) == 5 + 2  # each fold, and all rows for student and control


def test_inside_a_split_of_the_whole_table_is_none_to_choose_by(known):
    model = inside(n_features=4).set_params(cv=PredefinedSplit(np.arange(400) % 4))
    assert len(model.fit(*known).student_features_) == 4


@pytest.mark.parametrize(
    ("cross_fit", "cv"), [("folds", TimeSeriesSplit(3)), ("holdout", ShuffleSplit(1, random_state=0))]
)
def test_inside_a_split_that_tests_some_rows_alone_is_none_to_choose_by(known, cross_fit, cv):
    model = inside(n_features=4).set_params(cv=cv, cross_fit=cross_fit)
    assert len(model.fit(*known).student_features_) == 4


def test_fitted_selector_is_taken_as_it_is(known):
    X, y = known
    selector = chosen(X, y, n_features=2)
    model = DistilledEstimator(lgbm(), lgbm(), student_features=selector, alpha=0.5, random_state=0).fit(X, y)
    assert model.student_features_ == selector.get_feature_names_out().tolist()


def test_one_hot_columns_become_the_categories_they_stand_for(mixed):
    encoder = ColumnEncoder.fit(mixed, range(5), "onehot")
    table = encoder.by_column(encoder.transform(mixed))
    assert table["city"].astype(object).where(table["city"].notna(), None).tolist() == mixed["city"].tolist()
    np.testing.assert_allclose(table["a"], mixed["a"], rtol=1e-6)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_features": 0}, "n_features must be a whole number from 1 to 6"),
        ({"n_features": 7}, "n_features must be a whole number from 1 to 6.*got 7. Try 3"),
        ({"n_features": 0.5}, "n_features must be a whole number"),
        ({"n_features": 4, "features": [0, 1, 2]}, "n_features must be a whole number from 1 to 3"),
        ({"n_features": 2, "max_cost": 3}, "n_features=2 and max_cost=3 are two budgets. Give one"),
        ({"max_cost": 0.5}, "max_cost=0.5 buys no column: the cheapest, 'noise1', costs 1. Raise"),
        ({"max_cost": float("nan")}, "buys no column"),
        ({"costs": {"weak": 1}}, r"costs has no cost of the columns \['noise1', 'strong'"),
        ({"costs": {"weka": 1}}, r"costs names unknown columns \['weka'\]. X has \['noise1'"),
        ({"costs": [1, 2]}, "costs has 2 numbers, but X has 6 columns"),
        ({"costs": [1, -2, 1, 1, 1, 1]}, "must be finite and not negative, but that of 'strong' is -2.0"),
        ({"costs": [1, 1, 1, np.inf, 1, 1]}, "that of 'weak' is inf. Leave a column that is out of reach out"),
        ({"features": ["weka"]}, r"names unknown columns \['weka'\]"),
        ({"scoring": "acuracy"}, "acuracy"),
    ],
)
def test_what_cannot_be_met_is_refused(known, params, message):
    with pytest.raises(ValueError, match=message):
        chosen(*known, **params)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (None, "estimator=None stands for the student of the DistilledEstimator"),
        (DistilledEstimator(lgbm(), lgbm(), cross_fit="folds", alpha=0.5), 'cross_fit="folds" has not. Use "pairs"'),
        (DistilledEstimator(lgbm(), lgbm(), student_features=SelectKBest()), "would choose columns too"),
    ],
)
def test_estimator_without_a_student_to_judge_is_refused(known, estimator, message):
    with pytest.raises(ValueError, match=message):
        FeatureBudgetSelector(estimator, n_features=2).fit(*known)


def test_inside_a_budget_is_checked_before_any_teacher_is_fitted(known, monkeypatch):
    monkeypatch.setattr(tabkd.recipe, "cross_fit_teacher", None)
    with pytest.raises(ValueError, match="from 1 to 6"):
        inside(n_features=7).fit(*known)


@pytest.mark.parametrize("budget", [{"n_features": 2}, {"n_features": None, "max_cost": 2}], ids=str)
def test_inside_an_ensemble_no_budget_can_be_kept(known, budget):
    with pytest.raises(ValueError, match=r"ensemble=True ships the students of all folds.*use ensemble=False"):
        inside(**budget).set_params(ensemble=True).fit(*known)

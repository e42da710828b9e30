"""Imputed columns in a fit: who gets them, and that no row of a scored fold reaches them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tabkd import DistilledEstimator, FeatureBudgetSelector, Impute
from tabkd.imputer import Imputer
from tabkd.runtime import OnnxPredictor

pytestmark = pytest.mark.filterwarnings("ignore:With alpha")

N = 400
FAST = {"n_estimators": 8, "num_leaves": 7, "verbose": -1, "n_jobs": 1, "random_state": 0}
SMALL = LGBMRegressor(n_estimators=5, num_leaves=6, n_jobs=1, verbose=-1)
OWN = ["a", "b", "c"]


@pytest.fixture(scope="module")
def table():
    """Own columns ``a``, ``b``, ``c``; privileged ``p``, a text ``q`` and noise ``r``."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(N, 3)), columns=OWN)
    p = frame["a"] * frame["b"] + rng.normal(scale=0.3, size=N)
    return frame.assign(p=p, q=np.where(p + frame["c"] > 0.5, "high", "low"), r=rng.normal(size=N))


@pytest.fixture(scope="module")
def labels(table):
    score = 2 * table["p"] + table["c"] + np.random.default_rng(1).normal(size=N)
    return (score > 0).to_numpy().astype(int)


def distilled(impute=("p", "q"), student=None, **settings):
    impute = Impute(list(impute) if isinstance(impute, tuple) else impute, SMALL, cv=3)
    student = LGBMClassifier(**FAST) if student is None else student
    return DistilledEstimator(
        LGBMClassifier(**FAST), student, student_features=OWN,
        **{"cv": 3, "alpha": 0.5, "random_state": 0, "impute": impute, **settings},
    )  # fmt: skip


def imputers(model):
    return [step for member in model.members for step in member.steps if isinstance(step, Imputer)]


SCORED = [
    {"impute": "all", "alpha": 0.5},
    {"impute": 1, "alpha": 1.0},
    {"impute": 1, "alpha": 0.0, "transfer": "munge", "generations": 2},
]


@pytest.mark.parametrize("settings", SCORED, ids=str)
def test_labels_and_privileged_values_of_a_fold_never_reach_the_student_scored_on_it(table, labels, settings):
    folds = list(StratifiedKFold(4, shuffle=True, random_state=0).split(table, labels))
    model = distilled(cv=folds, **settings)
    before = model.fit(table, labels).student_predictions_
    for _, test in folds[:2]:
        changed, others = table.copy(), labels.copy()
        others[test] = labels[test][::-1]
        for name in ("p", "q", "r"):
            changed.loc[test, name] = table.loc[test, name].to_numpy()[::-1]
        changed.loc[test, "p"] += 0.5  # a mean over all rows would move, too
        after = model.fit(changed, others).student_predictions_
        np.testing.assert_array_equal(before[test], after[test])
        assert (before != after).any()


@pytest.mark.filterwarnings("ignore:Pairs of 3 folds")
def test_the_control_reads_no_imputed_column(table, labels):
    model, plain = (distilled(impute=impute).fit(table, labels) for impute in (("p",), ("p", "q")))
    without = distilled().set_params(impute=None).fit(table, labels)
    assert not imputers(model.control_)
    np.testing.assert_array_equal(model.control_predictions_, without.control_predictions_)
    np.testing.assert_array_equal(plain.control_predictions_, without.control_predictions_)
    assert imputers(model.student_)


@pytest.mark.filterwarnings("ignore:Pairs of 3 folds")
def test_alpha_one_is_tried_beside_the_control(table, labels):
    model = distilled(alpha="auto").fit(table, labels)
    assert set(model.alpha_scores_) == {0.0, 0.25, 0.5, 1.0, "control"}


@pytest.mark.filterwarnings("ignore:Pairs of 3 folds")
def test_student_needs_its_own_columns_only(table, labels):
    model = distilled(ensemble=True).fit(table, labels)
    assert model.student_features_ == OWN
    np.testing.assert_array_equal(model.predict_proba(table[OWN]), model.predict_proba(table))
    assert len(imputers(model.student_)) == 3


WAYS = {
    "folds": {"cross_fit": "folds"},
    "folds, ensemble": {"cross_fit": "folds", "ensemble": True, "student_cv": 2},
    "holdout": {"cross_fit": "holdout"},
    "pipeline": {"student": make_pipeline(StandardScaler(), LogisticRegression())},
    "search": {"student": GridSearchCV(LGBMClassifier(**FAST), {"num_leaves": [3, 7]}, cv=2)},
    "regressor": {"student": make_pipeline(StandardScaler(), Ridge())},
    "synthetic rows": {"transfer": "munge", "alpha": 0.0},
    "generations": {"generations": 2, "cross_fit": "folds"},
    "early stopping": {"student": LGBMClassifier(**FAST, early_stopping_round=2)},
}


@pytest.mark.filterwarnings("ignore:Pairs of 3 folds")
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_fit_imputes(table, labels, way):
    model = distilled(**WAYS[way]).fit(table, labels)
    assert len(imputers(model.student_)[0].names) == 2
    assert np.isfinite(model.predict_proba(table[OWN])).all()


@pytest.mark.filterwarnings("ignore:Pairs of 3 folds")
def test_a_frozen_teacher_and_soft_targets_made_elsewhere_leave_columns_to_impute(table, labels):
    half = np.arange(N) < N // 2
    teacher = LGBMClassifier(**FAST).fit(table.loc[half].drop(columns="q"), labels[half])
    settings = {"teacher": FrozenEstimator(teacher), "teacher_features": [*OWN, "p", "r"], "impute": ["p"]}
    rows, y = table.loc[~half], labels[~half]
    frozen = distilled().set_params(**settings).fit(rows, y)
    given = distilled().set_params(**settings).fit(rows, y, soft_targets=frozen.soft_targets_)
    assert imputers(frozen.student_)[0].names == imputers(given.student_)[0].names == ["p"]


@pytest.mark.filterwarnings("ignore:Pairs of 3 folds")
def test_arrays_are_imputed_by_position(table, labels):
    X = table.drop(columns="q").to_numpy()
    model = distilled((3,)).set_params(student_features=[0, 1, 2]).fit(X, labels)
    assert imputers(model.student_)[0].names == ["3"]
    np.testing.assert_array_equal(model.predict_proba(X[:, :3]), model.predict_proba(X))


@pytest.mark.filterwarnings("ignore:Pairs of 3 folds")
def test_values_of_a_regression_are_learnt_with_imputed_columns(table):
    X, y = table.drop(columns="q"), (2 * table["p"] + table["c"]).to_numpy()
    model = DistilledEstimator(
        LGBMRegressor(**FAST), LGBMRegressor(**FAST), student_features=OWN, cv=3, alpha=1.0, impute=1, random_state=0
    ).fit(X, y)
    assert imputers(model.student_)[0].names == ["p"]


@pytest.mark.filterwarnings("ignore:Pairs of 3 folds")
def test_groups_stay_together_inside_the_imputer(table, labels):
    groups = np.arange(N) // 8
    plain, grouped = (distilled(alpha=1.0).fit(table, labels, groups=g).student_ for g in (None, groups))
    assert not np.array_equal(plain.predict_proba(table), grouped.predict_proba(table))


@pytest.mark.filterwarnings("ignore:Pairs of 3 folds")
def test_same_seed_gives_identical_predictions_for_any_n_jobs(table, labels):
    one, two = (distilled(impute=2, n_jobs=n).fit(table, labels).predict_proba(table) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.filterwarnings("ignore:Pairs of 3 folds")
def test_columns_are_chosen_without_imputed_ones(table, labels):
    settings = {"student_features": FeatureBudgetSelector(n_features=2, features=OWN), "teacher_features": None}
    model = distilled(cross_fit="folds").set_params(**settings).fit(table, labels)
    assert len(model.student_features_) == 2
    assert imputers(model.student_)


@pytest.mark.filterwarnings("ignore:Pairs of 3 folds")
def test_fitted_student_is_exported(table, labels, tmp_path):
    model = distilled(alpha=1.0, ensemble=True).fit(table, labels)
    found = OnnxPredictor(model.to_onnx(tmp_path / "model.onnx", X=table[OWN]))
    assert found.columns == OWN
    np.testing.assert_allclose(found.predict_proba(table), model.predict_proba(table), atol=2e-6)


def test_settings_are_cloned_and_set_by_name():
    model = clone(distilled()).set_params(impute__cv=4, impute__estimator__num_leaves=5)
    assert (model.impute.cv, model.impute.estimator.num_leaves) == (4, 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"impute": ["a"]}, r"names \['a'\], but the privileged columns are \['p', 'q', 'r'\]"),
        ({"impute": 4}, "impute=4 asks for that many privileged columns, but there are 3"),
        ({"student_features": None}, "there are none"),
    ],
)
def test_columns_that_are_not_privileged_are_refused(table, labels, settings, message):
    with pytest.raises(ValueError, match=message):
        distilled().set_params(**settings).fit(table, labels)


def test_texts_have_no_columns_to_impute():
    texts = ["good", "bad"] * 20
    model = DistilledEstimator(
        make_pipeline(StandardScaler(), LogisticRegression()), make_pipeline(StandardScaler(), LogisticRegression()),
        impute="all",
    )  # fmt: skip
    with pytest.raises(ValueError, match="there are none"):
        model.fit(texts, [1, 0] * 20)

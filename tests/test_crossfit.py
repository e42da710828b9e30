"""Folds, pairs of folds, and the invariant that they keep."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.datasets import make_classification, make_regression
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    PredefinedSplit,
    RepeatedStratifiedKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tabkd import DistilledEstimator, MutualDistilledEstimator
from tabkd.crossfit import cross_fit_teacher
from tabkd.folds import make_folds
from tabkd.learners import Learner
from tabkd.targets import Targets, one_hot

pytestmark = pytest.mark.filterwarnings("ignore:With alpha")

FAST = {"n_estimators": 15, "num_leaves": 7, "verbose": -1, "n_jobs": 1, "random_state": 0}


@pytest.fixture
def data():
    return make_classification(600, 8, n_informative=5, flip_y=0.2, random_state=0)


def permuted(y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The same labels, shuffled among ``rows`` until they differ."""
    changed = y.copy()
    changed[rows] = y[rows][::-1]
    assert (changed != y).sum() > 10
    return changed


def scored_predictions(X, y, folds, **settings) -> np.ndarray:
    model = DistilledEstimator(LGBMClassifier(**FAST), LGBMClassifier(**FAST), cv=folds, **settings)
    return model.fit(X, y).student_predictions_


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_labels_of_a_fold_never_reach_the_student_scored_on_it(data, alpha) -> None:
    X, y = data
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))
    before = scored_predictions(X, y, folds, alpha=alpha)
    for _, test in folds:
        after = scored_predictions(X, permuted(y, test), folds, alpha=alpha)
        np.testing.assert_array_equal(before[test], after[test])


def test_ordinary_out_of_fold_targets_break_the_invariant(data) -> None:
    X, y = data
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))
    test = folds[0][1]

    def student_of_first_fold(labels: np.ndarray) -> np.ndarray:
        model = DistilledEstimator(
            LGBMClassifier(**FAST), LGBMClassifier(**FAST), cv=folds, cross_fit="folds", alpha=0, ensemble=True
        ).fit(X, labels)
        return model.student_.members[0].raw(X[test].astype(np.float32))

    assert not np.array_equal(student_of_first_fold(y), student_of_first_fold(permuted(y, test)))


def test_an_unfitted_selector_never_sees_the_scored_fold(data) -> None:
    X, y = data
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))
    settings = {"alpha": 0.5, "student_features": SelectKBest(k=3)}
    before = scored_predictions(X, y, folds, **settings)
    for _, test in folds:
        np.testing.assert_array_equal(before[test], scored_predictions(X, permuted(y, test), folds, **settings)[test])


def test_soft_targets_never_see_their_own_label(data) -> None:
    X, y = data
    memoriser = DistilledEstimator(KNeighborsClassifier(1), DecisionTreeClassifier(max_depth=3), random_state=0)
    agreement = (memoriser.fit(X, y).soft_targets_.argmax(axis=1) == y).mean()
    assert agreement < 0.9  # a nearest neighbour that saw the row would always agree


def teacher_fit(y, folds, *, pairs, learner=None):
    X = np.arange(len(y), dtype=np.float32)[:, None]
    targets = Targets(one_hot(y, 2), None, np.array([0, 1]))
    learner = learner or Learner(LogisticRegression(), linked=False)
    return cross_fit_teacher(learner, X, targets, folds, pairs=pairs)


def test_pairs_fit_one_teacher_per_pair() -> None:
    y = np.arange(100) % 2
    folds = make_folds(5, y[:, None], y, classifier=True, seed=0)
    assert len(teacher_fit(y, folds, pairs=True).members) == 10


def test_each_scored_student_has_targets_for_all_rows_but_its_own_fold() -> None:
    y = np.arange(100) % 2
    folds = make_folds(5, y[:, None], y, classifier=True, seed=0)
    for (_, test), own in zip(folds.splits, teacher_fit(y, folds, pairs=True).per_fold, strict=True):
        assert set(np.flatnonzero(np.isnan(own[:, 0]))) == set(test)


def test_soft_targets_are_the_mean_of_the_pair_teachers() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=100)
    folds = make_folds(5, y[:, None], y, classifier=True, seed=0)
    fit = teacher_fit(y, folds, pairs=True)
    for i, (_, test) in enumerate(folds.splits):
        others = [own[test] for j, own in enumerate(fit.per_fold) if j != i]
        np.testing.assert_allclose(fit.soft_targets[test], np.mean(others, axis=0))


def test_gaps_of_a_splitter_hold_for_the_teachers_of_its_pairs() -> None:
    n = 60
    blocks = np.array_split(np.arange(n), 4)
    splits = [(np.setdiff1d(np.arange(n), np.arange(b[0] - 3, b[-1] + 4)), b) for b in blocks]
    folds = make_folds(splits, np.zeros((n, 1)), np.zeros(n), classifier=False)
    for i, j, rows in folds.pairs():
        purged = np.concatenate([np.arange(blocks[k][0] - 3, blocks[k][-1] + 4) for k in (i, j)])
        assert not set(rows) & set(purged)


def test_groups_stay_in_one_fold() -> None:
    groups = np.repeat(np.arange(20), 5)
    y = np.arange(100) % 2
    for train, test in make_folds(5, y[:, None], y, groups=groups, classifier=True, seed=0).splits:
        assert not set(groups[train]) & set(groups[test])


def test_repeats_are_recognised() -> None:
    y = np.arange(60) % 2
    cv = RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0)
    assert make_folds(cv, y[:, None], y, classifier=True).repeat_of == [0, 0, 0, 1, 1, 1]


def test_repeated_splitter_averages_predictions(data) -> None:
    X, y = data
    cv = RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0)
    model = DistilledEstimator(LGBMClassifier(**FAST), LGBMClassifier(**FAST), cv=cv, alpha=0.5, ensemble=True)
    with pytest.warns(UserWarning, match="3 folds"):
        model.fit(X, y)
    assert len(model.student_.members) == 6
    assert np.isfinite(model.student_predictions_).all()


def test_time_series_leaves_out_the_rows_that_no_teacher_predicts() -> None:
    X, y = make_regression(120, 4, random_state=0)
    model = DistilledEstimator(
        LGBMRegressor(**FAST), LGBMRegressor(**FAST), cv=TimeSeriesSplit(5), cross_fit="folds", alpha=0.0
    ).fit(X, y)
    assert np.isnan(model.soft_targets_[:20]).all()
    assert np.isfinite(model.soft_targets_[20:]).all()


def test_time_series_ensemble_leaves_out_the_fold_without_soft_targets() -> None:
    X, y = make_regression(120, 4, random_state=0)
    settings = {"cv": TimeSeriesSplit(5), "cross_fit": "folds", "alpha": 0.0, "ensemble": True}
    model = DistilledEstimator(LGBMRegressor(**FAST), LGBMRegressor(**FAST), **settings).fit(X, y)
    assert len(model.student_.members) == 4


def test_time_series_has_a_control_for_a_regressor_too(data) -> None:
    X, y = data
    settings = {"cv": TimeSeriesSplit(4), "cross_fit": "folds", "alpha": 0.5}
    model = DistilledEstimator(LGBMClassifier(**FAST), LGBMRegressor(**FAST), **settings)
    assert model.fit_control(X, y).predict_proba(X).shape == (600, 2)


def test_a_splitter_that_tests_its_training_rows_is_refused(data) -> None:
    X, y = data
    folds = [(np.arange(600), test) for _, test in KFold(5).split(X)]
    with pytest.raises(ValueError, match="tests rows that it trains on"):
        DistilledEstimator(LGBMClassifier(**FAST), LGBMClassifier(**FAST), cv=folds).fit(X, y)


def test_folds_may_be_masks_of_rows(data) -> None:
    X, y = data
    numbers = list(KFold(4).split(X))
    masks = [tuple(np.isin(np.arange(600), rows) for rows in split) for split in numbers]
    one, other = (
        DistilledEstimator(LGBMClassifier(**FAST), LGBMClassifier(**FAST), cv=cv, alpha=0.5).fit(X, y)
        for cv in (numbers, masks)
    )
    np.testing.assert_array_equal(one.student_predictions_, other.student_predictions_)


@pytest.mark.parametrize("split", [lambda folds: list(folds.split()), lambda folds: folds], ids=["list", "splitter"])
def test_folds_of_a_larger_table_are_refused(data, split) -> None:
    X, y = data
    folds = split(PredefinedSplit(np.arange(600) % 4))
    with pytest.raises(ValueError, match=r"does not fit 400 rows: it splits those of another table. Use a number of"):
        DistilledEstimator(LGBMClassifier(**FAST), LGBMClassifier(**FAST), cv=folds).fit(X[:400], y[:400])


def test_mask_of_another_table_is_refused(data) -> None:
    X, y = data
    masks = [(np.arange(700) % 4 != part, np.arange(700) % 4 == part) for part in range(4)]
    with pytest.raises(ValueError, match="cv, a list of splits, does not fit 600 rows"):
        DistilledEstimator(LGBMClassifier(**FAST), LGBMClassifier(**FAST), cv=masks).fit(X, y)


def test_blocked_folds_work_with_pairs() -> None:
    X, y = make_regression(120, 4, random_state=0)
    model = DistilledEstimator(LGBMRegressor(**FAST), LGBMRegressor(**FAST), cv=KFold(4), alpha=0.0).fit(X, y)
    assert np.isfinite(model.student_predictions_).all()


def test_group_splitter_clusters_the_standard_error(data) -> None:
    X, y = data
    X, y, groups = np.tile(X, (4, 1)), np.tile(y, 4), np.tile(np.arange(600), 4)
    settings = {"alpha": 0.5, "ensemble": True}
    model = DistilledEstimator(LGBMClassifier(**FAST), LGBMClassifier(**FAST), cv=GroupKFold(4), **settings)
    clustered = model.fit(X, y, groups=groups).distillation_gain_se_
    folds = list(GroupKFold(4).split(X, y, groups))
    model.set_params(cv=folds)
    assert clustered == pytest.approx(2 * model.fit(X, y).distillation_gain_se_, rel=0.05)


def test_same_seed_gives_identical_predictions_for_any_n_jobs(data) -> None:
    X, y = data
    free = {**FAST, "n_jobs": None}
    settings = {"threshold": "f1_macro", "random_state": 3}
    one, two = (
        DistilledEstimator(LGBMClassifier(**free), LGBMClassifier(**free), n_jobs=n, **settings).fit(X, y)
        for n in (1, 2)
    )
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    assert one.threshold_ == two.threshold_


# ---------------------------------------------------------------- categories of left-out rows


@pytest.fixture
def dated():
    """Text of its own in every row, in the order of the target: between its neighbours a row could be guessed."""
    X, y = make_regression(200, 2, noise=150.0, random_state=0)
    order = np.argsort(np.argsort(y))
    return pd.DataFrame({"a": X[:, 0], "day": [f"{rank:04d}" for rank in order]}), y


@pytest.mark.parametrize("cross_fit", ["pairs", "holdout"])
def test_categories_that_left_out_rows_alone_have_are_unknown(dated, cross_fit):
    settings = {"alpha": 0.5, "scoring": "r2", "cross_fit": cross_fit, "random_state": 0}
    model = DistilledEstimator(LGBMRegressor(**FAST), LGBMRegressor(**FAST), **settings).fit(*dated)
    assert max(model.teacher_score_, model.student_score_, model.control_score_) < 0.5


def test_categories_that_left_out_rows_alone_have_are_unknown_to_peers(dated):
    peers = [("one", LGBMRegressor(**FAST)), ("other", DecisionTreeRegressor(random_state=0))]
    model = MutualDistilledEstimator(peers, scoring="r2", random_state=0).fit(*dated)
    assert max(model.student_score_, model.control_score_) < 0.5


def test_a_lambda_that_no_cache_can_tell_from_others_is_named(data, tmp_path):
    teacher = make_pipeline(FunctionTransformer(lambda X: X), LogisticRegression())
    model = DistilledEstimator(teacher, LogisticRegression(), memory=tmp_path)
    with pytest.raises(ValueError, match=r"cannot tell a Pipeline with functiontransformer__func=<function .*<lambda>"):
        model.fit(*data)

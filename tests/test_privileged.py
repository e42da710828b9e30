"""Which privileged columns a teacher reads: chosen on the rows that it is fitted to, and on no others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from tabkd import DistilledEstimator, SelectPrivileged

pytestmark = pytest.mark.filterwarnings("ignore:With alpha")

N = 400
OWN = ["a", "b"]
FAST = {"n_estimators": 8, "num_leaves": 7, "verbose": -1, "n_jobs": 1, "random_state": 0}
STUDENT = DecisionTreeClassifier(max_depth=3, random_state=0)


@pytest.fixture(scope="module")
def table():
    """Own columns ``a`` and ``b``; privileged ``p``, which tells the target, a text ``q`` and noise."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(N, 2)), columns=OWN)
    p = frame["a"] + rng.normal(scale=0.5, size=N)
    noise = pd.DataFrame(rng.normal(size=(N, 3)), columns=["x", "y", "z"])
    return pd.concat([frame.assign(p=p, q=np.where(p > 0.5, "high", None)), noise], axis=1)


@pytest.fixture(scope="module")
def labels(table):
    return (table["p"] + 0.3 * np.random.default_rng(1).normal(size=N) > 0).to_numpy().astype(int)


def chosen(selector):
    return selector.get_feature_names_out().tolist()


def distilled(teacher_features, teacher=None, **settings):
    teacher = LGBMClassifier(**FAST) if teacher is None else teacher
    return DistilledEstimator(
        teacher, STUDENT, teacher_features=teacher_features, student_features=OWN,
        **{"alpha": 0.5, "random_state": 0, **settings},
    )  # fmt: skip


def test_columns_that_matter_are_kept_beside_the_deployable_ones(table, labels):
    assert chosen(SelectPrivileged(OWN, share=0.8).fit(table, labels)) == [*OWN, "p"]


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99, 1.0])
def test_fewest_columns_that_have_the_share_are_kept(table, labels, share):
    selector = SelectPrivileged(OWN, share=share).fit(table, labels)
    others = selector.gains_[2:]
    kept = others[selector.support_[2:]]
    assert kept.sum() >= share * others.sum() * (1 - 1e-9)
    assert kept.sum() - kept.min() < share * others.sum()


TARGETS = {
    "texts": lambda y: np.where(y == 1, "yes", "no"),
    "three": lambda y: y + (np.arange(N) % 2),
    "values": lambda y: y + np.random.default_rng(2).normal(scale=0.1, size=N),
    "whole numbers": lambda y: 50 * y + np.arange(N) % 25,
    "two outputs": lambda y: np.column_stack([y, -y]),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_columns_that_matter_are_found_for_every_target(table, labels, kind):
    assert "p" in chosen(SelectPrivileged(OWN, share=0.5).fit(table, TARGETS[kind](labels)))


def test_weights_say_which_rows_matter(table, labels):
    other = (table["x"] > 0).to_numpy().astype(int)
    both, y = pd.concat([table, table]), np.concatenate([labels, other])
    weight = np.repeat([1e-6, 1.0], N)
    assert chosen(SelectPrivileged(OWN, share=0.8).fit(both, y, sample_weight=weight)) == [*OWN, "x"]


TEACHERS = {
    "booster": LGBMClassifier(**FAST),
    "pipeline": make_pipeline(LGBMClassifier(**FAST)),
    "one-hot": LogisticRegression(),
    "several": [LGBMClassifier(**FAST), DecisionTreeClassifier(max_depth=3)],
}


@pytest.mark.parametrize("name", TEACHERS)
def test_teacher_reads_the_columns_chosen_for_it(table, labels, name):
    data = table.fillna({"q": "low"}).drop(columns="q" if name == "pipeline" else [])
    model = distilled(SelectPrivileged(OWN, share=0.5), TEACHERS[name]).fit(data, labels)
    noise = data.assign(x=99.0, y=99.0, z=99.0)
    np.testing.assert_array_equal(model.teacher_.predict_proba(noise), model.teacher_.predict_proba(data))


def test_labels_of_a_fold_do_not_choose_the_columns_behind_its_score(table, labels):
    folds = list(StratifiedKFold(4, shuffle=True, random_state=0).split(table, labels))
    model = distilled(SelectPrivileged(OWN, share=0.5), cv=folds)
    before = model.fit(table, labels).student_predictions_
    for _, test in folds[:2]:
        others = labels.copy()
        others[test] = (table["z"][test] > 0).astype(int)  # the columns of a choice on all rows would be others
        after = model.fit(table, others).student_predictions_
        np.testing.assert_array_equal(before[test], after[test])
        assert (before != after).any()


def test_any_selector_chooses_the_teachers_columns(table, labels):
    numbers = table.drop(columns="q")
    model = distilled(SelectKBest(k=2)).fit(numbers, labels)
    assert model.teacher_.features == ["a", "p"]


def test_fitted_selector_is_a_list_of_columns(table, labels):
    selector = SelectPrivileged(OWN, share=0.5).fit(table, labels)
    first = distilled(selector).fit(table, labels)
    named = distilled(chosen(selector)).fit(table, labels)
    np.testing.assert_array_equal(first.soft_targets_, named.soft_targets_)


def test_seed_makes_the_choice_again(table, labels):
    random = LGBMRegressor(n_estimators=5, subsample=0.5, subsample_freq=1, verbose=-1)
    first, second = (SelectPrivileged(OWN, estimator=random, random_state=3).fit(table, labels) for _ in range(2))
    np.testing.assert_array_equal(first.gains_, second.gains_)


def test_selector_for_a_fitted_teacher_is_refused(table, labels):
    teacher = FrozenEstimator(LGBMClassifier(**FAST).fit(table[OWN], labels))
    with pytest.raises(ValueError, match="fitted already"):
        distilled(SelectPrivileged(OWN), teacher).fit(table, labels)


@pytest.mark.parametrize("share", [0, 1.5, -1.0])
def test_share_out_of_range_is_refused(table, labels, share):
    with pytest.raises(ValueError, match=f"share must be above 0 and at most 1, got {share}"):
        SelectPrivileged(OWN, share=share).fit(table, labels)


def test_unknown_deployable_column_is_named(table, labels):
    with pytest.raises(ValueError, match=r"deployable names unknown columns \['nope'\]"):
        SelectPrivileged(["nope"]).fit(table, labels)


def test_a_random_state_seeds_the_model(table, labels):
    model = LGBMRegressor(**{**FAST, "subsample": 0.5, "subsample_freq": 1})

    def gains(seed):
        return (
            SelectPrivileged(OWN, estimator=model, random_state=np.random.RandomState(seed)).fit(table, labels).gains_
        )

    np.testing.assert_array_equal(gains(0), gains(0))
    assert not np.array_equal(gains(0), gains(1))

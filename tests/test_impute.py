"""Hallucinated features: what is predicted of privileged columns, from which rows, and in which digits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor

from tabkd.columns import ColumnEncoder
from tabkd.frames import as_table
from tabkd.impute import MAX_CATEGORIES, Impute, read_impute
from tabkd.imputer import Imputer, _leaves, on_grid

N = 300
SMALL = LGBMRegressor(n_estimators=10, num_leaves=8, n_jobs=1, verbose=-1)


@pytest.fixture(scope="module")
def X():
    """Two columns of numbers."""
    return pd.DataFrame(np.random.default_rng(0).normal(size=(N, 2)), columns=["a", "b"]).astype(np.float32)


@pytest.fixture(scope="module")
def privileged(X):
    """Numbers with gaps, a category of two and one of many, a flag: all depend on ``X``."""
    rng = np.random.default_rng(1)
    noisy = X["a"].to_numpy() + rng.normal(scale=0.3, size=N)
    number = np.where(rng.random(N) < 0.2, np.nan, 1e4 + 100 * noisy)
    side = pd.Series(np.where(noisy > 0.5, "right", "left"), dtype=object)
    many = pd.Series(np.char.add("c", np.digitize(noisy, np.linspace(-1.2, 1.2, 11)).astype(str)), dtype=object)
    return pd.DataFrame({"number": number, "side": side, "many": many, "flag": noisy > 0})


def imputer_of(X, impute, encoding="ordinal", **more):
    table = as_table(X)
    settings = Impute(impute, SMALL) if not isinstance(impute, Impute) else impute
    return Imputer(settings, ColumnEncoder.fit(table, range(table.shape[1]), encoding), **{"seed": 0, **more})


def imputed(X, privileged, impute="all", outputs=None, groups=None, **more):
    """The step, the columns that it appends to the rows of its fit, and what it appends to them later."""
    step = imputer_of(X, impute, **more)
    made = step.fit_transform(X, privileged, outputs, None, groups)
    return step, np.asarray(made)[:, X.shape[1] :], np.asarray(step.transform(X))[:, X.shape[1] :]


# ---------------------------------------------------------------- in which digits


def test_sums_of_leaves_are_the_same_in_float32_in_every_order(X, privileged) -> None:
    step, _, later = imputed(X, privileged)
    rng = np.random.default_rng(0)
    for k, models in enumerate(step.models):
        reached = [model.booster_.predict(X, pred_leaf=True) for model in models]
        addends = np.concatenate(
            [
                np.column_stack([values[leaf[:, tree]] for tree, values in enumerate(_leaves(model))])
                for model, leaf in zip(models, reached, strict=True)
            ],
            axis=1,
        ).astype(np.float32)
        for _ in range(5):
            total = np.zeros(N, dtype=np.float32)
            for tree in rng.permutation(addends.shape[1]):
                total += addends[:, tree]
            np.testing.assert_array_equal(total, later[:, k])


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e9])
def test_leaves_on_the_grid_are_close_to_what_they_were(scale) -> None:
    leaves = [scale * np.random.default_rng(i).normal(size=8) for i in range(200)]
    largest = sum(np.abs(values).max() for values in leaves)
    for before, after in zip(leaves, on_grid(leaves), strict=True):
        np.testing.assert_allclose(after, before, atol=largest / 2**23)


def test_a_grid_of_nothing_but_zeros_is_zeros() -> None:
    assert np.concatenate(on_grid([np.zeros(3), np.zeros(1)])).tolist() == [0.0] * 4


def test_models_that_do_not_answer_with_the_sum_of_their_leaves_are_refused(X, privileged) -> None:
    counts = privileged[["flag"]].astype(int)
    impute = Impute(estimator=LGBMRegressor(n_estimators=3, objective="poisson", verbose=-1))
    with pytest.raises(ValueError, match=r"something else than the sum of its leaves.*poisson.*objective='regression'"):
        imputed(X, counts, impute)


# ---------------------------------------------------------------- from which rows


def test_a_row_is_imputed_by_models_that_have_not_seen_it(X, privileged) -> None:
    numbers = privileged[["number"]].fillna(0.0)
    step, before, _ = imputed(X, numbers)
    _, test = step._folds(N, None)[2]
    changed = numbers.copy()
    changed.loc[test, "number"] = -numbers.loc[test, "number"].to_numpy()[::-1]
    _, after, _ = imputed(X, changed)
    # The grid follows the leaves of all models: it may move the last digits.
    np.testing.assert_allclose(after[test], before[test], rtol=1e-5)
    assert np.abs(after - before).max() > 100


def test_rows_of_a_group_are_imputed_by_models_that_have_seen_none_of_it(X, privileged) -> None:
    groups = np.arange(N) // 10
    step = imputer_of(X, "all")
    for train, test in step._folds(N, groups):
        assert not set(groups[train]) & set(groups[test])


def test_later_rows_get_the_mean_of_the_inner_models(X, privileged) -> None:
    step, _, later = imputed(X, privileged[["number"]])
    means = np.mean([len(step.models[0]) * model.booster_.predict(X) for model in step.models[0]], axis=0)
    np.testing.assert_allclose(later[:, 0], means, rtol=1e-6)


def test_rows_without_a_value_are_left_out_of_the_models_and_imputed(X, privileged) -> None:
    assert privileged["number"].isna().any()
    _, made, _ = imputed(X, privileged[["number"]])
    assert np.isfinite(made).all()
    assert made.min() > 9000  # a gap read as zero would draw the mean of 10,000 down


def test_weights_reach_the_models(X, privileged) -> None:
    weight = np.where(privileged["flag"], 1.0, 1e-9)
    step = imputer_of(X, "all")
    made = step.fit_transform(X, privileged[["side"]], None, weight)
    plain = imputed(X, privileged[["side"]])[1]
    assert np.asarray(made)[:, 2].mean() > plain.mean() + 0.05


def test_imputed_numbers_tell_of_the_values(X, privileged) -> None:
    _, made, _ = imputed(X, privileged[["number", "flag"]])
    known = privileged["number"].notna()
    assert np.corrcoef(made[known, 0], privileged["number"][known])[0, 1] > 0.8
    assert made[privileged["flag"], 1].mean() > made[~privileged["flag"], 1].mean() + 0.4


# ---------------------------------------------------------------- which columns


def test_of_two_categories_the_rarer_one_is_predicted(X, privileged) -> None:
    assert imputed(X, privileged[["side"]])[0].names == ["side=right"]


def test_of_many_categories_the_most_frequent_are_predicted(X, privileged) -> None:
    frequent = privileged["many"].value_counts().index[:MAX_CATEGORIES]
    assert privileged["many"].nunique() > MAX_CATEGORIES
    assert set(imputed(X, privileged[["many"]])[0].names) == {f"many={name}" for name in frequent}


def test_a_category_of_less_than_a_hundredth_is_not_predicted(X) -> None:
    kind = pd.DataFrame({"kind": np.where(np.arange(N) < 2, "rare", np.where(np.arange(N) % 2, "x", "y"))})
    assert set(imputed(X, kind)[0].names) == {"kind=x", "kind=y"}


def test_columns_are_named_after_what_they_predict_and_give_way_to_others(X, privileged) -> None:
    given = X.rename(columns={"b": "imputed_number"})
    made = imputer_of(given, "all").fit_transform(given, privileged[["number", "flag"]], None)
    assert list(made) == ["a", "imputed_number", "imputed_number_", "imputed_flag"]


def test_an_array_gets_columns_of_its_own_type(X, privileged) -> None:
    made = imputer_of(X.to_numpy(), "all").fit_transform(X.to_numpy(), privileged[["flag"]], None)
    assert made.shape == (N, 3)
    assert made.dtype == np.float32


@pytest.mark.parametrize(
    "values",
    [np.full(N, 7.0), np.full(N, np.nan), np.r_[1.0, np.full(N - 1, np.nan)], pd.date_range("2020", periods=N)],
    ids=["constant", "missing", "one value", "dates"],
)
def test_columns_that_cannot_be_learnt_are_skipped_and_named(X, privileged, values) -> None:
    step = imputer_of(X, "all")
    with pytest.warns(UserWarning, match=r"\['odd'\] are not imputed"):
        step.fit_transform(X, privileged[["flag"]].assign(odd=values), None)
    assert step.names == ["flag"]


def test_where_nothing_can_be_learnt_the_table_stays_as_it_is(X) -> None:
    step = imputer_of(X, "all")
    with pytest.warns(UserWarning, match="not imputed"):
        made = step.fit_transform(X, pd.DataFrame({"odd": np.ones(N)}), None)
    pd.testing.assert_frame_equal(made, X)
    pd.testing.assert_frame_equal(step.transform(X), X)


def test_a_number_of_columns_is_those_that_matter_most(X, privileged) -> None:
    rng = np.random.default_rng(2)
    numbers = pd.DataFrame(rng.normal(size=(N, 4)), columns=list("pqrs"))
    outputs = (3 * numbers["q"] + numbers["s"]).to_numpy()[:, None]
    assert imputed(X, numbers, 1, outputs)[0].names == ["q"]
    assert imputed(X, numbers, 2, outputs)[0].names == ["q", "s"]


def test_few_rows_are_enough(X) -> None:
    few = X.iloc[:6]
    _, made, later = imputed(few, pd.DataFrame({"p": np.arange(6.0)}))
    assert np.isfinite(made).all()
    assert np.isfinite(later).all()


def test_a_table_with_text_and_dates_is_read_without_the_dates(X, privileged) -> None:
    table = X.assign(when=pd.Timestamp("2020-01-01"), city=np.where(privileged["flag"], "Seoul", "Busan"))
    step, made, _ = imputed(table, privileged[["flag"]], encoding="table")
    assert step.matrix(table).shape == (N, 3)
    assert made[privileged["flag"]].mean() > 0.7


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("impute", "privileged", "message"),
    [
        (["p", "a"], ["p", "q"], r"names \['a'\], but the privileged columns are \['p', 'q'\]"),
        ("all", [], "there are none"),
        (3, ["p", "q"], "impute=3 asks for that many privileged columns, but there are 2"),
        (0, ["p"], "impute=0"),
        ([], ["p"], "empty list"),
        ("p", ["p"], "got 'p'"),
        (True, ["p"], "got True"),
        (Impute(cv=1), ["p"], "cv of Impute must be a whole number of at least 2, got 1"),
        (Impute(estimator=LGBMClassifier()), ["p"], "must be an LGBMRegressor, got LGBMClassifier"),
    ],
)
def test_settings_that_do_not_fit_are_refused(impute, privileged, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_impute(impute, privileged)

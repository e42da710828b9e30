"""Synthetic rows: real rows that exchanged values with their neighbours."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine

from tabkd import Munge

SWAP = Munge(variance=None)
N_PAIRS = 60
PAIR_NAMES = [f"pair {row // 2}" for row in range(2 * N_PAIRS)]


def pairs(n_pairs=N_PAIRS, n_columns=5, seed=0):
    """Rows 2k and 2k + 1 are close together and far from all others; no value occurs twice in a column."""
    rng = np.random.default_rng(seed)
    centres = rng.permuted(np.tile(np.arange(n_pairs), (n_columns, 1)), axis=1).T
    values = 10.0 * np.repeat(centres, 2, axis=0) + rng.uniform(size=(2 * n_pairs, n_columns))
    return pd.DataFrame(values, columns=[f"x{i}" for i in range(n_columns)])


def pair_of(X, made):
    """For each cell, the pair of rows that has its value."""
    return np.column_stack([pd.Index(X[name]).get_indexer(made[name]) // 2 for name in X])


def share_of_one_pair(X, made):
    found = pair_of(X, made)
    return np.mean((found == found[:, :1]).all(axis=1))


# ---------------------------------------------------------------- kinds

COLUMNS = {
    "float32": pd.Series([0.5, np.nan, 2.25, 3.0], dtype="float32"),
    "int8": pd.Series([1, 2, 3, 4], dtype="int8"),
    "beyond float64": pd.Series(2**62 + np.arange(4)),
    "bool": pd.Series([True, False, True, True]),
    "Int64": pd.Series([1, None, 3, 4], dtype="Int64"),
    "Float32": pd.Series([1.5, None, 3, 4], dtype="Float32"),
    "boolean": pd.Series([True, None, False, True], dtype="boolean"),
    "texts": pd.Series(["a", "b", None, "c"]),
    "string": pd.Series(["a", "b", None, "c"], dtype="string"),
    "objects": pd.Series(["a", 3, None, "c"], dtype=object),
    "category": pd.Series(pd.Categorical(["a", "b", None, "a"], categories=["c", "b", "a"], ordered=True)),
    "dates": pd.Series(pd.to_datetime(["2020-01-31", None, "2020-03-01", "2021-01-01"])),
    "dates in a zone": pd.Series(pd.date_range("2020", periods=4, tz="Asia/Seoul")),
    "durations": pd.Series(pd.to_timedelta([1, 2, None, 4], unit="s")),
    "periods": pd.Series(pd.period_range("2020", periods=4, freq="M")),
    "sparse": pd.Series(pd.arrays.SparseArray([0, 0, 1, 2])),
    "all missing": pd.Series([np.nan] * 4),
    "only None": pd.Series([None] * 4, dtype=object),
    "infinite": pd.Series([np.inf, -np.inf, 1.0, np.nan]),
    "huge": pd.Series([1.7e308, -1.7e308, 1.6e308, -1e308]),
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("munge", [Munge(variance=1), SWAP], ids=["drawn", "swapped"])
def test_columns_keep_their_type_and_hold_no_value_of_their_own(kind, munge):
    X = pd.DataFrame({"x": COLUMNS[kind], "y": np.arange(4.0)})
    made = munge.sample(X, n_samples=50, random_state=0)
    assert made["x"].dtype == X["x"].dtype
    assert set(made["x"].astype(object).map(repr)) <= set(X["x"].astype(object).map(repr))


def test_frames_keep_names_and_lose_their_index(mixed):
    made = Munge(ratio=1.5).sample(mixed.set_index(mixed.index[::-1] * 7), random_state=0)
    assert made.columns.equals(mixed.columns)
    assert made.index.equals(pd.RangeIndex(600))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "bool"])
def test_arrays_stay_arrays_of_their_type(numbers, dtype):
    X = (10 * numbers.to_numpy()).astype(dtype)
    made = Munge().sample(X, random_state=0)
    assert isinstance(made, np.ndarray)
    assert (made.dtype, made.shape) == (X.dtype, (1600, 4))


def test_polars_frames_come_back_as_pandas():
    made = Munge().sample(pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "y"]}), random_state=0)
    assert set(made["a"]) <= {1, 2, 3}
    assert list(made.columns) == ["a", "b"]


def test_the_table_given_is_left_as_it_is(mixed):
    before = mixed.copy(deep=True)
    Munge().sample(mixed, random_state=0)
    pd.testing.assert_frame_equal(mixed, before)


# ---------------------------------------------------------------- rows


def test_swapped_values_come_from_a_row_and_its_neighbour():
    X = pairs()
    found = pair_of(X, SWAP.sample(X, random_state=0))
    assert (found == found[:, :1]).all()


def test_chance_of_an_exchange_is_the_probability():
    X = pairs()
    made = Munge(ratio=50, probability=0.2, variance=None).sample(X, random_state=0)
    rows = np.column_stack([pd.Index(X[name]).get_indexer(made[name]) for name in X])
    one_each_way = np.mean(rows[:, 0] != rows[:, 1])  # 2 p (1 - p)
    assert one_each_way == pytest.approx(0.32, abs=0.02)


def test_every_row_is_a_parent_equally_often():
    X = pairs()
    made = Munge(ratio=3, probability=1e-12).sample(X, random_state=0)
    assert (made["x0"].value_counts() == 3).all()
    assert len(made) == 3 * len(X)


def test_fewer_rows_than_the_table_has_are_of_different_parents():
    made = Munge(probability=1e-12).sample(pairs(), n_samples=40, random_state=0)
    assert made["x0"].nunique() == 40


def test_numbers_are_drawn_around_those_of_the_neighbours():
    X = pd.DataFrame({"x": np.r_[np.nan, np.linspace(0, 100, 101)]} | {f"text {i}": "many" for i in range(16)})
    X.iloc[[1, -1], 1:] = "two"  # each other's neighbours, and 100 apart
    X["end"] = ["none", "first", *["none"] * 99, "last"]
    made = Munge(ratio=1000, probability=1.0, variance=5).sample(X, random_state=0)
    for distance in (made.loc[made["end"] == "first", "x"], 100 - made.loc[made["end"] == "last", "x"]):
        # Normal with a deviation of 20, but what lies outside is taken to the end: half of it.
        assert np.mean(distance == 0) == pytest.approx(0.5, abs=0.06)
        assert np.quantile(distance, 0.5 + 0.6827 / 2) == pytest.approx(20, abs=2.5)


def test_greater_variance_parameter_stays_closer_to_the_neighbours():
    X = pairs()
    found = [pair_of(X, Munge(ratio=20, variance=s).sample(X, random_state=0)) for s in (0.01, 0.1, 1.0)]
    elsewhere = [np.mean(pair != np.median(pair, axis=1, keepdims=True)) for pair in found]
    assert elsewhere[0] > 2 * elsewhere[1] > 4 * elsewhere[2] >= 0


def test_numbers_of_few_kinds_are_exchanged_as_they_are():
    X = pairs(n_columns=60).assign(pair=PAIR_NAMES, code=np.tile([1, 5, 3, 3], N_PAIRS // 2))
    made = Munge(ratio=20, variance=0.01).sample(X, random_state=0)
    codes = made.groupby("pair")["code"].agg(set)
    assert sorted(map(sorted, codes)) == [[1, 5]] * (N_PAIRS // 2) + [[3]] * (N_PAIRS // 2)


def test_missing_values_change_places_with_values_as_they_are():
    X = pairs(n_columns=60).assign(pair=PAIR_NAMES)
    X.loc[::2, "x0"] = np.nan
    made = Munge(ratio=20, variance=0.01).sample(X, random_state=0)
    values = made.dropna().groupby("pair")["x0"].agg(set)
    assert 0.45 < made["x0"].notna().mean() < 0.55
    assert values.map(len).max() == 1
    assert (values.map(min) == X.dropna().set_index("pair")["x0"].loc[values.index]).all()


def test_means_and_correlations_are_about_those_of_the_table():
    X = load_breast_cancer(as_frame=True)["data"]
    made = Munge().sample(X, random_state=0)
    assert ((made.mean() - X.mean()) / X.std()).abs().max() < 0.15
    assert (made.corr() - X.corr()).abs().max().max() < 0.2


def test_shares_of_categories_are_about_those_of_the_table(mixed):
    made = Munge().sample(mixed, random_state=0)
    shares = [table["city"].value_counts(normalize=True, dropna=False) for table in (mixed, made)]
    assert (shares[0] - shares[1]).abs().max() < 0.06


# ---------------------------------------------------------------- neighbours


def test_neighbours_of_mixed_columns_agree_in_their_categories():
    rng = np.random.default_rng(0)
    groups = rng.choice(list("abcdefgh"), size=200)
    X = pd.DataFrame({"city": groups, "shop": groups, "day": pd.Index(list("abcdefgh")).get_indexer(groups)})
    X["day"] = pd.Timestamp("2020") + pd.to_timedelta(X["day"], unit="D")
    X["noise"] = rng.uniform(size=200)
    made = SWAP.sample(X, random_state=0)
    assert (made["city"] == made["shop"]).all()
    assert made.groupby("city")["day"].nunique().max() == 1


@pytest.mark.parametrize(
    "dates",
    [pd.date_range("2020", periods=100, tz="Asia/Seoul"), pd.to_timedelta(np.arange(100) ** 2, unit="s")],
    ids=["dates", "durations"],
)
def test_neighbours_of_dates_are_next_to_them(dates):
    X = pd.DataFrame({"day": dates, "row": [f"row {row}" for row in range(100)]})
    made = SWAP.sample(X, random_state=0)
    apart = pd.Index(X["day"]).get_indexer(made["day"]) - pd.Index(X["row"]).get_indexer(made["row"])
    assert np.abs(apart).max() == 1


def test_missing_numbers_are_next_to_missing_numbers():
    X = pd.DataFrame({"x": np.tile([0.0, np.nan], 100), "y": np.random.default_rng(0).uniform(size=200)})
    X["row"] = [f"row {row}" for row in range(200)]
    made = SWAP.sample(X, random_state=0)
    assert (X.set_index("row")["x"].isna().loc[made["row"]].to_numpy() == made["x"].isna()).all()


def test_columns_that_are_mostly_zero_count_by_their_other_values():
    paid = np.r_[np.zeros(160), 1e6 + np.arange(20), 3e6 + np.arange(20)]
    X = pd.DataFrame({"paid": paid, "row": [f"row {row}" for row in range(200)]})
    made = SWAP.sample(X, random_state=0)
    of_row = X.set_index("row")["paid"].loc[made["row"]].to_numpy()
    assert np.abs(made["paid"] - of_row).max() < 20


def test_one_outlier_does_not_drown_its_column():
    X = pairs()
    X.iloc[0] = 1e15 + np.arange(5)
    assert share_of_one_pair(X, SWAP.sample(X, random_state=0)) > 0.95


def test_units_of_columns_do_not_matter():
    X = pairs()
    scaled = X * [1e-6, 1.0, 1e6, 1e3, 1e-3]
    assert share_of_one_pair(scaled, SWAP.sample(scaled, random_state=0)) == 1


def test_tables_past_the_exact_search_find_near_neighbours_still():
    X = pairs(n_pairs=6_000)
    made = SWAP.sample(X.sample(frac=1, random_state=0), n_samples=12_000, random_state=0)
    assert share_of_one_pair(X, made) > 0.95


def test_wide_tables_find_their_neighbours_in_random_directions():
    bits = np.random.default_rng(0).integers(0, 2, size=(N_PAIRS, 100))
    X = pd.DataFrame(np.repeat(bits, 2, axis=0)).assign(pair=PAIR_NAMES)
    made = SWAP.sample(X, random_state=0)
    assert made.equals(X.drop_duplicates().set_index("pair", drop=False).loc[made["pair"]].reset_index(drop=True))


def test_ties_are_broken_at_random():
    X = pd.DataFrame({"name": [f"name {row}" for row in range(300)], "city": "Seoul"})
    made = Munge(ratio=1, probability=1.0).sample(X, random_state=0)
    assert made["name"].nunique() > 150


def test_identical_rows_make_copies():
    X = pd.DataFrame({"a": [1.5] * 30, "b": ["x"] * 30})
    assert Munge().sample(X, random_state=0).drop_duplicates().to_numpy().tolist() == [[1.5, "x"]]


# ---------------------------------------------------------------- seeds


def test_same_seed_makes_the_same_rows(mixed):
    pd.testing.assert_frame_equal(Munge().sample(mixed, random_state=3), Munge().sample(mixed, random_state=3))


def test_other_seeds_make_other_rows(mixed):
    assert not Munge().sample(mixed, random_state=3).equals(Munge().sample(mixed, random_state=4))


def test_no_seed_makes_other_rows_every_time(mixed):
    assert not Munge().sample(mixed).equals(Munge().sample(mixed))


# ---------------------------------------------------------------- a parameter of estimators


def test_clones_are_equal_and_hash_alike():
    munge = Munge(ratio=2, variance=None)
    assert clone(munge) == munge
    assert hash(clone(munge)) == hash(munge)
    assert munge != Munge()


def test_representation_makes_the_same_again():
    assert eval(repr(Munge(probability=0.3))) == Munge(probability=0.3)


def test_parameters_are_set_as_those_of_estimators():
    assert Munge().set_params(probability=0.2).get_params() == {**Munge().get_params(), "probability": 0.2}


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("value", [0, -1.5, np.nan, np.inf, "4", None])
def test_ratio_is_a_number_above_zero(numbers, value):
    munge = Munge(ratio=value)  # checked when used
    with pytest.raises(ValueError, match=r"ratio must be a number > 0, got .*Try 4\.0"):
        munge.sample(numbers)


@pytest.mark.parametrize("value", [0, 1.5, -0.1, np.nan, "0.5", None])
def test_probability_is_a_number_up_to_one(numbers, value):
    munge = Munge(probability=value)
    with pytest.raises(ValueError, match=r"probability must be a number in \(0, 1\], got .*Try 0\.5"):
        munge.sample(numbers)


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf, "swap"])
def test_variance_is_a_number_above_zero_or_none(numbers, value):
    munge = Munge(variance=value)
    with pytest.raises(ValueError, match=r"variance must be a number > 0, got .*or None"):
        munge.sample(numbers)


@pytest.mark.parametrize("value", [0, -3, 2.5])
def test_number_of_rows_is_whole_and_above_zero(numbers, value):
    with pytest.raises(ValueError, match="n_samples must be a whole number of at least 1, got"):
        Munge().sample(numbers, n_samples=value)


def test_one_row_has_no_neighbour(numbers):
    with pytest.raises(ValueError, match=r"but X has 1\. Give two rows or more"):
        Munge().sample(numbers.iloc[:1])


def test_empty_tables_are_refused(numbers):
    with pytest.raises(ValueError, match="The table is empty"):
        Munge().sample(numbers.iloc[:0])


def test_objects_without_equality_are_refused_by_column():
    X = pd.DataFrame({"a": [1, 2], "lists": [[1], [2]]})
    with pytest.raises(TypeError, match=r"Column 'lists' holds objects that cannot be compared.*Drop it"):
        Munge().sample(X)


def test_two_rows_are_enough():
    made = SWAP.sample(load_wine(as_frame=True)["data"].iloc[:2], random_state=0)
    assert len(made) == 8

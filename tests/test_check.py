"""What a check of two tables finds, and what it does not claim."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from tabkd import TableCheck, check_tables
from tabkd.drift import find_drift
from tabkd.heldout import HeldOut, alone, five_folds
from tabkd.paired import kind_of, pair
from tabkd.target_column import read_target


def halves(frame: pd.DataFrame, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A table cut in two at random."""
    order = np.random.default_rng(seed).permutation(len(frame))
    cut = len(frame) // 2
    return frame.iloc[order[:cut]].reset_index(drop=True), frame.iloc[order[cut:]].reset_index(drop=True)


def flagged(found: TableCheck, clue: str) -> list[str]:
    assert found.leaks is not None
    return found.leaks.query("suspicious and clue == @clue")["column"].tolist()


def rows_of(found: TableCheck, finding: str) -> int:
    return int(found.duplicates.set_index("finding").at[finding, "rows"])


@pytest.fixture(scope="module")
def cancer() -> pd.DataFrame:
    """Five measurements of 569 tumours, and which are benign."""
    frame = load_breast_cancer(as_frame=True).frame
    return frame[["mean radius", "mean texture", "mean smoothness", "mean symmetry", "texture error", "target"]]


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    """600 people with a city, an age and a label that depends on it."""
    rng = np.random.default_rng(0)
    age = rng.integers(20, 80, 600).astype(float)
    city = rng.choice(["Seoul", "Busan", "Jeju"], 600, p=[0.6, 0.3, 0.1])
    return pd.DataFrame(
        {"age": age, "city": city, "height": rng.normal(170, 9, 600), "label": rng.random(600) < age / 90}
    )


def test_tables_of_arrow_are_checked(people: pd.DataFrame) -> None:
    pytest.importorskip("pyarrow")
    tables = people.astype({"label": str}).convert_dtypes(dtype_backend="pyarrow")
    assert check_tables(*halves(tables), target="label").metric == "roc_auc"


@pytest.mark.parametrize(("dtype", "regression"), [("int64[pyarrow]", False), ("double[pyarrow]", True)])
def test_targets_of_numbers_of_arrow_are_read(dtype: str, regression: bool) -> None:
    pytest.importorskip("pyarrow")
    target = read_target(pd.Series(np.arange(30) % 3 / (2 if regression else 1), name="y", dtype=dtype))
    assert target.regression == regression


def test_names_of_several_levels_are_read_as_one(people: pd.DataFrame) -> None:
    deep = pd.concat({"person": people.drop(columns="label")}, axis=1)
    found = check_tables(*halves(deep)).drift
    assert found is not None and "('person', 'city')" in set(found.columns["column"])


def test_one_column_may_be_dropped_by_its_name(people: pd.DataFrame) -> None:
    found = check_tables(*halves(people), drop="city").drift
    assert found is not None and set(found.columns["column"]) == {"age", "height", "label"}


# ---------------------------------------------------------------- drift


def test_random_halves_show_no_drift(cancer: pd.DataFrame) -> None:
    seen = [check_tables(*halves(cancer, seed)).drift.seen for seed in range(4)]  # type: ignore[union-attr]
    assert not any(seen)


@pytest.mark.parametrize("column", ["mean texture", "texture error"])
def test_a_shifted_column_is_seen_and_ranks_first(cancer: pd.DataFrame, column: str) -> None:
    train, test = halves(cancer)
    test[column] += cancer[column].std()
    drift = check_tables(train, test).drift
    assert drift is not None and drift.seen
    assert drift.columns.loc[0, ["column", "drifted"]].tolist() == [column, True]


def test_changed_shares_of_categories_are_seen(people: pd.DataFrame) -> None:
    train, test = halves(people)
    test.loc[:120, "city"] = "Jeju"
    drift = check_tables(train, test).drift
    assert drift is not None and drift.columns.loc[0, "column"] == "city"
    assert drift.columns.loc[0, "moved"].startswith("'Jeju' ")


def test_values_missing_in_one_table_are_seen(people: pd.DataFrame) -> None:
    train, test = halves(people)
    test.loc[::2, "height"] = np.nan
    drift = check_tables(train, test).drift
    assert drift is not None and drift.columns.loc[0, "column"] == "height"
    assert "missing 0.0% -> 50.0%" in drift.columns.loc[0, "moved"]


def test_the_rest_of_the_columns_shows_no_drift(cancer: pd.DataFrame) -> None:
    train, test = halves(cancer)
    test["mean texture"] += cancer["mean texture"].std()
    rest = check_tables(train, test).drift.rest  # type: ignore[union-attr]
    assert rest is not None and "mean texture" not in rest.columns and not rest.seen


def test_a_column_that_parts_the_tables_hides_no_other(people: pd.DataFrame) -> None:
    train, test = halves(people)
    test["height"] += 9
    train["year"], test["year"] = 2020 + train.index % 2, 2022 + test.index % 2
    drift = check_tables(train, test).drift
    assert drift is not None and drift.parting == ["year"]
    assert drift.columns.dropna().sort_values("share").iloc[-1]["column"] == "height"


def test_rows_that_occur_again_hide_no_drift_and_make_none(cancer: pd.DataFrame) -> None:
    auc = check_tables(cancer, cancer).drift.together.auc  # type: ignore[union-attr]
    assert auc.mean == pytest.approx(0.5, abs=0.01)


def test_drift_of_one_column_of_categories_is_seen() -> None:
    draw = np.random.default_rng(0)
    shares = [0.7, 0.2, 0.1], [0.1, 0.2, 0.7]
    train, test = (pd.DataFrame({"region": draw.choice(list("ABH"), 300, p=share)}) for share in shares)
    found = check_tables(train, test)
    assert found.drift is not None and found.drift.seen


def test_members_of_a_group_are_not_taken_for_drift() -> None:
    rng = np.random.default_rng(0)
    body = rng.normal(size=(60, 4)).repeat(10, axis=0)
    frame = pd.DataFrame(body + rng.normal(scale=0.01, size=body.shape), columns=list("abcd"))
    frame["patient"] = np.arange(60).repeat(10).astype(str)
    train, test = frame[frame.index < 300], frame[frame.index >= 300]
    found = [
        check_tables(train, test, drop=drop, groups=groups) for drop, groups in (((), "patient"), (["patient"], None))
    ]
    assert [one.drift.seen for one in found] == [False, True]  # type: ignore[union-attr]


def test_folds_that_agree_by_chance_are_not_believed() -> None:
    y = np.repeat([0, 1], 50)
    score = alone(np.random.default_rng(3).normal(size=100), y, five_folds(y, None, regression=False, seed=0))
    low, high = score.interval()
    assert low < 0.5 < high and score.interval(20)[0] < low


def test_an_interval_needs_two_folds() -> None:
    assert HeldOut.of([0.7, np.nan]).n_folds == 1
    assert np.isnan(HeldOut.of([0.7, np.nan]).interval()).all()


def test_samples_are_of_the_size_asked_for(cancer: pd.DataFrame) -> None:
    assert check_tables(*halves(cancer), max_rows=100).n_read == (100, 100)


def test_the_same_seed_finds_the_same(people: pd.DataFrame) -> None:
    one, two = (check_tables(*halves(people), target="label", max_rows=200, random_state=3).as_dict() for _ in range(2))
    assert one == two


def test_twenty_rows_are_too_few_to_speak_of_drift(cancer: pd.DataFrame) -> None:
    assert check_tables(cancer, cancer.head(19)).drift is None


def test_infinite_numbers_are_compared(cancer: pd.DataFrame) -> None:
    train, test = halves(cancer)
    test.loc[::2, "mean radius"] = np.inf
    drift = find_drift([pair("mean radius", train["mean radius"], test["mean radius"])], None, 0)
    assert drift.seen and drift.columns.loc[0, "auc"] > 0.7


# ---------------------------------------------------------------- columns


def test_columns_of_one_table_alone_are_named(people: pd.DataFrame) -> None:
    train, test = halves(people)
    found = check_tables(train, test.drop(columns=["label", "age"]).assign(new=1), target="label")
    assert (found.privileged, found.test_only) == (["age"], ["new"])


def test_identifiers_are_named_and_compared_with_nothing(people: pd.DataFrame) -> None:
    train, test = halves(people)
    train.insert(0, "ID", [f"TRAIN_{i:03d}" for i in range(300)])
    test.insert(0, "ID", [f"TEST_{i:03d}" for i in range(300)])
    found = check_tables(train, test)
    assert list(found.identifiers) == ["ID"]
    assert found.drift is not None and not found.drift.seen and "ID" not in set(found.drift.columns["column"])


@pytest.mark.parametrize("one", [0, 1])
def test_numbers_that_one_cell_makes_text_are_no_identifier(people: pd.DataFrame, one: int) -> None:
    tables = halves(people)
    tables[one]["height"] = tables[one]["height"].astype(str).mask(tables[one].index == 7, "n/b")
    found = check_tables(*tables)
    assert found.numbers_as_text == {"height": "1 of 300 cannot be read as such, first 'n/b' in row 8"}
    assert not found.identifiers


def test_kinds_that_differ_are_shown_by_a_value(people: pd.DataFrame) -> None:
    train, test = halves(people)
    train["age"] = train["age"].astype(str).mask(train.index == 7, "old")
    found = check_tables(train, test)
    assert found.kinds.loc[0].tolist() == ["age", "text", "number", "'old', in 1 of 300 rows no number"]
    assert found.drift is not None and "age" not in set(found.drift.columns["column"])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.Series([1, 2]), "number"),
        (pd.Series([True, None]), "number"),
        (pd.Series(["a", None]), "text"),
        (pd.Series([1, 2]).astype("category"), "text"),
        (pd.to_datetime(pd.Series(["2020-01-01"])), "date"),
        (pd.Series(["a", 1], dtype=object), "mixed"),
        (pd.Series([None, np.nan]), "empty"),
    ],
)
def test_kinds(values: pd.Series, kind: str) -> None:
    assert kind_of(values) == kind


def test_an_empty_column_is_of_every_kind(people: pd.DataFrame) -> None:
    train, test = halves(people)
    assert check_tables(train, test.assign(city=np.nan)).kinds.empty


def test_dates_are_compared_in_their_order() -> None:
    days = pd.Series(pd.date_range("2020-01-01", periods=50)).repeat(8).reset_index(drop=True)
    column = pair("day", days[:200], days[200:])
    assert column.train.max() < column.test.min() and column.kind == "text"


# ---------------------------------------------------------------- values of the test table


def test_new_and_rare_categories_are_counted(people: pd.DataFrame) -> None:
    train, test = halves(people)
    train.loc[:2, "city"], test.loc[:5, "city"], test.loc[6:8, "city"] = "Ulsan", "Paris", "Ulsan"
    row = check_tables(train, test).unseen.set_index("column").loc["city"]
    assert row.tolist() == [1, pytest.approx(6 / 300), "'Paris'", 1, pytest.approx(3 / 300)]


def test_numbers_outside_the_range_of_training_are_counted(people: pd.DataFrame) -> None:
    train, test = halves(people)
    test.loc[:29, "age"] = 120
    row = check_tables(train, test).unseen.set_index("column").loc["age"]
    assert row["share"] == pytest.approx(0.1) and row["examples"] == "above 79"


# ---------------------------------------------------------------- duplicates


def test_copies_are_counted_within_and_across_tables(people: pd.DataFrame) -> None:
    train, test = halves(people)
    found = check_tables(pd.concat([train, train.head(4)]), pd.concat([test, train.tail(3), test.head(1)]))
    assert rows_of(found, "train rows that occur again") == 8
    assert rows_of(found, "test rows that occur again") == 2
    assert rows_of(found, "test rows that occur in train") == 3


def test_copies_with_another_label_are_counted(people: pd.DataFrame) -> None:
    train, test = halves(people)
    twins = train.head(4).assign(label=[*~train["label"].head(3), train.at[3, "label"]])
    found = check_tables(pd.concat([train, twins]), test, target="label")
    assert rows_of(found, "train rows that occur again with another target") == 6


def test_an_integer_is_the_same_row_where_the_other_table_holds_it_as_float(people: pd.DataFrame) -> None:
    train, test = halves(people.astype({"age": int}))
    extra = train.head(2).astype({"age": float})
    found = check_tables(train, pd.concat([test.astype({"age": float}), extra, extra.assign(age=np.nan)]))
    assert rows_of(found, "test rows that occur in train") == 2


def test_test_rows_of_known_groups_are_counted(people: pd.DataFrame) -> None:
    train, test = halves(people)
    found = check_tables(train.assign(site=train.index % 10), test.assign(site=test.index % 20), groups="site")
    assert rows_of(found, "test rows whose group occurs in train") == 150


# ---------------------------------------------------------------- leaks


def test_a_copy_of_the_target_is_found_and_strong_columns_are_not(cancer: pd.DataFrame) -> None:
    train, test = halves(cancer.assign(outcome=np.where(cancer["target"] == 1, "well", "ill")))
    found = check_tables(train, test, target="target")
    assert flagged(found, "value") == ["outcome"]


def test_a_rescaled_regression_target_is_found() -> None:
    frame = load_diabetes(as_frame=True).frame
    found = check_tables(*halves(frame.assign(log=np.log(frame["target"]))), target="target")
    assert flagged(found, "value") == ["log"] and found.metric == "r2"


def test_missing_values_that_tell_the_target_are_found(people: pd.DataFrame) -> None:
    rng = np.random.default_rng(1)
    gone = rng.random(600) < np.where(people["label"], 0.6, 0.1)
    frame = people.assign(height=people["height"].mask(gone), age=people["age"].mask(rng.random(600) < 0.3))
    found = check_tables(*halves(frame), target="label")
    assert flagged(found, "missing") == ["height"]
    note = found.leaks.query("column == 'height' and clue == 'missing'")["note"].item()  # type: ignore[union-attr]
    assert note.startswith("True in ") and "where missing" in note


def test_rows_sorted_by_the_target_are_found(people: pd.DataFrame) -> None:
    train, test = halves(people)
    assert flagged(check_tables(train, test, target="label"), "order") == []
    ordered = train.sort_values("label").assign(ID=[f"R{i:03d}" for i in range(300)])
    assert set(flagged(check_tables(ordered, test, target="label"), "order")) == {"ID", "(order of the rows)"}


def test_leaks_of_many_classes_are_found() -> None:
    frame = load_iris(as_frame=True).frame
    frame["target"] = frame["target"].map({0: "setosa", 1: "versicolor", 2: "virginica"})
    frame["copy"] = frame["target"].str.upper()
    assert "copy" in flagged(check_tables(*halves(frame), target="target"), "value")


def test_without_a_target_leaks_are_not_looked_for(people: pd.DataFrame) -> None:
    found = check_tables(*halves(people))
    assert found.leaks is None and found.metric is None


# ---------------------------------------------------------------- input and result


def test_polars_frames_give_what_pandas_frames_give(people: pd.DataFrame) -> None:
    polars = pytest.importorskip("polars")
    train, test = halves(people)
    found = check_tables(polars.from_pandas(train), polars.from_pandas(test), target="label")
    assert found.as_dict() == check_tables(train, test, target="label").as_dict()


def test_the_tables_stay_as_they_are(people: pd.DataFrame) -> None:
    train, test = halves(people)
    before = train.copy(), test.copy()
    check_tables(train, test, target="label")
    pd.testing.assert_frame_equal(train, before[0])
    pd.testing.assert_frame_equal(test, before[1])


def test_the_result_is_plain_json(people: pd.DataFrame) -> None:
    train, test = halves(people)
    test["height"] = np.nan
    found = check_tables(train, test, target="label")
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["drift"]["seen"] is True and plain["n_train"] == 300
    assert {row["column"] for row in plain["leaks"]} == {"age", "city", "height", "(order of the rows)"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "lable"}, "target lable is not among the columns. Did you mean 'label'?"),
        ({"drop": ["hieght"]}, "Did you mean 'height'?"),
        ({"id": "ID"}, "id ID is not among"),
        ({"weight": "w"}, "weight w is not among"),
        ({"groups": "city"}, "groups city has 3 groups, but 5 folds need as many"),
        ({"target": "height", "task": "classification"}, "classes are whole numbers or texts"),
    ],
)
def test_bad_options_are_refused(people: pd.DataFrame, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        check_tables(*halves(people), **options)


def test_a_target_of_too_few_rows_is_refused(people: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="too few rows to look for leaks"):
        check_tables(people.assign(label=[True] * 3 + [False] * 597), people, target="label")


def test_an_empty_table_is_refused(people: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="The table is empty"):
        check_tables(people, people.head(0))


def test_groups_that_classes_of_few_rows_leave_too_few_of_are_refused() -> None:
    groups = ["one", "two", "three"] * 40 + ["four", "five", "six"]
    label = ["yes", "no"] * 60 + ["odd"] * 3
    train = pd.DataFrame({"label": label, "home": groups, "x": np.arange(123.0) % 7})
    with pytest.raises(ValueError, match="of 3 groups, and 5 are needed"):
        check_tables(train, train.head(100), target="label", groups="home")


def test_a_target_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="The target label has no rows"):
        read_target(pd.Series([], name="label", dtype=float))

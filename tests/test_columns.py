"""Tables in, numbers out."""

from __future__ import annotations

import datetime
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy.sparse import csr_array
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from tabkd import DistilledEstimator
from tabkd.column import Column
from tabkd.columns import ColumnEncoder
from tabkd.families import named
from tabkd.frames import as_table, column_positions
from tabkd.targets import one_hot


def encode(train, test=None, encoding="ordinal", as_text=()):
    """Fit an encoder to all columns of ``train`` and encode ``test``, or ``train`` itself."""
    train = as_table(train)
    encoder = ColumnEncoder.fit(train, range(train.shape[1]), encoding, as_text)
    return encoder.transform(train if test is None else as_table(test))


def column(values, dtype=None):
    return pd.DataFrame({"x": pd.Series(values, dtype=dtype)})


def codes(train, test=None):
    return encode(train, test).to_numpy()[:, 0].tolist()


def distilled(student, **params):
    """An estimator whose student is fitted to given soft targets, so that no teacher is."""
    return DistilledEstimator(LogisticRegression(), student, alpha=0.5, cross_fit="folds", **params)


def soft(y):
    hard = one_hot(np.unique(y, return_inverse=True)[1], len(np.unique(y)))
    return 0.8 * hard + 0.2 / hard.shape[1]


# ---------------------------------------------------------------- numbers


def test_numbers_are_cast_to_float32():
    encoded = encode(column([0.1, 1 / 3]))
    assert encoded["x"].dtype == np.float32
    assert encoded["x"].tolist() == [np.float32(0.1), np.float32(1 / 3)]


def test_arrays_are_cast_to_float32():
    assert encode(np.array([[0.1]])).dtype == np.float32


@pytest.mark.filterwarnings("ignore:Column 0 holds integers beyond")
@pytest.mark.parametrize("encoding", ["ordinal", "table"])
def test_whole_numbers_are_rounded_by_way_of_float64(encoding):
    whole = np.array([[2**60 + 2**36 + 1]])
    assert encode(whole, encoding=encoding).tolist() == [[2**60]]


def test_onehot_numbers_are_those_of_float32_in_float64():
    encoded = encode(column([0.1, 1 / 3]), encoding="onehot")
    assert encoded["x"].dtype == np.float64
    assert encoded["x"].tolist() == [float(np.float32(0.1)), float(np.float32(1 / 3))]


def test_float64_table_predicts_as_its_float32_cast(numbers, two):
    model = distilled(LGBMClassifier(n_estimators=10, n_jobs=1)).fit(numbers, two, soft_targets=soft(two))
    np.testing.assert_array_equal(model.predict_proba(numbers), model.predict_proba(numbers.astype(np.float32)))


def test_student_trees_split_between_float32_values(two):
    x = (1 + np.arange(400.0)[:, None] * 1e-9).repeat(2, axis=1)
    model = distilled(DecisionTreeClassifier(random_state=0)).fit(x, two, soft_targets=soft(two))
    answers = pd.Series(model.predict_proba(x)[:, 1]).groupby(x[:, 0].astype(np.float32)).nunique()
    assert (answers == 1).all()


def test_tables_for_pipelines_may_lack_every_value_of_a_nullable_column():
    assert encode(column([1, None], "Int64"), column([None], "Int64"), "table")["x"].isna().all()


@pytest.mark.parametrize("dtype", ["Int64", "Int8", "UInt16", "Float64", "Float32"])
def test_nullable_numbers_become_float32_with_nan(dtype):
    np.testing.assert_array_equal(encode(column([1, None, 3], dtype))["x"], np.float32([1, np.nan, 3]))


def test_nullable_integers_that_are_all_missing_become_nan():
    assert encode(column([None, None], "Int64"))["x"].isna().all()


@pytest.mark.parametrize(("values", "dtype"), [([True, False], None), ([True, False], "boolean")])
def test_booleans_become_one_and_zero(values, dtype):
    assert codes(column(values, dtype)) == [1.0, 0.0]


@pytest.mark.parametrize("dtype", ["boolean", object])
def test_missing_booleans_become_nan(dtype):
    np.testing.assert_array_equal(codes(column([True, None, False], dtype)), [1.0, np.nan, 0.0])


def test_objects_that_are_all_numbers_are_numbers():
    np.testing.assert_array_equal(codes(column([1, None, 2.5], object)), [1.0, np.nan, 2.5])


def test_numbers_beyond_float32_become_infinite_without_a_warning():
    assert codes(column([1e300, -1e300])) == [np.inf, -np.inf]


def test_integers_beyond_2_to_24_warn_by_name():
    with pytest.warns(UserWarning, match=r"'x' holds integers beyond 2\*\*24"):
        encode(column([1, 2**24 + 1]))


def test_negative_integers_beyond_2_to_24_warn_by_name():
    with pytest.warns(UserWarning, match=r"'x' holds integers beyond 2\*\*24"):
        encode(column([1, -(2**24) - 1]))


def test_integers_up_to_2_to_24_are_exact():
    assert codes(column([2**24, 2**24 - 1])) == [2**24, 2**24 - 1]


def test_integer_array_beyond_2_to_24_warns_by_position():
    with pytest.warns(UserWarning, match=r"Column 1 holds integers beyond"):
        encode(np.array([[1, 2**30], [2, 5]]))


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(pd.date_range("2024-01-01", periods=3)),
        pd.Series(pd.date_range("2024-01-01", periods=3, tz="Asia/Seoul")),
        pd.Series(pd.to_timedelta([1, 2, 3], unit="s")),
        pd.Series(pd.period_range("2024-01", periods=3, freq="M")),
        pd.Series([datetime.date(2024, 1, day) for day in (1, 2, 3)], dtype=object),
        pd.Series([datetime.datetime(2024, 1, day) for day in (1, 2, 3)], dtype=object),
    ],
    ids=["datetime", "timezone", "timedelta", "period", "date objects", "datetime objects"],
)
def test_dates_and_times_are_refused_by_name(values):
    with pytest.raises(TypeError, match=r"'when' holds dates or times"):
        encode(pd.DataFrame({"when": values}))


def test_text_mixed_with_numbers_is_refused_by_name():
    with pytest.raises(TypeError, match=r"'x' mixes text with 3"):
        encode(column(["a", 3], object))


def test_text_in_a_column_of_numbers_at_predict_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'x' was a number in fit.*pd\.to_numeric"):
        encode(column([1.5, 2.5]), column(["a", "b"]))


def test_booleans_that_come_back_as_text_are_refused_with_a_way_back():
    with pytest.raises(ValueError, match=r"was a boolean in fit.*Convert it with \.map\(\{\"True\": True"):
        encode(column([True, False]), column(["True", "False"]))


def test_decimals_are_numbers():
    values = [Decimal("0.1"), None, Decimal(3)]
    np.testing.assert_array_equal(encode(column(values, object))["x"], np.float32([0.1, np.nan, 3]))


def test_objects_without_any_text_are_said_to_be_what_they_are():
    with pytest.raises(TypeError, match=r"'x' holds a list \(\[1, 2\]\), but every argument must be"):
        encode(column([[1, 2], [3]]))


# ---------------------------------------------------------------- categories

TEXT_DTYPES = [object, "str", "string", "category"]


@pytest.mark.parametrize("dtype", TEXT_DTYPES)
def test_known_categories_get_codes_from_two_up_in_sorted_order(dtype):
    assert codes(column(["b", "a", "c", "a"], dtype)) == [3, 2, 4, 2]


@pytest.mark.parametrize("dtype", TEXT_DTYPES)
def test_unknown_category_gets_code_zero(dtype):
    assert codes(column(["b", "a"], dtype), column(["z", "a"], dtype)) == [0, 2]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, ""], ids=["None", "NaN", "NA", "empty"])
@pytest.mark.parametrize("dtype", TEXT_DTYPES)
def test_missing_category_gets_code_one(dtype, missing):
    assert codes(column(["b", missing, "a"], dtype)) == [3, 1, 2]


def test_category_missing_only_at_predict_gets_code_one():
    assert codes(column(["b", "a"]), column([None, ""], object)) == [1, 1]


@pytest.mark.parametrize("train", TEXT_DTYPES)
@pytest.mark.parametrize("test", TEXT_DTYPES)
def test_codes_do_not_depend_on_the_dtype_that_holds_the_text(train, test):
    assert codes(column(["b", "a", None], train), column(["a", "b", None, "z"], test)) == [2, 3, 1, 0]


def test_ordered_categories_keep_their_order():
    dtype = pd.CategoricalDtype(["small", "medium", "large"], ordered=True)
    assert codes(column(["large", "small", "medium"], dtype)) == [4, 2, 3]


def test_unused_ordered_categories_keep_their_code():
    dtype = pd.CategoricalDtype(["small", "medium", "large"], ordered=True)
    assert codes(column(["large", "small"], dtype)) == [4, 2]


def test_unordered_categories_are_sorted_whatever_their_order():
    dtype = pd.CategoricalDtype(["small", "medium", "large"])
    assert codes(column(["large", "small", "medium"], dtype)) == [2, 4, 3]


def test_numeric_categories_meet_plain_numbers():
    assert codes(column([30, 10, 20], "category"), column([10.0, np.nan, 99.0])) == [2, 1, 0]


def test_numeric_categories_are_known_by_what_float32_makes_of_them():
    assert codes(column([0.1, 0.2, 0.3], "category"), column([0.1 + 0.2, 0.1 + 1e-12, 0.4])) == [4, 2, 0]
    assert codes(column([2**24, 2**24 + 2], "category"), column([2**24 + 1])) == [2]


def test_numeric_categories_that_float32_does_not_tell_apart_are_known_by_all_their_digits():
    ids = [2**24, 2**24 + 1]
    assert codes(column(ids, "category"), column([*ids, 2**24 + 2])) == [2, 3, 0]


def test_numeric_categories_beyond_float32_are_unknown_without_a_warning():
    assert codes(column([1.5, 2.5], "category"), column([1e300, 1.5])) == [0, 2]


def test_numeric_categories_are_sorted_as_numbers():
    assert codes(column([9, 100, 10], "category")) == [2, 4, 3]


def test_boolean_categories_get_codes():
    assert codes(column([True, None, False], "category")) == [3, 1, 2]


def test_text_column_without_a_value_is_all_missing():
    assert codes(column([None, None], object)) == [1, 1]


def test_codes_are_float32():
    assert encode(column(["a", "b"]))["x"].dtype == np.float32


def test_column_is_plain_data():
    assert Column.read("x", pd.Series(["b", None, "a"], dtype=object)) == Column("x", "category", ("a", "b"))


# ---------------------------------------------------------------- encodings


def test_onehot_has_a_column_per_category_and_one_for_missing():
    encoded = encode(column(["b", "a", None], object), encoding="onehot")
    assert encoded.columns.tolist() == ["x=", "x=a", "x=b"]
    np.testing.assert_array_equal(encoded, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])


def test_onehot_unknown_category_is_all_zeros():
    assert not encode(column(["b", "a"]), column(["z"]), "onehot").to_numpy().any()


def test_onehot_leaves_numbers_in_one_column():
    table = pd.DataFrame({"x": ["a", "b"], "y": [1.5, 2.5]})
    assert encode(table, encoding="onehot").columns.tolist() == ["x=", "x=a", "x=b", "y"]


def test_sources_tell_the_table_column_of_each_encoded_one():
    table = as_table(pd.DataFrame({"x": ["a", "b"], "y": [1.5, 2.5]}))
    assert ColumnEncoder.fit(table, [0, 1], "onehot").sources == [0, 0, 0, 1]


def test_catboost_text_columns_stay_text_and_the_rest_become_numbers():
    table = pd.DataFrame({"x": ["a", None], "y": ["u", "v"], "z": [0.1, 1.0]})
    encoded = encode(table, encoding="catboost", as_text=["x"])
    assert encoded["x"].tolist() == ["a", ""]
    assert encoded["y"].tolist() == [2, 3]
    assert encoded["z"].dtype == np.float32


def test_catboost_text_columns_by_position_are_among_the_students_own():
    table = as_table(pd.DataFrame({"x": ["a", "b"], "y": ["u", "v"]}))
    encoder = ColumnEncoder.fit(table, [1], "catboost", [0])
    assert encoder.transform(table)["y"].tolist() == ["u", "v"]


@pytest.mark.parametrize(
    ("train", "test"),
    [([3, 1, 2], [3.0, np.nan, 2.0]), ([3.0, np.nan, 2.0], [3, 1, 2])],
    ids=["missing only at predict", "missing only in fit"],
)
def test_catboost_text_of_whole_numbers_is_the_same_in_fit_and_predict(train, test):
    in_fit = encode(column(train), encoding="catboost", as_text=["x"])["x"]
    at_predict = encode(column(train), column(test), "catboost", ["x"])["x"]
    assert (at_predict[0], at_predict[2]) == (in_fit[0], in_fit[2])


@pytest.mark.parametrize("dtype", ["boolean", object])
def test_catboost_text_of_booleans_is_the_same_where_some_are_missing(dtype):
    assert encode(column([True, False]), column([True, None], dtype), "catboost", ["x"])["x"].tolist() == ["True", ""]


NUMBERED = {
    "whole": ([1, 2], ["1", "2"]),
    "whole beside a gap": ([1.0, 2.0, None], ["1", "2"]),
    "huge": ([1, 10**22], ["1", str(10**22)]),
    "fractions": ([1.0, 0.1], ["1.0", "0.10000000149011612"]),
    "booleans": ([True, False], ["True", "False"]),
}


@pytest.mark.parametrize("held", [list, lambda x: np.array(x, float), lambda x: pd.Categorical(np.array(x, float))])
@pytest.mark.parametrize("name", NUMBERED)
def test_catboost_text_of_a_numeric_category_is_that_of_its_number(name, held):
    known, texts = NUMBERED[name]
    asked = column(held(known[:2]))
    assert encode(column(pd.Categorical(known)), asked, "catboost", ["x"])["x"].tolist() == texts


def test_catboost_text_of_categories_of_text_is_as_it_is():
    texts = ["3.0", "3", "-0.0", "True"]
    assert encode(column(texts, "category"), encoding="catboost", as_text=["x"])["x"].tolist() == texts


@pytest.mark.parametrize("dtype", [int, float, "Int64", object])
def test_catboost_text_of_booleans_is_the_same_for_zero_and_one(dtype):
    asked = column([1, 0], dtype)
    assert encode(column([True, False]), asked, "catboost", ["x"])["x"].tolist() == ["True", "False"]


def test_catboost_text_of_zero_and_one_is_the_same_for_booleans():
    assert encode(column([0, 1, 2]), column([True, False]), "catboost", ["x"])["x"].tolist() == ["1", "0"]


def test_catboost_text_of_numbers_beyond_float32_is_infinite():
    assert encode(column([0.5, -1e300]), encoding="catboost", as_text=["x"])["x"].tolist() == ["0.5", "-inf"]


def test_catboost_text_of_whole_numbers_has_no_infinite_digits():
    asked = column([np.inf, -0.0, 2.5])
    assert encode(column([0, 1]), asked, "catboost", ["x"])["x"].tolist() == ["inf", "0", "2.5"]


def test_catboost_text_of_a_table_without_names_is_the_same_for_an_array():
    table = pd.DataFrame({0: pd.Categorical([1, 2])})
    encoded = encode(table, np.array([[2.0], [1.0]]), "catboost", [0])
    assert encoded[0].tolist() == ["2", "1"]


def test_category_encoding_keeps_pandas_categories():
    encoded = encode(column(["b", "a", None], object), column(["a", "z"]), "category")["x"]
    assert encoded.cat.categories.tolist() == ["a", "b"]
    assert encoded.cat.codes.tolist() == [0, -1]


def test_table_encoding_casts_floats_and_leaves_the_rest():
    table = pd.DataFrame({"x": ["a", "b"], "y": [0.1, 0.2], "z": [2**23, 1]})
    encoded = encode(table, encoding="table")
    assert [str(dtype) for dtype in encoded.dtypes] == [str(table["x"].dtype), "float32", "int64"]


@pytest.mark.parametrize("encoding", ["table", "ordinal"])
@pytest.mark.parametrize("make", [column, lambda values: np.array([values]).T], ids=["frame", "array"])
def test_doubles_are_rounded_to_float32_and_held_in_float64(encoding, make):
    table = make([0.1, 1 / 3])
    encoder = ColumnEncoder.fit(table, [0], encoding)
    encoded = np.asarray(replace(encoder, doubles=frozenset(encoder.names)).transform(table))
    assert encoded.dtype == np.float64
    assert encoded[:, 0].tolist() == [float(np.float32(0.1)), float(np.float32(1 / 3))]


def test_raw_encoding_leaves_the_table_untouched(numbers):
    pd.testing.assert_frame_equal(encode(numbers, encoding="raw"), numbers)


def test_pipeline_reads_dates_itself(numbers, two):
    table = numbers.assign(when=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(400) % 365, unit="D"))
    months = FunctionTransformer(lambda X: X.assign(when=X["when"].dt.month))
    student = make_pipeline(months, DecisionTreeClassifier(max_depth=3))
    model = distilled(student).fit(table, two, soft_targets=soft(two))
    assert model.predict_proba(table).shape == (400, 2)


def test_encoding_does_not_change_the_callers_table(mixed):
    before = mixed.copy(deep=True)
    for encoding in ("ordinal", "onehot", "catboost", "category", "table", "raw"):
        encode(mixed, encoding=encoding, as_text=["city"])
    pd.testing.assert_frame_equal(mixed, before)


def test_encoded_frame_keeps_the_rows_index(numbers):
    rows = numbers.iloc[[5, 3]]
    assert encode(numbers, rows).index.tolist() == [5, 3]


# ---------------------------------------------------------------- polars, arrays


def test_polars_table_encodes_as_the_pandas_table(mixed):
    other = pl.from_pandas(mixed)
    np.testing.assert_array_equal(encode(other).to_numpy(), encode(mixed).to_numpy())


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (pl.Series(["b", None, "a"]), [3, 1, 2]),
        (pl.Series(["b", None, "a"], dtype=pl.Categorical), [3, 1, 2]),
        (pl.Series([True, None, False]), [1, np.nan, 0]),
        (pl.Series([1, None, 3]), [1, np.nan, 3]),
    ],
    ids=["text", "categorical", "boolean", "integer"],
)
def test_polars_columns_with_nulls_are_read(series, expected):
    np.testing.assert_array_equal(encode(pl.DataFrame({"x": series})).to_numpy()[:, 0], expected)


def test_polars_and_pandas_give_the_same_model(mixed, two):
    soft_targets = soft(two)
    by_pandas, by_polars = (
        distilled(LGBMClassifier(n_estimators=10, n_jobs=1)).fit(table, two, soft_targets=soft_targets)
        for table in (mixed, pl.from_pandas(mixed))
    )
    np.testing.assert_array_equal(by_pandas.predict_proba(mixed), by_polars.predict_proba(pl.from_pandas(mixed)))


def test_object_array_is_read_column_by_column():
    table = np.array([["b", 1.5, True], ["a", None, False]], dtype=object)
    np.testing.assert_array_equal(encode(table), [[3, 1.5, 1], [2, np.nan, 0]])


def test_text_array_is_read():
    np.testing.assert_array_equal(encode(np.array([["b", "u"], ["a", "v"]])), [[3, 2], [2, 3]])


def test_list_of_lists_is_read():
    np.testing.assert_array_equal(encode([[1, 2], [3, 4]]), [[1, 2], [3, 4]])


def test_array_with_text_predicts_row_by_row_as_all_at_once(mixed, two):
    table = mixed.to_numpy(dtype=object)
    model = distilled(LGBMClassifier(n_estimators=10, n_jobs=1)).fit(table, two, soft_targets=soft(two))
    one_by_one = np.vstack([model.predict_proba(table[[row]]) for row in range(20)])
    np.testing.assert_array_equal(one_by_one, model.predict_proba(table[:20]))


def test_sparse_table_is_refused():
    with pytest.raises(TypeError, match="toarray"):
        as_table(csr_array(np.eye(3)))


def test_one_dimensional_table_is_refused():
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        as_table([1.0, 2.0])


# ---------------------------------------------------------------- which columns


@pytest.mark.parametrize(
    "spec",
    [
        ["a", "c"],
        [0, 2],
        [0, -2],
        slice(0, None, 2),
        [True, False, True, False],
        np.array(["a", "c"]),
        pd.Index(["a", "c"]),
        ("a", "c"),
        lambda X: ["a", "c"],
        lambda X: [name in "ac" for name in X.columns],
    ],
    ids=["names", "positions", "negative", "slice", "mask", "array", "index", "tuple", "callable", "callable mask"],
)
def test_column_specifications_choose_positions(numbers, spec):
    assert column_positions(numbers, spec, "student_features") == [0, 2]


def test_one_name_chooses_one_column(numbers):
    assert column_positions(numbers, "b", "student_features") == [1]


def test_slice_of_names_includes_its_end(numbers):
    assert column_positions(numbers, slice("b", "c"), "student_features") == [1, 2]


def test_none_chooses_every_column(numbers):
    assert column_positions(numbers, None, "student_features") == [0, 1, 2, 3]


def test_columns_keep_the_order_of_the_specification(numbers):
    assert column_positions(numbers, ["c", "a"], "student_features") == [2, 0]


@pytest.mark.parametrize("spec", [[True, False], [7], slice(4, 9), []], ids=["mask", "position", "slice", "empty"])
def test_specification_that_does_not_fit_is_refused_by_parameter(numbers, spec):
    with pytest.raises(ValueError, match=r"student_features="):
        column_positions(numbers, spec, "student_features")


def test_names_for_an_array_are_refused(numbers):
    with pytest.raises(ValueError, match=r"student_features names columns \['a'\], but X has no column names"):
        column_positions(numbers.to_numpy(), ["a"], "student_features")


def test_column_named_twice_is_refused_by_name(numbers):
    with pytest.raises(ValueError, match=r"student_features.*'a'"):
        column_positions(numbers, ["a", "b", "a"], "student_features")


@pytest.fixture(scope="module")
def on_two_columns(mixed, two):
    student = LGBMClassifier(n_estimators=10, n_jobs=1)
    return distilled(student, student_features=["city", "b"]).fit(mixed, two, soft_targets=soft(two))


def test_student_features_lists_what_the_student_needs(on_two_columns):
    assert on_two_columns.student_features_ == ["city", "b"]


def test_feature_names_in_is_the_table_of_fit(on_two_columns, mixed):
    assert on_two_columns.feature_names_in_.tolist() == mixed.columns.tolist()


@pytest.mark.parametrize(
    "columns",
    [["city", "b"], ["b", "city"], ["b", "a", "d", "city"]],
    ids=["the student's own", "another order", "more, and in another order"],
)
def test_predict_finds_columns_by_name(on_two_columns, mixed, columns):
    expected = on_two_columns.predict_proba(mixed)
    np.testing.assert_array_equal(on_two_columns.predict_proba(mixed[columns]), expected)


def test_unknown_extra_columns_are_ignored_at_predict(on_two_columns, mixed):
    table = mixed[["b", "city"]].assign(odd=pd.Timestamp("2024-01-01"))
    np.testing.assert_array_equal(on_two_columns.predict_proba(table), on_two_columns.predict_proba(mixed))


def test_missing_column_at_predict_is_named(on_two_columns, mixed):
    with pytest.raises(ValueError, match=r"Columns \['city'\] are missing.*\['city', 'b'\]"):
        on_two_columns.predict_proba(mixed.drop(columns="city"))


@pytest.mark.parametrize("width", [2, 4], ids=["the student's own", "the full table"])
def test_array_at_predict_is_read_by_position(numbers, two, width):
    table = numbers.to_numpy()
    student = LGBMClassifier(n_estimators=10, n_jobs=1)
    model = distilled(student, student_features=[3, 0]).fit(table, two, soft_targets=soft(two))
    own = table[:, [3, 0]]
    given = own if width == 2 else table
    native = model.student_.members[0].raw(own.astype(np.float32))
    np.testing.assert_allclose(model.predict_proba(given)[:, 1], 1 / (1 + np.exp(-native[:, 0])), rtol=1e-12)


def test_array_of_another_width_at_predict_is_refused(numbers, two):
    student = LGBMClassifier(n_estimators=2, n_jobs=1)
    model = distilled(student, student_features=[3, 0]).fit(numbers.to_numpy(), two, soft_targets=soft(two))
    with pytest.raises(ValueError, match=r"X has 3 features, but \w.* is expecting 4 features"):
        model.predict(numbers.to_numpy()[:, :3])


# ---------------------------------------------------------------- names that boosters refuse

NAMES = {
    "korean": ["나이", "소득 (만원)", "지역", "등급"],
    "brackets": ["a[0]", "a[1]", "b<3", "c{d}"],
    "json": ['q"x"', "a,b", "k:v", "plain"],
    "alike": ["a[0", "a]0", "a_0_0", "a_0"],
    "numbered alike": ["a[", "a]", "a__1", "a__0"],
    "spaces": ["a b", "a_b", "c", "d"],
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("library", [LGBMClassifier, XGBClassifier])
def test_any_column_name_works_with_boosters(numbers, two, three, names, classes, loss, library):
    table, y = numbers.set_axis(names, axis=1), two if classes == 2 else three
    model = distilled(library(n_estimators=2, n_jobs=1), loss=loss).fit(table, y, soft_targets=soft(y))
    assert model.predict_proba(table).shape == (400, classes)


@pytest.mark.parametrize("library", [LGBMClassifier, XGBClassifier])
def test_any_column_name_works_with_a_booster_as_teacher(numbers, two, library):
    table = numbers.set_axis(NAMES["brackets"], axis=1)
    model = DistilledEstimator(library(n_estimators=5, n_jobs=1), LogisticRegression(), alpha=0.5, cross_fit="folds")
    assert model.fit(table, two).teacher_.predict_proba(table).shape == (400, 2)


def test_any_column_name_works_in_a_regression_with_several_outputs(numbers):
    table = numbers.set_axis(NAMES["brackets"], axis=1)
    y = numbers[["a", "b"]].to_numpy()
    learner = LGBMRegressor(n_estimators=5, n_jobs=1)
    model = DistilledEstimator(learner, learner, alpha=0.5, cross_fit="folds", cv=3).fit(table, y)
    assert model.predict(table).shape == (400, 2)


LGBM = LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1)
XGB = XGBClassifier(n_estimators=2, n_jobs=1)


@pytest.mark.parametrize(
    "model",
    [
        GridSearchCV(LGBM, {"num_leaves": [3, 7]}, cv=2),
        GridSearchCV(XGB, {"max_depth": [1, 2]}, cv=2),
        CalibratedClassifierCV(LGBM, cv=2),
        VotingClassifier([("lightgbm", LGBM), ("xgboost", XGB)], voting="soft"),
        StackingClassifier([("lightgbm", CalibratedClassifierCV(LGBM, cv=2))], cv=2),
    ],
    ids=["search", "search of xgboost", "calibrated", "voting", "stacked"],
)
def test_any_column_name_works_with_boosters_inside_other_models(numbers, two, model):
    table = numbers.set_axis(NAMES["brackets"], axis=1)
    student = distilled(model).fit(table, two, soft_targets=soft(two))
    assert student.predict_proba(table).shape == (400, 2)


def test_any_column_name_works_with_a_booster_of_a_transformed_target(numbers):
    table, y = numbers.set_axis(NAMES["brackets"], axis=1), numbers["a"].to_numpy()
    student = TransformedTargetRegressor(LGBMRegressor(n_estimators=2, n_jobs=1), func=np.arcsinh, inverse_func=np.sinh)
    model = DistilledEstimator(LGBMRegressor(), student, alpha=0.5, cross_fit="folds")
    assert model.fit(table, y, soft_targets=y).predict(table).shape == (400,)


def test_any_category_works_with_a_booster_beside_a_linear_model(numbers, two):
    table = numbers.assign(time=np.where(two, "08:00", "Bonn, DE"))
    student = VotingClassifier([("trees", LGBM), ("line", LogisticRegression())], voting="soft")
    model = distilled(student).fit(table, two, soft_targets=soft(two))
    assert model.predict_proba(table).shape == (400, 2)


SCALED = ColumnTransformer([("scale", StandardScaler(), ["b<3"])])


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(SCALED, LGBM),
        VotingClassifier([("pipeline", make_pipeline(SCALED, LGBM))]),
        DistilledEstimator(LGBM, LGBM, student_features=["b<3"]),
        FrozenEstimator(VotingClassifier([("trees", LGBM)])),
        VotingClassifier([("trees", DecisionTreeClassifier())]),
    ],
    ids=lambda model: type(model).__name__,
)
def test_names_stay_where_no_booster_is_handed_the_columns(numbers, model):
    assert named(numbers.set_axis(NAMES["brackets"], axis=1), model).columns.tolist() == NAMES["brackets"]


def test_blanks_stay_in_names_that_other_parts_of_a_model_may_use(numbers, two):
    table = numbers.assign(kind=two).rename(columns={"kind": "home kind"})
    native = HistGradientBoostingClassifier(max_iter=2, categorical_features=["home kind"])
    model = distilled(VotingClassifier([("lightgbm", LGBM), ("native", native)], voting="soft"))
    assert model.fit(table, two, soft_targets=soft(two)).predict_proba(table).shape == (400, 2)


# ---------------------------------------------------------------- parameters that name columns


def test_monotonic_constraint_by_name_reaches_the_student(numbers, two):
    student = HistGradientBoostingClassifier(max_iter=20, monotonic_cst={"a": -1})
    model = distilled(student).fit(numbers, two, soft_targets=soft(two))
    line = pd.DataFrame(0.0, index=range(50), columns=numbers.columns).assign(a=np.linspace(-2, 2, 50))
    assert (np.diff(model.predict_proba(line)[:, 1]) <= 0).all()


def test_categorical_features_by_name_reach_the_student(mixed, two):
    student = HistGradientBoostingClassifier(max_iter=5, categorical_features=["city"])
    model = distilled(student).fit(mixed, two, soft_targets=soft(two))
    fitted = model.student_.members[0].adapter.estimator
    assert fitted.is_categorical_.tolist() == [False, False, False, False, True]


def test_cat_features_by_name_reach_the_student(mixed, two):
    student = CatBoostClassifier(n_estimators=5, thread_count=1, cat_features=["city"])
    model = distilled(student).fit(mixed, two, soft_targets=soft(two))
    assert model.student_.members[0].adapter.estimator.get_cat_feature_indices() == [4]


def test_cat_features_by_position_reach_the_student_of_an_array(mixed, two):
    table = mixed.to_numpy(dtype=object)
    student = CatBoostClassifier(n_estimators=5, thread_count=1, cat_features=[4])
    model = distilled(student).fit(table, two, soft_targets=soft(two))
    assert model.predict_proba(table).shape == (400, 2)


def test_native_categories_reach_an_xgboost_student(mixed, two):
    student = XGBClassifier(n_estimators=5, n_jobs=1, enable_categorical=True)
    model = distilled(student).fit(mixed, two, soft_targets=soft(two))
    assert model.student_.members[0].adapter.estimator.get_booster().feature_types == [*["float"] * 4, "c"]


@pytest.mark.parametrize("known", [[1.0, 2.5], [True, False]], ids=["floats", "booleans"])
def test_native_categories_of_any_numbers_reach_an_xgboost_student(numbers, two, known):
    table = numbers.assign(grade=pd.Categorical(np.array(known)[two]))
    student = XGBClassifier(n_estimators=5, n_jobs=1, enable_categorical=True)
    model = distilled(student).fit(table, two, soft_targets=soft(two))
    np.testing.assert_array_equal(model.predict(table.assign(grade=table["grade"].astype(float))), two)


@pytest.mark.parametrize("odd", ["intervals", "nothing"])
def test_native_categories_of_odd_columns_reach_an_xgboost_student(numbers, two, odd):
    table = numbers.assign(odd=pd.cut(numbers["a"], 4) if odd == "intervals" else None)
    student = XGBClassifier(n_estimators=5, n_jobs=1, enable_categorical=True)
    model = distilled(student).fit(table, two, soft_targets=soft(two))
    assert model.student_.members[0].adapter.estimator.get_booster().feature_types == [*["float"] * 4, "c"]


@pytest.mark.parametrize(
    "student",
    [
        LGBMClassifier(n_estimators=5, n_jobs=1),
        LogisticRegression(),
        CatBoostClassifier(n_estimators=5, thread_count=1, cat_features=["city"]),
        XGBClassifier(n_estimators=5, n_jobs=1, enable_categorical=True),
    ],
    ids=["ordinal", "onehot", "catboost", "category"],
)
def test_unseen_and_missing_categories_are_predicted_under_every_encoding(student, mixed, two):
    model = distilled(student).fit(mixed, two, soft_targets=soft(two))
    table = mixed.head(3).assign(city=pd.Series(["Paris", None, ""], dtype=object))
    proba = model.predict_proba(table)
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(proba[1], model.predict_proba(table.assign(city=""))[1])


def test_dates_are_refused_as_categories_too() -> None:
    dates = pd.Series(pd.to_datetime(["2024-01-01", "2024-02-01"])).astype("category")
    with pytest.raises(TypeError, match="holds dates or times"):
        Column.read("day", dates)


def test_columns_of_categories_have_names_of_their_own() -> None:
    X = pd.DataFrame({"a": ["x", "y"], "a=x": [1.0, 2.0]})
    names = ColumnEncoder.fit(X, [0, 1], "onehot").transform(X).columns
    assert list(names) == ["a=", "a=x", "a=y", "a=x_"]


@pytest.mark.parametrize("encoding", ["ordinal", "onehot", "category", "catboost", "table"])
@pytest.mark.parametrize("named", [True, False])
def test_as_new_a_category_that_known_rows_lack_is_unknown(encoding, named):
    table = pd.DataFrame({"city": ["rome", "bonn", None, "oslo"], "n": [1.0, np.nan, 3.0, 4.0]})
    table = table if named else table.to_numpy()
    encoder = ColumnEncoder.fit(table, [0, 1], encoding)
    new, known = table[3:].copy(), np.arange(3)
    made = pd.DataFrame(encoder.as_new(encoder.transform(table), np.array([3]), known)).reset_index(drop=True)
    if encoding != "table":  # what reads tables makes categories of its own
        new[new == "oslo"] = "nowhere"
    pd.testing.assert_frame_equal(made, pd.DataFrame(encoder.transform(new)).reset_index(drop=True))
    again = encoder.as_new(encoder.transform(table), known, known)
    pd.testing.assert_frame_equal(pd.DataFrame(again), pd.DataFrame(encoder.transform(table[:3])))

"""Submissions: which row gets which prediction, and whether it is a label or a probability."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from tabkd.submission import Answers, joining, submission

TEST = pd.DataFrame({"id": ["07", "05", "06"], "x": [1.5, 2.5, 2.5]})
PROBA = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
ANSWERS = Answers(np.array([0, 1, 0]), PROBA, np.array([0, 1]))


def sample(text: str) -> pd.DataFrame:
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    return frame.set_axis(text.partition("\n")[0].split(","), axis=1)


def filled(text: str, test: pd.DataFrame = TEST, id: str | None = "id", **asked: bool | None) -> list[list[object]]:
    table = submission(sample(text), test, id, "y", ANSWERS, **asked)
    return [table.columns.tolist(), *table.to_numpy().tolist()]


def test_rows_are_matched_by_the_identifier() -> None:
    assert filled("id,y\n05,0.0\n06,0.0\n07,0.0\n") == [["id", "y"], ["05", 0.8], ["06", 0.3], ["07", 0.1]]


@pytest.mark.parametrize("id", [None, "id"])
def test_rows_are_matched_by_values_where_names_differ(id: str | None) -> None:
    assert filled("ID,y\n5,0.0\n6,0.0\n7,0.0\n", id=id)[1:] == [["5", 0.8], ["6", 0.3], ["7", 0.1]]


def test_written_index_joins_and_keeps_its_empty_header() -> None:
    test = TEST.assign(**{"Unnamed: 0": [2, 0, 1]})
    assert filled(",y\n0,0\n1,0\n2,0\n", test, None) == [["", "y"], ["0", 1], ["1", 0], ["2", 0]]


def test_columns_that_are_not_filled_stay_as_they_were_written() -> None:
    assert filled("number,y\n001,0\n002,0\n003,0\n", id=None) == [["number", "y"], ["001", 0], ["002", 1], ["003", 0]]


def test_identifiers_that_differ_in_zeros_alone_are_different() -> None:
    test = pd.DataFrame({"id": ["7", "07", "x"]})
    assert filled("id,y\nx,0.0\n07,0.0\n7,0.0\n", test)[1:] == [["x", 0.3], ["07", 0.8], ["7", 0.1]]


def test_nothing_joins_tables_of_other_values() -> None:
    assert joining(sample("ID,y\na,0\nb,0\nc,0\n"), TEST, "id", "y") is None


@pytest.mark.parametrize(
    ("written", "asked", "expected"),
    [
        ("0", None, [0, 1, 0]),
        ("0.5", None, [0.1, 0.8, 0.3]),
        ("0", False, [0.1, 0.8, 0.3]),
        ("0.5", True, [0, 1, 0]),
        ("", False, [0.1, 0.8, 0.3]),
        ("", None, [0, 1, 0]),
    ],
)
def test_the_metric_decides_between_labels_and_probabilities_and_else_the_sample(
    written: str, asked: bool | None, expected: list[float]
) -> None:
    rows = filled("id,y\n" + "".join(f"{id},{written}\n" for id in TEST["id"]), of_labels=asked)
    assert [row[1] for row in rows[1:]] == expected


def test_decimal_commas_ask_for_probabilities() -> None:
    written = sample('id,y\n07,"0,5"\n05,"0,5"\n06,"0,5"\n')
    assert submission(written, TEST, "id", "y", ANSWERS)["y"].tolist() == [0.1, 0.8, 0.3]


def test_the_column_to_fill_names_no_rows() -> None:
    test = pd.DataFrame({"f": [0.0, 1.0, 2.0]})
    assert filled("no,y\n9,0\n8,1\n9,2\n", test, None)[1:] == [["9", 0], ["8", 1], ["9", 0]]


@pytest.mark.parametrize("nothing", ["NA", "NaN", "null"])
def test_placeholders_ask_for_labels(nothing: str) -> None:
    assert [row[1] for row in filled(f"id,y\n07,{nothing}\n05,{nothing}\n06,{nothing}\n")[1:]] == [0, 1, 0]


def test_booleans_may_be_written_in_capitals() -> None:
    answers = Answers(np.array([False, True, False]), PROBA, np.array([False, True]))
    table = submission(sample("id,y\n07,TRUE\n05,FALSE\n06,TRUE\n"), TEST, "id", "y", answers)
    assert table["y"].tolist() == [False, True, False]


def test_integers_beside_empty_cells_ask_for_labels() -> None:
    assert [row[1] for row in filled("id,y\n07,0\n05,\n06,1\n")[1:]] == [0, 1, 0]

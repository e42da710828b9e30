"""``tabkd check`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tabkd.cli import app


def call(*args: Any) -> Any:
    return CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)


def done(*args: Any) -> str:
    result = call("check", *args)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*args: Any) -> str:
    """The one line on stderr of a call that must fail."""
    result = call("check", *args)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


class Pair:
    """Two tables on disk, drawn alike: 200 and 100 rows; the training table has ``lab`` and the label as well."""

    def __init__(self, path: Path) -> None:
        rng = np.random.default_rng(0)
        frame = pd.DataFrame(
            {
                "ID": [f"R{i:04d}" for i in range(300)],
                "나이": rng.integers(20, 80, 300),
                "city": rng.choice(["Seoul", "Busan"], 300),
                "height": rng.normal(170, 9, 300).round(2),
                "lab": rng.normal(size=300),
                "label": rng.choice(["no", "yes"], 300),
            }
        )
        self.train, self.test = frame.head(200), frame.tail(100).drop(columns=["lab", "label"]).reset_index(drop=True)
        self.path = path
        self.args = [self.write("train.csv", self.train), self.write("test.csv", self.test)]

    def write(self, name: str, frame: pd.DataFrame) -> Path:
        frame.to_csv(self.path / name, index=False, encoding="utf-8")
        return self.path / name


@pytest.fixture
def tables(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_tables_drawn_alike_are_said_to_be(tables: Pair) -> None:
    text = done(*tables.args, "--target", "label")
    assert "privileged: 1 in train alone: lab." in text
    assert "left out: ID, a different text in every row." in text
    assert "drift: no drift seen (train against test has ROC AUC 0." in text
    assert "leaks: none found. The best column alone is" in text
    assert "Nothing to say of: kinds, duplicates, unseen values." in text


def test_a_drifted_column_is_the_first_of_the_table(tables: Pair) -> None:
    tables.write("test.csv", tables.test.assign(나이=tables.test["나이"] + 15))
    lines = done(*tables.args).splitlines()
    head = next(i for i, line in enumerate(lines) if "AUC alone" in line)
    assert lines[head - 1].startswith("drift: ") and lines[head + 1].startswith("  * 나이")
    assert any(line.startswith("  Without those marked: no drift seen") for line in lines)


def test_every_finding_has_its_lines(tables: Pair) -> None:
    train = tables.train.assign(copy=tables.train["label"], size="12").assign(
        size=lambda t: t["size"].mask(t.index == 0, "big")
    )
    test = tables.test.assign(copy="no", size=12, city=tables.test["city"].mask(tables.test.index < 9, "Jeju"), extra=1)
    tables.write("train.csv", pd.concat([train, train.head(5)]))
    tables.write("test.csv", test)
    text = done(*tables.args, "--target", "label", "--id", "ID")
    assert "test only: 1 in test alone, and so of no use: extra." in text
    assert "size    text   number  'big', in 2 of 205 rows no number" in text
    assert "  copy  1.000" in text
    assert "train rows that occur again" in text and "(--groups)" in text
    assert "city    1    9.0%           'Jeju'" in text


def test_a_column_that_one_cell_makes_text_is_named(tables: Pair) -> None:
    tables.write("train.csv", tables.train.astype({"lab": str}).replace({"lab": {str(tables.train["lab"][3]): "n/b"}}))
    assert "read as text: lab, which holds numbers, but 1 of 200 cannot be read as such, first 'n/b' in row 4." in done(
        *tables.args
    )


def test_without_a_target_the_report_says_what_it_left_undone(tables: Pair) -> None:
    assert "leaks: not looked for: name the target with --target." in done(*tables.args)


def test_dropped_columns_are_looked_at_nowhere(tables: Pair) -> None:
    tables.write("test.csv", tables.test.assign(나이=tables.test["나이"] + 15, city="Jeju"))
    text = done(*tables.args, "--drop", "나이,city", "--drop", "lab,height")
    assert "나이" not in text and "city" not in text and "lab," not in text
    assert "drift: not looked for; it needs a common column" in text


def test_json_holds_everything_that_was_found(tables: Pair) -> None:
    out = tables.path / "found.json"
    assert f"Written to {out}." in done(*tables.args, "--target", "label", "--json", out)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["privileged"] == ["lab"] and found["drift"]["seen"] is False
    assert {row["column"] for row in found["drift"]["columns"]} == {"나이", "city", "height"}


def test_an_existing_json_file_is_replaced_on_demand_only(tables: Pair) -> None:
    out = tables.path / "found.json"
    out.write_text("mine", encoding="utf-8")
    assert "exists. Give another name, or --overwrite." in refused(*tables.args, "--json", out)
    assert out.read_text(encoding="utf-8") == "mine"
    done(*tables.args, "--json", out, "--overwrite")
    assert json.loads(out.read_text(encoding="utf-8"))["n_test"] == 100


def test_json_never_replaces_a_table_that_is_read(tables: Pair) -> None:
    assert "exists. Give another name." in refused(*tables.args, "--json", tables.args[0], "--overwrite")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--target", "lable"], "target lable is not among the columns. Did you mean 'label' or 'lab'?"),
        (["--drop", "cty"], "Did you mean 'city'?"),
        (["--target", "label", "--task", "regression"], "not numbers"),
        (["--groups", "label"], "groups label has 2 groups, but 5 folds need as many. Leave it out."),
        (["--json", "no/such/folder/found.json"], "the folder no/such/folder does not exist"),
        (["--json", "/"], "--json: / is a folder"),
    ],
)
def test_bad_options_are_refused(tables: Pair, options: list[str], said: str) -> None:
    assert said in refused(*tables.args, *options)


def test_a_missing_file_is_named(tables: Pair) -> None:
    assert "tset.csv does not exist. Did you mean 'test.csv'?" in refused(tables.args[0], tables.path / "tset.csv")

"""``tabkd budget``: the columns that the student may cost."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from typer.testing import CliRunner

from tabkd.cli import app

pytestmark = pytest.mark.filterwarnings("ignore:With alpha=")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    data = load_breast_cancer(as_frame=True)
    train = data.data.assign(diagnosis=data.target_names[data.target])
    train.to_csv(folder / "train.csv", index=False)
    train[list(data.data.columns[:6])].head(50).to_csv(folder / "test.csv", index=False)
    return folder


def options(tables, out, *more):
    given = ["--target", "diagnosis", "--test", tables / "test.csv", "--student", "tree", "--out", out]
    return ["budget", tables / "train.csv", *given, *more]


@pytest.fixture(scope="module")
def chosen(tables):
    result = run(*options(tables, tables / "out", "--n-features", 2))
    assert result.exit_code == 0, result.output
    return tables / "out", result.output


def test_student_reads_as_many_columns_as_it_may(chosen):
    summary = json.loads((chosen[0] / "summary.json").read_text(encoding="utf-8"))
    assert len(summary["student_columns"]) == 2
    assert summary["budget"]["columns"] == summary["student_columns"]
    assert "Columns chosen, 2 of 6" in chosen[1]


def test_folder_holds_the_frontier(chosen):
    frontier = pd.read_csv(chosen[0] / "frontier.csv")
    assert frontier["n_features"].iloc[0] == 6
    assert frontier["n_features"].iloc[-1] == 2


def test_prediction_needs_the_chosen_columns_alone(chosen, tables, tmp_path):
    summary = json.loads((chosen[0] / "summary.json").read_text(encoding="utf-8"))
    pd.read_csv(tables / "test.csv")[summary["student_columns"]].to_csv(tmp_path / "few.csv", index=False)
    result = run("predict", chosen[0], tmp_path / "few.csv", "-o", tmp_path / "answers.csv")
    assert result.exit_code == 0, result.output


def test_costs_are_read_from_a_table(tables, tmp_path):
    names = pd.read_csv(tables / "test.csv").columns
    pd.DataFrame({"column": [names[0]], "cost": [100]}).to_csv(tmp_path / "costs.csv", index=False)
    result = run(*options(tables, tmp_path / "out", "--max-cost", 3, "--costs", tmp_path / "costs.csv"))
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert names[0] not in summary["student_columns"]
    assert summary["budget"]["cost"] <= 3


def test_costs_of_an_unknown_column_are_refused(tables, tmp_path):
    pd.DataFrame({"column": ["mean radios"], "cost": [1]}).to_csv(tmp_path / "costs.csv", index=False)
    result = run(*options(tables, tmp_path / "out", "--max-cost", 3, "--costs", tmp_path / "costs.csv"))
    assert result.exit_code == 2
    assert "Did you mean 'mean radius'" in " ".join(result.output.split())


def test_cost_that_is_no_number_is_refused(tables, tmp_path):
    pd.DataFrame({"column": ["mean radius"], "cost": ["cheap"]}).to_csv(tmp_path / "costs.csv", index=False)
    result = run(*options(tables, tmp_path / "out", "--max-cost", 3, "--costs", tmp_path / "costs.csv"))
    assert result.exit_code == 2
    assert "mean radius costs 'cheap', which is no number >= 0" in " ".join(result.output.split())


def test_scores_are_said_to_be_of_the_rows_that_chose_the_columns(chosen):
    assert "columns were chosen on these rows" in chosen[1]


def test_budget_that_buys_nothing_is_refused(tables, tmp_path):
    result = run(*options(tables, tmp_path / "out", "--max-cost", 0.5))
    assert result.exit_code == 2
    assert "buys no column" in " ".join(result.output.split())

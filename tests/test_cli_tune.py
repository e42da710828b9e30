"""``tabkd tune``, and options from a file."""

from __future__ import annotations

import json
import tomllib

import joblib
import numpy as np
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
    train[list(data.data.columns[:10])].head(50).to_csv(folder / "test.csv", index=False)
    return folder


def options(tables, out, *more):
    given = ["--target", "diagnosis", "--test", tables / "test.csv", "--student", "tree", "--out", out]
    return ["tune", tables / "train.csv", *given, "--n-trials", 3, "--teacher-trials", 0, *more]


@pytest.fixture(scope="module")
def tuned(tables):
    out = tables / "tuned"
    result = run(*options(tables, out, "--storage", tables / "study.log", "--objective", "size"))
    assert result.exit_code == 0, result.output
    return out, result.output


def test_folder_holds_the_trials_and_what_a_fit_writes(tuned):
    names = {path.name for path in tuned[0].iterdir()}
    assert {"trials.csv", "pareto_front.csv", "run.toml", "model.joblib", "submission.csv", "summary.json"} <= names
    assert len(pd.read_csv(tuned[0] / "trials.csv")) == 3


def test_summary_says_what_to_expect_of_the_search(tuned):
    out, shown = tuned
    search = json.loads((out / "summary.json").read_text(encoding="utf-8"))["search"]
    assert search["trials"] == 3
    assert np.isfinite([search["expected_score"], search["default_score"]]).all()
    assert "of 3 trials" in shown.lower()


def test_tuned_model_predicts_and_exports(tuned, tables, tmp_path):
    assert run("predict", tuned[0], tables / "test.csv", "-o", tmp_path / "answers.csv").exit_code == 0
    assert run("export", tuned[0], "--out", tmp_path / "student.onnx").exit_code == 0


def test_run_is_made_again_from_its_file(tuned, tables, tmp_path):
    written = tomllib.loads((tuned[0] / "run.toml").read_text(encoding="utf-8"))
    assert written["command"] == "tune"
    again = tmp_path / "again"
    result = run("tune", "--config", tuned[0] / "run.toml", "--out", again, "--storage", tmp_path / "other.log")
    assert result.exit_code == 0, result.output
    first, second = (joblib.load(folder / "model.joblib") for folder in (tuned[0], again))
    rows = pd.read_csv(tables / "test.csv")
    assert (first.predict_proba(rows) == second.predict_proba(rows)).all()


def test_fit_takes_its_options_from_a_file_too(tables, tmp_path):
    config = tmp_path / "options.toml"
    lines = [
        f'train = "{tables}/train.csv"',
        'target = "diagnosis"',
        'student-features = ["mean area", "mean texture"]',
    ]
    config.write_text("\n".join([*lines, 'student = "tree"']), encoding="utf-8")
    result = run("fit", "--config", config, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert joblib.load(tmp_path / "out" / "model.joblib").student_features_ == ["mean area", "mean texture"]


def test_options_of_the_command_line_go_first(tables, tmp_path):
    config = tmp_path / "options.toml"
    config.write_text('student = "nonsense"\ntarget = "diagnosis"\n', encoding="utf-8")
    result = run("fit", tables / "train.csv", "--config", config, "--student", "tree", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('studnet = "tree"', "Did you mean 'student'"),
        ("student = tree", "cannot be read"),
        ('command = "tune"', "is of tabkd tune, not of tabkd fit"),
    ],
)
def test_bad_file_of_options_is_refused(tables, tmp_path, text, message):
    config = tmp_path / "options.toml"
    config.write_text(text, encoding="utf-8")
    out = ["--target", "diagnosis", "--out", tmp_path / "out"]
    result = run("fit", tables / "train.csv", "--config", config, *out)
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_missing_file_of_options_is_refused(tables, tmp_path):
    result = run(
        "fit", tables / "train.csv", "--config", tmp_path / "none.toml", "--target", "a", "--out", tmp_path / "o"
    )
    assert result.exit_code == 2
    assert "No such file" in " ".join(result.output.replace("│", " ").split())


def test_storage_with_trials_needs_resume(tuned, tables, tmp_path):
    refused = run(*options(tables, tmp_path / "out", "--storage", tables / "study.log"))
    assert refused.exit_code == 2
    assert "holds 3 trials. Go on with --resume" in " ".join(refused.output.split())


def test_resume_goes_on_with_the_trials(tables, tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    first = run(*options(tables, tmp_path / "first", "--storage", storage))
    more = [*options(tables, tmp_path / "second", "--storage", storage), "--resume", "--n-trials", 5]
    assert first.exit_code == 0, first.output
    second = run(*more)
    assert second.exit_code == 0, second.output
    assert len(pd.read_csv(tmp_path / "second" / "trials.csv")) == 5


def test_resume_needs_a_storage(tables, tmp_path):
    refused = run(*options(tables, tmp_path / "out"), "--resume")
    assert refused.exit_code == 2
    assert "--resume needs the --storage" in " ".join(refused.output.split())


def test_unknown_objective_is_refused(tables, tmp_path):
    refused = run(*options(tables, tmp_path / "out", "--objective", "speed"))
    assert refused.exit_code == 2
    assert "objectives must be" in " ".join(refused.output.split())

"""Texts on the command line: transformers as teachers and students, in folders and in files."""

# ruff: noqa: E402

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers import BertForSequenceClassification

from tabkd import cli_texts
from tabkd.runtime import OnnxPredictor
from tests.neural_data import POINTS, TOKENIZER, X, Y, config
from tests.test_cli import call, refused

N_TRAIN = 100
QUICK = ["--epochs", "1", "--batch-size", "50", "--learning-rate", "0.003"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two tables with texts that differ in every row, and two tiny transformers."""
    home = tmp_path_factory.mktemp("texts")
    for name, sizes in (("large", config(2, num_labels=2)), ("small", config(1, 16, num_labels=2))):
        BertForSequenceClassification(sizes).save_pretrained(home / name)
        TOKENIZER.save_pretrained(home / name)
    config(1, 8).to_json_file(home / "tiny.json")
    texts = [f"{text} {i}" for i, text in enumerate(X)]
    table = pd.DataFrame({"key": np.arange(len(X)), "review": texts, "title": X[::-1], "score": POINTS, "size": POINTS})
    table["score"] += np.random.default_rng(0).normal(size=len(X))
    table["y"] = np.where(Y == "yes", "good", "poor")  # the positive label is not the last one
    table.loc[[3, N_TRAIN], "review"] = ["", "NA"]
    table[:N_TRAIN].to_csv(home / "train.csv", index=False, encoding="utf-8")
    test = table[["key", "review", "size"]][N_TRAIN:]
    test.to_csv(home / "test.csv", index=False, encoding="utf-8")
    return home


def args(home, out, *more, teacher="large", student="small", target="y", texts="review"):
    models = [str(home / name) if (home / name).exists() else name for name in (teacher, student)]
    named = ["--target", target, "--text-columns", texts, "--teacher", models[0], "--student", models[1]]
    return ["fit", home / "train.csv", *named, "--out", home / out, *QUICK, *more]


def fit(home, out, *more, **options):
    result = call(*args(home, out, *more, **options))
    assert result.exit_code == 0, result.output
    return result


def predicted(home, model, *more):
    result = call("predict", model, home / "test.csv", "--out", home / "predicted.csv", "--overwrite", *more)
    assert result.exit_code == 0, result.output
    return pd.read_csv(home / "predicted.csv")


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fitted(home):
    """A student of the texts of the test table; its positive label sorts first."""
    fit(home, "out", "--test", home / "test.csv", "--positive", "good", "--metric", "f1_macro")
    return home / "out"


@pytest.fixture(scope="module")
def file(home, fitted):
    result = call("export", fitted, "--out", home / "student.onnx", "--rows", home / "train.csv")
    assert result.exit_code == 0, result.output
    return home / "student.onnx"


# ---------------------------------------------------------------- fit and predict


def test_transformers_read_the_texts_and_texts_are_no_identifiers(fitted):
    assert summary_of(fitted)["student_columns"] == ["review"]


def test_answers_are_written_for_the_rows_put_aside_alone(fitted):
    for name in ("soft_targets.csv", "student_predictions.csv"):
        answers = pd.read_csv(fitted / name)
        assert len(answers) == N_TRAIN and answers.iloc[:, -1].notna().sum() == N_TRAIN // 5


def test_scores_are_of_the_rows_put_aside(fitted):
    answers, scores = pd.read_csv(fitted / "student_predictions.csv").dropna(), summary_of(fitted)["scores"]
    proba = np.where(answers["y"] == "good", answers["student_good"], 1 - answers["student_good"])
    assert scores["neg_log_loss"]["student"] == pytest.approx(np.log(proba).mean())


def test_prediction_reads_texts_as_they_are_written(home, fitted):
    test = pd.read_csv(home / "test.csv", keep_default_na=False)
    assert len(predicted(home, fitted)) == len(test) and test["review"][0] == "NA"


def test_folder_and_file_answer_alike(home, fitted, file):
    told = predicted(home, fitted, "--proba")["probability_good"]
    np.testing.assert_allclose(predicted(home, file, "--proba")["probability_good"], told, atol=1e-5)
    assert predicted(home, file)["label"].tolist() == predicted(home, fitted)["y"].tolist()


def test_transformer_teaches_a_tree_on_the_other_columns(home):
    fit(home, "sizes", "--test", home / "test.csv", student="tree")
    assert summary_of(home / "sizes")["student_columns"] == ["size"]
    assert not cli_texts.reads_texts(summary_of(home / "sizes"))


def test_tree_on_the_other_columns_teaches_a_transformer(home):
    said = fit(home, "taught", "--temperature", "2", teacher="tree").stdout
    assert "teacher   tree on 2 columns" in said and "small on the texts review" in said


def test_pieces_of_the_texts_are_learnt_from(home):
    fit(home, "whole", "--alpha", "0")
    fit(home, "pieces", "--alpha", "0", "--transfer", "spans")
    whole, pieces = (predicted(home, home / name, "--proba").iloc[:, -1] for name in ("whole", "pieces"))
    assert (whole - pieces).abs().max() > 1e-6


def test_configuration_is_a_new_model_that_reads_pairs_with_the_teachers_tokenizer(home):
    fit(home, "new", student="tiny.json", texts="review,title")
    assert call("export", home / "new", "--out", home / "new.onnx").exit_code == 0
    assert OnnxPredictor(home / "new.onnx").predict([("good film", "good")]).shape == (1,)


def test_options_of_texts_may_stand_in_a_file(home):
    models = [f"{role} = {json.dumps(str(home / name))}" for role, name in (("teacher", "large"), ("student", "small"))]
    lines = ['text_columns = ["review"]', 'target = "score"', "epochs = 1", "max_length = 12", *models]
    (home / "run.toml").write_text("\n".join(lines), encoding="utf-8")
    result = call("fit", home / "train.csv", "--config", home / "run.toml", "--out", home / "numbers")
    assert result.exit_code == 0, result.output
    assert summary_of(home / "numbers")["settings"]["texts"]["max_length"] == 12
    assert predicted(home, home / "numbers")["score"].dtype == float


# ---------------------------------------------------------------- files


def test_int8_is_measured_on_the_rows(home, fitted):
    out = home / "int8.onnx"
    result = call("export", fitted, "--out", out, "--rows", home / "train.csv", "--int8")
    assert result.exit_code == 0 and "of accuracy on 100 rows" in result.stdout, result.output
    assert "int8" in call("inspect", out).stdout


def test_folder_for_a_device_predicts_by_itself(home, fitted, file):
    result = call("export", fitted, "--with-runtime", home / "device")
    assert result.exit_code == 0 and "tokenizers" in (home / "device" / "README.md").read_text(encoding="utf-8")
    command = [sys.executable, "-I", "predict.py", home / "test.csv", "answers.csv"]
    # -I leaves this project out of the path; the script's own folder has to be given back.
    command[2:3] = [
        "-c",
        "import sys, runpy; sys.path.insert(0, '.'); runpy.run_path('predict.py', run_name='__main__')",
    ]
    subprocess.run(command, cwd=home / "device", check=True)
    answers = pd.read_csv(home / "device" / "answers.csv")
    assert answers["label"].tolist() == predicted(home, file)["label"].tolist()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--web", "page"], "--web is for students that read tables"),
        (["--compact"], "--compact is for students that read tables"),
        (["--int8"], "--int8 is measured on rows"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_option_of_other_students_is_refused(home, fitted, more, message):
    assert message in refused("export", fitted, "--out", home / "no.onnx", *more)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        ({"texts": "story"}, [], "--text-columns story is not among the columns"),
        ({"teacher": "tree", "student": "tree"}, [], "are read by transformers, but --teacher tree and --student tree"),
        ({"teacher": "lightgbn"}, [], "Did you mean 'lightgbm'?"),
        ({"teacher": "./nothing"}, [], "--teacher ./nothing is no model: There is no model in './nothing'"),
        ({"texts": "review,title,key"}, [], "reads one text or two, but --text-columns names"),
        ({"student": "tree"}, ["--student-features", "review"], "reads columns beside the texts, and has none"),
        ({}, ["--student-features", "size"], "reads --text-columns, and has none"),
        ({}, ["--transfer", "munge"], "--transfer munge is for numbers and categories"),
        ({}, ["--impute", "all"], "--impute is for numbers and categories"),
    ],
    ids=["column", "trees", "typing", "folder", "three", "no-columns", "no-texts", "munge", "impute"],
)
def test_what_cannot_be_read_is_refused(home, options, more, message):
    assert message in refused(*args(home, "refused", *more, **options))


def test_folder_without_text_columns_is_told_of_them(home):
    told = refused("fit", home / "train.csv", "--target", "y", "--teacher", home / "large", "--out", home / "refused")
    assert "Transformers are for tabkd fit with --text-columns" in told


def test_missing_extra_is_named(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "pip install 'tabkd[neural]'" in refused(*args(home, "refused"))

"""ONNX files on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from conftest import needs_new_runtime
from sklearn.datasets import load_diabetes
from typer.testing import CliRunner

from tabkd.cli import app
from tabkd.runtime import OnnxPredictor

FAST = ["--teacher", "lightgbm", "--student", "lightgbm", "--alpha", "0.5", "--folds", "4"]


def call(*args: Any) -> Any:
    return CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)


def done(*args: Any) -> str:
    result = call(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*args: Any) -> str:
    """The one line on stderr of a call that must fail."""
    result = call(*args)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A competition with numbers, text, booleans, missing values and a tuned threshold, fitted and exported."""
    path, rng, n = tmp_path_factory.mktemp("export"), np.random.default_rng(0), 500
    frame = pd.DataFrame(
        {
            "ID": [f"{i:05d}" for i in range(n)],
            "나이 (세)": np.where(rng.random(n) < 0.1, np.nan, rng.normal(50, 9, n).round(2)),
            "city": rng.choice(["Seoul", "Busan", "007", None], n),
            "smokes": rng.random(n) > 0.5,
            "visits": rng.integers(0, 9, n),
        }
    )
    risk = frame["나이 (세)"].fillna(50) / 9 + 2 * frame["smokes"] + (frame["city"] == "Seoul") + rng.normal(0, 1, n)
    frame["ill"] = np.where(risk > risk.median(), "yes", "no")
    frame[:400].to_csv(path / "train.csv", index=False, encoding="utf-8")
    test = frame[400:].drop(columns="ill").assign(city=frame["city"][400:].where(frame.index[400:] % 9 > 0, "Paris"))
    test.to_csv(path / "test.csv", index=False, encoding="utf-8")
    train = ["fit", path / "train.csv", "--target", "ill", "--test", path / "test.csv"]
    done(*train, "--metric", "f1_macro", "--out", path / "fit", *FAST)
    done("export", path / "fit", "--out", path / "student.onnx", "--with-runtime", path / "device")
    return path


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("regression")
    load_diabetes(as_frame=True).frame.to_csv(path / "train.csv", index=False, encoding="utf-8")
    features = ["--student-features", "bmi,bp,s5"]
    done("fit", path / "train.csv", "--target", "target", "--out", path / "fit", *FAST, *features)
    done("export", path / "fit", "--out", path / "student.onnx")
    return path


# ---------------------------------------------------------------- export


def test_export_says_what_was_proved(folder: Path, tmp_path: Path) -> None:
    said = done("export", folder / "fit", "--out", tmp_path / "a.onnx")
    assert "a.onnx" in said and "0 labels differ" in said


def test_rows_are_proved_too(folder: Path, tmp_path: Path) -> None:
    done("export", folder / "fit", "--out", tmp_path / "a.onnx", "--rows", folder / "test.csv")
    proved, usual = (OnnxPredictor(p).metadata["proof"]["rows"] for p in (tmp_path / "a.onnx", folder / "student.onnx"))
    assert proved == usual + 100


@needs_new_runtime
def test_options_reach_the_file(folder: Path, tmp_path: Path) -> None:
    options = ["--inputs", "matrix", "--precision", "float64", "--compact"]
    done("export", folder / "fit", "--out", tmp_path / "a.onnx", *options)
    session = OnnxPredictor(tmp_path / "a.onnx").session
    assert [info.name for info in session.get_inputs()] == ["features"]
    assert session.get_outputs()[1].type == "tensor(double)"
    operators = {node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node}
    assert "TreeEnsemble" in operators


def test_export_replaces_no_file_unasked(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    assert "exists. Give another name, or --overwrite" in refused(
        "export", folder / "fit", "--out", tmp_path / "a.onnx"
    )
    done("export", folder / "fit", "--out", tmp_path / "a.onnx", "--overwrite")
    assert (tmp_path / "a.onnx").stat().st_size > 0


def test_export_writes_a_page(folder: Path, tmp_path: Path) -> None:
    done("export", folder / "fit", "--web", tmp_path / "page")
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == ["index.html", "student.onnx"]


def test_export_writes_sources_that_call_the_file(folder: Path, tmp_path: Path) -> None:
    sources = ["--c", tmp_path / "call.c", "--kotlin", tmp_path / "Call.kt"]
    done("export", folder / "fit", "--out", tmp_path / "student.onnx", *sources)
    assert "int main" in (tmp_path / "call.c").read_text(encoding="utf-8")
    assert "class Student" in (tmp_path / "Call.kt").read_text(encoding="utf-8")


def test_export_writes_the_format_of_phones(folder: Path, tmp_path: Path) -> None:
    done("export", folder / "fit", "--mobile", tmp_path / "phone")
    assert any(path.suffix == ".ort" for path in (tmp_path / "phone").iterdir())


def test_export_replaces_no_page_unasked(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine", encoding="utf-8")
    assert "index.html exists" in refused("export", folder / "fit", "--web", tmp_path)


def test_export_replaces_no_script_unasked(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "predict.py").write_text("mine", encoding="utf-8")
    assert "predict.py exists" in refused("export", folder / "fit", "--with-runtime", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["predict.py"]


def test_export_replaces_nothing_beside_another_file_unasked(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "call.c").write_text("mine", encoding="utf-8")
    both = ["--c", tmp_path / "call.c", "--kotlin", tmp_path / "Call.kt"]
    assert "call.c exists" in refused("export", folder / "fit", "--out", tmp_path / "s.onnx", *both)
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    both = ["--with-runtime", tmp_path, "--web", tmp_path]
    assert "README.md exists" in refused("export", folder / "fit", *both)


def test_a_file_is_no_folder_for_a_phone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file. Give a folder" in refused("export", folder / "fit", "--mobile", tmp_path / "file")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Give --out student.onnx, --with-runtime or --web"),
        (["--out", "student.bin"], "must end in .onnx"),
        (["--out", "nowhere/student.onnx"], "the folder nowhere does not exist"),
        (["--out", "s.onnx", "--rows", "rows.csv"], "rows.csv does not exist"),
    ],
)
def test_bad_options_of_export_are_refused(folder: Path, options: list[str], said: str) -> None:
    assert said in refused("export", folder / "fit", *options)


def test_export_names_a_folder_without_a_model(tmp_path: Path) -> None:
    assert "holds no summary.json" in refused("export", tmp_path, "--out", tmp_path / "a.onnx")


def test_path_that_cannot_be_written_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").mkdir()
    assert "cannot be written" in refused("export", folder / "fit", "--out", tmp_path / "a.onnx", "--overwrite")
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_student_that_cannot_be_exported_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*args: Any, **options: Any) -> None:
        raise ValueError("linear_tree=True cannot be exported.")

    monkeypatch.setattr("tabkd.export.to_onnx", no)
    assert "linear_tree=True" in refused("export", folder / "fit", "--with-runtime", tmp_path / "device")
    assert not (tmp_path / "device").exists()


# ---------------------------------------------------------------- predict


@pytest.mark.parametrize("proba", [[], ["--proba"]], ids=["labels", "probabilities"])
def test_file_predicts_as_the_folder_does(folder: Path, tmp_path: Path, proba: list[str]) -> None:
    done("predict", folder / "fit", folder / "test.csv", "-o", tmp_path / "a.csv", *proba)
    done("predict", folder / "student.onnx", folder / "test.csv", "-o", tmp_path / "b.csv", "--id", "ID", *proba)
    expected = read(tmp_path / "a.csv").rename(columns={"ill": "label"})
    pd.testing.assert_frame_equal(read(tmp_path / "b.csv"), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("model", ["fit", "student.onnx"])
def test_unseen_categories_are_named(folder: Path, tmp_path: Path, model: str) -> None:
    said = call("predict", folder / model, folder / "test.csv", "-o", tmp_path / "p.csv").stderr
    assert "training did not have are taken for unknown: city ('Paris'; 11 of 100 rows)." in said


@pytest.mark.parametrize("model", ["fit", "student.onnx"])
def test_known_categories_are_nothing_to_tell(folder: Path, tmp_path: Path, model: str) -> None:
    result = call("predict", folder / model, folder / "train.csv", "-o", tmp_path / "p.csv")
    assert (result.exit_code, result.stderr) == (0, "")


def test_file_predicts_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s.onnx").write_bytes((folder / "student.onnx").read_bytes())
    done("predict", tmp_path / "s.onnx", folder / "test.csv", "-o", tmp_path / "b.csv")
    assert read(tmp_path / "b.csv")["label"].isin(["no", "yes"]).sum() == 100


def test_identifiers_keep_their_leading_zeros(folder: Path, tmp_path: Path) -> None:
    done("predict", folder / "student.onnx", folder / "test.csv", "-o", tmp_path / "b.csv", "--id", "ID")
    assert (tmp_path / "b.csv").read_text(encoding="utf-8").splitlines()[1].startswith("00400,")


def test_another_identifier_can_be_named_for_a_folder(folder: Path, tmp_path: Path) -> None:
    done("predict", folder / "fit", folder / "test.csv", "-o", tmp_path / "a.csv", "--id", "visits")
    assert read(tmp_path / "a.csv").columns.tolist() == ["visits", "ill"]


def test_regression_predicts_numbers(regression: Path, tmp_path: Path) -> None:
    for model, name in (("fit", "a"), ("student.onnx", "b")):
        done("predict", regression / model, regression / "train.csv", "-o", tmp_path / f"{name}.csv")
    expected, found = read(tmp_path / "a.csv")["target"], read(tmp_path / "b.csv")["prediction"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_regression_has_no_probabilities(regression: Path, tmp_path: Path) -> None:
    args = ["predict", regression / "student.onnx", regression / "train.csv", "-o", tmp_path / "a.csv", "--proba"]
    assert "--proba needs a classification model" in refused(*args)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="city"), "test.csv: The table lacks the columns ['city']"),
        (lambda t: t.assign(visits="many"), "Column 'visits' must hold numbers, but row 0 (from 0) holds 'many'"),
    ],
)
def test_tables_that_do_not_fit_are_refused(folder: Path, tmp_path: Path, change: Any, said: str) -> None:
    change(read(folder / "test.csv")).to_csv(tmp_path / "test.csv", index=False, encoding="utf-8")
    assert said in refused("predict", folder / "student.onnx", tmp_path / "test.csv", "-o", tmp_path / "b.csv")


@pytest.mark.parametrize("model", ["fit", "student.onnx"])
def test_unknown_identifier_is_refused(folder: Path, tmp_path: Path, model: str) -> None:
    args = ["predict", folder / model, folder / "test.csv", "-o", tmp_path / "b.csv", "--id", "Id"]
    assert "--id Id is not among the columns" in (said := refused(*args)) and "Did you mean 'ID'?" in said


@pytest.mark.parametrize("command", ["inspect", "predict"])
def test_files_that_are_not_ours_are_refused(folder: Path, tmp_path: Path, command: str) -> None:
    more = [] if command == "inspect" else [folder / "test.csv", "-o", tmp_path / "b.csv"]
    (tmp_path / "text.onnx").write_text("no model", encoding="utf-8")
    (tmp_path / "folder.onnx").mkdir()
    assert "is no ONNX file, or a damaged one" in refused(command, tmp_path / "text.onnx", *more)
    assert "Did you mean 'text.onnx'" in refused(command, tmp_path / "test.onnx", *more)
    assert "is a folder" in refused(command, tmp_path / "folder.onnx", *more)


# ---------------------------------------------------------------- inspect


def test_inspect_shows_columns_classes_threshold_trees_and_proof(folder: Path) -> None:
    said = done("inspect", folder / "student.onnx")
    for words in ("나이 (세)  number", "007, Busan, Seoul", "no, yes", "yes is predicted above it", "opset 15"):
        assert words in said
    assert "150 with" in said and "0 labels differ" in said and "as exported" in said and "lightgbm 4." in said


def test_inspect_aligns_names_in_korean(folder: Path) -> None:
    lines = [line for line in done("inspect", folder / "student.onnx").splitlines() if "NaN" in line]
    korean = next(line for line in lines if line.startswith("나이"))
    other = next(line for line in lines if line.startswith("visits"))
    assert korean.index("number") + 3 == other.index("integer")


def test_inspect_sees_that_a_file_was_changed(folder: Path, tmp_path: Path) -> None:
    model = onnx.load(folder / "student.onnx")
    model.graph.doc_string = "changed"
    onnx.save(model, tmp_path / "a.onnx")
    assert "NOT as exported" in done("inspect", tmp_path / "a.onnx")


def test_inspect_needs_no_onnx(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    said = done("inspect", folder / "student.onnx")
    assert "trees" not in said and "0 labels differ" in said


def test_inspect_shows_a_regression(regression: Path) -> None:
    said = done("inspect", regression / "student.onnx")
    assert "regression" in said and "classes" not in said and "prediction [N, 1] float" in said


# ---------------------------------------------------------------- a folder for a device


def test_device_folder_predicts_as_the_command_line_does(folder: Path, tmp_path: Path) -> None:
    done("predict", folder / "student.onnx", folder / "test.csv", "-o", tmp_path / "a.csv", "--proba")
    script = [sys.executable, folder / "device" / "predict.py", folder / "test.csv", tmp_path / "b.csv"]
    subprocess.run(script, cwd=tmp_path, check=True)
    expected, found = (read(tmp_path / f"{name}.csv")["probability_yes"] for name in "ab")
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_device_script_names_a_line_of_too_many_fields(folder: Path, tmp_path: Path) -> None:
    head, first, *_ = (folder / "test.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "a.csv").write_text(f"{head}\n{first}\n{first},1\n", encoding="utf-8")
    script = [sys.executable, folder / "device" / "predict.py", tmp_path / "a.csv", tmp_path / "b.csv"]
    said = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False).stderr
    assert said.strip() == f"{tmp_path / 'a.csv'}, line 3: more fields than the header has names."


def test_device_script_imports_numpy_and_onnxruntime_alone(folder: Path, tmp_path: Path) -> None:
    code = """
import json, runpy, sys
before = set(sys.modules)
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(loaded - sys.stdlib_module_names)))
"""
    args = [folder / "device" / "predict.py", folder / "test.csv", tmp_path / "b.csv"]
    found = subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, check=True)
    assert set(json.loads(found.stdout)) <= {"numpy", "onnxruntime", "runtime", "_distutils_hack"}


def test_device_folder_explains_itself(folder: Path) -> None:
    names = {path.name for path in (folder / "device").glob("*.*")}  # the script may have been run: __pycache__
    assert names == {"student.onnx", "runtime.py", "predict.py", "README.md"}
    assert "나이 (세)" in (folder / "device" / "README.md").read_text(encoding="utf-8")

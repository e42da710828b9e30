"""The command line, as its users meet it."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.metrics import f1_score, log_loss
from typer.testing import CliRunner

from tabkd.cli import app
from tabkd.competition import identifier
from tabkd.files import read_table

FAST = ["--teacher", "tree", "--student", "tree", "--alpha", "0.5"]
DEPLOYABLE = ["mean radius", "mean texture", "mean area"]


def call(*args: Any) -> Any:
    return CliRunner().invoke(app, [str(arg) for arg in args], catch_exceptions=False)


def refused(*args: Any) -> str:
    """The one line on stderr of a call that must fail."""
    result = call(*args)
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    return lines[0]


class Folder:
    """A small competition on disk: labels no and yes, three columns in the test table."""

    def __init__(self, path: Path) -> None:
        data = load_breast_cancer(as_frame=True)
        frame = data.data.iloc[:, :20].assign(label=np.where(data.target == 0, "yes", "no"))
        frame.insert(0, "ID", [f"R{i:04d}" for i in range(len(frame))])
        self.path = path
        self.train, rest = frame.iloc[:300].reset_index(drop=True), frame.iloc[300:400]
        self.test = rest[["ID", *DEPLOYABLE]].reset_index(drop=True)
        self.truth = rest["label"].to_numpy()
        self.write("train.csv", self.train)
        self.write("test.csv", self.test)

    def write(self, name: str, frame: pd.DataFrame) -> Path:
        frame.to_csv(self.path / name, index=False, encoding="utf-8")
        return self.path / name

    def args(self, *more: Any, train: str = "train.csv", target: str = "label", out: str = "out") -> list[Any]:
        return ["fit", self.path / train, "--target", target, "--out", self.path / out, *FAST, *more]

    def fit(self, *more: Any, test: str = "test.csv", **options: str) -> Any:
        result = call(*self.args("--test", self.path / test, *more, **options))
        assert result.exit_code == 0, result.output
        return result

    def read(self, name: str, out: str = "out") -> Any:
        path = self.path / out / name
        if name.endswith(".json"):
            return json.loads(path.read_text(encoding="utf-8"))
        return pd.read_csv(path, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(tmp_path_factory.mktemp("fitted"))
    folder.result = folder.fit("--metric", "f1_macro")  # type: ignore[attr-defined]
    return folder


# ---------------------------------------------------------------- demo


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("demo") / "results"
    result = call("demo", "--out", out)
    assert result.exit_code == 0
    return out, result.stdout


def test_demo_ends_with_scores_and_the_files_written(demonstrated: tuple[Path, str]) -> None:
    out, text = demonstrated
    assert "log-loss" in text and "ROC AUC" in text and "95% interval" in text
    assert all(path.name in text for path in out.iterdir())


def test_demo_student_needs_the_mean_columns_alone(demonstrated: tuple[Path, str]) -> None:
    model = joblib.load(demonstrated[0] / "model.joblib")
    assert len(model.student_features_) == 10 and all(name.startswith("mean ") for name in model.student_features_)


def test_demo_replaces_its_own_results_but_nobody_elses(demonstrated: tuple[Path, str], tmp_path: Path) -> None:
    from tabkd.cli import _is_demo

    (tmp_path / "mine.txt").touch()
    assert _is_demo(demonstrated[0])
    assert "is not empty" in refused("demo", "--out", tmp_path)


# ---------------------------------------------------------------- what fit writes


def test_fit_shows_progress_on_stderr(fitted: Folder) -> None:
    assert "fit" in fitted.result.stderr and "fit/s" not in fitted.result.stdout  # type: ignore[attr-defined]


def test_the_students_columns_are_those_of_the_test_table(fitted: Folder) -> None:
    assert fitted.read("summary.json")["student_columns"] == DEPLOYABLE


def test_identifiers_are_reported_and_dropped(fitted: Folder) -> None:
    assert "dropped   ID" in fitted.result.stdout  # type: ignore[attr-defined]
    assert "ID" not in fitted.read("summary.json")["teacher_columns"]


def test_soft_targets_keep_the_rows_of_train(fitted: Folder) -> None:
    soft = fitted.read("soft_targets.csv")
    assert soft.columns.tolist() == ["ID", "teacher_no", "teacher_yes"]
    assert soft["ID"].tolist() == fitted.train["ID"].tolist()


def test_student_predictions_give_the_summary_its_scores(fitted: Folder) -> None:
    frame, summary = fitted.read("student_predictions.csv"), fitted.read("summary.json")
    loss = log_loss(frame["label"] == "yes", frame["control_yes"])
    assert loss == pytest.approx(-summary["scores"]["neg_log_loss"]["control"])


def test_the_gain_has_an_interval_of_two_standard_errors(fitted: Folder) -> None:
    score = fitted.read("summary.json")["scores"]["f1_macro"]
    assert score["gain"] == pytest.approx(score["student"] - score["control"])
    assert score["gain_high"] - score["gain"] == pytest.approx(1.96 * score["gain_se"])


def test_a_metric_of_labels_tunes_the_threshold(fitted: Folder) -> None:
    model = joblib.load(fitted.path / "out" / "model.joblib")
    assert model.threshold == "f1_macro"
    assert fitted.read("summary.json")["threshold"] == model.threshold_ is not None


def test_the_saved_model_speaks_the_users_labels(fitted: Folder) -> None:
    model = joblib.load(fitted.path / "out" / "model.joblib")
    assert set(model.predict(fitted.test)) == {"no", "yes"} == set(model.classes_)


def test_without_a_sample_the_submission_has_id_and_target(fitted: Folder) -> None:
    submission = fitted.read("submission.csv")
    assert submission.columns.tolist() == ["ID", "label"]
    assert f1_score(fitted.truth, submission["label"], pos_label="yes") > 0.7


def test_a_folder_that_holds_something_is_refused(fitted: Folder) -> None:
    before = (fitted.path / "out" / "summary.json").read_bytes()
    assert "--overwrite" in refused(*fitted.args())
    assert (fitted.path / "out" / "summary.json").read_bytes() == before


def test_overwrite_never_replaces_a_table_that_is_read(folder: Folder) -> None:
    folder.fit()
    given = pd.read_csv(folder.path / "train.csv")
    given.to_csv(folder.path / "out" / "submission.csv", index=False)
    args = folder.args("--overwrite", train="out/submission.csv")
    assert "submission.csv is read by this run" in refused(*args)
    pd.testing.assert_frame_equal(folder.read("submission.csv"), given)


def test_overwrite_replaces_results_alone(folder: Folder) -> None:
    folder.write("submission.csv", folder.test)
    args = folder.args("--overwrite", out=".")
    assert "holds submission.csv, but no summary.json" in refused(*args)


def test_next_commands_can_be_pasted(folder: Folder) -> None:
    assert f"tabkd predict '{folder.path}/my results' TABLE" in folder.fit(out="my results").stdout


def test_labels_keep_their_leading_zeros(folder: Folder) -> None:
    folder.write("train.csv", folder.train.assign(label=folder.train["label"].map({"no": "01", "yes": "1"})))
    folder.fit()
    assert {*pd.read_csv(folder.path / "out" / "submission.csv", dtype=str)["label"]} == {"01", "1"}


def test_a_submission_is_written_as_its_sample_is(folder: Folder) -> None:
    path = folder.path / "sample.csv"
    folder.test[["ID"]].assign(label=0.5).to_csv(path, index=False, sep=";", decimal=",")
    folder.fit("--sample-submission", path)
    head, first, *_ = (folder.path / "out" / "submission.csv").read_text(encoding="utf-8").splitlines()
    assert head == "ID;label" and first.startswith("R0300;0,")


def test_no_fits_at_once_are_refused(folder: Folder) -> None:
    result = call(*folder.args("--n-jobs", "0"))
    assert result.exit_code == 2 and "0 fits at once are none" in result.stderr


def test_overwrite_leaves_no_submission_of_the_old_model(folder: Folder) -> None:
    folder.fit()
    assert call(*folder.args("--overwrite")).exit_code == 0
    assert not (folder.path / "out" / "submission.csv").exists()


def test_the_same_seed_writes_the_same_predictions(folder: Folder) -> None:
    folder.fit(out="one")
    folder.fit(out="two")
    one, two = (folder.read("student_predictions.csv", out) for out in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)


# ---------------------------------------------------------------- submissions


@pytest.mark.parametrize("positive", ["yes", "no"])
def test_probabilities_in_a_submission_are_of_the_positive_label(folder: Folder, positive: str) -> None:
    sample = folder.write("sample.csv", folder.test[["ID"]].assign(label=0.5))
    folder.fit("--sample-submission", sample, "--positive", positive)
    probability = folder.read("submission.csv")["label"]
    assert probability[folder.truth == positive].mean() > 0.6 > 0.4 > probability[folder.truth != positive].mean()


def test_a_submission_follows_the_samples_order_of_rows(folder: Folder) -> None:
    sample = folder.write("sample.csv", folder.test[["ID"]].iloc[::-1].assign(label="no"))
    folder.fit("--sample-submission", sample)
    submission = folder.read("submission.csv")
    assert submission["ID"].tolist() == folder.test["ID"].tolist()[::-1]
    assert np.mean(submission["label"].to_numpy() == folder.truth[::-1]) > 0.8


def test_integers_in_the_sample_ask_for_labels(folder: Folder) -> None:
    folder.write("train.csv", folder.train.assign(label=(folder.train["label"] == "yes").astype(int)))
    sample = folder.write("sample.csv", folder.test[["ID"]].assign(label=0))
    folder.fit("--sample-submission", sample)
    assert set(folder.read("submission.csv")["label"]) == {0, 1}


def test_columns_named_after_classes_get_their_probabilities(folder: Folder) -> None:
    data = load_iris(as_frame=True)
    frame = data.data.assign(kind=data.target_names[data.target])
    folder.write("train.csv", frame)
    folder.write("test.csv", data.data.iloc[:, 2:])
    columns = {f"p_{name}": 0.0 for name in ("virginica", "setosa", "versicolor")}
    sample = folder.write("sample.csv", pd.DataFrame({"row": range(150), **columns}).drop(columns="row"))
    folder.fit("--sample-submission", sample, target="kind")
    submission = folder.read("submission.csv")
    assert submission.columns.tolist() == list(columns)
    assert (submission.idxmax(axis=1).str.removeprefix("p_") == frame["kind"]).mean() > 0.9


def test_a_regression_writes_numbers(folder: Folder) -> None:
    frame = load_diabetes(as_frame=True).frame
    folder.write("train.csv", frame)
    folder.write("test.csv", frame[["bmi", "s5"]])
    folder.fit(target="target")
    assert folder.read("submission.csv")["target"].corr(frame["target"]) > 0.5


def test_identifiers_with_leading_zeros_come_back_as_they_were(folder: Folder) -> None:
    test = folder.test.assign(ID=[f"{i:05d}" for i in range(len(folder.test))])
    folder.write("test.csv", test)
    sample = folder.write("sample.csv", test[["ID"]].assign(label="no"))
    folder.fit("--sample-submission", sample)
    written = (folder.path / "out" / "submission.csv").read_text(encoding="utf-8")
    assert written.splitlines()[1].startswith("00000,")


def test_korean_names_and_labels_in_cp949_and_parquet(folder: Folder) -> None:
    pytest.importorskip("pyarrow")
    names = {"mean radius": "반지름", "mean texture": "질감", "mean area": "넓이", "label": "진단"}
    train = folder.train.rename(columns=names).replace({"진단": {"yes": "악성", "no": "양성"}})
    train.to_csv(folder.path / "train.csv", index=False, encoding="cp949")
    folder.test.rename(columns=names).to_parquet(folder.path / "test.parquet")
    folder.fit("--positive", "악성", test="test.parquet", target="진단")
    assert folder.read("student_predictions.csv").columns[-1] == "control_악성"
    assert set(folder.read("submission.csv")["진단"]) == {"악성", "양성"}


# ---------------------------------------------------------------- options


def test_a_function_of_ones_own_is_the_metric(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "def yes_right(y_true, y_pred):\n    return float((y_pred[y_true == 'yes'] == 'yes').mean())\n"
    (folder.path / "own_metric_a.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(folder.path)
    folder.fit("--metric", "own_metric_a:yes_right")
    assert 0.5 < folder.read("summary.json")["scores"]["own_metric_a:yes_right"]["control"] <= 1
    assert joblib.load(folder.path / "out" / "model.joblib").scoring is None


def test_f1_is_that_of_the_positive_label(folder: Folder) -> None:
    folder.fit("--metric", "f1", "--positive", "no")
    assert folder.read("summary.json")["scores"]["f1"]["control"] > 0.8


def test_the_students_label_the_test_table_for_themselves(folder: Folder) -> None:
    alone = folder.fit("--ensemble", out="alone")
    helped = folder.fit("--ensemble", "--transfer", "self-training", out="helped")
    assert "unlabeled 100 rows" in helped.stdout and "unlabeled" not in alone.stdout
    one, other = (joblib.load(folder.path / name / "model.joblib") for name in ("alone", "helped"))
    assert (one.predict_proba(folder.test) != other.predict_proba(folder.test)).any()


def test_the_teacher_labels_a_table_without_labels(folder: Folder) -> None:
    folder.write("more.csv", folder.train.drop(columns="label").sample(200, random_state=0))
    folder.fit("--unlabeled", folder.path / "more.csv", "--transfer", "munge", "--generations", 2)
    settings = json.loads((folder.path / "out" / "summary.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["transfer"], settings["generations"]) == ("munge", 2)


@pytest.mark.parametrize(("asked", "n_predicted"), [("all", 17), ("2", 2), ("mean perimeter,area error", 2)])
def test_privileged_columns_are_imputed(folder: Folder, asked: str, n_predicted: int) -> None:
    folder.fit("--impute", asked)
    (imputer,) = joblib.load(folder.path / "out" / "model.joblib").student_.members[0].steps
    assert len(imputer.names) == n_predicted


def test_a_column_that_is_not_privileged_is_not_imputed(folder: Folder) -> None:
    message = refused(*folder.args("--test", folder.path / "test.csv", "--impute", "mean radius"))
    assert "impute names ['mean radius']" in message


def test_rows_that_lack_the_teachers_columns_are_refused_by_name(folder: Folder) -> None:
    folder.write("more.csv", folder.test)
    message = refused(*folder.args("--test", folder.path / "test.csv", "--unlabeled", folder.path / "more.csv"))
    assert "mean perimeter" in message and "self-training" in message


def test_spans_need_texts(folder: Folder) -> None:
    assert "Name their columns: --text-columns" in refused(*folder.args("--transfer", "spans"))


def test_self_training_needs_rows(folder: Folder) -> None:
    assert "--unlabeled or --test" in refused(*folder.args("--transfer", "self-training"))


def test_groups_weights_and_drops_are_no_features(folder: Folder) -> None:
    folder.write("train.csv", folder.train.assign(site=folder.train.index % 30, w=1.0))
    folder.fit("--groups", "site", "--weight", "w", "--drop", "mean area,mean texture")
    summary = folder.read("summary.json")
    assert not {"site", "w", "mean area", "mean texture"} & set(summary["teacher_columns"])
    assert summary["student_columns"] == ["mean radius"]


def test_student_features_override_the_test_table(folder: Folder) -> None:
    folder.fit("--student-features", "mean radius,mean area")
    assert folder.read("summary.json")["student_columns"] == ["mean radius", "mean area"]


def test_without_a_test_table_the_student_reads_every_column(folder: Folder) -> None:
    result = call(*folder.args())
    assert "student   tree on 20 columns (all:" in result.stdout


def test_text_that_holds_digits_in_the_test_table_alone_stays_text(folder: Folder) -> None:
    codes = np.where(folder.train["label"] == "yes", "1", "2")
    codes[:5] = "x"
    folder.write("train.csv", folder.train.assign(code=codes))
    folder.write("test.csv", folder.test.assign(code=np.where(folder.truth == "yes", 1, 2)))
    folder.fit()
    assert (folder.read("submission.csv")["label"].to_numpy() == folder.truth).mean() > 0.95


def test_identifiers_called_like_missing_values_come_back(folder: Folder) -> None:
    folder.write("test.csv", folder.test.assign(ID=["NA", "None", *folder.test["ID"][2:]]))
    folder.fit()
    written = pd.read_csv(folder.path / "out" / "submission.csv", keep_default_na=False)
    assert written["ID"].tolist()[:2] == ["NA", "None"]


def test_a_written_index_is_no_feature(folder: Folder) -> None:
    for name, table in (("train.csv", folder.train), ("test.csv", folder.test)):
        table.drop(columns="ID").sample(frac=1, random_state=0).to_csv(folder.path / name)
    folder.fit()
    assert folder.read("summary.json")["student_columns"] == DEPLOYABLE


def test_the_options_of_another_run_go_with_it(folder: Folder) -> None:
    folder.fit()
    assert (folder.path / "out" / "run.toml").exists()
    assert call("demo", "--out", folder.path / "out", "--overwrite").exit_code == 0
    assert not (folder.path / "out" / "run.toml").exists()


def test_one_name_in_a_file_of_options_is_a_list_of_one(folder: Folder) -> None:
    (folder.path / "run.toml").write_text('drop = "mean area"\n', encoding="utf-8")
    folder.fit("--config", folder.path / "run.toml")
    assert folder.read("summary.json")["student_columns"] == DEPLOYABLE[:2]


# ---------------------------------------------------------------- predict


def test_predict_gives_the_submission_again(fitted: Folder, tmp_path: Path) -> None:
    assert call("predict", fitted.path / "out", fitted.path / "test.csv", "-o", tmp_path / "p.csv").exit_code == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "p.csv", encoding="utf-8"), fitted.read("submission.csv"))


def test_predict_writes_the_probability_of_the_positive_label(fitted: Folder, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    out = tmp_path / "p.parquet"
    assert call("predict", fitted.path / "out", fitted.path / "test.csv", "-o", out, "--proba").exit_code == 0
    frame = pd.read_parquet(out)
    assert frame.columns.tolist() == ["ID", "probability_yes"]
    assert frame["probability_yes"][fitted.truth == "yes"].mean() > 0.6


def test_predict_names_a_missing_column(fitted: Folder, tmp_path: Path) -> None:
    fitted.test.drop(columns="mean area").to_csv(tmp_path / "t.csv", index=False, encoding="utf-8")
    assert "['mean area']" in refused("predict", fitted.path / "out", tmp_path / "t.csv", "-o", tmp_path / "p.csv")


def test_predict_replaces_no_file_unasked(fitted: Folder, tmp_path: Path) -> None:
    (tmp_path / "p.csv").touch()
    assert "exists" in refused("predict", fitted.path / "out", fitted.path / "test.csv", "-o", tmp_path / "p.csv")


def test_predict_never_replaces_the_table_it_reads(fitted: Folder) -> None:
    test = fitted.path / "test.csv"
    assert "exists" in refused("predict", fitted.path / "out", test, "-o", test, "--overwrite")


def test_predict_names_a_folder_without_a_model(fitted: Folder, tmp_path: Path) -> None:
    assert "summary.json" in refused("predict", tmp_path, fitted.path / "test.csv", "-o", tmp_path / "p.csv")


# ---------------------------------------------------------------- bad input


Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.assign(label="no"), "one class only"),
        (lambda t: t.assign(label=t["label"].mask(t.index.isin([4, 9]))), "in 2 of 300 rows, first in row 5"),
        (lambda t: t.assign(label=t["label"].mask(t.index == 7, "rare")), "'rare' of label has too few rows (1)"),
        (lambda t: t.assign(label=t["label"].replace("no", "None")), "None, null and nan are missing"),
    ],
)
def test_bad_targets_are_refused(folder: Folder, change: Change, said: str) -> None:
    folder.write("train.csv", change(folder.train))
    assert said in refused(*folder.args("--test", folder.path / "test.csv"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.assign(**{"mean area": "large"}), "Column 'mean area' was a number in fit, but now holds text"),
        (lambda t: t.assign(colour="red", size=1), "lacks: ['colour', 'size']"),
    ],
)
def test_test_tables_unlike_the_training_table_are_refused(folder: Folder, change: Change, said: str) -> None:
    folder.write("test.csv", change(folder.test))
    assert said in refused(*folder.args("--test", folder.path / "test.csv"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--target", "lable"], "Did you mean 'label'?"),
        (["--teacher", "catbost"], "Did you mean 'catboost'?"),
        (["--student", "bert"], "Choose from lightgbm, catboost"),
        (["--metric", "f1macro"], "Did you mean 'f1_macro'"),
        (["--metric", "no_such_module:score"], "cannot import 'no_such_module'"),
        (["--metric", "math:sqroot"], "Did you mean 'sqrt' or"),
        (["--positive", "maybe"], "Choose from no, yes"),
        (["--drop", "mean aera"], "Did you mean 'mean area'"),
        (["--groups", "sites"], "--groups sites is not among the columns"),
        (["--weight", "label"], "row 1 has"),
        (["--alpha", "2"], "must be auto or a number from 0 to 1, got 2"),
        (["--student-features", "mean radius,mean aera"], "mean aera is not among"),
        (["--groups", "mean area", "--student-features", "mean area"], "mean area is given to --groups, too"),
        (["--task", "regression"], "not numbers"),
        (["--sample-submission", "sample.csv"], "--test"),
        (["--folds", "301"], "--folds 301 does not fit"),
    ],
)
def test_bad_options_are_refused(fitted: Folder, tmp_path: Path, options: list[str], said: str) -> None:
    args = fitted.args(*options)
    args[args.index("--out") + 1] = tmp_path
    assert said in refused(*args)


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (lambda t: t[["ID"]].iloc[1:].assign(label=0), "1 of 100 values of ID in the test table are not in the sample"),
        (lambda t: t[["ID"]].replace("R0300", "R9999").assign(label=0), "such as 'R9999'"),
        (lambda t: pd.DataFrame({"label": [0]}), "has 1 rows, but the test table has 100"),
        (lambda t: t[["ID"]].assign(label="maybe"), "'maybe'"),
        (lambda t: t[["ID"]].assign(a=0, b=0), "neither one column"),
    ],
)
def test_a_sample_of_another_competition_is_refused(folder: Folder, sample: Change, said: str) -> None:
    path = folder.write("sample.csv", sample(folder.test))
    assert said in refused(*folder.args("--test", folder.path / "test.csv", "--sample-submission", path))


def test_dates_are_no_classes(folder: Folder) -> None:
    days = pd.to_datetime(folder.train["label"].map({"yes": "2024-01-01", "no": "2024-01-02"})).dt.date
    folder.train.assign(label=days).to_parquet(folder.path / "train.parquet")
    assert "holds datetime.date(2024" in refused(*folder.args(train="train.parquet"))


def test_decimals_are_numbers(folder: Folder) -> None:
    values = [Decimal(f"{i}.5") for i in range(len(folder.train))]
    folder.train.assign(label=values).to_parquet(folder.path / "train.parquet")
    folder.fit("--student-features", "mean area", train="train.parquet")
    assert folder.read("summary.json")["task"] == "regression"


def test_a_metric_for_two_classes_is_refused_for_three(folder: Folder) -> None:
    folder.write("train.csv", load_iris(as_frame=True).frame)
    said = refused(*folder.args("--metric", "f1", target="target"))
    assert "--metric f1: scoring='f1' cannot score this target" in said


def test_a_missing_file_is_named(folder: Folder) -> None:
    assert "trian.csv does not exist" in refused(*folder.args(train="trian.csv"))


def test_a_refused_fit_leaves_no_folder(folder: Folder) -> None:
    refused(*folder.args("--target", "lable"))
    assert not (folder.path / "out").exists()


def written(values: pd.Series, cell: str) -> pd.Series:
    """Numbers as text, with one cell of the fourth row that is none."""
    return values.astype(str).mask(values.index == 3, cell)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda area: written(area, "n/b"), "but 1 of 300 cannot be read as such, first 'n/b' in row 4, so that"),
        (lambda area: written(area, "12,5"), "but 1 of 300 cannot be read as such, first '12,5' in row 4, so that"),
        (lambda area: area.map("{:,.2f}".format), "first '1,001.00' in row 1, so that"),
        (lambda area: area.map("{:.1f} €".format), "but 300 of 300 cannot be read as such, first '1001.0 €' in row 1"),
        (lambda area: (area // 50).map("{:.0f},5".format), "but 300 of 300 cannot be read as such, first '20,5'"),
    ],
)
def test_numbers_that_would_be_categories_are_refused(
    folder: Folder, write: Callable[[pd.Series], pd.Series], said: str
) -> None:
    folder.write("train.csv", folder.train.assign(**{"mean area": write(folder.train["mean area"])}))
    line = refused(*folder.args())
    assert "Column mean area holds numbers, " in line and said in line
    assert "Write numbers as 1234.5, and nothing where one is missing" in line and "--categories mean area" in line


def test_codes_that_are_named_as_categories_stay_text(folder: Folder) -> None:
    codes = folder.train.assign(**{"mean area": written(folder.train["mean area"].round().astype(int), "V57")})
    folder.write("train.csv", codes)
    folder.fit("--categories", "mean area", "--student-features", "mean area,mean radius")
    assert folder.read("summary.json")["text_columns"] == ["mean area"]


@pytest.mark.parametrize("mark", ["?", "-", " ", "N.A."])
def test_marks_among_numbers_are_missing_values_with_a_warning(folder: Folder, mark: str) -> None:
    for name, table in {"train.csv": folder.train, "test.csv": folder.test}.items():
        folder.write(name, table.assign(**{"mean area": written(table["mean area"], mark)}))
    result = folder.fit()
    assert f"mean area holds numbers, and in 1 of 300 rows {mark!r}, which is taken for missing" in result.stderr
    assert folder.read("summary.json")["text_columns"] == []


def test_a_mark_beside_a_flag_is_an_answer_of_its_own(folder: Folder) -> None:
    flags = pd.DataFrame({"flag": np.resize(["1", "-"], 30)})
    assert read_table(folder.write("flags.csv", flags))["flag"].tolist() == flags["flag"].tolist()


def test_labels_that_differ_in_blanks_alone_are_told(folder: Folder) -> None:
    folder.write("train.csv", folder.train.assign(label=folder.train["label"].mask(folder.train.index % 3 == 0, "no ")))
    assert "warning: Labels 'no' and 'no ' of label differ in blanks only: two classes. Write" in folder.fit().stderr


# ---------------------------------------------------------------- identifiers


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("code", [f"A{i}" for i in range(50)], True),
        ("code", [f"A{i % 48}" for i in range(50)], True),
        ("code", ["a", "b"] * 25, False),
        ("n", list(range(50)), True),
        ("n", list(range(50, 0, -1)), True),
        ("user_id", [(i * 7) % 50 for i in range(50)], True),
        ("userId", [(i * 7) % 50 for i in range(50)], True),
        ("rank", [(i * 7) % 50 for i in range(50)], False),
        ("store_id", [i % 10 for i in range(50)], False),
        ("width", [i / 7 for i in range(50)], False),
        ("constant", [1] * 50, False),
    ],
)
def test_columns_that_name_rows_are_told_from_those_that_describe_them(
    name: str, values: list[Any], found: bool
) -> None:
    assert (identifier(pd.Series(values, name=name)) is not None) == found


def test_settings_of_transformers_are_refused_where_nothing_is_read_by_one(folder: Folder) -> None:
    result = call(*folder.args("--learning-rate", 0.3))
    assert result.exit_code == 2
    assert "--learning-rate is for transformers, which read --text-columns" in result.stderr


def test_help_tells_a_default_that_is_computed():
    helped = " ".join(call("fit", "--help").stdout.replace("│", " ").split())
    assert "(default: the last sorted)" in helped


def test_metric_of_values_makes_a_regression_of_few_whole_numbers(folder):
    folder.write("train.csv", folder.train.assign(label=np.arange(len(folder.train)) % 7))
    assert "label: regression" in folder.fit("--metric", "r2").stdout

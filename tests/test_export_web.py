"""Pages of write_web: what they hold, and that they answer in JavaScript as Python does."""

from __future__ import annotations

import contextlib
import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading
import urllib.parse
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.tree import DecisionTreeRegressor

from tabkd import DistilledEstimator
from tabkd.export import to_onnx
from tabkd.export.web import RUNTIME_FILES, write_web
from tabkd.runtime import OnnxPredictor, text_of

ORT_VERSION = "1.30.0"
PARITY = Path(__file__).parent / "js" / "parity.mjs"
CHROMIUM = shutil.which("chromium")
CHROMIUM_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
CHROMIUM_FLAGS += ["--disable-quic", "--disable-component-update", "--disable-sync"]
N_ROWS = 1000


@pytest.fixture(scope="module")
def ort():
    """The folder dist of onnxruntime-web, installed once into the temporary folder of the machine."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    cache = Path(tempfile.gettempdir()) / "tabkd-js" / ORT_VERSION
    dist = cache / "node_modules" / "onnxruntime-web" / "dist"
    if not dist.is_dir():
        cache.parent.mkdir(exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=cache.parent))
        install = ["npm", "install", f"onnxruntime-web@{ORT_VERSION}", "--prefix", str(making), "--ignore-scripts"]
        try:
            subprocess.run([*install, "--no-audit", "--fetch-retries=0"], check=True, capture_output=True, timeout=120)
            with contextlib.suppress(OSError):  # another worker was faster
                making.rename(cache)
        except subprocess.SubprocessError:
            pytest.skip("npm cannot install onnxruntime-web")
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return dist


@pytest.fixture(scope="module")
def table(numbers):
    """Numbers with gaps under odd names, text, numeric categories, whole numbers and booleans."""
    rng = np.random.default_rng(7)
    frame = numbers.set_axis(["a b", "나이 (세)", "c[1]", "</script>"], axis=1).copy()
    frame.loc[rng.random(len(frame)) < 0.1, "</script>"] = np.nan
    return frame.assign(
        city=pd.Series(rng.choice(["Seoul", "Busan", "제주", None], len(frame)), dtype=object),
        grade=pd.Categorical(rng.choice([0.5, 1.0, 7.25, None], len(frame))),
        count=rng.integers(0, 9, len(frame)),
        flag=rng.random(len(frame)) > 0.5,
    )


@pytest.fixture(scope="module")
def rows(table):
    """1,000 rows with missing and unseen values, each column drawn by itself."""
    rng = np.random.default_rng(8)
    unseen = {"city": ["Daegu", "", "seoul", None], "grade": [3.0, np.nan], "count": [99, -1], "flag": [True]}
    columns = {}
    for name in table.columns:
        pool = np.array(table[name].tolist(), dtype=object)
        cells = rng.choice(pool, N_ROWS)
        extra = np.array(unseen.get(name, [np.nan, 1e30, -0.0]), dtype=object)
        columns[name] = np.where(rng.random(N_ROWS) < 0.15, rng.choice(extra, N_ROWS), cells)
    frame = pd.DataFrame(columns)
    return frame.astype({name: float for name in [*table.columns[:4], "grade"]} | {"count": int, "flag": bool})


def lgbm(cls=LGBMClassifier, **params):
    return cls(**{"n_estimators": 20, "num_leaves": 7, "n_jobs": 1, "verbose": -1, **params})


def distilled(student, table, y, teacher=None, **params):
    params = {"alpha": 0.5, "cross_fit": "folds", "random_state": 0, **params}
    return DistilledEstimator(teacher or lgbm(n_estimators=5), student, **params).fit(table, y)


@pytest.fixture(scope="module")
def model(table, two):
    """Two classes of text, cut far from one half."""
    return distilled(lgbm(), table, np.where(two, "abnormal", "normal"), threshold=0.153)


@pytest.fixture(scope="module")
def file(model, table, tmp_path_factory):
    return to_onnx(model, tmp_path_factory.mktemp("web") / "oil.onnx", X=table)


def as_json(rows):
    """Rows as JavaScript reads them: missing is null."""
    return [
        {name: None if pd.isna(cell) else cell for name, cell in row.items()} for row in rows.to_dict(orient="records")
    ]


@pytest.fixture(scope="module")
def cases(model, table, rows, numbers, two, three):
    """Models with what they were trained on, the rows asked, and the options of their export."""
    y = (numbers["a"] + numbers["b"] ** 2).to_numpy()
    labels = {kind: lgbm(n_estimators=5).fit(numbers, two.astype(kind)) for kind in (bool, int, float)}
    regressor = distilled(lgbm(LGBMRegressor), table, y, teacher=lgbm(LGBMRegressor))
    several = DecisionTreeRegressor(max_depth=4, random_state=0).fit(numbers, numbers[["a", "b"]])
    rng = np.random.default_rng(5)
    texts = pd.DataFrame(
        {
            "whole": rng.integers(-2, 3, len(two)),
            "flag": two.astype(bool) ^ (rng.random(len(two)) < 0.2),
            "city": table["city"],
        }
    )
    options = {"iterations": 20, "depth": 3, "max_ctr_complexity": 1, "thread_count": 1, "random_seed": 0}
    options |= {"verbose": False, "allow_writing_files": False}
    catboost = distilled(CatBoostClassifier(cat_features=list(texts), **options), texts, two)
    oblivious = distilled(CatBoostClassifier(**options), table, np.where(two, "abnormal", "normal"))
    return {
        "two classes": (model, table, rows, {}),
        "two classes, matrix": (model, table, rows, {"inputs": "matrix"}),
        "two classes, float64": (oblivious, table, rows, {"precision": "float64"}),
        "three classes": (distilled(lgbm(), table, three), table, rows, {}),
        "regression": (regressor, table, rows, {}),
        "regression, matrix": (regressor, table, rows, {"inputs": "matrix"}),
        "several outputs": (several, numbers, numbers, {}),
        "numbers as text": (catboost, texts, texts, {}),
        "numbers as text, matrix": (catboost, texts, texts, {"inputs": "matrix"}),
        **{f"{kind.__name__} labels": (fitted, numbers, numbers, {}) for kind, fitted in labels.items()},
    }


@pytest.fixture(scope="module")
def answered(cases, ort, tmp_path_factory):
    """What Node answers in each case, in one process, since most of its time is onnxruntime's start."""
    folders = {}
    for case, (fitted, table, rows, options) in cases.items():
        folders[case] = tmp_path_factory.mktemp("case")
        write_web(to_onnx(fitted, folders[case] / "model.onnx", X=table, **options), folders[case])
        (folders[case] / "rows.json").write_text(json.dumps(as_json(rows)), encoding="utf-8")
    subprocess.run(["node", PARITY, ort, *folders.values()], check=True, timeout=60)
    return {case: json.loads((made / "answers.json").read_text("utf-8")) for case, made in folders.items()}


# ---------------------------------------------------------------- Node

CLASSIFIERS = ["two classes", "two classes, matrix", "two classes, float64", "three classes"]
CLASSIFIERS += ["numbers as text", "numbers as text, matrix", "bool labels", "int labels", "float labels"]
REGRESSORS = ["regression", "regression, matrix", "several outputs"]


@pytest.mark.parametrize("case", CLASSIFIERS)
def test_node_gives_the_probabilities_of_python(case, cases, answered):
    fitted, _, rows, _ = cases[case]
    found = [answer["probabilities"] for answer in answered[case]["together"]]
    np.testing.assert_allclose(found, fitted.predict_proba(rows), rtol=0, atol=2e-6)


@pytest.mark.parametrize("case", CLASSIFIERS)
def test_node_gives_the_labels_of_python(case, cases, answered):
    fitted, _, rows, _ = cases[case]
    found = [answer["label"] for answer in answered[case]["together"]]
    expected = fitted.predict(rows).tolist()
    assert found == expected
    assert {isinstance(label, bool) for label in found} == {isinstance(expected[0], bool)}


@pytest.mark.parametrize("case", REGRESSORS)
def test_node_gives_the_values_of_python(case, cases, answered):
    fitted, _, rows, _ = cases[case]
    found = [answer["values"] for answer in answered[case]["together"]]
    np.testing.assert_allclose(found, fitted.predict(rows).reshape(len(rows), -1), rtol=0, atol=2e-6)


@pytest.mark.parametrize("case", [*CLASSIFIERS, *REGRESSORS])
def test_node_answers_one_row_as_many(case, answered):
    alone = answered[case]["alone"]
    for one, same in zip(alone, answered[case]["together"], strict=False):
        # Sums over many rows at once may be taken in another order.
        values = [answer.get("probabilities") or answer["values"] for answer in (one, same)]
        np.testing.assert_allclose(*values, rtol=0, atol=2e-7)
        assert one.get("label") == same.get("label")


def test_page_writes_numbers_as_python_does(file, ort, tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**32, 5000, dtype=np.uint32)
    drawn = bits.view(np.float32)
    odd = [0.0, -0.0, 0.1, 3.0, 1e-4, 9.9999e-5, 1e-5, 2.5e-7, 1e15, 1e16, 1.5e22, 123456.7, 16777216.0, 3.4028235e38]
    numbers = np.concatenate([drawn[np.isfinite(drawn)], np.array(odd, dtype=np.float32)]).astype(float).tolist()
    assert read_by_page(file, tmp_path, numbers, "decimal") == [str(number) for number in numbers]


@pytest.mark.parametrize("kind", ["integer", "boolean"])
def test_page_reads_texts_of_numbers_as_python_does(file, ort, tmp_path, kind):
    cells = [3, -2, 0, 1, -0.0, 2.5, 1e22, True, False, "3.0", "-0.0", "0", "1.0", "True", "constructor", None, ""]
    found = read_by_page(file, tmp_path, cells, f"cell => textOf({{kind: '{kind}'}}, cell)")
    assert found == [text_of(cell, kind) for cell in cells]


def read_by_page(file, folder, cells, read):
    """What a function of the page makes of each cell."""
    page = write_web(file, folder).read_text(encoding="utf-8")
    reading = re.search(r'<script id="reading">(.*?)</script>', page, re.S)[1]
    program = f"{reading}; console.log(JSON.stringify({json.dumps(cells)}.map({read})))"
    (folder / "read.js").write_text(program, encoding="utf-8")
    done = subprocess.run(["node", folder / "read.js"], check=True, capture_output=True, timeout=60)
    return json.loads(done.stdout)


# ---------------------------------------------------------------- Chromium


@contextlib.contextmanager
def served(folder):
    """The address under which a folder can be visited, and the paths asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()


def visited(folder, row):
    """The page's elements once it has answered, and what it asked its server for."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    fragment = urllib.parse.quote(json.dumps(row))
    with served(folder) as (address, asked), tempfile.TemporaryDirectory() as profile:
        flags = [*CHROMIUM_FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=30000", "--dump-dom"]
        done = subprocess.run(
            [CHROMIUM, *flags, f"{address}#row={fragment}"], capture_output=True, timeout=120, encoding="utf-8"
        )
    return done.stdout, set(asked)


@pytest.fixture(
    scope="module", params=[{}, {"city": "Daegu", "grade": 3.5, "</script>": None}], ids=["known", "unseen"]
)
def visit(request, file, table, ort, tmp_path_factory):
    """A row, the page that was filled with it, and what the page asked for."""
    page = write_web(file, tmp_path_factory.mktemp("page"), ort=ort)
    row = as_json(table[:1])[0] | request.param
    return row, *visited(page.parent, row)


def label_shown(page):
    return html.unescape(re.search(r'<p id="label"[^>]*>(.*?)</p>', page)[1])


def test_page_shows_the_label_of_python(visit, model):
    row, page, _ = visit
    assert label_shown(page) == model.predict(pd.DataFrame([row]).astype({"</script>": float}))[0]


def test_page_shows_the_probabilities_of_python(visit, model):
    row, page, _ = visit
    cells = re.findall(r'<span>([^<]*)</span><data value="([^"]*)">([^<]*)</data>', page)
    assert [name for name, _, _ in cells] == model.classes_.tolist()
    found = [float(value) for _, value, _ in cells]
    expected = model.predict_proba(pd.DataFrame([row]).astype({"</script>": float}))[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    assert [text for _, _, text in cells] == [f"{100 * value:.2f}%" for value in found]


def test_page_asks_for_its_own_files_only(visit):
    assert visit[2] == {"/", "/student.onnx", *(f"/{name}" for name in RUNTIME_FILES)}


def test_page_without_the_runtime_says_what_to_put_beside_it(file, tmp_path):
    page, _ = visited(write_web(file, tmp_path).parent, {})
    alarm = re.search(r'<section id="alarm"[^>]*>(.*?)</section>', page, re.S)[1]
    assert all(name in alarm for name in RUNTIME_FILES) and "npm pack onnxruntime-web" in alarm


# ---------------------------------------------------------------- the folder


def described(page):
    return json.loads(
        re.search(r'<script type="application/json" id="model">(.*?)</script>', page.read_text("utf-8"))[1]
    )


def test_folder_holds_the_page_and_the_same_model(file, tmp_path):
    page = write_web(file, tmp_path / "made" / "here")
    assert page == tmp_path / "made" / "here" / "index.html"
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", "student.onnx"]
    assert (page.parent / "student.onnx").read_bytes() == file.read_bytes()


def test_page_describes_the_model_as_its_file_does(file, tmp_path):
    found, metadata = described(write_web(file, tmp_path)), OnnxPredictor(file).metadata
    assert found.pop("name") == "oil"
    assert found == {name: metadata[name] for name in found}


def test_page_names_no_other_host(file, tmp_path):
    text = write_web(file, tmp_path).read_text(encoding="utf-8")
    assert set(re.findall(r"\w+://[^\s\"'`/]+", text)) == {"http://localhost:8000"}


def test_model_in_the_folder_of_the_page_stays(file, tmp_path):
    own = tmp_path / "student.onnx"
    shutil.copy(file, own)
    write_web(own, tmp_path)
    assert own.read_bytes() == file.read_bytes()


def test_runtime_files_are_copied(file, tmp_path):
    source = tmp_path / "dist"
    source.mkdir()
    for name in RUNTIME_FILES:
        (source / name).write_text(name)
    page = write_web(file, tmp_path / "page", ort=source)
    assert all((page.parent / name).read_text() == name for name in RUNTIME_FILES)


def test_folder_without_the_runtime_is_refused_before_anything_is_written(file, tmp_path):
    with pytest.raises(ValueError, match=r"has no ort\.wasm.* and no .*\.wasm\. Run npm install onnxruntime-web"):
        write_web(file, tmp_path / "page", ort=tmp_path)
    assert not (tmp_path / "page").exists()


def test_file_instead_of_a_folder_is_refused(file, tmp_path):
    (tmp_path / "page").touch()
    with pytest.raises(ValueError, match=r"page is a file\. Give a folder\."):
        write_web(file, tmp_path / "page")


def test_file_of_others_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match="no ONNX file"):
        write_web(tmp_path / "model.onnx", tmp_path / "page")

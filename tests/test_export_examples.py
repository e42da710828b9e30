"""Programs of c_example and kotlin_example: they compile, and answer as Python does; and the .ort format."""

from __future__ import annotations

import csv
import json
import logging
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.tree import DecisionTreeRegressor

from tabkd import DistilledEstimator
from tabkd.export import c_program, c_templates, described, kotlin_program, mobile, to_onnx
from tabkd.export.c_program import c_example
from tabkd.export.kotlin_program import kotlin_example
from tabkd.export.mobile import write_ort
from tabkd.runtime import OnnxPredictor

N_ROWS = 300
GCC = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-g"]

#: What the programs call of onnxruntime's C interface, by the place in its table. Places never change: newer releases
#: append. So the programs can be run where onnxruntime's header is not installed.
API = {
    2: "const char *(*GetErrorMessage)(const OrtStatus *)",
    3: "OrtStatus *(*CreateEnv)(int, const char *, OrtEnv **)",
    7: "OrtStatus *(*CreateSession)(const OrtEnv *, const char *, const OrtSessionOptions *, OrtSession **)",
    9: "OrtStatus *(*Run)(OrtSession *, const void *, const char *const *, const OrtValue *const *, size_t,"
    " const char *const *, size_t, OrtValue **)",
    10: "OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **)",
    24: "OrtStatus *(*SetIntraOpNumThreads)(OrtSessionOptions *, int)",
    48: "OrtStatus *(*CreateTensorAsOrtValue)(OrtAllocator *, const int64_t *, size_t, ONNXTensorElementDataType,"
    " OrtValue **)",
    51: "OrtStatus *(*GetTensorMutableData)(OrtValue *, void **)",
    52: "OrtStatus *(*FillStringTensor)(OrtValue *, const char *const *, size_t)",
    78: "OrtStatus *(*GetAllocatorWithDefaultOptions)(OrtAllocator **)",
    92: "void (*ReleaseEnv)(OrtEnv *)",
    95: "void (*ReleaseSession)(OrtSession *)",
    96: "void (*ReleaseValue)(OrtValue *)",
    100: "void (*ReleaseSessionOptions)(OrtSessionOptions *)",
    127: "OrtStatus *(*GetStringTensorElementLength)(const OrtValue *, size_t, size_t *)",
    128: "OrtStatus *(*GetStringTensorElement)(const OrtValue *, size_t, size_t, void *)",
}
HEADER = """\
#include <stddef.h>
#include <stdint.h>
#define ORT_API_VERSION 17
enum { ORT_LOGGING_LEVEL_WARNING = 2 };
typedef enum { ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING = 8 }
    ONNXTensorElementDataType;
typedef struct OrtStatus OrtStatus;
typedef struct OrtEnv OrtEnv;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtValue OrtValue;
typedef struct { ENTRIES } OrtApi;
typedef struct { const OrtApi *(*GetApi)(uint32_t); const char *(*GetVersionString)(void); } OrtApiBase;
const OrtApiBase *OrtGetApiBase(void);
"""


def own_header():
    entries, place = [], 0
    for index, entry in API.items():
        entries += [f"void *before_{index}[{index - place}];"] * (index > place) + [f"{entry};"]
        place = index + 1
    return HEADER.replace("ENTRIES", " ".join(entries))


@pytest.fixture(scope="module")
def ort(tmp_path_factory):
    """A folder with onnxruntime's C library, of the Python package, and a header for what the programs call."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    found = [*Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")]
    if not found:
        pytest.skip("this onnxruntime comes without its C library")
    folder = tmp_path_factory.mktemp("ort")
    (folder / "onnxruntime_c_api.h").write_text(own_header(), encoding="utf-8")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(found[0])
    return folder


# ---------------------------------------------------------------- models

ODD = ["a b", "나이 (세)", 'c[1] "x" \\ ??/ */', "$d ${1}\t@fields@"]


def lgbm(cls=LGBMClassifier, **params):
    return cls(**{"n_estimators": 20, "num_leaves": 7, "n_jobs": 1, "verbose": -1, **params})


def distilled(student, table, y, teacher=None, **params):
    params = {"alpha": 0.5, "cross_fit": "folds", "random_state": 0, **params}
    return DistilledEstimator(teacher or lgbm(n_estimators=5), student, **params).fit(table, y)


@pytest.fixture(scope="module")
def table(numbers):
    """Numbers with gaps under odd names, text, numeric categories, whole numbers and booleans."""
    rng = np.random.default_rng(7)
    frame = numbers.set_axis(ODD, axis=1).copy()
    frame.loc[rng.random(len(frame)) < 0.1, ODD[3]] = np.nan
    return frame.assign(
        city=pd.Series(rng.choice(["Seoul", 'Busan, "old"', "제주\n", None], len(frame)), dtype=object),
        grade=pd.Categorical(rng.choice([0.5, 1.1, 7.25, None], len(frame))),
        int=rng.integers(0, 9, len(frame)),
        INT=rng.random(len(frame)) > 0.5,
    )


@pytest.fixture(scope="module")
def texts(table, two):
    """Columns that CatBoost reads as text: whole numbers with gaps, numbers, booleans and text."""
    rng = np.random.default_rng(5)
    whole = pd.Series(rng.integers(-2, 3, len(two))).astype("Int64").mask(rng.random(len(two)) < 0.1)
    ratio = rng.choice([0.1, 3.0, 1e-5, -2.5e22, 123456.7, np.nan, np.inf], len(two))
    return pd.DataFrame(
        {"whole": whole, "ratio": ratio, "flag": two ^ (rng.random(len(two)) < 0.2), "city": table["city"]}
    )


@pytest.fixture(scope="module")
def cases(table, texts, numbers, two, three):
    """Models with the rows asked, and the options of their export."""

    def drawn(frame, unseen):
        """Rows with missing and unseen values, each column drawn by itself."""
        rng = np.random.default_rng(8)
        columns = {}
        for name in frame.columns:
            cells = rng.choice(np.array(frame[name].tolist(), dtype=object), N_ROWS)
            extra = np.array(unseen.get(name, [None, 1e30, -0.0]), dtype=object)
            columns[name] = np.where(rng.random(N_ROWS) < 0.15, rng.choice(extra, N_ROWS), cells)
        return pd.DataFrame(columns)

    unseen = {"city": ["Daegu", "", None], "grade": [3.0, None], "int": [99, -1], "INT": [True]}
    rows = drawn(table, unseen).astype({name: float for name in [*ODD, "grade"]} | {"int": int, "INT": bool})
    texts = texts.assign(flag=texts["flag"].astype(bool))
    asked = drawn(texts, unseen | {"whole": [7, None], "ratio": [None, 0.5, 1e16], "flag": [True]})
    asked = asked.astype({"whole": "Int64", "ratio": float, "flag": bool})
    y = (numbers["a"] + numbers["b"] ** 2).to_numpy()
    binary = distilled(lgbm(), table, np.where(two, 'no, "never"', "예"), threshold=0.153)
    regressor = distilled(lgbm(LGBMRegressor), table, y, teacher=lgbm(LGBMRegressor))
    several = DecisionTreeRegressor(max_depth=4, random_state=0).fit(numbers, numbers[["a", "b"]])
    options = {"iterations": 20, "depth": 3, "max_ctr_complexity": 1, "thread_count": 1, "random_seed": 0}
    options |= {"verbose": False, "allow_writing_files": False}
    catboost = distilled(CatBoostClassifier(cat_features=list(texts), **options), texts, two)
    oblivious = distilled(CatBoostClassifier(**options), table, np.where(two, 'no, "never"', "예"), threshold=0.153)
    # The last labels are no float32 numbers.
    labels = {"bool": two.astype(bool), "int": two - 2**40, "float": 16777217.0 * two}
    return {
        "text labels": (binary, rows, {}),
        "text labels, matrix": (binary, rows, {"inputs": "matrix"}),
        "text labels, float64": (oblivious, rows, {"precision": "float64"}),
        "three classes": (distilled(lgbm(), table, three), rows, {}),
        "texts": (catboost, asked, {}),
        "texts, matrix": (catboost, asked, {"inputs": "matrix"}),
        **{f"{kind} labels": (lgbm(n_estimators=5).fit(numbers, made), numbers, {}) for kind, made in labels.items()},
        "regression": (regressor, rows, {}),
        "regression, matrix": (regressor, rows, {"inputs": "matrix"}),
        "several outputs": (several, numbers, {}),
    }


CASES = ["text labels", "text labels, matrix", "text labels, float64", "three classes", "texts", "texts, matrix"]
CASES += ["bool labels", "int labels", "float labels", "regression", "regression, matrix", "several outputs"]


@pytest.fixture(scope="module")
def files(cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    return {
        case: to_onnx(model, folder / f"{case}.onnx", X=rows, **options)
        for case, (model, rows, options) in cases.items()
    }


# ---------------------------------------------------------------- C


def compiled(program, folder, ort, flags=()):
    (folder / "example.c").write_text(program, encoding="utf-8")
    linked = ["-L", ort, "-lonnxruntime", f"-Wl,-rpath,{ort}", "-o", folder / "example"]
    done = subprocess.run(
        [*GCC, *flags, folder / "example.c", "-I", ort, *linked], capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return folder / "example"


def as_csv(rows):
    return rows.to_csv(index=False, header=False)


def answers(program, file, rows):
    """The header and the rows that a program writes."""
    done = subprocess.run([program, file], input=as_csv(rows).encode(), capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    return [*csv.reader(done.stdout.decode().splitlines())]


def check_same(found, model, rows):
    """What a program writes is what Python answers."""
    if hasattr(model, "predict_proba"):
        read = {"f": float, "i": int}.get(model.classes_.dtype.kind, str)
        assert [read(row[0]) for row in found[1:]] == [read(label) for label in model.predict(rows)]
        assert found[0] == ["label", *(f"probability_{label}" for label in model.classes_)]
        found, expected = [row[1:] for row in found], model.predict_proba(rows)
    else:
        expected = model.predict(rows).reshape(len(rows), -1)
    np.testing.assert_allclose(np.array(found[1:], dtype=float), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("case", CASES)
def test_c_program_answers_as_python_does(cases, files, ort, tmp_path, case):
    model, rows, _ = cases[case]
    check_same(answers(compiled(c_example(files[case]), tmp_path, ort), files[case], rows), model, rows)


def test_c_program_reads_one_row_from_the_command_line(cases, files, ort, tmp_path):
    model, rows, _ = cases["text labels"]
    program = compiled(c_example(files["text labels"]), tmp_path, ort)
    row = as_csv(rows[:1]).removesuffix("\n")
    done = subprocess.run([program, files["text labels"], row], check=True, capture_output=True, encoding="utf-8")
    check_same([*csv.reader(done.stdout.splitlines())], model, rows[:1])


def test_c_program_compiles_with_the_header_of_onnxruntime(cases, files, ort, tmp_path):
    flags = ["-I", "/usr/include/onnxruntime"]
    probe = ["gcc", "-E", *flags, "-include", "onnxruntime_c_api.h", "-x", "c", "/dev/null"]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("gcc finds no onnxruntime_c_api.h: Debian has it in libonnxruntime-dev, elsewhere set CPATH")
    (ort / "only").mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (ort / "only" / name).symlink_to(ort / name)
    model, rows, _ = cases["text labels"]
    program = compiled(c_example(files["text labels"]), tmp_path, ort / "only", flags)
    check_same(answers(program, files["text labels"], rows), model, rows)


@pytest.mark.skipif(
    tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 24), reason="older onnxruntime leaks by itself"
)
def test_c_program_frees_what_it_takes(cases, files, ort, tmp_path):
    probe = ["gcc", "-fsanitize=address,undefined", "-x", "c", "-", "-o", tmp_path / "probe"]
    if subprocess.run(probe, input=b"int main(void) { return 0; }", capture_output=True).returncode:
        pytest.skip("gcc has no sanitizers")
    model, rows, _ = cases["texts, matrix"]
    program = compiled(c_example(files["texts, matrix"]), tmp_path, ort, ["-fsanitize=address,undefined"])
    check_same(answers(program, files["texts, matrix"], rows), model, rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [("1,2\n", "A row has 2 cells, the model needs 4."), ("1,2,x,4", 'must hold numbers, but does not: c,"d')],
    ids=["too short", "no number"],
)
def test_c_program_says_what_is_wrong_with_a_row(numbers, two, ort, tmp_path, rows, message):
    named = numbers.set_axis(["a", "b", 'c,"d', "label"], axis=1)
    file = to_onnx(lgbm(n_estimators=2).fit(numbers.to_numpy(), two), tmp_path / "model.onnx", X=named)
    program = compiled(c_example(file), tmp_path, ort)
    done = subprocess.run([program, file], input=rows, capture_output=True, encoding="utf-8")
    assert done.returncode == 1 and message in done.stderr


def test_c_program_reads_cells_as_csv_has_them(files, ort, tmp_path):
    program = compiled(c_example(files["texts"]), tmp_path, ort)
    asked = ['3,0.5,true,"Busan, ""old"""', '"3.0","5e-1",TRUE,"Busan, ""old"""\r', '3.00,.5,"True","Busan, ""old"""']
    done = subprocess.run([program, files["texts"]], input="\n".join(asked).encode(), check=True, capture_output=True)
    assert len(set(done.stdout.split()[1:])) == 1


def test_c_program_writes_numbers_as_python_does(ort, tmp_path):
    drawn = np.random.default_rng(0).integers(0, 2**32, 5000, dtype=np.uint32).view(np.float32)
    odd = [0.0, -0.0, 0.1, 3.0, 1e-4, 9.9999e-5, 1e-5, 2.5e-7, 1e15, 1e16, 1.5e22, 123456.7, 16777216.0, 3.4028235e38]
    numbers = np.concatenate([drawn[~np.isnan(drawn)], np.array(odd, dtype=np.float32)]).astype(float).tolist()
    headers = "".join(f"#include <{name}.h>\n" for name in ("locale", "math", "stdio", "stdlib", "string"))
    main = 'int main(void) { float x; while (scanf("%f", &x) == 1) puts(decimal(x).text); }\n'
    program = compiled(headers + c_templates.HELPERS["decimal"] + main, tmp_path, ort)
    asked = "\n".join(map(repr, numbers))
    done = subprocess.run([program], input=asked, check=True, capture_output=True, encoding="utf-8")
    assert done.stdout.split() == [str(number) for number in numbers]


# ---------------------------------------------------------------- Kotlin

#: What the programs call of onnxruntime's Java interface: shows what it is given, and answers what it is told.
STUBS = {
    "OnnxTensor": """
    import java.nio.FloatBuffer; import java.util.*;
    public class OnnxTensor implements OnnxValue {
        final List<Object> cells = new ArrayList<>();
        public static OnnxTensor createTensor(OrtEnvironment e, FloatBuffer values, long[] shape) {
            OnnxTensor made = new OnnxTensor();
            for (int i = 0; i < shape[0] * shape[1]; i++) made.cells.add(Float.floatToRawIntBits(values.get(i)));
            return made;
        }
        public static OnnxTensor createTensor(OrtEnvironment e, String[] values, long[] shape) {
            OnnxTensor made = new OnnxTensor();
            for (String value : values) made.cells.add(Arrays.toString(value.getBytes(
                java.nio.charset.StandardCharsets.UTF_8)));
            return made;
        }
        public Object getValue() { return null; }
        public void close() { cells.clear(); }
    }""",
    "OnnxValue": "public interface OnnxValue extends AutoCloseable { Object getValue(); void close(); }",
    "OrtException": "public class OrtException extends Exception { }",
    "OrtEnvironment": """
    public class OrtEnvironment {
        public static OrtEnvironment getEnvironment() { return new OrtEnvironment(); }
        public OrtSession createSession(byte[] model, OrtSession.SessionOptions o) throws OrtException {
            return new OrtSession(new String(model).split(" "));
        }
    }""",
    "OrtSession": """
    import java.util.*;
    public class OrtSession implements AutoCloseable {
        final String[] told;
        OrtSession(String[] told) { this.told = told; }
        public static class SessionOptions implements AutoCloseable {
            public void setIntraOpNumThreads(int n) throws OrtException { }
            public void close() { }
        }
        record Value(Object value) implements OnnxValue {
            public Object getValue() { return value; }
            public void close() { }
        }
        public static class Result implements AutoCloseable {
            final List<OnnxValue> values = new ArrayList<>();
            public OnnxValue get(int index) { return values.get(index); }
            public void close() { values.clear(); }
        }
        public Result run(Map<String, ? extends OnnxTensor> inputs) throws OrtException {
            StringBuilder shown = new StringBuilder();
            for (OnnxTensor tensor : inputs.values()) shown.append(tensor.cells);
            System.out.println(shown.toString().replace("][", ", "));
            int n = Integer.parseInt(told[2]);
            float[] floats = new float[n]; double[] doubles = new double[n];
            for (int i = 0; i < n; i++) doubles[i] = floats[i] = i + 0.5f;
            Result result = new Result();
            switch (told[0]) {
                case "str" -> result.values.add(new Value(new String[] {"b"}));
                case "int" -> result.values.add(new Value(new long[] {7}));
                case "bool" -> result.values.add(new Value(new boolean[] {true}));
                case "float" -> result.values.add(new Value(new float[] {16777216f}));
            }
            Object last = told[1].equals("double") ? new double[][] {doubles} : new float[][] {floats};
            result.values.add(new Value(last));
            return result;
        }
        public void close() { }
    }""",
}


def properties(program):
    """Names and types of a row's properties, by column."""
    found = re.findall(r'^    var (\S+): (\w+)\? = null,?  // (".*")$', program, re.M)
    return {json.loads(literal.replace("\\$", "$")): (name, kind) for name, kind, literal in found}


def literal(cell, kind):
    if pd.isna(cell):
        return "null"
    if kind == "String":
        return kotlin_program._kotlin_string(cell)
    if kind == "Double":
        return repr(float(cell)).replace("-inf", "Double.NEGATIVE_INFINITY").replace("inf", "Double.POSITIVE_INFINITY")
    return f"{int(cell)}L" if kind == "Long" else str(bool(cell)).lower()


@pytest.fixture(scope="module")
def told_in_kotlin(cases, files, tmp_path_factory):
    """What the programs give to onnxruntime and answer, in each case, for 40 rows: compiled and run at once."""
    if shutil.which("kotlinc") is None or shutil.which("javac") is None:
        pytest.skip("kotlinc and javac are not installed")
    folder, calls = tmp_path_factory.mktemp("kotlin"), []
    stubs = folder / "ai" / "onnxruntime"
    stubs.mkdir(parents=True)
    for name, code in STUBS.items():
        (stubs / f"{name}.java").write_text(f"package ai.onnxruntime;\n{code}", encoding="utf-8")
    for i, case in enumerate(CASES):
        program, model = kotlin_example(files[case]), cases[case][0]
        (folder / f"Case{i}.kt").write_text(f"package case{i}\n{program}", encoding="utf-8")
        known = properties(program)
        labels = type(model.classes_.tolist()[0]).__name__ if hasattr(model, "classes_") else "none"
        n_values = 2 if case == "several outputs" else 1 if labels == "none" else len(model.classes_)
        told = f"{labels} {'double' if 'float64' in case else 'float'} {n_values}"
        calls.append(f'    case{i}.Student("{told}".toByteArray()).use {{ student ->')
        for row in cases[case][1][:40].to_dict(orient="records"):
            given = ", ".join(f"{known[name][0]} = {literal(cell, known[name][1])}" for name, cell in row.items())
            calls.append(f"        println(student.predict(case{i}.Row({given})))")
        calls.append("    }")
    (folder / "Main.kt").write_text("fun main() {\n" + "\n".join(calls) + "\n}\n", encoding="utf-8")
    utf8 = {**os.environ, "JAVA_TOOL_OPTIONS": "-Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8"}
    java, kotlin = sorted(stubs.glob("*.java")), sorted(folder.glob("*.kt"))
    subprocess.run(["javac", "-d", folder / "stubs", *java], check=True, capture_output=True, env=utf8)
    build = ["kotlinc", *kotlin, "-cp", folder / "stubs", "-include-runtime", "-d", folder / "all.jar", "-Werror"]
    done = subprocess.run(build, capture_output=True, encoding="utf-8", env=utf8, timeout=300)
    assert done.returncode == 0, done.stderr
    run = ["java", "-cp", f"{folder / 'all.jar'}:{folder / 'stubs'}", "MainKt"]
    lines = subprocess.run(run, check=True, capture_output=True, encoding="utf-8", env=utf8).stdout.splitlines()
    return {
        case: (lines[80 * i : 80 * i + 80 : 2], lines[80 * i + 1 : 80 * i + 80 : 2]) for i, case in enumerate(CASES)
    }


@pytest.mark.parametrize("case", CASES)
def test_kotlin_gives_onnxruntime_what_python_gives(case, cases, files, told_in_kotlin):
    feed = OnnxPredictor(files[case])._feed(cases[case][1][:40])
    expected = [[in_java(cell) for values in feed.values() for cell in np.ravel(values[row])] for row in range(40)]
    assert [json.loads(shown) for shown in told_in_kotlin[case][0]] == expected


def in_java(cell):
    """UTF-8 of a text, the bits of a number."""
    if isinstance(cell, str):
        return np.frombuffer(cell.encode(), np.int8).tolist()
    return int((np.float32("nan") if np.isnan(cell) else cell).view(np.int32))


ANSWERS = {
    "text labels": 'Answer(label=b, probabilities={no, "never"=0.5, 예=1.5})',
    "text labels, float64": 'Answer(label=b, probabilities={no, "never"=0.5, 예=1.5})',
    "int labels": f"Answer(label=7, probabilities={{{-(2**40)}=0.5, {1 - 2**40}=1.5}})",
    "bool labels": "Answer(label=true, probabilities={false=0.5, true=1.5})",
    "float labels": "Answer(label=1.6777217E7, probabilities={0.0=0.5, 1.6777217E7=1.5})",
    "regression": "0.5",
    "several outputs": "[0.5, 1.5]",
}


@pytest.mark.parametrize("case", ANSWERS)
def test_kotlin_takes_labels_and_values_from_the_outputs(case, told_in_kotlin):
    assert set(told_in_kotlin[case][1]) == {ANSWERS[case]}


def test_kotlin_program_has_a_property_for_each_column(cases, files, table):
    found = properties(kotlin_example(files["text labels"]))
    kinds = ["Double"] * 4 + ["String", "Double", "Long", "Boolean"]
    assert list(found) == table.columns.tolist()
    assert [kind for _, kind in found.values()] == kinds


def test_kotlin_program_names_inputs_with_dollars_escaped(files):
    program = kotlin_example(files["text labels"])
    assert r'inputs["\$d \${1}\u0009@fields@"] = tensor(' in program
    assert re.search(r"(?<!\\)\$", re.sub(r"//.*", "", program)) is None


def test_kotlin_program_closes_what_it_opens(files):
    code = re.sub(r'"(?:\\.|[^"\\])*"', "", re.sub(r"//.*|/\*.*?\*/", "", kotlin_example(files["texts, matrix"])))
    assert [code.count(sign) for sign in "([{"] == [code.count(sign) for sign in ")]}"]


def test_wide_kotlin_row_needs_no_constructor_that_java_cannot_have(two, tmp_path):
    X = np.random.default_rng(0).normal(size=(len(two), 300))
    program = kotlin_example(to_onnx(lgbm(n_estimators=2).fit(X, two), tmp_path / "model.onnx"))
    assert "data class Row" not in program and program.count("\n    var ") == 300


def test_more_categories_than_a_kotlin_class_holds_are_refused(files, monkeypatch):
    monkeypatch.setattr(kotlin_program, "_MOST_CATEGORIES", 4)
    with pytest.raises(ValueError, match=r'reads codes of \d+ categories.*Export it with inputs="columns"'):
        kotlin_example(files["text labels, matrix"])
    assert "Seoul" not in kotlin_example(files["text labels"])


# ---------------------------------------------------------------- identifiers


NAMES = ["Age (yrs)", "나이 값", "2nd", "AGE-yrs", "", "while", "a", "A"]


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (c_program._snake_case, ["age_yrs", "column2", "column2nd", "age_yrs_2", "column5", "while_2", "a", "a_2"]),
        (kotlin_program._camel_case, ["ageYrs", "나이값", "column2nd", "ageYrs_2", "column5", "while_2", "a", "a_2"]),
    ],
    ids=["C", "Kotlin"],
)
def test_identifiers_are_valid_and_unique(style, expected):
    assert described.identifiers(NAMES, style, ["while"]) == expected


# ---------------------------------------------------------------- .ort


@pytest.mark.parametrize("case", ["text labels", "texts, matrix", "several outputs"])
def test_ort_file_answers_as_the_onnx_file_does(case, cases, files, tmp_path):
    model, _ = write_ort(files[case], tmp_path / "made" / "here")
    feed = OnnxPredictor(files[case])._feed(cases[case][1])
    expected = onnxruntime.InferenceSession(str(files[case])).run(None, feed)
    for found, wanted in zip(onnxruntime.InferenceSession(str(model)).run(None, feed), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_ort_file_has_its_list_of_operators(files, tmp_path):
    made = write_ort(files["text labels"], tmp_path)
    assert made == [tmp_path / "text labels.ort", tmp_path / "text labels.required_operators.config"]
    assert sorted(tmp_path.iterdir()) == sorted(made)
    head, *operators = made[1].read_text(encoding="utf-8").splitlines()
    assert head == "# What text labels.ort needs"
    assert "ai.onnx.ml;3;TreeEnsembleRegressor" in operators


def test_ort_leaves_logging_as_it_is(files, tmp_path):
    before = list(logging.getLogger().handlers)
    write_ort(files["several outputs"], tmp_path)
    assert logging.getLogger().handlers == before


def test_ort_file_that_answers_otherwise_is_not_written(files, tmp_path, monkeypatch):
    monkeypatch.setattr(mobile.np, "allclose", lambda *args, **kwargs: False)
    with pytest.raises(ValueError, match=r"answers otherwise in the \.ort format"):
        write_ort(files["several outputs"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_converter_is_named(files, tmp_path, monkeypatch):
    monkeypatch.setattr(mobile.sys, "executable", shutil.which("false"))
    with pytest.raises(ValueError, match=r"converter to \.ort failed: .* pip install onnx flatbuffers"):
        write_ort(files["several outputs"], tmp_path)


def test_file_instead_of_a_folder_is_refused(files, tmp_path):
    (tmp_path / "phone").touch()
    with pytest.raises(ValueError, match=r"phone is a file\. Give a folder\."):
        write_ort(files["several outputs"], tmp_path / "phone")

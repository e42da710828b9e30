"""Prediction from a file: every way to give a table, and clear words for what cannot be read."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from onnx import TensorProto, helper

import tabkd.runtime
from tabkd.runtime import METADATA, Answer, OnnxPredictor, text_of

COLUMNS = [
    {"name": "나이 (세)", "kind": "number", "type": "float"},
    {"name": "city", "kind": "category", "type": "string", "categories": ["Busan", "Seoul"]},
    {"name": "flag", "kind": "boolean", "type": "float"},
    {"name": "rooms", "kind": "integer", "type": "string", "categories": ["2", "3"]},
    {"name": "grade", "kind": "category", "type": "float", "categories": [1, 4]},
]
NAMES = [column["name"] for column in COLUMNS]
ROW = dict(zip(NAMES, [40.5, "Seoul", True, 3, 4], strict=True))
ANSWER = [40.5, 3, 1, 3, 4]
CODED = [40.5, 3, 1, 3, 3]
BLANK = [np.nan, 1, np.nan, 1, np.nan]
TABLE = {
    "나이 (세)": [40.5, None, 7],
    "city": ["Seoul", None, "Paris"],
    "flag": [True, None, False],
    "rooms": [3, None, 9],
    "grade": [4, None, 1],
}
ANSWERS = [ANSWER, BLANK, [7, 0, 0, 0, 1]]


def info(name, dtype, *shape):
    return helper.make_tensor_value_info(name, dtype, ["N", *shape])


def built(nodes, inputs, outputs, metadata, *, constants=(), opset=15, ir_version=8):
    graph = helper.make_graph(nodes, "tabkd", inputs, outputs, list(constants))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    if metadata is not None:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata, ensure_ascii=False)
        helper.set_model_props(model, {METADATA: text})
    return model


def described(task="regression", inputs="columns", columns=COLUMNS, **more):
    outputs = ["prediction"] if task == "regression" else ["label", "probabilities"]
    return {"format": 1, "task": task, "inputs": inputs, "columns": columns, "outputs": outputs, **more}


def echo(**options):
    """A regression that answers with what it was given: numbers as they are, text as its place in the categories."""
    nodes, parts, inputs = [], [], []
    for column in COLUMNS:
        text = column["type"] == "string"
        inputs.append(info(column["name"], TensorProto.STRING if text else TensorProto.FLOAT, 1))
        parts.append(column["name"] + "!" if text else column["name"])
        if text:
            keys = ["", *column["categories"]]
            places = {"keys_strings": keys, "values_floats": [1.0, 2.0, 3.0], "default_float": 0.0}
            nodes.append(helper.make_node("LabelEncoder", [column["name"]], parts[-1:], domain="ai.onnx.ml", **places))
    nodes.append(helper.make_node("Concat", parts, ["prediction"], axis=1))
    return built(nodes, inputs, [info("prediction", TensorProto.FLOAT, len(COLUMNS))], described(), **options)


def echo_matrix():
    nodes = [helper.make_node("Identity", ["features"], ["prediction"])]
    width = len(COLUMNS)
    inputs, outputs = [info("features", TensorProto.FLOAT, width)], [info("prediction", TensorProto.FLOAT, width)]
    return built(nodes, inputs, outputs, described(inputs="matrix"))


def one_value():
    nodes = [helper.make_node("Identity", ["x0"], ["prediction"])]
    columns = [{"name": "x0", "kind": "number", "type": "float"}]
    inputs, outputs = [info("x0", TensorProto.FLOAT, 1)], [info("prediction", TensorProto.FLOAT, 1)]
    return built(nodes, inputs, outputs, described(columns=columns))


def classifier(classes):
    """Two classes: the probability of the second is the column ``p``."""
    array = np.asarray(classes)
    kind = {"U": TensorProto.STRING, "i": TensorProto.INT64, "f": TensorProto.FLOAT, "b": TensorProto.BOOL}
    dtype = kind[array.dtype.kind]
    labels = [label.encode() for label in classes] if dtype == TensorProto.STRING else classes
    constants = [helper.make_tensor("one", 1, [1], [1.0]), helper.make_tensor("labels", dtype, [2], labels)]
    nodes = [
        helper.make_node("Sub", ["one", "p"], ["rest"]),
        helper.make_node("Concat", ["rest", "p"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["code"], axis=1, keepdims=0),
        helper.make_node("Gather", ["labels", "code"], ["label"], axis=0),
    ]
    metadata = described("classification", columns=[{"name": "p", "kind": "number", "type": "float"}], classes=classes)
    outputs = [info("label", dtype), info("probabilities", TensorProto.FLOAT, 2)]
    return built(nodes, [info("p", TensorProto.FLOAT, 1)], outputs, metadata, constants=constants)


def loaded(model, **options):
    return OnnxPredictor(model.SerializeToString(), **options)


@pytest.fixture(scope="module")
def predictor():
    return loaded(echo())


# ---------------------------------------------------------------- tables


def polars_frame(table):
    return pytest.importorskip("polars").DataFrame(table)


GIVEN = {
    "dict of lists": dict,
    "dict of arrays": lambda t: {name: np.array(values, dtype=object) for name, values in t.items()},
    "dict of one-column arrays": lambda t: {n: np.array(v, dtype=object)[:, None] for n, v in t.items()},
    "list of dicts": lambda t: [dict(zip(t, row, strict=True)) for row in zip(*t.values(), strict=True)],
    "array": lambda t: np.array(list(t.values()), dtype=object).T,
    "list of lists": lambda t: [list(row) for row in zip(*t.values(), strict=True)],
    "pandas": pd.DataFrame,
    "pandas nullable": lambda t: pd.DataFrame(t).convert_dtypes(),
    "pandas categorical": lambda t: pd.DataFrame(t).astype({"city": "category", "grade": "category"}),
    "pandas unnamed": lambda t: pd.DataFrame(t, dtype=object).set_axis(range(5), axis=1),
    "pandas more columns": lambda t: pd.DataFrame({"id": [1, 2, 3], **dict(reversed(t.items()))}),
    "polars": polars_frame,
    "pyarrow": lambda t: pytest.importorskip("pyarrow").table(t),
    "pyarrow batch": lambda t: pytest.importorskip("pyarrow").table(t).to_batches()[0],
}


@pytest.mark.parametrize("given", GIVEN)
def test_tables_of_every_make_are_read_alike(predictor, given):
    np.testing.assert_array_equal(predictor.predict(GIVEN[given](TABLE)), np.float32(ANSWERS))


@pytest.mark.parametrize("given", GIVEN)
def test_categories_become_codes_where_the_file_reads_a_matrix(given):
    expected = [CODED, [np.nan, 1, np.nan, 1, 1], [7, 0, 0, 0, 2]]
    np.testing.assert_array_equal(loaded(echo_matrix()).predict(GIVEN[given](TABLE)), np.float32(expected))


@pytest.mark.parametrize("missing", [None, np.nan, float("nan"), pd.NA, pd.NaT, ""], ids=repr)
def test_every_missing_value_is_understood(predictor, missing):
    np.testing.assert_array_equal(predictor.predict({name: [missing] for name in NAMES}), np.float32([BLANK]))
    np.testing.assert_array_equal(predictor.predict_one(dict.fromkeys(NAMES, missing)), BLANK)


@pytest.mark.parametrize("value", [1, 1.0, True, np.True_, "1", "1.0", np.float32(1), np.int8(1)], ids=repr)
@pytest.mark.parametrize(("kind", "text"), [("integer", "1"), ("boolean", "True"), ("number", "1.0")])
def test_one_is_the_same_text_whatever_holds_it(value, kind, text):
    assert text_of(value, kind) == text


@pytest.mark.parametrize("value", [-0.0, "-0.0", "-0", False], ids=repr)
def test_zero_has_no_sign_in_the_text_of_a_whole_number(value):
    assert text_of(value, "integer") == "0"


@pytest.mark.parametrize("rooms", [3, 3.0, "3", "3.0", np.int8(3), np.float32(3)], ids=repr)
def test_whole_numbers_that_are_text_are_their_digits(predictor, rooms):
    assert predictor.predict_one({**ROW, "rooms": rooms})[3] == 3
    assert predictor.predict({name: [value] for name, value in {**ROW, "rooms": rooms}.items()})[0, 3] == 3


def test_numbers_given_as_text_are_numbers(predictor):
    assert predictor.predict_one({**ROW, "나이 (세)": "40.5", "grade": "4"}) == ANSWER


def test_numbers_too_large_for_float32_are_infinite(predictor):
    row = {**ROW, "나이 (세)": -1e300}
    assert predictor.predict_one(row)[0] == -np.inf == predictor.predict([row])[0, 0]


def test_text_of_a_number_column_is_written_as_float32():
    column = tabkd.runtime._Column({"name": "x", "kind": "number", "type": "string", "categories": []})
    assert [column.text(value) for value in (0.1, 2, "2", None)] == ["0.10000000149011612", "2.0", "2.0", ""]


def test_text_of_a_number_beyond_float32_is_infinite():
    column = tabkd.runtime._Column({"name": "x", "kind": "number", "type": "string", "categories": []})
    assert column.text(-1e300) == "-inf"


def test_batches_give_the_same_as_all_rows_at_once(predictor):
    table = {name: values * 7 for name, values in TABLE.items()}
    np.testing.assert_array_equal(loaded(echo(), batch_size=4).predict(table), predictor.predict(table))


# ---------------------------------------------------------------- answers


LABELS = [["no", "yes"], [3, 7], [False, True], [0.1, 0.7]]


@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_labels_are_those_of_training(labels):
    found = loaded(classifier(labels)).predict({"p": [0.25, 0.75]})
    assert found.tolist() == labels


@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_one_row_gives_label_and_probabilities(labels):
    found = loaded(classifier(labels)).predict_one({"p": 0.75})
    assert found == Answer(labels[1], {labels[0]: 0.25, labels[1]: 0.75})
    assert type(found.label) is type(labels[1])


def test_probabilities_have_a_column_per_class():
    predictor = loaded(classifier(["no", "yes"]))
    np.testing.assert_array_equal(predictor.predict_proba([[0.25], [0.75]]), [[0.75, 0.25], [0.25, 0.75]])
    assert predictor.classes.tolist() == ["no", "yes"]


def test_one_row_of_a_matrix_is_coded():
    assert loaded(echo_matrix()).predict_one(ROW) == CODED


def test_one_row_of_a_regression_is_a_number():
    assert loaded(one_value()).predict_one({"x0": 2}) == 2.0


def test_regression_with_one_output_is_one_dimensional():
    assert loaded(one_value()).predict(np.array([[1], [2]])).tolist() == [1, 2]


def test_frame_of_one_row_is_a_row(predictor):
    for frame in (pd.DataFrame([ROW]), polars_frame({name: [cell] for name, cell in ROW.items()})):
        assert predictor.predict_one(frame) == ANSWER


def test_row_of_a_frame_is_a_row(predictor):
    assert predictor.predict_one(pd.Series(ROW, dtype=object)) == ANSWER


def test_pickled_predictor_answers_the_same(tmp_path):
    (tmp_path / "m.onnx").write_bytes(echo().SerializeToString())
    for given in (echo().SerializeToString(), tmp_path / "m.onnx"):
        copied = pickle.loads(pickle.dumps(OnnxPredictor(given, n_threads=2, batch_size=7)))
        np.testing.assert_array_equal(copied.predict(TABLE), ANSWERS)
        assert copied.session.get_session_options().intra_op_num_threads == 2


def test_a_predictor_may_be_shared_by_threads():
    predictor = loaded(classifier(["no", "yes"]))
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda k: predictor.predict_one({"p": k / 4096}).probabilities["yes"], range(4096))
    assert list(answers) == [k / 4096 for k in range(4096)]


def test_columns_and_metadata_are_those_of_the_file(predictor):
    assert (predictor.columns, predictor.classes) == (NAMES, None)
    assert predictor.metadata["columns"] == COLUMNS


# ---------------------------------------------------------------- tables that cannot be read


@pytest.mark.parametrize("given", ["dict of lists", "list of dicts", "pandas", "polars"])
def test_missing_column_is_named_with_one_like_it(predictor, given):
    table = {name.replace("rooms", "room"): values for name, values in TABLE.items()}
    with pytest.raises(ValueError, match=r"lacks the columns \['rooms'\] \('rooms': there is 'room'\)"):
        predictor.predict(GIVEN[given](table))


@pytest.mark.parametrize("row", [None, 3])
def test_one_row_that_is_no_mapping_is_refused(predictor, row):
    with pytest.raises(ValueError, match=r"A row maps the names of columns to values, but this one is"):
        predictor.predict_one(row)


def test_missing_column_of_one_row_is_named(predictor):
    with pytest.raises(ValueError, match=r"lacks the columns \['city'\]"):
        predictor.predict_one({name: value for name, value in ROW.items() if name != "city"})


@pytest.mark.parametrize("name", ["나이 (세)", "grade"])
@pytest.mark.parametrize("value", ["old", [1, 2], 1j, pd.Timestamp("2020-01-01")], ids=str)
def test_what_is_no_number_is_named_with_its_row(predictor, name, value):
    column = np.empty(3, dtype=object)
    column[:] = [1, None, value]
    with pytest.raises(ValueError, match=r"must hold numbers, but row 2 \(from 0\) holds"):
        predictor.predict({**TABLE, name: column})
    with pytest.raises(ValueError, match=r"Column .* (must hold numbers|has the shape)"):
        predictor.predict_one({**ROW, name: value})


def test_dates_are_refused(predictor):
    with pytest.raises(ValueError, match="must hold numbers, but holds datetime64"):
        predictor.predict(pd.DataFrame({**TABLE, "grade": pd.date_range("2020-01-01", periods=3)}))


def test_columns_of_unequal_length_are_named(predictor):
    with pytest.raises(ValueError, match=r"Column 'flag' has 2 values, but .* has 3"):
        predictor.predict({**TABLE, "flag": [True, False]})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({**ROW}, r"has the shape \(\)\. .* or use predict_one"),
        ({name: [[1, 2]] for name in NAMES}, r"has the shape \(1, 2\)"),
        (np.zeros(5), r"its shape is \(5,\)"),
        (np.zeros((2, 4)), "X has 4 columns, but this model needs 5, in this order"),
        (pd.DataFrame(np.zeros((2, 4))), "X has 4 columns"),
        ({name: [] for name in NAMES}, "no rows"),
        ([], "its shape is"),
    ],
    ids=["values", "wide columns", "vector", "narrow array", "narrow frame", "no rows", "nothing"],
)
def test_what_is_no_table_is_refused(predictor, table, said):
    with pytest.raises(ValueError, match=said):
        predictor.predict(table)


def test_regression_has_no_probabilities(predictor):
    with pytest.raises(ValueError, match=r"is a regression, which has no probabilities\. Use predict"):
        predictor.predict_proba(TABLE)


# ---------------------------------------------------------------- files that cannot be read


@pytest.mark.parametrize("content", [b"", b"hello", echo().SerializeToString()[:-9]], ids=["empty", "text", "cut off"])
def test_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"m\.onnx is no ONNX file, or a damaged one"):
        OnnxPredictor(tmp_path / "m.onnx")


def test_file_of_somebody_else_is_refused():
    model = echo()
    del model.metadata_props[:]
    with pytest.raises(ValueError, match=r"was not written by tabkd export"):
        loaded(model)


DAMAGED = [{"columns": [{"name": "a"}]}, {"opsets": []}, {"threshold": "a"}, {"tie": None}]


@pytest.mark.parametrize("metadata", ["{", "[]", "{}", *(json.dumps({**described(), **more}) for more in DAMAGED)])
def test_damaged_metadata_are_refused(metadata):
    model = echo()
    model.metadata_props[0].value = metadata
    with pytest.raises(ValueError, match="its metadata are damaged"):
        loaded(model)


def test_metadata_of_another_model_are_refused():
    model = echo()
    model.metadata_props[0].value = json.dumps(described(columns=COLUMNS[1:]))
    with pytest.raises(ValueError, match="its inputs are not those in its metadata"):
        loaded(model)


@pytest.mark.parametrize("more", [{"outputs": []}, {"outputs": ["probabilities", "label"]}])
def test_outputs_of_another_model_are_refused(more):
    model = echo()
    model.metadata_props[0].value = json.dumps({**described(), **more})
    with pytest.raises(ValueError, match="its outputs are not those in its metadata"):
        loaded(model)


@pytest.mark.parametrize("classes", [["no"], ["no", "yes", "perhaps"]])
def test_classes_of_another_model_are_refused(classes):
    model = classifier(["no", "yes"])
    columns = [{"name": "p", "kind": "number", "type": "float"}]
    model.metadata_props[0].value = json.dumps(described("classification", columns=columns, classes=classes))
    with pytest.raises(ValueError, match="its outputs are not those in its metadata"):
        loaded(model)


def test_file_of_a_newer_format_is_refused():
    model = echo()
    model.metadata_props[0].value = json.dumps({"format": 99})
    with pytest.raises(ValueError, match="written by a newer tabkd"):
        loaded(model)


@pytest.mark.parametrize(("options", "said"), [({"opset": 99}, "Opset 99"), ({"ir_version": 99}, "version: 99")])
def test_file_newer_than_the_runtime_is_refused(options, said):
    with pytest.raises(ValueError, match=rf"needs a newer onnxruntime than {onnxruntime.__version__} \(.*{said}"):
        loaded(echo(**options))


def test_operator_newer_than_the_runtime_is_refused():
    model = echo()
    model.graph.node[-1].op_type = "OfTheFuture"
    with pytest.raises(ValueError, match="needs a newer onnxruntime"):
        loaded(model)


def test_trees_of_a_newer_opset_are_refused_where_they_run_wrongly(monkeypatch):
    model = echo()
    model.metadata_props[0].value = json.dumps(described(opsets={"": 15, "ai.onnx.ml": 5}))
    monkeypatch.setattr(onnxruntime, "__version__", "1.24.0")
    assert loaded(model).columns == NAMES
    monkeypatch.setattr(onnxruntime, "__version__", "1.23.2")
    with pytest.raises(ValueError, match=r"needs a newer onnxruntime than 1\.23\.2 .* without compact"):
        loaded(model)


def test_release_that_answers_wrongly_is_refused(monkeypatch):
    monkeypatch.setattr(onnxruntime, "__version__", "1.26.0")
    with pytest.raises(RuntimeError, match=r"onnxruntime 1\.26\.0 computes the probabilities of forests wrongly"):
        loaded(echo())


def with_outside_data(location, where):
    tensor = onnx.TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[5], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    model = echo()
    model.graph.node[-1].output[0] = "sum"
    if where == "initializer":
        model.graph.initializer.append(tensor)
    else:
        model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    model.graph.node.append(helper.make_node("Add", ["sum", "c"], ["prediction"]))
    return model


@pytest.mark.parametrize("where", ["initializer", "attribute"])
@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "sub/../../secret.bin"])
def test_data_outside_the_folder_of_the_file_is_refused(tmp_path, where, location):
    onnx.save(with_outside_data(location, where), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"keeps data in .*, outside its own folder"):
        OnnxPredictor(tmp_path / "m.onnx")


def test_link_to_data_outside_the_folder_is_refused(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(20))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "data.bin").symlink_to(tmp_path / "secret.bin")
    (tmp_path / "sub" / "m.onnx").write_bytes(with_outside_data("data.bin", "initializer").SerializeToString())
    with pytest.raises(ValueError, match="outside its own folder"):
        OnnxPredictor(tmp_path / "sub" / "m.onnx")


def test_data_beside_the_file_are_read(tmp_path):
    np.full(5, 1, dtype=np.float32).tofile(tmp_path / "data.bin")
    (tmp_path / "m.onnx").write_bytes(with_outside_data("data.bin", "initializer").SerializeToString())
    assert OnnxPredictor(tmp_path / "m.onnx").predict_one(ROW) == [value + 1 for value in ANSWER]


def test_column_called_location_is_no_outside_data():
    model = one_value()
    model.graph.input[0].name = model.graph.node[0].input[0] = "location"
    columns = [{"name": "location", "kind": "number", "type": "float"}]
    model.metadata_props[0].value = json.dumps(described(columns=columns))
    assert loaded(model).predict_one({"location": 5}) == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_threads": -1}, "n_threads must be at least 0, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"providers": ["AbacusProvider"]}, "providers names 'AbacusProvider', .* Choose from"),
    ],
)
def test_bad_options_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        loaded(echo(), **options)


def test_providers_and_threads_reach_the_session():
    session = loaded(echo(), providers=["CPUExecutionProvider"], n_threads=2).session
    assert session.get_session_options().intra_op_num_threads == 2


# ---------------------------------------------------------------- alone


def run(code, folder):
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_nothing_else_of_the_package(tmp_path):
    code = "import sys, tabkd.runtime; print([m for m in sys.modules if m.partition('.')[0] in %r])"
    heavy = ("tabkd", "pandas", "sklearn", "scipy", "onnx", "polars", "onnxruntime")
    assert run(code % (heavy,), tmp_path).strip() == "['tabkd', 'tabkd.runtime']"


def test_copied_module_needs_numpy_and_onnxruntime_alone(tmp_path):
    shutil.copy(tabkd.runtime.__file__, tmp_path / "runtime.py")
    onnx.save(echo(), tmp_path / "m.onnx")
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in sys.stdlib_module_names | {{"numpy", "onnxruntime", "runtime"}}:
            raise ModuleNotFoundError(f"refused {{name}}", name=name)
sys.meta_path.insert(0, Refuse())
from runtime import OnnxPredictor
print(OnnxPredictor("m.onnx").predict_one({ROW!r}))
"""
    assert run(code, tmp_path).strip() == str([float(value) for value in ANSWER])

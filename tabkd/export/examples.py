"""Programs that call a file of ``to_onnx`` from C and from Kotlin, and the file in onnxruntime's format for phones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from tabkd.columns import FIRST_CATEGORY, UNKNOWN
from tabkd.files import replacing
from tabkd.runtime import OnnxPredictor

__all__ = ["c_example", "kotlin_example", "write_ort"]

#: A Java constructor takes 255 values, some of which Kotlin needs itself.
_MOST_PARAMETERS = 200
#: More of them in one class come near Java's limit of 64 KiB for a method.
_MOST_CATEGORIES = 4000
_ENSEMBLE_OPSET = 5


def c_example(onnx_path: str | Path) -> str:
    """A program in C11 that predicts rows of CSV with a model, through onnxruntime's C interface.

    It has a struct with a field per column and a function ``predict`` to take over, and a ``main`` that reads rows
    from the command line or the standard input and writes labels and probabilities, or values, as CSV.

    Parameters
    ----------
    onnx_path : str or Path
        A file of ``to_onnx``.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the file was not written by ``to_onnx``.

    Examples
    --------
    >>> Path("student.c").write_text(c_example("student.onnx"), encoding="utf-8")  # doctest: +SKIP
    """
    model = _Model(onnx_path)
    names = _identifiers(model.names, _snake_case, _C_RESERVED.split())
    fields, reads, cells, tables = [], [], [], []
    for i, (column, name) in enumerate(zip(model.columns, names, strict=True)):
        literal, use = _c_string(column["name"]), _C_COLUMNS[column["type"], column["kind"]]
        fields.append(f"    {use.type}{name};  // {literal}: {use.missing}")
        reads.append(f"    row->{name} = {_filled(use.read, cell=f'cells[{i}]', name=literal)};")
        value = _filled(use.value, field=f"row->{name}")
        if not model.matrix:
            cells.append(f"        {'text' if column['type'] == 'string' else 'number'}_tensor({value}),")
        elif _is_coded(column):
            tables.append(_c_table(column, f"{name}_categories"))
            cells.append(f"        {column['type']}_code({value}, {name}_categories),")
        else:
            cells.append(f"        {value},")
    label = _C_LABELS[model.label]
    longest = max((len(str(value).encode()) for value in model.classes), default=0)
    program = _filled(
        _C_PROGRAM,
        model=_c_string(model.path.name),
        release=model.release,
        n_columns=len(names),
        n_values=model.n_values,
        fields="\n".join(fields),
        tables="".join(f"{table}\n" for table in tables),
        number="double" if model.double else "float",
        digits=17 if model.double else 9,
        inputs=", ".join(map(_c_string, ["features"] if model.matrix else model.names)),
        outputs=", ".join(map(_c_string, model.outputs)),
        tensors=_filled(_C_MATRIX if model.matrix else _C_TENSORS, cells="\n".join(cells)),
        reads="\n".join(reads),
        header=_c_string(",".join(map(_csv_cell, model.header))),
        last=len(model.outputs) - 1,
        label=label.field.replace("SIZE", str(longest + 1)),
        take=label.take,
        show=label.show,
        classes=_c_classes(model.classes) if model.label is float else "",
    )
    return _with_helpers(program, _C_HELPERS)


def kotlin_example(onnx_path: str | Path) -> str:
    """A class in Kotlin that predicts rows with a model, through onnxruntime's interface for Android and Java.

    Parameters
    ----------
    onnx_path : str or Path
        A file of ``to_onnx``.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the file was not written by ``to_onnx``, or reads codes of more categories than a class can hold.

    Examples
    --------
    >>> Path("Student.kt").write_text(kotlin_example("student.onnx"), encoding="utf-8")  # doctest: +SKIP
    """
    model = _Model(onnx_path)
    n_known = sum(len(column.get("categories", ())) for column in model.columns)
    if model.matrix and n_known > _MOST_CATEGORIES:
        raise ValueError(
            f"{model.path} reads codes of {n_known:,} categories, more than a Kotlin class can hold "
            f'({_MOST_CATEGORIES:,}). Export it with inputs="columns", which needs no codes.'
        )
    names = _identifiers(model.names, _camel_case, _KOTLIN_RESERVED.split())
    narrow = len(names) <= _MOST_PARAMETERS
    fields, cells, tables = [], [], []
    for column, name in zip(model.columns, names, strict=True):
        literal, use = _kotlin_string(column["name"]), _KOTLIN_COLUMNS[column["type"], column["kind"]]
        fields.append(f"    var {name}: {use.type}? = null{',' if narrow else ''}  // {literal}")
        value = _filled(use.value, field=f"row.{name}")
        if not model.matrix:
            cells.append(f"            inputs[{literal}] = tensor({value})")
        elif _is_coded(column):
            known = _kotlin_list(_known(column), str if column["type"] == "string" else float)
            tables.append(f"private val {name}Categories = {known}\n")
            cells.append(f"                code({value}, {name}Categories),")
        else:
            cells.append(f"                number({value}),")
    number = "Double" if model.double else "Float"
    parts: dict[str, Any] = {
        "number": number,
        "classes": "",
        "answer": number if model.n_values == 1 else f"List<{number}>",
    }
    take = _KOTLIN_VALUE if model.n_values == 1 else _KOTLIN_VALUES
    if model.classes:
        kind, array, found = _KOTLIN_LABELS[model.label]
        parts |= {"label": kind, "array": array, "found": found, "list": _kotlin_list(model.classes, model.label)}
        parts |= {"classes": _filled(_KOTLIN_CLASSES, **parts), "answer": "Answer"}
        take = _KOTLIN_LABEL
    program = _filled(
        _KOTLIN_PROGRAM,
        model=_kotlin_string(model.path.name),
        release=model.release,
        row=_filled(_KOTLIN_ROW if narrow else _KOTLIN_WIDE_ROW, fields="\n".join(fields)),
        tables="".join(f"{table}\n" for table in tables),
        tensors=_filled(_KOTLIN_MATRIX, cells="\n".join(cells)) if model.matrix else "\n".join(cells),
        take=_filled(take, **parts),
        **parts,
    )
    return _with_helpers(program, _KOTLIN_HELPERS)


def write_ort(onnx_path: str | Path, folder: str | Path) -> list[Path]:
    """Write a model in onnxruntime's own format, which its small builds for phones read, and the operators it needs.

    The list is what a build of one's own takes as ``--include_ops_by_config``. Before anything is written, the new
    file's answers are compared with those of the old one on rows drawn at random.

    Parameters
    ----------
    onnx_path : str or Path
        A file of ``to_onnx``.
    folder : str or Path
        Gets ``NAME.ort`` and ``NAME.required_operators.config``; made if it does not exist.

    Returns
    -------
    list of Path
        The model and the list.

    Raises
    ------
    ValueError
        If the file was not written by ``to_onnx``, onnxruntime's converter fails, or the answers differ.

    Examples
    --------
    >>> write_ort("student.onnx", "phone")  # doctest: +SKIP
    [PosixPath('phone/student.ort'), PosixPath('phone/student.required_operators.config')]
    """
    path, folder = Path(onnx_path), Path(folder)
    predictor = OnnxPredictor(path)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file. Give a folder.")
    with TemporaryDirectory() as made:
        # In a process of its own: the converter changes the logging and the search path of whoever imports it.
        command = [sys.executable, "-m", "onnxruntime.tools.convert_onnx_models_to_ort", str(path.resolve())]
        done = subprocess.run(
            [*command, "--output_dir", made, "--optimization_style", "Fixed"],
            env=os.environ | {"ORT_CONVERT_ONNX_MODELS_TO_ORT_OPTIMIZATION_LEVEL": "all"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if done.returncode:
            raise ValueError(
                f"onnxruntime's converter to .ort failed: {(done.stderr.splitlines() or ['it says nothing'])[-1]}. "
                "It needs onnx and flatbuffers: pip install onnx flatbuffers."
            )
        model, listed = (Path(made, path.stem + end) for end in (".ort", ".required_operators.config"))
        _check_same(path, predictor, model)
        operators = [line for line in listed.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        head = f"# What {model.name} needs"
        content = {model.name: model.read_bytes(), listed.name: "\n".join([head, *operators, ""]).encode()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(data)
    return [folder / name for name in content]


def _check_same(path: Path, predictor: OnnxPredictor, made: Path, n_rows: int = 256) -> None:
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(str(made), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    matrix = predictor.metadata["inputs"] == "matrix"
    drawn = [_drawn(column, matrix, n_rows, rng) for column in predictor.metadata["columns"]]
    feed = {"features": np.concatenate(drawn, axis=1)} if matrix else dict(zip(predictor.columns, drawn, strict=True))
    for expected, found in zip(predictor.session.run(None, feed), session.run(None, feed), strict=True):
        if expected.dtype.kind == "f":
            same = np.allclose(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True)
        else:
            same = np.array_equal(found, expected)
        if not same:
            raise ValueError(f"{path} answers otherwise in the .ort format. Use the ONNX file itself.")


def _drawn(column: Mapping[str, Any], matrix: bool, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    known = _known(column)
    if matrix and _is_coded(column):
        return rng.integers(UNKNOWN, FIRST_CATEGORY + len(known), (n_rows, 1)).astype(np.float32)
    if column["type"] == "string":
        return rng.choice(np.array(known or [""], dtype=object), (n_rows, 1))
    if known:
        return rng.choice(np.array(known, dtype=np.float32), (n_rows, 1))
    numbers = rng.normal(size=(n_rows, 1)) * 10.0 ** rng.integers(-3, 6, (n_rows, 1))
    return np.where(rng.random((n_rows, 1)) < 0.1, np.nan, numbers).astype(np.float32)


# ---------------------------------------------------------------- what a file says


class _Model:
    """What the programs need to know of a file."""

    def __init__(self, onnx_path: str | Path) -> None:
        self.path = Path(onnx_path)
        predictor = OnnxPredictor(self.path)
        metadata, values = predictor.metadata, predictor.session.get_outputs()[-1]
        self.columns: list[dict[str, Any]] = metadata["columns"]
        self.names = predictor.columns
        self.matrix = metadata["inputs"] == "matrix"
        self.outputs: list[str] = metadata["outputs"]
        self.double = values.type == "tensor(double)"
        self.n_values = int(values.shape[1])
        self.classes: list[Any] = [] if predictor.classes is None else predictor.classes.tolist()
        self.label = type(self.classes[0]) if self.classes else None
        ensemble = metadata.get("opsets", {}).get("ai.onnx.ml", 0) >= _ENSEMBLE_OPSET
        self.release = "1.24" if ensemble else "1.17"

    @property
    def header(self) -> list[str]:
        """Names of the columns that a program writes."""
        if self.classes:
            return ["label", *(f"probability_{label}" for label in self.classes)]
        return ["prediction"] if self.n_values == 1 else [f"prediction_{i}" for i in range(self.n_values)]


def _is_coded(column: Mapping[str, Any]) -> bool:
    """Whether a matrix holds the column's code."""
    return column["kind"] == "category" or column["type"] == "string"


def _known(column: Mapping[str, Any]) -> list[Any]:
    known = column.get("categories", ())
    return list(known) if column["type"] == "string" else [float(np.float32(number)) for number in known]


# ---------------------------------------------------------------- names, literals, templates


def _identifiers(names: Sequence[str], style: Callable[[str], str], reserved: Collection[str]) -> list[str]:
    """An identifier like each name, no two alike even where capital letters count for small ones."""
    taken, made = set(reserved), []
    for position, name in enumerate(names, 1):
        base = style(name) or str(position)
        base = f"column{base}" if base[0].isnumeric() else base
        free, count = base, 1
        while free.casefold() in taken:
            count += 1
            free = f"{base}_{count}"
        taken.add(free.casefold())
        made.append(free)
    return made


def _snake_case(name: str) -> str:
    return "_".join(re.findall(r"[A-Za-z0-9]+", name)).lower()


def _camel_case(name: str) -> str:
    # Letters of any script, but of those that Java holds in one character.
    kept = [c if c < "\U00010000" and unicodedata.category(c) in _KOTLIN_LETTERS else " " for c in name]
    words = "".join(kept).split()
    small = [word.lower() if word.isascii() and word.isupper() else word for word in words]
    first = [word[0].lower() + word[1:] if word[0].isascii() else word for word in small[:1]]
    return "".join(first + [word[0].upper() + word[1:] if word[0].isascii() else word for word in small[1:]])


def _c_string(text: str) -> str:
    def escaped(character: str) -> str:
        if character in '"\\?':  # two question marks begin a trigraph
            return f"\\{character}"
        return character if character.isprintable() else "".join(f"\\{byte:03o}" for byte in character.encode())

    return '"' + "".join(map(escaped, text)) + '"'


def _kotlin_string(text: str) -> str:
    def escaped(character: str) -> str:
        if character in '"\\$':
            return f"\\{character}"
        units = character.encode("utf-16-be")
        codes = (f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
        return character if character.isprintable() else "".join(codes)

    return '"' + "".join(map(escaped, text)) + '"'


def _c_table(column: Mapping[str, Any], name: str) -> str:
    known = _known(column)
    if column["type"] == "string":
        literals = [*map(_c_string, known), "NULL"]
        return f"static const char *const {name}[] = {{{', '.join(literals)}}};"
    return f"static const float {name}[] = {{{', '.join([*map(_c_float, known), 'NAN'])}}};"


def _c_float(number: float) -> str:
    return f"{number!r}f" if np.isfinite(number) else "INFINITY" if number > 0 else "-INFINITY"


def _c_classes(classes: Iterable[float]) -> str:
    return f"static const double CLASSES[] = {{{', '.join(map(repr, classes))}}};\n\n"


def _kotlin_list(values: Iterable[Any], kind: type | None) -> str:
    literal: dict[type | None, tuple[str, Callable[[Any], str]]] = {
        str: ("String", _kotlin_string),
        int: ("Long", "{}L".format),
        bool: ("Boolean", lambda value: str(value).lower()),
        float: ("Double", lambda value: repr(value) if np.isfinite(value) else f"{value} / 0.0".replace("inf", "1.0")),
    }
    name, write = literal[kind]
    return f"listOf<{name}>({', '.join(map(write, values))})"


def _csv_cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if re.search(r'[,"\r\n]', text) else text


def _filled(template: str, **parts: Any) -> str:
    """A template with ``@part@`` replaced, in one pass: no name of a column is taken for a part."""
    return re.sub(r"@(\w+)@", lambda found: str(parts[found[1]]), template)


def _with_helpers(program: str, helpers: Mapping[str, str]) -> str:
    """A program with the helpers that it calls, and those that they call, at the line ``#helpers``."""
    code = re.sub(r'"(?:\\.|[^"\\])*"', "", program)
    used = ""
    for name, helper in reversed([*helpers.items()]):
        if re.search(rf"\b{name}\(", code + used):
            used = f"{helper}{used}"
    before, after = re.split(r"^#helpers\n", program, maxsplit=1, flags=re.M)
    return before + used + after


# ---------------------------------------------------------------- C


class _CColumn(NamedTuple):
    """A field of the struct, how a cell is read into it, and what the model is given."""

    type: str
    missing: str
    read: str
    value: str = "@field@"


class _CLabel(NamedTuple):
    """A field of the answer, how it is filled, and how it is printed."""

    field: str
    take: str
    show: str


_C_COLUMNS = {
    ("float", "number"): _CColumn("float ", "NAN if missing", "number(@cell@, @name@)"),
    ("float", "integer"): _CColumn("float ", "NAN if missing", "number(@cell@, @name@)"),
    ("float", "category"): _CColumn("float ", "NAN if missing", "number(@cell@, @name@)"),
    ("float", "boolean"): _CColumn("float ", "0 or 1, NAN if missing", 'number(flag(@cell@, "1", "0"), @name@)'),
    ("string", "category"): _CColumn("const char *", '"" if missing', "@cell@"),
    ("string", "integer"): _CColumn("const char *", 'digits, "" if missing', "whole(@cell@)"),
    ("string", "boolean"): _CColumn(
        "const char *", '"True" or "False", "" if missing', 'flag(@cell@, "True", "False")'
    ),
    ("string", "number"): _CColumn("float ", "NAN if missing", "number(@cell@, @name@)", "decimal(@field@).text"),
}
_C_LABELS = {
    None: _CLabel("", "", ""),
    str: _CLabel(
        "    char label[SIZE];\n",
        """\
    size_t length = 0;
    check(ort->GetStringTensorElementLength(outputs[0], 0, &length));
    if (length >= sizeof answer->label)
        fail("The model is not that of this program: it gives a longer label.", "");
    check(ort->GetStringTensorElement(outputs[0], length, 0, answer->label));
    answer->label[length] = '\\0';
""",
        "        print_cell(answer.label);\n        putchar(',');\n",
    ),
    int: _CLabel(
        "    int64_t label;\n",
        "    check(ort->GetTensorMutableData(outputs[0], &data));\n"
        "    memcpy(&answer->label, data, sizeof answer->label);\n",
        '        printf("%" PRId64 ",", answer.label);\n',
    ),
    bool: _CLabel(
        "    bool label;\n",
        "    check(ort->GetTensorMutableData(outputs[0], &data));\n"
        "    memcpy(&answer->label, data, sizeof answer->label);\n",
        '        printf("%s,", answer.label ? "True" : "False");\n',
    ),
    float: _CLabel(
        "    double label;\n",
        """\
    float rounded;
    check(ort->GetTensorMutableData(outputs[0], &data));
    memcpy(&rounded, data, sizeof rounded);
    size_t place = 0;
    while (place + 1 < sizeof CLASSES / sizeof *CLASSES && (float)CLASSES[place] != rounded)
        place++;
    answer->label = CLASSES[place];
""",
        '        printf("%.17g,", answer.label);\n',
    ),
}
_C_TENSORS = """\
    OrtValue *inputs[] = {
@cells@
    };
"""
_C_MATRIX = """\
    const float features[N_COLUMNS] = {
@cells@
    };
    OrtValue *inputs[] = {tensor(features, N_COLUMNS)};
"""
_C_PROGRAM = r"""// Predicts with @model@, through onnxruntime @release@ or newer.
// Written by tabkd from what the file says about itself.
//
//   gcc -std=c11 example.c -I ORT/include -L ORT/lib -lonnxruntime -o example
//   ./example MODEL < rows.csv        rows in UTF-8 without a header; cells in the order of struct row
//   ./example MODEL 'cell,cell,...'   one row
//
// An empty cell is missing. In a program of your own: open a session as main does, fill a struct row, call predict.
// On Windows the path of the model is wide: give CreateSession a wchar_t string.

#include <onnxruntime_c_api.h>

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_COLUMNS = @n_columns@, N_VALUES = @n_values@ };

// A row of raw values; texts are in UTF-8.
struct row {
@fields@
};

// What the model says about a row.
struct answer {
@label@    @number@ values[N_VALUES];  // HEADER names them
};

static const char HEADER[] = @header@;
static const char *const INPUTS[] = {@inputs@};
static const char *const OUTPUTS[] = {@outputs@};
@classes@@tables@static const OrtApi *ort;

static _Noreturn void fail(const char *what, const char *detail)
{
    fprintf(stderr, "%s%s\n", what, detail);
    exit(EXIT_FAILURE);
}

static void check(OrtStatus *status)
{
    if (status != NULL)
        fail("onnxruntime: ", ort->GetErrorMessage(status));
}

#helpers
static void predict(OrtSession *session, const struct row *row, struct answer *answer)
{
@tensors@    enum { N_INPUTS = sizeof inputs / sizeof *inputs, N_OUTPUTS = sizeof OUTPUTS / sizeof *OUTPUTS };
    OrtValue *outputs[N_OUTPUTS] = {NULL};
    check(ort->Run(session, NULL, INPUTS, (const OrtValue *const *)inputs, N_INPUTS, OUTPUTS, N_OUTPUTS, outputs));
    void *data;
@take@    check(ort->GetTensorMutableData(outputs[@last@], &data));
    memcpy(answer->values, data, sizeof answer->values);
    for (size_t i = 0; i < N_INPUTS; i++)
        ort->ReleaseValue(inputs[i]);
    for (size_t i = 0; i < N_OUTPUTS; i++)
        ort->ReleaseValue(outputs[i]);
}

// Cuts the first row of a CSV text into cells, in place; returns the text behind it.
static char *split(char *text, char *cells[N_COLUMNS])
{
    size_t n_cells = 0;
    char end = ',';
    while (end == ',') {
        char *cell = text, *to = text;
        for (bool quoted = false; *text != '\0' && (quoted || (*text != ',' && *text != '\n')); text++) {
            if (*text != '"')
                *to++ = *text;
            else if (quoted && text[1] == '"')
                *to++ = *text++;
            else
                quoted = !quoted;
        }
        end = *text;
        text += end != '\0';
        to -= end != ',' && to > cell && to[-1] == '\r';
        *to = '\0';
        if (n_cells < N_COLUMNS)
            cells[n_cells] = cell;
        n_cells++;
    }
    if (n_cells != N_COLUMNS) {
        char counts[64];
        snprintf(counts, sizeof counts, "%zu cells, the model needs %d.", n_cells, N_COLUMNS);
        fail("A row has ", counts);
    }
    return text;
}

static void read_row(char *const cells[N_COLUMNS], struct row *row)
{
@reads@
}

static char *read_all(FILE *file)
{
    size_t size = 0, room = 0;
    char *text = NULL;
    do {
        if (room - size < 2) {
            room = 2 * room + 4096;
            text = realloc(text, room);
            if (text == NULL)
                fail("There is no memory for these rows.", "");
        }
        size += fread(text + size, 1, room - size - 1, file);
    } while (!feof(file) && !ferror(file));
    text[size] = '\0';
    return text;
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3)
        fail("Usage: example MODEL < rows.csv, or: example MODEL ROW", "");
    ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (ort == NULL)
        fail("This onnxruntime is older than the header of the program: ", OrtGetApiBase()->GetVersionString());
    OrtEnv *env;
    OrtSessionOptions *options;
    OrtSession *session;
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "example", &env));
    check(ort->CreateSessionOptions(&options));
    check(ort->SetIntraOpNumThreads(options, 1));
    check(ort->CreateSession(env, argv[1], options, &session));

    char *input = argc == 3 ? NULL : read_all(stdin);
    puts(HEADER);
    for (char *text = argc == 3 ? argv[2] : input; *text != '\0';) {
        char *cells[N_COLUMNS];
        struct row row;
        struct answer answer;
        text = split(text, cells);
        read_row(cells, &row);
        predict(session, &row, &answer);
@show@        for (int i = 0; i < N_VALUES; i++)
            printf("%.@digits@g%c", (double)answer.values[i], i + 1 < N_VALUES ? ',' : '\n');
    }

    free(input);
    ort->ReleaseSession(session);
    ort->ReleaseSessionOptions(options);
    ort->ReleaseEnv(env);
    return EXIT_SUCCESS;
}
"""
_C_HELPERS = {
    "new_tensor": """\
static OrtValue *new_tensor(ONNXTensorElementDataType type, int64_t width)
{
    const int64_t shape[] = {1, width};
    OrtAllocator *allocator;
    OrtValue *value = NULL;
    check(ort->GetAllocatorWithDefaultOptions(&allocator));
    check(ort->CreateTensorAsOrtValue(allocator, shape, 2, type, &value));
    return value;
}

""",
    "tensor": """\
static OrtValue *tensor(const float *numbers, size_t width)
{
    OrtValue *value = new_tensor(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, (int64_t)width);
    void *data;
    check(ort->GetTensorMutableData(value, &data));
    memcpy(data, numbers, width * sizeof *numbers);
    return value;
}

""",
    "number_tensor": """\
static OrtValue *number_tensor(float number)
{
    return tensor(&number, 1);
}

""",
    "text_tensor": """\
static OrtValue *text_tensor(const char *text)
{
    OrtValue *value = new_tensor(ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, 1);
    check(ort->FillStringTensor(value, &text, 1));
    return value;
}

""",
    "float_code": """\
// The code of a category: 0 unknown, 1 missing, 2 and up the known ones, behind which stands NAN.
static float float_code(float number, const float *known)
{
    if (isnan(number))
        return 1;
    for (int i = 0; !isnan(known[i]); i++)
        if (known[i] == number)
            return (float)(2 + i);
    return 0;
}

""",
    "string_code": """\
// The code of a category: 0 unknown, 1 missing, 2 and up the known ones, behind which stands NULL.
static float string_code(const char *text, const char *const *known)
{
    if (*text == '\\0')
        return 1;
    for (int i = 0; known[i] != NULL; i++)
        if (strcmp(known[i], text) == 0)
            return (float)(2 + i);
    return 0;
}

""",
    "decimal": """\
struct decimal {
    char text[40];
};

// A number as Python writes it, in which form the model learnt it as text.
static struct decimal decimal(float number)
{
    struct decimal made = {""};
    char digits[40];
    int precision = 0;
    if (isnan(number))
        return made;
    if (isinf(number)) {
        strcpy(made.text, number > 0 ? "inf" : "-inf");
        return made;
    }
    do
        snprintf(digits, sizeof digits, "%.*e", precision, (double)number);
    while (strtod(digits, NULL) != (double)number && ++precision < 17);
    int power = atoi(strchr(digits, 'e') + 1);
    if (power < -4 || power >= 16)
        strcpy(made.text, digits);
    else
        snprintf(made.text, sizeof made.text, "%.*f", precision > power ? precision - power : 1, (double)number);
    return made;
}

""",
    "number": """\
static float number(const char *cell, const char *column)
{
    if (*cell == '\\0')
        return NAN;
    char *end;
    float value = (float)strtod(cell, &end);
    if (*end != '\\0')
        fail("This column must hold numbers, but does not: ", column);
    return value;
}

""",
    "whole": """\
// A whole number without the decimals that some programs write behind it.
static const char *whole(char *cell)
{
    char *point = strchr(cell, '.');
    if (point != NULL && point[1] != '\\0' && strspn(point + 1, "0") == strlen(point + 1))
        *point = '\\0';
    return cell;
}

""",
    "flag": """\
static const char *flag(const char *cell, const char *yes, const char *no)
{
    if (strcmp(cell, "true") == 0 || strcmp(cell, "True") == 0 || strcmp(cell, "TRUE") == 0)
        return yes;
    if (strcmp(cell, "false") == 0 || strcmp(cell, "False") == 0 || strcmp(cell, "FALSE") == 0)
        return no;
    return cell;
}

""",
    "print_cell": """\
static void print_cell(const char *text)
{
    if (strpbrk(text, ",\\"\\r\\n") == NULL) {
        fputs(text, stdout);
        return;
    }
    putchar('"');
    for (; *text != '\\0'; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    putchar('"');
}

""",
}
#: Keywords, and what the headers may define by a name in small letters.
_C_RESERVED = """
    alignas alignof asm auto bool break case char complex const constexpr continue default do double else enum errno
    extern false far float for goto if imaginary inline int interface linux long near nan noreturn nullptr null
    infinity register restrict return short signed sizeof small static static_assert stderr stdin stdout struct switch
    thread_local true typedef typeof typeof_unqual union unix unsigned void volatile while"""

# ---------------------------------------------------------------- Kotlin


class _KotlinColumn(NamedTuple):
    """The type of a property, and what the model is given."""

    type: str
    value: str = "@field@"


_KOTLIN_COLUMNS = {
    ("float", "number"): _KotlinColumn("Double"),
    ("float", "integer"): _KotlinColumn("Long"),
    ("float", "category"): _KotlinColumn("Double"),
    ("float", "boolean"): _KotlinColumn("Boolean", "@field@?.let { if (it) 1 else 0 }"),
    ("string", "category"): _KotlinColumn("String"),
    ("string", "integer"): _KotlinColumn("Long", "@field@?.toString()"),
    ("string", "boolean"): _KotlinColumn("Boolean", '@field@?.let { if (it) "True" else "False" }'),
    ("string", "number"): _KotlinColumn("Double", "decimal(@field@)"),
}
#: Type of the label, of the array that holds it, and how it is taken from there.
_KOTLIN_LABELS: dict[type | None, tuple[str, str, str]] = {
    str: ("String", "Array<*>", "labels[0] as String"),
    int: ("Long", "LongArray", "labels[0]"),
    bool: ("Boolean", "BooleanArray", "labels[0]"),
    float: ("Double", "FloatArray", "CLASSES.minBy { Math.abs(it - labels[0]) }"),
}
_KOTLIN_LETTERS = ("Lu", "Ll", "Lt", "Lm", "Lo", "Nd")
_KOTLIN_ROW = """\
data class Row(
@fields@
)"""
_KOTLIN_WIDE_ROW = """\
class Row {
@fields@
}"""
_KOTLIN_CLASSES = """\
/** What the model says about a row. */
data class Answer(val label: @label@, val probabilities: Map<@label@, @number@>)

private val CLASSES = @list@

"""
_KOTLIN_MATRIX = """\
            val features = floatArrayOf(
@cells@
            )
            inputs["features"] = OnnxTensor.createTensor(
                environment, FloatBuffer.wrap(features), longArrayOf(1, features.size.toLong())
            )"""
_KOTLIN_VALUE = "(found[0].value as Array<*>)[0].let { (it as @number@Array)[0] }"
_KOTLIN_VALUES = "(found[0].value as Array<*>)[0].let { (it as @number@Array).toList() }"
_KOTLIN_LABEL = """val labels = found[0].value as @array@
                val probabilities = (found[1].value as Array<*>)[0] as @number@Array
                Answer(@found@, CLASSES.zip(probabilities.toList()).toMap())"""
_KOTLIN_PROGRAM = """\
// Predicts with @model@ on Android.
// Written by tabkd from what the file says about itself.
//
// Put the file into src/main/assets, and into the dependencies of build.gradle.kts onnxruntime @release@ or newer:
//     implementation("com.microsoft.onnxruntime:onnxruntime-android:VERSION")
// Then, with a Context:
//     val student = Student(context.assets.open("MODEL").use { it.readBytes() })
//     val answer = student.predict(Row())

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.nio.FloatBuffer

/** A row of raw values; what is left out or null is missing. */
@row@

@classes@@tables@/** The model, to be opened once; several threads may share it. */
class Student(model: ByteArray) : AutoCloseable {
    private val environment = OrtEnvironment.getEnvironment()
    private val session = OrtSession.SessionOptions().use { options ->
        options.setIntraOpNumThreads(1)
        environment.createSession(model, options)
    }

    fun predict(row: Row): @answer@ {
        val inputs = mutableMapOf<String, OnnxTensor>()
        try {
@tensors@
            return session.run(inputs).use { found ->
                @take@
            }
        } finally {
            inputs.values.forEach { it.close() }
        }
    }

    override fun close() = session.close()
#helpers
}
"""
_KOTLIN_HELPERS = {
    "number": """
    private fun number(value: Number?): Float = value?.toDouble()?.toFloat() ?: Float.NaN
""",
    "tensor": """
    private fun tensor(value: Number?) =
        OnnxTensor.createTensor(environment, FloatBuffer.wrap(floatArrayOf(number(value))), longArrayOf(1, 1))

    private fun tensor(value: String?) = OnnxTensor.createTensor(environment, arrayOf(value ?: ""), longArrayOf(1, 1))
""",
    "code": """
    // The code of a category: 0 unknown, 1 missing, 2 and up the known ones.
    private fun code(value: String?, known: List<String>): Float =
        if (value.isNullOrEmpty()) 1f else if (value in known) 2f + known.indexOf(value) else 0f

    private fun code(value: Number?, known: List<Double>): Float {
        val number = number(value).toDouble()
        val place = known.indexOfFirst { it == number }
        return if (number.isNaN()) 1f else if (place >= 0) 2f + place else 0f
    }
""",
    "decimal": """
    // A number as Python writes it, in which form the model learnt it as text.
    private fun decimal(value: Double?): String {
        val number = (value ?: return "").toFloat().toDouble()
        if (number.isNaN()) return ""
        if (number.isInfinite()) return if (number > 0) "inf" else "-inf"
        if (number == 0.0) return number.toString()
        val exact = java.math.BigDecimal(number)
        val short = (1..17).map { exact.round(java.math.MathContext(it)) }.first { it.toDouble() == number }
        val power = short.precision() - short.scale() - 1
        if (power in -4..15) return short.toPlainString().let { if ('.' in it) it else "$it.0" }
        val digits = short.unscaledValue().abs().toString()
        val sign = if (number < 0) "-" else ""
        val fraction = if (digits.length > 1) "." + digits.drop(1) else ""
        val exponent = Math.abs(power).toString().padStart(2, '0')
        return sign + digits[0] + fraction + (if (power < 0) "e-" else "e+") + exponent
    }
""",
}
_KOTLIN_RESERVED = """
    as break class continue do else false for fun if in interface is null object package return super this throw true
    try typealias typeof val var when while"""

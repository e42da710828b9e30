"""A program in C that calls a file of ``to_onnx``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tabkd.export.c_templates import HELPERS, MATRIX, PROGRAM, RESERVED, TENSORS
from tabkd.export.described import Model, csv_cell, filled, identifiers, is_coded, known_values, with_helpers

__all__ = ["c_example"]


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
    model = Model(onnx_path)
    names = identifiers(model.names, _snake_case, RESERVED.split())
    fields, reads, cells, tables = [], [], [], []
    for i, (column, name) in enumerate(zip(model.columns, names, strict=True)):
        literal, use = _c_string(column["name"]), _C_COLUMNS[column["type"], column["kind"]]
        fields.append(f"    {use.type}{name};  // {literal}: {use.missing}")
        reads.append(f"    row->{name} = {filled(use.read, cell=f'cells[{i}]', name=literal)};")
        value = filled(use.value, field=f"row->{name}")
        if not model.matrix:
            cells.append(f"        {'text' if column['type'] == 'string' else 'number'}_tensor({value}),")
        elif is_coded(column):
            tables.append(_c_table(column, f"{name}_categories"))
            cells.append(f"        {column['type']}_code({value}, {name}_categories),")
        else:
            cells.append(f"        {value},")
    label = _C_LABELS[model.label]
    longest = max((len(str(value).encode()) for value in model.classes), default=0)
    program = filled(
        PROGRAM,
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
        tensors=filled(MATRIX if model.matrix else TENSORS, cells="\n".join(cells)),
        reads="\n".join(reads),
        header=_c_string(",".join(map(csv_cell, model.header))),
        last=len(model.outputs) - 1,
        label=label.field.replace("SIZE", str(longest + 1)),
        take=label.take,
        show=label.show,
        classes=_c_classes(model.classes) if model.label is float else "",
    )
    return with_helpers(program, HELPERS)


def _snake_case(name: str) -> str:
    return "_".join(re.findall(r"[A-Za-z0-9]+", name)).lower()


def _c_string(text: str) -> str:
    def escaped(character: str) -> str:
        if character in '"\\?':  # two question marks begin a trigraph
            return f"\\{character}"
        return character if character.isprintable() else "".join(f"\\{byte:03o}" for byte in character.encode())

    return '"' + "".join(map(escaped, text)) + '"'


def _c_table(column: Mapping[str, Any], name: str) -> str:
    known = known_values(column)
    if column["type"] == "string":
        literals = [*map(_c_string, known), "NULL"]
        return f"static const char *const {name}[] = {{{', '.join(literals)}}};"
    return f"static const float {name}[] = {{{', '.join([*map(_c_float, known), 'NAN'])}}};"


def _c_float(number: float) -> str:
    return f"{number!r}f" if np.isfinite(number) else "INFINITY" if number > 0 else "-INFINITY"


def _c_classes(classes: Iterable[float]) -> str:
    return f"static const double CLASSES[] = {{{', '.join(map(repr, classes))}}};\n\n"


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
        "const char *", '"True" or "False", "" if missing', 'flag(whole(@cell@), "True", "False")'
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

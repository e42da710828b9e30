"""A class in Kotlin that calls a file of ``to_onnx``."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tabkd.export.described import Model, filled, identifiers, is_coded, known_values, with_helpers

__all__ = ["kotlin_example"]

#: A Java constructor takes 255 values, some of which Kotlin needs itself.
_MOST_PARAMETERS = 200


#: More of them in one class come near Java's limit of 64 KiB for a method.
_MOST_CATEGORIES = 4000


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
    model = Model(onnx_path)
    n_known = sum(len(column.get("categories", ())) for column in model.columns)
    if model.matrix and n_known > _MOST_CATEGORIES:
        raise ValueError(
            f"{model.path} reads codes of {n_known:,} categories, more than a Kotlin class can hold "
            f'({_MOST_CATEGORIES:,}). Export it with inputs="columns", which needs no codes.'
        )
    names = identifiers(model.names, _camel_case, _KOTLIN_RESERVED.split())
    narrow = len(names) <= _MOST_PARAMETERS
    fields, cells, tables = [], [], []
    for column, name in zip(model.columns, names, strict=True):
        literal, use = _kotlin_string(column["name"]), _KOTLIN_COLUMNS[column["type"], column["kind"]]
        fields.append(f"    var {name}: {use.type}? = null{',' if narrow else ''}  // {literal}")
        value = filled(use.value, field=f"row.{name}")
        if not model.matrix:
            cells.append(f"            inputs[{literal}] = tensor({value})")
        elif is_coded(column):
            known = _kotlin_list(known_values(column), str if column["type"] == "string" else float)
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
        parts |= {"classes": filled(_KOTLIN_CLASSES, **parts), "answer": "Answer"}
        take = _KOTLIN_LABEL
    program = filled(
        _KOTLIN_PROGRAM,
        model=_kotlin_string(model.path.name),
        release=model.release,
        row=filled(_KOTLIN_ROW if narrow else _KOTLIN_WIDE_ROW, fields="\n".join(fields)),
        tables="".join(f"{table}\n" for table in tables),
        tensors=filled(_KOTLIN_MATRIX, cells="\n".join(cells)) if model.matrix else "\n".join(cells),
        take=filled(take, **parts),
        **parts,
    )
    return with_helpers(program, _KOTLIN_HELPERS)


def _camel_case(name: str) -> str:
    # Letters of any script, but of those that Java holds in one character.
    kept = [c if c < "\U00010000" and unicodedata.category(c) in _KOTLIN_LETTERS else " " for c in name]
    words = "".join(kept).split()
    small = [word.lower() if word.isascii() and word.isupper() else word for word in words]
    first = [word[0].lower() + word[1:] if word[0].isascii() else word for word in small[:1]]
    return "".join(first + [word[0].upper() + word[1:] if word[0].isascii() else word for word in small[1:]])


def _kotlin_string(text: str) -> str:
    def escaped(character: str) -> str:
        if character in '"\\$':
            return f"\\{character}"
        units = character.encode("utf-16-be")
        codes = (f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
        return character if character.isprintable() else "".join(codes)

    return '"' + "".join(map(escaped, text)) + '"'


def _kotlin_list(values: Iterable[Any], kind: type | None) -> str:
    literal: dict[type | None, tuple[str, Callable[[Any], str]]] = {
        str: ("String", _kotlin_string),
        int: ("Long", "{}L".format),
        bool: ("Boolean", lambda value: str(value).lower()),
        float: ("Double", lambda value: repr(value) if np.isfinite(value) else f"{value} / 0.0".replace("inf", "1.0")),
    }
    name, write = literal[kind]
    return f"listOf<{name}>({', '.join(map(write, values))})"


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

"""Predict from a file of ``tabkd export``. Needs NumPy and onnxruntime, and nothing else.

This module is complete in itself: it may be copied beside a model, to where the rest of tabkd is not installed. A model
that reads texts wants ``runtime_text.py`` beside it, and tokenizers.
"""

from __future__ import annotations

import difflib
import importlib
import json
import os
import re
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["METADATA", "Answer", "OnnxPredictor"]

#: Key of the file's metadata.
METADATA = "tabkd"
#: Files of tables are 1; those that read texts are 2, so that an older copy of this module refuses them.
_FORMAT = 2
_MATRIX = "features"
#: What a whole number may be written with beside its digits: a sign of zero, decimals.
_NO_DIGITS = re.compile(r"^-(?=0(\.0+)?$)|\.0+$")
_FLAGS = {"0": "False", "1": "True"}
#: Codes of categories where a file reads one matrix.
_UNKNOWN, _MISSING, _FIRST_CATEGORY = 0, 1, 2
#: Releases of onnxruntime that load a file and answer wrongly.
_WRONG_RELEASES = {"1.26.0": "the probabilities of forests"}
#: From this opset of ai.onnx.ml on trees are another operator, which onnxruntime runs rightly from this release on.
_ENSEMBLE_OPSET, _ENSEMBLE_RELEASE = 5, (1, 24)
#: Rows at once: more are hardly faster, and a forest as plain operators takes kilobytes for each.
_BATCH_SIZE = 1000
_DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}
#: How onnxruntime says that a file is newer than itself.
_TOO_OLD = re.compile(
    r"Opset \d+ is under development|Unsupported model IR version: \d+|No Op registered for \S+ with \S+ of \d+"
    r"|\S+ is not a registered function/op|Could not find an implementation for \S+"
)


class Answer(NamedTuple):
    """What a classifier says about one row: ``label, probabilities = predictor.predict_one(row)``.

    Attributes
    ----------
    label : str, int, float or bool
    probabilities : dict
        By label, in the order of ``OnnxPredictor.classes``.
    """

    label: Any
    probabilities: dict[Any, float]


class OnnxPredictor:
    """A model from an ONNX file.

    Tables may be dicts of columns, lists of dicts, pandas, polars or pyarrow tables (columns by name; those that the
    model does not need are ignored), or two-dimensional arrays (the model's columns by position). Cells are raw values,
    never codes of categories; None, NaN, ``pandas.NA`` and ``""`` are missing. A model of texts takes a list of them,
    of pairs where it reads two, or a table with its columns. Several threads may share a predictor; a pickled one
    loads its file again.

    Parameters
    ----------
    path : str, path or bytes
        The file, or its content.
    providers : sequence, optional
        Execution providers of onnxruntime, in order of preference, each a name or a pair of name and options, such as
        ``("CUDAExecutionProvider", {"device_id": 0, "use_tf32": 0})``; the CPU if left out.
    n_threads : int
        0 leaves it to onnxruntime. More than one pays for many rows at once.
    batch_size : int, optional
        Rows given to onnxruntime at once, to bound memory; 1,000 if left out, 32 texts.

    Attributes
    ----------
    session : onnxruntime.InferenceSession

    Raises
    ------
    ValueError
        If the file is damaged, was not written by ``tabkd export``, or needs a newer onnxruntime; if a provider is
        not there, or does not start.

    Examples
    --------
    >>> predictor = OnnxPredictor("student.onnx")  # doctest: +SKIP
    >>> predictor.predict_one({"age": 61, "city": "Seoul"})  # doctest: +SKIP
    Answer(label='yes', probabilities={'no': 0.31, 'yes': 0.69})
    >>> predictor.predict_proba({"age": [61, None], "city": ["Seoul", ""]})  # doctest: +SKIP
    array([[0.31, 0.69],
           [0.52, 0.48]], dtype=float32)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | bytes,
        *,
        providers: Sequence[Any] | None = None,
        n_threads: int = 1,
        batch_size: int | None = None,
    ) -> None:
        if n_threads < 0:
            raise ValueError(f"n_threads must be at least 0, got {n_threads}. Try 1.")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}. Try 10_000, or None for the usual.")
        self._batch_size = batch_size
        self._path = path
        self._options: dict[str, Any] = {"providers": providers, "n_threads": n_threads, "batch_size": batch_size}
        self._name = "The model" if isinstance(path, bytes) else str(path)
        self.session = self._load(path, providers, n_threads)
        try:
            self._metadata = self._described()
            self._columns = [_Column(entry) for entry in self._metadata["columns"]]
            self._outputs = list(self._metadata["outputs"])
            self._matrix = self._metadata["inputs"] == "matrix"
            self._text = self._text_reader() if self._metadata["inputs"] == "text" else None
            self._classes = None
            if self._metadata["task"] == "classification":
                self._classes = np.array(self._metadata["classes"])
            threshold = self._metadata.get("threshold")
            self._threshold = None if threshold is None else 0.0 + threshold  # which refuses text
            self._tie = 0.0 + self._metadata.get("tie", 0.0)  # probabilities that differ by less are equal
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{self._name}: its metadata are damaged ({error!r}). Export the model again.") from error
        inputs = [_MATRIX] if self._matrix else [column.name for column in self._columns]
        if self._text is not None:
            inputs = self._text.inputs
        if inputs != [info.name for info in self.session.get_inputs()]:
            raise ValueError(f"{self._name}: its inputs are not those in its metadata. Export the model again.")
        answers = self.session.get_outputs()
        fitting = self._classes is None or answers[-1].shape[1] == len(self._classes)
        if not fitting or self._outputs != [info.name for info in answers]:
            raise ValueError(f"{self._name}: its outputs are not those in its metadata. Export the model again.")
        self._labels = [] if self._classes is None else self._classes.tolist()
        self._numeric = [column.name for column in self._columns if column.type == "float"]
        self._text_names = [column.name for column in self._columns if column.type == "string"]
        self._texts = [column for column in self._columns if column.type == "string"]
        self._bound = None if self._texts and not self._matrix else _BoundRow(self.session, self._outputs[-1])

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and other processes load the file again."""
        return partial(type(self), **self._options), (self._path,)

    @property
    def columns(self) -> list[str]:
        """Names of the columns that the model needs, in the order of the columns of an array."""
        return [column.name for column in self._columns]

    @property
    def classes(self) -> np.ndarray | None:
        """Labels in the order of the columns of ``predict_proba``; None for a regression."""
        return self._classes

    @property
    def metadata(self) -> dict[str, Any]:
        """What the file says about itself: columns, classes, threshold, versions, proof."""
        return self._metadata

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels or values.

        Parameters
        ----------
        X : table of shape (n_samples, n_features), or texts

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels; of a regression values, two-dimensional if it has several outputs.

        Raises
        ------
        ValueError
            If a column is missing, of another length than the others, or holds what the model cannot read.
        """
        answers = self._run(X, self._outputs[0])
        if self._classes is not None:
            return self._exact(answers)
        return answers[:, 0] if answers.shape[1] == 1 else answers

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities.

        Parameters
        ----------
        X : table of shape (n_samples, n_features), or texts

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes``.

        Raises
        ------
        ValueError
            As ``predict`` does, or if the model is a regression.
        """
        if self._classes is None:
            raise ValueError(f"{self._name} is a regression, which has no probabilities. Use predict.")
        return self._run(X, self._outputs[1])

    def predict_one(self, row: Any) -> Any:
        """Predict one row, fast.

        Parameters
        ----------
        row : mapping from name of column to value, or a text or pair of texts

        Returns
        -------
        Answer, float or list of float
            Label and probabilities; of a regression the value, or a list of them if it has several outputs.

        Raises
        ------
        ValueError
            If a column is missing, or holds what the model cannot read.
        """
        values = self._values_of(row)
        if self._classes is None:
            return values[0] if len(values) == 1 else values
        # As the file says it; onnxruntime is slower, and crashes, where a row of text is bound.
        if self._threshold is not None:
            code = int(values[1] > self._threshold)
        else:
            best = max(values) - self._tie
            code = next((code for code, value in enumerate(values) if value >= best), 0)
        return Answer(self._labels[code], dict(zip(self._labels, values, strict=True)))

    def _load(self, path: Any, providers: Sequence[Any] | None, n_threads: int) -> Any:
        import onnxruntime  # type: ignore[import-untyped]

        if wrong := _WRONG_RELEASES.get(onnxruntime.__version__):
            raise RuntimeError(
                f"onnxruntime {onnxruntime.__version__} computes {wrong} wrongly. Install another release."
            )
        asked = ["CPUExecutionProvider"] if providers is None else list(providers)
        available = onnxruntime.get_available_providers()
        for provider in asked:
            name = provider if isinstance(provider, str) else provider[0]
            if name not in available:
                raise ValueError(f"providers names {name!r}, which onnxruntime has not here. Choose from {available}.")
        if isinstance(path, bytes):
            self._refuse_foreign_data(path, None)
        else:
            self._refuse_foreign_data(Path(path).read_bytes(), Path(path).resolve().parent)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A thread that spins while it waits for the next row takes a core from whoever calls.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = path if isinstance(path, bytes) else str(path)
        try:
            session = onnxruntime.InferenceSession(source, options, providers=asked)
        except Exception as error:  # its classes have no base of their own
            if newer := _TOO_OLD.search(str(error)):
                raise self._too_new(newer[0]) from error
            raise ValueError(
                f"{self._name} is no ONNX file, or a damaged one: {str(error).rpartition(' : ')[2].strip()} "
                "Export it again."
            ) from error
        started = session.get_providers()
        for provider in asked:
            name = provider if isinstance(provider, str) else provider[0]
            if name not in started:  # onnxruntime takes the next one without a word
                raise ValueError(
                    f"providers names {name!r}, which did not start: its device or its libraries are not here. "
                    "Leave it out, or install them."
                )
        return session

    def _text_reader(self) -> Any:
        """The module beside this one reads texts: of the package, or copied as this one is."""
        text = importlib.import_module(f"{__name__}_text")
        tokenizer = self.session.get_modelmeta().custom_metadata_map[text.TOKENIZER]
        return text.TextReader(self._metadata, tokenizer)

    def _refuse_foreign_data(self, data: bytes, folder: Path | None) -> None:
        """No file may make its reader open others elsewhere; old releases of onnxruntime would."""
        try:
            locations = list(_external_data(data))
        except (IndexError, UnicodeDecodeError, ValueError) as error:
            raise ValueError(f"{self._name} is no ONNX file, or a damaged one. Export it again.") from error
        for location in locations:
            if folder is None or not (folder / location).resolve().is_relative_to(folder):
                raise ValueError(
                    f"{self._name} keeps data in {location!r}, outside its own folder, which is not safe to follow. "
                    "Put the data beside the file, or export the model again."
                )

    def _described(self) -> dict[str, Any]:
        text = self.session.get_modelmeta().custom_metadata_map.get(METADATA)
        if text is None:
            raise ValueError(
                f"{self._name} was not written by tabkd export: it has no {METADATA!r} in its metadata. "
                "Use onnxruntime itself for other models."
            )
        try:
            described = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{self._name}: its metadata are damaged ({error}). Export the model again.") from error
        if described["format"] > _FORMAT:
            raise ValueError(f"{self._name} was written by a newer tabkd. Take the runtime.py of that one.")
        ensemble = described.get("opsets", {}).get("ai.onnx.ml", 0) >= _ENSEMBLE_OPSET
        if ensemble and _release() < _ENSEMBLE_RELEASE:
            raise self._too_new(
                "its trees are of ai.onnx.ml 5, which older releases than 1.24 load and may run wrongly"
            )
        return described

    def _too_new(self, why: str) -> ValueError:
        import onnxruntime

        return ValueError(
            f"{self._name} needs a newer onnxruntime than {onnxruntime.__version__} ({why}). "
            "Install one, or export the model without compact and in float32."
        )

    def _exact(self, labels: np.ndarray) -> np.ndarray:
        """Labels as they were in training: a tensor of labels that are floats holds them rounded."""
        if self._classes is None or labels.dtype.kind != "f":
            return labels
        return self._classes[np.abs(labels[:, None] - self._classes).argmin(axis=1)]

    def _run(self, X: Any, output: str) -> np.ndarray:
        if self._text is not None:
            return self._text.run(self.session, X, output, self._batch_size)
        feed = self._feed(X)
        n_rows = len(next(iter(feed.values())))
        step = self._batch_size or _BATCH_SIZE
        batches = [
            self.session.run([output], {name: values[start : start + step] for name, values in feed.items()})[0]
            for start in range(0, n_rows, step)
        ]
        return batches[0] if len(batches) == 1 else np.concatenate(batches)

    def _values_of(self, row: Any) -> list[float]:
        """Probabilities, or predictions, for one row."""
        if self._text is not None:
            return self._run([row], self._outputs[-1])[0].tolist()
        try:
            return self._values_of_plain(row)
        except (KeyError, TypeError, ValueError, OverflowError, struct.error):
            pass  # a rarer way to say missing, or a mistake: the long way names it
        if not hasattr(row, "__getitem__"):
            raise ValueError(
                f"A row maps the names of columns to values, but this one is {row!r}. Give a dict, or a table to "
                "predict."
            )
        table = {name: [row[name]] for name in self.columns if name in row}
        return self._run(table, self._outputs[-1])[0].tolist()

    def _values_of_plain(self, row: Mapping[str, Any]) -> list[float]:
        """The same for a row of a table whose cells need no reading."""
        if self._bound is not None:
            coded = self._matrix
            return self._bound.run([c.code(row[c.name]) if coded and c.coded else row[c.name] for c in self._columns])
        numbers = np.frombuffer(_packed([row[name] for name in self._numeric]), dtype=np.float32)
        texts = np.array([column.text(row[column.name]) for column in self._texts], dtype=object)
        feed = dict(zip(self._numeric, numbers.reshape(-1, 1, 1), strict=True))
        feed.update(zip(self._text_names, texts.reshape(-1, 1, 1), strict=True))
        return self.session.run(self._outputs[-1:], feed)[0][0].tolist()

    def _feed(self, X: Any) -> dict[str, np.ndarray]:
        """What onnxruntime reads, for any table."""
        given = self._values(X)
        read = [column.read(values, coded=self._matrix) for column, values in zip(self._columns, given, strict=True)]
        first, n_rows = self._columns[0].name, len(read[0])
        for column, values in zip(self._columns, read, strict=True):
            if len(values) != n_rows:
                raise ValueError(
                    f"Column {column.name!r} has {len(values)} values, but {first!r} has {n_rows}. "
                    "Give every column one value per row."
                )
        if n_rows == 0:
            raise ValueError("The table has no rows. Give at least one.")
        if self._matrix:
            return {_MATRIX: np.stack(read, axis=1)}
        return {column.name: values[:, None] for column, values in zip(self._columns, read, strict=True)}

    def _values(self, X: Any) -> list[Any]:
        """The model's columns of a table, in order."""
        if isinstance(X, list | tuple) and len(X) and isinstance(X[0], Mapping):
            for number, row in enumerate(X):
                self._check_names(row, f"Row {number}", row)
            return [[row[name] for row in X] for name in self.columns]
        if isinstance(X, Mapping):
            self._check_names(X, "The table", X)
            return [X[name] for name in self.columns]
        if type(X).__module__.startswith("pyarrow"):
            self._check_names(X.schema.names, "The table", X.schema.names)
            return [X[name].to_pylist() for name in self.columns]
        if hasattr(X, "columns"):
            if any(isinstance(name, str) for name in X.columns):
                self._check_names(set(X.columns), "The table", X.columns)
                return [X[name] for name in self.columns]
            X = X.to_numpy()  # a frame without names
        array = np.asarray(X) if hasattr(X, "__array__") else np.asarray(X, dtype=object)
        if array.ndim != 2:
            raise ValueError(
                f"X must be a table, but its shape is {array.shape}. Give a frame, a dict of columns, a list of dicts, "
                "or an array with a row per row; predict_one takes one row."
            )
        if array.shape[1] != len(self._columns):
            raise ValueError(
                f"X has {array.shape[1]} columns, but this model needs {len(self._columns)}, "
                f"in this order: {self.columns}."
            )
        return list(array.T)

    def _check_names(self, known: Any, what: str, names: Any) -> None:
        missing = [name for name in self.columns if name not in known]
        if missing:
            close = difflib.get_close_matches(missing[0], [str(name) for name in names], n=1)
            raise ValueError(
                f"{what} lacks the columns {missing}"
                + (f" ({missing[0]!r}: there is {close[0]!r})" if close else "")
                + f". This model needs {self.columns}; a missing value is None."
            )


class _BoundRow(threading.local):
    """Tensors of one row of numbers, bound to the session once per thread: nothing is copied or looked up again."""

    def __init__(self, session: Any, output: str) -> None:
        from onnxruntime import OrtValue

        inputs = session.get_inputs()
        ends = np.cumsum([info.shape[1] for info in inputs])
        self._session, self._binding = session, session.io_binding()
        self._row = np.zeros(ends[-1], dtype=np.float32)
        for info, part in zip(inputs, np.split(self._row[None], ends[:-1], axis=1), strict=True):
            self._binding.bind_ortvalue_input(info.name, OrtValue.ortvalue_from_numpy(part))
        info = next(info for info in session.get_outputs() if info.name == output)
        self._answer = np.zeros((1, info.shape[1]), dtype=_DTYPES[info.type])
        self._binding.bind_ortvalue_output(output, OrtValue.ortvalue_from_numpy(self._answer))

    def run(self, row: Sequence[Any]) -> list[float]:
        """The answer to the values of one row, in the order of the inputs."""
        self._row[:] = np.frombuffer(_packed(row), dtype=np.float32)
        self._session.run_with_iobinding(self._binding)
        return self._answer[0].tolist()


def _packed(numbers: Sequence[Any]) -> bytes:
    """Numbers as float32; unlike an array's, this way refuses text and what float32 cannot hold."""
    return struct.pack(f"{len(numbers)}f", *numbers)


def text_of(value: Any, kind: str) -> str:
    """A value as the text that a model learns of it, whatever holds it: 3.0 is "3" in a column of whole numbers.

    Parameters
    ----------
    value : object
        In a column of kind ``"number"`` one of float32.
    kind : str
        Of its column: ``"number"``, ``"integer"``, ``"boolean"`` or ``"category"``.

    Returns
    -------
    str
        ``""`` if it is missing.
    """
    if kind == "category" and isinstance(value, str):
        return value
    if _is_missing(value):
        return ""
    if kind == "number":
        return str(float(value))
    if kind == "category":
        return str(value)
    if isinstance(value, bool | float | np.bool_ | np.floating) and float(value).is_integer():
        value = int(value)
    text = _NO_DIGITS.sub("", str(value))
    return _FLAGS.get(text, text) if kind == "boolean" else text


class _Column:
    """How the values of one column are read."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        self.name, self.kind, self.type = described["name"], described["kind"], described["type"]
        known = described.get("categories", ())
        keys = known if self.type == "string" else [float(np.float32(number)) for number in known]
        self.codes = {key: _FIRST_CATEGORY + i for i, key in enumerate(keys)}
        self.coded = self.kind == "category" or self.type == "string"

    def read(self, values: Any, *, coded: bool) -> np.ndarray:
        """Values of shape (n_samples,): float32, or text; codes instead of categories where ``coded``."""
        if self.type == "string":
            # Lists keep whole numbers whole beside missing ones, where arrays of some frames make floats of them.
            listed = values.to_list() if hasattr(values, "to_list") else values
            cells = [self.text(value) for value in self._flat(np.asarray(listed, dtype=object))]
            if coded:
                return np.array([self._code_of_text(cell) for cell in cells], dtype=np.float32)
            return np.array(cells, dtype=object)
        array = values.to_numpy() if hasattr(values, "to_numpy") else values
        array = self._flat(array if isinstance(array, np.ndarray) else np.asarray(array, dtype=object))
        numbers = self._numbers(array)
        if coded and self.coded:
            return np.array([self._code_of_number(number) for number in numbers.tolist()], dtype=np.float32)
        return numbers

    def text(self, value: Any) -> str:
        """A value as the model's text, ``""`` if it is missing."""
        if self.kind == "number":
            with np.errstate(over="ignore"):
                value = np.float32(self._number(value, 0))
        return text_of(value, self.kind)

    def code(self, value: Any) -> int:
        """The code of a category."""
        if self.type == "string":
            return self._code_of_text(self.text(value))
        return _MISSING if _is_missing(value) else self._code_of_number(float(np.float32(value)))

    def _flat(self, array: np.ndarray) -> np.ndarray:
        if array.ndim == 2 and array.shape[1] == 1:
            return array[:, 0]
        if array.ndim != 1:
            raise ValueError(
                f"Column {self.name!r} has the shape {array.shape}. Give it as a list of one value per row"
                + (", or use predict_one for one row." if array.ndim == 0 else ".")
            )
        return array

    def _numbers(self, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind in "mMc":
            raise ValueError(f"Column {self.name!r} must hold numbers, but holds {array.dtype}. Make numbers of it.")
        with np.errstate(over="ignore"):
            if array.dtype.kind in "biuf":
                return array.astype(np.float64).astype(np.float32)
            return np.array([self._number(value, row) for row, value in enumerate(array.tolist())], dtype=np.float32)

    def _number(self, value: Any, row: int) -> float:
        try:
            return np.nan if _is_missing(value) else float(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(
                f"Column {self.name!r} must hold numbers, but row {row} (from 0) holds {value!r}. "
                "Make a number of it, or None if it is missing."
            ) from None

    def _code_of_text(self, text: str) -> int:
        return _MISSING if text == "" else self.codes.get(text, _UNKNOWN)

    def _code_of_number(self, number: float) -> int:
        return _MISSING if number != number else self.codes.get(number, _UNKNOWN)


def _release() -> tuple[int, ...]:
    import onnxruntime

    return tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, str):
        return value == ""
    return bool(value != value)


# ---------------------------------------------------------------- references to other files

#: Where a message of an ONNX file may hold a reference to another file: message by number of the field.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_KEY = b"location"


def _external_data(data: bytes, message: str = "model", start: int = 0, end: int | None = None) -> Iterator[str]:
    """Paths of the files in which tensors of an ONNX file keep their values."""
    end = len(data) if end is None else end
    if data.find(_KEY, start, end) < 0:
        return
    if message == "entry":
        entry = {field: data[first:last] for field, first, last in _fields(data, start, end)}
        if entry.get(1) == _KEY:
            yield entry.get(2, b"").decode()
        return
    for field, first, last in _fields(data, start, end):
        if field in _INSIDE[message]:
            yield from _external_data(data, _INSIDE[message][field], first, last)


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field of a protobuf message that is text, bytes or a message itself."""
    while start < end:
        key, start = _varint(data, start)
        kind = key & 7
        if kind == 2:
            size, start = _varint(data, start)
            yield key >> 3, start, start + size
            start += size
        elif kind == 0:
            _, start = _varint(data, start)
        elif kind in (1, 5):
            start += 8 if kind == 1 else 4
        else:
            raise ValueError(f"field of unknown kind {kind}")


def _varint(data: bytes, start: int) -> tuple[int, int]:
    value = shift = 0
    while data[start] >= 128:
        value |= (data[start] & 127) << shift
        start, shift = start + 1, shift + 7
    return value | data[start] << shift, start + 1

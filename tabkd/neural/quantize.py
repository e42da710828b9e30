"""int8: a file of a quarter of the size, written only where it answers as well as the one it came from."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.metrics import r2_score

from tabkd._compat import optional_import
from tabkd.export.described import sealed
from tabkd.files import replacing
from tabkd.runtime import OnnxPredictor
from tabkd.runtime_text import TOKENIZER, TextReader

__all__ = ["Attempt", "QuantizationError", "quantize", "to_int8"]

logger = logging.getLogger(__name__)

#: Rows on which the parts of a model are measured one by one, and how many parts there are at most.
_N_SAMPLE, _N_GROUPS = 64, 32
#: Nodes that int8 can compute, and which of their inputs are the weights.
_HELD = {"MatMul": 1, "Gemm": 1, "Gather": 0}


class QuantizationError(ValueError):
    """Every way to int8 loses more than was allowed; nothing was written."""


@dataclass(frozen=True)
class Attempt:
    """One way to int8, and what it lost.

    Attributes
    ----------
    weights : {"int8", "uint8"}
        How weights are held; some processors overflow where activations and weights are both large, and only with one
        of the two.
    per_channel : bool
        Whether each column of a matrix has a scale of its own.
    reduce_range : bool
        Whether weights take 7 bits, which never overflow.
    left_out : tuple of str
        Parts of the graph that stay in float32.
    size : int
        Bytes of the file.
    drop : float
        Score of the float32 file less the score of this one, in batches or one by one, whichever loses more.
    """

    weights: str
    per_channel: bool
    reduce_range: bool
    left_out: tuple[str, ...] = ()
    size: int = 0
    drop: float = float("nan")


#: In this order.
_WAYS = (
    Attempt("int8", per_channel=True, reduce_range=False),
    Attempt("int8", per_channel=True, reduce_range=True),
    Attempt("uint8", per_channel=True, reduce_range=False),
    Attempt("uint8", per_channel=False, reduce_range=False),
)


def quantize(source: str | Path, path: str | Path, texts: Any, labels: Any = None, *, max_drop: float = 0.01) -> Path:
    """Write a file that reads texts once more, in int8.

    Weights become int8 and activations are quantised as they come (dynamic quantisation). Several ways are tried, and
    the first that loses no more than ``max_drop`` on ``texts`` is written: weights per channel, with reduced range,
    unsigned, and then the best of these without the parts of the graph that suffer most, as few of them as will do.

    Two things differ from float32: the answer to a text depends a little on the others of its batch, whose activations
    share a scale; and processors add int8 up in different ways, so measure where the file will run.

    Parameters
    ----------
    source : str or Path
        Of ``export_text``, in float32.
    path : str or Path
    texts : sequence of str or of pairs, or table
        What the loss is measured on: rows that the model was not trained on.
    labels : sequence, optional
        True labels, or values of a regression; without them the float32 file's answers count as true.
    max_drop : float
        The largest loss: of accuracy, or of R² for a regression (the mean over its outputs).

    Returns
    -------
    Path

    Raises
    ------
    QuantizationError
        If every way loses more.
    """
    path = Path(path)
    content = to_int8(Path(source).read_bytes(), texts, labels, max_drop=max_drop)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def to_int8(content: bytes, texts: Any, labels: Any = None, *, max_drop: float = 0.01) -> bytes:
    """The same on the content of files, which stays in memory.

    Parameters
    ----------
    content : bytes
    texts, labels, max_drop
        As for ``quantize``.

    Returns
    -------
    bytes
        Its metadata hold under ``"quantized"`` what was tried, and the proof of the float32 file.

    Raises
    ------
    QuantizationError
        If every way loses more.
    """
    if not 0 <= max_drop < 1:
        raise ValueError(f"max_drop must be in [0, 1), got {max_drop}. Try 0.01, one point of accuracy.")
    work = _Work(content, texts, labels)
    tried: list[Attempt] = []
    for way in _WAYS:
        tried.append(work.tried(way))
        if tried[-1].drop <= max_drop:
            return work.finished(tried[-1], tried, max_drop)
    best = min(tried, key=lambda attempt: attempt.drop)
    sensitive = work.by_harm(best)
    # As few as will do, by halving: what passes was measured, whether or not more parts left out always lose less.
    passed, low, high = None, 0, len(sensitive)
    while high - low > 1:
        n = (low + high) // 2
        tried.append(work.tried(replace(best, left_out=tuple(sensitive[:n]))))
        if tried[-1].drop <= max_drop:
            passed, high = tried[-1], n
        else:
            low = n
    if passed is None:
        least = min(tried, key=lambda attempt: attempt.drop)
        raise QuantizationError(
            f"int8 is not written: of {len(tried)} ways the best loses {least.drop:.4f} of {work.measure} on "
            f"{work.n_rows} rows, more than max_drop {max_drop}. Keep float32, or allow more."
        )
    return work.finished(passed, tried, max_drop)


class _Work:
    """A file, the rows that judge it, and the files made of it."""

    def __init__(self, content: bytes, texts: Any, labels: Any) -> None:
        self._content = content
        exact = OnnxPredictor(content)
        self._described = exact.metadata
        if self._described["inputs"] != "text" or "quantized" in self._described:
            raise ValueError("int8 is made of a float32 file that reads texts. Give one that export_text wrote.")
        self._more = {entry.key: entry.value for entry in self._model().metadata_props if entry.key == TOKENIZER}
        self._rows = TextReader(self._described, self._more[TOKENIZER]).rows(texts)
        self.n_rows = len(self._rows)
        self._answers, self._values = exact.predict(self._rows), self._numbers(exact, self._rows[:_N_SAMPLE])
        self._regression = exact.classes is None
        self._true = self._answers if labels is None else np.asarray(labels)
        if self._true.shape != self._answers.shape:
            raise ValueError(
                f"labels has the shape {self._true.shape}, but must have {self._answers.shape}. Give one per text."
            )
        if exact.classes is not None and not np.isin(self._true, exact.classes).all():
            unknown = self._true[~np.isin(self._true, exact.classes)][:3].tolist()
            raise ValueError(f"labels holds {unknown}, but the classes are {exact.classes.tolist()}. Use these.")
        if self._regression and not np.ptp(self._true, axis=0).any():
            raise ValueError(
                f"All of the {self.n_rows} texts have one value, by which no R² is measured. Give texts of several "
                "values."
            )
        self.measure = "R²" if self._regression else "agreement" if labels is None else "accuracy"
        self._score = self._scored(self._answers)
        self._groups = _groups(self._model())

    def tried(self, way: Attempt) -> Attempt:
        """The attempt with its size and loss."""
        made = self._made(way, self._described)
        # Activations share one scale per batch, so that rows answer otherwise by themselves than among others.
        scores = [self._scored(OnnxPredictor(made, batch_size=n).predict(self._rows)) for n in (None, 1)]
        done = replace(way, size=len(made), drop=self._score - min(scores))
        logger.info("int8: %s", done)
        return done

    def by_harm(self, way: Attempt) -> list[str]:
        """Parts of the graph, the one first whose quantisation by itself moves the answers most."""
        rows, harm = self._rows[:_N_SAMPLE], {}
        for group in self._groups:
            alone = replace(way, left_out=tuple(other for other in self._groups if other != group))
            moved = self._numbers(OnnxPredictor(self._made(alone, self._described)), rows) - self._values
            harm[group] = float(np.square(moved).mean())
        return sorted(harm, key=lambda group: -harm[group])

    def finished(self, way: Attempt, tried: Sequence[Attempt], max_drop: float) -> bytes:
        """The file, with what was tried in its metadata."""
        if way.size >= len(self._content):
            warnings.warn(
                f"int8 takes {way.size} bytes, and float32 takes {len(self._content)}: too little of the file is "
                "matrices that int8 could hold. Keep float32.",
                stacklevel=4,
            )
        kept = {key: value for key, value in self._described.items() if key != "proof"}
        report = {
            **asdict(way),
            "max_drop": max_drop,
            "measure": self.measure,
            "rows": self.n_rows,
            "attempts": [asdict(attempt) for attempt in tried],
            "proof": self._described["proof"],  # which is true of the float32 file, and of this one no more
        }
        return self._made(way, {**kept, "quantized": report})

    def _made(self, way: Attempt, described: Mapping[str, Any]) -> bytes:
        onnx, tools = _onnx(), optional_import("onnxruntime.quantization", needed_by="int8", extra="neural")
        nodes = [name for group, names in self._groups.items() if group not in way.left_out for name in names]
        model = self._model()
        with TemporaryDirectory() as folder, _quiet():
            target = Path(folder, "int8.onnx")
            tools.quantize_dynamic(
                model, target, per_channel=way.per_channel, reduce_range=way.reduce_range,
                weight_type=tools.QuantType.QInt8 if way.weights == "int8" else tools.QuantType.QUInt8,
                nodes_to_quantize=nodes,
            )  # fmt: skip
            made = onnx.load(target)
        return sealed(made, described, self._more)

    def _model(self) -> Any:
        return _unaliased(_onnx().load_from_string(self._content))

    def _numbers(self, predictor: OnnxPredictor, rows: Any) -> np.ndarray:
        return predictor.predict(rows) if predictor.classes is None else predictor.predict_proba(rows)

    def _scored(self, answers: np.ndarray) -> float:
        if not self._regression:
            return float((answers == self._true).mean())
        return float(r2_score(self._true, answers))


def _onnx() -> Any:
    return optional_import("onnx", needed_by="int8", extra="all")


def _unaliased(model: Any) -> Any:
    """The same with shared weights read by every node that shares them: torch puts ``Identity`` between."""
    weights = {tensor.name for tensor in model.graph.initializer}
    shared: dict[str, str] = {}
    for node in model.graph.node:
        if _transposes(node):  # which onnxruntime does in place, once per node
            continue
        node.input[:] = [shared.get(name, name) for name in node.input]
        if node.op_type == "Identity" and node.input[0] in weights:
            shared[node.output[0]] = node.input[0]
    read = {name for node in model.graph.node for name in node.input}
    kept = [node for node in model.graph.node if shared.keys().isdisjoint(node.output) or node.output[0] in read]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def _transposes(node: Any) -> bool:
    return node.op_type == "Gemm" and any(entry.name == "transB" and entry.i for entry in node.attribute)


def _groups(model: Any) -> dict[str, list[str]]:
    """Nodes with weights that int8 can hold, by part of the network: as fine as ``_N_GROUPS`` allow."""
    weights = {tensor.name for tensor in model.graph.initializer if tensor.data_type == 1 and len(tensor.dims) == 2}
    names = [
        n.name + "_MatMul" * (n.op_type == "Gemm")  # what onnxruntime makes of it
        for n in model.graph.node
        if n.op_type in _HELD and n.input[_HELD[n.op_type]] in weights and not _transposes(n)
    ]
    depths = range(1, 1 + max((name.count("/") for name in names), default=0))
    found: dict[str, list[str]] = {}
    for depth in depths:
        finer: dict[str, list[str]] = {}
        for name in names:
            finer.setdefault("/".join(name.split("/")[: depth + 1]), []).append(name)
        if found and len(finer) > _N_GROUPS:
            break
        found = finer
    if not found:
        raise ValueError("The model has no matrices that int8 could hold. Keep float32.")
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime says on the root logger what only its own preprocessing would mend."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)

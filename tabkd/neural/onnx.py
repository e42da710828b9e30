"""A network as one ONNX file: texts or numbers in, labels and probabilities out, proved to answer as PyTorch does."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import tabkd
from tabkd._compat import optional_import
from tabkd.export.described import sealed
from tabkd.export.head import label_dtype
from tabkd.export.parity import ParityError
from tabkd.files import output_path, replacing
from tabkd.neural.loading import takes_types
from tabkd.neural.networks import evaluating
from tabkd.neural.parity import TOKENS, prove_rows, prove_texts, random_tokens
from tabkd.neural.quantize import to_int8
from tabkd.neural.reading import answers_last, positions_of
from tabkd.runtime import OnnxPredictor
from tabkd.runtime_text import TOKENIZER, TextReader

__all__ = ["export_module", "export_text"]

#: The first with normalisation of layers as one operator, which reduced precision needs whole.
OPSET = 17
_TEXT_FORMAT, _TABLE_FORMAT = 2, 1
#: What one file can hold.
_LARGEST = 2**31 - 2**20


def export_text(
    model: nn.Module,
    tokenizer: Any,
    path: str | Path,
    *,
    max_length: int,
    classes: Sequence[Any] | np.ndarray | None = None,
    text_columns: Sequence[str] = ("text",),
    texts: Any = (),
    labels: Any = None,
    quantize: str | None = None,
    max_drop: float = 0.01,
) -> Path:
    """Write a classifier or regressor of texts as one ONNX file with its tokenizer.

    Before anything is written, the file's answers are compared with PyTorch's: on random tokens of several lengths,
    one row and several, with padding and without; on texts that tokenizers stumble over; and on ``texts``. The model
    is left as it was.

    Parameters
    ----------
    model : Module
        Takes ``input_ids`` and ``attention_mask`` (and ``token_type_ids``, if its ``forward`` names them, its
        configuration has any, and the tokenizer gives them); returns logits, or something with ``logits``: any
        sequence classifier of transformers.
    tokenizer : PreTrainedTokenizerBase
        A fast one.
    path : str or Path
    max_length : int
        Tokens of a row; longer ones are cut, as the tokenizer cuts.
    classes : sequence, optional
        Labels in the order of the logits, which are softened to probabilities; None for a regression.
    text_columns : sequence of one or two str
        What the texts of a row are called: two for pairs.
    texts : sequence of str or of pairs, or table
        Real rows to compare too; ``quantize`` needs some.
    labels : sequence, optional
        True labels or values of ``texts``, for ``quantize``.
    quantize : {None, "int8"}
        ``"int8"`` writes the file in about a quarter of the size: see ``tabkd.neural.quantize``.
    max_drop : float
        The largest loss by ``quantize`` that is written.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the model cannot be exported, or its answers differ (``ParityError``), or int8 loses too much.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from transformers import BertConfig, BertForSequenceClassification, BertTokenizer
    >>> from tabkd.neural.onnx import export_text
    >>> from tabkd.runtime import OnnxPredictor
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]
    >>> tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    >>> config = BertConfig(vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> model = BertForSequenceClassification(config)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.onnx"
    ...     export_text(model, tokenizer, path, max_length=16, classes=["no", "yes"]).name
    ...     OnnxPredictor(path).predict_proba(["good", "very bad"]).shape
    'model.onnx'
    (2, 2)
    """
    path = output_path(path)
    if quantize not in (None, "int8"):
        raise ValueError(f'quantize must be None or "int8", got {quantize!r}.')
    _check_model(model)
    _check_length(model, tokenizer, max_length, len(text_columns))
    labelled = _labels(classes)
    names = _token_inputs(model, tokenizer)
    described = {
        "format": _TEXT_FORMAT,
        "inputs": "text",
        "columns": [{"name": name, "kind": "text", "type": "string"} for name in text_columns],
        "tokens": names,
        "max_length": max_length,
        "padding": {"id": tokenizer.pad_token_id or 0, "type": tokenizer.pad_token_type_id},
    }
    spelled = {TOKENIZER: _tokenizer_json(tokenizer, max_length)}
    reader = TextReader(described, spelled[TOKENIZER])
    given = reader.rows(texts) if len(texts) else []
    if quantize and not given:
        raise ValueError('quantize="int8" is measured on texts, and there are none. Give texts=, and labels= if known.')
    network = _Answers(model, names, classify=labelled is not None)
    with evaluating(network):
        example = random_tokens(names, 2, min(8, max_length), len(tokenizer), padding=True)
        traced = _traced(network, example, {name: ["N", "length"] for name in names})
        described |= _add_outputs(traced, labelled) | _versions(traced, "transformers", "tokenizers")
        predictor = OnnxPredictor(sealed(traced, described, spelled))
        with _running():
            described["proof"] = asdict(prove_texts(network.of, predictor, reader, tokenizer, given))
    content = sealed(traced, described, spelled)
    if quantize:
        content = to_int8(content, given, labels, max_drop=max_drop)
    return _written(path, content)


def export_module(
    module: nn.Module,
    path: str | Path,
    *,
    X: Any,
    classes: Sequence[Any] | np.ndarray | None = None,
    feature_names: Sequence[str] | None = None,
) -> Path:
    """Write a network on rows of numbers as one ONNX file, which ``OnnxPredictor`` reads as it reads tables.

    Parameters
    ----------
    module : Module
        Takes a float32 tensor (batch, features); returns logits (batch, classes), or values of a regression.
    path : str or Path
    X : array of shape (n_samples, n_features)
        Real rows, on which the file is compared with PyTorch.
    classes : sequence, optional
        Labels in the order of the logits; None for a regression.
    feature_names : sequence of str, optional
        ``x0``, ``x1``, ... if left out.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the module cannot be exported, or its answers differ (``ParityError``).

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from torch import nn
    >>> from tabkd.neural.onnx import export_module
    >>> from tabkd.runtime import OnnxPredictor
    >>> module, X = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), np.eye(3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export_module(module, Path(folder) / "model.onnx", X=X, classes=["no", "yes"])
    ...     OnnxPredictor(path).predict_proba(X).shape
    (3, 2)
    """
    path = output_path(path)
    _check_model(module)
    labelled = _labels(classes)
    rows = np.asarray(X, dtype=np.float32)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"X must have the shape (n_samples, n_features), got {rows.shape}. Give some rows.")
    names = [f"x{i}" for i in range(rows.shape[1])] if feature_names is None else list(feature_names)
    if len(names) != rows.shape[1] or len({*names}) < len(names):
        raise ValueError(f"feature_names must be {rows.shape[1]} different names, one per column of X, got {names}.")
    columns = [{"name": name, "kind": "number", "type": "float"} for name in names]
    described = {"format": _TABLE_FORMAT, "inputs": "matrix", "columns": columns}
    network = _Answers(module, None, classify=labelled is not None)
    with evaluating(network):
        traced = _traced(network, {"features": np.resize(rows, (2, len(names)))}, {"features": ["N", len(names)]})
        described |= _add_outputs(traced, labelled) | _versions(traced)
        predictor = OnnxPredictor(sealed(traced, described, {}))
        with _running():
            described["proof"] = asdict(prove_rows(network.of, predictor, rows))
    return _written(path, sealed(traced, described, {}))


# ---------------------------------------------------------------- what is asked for


@contextmanager
def _running() -> Iterator[None]:
    """A file that onnxruntime cannot run differs from PyTorch."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):  # whose errors have no base of their own
            raise
        reason = str(error).rpartition(" : ")[2].strip()
        raise ParityError(
            f"The file is not written: where PyTorch answers, onnxruntime fails ({reason}). A model that decides in "
            "Python, by the length or the values of its input, is frozen in the file: write such decisions with "
            "tensors, or take a model of another family."
        ) from error


def _written(path: Path, content: bytes) -> Path:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def _check_model(model: nn.Module) -> None:
    tensors = [*model.parameters(), *model.buffers()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > _LARGEST:
        raise ValueError(
            f"The model holds {size / 2**30:.1f} GiB, but one ONNX file holds less than 2. Export a smaller student."
        )
    if other := {t.dtype for t in tensors if t.is_floating_point()} - {torch.float32}:
        raise ValueError(f"The model holds {other.pop()}, but is exported in float32. Call model.float() first.")
    if answers_last(model):
        raise ValueError(
            f"{type(model).__name__} answers by the last place of a row, where a file has its padding. Export a "
            "student of another family, such as BERT."
        )


def _check_length(model: nn.Module, tokenizer: Any, max_length: int, n_texts: int) -> None:
    if n_texts not in (1, 2):
        raise ValueError(f"text_columns must name one column, or two for pairs, got {n_texts}.")
    fewest = tokenizer.num_special_tokens_to_add(pair=n_texts == 2) + 1
    positions = positions_of(model) or max_length
    if not fewest <= max_length <= positions:
        raise ValueError(
            f"max_length must be at least {fewest}, for the tokens that the tokenizer adds and one more, and at most "
            f"{positions}, the model's positions, got {max_length}."
        )


def _labels(classes: Any) -> np.ndarray | None:
    if classes is None:
        return None
    labels = np.asarray(classes)
    if labels.ndim != 1 or len(labels) < 2 or len(set(labels.tolist())) < len(labels):
        raise ValueError(f"classes must be two distinct labels or more, got {classes!r}. None is a regression.")
    return labels


def _token_inputs(model: nn.Module, tokenizer: Any) -> list[str]:
    taken = signature(model.forward).parameters
    typed = takes_types(model) and TOKENS[2] in tokenizer.model_input_names
    return [name for name in TOKENS if name in taken and (typed or name != TOKENS[2])]


def _tokenizer_json(tokenizer: Any, max_length: int) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError(
            f"{type(tokenizer).__name__} is no fast tokenizer, and only these can be put into a file. Use its fast "
            "version (AutoTokenizer.from_pretrained gives one where there is one)."
        )
    if tokenizer.padding_side != "right" or tokenizer.truncation_side != "right":
        raise ValueError('The tokenizer pads or cuts on the left. Set its padding_side and truncation_side to "right".')
    copy = type(backend).from_str(backend.to_str())
    copy.no_padding()
    copy.enable_truncation(max_length)
    return copy.to_str()


def _versions(model: Any, *more: str) -> dict[str, Any]:
    return {
        "versions": {"tabkd": tabkd.__version__, **{name: version(name) for name in ("onnx", "torch", *more)}},
        "opsets": {opset.domain: opset.version for opset in model.opset_import},
    }


# ---------------------------------------------------------------- the graph


class _Answers(nn.Module):
    """Probabilities or values, from tensors in a fixed order."""

    def __init__(self, model: nn.Module, names: Sequence[str] | None, *, classify: bool) -> None:
        super().__init__()
        self.model, self.names, self.classify = model, names, classify

    def forward(self, *inputs: Tensor) -> Tensor:
        answer = self.model(*inputs) if self.names is None else self.model(**dict(zip(self.names, inputs, strict=True)))
        logits = getattr(answer, "logits", answer)
        return torch.softmax(logits, dim=-1) if self.classify else logits

    def of(self, feed: Mapping[str, Any]) -> np.ndarray:
        """The answers to what onnxruntime would be fed, of shape (n_samples, n_outputs)."""
        with torch.no_grad():
            return self(*self.tensors(feed)).cpu().numpy()

    def tensors(self, feed: Mapping[str, np.ndarray]) -> tuple[Tensor, ...]:
        """Arrays as tensors, where the model is."""
        device = next((tensor.device for tensor in self.parameters()), None)
        return tuple(torch.as_tensor(values, device=device) for values in feed.values())


def _traced(network: _Answers, example: Mapping[str, Any], shapes: Mapping[str, list[Any]]) -> Any:
    """The network as a graph with one output."""
    onnx = optional_import("onnx", needed_by="to_onnx", extra="all")
    answers = network.of(example)
    if answers.ndim != 2 or answers.dtype != np.float32:
        raise ValueError(
            f"The model answers with {answers.dtype} of shape {answers.shape} to {len(next(iter(example.values())))} "
            "rows, but must with float32 of shape (rows, outputs)."
        )
    name = "probabilities" if network.classify else "prediction"
    sizes = {**shapes, name: ["N", answers.shape[1]]}
    axes = {key: {i: size for i, size in enumerate(shape) if isinstance(size, str)} for key, shape in sizes.items()}
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder, "model.onnx")
        # The older exporter is deprecated and warns of it, yet the newer one needs onnxscript, takes ten times as long
        # and warns as well; what tracing may have frozen is for the proof to find.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, network.tensors(example), path, dynamo=False, opset_version=OPSET,
            input_names=list(example), output_names=[name], dynamic_axes=axes,
        )  # fmt: skip
        model = onnx.load(path)
    model.producer_name, model.producer_version = "tabkd", ""
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes[name]))
    return model


def _add_outputs(model: Any, labels: np.ndarray | None) -> dict[str, Any]:
    """Name the output and add the label; returns what the file says of both."""
    helper, graph = optional_import("onnx", needed_by="to_onnx", extra="all").helper, model.graph
    n_outputs = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    name = graph.output[0].name
    if labels is None:
        return {"task": "regression", "outputs": [name]}
    if n_outputs != len(labels):
        raise ValueError(
            f"The model gives {n_outputs} logits, but classes names {len(labels)}. Give one label for each logit"
            + (", or none: one logit is a regression." if n_outputs == 1 else ".")
        )
    dtype = label_dtype(labels)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(object if dtype is str else dtype))
    values: Any = [str(label).encode() for label in labels.tolist()] if dtype is str else labels.astype(dtype)
    graph.initializer.append(helper.make_tensor("tabkd/labels", kind, labels.shape, values))
    graph.node.extend([
        helper.make_node("ArgMax", [name], ["tabkd/code"], "tabkd/code", axis=1, keepdims=0),
        helper.make_node("Gather", ["tabkd/labels", "tabkd/code"], ["label"], "tabkd/label", axis=0),
    ])  # fmt: skip
    graph.output.insert(0, helper.make_tensor_value_info("label", kind, ["N"]))
    return {
        "task": "classification", "outputs": ["label", name], "classes": labels.tolist(), "threshold": None,
    }  # fmt: skip

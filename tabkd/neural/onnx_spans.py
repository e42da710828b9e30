"""A question answering network as one ONNX file: tokens in, starts and ends out, proved to answer as PyTorch does."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tabkd._compat import optional_import
from tabkd.export.parity import TOLERANCE, ParityError
from tabkd.files import output_path
from tabkd.neural.networks import evaluating
from tabkd.neural.onnx import OPSET, _check_model, _running, _token_inputs, _tokenizer_json, _written
from tabkd.neural.parity import random_tokens

__all__ = ["export_spans"]

_OUTPUTS = ("start_logits", "end_logits")


class _Spans(nn.Module):
    """Starts and ends, from tensors in a fixed order."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        answer = self.model(**dict(zip(self.names, inputs, strict=True)))
        return answer.start_logits, answer.end_logits


def export_spans(
    model: nn.Module,
    tokenizer: Any,
    path: str | Path,
    batches: Sequence[Mapping[str, Tensor]],
    settings: dict[str, Any],
) -> Path:
    """Write a question answering network, unless its file answers otherwise.

    It is compared on windows, and on random tokens of several lengths, with padding and without; what stands at padding
    is left out.

    Parameters
    ----------
    model : PreTrainedModel
        Returns ``start_logits`` and ``end_logits``.
    tokenizer : PreTrainedTokenizerBase
    path : str or Path
    batches : sequence of mappings of Tensor
        Windows.
    settings : dict
        ``max_length`` and what else the file's metadata say, beside the tokenizer.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the answers differ (``ParityError``).
    """
    path, length = output_path(path), settings["max_length"]
    _check_model(model)
    names = _token_inputs(model, tokenizer)
    network = _Spans(model, names)
    feeds = [{name: batch[name].numpy() for name in names} for batch in batches]
    feeds += [
        random_tokens(names, n_rows, n, len(tokenizer), padding=padding)
        for n_rows in (1, 3) for n in sorted({2, length // 2, length}) for padding in (False, True)
    ]  # fmt: skip
    with evaluating(network):
        graph = _traced(network, feeds[-1])
        with _running():
            proof = _proved(network, graph.SerializeToString(), feeds)
    told = {"tokenizer": _tokenizer_json(tokenizer, length), **settings, "proof": proof}
    for key, value in told.items():
        graph.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))
    return _written(path, graph.SerializeToString())


def _traced(network: _Spans, example: Mapping[str, np.ndarray]) -> Any:
    onnx = optional_import("onnx", needed_by="to_onnx", extra="all")
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder, "model.onnx")
        warnings.simplefilter("ignore")  # as for the other networks
        torch.onnx.export(
            network, tuple(torch.as_tensor(values) for values in example.values()), path, dynamo=False,
            opset_version=OPSET, input_names=list(example), output_names=list(_OUTPUTS),
            dynamic_axes={name: {0: "N", 1: "length"} for name in (*example, *_OUTPUTS)},
        )  # fmt: skip
        return onnx.load(path)


def _proved(network: _Spans, content: bytes, feeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Compare the file with PyTorch; differences are in units of a logit's range, as the logits have no scale."""
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = 0.0
    for feed in feeds:
        with torch.no_grad():
            expected = np.stack([part.numpy() for part in network(*(torch.as_tensor(v) for v in feed.values()))])
        found, valid = np.stack(session.run(None, dict(feed))), feed["attention_mask"].astype(bool)
        scale = np.abs(expected[:, valid]).max() + 1.0
        worst = max(worst, float((np.abs(found - expected)[:, valid] / scale).max()))
    if not worst <= TOLERANCE:
        raise ParityError(
            f"The file is not written: its logits differ from PyTorch's by up to {worst:.2g} of their size. A model "
            "that decides in Python, by the length or the values of its input, is frozen in the file."
        )
    return {"windows": float(sum(len(feed["attention_mask"]) for feed in feeds)), "largest_difference": worst}

"""Networks for tables as nodes of an ONNX graph: plain operators, which old runtimes know."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from tabkd.column import FIRST_CATEGORY, MISSING, UNKNOWN
from tabkd.export.categories import labelled
from tabkd.neural.table_models import Block, FTTransformer, Perceptron
from tabkd.neural.table_reader import CLIP, TableReader

__all__ = ["add_network"]


def add_network(table: Any, reader: TableReader, model: nn.Module) -> str:
    """Append what a reader and a network make of raw columns.

    Parameters
    ----------
    table : tabkd.export.table.Table
        The columns that the reader was fitted on, in their order.
    reader : TableReader
    model : Perceptron or FTTransformer

    Returns
    -------
    str
        Logits of shape (n_samples, n_outputs) in the graph's precision.
    """
    nodes = _Nodes(table.graph)
    coded = np.array([column.kind == "category" for column in reader.encoder.columns])
    numbers = _add_numbers(table, reader, np.flatnonzero(~coded).tolist())
    codes = [_add_codes(table, reader, i) for i in np.flatnonzero(coded).tolist()]
    if isinstance(model, Perceptron):
        return _add_perceptron(nodes, numbers, codes, reader, model)
    assert isinstance(model, FTTransformer)
    return _add_transformer(nodes, numbers, codes, model)


class _Nodes:
    """Layers as nodes."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.add = graph, graph.add

    def constant(self, tensor: Any) -> str:
        """Parameters, or numbers."""
        values = tensor.detach().cpu().numpy() if isinstance(tensor, Tensor) else np.asarray(tensor)
        return self.graph.constant(values)

    def linear(self, value: str, layer: Any) -> str:
        """A layer's weights and bias."""
        return self.add("Add", self.add("MatMul", value, self.constant(layer.weight.T)), self.constant(layer.bias))

    def norm(self, value: str, layer: Any) -> str:
        """Normalisation over the last axis, as one operator only in opset 17."""
        if isinstance(layer, nn.Identity):
            return value
        centred = self.add("Sub", value, self.add("ReduceMean", value, axes=[-1], keepdims=1))
        variance = self.add("ReduceMean", self.add("Mul", centred, centred), axes=[-1], keepdims=1)
        spread = self.add("Sqrt", self.add("Add", variance, self.constant(float(layer.eps))))
        scaled = self.add("Mul", self.add("Div", centred, spread), self.constant(layer.weight))
        return self.add("Add", scaled, self.constant(layer.bias))

    def first(self, value: str, n: int) -> str:
        """The first tokens."""
        return self.add("Slice", value, self.constant([0]), self.constant([n]), self.constant([1]))


def _add_numbers(table: Any, reader: TableReader, positions: list[int]) -> list[str]:
    """Numbers without gaps and of one scale, then the flags of the gaps; nothing where there are none."""
    if not positions:
        return []
    graph, dtype = table.graph, np.float32
    chosen = type(table)(graph, table.select(positions), table.sample)
    value = chosen.numbers(dtype)
    missing = graph.add("IsNaN", value)
    value = graph.add("Where", missing, graph.constant(reader.fill, dtype), value)
    value = graph.add("Sub", value, graph.constant(reader.shift, dtype))
    value = graph.add("Mul", value, graph.constant(reader.scale, dtype))
    value = graph.add("Clip", value, graph.constant(-CLIP, dtype), graph.constant(CLIP, dtype))
    flags = [graph.columns(graph.add("Cast", missing, to=1), reader.gaps)] if reader.gaps else []
    return [graph.cast(part) for part in (value, *flags)]


def _add_codes(table: Any, reader: TableReader, position: int) -> str:
    """Codes of one category as float32."""
    (part,), known = table.select([position]), reader.encoder.columns[position].categories
    codes = [MISSING, *range(FIRST_CATEGORY, FIRST_CATEGORY + len(known)), UNKNOWN]
    return labelled(table.graph, part, [None, *known], np.array(codes, dtype=float))


def _add_perceptron(nodes: _Nodes, numbers: list[str], codes: list[str], reader: TableReader, model: Perceptron) -> str:
    graph, parts = nodes.graph, list(numbers)
    for code, size in zip(codes, reader.sizes, strict=True):
        wanted = graph.constant(np.arange(MISSING, size, dtype=float)[None], np.float32)
        parts.append(graph.add("Cast", graph.add("Equal", code, wanted), to=graph.float_type))
    value = graph.concat(parts)
    for layer in model.layers:
        value = graph.add("Relu", nodes.linear(value, layer))
    return nodes.linear(value, model.head)


def _add_transformer(nodes: _Nodes, numbers: list[str], codes: list[str], model: FTTransformer) -> str:
    tokens = _add_tokens(nodes, numbers, codes, model)
    for block in model.blocks:
        last = block is model.blocks[-1]
        tokens = _add_block(nodes, tokens, block, 1 if last else len(model.bias) + 1)  # type: ignore[arg-type]
    gathered = nodes.add("Reshape", tokens, nodes.constant([-1, model.shape.width]))
    return nodes.linear(nodes.add("Relu", nodes.norm(gathered, model.norm)), model.head)


def _add_tokens(nodes: _Nodes, numbers: list[str], codes: list[str], model: FTTransformer) -> str:
    """The gathering token first, then the numbers' and the categories'."""
    graph, width, bias = nodes.graph, model.shape.width, model.bias.detach().cpu().numpy()
    parts = []
    for i, value in enumerate(numbers):  # the numbers, then the flags, each on the tokens that they are part of
        owners = np.arange(model.n_numbers) if i == 0 else model.gaps.numpy()
        rows = (model.weight if i == 0 else model.missing).detach().cpu().numpy()
        spread = np.zeros((len(rows), model.n_numbers, width))
        spread[np.arange(len(rows)), owners] = rows
        parts.append(nodes.add("MatMul", value, nodes.constant(spread.reshape(len(rows), -1))))
    tokens = []
    if parts:
        total = parts[0] if len(parts) == 1 else nodes.add("Add", *parts)
        tokens.append(nodes.add("Reshape", total, nodes.constant([-1, model.n_numbers, width])))
    if codes:
        starts = model.starts.numpy()
        table = model.codes.detach().cpu().numpy().copy()
        table[starts] = 0  # an unknown category
        places = nodes.add("Add", nodes.add("Cast", graph.concat(codes), to=7), nodes.constant(starts))
        tokens.append(nodes.add("Gather", nodes.constant(table), places, axis=0))
    columns = nodes.add("Add", graph.add("Concat", *tokens, axis=1) if len(tokens) > 1 else tokens[0],
                        nodes.constant(bias))  # fmt: skip
    nothing = nodes.add("Mul", nodes.first(columns, 1), nodes.constant(0.0))
    gathering = nodes.add("Add", nothing, nodes.constant(model.gather))
    return nodes.add("Concat", gathering, columns, axis=1)


def _add_block(nodes: _Nodes, tokens: str, block: Block, n_kept: int) -> str:
    width = block.query.weight.shape[0]
    size = width // block.n_heads
    read = nodes.norm(tokens, block.before_attention)
    kept, asking = (nodes.first(value, 1) if n_kept == 1 else value for value in (tokens, read))

    def heads(value: str, layer: nn.Module, order: list[int]) -> str:
        parted = nodes.add("Reshape", nodes.linear(value, layer), nodes.constant([0, -1, block.n_heads, size]))
        return nodes.add("Transpose", parted, perm=order)

    query, key = heads(asking, block.query, [0, 2, 1, 3]), heads(read, block.key, [0, 2, 3, 1])
    scores = nodes.add("Mul", nodes.add("MatMul", query, key), nodes.constant(size**-0.5))
    found = nodes.add("MatMul", nodes.add("Softmax", scores, axis=-1), heads(read, block.value, [0, 2, 1, 3]))
    found = nodes.add("Reshape", nodes.add("Transpose", found, perm=[0, 2, 1, 3]), nodes.constant([0, -1, width]))
    kept = nodes.add("Add", kept, nodes.linear(found, block.out))
    read = nodes.norm(kept, block.before_gate)
    gated = nodes.add("Mul", nodes.linear(read, block.widen), nodes.add("Relu", nodes.linear(read, block.gate)))
    return nodes.add("Add", kept, nodes.linear(gated, block.narrow))

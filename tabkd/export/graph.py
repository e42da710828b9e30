"""An ONNX graph under construction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tabkd._compat import optional_import

__all__ = ["COMPACT_ML_OPSET", "IR_VERSION", "ML_OPSET", "OPSET", "Graph"]

#: Old enough for the runtimes of the last years: what ``onnx`` would choose by itself is too new for most of them.
OPSET, ML_OPSET, IR_VERSION = 15, 3, 8
#: Brings ``TreeEnsemble``, which onnxruntime runs rightly from 1.24 on.
COMPACT_ML_OPSET = 5
#: No column is likely to be called so, and names of columns are checked against it.
_PREFIX = "tabkd/"


class Graph:
    """Nodes, constants, inputs and outputs of one ONNX file.

    Parameters
    ----------
    dtype : type
        ``numpy.float32`` or ``numpy.float64``: what numbers are computed in.
    compact : bool
        Whether few bytes matter more than old runtimes.
    """

    def __init__(self, dtype: type = np.float32, *, compact: bool = False) -> None:
        self.dtype = dtype
        self.compact = compact
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.opsets = {"": OPSET}
        #: Names of the estimators that skl2onnx converted: these may round otherwise than scikit-learn does.
        self.converted: list[str] = []
        #: Whether a curve may be so steep that what float32 rounds shows in it.
        self.steep = False
        self._known: dict[tuple[Any, ...], str] = {}
        self._count = 0

    @property
    def float_type(self) -> int:
        """ONNX's number for the graph's precision."""
        return self._type(self.dtype)

    @property
    def mixes_trees(self) -> bool:
        """Whether trees are of both operators, of which no version of ONNX has more than one."""
        kinds = {node.op_type for node in self.nodes}
        return "TreeEnsemble" in kinds and not kinds.isdisjoint({"TreeEnsembleRegressor", "TreeEnsembleClassifier"})

    @property
    def helper(self) -> Any:
        """``onnx.helper``."""
        return optional_import("onnx.helper", needed_by="to_onnx", extra="all")

    def name(self) -> str:
        """A name that nothing else in the graph has."""
        self._count += 1
        return f"{_PREFIX}{self._count}"

    def input(self, name: str, dtype: Any, *shape: Any) -> str:
        """Declare an input; its first dimension are the rows."""
        if not name or name.startswith(_PREFIX):
            raise ValueError(f"A column is called {name!r}, which no input of an ONNX file can be. Rename it.")
        self.inputs.append(self.helper.make_tensor_value_info(name, self._type(dtype), ["N", *shape]))
        return name

    def output(self, name: str, value: str, dtype: Any, *shape: Any) -> str:
        """Declare an output under ``name``, or under ``name_`` where an input is called so."""
        taken = {info.name for info in self.inputs}
        while name in taken:
            name += "_"
        if value.startswith(_PREFIX):
            self._rename(value, name)
        else:
            self.nodes.append(self.helper.make_node("Identity", [value], [name]))  # an input, answered as it is
        self.outputs.append(self.helper.make_tensor_value_info(name, self._type(dtype), ["N", *shape]))
        return name

    def constant(self, value: Any, dtype: type | None = None) -> str:
        """Name of a constant; numbers with a point are held in ``dtype``, or in the graph's precision."""
        array = np.asarray(value)
        if array.dtype.kind == "f":
            array = array.astype(dtype or self.dtype)
        text = array.dtype.kind in "OUS"
        key = (str(array.dtype), array.shape, tuple(array.ravel().tolist()) if text else array.tobytes())
        if key not in self._known:
            name = self._known[key] = self.name()
            if text:
                encoded = [str(item).encode() for item in array.ravel().tolist()]
                tensor = self.helper.make_tensor(name, self._type(str), array.shape, encoded)
            else:
                tensor = self.tensor(array, name)
            self.constants.append(tensor)
        return self._known[key]

    def tensor(self, array: np.ndarray, name: str | None = None) -> Any:
        """An array as ONNX holds it."""
        return optional_import("onnx.numpy_helper", needed_by="to_onnx", extra="all").from_array(array, name)

    def add(self, op: str, *inputs: str, domain: str = "", n_outputs: int = 1, **attributes: Any) -> Any:
        """Append a node; returns the name of its output, or their names."""
        if domain:
            self.opsets.setdefault(domain, ML_OPSET)
        names = [self.name() for _ in range(n_outputs)]
        self.nodes.append(self.helper.make_node(op, list(inputs), names, domain=domain, **attributes))
        return names[0] if n_outputs == 1 else names

    def concat(self, parts: list[str]) -> str:
        """Columns side by side."""
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=1)

    def mean(self, parts: list[str]) -> str:
        """Mean of tensors of one shape."""
        if len(parts) == 1:
            return parts[0]
        total = parts[0]
        for part in parts[1:]:
            total = self.add("Add", total, part)
        return self.add("Mul", total, self.constant(1.0 / len(parts)))

    def weighted_mean(self, parts: Sequence[str], weights: Sequence[float] | None) -> str:
        """Weighted mean of tensors of one shape; None weighs them alike."""
        if weights is None or len(parts) == 1:
            return self.mean(list(parts))
        shares = np.asarray(weights, dtype=float) / np.sum(weights)
        scaled = [self.add("Mul", part, self.constant(share)) for part, share in zip(parts, shares, strict=True)]
        return self.add("Sum", *scaled)

    def cast(self, value: str) -> str:
        """float32 in the graph's precision."""
        return self.as_type(value, np.float32, self.dtype)

    def as_type(self, value: str, given: type, wanted: type) -> str:
        """Numbers of the type ``given`` as numbers of the type ``wanted``."""
        return value if given is wanted else self.add("Cast", value, to=self._type(wanted))

    def columns(self, value: str, positions: Any) -> str:
        """Some columns of a matrix."""
        # With a name: onnxruntime 1.20 fuses such nodes, and calls what it makes of two without names the same.
        return self.add("Gather", value, self.constant(np.asarray(positions, np.int64)), axis=1, name=self.name())

    def model(self) -> Any:
        """The finished file, checked, as an ``onnx.ModelProto``."""
        onnx = optional_import("onnx", needed_by="to_onnx", extra="all")
        graph = self.helper.make_graph(self.nodes, "tabkd", self.inputs, self.outputs, self.constants)
        opsets = [self.helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
        model = self.helper.make_model(graph, opset_imports=opsets, producer_name="tabkd", ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model

    def _rename(self, old: str, new: str) -> None:
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]

    def _type(self, dtype: Any) -> int:
        if dtype is str:
            return self.helper.np_dtype_to_tensor_dtype(np.dtype(object))
        return self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

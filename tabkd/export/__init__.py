"""A fitted student as one ONNX file: columns, trees, link, threshold and labels, proved to answer as Python does."""

from __future__ import annotations

from tabkd.export.parity import ParityError
from tabkd.export.write import to_onnx

__all__ = ["ParityError", "to_onnx"]

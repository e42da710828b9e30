"""Distillation of neural networks: objectives, stages, layer surgery, texts (``pip install 'tabkd[neural]'``)."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "ActivationBoundary": "terms",
    "Angles": "terms",
    "Attention": "terms",
    "Distances": "terms",
    "Embedding": "terms",
    "FTTransformerClassifier": "tables",
    "FTTransformerRegressor": "tables",
    "EmbeddingStudent": "embedding",
    "HardLabels": "terms",
    "Hidden": "terms",
    "MLM": "pretraining_terms",
    "MaskedLanguageModel": "pretraining",
    "ModuleClassifier": "module",
    "ModuleRegressor": "module",
    "NSP": "pretraining_terms",
    "QuestionAnswerer": "answering",
    "Relations": "terms",
    "SelfDistillation": "exits",
    "Similarities": "vector_terms",
    "SoftLabels": "terms",
    "Stage": "stages",
    "TabularMLPClassifier": "tables",
    "TabularMLPRegressor": "tables",
    "TransformerClassifier": "text",
    "TransformerRegressor": "text",
    "add_tokens": "vocabulary",
    "Vectors": "vector_terms",
    "check_labels": "agreement",
    "check_vocabulary": "agreement",
    "empty_student": "empty",
    "export_module": "onnx",
    "export_text": "onnx",
    "new_words": "vocabulary",
    "progressive": "stages",
    "shrink": "layers",
    "to_distilbert": "layers",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tabkd.neural' has no attribute {name!r}")
    from tabkd._compat import optional_import

    for package in ("torch", "transformers"):
        optional_import(package, needed_by=f"tabkd.neural.{name}", extra="neural")
    return getattr(importlib.import_module(f"tabkd.neural.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)

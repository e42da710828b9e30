"""Knowledge distillation for tables: train on every column you have, predict from the few you will have later."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tabkd.blend import BlendedEstimator
    from tabkd.budget import FeatureBudgetSelector
    from tabkd.check import TableCheck, check_tables
    from tabkd.estimator import DistilledEstimator
    from tabkd.evaluate import DistillationReport, evaluate_distillation
    from tabkd.impute import Impute
    from tabkd.munge import Munge
    from tabkd.mutual import MutualDistilledEstimator
    from tabkd.privileged import SelectPrivileged
    from tabkd.search import DistillationSearchCV
    from tabkd.text_spans import TextSpans

__version__ = "0.1.0"

_HOMES = {
    "BlendedEstimator": "tabkd.blend",
    "DistilledEstimator": "tabkd.estimator",
    "DistillationReport": "tabkd.evaluate",
    "DistillationSearchCV": "tabkd.search",
    "FeatureBudgetSelector": "tabkd.budget",
    "Impute": "tabkd.impute",
    "Munge": "tabkd.munge",
    "MutualDistilledEstimator": "tabkd.mutual",
    "SelectPrivileged": "tabkd.privileged",
    "TableCheck": "tabkd.check",
    "TextSpans": "tabkd.text_spans",
    "check_tables": "tabkd.check",
    "evaluate_distillation": "tabkd.evaluate",
}
__all__ = [
    "BlendedEstimator",
    "DistillationReport",
    "DistillationSearchCV",
    "DistilledEstimator",
    "FeatureBudgetSelector",
    "Impute",
    "Munge",
    "MutualDistilledEstimator",
    "SelectPrivileged",
    "TableCheck",
    "TextSpans",
    "__version__",
    "check_tables",
    "evaluate_distillation",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tabkd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

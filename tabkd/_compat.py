"""Private scikit-learn names, and what every part of the package asks of a foreign estimator."""

from __future__ import annotations

import copy
import importlib
import inspect
from types import ModuleType
from typing import Any

import numpy as np
from sklearn import __version__ as sklearn_version
from sklearn import get_config
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import KFold, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, get_tags
from sklearn.utils._indexing import _get_column_indices, _safe_indexing
from sklearn.utils.fixes import parse_version
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import _check_sample_weight

__all__ = [
    "SCALER_ROUNDS_STATISTICS",
    "BaseComposition",
    "check_sample_weight",
    "clone_estimator",
    "column_indices",
    "fit_weighted",
    "gives_probabilities",
    "is_catboost",
    "is_fitted_selector",
    "is_regressor",
    "is_search",
    "last_step",
    "nested_estimators",
    "optional_import",
    "read_seed",
    "scores_labels",
    "seeded",
    "seeds_of",
    "take_rows",
    "takes_groups",
    "takes_weights",
]

#: Their ``**params`` take weights where metadata is routed alone.
_ROUTING = {"OneVsRestClassifier", "OneVsOneClassifier", "FixedThresholdClassifier", "TunedThresholdClassifierCV"}

BaseComposition = _BaseComposition
column_indices = _get_column_indices
take_rows = _safe_indexing
#: From this release on StandardScaler rounds its mean and scale to the type of the table, others round what comes out.
SCALER_ROUNDS_STATISTICS = parse_version(sklearn_version) >= parse_version("1.8")


def check_sample_weight(sample_weight: Any, X: Any, **options: Any) -> np.ndarray:
    """scikit-learn's, some releases of which let weights pass that are all zero."""
    weight = _check_sample_weight(sample_weight, X, **options)
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


def optional_import(module: str, *, needed_by: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{needed_by} needs {module.partition('.')[0]}: pip install 'tabkd[{extra}]'") from error


def is_search(estimator: Any) -> bool:
    """Whether ``estimator`` chooses another estimator's parameters (``GridSearchCV`` and its kin)."""
    chooses = hasattr(estimator, "estimator") and hasattr(estimator, "refit")
    return chooses and not isinstance(estimator, TunedThresholdClassifierCV)


def is_fitted_selector(spec: Any) -> bool:
    """Whether ``spec`` is a feature selector that has chosen already."""
    try:
        spec.get_support()
    except (AttributeError, ValueError):  # NotFittedError is both
        return False
    return True


def gives_probabilities(estimator: Any) -> bool:
    """Whether a classifier has ``predict_proba``; stacks without a final estimator of their own have it once fitted."""
    last = last_step(estimator)
    stack = type(last).__name__ == "StackingClassifier" and last.final_estimator is None
    return stack or hasattr(estimator, "predict_proba")


def is_regressor(estimator: Any) -> bool:
    """Whether ``estimator`` predicts numbers, by its tags."""
    return get_tags(estimator).estimator_type == "regressor"


def last_step(estimator: Any) -> Any:
    """The model inside searches and at the end of pipelines."""
    while True:
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        elif is_search(estimator):
            estimator = estimator.estimator
        else:
            return estimator


def is_catboost(estimator: Any) -> bool:
    """Whether ``estimator`` is one of CatBoost's models, asked without importing CatBoost."""
    return any(base.__module__.partition(".")[0] == "catboost" for base in type(estimator).__mro__)


def clone_estimator(estimator: Any) -> Any:
    """Clone like scikit-learn, also where CatBoost's parameters trip ``sklearn.base.clone``.

    ``CatBoostClassifier(cat_features=[...])`` copies the list it is given, which ``clone`` takes
    for a constructor that changes its parameters.
    """
    try:
        return clone(estimator)
    except RuntimeError:
        if is_catboost(estimator):
            return type(estimator)(**copy.deepcopy(estimator.get_params(deep=False)))
        return copy.deepcopy(estimator)


def made_again(estimator: Any, params: dict[str, Any]) -> Any:
    """A new estimator of these parameters, with what else scikit-learn's ``clone`` carries over."""
    new = type(estimator)(**params)
    for name in ("_metadata_request", "_sklearn_output_config"):
        if hasattr(estimator, name):
            setattr(new, name, copy.deepcopy(getattr(estimator, name)))
    return new


def nested_estimators(estimator: Any) -> dict[str, Any]:
    """The estimators among the parameters of ``estimator``, under their nested names; none inside a frozen one."""
    if isinstance(estimator, FrozenEstimator):
        return {}
    params = estimator.get_params(deep=True)
    frozen = tuple(f"{name}__" for name, value in params.items() if isinstance(value, FrozenEstimator))
    return {
        name: value
        for name, value in params.items()
        if hasattr(value, "get_params") and not isinstance(value, type) and not name.startswith(frozen)
    }


def takes_groups(search: Any) -> bool:
    """Whether the splitter of a search is to be handed ``groups``."""
    routed = get_config()["enable_metadata_routing"]
    return not routed or bool(get_routing_for_object(search).consumes("fit", {"groups"}))


def seeded(estimator: Any, seed: int | None) -> Any:
    """Set every ``random_state`` in ``estimator`` and its parts to ``seed``; ``None`` leaves them."""
    if seed is None:
        return estimator
    seeds = {}
    parts = {f"{name}__": part for name, part in nested_estimators(estimator).items()}
    for prefix, part in {"": estimator, **parts}.items():
        if is_catboost(part):
            names = [n for n in ("random_state", "random_seed") if n in part.get_params(deep=False)]
            seeds[prefix + (names or ["random_seed"])[0]] = seed
            continue
        params = part.get_params(deep=False)
        if params.get("random_state") == "deprecated":  # a TargetEncoder of scikit-learn 1.9 draws by its splitter
            if isinstance(params.get("cv"), int):
                seeds[prefix + "cv"] = KFold(params["cv"], shuffle=True, random_state=seed)
        elif "random_state" in params:
            seeds[prefix + "random_state"] = seed
    return estimator.set_params(**seeds) if seeds else estimator


def seeds_of(seed: int | None, n: int) -> list[int | None]:
    """A seed for each of ``n`` models, which may be equal, the first of them ``seed``."""
    if seed is None:
        return [None] * n
    return [seed, *check_random_state(seed).randint(np.iinfo(np.int32).max, size=n - 1).tolist()]


def read_seed(random_state: Any) -> int | None:
    """One integer for folds and clones, or None."""
    if random_state is None or isinstance(random_state, int | np.integer):
        return None if random_state is None else int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def scores_labels(scorer: Any) -> bool:
    """Whether a scorer reads labels, and so depends on a threshold; True where it does not say."""
    return getattr(scorer, "_response_method", "predict") == "predict"


def fit_weighted(estimator: Any, X: Any, y: Any, sample_weight: np.ndarray | None, **fit_params: Any) -> Any:
    """Fit, with the weights handed to whichever part of ``estimator`` takes them.

    Raises
    ------
    ValueError
        If there are weights and ``estimator`` takes none.
    """
    if sample_weight is not None:
        fit_params |= {_weight_name(estimator): sample_weight}
    return estimator.fit(X, y, **fit_params)


def takes_weights(function: Any) -> bool:
    """Whether a ``fit`` or scorer takes ``sample_weight``, by name or among its ``**params`` (``VotingClassifier``)."""
    if type(getattr(function, "__self__", None)).__name__ in _ROUTING and not get_config()["enable_metadata_routing"]:
        return False
    parameters = inspect.signature(getattr(function, "_score_func", function)).parameters  # of a scorer its function's
    return "sample_weight" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _weight_name(estimator: Any) -> str:
    if isinstance(estimator, Pipeline) and not get_config()["enable_metadata_routing"]:
        step, last = estimator.steps[-1]
        return f"{step}__{_weight_name(last)}"
    if is_search(estimator):
        return _weight_name(estimator.estimator)
    if isinstance(estimator, TransformedTargetRegressor) and estimator.regressor is not None:
        return _weight_name(estimator.regressor)  # which is handed all that fit is
    if isinstance(estimator, Pipeline) or takes_weights(estimator.fit):
        return "sample_weight"
    raise ValueError(
        f"{type(estimator).__name__} takes no sample_weight, but weights were given. "
        "Use an estimator whose fit takes sample_weight, or fit without weights."
    )

"""What the command line calls by name: models with settings that suit most tables, and metrics."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer

from tabkd._compat import scores_labels
from tabkd.files import InputError, needed
from tabkd.scoring import Judge
from tabkd.targets import Targets
from tabkd.words import near

__all__ = ["MODELS", "Metric", "check_metric", "make_model", "read_metric", "task_of", "threads_for"]

LEARNING_RATE = 0.05
#: Values below which a second thread costs more than it brings.
SMALL_TABLE = 100_000


@dataclass(frozen=True)
class Metric:
    """How students are judged.

    Attributes
    ----------
    name : str
        As the user wrote it, or the name of the default.
    scoring : str or callable
        A scikit-learn scorer.
    own : bool
        Whether it is a function of the user's own.
    """

    name: str
    scoring: Any
    own: bool = False

    @property
    def of_labels(self) -> bool:
        """Whether it reads labels, and so depends on a threshold."""
        return scores_labels(get_scorer(self.scoring))


def _lightgbm(regression: bool, rounds: int, threads: int | None, text: list[str]) -> Any:
    import lightgbm

    model = lightgbm.LGBMRegressor if regression else lightgbm.LGBMClassifier
    return model(learning_rate=LEARNING_RATE, n_estimators=rounds, n_jobs=threads, verbose=-1)


def _xgboost(regression: bool, rounds: int, threads: int | None, text: list[str]) -> Any:
    xgboost = needed("xgboost", needed_by="A model named xgboost", extra="xgboost")
    model = xgboost.XGBRegressor if regression else xgboost.XGBClassifier
    return model(learning_rate=LEARNING_RATE, n_estimators=rounds, n_jobs=threads)


def _catboost(regression: bool, rounds: int, threads: int | None, text: list[str]) -> Any:
    import catboost

    model = catboost.CatBoostRegressor if regression else catboost.CatBoostClassifier
    own = {"cat_features": text} if text else {}
    quiet = {"verbose": False, "allow_writing_files": False}
    return model(learning_rate=LEARNING_RATE, iterations=rounds, thread_count=threads or -1, **quiet, **own)


def _random_forest(regression: bool, rounds: int, threads: int | None, text: list[str]) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    return (RandomForestRegressor if regression else RandomForestClassifier)(rounds, min_samples_leaf=5, n_jobs=threads)


def _extra_trees(regression: bool, rounds: int, threads: int | None, text: list[str]) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    return (ExtraTreesRegressor if regression else ExtraTreesClassifier)(rounds, min_samples_leaf=5, n_jobs=threads)


def _tree(regression: bool, rounds: int, threads: int | None, text: list[str]) -> Any:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    return (DecisionTreeRegressor if regression else DecisionTreeClassifier)(max_depth=6, min_samples_leaf=20)


#: Makers of models by name.
MODELS: dict[str, Callable[[bool, int, int | None, list[str]], Any]] = {
    "lightgbm": _lightgbm,
    "catboost": _catboost,
    "xgboost": _xgboost,
    "random_forest": _random_forest,
    "extra_trees": _extra_trees,
    "tree": _tree,
}


def make_model(
    name: str, role: str, *, regression: bool, rounds: int, threads: int | None = None, text: Sequence[str] = ()
) -> Any:
    """A model by name.

    Parameters
    ----------
    name : str
        A key of ``MODELS``.
    role : {"teacher", "student"}
        For errors.
    regression : bool
    rounds : int
        Number of trees, where there are several.
    threads : int or None
        None leaves them to the library.
    text : sequence of str
        Text columns, which CatBoost reads as categories of its own, and other models as codes.

    Returns
    -------
    estimator

    Raises
    ------
    InputError
        If there is no model of that name.
    """
    if name not in MODELS:
        hint = " Transformers are for tabkd fit with --text-columns." if Path(name).exists() or "/" in name else ""
        raise InputError(f"--{role} {name} is unknown.{near(name, MODELS)} Choose from {', '.join(MODELS)}.{hint}")
    return MODELS[name](regression, rounds, threads, list(text))


def threads_for(n_values: int, n_jobs: int | None) -> int | None:
    """Threads of a model: those that this machine lets us use, one where more would only wait for each other.

    Parameters
    ----------
    n_values : int
        Rows times columns.
    n_jobs : int or None
        Fits under way at once; if there are several, they share the cores in the estimator's way.

    Returns
    -------
    int or None
    """
    if n_jobs not in (None, 1):
        return None
    return 1 if n_values < SMALL_TABLE else joblib.cpu_count()


def read_metric(name: str | None, *, regression: bool, labels: np.ndarray | None) -> Metric:
    """A metric by name.

    Parameters
    ----------
    name : str or None
        A scikit-learn scorer, or ``module:function`` for a ``function(y_true, y_pred)`` that returns a number, greater
        is better; the module may lie in the current directory. None is log-loss, or squared error.
    regression : bool
    labels : ndarray of shape (2,) or None
        What class codes stand for, where the target is coded: a function of your own is given labels.

    Returns
    -------
    Metric

    Raises
    ------
    InputError
        If there is no such scorer, or the function cannot be imported.
    """
    if name is None:
        default = "neg_mean_squared_error" if regression else "neg_log_loss"
        return Metric(default, default)
    if ":" in name:
        return Metric(name, make_scorer(_on_labels(_import_function(name), labels)), own=True)
    if name not in get_scorer_names():
        raise InputError(
            f"--metric {name} is not one of scikit-learn's scorers.{near(name, get_scorer_names())} "
            "For a function of your own write module:function."
        )
    return Metric(name, name)


def task_of(metric: str | None) -> str | None:
    """``"regression"`` where scikit-learn's scorer of that name judges values, else None: the target tells.

    Parameters
    ----------
    metric : str or None

    Returns
    -------
    str or None
    """
    name = metric or ""
    values = name in ("r2", "explained_variance") or "_error" in name or "deviance" in name
    return "regression" if values and name in get_scorer_names() else None


def check_metric(metric: Metric, targets: Targets) -> None:
    """Score the true answers, so that a metric that does not fit the target is refused before anything is fitted.

    Raises
    ------
    InputError
        If the metric raises, or gives no number.
    """
    try:
        Judge(targets, scoring=metric.scoring).check()
    except ValueError as error:
        raise InputError(f"--metric {metric.name}: {error}") from error


def _import_function(name: str) -> Callable[..., float]:
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's own module may raise anything
        raise InputError(
            f"--metric {name}: cannot import {module_name!r} ({type(error).__name__}: {error}). "
            "The module must be installed or lie in the current directory."
        ) from error
    finally:
        sys.path.remove(here)
    function = getattr(module, attribute, None)
    if not callable(function):
        raise InputError(
            f"--metric {name}: {module_name!r} has no function {attribute!r}.{near(attribute, vars(module))}"
        )
    return function


def _on_labels(function: Callable[..., float], labels: np.ndarray | None) -> Callable[..., float]:
    if labels is None:
        return function

    @functools.wraps(function)
    def score(y_true: np.ndarray, y_pred: np.ndarray, **weights: Any) -> float:
        return function(labels[y_true], labels[y_pred], **weights)

    return score

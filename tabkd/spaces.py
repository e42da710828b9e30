"""What a search may choose from: default spaces by family of model, and how a trial draws from any space."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from inspect import signature
from typing import Any

from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tabkd._compat import last_step, nested_estimators
from tabkd.families import BOOSTERS, family
from tabkd.frames import column_positions
from tabkd.privileged import SelectPrivileged
from tabkd.rows import Rows
from tabkd.settings import is_frozen
from tabkd.words import near

__all__ = ["Space", "check_space", "default_space", "distillation_space", "draw", "parameter_names"]

#: Nested parameter names to Optuna distributions, to lists of choices, or to choices by name; or a function of a trial.
Space = Mapping[str, Any] | Callable[[Trial], Mapping[str, Any]]

_RATE = FloatDistribution(0.01, 0.3, log=True)
_SHARE = FloatDistribution(0.3, 1.0)
_LEAVES = IntDistribution(4, 128, log=True)
_LEAF_ROWS = IntDistribution(5, 200, log=True)
_PENALTY = FloatDistribution(1e-3, 30.0, log=True)
_FOREST = {
    "max_features": FloatDistribution(0.1, 1.0),
    "min_samples_leaf": IntDistribution(1, 50, log=True),
    "max_depth": IntDistribution(4, 24),
}

#: By family, or by the beginning of the name of one of scikit-learn's classes.
_SPACES: dict[str, dict[str, BaseDistribution]] = {
    "lightgbm": {
        "learning_rate": _RATE,
        "num_leaves": _LEAVES,
        "min_child_samples": _LEAF_ROWS,
        "colsample_bytree": _SHARE,
        "reg_lambda": _PENALTY,
    },
    "catboost": {
        "learning_rate": _RATE,
        "depth": IntDistribution(3, 9),
        "l2_leaf_reg": FloatDistribution(0.5, 30.0, log=True),
        "random_strength": FloatDistribution(0.1, 10.0, log=True),
    },
    "xgboost": {
        "learning_rate": _RATE,
        "max_depth": IntDistribution(2, 9),
        "min_child_weight": FloatDistribution(0.5, 50.0, log=True),
        "subsample": FloatDistribution(0.5, 1.0),
        "colsample_bytree": _SHARE,
        "reg_lambda": _PENALTY,
    },
    "HistGradientBoosting": {
        "learning_rate": _RATE,
        "max_leaf_nodes": _LEAVES,
        "min_samples_leaf": _LEAF_ROWS,
        "l2_regularization": _PENALTY,
        "max_features": _SHARE,
    },
    "GradientBoosting": {
        "learning_rate": _RATE,
        "max_depth": IntDistribution(2, 7),
        "min_samples_leaf": _LEAF_ROWS,
        "subsample": FloatDistribution(0.5, 1.0),
    },
    "RandomForest": _FOREST,
    "ExtraTrees": _FOREST,
    "DecisionTree": {"max_depth": IntDistribution(2, 12), "min_samples_leaf": _LEAF_ROWS},
    "MLP": {
        "alpha": FloatDistribution(1e-6, 0.1, log=True),
        "learning_rate_init": FloatDistribution(1e-4, 1e-2, log=True),
    },
    "LogisticRegression": {"C": FloatDistribution(1e-3, 100.0, log=True)},
    "Ridge": {"alpha": FloatDistribution(1e-3, 1e3, log=True)},
}
#: Names of the number of trees.
_ROUNDS = ("n_estimators", "iterations", "max_iter")


def default_space(model: Any, prefix: str, *, rounds: tuple[float, float] | None = None) -> dict[str, Any]:
    """The parameters of a model that are worth a search, under their nested names.

    Parameters
    ----------
    model : estimator
        A ``Pipeline``'s last step decides.
    prefix : {"teacher", "student"}
    rounds : (float, float), optional
        Also the number of trees, within these multiples of what it is.

    Returns
    -------
    dict of str to distribution
        Empty for a model of an unknown family.
    """
    last, name = last_step(model), type(last_step(model)).__name__
    kind = family(last)
    found = _SPACES.get(kind) or next((space for start, space in _SPACES.items() if name.startswith(start)), {})
    space: dict[str, Any] = dict(found)
    counts = [n for n in _ROUNDS if isinstance(last.get_params(deep=False).get(n), int)]
    if rounds is not None and found and counts and not name.startswith(("MLP", "LogisticRegression", "Ridge")):
        low, high = (max(1, round(last.get_params(deep=False)[counts[0]] * factor)) for factor in rounds)
        space[counts[0]] = IntDistribution(low, max(low, high), log=True)
    place = next((n for n, part in model.get_params(deep=True).items() if part is last), None)
    path = prefix if place is None else f"{prefix}__{place}"
    return {f"{path}__{name}": distribution for name, distribution in space.items()}


def distillation_space(estimator: Any, rows: Rows, *, costs: bool) -> dict[str, Any]:
    """What students and distillation are drawn from, unless somebody says otherwise.

    Parameters
    ----------
    estimator : DistilledEstimator
    rows : Rows
    costs : bool
        Whether it counts what a student costs: it may have fewer trees then.

    Returns
    -------
    dict
    """
    space = default_space(estimator.student, "student", rounds=(0.1, 1.0) if costs else None)
    space["alpha"] = FloatDistribution(0.0, 1.0, step=0.05)  # 1 is no teacher at all
    if hasattr(estimator.student, "fit_soft"):
        space["temperature"] = FloatDistribution(1.0, 8.0, log=True)
    if estimator.targets == "soft":
        space["targets"] = CategoricalDistribution(["soft", "trusted"])
    small = family(last_step(estimator.student)) not in BOOSTERS  # boosters gain too little for the time
    labels_alone = getattr(last_step(estimator.student), "needs_labels", False)
    if estimator.transfer is None and small and not rows.texts and not labels_alone:
        space["transfer"] = CategoricalDistribution([None, "munge"])
    sets = {"given": estimator.teacher_features, "student's": estimator.student_features}
    if not hasattr(estimator.student_features, "get_support") and not is_frozen(estimator):
        given, own = (column_positions(rows.X, spec, "columns") for spec in sets.values())
        if set(given) != set(own):
            if privileged := [position for position in given if position not in own]:
                sets["privileged"] = privileged
            if len(privileged) > 1 and len(given) == rows.X.shape[1] > len(privileged):
                sets["student's and the best"] = SelectPrivileged(own)
            space["teacher_features"] = sets
    return space


def parameter_names(estimator: Any) -> set[str]:
    """Every nested name that ``estimator.set_params`` takes, also those that CatBoost does not list."""
    names = set(estimator.get_params(deep=True))
    for place, part in nested_estimators(estimator).items():
        names |= {f"{place}__{name}" for name in signature(type(part).__init__).parameters if name != "self"}
    return names


def check_space(space: Space, names: Collection[str], *, teacher: bool) -> None:
    """Raise unless a space names parameters that there are, of the stage that it is for.

    Parameters
    ----------
    space : mapping or function
        A function is checked when it answers.
    names : collection of str
        From :func:`parameter_names`.
    teacher : bool
        Whether the space is the teacher's: the teacher itself, and names that begin with ``teacher__``.

    Raises
    ------
    ValueError
        With the nearest known name.
    """
    if callable(space):
        return
    for name, choices in space.items():
        if name not in names:
            raise ValueError(f"The space names {name!r}, which the estimator has no parameter for.{near(name, names)}")
        if (name == "teacher" or name.startswith("teacher__")) != teacher:
            given, right = ("teacher_space", "space") if teacher else ("space", "teacher_space")
            raise ValueError(f"{name!r} stands in {given}, but belongs in {right}: teachers are searched on their own.")
        if isinstance(choices, BaseDistribution):
            continue
        if isinstance(choices, str) or not isinstance(choices, Collection):
            raise ValueError(f"The space has {choices!r} for {name!r}. Give a list of choices, or a distribution.")
        if len(choices) == 0:
            raise ValueError(f"The space has no choices for {name!r}. Give at least one, or leave the name out.")


def draw(trial: Trial, space: Space, names: Collection[str], *, teacher: bool) -> dict[str, Any]:
    """Values for one trial.

    Parameters
    ----------
    trial : optuna.Trial
    space : mapping or function
    names : collection of str
    teacher : bool
        As in :func:`check_space`.

    Returns
    -------
    dict
        By nested name, ready for ``set_params``.
    """
    if callable(space):
        drawn = dict(space(trial))
        check_space({name: [value] for name, value in drawn.items()}, names, teacher=teacher)
        return drawn
    return {name: _draw_one(trial, name, choices) for name, choices in space.items()}


def _draw_one(trial: Trial, name: str, choices: Any) -> Any:
    if isinstance(choices, FloatDistribution):
        return trial.suggest_float(name, choices.low, choices.high, step=choices.step, log=choices.log)
    if isinstance(choices, IntDistribution):
        return trial.suggest_int(name, choices.low, choices.high, step=choices.step, log=choices.log)
    if isinstance(choices, CategoricalDistribution):
        return trial.suggest_categorical(name, choices.choices)
    # Storages keep plain values only: others go by a name.
    named = choices if isinstance(choices, Mapping) else {str(choice): choice for choice in choices}
    return named[trial.suggest_categorical(name, list(named))]

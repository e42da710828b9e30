"""An estimator's parameters, held against each other and against the target."""

from __future__ import annotations

from numbers import Real
from pathlib import Path
from typing import Any

from sklearn.frozen import FrozenEstimator

from tabkd._compat import clone_estimator, gives_probabilities, is_regressor, last_step
from tabkd.checks import check_whole
from tabkd.students import adapt
from tabkd.targets import Targets, check_temperature
from tabkd.thresholds import check_threshold, is_tuned

__all__ = ["check_models", "check_settings", "cross_fit_of", "is_frozen", "leader", "teachers_of"]

#: What of the teacher's answers the student learns: as they are, moved to the label where they contradict it, or the
#: likeliest class (pseudo-labels).
TARGETS = ("soft", "trusted", "hard")


def check_models(settings: Any) -> None:
    """Raise unless teachers and student are estimators, before anything is asked of them.

    Raises
    ------
    TypeError
    """
    for name, model in [*(("teacher", one) for one in teachers_of(settings)), ("student", settings.student)]:
        inner = model.estimator if isinstance(model, FrozenEstimator) else model
        if isinstance(inner, type) or not hasattr(inner, "fit" if inner is model else "predict"):
            module = hasattr(inner, "state_dict")
            given = f"the class {inner.__name__}" if isinstance(inner, type) else repr(inner)
            fix = "an instance, such as LGBMClassifier()"
            if module or isinstance(inner, str | Path):
                fix += ", or of a fine-tuned transformer tabkd.neural.TransformerClassifier.from_pretrained(folder)"
            raise TypeError(
                f"{name} must be an estimator, got {f'a {type(inner).__name__}' if module else given}. Give {fix}."
            )


def teachers_of(settings: Any) -> list[Any]:
    """The teachers: one, or those of a list."""
    return list(settings.teacher) if isinstance(settings.teacher, list | tuple) else [settings.teacher]


def leader(teacher: Any) -> Any:
    """The teacher, or the first of a list: all of them are of its kind."""
    if not isinstance(teacher, list | tuple):
        return teacher
    if not teacher:
        raise ValueError("teacher=[] names no teacher. Give one estimator or a list of them.")
    return teacher[0]


def is_frozen(settings: Any) -> bool:
    """Whether the teachers were fitted elsewhere."""
    return isinstance(leader(settings.teacher), FrozenEstimator)


def cross_fit_of(settings: Any) -> str:
    """What ``cross_fit="auto"`` stands for: one split where a fit takes long, pairs of folds elsewhere."""
    if settings.cross_fit != "auto":
        return settings.cross_fit
    models = [one.estimator if isinstance(one, FrozenEstimator) else one for one in teachers_of(settings)]
    slow = any(getattr(last_step(model), "fits_slowly", False) for model in (*models, settings.student))
    return "holdout" if slow else "pairs"


def check_settings(settings: Any, targets: Targets, *, given: bool) -> None:
    """Check an estimator's parameters against each other and against the target.

    Parameters
    ----------
    settings : DistilledEstimator
    targets : Targets
    given : bool
        Whether soft targets were made elsewhere.

    Raises
    ------
    ValueError
        If something does not fit; the message says what, and how to mend it.
    """
    n_classes = None if targets.classes is None else len(targets.classes)
    student, alpha, temperature = last_step(settings.student), settings.alpha, settings.temperature
    _check_teachers(teachers_of(settings), regression=n_classes is None, given=given)
    if settings.cross_fit not in ("auto", "pairs", "holdout", "folds"):
        raise ValueError(f'cross_fit must be "auto", "pairs", "holdout" or "folds", got {settings.cross_fit!r}.')
    if alpha != "auto" and not (isinstance(alpha, Real) and 0 <= float(alpha) <= 1):
        raise ValueError(f'alpha must be in [0, 1] or "auto", got {alpha!r}. Try 0.5.')
    check_temperature(temperature)
    check_threshold(settings.threshold, n_classes)
    if n_classes is None and not is_regressor(student) and not hasattr(student, "fit_soft"):
        raise ValueError(
            f"The teacher is a regressor, but the student {type(student).__name__} is not. Use a regressor."
        )
    if isinstance(student, FrozenEstimator):
        raise ValueError("The student is a FrozenEstimator, which learns nothing. Give the estimator itself.")
    if n_classes is not None and not (is_regressor(student) or gives_probabilities(student)):
        raise ValueError(
            f"The student {type(student).__name__} gives no probabilities. Use one that has predict_proba, or a "
            "regressor."
        )
    adapt(clone_estimator(student), settings.loss, targets.classes)  # raises before any teacher is fitted
    if temperature != 1 and n_classes is None:
        raise ValueError(f"temperature={temperature} is for classification. Use temperature=1.0.")
    if temperature != 1 and alpha != 0 and not hasattr(student, "fit_soft"):
        raise ValueError(
            f"temperature={temperature} cannot be undone on targets blended with true labels (alpha={alpha!r}). Use "
            "alpha=0, or temperature=1.0."
        )
    _check_targets(settings, student, n_classes)
    scored = cross_fit_of(settings) != "folds" and not given
    why = "soft_targets= was given" if given else 'of cross_fit="folds"'
    for name in ("alpha", "threshold"):
        value = getattr(settings, name)
        if not scored and is_tuned(value):
            raise ValueError(
                f"{name}={value!r} needs an honest score, and there is none because {why}. Give {name} as a number, or "
                'use cross_fit="pairs" with a teacher.'
            )
    if settings.student_cv is not None and scored:
        raise ValueError(
            'student_cv only exists with cross_fit="folds": pairs of folds are shared by teacher and student. Use '
            "student_cv=None."
        )


def _check_teachers(teachers: list[Any], *, regression: bool, given: bool) -> None:
    numbers = [type(last_step(one)).__name__ for one in teachers if is_regressor(one)]
    classes = [type(last_step(one)).__name__ for one in teachers if not is_regressor(one)]
    if numbers and classes:
        raise ValueError(
            f"The teachers are of mixed kinds: {numbers} predict numbers, {classes} classes. Give teachers of one kind."
        )
    if len({isinstance(one, FrozenEstimator) for one in teachers}) > 1:
        raise ValueError("Some teachers are FrozenEstimator, others are to be fitted. Freeze all of them, or none.")
    for teacher in teachers:
        if not regression and not given and not gives_probabilities(teacher):
            raise ValueError(
                f"The teacher {type(teacher).__name__} has no predict_proba, which gives the soft targets. Use one "
                "that has, or wrap it in CalibratedClassifierCV."
            )


def _check_targets(settings: Any, student: Any, n_classes: int | None) -> None:
    kind, generations = settings.targets, settings.generations
    if kind not in TARGETS:
        raise ValueError(f"targets must be one of {TARGETS}, got {kind!r}. Try 'soft'.")
    if kind == "hard" and n_classes is None:
        raise ValueError("targets='hard' takes the likeliest class, which a regression has not. Use targets='soft'.")
    if kind == "trusted" and settings.temperature != 1 and not hasattr(student, "fit_soft"):
        raise ValueError(
            f"temperature={settings.temperature} cannot be undone on targets='trusted', which hold true labels. Use "
            "targets='soft', or temperature=1.0."
        )
    check_whole("generations", generations, 1, 2)

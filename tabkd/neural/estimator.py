"""What every neural teacher and student is to scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, f1_score, get_scorer, log_loss, mean_squared_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch import nn

from tabkd.neural.agreement import check_vocabulary
from tabkd.neural.recipes import stages_of
from tabkd.neural.stages import Stage
from tabkd.neural.teachers import log_soft_targets, module_of
from tabkd.neural.trainable import Trainable
from tabkd.neural.training import Lesson, Plan, seeded_globals, train

__all__ = ["NeuralClassifierMixin", "NeuralEstimator", "NeuralRegressorMixin"]


class NeuralEstimator(Trainable):
    """Training, prediction and soft targets; subclasses say what is read and what the model is."""

    #: Folds are not the default: a fit takes long.
    fits_slowly = True
    # What a subclass must give: _reader(model), _built(n_outputs), and the mixin of a classifier or a regressor.

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None, eval_set: Any = None) -> Self:
        """Train on labels, and on a teacher's answers if there is a ``teacher``.

        Parameters
        ----------
        X : sequence of length n_samples
        y : array-like of shape (n_samples,)
            None (NaN in a regression) where a row has no label: it is learnt from the teacher alone.
        sample_weight : array-like of shape (n_samples,), optional
        eval_set : tuple of (X, y), optional
            Rows that the best checkpoint is chosen by; they are not trained on.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If a row is not what the model reads.
        ValueError
            If a parameter does not fit, or a row has neither a label nor a teacher.
        """
        y = self._read_target(y)
        if self.teacher is None:
            if self._unlabelled(y).any():
                row = int(np.flatnonzero(self._unlabelled(y))[0])
                raise ValueError(f"Row {row} has no label, and there is no teacher to learn from. Give teacher=.")
            return self._fit(X, y, lambda reader: None, 1.0, 1.0, sample_weight, None, eval_set)

        def answered(reader: Any) -> Any:
            found = log_soft_targets(
                self.teacher, X, self._classes(y), reader=reader, folder=self.cache, batch_size=2 * self.batch_size,
                device=self._device(),
            )  # fmt: skip
            return self._taught(found, y)

        return self._fit(X, y, answered, self.alpha, self.temperature, sample_weight, self.teacher, eval_set)

    def fit_soft(
        self,
        X: Any,
        soft_targets: Any,
        *,
        y: Any = None,
        alpha: float = 0.0,
        temperature: float = 1.0,
        sample_weight: Any = None,
        teacher: Any = None,
    ) -> Self:
        """Learn from soft targets, as the student of a :class:`~tabkd.DistilledEstimator`.

        Parameters
        ----------
        X : sequence of length n_samples
        soft_targets : array-like of shape (n_samples, n_classes) or (n_samples, n_outputs)
            At temperature 1, in the order of the sorted labels.
        y : array-like of shape (n_samples,)
        alpha, temperature : float
            Of the loss ``alpha * CE(y, z) + (1 - alpha) * temperature**2 * KL``.
        sample_weight : array-like of shape (n_samples,), optional
        teacher : estimator or None
            A frozen one that terms may look into.

        Returns
        -------
        self
        """
        y = self._read_target(y)

        def answered(reader: Any) -> np.ndarray:
            return self._log_soft(soft_targets, y)

        return self._fit(X, y, answered, alpha, temperature, sample_weight, teacher, None)

    # ---------------------------------------------------------------- fit

    def _fit(
        self,
        X: Any,
        y: np.ndarray,
        answered: Callable[[Any], Any],
        alpha: float,
        temperature: float,
        sample_weight: Any,
        teacher: Any,
        eval_set: Any,
    ) -> Self:
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        self._begin(y)
        with seeded_globals(seed), ExitStack() as stack:
            student = self._built(self._n_outputs(y))
            reader = self._reader(student)
            rows = reader.rows(X)
            if not rows:
                raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required. X is empty.")
            check_consistent_length(rows, y, sample_weight)
            log_soft = answered(reader)
            weight = None if sample_weight is None else column_or_1d(sample_weight).astype(np.float32)
            lesson = Lesson(reader.encoded(rows), self._targets(y), log_soft, weight)
            lesson, watched = self._watched(lesson, y, eval_set, reader, seed)
            stages = stages_of(
                self.objective, self.stages, alpha=alpha, temperature=temperature, epochs=self.epochs,
                taught=log_soft is not None, student=student, teacher=module_of(teacher),
            )  # fmt: skip
            inside = _inside(stages)
            looked_into = self._looked_into(teacher, reader) if inside else None
            for model in (student, looked_into):
                stack.enter_context(_eager(model, inside))
            folder = self._folder(stack, lesson, stages, seed)
            plan = Plan(
                folder, self._arguments(seed), self.metric or self._metric, self._scores, reader.collated, self.verbose
            )
            self.history_ = train(student, stages, lesson, watched, plan, looked_into)
            self.model_, self.reader_ = student.eval().cpu(), reader
        self.n_parameters_ = sum(parameter.numel() for parameter in student.parameters())
        return self

    def _watched(
        self, lesson: Lesson, y: np.ndarray, eval_set: Any, reader: Any, seed: int
    ) -> tuple[Lesson, Lesson | None]:
        """The rows to train on, and those that the best checkpoint is chosen by."""
        if eval_set is not None:
            X_valid, y_valid = eval_set
            targets = self._targets(self._read_target(y_valid))
            return lesson, Lesson(reader.encoded(reader.rows(X_valid)), targets)
        if not self.validation_fraction:
            return lesson, None
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must be between 0 and 1, got {self.validation_fraction}. Try 0.1, or None."
            )
        labelled = np.flatnonzero(~self._unlabelled(y))
        watched = self._carved(y, labelled, seed)
        kept = np.setdiff1d(np.arange(len(y)), watched)
        return lesson.take(kept), Lesson([lesson.encoded[row] for row in watched], self._targets(y)[watched])

    def _carved(self, y: np.ndarray, labelled: np.ndarray, seed: int) -> np.ndarray:
        return train_test_split(labelled, test_size=self.validation_fraction, random_state=seed)[1]

    def _looked_into(self, teacher: Any, reader: Any) -> nn.Module | None:
        """The teacher's module, if it reads what the student reads."""
        own = getattr(getattr(_unfrozen(teacher), "reader_", None), "tokenizer", None)
        if own is not None and hasattr(reader, "tokenizer"):
            check_vocabulary(reader.tokenizer, own)
        return module_of(teacher)


class NeuralClassifierMixin:
    """Labels as codes, probabilities out."""

    _metric = "f1_macro"

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of shape (n_samples, n_classes), float64, rows sum to 1."""
        proba = np.exp(self.predict_log_proba(X))
        return proba / proba.sum(axis=1, keepdims=True)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of probabilities, of shape (n_samples, n_classes)."""
        return torch.log_softmax(torch.from_numpy(self._raw(X)).double(), dim=1).numpy()  # type: ignore[attr-defined]

    def predict(self, X: Any) -> np.ndarray:
        """Labels of shape (n_samples,)."""
        codes = self._raw(X).argmax(axis=1)  # type: ignore[attr-defined]
        return self.classes_[codes]

    def _read_target(self, y: Any) -> np.ndarray:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None. Give labels, and None for a "
                "row that has none."
            )
        y = y.to_numpy() if isinstance(y, pd.Series) else y
        y = column_or_1d(np.asarray(y), warn=True)
        labelled = y[~pd.isna(y)]
        if len(labelled) and isinstance(labelled[0], list | tuple | set):
            raise ValueError("Several labels per row are not supported. Fit one estimator per label.")
        check_classification_targets(np.array(labelled.tolist()))
        return y

    def _unlabelled(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(pd.isna(y))

    def _classes(self, y: np.ndarray) -> np.ndarray:
        labels = y[~self._unlabelled(y)]
        kinds = labels.tolist()
        classes = np.unique(np.array(kinds)) if len(kinds) else np.array([])
        if len(classes) < 2:
            raise ValueError(f"The target has the classes {classes.tolist()}; a classifier needs rows of at least two.")
        return classes

    def _n_outputs(self, y: np.ndarray) -> int:
        return len(self._classes(y))

    def _begin(self, y: np.ndarray) -> None:
        self.classes_ = self._classes(y)
        self.n_outputs_ = len(self.classes_)

    def _targets(self, y: np.ndarray) -> np.ndarray:
        codes = np.full(len(y), -100, dtype=np.int64)
        known = ~self._unlabelled(y)
        labels = np.array(y[known].tolist())
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ValueError(f"The evaluation rows have labels {unknown.tolist()} that the training rows have not.")
        codes[known] = np.searchsorted(self.classes_, labels)
        return codes

    def _log_soft(self, soft: Any, y: np.ndarray) -> np.ndarray:
        soft, classes = np.asarray(soft, dtype=np.float64), self.classes_
        if soft.shape != (len(y), len(classes)):
            raise ValueError(
                f"soft_targets has shape {soft.shape}, but must have {(len(y), len(classes))}: the labels of these "
                f"rows are {classes.tolist()}."
            )
        return np.log(np.maximum(soft, np.finfo(np.float32).tiny)).astype(np.float32)

    def _taught(self, found: np.ndarray, y: np.ndarray) -> np.ndarray:
        """A teacher's answers as they are learnt."""
        return found

    def _carved(self, y: np.ndarray, labelled: np.ndarray, seed: int) -> np.ndarray:
        codes = self._targets(y)[labelled]
        stratify = codes if np.unique(codes, return_counts=True)[1].min() > 1 else None
        size = self.validation_fraction  # type: ignore[attr-defined]
        return train_test_split(labelled, test_size=size, random_state=seed, stratify=stratify)[1]

    def _scores(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Scores at temperature 1; the one asked for under its name."""
        proba = torch.softmax(torch.from_numpy(logits).double(), dim=1).numpy()
        codes, every = proba.argmax(axis=1), np.arange(proba.shape[1])
        scores = {
            "accuracy": accuracy_score(labels, codes),
            "f1_macro": f1_score(labels, codes, average="macro", labels=every, zero_division=0),
            "neg_log_loss": -log_loss(labels, proba, labels=every),
        }
        return _with_asked(scores, self.metric, _Answers(every, proba), labels)  # type: ignore[attr-defined]


class NeuralRegressorMixin:
    """Values, standardised for the training."""

    _metric = "r2"

    def predict(self, X: Any) -> np.ndarray:
        """Values of shape (n_samples,) or (n_samples, n_outputs)."""
        values = self._raw(X).astype(np.float64)  # type: ignore[attr-defined]
        values = values * self.scale_ + self.mean_
        return values[:, 0] if values.shape[1] == 1 else values

    def _read_target(self, y: Any) -> np.ndarray:
        y = np.asarray(y, dtype=np.float64)
        return y.reshape(len(y), -1)

    def _unlabelled(self, y: np.ndarray) -> np.ndarray:
        return np.isnan(y).any(axis=1)

    def _classes(self, y: np.ndarray) -> None:
        return None

    def _n_outputs(self, y: np.ndarray) -> int:
        return y.shape[1]

    def _begin(self, y: np.ndarray) -> None:
        labelled = y[~self._unlabelled(y)]
        if not len(labelled) or np.isinf(y).any():
            raise ValueError("y has no labelled row, or holds infinity. A regressor needs finite values.")
        self.n_outputs_ = y.shape[1]
        self.mean_, self.scale_ = labelled.mean(axis=0), labelled.std(axis=0)
        self.scale_[self.scale_ == 0] = 1.0

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return ((y - self.mean_) / self.scale_).astype(np.float32)

    def _log_soft(self, soft: Any, y: np.ndarray) -> np.ndarray:
        soft = np.asarray(soft, dtype=np.float64).reshape(len(y), -1)
        if soft.shape != y.shape:
            raise ValueError(f"soft_targets has shape {soft.shape}, but must have {y.shape}, one row per row of X.")
        return ((soft - self.mean_) / self.scale_).astype(np.float32)

    def _taught(self, found: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self._log_soft(found, y)

    def _scores(self, values: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        scores = {"r2": r2_score(targets, values), "neg_mean_squared_error": -mean_squared_error(targets, values)}
        return _with_asked(scores, self.metric, _Answers(None, values), targets)  # type: ignore[attr-defined]


class _Answers(BaseEstimator):
    """Hands stored answers to a scorer; ``X`` are row numbers."""

    def __init__(self, classes: np.ndarray | None, values: np.ndarray) -> None:
        self.classes_, self.values = classes, values
        self._estimator_type = "regressor" if classes is None else "classifier"

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.values[X] if self.classes_ is None else self.values[X].argmax(axis=1)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return self.values[X]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = self._estimator_type
        return tags


def _with_asked(
    scores: dict[str, float], metric: str | None, answers: _Answers, targets: np.ndarray
) -> dict[str, float]:
    if metric is not None and metric not in scores:
        scores[metric] = float(get_scorer(metric)(answers, np.arange(len(targets)), targets))
    return {name: float(value) for name, value in scores.items()}


def _unfrozen(teacher: Any) -> Any:
    return teacher.estimator if isinstance(teacher, FrozenEstimator) else teacher


def _inside(stages: Sequence[Stage]) -> frozenset[str]:
    """What the terms want beside logits."""
    return frozenset[str]().union(*(term.needs for stage in stages for term in stage.objective)) - {"logits"}


class _eager:
    """Attention that gives its maps while a term wants them; the model is left as it was."""

    def __init__(self, model: Any, needs: frozenset[str]) -> None:
        self.model = model if "attentions" in needs and hasattr(model, "set_attn_implementation") else None

    def __enter__(self) -> None:
        if self.model is not None:
            self.before = self.model.config._attn_implementation
            self.model.set_attn_implementation("eager")

    def __exit__(self, *error: Any) -> None:
        if self.model is not None:
            self.model.set_attn_implementation(self.before)

"""What a task asks of a network: labels as codes and probabilities out, or values, standardised for the training."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import accuracy_score, f1_score, get_scorer, log_loss, mean_squared_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from tabkd.stored import StoredClassifier, StoredRegressor

__all__ = ["NeuralClassifierMixin", "NeuralRegressorMixin", "check_metric", "device_of"]


def device_of(device: Any) -> str:
    """Where to compute: as told, or on a GPU if torch sees one.

    Raises
    ------
    ValueError
        If it is told a GPU, and there is none, or nothing that torch knows.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(str(device))
    except RuntimeError:
        raise ValueError(f"device={device!r} is none of torch's. Use 'cpu', 'cuda', or None.") from None
    if str(device).startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device={device!r} asks for a GPU, but torch sees none. Use device='cpu', or None.")
    return str(device)


def put_aside(rows: np.ndarray, fraction: float, seed: int, codes: np.ndarray | None) -> np.ndarray:
    """A share of the rows, of every class as much where there are enough of each."""
    try:
        return train_test_split(rows, test_size=fraction, random_state=seed, stratify=codes)[1]
    except ValueError:  # too few of a class, or too few in all
        return train_test_split(rows, test_size=fraction, random_state=seed)[1]


class NeuralClassifierMixin:
    """Labels as codes, probabilities out."""

    #: Scores of every evaluation; the first chooses the best checkpoint.
    _metrics = ("f1_macro", "accuracy", "neg_log_loss")

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
        y = y.to_list() if hasattr(y, "to_list") else y  # to_numpy makes floats of integers with gaps
        _refuse_several(y, self)
        # A list of texts and NaN must not become an array of texts.
        y = column_or_1d(np.asarray(y, dtype=object if isinstance(y, list | tuple) else None), warn=True)
        labelled = np.array(y[~pd.isna(y)].tolist())
        if labelled.dtype.kind == "f" and np.isinf(labelled).any():
            raise ValueError("y holds infinity, which is no label. Give labels, and None for a row that has none.")
        if labelled.dtype.kind == "U" and (odd := [label for label in y[~pd.isna(y)] if not isinstance(label, str)]):
            raise ValueError(
                f"y mixes texts with {odd[0]!r} ({type(odd[0]).__name__}), and predictions would all be texts. Give "
                "labels of one kind."
            )
        check_classification_targets(labelled)
        return y

    def _unlabelled(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(pd.isna(y))

    def _classes(self, y: np.ndarray) -> np.ndarray:
        """Of the labels; of the teacher, if it knows all of these and more."""
        labels = y[~self._unlabelled(y)].tolist()
        known = list(getattr(getattr(self, "teacher", None), "classes_", []))
        classes = np.unique(np.array(known if set(labels) < set(known) else labels))
        if len(classes) < 2:
            only = f"one class, {classes.tolist()[0]!r}" if len(classes) else "no labels"
            raise ValueError(f"The target has {only}; a classifier needs rows of at least two classes.")
        return classes

    def _n_outputs(self, y: np.ndarray) -> int:
        return len(self._classes(y))

    def _begin(self, y: np.ndarray, weight: np.ndarray | None) -> None:
        self.classes_ = self._classes(y)  # of rows of weight 0 too, as scikit-learn's own classifiers have them
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
        _check_finite(soft)
        return np.log(np.maximum(soft, np.finfo(np.float32).tiny)).astype(np.float32)

    def _taught(self, found: np.ndarray, y: np.ndarray) -> np.ndarray:
        """A teacher's answers as they are learnt."""
        return found

    def _carved(self, y: np.ndarray, labelled: np.ndarray, seed: int) -> np.ndarray:
        return put_aside(labelled, self.validation_fraction, seed, self._targets(y)[labelled])  # type: ignore[attr-defined]

    def _scores(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Scores at temperature 1; the one asked for under its name."""
        proba = torch.softmax(torch.from_numpy(logits).double(), dim=1).numpy()
        codes, every = proba.argmax(axis=1), np.arange(proba.shape[1])
        scores = {
            "accuracy": accuracy_score(labels, codes),
            "f1_macro": f1_score(labels, codes, average="macro", labels=every, zero_division=0),
            "neg_log_loss": -log_loss(labels, proba, labels=every),
        }
        return _with_asked(scores, self.metric, StoredClassifier(every, proba, codes), labels)  # type: ignore[attr-defined]


class NeuralRegressorMixin:
    """Values, standardised for the training."""

    _metrics = ("r2", "neg_mean_squared_error")

    def predict(self, X: Any) -> np.ndarray:
        """Values of shape (n_samples,) or (n_samples, n_outputs)."""
        values = self._raw(X).astype(np.float64)  # type: ignore[attr-defined]
        values = values * self.scale_ + self.mean_
        return values[:, 0] if values.shape[1] == 1 else values

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.target_tags.multi_output = True
        return tags

    def _read_target(self, y: Any) -> np.ndarray:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None. Give values, and NaN for a "
                "row that has none."
            )
        y = np.asarray(y)
        if y.dtype.kind == "c":
            raise ValueError("Complex data not supported. Split y into its real and imaginary parts, two outputs.")
        if y.dtype == object:
            y = np.where(pd.isna(y), np.nan, y)  # pd.NA is no number
        return y.astype(np.float64).reshape(len(y), -1)

    def _unlabelled(self, y: np.ndarray) -> np.ndarray:
        return np.isnan(y).any(axis=1)

    def _classes(self, y: np.ndarray) -> None:
        return None

    def _n_outputs(self, y: np.ndarray) -> int:
        return y.shape[1]

    def _begin(self, y: np.ndarray, weight: np.ndarray | None) -> None:
        labelled = y[~self._unlabelled(y) & (True if weight is None else weight > 0)]
        if not len(labelled) or np.isinf(y).any():
            raise ValueError(
                "y has no labelled row of a weight above 0, or holds infinity. A regressor needs finite values."
            )
        self.n_outputs_ = y.shape[1]
        one = (labelled == labelled[0]).all(axis=0)  # rounding would move their mean
        self.mean_ = np.where(one, labelled[0], labelled.mean(axis=0))
        self.scale_ = np.where(one, 0.0, labelled.std(axis=0))

    @property
    def _unit(self) -> np.ndarray:
        """What values are divided by: their scale, or 1 where they are all one value."""
        return np.where(self.scale_ == 0, 1.0, self.scale_)

    def _targets(self, y: np.ndarray) -> np.ndarray:
        targets = ((y - self.mean_) / self._unit).astype(np.float32)
        targets[self._unlabelled(y)] = np.nan  # a row has all of its values, or none
        return targets

    def _log_soft(self, soft: Any, y: np.ndarray) -> np.ndarray:
        soft = np.asarray(soft, dtype=np.float64).reshape(len(y), -1)
        if soft.shape != y.shape:
            raise ValueError(f"soft_targets has shape {soft.shape}, but must have {y.shape}, one row per row of X.")
        _check_finite(soft)
        # Where all values are one, a teacher may tell rows apart: by its scale they are learnt, then.
        self.scale_ = np.where(self.scale_ == 0, np.abs(soft - self.mean_).max(axis=0), self.scale_)
        return ((soft - self.mean_) / self._unit).astype(np.float32)

    def _taught(self, found: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self._log_soft(found, y)

    def _scores(self, values: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        values, targets = values * self.scale_ + self.mean_, targets * self._unit + self.mean_
        scores = {"r2": r2_score(targets, values), "neg_mean_squared_error": -mean_squared_error(targets, values)}
        return _with_asked(scores, self.metric, StoredRegressor(values), targets)  # type: ignore[attr-defined]


def _refuse_several(y: Any, estimator: Any) -> None:
    """One label per row is learnt, in whatever form several of them come."""
    y = y if isinstance(y, list | tuple) or hasattr(y, "shape") else np.asarray(y)
    shape = (len(y),) if isinstance(y, list | tuple) else y.shape
    found = f"y has the shape {shape}" if shape[1:] not in ((), (1,)) else ""
    if len(shape) == 1 and (several := [row for row in y if isinstance(row, list | tuple | set) and len(row) != 1]):
        found = f"y holds {several[0]!r}"
    if found:
        raise ValueError(
            f"{found}, but one label per row is learnt. Fit one estimator per label: an indicator matrix, which "
            f"MultiLabelBinarizer makes, goes into scikit-learn's OneVsRestClassifier({type(estimator).__name__}(...))."
        )


def _check_finite(soft: np.ndarray) -> None:
    if odd := np.flatnonzero(~np.isfinite(soft).all(axis=1)).tolist():
        raise ValueError(f"soft_targets holds NaN or infinity in {len(odd)} rows, row {odd[0]} first. Leave them out.")


def check_metric(metric: str | None, own: Collection[str]) -> None:
    """Raise unless it is one of ``own`` or of scikit-learn's scorers, before the training that it is to judge."""
    if metric is not None and metric not in own:
        get_scorer(metric)


def _with_asked(scores: dict[str, float], metric: str | None, answers: Any, targets: np.ndarray) -> dict[str, float]:
    if metric is not None and metric not in scores:
        scores[metric] = float(get_scorer(metric)(answers, np.arange(len(targets)), targets))
    return {name: float(value) for name, value in scores.items()}

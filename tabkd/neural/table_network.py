"""What every network for tables is to scikit-learn: reading, training, prediction, its part of a file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from math import sqrt
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags, check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from tabkd._compat import check_sample_weight
from tabkd.checks import check_whole
from tabkd.frames import as_table, column_positions, has_names, rows_of
from tabkd.neural.base import Term
from tabkd.neural.recipes import stages_of, two_terms
from tabkd.neural.table_reader import TableReader
from tabkd.neural.table_training import Plan, Remembered, Rows, train
from tabkd.neural.tasks import device_of, put_aside
from tabkd.neural.teachers import Taught, answered
from tabkd.neural.terms import HardLabels

__all__ = ["TableNetwork"]

#: Fewer rows than that say nothing about when to stop.
_FEWEST_WATCHED = 20
_ROWS_AT_ONCE = 4096
#: Rows in a batch, and more where an epoch would have more steps than that, up to a limit.
_BATCH, _STEPS, _LARGEST_BATCH = 128, 48, 512


class TableNetwork(Taught):
    """Reading, training and prediction; subclasses say what the network is, and mix in the task."""

    #: Whether the network reads categories as 0/1 columns, or as codes.
    _onehot: bool
    model_: Any

    @abstractmethod
    def _built(self, reader: TableReader, n_outputs: int) -> nn.Module:
        """A network with random weights."""

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None) -> Self:
        """Train on labels, and on a teacher's answers if there is a ``teacher``.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
            pandas, polars or NumPy.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            None (NaN in a regression) where a row has no label: it is learnt from the teacher alone.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If a column is neither numbers nor text.
        ValueError
            If a parameter does not fit, a column is no category, or a row has neither a label nor a teacher.
        """
        X, y, weight = self._begun(X, y, sample_weight)
        if self.teacher is None:
            if self._unlabelled(y).any():
                row = int(np.flatnonzero(self._unlabelled(y))[0])
                raise ValueError(f"Row {row} has no label, and there is no teacher to learn from. Give teacher=.")
            return self._fit(X, y, None, 1.0, 1.0, weight, None)
        log_soft = self._taught(answered(self.teacher, X, self._classes(y)), y)
        return self._fit(X, y, log_soft, self.alpha, self.temperature, weight, self.teacher)

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
        X : table of shape (n_samples, n_features)
        soft_targets : array-like of shape (n_samples, n_classes) or (n_samples, n_outputs)
            At temperature 1, in the order of the sorted labels.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        alpha, temperature : float
            Of the loss ``alpha * CE(y, z) + (1 - alpha) * temperature**2 * KL``.
        sample_weight : array-like of shape (n_samples,), optional
        teacher : estimator or None
            A frozen one that terms may look into.

        Returns
        -------
        self
        """
        X, y, weight = self._begun(X, y, sample_weight)
        return self._fit(X, y, self._log_soft(soft_targets, y), alpha, temperature, weight, teacher)

    # ---------------------------------------------------------------- fit

    def _begun(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, np.ndarray, np.ndarray | None]:
        X, y = as_table(X), self._read_target(y)
        check_consistent_length(X, y)
        weight = None if sample_weight is None else check_sample_weight(sample_weight, X, ensure_non_negative=True)
        self._begin(y, weight)
        return X, y, weight

    def _fit(
        self,
        X: Any,
        y: np.ndarray,
        log_soft: np.ndarray | None,
        alpha: float,
        temperature: float,
        weight: np.ndarray | None,
        teacher: Any,
    ) -> Self:
        self._check_settings()
        taught = log_soft is not None
        terms = self._terms(alpha, temperature, taught)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        device = device_of(self.device)
        self.n_features_in_ = X.shape[1]
        self.__dict__.pop("feature_names_in_", None)
        if has_names(X):
            self.feature_names_in_ = X.columns.to_numpy(dtype=object)
        if weight is not None and not weight.all():
            counting = np.flatnonzero(weight)
            X, y, weight = rows_of(X, counting), y[counting], weight[counting]
            log_soft = None if log_soft is None else log_soft[counting]
        self.reader_ = TableReader.fit(X, column_positions(X, self.columns, "columns"), onehot=self._onehot)
        alone = self._unlabelled(y)
        if taught and alone.any() and alpha < 1:  # the whole loss of such rows is what the teacher says
            weight = np.where(alone, 1 / (1 - alpha), 1.0) * (1.0 if weight is None else weight)
        known = (self.reader_.transform(X), self._targets(y), log_soft, weight, np.arange(len(y)))
        rows = Rows(*(None if values is None else _tensor(values) for values in known)).to(device)  # type: ignore[arg-type]
        rows, watched = self._watched(rows, y, seed)
        remembered = self._remembered(teacher, X, terms)
        batch_size, learning_rate = self._pace(len(rows))
        plan = Plan(
            self.epochs, batch_size, learning_rate, self.weight_decay, self.patience,
            generator=torch.Generator().manual_seed(seed),
            watched_terms=two_terms(alpha, 1.0) if taught else [HardLabels()],
            verbose=self.verbose,
        )  # fmt: skip
        with torch.random.fork_rng(devices=None if device.startswith("cuda") else []):
            torch.manual_seed(seed)
            student = self._built(self.reader_, self.n_outputs_).to(device)
            self.history_ = train(student, terms, rows, watched, plan, remembered)
        self.model_ = student.eval().cpu()
        self.n_parameters_ = sum(parameter.numel() for parameter in student.parameters())
        return self

    def _check_settings(self) -> None:
        for name, usual in (("epochs", 60), ("batch_size", 128), ("width", 64), ("n_layers", 1), ("patience", 10)):
            if name not in ("patience", "batch_size") or getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1, usual)
        for name, most, common in (
            ("learning_rate", np.inf, 5e-3),
            ("weight_decay", np.inf, 1e-2),
            ("dropout", 1, 0.1),
        ):
            value = getattr(self, name)
            if not isinstance(value, Real) or not 0 <= float(value) < most:
                raise ValueError(f"{name} must be >= 0{' and < 1' * (most == 1)}, got {value!r}. Try {common}.")
        share = self.validation_fraction
        if share is not None and not 0 < share < 1:
            raise ValueError(f"validation_fraction must be between 0 and 1, got {share}. Try 0.1, or None.")

    def _pace(self, n_rows: int) -> tuple[int, float]:
        """Rows in a batch, and the learning rate."""
        if self.batch_size is not None:
            return self.batch_size, self.learning_rate
        size = min(max(n_rows // _STEPS, _BATCH), _LARGEST_BATCH)
        # Adam's steps may grow with the root of the batch (Malladi et al., NeurIPS 2022).
        return size, self.learning_rate * sqrt(size / _BATCH)

    def _terms(self, alpha: float, temperature: float, taught: bool) -> Sequence[Term]:
        """What is learnt."""
        if isinstance(self.objective, str):
            raise ValueError(f"objective must be terms, got {self.objective!r}. Try [Hidden('last')], or None.")
        (stage,) = stages_of(
            self.objective, None, alpha=alpha, temperature=temperature, epochs=1, taught=taught,
            student=None, teacher=None,
        )  # fmt: skip
        for term in stage.objective:
            if unknown := term.needs - {"logits", "hidden_states"}:
                raise ValueError(
                    f"{type(term).__name__} compares {', '.join(sorted(unknown))}, which networks for tables do not "
                    "give. Use Hidden, Distances, Angles or ActivationBoundary."
                )
        return stage.objective

    def _watched(self, rows: Rows, y: np.ndarray, seed: int) -> tuple[Rows, Rows | None]:
        """The rows to train on, and those that say when to stop."""
        labelled = np.flatnonzero(~self._unlabelled(y))
        if not self.validation_fraction or self.validation_fraction * len(labelled) < _FEWEST_WATCHED:
            return rows, None
        codes = None if self._classes(y) is None else self._targets(y)[labelled]
        watched = np.sort(put_aside(labelled, self.validation_fraction, seed, codes))
        kept = np.setdiff1d(np.arange(len(y)), watched)
        return rows.take(_tensor(kept)), rows.take(_tensor(watched))

    def _remembered(self, teacher: Any, X: Any, terms: Sequence[Term]) -> Remembered | None:
        """What happens inside the teacher on every row, if terms ask for it."""
        inside = [type(term).__name__ for term in terms if "hidden_states" in term.needs]
        teacher = teacher.estimator if isinstance(teacher, FrozenEstimator) else teacher
        if not inside or not isinstance(teacher, TableNetwork):
            return None
        try:
            features = teacher._encoded(X)
        except ValueError as error:
            raise ValueError(
                f"{', '.join(inside)} looks inside the teacher, which needs columns that this table lacks: {error} "
                "Fit the student by itself, on all columns, with teacher= and columns=; or train the teacher on the "
                "student's columns."
            ) from error
        states = zip(*(found.hidden_states for found in teacher._outputs(features, True)), strict=True)
        return Remembered([torch.cat(parts).float() for parts in states], teacher.model_.shape)

    # ---------------------------------------------------------------- predict

    def _encoded(self, X: Any) -> Tensor:
        check_is_fitted(self, "model_")
        X = as_table(X)
        self.reader_.encoder.check_width(X, type(self).__name__)
        return _tensor(self.reader_.transform(X))

    def _outputs(self, features: Tensor, hidden: bool = False) -> list[Any]:
        """The network's outputs, some rows after the others; in float64, so that no row's depend on the others."""
        device = device_of(self.device)
        model = deepcopy(self.model_).to(device).double()
        with torch.inference_mode():
            parts = features.double().split(_ROWS_AT_ONCE)
            return [model(part.to(device), output_hidden_states=hidden) for part in parts]

    def _raw(self, X: Any) -> np.ndarray:
        """Logits of shape (n_samples, n_outputs)."""
        return torch.cat([found.logits.cpu() for found in self._outputs(self._encoded(X))]).numpy()

    def add_nodes(self, table: Any) -> str:
        """Append the network to an ONNX graph, as :func:`tabkd.export.to_onnx` does.

        Parameters
        ----------
        table : tabkd.export.table.Table
            The raw columns.

        Returns
        -------
        str
            The value that holds probabilities, or predictions.
        """
        from tabkd.neural.table_nodes import add_network

        check_is_fitted(self, "model_")
        logits = add_network(table, self.reader_, self.model_)
        if hasattr(self, "classes_"):
            return table.graph.add("Softmax", logits, axis=1)
        scaled = table.graph.add("Mul", logits, table.graph.constant(self.scale_))
        return table.graph.add("Add", scaled, table.graph.constant(self.mean_))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.categorical = tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        tags.non_deterministic = self.random_state is None
        return tags


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values if values.dtype.kind == "i" else values.astype(np.float32, copy=False))

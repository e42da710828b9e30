"""Networks for tables: a perceptron and the FT-Transformer as teachers and as students."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags, check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from tabkd._compat import check_sample_weight
from tabkd.columns import as_table, column_positions, has_names
from tabkd.neural.base import Term
from tabkd.neural.recipes import stages_of, two_terms
from tabkd.neural.table_models import FTTransformer, Perceptron
from tabkd.neural.table_reader import TableReader
from tabkd.neural.table_training import Plan, Remembered, Rows, train
from tabkd.neural.tasks import NeuralClassifierMixin, NeuralRegressorMixin, device_of
from tabkd.neural.teachers import answered
from tabkd.neural.terms import HardLabels

__all__ = [
    "FTTransformerClassifier",
    "FTTransformerRegressor",
    "TabularMLPClassifier",
    "TabularMLPRegressor",
]

#: Fewer rows than that say nothing about when to stop.
_FEWEST_WATCHED = 20
_ROWS_AT_ONCE = 4096


class _TableNetwork(BaseEstimator):
    """Reading, training and prediction; subclasses say what the network is, and mix in the task."""

    #: Whether the network reads categories as 0/1 columns, or as codes.
    _onehot: bool

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
        X, y = as_table(X), self._read_target(y)
        check_consistent_length(X, y)
        self._begin(y)
        if self.teacher is None:
            if self._unlabelled(y).any():
                row = int(np.flatnonzero(self._unlabelled(y))[0])
                raise ValueError(f"Row {row} has no label, and there is no teacher to learn from. Give teacher=.")
            return self._fit(X, y, None, 1.0, 1.0, sample_weight, None)
        log_soft = self._taught(answered(self.teacher, X, self._classes(y)), y)
        return self._fit(X, y, log_soft, self.alpha, self.temperature, sample_weight, self.teacher)

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
        X, y = as_table(X), self._read_target(y)
        check_consistent_length(X, y)
        self._begin(y)
        return self._fit(X, y, self._log_soft(soft_targets, y), alpha, temperature, sample_weight, teacher)

    # ---------------------------------------------------------------- fit

    def _fit(
        self,
        X: Any,
        y: np.ndarray,
        log_soft: np.ndarray | None,
        alpha: float,
        temperature: float,
        sample_weight: Any,
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
        self.reader_ = TableReader.fit(X, column_positions(X, self.columns, "columns"), onehot=self._onehot)
        weight = None if sample_weight is None else check_sample_weight(sample_weight, X, ensure_non_negative=True)
        known = (self.reader_.transform(X), self._targets(y), log_soft, weight, np.arange(len(y)))
        rows = Rows(*(None if values is None else _tensor(values) for values in known)).to(device)  # type: ignore[arg-type]
        rows, watched = self._watched(rows, y, seed)
        remembered = self._remembered(teacher, X, terms)
        plan = Plan(
            self.epochs, self.batch_size, self.learning_rate, self.weight_decay, self.patience,
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
        whole = {"epochs": 1, "batch_size": 1, "width": 1, "n_layers": 1}
        if self.patience is not None:
            whole["patience"] = 1
        for name, least in whole.items():
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < least:
                raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}.")
        for name, low, high in (("learning_rate", 0, np.inf), ("weight_decay", -1e-300, np.inf), ("dropout", -1e-300, 1)):
            value = getattr(self, name)
            if not isinstance(value, Real) or not low < value < high:
                raise ValueError(f"{name} must be a number >= 0{' and < 1' * (high == 1)}, got {value!r}.")
        share = self.validation_fraction
        if share is not None and not 0 < share < 1:
            raise ValueError(f"validation_fraction must be between 0 and 1, got {share}. Try 0.1, or None.")

    def _terms(self, alpha: float, temperature: float, taught: bool) -> Sequence[Term]:
        """What is learnt."""
        if isinstance(self.objective, str):
            raise ValueError(f"objective must be terms, got {self.objective!r}. Try [Hidden('last')], or None.")
        (stage,) = stages_of(
            self.objective, None, alpha=alpha, temperature=temperature, epochs=1, taught=taught, student=None, teacher=None
        )
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
        codes = self._classes(y) is not None and self._targets(y)[labelled]
        strata = codes if codes is not False and np.unique(codes, return_counts=True)[1].min() > 1 else None
        size = self.validation_fraction
        watched = np.sort(train_test_split(labelled, test_size=size, random_state=seed, stratify=strata)[1])
        kept = np.setdiff1d(np.arange(len(y)), watched)
        return rows.take(_tensor(kept)), rows.take(_tensor(watched))

    def _remembered(self, teacher: Any, X: Any, terms: Sequence[Term]) -> Remembered | None:
        """What happens inside the teacher on every row, if terms ask for it."""
        inside = [type(term).__name__ for term in terms if "hidden_states" in term.needs]
        teacher = teacher.estimator if isinstance(teacher, FrozenEstimator) else teacher
        if not inside or not isinstance(teacher, _TableNetwork):
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
        return Remembered([torch.cat(parts) for parts in states], teacher.model_.shape)

    # ---------------------------------------------------------------- predict

    def _encoded(self, X: Any) -> Tensor:
        check_is_fitted(self, "model_")
        X, encoder = as_table(X), self.reader_.encoder
        if not (encoder.named and has_names(X)) and X.shape[1] not in (encoder.width, len(encoder.columns)):
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting {encoder.width} features as input."
            )
        return _tensor(self.reader_.transform(X))

    def _outputs(self, features: Tensor, hidden: bool = False) -> list[Any]:
        """The network's outputs, some rows after the others."""
        device = device_of(self.device)
        model = self.model_.to(device)
        with torch.inference_mode():
            found = [model(part.to(device), output_hidden_states=hidden) for part in features.split(_ROWS_AT_ONCE)]
        model.cpu()
        return found

    def _raw(self, X: Any) -> np.ndarray:
        """Logits of shape (n_samples, n_outputs) in float32."""
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
        tags.target_tags.multi_output = tags.estimator_type == "regressor"
        tags.non_deterministic = self.random_state is None
        return tags


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values if values.dtype.kind == "i" else values.astype(np.float32, copy=False))


class _Perceptron(_TableNetwork):
    _onehot = True

    def __init__(
        self,
        *,
        width: int = 64,
        n_layers: int = 1,
        dropout: float = 0.0,
        columns: Any = None,
        teacher: Any = None,
        alpha: float = 0.5,
        temperature: float = 1.0,
        objective: Any = None,
        epochs: int = 40,
        batch_size: int = 128,
        learning_rate: float = 5e-3,
        weight_decay: float = 1e-2,
        validation_fraction: float | None = 0.1,
        patience: int | None = 10,
        device: str | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.width = width
        self.n_layers = n_layers
        self.dropout = dropout
        self.columns = columns
        self.teacher = teacher
        self.alpha = alpha
        self.temperature = temperature
        self.objective = objective
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _built(self, reader: TableReader, n_outputs: int) -> nn.Module:
        return Perceptron(reader.width, n_outputs, width=self.width, n_layers=self.n_layers, dropout=self.dropout)


class _Transformer(_TableNetwork):
    _onehot = False
    #: Folds are not the default: a fit takes long.
    fits_slowly = True

    def __init__(
        self,
        *,
        width: int = 64,
        n_layers: int = 2,
        n_heads: int = 4,
        dropout: float = 0.1,
        columns: Any = None,
        teacher: Any = None,
        alpha: float = 0.5,
        temperature: float = 1.0,
        objective: Any = None,
        epochs: int = 30,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        validation_fraction: float | None = 0.1,
        patience: int | None = 8,
        device: str | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.width = width
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.dropout = dropout
        self.columns = columns
        self.teacher = teacher
        self.alpha = alpha
        self.temperature = temperature
        self.objective = objective
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _check_settings(self) -> None:
        super()._check_settings()
        if not isinstance(self.n_heads, Integral) or self.n_heads < 1 or self.width % self.n_heads:
            raise ValueError(f"n_heads must divide width={self.width}, got {self.n_heads!r}. Try 4 heads of width 64.")

    def _built(self, reader: TableReader, n_outputs: int) -> nn.Module:
        return FTTransformer(
            len(reader.fill), reader.gaps, reader.sizes, n_outputs,
            width=self.width, n_layers=self.n_layers, n_heads=self.n_heads, dropout=self.dropout,
        )  # fmt: skip


class TabularMLPClassifier(NeuralClassifierMixin, ClassifierMixin, _Perceptron):
    """A perceptron on the columns of a table, as a classifier, a teacher or a student.

    Parameters
    ----------
    width, n_layers : int
        Of the hidden layers.
    dropout : float
    """


class TabularMLPRegressor(NeuralRegressorMixin, RegressorMixin, _Perceptron):
    """A perceptron on the columns of a table, as a regressor (see :class:`TabularMLPClassifier`)."""


class FTTransformerClassifier(NeuralClassifierMixin, ClassifierMixin, _Transformer):
    """An FT-Transformer."""


class FTTransformerRegressor(NeuralRegressorMixin, RegressorMixin, _Transformer):
    """An FT-Transformer."""

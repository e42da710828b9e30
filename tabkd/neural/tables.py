"""Networks for tables: a perceptron and the FT-Transformer as teachers and as students."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from sklearn.base import ClassifierMixin, RegressorMixin
from torch import nn

from tabkd.neural.table_models import FTTransformer, Perceptron
from tabkd.neural.table_network import TableNetwork
from tabkd.neural.table_reader import TableReader
from tabkd.neural.tasks import NeuralClassifierMixin, NeuralRegressorMixin

__all__ = [
    "FTTransformerClassifier",
    "FTTransformerRegressor",
    "TabularMLPClassifier",
    "TabularMLPRegressor",
]


class _Perceptron(TableNetwork):
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
        epochs: int = 60,
        batch_size: int | None = None,
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


class _Transformer(TableNetwork):
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
        batch_size: int | None = 128,
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

    Numbers are standardised, gaps filled by the median and marked by a column of their own; categories become 0/1
    columns, one of them for missing values, all of them 0 where a category is unknown.

    Parameters
    ----------
    width, n_layers : int
        Of the hidden layers.
    dropout : float
    columns : column specification, optional
        What the network reads; None is every column of ``fit``. Those that only the ``teacher`` reads are not needed
        afterwards.
    teacher : estimator or None
        Fitted; it is asked once about every row. Terms that look inside need a network for tables.
    alpha, temperature : float
        Of the loss ``alpha * CE(y, z) + (1 - alpha) * temperature**2 * KL``, where there is a ``teacher``.
    objective : sequence of Term, optional
        Terms beside those two: ``Hidden``, ``Embedding``, ``Distances``, ``Angles``, ``ActivationBoundary``; a
        ``SoftLabels`` or ``HardLabels`` takes the place of its like.
    epochs : int
    batch_size : int or None
        None is 128, and up to 512 where an epoch would have more than 48 steps; ``learning_rate`` then grows with its
        root.
    learning_rate, weight_decay : float
        Of AdamW; the rate rises for a tenth of the epochs and then falls along a cosine.
    validation_fraction : float or None
        Share of the labelled rows that the best epoch is chosen by, if that is 20 rows or more.
    patience : int or None
        Epochs without a better loss on them after which training ends; None never ends early.
    device : str or None
        None is a GPU if torch sees one, else the processor.
    random_state : int, RandomState or None
    verbose : int
        1 shows a bar of epochs.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    model_ : Perceptron
    reader_ : TableReader
    history_ : list of dict
        Of every epoch, with the loss on the rows watched.
    n_parameters_ : int
    n_features_in_, feature_names_in_
        Of the table of ``fit``.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from tabkd.neural import TabularMLPClassifier
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> teacher = RandomForestClassifier(50, random_state=0).fit(X, y)
    >>> few = ["mean radius", "mean texture", "mean smoothness"]
    >>> student = TabularMLPClassifier(width=8, columns=few, teacher=teacher, epochs=10, random_state=0).fit(X, y)
    >>> student.predict_proba(X[few]).shape
    (569, 2)
    """


class TabularMLPRegressor(NeuralRegressorMixin, RegressorMixin, _Perceptron):
    """A perceptron on the columns of a table, as a regressor (see :class:`TabularMLPClassifier`)."""


class FTTransformerClassifier(NeuralClassifierMixin, ClassifierMixin, _Transformer):
    """The FT-Transformer: a token per column, and attention among them; rather a teacher than a student.

    Parameters
    ----------
    width, n_layers, n_heads : int
        Of the tokens; ``n_heads`` divides ``width``.
    dropout : float
    columns, teacher, alpha, temperature, objective, epochs, batch_size, learning_rate, weight_decay
        As those of :class:`TabularMLPClassifier`.
    validation_fraction, patience, device, random_state, verbose
        Likewise.

    Attributes
    ----------
    classes_, model_, reader_, history_, n_parameters_, n_features_in_, feature_names_in_
        As those of :class:`TabularMLPClassifier`.

    References
    ----------
    Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from tabkd.neural import Distances, FTTransformerClassifier, TabularMLPClassifier
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> teacher = FTTransformerClassifier(width=16, epochs=20, random_state=0).fit(X, y)
    >>> student = TabularMLPClassifier(width=8, teacher=teacher, objective=[Distances()], random_state=0).fit(X, y)
    >>> student.n_parameters_ < teacher.n_parameters_ / 20
    True
    """


class FTTransformerRegressor(NeuralRegressorMixin, RegressorMixin, _Transformer):
    """The FT-Transformer as a regressor (see :class:`FTTransformerClassifier`)."""

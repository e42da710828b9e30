"""``ModuleClassifier`` and ``ModuleRegressor``: any ``torch.nn.Module`` that returns logits, on arrays."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from tabkd.neural.distiller import outputs_of
from tabkd.neural.estimator import NeuralEstimator
from tabkd.neural.networks import Affine
from tabkd.neural.reading import ArrayReader
from tabkd.neural.tasks import NeuralClassifierMixin, NeuralRegressorMixin

__all__ = ["ModuleClassifier", "ModuleRegressor"]


class _Module(NeuralEstimator):
    """A module on arrays or data sets: its parameters."""

    def __init__(
        self,
        model: nn.Module | Callable[..., nn.Module],
        *,
        teacher: Any = None,
        alpha: float = 0.1,
        temperature: float = 4.0,
        epochs: float = 10.0,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        validation_fraction: float | None = None,
        metric: str | None = None,
        training_args: dict[str, Any] | None = None,
        output_dir: Any = None,
        cache: Any = None,
        device: str | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.teacher = teacher
        self.alpha = alpha
        self.temperature = temperature
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.metric = metric
        self.training_args = training_args
        self.output_dir = output_dir
        self.cache = cache
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    objective = None
    stages = None

    def _reader(self, model: nn.Module) -> ArrayReader:
        return ArrayReader(self._whole)

    def _checked(self, X: Any, *, fitting: bool = False) -> Any:
        if isinstance(X, Dataset):
            if len(X) and isinstance(X[0], Mapping):  # type: ignore[arg-type]
                raise TypeError(
                    "Items of the data set are dicts; a row is one tensor or array. Give a data set of them."
                )
            return X
        return validate_data(self, X, reset=fitting, dtype="numeric", allow_nd=True)

    def _built(self, X: Any, n_outputs: int) -> nn.Module:
        first = Subset(X, range(min(1, len(X)))) if isinstance(X, Dataset) else X[:1]  # type: ignore[arg-type]
        (row,) = ArrayReader().rows(first)
        module = self._made(n_features=len(row) if row.ndim else 1, n_outputs=n_outputs).cpu().float()
        self._whole = not row.is_floating_point()
        with torch.no_grad():
            try:
                answer = outputs_of(module.eval(), row[None])
            except RuntimeError:
                if not self._whole:
                    raise
                # Layers with weights refuse whole numbers and booleans, those of embeddings need whole ones.
                self._whole = False
                answer = outputs_of(module, row[None].float())
        shape = tuple(cast(Tensor, answer.logits).shape)
        if shape != (1, n_outputs):
            raise ValueError(
                f"The model answers one row with a tensor of shape {shape}, but must with {(1, n_outputs)}: a logit "
                "per class, or a value per target. Give it as many outputs, or give a function of n_outputs."
            )
        return module.train()

    def _made(self, **sizes: int) -> nn.Module:
        if isinstance(self.model, nn.Module):
            return copy.deepcopy(self.model)
        if not callable(self.model):
            raise TypeError(f"model must be a torch.nn.Module, or a function that makes one, got {self.model!r}.")
        named = inspect.signature(self.model).parameters
        module = self.model(**{name: size for name, size in sizes.items() if name in named})
        if not isinstance(module, nn.Module):
            raise TypeError(f"model must make a torch.nn.Module, but {self.model!r} made {module!r}.")
        return module

    def to_onnx(self, path: Any, X: Any, **options: Any) -> Path:
        """Write the network as one ONNX file that answers as :meth:`predict` does, or not at all.

        Parameters
        ----------
        path : str or Path
        X : array-like of shape (n_samples, n_features)
            Rows to replay.
        **options
            Of :func:`tabkd.neural.export_module`.

        Returns
        -------
        Path
        """
        from tabkd.neural.onnx import export_module

        check_is_fitted(self, "model_")
        options = {"feature_names": getattr(self, "feature_names_in_", None)} | options
        rows = np.array(X, dtype=np.float32)  # copied: of what a table holds, which is read-only, torch warns
        return export_module(self._exported(), path, X=rows, classes=getattr(self, "classes_", None), **options)

    def _exported(self) -> nn.Module:
        return self.model_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.non_deterministic = self.random_state is None
        return tags


class ModuleClassifier(NeuralClassifierMixin, ClassifierMixin, _Module):
    """Any ``torch.nn.Module`` that answers a batch of rows with logits, as a classifier.

    Parameters
    ----------
    model : Module or callable
        Copied before it is trained; or a function that makes one, called under the seed of each fit with ``n_features``
        (the length of a row, channels of an image) and ``n_outputs``, as far as it has parameters of these names. Its
        outputs are logits of the sorted labels.
    teacher, alpha, temperature, epochs, batch_size, learning_rate, validation_fraction, metric, training_args
        As those of :class:`~tabkd.neural.TransformerClassifier`.
    output_dir, cache, device, random_state, verbose
        Likewise.

    Attributes
    ----------
    model_ : Module
    classes_ : ndarray of shape (n_classes,)
    history_ : list of dict
    n_parameters_ : int

    Examples
    --------
    >>> from functools import partial
    >>> from sklearn.datasets import load_digits
    >>> from tabkd.neural import ModuleClassifier
    >>> from torch import nn
    >>> X, y = load_digits(return_X_y=True)
    >>> def layers(n_features, n_outputs, width=256):
    ...     return nn.Sequential(nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, n_outputs))
    >>> teacher = ModuleClassifier(layers, epochs=5, random_state=0).fit(X / 16, y)
    >>> small = partial(layers, width=8)
    >>> student = ModuleClassifier(small, teacher=teacher, epochs=5, random_state=0).fit(X / 16, y)
    >>> student.predict_proba(X[:3] / 16).shape
    (3, 10)
    """


class ModuleRegressor(NeuralRegressorMixin, RegressorMixin, _Module):
    """Any ``torch.nn.Module`` that answers a batch of rows with values, as a regressor.

    Parameters and attributes are those of :class:`ModuleClassifier`, without ``classes_``.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from tabkd.neural import ModuleRegressor
    >>> from torch import nn
    >>> X, y = load_diabetes(return_X_y=True)
    >>> line = lambda n_features, n_outputs: nn.Linear(n_features, n_outputs)
    >>> ModuleRegressor(line, learning_rate=0.1, random_state=0).fit(X, y).score(X, y) > 0.4
    True
    """

    def _exported(self) -> nn.Module:
        """The network with the targets' mean and scale behind it."""
        return nn.Sequential(self.model_, Affine(self.scale_, self.mean_))

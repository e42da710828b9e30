"""What every estimator answers with once it is fitted: the model that it deploys."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from tabkd._compat import is_regressor
from tabkd.encodings import reads_texts
from tabkd.frames import as_table
from tabkd.rows import named_like_fit
from tabkd.scoring import name_of_score, score_of

__all__ = ["Deployed"]


class Deployed:
    """Answers with ``student_``, a fitted model that reads the columns ``student_features_``."""

    student_: Any
    scoring: Any

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels or values.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
            The columns ``student_features_``, or the full table; by name, extra columns and order do not matter.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        check_is_fitted(self)
        return self.student_.predict(self._read(X))

    @available_if(lambda self: not is_regressor(self))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities.

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
            The columns ``student_features_``, or the full table.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In [0, 1]; rows sum to 1.
        """
        check_is_fitted(self)
        return self.student_.predict_proba(self._read(X))

    def _read(self, X: Any) -> Any:
        table = named_like_fit(self, X)
        self.student_.encoder.check_width(table, type(self).__name__)
        return table

    @available_if(lambda self: hasattr(self, "distillation_gain_"))
    def summary(self) -> pd.DataFrame:
        """Honest scores side by side, for the eye.

        Returns
        -------
        DataFrame
            One row, called like the score: ``teacher`` if there is one, ``control``, ``student``, ``gain`` with its
            standard error ``gain_se``, and ``alpha``, which is 1 where the control was kept.
        """
        names = {"teacher": "teacher_score_", "control": "control_score_", "student": "student_score_"}
        names |= {"gain": "distillation_gain_", "gain_se": "distillation_gain_se_", "alpha": "alpha_"}
        values = {name: getattr(self, attribute) for name, attribute in names.items() if hasattr(self, attribute)}
        return pd.DataFrame(values, index=[name_of_score(self.scoring, self)])

    def to_onnx(self, path: Any, **options: Any) -> Path:
        """Write what is deployed as one ONNX file that answers exactly as :meth:`predict` does, or not at all.

        Parameters
        ----------
        path : str or Path
        **options
            Of :func:`tabkd.export.to_onnx`: ``X`` for rows to replay too, ``inputs``. Networks have more of their own.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            If it has a part that cannot be exported exactly, or the answers differ.
        """
        check_is_fitted(self)
        self._check_file()
        models = self.student_.estimators_
        exports_itself = getattr(models[0], "to_onnx", None)
        if exports_itself is None:
            return importlib.import_module("tabkd.export").to_onnx(self, path, **options)
        if len(models) > 1 or self.student_.threshold is not None:
            raise ValueError(
                f"{type(models[0]).__name__} is exported alone, without a threshold. Use "
                "ensemble=False and threshold=None."
            )
        if "X" in options:
            (member,), rows = self.student_.members, self.student_.encoder.transform(as_table(options.pop("X")))
            options["texts" if reads_texts(models[0]) else "X"] = member.prepared(rows)
        return exports_itself(path, **options)

    def _check_file(self) -> None:
        """Raise where what is deployed makes no single file."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score by ``scoring`` if it is set, else by accuracy or R².

        Parameters
        ----------
        X : table of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
        """
        return score_of(self, X, y, sample_weight)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "student_")

"""``TextSpans``: texts for a student, cut out of real ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types
from sklearn.base import BaseEstimator

from tabkd.frames import as_table, is_texts
from tabkd.munge import n_to_make

__all__ = ["TextSpans"]


@dataclass(unsafe_hash=True)
class TextSpans(BaseEstimator):
    """Make texts: each is a stretch of words of a real one, of any length.

    They cost no labels: a teacher labels them, so that a small student sees what the teacher makes of the parts of a
    text, and not of its whole alone.

    Parameters
    ----------
    ratio : float
        Texts to make per real text, above 0.
    min_words : int
        Of a stretch, 1 or more; texts of no more words stay whole.

    Notes
    -----
    Words are what stands between spaces. Every text is the parent of equally many, and a stretch keeps the parent's own
    spaces. In a table all columns of texts are cut and the others are the parent's: names and categories are shorter
    than ``min_words``, as a rule, and stay whole.

    References
    ----------
    Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks", 2019, section 3.3: n-gram
    sampling.

    Examples
    --------
    >>> from tabkd import TextSpans
    >>> TextSpans(ratio=2).sample(["a film of rare beauty", "dull"], seed=0)
    ['film of rare beauty', 'dull', 'a film of', 'dull']
    """

    ratio: float = 3.0
    min_words: int = 3

    def sample(self, X: Any, *, n_samples: int | None = None, seed: int | None = None) -> Any:
        """Draw texts.

        Parameters
        ----------
        X : sequence of str, or table of shape (n_rows, n_features)
            Texts, or a pandas or polars frame that has some.
        n_samples : int or None
            Rows to draw; None is ``ratio`` times those of ``X``.
        seed : int or None
            The same seed gives the same rows.

        Returns
        -------
        list of str, or DataFrame of shape (n_samples, n_features)
            Columns and types of ``X``, without its index.

        Raises
        ------
        ValueError
            If no text is longer than ``min_words``, or a parameter is out of range.
        """
        table = pd.DataFrame(as_table(X))
        n_samples = n_to_make(self.ratio, len(table), n_samples)
        if not (isinstance(self.min_words, Integral) and self.min_words > 0):
            raise ValueError(f"min_words must be a whole number > 0, got {self.min_words!r}. Try 3.")
        rng = np.random.default_rng(seed)
        parents = np.resize(rng.permutation(len(table)), n_samples)
        words = {name: [_words(value) for value in column] for name, column in table.items() if _holds_texts(column)}
        if not any(len(places) > self.min_words for column in words.values() for places in column):
            raise ValueError(
                f"X holds no text of more than {self.min_words} words, so that none can be cut. Give texts, a smaller "
                "min_words, or rows of your own."
            )
        made = table.iloc[parents].reset_index(drop=True)
        for name, column in words.items():
            whole = table[name].to_numpy(dtype=object)
            cut = [self._cut(whole[parent], column[parent], rng) for parent in parents]
            made[name] = pd.Series(cut, dtype=table[name].dtype)
        return made.iloc[:, 0].tolist() if is_texts(X) else made

    def _cut(self, text: Any, words: list[tuple[int, int]], rng: np.random.Generator) -> Any:
        if len(words) <= self.min_words:
            return text
        length = rng.integers(self.min_words, len(words), endpoint=True)
        first = rng.integers(len(words) - length, endpoint=True)
        return text[words[first][0] : words[first + length - 1][1]]


def _holds_texts(column: pd.Series) -> bool:
    return types.is_object_dtype(column) or isinstance(column.dtype, pd.StringDtype)


def _words(value: Any) -> list[tuple[int, int]]:
    """Where the words of a text begin and end; a missing text has none."""
    return [match.span() for match in re.finditer(r"\S+", value)] if isinstance(value, str) else []

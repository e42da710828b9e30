"""``TextSpans``: texts for a student, cut out of real ones."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types
from sklearn.base import BaseEstimator

from tabkd._compat import read_seed
from tabkd.checks import check_whole
from tabkd.frames import as_table, is_texts
from tabkd.munge import n_to_make

__all__ = ["TextSpans"]


@dataclass(unsafe_hash=True)
class TextSpans(BaseEstimator):
    """Make texts: each is a stretch of words of a real one, of any length, with some words hidden.

    They cost no labels: a teacher labels them, so that a small student sees what the teacher makes of the parts of a
    text, and not of its whole alone.

    Parameters
    ----------
    ratio : float
        Texts to make per real text, above 0.
    min_words : int
        Of a stretch, 1 or more; texts of no more words stay whole.
    mask : float
        Chance of each word to be hidden, in [0, 1).
    mask_token : str or None
        What stands for a hidden word: ``"[MASK]"`` for models of BERT's kind, ``"<mask>"`` for RoBERTa's. None leaves
        the word out, which suits every model.

    Notes
    -----
    Words are what stands between spaces. Every text is the parent of equally many. In a table all columns of texts are
    cut and the others are the parent's: names and categories are shorter than ``min_words``, as a rule, and stay whole.

    References
    ----------
    Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks", 2019, section 3.3: n-gram
    sampling and masking.

    Examples
    --------
    >>> from tabkd import TextSpans
    >>> TextSpans(ratio=2, mask=0).sample(["a film of rare beauty", "dull"], random_state=0)
    ['film of rare beauty', 'dull', 'film of rare', 'dull']
    """

    ratio: float = 3.0
    min_words: int = 3
    mask: float = 0.1
    mask_token: str | None = None

    def sample(self, X: Any, *, n_samples: int | None = None, random_state: Any = None) -> Any:
        """Draw texts.

        Parameters
        ----------
        X : sequence of str, or table of shape (n_rows, n_features)
            Texts, or a pandas or polars frame that has some.
        n_samples : int or None
            Rows to draw; None is ``ratio`` times those of ``X``.
        random_state : int, RandomState or None
            The same integer gives the same rows.

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
        self._check()
        rng = np.random.default_rng(read_seed(random_state))
        parents = np.resize(rng.permutation(len(table)), n_samples)
        words = {name: [_words(value) for value in column] for name, column in table.items() if _holds_texts(column)}
        if not any(len(row) > self.min_words for rows in words.values() for row in rows):
            raise ValueError(
                f"X holds no text of more than {self.min_words} words, so that none can be cut. Give texts, a smaller "
                "min_words, or rows of your own."
            )
        made = table.iloc[parents].reset_index(drop=True)
        for name, rows in words.items():
            whole = table[name].to_numpy(dtype=object)
            cut = [self._cut(whole[parent], rows[parent], rng) for parent in parents]
            made[name] = pd.Series(cut, dtype=table[name].dtype)
        return made.iloc[:, 0].tolist() if is_texts(X) else made

    def _check(self) -> None:
        check_whole("min_words", self.min_words, 1, 3)
        if not (isinstance(self.mask, Real) and 0 <= float(self.mask) < 1):
            raise ValueError(f"mask must be a number in [0, 1), got {self.mask!r}. Try 0.1.")

    def _cut(self, text: Any, words: list[str], rng: np.random.Generator) -> Any:
        if len(words) <= self.min_words:
            return text
        length = rng.integers(self.min_words, len(words), endpoint=True)
        first = rng.integers(len(words) - length, endpoint=True)
        stretch, hidden = words[first : first + length], rng.random(length) < self.mask
        if hidden.all():  # nothing would be left to label
            return " ".join(stretch)
        shown = [self.mask_token if hide else word for word, hide in zip(stretch, hidden, strict=True)]
        return " ".join(word for word in shown if word is not None)


def _holds_texts(column: pd.Series) -> bool:
    return types.is_object_dtype(column) or isinstance(column.dtype, pd.StringDtype)


def _words(value: Any) -> list[str]:
    """The words of a text; a missing one has none."""
    return value.split() if isinstance(value, str) else []

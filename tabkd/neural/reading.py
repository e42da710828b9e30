"""What neural models read: texts through a tokenizer, or arrays."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabkd.runtime_text import check_text, slices

__all__ = [
    "ArrayReader",
    "TextReader",
    "answers_last",
    "check_tokens",
    "counts_from",
    "encoded",
    "fitting",
    "positions_of",
]


def counts_from(model: Any) -> int | None:
    """The padding token, where positions are counted from behind it: in RoBERTa and its kin."""
    return getattr(getattr(getattr(model, "base_model", None), "embeddings", None), "padding_idx", None)


def positions_of(model: Any) -> int | None:
    """Number of tokens that a model has positions for, None where it does not say."""
    positions = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if positions is None or positions < 0:  # XLNet says -1
        return None
    padding = counts_from(model)
    return positions if padding is None else positions - padding - 1


def check_tokens(tokenizer: Any, model: Any, whose: str = "model") -> None:
    """Raise if a tokenizer makes tokens that a model has no embeddings for."""
    known = getattr(getattr(model, "config", None), "vocab_size", None)
    if known is not None and (last := max(tokenizer.get_vocab().values())) >= known:
        raise ValueError(
            f"The tokenizer makes tokens up to id {last}, and the {whose} has embeddings for {known} (vocab_size). "
            "Words are added to both by tabkd.neural.add_tokens(model, tokenizer, words); elsewhere give the "
            f"{whose}'s own tokenizer."
        )


def answers_last(model: Any) -> bool:
    """Whether a model answers by the last place of a row, as XLNet does, and so is padded on the left."""
    return getattr(getattr(model, "sequence_summary", None), "summary_type", None) == "last"


def fitting(tokenizer: Any, model: Any) -> Any:
    """A tokenizer as a model needs it: padding where no answer hangs on the others of a batch."""
    check_tokens(tokenizer, model)
    # On the left, padding moves a text's positions; XLNet counts them between tokens.
    side = "left" if answers_last(model) else "right"
    if tokenizer.padding_side != side:
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.padding_side = side
    return tokenizer


def encoded(tokenizer: Any, rows: Sequence[Any], max_length: int) -> Iterator[dict[str, np.ndarray]]:
    """Token ids and what belongs to them, without padding; no token at all is one of padding that is looked at."""
    columns = [list(part) for part in zip(*rows, strict=True)] if isinstance(rows[0], tuple) else [rows]
    made = tokenizer(*columns, truncation=True, max_length=max_length)
    nothing = {
        "input_ids": [tokenizer.pad_token_id or 0],
        "attention_mask": [1],
        "token_type_ids": [tokenizer.pad_token_type_id],
    }
    for row in zip(*made.values(), strict=True):
        yield {name: np.array(value or nothing[name], dtype=np.int32) for name, value in zip(made, row, strict=True)}


class TextReader:
    """Texts, or pairs of texts, as token ids.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    max_length : int or None
        Tokens kept of a row; None is as many as the model has positions.
    text_columns : str, int, sequence of either, or None
        Columns of a table that hold the texts, one or two, by name or place; None is all of them.
    positions : int or None
        Of the model.
    by_name : bool
        Whether later tables are read by the names of the first one's columns, where those are text.
    """

    def __init__(
        self, tokenizer: Any, max_length: int | None, text_columns: Any, positions: int | None, by_name: bool = False
    ) -> None:
        if tokenizer.pad_token is None:
            raise ValueError(f"{type(tokenizer).__name__} has no padding token. Set tokenizer.pad_token.")
        most = min(positions or 512, tokenizer.model_max_length)
        if max_length is not None and not 2 <= max_length <= (positions or max_length):
            raise ValueError(
                f"max_length must be from 2 to {positions}, the model's positions, got {max_length}. Try {most}."
            )
        self.tokenizer = tokenizer
        self.max_length = max_length or most
        self.text_columns = text_columns
        #: What the texts of a row were called when they were read first, in ``fit``: two for pairs.
        self.names: tuple[str, ...] = ()
        self._by_name = by_name
        self._learnt: tuple[str, ...] = ()

    def rows(self, X: Any) -> list[Any]:
        """Texts, or pairs of texts, as the tokenizer takes them.

        Raises
        ------
        TypeError
            If something is no text.
        ValueError
            If a row has neither one text nor two, or not as many as the first, or a column is missing.
        """
        if isinstance(X, str):
            raise TypeError("X is one string; give a list of texts.")
        if type(X).__module__.partition(".")[0] in ("polars", "pyarrow"):
            X = X.to_list() if hasattr(X, "to_list") else X.to_pandas()
        elif isinstance(X, Mapping):
            X = pd.DataFrame(X)
        names: tuple[str, ...] = ()
        if isinstance(X, pd.DataFrame):
            names = tuple(str(name) for name in self._names(X)) if all(isinstance(n, str) for n in X) else ()
            X = zip(*(X[name] for name in self._names(X)), strict=True)
        elif isinstance(X, np.ndarray) and X.ndim == 2:
            X = (X if self.text_columns is None else X[:, np.atleast_1d(self.text_columns)]).tolist()
        rows = [tuple(row) if isinstance(row, list | tuple | np.ndarray) else (row,) for row in X]
        for number, row in enumerate(rows):
            if len(row) not in (1, 2):
                raise ValueError(f"Row {number} holds {len(row)} texts; one or two are read. Name text_columns.")
            if len(row) != len(rows[0]):
                found = "one text where a pair" if len(row) == 1 else "two texts where one"
                raise ValueError(f"Row {number} holds {found} should be, as in row 0. Give every row as many texts.")
            for part in row:
                if not isinstance(part, str):
                    raise TypeError(
                        f"Row {number} holds {part!r} ({type(part).__name__}) where a text should be. Replace missing "
                        'texts by "", and name the text_columns of a table that has others.'
                    )
                check_text(part, f"Row {number}")
        if rows and not self.names:
            self.names, self._learnt = names or ("text", "text_pair")[: len(rows[0])], names if self._by_name else ()
        return [row[0] if len(row) == 1 else row for row in rows]

    def _names(self, X: pd.DataFrame) -> list[Any]:
        given = self._learnt if self.text_columns is None else np.atleast_1d(self.text_columns).tolist()
        places: dict[Any, Any] = {place: name for place, name in enumerate(X.columns) if place not in X.columns}
        names = [places.get(name, name) for name in given or X.columns]
        unknown = [name for name in names if name not in X.columns]
        if unknown and self.text_columns is None:
            raise ValueError(f"X lacks the columns {unknown}, which were read in the fit. It has {X.columns.tolist()}.")
        if unknown:
            raise ValueError(f"text_columns names unknown columns {unknown}. X has {X.columns.tolist()}.")
        if len(names) > 2:
            raise ValueError(f"X has the columns {names}, but one or two texts a row are read. Name text_columns.")
        return names

    def encoded(self, rows: Sequence[Any]) -> list[dict[str, np.ndarray]]:
        """What :func:`encoded` gives of every row."""
        return [row for part in slices(rows) for row in encoded(self.tokenizer, part, self.max_length)]

    def collated(self, encoded: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """One batch, padded to its longest row."""
        return dict(self.tokenizer.pad(list(encoded), return_tensors="pt"))


@dataclass
class ArrayReader:
    """Arrays, or data sets of them, as float32 tensors.

    Attributes
    ----------
    whole : bool
        Whether whole numbers and booleans stay what they are.
    """

    whole: bool = True

    def rows(self, X: Any) -> list[Any]:
        """Tensors, a row each.

        Raises
        ------
        ValueError
            If there are no rows.
        """
        if isinstance(X, torch.utils.data.Dataset):
            items = [X[i] for i in range(len(X))]  # type: ignore[arg-type]
            X = [item[0] if isinstance(item, tuple | list) else item for item in items]
        elif isinstance(X, pd.DataFrame):
            X = X.to_numpy()
        # Copied, so that nothing that is done to a row reaches the caller's.
        found = [row.clone() if isinstance(row, Tensor) else torch.from_numpy(np.array(row)) for row in X]
        if not found:
            raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
        return [row if self.whole and not row.is_floating_point() else row.float() for row in found]

    def encoded(self, rows: Sequence[Any]) -> Sequence[Any]:
        """The rows themselves."""
        return rows

    def collated(self, encoded: Sequence[Any]) -> Tensor:
        """One batch."""
        return torch.stack(list(encoded))

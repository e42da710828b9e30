"""Texts for ``OnnxPredictor``: from rows to tokens. Needs tokenizers where it reads a text, and else only NumPy.

Complete in itself beside ``runtime.py``: copy both to where the rest of tabkd is not installed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

__all__ = ["TOKENIZER", "TextReader", "check_text", "slices"]

#: Key of the tokenizer in a file's metadata.
TOKENIZER = "tabkd.tokenizer"
#: Rows at once where nobody says how many: more are not faster, and attention takes memory for each.
_BATCH_SIZE = 32
#: Characters that are tokenised at a time: on the way each takes forty bytes, what is cut off from a text included.
_AT_ONCE = 1 << 20


def check_text(text: str, where: str) -> None:
    """Raise where a text holds what no tokenizer reads."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where} holds {text[error.start]!r}, half a character, which no tokenizer reads. Replace it: "
            "text.encode(errors='replace').decode()."
        ) from None


def slices(rows: Iterable[Any], size: int = _AT_ONCE) -> Iterator[list[Any]]:
    """Texts, or tuples of them, in their order: as many at a time as come to ``size`` characters."""
    held: list[Any] = []
    length = 0
    for row in rows:
        held.append(row)
        length += 1 + (len(row) if isinstance(row, str) else sum(map(len, row)))
        if length > size:
            yield held
            held, length = [], 0
    if held:
        yield held


class TextReader:
    """How the texts of a table become the inputs of a model.

    Parameters
    ----------
    described : mapping
        The file's metadata.
    tokenizer : str
        As JSON, truncation included.
    """

    def __init__(self, described: Mapping[str, Any], tokenizer: str) -> None:
        self.columns = [column["name"] for column in described["columns"]]
        self.inputs = list(described["tokens"])
        padding = described["padding"]
        self._padding = {"input_ids": padding["id"], "attention_mask": 0, "token_type_ids": padding["type"]}
        self._json = tokenizer

    def run(self, session: Any, X: Any, output: str, batch_size: int | None) -> np.ndarray:
        """An output for every row, in their order.

        Parameters
        ----------
        session : onnxruntime.InferenceSession
        X : sequence of texts or of pairs, or a table with the columns of the model
        output : str
        batch_size : int or None

        Returns
        -------
        ndarray of shape (n_samples, ...)
        """
        tokens, step = self.tokens(self.rows(X)), batch_size or _BATCH_SIZE
        # Texts of like length together need little padding.
        order = np.argsort([len(row["input_ids"]) for row in tokens], kind="stable")
        parts = [
            session.run([output], self.padded([tokens[row] for row in order[start : start + step]]))[0]
            for start in range(0, len(order), step)
        ]
        return np.concatenate(parts)[np.argsort(order)]

    def rows(self, X: Any) -> list[tuple[str, ...]]:
        """The texts of each row.

        Raises
        ------
        ValueError
            If there are no rows, a column is missing, or something is no text; the row is named.
        """
        if hasattr(X, "columns") and not any(isinstance(name, str) for name in _names(X)):
            X = X.to_numpy()  # a frame without names
        if isinstance(X, Mapping) or hasattr(X, "columns"):
            cells = [_listed(self._column(X, name)) for name in self.columns]
            if len({len(column) for column in cells}) > 1:
                raise ValueError(f"The columns {self.columns} have {[*map(len, cells)]} rows. Give each as many.")
            rows: list[tuple[Any, ...]] = list(zip(*cells, strict=True))
        else:
            rows = [self._row(number, row) for number, row in enumerate(_listed(X))]
        if not rows:
            raise ValueError("X has no rows. Give at least one text.")
        for number, row in enumerate(rows):
            for text in row:
                if not isinstance(text, str):
                    raise ValueError(
                        f'Row {number} (from 0) holds {text!r}, but texts must be strings. "" is an empty text.'
                    )
                check_text(text, f"Row {number} (from 0)")
        return rows

    def tokens(self, rows: Sequence[tuple[str, ...]]) -> list[dict[str, list[int]]]:
        """The model's inputs for each row, without padding."""
        found = [
            {"input_ids": e.ids, "attention_mask": e.attention_mask, "token_type_ids": e.type_ids}
            for part in slices(rows)
            for e in self._tokenizer.encode_batch([row[0] if len(row) == 1 else row for row in part])
        ]
        # Where a tokenizer adds nothing of its own, an empty text is one padding token that is looked at.
        nothing = {**{name: [value] for name, value in self._padding.items()}, "attention_mask": [1]}
        return [row if row["input_ids"] else nothing for row in found]

    def padded(self, tokens: Sequence[Mapping[str, list[int]]]) -> dict[str, np.ndarray]:
        """A batch, padded to its longest row."""
        shape = len(tokens), max(len(row["input_ids"]) for row in tokens)
        feed = {name: np.full(shape, self._padding[name], dtype=np.int64) for name in self.inputs}
        for name, array in feed.items():
            for place, row in zip(array, tokens, strict=True):
                place[: len(row[name])] = row[name]
        return feed

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            import tokenizers
        except ImportError as error:
            raise ImportError("Reading texts needs tokenizers: pip install tokenizers") from error
        try:
            return tokenizers.Tokenizer.from_str(self._json)
        except Exception as error:  # tokenizers raises no class of its own
            json.loads(self._json)  # damaged, says so itself
            raise ValueError(
                f"tokenizers {tokenizers.__version__} cannot read the model's tokenizer ({error}). Install a newer one."
            ) from error

    def _column(self, X: Any, name: str) -> Any:
        if name not in _names(X):
            raise ValueError(f"The table lacks the column {name!r}. This model needs {self.columns}.")
        return X[name]

    def _row(self, number: int, row: Any) -> tuple[Any, ...]:
        if isinstance(row, Mapping):
            return tuple(self._column(row, name) for name in self.columns)
        texts = tuple(row) if isinstance(row, tuple | list) else (row,)
        if len(texts) != len(self.columns):
            raise ValueError(
                f"Row {number} (from 0) holds {len(texts)} texts, but this model reads {len(self.columns)}: "
                f"{self.columns}. Give each row as {'a text' if len(self.columns) == 1 else 'a tuple of texts'}."
            )
        return texts


def _names(table: Any) -> Any:
    # What pyarrow calls columns are their values.
    return table.schema.names if type(table).__module__.startswith("pyarrow") else getattr(table, "columns", table)


def _listed(values: Any) -> list[Any]:
    if isinstance(values, str | bytes):
        raise ValueError("X is one text. Give a list of texts, or use predict_one.")
    for method in ("to_list", "tolist", "to_pylist"):
        if hasattr(values, method):
            return getattr(values, method)()
    return list(values)

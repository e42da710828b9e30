"""Raw text as rows of tokens to be masked: read once, line by line, and kept on disk."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tabkd.runtime_text import check_text, slices

__all__ = ["Corpus", "lines"]

#: Characters that are read and tokenised at a time.
_CHUNK = 1 << 20


def lines(texts: Any) -> Iterator[str]:
    """Texts one after the other, "" where a document ends.

    Parameters
    ----------
    texts : Path, or iterable of str and Path
        A string is a text, a Path a file of them, one on a line, in UTF-8 (``.gz`` is unpacked). A blank one, and a
        file's beginning, start another document.

    Yields
    ------
    str

    Raises
    ------
    TypeError
        If something is neither text nor Path.

    Examples
    --------
    >>> from tabkd.neural.corpus import lines
    >>> list(lines(["One line.", "Its next.", " ", "Another text."]))
    ['One line.', 'Its next.', '', 'Another text.']
    """
    if isinstance(texts, str):
        raise TypeError("texts is one string; give a list of texts, or Path(...) for a file of them.")
    names = texts if isinstance(texts, Mapping) else getattr(texts, "column_names", getattr(texts, "columns", None))
    if names is not None:
        raise TypeError(f"texts is a table of the columns {list(names)}; give the one that holds the texts.")
    if hasattr(texts, "to_pylist"):  # of pyarrow
        texts = (text.as_py() for text in texts)
    for number, text in enumerate([texts] if isinstance(texts, Path) else texts):
        if isinstance(text, Path):
            yield ""
            yield from _read(text)
        elif isinstance(text, str):
            check_text(text, f"Text {number}")
            yield text.strip()
        else:
            raise TypeError(f"Text {number} is {text!r} ({type(text).__name__}), but must be a text, or a file's Path.")


def _read(path: Path) -> Iterator[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig") as file:
        while line := file.readline(_CHUNK):  # a file may be one line
            yield line.strip()


class Corpus(torch.utils.data.Dataset):
    """Rows of tokens, some of them masked anew in every epoch.

    What is masked depends on seed, epoch and row alone, whatever the batches and processes. Of the tokens that are not
    special, ``probability`` are to be predicted, at least one: 80% of them are masked, 10% are any other token, 10% are
    as they were.

    Parameters
    ----------
    texts : Path, or iterable of str and Path
        As :func:`lines` reads them; gone through once.
    tokenizer : PreTrainedTokenizerBase
    folder : Path
        Where the tokens are kept, in two or four bytes each.
    max_length : int
        Tokens of a row. Texts share a row, with a separator between them, as long as they fit; longer ones are cut.
    pairs : bool
        Whether a row is two lines, each at most half as long (longer ones are cut into consecutive ones): every line
        that has a next one in its document with that one, or, half of the time, with any other of the corpus.
    probability : float
    seed : int

    Raises
    ------
    ValueError
        If there is no text, nothing to mask, or for pairs nothing consecutive.

    References
    ----------
    Devlin et al., "BERT", 2019. Liu et al., "RoBERTa", 2019 (dynamic masking, rows filled with texts).
    """

    def __init__(
        self,
        texts: Any,
        tokenizer: Any,
        folder: Path,
        *,
        max_length: int,
        pairs: bool = False,
        probability: float = 0.15,
        seed: int = 0,
    ) -> None:
        self.tokens = _Tokens(tokenizer)
        size = (max_length - 3) // 2 if pairs else max_length - 2
        if size < 1:
            raise ValueError(f"max_length must be at least {5 if pairs else 3}, got {max_length}.")
        encoded = _encoded(lines(texts), tokenizer)
        pieces = _sentences(encoded, size) if pairs else _packed(encoded, size, self.tokens.separator)
        self._ids, self._ends, follows = _written(pieces, folder, self.tokens.dtype)
        self._check(follows if pairs else None)
        self.pairs, self.probability, self.seed, self.epoch = pairs, probability, seed, 0
        self._rows = follows if pairs else None

    def _check(self, follows: np.ndarray | None) -> None:
        if not len(self._ends):
            raise ValueError("texts holds no text: nothing but blank lines, if any. Give at least one.")
        starts = range(0, len(self._ids), _CHUNK)
        if all(self.tokens.special[self._ids[start : start + _CHUNK]].all() for start in starts):
            raise ValueError(
                "texts hold no token that can be masked: the tokenizer knows none of their words. Give the tokenizer "
                "of their language."
            )
        if follows is not None and (not len(follows) or len(self._ends) < 3):
            raise ValueError(
                f"NSP needs lines that follow each other and others to tell them from, but texts have {len(follows)} "
                f"consecutive among {len(self._ends)}. Give the lines of documents in their order, or leave NSP out."
            )

    def set_epoch(self, epoch: int) -> None:
        """Masks are drawn anew for another epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._ends) if self._rows is None else len(self._rows)

    @property
    def content(self) -> Any:
        """All that a fingerprint is to know."""
        return self._ids, self._ends, self._rows, self.probability, vars(self.tokens)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of every row; of a pair the most there may be, as another second text is drawn in every epoch."""
        lengths = np.diff(self._ends, prepend=0)
        if self._rows is None:
            return lengths + 2
        longest = lengths.argmax()
        seconds = np.where(self._rows == longest, np.delete(lengths, longest).max(), lengths[longest])
        return lengths[self._rows] + seconds + 3

    def __getitem__(self, row: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, self.epoch, row])
        if self._rows is None:
            return self._masked([self._piece(row)], rng)
        first = int(self._rows[row])
        # Any piece but this one and the next, so that each label is true.
        other = int(rng.integers(len(self._ends) - 2))
        other += 2 * (other >= first)
        random = bool(rng.random() < 0.5)
        return self._masked([self._piece(first), self._piece(other if random else first + 1)], rng) | {
            "follows": int(random)
        }

    def _piece(self, number: int) -> np.ndarray:
        start = int(self._ends[number - 1]) if number else 0
        return self._ids[start : int(self._ends[number])].astype(np.int64)

    def _masked(self, pieces: Sequence[np.ndarray], rng: np.random.Generator) -> dict[str, Any]:
        """Pieces between special tokens, and what was masked in them."""
        tokens = self.tokens
        parts = [part for piece in pieces for part in (piece, [tokens.separator])]
        ids = np.concatenate([[tokens.first], *parts])
        kinds = np.repeat(np.arange(len(pieces)), [len(piece) + 1 + (n == 0) for n, piece in enumerate(pieces)])
        expected = np.full(len(ids), -100)
        open_to_it = np.flatnonzero(~tokens.special[ids])
        n_masked = min(len(open_to_it), max(1, round(self.probability * len(open_to_it))))
        chosen, fate = rng.choice(open_to_it, n_masked, replace=False), rng.random(n_masked)
        expected[chosen] = ids[chosen]
        ids[chosen[fate < 0.8]] = tokens.mask
        other = chosen[fate >= 0.9]
        ids[other] = rng.choice(tokens.ordinary, len(other))
        return {"input_ids": ids, "token_type_ids": kinds, "tokens": expected}

    def collate(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One batch, padded to its longest row."""
        filling = {"input_ids": self.tokens.padding, "token_type_ids": 0, "tokens": -100}
        padded = {name: _padded([row[name] for row in rows], value) for name, value in filling.items()}
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        batch: dict[str, Any] = {"tokens": padded.pop("tokens")}
        padded["attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
        if not self.pairs:
            return batch | {"inputs": {name: padded[name] for name in ("input_ids", "attention_mask")}}
        return batch | {"inputs": padded, "follows": torch.tensor([row["follows"] for row in rows])}


def _padded(rows: Sequence[np.ndarray], value: int) -> Tensor:
    return pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True, padding_value=value)


class _Tokens:
    """A tokenizer's special tokens, and those that may be masked."""

    def __init__(self, tokenizer: Any) -> None:
        named = {name: getattr(tokenizer, f"{name}_token_id") for name in ("cls", "sep", "mask", "pad")}
        missing = [f"{name}_token" for name, number in named.items() if number is None]
        if missing:
            raise ValueError(f"{type(tokenizer).__name__} has no {', '.join(missing)}. Set them on the tokenizer.")
        self.first, self.separator, self.mask, self.padding = named.values()
        known = np.array(sorted(tokenizer.get_vocab().values()))
        self.special = np.zeros(known[-1] + 1, dtype=bool)
        self.special[tokenizer.all_special_ids] = True
        self.ordinary = known[~self.special[known]]
        self.dtype = np.uint16 if known[-1] < 1 << 16 else np.uint32


def _encoded(texts: Iterator[str], tokenizer: Any) -> Iterator[list[int]]:
    """Token ids of every line, some lines at a time."""
    for part in slices(texts, _CHUNK):
        yield from tokenizer(part, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]


def _cut(ids: list[int], size: int) -> Iterator[list[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _packed(encoded: Iterable[list[int]], size: int, separator: int) -> Iterator[tuple[list[int], bool]]:
    """Rows of several texts; none follows another."""
    row: list[int] = []
    for ids in encoded:
        for piece in _cut(ids, size):
            if row and len(row) + 1 + len(piece) > size:
                yield row, False
                row = []
            row = [*row, separator, *piece] if row else piece
    if row:
        yield row, False


def _sentences(encoded: Iterable[list[int]], size: int) -> Iterator[tuple[list[int], bool]]:
    """Lines, or pieces of long ones, and whether they follow the one before."""
    follows = False
    for ids in encoded:
        for piece in _cut(ids, size):
            yield piece, follows
            follows = True
        follows = bool(ids)


def _written(
    pieces: Iterable[tuple[list[int], bool]], folder: Path, dtype: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pieces on disk: ids, where each ends, and those that have a next one."""
    paths = [folder / name for name in ("ids", "ends", "follows")]
    end = 0
    with paths[0].open("wb") as ids_file, paths[1].open("wb") as ends, paths[2].open("wb") as followed:
        for number, (ids, follows) in enumerate(pieces):
            end += len(ids)
            ids_file.write(np.array(ids, dtype=dtype).tobytes())
            ends.write(np.int64(end).tobytes())
            if follows:
                followed.write(np.int64(number - 1).tobytes())
    kinds = (dtype, np.int64, np.int64)
    return tuple(_mapped(path, kind) for path, kind in zip(paths, kinds, strict=True))  # type: ignore[return-value]


def _mapped(path: Path, kind: Any) -> np.ndarray:
    return np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.array([], dtype=kind)

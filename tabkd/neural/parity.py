"""The proof that a file answers as PyTorch does: over shapes, padding, and texts that tokenizers stumble over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from tabkd.export.parity import TOLERANCE, ParityError, Proof, scale_of
from tabkd.neural.reading import encoded
from tabkd.runtime import OnnxPredictor
from tabkd.runtime_text import TextReader

__all__ = ["TOKENS", "prove_rows", "prove_texts", "random_tokens"]

#: What transformers calls the inputs of its models.
TOKENS = ("input_ids", "attention_mask", "token_type_ids")
_BATCHES, _BATCH_SIZE = (1, 3), 32
#: Closer probabilities are one number to float32, and either may win.
_TIE = 1e-6
#: Texts that tokenizers treat in ways of their own; the last is longer than any model reads.
_TEXTS = (
    "",
    " \t\n",
    "Ünïcödé, ÀÉÎ & ﬁ ½",
    "한국어 문장",
    "日本語 🙂👍🏽",
    "don't\x00 [MASK] </s> 1,234.5",
    "word " * 5000,
)

#: From inputs as onnxruntime is fed them to PyTorch's answers, of shape (n_samples, n_outputs).
Answers = Callable[[dict[str, np.ndarray]], np.ndarray]


def prove_texts(
    answers: Answers, predictor: OnnxPredictor, reader: TextReader, tokenizer: Any, texts: Sequence[tuple[str, ...]]
) -> Proof:
    """Compare a file that reads texts with PyTorch.

    Parameters
    ----------
    answers : callable
        PyTorch's.
    predictor : OnnxPredictor
        Of the file.
    reader : TextReader
        Of the file.
    tokenizer : PreTrainedTokenizerBase
        The one that the file's was made of.
    texts : sequence of tuples
        Rows to compare beside those made here.

    Returns
    -------
    Proof

    Raises
    ------
    ParityError
        If the tokens of a text differ, or an answer by more than ``TOLERANCE``, or a label.
    """
    compared, length = _Comparison(predictor), predictor.metadata["max_length"]
    lengths = sorted({1, 2, length // 2, length} - {0})
    for batch, n, padding in product(_BATCHES, lengths, (False, True)):
        feed = random_tokens(reader.inputs, batch, n, len(tokenizer), padding=padding)
        found = predictor.session.run(compared.outputs, feed)[0]
        called = f"random tokens of shape {batch} x {n}{', padded' * padding}, row "
        compared.add(answers(feed), found, [f"{called}{row}" for row in range(batch)])
    n_texts = len(reader.columns)
    rows = [(first, second)[:n_texts] for first, second in zip(_TEXTS, reversed(_TEXTS), strict=True)] + [*texts]
    tokens = reader.tokens(rows)
    _check_tokens(tokenizer, rows, tokens, length)
    # PyTorch is given them as they come, the file sorts them: their padding differs.
    batches = [reader.padded(tokens[i : i + _BATCH_SIZE]) for i in range(0, len(rows), _BATCH_SIZE)]
    names = [f"the text {_short(row)}" for row in rows]
    compared.add(np.concatenate([answers(feed) for feed in batches]), compared.ask(rows), names)
    return compared.proof()


def prove_rows(answers: Answers, predictor: OnnxPredictor, rows: np.ndarray) -> Proof:
    """Compare a file that reads a matrix with PyTorch, on rows together and one by one.

    Parameters
    ----------
    answers : callable
        PyTorch's.
    predictor : OnnxPredictor
        Of the file.
    rows : ndarray of shape (n_samples, n_features)

    Returns
    -------
    Proof

    Raises
    ------
    ParityError
        If an answer differs by more than ``TOLERANCE``, or a label.
    """
    compared = _Comparison(predictor)
    compared.add(answers({"features": rows}), compared.ask(rows), [f"row {i} of X" for i in range(len(rows))])
    for i in range(min(len(rows), _BATCH_SIZE)):
        single = rows[i : i + 1]
        compared.add(answers({"features": single}), compared.ask(single), [f"row {i} of X by itself"])
    return compared.proof()


def random_tokens(
    names: Sequence[str], batch: int, length: int, n_ids: int, *, padding: bool = False
) -> dict[str, np.ndarray]:
    """Tokens without meaning.

    Parameters
    ----------
    names : sequence of str
        Which of ``TOKENS`` are wanted.
    batch, length : int
    n_ids : int
        Size of the vocabulary.
    padding : bool
        Whether rows end early, each elsewhere; the last does not.

    Returns
    -------
    dict of ndarrays of shape (batch, length)
    """
    rng = np.random.default_rng([batch, length])
    ends = np.linspace(length, 1, batch + 1, dtype=int)[:batch][::-1] if padding else np.full(batch, length)
    if padding and batch == 1:
        ends = np.array([max(1, length // 2)])
    mask = (np.arange(length) < ends[:, None]).astype(np.int64)
    types = (np.arange(length) >= length // 2) * mask
    made = dict(zip(TOKENS, (rng.integers(0, n_ids, (batch, length)), mask, types), strict=True))
    return {name: made[name] for name in names}


def _check_tokens(tokenizer: Any, rows: Sequence[tuple[str, ...]], tokens: Sequence[Any], max_length: int) -> None:
    expected = [row["input_ids"].tolist() for row in encoded(tokenizer, rows, max_length)]
    for row, ids, found in zip(rows, expected, tokens, strict=True):
        if ids != found["input_ids"]:
            raise ParityError(
                f"The file is not written: its tokenizer makes {found['input_ids'][:20]} of {_short(row)}, "
                f"{type(tokenizer).__name__} {ids[:20]}. The tokenizer does more than its backend, which alone can be "
                "put into a file."
            )


def _short(row: Any) -> str:
    text = repr(row[0] if len(row) == 1 else row)
    return text if len(text) < 100 else f"{text[:100]}..."


class _Comparison:
    """PyTorch's answers and the file's, row by row."""

    def __init__(self, predictor: OnnxPredictor) -> None:
        self._predictor = predictor
        self._classify = predictor.classes is not None
        self.outputs = predictor.metadata["outputs"][-1:]
        self._names: list[str] = []
        self._expected: list[np.ndarray] = []
        self._found: list[np.ndarray] = []

    def ask(self, rows: Any) -> np.ndarray:
        """The file's answers."""
        return self._predictor.predict_proba(rows) if self._classify else self._predictor.predict(rows)

    def add(self, expected: np.ndarray, found: np.ndarray, names: Sequence[str]) -> None:
        """Take rows in; ``names`` says what each is."""
        self._names += names
        self._expected.append(expected)
        self._found.append(found.reshape(expected.shape))

    def proof(self) -> Proof:
        """Refuse what differs."""
        expected, found = np.concatenate(self._expected), np.concatenate(self._found)
        scale = 1.0 if self._classify else scale_of(expected)
        difference = np.abs(found - expected) / scale
        worst = np.where(np.isnan(difference), np.inf, difference).max(axis=1)
        wrong, flipped = worst > TOLERANCE, np.zeros(len(worst), dtype=bool)
        if self._classify:
            flipped = expected.argmax(axis=1) != found.argmax(axis=1)
            second, first = np.sort(expected, axis=1)[:, -2:].T
            wrong |= flipped & (first - second > _TIE)
        if wrong.any():
            row = int(np.where(wrong, worst, -1).argmax())
            raise ParityError(
                f"The file is not written: for {self._names[row]} it answers {found[row].tolist()}, PyTorch "
                f"{expected[row].tolist()}. A model that decides in Python, by the length or the values of its input, "
                "is frozen in the file: write such decisions with tensors."
            )
        return Proof(len(worst), 0, float(worst.max()), int(flipped.sum()), TOLERANCE)

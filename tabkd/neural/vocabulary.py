"""Words of a field that a tokenizer takes to pieces: found, and made tokens of their own."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Sequence
from inspect import signature
from typing import Any, cast

import torch
from tokenizers.decoders import ByteLevel
from torch import Tensor
from transformers import AddedToken, PreTrainedModel

from tabkd.neural.corpus import lines
from tabkd.neural.loading import without_advice

__all__ = ["add_tokens", "new_words"]

#: Letters, digits after them; numbers are no words.
_WORD = re.compile(r"\b[^\W\d_]\w*\b")


def new_words(corpus: Any, tokenizer: Any, n: int) -> list[str]:
    """The most frequent words that a tokenizer takes to pieces, or does not know.

    Parameters
    ----------
    corpus : Path, or iterable of str and Path
        Texts, and files of them; read line by line.
    tokenizer : PreTrainedTokenizerBase
        Words are counted as it normalises them, in lower case if that is its way.
    n : int
        How many words at most.

    Returns
    -------
    list of str
        The most frequent first; what :func:`add_tokens` takes.

    Raises
    ------
    ValueError
        If ``n`` is below 1.

    Examples
    --------
    >>> from tabkd.neural import new_words
    >>> from transformers import BertTokenizerFast
    >>> words = "[PAD] [UNK] [CLS] [SEP] [MASK] the fever cough ta ##chy ##cardia".split()
    >>> tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
    >>> new_words(["The fever, the tachycardia.", "Tachycardia; cough; dyspnoea"], tokenizer, 2)
    ['tachycardia', 'dyspnoea']
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}. Give the number of words to look for.")
    counts: Counter[str] = Counter()
    for line in lines(corpus):
        counts.update(_WORD.findall(_normal(tokenizer, line)))
    in_order = sorted(counts, key=lambda word: (-counts[word], word))
    found: list[str] = []
    for word in in_order:
        if not _is_token(tokenizer, word):
            found.append(word)
        if len(found) == n:
            break
    return found


def add_tokens(model: Any, tokenizer: Any, words: Sequence[str]) -> tuple[Any, Any]:
    """Make words tokens of their own, for one model or for teacher and student alike.

    A new word starts where the mean of its pieces is, in the embedding as in the head for words, so that training goes
    on from what was known of it. Texts without new words are read and answered as before (other words' logits may
    differ by a rounding error). Tied weights stay tied. Nothing that is given is changed.

    Parameters
    ----------
    model : PreTrainedModel, or sequence of them
        Of one tokenizer.
    tokenizer : PreTrainedTokenizerBase
    words : sequence of str
        Those of :func:`new_words`, say. They are found as whole words only.

    Returns
    -------
    model : PreTrainedModel, or list of them
        As they were given.
    tokenizer : PreTrainedTokenizerBase

    Raises
    ------
    ValueError
        If a word is in the vocabulary already, or given twice; names them.

    Examples
    --------
    >>> from tabkd.neural import add_tokens, empty_student
    >>> from transformers import BertTokenizerFast
    >>> words = "[PAD] [UNK] [CLS] [SEP] [MASK] fever ta ##chy ##cardia".split()
    >>> tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
    >>> models = [empty_student(shape, tokenizer=tokenizer) for shape in ("bert-mini", "bert-tiny")]
    >>> (teacher, student), longer = add_tokens(models, tokenizer, ["tachycardia"])
    >>> longer.tokenize("Fever, tachycardia"), student.config.vocab_size
    (['fever', '[UNK]', 'tachycardia'], 10)
    """
    words = _checked(tokenizer, words)
    longer = copy.deepcopy(tokenizer)
    # As whole words: "cov" must not be found within "covid". Where a blank is part of the next token, a word takes it.
    blank = isinstance(getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None), ByteLevel)
    longer.add_tokens([AddedToken(word, single_word=True, lstrip=blank, normalized=True) for word in words])
    rows = longer.convert_tokens_to_ids(words)
    pieces = [tokenizer.convert_tokens_to_ids(_pieces(tokenizer, word)) for word in words]
    models = [model] if isinstance(model, PreTrainedModel) else list(model)
    grown = [_grown(one, rows, pieces) for one in models]
    return (grown[0] if isinstance(model, PreTrainedModel) else grown), longer


def _checked(tokenizer: Any, words: Sequence[str]) -> list[str]:
    """Words as the tokenizer will see them."""
    if isinstance(words, str):
        raise TypeError(f"words is one string; give a list, such as [{words!r}].")
    known = [word for word in words if _is_token(tokenizer, word)]
    if known:
        raise ValueError(f"{', '.join(map(repr, known))} are in the vocabulary already. Leave them out.")
    counts = Counter(_normal(tokenizer, word) for word in words)
    twice = [word for word, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"{', '.join(map(repr, twice))} are given more than once, as the tokenizer reads them.")
    return list(counts)


def _grown(model: PreTrainedModel, rows: Sequence[int], pieces: Sequence[Sequence[int]]) -> PreTrainedModel:
    model = copy.deepcopy(model)
    # Under all of their names: untied, BERT's head has a second bias, of which resizing keeps the wrong one.
    before = {name: parameter.detach() for name, parameter in model.named_parameters(remove_duplicate=False)}
    # One row more per word even where there were rows to spare: what grew is what belongs to the vocabulary.
    size = cast(Tensor, model.get_input_embeddings().weight).shape[0] + len(rows)
    resize = model.resize_token_embeddings
    options = {"mean_resizing": False} if "mean_resizing" in signature(resize).parameters else {}  # not MobileBERT's
    with without_advice(), torch.random.fork_rng():
        resize(size, **options)
    with torch.no_grad():
        for name, parameter in model.named_parameters(remove_duplicate=False):
            axes = [axis for axis, length in enumerate(parameter.shape) if length != before[name].shape[axis]]
            for axis in axes:
                old, new = before[name].movedim(axis, 0), parameter.movedim(axis, 0)
                for row, parts in zip(rows, pieces, strict=True):
                    new[row] = old[list(parts)].mean(0)
    return model


def _normal(tokenizer: Any, text: str) -> str:
    """A text as the tokenizer's own normaliser leaves it."""
    normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    return normalizer.normalize_str(text) if normalizer is not None else text


def _pieces(tokenizer: Any, word: str) -> list[str]:
    """Tokens of a word within a text: some tokenizers tell its beginning by the space."""
    return tokenizer.tokenize(f" {word}")


def _is_token(tokenizer: Any, word: str) -> bool:
    pieces = _pieces(tokenizer, word)
    return len(pieces) == 1 and pieces[0] != tokenizer.unk_token

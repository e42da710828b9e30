"""``MaskedLanguageModel``: transformers trained on raw text, alone or by a teacher."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, cast

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining

from tabkd.neural.agreement import check_vocabulary
from tabkd.neural.corpus import Corpus
from tabkd.neural.distiller import outputs_of
from tabkd.neural.loading import bare, read_model, read_tokenizer, without_advice
from tabkd.neural.outputs import Outputs
from tabkd.neural.pretraining_terms import MLM, NSP
from tabkd.neural.reading import TextReader, check_tokens, fitting, positions_of
from tabkd.neural.recipes import given_terms, pretraining_stages
from tabkd.neural.stages import Stage
from tabkd.neural.teachers import module_of, unfrozen
from tabkd.neural.trainable import Trainable
from tabkd.neural.training import Plan, seeded_globals, train

__all__ = ["MaskedLanguageModel"]


class MaskedLanguageModel(Trainable):
    """A transformer trained on raw text: to tell the words that were masked, as a teacher tells them.

    The first of two stages: what it saves, :class:`~tabkd.neural.TransformerClassifier` goes on from.

    Parameters
    ----------
    model : str, Path, PreTrainedModel or PreTrainedConfig
        What to train: a folder (or a hub's name, where there is a network), a model, which is copied, or a
        configuration, which gives a model with random weights. A head for words is added where there is none.
    tokenizer : str, Path, PreTrainedTokenizerBase or None
        None is the one beside ``model``.
    max_length : int or None
        Tokens of a row; None is as many as the model has positions. Texts share a row as long as they fit, longer ones
        are cut into several rows.
    teacher : MaskedLanguageModel, PreTrainedModel or None
        With the same vocabulary. It runs on every batch, because the masks are never the same. None learns from the
        text alone.
    objective : str, Term, sequence of Term, or None
        All that is learnt: ``"mlm"``; with a teacher ``"distilbert"`` (its answers for masked words, the words, and the
        cosine of the last states), ``"tinybert"``, ``"minilm"`` or ``"mobilebert"``; or terms. None is ``"distilbert"``
        with a teacher and ``"mlm"`` without. With :class:`~tabkd.neural.NSP` among them rows are pairs of lines.
    stages : Stage, sequence of Stage, or None
        Objectives one after the other, instead of ``objective`` and ``epochs``.
    epochs : float
    batch_size : int
        Rows per step and process; ``training_args={"gradient_accumulation_steps": n}`` makes it n times as large, with
        the same result as a batch of that size.
    learning_rate : float
    training_args : dict or None
        Of ``transformers.TrainingArguments``: accumulation, mixed precision, schedules, savings.
    output_dir : str, Path or None
        Keeps checkpoints, of every training in a folder of its own; one that was killed goes on from the last when it
        is fitted again (a ``random_state`` of None is 0, then).
    device : str or None
        None is the GPU, if there is one.
    random_state : int, RandomState or None
    verbose : int
        Above 0 shows a bar with every term's value.

    Attributes
    ----------
    model_ : PreTrainedModel
        Trained, with its head for words.
    n_rows_ : int
        Rows that the texts made.
    n_parameters_ : int

    References
    ----------
    Devlin et al., "BERT", 2019. Sanh et al., "DistilBERT, a distilled version of BERT", 2019. Jiao et al., "TinyBERT",
    2020 (general distillation, then task distillation). Sun et al., "MobileBERT", 2020.

    Examples
    --------
    >>> from tabkd.neural import MaskedLanguageModel
    >>> from transformers import BertConfig, BertTokenizerFast
    >>> words = "[PAD] [UNK] [CLS] [SEP] [MASK] one two three four".split()
    >>> tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
    >>> tiny = BertConfig(vocab_size=9, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    >>> texts = ["one two three four", "two three four one"] * 100
    >>> settings = {"tokenizer": tokenizer, "max_length": 12, "learning_rate": 0.01, "random_state": 0}
    >>> teacher = MaskedLanguageModel(tiny, epochs=12, **settings).fit(texts)
    >>> student = MaskedLanguageModel(tiny, teacher=teacher, epochs=12, **settings).fit(texts)
    >>> teacher.perplexity(texts) < 2, student.perplexity(texts) < 2
    (True, True)
    """

    def __init__(
        self,
        model: Any,
        *,
        tokenizer: Any = None,
        max_length: int | None = None,
        teacher: Any = None,
        objective: Any = None,
        stages: Any = None,
        epochs: float = 1.0,
        batch_size: int = 32,
        learning_rate: float = 1e-4,
        training_args: dict[str, Any] | None = None,
        output_dir: Any = None,
        device: str | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.teacher = teacher
        self.objective = objective
        self.stages = stages
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.training_args = training_args
        self.output_dir = output_dir
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, texts: Any, y: Any = None) -> Self:
        """Train on raw text.

        Parameters
        ----------
        texts : Path, or iterable of str and Path
            A string is a text, a Path a file of them, one on a line; a blank one ends a document. Gone through once,
            line by line: what is kept are the tokens, two or four bytes each, in a temporary folder on disk.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If something is neither text nor Path.
        ValueError
            If there is no text, or nothing in it to mask, or a parameter does not fit.
        """
        seed = self._seed()
        with seeded_globals(seed), ExitStack() as stack:
            teacher = bare(module_of(self.teacher))
            if teacher is None and self.teacher is not None:
                raise TypeError(
                    f"teacher must be a fitted MaskedLanguageModel or a transformers model, got {self.teacher!r}. Read "
                    "a folder with AutoModelForMaskedLM.from_pretrained."
                )
            pairs = any(isinstance(term, NSP) for term in given_terms(self.objective, self.stages))
            student = read_model(self.model, AutoModelForPreTraining if pairs else AutoModelForMaskedLM)
            if pairs and getattr(student.config, "type_vocab_size", None) == 1:
                raise ValueError(
                    f"NSP tells the second text of a row by its token type, and {type(student).__name__} knows one "
                    "type. Use BERT or MobileBERT, or leave NSP out."
                )
            stages = pretraining_stages(
                self.objective, self.stages, epochs=self.epochs, student=student, teacher=teacher
            )
            reader = self._reader(student)
            check_tokens(reader.tokenizer, teacher, "teacher")
            self._check_teacher(teacher, stages, reader.tokenizer)
            held = Path(stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True)))
            corpus = Corpus(
                texts, reader.tokenizer, held, max_length=reader.max_length, pairs=pairs,
                probability=_probability(stages), seed=seed,
            )  # fmt: skip
            folder = self._folder(stack, corpus, stages, seed, student, teacher)
            plan = Plan(folder, self._arguments(seed), "", _no_scores, corpus.collate, self.verbose)
            train(student, stages, corpus, None, plan, teacher)
            self.model_, self.reader_, self.n_rows_ = student.eval().cpu(), reader, len(corpus)
        self.n_parameters_ = sum(parameter.numel() for parameter in student.parameters())
        return self

    def _reader(self, model: Any) -> TextReader:
        tokenizer = fitting(read_tokenizer(self.tokenizer, self.model), model)
        return TextReader(tokenizer, self.max_length, None, positions_of(model))

    def _check_teacher(self, teacher: Any, stages: Sequence[Stage], tokenizer: Any) -> None:
        if teacher is None:
            return
        own = getattr(getattr(unfrozen(self.teacher), "reader_", None), "tokenizer", None)
        if own is not None:
            check_vocabulary(tokenizer, own)
        asking = [term for stage in stages for term in stage.objective if term.teacher and "logits" in term.needs]
        if asking and teacher.get_output_embeddings() is None:
            raise ValueError(
                f"{type(asking[0]).__name__} learns from the teacher's answers for masked words, and "
                f"{type(teacher).__name__} has no head for them. Train one (MaskedLanguageModel(teacher).fit(texts)), "
                "or learn from its layers alone: objective='tinybert' or 'minilm'."
            )

    # ---------------------------------------------------------------- use

    def score(self, texts: Any, y: Any = None) -> float:
        """Mean log-probability of masked words, each predicted from the rest of its row.

        Parameters
        ----------
        texts : Path, or iterable of str and Path
        y : ignored

        Returns
        -------
        float
            15% of the words are masked, the same ones whatever the model.
        """
        check_is_fitted(self, "model_")
        size, total, n_masked = 2 * self.batch_size, 0.0, 0
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            corpus = Corpus(texts, self.reader_.tokenizer, Path(folder), max_length=self.reader_.max_length)
            rows = (range(start, min(start + size, len(corpus))) for start in range(0, len(corpus), size))
            batches = (corpus.collate([corpus[row] for row in some]) for some in rows)
            for said, tokens in self._said((batch["inputs"], batch["tokens"]) for batch in batches):
                labels = tokens[tokens != -100]
                total += float(F.cross_entropy(cast(Tensor, said.logits).float(), labels, reduction="sum"))
                n_masked += len(labels)
        return -total / n_masked

    def _said(self, batches: Iterable[tuple[Any, Tensor | None]]) -> Iterator[tuple[Outputs, Any]]:
        """What the model says of inputs, at the tokens that are masked if these are given."""
        device = self._device()
        model = self.model_.to(device).eval()
        with torch.inference_mode():
            for inputs, tokens in batches:
                tokens = None if tokens is None else tokens.to(device)
                at = None if tokens is None else tokens != -100
                yield outputs_of(model, {name: value.to(device) for name, value in inputs.items()}, at=at), tokens
        model.cpu()

    def perplexity(self, texts: Any) -> float:
        """The exponential of the negative :meth:`score`: among how many words the model is in doubt; 1 is none.

        Parameters
        ----------
        texts : Path, or iterable of str and Path

        Returns
        -------
        float
        """
        return float(np.exp(-self.score(texts)))

    def next_sentence_proba(self, pairs: Any) -> np.ndarray:
        """Probability that the second text of each pair follows the first.

        Parameters
        ----------
        pairs : sequence of pairs of str, or table of two columns

        Returns
        -------
        ndarray of shape (n_pairs,)

        Raises
        ------
        ValueError
            If the model was trained without :class:`~tabkd.neural.NSP`.
        """
        check_is_fitted(self, "model_")
        rows = self.reader_.encoded(self.reader_.rows(pairs))
        starts = range(0, len(rows), self.batch_size)
        batches = (self.reader_.collated(rows[start : start + self.batch_size]) for start in starts)
        found = [np.zeros(0)]
        for said, _ in self._said((inputs, None) for inputs in batches):
            if said.next_sentence is None:
                raise ValueError("The model has no head for next sentences. Train it with NSP() in the objective.")
            found.append(torch.softmax(said.next_sentence.double(), dim=1)[:, 0].cpu().numpy())
        return np.concatenate(found)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write model and tokenizer as a folder that transformers and ``TransformerClassifier(folder)`` read.

        Parameters
        ----------
        folder : str or Path
        """
        check_is_fitted(self, "model_")
        with without_advice():
            self.model_.save_pretrained(folder)  # type: ignore[operator]
        self.reader_.tokenizer.save_pretrained(folder)


def _probability(stages: Sequence[Stage]) -> float:
    """The share to mask; terms that compare with a teacher have none of their own."""
    asked = {term.probability for stage in stages for term in stage.objective if isinstance(term, MLM)}
    if len(asked) > 1:
        raise ValueError(f"MLM terms of one training mask one share of the words, got {sorted(asked)}. Choose one.")
    return asked.pop() if asked else MLM().probability


def _no_scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {}

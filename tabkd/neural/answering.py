"""``QuestionAnswerer``: where in a context the answer to a question stands."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import nn
from transformers import AutoModelForQuestionAnswering

from tabkd.checks import check_alpha
from tabkd.neural.agreement import check_vocabulary
from tabkd.neural.base import Term, check_choice
from tabkd.neural.lesson import Lesson, collator, predicted
from tabkd.neural.loading import read_model, read_tokenizer
from tabkd.neural.reading import TextReader, fitting, positions_of
from tabkd.neural.spans import (
    NEVER,
    SoftSpans,
    SpanLabels,
    SpanModel,
    Window,
    behind_marks,
    best_span,
    targets,
    windows,
)
from tabkd.neural.squad import Question, marks, read_questions
from tabkd.neural.stages import Stage
from tabkd.neural.trainable import Trainable
from tabkd.neural.training import Plan, seeded_globals, train

__all__ = ["Found", "QuestionAnswerer"]


class Found(NamedTuple):
    """An answer: ``context[start:end] == text``.

    Attributes
    ----------
    id, text : str
    start, end : int
        Characters of the context.
    score : float
        Sum of the logits of its start and its end.
    """

    id: str
    text: str
    start: int
    end: int
    score: float


class QuestionAnswerer(Trainable):
    """A transformer that marks answers in contexts, alone or as the student of another.

    Long contexts are read in windows that overlap; the best span of all windows is the answer.

    Parameters
    ----------
    model : str, Path, PreTrainedModel or PreTrainedConfig
        What to train: a folder (or a hub's name, where there is a network), a model, which is copied, or a
        configuration, which gives a model with random weights.
    tokenizer : str, Path, PreTrainedTokenizerBase or None
        A fast one; None is the one beside ``model``.
    max_length : int
        Tokens of a window: question, context and what the tokenizer adds.
    stride : int
        Tokens of the context that neighbouring windows share.
    max_answer_length : int
        Tokens of an answer.
    teacher : QuestionAnswerer, PreTrainedModel or None
        Fitted, with the student's tokens. It answers every window once, before the training.
    metric : {"squad", "korquad"}
        How answers are compared in :meth:`evaluate`: by words, or by characters and with KorQuAD's punctuation.
    alpha, temperature : float
        Of ``alpha * CE + (1 - alpha) * temperature**2 * KL`` with a teacher, each the mean of start and end.
    epochs : float
    batch_size : int
        Windows per step and process.
    learning_rate : float
    training_args : dict or None
        Of ``transformers.TrainingArguments``.
    output_dir : str, Path or None
        Keeps checkpoints, of every training in a folder of its own; one that was killed goes on from the last when it
        is fitted again (a ``random_state`` of None is 0, then).
    device : str or None
        None is the GPU, if there is one.
    random_state : int, RandomState or None
    verbose : int
        Above 0 shows a bar with the terms' values.

    Attributes
    ----------
    model_ : PreTrainedModel
        Trained.
    n_parameters_ : int

    References
    ----------
    Devlin et al., "BERT", 2019, section 4.2. Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.

    Examples
    --------
    >>> from tabkd.neural import QuestionAnswerer
    >>> from transformers import BertConfig, BertTokenizerFast
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "who", "ann", "bob", "sang", "and", "danced"]
    >>> tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
    >>> rows = [
    ...     {"question": f"who {did}", "context": text, "answers": [{"text": name, "answer_start": text.index(name)}]}
    ...     for text in ("ann sang and bob danced", "bob danced and ann sang")
    ...     for name, did in (("ann", "sang"), ("bob", "danced"))
    ... ]
    >>> tiny = BertConfig(vocab_size=11, hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    >>> model = QuestionAnswerer(tiny, tokenizer=tokenizer, max_length=16, stride=4, epochs=40, learning_rate=0.003,
    ...     batch_size=4, random_state=0).fit(rows)
    >>> model.predict([{"question": "who sang", "context": "ann sang and bob danced"}])[0].text
    'ann'
    """

    def __init__(
        self,
        model: Any,
        *,
        tokenizer: Any = None,
        max_length: int = 384,
        stride: int = 128,
        max_answer_length: int = 30,
        teacher: Any = None,
        metric: str = "squad",
        alpha: float = 0.1,
        temperature: float = 4.0,
        epochs: float = 2.0,
        batch_size: int = 16,
        learning_rate: float = 5e-5,
        training_args: dict[str, Any] | None = None,
        output_dir: Any = None,
        device: str | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.stride = stride
        self.max_answer_length = max_answer_length
        self.teacher = teacher
        self.metric = metric
        self.alpha = alpha
        self.temperature = temperature
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.training_args = training_args
        self.output_dir = output_dir
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, data: Any, y: None = None) -> Self:
        """Learn from answers, and from a teacher's starts and ends if there is a ``teacher``.

        Parameters
        ----------
        data : mapping or sequence of mappings
            SQuAD's JSON, or rows with ``question``, ``context`` and ``answers``.
        y : None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are no questions, an answer does not stand in its context, no window holds all of it, or a
            parameter does not fit.
        """
        questions = read_questions(data, answered=True)
        check_choice("metric", self.metric, ("squad", "korquad"))
        check_alpha(self.alpha, 0.1)
        seed = self._seed()
        with seeded_globals(seed), ExitStack() as stack:
            model: Any = read_model(self.model, AutoModelForQuestionAnswering, num_labels=2)
            reader = self._reader(model)
            cut = self._windows(reader, questions)
            lesson = Lesson([window.inputs for window in cut], targets(cut, questions))
            terms: list[Term] = [SpanLabels()]
            if self.teacher is not None:
                lesson.log_soft = self._taught(reader, lesson)
                two = [SpanLabels(self.alpha), SoftSpans(self.temperature, 1 - self.alpha)]
                terms = [term for term in two if term.weight]
            stages = [Stage(terms, self.epochs)]
            folder = self._folder(stack, lesson, stages, seed, model)
            train(SpanModel(model), stages, lesson, None, self._plan(folder, seed, reader))
        self.model_, self.reader_ = model.eval().cpu(), reader
        self.n_parameters_ = sum(parameter.numel() for parameter in model.parameters())
        return self

    def predict(self, data: Any) -> list[Found]:
        """The answer to each question.

        Parameters
        ----------
        data : mapping or sequence of mappings
            As in :meth:`fit`; answers are not needed.

        Returns
        -------
        list of Found
        """
        check_is_fitted(self, "model_")
        return self._found(read_questions(data, answered=False))

    def evaluate(self, data: Any) -> dict[str, float]:
        """Exact match and F1, means over the questions, as ``metric`` says.

        Parameters
        ----------
        data : mapping or sequence of mappings
            With answers, as in :meth:`fit`.

        Returns
        -------
        dict of str to float
            ``"exact_match"`` and ``"f1"``, from 0 to 1.
        """
        check_is_fitted(self, "model_")
        questions = read_questions(data, answered=True)
        pairs = zip(self._found(questions), questions, strict=True)
        found = [marks(one.text, [text for text, _ in asked.answers], self.metric) for one, asked in pairs]
        exact, f1 = np.mean(found, axis=0)
        return {"exact_match": float(exact), "f1": float(f1)}

    def score(self, data: Any, y: None = None) -> float:
        """F1 of :meth:`evaluate`.

        Parameters
        ----------
        data : mapping or sequence of mappings
        y : None

        Returns
        -------
        float
        """
        return self.evaluate(data)["f1"]

    def to_onnx(self, path: str | Path, data: Any) -> Path:
        """Write the network as one ONNX file: tokens in, ``start_logits`` and ``end_logits`` out.

        Tokenizer, ``max_length`` and ``stride`` stand in the file's metadata.

        Parameters
        ----------
        path : str or Path
        data : mapping or sequence of mappings
            Questions whose windows PyTorch and the file are compared on.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            If the answers differ (``ParityError``): nothing is written then.
        """
        from tabkd.neural.onnx_spans import export_spans

        check_is_fitted(self, "model_")
        cut = self._windows(self.reader_, read_questions(data, answered=False))
        batches = [
            self.reader_.collated([window.inputs for window in cut[i : i + self.batch_size]])
            for i in range(0, len(cut), self.batch_size)
        ]
        settings = {"max_length": self.max_length, "stride": self.stride, "max_answer_length": self.max_answer_length}
        return export_spans(self.model_, self.reader_.tokenizer, path, batches, settings)

    # ---------------------------------------------------------------- inside

    def _reader(self, model: Any) -> TextReader:
        tokenizer = fitting(read_tokenizer(self.tokenizer, self.model), model)
        if not tokenizer.is_fast:
            raise ValueError("Characters of answers are known to fast tokenizers alone. Give a fast one.")
        return TextReader(tokenizer, self.max_length, None, positions_of(model))

    def _windows(self, reader: TextReader, questions: Sequence[Question]) -> list[Window]:
        taken = reader.tokenizer.model_input_names
        found = windows(reader.tokenizer, questions, self.max_length, self.stride)
        return [Window(w.question, {name: w.inputs[name] for name in taken}, w.spans) for w in found]

    def _found(self, questions: Sequence[Question]) -> list[Found]:
        """The best span of each question's windows."""
        cut = self._windows(self.reader_, questions)
        logits = self._logits(SpanModel(self.model_), Lesson([window.inputs for window in cut]), self.reader_)
        best = [(-np.inf, 0, 0)] * len(questions)
        for window, row in zip(cut, logits, strict=True):
            best[window.question] = max(best[window.question], best_span(window, row, self.max_answer_length))
        found = []
        for asked, (score, start, end) in zip(questions, best, strict=True):
            end = behind_marks(asked.context, end)
            start = end - len(asked.context[start:end].lstrip())  # tokenizers may count the blank before a word to it
            found.append(Found(asked.id, asked.context[start:end], start, end, score))
        return found

    def _taught(self, reader: TextReader, lesson: Lesson) -> np.ndarray:
        """The teacher's starts and ends for every window, of shape (n_windows, 2, longest)."""
        teacher = self.teacher
        if isinstance(teacher, QuestionAnswerer):
            check_is_fitted(teacher, "model_")
            check_vocabulary(reader.tokenizer, teacher.reader_.tokenizer)
            teacher = teacher.model_
        if not isinstance(teacher, nn.Module):
            raise TypeError(f"teacher must be a QuestionAnswerer or a transformers model, got {teacher!r}.")
        rows = self._logits(SpanModel(teacher), lesson, reader)
        longest = max(row.shape[1] for row in rows)
        found = np.full((len(rows), 2, longest), NEVER, dtype=np.float32)
        for place, row in zip(found, rows, strict=True):
            place[:, : row.shape[1]] = row
        return found

    def _logits(self, model: nn.Module, lesson: Lesson, reader: TextReader) -> list[np.ndarray]:
        """Starts and ends of each window, of shape (2, length)."""
        found: list[Any] = [None] * len(lesson)
        for rows, logits in predicted(model, lesson, reader, 2 * self.batch_size, self._device()):
            for row, values in zip(rows, logits.numpy(), strict=True):
                found[row] = values[:, : len(lesson.encoded[row]["input_ids"])]
        return found

    def _plan(self, folder: Path, seed: int, reader: TextReader) -> Plan:
        return Plan(
            folder, self._arguments(seed), "", lambda found, labels: {}, collator(reader.collated), self.verbose
        )

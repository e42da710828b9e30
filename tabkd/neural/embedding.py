"""``EmbeddingStudent``: texts to vectors, taught by a teacher's vectors, by pairs with labels, or by scored pairs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.stats import spearmanr
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils.validation import check_is_fitted, column_or_1d
from transformers import AutoModel

from tabkd._compat import check_sample_weight
from tabkd.neural.base import Term, check_choice
from tabkd.neural.courses import Course, of_pairs, of_teacher
from tabkd.neural.embedder import POOLINGS, Embedder, Untyped, read_folder, write_folder
from tabkd.neural.lesson import collator
from tabkd.neural.loading import found, read_model, read_tokenizer
from tabkd.neural.pairs import SingleReader, check_pairs, check_texts
from tabkd.neural.reading import fitting, positions_of
from tabkd.neural.stages import Stage
from tabkd.neural.trainable import Trainable
from tabkd.neural.training import Plan, seeded_globals, train

__all__ = ["EmbeddingStudent"]


class EmbeddingStudent(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Trainable):
    """A transformer that gives texts vectors: a student of another's vectors, or trained on pairs of texts.

    Parameters
    ----------
    model : str, Path, PreTrainedModel or PreTrainedConfig
        What to train: a folder (or a hub's name, where there is a network), a model, which is copied (``shrink`` makes
        one of the teacher's layers), or a configuration, which gives a model with random weights. A folder of
        sentence-transformers is started from as a whole.
    tokenizer : str, Path, PreTrainedTokenizerBase or None
        None is the one beside ``model``.
    pooling : {None, "mean", "cls"}
        A text's vector is the mean of its tokens' last states, or the first one's; None is the mean, or as the folder
        of sentence-transformers says.
    dimensions : int or None
        Of the vectors, by a linear layer behind the pooling; None is the model's width, or the folder's.
    normalize : bool or None
        Whether vectors get the length 1; the teacher's do as well, then. None is no, or as the folder says.
    projector : {None, "pca", "linear"}
        Where the teacher's vectors are of another size: ``"pca"`` keeps the first principal components of the
        teacher's, ``"linear"`` learns a map from the student's to the teacher's, which is left behind afterwards.
    max_length : int or None
        Tokens kept of a text; None is as many as the model has positions, or the folder says.
    teacher : estimator, object, Module or None
        Who makes the vectors to learn: anything with ``transform`` (fitted) or ``encode`` (a SentenceTransformer), or a
        transformer with the student's tokenizer, whose states are pooled as the student's are. None learns from ``y``.
    objective : Term, sequence of Term, or None
        What is learnt from the teacher: :class:`Vectors`, :class:`Similarities`, and what compares the insides of two
        transformers, such as :class:`Hidden`; None is ``[Vectors()]``.
    epochs : float
    batch_size : int
        Texts, or pairs, per step and process.
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
        Above 0 shows a bar.

    Attributes
    ----------
    model_ : Module
        Trained; gives vectors.
    n_outputs_ : int
        Size of the vectors.
    n_parameters_ : int
    components_ : ndarray of shape (n_outputs, teacher's size)
        What the teacher's vectors were multiplied by, with ``projector="pca"``.

    References
    ----------
    Reimers and Gurevych, "Sentence-BERT", 2019; "Making Monolingual Sentence Embeddings Multilingual using Knowledge
    Distillation", 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from tabkd.neural import EmbeddingStudent
    >>> from transformers import BertConfig, BertTokenizerFast
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
    >>> tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
    >>> tiny = BertConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    >>> texts, vectors = ["good film", "bad film"] * 50, np.array([[1.0, 0.0], [0.0, 1.0]] * 50)
    >>> settings = {"dimensions": 2, "epochs": 20, "learning_rate": 0.003, "random_state": 0}
    >>> student = EmbeddingStudent(tiny, tokenizer=tokenizer, **settings).fit(texts, vectors)
    >>> student.transform(["bad film", "good film"]).argmax(axis=1)
    array([1, 0])
    """

    def __init__(
        self,
        model: Any,
        *,
        tokenizer: Any = None,
        pooling: str | None = None,
        dimensions: int | None = None,
        normalize: bool | None = None,
        projector: str | None = None,
        max_length: int | None = None,
        teacher: Any = None,
        objective: Term | Sequence[Term] | None = None,
        epochs: float = 3.0,
        batch_size: int = 32,
        learning_rate: float = 5e-5,
        training_args: dict[str, Any] | None = None,
        output_dir: Any = None,
        device: str | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.dimensions = dimensions
        self.normalize = normalize
        self.projector = projector
        self.max_length = max_length
        self.teacher = teacher
        self.objective = objective
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.training_args = training_args
        self.output_dir = output_dir
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def from_pretrained(cls, folder: str | Path, **settings: Any) -> Self:
        """Read a folder of sentence-transformers, or of :meth:`save_pretrained`, ready to :meth:`transform`.

        Parameters
        ----------
        folder : str or Path
        **settings
            Of the estimator: ``batch_size``, ``device``.

        Returns
        -------
        EmbeddingStudent

        Raises
        ------
        ValueError
            If it has parts or settings that are not known here.
        """
        embedder, tokenizer, length = read_folder(Path(folder))
        shape: dict[str, Any] = {"pooling": embedder.pooling, "normalize": embedder.normalize, "max_length": length}
        shape["dimensions"] = None if embedder.dense is None else embedder.width
        student = cls(Path(folder), **{**shape, **settings})
        return student._finished(embedder, student._reader(embedder, tokenizer, student.max_length))

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Learn vectors of texts, or from pairs of texts.

        Parameters
        ----------
        X : sequence of length n_samples
            Texts, whose vectors are learnt, or pairs of texts.
        y : array-like of shape (n_samples, n_dimensions) or (n_samples,), optional
            Of texts: their vectors, where there is no ``teacher`` to make them. Of pairs: floats and decimals are their
            cosines, from -1 to 1; anything else is their class, learnt by a softmax over u, v and \\|u - v\\|, which
            is left behind afterwards. Ignored where there is a teacher, as the target of a pipeline is.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If something is no text, or the teacher makes no vectors.
        ValueError
            If there is nothing to learn from, if lengths differ, if numbers are not finite or weights negative, or if
            the teacher's vectors are of another size and there is no projector.
        """
        check_choice("pooling", self.pooling or "mean", POOLINGS)
        check_choice("projector", self.projector, (None, "pca", "linear"))
        if self.teacher is not None:
            y = None
        elif y is None:
            raise ValueError("A student learns from a teacher or from y, got neither. Give one of them.")
        seed = self._seed()
        with seeded_globals(seed), ExitStack() as stack:
            embedder, length = self._started()
            reader = self._reader(embedder, read_tokenizer(self.tokenizer, self.model), length)
            rows = reader.rows(X)
            check_consistent_length(rows, *(given for given in (y, sample_weight) if given is not None))
            if not rows:
                raise ValueError("X is empty: there is no text to learn from. Give some.")
            weight = check_sample_weight(sample_weight, rows, ensure_non_negative=True)
            course = self._course(embedder, reader, rows, y)
            course.lesson.weight = weight.astype(np.float32)
            stages = [Stage(course.terms, self.epochs)]
            folder = self._folder(stack, course.lesson, stages, seed, course.student, course.teacher)
            plan = Plan(folder, self._arguments(seed), "", _unscored, collator(course.collated), self.verbose)
            train(course.student, stages, course.lesson, None, plan, course.teacher)
        if course.components is not None:
            self.components_ = course.components
        elif hasattr(self, "components_"):  # of an earlier fit
            del self.components_
        return self._finished(embedder, reader)

    def _started(self) -> tuple[Embedder, int | None]:
        """What is trained, and the length of its texts; a folder of sentence-transformers brings all of it along."""
        folder = Path(found(self.model)) if isinstance(self.model, str | Path) else None
        if folder is None or not (folder / "modules.json").exists():
            model = read_model(self.model, AutoModel)
            return Embedder(model, self.pooling or "mean", self.dimensions, bool(self.normalize)), self.max_length
        embedder, _, length = read_folder(folder)
        embedder.pooling = self.pooling or embedder.pooling
        embedder.normalize = embedder.normalize if self.normalize is None else self.normalize
        if self.dimensions is not None and (embedder.dense is None or embedder.width != self.dimensions):
            embedder = Embedder(embedder.model, embedder.pooling, self.dimensions, embedder.normalize)
        return embedder, self.max_length or length

    def _course(self, embedder: Embedder, reader: SingleReader, rows: list[Any], y: Any) -> Course:
        if self.teacher is None and np.ndim(y) == 1:
            return of_pairs(embedder, reader, rows, y)
        return of_teacher(
            embedder, reader, rows, np.asarray(y, dtype=np.float64) if self.teacher is None else self.teacher,
            objective=self.objective, projector=self.projector, batch_size=2 * self.batch_size, device=self._device(),
        )  # fmt: skip

    def _finished(self, embedder: Embedder, reader: SingleReader) -> Self:
        self.model_, self.reader_ = embedder.eval().cpu(), reader
        self.n_outputs_ = embedder.width
        self.n_parameters_ = sum(parameter.numel() for parameter in embedder.parameters())
        return self

    def _reader(self, embedder: Embedder, tokenizer: Any, length: int | None) -> SingleReader:
        return SingleReader(fitting(tokenizer, embedder.model), length, None, positions_of(embedder.model))

    # ---------------------------------------------------------------- predict

    def transform(self, X: Any) -> np.ndarray:
        """Vectors of texts.

        Parameters
        ----------
        X : sequence of str of length n_samples

        Returns
        -------
        ndarray of shape (n_samples, n_outputs), float32
        """
        check_is_fitted(self, "model_")
        rows = self.reader_.rows(X)
        check_texts(rows)
        return self._raw(rows)

    def similarity(self, X: Any) -> np.ndarray:
        """Cosines of pairs of texts.

        Parameters
        ----------
        X : sequence of pairs of str, of length n_samples

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self, "model_")
        rows = self.reader_.rows(X)
        check_pairs(rows)
        known = {text: i for i, text in enumerate(dict.fromkeys(text for row in rows for text in row))}
        vectors = self._raw(list(known)).astype(np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        first, second = (vectors[[known[row[side]] for row in rows]] for side in (0, 1))
        return (first * second).sum(axis=1)

    def score(self, X: Any, y: Any) -> float:
        """Spearman's correlation of the cosines of pairs with their scores.

        Parameters
        ----------
        X : sequence of pairs of str, of length n_samples
        y : array-like of shape (n_samples,)

        Returns
        -------
        float
        """
        return float(spearmanr(self.similarity(X), column_or_1d(y)).statistic)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the folder that ``SentenceTransformer(folder)`` reads, and :meth:`from_pretrained`.

        Parameters
        ----------
        folder : str or Path

        Returns
        -------
        Path
        """
        check_is_fitted(self, "model_")
        write_folder(self.model_, self.reader_.tokenizer, self.reader_.max_length, Path(folder))
        return Path(folder)

    def to_onnx(self, path: Any, **options: Any) -> Path:
        """Write model and tokenizer as one ONNX file; ``OnnxPredictor(path).predict(texts)`` gives the vectors.

        Parameters
        ----------
        path : str or Path
        **options
            ``texts`` and what else :func:`tabkd.neural.export_text` takes.

        Returns
        -------
        Path
        """
        from tabkd.neural.onnx import export_text

        check_is_fitted(self, "model_")
        model = self.model_ if self.model_.takes_types else Untyped(self.model_)
        return export_text(model, self.reader_.tokenizer, path, max_length=self.reader_.max_length, **options)

    @property
    def _n_features_out(self) -> int:
        return self.n_outputs_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.non_deterministic = self.random_state is None
        return tags


def _unscored(found: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {}

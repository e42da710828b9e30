"""``TransformerClassifier`` and ``TransformerRegressor``: text in, through Hugging Face transformers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedConfig

from tabkd.neural.embedder import Untyped
from tabkd.neural.estimator import NeuralEstimator
from tabkd.neural.exits import AllExits, ExitModel, SelfDistillation
from tabkd.neural.fine_tuned import in_order, labels_of, read_fine_tuned
from tabkd.neural.loading import bare, found, freeze, frozen, read_tokenizer, without_advice
from tabkd.neural.networks import Affine
from tabkd.neural.reading import TextReader, counts_from, fitting, positions_of
from tabkd.neural.tasks import NeuralClassifierMixin, NeuralRegressorMixin

__all__ = ["TransformerClassifier", "TransformerRegressor"]


class _Transformer(NeuralEstimator):
    """A transformer on texts: its parameters, its model and its tokenizer."""

    def __init__(
        self,
        model: Any,
        *,
        tokenizer: Any = None,
        text_columns: Any = None,
        max_length: int | None = None,
        teacher: Any = None,
        alpha: float = 0.1,
        temperature: float = 4.0,
        objective: Any = None,
        stages: Any = None,
        epochs: float = 3.0,
        batch_size: int = 32,
        learning_rate: float = 5e-5,
        validation_fraction: float | None = None,
        metric: str | None = None,
        training_args: dict[str, Any] | None = None,
        output_dir: Any = None,
        cache: Any = None,
        device: str | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.text_columns = text_columns
        self.max_length = max_length
        self.teacher = teacher
        self.alpha = alpha
        self.temperature = temperature
        self.objective = objective
        self.stages = stages
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.metric = metric
        self.training_args = training_args
        self.output_dir = output_dir
        self.cache = cache
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _reader(self, model: Any, *, by_name: bool = True) -> TextReader:
        model = bare(model)
        tokenizer = fitting(read_tokenizer(self.tokenizer, self.model), model)
        if counts_from(model) is None:
            model.config.pad_token_id = tokenizer.pad_token_id  # by which causal models find a text's last token
        return TextReader(tokenizer, self.max_length, self.text_columns, positions_of(model), by_name)

    def _ready(self, model: Any) -> Self:
        """Fitted, by a model that was trained elsewhere."""
        self.n_outputs_, self.history_ = model.config.num_labels, []
        return self._finished(model, self._reader(model, by_name=False))

    def _built(self, X: Any, n_outputs: int) -> nn.Module:
        """A model of its own to train, with a head of the right width."""
        given, task, exits = bare(self.model), self._task(), self.objective
        if isinstance(exits, SelfDistillation) and task == "regression":
            raise ValueError("SelfDistillation is for classifiers, and this is a regressor. Give terms, or None.")
        if isinstance(given, str | Path):
            with without_advice():
                model = AutoModelForSequenceClassification.from_pretrained(
                    found(given),
                    num_labels=n_outputs,
                    problem_type=task,
                    ignore_mismatched_sizes=True,
                    dtype=torch.float32,
                )
        elif isinstance(given, PreTrainedConfig):
            model = _new(given, n_outputs, task)
        elif isinstance(given, nn.Module) and hasattr(given, "config"):
            model = _with_head(given, n_outputs, task)
        else:
            raise TypeError(
                f"model must be a path or name, a transformers model or its configuration, got {given!r}. A module of "
                "your own goes into ModuleClassifier."
            )
        self._name_labels(model)
        return ExitModel(model, exits.layers, exits.exit_confidence) if isinstance(exits, SelfDistillation) else model

    def _name_labels(self, model: Any) -> None:
        """Nothing to name in a regression."""

    def _task(self) -> str:
        return "regression"

    def to_onnx(self, path: Any, **options: Any) -> Path:
        """Write model and tokenizer as one ONNX file that answers as :meth:`predict` does, or not at all.

        Parameters
        ----------
        path : str or Path
        **options
            Of :func:`tabkd.neural.export_text`.

        Returns
        -------
        Path
        """
        from tabkd.neural.onnx import export_text

        check_is_fitted(self, "model_")
        options = {"text_columns": self.reader_.names or ("text",)} | options
        return export_text(
            self._exported(),
            self.reader_.tokenizer,
            path,
            classes=getattr(self, "classes_", None),
            max_length=self.reader_.max_length,
            **options,
        )

    def _exported(self) -> nn.Module:
        if not isinstance(self.model_, ExitModel):
            return self.model_
        if self.model_.exit_confidence is None:
            return self.model_.model
        return AllExits(self.model_) if self.model_.takes_types else Untyped(AllExits(self.model_))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.one_d_array = tags.input_tags.string = True
        tags.input_tags.two_d_array = False  # of numbers; tables of texts are read
        tags.non_deterministic = self.random_state is None
        return tags


class TransformerClassifier(NeuralClassifierMixin, ClassifierMixin, _Transformer):
    """A transformer that classifies texts: as a teacher, as a student, or by itself.

    Parameters
    ----------
    model : str, Path, PreTrainedModel or PreTrainedConfig
        What to train: a folder (or a hub's name, where there is a network), a model, which is copied, or a
        configuration, which gives a model with random weights. A head of another width is replaced. Weights are
        float32, whatever they were saved in (``training_args={"bf16": True}`` is mixed precision).
    tokenizer : str, Path, PreTrainedTokenizerBase or None
        None is the one beside ``model``.
    text_columns : str, int, sequence of either, or None
        Of a table: one column of texts, or two for pairs, by name or place. Without a table, rows are texts or pairs of
        texts.
    max_length : int or None
        Tokens kept of a row; None is as many as the model has positions.
    teacher : estimator, Module or None
        Fitted, for :meth:`fit`: anything with ``predict_proba``, or a module. It answers every row once, before the
        training; it is only run again with each batch if a term looks inside it. None learns from labels alone.
        As the student of a :class:`~tabkd.DistilledEstimator` leave it None.
    alpha, temperature : float
        Of ``alpha * CE(y, z) + (1 - alpha) * temperature**2 * KL(soften(p, T), softmax(z / T))`` in :meth:`fit`. Usual
        starting points: 0.1 with a temperature of 4, or of 10.
    objective : str, Term, sequence of Term, or None
        What else is learnt from a teacher: a recipe (``"logits"``, ``"distilbert"``, ``"tinybert"``, ``"mobilebert"``,
        ``"minilm"``), or terms, which come beside the two of the loss above. Without a teacher the labels are learnt,
        for as many epochs.
        :class:`SelfDistillation` is a classifier's own teacher, and makes exits from which it may answer early.
    stages : Stage, sequence of Stage, or None
        Objectives one after the other, instead of ``objective`` and ``epochs``. Without a teacher, where terms need
        one, the labels are learnt for as many epochs.
    epochs : float
    batch_size : int
        Rows per step and process.
    learning_rate : float
    validation_fraction : float or None
        Labelled rows put aside to choose the best checkpoint by ``metric``; ``fit(..., eval_set=)`` gives them by name.
        None trains on all rows and keeps the last state.
    metric : str or None
        ``"f1_macro"``, ``"accuracy"``, ``"neg_log_loss"``, or any of scikit-learn's scorers; None is the first.
    training_args : dict or None
        Of ``transformers.TrainingArguments``: accumulation, mixed precision, schedules, savings.
    output_dir : str, Path or None
        Keeps checkpoints, of every training in a folder of its own; one that was killed goes on from the last when it
        is fitted again (a ``random_state`` of None is 0, then).
    cache : str, Path or None
        Keeps the teacher's answers on disk (float16), for large sets and for the next time.
    device : str or None
        None is the GPU, if there is one.
    random_state : int, RandomState or None
    verbose : int
        Above 0 shows a bar with every term's value.

    Attributes
    ----------
    model_ : PreTrainedModel
        Trained.
    history_ : list of dict
        Scores of every evaluation, at temperature 1.
    n_parameters_ : int
    classes_ : ndarray of shape (n_classes,)

    References
    ----------
    Sanh et al., "DistilBERT, a distilled version of BERT", 2019. Jiao et al., "TinyBERT", 2020. Sun et al.,
    "MobileBERT", 2020. Wang et al., "MiniLMv2", 2021.

    Examples
    --------
    A model with random weights and a vocabulary of its own, so that nothing needs to be downloaded:

    >>> from tabkd.neural import TransformerClassifier
    >>> from transformers import BertConfig, BertTokenizerFast
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
    >>> tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
    >>> tiny = BertConfig(vocab_size=8, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    >>> texts, labels = ["good film", "bad film"] * 50, ["yes", "no"] * 50
    >>> model = TransformerClassifier(tiny, tokenizer=tokenizer, epochs=10, learning_rate=0.003, random_state=0)
    >>> model.fit(texts, labels).predict(["bad film", "good film"]).tolist()
    ['no', 'yes']
    """

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, classes: Any = None, **settings: Any) -> Self:
        """Read a classifier that was fine-tuned elsewhere, with its tokenizer: fitted, as a teacher or to predict.

        Parameters
        ----------
        folder : str or Path
            As ``save_pretrained`` of transformers writes it, or a hub's name, where there is a network.
        classes : sequence or None
            Labels in the order of the model's logits, as they stand in ``y``; None is its own names for them, which are
            texts also where ``y`` had numbers, or 0, 1, ... where it never named them (``LABEL_0``, ...). ``classes_``
            and the model's outputs are sorted.
        **settings
            Of the estimator: ``tokenizer``, ``max_length``, ``text_columns``, ``batch_size``, ``device``.

        Returns
        -------
        TransformerClassifier

        Raises
        ------
        ValueError
            If the folder has no trained head, or one that does not choose one of several labels, or ``classes`` are not
            as many.
        """
        classifier = cls(folder, **settings)
        model = read_fine_tuned(folder, classifier._task())
        classifier.classes_ = in_order(model, labels_of(model, classes))
        return classifier._ready(model)

    def _task(self) -> str:
        return "single_label_classification"

    def _name_labels(self, model: Any) -> None:
        names = [str(label) for label in self.classes_.tolist()] if hasattr(self, "classes_") else None
        known = {int(i): str(name) for i, name in (model.config.id2label or {}).items()}
        if names is None or len(known) != len(names):
            return
        in_order = [known[i] for i in range(len(names))]
        if sorted(in_order) == sorted(names) and in_order != names:
            raise ValueError(
                f"The model's labels are in the order {in_order}, those of y in the order {names}. Rename the model's "
                "(model.config.id2label), or give a model with a new head."
            )
        model.config.id2label = dict(enumerate(names))
        model.config.label2id = {name: i for i, name in enumerate(names)}


class TransformerRegressor(NeuralRegressorMixin, RegressorMixin, _Transformer):
    """A transformer that gives texts a number, or several: as a teacher, as a student, or by itself.

    Parameters are those of :class:`TransformerClassifier`; ``metric`` is ``"r2"`` (the default),
    ``"neg_mean_squared_error"`` or any of scikit-learn's scorers, and there is no ``SelfDistillation``.

    Attributes
    ----------
    model_ : PreTrainedModel
        Trained, on values of mean 0 and scale 1.
    mean_, scale_ : ndarray of shape (n_outputs,)
        Of the values.
    history_ : list of dict
        Scores of every evaluation.
    n_parameters_ : int

    Examples
    --------
    >>> from tabkd.neural import TransformerRegressor
    >>> from transformers import BertConfig, BertTokenizerFast
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
    >>> tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
    >>> tiny = BertConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    >>> model = TransformerRegressor(tiny, tokenizer=tokenizer, epochs=3, learning_rate=0.01, random_state=0)
    >>> model.fit(["good film", "bad film"] * 20, [5.0, 1.0] * 20).predict(["good film"]).shape
    (1,)
    """

    @classmethod
    def from_pretrained(cls, folder: str | Path, **settings: Any) -> Self:
        """Read a regressor that was fine-tuned elsewhere, with its tokenizer: fitted, as a teacher or to predict.

        Parameters
        ----------
        folder : str or Path
            As ``save_pretrained`` of transformers writes it, or a hub's name, where there is a network. Its values are
            taken as they are: what was trained here gives them at mean 0 and scale 1, and is kept by pickle.
        **settings
            Of the estimator: ``tokenizer``, ``max_length``, ``text_columns``, ``batch_size``, ``device``.

        Returns
        -------
        TransformerRegressor

        Raises
        ------
        ValueError
            If the folder has no trained head, or one that gives labels.
        """
        regressor = cls(folder, **settings)
        model = read_fine_tuned(folder, regressor._task())
        n_outputs = model.config.num_labels
        regressor.mean_, regressor.scale_ = np.zeros(n_outputs), np.ones(n_outputs)
        return regressor._ready(model)

    def _exported(self) -> nn.Module:
        """The model with the targets' mean and scale behind its logits."""
        model, affine = copy.deepcopy(self.model_), Affine(self.scale_, self.mean_)
        model.register_forward_hook(lambda _, __, answer: affine(answer.logits))
        return model


def _new(config: Any, n_outputs: int, task: str) -> Any:
    """A model with random weights, in float32 whatever the configuration was saved in."""
    config = copy.deepcopy(config)
    config.id2label = None  # whose names are those of another head
    config.num_labels = n_outputs
    config.problem_type = task
    return AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)


def _with_head(given: Any, n_outputs: int, task: str) -> nn.Module:
    """A copy of a model; with a new head if its own is of another kind or width."""
    config = given.config
    if "ForSequenceClassification" in type(given).__name__ and config.num_labels == n_outputs:
        model = copy.deepcopy(given).float()
        model.config.problem_type = task
        return model.train()
    model = _new(config, n_outputs, task)
    own, inner = model.base_model, getattr(given, "base_model", given)
    kept = {name: value for name, value in inner.state_dict().items() if name in own.state_dict()}
    own.load_state_dict(kept, strict=False)
    freeze(own, frozen(inner))
    return model

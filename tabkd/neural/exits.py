"""Self-distillation: exits in the middle of a transformer that learn from its end, and predictions that leave early."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from tabkd.checks import check_alpha
from tabkd.neural.base import Term
from tabkd.neural.functions import cross_entropy, soft_kl
from tabkd.neural.loading import filled, frozen, takes_types
from tabkd.neural.outputs import Batch, Outputs
from tabkd.targets import check_temperature

__all__ = ["AllExits", "ExitModel", "SelfDistillation"]


@dataclass(frozen=True)
class SelfDistillation(Term):
    """Exits behind some of a classifier's encoders, which learn from its last one: it is its own teacher.

    As the ``objective`` of a :class:`~tabkd.neural.TransformerClassifier`. The last layer learns the labels, each exit
    ``alpha * CE + (1 - alpha) * temperature**2 * KL`` to the last layer's answers. The paper's hints are left out.

    Parameters
    ----------
    layers : sequence of int
        Encoders that have an exit, from 1; the last one always has its own.
    exit_confidence : float or None
        A row leaves at the first exit whose largest probability is at least that; None never leaves early. May be
        changed after the fit: ``classifier.model_.exit_confidence``.
    alpha : float
        Weight of the labels, from 0 to 1, as everywhere here; the paper's is 1 less that.
    temperature : float
    weight : float

    References
    ----------
    Zhang et al., "Be Your Own Teacher", ICCV 2019. Xin et al., "DeeBERT", ACL 2020.

    Examples
    --------
    >>> from tabkd.neural import SelfDistillation, TransformerClassifier
    >>> from transformers import BertConfig, BertTokenizerFast
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
    >>> tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
    >>> tiny = BertConfig(vocab_size=8, hidden_size=32, num_hidden_layers=3, num_attention_heads=2)
    >>> texts, labels = ["good film", "bad film"] * 50, ["yes", "no"] * 50
    >>> model = TransformerClassifier(tiny, tokenizer=tokenizer, epochs=10, learning_rate=0.003, random_state=0,
    ...     objective=SelfDistillation([1, 2], exit_confidence=0.8)).fit(texts, labels)
    >>> model.predict(["bad film", "good film"]).tolist(), model.model_.layers_used < 3
    (['no', 'yes'], True)
    """

    layers: Sequence[int] = (1,)
    exit_confidence: float | None = None
    alpha: float = 0.5
    temperature: float = 3.0
    weight: float = 1.0
    needs = frozenset({"logits"})
    unit = "rows"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "layers", tuple(self.layers))
        check_alpha(self.alpha, 0.5)
        check_temperature(self.temperature)

    @property
    def teacher(self) -> bool:
        """There is no other."""
        return False

    def _loss(self, student: Outputs, teacher: Outputs, batch: Batch, projectors: nn.ModuleDict) -> Tensor:
        assert student.logits is not None and batch.labels is not None  # of a classifier that trains
        *exits, last = student.logits.unbind(1)
        total = cross_entropy(last, batch.labels, batch.weight)
        for ours in exits:
            hard = cross_entropy(ours, batch.labels, batch.weight)
            soft = soft_kl(ours, last.detach(), self.temperature, batch.weight)
            total = total + self.alpha * hard + (1 - self.alpha) * soft
        return total


class ExitModel(nn.Module):
    """A sequence classifier with heads behind some of its encoders.

    Parameters
    ----------
    model : PreTrainedModel
    layers : sequence of int
        From 1.
    exit_confidence : float or None

    Raises
    ------
    ValueError
        If there is no such layer before the last, or the confidence is no probability.
    """

    def __init__(self, model: nn.Module, layers: Sequence[int], exit_confidence: float | None = None) -> None:
        super().__init__()
        config: Any = model.config
        n_layers, width = config.num_hidden_layers, config.hidden_size
        if n_layers < 2:
            raise ValueError("Exits stand behind encoders before the last, and the model has one. Give it two or more.")
        if not layers or sorted({*layers}) != [*layers] or not 1 <= layers[0] <= layers[-1] < n_layers:
            raise ValueError(
                f"layers must rise from 1 or more to {n_layers - 1} at most, the one before the last, got "
                f"{tuple(layers)}. Try ({max(n_layers // 2, 1)},)."
            )
        self.model, self.layers = model, tuple(layers)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, config.num_labels)) for _ in layers
        )
        self.exit_confidence = exit_confidence

    def __reduce__(self) -> Any:
        # Once a transformer has told its states, hooks hang on it that cannot be pickled.
        made = type(self.model), self.config, self.layers, self.exit_confidence
        return _rebuilt, (*made, self.state_dict(), frozen(self), self.training)

    @property
    def config(self) -> Any:
        """The transformer's."""
        return self.model.config

    @property
    def exit_confidence(self) -> float | None:
        """Where rows leave; to set it starts :attr:`layers_used` anew."""
        return self._exit_confidence

    @exit_confidence.setter
    def exit_confidence(self, value: float | None) -> None:
        if value is not None and not 0 < value <= 1:
            raise ValueError(f"exit_confidence must be above 0 and at most 1, got {value}. Try 0.9, or None.")
        self._exit_confidence = value
        self._n_rows = self._n_layers = 0

    @property
    def layers_used(self) -> float:
        """Layers that a row went through, on average over all that was predicted with this confidence."""
        return self._n_layers / max(self._n_rows, 1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits of shape (batch, classes); (batch, exits + 1, classes) in a training."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None and self.takes_types:
            inputs["token_type_ids"] = token_type_ids
        if self.training:
            return self.every(**inputs)
        if self.exit_confidence is None:
            return self.model(**inputs).logits
        return self._early(inputs)

    @property
    def takes_types(self) -> bool:
        """Whether the transformer reads token types."""
        return takes_types(self.model)

    def every(self, **inputs: Tensor) -> Tensor:
        """Logits of all exits and of the last layer, of shape (batch, exits + 1, classes)."""
        found: list[Tensor] = []
        places = self.places(inputs["attention_mask"])

        def exit_behind(head: nn.Module) -> Any:
            return lambda _, __, answer: found.append(head(_at(answer, places)))

        encoders = _encoders(self.model)
        hooks = [
            encoders[layer - 1].register_forward_hook(exit_behind(head))
            for layer, head in zip(self.layers, self.heads, strict=True)
        ]
        try:
            last = self.model(**inputs).logits
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack([*found, last], dim=1)

    def _early(self, inputs: dict[str, Tensor]) -> Tensor:
        """Logits of the exit at which each row left; rows that left are not computed any further."""
        n_rows = len(inputs["input_ids"])
        answers = self.heads[0][-1].bias.new_zeros((n_rows, self.config.num_labels))  # type: ignore[index]
        with _leaving(self, self.places(inputs["attention_mask"]), answers) as alive:
            try:
                answers[alive[0]] = self.model(**inputs).logits[alive[0]].to(answers.dtype)
                self._n_layers += len(alive[0]) * self.config.num_hidden_layers
            except _NobodyLeft:
                pass
        self._n_rows += n_rows
        return answers

    def places(self, mask: Tensor) -> Tensor:
        """The token of each row that exits read: the first; the last if each token sees only those before it."""
        if any(getattr(part, "is_causal", False) for part in _encoders(self.model)[0].modules()):
            return (mask * torch.arange(mask.shape[1], device=mask.device)).amax(1)
        return mask.argmax(1)

    def _left(self, n_rows: int, layer: int) -> None:
        self._n_layers += n_rows * layer


class _NobodyLeft(Exception):  # no error: all rows have their answers
    """Stops a run in the middle of the encoders."""


@contextmanager
def _leaving(model: ExitModel, places: Tensor, answers: Tensor) -> Iterator[list[Tensor]]:
    """Hooks that take rows out of a run; yields the rows that are still in it, in a list of one."""
    n_rows = len(places)
    alive = [torch.arange(n_rows, device=answers.device)]
    encoders = _encoders(model.model)

    def narrow(encoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # States come from the layer before; masks come from outside every time, as long as the batch was, and so do
        # MPNet's distances.
        def kept(name: str, value: Any) -> Any:
            outer = isinstance(value, Tensor) and name.endswith(("mask", "position_bias"))
            return value[alive[0]] if outer and len(value) == n_rows != len(alive[0]) else value

        names = signature(encoder.forward).parameters
        return tuple(map(kept, names, args)), {name: kept(name, value) for name, value in kwargs.items()}

    def leave(layer: int, head: nn.Module) -> Any:
        def hook(_: nn.Module, __: Any, answer: Any) -> Any:
            logits = head(_at(answer, places[alive[0]]))
            sure = logits.softmax(-1).amax(-1) >= model.exit_confidence
            answers[alive[0][sure]] = logits[sure].to(answers.dtype)
            model._left(int(sure.sum()), layer)
            alive[0] = alive[0][~sure]
            if not len(alive[0]):
                raise _NobodyLeft
            return _with_states(answer, _states(answer)[~sure])

        return hook

    def widen(_: nn.Module, __: Any, answer: Any) -> Any:
        # What stands behind the encoders may look at the inputs, where nobody left.
        states = _states(answer)
        return _with_states(answer, states.new_zeros((n_rows, *states.shape[1:])).index_copy(0, alive[0], states))

    hooks = [encoder.register_forward_pre_hook(narrow, with_kwargs=True) for encoder in encoders]
    hooks += [
        encoders[layer - 1].register_forward_hook(leave(layer, head))
        for layer, head in zip(model.layers, model.heads, strict=True)
    ]
    hooks.append(encoders[-1].register_forward_hook(widen))
    try:
        yield alive
    finally:
        for hook in hooks:
            hook.remove()


class AllExits(nn.Module):
    """Each row's answer where it would have left, all layers computed: what a graph without branches can do."""

    def __init__(self, model: ExitModel) -> None:
        super().__init__()
        self.exits = model

    @property
    def config(self) -> Any:
        """The transformer's."""
        return self.exits.config

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits of shape (batch, classes)."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        *exits, found = self.exits.every(input_ids=input_ids, attention_mask=attention_mask, **types).unbind(1)
        confidence = self.exits.exit_confidence or torch.inf
        for logits in reversed(exits):
            sure = logits.softmax(-1).amax(-1, keepdim=True) >= confidence
            found = torch.where(sure, logits, found)
        return found


def _states(answer: Any) -> Tensor:
    return answer if isinstance(answer, Tensor) else answer[0]


def _with_states(answer: Any, states: Tensor) -> Any:
    return states if isinstance(answer, Tensor) else (states, *answer[1:])


def _at(answer: Any, places: Tensor) -> Tensor:
    """The states of one token of each row."""
    states = _states(answer)
    return states.gather(1, places[:, None, None].expand(-1, 1, states.shape[-1])).squeeze(1)


def _encoders(model: Any) -> nn.ModuleList:
    n_layers = model.config.num_hidden_layers
    for part in model.base_model.modules():
        if isinstance(part, nn.ModuleList) and len(part) == n_layers:
            return part
    raise ValueError(
        f"Exits stand behind encoders that are a list of {n_layers}, which {type(model).__name__} does not keep "
        "(ALBERT has one that is used again and again). Give a BERT, DistilBERT, RoBERTa, ELECTRA or the like."
    )


def _rebuilt(
    kind: Any,
    config: Any,
    layers: Sequence[int],
    confidence: float | None,
    state: dict[str, Tensor],
    fixed: list[str],
    training: bool,
) -> ExitModel:
    return filled(lambda: ExitModel(kind(config), layers, confidence), state, fixed).train(training)

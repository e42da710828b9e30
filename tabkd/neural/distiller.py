"""The student with the loss in its ``forward``, as ``Trainer`` and distributed training want it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from tabkd.neural.base import StateTerm, Term
from tabkd.neural.loading import bare
from tabkd.neural.outputs import Batch, Outputs, Shape
from tabkd.neural.terms import HardLabels, SoftLabels

__all__ = ["Distiller", "outputs_of", "shape_of", "telling_maps"]

#: What the layers are called that make queries, keys and values, in the encoders known here.
_RELATED = {
    "queries": ("query", "q_lin", "q_proj", "q"),
    "keys": ("key", "k_lin", "k_proj", "k"),
    "values": ("value", "v_lin", "v_proj", "v"),
}
#: What the dropout of attention maps is called, in the modules that make them.
_DROPOUTS = ("dropout", "attention_dropout", "attn_dropout")


def outputs_of(
    model: nn.Module, inputs: Any, needs: frozenset[str] = frozenset({"logits"}), at: Tensor | None = None
) -> Outputs:
    """Run a model and keep what is asked for.

    Parameters
    ----------
    model : Module
        A transformer that takes named tensors, or any module that answers one tensor with logits.
    inputs : mapping of Tensor, or Tensor
        Named tensors that the model does not take (DistilBERT has no token types) are left out.
    needs : frozenset of str
        Fields of :class:`~tabkd.neural.outputs.Outputs`.
    at : Tensor of bool of shape (batch, length) or None
        Tokens that the head is to read, if it reads them one by one: logits are theirs, in this order.

    Returns
    -------
    Outputs
    """
    if not isinstance(inputs, Mapping):
        return Outputs(_logits(model(inputs)))
    taken = signature(model.forward).parameters
    inside = [name for name in ("hidden_states", "attentions") if name in needs]
    asked = {f"output_{name}": True for name in inside}
    with ExitStack() as stack:
        kept = {name: stack.enter_context(_recorded(model, _RELATED[name])) for name in _RELATED if name in needs}
        if at is not None:
            stack.enter_context(_head_at(model, at))
        answer = model(**{name: value for name, value in inputs.items() if name in taken}, **asked)
    found: dict[str, Any] = {name: tuple(getattr(answer, name, None) or ()) for name in inside}
    found |= {name: tuple(values) for name, values in kept.items()}
    return Outputs(_logits(answer), **found, next_sentence=getattr(answer, "seq_relationship_logits", None))


def _logits(answer: Any) -> Tensor:
    if isinstance(answer, Tensor):
        return answer
    return answer.logits if hasattr(answer, "logits") else answer[0]


@contextmanager
def _recorded(model: nn.Module, names: Sequence[str]) -> Iterator[list[Tensor]]:
    """What the layers of these names answer, in the order of the encoders."""
    kept: list[Tensor] = []
    layers = [layer for path, layer in model.named_modules() if path.rpartition(".")[2] in names]
    hooks = [layer.register_forward_hook(lambda _, __, answer: kept.append(answer)) for layer in layers]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def shape_of(model: Any) -> Shape:
    """The shape of an encoder that terms look into.

    Raises
    ------
    ValueError
        If the model has a decoder beside it, whose layers answer under the same names.
    """
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise ValueError(
            f"Terms that look inside read one stack of layers, and {type(bare(model)).__name__} has an encoder and a "
            "decoder. Use one of them alone, or learn from answers (SoftLabels)."
        )
    return getattr(model, "shape", None) or Shape.of(model.config)


@contextmanager
def telling_maps(model: nn.Module) -> Iterator[None]:
    """Attention tells its maps, as eager attention alone does: without dropout, which they would be told with."""
    transformer: Any = next((part for part in model.modules() if hasattr(part, "set_attn_implementation")), None)
    if transformer is None:
        yield
        return
    before = transformer.config._attn_implementation
    attending = [p for p in model.modules() if hasattr(p, "is_causal") or "SelfAttention" in type(p).__name__]
    held = [(part, name, getattr(part, name)) for part in attending for name in _DROPOUTS if hasattr(part, name)]
    transformer.set_attn_implementation("eager")
    for part, name, value in held:
        setattr(part, name, nn.Dropout(0.0) if isinstance(value, nn.Module) else 0.0)
    try:
        yield
    finally:
        transformer.set_attn_implementation(before)
        for part, name, value in held:
            setattr(part, name, value)


@contextmanager
def _head_at(model: Any, at: Tensor) -> Iterator[None]:
    """The head reads some tokens alone: for every one of them, a vocabulary can cost more than the encoders."""

    def chosen(_: nn.Module, args: tuple[Any, ...]) -> Any:
        if not args or args[0].ndim < 3 or args[0].shape[:2] != at.shape:
            return args
        return (args[0][at], *args[1:])

    body = model.base_model
    heads = [] if body is model else [child for child in model.children() if child is not body]
    hooks = [head.register_forward_pre_hook(chosen) for head in heads]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Distiller(nn.Module):
    """A student, the projectors of its objective, and a loss.

    The teacher is no part of the module: it is neither trained nor saved nor wrapped.

    Parameters
    ----------
    student : Module
    terms : sequence of Term
    teacher : Module or None
        Runs on every batch, if a term looks inside it or the batch brings no soft targets.
    projectors : sequence of (Term, ModuleDict)
        Trained in an earlier stage; terms that occur again go on with them, also on other layers.
    """

    #: Trainer must divide by the number of accumulated batches; it guesses from the signature otherwise.
    accepts_loss_kwargs = False

    def __init__(
        self,
        student: nn.Module,
        terms: Sequence[Term],
        *,
        teacher: nn.Module | None = None,
        projectors: Sequence[tuple[Term, nn.ModuleDict]] = (),
    ) -> None:
        super().__init__()
        self.student = student
        self.terms = tuple(terms)
        self.needs = frozenset[str]().union(*(term.needs for term in self.terms))
        self._asked = frozenset[str]().union(*(term.needs for term in self.terms if term.teacher))
        self.looks_inside = bool(self._asked - {"logits"})
        self._teacher = (teacher,)  # in a tuple, so that it is not registered
        if self.looks_inside and teacher is None:
            names = [type(term).__name__ for term in self.terms if term.teacher and term.needs - {"logits"}]
            raise ValueError(
                f"{', '.join(names)} looks inside the teacher, but there is none to look into. Give a fitted "
                "network of the student's kind as FrozenEstimator(teacher), or leave the term out."
            )
        self.projectors = nn.ModuleList(self._projectors(projectors))
        self.values: dict[str, Tensor] = {}

    def _projectors(self, known: Sequence[tuple[Term, nn.ModuleDict]]) -> list[nn.ModuleDict]:
        if not self.looks_inside:
            return [nn.ModuleDict() for _ in self.terms]
        shapes = shape_of(self.student), shape_of(self._teacher[0])
        found: list[nn.ModuleDict] = []
        for term in self.terms:
            trained = (
                projectors
                for before, projectors in known
                if before == term or (_alike(before, term) and before not in self.terms and projectors not in found)
            )
            found.append(next(trained, None) or term.projectors(*shapes))
        return found

    @property
    def projectors_of(self) -> list[tuple[Term, nn.ModuleDict]]:
        """Each term with its projectors."""
        return list(zip(self.terms, self.projectors, strict=True))  # type: ignore[arg-type]

    def forward(
        self,
        inputs: Any,
        labels: Tensor | None = None,
        log_soft: Tensor | None = None,
        weight: Tensor | None = None,
        shares: dict[str, float] | None = None,
        tokens: Tensor | None = None,
        follows: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss of a batch, and the student's logits.

        Parameters
        ----------
        inputs : mapping of Tensor, or Tensor
        labels : Tensor of shape (n_rows,), optional
            -100 (NaN in a regression) where a row has none.
        log_soft : Tensor of shape (n_rows, n_classes), optional
            Logarithms of the teacher's probabilities (its values in a regression).
        weight : Tensor of shape (n_rows,), optional
        shares : dict from unit to float, optional
            What this batch's mean counts for in the mean over all batches of a step.
        tokens : Tensor of shape (n_rows, length), optional
            Of a masked language model instead of ``labels``: the tokens that were masked, -100 elsewhere.
        follows : Tensor of shape (n_rows,), optional
            0 where the second text of a row follows the first, 1 where it does not.

        Returns
        -------
        dict
            ``loss`` and ``logits``; the terms' own values are kept in ``values``.
        """
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        at = None if tokens is None else tokens != -100
        batch = Batch(mask, labels if tokens is None else tokens[at], weight, follows)
        if not self.training:
            student = outputs_of(self.student, inputs, at=at)
            loss = self._at_temperature_one(student, log_soft, batch)
            return {"loss": loss, "logits": student.logits}  # type: ignore[dict-item]
        student = outputs_of(self.student, inputs, self.needs, at)
        teacher = self._taught(inputs, log_soft, at)
        total = student.logits.new_zeros(())  # type: ignore[union-attr]
        for term, projectors in self.projectors_of:
            value = term(student, teacher, batch, projectors) * (shares or {}).get(term.unit, 1.0)
            self.values[type(term).__name__] = value.detach()
            total = total + term.weight * value
        return {"loss": total, "logits": student.logits}  # type: ignore[dict-item]

    def _taught(self, inputs: Any, log_soft: Tensor | None, at: Tensor | None) -> Outputs | None:
        (teacher,) = self._teacher
        if teacher is not None and (self.looks_inside or (self._asked and log_soft is None)):
            device = next(self.student.parameters()).device
            with torch.no_grad():
                found = outputs_of(teacher.to(device).eval(), inputs, self._asked, at)
            return found if log_soft is None else Outputs(**{**vars(found), "logits": log_soft})
        return None if log_soft is None else Outputs(log_soft)

    def activation_checkpointing_enable(self, **options: Any) -> None:
        """Called by ``Trainer``: the student's activations are computed again instead of kept."""
        self._transformer().activation_checkpointing_enable(**options)

    def gradient_checkpointing_enable(self, **options: Any) -> None:
        """The same under its older name."""
        self._transformer().gradient_checkpointing_enable(**options)

    def _transformer(self) -> Any:
        for part in self.student.modules():
            if hasattr(part, "gradient_checkpointing_enable"):
                return part
        raise ValueError("training_args asks to checkpoint activations, which transformers alone do. Leave it out.")

    @staticmethod
    def _at_temperature_one(student: Outputs, log_soft: Tensor | None, batch: Batch) -> Tensor:
        if batch.labels is not None:
            return HardLabels()(student, None, batch, nn.ModuleDict())
        if log_soft is not None:
            return SoftLabels()(student, Outputs(log_soft), batch, nn.ModuleDict())
        return student.logits.new_zeros(())  # type: ignore[union-attr]


def _alike(one: Term, other: Term) -> bool:
    """Whether one map to the teacher's width serves both: they differ in layers and weight at most."""
    first, second = ({**vars(term), "layers": None, "weight": None} for term in (one, other))
    return isinstance(one, StateTerm) and type(one) is type(other) and first == second

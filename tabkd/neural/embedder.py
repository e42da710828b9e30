"""A transformer whose answer is a vector, what is put on it for a training, and its folder on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel
from transformers.modeling_outputs import SequenceClassifierOutput

from tabkd.neural.loading import filled, frozen, read_model, read_tokenizer, takes_types, without_advice
from tabkd.neural.relations import pooled

__all__ = ["POOLINGS", "Compared", "Embedder", "Projected", "Untyped", "read_folder", "write_folder"]

POOLINGS = ("mean", "cls")
#: How sentence-transformers calls its parts, in the names that all of its releases read.
_PARTS = "sentence_transformers.models."
_IDENTITY = "torch.nn.modules.linear.Identity"


class Embedder(nn.Module):
    """A transformer, the vector of its tokens, and what comes behind.

    Parameters
    ----------
    model : PreTrainedModel
    pooling : {"mean", "cls"}
        The mean of the states of the valid tokens, or the state of the first.
    dimensions : int or None
        Of a linear layer behind the pooling.
    normalize : bool
        Whether vectors get the length 1.
    """

    def __init__(
        self, model: nn.Module, pooling: str = "mean", dimensions: int | None = None, normalize: bool = False
    ) -> None:
        super().__init__()
        if "T5" in (name := type(model).__name__):
            raise ValueError(f"{name} reads a decoder's input beside the text. Give an encoder alone, such as BERT.")
        self.model, self.pooling, self.normalize = model, pooling, normalize
        width: int = model.config.hidden_size  # type: ignore[assignment, union-attr]
        self.dense = None if dimensions is None else nn.Linear(width, dimensions)
        self.width = dimensions or width
        if getattr(model, "pooler", None) is not None:
            model.pooler.requires_grad_(False)  # nobody looks at it

    def __reduce__(self) -> Any:
        # Once a transformer has told its states, hooks hang on it that cannot be pickled.
        dimensions = None if self.dense is None else self.width
        made = self.config, self.pooling, dimensions, self.normalize
        return _rebuilt, (*made, self.state_dict(), frozen(self), self.training)

    @property
    def config(self) -> Any:
        """The transformer's."""
        return self.model.config

    @property
    def takes_types(self) -> bool:
        """Whether the transformer reads token types."""
        return takes_types(self.model)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None, **asked: bool
    ) -> Any:
        """Vectors of shape (batch, width); with what is ``asked`` of the transformer beside them, if anything is."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None and self.takes_types:
            inputs["token_type_ids"] = token_type_ids
        found = self.model(**inputs, **asked)
        states = found.last_hidden_state
        vectors = pooled(states, attention_mask) if self.pooling == "mean" else states[:, 0]
        vectors = vectors if self.dense is None else self.dense(vectors)
        vectors = F.normalize(vectors, dim=-1) if self.normalize else vectors
        if not asked:
            return vectors
        return SequenceClassifierOutput(logits=vectors, hidden_states=found.hidden_states, attentions=found.attentions)


def _rebuilt(
    config: Any,
    pooling: str,
    dimensions: int | None,
    normalize: bool,
    state: dict[str, Tensor],
    fixed: list[str],
    training: bool,
) -> Embedder:
    made = filled(lambda: Embedder(AutoModel.from_config(config), pooling, dimensions, normalize), state, fixed)
    return made.train(training)


class Untyped(nn.Module):
    """A model that takes no token types, to be written: a graph must not have an input that nothing reads."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @property
    def config(self) -> Any:
        """The transformer's."""
        return self.model.config

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The model's answers."""
        return self.model(input_ids, attention_mask)


class Projected(nn.Module):
    """An embedder with a linear layer to the teacher's width, which is left behind after the training."""

    def __init__(self, embedder: Embedder, width: int) -> None:
        super().__init__()
        self.embedder, self.linear = embedder, nn.Linear(embedder.width, width)

    @property
    def config(self) -> Any:
        """The transformer's."""
        return self.embedder.config

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None, **asked: bool
    ) -> Any:
        """Vectors of shape (batch, teacher's width); with what is ``asked`` beside them, as of an embedder."""
        found = self.embedder(input_ids, attention_mask, token_type_ids, **asked)
        if not asked:
            return self.linear(found)
        found.logits = self.linear(found.logits)
        return found


class Compared(nn.Module):
    """Two texts a row: their cosine, or logits from u, v and |u - v|.

    Parameters
    ----------
    embedder : Embedder
    n_classes : int or None
        None is the cosine.

    References
    ----------
    Reimers and Gurevych, "Sentence-BERT", 2019, section 3.
    """

    def __init__(self, embedder: Embedder, n_classes: int | None) -> None:
        super().__init__()
        self.embedder = embedder
        self.head = None if n_classes is None else nn.Linear(3 * embedder.width, n_classes, bias=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Answers of shape (batch, 1) or (batch, n_classes) to inputs of shape (batch, 2, length)."""
        inputs = [None if part is None else part.flatten(0, 1) for part in (input_ids, attention_mask, token_type_ids)]
        first, second = self.embedder(*inputs).unflatten(0, (-1, 2)).unbind(1)
        if self.head is None:
            return F.cosine_similarity(first, second, dim=-1)[:, None]
        return self.head(torch.cat([first, second, (first - second).abs()], dim=-1))


def write_folder(embedder: Embedder, tokenizer: Any, max_length: int, folder: Path) -> None:
    """Write what ``SentenceTransformer(folder)`` reads: the transformer, and each part behind it in a folder.

    Parameters
    ----------
    embedder : Embedder
    tokenizer : PreTrainedTokenizerBase
    max_length : int
    folder : Path
        Made if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with without_advice():
        embedder.model.save_pretrained(folder)  # type: ignore[operator]
    tokenizer.save_pretrained(folder)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    width = embedder.config.hidden_size
    modes = {f"pooling_mode_{_pooling_key(name)}": embedder.pooling == name for name in POOLINGS}
    parts: dict[str, dict[str, Any]] = {"Pooling": {"word_embedding_dimension": width} | modes}
    weights: dict[str, Tensor] = {}
    if embedder.dense is not None:
        weights = {f"linear.{name}": value for name, value in embedder.dense.state_dict().items()}
        sizes = {"in_features": width, "out_features": embedder.width, "bias": True}
        parts["Dense"] = sizes | {"activation_function": _IDENTITY}
    if embedder.normalize:
        parts["Normalize"] = {}
    modules = [{"idx": 0, "name": "0", "path": "", "type": f"{_PARTS}Transformer"}]
    for number, (name, settings) in enumerate(parts.items(), start=1):
        part = folder / f"{number}_{name}"
        part.mkdir(exist_ok=True)
        _write(part / "config.json", settings)
        if name == "Dense":
            save_file(weights, part / "model.safetensors")
        modules.append({"idx": number, "name": str(number), "path": part.name, "type": f"{_PARTS}{name}"})
    _write(folder / "modules.json", modules)


def read_folder(folder: Path) -> tuple[Embedder, Any, int | None]:
    """Read what :func:`write_folder` or sentence-transformers wrote.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    tuple of Embedder, PreTrainedTokenizerBase, int or None
        With the length that texts are cut to, if it says so.

    Raises
    ------
    ValueError
        If it holds parts or settings that are not known here.
    """
    reading = _read(folder / "sentence_bert_config.json")
    asked = _read(folder / "config_sentence_transformers.json")
    prompt = (asked.get("prompts") or {}).get(asked.get("default_prompt_name"))
    for name, value in (("do_lower_case", reading.get("do_lower_case")), ("default_prompt_name", prompt)):
        if value:
            raise ValueError(
                f"{folder} has the setting {name} ({value!r}), which changes texts before the tokenizer and is not "
                "known here. Change the texts, and take the setting out of the folder."
            )
    embedder_of: dict[str, Any] = {}
    dense: dict[str, Tensor] = {}
    for module in json.loads((folder / "modules.json").read_text(encoding="utf-8"))[1:]:
        name, part = module["type"].rpartition(".")[2], folder / module["path"]
        settings = _read(part / "config.json")
        if name == "Pooling":
            embedder_of["pooling"] = _pooling(settings)
        elif name == "Normalize":
            embedder_of["normalize"] = True
        elif name == "Dense" and settings["activation_function"] == _IDENTITY and embedder_of.keys() <= {"pooling"}:
            embedder_of["dimensions"] = settings["out_features"]
            dense = {"linear.bias": torch.zeros(settings["out_features"])} | load_file(part / "model.safetensors")
        else:
            raise ValueError(
                f"{folder} has the part {module['type']} {settings}, but what is read here is a transformer, its mean "
                "or first token, a linear layer and the length 1, in this order. Its transformer alone is "
                "AutoModel.from_pretrained(folder), its tokenizer tokenizer=folder."
            )
    with torch.random.fork_rng(devices=[]):
        embedder = Embedder(read_model(folder, AutoModel), **embedder_of)
    if embedder.dense is not None:
        embedder.dense.load_state_dict({key.removeprefix("linear."): value for key, value in dense.items()})
    return embedder, read_tokenizer(None, folder), reading.get("max_seq_length")


def _pooling_key(name: str) -> str:
    return {"mean": "mean_tokens", "cls": "cls_token"}[name]


def _pooling(settings: dict[str, Any]) -> str:
    """The one way of pooling that old and new files name."""
    named = [key.removeprefix("pooling_mode_") for key, on in settings.items() if on is True and "pooling_mode_" in key]
    named = named or [_pooling_key(settings["pooling_mode"])] if settings.get("pooling_mode") in POOLINGS else named
    for name in POOLINGS:
        if named == [_pooling_key(name)]:
            return name
    raise ValueError(f"The pooling {settings} is not known here. It must be one of {POOLINGS}.")


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

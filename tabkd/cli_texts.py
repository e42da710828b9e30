"""Texts on the command line: the columns that hold them, and the transformers that read these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabkd.files import InputError, needed
from tabkd.presets import MODELS
from tabkd.words import near

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "TextSettings",
    "check_export",
    "check_texts",
    "columns_of",
    "export_transformer",
    "is_transformer",
    "make_transformer",
    "reads_texts",
    "text_settings",
]

#: Of transformers that learn from a teacher's softened answers.
TEMPERATURE = 4.0


@dataclass(frozen=True)
class TextSettings:
    """How transformers read and learn; fields are options of ``tabkd fit``."""

    max_length: int | None = None
    epochs: float = 3.0
    batch_size: int = 32
    learning_rate: float = 5e-5


def text_settings(columns: Sequence[str] | None, **given: Any) -> TextSettings | None:
    """What was given of a transformer's settings, where there are texts for one.

    Raises
    ------
    InputError
        If something was given, and there are no columns of texts.
    """
    told = {name: value for name, value in given.items() if value is not None}
    if told and not columns:
        option = next(iter(told)).replace("_", "-")
        raise InputError(f"--{option} is for transformers, which read --text-columns. Name some, or leave it out.")
    return TextSettings(**told) if columns else None


def is_transformer(name: str) -> bool:
    """Whether a model is none of those that the command line knows by name: a folder, a configuration, a hub's name."""
    return name not in MODELS


def columns_of(model: str, columns: Sequence[str], texts: Sequence[str]) -> list[str]:
    """What a model reads of some columns: a transformer the texts, every other model the rest."""
    return [name for name in columns if (name in texts) == is_transformer(model)]


def check_texts(teacher: str, student: str, features: Sequence[str], own: Sequence[str], texts: Sequence[str]) -> None:
    """Raise unless both models have something to read, and transformers are there, before anything is fitted.

    Parameters
    ----------
    teacher, student : str
        As ``--teacher`` and ``--student`` name them.
    features, own : sequence of str
        The teacher's and the student's columns.
    texts : sequence of str
        Columns of free text.

    Raises
    ------
    InputError
        If a model has no column, or is not there, or no transformer reads the texts.
    """
    if not (is_transformer(teacher) or is_transformer(student)):
        raise InputError(
            f"--text-columns {','.join(texts)} are read by transformers, but --teacher {teacher} and --student "
            f"{student} are none. Give one of them as the folder of a model."
        )
    for role, name, columns in (("teacher", teacher, features), ("student", student, own)):
        read = columns_of(name, columns, texts)
        if is_transformer(name):
            _check_transformer(role, name)
        if not read:
            kind = "--text-columns" if is_transformer(name) else "columns beside the texts"
            raise InputError(f"--{role} {name} reads {kind}, and has none. Its columns are {list(columns)}.")
        if is_transformer(name) and len(read) > 2:
            raise InputError(f"--{role} {name} reads one text or two, but --text-columns names {read}. Leave some out.")


def make_transformer(name: str, other: str, settings: TextSettings, *, regression: bool) -> Any:
    """A transformer by its folder, its configuration (``.json``: random weights) or its name on a hub.

    Parameters
    ----------
    name : str
    other : str
        The model on the other side, whose tokenizer a configuration reads with.
    settings : TextSettings
    regression : bool

    Returns
    -------
    TransformerClassifier or TransformerRegressor
    """
    from transformers import AutoConfig

    from tabkd.neural import TransformerClassifier, TransformerRegressor

    random = _is_configuration(name)
    beside = not is_transformer(other) or _is_configuration(other)
    return (TransformerRegressor if regression else TransformerClassifier)(
        AutoConfig.from_pretrained(name) if random else name,
        tokenizer=(str(Path(name).parent) if beside else other) if random else None,
        **vars(settings),
        verbose=1,
    )


# ---------------------------------------------------------------- export


def reads_texts(summary: dict[str, Any]) -> bool:
    """Whether the student of a folder is a transformer, which ``summary`` tells by its columns."""
    own, texts = summary["student_columns"], summary.get("free_text", ())
    return bool(own) and set(own) <= set(texts)


def check_export(texts: bool, of_tables: Mapping[str, Any], int8: bool, rows: Path | None) -> None:
    """Raise if an option is for another kind of student.

    Parameters
    ----------
    texts : bool
        Whether the student is a transformer.
    of_tables : mapping from option to value
        Options for students that read tables.
    int8 : bool
    rows : Path or None

    Raises
    ------
    InputError
        If one is given that does not fit, or int8 has no rows to be measured on.
    """
    given = [option for option, value in of_tables.items() if value]
    if texts and given:
        raise InputError(
            f"{given[0]} is for students that read tables: this one reads texts, which OnnxPredictor alone takes to "
            "tokens. Use --out, or --with-runtime."
        )
    if int8 and not texts:
        raise InputError("--int8 is for transformers, and this student is none. Leave it out.")
    if int8 and rows is None:
        raise InputError("--int8 is measured on rows that the student was not trained on. Give them with --rows.")


def export_transformer(model: Any, path: Path, rows: pd.DataFrame | None, target: str, *, int8: bool) -> None:
    """Write a transformer with its tokenizer; ``rows`` are compared too, and judge int8, by ``target`` if they can."""
    labels = rows[target] if rows is not None and target in rows else None
    quantized = {"quantize": "int8", "labels": labels} if int8 else {}
    model.to_onnx(path, texts=() if rows is None else rows, **quantized)


# ---------------------------------------------------------------- models


def _is_configuration(name: str) -> bool:
    return Path(name).suffix == ".json"


def _check_transformer(role: str, name: str) -> None:
    if meant := near(name, MODELS):
        raise InputError(f"--{role} {name} is neither a model of that name nor the folder of one.{meant}")
    for package in ("torch", "transformers"):
        needed(package, needed_by=f"--{role} {name}", extra="neural")
    from transformers import AutoConfig

    from tabkd.neural.loading import found

    try:
        AutoConfig.from_pretrained(found(name))
    except (OSError, ValueError) as error:
        raise InputError(f"--{role} {name} is no model: {str(error).splitlines()[0]}") from error

"""Whether student and teacher speak of the same words and the same labels, and the teacher reads as far."""

from __future__ import annotations

import re
from typing import Any

from tabkd.neural.loading import bare
from tabkd.neural.reading import positions_of

__all__ = ["check_labels", "check_positions", "check_vocabulary"]


def check_positions(teacher: Any, longest: int) -> None:
    """Raise if a teacher has fewer positions than the longest row has tokens."""
    positions = positions_of(bare(teacher))
    if positions is not None and longest > positions:
        raise ValueError(
            f"The teacher has positions for {positions} tokens, and the student's rows have up to {longest}. Give the "
            f"student max_length={positions}, or a teacher that reads as far."
        )


def check_vocabulary(student: Any, teacher: Any) -> None:
    """Raise unless two tokenizers give every token the same id.

    Parameters
    ----------
    student, teacher : PreTrainedTokenizerBase

    Raises
    ------
    ValueError
        If ids differ: a term that looks inside the teacher would compare different words. Names the first ones.

    Examples
    --------
    >>> from tabkd.neural import check_vocabulary
    >>> from transformers import BertTokenizerFast
    >>> words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "good": 5}
    >>> check_vocabulary(BertTokenizerFast(vocab=words), BertTokenizerFast(vocab=words))
    """
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    differ = [token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token)]
    if not differ:
        return
    differ.sort(key=lambda token: (min(ours.get(token, len(ours)), theirs.get(token, len(theirs))), token))
    shown = ", ".join(f"{token!r} ({ours.get(token)} and {theirs.get(token)})" for token in differ[:3])
    raise ValueError(
        f"Student and teacher must have one vocabulary for terms that look inside, but the ids of {len(differ)} "
        f"tokens differ: {shown}. Give the student the teacher's tokenizer, or learn from its answers alone."
    )


def check_labels(student: Any, teacher: Any) -> None:
    """Raise unless two models have the same labels in the same order.

    Labels that were never named (``LABEL_0``, ...) agree with any as many others.

    Parameters
    ----------
    student, teacher : PreTrainedModel

    Raises
    ------
    ValueError
        If the labels differ: the student would learn one class from the answers for another.

    Examples
    --------
    >>> from tabkd.neural import check_labels, empty_student, shrink
    >>> teacher = empty_student("bert-tiny", num_labels=3)
    >>> check_labels(shrink(teacher, 1), teacher)
    """
    ours, theirs = _labels(student), _labels(teacher)
    unnamed = any(all(re.fullmatch(r"LABEL_\d+", name) for name in names) for names in (ours, theirs))
    if len(ours) == len(theirs) and (unnamed or ours == theirs):
        return
    raise ValueError(
        f"The student's labels are {ours}, the teacher's {theirs}. Give the student the teacher's labels, in its "
        "order (config.id2label): empty_student(..., like=teacher) and shrink do."
    )


def _labels(model: Any) -> list[str]:
    return [str(name) for _, name in sorted((int(i), name) for i, name in model.config.id2label.items())]

"""Questions on contexts, in the layout of SQuAD and KorQuAD, and how their answers are marked."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Question", "marks", "read_questions"]

_DROPPED: dict[str, Any] = dict.fromkeys(string.punctuation)
_PUNCTUATION = {
    "squad": str.maketrans(_DROPPED),
    # Of KorQuAD's own script: these part words, other marks than ASCII's stay.
    "korquad": str.maketrans(_DROPPED | dict.fromkeys("'\"<>()《》〈〉‘’", " ")),
}


@dataclass(frozen=True)
class Question:
    """A question, where its answer stands, and what that is.

    Attributes
    ----------
    id : str
    question, context : str
    answers : tuple of (str, int)
        Text and first character in the context; none where they are not known.
    """

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...] = ()


def read_questions(data: Any, *, answered: bool) -> list[Question]:
    """Read questions of either layout.

    Parameters
    ----------
    data : mapping with "data", or sequence of mappings
        SQuAD's nested JSON (articles, paragraphs, qas), or flat rows with ``question``, ``context``, and perhaps ``id``
        and ``answers`` (texts and ``answer_start``, as a mapping of lists or a list of mappings).
    answered : bool
        Whether each must have an answer.

    Returns
    -------
    list of Question

    Raises
    ------
    TypeError
        If a row is no mapping.
    ValueError
        If there are none, or an answer is missing or does not stand where it should; the id is named.

    Examples
    --------
    >>> from tabkd.neural.squad import read_questions
    >>> answers = {"text": ["Seoul"], "answer_start": [0]}
    >>> row = {"question": "Which city?", "context": "Seoul is large.", "answers": answers}
    >>> read_questions([row], answered=True)[0].answers
    (('Seoul', 0),)
    """
    rows = _nested(data["data"]) if isinstance(data, Mapping) else list(data)
    questions = [_question(number, row) for number, row in enumerate(rows)]
    if not questions:
        raise ValueError("There are no questions. Give SQuAD's JSON, or rows with question, context and answers.")
    for asked in questions:
        if answered and not asked.answers:
            raise ValueError(f"Question {asked.id!r} has no answer. Leave it out, or give its answers.")
        for text, start in asked.answers:
            if not text or asked.context[start : start + len(text)] != text:
                raise ValueError(
                    f"Question {asked.id!r}: its context does not have the answer {text!r} at character {start}, but "
                    f"{asked.context[start : start + max(len(text), 1)]!r}. Mend answer_start, or leave it out."
                )
    return questions


def _nested(articles: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**asked, "context": paragraph["context"]}
        for article in articles
        for paragraph in article["paragraphs"]
        for asked in paragraph["qas"]
    ]


def _question(number: int, row: Mapping[str, Any]) -> Question:
    if not isinstance(row, Mapping):
        raise TypeError(
            f"Row {number} is {row!r} ({type(row).__name__}), but must be a mapping with question and context. Of a "
            'DataFrame give to_dict("records").'
        )
    missing = [name for name in ("question", "context") if not isinstance(row.get(name), str)]
    if missing:
        raise ValueError(f"Row {number} has no {missing[0]}: it holds {sorted(row)}. Give question and context.")
    answers = row.get("answers") or ()
    if isinstance(answers, Mapping):
        found = list(zip(answers["text"], answers["answer_start"], strict=True))
    else:
        found = [(answer["text"], answer["answer_start"]) for answer in answers]
    known = tuple((text, int(start)) for text, start in found)
    return Question(str(row.get("id", number)), row["question"], row["context"], known)


def marks(found: str, answers: Sequence[str], metric: str) -> tuple[float, float]:
    """Exact match and F1 of an answer, the best over those that are right.

    Parameters
    ----------
    found : str
    answers : sequence of str
    metric : {"squad", "korquad"}
        Both drop case and ASCII punctuation. SQuAD drops articles as well, and F1 counts words; KorQuAD reads quotes
        and brackets as spaces, ``《》〈〉‘’`` among them, and F1 counts characters.

    Returns
    -------
    tuple of float
        Each from 0 to 1.

    References
    ----------
    Rajpurkar et al., "SQuAD", 2016. Lim et al., "KorQuAD 1.0", 2019.

    Examples
    --------
    >>> from tabkd.neural.squad import marks
    >>> marks("the city of Seoul", ["Seoul", "Seoul city"], "squad")
    (0.0, 0.8)
    >>> marks("서울시", ["서울"], "korquad")
    (0.0, 0.8)
    """
    ours = _normalized(found, metric)
    every = [_normalized(answer, metric) for answer in answers]
    return float(ours in every), max(_f1(*(_parts(text, metric) for text in (ours, right))) for right in every)


def _normalized(text: str, metric: str) -> str:
    text = text.lower().translate(_PUNCTUATION[metric])
    return " ".join((re.sub(r"\b(a|an|the)\b", " ", text) if metric == "squad" else text).split())


def _parts(text: str, metric: str) -> list[str]:
    return text.split() if metric == "squad" else list(text.replace(" ", ""))


def _f1(found: list[str], right: list[str]) -> float:
    common = sum((Counter(found) & Counter(right)).values())
    return 2 * common / (len(found) + len(right)) if common else float(not found and not right)

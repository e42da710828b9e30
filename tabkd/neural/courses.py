"""What an embedder is trained on: a teacher's vectors of texts, or pairs of texts with scores or classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_is_fitted
from torch import nn
from transformers import AutoModel, PreTrainedModel

from tabkd.neural.agreement import check_vocabulary
from tabkd.neural.base import Term
from tabkd.neural.embedder import Compared, Embedder, Projected
from tabkd.neural.lesson import Lesson, predicted
from tabkd.neural.loading import read_model
from tabkd.neural.pairs import SingleReader, check_pairs, check_texts
from tabkd.neural.stages import terms_of
from tabkd.neural.terms import HardLabels
from tabkd.neural.vector_terms import Vectors

__all__ = ["Course", "of_pairs", "of_teacher"]

#: How pandas calls numbers that are not all whole, whatever the array that holds them.
_REAL = ("floating", "mixed-integer-float", "decimal")


@dataclass
class Course:
    """What is trained, and on what.

    Attributes
    ----------
    student : Module
        The embedder, or what is put on it for the training.
    terms : list of Term
    lesson : Lesson
    collated : callable
        Encoded rows to a batch.
    teacher : Embedder or None
        That terms look into.
    components : ndarray of shape (n_outputs, teacher's size) or None
        What the teacher's vectors were multiplied by.
    """

    student: nn.Module
    terms: list[Term]
    lesson: Lesson
    collated: Callable[[Sequence[Any]], Any]
    teacher: Embedder | None = None
    components: np.ndarray | None = None


def of_teacher(
    embedder: Embedder,
    reader: SingleReader,
    rows: list[str],
    teacher: Any,
    *,
    objective: Term | Sequence[Term] | None,
    projector: str | None,
    batch_size: int,
    device: str,
) -> Course:
    """Vectors to learn, and the teacher that made them if a term looks inside it.

    Parameters
    ----------
    embedder : Embedder
        Of the student.
    reader : SingleReader
    rows : list of str
    teacher : estimator, object, Module or ndarray of shape (n_samples, n_dimensions)
        As of an :class:`EmbeddingStudent`, or its vectors.
    objective : Term, sequence of Term, or None
    projector : {None, "pca", "linear"}
    batch_size : int
        Of the teacher.
    device : str

    Returns
    -------
    Course

    Raises
    ------
    TypeError
        If the teacher makes no vectors.
    ValueError
        If the teacher's vectors do not fit the texts or the student, or a term cannot look inside it.
    """
    check_texts(rows)
    terms: list[Term] = [Vectors()] if objective is None else list(terms_of(objective))
    looked_into = _looked_into(teacher, embedder, reader, terms)
    lesson = Lesson(reader.encoded(rows))
    vectors = _vectors_of(teacher, embedder, rows, lesson, reader, batch_size, device)
    if vectors.ndim != 2 or len(vectors) != len(rows):
        raise ValueError(f"The teacher gives vectors of shape {vectors.shape} for {len(rows)} texts. Give one each.")
    if len(odd := np.flatnonzero(~np.isfinite(vectors).all(axis=1))):
        raise ValueError(f"The vectors of {len(odd)} texts hold NaN or infinity, text {odd[0]} first. Leave them out.")
    course = Course(embedder, terms, lesson, reader.collated, looked_into)
    ours, theirs = embedder.width, vectors.shape[1]
    if ours != theirs and projector is None and any(isinstance(term, Vectors) for term in terms):
        raise ValueError(
            f"The student's vectors have {ours} components, the teacher's {theirs}. Give dimensions={theirs}, or "
            f'projector="{"pca" if ours < theirs else "linear"}".'
        )
    if ours != theirs and projector == "linear":
        course.student = Projected(embedder, theirs)
    elif ours != theirs and projector == "pca":
        course.components = _components(vectors, ours)
        vectors = vectors @ course.components.T
    if embedder.normalize:
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    lesson.log_soft = vectors.astype(np.float32)
    return course


def _looked_into(teacher: Any, embedder: Embedder, reader: SingleReader, terms: Sequence[Term]) -> Embedder | None:
    """The teacher as a module that reads what the student reads, if a term looks inside it."""
    names = [type(term).__name__ for term in terms if term.needs != {"logits"}]
    if not names:
        return None
    if isinstance(teacher, BaseEstimator):
        check_is_fitted(teacher)
    own, module = getattr(teacher, "reader_", None), getattr(teacher, "model_", teacher)
    if own is not None:
        check_vocabulary(reader.tokenizer, own.tokenizer)
    if not isinstance(module, Embedder | PreTrainedModel):
        raise ValueError(
            f"{', '.join(names)} looks inside the teacher, got {type(teacher).__name__}. Give an EmbeddingStudent "
            "(EmbeddingStudent.from_pretrained(folder) reads sentence-transformers' folders) or a transformer."
        )
    return _embedder(module, embedder)


def _embedder(module: Any, like: Embedder) -> Embedder:
    return module if isinstance(module, Embedder) else Embedder(read_model(module, AutoModel), like.pooling)


def _vectors_of(
    teacher: Any,
    embedder: Embedder,
    rows: list[str],
    lesson: Lesson,
    reader: SingleReader,
    batch_size: int,
    device: str,
) -> np.ndarray:
    for method in ("encode", "transform"):
        if hasattr(teacher, method):
            found = getattr(teacher, method)(rows)
            return found.toarray() if issparse(found) else np.asarray(found)
    if isinstance(teacher, np.ndarray):
        return teacher
    if not isinstance(teacher, nn.Module):
        raise TypeError(
            f"teacher must have transform or encode, or be a transformer, got {type(teacher).__name__}. Give an "
            "EmbeddingStudent, a SentenceTransformer, or the transformer inside (teacher.model_)."
        )
    module = _embedder(teacher, embedder)
    if module.config.vocab_size < len(reader.tokenizer):
        raise ValueError(
            f"The teacher knows {module.config.vocab_size} tokens, the student's tokenizer makes "
            f"{len(reader.tokenizer)}. Give its vectors, or an EmbeddingStudent with the teacher's own tokenizer."
        )
    answers = np.zeros((len(rows), module.width), dtype=np.float32)
    for batch, vectors in predicted(module, lesson, reader, batch_size, device):
        answers[batch] = vectors.numpy()
    return answers


def _components(vectors: np.ndarray, n_components: int) -> np.ndarray:
    if n_components > min(vectors.shape):
        raise ValueError(
            f'projector="pca" makes {n_components} components out of {vectors.shape[1]}, of {len(vectors)} texts: too '
            f'many. Give dimensions={min(vectors.shape)} or less, more texts, or projector="linear".'
        )
    # Without the mean: directions from the origin are what cosines compare.
    return PCA(n_components, random_state=0).fit(vectors).components_


def of_pairs(embedder: Embedder, reader: SingleReader, rows: list[Any], y: Any) -> Course:
    """Cosines of pairs, or their classes.

    Parameters
    ----------
    embedder : Embedder
    reader : SingleReader
    rows : list of pairs of str
    y : array-like of shape (n_samples,)
        Floats and decimals are cosines, also in an array of objects; anything else classes.

    Returns
    -------
    Course

    Raises
    ------
    ValueError
        If something is missing or infinite, cosines are out of range, or there is one class.
    """
    check_pairs(rows)
    missing, y = pd.isna(np.asarray(y, dtype=object)), column_or_1d(np.asarray(y))
    if not missing.any() and infer_dtype(y) in _REAL:
        y = y.astype(np.float64)
    if len(odd := np.flatnonzero(missing | (np.isinf(y) if y.dtype.kind == "f" else False))):
        raise ValueError(f"Row {odd[0]} of y is {y[odd[0]]}, neither a cosine nor a class. Leave its pair out.")
    if y.dtype.kind != "f":
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"All pairs have the class {classes.tolist()[0]!r}; at least two are needed.")
        student, labels = Compared(embedder, len(classes)), codes.astype(np.int64)
    else:
        if not (np.abs(y) <= 1).all():
            raise ValueError(
                f"Floats in y are cosines, from -1 to 1, got {y.min()} to {y.max()}. Divide them by "
                f"{np.abs(y).max()}, or give strings or integers if they are classes."
            )
        student, labels = Compared(embedder, None), y.astype(np.float32)[:, None]
    first, second = (reader.encoded([row[side] for row in rows]) for side in (0, 1))
    return Course(student, [HardLabels()], Lesson(list(zip(first, second, strict=True)), labels), reader.collated_pairs)

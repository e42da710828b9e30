"""Teachers that run once: their answers to every row, in memory or on disk."""

from __future__ import annotations

import pickle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from tabkd._compat import made_again
from tabkd.links import align_classes
from tabkd.neural.fingerprints import fingerprint
from tabkd.neural.reading import ArrayReader, TextReader, check_tokens

__all__ = ["Taught", "answered", "log_soft_targets", "module_of", "unfrozen"]


_TINY = np.finfo(np.float32).tiny


class Taught(BaseEstimator):
    """Has a ``teacher``, which copies of the estimator share: cloned, it would have to be fitted again."""

    teacher: Any

    def __sklearn_clone__(self) -> Self:
        given = self.get_params(deep=False)
        return made_again(self, {n: v if n == "teacher" else clone(v, safe=False) for n, v in given.items()})


def unfrozen(teacher: Any) -> Any:
    """The estimator inside a frozen one."""
    return teacher.estimator if isinstance(teacher, FrozenEstimator) else teacher


def module_of(teacher: Any) -> nn.Module | None:
    """The module inside a teacher, if it has one."""
    teacher = unfrozen(teacher)
    if isinstance(teacher, nn.Module):
        return teacher
    found = getattr(teacher, "model_", None)
    return found if isinstance(found, nn.Module) else None


def log_soft_targets(
    teacher: Any,
    X: Any,
    classes: np.ndarray | None,
    *,
    reader: Any,
    folder: Any = None,
    batch_size: int = 64,
    device: str = "cpu",
    dtype: str = "float16",
) -> np.ndarray:
    """A teacher's logarithms of probabilities (values in a regression) for every row, computed once.

    Softened again at any temperature they are the teacher's own: softmax(log p / T) = softmax(z / T).

    Parameters
    ----------
    teacher : estimator or Module
        Fitted; a module reads what ``reader`` makes of the rows, and its outputs are in the order of ``classes``.
    X : sequence of length n_samples
    classes : ndarray of shape (n_classes,) or None
        None for a regression.
    reader : TextReader or ArrayReader
    folder : str, Path or None
        Keeps them on disk, as ``dtype``, for the next time; None keeps them in memory, as float32.
    batch_size : int
    device : str
    dtype : {"float16", "float32"}
        On disk; values of a regression are float32 in any case.

    Returns
    -------
    ndarray of shape (n_samples, n_classes) or (n_samples, n_outputs)
        A memory map if there is a folder.

    Raises
    ------
    TypeError
        If the teacher of a classifier is none.
    ValueError
        If the teacher knows other classes, or the file on disk is damaged.
    """
    if folder is None:
        return _answers(teacher, X, classes, reader, batch_size, device).astype(np.float32)
    dtype = "float32" if classes is None else dtype  # values may be beyond what float16 holds
    path = Path(folder) / f"soft-{_known_by(teacher, X, classes, reader)}.{dtype}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _answers(teacher, X, classes, reader, batch_size, device).astype(dtype)
        with TemporaryDirectory(dir=path.parent) as own:  # others may write the same answers
            part = Path(own) / path.name
            np.save(part, found)
            part.replace(path)
    try:
        return np.load(path, mmap_mode="r")
    except (EOFError, ValueError) as error:
        raise ValueError(f"The cache file {str(path)!r} is damaged ({error}). Delete it.") from error


def answered(teacher: Any, X: Any, classes: np.ndarray | None) -> np.ndarray:
    """An estimator's logarithms of probabilities for every row, or its values.

    Parameters
    ----------
    teacher : estimator
        Fitted.
    X : rows as the teacher reads them
    classes : ndarray of shape (n_classes,) or None
        None for a regression.

    Returns
    -------
    ndarray of shape (n_samples, n_classes) or (n_samples, n_outputs)

    Raises
    ------
    TypeError
        If the teacher of a classifier is none.
    ValueError
        If the teacher knows other classes.
    """
    method, kind = ("predict", "Regressor") if classes is None else ("predict_proba", "Classifier")
    inner = unfrozen(teacher)
    if hasattr(inner, method) and isinstance(teacher, BaseEstimator):
        check_is_fitted(teacher)
    if not hasattr(inner, method) or (classes is not None and not hasattr(inner, "classes_")):
        raise TypeError(
            f"A teacher must have {method}{'' if classes is None else ' and classes_'}, and {type(inner).__name__} has "
            f"not. Give a fitted one; Transformer{kind}.from_pretrained(folder) reads what was fine-tuned elsewhere."
        )
    if classes is None:
        values = np.asarray(teacher.predict(X), dtype=np.float64)
        return values.reshape(len(values), -1)
    known = np.asarray(teacher.classes_)
    theirs, ours = (sorted(map(str, labels.tolist())) for labels in (known, classes))  # folders keep names alone
    if not np.array_equal(known, classes) and theirs != ours:
        raise ValueError(
            f"The teacher knows the classes {known.tolist()}, but y has {classes.tolist()}. Both must have the same: "
            "TransformerClassifier.from_pretrained(folder, classes=[...]) names those of one from a folder."
        )
    return np.log(np.maximum(align_classes(teacher.predict_proba(X), known, classes), _TINY))


def _answers(teacher: Any, X: Any, classes: np.ndarray | None, reader: Any, batch_size: int, device: str) -> np.ndarray:
    if isinstance(teacher, nn.Module):
        return _of_module(teacher, X, classes, reader, batch_size, device)
    return answered(teacher, X, classes)


def _of_module(
    module: nn.Module, X: Any, classes: np.ndarray | None, reader: Any, batch_size: int, device: str
) -> np.ndarray:
    from tabkd.neural.lesson import Lesson, predicted  # it loads transformers, which tables do without

    if classes is not None:
        _check_order(module, classes)
    if isinstance(reader, TextReader):
        check_tokens(reader.tokenizer, module, "teacher")
    lesson = Lesson(reader.encoded(reader.rows(X)))
    found: np.ndarray | None = None
    for rows, logits in predicted(module, lesson, reader, batch_size, device):
        if found is None:
            found = np.zeros((len(lesson), logits.shape[1]))
        found[rows] = (logits if classes is None else torch.log_softmax(logits.double(), dim=1)).numpy()
    if found is None or (classes is not None and found.shape[1] != len(classes)):
        n_outputs = 0 if found is None else found.shape[1]
        raise ValueError(
            f"The teacher has {n_outputs} outputs, but y has {0 if classes is None else len(classes)} classes."
        )
    return found


def _check_order(module: Any, classes: np.ndarray) -> None:
    """Raise if a transformer's own names for its outputs are the classes in another order."""
    known = getattr(getattr(module, "config", None), "id2label", None) or {}
    theirs, ours = [str(known[i]) for i in sorted(known)], [str(label) for label in classes.tolist()]
    if theirs != ours and sorted(theirs) == sorted(ours):
        raise ValueError(
            f"The teacher's outputs are in the order {theirs}, the labels of y in the order {ours}. Save it "
            "with its tokenizer and give TransformerClassifier.from_pretrained(folder), which sorts them."
        )


def _known_by(teacher: Any, X: Any, classes: np.ndarray | None, reader: Any) -> str:
    """Of the teacher, and of what it is given."""
    own = reader if isinstance(teacher, nn.Module) else getattr(teacher, "reader_", None)
    if isinstance(own, ArrayReader | TextReader):  # tokenizer and settings show in what it makes of the rows
        module, given = module_of(teacher), own.encoded(own.rows(X))
        learnt = [getattr(teacher, name, None) for name in ("classes_", "mean_", "scale_")]
        made = [module, getattr(module, "exit_confidence", None), learnt]
    else:
        # Columns that the student leaves out may be what the teacher reads, and by their names.
        whole = getattr(reader, "text_columns", None) is None
        rows = reader.rows(X) if whole else np.asarray(X, dtype=object).tolist()
        made, given = [pickle.dumps(teacher)], [list(getattr(X, "columns", ())), rows]
    return fingerprint(type(teacher).__name__, None if classes is None else classes.tolist(), made, given)[:24]

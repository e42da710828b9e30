"""Transformers that were fine-tuned elsewhere: a folder with a head for texts, read as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from tabkd.neural.loading import found, without_advice

__all__ = ["in_order", "labels_of", "read_fine_tuned"]

#: What reads a head of another kind.
_INSTEAD = {
    "regression": "It gives values; classes need a logit each. Read it with TransformerRegressor.from_pretrained",
    "single_label_classification": "It gives classes. Read it with TransformerClassifier.from_pretrained",
    "multi_label_classification": "It gives any number of labels to a text, and one is read here. Use another model",
}


def read_fine_tuned(folder: str | Path, task: str) -> Any:
    """Read a model with the head that it was trained with.

    Parameters
    ----------
    folder : str or Path
    task : {"single_label_classification", "regression"}

    Returns
    -------
    PreTrainedModel

    Raises
    ------
    ValueError
        If it has no head for texts, or one for another task.
    """
    with without_advice(), torch.random.fork_rng(devices=[]):
        model, said = AutoModelForSequenceClassification.from_pretrained(
            found(folder), dtype=torch.float32, output_loading_info=True
        )
    if missing := sorted(said["missing_keys"]):
        raise ValueError(
            f"{str(folder)!r} has no trained head for labels of texts: {', '.join(missing[:3])} would be random. Fit "
            "it, or give the folder that the fine-tuned model was saved in."
        )
    config = model.config
    its = config.problem_type or ("regression" if config.num_labels == 1 else "single_label_classification")
    if its != task:
        raise ValueError(
            f"{str(folder)!r} is a model of problem_type={its!r} (its number of outputs is {config.num_labels}). "
            f"{_INSTEAD[its]}."
        )
    return model


def labels_of(model: Any, classes: Any) -> np.ndarray:
    """What a model's logits stand for: as given, or by its own names, or by number where it never named them.

    Parameters
    ----------
    model : PreTrainedModel
    classes : sequence or None

    Returns
    -------
    ndarray of shape (n_labels,)

    Raises
    ------
    ValueError
        If there are not as many, or two of them are one.
    """
    n_labels = model.config.num_labels
    if classes is None:
        classes = [model.config.id2label[i] for i in range(n_labels)]
        if all(re.fullmatch(r"LABEL_\d+", name) for name in classes):
            classes = range(n_labels)
    labels = np.array(list(classes))
    if labels.shape != (n_labels,) or len(np.unique(labels)) < n_labels:
        raise ValueError(
            f"classes must be {n_labels} different labels, in the order of the model's logits, got {labels.tolist()}. "
            "Give classes=."
        )
    return labels


def in_order(model: Any, labels: np.ndarray) -> np.ndarray:
    """Bring the logits of a model into the order of the sorted labels, and name them so.

    Parameters
    ----------
    model : PreTrainedModel
        Its head is changed.
    labels : ndarray of shape (n_labels,)
        In the order of the logits so far.

    Returns
    -------
    ndarray of shape (n_labels,)
        Sorted.

    Raises
    ------
    ValueError
        If its last layer is none of as many outputs.
    """
    order = np.argsort(labels)
    if (np.diff(order) < 0).any():
        inside = f"{model.base_model_prefix}."
        linear = [
            part for name, part in model.named_modules() if isinstance(part, nn.Linear) and not name.startswith(inside)
        ]
        if not linear or linear[-1].out_features != len(labels):
            raise ValueError(
                f"The head of {type(model).__name__} is not known here, and its labels {labels.tolist()} have to be "
                "sorted. Save it with its outputs in the order of the sorted labels."
            )
        with torch.no_grad():
            for weights in linear[-1].parameters():
                weights.copy_(weights[order])
    names = [str(label) for label in labels[order].tolist()]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    return labels[order]

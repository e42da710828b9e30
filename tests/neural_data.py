"""Texts, labels and small networks that the tests of the neural part share."""

# ruff: noqa: E402

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sklearn.datasets import load_digits
from torch import nn
from transformers import BertConfig, BertTokenizerFast

from tabkd.neural import TransformerClassifier

WORDS = ["good", "great", "fun", "nice", "bad", "awful", "boring", "dull", "film", "plot", "actor"]
VOCABULARY = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
TOKENIZER = BertTokenizerFast(vocab=VOCABULARY)
RNG = np.random.default_rng(0)
X = [" ".join(RNG.choice(WORDS, RNG.integers(1, 9))) for _ in range(240)]
POINTS = np.array([sum((word in WORDS[:4]) - (word in WORDS[4:8]) for word in text.split()) for text in X])
Y = np.where(POINTS > 0, "yes", "no")


def config(n_layers=2, width=32, heads=2, **more):
    sizes = {"hidden_size": width, "num_hidden_layers": n_layers, "num_attention_heads": heads}
    sizes |= {"intermediate_size": 2 * width, "vocab_size": len(VOCABULARY), "max_position_embeddings": 24}
    return BertConfig(**{**sizes, **more})


def classifier(model=None, **settings):
    shared = {"tokenizer": TOKENIZER, "epochs": 8, "learning_rate": 3e-3, "random_state": 0, "device": "cpu"}
    return TransformerClassifier(config() if model is None else model, **{**shared, **settings})


def digits():
    data, labels = load_digits(return_X_y=True)
    return data[:600].astype(np.float32) / 16, labels[:600]


def layers(width):
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def without_dropout(*sizes):
    return config(*sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)

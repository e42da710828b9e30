"""What does a small reader of questions gain from a larger one?

KorQuAD's development set, split by article (112 to train, 28 to test), with a vocabulary made on the spot and networks
that start from random weights: a teacher of 3 layers, and a student of 1 with and without it. Without a pretrained
model both stay far from what KorQuAD's own table shows; what is compared is the student with itself.

Run: python benchmarks/bench_answers.py [--quick] [--seeds 0,1,2]
With TABKD_CHECKPOINTS=folder results are kept there, and a run that was cut goes on.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

from _common import DATA, arguments, kept, save
from transformers import BertConfig, BertTokenizerFast

from tabkd.neural import QuestionAnswerer

QUESTION = "answers"


def korquad(part: slice) -> dict[str, Any]:
    """Some of the articles."""
    with gzip.open(DATA / "text_korquad_dev" / "KorQuAD_v1.0_dev.json.gz", "rt", encoding="utf-8") as file:
        return {"data": json.load(file)["data"][part]}


def readers(seed: int, quick: bool) -> dict[str, dict[str, float]]:
    """Exact match and F1 of a teacher, and of a student with and without it."""
    train, test = (korquad(part) for part in (slice(2 if quick else 112), slice(112, 113 if quick else None)))
    texts = [paragraph["context"] for article in train["data"] for paragraph in article["paragraphs"]]
    blank = BertTokenizerFast(vocab={word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])})
    tokenizer = blank.train_new_from_iterator(texts, 8000)

    def fitted(layers: int, width: int, teacher: QuestionAnswerer | None = None) -> QuestionAnswerer:
        sizes = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": 4 * width}
        config = BertConfig(vocab_size=len(tokenizer), num_attention_heads=4, initializer_range=0.05, **sizes)
        model = QuestionAnswerer(
            config, tokenizer=tokenizer, max_length=160, stride=48, metric="korquad", epochs=1 if quick else 3,
            learning_rate=5e-4, random_state=seed, teacher=teacher, temperature=2.0, training_args={"warmup_steps": 50},
        )  # fmt: skip
        return model.fit(train)

    teacher = fitted(3, 128)
    students = {"1 layer, no teacher": fitted(1, 64), "1 layer, distilled": fitted(1, 64, teacher)}
    return {name: model.evaluate(test) for name, model in {"teacher, 3 layers": teacher, **students}.items()}


if __name__ == "__main__":
    given = arguments(__doc__, seeds=(0, 1, 2))
    rows = []
    for seed in given.seeds[:1] if given.quick else given.seeds:
        found = kept(f"answers-{seed}-{given.quick}", readers, seed, given.quick)
        rows += [{"seed": seed, "reader": name, **scores} for name, scores in found.items()]
        save(QUESTION + ("_quick" if given.quick else ""), "korquad", rows)

"""What does a small reader of questions gain from a larger one?

KorQuAD's development set, split by article (112 to train, 28 to test), with a vocabulary made on the spot and networks
that start from random weights: a teacher of 4 layers, and a student of 1 with and without it. Without a pretrained
model both stay far from what KorQuAD's own table shows; what is compared is the student with itself.

Run: python benchmarks/bench_answers.py [--quick]
"""

from __future__ import annotations

import gzip
import json
from typing import Any

from _common import DATA, arguments, save
from transformers import BertConfig, BertTokenizerFast

from tabkd.neural import QuestionAnswerer

QUESTION = "answers"


def part_korquad(quick: bool) -> list[dict[str, Any]]:
    with gzip.open(DATA / "text_korquad_dev" / "KorQuAD_v1.0_dev.json.gz", "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    cut = len(articles) * 4 // 5
    train, test = ({"data": part} for part in (articles[: 2 if quick else cut], articles[cut:][: 1 if quick else None]))
    texts = [paragraph["context"] for article in train["data"] for paragraph in article["paragraphs"]]
    blank = BertTokenizerFast(vocab={word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])})
    tokenizer = blank.train_new_from_iterator(texts, 8000)

    def reader(layers: int, width: int) -> QuestionAnswerer:
        sizes = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": 4 * width}
        config = BertConfig(vocab_size=len(tokenizer), num_attention_heads=4, initializer_range=0.05, **sizes)
        return QuestionAnswerer(
            config, tokenizer=tokenizer, max_length=192, stride=64, metric="korquad", epochs=1 if quick else 6,
            learning_rate=5e-4, random_state=0, temperature=2.0,
        )  # fmt: skip

    teacher = reader(4, 128).fit(train)
    students = {"no teacher": reader(1, 64).fit(train), "distilled": reader(1, 64).fit(train, teacher=teacher)}
    return [{"reader": name, **model.evaluate(test)} for name, model in {"teacher": teacher, **students}.items()]


if __name__ == "__main__":
    given = arguments(__doc__)
    save(QUESTION + ("_quick" if given.quick else ""), "korquad", part_korquad(given.quick))

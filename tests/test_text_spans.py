"""Texts cut out of real ones, for a teacher to label."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from tabkd import TextSpans

TEXTS = [f"w{i} a{i} b{i} c{i} d{i} e{i}" for i in range(50)]


def test_texts_are_stretches_of_their_parents():
    made = TextSpans(ratio=4, mask=0).sample(TEXTS, random_state=0)
    assert len(made) == 200
    assert all(sum(text in parent for parent in TEXTS) == 1 for text in made)


def test_every_text_is_the_parent_of_equally_many():
    made = TextSpans(ratio=4, mask=0).sample(TEXTS, random_state=0)
    assert {sum(text in parent for text in made) for parent in TEXTS} == {4}


def test_stretches_of_every_length_and_place_are_cut():
    made = TextSpans(min_words=2, mask=0).sample(["a b c d"], n_samples=300, random_state=0)
    assert set(made) == {"a b", "b c", "c d", "a b c", "b c d", "a b c d"}


@pytest.mark.parametrize("token", [None, "[MASK]"])
def test_words_are_hidden_as_often_as_asked_for(token):
    made = TextSpans(min_words=9, mask=0.25, mask_token=token).sample(
        ["a b c d e f g h i j"], n_samples=2000, random_state=0
    )
    shown = [[word for word in text.split() if word != token] for text in made]
    assert np.mean([len(words) for words in shown]) == pytest.approx(0.75 * 9.5, rel=0.02)
    assert token is None or all(len(text.split()) >= 9 for text in made)


def test_no_text_is_hidden_altogether():
    made = TextSpans(min_words=1, mask=0.9).sample(["a b"], n_samples=200, random_state=0)
    assert {text for text in made if " " not in text} == {"a", "b"} and "" not in made


def test_short_texts_stay_whole():
    made = TextSpans(min_words=5, ratio=2).sample(["one  two three", *TEXTS], random_state=0)
    assert made.count("one  two three") == 2


def test_same_seed_gives_the_same_texts():
    one, two, other = (TextSpans().sample(TEXTS, random_state=seed) for seed in (1, 1, 2))
    assert one == two != other


@pytest.mark.parametrize("given", [tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, dtype=object), pd.Series(TEXTS)])
def test_texts_come_in_every_kind_of_sequence(given):
    assert TextSpans().sample(given, random_state=0) == TextSpans().sample(TEXTS, random_state=0)


@pytest.mark.parametrize("dtype", [object, "string", "str"])
def test_other_columns_and_gaps_of_a_table_are_the_parents(dtype):
    table = pd.DataFrame(
        {"n": np.arange(50), "text": pd.Series([None, *TEXTS[1:]], dtype=dtype), "city": ["Rome"] * 50}
    )
    made = TextSpans(ratio=2, mask=0).sample(table, random_state=0)
    assert made.dtypes.to_dict() == table.dtypes.to_dict()
    assert made.loc[made["n"] == 0, "text"].isna().all()
    kept = made[made["n"] > 0]
    assert all(text in TEXTS[n] for n, text in zip(kept["n"], kept["text"], strict=True))
    assert set(made["city"]) == {"Rome"}


def test_polars_frames_are_read():
    made = TextSpans().sample(pl.DataFrame({"text": TEXTS}), random_state=0)
    assert made["text"].tolist() == TextSpans().sample(TEXTS, random_state=0)


def test_clone_has_its_parameters():
    assert clone(TextSpans(2.0, 4)) == TextSpans(2.0, 4)


@pytest.mark.parametrize(
    ("maker", "X", "message"),
    [
        (TextSpans(ratio=0), TEXTS, "ratio must be a number > 0, got 0"),
        (TextSpans(min_words=0), TEXTS, "min_words must be a whole number of at least 1, got 0"),
        (TextSpans(mask=1), TEXTS, r"mask must be a number in \[0, 1\), got 1"),
        (TextSpans(), ["one two", "three"], "no text of more than 3 words"),
        (TextSpans(), np.zeros((5, 2)), "no text of more than 3 words"),
    ],
)
def test_what_cannot_be_cut_is_told(maker, X, message):
    with pytest.raises(ValueError, match=message):
        maker.sample(X)


def test_texts_may_be_a_series_of_polars() -> None:
    polars = pytest.importorskip("polars")
    texts = ["one two three four", "five six seven eight"]
    assert TextSpans(mask=0).sample(polars.Series(texts), random_state=0) == TextSpans(mask=0).sample(
        texts, random_state=0
    )

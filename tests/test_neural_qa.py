"""Answers in contexts: windows, marks, training with a teacher and without, and the file."""

# ruff: noqa: E402

from __future__ import annotations

import json
import pickle
from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    DebertaV2Config,
    DebertaV2TokenizerFast,
    DistilBertConfig,
)

from tabkd.export.parity import ParityError
from tabkd.neural import QuestionAnswerer
from tabkd.neural.outputs import Batch, Outputs
from tabkd.neural.spans import NEVER, SoftSpans, best_span, targets, windows
from tabkd.neural.squad import marks, read_questions

NAMES, DEEDS = ["ann", "bob", "cleo", "dan", "eve"], ["sang", "danced", "slept", "ran"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "who", "what", "and", *NAMES, *DEEDS]
TOKENIZER = BertTokenizerFast(vocab={word: i for i, word in enumerate(VOCABULARY)})


def made(n_rows, seed=0, length=8):
    """A name and a deed among other words, and a question for one of them."""
    draw, rows = np.random.default_rng(seed), []
    for number in range(n_rows):
        words = ["and"] * length
        for place, kind in zip(draw.choice(length, 2, replace=False), (NAMES, DEEDS), strict=True):
            words[place] = str(draw.choice(kind))
        asked = int(draw.integers(2))
        (text,) = set(words) & set((NAMES, DEEDS)[asked])
        context = " ".join(words)
        answers = {"text": [text], "answer_start": [context.index(text)]}
        rows.append({"id": f"q{number}", "question": ("who", "what")[asked], "context": context, "answers": answers})
    return rows


ROWS, FRESH = made(160), made(60, seed=1)


def config(layers=2, width=32, **more):
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 64}
    sizes |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    sizes |= {"max_position_embeddings": 40, "initializer_range": 0.15}
    return BertConfig(vocab_size=len(VOCABULARY), **{**sizes, **more})


def answerer(model=None, **settings):
    shared = {"tokenizer": TOKENIZER, "max_length": 20, "stride": 4, "epochs": 15, "learning_rate": 3e-3}
    shared |= {"random_state": 0, "device": "cpu"}
    return QuestionAnswerer(config() if model is None else model, **{**shared, **settings})


@pytest.fixture(scope="module")
def teacher():
    return answerer().fit(ROWS)


def test_answers_of_new_contexts_are_found(teacher):
    assert teacher.score(FRESH) > 0.8


def test_answers_are_characters_of_the_context(teacher):
    for row, found in zip(FRESH, teacher.predict(FRESH), strict=True):
        assert found.id == row["id"] and row["context"][found.start : found.end] == found.text != ""


def test_answer_ends_behind_the_marks_of_its_last_letter(teacher):
    (found,) = teacher.predict([{"question": "who", "context": "and eve\u0301 and sang"}])
    assert found.text == "eve\u0301"


def test_answer_begins_behind_the_blank_that_a_tokenizer_counts_to_its_first_token():
    pieces = [(f"\u2581{word}", -1.0) for word in VOCABULARY[5:]]
    specials = [(name, 0.0) for name in ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")]
    tokenizer = DebertaV2TokenizerFast(vocab=specials + pieces)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = DebertaV2Config(vocab_size=len(tokenizer), type_vocab_size=0, **sizes)
    found = answerer(model, tokenizer=tokenizer, epochs=0.1).fit(ROWS).predict(FRESH)
    for row, one in zip(FRESH, found, strict=True):
        assert one.text == row["context"][one.start : one.end] == one.text.strip() != ""


@pytest.mark.parametrize("side", ["left", "right"])
def test_answers_are_found_on_whichever_side_the_tokenizer_pads(side):
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(VOCABULARY)}, padding_side=side)
    model = answerer(tokenizer=tokenizer, epochs=1).fit(ROWS[:20])
    assert [model.predict([row])[0].start for row in FRESH[:9]] == [one.start for one in model.predict(FRESH[:9])]


def test_questions_of_a_generator_are_evaluated(teacher):
    assert teacher.evaluate(row for row in FRESH) == teacher.evaluate(FRESH)


@pytest.mark.parametrize("kind", ["configuration", "model", "folder"])
def test_classifier_of_three_classes_lends_its_encoder(kind, tmp_path):
    classifier = BertForSequenceClassification(config(num_labels=3))
    classifier.save_pretrained(tmp_path)
    given = {"configuration": classifier.config, "model": classifier, "folder": tmp_path}[kind]
    fitted = answerer(given, epochs=0.1).fit(ROWS)
    assert (fitted.model_.config.num_labels, classifier.config.num_labels) == (2, 3)


def test_teacher_is_followed_where_labels_are_wrong(teacher):
    wrong = [{**row, "answers": {"text": ["and"], "answer_start": [row["context"].index("and")]}} for row in ROWS]
    student = answerer(alpha=0.0, temperature=2.0, teacher=teacher).fit(wrong)
    agree = [a.text == b.text for a, b in zip(student.predict(FRESH), teacher.predict(FRESH), strict=True)]
    assert np.mean(agree) > 0.7


def test_bare_model_teaches_windows_of_every_length_as_its_estimator_does(teacher):
    rows = [*made(8), *made(8, length=5)]
    settings = {"epochs": 1, "batch_size": 1}
    students = [answerer(config(1, 16), teacher=t, **settings).fit(rows) for t in (teacher, teacher.model_)]
    first, second = ([one.score for one in student.predict(FRESH)] for student in students)
    assert first == second


def test_windows_cover_a_long_context_and_overlap():
    row = made(1, length=14)[0]
    cut = windows(TOKENIZER, read_questions([row], answered=True), max_length=10, stride=2)
    covered = [set(window.spans[window.spans[:, 0] >= 0, 0].tolist()) for window in cut]
    assert len(cut) > 2 and all(len(a & b) == 2 for a, b in pairwise(covered))
    assert len(set.union(*covered)) == len(row["context"].split())


def test_answer_is_the_target_of_the_windows_that_hold_it():
    row = made(1, length=14)[0]
    (asked,) = read_questions([row], answered=True)
    ((text, start),) = asked.answers
    held = 0
    cut = windows(TOKENIZER, [asked], max_length=10, stride=2)
    for window, (first, last) in zip(cut, targets(cut, [asked]), strict=True):
        if (first, last) == (0, 0):
            assert start not in window.spans[:, 0]
        else:
            held += 1
            assert (window.spans[first, 0], window.spans[last, 1]) == (start, start + len(text))
    assert held


@pytest.mark.parametrize(
    ("context", "answer", "place"),
    [
        ("ann sang ", "sang ", 4),
        (" ann sang", " ann", 3),
        ("ann sang\u200b", "sang\u200b", 4),
        ("ann  sang", "ann ", 3),
    ],
    ids=["after", "before", "no width", "inside"],
)
def test_characters_that_are_no_tokens_are_no_part_of_the_target(context, answer, place):
    row = {"question": "who", "context": context, "answers": [{"text": answer, "answer_start": context.index(answer)}]}
    asked = read_questions([row], answered=True)
    assert targets(windows(TOKENIZER, asked, 12, 2), asked).tolist() == [[place, place]]


def test_answer_that_no_window_holds_is_refused():
    row = {**ROWS[0], "answers": {"text": [ROWS[0]["context"]], "answer_start": [0]}}
    with pytest.raises(ValueError, match=r"No window holds all of the answer to 1 questions, 'q0' first\. Raise max"):
        answerer(max_length=9, stride=2).fit([row])


def test_long_contexts_are_answered_from_their_best_window(teacher):
    row = made(1, seed=3)[0]
    (alone,) = teacher.predict([row])
    after = {**row, "context": row["context"] + " and" * 20}
    (found,) = teacher.predict([after])
    assert found.text == alone.text


def test_best_span_is_the_largest_sum_that_is_in_order_in_the_context_and_short():
    (asked,) = read_questions([made(1)[0]], answered=True)
    (window,) = windows(TOKENIZER, [asked], max_length=20, stride=4)
    rng, inside = np.random.default_rng(0), np.flatnonzero(window.spans[:, 0] >= 0)
    for _ in range(20):
        logits = rng.normal(size=(2, len(window.spans)))
        every = [(logits[0, i] + logits[1, j], i, j) for i in inside for j in inside if 0 <= j - i < 3]
        total, first, last = max(every)
        expected = (total, window.spans[first, 0], window.spans[last, 1])
        assert best_span(window, logits, 3) == pytest.approx(expected)


def test_padding_has_no_part_in_the_divergence():
    ours, theirs = torch.randn(3, 2, 5), torch.randn(3, 2, 5)
    padded = [torch.cat([x, torch.full((3, 2, 4), NEVER)], dim=-1) for x in (ours, theirs)]
    plain, longer = (
        SoftSpans(2.0)(Outputs(a), Outputs(b), Batch(), torch.nn.ModuleDict()) for a, b in ((ours, theirs), padded)
    )
    torch.testing.assert_close(plain, longer)


@pytest.mark.parametrize(
    ("found", "answers", "metric", "expected"),
    [
        ("The Seoul.", ["seoul"], "squad", (1, 1)),
        ("in Seoul", ["Seoul", "Busan"], "squad", (0, 2 / 3)),
        ("", ["Seoul"], "squad", (0, 0)),
        ("《서울》", ["서울"], "korquad", (1, 1)),
        ("서울 시", ["서울시"], "korquad", (0, 1)),
        ("서울특별시", ["서울"], "korquad", (0, 4 / 7)),
        ("3.1운동", ["31운동"], "korquad", (1, 1)),
        ("U.S.", ["us"], "korquad", (1, 1)),
        ("3.1운동", ["3·1운동"], "korquad", (0, 8 / 9)),
        ("「님의 침묵」", ["님의 침묵"], "korquad", (0, 0.8)),
    ],
)
def test_marks_are_those_of_the_papers(found, answers, metric, expected):
    assert marks(found, answers, metric) == pytest.approx(expected)


def nested(rows):
    asked = [
        {
            "context": row["context"],
            "qas": [
                {
                    **{name: row[name] for name in ("id", "question")},
                    "answers": [{"text": row["answers"]["text"][0], "answer_start": row["answers"]["answer_start"][0]}],
                }
            ],
        }
        for row in rows
    ]
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": asked}]}


def test_both_layouts_are_one():
    assert read_questions(nested(ROWS), answered=True) == read_questions(ROWS, answered=True)


def test_same_seed_gives_the_same_answers():
    first, second = (answerer(epochs=1).fit(ROWS).predict(FRESH) for _ in range(2))
    assert first == second


def test_pickle_answers_as_before(teacher):
    assert pickle.loads(pickle.dumps(teacher)).predict(FRESH) == teacher.predict(FRESH)


def distilbert():
    return DistilBertConfig(vocab_size=len(VOCABULARY), dim=16, n_layers=1, n_heads=2, hidden_dim=32)


@pytest.mark.parametrize("model", [config, distilbert])
def test_file_gives_the_logits_of_the_network(tmp_path, model):
    fitted = answerer(model(), epochs=1).fit(ROWS)
    path = fitted.to_onnx(tmp_path / "model.onnx", FRESH[:10])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    encoded = TOKENIZER("who", "ann sang", return_tensors="pt")
    names = [info.name for info in session.get_inputs()]
    starts, ends = session.run(["start_logits", "end_logits"], {name: encoded[name].numpy() for name in names})
    with torch.no_grad():
        answer = fitted.model_(**{name: encoded[name] for name in names})
    np.testing.assert_allclose(starts, answer.start_logits.numpy(), atol=1e-5)
    np.testing.assert_allclose(ends, answer.end_logits.numpy(), atol=1e-5)
    told = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(told["proof"])["largest_difference"] <= 1e-5 and told["max_length"] == "20"


def test_file_that_answers_otherwise_is_not_written(tmp_path, teacher, monkeypatch):
    fitted = pickle.loads(pickle.dumps(teacher))
    forward = type(fitted.model_).forward

    def frozen(self, input_ids, attention_mask=None, token_type_ids=None):
        answer = forward(self, input_ids, attention_mask, token_type_ids)
        answer.start_logits = answer.start_logits * (1.0 if input_ids.shape[1] > 12 else 1.1)
        return answer

    monkeypatch.setattr(type(fitted.model_), "forward", frozen)
    with pytest.raises(ParityError, match="not written"):
        fitted.to_onnx(tmp_path / "model.onnx", FRESH[:3])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "There are no questions"),
        ({"data": []}, "There are no questions"),
        ([{**ROWS[0], "answers": {"text": ["zoe"], "answer_start": [0]}}], "'q0'.* does not have the answer 'zoe' at"),
        ([ROWS[0], {**ROWS[1], "answers": []}], "Question 'q1' has no answer"),
        ([{"question": "who"}], "Row 0 has no context"),
        ([{**ROWS[0], "question": "who " * 20}], "'q0' has 20 tokens, which leaves no place"),
    ],
)
def test_questions_that_do_not_fit_are_named(rows, message):
    with pytest.raises(ValueError, match=message):
        answerer().fit(rows)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metric": "bleu"}, "metric must be one of 'squad', 'korquad'"),
        ({"max_length": 50}, "from 2 to 40"),
        ({"stride": -1}, "stride must be 0 or more, got -1"),
        ({"alpha": 2.0}, r"alpha must be in \[0, 1\], got 2\.0"),
        ({"temperature": 0.0}, r"temperature must be > 0, got 0\.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_parameters_that_do_not_fit_are_named(teacher, settings, message):
    with pytest.raises(ValueError, match=message):
        answerer(**settings, teacher=teacher).fit(ROWS)


def test_table_of_questions_is_refused():
    with pytest.raises(TypeError, match=r"Row 0 is 'id' \(str\), but must be a mapping .* Of a DataFrame give to_dict"):
        answerer().fit(pd.DataFrame(ROWS))


def test_teacher_with_other_tokens_is_refused(teacher):
    other = BertTokenizerFast(vocab={word: i for i, word in enumerate(VOCABULARY[:5] + VOCABULARY[:4:-1])})
    with pytest.raises(ValueError, match="one vocabulary"):
        answerer(tokenizer=other, teacher=teacher).fit(ROWS)
    with pytest.raises(TypeError, match="teacher must be a QuestionAnswerer"):
        answerer(teacher="bert").fit(ROWS)


def test_given_model_stays_as_it_was():
    given = AutoModelForQuestionAnswering.from_config(config())
    before = {name: value.clone() for name, value in given.state_dict().items()}
    answerer(given, epochs=1).fit(ROWS)
    assert all(torch.equal(before[name], value) for name, value in given.state_dict().items())

"""What is refused by teachers and students on texts, and what works all the same."""

# ruff: noqa: E402

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    BartConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    GPT2Config,
    PreTrainedTokenizerFast,
    XLNetConfig,
)

from tabkd import runtime_text
from tabkd.export.parity import ParityError
from tabkd.neural import (
    Attention,
    HardLabels,
    Hidden,
    Relations,
    SelfDistillation,
    SoftLabels,
    Stage,
    TransformerRegressor,
    empty_student,
    progressive,
)
from tabkd.neural.corpus import lines
from tabkd.neural.distiller import Distiller
from tabkd.neural.onnx import export_module
from tabkd.neural.reading import TextReader
from tabkd.runtime import OnnxPredictor
from tests.neural_data import POINTS, TOKENIZER, VOCABULARY, X, Y, classifier, config


@pytest.fixture(scope="module")
def teacher():
    return classifier(config(4)).fit(X, Y)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        (["good", None, "bad"], TypeError, "Row 1 holds None .* where a text should be"),
        (["good", 3, "bad"], TypeError, r"Row 1 holds 3 \(int\)"),
        ("good", TypeError, "X is one string"),
        ([("a", "b", "c")], ValueError, "Row 0 holds 3 texts"),
        (["good", "bad\ud83d"], ValueError, r"Row 1 holds '\\ud83d', half a character.*errors='replace'"),
    ],
    ids=["none", "number", "string", "triple", "surrogate"],
)
def test_what_is_no_text_is_refused(teacher, texts, error, message):
    with pytest.raises(error, match=message):
        teacher.predict(texts)


def test_empty_text_works(teacher):
    assert teacher.predict_proba([""]).shape == (1, 2)


@pytest.fixture(scope="module")
def silent():
    """Fitted with a tokenizer that adds no token of its own."""
    words = Tokenizer(WordLevel(VOCABULARY, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    given = GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=24, vocab_size=16, bos_token_id=2, eos_token_id=3)
    return classifier(given, tokenizer=tokenizer, max_length=24, epochs=1, batch_size=1).fit(["", *X[:20]], Y[:21])


def test_empty_texts_are_answered_where_a_tokenizer_adds_nothing(silent):
    beside = silent.predict_proba(["", X[0]])[:1]
    np.testing.assert_allclose(silent.predict_proba(["", " "]), np.repeat(beside, 2, axis=0), atol=1e-6)


def test_file_answers_an_empty_text_as_the_estimator_does(silent, tmp_path):
    predictor = OnnxPredictor(silent.to_onnx(tmp_path / "model.onnx"))
    np.testing.assert_allclose(predictor.predict_proba(["", X[0]]), silent.predict_proba(["", X[0]]), atol=1e-6)


def test_empty_text_that_the_file_reads_otherwise_is_found(silent, tmp_path, monkeypatch):
    rightly = runtime_text.TextReader.tokens
    unknown = {"input_ids": [1], "attention_mask": [1], "token_type_ids": [0]}
    monkeypatch.setattr(
        runtime_text.TextReader,
        "tokens",
        lambda self, rows: [
            unknown if row == ("",) else found for row, found in zip(rows, rightly(self, rows), strict=True)
        ],
    )
    with pytest.raises(ParityError, match=r"its tokenizer makes \[1\] of '', .* \[0\]"):
        silent.to_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize("form", ["array", "chunked_array", "table", "dict"])
def test_columns_of_texts_are_read_whatever_holds_them(teacher, form):
    pyarrow = pytest.importorskip("pyarrow")
    make = {"array": pyarrow.array, "chunked_array": lambda texts: pyarrow.chunked_array([texts])}
    make |= {"table": lambda texts: pyarrow.table({"text": texts}), "dict": lambda texts: {"text": texts}}
    np.testing.assert_array_equal(teacher.predict_proba(make[form](X[:5])), teacher.predict_proba(X[:5]))


def test_corpus_may_be_an_array_of_pyarrow():
    pyarrow = pytest.importorskip("pyarrow")
    assert list(lines(pyarrow.array(X[:5]))) == X[:5]


@pytest.mark.parametrize("form", ["table", "dict"])
def test_corpus_that_is_a_table_is_named_by_its_columns(form):
    table = {"text": X[:2], "number": [1, 2]}
    with pytest.raises(TypeError, match=r"a table of the columns \['text', 'number'\]"):
        list(lines(pytest.importorskip("pyarrow").table(table) if form == "table" else table))


def test_half_a_character_in_a_corpus_is_named():
    with pytest.raises(ValueError, match=r"Text 1 holds '\\ud83d', half a character"):
        list(lines(["good", "bad\ud83d"]))


def test_place_of_a_column_is_as_good_as_its_name():
    table = pd.DataFrame({"number": 1, "text": X})
    model = classifier(text_columns=1, epochs=0.1).fit(table, Y)
    np.testing.assert_array_equal(model.predict_proba(table), model.predict_proba(X))
    assert model.reader_.names == ("text",)


def test_long_texts_are_tokenised_some_at_a_time():
    found = []

    class Counting(BertTokenizerFast):
        def __call__(self, texts, **options):
            found.append(len(texts))
            return super().__call__(texts, **options)

    reader = TextReader(Counting(vocab=VOCABULARY), 24, None, 24)
    assert len(reader.encoded(["x" * (1 << 20), "good", "bad"])) == 3
    assert found == [1, 2]


def test_longer_texts_are_cut(teacher):
    assert teacher.predict(["good " * 100]).tolist() == ["yes"]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model": "./nothing/here"}, FileNotFoundError, "no such folder"),
        ({"model": 3}, TypeError, "model must be a path or name"),
        ({"max_length": 100}, ValueError, "max_length must be from 2 to 24"),
        ({"validation_fraction": 1.5}, ValueError, "validation_fraction must be between 0 and 1, got 1.5"),
        ({"tokenizer": None}, ValueError, "its tokenizer is not known"),
        ({"metric": "f1_makro"}, ValueError, "'f1_makro' is not a valid scoring value"),
        ({"text_columns": "story"}, ValueError, r"text_columns names unknown columns \['story'\]"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_setting_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        classifier(**settings).fit(pd.DataFrame({"text": X}), Y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "bert"}, "objective must be one of .* got 'bert'"),
        ({"objective": "logits", "stages": [Stage([SoftLabels()])]}, "Give one of them"),
        ({"stages": [1]}, "stages is a sequence of Stage, got 1"),
        ({"stages": []}, "stages is a sequence of Stage, got nothing"),
        ({"alpha": 1.5}, r"alpha must be in \[0, 1\], got 1.5"),
        ({"temperature": 0.0}, "temperature must be > 0, got 0.0"),
        ({"objective": [Hidden([(1, 9)])]}, r"got the pair \(1, 9\)"),
        ({"objective": [Hidden(project=False)], "model": config(2, 16)}, "widths must be equal"),
        ({"objective": [Attention()], "model": config(2, 32, 4)}, "got 4 heads for the student and 2 for the teacher"),
    ],
    ids=str,
)
def test_bad_objective_is_refused(teacher, settings, message):
    with pytest.raises(ValueError, match=message):
        classifier(**{"teacher": teacher, "epochs": 1, **settings}).fit(X, Y)


def test_terms_that_look_inside_want_a_teacher_with_an_inside():
    teacher = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(X, Y)
    with pytest.raises(ValueError, match="Hidden looks inside the teacher, but there is none to look into"):
        classifier(teacher=teacher, objective=[Hidden()]).fit(X, Y)


def test_other_vocabulary_is_refused_where_terms_look_inside(teacher):
    other = BertTokenizerFast(vocab=VOCABULARY | {"good": VOCABULARY["bad"], "bad": VOCABULARY["good"]})
    with pytest.raises(ValueError, match="ids of 2 tokens differ: 'bad'"):
        classifier(teacher=teacher, tokenizer=other, objective=[Hidden("last")]).fit(X, Y)


@pytest.mark.parametrize("objective", ["minilm", "tinybert", [Hidden("last")]])
def test_encoder_with_a_decoder_is_refused_where_terms_look_inside(teacher, objective):
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": len(VOCABULARY), "pad_token_id": 0}
    student = classifier(BartConfig(**sizes, eos_token_id=VOCABULARY["[SEP]"]), teacher=teacher, objective=objective)
    with pytest.raises(ValueError, match=r"BartForSequenceClassification has an encoder and a decoder\. .*SoftLabels"):
        student.fit(X, Y)


def test_model_that_answers_by_the_last_place_makes_no_file(tmp_path):
    given = XLNetConfig(vocab_size=16, d_model=16, n_layer=1, n_head=2, d_inner=32)
    model = classifier(given, max_length=24, epochs=0.1).fit(X, Y)
    with pytest.raises(ValueError, match="XLNetForSequenceClassification answers by the last place of a row"):
        model.to_onnx(tmp_path / "model.onnx")


def test_graph_that_does_not_run_is_not_written(tmp_path):
    class Frozen(torch.nn.Linear):
        def forward(self, rows):
            return super().forward(rows.reshape([int(n) for n in rows.shape]))

    data = np.eye(4, dtype=np.float32)
    with pytest.raises(
        ParityError, match=r"where PyTorch answers, onnxruntime fails \(.*Reshape.*\)\. .* with tensors"
    ):
        export_module(Frozen(4, 2), tmp_path / "model.onnx", X=data)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("objective", ["logits", [Hidden("last")]])
def test_teacher_of_fewer_positions_is_refused(objective):
    teacher = BertForSequenceClassification(config(max_position_embeddings=8))
    with pytest.raises(ValueError, match=r"positions for 8 tokens, and the student's rows have up to 10.*max_length=8"):
        classifier(teacher=teacher, objective=objective).fit(X, Y)


def test_teacher_of_fewer_positions_teaches_texts_that_fit():
    teacher = BertForSequenceClassification(config(max_position_embeddings=8))
    classifier(teacher=teacher, max_length=8, epochs=0.1).fit(X, Y)


def test_label_order_that_differs_is_refused():
    given = BertForSequenceClassification(config(id2label={0: "yes", 1: "no"}, label2id={"yes": 0, "no": 1}))
    with pytest.raises(ValueError, match=r"labels are in the order \['yes', 'no'\], those of y in the order"):
        classifier(given, epochs=1).fit(X, Y)


@pytest.mark.parametrize("names", [["yes", "no"], ["a", "b"]])
def test_names_of_a_configuration_are_those_of_y(names):
    given = config(id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)})
    model = classifier(given, epochs=0.1).fit(X, Y).model_
    assert model.config.id2label == {0: "no", 1: "yes"} and given.id2label == dict(enumerate(names))


def test_table_with_numbers_asks_for_its_texts():
    with pytest.raises(TypeError, match=r"Row 0 holds 1\.0 .* name the text_columns"):
        classifier().fit(pd.DataFrame({"text": X, "number": 1.0}), Y)


def test_gpu_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="device='cuda' asks for a GPU, but torch sees none"):
        classifier(device="cuda").fit(X, Y)


@pytest.mark.parametrize("given", [{}, {"teacher": classifier()}])
def test_device_that_torch_does_not_know_is_refused(given):
    with pytest.raises(ValueError, match=r"device='gpu' is none of torch's\. Use 'cpu', 'cuda', or None"):
        classifier(device="gpu", **given).fit(X, Y)


def test_gpu_that_trainer_does_not_train_on_is_refused():
    with pytest.raises(ValueError, match=r"device='cuda:1' is not where Trainer trains.* CUDA_VISIBLE_DEVICES"):
        classifier(device="cuda:1").fit(X, Y)


def test_share_of_labels_that_are_not_there_is_refused(teacher):
    with pytest.raises(ValueError, match=r"validation_fraction=0\.1 is of the labelled rows, and 0 have a label"):
        classifier(teacher=teacher, validation_fraction=0.1).fit(X, [None] * len(X))


def test_unlabelled_row_without_a_teacher_is_refused():
    y = Y.astype(object)
    y[7] = None
    with pytest.raises(ValueError, match="Row 7 has no label, and there is no teacher"):
        classifier().fit(X, y)


def test_teacher_of_other_classes_is_refused(teacher):
    with pytest.raises(ValueError, match=r"The teacher knows the classes \['no', 'yes'\], but y has \['a', 'b'\]"):
        classifier(teacher=teacher).fit(X, np.where(Y == "yes", "a", "b"))


def test_regressor_as_the_teacher_of_a_classifier_is_refused():
    teacher = make_pipeline(TfidfVectorizer(), LinearRegression()).fit(X, POINTS)
    with pytest.raises(TypeError, match="must have predict_proba and classes_, and Pipeline has not"):
        classifier(teacher=teacher).fit(X, Y)


def test_labels_of_two_kinds_are_refused():
    with pytest.raises(ValueError, match=r"y mixes texts with 1 \(int\)"):
        classifier().fit(X[:4], ["bad", 1, "bad", 1])


def test_integers_with_gaps_stay_integers():
    polars = pytest.importorskip("polars")
    y = polars.Series([None, *(POINTS[1:] > 0).astype(int).tolist()])
    teacher = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(X[1:], y[1:].to_list())
    assert classifier(config(1), epochs=0.1, teacher=teacher).fit(X, y).classes_.dtype.kind == "i"


def test_rows_that_lack_one_value_lack_all():
    values = np.column_stack([POINTS, -POINTS]).astype(float)
    shared = {
        "tokenizer": TOKENIZER,
        "epochs": 1,
        "learning_rate": 3e-3,
        "random_state": 0,
        "device": "cpu",
        "alpha": 0.9,
    }
    shared["teacher"] = make_pipeline(TfidfVectorizer(), LinearRegression()).fit(X, values)
    partly, wholly = values.copy(), values.copy()
    partly[::3, 0] = wholly[::3] = np.nan
    first, second = (TransformerRegressor(config(1), **shared).fit(X, y).predict(X) for y in (partly, wholly))
    np.testing.assert_array_equal(first, second)


LISTS = [["a", "b"], ["a"]]


@pytest.mark.parametrize(
    "y", [LISTS, pd.Series(LISTS), np.eye(2), csr_array(np.eye(2))], ids=["lists", "series", "indicators", "sparse"]
)
def test_several_labels_per_row_are_refused(y):
    with pytest.raises(ValueError, match=r"one label per row .* OneVsRestClassifier\(TransformerClassifier"):
        classifier().fit(X[:2], y)


def test_exits_of_a_regressor_are_refused():
    with pytest.raises(ValueError, match="SelfDistillation is for classifiers"):
        TransformerRegressor(config(), tokenizer=TOKENIZER, objective=SelfDistillation((1,))).fit(X[:4], np.arange(4))


def test_one_estimator_per_label_is_the_way_to_several():
    both = np.column_stack([Y == "yes", np.char.find(X, "film") >= 0]).astype(int)
    model = OneVsRestClassifier(classifier(epochs=1)).fit(X[:80], both[:80])
    assert model.predict(X[:5]).shape == model.predict_proba(X[:5]).shape == (5, 2)


def test_batch_without_labels_has_a_finite_loss(teacher):
    distiller = Distiller(teacher.model_, [HardLabels(), SoftLabels()]).train()
    rows = dict(TOKENIZER(["good", "bad"], padding=True, return_tensors="pt"))
    loss = distiller(rows, labels=torch.tensor([-100, -100]), log_soft=torch.log(torch.full((2, 2), 0.5)))["loss"]
    loss.backward()
    teacher.model_.zero_grad()
    teacher.model_.eval()
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stage([]), "sequence of terms, got nothing"),
        (lambda: Stage(["logits"]), "sequence of terms, got 'logits'"),
        (lambda: Stage([SoftLabels()], epochs=0), "epochs must be > 0, got 0"),
        (lambda: progressive(0), "n_layers must be 1 or more, got 0"),
    ],
)
def test_bad_stage_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_distilbert_takes_what_bert_takes(teacher):
    small = DistilBertConfig(
        dim=32, n_layers=2, n_heads=2, hidden_dim=64, vocab_size=len(VOCABULARY), max_position_embeddings=24
    )
    student = classifier(small, teacher=teacher, objective=[Hidden("last"), Relations()]).fit(X, Y)
    assert student.score(X, Y) > 0.9


def test_student_of_a_model_without_token_types_has_its_own():
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    teacher = DebertaV2ForSequenceClassification(
        DebertaV2Config(vocab_size=len(VOCABULARY), type_vocab_size=0, **sizes)
    )
    student = empty_student("bert-tiny", like=teacher)
    assert student(**TOKENIZER("good film", return_tensors="pt")).logits.shape == (1, 2)


def test_teacher_module_of_another_label_order_is_refused():
    given = BertForSequenceClassification(config(id2label={0: "yes", 1: "no"}, label2id={"yes": 0, "no": 1}))
    with pytest.raises(ValueError, match=r"outputs are in the order \['yes', 'no'\], the labels of y"):
        classifier(teacher=given).fit(X, Y)


@pytest.mark.parametrize(
    ("rows", "y", "weight", "message"),
    [
        (X, Y[:-1], None, "inconsistent numbers of samples"),
        (X, Y, np.ones(3), "inconsistent numbers of samples"),
        ([], [], None, "classes"),
        (X, np.linspace(0, 1, len(X)), None, "Unknown label type"),
        (X, None, None, "requires y to be passed"),
    ],
    ids=["target", "weight", "empty", "continuous", "none"],
)
def test_rows_that_do_not_fit_are_refused(rows, y, weight, message):
    with pytest.raises(ValueError, match=message):
        classifier(epochs=1).fit(rows, y, sample_weight=weight)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
def test_model_that_is_not_fitted_says_so(method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(classifier(), method)(X)

"""Networks as ONNX files: the same answers from texts, whatever the shape, and nothing written where they differ."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from torch import nn  # noqa: E402
from transformers import (  # noqa: E402
    AlbertConfig,
    AlbertForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    DebertaConfig,
    DebertaForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    MobileBertConfig,
    MobileBertForSequenceClassification,
)

from tabkd import DistilledEstimator, runtime, runtime_text  # noqa: E402
from tabkd.cli import app  # noqa: E402
from tabkd.export import ParityError  # noqa: E402
from tabkd.export.c_program import c_example  # noqa: E402
from tabkd.neural import ModuleClassifier  # noqa: E402
from tabkd.neural.onnx import export_module, export_text  # noqa: E402
from tabkd.neural.quantize import QuantizationError, quantize  # noqa: E402
from tabkd.runtime import OnnxPredictor  # noqa: E402

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "bad",
    "film",
    "fine",
    "good",
    "no",
    "not",
    "very",
    "좋다",
    "##s",
]
TEXTS = ["a good film", "bad", "", "not a very good film no no no", "Fine 좋다", "films, films & 물"]
PAIRS = [("a good film", "bad"), ("", "very good"), ("no " * 30, "fine")]
SMALL = {"vocab_size": len(WORDS), "max_position_embeddings": 32, "num_labels": 3}
BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CLASSES = ["no", "yes", "모름"]


def bert(**more):
    return BertForSequenceClassification(BertConfig(**{**SMALL, **BERT, **more}))


def distilbert(**more):
    config = DistilBertConfig(**{**SMALL, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, **more})
    return DistilBertForSequenceClassification(config)


def mobilebert(**more):
    sizes = {"embedding_size": 8, "intra_bottleneck_size": 16, "true_hidden_size": 16}
    return MobileBertForSequenceClassification(MobileBertConfig(**{**SMALL, **BERT, **sizes, **more}))


FAMILIES = {"bert": bert, "distilbert": distilbert, "mobilebert": mobilebert}


def vivid(build, **more):
    """A random model whose answers depend on the text: weights as they come give .33 for everything."""
    torch.manual_seed(3 if build is distilbert else 4)  # seeds whose labels differ between texts
    model = build(**more).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim == 2:
                weights.mul_(8)
        [*model.parameters()][-2].normal_()  # of the head
    return model


@pytest.fixture
def tokenizer():
    return BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)})


def expected(model, tokenizer, texts, max_length=24):
    """PyTorch's probabilities, each row by itself."""
    found = []
    for text in texts:
        encoded = tokenizer(*([text] if isinstance(text, str) else text), truncation=True, max_length=max_length)
        names = ["input_ids", "attention_mask"] + ["token_type_ids"] * (not isinstance(model, type(distilbert())))
        with torch.no_grad():
            logits = model(**{name: torch.tensor([encoded[name]]) for name in names}).logits
        found.append(logits.softmax(-1)[0].numpy())
    return np.array(found)


@pytest.fixture
def written(tmp_path, tokenizer):
    model = vivid(bert)
    return export_text(model, tokenizer, tmp_path / "model.onnx", max_length=24, classes=CLASSES), model


@pytest.mark.parametrize("family", FAMILIES)
def test_file_answers_texts_as_the_model_does(tmp_path, tokenizer, family):
    model = vivid(FAMILIES[family])
    path = export_text(model, tokenizer, tmp_path / "model.onnx", max_length=24, classes=CLASSES)
    answers = expected(model, tokenizer, TEXTS)
    assert np.ptp(answers, axis=0).max() > 0.05
    np.testing.assert_allclose(OnnxPredictor(path).predict_proba(TEXTS), answers, atol=1e-5)


def test_labels_are_the_classes_themselves(written, tokenizer):
    path, model = written
    codes = expected(model, tokenizer, TEXTS).argmax(axis=1)
    assert len(set(codes)) > 1
    assert OnnxPredictor(path).predict(TEXTS).tolist() == [CLASSES[code] for code in codes]


@pytest.mark.parametrize("classes", [[3, 1, 2], [0.5, 1.5, 2.5]])
def test_labels_may_be_numbers(tmp_path, tokenizer, classes):
    path = export_text(vivid(bert), tokenizer, tmp_path / "model.onnx", max_length=24, classes=classes)
    assert set(OnnxPredictor(path).predict(TEXTS).tolist()) <= set(classes)


def test_pairs_of_texts(tmp_path, tokenizer):
    model = vivid(bert)
    path = export_text(
        model, tokenizer, tmp_path / "model.onnx", max_length=24, classes=CLASSES, text_columns=["first", "second"]
    )
    predictor, answers = OnnxPredictor(path), expected(model, tokenizer, PAIRS)
    np.testing.assert_allclose(predictor.predict_proba(PAIRS), answers, atol=1e-5)
    frame = pd.DataFrame(PAIRS, columns=["first", "second"])[["second", "first"]]
    np.testing.assert_allclose(predictor.predict_proba(frame), answers, atol=1e-5)


def test_frame_without_names_is_read_by_position(tmp_path, tokenizer):
    names, frame = ["first", "second"], pd.DataFrame(PAIRS)
    path = tmp_path / "model.onnx"
    export_text(vivid(bert), tokenizer, path, max_length=24, classes=CLASSES, text_columns=names, texts=frame)
    predictor = OnnxPredictor(path)
    np.testing.assert_array_equal(predictor.predict_proba(frame), predictor.predict_proba(PAIRS))


def test_one_logit_is_a_regression(tmp_path, tokenizer):
    model = vivid(bert, num_labels=1)
    predictor = OnnxPredictor(export_text(model, tokenizer, tmp_path / "model.onnx", max_length=24))
    with torch.no_grad():
        value = model(**tokenizer([TEXTS[0]], return_tensors="pt")).logits.item()
    assert predictor.predict(TEXTS).shape == (len(TEXTS),)
    assert predictor.predict_one(TEXTS[0]) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("container", [list, tuple, np.array, pd.Series, lambda texts: pd.DataFrame({"text": texts})])
def test_texts_come_in_any_container(written, container):
    predictor = OnnxPredictor(written[0])
    np.testing.assert_array_equal(predictor.predict_proba(container(TEXTS)), predictor.predict_proba(TEXTS))


@pytest.mark.parametrize("kind", ["chunked_array", "table", "RecordBatch"])
def test_texts_come_from_pyarrow(written, kind):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"number": range(len(TEXTS)), "text": TEXTS})
    given = {"table": table, "RecordBatch": table.to_batches()[0], "chunked_array": table["text"]}
    predictor = OnnxPredictor(written[0])
    np.testing.assert_array_equal(predictor.predict_proba(given[kind]), predictor.predict_proba(TEXTS))


def test_long_texts_are_tokenised_some_at_a_time(written, monkeypatch):
    predictor, found = OnnxPredictor(written[0]), []

    class Counting:
        def encode_batch(self, texts):
            found.append(len(texts))
            return self.whole.encode_batch(texts)

    Counting.whole = predictor._text._tokenizer
    monkeypatch.setitem(vars(predictor._text), "_tokenizer", Counting())
    assert len(predictor.predict(["x" * (1 << 20), "good", "bad"])) == 3
    assert found == [1, 2]


def test_one_text_is_answered_as_among_many(written):
    predictor = OnnxPredictor(written[0])
    label, probabilities = predictor.predict_one(TEXTS[0])
    assert label == predictor.predict(TEXTS)[0]
    np.testing.assert_allclose([*probabilities.values()], predictor.predict_proba(TEXTS)[0], atol=1e-6)


def test_order_and_batches_change_nothing(written):
    predictor = OnnxPredictor(written[0], batch_size=2)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = predictor.predict_proba([TEXTS[i] for i in order])
    np.testing.assert_allclose(shuffled, OnnxPredictor(written[0]).predict_proba(TEXTS)[order], atol=1e-6)


def test_distilbert_is_fed_no_token_types(tmp_path, tokenizer):
    path = export_text(vivid(distilbert), tokenizer, tmp_path / "model.onnx", max_length=24, classes=CLASSES)
    assert [info.name for info in OnnxPredictor(path).session.get_inputs()] == ["input_ids", "attention_mask"]


@pytest.mark.parametrize(
    ("kind", "config"),
    [(DebertaForSequenceClassification, DebertaConfig), (DebertaV2ForSequenceClassification, DebertaV2Config)],
)
def test_deberta_without_types_is_fed_none(tmp_path, tokenizer, kind, config):
    torch.manual_seed(0)
    model = kind(config(**SMALL, **BERT))
    path = export_text(model, tokenizer, tmp_path / "model.onnx", max_length=24, classes=CLASSES, texts=TEXTS)
    assert [info.name for info in OnnxPredictor(path).session.get_inputs()] == ["input_ids", "attention_mask"]


def test_proof_stands_in_the_file(written, tmp_path, tokenizer):
    proof = OnnxPredictor(written[0]).metadata["proof"]
    path = export_text(written[1], tokenizer, tmp_path / "more.onnx", max_length=24, classes=CLASSES, texts=TEXTS)
    assert proof["largest_difference"] <= 1e-5 and proof["labels_differ"] == 0
    assert OnnxPredictor(path).metadata["proof"]["rows"] == proof["rows"] + len(TEXTS)


def test_file_is_readable_by_old_runtimes(written):
    model = onnx.load(written[0])
    assert (model.opset_import[0].version, model.ir_version) == (17, 8)


def test_model_and_tokenizer_stay_as_they_were(tmp_path, tokenizer):
    model = vivid(bert).train()
    model.bert.embeddings.eval()
    modes, before = [m.training for m in model.modules()], {k: v.clone() for k, v in model.state_dict().items()}
    backend = tokenizer.backend_tokenizer.to_str()
    torch.manual_seed(5)
    export_text(model, tokenizer, tmp_path / "model.onnx", max_length=24, classes=CLASSES)
    state = torch.rand(1)
    torch.manual_seed(5)
    assert state == torch.rand(1)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert json.loads(backend)["model"] == json.loads(tokenizer.backend_tokenizer.to_str())["model"]


class Frozen(nn.Module):
    """Decides in Python by the length of its input, which tracing freezes."""

    def __init__(self, factor):
        super().__init__()
        self.embedding, self.factor = nn.Embedding(len(WORDS), 3), factor

    def forward(self, input_ids, attention_mask):
        total = (self.embedding(input_ids) * attention_mask[..., None]).sum(1)
        return total if input_ids.shape[1] < 12 else total * self.factor


@pytest.mark.parametrize(("classes", "factor"), [(CLASSES, -1), (CLASSES, 1.001), (None, 1.001)])
def test_file_that_answers_otherwise_is_not_written(tmp_path, tokenizer, classes, factor):
    with pytest.raises(ParityError, match=r"not written: for .* it answers \[.*PyTorch \["):
        export_text(Frozen(factor), tokenizer, tmp_path / "model.onnx", max_length=24, classes=classes)
    assert list(tmp_path.iterdir()) == []


def test_tokenizer_that_does_more_than_its_backend_is_refused(tmp_path, tokenizer):
    class Shouting(BertTokenizer):
        def __call__(self, *texts, **options):
            return super().__call__(*[[f"good {text}" for text in column] for column in texts], **options)

    shouting = Shouting(vocab=tokenizer.get_vocab())
    with pytest.raises(ParityError, match="its tokenizer makes"):
        export_text(vivid(bert), shouting, tmp_path / "model.onnx", max_length=24, classes=CLASSES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["no", "yes"]}, "gives 3 logits, but classes names 2"),
        ({"classes": ["a", "a", "b"]}, "two distinct labels"),
        ({"max_length": 33}, "at most 32, the model's positions, got 33"),
        ({"max_length": 2}, "at least 3"),
        ({"text_columns": []}, "text_columns must name"),
        ({"quantize": "int4"}, 'must be None or "int8"'),
        ({"quantize": "int8"}, "Give texts="),
        ({"texts": ["a", None]}, "Row 1 .* holds None"),
    ],
)
def test_bad_options_of_an_export(tmp_path, tokenizer, options, message):
    with pytest.raises(ValueError, match=message):
        export_text(bert(), tokenizer, tmp_path / "m.onnx", **{"max_length": 24, "classes": CLASSES, **options})


def test_half_precision_is_refused(tmp_path, tokenizer):
    with pytest.raises(ValueError, match=r"holds torch.float16.*model.float\(\)"):
        export_text(bert().half(), tokenizer, tmp_path / "model.onnx", max_length=24, classes=CLASSES)


def test_model_too_large_for_one_file_is_refused(tmp_path, tokenizer):
    with torch.device("meta"):
        model = bert(vocab_size=2**25)
    with pytest.raises(ValueError, match=r"holds 2\.0 GiB, but one ONNX file holds less than 2"):
        export_text(model, tokenizer, tmp_path / "model.onnx", max_length=24, classes=CLASSES)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("a good film", "X is one text"),
        ([], "no rows"),
        (["fine", None], "Row 1 .* holds None"),
        (["fine", float("nan")], "Row 1 .* holds nan"),
        ([("a", "b")], "holds 2 texts, but this model reads 1"),
        ({"title": ["a"]}, "lacks the column 'text'"),
        ({"text": "a good film"}, "X is one text"),
        (["fine", "bad\ud83d"], r"Row 1 .* holds '\\ud83d', half a character"),
    ],
)
def test_bad_texts(written, X, message):
    with pytest.raises(ValueError, match=message):
        OnnxPredictor(written[0]).predict(X)


def test_provider_that_is_not_here_is_named(written):
    with pytest.raises(ValueError, match="'CUDAExecutionProvider', which onnxruntime has not here"):
        OnnxPredictor(written[0], providers=[("CUDAExecutionProvider", {"device_id": 0})])


def test_provider_that_does_not_start_is_named(written, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["TensorrtExecutionProvider"])
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(ValueError, match="'TensorrtExecutionProvider', which did not start"),
    ):
        OnnxPredictor(written[0], providers=["TensorrtExecutionProvider"])


DEVICE = """
import sys
sys.modules["tokenizers"] = None if sys.argv[2] == "without" else __import__("tokenizers")
from runtime import OnnxPredictor
assert not {"torch", "transformers", "tabkd", "pandas", "onnx"} & set(sys.modules)
print(OnnxPredictor(sys.argv[1]).predict(["a good film"])[0])
"""


@pytest.mark.parametrize(("tokenizers", "found"), [("with", CLASSES), ("without", "pip install tokenizers")])
def test_two_copied_modules_read_texts_with_tokenizers_alone(written, tmp_path, tokenizers, found):
    for module in (runtime, runtime_text):
        shutil.copy(module.__file__, tmp_path)
    (tmp_path / "device.py").write_text(DEVICE, encoding="utf-8")
    command = [sys.executable, "device.py", str(written[0]), tokenizers]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", env={"PYTHONUTF8": "1"})
    assert done.stdout.strip() in found if tokenizers == "with" else found in done.stderr


def test_file_of_texts_is_inspected(written):
    done = CliRunner().invoke(app, ["inspect", str(written[0])])
    assert "texts, as 24 tokens at most: input_ids [N, length] int64" in done.output


def test_program_for_tables_refuses_a_file_of_texts(written):
    with pytest.raises(ValueError, match="reads texts, which only OnnxPredictor can"):
        c_example(written[0])


# ---------------------------------------------------------------- networks on numbers


def numbers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3))


ROWS = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)


def test_network_on_numbers_answers_as_it_does_in_torch(tmp_path):
    module = numbers()
    predictor = OnnxPredictor(export_module(module, tmp_path / "model.onnx", X=ROWS, classes=CLASSES))
    assert module.training
    with torch.no_grad():
        answers = module.eval()(torch.as_tensor(ROWS)).softmax(-1).numpy()
    np.testing.assert_allclose(predictor.predict_proba(ROWS), answers, atol=1e-5)
    assert predictor.predict_one(dict(zip(predictor.columns, ROWS[0], strict=True))).label in CLASSES


def test_network_without_classes_is_a_regression(tmp_path):
    path = export_module(numbers(), tmp_path / "model.onnx", X=ROWS, feature_names=["a", "b", "c", "d"])
    assert OnnxPredictor(path).predict(pd.DataFrame(ROWS, columns=[*"abcd"])).shape == (40, 3)


def test_module_is_written_with_the_columns_that_it_was_fitted_on(tmp_path):
    table, labels = pd.DataFrame(ROWS, columns=[*"abcd"]), np.arange(len(ROWS)) % 3
    model = ModuleClassifier(numbers(), epochs=0.1, random_state=0)
    for fitted in (model.fit(table, labels), distilled(model).fit(table, labels)):
        predictor = OnnxPredictor(fitted.to_onnx(tmp_path / "model.onnx", X=table))
        found = predictor.predict_proba(table[[*"dcba"]])
        np.testing.assert_allclose(found, fitted.predict_proba(table), atol=1e-5)


def distilled(student):
    return DistilledEstimator(LogisticRegression(), student, cross_fit="folds", alpha=0.5, random_state=0)


def test_network_that_decides_by_its_numbers_is_refused(tmp_path):
    class Decides(nn.Linear):
        def forward(self, X):
            return super().forward(X) if X.sum() > 0 else X[:, :3]

    with pytest.raises(ParityError, match="of X"):
        export_module(Decides(4, 3), tmp_path / "model.onnx", X=ROWS, classes=CLASSES)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- int8

LONG = [" ".join(np.random.default_rng(i).choice(WORDS[5:], 1 + i % 20)) for i in range(60)]


def deaf():
    """A regression one matrix of which has a column of weights that nothing ever reaches, too large for int8."""
    model = vivid(bert, num_labels=1, num_hidden_layers=1)
    part = model.bert.encoder.layer[0]
    with torch.no_grad():
        part.attention.output.LayerNorm.weight[0] = part.attention.output.LayerNorm.bias[0] = 0
        part.intermediate.dense.weight[:, 0] = 3000
    return model


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """A regression in float32."""
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)})
    path = tmp_path_factory.mktemp("exact") / "model.onnx"
    return export_text(vivid(bert, num_labels=1, hidden_size=64), tokenizer, path, max_length=24)


def test_int8_is_smaller_and_says_what_was_tried(exact, tmp_path):
    path = quantize(exact, tmp_path / "int8.onnx", LONG, max_drop=0.2)
    report = OnnxPredictor(path).metadata["quantized"]
    assert path.stat().st_size < 0.7 * exact.stat().st_size
    assert report["attempts"][-1] | {"size": 0} == {key: report[key] for key in report["attempts"][-1]} | {"size": 0}
    assert "proof" not in OnnxPredictor(path).metadata and report["proof"] == OnnxPredictor(exact).metadata["proof"]
    assert (report["measure"], report["rows"], report["left_out"]) == ("R²", len(LONG), [])


@pytest.mark.parametrize("batch_size", [None, 1])
def test_loss_in_the_file_is_that_of_batches_or_of_single_texts(exact, tmp_path, batch_size):
    first = quantize(exact, tmp_path / "first.onnx", LONG, max_drop=0.5)
    labels = OnnxPredictor(first, batch_size=batch_size).predict(LONG)  # by which the other way loses more
    made = OnnxPredictor(quantize(exact, tmp_path / "int8.onnx", LONG, labels, max_drop=0.5))
    after = [made.predict(LONG), [made.predict_one(text) for text in LONG]]
    drop = r2_score(labels, OnnxPredictor(exact).predict(LONG)) - min(r2_score(labels, answers) for answers in after)
    assert made.metadata["quantized"]["drop"] == pytest.approx(drop, abs=1e-6)


def albert():
    sizes = {**BERT, "hidden_size": 128, "intermediate_size": 256, "embedding_size": 16}
    return AlbertForSequenceClassification(AlbertConfig(**{**SMALL, **sizes}))


def gpt2():
    sizes = {"n_embd": 64, "n_layer": 1, "n_head": 2, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    return GPT2ForSequenceClassification(GPT2Config(**SMALL, **sizes))


@pytest.mark.parametrize("family", [albert, gpt2])
def test_int8_reaches_weights_that_layers_share_and_those_of_gpt2(family, tmp_path, tokenizer):
    options = {"max_length": 24, "classes": CLASSES, "texts": LONG}
    exact, small = (
        export_text(vivid(family), tokenizer, tmp_path / f"{more}.onnx", **options, quantize=more, max_drop=0.9)
        for more in (None, "int8")
    )
    assert small.stat().st_size < 0.6 * exact.stat().st_size


def test_file_that_int8_makes_no_smaller_is_written_with_a_warning(tmp_path, tokenizer):
    options = {"max_length": 24, "classes": CLASSES, "texts": LONG, "quantize": "int8", "max_drop": 0.9}
    with pytest.warns(UserWarning, match=r"int8 takes \d+ bytes, and float32 takes \d+: .* Keep float32"):
        path = export_text(vivid(bert), tokenizer, tmp_path / "int8.onnx", **options)
    assert path.exists()


def test_loss_is_the_mean_over_outputs_whatever_their_scales(tmp_path, tokenizer):
    model = vivid(bert, num_labels=3, hidden_size=64)
    with torch.no_grad():
        model.classifier.weight[0] *= 1e4
    exact = export_text(model, tokenizer, tmp_path / "exact.onnx", max_length=24)
    made = OnnxPredictor(quantize(exact, tmp_path / "int8.onnx", LONG, max_drop=0.5))
    true = OnnxPredictor(exact).predict(LONG)
    scores = [r2_score(true, answers) for answers in (made.predict(LONG), [made.predict_one(text) for text in LONG])]
    assert made.metadata["quantized"]["drop"] == pytest.approx(1 - min(scores), abs=1e-6)


def test_int8_that_loses_more_than_allowed_is_not_written(exact, tmp_path):
    with pytest.raises(QuantizationError, match=r"best loses \d\.\d{4} of R² on 60 rows, more than max_drop 0"):
        quantize(exact, tmp_path / "int8.onnx", LONG, max_drop=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:int8 takes")
def test_only_the_part_that_suffers_stays_in_float(tmp_path, tokenizer):
    path = export_text(
        deaf(), tokenizer, tmp_path / "int8.onnx", max_length=24, texts=LONG, quantize="int8", max_drop=0.2
    )
    report = OnnxPredictor(path).metadata["quantized"]
    assert [part.partition("encoder/")[2] for part in report["left_out"]] == ["layer.0/intermediate/dense/MatMul"]
    assert min(attempt["drop"] for attempt in report["attempts"][:4]) > 0.2


@pytest.mark.filterwarnings("ignore:int8 takes")
def test_accuracy_is_measured_where_labels_are_known(tmp_path, tokenizer):
    labels = np.resize(CLASSES, len(LONG))
    path = export_text(
        vivid(bert), tokenizer, tmp_path / "int8.onnx", max_length=24, classes=CLASSES, texts=LONG, labels=labels,
        quantize="int8", max_drop=0.5,
    )  # fmt: skip
    made = OnnxPredictor(path)
    assert made.metadata["quantized"]["measure"] == "accuracy"
    assert set(made.predict(LONG)) <= set(CLASSES)


def test_labels_that_are_no_classes_are_refused(tmp_path, tokenizer):
    with pytest.raises(ValueError, match=r"labels holds \[0, 1, 0\], but the classes are \['no'"):
        export_text(
            vivid(bert), tokenizer, tmp_path / "int8.onnx", max_length=24, classes=CLASSES, texts=TEXTS,
            labels=[0, 1] * 3, quantize="int8",
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_int8_leaves_logging_as_it_was(exact, tmp_path, caplog):
    before = logging.root.manager.disable
    quantize(exact, tmp_path / "int8.onnx", LONG, max_drop=0.5)
    assert logging.root.manager.disable == before
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": 1.5}, r"max_drop must be in \[0, 1\), got 1.5"),
        ({"labels": [1.0]}, r"labels has the shape \(1,\), but must have \(60,\)"),
        ({"texts": []}, "no rows"),
        ({"texts": LONG[:1]}, "All of the 1 texts have one value, by which no R² is measured"),
        ({"labels": [2.0] * 60}, "All of the 60 texts have one value"),
    ],
)
def test_bad_options_of_int8(exact, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        quantize(exact, tmp_path / "int8.onnx", **{"texts": LONG, **options})


def test_file_in_int8_is_inspected(exact, tmp_path):
    path = quantize(exact, tmp_path / "int8.onnx", LONG, max_drop=0.2)
    done = CliRunner().invoke(app, ["inspect", str(path)])
    assert "of R² on 60 rows (allowed 0.2); attempt 1" in done.output and "proof" not in done.output


def test_int8_is_made_of_float32_alone(exact, tmp_path):
    path = quantize(exact, tmp_path / "int8.onnx", LONG, max_drop=0.5)
    with pytest.raises(ValueError, match="made of a float32 file that reads texts"):
        quantize(path, path, LONG)

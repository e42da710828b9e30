"""Transformers that were fine-tuned elsewhere, as fitted estimators."""

# ruff: noqa: E402

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from neural_data import POINTS, TOKENIZER, X, Y, classifier, config
from sklearn.frozen import FrozenEstimator
from transformers import (
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    BertModel,
    CamembertConfig,
    DistilBertConfig,
    GPT2Config,
    XLNetConfig,
)

from tabkd import DistilledEstimator
from tabkd.neural import EmbeddingStudent, Hidden, TransformerClassifier, TransformerRegressor
from tabkd.neural.embedder import Embedder, write_folder
from tabkd.neural.fine_tuned import in_order
from tabkd.runtime import OnnxPredictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Saves a model with its tokenizer."""

    def saved(model):
        path = tmp_path_factory.mktemp("model")
        model.save_pretrained(path)
        TOKENIZER.save_pretrained(path)
        return path

    return saved


@pytest.fixture(scope="module")
def trained():
    return classifier(config(2)).fit(X, Y)


@pytest.fixture(scope="module")
def turned(trained, folder):
    """The folder of a model that answers yes before no."""
    model = copy.deepcopy(trained.model_)
    with torch.no_grad():
        for weights in model.classifier.parameters():
            weights.copy_(weights.flip(0))
    model.config.id2label, model.config.label2id = {0: "yes", 1: "no"}, {"yes": 0, "no": 1}
    return folder(model)


@pytest.fixture(scope="module")
def read(turned):
    return TransformerClassifier.from_pretrained(turned)


def test_probabilities_stand_in_the_order_of_the_sorted_labels(read, trained):
    assert read.classes_.tolist() == ["no", "yes"] and read.model_.config.id2label == {0: "no", 1: "yes"}
    np.testing.assert_allclose(read.predict_proba(X), trained.predict_proba(X), atol=1e-6)


def test_it_is_exported_and_pickled(read, tmp_path):
    predictor = OnnxPredictor(read.to_onnx(tmp_path / "model.onnx", texts=X[:20]))
    np.testing.assert_allclose(predictor.predict_proba(X), read.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(read)).predict_proba(X), read.predict_proba(X))


def test_it_is_saved_and_read_again(read, folder):
    again = TransformerClassifier.from_pretrained(folder(read.model_))
    np.testing.assert_array_equal(again.predict_proba(X), read.predict_proba(X))


def test_it_teaches_as_the_estimator_that_it_came_from(read, trained):
    students = [
        DistilledEstimator(FrozenEstimator(teacher), classifier(config(1), epochs=1), random_state=0)
        for teacher in (read, trained)
    ]
    found, expected = (student.fit(X, Y).predict_proba(X) for student in students)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_terms_look_inside_it(read):
    student = classifier(config(1), teacher=read, objective=Hidden("last"), epochs=1)
    assert student.fit(X, Y).predict_proba(X).shape == (len(X), 2)


def test_a_table_of_another_column_is_read_after_the_first(read):
    pandas = pytest.importorskip("pandas")
    first, second = (read.predict_proba(pandas.DataFrame({name: X})) for name in ("review", "comment"))
    np.testing.assert_array_equal(first, second)


SMALL = {"vocab_size": 16, "num_labels": 3}
HEADS = [
    config(1, num_labels=3),
    CamembertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, **SMALL),
    DistilBertConfig(dim=16, n_layers=1, n_heads=2, hidden_dim=32, **SMALL),
    GPT2Config(n_embd=16, n_layer=1, n_head=2, pad_token_id=0, **SMALL),
    XLNetConfig(d_model=16, n_layer=1, n_head=2, d_inner=32, **SMALL),
]


@pytest.mark.parametrize("given", HEADS, ids=lambda given: given.model_type)
def test_heads_of_every_family_are_sorted(given):
    model = AutoModelForSequenceClassification.from_config(given).eval()
    ids = torch.tensor([[2, 5, 6, 3]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        assert in_order(model, np.array(["c", "a", "b"])).tolist() == ["a", "b", "c"]
        torch.testing.assert_close(model(input_ids=ids).logits, before[:, [1, 2, 0]])


@pytest.mark.parametrize("use", ["from_pretrained", "fit"])
def test_folder_without_a_tokenizer_is_refused(tmp_path, use):
    unnamed(2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"There is no tokenizer in '.*'\. Save .* or give tokenizer="):
        if use == "fit":
            classifier(tmp_path, tokenizer=None).fit(X, Y)
        TransformerClassifier.from_pretrained(tmp_path)


def test_folder_of_vectors_without_a_tokenizer_is_refused(tmp_path):
    write_folder(Embedder(BertModel(config(1))), TOKENIZER, 24, tmp_path)
    for path in tmp_path.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ValueError, match="There is no tokenizer in"):
        EmbeddingStudent.from_pretrained(tmp_path)


def unnamed(n_labels, **settings):
    return BertForSequenceClassification(config(1, num_labels=n_labels, **settings))


def test_labels_that_were_never_named_are_numbers(folder):
    assert TransformerClassifier.from_pretrained(folder(unnamed(3))).classes_.tolist() == [0, 1, 2]


def test_classes_that_are_given_are_those_of_the_logits(folder):
    path = folder(unnamed(3))
    plain, named = (TransformerClassifier.from_pretrained(path, classes=given) for given in (None, [30, 10, 20]))
    assert named.classes_.tolist() == [10, 20, 30]
    np.testing.assert_allclose(named.predict_proba(X), plain.predict_proba(X)[:, [1, 2, 0]], atol=1e-6)


def test_values_of_a_regressor_are_taken_as_they_are(folder, tmp_path):
    given = unnamed(1).eval()
    model = TransformerRegressor.from_pretrained(folder(given))
    with torch.no_grad():
        expected = given(**TOKENIZER(X[0], return_tensors="pt")).logits.item()
    assert model.predict(X[:1])[0] == pytest.approx(expected, abs=1e-6)
    predictor = OnnxPredictor(model.to_onnx(tmp_path / "model.onnx", texts=X[:5]))
    np.testing.assert_allclose(predictor.predict(X), model.predict(X), atol=1e-5)
    student = TransformerRegressor(config(1), tokenizer=TOKENIZER, teacher=model, epochs=0.1, random_state=0)
    assert student.fit(X, POINTS).predict(X).shape == (len(X),)


@pytest.mark.parametrize(
    ("kind", "model", "settings", "said"),
    [
        (TransformerClassifier, unnamed(1), {}, r"classes need a logit each. Read it with TransformerRegressor\.from"),
        (TransformerRegressor, unnamed(2), {}, r"gives classes. Read it with TransformerClassifier\.from_pretrained"),
        (TransformerClassifier, unnamed(2, problem_type="multi_label_classification"), {}, "any number of labels"),
        (TransformerClassifier, BertModel(config(1)), {}, r"no trained head .* classifier\.bias, classifier\.weight"),
        (
            TransformerClassifier,
            unnamed(2),
            {"classes": ["a", "b", "c"]},
            r"2 different labels, .* got \['a', 'b', 'c'",
        ),
        (TransformerClassifier, unnamed(2), {"classes": ["a", "a"]}, r"2 different labels, .* got \['a', 'a'\]"),
    ],
    ids=["one logit", "classes", "several labels", "headless", "too many", "twice"],
)
def test_what_does_not_fit_is_named(folder, kind, model, settings, said):
    with pytest.raises(ValueError, match=said):
        kind.from_pretrained(folder(model), **settings)


@pytest.mark.parametrize("freeze", [lambda teacher: teacher, FrozenEstimator], ids=["bare", "frozen"])
@pytest.mark.parametrize(("teacher", "named"), [(unnamed(2), "a BertForSequenceClassification"), ("ft", "'ft'")])
def test_bare_transformer_and_folder_are_named_as_teachers(teacher, freeze, named):
    with pytest.raises(TypeError, match=rf"teacher must be an estimator, got {named}\. .*Classifier\.from_pretrained"):
        DistilledEstimator(freeze(teacher), classifier(config(1))).fit(X, Y)

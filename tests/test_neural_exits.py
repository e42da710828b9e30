"""Exits in the middle of one network: how they learn, when rows leave, and what is written."""

# ruff: noqa: E402

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from neural_data import TOKENIZER, VOCABULARY, X, Y, classifier, config
from torch import nn
from transformers import DebertaV2Config, DistilBertConfig, GPT2Config, MPNetConfig, RobertaConfig

from tabkd.neural import HardLabels, MaskedLanguageModel, SelfDistillation, Stage, shrink
from tabkd.neural.exits import ExitModel
from tabkd.neural.outputs import Batch, Outputs
from tabkd.runtime import OnnxPredictor

CONFIDENCES = [0.6, 0.9, 0.99]


def distilbert():
    sizes = {"dim": 32, "n_layers": 4, "n_heads": 2, "hidden_dim": 64}
    return DistilBertConfig(vocab_size=len(VOCABULARY), **sizes)


def leaving(model=None, **settings):
    return classifier(config(4) if model is None else model, objective=SelfDistillation((1, 3), **settings))


@pytest.fixture(scope="module", params=[lambda: config(4), distilbert], ids=["bert", "distilbert"])
def fitted(request):
    return leaving(request.param()).fit(X, Y)


@pytest.fixture(autouse=True)
def stays(request):
    yield
    if "fitted" in request.fixturenames:
        request.getfixturevalue("fitted").model_.exit_confidence = None


def exits_of(model, texts):
    """Probabilities of the exits and of the last layer, of shape (exits + 1, n_samples, n_classes)."""
    with torch.no_grad():
        logits = model.model_.eval().every(**model.reader_.collated(model.reader_.encoded(texts)))
    return logits.softmax(-1).transpose(0, 1).numpy()


def test_every_exit_learns_the_labels(fitted):
    for proba in exits_of(fitted, X):
        assert (fitted.classes_[proba.argmax(1)] == Y).mean() > 0.85


def test_exits_learn_from_the_last_layer_and_it_does_not_learn_from_them():
    logits = torch.randn(6, 3, 2, requires_grad=True)
    loss = SelfDistillation((1, 2), alpha=0.0)(
        Outputs(logits), None, Batch(labels=torch.full((6,), -100)), nn.ModuleDict()
    )
    loss.backward()
    assert logits.grad[:, :2].abs().min() > 0 and logits.grad[:, 2].abs().max() == 0


def test_loss_is_that_of_the_paper():
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 2, 3), torch.tensor([0, 1, 2, 0, 1])
    first, last = logits.unbind(1)
    divergence = nn.functional.kl_div(
        torch.log_softmax(first / 2, 1), torch.softmax(last / 2, 1), reduction="batchmean"
    )
    expected = nn.functional.cross_entropy(last, labels) + 0.7 * nn.functional.cross_entropy(first, labels)
    term = SelfDistillation((1,), alpha=0.7, temperature=2.0)
    found = term(Outputs(logits), None, Batch(labels=labels), nn.ModuleDict())
    torch.testing.assert_close(found, expected + 0.3 * 4 * divergence)


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_rows_leave_at_the_first_exit_that_is_sure(fitted, confidence):
    every = exits_of(fitted, X)
    fitted.model_.exit_confidence = confidence
    sure = every.max(2) >= confidence
    sure[-1] = True
    left = sure.argmax(0)
    expected = every[left, np.arange(len(X))]
    np.testing.assert_allclose(fitted.predict_proba(X), expected, atol=1e-5)
    assert fitted.model_.layers_used == pytest.approx(np.array([1, 3, 4])[left].mean())


def test_rows_that_left_are_not_computed(fitted):
    seen = []
    last = fitted.model_.model.base_model
    encoders = last.encoder.layer if hasattr(last, "encoder") else last.transformer.layer
    hook = encoders[3].register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(len(args[0] if args else kwargs["hidden_states"])), with_kwargs=True
    )
    fitted.model_.exit_confidence = 0.9
    sure = (exits_of(fitted, X)[:2].max(2) >= 0.9).any(0)
    seen.clear()
    fitted.predict(X)
    hook.remove()
    assert sum(sure) > 0 and sum(seen) == len(X) - sum(sure)


def test_no_confidence_is_the_last_layer(fitted):
    np.testing.assert_allclose(fitted.predict_proba(X), exits_of(fitted, X)[-1], atol=1e-5)


def test_confidence_set_anew_counts_anew(fitted):
    fitted.model_.exit_confidence = 0.55
    fitted.predict(X)
    early = fitted.model_.layers_used
    fitted.model_.exit_confidence = 1.0
    fitted.predict(X[:20])
    assert early < 2 and fitted.model_.layers_used > 3


def test_rows_of_mpnet_leave_with_their_distances():
    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
    model = leaving(MPNetConfig(vocab_size=len(VOCABULARY), pad_token_id=0, **sizes)).set_params(epochs=1).fit(X, Y)
    model.model_.exit_confidence = float(np.median(exits_of(model, X)[0].max(1)))
    alone = np.concatenate([model.predict_proba([text]) for text in X[:20]])
    np.testing.assert_allclose(model.predict_proba(X)[:20], alone, atol=1e-5)


def test_one_row_answers_as_among_many(fitted):
    fitted.model_.exit_confidence = 0.9
    np.testing.assert_allclose(fitted.predict_proba(X[:1]), fitted.predict_proba(X)[:1], atol=1e-5)


def test_pickle_answers_as_before(fitted):
    fitted.model_.exit_confidence = 0.9
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again.model_.exit_confidence == 0.9


def test_best_checkpoint_is_chosen_by_what_is_predicted():
    model = leaving(exit_confidence=0.9).set_params(validation_fraction=0.2, epochs=3).fit(X, Y)
    assert len(model.history_) == 3 and model.model_.exit_confidence == 0.9


@pytest.mark.parametrize("confidence", [None, 0.9])
def test_file_answers_with_the_exits_or_without(tmp_path, fitted, confidence):
    fitted.model_.exit_confidence = confidence
    path = fitted.to_onnx(tmp_path / "model.onnx", texts=X[:30])
    np.testing.assert_allclose(OnnxPredictor(path).predict_proba(X), fitted.predict_proba(X), atol=1e-5)


def test_file_without_exits_has_none_of_their_weights(tmp_path, fitted):
    plain = fitted.to_onnx(tmp_path / "plain.onnx").stat().st_size
    fitted.model_.exit_confidence = 0.9
    heads = sum(4 * parameter.numel() for parameter in fitted.model_.heads.parameters())
    assert fitted.to_onnx(tmp_path / "exits.onnx").stat().st_size > plain + heads


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (SelfDistillation((4,)), r"rise from 1 or more to 3 at most.* got \(4,\)"),
        (SelfDistillation((0,)), r"got \(0,\)"),
        (SelfDistillation((2, 1)), r"got \(2, 1\)"),
        (SelfDistillation(()), r"got \(\)"),
        (SelfDistillation((1,), exit_confidence=1.5), "exit_confidence must be above 0 and at most 1, got 1.5"),
    ],
)
def test_exits_that_do_not_fit_are_named(objective, message):
    with pytest.raises(ValueError, match=message):
        classifier(config(4), objective=objective).fit(X, Y)


def test_one_encoder_has_no_place_for_an_exit():
    with pytest.raises(ValueError, match=r"the model has one\. Give it two or more"):
        classifier(config(1), objective=SelfDistillation([1])).fit(X, Y)


def test_it_has_no_teacher_but_itself(fitted):
    with pytest.raises(ValueError, match="its own teacher"):
        leaving().set_params(teacher=fitted).fit(X, Y)
    with pytest.raises(ValueError, match="its own teacher"):
        leaving().set_params(stages=[Stage([HardLabels()])]).fit(X, Y)


@pytest.mark.parametrize("given", [{"objective": [SelfDistillation()]}, {"stages": [Stage([SelfDistillation()])]}])
def test_it_stands_by_itself(given):
    with pytest.raises(ValueError, match=r"Give objective=SelfDistillation\(\.\.\.\), by itself"):
        classifier(config(4), **given).fit(X[:40], Y[:40])


def test_raw_text_has_no_exits():
    with pytest.raises(ValueError, match="SelfDistillation is all that a classifier learns"):
        MaskedLanguageModel(config(4), tokenizer=TOKENIZER, objective=SelfDistillation()).fit(X)


def gpt2():
    return GPT2Config(vocab_size=len(VOCABULARY), n_embd=32, n_layer=4, n_head=2, n_positions=24, pad_token_id=0)


def padded_on_the_left():
    tokenizer = copy.deepcopy(TOKENIZER)
    tokenizer.padding_side = "left"
    return tokenizer


@pytest.fixture(scope="module")
def causal():
    return leaving(gpt2()).fit(X, Y)


def test_exits_of_a_causal_model_read_its_last_token(causal):
    for proba in exits_of(causal, X):
        assert (causal.classes_[proba.argmax(1)] == Y).mean() > 0.85


@pytest.mark.parametrize("confidence", [None, *CONFIDENCES])
def test_file_of_a_causal_model_answers_with_the_exits(tmp_path, causal, confidence):
    causal.model_.exit_confidence = confidence
    found = OnnxPredictor(causal.to_onnx(tmp_path / "exits.onnx", texts=X)).predict_proba(X)
    np.testing.assert_allclose(found, causal.predict_proba(X), atol=1e-5)


def test_rows_are_cut_to_the_positions_of_the_transformer_inside():
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
    given = RobertaConfig(vocab_size=len(VOCABULARY), max_position_embeddings=20, pad_token_id=0, **sizes)
    assert leaving(given).set_params(epochs=0.1).fit(X, Y).reader_.max_length == 19


def test_exits_never_read_padding():
    model = leaving().set_params(epochs=0.1).fit(X, Y)
    ids = padded_on_the_left().pad(model.reader_.encoded(X), return_tensors="pt")
    places = model.model_.places(ids["attention_mask"])
    assert (ids["input_ids"][torch.arange(len(X)), places] == TOKENIZER.cls_token_id).all()


def test_given_model_stays_as_it_was(fitted):
    given = fitted.model_.model
    before = {name: value.clone() for name, value in given.state_dict().items()}
    model = classifier(given, objective=SelfDistillation((2,)), epochs=1).fit(X, Y)
    assert isinstance(model.model_, ExitModel) and type(model.model_.model) is type(given)
    assert all(torch.equal(before[name], value) for name, value in given.state_dict().items())


def test_it_teaches_others(fitted):
    unlabelled = [label if i < 20 else None for i, label in enumerate(Y)]
    student = classifier(teacher=fitted, alpha=0.0, temperature=1.0).fit(X, unlabelled)
    assert student.score(X, Y) > 0.85


def test_it_is_looked_into(fitted):
    student = classifier(teacher=fitted, objective="tinybert", epochs=10, learning_rate=5e-3)
    assert student.fit(X, Y).score(X, Y) > 0.9


def test_its_transformer_is_shrunk(fitted):
    assert type(shrink(fitted.model_, 1)) is type(fitted.model_.model)


def test_rows_leave_in_half_precision():
    model = leaving(exit_confidence=0.6).set_params(training_args={"bf16": True}, epochs=1)
    assert len(model.fit(X, Y, eval_set=(X[:60], Y[:60])).history_) == 1


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # by DeBERTa in transformers 5.0
def test_what_is_as_long_as_the_batch_by_chance_stays_whole():
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
    relative = {"relative_attention": True, "max_relative_positions": 8, "pos_att_type": ["c2p", "p2c"]}
    model = leaving(DebertaV2Config(vocab_size=len(VOCABULARY), **sizes, **relative)).set_params(epochs=4).fit(X, Y)
    encoder = model.model_.model.base_model.encoder
    n_rows = len(encoder.get_rel_embedding())
    alone = [exits_of(model, [text]) for text in X[:n_rows]]
    every = np.concatenate(alone, axis=1)
    confidence = float(np.median(every[0].max(1)))
    model.model_.exit_confidence = confidence
    sure = every.max(2) >= confidence
    sure[-1] = True
    expected = every[sure.argmax(0), np.arange(n_rows)]
    np.testing.assert_allclose(model.predict_proba(X[:n_rows]), expected, atol=1e-5)


def test_unpickling_leaves_global_generators_alone(fitted):
    content = pickle.dumps(fitted)
    before = torch.random.get_rng_state()
    pickle.loads(content)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_labels_are_those_given(fitted):
    assert fitted.score(X, Y) > 0.9 and set(fitted.predict(X)) <= {"yes", "no"}
    assert TOKENIZER is fitted.reader_.tokenizer

"""Transformers as teachers and students: scikit-learn's ways, learning from a teacher, files."""

# ruff: noqa: E402

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from torch import nn
from transformers import (
    AlbertConfig,
    AutoModel,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizerFast,
    CamembertConfig,
    DebertaV2Config,
    DistilBertConfig,
    GPT2Config,
    MPNetConfig,
    XLMRobertaConfig,
    XLNetConfig,
)

from tabkd import DistilledEstimator
from tabkd.export import to_onnx
from tabkd.neural import (
    Attention,
    Distances,
    EmbeddingStudent,
    HardLabels,
    Hidden,
    MaskedLanguageModel,
    ModuleClassifier,
    ModuleRegressor,
    TransformerClassifier,
    TransformerRegressor,
)
from tabkd.neural.reading import ArrayReader
from tabkd.neural.teachers import log_soft_targets
from tabkd.runtime import OnnxPredictor
from tests.neural_data import POINTS, TOKENIZER, VOCABULARY, X, Y, classifier, config, digits, layers


@pytest.fixture(scope="module")
def teacher():
    return classifier(config(4)).fit(X, Y)


# ---------------------------------------------------------------- scikit-learn


def test_classifier_learns(teacher):
    assert teacher.score(X, Y) > 0.95


def test_probabilities_sum_to_one(teacher):
    proba = teacher.predict_proba(X)
    assert proba.shape == (len(X), 2) and proba.dtype == np.float64
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-12)


def test_order_of_rows_is_the_callers(teacher):
    together = teacher.predict_proba(X[:20])
    alone = np.concatenate([teacher.predict_proba([text]) for text in X[:20]])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_unpickling_leaves_global_generators_alone(teacher):
    content = pickle.dumps(teacher)
    before = torch.random.get_rng_state()
    pickle.loads(content)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_reading_an_embedding_leaves_global_generators_alone(tmp_path):
    embedding = EmbeddingStudent(config(1), tokenizer=TOKENIZER, dimensions=8, epochs=1, random_state=0, device="cpu")
    embedding.fit(X[:20], np.ones((20, 8))).save_pretrained(tmp_path)
    content = pickle.dumps(embedding)
    before = torch.random.get_rng_state()
    EmbeddingStudent.from_pretrained(tmp_path)
    pickle.loads(content)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_clone_and_pickle(teacher):
    again = pickle.loads(pickle.dumps(teacher))
    np.testing.assert_array_equal(again.predict_proba(X), teacher.predict_proba(X))
    assert not hasattr(clone(teacher), "model_")


def test_a_clone_learns_from_the_same_fitted_teacher(teacher):
    copied = clone(classifier(config(1), epochs=1, teacher=teacher))
    assert copied.teacher is teacher
    np.testing.assert_array_equal(copied.fit(X, Y).classes_, teacher.classes_)


def test_same_seed_gives_the_same_model(teacher):
    again = clone(teacher).fit(X, Y)
    np.testing.assert_array_equal(again.predict_proba(X), teacher.predict_proba(X))


@pytest.mark.parametrize("taught", [False, True])
def test_global_generators_are_left_alone(teacher, taught):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    classifier(epochs=1, teacher=teacher if taught else None).fit(X[:40], Y[:40])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_cross_val_score_works():
    assert cross_val_score(classifier(epochs=1), X[:60], Y[:60], cv=3).shape == (3,)


def test_pairs_of_texts_from_a_table():
    table = pd.DataFrame({"first": X, "second": X[::-1], "other": 1})
    model = classifier(text_columns=["first", "second"], epochs=1).fit(table, Y)
    np.testing.assert_allclose(model.predict_proba(table), model.predict_proba(list(zip(X, X[::-1], strict=True))))


def test_columns_are_read_by_the_names_of_the_fit():
    table = pd.DataFrame({"first": X, "second": X[::-1]})
    model = classifier(epochs=1).fit(table, Y)
    other = pd.DataFrame({"more": 1, "second": X[::-1], "first": X})
    np.testing.assert_array_equal(model.predict_proba(other), model.predict_proba(table))
    with pytest.raises(ValueError, match=r"X lacks the columns \['first'\], which were read in the fit"):
        model.predict(table[["second"]])


def test_rows_that_hold_one_text_are_texts(teacher):
    np.testing.assert_array_equal(teacher.predict_proba([[text] for text in X]), teacher.predict_proba(X))


@pytest.mark.parametrize(
    ("rows", "found"), [([("good", "bad"), "ab"], "one text where a pair"), (["ab", ["a", "b"]], "two texts where one")]
)
def test_rows_of_one_text_and_of_two_are_not_mixed(rows, found):
    with pytest.raises(ValueError, match=f"Row 1 holds {found} should be"):
        classifier().fit(rows, ["no", "yes"])


def test_several_classes_with_labels_that_are_numbers():
    y = np.sign(POINTS) * 10
    model = classifier(epochs=20).fit(X, y)
    assert model.classes_.tolist() == [-10, 0, 10]
    assert model.score(X, y) > 0.8


def test_regressor_of_several_outputs():
    y = np.column_stack([POINTS * 100.0 + 5000, -POINTS])
    model = TransformerRegressor(config(), tokenizer=TOKENIZER, epochs=8, learning_rate=3e-3, random_state=0).fit(X, y)
    assert model.predict(X).shape == y.shape
    assert model.score(X, y) > 0.7


def test_constant_values_are_predicted_exactly():
    data = digits()[0]
    values = np.stack([data[:, 20] * 1e-6, np.full(len(data), 0.1)], axis=1)
    found = ModuleRegressor(nn.Linear(64, 2), epochs=1, random_state=0).fit(data, values).predict(data)
    assert (found[:, 1] == 0.1).all() and np.ptp(found[:, 0]) > 0


def test_constant_values_are_those_of_the_file(tmp_path):
    data = digits()[0]
    model = ModuleRegressor(nn.Linear(64, 1), epochs=1, random_state=0).fit(data, np.zeros(len(data)))
    assert (OnnxPredictor(model.to_onnx(tmp_path / "model.onnx", data)).predict(data) == 0).all()


def test_a_teachers_values_are_learnt_where_all_labels_are_one():
    data = digits()[0]
    soft = 1000 * data[:, [20]]
    model = ModuleRegressor(nn.Linear(64, 1), epochs=10, learning_rate=0.01, random_state=0)
    assert model.fit_soft(data, soft, y=np.zeros(len(data))).score(data, soft) > 0.9


def test_rows_of_a_table_of_values_may_have_none():
    data, values = POINTS[:, None].astype(np.float32), pd.DataFrame({"a": POINTS, "b": -POINTS}, dtype="Float64")
    teacher = LinearRegression().fit(data, values)
    values.iloc[::2] = pd.NA
    model = ModuleRegressor(nn.Linear(1, 2), teacher=teacher, learning_rate=0.1, random_state=0).fit(data, values)
    np.testing.assert_allclose(model.mean_, values[1::2].mean())


def test_evaluation_rows_may_stand_in_a_list():
    model = classifier(config(1, 16), epochs=1).fit(X[:40], Y[:40], eval_set=[(X[40:80], Y[40:80])])
    assert len(model.history_) == 1


def test_several_evaluation_sets_are_refused():
    with pytest.raises(ValueError, match=r"eval_set must be one tuple \(X, y\), got \[\(\["):
        classifier(config(1, 16), epochs=1).fit(X[:40], Y[:40], eval_set=[(X[:40], Y[:40])] * 2)


def test_other_values_than_the_only_one_of_the_fit_are_scored_as_they_are():
    data, one = digits()[0], np.ones(600)
    model = ModuleRegressor(nn.Linear(64, 1), epochs=1, random_state=0).fit(data, one, eval_set=(data, 3 * one))
    assert model.history_[-1]["neg_mean_squared_error"] == pytest.approx(-4)


@pytest.mark.parametrize("dtype", [np.int64, np.bool_])
@pytest.mark.parametrize("fitted", ["as they are", "as floats"])
def test_layers_that_want_floats_read_whole_numbers_and_booleans(dtype, fitted):
    data, labels = digits()
    rows = (data > 0.5).astype(dtype)
    model = ModuleClassifier(lambda: layers(8), epochs=1, random_state=0)
    model.fit(rows if fitted == "as they are" else rows.astype(np.float32), labels)
    np.testing.assert_array_equal(model.predict_proba(rows), model.predict_proba(rows.astype(np.float32)))


def test_sample_weights_of_zero_leave_rows_out():
    y = Y.copy()
    y[:60] = np.where(Y[:60] == "yes", "no", "yes")
    weight = np.r_[np.zeros(60), np.ones(len(Y) - 60)]
    assert classifier().fit(X, y, sample_weight=weight).score(X[:60], Y[:60]) > 0.9


@pytest.mark.parametrize("kind", ["texts", "arrays"])
def test_values_of_weight_zero_are_of_no_account(kind):
    rows, values = X[:40], POINTS[:40].astype(float)
    values[:4], weight = 1e7, np.r_[np.zeros(4), np.ones(36)]
    settings = {"epochs": 0.1, "random_state": 0, "device": "cpu"}
    if kind == "texts":
        model = TransformerRegressor(config(1, 16), tokenizer=TOKENIZER, **settings)
    else:
        model, rows = ModuleRegressor(nn.Linear(1, 1), **settings), POINTS[:40, None].astype(np.float32)
    model.fit(rows, values, sample_weight=weight)
    np.testing.assert_array_equal([model.mean_[0], model.scale_[0]], [values[4:].mean(), values[4:].std()])


def test_size_of_equal_weights_changes_nothing():
    plain = {"epochs": 1, "training_args": {"optim": "sgd", "max_grad_norm": 0.0}}
    weights = (None, np.full(len(X), 0.001))
    found = [classifier(**plain).fit(X, Y, sample_weight=weight).predict_proba(X) for weight in weights]
    np.testing.assert_allclose(*found, atol=1e-6)


def test_given_model_is_copied_and_keeps_its_bytes():
    given = BertForSequenceClassification(config(num_labels=2))
    before = {name: value.clone() for name, value in given.state_dict().items()}
    classifier(given, epochs=1).fit(X[:40], Y[:40])
    assert all(torch.equal(before[name], value) for name, value in given.state_dict().items())


def test_model_without_a_head_lends_its_encoder():
    given = BertModel(config())
    model = classifier(given, epochs=1, learning_rate=0.0).fit(X[:40], Y[:40])
    assert torch.equal(
        model.model_.bert.encoder.layer[1].output.dense.weight, given.encoder.layer[1].output.dense.weight
    )


# ---------------------------------------------------------------- learning from a teacher


@pytest.mark.parametrize(
    "objective",
    ["logits", "distilbert", "tinybert", "mobilebert", "minilm", [Distances()], [HardLabels(source="teacher")]],
    ids=str,
)
def test_student_learns_from_a_teacher(teacher, objective):
    student = classifier(config(2, 16), teacher=teacher, objective=objective, epochs=10, learning_rate=5e-3)
    assert student.fit(X, Y).score(X, Y) > 0.9


def test_teacher_keeps_its_bytes_mode_and_attention(teacher):
    before = {name: value.clone() for name, value in teacher.model_.state_dict().items()}
    attention = teacher.model_.config._attn_implementation
    classifier(config(2, 16), teacher=teacher, objective="tinybert", epochs=1).fit(X, Y)
    assert all(torch.equal(before[name], value) for name, value in teacher.model_.state_dict().items())
    assert not teacher.model_.training
    assert teacher.model_.config._attn_implementation == attention


SIZES = {"vocab_size": len(VOCABULARY), "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 64, "hidden_dropout_prob": 0.0, "pad_token_id": 0}
DISTILBERT = {"vocab_size": len(VOCABULARY), "dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64, "dropout": 0.0}
GPT2 = {"vocab_size": len(VOCABULARY), "n_embd": 32, "n_layer": 1, "n_head": 2, "embd_pdrop": 0.0, "resid_pdrop": 0.0}


@pytest.mark.parametrize(
    ("make", "sizes", "name"),
    [
        (BertConfig, SIZES, "attention_probs_dropout_prob"),
        (AlbertConfig, SIZES, "attention_probs_dropout_prob"),
        (DebertaV2Config, SIZES, "attention_probs_dropout_prob"),
        (MPNetConfig, SIZES, "attention_probs_dropout_prob"),
        (DistilBertConfig, DISTILBERT, "attention_dropout"),
        (GPT2Config, {**GPT2, "pad_token_id": 0}, "attn_pdrop"),
    ],
)
def test_maps_of_attention_are_compared_without_its_dropout(teacher, make, sizes, name):
    settings = {"teacher": teacher, "objective": [Attention("last", heads="auto")], "epochs": 0.5}
    fitted = [classifier(make(**sizes, **{name: p}), **settings).fit(X, Y) for p in (0.0, 0.5)]
    same, other = (model.model_.state_dict() for model in fitted)
    assert all(torch.equal(value, other[part]) for part, value in same.items())
    assert 0.5 in {part.p for part in fitted[1].model_.modules() if isinstance(part, nn.Dropout)}  # as it was


def test_unlabelled_texts_are_learnt_from_the_teacher(teacher):
    y = Y.astype(object)
    y[20:] = None
    alone = classifier(epochs=60).fit(X[:20], Y[:20])
    taught = classifier(teacher=teacher).fit(X, y)
    assert taught.score(X, Y) > alone.score(X, Y)


def test_a_term_by_itself_is_an_objective(teacher):
    alone, listed = (
        classifier(teacher=teacher, objective=given, epochs=1).fit(X[:40], Y[:40]).predict_proba(X)
        for given in (Hidden("last"), [Hidden("last")])
    )
    np.testing.assert_array_equal(alone, listed)


def test_any_classifier_can_teach_a_transformer():
    teacher = make_pipeline(TfidfVectorizer(), LogisticRegression(C=100)).fit(X, Y)
    assert classifier(teacher=teacher).fit(X, Y).score(X, Y) > 0.9


def test_no_label_is_needed_of_a_teacher_that_knows_its_classes(teacher):
    assert classifier(teacher=teacher).fit(X, [None] * len(X)).score(X, Y) > 0.9


def test_transformer_teaches_any_student(teacher):
    student = make_pipeline(TfidfVectorizer(), LogisticRegression())
    model = DistilledEstimator(FrozenEstimator(teacher), student, random_state=0).fit(X, Y)
    assert model.student_score_ >= model.control_score_


def test_cached_values_of_a_regression_are_exact(tmp_path):
    data = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    values = 250_000 + data[:, 0].astype(np.float64)
    settings = {"teacher": LinearRegression().fit(data, values), "epochs": 1, "random_state": 0}
    module = torch.nn.Linear(3, 1)
    cached, live = (ModuleRegressor(module, cache=folder, **settings).fit(data, values) for folder in (tmp_path, None))
    np.testing.assert_array_equal(cached.predict(data), live.predict(data))


def test_cached_answers_are_known_by_every_number_of_their_rows(tmp_path):
    images = torch.zeros(2, 1, 34, 34)
    images[1, 0, 17, 17] = 1.0
    answers = [
        log_soft_targets(Brightest(), rows, np.array([0, 1]), reader=ArrayReader(), folder=tmp_path)
        for rows in (images, images.flip(0))
    ]
    np.testing.assert_array_equal(answers[0], answers[1][::-1])


class Brightest:
    """Sees one pixel."""

    classes_ = np.array([0, 1])

    def predict_proba(self, X):
        bright = np.array([float(row.max()) for row in X])
        return np.column_stack([0.9 - 0.8 * bright, 0.1 + 0.8 * bright])


def test_unfitted_teacher_is_told_from_a_fitted_one():
    with pytest.raises(NotFittedError):
        classifier(teacher=classifier()).fit(X[:20], Y[:20])


def test_a_class_without_a_label_is_learnt_from_the_teacher():
    three = np.where(POINTS < -1, "low", Y)
    teacher = classifier(config(4)).fit(X, three)
    labels = [label if label != "low" and row < 60 else None for row, label in enumerate(three)]
    found = classifier(teacher=teacher).fit(X, labels).predict(X)
    assert ((found == "low") == (three == "low")).mean() > 0.95


def test_a_list_with_nan_has_rows_without_labels(teacher):
    labels = [label if i % 2 else float("nan") for i, label in enumerate(Y.tolist())]
    assert classifier(config(1), epochs=1, teacher=teacher).fit(X, labels).classes_.tolist() == ["no", "yes"]


def test_weights_of_a_folder_in_half_precision_are_trained_in_single(tmp_path):
    AutoModel.from_config(config(1)).half().save_pretrained(tmp_path)
    model = classifier(tmp_path, epochs=1).fit(X[:40], Y[:40])
    assert {value.dtype for value in model.model_.parameters()} == {torch.float32}
    assert np.isfinite(model.predict_proba(X)).all()


def test_a_classifier_starts_from_the_encoder_of_an_embedding():
    embedding = EmbeddingStudent(config(1), tokenizer=TOKENIZER, epochs=1, random_state=0, device="cpu")
    embedding.fit(X[:20], np.ones((20, 32)))
    model = classifier(embedding.model_, epochs=0.1, learning_rate=1e-12).fit(X[:40], Y[:40])
    ours, theirs = (m.get_input_embeddings().weight for m in (model.model_, embedding.model_.model))
    torch.testing.assert_close(ours, theirs)


def test_predictions_leave_the_columns_of_the_file_alone(tmp_path):
    table = pd.DataFrame({"review": X})
    model = classifier(config(1), epochs=1).fit(table, Y)
    model.predict(X[:3])
    assert OnnxPredictor(model.to_onnx(tmp_path / "model.onnx", texts=X[:20])).columns == ["review"]


def test_cached_answers_are_the_teachers_own_at_any_temperature(teacher, tmp_path):
    settings = {"teacher": teacher, "alpha": 0.0, "temperature": 7.0, "epochs": 1}
    cached, live = (classifier(**settings, cache=folder).fit(X, Y) for folder in (tmp_path, None))
    (file,) = tmp_path.iterdir()
    assert np.load(file).dtype == np.float16
    np.testing.assert_allclose(cached.predict_proba(X), live.predict_proba(X), atol=2e-3)


def test_response_terms_leave_the_teacher_alone(teacher, monkeypatch):
    soft = teacher.predict_proba(X)
    monkeypatch.setattr(type(teacher.model_), "forward", None)
    with pytest.raises(TypeError):
        teacher.predict(X)
    monkeypatch.undo()
    student = classifier(config(1), epochs=1)
    monkeypatch.setattr(teacher, "model_", None)
    student.fit_soft(X, soft, y=Y, alpha=0.1, temperature=4.0, teacher=FrozenEstimator(teacher))


def test_distilled_estimator_holds_out_one_split(teacher):
    model = DistilledEstimator(classifier(config(3)), classifier(config(2, 16)), temperature=4.0, random_state=0)
    model.fit(X, Y)
    held = ~np.isnan(model.student_predictions_).any(axis=1)
    assert held.sum() == len(X) // 5
    assert set(model.alpha_scores_) == {0.1, "control"}
    assert model.student_score_ >= model.control_score_


def test_scored_student_of_a_holdout_saw_no_held_label():
    first = DistilledEstimator(classifier(epochs=1), classifier(config(1), epochs=1), random_state=0).fit(X, Y)
    held = ~np.isnan(first.student_predictions_).any(axis=1)
    splits = [(np.flatnonzero(~held), np.flatnonzero(held))]
    y = Y.copy()
    y[held] = np.random.default_rng(1).permutation(y[held])
    models = [
        DistilledEstimator(classifier(epochs=1), classifier(config(1), epochs=1), cv=splits, alpha=0.1, random_state=0)
        for _ in range(2)
    ]
    predictions = [model.fit(X, labels).student_predictions_ for model, labels in zip(models, (Y, y), strict=True)]
    np.testing.assert_array_equal(*predictions)


def test_number_of_fits_is_logged(caplog):
    caplog.set_level("INFO", logger="tabkd")
    tiny, balanced = classifier(config(1, 8), epochs=1), np.arange(len(X)) % 2
    DistilledEstimator(clone(tiny), clone(tiny), cross_fit="pairs", cv=4).fit(X, balanced)
    assert "24 fits on 4 splits" in caplog.messages


# ---------------------------------------------------------------- export


def test_classifier_is_exported_with_its_tokenizer(teacher, tmp_path):
    predictor = OnnxPredictor(teacher.to_onnx(tmp_path / "model.onnx", texts=X))
    np.testing.assert_allclose(predictor.predict_proba(X), teacher.predict_proba(X), atol=1e-5)
    assert predictor.predict(X).tolist() == teacher.predict(X).tolist()


def test_regressor_is_exported_on_the_targets_scale(tmp_path):
    model = TransformerRegressor(config(), tokenizer=TOKENIZER, epochs=2, random_state=0).fit(X, POINTS * 100.0 + 5000)
    predictor = OnnxPredictor(model.to_onnx(tmp_path / "model.onnx", texts=X))
    np.testing.assert_allclose(predictor.predict(X), model.predict(X), rtol=1e-5)


SIZES = {"vocab_size": 16, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
#: Whose head comes before the encoders, or has no bias.
HEADS = [
    XLMRobertaConfig(**SIZES, pad_token_id=0),
    CamembertConfig(**SIZES, pad_token_id=0),
    GPT2Config(vocab_size=16, n_embd=16, n_layer=1, n_head=2, pad_token_id=0, bos_token_id=2, eos_token_id=3),
]


@pytest.mark.parametrize("model", HEADS, ids=lambda config: config.model_type)
def test_file_of_a_regressor_answers_as_the_estimator_whatever_its_head(tmp_path, model):
    settings = {"tokenizer": TOKENIZER, "max_length": 12, "learning_rate": 1e-2, "random_state": 0, "device": "cpu"}
    regressor = TransformerRegressor(model, **settings).fit(X, POINTS * 100.0 + 5000)
    predictor = OnnxPredictor(regressor.to_onnx(tmp_path / "model.onnx", texts=X[:20]))
    np.testing.assert_allclose(predictor.predict(X), regressor.predict(X), rtol=1e-6)


def test_file_of_a_network_that_reads_texts_is_its_own_to_write(teacher, tmp_path):
    with pytest.raises(ValueError, match=r"TransformerClassifier writes its file itself. Call its own to_onnx\(path\)"):
        to_onnx(teacher, tmp_path / "model.onnx", X=X[:20])


def test_student_of_a_distilled_estimator_is_exported(tmp_path):
    model = DistilledEstimator(classifier(epochs=1), classifier(config(1), epochs=1), random_state=0).fit(X, Y)
    predictor = OnnxPredictor(model.to_onnx(tmp_path / "model.onnx"))
    np.testing.assert_allclose(predictor.predict_proba(X), model.predict_proba(X), atol=1e-5)


def test_module_is_exported(tmp_path):
    data, labels = digits()
    model = ModuleClassifier(lambda: layers(8), epochs=1, random_state=0).fit(data, labels)
    predictor = OnnxPredictor(model.to_onnx(tmp_path / "model.onnx", data))
    np.testing.assert_allclose(predictor.predict_proba(data), model.predict_proba(data), atol=1e-5)


@pytest.mark.parametrize("pad", [{}, {"pad_token_id": 5}])
def test_a_causal_model_is_told_the_tokenizers_padding(pad):
    given = GPT2Config(**GPT2, **pad)
    model = classifier(given, epochs=1).fit(X, Y)
    alone = np.concatenate([model.predict_proba([text]) for text in X[:20]])
    np.testing.assert_allclose(model.predict_proba(X[:20]), alone, atol=1e-5)
    assert given.pad_token_id == pad.get("pad_token_id")


#: XLNet answers by the last place of a row, all others by the first or by the last token.
SIDES = [config(), GPT2Config(**GPT2), XLNetConfig(vocab_size=16, d_model=16, n_layer=1, n_head=2, d_inner=32)]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("given", SIDES, ids=lambda given: given.model_type)
def test_answers_of_a_row_leave_the_others_aside_on_whichever_side_the_tokenizer_pads(given, side):
    tokenizer = BertTokenizerFast(vocab=VOCABULARY, padding_side=side)
    model = classifier(given, tokenizer=tokenizer, epochs=1).fit(X, Y)
    alone = np.concatenate([model.predict_proba([text]) for text in X[:20]])
    np.testing.assert_allclose(model.predict_proba(X[:20]), alone, atol=1e-5)
    assert tokenizer.padding_side == side


@pytest.mark.parametrize("kind", [TransformerClassifier, MaskedLanguageModel, EmbeddingStudent])
def test_tokens_that_the_model_has_no_embeddings_for_are_refused(kind):
    tokenizer = BertTokenizerFast(vocab=VOCABULARY)
    tokenizer.add_tokens(["soundtrack"])
    with pytest.raises(
        ValueError, match=r"up to id 16, and the model has embeddings for 16 .*tabkd\.neural\.add_tokens"
    ):
        kind(config(), tokenizer=tokenizer).fit(X, np.ones((len(X), 32)) if kind is EmbeddingStudent else Y)

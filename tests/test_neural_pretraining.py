"""Training on raw text: what is masked, which loss that is, long and killed trainings, what is handed on."""

# ruff: noqa: E402

from __future__ import annotations

import copy
import gzip
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from torch.nn import functional as F
from transformers import (
    AutoModelForMaskedLM,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    MobileBertConfig,
    MobileBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from tabkd.neural import (
    MLM,
    NSP,
    EmbeddingStudent,
    Hidden,
    MaskedLanguageModel,
    SoftLabels,
    Stage,
    TransformerClassifier,
    corpus,
)
from tabkd.neural.corpus import Corpus
from tabkd.neural.distiller import Distiller, outputs_of
from tabkd.neural.recipes import pretraining_stages
from tests.neural_data import TOKENIZER, VOCABULARY, WORDS, config, without_dropout

ROOT = Path(__file__).parent.parent
#: The place tells the word.
TEXTS = [" ".join(WORDS[: 9 + n % 3]) for n in range(160)]
#: Documents of two lines: praise, then blame.
PRAISE, BLAME = WORDS[:4], WORDS[4:8]
DOCUMENTS = [line for n in range(120) for line in (f"{PRAISE[n % 4]} {PRAISE[n % 3]}", f"{BLAME[n % 4]} film", "")]
SPECIAL = TOKENIZER.all_special_ids


def learner(model=None, **settings):
    shared = {"tokenizer": TOKENIZER, "max_length": 13, "epochs": 8, "learning_rate": 1e-2}
    shared |= {"random_state": 0, "device": "cpu"}
    return MaskedLanguageModel(config() if model is None else model, **{**shared, **settings})


def read(texts, tmp_path, **settings):
    return Corpus(texts, TOKENIZER, tmp_path, **{"max_length": 12, **settings})


@pytest.fixture(scope="module")
def teacher():
    return learner(config(4)).fit(TEXTS)


# ---------------------------------------------------------------- rows


def original(row):
    """The ids of a row before they were masked."""
    return np.where(row["tokens"] >= 0, row["tokens"], row["input_ids"])


@pytest.mark.parametrize("length", [5, 12, 500])
def test_no_token_is_lost_when_texts_are_cut_and_joined(tmp_path, length):
    found = read(TEXTS, tmp_path, max_length=length)
    kept = [number for row in found for number in original(row) if number not in SPECIAL]
    assert kept == [VOCABULARY[word] for text in TEXTS for word in text.split()]
    assert max(len(row["input_ids"]) for row in found) <= length


def test_special_tokens_are_never_masked(tmp_path):
    found = read(["good unknown bad", *TEXTS], tmp_path, probability=0.9)
    assert not {number for row in found for number in row["tokens"]} & set(SPECIAL)


def test_masked_words_are_hidden_replaced_or_kept_as_in_bert(tmp_path):
    found = read([" ".join(WORDS) for _ in range(3000)], tmp_path, max_length=13, probability=0.3)
    rows = list(found)
    tokens, ids = (np.concatenate([row[name] for row in rows]) for name in ("tokens", "input_ids"))
    hidden, kept = (ids == TOKENIZER.mask_token_id)[tokens >= 0], (ids == tokens)[tokens >= 0]
    assert hidden.mean() == pytest.approx(0.8, abs=0.015)
    assert kept.mean() == pytest.approx(0.1 + 0.1 / len(WORDS), abs=0.015)
    assert (tokens >= 0).sum() == 3 * 3000


def test_masks_change_with_the_epoch_and_come_again(tmp_path):
    found = read(TEXTS, tmp_path)
    before = [row["tokens"].tolist() for row in found]
    found.set_epoch(1)
    other = [row["tokens"].tolist() for row in found]
    found.set_epoch(0)
    assert [row["tokens"].tolist() for row in found] == before
    assert np.mean([a == b for a, b in zip(before, other, strict=True)]) < 0.5


def test_second_text_follows_where_the_row_says_so(tmp_path):
    numbered = [f"{' '.join([WORDS[n]] * 2)} {WORDS[i]}" for n in range(8) for i in range(4)]
    lines = [line for n in range(8) for line in [*numbered[4 * n : 4 * n + 4], ""]]
    found = read(lines, tmp_path, max_length=15, pairs=True)
    assert len(found) == 8 * 3
    for epoch in range(10):
        found.set_epoch(epoch)
        for row in found:
            words = TOKENIZER.decode(original(row)).replace("[CLS] ", "").split(" [SEP]")
            first, second = (numbered.index(part.strip()) for part in words[:2])
            assert (second == first + 1) == (row["follows"] == 0)
            assert row["token_type_ids"].tolist() == [0] * 5 + [1] * 4


def test_pieces_of_a_long_line_follow_each_other(tmp_path):
    found = read([" ".join(WORDS * 3)], tmp_path, max_length=13, pairs=True)
    assert len(found) == 6  # seven pieces of five
    assert max(len(row["input_ids"]) for row in found) <= 13


@pytest.mark.parametrize("pairs", [False, True])
def test_lengths_are_the_most_tokens_that_rows_get(tmp_path, pairs):
    lines = [" ".join(WORDS[:size]) for size in (7, 2, 5, 3)]
    found = read(lines, tmp_path, max_length=20, pairs=pairs)
    drawn = []
    for epoch in range(30):
        found.set_epoch(epoch)
        drawn.append([len(row["input_ids"]) for row in found])
    np.testing.assert_array_equal(found.lengths, np.max(drawn, axis=0))


def test_file_is_read_as_its_lines(tmp_path):
    plain, packed = tmp_path / "corpus.txt", tmp_path / "corpus.txt.gz"
    plain.write_text("\n".join(DOCUMENTS), encoding="utf-8")
    with gzip.open(packed, "wt", encoding="utf-8") as file:
        file.write("\n".join(DOCUMENTS))
    models = [learner(epochs=1).fit(texts).model_.state_dict() for texts in (DOCUMENTS, plain, [packed])]
    assert all(torch.equal(models[0][name], other[name]) for other in models[1:] for name in models[0])


def test_large_file_is_never_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "_CHUNK", 1 << 12)
    path = tmp_path / "large.txt"
    path.write_text(" ".join(WORDS * 20_000), encoding="utf-8")  # one line
    tracemalloc.start()
    found = read(path, tmp_path, max_length=24)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) >= 10_000
    assert peak < path.stat().st_size / 2


# ---------------------------------------------------------------- losses

SMALL = {"vocab_size": 16, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize(
    "model",
    [
        lambda: BertForMaskedLM(config()),
        lambda: BertForPreTraining(config()),
        lambda: DistilBertForMaskedLM(DistilBertConfig(vocab_size=16, dim=16, n_layers=2, n_heads=2, hidden_dim=32)),
        lambda: RobertaForMaskedLM(RobertaConfig(**SMALL, pad_token_id=0)),
        lambda: MobileBertForMaskedLM(MobileBertConfig(**{**SMALL, "num_attention_heads": 4, "embedding_size": 8})),
    ],
    ids=["bert", "bert-pretraining", "distilbert", "roberta", "mobilebert"],
)
def test_logits_of_masked_tokens_are_those_of_all_tokens_there(model):
    model = model().eval()
    ids = torch.arange(5, 15).reshape(2, 5)
    at = torch.tensor([[0, 1, 0, 0, 1], [0, 0, 1, 0, 0]]).bool()
    with torch.inference_mode():
        every, some = outputs_of(model, {"input_ids": ids}).logits, outputs_of(model, {"input_ids": ids}, at=at).logits
    torch.testing.assert_close(some, every[at], atol=1e-5, rtol=0)


def test_distilberts_loss_is_its_formula(teacher, tmp_path):
    student = BertForMaskedLM(without_dropout(2)).train()
    (stage,) = pretraining_stages("distilbert", None, epochs=1, student=student, teacher=teacher.model_)
    batch = read(TEXTS, tmp_path).collate([read(TEXTS, tmp_path)[row] for row in range(8)])
    loss = Distiller(student, stage.objective, teacher=teacher.model_).train()(**batch)["loss"]

    inputs, tokens = batch["inputs"], batch["tokens"]
    ours = student(**inputs, output_hidden_states=True)
    with torch.no_grad():
        theirs = teacher.model_(**inputs, output_hidden_states=True)
    z, t = ours.logits[tokens != -100], theirs.logits[tokens != -100]
    soft = F.kl_div(F.log_softmax(z / 2, 1), F.softmax(t / 2, 1), reduction="batchmean") * 4
    words = F.cross_entropy(ours.logits.flatten(0, 1), tokens.flatten())
    valid = inputs["attention_mask"].bool()
    states = [said.hidden_states[-1][valid] for said in (ours, theirs)]
    expected = 5 * soft + 2 * words + F.cosine_embedding_loss(*states, torch.ones(int(valid.sum())))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("pairs", [False, True])
def test_accumulated_batches_give_the_weights_of_one_large_batch(teacher, pairs):
    found = []
    for size, steps in ((32, 1), (8, 4)):
        student = learner(
            without_dropout(2, 16), teacher=teacher, batch_size=size, epochs=2,
            objective=[MLM(), SoftLabels(2.0), Hidden("last"), *([NSP()] if pairs else [])],
            training_args={"gradient_accumulation_steps": steps, "optim": "sgd", "max_grad_norm": 0.0},
        )  # fmt: skip
        found.append(student.fit(DOCUMENTS if pairs else TEXTS).model_.state_dict())
    worst = max(float((found[0][name] - found[1][name]).abs().max()) for name in found[0])
    assert worst < 1e-5


@pytest.mark.parametrize("objective", [None, "distilbert", "tinybert", "minilm", "mobilebert", [MLM(), Hidden()]])
def test_every_recipe_changes_the_student(teacher, objective):
    student = BertForMaskedLM(config(2, 16))
    taught = learner(student, teacher=teacher, objective=objective, epochs=1).fit(TEXTS[:60]).model_
    assert not torch.equal(
        taught.bert.encoder.layer[0].output.dense.weight, student.bert.encoder.layer[0].output.dense.weight
    )


# ---------------------------------------------------------------- what is learnt


def test_words_are_learnt(teacher):
    assert teacher.perplexity(TEXTS) < 1.5


def test_score_does_not_depend_on_batches(teacher):
    scores = [teacher.set_params(batch_size=size).score(TEXTS) for size in (5, 32)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_teacher_alone_teaches_the_words(teacher):
    student = learner(teacher=teacher, objective=[SoftLabels()]).fit(TEXTS)
    assert student.perplexity(TEXTS) < 1.5


def test_an_embedding_is_looked_into():
    teacher = EmbeddingStudent(config(2), tokenizer=TOKENIZER, epochs=1, random_state=0, device="cpu")
    teacher.fit(TEXTS[:20], np.ones((20, 32)))
    student = BertForMaskedLM(config(2, 16))
    taught = learner(student, teacher=teacher, objective="tinybert", epochs=1).fit(TEXTS[:60]).model_
    assert not torch.equal(taught.get_input_embeddings().weight, student.get_input_embeddings().weight)


def test_teacher_that_was_training_goes_on_training(teacher):
    module = copy.deepcopy(teacher.model_).train()
    learner(teacher=module, epochs=1).fit(TEXTS[:60])
    assert all(part.training for part in module.modules())


def test_a_term_by_itself_is_an_objective():
    alone, listed = (learner(objective=given, epochs=1).fit(TEXTS[:60]).model_ for given in (MLM(), [MLM()]))
    assert all(torch.equal(value, listed.state_dict()[name]) for name, value in alone.state_dict().items())


def test_next_lines_are_told_from_others():
    model = learner(objective=[MLM(), NSP()], epochs=10).fit(DOCUMENTS)
    next_ones = [(f"{first} {first}", f"{second} film") for first in PRAISE for second in BLAME]
    others = [(f"{first} {first}", f"{second} {second}") for first in PRAISE for second in PRAISE]
    assert model.next_sentence_proba(next_ones).min() > 0.5 > model.next_sentence_proba(others).max()


def test_task_goes_on_from_the_folder(teacher, tmp_path):
    teacher.save_pretrained(tmp_path / "model")
    settings = {"epochs": 1, "learning_rate": 1e-12, "random_state": 0, "device": "cpu"}
    model = TransformerClassifier(tmp_path / "model", **settings).fit(TEXTS, ["a", "b"] * 80)
    for name, value in teacher.model_.bert.encoder.state_dict().items():
        torch.testing.assert_close(model.model_.bert.encoder.state_dict()[name], value, atol=1e-6, rtol=0)


def test_saved_model_answers_the_same(teacher, tmp_path):
    teacher.save_pretrained(tmp_path / "model")
    again = AutoModelForMaskedLM.from_pretrained(tmp_path / "model").eval()
    inputs = TOKENIZER(TEXTS[:3], padding=True, return_tensors="pt")
    with torch.inference_mode():
        assert torch.equal(again(**inputs).logits, teacher.model_(**inputs).logits)


def test_nothing_that_is_given_is_changed(teacher):
    student = BertForMaskedLM(config(2))
    before = {name: value.clone() for name, value in (student.state_dict() | teacher.model_.state_dict()).items()}
    learner(student, teacher=teacher, epochs=1).fit(TEXTS)
    after = student.state_dict() | teacher.model_.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_same_seed_gives_the_same_weights():
    found = [learner(epochs=1).fit(TEXTS).model_.state_dict() for _ in range(2)]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


KILLED = """
import sys
from tests.test_neural_pretraining import TEXTS, learner
learner(output_dir=sys.argv[1], epochs=8, training_args={"save_strategy": "steps", "save_steps": 5}).fit(TEXTS)
"""


def test_killed_training_goes_on_as_if_it_had_not_been(tmp_path):
    settings = {"epochs": 8, "training_args": {"save_strategy": "steps", "save_steps": 5}}
    whole = learner(output_dir=tmp_path / "whole", **settings).fit(TEXTS)
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], cwd=ROOT)
    while not list(folder.glob("*/stage-0/checkpoint-*/trainer_state.json")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(folder.glob("*/stage-0/student.pt"))
    resumed = learner(output_dir=folder, **settings).fit(TEXTS).model_.state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.model_.state_dict().items())


# ---------------------------------------------------------------- bad input

SHORT, ONE_TYPE = config(1, max_position_embeddings=12), RobertaConfig(**SMALL, pad_token_id=0, type_vocab_size=1)


@pytest.mark.parametrize(
    ("texts", "settings", "error", "message"),
    [
        ([], {}, ValueError, "texts holds no text"),
        (["", "  "], {}, ValueError, "texts holds no text"),
        (["what else is", "unknown here"], {}, ValueError, "no token that can be masked"),
        ("good film", {}, TypeError, r"texts is one string; give a list of texts, or Path\(...\)"),
        (["good", None], {}, TypeError, r"Text 1 is None \(NoneType\)"),
        (pd.DataFrame({"a": TEXTS}), {}, TypeError, r"table of the columns \['a'\]"),
        (["nowhere.txt", Path("nowhere.txt")], {}, FileNotFoundError, "nowhere.txt"),
        (TEXTS, {"max_length": 25}, ValueError, "max_length must be from 2 to 24, the model's positions, got 25"),
        (TEXTS, {"max_length": 2}, ValueError, "max_length must be at least 3, got 2"),
        (DOCUMENTS, {"max_length": 4, "objective": [NSP()]}, ValueError, "max_length must be at least 5, got 4"),
        (["good", "", "bad", "", "film"], {"objective": [NSP()]}, ValueError, "0 consecutive among 3"),
        (TEXTS, {"objective": "bert"}, ValueError, "objective must be one of .* got 'bert'"),
        (TEXTS, {"objective": "mlm", "stages": [Stage([MLM()])]}, ValueError, "Give one of them"),
        (TEXTS, {"objective": "distilbert"}, ValueError, "SoftLabels, Hidden learn from a teacher, and there is none"),
        (TEXTS, {"objective": [MLM(probability=0.1), MLM()]}, ValueError, r"one share of the words, got \[0.1, 0.15\]"),
        (TEXTS, {"teacher": BertModel(config())}, ValueError, "SoftLabels learns .* BertModel has no head for them"),
        (
            TEXTS,
            {"training_args": {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}},
            ValueError,
            "dataloader_persistent_workers=True, but masks are drawn anew in every epoch",
        ),
        (TEXTS, {"teacher": BertForMaskedLM(SHORT)}, ValueError, "positions for 12 tokens, and .* have up to 13"),
        (DOCUMENTS, {"model": ONE_TYPE, "objective": [NSP()]}, ValueError, "RobertaForMaskedLM knows one type"),
        (TEXTS, {"model": 3}, TypeError, "model must be a path or name"),
        (TEXTS, {"tokenizer": None}, ValueError, "its tokenizer is not known"),
    ],
    ids=lambda value: None,
)
def test_what_cannot_be_learnt_is_refused(texts, settings, error, message):
    with pytest.raises(error, match=message):
        learner(**settings).fit(texts)


def test_share_outside_of_bounds_is_refused():
    with pytest.raises(ValueError, match=r"probability must be between 0 and 1, got 1\.5"):
        MLM(probability=1.5)


def test_next_sentence_wants_a_head_for_it(teacher):
    with pytest.raises(ValueError, match=r"no head for next sentences. Train it with NSP\(\)"):
        teacher.next_sentence_proba([("good", "bad")])
    distilbert = DistilBertConfig(vocab_size=16, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    with pytest.raises(ValueError, match=r"NSP needs next_sentence, and the student gives none\. Use BERT"):
        learner(distilbert, objective=[NSP()]).fit(DOCUMENTS)


def test_tokenizer_without_a_mask_is_refused():
    bare = transformers.PreTrainedTokenizerFast(tokenizer_object=TOKENIZER.backend_tokenizer, pad_token="[PAD]")
    with pytest.raises(ValueError, match="has no cls_token, sep_token, mask_token"):
        learner(tokenizer=bare, max_length=12).fit(TEXTS)


@pytest.mark.parametrize("given", ["folder", MaskedLanguageModel("folder")])
def test_teacher_that_is_no_fitted_model_is_refused(given):
    with pytest.raises(TypeError, match="teacher must be a fitted MaskedLanguageModel"):
        MaskedLanguageModel(config(1), tokenizer=TOKENIZER, teacher=given).fit(["good film"])

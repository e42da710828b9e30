"""Layer surgery: what is copied, what is kept equal, what is refused."""

# ruff: noqa: E402

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    MobileBertConfig,
    MobileBertForSequenceClassification,
)

from tabkd.neural import check_vocabulary, empty_student, shrink, to_distilbert

SMALL = {"vocab_size": 60, "max_position_embeddings": 16}
BERT = {"hidden_size": 32, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 64}
IDS = torch.randint(5, 60, (3, 9), generator=torch.Generator().manual_seed(0))


def bert(kind=BertForSequenceClassification, **more):
    torch.manual_seed(0)
    return kind(BertConfig(**{**SMALL, **BERT, **more})).eval()


def distilbert():
    config = DistilBertConfig(dim=32, n_layers=6, n_heads=4, hidden_dim=64, **SMALL)
    return DistilBertForSequenceClassification(config).eval()


def mobilebert():
    sizes = {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16}
    return MobileBertForSequenceClassification(MobileBertConfig(**{**SMALL, **BERT, **sizes})).eval()


def states(model):
    with torch.no_grad():
        return model(IDS, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("build", [bert, distilbert, mobilebert])
def test_all_layers_give_the_same_answers(build):
    model = build()
    with torch.no_grad():
        assert torch.equal(shrink(model, 6)(IDS).logits, model(IDS).logits)


def test_layers_count_from_zero_and_keep_their_order():
    model = bert()
    student = shrink(model, [0, 2, 5])
    kept = [layer.output.dense.weight for layer in student.bert.encoder.layer]
    there = [model.bert.encoder.layer[number].output.dense.weight for number in (0, 2, 5)]
    assert all(torch.equal(a, b) for a, b in zip(kept, there, strict=True))


def test_number_of_layers_is_spread_from_first_to_last():
    model = bert()
    student = shrink(model, 3)
    last = student.bert.encoder.layer[-1].output.dense.weight
    assert torch.equal(last, model.bert.encoder.layer[5].output.dense.weight)


@pytest.mark.parametrize("build", [bert, distilbert, mobilebert])
def test_first_states_of_a_student_are_the_teachers(build):
    model = build()
    for ours, theirs in zip(states(shrink(model, [0, 1])), states(model)[:3], strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", [BertModel, BertForSequenceClassification, BertForMaskedLM])
def test_given_model_keeps_its_bytes(kind):
    model = bert(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    student = shrink(model, 2, hidden=16)
    with torch.no_grad():
        for value in student.parameters():
            value.fill_(7.0)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("build", [bert, distilbert])
def test_narrow_student_keeps_whole_heads(build):
    student = shrink(build(), 2, hidden=16)
    assert (student.config.hidden_size, student.config.num_attention_heads) == (16, 2)
    assert student(IDS).logits.shape == (3, 2)


def test_units_that_do_nothing_are_cut_without_a_trace():
    """A model whose second half of units, heads and inner units is zero answers as its first half does."""
    model = bert(layer_norm_eps=1e-12)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in parameters.items():
            sizes = {32: 16, 64: 32}
            for axis, length in enumerate(value.shape):
                if length in sizes and not (axis == 0 and "embeddings" in name and value.ndim == 2):
                    value.narrow(axis, sizes[length], length - sizes[length]).zero_()
            if "LayerNorm.weight" in name:
                value[:16] = 1.0
    student = shrink(model, 6, hidden=16)
    for name, value in student.named_parameters():
        there = parameters[name]
        assert torch.equal(value, there[tuple(slice(0, n) for n in value.shape)]), name


@pytest.mark.parametrize("hidden", [None, 16])
def test_saved_student_comes_back_equal(hidden, tmp_path):
    student = shrink(bert(), [0, 3], hidden=hidden)
    student.save_pretrained(tmp_path)
    again = BertForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(student(IDS).logits, again(IDS).logits)


def test_labels_and_mode_are_kept():
    model = bert(id2label={0: "no", 1: "yes", 2: "모름"}).train()
    student = shrink(model, 2)
    assert student.config.id2label == {0: "no", 1: "yes", 2: "모름"}
    assert student.training


@pytest.mark.parametrize("kind", [BertModel, BertForSequenceClassification, BertForMaskedLM])
def test_distilbert_has_the_states_of_the_bert_it_was_made_of(kind):
    model = bert(kind)
    for ours, theirs in zip(states(to_distilbert(model, [0, 2, 5])), states(shrink(model, [0, 2, 5])), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_distilbert_fills_gaps_as_bert_does():
    model = bert(BertForMaskedLM)
    with torch.no_grad():
        torch.testing.assert_close(to_distilbert(model)(IDS).logits, model(IDS).logits, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", ["tinybert-4x312", "minilm-6x384", "mobilebert"])
def test_empty_student_reads_what_the_teacher_reads(shape):
    student = empty_student(shape, like=bert(id2label={0: "a", 1: "b", 2: "c"}))
    assert (student.config.vocab_size, student.config.num_labels) == (60, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shrink(bert(), [0, 6]), r"names 6, but the encoders are 0 to 5"),
        (lambda: shrink(bert(), []), "names none"),
        (lambda: shrink(bert(), [1, 1]), "names an encoder twice"),
        (lambda: shrink(bert(), 7), "layers=7 must be from 1 to 6"),
        (lambda: shrink(bert(), 2, hidden=20), "hidden=20 .* Try hidden=16, heads=2"),
        (lambda: shrink(bert(), 2, hidden=16, heads=4), "does not keep heads of 8 units"),
        (lambda: shrink(bert(), 2, heads=5), "heads=5 does not divide the width 32"),
        (lambda: shrink(mobilebert(), 2, hidden=16), "can be cut in .*, not in 'mobilebert'"),
        (lambda: to_distilbert(distilbert()), "to_distilbert takes BertModel"),
        (lambda: empty_student("bert-huge"), "shape must be one of .* got 'bert-huge'"),
    ],
)
def test_bad_surgery_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_other_vocabulary_is_refused_by_its_first_tokens():
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "b": 6}
    ours, theirs = BertTokenizerFast(vocab=words), BertTokenizerFast(vocab=words | {"a": 6, "b": 5})
    check_vocabulary(ours, ours)
    with pytest.raises(ValueError, match=r"ids of 2 tokens differ: 'a' \(5 and 6\), 'b' \(6 and 5\)"):
        check_vocabulary(ours, theirs)

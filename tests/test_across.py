"""Knowledge across kinds of models: texts teach numbers, trees teach transformers, transformers teach trees."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from neural_data import POINTS, TOKENIZER, X, Y, classifier, config
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from tabkd import DistilledEstimator
from tabkd.encodings import encoding_for
from tabkd.neural import EmbeddingStudent
from tabkd.runtime import OnnxPredictor

RNG = np.random.default_rng(0)
OWN = ["stars", "price", "country"]
TABLE = pd.DataFrame(
    {
        "stars": np.clip(np.round(3 + 0.5 * POINTS + RNG.normal(size=len(X))), 1, 5),
        "price": RNG.normal(size=len(X)),
        "country": RNG.choice(["kr", "us", None], len(X)),
        "review": X,
    }
)


def reader(last, **tfidf):
    """A model behind the words of the reviews and the other columns."""
    read = make_column_transformer(
        (TfidfVectorizer(**tfidf), "review"),
        (OneHotEncoder(handle_unknown="ignore"), ["country"]),
        remainder="passthrough",
    )
    return make_pipeline(read, last)


def boosted(n_estimators=15):
    return LGBMClassifier(n_estimators=n_estimators, min_child_samples=5, verbose=-1)


def line():
    return LogisticRegression(C=10, max_iter=500)


def distilled(teacher, student=None, **settings):
    student = DecisionTreeClassifier(max_depth=3, min_samples_leaf=5) if student is None else student
    return DistilledEstimator(teacher, student, **{"student_features": OWN, "cv": 4, "random_state": 0, **settings})


# ---------------------------------------------------------------- texts beside columns


@pytest.fixture(scope="module")
def taught():
    return distilled(reader(line()), boosted(), alpha=0.0).fit(TABLE, Y)


def test_student_of_a_reader_answers_from_its_own_columns_alone(taught):
    assert taught.student_features_ == OWN
    np.testing.assert_array_equal(taught.predict_proba(TABLE[OWN]), taught.predict_proba(TABLE))


def test_file_of_a_readers_student_has_no_input_for_the_text(taught, tmp_path):
    predictor = OnnxPredictor(taught.to_onnx(tmp_path / "student.onnx", X=TABLE))
    assert [column["name"] for column in predictor.metadata["columns"]] == OWN
    np.testing.assert_allclose(predictor.predict_proba(TABLE[OWN]), taught.predict_proba(TABLE), atol=1e-5)


def test_reader_knows_more_than_the_columns_and_its_student_beats_the_control(taught):
    assert taught.teacher_score_ > taught.student_score_ > taught.control_score_


@pytest.mark.filterwarnings("ignore:With alpha")
def test_scored_students_of_a_reader_know_nothing_of_the_labels_they_are_scored_by():
    folds = list(KFold(4).split(TABLE))
    _, scored = folds[0]
    other = Y.copy()
    other[scored] = np.where(Y[scored] == "yes", "no", "yes")
    models = [distilled(reader(line()), alpha=0.5, cv=folds).fit(TABLE, labels) for labels in (Y, other)]
    answers = [model.student_predictions_[scored] for model in models]
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize(
    "teacher",
    [
        CalibratedClassifierCV(reader(line()), cv=2),
        VotingClassifier(
            [("line", reader(line())), ("tree", reader(DecisionTreeClassifier(max_depth=5)))], voting="soft"
        ),
        StackingClassifier([("line", reader(line())), ("tree", reader(DecisionTreeClassifier(max_depth=5)))], cv=2),
    ],
    ids=lambda teacher: type(teacher).__name__,
)
def test_models_made_of_readers_are_given_the_table_with_its_texts(teacher):
    model = distilled(teacher, cross_fit="folds", alpha=0.5).fit(TABLE, Y)
    assert model.teacher_.score(TABLE, Y) > 0.9


def test_models_of_readers_and_others_are_given_encoded_columns():
    mixed = VotingClassifier([("line", make_pipeline(line())), ("trees", boosted())])
    assert encoding_for(mixed) == "ordinal"


def test_catboost_reads_a_text_column_that_it_names():
    settings = {"iterations": 15, "cat_features": ["country"], "verbose": 0}
    with_text = distilled(CatBoostClassifier(text_features=["review"], **settings), cross_fit="folds", alpha=0.5)
    without = distilled(CatBoostClassifier(**settings), cross_fit="folds", alpha=0.5, teacher_features=OWN)
    right = [
        (model.fit(TABLE, Y).soft_targets_.argmax(axis=1) == (Y == "yes")).mean() for model in (with_text, without)
    ]
    assert right[0] > right[1] + 0.05


@pytest.mark.filterwarnings("ignore:The teacher gives class")  # by prose that it has not seen
def test_prose_that_would_be_read_as_categories_is_warned_of():
    with pytest.warns(UserWarning, match=r"Columns \['review'\] hold texts.*LGBMClassifier.*TfidfVectorizer"):
        distilled(boosted(), cross_fit="folds", alpha=0.5).fit(TABLE, Y)


def test_frozen_encoder_of_texts_stands_in_a_teacher_as_it_is():
    shared = {"tokenizer": TOKENIZER, "max_length": 16, "random_state": 7, "device": "cpu"}
    encoder = EmbeddingStudent(config(1, 16), epochs=1, **shared).fit(X[:32], RNG.normal(size=(32, 16)))
    before = encoder.transform(X[:4])
    teacher = make_pipeline(make_column_transformer((FrozenEstimator(encoder), "review")), line())
    distilled(teacher, cross_fit="folds", alpha=0.5).fit(TABLE, Y)
    assert encoder.random_state == 7
    np.testing.assert_array_equal(encoder.transform(X[:4]), before)


def test_fitted_reader_does_not_keep_the_texts_that_it_has_seen():
    words = make_pipeline(TfidfVectorizer(), line())
    of_texts = DistilledEstimator(words, words, cross_fit="folds", alpha=0.0).fit(X, Y)
    of_table = distilled(reader(line()), cross_fit="folds", alpha=0.5).fit(TABLE, Y)
    long = max(X, key=len).encode()
    assert not any(long in pickle.dumps(model) for model in (of_texts, of_table))


# ---------------------------------------------------------------- trees teach transformers


def test_trees_on_words_teach_a_transformer():
    teacher = make_pipeline(TfidfVectorizer(), boosted(60)).fit(X, Y)
    model = DistilledEstimator(FrozenEstimator(teacher), classifier(config(1, 16)), cross_fit="folds", alpha=0.0)
    model.fit(X, Y)
    assert (model.predict(X) == teacher.predict(X)).mean() > 0.9


def test_numbers_beside_the_text_teach_a_transformer_that_reads_the_text(tmp_path):
    small = classifier(config(1, 16), text_columns="review", epochs=1)
    columns = {"teacher_features": OWN, "student_features": ["review"]}
    model = distilled(boosted(), small, cross_fit="folds", alpha=0.5, **columns).fit(TABLE, Y)
    assert model.student_features_ == ["review"]
    predictor = OnnxPredictor(model.to_onnx(tmp_path / "student.onnx", X=TABLE))
    np.testing.assert_allclose(predictor.predict_proba(TABLE[["review"]]), model.predict_proba(TABLE), atol=1e-5)


# ---------------------------------------------------------------- transformers teach trees


def test_transformer_that_reads_one_column_teaches_a_student_of_the_others():
    teacher = classifier(config(1, 16), text_columns="review", epochs=4)
    model = distilled(teacher, boosted(), alpha=0.5, cross_fit="holdout").fit(TABLE, Y)
    assert model.teacher_score_ > model.control_score_


def test_transformer_teaches_trees_on_words_by_texts_without_labels():
    teacher = FrozenEstimator(classifier().fit(X, Y))
    trees = make_pipeline(TfidfVectorizer(), boosted(60))
    model = DistilledEstimator(teacher, trees, alpha=0.5, cross_fit="folds", random_state=0)
    alone = model.fit_control(X[:24], Y[:24])
    model.fit(X[:24], Y[:24], X_unlabeled=X[24:160])
    assert model.score(X[160:], Y[160:]) > (alone.predict(X[160:]) == Y[160:]).mean() + 0.05


def test_texts_are_given_to_a_calibrated_reader_as_they_are():
    teacher = CalibratedClassifierCV(make_pipeline(TfidfVectorizer(), line()), cv=2)
    model = DistilledEstimator(teacher, make_pipeline(TfidfVectorizer(), line()), cross_fit="folds", alpha=0.0)
    assert model.fit(X, Y).score(X, Y) > 0.9


@pytest.mark.parametrize("rows", [X, TABLE], ids=["texts", "table"])
def test_file_of_a_model_on_words_is_refused_with_what_to_do(rows, tmp_path):
    words = TfidfVectorizer() if rows is X else make_column_transformer((TfidfVectorizer(), "review"))
    model = DistilledEstimator(make_pipeline(words, line()), make_pipeline(words, line()), cross_fit="folds", alpha=0.0)
    with pytest.raises(ValueError, match=r"TfidfVectorizer cannot be exported.*TransformerClassifier"):
        model.fit(rows, Y).to_onnx(tmp_path / "student.onnx")

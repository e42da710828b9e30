"""Teachers' answers on disk: known by all that they depend on."""

# ruff: noqa: E402

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn
from transformers import BertForMaskedLM, BertForSequenceClassification, BertTokenizerFast

from tabkd.neural import MaskedLanguageModel, SelfDistillation, TransformerRegressor
from tabkd.neural.reading import ArrayReader, TextReader
from tabkd.neural.teachers import answered, log_soft_targets
from tests.neural_data import POINTS, TOKENIZER, VOCABULARY, X, Y, classifier, config

ROOT = Path(__file__).parent.parent
READER = TextReader(TOKENIZER, None, None, 24)


def test_tokens_are_kept_in_four_bytes_each():
    tokens = READER.encoded(list(X[:3]))
    assert [values.dtype for row in tokens for values in row.values()] == [np.dtype(np.int32)] * 9


@pytest.fixture
def kept(tmp_path):
    """Answers of a teacher from a folder that all of a test's teachers share."""

    def answers(teacher, rows=X, classes=None, reader=READER):
        return log_soft_targets(teacher, rows, classes, reader=reader, folder=tmp_path)

    return answers


def regressor(y):
    settings = {"tokenizer": TOKENIZER, "epochs": 0.1, "random_state": 0, "device": "cpu"}
    return TransformerRegressor(config(1), **settings).fit(X, y)


def test_regressors_of_equal_weights_and_other_means_are_told_apart(kept):
    low, high = (regressor(POINTS + more) for more in (0.0, 1000.0))
    np.testing.assert_allclose(kept(high) - kept(low), 1000, atol=1e-2)


def test_classifier_that_exits_earlier_is_told_from_itself(kept):
    teacher = classifier(objective=SelfDistillation((1,), exit_confidence=1.0), epochs=1).fit(X, Y)
    late = kept(teacher, classes=teacher.classes_)
    teacher.model_.exit_confidence = 0.51
    assert not np.array_equal(kept(teacher, classes=teacher.classes_), late)


def test_teacher_that_reads_other_tokens_is_told_apart(kept):
    teacher = regressor(POINTS)
    before = np.array(kept(teacher))
    exchanged = VOCABULARY | {"good": VOCABULARY["bad"], "bad": VOCABULARY["good"]}
    teacher.reader_.tokenizer = BertTokenizerFast(vocab=exchanged)
    assert not np.array_equal(kept(teacher), before)


def test_modules_of_equal_weights_are_told_apart(kept):
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    torch.manual_seed(0)
    linear = nn.Linear(3, 1)
    plain, bent = (
        kept(nn.Sequential(linear, after), rows, reader=ArrayReader()) for after in (nn.Identity(), nn.ReLU())
    )
    np.testing.assert_allclose(bent, np.maximum(plain, 0))


def test_models_of_equal_weights_and_other_heads_are_told_apart(kept):
    first, second = (BertForSequenceClassification(config(1, 32, heads, initializer_range=0.5)) for heads in (2, 4))
    second.load_state_dict(first.state_dict())
    classes = np.array([0, 1])
    assert not np.array_equal(kept(first, classes=classes), kept(second, classes=classes))


def test_columns_that_the_teacher_reads_alone_are_read(kept):
    tables = [pd.DataFrame({"short": "film", "long": texts}) for texts in (X, X[::-1])]
    columns = make_column_transformer((TfidfVectorizer(), "long"))
    teacher = make_pipeline(columns, LogisticRegression()).fit(tables[0], Y)
    reader = TextReader(TOKENIZER, None, "short", 24)
    first, second = (kept(teacher, table, teacher.classes_, reader) for table in tables)
    np.testing.assert_array_equal(first, second[::-1])


def test_columns_of_other_names_are_another_table(kept):
    table = pd.DataFrame({"first": X, "second": X[::-1]})
    teacher = make_pipeline(make_column_transformer((TfidfVectorizer(), "first")), LogisticRegression()).fit(table, Y)
    readers = TextReader(TOKENIZER, None, None, 24), TextReader(TOKENIZER, None, "first", 24)
    swapped = table.set_axis(["second", "first"], axis=1)
    for reader in readers:
        first, second = (kept(teacher, rows, teacher.classes_, reader) for rows in (table, swapped))
        np.testing.assert_array_equal(first, second[::-1])


def test_labels_that_became_texts_meet_on_their_text():
    numbers = np.arange(len(X)) % 12
    teacher = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(X, numbers.astype(str))
    found = np.exp(answered(teacher, X, np.arange(12)))
    np.testing.assert_allclose(found[:, 10], teacher.predict_proba(X)[:, teacher.classes_.tolist().index("10")])


def test_teacher_of_other_labels_is_told_how_to_name_them():
    teacher = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(X, Y)
    with pytest.raises(ValueError, match=r"from_pretrained\(folder, classes=\[\.\.\.\]\) names those"):
        answered(teacher, X, np.array([0, 1]))


def test_same_teacher_is_asked_once(kept, tmp_path):
    teacher = regressor(POINTS)
    kept(teacher)
    teacher.predict(X[:3])
    kept(teacher)
    assert len(list(tmp_path.iterdir())) == 1


RACE = """
import sys, time
import numpy as np
from tests.neural_data import X, Y, classifier, config
class Slow:
    classes_ = np.array(["no", "yes"])
    def predict_proba(self, rows):
        time.sleep(2)
        return np.full((len(rows), 2), 0.5)
classifier(config(1), teacher=Slow(), cache=sys.argv[1], epochs=0.1).fit(X, Y)
"""


def test_processes_share_a_folder(tmp_path):
    several = [subprocess.Popen([sys.executable, "-c", RACE, str(tmp_path)], cwd=ROOT) for _ in range(2)]
    assert [process.wait() for process in several] == [0, 0]
    assert len(list(tmp_path.iterdir())) == 1


def test_damaged_file_is_named(kept, tmp_path):
    teacher = regressor(POINTS)
    kept(teacher)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=rf"'{re.escape(str(file))}' is damaged .* Delete it"):
        kept(teacher)


@pytest.mark.parametrize("kind", ["classifier", "language model"])
def test_bare_teacher_of_fewer_tokens_is_refused(kind):
    few = config(1, vocab_size=9)
    with pytest.raises(ValueError, match=r"up to id 15, and the teacher has embeddings for 9"):
        if kind == "classifier":
            classifier(config(1), teacher=BertForSequenceClassification(few)).fit(X, Y)
        else:
            MaskedLanguageModel(config(1), tokenizer=TOKENIZER, teacher=BertForMaskedLM(few)).fit(X)


@pytest.mark.parametrize("teacher", ["folder", FrozenEstimator(BertForSequenceClassification(config(1)))])
@pytest.mark.parametrize(
    ("student", "said"),
    [
        (classifier(config(1)), r"must have predict_proba and classes_, .* TransformerClassifier\.from_pretrained"),
        (TransformerRegressor(config(1), tokenizer=TOKENIZER), r"must have predict, .* TransformerRegressor\.from_pr"),
    ],
    ids=["classifier", "regressor"],
)
def test_what_is_no_estimator_is_no_teacher(student, teacher, said):
    with pytest.raises(TypeError, match=said):
        student.set_params(teacher=teacher).fit(X, np.arange(len(X)) % 2)

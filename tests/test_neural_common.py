"""scikit-learn's own checks of neural estimators; those of networks for tables are in ``test_neural_tables.py``."""

# ruff: noqa: E402

from __future__ import annotations

import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn
from transformers import AutoModel, BertModel

from tabkd.neural import (
    EmbeddingStudent,
    MaskedLanguageModel,
    ModuleClassifier,
    ModuleRegressor,
    QuestionAnswerer,
    TransformerClassifier,
    TransformerRegressor,
)
from tests.neural_data import POINTS, TOKENIZER, X, Y, config

QUICK = {"epochs": 8, "learning_rate": 0.05, "batch_size": 64, "device": "cpu", "random_state": 0}


class Layers(nn.Sequential):
    """A class, because the names of the checks hold its ``repr``, which must be the same in every process."""

    def __init__(self, n_features, n_outputs):
        super().__init__(nn.Linear(n_features, 16), nn.ReLU(), nn.Linear(16, n_outputs))

    def forward(self, rows):
        return super().forward(rows.float())


def expected_failures(estimator):
    return {"check_sample_weight_equivalence_on_dense_data": "rows given twice fall into other batches"}


@pytest.mark.filterwarnings("ignore:.*feature names:UserWarning")
@parametrize_with_checks(
    [ModuleClassifier(Layers, **QUICK), ModuleRegressor(Layers, **QUICK)], expected_failed_checks=expected_failures
)
def test_scikit_learn_check(estimator, check):
    check(estimator)


#: All others fit matrices of numbers, which estimators of texts refuse: these need no rows.
WITHOUT_ROWS = [
    estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_estimators_unfitted,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_mixin_order,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_set_params,
    estimator_checks.check_valid_tag_types,
]
OF_TEXTS = [EmbeddingStudent, MaskedLanguageModel, QuestionAnswerer, TransformerClassifier, TransformerRegressor]


@pytest.mark.parametrize("estimator", OF_TEXTS)
@pytest.mark.parametrize("check", WITHOUT_ROWS, ids=lambda check: check.__name__)
def test_scikit_learn_check_that_needs_no_rows(estimator, check):
    check(estimator.__name__, estimator(config(), tokenizer=TOKENIZER))


ASKED = [{"question": "good", "context": "bad film", "answers": [{"text": "film", "answer_start": 4}]}] * 8
VECTORS = np.resize(np.eye(32, dtype=np.float32), (len(X), 32))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("estimator", "given"),
    [
        (EmbeddingStudent, (X, VECTORS)),
        (MaskedLanguageModel, (X,)),
        (QuestionAnswerer, (ASKED,)),
        (TransformerClassifier, (X, Y)),
        (TransformerRegressor, (X, POINTS)),
    ],
)
def test_weights_in_half_precision_are_trained_in_float32(estimator, given, dtype):
    model = AutoModel.from_config(config(1), dtype=dtype)
    settings = {"tokenizer": TOKENIZER, "max_length": 16, "epochs": 0.1, "device": "cpu", "random_state": 0}
    settings |= {"stride": 4} if estimator is QuestionAnswerer else {}
    for made in (model, model.config):
        fitted = estimator(made, **settings).fit(*given)
        for again in (fitted, pickle.loads(pickle.dumps(fitted))):
            assert {value.dtype for value in again.model_.state_dict().values()} == {torch.float32}
    assert model.dtype == dtype


@pytest.mark.parametrize("estimator", [EmbeddingStudent, TransformerClassifier])
def test_model_without_a_pooler_is_pickled(estimator):
    model = BertModel(config(1), add_pooling_layer=False)
    again = pickle.loads(pickle.dumps(estimator(model, tokenizer=TOKENIZER))).model
    assert again.pooler is None
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())

"""Neural peers: deep mutual learning on texts and tables."""

# ruff: noqa: E402

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tabkd import MutualDistilledEstimator
from tabkd.neural import ModuleClassifier
from tabkd.runtime import OnnxPredictor
from tests.neural_data import X, Y, classifier, config, digits, layers

pytestmark = pytest.mark.filterwarnings("ignore:With alpha")


@pytest.fixture(scope="module")
def fitted():
    peers = [("wide", classifier(config(2, 32), epochs=4)), ("narrow", classifier(config(2, 16), epochs=4))]
    return MutualDistilledEstimator(peers, alpha=0.5, deploy="narrow", random_state=0).fit(X, Y)


def test_transformers_teach_each_other_on_one_split(fitted):
    known = ~np.isnan(fitted.student_predictions_).any(axis=1)
    assert known.sum() == len(X) // 5
    np.testing.assert_allclose(fitted.predict_proba(X)[known], fitted.student_predictions_[known], atol=1e-6)
    assert not np.allclose(fitted.predict_proba(X), fitted.control_.predict_proba(X), atol=1e-3)


def test_deployed_transformer_writes_its_own_file(fitted, tmp_path):
    file = OnnxPredictor(fitted.to_onnx(tmp_path / "peer.onnx"))
    np.testing.assert_allclose(file.predict_proba(X[:20]), fitted.predict_proba(X[:20]), atol=1e-4)


def test_mean_with_a_transformer_is_no_single_file(tmp_path):
    line = make_pipeline(TfidfVectorizer(), LogisticRegression())
    peers = [("net", classifier(config(1, 16), epochs=1)), ("line", line)]
    model = MutualDistilledEstimator(peers, alpha=0.5, random_state=0).fit(X, Y)
    assert model.predict_proba(X[:3]).shape == (3, 2)
    with pytest.raises(ValueError, match=r"Peers \['net'\] write files of their own.* Use deploy='net'"):
        model.to_onnx(tmp_path / "mean.onnx")


def test_modules_of_a_table_teach_each_other_in_turn():
    data, labels = digits()
    peers = [(name, ModuleClassifier(layers(16), epochs=3, device="cpu")) for name in ("one", "other")]
    model = MutualDistilledEstimator(peers, alpha=0.5, rounds=2, random_state=0).fit(data, labels)
    one, other = (peer.predict_proba(data) for peer in model.peers_.values())
    assert not np.allclose(one, other, atol=1e-3)
    assert model.rounds_ == 2 and np.isfinite(model.distillation_gain_)

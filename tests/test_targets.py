"""Temperature, blending and links on plain arrays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from tabkd.links import EPSILON, align_classes, apply_link, invert_link, link_scores, normalize
from tabkd.targets import blend, one_hot, sharpen, soften

LOGITS = np.random.default_rng(0).normal(scale=3, size=(50, 4))
PROBA = softmax(LOGITS, axis=1)
TEMPERATURES = [0.25, 0.5, 1.0, 2.0, 10.0]


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_softened_probabilities_equal_the_softmax_of_divided_logits(temperature):
    np.testing.assert_allclose(soften(PROBA, temperature), softmax(LOGITS / temperature, axis=1), rtol=1e-12)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_sharpen_undoes_soften(temperature):
    np.testing.assert_allclose(sharpen(soften(PROBA, temperature), temperature), PROBA, rtol=1e-10)


def test_temperature_above_one_flattens():
    assert (soften(PROBA, 3.0).max(axis=1) < PROBA.max(axis=1)).all()


def test_temperature_one_changes_nothing():
    np.testing.assert_array_equal(soften(PROBA, 1.0), PROBA)


def test_softened_zero_stays_zero():
    np.testing.assert_array_equal(soften([[0.0, 1.0]], 5.0), [[0.0, 1.0]])


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_softened_rows_sum_to_one(temperature):
    np.testing.assert_allclose(soften(PROBA, temperature).sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("function", [soften, sharpen])
@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), "2"])
def test_temperature_must_be_a_positive_number(function, temperature):
    with pytest.raises(ValueError, match=r"temperature must be > 0, got"):
        function(PROBA, temperature)


def test_alpha_is_the_weight_of_the_true_labels():
    np.testing.assert_allclose(blend([[1.0, 0.0]], [[0.2, 0.8]], 0.25), [[0.4, 0.6]])


def test_alpha_one_gives_the_true_labels_exactly():
    hard = one_hot([0, 3, 1], 4)
    np.testing.assert_array_equal(blend(hard, PROBA[:3], 1), hard)


def test_alpha_zero_gives_the_soft_targets_exactly():
    np.testing.assert_array_equal(blend(one_hot([0, 3, 1], 4), PROBA[:3], 0), PROBA[:3])


def test_one_hot_puts_each_code_in_its_column():
    np.testing.assert_array_equal(one_hot([2, 0], 3), [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("n_classes", [2, 3, 4])
@pytest.mark.parametrize("link", ["probability", "softmax"])
def test_links_of_several_classes_are_undone_by_their_inverse(link, n_classes):
    proba = softmax(LOGITS[:, :n_classes] / 3, axis=1)
    raw = apply_link(proba, link)
    if raw.shape[1] == 1:
        raw = np.hstack([1 - raw, raw])
    np.testing.assert_allclose(invert_link(raw, link), proba, rtol=1e-9)


def test_log_odds_are_undone_by_their_inverse():
    proba = softmax(LOGITS[:, :2] / 3, axis=1)
    np.testing.assert_allclose(invert_link(apply_link(proba, "logit"), "logit"), proba, rtol=1e-9)


def test_log_odds_are_those_of_the_second_class():
    np.testing.assert_allclose(apply_link([[0.25, 0.75]], "logit"), [[np.log(3)]])


@pytest.mark.parametrize("link", ["logit", "softmax"])
def test_certain_targets_have_finite_scores(link):
    raw = apply_link([[0.0, 1.0], [1.0, 0.0]], link)
    assert np.isfinite(raw).all()
    np.testing.assert_allclose(invert_link(raw, link)[0, 1], 1 - EPSILON, atol=1e-4)


def test_softmax_scores_are_centred():
    np.testing.assert_allclose(apply_link(PROBA, "softmax").sum(axis=1), 0, atol=1e-12)


def test_identity_link_changes_nothing():
    np.testing.assert_array_equal(invert_link(LOGITS, "identity"), LOGITS)


def test_normalize_clips_and_makes_rows_sum_to_one():
    np.testing.assert_allclose(normalize([[-0.5, 0.5, 1.5]]), [[0, 1 / 3, 2 / 3]])


def test_normalize_makes_a_row_of_zeros_uniform():
    np.testing.assert_allclose(normalize([[-1.0, 0.0, 0.0, -2.0]]), [[0.25] * 4])


def test_classes_are_aligned_by_label_not_by_position():
    np.testing.assert_array_equal(align_classes([[0.1, 0.9]], ["dog", "cat"], ["cat", "dog"]), [[0.9, 0.1]])


def test_class_that_a_model_never_saw_gets_the_fill():
    aligned = align_classes([[0.3, 0.7]], [1, 5], [1, 3, 5], fill=-40.0)
    np.testing.assert_array_equal(aligned, [[0.3, -40.0, 0.7]])


def test_boolean_labels_returned_as_text_are_aligned():
    aligned = align_classes([[0.3, 0.7]], np.array(["True", "False"]), np.array([False, True]))
    np.testing.assert_array_equal(aligned, [[0.7, 0.3]])


def test_label_outside_the_classes_is_refused_by_name():
    with pytest.raises(ValueError, match="horse"):
        align_classes([[0.3, 0.7]], ["cat", "horse"], ["cat", "dog"])


def test_decision_values_of_two_classes_stay_log_odds():
    np.testing.assert_array_equal(link_scores([1.5, -2.0], [0, 1], [0, 1]), [[1.5], [-2.0]])


def test_decision_values_of_two_seen_classes_keep_their_odds_among_three():
    proba = invert_link(link_scores([1.5], ["a", "c"], ["a", "b", "c"]), "softmax")
    np.testing.assert_allclose(proba[0, [0, 2]], [1 - expit(1.5), expit(1.5)], rtol=1e-9)
    assert proba[0, 1] < 1e-15


def test_decision_values_of_several_classes_keep_their_probabilities():
    scores = link_scores(LOGITS[:, :3], ["c", "a", "b"], ["a", "b", "c"])
    expected = softmax(LOGITS[:, :3], axis=1)[:, [1, 2, 0]]
    np.testing.assert_allclose(invert_link(scores, "softmax"), expected, rtol=1e-9)

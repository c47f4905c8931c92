"""Scores of difficulty by hand, without gradient, with masks; orders and their ties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core.check import InputError
from jaxlab.curriculum import (
    ORDERS,
    confidence_difficulty,
    curriculum_order,
    loss_difficulty,
    transfer_difficulty,
)

GOLDEN_FILE = "federated_curriculum.npz"
LOGITS = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [-1e4, 0.0, 1e4]], np.float32)
LABELS = np.array([0, 1, 0], np.int32)


def test_the_authors_losses_and_orders(golden):
    hidden = jnp.tanh(golden["in_x"] @ golden["in_w_body.weight"].T + golden["in_w_body.bias"])
    logits = hidden @ golden["in_w_linear.weight"].T + golden["in_w_linear.bias"]
    scores = loss_difficulty(logits, golden["in_y"].astype(np.int32))
    np.testing.assert_allclose(scores, golden["out_sample_loss"], rtol=1e-5)
    np.testing.assert_array_equal(curriculum_order(scores), golden["out_order"])
    clients = np.asarray(scores).mean(1)
    order = golden["out_client_order"]
    np.testing.assert_array_equal(curriculum_order(clients), order)
    np.testing.assert_allclose(np.sort(clients), np.sort(golden["out_client_loss"]), rtol=1e-5)


def test_by_hand():
    p = np.exp(2) / (np.exp(2) + 2)
    np.testing.assert_allclose(loss_difficulty(LOGITS, LABELS), [-np.log(p), np.log(3), 2e4], rtol=1e-6)
    np.testing.assert_allclose(confidence_difficulty(LOGITS, LABELS), [1 - p, 2 / 3, 1.0], rtol=1e-6)
    two = np.array([[1, 1, 0]] * 3)
    np.testing.assert_allclose(confidence_difficulty(LOGITS, LABELS, classes=two)[1], 0.5, rtol=1e-6)


@pytest.mark.parametrize("score", [loss_difficulty, confidence_difficulty])
def test_no_gradient_and_what_is_ignored_is_0(score):
    assert not np.asarray(jax.grad(lambda x: jnp.sum(score(x, LABELS)))(LOGITS)).any()
    dirty = LOGITS.copy()
    dirty[1] = np.nan
    assert score(dirty, np.array([0, -1, 0], np.int32))[1] == 0
    assert np.isnan(score(dirty, LABELS)[1])


def test_a_teachers_features_show_wrong_labels():
    """Two clusters with three labels swapped: these are the hardest."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    features = rng.normal(size=(40, 5)) + 3 * labels[:, None]
    labels[[3, 8, 20]] ^= 1
    score = transfer_difficulty(features, labels.astype(np.int32), num_classes=2)
    assert set(np.argsort(score)[-3:]) == {3, 8, 20}
    assert ((score >= 0) & (np.asarray(score) <= 1)).all()


def test_a_masked_example_teaches_the_classifier_nothing():
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(12, 3)).astype(np.float32), (np.arange(12) % 3).astype(np.int32)
    where = np.arange(12) < 8
    whole = transfer_difficulty(
        np.where(where[:, None], features, np.nan), labels, num_classes=3, where=where
    )
    part = transfer_difficulty(features[:8], labels[:8], num_classes=3)
    np.testing.assert_allclose(whole[:8], part, rtol=1e-4, atol=1e-6)
    assert not np.asarray(whole[8:]).any()


def test_orders():
    scores = np.array([0.5, 0.1, 0.5, 0.9], np.float32)
    easy = curriculum_order(scores)
    assert easy.tolist() == [1, 0, 2, 3]
    assert curriculum_order(scores, order="hard_first").tolist() == easy.tolist()[::-1]
    draws = {
        tuple(curriculum_order(scores, order="random", key=jax.random.key(i)).tolist()) for i in range(20)
    }
    assert len(draws) > 5
    assert all(sorted(draw) == [0, 1, 2, 3] for draw in draws)


@pytest.mark.parametrize("order", ORDERS)
def test_masked_examples_come_last(order):
    scores = np.array([[np.nan, 0.2, 0.1, 5.0], [1.0, 2.0, 3.0, 4.0]], np.float32)
    where = np.array([[0, 1, 1, 0], [1, 1, 1, 1]])
    found = np.asarray(curriculum_order(scores, order=order, key=jax.random.key(0), where=where))
    assert set(found[0, :2]) == {1, 2}
    assert sorted(found[0]) == [0, 1, 2, 3]
    assert sorted(found[1]) == [0, 1, 2, 3]
    if order != "random":
        assert found[0, :2].tolist() == ([2, 1] if order == "easy_first" else [1, 2])


def test_faults():
    with pytest.raises(InputError, match="order must be one of"):
        curriculum_order(np.zeros(3), order="sideways")
    with pytest.raises(InputError, match="needs a key"):
        curriculum_order(np.zeros(3), order="random")
    with pytest.raises(InputError, match="difficulty holds NaN"):
        curriculum_order(np.array([np.nan, 1.0]))
    with pytest.raises(InputError, match="got a scalar"):
        curriculum_order(np.float32(1))

"""The bandit: the authors' values and probabilities, a best arm that is known, masks and extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core.check import InputError
from jaxlab.curriculum import (
    arm_log_probs,
    arm_rewards,
    greedy_arm_log_probs,
    proportional_arm_log_probs,
    update_arms,
)

GOLDEN_FILE = "sec.npz"


@pytest.mark.parametrize(("rate", "temperature"), [(0.5, 1.0), (0.5, 0.4), (0.1, 1.0)])
def test_the_authors_values(rate, temperature, golden):
    """Six batches; the authors number arms from 1, and let those that were not drawn decay."""
    rewards = (np.abs(golden["in_adv"]) * golden["in_mask"]).sum(-1) / golden["in_mask"].sum(-1)
    values = jnp.zeros(4)
    name = f"lr{rate}_t{temperature}"
    for step in range(7):
        np.testing.assert_allclose(values, golden[f"out_q_{name}"][step], rtol=1e-5, atol=1e-7)
        probs = jnp.exp(arm_log_probs(values, temperature=temperature))
        np.testing.assert_allclose(probs, golden[f"out_prob_{name}"][step], rtol=1e-5)
        if step < 6:
            arms = (golden["in_arm"][step] - 1).astype(np.int32)
            values = update_arms(values, rewards[step], arms, rate=rate, decay_unsampled=True)


def test_the_best_arm_is_found_and_found_again_when_it_changes():
    means = jnp.array([[0.1, 0.9, 0.3], [0.9, 0.1, 0.3]])

    def step(values, x):
        key, best = x
        arm_key, reward_key = jax.random.split(key)
        arms = jax.random.categorical(arm_key, arm_log_probs(values, temperature=0.15), shape=(8,))
        rewards = means[best][arms] + 0.1 * jax.random.normal(reward_key, (8,))
        values = update_arms(values, rewards, arms, rate=0.3)
        return values, arms

    keys = jax.random.split(jax.random.key(0), 400)
    _, arms = jax.lax.scan(step, jnp.zeros(3), (keys, (jnp.arange(400) >= 200).astype(jnp.int32)))
    assert (np.asarray(arms[100:200]) == 1).mean() > 0.8
    assert (np.asarray(arms[300:]) == 0).mean() > 0.8


def test_by_hand():
    values = np.array([1.0, 2.0, 3.0], np.float32)
    rewards, arms = np.array([0.0, 4.0, 9.0], np.float32), np.array([0, 0, 2], np.int32)
    np.testing.assert_allclose(update_arms(values, rewards, arms, rate=0.5), [1.5, 2.0, 6.0])
    np.testing.assert_allclose(
        update_arms(values, rewards, arms, rate=0.5, decay_unsampled=True), [1.5, 1.0, 6.0]
    )
    mean, count = arm_rewards(rewards, np.array([0, -1, 2], np.int32), num_arms=3, where=np.array([1, 1, 0]))
    assert mean.tolist() == [0.0, 0.0, 0.0]
    assert count.tolist() == [1, 0, 0]


def test_other_ways_to_draw():
    values, where = np.float32([0.5, 0.5, -0.2, np.nan]), np.array([1, 1, 1, 0])
    greedy = jax.jit(lambda epsilon: jnp.exp(greedy_arm_log_probs(values, epsilon=epsilon, where=where)))
    np.testing.assert_allclose(greedy(0.1), [0.9, 0.05, 0.05, 0], rtol=1e-5)
    np.testing.assert_allclose(greedy(0.0), [1, 0, 0, 0], atol=1e-29)
    np.testing.assert_allclose(jnp.exp(greedy_arm_log_probs(values[:1])), [1.0])  # there is no other
    share = jnp.exp(proportional_arm_log_probs(values, where=where))
    np.testing.assert_allclose(share, np.array([0.5, 0.5, 0.01, 0]) / 1.01, rtol=1e-5)


def test_a_masked_draw_is_a_dropped_one():
    values = np.zeros(3, np.float32)
    rewards, arms = np.array([1.0, np.nan, 2.0], np.float32), np.array([0, 1, 1], np.int32)
    where = np.array([1, 0, 1])
    masked = update_arms(values, rewards, arms, where=where)
    np.testing.assert_array_equal(masked, update_arms(values, rewards[[0, 2]], arms[[0, 2]]))
    assert np.isnan(update_arms(values, rewards, arms)[1])


def test_temperature_and_extremes():
    values = np.array([1e4, -1e4, 0.0], np.float32)
    for temperature in (1e-30, 1.0, 1e30):
        probs = jnp.exp(arm_log_probs(values, temperature=temperature))
        np.testing.assert_allclose(probs.sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(jnp.exp(arm_log_probs(values, temperature=1e30)), 1 / 3, rtol=1e-6)
    none = arm_log_probs(values, where=np.zeros(3))
    assert np.isfinite(none).all()
    shifted = arm_log_probs(np.array([1.0, 2.0]) + 100, temperature=0.5)
    np.testing.assert_allclose(shifted, arm_log_probs(np.array([1.0, 2.0]), temperature=0.5), rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: arm_log_probs(np.zeros(2), temperature=0.0), "temperature must be positive"),
        (lambda: update_arms(np.zeros(2), np.zeros(1), np.array([2])), r"arms must be in \[0, 2\)"),
        (lambda: update_arms(np.zeros(2), np.zeros(2), np.array([0])), r"must both be \[N\]"),
        (lambda: update_arms(np.zeros(2), np.zeros(1), np.array([0]), rate=2.0), r"rate must be in \[0, 1\]"),
        (lambda: arm_rewards(np.zeros(1), np.array([0]), num_arms=0), "num_arms must be at least 1"),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()

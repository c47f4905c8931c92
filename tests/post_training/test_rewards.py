import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import post_training as p


def test_the_penalty_stops_at_the_limit():
    lengths = jnp.array([0, 80, 85, 100, 1000])
    penalty = p.overlong_penalty(lengths, max_length=100, buffer=20, factor=2.0)
    np.testing.assert_allclose(penalty, [0, 0, -0.5, -2, -2])


def test_groups_that_are_all_right_or_all_wrong_are_left_out():
    rewards = jnp.array([1.0, 1, 0, 0, 1, 0, 0.1, 0.1, 0.1])
    group = jnp.array([7, 7, 1, 1, 2, 2, 3, 3, 3])
    np.testing.assert_array_equal(p.dynamic_sampling_weights(rewards, group), [0, 0, 0, 0, 1, 1, 0, 0, 0])
    where = jnp.array([1, 0, 1, 1, 1, 1, 1, 0, 1])
    rescaled = p.dynamic_sampling_weights(rewards, group, rescale=True, where=where)
    np.testing.assert_allclose(rescaled, [0, 0, 0, 0, 3.5, 3.5, 0, 0, 0])  # 7 valid, 2 kept
    nothing = p.dynamic_sampling_weights(rewards, group, rescale=True, where=rewards == 1)
    np.testing.assert_array_equal(nothing, np.zeros(9))
    seen = p.dynamic_sampling_weights(rewards.at[0].set(jnp.nan), group)
    np.testing.assert_array_equal(np.isnan(seen), group == 7)


def test_a_penalty_in_the_reward_is_data():
    log_probs, ref = jnp.array([[-1.0, -2.0, jnp.nan]]), jnp.array([[-3.0, -1.0, 0.0]])
    rewards, mask = jnp.array([[0.0, 1.0, jnp.nan]]), jnp.array([[1, 1, 0]])
    penalised = lambda log_probs: p.kl_in_reward(rewards, log_probs, ref, beta=0.5, where=mask)
    np.testing.assert_allclose(penalised(log_probs), [[-1.0, 1.5, 0.0]])  # d = 2 and -1
    np.testing.assert_array_equal(jax.grad(lambda x: penalised(x).sum())(log_probs), np.zeros((1, 3)))


@pytest.mark.parametrize("k", [1, 3, 50])
def test_pass_at_k_is_exact_for_many_and_for_few(k):
    n, c = (np.array(x) for x in ([50, 50, 50, 2000, 2000, 10**6], [0, 1, 50, 1, 1990, 2]))
    wanted = [1 - math.comb(a - b, k) / math.comb(a, k) for a, b in zip(n.tolist(), c.tolist())]
    np.testing.assert_allclose(p.pass_at_k(n, c, k), wanted, rtol=3e-5, atol=1e-12)


def test_pass_at_k_broadcasts_and_cannot_tell_from_too_few():
    np.testing.assert_allclose(
        p.pass_at_k(4, jnp.array([[0, 1], [2, 4]]), 1), [[0, 0.25], [0.5, 1]], rtol=1e-6
    )
    np.testing.assert_array_equal(p.pass_at_k(jnp.array([0, 1, 2]), jnp.array([0, 1, 2]), 2), [0, 0, 1])


def test_mean_at_n():
    correct = jnp.array([[True, False, True, True], [False, False, True, True]])
    np.testing.assert_array_equal(p.avg_at_n(correct), [0.75, 0.5])
    np.testing.assert_array_equal(
        p.avg_at_n(correct, where=jnp.array([[1, 1, 0, 0], [0, 0, 0, 0]])), [0.5, 0]
    )

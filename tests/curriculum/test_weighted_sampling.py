"""Gumbel top-k: the law of sequential draws, masks, and what cannot be drawn."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import MASKED_LOGIT
from jaxlab.core.check import InputError
from jaxlab.curriculum import gumbel_top_k

PROBS = np.array([0.5, 0.3, 0.15, 0.05])


def test_the_law_of_draws_one_after_another():
    draws = jax.vmap(lambda key: gumbel_top_k(key, np.log(PROBS), 2)[0])(
        jax.random.split(jax.random.key(0), 20_000)
    )
    for first, second in itertools.permutations(range(4), 2):
        expected = PROBS[first] * PROBS[second] / (1 - PROBS[first])
        found = np.mean((draws[:, 0] == first) & (draws[:, 1] == second))
        assert abs(found - expected) < 5 * np.sqrt(expected / 20_000)


def test_no_example_twice_and_a_smaller_draw_is_its_beginning():
    key = jax.random.key(3)
    whole, valid = gumbel_top_k(key, np.zeros((3, 10), np.float32), 10)
    assert valid.all()
    assert all(sorted(row) == list(range(10)) for row in np.asarray(whole).tolist())
    np.testing.assert_array_equal(gumbel_top_k(key, np.zeros((3, 10), np.float32), 4)[0], whole[:, :4])
    jitted = jax.jit(gumbel_top_k, static_argnums=2)(key, np.zeros((3, 10), np.float32), 4)[0]
    np.testing.assert_array_equal(jitted, whole[:, :4])


@pytest.mark.parametrize("absent", [np.nan, np.inf, 1e4])
def test_what_is_masked_is_never_drawn(absent):
    log_probs = np.array([absent, 0.0, -np.inf, -1e4, MASKED_LOGIT], np.float32)
    for seed in range(20):
        index, valid = gumbel_top_k(jax.random.key(seed), log_probs, 4, where=np.array([0, 1, 1, 1, 1]))
        assert index[:2].tolist() == [1, 3]
        assert valid.tolist() == [True, True, False, False]


def test_nothing_to_draw():
    assert not gumbel_top_k(jax.random.key(0), jnp.zeros(3), 3, where=np.zeros(3))[1].any()
    assert gumbel_top_k(jax.random.key(0), jnp.zeros(3), 0)[0].shape == (0,)


def test_faults():
    with pytest.raises(InputError, match="k must be in"):
        gumbel_top_k(jax.random.key(0), jnp.zeros(3), 4)
    with pytest.raises(InputError, match="log_probs holds NaN"):
        gumbel_top_k(jax.random.key(0), jnp.array([0.0, jnp.nan]), 1)

"""LARS and its schedule: the authors' numbers, and what they leave alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlab.self_supervised import lars
from tests.self_supervised.test_barlow_twins import GOLDEN

NAMES = ("w", "b", "zero")  # a matrix, a vector, and a matrix of norm 0


def _run(optimizer, steps=3):
    """Parameters after each step on the stored gradients."""
    params = {name: np.float32(GOLDEN[f"in_p_{name}"]) for name in NAMES}
    gradients = {name: np.float32(GOLDEN[f"in_g_{name}"][:steps]) for name in NAMES}

    def step(carry, gradient):
        params, state = carry
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    return jax.jit(lambda: jax.lax.scan(step, (params, optimizer.init(params)), gradients)[1])()


def test_the_authors_steps():
    after = _run(lars(0.2, vector_learning_rate=0.0048, weight_decay=1e-2))
    for name in NAMES:
        np.testing.assert_allclose(after[name], GOLDEN[f"out_lars_{name}"], rtol=1e-5, atol=1e-7)


def test_the_schedule_of_optax_is_the_authors():
    base, warm_up, total = 2048 / 256, 100, 1000
    schedule = optax.warmup_cosine_decay_schedule(0.0, base, warm_up, total, end_value=1e-3 * base)
    rates = np.array([[0.2, 0.0048]]) * np.array([[schedule(step)] for step in GOLDEN["in_sched_steps"]])
    np.testing.assert_allclose(rates, GOLDEN["out_sched_lr"], rtol=1e-4, atol=1e-9)


def test_the_rate_comes_after_the_momentum():
    """A rate that falls to 0 stops at once; in `optax.lars` the momentum goes on."""
    falling = lambda step: jnp.where(step < 1, 0.2, 0.0)
    own, other = _run(lars(falling)), _run(optax.lars(falling, trust_coefficient=1e-3, momentum=0.9))
    np.testing.assert_array_equal(own["w"][2], own["w"][0])
    assert np.abs(other["w"][2] - other["w"][0]).max() > 1e-6


def test_decay_and_the_layers_own_rate_are_for_matrices():
    plain, decayed = (
        _run(lars(0.1, weight_decay=decay, trust_coefficient=trust)) for decay, trust in ((0, 1), (9, 5))
    )
    np.testing.assert_array_equal(plain["b"], decayed["b"])
    assert np.abs(plain["w"] - decayed["w"]).max() > 1e-3
    # Vectors take plain momentum.
    momentum = _run(optax.sgd(0.1, momentum=0.9))
    np.testing.assert_allclose(plain["b"], momentum["b"], rtol=1e-6)


def test_the_rate_may_be_traced():
    params, gradient = {"w": jnp.ones((2, 2))}, {"w": jnp.full((2, 2), 0.5)}

    def moved(rate):
        optimizer = lars(rate, weight_decay=0.0, trust_coefficient=1.0)
        return optimizer.update(gradient, optimizer.init(params), params)[0]["w"]

    # |p| / |g| is 2.
    np.testing.assert_allclose(
        jax.jit(jax.vmap(moved))(jnp.array([0.1, 0.2]))[:, 0, 0], [-0.1, -0.2], rtol=1e-6
    )

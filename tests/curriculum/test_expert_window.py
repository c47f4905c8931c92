"""The window moves as the authors' does, to the end of the box and no further."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core.check import InputError
from jaxlab.curriculum import expert_window as ew

GOLDEN_FILE = "alp_gmm.npz"


@functools.partial(jax.jit, static_argnames="every")
def moved(window, rewards, every=50):
    """The corner after each episode."""

    def step(window, reward):
        window = ew.record(window, reward, every=every)
        return window, window.corner

    return jax.lax.scan(step, window, rewards)[1]


def test_the_authors_window(golden):
    """Stumps up to 3 high and up to 6 apart: higher and closer is harder."""
    window = ew.init(jnp.zeros(2), jnp.array([3.0, 6.0]), jnp.array([0.1, -0.2]))
    assert isinstance(window, ew.Window)
    np.testing.assert_allclose(window.side, golden["out_oracle_range"], rtol=1e-6)
    corners = moved(window, golden["in_oracle_rewards"].astype(np.float32))
    np.testing.assert_allclose(window.corner, golden["out_oracle_pos"][0])
    np.testing.assert_allclose(corners[49::50], golden["out_oracle_pos"][1:], rtol=1e-5)
    np.testing.assert_array_equal(corners[50:99], np.repeat(corners[49:50], 49, 0))


def test_it_stays_in_the_box_and_tasks_stay_in_it():
    window = ew.init(jnp.zeros(2), jnp.ones(2), jnp.array([0.3, -0.3]))
    corners = np.asarray(moved(window, jnp.full(9, 231.0), every=1))
    np.testing.assert_allclose(corners[-1], [5 / 6, 0], rtol=1e-6)
    np.testing.assert_array_equal(moved(window, jnp.full(9, 230.0), every=1), np.tile(window.corner, (9, 1)))
    tasks = np.asarray(jax.vmap(lambda key: ew.propose(window, key))(jax.random.split(jax.random.key(0), 99)))
    assert ((tasks >= window.corner) & (tasks <= window.corner + window.side + 1e-6)).all()
    assert (np.ptp(tasks, axis=0) > 0.15).all()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: ew.init(np.zeros(2), np.ones(2), np.ones(1)), "of one box"),
        (lambda: ew.init(np.ones(1), np.zeros(1), np.ones(1)), "low must be at most high"),
        (lambda: ew.init(np.zeros(1), np.ones(1), np.ones(1), share=2.0), "share must be in"),
        (
            lambda: ew.record(ew.init(np.zeros(1), np.ones(1), np.ones(1)), 0.0, every=0),
            "every must be positive",
        ),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()

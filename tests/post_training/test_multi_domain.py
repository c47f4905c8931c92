"""Rewards by blanks and by grids as the authors' verifiers give them, stages, and what a refresh keeps."""

import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import post_training as pt
from jaxlab.core import InputError
from jaxlab.post_training import multi_domain as md

G = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "multi_domain_rl.npz"))


def test_the_authors_advantages():
    advantage = jax.jit(pt.grpo_advantage)(G["in_group_reward"], G["in_group"])
    np.testing.assert_allclose(advantage[:, None] * G["in_mask"], G["out_adv"], rtol=1e-4, atol=1e-6)


def test_the_authors_grids():
    """Names Ann 0, Bob 1, Cy 2, another 9; pets cat 0, dog 1, eel 2. Of the last answers one or no row is there."""
    truth = np.array([[0, 0], [1, 1], [2, 2]])
    answers = np.array(
        [
            truth,
            [[0, 1], [1, 0], [2, 2]],
            [[1, 1], [0, 0], [2, 2]],
            truth,
            [[9, 0], [1, 1], [2, 2]],
            truth,
            truth,
        ]
    )
    there = np.ones((7, 3), bool)
    there[3:] = False
    there[4, 0] = True
    found = jax.jit(md.grid_reward)(answers, np.broadcast_to(truth, answers.shape), where=there)
    np.testing.assert_allclose(found, G["out_zebra"], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 0, 0, 0]),
        ({"style": "partial"}, [1, 0.5, 0, 0]),
        ({"style": "signed"}, [1, -1, -1, -1]),
        ({"style": "signed", "partial": True}, [1, 0, -1, -1]),
        ({"style": "formatted", "well_formed": np.array([1, 0, 1, 1])}, [2, 0, 1, 1]),
        ({"style": "formatted", "partial": True, "well_formed": np.array([1, 1, 0, 1])}, [2, 1.5, 0, 1]),
    ],
)
def test_the_four_styles(options, expected):
    right = np.array([[1, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 1]])
    where = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(md.blanks_reward(right, where=where, **options), expected)


def test_transfer_is_a_difference():
    found = md.transfer_matrix(np.float32([[0.8, 0.1], [0.5, 0.6], [0.7, 0.7]]), np.float32([0.5, 0.3]))
    np.testing.assert_allclose(found, [[0.3, -0.2], [0, 0.3], [0.2, 0.4]], atol=1e-6)


def test_stages_follow_each_other_and_a_refresh_forgets_the_optimizer():
    assert jax.vmap(lambda s: md.stage(s, steps_each=2, stages=3))(jnp.arange(8)).tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
        2,
        2,
    ]
    optimizer = optax.adam(0.1)
    params = {"w": jnp.ones(2)}
    used = optimizer.update(params, optimizer.init(params), params)[1]
    memory = {"reference": {"w": jnp.zeros(2)}, "other": jnp.ones(1)}
    state = pt.PolicyState(params, used, jnp.int32(5), jnp.float32(0.5), memory)
    after = md.policy_refresh(state, optimizer)
    chex.assert_trees_all_equal(after.opt_state, optimizer.init(params))
    np.testing.assert_array_equal(after.memory["reference"]["w"], 1)
    assert (after.step, after.memory["other"]) == (5, 1)
    assert md.policy_refresh(state._replace(memory=()), optimizer).memory == ()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: md.blanks_reward(jnp.ones(2), style="R1"), "style must be one of"),
        (lambda: md.blanks_reward(jnp.ones(2), well_formed=1.0), "well_formed belongs to style 'formatted'"),
        (lambda: md.grid_reward(jnp.zeros((2, 2), int), jnp.zeros((2, 3), int)), "must have one shape"),
        (lambda: md.transfer_matrix(jnp.ones((2, 3)), jnp.ones(2)), r"must be \[D, E\] and \[E\]"),
        (lambda: md.stage(0, steps_each=0, stages=1), "steps_each is 0"),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()

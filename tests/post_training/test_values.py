"""Values that cannot be: groups with any numbers, masks that are none, swapped arguments."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import post_training as p
from jaxlab.core import MasterWeightsState, debug_checks
from jaxlab.language import Decoder
from jaxlab.post_training import kdrl
from jaxlab.post_training._policy_step import Rollouts, improve

REWARDS = np.array([1.0, 0.0, 3.0, 5.0], np.float32)
VALUES = np.array([[0.5, 2.0, 0.3], [1.5, 0.2, 0.1]], np.float32)
MASK = np.array([[1, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    "group",
    [
        [812, 812, 9003, 9003],
        [-5, -5, 7, 7],
        [2**40, 2**40, 2**40 + 2**32, 2**40 + 2**32],  # alike in their lower 32 bits
        np.array([255, 255, 0, 0], np.uint8),
        np.array([1, 1, 2, 2]),
    ],
)
def test_groups_may_have_any_numbers(group):
    usual = np.array([0, 0, 1, 1])
    for advantage in (p.grpo_advantage, p.rloo_advantage, p.gpg_advantage, p.pass_at_k_advantage):
        np.testing.assert_array_equal(advantage(REWARDS, np.asarray(group)), advantage(REWARDS, usual))
        np.testing.assert_array_equal(advantage(REWARDS.tolist(), list(group)), advantage(REWARDS, usual))
    assert p.group_statistics(REWARDS, np.asarray(group)).size.tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    "group", [[812, 812, 9003, 9003], [-5, -5, 7, 7], [2**31 - 1, 2**31 - 1, -(2**31), -(2**31)]]
)
def test_traced_groups_too(group):
    traced = jax.jit(p.grpo_advantage)(REWARDS, np.array(group, np.int32))
    np.testing.assert_allclose(traced, p.grpo_advantage(REWARDS, np.array([0, 0, 1, 1])), rtol=1e-6)


def test_a_number_is_one_prompt_on_all_devices(on_four_devices):
    group = np.array([700, -3, 700, 12, -3, 700, 12, 12], np.int32)
    rewards = np.arange(8.0, dtype=np.float32) ** 2

    def update(state, batch):
        advantage = p.grpo_advantage(batch["rewards"], batch["group"], where=batch["where"], axis_name="data")
        return state + jax.lax.psum(jnp.sum(advantage * batch["rewards"]), "data")

    batch = {"rewards": rewards, "group": group, "where": np.arange(8) != 5}
    expected = jnp.sum(p.grpo_advantage(rewards, group, where=batch["where"]) * rewards)
    np.testing.assert_allclose(on_four_devices(update, jnp.zeros(()), batch), expected, rtol=1e-5)


def test_a_row_left_out_is_left_out_by_its_mask():
    advantage = p.grpo_advantage(REWARDS, np.array([7, 7, 7, 7]), where=[1, 1, 0, 0])
    np.testing.assert_allclose(advantage, [2**-0.5, -(2**-0.5), 0, 0], rtol=1e-4)


def test_values_and_mask_swapped():
    for mode in ("token-mean", "seq-mean-token-mean"):
        line = "^mask must be bool or hold 0 and 1, got 0.5: it is a mask, not weights or values$"
        with pytest.raises(ValueError, match=line):
            p.aggregate(MASK.astype(np.float32), VALUES, mode=mode)
        with pytest.raises(
            ValueError, match="^values are booleans: the losses come first and the mask second$"
        ):
            p.aggregate(MASK.astype(bool), VALUES, mode=mode)
    with pytest.raises(ValueError, match="values are booleans"):
        jax.jit(p.aggregate)(MASK.astype(bool), VALUES)
    with debug_checks(), pytest.raises(jax.errors.JaxRuntimeError, match="mask must be bool"):
        jax.block_until_ready(jax.jit(p.aggregate)(MASK.astype(np.float32), VALUES))
    np.testing.assert_allclose(p.aggregate(VALUES.tolist(), MASK.tolist()), (0.5 + 2.0 + 1.5) / 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: p.grpo_advantage(REWARDS, np.array([0.0, 0, 1, 1])),
            "group must be integers, one number per prompt",
        ),
        (
            lambda: p.grpo_advantage(REWARDS, ["a", "a", "b", "b"]),
            "group must be integers, one number per prompt",
        ),
        (lambda: p.whiten(VALUES, 0.5 * MASK), "mask must be bool or hold 0 and 1"),
        (lambda: p.returns_to_go(VALUES, 2 * MASK), "mask must be bool or hold 0 and 1"),
        (lambda: p.top_entropy_mask(np.array([[np.nan, 1.0]]), np.ones((1, 2))), "entropy holds NaN"),
        (lambda: p.top_entropy_mask(VALUES, MASK, fraction=20), r"fraction must be in \[0, 1\], got 20"),
        (
            lambda: kdrl.kd_keep_mask(np.array([0.7, 0, 1, 1]), np.array([0, 0, 1, 1])),
            "correct must be bool",
        ),
        (lambda: p.pass_at_k(4, 5, 2), r"num_correct must be in \[0, num_samples\], got num_correct 5"),
        (
            lambda: p.ppo_clip_loss(VALUES, REWARDS[:2], clip_high=np.float32(-0.1)),
            "clip_high must be at least 0",
        ),
        (
            lambda: p.overlong_penalty(VALUES, max_length=10, buffer=20),
            r"buffer must be in \(0, max_length\]",
        ),
    ],
)
def test_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as info:
        call()
    assert "\n" not in str(info.value)


def test_a_nan_ratio_is_no_share():
    ratio = np.array([[1.0, np.nan, 2.0]], np.float32)
    for share in (p.clip_fraction, p.dual_clip_fraction):
        assert np.isnan(share(ratio, np.array([-1.0])))
        assert np.isfinite(share(ratio, np.array([-1.0]), where=[[1, 0, 1]]))
        assert np.isnan(share(np.ones((1, 2)), np.array([np.nan])))


def test_numpy_numbers_and_traced_ones_are_options_too():
    np.testing.assert_allclose(p.pass_at_k(4, 1, np.int64(2)), 0.5, rtol=1e-6)
    traced = jax.jit(lambda n: p.overlong_penalty(np.array([70, 90, 100]), max_length=n, buffer=20))(100.0)
    np.testing.assert_allclose(traced, [0, -0.5, -1], atol=1e-6)


def _policy_after(optimizer, dtype, steps=1000):
    """A policy of four numbers whose loss is minus their sum, as the learners train it."""
    params = {"w": jnp.full((4,), 0.02, dtype)}
    one = jnp.zeros((1, 1))
    rollouts = Rollouts(
        one, one > -1, one, one > -1, one, one, jnp.ones(1), jnp.zeros(1, jnp.int32), jnp.int32(0), one > -1
    )
    options = {
        "score": lambda params, r: params["w"].sum()[None, None].astype(jnp.float32),
        "seen": {"reward": jnp.float32(1)},
        "loss": lambda log_probs, r, a: (-log_probs.sum(), {}),
        "optimizer": optimizer,
        "minibatches": 1,
        "passes": 1,
    }
    state = p.PolicyState(params, optimizer.init(params), jnp.int32(0), jnp.float32(0))
    step = lambda state, key: improve(state, rollouts, rollouts.rewards, key, **options)
    keys = jax.random.split(jax.random.key(0), steps)
    return jax.jit(lambda state: jax.lax.scan(step, state, keys)[0])(state)


@functools.cache
def _learner(dtype):
    """The learner of the GRPO paper's recipe: Adam at 1e-6 on parameters of this type."""
    model = Decoder(vocab_size=6, width=8, num_layers=1, num_heads=2, mlp_width=8)
    return p.rlvr_learner(
        model, policy=lambda context: model.init(jax.random.key(0), dtype=dtype),
        verify=lambda problems, tokens, mask: tokens[:, 0] == 4, advantage=lambda r: r.rewards - 0.2,
        loss=lambda log_probs, r, a: (p.aggregate(p.gpg_loss(log_probs, a), r.mask), {}),
        optimizer=optax.adam(1e-6), group_size=4, max_new_tokens=1, eos=2,
    )  # fmt: skip


def test_a_policy_in_bfloat16_learns_at_a_millionth():
    state = _learner(jnp.bfloat16).init(jax.random.key(0), {})
    assert isinstance(state.opt_state, MasterWeightsState)
    floats = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim]
    assert {leaf.dtype for leaf in floats} == {jnp.dtype("float32")}
    problems = p.TextProblems(jnp.array([[3, 4]]), jnp.ones((1, 2), bool), jnp.zeros(1, jnp.int32))
    step = lambda state, key: _learner(jnp.bfloat16).update(state, problems, key, {})
    after, _ = jax.jit(lambda s: jax.lax.scan(step, s, jax.random.split(jax.random.key(1), 20)))(state)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after.opt_state.weights, state.opt_state.weights)
    assert 1e-5 < np.max(jax.tree.leaves(moved)) < 3e-5  # twenty steps of about 1e-6
    rounded = jax.tree.map(lambda w: w.astype(jnp.bfloat16), after.opt_state.weights)
    chex.assert_trees_all_equal(after.params, rounded)
    assert not isinstance(_learner(jnp.float32).init(jax.random.key(0), {}).opt_state, MasterWeightsState)


def test_a_thousand_steps_of_a_millionth_move_a_policy_in_bfloat16():
    from jaxlab.core import master_weights

    start = float(jnp.bfloat16(0.02))
    state = _policy_after(master_weights(optax.adam(1e-6)), jnp.bfloat16)
    np.testing.assert_allclose(state.opt_state.weights["w"], start + 1e-3, atol=2e-5)
    np.testing.assert_allclose(
        np.asarray(state.params["w"], np.float32), start + 1e-3, atol=6.2e-5
    )  # half a step

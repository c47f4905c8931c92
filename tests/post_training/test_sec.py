"""The curriculum's values are the authors', it seeks problems that are half solved, and pools are used up evenly."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import post_training as pt
from jaxlab.core import InputError
from jaxlab.post_training import sec

G = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "sec.npz"))


@pytest.mark.parametrize("rate", [0.5, 0.1])
def test_the_authors_values_from_advantages_per_token(rate):
    values = jnp.zeros(4)
    for step in range(6):
        values = sec.learn_values(
            values, G["in_adv"][step], (G["in_arm"][step] - 1).astype(np.int32), rate=rate, decay_unsampled=True,
            where=G["in_mask"][step],
        )  # fmt: skip
        np.testing.assert_allclose(values, G[f"out_q_lr{rate}_t1.0"][step + 1], rtol=1e-5, atol=1e-7)


def test_the_authors_advantages():
    rewards, group = G["in_grpo_rewards"].sum(-1), G["in_grpo_group"]
    alike = lambda x: np.broadcast_to(np.asarray(x)[:, None], (16, 3))
    np.testing.assert_allclose(
        alike(jax.jit(pt.grpo_advantage)(rewards, group)), G["out_grpo_adv"], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        alike(jax.jit(pt.dr_grpo_advantage)(rewards, group)), G["out_grpo_adv_unnorm"], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("decay", [False, True])
def test_progress_by_hand(decay):
    """Arm 0 grows from 0 to 1/2, then falls by 1/4; arm 1 is drawn once; arm 2 never."""
    values, last, learn = (
        jnp.zeros(3),
        jnp.zeros(3),
        jax.jit(sec.learn_progress, static_argnames="decay_unsampled"),
    )
    for rewards, arms in (([1.0, 0.0, 1.0], [0, 0, 1]), ([0.5, 0.0, 9.0], [0, 0, 2])):
        where = np.array([1, 1, arms[2] == 1])
        values, last = learn(
            values, last, np.float32(rewards), np.array(arms), where=where, decay_unsampled=decay
        )
    np.testing.assert_allclose(last, [0.25, 1, 0])
    np.testing.assert_allclose(values, [0.5 * 0.25 - 0.5 * 0.25, 0.25 if decay else 0.5, 0])


@pytest.mark.parametrize("solved", [1, 4, 7])
def test_an_arm_is_paid_for_being_half_solved(solved):
    rewards = jnp.arange(8) < solved
    advantage = pt.grpo_advantage(rewards, jnp.zeros(8, int), ddof=0, eps=0.0)
    p = solved / 8
    paid = sec.learn_values(jnp.zeros(1), advantage, jnp.zeros(8, int), rate=1.0)
    np.testing.assert_allclose(paid, [2 * np.sqrt(p * (1 - p))], rtol=1e-5)


def test_it_follows_a_learner_to_harder_problems():
    """Success is a logistic curve over five levels that moves up: the level drawn most is the one half solved."""

    def step(values, x):
        key, skill = x
        arm_key, answer_key = jax.random.split(key)
        arms = sec.choose_arms(arm_key, values, 32, temperature=0.1)
        rate = jax.nn.sigmoid(3 * (skill - jnp.repeat(arms, 8)))
        rewards = jax.random.uniform(answer_key, (256,)) < rate
        advantage = pt.grpo_advantage(rewards, jnp.repeat(jnp.arange(32), 8))
        return sec.learn_values(values, advantage, jnp.repeat(arms, 8), rate=0.3), arms

    keys, skill = jax.random.split(jax.random.key(0), 120), jnp.repeat(jnp.array([0.0, 2.0, 4.0]), 40)
    _, arms = jax.jit(lambda: jax.lax.scan(step, jnp.zeros(5), (keys, skill)))()
    for third in range(3):
        drawn = np.bincount(np.asarray(arms[40 * third + 20 : 40 * third + 40]).ravel(), minlength=5)
        assert drawn.argmax() == 2 * third


def test_a_pool_is_used_up_before_it_begins_anew():
    arms = jnp.array([0, 1, 0, 0, 1])
    draw = jax.jit(lambda taken: sec.draw_from_pools(jax.random.key(3), taken, arms, size=6))
    taken, seen = jnp.zeros(3, jnp.int32), {0: [], 1: []}
    for _ in range(6):
        index, taken = draw(taken)
        for arm, row in zip(arms.tolist(), index.tolist()):
            seen[arm].append(row)
    assert taken.tolist() == [18, 12, 0]
    passes = np.array(seen[0]).reshape(3, 6)
    assert (np.sort(passes) == np.arange(6)).all()
    assert (passes[0] != passes[1]).any()
    assert (np.sort(np.array(seen[1]).reshape(2, 6)) == np.arange(6)).all()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: sec.choose_arms(jax.random.key(0), jnp.zeros(2), 1, temperature=0.0), "temperature must be"),
        (lambda: sec.learn_values(jnp.zeros(2), jnp.zeros(()), jnp.zeros(1, int)), r"\[B\] or \[B, T\]"),
        (
            lambda: sec.draw_from_pools(jax.random.key(0), jnp.zeros(2, int), np.array([2]), size=3),
            r"\[0, 2\)",
        ),
    ],
)
def test_faults(call, line):
    with pytest.raises(InputError, match=line):
        call()

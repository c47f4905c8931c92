"""Losses and advantages that came after GRPO's family, against TRL's numbers and by hand.

`post_training_corrections.npz` was made by TRL 1.16.0 itself, through `trl_code.py`: its trainer's loss under each
`loss_type` with the defaults of its config (and `epsilon_high=0.28` for "luspo"), its advantages under
"normalize_then_sum", and the coefficient of its bonus for entropy over seven steps.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import post_training as p
from tests.post_training.test_off_policy import ADVANTAGE, GOLDEN, IN, LOGP, MASK, OLD, SAMPLER

TRL_MEAN = {"mode": "seq-mean-token-mean", "count_empty": True}


def sapo(log_probs):
    ratio = p.token_importance_ratio(log_probs, OLD, where=MASK)
    return p.aggregate(p.sapo_loss(ratio, ADVANTAGE, where=MASK), MASK, **TRL_MEAN)


def luspo(log_probs):
    ratio = p.sequence_importance_ratio(log_probs, OLD, where=MASK)
    loss = p.ppo_clip_loss(ratio, ADVANTAGE, where=MASK, clip_high=0.28)
    return p.aggregate(loss, MASK, mode="seq-mean-token-sum", count_empty=True)


def vespo(log_probs, correction=None):
    return p.aggregate(p.vespo_loss(log_probs, OLD, ADVANTAGE, correction=correction, where=MASK), MASK)


def vespo_corrected(log_probs):
    return vespo(log_probs, p.truncated_importance_weight(OLD, SAMPLER, where=MASK))


@pytest.mark.parametrize("loss", [sapo, luspo, vespo, vespo_corrected], ids=lambda loss: loss.__name__)
def test_losses_are_those_of_trl(loss):
    value, gradient = jax.jit(jax.value_and_grad(loss))(LOGP)
    np.testing.assert_allclose(value, GOLDEN[f"out_{loss.__name__}"], rtol=1e-5)
    np.testing.assert_allclose(gradient, GOLDEN[f"grad_{loss.__name__}"], rtol=2e-5, atol=1e-8)


def test_gdpo_is_that_of_trl():
    advantage = p.gdpo_advantage(IN["rewards"], np.arange(8) // 4, weights=IN["reward_weights"])
    np.testing.assert_allclose(advantage, GOLDEN["out_gdpo"], rtol=1e-5, atol=1e-6)


def test_adaptive_entropy_is_that_of_trl():
    coefficient, applied = jnp.float32(0), []
    for entropy, wanted in zip(IN["entropy"], GOLDEN["out_entropy_coefficient"]):
        coefficient, next_applied = p.adaptive_entropy(coefficient, entropy, step=0.01, highest=0.025)
        applied.append(next_applied)
        np.testing.assert_allclose(coefficient, wanted, atol=1e-7)
    np.testing.assert_allclose(applied[:-1], GOLDEN["out_entropy_applied"][1:], atol=1e-7)


def test_maxrl_is_the_gradient_of_the_logarithm():
    # Solved 1 of 4 and 2 of 4: the good ones get 1/p - 1, the bad ones -1; nothing where none is solved.
    rewards = jnp.array([1.0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0])
    advantage = p.maxrl_advantage(rewards, np.arange(12) // 4)
    np.testing.assert_allclose(advantage, [3, -1, -1, -1, 1, 1, -1, -1, 0, 0, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(p.maxrl_advantage(-rewards, np.arange(12) // 4), np.zeros(12))


def test_gdpo_does_not_see_the_scale_of_a_reward():
    rewards, group = np.random.default_rng(0).normal(size=(8, 2)), np.arange(8) // 4
    plain = p.gdpo_advantage(rewards, group, eps=0.0)
    np.testing.assert_allclose(p.gdpo_advantage(rewards * [1, 100], group, eps=0.0), plain, rtol=1e-4)
    out = p.gdpo_advantage(
        np.where(np.arange(8)[:, None] == 7, np.nan, rewards), group, where=np.arange(8) < 7
    )
    assert out[7] == 0
    np.testing.assert_allclose([out[:7].mean(), out[:7].std(ddof=1)], [0, 1], atol=1e-3)


def test_a_mixture_of_teachers_is_a_teacher():
    logits = jax.random.normal(jax.random.key(0), (3, 2, 5))
    log_probs = jax.nn.log_softmax(logits)  # the whole vocabulary in the place of the tokens
    weights = jnp.array([1.0, 2.0, 0.0])
    mixed = p.mixture_log_probs(log_probs, weights=weights)
    np.testing.assert_allclose(np.exp(mixed).sum(-1), [1, 1], rtol=1e-5)
    wanted = np.log((np.exp(log_probs[0]) + 2 * np.exp(log_probs[1])) / 3)
    np.testing.assert_allclose(mixed, wanted, rtol=1e-5)
    each = jnp.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])  # another teacher for each response
    np.testing.assert_allclose(
        p.mixture_log_probs(log_probs, weights=each), [log_probs[0, 0], log_probs[2, 1]], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda: p.sapo_loss(LOGP, ADVANTAGE, temperature_negative=0.0),
            "temperature_negative must be positive",
        ),
        (
            lambda: p.vespo_loss(LOGP, OLD, ADVANTAGE, k_positive=-1.0),
            "k_positive must be at least 0, got -1.0",
        ),
        (
            lambda: p.vespo_loss(LOGP, OLD, ADVANTAGE, correction=ADVANTAGE),
            r"correction \(8,\) must have one shape",
        ),
        (lambda: p.gdpo_advantage(ADVANTAGE, np.arange(8)), r"rewards \(8,\) must be \[B, K\]"),
        (
            lambda: p.gdpo_advantage(IN["rewards"], np.arange(8), weights=np.ones(2)),
            r"weights \(2,\) must broadcast",
        ),
        (
            lambda: p.gdpo_advantage(IN["rewards"], np.arange(8), weights=-np.ones(3)),
            "weights must be at least 0",
        ),
        (
            lambda: p.adaptive_entropy(0.0, 0.1, lowest=2.0),
            "lowest must not be above highest, got lowest 2.0",
        ),
        (lambda: p.mixture_log_probs(LOGP, weights=np.ones(2)), r"weights \(2,\) must be \[K\] \(8,\)"),
        (lambda: p.mixture_log_probs(LOGP[0]), r"teacher_log_probs \(6,\) must be \[K, ..., T\]"),
    ],
)
def test_refused_in_one_line(call, line):
    with pytest.raises(ValueError, match=line):
        call()

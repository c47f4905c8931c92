"""On-policy it is GRPO, off-policy it fades where clipping cuts, and without wrong answers it is rejection sampling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import post_training as pt
from jaxlab.core import InputError
from jaxlab.post_training import nft

RNG = np.random.default_rng(0)
OLD = -np.abs(RNG.normal(size=(8, 3))).astype(np.float32)
MASK = np.arange(3) < np.array([3, 1, 2, 3, 2, 3, 0, 2])[:, None]
CORRECT, GROUP = np.array([1, 0, 0, 0, 1, 1, 0, 1]), np.repeat([0, 1], 4)


def _total(log_probs, advantage=None, **options):
    if advantage is not None:
        return jnp.sum(pt.gpg_loss(log_probs, advantage, where=MASK))
    rate = nft.correct_rate(CORRECT, GROUP)
    return jnp.sum(nft.nft_loss(log_probs, OLD, CORRECT, rate, where=MASK, **options))


@pytest.mark.parametrize("name", ["dr_grpo", "grpo"])
def test_on_policy_the_gradient_is_that_of_grpo(name):
    advantage = {
        "dr_grpo": pt.dr_grpo_advantage,
        "grpo": functools.partial(pt.grpo_advantage, ddof=0, eps=0.0),
    }[name]
    ours = jax.jit(jax.grad(functools.partial(_total, prompt_weight=name)))(OLD)
    theirs = jax.jit(jax.grad(lambda x: _total(x, advantage(jnp.float32(CORRECT), GROUP))))(OLD)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.abs(theirs).max() > 0.1


@pytest.mark.parametrize(("ratio", "floor"), [(0.5, 1.0), (1.5, 1.0), (3.0, 1.0), (1.5, 0.3), (3.0, 0.3)])
def test_off_policy_by_hand(ratio, floor):
    """The coefficient of a wrong token is r rho / max(1 - r rho, (1 - r) floor): it fades with rho, never cut."""
    r = 0.4
    loss = lambda x, right: nft.nft_loss(
        x, jnp.zeros((1, 1)), jnp.array([right]), jnp.array([r]), prompt_weight=None, floor=floor
    )[0, 0]
    graded = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    value, gradient = graded(jnp.log(jnp.full((1, 1), ratio)), False)
    implicit = max((1 - r * ratio) / (1 - r), floor)
    np.testing.assert_allclose(value, -np.log(implicit), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, [[r * ratio / (1 - r) / implicit]], rtol=1e-5)
    value, gradient = graded(jnp.log(jnp.full((1, 1), ratio)), True)
    np.testing.assert_allclose((value, gradient[0, 0]), (-np.log(ratio), -1), rtol=1e-5)


def test_whole_answers_by_hand():
    """Ratios 1/2 and 3 make 3/2: the implicit one is (1 - 0.4 * 1.5) / 0.6 = 2/3; its gradient is not cut off."""
    log_probs = np.log(np.array([[0.5, 3.0, 7.0], [0.5, 3.0, 7.0], [9.0, 9.0, 9.0]], np.float32))
    mask = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    loss = lambda x, **options: nft.nft_sequence_loss(
        x, jnp.zeros((3, 3)), np.array([1, 0, 0]), np.full(3, 0.4, np.float32), where=mask, **options
    )
    found, gradient = jax.jit(lambda x: (loss(x), jax.jacrev(lambda y: loss(y, floor=0.1).sum())(x)))(
        log_probs
    )
    np.testing.assert_allclose(found, [-np.log(1.5), 0, 0], atol=1e-6)
    np.testing.assert_allclose(gradient, mask * [[-1], [0.4 * 1.5 / 0.6 / (2 / 3)], [0]], rtol=1e-5)
    weighed = [loss(log_probs, floor=0.1, prompt_weight=name)[1] for name in nft.PROMPT_WEIGHTS]
    np.testing.assert_allclose(weighed, np.log(1.5) * np.array([1, 0.6, np.sqrt(1.5)]), rtol=1e-5)
    far = loss(np.where(mask, 30.0, np.nan))
    np.testing.assert_allclose(far, [-10, 0, 0], atol=1e-6)


def test_a_rate_of_certainty_is_held_off_and_right_answers_may_have_a_floor():
    log_probs = np.log(np.array([[0.5], [2.0]], np.float32))
    call = lambda rate, **options: nft.nft_loss(
        log_probs, jnp.zeros((2, 1)), np.array([1, 0]), np.float32(rate), prompt_weight="grpo", **options
    )
    np.testing.assert_array_equal(call([0, 1]), call([0.02, 0.98]))
    assert np.isfinite(call([1, 0])).all()
    floored = lambda x: nft.nft_loss(
        x, jnp.zeros((2, 1)), np.ones(2), np.full(2, 0.5), prompt_weight=None, positive_floor=0.8
    )[:, 0]
    np.testing.assert_allclose(floored(log_probs), -np.log([0.8, 2.0]), rtol=1e-6)
    slopes = jax.grad(lambda x: floored(x).sum())(log_probs)[:, 0]
    np.testing.assert_allclose(slopes, [-0.5 / 0.8, -1], rtol=1e-6)
    assert nft.straight_through_max(jnp.array([-1.0, 3.0]), 0.5).tolist() == [0.5, 3.0]


def test_without_wrong_answers_it_is_rejection_sampling():
    gradient = jax.jit(jax.grad(functools.partial(_total, negative_weight=0.0, prompt_weight=None)))(
        OLD - 0.3
    )
    np.testing.assert_array_equal(gradient, np.where(MASK & (CORRECT[:, None] == 1), -1.0, 0.0))


def test_the_rate_stays_away_from_certainty():
    rate = jax.jit(functools.partial(nft.correct_rate, margin=0.1))
    assert rate(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])).tolist() == pytest.approx(
        [0.1, 0.1, 0.9, 0.9]
    )


@pytest.mark.parametrize("new", [-1e4, 0.0])
def test_extremes_and_padding_are_finite(new):
    log_probs = np.where(MASK, np.float32(new), np.nan)
    value, gradient = jax.jit(jax.value_and_grad(_total))(log_probs)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"prompt_weight": "ppo"}, "prompt_weight must be one of"),
        ({"floor": 0.0}, "floor must be positive"),
        ({"negative_weight": -1.0}, "negative_weight must be at least 0"),
    ],
)
def test_faults(options, line):
    with pytest.raises(InputError, match=line):
        _total(OLD, **options)
    with pytest.raises(InputError, match="margin must be at most 0.5"):
        nft.correct_rate(CORRECT, GROUP, margin=0.6)

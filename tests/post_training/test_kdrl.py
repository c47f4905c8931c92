import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import post_training as p
from jaxlab.core import masked_mean
from jaxlab.post_training import kdrl

RNG = np.random.default_rng(0)
B, T, V = 4, 5, 6
STUDENT, TEACHER = 2 * RNG.normal(size=(2, B, T, V)).astype(np.float32)
ACTIONS = RNG.integers(0, V, size=(B, T))
ADVANTAGE = np.float32([1.0, -0.5, 0.0, 2.0])
MASK = np.arange(T) < np.array([[5], [3], [4], [0]])
KEEP = np.array([1, 0, 1, 1], bool)


def sampled(logits):
    return jnp.take_along_axis(jax.nn.log_softmax(logits), ACTIONS[..., None], -1)[..., 0]


TEACHER_LOGP = np.asarray(sampled(jnp.asarray(TEACHER)))


def test_where_the_teacher_speaks():
    correct, group = jnp.array([1, 0, 0, 0, 1, 1]), jnp.array([4, 4, 0, 0, 2, 2])
    wanted = {"none": [1, 1, 1, 1, 1, 1], "response": [0, 1, 1, 1, 0, 0], "group": [0, 0, 1, 1, 0, 0]}
    for mode, keep in wanted.items():
        np.testing.assert_array_equal(kdrl.kd_keep_mask(correct, group, mode=mode), keep)
    # Without the only right response of group 4 its other one has none beside it.
    masked = kdrl.kd_keep_mask(correct == 1, group, mode="group", where=jnp.array([0, 1, 1, 1, 1, 1]))
    np.testing.assert_array_equal(masked, [0, 1, 1, 1, 0, 0])


@pytest.mark.parametrize("clip", [None, 1.0])
def test_shaping_the_advantage_is_on_policy_the_joint_loss_with_k2(clip):
    def shaped(logits):
        log_probs = sampled(logits)
        old = jax.lax.stop_gradient(log_probs)
        options = {"beta": 0.3, "keep": KEEP, "where": MASK, "clip": clip}
        advantage = kdrl.kd_shaped_advantage(ADVANTAGE, log_probs, TEACHER_LOGP, **options)
        ratio = p.token_importance_ratio(log_probs, old, where=MASK)
        return p.aggregate(p.ppo_clip_loss(ratio, advantage, where=MASK), MASK)

    def joint(logits, kind="k2"):
        log_probs = sampled(logits)
        old = jax.lax.stop_gradient(log_probs)
        options = {"keep": KEEP, "beta": 0.3, "kind": kind, "clip": clip if kind == "k2" else None}
        return kdrl.kdrl_loss(log_probs, old, TEACHER_LOGP, ADVANTAGE, MASK, **options)

    gradients = jax.jit(lambda x: [jax.grad(f)(x) for f in (shaped, joint, lambda x: joint(x, "k3"))])(
        STUDENT
    )
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)
    assert np.abs(gradients[2] - gradients[1]).max() > 1e-2


def test_k2_has_the_exact_gradient_over_all_tokens():
    """By enumeration: each token of the vocabulary, weighted by the student's own probability."""

    def sampled_everywhere(logits):
        log_probs = jax.nn.log_softmax(logits)
        estimate = p.kd_rkl(log_probs, jax.nn.log_softmax(TEACHER))
        return jnp.sum(jax.lax.stop_gradient(jnp.exp(log_probs)) * estimate, -1).sum()

    exact = lambda logits: p.exact_reverse_kl(logits, TEACHER).sum()
    gradients = jax.jit(lambda x: [jax.grad(f)(x) for f in (sampled_everywhere, exact)])(STUDENT)
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-6)


def test_the_exact_divergence_is_masked_and_does_not_teach_the_teacher():
    dirty = np.where(MASK[..., None], STUDENT, np.nan)
    both = jax.jit(
        jax.value_and_grad(lambda s, t: p.exact_reverse_kl(s, t, where=MASK).sum(), argnums=(0, 1))
    )
    value, (student, teacher) = both(dirty, np.where(MASK[..., None], TEACHER, np.nan))
    p_s, p_t = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (STUDENT, TEACHER))
    wanted = (p_s * np.log(p_s / p_t)).sum(-1)
    np.testing.assert_allclose(value, wanted[MASK].sum(), rtol=1e-5)
    assert np.isfinite(student).all()
    np.testing.assert_array_equal(student[~MASK], 0)
    np.testing.assert_array_equal(teacher, np.zeros_like(TEACHER))


def test_a_clipped_square_goes_on_as_a_straight_line_with_the_clipped_reward_as_its_slope():
    log_probs, teacher = jnp.zeros((1, 5)), jnp.array([[-46.0, -3.0, -1.0, 2.0, 3.5]])
    reward = p.kd_reward(log_probs, teacher, clip=3.0)
    np.testing.assert_allclose(reward, [[-3, -3, -1, 2, 3]])
    values = p.kd_rkl(log_probs, teacher, clip=3.0)
    np.testing.assert_allclose(values, [[3 * (46 - 1.5), 4.5, 0.5, 2, 3 * (3.5 - 1.5)]], rtol=1e-6)
    gradient = jax.grad(lambda x: p.kd_rkl(x, teacher, clip=3.0).sum())(log_probs)
    np.testing.assert_allclose(gradient, -reward)
    for function in (p.kd_reward, p.kd_rkl):
        silent = jax.grad(lambda t, function=function: function(log_probs, t).sum())(teacher)
        np.testing.assert_array_equal(silent, np.zeros((1, 5)))


def test_the_parts_of_the_loss_and_its_denominators():
    log_probs, old = np.asarray(sampled(STUDENT)), np.asarray(sampled(STUDENT + 0.1 * TEACHER))
    policy = kdrl.kdrl_loss(log_probs, old, TEACHER_LOGP, ADVANTAGE, MASK, beta=0.0)
    ratio = p.token_importance_ratio(log_probs, old, where=MASK)
    wanted = masked_mean(p.ppo_clip_loss(ratio, ADVANTAGE), where=MASK)
    np.testing.assert_allclose(policy, wanted, rtol=1e-6)
    kept = MASK & KEEP[:, None]
    square = (0.5 * (TEACHER_LOGP - log_probs) ** 2)[kept].sum()
    for denominator, count in (("all", 12), ("kept", 9)):
        total = kdrl.kdrl_loss(
            log_probs, old, TEACHER_LOGP, ADVANTAGE, MASK, keep=KEEP, beta=0.2, denominator=denominator
        )
        np.testing.assert_allclose(total - policy, 0.2 * square / count, rtol=1e-5)
    silent = kdrl.kdrl_loss(log_probs, old, TEACHER_LOGP, ADVANTAGE, MASK, keep=0 * KEEP, denominator="kept")
    np.testing.assert_array_equal(
        silent, kdrl.kdrl_loss(log_probs, old, TEACHER_LOGP, ADVANTAGE, MASK, beta=0.0)
    )


def test_a_group_without_signal_still_hears_the_teacher():
    loss = lambda log_probs: kdrl.kdrl_loss(log_probs, log_probs, TEACHER_LOGP, jnp.zeros(B), MASK)
    gradient = jax.jit(jax.grad(loss))(sampled(STUDENT))
    assert (gradient[MASK] != 0).all()


def test_beta_falls_to_its_minimum():
    beta = kdrl.annealed_beta(jnp.array([0, 1, 79, 80, 81, 10**6]))
    np.testing.assert_allclose(beta, [5e-3, 4.95e-3, 1.05e-3, 1e-3, 1e-3, 1e-3], rtol=1e-5)
    other = kdrl.annealed_beta(jnp.array(3), initial=0.2, minimum=0.002, decrement=0.05)
    np.testing.assert_allclose(other, 0.05, rtol=1e-5)

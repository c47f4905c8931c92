import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import post_training as p
from jaxlab.core import forward_kl, reverse_kl

RNG = np.random.default_rng(0)
LOGP, OLD, REF = -np.abs(RNG.normal(size=(3, 4, 5))).astype(np.float32)
ADVANTAGE = np.float32([1.0, -0.5, 0.0, 2.0])
MASK = np.arange(5) < np.array([[5], [3], [1], [0]])


def grads(loss):
    return jax.jit(jax.value_and_grad(loss))


def test_on_policy_every_ratio_is_one_and_has_the_gradient_of_log_probs():
    def total(log_probs):
        old = jax.lax.stop_gradient(log_probs)
        token = p.token_importance_ratio(log_probs, old, where=MASK)
        sequence = p.sequence_importance_ratio(log_probs, old, where=MASK)
        geometric = p.geometric_importance_ratio(log_probs, old, jnp.ones(4), where=MASK)
        return (token * MASK).sum() + (sequence * MASK).sum() + geometric.sum()

    value, gradient = grads(total)(LOGP)
    lengths = MASK.sum(-1, keepdims=True)
    np.testing.assert_allclose(value, 2 * lengths.sum() + 4)
    np.testing.assert_allclose(gradient, MASK * (2 + 1 / np.maximum(lengths, 1)), rtol=1e-6)


def test_the_sequence_ratio_has_one_value_and_the_gradient_of_its_formula():
    lengths = np.maximum(MASK.sum(-1), 1)

    def straight_through(log_probs):
        ratio = p.sequence_importance_ratio(log_probs, OLD, where=MASK)
        loss = p.ppo_clip_loss(ratio, ADVANTAGE, where=MASK, clip_low=0.9, clip_high=9.0)
        return p.aggregate(loss, MASK, mode="seq-mean-token-mean")

    def formula(log_probs):
        ratio = jnp.exp(jnp.sum((log_probs - OLD) * MASK, -1) / lengths)
        return -(ratio * ADVANTAGE)[:3].mean()  # the last response is empty

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        grads(straight_through)(LOGP),
        grads(formula)(LOGP),
    )
    ratio = p.sequence_importance_ratio(LOGP, OLD, where=MASK)
    np.testing.assert_array_equal(ratio, np.repeat(ratio[:, :1], 5, axis=1))


def test_the_geometric_ratio_by_hand():
    # Log ratios 1 and -1 with clip 0.4: for A > 0 the gain of the first is cut to 0.4 and the loss of the second
    # counts whole, (0.4 - 1) / 2; for A < 0 the other way round, (1 - 0.4) / 2; for A = 0 nothing counts.
    log_probs, old = jnp.tile(jnp.array([1.0, -1.0]), (3, 1)), jnp.zeros((3, 2))
    advantage = jnp.array([2.0, -3.0, 0.0])
    ratio = p.geometric_importance_ratio(log_probs, old, advantage)
    np.testing.assert_allclose(ratio, np.exp([-0.3, 0.3, 0.0]), rtol=1e-6)
    loss, gradient = grads(lambda log_probs: p.gmpo_loss(log_probs, old, advantage).sum())(log_probs)
    np.testing.assert_allclose(loss, -2 * np.exp(-0.3) + 3 * np.exp(0.3), rtol=1e-6)
    wanted = [[0, -np.exp(-0.3)], [1.5 * np.exp(0.3), 0], [0, 0]]
    np.testing.assert_allclose(gradient, wanted, rtol=1e-6)


def test_the_clipped_surrogate_by_hand():
    # Ratios 4, 1.1, 0.5 against A = 1, then A = -1, clip 0.2, cap 3, dual clip 2.
    ratio, advantage = jnp.tile(jnp.array([4.0, 1.1, 0.5]), (2, 1)), jnp.array([1.0, -1.0])

    def all_four(ratio):
        return jnp.stack(
            [
                p.ppo_clip_loss(ratio, advantage),
                p.ppo_clip_loss(ratio, advantage, dual_clip=2.0),
                p.ppo_clip_loss(ratio, advantage, ratio_cap=3.0),
                p.ppo_clip_loss(ratio, advantage, clip_low=0.6, clip_high=4.0),
            ]
        )

    values, derivative = jax.jit(lambda r: jax.jvp(all_four, (r,), (jnp.ones_like(r),)))(ratio)
    better = [-1.2, -1.1, -0.5]
    wanted = [[better, [4, 1.1, 0.8]], [better, [2, 1.1, 0.8]], [better, [3, 1.1, 0.8]]]
    np.testing.assert_allclose(values, [*wanted, [[-4, -1.1, -0.5], [4, 1.1, 0.5]]], rtol=1e-6)
    better = [0, -1, -1]
    wanted = [[better, [1, 1, 0]], [better, [0, 1, 0]], [better, [0, 1, 0]], [[-1, -1, -1], [1, 1, 1]]]
    np.testing.assert_allclose(derivative, wanted, rtol=1e-6)
    # Clipped: 4 for A > 0 and 0.5 for A < 0, of six tokens; beyond the dual clip: 4 for A < 0.
    np.testing.assert_allclose(p.clip_fraction(ratio, advantage), 2 / 6, rtol=1e-6)
    np.testing.assert_allclose(p.dual_clip_fraction(ratio, advantage, dual_clip=2.0), 1 / 6, rtol=1e-6)


def test_cispo_drops_no_token_where_the_clipped_surrogate_does():
    log_probs, old, advantage = jnp.zeros((1, 3)), jnp.log(jnp.array([[0.01, 0.5, 4.0]])), jnp.array([2.0])

    def cispo(log_probs, **options):
        ratio = p.token_importance_ratio(log_probs, old)  # 100, 2 and 1/4
        return p.cispo_loss(log_probs, ratio, advantage, **options).sum()

    wanted = [[-2 * 5.0, -2 * 2.0, -2 * 0.25]]
    np.testing.assert_allclose(jax.grad(cispo)(log_probs), wanted, rtol=1e-6)
    both = jax.grad(functools.partial(cispo, clip_low=0.2, clip_high=0.28))(log_probs)
    np.testing.assert_allclose(both, [[-2 * 1.28, -2 * 1.28, -2 * 0.8]], rtol=1e-6)


def test_advantages_per_token_and_per_response():
    ratio = p.token_importance_ratio(LOGP, OLD, where=MASK)
    each = np.repeat(ADVANTAGE[:, None], 5, axis=1)
    for loss in (p.ppo_clip_loss, p.gpg_loss):
        np.testing.assert_array_equal(loss(ratio, ADVANTAGE, where=MASK), loss(ratio, each, where=MASK))
    gradient = jax.grad(lambda a: p.ppo_clip_loss(ratio, a).sum() + p.gpg_loss(LOGP, a).sum())(ADVANTAGE)
    np.testing.assert_array_equal(gradient, np.zeros(4))


V = 5
POLICY, REFERENCE = 1.5 * jax.random.normal(jax.random.key(0), (2, V))


@jax.jit
def expected_gradients(logits):
    """Of each estimator over the whole vocabulary, sampling from the policy itself; and of both divergences."""

    def expected(logits, kind):
        log_probs = jax.nn.log_softmax(logits)
        estimate = p.kl_estimate(log_probs, jax.nn.log_softmax(REFERENCE), kind=kind)
        return jnp.sum(jnp.exp(jax.lax.stop_gradient(log_probs)) * estimate)

    kinds = ("k1", "k2", "k3", "k1+", "k3+")
    out = {kind: jax.value_and_grad(expected)(logits, kind) for kind in kinds}
    out["reverse"] = jax.value_and_grad(reverse_kl)(logits, REFERENCE)
    return out | {"forward": jax.value_and_grad(forward_kl)(logits, REFERENCE)}


@pytest.mark.parametrize(
    ("kind", "divergence"), [("k2", "reverse"), ("k3", "forward"), ("k1+", "reverse"), ("k3+", "reverse")]
)
def test_whose_gradient_an_estimator_has(kind, divergence):
    found = expected_gradients(POLICY)
    np.testing.assert_allclose(found[kind][1], found[divergence][1], rtol=1e-4, atol=1e-6)
    assert np.abs(found["reverse"][1] - found["forward"][1]).max() > 0.1  # the two can be told apart


def test_k1_as_a_loss_teaches_nothing_and_the_unbiased_values_are_the_divergence():
    found = expected_gradients(POLICY)
    np.testing.assert_allclose(found["k1"][1], np.zeros(V), atol=1e-6)
    for kind in ("k1", "k3", "k1+", "k3+"):
        np.testing.assert_allclose(found[kind][0], found["reverse"][0], rtol=1e-5)
    assert abs(found["k2"][0] - found["reverse"][0]) > 0.01


def test_estimators_by_hand_and_their_bounds():
    # d = ln 2 and -ln 4: k3 = 1/2 - 1 + ln 2 and 4 - 1 - ln 4; bounded by 1 and by |d| <= ln 2: 2 - 1 - ln 2.
    log_probs, ref = jnp.log(jnp.array([[0.5, 0.125]])), jnp.log(jnp.array([[0.25, 0.5]]))
    two = np.log(2)
    wanted = {"k1": [two, -2 * two], "abs": [two, 2 * two], "k2": [two**2 / 2, 2 * two**2]}
    wanted |= {"k3": [two - 0.5, 3 - 2 * two], "k1+": [two, -2 * two], "k3+": [two - 0.5, 3 - 2 * two]}
    for kind, values in wanted.items():
        np.testing.assert_allclose(p.kl_estimate(log_probs, ref, kind=kind), [values], rtol=1e-5)
    bounded = p.kl_estimate(log_probs, ref, kind="k3", value_clip=1.0)
    np.testing.assert_allclose(bounded, [[two - 0.5, 1.0]], rtol=1e-5)
    clipped = p.kl_estimate(log_probs, ref, kind="k3", log_clip=two)
    np.testing.assert_allclose(clipped, [[two - 0.5, 1 - two]], rtol=1e-5)
    gradient = jax.grad(lambda ref: p.kl_estimate(log_probs, ref, kind="k3").sum())(ref)
    np.testing.assert_array_equal(gradient, np.zeros((1, 2)))


@jax.jit
def aggregates(values, mask):
    modes = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "constant")
    out = {mode: p.aggregate(values, mask, mode=mode) for mode in modes}
    out |= {mode + "+": p.aggregate(values, mask, mode=mode, count_empty=True) for mode in modes[1:3]}
    return out | {"constant 10": p.aggregate(values, mask, mode="constant", normalizer=10.0)}


def test_aggregation_by_hand():
    # Sums 6, 4 and nothing, of 3 tokens and 1: 10 / 4; (2 + 4) / 2; (6 + 4) / 2; 10 / 9; with the empty one, / 3.
    values = jnp.array([[1.0, 2.0, 3.0], [4.0, jnp.nan, jnp.inf], [jnp.nan, 5.0, 5.0]])
    mask = jnp.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]])
    wanted = {"token-mean": 2.5, "seq-mean-token-mean": 3, "seq-mean-token-sum": 5, "constant": 10 / 9}
    wanted |= {"seq-mean-token-mean+": 2, "seq-mean-token-sum+": 10 / 3, "constant 10": 1}
    for mode, value in aggregates(values, mask).items():
        np.testing.assert_allclose(value, wanted[mode], rtol=1e-6)
    for value in aggregates(values, jnp.zeros((3, 3), int)).values():
        assert value == 0
    assert all(np.isnan(value) for value in aggregates(values, mask.at[1, 1].set(1)).values())
    gradient = jax.jit(jax.grad(lambda v: sum(aggregates(v, mask).values())))(values)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[mask == 0], 0)


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5, 1.0])
def test_the_most_uncertain_tokens(fraction):
    entropy = np.random.default_rng(1).random((4, 6)).astype(np.float32)
    mask = np.random.default_rng(2).random((4, 6)) < 0.7
    got = p.top_entropy_mask(np.where(mask, entropy, np.nan), mask, fraction=fraction)
    threshold = np.quantile(entropy[mask], 1 - fraction)
    np.testing.assert_array_equal(got, mask & (entropy >= threshold))
    assert not p.top_entropy_mask(entropy, np.zeros_like(mask), fraction=fraction).any()

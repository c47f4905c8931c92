"""The stochastic teacher and its weights, the mixed targets, the whole loss, and the ramp: by hand and at the edges."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab.semi_supervised import sefar

A, B, K, R = 4, 8, 3, 10
_KEYS = jax.random.split(jax.random.key(0), 4)
LABELLED = jax.random.normal(_KEYS[0], (A, K))
STRONG, MIXED = 2 * jax.random.normal(_KEYS[1], (2, B, K))
TEACHER = 2 * jax.random.normal(_KEYS[2], (B, K)) + 0.5 * jax.random.normal(_KEYS[3], (R, B, K))
LABELS = jnp.array([0, 1, 2, 0])
PARTNER = jnp.array([1, 0, 3, 2, 5, 4, 7, 6])


def test_statistics_of_two_passes_by_hand():
    # Probabilities 0.9 and 0.7 of class 0: mean 0.8, unbiased deviation |0.9 - 0.7| / sqrt(2).
    stats = sefar.teacher_stats(jnp.log(jnp.array([[[0.9, 0.1]], [[0.7, 0.3]]])))
    np.testing.assert_allclose(stats.probs, [[0.8, 0.2]], rtol=1e-6)
    np.testing.assert_allclose(stats.std, [[0.2 / 2**0.5] * 2], rtol=1e-5)
    assert stats.label.tolist() == [0]
    np.testing.assert_allclose(stats.confidence, [0.8], rtol=1e-6)
    np.testing.assert_allclose(stats.spread, [0.2 / 2**0.5], rtol=1e-5)


def test_the_spread_is_that_of_the_chosen_class():
    stats = sefar.teacher_stats(TEACHER)
    probs = np.asarray(jax.nn.softmax(TEACHER))
    rows, label = np.arange(B), probs.mean(0).argmax(-1)
    np.testing.assert_array_equal(stats.label, label)
    np.testing.assert_allclose(stats.confidence, probs.mean(0)[rows, label], rtol=1e-5)
    np.testing.assert_allclose(stats.spread, probs.std(0, ddof=1)[rows, label], rtol=1e-4)


def test_one_pass_has_no_spread_and_no_gradient_passes():
    assert sefar.teacher_stats(TEACHER[:1]).spread.tolist() == [0.0] * B
    total = lambda t: sum(jnp.sum(x) for x in sefar.teacher_stats(t) if x.dtype == jnp.float32)
    np.testing.assert_array_equal(jax.grad(total)(TEACHER), np.zeros(TEACHER.shape))


def test_weights_by_hand():
    # First factor at p = 1/2: 2 / (1 + exp(e - exp(1/2))) = 2 / (1 + exp(1.069561)) = 0.510973; at p = 0 it is
    # 2 / (1 + exp(e - 1)) = 0.304185. Second at s = 1/20: 2 (1 / (1 + exp(-1)) - 1/2) = 0.462117.
    weight = sefar.adaptive_weight(jnp.array([1.0, 0.5, 0.0, 0.5]), jnp.array([0.0, 0.0, 0.0, 0.05]))
    np.testing.assert_allclose(weight, [1.0, 0.510973, 0.304185, 0.510973 * 0.462117], rtol=1e-5)


def test_weights_grow_with_confidence_and_fall_with_spread():
    p, s = jnp.linspace(0, 1, 21), jnp.linspace(0, 0.5, 21)
    assert (np.diff(sefar.adaptive_weight(p, jnp.full(21, 0.1))) > 0).all()
    # At a spread of 0 the factor has saturated; from 1/100 on it falls.
    assert (np.diff(sefar.adaptive_weight(jnp.full(21, 0.9), s)) <= 0).all()
    assert (np.diff(sefar.adaptive_weight(jnp.full(20, 0.9), s[1:])) < 0).all()
    wild = jax.jit(sefar.adaptive_weight)(jnp.array([1e4, -1e4]), jnp.array([1e4, -1.0]))
    assert np.isfinite(wild).all()


def test_mixed_targets_by_hand():
    # r = 1/4. y_0 = 1/4 (1, 0) + 3/4 (0, 1) = (1/4, 3/4), v_0 = 1/4 + 3/4 * 1/2 = 5/8. The student says (1/2, 1/2):
    # 1/2 (1/16 + 1/16) 5/8 = 5/128. y_1 = (3/4, 1/4), v_1 = 1/4 * 1/2 + 3/4 = 7/8: 7/128.
    teacher, weight, partner = jnp.eye(2), jnp.array([1.0, 0.5]), jnp.array([1, 0])
    loss = sefar.mixed_target_loss(jnp.zeros((2, 2)), teacher, weight, partner, 0.25, mix_on="probs")
    np.testing.assert_allclose(loss, [5 / 128, 7 / 128], rtol=1e-6)
    # On the logits themselves, (0, 0): 1/2 (1/16 + 9/16) = 5/16, times the same.
    raw = sefar.mixed_target_loss(jnp.zeros((2, 2)), teacher, weight, partner, 0.25)
    np.testing.assert_allclose(raw, [5 / 16 * 5 / 8, 5 / 16 * 7 / 8], rtol=1e-6)


def _loss(strong, mixed, where=None, axis_name=None, mix_on="probs", ramp=0.7):
    return sefar.sefar_loss(
        LABELLED,
        LABELS,
        strong,
        mixed,
        TEACHER,
        PARTNER,
        0.4,
        ramp,
        where=where,
        axis_name=axis_name,
        mix_on=mix_on,
    )


GRADED = jax.jit(
    lambda strong, mixed, where: jax.value_and_grad(lambda s, m: _loss(s, m, where), (0, 1), has_aux=True)(
        strong, mixed
    )
)


@pytest.mark.parametrize("mix_on", ["probs", "logits"])
def test_the_loss_is_the_sum_of_its_parts(mix_on):
    total, parts = jax.jit(lambda: _loss(STRONG, MIXED, mix_on=mix_on))()
    probs = np.asarray(jax.nn.softmax(TEACHER))
    mean, rows = probs.mean(0), np.arange(B)
    label = mean.argmax(-1)
    p, s = mean[rows, label], probs.std(0, ddof=1)[rows, label]
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    weight = 2 * sigmoid(np.exp(p) - np.e) * 2 * (sigmoid(1 / (20 * s + 1e-9)) - 0.5)
    own = -np.asarray(jax.nn.log_softmax(STRONG))[rows, label]
    target = 0.4 * mean + 0.6 * mean[PARTNER]
    trust = 0.4 * weight + 0.6 * weight[PARTNER]
    mixed = MIXED if mix_on == "logits" else jax.nn.softmax(MIXED)
    expected = (
        -np.asarray(jax.nn.log_softmax(LABELLED))[np.arange(A), LABELS].mean()
        + 0.7 * 2 * (weight * own).mean()
        + 0.7 * 2 * (trust * np.square(mixed - target).mean(-1)).mean()
    )
    np.testing.assert_allclose(parts.weight, weight, rtol=1e-4)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    np.testing.assert_allclose(
        parts.supervised + 0.7 * (2 * parts.unlabelled + 2 * parts.mixed), total, rtol=1e-6
    )


def test_the_teacher_gets_no_gradient_and_nothing_counts_at_ramp_zero():
    whole = lambda teacher: sefar.sefar_loss(LABELLED, LABELS, STRONG, MIXED, teacher, PARTNER, 0.4, 1.0)[0]
    np.testing.assert_array_equal(jax.jit(jax.grad(whole))(TEACHER), np.zeros(TEACHER.shape))
    total, parts = _loss(STRONG, MIXED, ramp=0.0)
    assert total == parts.supervised


def test_a_mask_hides_rows_and_an_empty_one_leaves_the_labels():
    where = jnp.arange(B) < 6
    (total, _), gradients = GRADED(STRONG, MIXED, where)
    dirty = jnp.where(where[:, None], STRONG, jnp.nan)
    (again, _), own = GRADED(dirty, jnp.where(where[:, None], MIXED, jnp.nan), where)
    np.testing.assert_allclose(again, total, rtol=1e-6)
    chex.assert_trees_all_close(own, gradients, rtol=1e-5, atol=1e-8)
    assert all((gradient[6:] == 0).all() for gradient in gradients)
    (none, parts), gradients = GRADED(STRONG, MIXED, jnp.zeros(B, bool))
    assert none == parts.supervised
    assert all((gradient == 0).all() for gradient in gradients)


def test_padding_does_not_reach_its_partners():
    # Rows 6 and 7 do not exist; 2 is mixed with 6, and is no mixture then. What 6 and 7 hold is not seen.
    where, partner = np.arange(B) < 6, np.array([1, 0, 6, 4, 3, 5, 7, 2])

    @jax.jit
    def loss(strong, mixed, teacher):
        args = (LABELLED, LABELS, strong, mixed, teacher, partner, 0.4, 1.0)
        return sefar.sefar_loss(*args, where=where)

    clean = loss(STRONG, MIXED, TEACHER)
    hide = lambda x: jnp.where(where[:, None], x, jnp.nan)
    dirty = loss(hide(STRONG), hide(MIXED), hide(TEACHER))
    chex.assert_trees_all_equal(dirty, clean)
    assert not clean[1].weight[6:].any()
    gradient = jax.grad(lambda s, m: loss(s, m, hide(TEACHER))[0], argnums=(0, 1))(hide(STRONG), hide(MIXED))
    assert all(np.isfinite(g).all() for g in gradient)
    # The mean is over the mixtures of two clips that exist: rows 0, 1, 3, 4, 5.
    stats = sefar.teacher_stats(TEACHER)
    weight = sefar.adaptive_weight(stats.confidence, stats.spread)
    each = sefar.mixed_target_loss(MIXED, stats.probs, weight, partner, 0.4)
    np.testing.assert_allclose(clean[1].mixed, each[np.array([0, 1, 3, 4, 5])].mean(), rtol=1e-5)


def test_extreme_logits_are_finite():
    big = 1e4 * jnp.sign(STRONG)
    (total, _), gradients = GRADED(big, -big, None)
    assert np.isfinite(total)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    weight = sefar.sefar_loss(LABELLED, LABELS, big, big, 1e4 * jnp.sign(TEACHER), PARTNER, 0.4, 1.0)[
        1
    ].weight
    assert ((weight >= 0) & (weight <= 1)).all()


def test_gradient_in_float64_and_half_precision():
    with jax.enable_x64(True):
        strong, mixed = jnp.asarray(STRONG, jnp.float64), jnp.asarray(MIXED, jnp.float64)
        loss = jax.jit(lambda s, m: _loss(s, m)[0])
        assert loss(strong, mixed).dtype == jnp.float64
        check_grads(loss, (strong, mixed), order=1, modes=["rev"], rtol=1e-5)
    half = lambda x: x.astype(jnp.bfloat16)
    total, _ = sefar.sefar_loss(
        half(LABELLED), LABELS, half(STRONG), half(MIXED), half(TEACHER), PARTNER, 0.4, 0.7
    )
    assert total.dtype == jnp.float32
    assert np.isfinite(total)


def test_the_ramp_by_hand():
    # Five of thirty: 0 up to step 4, then sin(pi/2 k / 25).
    ramp = sefar.sine_ramp_up(jnp.arange(32), warm_up=5, total=30)
    np.testing.assert_array_equal(ramp[:5], 0)
    np.testing.assert_allclose(ramp[5:30], np.sin(np.pi / 2 * np.arange(1, 26) / 25), rtol=1e-5)
    np.testing.assert_array_equal(ramp[30:], 1)
    np.testing.assert_array_equal(sefar.sine_ramp_up(jnp.arange(3), warm_up=1, total=1), [0, 1, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sefar.teacher_stats(jnp.ones(3)), r"logits \(3,\) must have shape \[R"),
        (lambda: sefar.teacher_stats(jnp.ones((0, 2, 3))), "at least one pass"),
        (lambda: sefar.adaptive_weight(jnp.ones(2), jnp.ones(3)), "must have one shape"),
        (
            lambda: sefar.mixed_target_loss(MIXED, MIXED, jnp.ones(B), PARTNER, 0.5, mix_on="both"),
            "mix_on must be one of",
        ),
        (
            lambda: sefar.mixed_target_loss(MIXED, MIXED, jnp.ones(2), PARTNER, 0.5),
            r"weight \(2,\) \[B\]",
        ),
        (lambda: sefar.sine_ramp_up(jnp.arange(3), warm_up=4, total=3), "warm_up must be in"),
        (
            lambda: sefar.adaptive_weight(jnp.array([3.0]), jnp.ones(1)),
            "confidence must be probabilities",
        ),
        (
            lambda: sefar.mixed_target_loss(MIXED, 9 * jnp.ones((B, K)), jnp.ones(B), PARTNER, 0.5),
            "teacher_probs must be probabilities",
        ),
        (
            lambda: sefar.mixed_target_loss(MIXED, jnp.ones((B, K)), jnp.ones(B), PARTNER + 1, 0.5),
            r"partner must be in \[0, 8\), got 8",
        ),
        (
            lambda: sefar.mixed_target_loss(MIXED, jnp.ones((B, K)), jnp.ones(B), PARTNER, 40),
            r"ratio must be in \[0, 1\], got 40",
        ),
        (
            lambda: sefar.sefar_loss(LABELLED, LABELS + K, STRONG, MIXED, TEACHER, PARTNER, 0.4, 1.0),
            r"labels must be in \[0, 3\), or negative",
        ),
    ],
)
def test_mistakes_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as info:
        call()
    assert "\n" not in str(info.value)

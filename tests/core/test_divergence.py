import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import core
from tests.core.compiled import (
    cross_entropy,
    entropy,
    forward_kl,
    grad,
    jsd,
    masked_mean,
    masked_softmax,
    reverse_kl,
    total_variation,
    value_and_grad,
)

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "core.npz")
PAIRS = {
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "jsd": jsd,
    "jsd_0.1": lambda s, t, **k: jsd(s, t, beta=0.1, **k),
    "total_variation": total_variation,
}
pairs = pytest.mark.parametrize("f", PAIRS.values(), ids=PAIRS)
singles = {
    "entropy": entropy,
    "cross_entropy": lambda x, **k: cross_entropy(x, jnp.zeros(x.shape[:-1], int), **k),
}
EVERY = PAIRS | {name: lambda s, t, f=f, **k: f(s, **k) for name, f in singles.items()}
every = pytest.mark.parametrize("f", EVERY.values(), ids=EVERY)
every_name = pytest.mark.parametrize("name", EVERY)


def _random_logits(*shape):
    return tuple(np.random.default_rng(0).normal(scale=2.0, size=(2, *shape)).astype(np.float32))


def _by_definition(name, s, t):
    """The formulas in NumPy, in float64."""
    s, t = np.float64(s), np.float64(t)
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (s, t))
    kl = lambda a, b: np.sum(a * np.log(a / b), -1)
    mixture = lambda beta: beta * q + (1 - beta) * p
    return {
        "forward_kl": kl(q, p),
        "reverse_kl": kl(p, q),
        "jsd": 0.5 * kl(q, mixture(0.5)) + 0.5 * kl(p, mixture(0.5)),
        "jsd_0.1": 0.1 * kl(q, mixture(0.1)) + 0.9 * kl(p, mixture(0.1)),
        "total_variation": 0.5 * np.abs(p - q).sum(-1),
        "entropy": -np.sum(p * np.log(p), -1),
        "cross_entropy": -np.log(p[..., 0]),
    }[name]


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_value_and_gradient_of_the_public_implementation(beta):
    student, teacher, labels = (GOLDEN[f"in_lm_{k}"] for k in ("s", "t", "labels"))

    def loss(student):
        return masked_mean(jsd(student, jnp.float32(teacher), beta=beta), where=labels != -100)

    name = f"beta{beta:g}"
    value, gradient = value_and_grad(loss)(jnp.float32(student))
    np.testing.assert_allclose(value, GOLDEN[f"out_gkd_{name}"], rtol=1e-5)
    np.testing.assert_allclose(
        gradient, GOLDEN[f"grad_gkd_{name}"], rtol=1e-5, atol=1e-6 * np.abs(gradient).max()
    )


def test_temperature_and_masks_of_the_public_implementation():
    student, teacher, labels = (GOLDEN[f"in_lm_{k}"] for k in ("s", "t", "labels"))
    per_token = jsd(student, teacher, temperature=2.0)
    np.testing.assert_allclose(
        masked_mean(per_token, where=labels != -100), GOLDEN["out_gkd_beta0.5_T2"], rtol=1e-5
    )
    per_token = jsd(student, teacher)
    # Without labels the public code divides by the number of sequences, not of tokens.
    np.testing.assert_allclose(per_token.sum() / 3, GOLDEN["out_gkd_nomask"], rtol=1e-5)
    assert masked_mean(per_token, where=np.zeros_like(labels)).item() == GOLDEN["out_gkd_allmasked"] == 0.0


def test_by_hand():
    # p_T = (1/4, 3/4), p_S = (1/2, 1/2), M at beta 1/2 = (3/8, 5/8).
    student, teacher = jnp.zeros(2), jnp.log(jnp.array([0.25, 0.75]))
    kl_ts = 0.25 * np.log(1 / 2) + 0.75 * np.log(3 / 2)
    kl_st = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    kl_tm = 0.25 * np.log(2 / 3) + 0.75 * np.log(6 / 5)
    kl_sm = 0.5 * np.log(4 / 3) + 0.5 * np.log(4 / 5)
    np.testing.assert_allclose(forward_kl(student, teacher), kl_ts, rtol=1e-6)
    np.testing.assert_allclose(reverse_kl(student, teacher), kl_st, rtol=1e-6)
    np.testing.assert_allclose(jsd(student, teacher), 0.5 * kl_tm + 0.5 * kl_sm, rtol=1e-5)
    np.testing.assert_allclose(total_variation(student, teacher), 0.25, rtol=1e-6)
    np.testing.assert_allclose(entropy(teacher), 0.25 * np.log(4) + 0.75 * np.log(4 / 3), rtol=1e-6)
    np.testing.assert_allclose(cross_entropy(teacher, jnp.array(0)), np.log(4), rtol=1e-6)
    # d KL(T || S) / d student = p_S - p_T.
    np.testing.assert_allclose(grad(forward_kl)(student, teacher), [0.25, -0.25], rtol=1e-6)
    np.testing.assert_allclose(grad(cross_entropy)(student, jnp.array(0)), [-0.5, 0.5], rtol=1e-6)
    # d TV / d s_0 = 1/2 (p_0 p_1 sign(p_0 - 1/4) - p_0 p_1 sign(p_1 - 3/4)) = 1/4.
    np.testing.assert_allclose(grad(total_variation)(student, teacher), [0.25, -0.25], rtol=1e-6)


def test_uneven_mixture_weighs_the_teacher_by_beta():
    # Disjoint supports: the value is the entropy of (beta, 1 - beta), the weights pull M to the teacher.
    student, teacher = jnp.array([0.0, -jnp.inf]), jnp.array([-jnp.inf, 0.0])
    expected = -(0.1 * np.log(0.1) + 0.9 * np.log(0.9))
    np.testing.assert_allclose(jsd(student, teacher, beta=0.1), expected, rtol=1e-6)
    s, t = _random_logits(3, 5)
    np.testing.assert_allclose(jsd(s, t, beta=0.1), jsd(t, s, beta=0.9), rtol=1e-5)
    assert np.all(np.abs(jsd(s, t, beta=0.1) - jsd(s, t, beta=0.9)) > 1e-4)


def test_the_ends_of_beta_are_the_divergences_and_not_limits():
    s, t = _random_logits(3, 5)
    np.testing.assert_array_equal(jsd(s, t, beta=0.0), forward_kl(s, t))
    np.testing.assert_array_equal(jsd(s, t, beta=1.0), reverse_kl(s, t))
    assert np.all(jsd(s, t, beta=1e-4) < 0.01 * forward_kl(s, t))
    with jax.enable_x64(True):  # the limit of JSD / beta is the forward divergence
        s, t = jnp.float64(s), jnp.float64(t)
        np.testing.assert_allclose(jsd(s, t, beta=1e-6) / 1e-6, forward_kl(s, t), rtol=1e-3)


@every_name
def test_the_definition(name):
    s, t = _random_logits(3, 5)
    np.testing.assert_allclose(EVERY[name](s, t), _by_definition(name, s, t), rtol=2e-5)


@pairs
def test_zero_for_equal_distributions_and_blind_to_shifts(f):
    s, t = _random_logits(3, 5)
    shift = np.arange(3, dtype=np.float32)[:, None]
    np.testing.assert_allclose(f(s, s + shift), np.zeros(3), atol=1e-6)
    np.testing.assert_allclose(f(s + shift, t - shift), f(s, t), rtol=1e-4, atol=1e-6)
    permutation = np.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(f(s[:, permutation], t[:, permutation]), f(s, t), rtol=1e-5)
    assert np.all(f(s, t) > 0)


@pytest.mark.parametrize("name", PAIRS)
def test_temperature_divides_the_logits(name):
    s, t = _random_logits(3, 5)
    expected = _by_definition(name, s / 4.0, t / 4.0)
    np.testing.assert_allclose(PAIRS[name](s, t, temperature=4.0), expected, rtol=2e-5)  # traced
    static = {"jsd_0.1": lambda s, t, **k: core.jsd(s, t, beta=0.1, **k)}.get(name) or getattr(core, name)
    np.testing.assert_allclose(static(s, t, temperature=4.0), expected, rtol=2e-5)


@every_name
def test_masking_classes_is_dropping_them(name):
    s, t = _random_logits(3, 5)
    mask = np.array([[1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    s = np.where(mask, s, np.nan)
    total = lambda s: (lambda out: (out.sum(), out))(EVERY[name](s, t, classes=mask))
    (_, out), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(s)
    np.testing.assert_allclose(out[0], _by_definition(name, s[0, ::2], t[0, ::2]), rtol=2e-5)
    assert out[1] == 0.0  # no class, no divergence
    np.testing.assert_allclose(out[2], _by_definition(name, s[2], t[2]), rtol=2e-5)
    kept = grad(EVERY[name])(s[0, ::2], t[0, ::2])
    np.testing.assert_allclose(gradient[0, ::2], kept, rtol=1e-4, atol=1e-6)
    assert np.any(kept)
    assert not np.any(gradient[~mask])
    assert np.all(np.isfinite(gradient))


@every
def test_extreme_logits(f):
    s = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [1e4, 1e4, 1e4], [-1e4, -1e4, 1e4]])
    t = jnp.array([[-1e4, 1e4, 0.0], [-1e4, 1e4, 0.0], [-1e4, 1e4, -1e4], [0.0, 0.0, 0.0]])
    for a, b in [(s, t), (t, s)]:
        value, gradient = value_and_grad(lambda a, b: f(a, b).sum(), argnums=(0, 1))(a, b)
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient[0]))
        assert np.all(np.isfinite(gradient[1]))


def test_extreme_logits_have_the_right_value():
    # The teacher is certain of class 1, for which the student's log-probability is -2e4.
    s, t = jnp.array([1e4, -1e4]), jnp.array([-1e4, 1e4])
    np.testing.assert_allclose(forward_kl(s, t), 2e4, rtol=1e-6)
    np.testing.assert_allclose(reverse_kl(s, t), 2e4, rtol=1e-6)
    np.testing.assert_allclose(jsd(s, t), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(total_variation(s, t), 1.0, rtol=1e-6)
    np.testing.assert_allclose(grad(forward_kl)(s, t), [1.0, -1.0])


@pairs
def test_a_class_at_minus_infinity_on_both_sides_is_absent(f):
    s, t = _random_logits(3, 5)
    gone = np.array([False, True, False, False, False])
    with_gone = [np.where(gone, -np.inf, x).astype(np.float32) for x in (s, t)]
    np.testing.assert_allclose(f(*with_gone), f(s, t, classes=np.tile(~gone, (3, 1))), rtol=1e-6)
    gradients = grad(lambda s, t: f(s, t).sum(), argnums=(0, 1))(*with_gone)
    assert all(np.all(np.isfinite(g)) for g in gradients)


def test_a_class_that_only_one_side_rules_out():
    open_, shut = jnp.array([0.0, 0.0]), jnp.array([0.0, -jnp.inf])
    assert forward_kl(shut, open_).item() == np.inf  # the teacher's mass is out of the student's reach
    np.testing.assert_allclose(forward_kl(open_, shut), np.log(2), rtol=1e-6)
    assert reverse_kl(open_, shut).item() == np.inf
    np.testing.assert_allclose(reverse_kl(shut, open_), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(grad(reverse_kl)(shut, open_), [0.0, 0.0], atol=1e-7)
    for gradient in grad(jsd, argnums=(0, 1))(shut, open_):
        assert np.all(np.isfinite(gradient))
    # A teacher mass that underflows to exactly 0 counts as none.
    assert np.isfinite(forward_kl(shut, jnp.array([0.0, -1e4])))


@every
def test_a_nan_logit_stays_nan(f):
    s, t = _random_logits(3, 5)
    s[0, 1] = np.nan
    np.testing.assert_array_equal(np.isnan(f(s, t)), [True, False, False])


@every
@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (2, 2, 5)])
def test_leading_dimensions_are_batch(f, shape):
    s, t = _random_logits(*shape)
    out = f(s, t)
    assert out.shape == shape[:-1]
    assert out.dtype == jnp.float32
    assert np.all(np.isfinite(out))


@pairs
def test_gradient_reaches_both_sides(f):
    s, t = _random_logits(3, 5)
    for gradient in grad(lambda s, t: f(s, t).sum(), argnums=(0, 1))(s, t):
        assert np.abs(gradient).max() > 1e-3
        np.testing.assert_allclose(gradient.sum(-1), np.zeros(3), atol=1e-6)  # shifts change nothing


def test_entropy_limits():
    np.testing.assert_allclose(entropy(jnp.zeros((2, 8))), np.log(8) * np.ones(2), rtol=1e-6)
    assert entropy(jnp.array([0.0, -1e4])).item() == 0.0
    np.testing.assert_allclose(entropy(jnp.array([0.0, 5.0]), temperature=1e6), np.log(2), rtol=1e-6)


def test_cross_entropy_is_divergence_from_a_one_hot_teacher():
    s, _ = _random_logits(4, 5)
    labels = jnp.array([0, 3, 4, 1])
    one_hot = jnp.where(labels[:, None] == jnp.arange(5), 0.0, -jnp.inf)
    np.testing.assert_allclose(cross_entropy(s, labels), forward_kl(s, one_hot), rtol=1e-6)
    gradient = grad(lambda s: cross_entropy(s, labels).sum())(s)
    np.testing.assert_allclose(gradient, masked_softmax(s) - masked_softmax(one_hot), atol=1e-6)


@pytest.mark.parametrize("label", [-1, -100, 3, 99])
def test_labels_out_of_range_are_ignored(label):
    s, _ = _random_logits(2, 3)
    labels = jnp.array([label, 1])
    value, gradient = value_and_grad(lambda s: cross_entropy(s, labels).sum())(s)
    np.testing.assert_allclose(value, cross_entropy(s[1], jnp.array(1)), rtol=1e-6)
    assert not np.any(gradient[0])
    assert np.any(gradient[1])


def test_a_label_on_a_masked_class_is_ignored_and_one_on_an_impossible_class_costs_infinity():
    s, mask = jnp.zeros(3), jnp.array([1, 1, 0])
    assert cross_entropy(s, jnp.array(2), classes=mask).item() == 0.0
    assert cross_entropy(s.at[2].set(-jnp.inf), jnp.array(2)).item() == np.inf
    np.testing.assert_allclose(cross_entropy(s, jnp.array(0), classes=mask), np.log(2), rtol=1e-6)


@pytest.mark.parametrize("f", [core.forward_kl, core.reverse_kl, core.jsd, core.total_variation])
def test_errors_name_the_shapes(f):
    a, b = jnp.zeros((2, 3)), jnp.zeros((2, 4))
    with pytest.raises(
        ValueError, match=r"student_logits \(2, 3\) and teacher_logits \(2, 4\) must have the same"
    ):
        f(a, b)
    with pytest.raises(ValueError, match=r"student_logits \(3,\)"):
        f(a[0], a)  # no silent broadcasting
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        f(a, a, temperature=0.0)
    with pytest.raises(ValueError, match=r"classes \(4,\) must broadcast to the logits \(2, 3\)"):
        f(a, a, classes=jnp.ones(4))
    with pytest.raises(
        ValueError, match=r"classes has shape \(2, 1, 3\): it must be \(3,\) or that of the logits"
    ):
        f(a, a, classes=jnp.ones((2, 1, 3)))


def test_other_errors():
    logits = jnp.zeros((2, 3))
    for beta in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"beta must be in \[0, 1\], got"):
            jsd(logits, logits, beta=beta)
    with pytest.raises(
        ValueError, match=r"labels \(3,\) must have the leading shape .* of logits .* \(2, 3\)"
    ):
        cross_entropy(logits, jnp.zeros(3, int))
    with pytest.raises(ValueError, match="labels must be integers, .* got float32"):
        cross_entropy(logits, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"logits \(\) must have shape"):
        entropy(jnp.zeros(()))

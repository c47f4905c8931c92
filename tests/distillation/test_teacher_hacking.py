"""Exact distances between sequence models, and the curves that show teacher hacking."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab.distillation.teacher_hacking import (
    PowerLaw,
    hacking_score,
    power_law_fit,
    sequence_kl,
    token_forward_kl,
)

V, T = 3, 3
N = 1 + V + V**2
STUDENT, TEACHER = jax.random.normal(jax.random.key(0), (2, 2, N, V))


def graded(loss):
    def total(student, *rest):
        values = loss(student, *rest)
        return values.sum(), values

    return jax.jit(jax.grad(total, has_aux=True))


KL = jax.jit(sequence_kl)
GRADED = graded(lambda s, t, w: sequence_kl(s, t, where=w))
TOKENS = graded(lambda s, t, w: token_forward_kl(s, t, where=w))


def enumerated(student, teacher):
    """KL over all V^T sequences, each walked through the heap by its own tokens."""
    log_s, log_t = (np.asarray(jax.nn.log_softmax(x), np.float64) for x in (student, teacher))
    total = 0.0
    for tokens in itertools.product(range(V), repeat=T):
        node, s, t = 0, 0.0, 0.0
        for token in tokens:
            s, t = s + log_s[node, token], t + log_t[node, token]
            node = node * V + token + 1
        total += np.exp(t) * (t - s)
    return total


def test_the_chain_rule_gives_what_enumeration_gives():
    expected = [enumerated(s, t) for s, t in zip(STUDENT, TEACHER)]
    np.testing.assert_allclose(KL(STUDENT, TEACHER), expected, rtol=1e-5)


def test_sequence_kl_by_hand():
    # Two tokens of two. First: teacher (1/4, 3/4), student (1/2, 1/2): KL = 1/4 ln(1/2) + 3/4 ln(3/2) = 0.130812.
    # After token 1 (probability 3/4) the same once more, after token 0 nothing: 0.130812 * (1 + 3/4) = 0.228921.
    unequal, equal = jnp.log(jnp.array([0.25, 0.75])), jnp.zeros(2)
    teacher = jnp.stack([unequal, equal, unequal])
    np.testing.assert_allclose(sequence_kl(jnp.zeros((3, 2)), teacher), 0.228921, rtol=1e-5)
    # d/ds at node n is p(n) (softmax(s) - t): 1 * (1/4, -1/4), nothing, 3/4 * (1/4, -1/4).
    gradient = jax.grad(lambda s: sequence_kl(s, teacher))(jnp.zeros((3, 2)))
    np.testing.assert_allclose(gradient, [[0.25, -0.25], [0, 0], [0.1875, -0.1875]], atol=1e-6)


def test_a_teacher_equal_to_the_student_is_at_distance_zero_and_gets_no_gradient():
    np.testing.assert_allclose(KL(TEACHER, TEACHER + 5.0), np.zeros(2), atol=1e-6)
    gradient = jax.jit(jax.grad(lambda t: sequence_kl(STUDENT, t).sum()))(TEACHER)
    np.testing.assert_array_equal(gradient, np.zeros_like(TEACHER))


def test_what_follows_an_end_does_not_count():
    # Token 0 ends a sequence: the prefixes below node 1 do not go on.
    where = np.ones((2, N), bool)
    where[:, [1, 4, 5, 6]] = False
    hidden = TEACHER.at[:, 1].set(jnp.nan)
    gradient, values = GRADED(STUDENT.at[:, 4].set(jnp.inf), hidden, jnp.asarray(where))
    expected = GRADED(STUDENT, TEACHER.at[:, jnp.array([1, 4, 5, 6])].set(0.0), jnp.asarray(where))
    np.testing.assert_allclose(values, expected[1], rtol=1e-6)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(np.asarray(gradient)[:, [1, 4, 5, 6]], 0)
    assert (np.asarray(values) < np.asarray(KL(STUDENT, TEACHER))).all()
    np.testing.assert_array_equal(GRADED(STUDENT, TEACHER, jnp.zeros((2, N), bool))[1], [0, 0])


def test_a_nan_that_counts_is_not_hidden():
    gradient, values = GRADED(STUDENT.at[0, 0, 0].set(jnp.nan), TEACHER, jnp.ones((2, N), bool))
    assert np.isnan(values[0])
    assert np.isfinite(values[1])
    assert np.isfinite(gradient[1]).all()


@pytest.mark.parametrize("call", [GRADED, TOKENS])
def test_extreme_and_half_precision_logits(call):
    # Values and gradients stay finite up to 1e4, and half precision is computed in float32.
    ones = jnp.ones((2, N), bool)
    gradient, values = call(1e4 * jnp.sign(STUDENT), -1e4 * jnp.sign(TEACHER), ones)
    assert np.isfinite(values).all()
    assert np.isfinite(gradient).all()
    narrow = STUDENT.astype(jnp.bfloat16)
    gradient, values = call(narrow, TEACHER, ones)
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, call(narrow.astype(jnp.float32), TEACHER, ones)[1], rtol=1e-6)


def test_gradients_match_finite_differences():
    with jax.enable_x64(True):
        student, teacher = (jnp.asarray(x, jnp.float64) for x in (STUDENT, TEACHER))
        assert KL(student, teacher).dtype == jnp.float64
        check_grads(lambda s: sequence_kl(s, teacher), (student,), order=1, modes=["rev"])


def test_token_forward_kl_is_the_mean_over_the_tokens_that_count():
    # KL of (1/4, 3/4) from (1/2, 1/2) is 0.130812 (above), of equal rows 0. Both count: the half; the first: all of it.
    teacher = jnp.log(jnp.array([[[0.25, 0.75], [0.5, 0.5]]]))
    both = token_forward_kl(jnp.zeros((1, 2, 2)), teacher)
    first = token_forward_kl(jnp.zeros((1, 2, 2)), teacher, where=jnp.array([[1, 0]]))
    np.testing.assert_allclose([both[0], first[0]], [0.065406, 0.130812], rtol=1e-4)
    nothing = TOKENS(STUDENT, TEACHER.at[0].set(jnp.nan), jnp.zeros((2, N), bool))
    np.testing.assert_array_equal(nothing[1], [0, 0])
    np.testing.assert_array_equal(nothing[0], np.zeros_like(STUDENT))


def test_hacking_is_the_rise_from_the_lowest_point():
    curves = jnp.array([[3.0, 1.0, 1.5], [3.0, 2.0, 1.0]])
    np.testing.assert_array_equal(hacking_score(curves), [0.5, 0.0])
    assert hacking_score(jnp.zeros((2, 0))).tolist() == [0.0, 0.0]


def test_a_power_law_has_no_deviation_and_a_u_has_some():
    steps = jnp.array([1.0, 10.0, 100.0, 1000.0])
    values = jnp.stack([5 * steps**-0.5, jnp.array([1.0, 0.1, 0.1, 1.0])])
    law = power_law_fit(steps, values)
    assert isinstance(law, PowerLaw)
    np.testing.assert_allclose(law.exponent, [-0.5, 0.0], atol=1e-5)
    # The U lies half a decade above and below its mean everywhere: ln(10) / 2.
    np.testing.assert_allclose(law.deviation, [0.0, np.log(10) / 2], atol=1e-4)
    np.testing.assert_allclose(law.scale, [5.0, 10**-0.5], rtol=1e-4)


def test_points_without_a_logarithm_are_left_out():
    steps = jnp.array([0.0, 1.0, 10.0, 100.0])
    law = power_law_fit(steps, jnp.array([3.0, 1.0, 0.1, 0.0]))
    np.testing.assert_allclose([law.exponent, law.scale], [-1.0, 1.0], rtol=1e-5)
    single = power_law_fit(steps, jnp.array([3.0, 2.0, 0.0, -1.0]))
    np.testing.assert_allclose([single.exponent, single.scale, single.deviation], [0.0, 2.0, 0.0], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sequence_kl(STUDENT[:, :5], TEACHER[:, :5]), r"hold 5 prefixes: with 3 tokens"),
        (lambda: sequence_kl(STUDENT[:, :4], TEACHER), r"\(2, 4, 3\).*\(2, 13, 3\)"),
        (
            lambda: sequence_kl(STUDENT, TEACHER, where=jnp.ones(4)),
            r"where has shape \(4,\): it must have the 2 axes of the prefixes \(2, 13\)",
        ),
        (lambda: token_forward_kl(STUDENT[0, 0], TEACHER[0, 0]), r"must be \[..., T, V\]"),
        (lambda: token_forward_kl(STUDENT, TEACHER, temperature=0.0), "temperature must be positive"),
        (lambda: hacking_score(jnp.float32(1)), r"golden \(\) must be"),
        (lambda: power_law_fit(jnp.ones(3), jnp.ones(4)), r"steps \(3,\) must broadcast"),
    ],
)
def test_shapes_are_checked(call, message):
    with pytest.raises(ValueError, match=message):
        call()

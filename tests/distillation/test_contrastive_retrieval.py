"""Which pairs a retrieval student scores, and what each row weighs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab.distillation.dcd import dcd_loss, entropy_weights, scores_of, select_hard
from jaxlab.metrics import recall_at_k

B, K = 4, 8
STUDENT, TEACHER = 2 * jax.random.normal(jax.random.key(0), (2, B, K))


def test_the_match_comes_first_and_then_the_hardest():
    scores = jnp.array([[0.0, 3.0, 1.0, 2.0], [9.0, 1.0, 3.0, 2.0]])
    np.testing.assert_array_equal(select_hard(scores, num_negatives=2), [[0, 1, 3], [0, 2, 3]])
    np.testing.assert_array_equal(select_hard(scores, num_negatives=0), [[0], [0]])


def test_the_released_code_teaches_the_scores_of_other_pairs():
    # In row 0 the match is last, in row 1 first: only there do both orders agree.
    scores = jnp.array([[0.0, 3.0, 1.0, 2.0], [9.0, 1.0, 3.0, 2.0]])
    index = select_hard(scores, num_negatives=2)
    np.testing.assert_array_equal(scores_of(scores, index), [[0, 3, 2], [9, 3, 2]])
    np.testing.assert_array_equal(scores_of(scores, index, authors_code=True), [[3, 2, 1], [9, 3, 2]])


def test_weights_are_shares_of_the_entropy():
    # Entropies ln 2, 0 and, for (3/4, 1/4), 0.562335: shares 0.693147 / 1.255482 and 0.562335 / 1.255482.
    teacher = jnp.array([[0.0, 0.0], [1e4, -1e4], [np.log(3.0), 0.0]])
    np.testing.assert_allclose(entropy_weights(teacher), [0.552096, 0.0, 0.447904], rtol=1e-5)
    masked = entropy_weights(teacher.at[0].set(jnp.nan), where=jnp.array([0, 1, 1]))
    np.testing.assert_allclose(masked, [0.0, 0.0, 1.0])
    sure = entropy_weights(jnp.array([[1e4, 0.0]] * 2))
    np.testing.assert_allclose(sure, [0.5, 0.5])


def in_numpy(student, teacher, *, temperature, alpha, authors_code):
    """The equations, row by row."""
    student, teacher = np.asarray(student, np.float64), np.asarray(teacher, np.float64)
    p = np.exp(teacher) / np.exp(teacher).sum(1, keepdims=True)
    entropy = -(p * np.log(p)).sum(1)
    w = entropy / entropy.sum()
    v = np.exp((1 - w) ** 2) / np.exp((1 - w) ** 2).sum()
    squares = ((teacher - student) / temperature) ** 2
    follow = squares.mean() if authors_code else (v * squares.mean(1)).sum()
    label = np.zeros(student.shape[1])
    label[0] = 1
    q = 1 / (1 + np.exp(-student))
    told = -(label * np.log(q) + (1 - label) * np.log(1 - q)).mean(1)
    return alpha * temperature**2 * follow + (1 - alpha) * (w * told).sum()


@pytest.mark.parametrize("authors_code", [False, True])
def test_the_loss_is_that_of_the_equations(authors_code):
    options = {"temperature": 2.0, "alpha": 0.3, "authors_code": authors_code}
    expected = in_numpy(STUDENT, TEACHER, **options)
    np.testing.assert_allclose(dcd_loss(STUDENT, TEACHER, **options), expected, rtol=1e-5)


def test_the_share_of_the_distillation_may_be_traced():
    traced = jax.jit(lambda alpha: dcd_loss(STUDENT, TEACHER, alpha=alpha))(0.3)
    np.testing.assert_allclose(traced, dcd_loss(STUDENT, TEACHER, alpha=0.3), rtol=1e-6)


def test_the_released_row_weights_of_the_distillation_do_nothing():
    follow = functools.partial(dcd_loss, STUDENT, TEACHER, alpha=1.0)
    plain = jnp.square(STUDENT - TEACHER).mean()
    np.testing.assert_allclose(follow(authors_code=True), plain, rtol=1e-6)
    np.testing.assert_allclose(follow(dynamic=False), plain, rtol=1e-6)
    assert abs(follow() - plain) > 1e-4 * plain


def test_masked_rows_are_dropped_rows():
    where = jnp.array([1, 0, 1, 1])
    kept = jnp.array([0, 2, 3])
    masked = lambda s: dcd_loss(s, TEACHER.at[1].set(jnp.nan), where=where)
    value, gradient = jax.value_and_grad(masked)(STUDENT.at[1].set(jnp.inf))
    expected, dropped = jax.value_and_grad(lambda s: dcd_loss(s, TEACHER[kept]))(STUDENT[kept])
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(gradient)[kept], dropped, rtol=1e-5)
    np.testing.assert_array_equal(gradient[1], np.zeros(K))
    assert dcd_loss(STUDENT, TEACHER, where=jnp.zeros(B)) == 0
    assert np.isnan(dcd_loss(STUDENT, TEACHER.at[1].set(jnp.nan)))


@pytest.mark.parametrize("dynamic", [True, False])
def test_extreme_narrow_and_empty(dynamic):
    loss = jax.jit(jax.value_and_grad(lambda s, t: dcd_loss(s, t, dynamic=dynamic)))
    value, gradient = loss(1e4 * jnp.sign(STUDENT), -1e4 * jnp.sign(TEACHER))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    narrow = STUDENT.astype(jnp.bfloat16)
    value, gradient = loss(narrow, TEACHER)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, loss(narrow.astype(jnp.float32), TEACHER)[0], rtol=1e-6)
    assert loss(STUDENT[:0], TEACHER[:0])[0] == 0


def test_the_teacher_gets_no_gradient_and_the_students_is_right():
    gradient = jax.grad(lambda t: dcd_loss(STUDENT, t))(TEACHER)
    np.testing.assert_array_equal(gradient, np.zeros((B, K)))
    with jax.enable_x64(True):
        student, teacher = (jnp.asarray(x, jnp.float64) for x in (STUDENT, TEACHER))
        assert dcd_loss(student, teacher).dtype == jnp.float64
        check_grads(lambda s: dcd_loss(s, teacher), (student,), order=1, modes=["rev"])


def test_recall_counts_matches_among_the_first_k():
    scores = jnp.array([[3.0, 1.0, 2.0], [9.0, 5.0, 7.0], [0.0, 1.0, 2.0]])
    assert [round(recall_at_k(scores, k=k).item(), 4) for k in (1, 2, 3)] == [0.6667, 0.6667, 1.0]
    assert recall_at_k(scores, k=1, where=jnp.array([0, 1, 0])) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: select_hard(TEACHER, num_negatives=8), r"num_negatives is 8: .* \(4, 8\)"),
        (lambda: scores_of(TEACHER, jnp.zeros((3, 2), int)), r"\(4, 8\).*\(3, 2\)"),
        (lambda: scores_of(TEACHER, jnp.zeros((4, 2))), "index must be integers"),
        (lambda: dcd_loss(STUDENT[:, :3], TEACHER), r"\(4, 3\).*\(4, 8\)"),
        (lambda: dcd_loss(STUDENT, TEACHER, alpha=2.0), "alpha must be in"),
        (lambda: dcd_loss(STUDENT, TEACHER, temperature=0.0), "temperature must be positive"),
        (lambda: entropy_weights(TEACHER[0]), r"teacher_scores \(8,\) must be \[B, K\]"),
        (lambda: recall_at_k(TEACHER), r"scores \(4, 8\) must be \[N, N\]"),
    ],
)
def test_shapes_are_checked(call, message):
    with pytest.raises(ValueError, match=message):
        call()

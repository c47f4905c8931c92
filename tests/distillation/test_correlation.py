import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab.distillation import dist_loss, inter_class_loss, intra_class_loss

STUDENT, TEACHER = 2 * jax.random.normal(jax.random.key(0), (2, 8, 5))
dist = jax.jit(dist_loss)
dist_grad = jax.jit(jax.value_and_grad(dist_loss))


def test_dist_matches_the_authors_code(kd_golden, close_to_golden):
    student, teacher = jnp.float32(kd_golden["in_s"]), jnp.float32(kd_golden["in_t"])
    value, gradient = dist_grad(student, teacher)
    close_to_golden(value, kd_golden["out_dist_b1_g1"])
    close_to_golden(gradient, kd_golden["grad_dist"])


def test_dist_by_hand():
    # Student probabilities [[.5, .3, .2], [.2, .2, .6]], teacher [[.6, .2, .2], [.1, .3, .6]].
    # Row 0: centred (.1667, -.0333, -.1333) and (.2667, -.1333, -.1333): r = .066667 / (.216025 * .326599) = .944911.
    # Row 1: centred (-.1333, -.1333, .2667) and (-.2333, -.0333, .2667): r = .106667 / (.326599 * .355903) = .917663.
    # Columns: two examples, r = +1 or -1: (.5, .2) (.6, .1) -> 1; (.3, .2) (.2, .3) -> -1; (.2, .6) (.2, .6) -> 1.
    student = jnp.log(jnp.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]))
    teacher = jnp.log(jnp.array([[0.6, 0.2, 0.2], [0.1, 0.3, 0.6]]))
    inter = jax.jit(inter_class_loss)(student, teacher)
    np.testing.assert_allclose(inter, [1 - 0.944911, 1 - 0.917663], atol=2e-6)
    np.testing.assert_allclose(jax.jit(intra_class_loss)(student, teacher), [0.0, 2.0, 0.0], atol=2e-6)
    expected = 3 * np.mean(inter) + 6 * 2 / 3
    np.testing.assert_allclose(dist(student, teacher, beta=3.0, gamma=6.0), expected, rtol=1e-5)


def test_temperature_divides_both_logits_and_scales_by_its_square():
    np.testing.assert_allclose(
        dist(STUDENT, TEACHER, temperature=3.0), 9 * dist(STUDENT / 3, TEACHER / 3), rtol=1e-5
    )


def test_the_loss_of_a_perfect_student_is_zero_and_the_batch_order_is_free():
    np.testing.assert_allclose(dist(TEACHER, TEACHER), 0.0, atol=1e-6)
    order = jnp.array([3, 1, 7, 0, 2, 6, 5, 4])
    np.testing.assert_allclose(dist(STUDENT[order], TEACHER[order]), dist(STUDENT, TEACHER), rtol=1e-5)
    sequences = dist(STUDENT.reshape(2, 4, 5), TEACHER.reshape(2, 4, 5))
    np.testing.assert_allclose(sequences, dist(STUDENT, TEACHER), rtol=1e-6)


@pytest.mark.parametrize("student", [jnp.zeros((4, 3)), jnp.ones((1, 3)), jnp.zeros((4, 1))])
def test_constant_predictions_have_no_correlation_and_a_finite_gradient(student):
    # Correlation 0 on the constant side: a loss of 1 for it, without a NaN where a norm is 0.
    teacher = jax.random.normal(jax.random.key(1), student.shape)
    np.testing.assert_allclose(
        jax.jit(intra_class_loss)(student, teacher), np.ones(student.shape[1]), rtol=1e-6
    )
    assert np.isfinite(dist_grad(student, teacher)[1]).all()


def test_a_mask_drops_examples_and_classes_whatever_they_hold():
    rows, classes = jnp.arange(8) != 2, jnp.arange(5) != 4
    where = rows[:, None] & classes
    student, teacher = (jnp.where(where, x, jnp.nan) for x in (STUDENT, TEACHER))
    masked = lambda s: dist_loss(s, teacher, where=rows, classes=classes)
    value, gradient = jax.jit(jax.value_and_grad(masked))(student)
    kept = np.ix_(np.flatnonzero(rows), np.flatnonzero(classes))
    dropped = dist_grad(STUDENT[kept], TEACHER[kept])
    np.testing.assert_allclose(value, dropped[0], rtol=1e-5)
    np.testing.assert_allclose(gradient[kept], dropped[1], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(np.where(where, 0, gradient), np.zeros((8, 5)))
    assert np.isnan(dist(student, teacher))  # a NaN that counts is not hidden


def test_all_masked_and_empty_are_zero():
    value, gradient = dist_grad(STUDENT, TEACHER, where=jnp.zeros(8))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((8, 5)))
    assert dist(jnp.zeros((0, 5)), jnp.zeros((0, 5))) == 0


def test_a_class_or_example_that_is_all_masked_costs_nothing():
    rows, classes = jnp.arange(8) != 2, jnp.arange(5) != 4
    intra = jax.jit(intra_class_loss)(STUDENT, TEACHER, where=rows, classes=classes)
    inter = jax.jit(inter_class_loss)(STUDENT, TEACHER, classes=rows[:, None] & classes)
    np.testing.assert_array_equal(intra == 0, np.arange(5) == 4)
    np.testing.assert_array_equal(inter == 0, np.arange(8) == 2)


def test_extreme_logits_and_half_precision_stay_finite():
    extreme = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4]])
    for teacher in (extreme, extreme[::-1], jnp.zeros((3, 3))):
        value, gradient = dist_grad(extreme, teacher)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    for dtype in (jnp.bfloat16, jnp.float16):
        got = dist(STUDENT.astype(dtype), TEACHER.astype(dtype))
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, dist(STUDENT, TEACHER), rtol=0.05)


def test_the_teacher_receives_no_gradient_and_the_student_the_right_one():
    np.testing.assert_array_equal(jax.jit(jax.grad(dist_loss, argnums=1))(STUDENT, TEACHER), np.zeros((8, 5)))
    with jax.enable_x64(True):
        student, teacher = jnp.asarray(STUDENT, jnp.float64), jnp.asarray(TEACHER, jnp.float64)
        assert dist(student, teacher).dtype == jnp.float64
        check_grads(lambda s: dist(s, teacher, gamma=0.5), (student,), order=1, modes=["rev"])


def test_shapes_and_temperature_are_checked():
    with pytest.raises(ValueError, match=r"student_logits \(2, 3\) and teacher_logits \(2, 4\)"):
        dist_loss(jnp.zeros((2, 3)), jnp.zeros((2, 4)))
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        intra_class_loss(jnp.zeros((2, 3)), jnp.zeros((2, 3)), temperature=0)

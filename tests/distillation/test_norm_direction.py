import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab import distillation as d

# All as loss(student [..., D], teacher [..., D], labels [...], centers [C, D], where) -> [...].
LOSSES = {
    "nd": lambda s, t, y, c, w=None: d.nd_loss(s, t, y, c, where=w),
    "direction": lambda s, t, y, c, w=None: d.direction_loss(s, y, c, where=w),
    "norm": lambda s, t, y, c, w=None: d.norm_loss(s, t, where=w),
}
every = pytest.mark.parametrize("name", LOSSES)
B, C, D = 4, 3, 5
STUDENT, TEACHER = jax.random.normal(jax.random.key(0), (2, B, D)) * jnp.array([0.5, 1, 2, 4])[:, None]
CENTERS = jax.random.normal(jax.random.key(1), (C, D))
LABELS = jnp.array([0, 1, 2, 0])


def graded(loss):
    """Values `[B]`, and the gradients of their sum with respect to student, teacher and centers."""

    def both(s, t, y, c, w=None):
        values, pull = jax.vjp(lambda s, t, c: loss(s, t, y, c, w), s, t, c)
        return values, *pull(jnp.ones_like(values))

    return jax.jit(both)


GRADED = {name: graded(loss) for name, loss in LOSSES.items()}


def test_by_hand():
    # e = (0.6, 0.8). Row 0: s = (1, 0), |t| = 2: <s, e> / 2 = 0.3, gradient -e / 2.
    # Row 1: s = (0, 4), |t| = 2: cos = 0.8, gradient of 1 - cos: -(e - cos s/|s|) / |s| = -(0.6, 0) / 4.
    # Row 2, a tie: s = (0, 2), |t| = 2: value as cos; all of the gradient as if s were longer: -(0.6, 0) / 2.
    student = jnp.array([[1.0, 0.0], [0.0, 4.0], [0.0, 2.0]])
    teacher, centers, labels = (
        jnp.array([[2.0, 0.0]] * 3),
        jnp.array([[9.0, 9.0], [3.0, 4.0]]),
        jnp.ones(3, int),
    )
    values, gradient, *_ = GRADED["nd"](student, teacher, labels, centers)
    np.testing.assert_allclose(values, [0.7, 0.2, 0.2], rtol=1e-5)
    np.testing.assert_allclose(gradient, [[-0.3, -0.4], [-0.15, 0.0], [-0.3, 0.0]], atol=1e-6)
    values, gradient, *_ = GRADED["direction"](student, teacher, labels, centers)
    np.testing.assert_allclose(values, [0.4, 0.2, 0.2], rtol=1e-5)
    np.testing.assert_allclose(gradient, [[0.0, -0.8], [-0.15, 0.0], [-0.3, 0.0]], atol=1e-6)
    values, gradient, *_ = GRADED["norm"](student, teacher, labels, centers)
    np.testing.assert_allclose(values, [0.5, 0.0, 0.0], rtol=1e-5)
    np.testing.assert_allclose(gradient, [[-0.5, 0.0], [0.0, 0.0], [0.0, 0.0]], atol=1e-6)


def test_nd_is_its_two_halves():
    # 1 - nd = (1 - direction) (1 - norm): the cosine times how long the student is, up to the teacher.
    nd, direction, norm = (GRADED[name](STUDENT, TEACHER, LABELS, CENTERS)[0] for name in LOSSES)
    np.testing.assert_allclose(1 - nd, (1 - direction) * (1 - norm), rtol=1e-5, atol=1e-6)


def test_a_step_against_the_gradient_lengthens_short_features_only():
    direction = d.direction_loss
    short, long = 0.1 * CENTERS[LABELS], 10 * CENTERS[LABELS]
    teacher = CENTERS[LABELS]
    radial = lambda gradient, s: jnp.sum(gradient * s, axis=-1)
    assert (radial(GRADED["nd"](short, teacher, LABELS, CENTERS)[1], short) < -0.01).all()
    np.testing.assert_allclose(radial(GRADED["nd"](long, teacher, LABELS, CENTERS)[1], long), 0, atol=1e-5)
    gradient = jax.grad(lambda s: direction(s, LABELS, CENTERS).sum())(short)
    np.testing.assert_allclose(radial(gradient, short), 0, atol=1e-5)


@every
def test_only_the_student_receives_a_gradient(name):
    _, _, teacher, centers = GRADED[name](STUDENT, TEACHER, LABELS, CENTERS)
    np.testing.assert_array_equal(teacher, np.zeros((B, D)))
    np.testing.assert_array_equal(centers, np.zeros((C, D)))


@every
def test_zeros_and_extremes_are_finite(name):
    zero = jnp.zeros(D)
    student = jnp.stack([zero, zero, STUDENT[0], 1e4 * STUDENT[0]])
    teacher = jnp.stack([zero, TEACHER[0], zero, 1e4 * TEACHER[0]])
    centers = CENTERS.at[2].set(0.0)  # a class that was never seen
    values, gradient, *_ = GRADED[name](student, teacher, LABELS, centers)
    assert np.isfinite(values).all()
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[0], zero)
    if name == "norm":
        np.testing.assert_array_equal(values[:3], [0.0, 1.0, 0.0])
    else:
        np.testing.assert_array_equal(values[:3], [1.0, 1.0, 1.0])
        np.testing.assert_array_equal(gradient[2], zero)


@every
def test_a_masked_row_is_zero_and_a_nan_that_counts_is_not_hidden(name):
    where = jnp.array([1, 0, 1, 1])
    student, teacher = STUDENT.at[1].set(jnp.nan).at[2, 0].set(jnp.nan), TEACHER.at[1].set(jnp.nan)
    values, gradient, *_ = GRADED[name](student, teacher, LABELS, CENTERS, where)
    np.testing.assert_array_equal(np.isnan(values), [False, False, True, False])
    assert values[1] == 0
    np.testing.assert_array_equal(gradient[1], np.zeros(D))
    assert np.isfinite(gradient[3]).all()


@pytest.mark.parametrize("name", ["nd", "direction"])
def test_a_label_outside_the_classes_marks_an_example_to_ignore(name):
    values, gradient, *_ = GRADED[name](STUDENT, TEACHER, jnp.array([0, -1, C, 0]), CENTERS)
    expected = GRADED[name](STUDENT, TEACHER, LABELS, CENTERS)[0]
    np.testing.assert_allclose(values, jnp.where(jnp.array([1, 0, 0, 1]), expected, 0.0), rtol=1e-6)
    np.testing.assert_array_equal(gradient[1:3], np.zeros((2, D)))


@every
def test_half_precision_float64_and_finite_differences(name):
    half = [x.astype(jnp.bfloat16) for x in (STUDENT, TEACHER)]
    got = LOSSES[name](*half, LABELS, CENTERS)
    assert got.dtype == jnp.float32
    exact = LOSSES[name](*(x.astype(jnp.float32) for x in half), LABELS, CENTERS)
    np.testing.assert_allclose(got, exact, rtol=1e-6)
    with jax.enable_x64(True):
        s, t, c = (jnp.asarray(x, jnp.float64) for x in (STUDENT, TEACHER, CENTERS))
        loss = lambda s: LOSSES[name](s, t, LABELS, c)
        assert loss(s).dtype == jnp.float64
        check_grads(loss, (s,), order=1, modes=["rev"])


@every
def test_no_jit_leading_axes_vmap_and_an_empty_batch(name):
    values = GRADED[name](STUDENT, TEACHER, LABELS, CENTERS)[0]
    loss = lambda s, t, y: LOSSES[name](s, t, y, CENTERS)
    np.testing.assert_allclose(loss(STUDENT, TEACHER, LABELS), values, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(loss)(STUDENT, TEACHER, LABELS), values, rtol=1e-5)
    pairs = loss(STUDENT.reshape(2, 2, D), TEACHER.reshape(2, 2, D), LABELS.reshape(2, 2))
    np.testing.assert_allclose(pairs, values.reshape(2, 2), rtol=1e-5)
    assert loss(STUDENT[:0], TEACHER[:0], LABELS[:0]).shape == (0,)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(4, 5\) and teacher_features \(4, 2\).*projector"):
        d.nd_loss(STUDENT, TEACHER[:, :2], LABELS, CENTERS)
    with pytest.raises(ValueError, match=r"\(4, 5\) and teacher_features \(3, 5\)"):
        d.norm_loss(STUDENT, TEACHER[:3])
    with pytest.raises(ValueError, match=r"centers \(3, 4\) must be \[C, D\] .* \(4, 5\)"):
        d.direction_loss(STUDENT, LABELS, CENTERS[:, :4])
    with pytest.raises(ValueError, match=r"labels \(3,\) must have the leading shape .* \(4, 5\)"):
        d.nd_loss(STUDENT, TEACHER, LABELS[:3], CENTERS)
    with pytest.raises(ValueError, match="labels must be integers"):
        d.direction_loss(STUDENT, LABELS.astype(float), CENTERS)

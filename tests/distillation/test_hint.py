import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab import distillation

hint_loss = jax.jit(distillation.hint_loss)
STUDENT, TEACHER = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))


def test_hint_by_hand():
    # Row 0: ((1-3)^2 + (2-2)^2) / 2 = 2. Row 1: ((0-1)^2 + (0-(-2))^2) / 2 = 2.5. Gradient 2 (s - t) / 2.
    student, teacher = jnp.array([[1.0, 2.0], [0.0, 0.0]]), jnp.array([[3.0, 2.0], [1.0, -2.0]])
    np.testing.assert_allclose(hint_loss(student, teacher), [2.0, 2.5], rtol=1e-6)
    gradient = jax.grad(lambda s: hint_loss(s, teacher).sum())(student)
    np.testing.assert_allclose(gradient, [[-2.0, 0.0], [-1.0, 2.0]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(6,), (6, 3), (6, 3, 4, 2)])
def test_the_weight_does_not_depend_on_the_size_of_the_layer(shape):
    np.testing.assert_allclose(hint_loss(jnp.full(shape, 3.0), jnp.ones(shape)), np.full(6, 4.0), rtol=1e-6)


def test_the_teacher_receives_no_gradient():
    gradient = jax.grad(lambda t: hint_loss(STUDENT, t).sum())(TEACHER)
    np.testing.assert_array_equal(gradient, np.zeros_like(TEACHER))


def test_a_mask_drops_positions_whatever_they_hold():
    where = jnp.array([True, True, False, False])[None, :, None]
    loss = lambda s, t: hint_loss(s, t, where=where)
    student, teacher = (x.at[:, 2:].set(jnp.nan) for x in (STUDENT, TEACHER))
    np.testing.assert_allclose(loss(student, teacher), hint_loss(STUDENT[:, :2], TEACHER[:, :2]), rtol=1e-6)
    gradient = jax.grad(lambda s: loss(s, teacher).sum())(student)
    np.testing.assert_array_equal(gradient[:, 2:], np.zeros((3, 2, 5)))
    assert np.isfinite(gradient).all()
    assert np.isnan(hint_loss(student, TEACHER)).all()  # a NaN that counts is not hidden


def test_all_masked_and_empty_are_zero():
    value, gradient = jax.value_and_grad(lambda s: hint_loss(s, TEACHER, where=jnp.zeros((1, 4, 1))).sum())(
        STUDENT
    )
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(STUDENT))
    assert hint_loss(jnp.zeros((0, 4)), jnp.zeros((0, 4))).shape == (0,)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_reduced_in_float32(dtype):
    student, teacher = (100 * STUDENT).astype(dtype), (100 * TEACHER).astype(dtype)
    got = hint_loss(student, teacher)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, hint_loss(jnp.float32(student), jnp.float32(teacher)), rtol=1e-6)


def test_gradient_in_float64_and_vmap():
    with jax.enable_x64(True):
        student, teacher = jnp.asarray(STUDENT, jnp.float64), jnp.asarray(TEACHER, jnp.float64)
        assert hint_loss(student, teacher).dtype == jnp.float64
        check_grads(lambda s: hint_loss(s, teacher), (student,), order=2, modes=["rev"])
    each = jax.jit(jax.vmap(lambda s, t: hint_loss(s[None], t[None])[0]))(STUDENT, TEACHER)
    np.testing.assert_allclose(each, hint_loss(STUDENT, TEACHER), rtol=1e-6)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(2, 3\) and teacher_features \(2, 4\).*regressor"):
        hint_loss(jnp.zeros((2, 3)), jnp.zeros((2, 4)))
    with pytest.raises(
        ValueError, match=r"where has shape \(5,\): it must have the 2 axes of the features \(2, 3\)"
    ):
        hint_loss(jnp.zeros((2, 3)), jnp.zeros((2, 3)), where=jnp.ones(5))

"""What every per-example loss of the room on logits keeps to, whatever its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab import distillation as d

# All as loss(student_logits [..., C], teacher_logits [..., C], labels [...], classes) -> [...].
LOSSES = {
    "kd": lambda s, t, y, w=None: d.kd_loss(s, t, classes=w),
    "dkd": lambda s, t, y, w=None: d.dkd_loss(s, t, y, classes=w),
    "target_class_kl": lambda s, t, y, w=None: d.target_class_kl(s, t, y, classes=w),
    "non_target_class_kl": lambda s, t, y, w=None: d.non_target_class_kl(s, t, y, classes=w),
    "inter_class": lambda s, t, y, w=None: d.inter_class_loss(s, t, temperature=2.0, classes=w),
    "pld": lambda s, t, y, w=None: d.pld_loss(s, t, y, temperature=2.0, classes=w),
    "listmle": lambda s, t, y, w=None: d.listmle_loss(
        s, d.teacher_optimal_ranking(t, y, classes=w), classes=w
    ),
}
LOSSES = {name: jax.jit(loss) for name, loss in LOSSES.items()}
NEED_LABELS = ("dkd", "target_class_kl", "non_target_class_kl", "pld")
every = pytest.mark.parametrize("name", LOSSES)

B, C = 6, 5
STUDENT, TEACHER = 2 * jax.random.normal(jax.random.key(0), (2, B, C))
LABELS = jnp.array([0, 1, 2, 0, 1, 2])


def graded(loss):
    """Values `[B]`, and the gradient of their sum with respect to the student."""

    def total(student, *rest):
        values = loss(student, *rest)
        return values.sum(), values

    def both(*args):
        gradient, values = jax.grad(total, has_aux=True)(*args)
        return values, gradient

    return jax.jit(both)


GRADED = {name: graded(loss) for name, loss in LOSSES.items()}


@every
def test_extreme_logits_are_finite(name):
    big = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]])
    student, teacher = jnp.repeat(big, 4, axis=0), jnp.tile(big, (4, 1))
    for label in range(3):
        values, gradient = GRADED[name](student, teacher, jnp.full(16, label))
        assert np.isfinite(values).all()
        assert np.isfinite(gradient).all()


@every
def test_one_class_costs_nothing_to_rank_or_match(name):
    values, gradient = GRADED[name](STUDENT[:, :1], TEACHER[:, :1], jnp.zeros(B, int))
    # A single class has probability 1: no divergence, but no correlation either (T^2 = 4).
    np.testing.assert_array_equal(values, np.full(B, 4.0 if name == "inter_class" else 0.0))
    np.testing.assert_array_equal(gradient, np.zeros((B, 1)))


@every
def test_half_precision_is_computed_in_float32(name):
    student, teacher = STUDENT.astype(jnp.bfloat16), TEACHER.astype(jnp.float16)
    values, gradient = GRADED[name](student, teacher, LABELS)
    assert values.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16
    expected = LOSSES[name](jnp.float32(student), jnp.float32(teacher), LABELS)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-7)


@every
def test_float64_stays_and_its_gradient_matches_finite_differences(name):
    with jax.enable_x64(True):
        student, teacher = jnp.asarray(STUDENT, jnp.float64), jnp.asarray(TEACHER, jnp.float64)
        loss = lambda s: LOSSES[name](s, teacher, LABELS)
        assert loss(student).dtype == jnp.float64
        check_grads(loss, (student,), order=1, modes=["rev"])


@every
def test_the_teacher_receives_no_gradient(name):
    gradient = jax.jit(jax.grad(lambda t: LOSSES[name](STUDENT, t, LABELS).sum()))(TEACHER)
    np.testing.assert_array_equal(gradient, np.zeros((B, C)))


@every
def test_shifting_the_logits_changes_nothing(name):
    shift = jnp.linspace(-3, 3, B)[:, None]
    values, gradient = GRADED[name](STUDENT, TEACHER, LABELS)
    shifted = LOSSES[name](STUDENT + shift, TEACHER - 2 * shift, LABELS)
    np.testing.assert_allclose(shifted, values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradient.sum(-1), np.zeros(B), atol=1e-5)  # so no gradient along the shift


@every
def test_leading_axes_vmap_and_no_jit_agree(name):
    values = LOSSES[name](STUDENT, TEACHER, LABELS)
    sequences = LOSSES[name](STUDENT.reshape(2, 3, C), TEACHER.reshape(2, 3, C), LABELS.reshape(2, 3))
    np.testing.assert_allclose(sequences, values.reshape(2, 3), rtol=1e-6, atol=1e-7)
    each = jax.vmap(LOSSES[name])(STUDENT, TEACHER, LABELS)
    np.testing.assert_allclose(each, values, rtol=1e-6, atol=1e-7)
    with jax.disable_jit():
        eager = LOSSES[name](STUDENT[0], TEACHER[0], LABELS[0])
    np.testing.assert_allclose(eager, values[0], rtol=1e-5, atol=1e-7)


@every
def test_a_mask_drops_classes_whatever_they_hold(name):
    where = jnp.array([1, 1, 1, 0, 0])
    student, teacher = (x.at[:, 3].set(jnp.nan).at[:, 4].set(jnp.inf) for x in (STUDENT, TEACHER))
    values, gradient = GRADED[name](student, teacher, LABELS, where)
    dropped = GRADED[name](STUDENT[:, :3], TEACHER[:, :3], LABELS)
    np.testing.assert_allclose(values, dropped[0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradient[:, :3], dropped[1], rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(gradient[:, 3:], np.zeros((B, 2)))


@every
def test_a_masked_row_is_zero_and_a_nan_that_counts_is_not_hidden(name):
    where = jnp.array([1, 0, 1, 1, 1, 1])[:, None]
    student = STUDENT.at[1].set(jnp.nan).at[2, 4].set(jnp.nan)
    values, gradient = GRADED[name](student, TEACHER.at[1].set(jnp.nan), LABELS, where)
    assert values[1] == 0
    np.testing.assert_array_equal(gradient[1], np.zeros(C))
    np.testing.assert_array_equal(np.isnan(values), [False, False, True, False, False, False])
    assert np.isfinite(gradient[3:]).all()
    if name != "listmle":  # where the teacher enters as an order only
        assert np.isnan(LOSSES[name](STUDENT, TEACHER.at[2, 4].set(jnp.nan), LABELS)[2])


@pytest.mark.parametrize("name", NEED_LABELS)
@pytest.mark.parametrize("label", [-100, -1, C])
def test_a_label_outside_the_classes_marks_an_example_to_ignore(name, label):
    values, gradient = GRADED[name](STUDENT, TEACHER, LABELS.at[2].set(label))
    assert values[2] == 0
    np.testing.assert_array_equal(gradient[2], np.zeros(C))
    np.testing.assert_allclose(values[3:], LOSSES[name](STUDENT, TEACHER, LABELS)[3:], rtol=1e-6)


@every
def test_an_empty_batch_has_no_losses(name):
    values, gradient = GRADED[name](STUDENT[:0], TEACHER[:0], LABELS[:0])
    assert values.shape == (0,)
    assert gradient.shape == (0, C)


@every
def test_shapes_are_checked(name):
    with pytest.raises(ValueError, match=r"\(6, 4\).*\(6, 5\)|\(6, 5\).*\(6, 4\)"):
        LOSSES[name](STUDENT[:, :4], TEACHER, LABELS)
    with pytest.raises(ValueError, match=r"classes \(3,\) must broadcast"):
        LOSSES[name](STUDENT, TEACHER, LABELS, jnp.ones(3))


@pytest.mark.parametrize("name", NEED_LABELS)
def test_labels_are_checked(name):
    with pytest.raises(ValueError, match=r"labels \(5,\) must have the leading shape \[...\] .* \(6, 5\)"):
        LOSSES[name](STUDENT, TEACHER, LABELS[:5])
    with pytest.raises(ValueError, match="labels must be integers, .* got float32"):
        LOSSES[name](STUDENT, TEACHER, jnp.float32(LABELS))


@pytest.mark.parametrize("loss", [d.kd_loss, d.inter_class_loss])
def test_the_temperature_is_checked(loss):
    with pytest.raises(ValueError, match="temperature must be positive, got -1"):
        loss(STUDENT, TEACHER, temperature=-1.0)


@pytest.mark.parametrize("loss", [d.dkd_loss, d.target_class_kl, d.non_target_class_kl, d.pld_loss])
def test_the_temperature_is_checked_beside_labels(loss):
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        loss(STUDENT, TEACHER, LABELS, temperature=0)

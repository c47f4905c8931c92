import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import distillation

dkd_loss, kd_loss = jax.jit(distillation.dkd_loss), jax.jit(distillation.kd_loss)
target_class_kl = jax.jit(distillation.target_class_kl)
non_target_class_kl = jax.jit(distillation.non_target_class_kl)
STUDENT, TEACHER = 2 * jax.random.normal(jax.random.key(0), (2, 6, 5))
LABELS = jnp.array([0, 1, 2, 3, 4, 0])


def test_dkd_matches_the_authors_code(kd_golden, close_to_golden):
    student, teacher = jnp.float32(kd_golden["in_s"]), jnp.float32(kd_golden["in_t"])
    labels = jnp.asarray(kd_golden["in_y"])
    loss = lambda s: dkd_loss(s, teacher, labels, temperature=4.0, alpha=1.0, beta=8.0).mean()
    value, gradient = jax.jit(jax.value_and_grad(loss))(student)
    close_to_golden(value, kd_golden["out_dkd_a1_b8_T4"])
    close_to_golden(gradient, kd_golden["grad_dkd"])


def test_the_parts_by_hand():
    # Teacher probabilities (1/2, 3/8, 1/8), student (1/4, 1/4, 1/2), target 0, T = 1.
    # TCKD = 1/2 ln(2) + 1/2 ln((1/2) / (3/4)) = 0.346574 - 0.202733 = 0.143841.
    # NCKD: teacher (3/4, 1/4), student (1/3, 2/3): 3/4 ln(9/4) + 1/4 ln(3/8) = 0.608198 - 0.245207 = 0.362990.
    teacher = jnp.log(jnp.array([[4.0, 3.0, 1.0]]))
    student = jnp.log(jnp.array([[1.0, 1.0, 2.0]]))
    label = jnp.array([0])
    np.testing.assert_allclose(
        target_class_kl(student, teacher, label, temperature=1.0), [0.143841], rtol=1e-5
    )
    np.testing.assert_allclose(
        non_target_class_kl(student, teacher, label, temperature=1.0), [0.362990], rtol=1e-5
    )
    both = dkd_loss(student, teacher, label, temperature=1.0, alpha=2.0, beta=3.0)
    np.testing.assert_allclose(both, [2 * 0.143841 + 3 * 0.362990], rtol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_target_distillation_is_the_damped_sum_of_the_parts(temperature):
    def damped(student):
        sure = jax.nn.softmax(TEACHER / temperature)[jnp.arange(6), LABELS]
        target = target_class_kl(student, TEACHER, LABELS, temperature=temperature)
        return target + (1 - sure) * non_target_class_kl(student, TEACHER, LABELS, temperature=temperature)

    whole = lambda s: kd_loss(s, TEACHER, temperature=temperature) / temperature**2
    np.testing.assert_allclose(damped(STUDENT), whole(STUDENT), rtol=2e-5)
    gradients = [jax.grad(lambda s, f=f: f(s).sum())(STUDENT) for f in (damped, whole)]
    np.testing.assert_allclose(*gradients, atol=1e-6)


def test_one_class_has_nothing_to_learn_and_two_only_a_target():
    zero = dkd_loss(jnp.array([[3.0]]), jnp.array([[-2.0]]), jnp.array([0]))
    np.testing.assert_array_equal(zero, [0.0])
    student, teacher, labels = STUDENT[:, :2], TEACHER[:, :2], LABELS % 2
    np.testing.assert_array_equal(non_target_class_kl(student, teacher, labels), np.zeros(6))
    np.testing.assert_allclose(
        dkd_loss(student, teacher, labels, alpha=1.5), 1.5 * kd_loss(student, teacher), rtol=2e-5
    )


def test_a_sure_student_is_measured_exactly():
    # Log-odds of the target: student 100 - ln 2 = 99.306853, teacher ln(1/2), so p = 1/3. In float32 the student's
    # 1 - p rounds to 0, yet KL = 1/3 ln(1/3) + 2/3 (ln(2/3) + 99.306853) = 65.568057.
    student, teacher = jnp.array([[100.0, 0.0, 0.0]]), jnp.zeros((1, 3))
    loss = lambda s: target_class_kl(s, teacher, jnp.array([0]), temperature=1.0).sum()
    value, gradient = jax.value_and_grad(loss)(student)
    np.testing.assert_allclose(value, 65.568057, rtol=1e-6)
    np.testing.assert_allclose(gradient, [[2 / 3, -1 / 3, -1 / 3]], rtol=1e-6)


def test_each_part_is_blind_to_the_other():
    # Moving the target's logit changes the target part only; moving mass among the others, the other part only.
    moved = STUDENT + 3 * jax.nn.one_hot(LABELS, 5)
    np.testing.assert_allclose(
        non_target_class_kl(moved, TEACHER, LABELS), non_target_class_kl(STUDENT, TEACHER, LABELS), rtol=1e-6
    )
    target = jax.nn.one_hot(LABELS, 5, dtype=bool)
    among = jnp.where(target, STUDENT, jnp.log(4.0) - jnp.log(4.0))  # others all 0
    peaked = jnp.where(target, STUDENT, -50.0).at[jnp.arange(6), (LABELS + 1) % 5].set(jnp.log(4.0))
    before, after = (target_class_kl(s, TEACHER, LABELS, temperature=1.0) for s in (among, peaked))
    np.testing.assert_allclose(before, after, rtol=1e-5)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.distillation import kd_loss


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd_matches_the_authors_code(kd_golden, close_to_golden, temperature):
    student, teacher = jnp.float32(kd_golden["in_s"]), jnp.float32(kd_golden["in_t"])
    loss = lambda s: kd_loss(s, teacher, temperature=temperature).mean()
    value, gradient = jax.jit(jax.value_and_grad(loss))(student)
    close_to_golden(value, kd_golden[f"out_kd_T{temperature:.0f}"])
    close_to_golden(gradient, kd_golden[f"grad_kd_T{temperature:.0f}"])


def test_kd_by_hand():
    # T = 2: teacher (2 ln 3, 0) / 2 -> (3/4, 1/4), student -> (1/2, 1/2).
    # KL = 3/4 ln(3/2) + 1/4 ln(1/2) = 0.304099 - 0.173287 = 0.130812, times T^2 = 0.523248.
    # d/ds = T^2 * (q - p) / T = 2 * (-1/4, 1/4).
    teacher = jnp.array([[2 * np.log(3.0), 0.0]])
    loss = lambda s: kd_loss(s, teacher, temperature=2.0).sum()
    value, gradient = jax.value_and_grad(loss)(jnp.zeros((1, 2)))
    np.testing.assert_allclose(value, 0.523248, rtol=1e-5)
    np.testing.assert_allclose(gradient, [[-0.5, 0.5]], rtol=1e-6)


def test_kd_at_high_temperature_pulls_the_centred_logits_together():
    # Hinton et al., equation 4: the gradient tends to (s_i - t_i) / C for logits of mean zero.
    rng = np.random.default_rng(0)
    student, teacher = (x - x.mean(-1, keepdims=True) for x in rng.normal(size=(2, 3, 5)))
    with jax.enable_x64(True):
        loss = lambda s: kd_loss(s, jnp.asarray(teacher), temperature=1e5).sum()
        gradient = jax.grad(loss)(jnp.asarray(student))
    np.testing.assert_allclose(gradient, (student - teacher) / 5, rtol=1e-3, atol=1e-5)


def test_kd_takes_a_traced_temperature():
    student, teacher = jnp.array([[0.0, 1.0, 3.0]]), jnp.array([[2.0, 0.0, 1.0]])
    temperatures = jnp.array([1.0, 4.0])
    got = jax.jit(jax.vmap(lambda t: kd_loss(student, teacher, temperature=t)))(temperatures)
    each = [kd_loss(student, teacher, temperature=t) for t in (1.0, 4.0)]
    np.testing.assert_allclose(got, jnp.stack(each), rtol=1e-6)

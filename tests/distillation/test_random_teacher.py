import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.core import entropy, forward_kl
from jaxlab.distillation.random_teacher import local_init, soft_cross_entropy
from tests.distillation.conftest import DATA


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(DATA / "random_teacher.npz"))


def test_cross_entropy_matches_the_authors_code(golden, close_to_golden):
    student, teacher = jnp.float32(golden["in_student_logits"]), jnp.float32(golden["in_teacher_logits"])
    loss = lambda s: soft_cross_entropy(s, teacher).mean()
    value, gradient = jax.jit(jax.value_and_grad(loss))(student)
    close_to_golden(value, golden["out_ce"])
    close_to_golden(gradient, golden["grad_ce"])
    # The divergence differs by the teacher's entropy, so its gradient is the same.
    close_to_golden(forward_kl(student, teacher).mean(), golden["out_kl"])
    close_to_golden(entropy(student).mean(), golden["out_hpred"])


def test_cross_entropy_by_hand():
    # Teacher (1/2, 1/2), student softmax(ln 3, 0) = (3/4, 1/4): -(ln 3/4 + ln 1/4) / 2 = 0.836988; d/ds = q - p.
    loss = lambda s, t: soft_cross_entropy(s, t).sum()
    arguments = jnp.array([[np.log(3.0), 0.0]]), jnp.zeros((1, 2))
    value, (student, teacher) = jax.value_and_grad(loss, argnums=(0, 1))(*arguments)
    np.testing.assert_allclose(value, 0.836988, rtol=1e-5)
    np.testing.assert_allclose(student, [[0.25, -0.25]], rtol=1e-5)
    assert np.abs(teacher).max() == 0


def test_a_class_that_does_not_exist_counts_for_nothing():
    student, teacher = jnp.array([[0.0, 1.0, jnp.nan]]), jnp.array([[1.0, 0.0, 5.0]])
    where = jnp.array([True, True, False])
    got = soft_cross_entropy(student, teacher, classes=where)
    np.testing.assert_allclose(got, soft_cross_entropy(student[:, :2], teacher[:, :2]), rtol=1e-6)
    gradient = jax.grad(lambda s: soft_cross_entropy(s, teacher, classes=where).sum())(student)
    assert np.isfinite(gradient).all()
    assert soft_cross_entropy(student, teacher, classes=jnp.zeros(3, bool)).item() == 0


def test_a_narrow_type_comes_back_in_float32():
    loss = soft_cross_entropy(jnp.array([[1e4, -1e4]], jnp.bfloat16), jnp.array([[-1e4, 1e4]], jnp.bfloat16))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, [2e4], rtol=1e-2)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_local_init_matches_the_authors_code(golden, close_to_golden, alpha):
    got = local_init({"w": golden["in_theta_t"]}, {"w": golden["in_theta_fresh"]}, alpha=alpha)
    close_to_golden(got["w"], golden[f"out_interp_alpha{alpha}"])


def test_local_init_without_the_division_and_as_a_neighbourhood(golden, close_to_golden):
    teacher, fresh = golden["in_theta_t"], golden["in_theta_fresh"]
    got = local_init(teacher, fresh, alpha=0.3, keep_variance=False)
    close_to_golden(got, golden["out_interp_alpha0.3_novar"])
    # teacher + eps fresh, divided by its spread, is the mixture with a / (1 - a) = eps.
    close_to_golden(local_init(teacher, fresh, alpha=0.1 / 1.1), golden["out_neighborhood_eps0.1"])


def test_local_init_keeps_the_variance_of_independent_draws():
    draws = np.random.default_rng(0).normal(size=(2, 100_000)).astype(np.float32)
    np.testing.assert_allclose(np.var(local_init(*draws, alpha=0.3)), 1.0, rtol=0.02)
    # Without the division 0.7^2 + 0.3^2 = 0.58.
    np.testing.assert_allclose(np.var(local_init(*draws, alpha=0.3, keep_variance=False)), 0.58, rtol=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: soft_cross_entropy(x, x[:2]), r"student_logits \(3, 2\) and teacher_logits \(2, 2\)"),
        (lambda x, y: local_init(x, x, alpha=1.5), r"alpha must be in \[0, 1\], got 1.5"),
        (lambda x, y: local_init(x, x[:1]), "must be trees of the same shapes"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((3, 2)), jnp.array([0, 1, 0]))

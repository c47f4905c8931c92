import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxlab import distillation
from jaxlab.core import align_gradients
from jaxlab.distillation import dual_head_apply, kd_loss

GOLDEN = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "dhkd.npz"))
LOSSES = {"binary_kl": distillation.binary_kl, "binary_kl_norm": distillation.binary_kl_norm}
B, C = 4, 5
STUDENT, TEACHER = 2 * jax.random.normal(jax.random.key(0), (2, B, C))
every = pytest.mark.parametrize("name", LOSSES)


def graded(loss):
    """Values `[B]`, and the gradients of their sum with respect to student and teacher."""

    def both(student, teacher, classes=None):
        values, pull = jax.vjp(lambda s, t: loss(s, t, classes=classes), student, teacher)
        return values, *pull(jnp.ones_like(values))

    return jax.jit(both)


GRADED = {name: graded(loss) for name, loss in LOSSES.items()}


@every
def test_golden_values_of_the_authors_code(name, close_to_golden):
    student, teacher = jnp.float32(GOLDEN["in_student"]), jnp.float32(GOLDEN["in_teacher"])
    values, gradient, _ = GRADED[name](student, teacher)
    key = name.replace("_", "")
    close_to_golden(values.mean(), GOLDEN[f"out_{key}"])
    close_to_golden(gradient / len(values), GOLDEN[f"grad_{key}"])


@every
def test_golden_values_of_the_authors_clamp(name, close_to_golden):
    # Logits of standard deviation 120 and, as in the authors' run, float64: the clamp is active.
    key = name.replace("_", "")
    with jax.enable_x64(True):
        student, teacher = jnp.asarray(GOLDEN["in_hard_student"]), jnp.asarray(GOLDEN["in_hard_teacher"])
        loss = lambda s: LOSSES[name](s, teacher, clamp=1e-8).mean()
        value, gradient = jax.value_and_grad(loss)(student)
    close_to_golden(value, GOLDEN[f"out_hard_{key}"])
    close_to_golden(gradient, GOLDEN[f"grad_hard_{key}"])


@pytest.mark.parametrize("hard", ["", "hard_"])
def test_soft_targets_match_the_authors_baseline(hard, close_to_golden):
    student, teacher = (jnp.float32(GOLDEN[f"in_{hard}{name}"]) for name in ("student", "teacher"))
    loss = lambda s: kd_loss(s, teacher, temperature=4.0).mean()
    value, gradient = jax.jit(jax.value_and_grad(loss))(student)
    close_to_golden(value, GOLDEN[f"out_{hard}kd"])
    close_to_golden(gradient, GOLDEN[f"grad_{hard}kd"])


def test_binary_kl_norm_by_hand():
    # T = 2, s - t = (2 ln 3, 0): q = sigmoid(ln 3) = 3/4. KL([1/2, 1/2] || [3/4, 1/4]) = -1/2 ln(4 * 3/16)
    # = 1/2 ln(4/3) = 0.1438410, times 4 = 0.5753641. Gradient T^2 (q - 1/2) / T = 2 * 1/4.
    student, teacher = jnp.array([[2 * np.log(3.0), 1.0]]), jnp.array([[0.0, 1.0]])
    values, gradient, _ = GRADED["binary_kl_norm"](student, teacher)
    np.testing.assert_allclose(values, [0.5753641], rtol=1e-5)
    np.testing.assert_allclose(gradient, [[0.5, 0.0]], rtol=1e-5)


def test_binary_kl_by_hand():
    # T = 2: p = sigmoid(ln 3) = 3/4, q = 1/2. KL = 3/4 ln(3/2) + 1/4 ln(1/2) = 0.130812, times 4 = 0.523248.
    # Gradient T^2 (q - p) / T = 2 * (-1/4). The second class agrees.
    values, gradient, _ = GRADED["binary_kl"](jnp.array([[0.0, 1.0]]), jnp.array([[2 * np.log(3.0), 1.0]]))
    np.testing.assert_allclose(values, [0.523248], rtol=1e-5)
    np.testing.assert_allclose(gradient, [[-0.5, 0.0]], atol=1e-6)


def test_small_differences_keep_their_precision():
    # log cosh x = x^2 / 2 near 0, so T^2 log cosh(d / 2T) = d^2 / 8, whatever T.
    difference = jnp.array([[1e-5], [1e-3]])
    values, *_ = GRADED["binary_kl_norm"](difference, jnp.zeros((2, 1)))
    np.testing.assert_allclose(values, difference[:, 0] ** 2 / 8, rtol=1e-5)


def test_a_large_difference_has_the_gradient_that_the_clamp_takes():
    student = jnp.array([[-50.0, 50.0]])
    exact = jax.grad(lambda s: LOSSES["binary_kl_norm"](s, jnp.zeros((1, 2))).sum())(student)
    clamped = jax.grad(lambda s: LOSSES["binary_kl_norm"](s, jnp.zeros((1, 2)), clamp=1e-8).sum())(student)
    np.testing.assert_allclose(exact, [[-1.0, 1.0]], rtol=1e-6)  # T / 2 at most
    assert clamped[0, 0] == 0
    assert not np.isfinite(clamped[0, 1])


@every
def test_the_level_of_the_logits_matters(name):
    values, *_ = GRADED[name](TEACHER, TEACHER)
    shifted, *_ = GRADED[name](TEACHER + 1.0, TEACHER)
    np.testing.assert_allclose(values, np.zeros(B), atol=1e-6)
    assert (shifted > 0.05).all()


@every
def test_the_teacher_receives_no_gradient(name):
    np.testing.assert_array_equal(GRADED[name](STUDENT, TEACHER)[2], np.zeros((B, C)))


@every
def test_extreme_and_half_precision_logits_are_finite(name):
    big = jnp.array([[1e4, -1e4, 0.0, 1e4, -1e4], [-1e4, 1e4, 1e4, 1e4, -1e4]])
    student, teacher = jnp.concatenate([big, big]), jnp.concatenate([big, big[::-1]])
    values, gradient, _ = GRADED[name](student, teacher)
    assert np.isfinite(values).all()
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(values[:2], [0.0, 0.0])
    narrow = LOSSES[name](STUDENT.astype(jnp.bfloat16), TEACHER.astype(jnp.bfloat16))
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, LOSSES[name](STUDENT, TEACHER), rtol=0.05)


@every
def test_a_mask_drops_classes_whatever_they_hold(name):
    classes = jnp.array([1, 1, 1, 0, 0])
    student, teacher = (x.at[:, 3].set(jnp.nan).at[:, 4].set(jnp.inf) for x in (STUDENT, TEACHER))
    values, gradient, _ = GRADED[name](student, teacher, classes)
    np.testing.assert_allclose(values, LOSSES[name](STUDENT[:, :3], TEACHER[:, :3]), rtol=1e-6)
    np.testing.assert_array_equal(gradient[:, 3:], np.zeros((B, 2)))
    assert np.isfinite(gradient).all()
    nothing, gradient, _ = GRADED[name](student, teacher, jnp.zeros(C))
    np.testing.assert_array_equal(nothing, np.zeros(B))
    np.testing.assert_array_equal(gradient, np.zeros((B, C)))
    assert np.isnan(GRADED[name](student, teacher)[0]).all()  # a NaN that counts is not hidden


@every
def test_gradients_in_float64_match_finite_differences(name):
    with jax.enable_x64(True):
        student, teacher = jnp.asarray(STUDENT, jnp.float64), jnp.asarray(TEACHER, jnp.float64)
        loss = lambda s: LOSSES[name](s, teacher)
        assert loss(student).dtype == jnp.float64
        check_grads(loss, (student,), order=1, modes=["rev"])


@every
def test_no_jit_leading_axes_vmap_and_an_empty_batch(name):
    values = GRADED[name](STUDENT, TEACHER)[0]
    np.testing.assert_allclose(LOSSES[name](STUDENT, TEACHER), values, rtol=1e-5)
    one = jax.vmap(lambda s, t: LOSSES[name](s[None], t[None])[0])(STUDENT, TEACHER)
    np.testing.assert_allclose(one, values, rtol=1e-5)
    pairs = LOSSES[name](STUDENT.reshape(2, 2, C), TEACHER.reshape(2, 2, C))
    np.testing.assert_allclose(pairs, values.reshape(2, 2), rtol=1e-5)
    assert LOSSES[name](STUDENT[:0], TEACHER[:0]).shape == (0,)


@every
def test_shapes_and_temperature_are_checked(name):
    with pytest.raises(ValueError, match=r"\(4, 5\) and teacher_logits \(4, 4\)"):
        LOSSES[name](STUDENT, TEACHER[:, :4])
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        LOSSES[name](STUDENT, TEACHER, temperature=0)


@pytest.mark.parametrize("case", ["conflict", "noconflict"])
def test_alignment_matches_the_authors_code(case, close_to_golden):
    own, taught = jnp.float32(GOLDEN[f"in_ga_{case}_grads"])
    split = lambda g: {"body": g[:8], "heads": (g[8:10], g[10:])}
    aligned = jax.jit(align_gradients)(split(own), split(taught))
    total = jnp.concatenate(jax.tree.leaves(jax.tree.map(jnp.add, split(own), aligned)))
    close_to_golden(total, GOLDEN[f"out_ga_{case}"])


def test_alignment_removes_conflict_and_nothing_else():
    # <g, r> = -2, |r|^2 = 5: g + 2/5 r = (-2 + 0.4 * 1, 0 + 0.4 * 2) = (-1.6, 0.8), orthogonal to (1, 2).
    r, g = jnp.array([1.0, 2.0]), jnp.array([-2.0, 0.0])
    np.testing.assert_allclose(align_gradients(r, g), [-1.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(align_gradients(r, -g), -g)
    for scale in (1e-30, 1e30):  # whose squares leave float32
        np.testing.assert_allclose(align_gradients(scale * r, g), [-1.6, 0.8], rtol=1e-5)
    np.testing.assert_array_equal(align_gradients(jnp.zeros(2), g), g)
    assert align_gradients(r, g.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_alignment_checks_its_trees():
    with pytest.raises(ValueError, match="gradient must have the structure of the reference"):
        align_gradients({"a": jnp.zeros(2)}, {"b": jnp.zeros(2)})
    with pytest.raises(ValueError, match=r"must have the reference's shape \(2,\), got \(3,\)"):
        align_gradients(jnp.zeros(2), jnp.zeros(3))


def test_each_head_hears_its_own_loss_and_the_backbone_both():
    net = lambda p, x: ((x @ p["body"]) @ p["main"], x @ p["body"])
    apply = lambda params, x: dual_head_apply(params, x, net=net, head=lambda w, h: h @ w)
    body, main, head, x = jax.random.normal(jax.random.key(1), (4, 3, 3))
    params = {"net": {"body": body, "main": main}, "head": head}
    s, a = apply(params, x)
    np.testing.assert_allclose(s, x @ body @ main, rtol=1e-5)
    np.testing.assert_allclose(a, x @ body @ head, rtol=1e-5)
    own, taught = (jax.grad(lambda p, k=k: apply(p, x)[k].sum())(params) for k in (0, 1))
    assert not own["head"].any()
    assert not taught["net"]["main"].any()
    assert own["net"]["body"].any()
    assert taught["net"]["body"].any()
    with pytest.raises(ValueError, match=r"auxiliary logits \(3, 2\) must have the shape .* \(3, 3\)"):
        apply(params | {"head": head[:, :2]}, x)

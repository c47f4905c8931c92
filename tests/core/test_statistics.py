import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.compiled import cosine_similarity, grad, masked_mean, masked_softmax, pearson, value_and_grad

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "core.npz")
LOGITS = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 5.0], [4.0, 2.0, 3.0]], np.float32)
LABELS = np.array([0, 2, 2, 1])


def _dist(student, teacher):
    """The two relations of DIST: over the classes of a row and over the rows of a class."""
    p_s, p_t = masked_softmax(student), masked_softmax(teacher)
    return (1 - masked_mean(pearson(p_s, p_t))) + (1 - masked_mean(pearson(p_s, p_t, axis=0)))


def test_pearson_against_the_authors_value_and_gradient():
    student, teacher = GOLDEN["in_s"], GOLDEN["in_t"]
    value, gradient = value_and_grad(_dist)(jnp.float32(student), jnp.float32(teacher))
    np.testing.assert_allclose(value, GOLDEN["out_dist_b1_g1"], rtol=1e-5)
    np.testing.assert_allclose(gradient, GOLDEN["grad_dist"], rtol=1e-5, atol=1e-6 * np.abs(gradient).max())


def test_pearson_of_numpy_and_its_invariances():
    x, y = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(x, y)]
    np.testing.assert_allclose(pearson(x, y), expected, rtol=1e-5)
    np.testing.assert_allclose(pearson(x.T, y.T, axis=0), expected, rtol=1e-5)
    np.testing.assert_allclose(pearson(3 * x + 7, y), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pearson(-x, x), -np.ones(5), rtol=1e-6)


def test_pearson_mask_drops_entries():
    x, y = np.random.default_rng(0).normal(size=(2, 3, 6)).astype(np.float32)
    mask = np.array([1, 1, 0, 1, 0, 1], bool)
    spoiled = np.where(mask, x, np.nan)
    np.testing.assert_allclose(pearson(spoiled, y, where=mask), pearson(x[:, mask], y[:, mask]), rtol=1e-5)
    gradient = grad(lambda x: pearson(x, y, where=mask).sum())(spoiled)
    assert np.all(np.isfinite(gradient))
    assert not np.any(gradient[:, ~mask])
    assert not np.any(pearson(x, y, where=False))
    assert not np.any(grad(lambda x: pearson(x, y, where=False).sum())(x))


@pytest.mark.parametrize("constant", [0.0, 0.1, 1.0, 1e4, 1 / 3])
def test_pearson_of_a_constant_vector_is_zero_with_zero_gradient(constant):
    flat, y = jnp.full(7, constant), jnp.arange(7.0)
    for x, other in [(flat, y), (y, flat), (flat, flat)]:
        value, gradients = value_and_grad(pearson, argnums=(0, 1))(x, other)
        assert value.item() == 0.0
        np.testing.assert_array_equal(gradients, np.zeros((2, 7)))


def test_pearson_of_a_nearly_constant_vector_is_still_right():
    x = 1.0 + 1e-4 * jnp.array([0.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(pearson(x, jnp.arange(4.0)), 1.0, rtol=1e-3)


def test_eps_joins_the_denominator():
    # a = (-1, 1), b = (-1, 1): product of norms 2, so 2 / (2 + 2).
    np.testing.assert_allclose(pearson(jnp.array([0.0, 2.0]), jnp.array([3.0, 5.0]), eps=2.0), 0.5)


def test_cosine_by_hand():
    # (3, 4) and (4, 3): 24 / 25; opposite; orthogonal; no direction.
    x = jnp.array([[3.0, 4.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    y = jnp.array([[4.0, 3.0], [-2.0, -2.0], [0.0, 5.0], [1.0, 1.0]])
    np.testing.assert_allclose(cosine_similarity(x, y), [0.96, -1.0, 0.0, 0.0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(cosine_similarity(x.T, y.T, axis=0), cosine_similarity(x, y), rtol=1e-6)
    gradients = grad(lambda x, y: cosine_similarity(x, y).sum(), argnums=(0, 1))(x, y)
    assert all(np.all(np.isfinite(g)) for g in gradients)
    assert not np.any(gradients[0][3])
    # d cos / d x = (v - cos u) / |x| with unit vectors u = (0.6, 0.8), v = (0.8, 0.6).
    np.testing.assert_allclose(gradients[0][0], [(0.8 - 0.96 * 0.6) / 5, (0.6 - 0.96 * 0.8) / 5], rtol=1e-5)


@pytest.mark.parametrize("f", [pearson, cosine_similarity])
def test_nan_stays_and_extremes_are_finite(f):
    x, y = jnp.array([[jnp.nan, 1.0], [1.0, 2.0]]), jnp.array([[1.0, 2.0], [1.0, 3.0]])
    np.testing.assert_array_equal(np.isnan(f(x, y)), [True, False])
    x = jnp.array([1e4, -1e4, 0.0])
    value, gradient = value_and_grad(f)(x, -x)
    np.testing.assert_allclose(value, -1.0, rtol=1e-6)
    assert np.all(np.isfinite(gradient))
    assert f(jnp.zeros((0, 3)), jnp.zeros((0, 3))).shape == (0,)
    assert not np.any(f(jnp.zeros((3, 0)), jnp.zeros((3, 0))))


def test_errors():
    for f in (pearson, cosine_similarity):
        with pytest.raises(ValueError, match=r"x \(4, 3\) and y \(4,\) must have the same shape"):
            f(LOGITS, LABELS)

import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.distillation.loss_landscape import line_losses, plane_losses


def paraboloid(params):
    return (params["a"] ** 2).sum() + 3 * params["b"]


def tree(a, b):
    return {"a": jnp.array(a), "b": jnp.array(b)}


def test_a_line_by_hand():
    # From a = (0, 0), b = 0 to a = (2, 1), b = 1: 5 f^2 + 3 f.
    got = line_losses(
        paraboloid, tree([0.0, 0.0], 0.0), tree([2.0, 1.0], 1.0), jnp.array([-1.0, 0.0, 0.5, 1.0])
    )
    np.testing.assert_allclose(got, [2.0, 0.0, 2.75, 8.0], rtol=1e-6)


def test_a_plane_passes_through_its_three_points():
    points = tree([1.0, 0.0], 0.5), tree([0.0, 2.0], -1.0), tree([3.0, 1.0], 2.0)
    at = jnp.array([0.0, 1.0])
    got = plane_losses(paraboloid, *points, at, jnp.array([0.0, 1.0, 2.0]))
    assert got.shape == (3, 2)
    np.testing.assert_allclose([got[0, 0], got[0, 1], got[1, 0]], [paraboloid(p) for p in points], rtol=1e-6)
    # u = 1, v = 2: a = (1, 0) + (-1, 2) + 2 (2, 1) = (4, 4), b = 0.5 - 1.5 + 2 * 1.5 = 2: 32 + 6.
    np.testing.assert_allclose(got[2, 1], 38.0, rtol=1e-6)


def test_checkpoints_and_coordinates_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="must be trees of the same shapes"):
        line_losses(paraboloid, tree([0.0], 0.0), tree([0.0, 1.0], 0.0), jnp.zeros(2))
    with pytest.raises(ValueError, match=r"coordinates must be vectors, got shapes \(\) and"):
        line_losses(paraboloid, tree([0.0], 0.0), tree([0.0], 0.0), jnp.float32(0))

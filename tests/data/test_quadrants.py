"""Quadrants shuffled and put back, as in HSSDA's own code."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import data

GOLDEN = dict(np.load(pathlib.Path(__file__).parents[1] / "golden" / "hssda.npz"))
shuffle = jax.jit(data.shuffle_quadrants, static_argnames=("x_range", "y_range"))
PERMUTATIONS = jnp.array([[1, 3, 0, 2], [0, 1, 2, 3], [3, 2, 1, 0]])


def test_points_match_the_authors_code():
    # Theirs come quadrant by quadrant; the reflectance of a point is its name.
    for scene, permutation in enumerate(GOLDEN["out_shuffle_info"]):
        before, after = (GOLDEN[f"{name}_points"] for name in ("in", "out"))
        before, after = before[before[:, 0] == scene, 1:], after[after[:, 0] == scene, 1:]
        moved, inside = shuffle(jnp.float32(before)[None], jnp.asarray(permutation)[None])
        assert inside.all()
        theirs = after[np.argsort(after[:, 3])]
        ours = np.asarray(moved[0])[np.argsort(before[:, 3])]
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


def test_indices_match_the_authors_code():
    before, after = GOLDEN["in_vox_indices"], GOLDEN["out_vox_indices"]
    for scene, permutation in enumerate(GOLDEN["out_shuffle_info"]):
        own = before[:, 0] == scene
        got = data.unshuffle_indices(
            jnp.asarray(before[own, 2:]), jnp.asarray(permutation), height=8, width=6
        )
        np.testing.assert_array_equal(got, after[own, 2:])


def test_the_inverse_permutation_brings_everything_back():
    points = jax.random.uniform(jax.random.key(0), (3, 40, 3), minval=-5.0, maxval=37.0)
    ranges = {"x_range": (0.0, 32.0), "y_range": (-4.0, 28.0)}
    moved, inside = shuffle(points, PERMUTATIONS, **ranges)
    back, still = shuffle(moved, jnp.argsort(PERMUTATIONS, axis=1), where=inside, **ranges)
    np.testing.assert_allclose(back, points, atol=1e-5)
    np.testing.assert_array_equal(still, inside)
    assert not inside.all()
    # Points outside stay where they are, and the identity moves nothing.
    np.testing.assert_array_equal(moved[~np.asarray(inside)], points[~np.asarray(inside)])
    np.testing.assert_array_equal(moved[1], points[1])
    # Each quadrant moves as one: as many points arrive as left.
    quadrant = lambda p: (p[..., 0] >= 16) * 2 + (p[..., 1] >= 12)
    for n in range(3):
        count = lambda p, n=n: sorted(
            np.bincount(quadrant(np.asarray(p[n])[np.asarray(inside[n])]), minlength=4)
        )
        assert count(points) == count(moved)


def test_a_border_belongs_to_the_upper_quadrant():
    corners = jnp.array([[2.0, 2.0], [0.0, 0.0], [3.999, 1.999], [4.0, 2.0], [1.0, 2.0]])
    _, inside = shuffle(corners, jnp.arange(4), x_range=(0.0, 4.0), y_range=(0.0, 4.0))
    assert inside.tolist() == [True, True, True, False, True]
    moved, _ = shuffle(corners, jnp.array([1, 0, 3, 2]), x_range=(0.0, 4.0), y_range=(0.0, 4.0))
    # (2, 2) is quadrant 1 and goes to 0, below; (1, 2) is quadrant 2 and goes to 3, below.
    assert moved[0].tolist() == [2.0, 0.0]
    assert moved[4].tolist() == [1.0, 0.0]


def test_maps_of_shuffled_points_come_back():
    """Shuffle points, draw them on a grid, put its quadrants back: the grid of the points as they were."""
    points = jax.random.uniform(jax.random.key(1), (3, 30, 2), maxval=8.0)
    ranges = {"x_range": (0.0, 8.0), "y_range": (0.0, 8.0)}

    def grid(points):
        cell = jnp.floor(points).astype(int)
        scene = jnp.arange(3)[:, None]
        return jnp.zeros((3, 8, 8, 1)).at[scene, cell[..., 1], cell[..., 0]].add(1.0)

    moved, _ = shuffle(points, PERMUTATIONS, **ranges)
    back = jax.jit(data.unshuffle_quadrants)(grid(moved), PERMUTATIONS)
    np.testing.assert_array_equal(back, grid(points))
    assert not np.array_equal(grid(moved), grid(points))
    indices = data.unshuffle_indices(jnp.floor(moved[..., ::-1]).astype(int), PERMUTATIONS, height=8, width=8)
    np.testing.assert_array_equal(indices, jnp.floor(points[..., ::-1]))
    gradient = jax.grad(lambda m: (data.unshuffle_quadrants(m, PERMUTATIONS) * back).sum())(back)
    np.testing.assert_array_equal(gradient, grid(moved))


def test_masked_indices_stay():
    got = data.unshuffle_indices(
        jnp.array([[3, 3], [3, 3]]), jnp.array([0, 3, 2, 1]), height=4, width=4, where=jnp.array([1, 0])
    )
    assert got.tolist() == [[1, 1], [3, 3]]


def test_random_permutations():
    drawn = np.asarray(data.random_quadrants(jax.random.key(0), 200, shuffled=jnp.arange(200) % 2 == 0))
    np.testing.assert_array_equal(np.sort(drawn, axis=1), np.tile(np.arange(4), (200, 1)))
    np.testing.assert_array_equal(drawn[1::2], np.tile(np.arange(4), (100, 1)))
    assert len(np.unique(drawn[::2], axis=0)) > 15  # of 24


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"permutation \(3,\) must be \(4,\)"):
        data.shuffle_quadrants(jnp.ones((5, 2)), jnp.arange(3))
    with pytest.raises(ValueError, match="ranges must not be empty"):
        data.shuffle_quadrants(jnp.ones((5, 2)), jnp.arange(4), x_range=(1.0, 1.0))
    with pytest.raises(ValueError, match=r"maps \(1, 3, 4, 1\) must be .* even"):
        data.unshuffle_quadrants(jnp.ones((1, 3, 4, 1)), jnp.arange(4)[None])
    with pytest.raises(ValueError, match=r"indices \(5, 3\) must be"):
        data.unshuffle_indices(jnp.ones((5, 3), int), jnp.arange(4), height=4, width=4)
    with pytest.raises(ValueError, match=r"shuffled \(2,\) must be a scalar or \(3,\)"):
        data.random_quadrants(jax.random.key(0), 3, shuffled=jnp.ones(2, bool))

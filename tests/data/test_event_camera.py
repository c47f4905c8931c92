"""The event camera by hand, its reversal exactly, voxel grids against the authors' code and against counts."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import data

DATA = pathlib.Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(DATA / "ev_wsss.npz"))


def events_of(counts):
    """The list of a stream that is given frame by frame: one row per event, in the order of time."""
    rows = [(x, y, t, float(n > 0)) for (t, y, x), n in np.ndenumerate(counts) for _ in range(abs(int(n)))]
    return jnp.array(rows, jnp.float32)


def stream():
    return np.random.default_rng(0).integers(-2, 3, size=(7, 4, 5))


def test_a_pixel_fires_once_per_threshold():
    # Threshold 0.5, levels 0, 0.4, 0.6, 0.6, -0.7: nothing, one up (reference 0.5), nothing, two down (1.2 below).
    counts = data.camera_events(jnp.array([0.0, 0.4, 0.6, 0.6, -0.7]), threshold=0.5)
    assert counts.tolist() == [0, 1, 0, -2]
    assert counts.dtype == jnp.int32
    # A slow change is not lost: 0.1 at a time still fires twice in ten frames.
    slow = data.camera_events(jnp.arange(11) * 0.1 + 1e-4 * jnp.arange(11), threshold=0.5)
    assert (slow.sum(), jnp.abs(slow).max()) == (2, 1)
    assert not data.camera_events(jnp.ones((5, 2, 2))).any()


def test_counts_reversed_twice_are_the_counts_and_once_are_the_negative_grid():
    counts = jnp.array(stream())
    once = data.reverse_counts(counts)
    np.testing.assert_array_equal(data.reverse_counts(once), counts)
    grid = data.count_voxels(counts, bins=4)
    np.testing.assert_allclose(data.count_voxels(once, bins=4), -grid[..., ::-1], atol=1e-6)


def test_a_list_reversed_twice_is_the_list():
    events = events_of(stream())
    shifted = events.at[:, 2].add(3.0)
    twice = data.reverse_events(data.reverse_events(shifted))
    np.testing.assert_array_equal(twice, events)  # counted from the first event, which was at 3
    padded = jnp.concatenate([events, jnp.full((2, 4), jnp.nan)])
    where = jnp.arange(len(padded)) < len(events)
    turned = data.reverse_events(padded, where)
    np.testing.assert_array_equal(turned[:2], np.zeros((2, 4)))
    np.testing.assert_array_equal(turned[2:], data.reverse_events(events))


def test_voxel_grids_are_the_authors(golden):
    events = jnp.float32(golden["in_events_xytp"])
    grid = lambda events, **options: np.moveaxis(
        data.voxel_grid(events, bins=5, height=6, width=8, **options), 2, 0
    )
    np.testing.assert_allclose(grid(events), golden["out_vox"], rtol=1e-5, atol=1e-6)
    reverse = grid(data.reverse_events(events))
    np.testing.assert_allclose(reverse, golden["out_vox_rev"], rtol=1e-5, atol=1e-6)
    # Rows without an event change nothing, whatever they hold.
    padded = jnp.concatenate([jnp.full((3, 4), jnp.nan), events])
    np.testing.assert_allclose(grid(padded, where=jnp.arange(len(padded)) >= 3), grid(events), atol=1e-6)


def test_counts_and_lists_make_the_same_grid():
    counts = stream()
    grid = data.voxel_grid(events_of(counts), bins=3, height=4, width=5, span=(0.0, 6.0))
    np.testing.assert_allclose(data.count_voxels(jnp.array(counts), bins=3), grid, atol=1e-5)
    np.testing.assert_allclose(data.count_voxels(jnp.array(counts), bins=1)[..., 0], counts.sum(0), atol=1e-5)


def test_no_events_and_events_of_one_time():
    empty = data.voxel_grid(jnp.zeros((0, 4)), bins=2, height=3, width=3)
    np.testing.assert_array_equal(empty, np.zeros((3, 3, 2)))
    none = data.voxel_grid(jnp.ones((4, 4)), bins=2, height=3, width=3, where=jnp.zeros(4))
    np.testing.assert_array_equal(none, empty)
    same = data.voxel_grid(jnp.array([[1.0, 2.0, 5.0, 1.0]] * 2), bins=3, height=3, width=3)
    assert same[2, 1, 0] == same.sum() == 2
    assert data.reverse_events(jnp.zeros((0, 4))).shape == (0, 4)


def test_grid_gradients_and_vmap():
    events = events_of(stream())[:20]
    grid = lambda e: data.voxel_grid(e, bins=3, height=4, width=5, span=(0.0, 6.0))
    assert np.isfinite(jax.grad(lambda e: jnp.square(grid(e)).sum())(events)).all()
    two = jax.vmap(grid)(jnp.stack([events, events[::-1]]))
    np.testing.assert_allclose(two[0], two[1], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.camera_events(jnp.zeros((1, 2))), "at least 2, got"),
        (lambda: data.camera_events(jnp.zeros((3, 2)), threshold=0.0), "threshold must be positive"),
        (lambda: data.reverse_events(jnp.zeros((3, 5))), r"\[N, 4\]"),
        (lambda: data.voxel_grid(jnp.zeros((3, 4)), bins=0, height=1, width=1), "at least 1, got 0, 1 and 1"),
        (lambda: data.voxel_grid(jnp.zeros((3, 4)), bins=1, height=1, width=1, where=jnp.ones(2)), r"\[N\]"),
        (lambda: data.count_voxels(jnp.zeros((3, 4)), bins=1), r"\[T, H, W\]"),
        (
            lambda: data.camera_events(jnp.zeros((3, 4)), threshold=np.float32(0)),
            "threshold must be positive",
        ),
    ],
)
def test_errors_are_one_line(call, message):
    with pytest.raises(ValueError, match=message) as info:
        call()
    assert "\n" not in str(info.value)

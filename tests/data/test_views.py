"""Stronger views: what comes out where, and both ways to compute it agree."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.data import cutout, random_affine, random_views
from jaxlab.data._views import _corners, _separable

KEY = jax.random.key(0)
IMAGES = jax.random.uniform(jax.random.key(1), (5, 6, 8, 2))
affine = jax.jit(random_affine, static_argnames=("shift", "rotate", "scale", "shear"))


def test_bilinear_by_hand():
    # Half a pixel down and a quarter to the right of (0, 0): 1/2 (3/4 * 1 + 1/4 * 2) + 1/2 (3/4 * 3 + 1/4 * 4).
    image = jnp.array([[1.0, 2.0], [3.0, 4.0]])[None, :, :, None]
    value = _corners(jnp.array([[[0.5, 0.25], [0.0, 1.0], [-0.5, 0.0], [5.0, 0.0]]]), image)
    np.testing.assert_allclose(value[0, :, 0], [2.25, 2.0, 0.5, 0.0], rtol=1e-6)
    straight = _separable(jnp.array([[0.5]]), jnp.array([[0.25]]), image)
    np.testing.assert_allclose(straight[0, :, :, 0], [[2.25]], rtol=1e-6)


def test_the_product_and_the_gather_agree():
    down, right = jnp.linspace(-2, 7, 6) + jnp.zeros((5, 6)), jnp.linspace(-1, 9, 8) + jnp.zeros((5, 8))
    grid = jnp.stack(jnp.broadcast_arrays(down[:, :, None], right[:, None, :]), axis=-1)
    gathered = _corners(grid.reshape(5, -1, 2), IMAGES).reshape(IMAGES.shape)
    np.testing.assert_allclose(_separable(down, right, IMAGES), gathered, atol=1e-6)


def test_nothing_asked_changes_nothing():
    np.testing.assert_allclose(affine(IMAGES, KEY), IMAGES, atol=1e-6)
    tiny = affine(IMAGES, KEY, rotate=1e-4, shear=1e-6)
    np.testing.assert_allclose(tiny, IMAGES, atol=1e-4)


@pytest.mark.parametrize("options", [{"shift": 0.2}, {"rotate": 90.0}, {"scale": 0.3}, {"shear": 0.3}])
def test_every_image_moves_by_its_own_amount(options):
    same = jnp.broadcast_to(IMAGES[:1], IMAGES.shape)
    views = affine(same, KEY, **options)
    assert views.shape == IMAGES.shape
    assert (np.abs(views[1:] - views[:1]).max(axis=(1, 2, 3)) > 1e-3).all()
    np.testing.assert_array_equal(views, affine(same, KEY, **options))
    assert (views >= 0).all()
    assert (views <= 1 + 1e-6).all()


def test_a_shift_stays_within_its_bound():
    spot = jnp.zeros((200, 9, 9, 1)).at[:, 4, 4].set(1.0)
    views = affine(spot, KEY, shift=1 / 9)
    place = np.argwhere(np.asarray(views)[..., 0] > 0)[:, 1:]
    assert place.min() == 3
    assert place.max() == 5


def test_a_turn_keeps_the_centre_and_the_distance_from_it():
    spot = jnp.zeros((100, 9, 9, 1)).at[:, 4, 4].set(1.0)
    np.testing.assert_allclose(affine(spot, KEY, rotate=180.0)[:, 4, 4], 1.0, atol=1e-5)
    off = affine(jnp.zeros((100, 9, 9, 1)).at[:, 4, 7].set(1.0), KEY, rotate=180.0)
    y, x = jnp.meshgrid(jnp.arange(9) - 4, jnp.arange(9) - 4, indexing="ij")
    distance = (off[..., 0] * jnp.hypot(x, y)).sum((1, 2)) / off.sum((1, 2, 3))
    np.testing.assert_allclose(distance, 3.0, atol=0.35)


@pytest.mark.parametrize("size", [0, 1, 3, 20])
def test_a_hole_is_a_square_cut_off_at_the_border(size):
    holes = np.asarray(cutout(jnp.ones((300, 6, 8, 1)), KEY, size=size) == 0)[..., 0]
    rows, columns = holes.any(2).sum(1), holes.any(1).sum(1)
    np.testing.assert_array_equal(holes.sum((1, 2)), rows * columns)
    assert rows.max() == min(size, 6)
    assert columns.max() == min(size, 8)
    if size == 1:
        # Every pixel is blanked about as often: 300 / 48 = 6 times.
        assert holes.sum(0).min() >= 1


def test_gradient_and_types():
    gradient = jax.grad(lambda x: cutout(x, KEY, size=3).sum())(IMAGES)
    np.testing.assert_array_equal(gradient == 0, cutout(jnp.ones_like(IMAGES), KEY, size=3) == 0)
    assert random_affine(IMAGES.astype(jnp.bfloat16), KEY, rotate=10.0).dtype == jnp.bfloat16
    assert cutout(IMAGES.astype(jnp.bfloat16), KEY, size=2, fill=0.5).dtype == jnp.bfloat16


def test_views_are_independent_and_each_change_is_made():
    views = jax.jit(functools.partial(random_views, count=3, shift=0.1, gain=0.5))(IMAGES, KEY)
    assert views.shape == (3, *IMAGES.shape)
    assert (np.abs(views[1:] - views[:1]).max(axis=(2, 3, 4)) > 1e-3).all()
    np.testing.assert_array_equal(random_views(IMAGES, KEY), np.stack([IMAGES, IMAGES]))  # nothing asked
    many = jnp.broadcast_to(IMAGES[:1], (400, *IMAGES.shape[1:]))
    flipped = np.asarray(random_views(many, KEY, count=1, flip=True))[0]
    mirrored = (flipped == many[:, :, ::-1]).all((1, 2, 3))
    assert (mirrored | (flipped == many).all((1, 2, 3))).all()
    assert 0.4 < mirrored.mean() < 0.6
    ratio = np.asarray(random_views(many, KEY, count=1, gain=0.5))[0] / many
    assert np.ptp(ratio, axis=(1, 2, 3)).max() < 1e-5  # one factor for an image
    np.testing.assert_allclose([np.log(ratio).min(), np.log(ratio).max()], [-0.5, 0.5], atol=0.02)
    added = np.asarray(random_views(many, KEY, count=1, noise=0.2))[0] - many
    np.testing.assert_allclose([added.mean(), added.std()], [0, 0.2], atol=0.005)
    assert ((np.asarray(random_views(many, KEY, hole=2)) == 0).sum((2, 3, 4)) <= 2 * 2 * 2).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: random_views(IMAGES[0], KEY), "random_views needs images"),
        (lambda: random_views(IMAGES, KEY, count=0), "count must be at least 1, .* got 0, 0.0 and 0.0"),
        (lambda: random_views(IMAGES, KEY, noise=-0.1), "gain and noise at least 0, got 2, 0.0 and -0.1"),
        (
            lambda: random_affine(IMAGES[0], KEY),
            r"random_affine needs images \[B, H, W, C\], got \(6, 8, 2\)",
        ),
        (lambda: random_affine(IMAGES, KEY, shift=-0.1), "amounts must be at least 0"),
        (lambda: cutout(IMAGES[0], KEY, size=1), "cutout needs images"),
        (lambda: cutout(IMAGES, KEY, size=-1), "size must be at least 0, got -1"),
    ],
)
def test_errors_are_one_line(call, message):
    with pytest.raises(ValueError, match=message) as info:
        call()
    assert "\n" not in str(info.value)

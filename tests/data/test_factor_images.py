"""Images made of factors: determined by their key, every factor where the table says it is."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.data import SHAPES, TEXTURES, FactorImages, draw, factor_images

KEY = jax.random.key(0)
STATIC = ("num_examples", "shapes", "textures", "size", "place", "radius", "angle", "clutter", "noise")
made = jax.jit(factor_images, static_argnames=STATIC)
CLEAN = {"size": 32, "clutter": 0.0, "noise": 0.0, "textures": ("plain",)}


@functools.cache
def _clean(shape, **changes):
    return made(KEY, 64, shapes=(shape,), **{**CLEAN, **changes})


def _moments(image):
    """Mass, centre (down, right) in sides, and the matrix of second moments around it."""
    image = np.asarray(image, np.float64)[..., 0]
    at = (np.arange(image.shape[-1]) + 0.5) / image.shape[-1] - 0.5
    grid = np.stack(np.meshgrid(at, at, indexing="ij"))
    mass = image.sum((1, 2))
    centre = np.einsum("nyx,cyx->nc", image, grid) / mass[:, None]
    apart = grid[None] - centre[:, :, None, None]
    return mass, centre, np.einsum("nyx,ncyx,ndyx->ncd", image, apart, apart) / mass[:, None, None]


def test_the_table_and_the_label():
    images = made(KEY, 240, shapes=SHAPES, textures=TEXTURES)
    assert isinstance(images, FactorImages)
    assert images.image.shape == (240, 16, 16, 1)
    assert images.image.dtype == jnp.float32
    assert 0 <= images.image.min() < images.image.max() <= 1
    np.testing.assert_array_equal(np.bincount(images.label), np.full(60, 4))
    np.testing.assert_array_equal(images.label, images.shape * len(TEXTURES) + images.texture)
    assert (images.shape.max(), images.texture.max()) == (9, 5)
    limits = {"place": (-0.2, 0.2), "radius": (0.22, 0.34), "angle": (-np.pi, np.pi)}
    for name, (low, high) in limits.items():
        values, span = np.asarray(getattr(images, name)), high - low
        assert low <= values.min() < low + 0.05 * span
        assert high - 0.05 * span < values.max() <= high
    # Factors are independent: no correlation beyond 4 / sqrt(240).
    table = np.column_stack([images.shape, images.texture, images.place, images.radius, images.angle])
    assert np.abs(np.corrcoef(table.T) - np.eye(6)).max() < 0.26
    assert set(draw(images, KEY, batch_size=3)) == {*images._fields, "index"}


def test_determined_by_its_key():
    first, again, other = (made(jax.random.key(n), 8) for n in (0, 0, 1))
    chex.assert_trees_all_equal(first, again)
    assert np.abs(first.image - other.image).max() > 0.1
    with jax.disable_jit():
        eager = factor_images(KEY, 8)
    np.testing.assert_allclose(first.image, eager.image, atol=1e-5)


@pytest.mark.parametrize("shape", ["disk", "square", "cross", "bar", "ring"])
def test_a_symmetric_shape_is_centred_at_its_place_and_as_large_as_it_says(shape):
    images = _clean(shape)
    mass, centre, _ = _moments(images.image)
    np.testing.assert_allclose(centre, images.place, atol=0.01)
    area = {"disk": np.pi * 0.85**2, "square": 1.5**2, "cross": 2 * 1.9 * 0.6 - 0.36, "bar": 2 * 0.7,
            "ring": np.pi * (0.95**2 - 0.45**2)}[shape]  # fmt: skip
    np.testing.assert_allclose(mass / 32**2, area * np.asarray(images.radius) ** 2, rtol=0.06)


def test_a_bar_points_where_its_angle_says():
    images = _clean("bar")
    *_, spread = _moments(images.image)
    # The longest axis, right and up: y goes down in an image.
    axis = np.linalg.eigh(spread)[1][:, :, -1]
    found = np.arctan2(-axis[:, 0], axis[:, 1])
    apart = (found - np.asarray(images.angle) + np.pi / 2) % np.pi - np.pi / 2
    assert np.abs(apart).max() < 0.05


def test_every_shape_and_texture_is_another_picture():
    still = {**CLEAN, "place": 0.0, "angle": 0.0, "radius": (0.3, 0.3), "size": 24}
    images = made(KEY, 60, shapes=SHAPES, **{**still, "textures": TEXTURES})
    flat = np.asarray(images.image)[np.argsort(images.label)].reshape(60, -1)
    apart = np.linalg.norm(flat[:, None] - flat, axis=-1) / np.sqrt(flat.shape[1])
    assert (apart + np.eye(60)).min() > 0.03
    # The apex of the triangle is up, the arms of the corner left and down; all stay within their radius and a little.
    rows = flat.reshape(10, 6, 24, 24)[:, 0]
    triangle, corner = rows[SHAPES.index("triangle")], rows[SHAPES.index("corner")]
    assert (triangle[:12] > 0.5).sum() < (triangle[12:] > 0.5).sum()
    assert corner[:12, 12:].sum() < min(corner[12:].sum(), corner[:, :12].sum()) / 4
    assert flat.reshape(60, 24, 24)[:, [0, 1, 22, 23]].max() == 0


def test_clutter_and_noise_are_what_was_asked_for():
    plain, cluttered, noisy = (
        made(KEY, 64, **{**CLEAN, **changes}).image for changes in ({}, {"clutter": 1.0}, {"noise": 0.1})
    )
    background = np.asarray(plain) == 0
    assert 0.02 < np.asarray(cluttered)[background].mean() < 0.2
    np.testing.assert_allclose(
        np.asarray(cluttered)[np.asarray(plain) == 1], 1, atol=1e-6
    )  # objects are in front
    # Half of a normal variable, cut off at 0, has the mean sd / sqrt(2 pi).
    np.testing.assert_allclose(np.asarray(noisy)[background].mean(), 0.1 / np.sqrt(2 * np.pi), rtol=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"shapes": ("disk", "egg")},
            r"shapes must be different names out of disk, .*, got \('disk', 'egg'\)",
        ),
        ({"textures": ("plain", "plain")}, "textures must be different names out of plain"),
        ({"shapes": ()}, "shapes must be different names"),
        ({"size": 7}, "size must be at least 8 pixels, got 7"),
        ({"clutter": 1.5}, r"clutter in \[0, 1\], got 0.2, 3.14.*, 0.05 and 1.5"),
        ({"noise": -0.1}, "noise must be at least 0"),
        ({"radius": (0.3, 0.2)}, r"radius must be a smallest and a largest size above 0, got \(0.3, 0.2\)"),
    ],
)
def test_errors_are_one_line(options, message):
    with pytest.raises(ValueError, match=message) as info:
        factor_images(KEY, 4, **options)
    assert "\n" not in str(info.value)

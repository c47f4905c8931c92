"""Procedural images made of independent factors: a shape with a texture, at a place, of a size, turned, before clutter.

An object is drawn in coordinates of its own, `(u, v)`, in which its radius is 1: a shape is where a function of them is
negative, a texture a function of them in [-1, 1]. Place, size and angle say where those coordinates lie in the image.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError
from jaxlab.data._hierarchy import _balanced_labels
from jaxlab.data._parts import parts, total

_PATCHES = 6  # of clutter in an image

# Negative inside, about the distance to the border. Three of them look the same after some turns: disk and ring after
# any, the square after a quarter.
_SHAPES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "disk": lambda u, v: jnp.hypot(u, v) - 0.85,
    "square": lambda u, v: jnp.maximum(jnp.abs(u), jnp.abs(v)) - 0.75,
    "triangle": lambda u, v: jnp.maximum(v, 0.866 * jnp.abs(u) - 0.5 * v) - 0.5,
    "cross": lambda u, v: jnp.minimum(_box(u, v, 0.95, 0.3), _box(u, v, 0.3, 0.95)),
    "bar": lambda u, v: _box(u, v, 1.0, 0.35),
    "ring": lambda u, v: jnp.abs(jnp.hypot(u, v) - 0.7) - 0.25,
    "half_disk": lambda u, v: jnp.maximum(jnp.hypot(u, v - 0.4) - 1.0, v - 0.4),
    "corner": lambda u, v: jnp.minimum(_box(u + 0.5, v, 0.35, 0.85), _box(u, v - 0.5, 0.85, 0.35)),
    "crescent": lambda u, v: jnp.maximum(jnp.hypot(u, v) - 0.9, 0.7 - jnp.hypot(u - 0.55, v)),
    "star": lambda u, v: jnp.hypot(u, v) * (1 + 0.35 * jnp.cos(5 * jnp.arctan2(v, u))) - 0.7,
}
_TEXTURES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "plain": lambda u, v: jnp.ones_like(u),
    "stripes": lambda u, v: jnp.cos(2.5 * jnp.pi * u),
    "checks": lambda u, v: jnp.sin(1.8 * jnp.pi * u) * jnp.sin(1.8 * jnp.pi * v),
    "rings": lambda u, v: jnp.cos(2.5 * jnp.pi * jnp.hypot(u, v)),
    "ramp": lambda u, v: jnp.clip(u, -1, 1),
    "rays": lambda u, v: jnp.cos(4 * jnp.arctan2(v, u)),
}
SHAPES = tuple(_SHAPES)
TEXTURES = tuple(_TEXTURES)


class FactorImages(NamedTuple):
    """Images with the factors that made them; a set like `Images`, so `draw` and `take` work on it.

    Attributes:
      image: `[N, S, S, 1]` float32 in [0, 1].
      label: `[N]` int32, `shape * number of textures + texture`.
      shape: `[N]` int32, index into the shapes asked for.
      texture: `[N]` int32, index into the textures.
      place: `[N, 2]` float32, the centre's distance from the middle, down and right, in sides.
      radius: `[N]` float32, in sides.
      angle: `[N]` float32 in radians, counter-clockwise as one looks at it.
    """

    image: jax.Array
    label: jax.Array
    shape: jax.Array
    texture: jax.Array
    place: jax.Array
    radius: jax.Array
    angle: jax.Array


def factor_images(
    key: jax.Array,
    num_examples: int,
    *,
    shapes: Sequence[str] = SHAPES[:4],
    textures: Sequence[str] = TEXTURES[:4],
    size: int = 16,
    place: float = 0.2,
    radius: tuple[float, float] = (0.22, 0.34),
    angle: float = math.pi,
    clutter: float = 0.5,
    noise: float = 0.05,
) -> FactorImages:
    """Procedural images in which every factor is known: for probes of what a representation holds.

    All factors are independent, so that one can be the label and the others what disturbs. The background holds six
    soft striped patches of random place, width, direction and contrast. Up to ten shapes by six textures are sixty
    classes. Pure: jit it with everything but the key static, and stream by a new key for each step.

        image = clip(b + a (o - b) + noise, 0, 1),   o = 0.65 + 0.35 texture(u, v),   b = 0.5 clutter |patches|

    with a the share of a pixel that the shape covers.

    Args:
      key: `jax.random.key`; the same key is the same images.
      num_examples: N.
      shapes: names out of `SHAPES`, which `shape` counts.
      textures: names out of `TEXTURES`.
      size: pixels S on a side, at least 8.
      place: largest distance of the object's centre from the middle along each axis, in sides.
      radius: smallest and largest radius in sides; its logarithm is uniform.
      angle: largest turn to either side, in radians; pi is any.
      clutter: contrast of the background, in [0, 1].
      noise: standard deviation of pixel noise.

    Returns:
      `FactorImages`; labels in random order, the classes' counts differ by one at most.

    Raises:
      ValueError: an unknown or repeated name, fewer than 8 pixels, or a number outside of its range.

    Reference: Matthey et al., dSprites: Disentanglement testing Sprites dataset, 2017, for images of shape, place,
      size and angle; the generator is not theirs.

    >>> import jax
    >>> from jaxlab.data import factor_images
    >>> made = factor_images(jax.random.key(0), 32, textures=("plain", "stripes"))
    >>> made.image.shape, sorted(set(made.label.tolist()))
    ((32, 16, 16, 1), [0, 1, 2, 3, 4, 5, 6, 7])
    """
    _check(shapes, textures, size, place, radius, angle, clutter, noise)
    label_key, factor_key, noise_key = jax.random.split(key, 3)
    label = _balanced_labels(label_key, num_examples, len(shapes) * len(textures))
    of_object, of_patches = (num_examples, 4), (num_examples, _PATCHES, 6)
    draws = jax.random.uniform(factor_key, (total(of_object, of_patches),), jnp.float32, -1, 1)
    own, patches = parts(draws, of_object, of_patches)
    low, high = jnp.log(jnp.array(radius, jnp.float32))
    made = FactorImages(
        image=jnp.zeros(()),
        label=label,
        shape=label // len(textures),
        texture=label % len(textures),
        place=place * own[:, :2],
        radius=jnp.exp(low + (high - low) * (own[:, 2] + 1) / 2),
        angle=angle * own[:, 3],
    )
    background = 0.5 * clutter * _clutter(patches, size)
    cover, surface = _objects(made, shapes, textures, size)
    image = background + cover * (0.65 + 0.35 * surface - background)
    image = image + noise * jax.random.normal(noise_key, image.shape, jnp.float32)
    return made._replace(image=jnp.clip(image, 0, 1)[..., None])


def _box(u: jax.Array, v: jax.Array, half_width: float, half_height: float) -> jax.Array:
    return jnp.maximum(jnp.abs(u) - half_width, jnp.abs(v) - half_height)


def _pixels(size: int) -> tuple[jax.Array, jax.Array]:
    """Places of the pixels from the middle, down and right, `[S, S]` each, in sides."""
    at = (jnp.arange(size, dtype=jnp.float32) + 0.5) / size - 0.5
    return jnp.meshgrid(at, at, indexing="ij")


def _turned(down: jax.Array, right: jax.Array, angle: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Coordinates along the axes of something turned by `angle`."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return cos * right - sin * down, sin * right + cos * down


def _objects(
    made: FactorImages, shapes: Sequence[str], textures: Sequence[str], size: int
) -> tuple[jax.Array, jax.Array]:
    """Share of every pixel that is covered, and the texture there, `[N, S, S]` each."""
    down, right = (at - made.place[:, axis, None, None] for axis, at in enumerate(_pixels(size)))
    u, v = (at / made.radius[:, None, None] for at in _turned(down, right, made.angle[:, None, None]))

    def chosen(table: dict[str, Callable], names: Sequence[str], index: jax.Array) -> jax.Array:
        found = jnp.zeros_like(u)
        for number, name in enumerate(names):
            found = jnp.where((index == number)[:, None, None], table[name](u, v), found)
        return found

    inside = -chosen(_SHAPES, shapes, made.shape) * made.radius[:, None, None] * size
    return jnp.clip(inside + 0.5, 0, 1), chosen(_TEXTURES, textures, made.texture)


def _clutter(draws: jax.Array, size: int) -> jax.Array:
    """Absolute sum of striped patches in soft windows, from `[N, patches, 6]` numbers in [-1, 1]; about [0, 1]."""
    down, right = _pixels(size)
    total = jnp.zeros((len(draws), size, size), jnp.float32)
    for patch in range(draws.shape[1]):
        place_down, place_right, angle, wave, width, contrast = draws[:, patch, :, None, None].swapaxes(0, 1)
        across, along = _turned(down - 0.5 * place_down, right - 0.5 * place_right, jnp.pi * angle)
        window = jnp.exp(-0.5 * (across**2 + along**2) / (0.12 + 0.05 * width) ** 2)
        total = total + contrast * window * jnp.cos(2 * jnp.pi * (3 + 2 * wave) * across)
    return jnp.abs(total)


def _check(shapes, textures, size, place, radius, angle, clutter, noise):
    for name, given, known in (("shapes", shapes, SHAPES), ("textures", textures, TEXTURES)):
        if not given or len(set(given)) < len(given) or not set(given) <= set(known):
            raise InputError(f"{name} must be different names out of {', '.join(known)}, got {tuple(given)}")
    if size < 8:
        raise InputError(f"size must be at least 8 pixels, got {size}")
    if min(place, angle, noise) < 0 or not 0 <= clutter <= 1:
        raise InputError(
            "place, angle and noise must be at least 0 and clutter in [0, 1], got "
            f"{place}, {angle}, {noise} and {clutter}"
        )
    if len(radius) != 2 or not 0 < radius[0] <= radius[1]:
        raise InputError(f"radius must be a smallest and a largest size above 0, got {radius}")

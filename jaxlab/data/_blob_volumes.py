"""Volumes with rows of touching blobs, blurred at their boundaries: what makes teeth in a scan hard."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError
from jaxlab.data._numbers import Numbers

_WAVES = 12  # cosines of the surroundings


class BlobVolumes(NamedTuple):
    """Labelled volumes, or slices of them; a pytree of arrays with one leading axis.

    Attributes:
        image: `[N, ..., 1]` float32, about in [0, 1].
        label: `[N, ...]` int32, 1 inside a blob of the row.
        instance: `[N, ...]` int32, which blob of the row it is, from 1; 0 outside.
        ambiguous: `[N, ...]` bool, the voxels near a boundary, where the blur leaves the image undecided.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import BlobVolumes
    >>> plane = jnp.zeros((2, 8, 8), jnp.int32)
    >>> BlobVolumes(jnp.zeros((2, 8, 8, 1)), plane, plane, plane > 0).label.shape
    (2, 8, 8)
    """

    image: jax.Array
    label: jax.Array
    instance: jax.Array
    ambiguous: jax.Array


def _coordinates(size: tuple[int, ...]) -> jax.Array:
    """`[..., dims]` voxel centres, in units of the first axis' length, around 0."""
    axes = [(np.arange(n) + 0.5 - n / 2) / size[0] for n in size]
    return jnp.asarray(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1), jnp.float32)


def _arch(number: Numbers, count: int, dims: int) -> tuple[jax.Array, jax.Array]:
    """Centres and radii `[count, dims]` of blobs that touch their neighbours along a turned and shifted parabola."""
    radius = number(0.08, 0.12, count)
    # Neighbours overlap a little: the distance of two is 0.9 of the sum of their radii.
    along = jnp.concatenate([jnp.zeros(1), jnp.cumsum(0.9 * (radius[1:] + radius[:-1]))])
    along, bend = along - along[-1] / 2, number(0.3, 1.6)
    # The parabola's arms fall off, so less of the length lies along the second axis.
    across = along / jnp.sqrt(1 + jnp.square(bend * along))
    drop = bend * jnp.square(across)
    turn, shift = number(-np.pi, np.pi), number(-0.15, 0.15, 2)
    flat = jnp.stack([drop - drop.mean(), across], axis=1) @ jnp.array(
        [[jnp.cos(turn), jnp.sin(turn)], [-jnp.sin(turn), jnp.cos(turn)]]
    )
    centre = jnp.concatenate([flat + shift, number(-0.05, 0.05, count, dims - 2)], axis=1)
    shape = radius[:, None] * number(0.9, 1.2, count, dims)
    return centre, shape.at[:, 2:].multiply(1.4)


def _spots(number: Numbers, count: int, dims: int) -> tuple[jax.Array, jax.Array]:
    """Lone blobs that are as bright as the row, smaller, and not part of it."""
    centre = number(-0.45, 0.45, count, dims)
    radius = number(0.04, 0.065, count, 1)
    return centre.at[:, 2:].multiply(0.3), jnp.broadcast_to(radius, (count, dims))


def _depth(x: jax.Array, centre: jax.Array, radius: jax.Array) -> jax.Array:
    """How deep every voxel lies in each blob `[..., count]`: 0 at its surface, negative outside."""
    away = jnp.sqrt(1e-6 + jnp.sum(jnp.square((x[..., None, :] - centre) / radius), axis=-1))
    return (1 - away) * jnp.min(radius, axis=-1)


def _surroundings(number: Numbers, x: jax.Array) -> jax.Array:
    """Smooth grey structure of unit variance, the same everywhere in kind."""
    waves, phases = number(-25, 25, _WAVES, x.shape[-1]), number(0, 2 * np.pi, _WAVES)
    return np.sqrt(2 / _WAVES) * jnp.sum(jnp.cos(x @ waves.T + phases), axis=-1)


def _count(num_blobs: int, num_spots: int, dims: int) -> int:
    """How many numbers a volume needs."""
    return num_blobs * (2 * dims - 1) + 4 + num_spots * (dims + 1) + _WAVES * (dims + 1) + 4 + dims


def blob_volumes(
    key: jax.Array,
    num_examples: int,
    *,
    size: tuple[int, ...] = (24, 24, 12),
    num_blobs: int = 7,
    num_spots: int = 3,
    blur: float = 0.02,
    contrast: float = 0.4,
    clutter: float = 0.09,
    noise: float = 0.06,
    variation: float = 0.5,
) -> BlobVolumes:
    """Procedural volumes for segmentation from few labels: a curved row of touching blobs in grey surroundings.

    The blobs of a row touch, the blur hides where they end, the surroundings have structure of nearly the same
    brightness, and lone spots look like blobs but are not in the row. Scans differ: in gain, brightness, blur and
    noise, so that a handful of them does not show what the others look like. Pure: jit it with `num_examples`
    static.

        image = a + g (contrast s(depth / blur) + clutter structure) + slope . x + noise

    Args:
        key: `jax.random.key`.
        num_examples: volumes N.
        size: voxels along each axis, two or three of them, at least 8 each.
        num_blobs: blobs of the row; as many as fit show.
        num_spots: lone spots.
        blur: width of a boundary, in units of the first axis.
        contrast: of the row against its surroundings.
        clutter: standard deviation of the surroundings.
        noise: standard deviation of each voxel's noise.
        variation: at least 0; how much scans differ from each other.

    Returns:
        `BlobVolumes` with image `[N, *size, 1]`.

    Raises:
        ValueError: sizes that are not two or three numbers of at least 8, or no blobs.

    Reference: RAIL: Region-Aware Instructive Learning for Semi-Supervised Tooth Segmentation in CBCT, 2025, for what
      makes teeth hard; the generator is not theirs.

    >>> import jax
    >>> from jaxlab.data import blob_volumes
    >>> volumes = jax.eval_shape(lambda key: blob_volumes(key, 4, size=(16, 16, 8)), jax.random.key(0))
    >>> volumes.image.shape, volumes.instance.shape
    ((4, 16, 16, 8, 1), (4, 16, 16, 8))
    """
    if len(size) not in (2, 3) or min(size) < 8:
        raise InputError(f"size must be two or three numbers of at least 8, got {tuple(size)}")
    if num_blobs < 1 or num_spots < 0:
        raise InputError(f"blob_volumes needs at least 1 blob and 0 spots, got {num_blobs} and {num_spots}")
    x = _coordinates(tuple(size))

    dims = len(size)

    def volume(given: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        number = Numbers(given[0])
        grain = jax.random.normal(given[1], x.shape[:-1], jnp.float32)
        depths = _depth(x, *_arch(number, num_blobs, dims))
        depth, nearest = depths.max(-1), depths.argmax(-1)
        label = depth > 0
        # Uniform numbers of unit variance.
        blurry, grainy, lift, gain = variation * number(-(3**0.5), 3**0.5, 4)
        slope = 0.3 * variation * number(-(3**0.5), 3**0.5, dims)
        width = blur * jnp.exp(0.5 * blurry)
        bright = jax.nn.sigmoid(depth / width)
        if num_spots:
            spot = _depth(x, *_spots(number, num_spots, dims)).max(-1)
            bright = jnp.maximum(bright, 0.9 * jax.nn.sigmoid(spot / width))
        signal = contrast * bright + clutter * _surroundings(number, x)
        image = 0.35 + 0.1 * lift + jnp.exp(0.5 * gain) * signal + x @ slope
        image += noise * jnp.exp(0.5 * grainy) * grain
        return image, label, jnp.where(label, nearest + 1, 0), jnp.abs(depth) < 1.5 * width

    number_key, grain_key = jax.random.split(key)
    numbers = jax.random.uniform(number_key, (num_examples, _count(num_blobs, num_spots, dims)), jnp.float32)
    # One after another: on a CPU a program that draws all the noise at once takes far longer to compile.
    image, label, instance, ambiguous = jax.lax.map(
        volume, (numbers, jax.random.split(grain_key, num_examples))
    )
    return BlobVolumes(image[..., None], label.astype(jnp.int32), instance.astype(jnp.int32), ambiguous)


def volume_slices(volumes: BlobVolumes, *, index: int | None = None) -> BlobVolumes:
    """The slices of volumes along their last axis, as images.

    Args:
        volumes: with three spatial axes, `[N, D, H, W]`.
        index: take this slice of each volume alone, negative from the end; None takes all of them.

    Returns:
        `BlobVolumes` of `[N W, D, H]` images, the slices of a volume one after another; `[N, D, H]` with an index.

    Raises:
        ValueError: volumes without three spatial axes, or an index outside of the last one.

    >>> import jax
    >>> from jaxlab.data import blob_volumes, volume_slices
    >>> slices = lambda key: volume_slices(blob_volumes(key, 2, size=(16, 16, 8)))
    >>> jax.eval_shape(slices, jax.random.key(0)).image.shape
    (16, 16, 16, 1)
    """
    if jnp.ndim(volumes.label) != 4:
        raise InputError(f"volume_slices needs labels [N, D, H, W], got {jnp.shape(volumes.label)}")
    count = volumes.label.shape[3]
    if index is not None:
        if not -count <= index < count:
            raise InputError(f"index is {index}: the last axis has {count} slices")
        return jax.tree.map(lambda x: x[:, :, :, index], volumes)
    return jax.tree.map(lambda x: jnp.moveaxis(x, 3, 1).reshape(-1, *x.shape[1:3], *x.shape[4:]), volumes)

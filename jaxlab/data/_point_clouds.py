"""Procedural scenes of points seen from above: boxes of three unequal classes among clutter."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError
from jaxlab.data._parts import parts, total

POINT_CLASSES = ("car", "pedestrian", "cyclist")
# Of each class: length, width, mean height of its points, mean reflectance; clusters of clutter come last.
_FORMS = np.array([[6.0, 3.0, 0.4, 0.6], [2.2, 2.2, 0.7, 0.35], [4.2, 2.0, 0.6, 0.5]], np.float32)
_CELLS = 4


class PointScenes(NamedTuple):
    """Point clouds with boxes; a pytree.

    Attributes:
        points: `[N, P, 4]` float32 (x, y, height, reflectance); x is the distance from the sensor.
        exists: `[N, P]` bool, which points exist.
        boxes: `[N, M, 5]` float32 (x, y, length, width, heading); zeros where there is none.
        classes: `[N, M]` int32, -1 where there is no box.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import PointScenes
    >>> PointScenes(*(jnp.zeros((2, 4)),) * 4).exists.shape
    (2, 4)
    """

    points: jax.Array
    exists: jax.Array
    boxes: jax.Array
    classes: jax.Array


def _turn(local: jax.Array, heading: jax.Array) -> jax.Array:
    cos, sin = jnp.cos(heading), jnp.sin(heading)
    x, y = local[..., 0], local[..., 1]
    return jnp.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def _places(cells: jax.Array, jitter: jax.Array, shift: jax.Array, size: float) -> jax.Array:
    """Centres `[M, 2]` in different cells of a grid that itself is shifted, from numbers in [0, 1)."""
    cell = jnp.argsort(cells)[: len(jitter)]
    corner = jnp.stack([cell // _CELLS, cell % _CELLS], axis=-1).astype(jnp.float32)
    place = corner + 0.5 + 0.16 * (jitter - 0.5) + 0.5 * (shift - 0.5)
    return place * (size / _CELLS) - jnp.array([0.0, size / 2])


def _boxes(
    extents: jax.Array, headings: jax.Array, classes: jax.Array, centres: jax.Array, aligned: bool
) -> jax.Array:
    """Boxes `[M, 5]` of the sizes of their classes, a sixth more or less."""
    extent = jnp.asarray(_FORMS)[classes, :2] * (0.85 + 0.3 * extents)
    heading = jnp.pi * (2 * headings - 1)
    if aligned:
        extent = jnp.where((heading > 0)[:, None], extent, extent[:, ::-1])
        heading = jnp.zeros_like(heading)
    return jnp.concatenate([centres, extent, heading[:, None]], axis=-1)


def _object_points(
    boxes: jax.Array, values: jax.Array, places: jax.Array, sides: jax.Array, shares: jax.Array, size: float
) -> tuple[jax.Array, jax.Array]:
    """Points `[M, K, 4]` of objects, along their outlines, and which of them exist."""
    # Each point lies on one of four sides: a coordinate near its end, the other anywhere.
    end = jnp.where(sides % 0.5 < 0.25, 0.48, -0.48)[..., None]
    outline = jnp.where((sides < 0.5)[..., None] == jnp.array([True, False]), end, places - 0.5)
    plane = boxes[:, None, :2] + _turn(outline * boxes[:, None, 2:4], boxes[:, None, 4])
    # The beams of the sensor spread: an object at the far end returns a quarter of the points of a near one.
    share = jnp.clip(1.1 - 0.85 * boxes[:, 0] / size, 0.2, 1.0) * (0.6 + 0.4 * shares)
    kept = jnp.maximum(jnp.round(sides.shape[1] * share * jnp.sqrt(boxes[:, 2] * boxes[:, 3] / 18.0)), 3)
    return jnp.concatenate([plane, values], axis=-1), jnp.arange(sides.shape[1]) < kept[:, None]


def point_cloud_scenes(
    key: jax.Array,
    num_examples: int,
    *,
    size: float = 32.0,
    max_objects: int = 8,
    points_per_object: int = 28,
    num_clusters: int = 4,
    num_clutter: int = 128,
    class_shares: tuple[float, float, float] = (0.65, 0.2, 0.15),
    aligned: bool = False,
    difficulty: Any = 0.5,
) -> PointScenes:
    """Scenes of cars, pedestrians and cyclists as points seen from above, with clutter.

    Far objects return few points. Clusters of clutter have the extent of an object and heights of their own, single
    points lie everywhere, and the rarer classes are also the smaller ones. Boxes do not overlap. Pure: jit it with
    `num_examples` static, and stream by a new key.

    Args:
        key: makes the scenes.
        num_examples: number of scenes N.
        size: the scene is [0, size] x [-size / 2, size / 2]; the objects' sizes do not change with it.
        max_objects: boxes M in a scene at most, up to 16 together with the clusters; at least half of them exist.
        points_per_object: most points of one.
        num_clusters: of clutter in every scene.
        num_clutter: single points everywhere.
        class_shares: how often each of `POINT_CLASSES` occurs.
        aligned: lengths and widths along the axes only, with heading 0, for detectors that predict none.
        difficulty: in [0, 1], may be traced: blurs height and reflectance and moves clutter towards objects.

    Returns:
        `PointScenes` with `P = (max_objects + num_clusters) points_per_object + num_clutter`.

    Raises:
        ValueError: more objects and clusters than places, or shares that are not three.

    Reference: the task of Liu et al., Hierarchical Supervision and Shuffle Data Augmentation, 2023, in small; the
      generator is not theirs.

    >>> import jax
    >>> from jaxlab.data import point_cloud_scenes
    >>> scenes = jax.jit(point_cloud_scenes, static_argnums=1)(jax.random.key(0), 5)
    >>> scenes.points.shape, scenes.boxes.shape
    ((5, 464, 4), (5, 8, 5))
    """
    slots = max_objects + num_clusters
    if not 1 <= max_objects <= slots <= _CELLS**2 or len(class_shares) != len(POINT_CLASSES):
        raise InputError(
            f"point_cloud_scenes has {_CELLS**2} places and 3 class_shares, got {max_objects} objects, "
            f"{num_clusters} clusters and {class_shares}"
        )
    noise = 0.05 + 0.2 * jnp.asarray(difficulty)
    shares = np.cumsum(class_shares[:-1]) / np.sum(class_shares)
    k = points_per_object
    uniform = ((slots,), (), (_CELLS**2,), (slots, 2), (2,), (slots, 2), (slots,), (slots, 2), (slots, k, 2),
               (slots, k), (slots,), (num_clutter, 4))  # fmt: skip

    def one(key: jax.Array) -> PointScenes:
        first, second = jax.random.split(key)
        numbers = parts(jax.random.uniform(first, (total(*uniform),)), *uniform)
        kinds, count, cells, jitter, shift, extents, headings, strange, places, sides, seen, single = numbers
        classes = jnp.sum(kinds[:, None] >= shares, axis=-1)
        fewest = (max_objects + 1) // 2
        count = fewest + jnp.floor((max_objects + 1 - fewest) * count)
        boxes = _boxes(extents, headings, classes, _places(cells, jitter, shift, size), aligned)
        # Clutter that is as high and bright as an object cannot be told apart: difficulty moves it there.
        is_clutter = jnp.arange(slots) >= max_objects
        look = jnp.where(
            is_clutter[:, None], 0.35 * strange + 0.35 * difficulty, jnp.asarray(_FORMS)[classes, 2:]
        )
        values = look[:, None] + noise * jax.random.normal(second, (slots, k, 2))
        points, kept = _object_points(boxes, values, places, sides, seen, size)
        kept = kept & ((jnp.arange(slots) < count) | is_clutter)[:, None]
        low, span = jnp.array([0.0, -size / 2, 0.0, 0.0]), jnp.array([size, size, 1.0, 1.0])
        points = jnp.concatenate([points.reshape(-1, 4), low + span * single])
        inside = jnp.all((points[:, :2] >= low[:2]) & (points[:, :2] < (low + span)[:2]), axis=-1)
        exists = jnp.concatenate([kept.reshape(-1), jnp.ones(num_clutter, bool)]) & inside
        real = jnp.arange(max_objects) < count
        return PointScenes(
            jnp.where(exists[:, None], points, 0.0),
            exists,
            jnp.where(real[:, None], boxes[:max_objects], 0.0),
            jnp.where(real, classes[:max_objects], -1).astype(jnp.int32),
        )

    return jax.vmap(one)(jax.random.split(key, num_examples))

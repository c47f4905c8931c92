"""Boxes seen from above: overlap, also of rotated ones, points inside, and flips, turns and scalings of a scene.

A box is (x, y, length, width) or, with a heading, (x, y, length, width, heading): centre, extent along its own axes,
and the angle in radians from the x axis to its length, counter-clockwise.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core._values import check_no_nan, concrete
from jaxlab.core.check import InputError, full_mask

_FORMS = (4, 5)
_TINY = 1e-20  # an area or a gap below it is none: its inverse, in a gradient, would overflow


def _check_boxes(boxes: jax.Array, others: jax.Array, forms: tuple[int, ...]) -> None:
    a, b = np.shape(boxes), np.shape(others)
    if min(len(a), len(b)) < 2 or a[-1] not in forms or a[-1] != b[-1] or a[:-2] != b[:-2]:
        forms = " or ".join(map(str, forms))
        raise InputError(f"boxes {a} and others {b} must be [..., N, D] and [..., M, D] with D {forms}")


def _area(boxes: jax.Array) -> jax.Array:
    return jnp.maximum(boxes[..., 2], 0.0) * jnp.maximum(boxes[..., 3], 0.0)


def _ratio(overlap: jax.Array, boxes: jax.Array, others: jax.Array) -> jax.Array:
    union = _area(boxes)[..., :, None] + _area(others)[..., None, :] - overlap
    nothing = union <= _TINY  # not its negation by >, so that a NaN stays one
    return jnp.where(nothing, 0.0, overlap / jnp.where(nothing, 1.0, union))


def axis_aligned_iou(boxes: jax.Array, others: jax.Array) -> jax.Array:
    """Intersection over union of every box with every other, sides along the axes.

    Gradients flow into both.

        |A and B| / |A or B|

    Args:
      boxes: `[..., N, 4]` as (x, y, length, width).
      others: `[..., M, 4]`.

    Returns:
      `[..., N, M]` float32 (float64 for float64 boxes) in [0, 1]; 0 where both have no area.

    Raises:
      ValueError: if the last axis is not 4 or the leading axes differ.

    Reference: Everingham et al., The PASCAL Visual Object Classes Challenge, 2010, section 4.2 (overlap of
      detections).

    >>> round(axis_aligned_iou(jnp.array([[0.0, 0.0, 2.0, 2.0]]), jnp.array([[1.0, 0.0, 2.0, 2.0]])).item(), 4)
    0.3333
    """
    _check_boxes(boxes, others, (4,))
    boxes, others = as_float(boxes), as_float(others)

    def shared(axis: int) -> jax.Array:
        half, half_other = boxes[..., axis + 2] / 2, others[..., axis + 2] / 2
        high = jnp.minimum(
            (boxes[..., axis] + half)[..., :, None], (others[..., axis] + half_other)[..., None, :]
        )
        low = jnp.maximum(
            (boxes[..., axis] - half)[..., :, None], (others[..., axis] - half_other)[..., None, :]
        )
        return jnp.maximum(high - low, 0.0)

    return _ratio(shared(0) * shared(1), boxes, others)


def _corners(boxes: jax.Array) -> jax.Array:
    """Corners `[..., 4, 2]` of boxes `[..., 5]`, counter-clockwise."""
    signs = jnp.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]], boxes.dtype)
    local = signs * jnp.maximum(boxes[..., None, 2:4], 0.0)
    return boxes[..., None, :2] + _turn(local, boxes[..., None, 4])


def _turn(points: jax.Array, angle: jax.Array) -> jax.Array:
    """Points `[..., 2]` turned counter-clockwise by angles `[...]`."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y = points[..., 0], points[..., 1]
    return jnp.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def _clip(polygon: jax.Array, distance: jax.Array) -> jax.Array:
    """Cut a convex polygon `[..., V, 2]` to where the signed distance `[..., V]` of its corners is at least 0.

    Returns `[..., V + 1, 2]`: a half-plane adds at most one corner; room that is left repeats the first corner.
    """
    following, ahead = jnp.roll(polygon, -1, axis=-2), jnp.roll(distance, -1, axis=-1)
    inside, gap = distance >= 0, distance - ahead
    crosses = (inside != (ahead >= 0)) & (jnp.abs(gap) > _TINY)
    share = jnp.where(crosses, distance / jnp.where(crosses, gap, 1.0), 0.0)
    crossing = polygon + share[..., None] * (following - polygon)
    points = jnp.stack([polygon, crossing], axis=-2).reshape(*polygon.shape[:-2], 2 * polygon.shape[-2], 2)
    kept = jnp.stack([inside, crosses], axis=-1).reshape(*distance.shape[:-1], 2 * distance.shape[-1])
    place = jnp.cumsum(kept, axis=-1) - 1
    slots = jnp.arange(polygon.shape[-2] + 1)
    # A slot beyond the last corner takes the first. Compaction by a product has a gradient and needs no gather.
    wanted = jnp.where(slots < jnp.sum(kept, axis=-1, keepdims=True), slots, 0)
    chosen = kept[..., None, :] & (place[..., None, :] == wanted[..., :, None])
    return jnp.einsum("...sv,...vc->...sc", chosen.astype(points.dtype), points)


def bev_iou(boxes: jax.Array, others: jax.Array) -> jax.Array:
    """Intersection over union of every box with every other, each turned by its heading.

    The corners of one, in the frame of the other, are cut by its four sides; what is left is a polygon of at most
    eight corners. Gradients flow into both.

        |A and B| / |A or B|

    Args:
      boxes: `[..., N, 5]` as (x, y, length, width, heading).
      others: `[..., M, 5]`.

    Returns:
      `[..., N, M]` float32 (float64 for float64 boxes) in [0, 1]; 0 where both have no area.

    Raises:
      ValueError: if the last axis is not 5 or the leading axes differ.

    Reference: Sutherland, Hodgman, Reentrant Polygon Clipping, 1974. The measure is KITTI's bird's-eye-view overlap
      (Geiger et al., 2012).

    >>> square = jnp.array([[0.0, 0.0, 2.0, 2.0, 0.0]])
    >>> turned = square.at[0, 4].set(jnp.pi / 4)   # they share an octagon of area 8 (sqrt(2) - 1)
    >>> round(bev_iou(square, turned).item(), 4)
    0.7071
    """
    _check_boxes(boxes, others, (5,))
    boxes, others = as_float(boxes), as_float(others)
    a, b = boxes[..., :, None, :], others[..., None, :, :]
    polygon = _turn(_corners(a) - b[..., None, :2], -b[..., None, 4])
    half = jnp.maximum(b[..., None, 2:4], 0.0) / 2
    for axis in (0, 1):
        polygon = _clip(polygon, half[..., axis] - polygon[..., axis])
        polygon = _clip(polygon, half[..., axis] + polygon[..., axis])
    following = jnp.roll(polygon, -1, axis=-2)
    twice = polygon[..., 0] * following[..., 1] - polygon[..., 1] * following[..., 0]
    smaller = jnp.minimum(_area(boxes)[..., :, None], _area(others)[..., None, :])
    return _ratio(jnp.clip(jnp.sum(twice, axis=-1) / 2, 0.0, smaller), boxes, others)


def points_in_boxes(points: jax.Array, boxes: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """Which points lie in which boxes, the sides included. No gradient passes.

    Args:
      points: `[..., P, C]` whose first two channels are x and y.
      boxes: `[..., N, 4]`, or `[..., N, 5]` with headings.
      where: bool or {0, 1}, broadcastable to `[..., P]`, the points that exist; None means all.

    Returns:
      `[..., P, N]` bool.

    Raises:
      ValueError: if the leading axes differ, `boxes` are neither `[..., N, 4]` nor `[..., N, 5]`, `where` does not
        broadcast to the points, or a point that counts or a box holds NaN.

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation (HSSDA), 2023: points of uncertain
      boxes are removed from a scene.

    >>> points_in_boxes(jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[0.0, 0.0, 2.0, 1.0]])).tolist()
    [[True], [False]]
    """
    p, b = np.shape(points), np.shape(boxes)
    if min(len(p), len(b)) < 2 or p[-1] < 2 or b[-1] not in _FORMS or p[:-2] != b[:-2]:
        raise InputError(f"points {p} must be [..., P, 2 or more] and boxes {b} must be [..., N, 4 or 5]")
    exists = full_mask(where, p[:-1], "points [..., P]")
    check_no_nan("points", as_float(points)[..., :2], where=exists[..., None])
    check_no_nan("boxes", boxes)
    points, boxes = as_float(points)[..., :, None, :2], as_float(boxes)[..., None, :, :]
    local = points - boxes[..., :2]
    if b[-1] == 5:
        local = _turn(local, -boxes[..., 4])
    return jnp.all(jnp.abs(local) <= boxes[..., 2:4] / 2, axis=-1) & exists[..., None]


def transform_points(
    points: jax.Array, *, flip: bool | jax.Array = False, rotation: float | jax.Array = 0.0,
    scale: float | jax.Array = 1.0,
) -> jax.Array:  # fmt: skip
    """Mirror, turn and scale a scene: the global augmentation of point clouds, in this order.

        y -> -y if flip;  (x, y) -> R(rotation) (x, y);  (x, y, z) -> scale (x, y, z)

    Args:
      points: `[..., P, 2]` as (x, y), or `[..., P, C]` whose first three channels are x, y, z; others stay.
      flip: mirror at the x axis; like the others a scalar, or `[...]` with one value per scene.
      rotation: angle in radians, counter-clockwise.
      scale: positive factor.

    Returns:
      The same shape, float32 (float64 for float64 points).

    Raises:
      ValueError: if `points` are not `[..., P, 2 or more]` or a parameter does not broadcast to their leading axes.

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation (HSSDA), 2023, the augmented pass of
      the teacher: flip, turn of up to pi / 4, scale in [0.95, 1.05].

    >>> transform_points(jnp.array([[1.0, 2.0]]), flip=True, scale=2.0).tolist()
    [[2.0, -4.0]]
    """
    if np.ndim(points) < 2 or np.shape(points)[-1] < 2:
        raise InputError(f"points {np.shape(points)} must be [..., P, 2 or more]")
    points = as_float(points)
    flip, rotation, scale = _per_scene(points, flip, rotation, scale)
    spatial = min(points.shape[-1], 3)
    plane = _turn(_mirror(points[..., :2], flip), rotation)
    moved = jnp.concatenate([plane, points[..., 2:spatial]], axis=-1) * scale[..., None]
    return jnp.concatenate([moved, points[..., spatial:]], axis=-1)


def transform_boxes(
    boxes: jax.Array, *, flip: bool | jax.Array = False, rotation: float | jax.Array = 0.0,
    scale: float | jax.Array = 1.0,
) -> jax.Array:  # fmt: skip
    """The boxes of a scene after `transform_points`.

        centre as a point;  extent -> scale extent;  heading -> -heading if flip, then + rotation

    Args:
      boxes: `[..., N, 5]` as (x, y, length, width, heading), or `[..., N, 7]` as (x, y, z, length, width, height,
        heading). Boxes `[..., N, 4]` have no heading to turn: they take flips and scales, and a rotation by 0.
      flip, rotation, scale: as in `transform_points`.

    Returns:
      The same shape, float32 (float64 for float64 boxes); headings are not wrapped.

    Raises:
      ValueError: if the last axis is not 4, 5 or 7, boxes without heading are to be turned, or a parameter does not
        broadcast to the leading axes.

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation (HSSDA), 2023, the authors' code.

    >>> transform_boxes(jnp.array([[1.0, 2.0, 4.0, 2.0, 0.5]]), flip=True, scale=2.0).tolist()
    [[2.0, -4.0, 8.0, 4.0, -0.5]]
    """
    shape = np.shape(boxes)
    if len(shape) < 2 or shape[-1] not in (*_FORMS, 7):
        raise InputError(f"boxes {shape} must be [..., N, 4], [..., N, 5] or [..., N, 7]")
    turned = concrete(rotation)
    if shape[-1] == 4 and (turned is None or np.any(turned != 0)):
        raise InputError(f"boxes {shape} have no heading: their rotation must be 0, got {rotation}")
    boxes = as_float(boxes)
    if shape[-1] == 7:
        moved = transform_points(boxes[..., :3], flip=flip, rotation=rotation, scale=scale)
    else:
        moved = transform_points(boxes[..., :2], flip=flip, rotation=rotation, scale=scale)
    flip, rotation, scale = _per_scene(boxes, flip, rotation, scale)
    last = 2 * moved.shape[-1]
    heading = jnp.where(flip[..., None], -1.0, 1.0) * boxes[..., last:] + rotation[..., None]
    return jnp.concatenate([moved, boxes[..., moved.shape[-1] : last] * scale[..., None], heading], axis=-1)


def _mirror(plane: jax.Array, flip: jax.Array) -> jax.Array:
    return plane * jnp.stack([jnp.ones_like(flip, plane.dtype), jnp.where(flip, -1.0, 1.0)], axis=-1)


def _per_scene(x: jax.Array, flip, rotation, scale) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The three parameters as arrays `[..., 1]` that stand against the points or boxes `[..., N]`."""
    lead = x.shape[:-2]
    found = []
    for name, value, dtype in (
        ("flip", flip, bool),
        ("rotation", rotation, x.dtype),
        ("scale", scale, x.dtype),
    ):
        value = jnp.asarray(value).astype(dtype)
        if value.shape not in ((), lead):
            raise InputError(
                f"{name} {value.shape} must be a scalar or have the leading axes {lead} of {x.shape}"
            )
        found.append(value[..., None] if value.shape else value[None])
    return tuple(found)

"""Shuffling the four quadrants of a scene seen from above, and putting features back where they belong.

Quadrants are numbered around the centre: 0 is (x high, y low), 1 (x high, y high), 2 (x low, y high), 3 (x low, y
low). A permutation `[4]` says where each goes: the content of quadrant i moves to quadrant `permutation[i]`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError

# Of each quadrant, whether x and y are high.
_HIGH_X, _HIGH_Y = np.array([1, 1, 0, 0]), np.array([0, 1, 1, 0])


def _check_permutation(permutation: jax.Array, lead: tuple[int, ...]) -> None:
    if jnp.shape(permutation) != (*lead, 4):
        raise InputError(
            f"permutation {jnp.shape(permutation)} must be {(*lead, 4)}, the quadrants of each scene"
        )


def _quadrant(high_x: jax.Array, high_y: jax.Array) -> jax.Array:
    return jnp.where(high_x, jnp.where(high_y, 1, 0), jnp.where(high_y, 2, 3))


def _steps(permutation: jax.Array, own: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How many half extents along x and y the content `[..., P]` of quadrants `own` moves: -1, 0 or 1."""
    target = jnp.take_along_axis(permutation, own, axis=-1)
    return tuple(jnp.asarray(high)[target] - jnp.asarray(high)[own] for high in (_HIGH_X, _HIGH_Y))


def random_quadrants(key: jax.Array, num_scenes: int, *, shuffled: jax.Array | bool = True) -> jax.Array:
    """A random permutation of the quadrants for every scene.

    Args:
        key: `jax.random.key`.
        num_scenes: S.
        shuffled: bool, `[S]` or a scalar; False leaves a scene as it is.

    Returns:
        `[S, 4]` int32.

    Raises:
        ValueError: `shuffled` does not fit.

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation for 3D Semi-Supervised Object
      Detection, 2023, section 3.3; there labelled scenes are not shuffled.

    >>> import jax
    >>> from jaxlab.data import random_quadrants
    >>> sorted(random_quadrants(jax.random.key(0), 1)[0].tolist())
    [0, 1, 2, 3]
    """
    if jnp.shape(shuffled) not in ((), (num_scenes,)):
        raise InputError(f"shuffled {jnp.shape(shuffled)} must be a scalar or ({num_scenes},)")
    drawn = jnp.argsort(jax.random.uniform(key, (num_scenes, 4)), axis=1).astype(jnp.int32)
    chosen = jnp.broadcast_to(jnp.asarray(shuffled), num_scenes)[:, None]
    return jnp.where(chosen, drawn, jnp.arange(4, dtype=jnp.int32))


def shuffle_quadrants(
    points: jax.Array,
    permutation: jax.Array,
    *,
    x_range: tuple[float, float] = (0.0, 70.4),
    y_range: tuple[float, float] = (-40.0, 40.0),
    where: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Move the points of every quadrant, rigidly, to another quadrant.

    A strong augmentation: what is near an object keeps its shape, what is far changes. Objects on a border are cut.
    Shuffling by the inverse permutation, `argsort(permutation)`, puts all points back.

    Args:
        points: `[..., P, C]` whose first two channels are x and y.
        permutation: `[..., 4]` integers.
        x_range: of the scene, its upper end excluded.
        y_range: likewise.
        where: bool or {0, 1}, broadcastable to `[..., P]`, the points that exist; None means all.

    Returns:
        `(points [..., P, C], inside [..., P])`: in the order they came in, and which of them exist within the
        ranges. Others are not moved.

    Raises:
        ValueError: shapes that do not fit, or an empty range.

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation for 3D Semi-Supervised Object
      Detection, 2023, section 3.3; the authors' code returns the points quadrant by quadrant.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import shuffle_quadrants
    >>> points = jnp.array([[1.0, 1.0], [3.0, 1.0]])   # quadrants 3 and 0 of [0, 4] x [0, 4]
    >>> moved, inside = shuffle_quadrants(points, jnp.array([0, 3, 2, 1]), x_range=(0, 4), y_range=(0, 4))
    >>> moved.tolist()
    [[3.0, 3.0], [3.0, 1.0]]
    """
    shape = jnp.shape(points)
    if len(shape) < 2 or shape[-1] < 2:
        raise InputError(f"points {shape} must be [..., P, 2 or more]")
    _check_permutation(permutation, shape[:-2])
    (x0, x1), (y0, y1) = x_range, y_range
    if not (x0 < x1 and y0 < y1):
        raise InputError(f"ranges must not be empty, got {x_range} and {y_range}")
    points, permutation = jnp.asarray(points), jnp.asarray(permutation)
    x, y = points[..., 0], points[..., 1]
    inside = (x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)
    if where is not None:
        inside &= jnp.asarray(where).astype(bool)
    own = _quadrant(x >= (x0 + x1) / 2, y >= (y0 + y1) / 2)
    right, up = (jnp.where(inside, step, 0) for step in _steps(permutation, own))
    plane = jnp.stack([x + right * ((x1 - x0) / 2), y + up * ((y1 - y0) / 2)], axis=-1).astype(points.dtype)
    return jnp.concatenate([plane, points[..., 2:]], axis=-1), inside


def unshuffle_indices(
    indices: jax.Array, permutation: jax.Array, *, height: int, width: int, where: jax.Array | None = None
) -> jax.Array:
    """Cell indices of shuffled points or sparse features, back in the original scene.

    Rows count along y, columns along x. With odd sizes the borders of quadrants fall inside a cell, and cells that
    move round towards zero.

    Args:
        indices: `[..., V, 2]` integers (row, column).
        permutation: `[..., 4]`, as given to `shuffle_quadrants`.
        height: rows.
        width: columns.
        where: bool or {0, 1}, broadcastable to `[..., V]`, the indices that count; others stay. None means all.

    Returns:
        `[..., V, 2]`, the same dtype.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation for 3D Semi-Supervised Object
      Detection, 2023, the authors' code.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import unshuffle_indices
    >>> unshuffle_indices(jnp.array([[3, 3]]), jnp.array([0, 3, 2, 1]), height=4, width=4).tolist()
    [[1, 1]]
    """
    shape = jnp.shape(indices)
    if len(shape) < 2 or shape[-1] != 2:
        raise InputError(f"indices {shape} must be [..., V, 2]: row, column")
    _check_permutation(permutation, shape[:-2])
    indices = jnp.asarray(indices)
    row, column = indices[..., 0], indices[..., 1]
    own = _quadrant(2 * column >= width, 2 * row >= height)
    right, up = _steps(jnp.argsort(jnp.asarray(permutation), axis=-1), own)
    moved = jnp.stack([row + up * (height // 2), column + right * (width // 2)], axis=-1)
    if where is not None:
        moved = jnp.where(jnp.asarray(where).astype(bool)[..., None], moved, indices)
    return moved.astype(indices.dtype)


def unshuffle_quadrants(maps: jax.Array, permutation: jax.Array) -> jax.Array:
    """Feature maps of shuffled scenes with their quadrants put back: labels then fit as they are.

    Rows count along y, columns along x. Gradients flow through.

    Args:
        maps: `[B, H, W, C]` with even H and W.
        permutation: `[B, 4]`, as given to `shuffle_quadrants`.

    Returns:
        `[B, H, W, C]`.

    Raises:
        ValueError: maps of other or odd sizes.

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation for 3D Semi-Supervised Object
      Detection, 2023, section 3.3.

    >>> import jax.numpy as jnp
    >>> from jaxlab.data import unshuffle_quadrants
    >>> unshuffle_quadrants(jnp.arange(4.0).reshape(1, 2, 2, 1), jnp.array([[1, 0, 2, 3]]))[0, :, :, 0].tolist()
    [[0.0, 3.0], [2.0, 1.0]]
    """
    shape = jnp.shape(maps)
    if len(shape) != 4 or shape[1] % 2 or shape[2] % 2:
        raise InputError(f"maps {shape} must be [B, H, W, C] with even H and W")
    _check_permutation(permutation, shape[:1])
    batch, height, width, channels = shape
    blocks = maps.reshape(batch, 2, height // 2, 2, width // 2, channels).swapaxes(2, 3)
    # [B, 4, H/2, W/2, C] in the numbering of quadrants.
    numbered = blocks[:, _HIGH_Y, _HIGH_X]
    back = jnp.take_along_axis(numbered, jnp.asarray(permutation)[:, :, None, None, None], axis=1)
    place = jnp.array([[3, 0], [2, 1]])
    return back[:, place].swapaxes(2, 3).reshape(shape)

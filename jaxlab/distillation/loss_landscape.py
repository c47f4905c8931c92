"""Cuts through a loss: along the line between two checkpoints, and over the plane through three."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError


def line_losses(loss: Callable[[Any], jax.Array], start: Any, end: Any, fractions: jax.Array) -> jax.Array:
    """A loss along the straight line from one checkpoint to another, and beyond.

        L(start + f (end - start))

    Args:
      loss: `params -> scalar`, pure.
      start: pytree of floats.
      end: the same tree.
      fractions: `[N]`, 0 at `start` and 1 at `end`.

    Returns:
      `[N]`, the loss at each fraction, in its own unit.

    Raises:
      ValueError: trees of different shapes, fractions that are not `[N]`.

    Reference: Goodfellow, Vinyals and Saxe, Qualitatively characterizing neural network optimization problems, 2015;
      drawn from a random teacher to its student in Random Teachers are Good Teachers, 2023, section 4.

    >>> import jax.numpy as jnp
    >>> line_losses(lambda x: x**2, jnp.array(0.0), jnp.array(2.0), jnp.array([0.0, 0.5, 1.0])).tolist()
    [0.0, 1.0, 4.0]
    """
    return plane_losses(loss, start, end, start, fractions, jnp.zeros(1))[0]


def plane_losses(
    loss: Callable[[Any], jax.Array],
    origin: Any,
    first: Any,
    second: Any,
    along: jax.Array,
    across: jax.Array,
) -> jax.Array:
    """A loss over the plane through three checkpoints, in the oblique coordinates that put them at (0,0), (1,0), (0,1).

        L(origin + u (first - origin) + v (second - origin))

    Args:
      loss: `params -> scalar`, pure; evaluated one point at a time.
      origin: pytree of floats.
      first: the same tree.
      second: the same tree.
      along: `[N]` coordinates u.
      across: `[M]` coordinates v.

    Returns:
      `[M, N]`, rows by v and columns by u, in the loss's own unit.

    Raises:
      ValueError: trees of different shapes, coordinates that are not vectors.

    Reference: Sarnthein et al., Random Teachers are Good Teachers, 2023, section 4 (teacher, the student that began
      near it, and one that did not).

    >>> import jax.numpy as jnp
    >>> points = jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0]), jnp.array([0.0, 3.0])
    >>> plane_losses(lambda x: x.sum(), *points, jnp.array([0.0, 1.0]), jnp.array([0.0, 1.0])).tolist()
    [[0.0, 1.0], [3.0, 4.0]]
    """
    shapes = [jax.tree.map(np.shape, tree) for tree in (origin, first, second)]
    if shapes[0] != shapes[1] or shapes[0] != shapes[2]:
        raise InputError("the checkpoints must be trees of the same shapes, got different ones")
    if np.ndim(along) != 1 or np.ndim(across) != 1:
        raise InputError(f"coordinates must be vectors, got shapes {np.shape(along)} and {np.shape(across)}")

    def at(point: jax.Array) -> jax.Array:
        def place(o: jax.Array, f: jax.Array, s: jax.Array) -> jax.Array:
            step, dtype = point[0] * (f - o) + point[1] * (s - o), jnp.result_type(o)
            return o + (step.astype(dtype) if jnp.issubdtype(dtype, jnp.floating) else step)

        return loss(jax.tree.map(place, origin, first, second))

    v, u = jnp.meshgrid(jnp.asarray(across), jnp.asarray(along), indexing="ij")
    return jax.lax.map(at, jnp.stack([u.ravel(), v.ravel()], axis=-1)).reshape(v.shape)

"""Gradients that do not raise the loss on what is remembered: GEM and A-GEM."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxlab.continual._contracts import check_alike, number_of_rows
from jaxlab.core import as_float, normalize
from jaxlab.core.check import check_least, check_positive, full_mask


def agem_project(grads: Any, reference: Any) -> Any:
    """The nearest gradient that does not raise the loss on a batch of the memory (A-GEM), batch-level.

        g - (g . r / r . r) r   if g . r < 0, else g

    Args:
      grads: pytree of gradients of the stream's batch.
      reference: the same of a batch from the memory; zeros change nothing.

    Returns:
      A pytree like `grads`, float32 (float64 where they are).

    Raises:
      ValueError: if structures or shapes differ.

    Reference: Chaudhry et al., Efficient Lifelong Learning with A-GEM, 2019, equation 11.

    >>> agem_project(jnp.array([1.0, -1.0]), jnp.array([0.0, 2.0])).tolist()
    [1.0, 0.0]
    """
    check_alike("reference", reference, grads)
    grads, restore = ravel_pytree(jax.tree.map(as_float, grads))
    direction = normalize(ravel_pytree(jax.tree.map(as_float, reference))[0].astype(grads.dtype))
    along = grads @ direction
    return restore(jnp.where(along >= 0, grads, grads - along * direction))


def gem_project(
    grads: Any,
    memory_grads: Any,
    *,
    margin: float | jax.Array = 0.5,
    damping: float | jax.Array = 1e-3,
    where: jax.Array | None = None,
) -> Any:
    """A gradient that raises the loss on none of the tasks remembered (GEM), batch-level.

    Nothing changes while no task disagrees. Otherwise, with margin 0 and hardly any damping, it is the nearest gradient
    that agrees with all; a margin leans further towards the memory. No gradient passes.

        g + G' v,   v = argmin_{v >= margin} 1/2 v'(G G' + damping I) v + (G g)' v      if some (G g)_k < 0

    Args:
      grads: pytree of gradients of the stream's batch.
      memory_grads: the same with leaves `[K, ...]`, one gradient per task remembered.
      margin: the least weight of a task, at least 0.
      damping: a positive number.
      where: `[K]` bool or {0, 1}, the tasks that exist; None means all.

    Returns:
      A pytree like `grads`, float32 (float64 where they are).

    Raises:
      ValueError: if structures or shapes differ, `where` does not broadcast to `[K]`, or a static number is too small.

    Reference: Lopez-Paz and Ranzato, Gradient Episodic Memory for Continual Learning, 2017, equation 11; margin and
      damping are those of the authors' code. The dual is solved exactly, by block principal pivoting (Kim and Park,
      2011).

    >>> gem_project(jnp.array([1.0, -1.0]), jnp.array([[0.0, 1.0]]), margin=0.0, damping=1e-9).tolist()
    [1.0, 0.0]
    """
    check_least("margin", margin, 0)
    check_positive("damping", damping)
    tasks = number_of_rows("memory_grads", memory_grads)
    check_alike(
        "a row of memory_grads", jax.tree.map(lambda x: x[0], memory_grads) if tasks else grads, grads
    )
    grads, memory_grads = jax.lax.stop_gradient((grads, memory_grads))
    flat, restore = ravel_pytree(jax.tree.map(as_float, grads))
    if not tasks:
        return restore(flat)
    exists = full_mask(where, (tasks,), "tasks of memory_grads")
    rows = jax.vmap(lambda tree: ravel_pytree(jax.tree.map(as_float, tree))[0])(memory_grads).astype(
        flat.dtype
    )
    rows = jnp.where(exists[:, None], rows, 0.0)
    agreement = rows @ flat
    gram = rows @ rows.T + damping * jnp.eye(tasks, dtype=flat.dtype)
    # With u = v - margin: min 1/2 u' P u + (q + margin P 1)' u over u >= 0, where missing tasks have v = 0.
    least = jnp.where(exists, margin, 0.0).astype(flat.dtype)
    excess = nonnegative_quadratic(gram, agreement + gram @ least)
    moved = flat + (least + jnp.where(exists, excess, 0.0)) @ rows
    return restore(jnp.where(jnp.all(agreement >= 0), flat, moved))


def nonnegative_quadratic(matrix: jax.Array, linear: jax.Array) -> jax.Array:
    """The u at least 0 with the smallest `1/2 u' P u + c' u`, for positive definite `P [K, K]`.

    Sets of free and bound entries are exchanged whole while that helps, else one entry at a time, which always ends.
    """
    size = len(linear)
    scale = jnp.maximum(jnp.max(jnp.abs(linear)), jnp.finfo(linear.dtype).tiny)
    linear = linear / scale

    def solve(free: jax.Array) -> tuple[jax.Array, jax.Array]:
        both = free[:, None] & free[None, :]
        u = jnp.linalg.solve(
            jnp.where(both, matrix, jnp.eye(size, dtype=matrix.dtype)), jnp.where(free, -linear, 0.0)
        )
        slope = matrix @ u + linear
        tolerance = 8 * jnp.finfo(u.dtype).eps
        return u, (free & (u < -tolerance)) | (~free & (slope < -tolerance))

    def is_open(state: tuple) -> jax.Array:
        free, _, _, turn = state
        return jnp.any(solve(free)[1]) & (turn < 20 * size)

    def exchange(state: tuple) -> tuple:
        free, fewest, patience, turn = state
        wrong = solve(free)[1]
        count = jnp.sum(wrong)
        better = count < fewest
        patience = jnp.where(better, 3, patience - 1)
        last = size - 1 - jnp.argmax(wrong[::-1])
        flip = jnp.where(patience >= 0, wrong, jnp.arange(size) == last)
        return free ^ flip, jnp.minimum(count, fewest), patience, turn + 1

    start = (jnp.zeros(size, bool), jnp.int32(size + 1), jnp.int32(3), jnp.int32(0))
    free = jax.lax.while_loop(is_open, exchange, start)[0]
    return jnp.maximum(solve(free)[0], 0.0) * scale

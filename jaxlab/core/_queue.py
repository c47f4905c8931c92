"""A ring buffer of vectors as one pytree: the last K that were pushed, on every device the same."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core._mapped import gather_rows
from jaxlab.core._reduce import AxisName, as_mask
from jaxlab.core.check import InputError, as_integers, check_state


class Queue(NamedTuple):
    """The last K pushed vectors.

    Attributes:
      items: `[K, D]` vectors, in ring order: not by age.
      labels: `[K]` int32, -1 for a vector that was pushed without a label.
      cursor: int32 scalar, the slot that is written next.
      filled: int32 scalar, how many slots hold a vector.

    >>> queue_init(4, 2).items.shape
    (4, 2)
    """

    items: jax.Array
    labels: jax.Array
    cursor: jax.Array
    filled: jax.Array


def queue_init(capacity: int, dim: int, *, dtype: jnp.dtype = jnp.float32) -> Queue:
    """An empty queue.

    Args:
      capacity: static integer K, at least 1.
      dim: static integer D.
      dtype: type in which the items are kept.

    Returns:
      The queue.

    Raises:
      ValueError: if `capacity` is below 1, or `dtype` is no floating point type.

    >>> queue_init(4, 2).filled.item()
    0
    """
    if capacity < 1:
        raise InputError(f"capacity must be at least 1, got {capacity}")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise InputError(f"dtype is {jnp.dtype(dtype)}: a queue holds floats, others would be cut off")
    items = jnp.zeros((capacity, dim), dtype)
    labels = jnp.full((capacity,), -1, jnp.int32)
    return Queue(items, labels, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def queue_push(
    queue: Queue,
    items: jax.Array,
    *,
    labels: jax.Array | None = None,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> Queue:
    """Push a batch of vectors; the oldest make room.

    Rows with `where` false are not pushed and take no slot. When more than K rows are pushed at once, the
    last K stay. The queue is a memory: no gradient passes into it. With `axis_name` the rows of all devices
    are pushed in device order, so every device holds the queue that one device would hold.

        valid row i goes to slot (cursor + rank_i) mod K if rank_i >= n - K,  rank_i = #{j < i valid},  n =
        #valid

    Args:
      queue: the queue so far, the same on every device.
      items: `[N, D]`, cast to the type of the queue.
      labels: `[N]` integers; None stores -1.
      where: `[N]` bool or {0, 1}, the rows to push; None means all.
      axis_name: mapped axis (or axes) over which the rows are spread.

    Returns:
      The new queue.

    Raises:
      ValueError: if the shapes do not fit, or `labels` are not of an integer type.

    Reference: He et al., Momentum Contrast for Unsupervised Visual Representation Learning, 2020, section 3.2; its
      code demands that K is a multiple of the batch, this one does not.

    >>> queue = queue_push(queue_init(2, 1), jnp.array([[1.0], [2.0], [3.0]]))
    >>> queue.items[:, 0].tolist(), queue.filled.item()
    ([3.0, 2.0], 2)
    """
    check_state("queue", queue, Queue)
    items, labels, valid = _rows(queue, items, labels, where)
    if axis_name is not None:
        items, labels = gather_rows(items, axis_name), gather_rows(labels, axis_name)
        valid = gather_rows(valid.astype(jnp.int32), axis_name).astype(bool)
    capacity = queue.items.shape[0]
    rank = jnp.cumsum(valid, dtype=jnp.int32) - 1
    pushed = jnp.sum(valid, dtype=jnp.int32)
    kept = valid & (rank >= pushed - capacity)
    # Two rows never share a slot, so the order in which an accelerator scatters them does not matter.
    slot = jnp.where(kept, (queue.cursor + rank) % capacity, capacity)
    return Queue(
        items=queue.items.at[slot].set(items, mode="drop"),
        labels=queue.labels.at[slot].set(labels, mode="drop"),
        cursor=(queue.cursor + pushed) % capacity,
        filled=jnp.minimum(queue.filled + pushed, capacity),
    )


def _rows(
    queue: Queue, items: jax.Array, labels: jax.Array | None, where: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Items, labels and validity of the rows to push, in the types of the queue."""
    items = jnp.asarray(items)
    if items.ndim != 2 or items.shape[1] != queue.items.shape[1]:
        raise InputError(f"items {items.shape} must be [N, D] with the D of the queue {queue.items.shape}")
    rows = items.shape[:1]
    if labels is None:
        labels = jnp.full(rows, -1, jnp.int32)
    if np.shape(labels) != rows:
        raise InputError(f"labels {np.shape(labels)} must have shape [N] of items {items.shape}")
    items = jax.lax.stop_gradient(items).astype(queue.items.dtype)
    labels = as_integers("labels", labels, "any numbers").astype(jnp.int32)
    return items, labels, jnp.broadcast_to(as_mask(where, rows), rows)


def queue_items(queue: Queue) -> tuple[jax.Array, jax.Array]:
    """The slots of the queue and which of them hold a vector.

    Args:
      queue: the queue.

    Returns:
      `(items [K, D], valid [K] bool)`, in ring order. Hand `valid` on as `where=`.

    >>> items, valid = queue_items(queue_push(queue_init(3, 1), jnp.ones((2, 1))))
    >>> valid.tolist()
    [True, True, False]
    """
    check_state("queue", queue, Queue)
    return queue.items, jnp.arange(queue.items.shape[0]) < queue.filled

"""A memory of examples from a stream: fixed arrays, filled by reservoir sampling or kept balanced over classes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.continual._contracts import number_of_rows
from jaxlab.core.check import InputError, as_integers, check_state, full_mask


class Reservoir(NamedTuple):
    """Examples kept from a stream.

    Attributes:
      items: a pytree whose leaves are `[K, ...]`, zero in slots that hold nothing.
      valid: `[K]` bool, which slots hold an example.
      seen: int32, how many examples the stream has had.

    >>> reservoir_init(5, {"label": jnp.int32(0)}).valid.shape
    (5,)
    """

    items: Any
    valid: jax.Array
    seen: jax.Array


def reservoir_init(capacity: int, example: Any) -> Reservoir:
    """An empty memory.

    Args:
      capacity: static integer K, at least 1.
      example: one item of the stream: a pytree of arrays, or of their shapes and dtypes.

    Returns:
      The memory.

    Raises:
      ValueError: if `capacity` is below 1.

    >>> memory = reservoir_init(2, {"image": jax.ShapeDtypeStruct((3,), jnp.float32), "label": jnp.int32(0)})
    >>> memory.items["image"].shape, memory.items["label"].dtype
    ((2, 3), dtype('int32'))
    """
    if capacity < 1:
        raise InputError(f"capacity must be at least 1, got {capacity}: leave the replay out instead")
    items = jax.tree.map(lambda x: jnp.zeros((capacity, *jnp.shape(x)), jnp.result_type(x)), example)
    return Reservoir(items, jnp.zeros(capacity, bool), jnp.int32(0))


def reservoir_insert(
    memory: Reservoir, items: Any, key: jax.Array, *, where: jax.Array | None = None
) -> Reservoir:
    """Show a batch of the stream to the memory: afterwards every example so far is kept with the same probability.

    The first K are kept. The n-th after them (n examples before it) draws a slot in [0, n], and takes it if there is
    one. Rows enter in their order, one after another. No gradient passes into the memory.

    Args:
      memory: the memory so far.
      items: a pytree like that of the memory, leaves `[N, ...]`, cast to its types.
      key: random key.
      where: `[N]` bool or {0, 1}, the rows that the stream really has; None means all.

    Returns:
      The new memory.

    Raises:
      ValueError: if the items are not like those of the memory, or `where` does not broadcast to `[N]`.

    Reference: Vitter, Random Sampling with a Reservoir, 1985, algorithm R.

    >>> memory = reservoir_insert(reservoir_init(4, jnp.float32(0)), jnp.array([7.0, 8.0]), jax.random.key(0))
    >>> memory.items.tolist(), memory.valid.tolist(), memory.seen.item()
    ([7.0, 8.0, 0.0, 0.0], [True, True, False, False], 2)
    """
    check_state("memory", memory, Reservoir)
    rows = _checked_rows(memory, items)
    exists = full_mask(where, (rows,), "items")
    capacity = len(memory.valid)
    rank = jnp.cumsum(exists, dtype=jnp.int32) - 1
    position = memory.seen + jnp.arange(rows, dtype=jnp.int32)
    drawn = jax.random.randint(key, (rows,), 0, position + 1)
    slots = jnp.where(position < capacity, position, drawn)
    slots = jnp.where(exists & (rank >= 0), slots[jnp.maximum(rank, 0)], capacity)
    slots = jnp.minimum(slots, capacity)
    # The last row that asks for a slot has it, as if they had come one by one.
    last = jax.ops.segment_max(jnp.arange(rows), slots, num_segments=capacity + 1)[:capacity]
    taken = last >= 0

    def write(old: jax.Array, new: jax.Array) -> jax.Array:
        new = jax.lax.stop_gradient(jnp.asarray(new)).astype(old.dtype)
        return jnp.where(taken.reshape(-1, *(1,) * (old.ndim - 1)), new[jnp.maximum(last, 0)], old)

    if not rows:
        return memory
    kept = jax.tree.map(write, memory.items, items)
    return Reservoir(kept, memory.valid | taken, memory.seen + jnp.sum(exists, dtype=jnp.int32))


def reservoir_draw(memory: Reservoir, key: jax.Array, *, batch_size: int) -> tuple[Any, jax.Array]:
    """Examples from the memory, uniform without replacement.

    Args:
      memory: the memory.
      key: random key.
      batch_size: static integer B in [1, K].

    Returns:
      The items, leaves `[B, ...]`, and `[B]` bool: which of them exist. While the memory holds fewer than B, all of
      them come first. Hand the mask on as `where=`.

    Raises:
      ValueError: if `batch_size` is not in [1, K].

    Reference: Chaudhry et al., On Tiny Episodic Memories in Continual Learning, 2019.

    >>> memory = reservoir_insert(reservoir_init(4, jnp.float32(0)), jnp.array([7.0]), jax.random.key(0))
    >>> items, valid = reservoir_draw(memory, jax.random.key(1), batch_size=2)
    >>> items.tolist(), valid.tolist()
    ([7.0, 0.0], [True, False])
    """
    check_state("memory", memory, Reservoir)
    capacity = len(memory.valid)
    if not 1 <= batch_size <= capacity:
        raise InputError(f"batch_size must be in [1, {capacity}], the memory's capacity, got {batch_size}")
    order = jnp.where(memory.valid, jax.random.uniform(key, (capacity,)), -1.0)
    _, chosen = jax.lax.top_k(order, batch_size)
    return jax.tree.map(lambda x: x[chosen], memory.items), memory.valid[chosen]


def balanced_insert(
    memory: Reservoir,
    items: Any,
    key: jax.Array,
    *,
    num_classes: int,
    label: str = "label",
    where: jax.Array | None = None,
) -> Reservoir:
    """Show a batch to a memory that is greedily kept balanced over the classes (GDumb).

    An example enters if its class is new to the memory, or has fewer than K over the number of classes in it. Where
    there is no room, a random example of the largest class leaves. A network that is trained from scratch on this
    memory alone is GDumb.

    Args:
      memory: the memory so far; its items are a dict.
      items: a dict like that of the memory, leaves `[N, ...]`.
      key: random key.
      num_classes: static integer C.
      label: the entry of the items that holds the classes, integers in [0, C); another class is not kept.
      where: `[N]` bool or {0, 1}, the rows that the stream really has; None means all.

    Returns:
      The new memory.

    Raises:
      ValueError: if the items are not like those of the memory or have no labels.

    Reference: Prabhu, Torr, Dokania, GDumb: A Simple Approach that Questions Our Progress in Continual Learning, 2020,
      algorithm 1.

    >>> stream = {"label": jnp.array([0, 0, 0, 1])}
    >>> memory = balanced_insert(
    ...     reservoir_init(2, {"label": jnp.int32(0)}), stream, jax.random.key(0), num_classes=2)
    >>> sorted(memory.items["label"].tolist())
    [0, 1]
    """
    check_state("memory", memory, Reservoir)
    rows = _checked_rows(memory, items)
    if not isinstance(items, dict) or label not in items:
        raise InputError(f"items must be a dict with an entry {label!r}, the classes")
    labels = as_integers(
        label, items[label], "class indices in [0, C)", num_classes, where=where, ignore="none"
    )
    exists = full_mask(where, (rows,), "items") & (labels >= 0) & (labels < num_classes)

    def enter(memory: Reservoir, row: tuple) -> tuple[Reservoir, None]:
        item, exists, key = row
        stored = jnp.where(memory.valid, memory.items[label], num_classes)
        counts = jnp.zeros(num_classes, jnp.int32).at[stored].add(1, mode="drop")
        own = jnp.arange(num_classes) == item[label]
        present = jnp.sum((counts > 0) | own)
        full = jnp.all(memory.valid)
        short = jnp.sum(jnp.where(own, counts, 0)) * present < len(memory.valid)
        evictable = jnp.where(full, stored == jnp.argmax(counts), ~memory.valid)
        order = jnp.where(evictable, jax.random.uniform(key, evictable.shape), -1.0)
        slot = jnp.where(exists & short, jnp.argmax(order), len(memory.valid))
        kept = jax.tree.map(lambda old, new: old.at[slot].set(new, mode="drop"), memory.items, item)
        valid = memory.valid.at[slot].set(True, mode="drop")
        return Reservoir(kept, valid, memory.seen + exists.astype(jnp.int32)), None

    typed = jax.tree.map(
        lambda old, new: jax.lax.stop_gradient(jnp.asarray(new)).astype(old.dtype), memory.items, items
    )
    return jax.lax.scan(enter, memory, (typed, exists, jax.random.split(key, rows)))[0]


def _checked_rows(memory: Reservoir, items: Any) -> int:
    """How many rows the items have, which are like those of the memory."""
    if jax.tree.structure(items) != jax.tree.structure(memory.items):
        raise InputError("items must have the structure of the memory's items")
    rows = number_of_rows("items", items)
    for new, old in zip(jax.tree.leaves(items), jax.tree.leaves(memory.items)):
        if jnp.shape(new)[1:] != old.shape[1:]:
            raise InputError(
                f"items {jnp.shape(new)} must be [N, ...] with the rows of the memory {old.shape}"
            )
    return rows

"""Order without storage: a keyed bijection of the indices below n, and the passes over data that it gives."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core._values import concrete
from jaxlab.core.check import InputError

_ROUNDS = 8
_PERIOD = 1000  # of a mixture: weights count to a thousandth


def permute_index(
    key: jax.Array, index: jax.Array, size: int, *, below: int | jax.Array | None = None
) -> jax.Array:
    """Where a keyed random permutation of `0 ... size - 1` sends each index: O(1) each, nothing to sort or to save.

    A Feistel network over the smallest even number of bits that holds `size`, walked until it lands below `size`.

    Args:
      key: a typed key, which names the permutation.
      index: integers of any shape, each in `[0, size)`, or in `[0, below)`.
      size: static, in [1, 2^31].
      below: permutes only the numbers below this one, in [1, size], which may be traced; it is walked further to them.

    Returns:
      int32 of the index's shape; over all indices every number below `size`, or `below`, comes once.

    Raises:
      ValueError: a size outside its range, or a known `below` outside its own.

    Reference: Black, Rogaway, Ciphers with arbitrary finite domains, 2002, section 3 (cycle walking) and 4 (Feistel).

    >>> sorted(permute_index(jax.random.key(0), jnp.arange(10), 10).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    if not 1 <= size <= 2**31:
        raise InputError(f"size is {size}: it must be between 1 and 2**31")
    known = None if below is None else concrete(below)
    if known is not None and not 1 <= known <= size:
        raise InputError(f"below is {below}: it must be between 1 and the size, {size}")
    return _walked(_round_keys(key), index, size, below)


def _round_keys(key: jax.Array) -> jax.Array:
    return jax.random.bits(key, (_ROUNDS,), jnp.uint32)


def _walked(
    round_keys: Sequence[jax.Array] | jax.Array,
    index: jax.Array,
    size: int,
    below: int | jax.Array | None = None,
) -> jax.Array:
    half = max((size - 1).bit_length() + 1, 2) // 2
    end = jnp.asarray(size if below is None else below).astype(jnp.uint32)

    def encrypt(x: jax.Array) -> jax.Array:
        left, right = x >> half, x & jnp.uint32((1 << half) - 1)
        for round_key in round_keys:
            left, right = right, left ^ (_mix(right ^ round_key) >> (32 - half))
        return (left << half) | right

    def outside(x: jax.Array) -> jax.Array:
        return x >= end

    first = encrypt(jnp.asarray(index).astype(jnp.uint32))
    walked = jax.lax.while_loop(
        lambda x: outside(x).any(), lambda x: jnp.where(outside(x), encrypt(x), x), first
    )
    return walked.astype(jnp.int32)


def _mix(x: jax.Array) -> jax.Array:
    """A 32-bit hash with good high bits (the finalizer of MurmurHash3)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def pass_rows(key: jax.Array, step: jax.Array, *, batch_size: int, size: int) -> jax.Array:
    """The rows of batch `step` in passes over `size` examples, each pass without replacement in an order of its own.

    A batch may end one pass and begin the next. For `Experiment.stream`, whose key is that of the seed: rows follow
    from key and step alone.

    Args:
      key: a typed key.
      step: int, counted from 0; `step * batch_size` stays below 2^32.
      batch_size: static, at least 1.
      size: static, at least 1.

    Returns:
      int32 `[batch_size]`.

    Raises:
      ValueError: a batch size or a size below 1.

    >>> key = jax.random.key(0)
    >>> rows = [pass_rows(key, step, batch_size=2, size=6).tolist() for step in range(3)]
    >>> sorted(sum(rows, []))
    [0, 1, 2, 3, 4, 5]
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}: it must be at least 1")
    if size < 1:
        raise InputError(f"size is {size}: it must be at least 1")
    place = jnp.asarray(step).astype(jnp.uint32) * jnp.uint32(batch_size) + jnp.arange(
        batch_size, dtype=jnp.uint32
    )
    return _pass_rows(key, place, size)


def _pass_rows(key: jax.Array, place: jax.Array, size: int) -> jax.Array:
    """The rows at some places of an endless sequence of passes; no place is more than one after that before it."""
    passes, index = place // jnp.uint32(size), place % jnp.uint32(size)
    # A pass' keys cost more than a row, and many rows share a pass.
    met = jnp.arange((len(place) - 1) // size + 2, dtype=jnp.uint32)
    keys = jax.vmap(lambda number: _round_keys(jax.random.fold_in(key, passes[0] + number)))(met)
    return _walked(keys[passes - passes[0]].T, index, size)


def mixed_rows(
    key: jax.Array, step: jax.Array, *, batch_size: int, sizes: Sequence[int], weights: Sequence[float]
) -> jax.Array:
    """The rows of batch `step` of several data sets in given proportions, each in passes without replacement.

    Rows are numbered through: those of the second set begin at `sizes[0]`. Of every 1,000 places each set has its
    weight's share to the nearest whole, spread evenly, so that batches differ by a row or so. Rows follow from key
    and step alone.

    Args:
      key: a typed key.
      step: int, counted from 0; `step * batch_size` stays below 2^32.
      batch_size: static, at least 1.
      sizes: examples of each set, static, at least 1; their sum is at most 2^31.
      weights: static, positive, up to a common factor; none below a thousandth of their sum.

    Returns:
      int32 `[batch_size]`.

    Raises:
      ValueError: sizes or weights outside their range.

    >>> rows = mixed_rows(jax.random.key(0), 0, batch_size=8, sizes=(100, 10), weights=(3, 1))
    >>> int((rows >= 100).sum())
    2
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}: it must be at least 1")
    if len(sizes) != len(weights) or not sizes or min(sizes) < 1 or sum(sizes) > 2**31:
        raise InputError(
            f"sizes is {sizes} for {len(weights)} weights: one size of at least 1 for each weight"
        )
    member, before, counts = _interleaved(tuple(map(float, weights)))
    place = jnp.asarray(step).astype(jnp.uint32) * jnp.uint32(batch_size) + jnp.arange(
        batch_size, dtype=jnp.uint32
    )
    period, slot = place // _PERIOD, place % _PERIOD
    chosen, begin = jnp.zeros(batch_size, jnp.int32), 0
    for number, (size, count) in enumerate(zip(sizes, counts)):
        own = period * jnp.uint32(count) + jnp.asarray(before)[number, slot]
        rows = _pass_rows(jax.random.fold_in(key, number), own, size)
        chosen, begin = jnp.where(jnp.asarray(member)[slot] == number, begin + rows, chosen), begin + size
    return chosen


def _interleaved(weights: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a period: the set of each slot `[P]`, how many of each set came before it `[K, P]`, each set's count `[K]`."""
    share = np.asarray(weights) / sum(weights) * _PERIOD
    if not (np.isfinite(share).all() and (share >= 1).all()):
        raise InputError(f"weights is {weights}: each must be positive, at least a thousandth of their sum")
    counts = np.floor(share).astype(int)
    largest = np.argsort(counts - share, kind="stable")[: _PERIOD - counts.sum()]
    counts[largest] += 1
    owner = np.repeat(np.arange(len(weights)), counts)
    when = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    member = owner[np.argsort(when, kind="stable")]
    each = member == np.arange(len(weights))[:, None]
    return member, (np.cumsum(each, axis=1) - each).astype(np.uint32), counts

"""Random numbers and token sequences of varying length, with static shapes, one row at a time."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.language._characters import PAD

POWERS = 10 ** np.arange(10, dtype=np.int32)


def pack(
    tokens: jax.Array, keep: jax.Array, length: int, *, side: str = "right"
) -> tuple[jax.Array, jax.Array]:
    """The kept tokens in their order, padded to `length` on a side; they must fit.

    A comparison instead of a sort or a scatter: rows are short, and this vectorises.
    """
    count = jnp.sum(keep, dtype=jnp.int32)
    shift = length - count if side == "left" else 0
    place = jnp.cumsum(keep) - 1 + shift
    slot = np.arange(length)
    chosen = keep & (place == slot[:, None])
    packed = jnp.sum(jnp.where(chosen, tokens, PAD), axis=1, dtype=jnp.int32)
    return packed, (slot >= shift) & (slot < shift + count)


def decimal(value: jax.Array, width: int) -> tuple[jax.Array, jax.Array]:
    """The decimal digits of a number in [0, 10^width), leading zeros marked as not to be kept."""
    powers = POWERS[:width][::-1]
    keep = (value >= powers) | (np.arange(width) == width - 1)
    return value // powers % 10, keep


def spell(values: jax.Array, ids: np.ndarray) -> jax.Array:
    """The token ids of digits, or of any values that index `ids`."""
    return jnp.asarray(ids, jnp.int32)[values]


def below(words: jax.Array, bounds: jax.Array | np.ndarray | list) -> jax.Array:
    """One integer in [0, bound) for every bound, from as many random words.

    The remainder of 32 bits prefers small numbers by bound / 2^32: nothing, for the small bounds of these tasks.
    """
    bounds = jnp.asarray(bounds, jnp.uint32)
    return (words.reshape(bounds.shape) % bounds).astype(jnp.int32)

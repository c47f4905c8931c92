"""What a decoder remembers of the positions it has seen."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Cache(NamedTuple):
    """Keys and values of the positions seen so far, one pair of arrays per layer.

    Heads come before positions, and layers are not stacked: on a CPU this samples faster than
    `[L, B, S, H, D]`.

    Attributes:
      keys, values: tuples of `[B, K, S, D]`; for stacked parameters one array `[L, B, K, S, D]` each.
      valid: `[B, S]` bool, the slots that hold a token.
      length: int32 scalar, the next slot to be written, the same for all rows.
    """

    keys: Any
    values: Any
    valid: jax.Array
    length: jax.Array

    def grown(self, capacity: int) -> "Cache":
        """The same cache with room for `capacity` positions."""
        more = capacity - self.valid.shape[1]
        pad = lambda x: jnp.pad(x, (*((0, 0),) * (x.ndim - 2), (0, more), (0, 0)))
        keys, values = jax.tree.map(pad, (self.keys, self.values))
        return Cache(keys, values, jnp.pad(self.valid, ((0, 0), (0, more))), self.length)

    def repeated(self, times: int) -> "Cache":
        """The same cache with each row `times` times in a row: one prompt, several completions."""
        keys, values = jax.tree.map(lambda x: jnp.repeat(x, times, axis=-4), (self.keys, self.values))
        return Cache(keys, values, jnp.repeat(self.valid, times, axis=0), self.length)

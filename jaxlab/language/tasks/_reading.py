"""What a verifier sees of a completion, one row at a time: the tokens before the end of sequence, nothing else."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.language._characters import EOS, PAD


class Reading(NamedTuple):
    """One completion as its verifier sees it.

    `tokens` `[T]`: padding from the end of sequence on. `length` scalar int32: tokens before it. `ended`: whether
    it ended at all.
    """

    tokens: jax.Array
    length: jax.Array
    ended: jax.Array


def read(completion: jax.Array, mask: jax.Array) -> Reading:
    """The row up to its first EOS; a masked position ends it unfinished, whatever stands there."""
    live = jnp.cumsum(~mask) == 0
    end = live & (completion == EOS)
    before = live & (jnp.cumsum(end) == 0)
    length = jnp.sum(before, dtype=jnp.int32)
    return Reading(jnp.where(before, completion, PAD).astype(jnp.int32), length, jnp.any(end))


def token_at(reading: Reading, position: jax.Array) -> jax.Array:
    """The token at a position; padding where there is none."""
    here = jnp.arange(reading.tokens.shape[0]) == position
    return jnp.sum(jnp.where(here, reading.tokens, 0), dtype=jnp.int32)


def digit_values(tokens: jax.Array, digits: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """The digit that each token stands for and whether it stands for one; `digits` are the ids of 0 ... 9."""
    equal = tokens[..., None] == digits
    return jnp.sum(equal * np.arange(10, dtype=np.int32), -1, dtype=jnp.int32), jnp.any(equal, -1)


def matches(reading: Reading, tokens: jax.Array, count: jax.Array) -> jax.Array:
    """Whether the completion is exactly the first `count` of `tokens` and then ends."""
    shared = min(tokens.shape[0], reading.tokens.shape[0])
    equal = (reading.tokens[:shared] == tokens[:shared]) | (jnp.arange(shared) >= count)
    return reading.ended & (reading.length == count) & jnp.all(equal)


def all_digits(reading: Reading, digits: np.ndarray) -> jax.Array:
    """Whether the completion is at least one digit, then ends."""
    _, is_digit = digit_values(reading.tokens, digits)
    beyond = jnp.arange(reading.tokens.shape[0]) >= reading.length
    return reading.ended & (reading.length > 0) & jnp.all(is_digit | beyond)

"""Causal attention with grouped heads, over a whole sequence or from one new position into a cache."""

import math

import jax
import jax.numpy as jnp

from jaxlab.core import MASKED_LOGIT, as_float

# Rows below which one product over all keys costs less than several over prefixes.
_ROWS_PER_BLOCK = 64


def _rows(length: int) -> int:
    """Rows in a block, the last of which may have fewer: a completion of 192 tokens has 191 to go through."""
    return next((rows for n in (4, 3, 2) if (rows := -(-length // n)) >= _ROWS_PER_BLOCK), length)


def _weights(scores: jax.Array, visible: jax.Array, dtype: jnp.dtype) -> jax.Array:
    return jax.nn.softmax(jnp.where(visible, as_float(scores), MASKED_LOGIT), axis=-1).astype(dtype)


def causal_attention(q: jax.Array, k: jax.Array, v: jax.Array, valid: jax.Array | None) -> jax.Array:
    """Attention of the last T positions of a sequence to themselves and to the valid ones before them.

    The lower triangle is computed in blocks of rows, each against the keys it can see, which leaves out a quarter to
    three eighths of the full square where there are blocks. A row that sees no valid key gets an average of values that
    nobody reads.

    Args:
      q: `[B, H, T, D]`.
      k, v: `[B, K, S, D]` with K a divisor of H and S at least T.
      valid: `[B, S]` bool, the keys that exist; None means all.

    Returns:
      `[B, H, T, D]`.
    """
    batch, heads, length, dim = q.shape
    groups, before = k.shape[1], k.shape[2] - q.shape[2]
    q = q.reshape(batch, groups, heads // groups, length, dim) * (1.0 / math.sqrt(dim))
    rows, outputs = _rows(length), []
    for start in range(0, length, rows):
        stop = min(start + rows, length)
        seen = before + stop
        visible = before + jnp.arange(start, stop)[:, None] >= jnp.arange(seen)[None, :]
        visible = visible[None, None, None]
        if valid is not None:
            visible = visible & valid[:, None, None, None, :seen]
        scores = jnp.einsum("bkgtd,bksd->bkgts", q[:, :, :, start:stop], k[:, :, :seen])
        weights = _weights(scores, visible, v.dtype)
        outputs.append(jnp.einsum("bkgts,bksd->bkgtd", weights, v[:, :, :seen]))
    return jnp.concatenate(outputs, axis=3).reshape(batch, heads, length, dim)


def cached_attention(q: jax.Array, keys: jax.Array, values: jax.Array, visible: jax.Array) -> jax.Array:
    """Attention of one new position per row to what a cache holds.

    Args:
      q: `[B, H, D]`.
      keys, values: `[B, K, S, D]`.
      visible: `[B, S]` bool.

    Returns:
      `[B, H, D]`.
    """
    batch, heads, dim = q.shape
    groups = keys.shape[1]
    q = q.reshape(batch, groups, heads // groups, dim) * (1.0 / math.sqrt(dim))
    scores = as_float(jnp.einsum("bkgd,bksd->bkgs", q, keys))
    scores = jnp.where(visible[:, None, None, :], scores, MASKED_LOGIT)
    weights = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    # Divided last, where there are fewest numbers.
    sums = as_float(jnp.einsum("bkgs,bksd->bkgd", weights.astype(values.dtype), values))
    mean = sums / jnp.sum(weights, axis=-1, keepdims=True)
    return mean.astype(values.dtype).reshape(batch, heads, dim)

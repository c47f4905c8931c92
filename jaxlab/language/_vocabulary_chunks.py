"""Logits of many rows over a large vocabulary, some tokens of it at a time.

The vocabulary is cut and not the rows: every part of the output matrix is then read once per pass, products stay
large, and rows that are split over devices stay where they are. A chunk takes every n-th token, so that a matrix
whose vocabulary is split over devices gives each of them its share of every chunk.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.core import MASKED_LOGIT, as_float
from jaxlab.core.check import InputError

_CHUNK_BYTES = 64 * 2**20
"""Logits of a chunk by default: large enough for full speed, small beside the matrix of a real vocabulary."""


class Chunks(NamedTuple):
    """How a vocabulary is cut: chunk i holds the tokens i, i + count, i + 2 count, ...

    Attributes:
      vocabulary: tokens in all, V.
      size: tokens in a chunk.
      count: chunks; `size * count` is at least V, and more only where no divisor of V is near.
    """

    vocabulary: int
    size: int
    count: int


def cut(vocabulary: int, rows: int, width: int, chunk: int | None) -> Chunks:
    """Chunks of about `chunk` tokens; None: as many as 64 MB of logits hold, or as the hidden vectors are wide."""
    if chunk is not None and chunk < 1:
        raise InputError(f"chunk is {chunk}: it must be at least 1 token")
    most = chunk or max(_CHUNK_BYTES // (4 * max(rows, 1)), width)
    least = math.ceil(vocabulary / most)
    near = (count for count in range(least, min(2 * least, vocabulary) + 1) if vocabulary % count == 0)
    count = next(near, least)
    return Chunks(vocabulary, math.ceil(vocabulary / count), count)


def stacked(matrix: jax.Array, chunks: Chunks) -> jax.Array:
    """A matrix `[d, V]` as `[size, count, d]`: chunk i is `[:, i]`."""
    missing = chunks.size * chunks.count - chunks.vocabulary
    rows = jnp.pad(matrix.T, ((0, missing), (0, 0))) if missing else matrix.T
    return rows.reshape(chunks.size, chunks.count, matrix.shape[0])


def unstacked(parts: jax.Array, chunks: Chunks) -> jax.Array:
    """`[size, count, d]` as `[d, V]` again."""
    return parts.reshape(-1, parts.shape[-1])[: chunks.vocabulary].T


def chunk_logits(
    hidden: jax.Array, parts: jax.Array, index: Any, chunks: Chunks, temperature: float
) -> tuple[jax.Array, jax.Array]:
    """Logits `[N, size]` of one chunk, and its rows of the matrix, in the type of `hidden`."""
    part = jax.lax.dynamic_index_in_dim(parts, index, axis=1, keepdims=False).astype(hidden.dtype)
    logits = as_float(hidden @ part.T) / temperature
    if chunks.size * chunks.count > chunks.vocabulary:
        exists = jnp.arange(chunks.size) * chunks.count + index < chunks.vocabulary
        logits = jnp.where(exists, logits, MASKED_LOGIT)
    return logits, part


def over_chunks(step: Callable[[Any, Any], Any], carry: Any, chunks: Chunks) -> Any:
    """`carry = step(index, carry)` for every chunk."""
    if chunks.count == 1:
        return step(0, carry)
    return jax.lax.fori_loop(0, chunks.count, step, carry)


class Normalizer(NamedTuple):
    """The sum of the exponentials of a row, so that `log p = (z - peak) - log_sum` loses no digits to a large `z`.

    Attributes:
      peak: `[N]`, the largest logit.
      log_sum: `[N]`, the logarithm of `sum_v exp(z_v - peak)`.
    """

    peak: jax.Array
    log_sum: jax.Array

    def log_softmax(self, logits: jax.Array) -> jax.Array:
        """Log-probabilities `[N, size]` of a chunk's logits."""
        return (logits - self.peak[:, None]) - self.log_sum[:, None]


class Mass(NamedTuple):
    """What has been seen of a distribution so far: `peak`, `total = sum exp(z - peak)`, each `[N]`."""

    peak: jax.Array
    total: jax.Array

    def normalizer(self) -> Normalizer:
        """When all has been seen."""
        return Normalizer(self.peak, jnp.log(self.total))


def no_mass(like: jax.Array) -> Mass:
    """Of rows `[N, ...]` nothing has been seen."""
    row = as_float(like[:, 0])
    return Mass(jnp.full_like(row, MASKED_LOGIT), jnp.zeros_like(row))


def more_mass(mass: Mass, logits: jax.Array) -> tuple[Mass, jax.Array, jax.Array]:
    """With another chunk; also `exp(z - peak)` of the chunk and by how much the earlier sums shrink."""
    peak = jnp.maximum(mass.peak, jnp.max(logits, axis=-1))
    shrink, exps = jnp.exp(mass.peak - peak), jnp.exp(logits - peak[:, None])
    return Mass(peak, mass.total * shrink + jnp.sum(exps, axis=-1)), exps, shrink


def gradients(
    d_logits: Callable[[Any], tuple[jax.Array, jax.Array]],
    hidden: jax.Array,
    matrix: jax.Array,
    chunks: Chunks,
) -> tuple[jax.Array, jax.Array]:
    """Gradients of `hidden` `[N, d]` and `matrix` `[d, V]` from `index -> (d loss / d (hidden @ part.T), part)`."""

    def step(index: Any, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        d_hidden, d_parts = carry
        d_z, part = d_logits(index)
        d_z = d_z.astype(hidden.dtype)
        # Turns the rows, of which there are d, and not the logits; see `_layers`.
        d_part = (hidden.T @ d_z).T.astype(d_parts.dtype)
        return d_hidden + as_float(d_z @ part), jax.lax.dynamic_update_index_in_dim(d_parts, d_part, index, 1)

    empty = jnp.zeros_like(matrix, shape=(chunks.size, chunks.count, matrix.shape[0]))
    d_hidden, d_parts = over_chunks(step, (jnp.zeros_like(as_float(hidden)), empty), chunks)
    return d_hidden.astype(hidden.dtype), unstacked(d_parts, chunks)


def expected_difference(
    left: jax.Array, right: jax.Array, logits: Callable[[Any], tuple[jax.Array, jax.Array]], chunks: Chunks
) -> tuple[jax.Array, Normalizer, Normalizer]:
    """`sum_v p (log p - log q)` for rows `[N, ...]`, and the normalizers of p and of q, in one pass.

    `logits` is `index -> (those of p, those of q)`; `left` and `right` only tell how many rows there are.
    """

    def step(index: Any, carry: tuple[Mass, Mass, jax.Array]) -> tuple[Mass, Mass, jax.Array]:
        p, q, gap = carry
        of_p, of_q = logits(index)
        new_p, exps, shrink = more_mass(p, of_p)
        new_q, _, _ = more_mass(q, of_q)
        # The gap is measured from both peaks; when they rise, what has been summed moves along.
        moved = (p.peak - new_p.peak) - (q.peak - new_q.peak)
        ratio = (of_p - new_p.peak[:, None]) - (of_q - new_q.peak[:, None])
        gap = shrink * (gap + moved * p.total) + jnp.sum(exps * ratio, axis=-1)
        return new_p, new_q, gap

    p, q = no_mass(left), no_mass(right)
    p, q, gap = over_chunks(step, (p, q, jnp.zeros_like(p.total)), chunks)
    of_p, of_q = p.normalizer(), q.normalizer()
    return gap / p.total - of_p.log_sum + of_q.log_sum, of_p, of_q


def check_matrix(name: str, hidden: jax.Array, matrix_name: str, matrix: jax.Array) -> None:
    """A line for hidden vectors and a matrix that do not fit each other."""
    if matrix.ndim != 2 or hidden.ndim < 1 or hidden.shape[-1] != matrix.shape[0]:
        raise InputError(
            f"{name} {hidden.shape} and {matrix_name} {matrix.shape} must be [..., d] and [d, V]"
        )

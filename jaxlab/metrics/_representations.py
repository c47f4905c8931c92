"""What a cloud of feature vectors looks like: how near pairs are, how it spreads, how many directions it fills."""

import jax
import jax.numpy as jnp

from jaxlab.core import as_float, masked_logsumexp, masked_mean, normalize
from jaxlab.core.check import InputError, full_mask


def alignment(x: jax.Array, y: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """How far the two vectors of a positive pair are apart, on average over the batch: one number, lower is nearer.

    Vectors are scaled to length 1 first; one of length 0 stays 0. Gradients flow into both.

        mean_i |x_i / |x_i| - y_i / |y_i||^2

    Args:
      x: `[N, D]`.
      y: `[N, D]`, row i of both is a pair.
      where: `[N]` bool or {0, 1}, the pairs that count; None means all.

    Returns:
      float32 (float64 for float64 input) scalar in [0, 4]; 0 if no pair counts.

    Raises:
      ValueError: if the two do not have the same shape `[N, D]`, or `where` does not broadcast to `[N]`.

    Reference: Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on
      the Hypersphere, 2020, section 4.1 with exponent 2.

    >>> alignment(jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 1.0]])).item()
    2.0
    """
    if jnp.ndim(x) != 2 or jnp.shape(x) != jnp.shape(y):
        raise InputError(f"x {jnp.shape(x)} and y {jnp.shape(y)} must have the same shape [N, D]")
    rows = full_mask(where, jnp.shape(x)[:1], "pairs")
    x, y = (jnp.where(rows[:, None], as_float(side), 0.0) for side in (x, y))
    return masked_mean(jnp.sum(jnp.square(normalize(x) - normalize(y)), axis=-1), where=rows)


def uniformity(x: jax.Array, *, t: float | jax.Array = 2.0, where: jax.Array | None = None) -> jax.Array:
    """How unevenly vectors lie on the sphere, over all pairs of the batch: one number, lower is more uniform.

    Vectors are scaled to length 1 first; one of length 0 stays 0. Gradients flow into `x`. Memory is `[N, N]`.

        log mean_{i < j} exp(-t |x_i / |x_i| - x_j / |x_j||^2)

    Args:
      x: `[N, D]`.
      t: above 0.
      where: `[N]` bool or {0, 1}, the rows that count; None means all.

    Returns:
      float32 (float64 for float64 input) scalar in [-4 t, 0]; 0 for fewer than two rows.

    Raises:
      ValueError: if `x` is not `[N, D]`, or `where` does not broadcast to `[N]`.

    Reference: Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on
      the Hypersphere, 2020, section 4.1.

    >>> uniformity(jnp.array([[1.0, 0.0], [-3.0, 0.0]])).item()
    -8.0
    """
    x, rows = _rows(x, where)
    x = normalize(x)
    squares = jnp.sum(jnp.square(x), axis=-1)
    distance = jnp.maximum(squares[:, None] + squares - 2.0 * x @ x.T, 0.0)
    index = jnp.arange(len(x))
    pairs = rows[:, None] & rows & (index[:, None] < index)
    count = jnp.sum(pairs)
    total = masked_logsumexp(-t * distance.reshape(-1), where=pairs.reshape(-1), axis=0)
    return jnp.where(count > 0, total - jnp.log(jnp.maximum(count, 1)), 0.0)


def effective_rank(x: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """How many directions a batch of vectors fills: one number, between 1 and their dimension.

    The entropy of the singular values of the centred vectors, as a number of equal ones. Singular values that are
    rounding next to the largest count as 0. Without gradient.

        exp(-sum_k p_k log p_k),   p_k = sigma_k / sum_l sigma_l

    Args:
      x: `[N, D]`.
      where: `[N]` bool or {0, 1}, the rows that count; None means all.

    Returns:
      float32 (float64 for float64 input) scalar in [1, min(N - 1, D)]; 0 where all rows are equal.

    Raises:
      ValueError: if `x` is not `[N, D]`, or `where` does not broadcast to `[N]`.

    Reference: Roy and Vetterli, The Effective Rank: A Measure of Effective Dimensionality, 2007, definition 1; there
      without centring.

    >>> x = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(effective_rank(x).item(), 4), round(effective_rank(x * jnp.array([1.0, 0.0])).item(), 4)
    (2.0, 1.0)
    """
    x, rows = _rows(jax.lax.stop_gradient(x), where)
    size, eps = jnp.max(jnp.abs(x), initial=0.0), float(jnp.finfo(x.dtype).eps)
    x = jnp.where(rows[:, None], x - masked_mean(x, where=rows[:, None], axis=0), 0.0)
    spread = jnp.max(jnp.abs(x), initial=0.0)
    equal = spread <= 8 * eps * size
    x = jnp.where(equal, 0.0, x / jnp.where(equal, 1.0, spread))
    # The smaller of the two products has the same eigenvalues but for zeros.
    squares = jnp.linalg.eigvalsh(x.T @ x if x.shape[0] >= x.shape[1] else x @ x.T)
    largest = jnp.max(squares, initial=0.0)
    noise = max(x.shape) * eps * largest
    sigma = jnp.sqrt(jnp.where(squares > noise, squares, 0.0))
    p = sigma / jnp.where(largest > 0, jnp.sum(sigma), 1.0)
    entropy = -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0))
    return jnp.where(largest > 0, jnp.exp(entropy), 0.0 * largest)  # a NaN stays


def _rows(x: jax.Array, where: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """The vectors, 0 where they do not count, and which do."""
    if jnp.ndim(x) != 2:
        raise InputError(f"x must be [N, D], got {jnp.shape(x)}")
    rows = full_mask(where, jnp.shape(x)[:1], "rows of x")
    return jnp.where(rows[:, None], as_float(x), 0.0), rows

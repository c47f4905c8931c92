"""Features standardised over their batch, and how those of two batches go together."""

import jax
import jax.numpy as jnp

from jaxlab.core._reduce import AxisName, as_float, masked_mean, masked_sum, masked_var
from jaxlab.core.check import InputError, check_least, full_mask

_SHORTEST = 1e-12  # a spread below it is none: its inverse, in a gradient, would overflow


def standardize_batch(
    x: jax.Array,
    *,
    ddof: int = 0,
    eps: float = 1e-5,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Every feature with its mean over the batch taken out and divided by its spread.

    With ddof 0 and eps 1e-5 it is batch normalisation in training, without its affine part. A feature that is constant
    up to rounding becomes 0 with gradient 0, also for eps = 0. Gradients flow into `x`, through mean and spread too.

        (x_id - mean_i x_id) / sqrt(var_i x_id + eps)

    Args:
      x: `[N, D]`.
      ddof: 0 for the population variance, 1 for the unbiased one.
      eps: added to the variance, at least 0.
      where: `[N]` bool or {0, 1}, the rows that count; None means all.
      axis_name: mapped axis (or axes) of the batch; mean and variance are those of the global batch.

    Returns:
      `[N, D]` float32 (float64 for float64 input); 0 in rows that do not count.

    Raises:
      ValueError: if `x` is not `[N, D]`, `where` does not broadcast to `[N]`, ddof is neither 0 nor 1, or eps is
        below 0.

    Reference: Ioffe and Szegedy, Batch Normalization, 2015, algorithm 1.

    >>> standardize_batch(jnp.array([[1.0, 7.0], [3.0, 7.0]]), eps=0.0).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    given, rows = jnp.shape(x), _rows("x", x, where)
    check_least("eps", eps, 0)
    dtype, x = jnp.asarray(x).dtype, jnp.where(rows, as_float(x), 0.0)
    options = {"where": jnp.broadcast_to(rows, given), "axis": 0, "axis_name": axis_name}
    mean, variance = masked_mean(x, **options), masked_var(x, ddof=ddof, **options)
    size = jax.lax.stop_gradient(masked_mean(jnp.square(x), **options))
    shortest = max(_SHORTEST, float(jnp.finfo(dtype).tiny) if jnp.issubdtype(dtype, jnp.floating) else 0.0)
    rounding = (8.0 * float(jnp.finfo(x.dtype).eps)) ** 2 * size
    constant = variance <= jnp.maximum(rounding, shortest**2)
    scale = jax.lax.rsqrt(jnp.where(constant, 1.0, variance + eps))
    return jnp.where(rows & ~constant, (x - mean) * scale, 0.0)


def cross_correlation(
    x: jax.Array, y: jax.Array, *, where: jax.Array | None = None, axis_name: AxisName = None
) -> jax.Array:
    """Mean over the batch of the products of every feature of one side with every feature of the other.

    Of features that `standardize_batch` made it is the matrix of their correlations; with ddof 1 there the diagonal of
    x with itself is (N - 1) / N. Gradients flow into both.

        C_de = 1/N sum_i x_id y_ie

    Args:
      x: `[N, D]`.
      y: `[N, E]`.
      where: `[N]` bool or {0, 1}, the rows that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the matrix of the global batch.

    Returns:
      `[D, E]` float32 (float64 for float64 input); 0 if no row counts.

    Raises:
      ValueError: if the two are not `[N, D]` and `[N, E]`, or `where` does not broadcast to `[N]`.

    Reference: Zbontar et al., Barlow Twins: Self-Supervised Learning via Redundancy Reduction, 2021, equation 2.

    >>> x = jnp.array([[1.0, -1.0], [-1.0, 1.0]])
    >>> cross_correlation(x, x).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    rows = _rows("x", x, where)
    if jnp.ndim(y) != 2 or jnp.shape(y)[0] != jnp.shape(x)[0]:
        raise InputError(f"x {jnp.shape(x)} and y {jnp.shape(y)} must be [N, D] and [N, E]")
    x, y = (jnp.where(rows, as_float(side), 0.0) for side in (x, y))
    total, count = x.T @ y, masked_sum(rows)
    if axis_name is not None:
        total, count = jax.lax.psum((total, count), axis_name)
    return total / jnp.maximum(count, 1.0).astype(total.dtype)


def _rows(name: str, x: jax.Array, where: jax.Array | None) -> jax.Array:
    """Which rows of `[N, D]` count, `[N, 1]`."""
    if jnp.ndim(x) != 2:
        raise InputError(f"{name} must be [N, D], got {jnp.shape(x)}")
    return full_mask(where, jnp.shape(x)[:1], f"rows of {name}")[:, None]

"""Similarity of two arrays along an axis."""

import jax
import jax.numpy as jnp

from jaxlab.core._prototype import normalize
from jaxlab.core._reduce import as_float, as_mask, masked_mean
from jaxlab.core.check import check_same_shape


def _centre(x: jax.Array, where: jax.Array | None, axis: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Deviations from the mean (0 at masked entries), their norm, and whether they are mere rounding."""
    x = jnp.where(as_mask(where, x.shape), x, 0.0)
    mean = masked_mean(x, where=where, axis=axis, keepdims=True)
    deviation = jnp.where(as_mask(where, x.shape), x - mean, 0.0)
    squares = jnp.sum(jnp.square(deviation), axis, keepdims=True)
    noise = 8.0 * float(jnp.finfo(x.dtype).eps)
    constant = squares <= noise**2 * jnp.sum(jnp.square(x), axis, keepdims=True)
    norm = jnp.sqrt(jnp.where(constant, 1.0, squares))
    return deviation, norm, constant


def pearson(
    x: jax.Array, y: jax.Array, *, axis: int = -1, eps: float = 1e-8, where: jax.Array | None = None
) -> jax.Array:
    """Pearson correlation of two arrays along an axis.

    A vector that is constant up to rounding has no direction: its correlation is 0 with gradient 0, instead
    of rounding noise divided by `eps`. Gradients flow into both arguments.

        sum_i a_i b_i / (|a| |b| + eps),  a = x - mean(x),  b = y - mean(y)

    Args:
      x: array of any shape.
      y: array of the same shape.
      axis: axis along which to correlate.
      eps: added to the denominator, not to each norm.
      where: bool or {0, 1}, broadcastable to `x`, the entries that count; None means all.

    Returns:
      float32 (float64 for float64 input) in [-1, 1], the shape of `x` without `axis`; 0 if nothing is valid.

    Raises:
      ValueError: if the shapes differ or `where` does not broadcast to them.

    Reference: Huang et al., Knowledge Distillation from A Stronger Teacher, 2022, with the eps of the authors' code.

    >>> round(pearson(jnp.array([1.0, 2.0, 3.0]), jnp.array([2.0, 4.0, 7.0])).item(), 4)
    0.9934
    """
    check_same_shape("[...]", x=x, y=y)
    x, y = as_float(x), as_float(y)
    a, norm_a, constant_a = _centre(x, where, axis)
    b, norm_b, constant_b = _centre(y, where, axis)
    constant = constant_a | constant_b
    product = jnp.sum(jnp.where(constant, 0.0, a * b), axis)
    return product / (jnp.squeeze(norm_a * norm_b, axis) + eps)


def cosine_similarity(x: jax.Array, y: jax.Array, *, axis: int = -1) -> jax.Array:
    """Cosine of the angle between two arrays along an axis.

    A zero vector has no direction: its similarity is 0 with gradient 0. Gradients flow into both arguments.

        sum_i x_i y_i / (|x| |y|)

    Args:
      x: array of any shape.
      y: array of the same shape.
      axis: axis of the vectors.

    Returns:
      float32 (float64 for float64 input) in [-1, 1], the shape of `x` without `axis`.

    Raises:
      ValueError: if the shapes differ.

    >>> round(cosine_similarity(jnp.array([3.0, 4.0]), jnp.array([4.0, 3.0])).item(), 4)
    0.96
    """
    check_same_shape("[...]", x=x, y=y)
    return jnp.sum(normalize(x, axis=axis) * normalize(y, axis=axis), axis)

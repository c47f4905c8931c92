"""Masked statistics: how every loss of the library turns entries into numbers.

One set of rules for all of them. Narrow inputs (bf16, f16, integers, bools) become float32 first, float64
stays. An entry with `where` false never reaches the value or a gradient, even if it is NaN or infinite; a NaN
in a valid entry stays NaN. When nothing is valid, or the array is empty, the result is 0.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import InputError, as_bool, check_fits

Axis = int | Sequence[int] | None
AxisName = str | tuple[str, ...] | None


def as_float(x: jax.Array) -> jax.Array:
    """The array in float32, or in float64 if it already is: the type that every reduction here works in.

    A gradient that goes back into a float16 array saturates at 65,504 there instead of becoming infinite.

    Args:
      x: array of any dtype.

    Returns:
      The same shape.

    >>> as_float(jnp.ones(2, jnp.bfloat16)).dtype
    dtype('float32')
    """
    x = jnp.asarray(x)
    return _from_half(x) if x.dtype == jnp.float16 else x.astype(jnp.promote_types(x.dtype, jnp.float32))


@jax.custom_vjp
def _from_half(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32)


def _to_half(_: None, gradient: jax.Array) -> tuple[jax.Array]:
    largest = float(jnp.finfo(jnp.float16).max)
    return (jnp.clip(gradient, -largest, largest).astype(jnp.float16),)


_from_half.defvjp(lambda x: (_from_half(x), None), _to_half)


def as_mask(where: jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
    """The mask as booleans that broadcast to `shape`; None becomes a scalar True."""
    if where is None:
        return jnp.asarray(True)
    check_fits(where, shape, "where", "array it masks,")
    return as_bool("where", where)


def axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes to reduce, as a tuple."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(axis) if isinstance(axis, Sequence) else (axis,)


def _count(
    where: jax.Array | None, shape: tuple[int, ...], axis: Axis, keepdims: bool, axis_name: AxisName
) -> jax.Array | int:
    """How many entries are valid: static without a mask, summed over devices with a name."""
    if where is None:
        count = math.prod(shape[a] for a in axes(axis, len(shape)))
    else:
        mask = jnp.broadcast_to(as_mask(where, shape), shape)
        count = jnp.sum(mask, axis, dtype=jnp.int32, keepdims=keepdims)
    return count if axis_name is None else jax.lax.psum(count, axis_name)


def masked_sum(
    x: jax.Array,
    *,
    where: jax.Array | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    axis_name: AxisName = None,
) -> jax.Array:
    """Sum of the valid entries.

    Gradients flow into the valid entries only.

        sum_i where_i x_i

    Args:
      x: array of any shape; floats, integers or bools.
      where: bool or {0, 1}, broadcastable to `x`; None means all valid.
      axis: axis or axes to reduce; None means all.
      keepdims: keep reduced axes with size 1.
      axis_name: mapped axis (or axes) to sum over as well; every device returns the global sum.

    Returns:
      float32 (float64 for float64 input), 0 if nothing is valid.

    Raises:
      ValueError: if `where` does not broadcast to `x`.

    >>> masked_sum(jnp.array([1.0, jnp.nan, 3.0]), where=jnp.array([True, False, True])).item()
    4.0
    """
    x = as_float(x)
    total = jnp.sum(jnp.where(as_mask(where, x.shape), x, 0.0), axis, keepdims=keepdims)
    return total if axis_name is None else jax.lax.psum(total, axis_name)


def masked_mean(
    x: jax.Array,
    *,
    where: jax.Array | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    axis_name: AxisName = None,
) -> jax.Array:
    """Mean of the valid entries.

    With `axis_name` it is the ratio of the global sum to the global count, which differs from a mean of
    device means as soon as devices hold different numbers of valid entries. Gradients flow into valid entries
    only.

        sum_i where_i x_i / max(sum_i where_i, 1)

    Args:
      x: array of any shape; floats, integers or bools.
      where: bool or {0, 1}, broadcastable to `x`; None means all valid.
      axis: axis or axes to reduce; None means all.
      keepdims: keep reduced axes with size 1.
      axis_name: mapped axis (or axes) to reduce over as well; every device returns the global mean.

    Returns:
      float32 (float64 for float64 input), 0 if nothing is valid.

    Raises:
      ValueError: if `where` does not broadcast to `x`.

    >>> masked_mean(jnp.array([1.0, 5.0, 3.0]), where=jnp.array([1, 0, 1])).item()
    2.0
    """
    total = masked_sum(x, where=where, axis=axis, keepdims=keepdims, axis_name=axis_name)
    count = _count(where, np.shape(x), axis, keepdims, axis_name)
    return total / jnp.maximum(count, 1)


def masked_var(
    x: jax.Array,
    *,
    where: jax.Array | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    ddof: int = 0,
    axis_name: AxisName = None,
) -> jax.Array:
    """Variance of the valid entries around their (global) mean.

    Two passes: the mean is subtracted before squaring, so a large offset costs no precision. Gradients flow
    into valid entries only.

        sum_i where_i (x_i - mean)^2 / max(sum_i where_i - ddof, 1)

    Args:
      x: array of any shape; floats, integers or bools.
      where: bool or {0, 1}, broadcastable to `x`; None means all valid.
      axis: axis or axes to reduce; None means all.
      keepdims: keep reduced axes with size 1.
      ddof: 0 for the population variance, 1 for the unbiased one (0 when a single entry is valid).
      axis_name: mapped axis (or axes) to reduce over as well; every device returns the global variance.

    Returns:
      float32 (float64 for float64 input), 0 if nothing is valid.

    Raises:
      ValueError: if `where` does not broadcast to `x`, or `ddof` is neither 0 nor 1.

    Reference: two-pass variance, Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance, 1983.

    >>> masked_var(jnp.array([1.0, 9.0, 3.0]), where=jnp.array([1, 0, 1])).item()
    1.0
    """
    if ddof not in (0, 1):
        raise InputError(f"ddof must be 0 or 1, got {ddof}")
    x = as_float(x)
    mask = as_mask(where, x.shape)
    mean = masked_mean(x, where=where, axis=axis, keepdims=True, axis_name=axis_name)
    deviation = jnp.where(mask, x, mean) - mean
    squares = masked_sum(
        jnp.square(deviation), where=where, axis=axis, keepdims=keepdims, axis_name=axis_name
    )
    count = _count(where, x.shape, axis, keepdims, axis_name)
    return squares / jnp.maximum(count - ddof, 1)


def masked_std(
    x: jax.Array,
    *,
    where: jax.Array | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    ddof: int = 0,
    axis_name: AxisName = None,
) -> jax.Array:
    """Standard deviation of the valid entries, with gradient 0 where it is 0.

    The square root has no derivative at 0; equal entries (a group of equal rewards, say) get gradient 0
    there.

        sqrt(masked_var(x))

    Args:
      x: array of any shape; floats, integers or bools.
      where: bool or {0, 1}, broadcastable to `x`; None means all valid.
      axis: axis or axes to reduce; None means all.
      keepdims: keep reduced axes with size 1.
      ddof: 0 for the population value, 1 for the unbiased variance under the root.
      axis_name: mapped axis (or axes) to reduce over as well; every device returns the global value.

    Returns:
      float32 (float64 for float64 input), 0 if nothing is valid.

    Raises:
      ValueError: if `where` does not broadcast to `x`, or `ddof` is neither 0 nor 1.

    >>> masked_std(jnp.array([1.0, 5.0])).item()
    2.0
    """
    variance = masked_var(x, where=where, axis=axis, keepdims=keepdims, ddof=ddof, axis_name=axis_name)
    flat = variance == 0
    return jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, variance)))


def masked_max(
    x: jax.Array, *, where: jax.Array | None = None, axis: Axis = None, keepdims: bool = False
) -> jax.Array:
    """Largest valid entry.

    The gradient is shared equally by tied entries. There is no `axis_name`: the maximum over devices has no
    gradient; gather first.

        max over i with where_i of x_i

    Args:
      x: array of any shape; floats, integers or bools.
      where: bool or {0, 1}, broadcastable to `x`; None means all valid.
      axis: axis or axes to reduce; None means all.
      keepdims: keep reduced axes with size 1.

    Returns:
      float32 (float64 for float64 input), 0 if nothing is valid.

    Raises:
      ValueError: if `where` does not broadcast to `x`.

    >>> masked_max(jnp.array([-3.0, 5.0, -1.0]), where=jnp.array([1, 0, 1])).item()
    -1.0
    """
    x = as_float(x)
    mask = jnp.broadcast_to(as_mask(where, x.shape), x.shape)
    largest = jnp.max(jnp.where(mask, x, -jnp.inf), axis, keepdims=keepdims, initial=-jnp.inf)
    return jnp.where(jnp.any(mask, axis, keepdims=keepdims), largest, 0.0)

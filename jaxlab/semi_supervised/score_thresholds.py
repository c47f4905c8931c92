"""Thresholds from the scores themselves: an exact split of numbers into two groups, per class and measure."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean
from jaxlab.core.check import InputError, as_integers, full_mask

DEFAULT_THRESHOLDS = ((0.99, 0.99), (0.95, 0.95), (0.93, 0.93))
"""(high, low) of score, objectness and consistency before anything has been seen."""


def two_means(x: jax.Array, *, where: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """The centres of two groups of numbers, 2-means in one dimension, solved exactly.

    In one dimension the best groups are an upper and a lower part of the sorted numbers, so every cut is tried by
    prefix sums: no start, no iteration, no chance. No gradient passes.

        max over cuts k of k (L_k - m)^2 + (n - k) (H_k - m)^2,   L_k, H_k the means of the k lowest and the others

    Args:
      x: `[..., N]`, any finite size.
      where: bool or {0, 1}, broadcastable to `[..., N]`, the numbers that count; None means all.

    Returns:
      `(high, low)`, each `[...]` float32 (float64 for float64 numbers), high >= low. Equal numbers, or one alone, are
      both centres; without any both are 0.

    Raises:
      ValueError: if `x` is a scalar or `where` does not broadcast to it.

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation (HSSDA), 2023, section 3.2. The
      authors' code runs k-means from random starts, which can end in a worse division than this one, the best.

    >>> high, low = two_means(jnp.array([0.2, 0.9, 0.3, 0.8]))
    >>> round(high.item(), 4), round(low.item(), 4)
    (0.85, 0.25)
    """
    if not np.ndim(x):
        raise InputError(f"x must be [..., N], got shape {np.shape(x)}")
    mask = full_mask(where, np.shape(x), "numbers")
    x = jax.lax.stop_gradient(jnp.where(mask, as_float(x), 0.0))
    count = jnp.sum(mask, axis=-1, keepdims=True).astype(x.dtype)
    mean = masked_mean(x, where=mask, axis=-1, keepdims=True)
    # About their mean, lest the squares of numbers that are large beside their spread cancel.
    ordered = jnp.sort(jnp.where(mask, x - mean, jnp.inf), axis=-1)
    position = jnp.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    exists = position <= count
    ordered = jnp.where(exists, ordered, 0.0)
    below = jnp.cumsum(ordered, axis=-1)
    total = jnp.sum(ordered, axis=-1, keepdims=True)
    cut = exists & (position < count)
    others = jnp.where(cut, count - position, 1.0)
    low, high = below / position, (total - below) / others
    gain = jnp.where(cut, position * low**2 + others * high**2, -jnp.inf)
    best = jnp.argmax(gain, axis=-1, keepdims=True) if x.shape[-1] else jnp.zeros_like(count, jnp.int32)
    divided = (count > 1) & (jnp.max(gain, axis=-1, keepdims=True, initial=-jnp.inf) > 0)
    pick = lambda centre: (
        jnp.where(divided, jnp.take_along_axis(centre, best, axis=-1), 0.0) if x.shape[-1] else 0.0
    )
    return (mean + pick(high))[..., 0], (mean + pick(low))[..., 0]


def truncate(x: jax.Array, *, decimals: int = 2) -> jax.Array:
    """Numbers cut off, not rounded, after some decimals. No gradient passes.

    A number that rounding put just below a decimal counts as that decimal: 0.29 stays 0.29 in float32.

        floor(10^decimals x) / 10^decimals  for x >= 0,  towards 0 for x < 0

    Args:
      x: any shape, of size below 10^4.
      decimals: static integer, at least 0.

    Returns:
      The same shape, float32 (float64 for float64 numbers).

    Raises:
      ValueError: if `decimals` is negative.

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation (HSSDA), 2023, the authors' code,
      which cuts the decimal text of a number, and fails on one in exponent notation.

    >>> print(truncate(jnp.array([0.779, 0.29, -0.119])))
    [ 0.77  0.29 -0.11]
    """
    if decimals < 0:
        raise InputError(f"decimals must be at least 0, got {decimals}")
    x = jax.lax.stop_gradient(as_float(x))
    tiny = 8 * float(jnp.finfo(x.dtype).eps)
    scaled = jnp.abs(x) * 10**decimals
    return jnp.sign(x) * jnp.floor(scaled * (1 + tiny)) / 10**decimals


def dual_thresholds(
    measures: jax.Array,
    classes: jax.Array,
    *,
    num_classes: int,
    where: jax.Array | None = None,
    default: jax.Array | tuple = DEFAULT_THRESHOLDS,
    min_items: int = 3,
    decimals: int | None = 2,
) -> jax.Array:
    """A high and a low threshold for each class and measure: the two centres of what has been measured.

    They follow the model: as its scores rise, so do they, and a class whose scores are low is not shut out by the
    others. Only boxes that match a current label should be measured. No gradient passes.

    Args:
      measures: `[N, Q]`, for each box its score, objectness and consistency (Q = 3), or others.
      classes: `[N]` integers in [0, C); a negative one marks a box to ignore.
      num_classes: C.
      where: bool or {0, 1}, `[N]`, the boxes that count; None means all.
      default: `[Q, 2]` or `[C, Q, 2]`, kept by a class with fewer than `min_items` boxes.
      min_items: boxes that a class needs.
      decimals: cut the centres off after so many; None leaves them.

    Returns:
      `[C, Q, 2]` float32 (float64 for float64 measures), high and low.

    Raises:
      ValueError: if the shapes do not fit, or a class does not exist.

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation (HSSDA), 2023, section 3.2;
      `min_items`, `decimals` and the default are the authors' code.

    >>> measures = jnp.array([0.25, 0.75, 0.25, 0.75])[:, None]
    >>> dual_thresholds(measures, jnp.zeros(4, int), num_classes=2, default=((0.5, 0.5),))[:, 0].tolist()
    [[0.75, 0.25], [0.5, 0.5]]
    """
    shape = np.shape(measures)
    if len(shape) != 2 or np.shape(classes) != shape[:1]:
        raise InputError(f"measures {shape} must be [N, Q] and classes {np.shape(classes)} must be [N]")
    measures = jax.lax.stop_gradient(as_float(measures))
    classes = as_integers(
        "classes", classes, "class indices", num_classes, where=where, ignore="a box to ignore"
    )
    default = jax.lax.stop_gradient(jnp.asarray(default, measures.dtype))
    if default.shape not in ((shape[1], 2), (num_classes, shape[1], 2)):
        raise InputError(f"default {default.shape} must be [Q, 2] or [C, Q, 2] for measures {shape}")
    counted = full_mask(where, shape[:1], "boxes [N]")
    own = counted & (classes == jnp.arange(num_classes)[:, None])
    each = jnp.broadcast_to(measures.T, (num_classes, shape[1], shape[0]))
    centres = jnp.stack(two_means(each, where=own[:, None, :]), axis=-1)
    if decimals is not None:
        centres = truncate(centres, decimals=decimals)
    enough = jnp.sum(own, axis=1) >= min_items
    return jnp.where(enough[:, None, None], centres, default)

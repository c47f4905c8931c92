"""Correlations of orders, with ties: Spearman, Kendall, the area under the ROC curve; and what a correlation shows.

No gradient passes. What is 0 / 0, a constant side or a missing class, is `undefined`, NaN if nothing else is asked for.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, pearson
from jaxlab.core.check import InputError, as_bool, check_fraction, full_mask
from jaxlab.metrics._distributions import t_two_sided


def average_ranks(x: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """Rank of every number among those that count, from 1; equal ones share the mean of their ranks.

    Args:
      x: `[N]` finite numbers.
      where: `[N]` bool or {0, 1}, the entries that count; None means all.

    Returns:
      `[N]` float32 (float64 for float64 input), 0 where an entry does not count; all NaN if one that counts is.

    Raises:
      ValueError: if `x` is not `[N]`.

    Reference: Kendall, The Treatment of Ties in Ranking Problems, 1945.

    >>> average_ranks(jnp.array([5.0, 1.0, 5.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    if np.ndim(x) != 1:
        raise InputError(f"x must be [N], got {np.shape(x)}")
    counts = full_mask(where, np.shape(x), "entries of x")
    x = as_float(jax.lax.stop_gradient(x))
    placed = jnp.where(counts, x, jnp.inf)
    ordered = jnp.sort(placed)
    first, last = (jnp.searchsorted(ordered, placed, side=side) for side in ("left", "right"))
    ranks = jnp.where(counts, (first + last + 1) / 2, 0.0).astype(x.dtype)
    return jnp.where(jnp.any(counts & jnp.isnan(x)), jnp.nan, ranks)


def spearman(
    x: jax.Array, y: jax.Array, *, where: jax.Array | None = None, undefined: float = jnp.nan
) -> jax.Array:
    """Spearman's correlation, of ranks in which ties share their mean: one number for a batch.

        pearson(rank(x), rank(y))

    Args:
      x: `[N]` numbers.
      y: `[N]`.
      where: `[N]` bool or {0, 1}, the pairs that count; None means all.
      undefined: what stands for 0 / 0: a side that is constant.

    Returns:
      float32 (float64 for float64 input) scalar in [-1, 1].

    Raises:
      ValueError: if the two are not both `[N]`.

    Reference: Spearman, The Proof and Measurement of Association between Two Things, 1904.

    >>> spearman(jnp.array([1.0, 2.0, 9.0]), jnp.array([0.0, 5.0, 6.0])).round(4).item()
    1.0
    """
    counts = _pairs(x, y, where)
    ranks = [average_ranks(side, where=counts) for side in (x, y)]
    found = pearson(*ranks, where=counts, eps=0.0)
    return jnp.where(_varies(ranks[0], counts) & _varies(ranks[1], counts), found, undefined)


def kendall_tau(
    x: jax.Array, y: jax.Array, *, where: jax.Array | None = None, undefined: float = jnp.nan
) -> jax.Array:
    """Kendall's tau-b: pairs in the same order less pairs in the opposite one, without those that a side ties.

    One number for a batch; memory is `[N, N]`.

        sum_{i<j} sign(x_i - x_j) sign(y_i - y_j) / sqrt(#{x_i != x_j} #{y_i != y_j})

    Args:
      x: `[N]` numbers.
      y: `[N]`.
      where: `[N]` bool or {0, 1}, the pairs (x_i, y_i) that count; None means all.
      undefined: what stands for 0 / 0: a side that is constant.

    Returns:
      float32 (float64 for float64 input) scalar in [-1, 1].

    Raises:
      ValueError: if the two are not both `[N]`.

    Reference: Kendall, The Treatment of Ties in Ranking Problems, 1945.

    >>> round(kendall_tau(jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 3.0, 2.0])).item(), 4)
    0.3333
    """
    counts = _pairs(x, y, where)
    both = counts[:, None] & counts
    x, y = (jnp.where(counts, as_float(jax.lax.stop_gradient(side)), 0.0) for side in (x, y))
    order = lambda side: jnp.where(both, jnp.sign(side[:, None] - side), 0.0)
    one, other = order(x), order(y)
    untied = [jnp.sum(jnp.square(order)) for order in (one, other)]
    below = jnp.sqrt(untied[0]) * jnp.sqrt(untied[1])
    found = jnp.sum(one * other) / jnp.where(below == 0, 1.0, below)
    return jnp.where(below == 0, undefined, found)


def roc_auc(
    scores: jax.Array, labels: jax.Array, *, where: jax.Array | None = None, undefined: float = jnp.nan
) -> jax.Array:
    """How often a positive scores above a negative, ties counting half (area under the ROC curve): one number.

        mean over positives p and negatives n of [s_p > s_n] + 1/2 [s_p = s_n]

    Args:
      scores: `[N]` finite numbers.
      labels: `[N]` bool or {0, 1}.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.
      undefined: what stands for 0 / 0: no positive or no negative.

    Returns:
      float32 (float64 for float64 scores) scalar in [0, 1].

    Raises:
      ValueError: if the two are not both `[N]`, or labels are neither 0 nor 1.

    Reference: Hanley and McNeil, The Meaning and Use of the Area under a Receiver Operating Characteristic Curve, 1982.

    >>> roc_auc(jnp.array([0.1, 0.5, 0.5, 0.9]), jnp.array([0, 0, 1, 1])).item()
    0.875
    """
    counts = _pairs(scores, labels, where)
    labels = as_bool("labels", jnp.where(counts, jnp.asarray(labels), 0))
    scores = as_float(jax.lax.stop_gradient(scores))
    positive, negative = counts & labels, counts & ~labels
    ordered = jnp.sort(jnp.where(negative, scores, jnp.inf))
    below, up_to = (jnp.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    total = jnp.sum(negative)
    share = (below + up_to).astype(scores.dtype) / (2 * jnp.maximum(total, 1))
    found = masked_mean(share, where=positive)
    found = jnp.where(jnp.any(counts & jnp.isnan(scores)), jnp.nan, found)
    return jnp.where((total > 0) & jnp.any(positive), found, undefined)


def correlation_p_value(correlation: jax.Array, count: jax.Array) -> jax.Array:
    """Two-sided p-value of a correlation of N pairs, by Student's t: exact for Pearson's, approximate for Spearman's.

        t = r sqrt((N - 2) / (1 - r^2)),   N - 2 degrees of freedom

    Args:
      correlation: r in [-1, 1], of any shape.
      count: N, broadcastable to it.

    Returns:
      The broadcast shape, float32 (float64 for float64 input) in [0, 1]; 1 for fewer than three pairs.

    Raises:
      ValueError: never.

    Reference: Fisher, Statistical Methods for Research Workers, 1925, section 34.

    >>> round(correlation_p_value(jnp.array(0.5), jnp.array(20)).item(), 4)
    0.0248
    """
    r = as_float(jax.lax.stop_gradient(correlation))
    df = as_float(jnp.asarray(count)) - 2.0
    left = jnp.maximum(1.0 - jnp.square(r), jnp.finfo(r.dtype).tiny)
    return t_two_sided(r * jnp.sqrt(jnp.maximum(df, 0.0) / left), df)


def correlation_interval(
    correlation: jax.Array, count: jax.Array, *, confidence: float = 0.95
) -> tuple[jax.Array, jax.Array]:
    """Interval of Pearson's correlation of N pairs, by Fisher's transformation.

        tanh(artanh(r) -+ z / sqrt(N - 3))

    Args:
      correlation: r in [-1, 1], of any shape.
      count: N, broadcastable to it.
      confidence: coverage, in [0, 1].

    Returns:
      (low, high), each of the broadcast shape, float32 (float64 for float64 input); (-1, 1) for fewer than four pairs.

    Raises:
      ValueError: if the confidence is not in [0, 1].

    Reference: Fisher, On the Probable Error of a Coefficient of Correlation, 1921.

    >>> low, high = correlation_interval(jnp.array(0.5), jnp.array(28))
    >>> round(low.item(), 3), round(high.item(), 3)
    (0.156, 0.736)
    """
    check_fraction("confidence", confidence)
    r = as_float(jax.lax.stop_gradient(correlation))
    count = as_float(jnp.asarray(count))
    z = jax.scipy.special.ndtri((1.0 + confidence) / 2.0)
    centre = jnp.arctanh(jnp.clip(r, -1.0, 1.0))
    half = z / jnp.sqrt(jnp.maximum(count - 3.0, 1e-12))
    low, high = jnp.tanh(centre - half), jnp.tanh(centre + half)
    enough = count > 3
    return jnp.where(enough, low, -1.0), jnp.where(enough, high, 1.0)


def _pairs(x: jax.Array, y: jax.Array, where: jax.Array | None) -> jax.Array:
    if np.ndim(x) != 1 or np.shape(x) != np.shape(y):
        raise InputError(f"{np.shape(x)} and {np.shape(y)} must both be [N]")
    return full_mask(where, np.shape(x), "pairs")


def _varies(x: jax.Array, counts: jax.Array) -> jax.Array:
    """Whether entries that count differ; so does a NaN."""
    high = jnp.max(jnp.where(counts, x, -jnp.inf), initial=-jnp.inf)
    low = jnp.min(jnp.where(counts, x, jnp.inf), initial=jnp.inf)
    return ~(high <= low)

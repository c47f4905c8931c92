"""Tests by ranks, with ties, by their normal approximation: two groups, and pairs."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core.check import InputError, full_mask
from jaxlab.metrics._mean_tests import _grouped
from jaxlab.metrics._rank_correlation import average_ranks


def mann_whitney(
    values: jax.Array, group: jax.Array, *, where: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Mann and Whitney's test that values of two groups are as large as each other.

    Normal approximation with the correction for ties and for continuity, good from about eight values a group on. No
    gradient passes.

        U = sum over i of group 1, j of group 0 of [v_i > v_j] + 1/2 [v_i = v_j]

    Args:
      values: `[N]`.
      group: `[N]` integers 0 or 1; a negative one is in neither.
      where: `[N]` bool or {0, 1}, the values that count; None means all.

    Returns:
      (U, two-sided p-value), float32 (float64 for float64 values); p is 1 for an empty group or values all equal.

    Raises:
      ValueError: if the two are not both `[N]`, or groups are not 0 or 1.

    Reference: Mann and Whitney, On a Test of Whether One of Two Random Variables is Stochastically Larger, 1947.

    >>> mann_whitney(jnp.array([1.0, 2.0, 2.0, 3.0]), jnp.array([0, 0, 1, 1]))[0].item()
    3.5
    """
    values, inside = _grouped(values, group, 2, where)
    counts = jnp.any(inside, axis=0)
    ranks = average_ranks(values, where=counts)
    n0, n1 = jnp.sum(inside, axis=1).astype(ranks.dtype)
    total = n0 + n1
    u = jnp.sum(jnp.where(inside[1], ranks, 0.0)) - n1 * (n1 + 1) / 2
    ties = _cubes_of_ties(values, counts)
    spread = n0 * n1 / 12 * (total + 1 - ties / jnp.maximum(total * (total - 1), 1.0))
    return u, _two_sided(jnp.abs(u - n0 * n1 / 2) - 0.5, spread)


def signed_rank_test(
    x: jax.Array, y: jax.Array, *, where: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Wilcoxon's signed-rank test that paired differences lie symmetrically around 0.

    Differences of 0 are left out. Normal approximation with the correction for ties, good from about ten pairs on. No
    gradient passes.

        W = min(sum of ranks of |d| where d > 0, the same where d < 0)

    Args:
      x: `[N]`.
      y: `[N]`.
      where: `[N]` bool or {0, 1}, the pairs that count; None means all.

    Returns:
      (W, two-sided p-value), float32 (float64 for float64 input); p is 1 where no difference is left.

    Raises:
      ValueError: if the two are not both `[N]`.

    Reference: Wilcoxon, Individual Comparisons by Ranking Methods, 1945.

    >>> signed_rank_test(jnp.array([1.0, 5.0, 2.0]), jnp.array([0.0, 1.0, 4.0]))[0].item()
    2.0
    """
    if np.ndim(x) != 1 or np.shape(x) != np.shape(y):
        raise InputError(f"x {np.shape(x)} and y {np.shape(y)} must both be [N]")
    counts = full_mask(where, np.shape(x), "pairs")
    gap = jnp.where(counts, as_float(jax.lax.stop_gradient(x)) - as_float(jax.lax.stop_gradient(y)), 0.0)
    counts &= gap != 0
    ranks = average_ranks(jnp.abs(gap), where=counts)
    above, below = (jnp.sum(jnp.where(counts & side, ranks, 0.0)) for side in (gap > 0, gap < 0))
    w, number = jnp.minimum(above, below), jnp.sum(counts).astype(ranks.dtype)
    ties = _cubes_of_ties(jnp.abs(gap), counts)
    spread = number * (number + 1) * (2 * number + 1) / 24 - ties / 48
    return w, _two_sided(number * (number + 1) / 4 - w, spread)


def _cubes_of_ties(x: jax.Array, counts: jax.Array) -> jax.Array:
    """Sum of t^3 - t over groups of t equal entries: of t^2 - 1 over the entries."""
    placed = jnp.where(counts, x, jnp.inf)
    ordered = jnp.sort(placed)
    first, last = (jnp.searchsorted(ordered, placed, side=side) for side in ("left", "right"))
    equal = (last - first).astype(x.dtype)
    return jnp.sum(jnp.where(counts, jnp.square(equal) - 1, 0.0))


def _two_sided(distance: jax.Array, variance: jax.Array) -> jax.Array:
    some = variance > 0
    z = distance / jnp.sqrt(jnp.where(some, variance, 1.0))
    p = jnp.minimum(2 * jax.scipy.stats.norm.sf(z), 1.0)
    return jnp.where(jnp.isnan(distance), distance, jnp.where(some, p, 1.0))

"""Whether two samples, or the rows of a table of counts, have one distribution, and how far apart they are."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core._values import check_values
from jaxlab.core.check import InputError
from jaxlab.metrics._mean_tests import _grouped


def kolmogorov_smirnov(
    values: jax.Array, group: jax.Array, *, where: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Kolmogorov and Smirnov's test that values of two groups have the same distribution.

    The p-value is exact for values without ties, of all ways to deal the ranks to the groups, in N^2 operations. No
    gradient passes.

        D = max over v of |F_1(v) - F_0(v)|,   F the share of a group's values that are at most v

    Args:
      values: `[N]`.
      group: `[N]` integers 0 or 1; a negative one is in neither.
      where: `[N]` bool or {0, 1}, the values that count; None means all.

    Returns:
      (D, two-sided p-value), float32 (float64 for float64 values); 0 and 1 for an empty group.

    Raises:
      ValueError: if the two are not both `[N]`, or groups are not 0 or 1.

    Reference: Smirnov, On the Estimation of the Discrepancy Between Empirical Curves of Distribution, 1939; the
      recursion is that of Hodges, The Significance Probability of the Smirnov Two-Sample Test, 1958.

    >>> distance, p = kolmogorov_smirnov(jnp.array([1.0, 2.0, 3.0, 4.0]), jnp.array([0, 0, 1, 1]))
    >>> distance.item(), round(p.item(), 4)  # two of the six ways to deal four ranks are as far apart
    (1.0, 0.3333)
    """
    ordered, below, sizes = _cumulative(values, group, where)
    n0, n1 = sizes
    last = jnp.append(ordered[1:] != ordered[:-1], True)[: len(ordered)]
    gap = jnp.max(jnp.where(last, jnp.abs(below[1] * n0 - below[0] * n1), 0), initial=0)
    first = jnp.arange(len(ordered) + 1)

    def deal(found: jax.Array, dealt: jax.Array) -> tuple[jax.Array, None]:
        # found[i]: the chance to have been as far apart, given that i of the ranks dealt are group 1's.
        others = dealt - first
        share = first.astype(found.dtype) / dealt
        mixed = share * jnp.roll(found, 1) + (1 - share) * found
        mixed = jnp.where(jnp.abs(first * n0 - others * n1) >= gap, 1.0, mixed)
        return jnp.where(dealt > n0 + n1, found, jnp.where(others >= 0, mixed, 0.0)), None

    found, _ = jax.lax.scan(deal, jnp.zeros(first.shape, ordered.dtype), jnp.arange(1, len(ordered) + 1))
    both = (n0 > 0) & (n1 > 0)
    distance = jnp.where(both, gap.astype(ordered.dtype) / jnp.maximum(n0 * n1, 1), 0.0)
    return tuple(_or_nan(x, ordered) for x in (distance, jnp.where(both, found[n1], 1.0)))


def wasserstein_distance(values: jax.Array, group: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """How far the values of one group have to be moved, on average, to become those of another: one number for a batch.

    No gradient passes.

        integral over v of |F_1(v) - F_0(v)|,   F the share of a group's values that are at most v

    Args:
      values: `[N]`.
      group: `[N]` integers 0 or 1; a negative one is in neither.
      where: `[N]` bool or {0, 1}, the values that count; None means all.

    Returns:
      A scalar in the unit of the values, float32 (float64 for float64 values); 0 for an empty group.

    Raises:
      ValueError: if the two are not both `[N]`, or groups are not 0 or 1.

    Reference: Vallender, Calculation of the Wasserstein Distance Between Probability Distributions on the Line, 1974.

    >>> wasserstein_distance(jnp.array([1.0, 3.0, 2.0, 6.0]), jnp.array([0, 0, 1, 1])).item()
    2.0
    """
    ordered, below, sizes = _cumulative(values, group, where)
    shares = below / jnp.maximum(sizes, 1)[:, None].astype(ordered.dtype)
    here = jnp.arange(len(ordered)) < sizes.sum()
    width = jnp.diff(ordered, append=ordered[-1:])
    width = jnp.where(here & jnp.append(here[1:], False)[: len(here)], width, 0.0)
    distance = jnp.sum(jnp.abs(shares[1] - shares[0]) * width)
    return _or_nan(jnp.where(jnp.all(sizes > 0), distance, 0.0), ordered)


def _cumulative(
    values: jax.Array, group: jax.Array, where: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Values in order, those that do not count last; how many of each group are up to each; the groups' sizes."""
    values, inside = _grouped(values, group, 2, where)
    placed = jnp.where(jnp.any(inside, axis=0), values, jnp.inf)
    order = jnp.argsort(placed)
    return placed[order], jnp.cumsum(inside[:, order], axis=1, dtype=jnp.int32), jnp.sum(inside, axis=1)


def _or_nan(found: jax.Array, ordered: jax.Array) -> jax.Array:
    return jnp.where(jnp.any(jnp.isnan(ordered)), jnp.nan, found)


def chi_squared_test(table: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Pearson's test that the rows of a table of counts have the same distribution over its columns.

    Without a correction for continuity; a rule of thumb asks for expected counts of at least 5. Rows and columns
    without any count are left out. No gradient passes.

        sum_ij (n_ij - e_ij)^2 / e_ij,   e_ij = n_i. n_.j / n,   on (rows - 1) (columns - 1) degrees of freedom

    Args:
      table: `[R, C]` counts, at least 0.

    Returns:
      (statistic, p-value, degrees of freedom), float32 (float64 for a float64 table) scalars; 0, 1 and 0 where fewer
      than two rows or columns are left.

    Raises:
      ValueError: if the table is not `[R, C]` or a count is negative.

    Reference: Pearson, On the Criterion that a Given System of Deviations [...] Can Be Reasonably Supposed to Have
      Arisen from Random Sampling, 1900, with the degrees of freedom of Fisher, 1922.

    >>> statistic, p, df = chi_squared_test(jnp.array([[10, 20], [20, 10]]))
    >>> round(statistic.item(), 4), round(p.item(), 4), df.item()  # every count is 5 off 15: 4 * 25 / 15
    (6.6667, 0.0098, 1.0)
    """
    if np.ndim(table) != 2:
        raise InputError(f"table must be [R, C], got {np.shape(table)}")
    check_values(_negative, table)
    table = as_float(jax.lax.stop_gradient(jnp.asarray(table)))
    rows, columns = jnp.sum(table, axis=1), jnp.sum(table, axis=0)
    total = jnp.sum(table)
    expected = rows[:, None] * (columns / jnp.where(total == 0, 1.0, total))
    none = expected == 0
    statistic = jnp.sum(jnp.where(none, 0.0, jnp.square(table - expected)) / jnp.where(none, 1.0, expected))
    df = jnp.maximum(jnp.sum(rows != 0) - 1, 0) * jnp.maximum(jnp.sum(columns != 0) - 1, 0)
    df = df.astype(table.dtype)
    statistic = jnp.where(df > 0, statistic, 0.0 * total)
    p = jax.scipy.special.gammaincc(jnp.where(df > 0, df, 1.0) / 2, statistic / 2)
    return statistic, jnp.where(jnp.isnan(statistic), jnp.nan, jnp.where(df > 0, p, 1.0)), df


def _negative(table: np.ndarray) -> str | None:
    below = table[table < 0]
    return f"table must hold counts of at least 0, got {below[0]}" if below.size else None

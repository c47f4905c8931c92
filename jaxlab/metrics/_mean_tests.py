"""Tests of means inside a compiled program: t, analysis of variance, equivalence.

For simulations of whole studies, mapped over many of them; the plain numpy ones for the claims of a run are in
`_paired`. Groups are given by an index per value, so that their sizes may be traced. No gradient passes. Where nothing
scatters a difference of 0 has p = 1 and any other p = 0; without a degree of freedom nothing is shown and p = 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, masked_sum, masked_var
from jaxlab.core.check import InputError, as_integers, check_fraction, check_least, check_state, full_mask
from jaxlab.metrics._distributions import f_above, t_above, t_quantile, t_two_sided


class MeanTest(NamedTuple):
    """An estimate, how sure it is, and Student's test that it is 0.

    Attributes:
      estimate: a mean, a difference of means or a coefficient.
      standard_error: of it; 0 where nothing scatters or nothing can be estimated.
      statistic: t, their ratio.
      df: degrees of freedom, at least 0.
      p_value: two-sided.

    >>> MeanTest(*jnp.zeros(5))._fields
    ('estimate', 'standard_error', 'statistic', 'df', 'p_value')
    """

    estimate: jax.Array
    standard_error: jax.Array
    statistic: jax.Array
    df: jax.Array
    p_value: jax.Array


class VarianceTest(NamedTuple):
    """Analysis of variance: a ratio of mean squares and its test.

    Attributes:
      statistic: F.
      df_between: degrees of freedom of what is tested.
      df_within: degrees of freedom of the error.
      p_value: probability of a larger F.
      share: partial eta squared, `SS / (SS + SS_error)`.

    >>> VarianceTest(*jnp.zeros(5))._fields
    ('statistic', 'df_between', 'df_within', 'p_value', 'share')
    """

    statistic: jax.Array
    df_between: jax.Array
    df_within: jax.Array
    p_value: jax.Array
    share: jax.Array


def mean_test(estimate: jax.Array, standard_error: jax.Array, df: jax.Array) -> MeanTest:
    """The t test of any estimate whose standard error has so many degrees of freedom.

    Args:
      estimate: of any shape.
      standard_error: at least 0, broadcastable to it.
      df: degrees of freedom, broadcastable to it; below 0 counts as 0.

    Returns:
      `MeanTest` of the broadcast shape.

    Raises:
      ValueError: never.

    Reference: Student, The Probable Error of a Mean, 1908.

    >>> round(mean_test(jnp.array(2.0), jnp.array(1.0), jnp.array(10.0)).p_value.item(), 4)
    0.0734
    """
    estimate = as_float(jax.lax.stop_gradient(estimate))
    given = (jnp.asarray(x, estimate.dtype) for x in (standard_error, df))
    estimate, error, df = jnp.broadcast_arrays(estimate, *(jax.lax.stop_gradient(x) for x in given))
    df = jnp.maximum(df, 0.0)
    t = jnp.where(error == 0, jnp.sign(estimate) * jnp.inf, estimate / jnp.where(error == 0, 1.0, error))
    t = jnp.where((estimate == 0) | (df == 0), 0.0 * estimate, t)
    return MeanTest(estimate, error, t, df, t_two_sided(t, df))


def paired_t_test(x: jax.Array, y: jax.Array, *, where: jax.Array | None = None) -> MeanTest:
    """Student's test that paired differences `x - y` have mean 0.

    Args:
      x: `[N]`.
      y: `[N]`.
      where: `[N]` bool or {0, 1}, the pairs that count; None means all.

    Returns:
      `MeanTest` of scalars, float32 (float64 for float64 input), df N - 1.

    Raises:
      ValueError: if the two are not both `[N]`.

    Reference: Student, The Probable Error of a Mean, 1908.

    >>> test = paired_t_test(jnp.array([1.0, 2.0, 3.0]), jnp.zeros(3))
    >>> round(test.statistic.item(), 4), round(test.p_value.item(), 4)
    (3.4641, 0.0742)
    """
    if np.ndim(x) != 1 or np.shape(x) != np.shape(y):
        raise InputError(f"x {np.shape(x)} and y {np.shape(y)} must both be [N]")
    counts = full_mask(where, np.shape(x), "pairs")
    gap = jnp.where(counts, as_float(x) - as_float(y), 0.0)
    number = jnp.sum(counts).astype(gap.dtype)
    variance = masked_var(gap, where=counts, ddof=1)
    return mean_test(
        masked_mean(gap, where=counts), jnp.sqrt(variance / jnp.maximum(number, 1.0)), number - 1
    )


def t_test(
    values: jax.Array, group: jax.Array, *, equal_variances: bool = False, where: jax.Array | None = None
) -> MeanTest:
    """Test that two groups have the same mean: Welch's, or Student's with a common variance.

    The estimate is the mean of group 1 less that of group 0.

    Args:
      values: `[N]`.
      group: `[N]` integers 0 or 1; a negative one is in neither.
      equal_variances: static, for Student's test; Welch's has its degrees of freedom by Satterthwaite.
      where: `[N]` bool or {0, 1}, the values that count; None means all.

    Returns:
      `MeanTest` of scalars, float32 (float64 for float64 values).

    Raises:
      ValueError: if the two are not both `[N]`, or groups are not 0 or 1.

    Reference: Welch, The Generalization of Student's Problem when Several Different Population Variances are
      Involved, 1947.

    >>> test = t_test(jnp.array([1.0, 2.0, 3.0, 5.0]), jnp.array([0, 0, 1, 1]), equal_variances=True)
    >>> test.estimate.item(), test.df.item()
    (2.5, 2.0)
    """
    values, inside = _grouped(values, group, 2, where)
    mean = masked_mean(jnp.broadcast_to(values, inside.shape), where=inside, axis=1)
    variance = masked_var(jnp.broadcast_to(values, inside.shape), where=inside, axis=1, ddof=1)
    size = jnp.sum(inside, axis=1).astype(values.dtype)
    both = jnp.all(size > 0)
    some = jnp.maximum(size, 1.0)
    if equal_variances:
        df = jnp.sum(size) - 2
        squares = jnp.sum(variance * jnp.maximum(size - 1, 0.0))
        error = jnp.sqrt(squares / jnp.maximum(df, 1.0)) * jnp.sqrt(jnp.sum(1 / some))
    else:
        part = variance / some
        total = jnp.sum(part)
        error = jnp.sqrt(total)
        # In shares of the sum, so that neither overflow nor underflow of squares matters.
        share = part / jnp.where(total == 0, 1.0, total)
        spread = jnp.sum(jnp.square(share) / jnp.maximum(size - 1, 1.0))
        df = jnp.where(total == 0, jnp.sum(size) - 2, 1 / jnp.where(spread == 0, 1.0, spread))
        both &= jnp.all(size > 1)
    return mean_test(jnp.where(both, mean[1] - mean[0], 0.0), error, jnp.where(both, df, 0.0))


def anova(
    values: jax.Array, group: jax.Array, *, num_groups: int, where: jax.Array | None = None
) -> VarianceTest:
    """One-way analysis of variance: whether groups have the same mean.

    Args:
      values: `[N]`.
      group: `[N]` integers in [0, G); a negative one is in none. Groups without a value are left out.
      num_groups: G, static.
      where: `[N]` bool or {0, 1}, the values that count; None means all.

    Returns:
      `VarianceTest` of scalars, float32 (float64 for float64 values).

    Raises:
      ValueError: if the two are not both `[N]`, or groups are not in [0, G).

    Reference: Fisher, Statistical Methods for Research Workers, 1925, section 40.

    >>> test = anova(jnp.array([1.0, 3.0, 2.0, 4.0, 6.0, 8.0]), jnp.array([0, 0, 1, 1, 2, 2]), num_groups=3)
    >>> [round(x.item(), 4) for x in (test.statistic, test.p_value, test.share)]
    [7.0, 0.0741, 0.8235]
    """
    values, inside = _grouped(values, group, num_groups, where)
    size = jnp.sum(inside, axis=1).astype(values.dtype)
    mean = masked_mean(jnp.broadcast_to(values, inside.shape), where=inside, axis=1)
    all_of_them = jnp.any(inside, axis=0)
    grand = masked_mean(values, where=all_of_them)
    between = jnp.sum(size * jnp.square(mean - grand))
    own = jnp.sum(jnp.where(inside, mean[:, None], 0.0), axis=0)
    within = masked_sum(jnp.square(values - own), where=all_of_them)
    groups = jnp.sum(size > 0).astype(values.dtype)
    return variance_test(between, within, groups - 1, jnp.sum(size) - groups)


def variance_test(
    between: jax.Array, within: jax.Array, df_between: jax.Array, df_within: jax.Array
) -> VarianceTest:
    """The F test of two sums of squares.

    Args:
      between: sum of squares of what is tested, at least 0, a float.
      within: of the error.
      df_between: degrees of freedom of the first; below 1 there is no test.
      df_within: of the second.

    Returns:
      `VarianceTest`; F is infinite where nothing scatters within, 0 where nothing is between.

    Raises:
      ValueError: never.

    Reference: Fisher, Statistical Methods for Research Workers, 1925, section 40.

    >>> variance_test(jnp.array(4.0), jnp.array(6.0), jnp.array(1.0), jnp.array(3.0)).statistic.item()
    2.0
    """
    between, within = as_float(between), as_float(within)
    df_between, df_within = (jnp.maximum(as_float(df), 0.0) for df in (df_between, df_within))
    above, below = between / jnp.maximum(df_between, 1.0), within / jnp.maximum(df_within, 1.0)
    f = jnp.where(below == 0, jnp.inf, above / jnp.where(below == 0, 1.0, below))
    tested = (df_between > 0) & (df_within > 0)
    f = jnp.where((above == 0) | ~tested, 0.0 * above, f)
    total = between + within
    share = jnp.where(total == 0, 0.0, between / jnp.where(total == 0, 1.0, total))
    return VarianceTest(f, df_between, df_within, f_above(f, df_between, df_within), share)


def equivalence_p_value(test: MeanTest, bound: float | jax.Array) -> jax.Array:
    """Two one-sided tests (TOST): the p-value of "the true value is at least `bound` away from 0".

    It is below alpha if and only if the interval of confidence 1 - 2 alpha lies inside (-bound, bound). A difference
    that is not significant is no equivalence: this is the test for it. The bound is chosen before the data are seen.

        max( P(t > (estimate + bound) / se), P(t < (estimate - bound) / se) )

    Args:
      test: from any test of this module.
      bound: at least 0, in the unit of the estimate; may be traced.

    Returns:
      The shape of the estimate, in [0, 1].

    Raises:
      ValueError: a known bound that is below 0.

    Reference: Schuirmann, A Comparison of the Two One-Sided Tests Procedure and the Power Approach, 1987.

    >>> test = mean_test(jnp.array(0.0), jnp.array(1.0), jnp.array(1e6))
    >>> round(equivalence_p_value(test, 1.6449).item(), 3)
    0.05
    """
    check_state("test", test, MeanTest)
    check_least("bound", bound, 0)
    below = mean_test(test.estimate + bound, test.standard_error, test.df).statistic
    above = mean_test(bound - test.estimate, test.standard_error, test.df).statistic
    return jnp.maximum(t_above(below, test.df), t_above(above, test.df))


def mean_interval(test: MeanTest, *, confidence: float | jax.Array = 0.95) -> tuple[jax.Array, jax.Array]:
    """Student's interval of an estimate.

    Args:
      test: from any test of this module.
      confidence: coverage, in [0, 1]; may be traced.

    Returns:
      (low, high), each of the shape of the estimate; infinite without a degree of freedom.

    Raises:
      ValueError: a known confidence outside [0, 1].

    Reference: Student, The Probable Error of a Mean, 1908.

    >>> low, high = mean_interval(paired_t_test(jnp.array([1.0, 2.0, 3.0]), jnp.zeros(3)))
    >>> round(low.item(), 3), round(high.item(), 3)
    (-0.484, 4.484)
    """
    check_state("test", test, MeanTest)
    check_fraction("confidence", confidence)
    quantile = t_quantile((1 + confidence) / 2, test.df)
    half = jnp.where(jnp.isinf(quantile), 0.0, quantile) * test.standard_error
    half = jnp.where(test.df <= 0, jnp.inf, half)
    return test.estimate - half, test.estimate + half


def cohen_d(
    values: jax.Array, group: jax.Array, *, corrected: bool = False, where: jax.Array | None = None
) -> jax.Array:
    """Difference of two groups' means in units of their common standard deviation: one number for a batch.

        (mean_1 - mean_0) / s,   corrected for small samples (Hedges' g): times 1 - 3 / (4 N - 9)

    Args:
      values: `[N]`.
      group: `[N]` integers 0 or 1; a negative one is in neither.
      corrected: static, for Hedges' g.
      where: `[N]` bool or {0, 1}, the values that count; None means all.

    Returns:
      float32 (float64 for float64 values) scalar; 0 where nothing scatters or a group is empty.

    Raises:
      ValueError: if the two are not both `[N]`, or groups are not 0 or 1.

    Reference: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988; Hedges, Distribution Theory for
      Glass's Estimator of Effect Size, 1981.

    >>> round(cohen_d(jnp.array([0.0, 2.0, 1.0, 3.0]), jnp.array([0, 0, 1, 1])).item(), 4)
    0.7071
    """
    test = t_test(values, group, equal_variances=True, where=where)
    _, inside = _grouped(values, group, 2, where)
    size = jnp.maximum(jnp.sum(inside, axis=1), 1).astype(test.estimate.dtype)
    deviation = test.standard_error / jnp.sqrt(jnp.sum(1 / size))
    d = jnp.where(deviation == 0, 0.0, test.estimate / jnp.where(deviation == 0, 1.0, deviation))
    return d * (1 - 3 / (4 * jnp.sum(size) - 9)) if corrected else d


def _grouped(
    values: jax.Array, group: jax.Array, num_groups: int, where: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """The values, 0 where they do not count, and `[G, N]`, which of them are in which group."""
    if np.ndim(values) != 1 or np.shape(values) != np.shape(group):
        raise InputError(f"values {np.shape(values)} and group {np.shape(group)} must both be [N]")
    if num_groups < 1:
        raise InputError(f"num_groups must be at least 1, got {num_groups}")
    group = as_integers(
        "group", group, "indices of groups", num_groups, where=where, ignore="a value in no group"
    )
    counts = full_mask(where, group.shape, "values")
    inside = (group == jnp.arange(num_groups)[:, None]) & counts
    return jnp.where(jnp.any(inside, axis=0), as_float(jax.lax.stop_gradient(values)), 0.0), inside

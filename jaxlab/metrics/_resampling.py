"""Permutation and bootstrap: what a statistic would be for other labels, or for other samples; compiled."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import masked_mean
from jaxlab.core.check import InputError, full_mask
from jaxlab.metrics._mean_tests import _grouped

Statistic = Callable[..., Any]


def permutation_p_value(
    key: jax.Array,
    values: jax.Array,
    group: jax.Array,
    *,
    resamples: int = 1000,
    statistic: Statistic | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """Two-sided p-value of a statistic of two groups, from random exchanges of who is in which.

        (1 + #{r: |T_r| >= |T|}) / (1 + R)

    Args:
      key: `jax.random.key`.
      values: `[N]`.
      group: `[N]` integers 0 or 1; a negative one is in neither.
      resamples: R, static.
      statistic: `statistic(values, group, where) -> scalar`, 0 if the groups are alike; None for the difference of
        their means.
      where: `[N]` bool or {0, 1}, the values that count; None means all.

    Returns:
      float32 scalar in (0, 1].

    Raises:
      ValueError: if the two are not both `[N]`, groups are not 0 or 1, or there is no resample.

    Reference: Phipson and Smyth, Permutation P-values Should Never Be Zero, 2010.

    >>> values, group = jnp.arange(8.0), jnp.array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> bool(permutation_p_value(jax.random.key(0), values, group, resamples=500) < 0.1)
    True
    """
    _check_resamples(resamples)
    values, inside = _grouped(values, group, 2, where)
    counts, group = jnp.any(inside, axis=0), jnp.where(inside[1], 1, 0)
    statistic = _difference if statistic is None else statistic
    here = jnp.argsort(~counts, stable=True)  # those that count come first, here and in each permutation

    def permuted(key: jax.Array) -> jax.Array:
        order = jnp.argsort(jnp.where(counts, jax.random.uniform(key, counts.shape), 2.0))
        return jnp.abs(statistic(values[order], group[here], counts[here]))

    observed = jnp.abs(statistic(values, group, counts))
    others = jax.vmap(permuted)(jax.random.split(key, resamples))
    # The same numbers in another order may add up to a little less.
    as_far = others >= observed - 1e-5 * jnp.maximum(observed, jnp.max(others) * 1e-2)
    return jnp.where(jnp.isnan(observed), observed, (1 + jnp.sum(as_far)) / (1 + resamples))


def bootstrap(
    key: jax.Array,
    statistic: Statistic,
    *arrays: jax.Array,
    resamples: int = 1000,
    where: jax.Array | None = None,
) -> Any:
    """A statistic on resamples of the rows, drawn with replacement.

    For `percentile_interval` and `percentile_p_value`. For clustered data make the cluster the first axis, with its
    members, some of them masked, on the second: clusters are then drawn whole.

    Args:
      key: `jax.random.key`.
      statistic: `statistic(*arrays, where) -> pytree of arrays`, `where` `[N]`: which of the resampled rows count.
      *arrays: `[N, ...]`, resampled together.
      resamples: R, static.
      where: `[N]` bool or {0, 1}, the rows that count: as many are drawn from them as there are; None means all.

    Returns:
      What the statistic returns, with a leading axis `[R]`.

    Raises:
      ValueError: if there is no array, no row or no resample, or arrays differ in their rows.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6.

    >>> mean = lambda x, where: masked_mean(x, where=where)
    >>> bootstrap(jax.random.key(0), mean, jnp.ones(5), resamples=3).tolist()
    [1.0, 1.0, 1.0]
    """
    _check_resamples(resamples)
    sizes = {np.shape(x)[:1] for x in arrays}
    if len(sizes) != 1 or not next(iter(sizes)) or next(iter(sizes)) == (0,):
        raise InputError(
            f"arrays must share N of at least 1, got {', '.join(str(np.shape(x)) for x in arrays)}"
        )
    counts = full_mask(where, next(iter(sizes)), "rows")
    number = jnp.sum(counts)
    rows = jnp.argsort(~counts, stable=True)
    drawn = jnp.arange(len(counts)) < number

    def once(key: jax.Array) -> Any:
        index = rows[jax.random.randint(key, counts.shape, 0, jnp.maximum(number, 1))]
        return statistic(*(jnp.asarray(x)[index] for x in arrays), drawn)

    return jax.vmap(once)(jax.random.split(key, resamples))


def _difference(values: jax.Array, group: jax.Array, where: jax.Array) -> jax.Array:
    return masked_mean(values, where=where & (group == 1)) - masked_mean(values, where=where & (group == 0))


def _check_resamples(resamples: int) -> None:
    if resamples < 1:
        raise InputError(f"resamples must be at least 1, got {resamples}")

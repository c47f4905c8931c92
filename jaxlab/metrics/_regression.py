"""Least squares with tests of the coefficients, and the analysis of covariance that is a case of it; compiled."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, masked_sum
from jaxlab.core.check import InputError, full_mask
from jaxlab.metrics._mean_tests import MeanTest, _grouped, mean_test


def linear_regression(features: jax.Array, targets: jax.Array, *, where: jax.Array | None = None) -> MeanTest:
    """Least squares with an intercept: coefficients, their standard errors and tests.

    A feature that is constant has coefficient and standard error 0; of collinear ones the shortest solution is taken.

    Args:
      features: `[N, F]`.
      targets: `[N]`.
      where: `[N]` bool or {0, 1}, the rows that count; None means all.

    Returns:
      `MeanTest` of `[1 + F]`, the intercept first; float32 (float64 for float64 features), df N - 1 - F.

    Raises:
      ValueError: if the two are not `[N, F]` and `[N]`.

    Reference: Seber and Lee, Linear Regression Analysis, 2003, chapter 3.

    >>> x = jnp.array([[0.0], [1.0], [2.0], [3.0]])
    >>> [round(b, 3) for b in linear_regression(x, jnp.array([1.0, 3.0, 5.0, 7.0])).estimate.tolist()]
    [1.0, 2.0]
    """
    if np.ndim(features) != 2 or np.shape(targets) != np.shape(features)[:1]:
        raise InputError(f"features {np.shape(features)} must be [N, F] and targets {np.shape(targets)} [N]")
    counts = full_mask(where, np.shape(targets), "rows of features")
    x = jnp.where(counts[:, None], as_float(jax.lax.stop_gradient(features)), 0.0)
    y = jnp.where(counts, as_float(jax.lax.stop_gradient(targets)), 0.0).astype(x.dtype)
    number = jnp.sum(counts).astype(x.dtype)
    middle, level = masked_mean(x, where=counts[:, None], axis=0), masked_mean(y, where=counts)
    spread = jnp.sqrt(masked_sum(jnp.square(x - middle), where=counts[:, None], axis=0))
    rounding = 8 * jnp.finfo(x.dtype).eps * jnp.sqrt(jnp.sum(jnp.square(x), axis=0))
    constant = spread <= rounding
    scale = jnp.where(constant, 1.0, spread)
    inputs = jnp.where(counts[:, None] & ~constant, (x - middle) / scale, 0.0)
    residual = jnp.where(counts, y - level, 0.0)
    inverse = jnp.linalg.pinv(inputs.T @ inputs, hermitian=True, rtol=1e-5)
    slopes = inverse @ (inputs.T @ residual)
    left = masked_sum(jnp.square(residual - inputs @ slopes), where=counts)
    df = number - 1 - x.shape[1]
    variance = left / jnp.maximum(df, 1.0)
    ratio = middle / scale
    of_intercept = 1 / jnp.maximum(number, 1.0) + ratio @ inverse @ ratio
    estimate = jnp.concatenate([(level - ratio @ slopes)[None], slopes / scale])
    diagonal = jnp.concatenate([of_intercept[None], jnp.diagonal(inverse) / jnp.square(scale)])
    return mean_test(estimate, jnp.sqrt(variance * jnp.maximum(diagonal, 0.0)), df)


def ancova(
    outcome: jax.Array, covariate: jax.Array, group: jax.Array, *, where: jax.Array | None = None
) -> MeanTest:
    """Analysis of covariance of two groups: their difference at equal covariate, with a common slope.

    In a randomised trial it is surer than the difference of gains.

        outcome = b_0 + b_1 covariate + b_2 group

    Args:
      outcome: `[N]`, after.
      covariate: `[N]`, before.
      group: `[N]` integers 0 or 1; a negative one is in neither.
      where: `[N]` bool or {0, 1}, the rows that count; None means all.

    Returns:
      `MeanTest` of `[3]`, b_0 to b_2; float32 (float64 for float64 input).

    Raises:
      ValueError: if the three are not all `[N]`, or groups are not 0 or 1.

    Reference: Fisher, Statistical Methods for Research Workers, 1932, section 49.1.

    >>> before, group = jnp.array([0.0, 1.0, 0.0, 2.0]), jnp.array([0, 0, 1, 1])
    >>> [abs(round(b, 3)) for b in ancova(before + 3 * group, before, group).estimate.tolist()]
    [0.0, 1.0, 3.0]
    """
    shapes = [np.shape(x) for x in (outcome, covariate, group)]
    if len(shapes[0]) != 1 or len(set(shapes)) > 1:
        raise InputError(f"outcome, covariate and group must all be [N], got {', '.join(map(str, shapes))}")
    _, inside = _grouped(outcome, group, 2, where)
    covariate = as_float(covariate)
    features = jnp.stack([covariate, jnp.asarray(group).astype(covariate.dtype)], axis=1)
    return linear_regression(features, outcome, where=jnp.any(inside, axis=0))

"""VICReg: two views agree, every feature keeps its spread, and features stay uncorrelated within each view."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, cross_correlation, masked_mean, masked_sum, masked_var
from jaxlab.core.check import InputError, check_least, full_mask


class VICRegTerms(NamedTuple):
    """What `vicreg_loss` adds up, each before its weight.

    Attributes:
      invariance: mean squared distance of the two views, per feature.
      variance: how far features' spreads are below 1, the mean over features and views.
      covariance: squared covariances of different features over D, the sum over views.

    >>> VICRegTerms(jnp.zeros(()), jnp.ones(()), jnp.ones(()))._fields
    ('invariance', 'variance', 'covariance')
    """

    invariance: jax.Array
    variance: jax.Array
    covariance: jax.Array


def vicreg_loss(
    z1: jax.Array,
    z2: jax.Array,
    *,
    invariance_weight: float | jax.Array = 25.0,
    variance_weight: float | jax.Array = 25.0,
    covariance_weight: float | jax.Array = 1.0,
    eps: float = 1e-4,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> tuple[jax.Array, VICRegTerms]:
    """Variance, invariance and covariance regularisation (VICReg), a batch-level loss: one number for the whole batch.

    What Barlow Twins asks of the correlation across views, said of each view by itself. Both branches receive gradient.

        25 mean (z1 - z2)^2 + 25 mean_{v, d} max(0, 1 - sqrt(var_d + eps)) + sum_v sum_{d != e} cov_de^2 / D

    Args:
      z1: `[N, D]` projector outputs of the first views.
      z2: `[N, D]` of the second views of the same examples.
      invariance_weight, variance_weight, covariance_weight: may be traced.
      eps: added to the variance under the root, at least 0; a constant feature has no gradient of its spread.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.
      axis_name: mapped axis over which the batch is split; every device returns the loss of the global batch.

    Returns:
      The loss, a float32 scalar (float64 for float64 input), at least 0, and its terms. Variance and covariance have
      N - 1 in the denominator, 1 for a batch of one.

    Raises:
      ValueError: if the two do not have the same shape `[N, D]`, `where` does not broadcast to `[N]`, or eps < 0.

    Reference: Bardes, Ponce and LeCun, VICReg, 2022, equations 1 to 6, with the mean of the two views' variance terms
      of the authors' code.

    >>> z = jnp.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> vicreg_loss(z, z)[0].item()
    0.0
    """
    if jnp.ndim(z1) != 2 or jnp.shape(z1) != jnp.shape(z2):
        raise InputError(f"z1 {jnp.shape(z1)} and z2 {jnp.shape(z2)} must have the same shape [N, D]")
    check_least("eps", eps, 0)
    rows, dim = full_mask(where, np.shape(z1)[:1], "rows of z1"), np.shape(z1)[1]
    z1, z2 = (jnp.where(rows[:, None], as_float(z), 0.0) for z in (z1, z2))
    batch = {"where": rows[:, None], "axis": 0, "axis_name": axis_name}
    count = masked_sum(rows, axis_name=axis_name)
    unbias = count / jnp.maximum(count - 1.0, 1.0)
    own, variance, covariance = jnp.eye(dim, dtype=bool), [], []
    for z in (z1, z2):
        spread = masked_var(z, ddof=1, **batch) + eps
        spread = jnp.where(spread > 0, jnp.sqrt(jnp.where(spread > 0, spread, 1.0)), spread)
        variance.append(masked_mean(jax.nn.relu(1.0 - spread)))
        centred = jnp.where(rows[:, None], z - masked_mean(z, **batch), 0.0)
        matrix = unbias * cross_correlation(centred, centred, where=rows, axis_name=axis_name)
        covariance.append(jnp.sum(jnp.square(jnp.where(own, 0.0, matrix))) / max(dim, 1))
    terms = VICRegTerms(
        jnp.mean(masked_mean(jnp.square(z1 - z2), **batch)) if dim else jnp.zeros(()),
        jnp.where(count > 0, 0.5 * (variance[0] + variance[1]), 0.0),
        covariance[0] + covariance[1],
    )
    weights = (invariance_weight, variance_weight, covariance_weight)
    return sum(weight * term for weight, term in zip(weights, terms)), terms

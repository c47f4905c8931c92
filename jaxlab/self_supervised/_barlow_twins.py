"""Barlow Twins: two views agree feature by feature, and the features say different things."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.core import cross_correlation, standardize_batch
from jaxlab.core.check import InputError


class BarlowTwinsTerms(NamedTuple):
    """What `barlow_twins_loss` adds up.

    Attributes:
      invariance: `sum_d (C_dd - 1)^2`, float32.
      redundancy: `sum_{d != e} C_de^2`, float32, before its weight.

    >>> BarlowTwinsTerms(jnp.zeros(()), jnp.ones(()))._fields
    ('invariance', 'redundancy')
    """

    invariance: jax.Array
    redundancy: jax.Array


def barlow_twins_loss(
    z1: jax.Array,
    z2: jax.Array,
    *,
    off_diagonal_weight: float | jax.Array = 0.0051,
    ddof: int = 0,
    eps: float = 1e-5,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> tuple[jax.Array, BarlowTwinsTerms]:
    """Redundancy reduction (Barlow Twins), a batch-level loss: one number for the whole batch.

    The correlation, over the batch, of every feature of one view with every feature of the other should be the
    identity. A constant embedding has no correlation, so collapse is expensive without negatives, predictor or
    stopped gradients: both branches receive gradient, through the statistics of the batch as well. A feature that is
    constant over the batch costs 1 and receives none.

        L = sum_d (C_dd - 1)^2 + lambda sum_{d != e} C_de^2,   C = corr(z1, z2)   [D, D]

    Args:
      z1: `[N, D]` projector outputs of the first views, any finite size.
      z2: `[N, D]` of the second views of the same examples.
      off_diagonal_weight: lambda; may be traced.
      ddof: of the variance: 0 as in batch normalisation, 1 for the unbiased one, which keeps C_dd below (N - 1) / N.
      eps: added to the variance; 0 makes the loss independent of the scale of every feature.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.
      axis_name: mapped axis over which the batch is split; every device returns the loss of the global batch.

    Returns:
      The loss, a float32 scalar (float64 for float64 input), at least 0 and D for a batch of one or of equal rows, and
      its terms. Sums over features, not means.

    Raises:
      ValueError: if the two do not have the same shape `[N, D]`, `where` does not broadcast to `[N]`, ddof is neither 0
        nor 1, or eps is below 0.

    Reference: Zbontar et al., Barlow Twins: Self-Supervised Learning via Redundancy Reduction, 2021, equations 1 and
      2, with the authors' statistics (biased, eps 1e-5). Mixed Barlow Twins, 2023, has ddof 1 and eps 0.

    >>> z = jnp.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> loss, terms = barlow_twins_loss(z, z[:, ::-1], off_diagonal_weight=0.5, eps=0.0)
    >>> loss.item(), terms.invariance.item(), terms.redundancy.item()
    (3.0, 2.0, 2.0)
    """
    if jnp.ndim(z1) != 2 or jnp.shape(z1) != jnp.shape(z2):
        raise InputError(f"z1 {jnp.shape(z1)} and z2 {jnp.shape(z2)} must have the same shape [N, D]")
    batch = {"where": where, "axis_name": axis_name}
    first, second = (standardize_batch(z, ddof=ddof, eps=eps, **batch) for z in (z1, z2))
    correlation = cross_correlation(first, second, **batch)
    own = jnp.eye(len(correlation), dtype=bool)
    invariance = jnp.sum(jnp.square(jnp.diagonal(correlation) - 1.0))
    redundancy = jnp.sum(jnp.square(jnp.where(own, 0.0, correlation)))
    return invariance + off_diagonal_weight * redundancy, BarlowTwinsTerms(invariance, redundancy)

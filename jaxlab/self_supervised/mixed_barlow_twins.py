"""Mixed Barlow Twins: what a net says of a mixture of two examples should be the mixture of what it says of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import cross_correlation, standardize_batch
from jaxlab.core.check import InputError, as_integers, check_fraction, full_mask
from jaxlab.self_supervised._barlow_twins import barlow_twins_loss


class MixedBarlowTwinsTerms(NamedTuple):
    """What `mixed_barlow_twins_loss` adds up.

    Attributes:
      invariance: `sum_d (C_dd - 1)^2`, float32.
      redundancy: `sum_{d != e} C_de^2`, float32, before its weight.
      mixing: squared distances of the mixtures' correlations from their targets, float32, before its weight.

    >>> MixedBarlowTwinsTerms(jnp.zeros(()), jnp.ones(()), jnp.ones(()))._fields
    ('invariance', 'redundancy', 'mixing')
    """

    invariance: jax.Array
    redundancy: jax.Array
    mixing: jax.Array


def mix_samples(x1: jax.Array, x2: jax.Array, *, share: float | jax.Array, partner: jax.Array) -> jax.Array:
    """The first views mixed with the second views of other examples.

    Gradients flow into both.

        share x1_i + (1 - share) x2_{p(i)}

    Args:
      x1: `[N, ...]` first views.
      x2: `[N, ...]` second views of the same examples.
      share: of the first view, a scalar in [0, 1], the same for the whole batch; uniform draws in the paper.
      partner: `[N]` integers in [0, N), whose second view comes in; a permutation in the paper.

    Returns:
      `[N, ...]`, the dtype of `x1` and `x2` with `share`.

    Raises:
      ValueError: if the two differ in shape, partners are not `[N]` integers in [0, N), or a known share is outside
        [0, 1].

    Reference: Bandara et al., Guarding Barlow Twins Against Overfitting with Mixed Samples, 2023, section 3.

    >>> x1, x2 = jnp.array([[0.0], [1.0]]), jnp.array([[10.0], [20.0]])
    >>> mix_samples(x1, x2, share=0.5, partner=jnp.array([1, 0])).tolist()
    [[10.0], [5.5]]
    """
    if not np.ndim(x1) or np.shape(x1) != np.shape(x2):
        raise InputError(f"x1 {np.shape(x1)} and x2 {np.shape(x2)} must have the same shape [N, ...]")
    partner = _check(share, partner, np.shape(x1)[0])
    return share * x1 + (1 - share) * jnp.asarray(x2)[partner]


def mixed_barlow_twins_loss(
    z1: jax.Array,
    z2: jax.Array,
    mixed: jax.Array,
    *,
    share: float | jax.Array,
    partner: jax.Array,
    off_diagonal_weight: float | jax.Array = 1 / 128,
    mixing_weight: float | jax.Array = 4.0,
    ddof: int = 1,
    eps: float = 0.0,
    authors_code: bool = False,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> tuple[jax.Array, MixedBarlowTwinsTerms]:
    """Barlow Twins with a regulariser of mixtures (Mixed Barlow Twins), a batch-level loss: one number for the batch.

    The mixtures' features should correlate with those of either view as the same mixture of the clean features does:
    a wide projector cannot memorise examples one by one. All three branches receive gradient, the targets too. A
    mixture counts if its two examples do.

        L = L_BT(z1, z2) + mixing_weight off_diagonal_weight (|corr(m, z1) - T_1|^2 + |corr(m, z2) - T_2|^2),
        T_v = share corr(z1, zv) + (1 - share) corr(z2[p], zv),   each feature standardised over the batch first

    Args:
      z1: `[N, D]` projector outputs of the first views; for small images the authors scale rows to length 1 before.
      z2: `[N, D]` of the second views.
      mixed: `[N, D]` of `mix_samples` of the views, with the same share and partner.
      share: of the first view, a scalar in [0, 1]; may be traced.
      partner: `[N]` integers in [0, N), rows of this device if there are several.
      off_diagonal_weight: lambda of Barlow Twins; may be traced.
      mixing_weight: multiplies lambda: 4 in the authors' code for small images, half of a warmed-up 1 or 2 for
        ImageNet; may be traced.
      ddof: 1 as in the authors' code, or 0 for the variance of batch normalisation.
      eps: added to the variance; 0 in the authors' code.
      authors_code: take T_2 as the authors' ImageNet code does, with z2 in the place of its first z1.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.
      axis_name: mapped axis over which the batch is split; every device returns the loss of the global batch.

    Returns:
      The loss, a float32 scalar (float64 for float64 input), at least 0, and its terms.

    Raises:
      ValueError: if the three do not have the same shape `[N, D]`, or an option is not as above.

    Reference: Bandara et al., Guarding Barlow Twins Against Overfitting with Mixed Samples, 2023, and its code.

    >>> z = jnp.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> options = {"share": 1.0, "partner": jnp.arange(4), "ddof": 0}
    >>> [x.item() for x in mixed_barlow_twins_loss(z, z, z, **options)[1]]
    [0.0, 0.0, 0.0]
    """
    if np.shape(mixed) != np.shape(z1):
        raise InputError(f"mixed {np.shape(mixed)} must have the shape of z1 {np.shape(z1)}")
    options = {"ddof": ddof, "eps": eps, "axis_name": axis_name}
    plain, terms = barlow_twins_loss(z1, z2, off_diagonal_weight=off_diagonal_weight, where=where, **options)
    partner = _check(share, partner, np.shape(z1)[0])
    rows = full_mask(where, np.shape(z1)[:1], "rows of z1")
    pairs = rows & rows[partner]
    first, second = (standardize_batch(z, where=rows, **options) for z in (z1, z2))
    mixture = standardize_batch(mixed, where=pairs, **options)
    of = lambda x, y: cross_correlation(x, y, where=pairs, axis_name=axis_name)
    other = second[partner]
    mixing = jnp.zeros((), plain.dtype)
    for view, own in ((first, first), (second, second if authors_code else first)):
        target = share * of(own, view) + (1 - share) * of(other, view)
        mixing = mixing + jnp.sum(jnp.square(of(mixture, view) - target))
    return plain + mixing_weight * off_diagonal_weight * mixing, MixedBarlowTwinsTerms(*terms, mixing)


def _check(share: float | jax.Array, partner: jax.Array, rows: int) -> jax.Array:
    check_fraction("share", share)
    if np.shape(partner) != (rows,):
        raise InputError(f"partner {np.shape(partner)} must be [N] of {rows} rows")
    return as_integers("partner", partner, "the row that comes in", rows)

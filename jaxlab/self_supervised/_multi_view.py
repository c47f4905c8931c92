"""Contrast among K views: all views of an example in one term, instead of one term for each pair of views."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_logsumexp, normalize, nt_xent
from jaxlab.core._mapped import gather_rows
from jaxlab.core.check import InputError, check_positive, full_mask


def mv_infonce(
    views: jax.Array,
    *,
    temperature: float | jax.Array = 0.5,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Contrast with all pairs of an example's views in one ratio (MV-InfoNCE), per example against its batch.

    Gradients flow into all views, and from every example into the others. Memory is `[K, N, K N]`.

        -log( sum_{k != l} e(k,i; l,i) / sum_k sum_{(l,j) != (k,i)} e(k,i; l,j) ),  e = exp(cos / T)

    Args:
      views: `[K, N, D]`, K >= 2 views of N examples, of any length: they are normalised here.
      temperature: T, a positive scalar; may be traced.
      where: `[N]` bool or {0, 1}, the examples that exist, as anchors and for others; None means all.
      axis_name: mapped axis over which the examples are split: the losses are those of the local examples, against the
        global batch.

    Returns:
      `[N]` nats, float32 (float64 for float64 input), at least 0; 0 for an example that does not count or is alone.

    Raises:
      ValueError: if `views` is not `[K, N, D]` with at least two views, `where` does not broadcast to `[N]`, or a
        static temperature is not positive.

    Reference: Koromilas et al., A Principled Framework for Multi-View Contrastive Learning, 2025, in the form of the
      authors' code: other examples of the same view are negatives, and the positives stand in the denominator.

    >>> print(mv_infonce(jnp.stack([jnp.eye(2)] * 3), temperature=1.0).round(4))  # 6 e over 6 e + 9
    [0.4394 0.4394]
    """
    units, exists, everyone, present, offset = _units(views, temperature, where, axis_name)
    count, rows = units.shape[:2]
    logits = jnp.einsum("knd,lmd->knlm", units, everyone) / temperature
    own = jnp.arange(present.size) == (offset + jnp.arange(rows))[:, None]
    same_view = jnp.eye(count, dtype=bool)[:, None, :, None]
    others = present & exists[:, None, None] & ~(same_view & own[:, None])
    against = masked_logsumexp(logits, where=others, axis=(0, 2, 3))
    together = masked_logsumexp(logits, where=others & own[:, None], axis=(0, 2, 3))
    return jnp.where(_has_company(exists, present), against - together, 0.0)


def mv_dhel(
    views: jax.Array,
    *,
    temperature: float | jax.Array = 0.2,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Contrast whose views spread each by itself and agree together (MV-DHEL), per example against its batch.

    The denominator has a factor for every view, in which only other examples stand: what pulls an example's views
    together does not also spread them. Gradients flow into all views, and from every example into the others. Memory
    is `[K, N, N]`, K times less than that of `mv_infonce`.

        -log( sum_{k < l} e(k,i; l,i) / prod_k sum_{j != i} e(k,i; k,j) ),  e = exp(cos / T)

    Args:
      views: `[K, N, D]`, K >= 2 views of N examples, of any length: they are normalised here.
      temperature: T, a positive scalar; may be traced.
      where: `[N]` bool or {0, 1}, the examples that exist, as anchors and for others; None means all.
      axis_name: mapped axis over which the examples are split: the losses are those of the local examples, against the
        global batch.

    Returns:
      `[N]` nats of either sign, float32 (float64 for float64 input); 0 for an example that does not count or is alone.

    Raises:
      ValueError: as in `mv_infonce`.

    Reference: Koromilas et al., A Principled Framework for Multi-View Contrastive Learning, 2025, in the form of the
      authors' code: unordered pairs above, no example against itself below.

    >>> print(mv_dhel(jnp.stack([jnp.eye(2)] * 3), temperature=1.0).round(4))  # 3 e over 1
    [-2.0986 -2.0986]
    """
    units, exists, everyone, present, offset = _units(views, temperature, where, axis_name)
    count, rows = units.shape[:2]
    agreement = jnp.einsum("knd,lnd->kln", units, units) / temperature
    pairs = jnp.triu(jnp.ones((count, count), bool), 1)[:, :, None] & exists
    together = masked_logsumexp(agreement, where=pairs, axis=(0, 1))
    logits = jnp.einsum("knd,kmd->knm", units, everyone) / temperature
    others = jnp.arange(present.size) != (offset + jnp.arange(rows))[:, None]
    apart = masked_logsumexp(logits, where=others & present & exists[:, None], axis=2)
    return jnp.where(_has_company(exists, present), jnp.sum(apart, axis=0) - together, 0.0)


def dhel(
    x: jax.Array,
    y: jax.Array,
    *,
    temperature: float | jax.Array = 0.2,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Decoupled contrast of two views: alignment across them, spread within each, per example against its batch.

    It is `mv_dhel` of two views. Gradients flow into both, and from every example into the others.

        -cos(x_i, y_i) / T + log sum_{j != i} exp(cos(x_i, x_j) / T) + log sum_{j != i} exp(cos(y_i, y_j) / T)

    Args:
      x: `[N, D]` first views, of any length: they are normalised here.
      y: `[N, D]` second views of the same examples.
      temperature, where, axis_name: as in `mv_dhel`.

    Returns:
      `[N]` nats of either sign, float32 (float64 for float64 input).

    Raises:
      ValueError: if the two do not share a shape `[N, D]`, or as in `mv_dhel`.

    Reference: Koromilas et al., Bridging Mini-Batch and Asymptotic Analysis in Contrastive Learning, 2024.

    >>> dhel(jnp.eye(2), jnp.eye(2), temperature=1.0).tolist()
    [-1.0, -1.0]
    """
    if np.ndim(x) != 2 or np.shape(x) != np.shape(y):
        raise InputError(f"x {np.shape(x)} and y {np.shape(y)} must have the same shape [N, D]")
    views = jnp.stack([as_float(x), as_float(y)])
    return mv_dhel(views, temperature=temperature, where=where, axis_name=axis_name)


def pairwise_nt_xent(
    views: jax.Array,
    *,
    temperature: float | jax.Array = 0.5,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """NT-Xent of every pair of views, averaged, per example against its batch: what K views usually get.

    Gradients flow into all views, and from every example into the others.

        2 / (K (K - 1)) sum_{k < l} nt_xent(views_k, views_l)

    Args:
      views: `[K, N, D]`, K >= 2 views of N examples, of any length.
      temperature, where, axis_name: as in `jaxlab.core.nt_xent`.

    Returns:
      `[N]` nats, float32 (float64 for float64 input), at least 0.

    Raises:
      ValueError: as in `mv_infonce`.

    Reference: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, 2020, equation 1,
      for each pair.

    >>> views = jnp.stack([jnp.eye(2)] * 3)
    >>> print(pairwise_nt_xent(views, temperature=1.0).round(4))
    [0.5514 0.5514]
    """
    _check_views(views, temperature)
    pairs = list(itertools.combinations(range(len(views)), 2))
    options = {"temperature": temperature, "where": where, "axis_name": axis_name}
    return sum(nt_xent(views[k], views[other], **options) for k, other in pairs) / len(pairs)


def _check_views(views: jax.Array, temperature: float | jax.Array) -> None:
    if np.ndim(views) != 3 or np.shape(views)[0] < 2:
        raise InputError(f"views must be [K, N, D] with K at least 2, got {np.shape(views)}")
    check_positive("temperature", temperature)


def _units(views, temperature, where, axis_name):
    """Local views at length 1, which exist; those of all devices, which exist, and where the local ones begin."""
    _check_views(views, temperature)
    exists = full_mask(where, np.shape(views)[1:2], "examples of views")
    units = normalize(jnp.where(exists[:, None], as_float(views), 0.0))
    if axis_name is None:
        return units, exists, units, exists, 0
    everyone = jnp.swapaxes(gather_rows(jnp.swapaxes(units, 0, 1), axis_name), 0, 1)
    present = gather_rows(exists.astype(jnp.int32), axis_name).astype(bool)
    return units, exists, everyone, present, jax.lax.axis_index(axis_name) * units.shape[1]


def _has_company(exists: jax.Array, present: jax.Array) -> jax.Array:
    """Which examples exist and are not alone."""
    return exists & (jnp.sum(present) > 1)

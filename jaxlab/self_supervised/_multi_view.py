"""Contrast among K views: all views of an example in one term, instead of one term for each pair of views."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import (
    as_float,
    masked_logsumexp,
    masked_mean,
    multi_positive_cross_entropy,
    normalize,
    nt_xent,
)
from jaxlab.core._mapped import gather_rows
from jaxlab.core.check import InputError, check_choice, check_positive, full_mask


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
    return _over_pairs(nt_xent, views, temperature=temperature, where=where, axis_name=axis_name)


def pairwise_dhel(
    views: jax.Array,
    *,
    temperature: float | jax.Array = 0.2,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Decoupled contrast of every pair of views, averaged, per example against its batch.

    Gradients flow into all views, and from every example into the others.

        2 / (K (K - 1)) sum_{k < l} dhel(views_k, views_l)

    Args:
      views: `[K, N, D]`, K >= 2 views of N examples, of any length.
      temperature, where, axis_name: as in `mv_dhel`.

    Returns:
      `[N]` nats of either sign, float32 (float64 for float64 input).

    Raises:
      ValueError: as in `mv_infonce`.

    Reference: Koromilas et al., A Principled Framework for Multi-View Contrastive Learning, 2025, authors' code.

    >>> pairwise_dhel(jnp.stack([jnp.eye(2)] * 3), temperature=1.0).tolist()
    [-1.0, -1.0]
    """
    _check_views(views, temperature)
    return _over_pairs(dhel, views, temperature=temperature, where=where, axis_name=axis_name)


def _over_pairs(loss: Callable[..., jax.Array], views: jax.Array, **options: Any) -> jax.Array:
    pairs = list(itertools.combinations(range(len(views)), 2))
    return sum(loss(views[k], views[other], **options) for k, other in pairs) / len(pairs)


def multi_positive_nt_xent(
    views: jax.Array,
    *,
    temperature: float | jax.Array = 0.5,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """NT-Xent with K - 1 positives for every view of an example, per example against its batch.

    All other rows stand in one denominator, the positives too; the logarithms of the positives are averaged. The loss
    of an example is the mean over its views. Gradients flow into all views, and from every example into the others.

        -1/(K (K - 1)) sum_{k != l} log( e(k,i; l,i) / sum_{(m,j) != (k,i)} e(k,i; m,j) ),  e = exp(cos / T)

    Args:
      views: `[K, N, D]`, K >= 2 views of N examples, of any length.
      temperature, where, axis_name: as in `mv_infonce`.

    Returns:
      `[N]` nats, float32 (float64 for float64 input), at least 0; 0 for an example that does not count or is alone.

    Raises:
      ValueError: as in `mv_infonce`.

    Reference: Koromilas et al., A Principled Framework for Multi-View Contrastive Learning, 2025, a baseline of the
      authors' code.

    >>> print(multi_positive_nt_xent(jnp.stack([jnp.eye(2)] * 3), temperature=1.0).round(4))  # e against 2 e + 3
    [1.1326 1.1326]
    """
    logits, positives, negatives, company = _against_all(views, temperature, where, axis_name)
    losses = multi_positive_cross_entropy(logits, positives, negatives)
    return jnp.where(company, jnp.mean(losses, axis=0), 0.0)


def poly_view_loss(
    views: jax.Array,
    *,
    temperature: float | jax.Array = 0.2,
    mean: str = "geometric",
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Poly-view contrast: every view finds each other view by itself, per example against its batch.

    An example's further views are left out of the denominator, so that positives do not compete. Their probabilities
    are averaged as they are or as logarithms, then the views. Gradients flow into all views, and from every example
    into the others.

        p_kl = e(k,i; l,i) / ( e(k,i; l,i) + sum_m sum_{j != i} e(k,i; m,j) ),  e = exp(cos / T)
        geometric: -mean_k mean_{l != k} log p_kl,   arithmetic: -mean_k log mean_{l != k} p_kl

    Args:
      views: `[K, N, D]`, K >= 2 views of N examples, of any length.
      temperature: T, a positive scalar; may be traced.
      mean: static, "geometric" or "arithmetic".
      where, axis_name: as in `mv_infonce`.

    Returns:
      `[N]` nats, float32 (float64 for float64 input), at least 0; 0 for an example that does not count or is alone.

    Raises:
      ValueError: as in `mv_infonce`, or another mean.

    Reference: Shidani et al., Poly-View Contrastive Learning, 2024.

    >>> losses = poly_view_loss(jnp.stack([jnp.eye(2)] * 3), temperature=1.0)
    >>> [round(x, 4) for x in losses.tolist()]  # e against e + 3
    [0.7437, 0.7437]
    """
    check_choice("mean", mean, ("geometric", "arithmetic"))
    logits, positives, negatives, company = _against_all(views, temperature, where, axis_name)
    if mean == "geometric":
        losses = multi_positive_cross_entropy(logits, positives, negatives, positives_compete=False)
    else:
        against = masked_logsumexp(logits, where=negatives, axis=-1, keepdims=True)
        each = masked_logsumexp(-jax.nn.softplus(against - logits), where=positives, axis=-1)
        losses = jnp.log(jnp.maximum(jnp.sum(positives, axis=-1), 1)).astype(each.dtype) - each
    return jnp.where(company, jnp.mean(losses, axis=0), 0.0)


def mean_view_contrast(
    views: jax.Array,
    *,
    temperature: float | jax.Array = 0.5,
    decoupled: bool = False,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Contrast of every view with the mean of the others, averaged over views, per example against its batch.

    Views are scaled to length 1 before their mean, which is shorter and stays so: where the others disagree, it
    pulls and pushes less. Gradients flow into all views, and from every example into the others.

        1/K sum_k contrast(u_k, mean_{l != k} u_l),  u = views of length 1

    Args:
      views: `[K, N, D]`, K >= 2 views of N examples, of any length.
      temperature: T, a positive scalar; may be traced.
      decoupled: static, whether the contrast is that of `dhel`, else that of `core.nt_xent`, without their scaling.
      where, axis_name: as in `mv_infonce`.

    Returns:
      `[N]` nats, float32 (float64 for float64 input), of either sign if decoupled; 0 for an example that does not
      count or is alone.

    Raises:
      ValueError: as in `mv_infonce`.

    Reference: Koromilas et al., A Principled Framework for Multi-View Contrastive Learning, 2025, a baseline of the
      authors' code ("average").

    >>> print(mean_view_contrast(jnp.stack([jnp.eye(2)] * 3), temperature=1.0).round(4))
    [0.5514 0.5514]
    """
    units, exists, everyone, present, offset = _units(views, temperature, where, axis_name)
    count, rows = units.shape[:2]
    others_mean = lambda u: (jnp.sum(u, axis=0) - u) / (count - 1)
    pair, all_pairs = (jnp.stack([u, others_mean(u)]) for u in (units, everyone))  # [2, K, N, D]
    own = jnp.arange(present.size) == (offset + jnp.arange(rows))[:, None]
    pairs = present & exists[:, None]
    # Of both sides of every pair: similarities to its own side and to the other one, [2, K, N, M].
    same = jnp.einsum("pknd,pkmd->pknm", pair, all_pairs) / temperature
    across = jnp.einsum("pknd,pkmd->pknm", pair, all_pairs[::-1]) / temperature
    if decoupled:
        apart = masked_logsumexp(same, where=pairs & ~own, axis=-1)
        together = masked_mean(across[0], where=pairs & own, axis=-1)
        losses = jnp.sum(apart, axis=0) - together
    else:
        logits = jnp.concatenate([same, across], axis=-1)
        masks = ([jnp.zeros_like(own), pairs & own], [pairs & ~own] * 2)  # positives, negatives
        masks = (jnp.broadcast_to(jnp.concatenate(mask, axis=-1), logits.shape) for mask in masks)
        losses = jnp.mean(multi_positive_cross_entropy(logits, *masks), axis=0)
    return jnp.where(_has_company(exists, present), jnp.mean(losses, axis=0), 0.0)


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


def _against_all(views, temperature, where, axis_name):
    """Logits `[K, N, K M]` of every view to all views of all examples, which are positives, which negatives, and which
    examples exist and are not alone."""
    units, exists, everyone, present, offset = _units(views, temperature, where, axis_name)
    (count, rows), number = units.shape[:2], present.size
    logits = jnp.einsum("knd,lmd->knlm", units, everyone) / temperature
    pairs = (present & exists[:, None])[:, None]
    own = (jnp.arange(number) == (offset + jnp.arange(rows))[:, None])[:, None]
    another = ~jnp.eye(count, dtype=bool)[:, None, :, None]
    flat = lambda x: jnp.broadcast_to(x, logits.shape).reshape(count, rows, count * number)
    return flat(logits), flat(pairs & own & another), flat(pairs & ~own), _has_company(exists, present)


def _has_company(exists: jax.Array, present: jax.Array) -> jax.Array:
    """Which examples exist and are not alone."""
    return exists & (jnp.sum(present) > 1)

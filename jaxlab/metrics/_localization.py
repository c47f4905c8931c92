"""How well a map finds an object: the measures of audio-visual source localisation."""

import jax
import jax.numpy as jnp

from jaxlab.core import as_float, masked_mean
from jaxlab.core.check import InputError, check_fraction, check_same_shape, full_mask


def consensus_iou(maps: jax.Array, truth: jax.Array, *, threshold: float | jax.Array = 0.5) -> jax.Array:
    """Overlap of a map, cut at a threshold, with a truth whose pixels carry weights (cIoU).

    Where annotators disagree, a pixel of the truth weighs less than 1. Each marked pixel outside the truth counts
    1. With weights of 0 and 1 it is the intersection over union. No gradient passes.

        sum_xy M G / (sum_xy G + sum_xy M [G = 0]),   M = [P >= threshold]

    Args:
      maps: `[B, H, W]`.
      truth: `[B, H, W]` weights G in [0, 1].
      threshold: a scalar, or one per example `[B]`; a common protocol takes the median of each map, which marks
        half of all pixels whatever the object's size.

    Returns:
      `[B]` float32 (float64 for float64 maps) in [0, 1]; 0 where nothing is marked and nothing is true, NaN where a
      map or truth holds one.

    Raises:
      ValueError: if the shapes do not fit.

    Reference: Senocak et al., Learning to Localize Sound Source in Visual Scenes, 2018, equation 8; the code of
      EZ-VSL, 2022.

    >>> consensus_iou(jnp.array([[[0.9, 0.8, 0.1]]]), jnp.array([[[1.0, 0.0, 0.0]]])).item()
    0.5
    """
    check_same_shape("[B, H, W]", maps=maps, truth=truth)
    maps, truth = (jax.lax.stop_gradient(as_float(x)) for x in (maps, truth))
    threshold = jnp.asarray(threshold, maps.dtype)
    if threshold.shape not in ((), maps.shape[:1]):
        raise InputError(f"threshold {threshold.shape} must be a scalar or [B] for maps {maps.shape}")
    marked = (maps >= (threshold if threshold.ndim == 0 else threshold[:, None, None])).astype(truth.dtype)
    inside = jnp.sum(marked * truth, axis=(1, 2))
    total = jnp.sum(truth + marked * (truth == 0), axis=(1, 2))
    unknown = jnp.any(jnp.isnan(maps + truth), axis=(1, 2)) | jnp.isnan(threshold)
    return jnp.where(unknown, jnp.nan, jnp.where(total > 0, inside / jnp.where(total > 0, total, 1.0), 0.0))


def localization_success(
    overlap: jax.Array, *, threshold: float = 0.5, where: jax.Array | None = None
) -> jax.Array:
    """Share of examples whose object was found: AP50 of this literature, and what its tables call cIoU.

        mean_i [overlap_i >= threshold]

    Args:
      overlap: `[B]` of `consensus_iou`.
      threshold: in [0, 1].
      where: bool or {0, 1}, broadcastable to `[B]`, the examples that count; None means all.

    Returns:
      A float32 scalar in [0, 1]; 0 if no example counts, NaN if an overlap that counts is.

    Raises:
      ValueError: if `where` does not broadcast to `overlap`.

    Reference: Senocak et al., Learning to Localize Sound Source in Visual Scenes, 2018, section 4.

    >>> localization_success(jnp.array([0.4, 0.5, 0.9, 0.1])).item()
    0.5
    """
    check_fraction("threshold", threshold)
    overlap = as_float(overlap)
    return masked_mean(jnp.where(jnp.isnan(overlap), overlap, overlap >= threshold), where=where)


def localization_auc(overlap: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """Area under the success rate, as the overlap that is demanded rises from 0 to 1.

        trapezoid rule over thresholds 0, 0.05, ..., 1 of mean_i [overlap_i >= threshold]

    Args:
      overlap: `[B]` of `consensus_iou`.
      where: bool or {0, 1}, broadcastable to `[B]`, the examples that count; None means all.

    Returns:
      A float32 scalar (float64 for float64 overlaps) in [0, 1]; 0 if no example counts, NaN if an overlap that
      counts is.

    Raises:
      ValueError: if `where` does not broadcast to `overlap`.

    Reference: Senocak et al., Learning to Localize Sound Source in Visual Scenes, 2018, section 4; the code of
      EZ-VSL.

    >>> round(localization_auc(jnp.array([0.52])).item(), 3)
    0.525
    """
    overlap = as_float(overlap)
    mask = full_mask(where, overlap.shape, "overlaps")[..., None]
    demanded = jnp.arange(21, dtype=overlap.dtype) / 20
    each = overlap[..., None]
    reached = jnp.where(jnp.isnan(each), each, each >= demanded)
    reached = masked_mean(reached, where=mask, axis=tuple(range(overlap.ndim)))
    return jnp.sum(reached[1:] + reached[:-1]) / 40

"""Two teachers that must agree: consensus of their maps, and the pseudo-label on which both are sure."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean
from jaxlab.core._reduce import AxisName
from jaxlab.core.check import (
    InputError,
    as_bool,
    check_fraction,
    check_probabilities,
    check_same_shape,
    full_mask,
)
from jaxlab.semi_supervised.sounding_maps import pixel_cross_entropy


class Consensus(NamedTuple):
    """What two teachers say together of each example.

    Attributes:
      agreement: float32 `[B]`, intersection over union of their binary maps; 0 where both are empty, NaN where a
        probability that counts is.
      intersection: float32 `[B, H, W]` of {0, 1}, the pixels that both found.
      union: float32 `[B, H, W]` of {0, 1}, the pixels that either found.
      accepted: bool `[B]`, whether they agree enough.

    >>> teacher_consensus(jnp.ones((1, 2, 2)), jnp.ones((1, 2, 2))).agreement.item()
    1.0
    """

    agreement: jax.Array
    intersection: jax.Array
    union: jax.Array
    accepted: jax.Array


def teacher_consensus(
    maps_a: jax.Array,
    maps_b: jax.Array,
    *,
    threshold: float | jax.Array = 0.6,
    min_agreement: float | jax.Array = 0.7,
    where: jax.Array | None = None,
) -> Consensus:
    """Keep an example if two teachers mark nearly the same pixels; the pseudo-label is what both marked.

    One teacher confirms its own errors. Two that were trained apart seldom make the same one. No gradient passes.

        M_A = [P_A >= threshold],  M_B = [P_B >= threshold],  accepted = |M_A and M_B| / |M_A or M_B| >= min_agreement

    Two empty maps agree on nothing: their agreement is 0, so the example is rejected (at a `min_agreement` of 0 as
    well).

    Args:
      maps_a: `[B, H, W]` probabilities of the first teacher.
      maps_b: `[B, H, W]` of the second.
      threshold: in [0, 1], above which a pixel is marked.
      min_agreement: in [0, 1].
      where: bool or {0, 1}, broadcastable to `[B, H, W]`, the pixels that count; None means all.

    Returns:
      A `Consensus`.

    Raises:
      ValueError: if the shapes differ, a known threshold is outside [0, 1], or known maps are no probabilities.

    Reference: Guo et al., Dual Mean-Teacher, 2023, the noise filtering and intersection of pseudo-labels; both
      thresholds are assumptions, since no code was released.

    >>> a, b = jnp.array([[[0.9, 0.8, 0.1]]]), jnp.array([[[0.7, 0.2, 0.3]]])
    >>> both = teacher_consensus(a, b, min_agreement=0.5)
    >>> both.agreement.item(), both.intersection.tolist(), both.accepted.item()
    (0.5, [[[1.0, 0.0, 0.0]]], True)
    """
    check_same_shape("[B, H, W]", maps_a=maps_a, maps_b=maps_b)
    check_fraction("threshold", threshold)
    check_fraction("min_agreement", min_agreement)
    mask = full_mask(where, np.shape(maps_a), "maps")
    check_probabilities("maps_a", maps_a, where=mask)
    check_probabilities("maps_b", maps_b, where=mask)
    unknown = jnp.any(mask & jnp.isnan(as_float(maps_a) + as_float(maps_b)), axis=(1, 2))
    a, b = ((jax.lax.stop_gradient(as_float(maps)) >= threshold) & mask for maps in (maps_a, maps_b))
    dtype = jnp.promote_types(as_float(maps_a).dtype, as_float(maps_b).dtype)
    intersection, union = (a & b).astype(dtype), (a | b).astype(dtype)
    area = jnp.sum(union, axis=(1, 2))
    agreement = jnp.sum(intersection, axis=(1, 2)) / jnp.maximum(area, 1.0)
    agreement = jnp.where(unknown, jnp.nan, agreement)
    return Consensus(agreement, intersection, union, (agreement >= min_agreement) & (area > 0))


def dual_teacher_loss(
    labelled_maps: jax.Array,
    box_maps: jax.Array,
    unlabelled_maps: jax.Array,
    pseudo_maps: jax.Array,
    accepted: jax.Array,
    *,
    weight: float | jax.Array = 1.0,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """A student's loss on boxes and on accepted pseudo-labels, a batch-level loss: one number for the whole batch.

    Rejected examples stay in the denominator, so a batch in which few are accepted pulls less. The paper's
    contrastive term, `audio_visual_contrastive`, is the caller's to add. Gradients stop at boxes and pseudo-labels.

        L = mean_i H(G_i, P_i) + weight * 1/N sum_j accepted_j H(M_j, P_j)

    Args:
      labelled_maps: `[L, H, W]` the student's probabilities for the labelled examples.
      box_maps: `[L, H, W]` in [0, 1], see `box_map`.
      unlabelled_maps: `[N, H, W]` the student's probabilities for the others.
      pseudo_maps: `[N, H, W]` in [0, 1], the pseudo-labels, e.g. `Consensus.intersection`.
      accepted: bool or {0, 1}, `[N]`.
      weight: of the pseudo-labels, at least 0.
      where: bool or {0, 1}, `[N]`, the unlabelled examples that exist (they make N); None means all.
      axis_name: mapped axis over which the batch is split; every device returns the loss of the global batch.

    Returns:
      A float32 scalar (float64 for float64 maps) in nats per pixel; 0 for an empty batch.

    Raises:
      ValueError: if the shapes do not fit.

    Reference: Guo et al., Dual Mean-Teacher, 2023, the student's loss; its weights are not known, 1 here.

    >>> half, one = jnp.full((2, 1, 1), 0.5), jnp.ones((2, 1, 1))
    >>> round(dual_teacher_loss(half, one, half, one, jnp.array([True, False])).item(), 4)
    1.0397
    """
    if np.shape(accepted) != np.shape(unlabelled_maps)[:1]:
        raise InputError(
            f"accepted {np.shape(accepted)} must be [N] of unlabelled_maps {np.shape(unlabelled_maps)}"
        )
    exists = full_mask(where, np.shape(accepted), "unlabelled examples [N]")
    kept = as_bool("accepted", accepted) & exists
    supervised = masked_mean(pixel_cross_entropy(labelled_maps, box_maps), axis_name=axis_name)
    each = pixel_cross_entropy(unlabelled_maps, pseudo_maps, where=kept[:, None, None])
    return supervised + weight * masked_mean(each, where=exists, axis_name=axis_name)

"""The Dice loss of segmentation."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core.check import InputError, check_positive, check_probabilities, full_mask


def dice_loss(
    probs: jax.Array, target: jax.Array, *, smooth: float = 1e-5, where: jax.Array | None = None
) -> jax.Array:
    """One minus the soft Dice overlap of a predicted region with the true one, per example.

    Unlike cross-entropy it does not depend on how many voxels lie outside. Gradients flow into the probabilities.

        1 - (2 sum p y + smooth) / (sum p^2 + sum y^2 + smooth)

    Args:
      probs: `[B, ...]` probabilities of the foreground.
      target: `[B, ...]`, 1 in the foreground and 0 elsewhere.
      smooth: positive; makes an example in which both are empty cost 0.
      where: bool or {0, 1}, broadcastable to `[B, ...]`, the voxels that count; None means all.

    Returns:
      `[B]` float32 (float64 for float64 probabilities), in [0, 1].

    Raises:
      ValueError: if the shapes differ, `where` does not broadcast to them, `smooth` is not positive, or known
        values lie outside [0, 1].

    Reference: Milletari, Navab, Ahmadi, V-Net, 2016, section 3, with the smoothing of RAIL's code. RAIL sums over a
      batch of one labelled volume, which is the same.

    >>> round(dice_loss(jnp.array([[1.0, 1.0, 0.0]]), jnp.array([[1, 0, 0]])).item(), 4)  # 1 - 2 / 3
    0.3333
    """
    p, y = np.shape(probs), np.shape(target)
    if not p or p != y:
        raise InputError(f"probs {p} and target {y} must have the same shape [B, ...]")
    check_positive("smooth", smooth)
    mask = full_mask(where, p, "probs")
    check_probabilities("probs", probs, where=mask)
    check_probabilities("target", target, where=mask)
    probs = jnp.where(mask, as_float(probs), 0.0)
    target = jnp.where(mask, jnp.asarray(target).astype(probs.dtype), 0.0)
    axes = tuple(range(1, len(p)))
    overlap = 2 * jnp.sum(probs * target, axes) + smooth
    return 1 - overlap / (jnp.sum(jnp.square(probs), axes) + jnp.sum(jnp.square(target), axes) + smooth)

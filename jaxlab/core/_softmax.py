"""Softmax and its relatives over the valid entries, by the rules of the masked statistics.

An entry at -inf carries no mass, so it counts as masked.
"""

import jax
import jax.numpy as jnp

from jaxlab.core._reduce import Axis, as_float, as_mask, axes

MASKED_LOGIT = -1e30
"""Stands for a logit or log-probability of minus infinity: its `exp` is 0, yet 0 times it is not NaN."""


def stabilize(
    x: jax.Array, where: jax.Array | None, axis: Axis
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """What every softmax needs: entries minus their peak, the support, the peak, and the sum of exponentials.

    An entry at -inf carries no mass and is treated as masked. The sum is 1 where the support is empty.
    """
    x = as_float(x)
    support = as_mask(where, x.shape) & (x != -jnp.inf)
    frozen = jax.lax.stop_gradient(x)
    peak = jnp.max(jnp.where(support, frozen, -jnp.inf), axis, keepdims=True, initial=-jnp.inf)
    peak = jnp.where(jnp.isfinite(peak), peak, 0.0)
    shifted = jnp.where(support, x - peak, 0.0)
    total = jnp.sum(jnp.where(support, jnp.exp(shifted), 0.0), axis, keepdims=True)
    return shifted, support, peak, jnp.where(total == 0, 1.0, total)


def masked_softmax(x: jax.Array, *, where: jax.Array | None = None, axis: int = -1) -> jax.Array:
    """Softmax over the valid entries.

    Masked entries, and entries at -inf, have probability 0 and gradient 0.

        p_i = where_i exp(x_i) / sum_j where_j exp(x_j)

    Args:
      x: logits of any shape and finite size.
      where: bool or {0, 1}, broadcastable to `x`; None means all valid.
      axis: axis along which probabilities sum to 1.

    Returns:
      float32 (float64 for float64 input) of the shape of `x`; zeros where nothing is valid.

    Raises:
      ValueError: if `where` does not broadcast to `x`.

    >>> masked_softmax(jnp.array([2.0, 2.0, 7.0]), where=jnp.array([1, 1, 0])).tolist()
    [0.5, 0.5, 0.0]
    """
    shifted, support, _, total = stabilize(x, where, axis)
    return jnp.where(support, jnp.exp(shifted), 0.0) / total


def masked_log_softmax(x: jax.Array, *, where: jax.Array | None = None, axis: int = -1) -> jax.Array:
    """Logarithm of the softmax over the valid entries.

    A masked entry (or one at -inf) gets `MASKED_LOGIT`, not -inf: sampling and argmax still avoid it, and `p
    * log p` is 0 there instead of NaN. Its gradient is 0. A row without any valid entry has no distribution
    and is all 0, so that a loss on it is 0.

        log p_i = x_i - log sum_j where_j exp(x_j)

    Args:
      x: logits of any shape and finite size.
      where: bool or {0, 1}, broadcastable to `x`; None means all valid.
      axis: axis of the distribution.

    Returns:
      float32 (float64 for float64 input) of the shape of `x`, in nats.

    Raises:
      ValueError: if `where` does not broadcast to `x`.

    >>> masked_log_softmax(jnp.array([0.0, 3.0]), where=jnp.array([1, 0])).tolist()[0]
    0.0
    """
    shifted, support, _, total = stabilize(x, where, axis)
    inside = jnp.where(support, shifted - jnp.log(total), MASKED_LOGIT)
    return jnp.where(jnp.any(support, axis, keepdims=True), inside, 0.0)


def masked_logsumexp(
    x: jax.Array, *, where: jax.Array | None = None, axis: Axis = None, keepdims: bool = False
) -> jax.Array:
    """Logarithm of the sum of exponentials of the valid entries.

    Over nothing the mathematical value is -inf, which would turn a contrastive loss without negatives into an
    infinity; here, as in every reduction of this room, it is 0: the term vanishes, value and gradient.

        log sum_i where_i exp(x_i)

    Args:
      x: array of any shape and finite size.
      where: bool or {0, 1}, broadcastable to `x`; None means all valid.
      axis: axis or axes to reduce; None means all.
      keepdims: keep reduced axes with size 1.

    Returns:
      float32 (float64 for float64 input), 0 if nothing is valid.

    Raises:
      ValueError: if `where` does not broadcast to `x`.

    Reference: log-sum-exp with the peak subtracted; Blanchard, Higham and Higham, 2021.

    >>> masked_logsumexp(jnp.array([1e4, 1e4, jnp.inf]), where=jnp.array([1, 1, 0])).item() - 1e4 < 0.7
    True
    """
    _, _, peak, total = stabilize(x, where, axis)
    result = jnp.log(total) + peak
    return result if keepdims else jnp.squeeze(result, axes(axis, result.ndim))

"""The listwise softmax loss."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_log_softmax
from jaxlab.core.check import check_same_shape, fitted, full_mask


def softmax_loss(
    scores: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
) -> jax.Array:
    """Softmax cross-entropy of a list against its labels or clicks, per list.

    Labels are taken as they are: they need not sum to 1, and a list without any costs nothing. Gradients flow into the
    scores, the labels and the weights.

        L = - sum_i w_i y_i log softmax(s)_i

    Args:
      scores: `[..., L]`, any finite size.
      labels: `[..., L]` relevance, at least 0.
      where: bool or {0, 1}, broadcastable to `[..., L]`, the documents that exist; None means all.
      weights: broadcastable to `[..., L]`, one per document; None means 1.

    Returns:
      `[...]` nats times the labels' unit, float32 (float64 for float64 scores); 0 where no document exists.

    Raises:
      ValueError: if shapes do not agree.

    Reference: Cao et al., Learning to Rank: From Pairwise Approach to Listwise Approach, ICML 2007; as `softmax_loss`
      of rax and `ranking_softmax_loss` of optax without reduction.

    >>> round(softmax_loss(jnp.zeros(4), jnp.array([0.0, 2.0, 0.0, 0.0])).item(), 4)  # 2 log 4
    2.7726
    """
    check_same_shape("[..., L]", scores=scores, labels=labels)
    shape = np.shape(scores)
    valid = full_mask(where, shape, "lists")
    gains = (
        as_float(labels) if weights is None else as_float(labels) * fitted(weights, shape, "weights", "lists")
    )
    # Twice masked, so that nothing of a document that does not exist reaches the value or a gradient.
    log_p = jnp.where(valid, masked_log_softmax(scores, where=valid), 0.0)
    return -jnp.sum(jnp.where(valid, gains, 0.0) * log_p, axis=-1)

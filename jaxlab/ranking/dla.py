"""The dual learning algorithm: a ranker and a model of examination, each weighted by the other's inverse estimate."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_sum
from jaxlab.core._reduce import AxisName
from jaxlab.core.check import InputError, check_least, check_same_shape, fitted, full_mask
from jaxlab.ranking._softmax_loss import softmax_loss


class DlaLosses(NamedTuple):
    """The two losses of the dual learning algorithm, to be descended apart."""

    ranker: jax.Array
    propensity: jax.Array


def relative_weights(
    logits: jax.Array, *, max_weight: float | jax.Array | None = 100.0, where: jax.Array | None = None
) -> jax.Array:
    """How much likelier the first position of a list is than each: inverse propensities up to a common scale.

    Softmax probabilities are known up to scale only, so that each is compared with the first. The ratio grows without
    bound as a logit falls, hence the cap. No gradient flows through the weights.

        w_i = min(softmax(logits)_1 / softmax(logits)_i, max_weight) = min(exp(logit_1 - logit_i), max_weight)

    Args:
      logits: `[..., L]` in the order shown, any finite size.
      max_weight: cap, at least 1, may be traced; None for none (then overflow is possible).
      where: bool or {0, 1}, broadcastable to `[..., L]`, the documents that exist; None means all. The first of them
        takes the part of position 1.

    Returns:
      `[..., L]` float32 (float64 for float64 logits), 1 at the first position, 0 where no document exists.

    Raises:
      ValueError: if a static `max_weight` is below 1, or `where` does not broadcast.

    Reference: Ai et al., Unbiased Learning to Rank with Unbiased Propensity Estimation, SIGIR 2018, equations for
      inverse propensity and inverse relevance weights; the authors' code caps only on request.

    >>> relative_weights(jnp.log(jnp.array([0.8, 0.4, 0.001]))).round(2).tolist()
    [1.0, 2.0, 100.0]
    """
    check_least("max_weight", max_weight, 1)
    if not np.ndim(logits):
        raise InputError(f"logits {np.shape(logits)} must have shape [..., L]")
    valid = full_mask(where, np.shape(logits), "lists")
    logits = jnp.where(valid, jax.lax.stop_gradient(as_float(logits)), 0.0)
    first = jnp.take_along_axis(logits, valid.argmax(-1, keepdims=True), axis=-1) if logits.size else logits
    gap = first - logits
    if max_weight is not None:
        gap = jnp.minimum(gap, jnp.log(max_weight))
    return jnp.where(valid, jnp.exp(gap), 0.0)


def weighted_list_loss(
    scores: jax.Array,
    labels: jax.Array,
    *,
    weights: jax.Array | None = None,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Batch-level: softmax cross-entropy of weighted clicks, per unit of weighted click in the batch.

    Lists with more weight count for more, as the sums are divided and not their ratios averaged; lists without a click
    count nothing, where the ratio per list would be 0 / 0. Gradients flow into the scores alone.

        L = sum_b softmax_loss_b / sum_b W_b,    W_b = sum_i w_bi c_bi

    Args:
      scores: `[..., L]`, any finite size.
      labels: `[..., L]` clicks, at least 0.
      weights: broadcastable to `[..., L]`, at least 0, such as inverse propensities; None means 1.
      where: bool or {0, 1}, broadcastable to `[..., L]`, the documents that exist; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global value.

    Returns:
      Scalar in nats, float32 (float64 for float64 scores); 0 without any click.

    Raises:
      ValueError: if shapes do not agree.

    Reference: Ai et al., Unbiased Learning to Rank with Unbiased Propensity Estimation, SIGIR 2018; the division by the
      batch's weight is that of the authors' code. Its successor ULTRA adds 1e-7 to every click first: add it to
      `labels` to follow it.

    >>> clicks, weights = jnp.array([[1.0, 0.0], [0.0, 0.0]]), jnp.array([1.0, 3.0])
    >>> round(weighted_list_loss(jnp.zeros((2, 2)), clicks, weights=weights).item(), 4)  # log 2
    0.6931
    """
    check_same_shape("[..., L]", scores=scores, labels=labels)
    shape = np.shape(scores)
    gains = as_float(labels) * fitted(1.0 if weights is None else weights, shape, "weights", "lists")
    gains = jax.lax.stop_gradient(gains)
    total = masked_sum(gains, where=full_mask(where, shape, "lists"), axis_name=axis_name)
    # Shares first: 1 / total would be infinite for a total that is all but nothing.
    total = jnp.where(jnp.abs(total) < jnp.finfo(total.dtype).tiny, jnp.inf, total)
    return masked_sum(softmax_loss(scores, gains / total, where=where), axis_name=axis_name)


def dla_losses(
    scores: jax.Array,
    propensity_logits: jax.Array,
    clicks: jax.Array,
    *,
    max_weight: float | jax.Array | None = 100.0,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> DlaLosses:
    """Batch-level: the ranker's loss and the examination model's, each with the other's weights.

    A click far down counts for more to the ranker, as few look there; a click on a document that ranks low counts for
    more to the examination model, as it must have been seen. Neither loss has a gradient for the other model, so that
    the gradient of their sum is that of each.

        ranker     = weighted_list_loss(scores, clicks, w = E_1 / E_i),    E = softmax(propensity_logits)
        propensity = weighted_list_loss(propensity_logits, clicks, w = P_1 / P_i),    P = softmax(scores)

    Args:
      scores: `[..., L]` of the ranker, in the order shown.
      propensity_logits: broadcastable to `[..., L]`; they should depend on the position alone.
      clicks: `[..., L]`, 0 or 1.
      max_weight: cap of both weights, see `relative_weights`.
      where: bool or {0, 1}, broadcastable to `[..., L]`, the documents that exist; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global values.

    Returns:
      Two scalars in nats, float32 (float64 for float64 scores).

    Raises:
      ValueError: if shapes do not agree.

    Reference: Ai et al., Unbiased Learning to Rank with Unbiased Propensity Estimation, SIGIR 2018, algorithm 1. One
      optimizer per model that lives as long as the training: ULTRA makes a new one in every step, which turns Adagrad
      into steps of the learning rate's size.

    >>> clicks = jnp.array([[0.0, 1.0]])
    >>> losses = dla_losses(jnp.zeros((1, 2)), jnp.log(jnp.array([0.8, 0.2])), clicks)
    >>> round(losses.ranker.item(), 4), round(losses.propensity.item(), 4)  # log 2, - log 0.2
    (0.6931, 1.6094)
    """
    check_same_shape("[..., L]", scores=scores, clicks=clicks)
    logits = fitted(as_float(propensity_logits), np.shape(scores), "propensity_logits", "lists")
    options = {"max_weight": max_weight, "where": where}
    seen, relevant = relative_weights(logits, **options), relative_weights(scores, **options)
    return DlaLosses(
        ranker=weighted_list_loss(scores, clicks, weights=seen, where=where, axis_name=axis_name),
        propensity=weighted_list_loss(logits, clicks, weights=relevant, where=where, axis_name=axis_name),
    )

"""Accuracy and calibration of predictions."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, masked_softmax, masked_sum
from jaxlab.core._reduce import AxisName, as_mask
from jaxlab.core.check import InputError, as_labels


def _counted(
    logits: jax.Array, labels: jax.Array, where: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Logits and labels as arrays, and which examples count: those inside `where` whose label is a class."""
    logits, labels = as_float(logits), as_labels(logits, labels, where=where)
    return logits, labels, as_mask(where, labels.shape) & (labels >= 0) & (labels < logits.shape[-1])


def _is_in_top_k(logits: jax.Array, labels: jax.Array, k: int) -> jax.Array:
    """1 or 0 per example, NaN where the logits hold a NaN."""
    classes = jnp.arange(logits.shape[-1])
    own = jnp.sum(jnp.where(classes == labels[..., None], logits, 0.0), axis=-1, keepdims=True)
    ahead = (logits > own) | ((logits == own) & (classes < labels[..., None]))
    hit = (jnp.sum(ahead, axis=-1) < k).astype(logits.dtype)
    return jnp.where(jnp.any(jnp.isnan(logits), axis=-1), jnp.nan, hit)


def top_k_accuracy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    k: int,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Share of a batch whose label is among the k largest logits.

    Ties go to the lower class index, as in argmax. A negative label marks an example to ignore. An
    example with a NaN logit makes the result NaN: a network that diverged has no accuracy. Gradient is 0.

        mean_i [ #{c : z_ic > z_iy, or z_ic = z_iy and c < y} < k ]

    Args:
      logits: `[..., C]` scores, any size.
      labels: `[...]` integers in [0, C), or negative.
      k: static integer, at least 1.
      where: bool or {0, 1}, broadcastable to `[...]`, the examples that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global share.

    Returns:
      float32 scalar in [0, 1]; 0 if no example counts.

    Raises:
      ValueError: if `labels` does not have the leading shape of `logits` or is not of an integer type,
        `where` does not broadcast to it, or `k` is below 1.

    Reference: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, 2015 (top-5 error).

    >>> logits = jnp.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    >>> top_k_accuracy(logits, jnp.array([1, 2]), k=2).item()
    0.5
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    logits, labels, valid = _counted(jax.lax.stop_gradient(logits), labels, where)
    return masked_mean(_is_in_top_k(logits, labels, k), where=valid, axis_name=axis_name)


def accuracy(
    logits: jax.Array, labels: jax.Array, *, where: jax.Array | None = None, axis_name: AxisName = None
) -> jax.Array:
    """Share of a batch whose largest logit is at the label.

    Ties go to the lower class index. A negative label marks an example to ignore. An example with a NaN
    logit makes the result NaN. Gradient is 0.

        mean_i [ argmax_c z_ic = y_i ]

    Args:
      logits: `[..., C]` scores, any size.
      labels: `[...]` integers in [0, C), or negative.
      where: bool or {0, 1}, broadcastable to `[...]`, the examples that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global share.

    Returns:
      float32 scalar in [0, 1]; 0 if no example counts.

    Raises:
      ValueError: if `labels` does not have the leading shape of `logits` or is not of an integer type, or
        `where` does not broadcast to it.

    Reference: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, 2015 (top-1 error).

    >>> accuracy(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0])).item()
    0.5
    """
    return top_k_accuracy(logits, labels, k=1, where=where, axis_name=axis_name)


def expected_calibration_error(
    logits: jax.Array,
    labels: jax.Array,
    *,
    bins: int = 15,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """How far confidence is from accuracy over a batch, on average over bins of confidence.

    Bins have equal width and are closed on the right, ((m - 1) / bins, m / bins]. A negative label marks an
    example to ignore. An example with a NaN logit makes the result NaN. Gradients flow through the
    confidences.

        sum_m |B_m| / N  | accuracy(B_m) - confidence(B_m) |,  confidence_i = max_c softmax(z_i)_c

    Args:
      logits: `[..., C]`, any finite size.
      labels: `[...]` integers in [0, C), or negative.
      bins: static integer, at least 1.
      where: bool or {0, 1}, broadcastable to `[...]`, the examples that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global error.

    Returns:
      float32 scalar in [0, 1]; 0 if no example counts.

    Raises:
      ValueError: if `labels` does not have the leading shape of `logits` or is not of an integer type,
        `where` does not broadcast to it, or `bins` is below 1.

    Reference: Guo et al., On Calibration of Modern Neural Networks, 2017, section 2.

    >>> expected_calibration_error(jnp.array([[20.0, -20.0], [20.0, -20.0]]), jnp.array([0, 1])).item()
    0.5
    """
    if bins < 1:
        raise InputError(f"bins must be at least 1, got {bins}")
    logits, labels, valid = _counted(logits, labels, where)
    logits = jnp.where(valid[..., None], logits, 0.0)
    confidence = jnp.max(masked_softmax(logits), axis=-1, initial=0.0)
    correct = _is_in_top_k(jax.lax.stop_gradient(logits), labels, 1)
    upper = jnp.arange(1, bins + 1, dtype=logits.dtype) / bins
    index = jnp.sum(confidence[..., None] > upper, axis=-1)
    inside = valid[..., None] & (index[..., None] == jnp.arange(bins))
    axes = tuple(range(labels.ndim))
    error = jnp.broadcast_to((correct - confidence)[..., None], inside.shape)
    gap = masked_sum(error, where=inside, axis=axes, axis_name=axis_name)
    return jnp.sum(jnp.abs(gap)) / jnp.maximum(masked_sum(valid, axis_name=axis_name), 1.0)


def recall_at_k(scores: jax.Array, *, k: int = 1, where: jax.Array | None = None) -> jax.Array:
    """Share of queries whose match is among the k candidates with the largest scores.

    Gradient is 0.

        mean_i [ rank of candidate i among scores_i < k ]

    Args:
      scores: `[N, N]`, query i against every candidate; candidate i is its match.
      k: at least 1.
      where: bool or {0, 1} `[N]`, the queries that count; None means all.

    Returns:
      float32 scalar in [0, 1]; 0 if no query counts.

    Raises:
      ValueError: if the scores are not square, or k is below 1.

    Reference: The R@K of image-text retrieval, as in Rao et al., DCD: Dynamic Contrastive Distillation for Image-Text
      Retrieval, 2022.

    >>> recall_at_k(jnp.array([[2.0, 1.0], [2.0, 1.0]]), k=1).item()
    0.5
    """
    shape = np.shape(scores)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise InputError(f"scores {shape} must be [N, N], query i matching candidate i")
    return top_k_accuracy(scores, jnp.arange(shape[0]), k=k, where=where)

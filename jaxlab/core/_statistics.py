"""Small stable statistics of predictions: accuracy, correlation, similarity, calibration."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core._prototype import normalize
from jaxlab.core._reduce import AxisName, as_float, as_mask, masked_mean, masked_sum
from jaxlab.core._softmax import masked_softmax
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

    Reference: ImageNet Large Scale Visual Recognition Challenge, 2015 (top-5 error).

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

    Reference: top-1 accuracy; see `top_k_accuracy`.

    >>> accuracy(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0])).item()
    0.5
    """
    return top_k_accuracy(logits, labels, k=1, where=where, axis_name=axis_name)


def _centre(x: jax.Array, where: jax.Array | None, axis: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Deviations from the mean (0 at masked entries), their norm, and whether they are mere rounding."""
    x = jnp.where(as_mask(where, x.shape), x, 0.0)
    mean = masked_mean(x, where=where, axis=axis, keepdims=True)
    deviation = jnp.where(as_mask(where, x.shape), x - mean, 0.0)
    squares = jnp.sum(jnp.square(deviation), axis, keepdims=True)
    noise = 8.0 * float(jnp.finfo(x.dtype).eps)
    constant = squares <= noise**2 * jnp.sum(jnp.square(x), axis, keepdims=True)
    norm = jnp.sqrt(jnp.where(constant, 1.0, squares))
    return deviation, norm, constant


def pearson(
    x: jax.Array, y: jax.Array, *, axis: int = -1, eps: float = 1e-8, where: jax.Array | None = None
) -> jax.Array:
    """Pearson correlation of two arrays along an axis.

    A vector that is constant up to rounding has no direction: its correlation is 0 with gradient 0, instead
    of rounding noise divided by `eps`. Gradients flow into both arguments.

        sum_i a_i b_i / (|a| |b| + eps),  a = x - mean(x),  b = y - mean(y)

    Args:
      x: array of any shape.
      y: array of the same shape.
      axis: axis along which to correlate.
      eps: added to the denominator, not to each norm.
      where: bool or {0, 1}, broadcastable to `x`, the entries that count; None means all.

    Returns:
      float32 (float64 for float64 input) in [-1, 1], the shape of `x` without `axis`; 0 if nothing is valid.

    Raises:
      ValueError: if the shapes differ or `where` does not broadcast to them.

    Reference: Knowledge Distillation from A Stronger Teacher, 2022, with the eps of the authors' code.

    >>> round(pearson(jnp.array([1.0, 2.0, 3.0]), jnp.array([2.0, 4.0, 7.0])).item(), 4)
    0.9934
    """
    _check_same_shape(x, y)
    x, y = as_float(x), as_float(y)
    a, norm_a, constant_a = _centre(x, where, axis)
    b, norm_b, constant_b = _centre(y, where, axis)
    constant = constant_a | constant_b
    product = jnp.sum(jnp.where(constant, 0.0, a * b), axis)
    return product / (jnp.squeeze(norm_a * norm_b, axis) + eps)


def cosine_similarity(x: jax.Array, y: jax.Array, *, axis: int = -1) -> jax.Array:
    """Cosine of the angle between two arrays along an axis.

    A zero vector has no direction: its similarity is 0 with gradient 0. Gradients flow into both arguments.

        sum_i x_i y_i / (|x| |y|)

    Args:
      x: array of any shape.
      y: array of the same shape.
      axis: axis of the vectors.

    Returns:
      float32 (float64 for float64 input) in [-1, 1], the shape of `x` without `axis`.

    Raises:
      ValueError: if the shapes differ.

    Reference: cosine of two vectors; see `normalize`.

    >>> round(cosine_similarity(jnp.array([3.0, 4.0]), jnp.array([4.0, 3.0])).item(), 4)
    0.96
    """
    _check_same_shape(x, y)
    return jnp.sum(normalize(x, axis=axis) * normalize(y, axis=axis), axis)


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

    Reference: On Calibration of Modern Neural Networks, 2017, section 2.

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


def _check_same_shape(x: jax.Array, y: jax.Array) -> None:
    if np.shape(x) != np.shape(y):
        raise InputError(f"x {np.shape(x)} and y {np.shape(y)} must have the same shape")

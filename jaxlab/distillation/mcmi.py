"""How much a teacher's predictions vary inside a class: what it says about an image beyond the label."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import (
    as_float,
    class_means,
    cross_entropy,
    entropy,
    masked_log_softmax,
    masked_mean,
    masked_softmax,
)
from jaxlab.core.check import InputError, as_bool, as_labels, check_decay, check_probabilities, check_together
from jaxlab.distillation._contracts import labelled_classes

# Probabilities below it count as it: the logarithm of a class that a centroid never saw stays finite.
_SMALLEST = 1e-8


def class_centroids(
    probs: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Mean prediction of each class, over a batch or a whole training set.

    A class without examples gets the uniform distribution: nothing is known of it. Gradients flow into the
    predictions; `cmi_terms` stops them.

        Q_y = mean over {i : y_i = y} of P_i

    Args:
      probs: `[N, C]` probabilities.
      labels: `[N]` integers in [0, C); a negative one marks an example to ignore.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global means.

    Returns:
      `[C, C]` float32 (float64 for float64 input), rows that sum to 1.

    Raises:
      ValueError: if the shapes do not fit, `labels` is not of an integer type, or known rows that count are logits.

    Reference: Ye et al., Bayes Conditional Distribution Estimation for Knowledge Distillation Based on Conditional
      Mutual Information, ICLR 2024; the centroids of the authors' code.

    >>> probs = jnp.array([[0.9, 0.1], [0.7, 0.3]])
    >>> [[round(q, 4) for q in row] for row in class_centroids(probs, jnp.array([0, 0])).tolist()]
    [[0.8, 0.2], [0.5, 0.5]]
    """
    probs = as_float(probs)
    classes = probs.shape[-1] if probs.ndim else 0
    means, mass = class_means(probs, labels, num_classes=classes, where=where, axis_name=axis_name)
    _check_rows(probs, labels, where)
    return jnp.where(mass[:, None] > 0, means, 1 / max(classes, 1))


def _check_rows(probs: jax.Array, labels: jax.Array, where: jax.Array | None) -> None:
    """Rows that count are probabilities."""
    counts = (jnp.asarray(labels) >= 0) & as_bool("where", True if where is None else where)
    check_probabilities("probs", probs, where=counts[:, None])


def ema_centroids(
    centroids: jax.Array,
    probs: jax.Array,
    labels: jax.Array,
    *,
    decay: float | jax.Array = 0.9999,
    min_count: int = 8,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Centroids moved towards the class means of a batch, and normalised again.

    A class with fewer than `min_count` examples in the batch keeps its centroid. With `decay=1` nothing moves. No
    gradient passes.

        Q_y <- d Q_y + (1 - d) mean over {i : y_i = y} of P_i,   Q_y <- Q_y / sum_c Q_yc

    Args:
      centroids: `[C, C]`, rows of a class.
      probs: `[B, C]` probabilities.
      labels: `[B]` integers in [0, C); a negative one marks an example to ignore.
      decay: d in [0, 1].
      min_count: examples of a class that a batch needs to move its centroid, at least 1.
      where: `[B]` bool or {0, 1}, the examples that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the same centroids.

    Returns:
      `[C, C]` float32 (float64 for float64 centroids): in a narrower type, or in integers, they would not move.

    Raises:
      ValueError: if the shapes do not fit, the decay is outside [0, 1], or `min_count` is below 1.

    Reference: Ye et al., ICLR 2024, which alternates between network and centroids; decay and count are those of the
      authors' code, where the call is commented out: what was released keeps its centroids.

    >>> moved = ema_centroids(jnp.full((2, 2), 0.5), jnp.array([[1.0, 0.0]]), jnp.array([0]), decay=0.8, min_count=1)
    >>> [[round(q, 4) for q in row] for row in moved.tolist()]
    [[0.6, 0.4], [0.5, 0.5]]
    """
    check_decay(decay)
    if min_count < 1:
        raise InputError(f"min_count must be at least 1, got {min_count}")
    probs = as_float(probs)
    if np.shape(centroids) != probs.shape[-1:] * 2:
        raise InputError(f"centroids {np.shape(centroids)} must be [C, C], probs are {probs.shape}")
    centroids, probs = jax.lax.stop_gradient((centroids, probs))
    means, mass = class_means(probs, labels, num_classes=probs.shape[-1], where=where, axis_name=axis_name)
    _check_rows(probs, labels, where)
    moved = decay * as_float(centroids) + (1 - decay) * means
    total = moved.sum(-1, keepdims=True)
    moved = moved / jnp.where(total > 0, total, 1.0)
    centroids = as_float(centroids)
    return jnp.where(mass[:, None] >= min_count, moved, centroids).astype(centroids.dtype)


def cmi_terms(
    logits: jax.Array, labels: jax.Array, centroids: jax.Array, *, classes: jax.Array | None = None
) -> jax.Array:
    """Divergence of each prediction from its class's centroid; the mean estimates I(X; Yhat | Y).

    Zero for a teacher that says the same of every image of a class. Gradients flow into the logits and stop at the
    centroids, whose logarithm is taken of at least 1e-8.

        KL(P_b || Q_{y_b}) = sum_c P_bc (log P_bc - log Q_{y_b} c),   P = softmax(logits)

    Args:
      logits: `[..., C]`, any finite size.
      labels: `[...]` integers in [0, C); a negative one, such as -100, marks an example to ignore: it gives 0.
      centroids: `[C, C]`, see `class_centroids`.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all. An example whose own
        class is masked gives 0.

    Returns:
      `[...]` nats, float32 (float64 for float64 logits), at least 0 up to rounding where no class is masked.

    Raises:
      ValueError: if the shapes do not fit or `labels` is not of an integer type.

    Reference: Ye et al., ICLR 2024, the empirical conditional mutual information.

    >>> centroids = jnp.array([[0.8, 0.2], [0.5, 0.5]])
    >>> logits = jnp.log(jnp.array([[0.8, 0.2], [0.5, 0.5]]))
    >>> [round(abs(x), 4) for x in cmi_terms(logits, jnp.array([0, 0]), centroids).tolist()]
    [0.0, 0.2231]
    """
    logits, labels = as_float(logits), as_labels(logits, labels)
    size = logits.shape[-1]
    if np.shape(centroids) != (size, size):
        raise InputError(f"centroids {np.shape(centroids)} must be [C, C], logits are {logits.shape}")
    exists = labelled_classes(classes, logits, labels)
    valid = exists & (exists & (labels[..., None] == jnp.arange(size))).any(-1, keepdims=True)
    rows = as_float(jax.lax.stop_gradient(centroids))[jnp.clip(labels, 0, max(size - 1, 0))]
    log_centroid = jnp.log(jnp.maximum(rows, _SMALLEST))
    ratio = masked_log_softmax(logits, where=valid) - log_centroid
    return jnp.sum(masked_softmax(logits, where=valid) * jnp.where(valid, ratio, 0.0), axis=-1)


def mcmi_loss(
    logits: jax.Array,
    labels: jax.Array,
    centroids: jax.Array,
    *,
    weight: float | jax.Array = 0.15,
    classes: jax.Array | None = None,
) -> jax.Array:
    """What a teacher is fine-tuned on: likelihood, and as much variation inside a class as that allows, per example.

    Unbounded below: a large weight diverges. Gradients stop at the centroids.

        L = - log P_y - weight * KL(P || Q_y)

    Args:
      logits: `[..., C]` of the teacher.
      labels: `[...]` integers in [0, C); a negative one, such as -100, marks an example to ignore: it gives 0.
      centroids: `[C, C]`, see `class_centroids`.
      weight: lambda, at least 0; the paper takes 0.1 to 0.25.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` nats, float32 (float64 for float64 logits).

    Raises:
      ValueError: if the shapes do not fit or `labels` is not of an integer type.

    Reference: Ye et al., ICLR 2024, the maximum conditional mutual information objective; the authors' command line
      writes it as `--param 1 -0.15`.

    >>> centroids = jnp.array([[0.8, 0.2], [0.5, 0.5]])
    >>> round(mcmi_loss(jnp.zeros((1, 2)), jnp.array([0]), centroids).item(), 4)  # 0.6931 - 0.15 * 0.2231
    0.6597
    """
    terms = cmi_terms(logits, labels, centroids, classes=classes)
    return cross_entropy(logits, labels, classes=classes) - weight * terms


def matching_temperature(
    logits: jax.Array, reference_logits: jax.Array, *, lowest: float = 0.01, highest: float = 100.0
) -> jax.Array:
    """The temperature at which one teacher is on average as unsure as another, over a batch.

    The control for every method that softens a teacher: the same mean entropy, with nothing learned. Found by
    bisection, as entropy rises with temperature. No gradient passes.

        mean_i H(softmax(z_i / T)) = mean_i H(softmax(r_i))

    Args:
      logits: `[..., C]`.
      reference_logits: `[..., C]`, the same shape.
      lowest: the smallest answer, above 0.
      highest: the largest answer.

    Returns:
      float32 scalar (float64 for float64 logits) in [lowest, highest], the nearer end where no temperature between
      them fits; NaN if a logit is.

    Raises:
      ValueError: if the shapes differ, or not 0 < lowest < highest.

    Reference: Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2, for the temperature itself.

    >>> z = jnp.array([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0]])
    >>> round(matching_temperature(3 * z, z).item(), 3)
    3.0
    """
    if np.shape(logits) != np.shape(reference_logits) or not np.ndim(logits):
        shapes = f"logits {np.shape(logits)} and reference_logits {np.shape(reference_logits)}"
        raise InputError(f"{shapes} must have the same shape [..., C]")
    in_order = lambda lowest, highest: (lowest > 0) & (lowest < highest)
    check_together(
        "lowest and highest must be above 0 and in order", in_order, lowest=lowest, highest=highest
    )
    logits, reference = jax.lax.stop_gradient((as_float(logits), as_float(reference_logits)))
    target = masked_mean(entropy(reference))

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        middle = sum(ends) / 2
        too_sure = masked_mean(entropy(logits, temperature=jnp.exp(middle))) < target
        return jnp.where(too_sure, middle, ends[0]), jnp.where(too_sure, ends[1], middle)

    ends = tuple(jnp.log(jnp.asarray(end, logits.dtype)) for end in (lowest, highest))
    found = jnp.exp(sum(jax.lax.fori_loop(0, 40, halve, ends)) / 2)
    unknown = jnp.isnan(target) | jnp.any(jnp.isnan(logits))  # a comparison with NaN only moves the ends
    return jnp.where(unknown, jnp.nan, found)

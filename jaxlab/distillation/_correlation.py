"""Correlation in place of divergence: the student keeps the order and spread of the teacher's predictions."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, masked_softmax, masked_sum, pearson
from jaxlab.core.check import check_positive, check_same_logits, class_mask, full_mask


def dist_loss(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    beta: float | jax.Array = 1.0,
    gamma: float | jax.Array = 1.0,
    temperature: float | jax.Array = 1.0,
    classes: jax.Array | None = None,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Distillation from a stronger teacher (DIST), a batch-level loss: one number for the whole batch.

    A correlation forgives a different mean and scale, which a divergence does not: a student can follow a
    teacher too strong to be copied. It is taken within each example over the classes, and within each class
    over the examples. The paper adds cross-entropy, the caller's. Gradients stop at the teacher's logits.

        L = beta * mean_b inter_b + gamma * mean_c intra_c,   see inter_class_loss and intra_class_loss

    Args:
      student_logits: `[..., C]`, any finite size; all leading axes together are the batch.
      teacher_logits: `[..., C]`, the same.
      beta: weight of the inter-class term.
      gamma: weight of the intra-class term.
      temperature: a positive scalar applied to both.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.
      where: `[...]` bool or {0, 1}, the examples that count; None means all.
      axis_name: mapped axis over which the batch is split; every device returns the loss of the global batch.

    Returns:
      A float32 scalar (float64 for float64 logits) in [0, 2 (beta + gamma) T^2].

    Raises:
      ValueError: if the shapes differ, a mask does not fit them, or a static temperature is not
        positive.

    Reference: Huang et al., Knowledge Distillation from A Stronger Teacher, NeurIPS 2022, equations 8 to 10. A class
      or example of constant probability has correlation 0 here, as in the authors' code, but with a finite gradient.

    >>> logits = jnp.array([[2.0, 0.0, 1.0], [0.0, 3.0, -1.0]])
    >>> round(dist_loss(logits, logits).item(), 4), round(dist_loss(logits, -logits, gamma=0.0).item(), 4)
    (0.0, 1.8285)
    """
    mask = _entries(classes, where, np.shape(student_logits))
    inter = inter_class_loss(student_logits, teacher_logits, temperature=temperature, classes=mask)
    intra = intra_class_loss(
        student_logits, teacher_logits, temperature=temperature, classes=mask, axis_name=axis_name
    )
    seen = masked_sum(_rows(mask), axis=0, axis_name=axis_name) > 0
    inter = masked_mean(inter, where=mask.any(axis=-1), axis_name=axis_name)
    return beta * inter + gamma * masked_mean(intra, where=seen)


def inter_class_loss(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    temperature: float | jax.Array = 1.0,
    classes: jax.Array | None = None,
) -> jax.Array:
    """One minus the correlation over the classes, per example.

    What one example says about the classes. Gradients stop at the teacher's logits.

        L_b = T^2 * (1 - pearson_c(q_bc, p_bc)),   q = softmax(s / T),   p = softmax(t / T)

    Args:
      student_logits: `[..., C]`, any finite size.
      teacher_logits: `[..., C]`, the same.
      temperature: T, a positive scalar applied to both.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` float32 (float64 for float64 logits) in [0, 2 T^2]; 0 where no class is valid.

    Raises:
      ValueError: if the shapes differ, `classes` does not fit them, or a static temperature is not
        positive.

    Reference: Huang et al., Knowledge Distillation from A Stronger Teacher, NeurIPS 2022, equation 8.

    >>> round(inter_class_loss(jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 9.0]])).item(), 4)
    2.0
    """
    mask = class_mask(classes, np.shape(student_logits))
    student, teacher = _probabilities(student_logits, teacher_logits, temperature, mask)
    distance = temperature**2 * (1.0 - pearson(student, teacher, axis=-1, where=mask))
    return jnp.where(mask.any(axis=-1), distance, 0.0)


def intra_class_loss(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    temperature: float | jax.Array = 1.0,
    classes: jax.Array | None = None,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """One minus the correlation over the examples of the batch, a batch-level loss: one number per class.

    What one class says about the examples: which look more like it. A batch of one example has no correlation
    and gives T^2 without gradient. Gradients stop at the teacher's logits.

        L_c = T^2 * (1 - pearson_b(q_bc, p_bc)),   q = softmax(s / T),   p = softmax(t / T)

    Args:
      student_logits: `[..., C]`, any finite size; all leading axes together are the batch.
      teacher_logits: `[..., C]`, the same.
      temperature: T, a positive scalar applied to both.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.
      where: `[...]` bool or {0, 1}, the examples that count; None means all.
      axis_name: mapped axis over which the batch is split; every device returns the loss of the global batch.

    Returns:
      `[C]` float32 (float64 for float64 logits) in [0, 2 T^2]; 0 for a class without a valid entry.

    Raises:
      ValueError: if the shapes differ, a mask does not fit them, or a static temperature is not
        positive.

    Reference: Huang et al., Knowledge Distillation from A Stronger Teacher, NeurIPS 2022, equation 9.

    >>> student, teacher = jnp.array([[1.0, 0.0], [0.0, 0.0]]), jnp.array([[2.0, 0.0], [9.0, 0.0]])
    >>> print(intra_class_loss(student, teacher).round(4))
    [2. 2.]
    """
    mask = _entries(classes, where, np.shape(student_logits))
    student, teacher = map(_rows, _probabilities(student_logits, teacher_logits, temperature, mask))
    mask = _rows(mask)
    if axis_name is not None:
        student, teacher, mask = jax.lax.all_gather((student, teacher, mask), axis_name, tiled=True)
    distance = temperature**2 * (1.0 - pearson(student, teacher, axis=0, where=mask))
    distance = jnp.where(mask.any(axis=0), distance, 0.0)
    # Every device holds the same value; the mean says so, and scales the gradient of the gather to match.
    return distance if axis_name is None else jax.lax.pmean(distance, axis_name)


def _entries(classes: jax.Array | None, where: jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
    """The entries `[..., C]` that count: a class that does, of an example that does."""
    return class_mask(classes, shape) & full_mask(where, shape[:-1], "batch")[..., None]


def _probabilities(student_logits, teacher_logits, temperature, mask):
    """Both softmaxes over the entries `[..., C]` that count."""
    check_same_logits(student_logits, teacher_logits)
    check_positive("temperature", temperature)
    student = masked_softmax(as_float(student_logits) / temperature, where=mask)
    teacher = masked_softmax(as_float(jax.lax.stop_gradient(teacher_logits)) / temperature, where=mask)
    return student, teacher


def _rows(x: jax.Array) -> jax.Array:
    """All leading axes as one: `[..., C]` to `[N, C]`."""
    return x.reshape(-1, x.shape[-1])

"""Soft targets: the student matches the teacher's tempered class distribution."""

import jax

from jaxlab.core import forward_kl
from jaxlab.core.check import check_positive, check_same_logits


def kd_loss(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    temperature: float | jax.Array = 4.0,
    classes: jax.Array | None = None,
) -> jax.Array:
    """Knowledge distillation with soft targets, per example.

    A temperature above 1 lifts the small probabilities, in which a teacher says how the wrong classes
    compare. The factor T^2 keeps the gradient's scale about the same at every temperature. No cross-entropy
    is included: the weights of the two terms belong to the training recipe (0.1 CE + 0.9 KD is common, 1 + 1
    as well). Gradients stop at the teacher's logits.

        L = T^2 * sum_c p_c (log p_c - log q_c),   p = softmax(t / T),   q = softmax(s / T)

    Args:
      student_logits: `[..., C]`, any finite size.
      teacher_logits: `[..., C]`, the same.
      temperature: T, a positive scalar applied to both; may be traced.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all. A row
        without any class gives 0.

    Returns:
      `[...]` T^2 times nats, float32 (float64 for float64 logits), at least 0.

    Raises:
      ValueError: if the shapes differ, `classes` does not fit them, or a static temperature is not
        positive.

    Reference: Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015, section 2. mdistiller takes
      the mean of it over the batch.

    >>> import jax.numpy as jnp
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[2.0, 0.0]])
    >>> round(kd_loss(student, teacher, temperature=2.0).item(), 4)
    0.4438
    """
    check_same_logits(student_logits, teacher_logits)
    check_positive("temperature", temperature)
    teacher_logits = jax.lax.stop_gradient(teacher_logits)
    return temperature**2 * forward_kl(
        student_logits, teacher_logits, temperature=temperature, classes=classes
    )

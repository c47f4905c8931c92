"""Consistency: the student agrees with a teacher that saw another view of the same element.

The teacher's weights and the ramp of the loss's weight are in `jaxlab.core` (`ema_update`, `sigmoid_ramp_up`).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, forward_kl, masked_mean, masked_softmax
from jaxlab.core._reduce import AxisName
from jaxlab.core.check import check_positive, check_same_logits, full_mask


def _kept(
    student_logits: jax.Array, teacher_logits: jax.Array, where: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Both logits with zeros where masked, so that they agree there; the teacher's without gradient."""
    check_same_logits(student_logits, teacher_logits)
    mask = full_mask(where, np.shape(student_logits)[:-1], "elements [...]")[..., None]
    student = jnp.where(mask, as_float(student_logits), 0.0)
    return student, jax.lax.stop_gradient(jnp.where(mask, as_float(teacher_logits), 0.0))


def consistency_mse(
    student_logits: jax.Array, teacher_logits: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """Squared distance between the class probabilities of student and teacher, per element.

    Bounded, unlike a KL divergence: a teacher that is surely wrong costs at most 2 / K, and its pull fades as
    the student itself becomes sure. Gradients stop at the teacher.

        1/K sum_k (softmax(s)_k - softmax(t)_k)^2

    Args:
      student_logits: `[..., K]`, any finite size.
      teacher_logits: `[..., K]`, the same.
      where: bool or {0, 1}, broadcastable to `[...]`, the elements that count; None means all.

    Returns:
      `[...]` float32 (float64 for float64 logits), in [0, 2 / K]; 0 where masked.

    Raises:
      ValueError: if the shapes differ, or `where` does not broadcast to `[...]`.

    Reference: Tarvainen, Valpola, Mean teachers are better role models, 2017, section 2 and the authors' code, which
      takes the mean over classes, and weights it 100 after the ramp.

    >>> student, teacher = jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([0.75, 0.25]))
    >>> round(consistency_mse(student, teacher).item(), 6)
    0.0625
    """
    student, teacher = _kept(student_logits, teacher_logits, where)
    return jnp.mean(jnp.square(masked_softmax(student) - masked_softmax(teacher)), axis=-1)


def consistency_kl(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    temperature: float | jax.Array = 1.0,
    where: jax.Array | None = None,
) -> jax.Array:
    """KL divergence from the student's class distribution to the teacher's, per element.

    Gradients stop at the teacher. No temperature-squared factor.

        sum_k p_k (log p_k - log q_k),   p = softmax(t / T),  q = softmax(s / T)

    Args:
      student_logits: `[..., K]`, any finite size.
      teacher_logits: `[..., K]`, the same.
      temperature: T, a positive scalar applied to both.
      where: bool or {0, 1}, broadcastable to `[...]`, the elements that count; None means all.

    Returns:
      `[...]` float32 (float64 for float64 logits) in nats, at least 0; 0 where masked.

    Raises:
      ValueError: if the shapes differ, `where` does not broadcast to `[...]`, or a static temperature is not
        positive.

    Reference: Tarvainen, Valpola, Mean teachers are better role models, 2017, section 3.4 compares it with the
      squared distance.

    >>> student, teacher = jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([0.25, 0.75]))
    >>> round(consistency_kl(student, teacher).item(), 4)
    0.1308
    """
    check_positive("temperature", temperature)
    student, teacher = _kept(student_logits, teacher_logits, where)
    return forward_kl(student, teacher, temperature=temperature)


def unlabelled_fraction(
    labelled: jax.Array, *, where: jax.Array | None = None, axis_name: AxisName = None
) -> jax.Array:
    """Share of a batch's elements that carry no label.

    Losses that are summed over labelled and unlabelled elements alike need it to compare batches whose labels
    are unevenly spread. No gradient passes.

        #{not labelled} / #{elements}

    Args:
      labelled: bool or {0, 1}, any shape.
      where: bool or {0, 1}, broadcastable to it, the elements that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global share.

    Returns:
      float32 scalar in [0, 1]; 0 if no element counts.

    Raises:
      ValueError: if `where` does not broadcast to `labelled`.

    Reference: Tarvainen, Valpola, Mean teachers are better role models, 2017, section 3 (batches of which a fixed
      part is labelled).

    >>> unlabelled_fraction(jnp.array([1, 0, 0, 0])).item()
    0.75
    """
    return masked_mean(~jnp.asarray(labelled).astype(bool), where=where, axis_name=axis_name)

"""Decoupled distillation: how sure of the target, and how the other classes compare, weighted apart."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, forward_kl, masked_logsumexp
from jaxlab.core.check import as_labels, check_positive, check_same_logits
from jaxlab.distillation._contracts import labelled_classes


def dkd_loss(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    labels: jax.Array,
    *,
    temperature: float | jax.Array = 4.0,
    alpha: float | jax.Array = 1.0,
    beta: float | jax.Array = 8.0,
    classes: jax.Array | None = None,
) -> jax.Array:
    """Decoupled knowledge distillation, per example.

    Soft-target distillation is the target-class term plus the non-target term damped by one minus the
    teacher's confidence, so a sure teacher mutes what it knows about the other classes. Here each term has
    its own weight. Gradients stop at the teacher's logits.

        L = T^2 * (alpha * TCKD + beta * NCKD)
        KD / T^2 = TCKD + (1 - p_y) * NCKD,   p = softmax(t / T)

    Args:
      student_logits: `[..., C]`, any finite size.
      teacher_logits: `[..., C]`, the same.
      labels: `[...]` integers in [0, C); a negative one, such as -100, marks an example to ignore: it gives 0.
      temperature: T, a positive scalar applied to both.
      alpha: weight of the target-class term, `target_class_kl`.
      beta: weight of the non-target term, `non_target_class_kl`; the paper tunes it for each teacher.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` T^2 times nats, float32 (float64 for float64 logits), at least 0 for weights of at least 0. With
      one class 0; with two, alpha times `kd_loss`.

    Raises:
      ValueError: if shapes do not agree, labels are not integers, or a static temperature is not positive.

    Reference: Zhao et al., Decoupled Knowledge Distillation, CVPR 2022, equation 7. The authors' code hides the
      target by taking 1000 from its tempered logit and takes the logarithm of summed probabilities, which is -inf for
      sure predictions; here both are log-sum-exps. Their code also warms the loss up over 20 epochs: that is the
      recipe's.

    >>> student, teacher = jnp.array([[1.0, 0.0, 0.0]]), jnp.array([[2.0, 1.0, 0.0]])
    >>> round(dkd_loss(student, teacher, jnp.array([0])).item(), 4)
    1.0188
    """
    target = target_class_kl(student_logits, teacher_logits, labels, temperature=temperature, classes=classes)
    others = non_target_class_kl(
        student_logits, teacher_logits, labels, temperature=temperature, classes=classes
    )
    return temperature**2 * (alpha * target + beta * others)


def target_class_kl(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    labels: jax.Array,
    *,
    temperature: float | jax.Array = 4.0,
    classes: jax.Array | None = None,
) -> jax.Array:
    """KL divergence between the binary distributions (target, not target), per example.

    Both are written by their log-odds, so a probability that rounds to 0 or 1 keeps its exact logarithm.
    Gradients stop at the teacher's logits.

        b = (p_y, 1 - p_y) at temperature T;   TCKD = KL(b_teacher || b_student)
        log(p_y / (1 - p_y)) = l_y / T - logsumexp_{c != y} l_c / T

    Args:
      student_logits: `[..., C]`, any finite size.
      teacher_logits: `[..., C]`, the same.
      labels: `[...]` integers in [0, C); a negative one, such as -100, marks an example to ignore: it gives 0.
      temperature: T, a positive scalar applied to both.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` nats without the factor T^2. 0 where the target, or every other class, is left out.

    Raises:
      ValueError: if shapes do not agree, labels are not integers, or a static temperature is not positive.

    Reference: Zhao et al., Decoupled Knowledge Distillation, CVPR 2022, equation 5 (TCKD).

    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[2.0, 0.0]])
    >>> round(target_class_kl(student, teacher, jnp.array([0]), temperature=2.0).item(), 4)
    0.1109
    """
    student_logits, teacher_logits, target, others = _split(
        student_logits, teacher_logits, labels, temperature=temperature, classes=classes
    )
    student = _log_odds(student_logits, target, others)
    teacher = _log_odds(teacher_logits, target, others)
    yes = jax.nn.sigmoid(teacher) * (jax.nn.log_sigmoid(teacher) - jax.nn.log_sigmoid(student))
    no = jax.nn.sigmoid(-teacher) * (jax.nn.log_sigmoid(-teacher) - jax.nn.log_sigmoid(-student))
    return yes + no


def non_target_class_kl(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    labels: jax.Array,
    *,
    temperature: float | jax.Array = 4.0,
    classes: jax.Array | None = None,
) -> jax.Array:
    """KL divergence between the distributions over the classes other than the target, per example.

    Neither side's confidence in the target enters: it is what the teacher knows about the wrong answers.
    Gradients stop at the teacher's logits; the target's logit receives none.

        NCKD = KL(softmax_{c != y}(t / T) || softmax_{c != y}(s / T))

    Args:
      student_logits: `[..., C]`, any finite size.
      teacher_logits: `[..., C]`, the same.
      labels: `[...]` integers in [0, C); a negative one, such as -100, marks an example to ignore: it gives 0.
      temperature: T, a positive scalar applied to both.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` nats without the factor T^2. 0 where at most one class besides the target remains.

    Raises:
      ValueError: if shapes do not agree, labels are not integers, or a static temperature is not positive.

    Reference: Zhao et al., Decoupled Knowledge Distillation, CVPR 2022, equation 5 (NCKD).

    >>> student, teacher = jnp.array([[9.0, 0.0, 0.0]]), jnp.array([[-5.0, 2.0, 0.0]])
    >>> round(non_target_class_kl(student, teacher, jnp.array([0]), temperature=2.0).item(), 4)
    0.1109
    """
    student_logits, teacher_logits, _, others = _split(
        student_logits, teacher_logits, labels, temperature=temperature, classes=classes
    )
    return forward_kl(student_logits, teacher_logits, classes=others)


def _split(student_logits, teacher_logits, labels, *, temperature, classes):
    """Tempered logits in float32 or wider, and the masks of the target and of the other classes."""
    check_same_logits(student_logits, teacher_logits)
    check_positive("temperature", temperature)
    labels = as_labels(student_logits, labels)
    valid = labelled_classes(classes, student_logits, labels)
    is_target = labels[..., None] == jnp.arange(np.shape(student_logits)[-1])
    teacher_logits = jax.lax.stop_gradient(teacher_logits)
    return (
        as_float(student_logits) / temperature,
        as_float(teacher_logits) / temperature,
        valid & is_target,
        valid & ~is_target,
    )


def _log_odds(logits: jax.Array, target: jax.Array, others: jax.Array) -> jax.Array:
    """log(p_y / (1 - p_y)), or 0 where one side has no class: the two distributions then agree."""
    two_sided = target.any(-1) & others.any(-1)
    target_logit = jnp.where(target, logits, 0.0).sum(-1)
    return jnp.where(two_sided, target_logit - masked_logsumexp(logits, where=others, axis=-1), 0.0)

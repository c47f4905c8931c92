"""Divergences between two categorical distributions given by logits, one number per example, in nats.

`student_logits` and `teacher_logits` are `[..., C]`; the result is `[...]`. These are symmetric mathematics:
the gradient reaches both arguments, and the loss that owns a teacher wraps it in `stop_gradient`. There is no
temperature-squared factor anywhere; losses that want one multiply it in. `where` masks classes: a masked
class has probability 0 on both sides, exactly as a logit of -inf on its own side.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core._reduce import as_float
from jaxlab.core._softmax import masked_log_softmax, masked_softmax
from jaxlab.core._values import concrete
from jaxlab.core.check import (
    InputError,
    as_labels,
    check_fraction,
    check_positive,
    check_same_logits,
    class_mask,
)


def _distribution(
    logits: jax.Array, temperature: float | jax.Array, classes: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Probabilities, finite log-probabilities, and the classes that the distribution can reach at all."""
    logits = as_float(logits)
    scaled = logits / jnp.asarray(temperature, logits.dtype)
    mask = class_mask(classes, logits.shape)
    support = mask & (scaled != -jnp.inf)
    return masked_softmax(scaled, where=mask), masked_log_softmax(scaled, where=mask), support


def _expected_log_ratio(p: jax.Array, log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """`sum_c p (log p - log q)` over the classes with p > 0, so that 0 log 0 is 0 in value and gradient."""
    massless = p == 0
    ratio = jnp.where(massless, 0.0, log_p) - jnp.where(massless, 0.0, log_q)
    return jnp.sum(p * ratio, axis=-1)


def forward_kl(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    temperature: float | jax.Array = 1.0,
    classes: jax.Array | None = None,
) -> jax.Array:
    """KL(teacher || student): the student must cover all the mass of the teacher.

    Gradients flow into both arguments; stop the teacher's in the loss that owns it.

        sum_c p_T(c) (log p_T(c) - log p_S(c)),  p = softmax(logits / temperature)

    Args:
      student_logits: `[..., C]`, any finite size; -inf means probability 0.
      teacher_logits: `[..., C]`, the same.
      temperature: positive scalar, applied to both; no temperature-squared factor.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` float32 in nats; +inf where the teacher gives mass to a class at -inf for the student; 0 where
      no class is valid.

    Raises:
      ValueError: if the shapes differ, `classes` does not fit them, or a static temperature is not
        positive.

    Reference: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015, section 2 (up to the
      teacher's entropy).

    >>> student, teacher = jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([0.25, 0.75]))
    >>> round(forward_kl(student, teacher).item(), 4)
    0.1308
    """
    check_same_logits(student_logits, teacher_logits)
    check_positive("temperature", temperature)
    _, log_s, support_s = _distribution(student_logits, temperature, classes)
    p_t, log_t, _ = _distribution(teacher_logits, temperature, classes)
    return _expected_log_ratio(p_t, log_t, jnp.where(support_s, log_s, -jnp.inf))


def reverse_kl(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    temperature: float | jax.Array = 1.0,
    classes: jax.Array | None = None,
) -> jax.Array:
    """KL(student || teacher): the student must stay where the teacher has mass.

    Gradients flow into both arguments; stop the teacher's in the loss that owns it.

        sum_c p_S(c) (log p_S(c) - log p_T(c)),  p = softmax(logits / temperature)

    Args:
      student_logits: `[..., C]`, any finite size; -inf means probability 0.
      teacher_logits: `[..., C]`, the same.
      temperature: positive scalar, applied to both; no temperature-squared factor.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` float32 in nats; +inf where the student gives mass to a class at -inf for the teacher; 0 where
      no class is valid.

    Raises:
      ValueError: if the shapes differ, `classes` does not fit them, or a static temperature is not
        positive.

    Reference: Agarwal et al., On-Policy Distillation of Language Models, 2024, section 2.

    >>> student, teacher = jnp.log(jnp.array([0.25, 0.75])), jnp.log(jnp.array([0.5, 0.5]))
    >>> round(reverse_kl(student, teacher).item(), 4)
    0.1308
    """
    check_same_logits(student_logits, teacher_logits)
    return forward_kl(teacher_logits, student_logits, temperature=temperature, classes=classes)


def jsd(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    beta: float | jax.Array = 0.5,
    temperature: float | jax.Array = 1.0,
    classes: jax.Array | None = None,
) -> jax.Array:
    """Generalised Jensen-Shannon divergence, with the two KL divergences at the ends of `beta`.

    Not continuous at the ends: as beta -> 0 or 1 the formula itself tends to 0, while beta = 0 and beta = 1
    are defined as the two KL divergences. For 0 < beta < 1 the value is at most the entropy of (beta, 1 -
    beta), so at most log 2, whatever the supports. Gradients flow into both arguments.

        M = beta p_T + (1 - beta) p_S
        beta KL(p_T || M) + (1 - beta) KL(p_S || M)      for 0 < beta < 1
        KL(p_T || p_S) at beta = 0,  KL(p_S || p_T) at beta = 1

    Args:
      student_logits: `[..., C]`, any finite size; -inf means probability 0.
      teacher_logits: `[..., C]`, the same.
      beta: in [0, 1], the weight of the teacher in the mixture; a traced one must lie inside.
      temperature: positive scalar, applied to both; no temperature-squared factor.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` float32 in nats; 0 where no class is valid.

    Raises:
      ValueError: if the shapes differ, `classes` does not fit them, a static temperature is not
        positive, or `beta` is not in [0, 1].

    Reference: Agarwal et al., On-Policy Distillation of Language Models, 2024, equation 1. The paper reaches the KL
      divergences only as limits of JSD / beta and JSD / (1 - beta); its public implementation in TRL, followed here,
      swaps them in at the ends without that division.

    >>> student, teacher = jnp.array([0.0, -jnp.inf]), jnp.array([-jnp.inf, 0.0])
    >>> round(jsd(student, teacher).item(), 4)  # disjoint supports: log 2
    0.6931
    """
    check_same_logits(student_logits, teacher_logits)
    check_positive("temperature", temperature)
    check_fraction("beta", beta)
    end = concrete(beta)
    if end is not None and end == 0.0:
        return forward_kl(student_logits, teacher_logits, temperature=temperature, classes=classes)
    if end is not None and end == 1.0:
        return reverse_kl(student_logits, teacher_logits, temperature=temperature, classes=classes)
    p_s, log_s, _ = _distribution(student_logits, temperature, classes)
    p_t, log_t, _ = _distribution(teacher_logits, temperature, classes)
    log_m = jnp.logaddexp(log_t + jnp.log(beta), log_s + jnp.log1p(-beta))
    from_teacher = _expected_log_ratio(p_t, log_t, log_m)
    from_student = _expected_log_ratio(p_s, log_s, log_m)
    return beta * from_teacher + (1.0 - beta) * from_student


def total_variation(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    temperature: float | jax.Array = 1.0,
    classes: jax.Array | None = None,
) -> jax.Array:
    """Total variation distance: the largest difference in probability that any event can have.

    Gradients flow into both arguments; the gradient of a class on which both agree exactly is 0.

        1/2 sum_c |p_T(c) - p_S(c)|,  p = softmax(logits / temperature)

    Args:
      student_logits: `[..., C]`, any finite size; -inf means probability 0.
      teacher_logits: `[..., C]`, the same.
      temperature: positive scalar, applied to both.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` float32 in [0, 1]; 0 where no class is valid.

    Raises:
      ValueError: if the shapes differ, `classes` does not fit them, or a static temperature is not
        positive.

    Reference: Wen et al., f-Divergence Minimization for Sequence-Level Knowledge Distillation, 2023.

    >>> student, teacher = jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([0.25, 0.75]))
    >>> round(total_variation(student, teacher).item(), 4)
    0.25
    """
    check_same_logits(student_logits, teacher_logits)
    check_positive("temperature", temperature)
    p_s, _, _ = _distribution(student_logits, temperature, classes)
    p_t, _, _ = _distribution(teacher_logits, temperature, classes)
    return 0.5 * jnp.sum(jnp.abs(p_t - p_s), axis=-1)


def entropy(
    logits: jax.Array, *, temperature: float | jax.Array = 1.0, classes: jax.Array | None = None
) -> jax.Array:
    """Entropy of the distribution given by logits.

    Gradients flow into the logits.

        - sum_c p(c) log p(c),  p = softmax(logits / temperature)

    Args:
      logits: `[..., C]`, any finite size; -inf means probability 0.
      temperature: positive scalar.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` float32 in nats, in [0, log C]; 0 where no class is valid.

    Raises:
      ValueError: if `logits` is a scalar, `classes` does not broadcast to it, or a static temperature is not
        positive.

    Reference: Shannon, A Mathematical Theory of Communication, 1948, section 6.

    >>> round(entropy(jnp.zeros(4)).item(), 4)  # log 4
    1.3863
    """
    if not np.ndim(logits):
        raise InputError(f"logits {np.shape(logits)} must have shape [..., C]")
    check_positive("temperature", temperature)
    p, log_p, _ = _distribution(logits, temperature, classes)
    return -_expected_log_ratio(p, log_p, jnp.zeros_like(log_p))


def cross_entropy(logits: jax.Array, labels: jax.Array, *, classes: jax.Array | None = None) -> jax.Array:
    """Cross-entropy of integer labels.

    Gradients flow into the logits. A negative label (such as -1 or -100), and one whose class `classes` masks, marks
    an example to ignore: its loss and gradient are 0. Leave it out of the mean as well: `masked_mean(loss,
    classes=labels >= 0)`. A label of C or above is a mistake: refused where labels are known, and where they are
    traced ignored, or refused under `debug_checks`.

        - log softmax(logits)[label]

    Args:
      logits: `[..., C]`, any finite size; -inf means probability 0.
      labels: `[...]` integers in [0, C), or negative.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` float32 in nats; +inf where the label's own logit is -inf; 0 where no class is valid.

    Raises:
      ValueError: if `labels` does not have the leading shape of `logits`, is not of an integer type or names a class
        that does not exist, or `classes` does not broadcast to `logits`.

    Reference: Good, Rational Decisions, 1952 (the logarithmic score).

    >>> cross_entropy(jnp.zeros((2, 4)), jnp.array([1, -1])).tolist() == [jnp.log(4.0), 0.0]
    True
    """
    logits, labels = as_float(logits), as_labels(logits, labels)
    chosen = (labels[..., None] == jnp.arange(logits.shape[-1])) & class_mask(classes, logits.shape)
    logits = jnp.where(jnp.any(chosen, -1, keepdims=True), logits, 0.0)  # what is ignored leaves no trace
    _, log_p, support = _distribution(logits, 1.0, classes)
    log_p = jnp.where(support | ~jnp.any(support, -1, keepdims=True), log_p, -jnp.inf)
    return jnp.sum(jnp.where(chosen, -log_p, 0.0), axis=-1)

"""Distillation from a teacher that was never trained, and the probes that say what the student's features hold."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_log_softmax, masked_softmax
from jaxlab.core.check import InputError, check_fraction, check_same_logits, class_mask


def soft_cross_entropy(
    student_logits: jax.Array, teacher_logits: jax.Array, *, classes: jax.Array | None = None
) -> jax.Array:
    """Cross-entropy of the student under the teacher's distribution, per example, both at temperature 1.

    Its gradient is that of the forward KL divergence: the two differ by the teacher's entropy, which is also the least
    value, reached where both agree. So for a teacher that knows nothing a falling loss says nothing about the features.
    Gradients stop at the teacher's logits.

        L = -sum_c p_c log q_c,   p = softmax(t),   q = softmax(s)

    Args:
      student_logits: `[..., C]`, any finite size.
      teacher_logits: `[..., C]`, the same.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all. A row without any
        class gives 0.

    Returns:
      `[...]` nats, float32 (float64 for float64 logits), at least 0.

    Raises:
      ValueError: if the shapes differ or `classes` does not fit them.

    Reference: Sarnthein et al., Random Teachers are Good Teachers, 2023, section 3 and appendix E.3.

    >>> import jax.numpy as jnp
    >>> round(soft_cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([[5.0, -5.0]])).item(), 4)
    0.6931
    """
    check_same_logits(student_logits, teacher_logits)
    student_logits, teacher_logits = as_float(student_logits), jax.lax.stop_gradient(as_float(teacher_logits))
    classes = class_mask(classes, student_logits.shape)
    log_q = masked_log_softmax(student_logits, where=classes)
    p = masked_softmax(teacher_logits, where=classes)
    return -jnp.sum(jnp.where(classes, p * log_q, 0.0), axis=-1)


def local_init(
    teacher: Any, fresh: Any, *, alpha: float | jax.Array = 1e-10, keep_variance: bool = True
) -> Any:
    """Parameters near the teacher's: the mixture of them and of an independent draw.

    Divided so that two independent draws of one variance give a mixture of that variance. In exact arithmetic alpha = 0
    is the teacher itself, where the loss is least and its gradient 0; a tiny alpha differs from it by rounding alone
    wherever the teacher's parameters are not 0, and that is enough to begin. Gradients flow into both.

        ((1 - a) theta_T + a theta_fresh) / sqrt(a^2 + (1 - a)^2)

    Args:
      teacher: pytree of parameters.
      fresh: the same tree, drawn independently.
      alpha: in [0, 1], 0 near the teacher and 1 independent of it; may be traced.
      keep_variance: whether to divide.

    Returns:
      A tree of the same shapes.

    Raises:
      ValueError: if a static alpha is outside [0, 1] or the trees differ.

    Reference: Sarnthein et al., Random Teachers are Good Teachers, 2023, section 4.

    >>> import jax.numpy as jnp
    >>> local_init(jnp.array([2.0]), jnp.array([0.0]), alpha=0.0).tolist()
    [2.0]
    """
    check_fraction("alpha", alpha)
    shapes = [jax.tree.map(np.shape, tree) for tree in (teacher, fresh)]
    if shapes[0] != shapes[1]:
        raise InputError("teacher and fresh must be trees of the same shapes, got two different ones")
    scale = jnp.sqrt(alpha**2 + (1.0 - alpha) ** 2) if keep_variance else 1.0
    return jax.tree.map(lambda t, f: ((1.0 - alpha) * t + alpha * f) / scale, teacher, fresh)

"""Hints: an inner layer of the student predicts one of the teacher."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean
from jaxlab.core.check import InputError, full_mask


def hint_loss(
    student_features: jax.Array, teacher_features: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """Mean squared difference between two feature maps, per example.

    A regressor, usually one convolution or linear map, takes the student's features to the teacher's shape.
    It is trained with the student and belongs to the caller, who applies it first, as in the example.
    Gradients stop at the teacher's features.

        L = mean over all elements of (r(f_s) - f_t)^2

    Args:
      student_features: `[B, ...]`, already mapped to the teacher's shape.
      teacher_features: `[B, ...]`.
      where: bool or {0, 1}, broadcastable to the features (`[B, T, 1]` for a padded sequence); None means
        all.

    Returns:
      `[B]` squared feature units, float32 (float64 for float64 features); 0 where nothing is valid.

    Raises:
      ValueError: if the shapes differ, or `where` does not broadcast to them.

    Reference: Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015, equation 3. The paper has half the squared
      norm; the mean over elements is what mdistiller's FitNet computes, and makes the weight independent of the
      layer's size.

    >>> regressor = jnp.array([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]])  # 2 student features to 3
    >>> round(hint_loss(jnp.array([[1.0, 1.0]]) @ regressor, jnp.array([[1.0, 0.0, 0.0]])).item(), 4)
    1.6667
    """
    student, teacher = np.shape(student_features), np.shape(teacher_features)
    if not student or student != teacher:
        raise InputError(
            f"student_features {student} and teacher_features {teacher} must have the same shape [B, ...]; "
            "apply the regressor first"
        )
    mask = full_mask(where, student, "features")
    student_features = jnp.where(mask, as_float(student_features), 0.0)
    teacher_features = jnp.where(mask, as_float(jax.lax.stop_gradient(teacher_features)), 0.0)
    return masked_mean(
        jnp.square(student_features - teacher_features), where=mask, axis=tuple(range(1, len(student)))
    )

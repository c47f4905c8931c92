"""Norm and direction of features: the student's should point to the teacher's class mean, and be as long."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, normalize
from jaxlab.core.check import IGNORED, InputError, as_integers, full_mask

_SHORTEST = 1e-12  # as in `core.normalize`: a shorter vector counts as 0


def nd_loss(
    student_features: jax.Array,
    teacher_features: jax.Array,
    labels: jax.Array,
    centers: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Norm and direction in one term, per example.

    While the student's feature is shorter than the teacher's, its part along the direction of the class mean counts,
    which rewards length and direction; once it is as long, the cosine alone. Added to any distillation loss.
    Gradients flow through the student's length, and stop at the teacher's features and at the means.

        L = 1 - <s, e_y> / max(|s|, |t|),   e_y = c_y / |c_y|

    Args:
      student_features: s, `[..., D]`, what the classifier reads, mapped to the teacher's width where it differs.
      teacher_features: t, `[..., D]`.
      labels: `[...]` integers y in [0, C); a negative one marks an example to ignore: it counts 0.
      centers: c, `[C, D]`, the mean of the teacher's features over the training examples of each class, as from
        `core.class_means`; a class without examples has mean 0, and loss 1 without gradient.
      where: bool or {0, 1}, broadcastable to `[...]`, the examples that count; None means all.

    Returns:
      `[...]` in [0, 2], float32 (float64 for float64 features); 0 for an example that does not count, 1 where
      both features are 0.

    Raises:
      ValueError: if the shapes do not fit, or the labels are not integers or no classes.

    Reference: Wang et al., Improving Knowledge Distillation via Regularizing Feature Norm and Direction, 2023, the
      loss ND of KD++. As in the authors' code the student's length is taken where both are equal, so that length is
      not rewarded there. Their projector is BatchNorm, Dropout 0.5, Linear.

    >>> s, t, centers = jnp.array([[1.0, 0.0], [5.0, 0.0]]), jnp.array([[2.0, 0.0]] * 2), jnp.array([[3.0, 0.0]])
    >>> nd_loss(s, t, jnp.array([0, 0]), centers).tolist()
    [0.5, 0.0]
    """
    _check_pair(student_features, teacher_features)
    s, e, counts = _towards(student_features, labels, centers, where)
    t = jnp.where(counts[..., None], as_float(jax.lax.stop_gradient(teacher_features)), 0.0)
    own, goal = _length(s), _length(t)
    longest = jnp.where(own >= goal, own, goal)  # maximum would halve the gradient of a tie
    none = longest == 0  # not its negation by >, so that a NaN stays one
    along = jnp.where(none, 0.0, jnp.sum(s * e, axis=-1))
    return jnp.where(counts, 1 - along / jnp.where(none, 1.0, longest), 0.0)


def direction_loss(
    student_features: jax.Array, labels: jax.Array, centers: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """The direction alone, per example: one minus the cosine to the teacher's class mean.

    What `nd_loss` is for a student at least as long as its teacher. Gradients stop at the means.

        L = 1 - cos(s, c_y)

    Args:
      student_features: s, `[..., D]`.
      labels: `[...]` integers y in [0, C); a negative one marks an example to ignore: it counts 0.
      centers: c, `[C, D]`, see `nd_loss`.
      where: bool or {0, 1}, broadcastable to `[...]`, the examples that count; None means all.

    Returns:
      `[...]` in [0, 2], float32 (float64 for float64 features); 1 where the feature or the mean is 0.

    Raises:
      ValueError: if the shapes do not fit, or the labels are not integers or no classes.

    Reference: Wang et al., Improving Knowledge Distillation via Regularizing Feature Norm and Direction, 2023; one
      half of ND.

    >>> direction_loss(jnp.array([[1.0, 0.0]]), jnp.array([1]), jnp.array([[1.0, 0.0], [0.0, 2.0]])).tolist()
    [1.0]
    """
    s, e, counts = _towards(student_features, labels, centers, where)
    return jnp.where(counts, 1 - jnp.sum(normalize(s) * e, axis=-1), 0.0)


def norm_loss(
    student_features: jax.Array, teacher_features: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """The norm alone, per example: how much the student's feature is shorter than the teacher's.

    What `nd_loss` is for a student that points to the class mean already. Gradients stop at the teacher's features;
    a student's feature that is 0 has no direction to grow in, and no gradient.

        L = 1 - |s| / max(|s|, |t|)

    Args:
      student_features: s, `[..., D]`.
      teacher_features: t, `[..., D]`.
      where: bool or {0, 1}, broadcastable to `[...]`, the examples that count; None means all.

    Returns:
      `[...]` in [0, 1], float32 (float64 for float64 features).

    Raises:
      ValueError: if the shapes do not fit.

    Reference: Wang et al., Improving Knowledge Distillation via Regularizing Feature Norm and Direction, 2023; one
      half of ND.

    >>> norm_loss(jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 20.0]])).tolist()
    [0.75]
    """
    _check_pair(student_features, teacher_features)
    counts = full_mask(where, np.shape(student_features)[:-1], "examples")
    s = jnp.where(counts[..., None], as_float(student_features), 0.0)
    t = jnp.where(counts[..., None], as_float(jax.lax.stop_gradient(teacher_features)), 0.0)
    own, goal = _length(s), _length(t)
    is_short = ~(own >= goal)  # so that a NaN stays one
    return jnp.where(is_short, 1 - own / jnp.where(is_short, goal, 1.0), 0.0)


def _towards(
    features: jax.Array, labels: jax.Array, centers: jax.Array, where: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Features, the unit vector of the class mean of each, and which count; 0 where they do not."""
    _check_centers(features, labels, centers)
    classes = np.shape(centers)[0]
    labels = as_integers("labels", labels, "class indices in [0, C)", classes, where=where, ignore=IGNORED)
    counts = full_mask(where, np.shape(labels), "labels") & (labels >= 0) & (labels < classes)
    directions = normalize(jax.lax.stop_gradient(centers))
    row = jnp.where(counts, labels, 0)
    toward = directions[row] if classes else jnp.zeros(np.shape(features), directions.dtype)
    keep = counts[..., None]
    return jnp.where(keep, as_float(features), 0.0), jnp.where(keep, toward, 0.0), counts


def _length(x: jax.Array) -> jax.Array:
    """Euclidean length, with gradient 0 at 0."""
    squares = jnp.sum(jnp.square(x), axis=-1)
    is_zero = squares <= _SHORTEST**2
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squares)))


def _check_pair(student_features: jax.Array, teacher_features: jax.Array) -> None:
    student, teacher = np.shape(student_features), np.shape(teacher_features)
    if not student or student != teacher:
        raise InputError(
            f"student_features {student} and teacher_features {teacher} must have the same shape [..., D]; "
            "apply the projector first"
        )


def _check_centers(features: jax.Array, labels: jax.Array, centers: jax.Array) -> None:
    shape, means = np.shape(features), np.shape(centers)
    if not shape or len(means) != 2 or means[1] != shape[-1]:
        raise InputError(f"centers {means} must be [C, D] with the width D of features [..., D] {shape}")
    if np.shape(labels) != shape[:-1]:
        raise InputError(
            f"labels {np.shape(labels)} must have the leading shape of features [..., D] {shape}"
        )

"""Label augmentation: one softmax over (class, transformation), averaged over the copies, and learned by one head.

All n transformations are applied to every image: row `b n + k` is copy k of image b, column `c n + k` of the joint
logits is class c seen as copy k, and copy 0 is the image as it is.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, cross_entropy, forward_kl, masked_mean
from jaxlab.core.check import IGNORED, InputError, as_integers, check_positive, full_mask


class LabelAugmentationTerms(NamedTuple):
    """What `self_distilled_loss` adds up, per image, each before its weight.

    Attributes:
      joint: cross-entropy of the joint labels, the mean over the copies.
      single: cross-entropy of the single head.
      distillation: `T^2 KL(aggregated || single)`.

    >>> LabelAugmentationTerms(jnp.zeros(1), jnp.ones(1), jnp.ones(1))._fields
    ('joint', 'single', 'distillation')
    """

    joint: jax.Array
    single: jax.Array
    distillation: jax.Array


def joint_labels(labels: jax.Array, *, copies: int) -> jax.Array:
    """Labels of the pair of class and transformation, for every copy of every image.

        y_b n + k

    Args:
      labels: `[B]` integers; a negative one marks an image to ignore.
      copies: n, static, at least 1.

    Returns:
      `[B n]` int32, row `b n + k` of copy k of image b; -1 for a negative label.

    Raises:
      ValueError: if labels are not `[B]` integers, or there is no copy.

    Reference: Lee, Hwang and Shin, Self-supervised Label Augmentation via Input Transformations, 2020, section 2.2.

    >>> joint_labels(jnp.array([1, -1]), copies=2).tolist()
    [2, 3, -1, -1]
    """
    _check_copies(copies)
    if np.ndim(labels) != 1:
        raise InputError(f"labels must be [B], got {np.shape(labels)}")
    labels = as_integers("labels", labels, "class indices, negative for an image to ignore")[:, None]
    joint = labels * copies + jnp.arange(copies, dtype=labels.dtype)
    return jnp.where(labels < 0, -1, joint).reshape(-1).astype(jnp.int32)


def aggregate_logits(joint_logits: jax.Array, *, copies: int) -> jax.Array:
    """Class logits of an image from all its copies: the mean of what each copy says of the class seen as that copy.

    Logits are averaged, not probabilities. Gradients flow into the aligned columns.

        A_bc = 1/n sum_k J_{b n + k, c n + k}

    Args:
      joint_logits: `[B n, C n]`.
      copies: n, static.

    Returns:
      `[B, C]` float32 (float64 for float64 input).

    Raises:
      ValueError: if rows or columns are not a multiple of n.

    Reference: Lee, Hwang and Shin, Self-supervised Label Augmentation via Input Transformations, 2020, equation 5.

    >>> aggregate_logits(jnp.array([[1.0, 9.0, 2.0, 9.0], [9.0, 3.0, 9.0, 6.0]]), copies=2).tolist()
    [[2.0, 4.0]]
    """
    return jnp.mean(_aligned(joint_logits, copies), axis=-1)


def single_logits(joint_logits: jax.Array, *, copies: int) -> jax.Array:
    """Class logits of an image as it is: its own row, and the columns of the class seen as it is.

        S_bc = J_{b n, c n}

    Args:
      joint_logits: `[B n, C n]`.
      copies: n, static.

    Returns:
      `[B, C]` float32 (float64 for float64 input).

    Raises:
      ValueError: if rows or columns are not a multiple of n.

    Reference: Lee, Hwang and Shin, Self-supervised Label Augmentation via Input Transformations, 2020, section 2.2.

    >>> single_logits(jnp.array([[1.0, 9.0, 2.0, 9.0], [9.0, 3.0, 9.0, 6.0]]), copies=2).tolist()
    [[1.0, 2.0]]
    """
    return _aligned(joint_logits, copies)[..., 0]


def joint_label_loss(
    joint_logits: jax.Array, labels: jax.Array, *, copies: int, where: jax.Array | None = None
) -> jax.Array:
    """Cross-entropy of the joint label, the mean over the copies of an image, per image.

    The sum over the copies, which the authors take on large data sets, is n times as much.

        -1/n sum_k log softmax(J_{b n + k})_{y_b n + k}

    Args:
      joint_logits: `[B n, C n]`, any finite size.
      labels: `[B]` integers in [0, C); a negative one marks an image to ignore.
      copies: n, static.
      where: `[B]` bool or {0, 1}, the images that count; None means all.

    Returns:
      `[B]` nats, float32 (float64 for float64 logits), at least 0; 0 for an image that does not count.

    Raises:
      ValueError: if the shapes do not belong together or labels are not integers in [0, C).

    Reference: Lee, Hwang and Shin, Self-supervised Label Augmentation via Input Transformations, 2020, equation 4.

    >>> print(joint_label_loss(jnp.zeros((2, 4)), jnp.array([1]), copies=2).round(4))  # log 4
    [1.3863]
    """
    rows, classes = _sizes(joint_logits, copies)
    labels, counts = _class_labels(labels, rows, classes, where)
    each = jnp.repeat(counts, copies)[:, None]
    losses = cross_entropy(joint_logits, joint_labels(labels, copies=copies), classes=each)
    return masked_mean(losses.reshape(rows, copies), axis=1)


def self_distilled_loss(
    joint_logits: jax.Array,
    single_head_logits: jax.Array,
    labels: jax.Array,
    *,
    copies: int,
    temperature: float | jax.Array = 1.0,
    distillation_weight: float | jax.Array = 1.0,
    where: jax.Array | None = None,
) -> tuple[jax.Array, LabelAugmentationTerms]:
    """Label augmentation whose ensemble of copies teaches a head that needs one pass (SLA with SD), per image.

    Gradients stop at the aggregated logits: the joint head learns from its labels alone.

        L = L_joint + CE(s, y) + weight T^2 KL(softmax(A / T) || softmax(s / T)),   A = aggregate_logits(J)

    Args:
      joint_logits: `[B n, C n]`, any finite size.
      single_head_logits: `[B, C]` of a second head on the images as they are.
      labels: `[B]` integers in [0, C); a negative one marks an image to ignore.
      copies: n, static.
      temperature: T, a positive scalar; may be traced.
      distillation_weight: may be traced.
      where: `[B]` bool or {0, 1}, the images that count; None means all.

    Returns:
      `[B]` nats, float32 (float64 for float64 logits), at least 0, and its terms; 0 for an image that does not count.

    Raises:
      ValueError: if the shapes do not belong together, labels are not integers in [0, C), or a static temperature is
        not positive.

    Reference: Lee, Hwang and Shin, Self-supervised Label Augmentation via Input Transformations, 2020, equation 6.

    >>> loss, terms = self_distilled_loss(jnp.zeros((2, 4)), jnp.zeros((1, 2)), jnp.array([1]), copies=2)
    >>> print(loss.round(4), terms.distillation)  # log 4 + log 2
    [2.0794] [0.]
    """
    rows, classes = _sizes(joint_logits, copies)
    if np.shape(single_head_logits) != (rows, classes):
        raise InputError(f"single_head_logits {np.shape(single_head_logits)} must be {(rows, classes)}")
    check_positive("temperature", temperature)
    labels, counts = _class_labels(labels, rows, classes, where)
    teacher = jax.lax.stop_gradient(aggregate_logits(joint_logits, copies=copies))
    teacher, student = teacher / temperature, as_float(single_head_logits) / temperature
    terms = LabelAugmentationTerms(
        joint_label_loss(joint_logits, labels, copies=copies, where=where),
        cross_entropy(single_head_logits, labels, classes=counts[:, None]),
        temperature**2 * forward_kl(student, teacher, classes=counts[:, None]),
    )
    return terms.joint + terms.single + distillation_weight * terms.distillation, terms


def _check_copies(copies: int) -> None:
    if copies < 1:
        raise InputError(f"copies must be at least 1, got {copies}")


def _sizes(joint_logits: jax.Array, copies: int) -> tuple[int, int]:
    _check_copies(copies)
    shape = np.shape(joint_logits)
    if len(shape) != 2 or shape[0] % copies or shape[1] % copies:
        raise InputError(f"joint_logits {shape} must be [B n, C n] for {copies} copies n")
    return shape[0] // copies, shape[1] // copies


def _class_labels(
    labels: jax.Array, rows: int, classes: int, where: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """The labels, and which images count: those inside `where` whose label is a class."""
    if np.shape(labels) != (rows,):
        raise InputError(f"labels {np.shape(labels)} must be [B] of {rows} images")
    labels = as_integers("labels", labels, "class indices", classes, where=where, ignore=IGNORED)
    counts = full_mask(where, (rows,), "images") & (labels >= 0) & (labels < classes)
    return jnp.where(counts, labels, -1), counts


def _aligned(joint_logits: jax.Array, copies: int) -> jax.Array:
    """`[B, C, n]`: what copy k says of the class seen as copy k."""
    rows, classes = _sizes(joint_logits, copies)
    logits = as_float(joint_logits).reshape(rows, copies, classes, copies)
    return jnp.diagonal(logits, axis1=1, axis2=3)

"""One branch predicts the other, which receives no gradient: BYOL, SimSiam and DINO."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, cosine_similarity, masked_log_softmax, masked_mean, masked_softmax
from jaxlab.core.check import InputError, check_fraction, check_positive, full_mask


def byol_loss(
    prediction1: jax.Array,
    prediction2: jax.Array,
    target1: jax.Array,
    target2: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Distance of the student's predictions from the moving-average teacher's other views (BYOL), per example.

    Gradients stop at the targets.

        |q1 - t2|^2 + |q2 - t1|^2 = 4 - 2 cos(q1, t2) - 2 cos(q2, t1),   vectors scaled to length 1

    Args:
      prediction1: `[N, D]` what the student's predictor makes of the first views, of any length.
      prediction2: `[N, D]` of the second views.
      target1: `[N, D]` teacher's projections of the first views.
      target2: `[N, D]` of the second views.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.

    Returns:
      `[N]` float32 (float64 for float64 input) in [0, 8]; 0 for an example that does not count. A zero vector has
      cosine 0 with all others.

    Raises:
      ValueError: if the four do not share a shape `[N, D]`, or `where` does not broadcast to `[N]`.

    Reference: Grill et al., Bootstrap Your Own Latent, 2020, equation 2 and its mirror image.

    >>> x, y = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 1.0]])
    >>> byol_loss(x, y, y, x).tolist(), byol_loss(x, y, x, y).tolist()
    ([0.0], [4.0])
    """
    first, second = _crossed(prediction1, prediction2, target1, target2, where)
    return jnp.where(full_mask(where, first.shape, "rows"), 4.0 - 2.0 * (first + second), 0.0)


def simsiam_loss(
    prediction1: jax.Array,
    prediction2: jax.Array,
    z1: jax.Array,
    z2: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Negative cosine of each view's prediction with the other view's projection (SimSiam), per example.

    Both sides are the same net; gradients stop at the projections, `z1` and `z2`.

        -1/2 cos(p1, z2) - 1/2 cos(p2, z1)

    Args:
      prediction1: `[N, D]` what the predictor makes of `z1`, of any length.
      prediction2: `[N, D]` of `z2`.
      z1: `[N, D]` projections of the first views.
      z2: `[N, D]` of the second views.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.

    Returns:
      `[N]` float32 (float64 for float64 input) in [-1, 1]; 0 for an example that does not count.

    Raises:
      ValueError: if the four do not share a shape `[N, D]`, or `where` does not broadcast to `[N]`.

    Reference: Chen and He, Exploring Simple Siamese Representation Learning, 2021, equations 1 to 4.

    >>> x, y = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 1.0]])
    >>> simsiam_loss(x, y, y, x).tolist()
    [-1.0]
    """
    first, second = _crossed(prediction1, prediction2, z1, z2, where)
    return -0.5 * (first + second)


def dino_loss(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    center: jax.Array,
    *,
    student_temperature: float | jax.Array = 0.1,
    teacher_temperature: float | jax.Array = 0.04,
    where: jax.Array | None = None,
) -> jax.Array:
    """Cross-entropy of the student's views under the teacher's sharpened, centred other views (DINO), per example.

    The first G of the student's views are those that the teacher sees; a pair of the same view is left out. Gradients
    stop at the teacher's logits and at the center.

        mean over g, k != g of -sum_d softmax((t_g - c) / T_t)_d log softmax(s_k / T_s)_d

    Args:
      student_logits: `[K, N, D]` over D prototypes, K views, the teacher's first.
      teacher_logits: `[G, N, D]`, G <= K, usually two.
      center: `[D]`, see `dino_center_update`.
      student_temperature: a positive scalar; may be traced.
      teacher_temperature: a positive scalar, warmed up from 0.04 to 0.07 in the paper; may be traced.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.

    Returns:
      `[N]` nats, float32 (float64 for float64 input), at least 0; 0 for an example that does not count.

    Raises:
      ValueError: if the shapes do not fit, K is below 2, or a static temperature is not positive.

    Reference: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, 2021, algorithm 1 with the
      multi-crop of equation 3.

    >>> student, teacher = jnp.zeros((3, 1, 4)), jnp.ones((2, 1, 4))
    >>> print(dino_loss(student, teacher, jnp.zeros(4)).round(4))  # log 4
    [1.3863]
    """
    views, shape = np.shape(student_logits), np.shape(teacher_logits)
    if len(views) != 3 or views[0] < 2 or len(shape) != 3 or views[1:] != shape[1:] or shape[0] > views[0]:
        raise InputError(
            f"student_logits {views} must be [K, N, D] with K at least 2, teacher_logits {shape} [G, N, D], G <= K"
        )
    if np.shape(center) != shape[2:]:
        raise InputError(f"center {np.shape(center)} must be [D] of teacher_logits {shape}")
    check_positive("student_temperature", student_temperature)
    check_positive("teacher_temperature", teacher_temperature)
    rows = full_mask(where, shape[1:2], "examples")
    teacher = as_float(jax.lax.stop_gradient(teacher_logits)) - as_float(jax.lax.stop_gradient(center))
    teacher = masked_softmax(jnp.where(rows[:, None], teacher, 0.0) / teacher_temperature)
    student = jnp.where(rows[:, None], as_float(student_logits), 0.0) / student_temperature
    cross = -jnp.einsum("gnd,knd->gkn", teacher, masked_log_softmax(student))
    others = jnp.arange(shape[0])[:, None] != jnp.arange(views[0])
    return jnp.where(rows, masked_mean(cross, where=others[..., None], axis=(0, 1)), 0.0)


def dino_center_update(
    center: jax.Array,
    teacher_logits: jax.Array,
    *,
    decay: float | jax.Array = 0.9,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """The moving average of the teacher's logits over batches, which `dino_loss` subtracts. No gradient passes.

        decay c + (1 - decay) mean_{g, i} t_gi

    Args:
      center: `[D]`, zeros at first.
      teacher_logits: `[G, N, D]`.
      decay: in [0, 1]; may be traced.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global value.

    Returns:
      `[D]` of the center's dtype; the center as it was if no example counts.

    Raises:
      ValueError: if the shapes do not fit or a known decay is outside [0, 1].

    Reference: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, 2021, equation 4.

    >>> dino_center_update(jnp.zeros(2), jnp.array([[[1.0, 2.0]], [[3.0, 2.0]]]), decay=0.5).tolist()
    [1.0, 1.0]
    """
    shape = np.shape(teacher_logits)
    if len(shape) != 3 or np.shape(center) != shape[2:]:
        raise InputError(f"teacher_logits {shape} must be [G, N, D] and center {np.shape(center)} [D]")
    check_fraction("decay", decay)
    rows = full_mask(where, shape[1:2], "examples")[:, None]
    logits = as_float(jax.lax.stop_gradient(teacher_logits))
    options = {"where": rows, "axis": (0, 1), "axis_name": axis_name}
    mean = masked_mean(logits, **options)
    any_row = masked_mean(jnp.ones_like(logits), **options) > 0
    center = jax.lax.stop_gradient(jnp.asarray(center))
    return jnp.where(any_row, decay * center + (1 - decay) * mean, center).astype(center.dtype)


def _crossed(prediction1, prediction2, target1, target2, where):
    """Cosine of each prediction with the other view's target, `[N]` each; 0 where an example does not count."""
    shapes = [np.shape(x) for x in (prediction1, prediction2, target1, target2)]
    if len(shapes[0]) != 2 or len(set(shapes)) > 1:
        raise InputError(
            f"predictions and targets must share a shape [N, D], got {', '.join(map(str, shapes))}"
        )
    rows = full_mask(where, shapes[0][:1], "rows of the predictions")[:, None]
    kept = lambda x: jnp.where(rows, as_float(x), 0.0)
    fixed = lambda x: jax.lax.stop_gradient(kept(x))
    return (
        cosine_similarity(kept(prediction1), fixed(target2)),
        cosine_similarity(kept(prediction2), fixed(target1)),
    )

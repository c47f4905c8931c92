"""Dynamic contrastive distillation for retrieval: the teacher picks hard pairs and says where effort goes."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, entropy, masked_mean, masked_sum
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import InputError, as_integers, check_fraction, check_positive, full_mask


def select_hard(teacher_scores: jax.Array, *, num_negatives: int = 7) -> jax.Array:
    """Which candidates the student is to score: the match, then the false ones that the teacher likes best.

    No gradient is involved.

        index = (0, the m columns j > 0 with the largest t_j, in falling order)

    Args:
      teacher_scores: `[..., K]`, the match in column 0, any size.
      num_negatives: m, from 0 to K - 1.

    Returns:
      `[..., m + 1]` int32 columns, distinct, 0 first.

    Raises:
      ValueError: if there are fewer than m false candidates, or the score of one is NaN.

    Reference: Rao et al., DCD: Dynamic Contrastive Distillation for Image-Text Retrieval, 2022. The authors keep the
      best m + 1 of 16 and force the match in, which selects the same pairs.

    >>> select_hard(jnp.array([[0.0, 3.0, 1.0, 2.0]]), num_negatives=2).tolist()
    [[0, 1, 3]]
    """
    shape = np.shape(teacher_scores)
    if not shape or not 0 <= num_negatives < shape[-1]:
        raise InputError(
            f"num_negatives is {num_negatives}: it must be between 0 and one less than the candidates of "
            f"teacher_scores {shape}"
        )
    scores = jax.lax.stop_gradient(as_float(teacher_scores))[..., 1:]
    check_no_nan("teacher_scores", scores)
    hardest = jax.lax.top_k(scores, num_negatives)[1] + 1
    match = jnp.zeros((*shape[:-1], 1), hardest.dtype)
    return jnp.concatenate([match, hardest], axis=-1).astype(jnp.int32)


def scores_of(teacher_scores: jax.Array, index: jax.Array, *, authors_code: bool = False) -> jax.Array:
    """The teacher's scores of the pairs that the student scores, in the student's order.

        t'_j = t_index(j)

    Args:
      teacher_scores: `[..., K]`.
      index: `[..., m + 1]` integers in [0, K), as from `select_hard`.
      authors_code: give the teacher's m + 1 best scores in falling order instead, whatever pairs they belong to, as
        the released code does. Wherever the match is not the teacher's first choice, the student is then taught the
        score of another pair.

    Returns:
      `[..., m + 1]`, without gradient, float32 (float64 for float64 scores).

    Raises:
      ValueError: if the leading shapes differ, or `index` is not of integers in [0, K).

    Reference: Rao et al., DCD: Dynamic Contrastive Distillation for Image-Text Retrieval, 2022; compute_irtr of the
      released METER code.

    >>> scores = jnp.array([[0.5, 3.0, 1.0, 2.0]])
    >>> index = select_hard(scores, num_negatives=2)
    >>> scores_of(scores, index).tolist(), scores_of(scores, index, authors_code=True).tolist()
    ([[0.5, 3.0, 2.0]], [[3.0, 2.0, 1.0]])
    """
    scores = jax.lax.stop_gradient(as_float(teacher_scores))
    index = as_integers("index", index, "columns of teacher_scores", (scores.shape or (0,))[-1])
    if not index.ndim or index.shape[:-1] != scores.shape[:-1]:
        raise InputError(
            f"teacher_scores {scores.shape} and index {index.shape} must share their leading shape"
        )
    if authors_code:
        return jax.lax.top_k(scores, index.shape[-1])[0]
    return jnp.take_along_axis(scores, index, axis=-1)


def entropy_weights(
    teacher_scores: jax.Array,
    *,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Share of the batch's uncertainty that each row holds; batch-level.

    A row over which the teacher hesitates weighs more. No gradient is involved.

        w_b = H_b / sum_b' H_b',   H_b = entropy of softmax(t_b)

    Args:
      teacher_scores: `[B, K]`, any finite size.
      where: bool or {0, 1} `[B]`, the rows that exist; None means all.
      axis_name: mapped axis over which the batch is split; the shares are those of the global batch.

    Returns:
      `[B]`, sum 1, float32 (float64 for float64 scores); equal shares where no row is uncertain, 0 where masked.

    Raises:
      ValueError: if the scores are not `[B, K]`, or `where` does not broadcast.

    Reference: Rao et al., DCD: Dynamic Contrastive Distillation for Image-Text Retrieval, 2022. The authors' code
      takes sum p log p over its total, the same number but for a NaN where a probability underflows.

    >>> entropy_weights(jnp.array([[0.0, 0.0], [1e4, 0.0]])).tolist()
    [1.0, 0.0]
    """
    scores = _rows(teacher_scores, "teacher_scores")
    keep = full_mask(where, scores.shape[:1], "batch")
    scores = jnp.where(keep[:, None], jax.lax.stop_gradient(scores), 0.0)
    hesitation = jnp.where(keep, jnp.maximum(entropy(scores), 0.0), 0.0)
    total = masked_sum(hesitation, axis_name=axis_name)
    count = masked_sum(keep, axis_name=axis_name).astype(total.dtype)
    even = keep / jnp.maximum(count, 1)
    sure = total == 0  # not total > 0, which a NaN would pass by
    return jnp.where(sure, even, hesitation / jnp.where(sure, 1.0, total)).astype(scores.dtype)


def dcd_loss(
    student_scores: jax.Array,
    teacher_scores: jax.Array,
    *,
    temperature: float | jax.Array = 1.0,
    alpha: float | jax.Array = 0.2,
    dynamic: bool = True,
    authors_code: bool = False,
    where: jax.Array | None = None,
    axis_name: str | tuple[str, ...] | None = None,
) -> jax.Array:
    """Dynamic contrastive distillation, one number for the batch, whose rows are weighted against each other.

    The student's scores follow the teacher's, more closely where the teacher is sure; and the match is told from the
    false candidates, with more weight where it is not. Gradients stop at the teacher's scores.

        L = alpha * T^2 * sum_b v_b mean_j (t_bj / T - s_bj / T)^2 + (1 - alpha) * sum_b w_b mean_j BCE(s_bj, j = 0)
        w_b = `entropy_weights`,   v = softmax over the batch of (1 - w_b)^2

    Args:
      student_scores: `[B, K]`, the match in column 0, any finite size.
      teacher_scores: `[B, K]`, of the same pairs in the same order (`scores_of`).
      temperature: T, a positive scalar; it cancels, as the difference is linear.
      alpha: weight of the distillation, in [0, 1]; may be traced.
      dynamic: False weighs all rows alike.
      authors_code: the released code reduces the squared error to one mean before it weighs the rows, so that v does
        nothing; True does the same.
      where: bool or {0, 1} `[B]`, the rows that exist; None means all.
      axis_name: mapped axis over which the batch is split; every device returns the global loss.

    Returns:
      A scalar, float32 (float64 for float64 scores); 0 where no row exists.

    Raises:
      ValueError: if the shapes differ or a static hyper-parameter is out of range.

    Reference: Rao et al., DCD: Dynamic Contrastive Distillation for Image-Text Retrieval, 2022; distillation_loss of
      the released METER code.

    >>> student, teacher = jnp.array([[1.0, 0.0], [0.0, 0.0]]), jnp.array([[2.0, 0.0], [0.0, 0.0]])
    >>> round(dcd_loss(student, teacher, alpha=1.0, dynamic=False).item(), 4)  # ((1 + 0) / 2 + 0) / 2
    0.25
    """
    student, teacher = _rows(student_scores, "student_scores"), _rows(teacher_scores, "teacher_scores")
    if student.shape != teacher.shape:
        raise InputError(
            f"student_scores {student.shape} and teacher_scores {teacher.shape} must have the same shape [B, K]"
        )
    check_positive("temperature", temperature)
    check_fraction("alpha", alpha)
    keep = full_mask(where, student.shape[:1], "batch")
    student, teacher = (jnp.where(keep[:, None], x, 0.0) for x in (student, jax.lax.stop_gradient(teacher)))
    told = jnp.mean(_binary_cross_entropy(student), axis=-1)
    followed = jnp.mean(jnp.square((teacher - student) / temperature), axis=-1) * temperature**2
    share = {"where": keep, "axis_name": axis_name}
    if not dynamic:
        return alpha * masked_mean(followed, **share) + (1 - alpha) * masked_mean(told, **share)
    weights = entropy_weights(teacher, **share)
    effort = jnp.exp(jnp.square(1 - weights) - 1)
    effort = effort / jnp.maximum(masked_sum(effort, **share), jnp.finfo(effort.dtype).tiny)
    d_loss = masked_mean(followed, **share) if authors_code else masked_sum(effort * followed, **share)
    return alpha * d_loss + (1 - alpha) * masked_sum(weights * told, **share)


def _rows(scores: jax.Array, name: str) -> jax.Array:
    if np.ndim(scores) != 2 or np.shape(scores)[1] == 0:
        raise InputError(f"{name} {np.shape(scores)} must be [B, K] with at least one candidate")
    return as_float(scores)


def _binary_cross_entropy(scores: jax.Array) -> jax.Array:
    """Of every pair's own logit, the match in column 0."""
    is_match = jnp.arange(scores.shape[-1]) == 0
    return jax.nn.softplus(jnp.where(is_match, -scores, scores))

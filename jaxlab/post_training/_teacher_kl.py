"""How far the student is from its teacher, on tokens that the student sampled.

`log_probs` and `teacher_log_probs` are `[..., T]` log-probabilities of the same sampled tokens. The teacher never
receives a gradient.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, reverse_kl
from jaxlab.core.check import InputError, check_least, full_mask
from jaxlab.post_training._contracts import check_tokens
from jaxlab.post_training._importance import log_ratio
from jaxlab.post_training._kl_estimators import kl_estimate


def kd_reward(
    log_probs: jax.Array,
    teacher_log_probs: jax.Array,
    *,
    where: jax.Array | None = None,
    clip: float | None = None,
) -> jax.Array:
    """How much more likely the teacher finds each token than the student does, as a reward.

    No gradient flows. Its expectation over the student's samples is minus the reverse KL divergence.

        R_t = log p_teacher(y_t) - log p_student(y_t)

    Args:
      log_probs: `[..., T]` the student's log-probabilities of its own tokens.
      teacher_log_probs: `[..., T]` the teacher's, of the same tokens.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      clip: bound on both sides, positive; None for none. One token that the teacher excludes can be -46.

    Returns:
      `[..., T]` float32 in nats, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree or `clip` is negative.

    Reference: KDRL, 2025, equation 5.

    >>> kd_reward(jnp.array([[-1.0, -3.0]]), jnp.array([[-9.0, -2.0]]), clip=5.0).tolist()
    [[-5.0, 1.0]]
    """
    check_tokens(log_probs=log_probs, teacher_log_probs=teacher_log_probs)
    check_least("clip", clip, 0)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    reward = -jax.lax.stop_gradient(log_ratio(log_probs, teacher_log_probs, keep))
    return reward if clip is None else jnp.clip(reward, -clip, clip)


def kd_rkl(
    log_probs: jax.Array,
    teacher_log_probs: jax.Array,
    *,
    kind: str = "k2",
    where: jax.Array | None = None,
    clip: float | None = None,
    value_clip: float | None = None,
) -> jax.Array:
    """Reverse KL divergence to the teacher, estimated per token, to be minimised.

    Gradients flow through `log_probs` only. For k2 the gradient is -R grad log_probs, in expectation that of the exact
    divergence; its size is |R|, and `clip` bounds that: the square turns into a straight line there
    (Huber's), and the gradient into the clipped `kd_reward`.

        k2 = R^2 / 2,   k3 = exp(R) - R - 1,   R = teacher_log_probs - log_probs

    Args:
      log_probs: `[..., T]` the student's log-probabilities of its own tokens.
      teacher_log_probs: `[..., T]` the teacher's, of the same tokens.
      kind: an estimator of `kl_estimate`.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      clip: for k2 only, the largest |R| in the gradient, positive; None for none.
      value_clip: for k3, as in `kl_estimate`; verl takes 10.

    Returns:
      `[..., T]` float32 in nats, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree, `kind` does not exist, or `clip` is negative or given for another kind.

    Reference: KDRL, 2025, equation 8 and appendix A.3. The authors' code is not public.

    >>> kd_rkl(jnp.array([[-1.0, -1.0]]), jnp.array([[-3.0, -1.0]])).tolist()
    [[2.0, 0.0]]
    """
    check_least("clip", clip, 0)
    estimate = kl_estimate(log_probs, teacher_log_probs, kind=kind, where=where, value_clip=value_clip)
    if clip is None:
        return estimate
    if kind != "k2":
        raise InputError(f"clip belongs to kind 'k2', got kind {kind!r}")
    size = kl_estimate(log_probs, teacher_log_probs, kind="abs", where=where)
    return jnp.where(size > clip, clip * (size - 0.5 * clip), estimate)


def exact_reverse_kl(
    student_logits: jax.Array, teacher_logits: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """Reverse KL divergence to the teacher at each token, summed over the whole vocabulary.

    What the estimators of `kd_rkl` are right about in expectation, without their variance, at the cost of both
    models' logits. It leaves out how a token changes later ones. Gradients stop at the teacher's logits.

        sum_v p_student(v) (log p_student(v) - log p_teacher(v))

    Args:
      student_logits: `[..., T, V]`.
      teacher_logits: `[..., T, V]`.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.

    Returns:
      `[..., T]` float32 in nats, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree.

    Reference: Agarwal et al., On-Policy Distillation of Language Models, 2024, section 3.

    >>> student, teacher = jnp.log(jnp.array([[0.25, 0.75]])), jnp.log(jnp.array([[0.5, 0.5]]))
    >>> round(exact_reverse_kl(student, teacher).item(), 4)
    0.1308
    """
    shape = np.shape(student_logits)
    if len(shape) < 2 or np.shape(teacher_logits) != shape:
        raise InputError(
            f"student_logits {shape} and teacher_logits {np.shape(teacher_logits)} must have one shape [..., T, V]"
        )
    keep = full_mask(where, shape[:-1], "the tokens")
    return reverse_kl(student_logits, jax.lax.stop_gradient(teacher_logits), classes=keep[..., None])


def mixture_log_probs(
    teacher_log_probs: jax.Array, *, weights: jax.Array | None = None, where: jax.Array | None = None
) -> jax.Array:
    """Log-probabilities of each token under a mixture of several teachers.

    The mixture is one more teacher: its log-probabilities go where one teacher's do. It gives a token to which any
    teacher gives some probability at least that, times the teacher's weight. No gradient flows.

        log sum_k w_k exp(teacher_log_probs_k)

    Args:
      teacher_log_probs: `[K, ..., T]` log-probabilities of the same sampled tokens under K teachers.
      weights: `[K]`, how much of the mixture each teacher is, or `[K, ...]` of each response, at least 0 and not all 0;
        they are divided by their sum. None for equal ones.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree or a weight is negative.

    Reference: linear opinion pool, Stone, The Opinion Pool, 1961.

    >>> mixed = mixture_log_probs(jnp.log(jnp.array([[0.5], [0.1]])), weights=jnp.array([3.0, 1.0]))
    >>> round(jnp.exp(mixed).item(), 4)
    0.4
    """
    teacher_log_probs = as_float(jnp.asarray(teacher_log_probs))
    shape = teacher_log_probs.shape
    if len(shape) < 2:
        raise InputError(f"teacher_log_probs {shape} must be [K, ..., T], one row per teacher")
    check_least("weights", weights, 0)
    weights = jnp.ones(shape[0]) if weights is None else jax.lax.stop_gradient(as_float(weights))
    if weights.shape not in (shape[:1], shape[:-1]):
        raise InputError(f"weights {weights.shape} must be [K] {shape[:1]} or [K, ...] {shape[:-1]}")
    keep = full_mask(where, shape[1:], "tokens")
    log_probs = jax.lax.stop_gradient(jnp.where(keep, teacher_log_probs, 0.0))
    weights = weights.reshape(weights.shape + (1,) * (len(shape) - weights.ndim))
    mixed = jax.nn.logsumexp(log_probs, axis=0, b=weights / jnp.sum(weights, axis=0, keepdims=True))
    return jnp.where(keep, mixed, 0.0)

"""Distillation and reinforcement learning in one policy gradient, on the student's own samples.

`log_probs` and `teacher_log_probs` `[..., T]` are log-probabilities of tokens that the student sampled. The
teacher never receives a gradient.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean
from jaxlab.core.check import as_bool, check_choice, check_least, full_mask
from jaxlab.post_training._aggregation import aggregate
from jaxlab.post_training._contracts import check_rows, check_tokens, per_token
from jaxlab.post_training._groups import AxisName, find_groups, group_max
from jaxlab.post_training._importance import token_importance_ratio
from jaxlab.post_training._surrogates import ppo_clip_loss
from jaxlab.post_training._teacher_kl import kd_reward, kd_rkl


def kd_keep_mask(
    correct: jax.Array,
    group: jax.Array,
    *,
    mode: str = "none",
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Which responses of the batch distil: where the student is right, the teacher may stay silent.

        none: all;   response: those that are wrong;   group: those of a group without any right one

    Args:
      correct: `[B]` bool or {0, 1}.
      group: `[B]` integers, one number per prompt, any.
      mode: "none", "response" or "group".
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` bool, false in rows left out.

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or `mode` does not exist.

    Reference: Xu et al., KDRL: Post-Training Reasoning LLMs via Unified Knowledge Distillation and Reinforcement
      Learning, 2025, section 3.4 (reward-guided masking).

    >>> correct, group = jnp.array([1, 0, 0, 0]), jnp.array([0, 0, 1, 1])
    >>> [kd_keep_mask(correct, group, mode=mode).tolist() for mode in ("response", "group")]
    [[False, True, True, True], [False, False, True, True]]
    """
    check_choice("mode", mode, ("none", "response", "group"))
    check_rows(correct=correct, group=group)
    right, groups = find_groups(as_bool("correct", correct), group, where, axis_name)
    if mode == "none":
        return groups.valid
    return groups.valid & ((right if mode == "response" else group_max(right, groups)) == 0)


def kdrl_loss(
    log_probs: jax.Array,
    old_log_probs: jax.Array,
    teacher_log_probs: jax.Array,
    advantage: jax.Array,
    mask: jax.Array,
    *,
    keep: jax.Array | None = None,
    beta: float | jax.Array = 5e-3,
    kind: str = "k2",
    denominator: str = "all",
    clip: float | None = None,
    value_clip: float | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    axis_name: AxisName = None,
) -> jax.Array:
    """Policy loss plus beta times the reverse KL to the teacher, over the whole batch.

    Reward and teacher act in one step on the same samples: where all rewards of a group are equal the
    advantage is 0 and the teacher still acts. Gradients flow through `log_probs` only. Meant on-policy, with
    `old_log_probs = stop_gradient(log_probs)`; further epochs on the same samples bias the KL term, which carries no
    ratio.

        L = token-mean(max(-A rho, -A clip(rho))) + beta sum(keep m K) / denominator

    Args:
      log_probs: `[B, T]` the student's log-probabilities of its own tokens.
      old_log_probs: `[B, T]` the same when the tokens were sampled.
      teacher_log_probs: `[B, T]` the teacher's, of the same tokens.
      advantage: `[B]` or `[B, T]`, as from `grpo_advantage`.
      mask: `[B, T]` bool or {0, 1}, the response's own tokens.
      keep: `[B]` or `[B, T]`, where the teacher counts, as from `kd_keep_mask`; None means all.
      beta: weight of the teacher, a number or a scalar as from `annealed_beta`.
      kind: an estimator of `kl_estimate`.
      denominator: "all" divides the KL term by the number of tokens, so its weight shrinks as fewer are kept;
        "kept" by the number of kept tokens.
      clip: as in `kd_rkl`.
      value_clip: as in `kd_rkl`.
      clip_low: width of the clip range of the ratio below 1; of no effect on-policy.
      clip_high: width above 1.
      axis_name: mapped axis to reduce over as well; every device returns the global number.

    Returns:
      Scalar float32, 0 if no token is valid.

    Raises:
      ValueError: if shapes do not agree or an option does not exist.

    Reference: Xu et al., KDRL: Post-Training Reasoning LLMs via Unified Knowledge Distillation and Reinforcement
      Learning, 2025, equation 8. Secondary sources give the token-mean; which denominator the authors take under a
      mask is not known.

    >>> log_probs, teacher_log_probs = jnp.array([[-1.0, -1.0]]), jnp.array([[-3.0, -1.0]])
    >>> kdrl_loss(log_probs, log_probs, teacher_log_probs, jnp.array([0.5]), jnp.ones((1, 2)), beta=0.125).item()
    -0.375
    """
    check_tokens(
        log_probs=log_probs, old_log_probs=old_log_probs, teacher_log_probs=teacher_log_probs, mask=mask
    )
    check_choice("denominator", denominator, ("all", "kept"))
    valid = full_mask(mask, np.shape(log_probs), "log_probs", name="mask")
    kept = valid & _kept(keep, valid)
    ratio = token_importance_ratio(log_probs, old_log_probs, where=valid)
    policy = ppo_clip_loss(ratio, advantage, where=valid, clip_low=clip_low, clip_high=clip_high)
    distil = kd_rkl(log_probs, teacher_log_probs, kind=kind, where=kept, clip=clip, value_clip=value_clip)
    counted = valid if denominator == "all" else kept
    teacher = masked_mean(distil, where=counted, axis_name=axis_name)
    return aggregate(policy, valid, axis_name=axis_name) + beta * teacher


def _kept(keep: jax.Array | None, valid: jax.Array) -> jax.Array:
    return valid if keep is None else per_token(keep, valid, "keep") != 0


def kd_shaped_advantage(
    advantage: jax.Array,
    log_probs: jax.Array,
    teacher_log_probs: jax.Array,
    *,
    beta: float | jax.Array = 5e-3,
    keep: jax.Array | None = None,
    where: jax.Array | None = None,
    clip: float | None = None,
) -> jax.Array:
    """Advantage plus beta times the teacher's reward, per token: KDRL as reward shaping.

    No gradient flows. On-policy, a policy loss with this advantage has the gradient of `kdrl_loss` with k2,
    denominator "all" and the same `clip`; off-policy the ratio and its clipping reach the teacher's part too.

        A_{i,t} = A_i + beta keep R_{i,t}

    Args:
      advantage: `[...]` or `[..., T]`.
      log_probs: `[..., T]` the student's log-probabilities of its own tokens.
      teacher_log_probs: `[..., T]` the teacher's, of the same tokens.
      beta: weight of the teacher.
      keep: `[...]` or `[..., T]`, where the teacher counts, as from `kd_keep_mask`; None means all.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      clip: bound on R, as in `kd_reward`.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree or `clip` is negative.

    Reference: KDRL, 2025, section 3 (reward shaping).

    >>> kd_shaped_advantage(jnp.array([0.5]), jnp.array([[-1.0]]), jnp.array([[-3.0]]), beta=0.125).tolist()
    [[0.25]]
    """
    check_tokens(log_probs=log_probs, teacher_log_probs=teacher_log_probs)
    valid = full_mask(where, np.shape(log_probs), "log_probs")
    reward = kd_reward(log_probs, teacher_log_probs, where=valid & _kept(keep, valid), clip=clip)
    return per_token(advantage, valid, "advantage") + jax.lax.stop_gradient(beta) * reward


def annealed_beta(
    step: jax.Array,
    *,
    initial: float | jax.Array = 5e-3,
    minimum: float | jax.Array = 1e-3,
    decrement: float | jax.Array = 5e-5,
) -> jax.Array:
    """Weight of the teacher that falls in a straight line: imitate first, then explore.

        beta(step) = max(initial - decrement step, minimum)

    Args:
      step: step counter of any shape, integer or float.
      initial: weight at step 0.
      minimum: weight that it never falls below.
      decrement: what each step takes away, at least 0.

    Returns:
      float32 of the shape of `step`.

    Raises:
      ValueError: if a static `decrement` is negative.

    Reference: KDRL, 2025 (linear annealing of beta); the numbers are from two secondary sources that agree.

    >>> [round(beta, 4) for beta in annealed_beta(jnp.array([0, 40, 80, 1000])).tolist()]
    [0.005, 0.003, 0.001, 0.001]
    """
    check_least("decrement", decrement, 0)
    return jnp.maximum(initial - decrement * as_float(step), minimum)

"""What shapes or filters rewards before they become advantages."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_sum
from jaxlab.core.check import check_least, check_together, full_mask
from jaxlab.post_training._contracts import check_tokens, zero_outside
from jaxlab.post_training._groups import AxisName, below_best, find_groups, group_max
from jaxlab.post_training._kl_estimators import kl_estimate


def overlong_penalty(
    length: jax.Array, *, max_length: int | float, buffer: int | float, factor: float = 1.0
) -> jax.Array:
    """Penalty for a response near the length limit, per response, to be added to its reward.

    A response cut off at the limit says nothing about its reasoning; a slope before the limit punishes
    length softly instead.

        0                                                up to max_length - buffer
        -factor (length - (max_length - buffer)) / buffer    up to max_length
        -factor                                          beyond

    Args:
      length: any shape, tokens in each response.
      max_length: the limit.
      buffer: the length of the slope, positive and at most `max_length`.
      factor: the penalty at the limit.

    Returns:
      The shape of `length`, float32 in [-factor, 0].

    Raises:
      ValueError: if `buffer` is not in (0, max_length].

    Reference: DAPO, 2025, equation 13. verl's reward manager goes on below -factor beyond the limit.

    >>> overlong_penalty(jnp.array([70, 90, 100]), max_length=100, buffer=20).tolist()
    [0.0, -0.5, -1.0]
    """
    inside = lambda buffer, max_length: (buffer > 0) & (buffer <= max_length)
    check_together("buffer must be in (0, max_length]", inside, buffer=buffer, max_length=max_length)
    over = (as_float(length) - (max_length - buffer)) / buffer
    return factor * jnp.clip(-over, -1.0, 0.0)


def dynamic_sampling_weights(
    rewards: jax.Array,
    group: jax.Array,
    *,
    rescale: bool = False,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Weight 1 for each response of a group whose rewards differ, 0 for the rest, over the whole batch.

    Groups that are all right or all wrong have no advantage. Weights keep the shapes that jit needs; to fill
    the batch up again with other prompts is for the sampler. No gradient flows.

        w_i = [max_group R > min_group R]

    Args:
      rewards: `[B]`, one number per response, before any shaping.
      group: `[B]` integers, one number per prompt, any.
      rescale: multiply kept rows by valid / kept, so that a mean over valid rows is one over kept rows.
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` float32; NaN in a group with a NaN reward.

    Raises:
      ValueError: if shapes do not agree or groups are not integers.

    Reference: DAPO, 2025, section 3.2 (dynamic sampling), equation 11.

    >>> dynamic_sampling_weights(jnp.array([1.0, 0.0, 1.0, 1.0]), jnp.array([0, 0, 1, 1])).tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    rewards, groups = find_groups(rewards, group, where, axis_name)
    spread = jnp.where(groups.valid, group_max(-below_best(rewards, groups), groups), 0.0)
    weights = jnp.where(jnp.isnan(spread), spread, (spread > 0).astype(rewards.dtype))
    if not rescale:
        return weights
    total = lambda rows: masked_sum(rows.astype(rewards.dtype), where=groups.valid, axis_name=axis_name)
    return weights * total(groups.valid) / jnp.maximum(total(weights), 1.0)


def kl_in_reward(
    token_rewards: jax.Array,
    log_probs: jax.Array,
    ref_log_probs: jax.Array,
    *,
    beta: float | jax.Array,
    kind: str = "k1",
    where: jax.Array | None = None,
) -> jax.Array:
    """Rewards per token less a penalty for leaving the reference.

    No gradient flows, so k1 is the estimator to take: its expected policy gradient is that of the reverse KL.

        r_t - beta k_t

    Args:
      token_rewards: `[..., T]`.
      log_probs: `[..., T]` log-probabilities of the sampled tokens under the policy that sampled.
      ref_log_probs: `[..., T]` the same under the reference.
      beta: weight of the penalty.
      kind: an estimator of `kl_estimate`.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.

    Returns:
      `[..., T]` in the unit of the rewards, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree or `kind` does not exist.

    Reference: Ouyang et al., Training Language Models to Follow Instructions with Human Feedback, 2022, equation 2,
      spread over the tokens.

    >>> log_probs, ref_log_probs = jnp.array([[-1.0, -1.0]]), jnp.array([[-3.0, -1.0]])
    >>> rewards = jnp.array([[0.0, 1.0]])
    >>> kl_in_reward(rewards, log_probs, ref_log_probs, beta=0.5).tolist()
    [[-1.0, 1.0]]
    """
    check_tokens(token_rewards=token_rewards, log_probs=log_probs, ref_log_probs=ref_log_probs)
    check_least("beta", beta, 0)
    keep = full_mask(where, np.shape(token_rewards), "token_rewards")
    penalty = kl_estimate(log_probs, ref_log_probs, kind=kind, where=keep)
    return jax.lax.stop_gradient(zero_outside(keep, token_rewards) - beta * penalty)

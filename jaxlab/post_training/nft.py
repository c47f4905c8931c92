"""Negative-aware fine-tuning: maximum likelihood on right answers and, by an implicit policy, on wrong ones.

    from jaxlab.post_training import nft

The policy that samples is a mixture of one for right and one for wrong answers. Training towards the right one makes
the wrong one known, `(pi_old - r pi) / (1 - r)`, and its likelihood can be maximised on wrong answers. Strictly
on-policy the gradient is that of GRPO or Dr. GRPO.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import as_bool, check_choice, check_fraction, check_least, check_together, full_mask
from jaxlab.post_training._contracts import check_rows, check_tokens, per_token
from jaxlab.post_training._groups import AxisName, group_statistics
from jaxlab.post_training._importance import log_ratio

PROMPT_WEIGHTS = (None, "dr_grpo", "grpo")
"""Whose weight of a prompt the gradient of `nft_loss` has, on-policy."""


def correct_rate(
    correct: jax.Array,
    group: jax.Array,
    *,
    margin: float = 0.02,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """The share of right answers in the group of each response, kept away from 0 and 1. No gradient flows.

        r = clip(mean_group correct, margin, 1 - margin)

    Args:
      correct: `[B]` bool or {0, 1}.
      group: `[B]` integers, one number per prompt, any.
      margin: in [0, 0.5].
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` float32. Groups that are all right or all wrong teach nothing: `dynamic_sampling_weights` finds them.

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or the margin is out of range.

    Reference: Bridging Supervised Learning and Reinforcement Learning in Math Reasoning (NFT), 2025, section 3.

    >>> jax.tree.map(lambda x: round(x, 2), correct_rate(jnp.array([1, 0, 1, 1]), jnp.array([0, 0, 1, 1])).tolist())
    [0.5, 0.5, 0.98, 0.98]
    """
    check_fraction("margin", margin)
    check_together("margin must be at most 0.5", lambda margin: margin <= 0.5, margin=margin)
    correct = as_bool("correct", correct).astype(jnp.float32)
    mean = group_statistics(correct, group, where=where, axis_name=axis_name).mean
    return jnp.clip(mean, margin, 1 - margin)


def nft_loss(
    log_probs: jax.Array,
    old_log_probs: jax.Array,
    correct: jax.Array,
    rate: jax.Array,
    *,
    where: jax.Array | None = None,
    negative_weight: float | jax.Array = 1.0,
    floor: float | jax.Array = 1.0,
    prompt_weight: str | None = "dr_grpo",
    log_clip: float = 10.0,
) -> jax.Array:
    """Negative log-likelihood of right answers under the policy and of wrong ones under the implicit one, per token.

    Gradients flow through `log_probs` only. Where the implicit ratio is below the floor its value is the floor and
    its gradient its own, so that a wrong token that has become likelier is still pushed down.

        right: -log rho;   wrong: -negative_weight log max((1 - r rho) / (1 - r), floor);   rho = exp(log_ratio)
        times 1, 1 - r ("dr_grpo") or sqrt((1 - r) / r) ("grpo")

    Args:
      log_probs: `[B, T]` log-probabilities of the sampled tokens under the policy that learns.
      old_log_probs: `[B, T]` the same under the policy that sampled.
      correct: `[B]` bool or {0, 1}.
      rate: `[B]` in (0, 1), r, as from `correct_rate`.
      where: bool or {0, 1}, broadcastable to `[B, T]`, the response's own tokens; None means all.
      negative_weight: 0 is rejection fine-tuning: right answers alone.
      floor: positive. With 1, the authors' setting, wrong answers have no positive loss.
      prompt_weight: one of `PROMPT_WEIGHTS`. On-policy the gradient is that of `gpg_loss` with the advantage of Dr.
        GRPO, or of GRPO with the population's deviation.
      log_clip: upper bound on the logarithm of the ratio, with gradient 0 beyond.

    Returns:
      `[B, T]` float32, 0 outside the mask. The authors sum over tokens with a constant: `aggregate(mode="constant")`.

    Raises:
      ValueError: if shapes do not agree, a bound is out of range, or `prompt_weight` does not exist.

    Reference: NFT, 2025, equations 7 to 11, and the authors' code.

    >>> log_probs = jnp.log(jnp.array([[0.5], [0.25]]))
    >>> given = nft_loss(log_probs, jnp.log(jnp.array([[0.25], [0.5]])), jnp.array([1, 0]), jnp.array([0.5, 0.5])
    ... )
    >>> jax.tree.map(lambda x: round(x, 3), given.tolist())
    [[-0.347], [-0.203]]
    """
    check_tokens(log_probs=log_probs, old_log_probs=old_log_probs)
    check_rows(correct=correct, rate=rate)
    check_choice("prompt_weight", prompt_weight, PROMPT_WEIGHTS)
    check_least("negative_weight", negative_weight, 0)
    check_least("log_clip", log_clip, 0)
    check_together("floor must be positive", lambda floor: floor > 0, floor=floor)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    rate = per_token(rate, jnp.ones_like(keep), "rate")
    log_rho = jnp.minimum(log_ratio(log_probs, old_log_probs, keep), log_clip)
    implicit = _at_least((1 - rate * jnp.exp(log_rho)) / (1 - rate), floor)
    right = as_bool("correct", correct)[:, None]
    loss = jnp.where(right, -log_rho, -negative_weight * jnp.log(implicit))
    weight = {None: 1.0, "dr_grpo": 1 - rate, "grpo": jnp.sqrt((1 - rate) / rate)}[prompt_weight]
    return jnp.where(keep, weight * loss, 0.0)


def _at_least(x: jax.Array, floor: float | jax.Array) -> jax.Array:
    """The larger of two, with the gradient of x."""
    return x + jax.lax.stop_gradient(jnp.maximum(x, floor) - x)

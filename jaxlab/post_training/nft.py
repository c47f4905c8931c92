"""Negative-aware fine-tuning: maximum likelihood on right answers and, by an implicit policy, on wrong ones.

    from jaxlab.post_training import nft

The policy that samples is a mixture of one for right and one for wrong answers. Training towards the right one makes
the wrong one known, `(pi_old - r pi) / (1 - r)`, and its likelihood can be maximised on wrong answers. Strictly
on-policy the gradient is that of GRPO or Dr. GRPO.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_sum
from jaxlab.core.check import as_bool, check_choice, check_fraction, check_least, check_together, full_mask
from jaxlab.post_training._contracts import check_rows, check_tokens
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
    _check_margin(margin)
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
    positive_floor: float | jax.Array = 0.0,
    prompt_weight: str | None = "dr_grpo",
    log_clip: float = 10.0,
    margin: float = 0.02,
) -> jax.Array:
    """Negative log-likelihood of right answers under the policy and of wrong ones under the implicit one, per token.

    Gradients flow through `log_probs` only. Where the implicit ratio is below the floor its value is the floor and
    its gradient its own, so that a wrong token that has become likelier is still pushed down.

        right: -log max(rho, positive_floor);   rho = exp(log_ratio)
        wrong: -negative_weight log max((1 - r rho) / (1 - r), floor)
        times 1, 1 - r ("dr_grpo") or sqrt((1 - r) / r) ("grpo")

    Args:
      log_probs: `[B, T]` log-probabilities of the sampled tokens under the policy that learns.
      old_log_probs: `[B, T]` the same under the policy that sampled.
      correct: `[B]` bool or {0, 1}.
      rate: `[B]` in [0, 1], r, as from `correct_rate`.
      where: bool or {0, 1}, broadcastable to `[B, T]`, the response's own tokens; None means all.
      negative_weight: 0 is rejection fine-tuning: right answers alone.
      floor: positive. With 1, the authors' setting, wrong answers have no positive loss.
      positive_floor: at least 0; 0, the authors' setting, for none.
      prompt_weight: one of `PROMPT_WEIGHTS`. On-policy the gradient is that of `gpg_loss` with the advantage of Dr.
        GRPO, or of GRPO with the population's deviation.
      log_clip: upper bound on the logarithm of the ratio, with gradient 0 beyond.
      margin: r is kept in [margin, 1 - margin].

    Returns:
      `[B, T]` float32, 0 outside the mask. The authors' sum is `aggregate(mode="constant", normalizer=1000)`.

    Raises:
      ValueError: if shapes do not agree, a bound is out of range, or `prompt_weight` does not exist.

    Reference: NFT, 2025, equations 7 to 11, and the authors' code.

    >>> log_probs = jnp.log(jnp.array([[0.5], [0.25]]))
    >>> given = nft_loss(log_probs, jnp.log(jnp.array([[0.25], [0.5]])), jnp.array([1, 0]), jnp.array([0.5, 0.5])
    ... )
    >>> jax.tree.map(lambda x: round(x, 3), given.tolist())
    [[-0.347], [-0.203]]
    """
    log_rho, keep = _log_ratios(log_probs, old_log_probs, correct, rate, where, log_clip)
    options = negative_weight, floor, positive_floor, prompt_weight, margin
    loss = _likelihoods(log_rho, as_bool("correct", correct)[:, None], as_float(rate)[:, None], *options)
    return jnp.where(keep, loss, 0.0)


def nft_sequence_loss(
    log_probs: jax.Array,
    old_log_probs: jax.Array,
    correct: jax.Array,
    rate: jax.Array,
    *,
    where: jax.Array | None = None,
    negative_weight: float | jax.Array = 1.0,
    floor: float | jax.Array = 1.0,
    positive_floor: float | jax.Array = 0.0,
    prompt_weight: str | None = None,
    log_clip: float = 10.0,
    margin: float = 0.02,
) -> jax.Array:
    """The likelihoods of `nft_loss` for whole answers, whose ratio is the product of their tokens': one a response.

    Gradients flow through `log_probs` only.

        log rho_i = sum_t (log_probs - old_log_probs),   else as `nft_loss`

    Args:
      log_probs: `[B, T]` log-probabilities of the sampled tokens under the policy that learns.
      old_log_probs: `[B, T]` the same under the policy that sampled.
      correct: `[B]` bool or {0, 1}.
      rate: `[B]` in [0, 1].
      where: bool or {0, 1}, broadcastable to `[B, T]`, the response's own tokens; None means all.
      negative_weight, floor, positive_floor, margin: as in `nft_loss`.
      prompt_weight: one of `PROMPT_WEIGHTS`; the authors' code runs with None alone.
      log_clip: upper bound on the logarithm of the whole ratio, with gradient 0 beyond.

    Returns:
      `[B]` float32, 0 for a response without tokens. The authors take the sum.

    Raises:
      ValueError: as `nft_loss`.

    Reference: NFT, 2025, the authors' code with `ratio_type=sequence`.

    >>> log_probs, old = jnp.log(jnp.array([[0.5, 0.5]])), jnp.log(jnp.array([[0.25, 0.25]]))
    >>> round(nft_sequence_loss(log_probs, old, jnp.array([1]), jnp.array([0.5])).item(), 3)  # -log 4
    -1.386
    """
    log_ratios, keep = _log_ratios(log_probs, old_log_probs, correct, rate, where, None)
    check_least("log_clip", log_clip, 0)
    log_rho = jnp.minimum(masked_sum(log_ratios, where=keep, axis=-1), log_clip)
    options = negative_weight, floor, positive_floor, prompt_weight, margin
    loss = _likelihoods(log_rho, as_bool("correct", correct), as_float(rate), *options)
    return jnp.where(jnp.any(keep, axis=-1), loss, 0.0)


def _log_ratios(
    log_probs: jax.Array, old_log_probs: jax.Array, correct: jax.Array, rate: jax.Array,
    where: jax.Array | None, log_clip: float | None,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """The bounded logarithms of the ratios, and the mask."""
    check_tokens(log_probs=log_probs, old_log_probs=old_log_probs)
    check_rows(correct=correct, rate=rate)
    check_least("log_clip", log_clip, 0)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    log_rho = log_ratio(log_probs, old_log_probs, keep)
    return log_rho if log_clip is None else jnp.minimum(log_rho, log_clip), keep


def _likelihoods(
    log_rho: jax.Array, right: jax.Array, rate: jax.Array, negative_weight: float | jax.Array,
    floor: float | jax.Array, positive_floor: float | jax.Array, prompt_weight: str | None, margin: float,
) -> jax.Array:  # fmt: skip
    check_choice("prompt_weight", prompt_weight, PROMPT_WEIGHTS)
    check_least("negative_weight", negative_weight, 0)
    check_least("positive_floor", positive_floor, 0)
    check_together("floor must be positive", lambda floor: floor > 0, floor=floor)
    _check_margin(margin)
    rate = jnp.clip(jax.lax.stop_gradient(rate), margin, 1 - margin)
    implicit = straight_through_max((1 - rate * jnp.exp(log_rho)) / (1 - rate), floor)
    loss = jnp.where(right, -_log_at_least(log_rho, positive_floor), -negative_weight * jnp.log(implicit))
    weight = {None: 1.0, "dr_grpo": 1 - rate, "grpo": jnp.sqrt((1 - rate) / rate)}[prompt_weight]
    return weight * loss


def _log_at_least(log_rho: jax.Array, floor: float | jax.Array) -> jax.Array:
    """`log(straight_through_max(exp(log_rho), floor))`, which stays finite where exp underflows and floor is 0."""
    value = jnp.maximum(log_rho, jnp.log(floor))
    slope = jax.lax.stop_gradient(jnp.exp(log_rho - value))
    return jax.lax.stop_gradient(value) + slope * (log_rho - jax.lax.stop_gradient(log_rho))


def straight_through_max(x: jax.Array, floor: float | jax.Array) -> jax.Array:
    """The larger of two, with the gradient of x on either side of the floor.

        x + sg(max(x, floor) - x)

    Args:
      x: any shape; gradients flow.
      floor: a number, or an array that broadcasts.

    Returns:
      The shape of both, float32.

    Raises:
      Nothing.

    Reference: NFT, 2025, the authors' code; the estimator is that of Bengio, Léonard and Courville, Estimating or
      Propagating Gradients Through Stochastic Neurons for Conditional Computation, 2013.

    >>> value, gradient = jax.value_and_grad(straight_through_max)(0.25, 1.0)
    >>> value.item(), gradient.item()
    (1.0, 1.0)
    """
    x = as_float(x)
    return x + jax.lax.stop_gradient(jnp.maximum(x, floor) - x)


def _check_margin(margin: float) -> None:
    check_fraction("margin", margin)
    check_together("margin must be at most 0.5", lambda margin: margin <= 0.5, margin=margin)

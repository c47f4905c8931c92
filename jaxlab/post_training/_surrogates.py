"""Policy losses per token from ratios and advantages, to be minimised; `aggregate` reduces them.

`advantage` is `[...]`, one number per response, or `[..., T]`; no gradient ever flows into it. `where` marks the
response's own tokens; all others give 0.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean
from jaxlab.core.check import check_least, full_mask
from jaxlab.post_training._contracts import check_clip, check_tokens, per_token, zero_outside
from jaxlab.post_training._groups import AxisName
from jaxlab.post_training._importance import geometric_importance_ratio

Number = float | jax.Array


def _ratio_and_advantage(
    ratio: jax.Array, advantage: jax.Array, where: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Both as floats `[..., T]`, 1 and 0 outside the mask, and the mask."""
    check_tokens(ratio=ratio)
    keep = full_mask(where, np.shape(ratio), "ratio")
    return jnp.where(keep, as_float(ratio), 1.0), per_token(advantage, keep, "advantage"), keep


def _branches(ratio: jax.Array, advantage: jax.Array, low: Number, high: Number) -> tuple:
    """The loss as it is, and with the ratio clipped."""
    check_clip(low, high)
    return -advantage * ratio, -advantage * jnp.clip(ratio, 1.0 - low, 1.0 + high)


def ppo_clip_loss(
    ratio: jax.Array,
    advantage: jax.Array,
    *,
    where: jax.Array | None = None,
    clip_low: Number = 0.2,
    clip_high: Number = 0.2,
    dual_clip: Number | None = None,
    ratio_cap: Number | None = None,
) -> jax.Array:
    """Clipped surrogate of PPO and GRPO, per token.

    Gradients flow through the ratio, and not where clipping has made the loss larger. The clip range leaves
    one side open: a bad token whose probability has grown costs without bound. `dual_clip` and `ratio_cap`
    close it. DAPO is `clip_high=0.28`; GSPO is a sequence ratio with `clip_low=3e-4, clip_high=4e-4`.

        L = max(-A rho, -A clip(rho, 1 - clip_low, 1 + clip_high))
        dual_clip c: for A < 0 L = min(L, -A c);   ratio_cap: rho in the first term is min(rho, ratio_cap)

    Args:
      ratio: `[..., T]` importance ratio.
      advantage: `[...]` or `[..., T]`.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      clip_low: width of the clip range below 1.
      clip_high: width of the clip range above 1.
      dual_clip: c, at least 1, the largest ratio that a negative advantage is charged for; None for no bound.
        verl takes 3.
      ratio_cap: upper bound on the unclipped ratio, at least 1 + clip_high to have any sense; None for none.

    Returns:
      `[..., T]` float32 in the unit of the advantage, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree, a clip width is negative, or a bound on the ratio is below 1.

    Reference: Schulman et al., Proximal Policy Optimization Algorithms, 2017, equation 7; Shao et al., DeepSeekMath,
      2024, equation 3; DAPO, 2025, section 3.1 (a higher upper bound); Ye et al., Mastering Complex Control in MOBA
      Games with Deep Reinforcement Learning, 2020, equation 5 (dual clip); INTELLECT-2, 2025 (two-sided clipping,
      `delta` in TRL).

    >>> ratio, advantage = jnp.array([[1.5, 0.5]]), jnp.array([1.0])
    >>> ppo_clip_loss(ratio, advantage, clip_high=0.25).tolist()
    [[-1.25, -0.5]]
    """
    check_least("dual_clip", dual_clip, 1)
    check_least("ratio_cap", ratio_cap, 1)
    ratio, advantage, _ = _ratio_and_advantage(ratio, advantage, where)
    unclipped, clipped = _branches(ratio, advantage, clip_low, clip_high)
    if ratio_cap is not None:
        unclipped = -advantage * jnp.minimum(ratio, ratio_cap)
    loss = jnp.maximum(unclipped, clipped)
    if dual_clip is None:
        return loss
    return jnp.where(advantage < 0, jnp.minimum(loss, -advantage * dual_clip), loss)


def cispo_loss(
    log_probs: jax.Array,
    ratio: jax.Array,
    advantage: jax.Array,
    *,
    where: jax.Array | None = None,
    clip_low: Number | None = None,
    clip_high: Number = 4.0,
) -> jax.Array:
    """Policy gradient weighted by a clipped importance ratio, per token.

    The ratio is a weight without gradient, so no token is ever dropped. Gradients flow through `log_probs` only.

        L = -sg(clip(rho, 1 - clip_low, 1 + clip_high)) A log_probs

    Args:
      log_probs: `[..., T]` log-probabilities of the sampled tokens under the policy that learns.
      ratio: `[..., T]` importance ratio.
      advantage: `[...]` or `[..., T]`.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      clip_low: width of the clip range below 1; None for no lower bound.
      clip_high: width above 1. TRL gives the bound itself: its `epsilon_high=5` is 4 here.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree or a clip width is negative.

    Reference: MiniMax-M1: Scaling Test-Time Compute Efficiently with Lightning Attention, 2025, equation 4.
      The paper and TRL have no lower bound; verl clips on both sides.

    >>> cispo_loss(jnp.array([[-1.0, -2.0]]), jnp.array([[9.0, 0.5]]), jnp.array([1.0])).tolist()
    [[5.0, 1.0]]
    """
    check_tokens(log_probs=log_probs, ratio=ratio)
    check_clip(clip_low, clip_high)
    ratio, advantage, keep = _ratio_and_advantage(ratio, advantage, where)
    lowest = 0.0 if clip_low is None else 1.0 - clip_low
    weight = jax.lax.stop_gradient(jnp.clip(ratio, lowest, 1.0 + clip_high))
    return -weight * advantage * zero_outside(keep, log_probs)


def gpg_loss(log_probs: jax.Array, advantage: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """Plain policy gradient, per token: no ratio and no clipping.

    Gradients flow through `log_probs` only.

        L = -A log_probs

    Args:
      log_probs: `[..., T]` log-probabilities of the sampled tokens under the policy that learns.
      advantage: `[...]` or `[..., T]`.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree.

    Reference: Chu et al., GPG: A Simple and Strong Reinforcement Learning Baseline for Model Reasoning, 2025; the
      gradient is that of REINFORCE, 1992.

    >>> gpg_loss(jnp.array([[-1.0, -2.0]]), jnp.array([0.5])).tolist()
    [[0.5, 1.0]]
    """
    check_tokens(log_probs=log_probs)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    return -per_token(advantage, keep, "advantage") * zero_outside(keep, log_probs)


def gmpo_loss(
    log_probs: jax.Array,
    old_log_probs: jax.Array,
    advantage: jax.Array,
    *,
    where: jax.Array | None = None,
    clip_low: Number = 0.4,
    clip_high: Number = 0.4,
    log_clip: float = 20.0,
) -> jax.Array:
    """Geometric-mean surrogate, one number per response.

    Gradients flow through `log_probs` only.

        L_i = -A_i geometric_importance_ratio_i

    Args:
      log_probs: `[..., T]` log-probabilities of the sampled tokens under the policy that learns.
      old_log_probs: `[..., T]` the same under the policy that sampled.
      advantage: `[...]`, one number per response.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      clip_low: how far below 0 the logarithm of a token's ratio may help, at least 0.
      clip_high: how far above.
      log_clip: bound on the logarithm of the mean ratio, with gradient 0 beyond.

    Returns:
      `[...]` float32, 0 for a response without tokens. The paper takes the mean over responses.

    Raises:
      ValueError: if shapes do not agree or a bound is negative.

    Reference: Zhao et al., Geometric-Mean Policy Optimization, 2025, equation 4.

    >>> gmpo_loss(jnp.zeros((1, 3)), jnp.zeros((1, 3)), jnp.array([0.5])).tolist()
    [-0.5]
    """
    ratio = geometric_importance_ratio(
        log_probs,
        old_log_probs,
        advantage,
        where=where,
        clip_low=clip_low,
        clip_high=clip_high,
        log_clip=log_clip,
    )
    answered = jnp.any(full_mask(where, np.shape(log_probs), "log_probs"), axis=-1)
    return -jax.lax.stop_gradient(zero_outside(answered, advantage)) * ratio


def clip_fraction(
    ratio: jax.Array,
    advantage: jax.Array,
    *,
    where: jax.Array | None = None,
    clip_low: Number = 0.2,
    clip_high: Number = 0.2,
    axis_name: AxisName = None,
) -> jax.Array:
    """Share of the batch's tokens whose gradient `ppo_clip_loss` clips away.

    A metric; it has no gradient.

        mean over tokens of [-A clip(rho) > -A rho]

    Args:
      ratio: `[..., T]` importance ratio.
      advantage: `[...]` or `[..., T]`.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      clip_low: width of the clip range below 1.
      clip_high: width of the clip range above 1.
      axis_name: mapped axis to take the mean over as well.

    Returns:
      Scalar float32 in [0, 1], 0 if no token counts, NaN if a ratio or advantage that counts is.

    Raises:
      ValueError: if shapes do not agree or a clip width is negative.

    Reference: Schulman et al., Proximal Policy Optimization Algorithms, 2017, equation 7; the `pg_clipfrac` of verl.

    >>> clip_fraction(jnp.array([[1.5, 0.5]]), jnp.array([1.0])).item()
    0.5
    """
    ratio, advantage, keep = _ratio_and_advantage(ratio, advantage, where)
    unclipped, clipped = _branches(ratio, advantage, clip_low, clip_high)
    return masked_mean(_share(clipped > unclipped, clipped, unclipped), where=keep, axis_name=axis_name)


def dual_clip_fraction(
    ratio: jax.Array,
    advantage: jax.Array,
    *,
    where: jax.Array | None = None,
    clip_low: Number = 0.2,
    clip_high: Number = 0.2,
    dual_clip: Number = 3.0,
    axis_name: AxisName = None,
) -> jax.Array:
    """Share of the batch's tokens whose loss the dual clip of `ppo_clip_loss` bounds.

    A metric; it has no gradient.

        mean over tokens of [A < 0 and L > -A dual_clip],   L without the dual clip

    Args:
      ratio: `[..., T]` importance ratio.
      advantage: `[...]` or `[..., T]`.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      clip_low: width of the clip range below 1.
      clip_high: width of the clip range above 1.
      dual_clip: c, at least 1.
      axis_name: mapped axis to take the mean over as well.

    Returns:
      Scalar float32 in [0, 1], 0 if no token counts, NaN if a ratio or advantage that counts is.

    Raises:
      ValueError: if shapes do not agree, a clip width is negative, or `dual_clip` is below 1.

    Reference: Ye et al., Mastering Complex Control in MOBA Games with Deep Reinforcement Learning, 2020, equation 5;
      the `pg_clipfrac_lower` of verl.

    >>> dual_clip_fraction(jnp.array([[5.0, 2.0]]), jnp.array([-1.0])).item()
    0.5
    """
    check_least("dual_clip", dual_clip, 1)
    ratio, advantage, keep = _ratio_and_advantage(ratio, advantage, where)
    loss = jnp.maximum(*_branches(ratio, advantage, clip_low, clip_high))
    bounded = _share((advantage < 0) & (loss > -advantage * dual_clip), loss)
    return masked_mean(bounded, where=keep, axis_name=axis_name)


def _share(holds: jax.Array, *compared: jax.Array) -> jax.Array:
    """1 where a comparison holds, else 0; NaN where what was compared is."""
    unknown = functools.reduce(jnp.logical_or, map(jnp.isnan, compared))
    return jnp.where(unknown, jnp.nan, holds)

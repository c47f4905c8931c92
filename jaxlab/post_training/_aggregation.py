"""From losses per token to one number, and the choice of tokens by entropy."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, masked_sum
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import InputError, check_choice, check_fraction, check_positive, dtype_of, full_mask
from jaxlab.post_training._contracts import check_tokens, zero_outside
from jaxlab.post_training._groups import AxisName

MODES = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "constant")


def aggregate(
    values: jax.Array,
    mask: jax.Array,
    *,
    mode: str = "token-mean",
    normalizer: float | jax.Array | None = None,
    count_empty: bool = False,
    axis_name: AxisName = None,
) -> jax.Array:
    """Losses per token reduced over the whole batch.

    The modes differ in what weighs the same: every token, or every response, and so in whether a token of a
    long response counts for less. Gradients flow into the valid values only.

        token-mean:            sum(L m) / sum(m)
        seq-mean-token-mean:   mean over responses of sum_t L m / |y|
        seq-mean-token-sum:    mean over responses of sum_t L m
        constant:              sum(L m) / normalizer

    Args:
      values: `[..., T]`, as from `ppo_clip_loss`.
      mask: `[..., T]` bool or {0, 1}, the response's own tokens.
      mode: one of the above. GRPO's is "seq-mean-token-mean", DAPO's "token-mean", Dr. GRPO's "constant".
      normalizer: for "constant" only, positive; None means the number of entries of `values`, B T, on all
        devices together. verl divides by T alone: give `normalizer=T`.
      count_empty: whether a response without tokens counts in a mean over responses, as it does in TRL.
      axis_name: mapped axis to reduce over as well; every device returns the global number.

    Returns:
      Scalar float32, 0 if no token is valid.

    Raises:
      ValueError: if shapes do not agree, `mode` does not exist, `normalizer` is given for another mode or is not
        positive, or mask and values are swapped: `mask` is no mask, or `values` are booleans.

    Reference: Shao et al., DeepSeekMath, 2024, equation 3; Yu et al., DAPO: An Open-Source LLM Reinforcement Learning
      System at Scale, 2025, section 3.3; Liu et al., Understanding R1-Zero-Like Training, 2025, section 3.1. verl
      calls the last two "seq-mean-token-sum" and "seq-mean-token-sum-norm"; TRL "bnpo" or "dapo" the first, "grpo"
      the second with `count_empty=True`, "dr_grpo" the last.

    >>> values, mask = jnp.array([[1.0, 3.0], [4.0, 9.0]]), jnp.array([[1, 1], [1, 0]])
    >>> [round(aggregate(values, mask, mode=mode).item(), 3) for mode in ("token-mean", "seq-mean-token-mean")]
    [2.667, 3.0]
    """
    check_tokens(values=values, mask=mask)
    check_choice("mode", mode, MODES)
    if normalizer is not None and mode != "constant":
        raise InputError(f"normalizer belongs to mode 'constant', got mode {mode!r}")
    check_positive("normalizer", normalizer)
    _check_not_swapped(values)
    keep = full_mask(mask, np.shape(values), "values", name="mask")
    if mode == "token-mean":
        return masked_mean(values, where=keep, axis_name=axis_name)
    if mode == "constant":
        if normalizer is None:
            devices = 1 if axis_name is None else jax.lax.psum(1, axis_name)
            normalizer = max(keep.size * devices, 1)
        return masked_sum(values, where=keep, axis_name=axis_name) / normalizer
    reduce = masked_mean if mode == "seq-mean-token-mean" else masked_sum
    rows = None if count_empty else jnp.any(keep, axis=-1)
    return masked_mean(reduce(values, where=keep, axis=-1), where=rows, axis_name=axis_name)


def _check_not_swapped(values: jax.Array) -> None:
    if dtype_of(values) == np.bool_:
        raise InputError("values are booleans: the losses come first and the mask second")


def top_entropy_mask(
    entropy: jax.Array, mask: jax.Array, *, fraction: float = 0.2, axis_name: AxisName = None
) -> jax.Array:
    """The tokens of the whole batch at which the policy was least sure.

    Most tokens of a chain of thought are nearly certain; the few where it forks carry most of what
    reinforcement learning changes. Multiply the losses by this mask and aggregate with the full one, so that
    the normaliser stays. No gradient flows.

        m_t [H_t >= quantile of H over valid tokens at 1 - fraction]

    Args:
      entropy: `[..., T]` entropy of the policy at each token.
      mask: `[..., T]` bool or {0, 1}, the response's own tokens.
      fraction: share of the tokens to keep, in [0, 1]; ties at the threshold are all kept.
      axis_name: mapped axis to take the quantile over as well.

    Returns:
      `[..., T]` bool, false outside the mask.

    Raises:
      ValueError: if the shapes differ, `fraction` is not in [0, 1], or an entropy that counts is NaN.

    Reference: Wang et al., Beyond the 80/20 Rule: High-Entropy Minority Tokens Drive Effective Reinforcement Learning
      for LLM Reasoning, 2025. The quantile interpolates linearly, as in TRL.

    >>> top_entropy_mask(jnp.array([[0.1, 0.9, 0.5, 7.0]]), jnp.array([[1, 1, 1, 0]]), fraction=0.4).tolist()
    [[False, True, False, False]]
    """
    check_tokens(entropy=entropy, mask=mask)
    check_fraction("fraction", fraction)
    keep = full_mask(mask, np.shape(entropy), "entropy", name="mask")
    check_no_nan("entropy", entropy, where=keep)
    entropy = jax.lax.stop_gradient(zero_outside(keep, entropy))
    every, valid = entropy.ravel(), keep.ravel()
    if axis_name is not None:
        every, valid = (jax.lax.all_gather(x, axis_name, tiled=True) for x in (every, valid))
    if not every.size:
        return keep
    ordered = jnp.sort(jnp.where(valid, every, jnp.inf))
    last = jnp.maximum(jnp.sum(valid) - 1, 0)
    place = as_float(last).astype(every.dtype) * (1 - fraction)
    below = jnp.minimum(jnp.floor(place).astype(jnp.int32), last)
    low, high = ordered[below], ordered[jnp.minimum(below + 1, last)]
    weight = place - below
    threshold = jnp.where(weight > 0, low + weight * (high - low), low)
    return keep & (entropy >= threshold)

"""Importance ratios between the policy that learns and the one that sampled, on three levels.

Gradients flow through `log_probs` only. Strictly on-policy, `old_log_probs = stop_gradient(log_probs)`, every ratio is
1 and its gradient is that of the log-probability.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import masked_mean
from jaxlab.core.check import InputError, check_least, full_mask
from jaxlab.post_training._contracts import check_clip, check_tokens, zero_outside


def log_ratio(log_probs: jax.Array, old_log_probs: jax.Array, where: jax.Array) -> jax.Array:
    """`log_probs - old_log_probs` with a constant second term, 0 outside the mask."""
    return zero_outside(where, log_probs) - jax.lax.stop_gradient(zero_outside(where, old_log_probs))


def token_importance_ratio(
    log_probs: jax.Array, old_log_probs: jax.Array, *, where: jax.Array | None = None, log_clip: float = 20.0
) -> jax.Array:
    """Ratio of each token's probability under the learning and the sampling policy.

    The logarithm is clipped before it is exponentiated, with gradient 0 beyond. Gradients flow through
    `log_probs` only.

        rho_{i,t} = exp(clip(log_probs - old_log_probs, -log_clip, log_clip))

    Args:
      log_probs: `[..., T]` log-probabilities of the sampled tokens under the policy that learns.
      old_log_probs: `[..., T]` the same under the policy that sampled.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      log_clip: bound on the logarithm; `math.inf` for none, as in TRL, and then exp may overflow.

    Returns:
      `[..., T]` float32, 1 outside the mask.

    Raises:
      ValueError: if shapes do not agree or `log_clip` is negative.

    Reference: Schulman et al., Proximal Policy Optimization Algorithms, 2017, equation 6; the bound is verl's.

    >>> log_probs, old_log_probs = jnp.log(jnp.array([[0.6, 0.1]])), jnp.log(jnp.array([[0.3, 0.2]]))
    >>> [round(r, 4) for r in token_importance_ratio(log_probs, old_log_probs)[0].tolist()]
    [2.0, 0.5]
    """
    check_tokens(log_probs=log_probs, old_log_probs=old_log_probs)
    check_least("log_clip", log_clip, 0)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    return jnp.exp(jnp.clip(log_ratio(log_probs, old_log_probs, keep), -log_clip, log_clip))


def sequence_importance_ratio(
    log_probs: jax.Array, old_log_probs: jax.Array, *, where: jax.Array | None = None, log_clip: float = 10.0
) -> jax.Array:
    """Ratio of each response's probability per token (a geometric mean), given to each of its tokens.

    The value is the same for all tokens of a response. The gradient of the value at one token reaches that
    token's `log_probs` only, straight through, so advantages may differ between tokens; summed with weights
    1 / length (`aggregate(..., mode="seq-mean-token-mean")`) it is the gradient of s_i itself.

        s_i = exp(1/|y_i| sum_t (log_probs - old_log_probs)),   log s_{i,t} = log_probs - sg(log_probs) + sg(log s_i)

    Args:
      log_probs: `[..., T]` log-probabilities of the sampled tokens under the policy that learns.
      old_log_probs: `[..., T]` the same under the policy that sampled.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      log_clip: upper bound on the logarithm, with gradient 0 beyond.

    Returns:
      `[..., T]` float32, at every token s_i; 1 in a response without tokens.

    Raises:
      ValueError: if shapes do not agree or `log_clip` is negative.

    Reference: Zheng et al., Group Sequence Policy Optimization, 2025, equation 7 and the token-level variant of
      section 4.3. The bound is verl's. The paper clips s_i to [1 - 3e-4, 1 + 4e-4].

    >>> ratio = sequence_importance_ratio(jnp.log(jnp.array([[0.6, 0.2]])), jnp.log(jnp.array([[0.3, 0.1]])))
    >>> [round(r, 4) for r in ratio[0].tolist()]
    [2.0, 2.0]
    """
    check_tokens(log_probs=log_probs, old_log_probs=old_log_probs)
    check_least("log_clip", log_clip, 0)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    ratio = log_ratio(log_probs, old_log_probs, keep)
    mean = jax.lax.stop_gradient(masked_mean(ratio, where=keep, axis=-1, keepdims=True))
    return jnp.exp(jnp.minimum(ratio - jax.lax.stop_gradient(ratio) + mean, log_clip))


def geometric_importance_ratio(
    log_probs: jax.Array,
    old_log_probs: jax.Array,
    advantage: jax.Array,
    *,
    where: jax.Array | None = None,
    clip_low: float | jax.Array = 0.4,
    clip_high: float | jax.Array = 0.4,
    log_clip: float = 20.0,
) -> jax.Array:
    """Geometric mean of the token ratios of each response, each clipped where clipping makes the objective less.

    A single token far out moves a geometric mean little. Gradients flow through `log_probs` only, and not through
    clipped tokens.

        exp(1/|y_i| sum_t sgn(A_i) min(sgn(A_i) d_t, sgn(A_i) clip(d_t, -clip_low, clip_high))),
        d = log_probs - old_log_probs

    Args:
      log_probs: `[..., T]` log-probabilities of the sampled tokens under the policy that learns.
      old_log_probs: `[..., T]` the same under the policy that sampled.
      advantage: `[...]`, one number per response; only its sign matters here.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      clip_low: how far below 0 the logarithm of a token's ratio may help, at least 0.
      clip_high: how far above.
      log_clip: bound on the logarithm of the mean, with gradient 0 beyond.

    Returns:
      `[...]` float32, 1 for a response without tokens or with advantage 0.

    Raises:
      ValueError: if shapes do not agree or a bound is negative.

    Reference: Zhao et al., Geometric-Mean Policy Optimization, 2025, equation 4; the authors' clip range is
      (exp(-0.4), exp(0.4)). Without the last bound, as in verl, the value overflows.

    >>> log_probs, old_log_probs = jnp.log(jnp.array([[0.4, 0.9]])), jnp.log(jnp.array([[0.4, 0.1]]))
    >>> round(geometric_importance_ratio(log_probs, old_log_probs, jnp.array([1.0])).item(), 4)  # exp((0 + 0.4) / 2)
    1.2214
    """
    check_tokens(log_probs=log_probs, old_log_probs=old_log_probs)
    check_clip(clip_low, clip_high)
    check_least("log_clip", log_clip, 0)
    shape = np.shape(log_probs)
    if np.shape(advantage) != shape[:-1]:
        raise InputError(f"advantage {np.shape(advantage)} must be [...] for log_probs [..., T] {shape}")
    keep = full_mask(where, shape, "log_probs")
    ratio = log_ratio(log_probs, old_log_probs, keep)
    sign = jnp.sign(jax.lax.stop_gradient(jnp.asarray(advantage))[..., None]).astype(ratio.dtype)
    least = sign * jnp.minimum(sign * ratio, sign * jnp.clip(ratio, -clip_low, clip_high))
    return jnp.exp(jnp.clip(masked_mean(least, where=keep, axis=-1), -log_clip, log_clip))

"""Policy losses per token that fade out off-policy samples smoothly, where a clip range would drop them at once."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_sum
from jaxlab.core.check import check_least, check_positive, full_mask
from jaxlab.post_training._contracts import check_tokens, per_token, zero_outside
from jaxlab.post_training._importance import log_ratio

Number = float | jax.Array


def sapo_loss(
    ratio: jax.Array,
    advantage: jax.Array,
    *,
    where: jax.Array | None = None,
    temperature_positive: Number = 1.0,
    temperature_negative: Number = 1.05,
) -> jax.Array:
    """Surrogate with a sigmoid in the place of the clip range, per token.

    Gradients flow through the ratio. On-policy they are those of the plain policy gradient, and fade the further a
    ratio is from 1; a higher temperature for bad tokens fades theirs sooner.

        L = -A 4 / tau sigmoid(tau (rho - 1)),   tau = temperature_positive where A > 0, else temperature_negative

    Args:
      ratio: `[..., T]` importance ratio.
      advantage: `[...]` or `[..., T]`.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      temperature_positive: tau of good tokens, positive.
      temperature_negative: tau of all others, positive.

    Returns:
      `[..., T]` float32 in the unit of the advantage, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree or a temperature is not positive.

    Reference: Soft Adaptive Policy Optimization, 2025. The paper takes the mean over each response's
      tokens and then over responses.

    >>> [round(x, 4) for x in sapo_loss(jnp.array([[1.0, 1.5]]), jnp.array([1.0]))[0].tolist()]
    [-2.0, -2.4898]
    """
    check_tokens(ratio=ratio)
    check_positive("temperature_positive", temperature_positive)
    check_positive("temperature_negative", temperature_negative)
    keep = full_mask(where, np.shape(ratio), "ratio")
    ratio, advantage = jnp.where(keep, as_float(ratio), 1.0), per_token(advantage, keep, "advantage")
    temperature = jnp.where(advantage > 0, temperature_positive, temperature_negative).astype(ratio.dtype)
    return -advantage * jax.nn.sigmoid(temperature * (ratio - 1.0)) * 4.0 / temperature


def vespo_loss(
    log_probs: jax.Array,
    old_log_probs: jax.Array,
    advantage: jax.Array,
    *,
    correction: jax.Array | None = None,
    where: jax.Array | None = None,
    k_positive: Number = 2.0,
    lambda_positive: Number = 3.0,
    k_negative: Number = 3.0,
    lambda_negative: Number = 2.0,
) -> jax.Array:
    """Policy gradient weighted by a gamma-shaped function of each response's whole importance weight, per token.

    The weight is 1 on-policy and fades on both sides, for bad responses by numbers of their own. It has no gradient:
    gradients flow through the last factor only.

        L = -sg(phi(W)) A log_probs,   phi(W) = W^k exp(lambda (1 - W)),   W = prod_t rho_t correction_t

    Args:
      log_probs: `[..., T]` log-probabilities of the sampled tokens under the policy that learns.
      old_log_probs: `[..., T]` the same under the policy at the start of the step.
      advantage: `[...]` or `[..., T]`; k and lambda are chosen by its sign, 0 counting as good.
      correction: `[..., T]` weights of the tokens for having been sampled by yet another policy, at the level of
        tokens, as from `truncated_importance_weight`; None for 1.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      k_positive: power of W for a good response, at least 0.
      lambda_positive: rate of its decay, at least 0.
      k_negative: power of W for a bad response, at least 0.
      lambda_negative: rate of its decay, at least 0.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree or a power or rate is negative.

    Reference: VESPO: Variational Sequence-Level Soft Policy Optimization for Stable Off-Policy LLM Training, 2026. As
      in TRL, W and each correction are held in [1e-8, e^20], each token's log ratio in [-20, 20].

    >>> log_probs, old_log_probs = jnp.log(jnp.array([[0.6, 0.5]])), jnp.log(jnp.array([[0.3, 0.5]]))
    >>> gradient = jax.grad(lambda x: vespo_loss(x, old_log_probs, jnp.array([1.0])).sum())(log_probs)
    >>> [round(x, 4) for x in gradient[0].tolist()]  # W = 2: 4 exp(-3)
    [-0.1991, -0.1991]
    """
    check_tokens(log_probs=log_probs, old_log_probs=old_log_probs)
    for name, value in {"k_positive": k_positive, "lambda_positive": lambda_positive, "k_negative": k_negative,
                        "lambda_negative": lambda_negative}.items():  # fmt: skip
        check_least(name, value, 0)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    advantage, log_probs = per_token(advantage, keep, "advantage"), zero_outside(keep, log_probs)
    least = math.log(1e-8)
    ratio = jnp.clip(jax.lax.stop_gradient(log_ratio(log_probs, old_log_probs, keep)), -20.0, 20.0)
    if correction is not None:
        check_tokens(log_probs=log_probs, correction=correction)
        weight = jnp.where(keep, jax.lax.stop_gradient(as_float(correction)), 1.0)
        ratio += jnp.clip(jnp.log(weight), least, 20.0)
    log_weight = jnp.clip(masked_sum(ratio, where=keep, axis=-1, keepdims=True), least, 20.0)
    good = advantage >= 0
    k, rate = jnp.where(good, k_positive, k_negative), jnp.where(good, lambda_positive, lambda_negative)
    phi = jnp.exp(k * log_weight + rate * (1.0 - jnp.exp(log_weight)))
    return -phi.astype(log_probs.dtype) * advantage * log_probs

"""Corrections for tokens that were sampled by another policy than the one that learns.

The sampler may be an older policy, or the same one in other arithmetic. A correction is a weight or a mask per token,
a constant: multiply the losses by it and aggregate with the full mask, so that the normaliser stays.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import masked_mean, masked_sum
from jaxlab.core.check import InputError, check_choice, check_least, check_positive, check_together, full_mask
from jaxlab.post_training._contracts import check_tokens, per_token, zero_outside
from jaxlab.post_training._importance import log_ratio

LEVELS = ("token", "sequence", "geometric")
WEIGHTS = (None, "truncated", "masked")
Number = float | jax.Array


def _check_bounds(low: Number | None, high: Number | None) -> None:
    check_least("low", low, 0)
    if high is not None:
        check_positive("high", high)
    if low is not None and high is not None:
        check_together("low must not be above high", lambda low, high: low <= high, low=low, high=high)


def _truncated(ratio: jax.Array, low: Number | None, high: Number | None) -> jax.Array:
    return jnp.clip(ratio, low, high)


def _masked(ratio: jax.Array, low: Number | None, high: Number | None) -> jax.Array:
    beyond = jnp.zeros(ratio.shape, bool) if low is None else ratio < low
    beyond = beyond if high is None else beyond | (ratio > high)
    return jnp.where(beyond, 0.0, ratio)  # a NaN is not beyond, and stays


def _weight(
    bounded: object, log_probs: jax.Array, sampler_log_probs: jax.Array, level: str, low: Number | None,
    high: Number | None, where: jax.Array | None, log_clip: float,
) -> jax.Array:  # fmt: skip
    check_tokens(log_probs=log_probs, sampler_log_probs=sampler_log_probs)
    check_choice("level", level, LEVELS)
    check_least("log_clip", log_clip, 0)
    _check_bounds(low, high)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    ratio = jax.lax.stop_gradient(log_ratio(log_probs, sampler_log_probs, keep))
    if level != "token":
        reduce = masked_sum if level == "sequence" else masked_mean
        ratio = reduce(ratio, where=keep, axis=-1, keepdims=True)
    return jnp.where(keep, bounded(jnp.exp(jnp.clip(ratio, -log_clip, log_clip)), low, high), 0.0)


def truncated_importance_weight(
    log_probs: jax.Array,
    sampler_log_probs: jax.Array,
    *,
    level: str = "token",
    low: Number | None = None,
    high: Number | None = 2.0,
    where: jax.Array | None = None,
    log_clip: float = 20.0,
) -> jax.Array:
    """Importance weight of each token for having been sampled by another policy, cut off at a bound.

    The cut trades a bias for a variance that stays finite. No gradient flows.

        w_t = clip(rho, low, high),   log rho = d_t          token
                                                sum_t d_t    sequence
                                                mean_t d_t   geometric,   d = log_probs - sampler_log_probs

    Args:
      log_probs: `[..., T]` log-probabilities of the sampled tokens under the policy that is trained.
      sampler_log_probs: `[..., T]` the same under the policy that sampled, as it reported them.
      level: "token", "sequence" or "geometric", whose weight a token gets.
      low: lower bound, at least 0; None for none.
      high: upper bound, positive; None for none.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      log_clip: bound on the logarithm; `math.inf` for none, as in TRL, and then exp may overflow.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree, `level` does not exist, or the bounds are negative or out of order.

    Reference: Your Efficient RL Framework Secretly Brings You Off-Policy RL Training, 2025 (truncated importance
      sampling per token, bound 2, as in verl and tunix); TRL's "token_truncate" and "sequence_truncate", with bound 3.

    >>> log_probs, sampler = jnp.log(jnp.array([[0.6, 0.1, 0.5]])), jnp.log(jnp.array([[0.1, 0.2, 0.5]]))
    >>> [round(w, 4) for w in truncated_importance_weight(log_probs, sampler)[0].tolist()]
    [2.0, 0.5, 1.0]
    """
    return _weight(_truncated, log_probs, sampler_log_probs, level, low, high, where, log_clip)


def masked_importance_weight(
    log_probs: jax.Array,
    sampler_log_probs: jax.Array,
    *,
    level: str = "sequence",
    low: Number | None = None,
    high: Number | None = 3.0,
    where: jax.Array | None = None,
    log_clip: float = 20.0,
) -> jax.Array:
    """Importance weight of each token for having been sampled by another policy, 0 beyond the bounds.

    What lies far out is dropped, where `truncated_importance_weight` goes on trusting it at a smaller weight. No
    gradient flows. IcePop is `level="token", low=0.5, high=5.0`.

        w_t = rho [low <= rho <= high],   rho as in `truncated_importance_weight`

    Args:
      log_probs: `[..., T]` log-probabilities of the sampled tokens under the policy that is trained.
      sampler_log_probs: `[..., T]` the same under the policy that sampled, as it reported them.
      level: "token", "sequence" or "geometric", whose weight a token gets.
      low: lower bound, at least 0; None for none.
      high: upper bound, positive; None for none.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      log_clip: bound on the logarithm; `math.inf` for none, as in TRL, and then exp may overflow.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree, `level` does not exist, or the bounds are negative or out of order.

    Reference: When Speed Kills Stability: Demystifying RL Collapse from the Training-Inference Mismatch, 2025 (masked
      importance sampling); the defaults are those of TRL, "sequence_mask" with bound 3. IcePop: Every Step Evolves:
      Scaling Reinforcement Learning for Trillion-Scale Thinking Model, 2025.

    >>> log_probs, sampler = jnp.log(jnp.array([[0.6, 0.1, 0.5]])), jnp.log(jnp.array([[0.1, 0.2, 0.5]]))
    >>> [round(w, 4) for w in masked_importance_weight(log_probs, sampler, level="token")[0].tolist()]
    [0.0, 0.5, 1.0]
    """
    return _weight(_masked, log_probs, sampler_log_probs, level, low, high, where, log_clip)


def off_policy_sequence_mask(
    log_probs: jax.Array,
    sampler_log_probs: jax.Array,
    advantage: jax.Array,
    *,
    threshold: Number,
    where: jax.Array | None = None,
) -> jax.Array:
    """1 for the tokens to learn from, 0 in bad responses that the policy has come to find unlikely.

    A good response is always learned from. No gradient flows.

        m_t = [A_t >= 0  or  mean_t (sampler_log_probs - log_probs) <= threshold]

    Args:
      log_probs: `[..., T]` log-probabilities of the sampled tokens under the policy that is trained.
      sampler_log_probs: `[..., T]` the same under the policy that sampled.
      advantage: `[...]` or `[..., T]`; only its sign matters here.
      threshold: nats per token by which a response may have become less likely.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree.

    Reference: DeepSeek-V3.2: Pushing the Frontier of Open Large Language Models, 2025, equation 9; TRL's
      `off_policy_mask_threshold`. The paper does not give its threshold.

    >>> log_probs, sampler = jnp.array([[-3.0, -1.0], [-3.0, -1.0]]), jnp.full((2, 2), -1.0)
    >>> off_policy_sequence_mask(log_probs, sampler, jnp.array([1.0, -1.0]), threshold=0.5).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    check_tokens(log_probs=log_probs, sampler_log_probs=sampler_log_probs)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    advantage = per_token(advantage, keep, "advantage")
    drift = -jax.lax.stop_gradient(log_ratio(log_probs, sampler_log_probs, keep))
    drift = masked_mean(drift, where=keep, axis=-1, keepdims=True)
    return _kept((advantage >= 0) | (drift <= threshold), keep, advantage + drift)


def _kept(holds: jax.Array, keep: jax.Array, compared: jax.Array) -> jax.Array:
    """1 where the mask is and a comparison holds, else 0; NaN where what was compared is."""
    return jnp.where(keep, jnp.where(jnp.isnan(compared), jnp.nan, holds.astype(compared.dtype)), 0.0)


def dppo_mask(
    log_probs: jax.Array,
    sampler_log_probs: jax.Array,
    advantage: jax.Array,
    *,
    divergence: str = "tv",
    low: Number = 0.15,
    high: Number = 0.15,
    where: jax.Array | None = None,
) -> jax.Array:
    """1 for the tokens to learn from, 0 where the step would lead further out of a trust region of probabilities.

    The clip range of PPO bounds a ratio, and so forbids a rare token what it allows a frequent one a hundredfold; this
    bounds a divergence, that of "this token or another" under both policies. No gradient flows. With `gpg_loss` on a
    ratio without gradient it is DPPO.

        m_t = not (A_t > 0, p_t > q_t and D_t > high)  and  not (A_t <= 0, p_t < q_t and D_t > low)
        tv:  D = |p - q|,      kl:  D = q log(q / p) + (1 - q) log((1 - q) / (1 - p))

    Args:
      log_probs: `[..., T]` log-probabilities log p of the sampled tokens under the policy that is trained.
      sampler_log_probs: `[..., T]` the same under the policy that sampled, log q.
      advantage: `[...]` or `[..., T]`; only its sign matters here.
      divergence: "tv" or "kl".
      low: the most that a bad token may have lost, at least 0. The paper has 0.15 for "tv" and 0.05 for "kl".
      high: the most that a good token may have gained, at least 0.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree, `divergence` does not exist, or a bound is negative.

    Reference: Rethinking the Trust Region in LLM Reinforcement Learning, 2026 (its binary divergences). prime-rl's
      default loss takes "tv" with 0.2.

    >>> log_probs, sampler = jnp.log(jnp.array([[0.6, 0.02]])), jnp.log(jnp.array([[0.3, 0.01]]))
    >>> dppo_mask(log_probs, sampler, jnp.array([1.0])).tolist()  # both have doubled
    [[0.0, 1.0]]
    """
    check_tokens(log_probs=log_probs, sampler_log_probs=sampler_log_probs)
    check_choice("divergence", divergence, ("tv", "kl"))
    check_least("low", low, 0)
    check_least("high", high, 0)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    advantage = per_token(advantage, keep, "advantage")
    p, q = (_constant(keep, x) for x in (log_probs, sampler_log_probs))
    distance = jnp.abs(jnp.exp(p) - jnp.exp(q)) if divergence == "tv" else _bernoulli_kl(q, p)
    leaves = jnp.where(advantage > 0, (distance > high) & (p > q), (distance > low) & (p < q))
    return _kept(~leaves, keep, advantage + distance)


def _constant(where: jax.Array, log_probs: jax.Array) -> jax.Array:
    """Log-probabilities without gradient, those above 0 as 0: there is no greater probability than 1."""
    return jnp.minimum(jax.lax.stop_gradient(zero_outside(where, log_probs)), 0.0)


def _bernoulli_kl(log_q: jax.Array, log_p: jax.Array) -> jax.Array:
    """KL(q || p) of "this token or another"."""
    other = lambda x: jnp.log(-jnp.expm1(jnp.minimum(x, -1e-7)))
    return jnp.exp(log_q) * (log_q - log_p) - jnp.expm1(log_q) * (other(log_q) - other(log_p))


def score_centering(
    log_probs: jax.Array,
    sampler_log_probs: jax.Array,
    *,
    weight: str | None = None,
    low: Number | None = None,
    high: Number | None = None,
    eps: float = 1e-6,
    where: jax.Array | None = None,
) -> jax.Array:
    """A number per token whose gradient is the score that the sampler expects there, to be subtracted.

    Under the policy itself the expected score is 0; under another sampler it is not, and an advantage that is not 0 on
    average at this prefix pulls the policy towards the sampler. The sampler's most likely tokens are enough: beyond
    them its probabilities are taken to be in proportion to the policy's. With all tokens of the vocabulary it is exact.
    Gradients flow through `log_probs`, not through the weights; the value itself says nothing. The loss is
    `gpg_loss(w * token_log_probs - score_centering(...), advantage)`, with w the weight of the sampled token.

        c_t = sum_v sg(q_v f(p_v / q_v) - alpha f(1 / alpha) p_v) log p_v,   alpha = (1 - sum q) / (1 - sum p)

    Args:
      log_probs: `[..., T, K]` log-probabilities of K tokens under the policy that learns, the same for both policies;
        of the whole vocabulary's distribution, not of the K tokens'.
      sampler_log_probs: `[..., T, K]` the same under the policy that sampled: the K largest of each position.
      weight: f, how the sampled token's loss is weighted: None for 1, "truncated" or "masked" as in
        `truncated_importance_weight` and `masked_importance_weight` at the level of tokens.
      low: that weight's lower bound; None for none.
      high: its upper bound; None for none.
      eps: least mass that either policy is taken to have beyond the K tokens.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree, `weight` does not exist, or a bound is negative, out of order, or given
        without a weight.

    Reference: Score Centering Stabilizes Off-policy Reinforcement Learning, 2026, equations 9, 12 and 14, and appendix
      A.3 (the least mass), as vime has them.

    >>> policy, sampler = jnp.log(jnp.array([[0.6, 0.4]])), jnp.log(jnp.array([[0.5, 0.5]]))
    >>> logits = jnp.log(jnp.array([[0.6, 0.4]]))
    >>> expected = jax.grad(lambda x: score_centering(jax.nn.log_softmax(x), sampler).sum())(logits)
    >>> [round(x, 4) for x in expected[0].tolist()]  # q - p
    [-0.1, 0.1]
    """
    shape = np.shape(log_probs)
    if len(shape) < 2 or np.shape(sampler_log_probs) != shape:
        raise InputError(
            f"log_probs {shape} and sampler_log_probs {np.shape(sampler_log_probs)} must have one shape [..., T, K]"
        )
    check_choice("weight", weight, WEIGHTS)
    check_positive("eps", eps)
    _check_bounds(low, high)
    if weight is None and (low is not None or high is not None):
        raise InputError("low and high belong to a weight, got weight None")
    bounded = {None: lambda x, *_: jnp.ones_like(x), "truncated": _truncated, "masked": _masked}[weight]
    keep = full_mask(where, shape[:-1], "the tokens")
    log_p, log_q = (_constant(keep[..., None], x) for x in (log_probs, sampler_log_probs))
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    rest = lambda x: jnp.maximum(1.0 - jnp.sum(x, axis=-1, keepdims=True), eps)
    alpha = rest(q) / rest(p)
    ratio = jnp.exp(jnp.clip(log_p - log_q, -20.0, 20.0))
    score = q * bounded(ratio, low, high) - alpha * bounded(1.0 / alpha, low, high) * p
    return jnp.where(keep, jnp.sum(score * zero_outside(keep[..., None], log_probs), axis=-1), 0.0)

"""Estimates of KL(policy || reference) from the sampled tokens alone."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import check_choice, check_least, full_mask
from jaxlab.post_training._contracts import check_tokens
from jaxlab.post_training._importance import log_ratio

KINDS = ("k1", "abs", "k2", "k3", "k1+", "k3+")


def kl_estimate(
    log_probs: jax.Array,
    ref_log_probs: jax.Array,
    *,
    kind: str = "k3",
    where: jax.Array | None = None,
    log_clip: float = 20.0,
    value_clip: float | None = None,
) -> jax.Array:
    """Estimate of the reverse KL divergence to a reference, per token, with gradient through `log_probs` only.

    As a value k1 and k3 are unbiased. As a loss, on tokens that the policy itself has just sampled, the
    expected gradient of k2 is that of KL(policy || ref), of k3 that of KL(ref || policy), and of k1 zero:
    k1 belongs in the reward, `kl_in_reward`. The kinds with a plus have the value of k1 or k3 and the
    gradient of k2.

        d = log_probs - ref_log_probs;   k1 = d,  abs = |d|,  k2 = d^2 / 2,  k3 = exp(-d) + d - 1

    Args:
      log_probs: `[..., T]` log-probabilities of the sampled tokens under the policy that learns.
      ref_log_probs: `[..., T]` the same under the reference; a constant.
      kind: "k1", "abs", "k2", "k3", "k1+" or "k3+".
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      log_clip: bound on d inside k3, with gradient 0 beyond.
      value_clip: upper bound on k3 itself, with gradient 0 beyond; None for none. verl takes 10, and so does
        not pull a policy back where it has strayed furthest.

    Returns:
      `[..., T]` float32 in nats, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree, `kind` does not exist, or a bound is negative.

    Reference: Approximating KL Divergence, John Schulman, 2020 (the estimators); Shao et al., DeepSeekMath, 2024,
      equation 4 (k3 in the loss of GRPO); Rethinking KL Regularization in RLHF: From Value Estimation to Gradient
      Optimization, 2025 (their gradients). verl names the kinds with a plus, but its code raises on them.

    >>> log_probs, ref_log_probs = jnp.log(jnp.array([[0.5]])), jnp.log(jnp.array([[0.25]]))
    >>> [round(kl_estimate(log_probs, ref_log_probs, kind=kind).item(), 4) for kind in ("k1", "k2", "k3")]
    [0.6931, 0.2402, 0.1931]
    """
    check_tokens(log_probs=log_probs, ref_log_probs=ref_log_probs)
    check_choice("kind", kind, KINDS)
    check_least("log_clip", log_clip, 0)
    check_least("value_clip", value_clip, 0)
    d = log_ratio(log_probs, ref_log_probs, full_mask(where, np.shape(log_probs), "log_probs"))
    if kind.endswith("+"):
        square, constant = 0.5 * jnp.square(d), jax.lax.stop_gradient(d)
        value = constant if kind == "k1+" else _k3(constant, log_clip, value_clip)
        return square - jax.lax.stop_gradient(square) + value
    if kind == "k3":
        return _k3(d, log_clip, value_clip)
    size = d * jnp.sign(jax.lax.stop_gradient(d))  # the gradient of jnp.abs is 1 at 0, this one 0
    return {"k1": d, "abs": size, "k2": 0.5 * jnp.square(d)}[kind]


def _k3(d: jax.Array, log_clip: float, value_clip: float | None) -> jax.Array:
    d = jnp.clip(d, -log_clip, log_clip)
    k3 = jnp.expm1(-d) + d
    return k3 if value_clip is None else jnp.minimum(k3, value_clip)

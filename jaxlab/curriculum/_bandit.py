"""A bandit over tasks or kinds of problems whose rewards change: exponential averages and a Boltzmann distribution.

The state is the values `[C]` of the arms, which begin at 0.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_log_softmax
from jaxlab.core.check import InputError, as_integers, check_fraction, check_positive, full_mask


def arm_log_probs(
    values: jax.Array, *, temperature: float | jax.Array = 1.0, where: jax.Array | None = None
) -> jax.Array:
    """The Boltzmann distribution over the arms of a bandit.

        log p(c) = Q(c) / tau - log sum_b exp(Q(b) / tau)

    Args:
      values: `[..., C]` Q.
      temperature: tau, positive: a small one takes the best arm, a large one all alike.
      where: `[..., C]` bool or {0, 1}, the arms that may be drawn; None means all.

    Returns:
      `[..., C]` float32; `core.MASKED_LOGIT` for an arm that may not be drawn. `jax.random.categorical` draws from it.

    Raises:
      ValueError: a temperature that is not positive, or a mask that does not broadcast.

    Reference: Chen et al., Self-Evolving Curriculum for LLM Reasoning, 2025, section 3.

    >>> jnp.exp(arm_log_probs(jnp.array([0.5, 0.5, 0.0]), where=jnp.array([1, 1, 0]))).tolist()
    [0.5, 0.5, 0.0]
    """
    check_positive("temperature", temperature)
    values, counts = _arms(values, where)
    best = jnp.max(jnp.where(counts, values, -jnp.inf), -1, keepdims=True)
    best = jax.lax.stop_gradient(jnp.where(jnp.isfinite(best), best, 0.0))
    # The best is taken off first, and no difference is let grow: a small temperature then makes no infinity.
    scaled = jnp.maximum((values - best) / temperature, -1e30)
    return masked_log_softmax(scaled, where=where)


def greedy_arm_log_probs(
    values: jax.Array, *, epsilon: float | jax.Array = 0.1, where: jax.Array | None = None
) -> jax.Array:
    """The best arm, and now and then one of the others: epsilon-greedy.

        p(c) = 1 - epsilon for the first c with the largest Q,   epsilon / (C - 1) for the others

    Args:
      values: `[..., C]` Q.
      epsilon: probability of another arm than the best, in [0, 1]; none where there is no other.
      where: `[..., C]` bool or {0, 1}, the arms that may be drawn; None means all.

    Returns:
      `[..., C]` float32, as `arm_log_probs`.

    Raises:
      ValueError: an epsilon outside of [0, 1], or a mask that does not broadcast.

    Reference: Chen et al., Self-Evolving Curriculum for LLM Reasoning, 2025, the method "greedy" of the authors' code.

    >>> jnp.exp(greedy_arm_log_probs(jnp.array([0.0, 1.0, 0.5]), epsilon=0.5)).tolist()
    [0.25, 0.5, 0.25]
    """
    check_fraction("epsilon", epsilon)
    values, counts = _arms(values, where)
    best = jnp.argmax(jnp.where(counts, values, -jnp.inf), axis=-1, keepdims=True)
    others = jnp.sum(counts, axis=-1, keepdims=True) - 1
    share = jnp.where(others > 0, epsilon / jnp.maximum(others, 1), 0.0)
    probs = jnp.where(jnp.arange(values.shape[-1]) == best, 1 - share * others, share)
    probs = jnp.where(jnp.any(jnp.isnan(values) & counts, axis=-1, keepdims=True), jnp.nan, probs)
    return masked_log_softmax(jnp.log(jnp.maximum(probs, 1e-30)), where=counts)


def proportional_arm_log_probs(
    values: jax.Array, *, floor: float | jax.Array = 0.01, where: jax.Array | None = None
) -> jax.Array:
    """Arms in proportion to their values.

        p(c) = max(Q(c), floor) / sum_b max(Q(b), floor)

    Args:
      values: `[..., C]` Q.
      floor: positive, what an arm without value counts.
      where: `[..., C]` bool or {0, 1}, the arms that may be drawn; None means all.

    Returns:
      `[..., C]` float32, as `arm_log_probs`.

    Raises:
      ValueError: a floor that is not positive, or a mask that does not broadcast.

    Reference: Chen et al., Self-Evolving Curriculum for LLM Reasoning, 2025, the method "normalized_q" of the authors'
      code.

    >>> jnp.exp(proportional_arm_log_probs(jnp.array([1.0, 3.0]))).round(2).tolist()
    [0.25, 0.75]
    """
    check_positive("floor", floor)
    values, counts = _arms(values, where)
    return masked_log_softmax(jnp.log(jnp.maximum(values, floor)), where=counts)


def _arms(values: jax.Array, where: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    values = as_float(values)
    if values.ndim == 0:
        raise InputError("values must be [..., C], one for each arm, got a scalar")
    return values, full_mask(where, values.shape, "values")


def arm_rewards(
    rewards: jax.Array, arms: jax.Array, *, num_arms: int, where: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """The mean reward of every arm in a batch, and how often it was drawn.

        r(c) = mean_{i: arm_i = c} reward_i

    Args:
      rewards: `[N]`, what each draw gave; for a policy the mean absolute advantage, say.
      arms: `[N]` integers in [0, C); a negative one marks a draw to ignore.
      num_arms: static C, at least 1.
      where: `[N]` bool or {0, 1}, the draws that count; None means all.

    Returns:
      `(mean [C] float32, count [C] int32)`; the mean of an arm that was not drawn is 0.

    Raises:
      ValueError: shapes that do not belong together, arms that are not integers in range, or no arm.

    Reference: Chen et al., Self-Evolving Curriculum for LLM Reasoning, 2025, section 3.

    >>> mean, count = arm_rewards(jnp.array([1.0, 3.0, 5.0]), jnp.array([0, 0, 2]), num_arms=3)
    >>> mean.tolist(), count.tolist()
    ([2.0, 0.0, 5.0], [2, 0, 1])
    """
    rewards = as_float(rewards)
    if num_arms < 1:
        raise InputError(f"num_arms must be at least 1, got {num_arms}")
    if rewards.ndim != 1 or np.shape(arms) != rewards.shape:
        raise InputError(f"rewards {rewards.shape} and arms {np.shape(arms)} must both be [N]")
    counts = full_mask(where, rewards.shape, "rewards")
    arms = as_integers("arms", arms, "arms in [0, C)", num_arms, where=counts, ignore="a draw to ignore")
    drawn = (arms[:, None] == jnp.arange(num_arms)) & counts[:, None]
    count = jnp.sum(drawn, 0, dtype=jnp.int32)
    total = jnp.sum(jnp.where(drawn, rewards[:, None], 0.0), 0)
    return total / jnp.maximum(count, 1), count


def update_arms(
    values: jax.Array,
    rewards: jax.Array,
    arms: jax.Array,
    *,
    rate: float | jax.Array = 0.5,
    decay_unsampled: bool = False,
    where: jax.Array | None = None,
) -> jax.Array:
    """Move the values of the arms that were drawn towards what they gave: no gradient flows.

        Q(c) <- (1 - rate) Q(c) + rate r(c),   r(c) the mean reward of arm c in the batch

    Args:
      values: `[C]` Q, zeros at the beginning.
      rewards: `[N]`.
      arms: `[N]` integers in [0, C); a negative one marks a draw to ignore.
      rate: in [0, 1].
      decay_unsampled: True takes 0 for the reward of an arm that was not drawn; it forgets what it was worth.
      where: `[N]` bool or {0, 1}, the draws that count; None means all.

    Returns:
      `[C]` float32.

    Raises:
      ValueError: values that are not `[C]`, a rate outside of [0, 1], or as `arm_rewards`.

    Reference: Chen et al., Self-Evolving Curriculum for LLM Reasoning, 2025, section 3; the authors' code is
      `decay_unsampled=True`.

    >>> update_arms(jnp.zeros(3), jnp.array([1.0, 0.5]), jnp.array([0, 2])).tolist()
    [0.5, 0.0, 0.25]
    """
    check_fraction("rate", rate)
    values = as_float(values)
    if values.ndim != 1:
        raise InputError(f"values must be [C], one for each arm, got {values.shape}")
    mean, count = arm_rewards(rewards, arms, num_arms=len(values), where=where)
    moved = (1 - rate) * values + rate * mean
    return jax.lax.stop_gradient(moved if decay_unsampled else jnp.where(count > 0, moved, values))

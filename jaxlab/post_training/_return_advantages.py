"""Advantages from returns per token, and whitening: no groups, or groups only as a baseline.

`token_rewards [..., T]` holds the reward given at each token; an outcome reward stands at the last token of its
response. The functions that make advantages stop all gradients.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import masked_max, masked_mean, masked_var
from jaxlab.core.check import InputError, check_choice, full_mask
from jaxlab.post_training._contracts import check_tokens, zero_outside
from jaxlab.post_training._group_advantages import SINGLETON, alone
from jaxlab.post_training._groups import AxisName, deviation, find_groups


def returns_to_go(
    token_rewards: jax.Array, mask: jax.Array, *, gamma: float | jax.Array = 1.0, restart: bool = False
) -> jax.Array:
    """Discounted sum of the rewards from each token to the end of its response.

    Tokens outside the mask give no reward and take no discount: over a hole, such as the answer of a tool,
    the return passes unchanged. Linear in the rewards, and gradients flow into them.

        G_t = m_t r_t + gamma^m_t G_{t+1};   restart: G_t = m_t (r_t + gamma G_{t+1})

    Args:
      token_rewards: `[..., T]`.
      mask: `[..., T]` bool or {0, 1}, the response's own tokens.
      gamma: discount in [0, 1].
      restart: whether nothing before a hole is credited with what comes after it, as in verl; the same for masks
        without holes.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if the shapes differ.

    Reference: Hu et al., REINFORCE++, 2025, section 3.

    >>> returns_to_go(jnp.array([[0.0, 0.0, 1.0, 9.0]]), jnp.array([[1, 1, 1, 0]]), gamma=0.5).tolist()
    [[0.25, 0.5, 1.0, 0.0]]
    """
    check_tokens(token_rewards=token_rewards, mask=mask)
    keep = full_mask(mask, np.shape(token_rewards), "token_rewards", name="mask")
    rewards = zero_outside(keep, token_rewards)
    if not rewards.size:
        return rewards
    decays = jnp.where(keep, jnp.asarray(gamma, rewards.dtype), 0.0 if restart else 1.0)
    then = lambda later, earlier: (later[0] * earlier[0], earlier[1] + earlier[0] * later[1])
    _, returns = jax.lax.associative_scan(then, (decays, rewards), reverse=True, axis=rewards.ndim - 1)
    return jnp.where(keep, returns, 0.0)


def whiten(values: jax.Array, mask: jax.Array, *, eps: float = 1e-8, axis_name: AxisName = None) -> jax.Array:
    """Values with mean 0 and variance 1 over all valid tokens of the batch.

    Every token weighs the same, so a long response weighs more than a short one. Equal values give exactly 0.
    Gradients flow through the values, their mean and their variance.

        (x - mean) / sqrt(var + eps),   var with ddof 1

    Args:
      values: `[..., T]`.
      mask: `[..., T]` bool or {0, 1}.
      eps: added to the variance.
      axis_name: mapped axis to take the statistics over as well.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if the shapes differ.

    Reference: Hu et al., REINFORCE++, 2025 (global advantage normalisation); the constants are verl's.

    >>> white = whiten(jnp.array([[1.0, 3.0, 9.0]]), jnp.array([[1, 1, 0]]))
    >>> [round(x, 4) for x in white[0].tolist()]
    [-0.7071, 0.7071, 0.0]
    """
    check_tokens(values=values, mask=mask)
    keep = full_mask(mask, np.shape(values), "values", name="mask")
    values = zero_outside(keep, values)
    largest = masked_max(jax.lax.stop_gradient(values), where=keep)
    largest = largest if axis_name is None else jax.lax.pmax(largest, axis_name)
    shifted = jnp.where(keep, values - largest, 0.0)  # rounding must not give equal values a deviation
    mean = masked_mean(shifted, where=keep, axis_name=axis_name)
    variance = masked_var(shifted, where=keep, ddof=1, axis_name=axis_name)
    return jnp.where(keep, (shifted - mean) * jax.lax.rsqrt(variance + eps), 0.0)


def reinforce_pp_advantage(
    token_rewards: jax.Array,
    mask: jax.Array,
    *,
    gamma: float | jax.Array = 1.0,
    restart: bool = False,
    axis_name: AxisName = None,
) -> jax.Array:
    """REINFORCE++ advantage, per token, over the whole batch: returns-to-go, whitened.

    No gradient flows and no groups are needed: the batch is the baseline.

        A = whiten(returns_to_go(r))

    Args:
      token_rewards: `[..., T]`, often with a penalty as by `kl_in_reward`.
      mask: `[..., T]` bool or {0, 1}, the response's own tokens.
      gamma: discount in [0, 1].
      restart: as in `returns_to_go`; True is verl's, and differs for masks with holes alone.
      axis_name: mapped axis to whiten over as well.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if the shapes differ.

    Reference: Hu et al., REINFORCE++: A Simple and Efficient Approach for Aligning Large Language Models, 2025.

    >>> advantage = reinforce_pp_advantage(jnp.array([[0.0, 1.0], [0.0, 0.0]]), jnp.ones((2, 2)))
    >>> [round(a, 3) for a in advantage.ravel().tolist()]
    [0.866, 0.866, -0.866, -0.866]
    """
    rewards, gamma = jax.lax.stop_gradient((token_rewards, gamma))
    returns = returns_to_go(rewards, mask, gamma=gamma, restart=restart)
    return whiten(returns, mask, axis_name=axis_name)


def reinforce_pp_baseline_advantage(
    rewards: jax.Array,
    group: jax.Array,
    mask: jax.Array,
    *,
    singleton: str = "zero",
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """REINFORCE++ with a group baseline, per token, over the whole batch: less the group's mean, whitened.

    No gradient flows. The mean is the prompt's own, the scale is one for the batch.

        A_{i,t} = whiten(R_i - mean_group) over all valid tokens

    Args:
      rewards: `[B]`, one number per response.
      group: `[B]` integers, one number per prompt, any.
      mask: `[B, T]` bool or {0, 1}, the response's own tokens.
      singleton: what a response alone in its group enters the whitening with: "zero", or "reward", as in verl.
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups and whiten over; a number is then one prompt on all devices.

    Returns:
      `[B, T]` float32, 0 outside the mask and in rows left out.

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or `singleton` does not exist.

    Reference: Hu et al., REINFORCE++, 2025 (the variant with a baseline).

    >>> advantage = reinforce_pp_baseline_advantage(jnp.array([3.0, 1.0]), jnp.array([0, 0]), jnp.ones((2, 1)))
    >>> [round(a, 4) for a in advantage.ravel().tolist()]
    [0.7071, -0.7071]
    """
    if np.ndim(mask) != 2 or np.shape(mask)[:1] != np.shape(rewards):
        raise InputError(f"mask {np.shape(mask)} must be [B, T] for rewards [B] {np.shape(rewards)}")
    check_choice("singleton", singleton, SINGLETON)
    rewards, groups = find_groups(rewards, group, where, axis_name)
    centred = jnp.where(alone(groups, singleton), rewards, deviation(rewards, groups)[0])
    keep = full_mask(mask, np.shape(mask), "mask", name="mask") & groups.valid[:, None]
    return whiten(jnp.broadcast_to(centred[:, None], keep.shape), keep, axis_name=axis_name)


def remax_advantage(token_rewards: jax.Array, baseline: jax.Array, mask: jax.Array) -> jax.Array:
    """ReMax advantage, per token: return-to-go less the reward of the greedy response to the same prompt.

    No gradient flows.

        A_{i,t} = sum_{s >= t} r_{i,s} - R(greedy response to the prompt of i)

    Args:
      token_rewards: `[..., T]`.
      baseline: `[...]`, the reward of the greedy response.
      mask: `[..., T]` bool or {0, 1}, the response's own tokens.

    Returns:
      `[..., T]` in the unit of the rewards, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree.

    Reference: Li et al., ReMax: A Simple, Effective, and Efficient Reinforcement Learning Method for Aligning Large
      Language Models, 2024, equation 4.

    >>> remax_advantage(jnp.array([[0.0, 1.0]]), jnp.array([0.25]), jnp.ones((1, 2))).tolist()
    [[0.75, 0.75]]
    """
    check_tokens(token_rewards=token_rewards, mask=mask)
    shape = np.shape(token_rewards)
    if np.shape(baseline) != shape[:-1]:
        raise InputError(f"baseline {np.shape(baseline)} must be [...] for token_rewards [..., T] {shape}")
    keep = full_mask(mask, shape, "token_rewards", name="mask")
    returns = returns_to_go(token_rewards, keep)
    return jax.lax.stop_gradient(returns - zero_outside(keep, jnp.asarray(baseline)[..., None]))

"""Advantages that compare a response with the others to the same prompt: one number per response, no gradient.

Every function takes `rewards [B]` and `group [B]` as `group_statistics` does, and has its rules: a row left out
gets 0 and does not enter its group's statistics, equal rewards give exactly 0, a NaN reward in a row that
counts makes its whole group NaN, so make rewards finite before.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import masked_mean, masked_std, masked_sum
from jaxlab.core.check import InputError, check_choice, check_least, fitted
from jaxlab.post_training._contracts import check_rows
from jaxlab.post_training._groups import (
    AxisName,
    Groups,
    below_best,
    deviation,
    find_groups,
    group_max,
    group_std,
    group_sum,
)

SINGLETON = ("zero", "reward")


def alone(groups: Groups, singleton: str) -> jax.Array:
    """Which rows are the only one of their group and keep their reward."""
    size = group_sum(jnp.ones_like(groups.ids), groups)
    return groups.valid & (size == 1) & (singleton == "reward")


def grpo_advantage(
    rewards: jax.Array,
    group: jax.Array,
    *,
    eps: float = 1e-6,
    ddof: int = 1,
    scale: str | None = "group",
    singleton: str = "zero",
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Group-relative advantage over the whole batch: how many standard deviations above the group's mean.

    No gradient flows. Dividing by the group's own deviation gives a hard and an easy prompt the same weight
    as one of medium difficulty; `scale="batch"` takes one deviation for all.

        A_i = (R_i - mean_group) / (std_group + eps)

    Args:
      rewards: `[B]`, one number per response.
      group: `[B]` integers, one number per prompt, any.
      eps: added to the standard deviation; verl takes 1e-6, TRL 1e-4.
      ddof: 1 for the unbiased variance, 0 for the population's.
      scale: "group" divides by the group's deviation, "batch" by that of all rewards, None by nothing.
      singleton: what a response alone in its group gets: "zero", as nothing is relative to it, or "reward",
        the same formula with mean 0 and, for scale "group", deviation 1.
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` float32 (float64 for float64 rewards).

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or an option does not exist.

    Reference: Shao et al., DeepSeekMath: Pushing the Limits of Mathematical Reasoning, 2024, section 4.1.2 (outcome
      supervision). verl lets a single response keep its reward, here `singleton="reward"`.

    >>> advantage = grpo_advantage(jnp.array([1.0, 5.0, 3.0]), jnp.array([0, 1, 0]))
    >>> [round(a, 3) for a in advantage.tolist()]
    [-0.707, 0.0, 0.707]
    """
    check_choice("scale", scale, ("group", "batch", None))
    check_choice("singleton", singleton, SINGLETON)
    rewards, groups = find_groups(rewards, group, where, axis_name)
    centred, size = deviation(rewards, groups)
    keeps = alone(groups, singleton)
    advantage = jnp.where(keeps, rewards, centred)
    if scale == "group":
        advantage /= jnp.where(keeps, 1.0, group_std(centred, size, groups, ddof)) + eps
    if scale == "batch":
        advantage /= masked_std(rewards, where=groups.valid, ddof=ddof, axis_name=axis_name) + eps
    return jnp.where(groups.valid, advantage, 0.0)


def dr_grpo_advantage(
    rewards: jax.Array,
    group: jax.Array,
    *,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Advantage of Dr. GRPO over the whole batch: reward less the group's mean, not divided by anything.

    No gradient flows. Without the standard deviation no prompt weighs more for being nearly solved or
    nearly hopeless. It belongs with a constant normaliser of the loss, `aggregate(..., mode="constant")`.

        A_i = R_i - mean_group

    Args:
      rewards: `[B]`, one number per response.
      group: `[B]` integers, one number per prompt, any.
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` in the unit of the rewards; 0 for a response alone in its group, where verl gives the reward.

    Raises:
      ValueError: if shapes do not agree or groups are not integers.

    Reference: Liu et al., Understanding R1-Zero-Like Training: A Critical Perspective, 2025, section 3.2.

    >>> dr_grpo_advantage(jnp.array([1.0, 5.0, 3.0]), jnp.array([0, 1, 0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    rewards, groups = find_groups(rewards, group, where, axis_name)
    return deviation(rewards, groups)[0]


def rloo_advantage(
    rewards: jax.Array,
    group: jax.Array,
    *,
    singleton: str = "zero",
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Leave-one-out advantage over the whole batch: reward less the mean of the others in the group.

    No gradient flows. The baseline does not hold the response's own reward, so the gradient is unbiased.

        A_i = R_i - mean_{j != i} R_j = n / (n - 1) (R_i - mean_group)

    Args:
      rewards: `[B]`, one number per response.
      group: `[B]` integers, one number per prompt, any.
      singleton: what a response alone in its group gets: "zero", or "reward", the reward without a baseline.
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` in the unit of the rewards.

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or `singleton` does not exist.

    Reference: Ahmadian et al., Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human
      Feedback in LLMs, 2024; first in Buy 4 REINFORCE Samples, Get a Baseline for Free!, 2019. verl has two forms
      that differ in groups of one: a loop that gives the reward and a vectorised one that gives 0.

    >>> rloo_advantage(jnp.array([3.0, 1.0]), jnp.array([0, 0])).tolist()
    [2.0, -2.0]
    """
    check_choice("singleton", singleton, SINGLETON)
    rewards, groups = find_groups(rewards, group, where, axis_name)
    centred, size = deviation(rewards, groups)
    others = centred * size / jnp.maximum(size - 1, 1)
    return jnp.where(alone(groups, singleton), rewards, others)


def opo_advantage(
    rewards: jax.Array,
    lengths: jax.Array,
    group: jax.Array,
    *,
    singleton: str = "zero",
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Advantage with the optimal baseline over the whole batch: the group's mean weighted by length.

    No gradient flows. If the squared norm of a response's gradient grows in proportion to its length, this
    baseline makes the variance of the policy gradient least.

        A_i = R_i - sum_j len_j R_j / sum_j len_j      over the group

    Args:
      rewards: `[B]`, one number per response.
      lengths: `[B]`, tokens in each response, at least 0.
      group: `[B]` integers, one number per prompt, any.
      singleton: what a response alone in its group gets: "zero", or "reward", as in verl.
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` in the unit of the rewards; 0 for a group without tokens.

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or `singleton` does not exist.

    Reference: On-Policy RL with Optimal Reward Baseline, 2025.

    >>> opo_advantage(jnp.array([1.0, 0.0]), jnp.array([3, 1]), jnp.array([0, 0])).tolist()
    [0.25, -0.75]
    """
    check_choice("singleton", singleton, SINGLETON)
    check_rows(rewards=rewards, lengths=lengths)
    rewards, groups = find_groups(rewards, group, where, axis_name)
    lengths = jax.lax.stop_gradient(jnp.asarray(lengths)).astype(rewards.dtype)
    shifted = below_best(rewards, groups)
    total = group_sum(lengths, groups)
    baseline = group_sum(lengths * shifted, groups) / jnp.where(total > 0, total, 1.0)
    advantage = jnp.where(groups.valid & (total > 0), shifted - baseline, 0.0)
    return jnp.where(alone(groups, singleton), rewards, advantage)


def gpg_advantage(
    rewards: jax.Array,
    group: jax.Array,
    *,
    correction: str | None = "informative",
    singleton: str = "zero",
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Advantage of group policy gradient over the whole batch: Dr. GRPO's, rescaled for groups without signal.

    No gradient flows. A group with equal rewards adds nothing to the gradient but counts in its mean; the
    factor makes up for that.

        A_i = alpha (R_i - mean_group),   alpha = B / (responses in groups whose rewards differ)

    Args:
      rewards: `[B]`, one number per response.
      group: `[B]` integers, one number per prompt, any.
      correction: "informative" as above; "nonzero_reward" divides by the number of rewards that are not 0;
        None leaves alpha at 1.
      singleton: what a response alone in its group gets: "zero", or "reward", as in verl, times alpha.
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count (B is their number); None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` in the unit of the rewards.

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or an option does not exist.

    Reference: Chu et al., GPG: A Simple and Strong Reinforcement Learning Baseline for Model Reasoning, 2025
      (accurate gradient estimation). verl counts rewards other than 0 instead, here `correction="nonzero_reward"`,
      which takes a wrong answer of reward 0 for one without signal.

    >>> gpg_advantage(jnp.array([1.0, 0.0, 1.0, 1.0]), jnp.array([0, 0, 1, 1])).tolist()
    [1.0, -1.0, 0.0, 0.0]
    """
    check_choice("correction", correction, ("informative", "nonzero_reward", None))
    check_choice("singleton", singleton, SINGLETON)
    rewards, groups = find_groups(rewards, group, where, axis_name)
    advantage = jnp.where(alone(groups, singleton), rewards, deviation(rewards, groups)[0])
    if correction is None:
        return advantage
    differs = group_max(-below_best(rewards, groups), groups) > 0
    counted = differs if correction == "informative" else rewards != 0
    total = lambda rows: masked_sum(rows, where=groups.valid, axis_name=axis_name).astype(rewards.dtype)
    return advantage * total(groups.valid) / jnp.maximum(total(counted), 1.0)


def maxrl_advantage(
    rewards: jax.Array,
    group: jax.Array,
    *,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Advantage of maximum-likelihood reinforcement learning over the whole batch: relative to the group's mean.

    No gradient flows. With rewards of 0 and 1 a prompt weighs as much as it is rarely solved, as in the gradient of
    the log-probability of solving it, of which this is an expansion to as many terms as the group has responses.

        A_i = (R_i - mean_group) / mean_group

    Args:
      rewards: `[B]`, one number per response, at least 0.
      group: `[B]` integers, one number per prompt, any.
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` float32; 0 in a group whose mean is not positive.

    Raises:
      ValueError: if shapes do not agree or groups are not integers.

    Reference: Maximum Likelihood Reinforcement Learning, 2026; prime-rl's `max_rl`.

    >>> maxrl_advantage(jnp.array([1.0, 0.0, 0.0, 0.0]), jnp.array([0, 0, 0, 0])).tolist()
    [3.0, -1.0, -1.0, -1.0]
    """
    rewards, groups = find_groups(rewards, group, where, axis_name)
    centred, _ = deviation(rewards, groups)
    mean = rewards - centred
    return jnp.where(mean <= 0, 0.0, centred / jnp.where(mean == 0, 1.0, mean))


def gdpo_advantage(
    rewards: jax.Array,
    group: jax.Array,
    *,
    weights: jax.Array | None = None,
    eps: float = 1e-4,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Advantage from several rewards over the whole batch: each made relative to its group, then added up.

    No gradient flows. Added before, rewards of different spread would drown each other, and combinations with one sum
    would be the same. The sum is standardised over the batch, so that its size does not depend on how many there are.

        A_ik = (R_ik - mean_group) / (std_group + eps),   S_i = sum_k w_k A_ik,   A_i = (S_i - mean S) / (std S + eps)

    Args:
      rewards: `[B, K]`, K numbers per response.
      group: `[B]` integers, one number per prompt, any.
      weights: `[K]`, at least 0; None for 1.
      eps: added to both standard deviations (ddof 1).
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` float32.

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or a weight is negative.

    Reference: GDPO: Group reward-Decoupled Normalization Policy Optimization for Multi-reward RL Optimization, 2026;
      TRL's "normalize_then_sum".

    >>> rewards = jnp.array([[1.0, 100.0], [0.0, 300.0], [1.0, 300.0], [0.0, 100.0]])
    >>> [round(a, 2) for a in gdpo_advantage(rewards, jnp.zeros(4, int))[2:].tolist()]
    [1.22, -1.22]
    """
    shape = np.shape(rewards)
    if len(shape) != 2:
        raise InputError(f"rewards {shape} must be [B, K], K numbers per response")
    check_least("weights", weights, 0)
    rewards = jnp.asarray(rewards)
    weights = fitted(1.0 if weights is None else weights, shape[1:], "weights", "K rewards")
    each = lambda r: grpo_advantage(r, group, eps=eps, where=where, axis_name=axis_name)
    relative = jax.vmap(each, in_axes=1, out_axes=1)(rewards)
    total = jnp.sum(jax.lax.stop_gradient(weights).astype(relative.dtype) * relative, axis=1)
    valid = find_groups(rewards[:, 0], group, where, axis_name)[1].valid
    rows = {"where": valid, "axis_name": axis_name}
    centred = total - masked_mean(total, **rows)
    return jnp.where(valid, centred / (masked_std(total, ddof=1, **rows) + eps), 0.0)

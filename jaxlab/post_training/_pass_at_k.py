"""Success within k attempts: the estimate of it, and the advantage that trains for it."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean
from jaxlab.core.check import InputError, check_choice, check_together
from jaxlab.post_training._groups import (
    AxisName,
    deviation,
    find_groups,
    group_max,
    group_std,
    group_sum,
)


def pass_at_k(num_samples: jax.Array, num_correct: jax.Array, k: int) -> jax.Array:
    """Chance that at least one of k attempts is correct, without bias from n >= k samples.

    A metric; it has no gradient. Written as a sum of logarithms, so that neither large n overflows nor a small
    chance is lost.

        1 - C(n - c, k) / C(n, k) = 1 - prod_{j < k} (1 - c / (n - j))

    Args:
      num_samples: n, integers of any shape.
      num_correct: c, integers that broadcast with n, in [0, n].
      k: static integer of at least 1.

    Returns:
      The broadcast shape, float32 in [0, 1]. 0 where n < k: too few samples to tell, mask those.

    Raises:
      ValueError: if `k` is not an integer of at least 1, the shapes do not broadcast, or a known c is not in [0, n].

    Reference: Chen et al., Evaluating Large Language Models Trained on Code, 2021, equation 1.

    >>> pass_at_k(4, 1, 2).item()  # the correct one is among the two drawn of four
    0.5
    """
    if not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"k must be a static integer of at least 1, got {k}")
    n, c = np.shape(num_samples), np.shape(num_correct)
    try:
        jnp.broadcast_shapes(n, c)
    except ValueError:
        raise InputError(f"num_samples {n} and num_correct {c} must broadcast") from None
    check_together(
        "num_correct must be in [0, num_samples]", lambda c, n: ~((c < 0) | (c > n)), num_correct=num_correct,
        num_samples=num_samples,
    )  # fmt: skip
    n, c = (as_float(jax.lax.stop_gradient(x))[..., None] for x in (num_samples, num_correct))
    hit = jnp.clip(c / jnp.maximum(n - jnp.arange(k), 1.0), 0.0, 1.0)
    chance = -jnp.expm1(jnp.sum(jnp.log1p(-hit), axis=-1))
    return jnp.where(n[..., 0] < k, 0.0, chance)


def avg_at_n(correct: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """Mean correctness over the samples of each prompt ("mean@n"), which has less variance than one sample.

        1/n sum_i correct_i

    Args:
      correct: `[..., n]` bool or {0, 1}.
      where: bool or {0, 1}, broadcastable to `[..., n]`, the samples that count; None means all.

    Returns:
      `[...]` float32 in [0, 1], 0 if no sample counts.

    Raises:
      ValueError: if `correct` is a scalar or `where` does not broadcast to it.

    Reference: Chen et al., Evaluating Large Language Models Trained on Code, 2021 (pass@1, the same number).

    >>> avg_at_n(jnp.array([[1, 0, 0, 1], [1, 1, 1, 1]])).tolist()
    [0.5, 1.0]
    """
    if not np.ndim(correct):
        raise InputError(f"correct {np.shape(correct)} must be [..., n]")
    return masked_mean(correct, where=where, axis=-1)


def pass_at_k_advantage(
    rewards: jax.Array,
    group: jax.Array,
    *,
    eps: float = 1e-6,
    ddof: int = 1,
    scale: str | None = "group",
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Advantage of the best response of each group over the whole batch, for the maximum of its k rewards.

    Only the best response changes what the group as a whole has achieved, by its lead over the second. No
    gradient flows. A tie at the top leaves the whole group at 0, and so does a group of one.

        A_best = (R_best - R_second) / (std_group + eps),   A_i = 0 for the others

    Args:
      rewards: `[B]`, one number per response.
      group: `[B]` integers, one number per prompt, any.
      eps: added to the standard deviation.
      ddof: 1 for the unbiased variance, 0 for the population's.
      scale: "group" divides by the group's deviation, None by nothing.
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` float32; NaN in a group with a NaN reward.

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or an option does not exist.

    Reference: Optimizing Language Models for Inference Time Objectives using Reinforcement Learning, 2025
      (leave-one-out baseline of the maximum); the division is verl's. verl refuses groups of one.

    >>> pass_at_k_advantage(jnp.array([3.0, 1.0, 0.0]), jnp.array([0, 0, 0]), scale=None).tolist()
    [2.0, 0.0, 0.0]
    """
    check_choice("scale", scale, ("group", None))
    rewards, groups = find_groups(rewards, group, where, axis_name)
    best = group_max(rewards, groups)
    at_best = rewards == best
    alone_at_best = at_best & (group_sum(at_best.astype(jnp.int32), groups) == 1)
    second = group_max(jnp.where(at_best, -jnp.inf, rewards), groups)
    lead = jnp.where(alone_at_best & (second > -jnp.inf), best - second, 0.0)
    if scale == "group":
        centred, size = deviation(rewards, groups)
        lead /= group_std(centred, size, groups, ddof) + eps
    return jnp.where(groups.valid, jnp.where(jnp.isnan(best), best, lead), 0.0)

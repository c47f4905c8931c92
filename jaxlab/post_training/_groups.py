"""Statistics over the responses to one prompt.

`group [B]` names the prompt of each response by an integer, whichever: groups may have any sizes and their rows may
stand in any order. A row with `where` false belongs to no group. With `axis_name` a number means the same prompt on
all devices, and a group may be spread over them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core._values import concrete
from jaxlab.core.check import InputError, as_integers, full_mask
from jaxlab.post_training._contracts import check_rows

AxisName = str | tuple[str, ...] | None


class GroupStatistics(NamedTuple):
    """What every response is told about its group: mean and standard deviation of the rewards, and how many.

    Fields: `mean`, `std`, `size`, each `[B]`, all 0 for a row that belongs to no group.
    """

    mean: jax.Array
    std: jax.Array
    size: jax.Array


class Groups(NamedTuple):
    """Which rows belong together: `ids [B]` below `count`, and `valid [B]`, false for a row without a group."""

    ids: jax.Array
    valid: jax.Array
    count: int
    axis_name: AxisName


def find_groups(
    rewards: jax.Array, group: jax.Array, where: jax.Array | None, axis_name: AxisName
) -> tuple[jax.Array, Groups]:
    """The rewards as constants, 0 in rows without a group, and the groups."""
    check_rows(rewards=rewards, group=group)
    rewards, ids = as_float(jax.lax.stop_gradient(rewards)), _ranks(group, axis_name)
    count = ids.shape[0] * (1 if axis_name is None else jax.lax.psum(1, axis_name))
    valid = full_mask(where, rewards.shape, "rewards")
    return jnp.where(valid, rewards, 0.0), Groups(ids, valid, count, axis_name)


def _ranks(group: jax.Array, axis_name: AxisName) -> jax.Array:
    """The groups' numbers in their order, each as one below the number of rows."""
    known = concrete(group)
    if known is not None and known.dtype.kind in "iu" and axis_name is None:
        # As they were given: as integers of 32 bits two could be the same.
        return jnp.asarray(np.unique(known, return_inverse=True)[1], jnp.int32)
    group = as_integers("group", group, "one number per prompt")
    every = group if axis_name is None else jax.lax.all_gather(group, axis_name, tiled=True)
    return jnp.searchsorted(jnp.sort(every), group).astype(jnp.int32)


def group_sum(x: jax.Array, groups: Groups) -> jax.Array:
    """For each row the sum over its group."""
    x = jnp.where(groups.valid, x, 0)
    total = jax.ops.segment_sum(x, groups.ids, num_segments=groups.count)
    return (total if groups.axis_name is None else jax.lax.psum(total, groups.axis_name))[groups.ids]


def group_max(x: jax.Array, groups: Groups) -> jax.Array:
    """For each row the maximum over its group; NaN if there is one, -inf if the group is empty."""
    x = jnp.where(groups.valid, x, -jnp.inf)
    largest = jax.ops.segment_max(x, groups.ids, num_segments=groups.count)
    return (largest if groups.axis_name is None else jax.lax.pmax(largest, groups.axis_name))[groups.ids]


def below_best(rewards: jax.Array, groups: Groups) -> jax.Array:
    """Rewards less the best of their group: small numbers, exactly 0 where all rewards are equal."""
    return jnp.where(groups.valid, rewards - group_max(rewards, groups), 0.0)


def deviation(rewards: jax.Array, groups: Groups) -> tuple[jax.Array, jax.Array]:
    """Rewards less the mean of their group, exactly 0 where all are equal, and the group's size."""
    shifted = below_best(rewards, groups)
    size = group_sum(jnp.ones_like(groups.ids), groups)
    mean = group_sum(shifted, groups) / jnp.maximum(size, 1)
    return jnp.where(groups.valid, shifted - mean, 0.0), jnp.where(groups.valid, size, 0)


def group_std(centred: jax.Array, size: jax.Array, groups: Groups, ddof: int) -> jax.Array:
    """Standard deviation of each row's group from the deviations; 0 in a group of one."""
    if ddof not in (0, 1):
        raise InputError(f"ddof must be 0 or 1, got {ddof}")
    return jnp.sqrt(group_sum(jnp.square(centred), groups) / jnp.maximum(size - ddof, 1))


def group_statistics(
    rewards: jax.Array,
    group: jax.Array,
    *,
    ddof: int = 1,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> GroupStatistics:
    """Mean and standard deviation of the rewards of each response's group, over the whole batch.

    No gradient flows: rewards are data. Equal rewards have a standard deviation of exactly 0. A NaN reward
    makes its group's statistics NaN.

        mean_i = mean over j with group_j = group_i of R_j

    Args:
      rewards: `[B]`, one number per response.
      group: `[B]` integers, one number per prompt, any; groups of any size, in any order.
      ddof: 1 for the unbiased variance, 0 for the population's.
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `GroupStatistics(mean, std, size)`, each `[B]`; 0 in rows left out. A group of one has std 0.

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or `ddof` is neither 0 nor 1.

    Reference: Shao et al., DeepSeekMath, 2024, section 4.1 (group mean and standard deviation). verl and TRL use ddof
      1.

    >>> found = group_statistics(jnp.array([1.0, 5.0, 3.0]), jnp.array([0, 1, 0]))
    >>> found.mean.tolist(), found.size.tolist()
    ([2.0, 5.0, 2.0], [2, 1, 2])
    """
    rewards, groups = find_groups(rewards, group, where, axis_name)
    centred, size = deviation(rewards, groups)
    std = group_std(centred, size, groups, ddof)
    blank = lambda x: jnp.where(groups.valid, x, 0)
    return GroupStatistics(blank(rewards - centred), blank(std), size)

"""RIAC: a teacher that cuts the box of tasks into regions, and samples where the student's reward has changed most.

    from jaxlab.curriculum import riac

The student plays a task and hands back its reward: `propose`, play, `record`. A region is cut in two where learning
progress differs most between the parts; a task is drawn from all regions, large and small, in proportion to theirs.
Nothing here is differentiable.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.core import MASKED_LOGIT, as_float
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import InputError, check_state, check_together
from jaxlab.curriculum.alp_gmm import box_progress, component_probs

# Of the tasks that a region is for, and of the root's side, what a cut leaves at least.
_POINTS, _SIDE = 1 / 20, 1 / 15
_INSIDE = 1e-5  # how far within its region a task is put that was moved there


class Regions(NamedTuple):
    """All that the teacher remembers: a tree of R regions at most, the first of which is the whole box.

    Attributes:
      low, high: `[R, d]`.
      leaf: `[R]` bool, regions that were not cut.
      used: int32, how many regions there are.
      tasks: `[R, M, d]`, a ring of the last tasks of each.
      rewards: `[R, M]`.
      count: `[R]` int32, tasks so far.
      size: `[R]` int32, how many of them are remembered.
    """

    low: jax.Array
    high: jax.Array
    leaf: jax.Array
    used: jax.Array
    tasks: jax.Array
    rewards: jax.Array
    count: jax.Array
    size: jax.Array


def init(low: jax.Array, high: jax.Array, *, regions: int, region_size: int = 200) -> Regions:
    """A teacher that has seen nothing.

    Args:
      low, high: `[d]` the box of tasks.
      regions: the most that there can be; then none is cut any more. A cut needs `region_size` tasks.
      region_size: tasks beyond which a region is cut.

    Returns:
      The teacher.

    Raises:
      ValueError: no box, or numbers that are too small.

    >>> init(jnp.zeros(2), jnp.ones(2), regions=9).tasks.shape
    (9, 201, 2)
    """
    low, high = as_float(low), as_float(high)
    if low.ndim != 1 or low.shape != high.shape or not low.size:
        raise InputError(f"low {low.shape} and high {high.shape} must both be [d], the corners of a box")
    check_together("low must be at most high", lambda low, high: low <= high, low=low, high=high)
    if regions < 1 or region_size < 4:
        raise InputError(f"regions is {regions} and region_size {region_size}: at least 1 and 4 are needed")
    room = region_size + 1
    spread = lambda x: jnp.broadcast_to(x, (regions, len(low)))
    zeros = jnp.zeros(regions, jnp.int32)
    return Regions(
        spread(low), spread(high), jnp.arange(regions) == 0, jnp.int32(1), jnp.zeros((regions, room, len(low))),
        jnp.zeros((regions, room)), zeros, zeros,
    )  # fmt: skip


def record(
    teacher: Regions, task: jax.Array, reward: jax.Array, key: jax.Array, *, tries: int = 50
) -> Regions:
    """The teacher after an episode; a leaf that is full is cut where progress differs most.

    A cut is drawn at random `tries` times. It has to leave a twentieth of the tasks and a fifteenth of the root's side
    on either hand; if none does, the leaf forgets its oldest quarter. The authors draw again until it does.

        argmax over cuts of |progress of one part - progress of the other|

    Args:
      teacher: before it.
      task: `[d]` that was played.
      reward: scalar, on one scale for all tasks.
      key: `jax.random.key`.
      tries: static.

    Returns:
      The teacher.

    Raises:
      ValueError: a task that is not `[d]`, or not a number where its value is known.

    Reference: Baranes and Oudeyer, R-IAC: Robust Intrinsically Motivated Exploration and Active Learning, 2009; the
      score is that of the code of ALP-GMM, 2019, in which the sizes of the parts cancel.

    >>> record(init(jnp.zeros(1), jnp.ones(1), regions=3), jnp.array([0.5]), 1.0, jax.random.key(0)).count.tolist()
    [1, 0, 0]
    """
    check_state("teacher", teacher, Regions)
    task = as_float(task)
    if task.shape != teacher.low.shape[1:]:
        raise InputError(f"task {task.shape} must be [d], {teacher.low.shape[1:]}")
    check_no_nan("task", task)  # which would be in no region, and forgotten
    regions, room = teacher.rewards.shape
    top = teacher.high[0]
    inside = jnp.all((task >= teacher.low) & ((task < teacher.high) | (teacher.high >= top)), axis=1)
    inside &= jnp.arange(regions) < teacher.used
    row = jnp.where(inside, jnp.arange(regions), regions)  # the last is none: dropped
    slot = teacher.count % room
    teacher = teacher._replace(
        tasks=teacher.tasks.at[row, slot].set(task, mode="drop"),
        rewards=teacher.rewards.at[row, slot].set(as_float(reward), mode="drop"),
        count=teacher.count + inside,
        size=jnp.minimum(teacher.size + inside, room),
    )
    own = jnp.argmax(inside & teacher.leaf)
    return _cut(teacher, own, teacher.size[own] == room, key, tries)


def _ordered(teacher: Regions, row: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Tasks and rewards of a region, oldest first."""
    room = teacher.rewards.shape[1]
    slots = (teacher.count[row] - teacher.size[row] + jnp.arange(room)) % room
    return teacher.tasks[row, slots], teacher.rewards[row, slots]


def _cut(teacher: Regions, row: jax.Array, full: jax.Array, key: jax.Array, tries: int) -> Regions:
    (regions, room), dim = teacher.rewards.shape, teacher.low.shape[1]
    tasks, rewards = _ordered(teacher, row)
    low, high = teacher.low[row], teacher.high[row]
    axis_key, place_key = jax.random.split(key)
    axis = jax.random.randint(axis_key, (tries,), 0, dim)
    place = low[axis] + (high - low)[axis] * jax.random.uniform(place_key, (tries,))
    below = place[:, None] > tasks[:, axis].T  # [tries, M]
    sides = jnp.stack([below, ~below], axis=1)
    least = _POINTS * (room - 1)
    enough = jnp.all(jnp.sum(sides, axis=2) >= least, axis=1)
    span = _SIDE * (teacher.high[0] - teacher.low[0])[axis]
    valid = enough & (place - low[axis] >= span) & (high[axis] - place >= span)
    order = jnp.argsort(~sides, axis=2, stable=True)
    progress = box_progress(rewards[order], jnp.sum(sides, axis=2), window=room - 1)
    best = jnp.argmax(jnp.where(valid, jnp.abs(progress[:, 0] - progress[:, 1]), -1.0))
    cuts = full & jnp.any(valid) & (teacher.used + 2 <= regions)
    new = jnp.where(cuts, teacher.used + jnp.arange(2), regions)
    wall = (
        jnp.where(jnp.arange(dim) == axis[best], place[best], high),
        jnp.where(jnp.arange(dim) == axis[best], place[best], low),
    )
    size = jnp.sum(sides[best], axis=1, dtype=jnp.int32)
    forgets = full & ~cuts
    return Regions(
        teacher.low.at[new].set(jnp.stack([low, wall[1]]), mode="drop"),
        teacher.high.at[new].set(jnp.stack([wall[0], high]), mode="drop"),
        teacher.leaf.at[new].set(True, mode="drop").at[row].set(teacher.leaf[row] & ~cuts),
        teacher.used + 2 * cuts,
        teacher.tasks.at[new].set(tasks[order[best]], mode="drop"),
        teacher.rewards.at[new].set(rewards[order[best]], mode="drop"),
        teacher.count.at[new].set(size, mode="drop"),
        teacher.size.at[new].set(size, mode="drop").at[row].add(jnp.where(forgets, -((room - 1) // 4), 0)),
    )


def region_progress(teacher: Regions) -> jax.Array:
    """The absolute learning progress of every region.

    Args:
      teacher: the regions.

    Returns:
      `[R]` float32, 0 for a region that there is not.

    Raises:
      Nothing.

    Reference: Baranes and Oudeyer, R-IAC: Robust Intrinsically Motivated Exploration and Active Learning, 2009, in
      the form of the code of ALP-GMM, 2019.

    >>> region_progress(init(jnp.zeros(1), jnp.ones(1), regions=2)).tolist()
    [0.0, 0.0]
    """
    check_state("teacher", teacher, Regions)
    regions, room = teacher.rewards.shape
    _, rewards = jax.vmap(lambda row: _ordered(teacher, row))(jnp.arange(regions))
    return box_progress(rewards, teacher.size, window=room - 1)


def propose(teacher: Regions, key: jax.Array, *, noise: float = 0.1) -> jax.Array:
    """The next task: in seven of ten cases from a region in proportion to its progress, in two from anywhere.

    Else near the task of such a region that was rewarded least, and within that region.

    Args:
      teacher: the regions; before any progress all alike.
      key: `jax.random.key`.
      noise: deviation of the last kind of task.

    Returns:
      `[d]` a task in the box.

    Raises:
      Nothing.

    Reference: Baranes and Oudeyer, R-IAC: Robust Intrinsically Motivated Exploration and Active Learning, 2009, in
      the form of the code of ALP-GMM, 2019.

    >>> task = propose(init(jnp.zeros(2), jnp.ones(2), regions=2), jax.random.key(0))
    >>> bool(((task >= 0) & (task <= 1)).all())
    True
    """
    check_state("teacher", teacher, Regions)
    kind_key, pick_key, place_key, near_key = jax.random.split(key, 4)
    regions, room = teacher.rewards.shape
    probs = component_probs(region_progress(teacher), where=jnp.arange(regions) < teacher.used)
    chosen = jax.random.categorical(
        pick_key, jnp.where(probs > 0, jnp.log(jnp.maximum(probs, 1e-30)), MASKED_LOGIT)
    )
    low, high = teacher.low, teacher.high
    place = jax.random.uniform(place_key, low.shape[1:])
    within = low[chosen] + place * (high[chosen] - low[chosen])
    anywhere = low[0] + place * (high[0] - low[0])
    tasks, rewards = _ordered(teacher, chosen)
    worst = tasks[jnp.argmin(jnp.where(jnp.arange(room) < teacher.size[chosen], rewards, jnp.inf))]
    near = worst + noise * jax.random.normal(near_key, worst.shape)
    near = jnp.clip(near, low[chosen] + _INSIDE, high[chosen] - _INSIDE)
    near = jnp.where(teacher.size[chosen] > 0, near, anywhere)
    kind = jax.random.uniform(kind_key)
    return jnp.where(kind < 0.1, near, jnp.where(kind < 0.3, anywhere, within))

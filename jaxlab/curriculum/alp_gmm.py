"""ALP-GMM: a teacher in a box of tasks that samples where the student's reward has changed most.

    from jaxlab.curriculum import alp_gmm

The student plays a task and hands back its reward: `propose`, play, `record`; every `window` episodes `refit`, which
a `Turn` of the engine can do. Absolute learning progress is the change of reward since the nearest earlier task; a
Gaussian mixture over (task, progress) says where it is high. `progress="covariance"` is Covar-GMM, which fits (task,
time, reward) and takes the covariance of the last two. Nothing here is differentiable.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import MASKED_LOGIT, as_float
from jaxlab.core.check import InputError, check_choice, check_fraction, check_state, check_together, full_mask
from jaxlab.curriculum._mixture import Mixture, select_mixture

PROGRESS = ("absolute", "covariance", "absolute_covariance")
"""What a teacher may take for the learning progress of a component."""

_FEWEST = 6  # earlier tasks, before one of them is called near


class Teacher(NamedTuple):
    """All that the teacher remembers.

    Attributes:
      low, high: `[d]` the box of tasks.
      tasks: `[M, d]` a ring of the last M that were played.
      rewards: `[M]`.
      progress: `[M]` the absolute learning progress of each when it was played.
      count: int32, episodes so far.
      mixture: the last fit; without a component before the first.
    """

    low: jax.Array
    high: jax.Array
    tasks: jax.Array
    rewards: jax.Array
    progress: jax.Array
    count: jax.Array
    mixture: Mixture


def absolute_progress(
    task: jax.Array,
    reward: jax.Array,
    tasks: jax.Array,
    rewards: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """How much the reward has changed since the nearest earlier task.

        |r - r_j|,   j = argmin_i ||p - p_i||   (the first of equals);   0 with fewer than 6 earlier tasks

    Args:
      task: `[d]`.
      reward: scalar.
      tasks: `[M, d]` earlier ones.
      rewards: `[M]`.
      where: `[M]` bool or {0, 1}, which of them there are; None means all.

    Returns:
      float32 scalar, at least 0.

    Raises:
      ValueError: shapes that do not belong together.

    Reference: Portelas et al., Teacher algorithms for curriculum learning of Deep RL in continuously parameterized
      environments, 2019, section 4.

    >>> tasks, rewards = jnp.arange(6.0)[:, None], jnp.arange(6.0)
    >>> absolute_progress(jnp.array([2.2]), jnp.array(5.0), tasks, rewards).item()
    3.0
    """
    task, tasks, rewards = as_float(task), as_float(tasks), as_float(rewards)
    if task.ndim != 1 or tasks.ndim != 2 or tasks.shape[1:] != task.shape or rewards.shape != tasks.shape[:1]:
        raise InputError(
            f"task {task.shape}, tasks {tasks.shape}, rewards {rewards.shape}: [d], [M, d] and [M]"
        )
    if len(tasks) < _FEWEST:
        return jnp.zeros((), rewards.dtype)
    counts = full_mask(where, rewards.shape, "rewards")
    distance = jnp.where(counts, jnp.sum((tasks - task) ** 2, -1), jnp.inf)
    nearest = rewards[jnp.argmin(distance)]
    nearest = jnp.where(jnp.any(jnp.isnan(distance)), jnp.nan, nearest)  # whichever of them that was
    return jax.lax.stop_gradient(jnp.where(jnp.sum(counts) >= _FEWEST, jnp.abs(reward - nearest), 0.0))


def init(low: jax.Array, high: jax.Array, *, capacity: int, max_components: int = 10) -> Teacher:
    """A teacher that has seen nothing.

    Args:
      low, high: `[d]` the box of tasks.
      capacity: how many episodes are remembered for the nearest task; the paper forgets none. At least the window.
      max_components: the largest number of components that a fit may try.

    Returns:
      The teacher.

    Raises:
      ValueError: no box, or a capacity below 1.

    >>> init(jnp.zeros(2), jnp.ones(2), capacity=100).tasks.shape
    (100, 2)
    """
    low, high = as_float(low), as_float(high)
    if low.ndim != 1 or low.shape != high.shape or not low.size:
        raise InputError(f"low {low.shape} and high {high.shape} must both be [d], the corners of a box")
    check_together("low must be at most high", lambda low, high: low <= high, low=low, high=high)
    if capacity < 1 or max_components < 1:
        raise InputError(
            f"capacity and max_components must be at least 1, got {capacity} and {max_components}"
        )
    return Teacher(
        low,
        high,
        jnp.zeros((capacity, len(low)), low.dtype),
        jnp.zeros(capacity, low.dtype),
        jnp.zeros(capacity, low.dtype),
        jnp.int32(0),
        _no_mixture(max_components, len(low) + 1, low.dtype),
    )


def _no_mixture(num: int, dim: int, dtype: jnp.dtype) -> Mixture:
    covariances = jnp.broadcast_to(jnp.eye(dim, dtype=dtype), (num, dim, dim))
    return Mixture(jnp.zeros(num, dtype), jnp.zeros((num, dim), dtype), covariances, jnp.zeros(num, bool))


def record(teacher: Teacher, task: jax.Array, reward: jax.Array) -> Teacher:
    """The teacher after an episode.

    Args:
      teacher: before it.
      task: `[d]` that was played.
      reward: scalar, on one scale for all tasks; the paper maps it into [0, 1].

    Returns:
      The teacher.

    Raises:
      ValueError: a task that is not `[d]`.

    Reference: Portelas et al., Teacher algorithms for curriculum learning of Deep RL in continuously parameterized
      environments, 2019, algorithm 1.

    >>> record(init(jnp.zeros(1), jnp.ones(1), capacity=9), jnp.array([0.5]), 0.3).count.item()
    1
    """
    check_state("teacher", teacher, Teacher)
    task = as_float(task).astype(teacher.tasks.dtype)
    reward = as_float(reward).astype(teacher.rewards.dtype)
    capacity = len(teacher.rewards)
    there = jnp.arange(capacity) < teacher.count
    gained = absolute_progress(task, reward, teacher.tasks, teacher.rewards, where=there)
    slot = teacher.count % capacity
    return teacher._replace(
        tasks=teacher.tasks.at[slot].set(task),
        rewards=teacher.rewards.at[slot].set(reward),
        progress=teacher.progress.at[slot].set(gained),
        count=teacher.count + 1,
    )


def refit(
    teacher: Teacher,
    key: jax.Array,
    *,
    window: int = 250,
    progress: str = "absolute",
    min_components: int = 2,
) -> Teacher:
    """The teacher with a new mixture over its last episodes; before there are `window` of them, unchanged.

    As a turn of the engine, for a state with the teacher in it:

        Turn(lambda state, train, step, key, context: state._replace(teacher=refit(state.teacher, key)), every=250)

    Args:
      teacher: with the episodes so far.
      key: `jax.random.key`.
      window: static, how many episodes are fitted; at most the capacity.
      progress: "absolute" fits (task, progress); the other two of `PROGRESS` fit (task, time, reward), the time
        growing from 0 to 1 over the window.
      min_components: the smallest number of components that is tried.

    Returns:
      The teacher.

    Raises:
      ValueError: a window that the memory does not hold, or a kind of progress that does not exist.

    Reference: Portelas et al., Teacher algorithms for curriculum learning of Deep RL in continuously parameterized
      environments, 2019, algorithm 1; Moulin-Frier, Nguyen and Oudeyer, Self-organization of early vocal development,
      2014, for the covariance.

    >>> teacher = init(jnp.zeros(1), jnp.ones(1), capacity=9, max_components=2)
    >>> bool(refit(teacher, jax.random.key(0), window=9).mixture.components.any())  # nothing to fit
    False
    """
    check_state("teacher", teacher, Teacher)
    check_choice("progress", progress, PROGRESS)
    capacity, dim = teacher.tasks.shape
    if not 1 <= window <= capacity:
        raise InputError(f"window must be in [1, capacity {capacity}], got {window}")
    slots = (teacher.count - window + jnp.arange(window)) % capacity
    task, ready = teacher.tasks[slots], teacher.count >= window
    if progress == "absolute":
        points = jnp.concatenate([task, teacher.progress[slots, None]], axis=1)
    else:
        time = jnp.arange(window, dtype=task.dtype)[:, None] / window
        points = jnp.concatenate([task, time, teacher.rewards[slots, None]], axis=1)
    most = len(teacher.mixture.weights)
    fitted = select_mixture(key, points, min_components=min(min_components, most), max_components=most)
    if progress == "absolute":
        values = fitted.means[:, -1]
    else:
        values = fitted.covariances[:, -2, -1]
        values = jnp.abs(values) if progress == "absolute_covariance" else jnp.maximum(values, 0)
    # Only the tasks are sampled, and the value of a component: the marginal of a Gaussian is a block of it.
    means = jnp.concatenate([fitted.means[:, :dim], values[:, None]], axis=1)
    block = (
        jnp.zeros_like(teacher.mixture.covariances).at[:, :dim, :dim].set(fitted.covariances[:, :dim, :dim])
    )
    block = block.at[:, dim, dim].set(fitted.covariances[:, -1, -1])
    new = Mixture(fitted.weights, means, block, fitted.components)
    mixture = jax.tree.map(lambda new, old: jnp.where(ready, new, old), new, teacher.mixture)
    return teacher._replace(mixture=mixture)


def component_probs(values: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """In what proportion components are drawn: that of their learning progress, or all alike if none has any.

        max(v_k, 0) / sum_j max(v_j, 0)

    Args:
      values: `[..., K]`.
      where: `[..., K]` bool or {0, 1}, the components that exist; None means all.

    Returns:
      `[..., K]` float32, summing to 1 unless nothing exists.

    Raises:
      ValueError: a mask that does not broadcast.

    Reference: Portelas et al., Teacher algorithms for curriculum learning of Deep RL in continuously parameterized
      environments, 2019, algorithm 1; the weights of the mixture play no part.

    >>> component_probs(jnp.array([0.0, 1.0, 3.0])).tolist()
    [0.0, 0.25, 0.75]
    """
    values = jax.lax.stop_gradient(as_float(values))
    counts = full_mask(where, values.shape, "values")
    positive = jnp.where(counts, jnp.maximum(values, 0.0), 0.0)
    total = jnp.sum(positive, -1, keepdims=True)
    alike = counts / jnp.maximum(jnp.sum(counts, -1, keepdims=True), 1)
    return jnp.where(total == 0, alike, positive / jnp.where(total == 0, 1.0, total))


def propose(teacher: Teacher, key: jax.Array, *, random_share: float | jax.Array = 0.2) -> jax.Array:
    """The next task: from a component of the mixture in proportion to its learning progress, or from anywhere.

    What is drawn outside of the box is moved to its border.

    Args:
      teacher: before its first fit it draws from the whole box.
      key: `jax.random.key`.
      random_share: probability of a task from anywhere, in [0, 1].

    Returns:
      `[d]` a task in the box.

    Raises:
      ValueError: a share outside of [0, 1].

    Reference: Portelas et al., Teacher algorithms for curriculum learning of Deep RL in continuously parameterized
      environments, 2019, algorithm 1.

    >>> task = propose(init(jnp.zeros(2), jnp.ones(2), capacity=9), jax.random.key(0))
    >>> task.shape, bool(((task >= 0) & (task <= 1)).all())
    ((2,), True)
    """
    check_state("teacher", teacher, Teacher)
    check_fraction("random_share", random_share)
    coin, pick, place, anywhere = jax.random.split(key, 4)
    mixture, dim = teacher.mixture, teacher.tasks.shape[1]
    probs = component_probs(mixture.means[:, -1], where=mixture.components)
    log_probs = jnp.where(probs > 0, jnp.log(jnp.where(probs > 0, probs, 1.0)), MASKED_LOGIT)
    chosen = jax.random.categorical(pick, log_probs)
    covariance = mixture.covariances[chosen, :dim, :dim]
    drawn = jax.random.multivariate_normal(place, mixture.means[chosen, :dim], covariance, method="eigh")
    uniform = jax.random.uniform(anywhere, teacher.low.shape, teacher.low.dtype, teacher.low, teacher.high)
    fitted = jnp.any(mixture.components)
    from_mixture = fitted & (jax.random.uniform(coin) >= random_share)
    return jnp.where(from_mixture, jnp.clip(drawn, teacher.low, teacher.high), uniform)


def box_progress(rewards: jax.Array, count: jax.Array, *, window: int = 200) -> jax.Array:
    """The absolute learning progress of a region of tasks, from the rewards in it from first to last: RIAC's.

        |mean of the older half - mean of the newer half| of the last min(n, window);   0 with fewer than 3

    Args:
      rewards: `[..., M]`, oldest first; what stands after the first `count` is not looked at.
      count: `[...]` integers, how many there are.
      window: at least 1; the newer half has `min(n, window) // 2` rewards.

    Returns:
      `[...]` float32, at least 0.

    Raises:
      ValueError: shapes that do not belong together, or a window below 1.

    Reference: Baranes and Oudeyer, R-IAC: Robust Intrinsically Motivated Exploration and Active Learning, 2009, in
      the form of the code of ALP-GMM, 2019.

    >>> box_progress(jnp.array([0.0, 0.0, 1.0, 1.0]), 4).item()
    1.0
    """
    rewards = as_float(rewards)
    if window < 1 or rewards.ndim == 0 or np.shape(count) != rewards.shape[:-1]:
        raise InputError(
            f"rewards {rewards.shape} and count {np.shape(count)} must be [..., M] and [...], window {window} above 0"
        )
    count = jnp.asarray(count)[..., None]
    used = jnp.minimum(count, window)
    newer = count - used // 2
    place = jnp.arange(rewards.shape[-1])

    def mean(inside: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(inside, rewards, 0.0), -1) / jnp.maximum(jnp.sum(inside, -1), 1)

    older = mean((place >= count - used) & (place < newer))
    gained = jnp.abs(older - mean((place >= newer) & (place < count)))
    return jnp.where(count[..., 0] > 2, gained, 0.0)

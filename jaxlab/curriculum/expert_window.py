"""A teacher that knows which tasks are hard: a window that moves from the easy corner of a box while rewards are high.

    from jaxlab.curriculum import expert_window

The comparison that teachers without such knowledge are held to. `propose`, play, `record`, as in `alp_gmm`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import InputError, check_fraction, check_positive, check_state, check_together


class Window(NamedTuple):
    """All that the teacher remembers.

    Attributes:
      low, high: `[d]` the box of tasks.
      step: `[d]`, how far the window moves; towards what is harder.
      side: `[d]` of the window.
      corner: `[d]`, its lower corner.
      total: the sum of the rewards since it was last decided whether it moves.
      count: int32, how many they are.
    """

    low: jax.Array
    high: jax.Array
    step: jax.Array
    side: jax.Array
    corner: jax.Array
    total: jax.Array
    count: jax.Array


def init(low: jax.Array, high: jax.Array, step: jax.Array, *, share: float = 1 / 6) -> Window:
    """A window in the easy corner: at the low end of each axis with a positive step, at the high end of the others.

    Args:
      low, high: `[d]` the box of tasks.
      step: `[d]`.
      share: of the window in each side of the box, in [0, 1].

    Returns:
      The teacher.

    Raises:
      ValueError: no box, a step of another shape, or a share outside of [0, 1].

    Reference: Portelas et al., Teacher algorithms for curriculum learning of Deep RL in continuously parameterized
      environments, 2019, the Oracle of the authors' code.

    >>> init(jnp.zeros(2), jnp.array([3.0, 6.0]), jnp.array([0.1, -0.2])).corner.tolist()
    [0.0, 5.0]
    """
    low, high, step = as_float(low), as_float(high), as_float(step)
    if low.ndim != 1 or low.shape != high.shape or step.shape != low.shape or not low.size:
        raise InputError(f"low {low.shape}, high {high.shape} and step {step.shape} must be [d], of one box")
    check_together("low must be at most high", lambda low, high: low <= high, low=low, high=high)
    check_fraction("share", share)
    side = (high - low) * share
    corner = jnp.where(step > 0, low, high - side)
    return Window(low, high, step, side, corner, jnp.zeros((), low.dtype), jnp.int32(0))


def record(
    window: Window, reward: jax.Array, *, every: int = 50, threshold: float | jax.Array = 230.0
) -> Window:
    """The teacher after an episode; every so many of them the window moves by a step if they went well.

        corner <- corner + step, held in the box, where mean of the last `every` rewards > threshold

    Args:
      window: before it.
      reward: scalar, the raw one.
      every: episodes between two decisions, at least 1.
      threshold: 230 in the authors' bipedal walkers, where it is mastery.

    Returns:
      The teacher.

    Raises:
      ValueError: no teacher, a number that is not positive, or a known reward that is NaN.

    Reference: Portelas et al., Teacher algorithms for curriculum learning of Deep RL in continuously parameterized
      environments, 2019, the Oracle of the authors' code.

    >>> window = init(jnp.zeros(1), jnp.ones(1), jnp.array([0.25]))
    >>> record(window, 231.0, every=1).corner.tolist()
    [0.25]
    """
    check_state("window", window, Window)
    check_positive("every", every)
    check_no_nan("total", window.total)
    check_no_nan("reward", reward)
    total, count = window.total + as_float(reward).astype(window.total.dtype), window.count + 1
    decides = count >= every
    last = window.high - window.side
    moved = window.corner + window.step
    moved = jnp.where(window.step > 0, jnp.minimum(moved, last), jnp.maximum(moved, window.low))
    return window._replace(
        corner=jnp.where(decides & (total / count > threshold), moved, window.corner),
        total=jnp.where(decides, jnp.zeros_like(total), total),
        count=jnp.where(decides, 0, count),
    )


def propose(window: Window, key: jax.Array) -> jax.Array:
    """The next task: from anywhere in the window.

    Args:
      window: the teacher.
      key: `jax.random.key`.

    Returns:
      `[d]` a task in the box.

    Raises:
      ValueError: no teacher.

    Reference: Portelas et al., Teacher algorithms for curriculum learning of Deep RL in continuously parameterized
      environments, 2019, the Oracle of the authors' code.

    >>> window = init(jnp.zeros(2), jnp.ones(2), -jnp.ones(2))
    >>> bool((propose(window, jax.random.key(0)) >= 5 / 6).all())
    True
    """
    check_state("window", window, Window)
    place = jax.random.uniform(key, np.shape(window.corner), window.corner.dtype)
    return window.corner + place * window.side

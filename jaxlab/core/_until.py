"""Stopping at a target: a learner that keeps its state once a running metric is good enough."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.core._learner import Batch, Context, Learner, Metrics
from jaxlab.core._values import concrete
from jaxlab.core.check import InputError


class UntilState(NamedTuple):
    """State of `until`.

    Attributes:
      inner: the learner's own state.
      running: moving averages of its metrics, float32 scalars.
      reached: whether the target was met, bool.
      steps: updates taken until then, or so far, int32.
    """

    inner: Any
    running: Metrics
    reached: jax.Array
    steps: jax.Array


def until(
    learner: Learner, reached: Callable[[Metrics], jax.Array], metrics: tuple[str, ...], *, decay: float = 0.9
) -> Learner:
    """A learner that stops changing once its running metrics satisfy `reached`: equal starts, not equal steps.

    Its own metrics go on being reported, with `reached` (0 or 1) and `steps_to_target` (so far, while it is not
    reached). Mapped over seeds, each costs the steps of the slowest: the engine ends training when all have arrived.

    Args:
      learner: what is trained.
      reached: `running -> bool`, of `{name: float32 scalar}`, the bias-corrected exponential averages.
      metrics: the names that are averaged; the learner reports them.
      decay: of the averages, in [0, 1).

    Returns:
      A learner whose state is an `UntilState`.

    Raises:
      ValueError: a decay outside [0, 1).

    >>> from jaxlab.core import Learner
    >>> count = Learner(lambda key, context: jnp.float32(0), lambda s, b, k, c: (s + 1, {"loss": 10 - s}))
    >>> early = until(count, lambda running: running["loss"] < 8, ("loss",), decay=0.0)
    >>> state = early.init(jax.random.key(0), {})
    >>> for _ in range(9):
    ...     state, found = early.update(state, None, jax.random.key(0), {})
    >>> float(state.inner), float(found["reached"]), float(found["steps_to_target"])
    (4.0, 1.0, 4.0)
    """
    known = concrete(decay)
    if known is not None and not 0.0 <= known < 1.0:
        raise InputError(f"decay must be in [0, 1), got {decay}")

    def begin(key: jax.Array, context: Context) -> UntilState:
        zeros = {name: jnp.float32(0) for name in metrics}
        return UntilState(learner.init(key, context), zeros, jnp.bool_(False), jnp.int32(0))

    def update(
        state: UntilState, batch: Batch, key: jax.Array, context: Context
    ) -> tuple[UntilState, Metrics]:
        inner, found = learner.update(state.inner, batch, key, context)
        steps = state.steps + 1
        running = {name: decay * state.running[name] + (1 - decay) * found[name] for name in metrics}
        corrected = jax.tree.map(lambda x: x / (1 - decay ** steps.astype(jnp.float32)), running)
        new = UntilState(inner, running, jnp.asarray(reached(corrected)), steps)
        # The state that met the target is the one that is kept.
        kept = jax.tree.map(lambda old, new: jnp.where(state.reached, old, new), state, new)
        told = {
            "reached": kept.reached.astype(jnp.float32),
            "steps_to_target": kept.steps.astype(jnp.float32),
        }
        return kept, {**found, **told}

    return Learner(begin, update, learner.jit, ends="reached")

"""Batches by step: one task after another, all at once, or one after another with some of the old."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.continual._learning import Rows, as_rows
from experiments.parts.checks import choose
from jaxlab import data
from jaxlab.continual.rehearsal import rehearsal_weights
from jaxlab.core.check import check_least

Stream = Callable[[data.TaskStream, jax.Array, jax.Array], Rows]


def make_stream(
    kind: str, *, batch_size: int, passes: int, steps_per_task: int, largest: int, tasks: int, **share: Any
) -> Stream:
    """The batches that `kind` names.

    Args:
      kind: of KINDS.
      batch_size: rows of a batch.
      passes: through the examples of each task.
      steps_per_task: before the next task comes.
      largest: examples of the largest task.
      tasks: how many are learned.
      share: `budget`, `exponent` and `scale` of what is rehearsed.
    """
    shares = choose("stream", kind, KINDS)
    if shares is None:
        own = {"batch_size": batch_size, "steps_per_task": steps_per_task, "passes": passes}
        return lambda train, key, step: _with_own(train, data.task_batch(train, key, step, **own))

    def stream(train: data.TaskStream, key: jax.Array, step: jax.Array) -> Rows:
        """Every row is a random example of a random task."""
        phase = jnp.asarray(step, jnp.int32) // steps_per_task
        of_tasks = jnp.log(shares(jnp.arange(tasks), phase, **share))

        def row(key: jax.Array) -> Rows:
            task_key, place_key = jax.random.split(key)
            task = jax.random.categorical(task_key, of_tasks)
            place = jax.random.randint(place_key, (), 0, train.size[task])
            one = {"batch_size": 1, "steps_per_task": largest}
            return as_rows(data.task_batch(train, key, task * largest + place, **one))

        rows = jax.vmap(row)(jax.random.split(jax.random.fold_in(key, step), batch_size))
        return jax.tree.map(lambda x: x[:, 0], rows) | {"own": train.own}

    return stream


def _with_own(train: data.TaskStream, batch: Rows) -> Rows:
    return as_rows(batch) | {"own": train.own}


def _joint(task: jax.Array, phase: jax.Array, **share: Any) -> jax.Array:
    return jnp.ones(task.shape)


def _rehearsed(kind: str) -> Callable:
    def shares(
        task: jax.Array, phase: jax.Array, *, budget: float, exponent: float, scale: float
    ) -> jax.Array:
        """The new task has 1, all before it have `budget` together."""
        check_least("budget", budget, 0)
        age = jnp.maximum(phase - task, 0)
        old = rehearsal_weights(age, kind=kind, exponent=exponent, scale=scale, where=task < phase)
        return jnp.where(task == phase, 1.0, budget * old)

    return shares


KINDS: dict[str, Callable | None] = {
    "tasks": None,
    "joint": _joint,
    "uniform": _rehearsed("uniform"),
    "power_law": _rehearsed("power_law"),
    "exponential": _rehearsed("exponential"),
}

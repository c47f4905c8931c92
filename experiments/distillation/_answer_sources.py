"""Whose answers a small decoder is distilled on: a function of the task and an arm's settings for every method."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.distillation._sequences import sampled

Sequences = tuple[jax.Array, jax.Array]  # prompts and answers of a batch


def _stored(task: Any, settings: Any, params: Any, context: Any, row: jax.Array, key: Any) -> Sequences:
    """The teacher's, from the pool."""
    stored = context["pool"][: settings.prompts, : settings.generations].reshape(-1, task.length)
    pair = row % len(stored)
    return jnp.asarray(task.prompts["distil"])[pair // settings.generations], stored[pair]


def _teachers(task: Any, settings: Any, params: Any, context: Any, row: jax.Array, key: Any) -> Sequences:
    """Written now by the teacher."""
    asked = jnp.asarray(task.prompts["distil"])[row % settings.prompts]
    return asked, sampled(task.teacher, context["teacher"], asked, key, task.length)


def _students(task: Any, settings: Any, params: Any, context: Any, row: jax.Array, key: Any) -> Sequences:
    """Written now by the student."""
    asked = jnp.asarray(task.prompts["distil"])[row % settings.prompts]
    return asked, sampled(task.student, jax.lax.stop_gradient(params), asked, key, task.length)


def _mixed(task: Any, settings: Any, params: Any, context: Any, row: jax.Array, key: Any) -> Sequences:
    """Every other one from the pool, the others by the student."""
    old, fresh = (source(task, settings, params, context, row, key) for source in (_stored, _students))
    is_old = (jnp.arange(len(row)) % 2 == 0)[:, None]
    return tuple(jnp.where(is_old, a, b) for a, b in zip(old, fresh))


METHODS: dict[str, Callable] = {
    "start": _stored,  # in no step
    "offline": _stored,
    "online_teacher": _teachers,
    "online_student": _students,
    "mixed": _mixed,
}

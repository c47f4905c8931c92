"""Methods that store examples of a task when it ends: GEM, A-GEM and iCaRL."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.continual._learning import (
    Method,
    Rows,
    Task,
    evaluation,
    joined,
    kept,
    learned,
    replace_memory,
)
from jaxlab.continual import (
    Reservoir,
    agem_project,
    gem_project,
    herding_order,
    icarl_loss,
    nearest_class_mean_logits,
    projected_learner,
    reservoir_draw,
    reservoir_init,
)
from jaxlab.core import InputError, masked_mean, normalize


def averaged_gem(task: Task, settings: Any) -> Method:
    """A-GEM: no step raises the loss on a random batch of what is stored."""

    def project(grads: Any, params: Any, memory: Any, key: jax.Array, context: Any) -> Any:
        drawn, valid = reservoir_draw(memory, key, batch_size=settings.replay_batch)
        return agem_project(grads, jax.grad(task.loss)(params, drawn, valid))

    return _projected(task, settings, project), evaluation(task), None


def gem(task: Task, settings: Any) -> Method:
    """GEM: no step raises the loss on the examples of any task before."""

    def project(grads: Any, params: Any, memory: Any, key: jax.Array, context: Any) -> Any:
        by_task = lambda x: x.reshape(task.tasks, -1, *x.shape[1:])
        rows, valid = jax.tree.map(by_task, memory.items), by_task(memory.valid)
        each = jax.vmap(jax.grad(task.loss), in_axes=(None, 0, 0))(params, rows, valid)
        return gem_project(grads, each, margin=settings.margin, where=jnp.any(valid, axis=1))

    return _projected(task, settings, project), evaluation(task), None


def _projected(task: Task, settings: Any, project: Callable) -> Any:
    share = settings.buffer // task.tasks
    if share < 1:
        raise InputError(f"buffer is {settings.buffer}: it must be at least the {task.tasks} tasks")

    def init(key: jax.Array, context: Any) -> tuple:
        return task.init(key), reservoir_init(share * task.tasks, task.row())

    def loss(params: Any, memory: Any, batch: Rows, step: Any, key: Any, context: Any) -> tuple:
        return task.loss(params, batch, batch["where"]), (memory, {})

    return projected_learner(init, loss, task.optimizer(settings), project)


def store_turn(task: Task) -> Callable:
    """Every task has an equal share of the memory, for random examples of its own."""

    def change(state: Any, train: Any, step: jax.Array, key: jax.Array) -> Reservoir:
        memory, number = state.memory, task.number(step)
        share = len(memory.valid) // task.tasks
        rows = task.just_learned(train, step, share)
        write = lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, number * share, axis=0)
        items = jax.tree.map(write, memory.items, kept(rows))
        return Reservoir(items, write(memory.valid, rows["where"]), memory.seen)

    return replace_memory(change)


def icarl(task: Task, settings: Any) -> Method:
    """iCaRL: logistic outputs, the old net's on old classes; prediction by the nearest mean of exemplars.

    Every class has its share of the memory from the start: as in the paper once all classes have come.
    """
    share = settings.buffer // task.outputs
    if share < 1:
        raise InputError(f"buffer is {settings.buffer}: it must be at least the {task.outputs} classes")

    def init(key: jax.Array, context: Any) -> tuple:
        params = task.init(key)
        exemplars = reservoir_init(share * task.outputs, task.row())
        return params, {"exemplars": exemplars, "old": params, "seen": jnp.zeros(task.outputs, bool)}

    def loss(params: Any, memory: Any, batch: Rows, step: Any, key: Any, context: Any) -> tuple:
        drawn, valid = reservoir_draw(memory["exemplars"], key, batch_size=settings.replay_batch)
        rows, where = joined(batch, drawn, valid)
        logits, old = task.logits(params, rows), task.logits(memory["old"], rows)
        losses = icarl_loss(logits, jnp.where(where, rows["label"], -1), old, old_classes=memory["seen"])
        return masked_mean(losses, where=where), (memory, {})

    def predict(state: Any, rows: Rows) -> jax.Array:
        known = state.memory["exemplars"]
        exemplars = features(task, state.params, known.items["image"])
        label = known.items["label"]
        asked = features(task, state.params, rows["image"])
        return nearest_class_mean_logits(asked, exemplars, label, num_classes=task.outputs, where=known.valid)

    return learned(task, settings, init, loss), evaluation(task, predict), None


def features(task: Task, params: Any, image: jax.Array) -> jax.Array:
    """What the classifier reads."""
    return task.net.apply(params, image, return_features=True)[1][-1]


def herding_turn(task: Task) -> Callable:
    """The classes of the task get their exemplars, and its net becomes the old one."""

    def change(state: Any, train: Any, step: jax.Array, key: jax.Array) -> dict[str, Any]:
        memory, number = state.memory["exemplars"], task.number(step)
        share = len(memory.valid) // task.outputs
        rows = task.just_learned(train, step, max(task.largest, share))
        units = normalize(features(task, state.params, rows["image"]))
        of_class = (rows["label"] == jnp.arange(task.outputs)[:, None]) & rows["where"]
        chosen = jax.vmap(lambda where: herding_order(units, size=share, where=where))(of_class)
        exists = jnp.take_along_axis(of_class, chosen, axis=1).reshape(-1)
        own = jnp.repeat(train.own[number], share)
        pick = lambda old, new: jnp.where(
            own.reshape(-1, *(1,) * (old.ndim - 1)), new[chosen.reshape(-1)], old
        )
        exemplars = Reservoir(
            jax.tree.map(pick, memory.items, kept(rows)), jnp.where(own, exists, memory.valid), memory.seen
        )
        seen = state.memory["seen"] | train.own[number]
        return {"exemplars": exemplars, "old": state.params, "seen": seen}

    return replace_memory(change)

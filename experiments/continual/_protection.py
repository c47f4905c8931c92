"""Methods that protect what was learned without examples: weights, outputs, or a column for every task."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.continual._learning import (
    Method,
    Rows,
    Task,
    evaluation,
    learned,
    loss_of,
    replace_memory,
)
from jaxlab.continual import (
    anchor_init,
    diag_fisher,
    ewc_anchor,
    lwf_loss,
    mas_importance,
    quadratic_penalty,
    si_end_task,
    si_learner,
)
from jaxlab.continual.progressive import progressive_apply, progressive_init
from jaxlab.core import MASKED_LOGIT, masked_mean


def anchored(task: Task, settings: Any) -> Method:
    """A quadratic penalty around the weights of the last task: EWC and MAS, which differ in their turns."""

    def init(key: jax.Array, context: Any) -> tuple:
        params = task.init(key)
        return params, anchor_init(params)

    def loss(params: Any, anchor: Any, batch: Rows, step: Any, key: Any, context: Any) -> tuple:
        penalty = quadratic_penalty(params, anchor, strength=settings.strength)
        return task.loss(params, batch, batch["where"]) + penalty, (anchor, {"penalty": penalty})

    return learned(task, settings, init, loss), evaluation(task), None


def fisher_turn(task: Task) -> Callable:
    """EWC, one anchor for all tasks: the exact Fisher information of the last one is added."""

    def change(state: Any, train: Any, step: jax.Array, key: jax.Array) -> Any:
        rows = task.just_learned(train, step, task.importance_examples)
        inputs = {name: rows[name] for name in ("image", "classes")}
        apply = lambda params, rows: jnp.where(rows["classes"], task.logits(params, rows), MASKED_LOGIT)
        # Few at a time: a gradient for every class of every example, for all seeds and settings side by side.
        fisher = diag_fisher(apply, state.params, inputs, rows["label"], kind="exact", batch_size=4)
        return ewc_anchor(state.memory, state.params, fisher)

    return replace_memory(change)


def sensitivity_turn(task: Task) -> Callable:
    """MAS: the sensitivity of the outputs on the last task is added."""

    def change(state: Any, train: Any, step: jax.Array, key: jax.Array) -> Any:
        rows = task.just_learned(train, step, task.importance_examples)
        inputs = {name: rows[name] for name in ("image", "classes")}
        apply = lambda params, rows: jnp.where(rows["classes"], task.logits(params, rows), 0.0)
        importance = mas_importance(apply, state.params, inputs, batch_size=16, where=rows["where"])
        return ewc_anchor(state.memory, state.params, importance)

    return replace_memory(change)


def synaptic_intelligence(task: Task, settings: Any) -> Method:
    """SI: importance is what a weight has contributed to the fall of the loss."""
    loss = lambda params, batch, key, context: task.loss(params, batch, batch["where"])
    init = lambda key, context: task.init(key)
    learner = si_learner(init, loss, task.optimizer(settings), strength=settings.strength)
    return learner, evaluation(task), None


def si_turn(task: Task) -> Callable:
    """The path becomes importance, which is at least 0."""
    return lambda state, train, step, key, context: si_end_task(state, clip=True)


def learning_without_forgetting(task: Task, settings: Any) -> Method:
    """LwF: what the net said of the new task's examples when the task began is kept, head by head."""

    def init(key: jax.Array, context: Any) -> tuple:
        params = task.init(key)
        return params, {"old": params, "learned": jnp.zeros(task.tasks, bool)}

    def loss(params: Any, memory: Any, batch: Rows, step: Any, key: Any, context: Any) -> tuple:
        rows, where = task.seen(batch, batch["where"], key)
        logits, old = task.logits(params, rows), task.logits(memory["old"], rows)
        heads = old_heads(task, batch["own"], memory["learned"])
        terms = jax.vmap(lambda head: lwf_loss(logits, old, temperature=2.0, classes=head))(heads)
        changed = masked_mean(jnp.sum(terms, axis=0), where=where)
        value = loss_of(logits, rows, where) + settings.strength * changed
        return value, (memory, {"changed": changed})

    return learned(task, settings, init, loss), evaluation(task), None


def old_heads(task: Task, own: jax.Array, learned: jax.Array) -> jax.Array:
    """The outputs that old tasks competed over, `[heads, outputs]`: one head a task if it is told, else one."""
    old = own[: task.tasks] & learned[:, None]
    return old if task.scenario == "task_il" else jnp.any(old, axis=0, keepdims=True)


def snapshot_turn(task: Task) -> Callable:
    """The old net is the one that has just learned a task."""

    def change(state: Any, train: Any, step: jax.Array, key: jax.Array) -> Any:
        return {"old": state.params, "learned": state.memory["learned"].at[task.number(step)].set(True)}

    return replace_memory(change)


def progressive(task: Task, settings: Any) -> Method:
    """A progressive network: a column for every task, so it has to be told which one it is."""
    sizes = {"dim": int(np.prod(task.image.shape[1:])), "features": tuple(task.net.features)}

    def init(key: jax.Array, context: Any) -> tuple:
        own = {"num_classes": task.outputs, "num_tasks": task.tasks, "adapter": sizes["features"][0] // 4}
        return progressive_init(key, **sizes, **own), None

    def logits(params: Any, rows: Rows) -> jax.Array:
        return progressive_apply(params, rows["image"], rows["task"][0])

    def loss(params: Any, memory: Any, batch: Rows, step: Any, key: Any, context: Any) -> tuple:
        return loss_of(logits(params, batch), batch, batch["where"]), (memory, {})

    predict = lambda state, rows: logits(state.params, rows)
    return learned(task, settings, init, loss), evaluation(task, predict), None

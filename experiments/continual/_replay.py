"""Methods that replay a reservoir of the stream's examples, and GDumb, which has nothing else."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.continual._learning import (
    Method,
    Rows,
    Task,
    evaluation,
    joined,
    kept,
    learned,
    loss_of,
)
from jaxlab.continual import (
    balanced_insert,
    der_loss,
    er_ace_loss,
    reservoir_draw,
    reservoir_init,
    reservoir_insert,
)
from jaxlab.core import InputError, Learner, TrainState, masked_mean


def experience_replay(task: Task, settings: Any) -> Method:
    """ER: one mean over the stream's batch and a batch of the memory."""

    def loss(params: Any, memory: Any, batch: Rows, step: Any, key: Any, context: Any) -> tuple:
        draw_key, insert_key, look_key = jax.random.split(key, 3)
        drawn, valid = reservoir_draw(memory, draw_key, batch_size=settings.replay_batch)
        memory = reservoir_insert(memory, kept(batch), insert_key, where=batch["where"])
        return task.loss(params, *task.seen(*joined(batch, drawn, valid), look_key)), (memory, {})

    return learned(task, settings, _with_memory(task, settings, task.row()), loss), evaluation(task), None


def asymmetric_replay(task: Task, settings: Any) -> Method:
    """ER-ACE: among the stream's examples the classes of their batch alone compete."""

    def loss(params: Any, memory: Any, batch: Rows, step: Any, key: Any, context: Any) -> tuple:
        draw_key, insert_key = jax.random.split(key)
        drawn, valid = reservoir_draw(memory, draw_key, batch_size=settings.replay_batch)
        memory = reservoir_insert(memory, kept(batch), insert_key, where=batch["where"])
        new = er_ace_loss(task.logits(params, batch), batch["label"], where=batch["where"])
        return masked_mean(new, where=batch["where"]) + task.loss(params, drawn, valid), (memory, {})

    return learned(task, settings, _with_memory(task, settings, task.row()), loss), evaluation(task), None


def dark_replay(task: Task, settings: Any) -> Method:
    """DER: the logits of stored examples are kept; with a `label_weight`, DER++, their labels too."""
    row = task.row() | {"logits": jnp.zeros(task.outputs)}
    learner = learned(task, settings, _with_memory(task, settings, row), dark_loss(task, settings))
    return learner, evaluation(task), None


def dark_loss(task: Task, settings: Any) -> Callable:
    """The loss of DER and DER++; their memory is a reservoir of rows with logits."""

    def loss(params: Any, memory: Any, batch: Rows, step: Any, key: Any, context: Any) -> tuple:
        first, second, insert_key = jax.random.split(key, 3)
        logits = task.logits(params, batch)
        value = loss_of(logits, batch, batch["where"])
        drawn, valid = reservoir_draw(memory, first, batch_size=settings.replay_batch)
        apart = der_loss(task.logits(params, drawn), drawn["logits"], where=valid)
        value += settings.logit_weight * masked_mean(apart, where=valid)
        if settings.label_weight is not None:
            drawn, valid = reservoir_draw(memory, second, batch_size=settings.replay_batch)
            value += settings.label_weight * task.loss(params, drawn, valid)
        rows = kept(batch) | {"logits": logits}
        return value, (reservoir_insert(memory, rows, insert_key, where=batch["where"]), {})

    return loss


def gdumb(task: Task, settings: Any) -> Method:
    """GDumb: the stream only fills a balanced memory; whenever a task ends, a net learns from that alone."""
    rows = 2 * task.batch_size  # of a step, as many as in replay
    if rows > settings.buffer:
        raise InputError(f"buffer is {settings.buffer}: it must be at least the {rows} rows of a step")

    def init(key: jax.Array, context: Any) -> TrainState:
        memory = reservoir_init(settings.buffer, task.row())
        # The rate is remembered for the turn, which knows no settings.
        kept = {"examples": memory, "rate": jnp.float32(settings.learning_rate)}
        return TrainState(task.init(key), None, kept, jnp.int32(0))

    def update(state: TrainState, batch: Rows, key: jax.Array, context: Any) -> tuple[TrainState, dict]:
        examples = balanced_insert(
            state.memory["examples"], kept(batch), key, num_classes=task.outputs, where=batch["where"]
        )
        memory = state.memory | {"examples": examples}
        held = jnp.sum(examples.valid, dtype=jnp.float32)
        return state._replace(memory=memory, step=state.step + 1), {"held": held}

    return Learner(init, update), evaluation(task), None


def gdumb_turn(task: Task) -> Callable:
    """From new parameters, as many steps as the stream has had so far."""

    def turn(state: TrainState, train: Any, step: jax.Array, key: jax.Array, context: Any) -> TrainState:
        memory, rate = state.memory["examples"], state.memory["rate"]
        clip = optax.clip_by_global_norm(task.max_grad_norm)

        def improve(number: jax.Array, params: Any) -> Any:
            own = jax.random.fold_in(key, number)
            drawn, valid = reservoir_draw(memory, own, batch_size=2 * task.batch_size)
            grads = jax.grad(task.loss)(params, drawn, valid)
            grads, _ = clip.update(grads, clip.init(params))
            return jax.tree.map(lambda p, g: p - rate * g, params, grads)

        start = task.init(jax.random.fold_in(key, step))
        return state._replace(params=jax.lax.fori_loop(0, jnp.asarray(step, jnp.int32), improve, start))

    return turn


def _with_memory(task: Task, settings: Any, row: dict[str, Any]) -> Callable:
    """Parameters, and a reservoir of rows."""
    return lambda key, context: (task.init(key), reservoir_init(settings.buffer, row))

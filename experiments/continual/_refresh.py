"""DER++ that unlearns a little before every step, and controls that move as far in other directions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.continual._learning import (
    Method,
    Rows,
    Task,
    as_rows,
    evaluation,
    learned,
    loss_of,
    replace_memory,
)
from experiments.continual._replay import dark_loss
from experiments.parts.checks import choose
from jaxlab import data
from jaxlab.continual import diag_fisher, reservoir_init
from jaxlab.continual.refresh import refreshed, unlearn, unlearn_langevin

DAMPING = 1e-3


def refresh(task: Task, settings: Any) -> Method:
    """`unlearn` says what precedes a step of DER++: see UNLEARNING."""
    replay = dark_loss(task, settings)
    before = choose("unlearn", settings.unlearn, UNLEARNING)

    def init(key: jax.Array, context: Any) -> tuple:
        params = task.init(key)
        examples = reservoir_init(settings.buffer, task.row() | {"logits": jnp.zeros(task.outputs)})
        return params, {"examples": examples, "fisher": jax.tree.map(jnp.zeros_like, params)}

    def loss(params: Any, memory: Any, batch: Rows, step: Any, key: Any, context: Any) -> tuple:
        value, (examples, metrics) = replay(params, memory["examples"], batch, step, key, context)
        return value, (memory | {"examples": examples}, metrics)

    learner = learned(task, settings, init, loss)
    if before is not None:
        change = lambda state, batch, key, context: before(task, settings, loss, state, batch, key)
        learner = refreshed(learner, change)
    return learner, _evaluation(task), None


def _gradient(task: Task, settings: Any, loss: Callable, state: Any, batch: Rows, key: jax.Array) -> Any:
    """The authors' code: up the loss of the stream's batch, as far as a share of the length of the weights."""
    grads = jax.grad(task.loss)(state.params, batch, batch["where"])
    return unlearn(state.params, grads, state.memory["fisher"], key, size=settings.size, damping=DAMPING)


def _noise(task: Task, settings: Any, loss: Callable, state: Any, batch: Rows, key: jax.Array) -> Any:
    """As far in a random direction."""
    keys = jax.random.split(key, len(jax.tree.leaves(state.params)) + 1)
    structure = jax.tree.structure(state.params)
    own = jax.tree.unflatten(structure, list(keys[1:]))
    anywhere = jax.tree.map(lambda key, w: jax.random.normal(key, w.shape), own, state.params)
    return unlearn(
        state.params, anywhere, state.memory["fisher"], keys[0], size=settings.size, damping=DAMPING
    )


def _langevin(task: Task, settings: Any, loss: Callable, state: Any, batch: Rows, key: jax.Array) -> Any:
    """The paper: up the whole loss, with the noise of Langevin dynamics; `size` is its rate."""
    step_key, draw_key = jax.random.split(key)
    value = lambda params: loss(params, state.memory, batch, state.step, draw_key, {})[0]
    return unlearn_langevin(
        state.params, jax.grad(value), state.memory["fisher"], step_key, rate=settings.size, damping=1.0
    )


UNLEARNING: dict[str, Callable | None] = {
    "nothing": None,
    "gradient": _gradient,
    "noise": _noise,
    "langevin": _langevin,
}


def weighted_fisher_turn(task: Task) -> Callable:
    """The Fisher information of the last task, as in the authors' code, where earlier ones count 1e-5."""

    def change(state: Any, train: Any, step: jax.Array, key: jax.Array) -> dict[str, Any]:
        rows = task.just_learned(train, step, task.importance_examples)
        apply = lambda params, image: task.net.apply(params, image)
        told = {"kind": "weighted", "batch_size": 16, "where": rows["where"]}
        fisher = diag_fisher(apply, state.params, rows["image"], rows["label"], **told)
        return state.memory | {"fisher": fisher}

    return replace_memory(change)


def _evaluation(task: Task) -> Callable:
    """Accuracies, and how long the gradient of the loss on all tasks is in terms of its Fisher information."""
    accuracies = evaluation(task)

    def evaluate(state: Any, split: Any, context: Any) -> dict[str, jax.Array]:
        size = min(len(split["slots"]), task.importance_examples)
        some = [as_rows(data.task_examples(split["stream"], n, size=size)) for n in range(task.tasks)]
        rows = jax.tree.map(lambda *parts: jnp.concatenate(parts), *some)
        value = lambda params: loss_of(task.logits(params, rows), rows, rows["where"])
        told = {"batch_size": 16, "where": rows["where"]}
        fisher = diag_fisher(task.net.apply, state.params, rows["image"], rows["label"], **told)
        squares = jax.tree.map(
            lambda g, f: jnp.sum(jnp.square(g) / (f + DAMPING)), jax.grad(value)(state.params), fisher
        )
        length = jnp.sqrt(sum(jax.tree.leaves(squares)))
        return accuracies(state, split, context) | {f"{task.scenario}/gradient_length": length}

    return evaluate

"""What the methods share: batches of rows, the task's loss, the optimizer, evaluation task by task."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxlab import data
from jaxlab.core import MASKED_LOGIT, Learner, TrainState, cross_entropy, gradient_learner, masked_mean

Rows = dict[str, jax.Array]
Method = tuple[Learner, Callable, None]
ROW = ("image", "label", "classes")  # what a memory keeps of an example


class Task(NamedTuple):
    """What the arms share.

    Attributes:
      net: of `experiments.parts.nets`.
      image: `[1, H, W, C]`, an example.
      outputs: of the net.
      scenario: "class_il", "domain_il" or "task_il".
      tasks: how many are learned.
      steps_per_task: of the stream.
      batch_size: of the stream.
      largest: examples of the largest task.
      importance_examples: of a task, on which importance of weights is measured.
      max_grad_norm: gradients are clipped to it.
      look: `(rows, key) -> rows`, a random view of every image, or None.
    """

    net: Any
    image: jax.Array
    outputs: int
    scenario: str
    tasks: int
    steps_per_task: int
    batch_size: int
    largest: int
    importance_examples: int
    max_grad_norm: float
    look: Callable[[jax.Array, jax.Array], jax.Array] | None

    def init(self, key: jax.Array) -> Any:
        """Parameters of the net."""
        return self.net.init(key, self.image)

    def logits(self, params: Any, rows: Rows) -> jax.Array:
        """`[B, outputs]`."""
        return self.net.apply(params, rows["image"])

    def loss(self, params: Any, rows: Rows, where: jax.Array) -> jax.Array:
        """Mean cross-entropy of the rows that count, each over the outputs that compete in its task."""
        return loss_of(self.logits(params, rows), rows, where)

    def seen(self, rows: Rows, where: jax.Array, key: jax.Array) -> tuple[Rows, jax.Array]:
        """The rows and, where there are views, a random one of each after them."""
        if self.look is None:
            return rows, where
        both = {name: jnp.concatenate([rows[name], rows[name]]) for name in ROW}
        views = self.look(rows["image"], key)
        return both | {"image": jnp.concatenate([rows["image"], views])}, jnp.concatenate([where, where])

    def optimizer(self, settings: Any) -> optax.GradientTransformation:
        """SGD, as in the field's comparisons: momentum would carry one task's gradient into the next."""
        return optax.chain(optax.clip_by_global_norm(self.max_grad_norm), optax.sgd(settings.learning_rate))

    def row(self) -> dict[str, Any]:
        """An example as memories keep it."""
        classes = jax.ShapeDtypeStruct((self.outputs,), bool)
        return {"image": self.image[0], "label": jnp.int32(0), "classes": classes}

    def number(self, step: jax.Array) -> jax.Array:
        """The task that has just ended after so many steps."""
        return (jnp.asarray(step, jnp.int32) - 1) // self.steps_per_task

    def just_learned(self, train: data.TaskStream, step: jax.Array, size: int) -> Rows:
        """Up to `size` random training examples of the task that has just ended."""
        return as_rows(data.task_examples(train, self.number(step), size=size))


def loss_of(logits: jax.Array, rows: Rows, where: jax.Array) -> jax.Array:
    """Mean cross-entropy of the rows that count."""
    return masked_mean(cross_entropy(logits, rows["label"], classes=rows["classes"]), where=where)


def as_rows(batch: Rows) -> Rows:
    """A batch of one task with everything said row by row."""
    rows = len(batch["label"])
    return batch | {
        "classes": jnp.broadcast_to(batch["classes"], (rows, batch["classes"].shape[-1])),
        "task": jnp.broadcast_to(batch["task"], (rows,)),
    }


def kept(rows: Rows) -> Rows:
    """What a memory keeps of the rows."""
    return {name: rows[name] for name in ROW}


def joined(batch: Rows, drawn: Rows, valid: jax.Array) -> tuple[Rows, jax.Array]:
    """The stream's rows and those from a memory, and which of them count."""
    both = {name: jnp.concatenate([batch[name], drawn[name]]) for name in ROW}
    return both, jnp.concatenate([batch["where"], valid])


def learned(task: Task, settings: Any, init: Callable, loss: Callable) -> Learner:
    """A learner of one loss, with the optimizer of all."""
    return gradient_learner(init, loss, task.optimizer(settings))


def only_with_examples(learner: Learner) -> Learner:
    """A step whose batch has nothing that counts, since its task has been gone through, changes nothing."""

    def update(state: Any, batch: Rows, key: jax.Array, context: Any) -> tuple[Any, dict]:
        after, metrics = learner.update(state, batch, key, context)
        counts = jnp.any(batch["where"])
        return jax.tree.map(lambda new, old: jnp.where(counts, new, old), after, state), metrics

    return Learner(learner.init, update)


def evaluation(task: Task, predict: Callable[[Any, Rows], jax.Array] | None = None) -> Callable:
    """Accuracy on every task that is learned, each over the outputs that compete in it."""
    predict = predict or (lambda state, rows: task.logits(state.params, rows))

    def evaluate(state: Any, split: Any, context: Any) -> dict[str, jax.Array]:
        def accuracy(number: jax.Array) -> jax.Array:
            rows = as_rows(data.task_examples(split["stream"], number, size=len(split["slots"])))
            chosen = jnp.argmax(jnp.where(rows["classes"], predict(state, rows), MASKED_LOGIT), axis=-1)
            return masked_mean(chosen == rows["label"], where=rows["where"])

        found = jax.lax.map(accuracy, jnp.arange(task.tasks))
        return {f"{task.scenario}/task_{n}": found[n] for n in range(task.tasks)}

    return evaluate


def finetuning(task: Task, settings: Any) -> Method:
    """Plain SGD on whatever comes: the floor; on all tasks at once it is the ceiling.

    Its metrics say which share of the rows is of earlier tasks, and of the older half of them.
    """

    def loss(params: Any, memory: Any, batch: Rows, step: Any, key: Any, context: Any) -> tuple:
        phase = step // task.steps_per_task
        share = lambda chosen: masked_mean(chosen, where=batch["where"])
        metrics = {
            "rehearsed": share(batch["task"] < phase),
            "rehearsed_oldest": share(2 * batch["task"] + 1 < phase),
        }
        return task.loss(params, *task.seen(batch, batch["where"], key)), (memory, metrics)

    return learned(task, settings, lambda key, context: (task.init(key), None), loss), evaluation(task), None


def replace_memory(change: Callable[[TrainState, Any, jax.Array, jax.Array], Any]) -> Callable:
    """A turn that changes the memory alone, from `(state, train, step, key)`."""

    def turn(state: TrainState, train: Any, step: jax.Array, key: jax.Array, context: Any) -> TrainState:
        return state._replace(memory=change(state, train, step, key))

    return turn

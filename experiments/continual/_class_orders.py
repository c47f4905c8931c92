"""All orders of a few classes, a learner for each of them side by side, and what each order was good for."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab import data
from jaxlab.continual import class_order
from jaxlab.core import Learner
from jaxlab.metrics import spearman


class Orders(NamedTuple):
    """What the learners of all orders share.

    Attributes:
      orders: `[O, C]`, each once; the first two classes come together and are the first task, every other class is one.
      net: whose logits are of the C classes.
      example: `[1, H, W, channels]`, an image.
      replicas: R, how many learners an order has, with starts and batches of their own.
      steps: of a task.
      batch_size: B, examples of a class in a step.
    """

    orders: np.ndarray
    net: Any
    example: jax.Array
    replicas: int
    steps: int
    batch_size: int

    @property
    def num_tasks(self) -> int:
        """T."""
        return self.orders.shape[1] - 1


class Population(NamedTuple):
    """State of `population`.

    Attributes:
      members: a learner's states, leaves `[R, O, ...]`.
      first: `[R, O, ...]` the parameters at the end of the first task; those of the start before.
    """

    members: Any
    first: Any


def all_orders(num_classes: int) -> np.ndarray:
    """`[O, C]`; of two orders that differ in which of the first two classes comes first, one."""
    orders = itertools.permutations(range(num_classes))
    return np.array([order for order in orders if order[0] < order[1]], np.int32)


def class_batches(task: Orders, train: Any, key: jax.Array, step: jax.Array) -> dict[str, jax.Array]:
    """The examples of a step for every replica and class, `[R, C, B, ...]`: all orders see a class alike."""

    def of_class(key: jax.Array, number: jax.Array) -> dict[str, jax.Array]:
        place = number * task.steps + step % task.steps
        batch = data.task_batch(
            train["stream"], key, place, batch_size=task.batch_size, steps_per_task=task.steps
        )
        return {name: batch[name] for name in ("image", "label", "where")}

    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(task.replicas))
    classes = jnp.arange(task.orders.shape[1])
    batches = jax.vmap(jax.vmap(of_class, (None, 0)), (0, None))(keys, classes)
    return {"classes": batches, "task": step // task.steps}


def own_batch(classes: dict[str, jax.Array], order: jax.Array, number: jax.Array) -> dict[str, jax.Array]:
    """What the learner of one order sees of `[C, B, ...]`: `[2 B, ...]`, the second half in the first task alone."""
    shown = jnp.stack([order[number + 1], order[0]])
    batch = jax.tree.map(lambda x: x[shown].reshape(-1, *x.shape[2:]), classes)
    size = classes["where"].shape[1]
    return batch | {"where": batch["where"] & ((jnp.arange(2 * size) < size) | (number == 0))}


def population(task: Orders, member: Learner) -> Learner:
    """A learner for every order and replica; those of one replica start alike and have the same keys."""
    orders = jnp.asarray(task.orders)

    def step(state: Any, classes: Any, number: Any, key: Any, order: Any) -> tuple[Any, Any]:
        return member.update(state, own_batch(classes, order, number), key, {})

    each = jax.vmap(jax.vmap(step, (0, None, None, None, 0)), (0, 0, None, 0, None))

    def init(key: jax.Array, context: Any) -> Population:
        one = lambda key: member.init(key, context)
        members = jax.vmap(one)(jax.random.split(key, task.replicas))
        members = jax.tree.map(lambda x: jnp.repeat(x[:, None], len(orders), axis=1), members)
        return Population(members, members.params)

    def update(state: Population, batch: Any, key: jax.Array, context: Any) -> tuple[Population, Any]:
        keys = jax.random.split(key, task.replicas)
        members, metrics = each(state.members, batch["classes"], batch["task"], keys, orders)
        return state._replace(members=members), jax.tree.map(jnp.mean, metrics)

    return Learner(init, update)


def end_of_task(task: Orders, end: Callable[[Any, Any], Any], examples: int) -> Callable[..., Population]:
    """The turn after each task: `end(state, batch)` for every learner, with so many examples of each of its classes."""
    orders = jnp.asarray(task.orders)

    def turn(state: Population, train: Any, step: jax.Array, key: jax.Array, context: Any) -> Population:
        number = step // task.steps - 1
        of_class = lambda number: data.task_examples(train["stream"], number, size=examples)
        found = jax.vmap(of_class)(jnp.arange(task.orders.shape[1]))
        classes = {name: found[name] for name in ("image", "label", "where")}
        own = lambda state, order: end(state, own_batch(classes, order, number))
        members = jax.vmap(jax.vmap(own), (0, None))(state.members, orders)
        keep = lambda new, old: jnp.where(number == 0, new, old)
        return Population(members, jax.tree.map(keep, members.params, state.first))

    return turn


def qualities(task: Orders, params: Any, first: Any, images: data.Images) -> tuple[jax.Array, jax.Array]:
    """What every order led to, `[R, O]`, and its accuracy at the end, over all classes.

    Args:
      task: the orders.
      params: `[R, O, ...]` at the end.
      first: `[R, O, ...]` at the end of the first task.
      images: of all classes.
    """
    own = jax.nn.one_hot(images.label, task.orders.shape[1])

    def per_class(params: Any) -> jax.Array:
        right = task.net.apply(params, images.image).argmax(-1) == images.label
        return right @ own / jnp.maximum(own.sum(0), 1)

    def quality(params: Any, first: Any, order: jax.Array) -> tuple[jax.Array, jax.Array]:
        by_task = lambda right: jnp.concatenate([right[order[:2]].mean(keepdims=True), right[order[2:]]])
        end, begin = per_class(params), per_class(first)
        rows = jnp.zeros((task.num_tasks, task.num_tasks)).at[0].set(by_task(begin)).at[-1].set(by_task(end))
        return class_order.order_quality(rows), end.mean()

    return jax.vmap(jax.vmap(quality), (0, 0, None))(params, first, jnp.asarray(task.orders))


def promises(task: Orders, distances: jax.Array) -> jax.Array:
    """The designer's score of every order, `[O]`; of the two that the first pair has, the mean."""
    shares, variances = class_order.normalize_distances(distances)
    swapped = task.orders.copy()
    swapped[:, :2] = task.orders[:, 1::-1]
    scores = [class_order.order_scores(shares, variances, orders) for orders in (task.orders, swapped)]
    return (scores[0] + scores[1]) / 2


def agreement(one: jax.Array, other: jax.Array) -> jax.Array:
    """Spearman's correlation over orders, 0 where a side is constant."""
    return spearman(one, other, undefined=0.0)

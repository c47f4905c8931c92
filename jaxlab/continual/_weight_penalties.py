"""Penalties that keep important weights where they were: EWC, synaptic intelligence, memory aware synapses."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.continual._contracts import check_alike
from jaxlab.core import as_float
from jaxlab.core.check import check_fraction, check_positive, check_state


class WeightAnchor(NamedTuple):
    """Where the weights were when a task ended, and how important each of them is.

    Attributes:
      params: pytree of weights.
      importance: the same, at least 0 (synaptic intelligence may go below).

    >>> anchor_init({"w": jnp.ones(2)}).importance["w"].tolist()
    [0.0, 0.0]
    """

    params: Any
    importance: Any


def anchor_init(params: Any) -> WeightAnchor:
    """An anchor before the first task ended: no weight is important.

    Args:
      params: pytree of weights.

    Returns:
      The anchor, float32 (float64 where they are).

    >>> anchor_init(jnp.ones(2, jnp.bfloat16)).params.dtype
    dtype('float32')
    """
    params = jax.lax.stop_gradient(jax.tree.map(as_float, params))
    return WeightAnchor(params, jax.tree.map(jnp.zeros_like, params))


def quadratic_penalty(params: Any, anchor: WeightAnchor, *, strength: float | jax.Array = 1.0) -> jax.Array:
    """What it costs that weights have moved, batch-level: one number for the model.

    Gradients flow into `params` alone. Codes differ in the constant: mammoth's EWC and synaptic intelligence and
    Avalanche's EWC leave out the half, so their strength is half of this one.

        strength / 2 sum_k importance_k (theta_k - anchor_k)^2

    Args:
      params: pytree of weights.
      anchor: a `WeightAnchor` of the same structure.
      strength: a number; may be traced.

    Returns:
      float32 scalar (float64 where a weight is).

    Raises:
      ValueError: if structures or shapes differ.

    Reference: Kirkpatrick et al., Overcoming Catastrophic Forgetting in Neural Networks, 2017, equation 3.

    >>> anchor = WeightAnchor(jnp.array([0.0, 1.0]), jnp.array([2.0, 5.0]))
    >>> quadratic_penalty(jnp.array([3.0, 1.0]), anchor, strength=10.0).item()
    90.0
    """
    check_state("anchor", anchor, WeightAnchor)
    check_alike("anchor.params", anchor.params, params)
    check_alike("anchor.importance", anchor.importance, params)
    anchor = jax.lax.stop_gradient(anchor)

    def cost(now: jax.Array, then: jax.Array, importance: jax.Array) -> jax.Array:
        return jnp.sum(as_float(importance) * jnp.square(as_float(now) - as_float(then)))

    costs = jax.tree.leaves(jax.tree.map(cost, params, anchor.params, anchor.importance))
    return 0.5 * strength * sum(costs, jnp.float32(0))


def ewc_anchor(
    anchor: WeightAnchor,
    params: Any,
    fisher: Any,
    *,
    decay: float | jax.Array = 1.0,
    separate: bool = False,
) -> WeightAnchor:
    """The anchor of elastic weight consolidation once a task has ended.

    Online there is one anchor, at the last weights. Separate penalties of all tasks, each around its own weights, have
    the gradient of one around the mean of these weights, weighted by importance: so they need no more memory. Their
    values differ by a constant. No gradient passes.

        importance <- decay importance + F
        params <- theta                                        online
                  (decay importance params + F theta) / importance'    separate

    Args:
      anchor: of the tasks before.
      params: weights at the end of the task.
      fisher: importance by this task, as from `diag_fisher` or `mas_importance`.
      decay: number in [0, 1] by which earlier tasks count less.
      separate: static, whether tasks keep their own anchors.

    Returns:
      The new anchor.

    Raises:
      ValueError: if structures or shapes differ, or a static decay is outside [0, 1].

    Reference: Schwarz et al., Progress and Compress, 2018 (online); Kirkpatrick et al., 2017 (separate).

    >>> first = ewc_anchor(anchor_init(jnp.zeros(1)), jnp.array([1.0]), jnp.array([3.0]))
    >>> second = ewc_anchor(first, jnp.array([5.0]), jnp.array([1.0]), separate=True)
    >>> second.params.tolist(), second.importance.tolist()
    ([2.0], [4.0])
    """
    check_state("anchor", anchor, WeightAnchor)
    check_fraction("decay", decay)
    for name, tree in (("anchor.params", anchor.params), ("fisher", fisher)):
        check_alike(name, tree, params)
    old = jax.tree.map(lambda x: decay * x, anchor.importance)
    importance = jax.tree.map(lambda old, new: old + as_float(new), old, fisher)

    def mean(then: jax.Array, now: jax.Array, old: jax.Array, total: jax.Array) -> jax.Array:
        empty = total == 0
        share = jnp.where(empty, 0.0, old / jnp.where(empty, 1.0, total))
        return as_float(now) + share * (as_float(then) - as_float(now))

    kept = jax.tree.map(as_float, params)
    if separate:
        kept = jax.tree.map(mean, anchor.params, params, old, importance)
    return jax.lax.stop_gradient(WeightAnchor(kept, importance))


def si_path(path: Any, grads: Any, before: Any, after: Any) -> Any:
    """What each weight has contributed to the fall of the loss, one step more.

    `grads` are those of the task's loss alone, without the penalty, at the weights before the step.

        path <- path + g (theta_before - theta_after)

    Args:
      path: pytree of contributions since the task began; zeros at first.
      grads: gradients, a pytree of the same structure.
      before: weights before the step.
      after: weights after it.

    Returns:
      The new path. No gradient passes.

    Raises:
      ValueError: if structures or shapes differ.

    Reference: Zenke, Poole, Ganguli, Continual Learning through Synaptic Intelligence, 2017.

    >>> si_path(jnp.zeros(1), jnp.array([2.0]), jnp.array([1.0]), jnp.array([0.5])).tolist()
    [1.0]
    """
    for name, tree in (("path", path), ("grads", grads), ("after", after)):
        check_alike(name, tree, before)
    add = lambda path, g, before, after: as_float(path) + as_float(g) * (as_float(before) - as_float(after))
    return jax.lax.stop_gradient(jax.tree.map(add, path, grads, before, after))


def si_anchor(
    anchor: WeightAnchor,
    params: Any,
    path: Any,
    *,
    damping: float | jax.Array = 0.1,
    clip: bool = False,
) -> WeightAnchor:
    """The anchor of synaptic intelligence once a task has ended; the path starts again from zeros.

        importance <- importance + path / ((theta - anchor)^2 + damping),   anchor <- theta

    Args:
      anchor: of the tasks before; before the first task its weights are those that training began from.
      params: weights at the end of the task.
      path: contributions, as from `si_path`.
      damping: a positive number (xi).
      clip: static, whether an importance below 0, of a weight that moved uphill, becomes 0.

    Returns:
      The new anchor, for `quadratic_penalty`. No gradient passes.

    Raises:
      ValueError: if structures or shapes differ, or a static damping is not positive.

    Reference: Zenke, Poole, Ganguli, Continual Learning through Synaptic Intelligence, 2017, there without the half of
      `quadratic_penalty`.

    >>> si_anchor(anchor_init(jnp.zeros(1)), jnp.array([2.0]), jnp.array([8.2]), damping=0.1).importance.tolist()
    [2.0]
    """
    check_state("anchor", anchor, WeightAnchor)
    check_positive("damping", damping)
    for name, tree in (("anchor.params", anchor.params), ("path", path)):
        check_alike(name, tree, params)

    def add(importance: jax.Array, path: jax.Array, now: jax.Array, then: jax.Array) -> jax.Array:
        total = importance + as_float(path) / (jnp.square(as_float(now) - as_float(then)) + damping)
        return jnp.maximum(total, 0.0) if clip else total

    importance = jax.tree.map(add, anchor.importance, path, params, anchor.params)
    return jax.lax.stop_gradient(WeightAnchor(jax.tree.map(as_float, params), importance))

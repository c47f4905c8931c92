"""Learners of the methods that need more than one gradient of one loss.

Replay, distillation and quadratic penalties are losses of `core.gradient_learner`, whose memory holds the reservoir or
the anchor. Here are those that look at gradients themselves.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxlab.continual._weight_penalties import (
    WeightAnchor,
    anchor_init,
    quadratic_penalty,
    si_anchor,
    si_path,
)
from jaxlab.core import Learner, TrainState, master_weights
from jaxlab.core.check import check_positive, check_state


def projected_learner(
    init: Callable[[jax.Array, Any], tuple[Any, Any]],
    loss: Callable[[Any, Any, Any, jax.Array, jax.Array, Any], tuple[jax.Array, tuple[Any, dict]]],
    optimizer: optax.GradientTransformation,
    project: Callable[[Any, Any, Any, jax.Array, Any], Any],
) -> Learner:
    """`core.gradient_learner` with a projection between gradient and optimizer: GEM, A-GEM.

        g = grad loss(params, memory);   params <- params + optimizer( project(g, params, memory) )

    Args:
      init: `(key, context) -> (params, memory)`.
      loss: `(params, memory, batch, step, key, context) -> (scalar, (memory, metrics))`, as for `gradient_learner`.
      optimizer: any optax transformation.
      project: `(grads, params, memory, key, context) -> grads`, such as `agem_project` with the gradient of a draw from
        the memory as it was before the step.

    Returns:
      A learner whose state is a `TrainState` and whose metrics are the loss's own and `loss`.

    Reference: Lopez-Paz and Ranzato, Gradient Episodic Memory for Continual Learning, 2017; Chaudhry et al., Efficient
      Lifelong Learning with A-GEM, 2019.

    >>> from jaxlab.continual import agem_project
    >>> learner = projected_learner(
    ...     lambda key, context: (jnp.zeros(2), jnp.array([0.0, -1.0])),  # what the memory asks for
    ...     lambda p, memory, batch, step, key, context: (p @ batch, (memory, {})), optax.sgd(1.0),
    ...     lambda grads, params, memory, key, context: agem_project(grads, memory))
    >>> learner.update(learner.init(jax.random.key(0), {}), jnp.array([1.0, 1.0]), jax.random.key(1), {})[0].params
    Array([-1.,  0.], dtype=float32)
    """
    optimizer = master_weights(optimizer)

    def begin(key: jax.Array, context: Any) -> TrainState:
        params, memory = init(key, context)
        return TrainState(params, optimizer.init(params), memory, jnp.int32(0))

    def update(state: TrainState, batch: Any, key: jax.Array, context: Any) -> tuple[TrainState, dict]:
        memory, fixed = jax.lax.stop_gradient((state.memory, context))
        own, drawn = jax.random.split(key)
        (value, (after, metrics)), grads = jax.value_and_grad(loss, has_aux=True)(
            state.params, memory, batch, state.step, own, fixed
        )
        grads = jax.lax.stop_gradient(project(grads, state.params, memory, drawn, fixed))
        grads = jax.tree.map(lambda g, p: g.astype(jnp.asarray(p).dtype), grads, state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, opt_state, after, state.step + 1), {"loss": value, **metrics}

    return Learner(begin, update)


def si_learner(
    init: Callable[[jax.Array, Any], Any],
    loss: Callable[[Any, Any, jax.Array, Any], jax.Array],
    optimizer: optax.GradientTransformation,
    *,
    strength: float | jax.Array,
) -> Learner:
    """Synaptic intelligence: the task's loss and a penalty; every step adds to the path.

    The memory is `(anchor, path)`. At the end of a task call `si_end_task`.

        g = grad loss;   params <- params + optimizer(g + strength importance (params - anchor));   path by `si_path`

    Args:
      init: `(key, context) -> params`.
      loss: `(params, batch, key, context) -> scalar`, that of the task alone.
      optimizer: any optax transformation; mammoth's is SGD on the gradient clipped to [-1, 1], entry by entry.
      strength: of `quadratic_penalty`: twice the c of the paper.

    Returns:
      A learner whose state is a `TrainState` and whose metrics are `loss`, of the task, and `penalty`.

    Raises:
      ValueError: if a static strength is not positive.

    Reference: Zenke, Poole, Ganguli, Continual Learning through Synaptic Intelligence, 2017.

    >>> learner = si_learner(
    ...     lambda key, context: jnp.ones(()), lambda p, batch, key, context: batch * p, optax.sgd(0.5), strength=1.0)
    >>> state, metrics = learner.update(learner.init(jax.random.key(0), {}), 2.0, jax.random.key(1), {})
    >>> state.params.item(), state.memory[1].item()  # the path is 2 times 1
    (0.0, 2.0)
    """
    check_positive("strength", strength)
    optimizer = master_weights(optimizer)

    def begin(key: jax.Array, context: Any) -> TrainState:
        params = init(key, context)
        anchor = anchor_init(params)
        return TrainState(params, optimizer.init(params), (anchor, anchor.importance), jnp.int32(0))

    def update(state: TrainState, batch: Any, key: jax.Array, context: Any) -> tuple[TrainState, dict]:
        anchor, path = state.memory
        value, grads = jax.value_and_grad(loss)(state.params, batch, key, context)
        penalty, pull = jax.value_and_grad(quadratic_penalty)(state.params, anchor, strength=strength)
        both = jax.tree.map(jnp.add, grads, pull)
        updates, opt_state = optimizer.update(both, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        path = si_path(path, grads, state.params, params)
        memory = (anchor, path)
        return TrainState(params, opt_state, memory, state.step + 1), {"loss": value, "penalty": penalty}

    return Learner(begin, update)


def si_end_task(state: TrainState, *, damping: float | jax.Array = 0.1, clip: bool = False) -> TrainState:
    """The state of `si_learner` once a task has ended: a new anchor, and a path that starts again.

    Args:
      state: of `si_learner`.
      damping: as for `si_anchor`.
      clip: as for `si_anchor`.

    Returns:
      The new state.

    Raises:
      ValueError: if a static damping is not positive.

    Reference: Zenke, Poole, Ganguli, Continual Learning through Synaptic Intelligence, 2017, there without the half
      of `quadratic_penalty`.

    >>> state = TrainState(jnp.float32(2), None, (anchor_init(jnp.float32(1)), jnp.float32(1.1)), jnp.int32(9))
    >>> state = si_end_task(state, damping=0.1)
    >>> state.memory[0].importance.item(), state.memory[1].item()
    (1.0, 0.0)
    """
    check_state("state", state, TrainState)
    anchor, path = state.memory
    anchor: WeightAnchor = si_anchor(anchor, state.params, path, damping=damping, clip=clip)
    return state._replace(memory=(anchor, jax.tree.map(jnp.zeros_like, path)))

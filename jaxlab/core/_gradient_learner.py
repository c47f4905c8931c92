"""The commonest learner: one tree of parameters that follows the gradient of a loss."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from jaxlab.core._learner import Batch, Context, Learner, Metrics


class GradientState(NamedTuple):
    """State of `gradient_learner`: what is trained, the optimizer's memory, and what stays as it is."""

    params: Any
    opt_state: Any
    frozen: Any


def gradient_learner(
    init: Callable[[jax.Array], Any],
    loss: Callable[[Any, Any, Batch, jax.Array], tuple[jax.Array, Metrics]],
    optimizer: optax.GradientTransformation,
    *,
    freeze: Callable[[Context], Any] = lambda context: {},
) -> Learner:
    """A `Learner` that takes one optimizer step per batch on a loss.

    Whatever else the loss needs and never changes, a trained teacher above all, is taken from the context once and
    kept in the state as `frozen`. Gradients are taken for `params` alone.

    Args:
      init: `key -> params`.
      loss: `(params, frozen, batch, key) -> (scalar, metrics)`; metrics are float32 scalars.
      optimizer: any optax transformation.
      freeze: `context -> pytree`, e.g. `lambda context: context["teacher"]`.

    Returns:
      A learner whose state is a `GradientState` and whose metrics are the loss's own and `loss`.

    Reference: the init and update pair of optax, one level up.

    >>> import jax.numpy as jnp, optax
    >>> learner = gradient_learner(
    ...     lambda key: jnp.zeros(()), lambda p, frozen, batch, key: ((p - batch) ** 2, {}), optax.sgd(0.5))
    >>> state = learner.init(jax.random.key(0), {})
    >>> state, metrics = learner.update(state, jnp.array(3.0), jax.random.key(1))
    >>> float(state.params), float(metrics["loss"])
    (3.0, 9.0)
    """

    def begin(key: jax.Array, context: Context) -> GradientState:
        params = init(key)
        return GradientState(params, optimizer.init(params), freeze(context))

    def update(state: GradientState, batch: Batch, key: jax.Array) -> tuple[GradientState, Metrics]:
        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(
            state.params, state.frozen, batch, key
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return GradientState(params, opt_state, state.frozen), {"loss": value, **metrics}

    return Learner(begin, update)

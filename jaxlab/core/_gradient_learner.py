"""The builder of every method that follows the gradient of one loss."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxlab.core._learner import Batch, Context, Learner, Metrics
from jaxlab.core._master_weights import master_weights
from jaxlab.core.check import as_pair, check_loss


class TrainState(NamedTuple):
    """State of `gradient_learner`.

    Attributes:
      params: what is trained.
      opt_state: the optimizer's memory.
      memory: what else the method changes (an average, a queue, prototypes); None when there is nothing.
      step: updates taken, int32.
    """

    params: Any
    opt_state: Any
    memory: Any
    step: jax.Array


def gradient_learner(
    init: Callable[[jax.Array, Context], tuple[Any, Any]],
    loss: Callable[[Any, Any, Batch, jax.Array, jax.Array, Context], tuple[jax.Array, tuple[Any, Metrics]]],
    optimizer: optax.GradientTransformation,
    *,
    after: Callable[[Any, Any, jax.Array], Any] | None = None,
) -> Learner:
    """A `Learner` that takes one optimizer step per batch on a loss.

    Gradients are taken for `params` alone; none passes through the memory or the context.

        (value, (memory, metrics)), g = value_and_grad(loss)(params, memory, batch, step, key, context)
        params <- params + optimizer(g);   memory <- after(params, memory, step + 1);   step <- step + 1

    Args:
      init: `(key, context) -> (params, memory)`; a method that remembers nothing has the memory None.
      loss: `(params, memory, batch, step, key, context) -> (scalar, (memory, metrics))`. `step` counts the updates
        before this one; the memory keeps its structure; metrics are float32 scalars.
      optimizer: any optax transformation; parameters in half precision learn in float32, see `master_weights`.
      after: `(params, memory, step) -> memory`, called with the new parameters and the number of updates taken, for
        what follows the step, such as a moving average.

    Returns:
      A learner whose state is a `TrainState` and whose metrics are the loss's own and `loss`.

    >>> import jax.numpy as jnp, optax
    >>> learner = gradient_learner(
    ...     lambda key, context: (jnp.zeros(()), None),
    ...     lambda p, memory, batch, step, key, context: ((p - batch) ** 2, (memory, {})), optax.sgd(0.5))
    >>> state = learner.init(jax.random.key(0), {})
    >>> state, metrics = learner.update(state, jnp.array(3.0), jax.random.key(1), {})
    >>> float(state.params), float(metrics["loss"])
    (3.0, 9.0)
    """

    optimizer = master_weights(optimizer)

    def begin(key: jax.Array, context: Context) -> TrainState:
        wanted = "(params, memory), with nothing to remember (params, None)"
        params, memory = as_pair("init", init(key, context), wanted)
        return TrainState(params, optimizer.init(params), memory, jnp.int32(0))

    def update(
        state: TrainState, batch: Batch, key: jax.Array, context: Context
    ) -> tuple[TrainState, Metrics]:
        memory, fixed = jax.lax.stop_gradient((state.memory, context))
        (value, (memory, metrics)), grads = jax.value_and_grad(_checked(loss), has_aux=True)(
            state.params, memory, batch, state.step, key, fixed
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        step = state.step + 1
        if after is not None:
            memory = after(params, memory, step)
        return TrainState(params, opt_state, memory, step), {"loss": value, **metrics}

    return Learner(begin, update)


def _checked(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss, with one line for what is no (scalar, (memory, metrics))."""
    wanted = "(scalar, (memory, metrics)), without metrics (scalar, (memory, {}))"

    def checked(*given: Any) -> Any:
        value, rest = as_pair("loss", loss(*given), wanted)
        _, metrics = as_pair("loss", rest, wanted, "(scalar, {})")
        check_loss("loss", value, metrics)
        return value, rest

    return checked

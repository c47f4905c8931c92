"""Learning how to teach from what the student does afterwards: the gradient through one step of the student."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from jaxlab.core._learner import Learner
from jaxlab.core._master_weights import master_weights
from jaxlab.core.check import as_pair, check_loss, check_positive


class BilevelState(NamedTuple):
    """State of `bilevel_learner`.

    Attributes:
      params: of the student.
      opt_state: of the student's optimizer.
      controller: what shapes the student's loss.
      controller_opt_state: of the controller's optimizer.

    >>> BilevelState({}, (), {}, ()).controller
    {}
    """

    params: Any
    opt_state: Any
    controller: Any
    controller_opt_state: Any


def unrolled_loss(
    controller: Any,
    params: Any,
    lower: Callable[[Any, Any], jax.Array],
    upper: Callable[[Any], jax.Array],
    *,
    learning_rate: float | jax.Array,
) -> jax.Array:
    """Loss of the student after one virtual step on the loss that the controller shapes; a batch-level scalar.

    Differentiable in the controller through the student's step, which is what a bilevel method follows. Only the
    direction of that gradient depends much on the step's size: to first order it is proportional to it.

        upper(params - learning_rate * d lower(params, controller) / d params)

    Args:
      controller: pytree, the first argument so that `jax.grad` takes its gradient.
      params: pytree of the student.
      lower: `(params, controller) -> scalar`, the student's loss on training data.
      upper: `(params) -> scalar`, the student's loss on data held out from `lower`.
      learning_rate: of the virtual step, a positive scalar; it is plain gradient descent, whatever optimizer the
        student has.

    Returns:
      The scalar that `upper` returns.

    Raises:
      ValueError: if a static learning rate is not positive.

    Reference: One step of unrolling as in Shu et al., Meta-Weight-Net, 2019, equations 3 to 5. The abstract of
      TGeo-KD (Hu et al., ICLR 2024) names a bilevel problem; the authors' code computes its ratios without gradient,
      so that its controller never moves.

    >>> import jax.numpy as jnp
    >>> lower = lambda params, controller: controller * params
    >>> upper = lambda params: params**2
    >>> loss = lambda c: unrolled_loss(c, jnp.array(3.0), lower, upper, learning_rate=0.5)
    >>> [float(x) for x in jax.value_and_grad(loss)(jnp.array(2.0))]  # (3 - c / 2)^2 and its slope
    [4.0, -2.0]
    """
    check_positive("learning_rate", learning_rate)
    grads = jax.grad(lower)(params, controller)
    return upper(jax.tree.map(lambda p, g: p - learning_rate * g, params, grads))


def bilevel_learner(
    init: Callable[[jax.Array], tuple[Any, Any]],
    lower: Callable[[Any, Any, Any, Any], tuple[jax.Array, dict]],
    upper: Callable[[Any, Any, Any], jax.Array],
    optimizer: optax.GradientTransformation,
    controller_optimizer: optax.GradientTransformation | None,
    *,
    learning_rate: float = 0.1,
    virtual: Callable[[Any, Any, Any, Any], tuple[jax.Array, dict]] | None = None,
) -> Learner:
    """A learner of two levels: a controller shapes the student's loss, the student's next step judges the controller.

    One update is one step of the controller down the gradient of `unrolled_loss`, then one step of the student with
    the new controller held constant.

        w <- controller_optimizer(w, d upper(theta - eta d virtual(theta, w)) / d w)
        theta <- optimizer(theta, d lower(theta, w) / d theta)

    Args:
      init: `key -> (params, controller)`.
      lower: `(params, controller, batch, context) -> (scalar, metrics)`; metrics are float32 scalars.
      upper: `(params, batch, context) -> scalar`, on another part of the batch than `lower`.
      optimizer: the student's; parameters in half precision learn in float32, see `master_weights`.
      controller_optimizer: the controller's; with None the controller stays as it began, and `upper` is not used.
      learning_rate: eta of the virtual step.
      virtual: the lower loss of the virtual step; None takes `lower`.

    Returns:
      A learner whose state is a `BilevelState` and whose metrics are those of `lower`, `loss` and, where the
      controller learns, `upper_loss`.

    Raises:
      ValueError: if the learning rate is not positive.

    Reference: Shu et al., Meta-Weight-Net, 2019, algorithm 1, for the order of the two steps.

    >>> import jax.numpy as jnp
    >>> learner = bilevel_learner(  # the student follows the controller, the controller learns to lead it to 1
    ...     lambda key: (jnp.zeros(()), jnp.zeros(())),
    ...     lambda p, w, batch, context: ((p - w) ** 2, {}), lambda p, batch, context: (p - 1) ** 2,
    ...     optax.sgd(0.3), optax.sgd(0.3), learning_rate=0.5)
    >>> state = learner.init(jax.random.key(0), {})
    >>> for _ in range(30):
    ...     state, metrics = learner.update(state, None, jax.random.key(0), {})
    >>> round(float(state.params), 3)
    1.0
    """
    check_positive("learning_rate", learning_rate)
    virtual = lower if virtual is None else virtual
    optimizer = master_weights(optimizer)
    if controller_optimizer is not None:
        controller_optimizer = master_weights(controller_optimizer)

    def checked(*given: Any) -> tuple[jax.Array, dict]:
        value, metrics = as_pair("lower", lower(*given), "(scalar, metrics), without metrics (scalar, {})")
        check_loss("lower", value, metrics)
        return value, metrics

    def begin(key: jax.Array, context: Any) -> BilevelState:
        params, controller = init(key)
        memory = () if controller_optimizer is None else controller_optimizer.init(controller)
        return BilevelState(params, optimizer.init(params), controller, memory)

    def lead(state: BilevelState, batch: Any, context: Any) -> tuple[Any, Any, dict]:
        if controller_optimizer is None:
            return state.controller, (), {}
        value, grads = jax.value_and_grad(unrolled_loss)(
            state.controller,
            state.params,
            lambda params, controller: virtual(params, controller, batch, context)[0],
            lambda params: upper(params, batch, context),
            learning_rate=learning_rate,
        )
        updates, opt_state = controller_optimizer.update(grads, state.controller_opt_state, state.controller)
        return optax.apply_updates(state.controller, updates), opt_state, {"upper_loss": value}

    def update(state: BilevelState, batch: Any, key: jax.Array, context: Any) -> tuple[BilevelState, dict]:
        context = jax.lax.stop_gradient(context)
        controller, controller_opt_state, led = lead(state, batch, context)
        (value, metrics), grads = jax.value_and_grad(checked, has_aux=True)(
            state.params, controller, batch, context
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        new = BilevelState(params, opt_state, controller, controller_opt_state)
        return new, {"loss": value, **led, **metrics}

    return Learner(begin, update)

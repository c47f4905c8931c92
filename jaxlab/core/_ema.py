"""Exponential moving averages of a pytree: slow teachers, target networks, running statistics.

`weight` in the state is the total weight the average has given to what it has seen. Started at the parameters
it is 1 for ever; started at zeros it grows from 0 towards 1, by any schedule of decays, and dividing by it
removes the bias.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core._reduce import as_float
from jaxlab.core.check import check_decay, check_same_tree, check_state

Params = Any
Decay = float | jax.Array | Callable[[jax.Array], jax.Array]


class EmaState(NamedTuple):
    """A moving average.

    Attributes:
      value: pytree of the averaged parameters; float leaves in float32 or wider, other leaves as they are.
      count: int32 scalar, updates so far.
      weight: float scalar in [0, 1], total weight of the observations inside `value`.

    >>> ema_init(jnp.ones(2)).count.item()
    0
    """

    value: Params
    count: jax.Array
    weight: jax.Array


def _is_averaged(leaf: jax.Array) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def _average_leaf(leaf: jax.Array, *, zero: bool) -> jax.Array:
    if not _is_averaged(leaf):
        return jnp.asarray(leaf)
    leaf = jax.lax.stop_gradient(as_float(leaf))
    # A copy: a state that shares its buffers with the parameters cannot be donated beside them.
    return jnp.zeros_like(leaf) if zero else jnp.array(leaf, copy=True)


def ema_init(params: Params, *, zero: bool = False) -> EmaState:
    """Begin a moving average at the parameters, or at zeros.

    A mean teacher or a target network starts as a copy of the student (`zero=False`). An average of gradients
    or activations starts from nothing (`zero=True`) and is read without bias by `ema_value`. Float leaves
    narrower than float32 are kept in float32: in bfloat16 an average with decay 0.999 would round back to
    where it was and never move. Integers, booleans and PRNG keys are not averaged. No gradient passes.

    Args:
      params: pytree of arrays.
      zero: start from nothing instead of from `params`.

    Returns:
      The state with count 0.

    >>> ema_init({"w": jnp.ones(2, jnp.bfloat16)}).value["w"].dtype
    dtype('float32')
    """
    value = jax.tree.map(lambda leaf: _average_leaf(leaf, zero=zero), params)
    weight = jnp.asarray(0.0 if zero else 1.0, jnp.result_type(float))
    return EmaState(value, jnp.zeros((), jnp.int32), weight)


def ema_update(state: EmaState, params: Params, decay: Decay) -> EmaState:
    """Move the average towards the parameters.

    No gradient passes from the new state to the parameters, the old state or the decay. Leaves that are not
    floats (step counters, PRNG keys) are copied from `params`.

        value <- decay value + (1 - decay) params

    Args:
      state: the average so far.
      params: pytree with the structure and shapes that the average began with.
      decay: number in [0, 1], or a schedule called with the number of updates done before this one (0 first).
        At 0 the average becomes a copy, at 1 it stays.

    Returns:
      The new state, with the structure, shapes and dtypes of the old one.

    Raises:
      ValueError: if the structure or a shape of `params` is not that of the average, or a static decay is
        outside [0, 1].

    Reference: Tarvainen and Valpola, Mean teachers are better role models, 2017, section 2.

    >>> ema_update(ema_init(jnp.zeros(())), jnp.ones(()), 0.75).value.item()
    0.25
    """
    check_state("state", state, EmaState)
    check_same_tree("params", params, "average", state.value)
    check_decay(decay)
    decay = jnp.asarray(decay(state.count) if callable(decay) else decay)

    def move(old: jax.Array, new: jax.Array) -> jax.Array:
        if not _is_averaged(old):
            return jnp.asarray(new)
        keep = decay.astype(old.dtype)
        return jax.lax.stop_gradient(keep * old + (1 - keep) * jnp.asarray(new, old.dtype))

    weight = state.weight + (1 - decay.astype(state.weight.dtype)) * (1 - state.weight)
    value = jax.tree.map(move, state.value, params)
    return EmaState(value, state.count + 1, jax.lax.stop_gradient(weight))


def ema_value(state: EmaState, *, like: Params | None = None) -> Params:
    """Read the average, without the bias of a start at zeros.

    Gradient does not pass. For an average that began at the parameters this is `state.value` itself.

        value / weight,  weight = 1 - prod_t decay_t  for a start at zeros, 1 otherwise

    Args:
      state: the average.
      like: pytree of the same structure whose dtypes the result takes, e.g. bfloat16 parameters; None keeps
        float32.

    Returns:
      Pytree of the averaged parameters; zeros before the first update of a start at zeros.

    Raises:
      ValueError: if the structure or a shape of `like` is not that of the average.

    Reference: Kingma and Ba, Adam, 2015, section 3, there for a constant decay.

    >>> state = ema_update(ema_init(jnp.ones(()), zero=True), jnp.full((), 3.0), 0.5)
    >>> state.value.item(), ema_value(state).item()
    (1.5, 3.0)
    """
    check_state("state", state, EmaState)
    weight = jnp.where(state.weight == 0, 1.0, state.weight)

    def read(leaf: jax.Array) -> jax.Array:
        return jax.lax.stop_gradient(leaf / weight.astype(leaf.dtype)) if _is_averaged(leaf) else leaf

    value = jax.tree.map(read, state.value)
    if like is None:
        return value
    check_same_tree("params", like, "average", value)
    cast = lambda leaf, model: leaf.astype(jnp.result_type(model)) if _is_averaged(leaf) else leaf
    return jax.tree.map(cast, value, like)


def constant_decay(decay: float) -> Callable[[jax.Array], jax.Array]:
    """The same decay at every step.

        decay(step) = decay

    Args:
      decay: number in [0, 1].

    Returns:
      A schedule for `ema_update`.

    Raises:
      ValueError: if `decay` is outside [0, 1].

    Reference: Tarvainen and Valpola, Mean teachers are better role models, 2017, section 2.

    >>> constant_decay(0.5)(jnp.array(7)).item()
    0.5
    """
    check_decay(decay)
    return lambda step: jnp.full(np.shape(step), decay, jnp.result_type(float))


def ramp_up_decay(decay: float) -> Callable[[jax.Array], jax.Array]:
    """A plain mean over the steps at first, an exponential average once that has become slow enough.

    A fast-learning student is forgotten quickly in the beginning. At step 0 the average becomes a copy.

        decay(step) = min(1 - 1 / (step + 1), decay)

    Args:
      decay: the largest decay, in [0, 1].

    Returns:
      A schedule for `ema_update`.

    Raises:
      ValueError: if `decay` is outside [0, 1].

    Reference: Tarvainen and Valpola, Mean teachers are better role models, 2017, authors' code. There the step is
      counted before the average moves, so their first update has decay 1/2; for that, `ema_update(state, params,
      ramp(state.count + 1))`.

    >>> ramp = ramp_up_decay(0.99)
    >>> ramp(jnp.array([0, 1, 3])).tolist()
    [0.0, 0.5, 0.75]
    """
    check_decay(decay)
    return lambda step: jnp.minimum(1.0 - 1.0 / (as_float(step) + 1.0), decay)

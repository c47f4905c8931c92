"""Parameters in half precision, learned in float32."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxlab.core.check import InputError


class MasterWeightsState(NamedTuple):
    """State of `master_weights` where some parameters are in half precision.

    Attributes:
      weights: the tree of the parameters, float32 in the place of those in half precision and None of others.
      inner: state of the optimizer inside, as for parameters in float32.

    >>> state = master_weights(optax.sgd(0.1)).init({"w": jnp.zeros(2, jnp.bfloat16), "b": jnp.zeros(2)})
    >>> state.weights["w"].dtype, state.weights["b"]
    (dtype('float32'), None)
    """

    weights: Any
    inner: Any


def master_weights(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """An optimizer that keeps a float32 copy of parameters in half precision, and adds its steps up there.

    In bfloat16 a parameter of 0.02 has neighbours at a distance of 1e-4: steps of 1e-6 round away, all of them, and
    so do Adam's slow averages. Here gradients, averages and sums are float32, and the parameters are the rounded copy.
    The learners of this library wrap their optimizers in it; it changes nothing for parameters in float32 or wider,
    whose state and numbers are those of `optimizer` alone.

        w <- w + optimizer(float32 gradient, w),   parameters = w rounded to their type

    Args:
      optimizer: any optax transformation.

    Returns:
      An optax transformation. `update` needs the parameters; `optax.apply_updates` with what it returns gives the
      rounded copy.

    Raises:
      ValueError: in `update`, if no parameters are given.

    Reference: Micikevicius et al., Mixed Precision Training, 2018, section 3.1.

    >>> params = jnp.ones((), jnp.bfloat16)  # the next number below is 0.996
    >>> optimizer = master_weights(optax.sgd(1e-3))
    >>> state = optimizer.init(params)
    >>> for _ in range(10):
    ...     updates, state = optimizer.update(jnp.ones((), jnp.bfloat16), state, params)
    ...     params = optax.apply_updates(params, updates)
    >>> round(float(state.weights), 4), float(params)
    (0.99, 0.98828125)
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def init(params: Any) -> Any:
        if not _any_half(params):
            return optimizer.init(params)
        weights = jax.tree.map(lambda p: p.astype(jnp.float32) if _is_half(p) else None, params)
        return MasterWeightsState(weights, optimizer.init(_filled(weights, params)))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if params is None:
            raise InputError("params is None: master_weights needs the parameters to round its copy to")
        if not _any_half(params):
            return optimizer.update(updates, state, params, **extra)
        exact = _filled(state.weights, params)
        wide = jax.tree.map(lambda g, w: g.astype(w.dtype) if _is_half(g) else g, updates, exact)
        steps, inner = optimizer.update(wide, state.inner, exact, **extra)
        moved = optax.apply_updates(exact, steps)
        kept = jax.tree.map(lambda p, m: m if _is_half(p) else None, params, moved)
        # What leads from the rounded parameters to the copy: added in float32, rounded once.
        change = lambda p, m, s: m - p.astype(jnp.float32) if _is_half(p) else s
        return jax.tree.map(change, params, moved, steps), MasterWeightsState(kept, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def _is_half(x: Any) -> bool:
    dtype = jnp.result_type(x)
    return jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32


def _any_half(params: Any) -> bool:
    return any(_is_half(leaf) for leaf in jax.tree.leaves(params))


def _filled(weights: Any, params: Any) -> Any:
    """The parameters, with the float32 copy of those that have one."""
    return jax.tree.map(lambda w, p: p if w is None else w, weights, params, is_leaf=lambda x: x is None)

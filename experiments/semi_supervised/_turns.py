"""Groups of networks that learn by turns: stacked, so that the group whose turn it is is one index."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

GROUPS = 2
Stacked = dict[str, Any]  # by architecture, leaves [groups, ...]


def by_turns(inner: optax.GradientTransformation, period: int) -> optax.GradientTransformation:
    """Each group has its own optimizer, which sleeps during the other's turn."""

    def update(grads: Stacked, state: tuple, params: Stacked) -> tuple[Stacked, tuple]:
        states, step = state
        group = turn_of(step, period)
        updates, own = inner.update(of_group(grads, group), of_group(states, group), of_group(params, group))
        still = jax.tree.map(jnp.zeros_like, params)
        return put_group(still, group, updates), (put_group(states, group, own), step + 1)

    return optax.GradientTransformation(lambda params: (jax.vmap(inner.init)(params), jnp.int32(0)), update)


def turn_of(step: jax.Array, period: int) -> jax.Array:
    """The group that learns."""
    return step // period % GROUPS


def of_group(tree: Any, group: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[group], tree)


def put_group(tree: Any, group: jax.Array, own: Any) -> Any:
    return jax.tree.map(lambda leaf, new: leaf.at[group].set(new), tree, own)

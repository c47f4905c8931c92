"""What the room's functions ask of their arguments."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError


def check_alike(name: str, tree: Any, params: Any) -> None:
    """The tree `name` has the structure and shapes of the parameters."""
    if jax.tree.structure(tree) != jax.tree.structure(params):
        raise InputError(f"{name} must have the structure of params {jax.tree.structure(params)}"[:300])
    for own, other in zip(jax.tree.leaves(tree), jax.tree.leaves(params)):
        if jnp.shape(own) != jnp.shape(other):
            raise InputError(
                f"{name} must have the shapes of params, got {jnp.shape(own)} for {jnp.shape(other)}"
            )


def number_of_rows(name: str, tree: Any) -> int:
    """The leading axis that all leaves of `name` share."""
    leaves = jax.tree.leaves(tree)
    if not leaves or any(jnp.ndim(leaf) < 1 or len(leaf) != len(leaves[0]) for leaf in leaves):
        shapes = [jnp.shape(leaf) for leaf in leaves]
        raise InputError(f"the arrays of {name} must share a leading axis [N, ...], got {shapes}")
    return len(leaves[0])

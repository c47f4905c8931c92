"""Static contracts on lists: one readable line with the shapes."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core._reduce import as_mask
from jaxlab.core.check import InputError


def check_lists(first: jax.Array, second: jax.Array, first_name: str, second_name: str) -> None:
    """Two arrays over the same documents."""
    a, b = np.shape(first), np.shape(second)
    if a != b or not a:
        raise InputError(f"{first_name} {a} and {second_name} {b} must have the same shape [..., L]")


def list_mask(where: jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
    """Which documents exist, as booleans of `shape`."""
    return jnp.broadcast_to(as_mask(where, shape), shape)

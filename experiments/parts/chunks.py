"""Functions of many rows, a part of them at a time."""

from collections.abc import Callable
from typing import Any

import jax


def in_chunks(fn: Callable[[jax.Array], Any], rows: jax.Array, size: int = 512) -> Any:
    """`fn(rows)` by `size` rows at a time, so that the activations of all never stand side by side; 0 takes all.

    What `fn` gives for a row must not depend on the others, and has rows as its leading axis.
    """
    if not 0 < size < len(rows):
        return fn(rows)
    one = lambda row: jax.tree.map(lambda x: x[0], fn(row[None]))
    return jax.lax.map(one, rows, batch_size=size)

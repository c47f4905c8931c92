"""One long row of random numbers, taken apart: a generator that draws once compiles far sooner."""

import math

import jax


def parts(flat: jax.Array, *shapes: tuple[int, ...]) -> list[jax.Array]:
    """Consecutive pieces of `[T]` in the given shapes, whose sizes add up to T."""
    pieces, start = [], 0
    for shape in shapes:
        size = math.prod(shape)
        pieces.append(flat[start : start + size].reshape(shape))
        start += size
    return pieces


def total(*shapes: tuple[int, ...]) -> int:
    """How many numbers the shapes need."""
    return sum(math.prod(shape) for shape in shapes)

"""Random numbers for generators that need many different ones."""

import jax
import numpy as np


class Numbers:
    """Uniform numbers dealt out one after another: one call of the generator compiles much faster than many."""

    def __init__(self, numbers: jax.Array):
        self._numbers, self._used = numbers, 0

    def __call__(self, low: float, high: float, *shape: int) -> jax.Array:
        count = int(np.prod(shape))
        taken = self._numbers[self._used : self._used + count]
        self._used += count
        return low + (high - low) * taken.reshape(shape)

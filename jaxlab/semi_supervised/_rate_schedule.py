"""A learning rate that rises, stays and falls."""

import jax
import jax.numpy as jnp

from jaxlab.core import as_float
from jaxlab.core.check import check_least, check_together


def warm_up_constant_cosine(
    step: jax.Array,
    *,
    base: float = 0.01,
    floor: float = 1e-5,
    warm_up: int = 1000,
    total: int = 8000,
    constant: float = 0.5,
    authors_code: bool = False,
) -> jax.Array:
    """Learning rate that rises in a line, stays, and falls along half a cosine.

        floor + (base - floor) step / warm_up                       while step < warm_up
        base                                                       while step < constant total
        floor + (base - floor) (1 + cos(pi t)) / 2,  t = (step - constant total) / (total - constant total)

    Args:
      step: step counter of any shape.
      base, floor: the highest and the lowest rate.
      warm_up: steps of the rise, at least 0.
      total: steps of all, at least 1.
      constant: share of `total` after which the rate falls, in [0, 1).
      authors_code: put `constant` in the place of the 1/2 before the cosine, so that any value other than 0.5
        makes the rate jump.

    Returns:
      float32 of the shape of `step`; an optax schedule is `lambda step: warm_up_constant_cosine(step, ...)`.

    Raises:
      ValueError: if `total` is below 1, `warm_up` below 0 or `constant` outside [0, 1).

    Reference: RAIL: Region-Aware Instructive Learning, 2025, authors' code (`get_lr`).

    >>> rate = warm_up_constant_cosine(jnp.array([0, 500, 2000, 6000, 8000]))
    >>> [round(r, 5) for r in rate.tolist()]
    [1e-05, 0.00501, 0.01, 0.005, 1e-05]
    """
    check_least("total", total, 1)
    check_least("warm_up", warm_up, 0)
    check_together("constant must be in [0, 1)", lambda x: (x >= 0) & (x < 1), constant=constant)
    step = as_float(step)
    rise = floor + (base - floor) * step / jnp.maximum(warm_up, 1)
    done = jnp.clip((step - constant * total) / (total - constant * total), 0.0, 1.0)
    half = constant if authors_code else 0.5
    fall = floor + (base - floor) * half * (1 + jnp.cos(jnp.pi * done))
    return jnp.where(step < warm_up, rise, jnp.where(step < constant * total, base, fall))

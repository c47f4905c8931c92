"""Ramps of a weight over training, as consistency losses use them; they are safe for a length of 0.

`optax` has the learning-rate schedules. Unlike those, a ramp up of length 0 is 1 at once (the ramp is over).
"""

import jax
import jax.numpy as jnp

from jaxlab.core._reduce import as_float
from jaxlab.core.check import check_least


def _progress(step: jax.Array, length: float | jax.Array) -> jax.Array:
    """Fraction of the ramp that is done, in [0, 1]; all of it when the length is 0."""
    check_least("length", length, 0)
    step = as_float(step)
    length = jnp.asarray(length, step.dtype)
    return jnp.where(length > 0, jnp.clip(step / jnp.where(length > 0, length, 1.0), 0.0, 1.0), 1.0)


def sigmoid_ramp_up(step: jax.Array, *, length: float | jax.Array) -> jax.Array:
    """Ramp from exp(-5) to 1 along half a bell curve.

    The consistency weight of mean teachers: small while the teacher's predictions are still noise.

        exp(-5 (1 - t)^2),  t = clip(step / length, 0, 1)

    Args:
      step: step counter of any shape, integer or float.
      length: steps until 1 is reached, at least 0; with 0 the ramp is over and the value 1.

    Returns:
      float32 of the shape of `step`, in [exp(-5), 1].

    Raises:
      ValueError: if a static `length` is negative.

    Reference: Laine and Aila, Temporal Ensembling for Semi-Supervised Learning, 2017 (the Gaussian ramp-up curve),
      also the consistency weight of mean teachers.

    >>> [round(x, 3) for x in sigmoid_ramp_up(jnp.array([0, 5, 10, 20]), length=10).tolist()]
    [0.007, 0.287, 1.0, 1.0]
    """
    return jnp.exp(-5.0 * jnp.square(1.0 - _progress(step, length)))


def linear_ramp_up(step: jax.Array, *, length: float | jax.Array) -> jax.Array:
    """Ramp from 0 to 1 in a straight line.

        clip(step / length, 0, 1)

    Args:
      step: step counter of any shape, integer or float.
      length: steps until 1 is reached, at least 0; with 0 the ramp is over and the value 1.

    Returns:
      float32 of the shape of `step`, in [0, 1].

    Raises:
      ValueError: if a static `length` is negative.

    Reference: Tarvainen and Valpola, Mean teachers are better role models, 2017, authors' code.

    >>> linear_ramp_up(jnp.array([0, 1, 4, 9]), length=4).tolist()
    [0.0, 0.25, 1.0, 1.0]
    """
    return _progress(step, length)


def cosine_ramp_down(step: jax.Array, *, length: float | jax.Array) -> jax.Array:
    """Ramp from 1 to 0 along half a cosine.

        (cos(pi t) + 1) / 2,  t = clip(step / length, 0, 1)

    Args:
      step: step counter of any shape, integer or float.
      length: steps until 0 is reached, at least 0; with 0 the ramp is over and the value 0.

    Returns:
      float32 of the shape of `step`, in [0, 1].

    Raises:
      ValueError: if a static `length` is negative.

    Reference: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017, equation 5.

    >>> cosine_ramp_down(jnp.array([0, 2, 4]), length=4).round(3).tolist()
    [1.0, 0.5, 0.0]
    """
    return 0.5 * (jnp.cos(jnp.pi * _progress(step, length)) + 1.0)

"""What the functions of this room check alike; the checks are static and cost nothing under jit."""

import jax
import jax.numpy as jnp


def check_class_axis(name: str, x: jax.Array) -> None:
    """`x` has a class axis with at least one class."""
    if not jnp.ndim(x) or not jnp.shape(x)[-1]:
        raise ValueError(f"{name} {jnp.shape(x)} must have shape [..., K] with at least one class")


def check_fraction(name: str, value: float | jax.Array) -> None:
    """A hyper-parameter given as a Python number lies in [0, 1]; a traced one cannot be checked."""
    if isinstance(value, int | float) and not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")

"""What the functions of the room check and prepare alike; the checks are static and cost nothing under jit."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core.check import InputError, check_least


def check_rows(**arrays: jax.Array) -> None:
    """Arrays with one number a response share one shape `[B]`, that of the first."""
    first, shape = next((name, np.shape(array)) for name, array in arrays.items())
    if len(shape) != 1:
        raise InputError(f"{first} {shape} must be [B], one number per response")
    for name, array in arrays.items():
        if np.shape(array) != shape:
            raise InputError(f"{name} {np.shape(array)} must have the shape [B] of {first} {shape}")


def check_tokens(**arrays: jax.Array) -> None:
    """Arrays per token share one shape `[..., T]`."""
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    if () in shapes.values() or len(set(shapes.values())) > 1:
        given = " and ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(f"{given} must have one shape [..., T]")


def check_clip(clip_low: float | jax.Array | None, clip_high: float | jax.Array | None) -> None:
    """The clip range [1 - clip_low, 1 + clip_high] holds 1."""
    check_least("clip_low", clip_low, 0)
    check_least("clip_high", clip_high, 0)


def zero_outside(where: jax.Array, x: jax.Array) -> jax.Array:
    """The array as floats with 0 where the mask is false, so that no NaN there reaches a gradient."""
    return jnp.where(where, as_float(x), 0.0)


def per_token(x: jax.Array, where: jax.Array, name: str) -> jax.Array:
    """`x`, per sequence `[...]` or per token `[..., T]`, as constant floats `[..., T]`, 0 outside `where`."""
    x, shape = jnp.asarray(x), where.shape
    if x.shape not in (shape, shape[:-1]):
        raise InputError(f"{name} {x.shape} must be [..., T] {shape} or [...] {shape[:-1]}")
    x = x if x.ndim == len(shape) else x[..., None]
    return jax.lax.stop_gradient(zero_outside(where, x))

"""Static contracts on arguments: one readable line that prints what came and names what is allowed."""

import jax
import jax.numpy as jnp


def check_decay(decay: float | jax.Array) -> None:
    """A static decay lies in [0, 1]; a traced one is taken on trust."""
    if isinstance(decay, int | float) and not 0.0 <= decay <= 1.0:
        raise ValueError(f"decay must be in [0, 1], got {decay}")


def check_temperature(temperature: float | jax.Array) -> None:
    """A static temperature is positive; a traced one is taken on trust."""
    if isinstance(temperature, int | float) and not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")


def check_labels(logits: jax.Array, labels: jax.Array) -> None:
    """Integer labels `[...]` belong to logits `[..., C]`."""
    if not logits.ndim or labels.shape != logits.shape[:-1]:
        raise ValueError(f"labels {labels.shape} must have the leading shape of logits {logits.shape}")
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels must be integers, got {labels.dtype}")

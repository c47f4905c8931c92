"""Optimizers that drivers share; a rate is a number or, in an arm whose settings are traced, an array."""

from typing import Any

import jax
import optax

from jaxlab.core.check import check_least


def cosine_decay(rate: float | jax.Array, steps: int, *, alpha: float = 0.0) -> optax.Schedule:
    """From `rate` to `alpha * rate` over `steps`, of which there must be at least 1."""
    check_least("steps", steps, 1)
    return optax.cosine_decay_schedule(rate, steps, alpha=alpha)


def adamw(settings: Any, steps: int) -> optax.GradientTransformation:
    """AdamW with the `learning_rate` and `weight_decay` of a config or an arm; the rate falls along a cosine to 0."""
    schedule = cosine_decay(settings.learning_rate, steps)
    return optax.adamw(schedule, weight_decay=settings.weight_decay)


def clipped_adamw(
    rate: float | jax.Array, steps: int, *, weight_decay: float, clip: float = 10.0
) -> optax.GradientTransformation:
    """AdamW with clipped gradients and a rate that falls along a cosine to a tenth of `rate`."""
    schedule = cosine_decay(rate, steps, alpha=0.1)
    parts = optax.clip_by_global_norm(clip), optax.adamw(schedule, weight_decay=weight_decay)
    # On one long vector: a kernel for each of many small arrays would take seconds to compile.
    return optax.flatten(optax.chain(*parts))


def clipped_adam(rate: Any, max_grad_norm: float) -> optax.GradientTransformation:
    """Adam with clipped gradients, at a constant rate or on a schedule."""
    return optax.chain(optax.clip_by_global_norm(max_grad_norm), optax.adam(rate))

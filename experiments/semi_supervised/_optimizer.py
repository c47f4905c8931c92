"""The optimizer that the drivers of scenes share."""

import jax
import optax

from experiments._schedule import cosine_decay


def adamw(
    rate: float | jax.Array, steps: int, *, weight_decay: float, clip: float = 10.0
) -> optax.GradientTransformation:
    """AdamW with clipped gradients and a rate that falls along a cosine to a tenth of `rate`."""
    schedule = cosine_decay(rate, steps, alpha=0.1)
    parts = optax.clip_by_global_norm(clip), optax.adamw(schedule, weight_decay=weight_decay)
    # On one long vector: a kernel for each of many small arrays would take seconds to compile.
    return optax.flatten(optax.chain(*parts))

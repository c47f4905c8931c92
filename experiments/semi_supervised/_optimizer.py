"""AdamW whose learning rate lies in its state: arms that differ in nothing else are compiled once."""

import jax
import jax.numpy as jnp
import optax


def adamw(
    rate: float, steps: int, *, weight_decay: float, clip: float = 10.0
) -> optax.GradientTransformation:
    """AdamW with clipped gradients and a rate that falls along a cosine to a tenth of `rate`."""
    schedule = optax.cosine_decay_schedule(1.0, steps, alpha=0.1)
    parts = optax.clip_by_global_norm(clip), optax.adamw(schedule, weight_decay=weight_decay), _times(rate)
    # On one long vector: a kernel for each of many small arrays would take seconds to compile.
    return optax.flatten(optax.chain(*parts))


def _times(rate: float) -> optax.GradientTransformation:
    def update(updates, state, params=None):
        return jax.tree.map(lambda x: state * x, updates), state

    return optax.GradientTransformation(lambda params: jnp.float32(rate), update)

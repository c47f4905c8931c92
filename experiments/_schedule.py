"""The schedule that the drivers share, with a line for a budget that is none."""

import optax

from jaxlab.core.check import check_least


def cosine_decay(rate: float, steps: int, *, alpha: float = 0.0) -> optax.Schedule:
    """From `rate` to `alpha * rate` over `steps`, of which there must be at least 1."""
    check_least("steps", steps, 1)
    return optax.cosine_decay_schedule(rate, steps, alpha=alpha)

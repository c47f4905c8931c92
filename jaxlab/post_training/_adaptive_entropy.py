"""A bonus for entropy whose weight is moved by the entropy itself."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.core import as_float
from jaxlab.core.check import check_least, check_together


class EntropyCoefficient(NamedTuple):
    """What `adaptive_entropy` hands on to the next step.

    Attributes:
      coefficient: float32, moved up or down; to be given back to `adaptive_entropy`.
      applied: float32, that coefficient where the entropy is too low, else 0: the weight of the next step's bonus.
    """

    coefficient: jax.Array
    applied: jax.Array


def adaptive_entropy(
    coefficient: float | jax.Array,
    entropy: jax.Array,
    *,
    target: float | jax.Array = 0.2,
    step: float | jax.Array = 0.005,
    lowest: float | jax.Array = 0.0,
    highest: float | jax.Array = 1.0,
) -> EntropyCoefficient:
    """The weight of the next step's bonus for entropy, from the entropy of this one.

    The weight grows as long as the policy is too sure and shrinks as long as it is not; it counts only while the
    policy is too sure. A step's loss is then `loss - applied * entropy`. No gradient flows.

        c' = clip(c + step, lowest, highest) if H <= target, else clip(c - step, lowest, highest)
        applied = c' [H <= target]

    Args:
      coefficient: c, of this step; 0 at the start.
      entropy: H, the mean over the whole batch's tokens, in nats.
      target: the entropy to be kept.
      step: by how much c moves, at least 0.
      lowest: lower bound on c, at least 0.
      highest: upper bound on c.

    Returns:
      `EntropyCoefficient(coefficient, applied)`; NaN where the entropy is.

    Raises:
      ValueError: if `step` or `lowest` is negative or `highest` is below `lowest`.

    Reference: Skywork Open Reasoner 1 Technical Report, 2025; the defaults are TRL's.

    >>> found = adaptive_entropy(0.1, jnp.array(0.15))
    >>> [round(x.item(), 3) for x in found]
    [0.105, 0.105]
    """
    check_least("step", step, 0)
    check_least("lowest", lowest, 0)
    allowed = "lowest must not be above highest"
    check_together(allowed, lambda lowest, highest: lowest <= highest, lowest=lowest, highest=highest)
    coefficient, entropy = jax.lax.stop_gradient((as_float(coefficient), as_float(entropy)))
    low = entropy <= target
    moved = jnp.clip(coefficient + jnp.where(low, step, -step), lowest, highest)
    moved = jnp.where(jnp.isnan(entropy), jnp.nan, moved)
    return EntropyCoefficient(moved, jnp.where(low, moved, moved * 0))

"""What every net ends with: one vector per example, its logits, and the features on request."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

Features = tuple[jax.Array, ...]


def widen(x: jax.Array) -> jax.Array:
    """float32 from anything narrower; float64 stays."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def classify(
    hidden: Sequence[jax.Array], vector: jax.Array, *, num_classes: int, return_features: bool
) -> jax.Array | tuple[jax.Array, Features]:
    """Read the logits from `vector` `[B, F]`; call it inside a module's compact method.

    The classifier computes in float32 whatever the layers before it use: it costs little, and the logits of a
    bfloat16 net then keep the small differences between classes that a student learns from.
    """
    features = tuple(widen(h) for h in (*hidden, vector))
    logits = nn.Dense(num_classes, name="classifier")(features[-1])
    return (logits, features) if return_features else logits

"""What every net ends with: one vector per example, its logits, and the features on request."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from jaxlab.core import as_float

Features = tuple[jax.Array, ...]


def classify(
    hidden: Sequence[jax.Array], vector: jax.Array, *, num_classes: int, return_features: bool
) -> jax.Array | tuple[jax.Array, Features]:
    """Read the logits from `vector` `[B, F]`; call it inside a module's compact method.

    The classifier computes in float32 whatever the layers before it use: it costs little, and the logits of a
    bfloat16 net then keep the small differences between classes that a student learns from.
    """
    features = tuple(as_float(h) for h in (*hidden, vector))
    logits = nn.Dense(num_classes, name="classifier")(features[-1])
    return (logits, features) if return_features else logits

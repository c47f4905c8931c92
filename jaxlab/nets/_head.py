"""What every net ends with: one vector per example, its logits, and the features on request."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from jaxlab.core import InputError, as_float

Features = tuple[jax.Array, ...]


def check_sizes(name: str, sizes: Any) -> None:
    """One line for widths or counts of layers that are none."""
    whole = lambda size: isinstance(size, int | np.integer) and size >= 1
    if not isinstance(sizes, Sequence) or not all(map(whole, sizes)):
        raise InputError(f"{name} must be a list of whole numbers of at least 1, got {sizes!r}")


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

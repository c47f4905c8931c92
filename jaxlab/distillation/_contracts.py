"""What the losses of this room check and prepare alike; the checks are static and cost nothing under jit."""

import jax
import numpy as np

from jaxlab.core.check import class_mask


def labelled_classes(classes: jax.Array | None, logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The classes `[..., C]` that count: none in a row to ignore, one whose label is no class."""
    labelled = (labels >= 0) & (labels < np.shape(logits)[-1])
    return class_mask(classes, np.shape(logits)) & labelled[..., None]

"""What the functions of this room check alike."""

from typing import Any

import jax
import numpy as np

from jaxlab.core.check import InputError, as_labels
from jaxlab.metrics._segmentation import VOID


def check_class_axis(name: str, x: jax.Array) -> None:
    """`x` has a class axis with at least one class."""
    if not np.ndim(x) or not np.shape(x)[-1]:
        raise InputError(f"{name} {np.shape(x)} must have shape [..., K] with at least one class")


def as_dense_labels(
    logits: Any, labels: Any, *, name: str = "labels", where: Any = None
) -> tuple[jax.Array, jax.Array]:
    """Labels `[...]` of logits `[..., K]` as integers, and which of them are classes.

    A negative one, and 255, mark an element to ignore; what `where` masks may be anything.
    """
    labels = as_labels(logits, labels, name=name, where=where, also=(VOID,))
    return labels, (labels >= 0) & (labels < np.shape(logits)[-1])

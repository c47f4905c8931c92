"""Static contracts on stacks of models: one readable line that names the leaf."""

from typing import Any

import jax
import numpy as np

from jaxlab.core.check import InputError


def stack_size(task_vectors: Any) -> int:
    """K, the leading axis that every leaf shares, at least 1."""
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(task_vectors)]
    if not shapes or any(not shape for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        raise InputError(f"task_vectors must be leaves [K, ...] with the same K, got shapes {shapes}")
    if not shapes[0][0]:
        raise InputError(f"task_vectors must hold at least one task, got shapes {shapes}")
    if jax.tree.structure(task_vectors) == jax.tree.structure(0) and len(shapes[0]) < 2:
        raise InputError(f"task_vectors must be [K, P], one row per task, got shape {shapes[0]}")
    return shapes[0][0]

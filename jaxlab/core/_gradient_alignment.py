"""Two gradients that work against each other (PCGrad, gradient surgery)."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxlab.core._reduce import as_float
from jaxlab.core.check import check_same_tree


def align_gradients(reference: Any, gradient: Any) -> Any:
    """Take out of one gradient what works against another.

    Where the two disagree (negative inner product over all leaves), the second is projected on the plane
    orthogonal to the first; the first is never changed. An update then follows their sum. Leaves that only one of the
    two losses reaches, a head of its own, are 0 in the other.

        g <- g - (<g, r> / |r|^2) r   if <g, r> < 0, else g

    Args:
      reference: r, a pytree of arrays: the gradient that has precedence, that of cross-entropy.
      gradient: g, the same structure and shapes: the gradient of the distillation loss.

    Returns:
      The aligned g, leaves in the dtype of `gradient` (float32 for integers); g itself where r is 0.

    Raises:
      ValueError: if structures or shapes differ.

    Reference: Yang et al., Dual-Head Knowledge Distillation, 2024, gradient alignment; one side of Yu et al.,
      Gradient Surgery for Multi-Task Learning, 2020. The authors divide by 0 where r is 0.

    >>> align_gradients(jnp.array([1.0, 0.0]), jnp.array([-2.0, 3.0])).tolist()
    [0.0, 3.0]
    """
    check_same_tree("gradient", gradient, "reference", reference)
    leaves = [as_float(r) for r in jax.tree.leaves(reference)]
    # The square of a tiny gradient would vanish, that of a huge one overflow: only the direction of r is needed.
    peak = jnp.max(jnp.stack([jnp.max(jnp.abs(r), initial=0.0) for r in leaves])) if leaves else 1.0
    unit = [r / jnp.where(peak > 0, peak, 1.0) for r in leaves]
    inner = sum(jnp.vdot(as_float(g), u) for g, u in zip(jax.tree.leaves(gradient), unit))
    square = sum(jnp.vdot(u, u) for u in unit)
    against = jnp.where(inner < 0, inner / jnp.where(square > 0, square, 1.0), 0.0)
    unit = jax.tree.unflatten(jax.tree.structure(gradient), unit)

    def project(g: jax.Array, u: jax.Array) -> jax.Array:
        aligned, dtype = as_float(g) - against * u, jnp.result_type(g)
        return aligned.astype(dtype) if jnp.issubdtype(dtype, jnp.floating) else aligned

    return jax.tree.map(project, gradient, unit)

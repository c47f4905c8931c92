"""Task vectors: what fine-tuning added, and the sums of it that make one model."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core.check import InputError, check_structure
from jaxlab.merging._contracts import stack_size


def task_vector(fine_tuned: Any, pretrained: Any) -> Any:
    """What fine-tuning changed, parameter by parameter.

    A stack of fine-tuned models gives the stack of their task vectors. Gradients flow into both.

        tau = theta_k - theta_0

    Args:
      fine_tuned: pytree of parameters, or a stack of them with leaves `[K, ...]`.
      pretrained: pytree of the same structure, the model that fine-tuning began from.

    Returns:
      The pytree of `fine_tuned`, its leaves float32 (float64 where they are).

    Raises:
      ValueError: if the structures differ, or a leaf has neither the shape of `pretrained` nor one axis more.

    Reference: Ilharco et al., Editing Models with Task Arithmetic, ICLR 2023, section 2.

    >>> task_vector({"w": jnp.array([3.0, 1.0])}, {"w": jnp.array([1.0, 1.0])})["w"].tolist()
    [2.0, 0.0]
    """
    check_structure("fine_tuned", fine_tuned, "pretrained model", pretrained)

    def subtract(tuned: jax.Array, start: jax.Array) -> jax.Array:
        if np.shape(start) not in (np.shape(tuned), np.shape(tuned)[1:]):
            raise InputError(
                f"fine_tuned {np.shape(tuned)} must be [...] or [K, ...] of pretrained {np.shape(start)}"
            )
        return as_float(tuned) - as_float(start)

    return jax.tree.map(subtract, fine_tuned, pretrained)


def merge(pretrained: Any, task_vectors: Any, coefficients: Any) -> Any:
    """One model from a pre-trained one and K task vectors.

    One number for all is task arithmetic, one per task is task-wise merging, one per parameter tensor and task is
    layer-wise merging. Linear in every argument, and gradients flow into all of them.

        theta[l] = theta_0[l] + sum_k lambda[l, k] tau_k[l]        for every parameter tensor l

    Args:
      pretrained: pytree of parameters, theta_0.
      task_vectors: pytree of the same structure with leaves `[K, ...]`.
      coefficients: a scalar, `[K]`, or a pytree of the structure of `pretrained` whose leaves are scalars or `[K]`.

    Returns:
      The pytree of `pretrained`, in its dtypes, integers as float32; sums are float32 (float64 where parameters are).
      In half precision small changes round away: cast `pretrained` first where they matter.

    Raises:
      ValueError: if structures or shapes do not agree.

    Reference: Yang et al., AdaMerging: Adaptive Model Merging for Multi-Task Learning, ICLR 2024, section 3; the
      weight and the bias of a layer have coefficients of their own, as in the authors' code.

    >>> start, taus = {"w": jnp.zeros(2)}, {"w": jnp.array([[1.0, 0.0], [0.0, 2.0]])}
    >>> merge(start, taus, 0.5)["w"].tolist(), merge(start, taus, jnp.array([1.0, 0.25]))["w"].tolist()
    ([0.5, 1.0], [1.0, 0.5])
    """
    check_structure("task_vectors", task_vectors, "pretrained model", pretrained)
    count = stack_size(task_vectors)
    if jax.tree.structure(coefficients) == jax.tree.structure(0):
        coefficients = jax.tree.map(lambda _: coefficients, pretrained)
    check_structure("coefficients", coefficients, "pretrained model", pretrained)

    def add(start: jax.Array, taus: jax.Array, weights: jax.Array) -> jax.Array:
        start, weights = jnp.asarray(start), as_float(weights)
        if np.shape(taus)[1:] != start.shape or weights.shape not in ((), (count,)):
            raise InputError(
                f"task_vectors {np.shape(taus)} must be [K, ...] of pretrained {start.shape}, and "
                f"coefficients {weights.shape} a scalar or [K] = ({count},)"
            )
        weights = jnp.broadcast_to(weights, (count,)).reshape((count,) + (1,) * start.ndim)
        total = as_float(start) + jnp.sum(weights * as_float(taus), axis=0)
        return total.astype(start.dtype) if jnp.issubdtype(start.dtype, jnp.floating) else total

    return jax.tree.map(add, pretrained, task_vectors, coefficients)

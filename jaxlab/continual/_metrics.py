"""What a sequence of tasks leaves: numbers of a matrix R of accuracies, row i after task i, column j of task j.

What lies above the diagonal is accuracy on tasks not learned yet; forward transfer reads it, and forgetting where a
task was at its best before it was learned. A sequence of one task has neither transfer nor forgetting: they are 0.
Every function takes `[..., T, T]` and gives `[...]`.
"""

import jax
import jax.numpy as jnp

from jaxlab.core import as_float, masked_mean
from jaxlab.core.check import InputError


def average_accuracy(accuracies: jax.Array) -> jax.Array:
    """Mean accuracy over all tasks after the last (ACC).

        1/T sum_j R_Tj

    Args:
      accuracies: `[..., T, T]`.

    Returns:
      `[...]` float32 (float64 for float64 input), in the unit of the accuracies.

    Raises:
      ValueError: if the matrix is not square.

    Reference: Lopez-Paz and Ranzato, Gradient Episodic Memory for Continual Learning, 2017, equation 2.

    >>> average_accuracy(jnp.array([[0.9, 0.0], [0.5, 1.0]])).item()
    0.75
    """
    return jnp.mean(_checked(accuracies)[..., -1, :], axis=-1)


def average_incremental_accuracy(accuracies: jax.Array) -> jax.Array:
    """Mean over time of the mean accuracy over the tasks so far.

        1/T sum_i 1/i sum_{j <= i} R_ij

    Args:
      accuracies: `[..., T, T]`.

    Returns:
      `[...]` float32 (float64 for float64 input).

    Raises:
      ValueError: if the matrix is not square.

    Reference: Rebuffi et al., iCaRL: Incremental Classifier and Representation Learning, 2017, section 4.

    >>> average_incremental_accuracy(jnp.array([[1.0, 0.0], [0.5, 0.5]])).item()
    0.75
    """
    accuracies = _checked(accuracies)
    return jnp.mean(masked_mean(accuracies, where=_reached(accuracies), axis=-1), axis=-1)


def backward_transfer(accuracies: jax.Array) -> jax.Array:
    """How much later tasks have changed the accuracy on earlier ones (BWT); below 0 is forgetting.

        1/(T-1) sum_{j < T} (R_Tj - R_jj)

    Args:
      accuracies: `[..., T, T]`.

    Returns:
      `[...]` float32 (float64 for float64 input); 0 for one task.

    Raises:
      ValueError: if the matrix is not square.

    Reference: Lopez-Paz and Ranzato, Gradient Episodic Memory for Continual Learning, 2017, equation 3.

    >>> backward_transfer(jnp.array([[0.75, 0.0], [0.5, 1.0]])).item()
    -0.25
    """
    accuracies = _checked(accuracies)
    return masked_mean((accuracies[..., -1, :] - _diagonal(accuracies))[..., :-1], axis=-1)


def forward_transfer(accuracies: jax.Array, untrained: jax.Array) -> jax.Array:
    """How much better a task begins than from an untrained network (FWT).

        1/(T-1) sum_{j > 1} (R_{j-1,j} - b_j)

    Args:
      accuracies: `[..., T, T]`.
      untrained: `[..., T]` accuracies b of the network before the first task.

    Returns:
      `[...]` float32 (float64 for float64 input); 0 for one task.

    Raises:
      ValueError: if the matrix is not square or `untrained` is not `[..., T]`.

    Reference: Lopez-Paz and Ranzato, Gradient Episodic Memory for Continual Learning, 2017, equation 4.

    >>> forward_transfer(jnp.array([[0.75, 0.75], [0.5, 1.0]]), jnp.array([0.5, 0.5])).item()
    0.25
    """
    accuracies = _checked(accuracies)
    if jnp.shape(untrained) != accuracies.shape[:-1]:
        raise InputError(
            f"untrained {jnp.shape(untrained)} must be [..., T] of accuracies {accuracies.shape}"
        )
    before = jnp.diagonal(accuracies, offset=1, axis1=-2, axis2=-1)
    return masked_mean(before - as_float(untrained)[..., 1:], axis=-1)


def positive_backward_transfer(accuracies: jax.Array) -> jax.Array:
    """How much later tasks have lifted earlier ones, over all pairs of tasks and not at the end alone (BWT+).

        max( 0, 2/(T(T-1)) sum_{i > j} (R_ij - R_jj) )

    Args:
      accuracies: `[..., T, T]`.

    Returns:
      `[...]` float32 (float64 for float64 input), at least 0; 0 for one task.

    Raises:
      ValueError: if the matrix is not square.

    Reference: Diaz-Rodriguez et al., Don't Forget, There Is More than Forgetting: New Metrics for Continual Learning,
      2018, as in the code of PCR.

    >>> positive_backward_transfer(jnp.array([[0.5, 0.0], [0.75, 1.0]])).item()
    0.25
    """
    accuracies = _checked(accuracies)
    later = _reached(accuracies) & ~jnp.eye(accuracies.shape[-1], dtype=bool)
    moved = masked_mean(accuracies - _diagonal(accuracies)[..., None, :], where=later, axis=(-2, -1))
    return jnp.maximum(moved, 0.0)


def mean_forward_transfer(accuracies: jax.Array) -> jax.Array:
    """Mean accuracy on tasks that are not learned yet, over all pairs of tasks; no untrained network is taken off.

        2/(T(T-1)) sum_{i < j} R_ij

    Args:
      accuracies: `[..., T, T]`.

    Returns:
      `[...]` float32 (float64 for float64 input); 0 for one task.

    Raises:
      ValueError: if the matrix is not square.

    Reference: Diaz-Rodriguez et al., Don't Forget, There Is More than Forgetting: New Metrics for Continual Learning,
      2018, as in the code of PCR.

    >>> mean_forward_transfer(jnp.array([[1.0, 0.5], [0.5, 1.0]])).item()
    0.5
    """
    accuracies = _checked(accuracies)
    return masked_mean(accuracies, where=~_reached(accuracies), axis=(-2, -1))


def forgetting_max(accuracies: jax.Array) -> jax.Array:
    """How far earlier tasks have fallen from their best, averaged over the earlier tasks.

    The best includes the end, so it is at least 0.

        1/(T-1) sum_{j < T} (max_i R_ij - R_Tj)

    Args:
      accuracies: `[..., T, T]`.

    Returns:
      `[...]` float32 (float64 for float64 input), at least 0; 0 for one task.

    Raises:
      ValueError: if the matrix is not square.

    Reference: Chaudhry et al., Riemannian Walk for Incremental Learning, 2018, section 3; the best leaves out
      the end there, and includes it in mammoth.

    >>> forgetting_max(jnp.array([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.5, 0.5, 1.0]])).item()
    0.5
    """
    return masked_mean(_fallen(accuracies)[..., :-1], axis=-1)


def forgetting_mean(accuracies: jax.Array) -> jax.Array:
    """How far tasks have fallen from their best, averaged over all tasks: the last usually counts with 0.

        1/T sum_{j <= T} (max_i R_ij - R_Tj)

    Args:
      accuracies: `[..., T, T]`.

    Returns:
      `[...]` float32 (float64 for float64 input), at least 0; (T - 1) / T of `forgetting_max` where the last task is
      never better than at the end.

    Raises:
      ValueError: if the matrix is not square.

    Reference: Mai et al., Online Continual Learning in Image Classification: An Empirical Survey, 2022, as in its code
      and in that of PCR.

    >>> forgetting_mean(jnp.array([[1.0, 0.0], [0.5, 1.0]])).item()
    0.25
    """
    return jnp.mean(_fallen(accuracies), axis=-1)


def _fallen(accuracies: jax.Array) -> jax.Array:
    accuracies = _checked(accuracies)
    return jnp.max(accuracies, axis=-2) - accuracies[..., -1, :]


def _reached(accuracies: jax.Array) -> jax.Array:
    """Which tasks had been learned by then: the triangle up to the diagonal."""
    return jnp.tril(jnp.ones(accuracies.shape[-2:], bool))


def _diagonal(accuracies: jax.Array) -> jax.Array:
    return jnp.diagonal(accuracies, axis1=-2, axis2=-1)


def _checked(accuracies: jax.Array) -> jax.Array:
    shape = jnp.shape(accuracies)
    if len(shape) < 2 or shape[-1] != shape[-2] or not shape[-1]:
        raise InputError(f"accuracies must be [..., T, T] with T at least 1, got {shape}")
    return as_float(accuracies)

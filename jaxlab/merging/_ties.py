"""TIES: trim small changes, elect one sign per parameter, and merge only the changes that agree with it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core._values import concrete
from jaxlab.core.check import InputError
from jaxlab.merging._contracts import stack_size


def ties_select(task_vectors: Any, *, keep: float = 0.2, authors_code: bool = False) -> Any:
    """The entries of each task vector that survive trimming and the election of signs.

    Every task keeps its largest entries by magnitude over all its parameters together (equal ones all stay). Where
    the tasks' kept entries disagree, the sign of their sum wins; an exact draw goes to the sign that wins most
    elections. The survivors stay apart, one vector per task, which is what AdaMerging++ weighs. An entry that is NaN
    in one task is NaN in all, as nobody can elect its sign, and takes no place among the largest. Gradients flow into
    the survivors.

        kept_k = tau_k where |tau_k| is among the floor(keep P) largest, else 0
        sign = sgn(sum_k kept_k),     survivors_k = kept_k where sgn(kept_k) = sign, else 0

    Args:
      task_vectors: `[K, P]`, or a pytree with leaves `[K, ...]`.
      keep: share of the entries that a task keeps, in (0, 1]; static.
      authors_code: cut off the floating-point product (0.29 of 100 entries are then 28), keep one entry more, as the
        public code's k-th value does, and let negative entries win where even the draw is drawn.

    Returns:
      The same pytree, float32 (float64 where the leaves are).

    Raises:
      ValueError: if `keep` is not in (0, 1], or the leaves do not share their leading axis or hold no task.

    Reference: Yadav et al., TIES-Merging: Resolving Interference When Merging Models, NeurIPS 2023, section 4;
      AdaMerging, ICLR 2024, for keeping the survivors per task.

    >>> ties_select(jnp.array([[3.0, -1.0, 0.1], [-2.0, -1.0, 0.2]]), keep=0.67).tolist()
    [[3.0, -1.0, 0.0], [0.0, -1.0, 0.0]]
    """
    if concrete(keep) is None:
        raise InputError("keep must be static, not traced: it says how many entries there are to keep")
    if not isinstance(keep, int | float | np.number | np.ndarray | jax.Array) or not 0 < keep <= 1:
        raise InputError(f"keep must be in (0, 1], got {keep!r}")
    count = stack_size(task_vectors)
    floats = jax.tree.map(as_float, task_vectors)
    threshold, signs, majority = _election(floats, count, keep, authors_code)

    def survive(taus: jax.Array, sign: jax.Array) -> jax.Array:
        kept = _trim(taus, threshold)
        sign = jnp.where(sign == 0, majority, sign)
        positive = kept > 0 if authors_code else (kept > 0) & (sign > 0)
        negative = kept < 0 if authors_code else (kept < 0) & (sign < 0)
        return jnp.where(
            jnp.isnan(sign), jnp.nan, jnp.where(jnp.where(sign > 0, positive, negative), kept, 0.0)
        )

    return jax.tree.map(survive, floats, signs)


def ties_merge(
    task_vectors: Any, *, keep: float = 0.2, reduce: str = "mean", authors_code: bool = False
) -> Any:
    """One task vector from K by TIES: trim, elect, and merge what agrees.

    Add it to the pre-trained model with one coefficient: the TIES paper scales the mean by 1, AdaMerging's
    comparison the sum by 0.3. Gradients flow into the survivors.

        merged = sum_k survivors_k / max(#{k : survivors_k != 0}, 1)     (mean),  or the sum alone

    Args:
      task_vectors: `[K, P]`, or a pytree with leaves `[K, ...]`.
      keep: share of the entries that a task keeps, in (0, 1].
      reduce: "mean" over the survivors of an entry, or their "sum".
      authors_code: see `ties_select`.

    Returns:
      The pytree without its leading axis, float32 (float64 where the leaves are).

    Raises:
      ValueError: if `keep` or `reduce` is out of range, or the leaves do not share their leading axis or hold no task.

    Reference: Yadav et al., TIES-Merging: Resolving Interference When Merging Models, NeurIPS 2023, section 4.

    >>> ties_merge(jnp.array([[3.0, -1.0, 0.1], [-2.0, -2.0, 0.2]]), keep=0.67).tolist()
    [3.0, -1.5, 0.0]
    """
    if reduce not in ("mean", "sum"):
        raise InputError(f"reduce is {reduce!r}: it must be mean or sum")
    survivors = ties_select(task_vectors, keep=keep, authors_code=authors_code)
    if reduce == "sum":
        return jax.tree.map(lambda x: x.sum(0), survivors)
    return jax.tree.map(lambda x: x.sum(0) / jnp.maximum((x != 0).sum(0), 1), survivors)


def _election(
    task_vectors: Any, count: int, keep: float, authors_code: bool
) -> tuple[jax.Array, Any, jax.Array]:
    """The magnitude `[K]` from which entries are kept, each parameter's sign, and the sign that settles draws."""
    frozen = jax.lax.stop_gradient(task_vectors)
    sizes = jnp.concatenate([jnp.abs(x).reshape(count, -1) for x in jax.tree.leaves(frozen)], axis=1)
    total = sizes.shape[1]
    # Rounding first: 0.29 * 100 is 28.999999999999996, which the public code cuts off to 28.
    kept = int(total * keep) + 1 if authors_code else int(round(keep * total, 9))
    kept = min(kept, total)
    ordered = jnp.sort(jnp.where(jnp.isnan(sizes), -jnp.inf, sizes), axis=1)
    threshold = ordered[:, total - kept] if kept else jnp.full(count, jnp.inf, sizes.dtype)
    signs = jax.tree.map(lambda x: jnp.sign(_trim(x, threshold).sum(0)), frozen)
    majority = jnp.sign(sum(jnp.nansum(leaf) for leaf in jax.tree.leaves(signs)))
    return threshold, signs, majority


def _trim(taus: jax.Array, threshold: jax.Array) -> jax.Array:
    threshold = threshold.reshape((-1,) + (1,) * (taus.ndim - 1))
    return jnp.where(jnp.abs(taus) < threshold, 0.0, taus)  # a NaN is not below it

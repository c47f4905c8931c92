"""Exemplars that stand for their class, and classification by the nearest class mean (iCaRL)."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, class_means, masked_mean, normalize, prototype_logits
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import InputError, full_mask


def herding_order(
    features: jax.Array, *, size: int | None = None, where: jax.Array | None = None
) -> jax.Array:
    """Which examples of one class to keep, best first: the mean of the first k is as near the class mean as can be.

    Each example is taken once. Ties go to the lower row. No gradient.

        p_k = argmin_i | mu - (f_i + sum_{j<k} f_{p_j}) / k |

    Args:
      features: `[N, D]` of the examples of one class, for iCaRL of unit length.
      size: static, how many to choose, at most N; None orders all.
      where: `[N]` bool or {0, 1}, the examples that exist; None means all. The others come last.

    Returns:
      `[size]` int32 rows.

    Raises:
      ValueError: if `features` is not `[N, D]`, `size` is not in [0, N], or a known feature that counts is NaN.

    Reference: Rebuffi et al., iCaRL: Incremental Classifier and Representation Learning, 2017, algorithm 4.

    >>> herding_order(jnp.array([[0.0], [9.0], [4.0], [3.0]])).tolist()  # the mean is 4
    [2, 3, 1, 0]
    """
    if np.ndim(features) != 2:
        raise InputError(f"features must be [N, D], got {np.shape(features)}")
    rows = len(features)
    size = rows if size is None else size
    if not 0 <= size <= rows:
        raise InputError(f"size must be in [0, {rows}], the number of features, got {size}")
    exists = full_mask(where, (rows,), "rows of features")
    check_no_nan("features", features, where=exists[:, None])
    features = jnp.where(exists[:, None], jax.lax.stop_gradient(as_float(features)), 0.0)
    mean = masked_mean(features, where=exists[:, None], axis=0)

    def choose(state: tuple[jax.Array, jax.Array], k: jax.Array) -> tuple[tuple, jax.Array]:
        total, left = state
        distance = jnp.sum(jnp.square(mean - (total + features) / (k + 1)), axis=-1)
        # Masked rows come after all others, rows that are taken never.
        distance = jnp.where(left, jnp.where(exists, distance, jnp.finfo(distance.dtype).max), jnp.inf)
        best = jnp.argmin(distance)
        return (total + features[best], left.at[best].set(False)), best.astype(jnp.int32)

    if not size:
        return jnp.zeros((0,), jnp.int32)
    start = (jnp.zeros_like(mean), jnp.ones(rows, bool))
    return jax.lax.scan(choose, start, jnp.arange(size))[1]


def nearest_class_mean_logits(
    features: jax.Array,
    exemplars: jax.Array,
    labels: jax.Array,
    *,
    num_classes: int,
    where: jax.Array | None = None,
) -> jax.Array:
    """Cosine of each feature to the mean of each class's exemplars, as logits: their largest is the nearest mean.

    Exemplars are normalised, then averaged, then normalised again. Gradients flow into both.

    Args:
      features: `[..., D]`, of any length.
      exemplars: `[M, D]` features of the examples in the memory.
      labels: `[M]` integers in [0, C), or negative.
      num_classes: static integer C.
      where: `[M]` bool or {0, 1}, the exemplars that exist; None means all.

    Returns:
      `[..., C]` float32 in [-1, 1]; `MASKED_LOGIT` for a class without exemplars.

    Raises:
      ValueError: if the shapes do not fit, or a known label is C or above.

    Reference: Rebuffi et al., iCaRL: Incremental Classifier and Representation Learning, 2017, algorithm 1.

    >>> exemplars, labels = jnp.array([[2.0, 0.0], [0.0, 1.0]]), jnp.array([1, 0])
    >>> nearest_class_mean_logits(jnp.array([[3.0, 1.0]]), exemplars, labels, num_classes=3).argmax(-1).tolist()
    [1]
    """
    exemplars, labels = jnp.asarray(exemplars), jnp.asarray(labels)
    if exemplars.ndim == 2:
        exists = full_mask(where, exemplars.shape[:1], "rows of exemplars")
        exemplars = normalize(jnp.where(exists[:, None], exemplars, 0.0))
    means, mass = class_means(exemplars, labels, num_classes=num_classes, where=where)
    return prototype_logits(features, means, temperature=1.0, classes=mass > 0)

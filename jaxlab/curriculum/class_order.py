"""Curriculum Designer: which order of classes is good to learn them in one after another, judged without training.

    from jaxlab.curriculum import class_order

A good order begins with a central class, ends with classes that resemble the first ones, and follows a class by one
that differs. Orders are `[..., n]` permutations of n classes (or groups of classes).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, class_means, normalize
from jaxlab.core._values import check_values
from jaxlab.core.check import InputError, as_integers, check_choice

DISTANCES = ("cosine", "euclidean")
"""The names of the distances that `class_distances` knows."""


def class_distances(
    features: jax.Array,
    labels: jax.Array,
    *,
    num_classes: int,
    kind: str = "cosine",
    where: jax.Array | None = None,
) -> jax.Array:
    """Distances between the mean features of classes, as a teacher sees them (batch-level). No gradient flows.

        cosine 1 - cos(mu_a, mu_b), euclidean ||mu_a - mu_b||;   0 from a class to itself

    Args:
      features: `[N, F]` of a network trained on something else.
      labels: `[N]` integers in [0, C), or negative for an example to ignore.
      num_classes: static C.
      kind: one of `DISTANCES`.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.

    Returns:
      `[C, C]` float32, at least 0; a class without examples has its mean at 0.

    Raises:
      ValueError: as `core.class_means`, or a distance that does not exist.

    Reference: Learning to Learn: How to Continuously Teach Humans and Machines, 2023 (cosine; the authors' tables are
    optimal-transport distances).

    >>> features = jnp.array([[3.0, 0.0], [0.0, 4.0]])
    >>> class_distances(features, jnp.array([0, 1]), num_classes=2, kind="euclidean").tolist()
    [[0.0, 5.0], [5.0, 0.0]]
    """
    check_choice("kind", kind, DISTANCES)
    means, _ = class_means(jax.lax.stop_gradient(features), labels, num_classes=num_classes, where=where)
    if kind == "cosine":
        directions = normalize(means)
        apart = 1 - directions @ directions.T
    else:
        apart = jnp.sqrt(jnp.sum((means[:, None] - means[None]) ** 2, -1))
    # Where a NaN is a mean, the distance to itself shows it no more; those to others do.
    return jnp.where(jnp.eye(num_classes, dtype=bool), 0.0, jnp.maximum(apart, 0.0))


def normalize_distances(distances: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Distances as shares of their row, and how unequal the distances of each class are, as shares of all.

        D_ab = d_ab / sum_b d_ab;   v_a = Var_b D_ab / sum_a Var_b D_ab   (population variance, with the diagonal)

    Args:
      distances: `[n, n]`, at least 0, 0 on the diagonal.

    Returns:
      `(D [n, n], v [n])` float32; a row of zeros stays, and v is 1 / n where no class differs.

    Raises:
      ValueError: a table that is not square, or empty.

    Reference: Learning to Learn: How to Continuously Teach Humans and Machines, 2023, authors' code.

    >>> normalize_distances(jnp.array([[0.0, 4.0], [2.0, 0.0]]))[0].tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    distances = as_float(distances)
    _check_table("distances", distances)
    total = jnp.sum(distances, 1, keepdims=True)
    shares = distances / jnp.where(total == 0, 1.0, total)
    spread = jnp.var(shares, axis=1)
    whole = jnp.sum(spread)
    return shares, jnp.where(whole == 0, 1 / len(spread), spread / jnp.where(whole == 0, 1.0, whole))


def order_score(
    distances: jax.Array, variances: jax.Array, orders: jax.Array, *, ranks: bool = False
) -> jax.Array:
    """How good an order of classes should be, before anything is trained on it. Higher is better.

        S = 1 - v[c_0] + sum_k (1 - D[c_k, c_{n-1-k}]) + D[c_k, c_{k+1}],   k < (n - 1) / 2

    Args:
      distances: `[n, n]` D of `normalize_distances`; row a are the distances from a.
      variances: `[n]` v.
      orders: `[..., n]` integers, each a permutation of the n classes.
      ranks: replace each number by its rank, 0 for the smallest: in the variances, and among the other classes of each
        row; 1 - x becomes the rank from above, counted from 1, and D the one from below.

    Returns:
      `[...]` float32.

    Raises:
      ValueError: shapes that do not belong together, or a known order that is no permutation.

    Reference: Learning to Learn: How to Continuously Teach Humans and Machines, 2023, authors' code.

    >>> distances, variances = normalize_distances(1.0 - jnp.eye(2))
    >>> order_score(distances, variances, jnp.array([[0, 1], [1, 0]])).tolist()
    [1.5, 1.5]
    """
    distances, variances = as_float(distances), as_float(variances)
    _check_table("distances", distances)
    size = len(distances)
    if variances.shape != (size,) or np.shape(orders)[-1:] != (size,):
        raise InputError(
            f"variances {variances.shape} and orders {np.shape(orders)} must be [n] and [..., n] for distances [n, n]"
            f" {distances.shape}"
        )
    orders = as_integers("orders", orders, "classes in [0, n)", size)
    check_values(_not_permuted, orders)
    near, far, first = 1 - distances, distances, 1 - variances
    if ranks:
        from_below = _rank_of_others(distances)
        near, far = size - 1 - from_below, from_below + 1.0
        first = size - jnp.argsort(jnp.argsort(variances)).astype(variances.dtype)
    # Pairs of classes are added until as many are covered as there are.
    rounds = max(-(-(size - 1) // 2), 0)
    here, after = orders[..., :rounds], orders[..., 1 : rounds + 1]
    mirrored = orders[..., ::-1][..., :rounds]
    return first[orders[..., 0]] + jnp.sum(near[here, mirrored] + far[here, after], -1)


def _not_permuted(orders: np.ndarray) -> str | None:
    wrong = (np.sort(orders, -1) != np.arange(orders.shape[-1])).any(-1)
    return (
        f"orders must be permutations of the classes, got {orders[wrong][0].tolist()}"
        if wrong.any()
        else None
    )


def _rank_of_others(distances: jax.Array) -> jax.Array:
    """The rank of each entry of a row among those off the diagonal, 0 for the smallest."""
    own = jnp.eye(len(distances), dtype=bool)
    order = jnp.argsort(jnp.where(own, -jnp.inf, distances), axis=1)
    return (jnp.argsort(order, axis=1) - 1).astype(distances.dtype)


def _check_table(name: str, table: jax.Array) -> None:
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not table.size:
        raise InputError(f"{name} must be [n, n] over at least one class, got {table.shape}")


def order_quality(accuracy: jax.Array) -> jax.Array:
    """How good an order of classes was, from the accuracies along the way.

        F = 2 a / (delta a + 1),   a = mean_j R[n - 1, j],   delta = R[0, 0] - R[n - 1, 0]

    Args:
      accuracy: `[..., n, n]`: R[i, j] in [0, 1], on task j after task i. For tasks of different sizes the mean over
        all classes is not that over tasks: scale the last row first.

    Returns:
      `[...]` float32.

    Raises:
      ValueError: accuracies that are not `[..., n, n]`.

    Reference: Learning to Learn: How to Continuously Teach Humans and Machines, 2023, authors' code.

    >>> order_quality(jnp.array([[1.0, 0.0], [0.5, 0.5]])).item()
    0.800000011920929
    """
    accuracy = as_float(accuracy)
    if accuracy.ndim < 2 or accuracy.shape[-1] != accuracy.shape[-2] or not accuracy.shape[-1]:
        raise InputError(f"accuracy must be [..., n, n] over at least one task, got {accuracy.shape}")
    final = jnp.mean(accuracy[..., -1, :], -1)
    lost = accuracy[..., 0, 0] - accuracy[..., -1, 0]
    return 2 * final / (lost * final + 1)


def top_overlap(quality: jax.Array, scores: jax.Array, *, k: int, percentile: float = 75.0) -> jax.Array:
    """How many of the k best orders also score above a percentile of the scores.

        |{k largest F} and {c: S(c) > percentile of S}|

    Args:
      quality: `[M]` F of every order.
      scores: `[M]` S of every order.
      k: static, in [1, M].
      percentile: in [0, 100], interpolated linearly.

    Returns:
      int32 scalar, in [0, k].

    Raises:
      ValueError: shapes that differ, a k outside of [1, M], or a percentile outside of [0, 100].

    Reference: Learning to Learn: How to Continuously Teach Humans and Machines, 2023, authors' code.

    >>> top_overlap(jnp.array([4.0, 3.0, 2.0, 1.0]), jnp.array([9.0, 1.0, 2.0, 3.0]), k=2).item()
    1
    """
    quality, scores = as_float(quality), as_float(scores)
    if quality.ndim != 1 or quality.shape != scores.shape or not 1 <= k <= len(quality):
        raise InputError(
            f"quality {quality.shape} and scores {scores.shape} must be [M], with k {k} in [1, M]"
        )
    if not 0 <= percentile <= 100:
        raise InputError(f"percentile must be in [0, 100], got {percentile}")
    best = jnp.argsort(-quality)[:k]
    return jnp.sum(scores[best] > jnp.percentile(scores, percentile), dtype=jnp.int32)

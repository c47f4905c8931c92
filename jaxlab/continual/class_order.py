"""The order in which classes are learned (curriculum designer): scores of orders by distances, and of what they led to.

A good order, by the score, begins with a class to which all others are about equally far, follows a class by an unlike
one, and comes back at the end to classes like the first.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, class_means, masked_logsumexp, masked_mean, masked_var, normalize
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import InputError, as_integers, check_choice, check_least, check_positive, full_mask

MEASURED_DISTANCES = {
    "mnist": (
        (0.0, 0.29583, 0.23705, 0.21814, 0.24897),
        (0.34179, 0.0, 0.22368, 0.21432, 0.22021),
        (0.29005, 0.23689, 0.0, 0.22313, 0.24992),
        (0.27282, 0.23200, 0.22807, 0.0, 0.26711),
        (0.29037, 0.22230, 0.23822, 0.24910, 0.0),
    ),
    "fashion_mnist": (
        (0.0, 0.28225, 0.26250, 0.22848, 0.22676),
        (0.32234, 0.0, 0.23244, 0.25774, 0.18748),
        (0.29879, 0.23167, 0.0, 0.29802, 0.17152),
        (0.24786, 0.24482, 0.28403, 0.0, 0.22329),
        (0.30339, 0.21964, 0.20160, 0.27538, 0.0),
    ),
}
"""Shares of distances between the first five classes of MNIST and of Fashion-MNIST, `[5, 5]`, as `normalize_distances`.

The authors' optimal-transport dataset distances (debiased, of 500 images each, in layer 12 of a pretrained
SqueezeNet), rounded to five digits; github.com/ZhangLab-DeepNeuroCogLab/Learning2Learn, commit 299241f.
"""


def class_distances(
    features: jax.Array,
    labels: jax.Array,
    *,
    num_classes: int,
    kind: str = "cosine",
    where: jax.Array | None = None,
) -> jax.Array:
    """Distances between the mean features of classes, batch-level.

    Args:
      features: `[N, D]` of a pretrained teacher.
      labels: `[N]` integers in [0, C), or negative.
      num_classes: static integer C.
      kind: static, "cosine" (1 - cos) or "euclidean".
      where: `[N]` bool or {0, 1}, the examples that count; None means all.

    Returns:
      `[C, C]` float32, symmetric, 0 on the diagonal and for a class without examples.

    Raises:
      ValueError: if the shapes do not fit, a known label is C or above, or the kind is another.

    Reference: Singh et al., Learning to Learn: How to Continuously Teach Humans and Machines, 2023, section 3.

    >>> class_distances(jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.array([0, 1]), num_classes=2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    check_choice("kind", kind, ("cosine", "euclidean"))
    means, mass = class_means(features, labels, num_classes=num_classes, where=where)
    both = (mass > 0)[:, None] & (mass > 0) & ~jnp.eye(num_classes, dtype=bool)
    if kind == "cosine":
        units = normalize(means)
        return jnp.where(both, 1.0 - units @ units.T, 0.0)
    squares = jnp.sum(jnp.square(means[:, None] - means[None]), axis=-1)
    apart = both & ~(squares == 0)
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squares, 1.0)), 0.0)


def sinkhorn_divergence(
    x: jax.Array,
    y: jax.Array,
    *,
    regularization: float = 0.1,
    iterations: int = 200,
    where_x: jax.Array | None = None,
    where_y: jax.Array | None = None,
) -> jax.Array:
    """Debiased optimal-transport distance of two sets of features, batch-level; with it the authors compare classes.

    The cost is half the squared distance; regularisation by entropy is taken out again by the sets' distances to
    themselves. Gradients flow into both sets through the iterations.

        S(x, y) = W(x, y) - 1/2 W(x, x) - 1/2 W(y, y),   W the entropic optimal cost

    Args:
      x: `[N, D]`.
      y: `[M, D]`.
      regularization: a positive number, the blur squared.
      iterations: static number of updates of both potentials.
      where_x: `[N]` bool or {0, 1}, the points that exist; None means all.
      where_y: `[M]`, the same.

    Returns:
      float32 scalar, near 0 for equal sets; 0 if a set is empty.

    Raises:
      ValueError: if the shapes do not fit or a static number is out of range.

    Reference: Feydy et al., Interpolating between Optimal Transport and MMD using Sinkhorn Divergences, 2019; the inner
      distance of Alvarez-Melis and Fusi, Geometric Dataset Distances via Optimal Transport, 2020.

    >>> sinkhorn_divergence(jnp.array([[0.0]]), jnp.array([[2.0]])).item()
    2.0
    """
    if np.ndim(x) != 2 or np.ndim(y) != 2 or np.shape(x)[1] != np.shape(y)[1]:
        raise InputError(f"x {np.shape(x)} must be [N, D] and y {np.shape(y)} [M, D]")
    check_positive("regularization", regularization)
    check_least("iterations", iterations, 1)
    exist_x = full_mask(where_x, np.shape(x)[:1], "rows of x", name="where_x")
    exist_y = full_mask(where_y, np.shape(y)[:1], "rows of y", name="where_y")
    x = jnp.where(exist_x[:, None], as_float(x), 0.0)
    y = jnp.where(exist_y[:, None], as_float(y), 0.0)
    cost = lambda a, b, in_a, in_b: _entropic_cost(a, b, in_a, in_b, regularization, iterations)
    both = cost(x, y, exist_x, exist_y)
    divergence = both - 0.5 * cost(x, x, exist_x, exist_x) - 0.5 * cost(y, y, exist_y, exist_y)
    return jnp.where(jnp.any(exist_x) & jnp.any(exist_y), divergence, 0.0)


def _entropic_cost(a, b, in_a, in_b, regularization: float, iterations: int) -> jax.Array:
    """Dual value of entropic transport between uniform weights, by symmetric updates of the potentials."""

    cost = 0.5 * jnp.sum(jnp.square(a[:, None] - b[None]), axis=-1)
    log_a, log_b = (-jnp.log(jnp.maximum(jnp.sum(exist), 1)) for exist in (in_a, in_b))

    def soft_minimum(
        potential: jax.Array, cost: jax.Array, log_weight: jax.Array, exist: jax.Array
    ) -> jax.Array:
        logits = (potential - cost) / regularization + log_weight
        return -regularization * masked_logsumexp(logits, where=exist, axis=-1)

    def step(potentials: tuple, _: None) -> tuple[tuple, None]:
        f, g = potentials
        new_f = soft_minimum(g, cost, log_b, in_b)
        new_g = soft_minimum(f, cost.T, log_a, in_a)
        return (0.5 * (f + new_f), 0.5 * (g + new_g)), None

    start = (jnp.zeros(len(a), cost.dtype), jnp.zeros(len(b), cost.dtype))
    (f, g), _ = jax.lax.scan(step, start, None, length=iterations)
    return masked_mean(f, where=in_a) + masked_mean(g, where=in_b)


def normalize_distances(distances: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Distances as shares of their row, and how unequal those of each class are, as shares of all.

        D_ij = d_ij / sum_k d_ik,   v_i = Var_j D_ij / sum_k Var_j D_kj

    Args:
      distances: `[C, C]`, at least 0; the diagonal counts.

    Returns:
      `(D [C, C], v [C])` float32 (float64 for float64 input); D need not be symmetric. A row of zeros stays so; where
      all variances are 0, v is 0.

    Raises:
      ValueError: if the distances are not square.

    Reference: Singh et al., Learning to Learn: How to Continuously Teach Humans and Machines, 2023, the authors' code.

    >>> shares, unequal = normalize_distances(jnp.array([[0.0, 1.0, 3.0], [1.0, 0.0, 1.0], [3.0, 1.0, 0.0]]))
    >>> shares[0].tolist(), int(unequal.argmin())
    ([0.0, 0.25, 0.75], 1)
    """
    distances = _square("distances", distances)
    share = lambda x, total: jnp.where(total == 0, 0.0, x / jnp.where(total == 0, 1.0, total))
    shares = share(distances, jnp.sum(distances, axis=-1, keepdims=True))
    variances = masked_var(shares, axis=-1)
    return shares, share(variances, jnp.sum(variances))


def order_scores(distances: jax.Array, variances: jax.Array, orders: jax.Array) -> jax.Array:
    """How good orders of classes promise to be, from distances alone; higher is better.

    From the second class on, each should be unlike the one before; the last ones like the first, by pairs (u, near the
    end), as long as classes are left.

        1 - v[c_0] + sum_k ( 1 - D[c_k, c_{C-1-k}] + D[c_k, c_{k+1}] )      k = 0, 1, ... while 2k + 1 < C

    Args:
      distances: `[C, C]` shares, as from `normalize_distances`.
      variances: `[C]`, the same.
      orders: `[..., C]` permutations of the classes.

    Returns:
      `[...]` float32 (float64 for float64 input).

    Raises:
      ValueError: if the shapes do not fit, or a known entry of the orders is no class.

    Reference: Singh et al., Learning to Learn: How to Continuously Teach Humans and Machines, 2023, the authors' code.

    >>> shares = jnp.array([[0.0, 0.25, 0.75], [0.5, 0.0, 0.5], [0.75, 0.25, 0.0]])
    >>> order_scores(shares, jnp.array([0.5, 0.0, 0.5]), jnp.array([[1, 0, 2], [0, 2, 1]])).tolist()
    [2.0, 2.0]
    """
    distances, orders = _square("distances", distances), _orders(orders, np.shape(distances)[0])
    if np.shape(variances) != (len(distances),):
        raise InputError(f"variances {np.shape(variances)} must be [C] of distances {distances.shape}")
    current, end, following = _pairs(orders)
    first = 1.0 - as_float(variances)[orders[..., 0]]
    return first + jnp.sum(1.0 - distances[current, end] + distances[current, following], axis=-1)


def order_rank_scores(distances: jax.Array, variances: jax.Array, orders: jax.Array) -> jax.Array:
    """`order_scores` by ranks in the place of distances: integers.

        C - rank v[c_0] + sum_k ( C - 1 - rank_{c_k}(c_{C-1-k}) + rank_{c_k}(c_{k+1}) + 1 )

    Ranks begin at 0, a class's own is left out; of a class to itself, the last pair of an even number of classes, it is
    taken as -1. Ties go to the lower class.

    Args:
      distances: `[C, C]` shares, as from `normalize_distances`.
      variances: `[C]`, the same.
      orders: `[..., C]` permutations of the classes.

    Returns:
      `[...]` int32.

    Raises:
      ValueError: if the shapes do not fit, a known entry of the orders is no class, or a known share is NaN.

    Reference: Singh et al., Learning to Learn: How to Continuously Teach Humans and Machines, 2023, the authors' code.

    >>> shares = jnp.array([[0.0, 0.25, 0.75], [0.5, 0.0, 0.5], [0.75, 0.25, 0.0]])
    >>> order_rank_scores(shares, jnp.array([0.5, 0.0, 0.5]), jnp.array([[1, 0, 2], [0, 2, 1]])).tolist()
    [5, 6]
    """
    distances, orders = _square("distances", distances), _orders(orders, np.shape(distances)[0])
    size = len(distances)
    if np.shape(variances) != (size,):
        raise InputError(f"variances {np.shape(variances)} must be [C] of distances {distances.shape}")
    check_no_nan("distances", distances, where=~np.eye(size, dtype=bool))
    check_no_nan("variances", variances)
    ranks_of = lambda x: jnp.argsort(jnp.argsort(x, axis=-1), axis=-1).astype(jnp.int32)
    ranks = ranks_of(jnp.where(jnp.eye(size, dtype=bool), -jnp.inf, distances)) - 1
    current, end, following = _pairs(orders)
    first = size - ranks_of(as_float(variances))[orders[..., 0]]
    return first + jnp.sum(size - 1 - ranks[current, end] + ranks[current, following] + 1, axis=-1)


def order_quality(accuracies: jax.Array) -> jax.Array:
    """What an order led to: accuracy at the end against how much of the first task was lost.

        F = 2 a / (delta a + 1),   a = mean_j R_Tj,   delta = R_11 - R_T1

    Args:
      accuracies: `[..., T, T]`, row i after task i, in [0, 1].

    Returns:
      `[...]` float32 (float64 for float64 input).

    Raises:
      ValueError: if the matrix is not square.

    Reference: Singh et al., Learning to Learn: How to Continuously Teach Humans and Machines, 2023, the authors' code.

    >>> order_quality(jnp.array([[1.0, 0.0], [0.0, 1.0]])).item()
    0.6666666865348816
    """
    accuracies = _square("accuracies", accuracies)
    final = jnp.mean(accuracies[..., -1, :], axis=-1)
    lost = accuracies[..., 0, 0] - accuracies[..., -1, 0]
    return 2.0 * final / (lost * final + 1.0)


def top_orders_overlap(
    qualities: jax.Array, scores: jax.Array, *, top: int, percentile: float = 75.0
) -> jax.Array:
    """How many of the best orders have a score above a percentile of all scores.

    Args:
      qualities: `[M]` what the orders led to, as `order_quality` averaged over seeds.
      scores: `[M]` what they promised, as from `order_scores`.
      top: static, how many count as best, in [1, M].
      percentile: in [0, 100].

    Returns:
      int32 scalar in [0, top]; by chance about `top (1 - percentile / 100)`.

    Raises:
      ValueError: if the shapes do not fit, a number is out of range, or a known quality or score is NaN.

    Reference: Singh et al., Learning to Learn: How to Continuously Teach Humans and Machines, 2023, section 4.

    >>> qualities, scores = jnp.array([4.0, 3.0, 2.0, 1.0]), jnp.array([9.0, 1.0, 2.0, 8.0])
    >>> top_orders_overlap(qualities, scores, top=2, percentile=50).item()
    1
    """
    if np.ndim(scores) != 1 or np.shape(qualities) != np.shape(scores):
        raise InputError(f"qualities {np.shape(qualities)} and scores {np.shape(scores)} must both be [M]")
    if not 1 <= top <= len(scores):
        raise InputError(f"top must be in [1, {len(scores)}], the number of orders, got {top}")
    if not 0 <= percentile <= 100:
        raise InputError(f"percentile must be in [0, 100], got {percentile}")
    check_no_nan("qualities", qualities)
    check_no_nan("scores", scores)
    best = jnp.argsort(-as_float(qualities))[:top]
    high = as_float(scores) > jnp.percentile(as_float(scores), percentile)
    return jnp.sum(high[best], dtype=jnp.int32)


def _pairs(orders: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Current class, its partner near the end, and the class after it."""
    size = orders.shape[-1]
    k = np.arange(size // 2)
    return orders[..., k], orders[..., size - 1 - k], orders[..., k + 1]


def _square(name: str, x: jax.Array) -> jax.Array:
    shape = np.shape(x)
    if len(shape) < 2 or shape[-1] != shape[-2] or not shape[-1]:
        raise InputError(f"{name} must be square, [..., C, C] with C at least 1, got {shape}")
    return as_float(x)


def _orders(orders: jax.Array, size: int) -> jax.Array:
    if not np.ndim(orders) or np.shape(orders)[-1] != size:
        raise InputError(f"orders {np.shape(orders)} must be [..., {size}], permutations of the classes")
    return as_integers("orders", orders, "classes in [0, C)", size)

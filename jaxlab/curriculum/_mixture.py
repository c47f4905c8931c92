"""Gaussian mixtures with full covariances in fixed shapes: a mask says which of the components exist."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.core import as_float, masked_logsumexp, masked_mean, masked_softmax, masked_sum
from jaxlab.core.check import InputError, check_choice, check_least, check_positive, check_state, full_mask


class Mixture(NamedTuple):
    """A Gaussian mixture of at most K components in D dimensions.

    Attributes:
      weights: `[K]`, summing to 1 over the components that exist, 0 elsewhere.
      means: `[K, D]`.
      covariances: `[K, D, D]`.
      components: `[K]` bool, which of them exist.
    """

    weights: jax.Array
    means: jax.Array
    covariances: jax.Array
    components: jax.Array


def component_log_probs(mixture: Mixture, x: jax.Array) -> jax.Array:
    """The logarithm of each component's weighted density.

        log w_k + log N(x; mu_k, Sigma_k)

    A covariance that rounding has made singular counts by its diagonal.

    Args:
      mixture: of K components in D dimensions.
      x: `[N, D]`.

    Returns:
      `[N, K]` float32 (float64 for float64 input); -inf for a component that does not exist.

    Raises:
      ValueError: points that are not `[N, D]`.

    Reference: Dempster, Laird and Rubin, Maximum Likelihood from Incomplete Data via the EM Algorithm, 1977.

    >>> one = Mixture(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1)), jnp.ones(1, bool))
    >>> component_log_probs(one, jnp.zeros((1, 1))).round(3).tolist()
    [[-0.9190000295639038]]
    """
    check_state("mixture", mixture, Mixture)
    x = _points(x, mixture.means.shape[1])
    factor = _factors(mixture.covariances)
    centred = x[None] - mixture.means[:, None]  # [K, N, D]
    whitened = _forward(factor, centred.swapaxes(1, 2))
    log_det = jnp.sum(jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)), -1)
    squared = jnp.sum(whitened**2, axis=1)  # [K, N]
    density = -0.5 * (x.shape[1] * jnp.log(2 * jnp.pi) + squared) - log_det[:, None]
    log_weights = jnp.log(jnp.where(mixture.components, mixture.weights, 1.0))
    return jnp.where(mixture.components, (density + log_weights[:, None]).T, -jnp.inf)


def _forward(factor: jax.Array, x: jax.Array) -> jax.Array:
    """`factor^-1 x` for lower triangles `[K, D, D]` and `[K, D, N]`, row by row.

    D is small, and a large stack of LAPACK's solutions waits for ever where a CPU counts as several devices.
    """
    rows: list[jax.Array] = []
    for i in range(x.shape[1]):
        known = sum(factor[:, i, j, None] * rows[j] for j in range(i))
        rows.append((x[:, i] - known) / factor[:, i, i, None])
    return jnp.stack(rows, axis=1)


def _factors(covariances: jax.Array) -> jax.Array:
    """Cholesky factors, that of the diagonal where there is none."""
    factor = jnp.linalg.cholesky(covariances)
    broken = ~jnp.all(jnp.isfinite(factor), axis=(1, 2), keepdims=True)
    tiny = jnp.finfo(factor.dtype).tiny
    spread = jnp.sqrt(jnp.maximum(jnp.diagonal(covariances, axis1=1, axis2=2), tiny))
    return jnp.where(broken, spread[..., None] * jnp.eye(spread.shape[-1], dtype=factor.dtype), factor)


def mean_log_likelihood(mixture: Mixture, x: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """The logarithm of the mixture's density, in the mean over points (batch-level).

    Args:
      mixture: of K components in D dimensions.
      x: `[N, D]`.
      where: `[N]` bool or {0, 1}, the points that count; None means all.

    Returns:
      float32 scalar (float64 for float64 input), in nats; 0 if no point counts.

    Raises:
      ValueError: points that are not `[N, D]`, or a mask that does not broadcast.

    Reference: Dempster, Laird and Rubin, Maximum Likelihood from Incomplete Data via the EM Algorithm, 1977.

    >>> one = Mixture(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1)), jnp.ones(1, bool))
    >>> round(mean_log_likelihood(one, jnp.zeros((3, 1))).item(), 3)
    -0.919
    """
    check_state("mixture", mixture, Mixture)
    counts = full_mask(where, jnp.shape(x)[:1], "points")
    x = jnp.where(counts[:, None], as_float(x), 0.0)
    return masked_mean(masked_logsumexp(component_log_probs(mixture, x), axis=1), where=counts)


def em_step(
    mixture: Mixture, x: jax.Array, *, where: jax.Array | None = None, ridge: float = 1e-6
) -> tuple[Mixture, jax.Array]:
    """One step of expectation maximisation (batch-level); components that do not exist stay as they are.

        r_ik = softmax_k(log w_k N(x_i; mu_k, Sigma_k));   n_k = sum_i r_ik + 10 eps
        w_k = n_k / sum n;   mu_k = sum_i r_ik x_i / n_k
        Sigma_k = sum_i r_ik (x_i - mu_k)(x_i - mu_k)^T / n_k + ridge I

    Args:
      mixture: of K components in D dimensions.
      x: `[N, D]`.
      where: `[N]` bool or {0, 1}, the points that count; None means all.
      ridge: positive, added to the diagonals.

    Returns:
      `(mixture, the mean log-likelihood before the step)`.

    Raises:
      ValueError: points that are not `[N, D]`, a mask that does not broadcast, or a ridge that is not positive.

    Reference: Dempster, Laird and Rubin, Maximum Likelihood from Incomplete Data via the EM Algorithm, 1977; full
      covariances as in scikit-learn's `GaussianMixture`.

    >>> x = jnp.array([[0.0], [2.0]])
    >>> one = Mixture(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1)), jnp.ones(1, bool))
    >>> em_step(one, x)[0].means.round(5).tolist()
    [[1.0]]
    """
    check_state("mixture", mixture, Mixture)
    check_positive("ridge", ridge)
    counts = full_mask(where, jnp.shape(x)[:1], "points")
    x = jnp.where(counts[:, None], as_float(x), 0.0)
    logits = component_log_probs(mixture, x)
    share = jnp.where(counts[:, None], masked_softmax(logits, where=mixture.components), 0.0)
    likelihood = masked_mean(masked_logsumexp(logits, axis=1), where=counts)
    return _maximise(share, x, mixture, ridge), likelihood


def _maximise(share: jax.Array, x: jax.Array, mixture: Mixture, ridge: float) -> Mixture:
    """The parameters under responsibilities `[N, K]`."""
    alive = mixture.components
    mass = jnp.where(alive, jnp.sum(share, axis=0) + 10 * jnp.finfo(x.dtype).eps, 1.0)
    means = (share.T @ x) / mass[:, None]
    centred = x[:, None] - means  # [N, K, D]
    spread = jnp.einsum("nk,nkd,nke->kde", share, centred, centred) / mass[:, None, None]
    weights = jnp.where(alive, mass, 0.0) / jnp.maximum(masked_sum(mass, where=alive), 1e-30)
    return Mixture(
        weights,
        jnp.where(alive[:, None], means, mixture.means),
        jnp.where(
            alive[:, None, None], spread + ridge * jnp.eye(x.shape[1], dtype=x.dtype), mixture.covariances
        ),
        alive,
    )


def fit_mixture(
    key: jax.Array,
    x: jax.Array,
    num_components: int | jax.Array,
    *,
    max_components: int,
    where: jax.Array | None = None,
    max_steps: int = 100,
    tolerance: float = 1e-3,
    ridge: float = 1e-6,
) -> Mixture:
    """A mixture by expectation maximisation from clusters of k-means (batch-level). No gradient flows.

    The number of components may be traced: it is a mask on the largest one, so that `vmap` fits mixtures of several
    sizes side by side.

    Args:
      key: `jax.random.key`, for the first centres (k-means++).
      x: `[N, D]`.
      num_components: in [1, K].
      max_components: static K.
      where: `[N]` bool or {0, 1}, the points that count; None means all.
      max_steps: of expectation maximisation.
      tolerance: it ends when the mean log-likelihood moves by less.
      ridge: positive, added to the diagonals of the covariances.

    Returns:
      The mixture; with no point that counts, equal weights around 0 with the ridge for a covariance.

    Raises:
      ValueError: points that are not `[N, D]`, a known number of components outside of [1, K], or as `em_step`.

    Reference: Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, 2007, for the start; then as
      `em_step`.

    >>> x = jnp.array([[0.0], [0.1], [5.0], [5.1]])
    >>> sorted(int(mean) for mean in fit_mixture(jax.random.key(0), x, 2, max_components=3).means[:2, 0] * 10)
    [0, 50]
    """
    check_positive("ridge", ridge)
    check_least("num_components", num_components, 1)
    if not isinstance(num_components, jax.core.Tracer) and num_components > max_components:
        raise InputError(
            f"num_components must be at most max_components {max_components}, got {num_components}"
        )
    x = jax.lax.stop_gradient(_points(x, None))
    if len(x) == 0:
        raise InputError("a mixture needs at least one point, got none")
    counts = full_mask(where, x.shape[:1], "points")
    x = jnp.where(counts[:, None], x, 0.0)
    alive = jnp.arange(max_components) < num_components
    share = _clusters(key, x, alive, counts)
    empty = Mixture(
        jnp.zeros(max_components, x.dtype),
        jnp.zeros((max_components, x.shape[1]), x.dtype),
        jnp.broadcast_to(jnp.eye(x.shape[1], dtype=x.dtype), (max_components, x.shape[1], x.shape[1])),
        alive,
    )
    first = _maximise(share, x, empty, ridge)

    def unsettled(state: tuple) -> jax.Array:
        _, _, change, step = state
        return (step < max_steps) & (jnp.abs(change) >= tolerance)

    def improve(state: tuple) -> tuple:
        mixture, before, _, step = state
        mixture, likelihood = em_step(mixture, x, where=counts, ridge=ridge)
        return mixture, likelihood, likelihood - before, step + 1

    huge = jnp.asarray(jnp.finfo(x.dtype).max / 4, x.dtype)  # the first step never counts as settled
    return jax.lax.while_loop(unsettled, improve, (first, -huge, huge, 0))[0]


def _clusters(
    key: jax.Array, x: jax.Array, alive: jax.Array, counts: jax.Array, steps: int = 30
) -> jax.Array:
    """Which cluster of k-means each point is in, `[N, K]` of 0 and 1; points that do not count are in none."""
    num = len(alive)
    keys = jax.random.split(key, num)

    def distance(centres: jax.Array) -> jax.Array:
        return jnp.sum((x[:, None] - centres) ** 2, -1)

    def seed(index: int, state: tuple) -> tuple:
        centres, nearest = state
        # Far points first; where all lie on a centre already, any will do.
        weight = jnp.where(jnp.sum(nearest) > 0, nearest, 1.0) * counts
        drawn = jax.random.categorical(keys[index], jnp.log(weight))
        centres = centres.at[index].set(x[drawn])
        return centres, jnp.minimum(nearest, jnp.where(counts, jnp.sum((x - x[drawn]) ** 2, -1), 0.0))

    start = (jnp.zeros((num, x.shape[1]), x.dtype), jnp.where(counts, 1e30 / len(x), 0.0).astype(x.dtype))
    centres, _ = jax.lax.fori_loop(0, num, seed, start)

    def assign(centres: jax.Array) -> jax.Array:
        nearest = jnp.argmin(jnp.where(alive, distance(centres), jnp.inf), -1)
        return jax.nn.one_hot(nearest, num, dtype=x.dtype) * counts[:, None]

    def move(_: int, centres: jax.Array) -> jax.Array:
        share = assign(centres)
        mass = jnp.sum(share, 0)[:, None]
        return jnp.where(mass > 0, share.T @ x / jnp.maximum(mass, 1), centres)

    return assign(jax.lax.fori_loop(0, steps, move, centres))


def akaike(
    mixture: Mixture,
    x: jax.Array,
    *,
    where: jax.Array | None = None,
    criterion: str = "aic",
    authors_code: bool = False,
) -> jax.Array:
    """How badly a mixture describes points, with a price for its parameters (batch-level). Smaller is better.

        aic = -2 log L + 2 P,   P = (K - 1) + K D + K D (D + 1) / 2
        aicc = aic + 2 P (P + 1) / max(N - P - 1, 1);   bic = -2 log L + P log N

    Args:
      mixture: of K components that exist, in D dimensions.
      x: `[N, D]`.
      where: `[N]` bool or {0, 1}, the points that count; None means all.
      criterion: "aic", "aicc" or "bic".
      authors_code: count the parameters in aicc's correction with D - 1 in the place of D, as that code does.

    Returns:
      float32 scalar (float64 for float64 input).

    Raises:
      ValueError: as `mean_log_likelihood`, or a criterion that does not exist.

    Reference: Akaike, A New Look at the Statistical Model Identification, 1974; Schwarz, Estimating the Dimension of
      a Model, 1978; `authors_code`: the code of ALP-GMM, 2019.

    >>> one = Mixture(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1)), jnp.ones(1, bool))
    >>> round(akaike(one, jnp.zeros((3, 1))).item(), 3)  # two parameters
    9.514
    """
    check_state("mixture", mixture, Mixture)
    check_choice("criterion", criterion, ("aic", "aicc", "bic"))
    counts = full_mask(where, jnp.shape(x)[:1], "points")
    number, dim = jnp.sum(counts), jnp.shape(x)[1]
    components = jnp.sum(mixture.components)

    def parameters(dim: int) -> jax.Array:
        return components - 1 + components * dim + components * (dim * (dim + 1) // 2)

    price = jnp.log(jnp.maximum(number, 1)) if criterion == "bic" else 2.0
    value = -2 * number * mean_log_likelihood(mixture, x, where=counts) + price * parameters(dim)
    if criterion != "aicc":
        return value
    count = parameters(dim - 1 if authors_code else dim)
    return value + 2 * count * (count + 1) / jnp.maximum(number - count - 1, 1)


def select_mixture(
    key: jax.Array,
    x: jax.Array,
    *,
    min_components: int = 2,
    max_components: int = 10,
    criterion: str = "aic",
    where: jax.Array | None = None,
    **options: float,
) -> Mixture:
    """The best of mixtures with different numbers of components, by Akaike's criterion or another (batch-level).

    Args:
      key: `jax.random.key`.
      x: `[N, D]`.
      min_components, max_components: static, the smallest and the largest number that is tried.
      criterion: "aic", "aicc" or "bic", as in `akaike`.
      where: `[N]` bool or {0, 1}, the points that count; None means all.
      options: of `fit_mixture`.

    Returns:
      The mixture, padded to the largest number.

    Raises:
      ValueError: a smallest number below 1 or above the largest, or as `fit_mixture`.

    Reference: Portelas et al., Teacher algorithms for curriculum learning of Deep RL in continuously parameterized
      environments, 2019.

    >>> x = jnp.concatenate([jnp.linspace(-0.1, 0.1, 20), jnp.linspace(4.9, 5.1, 20)])[:, None]
    >>> int(select_mixture(jax.random.key(0), x, min_components=1, max_components=2).components.sum())
    2
    """
    if not 1 <= min_components <= max_components:
        raise InputError(
            f"min_components must be in [1, max_components {max_components}], got {min_components}"
        )
    x = _points(x, None)

    def fit(number: jax.Array) -> tuple[Mixture, jax.Array]:
        mixture = fit_mixture(key, x, number, max_components=max_components, where=where, **options)
        return mixture, akaike(mixture, x, where=where, criterion=criterion)

    mixtures, criteria = jax.vmap(fit)(jnp.arange(min_components, max_components + 1))
    best = jnp.argmin(criteria)
    return jax.tree.map(lambda leaf: leaf[best], mixtures)


def _points(x: jax.Array, dim: int | None) -> jax.Array:
    x = as_float(x)
    if x.ndim != 2 or x.shape[1] < 1 or dim not in (None, x.shape[1]):
        raise InputError(f"points must be [N, {dim or 'D'}], got {x.shape}")
    return x

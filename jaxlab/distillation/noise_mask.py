"""Noise masks that a policy proposes: multiplicative, one per image, drawn from Beta distributions on a coarse grid."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betaln, digamma

from jaxlab.core import as_float, masked_logsumexp, masked_mean, masked_sum
from jaxlab.core.check import InputError, check_fraction, fitted, full_mask

AxisName = str | tuple[str, ...] | None
# Of a log-concentration: Beta(e^10, e^10) is a point to three digits, and no density overflows.
_LARGEST = 10.0


def mix_base(base: jax.Array, head: jax.Array, *, decay: float | jax.Array = 0.9) -> jax.Array:
    """What an image's mask is drawn with: mostly the base that all images share, a little of the image's own head.

    Gradients flow into the head (and the base, which the method does not train by them).

        decay base + (1 - decay) head_b

    Args:
      base: `[G]` or `[1, G]`, log-concentrations of the grid's cells.
      head: `[B, G]`, what the policy says of each image.
      decay: in [0, 1]; may be traced.

    Returns:
      `[B, G]` log-concentrations, float32 (float64 for float64 input).

    Raises:
      ValueError: a base that does not broadcast to the head, or a static decay outside [0, 1].

    Reference: Policy Gradient-Driven Noise Mask, 2024, the authors' `MaskGenerator`.

    >>> import jax.numpy as jnp
    >>> mix_base(jnp.array([1.0]), jnp.array([[11.0]])).tolist()
    [[2.0]]
    """
    base, head = _base_and_head(base, head, decay)
    return decay * base + (1 - decay) * head


def update_base(
    base: jax.Array, head: jax.Array, *, decay: float | jax.Array = 0.99, where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:  # fmt: skip
    """The base after a batch: a moving average of the heads' mean over that batch.

    No gradient flows through it. Without any image that counts the base stays.

        decay base + (1 - decay) mean_b head_b

    Args:
      base: `[G]` or `[1, G]`, log-concentrations.
      head: `[B, G]`, the batch's heads.
      decay: in [0, 1]; may be traced.
      where: `[B]` bool or {0, 1}, the images that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global average.

    Returns:
      The base's shape, float32 (float64 for float64 input).

    Raises:
      ValueError: a base that does not broadcast to the head, a `where` that does not to `[B]`, or a static decay
        outside [0, 1].

    Reference: Policy Gradient-Driven Noise Mask, 2024, the authors' `MaskGenerator`.

    >>> import jax.numpy as jnp
    >>> round(update_base(jnp.array([1.0]), jnp.array([[1.0], [3.0]]), decay=0.5).item(), 4)
    1.5
    """
    _, values = _base_and_head(base, head, decay)
    rows = full_mask(where, values.shape[:1], "images")[:, None]
    base, values = jax.lax.stop_gradient((as_float(base), values))
    mean = masked_mean(values, where=rows, axis=0, axis_name=axis_name)
    seen = masked_sum(rows.astype(values.dtype), axis_name=axis_name) > 0
    return jnp.where(seen, decay * base + (1 - decay) * mean, base)


@jax.custom_jvp
def _log_beta(a: jax.Array, b: jax.Array) -> jax.Array:
    """`betaln`, whose own gradient is NaN at some finite arguments, through a branch not taken."""
    return betaln(a, b)


@_log_beta.defjvp
def _log_beta_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (a, b), (a_dot, b_dot) = primals, tangents
    total = digamma(a + b)
    return _log_beta(a, b), (digamma(a) - total) * a_dot + (digamma(b) - total) * b_dot


def beta_log_prob(
    mask: jax.Array, log_alpha: jax.Array, log_beta: jax.Array, *, eps: float = 1e-6
) -> jax.Array:
    """Log-density of mask values under Beta distributions given by the logarithms of their concentrations.

    Values are kept `eps` away from 0 and 1, where the density is 0 or infinite, and log-concentrations within plus or
    minus 10. Gradients flow into the concentrations and not into the mask: it is a sample, taken without
    reparametrisation.

        (a - 1) log m + (b - 1) log(1 - m) - log B(a, b),   a = exp(log_alpha), b = exp(log_beta)

    Args:
      mask: `[...]` in [0, 1].
      log_alpha: `[...]`, any finite size.
      log_beta: `[...]`, the same.
      eps: distance kept from 0 and 1.

    Returns:
      `[...]` nats (a density: it may be positive), float32 (float64 for float64 input).

    Raises:
      ValueError: if the shapes differ.

    Reference: Policy Gradient-Driven Noise Mask, 2024; the authors' code clips nothing.

    >>> import jax.numpy as jnp
    >>> round(beta_log_prob(jnp.array(0.5), jnp.log(2.0), jnp.log(2.0)).item(), 4)  # density 6 m (1 - m)
    0.4055
    """
    shapes = [np.shape(x) for x in (mask, log_alpha, log_beta)]
    if len(set(shapes)) > 1:
        raise InputError(f"mask, log_alpha and log_beta must have the same shape, got {shapes}")
    a, b = (jnp.exp(jnp.clip(as_float(x), -_LARGEST, _LARGEST)) for x in (log_alpha, log_beta))
    m = jnp.clip(jax.lax.stop_gradient(as_float(mask)), eps, 1 - eps)
    return (a - 1) * jnp.log(m) + (b - 1) * jnp.log1p(-m) - _log_beta(a, b)


def sample_mask(key: jax.Array, log_alpha: jax.Array, log_beta: jax.Array, *, tries: int = 8) -> jax.Array:
    """Mask values drawn from Beta distributions, as the ratio of two gamma variables, without a loop.

    Every value has all its proposals at once and keeps the first that is accepted, which is exact but for a chance
    below 0.05 ** tries that none is. `jax.random.beta` loops until all are, one element after the other on a CPU. No
    gradient flows: what a policy learns from is `beta_log_prob`.

        m = g_a / (g_a + g_b),   g_a ~ Gamma(exp(log_alpha)), g_b ~ Gamma(exp(log_beta))

    Args:
      key: `jax.random.key`.
      log_alpha: `[...]`, kept within plus or minus 10.
      log_beta: `[...]`, the same.
      tries: proposals per gamma variable; static.

    Returns:
      `[...]` in [0, 1], float32 (float64 for float64 input).

    Raises:
      ValueError: if the shapes differ or `tries` is below 1.

    Reference: Marsaglia and Tsang, A simple method for generating gamma variables, 2000.

    >>> import jax, jax.numpy as jnp
    >>> masks = sample_mask(jax.random.key(0), jnp.full(1000, jnp.log(2.0)), jnp.zeros(1000))  # mean 2 / 3
    >>> round(masks.mean().item(), 1)
    0.7
    """
    if np.shape(log_alpha) != np.shape(log_beta) or tries < 1:
        raise InputError(
            f"log_alpha {np.shape(log_alpha)} and log_beta {np.shape(log_beta)} must have the same shape, and "
            f"tries be at least 1, got {tries}"
        )
    both = jnp.stack([as_float(log_alpha), as_float(log_beta)])
    shape = jnp.clip(jax.lax.stop_gradient(both), -_LARGEST, _LARGEST)
    log_gamma = _log_gamma(key, jnp.exp(shape), tries)
    return jax.nn.sigmoid(log_gamma[0] - log_gamma[1])


def _log_gamma(key: jax.Array, shape: jax.Array, tries: int) -> jax.Array:
    """Logarithms of gamma variables; a shape below 1 is raised by 1 and its variable scaled down by a power."""
    normal_key, accept_key, power_key = jax.random.split(key, 3)
    d = jnp.where(shape < 1, shape + 1, shape) - 1 / 3
    x = jax.random.normal(normal_key, (tries, *shape.shape), shape.dtype)
    root = 1 + x / jnp.sqrt(9 * d)
    log_v = 3 * jnp.log(jnp.where(root > 0, root, 1.0))
    log_u = -jax.random.exponential(accept_key, x.shape, shape.dtype)
    accepted = (root > 0) & (log_u < 0.5 * x**2 + d - d * jnp.exp(log_v) + d * log_v)
    first = jnp.argmax(accepted, axis=0)[None]
    kept = jnp.take_along_axis(log_v, first, axis=0)[0]
    power = -jax.random.exponential(power_key, shape.shape, shape.dtype) / shape
    return jnp.log(d) + kept + jnp.where(shape < 1, power, 0.0)


def render_mask(mask: jax.Array, *, size: int, kernel: int = 13, sigma: float = 6.0) -> jax.Array:
    """Masks at the size of the images: nearest neighbour from the grid, then a Gaussian blur.

    The image is reflected at its border. Gradients flow into the mask.

    Args:
      mask: `[B, g * g]` values of a square grid, rows first.
      size: pixels on a side.
      kernel: odd width of the blur in pixels, 1 for none; at most 2 * size - 1.
      sigma: its standard deviation in pixels.

    Returns:
      `[B, size, size, 1]`, to multiply with images; float32 (float64 for float64 input).

    Raises:
      ValueError: a mask that is not `[B, g * g]`, a kernel that is even or too wide, a sigma that is not positive.

    Reference: Policy Gradient-Driven Noise Mask, 2024: grid 64, crops of 224, kernel 13, sigma 6.

    >>> import jax.numpy as jnp
    >>> render_mask(jnp.array([[0.0, 1.0, 1.0, 0.0]]), size=4, kernel=1)[0, 0, :, 0].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    mask = as_float(mask)
    grid = round(np.sqrt(mask.shape[-1])) if mask.ndim == 2 else 0
    if mask.ndim != 2 or not grid or grid**2 != mask.shape[1]:
        raise InputError(f"mask must be [B, g * g], got shape {mask.shape}")
    if kernel < 1 or kernel % 2 == 0 or kernel > 2 * size - 1 or not sigma > 0:
        raise InputError(
            f"the kernel must be odd and at most {2 * size - 1}, twice the size less 1, sigma positive, "
            f"got {kernel} and {sigma}"
        )
    # Both steps are linear in the grid and separable: one small matrix per axis holds them.
    spread = jnp.asarray(_blur(size, kernel, sigma) @ _nearest(size, grid), mask.dtype)
    cells = mask.reshape(len(mask), grid, grid)
    return jnp.einsum("yi,bij,xj->byx", spread, cells, spread)[..., None]


def _nearest(size: int, grid: int) -> np.ndarray:
    return np.eye(grid)[np.arange(size) * grid // size]


def _blur(size: int, kernel: int, sigma: float) -> np.ndarray:
    """`[size, size]`: the weights with which an output pixel sees the input pixels along one axis."""
    offsets = np.arange(kernel) - kernel // 2
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    source = np.abs(np.arange(size)[:, None] + offsets)
    source = np.minimum(source, 2 * (size - 1) - source)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], source), weights / weights.sum())
    return matrix


def released_mask_loss(
    log_prob: jax.Array,
    cross_entropy: jax.Array,
    *,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Over a batch: the loss that the authors released, which trains classifier and policy at once.

    It multiplies the batch's mean cross-entropy by the mean over images of the log of the *sum* of the cells'
    densities. That is no log-probability of the mask, for which the logs would be added (see `reinforce_mask_loss`),
    and the cross-entropy is no reward of one image. As a factor it rescales the classifier's gradient, and turns it
    round where it is negative. Gradients flow into both arguments.

        L = mean_b log sum_j exp(log_prob_bj)  *  mean_b cross_entropy_b

    Args:
      log_prob: `[B, G]` log-densities of the mask's cells.
      cross_entropy: `[B]` of the masked images.
      where: `[B]` bool or {0, 1}, the images that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global loss.

    Returns:
      A scalar, float32 (float64 for float64 input), of either sign; 0 if no image counts.

    Raises:
      ValueError: shapes that do not belong together.

    Reference: Policy Gradient-Driven Noise Mask, 2024, the authors' training loop.

    >>> import jax.numpy as jnp
    >>> round(released_mask_loss(jnp.zeros((1, 2)), jnp.array([3.0])).item(), 4)  # 3 log 2
    2.0794
    """
    rows = _mask_rows(log_prob, cross_entropy, "cross_entropy", where)
    factor = masked_logsumexp(jnp.where(rows[:, None], as_float(log_prob), 0.0), axis=-1)
    mean = lambda x: masked_mean(as_float(x), where=rows, axis_name=axis_name)
    return mean(factor) * mean(cross_entropy)


def reinforce_mask_loss(
    log_prob: jax.Array,
    reward: jax.Array,
    *,
    baseline: float | jax.Array = 0.0,
    where: jax.Array | None = None,
) -> jax.Array:
    """The loss per image whose gradient is the policy gradient: the mask's log-probability times its advantage.

    The cells are independent, so their log-densities are added. Gradients stop at the reward and the baseline: the
    classifier has its own loss.

        L_b = -(reward_b - baseline_b) sum_j log_prob_bj

    Args:
      log_prob: `[B, G]` log-densities of the mask's cells.
      reward: `[B]`, e.g. minus the cross-entropy of the masked image.
      baseline: broadcastable to `[B]`; must not depend on the image's own mask.
      where: `[B]` bool or {0, 1}; an image that does not count has loss 0. None means all.

    Returns:
      `[B]`, float32 (float64 for float64 input), of either sign.

    Raises:
      ValueError: shapes that do not belong together.

    Reference: Williams, Simple statistical gradient-following algorithms, 1992, equation 4; what Policy
      Gradient-Driven Noise Mask, 2024, describes and its code does not do.

    >>> import jax.numpy as jnp
    >>> reinforce_mask_loss(jnp.array([[-1.0, -2.0]]), jnp.array([3.0]), baseline=1.0).tolist()
    [6.0]
    """
    rows = _mask_rows(log_prob, reward, "reward", where)
    log_prob, reward = as_float(log_prob), as_float(reward)
    advantage = reward - fitted(as_float(baseline), reward.shape, "baseline", "reward")
    advantage = jax.lax.stop_gradient(jnp.where(rows, advantage, 0.0))
    return -advantage * jnp.sum(jnp.where(rows[:, None], log_prob, 0.0), axis=-1)


def _base_and_head(base: jax.Array, head: jax.Array, decay: float | jax.Array) -> tuple[jax.Array, jax.Array]:
    if np.ndim(head) != 2:
        raise InputError(f"head must be [B, G], got shape {np.shape(head)}")
    check_fraction("decay", decay)
    head = as_float(head)
    return fitted(as_float(base), head.shape, "base", "head"), head


def _mask_rows(log_prob: jax.Array, other: jax.Array, name: str, where: jax.Array | None) -> jax.Array:
    shape, given = np.shape(log_prob), np.shape(other)
    if len(shape) != 2 or given != shape[:1]:
        raise InputError(f"log_prob {shape} must be [B, G] and {name} {given} its [B]")
    return full_mask(where, given, "images")

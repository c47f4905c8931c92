"""Drawing without replacement, each example with a weight of its own, in fixed shapes."""

import jax
import jax.numpy as jnp

from jaxlab.core import MASKED_LOGIT, as_float
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import InputError, full_mask


def gumbel_top_k(
    key: jax.Array, log_probs: jax.Array, k: int, *, where: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """The first k examples of a weighted draw without replacement, in the order in which they are drawn.

    The same law as drawing one after another, each time with the weights of what is left; the first m of the k are a
    draw of m, so a smaller number is a mask on the result. No gradient flows.

        the k largest of log p_i + g_i,   g_i ~ Gumbel(0, 1)

    Args:
      key: `jax.random.key`.
      log_probs: `[..., N]`, up to a constant; what is at `core.MASKED_LOGIT` or -inf is never drawn.
      k: static, in [0, N].
      where: `[..., N]` bool or {0, 1}, what may be drawn; None means all.

    Returns:
      `(index [..., k] int32, valid [..., k] bool)`: where fewer than k may be drawn, the last are not valid.

    Raises:
      ValueError: a k outside of [0, N], a NaN among known weights that count, or a mask that does not broadcast.

    Reference: Kool, van Hoof and Welling, Stochastic Beams and Where to Find Them, 2019, section 2.3 (the
      Gumbel-top-k trick).

    >>> index, valid = gumbel_top_k(jax.random.key(0), jnp.zeros(3), 3, where=jnp.array([1, 0, 1]))
    >>> sorted(index[:2].tolist()), valid.tolist()
    ([0, 2], [True, True, False])
    """
    log_probs = jax.lax.stop_gradient(as_float(log_probs))
    if log_probs.ndim == 0 or not 0 <= k <= log_probs.shape[-1]:
        raise InputError(f"k must be in [0, N] of log_probs [..., N] {log_probs.shape}, got {k}")
    counts = full_mask(where, log_probs.shape, "log_probs")
    check_no_nan("log_probs", log_probs, where=counts)
    counts &= ~(log_probs <= MASKED_LOGIT)  # a NaN stays, to show
    noisy = jnp.where(counts, log_probs, 0.0) + jax.random.gumbel(key, log_probs.shape, log_probs.dtype)
    # Sorted, not top_k: what may not be drawn has to stand behind all numbers, and in no ties with them.
    order = jnp.lexsort((-noisy, ~counts), axis=-1)[..., :k]
    return order.astype(jnp.int32), jnp.take_along_axis(counts, order, axis=-1)

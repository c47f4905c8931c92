"""How far an estimated examination curve is from the true one."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean
from jaxlab.core.check import check_same_shape, full_mask


def relative_examination_error(
    propensity_logits: jax.Array, examination: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """How far an estimated examination curve is from the true one, both relative to the first position.

    Examination is known from clicks up to scale only. The logarithm makes twice too much and half too little the same
    error, and a position that is seldom seen as important as the first.

        mean over i > 1 of |(g_i - g_1) - (log E_i - log E_1)|

    Args:
      propensity_logits: `[..., L]`; the logarithms of a curve serve as well.
      examination: `[..., L]`, above 0.
      where: bool or {0, 1}, broadcastable to `[..., L]`, the positions that exist; the first must. None means all.

    Returns:
      `[...]` float32 (float64 for float64 logits), in nats; 0 for a list of one.

    Raises:
      ValueError: if shapes do not agree.

    Reference: the log-ratio form of the relative error of propensities in Ai et al., Unbiased Learning to Rank with
      Unbiased Propensity Estimation, SIGIR 2018.

    >>> truth = jnp.array([0.8, 0.4, 0.2])
    >>> round(relative_examination_error(jnp.zeros(3), truth).item(), 4)  # (log 2 + log 4) / 2
    1.0397
    """
    check_same_shape("[..., L]", propensity_logits=propensity_logits, examination=examination)
    valid = full_mask(where, np.shape(examination), "examination")[..., 1:]
    guess, truth = as_float(propensity_logits), as_float(examination)
    truth = jnp.log(jnp.maximum(truth, jnp.finfo(truth.dtype).tiny))
    gap = (guess[..., 1:] - guess[..., :1]) - (truth[..., 1:] - truth[..., :1])
    return jax.lax.stop_gradient(masked_mean(jnp.abs(gap), where=valid, axis=-1))

"""Down-sampling on two levels: learn from the rollouts whose advantages vary most, and there from the telling tokens.

    from jaxlab.post_training import d3s

Selections are masks of static shape. Advantages are taken before the selection, from whole groups.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import InputError, check_fraction, check_least, full_mask
from jaxlab.post_training._contracts import check_rows, check_tokens, per_token, zero_outside


def max_variance_mask(
    advantage: jax.Array, count: int | jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """The `count` rollouts whose advantages have the largest variance. No gradient flows.

    They are always some of the largest and some of the smallest, so sorting and sums over prefixes find them; of
    equal advantages the first in the batch go for the largest and the last for the smallest.

        argmax_{S: |S| = count} Var({A_i: i in S})

    Args:
      advantage: `[..., B]`: over a whole batch `[B]`, within each group `[P, G]`.
      count: N, at least 1, may be traced; more than there are keeps all.
      where: `[..., B]` bool or {0, 1}, the rows that count; None means all.

    Returns:
      `[..., B]` bool with `count` true entries.

    Raises:
      ValueError: a scalar, a count below 1, a mask that does not broadcast, or an advantage that counts and is NaN.

    Reference: D3S, 2025, equation 4; the lemma is that of PODS: Not All Rollouts are Useful, 2025, section 3.2.

    >>> max_variance_mask(jnp.array([0.1, 2.0, -1.0, 0.0]), 2).tolist()
    [False, True, True, False]
    """
    check_least("count", count, 1)
    advantage = as_float(jax.lax.stop_gradient(advantage))
    if advantage.ndim == 0:
        raise InputError("advantage must be [..., B], one for each rollout, got a scalar")
    keep = full_mask(where, advantage.shape, "advantage")
    check_no_nan("advantage", advantage, where=keep)
    flat = lambda x: x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    chosen = jax.vmap(lambda a, k: _max_variance(a, k, count))(flat(advantage), flat(keep))
    return chosen.reshape(advantage.shape)


def _max_variance(advantage: jax.Array, keep: jax.Array, count: int | jax.Array) -> jax.Array:
    size = advantage.shape[0]
    valid = jnp.sum(keep)
    count = jnp.minimum(jnp.asarray(count, jnp.int32), valid)
    centred = jnp.where(keep, advantage - jnp.sum(jnp.where(keep, advantage, 0)) / jnp.maximum(valid, 1), 0)
    order = jnp.argsort(jnp.where(keep, -centred, jnp.inf), stable=True)
    ordered = centred[order]
    sums = jnp.concatenate(
        [jnp.zeros((2, 1), ordered.dtype), jnp.cumsum(jnp.stack([ordered, ordered**2]), 1)], 1
    )
    largest = jnp.arange(size + 1)  # how many of the largest
    smallest = jnp.clip(valid - (count - largest), 0, size)  # where the smallest begin
    first, second = (s[largest] + s[valid] - s[smallest] for s in sums)
    variance = second / jnp.maximum(count, 1) - (first / jnp.maximum(count, 1)) ** 2
    best = jnp.argmax(jnp.where(largest <= count, variance, -jnp.inf))
    rank = jnp.argsort(order)
    return keep & ((rank < best) | (rank >= valid - (count - best)))


def top_fraction_mask(scores: jax.Array, mask: jax.Array, *, fraction: float | jax.Array) -> jax.Array:
    """The tokens of the whole batch with the highest scores, exactly so many. No gradient flows.

        round(fraction sum(m)), at least 1, of the tokens with m = 1

    Args:
      scores: `[..., T]`.
      mask: `[..., T]` bool or {0, 1}, the tokens that count.
      fraction: in [0, 1], may be traced.

    Returns:
      `[..., T]` bool; of equal scores the first are taken.

    Raises:
      ValueError: if the shapes differ, `fraction` is not in [0, 1], or a score that counts is NaN.

    Reference: D3S, 2025, section 3.2 (token level).

    >>> top_fraction_mask(jnp.array([[0.5, 0.5, 9.0]]), jnp.array([[1, 1, 0]]), fraction=0.5).tolist()
    [[True, False, False]]
    """
    check_tokens(scores=scores, mask=mask)
    check_fraction("fraction", fraction)
    keep = full_mask(mask, np.shape(scores), "scores", name="mask")
    check_no_nan("scores", scores, where=keep)
    flat = jnp.where(keep, as_float(jax.lax.stop_gradient(scores)), -jnp.inf).ravel()
    rank = jnp.argsort(jnp.argsort(-flat, stable=True))
    count = jnp.maximum(jnp.round(fraction * jnp.sum(keep)), 1)
    return keep & (rank < count).reshape(keep.shape)


def d3s_mask(
    advantage: jax.Array,
    entropy: jax.Array,
    mask: jax.Array,
    *,
    num_rollouts: int | jax.Array,
    token_fraction: float | jax.Array,
    rows: jax.Array | None = None,
) -> jax.Array:
    """The tokens that D3S learns from: of the most varied rollouts those where advantage and doubt are large.

        S = argmax Var(A_S), |S| = num_rollouts;   the top share of |A_i| H_{i,t} over all tokens of S

    Args:
      advantage: `[B]`, one number per response, from whole groups.
      entropy: `[B, T]` of the policy at each token.
      mask: `[B, T]` bool or {0, 1}, the response's own tokens.
      num_rollouts: N of `max_variance_mask`.
      token_fraction: of `top_fraction_mask`; 1 keeps all tokens of S.
      rows: `[B]` bool or {0, 1}, the responses that may be chosen; None means all.

    Returns:
      `[B, T]` bool, for `aggregate` with its mean over the tokens that are kept.

    Raises:
      ValueError: shapes that disagree, or as the two selections.

    Reference: D3S: A Dynamic Dual-Level Down-Sampling Framework, 2025, equations 4 and 7.

    >>> advantage, entropy = jnp.array([1.0, 0.0, -1.0]), jnp.array([[0.1, 0.9], [0.5, 0.5], [0.2, 0.3]])
    >>> d3s_mask(advantage, entropy, jnp.ones((3, 2)), num_rollouts=2, token_fraction=0.5).tolist()
    [[False, True], [False, False], [False, True]]
    """
    check_rows(advantage=advantage)
    check_tokens(entropy=entropy, mask=mask)
    keep = full_mask(mask, np.shape(entropy), "entropy", name="mask")
    kept = keep & max_variance_mask(advantage, num_rollouts, where=rows)[:, None]
    scores = jnp.abs(per_token(advantage, kept, "advantage")) * zero_outside(kept, entropy)
    return top_fraction_mask(scores, kept, fraction=token_fraction)


def relaxed(progress: float | jax.Array, start: float, end: float) -> jax.Array:
    """The schedule of both selections: from hard at the beginning to all at the end, in a straight line.

        (1 - p) start + p end

    Args:
      progress: p, share of the training that is done; clipped to [0, 1].
      start, end: the number of rollouts, or the fraction of tokens, at either end.

    Returns:
      float32 of the shape of `progress`; round a number of rollouts.

    Reference: D3S, 2025, section 3.3.

    >>> relaxed(0.5, 8, 32).item()
    20.0
    """
    progress = jnp.clip(as_float(progress), 0.0, 1.0)
    return (1 - progress) * start + progress * end

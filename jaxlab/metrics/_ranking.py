"""Metrics of rankings and of estimated examination. They have no gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core.check import InputError, check_same_shape, full_mask


def ndcg_at_k(
    scores: jax.Array, labels: jax.Array, *, k: int | None = None, where: jax.Array | None = None
) -> jax.Array:
    """Normalized discounted cumulative gain of the first k documents, per list.

        nDCG = DCG(s) / DCG(y),    DCG(s) = sum over ranks r <= k of (2^y - 1) / log2(r + 1), documents by falling s

    Args:
      scores: `[..., L]`; equal ones keep the order of their indices.
      labels: `[..., L]` grades, at least 0, of any size.
      k: how many documents are looked at, at least 1; None for all.
      where: bool or {0, 1}, broadcastable to `[..., L]`, the documents that exist; None means all.

    Returns:
      `[...]` in [0, 1], float32 (float64 for float64 scores); 0 where no document has a gain. A NaN score or grade
      that counts makes its list NaN.

    Raises:
      ValueError: if shapes do not agree or `k` is below 1.

    Reference: Jarvelin and Kekalainen, Cumulated Gain-Based Evaluation of IR Techniques, TOIS 2002, with the gain of
      Burges et al., Learning to Rank Using Gradient Descent, ICML 2005; as `ndcg_metric` of rax without reduction.

    >>> round(ndcg_at_k(jnp.array([2.0, 1.0]), jnp.array([0.0, 1.0])).item(), 4)  # 1 / log2(3)
    0.6309
    """
    valid, scores, labels = _prepared(scores, labels, k, where)
    # The ratio does not change with the best grade taken out, and nothing overflows.
    highest = jnp.max(jnp.where(valid, labels, 0.0), axis=-1, keepdims=True, initial=0.0)
    gain = jnp.where(valid, jnp.exp2(labels - highest) - jnp.exp2(-highest), 0.0)
    best = _cumulated(gain, _ranks(labels, valid), k)
    found = _cumulated(gain, _ranks(scores, valid), k) / jnp.where(best == 0, 1.0, best)
    return _with_nans(found, scores + labels)


def mrr(
    scores: jax.Array, labels: jax.Array, *, k: int | None = None, where: jax.Array | None = None
) -> jax.Array:
    """Reciprocal rank of the first relevant document, per list; its mean is the MRR.

        1 / min {rank of i : y_i >= 1},    ranks by falling score

    Args:
      scores: `[..., L]`; equal ones keep the order of their indices.
      labels: `[..., L]`, relevant from 1 on.
      k: how many documents are looked at, at least 1; None for all.
      where: bool or {0, 1}, broadcastable to `[..., L]`, the documents that exist; None means all.

    Returns:
      `[...]` in [0, 1], float32 (float64 for float64 scores); 0 without a relevant document among the first k. A NaN
      score or grade that counts makes its list NaN.

    Raises:
      ValueError: if shapes do not agree or `k` is below 1.

    Reference: Voorhees, The TREC-8 Question Answering Track Report, 1999; as `mrr_metric` of rax without reduction.

    >>> mrr(jnp.array([3.0, 2.0, 1.0]), jnp.array([0, 1, 1])).item()
    0.5
    """
    valid, scores, labels = _prepared(scores, labels, k, where)
    rank = _ranks(scores, valid)
    hit = valid & (labels >= 1) & (rank <= (k or rank.shape[-1]))
    return _with_nans(jnp.max(jnp.where(hit, 1 / rank, 0.0), axis=-1, initial=0.0), scores + labels)


def _prepared(
    scores: jax.Array, labels: jax.Array, k: int | None, where: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    check_same_shape("[..., L]", scores=scores, labels=labels)
    if k is not None and k < 1:
        raise InputError(f"k is {k}: it must be at least 1, or None for all")
    valid = full_mask(where, np.shape(scores), "scores")
    floats = (jnp.where(valid, jax.lax.stop_gradient(as_float(x)), 0.0) for x in (scores, labels))
    return valid, *floats


def _ranks(scores: jax.Array, valid: jax.Array) -> jax.Array:
    """1 for the best; documents that do not exist come after all others."""
    index = jnp.arange(scores.shape[-1])
    mine, other = scores[..., :, None], scores[..., None, :]
    ahead = (other > mine) | ((other == mine) & (index[None, :] < index[:, None]))
    ahead = (ahead & valid[..., None, :]) | (valid[..., None, :] & ~valid[..., :, None])
    return 1 + ahead.sum(-1).astype(scores.dtype)


def _cumulated(gain: jax.Array, rank: jax.Array, k: int | None) -> jax.Array:
    seen = rank <= (k or rank.shape[-1])
    return jnp.sum(jnp.where(seen, gain / jnp.log2(rank + 1), 0.0), axis=-1)


def _with_nans(values: jax.Array, scores: jax.Array) -> jax.Array:
    return jnp.where(jnp.any(jnp.isnan(scores), axis=-1), jnp.nan, values)

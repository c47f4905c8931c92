"""A tutor in the loop: feedback appended to some rollouts, learned from by the sign of their advantage.

    from jaxlab.post_training import thinktuning

`select_for_feedback` says which rollouts the tutor reads, `post_training.append` puts the feedback behind them, and
`thinktuning_loss` learns from both. No code is public: which rollouts are read and the weight by advantage are
inferred.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core.check import as_bool, check_fraction, check_positive, full_mask
from jaxlab.post_training._contracts import check_rows, check_tokens, per_token, zero_outside
from jaxlab.post_training._groups import find_groups, group_sum
from jaxlab.post_training._importance import token_importance_ratio
from jaxlab.post_training._surrogates import ppo_clip_loss


def select_for_feedback(
    key: jax.Array,
    correct: jax.Array,
    group: jax.Array,
    *,
    fraction: float | jax.Array = 0.25,
    prefer_wrong: bool = True,
) -> jax.Array:
    """A fraction of each group, drawn at random, wrong answers first. No gradient flows.

        round(fraction |group|) of each group

    Args:
      key: random key.
      correct: `[B]` bool or {0, 1}.
      group: `[B]` integers, one number per prompt, any.
      fraction: in [0, 1].
      prefer_wrong: whether a right answer is read only where there are not enough wrong ones.

    Returns:
      `[B]` bool.

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or the fraction is out of range.

    Reference: ThinkTuning: Instilling Cognitive Reflections without Distillation, 2025, section 3; that wrong answers
      come first is inferred.

    >>> correct, group = jnp.array([1, 0, 1, 1]), jnp.zeros(4, int)
    >>> select_for_feedback(jax.random.key(0), correct, group).tolist()
    [False, True, False, False]
    """
    check_fraction("fraction", fraction)
    check_rows(correct=correct, group=group)
    right, groups = find_groups(as_bool("correct", correct), group, None, None)
    size = group_sum(jnp.ones_like(groups.ids), groups)
    order = jax.random.uniform(key, right.shape) + (right if prefer_wrong else 0.0)
    alike = groups.ids[:, None] == groups.ids
    rank = jnp.sum(alike & (order[None, :] < order[:, None]), axis=1)
    return rank < jnp.round(fraction * size)


def advantage_aware_weight(
    log_probs: jax.Array,
    advantage: jax.Array,
    *,
    offset: float | jax.Array = 0.1,
    where: jax.Array | None = None,
) -> jax.Array:
    """A weight in the place of an importance ratio, for tokens that a tutor wrote: by the sign of the advantage.

    Good guidance lifts tokens that the policy finds unlikely, bad guidance hardly pushes them down.

        A > 0: p / (p + offset);   else: p,   p = exp(log_probs)

    Args:
      log_probs: `[..., T]` under the policy that learns; gradients flow.
      advantage: `[...]` or `[..., T]`; its sign matters.
      offset: positive.
      where: bool or {0, 1}, broadcastable to `[..., T]`; None means all.

    Returns:
      `[..., T]` float32 in [0, 1], 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree or the offset is not positive.

    Reference: ThinkTuning, 2025 (advantage-aware shaping); the formula is inferred, its first branch is LUFFY's.

    >>> weight = advantage_aware_weight(jnp.log(jnp.array([[0.1], [0.1]])), jnp.array([1.0, -1.0]))
    >>> jax.tree.map(lambda x: round(x, 3), weight.tolist())
    [[0.5], [0.1]]
    """
    check_positive("offset", offset)
    check_tokens(log_probs=log_probs)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    p = jnp.exp(zero_outside(keep, log_probs))
    advantage = per_token(advantage, keep, "advantage")
    weight = jnp.where(advantage > 0, p / (p + offset), p)
    return jnp.where(keep, jnp.where(jnp.isnan(advantage), advantage, weight), 0.0)


def thinktuning_loss(
    log_probs: jax.Array,
    old_log_probs: jax.Array,
    advantage: jax.Array,
    guided: jax.Array,
    *,
    where: jax.Array | None = None,
    offset: float | jax.Array = 0.1,
    clip_low: float | jax.Array = 0.2,
    clip_high: float | jax.Array = 0.2,
) -> jax.Array:
    """Clipped surrogate on the student's tokens, advantage-aware shaping on the tutor's, per token.

    Gradients flow through `log_probs` only.

        own: ppo_clip_loss(rho, A);   guided: -A advantage_aware_weight(p, A)

    Args:
      log_probs: `[..., T]` log-probabilities of the tokens under the policy that learns.
      old_log_probs: `[..., T]` the same under the policy that sampled; unread where `guided`.
      advantage: `[...]` or `[..., T]`.
      guided: `[..., T]` bool or {0, 1}, tokens that the tutor wrote, as `append` returns them.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the tokens that are trained; None means all.
      offset: of `advantage_aware_weight`.
      clip_low, clip_high: see `ppo_clip_loss`.

    Returns:
      `[..., T]` float32, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree or a bound is out of range.

    Reference: ThinkTuning: Instilling Cognitive Reflections without Distillation, 2025, section 3.

    >>> log_probs = jnp.log(jnp.array([[0.5, 0.1]]))
    >>> value = thinktuning_loss(log_probs, log_probs, jnp.array([-1.0]), jnp.array([[0, 1]]))
    >>> jax.tree.map(lambda x: round(x, 3), value.tolist())
    [[1.0, 0.1]]
    """
    check_tokens(log_probs=log_probs, old_log_probs=old_log_probs, guided=guided)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    theirs = keep & as_bool("guided", guided)
    ratio = token_importance_ratio(log_probs, old_log_probs, where=keep & ~theirs)
    own = ppo_clip_loss(ratio, advantage, where=keep, clip_low=clip_low, clip_high=clip_high)
    weight = advantage_aware_weight(log_probs, advantage, offset=offset, where=theirs)
    return jnp.where(theirs, -per_token(advantage, keep, "advantage") * weight, own)

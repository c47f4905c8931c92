"""Adaptive guidance from several teachers: answers of others stand in for a group that has failed altogether.

    from jaxlab.post_training import ampo

`needs_guidance` is the trigger, `comprehension_score` ranks the teachers' answers, `choose_guides` takes the best,
`post_training.inject` puts them over failures, and `ampo_loss` learns from both kinds of tokens.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, masked_sum
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import (
    InputError,
    as_bool,
    check_choice,
    check_fits,
    check_fraction,
    check_positive,
    check_same_shape,
    full_mask,
)
from jaxlab.post_training._contracts import check_rows, check_tokens, per_token, zero_outside
from jaxlab.post_training._groups import AxisName, deviation, find_groups, group_max, group_std, group_sum
from jaxlab.post_training._importance import token_importance_ratio
from jaxlab.post_training._surrogates import ppo_clip_loss

MEANS = ("mean-probability", "geometric-mean", "mean-log", "product")
"""How `comprehension_score` may make one number of an answer's tokens."""


def needs_guidance(
    rewards: jax.Array,
    group: jax.Array,
    *,
    threshold: float | jax.Array = 0.5,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Which responses stand in a group where nobody succeeded: guidance on demand. No gradient flows.

        max_group R <= threshold

    Args:
      rewards: `[B]`, one number per response.
      group: `[B]` integers, one number per prompt, any.
      threshold: a reward above it is a success. With a format reward c, as in the paper, c + 0.5.
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` bool, the same for all rows of a group; false in rows left out.

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or a known reward that counts is NaN.

    Reference: AMPO: More Than One Teacher, 2025, section 3.2, the trigger of the authors' code.

    >>> needs_guidance(jnp.array([0.1, 0.0, 1.0, 0.0]), jnp.array([0, 0, 1, 1])).tolist()
    [True, True, False, False]
    """
    rewards, groups = find_groups(rewards, group, where, axis_name)
    check_no_nan("rewards", rewards)
    return groups.valid & (group_max(rewards, groups) <= threshold)


def comprehension_score(
    log_probs: jax.Array, *, where: jax.Array | None = None, kind: str = "mean-probability"
) -> jax.Array:
    """How well the student follows a teacher's reasoning: how likely it then finds the right answer.

    `log_probs` are those of the right answer's tokens, put behind the teacher's thoughts. No gradient flows.

        mean-probability: mean exp(l);   geometric-mean: exp(mean l);   mean-log: mean l;   product: exp(sum l)

    Args:
      log_probs: `[..., T]` under the student.
      where: `[..., T]` bool or {0, 1}, the tokens of the right answer; None means all.
      kind: one of `MEANS`; the paper's is the first.

    Returns:
      `[...]` float32; 0 for an answer without tokens.

    Raises:
      ValueError: a kind that does not exist or a mask that does not broadcast.

    Reference: AMPO: More Than One Teacher, 2025, section 3.3; the authors' code rounds to bfloat16.

    >>> comprehension_score(jnp.log(jnp.array([[0.5, 0.25, 0.9]])), where=jnp.array([[1, 1, 0]])).tolist()
    [0.375]
    """
    check_choice("kind", kind, MEANS)
    check_tokens(log_probs=log_probs)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    log_probs = jax.lax.stop_gradient(zero_outside(keep, log_probs))
    if kind == "mean-probability":
        return masked_mean(jnp.exp(log_probs), where=keep, axis=-1)
    total = masked_sum if kind == "product" else masked_mean
    score = total(log_probs, where=keep, axis=-1)
    return score if kind == "mean-log" else jnp.where(jnp.any(keep, axis=-1), jnp.exp(score), 0.0)


def choose_guides(scores: jax.Array, available: jax.Array, *, count: int) -> tuple[jax.Array, jax.Array]:
    """The answers of teachers that a prompt gets: those with the highest scores, the first of equals.

    Args:
      scores: `[P, M]`, one for each teacher's answer.
      available: `[P, M]` bool or {0, 1}: is there such an answer?
      count: static, from 1 to M.

    Returns:
      `(index [P, count] int32, chosen [P, count] bool)`, the best first; false where fewer are available.

    Raises:
      ValueError: shapes that differ, a count outside [1, M], or a known score of an available answer that is NaN.

    Reference: AMPO: More Than One Teacher, 2025, section 3.3.

    >>> index, chosen = choose_guides(jnp.array([[0.2, 0.9, 0.5]]), jnp.array([[1, 1, 0]]), count=2)
    >>> index.tolist(), chosen.tolist()
    ([[1, 0]], [[True, True]])
    """
    check_same_shape("[P, M]", scores=scores, available=available)
    if not 1 <= count <= np.shape(scores)[1]:
        raise InputError(f"count must be in [1, {np.shape(scores)[1]}], the number of answers, got {count}")
    keep = as_bool("available", available)
    check_no_nan("scores", scores, where=keep)
    ranked = jnp.where(keep, as_float(scores), -jnp.inf)
    index = jnp.argsort(~keep, axis=1, stable=True)  # what is not there comes last, whatever its score
    order = jnp.argsort(-jnp.take_along_axis(ranked, index, axis=1), axis=1, stable=True)
    index = jnp.take_along_axis(index, order, axis=1)[:, :count].astype(jnp.int32)
    return index, jnp.take_along_axis(keep, index, axis=1)


def formatted_reward(
    score: jax.Array, well_formed: jax.Array, *, coefficient: float | jax.Array = 0.1
) -> jax.Array:
    """What an answer is worth for its content and its form: for students, correctness; for guides, comprehension.

        (1 - coefficient) score + coefficient well_formed

    Args:
      score: any shape, in [0, 1].
      well_formed: bool or {0, 1}, broadcastable to the score.
      coefficient: c, in [0, 1]. A reward is a success above c + 0.5.

    Returns:
      The shape of `score`, float32.

    Raises:
      ValueError: shapes that do not fit, or a coefficient out of range.

    Reference: AMPO: More Than One Teacher, 2025, the rewards of the authors' code.

    >>> formatted_reward(jnp.array([1.0, 0.0]), jnp.array([0, 1]), coefficient=0.25).tolist()
    [0.75, 0.25]
    """
    check_fraction("coefficient", coefficient)
    score = as_float(score)
    check_fits(well_formed, score.shape, "well_formed", "score")
    return (1 - coefficient) * score + coefficient * as_bool("well_formed", well_formed)


def split_advantage(
    rewards: jax.Array,
    group: jax.Array,
    injected: jax.Array,
    *,
    scale: str | None = None,
    eps: float = 1e-6,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Advantage of all rows over the student's own: what others wrote does not enter mean and deviation.

    No gradient flows. As the authors' code has it, one own row alone has mean 0 and deviation 1, and a deviation of 0
    counts as 1.

        A_i = (R_i - mean_own) / (std_own + eps), std with ddof 1, or without the division

    Args:
      rewards: `[B]`, one number per response.
      group: `[B]` integers, one number per prompt, any.
      injected: `[B]` bool or {0, 1}, the rows that others wrote, as from `post_training.inject`.
      scale: "group" to divide by the deviation, None, the paper's, not to.
      eps: added to the deviation.
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` float32; 0 in rows left out and in a group without an own row.

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or the scale does not exist.

    Reference: AMPO, 2025, `grpo_split` of the authors' code; first in LUFFY, 2025.

    >>> split_advantage(jnp.array([0.0, 1.0, 3.0]), jnp.array([0, 0, 0]), jnp.array([0, 0, 1])).tolist()
    [-0.5, 0.5, 2.5]
    """
    check_choice("scale", scale, ("group", None))
    check_rows(rewards=rewards, injected=injected)
    rewards, groups = find_groups(rewards, group, where, axis_name)
    own = groups._replace(valid=groups.valid & ~as_bool("injected", injected))
    centred, _ = deviation(rewards, own)
    size = group_sum(jnp.ones_like(own.ids), own)
    mean = group_sum(jnp.where(size > 1, rewards - centred, 0.0), own) / jnp.maximum(size, 1)
    advantage = jnp.where(own.valid & (size > 1), centred, rewards - mean)
    if scale == "group":
        std = group_std(centred, size, own, 1)
        advantage /= jnp.where(std > 0, std, 1.0) + eps
    return jnp.where(groups.valid & (size > 0), advantage, 0.0)


def shaped_probability(
    log_probs: jax.Array,
    *,
    offset: float | jax.Array | None = 0.1,
    power: float | jax.Array = 1.0,
    where: jax.Array | None = None,
) -> jax.Array:
    """A bounded weight in the place of an importance ratio, for tokens of which no behaviour policy is known.

    Its gradient is largest for a token of probability `offset` and small for those that are likely already.

        f(p) = q / (q + offset),   q = exp(power log_probs)

    Args:
      log_probs: `[..., T]` under the policy that learns; gradients flow.
      offset: positive; None leaves q as it is.
      power: positive; below 1 it lifts rare tokens, as 0.5 does in an ablation of the authors.
      where: `[..., T]` bool or {0, 1}; None means all.

    Returns:
      `[..., T]` float32 in [0, 1 / (1 + offset)], 0 outside the mask.

    Raises:
      ValueError: an offset or a power that is not positive, or a mask that does not broadcast.

    Reference: Yan et al., Learning to Reason under Off-Policy Guidance (LUFFY), 2025, equation 7; AMPO, 2025.

    >>> round(shaped_probability(jnp.log(jnp.array([0.1]))).item(), 4)
    0.5
    """
    check_positive("offset", offset)
    check_positive("power", power)
    check_tokens(log_probs=log_probs)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    q = jnp.exp(power * zero_outside(keep, log_probs))
    return jnp.where(keep, q if offset is None else q / (q + offset), 0.0)


def ampo_loss(
    log_probs: jax.Array,
    old_log_probs: jax.Array,
    advantage: jax.Array,
    guided: jax.Array,
    *,
    where: jax.Array | None = None,
    offset: float | jax.Array | None = 0.1,
    power: float | jax.Array = 1.0,
    clip_low: float | jax.Array = 0.2,
    clip_high: float | jax.Array = 0.2,
    dual_clip: float | jax.Array | None = 10.0,
) -> jax.Array:
    """Clipped surrogate on the student's own tokens, a shaped probability on the teachers', per token.

    Gradients flow through `log_probs` only.

        own: ppo_clip_loss(rho, A);   guided: -A f(p), f = shaped_probability

    Args:
      log_probs: `[..., T]` log-probabilities of the tokens under the policy that learns.
      old_log_probs: `[..., T]` the same under the policy that sampled; unread where `guided`.
      advantage: `[...]` or `[..., T]`.
      guided: `[..., T]` bool or {0, 1}, tokens that a teacher wrote.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.
      offset, power: of `shaped_probability`.
      clip_low, clip_high, dual_clip: see `ppo_clip_loss`.

    Returns:
      `[..., T]` float32, 0 outside the mask. The authors aggregate with "constant" and `normalizer=T`.

    Raises:
      ValueError: if shapes do not agree or a bound is out of range.

    Reference: AMPO: More Than One Teacher, 2025, equation 8; the constants of the authors' code.

    >>> log_probs = jnp.log(jnp.array([[0.5, 0.1]]))
    >>> ampo_loss(log_probs, log_probs, jnp.array([1.0]), jnp.array([[0, 1]])).round(4).tolist()
    [[-1.0, -0.5]]
    """
    check_tokens(log_probs=log_probs, old_log_probs=old_log_probs, guided=guided)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    guided = as_bool("guided", guided)
    ratio = token_importance_ratio(log_probs, old_log_probs, where=keep & ~guided)
    own = ppo_clip_loss(
        ratio, advantage, where=keep, clip_low=clip_low, clip_high=clip_high, dual_clip=dual_clip
    )
    theirs = keep & guided
    weight = shaped_probability(log_probs, offset=offset, power=power, where=theirs)
    return jnp.where(theirs, -per_token(advantage, keep, "advantage") * weight, own)

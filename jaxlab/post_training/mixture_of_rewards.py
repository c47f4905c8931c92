"""One training on rewards of many kinds: a common scale, a loss that clones and repels, and a brake on lost entropy.

    from jaxlab.post_training import mixture_of_rewards

Losses are per token, to be reduced by `aggregate`, unless they say otherwise.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlab.core import as_float, masked_mean
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import (
    InputError,
    as_bool,
    as_integers,
    check_fraction,
    check_least,
    check_positive,
    check_probabilities,
    check_together,
    full_mask,
)
from jaxlab.post_training._contracts import check_rows, check_tokens, per_token, zero_outside
from jaxlab.post_training._groups import AxisName, deviation, find_groups, group_std
from jaxlab.post_training._importance import token_importance_ratio


def calibrate_rewards(
    rewards: jax.Array,
    group: jax.Array,
    learned: jax.Array,
    *,
    eps: float = 1e-6,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Rewards of verifiers and of learned judges on one scale, [-1, 1], where 0 parts good from bad.

        verified, R in [0, 1]: 2 R - 1;   learned, any scale: tanh((R - mean_group) / (std_group + eps))

    Args:
      rewards: `[B]`, one number per response; those of verifiers in [0, 1].
      group: `[B]` integers, one number per prompt, any.
      learned: `[B]` bool or {0, 1}, alike within a group: is the reward a learned score?
      eps: added to the standard deviation (of the population).
      where: bool or {0, 1}, broadcastable to `[B]`, the rows that count; None means all.
      axis_name: mapped axis to gather groups over; a number is then one prompt on all devices.

    Returns:
      `[B]` float32; 0 in rows left out. No gradient flows.

    Raises:
      ValueError: if shapes do not agree, groups are not integers, or `learned` is no mask.

    Reference: the common scale of Intern-S1, 2025, section 5.2, whose report gives no formula: this one is inferred.

    >>> rewards, learned = jnp.array([1.0, 0.0, 30.0, 10.0]), jnp.array([0, 0, 1, 1])
    >>> jax.tree.map(lambda x: round(x, 3), calibrate_rewards(rewards, jnp.array([0, 0, 1, 1]), learned).tolist())
    [1.0, -1.0, 0.762, -0.762]
    """
    check_rows(rewards=rewards, group=group, learned=learned)
    rewards, groups = find_groups(rewards, group, where, axis_name)
    centred, size = deviation(rewards, groups)
    standard = jnp.tanh(centred / (group_std(centred, size, groups, 0) + eps))
    return jnp.where(groups.valid, jnp.where(as_bool("learned", learned), standard, 2 * rewards - 1), 0.0)


def route_rewards(scores: jax.Array, source: jax.Array) -> jax.Array:
    """For each response the score of the judge that its task has.

    Args:
      scores: `[B, S]`, of every judge.
      source: `[B]` integers in [0, S), which of them counts.

    Returns:
      `[B]` float32; what the other judges say, even NaN, leaves no trace.

    Raises:
      ValueError: shapes that do not belong together, or sources that are not integers in range.

    Reference: Intern-S1, 2025, section 5.2.2 (mixture of rewards).

    >>> route_rewards(jnp.array([[1.0, 7.0], [0.0, 5.0]]), jnp.array([0, 1])).tolist()
    [1.0, 5.0]
    """
    scores = as_float(jax.lax.stop_gradient(scores))
    if scores.ndim != 2 or np.shape(source) != scores.shape[:1]:
        raise InputError(f"scores {scores.shape} and source {np.shape(source)} must be [B, S] and [B]")
    source = as_integers("source", source, "judges in [0, S)", scores.shape[1])
    return jnp.take_along_axis(scores, source[:, None], axis=1)[:, 0]


def oreal_loss(
    log_probs: jax.Array,
    rewards: jax.Array,
    advantage: jax.Array,
    *,
    where: jax.Array | None = None,
    positive_weight: float | jax.Array = 1.0,
    negative_weight: float | jax.Array = 0.5,
    weigh_positives: bool = True,
) -> jax.Array:
    """Clone the right answers, push the wrong ones away, each kind normalised by its own number of tokens.

    There is no ratio and no clipping: nothing depends on how well two engines agree about probabilities. Gradients
    flow through `log_probs` only, and a wrong answer's value is that of its advantage, not of its probability.

        right (R > 0): -positive_weight / N_right a_i log p,   a_i = A_i or 1
        wrong:         -negative_weight / N_wrong A_i exp(log p - sg(log p))

    Args:
      log_probs: `[B, T]` log-probabilities of the sampled tokens under the policy that learns.
      rewards: `[B]`, above 0 for a right answer.
      advantage: `[B]`, such as `rloo_advantage`.
      where: bool or {0, 1}, broadcastable to `[B, T]`, the response's own tokens; None means all.
      positive_weight, negative_weight: at least 0.
      weigh_positives: False clones every right answer alike, also where a whole group is right.

    Returns:
      `[B, T]` float32, 0 outside the mask. The loss is its sum: the normalisers are in it.

    Raises:
      ValueError: if shapes do not agree or a weight is negative.

    Reference: Lyu et al., OREAL: Exploring the Limit of Outcome Reward for Learning Mathematical Reasoning, 2025,
      equation 6, and the authors' code without a reward per token.

    >>> log_probs, rewards = jnp.array([[-1.0, -3.0], [-1.0, -1.0]]), jnp.array([1.0, -1.0])
    >>> oreal_loss(log_probs, rewards, rewards).tolist()
    [[0.5, 1.5], [0.25, 0.25]]
    """
    check_tokens(log_probs=log_probs)
    check_rows(rewards=rewards, advantage=advantage)
    check_least("positive_weight", positive_weight, 0)
    check_least("negative_weight", negative_weight, 0)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    log_probs, advantage = zero_outside(keep, log_probs), per_token(advantage, keep, "advantage")
    rewards = per_token(rewards, keep, "rewards")
    right, unknown = keep & (rewards > 0), jnp.isnan(rewards)
    wrong = keep & ~right
    share = lambda weight, kind: weight / jnp.maximum(jnp.sum(kind), 1)
    cloned = -(advantage if weigh_positives else 1.0) * log_probs
    repelled = -advantage * jnp.exp(log_probs - jax.lax.stop_gradient(log_probs))
    loss = jnp.where(right, share(positive_weight, right) * cloned, 0.0) + jnp.where(
        wrong, share(negative_weight, wrong) * repelled, 0.0
    )
    return jnp.where(unknown, jnp.nan, loss)


def kl_cov_loss(
    log_probs: jax.Array,
    old_log_probs: jax.Array,
    advantage: jax.Array,
    *,
    fraction: float | jax.Array = 0.002,
    beta: float | jax.Array = 1.0,
    where: jax.Array | None = None,
) -> jax.Array:
    """Policy gradient with a penalty on the few tokens by which entropy is lost, per token.

    Those are the tokens where advantage and log-probability grow together, over the whole batch. At the first update
    of a batch the penalty has no gradient: it acts from the second on.

        -A rho + beta |log_probs - old_log_probs| [(A - mean A) (log_probs - mean log_probs) is among the largest]

    Args:
      log_probs: `[..., T]` log-probabilities of the sampled tokens under the policy that learns.
      old_log_probs: `[..., T]` the same under the policy that sampled.
      advantage: `[...]` or `[..., T]`.
      fraction: of the valid tokens that are held, in [0, 1], at least one token. The authors write it in percent.
      beta: weight of the penalty, at least 0.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.

    Returns:
      `[..., T]` float32, 0 outside the mask; the authors take the mean over tokens.

    Raises:
      ValueError: if shapes do not agree, or a setting is out of range.

    Reference: Cui et al., The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models, 2025,
      equation 11.

    >>> old = jnp.log(jnp.array([[0.5, 0.9]]))
    >>> held = kl_cov_loss(old - 0.5, old, jnp.array([[0.0, 1.0]]), fraction=0.5, beta=2.0)
    >>> jax.tree.map(lambda x: round(x, 3), held.tolist())
    [[1.0, -0.607]]
    """
    check_tokens(log_probs=log_probs, old_log_probs=old_log_probs)
    check_fraction("fraction", fraction)
    check_least("beta", beta, 0)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    advantage = per_token(advantage, keep, "advantage")
    ratio = token_importance_ratio(log_probs, old_log_probs, where=keep)
    apart = zero_outside(keep, log_probs) - jax.lax.stop_gradient(zero_outside(keep, old_log_probs))
    held = _largest(covariance(log_probs, advantage, where=keep), keep, fraction)
    size = apart * jnp.sign(jax.lax.stop_gradient(apart))  # the gradient of jnp.abs is 1 at 0, this one 0
    return -advantage * ratio + jnp.where(held, beta * size, 0.0)


def covariance(log_probs: jax.Array, advantage: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """What each token adds to the covariance of log-probability and advantage, on which entropy falls.

        (A_t - mean A) (log_probs_t - mean log_probs)      means over all tokens of the batch

    Args:
      log_probs: `[..., T]` log-probabilities of the sampled tokens.
      advantage: `[...]` or `[..., T]`.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.

    Returns:
      `[..., T]` float32 without gradient, 0 outside the mask.

    Raises:
      ValueError: if shapes do not agree.

    Reference: Cui et al., The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models, 2025,
      equation 9.

    >>> covariance(jnp.array([[-1.0, -3.0]]), jnp.array([[2.0, 0.0]])).tolist()
    [[1.0, 1.0]]
    """
    check_tokens(log_probs=log_probs)
    keep = full_mask(where, np.shape(log_probs), "log_probs")
    log_probs = jax.lax.stop_gradient(zero_outside(keep, log_probs))
    advantage = per_token(advantage, keep, "advantage")
    centred = [x - masked_mean(x, where=keep) for x in (advantage, log_probs)]
    return jnp.where(keep, centred[0] * centred[1], 0.0)


def _largest(values: jax.Array, keep: jax.Array, fraction: float | jax.Array) -> jax.Array:
    """The largest `fraction` of the values that count, rounded down, but one at least; of equals the first."""
    rank = jnp.argsort(jnp.argsort(-jnp.where(keep, values, -jnp.inf).ravel(), stable=True))
    return keep & (rank < _count(jnp.sum(keep), fraction)).reshape(keep.shape)


def _count(size: jax.Array, fraction: float | jax.Array) -> jax.Array:
    """A fraction of a number, rounded down, but one at least."""
    return jnp.maximum(jnp.floor(fraction * size + 1e-4), 1)  # a product may end just below a whole number


def threshold_rescale(probs: jax.Array, *, threshold: float | jax.Array = 0.5) -> jax.Array:
    """Weights from probabilities: 0 up to a threshold, then a straight line to 1.

        max(p - threshold, 0) / (1 - threshold)

    Args:
      probs: any shape, in [0, 1].
      threshold: in [0, 1).

    Returns:
      The shape of `probs`, float32.

    Raises:
      ValueError: a threshold outside [0, 1), or known `probs` that are no probabilities.

    Reference: OREAL, 2025, weights from a reward per token, the authors' code.

    >>> threshold_rescale(jnp.array([0.25, 0.75, 1.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    check_fraction("threshold", threshold)
    check_together("threshold must be below 1", lambda threshold: threshold < 1, threshold=threshold)
    check_probabilities("probs", probs)
    return jnp.maximum(as_float(probs) - threshold, 0.0) / (1.0 - threshold)


def top_rescale(
    probs: jax.Array, *, fraction: float | jax.Array = 0.5, where: jax.Array | None = None
) -> jax.Array:
    """Weights from probabilities: 0 for all but the largest of each row, those from 0 for the least of them to 1.

        (p - least) / (most - least) over the floor(fraction T) largest; all 1 where those are equal

    Args:
      probs: `[..., T]`, in [0, 1].
      fraction: of the valid tokens of each row, rounded down, but one at least; in [0, 1].
      where: bool or {0, 1}, broadcastable to `[..., T]`, the response's own tokens; None means all.

    Returns:
      `[..., T]` float32, 0 outside the mask; of equal probabilities the first are taken.

    Raises:
      ValueError: a fraction outside [0, 1], a mask that does not broadcast, a scalar, or known values that are NaN
        or no probabilities.

    Reference: OREAL, 2025, weights from a reward per token, the authors' code.

    >>> top_rescale(jnp.array([0.1, 0.75, 0.25, 0.5]), fraction=0.75).tolist()
    [0.0, 1.0, 0.0, 0.5]
    """
    check_fraction("fraction", fraction)
    check_tokens(probs=probs)
    keep = full_mask(where, np.shape(probs), "probs")
    check_probabilities("probs", probs, where=keep)
    check_no_nan("probs", probs, where=keep)
    probs = zero_outside(keep, probs)
    rank = jnp.argsort(jnp.argsort(-jnp.where(keep, probs, -jnp.inf), axis=-1, stable=True), axis=-1)
    chosen = keep & (rank < _count(jnp.sum(keep, axis=-1, keepdims=True), fraction))
    most = jnp.max(jnp.where(chosen, probs, -jnp.inf), axis=-1, keepdims=True)
    least = jnp.min(jnp.where(chosen, probs, jnp.inf), axis=-1, keepdims=True)
    alike = most <= least
    scaled = (probs - jnp.where(chosen, least, 0.0)) / jnp.where(alike | ~chosen, 1.0, most - least)
    return jnp.where(chosen, jnp.where(alike, 1.0, scaled), 0.0)


def skip_large_gradients(
    optimizer: optax.GradientTransformation, max_norm: float
) -> optax.GradientTransformation:
    """An optimizer that makes no step, and remembers nothing, where the gradient's norm is above a bound, or NaN.

    Clipping keeps the direction of a gradient that has exploded; this throws it away.

    Args:
      optimizer: any optax transformation.
      max_norm: positive.

    Returns:
      An optax transformation with the state of `optimizer`.

    Raises:
      ValueError: a bound that is not positive.

    Reference: Intern-S1, 2025, section 5.2.4: about 3 % of the updates are left out at a norm of 0.3.

    >>> careful = skip_large_gradients(optax.sgd(1.0), 1.0)
    >>> [careful.update(jnp.array(g), careful.init(0.0))[0].item() for g in (0.5, 2.0)]
    [-0.5, 0.0]
    """
    check_positive("max_norm", max_norm)

    def update(grads: optax.Updates, state: optax.OptState, params: optax.Params | None = None) -> tuple:
        small = optax.tree.norm(grads) <= max_norm
        updates, after = optimizer.update(grads, state, params)
        keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(small, a, b), new, old)
        return keep(updates, jax.tree.map(jnp.zeros_like, updates)), keep(after, state)

    return optax.GradientTransformation(optimizer.init, update)

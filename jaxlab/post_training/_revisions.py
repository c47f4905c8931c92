"""What may happen to rollouts between their rewards and the update: others' answers, and more tokens.

Shapes are static, so what to change is a mask. The log-probabilities of what is new are 0: where a loss has a ratio,
`completion_scores` gives them. To leave tokens or responses out, `rollouts._replace(trained=...)`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core.check import InputError, as_bool, check_state
from jaxlab.post_training._policy_step import Rollouts


def inject(
    rollouts: Rollouts, tokens: jax.Array, mask: jax.Array, rewards: jax.Array, take: jax.Array
) -> tuple[Rollouts, jax.Array]:
    """Put answers that others wrote over the worst of a group; the size of the group stays.

    The first answer that is taken replaces the row with the least reward (of equals the first), the second the next.

    Args:
      rollouts: P groups of G.
      tokens: `[P, K, N]` int32, K answers for each prompt, as long as the completions.
      mask: `[P, K, N]` bool or {0, 1}, their tokens, the end included.
      rewards: `[P, K]`.
      take: `[P, K]` bool or {0, 1}, which of them are put in.

    Returns:
      `(rollouts, injected [B] bool)`: which rows are others' now. All their tokens are trained; `extra` stays.

    Raises:
      ValueError: shapes that do not belong to the rollouts, or more answers than a group has rows.

    Reference: mixed-policy groups as in Yan et al., Learning to Reason under Off-Policy Guidance (LUFFY), 2025,
      section 3.1.

    >>> row = lambda x: jnp.array(x, jnp.float32)
    >>> one = jnp.ones((1, 2), bool)
    >>> r = Rollouts(
    ...     jnp.array([[5, 6]]), one, jnp.array([[7, 2], [8, 2]]), jnp.ones((2, 2), bool), jnp.zeros((2, 2)),
    ...     jnp.zeros((2, 2)), row([1, 0]), jnp.array([0, 0]), jnp.int32(0), jnp.ones((2, 2), bool))
    >>> r, injected = inject(r, jnp.array([[[9, 2]]]), one[None], row([[1]]), jnp.array([[True]]))
    >>> r.tokens.tolist(), r.rewards.tolist(), injected.tolist()
    ([[7, 2], [9, 2]], [1.0, 1.0], [False, True])
    """
    check_state("rollouts", rollouts, Rollouts)
    rollouts = jax.tree.map(jnp.asarray, rollouts)
    prompts, (rows, length) = rollouts.prompts.shape[0], rollouts.tokens.shape
    size, count = rows // prompts, np.shape(take)[-1]
    given = tuple(map(np.shape, (tokens, mask, rewards, take)))
    if given != ((prompts, count, length),) * 2 + ((prompts, count),) * 2:
        raise InputError(
            f"tokens, mask, rewards and take {given} must be [P, K, N], [P, K, N], [P, K] and [P, K] with "
            f"P {prompts} and N {length}"
        )
    if count > size:
        raise InputError(f"there are {count} answers for groups of {size}: more than a group has rows")
    take = as_bool("take", take)
    worst = jnp.argsort(rollouts.rewards.reshape(prompts, size), axis=1, stable=True)
    place = jnp.take_along_axis(worst, jnp.cumsum(take, axis=1) - take, axis=1)
    row = jnp.where(
        take, place + size * jnp.arange(prompts)[:, None], rows
    ).ravel()  # `rows` is none: dropped

    def put(old: jax.Array, new: Any) -> jax.Array:
        new = jnp.broadcast_to(new, (prompts, count, *old.shape[1:])).astype(old.dtype)
        return old.at[row].set(new.reshape(prompts * count, *old.shape[1:]), mode="drop")

    mask = as_bool("mask", mask)
    rollouts = rollouts._replace(
        tokens=put(rollouts.tokens, tokens), mask=put(rollouts.mask, mask), trained=put(rollouts.trained, mask),
        log_probs=put(rollouts.log_probs, 0), teacher_log_probs=put(rollouts.teacher_log_probs, 0),
        rewards=put(rollouts.rewards, as_float(rewards)),
    )  # fmt: skip
    return rollouts, put(jnp.zeros(rows, bool), True)


def append(
    rollouts: Rollouts,
    tokens: jax.Array,
    mask: jax.Array,
    take: jax.Array,
    *,
    eos: int | Sequence[int],
    trained: bool = True,
) -> tuple[Rollouts, jax.Array]:
    """Go on writing completions that had ended: a tutor's feedback, a tool's answer. Rewards stay what they were.

    Args:
      rollouts: B completions.
      tokens: `[B, M]` int32, what comes behind each, with an end of its own if it is to have one.
      mask: `[B, M]` bool or {0, 1}.
      take: `[B]` bool or {0, 1}, which completions go on; the others keep their end.
      eos: the id or ids that end a completion: the one at the end of a completion that goes on is taken out.
      trained: whether the new tokens are learned from.

    Returns:
      `(rollouts, appended [B, N + M] bool)`: the completions are M longer; the mask says which tokens are new.

    Raises:
      ValueError: shapes that do not belong to the rollouts.

    Reference: ThinkTuning: Instilling Cognitive Reflections without Distillation, 2025, section 3 (feedback that is
      appended to a rollout).

    >>> row = lambda x: jnp.array(x, jnp.float32)
    >>> r = Rollouts(
    ...     jnp.array([[5, 6]]), jnp.ones((1, 2), bool), jnp.array([[7, 2], [8, 2]]), jnp.ones((2, 2), bool),
    ...     jnp.zeros((2, 2)), jnp.zeros((2, 2)), row([1, 0]), jnp.array([0, 0]), jnp.int32(0), jnp.ones((2, 2), bool))
    >>> r, new = append(r, jnp.array([[9, 2], [9, 2]]), jnp.ones((2, 2)), jnp.array([False, True]), eos=2)
    >>> r.tokens.tolist(), new.tolist()
    ([[7, 2, 0, 0], [8, 9, 2, 0]], [[False, False, False, False], [False, True, True, False]])
    """
    check_state("rollouts", rollouts, Rollouts)
    rollouts = jax.tree.map(jnp.asarray, rollouts)
    rows = rollouts.tokens.shape[0]
    if np.ndim(tokens) != 2 or np.shape(tokens) != np.shape(mask) or np.shape(tokens)[0] != rows:
        raise InputError(f"tokens {np.shape(tokens)} and mask {np.shape(mask)} must both be [B, M], B {rows}")
    if np.shape(take) != (rows,):
        raise InputError(f"take {np.shape(take)} must be [B], B {rows}")
    take = as_bool("take", take)[:, None]
    last = jnp.cumsum(rollouts.mask, axis=1) == jnp.sum(rollouts.mask, axis=1, keepdims=True)
    ends = rollouts.mask & last & jnp.isin(rollouts.tokens, jnp.atleast_1d(jnp.asarray(eos)))
    keep = jnp.concatenate([rollouts.mask & ~(take & ends), take & as_bool("mask", mask)], axis=1)
    order = jnp.argsort(~keep, axis=1, stable=True)
    new = jnp.zeros(np.shape(tokens), bool)

    def joined(old: jax.Array, more: Any) -> jax.Array:
        both = jnp.concatenate([old, jnp.broadcast_to(more, new.shape).astype(old.dtype)], axis=1)
        return jnp.take_along_axis(jnp.where(keep, both, 0), order, axis=1).astype(old.dtype)

    rollouts = rollouts._replace(
        tokens=joined(rollouts.tokens, tokens), mask=jnp.take_along_axis(keep, order, axis=1),
        trained=joined(rollouts.trained, trained), log_probs=joined(rollouts.log_probs, 0),
        teacher_log_probs=joined(rollouts.teacher_log_probs, 0),
    )  # fmt: skip
    return rollouts, joined(jnp.zeros_like(ends), True)

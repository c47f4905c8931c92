"""Self-evolving curriculum: a bandit over categories of problems whose reward is the absolute advantage.

    from jaxlab.post_training import sec

The values of the arms are the memory of the learner. `choose_arms` is what `pose` needs, `learn_values` what
`remember` needs; the bandit itself is `jaxlab.curriculum`'s.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, permute_index
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import InputError, as_integers, check_same_shape, full_mask
from jaxlab.curriculum import arm_log_probs, arm_rewards, update_arms


def choose_arms(
    key: jax.Array,
    values: jax.Array,
    count: int,
    *,
    temperature: float | jax.Array = 0.4,
    where: jax.Array | None = None,
) -> jax.Array:
    """Draw a category for each problem of a batch, independently and with replacement.

        c_i ~ Boltzmann(Q / temperature)

    Args:
      key: random key.
      values: `[C]` Q.
      count: static number of problems.
      temperature: positive. Advantages that are divided by their deviation are below 1, so 1 draws all about alike;
        the paper takes 1, 0.4 and 0.2.
      where: `[C]` bool or {0, 1}, the arms that may be drawn; None means all.

    Returns:
      `[count]` int32.

    Raises:
      ValueError: as `curriculum.arm_log_probs`, or a known value of an arm that may be drawn is NaN.

    Reference: Chen et al., Self-Evolving Curriculum for LLM Reasoning, 2025, algorithm 1.

    >>> choose_arms(jax.random.key(0), jnp.array([0.0, 1.0]), 3, temperature=0.01).tolist()
    [1, 1, 1]
    """
    log_probs = arm_log_probs(values, temperature=temperature, where=where)
    check_no_nan("values", values, where=True if where is None else where)
    return jax.random.categorical(key, log_probs, shape=(count,)).astype(jnp.int32)


def learn_values(
    values: jax.Array,
    advantage: jax.Array,
    arms: jax.Array,
    *,
    rate: float | jax.Array = 0.5,
    decay_unsampled: bool = False,
    where: jax.Array | None = None,
) -> jax.Array:
    """Reward each arm with the mean absolute advantage of its responses, which is largest where half of them succeed.

        r(c) = mean over responses of arm c of mean_t |A_{i,t}|;   Q <- (1 - rate) Q + rate r

    With rewards in {0, 1}, success rate p and the population's deviation, E|A| = 2 sqrt(p (1 - p)).

    Args:
      values: `[C]` Q, zeros at the beginning.
      advantage: `[B]` or `[B, T]`, as the update used them.
      arms: `[B]` integers in [0, C), the category of each response's problem.
      rate: in [0, 1].
      decay_unsampled: see `curriculum.update_arms`; True is the authors' code.
      where: the tokens that count, with the axes of `advantage`; None means all.

    Returns:
      `[C]` float32.

    Raises:
      ValueError: as `curriculum.update_arms`.

    Reference: Chen et al., Self-Evolving Curriculum for LLM Reasoning, 2025, equations 4 to 6.

    >>> advantage = jnp.array([[1.0, -1.0], [0.0, 0.0]])
    >>> learn_values(jnp.zeros(3), advantage, jnp.array([0, 2])).tolist()
    [0.5, 0.0, 0.0]
    """
    size = jnp.abs(as_float(advantage))
    if size.ndim not in (1, 2):
        raise InputError(f"advantage must be [B] or [B, T], got {size.shape}")
    keep = full_mask(where, size.shape, "advantage")
    rows = keep
    if size.ndim == 2:
        size, rows = masked_mean(size, where=keep, axis=1), jnp.any(keep, axis=1)
    return update_arms(values, size, arms, rate=rate, decay_unsampled=decay_unsampled, where=rows)


def learn_progress(
    values: jax.Array,
    last: jax.Array,
    rewards: jax.Array,
    arms: jax.Array,
    *,
    rate: float | jax.Array = 0.5,
    decay_unsampled: bool = False,
    where: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Reward each arm with how much the mean reward of its responses has grown since it was drawn last.

        r(c) = mean reward of arm c - last(c);   Q <- (1 - rate) Q + rate r;   last(c) <- mean reward of arm c

    Args:
      values: `[C]` Q, zeros at the beginning.
      last: `[C]` mean rewards when each arm was drawn last, zeros at the beginning.
      rewards: `[B]`, one number per response.
      arms: `[B]` integers in [0, C), the category of each response's problem.
      rate: in [0, 1].
      decay_unsampled: see `curriculum.update_arms`; True is the authors' code.
      where: `[B]` bool or {0, 1}, the responses that count; None means all.

    Returns:
      `(values, last)`, both `[C]` float32; `last` of an arm that was not drawn stays.

    Raises:
      ValueError: as `curriculum.update_arms`, or `last` of another shape than the values.

    Reference: Chen et al., Self-Evolving Curriculum for LLM Reasoning, 2025, the objective "progress" of the authors'
      code.

    >>> values, last = learn_progress(jnp.zeros(2), jnp.array([0.5, 0.5]), jnp.array([1.0, 0.5]), jnp.array([0, 0]))
    >>> values.tolist(), last.tolist()
    ([0.125, 0.0], [0.75, 0.5])
    """
    check_same_shape("[C]", values=values, last=last)
    mean, count = arm_rewards(rewards, arms, num_arms=len(values), where=where)
    mean, last, drawn = jax.lax.stop_gradient(mean), as_float(last), count > 0
    grown = jnp.where(drawn, mean - last, 0.0)
    every = jnp.arange(len(values))  # each arm as one draw of what it has grown by
    counts = drawn | decay_unsampled
    return update_arms(values, grown, every, rate=rate, where=counts), jnp.where(drawn, mean, last)


def draw_from_pools(
    key: jax.Array, taken: jax.Array, arms: jax.Array, *, size: int
) -> tuple[jax.Array, jax.Array]:
    """Problems of finite pools, one pool for each arm, without replacement: a pool begins anew when it is used up.

    Nothing but the counters has to be remembered: each pass over a pool has an order of its own, made from the key.

    Args:
      key: names the orders; the same during a whole training.
      taken: `[C]` int32, problems taken from each pool so far, zeros at the beginning.
      arms: `[n]` integers in [0, C), whose pool each problem comes from.
      size: static number of problems in each pool.

    Returns:
      `(index [n] int32 within the pools, taken)`.

    Raises:
      ValueError: arms that are not integers in range, or a size below 1.

    Reference: Chen et al., Self-Evolving Curriculum for LLM Reasoning, 2025, the data loader of the authors' code,
      which refills all pools together.

    >>> index, taken = draw_from_pools(jax.random.key(0), jnp.zeros(2, int), jnp.array([1, 1, 1]), size=3)
    >>> sorted(index.tolist()), taken.tolist()
    ([0, 1, 2], [0, 3])
    """
    count = np.shape(taken)[0]
    arms = as_integers("arms", arms, "arms in [0, C)", count)
    drawn = arms[:, None] == jnp.arange(count)
    before = jnp.cumsum(drawn, axis=0, dtype=jnp.int32) - drawn
    place = jnp.asarray(taken, jnp.int32)[arms] + jnp.take_along_axis(before, arms[:, None], axis=1)[:, 0]

    def own(arm: jax.Array, number: jax.Array, place: jax.Array) -> jax.Array:
        order = jax.random.fold_in(jax.random.fold_in(key, arm), number)
        return permute_index(order, place, size)

    index = jax.vmap(own)(arms, place // size, place % size)
    return index, taken + jnp.sum(drawn, axis=0, dtype=jnp.int32)

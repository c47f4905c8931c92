"""Representations from people's answers: which two of three are alike, and which of two is better."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core.check import InputError, check_least, check_probabilities, full_mask


def triplet_similarity_loss(
    alike1: jax.Array,
    alike2: jax.Array,
    odd: jax.Array,
    *,
    margin: float | jax.Array = 1.0,
    where: jax.Array | None = None,
) -> jax.Array:
    """Two that a person calls alike are nearer to each other than either is to the third (SIRL), per question.

    Squared distances, of vectors as they are; neither of the two is the anchor, so both are. Gradients flow into all
    three. Where all three are equal the loss is 2 margins without gradient.

        max(0, |a - b|^2 - |a - c|^2 + margin) + max(0, |a - b|^2 - |b - c|^2 + margin)

    Args:
      alike1: `[Q, D]` one of the pair, a.
      alike2: `[Q, D]` the other, b.
      odd: `[Q, D]` the third, c.
      margin: at least 0; may be traced.
      where: `[Q]` bool or {0, 1}, the questions that count; None means all.

    Returns:
      `[Q]` float32 (float64 for float64 input), at least 0; 0 for a question that does not count.

    Raises:
      ValueError: if the three do not share a shape `[Q, D]`, `where` does not broadcast to `[Q]`, or a known margin is
        below 0.

    Reference: Bobu et al., SIRL: Similarity-based Implicit Representation Learning, 2023, section 3; the margin is
      not theirs.

    >>> a, b, c = jnp.zeros((1, 2)), jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])
    >>> triplet_similarity_loss(a, b, c).tolist()  # 1 - 1 + 1, and 1 - 2 + 1
    [1.0]
    """
    shapes = [np.shape(x) for x in (alike1, alike2, odd)]
    if len(shapes[0]) != 2 or len(set(shapes)) > 1:
        raise InputError(
            f"alike1, alike2 and odd must share a shape [Q, D], got {', '.join(map(str, shapes))}"
        )
    check_least("margin", margin, 0)
    counts = full_mask(where, shapes[0][:1], "questions")
    a, b, c = (jnp.where(counts[:, None], as_float(x), 0.0) for x in (alike1, alike2, odd))
    apart = lambda x, y: jnp.sum(jnp.square(x - y), axis=-1)
    near = apart(a, b)
    loss = jax.nn.relu(near - apart(a, c) + margin) + jax.nn.relu(near - apart(b, c) + margin)
    return jnp.where(counts, loss, 0.0)


def preference_loss(
    rewards1: jax.Array, rewards2: jax.Array, preferred: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """Negative log-likelihood of which of two a person prefers (Bradley and Terry), per question.

    Gradients flow into both rewards.

        -y log sigmoid(r1 - r2) - (1 - y) log sigmoid(r2 - r1)

    Args:
      rewards1: `[Q]` of the first of each pair, any finite size.
      rewards2: `[Q]` of the second.
      preferred: `[Q]` the probability in [0, 1] that the first is preferred: 1, 0, or 0.5 for a tie.
      where: `[Q]` bool or {0, 1}, the questions that count; None means all.

    Returns:
      `[Q]` nats, float32 (float64 for float64 input), at least 0; 0 for a question that does not count.

    Raises:
      ValueError: if the three do not share a shape `[Q]`, or known preferences lie outside [0, 1].

    Reference: Bradley and Terry, Rank Analysis of Incomplete Block Designs, 1952.

    >>> print(preference_loss(jnp.array([1e4, 0.0]), jnp.zeros(2), jnp.array([1.0, 0.5])).round(4))
    [0.     0.6931]
    """
    shapes = [np.shape(x) for x in (rewards1, rewards2, preferred)]
    if len(shapes[0]) != 1 or len(set(shapes)) > 1:
        raise InputError(f"rewards and preferred must share a shape [Q], got {', '.join(map(str, shapes))}")
    counts = full_mask(where, shapes[0], "questions")
    check_probabilities("preferred", preferred, where=counts, meaning="probabilities of the first")
    gap = jnp.where(counts, as_float(rewards1) - as_float(rewards2), 0.0)
    target = jnp.where(counts, as_float(preferred), 0.0)
    loss = target * jax.nn.softplus(-gap) + (1 - target) * jax.nn.softplus(gap)
    return jnp.where(counts, loss, 0.0)

"""Answers of simulated people: which two of three are alike, which of two is better, some of them wrong."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float
from jaxlab.core.check import InputError, check_fraction

_PAIRS = ((0, 1, 2), (0, 2, 1), (1, 2, 0))  # the pair, then the odd one


class PreferenceAnswers(NamedTuple):
    """Pairs with the one that was preferred, from `preference_answers`.

    Attributes:
      index: `[Q, 2]` int32 rows of the two.
      preferred: `[Q]` float32, 1 for the first, 0 for the second, 0.5 for a tie.
    """

    index: jax.Array
    preferred: jax.Array


def most_similar_pair(features: jax.Array) -> jax.Array:
    """What a person who sees these features answers: the two of three that are nearest, then the odd one.

    Of equal distances the earlier pair of (0, 1), (0, 2), (1, 2) is taken. No gradient passes.

    Args:
      features: `[..., 3, D]`; the scale of each decides what "similar" means.

    Returns:
      `[..., 3]` int32: the pair in order, then the third.

    Raises:
      ValueError: if there are not three.

    >>> most_similar_pair(jnp.array([[0.0], [5.0], [1.0]])).tolist()
    [0, 2, 1]
    """
    if np.ndim(features) < 2 or np.shape(features)[-2] != 3:
        raise InputError(f"features must be [..., 3, D], got {np.shape(features)}")
    features = as_float(features)
    sides = [jnp.sum(jnp.square(features[..., i, :] - features[..., j, :]), axis=-1) for i, j, _ in _PAIRS]
    return jnp.asarray(_PAIRS, jnp.int32)[jnp.argmin(jnp.stack(sides, axis=-1), axis=-1)]


def similarity_answers(
    key: jax.Array, features: jax.Array, num_questions: int, *, error_rate: float | jax.Array = 0.0
) -> jax.Array:
    """Triples of rows, put in the order that a person who sees these features answers: the two alike, then the odd one.

    No gradient passes.

    Args:
      key: `jax.random.key`.
      features: `[N, D]` that people go by, N at least 3, usually standardised.
      num_questions: Q.
      error_rate: how often one of the two wrong answers is given, in [0, 1]; may be traced.

    Returns:
      `[Q, 3]` int32 rows, three different ones each.

    Raises:
      ValueError: fewer than three rows, or a known rate outside [0, 1].

    Reference: Bobu et al., SIRL: Similarity-based Implicit Representation Learning, 2023, section 4.

    >>> rows = similarity_answers(jax.random.key(0), jnp.array([[0.0], [5.0], [1.0]]), 4)
    >>> sorted(set(rows[:, 2].tolist()))  # 5 is the odd one
    [1]
    """
    if np.ndim(features) != 2 or np.shape(features)[0] < 3:
        raise InputError(f"features must be [N, D] with N at least 3, got {np.shape(features)}")
    check_fraction("error_rate", error_rate)
    rows_key, wrong_key, turn_key = jax.random.split(key, 3)
    rows = _different(rows_key, np.shape(features)[0], num_questions, 3)
    order = most_similar_pair(jnp.asarray(features)[rows])
    # The other two answers are the same triple turned by one or two places.
    turn = jax.random.randint(turn_key, (num_questions, 1), 1, 3)
    wrong = jax.random.bernoulli(wrong_key, error_rate, (num_questions, 1))
    turned = jnp.take_along_axis(order, (jnp.arange(3) + turn) % 3, axis=1)
    return jnp.take_along_axis(rows, jnp.where(wrong, turned, order), axis=1)


def preference_answers(
    key: jax.Array, rewards: jax.Array, num_questions: int, *, error_rate: float | jax.Array = 0.0
) -> PreferenceAnswers:
    """Pairs of rows, with the one of the larger reward preferred. No gradient passes.

    Args:
      key: `jax.random.key`.
      rewards: `[N]`, N at least 2.
      num_questions: Q.
      error_rate: how often the other one is preferred, in [0, 1]; may be traced.

    Returns:
      `PreferenceAnswers`.

    Raises:
      ValueError: fewer than two rows, or a known rate outside [0, 1].

    Reference: Bradley and Terry, Rank Analysis of Incomplete Block Designs, 1952, without its noise.

    >>> made = preference_answers(jax.random.key(0), jnp.array([0.0, 1.0]), 5)
    >>> bool((made.preferred == (made.index[:, 0] == 1)).all())
    True
    """
    if np.ndim(rewards) != 1 or np.shape(rewards)[0] < 2:
        raise InputError(f"rewards must be [N] with N at least 2, got {np.shape(rewards)}")
    check_fraction("error_rate", error_rate)
    rows_key, wrong_key = jax.random.split(key)
    rows = _different(rows_key, np.shape(rewards)[0], num_questions, 2)
    first, second = as_float(jnp.asarray(rewards))[rows].T
    preferred = 0.5 * (1 + jnp.sign(first - second))
    wrong = jax.random.bernoulli(wrong_key, error_rate, (num_questions,))
    return PreferenceAnswers(rows, jnp.where(wrong, 1 - preferred, preferred).astype(jnp.float32))


def _different(key: jax.Array, size: int, count: int, each: int) -> jax.Array:
    """`[count, each]` rows in [0, size), different ones in a row of it, all such equally likely."""
    rows: list[jax.Array] = []
    for i, own in enumerate(jax.random.split(key, each)):
        row = jax.random.randint(own, (count,), 0, size - i)
        for before in jnp.sort(jnp.stack(rows), axis=0) if rows else ():  # skip those taken, from below
            row = row + (row >= before)
        rows.append(row)
    return jnp.stack(rows, axis=1).astype(jnp.int32)

"""A course with graders that miss what they cannot know: for what a comparison of graders can show, and how surely."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError, check_fraction, check_least, check_positive

_POINTS = 12  # of a rubric


class GradedAnswers(NamedTuple):
    """Grades of the same answers on one scale, from `simulate_graders`; `[N]` float32 unless it says otherwise.

    Attributes:
      instructor: the yardstick.
      peers: `[M, N]`, of M peers.
      answers_only: of a grader that has the correct answer, but counts every point of it alike.
      rubric: of a grader that has the rubric.
      own_rubric: of a grader that made up its weights.
    """

    instructor: jax.Array
    peers: jax.Array
    answers_only: jax.Array
    rubric: jax.Array
    own_rubric: jax.Array


def simulate_graders(
    key: jax.Array,
    num_answers: int,
    *,
    num_peers: int = 4,
    total: float = 9.0,
    step: float = 0.5,
    miss_rate: float = 0.05,
    off_rubric: float = 0.0,
    peer_leniency: float = 0.08,
    peer_noise: float = 0.15,
) -> GradedAnswers:
    """Answers that cover some of twelve weighted points, graded by an instructor, peers and three kinds of detectors.

    The world encodes who is better: it is for the operating characteristics of tests, not for claims about graders.
    Pure, so that many courses are simulated side by side.

    Args:
      key: `jax.random.key`.
      num_answers: N.
      num_peers: M; each has a leniency, a slope and noise of its own, and a grid twice as coarse.
      total: the most that can be had.
      step: grades are multiples of it.
      miss_rate: how often a detector takes a point for missing, or a missing one for there; at 0.1 it is as far off as
        the median of the peers.
      off_rubric: share of the instructor's grade that is for what no rubric lists, in [0, 1]: open questions.
      peer_leniency: what peers add on average, as a share of the total.
      peer_noise: standard deviation of a peer's noise, as a share of the total.

    Returns:
      `GradedAnswers`.

    Raises:
      ValueError: fewer than one answer or peer, or a number outside of its range.

    Reference: Golchin et al., Large Language Models As MOOCs Graders, 2024; the simulation is not theirs.

    >>> made = simulate_graders(jax.random.key(0), 40)
    >>> made.peers.shape, bool((made.rubric * 2 == jnp.round(made.rubric * 2)).all())
    ((4, 40), True)
    """
    if min(num_answers, num_peers) < 1:
        raise InputError(f"num_answers and num_peers must be at least 1, got {num_answers} and {num_peers}")
    for name, value in (("miss_rate", miss_rate), ("off_rubric", off_rubric)):
        check_fraction(name, value)
    for name, value in (("total", total), ("step", step)):
        check_positive(name, value)
    check_least("peer_noise", peer_noise, 0)
    keys = iter(jax.random.split(key, 10))
    weights = jax.nn.softmax(0.7 * jax.random.normal(next(keys), (_POINTS,)))
    skill = jax.nn.sigmoid(0.8 + 0.9 * jax.random.normal(next(keys), (num_answers, 1)))
    points = jax.random.bernoulli(next(keys), skill, (num_answers, _POINTS))
    extra = jax.random.uniform(next(keys), (num_answers,))
    noise = lambda key, shape, sd: sd * jax.random.normal(key, shape)
    merit = (1 - off_rubric) * (points @ weights) + off_rubric * extra
    grid = lambda share, step: jnp.round(jnp.clip(share, 0, 1) * total / step) * step

    def detect(key: jax.Array, weights: jax.Array) -> jax.Array:
        wrong = jax.random.bernoulli(key, miss_rate, points.shape)
        return grid((points ^ wrong) @ weights, step)

    made_up = weights * jnp.exp(noise(next(keys), (_POINTS,), 0.8))
    lenient, slope = jax.random.normal(next(keys), (2, num_peers, 1))
    seen = 0.5 + (1 + 0.2 * slope) * (merit - 0.5) + peer_leniency * (1 + 0.5 * lenient)
    return GradedAnswers(
        instructor=grid(merit + noise(next(keys), (num_answers,), 0.03), step),
        peers=grid(seen + noise(next(keys), (num_peers, num_answers), peer_noise), 2 * step),
        answers_only=detect(next(keys), jnp.full(_POINTS, 1 / _POINTS)),
        rubric=detect(jax.random.fold_in(key, 1), weights),
        own_rubric=detect(jax.random.fold_in(key, 2), made_up / jnp.sum(made_up)),
    )

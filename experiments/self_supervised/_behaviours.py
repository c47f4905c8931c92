"""A robot's behaviours and what a simulated person answers about them; every seed has a world of its own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxlab import data
from jaxlab.training import PerSeed


class Answers(NamedTuple):
    """Questions about rows of `input`, as many of each kind.

    Attributes:
      input: `[N, D]` behaviours.
      triple: `[Q, 3]` rows: the two that are alike, then the odd one.
      pair: by kind, "single" for one reward and "multi" for several, `[Q, 2]` rows.
      preferred: by kind, `[Q]`, 1 where the first is better.
      reward: by kind, `[Q]`, which reward was asked for.
    """

    input: jax.Array
    triple: jax.Array
    pair: dict[str, jax.Array]
    preferred: dict[str, jax.Array]
    reward: dict[str, jax.Array]


def splits(spec: ConfigDict, rewards: int) -> dict[str, Any]:
    """Answers to learn from; behaviours to fit a probe on and to judge it by, with other rewards, for val and test."""
    return {
        "train": PerSeed(lambda key: _answers(spec, rewards, key)),
        "val": PerSeed(lambda key: _judged(spec, key, 1)),
        "test": PerSeed(lambda key: _judged(spec, key, 2)),
    }


def _paths(spec: ConfigDict, key: jax.Array, part: int, count: int) -> data.RobotPaths:
    """Behaviours in the world of this seed."""
    own = jax.random.fold_in(key, part)
    return data.robot_paths(key, own, count, distractors=spec.distractors, distraction=spec.distraction)


def _answers(spec: ConfigDict, rewards: int, key: jax.Array) -> Answers:
    paths = _paths(spec, key, 0, spec.behaviours)
    keys, each = jax.random.split(jax.random.fold_in(key, 3), 4), spec.answers // rewards
    values = jax.random.normal(keys[0], (rewards, paths.features.shape[1])) @ paths.features.T
    ask = lambda count: (
        lambda key, values: data.preference_answers(key, values, count, error_rate=spec.error_rate)
    )
    single = ask(spec.answers)(keys[1], values[0])
    several = jax.vmap(ask(each))(jax.random.split(keys[2], rewards), values)
    multi = jax.tree.map(lambda x: x.reshape(rewards * each, *x.shape[2:]), several)
    return Answers(
        paths.input,
        data.similarity_answers(keys[3], paths.features, spec.answers, error_rate=spec.error_rate),
        {"single": single.index, "multi": multi.index},
        {"single": single.preferred, "multi": multi.preferred},
        {"single": jnp.zeros(spec.answers, jnp.int32), "multi": jnp.repeat(jnp.arange(rewards), each)},
    )


def _judged(spec: ConfigDict, key: jax.Array, number: int) -> dict[str, Any]:
    probe, score = (_paths(spec, key, 10 * number + n, spec.judged) for n in range(2))
    own = jax.random.fold_in(key, 10 * number + 2)
    weights = jax.random.normal(own, (probe.features.shape[1], spec.new_rewards))
    ask = lambda part, count: jax.vmap(
        lambda key, values: data.preference_answers(key, values, count), in_axes=(0, 1)
    )(jax.random.split(jax.random.fold_in(own, count), spec.new_rewards), part.features @ weights)
    return {
        "probe": (probe.input, probe.features), "score": (score.input, score.features),
        "few": ask(probe, spec.few_answers), "many": ask(score, spec.judged),
    }  # fmt: skip

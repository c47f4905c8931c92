"""Which problems are posed: levels that a bandit chooses, or levels in order."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.post_training._learners import World, early_and_late, nothing_told, rewarded
from jaxlab.core import Learner
from jaxlab.language.tasks import Problems
from jaxlab.post_training import PolicyState, Rollouts, multi_domain, sec


def _bandit(world: World, arm: Any) -> Learner:
    """A bandit over levels, paid in absolute advantages."""
    low, levels = _levels(world)

    def pose(state: PolicyState, batch: Problems, key: jax.Array, context: Any) -> Problems:
        level_key, problem_key = jax.random.split(key)
        values = state.memory["values"]
        arms = sec.choose_arms(level_key, values, len(batch.difficulty), temperature=arm.temperature)
        return world.task.sample(problem_key, len(batch.difficulty), difficulty=low + arms)

    def learn(state: PolicyState, problems: Problems, advantage: jax.Array) -> jax.Array:
        arms = jnp.repeat(problems.difficulty - low, len(advantage) // len(problems.difficulty))
        return sec.learn_values(state.memory["values"], advantage, arms, rate=arm.rate)

    return _posed(world, arm, pose, jnp.zeros(levels), learn)


def _in_order(world: World, arm: Any) -> Learner:
    """From easy to hard: stages of equal length, one for each level."""
    low, levels = _levels(world)

    def pose(state: PolicyState, batch: Problems, key: jax.Array, context: Any) -> Problems:
        each = max(world.config.steps // levels, 1)
        level = low + multi_domain.stage(state.step, steps_each=each, stages=levels)
        return world.task.sample(key, len(batch.difficulty), difficulty=level)

    return _posed(
        world, arm, pose, jnp.zeros(levels), lambda state, problems, advantage: state.memory["values"]
    )


def _levels(world: World) -> tuple[int, int]:
    """The lowest level that is trained, and how many there are."""
    low, high = world.config.task.train
    return low, high - low + 1


def _posed(world: World, arm: Any, pose: Any, values: jax.Array, learn: Any) -> Learner:
    """A learner that chooses its problems, and tells the mean level in the first and the last fifth of its steps."""

    def remember(
        state: PolicyState, problems: Problems, r: Rollouts, advantage: jax.Array, context: Any
    ) -> dict:
        level = jnp.mean(problems.difficulty.astype(jnp.float32))
        told = early_and_late(state.memory["told"], state.step, world.config.steps, level=level)
        return {"values": learn(state, problems, advantage), "told": told}

    memory = lambda context: {"values": values, "told": nothing_told("level")}
    return rewarded(world, arm, memory=memory, pose=pose, remember=remember)


METHODS = {"bandit": _bandit, "in_order": _in_order}

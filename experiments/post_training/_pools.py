"""A pool of problems that each seed draws once, ordered by how hard the policy finds them."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.post_training._learners import World, of_student, rewarded, steps_of
from experiments.post_training._policy_tasks import draw_problems
from jaxlab import post_training as pt
from jaxlab.core import Computed, Learner, computed
from jaxlab.language.tasks import Problems
from jaxlab.metrics import spearman
from jaxlab.post_training import PolicyState, adcl_egsr
from jaxlab.training import Turn


def pool(world: World) -> Computed:
    """As many problems as a training poses, how hard the start finds them, and stages from easy to hard."""
    config, spec = world.config, world.config.pool

    def make(key: jax.Array, context: Any, train: Any) -> dict[str, Any]:
        problems = draw_problems(world.task, key, config.prompts * config.steps, config.task.train)
        hard = _measured(world, of_student(context), problems, jax.random.fold_in(key, 2))
        order = adcl_egsr.stages_by_difficulty(hard, stages=spec.stages, key=jax.random.fold_in(key, 3))
        return {"problems": problems, "difficulty": hard, "stages": order}

    return computed(make)


def _measured(world: World, params: Any, problems: Problems, key: jax.Array) -> jax.Array:
    """The share of wrong answers to each problem."""
    count = world.config.pool.samples
    out = pt.roll_out(
        world.student, params, problems, key, step=jnp.int32(0), group_size=count, **world.sampling
    )
    rows = jax.tree.map(lambda x: jnp.repeat(x, count, axis=0), problems)
    return adcl_egsr.difficulty(world.task.verify(rows, out.tokens, out.mask).reshape(-1, count))


def _from_pool(world: World, arm: Any) -> Learner:
    """Each stage's problems in their order; an arm with fewer steps poses the first part of each stage."""
    steps, prompts = steps_of(world, arm), world.config.prompts
    each = steps // world.config.pool.stages

    def pose(state: PolicyState, batch: Problems, key: jax.Array, context: Any) -> Problems:
        stage = jnp.minimum(state.step // each, world.config.pool.stages - 1)
        rows = state.memory["order"][stage]
        spread = rows.shape[0] // each  # over the whole stage, however many of its problems are posed
        place = (state.step % each) * spread + jnp.arange(prompts) * spread // prompts
        return jax.tree.map(lambda x: x[rows[place % rows.shape[0]]], context["pool"]["problems"])

    told = lambda: {"early_rank": jnp.float32(1), "late_rank": jnp.float32(1)}
    memory = lambda context: {"order": context["pool"]["stages"], "told": told()}
    return rewarded(world, arm, memory=memory, pose=pose)


def _resorted(world: World, arm: Any) -> Turn:
    """Before each stage its problems are measured again, and sorted; how much of their order was left is told."""
    stages = world.config.pool.stages
    each = steps_of(world, arm) // stages

    def turn(state: PolicyState, train: Any, step: jax.Array, key: jax.Array, context: Any) -> PolicyState:
        stage, (order, told) = step // each, (state.memory["order"], state.memory["told"])
        rows = order[stage]
        problems = jax.tree.map(lambda x: x[rows], context["pool"]["problems"])
        now = _measured(world, state.params, problems, jax.random.fold_in(key, 0))
        rank = jnp.nan_to_num(spearman(context["pool"]["difficulty"][rows], now), nan=0.0)
        told = {
            "early_rank": jnp.where(stage == 1, rank, told["early_rank"]),
            "late_rank": jnp.where(stage == stages - 1, rank, told["late_rank"]),
        }
        again = adcl_egsr.resort(rows, now, key=jax.random.fold_in(key, 1))
        return state._replace(memory={"order": order.at[stage].set(again), "told": told})

    return Turn(turn, at=tuple(each * stage for stage in range(1, stages)))


METHODS = {"predefined": _from_pool, "adaptive": _from_pool}
TURNS = {"adaptive": _resorted}

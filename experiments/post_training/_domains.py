"""Problems of several kinds: which of them are posed when, and how their rewards are made comparable."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.parts.checks import choose
from experiments.parts.optimizers import clipped_adam
from experiments.post_training._learners import World, of_student, rewarded
from jaxlab import post_training as pt
from jaxlab.core import Learner
from jaxlab.language.tasks import Problems
from jaxlab.post_training import PolicyState, Rollouts, mixture_of_rewards, multi_domain
from jaxlab.training import Turn

# Which of the arm's levels, of which there are so many, a step poses.
ORDERS = {
    "mixed": lambda key, step, steps, count, size: jax.random.randint(key, (size,), 0, count),
    "staged": lambda key, step, steps, count, size: jnp.full(
        size, multi_domain.stage(step, steps_each=max(steps // count, 1), stages=count)
    ),
}


def _domains(world: World, arm: Any) -> Learner:
    """Levels of the arm's own, mixed or in stages, paid in full or by degrees, near a reference policy."""
    order = choose("order", arm.order, ORDERS)
    low, high = arm.levels
    pay = world.task.score if arm.partial else world.task.verify

    def pose(state: PolicyState, batch: Problems, key: jax.Array, context: Any) -> Problems:
        level_key, problem_key = jax.random.split(key)
        size = len(batch.difficulty)
        level = low + order(level_key, state.step, world.config.steps, high - low + 1, size)
        return world.task.sample(problem_key, size, difficulty=level)

    def revise(state: PolicyState, problems: Problems, r: Rollouts, key: jax.Array, context: Any) -> Rollouts:
        near = pt.completion_scores(world.student, state.memory["reference"], r, temperature=1.0)
        return r._replace(extra={"reference": near})

    def loss(log_probs: jax.Array, r: Rollouts, advantage: jax.Array) -> tuple[jax.Array, dict]:
        ratio = pt.token_importance_ratio(log_probs, r.log_probs, where=r.trained)
        values = pt.ppo_clip_loss(ratio, advantage, where=r.trained)
        kl = pt.kl_estimate(log_probs, r.extra["reference"], kind="k3", where=r.trained)
        return pt.aggregate(values + arm.beta * kl, r.trained, mode=arm.aggregation), {}

    memory = lambda context: {"reference": of_student(context)}
    return rewarded(world, arm, memory=memory, pose=pose, verify=pay, revise=revise, loss=loss)


def _refreshed(world: World, arm: Any) -> Turn:
    """At the end of each stage the optimizer begins afresh and the reference is the policy as it is."""
    count = arm.levels[1] - arm.levels[0] + 1
    optimizer = clipped_adam(arm.learning_rate, arm.max_grad_norm)
    return Turn(
        lambda state, train, step, key, context: multi_domain.policy_refresh(state, optimizer),
        at=tuple(world.config.steps // count * stage for stage in range(1, count)),
    )


def _judged(world: World, arm: Any) -> Learner:
    """Exact rewards of one kind of problems, a noisy score on another scale of the rest, brought together or not."""
    judge_of = world.config.judge

    def judge(state: PolicyState, problems: Problems, r: Rollouts, context: Any) -> Rollouts:
        graded = world.task.score(problems, r.tokens, r.mask)
        exact = world.task.verify(problems, r.tokens, r.mask)
        # The same answer gets the same noise: a judge is wrong, and not forgetful.
        seen = (
            jnp.sum(r.tokens * r.mask * (1 + jnp.arange(r.tokens.shape[1])), axis=1) + 7 * problems.difficulty
        )
        noise = jax.vmap(lambda n: jax.random.normal(jax.random.fold_in(jax.random.key(0), n)))(seen)
        opinion = judge_of.offset + judge_of.scale * (graded + judge_of.noise * noise)
        learned = problems.answers["which"] == judge_of.part
        rewards = mixture_of_rewards.route_rewards(
            jnp.stack([exact, opinion], axis=1), learned.astype(jnp.int32)
        )
        if arm.calibrated:
            rewards = mixture_of_rewards.calibrate_rewards(rewards, r.group, learned)
        return r._replace(rewards=rewards)

    def advantage(r: Rollouts) -> jax.Array:
        """One scale for the whole batch, so that scales of rewards matter."""
        return pt.grpo_advantage(r.rewards, r.group, scale="batch")

    def loss(log_probs: jax.Array, r: Rollouts, advantage: jax.Array) -> tuple[jax.Array, dict]:
        values = mixture_of_rewards.kl_cov_loss(
            log_probs, r.log_probs, advantage, fraction=arm.fraction, beta=arm.beta, where=r.trained
        )
        return pt.aggregate(values, r.trained, mode=arm.aggregation), {}

    return rewarded(world, arm, verify=None, judge=judge, advantage=advantage, loss=loss)


METHODS = {"domains": _domains, "refreshed": _domains, "judged": _judged}
TURNS = {"refreshed": _refreshed}

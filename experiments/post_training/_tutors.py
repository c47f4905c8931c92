"""A tutor in the loop: it reads some answers, works the problem out again, and writes what it finds behind them."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.post_training._guides import stepwise_task
from experiments.post_training._learners import World, early_and_late, nothing_told, rewarded, steps_of
from experiments.post_training._policy_tasks import EOS
from jaxlab import post_training as pt
from jaxlab.core import Learner, masked_mean
from jaxlab.language.tasks import Problems
from jaxlab.post_training import PolicyState, Rollouts, thinktuning


def _tutored(world: World, arm: Any, **options: Any) -> Learner:
    """The tutor's tokens have a weight by the sign of the advantage, or, without `shaped`, a clipped ratio."""

    def loss(log_probs: jax.Array, r: Rollouts, advantage: jax.Array) -> tuple[jax.Array, dict]:
        values = thinktuning.thinktuning_loss(
            log_probs, r.log_probs, advantage, r.extra["written"] & arm.shaped, where=r.trained,
            clip_low=arm.clip_low, clip_high=arm.clip_high,
        )  # fmt: skip
        return pt.aggregate(values, r.trained, mode=arm.aggregation), {}

    return _with_tutor(world, arm, loss, **options)


def _after_imitation(world: World, arm: Any) -> Learner:
    """From a start that has imitated the tutor, without one."""
    return _tutored(world, arm, policy=lambda context: context["tutored"])


def imitated(world: World, arm: Any) -> Learner:
    """Maximum likelihood of answers that are right once the tutor has written behind them: a stage."""

    def loss(log_probs: jax.Array, r: Rollouts, advantage: jax.Array) -> tuple[jax.Array, dict]:
        taken = jnp.any(r.extra["written"], axis=1) & (r.rewards > 0)
        return -masked_mean(log_probs, where=r.mask & taken[:, None]), {}

    return _with_tutor(world, arm, loss)


def _with_tutor(world: World, arm: Any, loss: Any, **options: Any) -> Learner:
    """Answers are sampled, some are read, and what the tutor says is judged with them."""
    task = stepwise_task(world)

    def revise(state: PolicyState, problems: Problems, r: Rollouts, key: jax.Array, context: Any) -> Rollouts:
        read_key, answer_key = jax.random.split(key)
        rows = jax.tree.map(lambda x: jnp.repeat(x, world.config.group_size, axis=0), problems)
        read = thinktuning.select_for_feedback(read_key, r.rewards > 0, r.group, fraction=arm.fraction)
        written = task.revision(rows, _tutor(answer_key, rows.answers, arm.tutor_error))
        revised = jnp.mean(
            jnp.any((r.tokens == task.tokenizer.encode("?")[0]) & r.mask, axis=1).astype(jnp.float32)
        )
        r, new = pt.append(r, *written, read, eos=EOS)
        rewards = jnp.where(read, task.verify(rows, r.tokens, r.mask), r.rewards)
        began = pt.completion_scores(world.student, state.params, r, temperature=1.0)
        return r._replace(
            rewards=rewards, log_probs=jnp.where(new, began, r.log_probs), extra={"written": new, "revised": revised}
        )  # fmt: skip

    def remember(
        state: PolicyState, problems: Problems, r: Rollouts, advantage: jax.Array, context: Any
    ) -> dict:
        told = early_and_late(
            state.memory["told"], state.step, steps_of(world, arm), revised=r.extra["revised"]
        )
        return {"told": told}

    memory = lambda context: {"told": nothing_told("revised")}
    return rewarded(world, arm, memory=memory, revise=revise, loss=loss, remember=remember, **options)


def _tutor(key: jax.Array, answers: Any, error: float) -> jax.Array:
    """A tutor's answer, right but for a share of errors."""
    right, modulus = answers["values"][:, -1], answers["modulus"]
    wrong_key, shift_key = jax.random.split(key)
    shift = jax.random.randint(shift_key, right.shape, 1, modulus)
    return (right + jnp.where(jax.random.uniform(wrong_key, right.shape) < error, shift, 0)) % modulus


METHODS = {"tutored": _tutored, "after_tutor": _after_imitation}

"""Groups that fail are helped: by a teacher's answer, or by their own answer to a prompt with a hint.

For tasks whose solutions can be written out, in several styles: `jaxlab.language.tasks.stepwise`.
"""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.parts.checks import check_name
from experiments.post_training._learners import World, early_and_late, nothing_told, rewarded
from jaxlab import post_training as pt
from jaxlab.core import InputError, Learner
from jaxlab.language.tasks import GUIDANCE, STYLES, Problems, StepwiseTask
from jaxlab.post_training import PolicyState, Rollouts, adcl_egsr, ampo


def _teachers(world: World, arm: Any) -> Learner:
    """Teachers that write in different styles: failed groups get the answers that the arm's choice ranks highest.

    The rank is a sum of how well the student follows an answer, of chance, and of being the last teacher, each times a
    number of the arm's, so that all choices are one program.
    """
    task, styles, choice = stepwise_task(world), tuple(arm.styles), arm.choice
    for style in styles:
        check_name("style", style, STYLES)

    def revise(state: PolicyState, problems: Problems, r: Rollouts, key: jax.Array, context: Any) -> Rollouts:
        written = [task.derive(problems, style) for style in styles]
        tokens, mask = (jnp.stack(parts, axis=1) for parts in zip(*written))  # [P, M, N]
        rows = r._replace(tokens=_flat(tokens), mask=_flat(mask))
        log_probs = pt.completion_scores(world.student, state.params, rows, temperature=1.0).reshape(
            mask.shape
        )
        answer = jnp.arange(mask.shape[-1]) == jnp.sum(mask, axis=-1, keepdims=True) - 2  # before the end
        followed = ampo.comprehension_score(log_probs, where=answer)
        scores = (
            choice.followed * followed
            + choice.chance * jax.random.uniform(key, followed.shape)
            + choice.last * jnp.arange(len(styles))
        )
        index, _ = ampo.choose_guides(scores, jnp.ones_like(scores), count=arm.count)
        taken = lambda x: jnp.take_along_axis(x, index[..., None], axis=1)
        return _put_in(r, taken(tokens), taken(mask), jnp.ones(index.shape), taken(log_probs))

    return _guided(world, arm, revise, offset=0.1)


def _reformulated(world: World, arm: Any) -> Learner:
    """Failed groups get what the policy itself writes on a prompt with a hint, if that is right."""
    task = stepwise_task(world)
    check_name("hint", arm.hint, GUIDANCE)

    def revise(state: PolicyState, problems: Problems, r: Rollouts, key: jax.Array, context: Any) -> Rollouts:
        hint = task.guidance(problems, arm.hint, arm.style)
        prompts, prompt_mask = adcl_egsr.guided_prompts(r.prompts, r.prompt_mask, *hint)
        hinted = problems._replace(prompts=prompts, prompt_mask=prompt_mask)
        own = pt.roll_out(
            world.student, state.params, hinted, key, step=state.step, group_size=1, **world.sampling
        )
        right = task.verify(problems, own.tokens, own.mask)
        return _rescored(world, state, _put_in(r, own.tokens[:, None], own.mask[:, None], right[:, None]))

    return _guided(world, arm, revise)


def _inserted(world: World, arm: Any) -> Learner:
    """Failed groups get the expert's own text, as if the policy had written it."""
    task = stepwise_task(world)

    def revise(state: PolicyState, problems: Problems, r: Rollouts, key: jax.Array, context: Any) -> Rollouts:
        tokens, mask = task.derive(problems, arm.style)
        put = _put_in(r, tokens[:, None], mask[:, None], jnp.ones((len(tokens), 1)))
        return _rescored(world, state, put)

    return _guided(world, arm, revise)


def stepwise_task(world: World) -> StepwiseTask:
    """The task of the world, which has to be one that writes solutions."""
    if not isinstance(world.task, StepwiseTask):
        raise InputError(
            f"the task is {world.task.name!r}: a guide needs one that writes solutions, 'stepwise'"
        )
    return world.task


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(-1, x.shape[-1])


def _put_in(
    r: Rollouts, tokens: jax.Array, mask: jax.Array, rewards: jax.Array, log_probs: jax.Array | None = None
) -> Rollouts:
    """Answers that are right stand in for failures of the groups that failed altogether; `extra` says where."""
    failed = ampo.needs_guidance(r.rewards, r.group).reshape(len(tokens), -1)[:, :1]
    size = r.tokens.shape[0] // len(tokens)
    put, injected = pt.inject(r, tokens, mask, rewards, failed & (rewards > 0))
    if log_probs is not None and log_probs.shape[1] == 1:
        put = put._replace(
            log_probs=jnp.where(injected[:, None], jnp.repeat(log_probs[:, 0], size, axis=0), put.log_probs)
        )
    return put._replace(extra={"guided": injected, "failed": failed[:, 0]})


def _rescored(world: World, state: PolicyState, r: Rollouts) -> Rollouts:
    """What was put in has the probability that the policy gives it on the prompt without a hint."""
    log_probs = pt.completion_scores(world.student, state.params, r, temperature=1.0)
    guided = r.extra["guided"][:, None] & r.mask
    return r._replace(log_probs=jnp.where(guided, log_probs, r.log_probs))


def _guided(world: World, arm: Any, revise: Any, *, offset: float | None = None) -> Learner:
    """A learner from mixed groups; with an `offset` guided tokens have a shaped probability in the place of a ratio."""

    def loss(log_probs: jax.Array, r: Rollouts, advantage: jax.Array) -> tuple[jax.Array, dict]:
        guided = r.extra["guided"][:, None] & r.trained & (offset is not None)
        values = ampo.ampo_loss(
            log_probs, r.log_probs, advantage, guided, where=r.trained, offset=offset or 0.1,
            clip_low=arm.clip_low, clip_high=arm.clip_high,
        )  # fmt: skip
        return pt.aggregate(values, r.trained, mode=arm.aggregation), {}

    def remember(
        state: PolicyState, problems: Problems, r: Rollouts, advantage: jax.Array, context: Any
    ) -> dict:
        now = {name: jnp.mean(r.extra[name].astype(jnp.float32)) for name in ("failed", "guided")}
        return {"told": early_and_late(state.memory["told"], state.step, world.config.steps, **now)}

    memory = lambda context: {"told": nothing_told("failed", "guided")}
    return rewarded(world, arm, memory=memory, revise=revise, loss=loss, remember=remember)


def _alone(world: World, arm: Any) -> Learner:
    """Nobody helps, and failures are counted."""

    def revise(state: PolicyState, problems: Problems, r: Rollouts, key: jax.Array, context: Any) -> Rollouts:
        failed = ampo.needs_guidance(r.rewards, r.group)
        nobody = jnp.zeros_like(failed)
        return r._replace(extra={"guided": nobody, "failed": failed})

    return _guided(world, arm, revise)


METHODS = {"alone": _alone, "teachers": _teachers, "reformulated": _reformulated, "inserted": _inserted}

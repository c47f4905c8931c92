"""Learning from what another policy has sampled: an older one, or the same one in coarser arithmetic."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.parts.checks import check_between, check_name
from experiments.post_training._learners import World, of_student, rewarded
from jaxlab import post_training as pt
from jaxlab.core import Learner, masked_mean
from jaxlab.language import round_weights
from jaxlab.post_training import PolicyState, Rollouts

TYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def _clipped(log_probs: jax.Array, old: jax.Array, r: Rollouts, advantage: jax.Array) -> jax.Array:
    ratio = pt.token_importance_ratio(log_probs, old, where=r.trained)
    return pt.ppo_clip_loss(ratio, advantage, where=r.trained)


def _weighted(weight: Callable, log_probs: jax.Array, r: Rollouts, advantage: jax.Array) -> jax.Array:
    """The surrogate against the learner as the batch began, times a weight for its distance from the sampler."""
    began = r.extra["began"]
    return _clipped(log_probs, began, r, advantage) * weight(began, r.log_probs, where=r.trained)


def _dppo(log_probs: jax.Array, r: Rollouts, advantage: jax.Array) -> jax.Array:
    """The importance ratio to the sampler, inside a trust region of probabilities."""
    ratio = pt.token_importance_ratio(log_probs, r.log_probs, where=r.trained)
    kept = pt.dppo_mask(log_probs, r.log_probs, advantage, where=r.trained)
    return kept * pt.gpg_loss(log_probs, advantage, where=r.trained) * jax.lax.stop_gradient(ratio)


# Losses per token that know two policies besides the one that learns: the learner at the beginning of the batch, and
# the sampler.
CORRECTIONS: dict[str, Callable[[jax.Array, Rollouts, jax.Array], jax.Array]] = {
    "none": lambda log_probs, r, advantage: _clipped(log_probs, r.extra["began"], r, advantage),
    "clipped": lambda log_probs, r, advantage: _clipped(log_probs, r.log_probs, r, advantage),
    "truncated": functools.partial(_weighted, pt.truncated_importance_weight),
    "icepop": functools.partial(
        _weighted, functools.partial(pt.masked_importance_weight, level="token", low=0.5, high=5.0)
    ),
    "masked": functools.partial(_weighted, pt.masked_importance_weight),
    "dppo": _dppo,
}


def _mismatched(world: World, arm: Any) -> Learner:
    """Samples of a policy that is `age` steps old, of another type, or rounded to `bits`.

    The loss is a sum of corrections, each times a number of the arm's, so that all of them are one program.
    """
    sampler, slots = arm.sampler, arm.sampler.age + 1
    check_between("sampler.age", sampler.age, 1000, least=0)
    check_name("sampler.type", sampler.type, TYPES)

    def memory(context: Any) -> dict[str, Any]:
        past = jax.tree.map(lambda x: jnp.repeat(x[None], slots, axis=0), of_student(context))
        return {"past": past, "told": {"mismatch": jnp.float32(0), "mismatch_max": jnp.float32(0)}}

    def generate(state: PolicyState, problems: Any, key: jax.Array, context: Any) -> Rollouts:
        params = jax.tree.map(lambda x: x[(state.step + 1) % slots], state.memory["past"])
        params = params if sampler.bits is None else round_weights(params, bits=sampler.bits)
        params = jax.tree.map(lambda x: x.astype(TYPES[sampler.type]), params)
        return pt.roll_out(
            world.student, params, problems, key, step=state.step, group_size=world.config.group_size,
            **world.sampling,
        )  # fmt: skip

    def revise(state: PolicyState, problems: Any, r: Rollouts, key: jax.Array, context: Any) -> Rollouts:
        began = pt.completion_scores(world.student, state.params, r, temperature=1.0)
        return r._replace(extra={"began": began})

    def loss(log_probs: jax.Array, r: Rollouts, advantage: jax.Array) -> tuple[jax.Array, dict]:
        parts = (share * CORRECTIONS[name](log_probs, r, advantage) for name, share in arm.correction.items())
        return pt.aggregate(sum(parts), r.trained, mode=arm.aggregation), {}

    def remember(state: PolicyState, problems: Any, r: Rollouts, advantage: jax.Array, context: Any) -> dict:
        gap = jnp.where(r.mask, jnp.abs(r.extra["began"] - r.log_probs), 0.0)
        told = state.memory["told"]
        mean = told["mismatch"] + (masked_mean(gap, where=r.mask) - told["mismatch"]) / state.step
        newest = jax.tree.map(
            lambda x, new: x.at[state.step % slots].set(new), state.memory["past"], state.params
        )
        return {
            "past": newest,
            "told": {"mismatch": mean, "mismatch_max": jnp.maximum(told["mismatch_max"], jnp.max(gap))},
        }

    return rewarded(world, arm, memory=memory, generate=generate, revise=revise, loss=loss, remember=remember)


METHODS = {"mismatched": _mismatched}

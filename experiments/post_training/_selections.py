"""Learning from some answers otherwise than from others: by what is right in them, or by how much they tell."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.post_training._learners import World, rewarded
from jaxlab import post_training as pt
from jaxlab.core import Learner, masked_mean
from jaxlab.language import completion_hidden, output_matrix, token_statistics
from jaxlab.post_training import PolicyState, Rollouts, d3s, nft


def _negative_aware(world: World, arm: Any) -> Learner:
    """Maximum likelihood of right answers and, through the implicit policy, of wrong ones; of groups with both."""

    def loss(log_probs: jax.Array, r: Rollouts, _: jax.Array) -> tuple[jax.Array, dict]:
        right = r.rewards > 0
        values = nft.nft_loss(
            log_probs, r.log_probs, right, nft.correct_rate(right, r.group), where=r.trained,
            negative_weight=arm.negative_weight, floor=arm.floor, prompt_weight=arm.prompt_weight,
        )  # fmt: skip
        both = pt.dynamic_sampling_weights(r.rewards, r.group)
        return pt.aggregate(values * both[:, None], r.trained, mode=arm.aggregation), {}

    return rewarded(world, arm, loss=loss, advantage=lambda r: jnp.zeros_like(r.rewards))


def _down_sampled(world: World, arm: Any) -> Learner:
    """The surrogate on the rollouts of the largest variance, and there on the tokens of most advantage and doubt.

    Both shares go in a straight line from where they begin to where they end.
    """
    steps, rows = world.config.steps, world.config.prompts * world.config.group_size

    def revise(state: PolicyState, problems: Any, r: Rollouts, key: jax.Array, context: Any) -> Rollouts:
        progress = state.step / steps
        count = jnp.maximum(jnp.round(rows * d3s.relaxed(progress, *arm.rollouts.values())), 1)
        fraction = d3s.relaxed(progress, *arm.tokens.values())
        hidden = completion_hidden(world.student, state.params, r.prompts, r.prompt_mask, r.tokens, r.mask)
        _, entropy = token_statistics(hidden, output_matrix(state.params), r.tokens)
        advantage = pt.grpo_advantage(r.rewards, r.group)
        kept = d3s.d3s_mask(
            advantage, entropy, r.mask, num_rollouts=count.astype(jnp.int32), token_fraction=fraction
        )
        return r._replace(trained=kept)

    return rewarded(world, arm, revise=revise, **_counting_idle())


def _random_subset(world: World, arm: Any) -> Learner:
    """As many rollouts as `_down_sampled` keeps, drawn at random."""
    steps, rows = world.config.steps, world.config.prompts * world.config.group_size

    def revise(state: PolicyState, problems: Any, r: Rollouts, key: jax.Array, context: Any) -> Rollouts:
        count = jnp.maximum(jnp.round(rows * d3s.relaxed(state.step / steps, *arm.rollouts.values())), 1)
        kept = jax.random.permutation(key, rows) < count
        return r._replace(trained=r.trained & kept[:, None])

    return rewarded(world, arm, revise=revise, **_counting_idle())


def _counting_idle() -> dict[str, Any]:
    """Memory of the share of rollouts whose advantage is 0: those that teach nothing."""

    def remember(state: PolicyState, problems: Any, r: Rollouts, advantage: jax.Array, context: Any) -> dict:
        idle, now = state.memory["told"]["idle"], jnp.mean((advantage == 0).astype(jnp.float32))
        kept = state.memory["told"]["kept"]
        share = masked_mean(r.trained.astype(jnp.float32), where=r.mask)
        return {
            "told": {"idle": idle + (now - idle) / state.step, "kept": kept + (share - kept) / state.step}
        }

    memory = lambda context: {"told": {"idle": jnp.float32(0), "kept": jnp.float32(0)}}
    return {"memory": memory, "remember": remember}


METHODS = {"nft": _negative_aware, "d3s": _down_sampled, "random_subset": _random_subset}

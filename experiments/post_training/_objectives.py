"""From an arm's settings to its advantage and its loss: the parts of the GRPO family, put together by name."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.parts.checks import choose
from jaxlab import post_training as pt
from jaxlab.core import InputError, masked_mean
from jaxlab.post_training import Rollouts, kdrl

ADVANTAGES: dict[str, Callable[[jax.Array, Rollouts], jax.Array]] = {
    "grpo": lambda rewards, r: pt.grpo_advantage(rewards, r.group),
    "dr_grpo": lambda rewards, r: pt.dr_grpo_advantage(rewards, r.group),
    "rloo": lambda rewards, r: pt.rloo_advantage(rewards, r.group),
    "opo": lambda rewards, r: pt.opo_advantage(rewards, jnp.sum(r.mask, axis=1), r.group),
    "reinforce_pp_baseline": lambda rewards, r: pt.reinforce_pp_baseline_advantage(rewards, r.group, r.mask),
    "pass_at_k": lambda rewards, r: pt.pass_at_k_advantage(rewards, r.group),
    "none": lambda rewards, r: jnp.zeros_like(rewards),
}

RATIOS: dict[str, Callable] = {
    "token": pt.token_importance_ratio,
    "sequence": pt.sequence_importance_ratio,
}


def advantage_of(arm: Any, max_length: int) -> Callable[[Rollouts], jax.Array]:
    """The advantage `[B]` or `[B, N]`, from rewards that may carry a penalty for length."""
    estimate = choose("advantage", arm.advantage, ADVANTAGES)

    def advantage(rollouts: Rollouts) -> jax.Array:
        rewards = rollouts.rewards
        if arm.overlong_buffer:
            length = jnp.sum(rollouts.mask, axis=1)
            rewards += pt.overlong_penalty(
                length, max_length=max_length, buffer=arm.overlong_buffer, factor=arm.overlong_factor
            )
        value = estimate(rewards, rollouts)
        if not arm.dynamic_sampling:
            return value
        weights = pt.dynamic_sampling_weights(rollouts.rewards, rollouts.group, rescale=True)
        return value * weights.reshape(-1, *(1,) * (value.ndim - 1))

    return advantage


def loss_of(arm: Any) -> Callable:
    """The loss of log-probabilities: a surrogate, and beta times the divergence from a teacher if there is one."""
    ratio_of = choose("ratio", arm.ratio, RATIOS)
    beta_of = _beta(arm.teacher) if "teacher" in arm else None

    def loss(log_probs: jax.Array, r: Rollouts, advantage: jax.Array) -> tuple[jax.Array, dict]:
        ratio = ratio_of(log_probs, r.log_probs, where=r.trained)
        surrogate = pt.ppo_clip_loss(
            ratio, advantage, where=r.trained, clip_low=arm.clip_low, clip_high=arm.clip_high
        )
        value = pt.aggregate(surrogate, r.trained, mode=arm.aggregation)
        clipped = pt.clip_fraction(
            ratio, advantage, where=r.trained, clip_low=arm.clip_low, clip_high=arm.clip_high
        )
        return value, {"clipped": clipped}

    def with_teacher(log_probs: jax.Array, r: Rollouts, advantage: jax.Array) -> tuple[jax.Array, dict]:
        beta, keep = beta_of(r.step), kdrl.kd_keep_mask(r.rewards > 0, r.group, mode=arm.teacher.keep)
        value = kdrl.kdrl_loss(
            log_probs, r.log_probs, r.teacher_log_probs, advantage, r.trained, keep=keep, beta=beta,
            kind=arm.teacher.kind, denominator=arm.teacher.denominator, clip=arm.teacher.clip,
        )  # fmt: skip
        divergence = masked_mean(r.log_probs - r.teacher_log_probs, where=r.trained)
        return value, {"beta": beta, "teacher_kl": divergence}

    return loss if beta_of is None else with_teacher


def check_loss(arm: ConfigDict) -> None:
    """Refuse settings that contradict each other: the loss is traced on next to nothing."""
    if "teacher" in arm and not 0 <= arm.teacher.beta_minimum <= arm.teacher.beta:
        beta, minimum = arm.teacher.beta, arm.teacher.beta_minimum
        raise InputError(f"beta is {beta}: it must be at least 0 and beta_minimum {minimum}")
    tokens, row = jnp.zeros((2, 3)), jnp.zeros(2)
    rollouts = Rollouts(
        jnp.zeros((1, 2), int), jnp.ones((1, 2), bool), jnp.zeros((2, 3), int), jnp.ones((2, 3), bool), tokens,
        tokens, row, jnp.zeros(2, int), jnp.int32(0), jnp.ones((2, 3), bool),
    )  # fmt: skip
    jax.eval_shape(loss_of(arm), tokens, rollouts, row)


def _beta(teacher: Any) -> Callable[[jax.Array], jax.Array]:
    return functools.partial(
        kdrl.annealed_beta,
        initial=teacher.beta,
        minimum=teacher.beta_minimum,
        decrement=teacher.beta_decrement,
    )

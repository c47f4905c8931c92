"""Reinforcement from verifiable rewards as one pure update: sample, verify, score, improve."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxlab.core import Learner, master_weights
from jaxlab.core.check import InputError
from jaxlab.language import Decoder
from jaxlab.post_training._policy_step import (
    Advantage,
    Generate,
    Judge,
    PolicyLoss,
    PolicyState,
    Pose,
    Remember,
    Revise,
    Rollouts,
    check_one_judge,
    check_sizes,
    completion_scores,
    for_each_row,
    improve,
    roll_out,
    slot_key,
    start,
    summary,
)


def rlvr_learner(
    model: Decoder,
    *,
    policy: Callable[[Any], Any],
    verify: Callable[[Any, jax.Array, jax.Array], jax.Array] | None = None,
    advantage: Advantage,
    loss: PolicyLoss,
    optimizer: optax.GradientTransformation,
    group_size: int,
    max_new_tokens: int,
    eos: int | Sequence[int],
    teacher: tuple[Decoder, Callable[[Any], Any]] | None = None,
    memory: Callable[[Any], Any] = lambda context: (),
    pose: Pose | None = None,
    generate: Generate | None = None,
    judge: Judge | None = None,
    revise: Revise | None = None,
    remember: Remember | None = None,
    minibatches: int = 1,
    passes: int = 1,
    microbatches: int = 1,
    temperature: float = 1.0,
    stop_early: bool = False,
    segment: int = 32,
) -> Learner:
    """The whole iteration of reinforcement learning from verifiable rewards as one compiled `update`.

    A batch of problems becomes G completions each, the verifier turns them into rewards, `advantage` into advantages, a
    teacher, where there is one, scores the same tokens, and the policy takes one optimizer step per minibatch on
    `loss`. With one minibatch and one pass the importance ratio is 1, and clipping never acts. `advantage` sees the
    whole batch, `loss` a minibatch of whole groups. Seeds can be mapped over the update and a mesh can split it.

    Between the batch and the update stand five slots; one that is left empty does what was said above, at no cost. Each
    is told the state first, of which `params`, `step` and `memory` are of interest, and the context last.

        pose(state, batch, key, context) -> problems                which problems: a curriculum
        generate(state, problems, key, context) -> Rollouts         how answers arise: tools, several turns
        judge(state, problems, rollouts, context) -> Rollouts       with `rewards`: graded, several judges, learned ones
        revise(state, problems, rollouts, key, context) -> Rollouts before the update: `inject`, `append`, leave out
        remember(state, problems, rollouts, advantage, context) -> memory       after it

    Args:
      model: the policy's shape.
      policy: `context -> params`, where the policy starts.
      verify: `(problems, tokens [B, N], mask [B, N]) -> [B]`, rewards; a row of `problems` for each completion.
      advantage: `Rollouts -> [B]` or `[B, N]`. A new estimator is one function: `lambda r: r.rewards - 0.5`.
      loss: `(log_probs [B, N], rollouts, advantage) -> (scalar, metrics)`; `log_probs` carry the gradient.
      optimizer: any optax transformation; parameters in half precision learn in float32, see `master_weights`.
      group_size, max_new_tokens: completions per prompt, G, and their length, N.
      eos: the id or ids that end a completion.
      teacher: its shape and `context -> params`; its log-probabilities, of what `revise` left, enter `Rollouts`.
      memory: `context -> ` what is remembered before the first batch; `state.memory` keeps its structure and shapes.
      pose: makes problems of a batch and what is remembered; None takes the batch.
      generate: None is `roll_out`. It may return more completions per prompt, or longer ones.
      judge: in the place of `verify`; a row of `problems` for each completion.
      revise: a row of `problems` for each prompt; as many completions for each come out. What it adds needs
        `log_probs`, by `completion_scores`, if the loss has a ratio. `reward`, `length` and `entropy` are of before.
      remember: the state after the update, the rollouts that were learned from, a row of `problems` for each prompt.
      minibatches, passes: updates per pass, a divisor of the number of prompts; passes over the batch.
      microbatches: parts of an update that are computed one after another, for less memory and the same result; a
        divisor of the prompts of an update. The teacher scores in parts of that size too.
      temperature, stop_early, segment: see `sample`.

    Returns:
      A learner whose batches are problems with fields `prompts` and `prompt_mask`, with the metrics `loss`,
      `gradient_norm` and the loss's own, averaged over the updates; `reward`, `length`, `entropy` (an estimate from the
      sampled tokens), `truncated`, `groups_solved` and `groups_failed`, the shares of groups without a difference; and
      `mismatch_mean` and `mismatch_max`, how far log-probabilities of the first update are from the sampler's.

    Raises:
      ValueError: a group size, number of minibatches or passes below 1, a teacher with another vocabulary,
        minibatches or microbatches that do not divide the prompts, both or neither of `verify` and `judge`.

    Reference: Shao et al., DeepSeekMath, 2024, algorithm 1, with the verifier in the place of the reward model.

    >>> from jaxlab.post_training import aggregate, gpg_loss, grpo_advantage
    >>> def loss(log_probs, rollouts, advantage):
    ...     return aggregate(gpg_loss(log_probs, advantage), rollouts.mask), {}
    >>> model = Decoder(vocab_size=5, width=8, num_layers=1, num_heads=2)
    >>> learner = rlvr_learner(
    ...     model, policy=lambda context: model.init(jax.random.key(0)), loss=loss, optimizer=optax.sgd(0.1),
    ...     verify=lambda problems, tokens, mask: (tokens[:, 0] == 3).astype(jnp.float32),
    ...     advantage=lambda r: grpo_advantage(r.rewards, r.group), group_size=4, max_new_tokens=2, eos=2)
    >>> learner.jit
    True
    """
    check_sizes(group_size=group_size, minibatches=minibatches, passes=passes, microbatches=microbatches)
    check_one_judge(verify, judge, "verify", "verify(problems, tokens, mask) gives rewards")
    generate = generate or _sampler(
        model, group_size=group_size, max_new_tokens=max_new_tokens, eos=eos, temperature=temperature,
        stop_early=stop_early, segment=segment,
    )  # fmt: skip
    judge = judge or _verifier(verify)
    optimizer = master_weights(optimizer)
    score = functools.partial(completion_scores, temperature=temperature)
    teach = _teacher(model, teacher, functools.partial(score, microbatches=minibatches * microbatches))

    def begin(key: jax.Array, context: Any) -> PolicyState:
        return start(policy(context), optimizer, memory(context))

    def update(state: PolicyState, batch: Any, key: jax.Array, context: Any) -> tuple[PolicyState, Any]:
        sample_key, order_key = jax.random.split(key)
        problems = pose(state, batch, slot_key(key, "pose"), context) if pose else batch
        rollouts = generate(state, problems, sample_key, context)
        rollouts = judge(state, for_each_row(problems, rollouts), rollouts, context)
        seen = summary(rollouts, eos)
        if revise:
            rollouts = revise(state, problems, rollouts, slot_key(key, "revise"), context)
        rollouts = teach(rollouts, context)
        weight = jax.lax.stop_gradient(advantage(rollouts))
        state, metrics = improve(
            state, rollouts, weight, order_key, seen=seen, loss=loss, optimizer=optimizer, minibatches=minibatches,
            passes=passes, score=functools.partial(score, model, microbatches=microbatches),
        )  # fmt: skip
        if remember:
            state = state._replace(memory=remember(state, problems, rollouts, weight, context))
        return state, metrics

    return Learner(begin, update)


def _sampler(model: Decoder, **sampling: Any) -> Generate:
    """Completions of the policy itself."""

    def generate(state: PolicyState, problems: Any, key: jax.Array, context: Any) -> Rollouts:
        return roll_out(model, state.params, problems, key, step=state.step, **sampling)

    return generate


def _verifier(verify: Callable[[Any, jax.Array, jax.Array], jax.Array]) -> Judge:
    """Rewards of tokens alone."""

    def judge(state: PolicyState, problems: Any, rollouts: Rollouts, context: Any) -> Rollouts:
        rewards = verify(problems, rollouts.tokens, rollouts.mask).astype(jnp.float32)
        return rollouts._replace(rewards=rewards)

    return judge


def _teacher(
    model: Decoder, teacher: tuple[Decoder, Callable[[Any], Any]] | None, score: Callable[..., jax.Array]
) -> Callable[[Rollouts, Any], Rollouts]:
    """The teacher's log-probabilities of the same tokens, where there is a teacher."""
    if not teacher:
        return lambda rollouts, context: rollouts
    shape, params = teacher
    if shape.vocab_size != model.vocab_size:
        raise InputError(
            f"the teacher's vocabulary has {shape.vocab_size} tokens and the policy's {model.vocab_size}: "
            "scoring the policy's tokens needs the same one"
        )

    def teach(rollouts: Rollouts, context: Any) -> Rollouts:
        log_probs = score(shape, params(context), rollouts)
        return rollouts._replace(teacher_log_probs=jnp.where(rollouts.mask, log_probs, 0.0))

    return teach

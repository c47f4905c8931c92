"""Reinforcement from verifiable rewards as one pure update: sample, verify, score, improve."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxlab.core import Learner, masked_mean
from jaxlab.language import Decoder, completion_hidden, output_matrix, sample, token_log_probs


class Rollouts(NamedTuple):
    """A batch of completions, and everything that an advantage or a loss may ask of it. Nothing here is differentiated.

    Attributes:
      prompts: `[P, T]` int32.
      prompt_mask: `[P, T]` bool.
      tokens: `[B, N]` int32 with B = P G, the completions of one prompt side by side.
      mask: `[B, N]` bool, the sampled tokens, the end included.
      log_probs: `[B, N]` float32, under the policy that sampled, when it sampled.
      teacher_log_probs: `[B, N]` float32 of the same tokens under the teacher; zeros without one.
      rewards: `[B]` float32.
      group: `[B]` int32, the prompt of each completion.
      step: int32 scalar, the number of batches before this one.
    """

    prompts: jax.Array
    prompt_mask: jax.Array
    tokens: jax.Array
    mask: jax.Array
    log_probs: jax.Array
    teacher_log_probs: jax.Array
    rewards: jax.Array
    group: jax.Array
    step: jax.Array


class PolicyState(NamedTuple):
    """State of `rlvr_learner`: the policy, its optimizer, what stays as it is, and the number of batches seen."""

    params: Any
    opt_state: Any
    frozen: Any
    step: jax.Array


Advantage = Callable[[Rollouts], jax.Array]
PolicyLoss = Callable[[jax.Array, Rollouts, jax.Array], tuple[jax.Array, Mapping[str, jax.Array]]]


def rlvr_learner(
    model: Decoder,
    *,
    policy: Callable[[Any], Any],
    verify: Callable[[Any, jax.Array, jax.Array], jax.Array],
    advantage: Advantage,
    loss: PolicyLoss,
    optimizer: optax.GradientTransformation,
    group_size: int,
    max_new_tokens: int,
    eos: int,
    teacher: tuple[Decoder, Callable[[Any], Any]] | None = None,
    minibatches: int = 1,
    passes: int = 1,
    temperature: float = 1.0,
    stop_early: bool = False,
) -> Learner:
    """The whole iteration of reinforcement learning from verifiable rewards as one compiled `update`.

    A batch of problems becomes G completions each, the verifier turns them into rewards, `advantage` into
    advantages, a teacher, where there is one, scores the same tokens, and the policy takes one optimizer step per
    minibatch on `loss`. Written for the global batch, so seeds can be mapped over it and a mesh can split it.

    With one minibatch and one pass the update is strictly on-policy and the importance ratio is 1; clipping then
    never acts. `advantage` sees the whole batch, `loss` a minibatch of whole groups.

    Args:
      model: the policy's shape.
      policy: `context -> params`, where the policy starts.
      verify: `(problems, tokens [B, N], mask [B, N]) -> [B]`, rewards; `problems` has its rows repeated to match.
      advantage: `Rollouts -> [B]` or `[B, N]`. A new estimator is one function: `lambda r: r.rewards - 0.5`.
      loss: `(log_probs [B, N], rollouts, advantage) -> (scalar, metrics)`; `log_probs` carry the gradient.
      optimizer: any optax transformation.
      group_size: completions per prompt, G.
      max_new_tokens: N.
      eos: id of the end of a completion.
      teacher: the teacher's shape and `context -> params`; its log-probabilities enter `Rollouts`.
      minibatches: updates per pass; a divisor of the number of prompts.
      passes: passes over the batch.
      temperature: of the sampling.
      stop_early: see `sample`; for one seed with long completions.

    Returns:
      A learner whose batches are problems with fields `prompts` and `prompt_mask`, with the metrics `loss`,
      `reward`, `length`, `entropy` (an estimate from the sampled tokens) and the loss's own, averaged over the updates.

    Raises:
      ValueError: a group size, number of minibatches or passes below 1, a teacher with another vocabulary,
        minibatches that do not divide the prompts.

    Reference: DeepSeekMath (2024), algorithm 1, with the verifier in the place of the reward model.

    >>> from jaxlab.post_training import aggregate, gpg_loss, grpo_advantage
    >>> def loss(log_probs, rollouts, advantage):
    ...     return aggregate(gpg_loss(log_probs, advantage[:, None]), rollouts.mask), {}
    >>> model = Decoder(vocab_size=5, width=8, num_layers=1, num_heads=2)
    >>> learner = rlvr_learner(
    ...     model, policy=lambda context: model.init(jax.random.key(0)), loss=loss, optimizer=optax.sgd(0.1),
    ...     verify=lambda problems, tokens, mask: (tokens[:, 0] == 3).astype(jnp.float32),
    ...     advantage=lambda r: grpo_advantage(r.rewards, r.group), group_size=4, max_new_tokens=2, eos=2)
    >>> sorted(learner._fields)
    ['init', 'jit', 'update']
    """
    for name, value in (("group_size", group_size), ("minibatches", minibatches), ("passes", passes)):
        if value < 1:
            raise ValueError(f"{name} is {value}: it must be at least 1")
    if teacher and teacher[0].vocab_size != model.vocab_size:
        raise ValueError(
            f"the teacher's vocabulary has {teacher[0].vocab_size} tokens and the policy's {model.vocab_size}: "
            "scoring the policy's tokens needs the same one"
        )

    def score(shape: Decoder, params: Any, r: Rollouts) -> jax.Array:
        hidden = completion_hidden(shape, params, r.prompts, r.prompt_mask, r.tokens, r.mask)
        return token_log_probs(hidden, output_matrix(params), r.tokens, temperature=temperature or 1.0)

    def begin(key: jax.Array, context: Any) -> PolicyState:
        params = policy(context)
        frozen = teacher[1](context) if teacher else {}
        return PolicyState(params, optimizer.init(params), frozen, jnp.int32(0))

    def roll_out(state: PolicyState, problems: Any, key: jax.Array) -> Rollouts:
        out = sample(
            model, state.params, problems.prompts, problems.prompt_mask, key, max_new_tokens=max_new_tokens,
            eos=eos, num_samples=group_size, temperature=temperature, stop_early=stop_early,
        )  # fmt: skip
        rows = jax.tree.map(lambda x: jnp.repeat(x, group_size, axis=0), problems)
        rewards = verify(rows, out.tokens, out.mask).astype(jnp.float32)
        group = jnp.repeat(jnp.arange(problems.prompts.shape[0], dtype=jnp.int32), group_size)
        rollouts = Rollouts(
            problems.prompts, problems.prompt_mask.astype(bool), out.tokens, out.mask, out.log_probs,
            jnp.zeros_like(out.log_probs), rewards, group, state.step,
        )  # fmt: skip
        if not teacher:
            return rollouts
        of_teacher = jnp.where(out.mask, score(teacher[0], state.frozen, rollouts), 0.0)
        return rollouts._replace(teacher_log_probs=of_teacher)

    def improve(carry: tuple, part: tuple[Rollouts, jax.Array]) -> tuple[tuple, Any]:
        params, opt_state = carry
        rollouts, weight = part

        def objective(params: Any) -> tuple[jax.Array, Any]:
            return loss(score(model, params, rollouts), rollouts, weight)

        (value, metrics), grads = jax.value_and_grad(objective, has_aux=True)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), {"loss": value, **metrics}

    def update(state: PolicyState, problems: Any, key: jax.Array) -> tuple[PolicyState, Any]:
        sample_key, order_key = jax.random.split(key)
        rollouts = jax.lax.stop_gradient(roll_out(state, problems, sample_key))
        whole = (rollouts, jax.lax.stop_gradient(advantage(rollouts)))
        carry = (state.params, state.opt_state)
        if minibatches * passes == 1:
            carry, metrics = improve(carry, whole)
        else:
            parts = _minibatches(order_key, whole, group_size, minibatches, passes)
            carry, metrics = jax.lax.scan(improve, carry, parts)
            metrics = jax.tree.map(jnp.mean, metrics)
        seen = {
            "reward": jnp.mean(rollouts.rewards),
            "length": jnp.mean(jnp.sum(rollouts.mask, axis=1)),
            "entropy": -masked_mean(rollouts.log_probs, where=rollouts.mask),
        }
        return PolicyState(*carry, state.frozen, state.step + 1), {**metrics, **seen}

    return Learner(begin, update)


def _minibatches(
    key: jax.Array, whole: tuple[Rollouts, jax.Array], size: int, count: int, passes: int
) -> Any:
    """Whole groups in random order, `[passes * count, ...]`: what the updates of one batch see one after another."""
    rollouts, weight = whole
    prompts = rollouts.prompts.shape[0]
    if prompts % count:
        raise ValueError(f"minibatches is {count}: it must divide the {prompts} prompts of a batch")
    each = prompts // count
    orders = [jax.random.permutation(jax.random.fold_in(key, index), prompts) for index in range(passes)]
    chosen = jnp.concatenate(orders).reshape(passes * count, each)

    def pick(x: jax.Array) -> jax.Array:
        if x.ndim == 0:
            return jnp.broadcast_to(x, (passes * count,))
        if x.shape[0] == prompts:
            return x[chosen]
        groups = x.reshape(prompts, size, *x.shape[1:])[chosen]
        return groups.reshape(passes * count, each * size, *x.shape[1:])

    parts, weights = Rollouts(*map(pick, rollouts)), pick(weight)
    group = jnp.repeat(jnp.arange(each, dtype=jnp.int32), size)
    return parts._replace(group=jnp.broadcast_to(group, parts.group.shape)), weights

"""What one step on a policy is made of, wherever its verifier runs: sample, score, improve."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlab.core import masked_mean
from jaxlab.core.check import InputError, as_pair, check_loss, check_state
from jaxlab.language import Decoder, completion_hidden, output_matrix, sample, token_log_probs
from jaxlab.post_training._importance import log_ratio


class Rollouts(NamedTuple):
    """A batch of completions, and everything that an advantage or a loss may ask of it. Nothing here is differentiated.

    Attributes:
      prompts: `[P, T]` int32.
      prompt_mask: `[P, T]` bool.
      tokens: `[B, N]` int32 with B = P G, the completions of one prompt side by side.
      mask: `[B, N]` bool, the tokens that exist, the end included.
      log_probs: `[B, N]` float32, under the policy that sampled, when it sampled.
      teacher_log_probs: `[B, N]` float32 of the same tokens under the teacher; zeros without one.
      rewards: `[B]` float32.
      group: `[B]` int32, the prompt of each completion.
      step: int32 scalar, the number of batches before this one.
      trained: `[B, N]` bool, those of the mask that the policy learns from: by itself all of it. A tool's answer, say,
        exists and is not trained.
      extra: pytree, what a method wants to know besides, for its advantage and its loss. Its leaves are `[P, ...]`,
        `[B, ...]` or scalars, and are cut into minibatches like all else.
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
    trained: jax.Array
    extra: Any = ()


class PolicyState(NamedTuple):
    """State of `rlvr_learner` and `text_rlvr_learner`.

    Attributes:
      params: the policy's.
      opt_state: the optimizer's.
      step: int32 scalar, batches seen.
      mean_reward: float32 scalar, over all of them: the area under the learning curve divided by its length.
      memory: pytree, what the slots of the learner remember; nothing, by default.
    """

    params: Any
    opt_state: Any
    step: jax.Array
    mean_reward: jax.Array
    memory: Any = ()


Advantage = Callable[[Rollouts], jax.Array]
PolicyLoss = Callable[[jax.Array, Rollouts, jax.Array], tuple[jax.Array, Mapping[str, jax.Array]]]

# What may change between a batch and an update. Every slot is told the state first and the context last.
Pose = Callable[[PolicyState, Any, jax.Array, Any], Any]
Generate = Callable[[PolicyState, Any, jax.Array, Any], Rollouts]
Judge = Callable[[PolicyState, Any, Rollouts, Any], Rollouts]
Revise = Callable[[PolicyState, Any, Rollouts, jax.Array, Any], Rollouts]
Remember = Callable[[PolicyState, Any, Rollouts, jax.Array, Any], Any]


def slot_key(key: jax.Array, slot: str) -> jax.Array:
    """A key of the slot's own, so that one that is filled changes nothing that others draw."""
    return jax.random.fold_in(key, zlib.crc32(slot.encode()))


def start(params: Any, optimizer: optax.GradientTransformation, memory: Any) -> PolicyState:
    """The state before the first batch."""
    return PolicyState(params, optimizer.init(params), jnp.int32(0), jnp.float32(0), memory)


def check_sizes(**sizes: int) -> None:
    """A line for the first of these that is not at least 1."""
    for name, value in sizes.items():
        if value < 1:
            raise InputError(f"{name} is {value}: it must be at least 1")


def check_one_judge(verifier: Any, judge: Any, name: str, does: str) -> None:
    """A verifier or a judge, one of the two."""
    if (verifier is None) == (judge is None):
        raise InputError(f"either {name} or judge is needed: {does}")


def for_each_row(problems: Any, rollouts: Rollouts) -> Any:
    """The problems with a row for each completion."""
    times = rollouts.tokens.shape[0] // rollouts.prompts.shape[0]
    repeat = lambda x: x.repeat(times, axis=0) if isinstance(x, np.ndarray) else jnp.repeat(x, times, axis=0)
    return jax.tree.map(repeat, problems)


def completion_scores(
    model: Decoder, params: Any, r: Rollouts, *, temperature: float, microbatches: int = 1
) -> jax.Array:
    """Log-probabilities of the tokens of rollouts under a model, which may be another than the one that sampled.

    With several microbatches, one after the other in both directions, the activations of one part are alive at a
    time and the gradient is the sum over parts: exactly that of the whole, whatever the loss makes of the result.

    Args:
      model: the model's shape.
      params: its parameters; gradients flow.
      r: the rollouts; `prompts`, `prompt_mask`, `tokens` and `mask` are read.
      temperature: of the distribution, static; 0 counts as 1.
      microbatches: a divisor of the number of prompts.

    Returns:
      `[B, N]` float32; meaningless outside the mask.

    Raises:
      ValueError: microbatches that do not divide the prompts.

    >>> from typing import NamedTuple
    >>> class Problems(NamedTuple):
    ...     prompts: jax.Array
    ...     prompt_mask: jax.Array
    >>> model = Decoder(vocab_size=7, width=8, num_layers=1, num_heads=2)
    >>> params, problems = model.init(jax.random.key(0)), Problems(jnp.array([[3, 4]]), jnp.ones((1, 2), bool))
    >>> r = roll_out(
    ...     model, params, problems, jax.random.key(1), step=jnp.int32(0), group_size=3, max_new_tokens=2, eos=2)
    >>> bool(jnp.allclose(completion_scores(model, params, r, temperature=1.0) * r.mask, r.log_probs, atol=1e-5))
    True
    """
    check_state("r", r, Rollouts)

    def score(part: tuple[jax.Array, ...]) -> jax.Array:
        hidden = completion_hidden(model, params, *part)
        return token_log_probs(hidden, output_matrix(params), part[2], temperature=temperature or 1.0)

    whole, prompts = (r.prompts, r.prompt_mask, r.tokens, r.mask), r.prompts.shape[0]
    if microbatches == 1:
        return score(whole)
    if prompts % microbatches:
        raise InputError(f"microbatches is {microbatches}: it must divide the {prompts} prompts of an update")
    parts = jax.lax.map(
        jax.checkpoint(score), jax.tree.map(lambda x: _interleaved(x, prompts, microbatches), whole)
    )
    return (
        parts.reshape(microbatches, prompts // microbatches, -1, parts.shape[-1])
        .swapaxes(0, 1)
        .reshape(r.tokens.shape)
    )


def _interleaved(x: jax.Array, prompts: int, parts: int) -> jax.Array:
    """Every part takes each `parts`-th prompt, so that rows split over devices stay where they are."""
    groups = x.reshape(prompts // parts, parts, x.shape[0] // prompts, *x.shape[1:]).swapaxes(0, 1)
    return groups.reshape(parts, x.shape[0] // parts, *x.shape[1:])


def roll_out(
    model: Decoder,
    params: Any,
    problems: Any,
    key: jax.Array,
    *,
    step: jax.Array,
    group_size: int,
    **sampling: Any,
) -> Rollouts:
    """Completions that nobody has judged yet: rewards and the teacher's log-probabilities are 0.

    What `rlvr_learner` does by itself, for a `generate` that does more.

    Args:
      model: the policy's shape.
      params: its parameters.
      problems: with fields `prompts` and `prompt_mask`.
      key: random key.
      step: int32 scalar, the number of batches before this one.
      group_size: completions per prompt, G.
      **sampling: as for `sample`: `max_new_tokens` and `eos` at least.

    Returns:
      `Rollouts`, all tokens of the mask trained.

    Raises:
      ValueError: as `sample`.

    Reference: Shao et al., DeepSeekMath, 2024, algorithm 1, line 7.

    >>> from typing import NamedTuple
    >>> class Problems(NamedTuple):
    ...     prompts: jax.Array
    ...     prompt_mask: jax.Array
    >>> model = Decoder(vocab_size=7, width=8, num_layers=1, num_heads=2)
    >>> params, problems = model.init(jax.random.key(0)), Problems(jnp.array([[3, 4]]), jnp.ones((1, 2), bool))
    >>> roll_out(
    ...     model, params, problems, jax.random.key(1), step=jnp.int32(0), group_size=3, max_new_tokens=2, eos=2
    ... ).tokens.shape
    (3, 2)
    """
    out = sample(
        model, params, problems.prompts, problems.prompt_mask, key, num_samples=group_size, **sampling
    )
    group = jnp.repeat(jnp.arange(problems.prompts.shape[0], dtype=jnp.int32), group_size)
    nothing = jnp.zeros_like(out.log_probs)
    return Rollouts(
        problems.prompts, problems.prompt_mask.astype(bool), out.tokens, out.mask, out.log_probs,
        nothing, nothing[:, 0], group, step, out.mask,
    )  # fmt: skip


def summary(rollouts: Rollouts, eos: int | Sequence[int]) -> dict[str, jax.Array]:
    """The metrics of what a policy wrote itself.

    `groups_solved` and `groups_failed` are the shares of groups whose answers are all worth the same, above 0 and not:
    they have no advantage. `truncated` is the share of answers without an end.
    """
    prompts = rollouts.prompts.shape[0]
    rewards = rollouts.rewards.reshape(prompts, -1)
    alike = jnp.all(rewards == rewards[:, :1], axis=1)
    ends = jnp.any(rollouts.mask & jnp.isin(rollouts.tokens, jnp.atleast_1d(jnp.asarray(eos))), axis=1)
    share = lambda where: jnp.mean(where.astype(jnp.float32))
    return {
        "groups_solved": share(alike & (rewards[:, 0] > 0)),
        "groups_failed": share(alike & (rewards[:, 0] <= 0)),
        "truncated": share(~ends),
        "reward": jnp.mean(rollouts.rewards),
        "length": jnp.mean(jnp.sum(rollouts.mask, axis=1)),
        "entropy": -masked_mean(rollouts.log_probs, where=rollouts.mask),
    }


def improve(
    state: PolicyState,
    rollouts: Rollouts,
    advantage: jax.Array,
    key: jax.Array,
    *,
    seen: dict[str, jax.Array],
    score: Callable[[Any, Rollouts], jax.Array],
    loss: PolicyLoss,
    optimizer: optax.GradientTransformation,
    minibatches: int,
    passes: int,
) -> tuple[PolicyState, dict[str, jax.Array]]:
    """One optimizer step per minibatch on judged rollouts; `score` is `(params, rollouts) -> log-probabilities`.

    `seen` is the `summary` of what the policy wrote, whatever was made of it since.
    """
    rollouts = jax.lax.stop_gradient(rollouts)

    def one(carry: tuple, part: tuple[Rollouts, jax.Array]) -> tuple[tuple, Any]:
        params, opt_state = carry
        rollouts, weight = part

        def objective(params: Any) -> tuple[jax.Array, Any]:
            log_probs = score(params, rollouts)
            given = loss(log_probs, rollouts, weight)
            value, metrics = as_pair("loss", given, "(scalar, metrics), without metrics (scalar, {})")
            check_loss("loss", value, metrics)
            return value, (metrics, _mismatch(log_probs, rollouts))

        (value, (metrics, mismatch)), grads = jax.value_and_grad(objective, has_aux=True)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        told = {"loss": value, "gradient_norm": optax.tree.norm(grads).astype(jnp.float32), **metrics}
        return (optax.apply_updates(params, updates), opt_state), (told, mismatch)

    whole = (rollouts, advantage)
    carry = (state.params, state.opt_state)
    if minibatches * passes == 1:
        carry, (metrics, mismatch) = one(carry, whole)
    else:
        parts = _minibatches(key, whole, minibatches, passes)
        carry, (metrics, mismatch) = jax.lax.scan(one, carry, parts)
        metrics = jax.tree.map(jnp.mean, metrics)
        mismatch = jax.tree.map(lambda x: x[0], mismatch)  # of the parameters that sampled
    so_far = state.mean_reward + (seen["reward"] - state.mean_reward) / (state.step + 1)
    return PolicyState(*carry, state.step + 1, so_far, state.memory), {**metrics, **mismatch, **seen}


def _mismatch(log_probs: jax.Array, rollouts: Rollouts) -> dict[str, jax.Array]:
    """How far the log-probabilities that are trained on are from those that were sampled with, in nats per token."""
    gap = jnp.abs(jax.lax.stop_gradient(log_ratio(log_probs, rollouts.log_probs, rollouts.mask)))
    return {
        "mismatch_mean": masked_mean(gap, where=rollouts.mask),
        "mismatch_max": jnp.max(gap, initial=0.0),
    }


def _minibatches(key: jax.Array, whole: tuple[Rollouts, jax.Array], count: int, passes: int) -> Any:
    """Whole groups in random order, `[passes * count, ...]`: what the updates of one batch see one after another."""
    rollouts, _ = whole
    prompts = rollouts.prompts.shape[0]
    size = rollouts.tokens.shape[0] // prompts
    if prompts % count:
        raise InputError(f"minibatches is {count}: it must divide the {prompts} prompts of a batch")
    each = prompts // count
    orders = [jax.random.permutation(jax.random.fold_in(key, index), prompts) for index in range(passes)]
    chosen = jnp.concatenate(orders).reshape(passes * count, each)

    def pick(x: jax.Array) -> jax.Array:
        if x.ndim == 0:
            return jnp.broadcast_to(x, (passes * count,))
        if x.shape[0] == prompts:
            return x[chosen]
        if x.shape[0] != prompts * size:
            raise InputError(
                f"extra has an array {x.shape}: its first axis must be that of the {prompts} prompts or the "
                f"{prompts * size} completions"
            )
        groups = x.reshape(prompts, size, *x.shape[1:])[chosen]
        return groups.reshape(passes * count, each * size, *x.shape[1:])

    parts, weights = jax.tree.map(pick, whole)
    group = jnp.repeat(jnp.arange(each, dtype=jnp.int32), size)
    return parts._replace(group=jnp.broadcast_to(group, parts.group.shape)), weights

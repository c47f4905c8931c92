"""Reinforcement from verifiers that read text: the same step, with Python between its two compiled halves."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlab.core import Learner, master_weights
from jaxlab.core.check import InputError
from jaxlab.language import Decoder, check_vocabulary
from jaxlab.language._texts import check_list, check_texts
from jaxlab.language.tasks import verify_text
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


class TextProblems(NamedTuple):
    """Problems for `text_rlvr_learner`; rows can be gathered.

    Attributes:
      prompts: `[P, T]` int32, padding on either side.
      prompt_mask: `[P, T]` bool.
      item: `[P]` int32, which problem it is, for the verifier.
    """

    prompts: jax.Array
    prompt_mask: jax.Array
    item: jax.Array


def text_problems(
    texts: Sequence[str],
    tokenizer: Any,
    model: Decoder,
    *,
    max_new_tokens: int,
    items: Sequence[int] | None = None,
    length: int | None = None,
) -> TextProblems:
    """Prompts as arrays of one length, checked against the model before anything runs.

    Encoded once for the whole data set, so that every batch has the same shape and nothing is compiled twice.

    Args:
      texts: n prompts as the model is to see them, chat template applied.
      tokenizer: a `Tokenizer` or `CharacterTokenizer`.
      model: the shape that will read them.
      max_new_tokens: room that a completion needs.
      items: n numbers by which the verifier knows the problems; None is 0 ... n - 1.
      length: tokens per row T; None is that of the longest.

    Returns:
      `TextProblems` with n rows.

    Raises:
      ValueError: one text in the place of several, no prompts, an empty one, one that is longer than `length` or than
        the model's context leaves room for, items that are no whole numbers or not as many as texts, or a tokenizer
        with more ids than the model.

    >>> from jaxlab.language import CharacterTokenizer
    >>> tokenizer = CharacterTokenizer("0123456789+=")
    >>> text_problems(["1+1=", "10+2="], tokenizer, Decoder(vocab_size=15), max_new_tokens=3).prompts.tolist()
    [[0, 4, 13, 4, 14], [4, 3, 13, 5, 14]]
    """
    check_vocabulary(model, tokenizer)
    texts = check_texts(texts)
    items = list(range(len(texts))) if items is None else check_list(items, "items")
    if not texts or len(items) != len(texts):
        raise InputError(f"{len(items)} items and {len(texts)} prompts: as many are needed, and at least one")
    numbers = np.asarray(items)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise InputError(
            f"items must be whole numbers, by which the verifier knows the problems, got {items[0]!r:.60}"
        )
    lengths = [len(tokenizer.encode(text)) for text in texts]
    if min(lengths) == 0:
        raise InputError(f"prompt {lengths.index(0)} is empty: there is nothing to complete")
    longest = int(np.argmax(lengths))
    room = model.context - max_new_tokens
    if lengths[longest] > room:
        raise InputError(
            f"prompt {longest} has {lengths[longest]} tokens, {texts[longest][:60]!r}: the model's context of "
            f"{model.context} leaves {room} beside {max_new_tokens} new tokens"
        )
    prompts, mask = tokenizer.encode_batch(texts, lengths[longest] if length is None else length)
    return TextProblems(prompts, mask, jnp.asarray(numbers, jnp.int32))


def completion_texts(tokenizer: Any, tokens: jax.Array, mask: jax.Array) -> list[str]:
    """What was sampled, as a verifier reads it: up to the end of sequence, special tokens unseen.

    Args:
      tokenizer: a `Tokenizer` or `CharacterTokenizer`.
      tokens: `[B, N]` integers.
      mask: `[B, N]` bool or {0, 1}, the tokens that were sampled.

    Returns:
      B strings.

    Raises:
      ValueError: shapes that disagree, a mask that is none.

    >>> from jaxlab.language import CharacterTokenizer
    >>> completion_texts(CharacterTokenizer("0123456789"), jnp.array([[4, 5, 2, 7]]), jnp.ones((1, 4), bool))
    ['12']
    """
    tokens, mask = np.asarray(tokens), np.asarray(mask)
    if tokens.ndim != 2 or tokens.shape != mask.shape:
        raise InputError(f"tokens {tokens.shape} and mask {mask.shape} must both be [B, N]")
    if ((mask != 0) & (mask != 1)).any():
        raise InputError(f"mask must be bool or {{0, 1}}, got {mask.max()}")
    return [tokenizer.decode(row[keep]) for row, keep in zip(tokens, mask.astype(bool))]


def text_rlvr_learner(
    model: Decoder,
    tokenizer: Any,
    *,
    init: Callable[[jax.Array, Any], Any],
    scorer: Callable[[Any, str], float] | None = None,
    advantage: Advantage,
    loss: PolicyLoss,
    optimizer: optax.GradientTransformation,
    group_size: int,
    max_new_tokens: int,
    items: Sequence[Any] | None = None,
    seconds: float = 1.0,
    base: Any = None,
    attach: Callable[[Any, Any], Any] = lambda params, base: params,
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
) -> Learner:
    """`rlvr_learner` for verifiers in Python: completions are decoded, scored as text, and learned from.

    One step is a compiled rollout that stops when every row has ended, `verify_text` on the host, and a compiled
    update. An answer on which the scorer raises, hangs or is not finite is worth 0 and is counted, and the first
    failure of each kind is a warning; a first batch on which it always fails is an error, with its own traceback. It
    runs on one device, seed after seed; state and batches are arrays, so the loop saves, stops and resumes it like any
    other.

    What is trained is `params`; the model runs on `attach(params, base)`. With adapters as `params` and a pretrained
    model as `base`, optimizer, gradients and checkpoints have the size of the adapters.

    The slots are those of `rlvr_learner`. All but `judge` are compiled: problems and context are arrays if one of them
    is filled. The state that they see holds what the model runs on in the place of `params`.

    Args:
      model: the policy's shape.
      tokenizer: a `Tokenizer` or `CharacterTokenizer`.
      init: `(key, context) -> params`, where the trained part starts.
      scorer: `(item, text) -> float`, see `verify_text`. It or `judge` is needed.
      advantage: `Rollouts -> [B]` or `[B, N]`.
      loss: `(log_probs [B, N], rollouts, advantage) -> (scalar, metrics)`.
      optimizer: any optax transformation.
      group_size: completions per prompt, G.
      max_new_tokens: N.
      items: what the scorer is told of each problem, by `TextProblems.item`; None tells it that number.
      seconds: the scorer's time for one answer. Leave room: an answer cut off on a busy machine scores 0.
      base: pytree that is not trained and not part of the state.
      attach: `(params, base) -> ` the decoder's parameters.
      memory, pose, generate, revise, remember: see `rlvr_learner`; `pose` returns problems that have an `item`.
      judge: in the place of `scorer`, on the host: several verifiers, or a learned one. `completion_texts` and
        `verify_text` give what the scorer sees.
      minibatches, passes, microbatches: see `rlvr_learner`.
      temperature: of the sampling.

    Returns:
      A learner with `jit=False` whose batches have the fields of `TextProblems`, with the metrics of `rlvr_learner`
      and the numbers of answers that failed: `verifier_raised`, `verifier_timed_out`, `verifier_not_finite`.

    Raises:
      ValueError: sizes below 1, a tokenizer with more ids than the model, a text for `items`, both or neither of
        `scorer` and `judge`; in an update, an item that `items` does not have.
      RuntimeError: in an update, a scorer that fails on every answer of its first batch.

    Reference: Shao et al., DeepSeekMath, 2024, algorithm 1, with the verifier in the place of the reward model; LoRA
      (2021) for training adapters alone.

    >>> from jaxlab.language import CharacterTokenizer
    >>> from jaxlab.post_training import aggregate, gpg_loss, grpo_advantage
    >>> model = Decoder(vocab_size=15, width=8, num_layers=1, num_heads=2)
    >>> learner = text_rlvr_learner(
    ...     model, CharacterTokenizer("0123456789+="), init=lambda key, context: model.init(key),
    ...     scorer=lambda item, text: text == "2", advantage=lambda r: grpo_advantage(r.rewards, r.group),
    ...     loss=lambda log_probs, r, a: (aggregate(gpg_loss(log_probs, a), r.mask), {}),
    ...     optimizer=optax.sgd(0.1), group_size=4, max_new_tokens=2)
    >>> learner.jit
    False
    """
    check_sizes(
        group_size=group_size, max_new_tokens=max_new_tokens, minibatches=minibatches, passes=passes,
        microbatches=microbatches,
    )  # fmt: skip
    check_vocabulary(model, tokenizer)
    _check_items(items)
    check_one_judge(scorer, judge, "scorer", "scorer(item, text) gives a reward")
    optimizer, slots = master_weights(optimizer), any((pose, generate, revise, remember))
    running = lambda state, base: state._replace(params=attach(state.params, base))
    write = _writer(
        model, running, pose, generate, group_size=group_size, temperature=temperature, max_new_tokens=max_new_tokens,
        eos=tokenizer.eos_ids, pad=tokenizer.pad_id, stop_early=True,
    )  # fmt: skip
    judged = _by_judge(judge, running) if judge else _by_scorer(scorer, tokenizer, items, seconds)
    learn = _improver(
        running, revise, advantage, remember,
        score=functools.partial(_scores, model, attach, temperature, microbatches), loss=loss,
        optimizer=optimizer, minibatches=minibatches, passes=passes, eos=tokenizer.eos_ids,
    )  # fmt: skip

    def begin(key: jax.Array, context: Any) -> PolicyState:
        return start(init(key, context), optimizer, memory(context))

    def update(state: PolicyState, batch: Any, key: jax.Array, context: Any) -> tuple[PolicyState, Any]:
        given = batch if slots else TextProblems(batch.prompts, batch.prompt_mask, batch.item)
        if not pose:  # an item that is unknown shows before anything is written
            _told(np.asarray(given.item).tolist(), items)
        for_slots = context if slots else None
        problems, rollouts = write(state, base, given, key, for_slots)
        rollouts, counts = judged(state, base, problems, rollouts, context)
        state, metrics = learn(state, base, problems, rollouts, key, for_slots)
        return state, {**metrics, **counts}

    return Learner(begin, update, jit=False)


def _check_items(items: Sequence[Any] | None) -> None:
    if isinstance(items, (str, bytes)):
        raise InputError(f"items must be a list, got {items!r:.80}; a single one is a list of one")


def _scores(
    model: Decoder, attach: Callable[[Any, Any], Any], temperature: float, microbatches: int, base: Any, params: Any,
    r: Rollouts,
) -> jax.Array:  # fmt: skip
    return completion_scores(
        model, attach(params, base), r, temperature=temperature, microbatches=microbatches
    )


Running = Callable[[PolicyState, Any], PolicyState]


def _writer(
    model: Decoder, running: Running, pose: Pose | None, generate: Generate | None, **sampling: Any
) -> Callable[..., tuple[Any, Rollouts]]:
    """The first compiled half: which problems, and the answers to them."""

    @jax.jit
    def write(
        state: PolicyState, base: Any, batch: Any, key: jax.Array, context: Any
    ) -> tuple[Any, Rollouts]:
        sample_key, _ = jax.random.split(key)
        state = running(state, base)
        problems = pose(state, batch, slot_key(key, "pose"), context) if pose else batch
        if generate:
            return problems, generate(state, problems, sample_key, context)
        return problems, roll_out(model, state.params, problems, sample_key, step=state.step, **sampling)

    return write


def _by_judge(judge: Judge, running: Running) -> Callable[..., tuple[Rollouts, dict[str, int]]]:
    """A judge on the host."""

    def judged(
        state: PolicyState, base: Any, problems: Any, rollouts: Rollouts, context: Any
    ) -> tuple[Rollouts, dict[str, int]]:
        rows = for_each_row(jax.tree.map(np.asarray, problems), rollouts)
        return judge(running(state, base), rows, rollouts, context), {}

    return judged


def _by_scorer(
    scorer: Callable[[Any, str], float], tokenizer: Any, items: Sequence[Any] | None, seconds: float
) -> Callable[..., tuple[Rollouts, dict[str, int]]]:
    """A scorer of texts, and how often it failed."""
    scored, shown = False, set()  # whether the scorer has ever worked, and which of its failures were shown

    def judged(
        state: PolicyState, base: Any, problems: Any, rollouts: Rollouts, context: Any
    ) -> tuple[Rollouts, dict[str, int]]:
        nonlocal scored
        told = _told(for_each_row(np.asarray(problems.item), rollouts).tolist(), items)
        texts = completion_texts(tokenizer, rollouts.tokens, rollouts.mask)
        rewards, failures = verify_text(
            scorer, told, texts, seconds=seconds, all_may_fail=scored, shown=shown
        )
        scored = True
        counts = {f"verifier_{name}": count for name, count in failures.items()}
        return rollouts._replace(rewards=jnp.asarray(rewards)), counts

    return judged


def _improver(
    running: Running, revise: Revise | None, advantage: Advantage, remember: Remember | None, *, eos: Sequence[int],
    score: Callable[[Any, Any, Rollouts], jax.Array], **settings: Any,
) -> Callable[..., tuple[PolicyState, Any]]:  # fmt: skip
    """The second compiled half: what is made of the answers, and the updates on them."""

    @jax.jit
    def learn(
        state: PolicyState, base: Any, problems: Any, rollouts: Rollouts, key: jax.Array, context: Any
    ) -> tuple[PolicyState, Any]:
        _, order_key = jax.random.split(key)
        seen = summary(rollouts, eos)
        if revise:
            rollouts = revise(running(state, base), problems, rollouts, slot_key(key, "revise"), context)
        weight = jax.lax.stop_gradient(advantage(rollouts))
        state, metrics = improve(
            state, rollouts, weight, order_key, seen=seen, score=functools.partial(score, base), **settings
        )
        if remember:
            memory = remember(running(state, base), problems, rollouts, weight, context)
            state = state._replace(memory=memory)
        return state, metrics

    return learn


def _told(numbers: list[int], items: Sequence[Any] | None) -> list[Any]:
    """What the scorer is told of each problem."""
    if items is None:
        return numbers
    for number in numbers:
        if not (number in items if isinstance(items, Mapping) else 0 <= number < len(items)):
            raise InputError(f"item {number} is asked about: there are {len(items)} items")
    return [items[number] for number in numbers]

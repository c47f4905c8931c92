"""What the arms on text share: batches with right answers, imitation of those, and the evaluation of a policy."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.post_training._text_policies import TextPolicy
from experiments.post_training._text_tasks import Scorer, TextTask
from jaxlab.core import Computed, Learner, TrainState, computed, gradient_learner
from jaxlab.language import completion_hidden, output_matrix, sample, token_log_probs
from jaxlab.language.tasks import verify_text
from jaxlab.post_training import aggregate, completion_texts, text_problems

_ROWS = 256  # completed at once in an evaluation


class Examples(NamedTuple):
    """`TextProblems` and the tokens of their right answers, padded on the right."""

    prompts: jax.Array
    prompt_mask: jax.Array
    item: jax.Array
    answers: jax.Array
    answer_mask: jax.Array


def examples(policy: TextPolicy, task: TextTask, *, max_new_tokens: int) -> dict[str, Examples]:
    """The splits as arrays, with the prompts of all splits padded to one length."""
    encode = functools.partial(
        text_problems, tokenizer=policy.tokenizer, model=policy.model, max_new_tokens=max_new_tokens
    )
    everything = [item for items in task.splits.values() for item in items]
    length = encode([policy.prompts[item] for item in everything]).prompts.shape[1]
    splits = {}
    for name, items in task.splits.items():
        problems = encode([policy.prompts[item] for item in items], items=items, length=length)
        right = [task.answers[item] or "" for item in items]
        tokens, mask = policy.tokenizer.encode_batch(right, max_new_tokens, side="right", eos=True)
        splits[name] = Examples(*problems, tokens, mask)
    return splits


def imitation(
    policy: TextPolicy, start: Callable[[jax.Array, Any], Any], optimizer: optax.GradientTransformation
) -> Learner:
    """Maximum likelihood of the right answers; on the host like the arms it stands beside."""

    def loss(params: Any, memory: None, batch: Examples, step: Any, key: jax.Array, base: Any) -> tuple:
        whole = policy.attach(params, base)
        hidden = completion_hidden(
            policy.model, whole, batch.prompts, batch.prompt_mask, batch.answers, batch.answer_mask
        )
        log_probs = token_log_probs(hidden, output_matrix(whole), batch.answers)
        return -aggregate(log_probs, batch.answer_mask), (memory, {})

    learner = gradient_learner(lambda key, context: (start(key, context), None), loss, optimizer)
    learn = jax.jit(learner.update)
    # The base is an argument: in the program it would be a constant.
    update = lambda state, batch, key, context: learn(state, batch, key, policy.base)
    return Learner(learner.init, update, jit=False)


def untouched(start: Callable[[jax.Array, Any], Any]) -> Computed:
    """The policy as it starts: what the other arms have to beat."""
    begin = lambda key, context, train: TrainState(start(key, context), None, None, jnp.int32(0))
    return computed(begin, jit=False)


def text_evaluation(
    policy: TextPolicy, scorer: Scorer, *, max_new_tokens: int, temperature: float, seconds: float
) -> Callable[[Any, Examples, Any], dict[str, float]]:
    """Of the greedy completions the accuracy, form and length, and the mean reward of one sample per problem."""

    @functools.partial(jax.jit, static_argnames="temperature")
    def write(params: Any, base: Any, prompts: Any, mask: Any, key: Any, *, temperature: float) -> Any:
        out = sample(
            policy.model, policy.attach(params, base), prompts, mask, key, max_new_tokens=max_new_tokens,
            eos=policy.tokenizer.eos_ids, pad=policy.tokenizer.pad_id, temperature=temperature,
        )  # fmt: skip
        return out.tokens, out.mask

    shown: set[str] = set()  # the verifier's failures that were shown before

    def complete(params: Any, split: Examples, temperature: float) -> tuple[np.ndarray, np.ndarray]:
        rows = split.prompts.shape[0]
        size, parts = min(rows, _ROWS), []
        for start in range(0, rows, size):  # the last part is filled up with rows from the front
            chosen, key = np.arange(start, start + size) % rows, jax.random.fold_in(jax.random.key(0), start)
            prompts, mask = split.prompts[chosen], split.prompt_mask[chosen]
            parts.append(write(params, policy.base, prompts, mask, key, temperature=temperature))
        return tuple(np.concatenate(part)[:rows] for part in zip(*parts))

    def evaluate(state: Any, split: Examples, context: Any) -> dict[str, float]:
        items, failures = np.asarray(split.item).tolist(), 0
        rewards, texts, mask, ended = {}, {}, {}, {}
        for name, heat in (("greedy", 0.0), ("sampled", temperature)):
            tokens, mask[name] = complete(state.params, split, heat)
            ended[name] = (np.isin(tokens, policy.tokenizer.eos_ids) & mask[name]).any(axis=1)
            texts[name] = completion_texts(policy.tokenizer, tokens, mask[name])
            rewards[name], counts = verify_text(scorer, items, texts[name], seconds=seconds, shown=shown)
            failures += sum(counts.values())
        found = [scorer.find(text) is not None for text in texts["greedy"]]
        return {
            "accuracy": np.mean(rewards["greedy"] >= 1),
            "format": np.mean(ended["greedy"] & found),
            "length": np.mean(mask["greedy"].sum(axis=1)),
            "reward": np.mean(rewards["sampled"]),
            "verifier_failures": failures,
        }

    return evaluate

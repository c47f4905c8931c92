"""Whole sequences of small decoders: prompts, answers, and the next-token logits after every prefix of an answer."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import InputError
from jaxlab.language import Decoder, sample


def disjoint_prompts(counts: Mapping[str, int], length: int, vocab: int, seed: int) -> dict[str, np.ndarray]:
    """Disjoint sets of so many prompts `[n, length]`, all tokens of which are below `vocab`."""
    have = vocab**length
    if sum(counts.values()) > have:
        raise InputError(
            f"prompts ask for {sum(counts.values())}: {length} tokens of {vocab} make {have} prompts"
        )
    order = np.random.default_rng(seed).permutation(have)
    every = np.stack(np.unravel_index(order, (vocab,) * length), axis=1).astype(np.int32)
    return dict(zip(counts, np.split(every, np.cumsum(list(counts.values())))))


def sampled(model: Decoder, params: Any, prompts: jax.Array, key: jax.Array, length: int) -> jax.Array:
    """Answers `[B, length]` drawn from a model."""
    everything = jnp.ones(prompts.shape, bool)
    drawn = sample(model, params, prompts, everything, key, max_new_tokens=length, eos=None, stop_early=False)
    return drawn.tokens


def answer_logits(model: Decoder, params: Any, prompts: jax.Array, answers: jax.Array) -> jax.Array:
    """`[B, T, V]` before each token of the answers."""
    hidden = model.apply(params, jnp.concatenate([prompts, answers[:, :-1]], axis=1))
    return model.logits(params, hidden[:, prompts.shape[1] - 1 :])


def tree_logits(model: Decoder, params: Any, prompt: jax.Array, length: int) -> jax.Array:
    """`[N, V]` next-token logits after every prefix of an answer to one prompt, in heap order."""
    known, vocab = len(prompt), model.vocab_size
    hidden, cache = model.prefill(params, prompt[None], capacity=known + length - 1)
    levels = [model.logits(params, hidden[:, -1])]
    for depth in range(1, length):
        rows = vocab**depth
        token = jnp.tile(jnp.arange(vocab), rows // vocab)
        position = jnp.full(rows, known + depth - 1)
        hidden, cache = model.decode(params, cache.repeated(vocab), token, position)
        levels.append(model.logits(params, hidden))
    return jnp.concatenate(levels)

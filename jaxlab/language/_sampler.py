"""Sampling from a decoder: batches of prompts of different lengths, one compiled loop, early stop."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import MASKED_LOGIT, as_float
from jaxlab.core.check import InputError, as_bool, as_integers
from jaxlab.language._decoder import Cache, Decoder, Params, pack_for_decoding, token_positions
from jaxlab.language._padding import left_padded
from jaxlab.language._sharding import gathered


class Rollout(NamedTuple):
    """Completions, without their prompts.

    Attributes:
      tokens: `[B, N]` int32, padding after the end.
      mask: `[B, N]` bool, the tokens that were sampled, the end-of-sequence token included.
      log_probs: `[B, N]` float32, of each token under the distribution it was drawn from; 0 outside the mask.
    """

    tokens: jax.Array
    mask: jax.Array
    log_probs: jax.Array


class _Loop(NamedTuple):
    cache: Cache
    token: jax.Array
    position: jax.Array
    alive: jax.Array
    rollout: Rollout
    step: jax.Array


def filter_logits(
    logits: jax.Array,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> jax.Array:
    """Logits of the distribution that is sampled: scaled by the temperature, unlikely tokens removed.

    The filters act one after the other, each on what the former left: the `top_k` most likely tokens; the fewest
    tokens that hold at least `top_p` of the mass; tokens at least `min_p` times as likely as the likeliest. Ties
    at a boundary are all kept.

        z / temperature, and `MASKED_LOGIT` for a token that is removed

    Args:
      logits: `[..., V]`.
      temperature: positive; for greedy decoding take the argmax instead.
      top_k: at least 1; None or V and above keep all.
      top_p: in (0, 1]; None keeps all.
      min_p: in [0, 1]; None keeps all.

    Returns:
      `[..., V]` float32; at least one entry per row is not removed. A NaN is never removed.

    Raises:
      ValueError: a setting out of its range.

    Reference: Fan et al. (2018) for top-k; Holtzman et al., The Curious Case of Neural Text Degeneration (2020) for
      top-p; Min-p Sampling, 2024. The order is that of transformers.

    >>> filter_logits(jnp.array([3.0, 2.0, 1.0]), temperature=0.5, top_k=2)[:2].tolist()
    [6.0, 4.0]
    """
    check_sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    if temperature == 0:
        raise InputError("temperature is 0: take the argmax, there is no distribution to filter")
    scores = as_float(logits) / temperature
    remove = lambda keep: jnp.where(keep | jnp.isnan(scores), scores, MASKED_LOGIT)
    if top_k is not None and top_k < scores.shape[-1]:
        least = jax.lax.top_k(scores, top_k)[0][..., -1:]
        scores = remove(scores >= least)
    if top_p is not None and top_p < 1.0:
        ordered = jax.lax.sort(scores, dimension=-1)[..., ::-1]
        mass = jax.nn.softmax(ordered, axis=-1)
        needed = jnp.cumsum(mass, axis=-1) - mass < top_p
        least = jnp.min(jnp.where(needed, ordered, jnp.inf), axis=-1, keepdims=True)
        scores = remove(scores >= least)
    if min_p is not None and min_p > 0.0:
        # p >= min_p * max p, in logits.
        scores = remove(scores >= jnp.max(scores, axis=-1, keepdims=True) + jnp.log(min_p))
    return scores


def check_sampling(
    *, temperature: float, top_k: int | None = None, top_p: float | None = None, min_p: float | None = None
) -> None:
    """Raise a one-line ValueError for a sampling setting out of its range.

    Args:
      temperature, top_k, top_p, min_p: as for `sample`.

    Raises:
      ValueError: naming the setting, its value and what is allowed.

    >>> check_sampling(temperature=1.0, top_p=0.9)
    """
    if not temperature >= 0:
        raise InputError(f"temperature is {temperature}: it must be positive, or 0 for greedy decoding")
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k is {top_k}: it must be at least 1, or None")
    if top_p is not None and not 0 < top_p <= 1:
        raise InputError(f"top_p is {top_p}: it must lie in (0, 1], or be None")
    if min_p is not None and not 0 <= min_p <= 1:
        raise InputError(f"min_p is {min_p}: it must lie in [0, 1], or be None")


def sample(
    model: Decoder,
    params: Params,
    prompts: jax.Array,
    prompt_mask: jax.Array,
    key: jax.Array,
    *,
    max_new_tokens: int,
    eos: int | Sequence[int] | np.ndarray | jax.Array | None,
    pad: int = 0,
    num_samples: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    stop_early: bool = True,
    segment: int = 32,
) -> Rollout:
    """Complete a batch of left-padded prompts, one token at a time for all rows together.

    The distribution drawn from is `softmax(filter_logits(...))`; with `temperature=0` the likeliest token is taken
    and its log-probability is the unfiltered model's. With temperature 1 and no filter, `log_probs` are what
    `token_log_probs` gives for the same tokens. A row ends with its first end-of-sequence token; a row without any
    prompt token gets an empty completion. A model whose logits are NaN writes some token of the vocabulary with
    log-probability NaN. Nothing here is differentiated: it runs inside jit, scan and vmap.

    Args:
      model: the shape.
      params: its parameters, adapters attached or not.
      prompts: `[B, T]` integers in [0, V), padding on either side.
      prompt_mask: `[B, T]` bool or {0, 1}.
      key: `jax.random.key`.
      max_new_tokens: N, the longest completion.
      eos: the id or ids that end a completion, numbers or an array of them; None samples N tokens.
      pad: the id written after the end.
      num_samples: completions per prompt, G; rows are then `[B G]`, those of one prompt side by side. The prompt
        is computed once for all of them.
      temperature, top_k, top_p, min_p: see `filter_logits`.
      stop_early: leave the loop when every row has ended. Set it to False where rows of several seeds are mapped
        together (vmap turns the test into copies of the cache).
      segment: tokens sampled before the cache grows; attention never looks at room that cannot be filled yet.

    Returns:
      A `Rollout`.

    Raises:
      ValueError: no prompt position, prompts padded on the right, prompt and completion longer than the context,
        shapes that disagree, an id that the vocabulary does not have, or a setting out of range.

    >>> model = Decoder(vocab_size=7, width=8, num_layers=1, num_heads=2)
    >>> params = model.init(jax.random.key(0))
    >>> prompts = jnp.array([[0, 3, 4], [3, 5, 6]])
    >>> out = sample(model, params, prompts, prompts > 0, jax.random.key(1), max_new_tokens=4, eos=2)
    >>> out.tokens.shape, out.mask.shape
    ((2, 4), (2, 4))
    """
    check_sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    _check_lengths(model, prompts, prompt_mask, max_new_tokens, segment, num_samples)
    prompts, prompt_mask, ends, pad = _check_ids(model, prompts, prompt_mask, eos, pad)
    filters = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    params = pack_for_decoding(gathered(params))

    prompts, prompt_mask = left_padded(prompts, prompt_mask)
    length = prompts.shape[1]
    hidden, cache = model.prefill(params, prompts, None, prompt_mask)
    again = lambda x: jnp.repeat(x, num_samples, axis=0)
    last, has_prompt, cache = again(hidden[:, -1]), again(prompt_mask[:, -1]), cache.repeated(num_samples)
    position = again(token_positions(prompt_mask)[:, -1] + 1)
    shape = (prompts.shape[0] * num_samples, max_new_tokens)
    empty = Rollout(jnp.full(shape, pad, jnp.int32), jnp.zeros(shape, bool), jnp.zeros(shape, jnp.float32))
    # Drawn and tabulated once: inside the loop a CPU would spend a fifth of the time on them.
    uniforms = _uniforms(key, *shape, as_float(last).dtype)
    table = model.angle_table(length + max_new_tokens)

    def draw(hidden: jax.Array, alive: jax.Array, rollout: Rollout, step: jax.Array) -> tuple:
        token, log_prob = _choose(model.logits(params, hidden), uniforms[step], filters)
        token = jnp.where(alive, token, pad)
        parts = (token, alive, jnp.where(alive, log_prob, 0.0))
        rollout = Rollout(*(whole.at[:, step].set(part) for whole, part in zip(rollout, parts)))
        return token, alive & ~jnp.isin(token, ends), rollout

    def advance(loop: _Loop) -> _Loop:
        hidden, cache = model.decode(params, loop.cache, loop.token, loop.position, table)
        token, alive, rollout = draw(hidden, loop.alive, loop.rollout, loop.step)
        return _Loop(cache, token, loop.position + 1, alive, rollout, loop.step + 1)

    token, alive, rollout = draw(last, has_prompt, empty, jnp.int32(0))
    loop = _Loop(cache, token, position, alive, rollout, jnp.int32(1))
    for start in range(0, max_new_tokens, segment):
        stop = min(start + segment, max_new_tokens)
        loop = loop._replace(cache=loop.cache.grown(length + stop))
        if stop_early:
            going = lambda loop, stop=stop: (loop.step < stop) & jnp.any(loop.alive)
            loop = jax.lax.while_loop(going, advance, loop)
        else:
            loop = jax.lax.fori_loop(max(start, 1), stop, lambda _, loop: advance(loop), loop)
    return loop.rollout


def _uniforms(key: jax.Array, rows: int, steps: int, dtype: jnp.dtype) -> jax.Array:
    """Two random numbers per row and step, `[N, 2, B]`; those of a step depend on the key and the step alone."""
    draw = lambda step: jax.random.uniform(jax.random.fold_in(key, step), (2, rows), dtype)
    return jax.vmap(draw)(jnp.arange(steps))


def _choose(logits: jax.Array, uniforms: jax.Array, filters: dict) -> tuple[jax.Array, jax.Array]:
    """A token per row and its log-probability under the distribution that was sampled."""
    if filters["temperature"] == 0:
        token = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    else:
        logits = filter_logits(logits, **filters)
        token = _draw(logits, uniforms)
    chosen = jnp.take_along_axis(logits, token[:, None], axis=-1)[:, 0]
    return token, chosen - jax.nn.logsumexp(logits, axis=-1)


def _draw(logits: jax.Array, uniforms: jax.Array) -> jax.Array:
    """A token per row, by inverting cumulated probabilities: of blocks of tokens, then of the tokens in the block.

    Two random numbers per row, `uniforms` `[2, B]`. `jax.random.categorical` takes one per token: on a CPU forty times
    the work at 2,000 tokens, four hundred times at 150,000. A single sum over that many would be too coarse in float32.
    """
    rows, vocabulary = logits.shape
    size = math.isqrt(vocabulary - 1) + 1
    mass = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    mass = jnp.pad(mass, ((0, 0), (0, -vocabulary % size))).reshape(rows, -1, size)
    first, second = uniforms
    block = _invert(jnp.sum(mass, axis=-1), first)
    inside = jnp.take_along_axis(mass, block[:, None, None], axis=1)[:, 0]
    # Where masses are NaN nothing is found, and the last place of the last block may lie beyond the vocabulary.
    return jnp.minimum(block * size + _invert(inside, second), vocabulary - 1)


def _invert(mass: jax.Array, uniform: jax.Array) -> jax.Array:
    """The first place in each row of `[B, n]` where the cumulated mass exceeds its share `uniform` of the total.

    Never one without mass, where rounding may still let the sum grow.
    """
    total = jnp.where(mass > 0, jnp.cumsum(mass, axis=-1), 0)
    beyond = total > (uniform * jnp.max(total, axis=-1))[:, None]
    last = mass.shape[-1] - 1
    return jnp.min(jnp.where(beyond, jnp.arange(last + 1, dtype=jnp.int32), last), axis=-1)


def _check_lengths(
    model: Decoder,
    prompts: jax.Array,
    prompt_mask: jax.Array,
    max_new_tokens: int,
    segment: int,
    num_samples: int,
) -> None:
    shape = jnp.shape(prompts)
    if len(shape) != 2 or shape[1] == 0:
        raise InputError(f"prompts {shape} must be [B, T] with at least one position")
    if jnp.shape(prompt_mask) != shape:
        raise InputError(f"prompt_mask {jnp.shape(prompt_mask)} must have the shape of prompts, {shape}")
    sizes = (("max_new_tokens", max_new_tokens), ("segment", segment), ("num_samples", num_samples))
    for name, value in sizes:
        if value < 1:
            raise InputError(f"{name} is {value}: it must be at least 1")
    if shape[1] + max_new_tokens > model.context:
        raise InputError(
            f"{shape[1]} prompt positions and {max_new_tokens} new tokens exceed the model's context, "
            f"{model.context}"
        )


def _check_ids(
    model: Decoder, prompts: jax.Array, prompt_mask: jax.Array, eos: int | Sequence[int] | None, pad: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Prompts, their mask, the ends of a sequence `[E]` and the padding, as arrays of ids that the model has."""
    vocabulary, mask = model.vocab_size, as_bool("prompt_mask", prompt_mask)

    def ids(name: str, x: Any, where: Any = None) -> jax.Array:
        return as_integers(name, x, "token ids", vocabulary, where=where).astype(jnp.int32)

    prompts = ids("prompts", prompts, mask)

    some = eos is not None and np.size(eos) > 0
    ends = jnp.ravel(ids("eos", eos)) if some else jnp.zeros(0, jnp.int32)
    return prompts, mask, ends, ids("pad", pad)

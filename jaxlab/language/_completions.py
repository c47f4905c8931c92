"""Scoring completions: what a policy, or a teacher, thinks of tokens that were sampled."""

import jax
import jax.numpy as jnp

from jaxlab.core.check import InputError
from jaxlab.language._decoder import Decoder, Params
from jaxlab.language._padding import left_padded


def completion_hidden(
    model: Decoder,
    params: Params,
    prompts: jax.Array,
    prompt_mask: jax.Array,
    tokens: jax.Array,
    mask: jax.Array,
) -> jax.Array:
    """Hidden vectors that predict each token of several completions per prompt.

    Every prompt is computed once, whatever the number of its completions; gradients add up in it.

    Args:
      model: the shape.
      params: its parameters.
      prompts: `[P, T]` integers, padding on either side.
      prompt_mask: `[P, T]` bool or {0, 1}.
      tokens: `[P G, N]` integers, the completions of one prompt side by side, as `sample` returns them.
      mask: `[P G, N]` bool or {0, 1}.

    Returns:
      `[P G, N, d]`: position t predicts `tokens[:, t]`. For `token_log_probs`, `token_statistics` and
      `token_divergence`.

    Raises:
      ValueError: numbers of rows that do not divide, shapes that disagree, more positions than the context.

    >>> model = Decoder(vocab_size=7, width=8, num_layers=1, num_heads=2)
    >>> params = model.init(jax.random.key(0))
    >>> prompts, tokens = jnp.array([[3, 4, 5]]), jnp.array([[6, 2], [5, 2]])
    >>> ones = lambda x: jnp.ones(x.shape, bool)
    >>> completion_hidden(model, params, prompts, ones(prompts), tokens, ones(tokens)).shape
    (2, 2, 8)
    """
    if prompts.ndim != 2 or tokens.ndim != 2 or prompts.shape[0] == 0 or tokens.shape[0] % prompts.shape[0]:
        raise InputError(f"prompts {prompts.shape} and tokens {tokens.shape} must be [P, T] and [P G, N]")
    if tokens.shape != mask.shape:
        raise InputError(f"mask {mask.shape} must have the shape of tokens, {tokens.shape}")
    times = tokens.shape[0] // prompts.shape[0]
    prompts, prompt_mask = left_padded(prompts, prompt_mask)
    hidden, cache = model.prefill(params, prompts, None, prompt_mask)
    first = jnp.repeat(hidden[:, -1:], times, axis=0)
    if tokens.shape[1] == 1:
        return first
    rest = model.extend(params, cache.repeated(times), tokens[:, :-1], mask[:, :-1])
    return jnp.concatenate([first, rest], axis=1)

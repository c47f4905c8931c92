"""Log-probabilities and entropies of tokens from hidden vectors, without ever holding `[B, T, V]`.

Logits of a chunk of the vocabulary live for a moment, forward and backward, and nothing of that size is kept between
the two passes; the backward pass computes them again.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, match_varying
from jaxlab.core.check import InputError, as_integers
from jaxlab.language._vocabulary_chunks import (
    Chunks,
    Normalizer,
    check_matrix,
    chunk_logits,
    cut,
    gradients,
    more_mass,
    no_mass,
    over_chunks,
    stacked,
)


def _place(tokens: jax.Array, index: Any, chunks: Chunks) -> jax.Array:
    """Where in a chunk each token is, or -1."""
    here = (tokens >= 0) & (tokens < chunks.vocabulary) & (tokens % chunks.count == index)
    return jnp.where(here, tokens // chunks.count, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _statistics(
    hidden: jax.Array,
    matrix: jax.Array,
    tokens: jax.Array,
    temperature: float,
    chunks: Chunks,
    with_entropy: bool,
) -> tuple[jax.Array, jax.Array]:
    return _statistics_forward(hidden, matrix, tokens, temperature, chunks, with_entropy)[0]


def _statistics_forward(
    hidden: jax.Array,
    matrix: jax.Array,
    tokens: jax.Array,
    temperature: float,
    chunks: Chunks,
    with_entropy: bool,
) -> tuple[Any, Any]:
    parts = stacked(matrix, chunks)

    def step(index: Any, carry: tuple) -> tuple:
        mass, chosen, moment = carry
        logits, _ = chunk_logits(hidden, parts, index, chunks, temperature)
        new, exps, shrink = more_mass(mass, logits)
        place = _place(tokens, index, chunks)
        found = jnp.take_along_axis(logits, jnp.maximum(place, 0)[:, None], axis=-1)[:, 0]
        chosen = jnp.where(place >= 0, found, chosen)
        if with_entropy:  # sum exp(z - peak) (z - peak); earlier terms move along when the peak rises
            moved = moment + (mass.peak - new.peak) * mass.total
            moment = shrink * moved + jnp.sum(exps * (logits - new.peak[:, None]), axis=-1)
        return new, chosen, moment

    mass = no_mass(hidden)
    nothing = jnp.zeros_like(mass.total)
    mass, chosen, moment = over_chunks(step, (mass, nothing, nothing), chunks)
    normalizer = mass.normalizer()
    exists = (tokens >= 0) & (tokens < chunks.vocabulary)
    log_prob = jnp.where(exists, (chosen - normalizer.peak) - normalizer.log_sum, 0.0)
    entropy = normalizer.log_sum - moment / mass.total if with_entropy else nothing
    return (log_prob, entropy), (hidden, matrix, tokens, entropy, normalizer)


def _statistics_backward(
    temperature: float,
    chunks: Chunks,
    with_entropy: bool,
    saved: tuple[jax.Array, jax.Array, jax.Array, jax.Array, Normalizer],
    cotangents: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array, None]:
    hidden, matrix, tokens, entropy, normalizer = saved
    parts = stacked(matrix, chunks)
    exists = (tokens >= 0) & (tokens < chunks.vocabulary)
    g_log_prob, g_entropy = jnp.where(exists, cotangents[0], 0.0)[:, None], cotangents[1][:, None]

    def d_logits(index: Any) -> tuple[jax.Array, jax.Array]:
        logits, part = chunk_logits(hidden, parts, index, chunks, temperature)
        log_p = normalizer.log_softmax(logits)
        # d log p(y) / dz = onehot(y) - p,  d H / dz = -p (log p + H)
        weight = g_log_prob
        if with_entropy:
            weight = weight + g_entropy * (log_p + entropy[:, None])
        onehot = jax.nn.one_hot(_place(tokens, index, chunks), chunks.size, dtype=log_p.dtype)
        return (g_log_prob * onehot - weight * jnp.exp(log_p)) / temperature, part

    return *gradients(d_logits, hidden, matrix, chunks), None


_statistics.defvjp(_statistics_forward, _statistics_backward)


def token_statistics(
    hidden: jax.Array,
    matrix: jax.Array,
    tokens: jax.Array,
    *,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Log-probability of each token and entropy of the distribution it was drawn from.

    Gradients flow into `hidden` and `matrix`, through both results.

        log p(y) = z_y - log sum_v exp z_v,   H = - sum_v p(v) log p(v),   z = hidden @ matrix / temperature

    Args:
      hidden: `[..., d]`, the vector that predicts each token (position t predicts token t + 1).
      matrix: `[d, V]`, see `output_matrix`.
      tokens: `[...]` integers in [0, V); a negative one, such as -100, has log-probability 0 and no gradient.
      temperature: static, positive.
      chunk: tokens of the vocabulary whose logits are held at a time; None takes about 64 MB of them, or as many
        tokens as the hidden vectors are wide.

    Returns:
      Two arrays `[...]`, float32, in nats.

    Raises:
      ValueError: shapes that disagree, a known id of V or above, a temperature that is not positive, a chunk below 1.

    Reference: chunked cross-entropy as in Liger Kernel, 2024, here with a gradient for any use of the result.

    >>> log_prob, entropy = token_statistics(jnp.zeros((1, 3)), jnp.ones((3, 4)), jnp.array([2]))
    >>> round(entropy.item() + log_prob.item(), 5)  # uniform: H = -log p
    0.0
    """
    return _flat_statistics(hidden, matrix, tokens, temperature, chunk, with_entropy=True)


def token_log_probs(
    hidden: jax.Array,
    matrix: jax.Array,
    tokens: jax.Array,
    *,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> jax.Array:
    """Log-probability of each token: `token_statistics` without the entropy.

    Gradients flow into `hidden` and `matrix`.

        log p(y) = z_y - log sum_v exp z_v,   z = hidden @ matrix / temperature

    Args:
      hidden: `[..., d]`, the vector that predicts each token (position t predicts token t + 1).
      matrix: `[d, V]`, see `output_matrix`.
      tokens: `[...]` integers in [0, V); a negative one, such as -100, has log-probability 0 and no gradient.
      temperature: static, positive.
      chunk: tokens of the vocabulary whose logits are held at a time; None takes about 64 MB of them, or as many
        tokens as the hidden vectors are wide.

    Returns:
      `[...]` float32, in nats.

    Raises:
      ValueError: shapes that disagree, a known id of V or above, a temperature that is not positive, a chunk below 1.

    Reference: chunked cross-entropy as in Liger Kernel, 2024, here with a gradient for any use of the result.

    >>> round(token_log_probs(jnp.zeros((1, 3)), jnp.ones((3, 4)), jnp.array([2])).item(), 4)  # -log 4
    -1.3863
    """
    return _flat_statistics(hidden, matrix, tokens, temperature, chunk, with_entropy=False)[0]


def _flat_statistics(
    hidden: jax.Array,
    matrix: jax.Array,
    tokens: jax.Array,
    temperature: float,
    chunk: int | None,
    *,
    with_entropy: bool,
) -> tuple[jax.Array, jax.Array]:
    if not temperature > 0:
        raise InputError(f"temperature is {temperature}: it must be positive")
    check_matrix("hidden", hidden, "matrix", matrix)
    if np.shape(tokens) != hidden.shape[:-1]:
        raise InputError(f"tokens {np.shape(tokens)} must have the leading shape of hidden, {hidden.shape}")
    tokens = as_integers("tokens", tokens, "token ids", matrix.shape[1], ignore="a token to leave out")
    chunks = cut(matrix.shape[1], math.prod(tokens.shape), matrix.shape[0], chunk)
    if tokens.size == 0:
        empty = jnp.zeros(tokens.shape, as_float(hidden).dtype)
        return empty, empty
    arrays = match_varying(hidden.reshape(-1, hidden.shape[-1]), matrix, tokens.reshape(-1))
    out = _statistics(*arrays, temperature, chunks, with_entropy)
    return out[0].reshape(tokens.shape), out[1].reshape(tokens.shape)

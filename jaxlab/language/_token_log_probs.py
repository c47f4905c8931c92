"""Log-probabilities and divergences of tokens from hidden vectors, without ever holding `[B, T, V]`.

Rows are taken a chunk at a time: `[chunk, V]` logits live for a moment, forward and backward, and nothing of that
size is kept between the two passes. The matrix gets its gradient summed over the chunks.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxlab.core import as_float, forward_kl, jsd, reverse_kl, vary_alike

_CHUNK_BYTES = 64 * 2**20
"""Logits of a chunk by default: large enough for full speed, small beside the matrix of a real vocabulary."""


def _rows_per_chunk(rows: int, vocabulary: int, chunk: int | None) -> int:
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk is {chunk}: it must be at least 1 row")
    fitting = max(1, _CHUNK_BYTES // (4 * vocabulary))
    return max(1, min(rows, chunk or fitting))


def _split(x: jax.Array, chunk: int) -> tuple[jax.Array, jax.Array]:
    """Rows as `[n, chunk, ...]` and the remaining ones."""
    whole = x.shape[0] // chunk * chunk
    return x[:whole].reshape(-1, chunk, *x.shape[1:]), x[whole:]


def _map_chunks(f: Callable, arrays: tuple[jax.Array, ...], chunk: int) -> Any:
    """`f` on chunks of rows, its results joined; the last chunk may be shorter."""
    if arrays[0].shape[0] == chunk:
        return f(*arrays)
    parts = [_split(x, chunk) for x in arrays]
    whole = tuple(part[0] for part in parts)
    done = jax.lax.map(lambda xs: f(*xs), whole)
    done = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), done)
    if parts[0][1].shape[0] == 0:
        return done
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), done, f(*(part[1] for part in parts)))


def _sum_chunks(f: Callable, arrays: tuple[jax.Array, ...], chunk: int, total: Any) -> tuple[Any, Any]:
    """`f(*chunk) -> (rows, addend)` on chunks; the rows joined, the addends summed onto `total`."""
    if arrays[0].shape[0] == chunk:
        rows, addend = f(*arrays)
        return rows, jax.tree.map(jnp.add, total, addend)
    parts = [_split(x, chunk) for x in arrays]

    def step(total: Any, xs: tuple) -> tuple[Any, Any]:
        rows, addend = f(*xs)
        return jax.tree.map(jnp.add, total, addend), rows

    total, done = jax.lax.scan(step, total, tuple(part[0] for part in parts))
    done = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), done)
    if parts[0][1].shape[0]:
        rows, addend = f(*(part[1] for part in parts))
        total = jax.tree.map(jnp.add, total, addend)
        done = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), done, rows)
    return done, total


def _logits(hidden: jax.Array, matrix: jax.Array, temperature: float) -> jax.Array:
    return as_float(hidden @ matrix.astype(hidden.dtype)) / temperature


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _statistics(
    hidden: jax.Array,
    matrix: jax.Array,
    tokens: jax.Array,
    temperature: float,
    chunk: int,
    with_entropy: bool,
) -> tuple[jax.Array, jax.Array]:
    return _statistics_forward(hidden, matrix, tokens, temperature, chunk, with_entropy)[0]


def _statistics_forward(
    hidden: jax.Array,
    matrix: jax.Array,
    tokens: jax.Array,
    temperature: float,
    chunk: int,
    with_entropy: bool,
) -> tuple[Any, Any]:
    def rows(hidden: jax.Array, tokens: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        logits = _logits(hidden, matrix, temperature)
        total = jax.nn.logsumexp(logits, axis=-1)
        chosen = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
        if not with_entropy:
            return chosen - total, jnp.zeros_like(total), total
        log_p = logits - total[:, None]
        return chosen - total, -jnp.sum(jnp.exp(log_p) * log_p, axis=-1), total

    log_prob, entropy, total = _map_chunks(rows, (hidden, tokens), chunk)
    return (log_prob, entropy), (hidden, matrix, tokens, entropy, total)


def _statistics_backward(
    temperature: float, chunk: int, with_entropy: bool, saved: Any, gradients: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array, None]:
    hidden, matrix, tokens, entropy, total = saved

    def rows(hidden: Any, tokens: Any, entropy: Any, total: Any, g_log_prob: Any, g_entropy: Any) -> Any:
        log_p = _logits(hidden, matrix, temperature) - total[:, None]
        # d log p(y) / dz = onehot(y) - p,  d H / dz = -p (log p + H)
        weight = g_log_prob[:, None]
        if with_entropy:
            weight = weight + g_entropy[:, None] * (log_p + entropy[:, None])
        onehot = jax.nn.one_hot(tokens, log_p.shape[-1], dtype=log_p.dtype)
        d_logits = (g_log_prob[:, None] * onehot - weight * jnp.exp(log_p)) / temperature
        d_logits = d_logits.astype(hidden.dtype)
        return d_logits @ matrix.T.astype(hidden.dtype), as_float(hidden.T @ d_logits)

    arrays = (hidden, tokens, entropy, total, *gradients)
    d_hidden, d_matrix = _sum_chunks(rows, arrays, chunk, jnp.zeros_like(matrix, total.dtype))
    return d_hidden, d_matrix.astype(matrix.dtype), None


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
      tokens: `[...]` integers in [0, V).
      temperature: static, positive.
      chunk: rows whose logits are held at a time; None takes about 64 MB of them.

    Returns:
      Two arrays `[...]`, float32, in nats.

    Raises:
      ValueError: shapes that disagree, a temperature that is not positive, a chunk below 1.

    Reference: chunked cross-entropy as in Liger Kernel (2024), here with a gradient for any use of the result.

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
      tokens: `[...]` integers in [0, V).
      temperature: static, positive.
      chunk: rows whose logits are held at a time; None takes about 64 MB of them.

    Returns:
      `[...]` float32, in nats.

    Raises:
      ValueError: shapes that disagree, a temperature that is not positive, a chunk below 1.

    Reference: chunked cross-entropy as in Liger Kernel (2024), here with a gradient for any use of the result.

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
        raise ValueError(f"temperature is {temperature}: it must be positive")
    _check_matrix("hidden", hidden, "matrix", matrix)
    if tokens.shape != hidden.shape[:-1]:
        raise ValueError(f"tokens {tokens.shape} must have the leading shape of hidden, {hidden.shape}")
    if tokens.size == 0:
        empty = jnp.zeros(tokens.shape, as_float(hidden).dtype)
        return empty, empty
    rows = _rows_per_chunk(tokens.size, matrix.shape[1], chunk)
    arrays = vary_alike(hidden.reshape(-1, hidden.shape[-1]), matrix, tokens.reshape(-1))
    out = _statistics(*arrays, temperature, rows, with_entropy)
    return out[0].reshape(tokens.shape), out[1].reshape(tokens.shape)


def _check_matrix(name: str, hidden: jax.Array, matrix_name: str, matrix: jax.Array) -> None:
    if matrix.ndim != 2 or hidden.ndim < 1 or hidden.shape[-1] != matrix.shape[0]:
        raise ValueError(
            f"{name} {hidden.shape} and {matrix_name} {matrix.shape} must be [..., d] and [d, V]"
        )


_DIVERGENCES = {"forward_kl": forward_kl, "reverse_kl": reverse_kl}


def token_divergence(
    hidden: jax.Array,
    matrix: jax.Array,
    teacher_hidden: jax.Array,
    teacher_matrix: jax.Array,
    *,
    kind: str = "reverse_kl",
    beta: float = 0.5,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> jax.Array:
    """Divergence between student and teacher over the whole vocabulary, per position.

    Gradients flow into the student's `hidden` and `matrix` only.

        forward_kl: KL(teacher || student),  reverse_kl: KL(student || teacher),  jsd: `core.jsd` with its `beta`

    Args:
      hidden: `[..., d]`, the student's.
      matrix: `[d, V]`, the student's.
      teacher_hidden: `[..., e]` with the leading shape of `hidden`.
      teacher_matrix: `[e, V]`, of the same vocabulary.
      kind: "forward_kl", "reverse_kl" or "jsd".
      beta: for "jsd", weight of the teacher in the mixture.
      temperature: static, positive, applied to both.
      chunk: rows whose logits are held at a time; None takes about 64 MB of them.

    Returns:
      `[...]` float32, in nats.

    Raises:
      ValueError: shapes or vocabularies that disagree, an unknown kind.

    Reference: On-Policy Distillation of Language Models, 2024, section 2.

    >>> one, two = jnp.eye(2), jnp.log(jnp.array([[1.0, 3.0], [1.0, 3.0]]))
    >>> round(token_divergence(jnp.zeros((1, 2)), one, jnp.array([[1.0, 0.0]]), two).item(), 4)
    0.1438
    """
    _check_matrix("hidden", hidden, "matrix", matrix)
    _check_matrix("teacher_hidden", teacher_hidden, "teacher_matrix", teacher_matrix)
    if hidden.shape[:-1] != teacher_hidden.shape[:-1]:
        raise ValueError(
            f"hidden {hidden.shape} and teacher_hidden {teacher_hidden.shape} must agree but for the last axis"
        )
    if matrix.shape[1] != teacher_matrix.shape[1]:
        raise ValueError(
            f"the student's vocabulary has {matrix.shape[1]} tokens and the teacher's {teacher_matrix.shape[1]}: "
            "a divergence needs the same one"
        )
    if kind not in (*_DIVERGENCES, "jsd"):
        raise ValueError(f"kind is {kind!r}: it must be 'forward_kl', 'reverse_kl' or 'jsd'")
    divergence = _DIVERGENCES.get(kind) or functools.partial(jsd, beta=beta)
    leading = hidden.shape[:-1]
    if math.prod(leading) == 0:
        return jnp.zeros(leading, as_float(hidden).dtype)
    rows = _rows_per_chunk(math.prod(leading), matrix.shape[1], chunk)
    flat = lambda x: x.reshape(-1, x.shape[-1])
    stop = jax.lax.stop_gradient
    arrays = vary_alike(flat(hidden), matrix, flat(stop(teacher_hidden)), stop(teacher_matrix))
    return _divergence(*arrays, divergence, temperature, rows).reshape(leading)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _divergence(
    hidden: jax.Array, matrix: jax.Array, teacher_hidden: jax.Array, teacher_matrix: jax.Array,
    divergence: Callable, temperature: float, chunk: int,
) -> jax.Array:  # fmt: skip
    def rows(hidden: jax.Array, teacher_hidden: jax.Array) -> jax.Array:
        teacher = _logits(teacher_hidden, teacher_matrix, 1.0)
        return divergence(_logits(hidden, matrix, 1.0), teacher, temperature=temperature)

    return _map_chunks(rows, (hidden, teacher_hidden), chunk)


def _divergence_forward(
    hidden: jax.Array, matrix: jax.Array, teacher_hidden: jax.Array, teacher_matrix: jax.Array,
    divergence: Callable, temperature: float, chunk: int,
) -> tuple[jax.Array, Any]:  # fmt: skip
    saved = (hidden, matrix, teacher_hidden, teacher_matrix)
    return _divergence(*saved, divergence, temperature, chunk), saved


def _divergence_backward(
    divergence: Callable, temperature: float, chunk: int, saved: Any, gradient: jax.Array
) -> tuple:
    hidden, matrix, teacher_hidden, teacher_matrix = saved

    def rows(hidden: jax.Array, teacher_hidden: jax.Array, gradient: jax.Array) -> Any:
        teacher = _logits(teacher_hidden, teacher_matrix, 1.0)
        of_student = lambda logits: divergence(logits, teacher, temperature=temperature)
        _, pull_back = jax.vjp(of_student, _logits(hidden, matrix, 1.0))
        d_logits = pull_back(gradient)[0].astype(hidden.dtype)
        return d_logits @ matrix.T.astype(hidden.dtype), as_float(hidden.T @ d_logits)

    arrays = (hidden, teacher_hidden, gradient)
    d_hidden, d_matrix = _sum_chunks(rows, arrays, chunk, jnp.zeros_like(matrix, gradient.dtype))
    return d_hidden, d_matrix.astype(matrix.dtype), None, None


_divergence.defvjp(_divergence_forward, _divergence_backward)

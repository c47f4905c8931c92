"""Divergences between two models over the whole vocabulary, per position, without ever holding `[B, T, V]`."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxlab.core import as_float, match_varying
from jaxlab.core.check import InputError
from jaxlab.language._vocabulary_chunks import (
    Chunks,
    Normalizer,
    check_matrix,
    chunk_logits,
    cut,
    expected_difference,
    gradients,
    over_chunks,
    stacked,
)


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
      chunk: tokens of the vocabulary whose logits are held at a time; None takes about 64 MB of them, or as many
        tokens as the hidden vectors are wide.

    Returns:
      `[...]` float32, in nats.

    Raises:
      ValueError: shapes or vocabularies that disagree, an unknown kind.

    Reference: Agarwal et al., On-Policy Distillation of Language Models, 2024, section 2.

    >>> one, two = jnp.eye(2), jnp.log(jnp.array([[1.0, 3.0], [1.0, 3.0]]))
    >>> round(token_divergence(jnp.zeros((1, 2)), one, jnp.array([[1.0, 0.0]]), two).item(), 4)
    0.1438
    """
    check_matrix("hidden", hidden, "matrix", matrix)
    check_matrix("teacher_hidden", teacher_hidden, "teacher_matrix", teacher_matrix)
    if hidden.shape[:-1] != teacher_hidden.shape[:-1]:
        raise InputError(
            f"hidden {hidden.shape} and teacher_hidden {teacher_hidden.shape} must agree but for the last axis"
        )
    if matrix.shape[1] != teacher_matrix.shape[1]:
        raise InputError(
            f"the student's vocabulary has {matrix.shape[1]} tokens and the teacher's {teacher_matrix.shape[1]}: "
            "a divergence needs the same one"
        )
    if kind not in ("forward_kl", "reverse_kl", "jsd"):
        raise InputError(f"kind is {kind!r}: it must be 'forward_kl', 'reverse_kl' or 'jsd'")
    if not temperature > 0:
        raise InputError(f"temperature is {temperature}: it must be positive")
    if not 0.0 <= beta <= 1.0:
        raise InputError(f"beta is {beta}: it must lie in [0, 1]")
    if kind == "jsd" and beta in (0.0, 1.0):  # as `core.jsd` has it
        kind = "reverse_kl" if beta else "forward_kl"
    leading = hidden.shape[:-1]
    chunks = cut(matrix.shape[1], math.prod(leading), matrix.shape[0], chunk)
    if math.prod(leading) == 0:
        return jnp.zeros(leading, as_float(hidden).dtype)
    flat, stop = lambda x: x.reshape(-1, x.shape[-1]), jax.lax.stop_gradient
    arrays = match_varying(flat(hidden), matrix, flat(stop(teacher_hidden)), stop(teacher_matrix))
    return _divergence(*arrays, kind, beta, temperature, chunks).reshape(leading)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6, 7))
def _divergence(
    hidden: jax.Array, matrix: jax.Array, teacher_hidden: jax.Array, teacher_matrix: jax.Array,
    kind: str, beta: float, temperature: float, chunks: Chunks,
) -> jax.Array:  # fmt: skip
    arrays = (hidden, matrix, teacher_hidden, teacher_matrix)
    return _divergence_forward(*arrays, kind, beta, temperature, chunks)[0]


def _divergence_forward(
    hidden: jax.Array, matrix: jax.Array, teacher_hidden: jax.Array, teacher_matrix: jax.Array,
    kind: str, beta: float, temperature: float, chunks: Chunks,
) -> tuple[jax.Array, Any]:  # fmt: skip
    arrays = (hidden, matrix, teacher_hidden, teacher_matrix)
    parts, teacher_parts = stacked(matrix, chunks), stacked(teacher_matrix, chunks)

    def pair(index: Any) -> tuple[jax.Array, jax.Array]:
        own, _ = chunk_logits(hidden, parts, index, chunks, temperature)
        return own, chunk_logits(teacher_hidden, teacher_parts, index, chunks, temperature)[0]

    if kind == "forward_kl":
        turned = lambda index: pair(index)[::-1]
        value, of_teacher, of_student = expected_difference(teacher_hidden, hidden, turned, chunks)
        return value, (*arrays, of_student, of_teacher, value)
    value, of_student, of_teacher = expected_difference(hidden, teacher_hidden, pair, chunks)
    if kind == "jsd":
        value, from_student = _mixed(pair, of_student, of_teacher, beta, chunks)
        return value, (*arrays, of_student, of_teacher, from_student)
    return value, (*arrays, of_student, of_teacher, value)


def _log_mixture(log_p: jax.Array, log_q: jax.Array, beta: float) -> jax.Array:
    return jnp.logaddexp(log_q + math.log(beta), log_p + math.log1p(-beta))


def _mixed(
    pair: Any, of_student: Normalizer, of_teacher: Normalizer, beta: float, chunks: Chunks
) -> tuple[jax.Array, jax.Array]:
    """`beta KL(teacher || m) + (1 - beta) KL(student || m)`, and the second divergence."""

    def step(index: Any, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        own, teacher = pair(index)
        log_p, log_q = of_student.log_softmax(own), of_teacher.log_softmax(teacher)
        log_m = _log_mixture(log_p, log_q, beta)
        gap = lambda log: jnp.sum(jnp.exp(log) * (log - log_m), axis=-1)
        return carry[0] + gap(log_p), carry[1] + gap(log_q)

    nothing = jnp.zeros_like(of_student.peak)
    from_student, from_teacher = over_chunks(step, (nothing, nothing), chunks)
    return beta * from_teacher + (1.0 - beta) * from_student, from_student


def _divergence_backward(
    kind: str, beta: float, temperature: float, chunks: Chunks, saved: Any, cotangent: jax.Array
) -> tuple:
    hidden, matrix, teacher_hidden, teacher_matrix, of_student, of_teacher, mean = saved
    parts, teacher_parts = stacked(matrix, chunks), stacked(teacher_matrix, chunks)
    scale = cotangent[:, None] / temperature

    def d_logits(index: Any) -> tuple[jax.Array, jax.Array]:
        own, part = chunk_logits(hidden, parts, index, chunks, temperature)
        teacher, _ = chunk_logits(teacher_hidden, teacher_parts, index, chunks, temperature)
        log_p, log_q = of_student.log_softmax(own), of_teacher.log_softmax(teacher)
        p = jnp.exp(log_p)
        # d/dz sum q (log q - log p) = p - q,  d/dz sum p (log p - log r) = p (log p - log r - their mean), where
        # the mixture r depends on p in a way that cancels.
        if kind == "forward_kl":
            return scale * (p - jnp.exp(log_q)), part
        if kind == "reverse_kl":
            return scale * p * (log_p - log_q - mean[:, None]), part
        log_m = _log_mixture(log_p, log_q, beta)
        return scale * (1.0 - beta) * p * (log_p - log_m - mean[:, None]), part

    return *gradients(d_logits, hidden, matrix, chunks), None, None


_divergence.defvjp(_divergence_forward, _divergence_backward)

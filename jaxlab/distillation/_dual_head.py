"""Losses on the logits themselves, and the second head that keeps them away from the first."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_sum
from jaxlab.core.check import InputError, check_positive, check_same_logits, class_mask

_LOG_2 = 0.6931471805599453


def _valid_logits(
    student_logits: jax.Array, teacher_logits: jax.Array, temperature: float | jax.Array, classes: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Both divided by the temperature, 0 where masked, and the mask."""
    check_same_logits(student_logits, teacher_logits)
    check_positive("temperature", temperature)
    mask = class_mask(classes, np.shape(student_logits))
    teacher_logits = jax.lax.stop_gradient(teacher_logits)
    scaled = [jnp.where(mask, as_float(x), 0.0) / temperature for x in (student_logits, teacher_logits)]
    return *scaled, mask


def _log_cosh(x: jax.Array) -> jax.Array:
    """`log cosh x`, to full relative precision near 0 and finite far away."""
    is_near = jnp.abs(x) < 1
    near = jnp.log1p(2 * jnp.square(jnp.sinh(jnp.where(is_near, x, 0.0) / 2)))
    size = jnp.where(is_near, 1.0, jnp.abs(x))
    return jnp.where(is_near, near, size + jnp.log1p(jnp.exp(-2 * size)) - _LOG_2)


def binary_kl_norm(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    temperature: float | jax.Array = 2.0,
    clamp: float | None = None,
    classes: jax.Array | None = None,
) -> jax.Array:
    """Distance of logits, per example: the sigmoid of every difference should be one half.

    A softmax forgets the level of the logits; this does not. What looks like a divergence of coins is a smooth
    absolute difference, quadratic near 0 and linear far away: every class pulls with at most T / 2. Gradients
    stop at the teacher's logits.

        L = T^2 * sum_c KL([1/2, 1/2] || [q_c, 1 - q_c]),   q = sigmoid((s - t) / T)
          = T^2 * sum_c log cosh((s_c - t_c) / 2T)

    Args:
      student_logits: `[..., C]`, any finite size; of the auxiliary head, where there is one.
      teacher_logits: `[..., C]`, the same.
      temperature: T, a positive scalar; may be traced.
      clamp: keep q in [clamp, 1 - clamp], as the authors' code does with 1e-8; None is exact.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` T^2 times nats, summed over the classes, float32 (float64 for float64 logits), at least 0.

    Raises:
      ValueError: if the shapes differ, `classes` does not fit them, or a static temperature is not
        positive.

    Reference: Yang et al., Dual-Head Knowledge Distillation, 2024, BinaryKL-Norm. The authors clamp q: in float32 1 -
      1e-8 is 1, so that their loss is infinite for s - t above about 35 at T = 2, and has no gradient at all below
      -37. They take the mean over the batch.

    >>> student, teacher = jnp.array([[4.0, 0.0]]), jnp.array([[0.0, 0.0]])
    >>> round(binary_kl_norm(student, teacher).item(), 4)  # 4 log cosh 1
    1.7351
    """
    s, t, mask = _valid_logits(student_logits, teacher_logits, temperature, classes)
    if clamp is None:
        coins = _log_cosh((s - t) / 2)
    else:
        q = jnp.clip(jax.nn.sigmoid(s - t), clamp, 1 - clamp)
        coins = -_LOG_2 - (jnp.log(q) + jnp.log(1 - q)) / 2
    return temperature**2 * masked_sum(coins, where=mask, axis=-1)


def binary_kl(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    temperature: float | jax.Array = 2.0,
    clamp: float | None = None,
    classes: jax.Array | None = None,
) -> jax.Array:
    """Divergence of one coin per class, per example: each class is a yes or no of its own.

    Unlike a softmax it depends on the level of the logits; where teacher and student are both sure of a class
    it asks for little more. Gradients stop at the teacher's logits.

        L = T^2 * sum_c KL([p_c, 1 - p_c] || [q_c, 1 - q_c]),   p = sigmoid(t / T),   q = sigmoid(s / T)

    Args:
      student_logits: `[..., C]`, any finite size; of the auxiliary head, where there is one.
      teacher_logits: `[..., C]`, the same.
      temperature: T, a positive scalar; may be traced.
      clamp: keep p and q in [clamp, 1 - clamp], as the authors' code does with 1e-8; None is exact.
      classes: bool or {0, 1}, `[C]` or `[..., C]`, the classes that exist; None means all.

    Returns:
      `[...]` T^2 times nats, summed over the classes, float32 (float64 for float64 logits).

    Raises:
      ValueError: if the shapes differ, `classes` does not fit them, or a static temperature is not
        positive.

    Reference: Yang et al., Dual-Head Knowledge Distillation, 2024, BinaryKL. The authors clamp p and q, with the
      effects that `binary_kl_norm` names, and take the mean over the batch.

    >>> student, teacher = jnp.array([[0.0]]), jnp.array([[2.0]])
    >>> round(binary_kl(student, teacher).item(), 4)
    0.4438
    """
    s, t, mask = _valid_logits(student_logits, teacher_logits, temperature, classes)
    if clamp is None:
        ahead = jax.nn.sigmoid(t) * (jax.nn.log_sigmoid(t) - jax.nn.log_sigmoid(s))
        behind = jax.nn.sigmoid(-t) * (jax.nn.log_sigmoid(-t) - jax.nn.log_sigmoid(-s))
    else:
        p, q = (jnp.clip(jax.nn.sigmoid(x), clamp, 1 - clamp) for x in (t, s))
        ahead, behind = p * jnp.log(p / q), (1 - p) * jnp.log((1 - p) / (1 - q))
    return temperature**2 * masked_sum(ahead + behind, where=mask, axis=-1)


def dual_head_apply(
    params: dict[str, Any],
    x: jax.Array,
    *,
    net: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]],
    head: Callable[[Any, jax.Array], jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """Logits of two heads on one backbone.

    The main head, a part of `net`, is for the labels and is the one to keep; the auxiliary head reads the same
    features, is for the teacher, and is dropped after training. The two losses meet in the backbone alone.

        s = W h(x) + b,   a = g(h(x))

    Args:
      params: `{"net": ..., "head": ...}`, the parameters of both.
      x: inputs, whatever `net` takes.
      net: `(params, x) -> (logits [B, C], features [B, D])`.
      head: `(params, features) -> logits [B, C]`, linear or deeper.

    Returns:
      `(s [B, C], a [B, C])`.

    Raises:
      ValueError: if the two heads differ in shape.

    Reference: Yang et al., Dual-Head Knowledge Distillation, 2024. The authors' deeper head is Linear, Dropout 0.1,
      BatchNorm, relu, Linear, 200 wide.

    >>> net = lambda w, x: (x @ w, x)
    >>> params = {"net": jnp.eye(2), "head": 2 * jnp.eye(2)}
    >>> dual_head_apply(params, jnp.array([[1.0, 3.0]]), net=net, head=lambda w, h: h @ w)[1].tolist()
    [[2.0, 6.0]]
    """
    logits, features = net(params["net"], x)
    auxiliary = head(params["head"], features)
    if auxiliary.shape != logits.shape:
        raise InputError(
            f"auxiliary logits {auxiliary.shape} must have the shape of the main logits {logits.shape}"
        )
    return logits, auxiliary

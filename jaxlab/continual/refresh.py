"""Refresh learning: unlearn the current batch a little, then learn; and the one objective that holds most methods.

The objective is the task's loss, a Bregman divergence between outputs and what they should be, and one between weights
and where they were. `bregman` with a potential gives each.
"""

import math
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.continual._contracts import check_alike
from jaxlab.core import Learner, as_float, normalize
from jaxlab.core.check import InputError, check_least, check_positive, check_probabilities

_OWN_KEY = zlib.crc32(b"unlearn")
_LEAST = 1e-15  # a probability whose inverse square is still far from overflow


def unlearn(
    params: Any,
    grads: Any,
    fisher: Any,
    key: jax.Array,
    *,
    size: float | jax.Array = 1e-5,
    damping: float | jax.Array = 1e-3,
    noise: float | jax.Array = 1e-3,
) -> Any:
    """One step up the loss of the current batch, as in the authors' code, batch-level.

    Tensor by tensor the gradient is scaled to the length of the weights, so a tensor of zeros moves by noise alone, and
    a rate would cancel. Weights that mattered move less.

        w <- w + size (g |w| / |g| + noise xi) / (1 + damping F),   xi ~ N(0, 1)

    Args:
      params: pytree of weights.
      grads: gradient of the cross-entropy of the current batch, the same structure; it is climbed.
      fisher: importance of the weights, as from `diag_fisher`; zeros during the first task.
      key: random key.
      size: step relative to the length of the weights (delta).
      damping: weight of the Fisher information, at least 0.
      noise: standard deviation of the noise, not scaled by the weights.

    Returns:
      The weights, in their types.

    Raises:
      ValueError: if structures or shapes differ, or a static number is below 0.

    Reference: Wang et al., A Unified and General Framework for Continual Learning, 2024, the authors' code.

    >>> w, g = jnp.array([3.0, 4.0]), jnp.array([0.0, 2.0])
    >>> unlearn(w, g, jnp.zeros(2), jax.random.key(0), size=0.1, noise=0.0).tolist()
    [3.0, 4.5]
    """
    check_least("damping", damping, 0)
    check_least("noise", noise, 0)
    check_alike("grads", grads, params)
    check_alike("fisher", fisher, params)

    def climb(w: jax.Array, g: jax.Array, f: jax.Array, xi: jax.Array) -> jax.Array:
        wide = as_float(w)
        length = jnp.linalg.norm(jax.lax.stop_gradient(wide).ravel())
        direction = normalize(as_float(g).ravel()).reshape(jnp.shape(g))
        step = size * (direction * length + noise * xi.astype(wide.dtype)) / (1.0 + damping * as_float(f))
        return (wide + step).astype(jnp.asarray(w).dtype)

    return jax.tree.map(climb, params, grads, fisher, _noise_like(params, key))


def unlearn_langevin(
    params: Any,
    gradient: Callable[[Any], Any],
    fisher: Any,
    key: jax.Array,
    *,
    rate: float | jax.Array,
    steps: int = 1,
    damping: float | jax.Array = 1e-3,
) -> Any:
    """Steps up the whole loss with the noise of Langevin dynamics, as in the paper, batch-level.

    The inverse Fisher information is damped, for a weight that never mattered has none.

        theta <- theta + rate g / (F + damping) + N(0, 2 rate / (F + damping)),   `steps` times

    Args:
      params: pytree of weights.
      gradient: `params -> gradient` of the loss that is unlearned.
      fisher: importance of the weights, at least 0, the same structure.
      key: random key.
      rate: step size (gamma), at least 0.
      steps: static number of steps (J).
      damping: a positive number.

    Returns:
      The weights, in their types.

    Raises:
      ValueError: if structures or shapes differ, `steps` or a static rate is below 0, or the damping is not positive.

    Reference: Wang et al., A Unified and General Framework for Continual Learning, 2024, algorithm 1; the damping is
      not there.

    >>> up = unlearn_langevin(jnp.ones(2), lambda w: w, jnp.ones(2), jax.random.key(0), rate=0.0)
    >>> up.tolist()
    [1.0, 1.0]
    """
    check_least("rate", rate, 0)
    check_positive("damping", damping)
    check_alike("fisher", fisher, params)
    if steps < 0:
        raise InputError(f"steps must be at least 0, got {steps}")

    def climb(params: Any, key: jax.Array) -> tuple[Any, None]:
        grads = gradient(params)
        check_alike("gradient(params)", grads, params)

        def move(w: jax.Array, g: jax.Array, f: jax.Array, xi: jax.Array) -> jax.Array:
            inverse = rate / (as_float(f) + damping)
            step = inverse * as_float(g) + jnp.sqrt(2.0 * inverse) * xi
            return (as_float(w) + step).astype(jnp.asarray(w).dtype)

        return jax.tree.map(move, params, grads, fisher, _noise_like(params, key)), None

    return jax.lax.scan(climb, params, jax.random.split(key, steps))[0] if steps else params


def refreshed(learner: Learner, before: Callable[[Any, Any, jax.Array, Any], Any]) -> Learner:
    """A learner that changes its weights before every update of another: unlearn, then relearn.

    Args:
      learner: its state has a field `params`, as that of `gradient_learner`.
      before: `(state, batch, key, context) -> params`, such as a call of `unlearn`. Its key is its own: the update's
        stays what it was.

    Returns:
      The learner, with the state of the other one.

    Reference: Wang et al., A Unified and General Framework for Continual Learning, 2024, algorithm 1.

    >>> import optax
    >>> from jaxlab.core import gradient_learner
    >>> base = gradient_learner(
    ...     lambda key, context: (jnp.ones(()), None),
    ...     lambda p, memory, batch, step, key, context: (p * batch, (memory, {})), optax.sgd(1.0))
    >>> learner = refreshed(base, lambda state, batch, key, context: state.params + 10.0)
    >>> learner.update(learner.init(jax.random.key(0), {}), 2.0, jax.random.key(1), {})[0].params.item()
    9.0
    """

    def update(state: Any, batch: Any, key: jax.Array, context: Any) -> tuple[Any, dict]:
        params = before(state, batch, jax.random.fold_in(key, _OWN_KEY), context)
        return learner.update(state._replace(params=params), batch, key, context)

    return Learner(learner.init, update, learner.jit)


def bregman(potential: Callable[[Any], jax.Array], p: Any, q: Any) -> jax.Array:
    """Bregman divergence of two points, batch-level where the potential is one number, else per example.

    How far the potential at p lies above its tangent at q: at least 0 for a convex potential. Gradients flow into both;
    stop the one that is remembered.

        D(p, q) = Phi(p) - Phi(q) - <grad Phi(q), p - q>

    Args:
      potential: convex Phi: `[..., C] -> [...]`, or a pytree to a scalar.
      p: array `[..., C]`, or pytree.
      q: the same.

    Returns:
      What the potential returns.

    Raises:
      ValueError: if structures or shapes differ.

    Reference: Bregman, 1967; Wang et al., A Unified and General Framework for Continual Learning, 2024.

    >>> bregman(half_square, jnp.array([[3.0, 1.0]]), jnp.array([[1.0, 1.0]])).tolist()
    [2.0]
    """
    check_alike("q", q, p)
    difference = jax.tree.map(lambda p, q: as_float(p) - as_float(q), p, q)
    at_q, slope = jax.jvp(potential, (jax.tree.map(as_float, q),), (difference,))
    return potential(jax.tree.map(as_float, p)) - at_q - slope


def half_square(z: jax.Array) -> jax.Array:
    """The potential of the squared distance, per example: with logits it is dark experience replay's.

        Phi(z) = 1/2 sum_c z_c^2

    Args:
      z: `[..., C]`.

    Returns:
      `[...]` float32 (float64 for float64 input).

    Reference: Bregman, 1967; Wang et al., A Unified and General Framework for Continual Learning, 2024.

    >>> half_square(jnp.array([3.0, 1.0])).item()
    5.0
    """
    return 0.5 * jnp.sum(jnp.square(as_float(z)), axis=-1)


def negative_entropy(probs: jax.Array) -> jax.Array:
    """The potential of the KL divergence, per example: with a one-hot first point it is experience replay's.

    `bregman(negative_entropy, target, probs)` is KL(target || probs). The other way round is infinite for a one-hot
    target. In its logarithm a probability below 1e-15 counts as that, so that derivatives do not overflow.

        Phi(p) = sum_c p_c log p_c

    Args:
      probs: `[..., C]` in [0, 1].

    Returns:
      `[...]` nats, float32 (float64 for float64 input), at most 0.

    Reference: Bregman, 1967; Wang et al., A Unified and General Framework for Continual Learning, 2024.

    >>> round(negative_entropy(jnp.array([0.5, 0.5, 0.0])).item(), 4)
    -0.6931
    """
    check_probabilities("probs", probs)
    probs = as_float(probs)
    small = probs < _LEAST
    return jnp.sum(probs * jnp.where(small, math.log(_LEAST), jnp.log(jnp.where(small, 1.0, probs))), axis=-1)


def fisher_quadratic(importance: Any) -> Callable[[Any], jax.Array]:
    """The potential of a quadratic form of weights: elastic weight consolidation's.

        Psi(theta) = 1/2 sum_k F_k theta_k^2

    Args:
      importance: pytree F, at least 0.

    Returns:
      The potential, from a pytree of the same structure to a scalar.

    Reference: Wang et al., A Unified and General Framework for Continual Learning, 2024, table 1.

    >>> fisher_quadratic(jnp.array([2.0]))(jnp.array([3.0])).item()
    9.0
    """

    def potential(params: Any) -> jax.Array:
        check_alike("importance", importance, params)
        terms = jax.tree.map(lambda f, w: jnp.sum(as_float(f) * jnp.square(as_float(w))), importance, params)
        return 0.5 * sum(jax.tree.leaves(terms), jnp.float32(0))

    return potential


def unified_objective(
    task_loss: jax.Array,
    *,
    outputs: tuple[Callable, jax.Array, jax.Array] | None = None,
    weights: tuple[Callable, Any, Any] | None = None,
    output_weight: float | jax.Array = 1.0,
    weight_weight: float | jax.Array = 1.0,
) -> jax.Array:
    """The objective of which most methods are a case, batch-level: one number.

        L = L_task + alpha mean_i D_Phi(p_i, q_i) + beta D_Psi(theta, theta_old)

    EWC has no `outputs` and `weights=(fisher_quadratic(F), params, old)`; experience replay
    `outputs=(negative_entropy, one_hot, probs)`; DER `outputs=(half_square, logits, stored)`, whose mean square is this
    by 2 / C; DER++ adds the objective of a second draw.

    Args:
      task_loss: scalar, the loss of the stream's batch.
      outputs: a potential and two points `[N, C]`, as for `bregman`; None leaves the term out.
      weights: a potential and two pytrees, the same.
      output_weight: alpha.
      weight_weight: beta.

    Returns:
      A scalar. Gradients flow wherever they are not stopped: stop those of what is remembered.

    Raises:
      ValueError: if the points of a divergence differ in structure or shape.

    Reference: Wang et al., A Unified and General Framework for Continual Learning, 2024, table 1.

    >>> unified_objective(jnp.float32(1), weights=(fisher_quadratic(jnp.ones(1)), jnp.ones(1), jnp.zeros(1))).item()
    1.5
    """
    total = task_loss
    if outputs is not None:
        each = bregman(*outputs)
        total = total + output_weight * jnp.sum(each) / max(np.size(each), 1)
    if weights is not None:
        total = total + weight_weight * bregman(*weights)
    return total


def _noise_like(params: Any, key: jax.Array) -> Any:
    """Standard normal numbers in the shapes of the weights."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, max(len(leaves), 1))
    return jax.tree.unflatten(
        structure, [jax.random.normal(k, jnp.shape(leaf)) for k, leaf in zip(keys, leaves)]
    )

"""Teacher hacking: does a student still near its teacher while it moves away from the truth?

The teacher of a language model is itself a model of some truth. With small vocabularies and short sequences the
distance between two sequence distributions is computed exactly, so both distances of a student can be watched: to
its teacher (proxy) and to the oracle behind the teacher (golden).

A model's next-token logits after every possible prefix are kept as one array `[..., N, V]` in the order of a heap:
the empty prefix is node 0, and prefix n followed by token v is node `n * V + v + 1`. Sequences of T tokens have
N = 1 + V + ... + V^(T-1) prefixes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, forward_kl, masked_log_softmax, masked_mean
from jaxlab.core.check import InputError, check_positive, check_same_logits, fitted, full_mask


class PowerLaw(NamedTuple):
    """A straight line on log-log paper, `value = scale * step ** exponent`.

    exponent: `[...]` the slope, negative for a falling curve.
    scale: `[...]` the value at step 1.
    deviation: `[...]` root mean square distance from the line, in units of the natural logarithm.
    """

    exponent: jax.Array
    scale: jax.Array
    deviation: jax.Array


def sequence_kl(
    student_logits: jax.Array, teacher_logits: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """Exact KL(teacher || student) between the distributions of whole sequences, per prompt.

    By the chain rule it is the divergence of the next token at every prefix, weighted by the probability that the
    teacher gets there; no sequence is enumerated twice. With the oracle in the teacher's place it is the golden
    distance. Gradients stop at the teacher's logits.

        KL = sum_n p(n) sum_v t_n(v) (log t_n(v) - log s_n(v)),   p(n) = product of t along the prefix n

    Args:
      student_logits: `[..., N, V]` next-token logits at every prefix, in heap order (see the module), any size.
      teacher_logits: `[..., N, V]`, the same prefixes.
      where: bool or {0, 1}, broadcastable to `[..., N]`, the prefixes that go on: mark what follows an end of
        sequence as False. None means all.

    Returns:
      `[...]` nats per sequence, float32 (float64 for float64 logits), at least 0.

    Raises:
      ValueError: if the shapes differ, or N is no such sum of powers of V.

    Reference: On Teacher Hacking in Language Model Distillation, 2025, figure 3 (proxy and golden metrics). Which
      divergence the paper measures and whether per token was not seen; this is the forward KL of whole sequences.

    >>> teacher = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]]))  # 2 tokens, 2 long: 3 prefixes
    >>> round(sequence_kl(jnp.zeros((3, 2)), teacher).item(), 4)  # half of the KL after token 0
    0.0654
    """
    check_same_logits(student_logits, teacher_logits)
    shape = np.shape(teacher_logits)
    length = _tree_depth(shape)
    keep = full_mask(where, shape[:-1], "prefixes")
    student = jnp.where(keep[..., None], as_float(student_logits), 0.0)
    teacher = jax.lax.stop_gradient(jnp.where(keep[..., None], as_float(teacher_logits), 0.0))
    divergence = jnp.where(keep, forward_kl(student, teacher), 0.0)
    log_p = masked_log_softmax(teacher)
    reach, total, first = jnp.zeros_like(divergence[..., :1]), jnp.zeros_like(divergence[..., 0]), 0
    for level in range(length):
        nodes = slice(first, first + shape[-1] ** level)
        total += jnp.sum(jnp.exp(reach) * divergence[..., nodes], axis=-1)
        reach = (reach[..., None] + log_p[..., nodes, :]).reshape(*shape[:-2], shape[-1] ** (level + 1))
        first = nodes.stop
    return total


def token_forward_kl(
    student_logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    temperature: float | jax.Array = 1.0,
    where: jax.Array | None = None,
) -> jax.Array:
    """Mean KL(teacher || student) of the next token along given sequences, per sequence.

    What students are trained with: on stored sequences of the teacher (offline), on fresh ones, or on the student's
    own. Gradients stop at the teacher's logits, and none flows through the choice of the tokens.

        L = sum_t where_t KL(t_t || s_t) / sum_t where_t

    Args:
      student_logits: `[..., T, V]` before each token of the sequence, any finite size.
      teacher_logits: `[..., T, V]`, the same.
      temperature: a positive scalar applied to both, without a factor T^2; may be traced.
      where: bool or {0, 1}, broadcastable to `[..., T]`, the tokens that count; None means all.

    Returns:
      `[...]` nats per token, float32 (float64 for float64 logits); 0 where no token counts.

    Raises:
      ValueError: if the shapes differ, `where` does not broadcast, or a static temperature is not positive.

    Reference: On Teacher Hacking in Language Model Distillation, 2025, section 3. For sequences of different lengths
      the mean over all tokens of a batch, as trl takes it, is `masked_mean` of the divergences instead.

    >>> student, teacher = jnp.zeros((1, 2, 2)), jnp.log(jnp.array([[[0.25, 0.75], [0.5, 0.5]]]))
    >>> round(token_forward_kl(student, teacher).item(), 4)
    0.0654
    """
    check_same_logits(student_logits, teacher_logits)
    check_positive("temperature", temperature)
    if np.ndim(teacher_logits) < 2:
        raise InputError(f"logits {np.shape(teacher_logits)} must be [..., T, V], positions before tokens")
    keep = full_mask(where, np.shape(teacher_logits)[:-1], "positions")
    student = jnp.where(keep[..., None], as_float(student_logits), 0.0)
    teacher = jax.lax.stop_gradient(jnp.where(keep[..., None], as_float(teacher_logits), 0.0))
    return masked_mean(forward_kl(student, teacher, temperature=temperature), where=keep, axis=-1)


def hacking_score(golden: jax.Array) -> jax.Array:
    """How far the golden distance has risen again by the end of training.

    Zero for a curve whose last value is its lowest. On its own it does not tell hacking from overfitting: for that
    the proxy distance, held out as well, must still be falling meanwhile. Gradient is 0.

        golden_K - min_k golden_k

    Args:
      golden: `[..., K]` distances to the oracle over training, the last one last.

    Returns:
      `[...]` in the unit of the distance, float32 (float64 for float64 input), at least 0; 0 for K = 0.

    Raises:
      ValueError: if `golden` is a scalar.

    Reference: On Teacher Hacking in Language Model Distillation, 2025, figures 4 and 5: the rise of the U-shaped
      curve.

    >>> hacking_score(jnp.array([3.0, 1.0, 1.5])).item()
    0.5
    """
    golden = jax.lax.stop_gradient(as_float(golden))
    if golden.ndim == 0:
        raise InputError("golden () must be [..., K], one distance per checkpoint")
    if golden.shape[-1] == 0:
        return jnp.zeros(golden.shape[:-1], golden.dtype)
    # Compiled after other arithmetic, a number less itself may be a rounding error: what is the lowest did not rise.
    lowest = golden.min(axis=-1)
    turned = (golden.argmin(axis=-1) < golden.shape[-1] - 1) | jnp.isnan(lowest)
    return jnp.where(turned, jnp.maximum(golden[..., -1] - lowest, 0.0), 0.0)


def power_law_fit(steps: jax.Array, values: jax.Array, *, where: jax.Array | None = None) -> PowerLaw:
    """Least-squares line through a curve on log-log paper, and how far the curve strays from it.

    A distance to the teacher that leaves the power law is the paper's sign of hacking, to be had without an oracle.
    Points that are not positive have no logarithm and are left out. Gradient is 0.

        log value_k = log scale + exponent * log step_k + residual_k,   deviation^2 = mean_k residual_k^2

    Args:
      steps: `[K]` or `[..., K]` training steps, positive.
      values: `[..., K]` distances at those steps, positive.
      where: bool or {0, 1}, broadcastable to `[..., K]`, the points that count; None means all.

    Returns:
      A `PowerLaw` of `[...]` float32 (float64 for float64 values); exponent 0 for fewer than two points.

    Raises:
      ValueError: if `steps` or `where` does not broadcast to `values`.

    Reference: On Teacher Hacking in Language Model Distillation, 2025, abstract.

    >>> law = power_law_fit(jnp.array([1.0, 2.0, 4.0]), jnp.array([8.0, 4.0, 2.0]))
    >>> round(law.exponent.item(), 3), round(law.scale.item(), 3), round(law.deviation.item(), 3)
    (-1.0, 8.0, 0.0)
    """
    values = jax.lax.stop_gradient(as_float(values))
    steps = fitted(jax.lax.stop_gradient(jnp.asarray(steps, values.dtype)), values.shape, "steps", "values")
    info = jnp.finfo(values.dtype)
    keep = full_mask(where, values.shape, "values") & ~(values <= info.tiny) & ~(steps <= info.tiny)
    mean = lambda x: masked_mean(x, where=keep, axis=-1, keepdims=True)
    x, y = (jnp.log(jnp.where(keep, raw, 1.0)) for raw in (steps, values))
    middle_x, middle_y = mean(x), mean(y)
    spread = mean(jnp.square(x - middle_x))
    several = spread > jnp.square(
        4 * info.eps * (1 + jnp.abs(middle_x))
    )  # equal steps differ by rounding only
    slope = jnp.where(several, mean((x - middle_x) * (y - middle_y)) / jnp.where(several, spread, 1.0), 0.0)
    level = jnp.minimum(middle_y - slope * middle_x, 0.99 * jnp.log(info.max))
    deviation = jnp.sqrt(mean(jnp.square(y - level - slope * x)))
    return PowerLaw(slope[..., 0], jnp.exp(level[..., 0]), deviation[..., 0])


def _tree_depth(shape: tuple[int, ...]) -> int:
    """T of a heap `[..., N, V]` with N = 1 + V + ... + V^(T-1)."""
    if len(shape) < 2:
        raise InputError(f"logits {shape} must be [..., N, V], one row per prefix")
    (nodes, vocab), total, depth = shape[-2:], 0, 0
    while total < nodes and (vocab or not depth):
        total, depth = total + vocab**depth, depth + 1
    if total != nodes:
        raise InputError(
            f"logits {shape} hold {nodes} prefixes: with {vocab} tokens it must be 1, 1 + {vocab}, "
            f"1 + {vocab} + {vocab}^2, and so on"
        )
    return depth

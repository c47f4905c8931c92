"""How much every weight matters for what was learned: diagonal Fisher information, and sensitivity of the outputs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxlab.continual._contracts import number_of_rows
from jaxlab.core import as_float, masked_log_softmax
from jaxlab.core.check import InputError, as_integers, check_choice, check_least, full_mask

KINDS = ("empirical", "weighted", "batch_mean", "exact")


def diag_fisher(
    apply: Callable[[Any, Any], jax.Array],
    params: Any,
    inputs: Any,
    labels: jax.Array,
    *,
    kind: str = "empirical",
    batch_size: int | None = None,
    where: jax.Array | None = None,
) -> Any:
    """The diagonal of the Fisher information of a classifier, batch-level: one number per weight.

    Four quantities have this name; with g_iy = grad log p(y | x_i) by the weights:

        empirical:   mean_i g_iy^2, of the labels
        weighted:    mean_i p(y_i | x_i) g_iy^2
        batch_mean:  mean over batches of (mean_i g_iy)^2
        exact:       mean_i sum_c p(c | x_i) g_ic^2, without labels

    Args:
      apply: `(params, inputs) -> logits [N, C]`, in which no example depends on another.
      params: pytree of floats.
      inputs: array or pytree with leaves `[N, ...]`.
      labels: `[N]` integers in [0, C), negative for an example to ignore; `exact` only ignores by them.
      kind: static, one of the four.
      batch_size: static, examples per pass: bounds memory; for `batch_mean` it is the batch. None means all.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.

    Returns:
      A pytree like `params`, float32 (float64 where they are), at least 0; 0 if no example counts. No gradient.

    Raises:
      ValueError: if the shapes do not fit, a known label is C or above, or the kind is another.

    Reference: Kirkpatrick et al., Overcoming Catastrophic Forgetting in Neural Networks, 2017 (empirical, exact); the
      code of mammoth (weighted; there a short last batch counts as a full one) and of Avalanche (batch_mean).

    >>> fisher = diag_fisher(lambda w, x: x @ w, jnp.zeros((1, 2)), jnp.array([[2.0]]), jnp.array([0]))
    >>> fisher.tolist()
    [[1.0, 1.0]]
    """
    check_choice("kind", kind, KINDS)
    rows = number_of_rows("inputs", inputs)
    labels, valid = _labelled(apply, params, inputs, labels, rows, where)

    def log_prob(params: Any, x: Any, label: jax.Array) -> jax.Array:
        return masked_log_softmax(apply(params, jax.tree.map(lambda leaf: leaf[None], x))[0])[label]

    def squares(x: Any, label: jax.Array) -> Any:
        value, gradient = jax.value_and_grad(log_prob)(params, x, label)
        weight = jnp.exp(value) if kind in ("weighted", "exact") else 1.0
        return jax.tree.map(lambda g: weight * jnp.square(as_float(g)), gradient)

    def of_all_classes(x: Any, label: jax.Array) -> Any:
        classes = jnp.arange(jax.eval_shape(apply, params, inputs).shape[-1])
        each = jax.vmap(squares, in_axes=(None, 0))(x, classes)
        return jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), each)

    def gradient(x: Any, label: jax.Array) -> Any:
        return jax.tree.map(as_float, jax.grad(log_prob)(params, x, label))

    term = {"exact": of_all_classes, "batch_mean": gradient}.get(kind, squares)
    return _mean_over_batches(term, (inputs, labels), valid, batch_size, squared_means=kind == "batch_mean")


def mas_importance(
    apply: Callable[[Any, Any], jax.Array],
    params: Any,
    inputs: Any,
    *,
    batch_size: int | None = None,
    where: jax.Array | None = None,
) -> Any:
    """How sensitive the outputs are to every weight (memory aware synapses), batch-level; needs no labels.

        mean_i | d |f(x_i)|^2 / d theta |

    Args:
      apply: `(params, inputs) -> outputs [N, C]`, in which no example depends on another.
      params: pytree of floats.
      inputs: array or pytree with leaves `[N, ...]`.
      batch_size: static, examples per pass: bounds memory. None means all.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.

    Returns:
      A pytree like `params`, float32 (float64 where they are), at least 0; 0 if no example counts. No gradient.

    Raises:
      ValueError: if the leaves of `inputs` differ in N or `where` does not broadcast to it.

    Reference: Aljundi et al., Memory Aware Synapses, 2018.

    >>> mas_importance(lambda w, x: x * w, jnp.array([3.0]), jnp.array([[1.0], [2.0]])).tolist()  # 2 w x^2
    [15.0]
    """
    rows = number_of_rows("inputs", inputs)
    valid = full_mask(where, (rows,), "inputs")

    def length(params: Any, x: Any) -> jax.Array:
        return jnp.sum(jnp.square(as_float(apply(params, jax.tree.map(lambda leaf: leaf[None], x)))))

    def term(x: Any) -> Any:
        return jax.tree.map(lambda g: jnp.abs(as_float(g)), jax.grad(length)(params, x))

    return _mean_over_batches(term, (inputs,), valid, batch_size)


def _labelled(apply, params, inputs, labels, rows: int, where) -> tuple[jax.Array, jax.Array]:
    """Labels of `[N]`, and which examples count."""
    if jnp.shape(labels) != (rows,):
        raise InputError(f"labels {jnp.shape(labels)} must be [N] for {rows} inputs")
    logits = jax.eval_shape(apply, params, inputs).shape
    if len(logits) != 2 or logits[0] != rows:
        raise InputError(f"apply must give logits [N, C] for {rows} inputs, got {logits}")
    meaning = {"where": where, "ignore": "an example to ignore"}
    labels = as_integers("labels", labels, "class indices in [0, C)", logits[1], **meaning)
    valid = full_mask(where, (rows,), "inputs") & (labels >= 0) & (labels < logits[1])
    return jnp.where(valid, labels, 0), valid


def _mean_over_batches(
    term: Callable[..., Any],
    examples: Any,
    valid: jax.Array,
    batch_size: int | None,
    *,
    squared_means: bool = False,
) -> Any:
    """Mean of `term(*example)` over the valid examples, or over batches the mean of the squared means of each."""
    rows = len(valid)
    check_least("batch_size", batch_size, 1)
    size = max(rows, 1) if batch_size is None else batch_size
    batches = max(-(-rows // size), 1)
    # A row that does not count is zeros: a NaN in it would survive the product with a weight of 0.
    clean = lambda x: jnp.where(valid.reshape(-1, *(1,) * (jnp.ndim(x) - 1)), x, 0)
    pad = lambda x: jnp.pad(x, [(0, batches * size - rows)] + [(0, 0)] * (x.ndim - 1))
    cut = lambda x: pad(x).reshape(batches, size, *x.shape[1:])
    examples, valid = jax.tree.map(lambda x: cut(clean(jnp.asarray(x))), examples), cut(valid)

    def one(batch) -> tuple[Any, jax.Array]:
        examples, valid = batch
        terms = jax.vmap(term)(*examples)
        keep = lambda x: jnp.where(valid.reshape(-1, *(1,) * (x.ndim - 1)), x, 0.0)
        count = jnp.sum(valid, dtype=jnp.int32)
        total = jax.tree.map(lambda x: jnp.sum(keep(x), axis=0), terms)
        if squared_means:
            total = jax.tree.map(lambda x: jnp.square(x / jnp.maximum(count, 1)), total)
            count = jnp.minimum(count, 1)
        return total, count

    def add(total, batch):
        return jax.tree.map(jnp.add, total, one(batch)), None

    first = jax.tree.map(lambda x: x[0], (examples, valid))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, first))
    (total, count), _ = jax.lax.scan(add, zeros, (examples, valid))
    return jax.lax.stop_gradient(jax.tree.map(lambda x: x / jnp.maximum(count, 1), total))

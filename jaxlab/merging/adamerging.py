"""AdaMerging: merging coefficients learned by making predictions on unlabelled inputs sure."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, entropy, masked_mean
from jaxlab.core._reduce import AxisName, as_mask
from jaxlab.core.check import InputError, check_together


def adamerging_loss(
    logits: jax.Array, *, where: jax.Array | None = None, axis_name: AxisName = None
) -> jax.Array:
    """Batch-level: the entropy of the merged model's predictions, a mean over inputs and a sum over tasks.

    It needs inputs and no labels. Where the inputs are those that the model is then scored on, the score is
    transductive and should be called so. Entropy also falls when every input is given to one class: report how
    the predictions spread. Gradients flow into the logits, and from there to the coefficients.

        L = sum_k mean_b H(softmax(logits[k, b]))

    Args:
      logits: `[K, B, C]` of the one merged model, with each task's own inputs and classifier; a task with fewer
        classes has -inf in the others.
      where: bool or {0, 1}, broadcastable to `[K, B]`, the inputs that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global value.

    Returns:
      Scalar in nats, float32 (float64 for float64 logits), in [0, K log C].

    Raises:
      ValueError: if logits are not `[K, B, C]` or `where` does not broadcast to `[K, B]`.

    Reference: Yang et al., AdaMerging: Adaptive Model Merging for Multi-Task Learning, ICLR 2024, section 3.2. The
      authors' code adds two batches per task and step, which Adam does not notice.

    >>> round(adamerging_loss(jnp.zeros((2, 3, 4))).item(), 4)  # two tasks, log 4 each
    2.7726
    """
    if np.ndim(logits) != 3:
        raise InputError(f"logits {np.shape(logits)} must be [K, B, C]: tasks, inputs, classes")
    logits = as_float(logits)
    valid = jnp.broadcast_to(as_mask(where, logits.shape[:-1]), logits.shape[:-1])
    safe = jnp.where(valid[..., None], logits, 0.0)
    return masked_mean(entropy(safe), where=valid, axis=1, axis_name=axis_name).sum()


def clip_coefficients(coefficients: Any, *, low: float = 0.0, high: float = 1.0) -> Any:
    """Coefficients inside an interval, with gradient 1 on all of it, its two ends included.

    `jnp.clip` halves the gradient at the ends, so that a coefficient that starts at exactly 0 would learn at half
    speed. Outside, the gradient is 0: a coefficient that has left stays where it is, but for the optimizer's momentum.
    Report how many have.

        max(low, min(high, lambda)),    d/d lambda = [low <= lambda <= high]

    Args:
      coefficients: pytree of arrays of any shape.
      low, high: the interval.

    Returns:
      The same pytree, float32 (float64 where the leaves are).

    Raises:
      ValueError: if `low` is not below `high`.

    Reference: AdaMerging, ICLR 2024; the interval and the gradient at its ends are those of the authors' code
      (a clamp).

    >>> clip_coefficients(jnp.array([-0.5, 0.3, 2.0])).tolist() == jnp.array([0.0, 0.3, 1.0]).tolist()
    True
    """
    check_together("low must be below high", lambda low, high: low < high, low=low, high=high)

    def clip(x: jax.Array) -> jax.Array:
        x = as_float(x)
        inside = (x >= low) & (x <= high)
        return jnp.where(inside, x, jax.lax.stop_gradient(jnp.clip(x, low, high)))

    return jax.tree.map(clip, coefficients)


def initial_coefficients(pretrained: Any, num_tasks: int, *, per: str = "layer", value: float = 0.3) -> Any:
    """The coefficients that learning begins from: the same small number everywhere.

    Args:
      pretrained: pytree of parameters.
      num_tasks: K.
      per: "task" for one coefficient per task, "layer" for one per parameter tensor and task.
      value: of each.

    Returns:
      `[K]` float32, or the pytree of `pretrained` with leaves `[K]`: what `merge` takes.

    Raises:
      ValueError: if `per` is neither, or `num_tasks` is below 1.

    Reference: AdaMerging, ICLR 2024, where both kinds begin at 0.3.

    >>> initial_coefficients({"w": jnp.zeros((3, 3)), "b": jnp.zeros(3)}, 2, value=0.5)["b"].tolist()
    [0.5, 0.5]
    """
    if per not in ("task", "layer"):
        raise InputError(f"per is {per!r}: it must be task or layer")
    if num_tasks < 1:
        raise InputError(f"num_tasks is {num_tasks}: it must be at least 1")
    # Arrays of their own: leaves that share a buffer cannot be donated.
    start = lambda _: jnp.full(num_tasks, value, jnp.float32)
    return start(None) if per == "task" else jax.tree.map(start, pretrained)

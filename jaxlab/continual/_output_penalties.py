"""Penalties on outputs: what an old network said of the new task's examples, what was said of stored ones."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, cross_entropy, masked_mean
from jaxlab.core.check import InputError, as_labels, check_same_logits, class_mask, full_mask
from jaxlab.distillation import kd_loss


def lwf_loss(
    logits: jax.Array,
    old_logits: jax.Array,
    *,
    temperature: float | jax.Array = 2.0,
    classes: jax.Array | None = None,
) -> jax.Array:
    """Learning without forgetting, per example: on the old classes, say of the new data what the old network says.

    It is `kd_loss` without its T^2. Gradients stop at the old logits. The cross-entropy of mammoth's code is larger by
    the old network's entropy, which has no gradient.

        KL( softmax(z_old / T) || softmax(z / T) ) over the old classes

    Args:
      logits: `[..., C]`, any finite size.
      old_logits: `[..., C]` of the network as it was when the task began.
      temperature: T, a positive scalar; may be traced.
      classes: bool or {0, 1}, broadcastable to `[..., C]`, the classes of the tasks before; None means all. Without
        any the loss is 0.

    Returns:
      `[...]` nats, float32 (float64 for float64 logits), at least 0.

    Raises:
      ValueError: if the shapes differ, `classes` does not broadcast to them, or a static temperature is not positive.

    Reference: Li and Hoiem, Learning without Forgetting, 2016.

    >>> new, old = jnp.array([0.0, 0.0, 5.0]), jnp.array([2.0, 0.0, 0.0])
    >>> round(lwf_loss(new, old, classes=jnp.array([1, 1, 0])).item(), 4)
    0.1109
    """
    return kd_loss(logits, old_logits, temperature=temperature, classes=classes) / temperature**2


def icarl_loss(
    logits: jax.Array, labels: jax.Array, old_logits: jax.Array, *, old_classes: jax.Array | None = None
) -> jax.Array:
    """iCaRL's representation loss, per example: one logistic output per class, the old ones taught by the old network.

    Gradients stop at the old logits.

        mean_c BCE(sigmoid(z_c), t_c),   t_c = sigmoid(z_old_c) for old classes, [c = y] for the others

    Args:
      logits: `[..., C]`, any finite size.
      labels: `[...]` integers in [0, C), or negative for an example to ignore.
      old_logits: `[..., C]` of the network as it was when the task began.
      old_classes: bool or {0, 1}, broadcastable to `[..., C]`, the classes of the tasks before; None: the first task.

    Returns:
      `[...]` nats, float32 (float64 for float64 logits), at least 0; 0 for an example to ignore.

    Raises:
      ValueError: if the shapes do not fit, or a known label is C or above.

    Reference: Rebuffi et al., iCaRL: Incremental Classifier and Representation Learning, 2017, algorithm 3; mean over
      classes as in mammoth, there with 1e-5 |theta|^2 besides.

    >>> logits = jnp.zeros((1, 2))
    >>> round(icarl_loss(logits, jnp.array([1]), logits, old_classes=jnp.array([1, 0]))[0].item(), 4)
    0.6931
    """
    check_same_logits(logits, old_logits)
    labels = as_labels(logits, labels)
    shape = np.shape(logits)
    old_classes = class_mask(
        np.zeros(shape, bool) if old_classes is None else old_classes, shape, name="old_classes"
    )
    known = (labels >= 0) & (labels < shape[-1])
    logits, own = as_float(logits), jnp.arange(shape[-1]) == labels[..., None]
    logits = jnp.where(known[..., None], logits, 0.0)
    taught = jax.nn.sigmoid(jax.lax.stop_gradient(as_float(old_logits)))
    targets = jnp.where(old_classes, taught, own.astype(logits.dtype))
    targets = jnp.where(known[..., None], targets, 0.0)
    # -t log s(z) - (1 - t) log s(-z) without a difference of large numbers
    each = jax.nn.softplus(-logits) * targets + jax.nn.softplus(logits) * (1.0 - targets)
    return jnp.where(known, masked_mean(each, axis=-1), 0.0)


def der_loss(logits: jax.Array, stored_logits: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """Dark experience replay, per example: say of a stored example what was said when it was stored.

    Gradients stop at the stored logits. DER adds `alpha` times the mean of this to the cross-entropy of the stream;
    DER++ also `beta` times the cross-entropy of a second draw.

        mean_c (z_c - z_stored_c)^2

    Args:
      logits: `[..., C]` of replayed examples.
      stored_logits: `[..., C]`, theirs when they entered the memory.
      where: bool or {0, 1}, broadcastable to `[...]`, the examples that exist; None means all.

    Returns:
      `[...]` float32 (float64 for float64 logits), at least 0.

    Raises:
      ValueError: if the shapes differ or `where` does not broadcast to `[...]`.

    Reference: Buzzega et al., Dark Experience for General Continual Learning, 2020; mean over classes as in
      the authors' code.

    >>> der_loss(jnp.array([[1.0, 3.0]]), jnp.array([[1.0, 1.0]])).tolist()
    [2.0]
    """
    check_same_logits(logits, stored_logits)
    exists = full_mask(where, np.shape(logits)[:-1])
    gap = as_float(logits) - jax.lax.stop_gradient(as_float(stored_logits))
    return masked_mean(jnp.square(jnp.where(exists[..., None], gap, 0.0)), axis=-1)


def er_ace_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    future: jax.Array | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """Asymmetric cross-entropy of the stream's examples, per example against the classes of its batch (ER-ACE).

    A class that is absent from the batch competes with none of its examples, so the new ones do not push its logits
    down. Replayed examples get the ordinary `cross_entropy` over all classes seen, which is added.

        -log( exp z_y / sum_{c in C} exp z_c ),   C = classes of the batch

    Args:
      logits: `[N, C]` of the stream's batch, any finite size.
      labels: `[N]` integers in [0, C), or negative for an example to ignore.
      future: `[C]` bool or {0, 1}, further classes that compete, such as those not seen yet in mammoth's code.
      where: `[N]` bool or {0, 1}, the examples that exist; None means all.

    Returns:
      `[N]` nats, float32 (float64 for float64 logits), at least 0; 0 for an example that does not count.

    Raises:
      ValueError: if the shapes do not fit, or a known label is C or above.

    Reference: Caccia et al., New Insights on Reducing Abrupt Representation Change in Online Continual Learning, 2022.

    >>> logits = jnp.array([[0.0, 0.0, 9.0], [0.0, 0.0, 9.0]])
    >>> [round(x, 4) for x in er_ace_loss(logits, jnp.array([0, 1])).tolist()]
    [0.6931, 0.6931]
    """
    labels = as_labels(logits, labels, where=where)
    if np.ndim(logits) != 2:
        raise InputError(f"logits {np.shape(logits)} must be [N, C]: the classes are those of one batch")
    rows, num_classes = np.shape(logits)
    exists = full_mask(where, (rows,)) & (labels >= 0) & (labels < num_classes)
    present = jnp.zeros(num_classes, bool).at[jnp.where(exists, labels, num_classes)].set(True, mode="drop")
    if future is not None:
        present |= full_mask(future, (num_classes,), "classes of logits", name="future")
    losses = cross_entropy(logits, jnp.where(exists, labels, -1), classes=present & exists[:, None])
    return jnp.where(exists, losses, 0.0)

"""Replay by contrast with class proxies (PCR), and its holistic form (HPCR).

A softmax head learns fast, but new classes suppress the proxies of old ones. Here the classes of the joint batch of
stream and memory alone compete, each as often as it occurs. Logits of the head: `core.prototype_logits(features,
proxies, temperature=0.09)`, whose largest is the prediction.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import (
    as_float,
    masked_log_softmax,
    masked_logsumexp,
    masked_sum,
    normalize,
    prototype_logits,
    supcon_loss,
)
from jaxlab.core._reduce import AxisName
from jaxlab.core.check import InputError, as_integers, as_labels, check_positive, full_mask


def proxy_contrastive_loss(
    features: jax.Array,
    proxies: jax.Array,
    labels: jax.Array,
    *,
    temperature: float | jax.Array = 0.09,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Proxy-based contrastive replay, per row against the classes of its batch.

    A class that is absent from the batch gets no gradient; one that occurs n times counts n times, the row itself
    included. Gradients flow into features and proxies.

        -log( exp s_{i, y_i} / sum_c n_c exp s_ic ),   s_ic = cos(f_i, w_c) / T,   n_c rows of class c

    Args:
      features: `[N, D]`, of any length: stream and memory together.
      proxies: `[C, D]`, one per class, of any length.
      labels: `[N]` integers in [0, C), or negative for a row to ignore.
      temperature: T, a positive scalar; may be traced.
      where: `[N]` bool or {0, 1}, the rows that exist, such as those of a memory that is not full; None means all.
      axis_name: mapped axis over which the batch is split: the losses are those of the local rows, the classes are
        those of the global batch.

    Returns:
      `[N]` nats, float32 (float64 for float64 input), at least log n_y; 0 for a row that does not count.

    Raises:
      ValueError: if the shapes do not fit, a known label is C or above, or a static temperature is not positive.

    Reference: Lin et al., PCR: Proxy-based Contrastive Replay for Online Class-Incremental Continual Learning, 2023,
      in the equal form by counts.

    >>> proxies = jnp.eye(3)
    >>> loss = proxy_contrastive_loss(proxies[:2], proxies, jnp.array([0, 1]), temperature=1.0)
    >>> [round(x, 4) for x in loss.tolist()]  # the third class is not there
    [0.3133, 0.3133]
    """
    labels, exists = _checked(features, proxies, labels, where)
    counts = _class_counts(labels, exists, len(proxies), axis_name)
    compete = (counts > 0) & exists[:, None]
    logits = prototype_logits(features, proxies, temperature=temperature, classes=compete)
    weighted = logits + jnp.log(jnp.maximum(counts, 1.0)).astype(logits.dtype)
    own = compete & (labels[:, None] == jnp.arange(len(proxies)))
    against = masked_logsumexp(weighted, where=compete, axis=-1)
    return jnp.where(exists, against - masked_sum(logits, where=own, axis=-1), 0.0)


def all_pairs_contrastive_loss(
    features: jax.Array,
    proxies: jax.Array,
    labels: jax.Array,
    *,
    temperature: float | jax.Array = 0.09,
    where: jax.Array | None = None,
) -> jax.Array:
    """The contrast of HPCR with samples as well as proxies, per row against its batch.

    Features, and the proxy of every row's class, are two views of the row: all are anchors and all are contrasts, but
    for the pair of each with itself. The loss of a row is the mean over its two anchors. Gradients flow into both.

    Args:
      features: `[N, D]`, of any length.
      proxies: `[C, D]`, one per class, of any length.
      labels: `[N]` integers in [0, C), or negative for a row to ignore.
      temperature: a positive scalar; may be traced.
      where: `[N]` bool or {0, 1}, the rows that exist; None means all.

    Returns:
      `[N]` nats, float32 (float64 for float64 input), at least 0; 0 for a row that does not count.

    Raises:
      ValueError: if the shapes do not fit, a known label is C or above, or a static temperature is not positive.

    Reference: Lin et al., HPCR: Holistic Proxy-based Contrastive Replay for Online Continual Learning, 2023; the type
      "all" of the authors' code. The paper uses such pairs where the batch is large.

    >>> proxies = jnp.eye(2)
    >>> [round(x, 4) for x in all_pairs_contrastive_loss(proxies, proxies, jnp.arange(2), temperature=1.0).tolist()]
    [0.5514, 0.5514]
    """
    labels, exists = _checked(features, proxies, labels, where)
    own = (
        as_float(proxies)[jnp.where(exists, labels, 0)]
        if len(proxies)
        else jnp.zeros_like(as_float(features))
    )
    rows = jnp.concatenate([jnp.where(exists[:, None], as_float(features), 0.0), own])
    losses = supcon_loss(rows, jnp.tile(labels, 2), temperature=temperature, where=jnp.tile(exists, 2))
    return jnp.mean(losses.reshape(2, len(labels)), axis=0)


def gradient_temperature(
    step: jax.Array,
    *,
    period: float = 500.0,
    lowest: float = 0.5625,
    highest: float = 1.8,
) -> jax.Array:
    """The factor of the contrastive loss over the steps of a task: it scales the gradient as a temperature would.

        lowest + (highest - lowest) (1 - cos(2 pi step / period)) / 2

    Args:
      step: steps since the task began.
      period: steps of one swing, positive; 500 in the authors' code, longer than a short task.
      lowest: the factor at step 0; 0.09 / 0.16 there.
      highest: the factor after half a period; 0.09 / 0.05 there.

    Returns:
      float32 scalar in [lowest, highest].

    Raises:
      ValueError: if the period is not positive.

    Reference: Lin et al., HPCR, 2023, temperature component, as in the authors' code.

    >>> [round(gradient_temperature(step, period=4, lowest=1.0, highest=3.0).item(), 4) for step in range(3)]
    [1.0, 2.0, 3.0]
    """
    check_positive("period", period)
    phase = 2 * jnp.pi * jnp.asarray(step, jnp.float32) / period
    return lowest + (highest - lowest) * 0.5 * (1 - jnp.cos(phase))


def proxy_distillation_loss(
    logits: jax.Array,
    stored_logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    labels_where: jax.Array | None = None,
) -> jax.Array:
    """Keep the logits of stored examples for the classes of the joint batch, per stored example (HPCR's PCD).

    Classes weigh as often as they occur. Gradients stop at the stored logits.

        sum_c n_c / N (o_mc - l_mc)^2

    Args:
      logits: `[M, C]` of the replayed examples.
      stored_logits: `[M, C]`, theirs when they entered the memory.
      labels: `[N]` integers in [0, C) of the joint batch, or negative for a row to ignore.
      where: `[M]` bool or {0, 1}, the replayed examples that exist; None means all.
      labels_where: `[N]`, the rows of the joint batch that exist; None means all.

    Returns:
      `[M]` float32 (float64 for float64 input), at least 0; 0 for an example that does not count.

    Raises:
      ValueError: if the shapes do not fit, or a known label is C or above.

    Reference: Lin et al., HPCR, 2023, proxy-based contrastive distillation.

    >>> proxy_distillation_loss(jnp.array([[1.0, 3.0, 9.0]]), jnp.zeros((1, 3)), jnp.array([0, 1, 1, 1])).tolist()
    [7.0]
    """
    if np.ndim(logits) != 2 or np.shape(logits) != np.shape(stored_logits):
        raise InputError(
            f"logits {np.shape(logits)} and stored_logits {np.shape(stored_logits)} must both be [M, C]"
        )
    if np.ndim(labels) != 1:
        raise InputError(f"labels {np.shape(labels)} must be [N], one for every row of the joint batch")
    rows, num_classes = np.shape(logits)
    exists = full_mask(where, (rows,))
    labels = as_labels(jnp.zeros((len(labels), num_classes)), labels, where=labels_where)
    counted = full_mask(labels_where, labels.shape, "labels") & (labels >= 0) & (labels < num_classes)
    counts = _class_counts(labels, counted, num_classes, None)
    relevant = exists[:, None] & (counts > 0)
    gap = as_float(logits) - jax.lax.stop_gradient(as_float(stored_logits))
    squares = jnp.square(jnp.where(relevant, gap, 0.0))
    return squares @ (counts / jnp.maximum(jnp.sum(counts), 1.0)).astype(squares.dtype)


def sample_relation_loss(
    features: jax.Array,
    stored_features: jax.Array,
    *,
    temperature: float | jax.Array = 0.09,
    where: jax.Array | None = None,
) -> jax.Array:
    """Keep how stored examples resemble each other, per example against the others (HPCR's SCD).

    Cross-entropy, so that the least value is the entropy of the stored relation. Gradients stop at stored features.

        -sum_{j != i} R(g)_ij log R(f)_ij,   R(v)_ij = softmax_{j != i} cos(v_i, v_j) / T

    Args:
      features: `[M, D]` of the replayed examples, of any length.
      stored_features: `[M, E]`, theirs when they entered the memory.
      temperature: T, a positive scalar; may be traced.
      where: `[M]` bool or {0, 1}, the examples that exist; None means all.

    Returns:
      `[M]` nats, float32 (float64 for float64 input), at least 0; 0 for an example that does not count or is alone.

    Raises:
      ValueError: if the shapes do not fit, or a static temperature is not positive.

    Reference: Lin et al., HPCR, 2023, sample-based contrastive distillation.

    >>> f = jnp.eye(3)
    >>> [round(x, 4) for x in sample_relation_loss(f, f).tolist()]  # two others, equally far
    [0.6931, 0.6931, 0.6931]
    """
    if np.ndim(features) != 2 or np.ndim(stored_features) != 2 or len(features) != len(stored_features):
        raise InputError(
            f"features {np.shape(features)} must be [M, D] and stored_features {np.shape(stored_features)} [M, E]"
        )
    check_positive("temperature", temperature)
    exists = full_mask(where, (len(features),), "rows of features")
    others = exists & ~jnp.eye(len(features), dtype=bool)
    log_relation = lambda x: _log_relation(x, exists, others, temperature)
    target = jax.lax.stop_gradient(log_relation(stored_features))
    terms = jnp.exp(target) * log_relation(features)
    return -masked_sum(terms, where=others & exists[:, None], axis=-1)


def _log_relation(x: jax.Array, exists: jax.Array, others: jax.Array, temperature) -> jax.Array:
    units = normalize(jnp.where(exists[:, None], as_float(x), 0.0))
    return masked_log_softmax(units @ units.T / temperature, where=others)


def _class_counts(labels: jax.Array, exists: jax.Array, num_classes: int, axis_name: AxisName) -> jax.Array:
    counts = jnp.zeros(num_classes).at[jnp.where(exists, labels, num_classes)].add(1.0, mode="drop")
    return counts if axis_name is None else jax.lax.psum(counts, axis_name)


def _checked(features, proxies, labels, where) -> tuple[jax.Array, jax.Array]:
    """Labels, and which rows count."""
    f, p = np.shape(features), np.shape(proxies)
    if len(f) != 2 or len(p) != 2 or f[1] != p[1] or np.shape(labels) != f[:1]:
        raise InputError(f"features {f} must be [N, D], proxies {p} [C, D] and labels {np.shape(labels)} [N]")
    labels = as_integers(
        "labels", labels, "class indices in [0, C)", p[0], where=where, ignore="a row to ignore"
    )
    return labels, full_mask(where, f[:1], "rows of features") & (labels >= 0) & (labels < p[0])

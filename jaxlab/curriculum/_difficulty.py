"""How hard examples are, and the orders in which a curriculum takes them. Larger is harder throughout."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_log_softmax
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import InputError, as_labels, check_choice, full_mask
from jaxlab.metrics import linear_probe

ORDERS = ("easy_first", "hard_first", "random")
"""The names of the orders that `curriculum_order` knows."""


def loss_difficulty(logits: jax.Array, labels: jax.Array, *, classes: jax.Array | None = None) -> jax.Array:
    """The cross-entropy of an example's own label, as a score: no gradient flows.

        - log softmax(logits)[label]

    Args:
      logits: `[..., C]` of the model that judges: the learner itself, an earlier one, or an expert.
      labels: `[...]` integers in [0, C), or negative for an example to ignore.
      classes: `[..., C]` bool or {0, 1}, the classes that exist; None means all.

    Returns:
      `[...]` float32, at least 0; 0 where the label is ignored, or its class does not exist.

    Raises:
      ValueError: labels that do not belong to the logits, or a mask that does not broadcast to them.

    Reference: Vahidian et al., When Do Curricula Work in Federated Learning?, 2023, section 3 (scores G, L and E are
      this loss under the global, the local and an expert model; LG is the sum of two).

    >>> loss_difficulty(jnp.array([[0.0, 0.0], [9.0, 0.0]]), jnp.array([0, 0])).round(2).tolist()
    [0.6899999976158142, 0.0]
    """
    return -_own_log_prob(logits, labels, classes)


def confidence_difficulty(
    logits: jax.Array, labels: jax.Array, *, classes: jax.Array | None = None
) -> jax.Array:
    """One minus the probability of an example's own label: as the loss, but bounded. No gradient flows.

        1 - softmax(logits)[label]

    Args:
      logits: `[..., C]` of the model that judges.
      labels: `[...]` integers in [0, C), or negative for an example to ignore.
      classes: `[..., C]` bool or {0, 1}, the classes that exist; None means all.

    Returns:
      `[...]` float32 in [0, 1]; 0 where the label is ignored, or its class does not exist.

    Raises:
      ValueError: labels that do not belong to the logits, or a mask that does not broadcast to them.

    Reference: Hacohen and Weinshall, On the Power of Curriculum Learning in Training Deep Networks, 2019, section 2.1
      (scoring by confidence).

    >>> confidence_difficulty(jnp.zeros((1, 4)), jnp.array([2])).tolist()
    [0.75]
    """
    return jnp.abs(jnp.expm1(_own_log_prob(logits, labels, classes)))


def _own_log_prob(logits: jax.Array, labels: jax.Array, classes: jax.Array | None) -> jax.Array:
    """The log-probability of each label, at most 0; 0 for what is ignored."""
    logits, labels = jax.lax.stop_gradient(as_float(logits)), as_labels(logits, labels)
    exist = full_mask(classes, logits.shape, name="classes")
    chosen = (labels[..., None] == jnp.arange(logits.shape[-1])) & exist
    # What is ignored leaves no trace.
    log_probs = masked_log_softmax(jnp.where(jnp.any(chosen, -1, keepdims=True), logits, 0.0), where=exist)
    return jnp.minimum(jnp.sum(jnp.where(chosen, log_probs, 0.0), -1), 0.0)


def transfer_difficulty(
    features: jax.Array,
    labels: jax.Array,
    *,
    num_classes: int,
    steps: int = 100,
    where: jax.Array | None = None,
) -> jax.Array:
    """How little a linear classifier on a teacher's features believes in each label. No gradient flows.

    The classifier (`metrics.linear_probe`) is trained on the examples that it then judges.

        1 - softmax(probe(features))[label]

    Args:
      features: `[N, F]` of a network trained on something else.
      labels: `[N]` integers in [0, C), or negative for an example to ignore.
      num_classes: C.
      steps: of the classifier; static.
      where: `[N]` bool or {0, 1}, the examples that count; None means all.

    Returns:
      `[N]` float32 in [0, 1]; 0 where an example does not count.

    Raises:
      ValueError: as `metrics.linear_probe`.

    Reference: Hacohen and Weinshall, On the Power of Curriculum Learning in Training Deep Networks, 2019, section 2.1
      (transfer scoring; an SVM there, a softmax classifier here).

    >>> x = jnp.array([[0.0], [0.1], [1.0], [1.1], [1.0]])
    >>> transfer_difficulty(x, jnp.array([0, 0, 1, 1, 0]), num_classes=2).argmax().item()
    4
    """
    logits = linear_probe(features, labels, features, num_classes=num_classes, steps=steps, where=where)
    counts = full_mask(where, np.shape(labels), "labels")
    logits = jnp.where(counts[:, None], logits, 0.0)
    return jnp.where(counts, confidence_difficulty(logits, jnp.where(counts, labels, -1)), 0.0)


def curriculum_order(
    difficulty: jax.Array,
    *,
    order: str = "easy_first",
    key: jax.Array | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """The examples from first to last; those that do not count come after all others.

    Ties keep the order of their index when easy ones come first, and its reverse when hard ones do, so that one order
    is the reverse of the other.

    Args:
      difficulty: `[..., N]` scores, larger is harder.
      order: one of `ORDERS`.
      key: for the order "random".
      where: `[..., N]` bool or {0, 1}, the examples that count; None means all.

    Returns:
      `[..., N]` int32 indices.

    Raises:
      ValueError: an order that does not exist, a random one without a key, a NaN among known scores that count, no axis
        of examples, or a mask that does not broadcast.

    Reference: Wu, Dyer and Neyshabur, When Do Curricula Work?, 2021, section 3 (curriculum, anti-curriculum and
      random ordering).

    >>> curriculum_order(jnp.array([0.3, 0.1, 0.2])).tolist()
    [1, 2, 0]
    """
    check_choice("order", order, ORDERS)
    difficulty = jax.lax.stop_gradient(as_float(difficulty))
    if difficulty.ndim == 0:
        raise InputError("difficulty must be [..., N], one score for each example, got a scalar")
    counts = full_mask(where, difficulty.shape, "difficulty")
    check_no_nan("difficulty", difficulty, where=counts)
    if order == "random":
        if key is None:
            raise InputError("order='random' needs a key")
        difficulty = jax.random.uniform(key, difficulty.shape)
    last = jnp.where(counts, 0, 1)
    score = jnp.where(counts, difficulty, 0.0)
    ascending = jnp.lexsort((score, last), axis=-1)
    if order != "hard_first":
        return ascending.astype(jnp.int32)
    backwards = jnp.flip(jnp.lexsort((score, 1 - last), axis=-1), axis=-1)  # those that count are at the end
    return backwards.astype(jnp.int32)

"""Prototypes of the regions that a model is sure of, remembered per class, and the pull of pixels towards them."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import (
    Queue,
    as_float,
    masked_mean,
    normalize,
    prototype_logits,
    queue_init,
    queue_push,
)
from jaxlab.core._reduce import AxisName
from jaxlab.core.check import InputError, as_bool, as_integers, check_probabilities, check_state, full_mask
from jaxlab.semi_supervised._contracts import VOID
from jaxlab.semi_supervised._pseudo_labels import masked_cross_entropy


def region_prototypes(
    features: jax.Array,
    probs: jax.Array,
    present: jax.Array,
    *,
    threshold: float | jax.Array = 0.7,
    min_mass: float | jax.Array = 10.0,
    where: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The mean feature of each image's confident pixels of a class, one prototype per image and class.

    A pixel counts by its probability, and only where that is above the threshold; an image whose confident pixels
    of a class weigh too little says nothing about it. Prototypes are made to be remembered: gradients stop at the
    features and at the probabilities.

        r = p_c [p_c > threshold],  prototype_c = normalize(sum_i r_i f_i)
        valid_c = present_c and sum_i r_i > min_mass

    Args:
      features: `[B, ..., D]`, one vector per pixel.
      probs: `[B, ..., K]` probabilities, which need not sum to 1 (see `class_filtered_probs`).
      present: bool or {0, 1}, `[B, K]`, the classes that an image can contain.
      threshold: in [0, 1], exclusive.
      min_mass: exclusive.
      where: bool or {0, 1}, broadcastable to `[B, ...]`, the pixels that count; None means all.

    Returns:
      `(prototypes [B, K, D], valid [B, K] bool)`, float32 of length 1 (float64 for float64 features), 0 where not
      valid. A NaN probability makes the prototype of its class NaN, and valid: what was lost shows.

    Raises:
      ValueError: if the shapes do not fit, or known `probs` are no probabilities.

    Reference: Cho et al., EV-WSSS: Finding Meaning in Points, 2024, section 3 (regional prototypes). The authors
      divide by the mass plus 1e-5 before normalising, which changes no direction.

    >>> features = jnp.array([[[3.0, 4.0], [1.0, 0.0]]])  # one image of two pixels
    >>> probs = jnp.array([[[0.9, 0.1], [0.6, 0.4]]])
    >>> made, valid = region_prototypes(features, probs, jnp.ones((1, 2)), min_mass=0.5)
    >>> [round(x, 3) for x in made[0, 0].tolist()], valid[0].tolist()
    ([0.6, 0.8], [True, False])
    """
    features, probs = jax.lax.stop_gradient(as_float(features)), jax.lax.stop_gradient(as_float(probs))
    present = as_bool("present", present)
    _check_regions(features, probs, present)
    mask = full_mask(where, probs.shape[:-1], "pixels")
    check_probabilities("probs", probs, where=mask[..., None])
    weight = jnp.where(mask[..., None] & ~(probs <= threshold), probs, 0.0)
    counted = jnp.any(weight != 0, axis=-1, keepdims=True)  # others must not enter, not even times 0
    flat = lambda x: x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1])  # -1 fails on empty batches
    sums = jnp.einsum("bpk,bpd->bkd", flat(weight), flat(jnp.where(counted, features, 0.0)))
    mass = jnp.sum(flat(weight), axis=1)
    valid = present & ~(mass <= min_mass)
    mean = sums / jnp.where(valid, mass, 1.0)[..., None]
    return jnp.where(valid[..., None], normalize(mean), 0.0), valid


def _check_regions(features: jax.Array, probs: jax.Array, present: jax.Array) -> None:
    f, p = features.shape, probs.shape
    if len(f) < 2 or f[:-1] != p[:-1]:
        raise InputError(f"features {f} must be [B, ..., D] and probs {p} [B, ..., K] with the same pixels")
    if present.shape != (p[0], p[-1]):
        raise InputError(f"present {present.shape} must be [B, K] for probs [B, ..., K] {p}")


def class_queues_init(num_classes: int, capacity: int, dim: int, *, dtype: jnp.dtype = jnp.float32) -> Queue:
    """An empty queue for every class.

    Args:
      num_classes: static integer K.
      capacity: vectors that the queue of a class holds, at least 1.
      dim: static integer D.
      dtype: type in which the vectors are kept.

    Returns:
      A `jaxlab.core.Queue` whose arrays lead with the classes: items `[K, capacity, D]`.

    Raises:
      ValueError: if `capacity` is below 1.

    >>> class_queues_init(3, 8, 2).items.shape
    (3, 8, 2)
    """
    empty = queue_init(capacity, dim, dtype=dtype)
    return jax.tree.map(lambda leaf: jnp.repeat(leaf[None], num_classes, axis=0), empty)


def class_queues_push(
    queues: Queue, prototypes: jax.Array, valid: jax.Array, *, axis_name: AxisName = None
) -> Queue:
    """Push each image's prototypes into the queues of their classes, in the order of the images.

    The queues are a memory: no gradient passes into them. With `axis_name` the images of all devices are pushed
    in device order, so that every device holds the queues that one device would hold.

    Args:
      queues: from `class_queues_init`, the same on every device.
      prototypes: `[B, K, D]`.
      valid: bool or {0, 1}, `[B, K]`, which of them to push, as from `region_prototypes`.
      axis_name: mapped axis (or axes) over which the images are spread.

    Returns:
      The new queues.

    Raises:
      ValueError: if the shapes do not fit.

    Reference: Cho et al., EV-WSSS: Finding Meaning in Points, 2024, section 3 (the queue keeps the last 200
      prototypes of a class).

    >>> queues = class_queues_push(class_queues_init(2, 4, 1), jnp.ones((3, 2, 1)), jnp.array([[1, 0]] * 3))
    >>> queues.filled.tolist()
    [3, 0]
    """
    check_state("queues", queues, Queue)
    prototypes, valid = jnp.asarray(prototypes), as_bool("valid", valid)
    classes, _, dim = queues.items.shape
    if prototypes.ndim != 3 or prototypes.shape[1:] != (classes, dim) or valid.shape != prototypes.shape[:2]:
        raise InputError(
            f"prototypes {prototypes.shape} must be [B, {classes}, {dim}] for these queues"
            f" and valid {valid.shape} [B, {classes}]"
        )
    push = lambda queue, items, where: queue_push(queue, items, where=where, axis_name=axis_name)
    return jax.vmap(push, in_axes=(0, 1, 1))(queues, prototypes, valid)


def class_queue_means(queues: Queue, *, min_items: int | jax.Array = 10) -> tuple[jax.Array, jax.Array]:
    """The class prototypes: the direction of the mean of each class's queue, once it holds enough.

    No gradient passes: a memory.

        prototype_c = normalize(mean of queue_c),  seen_c = queue_c holds more than min_items

    Args:
      queues: from `class_queues_push`.
      min_items: at least 0; a queue that holds no more than this gives no prototype.

    Returns:
      `(prototypes [K, D], seen [K] bool)`, float32 of length 1 (float64 for float64 queues), 0 where not seen.

    Reference: Cho et al., EV-WSSS: Finding Meaning in Points, 2024, section 3.

    >>> queues = class_queues_push(class_queues_init(2, 4, 1), 3 * jnp.ones((2, 2, 1)), jnp.array([[1, 0]] * 2))
    >>> means, seen = class_queue_means(queues, min_items=1)
    >>> means[:, 0].tolist(), seen.tolist()
    ([1.0, 0.0], [True, False])
    """
    check_state("queues", queues, Queue)
    items = jax.lax.stop_gradient(as_float(queues.items))
    held = jnp.arange(items.shape[1]) < queues.filled[:, None]
    seen = (queues.filled > min_items) & (queues.filled > 0)
    mean = masked_mean(items, where=held[..., None] & seen[:, None, None], axis=1)
    return normalize(mean), seen


def prototype_cross_entropy(
    features: jax.Array,
    labels: jax.Array,
    prototypes: jax.Array,
    *,
    seen: jax.Array | None = None,
    temperature: float | jax.Array = 0.1,
    where: jax.Array | None = None,
) -> jax.Array:
    """Cross-entropy of the label among the class prototypes, per pixel: pulls a feature to its own class's.

    Gradients flow into features and prototypes. A class without a prototype takes part in no comparison, and a
    pixel of such a class has loss 0: leave it out of the mean as well, `where=accepted & seen[labels]`.

        - log softmax_c(cos(f, m_c) / temperature)[label]  over the classes seen

    Args:
      features: `[..., D]`.
      labels: integers `[...]` in [0, K); a negative one marks a pixel to ignore. Anything may stand where the mask
        is false.
      prototypes: `[K, D]`.
      seen: bool or {0, 1}, `[K]`, the classes that have a prototype; None lets all compete, a zero prototype with
        logit 0.
      temperature: positive scalar.
      where: bool or {0, 1}, broadcastable to `[...]`, the pixels that count; None means all.

    Returns:
      `[...]` float32 (float64 for float64 features) in nats; 0 where masked.

    Raises:
      ValueError: if the shapes do not fit, the labels are not integers, or a static temperature is not positive.

    Reference: Cho et al., EV-WSSS: Finding Meaning in Points, 2024, section 3, with the authors' temperature; their
      code lets the zero vector of a class never seen compete, as `seen=None` does.

    >>> prototypes = jnp.eye(2)
    >>> loss = prototype_cross_entropy(jnp.array([[2.0, 0.0]]), jnp.array([0]), prototypes, temperature=1.0)
    >>> round(loss.item(), 4)  # log(1 + exp(-1))
    0.3133
    """
    classes = (*np.shape(prototypes), 0)[0]
    ignored = {"where": where, "ignore": "a pixel to ignore", "also": (VOID,)}
    labels = as_integers("labels", labels, "class indices", classes, **ignored)
    mask = full_mask(where, labels.shape, "labels") & (labels >= 0) & (labels < classes)
    if seen is not None:
        seen = as_bool("seen", seen)
        if seen.shape != np.shape(prototypes)[:1]:
            raise InputError(f"seen {seen.shape} must be [K] for prototypes [K, D] {np.shape(prototypes)}")
        mask = mask & seen[jnp.clip(labels, 0, max(seen.shape[0] - 1, 0))]
    if np.shape(features)[:-1] != labels.shape:
        raise InputError(
            f"labels {labels.shape} must have the leading shape of features {np.shape(features)}"
        )
    features = jnp.where(mask[..., None], as_float(features), 0.0)
    logits = prototype_logits(features, prototypes, temperature=temperature, classes=seen)
    return masked_cross_entropy(logits, labels, where=mask)


def feature_distance(features: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """Mean absolute difference between the directions of two feature maps, per pixel.

    Gradients stop at the target.

        1/D sum_d | normalize(f)_d - normalize(g)_d |

    Args:
      features: `[..., D]`, already projected into the target's space.
      target: `[..., D]`.
      where: bool or {0, 1}, broadcastable to `[...]`, the pixels that count; None means all.

    Returns:
      `[...]` float32 (float64 for float64 features), in [0, 2 / sqrt(D)]; 0 where masked.

    Raises:
      ValueError: if the shapes differ, or `where` does not broadcast to `[...]`.

    Reference: Cho et al., EV-WSSS: Finding Meaning in Points, 2024, authors' code (feature distillation).

    >>> feature_distance(jnp.array([0.0, 3.0]), jnp.array([2.0, 0.0])).item()
    1.0
    """
    f, g = np.shape(features), np.shape(target)
    if not f or f != g:
        raise InputError(f"features {f} and target {g} must have the same shape [..., D]")
    mask = full_mask(where, f[:-1], "pixels")[..., None]
    clean = lambda x: normalize(jnp.where(mask, as_float(x), 0.0))
    return jnp.mean(jnp.abs(clean(features) - jax.lax.stop_gradient(clean(target))), axis=-1)

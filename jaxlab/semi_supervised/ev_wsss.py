"""Two students of complementary streams: pseudo-labels and class prototypes exchanged, labels at single points."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import Queue, as_float, exchange, masked_mean, normalize
from jaxlab.core._reduce import AxisName
from jaxlab.core.check import InputError, as_integers, check_state, full_mask
from jaxlab.semi_supervised._contracts import VOID, as_dense_labels
from jaxlab.semi_supervised._pseudo_labels import (
    PseudoLabels,
    accepted_mean,
    class_filtered_probs,
    masked_cross_entropy,
    pseudo_label,
)
from jaxlab.semi_supervised.prototype_memory import (
    class_queue_means,
    class_queues_push,
    feature_distance,
    prototype_cross_entropy,
    region_prototypes,
)

Projection = tuple[jax.Array, jax.Array]


class EvWsssBranch(NamedTuple):
    """What `ev_wsss_loss` takes of one student.

    Attributes:
      logits: `[B, H, W, K]`.
      features: maps `[B, h, w, D]` of the encoder, the coarsest last; the prototypes are made of that one.
      projections: one pair (kernel `[D, D']`, bias `[D']`) per map, into the other student's space.
      queues: the prototypes this student remembers, from `class_queues_init`, with the coarsest map's D.

    >>> EvWsssBranch(jnp.zeros((1, 2, 2, 3)), (), (), None).logits.shape
    (1, 2, 2, 3)
    """

    logits: jax.Array
    features: tuple[jax.Array, ...]
    projections: tuple[Projection, ...]
    queues: Queue


class EvWsssTerms(NamedTuple):
    """The terms of `ev_wsss_loss`, unweighted float32 scalars, and what the students taught each other.

    Attributes:
      point_a, point_b: cross-entropy on the labelled pixels.
      dual: cross-entropy on the other's pseudo-labels, summed over the two students.
      prototype_a, prototype_b: cross-entropy among own and received prototypes, their mean.
      distillation: distance of the projected features to the other's, mean over maps and students.
      pseudo_a, pseudo_b: `PseudoLabels` of the two students, `[B, H, W]`.

    >>> EvWsssTerms._fields[:3]
    ('point_a', 'point_b', 'dual')
    """

    point_a: jax.Array
    point_b: jax.Array
    dual: jax.Array
    prototype_a: jax.Array
    prototype_b: jax.Array
    distillation: jax.Array
    pseudo_a: PseudoLabels
    pseudo_b: PseudoLabels


def classes_in_labels(labels: jax.Array, *, num_classes: int, where: jax.Array | None = None) -> jax.Array:
    """Which classes occur among an image's labelled pixels.

    Args:
      labels: integers `[B, ...]` in [0, K); a negative one, and 255 if it is no class, are none.
      num_classes: static integer K.
      where: bool or {0, 1}, broadcastable to `[B, ...]`, the pixels that are labelled; None means all.

    Returns:
      bool `[B, K]`.

    Raises:
      ValueError: if `labels` is a scalar or names a class of K or above, or `where` does not broadcast to it.

    Reference: Cho et al., EV-WSSS: Finding Meaning in Points, 2024, section 3: a click on each class of an image
      tells which classes it holds.

    >>> classes_in_labels(jnp.array([[2, 0, 1]]), num_classes=3, where=jnp.array([[1, 1, 0]])).tolist()
    [[True, False, True]]
    """
    if not np.ndim(labels):
        raise InputError(f"labels {np.shape(labels)} must be [B, ...]")
    ignored = {"where": where, "ignore": "a pixel without label", "also": (VOID,)}
    labels = as_integers("labels", labels, "class indices", num_classes, **ignored)
    mask = full_mask(where, labels.shape, "labels")
    own = mask[..., None] & (labels[..., None] == jnp.arange(num_classes))
    return jnp.any(own, axis=tuple(range(1, labels.ndim)))


def _probabilities(logits: jax.Array, present: jax.Array) -> jax.Array:
    """Softmax of the positive parts, of the classes present: how sure a student is, not what it is trained on."""
    return class_filtered_probs(jax.nn.softmax(jax.nn.relu(jax.lax.stop_gradient(as_float(logits)))), present)


def _dual(a: EvWsssBranch, b: EvWsssBranch, pseudo_a: PseudoLabels, pseudo_b: PseudoLabels, axis_name: AxisName,
          authors_code: bool) -> jax.Array:  # fmt: skip
    """Each student on the other's confident pixels."""

    def one(logits: jax.Array, pseudo: PseudoLabels) -> jax.Array:
        loss = masked_cross_entropy(logits, pseudo.label, where=pseudo.accepted)
        return accepted_mean(loss, pseudo, pseudo.accepted, axis_name)

    total = one(a.logits, pseudo_b) + one(b.logits, pseudo_a)
    if not authors_code:
        return total
    unsure = [~jnp.any(pseudo.accepted, axis=(1, 2)) for pseudo in (pseudo_a, pseudo_b)]
    skip = jnp.sum(unsure[0] | unsure[1])
    return jnp.where((skip if axis_name is None else jax.lax.psum(skip, axis_name)) > 0, 0.0, total)


def prototype_exchange_loss(
    features: jax.Array,
    pseudo: PseudoLabels,
    own: tuple[jax.Array, jax.Array],
    received: tuple[jax.Array, jax.Array] | None,
    *,
    temperature: float | jax.Array = 0.1,
    axis_name: AxisName = None,
    authors_code: bool = False,
) -> jax.Array:
    """Pull of a student's pixels towards its own class prototypes and those it received, one number for a batch.

    The labels are the other student's confident pseudo-labels. Gradients flow into the features, and through the
    received prototypes into the projection that made them.

        1/2 ( mean_i CE(cos(f_i, m_own) / T, y_i) + mean_i CE(cos(f_i, m_received) / T, y_i) )

    Args:
      features: `[..., D]`, one vector per pixel.
      pseudo: the other student's pseudo-labels, `[...]`.
      own: `(prototypes [K, D], seen [K])`, as from `class_queue_means`.
      received: the same of the other student, projected into this one's space; None counts the own ones alone.
      temperature: positive scalar.
      axis_name: mapped axis (or axes) of the batch; every device returns the global loss.
      authors_code: let classes never seen compete with the vector they have, and drop the loss unless the last
        class has a prototype of its own.

    Returns:
      float32 scalar (float64 for float64 features) in nats; 0 where no pixel of a class seen is confident.

    Raises:
      ValueError: if the shapes do not fit, or a static temperature is not positive.

    Reference: Cho et al., EV-WSSS: Finding Meaning in Points, 2024, section 3 (prototype exchange). In the authors'
      code the test for filled queues ends up with the last class alone, and a class never seen competes with logit 0,
      or after projection with the direction of the bias.

    >>> pseudo = PseudoLabels(jnp.array([0]), jnp.array([0.9]), jnp.array([True]))
    >>> both = (jnp.eye(2), jnp.ones(2, bool))
    >>> round(prototype_exchange_loss(jnp.array([[2.0, 0.0]]), pseudo, both, both, temperature=1.0).item(), 4)
    0.3133
    """
    check_state("pseudo", pseudo, PseudoLabels)

    def one(prototypes: jax.Array, seen: jax.Array) -> jax.Array:
        counted = pseudo.accepted if authors_code else pseudo.accepted & seen[pseudo.label]
        loss = prototype_cross_entropy(
            features,
            pseudo.label,
            prototypes,
            seen=None if authors_code else seen,
            temperature=temperature,
            where=counted,
        )
        return accepted_mean(loss, pseudo, counted, axis_name)

    total = one(*own) if received is None else 0.5 * (one(*own) + one(*received))
    return jnp.where(own[1][-1], total, 0.0) if authors_code else total


def _pixel_features(features: jax.Array, size: tuple[int, int]) -> jax.Array:
    """One unit vector per pixel of the image."""
    shape = (features.shape[0], *size, features.shape[-1])
    return normalize(jax.image.resize(as_float(features), shape, "bilinear"))


def _project(x: jax.Array, projection: Projection) -> jax.Array:
    kernel, bias = projection
    return normalize(normalize(x) @ as_float(kernel) + as_float(bias))


def _distillation(a: EvWsssBranch, b: EvWsssBranch, axis_name: AxisName) -> jax.Array:
    """Mean over maps and students of the distance from the projected features to the other's."""
    total, count = jnp.zeros((), a.logits.dtype), 0
    for mine, other in ((a, b), (b, a)):
        for f, projection, target in zip(mine.features, mine.projections, other.features):
            distance = feature_distance(_project(as_float(f), projection), target)
            total, count = total + masked_mean(distance, axis_name=axis_name), count + 1
    return total / max(count, 1)


def _exchanged(a: EvWsssBranch, b: EvWsssBranch, own_a: tuple, own_b: tuple) -> tuple[tuple, tuple]:
    """What each student receives: the other's prototypes in its own space, and which of them exist."""
    a_in_b, b_in_a = exchange(
        own_a[0], own_b[0], lambda m: _project(m, a.projections[-1]), lambda m: _project(m, b.projections[-1])
    )  # fmt: skip
    return (b_in_a, own_b[1]), (a_in_b, own_a[1])


def _counts(weight: float | jax.Array) -> bool:
    """Whether a term can matter: the number 0 leaves it out of the program, a traced 0 does not."""
    return not (isinstance(weight, int | float) and weight == 0)


def _remember(
    branch: EvWsssBranch, probs: jax.Array, present: jax.Array, on: jax.Array, threshold: float, min_mass: float,
    axis_name: AxisName,
) -> tuple[jax.Array, Queue]:  # fmt: skip
    """The features of every pixel, and the queues with this batch's prototypes in them."""
    features = _pixel_features(branch.features[-1], branch.logits.shape[1:3])
    made, valid = region_prototypes(features, probs, present, threshold=threshold, min_mass=min_mass)
    return features, class_queues_push(branch.queues, made, valid & (on > 0), axis_name=axis_name)


def _check_branches(a: EvWsssBranch, b: EvWsssBranch) -> None:
    check_state("branch_a", a, EvWsssBranch)
    check_state("branch_b", b, EvWsssBranch)
    if a.logits.ndim != 4 or a.logits.shape != b.logits.shape:
        raise InputError(
            f"logits {a.logits.shape} and {b.logits.shape} of the two students must be [B, H, W, K], both the same"
        )
    for branch in (a, b):
        if not branch.features or len(branch.features) != len(branch.projections):
            raise InputError(
                f"a student needs one projection per map of features, at least one: it has {len(branch.features)} maps"
                f" and {len(branch.projections)} projections"
            )


def ev_wsss_loss(
    branch_a: EvWsssBranch,
    branch_b: EvWsssBranch,
    labels: jax.Array,
    *,
    where: jax.Array,
    threshold: float | jax.Array = 0.5,
    region_threshold: float | jax.Array = 0.7,
    min_mass: float | jax.Array = 10.0,
    min_items: int | jax.Array = 10,
    temperature: float | jax.Array = 0.1,
    dual_weight: float | jax.Array = 0.5,
    prototype_weight: float | jax.Array = 0.5,
    distillation_weight: float | jax.Array = 1.0,
    started: float | jax.Array = 1.0,
    exchanged: bool = True,
    authors_code: bool = False,
    axis_name: AxisName = None,
) -> tuple[jax.Array, EvWsssTerms, tuple[Queue, Queue]]:
    """The whole loss of two students on a batch of images with few labelled pixels, one number for the batch.

    Both learn the labelled pixels. Each learns the other's confident pseudo-labels, among the classes that the
    labels say are in the image. Confident regions leave class prototypes in a queue, and each student's pixels
    are pulled to its own prototypes and to the other's, projected. No gradient passes through a pseudo-label, a
    confidence, a queue, or the target of the feature distillation.

        L = CE_A + CE_B + dual_weight (CE(A, y_B) + CE(B, y_A))
            + started (prototype_weight (P_A + P_B) + distillation_weight D)

    Args:
      branch_a, branch_b: the students' outputs and memories, `EvWsssBranch`.
      labels: integers `[B, H, W]` in [0, K); anything may stand where `where` is false, and a negative one, or 255 if
        it is no class, is no label.
      where: bool or {0, 1}, broadcastable to `[B, H, W]`: the labelled pixels.
      threshold: confidence that a pseudo-label needs.
      region_threshold, min_mass: see `region_prototypes`.
      min_items: see `class_queue_means`.
      temperature: of the prototypes' softmax.
      dual_weight, prototype_weight, distillation_weight: of the terms. With the number 0 a term is not computed at
        all: it is reported as 0, and without prototypes the queues stay as they are.
      started: 0 before the prototypes begin (the authors: two epochs), which leaves the queues alone, then 1.
      exchanged: static; False leaves out the other's prototypes.
      authors_code: static; three faults of the authors' code: the dual term is 0 as soon as one image of the batch
        has no confident pixel, and those of `prototype_exchange_loss`.
      axis_name: mapped axis (or axes) of the batch; every device returns the global loss and the same queues.

    Returns:
      `(loss, EvWsssTerms, (queues_a, queues_b))`; the loss is a float32 scalar (float64 for float64 logits).

    Raises:
      ValueError: if the shapes do not fit, or a labelled pixel names a class of K or above.

    Reference: Cho et al., EV-WSSS: Finding Meaning in Points: Weakly Supervised Semantic Segmentation for Event
      Cameras, ECCV 2024, with the weights of the authors' code. Confidence is the softmax of the positive parts of
      the logits there, and so it is here.

    >>> from jaxlab.semi_supervised.prototype_memory import class_queues_init
    >>> identity = (jnp.eye(2), jnp.zeros(2))
    >>> features, queues = jnp.ones((1, 2, 2, 2)), class_queues_init(3, 8, 2)
    >>> student = EvWsssBranch(jnp.zeros((1, 4, 4, 3)), (features,), (identity,), queues)
    >>> labelled = jnp.zeros((1, 4, 4), bool).at[0, 1, 1].set(True)
    >>> loss, terms, queues = ev_wsss_loss(student, student, jnp.zeros((1, 4, 4), int), where=labelled)
    >>> round(loss.item(), 4), terms.pseudo_a.accepted.sum().item()  # 2 log 3, and nobody is sure of anything
    (2.1972, 0)
    """
    _check_branches(branch_a, branch_b)
    labels, known = as_dense_labels(branch_a.logits, labels, where=where)
    labelled = full_mask(where, labels.shape, "labels") & known
    present = classes_in_labels(labels, num_classes=branch_a.logits.shape[-1], where=labelled)
    started = jnp.asarray(started, as_float(branch_a.logits).dtype)
    probs_a, probs_b = _probabilities(branch_a.logits, present), _probabilities(branch_b.logits, present)
    pseudo_a, pseudo_b = (pseudo_label(probs, threshold=threshold) for probs in (probs_a, probs_b))
    point = lambda logits: masked_mean(
        masked_cross_entropy(logits, labels, where=labelled), where=labelled, axis_name=axis_name
    )
    queues, pulls = (branch_a.queues, branch_b.queues), (jnp.zeros_like(started),) * 2
    if _counts(prototype_weight):
        memory = (present, started, region_threshold, min_mass, axis_name)
        features_a, queues_a = _remember(branch_a, probs_a, *memory)
        features_b, queues_b = _remember(branch_b, probs_b, *memory)
        queues = queues_a, queues_b
        own = [class_queue_means(queue, min_items=min_items) for queue in queues]
        received = _exchanged(branch_a, branch_b, *own) if exchanged else (None, None)
        pull = functools.partial(
            prototype_exchange_loss, temperature=temperature, axis_name=axis_name, authors_code=authors_code
        )
        pulls = tuple(map(pull, (features_a, features_b), (pseudo_b, pseudo_a), own, received))
    dual = apart = jnp.zeros_like(started)
    if _counts(dual_weight):
        dual = _dual(branch_a, branch_b, pseudo_a, pseudo_b, axis_name, authors_code)
    if _counts(distillation_weight):
        apart = _distillation(branch_a, branch_b, axis_name)
    terms = EvWsssTerms(
        point_a=point(branch_a.logits),
        point_b=point(branch_b.logits),
        dual=dual,
        prototype_a=pulls[0],
        prototype_b=pulls[1],
        distillation=apart,
        pseudo_a=pseudo_a,
        pseudo_b=pseudo_b,
    )
    pulled = prototype_weight * (terms.prototype_a + terms.prototype_b)
    total = terms.point_a + terms.point_b + dual_weight * terms.dual
    total += started * (pulled + distillation_weight * terms.distillation)
    return total, terms, queues

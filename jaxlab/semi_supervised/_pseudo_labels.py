"""Pseudo-labels: a model's own predictions as labels, filtered by class and by confidence.

An element is an example, a pixel, a voxel: whatever the leading axes `[...]` count. `where` masks elements.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, cross_entropy, masked_mean, masked_softmax
from jaxlab.core._reduce import AxisName
from jaxlab.core._values import check_values
from jaxlab.core.check import (
    InputError,
    as_bool,
    as_integers,
    check_fraction,
    check_positive,
    check_probabilities,
    check_state,
    full_mask,
)
from jaxlab.semi_supervised._contracts import as_dense_labels, check_class_axis


class PseudoLabels(NamedTuple):
    """Labels that a model gave, with how sure it was: NaN where its probabilities are.

    Attributes:
      label: int32 `[...]`, the most probable class; the lowest index of a tie.
      confidence: float32 `[...]`, its probability.
      accepted: bool `[...]`, whether the confidence reached the threshold of that class.

    >>> pseudo_label(jnp.array([0.25, 0.75]), threshold=0.5).label.item()
    1
    """

    label: jax.Array
    confidence: jax.Array
    accepted: jax.Array


def class_filtered_probs(probs: jax.Array, present: jax.Array) -> jax.Array:
    """Probabilities with the classes that are known to be absent set to 0, not renormalised.

    An image-level tag, or the classes among the few points that were labelled, say which classes a picture can
    contain. What is left sums to less than 1, so confidence falls where the model believed in an absent class.
    Gradients flow through the classes that are present.

        q_k = p_k [class k is present]

    Args:
      probs: `[..., K]` probabilities.
      present: bool or {0, 1}, `[K]`, or `[B, K]` for probabilities `[B, ..., K]`: its leading axes are the first
        axes of `probs`.

    Returns:
      `[..., K]` float32 (float64 for float64 probabilities), in [0, 1].

    Raises:
      ValueError: if the leading axes of `present` are not the first of `probs`, or the classes differ.

    Reference: Cho et al., EV-WSSS: Finding Meaning in Points, 2024, section 3: class filtering of pseudo-labels.

    >>> class_filtered_probs(jnp.array([[0.5, 0.25, 0.25]]), jnp.array([0, 1, 1])).tolist()
    [[0.0, 0.25, 0.25]]
    """
    check_class_axis("probs", probs)
    check_probabilities("probs", probs)
    probs, present = as_float(probs), as_bool("present", present)
    lead = present.ndim - 1
    aligned = present.reshape(*present.shape[:-1], *[1] * (probs.ndim - 1 - lead), *present.shape[-1:])
    fits = 0 <= lead < probs.ndim and present.shape[-1] == probs.shape[-1]
    if not fits or any(p not in (1, q) for p, q in zip(aligned.shape, probs.shape)):
        raise InputError(
            f"present {present.shape} must be [K] or the first axes of probs {probs.shape} followed by K"
        )
    return jnp.where(aligned, probs, 0.0)


def pseudo_label(probs: jax.Array, *, threshold: float | jax.Array) -> PseudoLabels:
    """The most probable class of every element, accepted where it is probable enough.

    Probabilities need not sum to 1 (see `class_filtered_probs`); an element without any mass is never accepted,
    and neither is one with a NaN. No gradient passes.

        label = argmax_k p_k,  confidence = max_k p_k,  accepted = confidence >= threshold[label]

    Args:
      probs: `[..., K]` probabilities, not logits.
      threshold: in [0, 1]; a scalar, or one per class `[K]`.

    Returns:
      `PseudoLabels` of int32, float32 (float64 for float64 probabilities) and bool, each `[...]`.

    Raises:
      ValueError: if `probs` has no class axis, `threshold` is neither a scalar nor `[K]`, or known values of the
        two lie outside [0, 1].

    Reference: Lee, Pseudo-Label, 2013; the threshold as in Sohn et al., FixMatch, 2020, equation 4 (there 0.95).

    >>> probs = jnp.array([[0.9, 0.1], [0.4, 0.6]])
    >>> pseudo_label(probs, threshold=jnp.array([0.95, 0.5])).accepted.tolist()
    [False, True]
    """
    check_class_axis("probs", probs)
    check_probabilities("probs", probs)
    check_fraction("threshold", threshold)
    probs = jax.lax.stop_gradient(as_float(probs))
    threshold = jax.lax.stop_gradient(jnp.asarray(threshold, probs.dtype))
    if threshold.shape not in ((), probs.shape[-1:]):
        raise InputError(f"threshold {threshold.shape} must be a scalar or [K], probs are {probs.shape}")
    label = jnp.argmax(probs, axis=-1).astype(jnp.int32)
    confidence = jnp.max(probs, axis=-1)
    needed = threshold if threshold.ndim == 0 else threshold[label]
    return PseudoLabels(label, confidence, (confidence >= needed) & (confidence > 0))


def sharpen(probs: jax.Array, *, temperature: float | jax.Array = 0.1) -> jax.Array:
    """A distribution with its differences magnified: a soft pseudo-label that is nearly hard.

    Computed on logarithms, so that small probabilities do not underflow to 0 / 0. No gradient passes.

        p_c^(1/T) / sum_d p_d^(1/T)

    Args:
      probs: `[..., K]`, at least 0; they need not sum to 1.
      temperature: T, a positive scalar.

    Returns:
      `[..., K]` float32 (float64 for float64 probabilities); zeros where all were 0.

    Raises:
      ValueError: if `probs` has no class axis or a known one is below 0, or a static temperature is not positive.

    Reference: Berthelot et al., MixMatch, 2019, equation 7 (there T = 0.5); RAIL has T = 0.1.

    >>> [round(p, 3) for p in sharpen(jnp.array([0.6, 0.4])).tolist()]
    [0.983, 0.017]
    """
    check_class_axis("probs", probs)
    check_values(_find_negative, probs)
    check_positive("temperature", temperature)
    probs = jax.lax.stop_gradient(as_float(probs))
    positive = probs > 0
    logs = jnp.log(jnp.where(positive, probs, 1.0)) / jnp.asarray(temperature, probs.dtype)
    return jnp.where(jnp.isnan(probs), probs, masked_softmax(logs, where=positive | jnp.isnan(probs)))


def _find_negative(probs: np.ndarray) -> str | None:
    below = probs[probs < 0]
    return (
        f"probs must be at least 0, got {float(below[0]):.4g}: apply softmax to logits first"
        if below.size
        else None
    )


def masked_cross_entropy(
    logits: jax.Array, labels: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """Cross-entropy of the elements that have a label, 0 at the others.

    Serves sparse labels and pseudo-labels alike: `where` is the annotation mask or `PseudoLabels.accepted`.
    Gradients flow into the logits of those elements only. Which mean to take is the caller's choice: over the
    labelled elements, `masked_mean(loss, where=where)`, or over all of them, `loss.mean()`, as FixMatch does.

        where * -log softmax(logits)[label]

    Args:
      logits: `[..., K]`, any finite size.
      labels: integers `[...]` in [0, K); a negative one, and 255 if it is no class, mark an element to ignore.
        Anything may stand where the mask is false.
      where: bool or {0, 1}, broadcastable to `[...]`; None means all.

    Returns:
      `[...]` float32 (float64 for float64 logits) in nats; 0 where masked or to be ignored.

    Raises:
      ValueError: if `labels` is not of an integer type, names a class of K or above, or lacks the leading shape of
        `logits`, or `where` does not broadcast to it.

    Reference: Sohn et al., FixMatch, 2020, equation 4 without its mean.

    >>> loss = masked_cross_entropy(jnp.zeros((2, 4)), jnp.array([1, 255]), where=jnp.array([1, 0]))
    >>> loss.tolist() == [jnp.log(4.0), 0.0]
    True
    """
    labels, counted = as_dense_labels(logits, labels, where=where)
    mask = full_mask(where, labels.shape, "labels")
    logits = jnp.where(mask[..., None], as_float(logits), 0.0)
    return cross_entropy(logits, jnp.where(mask & counted, labels, -1))


def accepted_mean(loss: jax.Array, pseudo: PseudoLabels, where: jax.Array, axis_name: AxisName) -> jax.Array:
    """Mean of a loss on pseudo-labels over the elements `where`, NaN where a confidence is: a teacher that diverged."""
    lost = jnp.isnan(pseudo.confidence)
    return masked_mean(jnp.where(lost, jnp.nan, loss), where=where | lost, axis_name=axis_name)


class PseudoLabelQuality(NamedTuple):
    """How good a set of pseudo-labels is, each a float32 scalar in [0, 1]; see `pseudo_label_quality`.

    Attributes:
      accuracy: share of the accepted pseudo-labels that are right (their precision).
      coverage: share of the elements that were accepted (the acceptance rate).

    >>> PseudoLabelQuality(jnp.array(0.5), jnp.array(1.0)).coverage.item()
    1.0
    """

    accuracy: jax.Array
    coverage: jax.Array


def pseudo_label_quality(
    pseudo: PseudoLabels, truth: jax.Array, *, where: jax.Array | None = None, axis_name: AxisName = None
) -> PseudoLabelQuality:
    """Accuracy and coverage of a batch of pseudo-labels, a diagnostic where the truth is known.

    A threshold trades one for the other, so neither says much alone. Both are NaN if a confidence that counts is. No
    gradient passes.

        accuracy = #{accepted and right} / #{accepted},  coverage = #{accepted} / #{elements}

    Args:
      pseudo: pseudo-labels of shape `[...]`.
      truth: integers `[...]`; a negative one marks an element to ignore.
      where: bool or {0, 1}, broadcastable to `[...]`, the elements that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global shares.

    Returns:
      float32 scalars; 0 for the accuracy when nothing was accepted, 0 for both without elements.

    Raises:
      ValueError: if `truth` is not of integers or lacks the shape of the pseudo-labels, or `where` does not broadcast
        to it.

    Reference: Sohn et al., FixMatch, 2020, which reports the impurity, 1 - accuracy, in its ablation of the
      threshold.

    >>> pseudo = pseudo_label(jnp.array([[0.9, 0.1], [0.6, 0.4]]), threshold=0.8)
    >>> [x.item() for x in pseudo_label_quality(pseudo, jnp.array([0, 0]))]
    [1.0, 0.5]
    """
    check_state("pseudo", pseudo, PseudoLabels)
    if np.shape(truth) != np.shape(pseudo.label):
        raise InputError(f"truth {np.shape(truth)} must have the pseudo-labels' shape {pseudo.label.shape}")
    truth = as_integers("truth", truth, "class indices")
    counted = full_mask(where, pseudo.label.shape, "pseudo-labels") & (truth >= 0)
    lost = jnp.isnan(pseudo.confidence)
    share = lambda holds, where: masked_mean(
        jnp.where(lost, jnp.nan, holds), where=counted & where, axis_name=axis_name
    )
    right = share(pseudo.label == truth, pseudo.accepted | lost)
    return PseudoLabelQuality(right, share(pseudo.accepted, True))

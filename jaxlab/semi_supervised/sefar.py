"""A stochastic teacher whose mean and spread weigh every pseudo-label, in place of a threshold."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean, masked_softmax, masked_std
from jaxlab.core._reduce import AxisName
from jaxlab.core.check import (
    InputError,
    as_integers,
    as_labels,
    check_choice,
    check_fraction,
    check_probabilities,
    check_same_logits,
    check_together,
    full_mask,
)
from jaxlab.semi_supervised._contracts import check_class_axis
from jaxlab.semi_supervised._pseudo_labels import masked_cross_entropy


class TeacherStats(NamedTuple):
    """What several passes of a stochastic teacher say about each example.

    Attributes:
      probs: `[..., K]`, the mean class probabilities.
      std: `[..., K]`, their standard deviation over passes.
      label: int32 `[...]`, the class with the largest mean.
      confidence: `[...]`, its mean probability.
      spread: `[...]`, its standard deviation.

    >>> teacher_stats(jnp.zeros((3, 1, 2))).confidence.tolist()
    [0.5]
    """

    probs: jax.Array
    std: jax.Array
    label: jax.Array
    confidence: jax.Array
    spread: jax.Array


def teacher_stats(logits: jax.Array) -> TeacherStats:
    """Mean and spread of a stochastic teacher's predictions over its passes.

    The passes differ by dropout. The spread is the unbiased one; a single pass has none, 0. No gradient passes.

        probs = mean_r softmax(z_r),  std = sqrt(sum_r (softmax(z_r) - probs)^2 / (R - 1))

    Args:
      logits: `[R, ..., K]` of R passes, any finite size.

    Returns:
      `TeacherStats` in float32 (float64 for float64 logits).

    Raises:
      ValueError: if there is no pass or no class.

    Reference: SeFAR: Semi-supervised Fine-grained Action Recognition, 2025, section on adaptive regulation (10
      passes); Gal, Ghahramani, Dropout as a Bayesian Approximation, 2016. With one pass the authors' spread is NaN.

    >>> stats = teacher_stats(jnp.log(jnp.array([[[0.9, 0.1]], [[0.7, 0.3]]])))
    >>> stats.label.item(), round(stats.confidence.item(), 4), round(stats.spread.item(), 4)
    (0, 0.8, 0.1414)
    """
    check_class_axis("logits", logits)
    if np.ndim(logits) < 2 or not np.shape(logits)[0]:
        raise InputError(f"logits {np.shape(logits)} must have shape [R, ..., K] with at least one pass")
    probs = masked_softmax(jax.lax.stop_gradient(logits))
    mean, std = masked_mean(probs, axis=0), masked_std(probs, axis=0, ddof=1)
    label = jnp.argmax(mean, axis=-1).astype(jnp.int32)
    pick = lambda x: jnp.take_along_axis(x, label[..., None], axis=-1)[..., 0]
    return TeacherStats(mean, std, label, pick(mean), pick(std))


def adaptive_weight(confidence: jax.Array, spread: jax.Array) -> jax.Array:
    """The weight of a pseudo-label: higher if the teacher is confident, lower if its passes disagree.

    A soft weight instead of a threshold: nothing is thrown away. No gradient passes.

        w = 2 sigmoid(exp(p) - e) * 2 (sigmoid(1 / (20 s + 1e-9)) - 1/2)

    The first factor is 1 at p = 1 and 0.30 at p = 0; the second is 1 at s = 0 and falls with s, to 0.46 at 0.05 and
    0.05 at 0.5.

    Args:
      confidence: p, any shape, in [0, 1].
      spread: s, of the same shape, at least 0.

    Returns:
      float32 (float64 for float64 input) of that shape, in [0, 1].

    Raises:
      ValueError: if the shapes differ, or known confidences are no probabilities.

    Reference: SeFAR, 2025, equations of adaptive regulation, constants of the authors' code.

    >>> weight = adaptive_weight(jnp.array([1.0, 0.5]), jnp.array([0.0, 0.05]))
    >>> [round(x, 4) for x in weight.tolist()]
    [1.0, 0.2361]
    """
    if np.shape(confidence) != np.shape(spread):
        raise InputError(
            f"confidence {np.shape(confidence)} and spread {np.shape(spread)} must have one shape"
        )
    check_probabilities("confidence", confidence)
    p, s = (jax.lax.stop_gradient(as_float(x)) for x in (confidence, spread))
    # Out of its range the exponential would overflow, harmlessly but for the flags it raises.
    sure = 2.0 * jax.nn.sigmoid(jnp.exp(jnp.minimum(p, 1.0)) - math.e)
    steady = 2.0 * (jax.nn.sigmoid(1.0 / (20.0 * jnp.maximum(s, 0.0) + 1e-9)) - 0.5)
    return jnp.minimum(sure, 1.0) * steady


def mixed_target_loss(
    mixed_logits: jax.Array,
    teacher_probs: jax.Array,
    weight: jax.Array,
    partner: jax.Array,
    ratio: float | jax.Array,
    *,
    mix_on: str = "logits",
    where: jax.Array | None = None,
) -> jax.Array:
    """The student on a mixture of two clips matches the mixture of what the teacher says of each, per example.

    Gradients stop at the teacher and at the weights.

        y_b = r p_b + (1 - r) p_partner(b),   v_b = r w_b + (1 - r) w_partner(b)
        L_b = v_b / K sum_k (m_bk - y_bk)^2, or with softmax(m_b) in the place of m_b

    Args:
      mixed_logits: `[B, K]` of the student on the mixed clips, any finite size.
      teacher_probs: `[B, K]` mean probabilities of the teacher on the clips themselves.
      weight: `[B]` of the rows, see `adaptive_weight`.
      partner: integers `[B]` in [0, B).
      ratio: scalar r in [0, 1], the share that was asked for (not the one after rounding down to whole tokens).
      mix_on: "logits" compares the student's raw logits, as the authors' code does: a logit then has its optimum in
        [0, 1], where no class can be confident. "probs" compares probabilities with probabilities.
      where: bool or {0, 1}, broadcastable to `[B]`, the clips that exist; None means all. A mixture counts if both
        of its clips do.

    Returns:
      `[B]` float32 (float64 for float64 logits), at least 0; 0 where the mixture does not count.

    Raises:
      ValueError: if shapes do not fit, `partner` names no row, `ratio` is outside [0, 1], known `teacher_probs` are no
        probabilities, or `mix_on` is neither of the two.

    Reference: SeFAR, 2025, and its code.

    >>> logits, teacher = jnp.zeros((2, 2)), jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> mixed_target_loss(logits, teacher, jnp.ones(2), jnp.array([1, 0]), 1.0).tolist()
    [0.5, 0.5]
    """
    shape = np.shape(mixed_logits)
    if len(shape) != 2 or np.shape(teacher_probs) != shape or np.shape(weight) != shape[:1]:
        raise InputError(
            f"mixed_logits {shape} and teacher_probs {np.shape(teacher_probs)} must be [B, K], "
            f"weight {np.shape(weight)} [B]"
        )
    check_choice("mix_on", mix_on, ("probs", "logits"))
    check_fraction("ratio", ratio)
    exists = full_mask(where, shape[:1], "rows")
    check_probabilities("teacher_probs", teacher_probs, where=exists[:, None])
    partner, both = _pairs(partner, exists)
    student = jnp.where(both[:, None], as_float(mixed_logits), 0.0)
    student = masked_softmax(student) if mix_on == "probs" else student

    def blend(x: jax.Array) -> jax.Array:
        # What does not exist is no part of a mixture: it must not reach its partner, not even times 0.
        x = jnp.where(exists.reshape(-1, *[1] * (np.ndim(x) - 1)), as_float(x), 0.0)
        return jax.lax.stop_gradient(ratio * x + (1.0 - ratio) * x[partner])

    target, trust = blend(teacher_probs), blend(weight)
    loss = trust * jnp.mean(jnp.square(student - target), axis=-1)
    return jnp.where(both, loss, 0.0)


def _pairs(partner: jax.Array, exists: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Each row's partner, and whether both of them exist."""
    if np.shape(partner) != exists.shape:
        raise InputError(f"partner {np.shape(partner)} must be [B] {exists.shape}")
    partner = as_integers("partner", partner, "rows of the batch", exists.shape[0], where=exists)
    return partner, exists & exists[partner]


class SefarParts(NamedTuple):
    """The terms of `sefar_loss`, each a float32 scalar, and the weights `[B]` of the unlabelled examples.

    Attributes:
      supervised: mean cross-entropy of the labelled examples.
      unlabelled: mean weighted cross-entropy of the pseudo-labels.
      mixed: mean weighted squared error on the mixtures.
      weight: `[B]` of every pseudo-label; 0 for a row that does not exist.

    >>> SefarParts(*jnp.zeros(3), jnp.zeros(2)).weight.shape
    (2,)
    """

    supervised: jax.Array
    unlabelled: jax.Array
    mixed: jax.Array
    weight: jax.Array


def sefar_loss(
    labelled_logits: jax.Array,
    labels: jax.Array,
    strong_logits: jax.Array,
    mixed_logits: jax.Array,
    teacher_logits: jax.Array,
    partner: jax.Array,
    ratio: float | jax.Array,
    ramp: float | jax.Array,
    *,
    unlabelled_weight: float = 2.0,
    mixed_weight: float = 2.0,
    mix_on: str = "logits",
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> tuple[jax.Array, SefarParts]:
    """Batch-level: labels, pseudo-labels weighted by a stochastic teacher, and mixtures, as SeFAR adds them up.

    The three terms are means over batches of their own. Gradients stop at the teacher.

        L = mean_a CE(l_a, y_a) + ramp (g1 mean_b w_b CE(s_b, argmax p_b) + g2 mean_b L_mix,b)

    Args:
      labelled_logits: `[A, K]` of the student, any finite size.
      labels: integers `[A]` in [0, K); a negative one marks an example to leave out.
      strong_logits: `[B, K]` of the student on the strong view.
      mixed_logits: `[B, K]` of the student on the mixed clips.
      teacher_logits: `[R, B, K]` of R stochastic passes of the teacher on the weak view.
      partner: integers `[B]` in [0, B): within a device's own rows under `axis_name`.
      ratio: scalar in [0, 1], the share of the mixture that is the clip's own.
      ramp: scalar, see `sine_ramp_up`.
      unlabelled_weight: g1.
      mixed_weight: g2.
      mix_on: "probs" or "logits", see `mixed_target_loss`.
      where: bool or {0, 1}, broadcastable to `[B]`, the unlabelled examples that exist; None means all. A mixture
        with one that does not is left out of its mean.
      axis_name: mapped axis (or axes) of both batches; every device returns the global loss.

    Returns:
      float32 scalar (float64 for float64 logits), and its `SefarParts`.

    Raises:
      ValueError: if shapes do not fit, or `mix_on` is neither of its two values.

    Reference: SeFAR, 2025, overall objective; g1 = g2 = 2 and the raw logits are those of the authors' code.

    >>> total, parts = sefar_loss(jnp.zeros((1, 2)), jnp.array([0]), jnp.zeros((2, 2)), jnp.zeros((2, 2)),
    ...                           jnp.zeros((10, 2, 2)), jnp.array([1, 0]), 0.5, 1.0)
    >>> round(parts.supervised.item(), 4), round(parts.mixed.item(), 4)
    (0.6931, 0.1277)
    """
    stats = teacher_stats(teacher_logits)
    check_same_logits(strong_logits, stats.probs)
    labels = as_labels(labelled_logits, labels)
    known = (labels >= 0) & (labels < np.shape(labelled_logits)[-1])
    mean = lambda x, mask: masked_mean(x, where=mask, axis_name=axis_name)
    exists = full_mask(where, stats.label.shape, "unlabelled rows")
    weight = jnp.where(exists, adaptive_weight(stats.confidence, stats.spread), 0.0)
    unlabelled = weight * masked_cross_entropy(strong_logits, stats.label, where=exists)
    mixed = mixed_target_loss(mixed_logits, stats.probs, weight, partner, ratio, mix_on=mix_on, where=exists)
    parts = SefarParts(
        mean(masked_cross_entropy(labelled_logits, labels, where=known), known),
        mean(unlabelled, exists),
        mean(mixed, _pairs(partner, exists)[1]),
        weight,
    )
    total = parts.supervised + ramp * (unlabelled_weight * parts.unlabelled + mixed_weight * parts.mixed)
    return total, parts


def sine_ramp_up(step: jax.Array, *, warm_up: float | jax.Array, total: float | jax.Array) -> jax.Array:
    """Ramp from 0 to 1 along a quarter of a sine, after a warm-up without unlabelled data.

    Steep at first and flat at the end. It is above 0 from the first step after the warm-up, and 1 at the last.

        0 for step < warm_up,  else sin(pi/2 clip((step + 1 - warm_up) / (total - warm_up), 0, 1))

    Args:
      step: counter of any shape, from 0; epochs or steps.
      warm_up: W, how many of them are supervised only, at least 0.
      total: how many there are in all, at least `warm_up`.

    Returns:
      float32 of the shape of `step`, in [0, 1].

    Raises:
      ValueError: if `warm_up` is negative or above `total`.

    Reference: SeFAR, 2025, and its code: 5 warm-up epochs of 30.

    >>> [round(x, 4) for x in sine_ramp_up(jnp.array([4, 5, 29]), warm_up=5, total=30).tolist()]
    [0.0, 0.0628, 1.0]
    """
    inside = lambda warm_up, total: (warm_up >= 0) & (warm_up <= total)
    check_together("warm_up must be in [0, total]", inside, warm_up=warm_up, total=total)
    step = as_float(step)
    done = jnp.clip((step + 1.0 - warm_up) / jnp.maximum(total - warm_up, 1e-9), 0.0, 1.0)
    return jnp.where(step < warm_up, 0.0, jnp.sin(0.5 * jnp.pi * done))

"""Learning where students disagree: extra supervision on labelled voxels, restraint on unlabelled ones.

Arrays are `[B, ...]` with any number of spatial axes; a class axis K comes last. A "region" is a set of voxels of
one example, and a mean over an empty region is 0.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean
from jaxlab.core._reduce import AxisName
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import (
    InputError,
    as_integers,
    check_choice,
    check_same_logits,
    full_mask,
)
from jaxlab.semi_supervised._contracts import as_dense_labels, check_class_axis
from jaxlab.semi_supervised._dice_loss import dice_loss
from jaxlab.semi_supervised._pseudo_labels import masked_cross_entropy, sharpen


def disagreement_mask(
    prediction_a: jax.Array, prediction_b: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """Where two predictions name different classes.

        where and a != b

    Args:
      prediction_a, prediction_b: integers or bools of one shape; either may be the truth.
      where: bool or {0, 1}, broadcastable to them; None means all.

    Returns:
      bool of that shape.

    Raises:
      ValueError: if the shapes differ, or `where` does not broadcast to them.

    Reference: RAIL: Region-Aware Instructive Learning, 2025, which writes it as an exclusive or of two foregrounds.

    >>> disagreement_mask(jnp.array([0, 1, 1]), jnp.array([0, 0, 1])).tolist()
    [False, True, False]
    """
    a, b = jnp.asarray(prediction_a), jnp.asarray(prediction_b)
    if a.shape != b.shape:
        raise InputError(f"prediction_a {a.shape} and prediction_b {b.shape} must have the same shape")
    return full_mask(where, a.shape, "predictions") & (a != b)


def best_student(losses: jax.Array) -> jax.Array:
    """The student with the smallest loss on the labelled half of a batch.

        argmin_s loss_s, the lowest index of a tie

    Args:
      losses: `[S]`, one number per student. A NaN is refused; where losses are traced and nobody can see it, its
        student is the one returned, so that what is taken from that student is NaN too.

    Returns:
      int32 scalar in [0, S); without gradient.

    Raises:
      ValueError: if `losses` is not `[S]` with at least one student, or one of them is NaN.

    Reference: RAIL: Region-Aware Instructive Learning, 2025, authors' code, where the loss is `dice_loss`.

    >>> best_student(jnp.array([0.4, 0.2, 0.2])).item()
    1
    """
    losses = jnp.asarray(losses)
    if losses.ndim != 1 or not losses.shape[0]:
        raise InputError(f"losses {losses.shape} must be [S], one number per student")
    check_no_nan("losses", losses)
    return jnp.argmin(jax.lax.stop_gradient(losses)).astype(jnp.int32)


def _region_mean(x: jax.Array, region: jax.Array) -> jax.Array:
    """Mean over each example's region `[B]`, 0 where it is empty."""
    return masked_mean(x, where=region, axis=tuple(range(1, x.ndim)))


def disagreement_supervision_loss(
    logits: jax.Array,
    labels: jax.Array,
    best_prediction: jax.Array,
    *,
    is_best: bool | jax.Array = False,
    mse_weight: float | jax.Array = 0.5,
    kl_weight: float | jax.Array = 0.05,
    where: jax.Array | None = None,
    authors_code: bool = False,
    kl_mode: str | None = None,
    error_mask: str | None = None,
) -> jax.Array:
    """Extra supervision where a student disagrees with the best one, and more where it is wrong too, per example.

    The voxels that two students see differently are mostly at boundaries, where the labels are worth most. The
    best student has nobody to disagree with: its region is the whole example. Gradients flow into the logits.

        R = [argmax z != best] (everything for the best student),  E = [argmax z != y]
        mse_weight mean_{v in R} (1/K sum_c (p_c - y_c)^2) + kl_weight mean_{v in R and E} KL(y || p),  p = softmax(z)

    Args:
      logits: `[B, ..., K]`.
      labels: integers `[B, ...]` in [0, K); a negative one, and 255 if it is no class, mark a voxel to ignore.
      best_prediction: integers `[B, ...]` in [0, K), the classes that the best student predicts.
      is_best: whether this is the best student; may be traced.
      mse_weight, kl_weight: of the two terms (alpha and beta).
      where: bool or {0, 1}, broadcastable to `[B, ...]`, the voxels that count; None means all.
      authors_code: static; both faults of the authors' code, each of which can be had alone, for two classes.
      kl_mode: static; "class", or "code": a KL term between softmaxes over the first spatial axis, of the foreground's
        probabilities and of the labels. None follows `authors_code`.
      error_mask: static; "class", or "code": E compares with the argmax of the label volume over its first spatial
        axis. None follows `authors_code`.

    Returns:
      `[B]` float32 (float64 for float64 logits); at least 0 with the class-wise KL term.

    Raises:
      ValueError: if the shapes do not fit, a class does not exist, or a fault of the authors' code is asked for other
        than two classes.

    Reference: RAIL: Region-Aware Instructive Learning, 2025 (disagreement-focused supervision). The per-voxel KL
      divergence to the label, which is -log p of its class, is a
      reading of what the code intends.

    >>> logits, labels = jnp.array([[[0.0, 0.0], [0.0, 2.0]]]), jnp.array([[1, 0]])
    >>> loss = disagreement_supervision_loss(logits, labels, jnp.array([[1, 1]]), kl_weight=1.0)
    >>> round(loss.item(), 4)  # the first voxel alone: 0.5 * 0.25 + log 2
    0.8181
    """
    kl_mode, error_mask = _faults(authors_code, kl_mode, error_mask, np.shape(logits))
    labels, known = as_dense_labels(logits, labels, where=where)
    logits = as_float(logits)
    mask = full_mask(where, labels.shape, "labels") & known
    best = _as_prediction(logits, best_prediction, mask)
    logits, labels = jnp.where(mask[..., None], logits, 0.0), jnp.where(known, labels, 0)
    prediction = jnp.argmax(logits, axis=-1)
    region = mask & (jnp.asarray(is_best).astype(bool) | _differs(logits, prediction, best))
    probs = jax.nn.softmax(logits)
    truth = jax.nn.one_hot(labels, logits.shape[-1], dtype=probs.dtype)
    mse = jnp.mean(jnp.square(probs - truth), axis=-1)
    if error_mask == "code":
        wrong = (prediction == 1) != (jnp.argmax(labels, axis=1, keepdims=True) == 1)
    else:
        wrong = prediction != labels
    if kl_mode == "code":
        q = jax.nn.softmax(truth[..., 1], axis=1)
        kl = q * (jax.nn.log_softmax(truth[..., 1], axis=1) - jax.nn.log_softmax(probs[..., 1], axis=1))
    else:
        kl = masked_cross_entropy(logits, labels, where=mask)
    return mse_weight * _region_mean(mse, region) + kl_weight * _region_mean(kl, region & wrong)


def _faults(
    authors_code: bool, kl_mode: str | None, error_mask: str | None, shape: tuple[int, ...]
) -> tuple[str, str]:
    """The form of the KL term and of the error mask, "class" or "code"."""
    usual = "code" if authors_code else "class"
    found = usual if kl_mode is None else kl_mode, usual if error_mask is None else error_mask
    for name, value in zip(("kl_mode", "error_mask"), found):
        check_choice(name, value, ("class", "code"))
    if "code" in found and (shape[-1:] != (2,) or len(shape) < 3):
        raise InputError(f"the authors' code needs logits [B, H, ..., 2], got {shape}")
    return found


def _differs(logits: jax.Array, prediction: jax.Array, best: jax.Array) -> jax.Array:
    """Where a student's class is not the best one's; also where a NaN hides it, so that the loss is NaN."""
    return (prediction != best) | jnp.any(jnp.isnan(logits), axis=-1)


def _as_prediction(logits: jax.Array, best: jax.Array, where: jax.Array) -> jax.Array:
    if np.shape(best) != logits.shape[:-1]:
        raise InputError(
            f"best_prediction {np.shape(best)} must have the leading shape of logits {logits.shape}"
        )
    return as_integers("best_prediction", best, "class indices", logits.shape[-1], where=where)


def confidence_restraint_loss(
    logits: jax.Array,
    best_prediction: jax.Array,
    *,
    where: jax.Array | None = None,
    authors_code: bool = False,
) -> jax.Array:
    """Push towards the uniform distribution where a student disagrees with the best one, per example.

    Without labels nobody knows which of the two is right, so the student must not become sure there. Gradients
    flow into the logits.

        mean over v with argmax z_v != best_v of KL(uniform || softmax(z_v))

    Args:
      logits: `[B, ..., K]`.
      best_prediction: integers `[B, ...]` in [0, K), the classes that the best student predicts.
      where: bool or {0, 1}, broadcastable to `[B, ...]`, the voxels that count; None means all.
      authors_code: static; mean over classes of -log softmax(softmax(z)): a second softmax, whose result lies
        between log 2 and 0.813 for two classes and hardly pushes, and without the constant -log K.

    Returns:
      `[B]` float32 (float64 for float64 logits) in nats, at least 0.

    Raises:
      ValueError: if the shapes do not fit.

    Reference: RAIL: Region-Aware Instructive Learning, 2025 (confidence-aware learning).

    >>> logits = jnp.array([[[0.0, 0.0], [0.0, 2.0]]])
    >>> round(confidence_restraint_loss(logits, jnp.array([[0, 0]])).item(), 4)  # the second voxel alone
    0.4338
    """
    check_class_axis("logits", logits)
    logits = as_float(logits)
    mask = full_mask(where, logits.shape[:-1], "voxels [B, ...]")
    best = _as_prediction(logits, best_prediction, mask)
    logits = jnp.where(mask[..., None], logits, 0.0)
    region = mask & _differs(logits, jnp.argmax(logits, axis=-1), best)
    given = jax.nn.softmax(logits) if authors_code else logits
    cross = -jnp.mean(jax.nn.log_softmax(given), axis=-1)
    return _region_mean(cross if authors_code else cross - jnp.log(logits.shape[-1]), region)


class RailTerms(NamedTuple):
    """The terms of `rail_student_loss`, unweighted float32 scalars.

    Attributes:
      segmentation: cross-entropy plus Dice on the labelled half.
      disagreement: `disagreement_supervision_loss`, its own weights included.
      consistency: squared distance to the best student's sharpened prediction.
      restraint: `confidence_restraint_loss`.
      teacher: squared distance to the teacher's sharpened prediction.

    >>> RailTerms._fields[0]
    'segmentation'
    """

    segmentation: jax.Array
    disagreement: jax.Array
    consistency: jax.Array
    restraint: jax.Array
    teacher: jax.Array


def rail_student_loss(
    labelled_logits: jax.Array,
    labels: jax.Array,
    unlabelled_logits: jax.Array,
    best_labelled_logits: jax.Array,
    best_unlabelled_logits: jax.Array,
    teacher_unlabelled_logits: jax.Array,
    *,
    is_best: bool | jax.Array,
    consistency_weight: float | jax.Array,
    teacher_weight: float | jax.Array,
    mse_weight: float | jax.Array = 0.5,
    kl_weight: float | jax.Array = 0.05,
    restraint_weight: float | jax.Array = 0.1,
    temperature: float | jax.Array = 0.1,
    axis_name: AxisName = None,
    authors_code: bool = False,
    kl_mode: str | None = None,
    error_mask: str | None = None,
) -> tuple[jax.Array, RailTerms]:
    """The whole loss of one student of RAIL, one number for a batch of a labelled and an unlabelled half.

    On the labelled half it learns the labels, harder where it disagrees with the best student; on the unlabelled
    half it follows the best student and a slow teacher, but does not become sure where it disagrees. The best
    student follows the teacher alone. Gradients stop at the best student and at the teacher.

        L = CE + Dice + DFS + [not best] w_c (mean (p - sharpen(p_best))^2 + restraint_weight CAL)
            + w_t mean (p - sharpen(p_teacher))^2

    Args:
      labelled_logits: `[L, ..., 2]` of this student.
      labels: integers `[L, ...]`, 1 in the foreground and 0 elsewhere; a negative one, and 255, mark a voxel that no
        term of the labelled half counts.
      unlabelled_logits: `[U, ..., 2]` of this student.
      best_labelled_logits, best_unlabelled_logits: of the best student, the same shapes.
      teacher_unlabelled_logits: `[U, ..., 2]`.
      is_best: whether this is the best student; may be traced.
      consistency_weight, teacher_weight: w_c and w_t, the authors' 20 and 10 times a `sigmoid_ramp_up`.
      mse_weight, kl_weight: see `disagreement_supervision_loss`.
      restraint_weight: of `confidence_restraint_loss`, times w_c.
      temperature: of `sharpen`.
      axis_name: mapped axis (or axes) of the batch; every device returns the global loss.
      authors_code: static; see the two losses of regions.
      kl_mode, error_mask: static; see `disagreement_supervision_loss`.

    Returns:
      `(loss, RailTerms)`, float32 scalars (float64 for float64 logits).

    Raises:
      ValueError: if the shapes do not fit.

    Reference: RAIL: Region-Aware Instructive Learning for Semi-Supervised Tooth Segmentation in CBCT, 2025, with the
      weights of the authors' code. Dice and the means over regions are each example's here; the authors' are the
      batch's, which has one example a half.

    >>> logits, labels = jnp.zeros((1, 4, 2)), jnp.array([[0, 0, 1, 1]])
    >>> weights = {"consistency_weight": 20.0, "teacher_weight": 10.0}
    >>> loss, terms = rail_student_loss(logits, labels, logits, logits, logits, logits, is_best=False, **weights)
    >>> round(loss.item(), 4)  # log 2 + Dice: 1 - 2 / 3
    1.0265
    """
    for student, other in (
        (labelled_logits, best_labelled_logits),
        (unlabelled_logits, best_unlabelled_logits),
        (unlabelled_logits, teacher_unlabelled_logits),
    ):
        check_same_logits(student, other)
    labels, known = as_dense_labels(labelled_logits, labels)
    if np.shape(labelled_logits)[-1] != 2:
        raise InputError(f"labelled_logits {np.shape(labelled_logits)} must have shape [L, ..., 2]")
    mean = functools.partial(masked_mean, axis_name=axis_name)
    labelled = known.any(axis=tuple(range(1, known.ndim)))
    best_labelled, best_unlabelled = (
        jax.lax.stop_gradient(as_float(z)).argmax(-1) for z in (best_labelled_logits, best_unlabelled_logits)
    )
    disagreement = disagreement_supervision_loss(
        labelled_logits, labels, best_labelled, is_best=is_best, mse_weight=mse_weight, kl_weight=kl_weight,
        authors_code=authors_code, kl_mode=kl_mode, error_mask=error_mask,
    )  # fmt: skip
    restraint = confidence_restraint_loss(unlabelled_logits, best_unlabelled, authors_code=authors_code)
    follow = lambda other: mean(_squared_distance(unlabelled_logits, other, temperature))
    terms = RailTerms(
        segmentation=_segmentation(labelled_logits, labels, known, mean),
        disagreement=mean(disagreement, where=labelled),
        consistency=follow(best_unlabelled_logits),
        restraint=mean(restraint),
        teacher=follow(teacher_unlabelled_logits),
    )
    follows = jnp.where(is_best, 0.0, jnp.asarray(consistency_weight, terms.consistency.dtype))
    total = terms.segmentation + terms.disagreement + teacher_weight * terms.teacher
    return total + follows * (terms.consistency + restraint_weight * terms.restraint), terms


def _segmentation(logits: jax.Array, labels: jax.Array, known: jax.Array, mean: Callable) -> jax.Array:
    """Cross-entropy and Dice loss where there are labels."""
    foreground = jax.nn.softmax(jnp.where(known[..., None], as_float(logits), 0.0))[..., 1]
    overlap = dice_loss(foreground, labels == 1, where=known)
    labelled = known.any(axis=tuple(range(1, known.ndim)))
    return mean(masked_cross_entropy(logits, labels), where=known) + mean(overlap, where=labelled)


def _squared_distance(logits: jax.Array, other: jax.Array, temperature: float | jax.Array) -> jax.Array:
    """To another's sharpened probabilities, which stay as they are."""
    target = sharpen(jax.nn.softmax(jax.lax.stop_gradient(as_float(other))), temperature=temperature)
    return jnp.square(jax.nn.softmax(as_float(logits)) - target)

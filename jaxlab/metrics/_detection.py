"""Average precision of detectors, on padded arrays, so that it runs inside the compiled evaluation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import InputError, as_bool, as_integers, check_fraction, full_mask


class DetectionScores(NamedTuple):
    """What `mean_average_precision` measures.

    Attributes:
      mean: float32 scalar, the mean of `average_precision` over the classes that occur in the truth.
      average_precision: float32 `[C]`; 0 for a class that does not occur.
      recall: float32 `[C]`, share of the true boxes that any detection found; 0 likewise.
      occurs: bool `[C]`.

    >>> DetectionScores(jnp.array(0.5), jnp.array([0.5]), jnp.array([1.0]), jnp.array([True])).mean.item()
    0.5
    """

    mean: jax.Array
    average_precision: jax.Array
    recall: jax.Array
    occurs: jax.Array


def match_detections(
    iou: jax.Array,
    scores: jax.Array,
    *,
    allowed: jax.Array | None = None,
    threshold: float = 0.5,
) -> jax.Array:
    """Which true box each detection finds: the surest chooses first, each true box is found once.

    A detection takes the true box of largest overlap among those that are free, allowed, and overlap enough. Ties of
    scores go to the lower index. No gradient passes.

    Args:
      iou: `[..., K, M]` overlap of detections with true boxes.
      scores: `[..., K]`.
      allowed: bool or {0, 1}, broadcastable to `[..., K, M]`, the pairs that may match: both exist and are of one
        class; None means all.
      threshold: in [0, 1], the least overlap; a pair without overlap never matches.

    Returns:
      `[..., K]` int32, the index of the true box, -1 for a false detection.

    Raises:
      ValueError: if the shapes do not fit, or an overlap or score that counts is NaN.

    Reference: Lin et al., Microsoft COCO, 2014 (evaluation). PASCAL VOC differs: there a detection whose best box is
      taken is false even if another overlaps enough.

    >>> iou = jnp.array([[0.6, 0.0], [0.9, 0.7]])
    >>> match_detections(iou, jnp.array([0.3, 0.8])).tolist(), match_detections(iou, jnp.array([0.8, 0.3])).tolist()
    ([-1, 0], [0, 1])
    """
    check_fraction("threshold", threshold)
    shape = np.shape(iou)
    if len(shape) < 2 or np.shape(scores) != shape[:-1]:
        raise InputError(f"iou {shape} must be [..., K, M] and scores {np.shape(scores)} must be [..., K]")
    possible = full_mask(allowed, shape, "pairs [..., K, M]")
    check_no_nan("iou", iou, where=possible)
    check_no_nan("scores", scores, where=jnp.any(possible, axis=-1))
    return _matched(iou, scores, possible, threshold)


def _matched(iou: jax.Array, scores: jax.Array, possible: jax.Array, threshold: float) -> jax.Array:
    shape = possible.shape
    iou = jax.lax.stop_gradient(jnp.where(possible, as_float(iou), 0.0))
    order = jnp.argsort(-as_float(scores), axis=-1, stable=True)
    columns = jnp.arange(shape[-1])

    def choose(free: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        row = jnp.take_along_axis(iou, index[..., None, None], axis=-2)[..., 0, :]
        row = jnp.where(free, row, 0.0)
        best = jnp.max(row, axis=-1, initial=0.0)
        found = (best > 0) & (best >= threshold)
        chosen = jnp.where(found, jnp.argmax(row, axis=-1), -1) if shape[-1] else jnp.full(best.shape, -1)
        return free & (columns != chosen[..., None]), chosen.astype(jnp.int32)

    free = jnp.ones((*shape[:-2], shape[-1]), bool)
    _, chosen = jax.lax.scan(choose, free, jnp.moveaxis(order, -1, 0))
    places = jnp.argsort(order, axis=-1)
    return jnp.take_along_axis(jnp.moveaxis(chosen, 0, -1), places, axis=-1)


def average_precision(
    scores: jax.Array, correct: jax.Array, num_truth: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """Area under precision over recall, all detections of one class ordered by their scores.

    Precision is first made to fall with recall: at each recall the best precision at this or a larger one counts.
    Detections of equal scores enter one after another, in the order of their indices. No gradient passes.

        sum_i (r_i - r_(i-1)) max_(j >= i) p_j

    Args:
      scores: `[N]` of all detections in all scenes.
      correct: bool or {0, 1}, `[N]`, whether a detection found a true box.
      num_truth: how many true boxes there are.
      where: bool or {0, 1}, broadcastable to `[N]`, the detections that exist; None means all.

    Returns:
      A float32 scalar (float64 for float64 scores) in [0, 1]; 0 if there are no true boxes, NaN if a score is.

    Raises:
      ValueError: if the shapes do not fit.

    Reference: Everingham et al., The PASCAL Visual Object Classes Challenge: A Retrospective, 2015, section 3.2 (the
      area from 2010 on).

    >>> round(average_precision(jnp.array([0.9, 0.8, 0.7]), jnp.array([1, 0, 1]), 2).item(), 4)
    0.8333
    """
    if np.ndim(scores) != 1 or np.shape(correct) != np.shape(scores):
        raise InputError(f"scores {np.shape(scores)} and correct {np.shape(correct)} must be [N]")
    exists = full_mask(where, np.shape(scores), "detections [N]")
    scores = jax.lax.stop_gradient(as_float(scores))
    order = jnp.argsort(jnp.where(exists, -scores, jnp.inf), stable=True)
    hit = (as_bool("correct", correct) & exists)[order].astype(scores.dtype)
    seen = jnp.maximum(jnp.cumsum(exists[order]), 1)
    precision = jnp.where(exists[order], jnp.cumsum(hit) / seen, 0.0)
    falling = jax.lax.cummax(precision, reverse=True) if precision.shape[0] else precision
    value = jnp.where(jnp.asarray(num_truth) > 0, jnp.sum(hit * falling) / jnp.maximum(num_truth, 1), 0.0)
    return jnp.where(jnp.any(exists & jnp.isnan(scores)), jnp.nan, value)


def mean_average_precision(
    iou: jax.Array,
    scores: jax.Array,
    classes: jax.Array,
    truth_classes: jax.Array,
    *,
    num_classes: int,
    threshold: float = 0.5,
    where: jax.Array | None = None,
    truth_where: jax.Array | None = None,
) -> DetectionScores:
    """Mean over classes of the average precision (mAP), from the overlaps of all detections with the true boxes.

    What a box is does not matter here: give `axis_aligned_iou` or `bev_iou`. No gradient passes.

    Args:
      iou: `[S, K, M]` overlap, in each scene, of K detections with M true boxes, both padded.
      scores: `[S, K]`.
      classes: `[S, K]` integers in [0, C); a negative one marks a place without a detection.
      truth_classes: `[S, M]` integers in [0, C), likewise.
      num_classes: C.
      threshold: in [0, 1], the least overlap of a right detection.
      where: bool or {0, 1}, broadcastable to `[S, K]`, the detections that exist; None means all.
      truth_where: bool or {0, 1}, broadcastable to `[S, M]`, the true boxes that exist; None means all.

    Returns:
      `DetectionScores`; its mean is 0 if there is no true box. A NaN among the scores or overlaps of a class that
      occurs makes its numbers, and the mean, NaN.

    Raises:
      ValueError: if the shapes do not fit, or a class does not exist.

    Reference: Everingham et al., The PASCAL Visual Object Classes Challenge: A Retrospective, 2015; matched as in
      COCO, see `match_detections`.

    >>> scores = mean_average_precision(jnp.array([[[0.9]]]), jnp.array([[0.5]]), jnp.array([[1]]), jnp.array([[1]]),
    ...                                 num_classes=3)
    >>> scores.mean.item(), scores.occurs.tolist()
    (1.0, [False, True, False])
    """
    shape = np.shape(iou)
    scene, truth = shape[:2], (*shape[:1], *shape[2:])
    if len(shape) != 3 or np.shape(classes) != scene or np.shape(truth_classes) != truth:
        raise InputError(
            f"iou {shape} must be [S, K, M], classes {np.shape(classes)} [S, K], "
            f"truth_classes {np.shape(truth_classes)} [S, M]"
        )
    exists = full_mask(where, scene, "detections [S, K]")
    true = full_mask(truth_where, truth, "true boxes [S, M]")
    nobody = {"ignore": "a place without a box"}
    classes = as_integers("classes", classes, "class indices", num_classes, where=exists, **nobody)
    truth_classes = as_integers(
        "truth_classes", truth_classes, "class indices", num_classes, where=true, **nobody
    )
    allowed = exists[..., None] & true[:, None, :] & (classes[..., None] == truth_classes[:, None, :])
    check_fraction("threshold", threshold)
    scores = jnp.asarray(scores)
    correct = _matched(iou, scores, allowed, threshold) >= 0
    unknown = jnp.any(allowed & jnp.isnan(as_float(iou)), axis=-1)

    def of_class(label: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        own = (exists & (classes == label)).reshape(-1)
        count = jnp.sum(true & (truth_classes == label))
        hits = correct.reshape(-1) & own
        value = average_precision(scores.reshape(-1), hits, count, where=own)
        nothing = jnp.where(jnp.any(unknown.reshape(-1) & own), jnp.nan, 0.0)
        return value + nothing, jnp.sum(hits) / jnp.maximum(count, 1) + nothing, count > 0

    value, recall, occurs = jax.vmap(of_class)(jnp.arange(num_classes))
    return DetectionScores(masked_mean(value, where=occurs), value, recall, occurs)

"""How good a dense prediction is: overlap of regions, per class and per example."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, masked_mean
from jaxlab.core._reduce import AxisName
from jaxlab.core.check import InputError, as_bool, as_integers, check_state, full_mask

VOID = 255
"""The label of unlabelled pixels in the files of most segmentation data; no class where there are at most 255."""


class ClassOverlap(NamedTuple):
    """How prediction and truth overlap, class by class; see `class_overlap`.

    Attributes:
      iou: `[K]` intersection over union, 0 for a class that neither has.
      recall: `[K]` share of the class's pixels that were found, 0 for a class without pixels.
      occurs: bool `[K]`, whether the truth or the prediction has the class.

    >>> ClassOverlap(jnp.ones(2), jnp.ones(2), jnp.ones(2, bool)).iou.shape
    (2,)
    """

    iou: jax.Array
    recall: jax.Array
    occurs: jax.Array


def class_overlap(
    prediction: jax.Array,
    labels: jax.Array,
    *,
    num_classes: int,
    where: jax.Array | None = None,
    axis_name: AxisName = None,
) -> ClassOverlap:
    """Intersection over union and recall of each class, over all pixels of a batch together.

    The mean IoU of a data set is `masked_mean(overlap.iou, where=overlap.occurs)` of one call on the whole set; the
    mean of the batches' values is another number. No gradient passes.

        iou_c = #{pred = label = c} / #{pred = c or label = c},  recall_c = #{pred = label = c} / #{label = c}

    Args:
      prediction: integers in [0, K), any shape.
      labels: integers in [0, K) of the same shape; a negative one, and 255 if it is no class, mark a pixel to ignore.
      num_classes: static integer K.
      where: bool or {0, 1}, broadcastable to them, the pixels that count; None means all.
      axis_name: mapped axis (or axes) of the batch; every device returns the global values.

    Returns:
      `ClassOverlap`, float32 in [0, 1].

    Raises:
      ValueError: if the shapes differ, `where` does not broadcast to them, or a class does not exist.

    Reference: Everingham et al., The Pascal Visual Object Classes Challenge, 2015, section 4.4.

    >>> overlap = class_overlap(jnp.array([0, 0, 1, 1]), jnp.array([0, 1, 1, 1]), num_classes=3)
    >>> [round(x, 2) for x in overlap.iou.tolist()], overlap.occurs.tolist()
    ([0.5, 0.67, 0.0], [True, True, False])
    """
    shapes = np.shape(prediction), np.shape(labels)
    if shapes[0] != shapes[1]:
        raise InputError(f"prediction {shapes[0]} and labels {shapes[1]} must have the same shape")
    ignored = {"where": where, "ignore": "a pixel to ignore", "also": (VOID,)}
    labels = as_integers("labels", labels, "class indices", num_classes, **ignored)
    prediction = as_integers("prediction", prediction, "class indices", num_classes, **ignored)
    counted = full_mask(where, labels.shape, "labels") & (labels >= 0) & (labels < num_classes)
    classes = jnp.arange(num_classes)
    found = counted[..., None] & (prediction[..., None] == classes)
    true = counted[..., None] & (labels[..., None] == classes)
    total = lambda x: jnp.sum(x, axis=tuple(range(labels.ndim)), dtype=jnp.int32)
    counts = jnp.stack([total(found & true), total(found | true), total(true)])
    both, either, own = counts if axis_name is None else jax.lax.psum(counts, axis_name)
    share = lambda of: as_float(both) / jnp.maximum(of, 1)
    return ClassOverlap(share(either), share(own), either > 0)


def dice_score(prediction: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """Dice score of a predicted region, per example.

    An example in which neither has a pixel scores 1. No gradient passes.

        2 |A and B| / (|A| + |B|)

    Args:
      prediction: bool or {0, 1}, `[B, ...]`.
      target: bool or {0, 1}, the same shape.
      where: bool or {0, 1}, broadcastable to them, the pixels that count, e.g. those near a boundary; None means
        all.

    Returns:
      `[B]` float32 in [0, 1].

    Raises:
      ValueError: if the shapes differ, or `where` does not broadcast to them.

    Reference: Dice, Measures of the Amount of Ecologic Association Between Species, 1945.

    >>> dice_score(jnp.array([[1, 1, 0, 0]]), jnp.array([[0, 1, 1, 0]])).item()
    0.5
    """
    shapes = np.shape(prediction), np.shape(target)
    if not shapes[1] or shapes[0] != shapes[1]:
        raise InputError(f"prediction {shapes[0]} and target {shapes[1]} must have the same shape [B, ...]")
    prediction, target = as_bool("prediction", prediction), as_bool("target", target)
    mask = full_mask(where, target.shape, "target")
    total = lambda x: jnp.sum(as_float(x & mask), axis=tuple(range(1, target.ndim)))
    size = total(prediction) + total(target)
    return jnp.where(size > 0, 2 * total(prediction & target) / jnp.maximum(size, 1.0), 1.0)


def mean_overlap(overlap: ClassOverlap) -> jax.Array:
    """Mean intersection over union of the classes that occur.

        mean over c with occurs_c of iou_c

    Args:
      overlap: from `class_overlap`.

    Returns:
      float32 scalar in [0, 1]; 0 if no class occurs.

    Reference: Long, Shelhamer, Darrell, Fully Convolutional Networks for Semantic Segmentation, 2015, section 5.

    >>> mean_overlap(ClassOverlap(jnp.array([0.5, 0.25, 0.0]), jnp.ones(3), jnp.array([True, True, False]))).item()
    0.375
    """
    check_state("overlap", overlap, ClassOverlap)
    return masked_mean(overlap.iou, where=overlap.occurs)

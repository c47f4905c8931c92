"""Supervision by level: boxes that become labels, boxes that weigh less, and boxes that are better not seen."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.core import as_float, linear_ramp_up
from jaxlab.core._values import check_no_nan
from jaxlab.core.check import InputError, as_integers, check_fraction, check_state, full_mask

LOW, MIDDLE, HIGH = 0, 1, 2


class BoxLevels(NamedTuple):
    """What becomes of each predicted box; see `hierarchical_supervision`.

    Attributes:
      level: int32 `[..., N]`: 2 high, 1 middle, 0 low, -1 where there is no box.
      weight: float32 `[..., N]`: 1 for a high box, score times objectness for a middle one, 0 for others.
      removed: bool `[..., N]`: the points in this box are to be deleted from the scene.

    >>> BoxLevels(jnp.array(2), jnp.array(1.0), jnp.array(False)).level.item()
    2
    """

    level: jax.Array
    weight: jax.Array
    removed: jax.Array


def box_levels(
    measures: jax.Array, classes: jax.Array, thresholds: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
    """High, middle or low: the place of each box among the two thresholds of its class, in all measures at once.

    Comparisons are strict: where all scores of a class are equal, both thresholds equal them and every box is low.
    No gradient passes.

        high if q_m > t_m,high for all measures m;  else middle if q_m > t_m,low for all m;  else low

    Args:
      measures: `[..., N, Q]`.
      classes: `[..., N]` integers in [0, C); a negative one marks a place without a box.
      thresholds: `[C, Q, 2]`, high and low, of `dual_thresholds`.
      where: bool or {0, 1}, broadcastable to `[..., N]`, the boxes that exist; None means all.

    Returns:
      `[..., N]` int32: 2 high, 1 middle, 0 low, -1 where there is no box.

    Raises:
      ValueError: if the shapes do not fit, a class does not exist, or a measure or threshold that counts is NaN.

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation (HSSDA), 2023, section 3.2.

    >>> thresholds = jnp.array([[[0.8, 0.4]]])
    >>> box_levels(jnp.array([[0.9], [0.8], [0.1]]), jnp.zeros(3, int), thresholds).tolist()
    [2, 1, 0]
    """
    _check_measures(measures, classes, thresholds)
    level, unknown = _levels(measures, classes, thresholds, where)
    check_no_nan("measures and thresholds", jnp.where(unknown, jnp.nan, 0.0))
    return level


def _check_measures(measures: jax.Array, classes: jax.Array, thresholds: jax.Array) -> None:
    shape, limits = np.shape(measures), np.shape(thresholds)
    if not shape or np.shape(classes) != shape[:-1] or len(limits) != 3 or limits[1:] != (shape[-1], 2):
        raise InputError(
            f"measures {shape} must be [..., N, Q], classes {np.shape(classes)} [..., N], "
            f"thresholds {limits} [C, Q, 2]"
        )


def _levels(
    measures: jax.Array, classes: jax.Array, thresholds: jax.Array, where: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Levels as `box_levels` has them, and the boxes of which a NaN hides the level."""
    limits, none = np.shape(thresholds), "a place without a box"
    classes = as_integers("classes", classes, "class indices", limits[0], where=where, ignore=none)
    exists = full_mask(where, classes.shape, "boxes [..., N]") & (classes >= 0) & (classes < limits[0])
    own = as_float(thresholds)[jnp.clip(classes, 0, limits[0] - 1)]
    measures = as_float(measures)[..., None]
    passes = jnp.all(measures > own, axis=-2)
    level = jnp.where(passes[..., 0], HIGH, jnp.where(passes[..., 1], MIDDLE, LOW))
    unknown = exists & jnp.any(jnp.isnan(measures - own), axis=(-2, -1))
    return jnp.where(exists, level, -1).astype(jnp.int32), unknown


def hierarchical_supervision(
    measures: jax.Array,
    classes: jax.Array,
    thresholds: jax.Array,
    *,
    label_overlap: jax.Array | None = None,
    num_points: jax.Array | None = None,
    min_points: int = 6,
    without_middle: tuple[int, ...] = (),
    removal_score: float = 0.1,
    where: jax.Array | None = None,
) -> BoxLevels:
    """Sort a teacher's boxes into labels, soft labels, and doubtful ones whose points are removed.

    A doubtful object that stays in the scene unlabelled teaches that it is background; labelled, that it is an
    object. Its points are taken away instead. A box that overlaps a label the scene has already is dropped without
    any effect. A box of the high level with too few points is kept as middle: the thresholds there are lower.
    The measures are score, objectness and consistency, in this order. No gradient passes.

        weight = 1 (high), score * objectness (middle), 0 (low);   removed = low and score >= removal_score

    Args:
      measures: `[..., N, 3]`.
      classes: `[..., N]` integers in [0, C); a negative one marks a place without a box.
      thresholds: `[C, 3, 2]`, high and low.
      label_overlap: `[..., N]`, sum of a box's IoU with all labels of its scene; None means none.
      num_points: `[..., N]`, points in each box; None means enough.
      min_points: that a box of the high level needs.
      without_middle: classes without a middle level: their boxes there are low.
      removal_score: in [0, 1], below which a prediction is no suspicion of an object.
      where: bool or {0, 1}, broadcastable to `[..., N]`, the boxes that exist; None means all.

    Returns:
      `BoxLevels`; a box that overlaps a label has level -1. The weight is NaN where a NaN hides the level.

    Raises:
      ValueError: if the shapes do not fit, or a class does not exist.

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation (HSSDA), 2023, section 3.2. The
      authors' code gives pedestrians, class 1 of 3, no middle level (`without_middle=(1,)`), which the paper does not
      say.

    >>> thresholds = jnp.array([[[0.8, 0.4]] * 3])
    >>> measures = jnp.array([[0.9, 0.9, 0.9], [0.5, 0.5, 0.7], [0.2, 0.9, 0.9], [0.01, 0.0, 0.0]])
    >>> found = hierarchical_supervision(measures, jnp.zeros(4, int), thresholds)
    >>> print(found.level, found.weight, found.removed)
    [2 1 0 0] [1.   0.25 0.   0.  ] [False False  True False]
    """
    check_fraction("removal_score", removal_score)
    if np.ndim(measures) < 2 or np.shape(measures)[-1] != 3:
        raise InputError(f"measures {np.shape(measures)} must be [..., N, 3]: score, objectness, consistency")
    measures = jax.lax.stop_gradient(as_float(measures))
    exists = full_mask(where, np.shape(classes), "boxes [..., N]")
    lost = jnp.zeros(exists.shape, bool)
    if label_overlap is not None:
        overlap = _like(label_overlap, classes, "label_overlap")
        lost, exists = exists & jnp.isnan(overlap) & (jnp.asarray(classes) >= 0), exists & (overlap == 0)
    _check_measures(measures, classes, thresholds)
    level, unknown = _levels(measures, classes, thresholds, exists)
    if num_points is not None:
        few = _like(num_points, classes, "num_points") < min_points
        level = jnp.where((level == HIGH) & few, MIDDLE, level)
    hidden = jnp.isin(jnp.asarray(classes), jnp.array(without_middle, jnp.int32))
    level = jnp.where((level == MIDDLE) & hidden, LOW, level)
    weight = jnp.where(
        level == MIDDLE, measures[..., 0] * measures[..., 1], (level == HIGH).astype(measures.dtype)
    )
    weight = jnp.where(unknown | lost, jnp.nan, weight)
    return BoxLevels(level, weight, (level == LOW) & (measures[..., 0] >= removal_score))


def _like(x: jax.Array, classes: jax.Array, name: str) -> jax.Array:
    if np.shape(x) != np.shape(classes):
        raise InputError(f"{name} {np.shape(x)} must have the shape of classes {np.shape(classes)}")
    return jax.lax.stop_gradient(jnp.asarray(x))


class LabelStore(NamedTuple):
    """Labels of many scenes that accumulate in a fixed room; see `store_append`.

    Attributes:
      boxes: float32 `[S, M, D]`.
      classes: int32 `[S, M]`, -1 in a free place.
      count: int32 `[S]`, places that are taken, the first ones.

    >>> store_init(3, 4).boxes.shape
    (3, 4, 4)
    """

    boxes: jax.Array
    classes: jax.Array
    count: jax.Array


def store_init(num_scenes: int, capacity: int, *, box_dim: int = 4) -> LabelStore:
    """An empty store for so many scenes.

    Args:
      num_scenes: S.
      capacity: M, most labels of a scene, at least 1.
      box_dim: D, numbers of a box.

    Returns:
      The store.

    Raises:
      ValueError: if `capacity` is below 1.

    >>> store_init(3, 4).count.tolist()
    [0, 0, 0]
    """
    if capacity < 1:
        raise InputError(f"capacity must be at least 1, got {capacity}")
    return LabelStore(
        jnp.zeros((num_scenes, capacity, box_dim), jnp.float32),
        jnp.full((num_scenes, capacity), -1, jnp.int32),
        jnp.zeros(num_scenes, jnp.int32),
    )


def store_append(
    store: LabelStore,
    rows: jax.Array,
    boxes: jax.Array,
    classes: jax.Array,
    *,
    where: jax.Array | None = None,
) -> LabelStore:
    """Add labels to some scenes; what is stored once stays.

    A scene that is full takes no more. If a scene stands in `rows` twice, its first place alone counts, as the
    second holds predictions for the same scene. No gradient passes.

    Args:
      store: labels so far.
      rows: `[B]` integers, the scenes, in [0, S); a negative one marks a scene to leave out.
      boxes: `[B, N, D]`.
      classes: `[B, N]` integers.
      where: bool or {0, 1}, broadcastable to `[B, N]`, the boxes to add; None means all.

    Returns:
      The new store.

    Raises:
      ValueError: if the shapes do not fit, or `rows` and `classes` are not integers, rows of scenes that exist.

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation (HSSDA), 2023, section 3.2:
      pseudo-labels of the high level accumulate over training.

    >>> store = store_append(store_init(2, 2), jnp.array([1]), jnp.ones((1, 3, 4)), jnp.array([[0, 1, 2]]),
    ...                      where=jnp.array([[True, False, True]]))
    >>> store.classes.tolist()
    [[-1, -1], [0, 2]]
    """
    check_state("store", store, LabelStore)
    scenes, capacity, dim = store.boxes.shape
    shape = np.shape(boxes)
    if len(shape) != 3 or shape[-1] != dim or np.shape(classes) != shape[:2] or np.shape(rows) != shape[:1]:
        raise InputError(
            f"rows {np.shape(rows)}, boxes {shape}, classes {np.shape(classes)} must be [B], [B, N, {dim}], [B, N]"
        )
    rows = as_integers("rows", rows, "scenes", scenes, ignore="a scene to leave out")
    classes = as_integers("classes", classes, "class indices")
    repeats = jnp.any(jnp.tril(rows[:, None] == rows, -1), axis=1)
    usable = (rows >= 0) & (rows < scenes) & ~repeats
    added = full_mask(where, shape[:2], "boxes [B, N]") & usable[:, None]
    held = store.count[jnp.clip(rows, 0, max(scenes - 1, 0))] if scenes else jnp.zeros_like(rows)
    place = held[:, None] + jnp.cumsum(added, axis=1) - 1
    place = jnp.where(added & (place < capacity), place, capacity)
    row = jnp.where(usable, rows, scenes)[:, None]
    boxes = jax.lax.stop_gradient(jnp.asarray(boxes)).astype(store.boxes.dtype)
    stored = jnp.sum(place < capacity, axis=1, dtype=jnp.int32)
    return LabelStore(
        store.boxes.at[row, place].set(boxes, mode="drop"),
        store.classes.at[row, place].set(classes.astype(jnp.int32), mode="drop"),
        store.count.at[row[:, 0]].add(stored, mode="drop"),
    )


def linear_keep_rate(
    step: jax.Array, *, start: float = 0.5, end: float = 0.9996, length: int = 2000
) -> jax.Array:
    """Decay of a teacher's moving average that rises in a straight line: a schedule for `ema_update`.

        start + (end - start) step / length  before step `length`,  then end

    Args:
      step: step counter of any shape, counted before the average moves (the authors' first update has step 1).
      start, end: in [0, 1].
      length: steps until `end`; 0 begins there.

    Returns:
      float32 of the shape of `step`.

    Raises:
      ValueError: if `start` or `end` is outside [0, 1].

    Reference: Liu et al., Hierarchical Supervision and Shuffle Data Augmentation (HSSDA), 2023, the authors' code.

    >>> linear_keep_rate(jnp.array([0, 5, 20]), end=1.0, length=10).tolist()
    [0.5, 0.75, 1.0]
    """
    check_fraction("start", start)
    check_fraction("end", end)
    return start + (end - start) * linear_ramp_up(step, length=length)

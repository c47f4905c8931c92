"""How scenes without labels are labelled, by method: what of the teacher's boxes a student learns from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.semi_supervised._box_teacher import Scenes, Teaching, measure, right, teach, truth_of
from experiments.semi_supervised._detector import Detector, Labels
from jaxlab import data
from jaxlab import semi_supervised as ss
from jaxlab.core import EmaState, Queue, masked_mean, queue_items, queue_push
from jaxlab.semi_supervised import hssda, score_thresholds


class Memory(NamedTuple):
    """Teacher, thresholds, the measures they come from, and the labels that have accumulated."""

    teacher: EmaState
    thresholds: jax.Array
    pool: Queue
    store: hssda.LabelStore


class Batch(NamedTuple):
    """What a method labels scenes with: both parts of a batch, the step, a key, the net and all settings."""

    labelled: Any
    others: Any
    step: jax.Array
    key: jax.Array
    net: Detector
    scenes: Scenes
    config: ConfigDict
    arm: Any


class Method(NamedTuple):
    """A way to label scenes that have no label.

    Attributes:
      label: `(batch, memory) -> (labels, which points stay, memory, metrics)`; None leaves these scenes out.
      start: `arm -> ` the thresholds of every class in the beginning.
    """

    label: Callable[[Batch, Memory], tuple] | None
    start: Callable[[Any], Any] = lambda arm: score_thresholds.DEFAULT_THRESHOLDS


def _truth(batch: Batch, memory: Memory) -> tuple:
    """The true boxes."""
    return truth_of(batch.others), batch.others["exists"], memory, {}


def _fixed(batch: Batch, memory: Memory) -> tuple:
    """The teacher's boxes above thresholds that stay as they are."""
    others = batch.others
    given = (memory.teacher.value, others["points"], others["exists"], batch.key, batch.scenes)
    found, measures = measure(batch.net, *given)
    teaching = teach(
        found, measures, others["points"], others["exists"], _stored(memory, others), memory.thresholds
    )
    return _used(batch, memory, memory, teaching)


def _dual(batch: Batch, memory: Memory) -> tuple:
    """The teacher's boxes by two thresholds per class, which are measured on labelled scenes too; the best are kept."""
    labelled, others = batch.labelled, batch.others
    points, exists = (jnp.concatenate([labelled[name], others[name]]) for name in ("points", "exists"))
    found, measures = measure(batch.net, memory.teacher.value, points, exists, batch.key, batch.scenes)
    mine, my_measures = jax.tree.map(lambda x: x[len(labelled["points"]) :], (found, measures))
    stored = _stored(memory, others)
    teaching = teach(mine, my_measures, others["points"], others["exists"], stored, memory.thresholds)
    store = hssda.store_append(
        memory.store, others["index"], mine.boxes, mine.classes, where=teaching.levels.level == 2
    )
    known = Labels(*(jnp.concatenate(x) for x in zip(padded(truth_of(labelled), stored), stored)))
    matched = found.exists & right(found.boxes, found.classes, known)
    flat = lambda x: x.reshape(-1, *x.shape[2:])
    pool = queue_push(memory.pool, flat(measures), labels=flat(found.classes), where=flat(matched))
    items, valid = queue_items(pool)
    thresholds = jax.lax.cond(
        batch.step % batch.config.interval == batch.config.interval - 1,
        lambda: score_thresholds.dual_thresholds(
            items, pool.labels, num_classes=batch.scenes.num_classes, where=valid
        ),
        lambda: memory.thresholds,
    )
    after = memory._replace(store=store, pool=pool, thresholds=thresholds)
    return _used(batch, memory, after, teaching)


def _used(batch: Batch, before: Memory, memory: Memory, teaching: Teaching) -> tuple:
    """Labels that were stored and boxes that count, the points that stay, and how right that is."""
    found, levels, others = teaching.found, teaching.levels, batch.others
    stored, points, exists = _stored(before, others), others["points"], others["exists"]
    used = Labels(found.boxes, jnp.where(levels.weight > 0, found.classes, -1), levels.weight)
    labels = Labels(*(jnp.concatenate(x, axis=1) for x in zip(stored, used)))
    removed = jnp.zeros_like(exists)
    if batch.arm.removal:
        removed = _removed(points, found.boxes, levels.removed, labels)
    metrics = _diagnose(labels, truth_of(others), levels, removed, exists, memory)
    return labels, exists & ~removed, memory, metrics


METHODS: dict[str, Method] = {
    "none": Method(None),
    "fixed": Method(_fixed, lambda arm: ((arm.threshold, arm.threshold), (0.0, 0.0), (0.0, 0.0))),
    "dual": Method(_dual),
    "truth": Method(_truth),
}


def _stored(memory: Memory, scenes: Any) -> Labels:
    """What has accumulated for these scenes."""
    boxes, classes = memory.store.boxes[scenes["index"]], memory.store.classes[scenes["index"]]
    return Labels(boxes, classes, (classes >= 0).astype(jnp.float32))


def padded(labels: Labels, like: Labels) -> Labels:
    """Room for as many labels as `like` has."""
    more = like.classes.shape[1] - labels.classes.shape[1]
    return Labels(
        jnp.pad(labels.boxes, ((0, 0), (0, more), (0, 0))),
        jnp.pad(labels.classes, ((0, 0), (0, more)), constant_values=-1),
        jnp.pad(labels.weight, ((0, 0), (0, more))),
    )


def _removed(points: jax.Array, boxes: jax.Array, doubtful: jax.Array, labels: Labels) -> jax.Array:
    """Points in doubtful boxes that touch no label."""
    touches = (ss.axis_aligned_iou(boxes, labels.boxes) > 0) & (labels.classes >= 0)[:, None, :]
    doubtful = doubtful & ~jnp.any(touches, axis=-1)
    return jnp.any(ss.points_in_boxes(points, boxes) & doubtful[:, None, :], axis=-1)


def _diagnose(labels, truth, levels, removed, exists, memory) -> dict[str, jax.Array]:
    used = labels.classes >= 0
    reached = right(truth.boxes, truth.classes, labels) & (truth.classes >= 0)
    recall = {
        f"label_recall_{name}": masked_mean(reached, where=truth.classes == n)
        for n, name in enumerate(data.POINT_CLASSES)
    }
    high, low = memory.thresholds[..., 0], memory.thresholds[..., 1]
    return recall | {
        "label_precision": masked_mean(right(labels.boxes, labels.classes, truth), where=used),
        "labels_per_scene": used.sum(1).mean(dtype=jnp.float32),
        "high_share": masked_mean(levels.level == 2, where=levels.level >= 0),
        "middle_share": masked_mean(levels.level == 1, where=levels.level >= 0),
        "removed_points": masked_mean(removed, where=exists),
        "stored": memory.store.count.mean(dtype=jnp.float32),
        **{f"score_high_{name}": high[n, 0] for n, name in enumerate(data.POINT_CLASSES)},
        **{f"score_low_{name}": low[n, 0] for n, name in enumerate(data.POINT_CLASSES)},
    }

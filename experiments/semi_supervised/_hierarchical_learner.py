"""The learner of the detection driver: a teacher labels unlabelled scenes by level, a student sees them shuffled."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.semi_supervised._detector import Detections, Detector, Labels, detect, detection_loss, grid
from experiments.semi_supervised._optimizer import adamw
from jaxlab import data
from jaxlab import semi_supervised as ss
from jaxlab.core import (
    EmaState,
    Learner,
    Queue,
    ema_init,
    ema_update,
    gradient_learner,
    masked_mean,
    queue_init,
    queue_items,
    queue_push,
)


class Memory(NamedTuple):
    """Teacher, thresholds, the measures they come from, and the labels that have accumulated."""

    teacher: EmaState
    thresholds: jax.Array
    pool: Queue
    store: ss.LabelStore


class Teaching(NamedTuple):
    """What the teacher says of some scenes: its boxes, their three measures `[B, K, 3]`, and their levels."""

    found: Detections
    measures: jax.Array
    levels: ss.BoxLevels


class Scenes(NamedTuple):
    """The sizes that all parts share."""

    size: float
    cells: int
    count: int
    num_classes: int = 3


def identity(num_scenes: int) -> jax.Array:
    """Nothing shuffled."""
    return jnp.broadcast_to(jnp.arange(4), (num_scenes, 4))


def predict(net: Detector, params: Any, points: jax.Array, exists: jax.Array, scenes: Scenes) -> Detections:
    """Boxes of whole scenes."""
    maps = net.apply(
        params, grid(points, exists, size=scenes.size, cells=scenes.cells), identity(len(points))
    )
    return detect(maps, size=scenes.size, count=scenes.count)


def measure(
    net: Detector, params: Any, points: jax.Array, exists: jax.Array, key: jax.Array, scenes: Scenes
) -> tuple[Detections, jax.Array]:
    """The teacher's boxes with score, objectness, and agreement with its boxes of a mirrored and scaled copy."""
    found = predict(net, params, points, exists, scenes)
    scale = jax.random.uniform(key, (len(points),), minval=0.95, maxval=1.05)
    copy = predict(net, params, ss.transform_points(points, flip=True, scale=scale), exists, scenes)
    there = ss.transform_boxes(found.boxes, flip=True, scale=scale)
    overlap = jnp.where(copy.exists[:, None, :], ss.axis_aligned_iou(there, copy.boxes), 0.0)
    return found, jnp.stack([found.score, found.objectness, overlap.max(-1)], axis=-1)


def teach(
    found: Detections, measures: jax.Array, points: jax.Array, exists: jax.Array, labels: Labels,
    thresholds: jax.Array,
) -> Teaching:  # fmt: skip
    """Sort the teacher's boxes into levels, beside the labels that the scenes have already."""
    overlap = jnp.where(
        (labels.classes >= 0)[:, None, :], ss.axis_aligned_iou(found.boxes, labels.boxes), 0.0
    ).sum(-1)
    inside = ss.points_in_boxes(points, found.boxes, where=exists).sum(1)
    levels = ss.hierarchical_supervision(
        measures, found.classes, thresholds,
        label_overlap=overlap, num_points=inside, min_points=4, where=found.exists,
    )  # fmt: skip
    return Teaching(found, measures, levels)


def right(boxes: jax.Array, classes: jax.Array, truth: Labels) -> jax.Array:
    """Which boxes `[B, K]` cover half of a true box of their class."""
    same = (classes[..., None] == truth.classes[:, None, :]) & (truth.classes >= 0)[:, None, :]
    return jnp.any(same & (ss.axis_aligned_iou(boxes, truth.boxes) >= 0.5), axis=-1)


def hierarchical_learner(net: Detector, scenes: Scenes, config: ConfigDict, arm: Any) -> Learner:
    """One arm: `arm.pseudo` is none, fixed, dual or truth; `arm.removal` and `arm.shuffle` switch the rest."""

    def init(key: jax.Array, context: Any) -> tuple[Any, Memory]:
        params, tau = context["burn_in"], arm.threshold
        start = ((tau, tau), (0.0, 0.0), (0.0, 0.0)) if arm.pseudo == "fixed" else ss.DEFAULT_THRESHOLDS
        return params, Memory(
            ema_init(params),
            jnp.broadcast_to(jnp.array(start), (scenes.num_classes, 3, 2)),
            queue_init(config.pool, 3),
            ss.store_init(config.data.train - config.data.labelled, config.store),
        )

    def loss(params: Any, memory: Memory, batch: Any, step: jax.Array, key: jax.Array, context: Any) -> tuple:
        teacher_key, view_key, shuffle_key = jax.random.split(key, 3)
        labelled, others = batch["labelled"], batch["unlabelled"]
        metrics, labels, exists = {}, truth_of(labelled), labelled["exists"]
        points, shuffled = labelled["points"], jnp.zeros(len(exists), bool)
        if arm.pseudo != "none":
            own, seen, memory, metrics = _label(memory, labelled, others, step, teacher_key)
            labels = Labels(*(jnp.concatenate(pair) for pair in zip(_pad(labels, own), own)))
            points = jnp.concatenate([points, others["points"]])
            exists = jnp.concatenate([exists, seen])
            shuffled = jnp.concatenate([shuffled, jnp.full(len(seen), arm.shuffle)])
        permutation = data.random_quadrants(shuffle_key, len(points), shuffled=shuffled)
        points, labels = student_view(points, labels, view_key)
        half = scenes.size / 2
        moved, inside = data.shuffle_quadrants(
            points, permutation, x_range=(0.0, scenes.size), y_range=(-half, half), where=exists
        )
        maps = net.apply(params, grid(moved, inside, size=scenes.size, cells=scenes.cells), permutation)
        return detection_loss(maps, labels, size=scenes.size), (memory, metrics)

    def follow(params: Any, memory: Memory, step: jax.Array) -> Memory:
        decay = ss.linear_keep_rate(step, end=config.keep_rate, length=config.keep_length)
        return memory._replace(teacher=ema_update(memory.teacher, params, decay))

    def _label(memory: Memory, labelled: Any, others: Any, step: jax.Array, key: jax.Array) -> tuple:
        """Labels of the unlabelled scenes, which of their points stay, and the memory of it."""
        truth = truth_of(others)
        if arm.pseudo == "truth":
            return truth, others["exists"], memory, {}
        params, exists = memory.teacher.value, others["exists"]
        points = others["points"]
        if arm.pseudo == "dual":  # thresholds are measured on labelled scenes too
            points = jnp.concatenate([labelled["points"], points])
            exists = jnp.concatenate([labelled["exists"], exists])
        found, measures = measure(net, params, points, exists, key, scenes)
        rest = slice(len(points) - len(others["points"]), None)
        mine, my_measures = jax.tree.map(lambda x: x[rest], (found, measures))
        stored = _stored(memory.store, others["index"])
        teaching = teach(mine, my_measures, others["points"], others["exists"], stored, memory.thresholds)
        levels = teaching.levels
        if arm.pseudo == "dual":
            store = ss.store_append(
                memory.store, others["index"], mine.boxes, mine.classes, where=levels.level == 2
            )
            known = Labels(*(jnp.concatenate(x) for x in zip(_pad(truth_of(labelled), stored), stored)))
            matched = found.exists & right(found.boxes, found.classes, known)
            flat = lambda x: x.reshape(-1, *x.shape[2:])
            pool = queue_push(memory.pool, flat(measures), labels=flat(found.classes), where=flat(matched))
            memory = memory._replace(store=store, pool=pool, thresholds=_thresholds(memory, pool, step))
        used = Labels(mine.boxes, jnp.where(levels.weight > 0, mine.classes, -1), levels.weight)
        labels = Labels(*(jnp.concatenate(x, axis=1) for x in zip(stored, used)))
        seen, removed = others["exists"], jnp.zeros_like(others["exists"])
        if arm.removal:
            removed = _removed(others["points"], mine.boxes, levels.removed, labels)
            seen = seen & ~removed
        return labels, seen, memory, _diagnose(labels, truth, levels, removed, others["exists"], memory)

    def _thresholds(memory: Memory, pool: Queue, step: jax.Array) -> jax.Array:
        items, valid = queue_items(pool)
        return jax.lax.cond(
            step % config.interval == config.interval - 1,
            lambda: ss.dual_thresholds(items, pool.labels, num_classes=scenes.num_classes, where=valid),
            lambda: memory.thresholds,
        )

    optimizer = adamw(arm.learning_rate, config.steps, weight_decay=config.weight_decay)
    return gradient_learner(init, loss, optimizer, after=follow)


def truth_of(part: Any) -> Labels:
    """The true boxes of a batch."""
    classes = part["classes"]
    return Labels(part["boxes"][..., :4], classes, (classes >= 0).astype(jnp.float32))


def _stored(store: ss.LabelStore, rows: jax.Array) -> Labels:
    classes = store.classes[rows]
    return Labels(store.boxes[rows], classes, (classes >= 0).astype(jnp.float32))


def _pad(labels: Labels, like: Labels) -> Labels:
    """Room for as many labels as `like` has."""
    more = like.classes.shape[1] - labels.classes.shape[1]
    return Labels(
        jnp.pad(labels.boxes, ((0, 0), (0, more), (0, 0))),
        jnp.pad(labels.classes, ((0, 0), (0, more)), constant_values=-1),
        jnp.pad(labels.weight, ((0, 0), (0, more))),
    )


def student_view(points: jax.Array, labels: Labels, key: jax.Array) -> tuple[jax.Array, Labels]:
    """Scenes mirrored at random and scaled a little, with their labels."""
    side, size = jax.random.uniform(key, (2, len(points)))
    change = {"flip": side < 0.5, "scale": 0.95 + 0.1 * size}
    return ss.transform_points(points, **change), labels._replace(
        boxes=ss.transform_boxes(labels.boxes, **change)
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

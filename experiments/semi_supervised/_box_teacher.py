"""What a teacher says of scenes: boxes, their measures and levels, beside the labels that there are."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.semi_supervised._detector import Detections, Detector, Labels, detect, grid
from jaxlab import semi_supervised as ss
from jaxlab.semi_supervised import hssda


class Teaching(NamedTuple):
    """What the teacher says of some scenes: its boxes, their three measures `[B, K, 3]`, and their levels."""

    found: Detections
    measures: jax.Array
    levels: hssda.BoxLevels


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
    levels = hssda.hierarchical_supervision(
        measures, found.classes, thresholds,
        label_overlap=overlap, num_points=inside, min_points=4, where=found.exists,
    )  # fmt: skip
    return Teaching(found, measures, levels)


def right(boxes: jax.Array, classes: jax.Array, truth: Labels) -> jax.Array:
    """Which boxes `[B, K]` cover half of a true box of their class."""
    same = (classes[..., None] == truth.classes[:, None, :]) & (truth.classes >= 0)[:, None, :]
    return jnp.any(same & (ss.axis_aligned_iou(boxes, truth.boxes) >= 0.5), axis=-1)


def truth_of(part: Any) -> Labels:
    """The true boxes of a batch."""
    classes = part["classes"]
    return Labels(part["boxes"][..., :4], classes, (classes >= 0).astype(jnp.float32))


def student_view(points: jax.Array, labels: Labels, key: jax.Array) -> tuple[jax.Array, Labels]:
    """Scenes mirrored at random and scaled a little, with their labels."""
    side, size = jax.random.uniform(key, (2, len(points)))
    change = {"flip": side < 0.5, "scale": 0.95 + 0.1 * size}
    return ss.transform_points(points, **change), labels._replace(
        boxes=ss.transform_boxes(labels.boxes, **change)
    )

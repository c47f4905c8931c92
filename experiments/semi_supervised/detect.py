"""Detect boxes in point clouds with few labelled scenes: a teacher's boxes as labels, by fixed or by dual thresholds.

Scenes are procedural, and every seed has its own. A burn-in stage trains the detector on the labelled scenes, once per
seed; every arm starts from it, student and teacher alike, and sees the same batches.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.optimizers import clipped_adamw
from experiments.parts.splits import draw_both, few_labelled
from experiments.semi_supervised._box_labels import METHODS
from experiments.semi_supervised._box_teacher import (
    Scenes,
    identity,
    measure,
    right,
    student_view,
    teach,
    truth_of,
)
from experiments.semi_supervised._detection_picture import draw_examples
from experiments.semi_supervised._detector import Detector, Labels, detection_loss, grid
from experiments.semi_supervised._hierarchical_learner import hierarchical_learner
from jaxlab import data
from jaxlab import semi_supervised as ss
from jaxlab.core import InputError, gradient_learner, masked_mean
from jaxlab.metrics import mean_average_precision
from jaxlab.training import Arm, Experiment


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/semi_supervised/hssda.py describes.

    Args:
      config: see that file for the keys.
      download: nothing here is fetched.
    """
    check_arms(config.arms, {"method": METHODS})
    if config.cells % 4:
        raise InputError(
            f"cells is {config.cells}: it must be a multiple of 4, whole quadrants at half resolution"
        )
    net = Detector(tuple(config.net.channels), config.net.head)
    scenes = Scenes(config.data.size, config.cells, config.detections)
    methods = methods_of(
        METHODS,
        config.arms,
        lambda label: functools.partial(hierarchical_learner, label, net, scenes, config),
    )
    return Experiment(
        data=_splits(config),
        draw=lambda train, key: draw_both(
            train, jax.random.split(key), labelled=config.labelled_batch, unlabelled=config.unlabelled_batch
        ),
        prepare={"burn_in": _burn_in(net, scenes, config)},
        arms=make_arms(config.arms, methods, config.steps),
        evaluate=_evaluate(net, scenes),
        claims=claims_of(config),
        examples=lambda states, splits: draw_examples(states, splits, net, scenes, config),
        summarise=late_change("val/map50", means=("train/labels_per_scene", "train/label_precision")),
    )


def _splits(config: ConfigDict) -> dict[str, Any]:
    spec = config.data
    make = lambda world, key, count: data.point_cloud_scenes(
        key, count, size=spec.size, class_shares=tuple(spec.class_shares), aligned=True,
        difficulty=spec.difficulty, num_clusters=spec.num_clusters, num_clutter=spec.num_clutter,
    )  # fmt: skip
    splits = few_labelled(make, spec)
    return {name: split for name, split in splits.items() if name != "test" or config.test}


def _burn_in(net: Detector, scenes: Scenes, config: ConfigDict) -> Arm:
    """The labelled scenes alone."""
    shape = (1, scenes.cells, scenes.cells, 5)

    def loss(params: Any, memory: None, batch: Any, step: Any, key: jax.Array, context: Any) -> tuple:
        labelled = batch["labelled"]
        points, labels = student_view(labelled["points"], truth_of(labelled), key)
        cells = grid(points, labelled["exists"], size=scenes.size, cells=scenes.cells)
        maps = net.apply(params, cells, identity(len(points)))
        return detection_loss(maps, labels, size=scenes.size), (memory, {})

    init = lambda key, context: (net.init(key, jnp.zeros(shape), identity(1)), None)
    optimizer = clipped_adamw(
        config.burn_in.learning_rate, config.burn_in.steps, weight_decay=config.weight_decay
    )
    learner = gradient_learner(init, loss, optimizer)
    return Arm(
        learner,
        steps=config.burn_in.steps,
        evaluate=lambda state, split, context: {},
        export=lambda state: state.params,
    )


def _evaluate(net: Detector, scenes: Scenes) -> Callable[[Any, data.PointScenes, Any], dict[str, jax.Array]]:
    """The teacher's mAP, and how right its boxes are at each level of its thresholds."""

    def evaluate(state: Any, split: data.PointScenes, context: Any) -> dict[str, jax.Array]:
        points, exists, truth = split.points, split.exists, truth_of(split._asdict())
        teacher, thresholds = state.memory.teacher.value, state.memory.thresholds
        found, measures = measure(net, teacher, points, exists, jax.random.key(0), scenes)
        count = len(points)
        nothing = Labels(jnp.zeros((count, 1, 4)), jnp.full((count, 1), -1), jnp.zeros((count, 1)))
        level = teach(found, measures, points, exists, nothing, thresholds).levels.level
        is_right = right(found.boxes, found.classes, truth)
        iou = ss.axis_aligned_iou(found.boxes, truth.boxes)
        scores = mean_average_precision(
            iou, found.score, found.classes, split.classes,
            num_classes=scenes.num_classes, where=found.exists, truth_where=split.classes >= 0,
        )  # fmt: skip
        metrics = {"map50": scores.mean}
        for n, name in enumerate(data.POINT_CLASSES):
            metrics |= {f"ap_{name}": scores.average_precision[n], f"recall_{name}": scores.recall[n]}
        for n, name in enumerate(("low", "middle", "high")):
            # Among the boxes that are worth a thought at all.
            own = (level == n) & (found.score >= 0.1)
            metrics |= {f"precision_{name}": masked_mean(is_right, where=own)}
            metrics |= {f"boxes_{name}": own.sum(1).mean(dtype=jnp.float32)}
        return metrics

    return evaluate

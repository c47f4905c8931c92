"""Detect boxes in point clouds with few labelled scenes: a teacher's boxes as labels, by fixed or by dual thresholds.

Scenes are procedural. A burn-in stage trains the detector on the labelled scenes, once per seed; every arm starts from
it, student and teacher alike, and sees the same batches.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.semi_supervised._detector import Detector, Labels, detection_loss, grid
from experiments.semi_supervised._hierarchical_learner import (
    Scenes,
    hierarchical_learner,
    identity,
    measure,
    predict,
    right,
    student_view,
    teach,
    truth_of,
)
from experiments.semi_supervised._optimizer import adamw
from jaxlab import data
from jaxlab import semi_supervised as ss
from jaxlab.core import InputError, gradient_learner, masked_mean
from jaxlab.data._point_clouds import draw_boxes, draw_points
from jaxlab.metrics import mean_average_precision
from jaxlab.training import Arm, Claim, Experiment

PSEUDO = ("none", "fixed", "dual", "truth")


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment.

    Args:
      config: see configs/semi_supervised/hssda.py for the keys.
      download: nothing here is fetched.
    """
    del download
    for name, arm in config.arms.items():
        if arm.pseudo not in PSEUDO:
            raise InputError(f"pseudo of {name} is {arm.pseudo!r}: it must be one of {', '.join(PSEUDO)}")
    if not 1 <= config.data.labelled < config.data.train:
        raise InputError(
            f"data.labelled is {config.data.labelled}: it must be between 1 and {config.data.train - 1}"
        )
    if config.cells % 4:
        raise InputError(
            f"cells is {config.cells}: it must be a multiple of 4, whole quadrants at half resolution"
        )
    splits, net = _splits(config), Detector(tuple(config.net.channels), config.net.head)
    scenes = Scenes(config.data.size, config.cells, config.detections)
    method = functools.partial(hierarchical_learner, net, scenes, config)
    return {
        "": Experiment(
            data=splits,
            draw=_draw(config),
            prepare={"burn_in": _burn_in(net, scenes, config)},
            arms={name: Arm(method, arm.to_dict(), config.steps) for name, arm in config.arms.items()},
            evaluate=_evaluate(net, scenes),
            claims=tuple(Claim(**claim) for claim in config.claims),
            examples=lambda states, splits: _examples(states, splits, net, scenes, config),
        )
    }


def _splits(config: ConfigDict) -> dict[str, Any]:
    spec = config.data
    make = lambda key: data.point_cloud_scenes(
        key, spec.train + spec.val + spec.test, size=spec.size, class_shares=tuple(spec.class_shares), aligned=True,
        difficulty=spec.difficulty, num_clusters=spec.num_clusters, num_clutter=spec.num_clutter,
    )  # fmt: skip
    every = jax.jit(make)(jax.random.key(spec.task_seed))
    part = lambda start, count: jax.tree.map(lambda x: x[start : start + count], every)
    splits = {
        "train": {
            "labelled": part(0, spec.labelled),
            "unlabelled": part(spec.labelled, spec.train - spec.labelled),
        },
        "val": part(spec.train, spec.val),
    }
    return splits | ({"test": part(spec.train + spec.val, spec.test)} if config.test else {})


def _draw(config: ConfigDict) -> Callable[[Any, jax.Array], Any]:
    def draw(train: Any, key: jax.Array) -> dict[str, Any]:
        first, second = jax.random.split(key)
        return {
            "labelled": data.draw(train["labelled"], first, batch_size=config.labelled_batch),
            "unlabelled": data.draw(train["unlabelled"], second, batch_size=config.unlabelled_batch),
        }

    return draw


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
    optimizer = adamw(config.burn_in.learning_rate, config.burn_in.steps, weight_decay=config.weight_decay)
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


def _examples(
    states: Mapping[str, Any], splits: Mapping[str, Any], net: Detector, scenes: Scenes, config: ConfigDict
) -> Any:
    """Points, pseudo-labels by level, what the student sees, prediction and truth of four unlabelled scenes."""
    from matplotlib.figure import Figure

    name = config.shown if config.shown in states else next(iter(states))
    arm, memory = config.arms[name], states[name].memory
    picked = jax.tree.map(lambda x: x[:4], splits["train"]["unlabelled"])
    params, points, exists = memory.teacher.value, picked.points, picked.exists
    found, measures = measure(net, params, points, exists, jax.random.key(0), scenes)
    rows = np.arange(len(points))
    boxes, classes = memory.store.boxes[rows], memory.store.classes[rows]
    stored = Labels(boxes, classes, jnp.ones(classes.shape))
    levels = teach(found, measures, points, exists, stored, memory.thresholds).levels
    doubtful = levels.removed & (levels.level == 0) & arm.removal
    gone = jnp.any(ss.points_in_boxes(points, found.boxes) & doubtful[:, None, :], axis=-1)
    permutation = data.random_quadrants(jax.random.key(1), len(points), shuffled=arm.shuffle)
    moved, seen = data.shuffle_quadrants(
        points,
        permutation,
        x_range=(0, scenes.size),
        y_range=(-scenes.size / 2, scenes.size / 2),
        where=exists & ~gone,
    )
    final = predict(net, params, points, exists, scenes)
    sure = final.exists & (final.score > 0.3)
    titles = ("points, no label given", f"labels of {name}: stored, middle (dashed), low (dotted)",
              "student's view: removed, shuffled", "prediction", "truth")  # fmt: skip
    figure = Figure(figsize=(3 * len(titles), 3 * len(points)), layout="constrained")
    for row in range(len(points)):
        shown = [np.asarray(points[row])[np.asarray(exists[row])]] * len(titles)
        shown[2] = np.asarray(moved[row])[np.asarray(seen[row])]
        axes = [
            figure.add_subplot(len(points), len(titles), row * len(titles) + n + 1)
            for n in range(len(titles))
        ]
        for n, title in enumerate(titles):
            draw_points(axes[n], shown[n])
            axes[n].set_title(title if row == 0 else "", fontsize=7)
        draw_boxes(axes[1], np.asarray(stored.boxes[row]), np.asarray(stored.classes[row]))
        for level, style in ((2, "-"), (1, "--"), (0, ":")):
            keep = np.asarray((levels.level[row] == level) & (measures[row, :, 0] >= 0.1))
            draw_boxes(
                axes[1], np.asarray(found.boxes[row])[keep], np.asarray(found.classes[row])[keep], style=style
            )
        keep = np.asarray(sure[row])
        draw_boxes(axes[3], np.asarray(final.boxes[row])[keep], np.asarray(final.classes[row])[keep])
        draw_boxes(axes[4], np.asarray(picked.boxes[row]), np.asarray(picked.classes[row]))
    return figure

"""The picture of a comparison of detectors: what the teacher of one arm says of scenes without labels."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.parts.pictures import draw_boxes, draw_points
from experiments.semi_supervised._box_teacher import Scenes, measure, predict, teach
from experiments.semi_supervised._detector import Detector, Labels
from jaxlab import data
from jaxlab import semi_supervised as ss


def draw_examples(
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

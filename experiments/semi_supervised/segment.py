"""Segment images and volumes from few labels: one arm per way of using what is not labelled.

Two flows share this driver. Events: two students see complementary streams of an event camera, labelled by one click
per class (`_events`). Volumes: two groups of two students and their slow teachers, with a handful of labelled volumes
(`_volumes`). Within a flow every arm trains the same networks from the same initial parameters on the same batches;
an arm says which losses they get.
"""

import functools
from types import ModuleType
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.semi_supervised import _events, _volumes
from jaxlab.core import InputError
from jaxlab.training import Arm, Claim, Experiment

FLOWS: dict[str, ModuleType] = {"event_scenes": _events, "blob_volumes": _volumes}


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that a config describes; see configs/semi_supervised/ev_wsss.py and rail.py for the keys.

    Args:
      config: the config.
      download: unused, the data are procedural.
    """
    flow = _flow(config)
    _check(config)
    splits, method = flow.splits(config.task), functools.partial(flow.method, config)
    if not config.test:
        del splits["test"]
    for arm in config.arms.values():
        method(arm)  # settings that make no sense are found now
    return Experiment(
        data=splits,
        draw=flow.draw(config),
        arms={name: Arm(method, arm.to_dict(), config.steps) for name, arm in config.arms.items()},
        claims=tuple(Claim(**claim) for claim in config.claims),
        examples=lambda ends, data: draw_panels(flow.panels(config, ends, data)),
    )


def _flow(config: ConfigDict) -> ModuleType:
    if config.task.source not in FLOWS:
        raise InputError(f"task.source is {config.task.source!r}: it must be one of {', '.join(FLOWS)}")
    return FLOWS[config.task.source]


def _check(config: ConfigDict) -> None:
    if config.steps < 1:
        raise InputError(f"steps is {config.steps}: an arm needs at least 1")
    if not config.arms:
        raise InputError("arms is empty: a comparison needs at least one")
    for name, arm in config.arms.items():
        if not arm.learning_rate > 0:
            raise InputError(f"arms.{name}.learning_rate is {arm.learning_rate}: it must be above 0")


def draw_panels(panels: list[tuple[str, str, Any]]) -> Any:
    """A figure with one example in a row and one panel `(title, kind, images)` in a column.

    Kinds: "grey" images, "change" images around 0, "class" integers with -1 for no label.
    """
    from matplotlib.figure import Figure

    rows, columns = len(panels[0][2]), len(panels)
    figure = Figure(figsize=(1.15 * columns, 1.2 * rows + 0.3), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for column, (title, kind, images) in enumerate(panels):
        for row, image in enumerate(np.asarray(jax.device_get(images))):
            axes = grid[row, column]
            _show(axes, kind, image)
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(title, fontsize=6)
    return figure


def _show(axes: Any, kind: str, image: np.ndarray) -> None:
    if kind == "class":
        known = np.ma.masked_less(image, 0)
        axes.imshow(known, cmap="tab10", vmin=0, vmax=9, interpolation="nearest")
    elif kind == "change":
        limit = max(float(np.abs(image).max()), 1e-6)
        axes.imshow(image, cmap="coolwarm", vmin=-limit, vmax=limit)
    else:
        axes.imshow(image, cmap="gray")

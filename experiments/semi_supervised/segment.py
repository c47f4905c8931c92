"""Segment images and volumes from few labels: one arm per way of using what is not labelled.

Two flows share this driver. Events: two students see complementary streams of an event camera, labelled by one click
per class (`_events`). Volumes: two groups of two students and their slow teachers, with a handful of labelled volumes
(`_volumes`). Within a flow every arm trains the same networks from the same initial parameters on the same batches;
an arm says which losses they get.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.parts.arms import make_arms
from experiments.parts.checks import check_arms, check_counts, choose
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.pictures import draw_panels
from experiments.semi_supervised import _events, _volumes
from jaxlab.core import InputError
from jaxlab.training import Experiment


class Flow(NamedTuple):
    """Everything that depends on what is segmented.

    Attributes:
      splits: `config.task -> ` the splits by name.
      draw: `config -> (train, key) -> batch`.
      methods: `config -> ` by name, what makes learner and evaluation of an arm's settings.
      panels: `(config, {arm: last state}, splits) -> ` what `draw_panels` takes.
      judge: the metric of convergence.
    """

    splits: Callable[[ConfigDict], dict[str, Any]]
    draw: Callable[[ConfigDict], Callable]
    methods: Callable[[ConfigDict], dict[str, Callable]]
    panels: Callable[[ConfigDict, dict, dict], list]
    judge: str


FLOWS = {
    "event_scenes": Flow(_events.splits, _events.draw, _events.methods, _events.panels, "val/miou"),
    "blob_volumes": Flow(_volumes.splits, _volumes.draw, _volumes.methods, _volumes.panels, "val/dice"),
}
WATCHED = ("train/disagreement", "train/pseudo_coverage", "train/pseudo_accuracy")  # what is meant to act


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that a config describes; see configs/semi_supervised/ev_wsss.py and rail.py for the keys.

    Args:
      config: the config.
      download: unused, the data are procedural.
    """
    flow = choose("task.source", config.task.source, FLOWS)
    check_counts(config, "steps")
    methods, splits = flow.methods(config), flow.splits(config.task)
    check_arms(config.arms, {"method": methods})
    for name, arm in config.arms.items():
        if not arm.learning_rate > 0:
            raise InputError(f"arms.{name}.learning_rate is {arm.learning_rate}: it must be above 0")
    for arm in config.arms.values():
        methods[arm.method](arm)  # settings that make no sense are found now
    return Experiment(
        data={name: split for name, split in splits.items() if name != "test" or config.test},
        draw=flow.draw(config),
        arms=make_arms(config.arms, methods, config.steps),
        claims=claims_of(config),
        examples=lambda ends, data: draw_panels(flow.panels(config, ends, data)),
        summarise=late_change(flow.judge, means=WATCHED),
    )

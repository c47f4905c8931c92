"""Segment images and volumes from few labels: one arm per way of using what is not labelled.

Two flows share this driver. Events: two students see complementary streams of an event camera, labelled by one click
per class (`_events`). Volumes: two groups of two students and their slow teachers, with a handful of labelled volumes
(`_volumes`). Within a flow every arm trains the same networks from the same initial parameters on the same batches;
an arm says which losses they get.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.parts.checks import check_arms, check_counts, choose
from experiments.parts.pictures import draw_panels
from experiments.semi_supervised import _events, _volumes
from jaxlab.core import InputError
from jaxlab.training import Arm, Claim, Experiment


class Flow(NamedTuple):
    """Everything that depends on what is segmented.

    Attributes:
      splits: `config.task -> ` the splits by name.
      draw: `config -> (train, key) -> batch`.
      method: `(config, settings) -> (learner, evaluation, export)`.
      panels: `(config, {arm: last state}, splits) -> ` what `draw_panels` takes.
    """

    splits: Callable[[ConfigDict], dict[str, Any]]
    draw: Callable[[ConfigDict], Callable]
    method: Callable[[ConfigDict, Any], tuple]
    panels: Callable[[ConfigDict, dict, dict], list]


FLOWS = {
    "event_scenes": Flow(_events.splits, _events.draw, _events.method, _events.panels),
    "blob_volumes": Flow(_volumes.splits, _volumes.draw, _volumes.method, _volumes.panels),
}


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that a config describes; see configs/semi_supervised/ev_wsss.py and rail.py for the keys.

    Args:
      config: the config.
      download: unused, the data are procedural.
    """
    flow = choose("task.source", config.task.source, FLOWS)
    check_counts(config, "steps")
    check_arms(config.arms, {})
    method = functools.partial(flow.method, config)
    for name, arm in config.arms.items():
        if not arm.learning_rate > 0:
            raise InputError(f"arms.{name}.learning_rate is {arm.learning_rate}: it must be above 0")
        method(arm)  # settings that make no sense are found now
    splits = flow.splits(config.task)
    return Experiment(
        data={name: split for name, split in splits.items() if name != "test" or config.test},
        draw=flow.draw(config),
        arms={name: Arm(method, arm.to_dict(), config.steps) for name, arm in config.arms.items()},
        claims=tuple(Claim(**claim) for claim in config.claims),
        examples=lambda ends, data: draw_panels(flow.panels(config, ends, data)),
    )

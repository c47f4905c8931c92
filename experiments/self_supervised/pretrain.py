"""Pretrain an encoder without labels, freeze it, and probe it with a few: one arm per way of pretraining.

Every arm sees the same images, in as many views as the experiment has, and the same number of them, whatever its batch
size. What it learns is its `method` (see `_methods.py`). The encoder is judged by a linear probe and by the nearest
neighbours, both of them trained, inside the evaluation, on a few labelled training images per class. Each seed has its
own images, its own few labels, and its own start.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.parts.checks import check_arms, check_between
from experiments.parts.history import late_change
from experiments.parts.nets import make_net
from experiments.self_supervised._image_sets import Sets, load_sets
from experiments.self_supervised._methods import METHODS, OPTIMIZERS, UNTRAINED, Task
from jaxlab import data
from jaxlab.core import InputError
from jaxlab.training import Arm, Claim, Experiment


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/self_supervised/barlow_twins.py describes.

    Args:
      config: see that file for the keys.
      download: allow data sets to be fetched.
    """
    _check(config)
    sets = load_sets(config.data, config.labels_per_class, download)
    methods = {name: functools.partial(make, _task(config, sets)) for name, make in METHODS.items()}
    draws = functools.cache(functools.partial(_draw, config.views.to_dict()))
    return Experiment(
        data={name: split for name, split in sets.splits.items() if name != "test" or config.test},
        arms={name: _arm(config, methods, draws, arm.to_dict()) for name, arm in config.arms.items()},
        claims=tuple(Claim(**claim) for claim in config.claims),
        summarise=late_change("val/probe_accuracy"),
    )


def _check(config: ConfigDict) -> None:
    if not 0 <= config.warm_up <= 1:
        raise InputError(f"warm_up is {config.warm_up}: a share of the steps, it must be in [0, 1]")
    check_arms(config.arms, {"method": METHODS, "optimizer": OPTIMIZERS, "probe_on": ("features", "pixels")})
    for name, arm in config.arms.items():
        check_between(f"arm {name}: batch_size", arm.batch_size, config.examples, "examples")


def _task(config: ConfigDict, sets: Sets) -> Task:
    return Task(
        encoder=make_net(config.net, sets.num_classes),
        hidden=tuple(config.net.projector),
        image=jnp.zeros((1, *sets.shape)),
        mean=config.data.mean,
        spread=config.data.spread,
        patch=config.net.patch,
        num_classes=sets.num_classes,
        probe=config.probe,
        warm_up=config.warm_up,
    )


def _arm(
    config: ConfigDict, methods: Mapping[str, Callable], draws: Callable, settings: dict[str, Any]
) -> Arm:
    """As many steps as show it all examples once; the settings know the number, for their schedule."""
    steps = 0 if settings["method"] in UNTRAINED else config.examples // settings["batch_size"]
    return Arm(
        methods[settings["method"]], settings | {"steps": steps}, steps, draw=draws(settings["batch_size"])
    )


def _draw(views: dict[str, Any], batch_size: int) -> Callable[[data.Images, jax.Array], dict[str, jax.Array]]:
    def draw(train: data.Images, key: jax.Array) -> dict[str, jax.Array]:
        batch = data.draw(train, key, batch_size=batch_size)
        seen = data.random_views(batch["image"], jax.random.fold_in(key, 1), **views)
        return {"views": seen, "label": batch["label"]}

    return draw

"""Pretrain an encoder, freeze it, and probe it with a few examples: one arm per way of pretraining.

Every arm encodes the same number of views of the same images, whatever its batch size and however many views of an
image it has. What it learns from them is its `method` (see `_methods.py`). The encoder is judged by probes that are
trained, inside the evaluation, on a few training images per class (`probe.measures`, see `_probes.py`). Each seed has
its own images, its own few labels, and its own start. Under `tasks` stands what differs between several comparisons.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.parts.arms import methods_of
from experiments.parts.checks import check_arms, check_between
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.nets import make_net
from experiments.parts.streams import draw_images
from experiments.parts.tasks import of_tasks
from experiments.self_supervised._image_sets import Sets, load_sets
from experiments.self_supervised._methods import METHODS, UNTRAINED
from experiments.self_supervised._task import OPTIMIZERS, Task
from jaxlab import data
from jaxlab.core import InputError
from jaxlab.training import Arm, Experiment


def build(config: ConfigDict, *, download: bool = False) -> Experiment | dict[str, Experiment]:
    """The comparison that configs/self_supervised/barlow_twins.py describes, or one for each of its tasks.

    Args:
      config: see that file for the keys.
      download: allow data sets to be fetched.
    """
    return of_tasks(config, lambda task: _experiment(task, download))


def _experiment(config: ConfigDict, download: bool) -> Experiment:
    _check(config)
    sizes = [arm.batch_size for arm in config.arms.values()]
    sets = load_sets(config.data, config.labels_per_class, download, batch_sizes=sizes)
    methods = methods_of(METHODS, config.arms, lambda make: functools.partial(make, _task(config, sets)))
    draws = functools.cache(lambda batch_size, views: _draw(dict(views), batch_size))
    return Experiment(
        data={name: split for name, split in sets.splits.items() if name != "test" or config.test},
        arms={name: _arm(config, methods, draws, arm.to_dict()) for name, arm in config.arms.items()},
        claims=claims_of(config),
        summarise=functools.partial(_summary, config.probe.get("settled", "probe_accuracy")),
    )


def _check(config: ConfigDict) -> None:
    if not 0 <= config.warm_up <= 1:
        raise InputError(f"warm_up is {config.warm_up}: a share of the steps, it must be in [0, 1]")
    check_arms(config.arms, {"method": METHODS, "optimizer": OPTIMIZERS, "probe_on": ("features", "pixels")})
    for name, arm in config.arms.items():
        check_between(f"arm {name}: batch_size", arm.batch_size, config.examples, "examples")


def _task(config: ConfigDict, sets: Sets) -> Task:
    if config.net.patch < 1 or any(side % config.net.patch for side in sets.shape[:2]):
        raise InputError(f"net.patch is {config.net.patch}: it must divide the sides of images {sets.shape}")
    return Task(
        encoder=make_net(config.net, sets.num_classes),
        hidden=tuple(config.net.projector),
        image=jnp.zeros((1, *sets.shape)),
        mean=config.data.mean,
        spread=config.data.spread,
        patch=config.net.patch,
        num_classes=sets.num_classes,
        views=config.views.to_dict(),
        probe=config.probe,
        warm_up=config.warm_up,
    )


def _arm(
    config: ConfigDict, methods: Mapping[str, Callable], draws: Callable, settings: dict[str, Any]
) -> Arm:
    """As many steps as encode all views once, or `longer` times so many; the schedule asks for their number."""
    views = config.views.to_dict() | settings.get("views", {})
    encoded = int(config.examples * config.views.count * settings.get("longer", 1))
    steps = 0 if settings["method"] in UNTRAINED else encoded // (settings["batch_size"] * views["count"])
    return Arm(
        methods[settings["method"]], settings | {"steps": steps}, steps,
        draw=draws(settings["batch_size"], tuple(views.items())),
    )  # fmt: skip


def _draw(views: dict[str, Any], batch_size: int) -> Callable[[data.Images, jax.Array], dict[str, jax.Array]]:
    def draw(train: Any, key: jax.Array) -> dict[str, jax.Array]:
        batch = draw_images(train, key, batch_size=batch_size)
        seen = data.random_views(batch["image"], jax.random.fold_in(key, 1), **views)
        return batch | {"views": seen}

    return draw


def _summary(settled: str, history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the last fifth of training changed on validation images, and what was lost since the best moment.

    The nearest neighbours' best moment is chosen on one half of the images and judged on the other, where it is no
    better by chance.
    """
    found = late_change(f"val/{settled}")(history)
    if "val/knn_first_half" in history:
        best, judged = history["val/knn_first_half"].argmax(axis=0), history["val/knn_second_half"]
        found["val/knn_loss"] = judged[best, np.arange(judged.shape[1])] - judged[-1]
    return found

"""Learn a few classes one after another in every order there is: does the order matter, and can it be told before?

A seed has a learner for each order, all from the same parameters and on the same examples of a class, seen once; an arm
is what these learners do against forgetting. An order is judged by its `order_quality` on images of all classes, and
by how well two scores from distances of classes rank it beforehand: the authors' measured distances, and those of the
mean features of a net that was trained on other classes. That net is where all learners start. Another population of
plain learners, in the stage `reference`, shows which differences between orders are more than chance.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from experiments._config import plan_of
from experiments.continual._class_orders import (
    Orders,
    agreement,
    all_orders,
    class_batches,
    end_of_task,
    population,
    promises,
    qualities,
)
from experiments.continual._strategies import STRATEGIES, Strategy
from experiments.parts.arms import methods_of
from experiments.parts.checks import check_arms, check_between, check_counts, choose
from experiments.parts.claims import claims_of
from experiments.parts.nets import make_net
from experiments.parts.seed_splits import SeedSplits, seed_splits
from jaxlab import data
from jaxlab.continual import class_order
from jaxlab.core import InputError, Learner, computed, cross_entropy, gradient_learner
from jaxlab.training import Arm, Experiment, PerSeed, Turn


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/continual/curriculum_designer.py describes.

    Args:
      config: see that file for the keys.
      download: allow data sets to be fetched.
    """
    check_arms(config.arms, {"method": STRATEGIES})
    check_counts(config, "batch_size", "fisher_examples")
    seeds = plan_of(config).seeds
    sets = seed_splits(config.data, seeds, download)
    others = seed_splits(ConfigDict({**config.data, **config.others}), seeds, download)
    table = jnp.array(choose("distances", config.distances, class_order.MEASURED_DISTANCES))
    task = _task(config, sets, len(table))
    arm = _arms(task, config)
    splits = {name: split for name, split in sets.splits().items() if name != "test" or config.test}
    return Experiment(
        data=splits | {"train": {"stream": _streams(sets), "others": others.splits()["train"]}},
        prepare={
            "backbone": _backbone(task, config.backbone),
            "features": Arm(computed(_feature_distances(task)), evaluate=_nothing),
            "reference": arm(
                config.reference, evaluate=_nothing, export=lambda state: (state.members.params, state.first)
            ),
        },
        arms={name: arm(spec) for name, spec in config.arms.items()},
        evaluate=_evaluate(task, table),
        claims=claims_of(config),
        along=(),
        resplit=sets.resplit,
    )


def _task(config: ConfigDict, sets: SeedSplits, num_classes: int) -> Orders:
    if sets.num_classes != num_classes or len(config.others.classes) != num_classes:
        raise InputError(
            f"data.classes and others.classes are {len(config.data.classes)} and {len(config.others.classes)}: the "
            f"distances are of {num_classes}"
        )
    check_between("replicas", config.replicas, 100, least=2)
    return Orders(
        all_orders(num_classes),
        make_net(config.net, num_classes),
        sets.images.image[:1],
        config.replicas,
        config.log_every,
        config.batch_size,
    )


def _arms(task: Orders, config: ConfigDict) -> Callable[..., Arm]:
    """A task is `log_every` steps; arms of one method share its function and its turn, and with them their program."""
    methods, turns = {}, {}
    for name, strategy in methods_of(STRATEGIES, config.arms).items():
        methods[name] = functools.partial(_learner, task, strategy)
        end = functools.partial(strategy.end, task.net.apply)
        turns[name] = Turn(end_of_task(task, end, config.fisher_examples), every=task.steps)
    stream = functools.partial(class_batches, task)

    def arm(spec: ConfigDict, **options: Any) -> Arm:
        steps = task.num_tasks * task.steps
        made = {"turn": turns[spec.method], "stream": stream}
        return Arm(methods[spec.method], spec.to_dict(), steps, **made, **options)

    return arm


def _learner(task: Orders, strategy: Strategy, settings: Any) -> Learner:
    """A learner for every order, which begins with the backbone and a classifier of its replica."""

    def init(key: jax.Array, context: Any) -> tuple[Any, Any]:
        fresh = task.net.init(key, task.example)["params"]
        params = {"params": context["backbone"]["params"] | {"classifier": fresh["classifier"]}}
        return params, strategy.begin(params, task.example[0], settings)

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        value, memory = strategy.loss(task.net.apply, params, memory, batch, key, settings)
        return value, (memory, {})

    return population(task, gradient_learner(init, loss, optax.adam(settings.learning_rate)))


def _backbone(task: Orders, spec: ConfigDict) -> Arm:
    """The net, trained on as many other classes."""

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        return cross_entropy(task.net.apply(params, batch["image"]), batch["label"]).mean(), (memory, {})

    init = lambda key, context: (task.net.init(key, task.example), None)
    return Arm(
        gradient_learner(init, loss, optax.adam(spec.learning_rate)),
        steps=spec.steps,
        evaluate=_nothing,
        export=lambda state: state.params,
        draw=lambda train, key: data.draw(train["others"], key, batch_size=spec.batch_size),
    )


def _feature_distances(task: Orders) -> Callable[[jax.Array, Any, Any], jax.Array]:
    def distances(key: jax.Array, context: Any, train: Any) -> jax.Array:
        images = train["stream"].images
        _, features = task.net.apply(context["backbone"], images.image, return_features=True)
        return class_order.class_distances(features[-1], images.label, num_classes=task.orders.shape[1])

    return distances


def _nothing(state: Any, split: Any, context: Any) -> dict[str, jax.Array]:
    return {}


def _streams(sets: SeedSplits) -> PerSeed:
    """The training images of every seed, each class a task."""
    count = sets.num_classes
    made = [
        data.split_classes(data.Images(*images), count, num_classes=count)
        for images in zip(*sets.splits()["train"].rows)
    ]
    return PerSeed(rows=jax.tree.map(lambda *leaves: np.stack(leaves), *made))


def _evaluate(task: Orders, table: jax.Array) -> Callable[[Any, Any, Any], dict[str, jax.Array]]:
    """Of the qualities of all orders: how good they are, how far apart, and with which other ranks they agree."""
    measured = promises(task, table)

    def evaluate(state: Any, images: data.Images, context: Any) -> dict[str, jax.Array]:
        every, accuracies = qualities(task, state.members.params, state.first, images)
        reference, _ = qualities(task, *context["reference"], images)
        quality, half = every.mean(0), task.replicas // 2
        return {
            "quality": quality.mean(),
            "accuracy": accuracies.mean(),
            "spread": quality.std(),
            "repeat_rank": agreement(every[:half].mean(0), every[half:].mean(0)),
            "reference_rank": agreement(quality, reference.mean(0)),
            "measured_rank": agreement(quality, measured),
            "feature_rank": agreement(quality, promises(task, context["features"])),
            "top_share": class_order.top_orders_overlap(quality, measured, top=10) / 10,
        }

    return evaluate

"""Federated averaging where clients and server take examples and clients in an order: one arm per order and pace.

Every arm trains the same net, from the same parameters, on the same shards of the same clients, for as many rounds with
as many participants and local steps. A client takes its examples in an `order`, such as the easy ones first, at a pace
from a `start` share of them on to all; so does the server with its clients. What is easy says the server's own loss.
Each seed has its own images, its own shards, and its own start.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from experiments._config import plan_of
from experiments.parts.checks import check_arms, check_counts, choose
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.nets import make_net
from experiments.parts.seed_splits import seed_splits
from jaxlab import data
from jaxlab.core import InputError, Learner, cross_entropy
from jaxlab.curriculum import ORDERS, client_shards, federated, transfer_difficulty
from jaxlab.metrics import accuracy
from jaxlab.training import Arm, Experiment, PerSeed, Turn

# Of every seed: rows of its images, and which of them there are, `[K, M]`.
Shards = list[tuple[np.ndarray, np.ndarray]]


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per task of the config.

    Args:
      config: see configs/curriculum/federated_curriculum.py for the keys.
      download: allow data sets to be fetched.
    """
    check_counts(config, "rounds")
    return {name: _experiment(name, task, config, download) for name, task in config.tasks.items()}


def _experiment(name: str, spec: ConfigDict, config: ConfigDict, download: bool) -> Experiment:
    check_arms(spec.arms, {"order": ORDERS, "client_order": ORDERS})
    seeds = plan_of(config).seeds
    sets = seed_splits(spec.data, seeds, download)
    splits = sets.splits()
    train = splits["train"].rows
    shards = choose("partition", spec.partition, PARTITIONS)(train, sets.num_classes, spec, seeds)
    splits["train"] = _clients(train, shards)
    net = make_net(spec.net, sets.num_classes)
    make = functools.partial(
        _federated, net, train.image[0, :1], _sizes(shards, spec, config.log_every), spec, config
    )
    return Experiment(
        data={part: split for part, split in splits.items() if part != "test" or config.test},
        stream=lambda train, key, step: train,
        arms=_arms(make, spec.arms, config),
        evaluate=lambda state, split, context: {
            "accuracy": accuracy(net.apply(state.average, split.image), split.label)
        },
        claims=claims_of(config, name),
        along=("val", "test") if config.test else ("val",),
        summarise=_summary,
        resplit=sets.resplit,
    )


def _arms(make: Callable[[Any], federated.Federated], arms: ConfigDict, config: ConfigDict) -> dict[str, Arm]:
    """A round is `log_every` steps, and the first turn begins the first round."""

    def fedavg(settings: Any) -> Learner:
        return make(settings).learner

    made, turns = {}, {}
    for name, arm in arms.items():
        # A turn reads neither the rate nor the pace of examples: arms that differ in these alone share one program.
        orders = (arm.order, arm.client_order, arm.client_start)
        turn = turns.setdefault(orders, Turn(make(arm).turn, every=config.log_every))
        steps = (config.rounds + 1) * config.log_every
        made[name] = Arm(fedavg, arm.to_dict(), steps, turn=turn, static=("client_start",))
    return made


def _federated(
    net: Any,
    example: jax.Array,
    sizes: tuple[int, int],
    spec: ConfigDict,
    config: ConfigDict,
    settings: Any,
) -> federated.Federated:
    def example_loss(params: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
        return cross_entropy(net.apply(params, batch["image"]), batch["label"])

    optimizer = optax.chain(
        optax.add_decayed_weights(config.weight_decay),
        optax.sgd(federated.decayed_rate(settings.learning_rate), momentum=config.momentum),
    )
    return federated.federated_learner(
        lambda key, context: net.init(key, example),
        example_loss,
        optimizer,
        clients=sizes,
        members=spec.members,
        client_updates=config.rounds * spec.members,
        batch_size=spec.batch_size,
        epochs=spec.epochs,
        order=settings.order,
        pace={"start": settings.start, "full_at": config.full_at, "least": spec.least},
        client_order=settings.client_order,
        client_pace={"start": settings.client_start, "full_at": config.full_at},
    )


def _by_labels(train: data.Images, num_classes: int, spec: ConfigDict, seeds: Sequence[int]) -> Shards:
    """Clients whose classes differ, the more the smaller `beta` is."""
    return [
        client_shards.dirichlet_partition(
            label, num_clients=spec.clients, beta=spec.beta, seed=seed, least=spec.smallest, most=spec.largest
        )
        for seed, label in zip(seeds, np.asarray(train.label))
    ]


def _by_difficulty(train: data.Images, num_classes: int, spec: ConfigDict, seeds: Sequence[int]) -> Shards:
    """Clients of one size whose examples differ in how hard they are to a linear classifier on pixels."""
    judge = functools.partial(transfer_difficulty, num_classes=num_classes)
    pixels = train.image.reshape(*train.label.shape, -1)
    difficulty = jax.jit(lambda pixels, label: jax.lax.map(lambda one: judge(*one), (pixels, label)))
    return [
        client_shards.difficulty_partition(one, num_clients=spec.clients)
        for one in np.asarray(difficulty(pixels, train.label))
    ]


PARTITIONS: dict[str, Callable[[data.Images, int, ConfigDict, Sequence[int]], Shards]] = {
    "labels": _by_labels,
    "difficulty": _by_difficulty,
}


def _sizes(shards: Shards, spec: ConfigDict, round_steps: int) -> tuple[int, int]:
    """How many clients there are, and examples of the largest of all seeds, which a round has to be enough for."""
    largest = max(rows.shape[1] for rows, _ in shards)
    steps = int(federated.local_steps(largest, batch_size=spec.batch_size, epochs=spec.epochs))
    if steps > round_steps:
        raise InputError(
            f"log_every is {round_steps}: it is the steps of a round, of which the largest client takes {steps}"
        )
    return spec.clients, largest


def _clients(train: data.Images, shards: Shards) -> dict[str, PerSeed]:
    """What `federated_learner` takes for its data, every seed padded to the largest client of all."""
    widest = max(rows.shape[1] for rows, _ in shards)
    padded = lambda x: np.pad(x, ((0, 0), (0, widest - x.shape[1])))
    row, where = (np.stack([padded(shard[part]) for shard in shards]) for part in (0, 1))
    parts = {"row": row, "where": where, "image": train.image, "label": train.label}
    return {name: PerSeed(rows=part) for name, part in parts.items()}


def _summary(history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Accuracies in the mean over the first and the last third of the rounds, and the loss of what was drawn."""
    third = max(len(history["step"]) // 3, 1)
    found = late_change("val/accuracy")(history)
    for split in ("val", "test"):
        if f"{split}/accuracy" in history:
            score = history[f"{split}/accuracy"]
            found[f"{split}/early_accuracy"] = score[:third].mean(axis=0)
            found[f"{split}/late_accuracy"] = score[-third:].mean(axis=0)
    return found | {"drawn/loss": history["train/loss"][-third:].mean(axis=0)}

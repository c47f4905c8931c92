"""Learn from a part of the examples at a time: one arm per schedule of the parts and per preference in the draw.

Every arm trains the same net, from the same parameters, on epochs that draw a share of the training set without
replacement. Its `method` says how the share changes from epoch to epoch, `prefer` which examples are drawn more often,
by their loss under a net that was trained before on all of them. A share of the training labels may be wrong; labels
of validation and test images are right. Each seed has its own images, its own wrong labels, and its own start.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from experiments._config import plan_of
from experiments.parts.arms import methods_of
from experiments.parts.checks import check_arms, check_between, check_counts
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.nets import make_net
from experiments.parts.seed_splits import SeedSplits, seed_splits
from jaxlab.core import InputError, Learner, computed, cross_entropy, gradient_learner
from jaxlab.curriculum import cycles, loss_difficulty
from jaxlab.metrics import accuracy, average_ranks
from jaxlab.training import Arm, Experiment, PerSeed

# From the passes over the whole set that an arm has, and its smallest share, to the share of every epoch.
METHODS: dict[str, Callable[[float, float], np.ndarray]] = {
    "constant": lambda passes, share: np.full(math.ceil(passes / share), share),
    "cycle": lambda passes, share: cycles.cycle_shares(passes, start=share),
    "growing": lambda passes, share: cycles.growing_shares(
        passes, start=share, epochs_each=math.ceil(passes / 3)
    ),
}


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per task of the config.

    Args:
      config: see configs/curriculum/cyclical_curriculum.py for the keys.
      download: allow data sets to be fetched.
    """
    check_counts(config, "batch_size")
    return {name: _experiment(task, config, download) for name, task in config.tasks.items()}


def _experiment(spec: ConfigDict, config: ConfigDict, download: bool) -> Experiment:
    _check(spec, config)
    seeds = plan_of(config).seeds
    sets = seed_splits(spec.data, seeds, download)
    net = make_net(spec.net, sets.num_classes)
    methods = methods_of(
        METHODS, spec.arms, lambda shares: functools.partial(_learner, net, sets, shares, config.batch_size)
    )
    splits = sets.splits() | {"train": _with_wrong_labels(sets, spec.wrong_labels, seeds)}
    return Experiment(
        data={name: split for name, split in splits.items() if name != "test" or config.test},
        stream=lambda train, key, step: {"train": train, "key": key},
        prepare={
            "scorer": _arm(methods, spec.scorer, spec, config, export=lambda state: state.params),
            "difficulty": Arm(computed(_difficulty(net)), evaluate=lambda state, split, context: {}),
        },
        arms={name: _arm(methods, arm, spec, config) for name, arm in spec.arms.items()},
        evaluate=lambda state, split, context: {
            "accuracy": accuracy(net.apply(state.params, split.image), split.label)
        },
        claims=claims_of(config),
        summarise=_summary,
        resplit=sets.resplit,
    )


def _check(spec: ConfigDict, config: ConfigDict) -> None:
    check_arms(spec.arms, {"method": METHODS, "prefer": cycles.KINDS})
    check_between("wrong_labels", spec.wrong_labels, 1.0, least=0)
    check_between("batch_size", config.batch_size, spec.data.train, "training images")
    for name, arm in {"scorer": spec.scorer, **spec.arms}.items():
        if not 0 < arm.share <= 1 or arm.passes <= 0:
            raise InputError(
                f"arm {name}: share is {arm.share} and passes {arm.passes}: a share is in (0, 1], passes are positive"
            )


def _arm(
    methods: Mapping[str, Callable],
    settings: ConfigDict,
    spec: ConfigDict,
    config: ConfigDict,
    **options: Any,
) -> Arm:
    """As many steps as show it its passes over the training set."""
    steps = round(settings.passes * spec.data.train / config.batch_size)
    return Arm(
        methods[settings.method], settings.to_dict(), max(steps, 1), static=("share", "passes"), **options
    )


def _learner(
    net: Any, sets: SeedSplits, shares: Callable[[float, float], np.ndarray], batch_size: int, settings: Any
) -> Learner:
    schedule = shares(settings.passes, settings.share)

    def log_probs(count: int, context: Any) -> jax.Array:
        if settings.prefer == "random":  # the scorer itself has no scores
            return jnp.zeros(count)
        return cycles.easiness_log_probs(context["difficulty"]["loss"], kind=settings.prefer)

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        train = batch["train"]
        rows = cycles.epoch_rows(
            batch["key"], step, log_probs(len(train["label"]), context), schedule, batch_size=batch_size
        )
        metrics = {"wrong_labels": jnp.mean(train["label"][rows] != train["true_label"][rows])}
        if "difficulty" in context:
            metrics["difficulty"] = jnp.mean(context["difficulty"]["rank"][rows])
        logits = net.apply(params, train["image"][rows])
        return cross_entropy(logits, train["label"][rows]).mean(), (memory, metrics)

    init = lambda key, context: (net.init(key, sets.images.image[:1]), None)
    return gradient_learner(
        init, loss, optax.adamw(settings.learning_rate, weight_decay=settings.weight_decay)
    )


def _difficulty(net: Any) -> Callable[[jax.Array, Any, Any], dict[str, jax.Array]]:
    """The loss of every training example under the scorer, and its rank among all, from 0 to 1."""

    def difficulty(key: jax.Array, context: Any, train: Any) -> dict[str, jax.Array]:
        loss = loss_difficulty(net.apply(context["scorer"], train["image"]), train["label"])
        return {"loss": loss, "rank": (average_ranks(loss) - 0.5) / len(loss)}

    return difficulty


def _with_wrong_labels(sets: SeedSplits, share: float, seeds: Sequence[int]) -> dict[str, Any]:
    """The training images of every seed; so large a share of its labels is another class, each as likely."""
    train = sets.splits()["train"].rows
    wrong = []
    for seed, true in zip(seeds, np.asarray(train.label)):
        rng = np.random.default_rng((seed, 1))
        off = rng.integers(1, sets.num_classes, len(true))
        chosen = rng.permutation(len(true)) < round(share * len(true))
        wrong.append(np.where(chosen, (true + off) % sets.num_classes, true))
    label = np.asarray(wrong, np.int32)
    parts = {"image": train.image, "label": label, "true_label": train.label}
    return {name: PerSeed(rows=part) for name, part in parts.items()}


def _summary(history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Means over training of what was drawn, and whether validation images were still gained at the end."""
    drawn = {
        f"drawn/{name}": history[f"train/{name}"].mean(axis=0) for name in ("wrong_labels", "difficulty")
    }
    return drawn | late_change("val/accuracy")(history)

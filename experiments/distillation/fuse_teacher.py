"""Fuse a teacher that is often wrong with the labels: one arm per way of choosing the teacher's share of the loss.

The teacher is trained on labels of which a part was flipped, so it is wrong where one knows it; students see the clean
labels. An arm's loss is `alpha * T^2 KL + (1 - alpha) * cross-entropy`, and the arms differ in where alpha comes from.
Where it is learned, it is judged by the student's loss after one step on images that were cut from the training
images; the students of all arms train on the rest, as many images for each. Validation and test images play no part in
either.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments.distillation._classifiers import (
    Evaluate,
    Task,
    answers,
    initial_params,
    make_task,
    reported,
    scores,
    teacher_arm,
)
from experiments.distillation._fusion_ratios import METHODS, Ratio
from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_between
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.images import SeededImages, seeded_images
from experiments.parts.optimizers import adamw
from jaxlab import core, data
from jaxlab.core import InputError, Learner, computed, cross_entropy, masked_mean
from jaxlab.distillation import tgeo_kd
from jaxlab.training import Arm, Experiment, PerSeed


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per task of the config.

    Args:
      config: see configs/distillation/tgeo_kd.py for the keys.
      download: allow data sets to be fetched.
    """
    return {name: _experiment(name, spec, config, download) for name, spec in config.tasks.items()}


def _experiment(name: str, spec: ConfigDict, config: ConfigDict, download: bool) -> Experiment:
    images = seeded_images(spec.data, download)
    task, held = make_task(spec, images), _held_out(spec, config, images.rows)
    draw = _draw(config, images.rows, held)
    methods = methods_of(METHODS, spec.arms, lambda ratio: functools.partial(_student, ratio, task, config))
    return Experiment(
        data=reported(_splits(images, spec.flipped, images.rows - held), config),
        draw=draw,
        prepare={"teacher": _teacher(task, spec.teacher, draw), "lessons": Arm(computed(_lessons(task)))},
        arms=make_arms(spec.arms, methods, task.steps),
        claims=claims_of(config, name),
        summarise=late_change("val/accuracy"),
        resplit=images.resplit,
    )


def _splits(images: SeededImages, flipped: float, seen: int) -> dict[str, Any]:
    """The images; "train" also has the labels that the teacher is taught, "seen" is what students train on."""
    train = images.splits["train"].make

    def taught(key: jax.Array) -> dict[str, jax.Array]:
        own = train(key)
        return own._asdict() | {
            "taught": _flip(jax.random.fold_in(key, 1), own.label, images.num_classes, flipped)
        }

    first = lambda key: jax.tree.map(lambda x: x[:seen], train(key))
    return {"seen": PerSeed(first)} | images.splits | {"train": PerSeed(taught)}


def _held_out(spec: ConfigDict, config: ConfigDict, rows: int) -> int:
    """How many training images judge alpha."""
    for name in ("flipped", "held_out"):
        if not 0 <= spec[name] < 1:
            raise InputError(
                f"{name} is {spec[name]}: it is a share of the training images, at least 0 and below 1"
            )
    held = round(spec.held_out * rows)
    check_between("batch_size", config.batch_size, rows - held, "images it is drawn from")
    check_between("upper_batch", config.upper_batch, held, "images it is drawn from")
    return held


def _flip(key: jax.Array, label: jax.Array, classes: int, share: float) -> jax.Array:
    """The labels that the teacher is taught: a part of them another class, any other alike."""
    which_key, step_key = jax.random.split(key)
    wrong = jax.random.bernoulli(which_key, share, label.shape)
    step = jax.random.randint(step_key, label.shape, 1, max(classes, 2))
    return jnp.where(wrong, (label + step) % classes, label)


def _draw(config: ConfigDict, rows: int, held: int) -> Callable[[Any, jax.Array], dict[str, Any]]:
    """Batches of all training images, of those that students see, and of those that judge them."""

    def part(train: Any, key: jax.Array, begin: int, end: int, size: int) -> dict[str, jax.Array]:
        index = jax.random.randint(key, (size,), begin, end)
        return {**data.take(train, index), "index": index}

    def draw(train: Any, key: jax.Array) -> dict[str, Any]:
        return {
            "all": part(train, key, 0, rows, config.batch_size),
            "lower": part(train, key, 0, rows - held, config.batch_size),
            "upper": part(train, jax.random.fold_in(key, 1), rows - held, rows, config.upper_batch),
        }

    return draw


def _teacher(task: Task, spec: ConfigDict, draw: Callable) -> Arm:
    """Trained on flipped labels."""

    def taught(train: Any, key: jax.Array) -> dict[str, Any]:
        batch = draw(train, key)["all"]
        return {**batch, "label": batch["taught"]}

    return dataclasses.replace(teacher_arm(task.teacher, spec, task.images), draw=taught)


def _lessons(task: Task) -> Callable[[jax.Array, Any, Any], dict[str, jax.Array]]:
    """What the teacher says of all training images, and its class means."""

    def lessons(key: jax.Array, context: Any, train: Any) -> dict[str, jax.Array]:
        logits = answers(task.teacher, context["teacher"], train["image"])
        means = tgeo_kd.class_mean_teacher(jax.nn.softmax(logits), train["label"])
        return {"logits": logits, "class_means": means}

    return lessons


def _student(ratio: Ratio, task: Task, config: ConfigDict, settings: Any) -> tuple[Learner, Evaluate, None]:
    net, begin = task.student, initial_params(task.student, task.images)

    def init(key: jax.Array) -> tuple[Any, Any]:
        return begin(key), ratio.init(jax.random.fold_in(key, 1), task.images.num_classes, config)

    def loss(
        averaged: bool, params: Any, controller: Any, batches: Any, context: Any
    ) -> tuple[jax.Array, dict]:
        batch, known = batches["lower"], context["lessons"]
        logits, soft = net.apply(params, batch["image"]), known["logits"][batch["index"]]
        alpha = ratio.alpha(controller, settings, logits, soft, batch["label"], known["class_means"])
        used = jnp.broadcast_to(alpha.mean(), alpha.shape) if averaged else alpha
        fused = tgeo_kd.fused_kd_loss(logits, soft, batch["label"], used, temperature=settings.temperature)
        return fused.mean(), _trust(alpha, soft, batch["label"])

    def upper(params: Any, batches: Any, context: Any) -> jax.Array:
        held = batches["upper"]
        return cross_entropy(net.apply(params, held["image"]), held["label"]).mean()

    learner = core.bilevel_learner(
        init,
        functools.partial(loss, ratio.averaged),
        upper,
        adamw(settings, task.steps),
        optax.adam(settings.controller_rate) if settings.learned else None,
        learning_rate=config.virtual_rate,
        virtual=functools.partial(loss, False),
    )
    return learner, _evaluate(task, ratio, settings), None


def _trust(alpha: jax.Array, teacher_logits: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
    """The teacher's share where it is wrong, where it is right, and how much larger the latter is."""
    wrong = teacher_logits.argmax(-1) != labels
    where_wrong, where_right = masked_mean(alpha, where=wrong), masked_mean(alpha, where=~wrong)
    gap = jnp.where(wrong.any() & ~wrong.all(), where_right - where_wrong, 0.0)
    return {"alpha_wrong": where_wrong, "alpha_right": where_right, "trust_gap": gap}


def _evaluate(task: Task, ratio: Ratio, settings: Any) -> Evaluate:
    """Accuracy and negative log-likelihood of the student, and what the teacher's share is on these images."""

    def evaluate(state: Any, split: data.Images, context: Any) -> dict[str, jax.Array]:
        means = context["lessons"]["class_means"]
        logits = answers(task.student, state.params, split.image)
        soft = answers(task.teacher, context["teacher"], split.image)
        alpha = ratio.alpha(state.controller, settings, logits, soft, split.label, means)
        return scores(logits, split.label) | {
            "teacher_accuracy": jnp.mean(soft.argmax(-1) == split.label),
            **_trust(alpha, soft, split.label),
        }

    return evaluate

"""Fuse a teacher that is often wrong with the labels: one arm per way of choosing the teacher's share of the loss.

The teacher is trained on labels of which a part was flipped, so it is wrong where one knows it; students see the clean
labels. An arm's loss is `alpha * T^2 KL + (1 - alpha) * cross-entropy`, and the arms differ in where alpha comes from.
Where it is learned, it is judged by the student's loss after one step on images that were cut from the training
images; the student of such an arm trains on the rest, that of any other arm on all of them, so what the judging costs
is paid by the arms that need it. Validation and test images play no part in either.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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
from experiments.parts.arms import make_arms
from experiments.parts.checks import check_between
from experiments.parts.images import load_images
from experiments.parts.optimizers import adamw
from jaxlab import data, distillation
from jaxlab.core import InputError, Learner, cross_entropy, masked_mean
from jaxlab.core.check import check_least
from jaxlab.training import Arm, Claim, Experiment


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per task of the config.

    Args:
      config: see configs/distillation/tgeo_kd.py for the keys.
      download: allow data sets to be fetched.
    """
    return {name: _experiment(spec, config, download) for name, spec in config.tasks.items()}


def _experiment(spec: ConfigDict, config: ConfigDict, download: bool) -> Experiment:
    splits = load_images(spec.data, download)
    task, rows = make_task(spec, splits), len(splits["train"].label)
    held = _held_out(spec, config, rows)
    draw = _draw(config, rows, held)
    seen = jax.tree.map(lambda x: x[: rows - held], splits["train"])
    train = splits["train"]._asdict() | {"taught": _flip(splits["train"].label, task.classes, spec)}
    methods = {name: functools.partial(_student, ratio, task, config) for name, ratio in METHODS.items()}
    return Experiment(
        data=reported({"seen": seen} | splits | {"train": train}, config),
        draw=draw,
        prepare={"teacher": _teacher(task, spec.teacher, draw)},
        arms=make_arms(spec.arms, methods, task.steps),
        claims=tuple(Claim(**claim) for claim in config.claims),
    )


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


def _flip(label: jax.Array, classes: int, spec: ConfigDict) -> np.ndarray:
    """The labels that the teacher is taught: a part of them another class, any other alike."""
    check_least("data.split_seed", spec.data.split_seed, 0)
    rng = np.random.default_rng(spec.data.split_seed)
    wrong = rng.random(len(label)) < spec.flipped
    other = (np.asarray(label) + rng.integers(1, max(classes, 2), len(label))) % classes
    return np.where(wrong, other, label).astype(np.int32)


def _draw(config: ConfigDict, rows: int, held: int) -> Callable[[Any, jax.Array], dict[str, Any]]:
    """Batches of all training images, of those that a led student keeps, and of those that judge it."""

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
    """Trained on flipped labels; the students get its parameters, its answers and their class means."""
    train = task.splits["train"]

    def taught(train: Any, key: jax.Array) -> dict[str, Any]:
        batch = draw(train, key)["all"]
        return {**batch, "label": batch["taught"]}

    def export(state: Any) -> dict[str, Any]:
        logits = answers(task.teacher, state.params, train.image)
        means = distillation.class_mean_teacher(jax.nn.softmax(logits), train.label)
        return {"params": state.params, "logits": logits, "class_means": means}

    return dataclasses.replace(teacher_arm(task.teacher, spec, task.splits), draw=taught, export=export)


def _student(ratio: Ratio, task: Task, config: ConfigDict, settings: Any) -> tuple[Learner, Evaluate, None]:
    net, begin = task.student, initial_params(task.student, task.splits)
    batch_of = "lower" if settings.learned else "all"

    def init(key: jax.Array) -> tuple[Any, Any]:
        return begin(key), ratio.init(jax.random.fold_in(key, 1), task.classes, config)

    def loss(
        averaged: bool, params: Any, controller: Any, batches: Any, context: Any
    ) -> tuple[jax.Array, dict]:
        batch, known = batches[batch_of], context["teacher"]
        logits, soft = net.apply(params, batch["image"]), known["logits"][batch["index"]]
        alpha = ratio.alpha(controller, settings, logits, soft, batch["label"], known["class_means"])
        used = jnp.broadcast_to(alpha.mean(), alpha.shape) if averaged else alpha
        fused = distillation.fused_kd_loss(
            logits, soft, batch["label"], used, temperature=settings.temperature
        )
        return fused.mean(), _trust(alpha, soft, batch["label"])

    def upper(params: Any, batches: Any, context: Any) -> jax.Array:
        held = batches["upper"]
        return cross_entropy(net.apply(params, held["image"]), held["label"]).mean()

    learner = distillation.bilevel_learner(
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
        known = context["teacher"]
        logits = answers(task.student, state.params, split.image)
        soft = answers(task.teacher, known["params"], split.image)
        alpha = ratio.alpha(state.controller, settings, logits, soft, split.label, known["class_means"])
        return scores(logits, split.label) | {
            "teacher_accuracy": jnp.mean(soft.argmax(-1) == split.label),
            **_trust(alpha, soft, split.label),
        }

    return evaluate

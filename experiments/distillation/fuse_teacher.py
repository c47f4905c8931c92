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

from experiments.distillation._answers import answers
from experiments.distillation._image_tasks import (
    Evaluate,
    count_classes,
    initial_params,
    load_splits,
    make_net,
    make_optimizer,
    teacher_arm,
)
from jaxlab import data, distillation
from jaxlab.core import InputError, Learner, cross_entropy, masked_mean
from jaxlab.core.check import check_least
from jaxlab.training import Arm, Claim, Experiment

# Where alpha comes from: a constant; one number for all; the geometry of each example; the mean of the latter over
# the batch for the student, whose controller nevertheless learns as one of each example.
RATIOS = ("fixed", "one", "each", "mean_of_each")


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per task of the config.

    Args:
      config: see configs/distillation/tgeo_kd.py for the keys.
      download: allow data sets to be fetched.
    """
    return {name: _experiment(task, config, download) for name, task in config.tasks.items()}


def _experiment(task: ConfigDict, config: ConfigDict, download: bool) -> Experiment:
    splits = load_splits(task.data, download)
    rows, classes = len(splits["train"].label), count_classes(splits)
    held = _held_out(task, config, rows)
    teacher, student = make_net(task.teacher, classes), make_net(task.student, classes)
    train = splits["train"]._asdict() | {"taught": _flip(splits["train"].label, classes, task)}
    seen = jax.tree.map(lambda x: x[: rows - held], splits["train"])
    reported = {
        name: split for name, split in splits.items() if name == "val" or (name == "test" and config.test)
    }
    draw = _draw(config, rows, held)
    method = functools.partial(_student, student, teacher, classes, task, splits, config)
    return Experiment(
        data={"train": train, "seen": seen, **reported},
        draw=draw,
        prepare={"teacher": _teacher(teacher, task.teacher, splits, draw)},
        arms={name: Arm(method, arm.to_dict(), task.student.steps) for name, arm in task.arms.items()},
        claims=tuple(Claim(**claim) for claim in config.claims),
    )


def _held_out(task: ConfigDict, config: ConfigDict, rows: int) -> int:
    """How many training images judge alpha."""
    for name, value in (("flipped", task.flipped), ("held_out", task.held_out)):
        if not 0 <= value < 1:
            raise InputError(
                f"{name} is {value}: it is a share of the training images, at least 0 and below 1"
            )
    held = round(task.held_out * rows)
    for name, size, most in (
        ("batch_size", config.batch_size, rows - held),
        ("upper_batch", config.upper_batch, held),
    ):
        if not 1 <= size <= most:
            raise InputError(
                f"{name} is {size}: it must be between 1 and {most}, the images it is drawn from"
            )
    return held


def _flip(label: jax.Array, classes: int, task: ConfigDict) -> np.ndarray:
    """The labels that the teacher is taught: a part of them another class, any other alike."""
    check_least("split_seed", task.data.split_seed, 0)
    rng = np.random.default_rng(task.data.split_seed)
    wrong = rng.random(len(label)) < task.flipped
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


def _teacher(net: Any, spec: ConfigDict, splits: dict[str, data.Images], draw: Callable) -> Arm:
    """Trained on flipped labels; the students get its parameters, its answers and their class means."""
    train = splits["train"]

    def taught(train: Any, key: jax.Array) -> dict[str, Any]:
        batch = draw(train, key)["all"]
        return {**batch, "label": batch["taught"]}

    def export(state: Any) -> dict[str, Any]:
        logits = answers(net, state.params, train.image)
        means = distillation.class_mean_teacher(jax.nn.softmax(logits), train.label)
        return {"params": state.params, "logits": logits, "class_means": means}

    return dataclasses.replace(teacher_arm(net, spec, splits), draw=taught, export=export)


def _ratio(settings: Any) -> Callable[..., jax.Array]:
    """`(controller, student_logits, teacher_logits, labels, class_means) -> alpha` of each example."""
    if settings.ratio not in RATIOS:
        raise InputError(f"ratio is {settings.ratio!r}: it must be one of {', '.join(RATIOS)}")

    def one(controller: Any, student: jax.Array, *rest: jax.Array) -> jax.Array:
        return jnp.broadcast_to(jax.nn.sigmoid(controller), student.shape[:-1])

    def each(
        controller: Any, student: jax.Array, teacher: jax.Array, labels: jax.Array, means: jax.Array
    ) -> jax.Array:
        state = distillation.trilateral_state(jax.nn.softmax(student), jax.nn.softmax(teacher), labels, means)
        return distillation.fusion_ratio(controller, state)

    if settings.ratio == "fixed":
        return lambda controller, student, *rest: jnp.full(student.shape[:-1], settings.alpha)
    return one if settings.ratio == "one" else each


def _student(
    net: Any, teacher: Any, classes: int, task: ConfigDict, splits: Any, config: ConfigDict, settings: Any
) -> tuple[Learner, Evaluate, None]:
    begin, ratio = initial_params(net, splits), _ratio(settings)
    batch_of = "lower" if settings.learned else "all"

    def init(key: jax.Array) -> tuple[Any, Any]:
        own = jax.random.fold_in(key, 1)
        made = {"fixed": lambda: (), "one": lambda: jnp.zeros(())}
        return begin(key), made.get(
            settings.ratio,
            lambda: distillation.fusion_controller_init(own, classes, hidden=config.controller),
        )()

    def loss(
        params: Any, controller: Any, batches: Any, context: Any, averaged: bool
    ) -> tuple[jax.Array, dict]:
        batch, known = batches[batch_of], context["teacher"]
        logits, soft = net.apply(params, batch["image"]), known["logits"][batch["index"]]
        alpha = ratio(controller, logits, soft, batch["label"], known["class_means"])
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
        lambda *args: loss(*args, settings.ratio == "mean_of_each"),
        upper,
        make_optimizer(settings, task.student.steps),
        optax.adam(settings.controller_rate) if settings.learned else None,
        learning_rate=config.virtual_rate,
        virtual=lambda *args: loss(*args, False),
    )
    return learner, _evaluate(net, teacher, ratio), None


def _trust(alpha: jax.Array, teacher_logits: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
    """The teacher's share where it is wrong, where it is right, and how much larger the latter is."""
    wrong = teacher_logits.argmax(-1) != labels
    where_wrong, where_right = masked_mean(alpha, where=wrong), masked_mean(alpha, where=~wrong)
    gap = jnp.where(wrong.any() & ~wrong.all(), where_right - where_wrong, 0.0)
    return {"alpha_wrong": where_wrong, "alpha_right": where_right, "trust_gap": gap}


def _evaluate(net: Any, teacher: Any, ratio: Callable) -> Evaluate:
    """Accuracy and negative log-likelihood of the student, and what the teacher's share is on these images."""

    def evaluate(state: Any, split: data.Images, context: Any) -> dict[str, jax.Array]:
        known = context["teacher"]
        logits, soft = (
            answers(*who, split.image) for who in ((net, state.params), (teacher, known["params"]))
        )
        alpha = ratio(state.controller, logits, soft, split.label, known["class_means"])
        return {
            "accuracy": jnp.mean(logits.argmax(-1) == split.label),
            "nll": cross_entropy(logits, split.label).mean(),
            "teacher_accuracy": jnp.mean(soft.argmax(-1) == split.label),
            **_trust(alpha, soft, split.label),
        }

    return evaluate

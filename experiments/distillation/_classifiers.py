"""What the drivers of image classifiers share: batches, the teacher, and the evaluation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.parts.checks import check_between, check_name
from experiments.parts.chunks import in_chunks
from experiments.parts.images import SeededImages
from experiments.parts.nets import make_net
from experiments.parts.optimizers import adamw
from experiments.parts.streams import draw_images
from jaxlab import data
from jaxlab.core import cross_entropy, gradient_learner
from jaxlab.metrics import accuracy
from jaxlab.training import Arm

Evaluate = Callable[[Any, data.Images, Any], dict[str, jax.Array]]


class Task(NamedTuple):
    """What the arms of a task share: both nets, the steps of a student, the images."""

    student: Any
    teacher: Any
    steps: int
    images: SeededImages


def make_task(spec: ConfigDict, images: SeededImages) -> Task:
    """The nets that `spec` names for these images."""
    student, teacher = (make_net(own, images.num_classes) for own in (spec.student, spec.teacher))
    return Task(student, teacher, spec.student.steps, images)


def reported(splits: dict[str, Any], config: ConfigDict) -> dict[str, Any]:
    """The splits of a run: without the test images where the config keeps them out."""
    return {name: split for name, split in splits.items() if name != "test" or config.test}


def batches(config: ConfigDict, images: SeededImages) -> Callable[[Any, jax.Array], Any]:
    """Random batches of the training images; teacher and student see the same view of an image."""
    check_between("batch_size", config.batch_size, images.rows, "training images")
    check_name("augment", config.augment, ("none", "crop_flip"))

    def draw(train: data.Images, key: jax.Array) -> dict[str, jax.Array]:
        batch = draw_images(train, key, batch_size=config.batch_size)
        if config.augment == "crop_flip":
            batch["image"] = data.crop_flip(batch["image"], jax.random.fold_in(key, 1))
        return batch

    return draw


def initial_params(net: Any, images: SeededImages) -> Callable[[jax.Array], Any]:
    """`key -> params` of a net that reads these images."""
    return lambda key: net.init(key, images.example)


def teacher_arm(net: Any, spec: ConfigDict, images: SeededImages) -> Arm:
    """Trains a teacher on the labels; what later stages get is its parameters."""

    begin = initial_params(net, images)

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        logits = net.apply(params, batch["image"])
        metrics = {"accuracy": accuracy(logits, batch["label"])}
        return cross_entropy(logits, batch["label"]).mean(), (memory, metrics)

    init = lambda key, context: (begin(key), None)
    learner = gradient_learner(init, loss, adamw(spec, spec.steps))
    return Arm(learner, steps=spec.steps, evaluate=evaluate_logits(net), export=lambda state: state.params)


def answers(net: Any, params: Any, images: jax.Array) -> jax.Array:
    """Logits `[N, C]`, a part of the images at a time."""
    return in_chunks(lambda part: net.apply(params, part), images, 1024)


def evaluate_logits(net: Any) -> Evaluate:
    """Accuracy and negative log-likelihood of `state.params` on a split."""
    return evaluate_answers(lambda params, images: (net.apply(params, images), {}))


def evaluate_answers(
    answer: Callable[[Any, jax.Array], tuple[jax.Array, dict[str, jax.Array]]],
) -> Evaluate:
    """Accuracy, negative log-likelihood and the means of whatever else `answer` says of an image.

    `answer` is `(params, images) -> (logits [B, C], {name: [B]})`: which head speaks is its choice.
    """

    def evaluate(state: Any, split: data.Images, context: Any) -> dict[str, jax.Array]:
        logits, more = in_chunks(lambda images: answer(state.params, images), split.image)
        return scores(logits, split.label) | {name: values.mean() for name, values in more.items()}

    return evaluate


def scores(logits: jax.Array, label: jax.Array) -> dict[str, jax.Array]:
    """Accuracy and negative log-likelihood."""
    return {"accuracy": jnp.mean(logits.argmax(-1) == label), "nll": cross_entropy(logits, label).mean()}

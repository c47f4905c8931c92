"""Distil students into a teacher that was never trained, and ask by probes whether their features got better.

Teacher and student are one convolutional encoder with a projection head. A seed draws its own teacher; every arm trains
against that teacher, from the same two draws, on the same batches of unlabelled images in the same order, and differs
in how near the teacher it begins (`alpha`) or in what it looks at (`inputs`). A linear probe and a vote of the nearest
neighbours, trained on labelled images inside the evaluation, judge the encoder. The arms `teacher` and `pixels` train
nothing: they are what there is to beat; `labels` trains the same encoder on the labels.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from flax import linen as nn
from ml_collections import ConfigDict

from experiments.distillation._classifiers import Evaluate
from experiments.distillation._landscape import landscape
from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms, check_between, check_counts
from experiments.parts.chunks import in_chunks
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.images import seeded_images
from jaxlab import data, nets
from jaxlab.core import InputError, Learner, TrainState, cross_entropy, forward_kl, gradient_learner
from jaxlab.distillation import random_teacher
from jaxlab.metrics import accuracy, knn_probe, linear_probe
from jaxlab.training import Experiment, PerSeed


class Net(NamedTuple):
    """The encoder, whose last features are probed, and the head that makes outputs of them."""

    encoder: Any
    head: Any
    mean: float
    spread: float
    classes: int

    def init(self, key: jax.Array, image: jax.Array) -> dict[str, Any]:
        """Parameters of both."""
        first, second = jax.random.split(key)
        (_, features), encoder = self.encoder.init_with_output(first, image, return_features=True)
        return {"encoder": encoder, "head": self.head.init(second, features[-1])}

    def features(self, params: Any, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Class logits, which only `labels` trains, and the vector `[B, F]` that is probed."""
        image = (image - self.mean) / self.spread
        logits, features = self.encoder.apply(params["encoder"], image, return_features=True)
        return logits, features[-1]

    def outputs(self, params: Any, image: jax.Array) -> jax.Array:
        """What the student matches."""
        return self.head.apply(params["head"], self.features(params, image)[1])


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/distillation/random_teacher.py describes.

    Args:
      config: see that file for the keys.
      download: allow data sets to be fetched.
    """
    images = seeded_images(config.data, download)
    _check(config, images.rows)
    net = _make_net(config.net, images.num_classes, config.data.mean, config.data.spread)
    methods = methods_of(
        METHODS, config.arms, lambda make: functools.partial(make, net, config.probe, images.example)
    )
    train, most = images.splits["train"], config.probe.train_examples
    probed = PerSeed(lambda key: jax.tree.map(lambda x: x[:most], train.make(key)))
    names = ("val", "test") if config.test else ("val",)
    return Experiment(
        data={"train": train} | {name: {"fit": probed, "score": images.splits[name]} for name in names},
        draw=lambda train, key: data.draw(train, key, batch_size=config.batch_size),
        arms=make_arms(config.arms, methods, config.steps, steps_of={"untrained": 0}),
        claims=claims_of(config),
        examples=landscape(net.outputs, config.landscape),
        summarise=late_change("val/probe_accuracy"),
        resplit=images.resplit,
    )


def _check(config: ConfigDict, most: int) -> None:
    check_counts(config, "steps")
    check_between("batch_size", config.batch_size, most, "training images")
    check_between("probe.train_examples", config.probe.train_examples, most, "training images")
    check_arms(config.arms, {"inputs": ("images", "noise"), "probe": ("features", "pixels")})
    for name, arm in config.arms.items():
        if not 0 <= arm.alpha <= 1:
            raise InputError(f"arm {name}: alpha is {arm.alpha}: it must be in [0, 1]")


def _make_net(spec: ConfigDict, classes: int, mean: float, spread: float) -> Net:
    if spec.outputs <= spec.bottleneck:
        raise InputError(
            f"net.outputs is {spec.outputs}: it must be above the bottleneck's width, {spec.bottleneck}"
        )
    init = (
        nn.initializers.truncated_normal(spec.init_std) if spec.init_std else nn.initializers.lecun_normal()
    )
    head = nets.L2BottleneckHead(
        features=spec.projector, bottleneck=spec.bottleneck, num_outputs=spec.outputs,
        weight_norm=spec.weight_norm, kernel_init=init,
    )  # fmt: skip
    return Net(nets.ConvNet(channels=spec.channels, num_classes=classes), head, mean, spread, classes)


def _student(
    lesson: Callable, net: Net, probe: ConfigDict, example: jax.Array, settings: Any
) -> tuple[Learner, Evaluate, None]:
    """The encoder, begun `alpha` away from its teacher; the teacher is drawn with it and rests in the memory."""

    def init(key: jax.Array, context: Any) -> tuple[Any, Any]:
        both = jax.vmap(lambda one: net.init(one, example))(jax.random.split(key))
        teacher, fresh = (jax.tree.map(lambda x, i=i: x[i], both) for i in range(2))
        return random_teacher.local_init(teacher, fresh, alpha=settings.alpha), teacher

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        value, metrics = lesson(net, settings, params, memory, batch, key)
        return value, (memory, metrics)

    learner = gradient_learner(init, loss, optax.adamw(settings.learning_rate, weight_decay=0.0))
    return learner, _evaluate(net, probe, settings), None


def _distill(net: Net, settings: Any, params: Any, teacher: Any, batch: Any, key: Any) -> tuple[Any, dict]:
    """What the teacher says, of the images or of noise."""
    image = batch["image"]
    if settings.inputs == "noise":
        image = net.mean + net.spread * jax.random.normal(key, image.shape, image.dtype)
    outputs, goals = net.outputs(params, image), net.outputs(teacher, image)
    value = random_teacher.soft_cross_entropy(outputs, goals).mean()
    return value, {"kl": forward_kl(outputs, goals).mean()}


def _label(net: Net, settings: Any, params: Any, teacher: Any, batch: Any, key: Any) -> tuple[Any, dict]:
    logits, _ = net.features(params, batch["image"])
    return cross_entropy(logits, batch["label"]).mean(), {"accuracy": accuracy(logits, batch["label"])}


METHODS: dict[str, Callable] = {
    "distill": functools.partial(_student, _distill),
    "labels": functools.partial(_student, _label),
    "untrained": functools.partial(_student, _label),  # in no step: as it begins
}


def _evaluate(net: Net, probe: ConfigDict, settings: Any) -> Evaluate:
    def read(params: Any, image: jax.Array) -> jax.Array:
        if settings.probe == "pixels":
            return image.reshape(len(image), -1)
        return in_chunks(lambda part: net.features(params, part)[1], image, probe.chunk)

    def evaluate(state: TrainState, split: Any, context: Any) -> dict[str, jax.Array]:
        fit, score, teacher = split["fit"], split["score"], state.memory
        known, asked = read(state.params, fit.image), read(state.params, score.image)
        linear = linear_probe(
            known, fit.label, asked, num_classes=net.classes, steps=probe.steps,
            weight_decay=settings.probe_decay, learning_rate=probe.learning_rate,
        )  # fmt: skip
        votes = knn_probe(known, fit.label, asked, num_classes=net.classes, neighbors=probe.neighbors)
        few = score.image[:256]
        apart = optax.tree.norm(optax.tree.sub(state.params, teacher))
        return {
            "probe_accuracy": accuracy(linear, score.label),
            "knn_accuracy": accuracy(votes, score.label),
            "kl": forward_kl(net.outputs(state.params, few), net.outputs(teacher, few)).mean(),
            "distance": apart / optax.tree.norm(teacher),  # from the teacher, in its own length
        }

    return evaluate

"""Distil students into a teacher that was never trained, and ask by probes whether their features got better.

Teacher and student are one convolutional encoder with a projection head. A seed draws its own teacher; every arm trains
against that teacher, from the same two draws, on the same batches of unlabelled images in the same order, and differs
in how near the teacher it begins (`alpha`) or in what it looks at (`inputs`). A linear probe and a vote of the nearest
neighbours, trained on labelled images inside the evaluation, judge the encoder. The arms `teacher` and `pixels` train
nothing: they are what there is to beat; `labels` trains the same encoder on the labels.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn
from ml_collections import ConfigDict

from experiments.distillation._image_tasks import Evaluate, count_classes, load_splits
from jaxlab import data, distillation, nets
from jaxlab.core import InputError, Learner, TrainState, cross_entropy, forward_kl, gradient_learner
from jaxlab.metrics import accuracy, knn_probe, linear_probe
from jaxlab.training import Arm, Claim, Experiment

CHOICES = {
    "learn": ("distill", "labels", "nothing"),
    "inputs": ("images", "noise"),
    "probe": ("features", "pixels"),
}


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
        image = (image - self.mean) / self.spread  # of the training images' pixels
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
    splits = load_splits(config.data, download)
    _check(config, splits)
    pixels = splits["train"].image
    net = _make_net(config.net, count_classes(splits), float(pixels.mean()), float(pixels.std()))
    method = functools.partial(_student, net, config.probe, splits["train"])
    probed = jax.tree.map(lambda x: x[: config.probe.train_examples], splits["train"])
    names = ("val", "test") if config.test else ("val",)
    return Experiment(
        data={"train": splits["train"]} | {name: {"fit": probed, "score": splits[name]} for name in names},
        draw=lambda train, key: data.draw(train, key, batch_size=config.batch_size),
        arms={
            name: Arm(method, arm.to_dict(), 0 if arm.learn == "nothing" else config.steps)
            for name, arm in config.arms.items()
        },
        claims=tuple(Claim(**claim) for claim in config.claims),
        examples=_landscape(net, config.landscape),
    )


def _check(config: ConfigDict, splits: Mapping[str, data.Images]) -> None:
    if config.steps < 1:
        raise InputError(f"steps is {config.steps}: it must be at least 1")
    most = len(splits["train"].label)
    for name, value in (
        ("batch_size", config.batch_size),
        ("probe.train_examples", config.probe.train_examples),
    ):
        if not 1 <= value <= most:
            raise InputError(f"{name} is {value}: it must be between 1 and the {most} training images")
    for name, arm in config.arms.items():
        for key, allowed in CHOICES.items():
            if arm[key] not in allowed:
                raise InputError(f"arm {name}: {key} is {arm[key]!r}: it must be one of {', '.join(allowed)}")
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
    net: Net, probe: ConfigDict, train: data.Images, settings: Any
) -> tuple[Learner, Evaluate, None]:
    """The encoder, begun `alpha` away from its teacher; the teacher is drawn with it and rests in the memory."""

    def init(key: jax.Array, context: Any) -> tuple[Any, Any]:
        both = jax.vmap(lambda one: net.init(one, train.image[:1]))(jax.random.split(key))
        teacher, fresh = (jax.tree.map(lambda x, i=i: x[i], both) for i in range(2))
        if settings.learn == "nothing":
            return teacher, teacher
        return distillation.local_init(teacher, fresh, alpha=settings.alpha), teacher

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        image, label = batch["image"], batch["label"]
        if settings.learn == "labels":
            logits, _ = net.features(params, image)
            return cross_entropy(logits, label).mean(), (memory, {"accuracy": accuracy(logits, label)})
        if settings.inputs == "noise":
            image = net.mean + net.spread * jax.random.normal(key, image.shape, image.dtype)
        student, teacher = net.outputs(params, image), net.outputs(memory, image)
        value = distillation.soft_cross_entropy(student, teacher).mean()
        return value, (memory, {"kl": forward_kl(student, teacher).mean()})

    learner = gradient_learner(init, loss, optax.adamw(settings.learning_rate, weight_decay=0.0))
    return learner, _evaluate(net, probe, settings), None


def _evaluate(net: Net, probe: ConfigDict, settings: Any) -> Evaluate:
    def read(params: Any, image: jax.Array) -> jax.Array:
        if settings.probe == "pixels":
            return image.reshape(len(image), -1)
        if 0 < probe.chunk < len(image):
            return jax.lax.map(
                lambda one: net.features(params, one[None])[1][0], image, batch_size=probe.chunk
            )
        return net.features(params, image)[1]

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


def _landscape(net: Net, spec: ConfigDict) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
    """`Experiment.examples`: the loss from the teacher to each student, and over a plane through three points."""

    def draw(states: Mapping[str, Any], splits: Mapping[str, Any]) -> Any:
        from matplotlib.figure import Figure

        image = splits["val"]["score"].image[: spec.images]
        figure = Figure(figsize=(11, 4.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        lines = jax.jit(
            lambda teacher, student, at: distillation.line_losses(excess(teacher), teacher, student, at)
        )
        excess = lambda teacher: (
            lambda params: forward_kl(net.outputs(params, image), net.outputs(teacher, image)).mean()
        )
        at = np.linspace(-0.5, 1.5, spec.points)
        moved = {name: state for name, state in states.items() if name in spec.line}
        for name, state in moved.items():
            left.plot(at, lines(state.memory, state.params, at), label=name)
        left.set(
            xlabel="from the teacher (0) to the student (1)",
            ylabel="KL(teacher || student), nats",
            yscale="log",
        )
        if moved:
            left.legend()
        if set(spec.plane) <= set(states):
            _plane(right, excess, *(states[name] for name in spec.plane), spec)
        return figure

    return draw


def _plane(axes: Any, excess: Callable, near: TrainState, far: TrainState, spec: ConfigDict) -> None:
    """Where the teacher is (0, 0), the first student (1, 0) and the second (0, 1)."""
    at = np.linspace(-0.5, 1.5, spec.points)
    plane = jax.jit(lambda t, *others: distillation.plane_losses(excess(t), t, *others, at, at))
    height = np.log10(np.maximum(plane(near.memory, near.params, far.params), 1e-12))
    drawn = axes.contourf(at, at, height, levels=20, cmap="viridis")
    axes.figure.colorbar(drawn, ax=axes, label="log10 KL")
    for place, name in (((0, 0), "teacher"), ((1, 0), spec.plane[0]), ((0, 1), spec.plane[1])):
        axes.plot(*place, "wo", markersize=4)
        axes.annotate(name, place, color="white", xytext=(4, 4), textcoords="offset points")
    axes.set(xlabel=f"towards {spec.plane[0]}", ylabel=f"towards {spec.plane[1]}")

"""A teacher of one task, a student of another, and what they can say to each other about the student's images.

The teacher was trained to name all training digits and is frozen. The student sees few of them and must tell odd from
even. Arms: the labels alone, the teacher's answers (KD), a hint from its hidden state (FitNet), and codecs by
which both speak: one way, where the teacher reports what it sees, or two ways, where it answers what the student says
in one or more rounds. One-way and two-way arms have the same codecs and losses. The student is scored alone.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
from ml_collections import ConfigDict

from experiments.distillation._classifiers import reported, scores
from experiments.distillation._talking import METHODS, answer, initial, parity_of
from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms, check_between, check_counts
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.images import seeded_images
from experiments.parts.optimizers import adamw
from jaxlab import data
from jaxlab.core import InputError, Learner, cross_entropy, gradient_learner
from jaxlab.metrics import accuracy
from jaxlab.training import Arm, Experiment, PerSeed


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/distillation/talking_models.py describes.

    Args:
      config: see that file for the keys.
      download: allow data sets to be fetched.
    """
    check_arms(config.arms, {"method": METHODS})
    check_counts(config, "steps", "batch_size")
    for name, arm in config.arms.items():
        if arm.rounds < 1:
            raise InputError(f"arm {name}: rounds is {arm.rounds}: it must be at least 1")
    images = seeded_images(config.data, download)
    pixels = images.example.size
    check_between("few", config.few, images.rows, "training images")
    methods = methods_of(METHODS, config.arms, lambda own: functools.partial(_student, *own, config, pixels))
    return Experiment(
        data=reported({name: _turned(split, config.rotate) for name, split in images.splits.items()}, config),
        draw=_batches(config),
        prepare={"teacher": _teacher(config.teacher, pixels)},
        arms=make_arms(config.arms, methods, config.steps),
        claims=claims_of(config),
        summarise=late_change("val/accuracy"),
        resplit=images.resplit,
    )


def _turned(split: PerSeed, degrees: float) -> PerSeed:
    """Every image turned by an angle of its own."""

    def turned(key: jax.Array) -> data.Images:
        images = split.make(key)
        return images._replace(
            image=data.random_affine(images.image, jax.random.fold_in(key, 1), rotate=degrees)
        )

    return PerSeed(turned)


def _batches(config: ConfigDict) -> Any:
    def draw(train: Any, key: jax.Array) -> dict[str, Any]:
        few = jax.tree.map(lambda x: x[: config.few], train)
        return {
            "few": data.draw(few, key, batch_size=config.batch_size),
            "all": data.draw(train, key, batch_size=config.batch_size),
        }

    return draw


def _teacher(spec: ConfigDict, pixels: int) -> Arm:
    """Ten digits, of all training images. Also scored on what the student has to tell, odd from even."""

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        image, label = batch["all"]["image"], batch["all"]["label"]
        return cross_entropy(answer(params, image), label).mean(), (memory, {})

    def evaluate(state: Any, split: Any, context: Any) -> dict[str, jax.Array]:
        logits = answer(state.params, split.image)
        return scores(logits, split.label) | {"parity": accuracy(parity_of(logits), split.label % 2)}

    init = lambda key, context: (initial(key, (pixels, spec.width, spec.width, 10)), None)
    learner = gradient_learner(init, loss, adamw(spec, spec.steps))
    return Arm(learner, steps=spec.steps, evaluate=evaluate, export=lambda state: state.params)


def _student(
    begin: Callable, lesson: Callable, config: ConfigDict, pixels: int, settings: Any
) -> tuple[Learner, Callable, None]:
    """A small net, what else its method trains, from `begin`, and the method's loss of every image."""
    width = config.student.width

    def init(key: jax.Array, context: Any) -> tuple[dict[str, Any], None]:
        net_key, *keys = jax.random.split(key, 4)
        return {"net": initial(net_key, (pixels, width, width, 2)), **begin(config, keys)}, None

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        image, parity = batch[settings.labels]["image"], batch[settings.labels]["label"] % 2
        logits = answer(params["net"], image)
        value, more = lesson(
            settings, params, context["teacher"], image, parity, cross_entropy(logits, parity)
        )
        return value.mean(), (memory, {"accuracy": accuracy(logits, parity), **more})

    def evaluate(state: Any, split: Any, context: Any) -> dict[str, jax.Array]:
        return scores(answer(state.params["net"], split.image), split.label % 2)

    return gradient_learner(init, loss, adamw(settings, config.steps)), evaluate, None

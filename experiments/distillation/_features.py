"""A student that also matches what its teacher's classifier reads, and the class means that it is matched with."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.distillation._classifiers import Evaluate, Task, evaluate_answers, initial_params
from experiments.distillation._losses import FEATURE_LOSSES, LOSSES
from experiments.parts.checks import choose
from experiments.parts.chunks import in_chunks
from experiments.parts.optimizers import adamw
from jaxlab import data, nets
from jaxlab.core import (
    InputError,
    Learner,
    class_means,
    computed,
    cross_entropy,
    gradient_learner,
    linear_ramp_up,
)
from jaxlab.metrics import accuracy
from jaxlab.training import Arm


def feature_student(task: Task, settings: Any) -> tuple[Learner, Evaluate, None]:
    """Cross-entropy, a loss on the logits that warms up, and a loss on the vector that the classifier reads.

    Where student and teacher differ in the width of that vector a linear projector leads from one to the other.
    """
    net, hyper = task.student, settings.get("options", {})
    distill = choose("loss", settings.loss, LOSSES)
    match = choose("feature_loss", settings.feature_loss, FEATURE_LOSSES)
    projector = _projector(task) if settings.feature_loss != "none" else None
    warm_up = _warm_up(settings.warm_up, task.steps)

    def init(key: jax.Array, context: Any) -> tuple[dict[str, Any], None]:
        params = {"net": initial_params(net, task.images)(key)}
        if projector:
            own = _vectors(net, params["net"], task.images.example)
            params["projector"] = projector.init(jax.random.fold_in(key, 1), own)
        return params, None

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        label = batch["label"]
        logits, features = net.apply(params["net"], batch["image"], return_features=True)
        soft, goals = task.teacher.apply(context["teacher"], batch["image"], return_features=True)
        vector = projector.apply(params["projector"], features[-1]) if projector else features[-1]
        ramp = linear_ramp_up(step, length=warm_up)
        value = (
            settings.ce_weight * cross_entropy(logits, label).mean()
            + settings.weight * ramp * distill(logits, soft, label, **hyper).mean()
            + settings.feature_weight * match(vector, goals[-1], label, context["means"]).mean()
        )
        norms = {"feature_norm": _norm(features[-1]).mean(), "teacher_norm": _norm(goals[-1]).mean()}
        return value, (memory, {"accuracy": accuracy(logits, label), "ramp": ramp, **norms})

    def answer(params: Any, images: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        logits, features = net.apply(params["net"], images, return_features=True)
        return logits, {"feature_norm": _norm(features[-1])}

    return gradient_learner(init, loss, adamw(settings, task.steps)), evaluate_answers(answer), None


def class_means_arm(task: Task) -> Arm:
    """The stage that takes the teacher's class means over all training images, once; they predict as nearest means."""
    vectors = lambda params, images: in_chunks(lambda part: _vectors(task.teacher, params, part), images)

    def means(key: jax.Array, context: Any, train: data.Images | None) -> jax.Array:
        if train is None:  # images that stay in their files
            raise InputError(
                "class means are of all training images at once: data.source must be one in memory"
            )
        found = vectors(context["teacher"], train.image)
        return class_means(found, train.label, num_classes=task.images.num_classes)[0]

    def evaluate(means: jax.Array, split: data.Images, context: Any) -> dict[str, jax.Array]:
        found = vectors(context["teacher"], split.image)
        distances = jnp.sum(jnp.square(found[:, None] - means), axis=-1)
        return {"accuracy": jnp.mean(distances.argmin(-1) == split.label)}

    return Arm(computed(means), evaluate=evaluate)


def _warm_up(fraction: float | jax.Array, steps: int) -> float | jax.Array:
    if isinstance(fraction, float) and not 0 <= fraction <= 1:
        raise InputError(f"warm_up is {fraction}: a fraction of the steps, it must be in [0, 1]")
    return fraction * steps


def _projector(task: Task) -> Any:
    """A linear map to the width of the teacher's vector; None where the student's has it."""
    image = task.images.example
    width = lambda net: jax.eval_shape(
        lambda: _vectors(net, net.init(jax.random.key(0), image), image)
    ).shape[-1]
    own, goal = width(task.student), width(task.teacher)
    return None if own == goal else nets.Mlp(features=(), num_classes=goal)


def _vectors(net: Any, params: Any, images: jax.Array) -> jax.Array:
    """What the classifier of `net` reads."""
    return net.apply(params, images, return_features=True)[1][-1]


def _norm(features: jax.Array) -> jax.Array:
    return jnp.linalg.norm(features, axis=-1)

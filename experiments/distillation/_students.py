"""What a student learns from its teacher: one function per kind of objective, found by name in `STUDENTS`.

Each takes the task and an arm's settings and gives the learner and the evaluation. Whatever an arm trains beside its
student, an auxiliary head or a projector, is dropped in the evaluation; the student itself starts from the same
parameters in all. Teacher and class means are read from the context.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from experiments.distillation._image_tasks import (
    Evaluate,
    evaluate_answers,
    evaluate_logits,
    initial_params,
    make_optimizer,
)
from jaxlab import data, distillation, nets
from jaxlab.core import (
    InputError,
    Learner,
    TrainState,
    class_means,
    computed,
    cosine_similarity,
    cross_entropy,
    gradient_learner,
    jsd,
    linear_ramp_up,
    reverse_kl,
)
from jaxlab.metrics import accuracy
from jaxlab.training import Arm

LOSSES: dict[str, Callable] = {
    "ce": lambda student, teacher, labels: cross_entropy(student, labels),
    "kd": lambda student, teacher, labels, **hyper: distillation.kd_loss(student, teacher, **hyper),
    "smoothing": lambda student, teacher, labels, alpha: optax.losses.softmax_cross_entropy(
        student, optax.losses.smooth_labels(jax.nn.one_hot(labels, student.shape[-1]), alpha)
    ),
    "reverse_kl": lambda student, teacher, labels, **hyper: reverse_kl(
        student, jax.lax.stop_gradient(teacher), **hyper
    ),
    "jsd": lambda student, teacher, labels, **hyper: jsd(student, jax.lax.stop_gradient(teacher), **hyper),
    "dkd": distillation.dkd_loss,
    "dist": lambda student, teacher, labels, **hyper: distillation.dist_loss(student, teacher, **hyper),
    "listmle": lambda student, teacher, labels: distillation.listmle_loss(
        student, distillation.teacher_optimal_ranking(teacher, labels)
    ),
    "pld": distillation.pld_loss,
    "binary_kl": lambda student, teacher, labels, **hyper: distillation.binary_kl(student, teacher, **hyper),
    "binary_kl_norm": lambda student, teacher, labels, **hyper: distillation.binary_kl_norm(
        student, teacher, **hyper
    ),
}

# What else is logged of a loss, from the teacher's logits and the labels.
WATCHED: dict[str, Callable] = {
    "pld": lambda teacher, labels, **hyper: {
        "first_weight": distillation.pld_first_weight(teacher, labels, **hyper).mean()
    },
}

# On what the classifier reads, of student and teacher, and the teacher's class means.
FEATURE_LOSSES: dict[str, Callable] = {
    "none": lambda student, teacher, labels, means: jnp.zeros(()),
    "direction": lambda student, teacher, labels, means: distillation.direction_loss(student, labels, means),
    "norm": lambda student, teacher, labels, means: distillation.norm_loss(student, teacher),
    "nd": distillation.nd_loss,
}


class Task(NamedTuple):
    """What the arms of a task share."""

    student: Any
    teacher: Any
    steps: int
    classes: int
    splits: dict[str, data.Images]


Student = tuple[Learner, Evaluate, None]


def logits_student(task: Task, settings: Any) -> Student:
    """`ce_weight * cross-entropy + weight * loss` on the logits of one head."""
    net, hyper = task.student, settings.get("options", {})
    distill, watch = _choose("loss", settings.loss, LOSSES), WATCHED.get(settings.loss, lambda *_, **__: {})

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        image, label = batch["image"], batch["label"]
        logits, soft = net.apply(params, image), task.teacher.apply(context["teacher"], image)
        value = settings.weight * distill(logits, soft, label, **hyper).mean()
        value += settings.ce_weight * cross_entropy(logits, label).mean()
        return value, (memory, {"accuracy": accuracy(logits, label), **watch(soft, label, **hyper)})

    begin = initial_params(net, task.splits)
    optimizer = make_optimizer(settings, task.steps)
    learner = gradient_learner(lambda key, context: (begin(key), None), loss, optimizer)
    return learner, evaluate_logits(net), None


def dual_head_student(task: Task, settings: Any) -> Student:
    """Cross-entropy on the main head; the loss on an auxiliary head (`heads = 2`) or on the same (`heads = 1`).

    The two gradients are taken apart, to be measured and, with `align`, projected; `head_features` are the widths of
    the auxiliary head's hidden layers.
    """
    if settings.heads not in (1, 2):
        raise InputError(f"heads is {settings.heads}: it must be 1 or 2")
    hyper, distill = settings.get("options", {}), _choose("loss", settings.loss, LOSSES)
    head = nets.Mlp(features=tuple(settings.head_features), num_classes=task.classes)
    apply = _two_heads(task.student, head) if settings.heads == 2 else _one_head(task.student)
    optimizer = make_optimizer(settings, task.steps)

    def init(key: jax.Array, context: Any) -> TrainState:
        params = {"net": initial_params(task.student, task.splits)(key)}
        if settings.heads == 2:
            params["head"] = head.init(jax.random.fold_in(key, 1), _vector(task.student, params["net"], task))
        return TrainState(params, optimizer.init(params), None, jnp.int32(0))

    def update(state: TrainState, batch: Any, key: jax.Array, context: Any) -> tuple[TrainState, dict]:
        soft = task.teacher.apply(context["teacher"], batch["image"])

        def losses(params: Any) -> tuple[tuple[jax.Array, jax.Array], dict]:
            logits, auxiliary = apply(params, batch["image"])
            supervised = settings.ce_weight * cross_entropy(logits, batch["label"]).mean()
            distilled = settings.weight * distill(auxiliary, soft, batch["label"], **hyper).mean()
            return (supervised, distilled), {"accuracy": accuracy(logits, batch["label"])}

        (supervised, distilled), pull, metrics = jax.vjp(losses, state.params, has_aux=True)
        (own,), (taught,) = pull((1.0, 0.0)), pull((0.0, 1.0))
        metrics |= {"loss": supervised + distilled, **_agreement(own["net"], taught["net"])}
        if settings.align:
            taught = distillation.align_gradients(own, taught)
        grads = jax.tree.map(jnp.add, own, taught)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, opt_state, None, state.step + 1), metrics

    return (
        Learner(init, update),
        evaluate_answers(lambda params, images: (apply(params, images)[0], {})),
        None,
    )


def feature_student(task: Task, settings: Any) -> Student:
    """Cross-entropy, a loss on the logits that warms up, and a loss on the vector that the classifier reads.

    Where student and teacher differ in the width of that vector a linear projector leads from one to the other.
    """
    net, hyper = task.student, settings.get("options", {})
    distill = _choose("loss", settings.loss, LOSSES)
    match = _choose("feature_loss", settings.feature_loss, FEATURE_LOSSES)
    projector = _projector(task) if settings.feature_loss != "none" else None
    warm_up = _warm_up(settings.warm_up, task.steps)

    def init(key: jax.Array, context: Any) -> tuple[dict[str, Any], None]:
        params = {"net": initial_params(net, task.splits)(key)}
        if projector:
            own = _vector(net, params["net"], task)
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

    learner = gradient_learner(init, loss, make_optimizer(settings, task.steps))
    return learner, evaluate_answers(answer), None


STUDENTS: dict[str, Callable[[Task, Any], Student]] = {
    "logits": logits_student,
    "dual_head": dual_head_student,
    "features": feature_student,
}


def class_means_arm(task: Task) -> Arm:
    """The stage that takes the teacher's class means over all training images, once; they predict as nearest means."""

    def vectors(params: Any, images: jax.Array) -> jax.Array:
        one = lambda image: task.teacher.apply(params, image[None], return_features=True)[1][-1][0]
        return jax.lax.map(one, images, batch_size=512)

    def means(key: jax.Array, context: Any, train: data.Images) -> jax.Array:
        found = vectors(context["teacher"], train.image)
        return class_means(found, train.label, num_classes=task.classes)[0]

    def evaluate(means: jax.Array, split: data.Images, context: Any) -> dict[str, jax.Array]:
        found = vectors(context["teacher"], split.image)
        distances = jnp.sum(jnp.square(found[:, None] - means), axis=-1)
        return {"accuracy": jnp.mean(distances.argmin(-1) == split.label)}

    return Arm(computed(means), evaluate=evaluate)


def _two_heads(net: Any, head: Any) -> Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]]:
    def trunk(params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits, features = net.apply(params, images, return_features=True)
        return logits, features[-1]

    return lambda params, images: distillation.dual_head_apply(params, images, net=trunk, head=head.apply)


def _one_head(net: Any) -> Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]]:
    return lambda params, images: (net.apply(params["net"], images),) * 2


def _agreement(own: Any, taught: Any) -> dict[str, jax.Array]:
    """Cosine between the two gradients, in the main classifier and in the layers below it."""

    def parts(tree: Any) -> dict[str, jax.Array]:
        layers = dict(tree["params"])
        return {"classifier": layers.pop("classifier"), "body": layers}

    own, taught = parts(own), parts(taught)
    flat = lambda tree: ravel_pytree(tree)[0]
    return {f"{part}_agreement": cosine_similarity(flat(own[part]), flat(taught[part])) for part in own}


def _choose(key: str, name: str, table: dict[str, Callable]) -> Callable:
    if name not in table:
        raise InputError(f"{key} is {name!r}: it must be one of {', '.join(table)}")
    return table[name]


def _warm_up(fraction: float | jax.Array, steps: int) -> float | jax.Array:
    if isinstance(fraction, float) and not 0 <= fraction <= 1:
        raise InputError(f"warm_up is {fraction}: a fraction of the steps, it must be in [0, 1]")
    return fraction * steps


def _projector(task: Task) -> Any:
    """A linear map to the width of the teacher's vector; None where the student's has it."""
    shapes = [jax.eval_shape(lambda net=net: _width(net, task)) for net in (task.student, task.teacher)]
    own, goal = (shape.shape[-1] for shape in shapes)
    return None if own == goal else nets.Mlp(features=(), num_classes=goal)


def _width(net: Any, task: Task) -> jax.Array:
    return _vector(net, initial_params(net, task.splits)(jax.random.key(0)), task)


def _vector(net: Any, params: Any, task: Task) -> jax.Array:
    """What the classifier of `net` reads, for one training image."""
    return net.apply(params, task.splits["train"].image[:1], return_features=True)[1][-1]


def _norm(features: jax.Array) -> jax.Array:
    return jnp.linalg.norm(features, axis=-1)

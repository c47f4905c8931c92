"""What a student learns from its teacher: one function per kind of objective, found by name in `STUDENTS`.

Each takes the task and the arm and gives the learner and the evaluation. Whatever an arm trains beside its student, an
auxiliary head or a projector, is dropped in the evaluation; the student itself starts from the same parameters in all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from ml_collections import ConfigDict

from experiments.distillation._image_tasks import (
    evaluate_answers,
    evaluate_logits,
    initial_params,
    make_optimizer,
)
from jaxlab import data, distillation, nets
from jaxlab.core import (
    Learner,
    accuracy,
    class_means,
    cosine_similarity,
    cross_entropy,
    gradient_learner,
    jsd,
    linear_ramp_up,
    reverse_kl,
)
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


class StudentState(NamedTuple):
    """A student in training, and how far it is."""

    params: Any
    opt_state: Any
    frozen: Any
    step: jax.Array


Evaluate = Callable[[Any, data.Images], dict[str, jax.Array]]
Gradients = Callable[[Any, Any, Any, jax.Array], tuple[Any, dict]]


def logits_student(task: Task, arm: ConfigDict) -> tuple[Learner, Evaluate]:
    """`ce_weight * cross-entropy + weight * loss` on the logits of one head."""
    net, teacher, hyper = task.student, task.teacher, arm.get("options", ConfigDict()).to_dict()
    distill = _choose("loss", arm.loss, LOSSES)

    def loss(params: Any, teacher_params: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, dict]:
        logits, soft = net.apply(params, batch["image"]), teacher.apply(teacher_params, batch["image"])
        value = arm.weight * distill(logits, soft, batch["label"], **hyper).mean()
        if arm.ce_weight:
            value += arm.ce_weight * cross_entropy(logits, batch["label"]).mean()
        metrics = {"accuracy": accuracy(logits, batch["label"])}
        if arm.loss == "pld":
            metrics["first_weight"] = distillation.pld_first_weight(soft, batch["label"], **hyper).mean()
        return value, metrics

    learner = gradient_learner(
        initial_params(net, task.splits),
        loss,
        make_optimizer(arm, task.steps),
        freeze=lambda context: context["teacher"],
    )
    return learner, evaluate_logits(net)


def dual_head_student(task: Task, arm: ConfigDict) -> tuple[Learner, Evaluate]:
    """Cross-entropy on the main head; the loss on an auxiliary head (`heads = 2`) or on the same (`heads = 1`).

    The two gradients are taken apart, to be measured and, with `align`, projected; `head_features` are the widths of
    the auxiliary head's hidden layers.
    """
    if arm.heads not in (1, 2):
        raise ValueError(f"heads is {arm.heads}: it must be 1 or 2")
    hyper, distill = arm.get("options", ConfigDict()).to_dict(), _choose("loss", arm.loss, LOSSES)
    head = nets.Mlp(features=tuple(arm.head_features), num_classes=task.classes)
    apply = _two_heads(task.student, head) if arm.heads == 2 else _one_head(task.student)

    def gradients(params: Any, frozen: Any, batch: Any, step: jax.Array) -> tuple[Any, dict]:
        soft = task.teacher.apply(frozen["teacher"], batch["image"])

        def losses(params: Any) -> tuple[tuple[jax.Array, jax.Array], dict]:
            logits, auxiliary = apply(params, batch["image"])
            supervised = arm.ce_weight * cross_entropy(logits, batch["label"]).mean()
            distilled = arm.weight * distill(auxiliary, soft, batch["label"], **hyper).mean()
            return (supervised, distilled), {"accuracy": accuracy(logits, batch["label"])}

        (supervised, distilled), pull, metrics = jax.vjp(losses, params, has_aux=True)
        (own,), (taught,) = pull((1.0, 0.0)), pull((0.0, 1.0))
        metrics |= {"loss": supervised + distilled, **_agreement(own["net"], taught["net"])}
        if arm.align:
            taught = distillation.align_gradients(own, taught)
        return jax.tree.map(jnp.add, own, taught), metrics

    def init(key: jax.Array) -> dict[str, Any]:
        params = {"net": initial_params(task.student, task.splits)(key)}
        if arm.heads == 2:
            params["head"] = head.init(jax.random.fold_in(key, 1), _vector(task.student, params["net"], task))
        return params

    learner = _learner(init, gradients, make_optimizer(arm, task.steps), _keep_teacher)
    return learner, evaluate_answers(lambda params, images: (apply(params, images)[0], {}))


def feature_student(task: Task, arm: ConfigDict) -> tuple[Learner, Evaluate]:
    """Cross-entropy, a loss on the logits that warms up, and a loss on the vector that the classifier reads.

    Where student and teacher differ in the width of that vector a linear projector leads from one to the other.
    """
    net, teacher, hyper = task.student, task.teacher, arm.get("options", ConfigDict()).to_dict()
    distill = _choose("loss", arm.loss, LOSSES)
    match = _choose("feature_loss", arm.feature_loss, FEATURE_LOSSES)
    projector = _projector(task) if arm.feature_loss != "none" else None
    warm_up = _warm_up(arm, task.steps)

    def loss(params: Any, frozen: Any, batch: Any, step: jax.Array) -> tuple[jax.Array, dict]:
        label = batch["label"]
        logits, features = net.apply(params["net"], batch["image"], return_features=True)
        soft, goals = teacher.apply(frozen["teacher"], batch["image"], return_features=True)
        vector = features[-1]
        if projector:
            vector = projector.apply(params["projector"], vector)
        ramp = linear_ramp_up(step, length=warm_up)
        value = (
            arm.ce_weight * cross_entropy(logits, label).mean()
            + arm.weight * ramp * distill(logits, soft, label, **hyper).mean()
            + arm.feature_weight * match(vector, goals[-1], label, frozen["means"]).mean()
        )
        norms = {"feature_norm": _norm(features[-1]), "teacher_norm": _norm(goals[-1])}
        return value, {"accuracy": accuracy(logits, label), "ramp": ramp} | {
            name: norm.mean() for name, norm in norms.items()
        }

    def gradients(params: Any, frozen: Any, batch: Any, step: jax.Array) -> tuple[Any, dict]:
        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params, frozen, batch, step)
        return grads, {"loss": value, **metrics}

    def init(key: jax.Array) -> dict[str, Any]:
        params = {"net": initial_params(net, task.splits)(key)}
        if projector:
            params["projector"] = projector.init(
                jax.random.fold_in(key, 1), _vector(net, params["net"], task)
            )
        return params

    def freeze(context: Any) -> dict[str, Any]:
        return {"teacher": context["teacher"], "means": context["means"]}

    def answer(params: Any, images: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        logits, features = net.apply(params["net"], images, return_features=True)
        return logits, {"feature_norm": _norm(features[-1])}

    return _learner(init, gradients, make_optimizer(arm, task.steps), freeze), evaluate_answers(answer)


STUDENTS: dict[str, Callable[[Task, ConfigDict], tuple[Learner, Evaluate]]] = {
    "logits": logits_student,
    "dual_head": dual_head_student,
    "features": feature_student,
}


def class_means_arm(task: Task) -> Arm:
    """The stage that takes the teacher's class means over all training images, once; they predict as nearest means."""

    def vectors(params: Any, images: jax.Array) -> jax.Array:
        one = lambda image: task.teacher.apply(params, image[None], return_features=True)[1][-1][0]
        return jax.lax.map(one, images, batch_size=512)

    def init(key: jax.Array, context: Any) -> Any:
        train = task.splits["train"]
        means, _ = class_means(
            vectors(context["teacher"], train.image), train.label, num_classes=task.classes
        )
        return {"means": means, "teacher": context["teacher"]}

    def evaluate(state: Any, split: data.Images) -> dict[str, jax.Array]:
        found = vectors(state["teacher"], split.image)
        distances = jnp.sum(jnp.square(found[:, None] - state["means"]), axis=-1)
        return {"accuracy": jnp.mean(distances.argmin(-1) == split.label)}

    learner = Learner(init, lambda state, batch, key: (state, {"loss": jnp.zeros(())}))
    return Arm(learner, 1, evaluate, export=lambda state: state["means"])


def _learner(
    init: Callable[[jax.Array], Any],
    gradients: Gradients,
    optimizer: optax.GradientTransformation,
    freeze: Callable[[Any], Any],
) -> Learner:
    """A gradient learner that knows its step, and leaves open how the gradient is made."""

    def begin(key: jax.Array, context: Any) -> StudentState:
        params = init(key)
        return StudentState(params, optimizer.init(params), freeze(context), jnp.zeros((), jnp.int32))

    def update(state: StudentState, batch: Any, key: jax.Array) -> tuple[StudentState, dict]:
        grads, metrics = gradients(state.params, state.frozen, batch, state.step)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return StudentState(params, opt_state, state.frozen, state.step + 1), metrics

    return Learner(begin, update)


def _keep_teacher(context: Any) -> dict[str, Any]:
    return {"teacher": context["teacher"]}


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
        raise ValueError(f"{key} is {name!r}: it must be one of {', '.join(table)}")
    return table[name]


def _warm_up(arm: ConfigDict, steps: int) -> float:
    if not 0 <= arm.warm_up <= 1:
        raise ValueError(f"warm_up is {arm.warm_up}: a fraction of the steps, it must be in [0, 1]")
    return arm.warm_up * steps


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

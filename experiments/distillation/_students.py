"""What a student learns from its teacher: a function of the task and an arm's settings for every name in `METHODS`.

Each gives the learner and the evaluation. Whatever an arm trains beside its student, an auxiliary head or a projector,
is dropped in the evaluation; the student itself starts from the same parameters in all. Teacher and class means are
read from the context.
"""

import functools
from collections.abc import Callable
from typing import Any

from experiments.distillation._classifiers import Evaluate, Task, evaluate_logits, initial_params
from experiments.distillation._dual_head import dual_head_student
from experiments.distillation._features import class_means_arm, feature_student
from experiments.distillation._losses import LOSSES, WATCHED
from experiments.parts.checks import choose
from experiments.parts.optimizers import adamw
from jaxlab.core import Learner, cross_entropy, gradient_learner
from jaxlab.metrics import accuracy
from jaxlab.training import Arm

Student = tuple[Learner, Evaluate, None]


def logits_student(name: str, task: Task, settings: Any) -> Student:
    """`ce_weight * cross-entropy + weight * loss` on the logits of one head."""
    net, hyper = task.student, settings.get("options", {})
    distill, watch = choose("method", name, LOSSES), WATCHED.get(name, lambda *_, **__: {})

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        image, label = batch["image"], batch["label"]
        logits, soft = net.apply(params, image), task.teacher.apply(context["teacher"], image)
        value = settings.weight * distill(logits, soft, label, **hyper).mean()
        value += settings.ce_weight * cross_entropy(logits, label).mean()
        return value, (memory, {"accuracy": accuracy(logits, label), **watch(soft, label, **hyper)})

    begin = initial_params(net, task.images)
    learner = gradient_learner(lambda key, context: (begin(key), None), loss, adamw(settings, task.steps))
    return learner, evaluate_logits(net), None


METHODS: dict[str, Callable[[Task, Any], Student]] = {
    **{name: functools.partial(logits_student, name) for name in LOSSES},
    "dual_head": dual_head_student,
    "features": feature_student,
}
# What a method needs beside the teacher: stages of its own.
STAGES: dict[str, dict[str, Callable[[Task], Arm]]] = {"features": {"means": class_means_arm}}

"""Train small students from a larger teacher: one arm per distillation loss, on one or several image tasks.

A task gives a data set, a teacher and a student. The teacher is trained once per seed on the labels and then frozen;
every arm trains the same student, from the same initial parameters, on the same batches in the same order. An arm is
`ce_weight * cross-entropy + weight * distillation loss` with its own learning rate.
"""

from collections.abc import Callable
from typing import Any

import jax
from ml_collections import ConfigDict

from experiments.distillation._image_tasks import (
    batches,
    count_classes,
    evaluate_logits,
    initial_params,
    load_splits,
    make_net,
    make_optimizer,
    teacher_arm,
)
from jaxlab import data, distillation
from jaxlab.core import Learner, accuracy, cross_entropy, gradient_learner
from jaxlab.training import Arm, Claim, Experiment

LOSSES: dict[str, Callable] = {
    "ce": lambda student, teacher, labels: cross_entropy(student, labels),
    "kd": lambda student, teacher, labels, **hyper: distillation.kd_loss(student, teacher, **hyper),
    "dkd": distillation.dkd_loss,
    "dist": lambda student, teacher, labels, **hyper: distillation.dist_loss(student, teacher, **hyper),
    "listmle": lambda student, teacher, labels: distillation.listmle_loss(
        student, distillation.teacher_optimal_ranking(teacher, labels)
    ),
    "pld": distillation.pld_loss,
}


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per task of the config.

    Args:
      config: see configs/distillation/pld.py for the keys.
      download: allow data sets to be fetched.
    """
    return {name: _experiment(task, config, download) for name, task in config.tasks.items()}


def _experiment(task: ConfigDict, config: ConfigDict, download: bool) -> Experiment:
    splits = load_splits(task.data, download)
    if not config.test:
        del splits["test"]
    classes = count_classes(splits)
    teacher, student = make_net(task.teacher, classes), make_net(task.student, classes)
    return Experiment(
        data=splits,
        draw=batches(config, splits),
        prepare={"teacher": teacher_arm(teacher, task.teacher, splits)},
        arms={
            name: Arm(
                _student(student, teacher, arm, task.student.steps, splits),
                task.student.steps,
                evaluate_logits(student),
            )
            for name, arm in task.arms.items()
        },
        evaluate=evaluate_logits(student),
        claims=tuple(Claim(**claim) for claim in config.claims),
    )


def _student(net: Any, teacher: Any, arm: ConfigDict, steps: int, splits: dict[str, data.Images]) -> Learner:
    if arm.loss not in LOSSES:
        raise ValueError(f"loss is {arm.loss!r}: it must be one of {', '.join(LOSSES)}")
    distill, hyper = LOSSES[arm.loss], arm.get("options", ConfigDict()).to_dict()

    def loss(params: Any, teacher_params: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, dict]:
        logits, soft = net.apply(params, batch["image"]), teacher.apply(teacher_params, batch["image"])
        value = arm.weight * distill(logits, soft, batch["label"], **hyper).mean()
        if arm.ce_weight:
            value += arm.ce_weight * cross_entropy(logits, batch["label"]).mean()
        metrics = {"accuracy": accuracy(logits, batch["label"])}
        if arm.loss == "pld":
            metrics["first_weight"] = distillation.pld_first_weight(soft, batch["label"], **hyper).mean()
        return value, metrics

    return gradient_learner(
        initial_params(net, splits),
        loss,
        make_optimizer(arm, steps),
        freeze=lambda context: context["teacher"],
    )

"""Train small students from a larger teacher: one arm per distillation loss, on one or several image tasks.

A task gives a data set, a teacher and a student. The teacher is trained once per seed on the labels and then frozen;
every arm trains the same student, from the same initial parameters, on the same batches in the same order. An arm's
`objective` says what it learns from (see `_students.py`): "logits", which it is when nothing is said, is
`ce_weight * cross-entropy + weight * distillation loss`; "dual_head" keeps the two apart; "features" adds a loss
on what the classifier reads. Every arm has its own learning rate.
"""

import functools

from ml_collections import ConfigDict

from experiments.distillation._image_tasks import batches, count_classes, load_splits, make_net, teacher_arm
from experiments.distillation._students import STUDENTS, Task, class_means_arm
from jaxlab import data
from jaxlab.core import InputError
from jaxlab.training import Arm, Claim, Experiment


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per task of the config.

    Args:
      config: see configs/distillation/pld.py for the keys, dhkd.py and nd_loss.py for those of other objectives.
      download: allow data sets to be fetched.
    """
    return {name: _experiment(task, config, download) for name, task in config.tasks.items()}


def _experiment(spec: ConfigDict, config: ConfigDict, download: bool) -> Experiment:
    splits = load_splits(spec.data, download)
    if not config.test:
        del splits["test"]
    task = _task(spec, splits)
    methods = {name: functools.partial(student, task) for name, student in STUDENTS.items()}
    for arm in spec.arms.values():
        if _objective(arm) not in methods:
            raise InputError(f"objective is {_objective(arm)!r}: it must be one of {', '.join(methods)}")
    return Experiment(
        data=splits,
        draw=batches(config, splits),
        prepare=_stages(spec, task),
        arms={
            name: Arm(methods[_objective(arm)], arm.to_dict(), task.steps) for name, arm in spec.arms.items()
        },
        claims=tuple(Claim(**claim) for claim in config.claims),
    )


def _task(spec: ConfigDict, splits: dict[str, data.Images]) -> Task:
    classes = count_classes(splits)
    return Task(
        student=make_net(spec.student, classes),
        teacher=make_net(spec.teacher, classes),
        steps=spec.student.steps,
        classes=classes,
        splits=splits,
    )


def _stages(spec: ConfigDict, task: Task) -> dict[str, Arm]:
    """The teacher; also its class means where an arm learns from features."""
    stages = {"teacher": teacher_arm(task.teacher, spec.teacher, task.splits)}
    if any(_objective(arm) == "features" for arm in spec.arms.values()):
        stages["means"] = class_means_arm(task)
    return stages


def _objective(arm: ConfigDict) -> str:
    return arm.get("objective", "logits")

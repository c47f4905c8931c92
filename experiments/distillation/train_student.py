"""Train small students from a larger teacher: one arm per distillation loss, on one or several image tasks.

A task gives a data set, of which every seed has its own draw, a teacher and a student. The teacher is trained once per
seed on the labels and then frozen; every arm trains the same student, from the same initial parameters, on the same
batches in the same order. An arm's `method` says what it learns from (see `_students.py`): the name of a loss on logits
is `ce_weight * cross-entropy + weight * loss`, and so is one of the user's, `module:function` of `(student_logits,
teacher_logits, labels, **options)`; "dual_head" keeps the two apart; "features" adds a loss on what the
classifier reads. Every arm has its own learning rate.
"""

import functools

from ml_collections import ConfigDict

from experiments.distillation._classifiers import batches, make_task, reported, teacher_arm
from experiments.distillation._students import METHODS, STAGES, logits_student
from experiments.parts.arms import make_arms
from experiments.parts.checks import is_own, own
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.images import seeded_images
from jaxlab.training import Experiment

AGREEMENT = ("train/classifier_agreement", "train/body_agreement")  # of the gradients of two losses


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per task of the config.

    Args:
      config: see configs/distillation/pld.py for the keys, dhkd.py and nd_loss.py for those of other methods.
      download: allow data sets to be fetched.
    """
    return {name: _experiment(name, task, config, download) for name, task in config.tasks.items()}


def _experiment(name: str, spec: ConfigDict, config: ConfigDict, download: bool) -> Experiment:
    images = seeded_images(spec.data, download, batch_size=config.batch_size)
    task = make_task(spec, images)
    methods = {method: functools.partial(student, task) for method, student in METHODS.items()}
    theirs = {arm.method: own("method", arm.method) for arm in spec.arms.values() if is_own(arm.method)}
    methods |= {name: functools.partial(logits_student, name, task) for name in theirs}
    stages = {"teacher": teacher_arm(task.teacher, spec.teacher, images)}
    for arm in spec.arms.values():
        stages |= {stage: make(task) for stage, make in STAGES.get(arm.method, {}).items()}
    return Experiment(
        data=reported(images.splits, config),
        draw=batches(config, images),
        prepare=stages,
        arms=make_arms(spec.arms, methods, task.steps),
        claims=claims_of(config, name),
        summarise=late_change("val/accuracy", means=AGREEMENT),
        resplit=images.resplit,
    )

"""Classify images or clips from few labels: one arm per way of using the examples without a label.

Every arm trains the same net, from the same parameters, on the same few labels and the same unlabelled batches, for
the same number of steps. Every seed has its own examples and its own few labels. Every arm keeps a moving average of
its parameters and is scored by that average, so that averaging alone favours nobody; an arm with `teacher = "ema"` also
takes its targets from it, one with `"self"` takes them from the student itself.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.parts.arms import make_arms, methods_of
from experiments.parts.checks import check_arms, check_counts, choose
from experiments.parts.chunks import in_chunks
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.images import SEEDED
from experiments.parts.optimizers import adamw
from experiments.parts.splits import draw_both
from experiments.parts.tasks import of_tasks
from experiments.semi_supervised._classification_tasks import Task, image_task
from experiments.semi_supervised._clip_task import PERTURBATIONS, clip_task
from experiments.semi_supervised._few_labels_loss import METHODS, RAMPS, Method, few_labels_loss
from experiments.semi_supervised._predictions import answers, predictions
from jaxlab import semi_supervised as semi
from jaxlab.core import InputError, Learner
from jaxlab.training import Experiment

TASKS: dict[str, Callable[[ConfigDict, bool], Task]] = {
    **dict.fromkeys(SEEDED, image_task),
    "clips": clip_task,
}
CHOICES = {
    "labels": ("few", "all"),
    "teacher": ("ema", "self"),
    "method": METHODS,
    "student_view": ("weak", "strong"),
    "perturb": PERTURBATIONS,
    "ramp": RAMPS,
    "mix_on": ("probs", "logits"),
}


def build(config: ConfigDict, *, download: bool = False) -> Experiment | dict[str, Experiment]:
    """The comparison that configs/semi_supervised/mean_teacher.py or sefar.py describes.

    Args:
      config: see those two for the keys.
      download: allow data sets to be fetched.
    """
    return of_tasks(config, lambda task: _experiment(task, download))


def _experiment(config: ConfigDict, download: bool) -> Experiment:
    _check(config)
    task = choose("data.source", config.data.source, TASKS)(config, download)
    methods = methods_of(
        METHODS, config.arms, lambda method: functools.partial(_learner, method, task, config)
    )
    for arm in config.arms.values():
        methods[arm.method](arm)  # settings that contradict each other are found now
    sizes = {"labelled": config.labelled_batch, "unlabelled": config.unlabelled_batch}
    return Experiment(
        data={name: split for name, split in task.splits.items() if name != "test" or config.test},
        draw=lambda train, key: draw_both(train, jax.random.split(key), **sizes),
        arms=make_arms(config.arms, methods, config.steps, static=("warm_up",)),
        evaluate=_evaluate(task, config.eval_chunk),
        claims=claims_of(config),
        examples=predictions(task),
        summarise=late_change("val/accuracy", means=("train/pseudo_coverage", "train/pseudo_accuracy")),
        resplit=task.resplit,
    )


def _check(config: ConfigDict) -> None:
    check_counts(config, "steps", "labels_per_class", "labelled_batch", "unlabelled_batch")
    check_arms(config.arms, CHOICES)
    for name, arm in config.arms.items():
        if arm.labels == "all" and config.labelled_batch > config.unlabelled_batch:
            raise InputError(
                f"arm {name}: labelled_batch is {config.labelled_batch}: with all labels it is a part of the "
                f"batch of {config.unlabelled_batch}"
            )


def _learner(method: Method, task: Task, config: ConfigDict, arm: Any) -> Learner:
    if arm.mix_weight is not None and task.mix is None:
        raise InputError(f"mix_weight is {arm.mix_weight}: images are not mixed, it must be None")

    def init(key: jax.Array, context: Any) -> tuple[Any, Any]:
        return task.init(key), method.thresholds(task.rows, task.num_classes)

    warm_up = round(arm.warm_up * config.steps)
    loss = few_labels_loss(method, task, config, arm, warm_up)
    optimizer = adamw(arm, config.steps)
    return semi.mean_teacher_learner(init, loss, optimizer, decay=config.ema_decay, warm_up=warm_up)


def _evaluate(task: Task, chunk: int) -> Callable[[Any, Any, Any], dict[str, jax.Array]]:
    def predict(state: Any, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        return answers(task, state.memory.teacher.value, inputs), answers(task, state.params, inputs)

    def evaluate(state: Any, split: Any, context: Any) -> dict[str, jax.Array]:
        inputs, label = split["input"], split["label"]
        guess, own_guess = in_chunks(lambda part: predict(state, part), inputs, chunk)
        own, right = label[:, None] == jnp.arange(task.num_classes), guess == label
        recall = (own & right[:, None]).sum(0) / jnp.maximum(own.sum(0), 1)
        return {
            "accuracy": right.mean(),
            "student_accuracy": jnp.mean(own_guess == label),
            "worst_recall": recall.min(),
        }

    return evaluate

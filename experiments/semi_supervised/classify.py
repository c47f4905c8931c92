"""Classify images or clips from few labels: one arm per way of using the examples without a label.

Every arm trains the same net, from the same parameters, on the same few labels and the same unlabelled batches, for
the same number of steps. Which examples are labelled depends on the seed. Every arm keeps a moving average of its
parameters and is scored by that average, so that averaging alone favours nobody; an arm with `teacher = "ema"` also
takes its targets from it, one with `"self"` takes them from the student itself.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from experiments._schedule import cosine_decay
from experiments.semi_supervised._classification_tasks import PERTURBATIONS, TASKS, Task
from experiments.semi_supervised._few_labels_loss import few_labels_loss
from experiments.semi_supervised._predictions import answers, predictions
from jaxlab import data
from jaxlab import semi_supervised as semi
from jaxlab.core import InputError, Learner
from jaxlab.training import Arm, Claim, Experiment

CHOICES = {
    "labels": ("few", "all"),
    "teacher": ("ema", "self"),
    "target": ("none", "mse", "fixed", "curriculum", "adaptive", "regulated"),
    "student_view": ("weak", "strong"),
    "perturb": PERTURBATIONS,
    "ramp": ("none", "sigmoid", "linear", "sine"),
}


def build(config: ConfigDict, *, download: bool = False) -> Experiment:
    """The comparison that configs/semi_supervised/mean_teacher.py or sefar.py describes.

    Args:
      config: see those two for the keys.
      download: unused, nothing is fetched.
    """
    _check(config)
    task = TASKS[config.data.source](config)
    method = functools.partial(_learner, task, config, _label_pool(task, config))
    for arm in config.arms.values():
        method(arm)  # settings that contradict each other are found now
    return Experiment(
        data={name: split for name, split in task.splits.items() if name != "test" or config.test},
        draw=lambda train, key: data.draw(train, key, batch_size=config.unlabelled_batch),
        arms={
            name: Arm(method, arm.to_dict(), config.steps, static=("warm_up",))
            for name, arm in config.arms.items()
        },
        evaluate=_evaluate(task, config.eval_chunk),
        claims=tuple(Claim(**claim) for claim in config.claims),
        examples=predictions(task),
    )


def _check(config: ConfigDict) -> None:
    if config.data.source not in TASKS:
        raise InputError(f"data.source is {config.data.source!r}: it must be one of {', '.join(TASKS)}")
    for name in ("steps", "labels_per_class", "labelled_batch", "unlabelled_batch"):
        if config[name] < 1:
            raise InputError(f"{name} is {config[name]}: it must be at least 1")
    for name, arm in config.arms.items():
        for key, allowed in CHOICES.items():
            if arm[key] not in allowed:
                raise InputError(f"arm {name}: {key} is {arm[key]!r}: it must be one of {', '.join(allowed)}")
        if arm.labels == "all" and config.labelled_batch > config.unlabelled_batch:
            raise InputError(
                f"arm {name}: labelled_batch is {config.labelled_batch}: with all labels it is a part of the "
                f"batch of {config.unlabelled_batch}"
            )


def _label_pool(task: Task, config: ConfigDict) -> dict[str, np.ndarray]:
    """Examples that seeds choose their labels from: a part of the set, as it becomes a constant of the program."""
    train = task.splits["train"]
    counts = np.bincount(train["label"], minlength=task.num_classes)
    if counts.min() < config.labels_per_class:
        raise InputError(
            f"labels_per_class is {config.labels_per_class}: the rarest class has {counts.min()} examples"
        )
    kept = data.few_labels(
        jax.random.key(config.data.split_seed),
        train["label"],
        num_classes=task.num_classes,
        per_class=max(config.label_pool, config.labels_per_class),
    )
    return jax.tree.map(np.asarray, data.take(train, np.flatnonzero(kept)))


def _learner(task: Task, config: ConfigDict, pool: dict[str, np.ndarray], arm: Any) -> Learner:
    if arm.mix_weight is not None and task.mix is None:
        raise InputError(f"mix_weight is {arm.mix_weight}: images are not mixed, it must be None")

    classes, count = task.num_classes, config.labels_per_class

    def init(key: jax.Array, context: Any) -> tuple[Any, Any]:
        params_key, label_key = jax.random.split(key)
        chosen = data.few_labels(label_key, pool["label"], num_classes=classes, per_class=count)
        labelled, thresholds = data.take(pool, jnp.flatnonzero(chosen, size=classes * count)), {}
        if arm.target == "curriculum":
            thresholds = semi.curriculum_init(len(task.splits["train"]["label"]))
        elif arm.target == "adaptive":
            thresholds = semi.adaptive_init(classes)
        return task.init(params_key), {"labelled": labelled, "thresholds": thresholds}

    warm_up = round(arm.warm_up * config.steps)
    optimizer = optax.adamw(cosine_decay(arm.learning_rate, config.steps), weight_decay=arm.weight_decay)
    return semi.mean_teacher_learner(
        init, few_labels_loss(task, config, arm, warm_up), optimizer, decay=config.ema_decay, warm_up=warm_up
    )


def _evaluate(task: Task, chunk: int) -> Callable[[Any, Any, Any], dict[str, jax.Array]]:
    def predict(state: Any, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        return answers(task, state.memory.teacher.value, inputs), answers(task, state.params, inputs)

    def evaluate(state: Any, split: Any, context: Any) -> dict[str, jax.Array]:
        inputs, label = split["input"], split["label"]
        if 0 < chunk < len(label):
            one = lambda one: jax.tree.map(lambda x: x[0], predict(state, one[None]))
            guess, own_guess = jax.lax.map(one, inputs, batch_size=chunk)
        else:
            guess, own_guess = predict(state, inputs)
        own, right = label[:, None] == jnp.arange(task.num_classes), guess == label
        recall = (own & right[:, None]).sum(0) / jnp.maximum(own.sum(0), 1)
        return {
            "accuracy": right.mean(),
            "student_accuracy": jnp.mean(own_guess == label),
            "worst_recall": recall.min(),
        }

    return evaluate

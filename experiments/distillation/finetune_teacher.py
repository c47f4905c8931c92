"""Fine-tune a teacher before it teaches: one arm per way, for students that see all images, few, or not every class.

The teacher is trained once per seed on all labels. Copies of it are then fine-tuned side by side, each on its own
`cross-entropy - mcmi * conditional information - entropy * entropy`, for the same steps on the same batches. An arm
distils one of them, possibly at the temperature that makes it as unsure on average as another. All students of a task
begin alike and see the same images in the same order; which few images, and which class is kept from them, depends on
the seed.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.distillation._classifiers import (
    Evaluate,
    Task,
    answers,
    batches,
    evaluate_logits,
    initial_params,
    make_task,
    reported,
    scores,
    teacher_arm,
)
from experiments.distillation._finetuned_teachers import (
    evaluate_teachers,
    finetune,
    finetuned_lessons,
    lessons,
)
from experiments.parts.checks import check_arms, check_between
from experiments.parts.claims import claims_of
from experiments.parts.history import late_change
from experiments.parts.images import SeededImages, seeded_images
from experiments.parts.optimizers import adamw
from jaxlab import data, distillation
from jaxlab.core import InputError, Learner, computed, cross_entropy, entropy, gradient_learner, masked_mean
from jaxlab.distillation import mcmi
from jaxlab.metrics import accuracy
from jaxlab.training import Arm, Experiment, PerSeed


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per task of the config.

    Args:
      config: see configs/distillation/mcmi.py for the keys.
      download: allow data sets to be fetched.
    """
    return {name: _experiment(name, spec, config, download) for name, spec in config.tasks.items()}


def _experiment(name: str, spec: ConfigDict, config: ConfigDict, download: bool) -> Experiment:
    images = seeded_images(spec.data, download)
    task = make_task(spec, images)
    _check(spec, images)
    tuned = Arm(
        finetune(task, spec),
        steps=spec.finetune.steps,
        evaluate=evaluate_teachers(task.teacher, tuple(spec.teachers)),
        export=lambda state: state.params,
    )
    method = functools.partial(_student, task, spec)
    splits, unmeasured = reported(images.splits, config), lambda state, split, context: {}
    return Experiment(
        data=splits | {"train": {"images": splits["train"], "few": _few(images, spec.images_per_class)}},
        draw=_draw(config, images, spec.images_per_class),
        prepare={
            "teacher": teacher_arm(task.teacher, spec.teacher, images),
            "lessons": Arm(computed(lessons(task.teacher)), evaluate=unmeasured),
            "finetuned": tuned,
            "finetuned_lessons": Arm(computed(finetuned_lessons(task.teacher)), evaluate=unmeasured),
        },
        arms={arm: Arm(method, own.to_dict(), task.steps) for arm, own in spec.arms.items()},
        evaluate=_evaluate(task.student, spec),
        claims=claims_of(config, name),
        summarise=late_change("val/accuracy"),
        resplit=images.resplit,
    )


def _few(images: SeededImages, per_class: int) -> PerSeed:
    """The rows of a seed's few training images, none where its students see all."""

    def rows(key: jax.Array) -> jax.Array:
        if not per_class:
            return jnp.zeros(0, jnp.int32)
        label, count = images.splits["train"].make(key).label, images.num_classes
        chosen = data.few_labels(jax.random.fold_in(key, 1), label, num_classes=count, per_class=per_class)
        return jnp.flatnonzero(chosen, size=count * per_class)

    return PerSeed(rows)


def _draw(config: ConfigDict, images: SeededImages, per_class: int) -> Callable[[Any, jax.Array], Any]:
    """Batches of all images, for teachers, and of those that students see; `index` is the row of an image."""
    random = batches(config, images)

    def draw(train: Any, key: jax.Array) -> dict[str, Any]:
        batch = random(train["images"], key)
        if not per_class:
            return batch | {"shown": batch}
        row = data.draw({"row": train["few"]}, key, batch_size=config.batch_size)["row"]
        return batch | {"shown": data.take(train["images"], row)._asdict() | {"index": row}}

    return draw


def _check(spec: ConfigDict, images: SeededImages) -> None:
    check_arms(spec.arms, {"teacher": ("none", "plain", *spec.teachers)})
    for name, arm in spec.arms.items():
        if arm.match not in ("", *spec.teachers) or (arm.match and arm.teacher == "none"):
            raise InputError(
                f"arm {name}: match is {arm.match!r}: it must be empty or, with a teacher, one of "
                f"{', '.join(spec.teachers)}"
            )
    # Classes are as often as each other to within one, or drawn: half of an even share is there in any draw.
    most = images.rows // (2 * images.num_classes)
    check_between("images_per_class", spec.images_per_class, most, "half of an even share", least=0)


def _student(task: Task, spec: ConfigDict, settings: Any) -> Learner:
    """The class that is kept from a seed's student, and the temperature of its teacher, are in the memory."""
    net, names = task.student, tuple(spec.teachers)
    begin = initial_params(net, task.images)

    def answers_of(teacher: str, context: Any) -> jax.Array:
        """Logits `[N, C]` on all training images."""
        plain = context["lessons"]["logits"]
        if teacher == "none":
            return jnp.zeros_like(plain)
        return plain if teacher == "plain" else context["finetuned_lessons"][names.index(teacher)]

    def init(key: jax.Array, context: Any) -> tuple[Any, dict[str, jax.Array]]:
        count = task.images.num_classes
        chosen = jax.random.randint(jax.random.fold_in(key, 1), (), 0, count)
        omitted = chosen if spec.omit_class else jnp.int32(-1)
        memory = {"omitted": omitted, "temperature": jnp.float32(1.0)}
        if settings.match:
            own, other = (answers_of(name, context) for name in (settings.teacher, settings.match))
            memory["temperature"] = mcmi.matching_temperature(own, other)
        return begin(key), memory

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        batch = batch["shown"]
        lesson = answers_of(settings.teacher, context)[batch["index"]] / memory["temperature"]
        logits, label = net.apply(params, batch["image"]), batch["label"]
        value = settings.ce_weight * cross_entropy(logits, label)
        if settings.teacher != "none":
            value += settings.weight * distillation.kd_loss(logits, lesson, temperature=settings.temperature)
        shown = label != memory["omitted"]
        metrics = {
            "accuracy": accuracy(logits, label, where=shown),
            "teacher_entropy": masked_mean(entropy(lesson), where=shown),
        }
        return masked_mean(value, where=shown), (memory, metrics)

    return gradient_learner(init, loss, adamw(settings, task.steps))


def _evaluate(net: Any, spec: ConfigDict) -> Evaluate:
    """Accuracy and likelihood; where a class was kept from the student, its recall and that of the others."""

    def evaluate(state: Any, split: data.Images, context: Any) -> dict[str, jax.Array]:
        if not spec.omit_class:
            return evaluate_logits(net)(state, split, context)
        logits, omitted = answers(net, state.params, split.image), split.label == state.memory["omitted"]
        right = logits.argmax(-1) == split.label
        return scores(logits, split.label) | {
            "omitted_recall": masked_mean(right, where=omitted),
            "shown_accuracy": masked_mean(right, where=~omitted),
        }

    return evaluate

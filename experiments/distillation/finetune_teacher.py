"""Fine-tune a teacher before it teaches: one arm per way, for students that see all images, few, or not every class.

The teacher is trained once per seed on all labels. Copies of it are then fine-tuned side by side, each on its own
`cross-entropy - mcmi * conditional information - entropy * entropy`, for the same steps on the same batches. An arm
distils one of them, possibly at the temperature that makes it as unsure on average as another. All students of a task
begin alike and see the same images in the same order; which few images, and which class is kept from them, depends on
the seed.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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
from experiments.parts.checks import check_arms, check_between
from experiments.parts.images import load_images
from experiments.parts.optimizers import adamw
from jaxlab import data, distillation
from jaxlab.core import InputError, Learner, cross_entropy, entropy, gradient_learner, masked_mean
from jaxlab.metrics import accuracy
from jaxlab.training import Arm, Claim, Experiment


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per task of the config.

    Args:
      config: see configs/distillation/mcmi.py for the keys.
      download: allow data sets to be fetched.
    """
    return {name: _experiment(name, spec, config, download) for name, spec in config.tasks.items()}


def _experiment(name: str, spec: ConfigDict, config: ConfigDict, download: bool) -> Experiment:
    splits = reported(load_images(spec.data, download), config)
    task = make_task(spec, splits)
    _check(spec, task)
    lessons = lambda params: answers(task.teacher, params, splits["train"].image)
    first = dataclasses.replace(
        teacher_arm(task.teacher, spec.teacher, splits),
        export=lambda state: {"params": state.params, "logits": lessons(state.params)},
    )
    tuned = Arm(
        _finetune(task.teacher, spec, splits),
        steps=spec.finetune.steps,
        evaluate=_evaluate_teachers(task.teacher, tuple(spec.teachers)),
        export=lambda state: jax.lax.map(lessons, state.params),
    )
    method = functools.partial(_student, task, spec, config)
    return Experiment(
        data=splits,
        draw=batches(config, splits),
        prepare={"teacher": first, "finetuned": tuned},
        arms={arm: Arm(method, own.to_dict(), task.steps) for arm, own in spec.arms.items()},
        evaluate=_evaluate(task.student, spec),
        claims=_claims(config, name),
    )


def _claims(config: ConfigDict, task: str) -> tuple[Claim, ...]:
    """The claims that are about this task."""
    own = [dict(claim) for claim in config.claims if task in claim["tasks"]]
    return tuple(Claim(**{key: value for key, value in claim.items() if key != "tasks"}) for claim in own)


def _check(spec: ConfigDict, task: Task) -> None:
    check_arms(spec.arms, {"teacher": ("none", "plain", *spec.teachers)})
    for name, arm in spec.arms.items():
        if arm.match not in ("", *spec.teachers) or (arm.match and arm.teacher == "none"):
            raise InputError(
                f"arm {name}: match is {arm.match!r}: it must be empty or, with a teacher, one of "
                f"{', '.join(spec.teachers)}"
            )
    rarest = np.bincount(np.asarray(task.splits["train"].label), minlength=task.classes).min()
    check_between(
        "images_per_class", spec.images_per_class, int(rarest), "images of the rarest class", least=0
    )


def _finetune(net: Any, spec: ConfigDict, splits: dict[str, data.Images]) -> Learner:
    """All copies at once, each with its own weights and, in the memory, its own centroids."""
    column = lambda key: jnp.array([copy[key] for copy in spec.teachers.values()])
    weights, bonuses, decays = column("mcmi"), column("entropy"), column("decay")

    def init(key: jax.Array, context: Any) -> tuple[Any, jax.Array]:
        first = context["teacher"]
        centroids = distillation.class_centroids(jax.nn.softmax(first["logits"]), splits["train"].label)
        one = first["params"], centroids
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (len(spec.teachers), *jnp.shape(x))), one)

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        image, label = batch["image"], batch["label"]

        def one(own: Any, centroids: jax.Array, weight: Any, bonus: Any, decay: Any) -> tuple[Any, Any]:
            logits = net.apply(own, image)
            value = distillation.mcmi_loss(logits, label, centroids, weight=weight) - bonus * entropy(logits)
            probs = jax.nn.softmax(logits)
            moved = distillation.ema_centroids(centroids, probs, label, decay=decay, min_count=1)
            return value.mean(), moved

        values, centroids = jax.vmap(one)(params, memory, weights, bonuses, decays)
        return values.sum(), (centroids, {"loss": values.mean()})

    return gradient_learner(init, loss, adamw(spec.finetune, spec.finetune.steps))


def _evaluate_teachers(net: Any, names: tuple[str, ...]) -> Evaluate:
    """Of every copy: accuracy, likelihood, mean entropy, and conditional information about these very images."""

    def one(params: Any, split: data.Images) -> dict[str, jax.Array]:
        logits = answers(net, params, split.image)
        centroids = distillation.class_centroids(jax.nn.softmax(logits), split.label)
        cmi = distillation.cmi_terms(logits, split.label, centroids).mean()
        return scores(logits, split.label) | {"entropy": entropy(logits).mean(), "cmi": cmi}

    def evaluate(state: Any, split: data.Images, context: Any) -> dict[str, jax.Array]:
        found = jax.lax.map(lambda params: one(params, split), state.params)
        return {f"{name}_{key}": value[n] for key, value in found.items() for n, name in enumerate(names)}

    return evaluate


def _student(task: Task, spec: ConfigDict, config: ConfigDict, settings: Any) -> Learner:
    """What depends on the seed, the class that is kept from it and the rows of its few images, is in the memory."""
    train, few, names = task.splits["train"], spec.images_per_class, tuple(spec.teachers)
    net, begin = task.student, initial_params(task.student, task.splits)

    def answers_of(teacher: str, context: Any) -> jax.Array:
        """Logits `[N, C]` on all training images."""
        plain = context["teacher"]["logits"]
        if teacher == "none":
            return jnp.zeros_like(plain)
        return plain if teacher == "plain" else context["finetuned"][names.index(teacher)]

    def init(key: jax.Array, context: Any) -> tuple[Any, dict[str, jax.Array]]:
        image_key, class_key = jax.random.split(jax.random.fold_in(key, 1))
        omitted = jax.random.randint(class_key, (), 0, task.classes) if spec.omit_class else jnp.int32(-1)
        memory = {"omitted": omitted, "temperature": jnp.float32(1.0)}
        if settings.match:
            own, other = (answers_of(name, context) for name in (settings.teacher, settings.match))
            memory["temperature"] = distillation.matching_temperature(own, other)
        if few:
            chosen = data.few_labels(image_key, train.label, num_classes=task.classes, per_class=few)
            memory["row"] = jnp.flatnonzero(chosen, size=task.classes * few)
        return begin(key), memory

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        if few:
            row = data.draw({"row": memory["row"]}, key, batch_size=config.batch_size)["row"]
            batch = data.take(train, row)._asdict() | {"index": row}
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

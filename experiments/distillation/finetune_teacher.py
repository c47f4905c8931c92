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

from experiments.distillation._answers import answers
from experiments.distillation._image_tasks import (
    Evaluate,
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
from jaxlab.core import InputError, Learner, cross_entropy, entropy, gradient_learner, masked_mean
from jaxlab.metrics import accuracy
from jaxlab.training import Arm, Claim, Experiment


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per task of the config.

    Args:
      config: see configs/distillation/mcmi.py for the keys.
      download: allow data sets to be fetched.
    """
    return {name: _experiment(name, task, config, download) for name, task in config.tasks.items()}


def _experiment(name: str, task: ConfigDict, config: ConfigDict, download: bool) -> Experiment:
    splits = load_splits(task.data, download)
    _check(task, splits)
    if not config.test:
        del splits["test"]
    classes = count_classes(splits)
    teacher, student = make_net(task.teacher, classes), make_net(task.student, classes)
    lessons = lambda params: answers(teacher, params, splits["train"].image)
    first = dataclasses.replace(
        teacher_arm(teacher, task.teacher, splits),
        export=lambda state: {"params": state.params, "logits": lessons(state.params)},
    )
    tuned = Arm(
        _finetune(teacher, task, splits),
        steps=task.finetune.steps,
        evaluate=_evaluate_teachers(teacher, tuple(task.teachers)),
        export=lambda state: jax.lax.map(lessons, state.params),
    )
    method = functools.partial(_student, student, classes, task, config, splits)
    return Experiment(
        data=splits,
        draw=batches(config, splits),
        prepare={"teacher": first, "finetuned": tuned},
        arms={name: Arm(method, arm.to_dict(), task.student.steps) for name, arm in task.arms.items()},
        evaluate=_evaluate(student, task),
        claims=_claims(config, name),
    )


def _claims(config: ConfigDict, task: str) -> tuple[Claim, ...]:
    """The claims that are about this task."""
    own = [dict(claim) for claim in config.claims if task in claim["tasks"]]
    return tuple(Claim(**{key: value for key, value in claim.items() if key != "tasks"}) for claim in own)


def _check(task: ConfigDict, splits: dict[str, data.Images]) -> None:
    known = ("none", "plain", *task.teachers)
    for name, arm in task.arms.items():
        if arm.teacher not in known:
            raise InputError(f"arm {name}: teacher is {arm.teacher!r}: it must be one of {', '.join(known)}")
        if arm.match not in ("", *task.teachers) or (arm.match and arm.teacher == "none"):
            raise InputError(
                f"arm {name}: match is {arm.match!r}: it must be empty or, with a teacher, one of "
                f"{', '.join(task.teachers)}"
            )
    if task.images_per_class < 0:
        raise InputError(
            f"images_per_class is {task.images_per_class}: it must be at least 0, which takes all"
        )
    rarest = np.bincount(np.asarray(splits["train"].label), minlength=count_classes(splits)).min()
    if rarest < task.images_per_class:
        raise InputError(f"images_per_class is {task.images_per_class}: the rarest class has {rarest} images")


def _finetune(net: Any, task: ConfigDict, splits: dict[str, data.Images]) -> Learner:
    """All copies at once, each with its own weights and, in the memory, its own centroids."""
    column = lambda key: jnp.array([copy[key] for copy in task.teachers.values()])
    weights, bonuses, decays = column("mcmi"), column("entropy"), column("decay")

    def init(key: jax.Array, context: Any) -> tuple[Any, jax.Array]:
        first = context["teacher"]
        centroids = distillation.class_centroids(jax.nn.softmax(first["logits"]), splits["train"].label)
        one = first["params"], centroids
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (len(task.teachers), *jnp.shape(x))), one)

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

    return gradient_learner(init, loss, make_optimizer(task.finetune, task.finetune.steps))


def _evaluate_teachers(net: Any, names: tuple[str, ...]) -> Evaluate:
    """Of every copy: accuracy, likelihood, mean entropy, and conditional information about these very images."""

    def one(params: Any, split: data.Images) -> dict[str, jax.Array]:
        logits = answers(net, params, split.image)
        centroids = distillation.class_centroids(jax.nn.softmax(logits), split.label)
        return {
            "accuracy": jnp.mean(logits.argmax(-1) == split.label),
            "nll": cross_entropy(logits, split.label).mean(),
            "entropy": entropy(logits).mean(),
            "cmi": distillation.cmi_terms(logits, split.label, centroids).mean(),
        }

    def evaluate(state: Any, split: data.Images, context: Any) -> dict[str, jax.Array]:
        scores = jax.lax.map(lambda params: one(params, split), state.params)
        return {f"{name}_{key}": value[n] for key, value in scores.items() for n, name in enumerate(names)}

    return evaluate


def _student(
    net: Any, classes: int, task: ConfigDict, config: ConfigDict, splits: Any, settings: Any
) -> Learner:
    """What depends on the seed, the class that is kept from it and the rows of its few images, is in the memory."""
    train, few, names = splits["train"], task.images_per_class, tuple(task.teachers)
    begin = initial_params(net, splits)

    def answers_of(teacher: str, context: Any) -> jax.Array:
        """Logits `[N, C]` on all training images."""
        plain = context["teacher"]["logits"]
        if teacher == "none":
            return jnp.zeros_like(plain)
        return plain if teacher == "plain" else context["finetuned"][names.index(teacher)]

    def init(key: jax.Array, context: Any) -> tuple[Any, dict[str, jax.Array]]:
        image_key, class_key = jax.random.split(jax.random.fold_in(key, 1))
        omitted = jax.random.randint(class_key, (), 0, classes) if task.omit_class else jnp.int32(-1)
        memory = {"omitted": omitted, "temperature": jnp.float32(1.0)}
        if settings.match:
            own, other = (answers_of(name, context) for name in (settings.teacher, settings.match))
            memory["temperature"] = distillation.matching_temperature(own, other)
        if few:
            chosen = data.few_labels(image_key, train.label, num_classes=classes, per_class=few)
            memory["row"] = jnp.flatnonzero(chosen, size=classes * few)
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

    return gradient_learner(init, loss, make_optimizer(settings, task.student.steps))


def _evaluate(net: Any, task: ConfigDict) -> Evaluate:
    """Accuracy and likelihood; where a class was kept from the student, its recall and that of the others."""
    scores = evaluate_logits(net)

    def evaluate(state: Any, split: data.Images, context: Any) -> dict[str, jax.Array]:
        if not task.omit_class:
            return scores(state, split, context)
        logits, omitted = answers(net, state.params, split.image), split.label == state.memory["omitted"]
        right = logits.argmax(-1) == split.label
        return {
            "accuracy": right.mean(),
            "nll": cross_entropy(logits, split.label).mean(),
            "omitted_recall": masked_mean(right, where=omitted),
            "shown_accuracy": masked_mean(right, where=~omitted),
        }

    return evaluate

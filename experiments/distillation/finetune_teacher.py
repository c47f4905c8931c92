"""Fine-tune a teacher before it teaches: one arm per way, for students that see all images, few, or not every class.

The teacher is trained once per seed on all labels. Copies of it are then fine-tuned side by side, each on its own
`cross-entropy - mcmi * conditional information - entropy * entropy`, for the same steps on the same batches. An arm
distils one of them, possibly at the temperature that makes it as unsure on average as another. All students of a task
begin alike and see the same images in the same order; which few images, and which class is kept from them, depends on
the seed.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from experiments.distillation._answers import answers
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
from jaxlab.core import Learner, accuracy, cross_entropy, entropy, gradient_learner, masked_mean
from jaxlab.training import Arm, Claim, Experiment


class Teachers(NamedTuple):
    """Copies of a teacher, leaves `[K, ...]`."""

    params: Any
    opt_state: Any
    centroids: jax.Array


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per task of the config.

    Args:
      config: see configs/distillation/mcmi.py for the keys.
      download: allow data sets to be fetched.
    """
    return {name: _experiment(name, task, config, download) for name, task in config.tasks.items()}


def _experiment(name: str, task: ConfigDict, config: ConfigDict, download: bool) -> Experiment:
    _check(task)
    splits = load_splits(task.data, download)
    if not config.test:
        del splits["test"]
    classes = count_classes(splits)
    teacher, student = make_net(task.teacher, classes), make_net(task.student, classes)
    score = _evaluate(student, classes, task)
    lessons = lambda params: answers(teacher, params, splits["train"].image)
    first = dataclasses.replace(
        teacher_arm(teacher, task.teacher, splits),
        export=lambda state: {"params": state.params, "logits": lessons(state.params)},
    )
    tuned = Arm(
        _finetune(teacher, task, splits),
        task.finetune.steps,
        _evaluate_teachers(teacher, tuple(task.teachers)),
        export=lambda state: jax.lax.map(lessons, state.params),
    )
    return Experiment(
        data=splits,
        draw=batches(config, splits),
        prepare={"teacher": first, "finetuned": tuned},
        arms={
            name: Arm(_student(student, arm, task, config, splits), task.student.steps)
            for name, arm in task.arms.items()
        },
        evaluate=score,
        claims=_claims(config, name),
    )


def _claims(config: ConfigDict, task: str) -> tuple[Claim, ...]:
    """The claims that are about this task."""
    own = [dict(claim) for claim in config.claims if task in claim["tasks"]]
    return tuple(Claim(**{key: value for key, value in claim.items() if key != "tasks"}) for claim in own)


def _check(task: ConfigDict) -> None:
    known = ("none", "plain", *task.teachers)
    for name, arm in task.arms.items():
        if arm.teacher not in known:
            raise ValueError(f"arm {name}: teacher is {arm.teacher!r}: it must be one of {', '.join(known)}")
        if arm.match not in ("", *task.teachers) or (arm.match and arm.teacher == "none"):
            raise ValueError(
                f"arm {name}: match is {arm.match!r}: it must be empty or, with a teacher, one of "
                f"{', '.join(task.teachers)}"
            )
    if task.images_per_class < 0:
        raise ValueError(
            f"images_per_class is {task.images_per_class}: it must be at least 0, which takes all"
        )


def _finetune(net: Any, task: ConfigDict, splits: dict[str, data.Images]) -> Learner:
    """All copies at once, each with its own weights and its own centroids."""
    optimizer = make_optimizer(task.finetune, task.finetune.steps)
    column = lambda key: jnp.array([copy[key] for copy in task.teachers.values()])
    weights, bonuses, decays = column("mcmi"), column("entropy"), column("decay")

    def init(key: jax.Array, context: Any) -> Teachers:
        first = context["teacher"]
        centroids = distillation.class_centroids(jax.nn.softmax(first["logits"]), splits["train"].label)
        one = Teachers(first["params"], optimizer.init(first["params"]), centroids)
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (len(task.teachers), *jnp.shape(x))), one)

    def step(
        own: Teachers, weight: jax.Array, bonus: jax.Array, decay: jax.Array, batch: Any
    ) -> tuple[Teachers, dict]:
        image, label = batch["image"], batch["label"]

        def loss(params: Any) -> tuple[jax.Array, jax.Array]:
            logits = net.apply(params, image)
            value = distillation.mcmi_loss(logits, label, own.centroids, weight=weight) - bonus * entropy(
                logits
            )
            return value.mean(), logits

        (value, logits), grads = jax.value_and_grad(loss, has_aux=True)(own.params)
        updates, opt_state = optimizer.update(grads, own.opt_state, own.params)
        probs = jax.nn.softmax(logits)
        centroids = distillation.ema_centroids(own.centroids, probs, label, decay=decay, min_count=1)
        return Teachers(optax.apply_updates(own.params, updates), opt_state, centroids), {"loss": value}

    def update(state: Teachers, batch: Any, key: jax.Array) -> tuple[Teachers, dict]:
        state, metrics = jax.vmap(step, in_axes=(0, 0, 0, 0, None))(state, weights, bonuses, decays, batch)
        return state, jax.tree.map(jnp.mean, metrics)

    return Learner(init, update)


def _evaluate_teachers(net: Any, names: tuple[str, ...]) -> Callable[[Teachers, data.Images], dict]:
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

    def evaluate(state: Teachers, split: data.Images) -> dict[str, jax.Array]:
        scores = jax.lax.map(lambda params: one(params, split), state.params)
        return {f"{name}_{key}": value[n] for key, value in scores.items() for n, name in enumerate(names)}

    return evaluate


def _lessons(arm: ConfigDict, names: tuple[str, ...], context: Any) -> jax.Array:
    """The logits `[N, C]` of the arm's teacher on all training images."""
    of = {"plain": context["teacher"]["logits"]} | dict(zip(names, context["finetuned"]))
    if arm.teacher == "none":
        return jnp.zeros_like(of["plain"])
    logits = of[arm.teacher]
    return logits / distillation.matching_temperature(logits, of[arm.match]) if arm.match else logits


def _student(
    net: Any, arm: ConfigDict, task: ConfigDict, config: ConfigDict, splits: dict[str, data.Images]
) -> Learner:
    train, classes, few = splits["train"], count_classes(splits), task.images_per_class
    counts = np.bincount(np.asarray(train.label), minlength=classes)
    if counts.min() < few:
        raise ValueError(f"images_per_class is {few}: the rarest class has {counts.min()} images")

    def loss(params: Any, frozen: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, dict]:
        if few:
            batch = data.draw(frozen["images"], key, batch_size=config.batch_size)
            lesson = batch["lesson"]
        else:
            lesson = frozen["lessons"][batch["index"]]
        logits, label = net.apply(params, batch["image"]), batch["label"]
        value = arm.ce_weight * cross_entropy(logits, label)
        if arm.teacher != "none":
            value += arm.weight * distillation.kd_loss(logits, lesson, temperature=arm.temperature)
        shown = label != frozen["omitted"]
        return masked_mean(value, where=shown), {
            "accuracy": accuracy(logits, label, where=shown),
            "teacher_entropy": masked_mean(entropy(lesson), where=shown),
        }

    learner = gradient_learner(initial_params(net, splits), loss, make_optimizer(arm, task.student.steps))

    def init(key: jax.Array, context: Any) -> Any:
        lessons = _lessons(arm, tuple(task.teachers), context)
        image_key, class_key = jax.random.split(jax.random.fold_in(key, 1))
        omitted = jax.random.randint(class_key, (), 0, classes) if task.omit_class else jnp.int32(-1)
        frozen = {"omitted": omitted}
        if few:
            chosen = data.few_labels(image_key, train.label, num_classes=classes, per_class=few)
            images = train._asdict() | {"lesson": lessons}
            frozen["images"] = data.take(images, jnp.flatnonzero(chosen, size=classes * few))
        else:
            frozen["lessons"] = lessons
        return learner.init(key, context)._replace(frozen=frozen)

    return Learner(init, learner.update)


def _evaluate(net: Any, classes: int, task: ConfigDict) -> Callable[[Any, data.Images], dict[str, jax.Array]]:
    """Accuracy and likelihood; where a class was kept from the student, its recall and that of the others."""
    scores = evaluate_logits(net)

    def evaluate(state: Any, split: data.Images) -> dict[str, jax.Array]:
        if not task.omit_class:
            return scores(state, split)
        logits, omitted = answers(net, state.params, split.image), split.label == state.frozen["omitted"]
        right = logits.argmax(-1) == split.label
        return {
            "accuracy": right.mean(),
            "nll": cross_entropy(logits, split.label).mean(),
            "omitted_recall": masked_mean(right, where=omitted),
            "shown_accuracy": masked_mean(right, where=~omitted),
        }

    return evaluate

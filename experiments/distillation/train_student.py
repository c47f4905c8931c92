"""Train small students from a larger teacher: one arm per distillation loss, on one or several image tasks.

A task gives a data set, a teacher and a student. The teacher is trained once per seed on the labels and then frozen;
every arm trains the same student, from the same initial parameters, on the same batches in the same order. An arm is
`ce_weight * cross-entropy + weight * distillation loss` with its own learning rate.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from jaxlab import data, distillation, nets
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

NETS: dict[str, Callable] = {
    "mlp": nets.Mlp,
    "convnet": nets.ConvNet,
    "resnet": nets.ResNet,
}


def build(config: ConfigDict, *, download: bool = False) -> dict[str, Experiment]:
    """One experiment per task of the config.

    Args:
      config: see configs/distillation/pld.py for the keys.
      download: allow data sets to be fetched.
    """
    return {name: _experiment(task, config, download) for name, task in config.tasks.items()}


def _experiment(task: ConfigDict, config: ConfigDict, download: bool) -> Experiment:
    splits = _splits(task.data, download)
    if not config.test:
        del splits["test"]
    rows, classes = len(splits["train"].label), int(max(s.label.max() for s in splits.values())) + 1
    if not 1 <= config.batch_size <= rows:
        raise ValueError(
            f"batch_size is {config.batch_size}: it must be between 1 and the {rows} training examples"
        )
    teacher, student = _net(task.teacher, classes), _net(task.student, classes)
    return Experiment(
        data=splits,
        draw=_draw(config),
        prepare={"teacher": _teacher(teacher, task.teacher, splits)},
        arms={
            name: Arm(
                _student(student, teacher, arm, task.student.steps, splits),
                task.student.steps,
                _evaluate(student),
            )
            for name, arm in task.arms.items()
        },
        evaluate=_evaluate(student),
        claims=tuple(Claim(**claim) for claim in config.claims),
    )


def _splits(spec: ConfigDict, download: bool) -> dict[str, data.Images]:
    if spec.source == "digits":
        return data.split_images(data.digits(), seed=spec.split_seed)
    if spec.source == "fashion_mnist":
        path = spec.path or None
        train = data.split_images(
            data.fashion_mnist(path, split="train", download=download),
            seed=spec.split_seed,
            fractions=spec.fractions,
        )
        return {"train": train["train"], "val": train["val"], "test": data.fashion_mnist(path, split="test")}
    if spec.source == "npz":
        own = data.images_from_npz(spec.path)
        kept = data.split_images(
            own["train"], seed=spec.split_seed, fractions=(1 - spec.val_fraction, spec.val_fraction, 0)
        )
        return {"train": kept["train"], "val": kept["val"], "test": own["test"]}
    if spec.source == "hierarchy":
        return _hierarchy(spec)
    raise ValueError(f"source is {spec.source!r}: it must be digits, fashion_mnist, hierarchy or npz")


def _draw(config: ConfigDict) -> Callable[[Any, jax.Array], Any]:
    """Teacher and student see the same view of an image."""
    if config.augment not in ("none", "crop_flip"):
        raise ValueError(f"augment is {config.augment!r}: it must be none or crop_flip")

    def draw(train: data.Images, key: jax.Array) -> dict[str, jax.Array]:
        batch = data.draw(train, key, batch_size=config.batch_size)
        if config.augment == "crop_flip":
            batch["image"] = data.crop_flip(batch["image"], jax.random.fold_in(key, 1))
        return batch

    return draw


def _hierarchy(spec: ConfigDict) -> dict[str, data.Images]:
    """The task is one draw of class prototypes; the splits are independent examples of it."""
    task = jax.random.key(spec.split_seed)
    sizes = {"train": spec.train, "val": spec.val, "test": spec.test}
    make = jax.jit(
        lambda key, count: data.image_hierarchy(
            task, key, count, num_superclasses=spec.superclasses, classes_per_superclass=spec.classes_per_superclass,
            size=spec.size, difficulty=spec.difficulty,
        ),
        static_argnums=1,
    )  # fmt: skip
    return {
        name: make(jax.random.fold_in(task, number), sizes[name])
        for number, name in enumerate(sizes, start=1)
    }


def _net(spec: ConfigDict, classes: int) -> Any:
    if spec.net not in NETS:
        raise ValueError(f"net is {spec.net!r}: it must be one of {', '.join(NETS)}")
    return NETS[spec.net](num_classes=classes, **spec.get("options", ConfigDict()).to_dict())


def _optimizer(spec: ConfigDict, steps: int) -> optax.GradientTransformation:
    if steps < 1:
        raise ValueError(f"steps is {steps}: an arm needs at least 1")
    schedule = optax.cosine_decay_schedule(spec.learning_rate, steps)
    return optax.adamw(schedule, weight_decay=spec.weight_decay)


def _init(net: Any, splits: dict[str, data.Images]) -> Callable[[jax.Array], Any]:
    example = jax.tree.map(lambda x: x[:1], splits["train"].image)
    return lambda key: net.init(key, example)


def _teacher(net: Any, spec: ConfigDict, splits: dict[str, data.Images]) -> Arm:
    def loss(params: Any, frozen: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, dict]:
        logits = net.apply(params, batch["image"])
        return cross_entropy(logits, batch["label"]).mean(), {"accuracy": accuracy(logits, batch["label"])}

    learner = gradient_learner(_init(net, splits), loss, _optimizer(spec, spec.steps))
    return Arm(learner, spec.steps, _evaluate(net), export=lambda state: state.params)


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
        _init(net, splits), loss, _optimizer(arm, steps), freeze=lambda context: context["teacher"]
    )


def _evaluate(net: Any) -> Callable[[Any, data.Images], dict[str, jax.Array]]:
    def evaluate(state: Any, split: data.Images) -> dict[str, jax.Array]:
        logits = jax.lax.map(
            lambda image: net.apply(state.params, image[None])[0], split.image, batch_size=512
        )
        return {
            "accuracy": jnp.mean(logits.argmax(-1) == split.label),
            "nll": cross_entropy(logits, split.label).mean(),
        }

    return evaluate

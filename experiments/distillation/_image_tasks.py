"""Image tasks that the distillation drivers share: splits, batches, nets, the teacher and the evaluation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from experiments._schedule import cosine_decay
from jaxlab import data, nets
from jaxlab.core import InputError, cross_entropy, gradient_learner
from jaxlab.metrics import accuracy
from jaxlab.training import Arm

Evaluate = Callable[[Any, data.Images, Any], dict[str, jax.Array]]

NETS: dict[str, Callable] = {
    "mlp": nets.Mlp,
    "convnet": nets.ConvNet,
    "resnet": nets.ResNet,
}


def load_splits(spec: ConfigDict, download: bool) -> dict[str, data.Images]:
    """The train, val and test images that `spec` names; `train_examples` keeps that many of the training images."""
    splits = _source(spec, download)
    kept = spec.get("train_examples", len(splits["train"].label))
    if not 1 <= kept <= len(splits["train"].label):
        raise InputError(
            f"train_examples is {kept}: it must be between 1 and the {len(splits['train'].label)} training images"
        )
    return splits | {"train": jax.tree.map(lambda x: x[:kept], splits["train"])}


def count_classes(splits: dict[str, data.Images]) -> int:
    """Number of classes, over all splits."""
    return int(max(split.label.max() for split in splits.values())) + 1


def _source(spec: ConfigDict, download: bool) -> dict[str, data.Images]:
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
    raise InputError(f"source is {spec.source!r}: it must be digits, fashion_mnist, hierarchy or npz")


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


def batches(config: ConfigDict, splits: dict[str, data.Images]) -> Callable[[Any, jax.Array], Any]:
    """Random batches of the training images; teacher and student see the same view of an image."""
    rows = len(splits["train"].label)
    if not 1 <= config.batch_size <= rows:
        raise InputError(
            f"batch_size is {config.batch_size}: it must be between 1 and the {rows} training examples"
        )
    if config.augment not in ("none", "crop_flip"):
        raise InputError(f"augment is {config.augment!r}: it must be none or crop_flip")

    def draw(train: data.Images, key: jax.Array) -> dict[str, jax.Array]:
        batch = data.draw(train, key, batch_size=config.batch_size)
        if config.augment == "crop_flip":
            batch["image"] = data.crop_flip(batch["image"], jax.random.fold_in(key, 1))
        return batch

    return draw


def make_net(spec: ConfigDict, classes: int) -> Any:
    """The net that `spec.net` names, with `spec.options`."""
    if spec.net not in NETS:
        raise InputError(f"net is {spec.net!r}: it must be one of {', '.join(NETS)}")
    return NETS[spec.net](num_classes=classes, **spec.get("options", ConfigDict()).to_dict())


def make_optimizer(spec: Any, steps: int) -> optax.GradientTransformation:
    """AdamW with cosine decay over `steps`; `spec` is a config or an arm's settings."""
    schedule = cosine_decay(spec.learning_rate, steps)
    return optax.adamw(schedule, weight_decay=spec.weight_decay)


def initial_params(net: Any, splits: dict[str, data.Images]) -> Callable[[jax.Array], Any]:
    """`key -> params` of a net that reads these images."""
    example = jax.tree.map(lambda x: x[:1], splits["train"].image)
    return lambda key: net.init(key, example)


def teacher_arm(net: Any, spec: ConfigDict, splits: dict[str, data.Images]) -> Arm:
    """Trains a teacher on the labels; what later stages get is its parameters."""

    begin = initial_params(net, splits)

    def loss(params: Any, memory: Any, batch: Any, step: Any, key: Any, context: Any) -> tuple[Any, tuple]:
        logits = net.apply(params, batch["image"])
        metrics = {"accuracy": accuracy(logits, batch["label"])}
        return cross_entropy(logits, batch["label"]).mean(), (memory, metrics)

    init = lambda key, context: (begin(key), None)
    learner = gradient_learner(init, loss, make_optimizer(spec, spec.steps))
    return Arm(learner, steps=spec.steps, evaluate=evaluate_logits(net), export=lambda state: state.params)


def evaluate_logits(net: Any) -> Evaluate:
    """Accuracy and negative log-likelihood of `state.params` on a split."""
    return evaluate_answers(lambda params, images: (net.apply(params, images), {}))


def evaluate_answers(
    answer: Callable[[Any, jax.Array], tuple[jax.Array, dict[str, jax.Array]]],
) -> Evaluate:
    """Accuracy, negative log-likelihood and the means of whatever else `answer` says of an image.

    `answer` is `(params, images) -> (logits [B, C], {name: [B]})`: which head speaks is its choice.
    """

    def evaluate(state: Any, split: data.Images, context: Any) -> dict[str, jax.Array]:
        one = lambda image: jax.tree.map(lambda x: x[0], answer(state.params, image[None]))
        logits, more = jax.lax.map(one, split.image, batch_size=512)
        return {
            "accuracy": jnp.mean(logits.argmax(-1) == split.label),
            "nll": cross_entropy(logits, split.label).mean(),
            **{name: values.mean() for name, values in more.items()},
        }

    return evaluate

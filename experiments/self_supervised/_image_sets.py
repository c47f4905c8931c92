"""Images without and with labels, of which every seed has a draw of its own, for the drivers of this family."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxlab import data
from jaxlab.training import PerSeed

Sets = tuple[dict[str, Any], int]


def load_sets(spec: ConfigDict, labels_per_class: int, download: bool) -> Sets:
    """Splits by name and the number of classes.

    "train" is `data.Images`; "val" and "test" are dicts of `train`, the same images, `few`, the rows of those that
    have a label, and `score`, the images to be judged by.
    """
    if spec.source not in SOURCES:
        raise ValueError(f"data.source is {spec.source!r}: it must be one of {', '.join(SOURCES)}")
    return SOURCES[spec.source](spec, labels_per_class, download)


def _factors(spec: ConfigDict, labels_per_class: int, download: bool) -> Sets:
    """Every seed has a world of its own, and in it images of its own."""
    if spec.label not in ("label", "shape", "texture"):
        raise ValueError(f"data.label is {spec.label!r}: it must be label, shape or texture")
    options = spec.options.to_dict()
    classes = {"shape": len(options["shapes"]), "texture": len(options["textures"])}
    classes["label"] = classes["shape"] * classes["texture"]

    def make(number: int, count: int) -> Callable[[jax.Array], data.Images]:
        def images(key: jax.Array) -> data.Images:
            made = data.factor_images(jax.random.fold_in(key, number), count, **options)
            return data.Images(made.image, getattr(made, spec.label))

        return images

    train = make(0, spec.train)
    few = lambda key: _few(key, train(key).label, classes[spec.label], labels_per_class)
    judged = lambda number, count: {
        "train": PerSeed(train), "few": PerSeed(few), "score": PerSeed(make(number, count))
    }  # fmt: skip
    splits = {"train": PerSeed(train), "val": judged(1, spec.val), "test": judged(2, spec.test)}
    return splits, classes[spec.label]


def _fashion_mnist(spec: ConfigDict, labels_per_class: int, download: bool) -> Sets:
    """Fashion-MNIST at 14 x 14 pixels: one test set, the few labels are a seed's own; `spec.part` of the rows is used.

    A search takes the part "tuning", a quarter of the training file, a comparison the part "rest".
    """
    if spec.part not in ("tuning", "rest"):
        raise ValueError(f"data.part is {spec.part!r}: it must be tuning or rest")
    halved = lambda images: data.Images(_halved(images.image), images.label)
    file = halved(data.fashion_mnist(spec.path or None, split="train", download=download))
    tuning, rest = data.split(
        len(file.label), seed=spec.split_seed, fractions=(0.25, 0.75), labels=file.label
    )
    rows = tuning if spec.part == "tuning" else rest
    kept = {"train": rows[: spec.train], "val": rows[spec.train : spec.train + spec.val]}
    if len(kept["val"]) < spec.val:
        raise ValueError(
            f"data.train and data.val are {spec.train} and {spec.val}: there are {len(rows)} images"
        )
    train, val = (data.take(file, kept[name]) for name in ("train", "val"))
    test = halved(data.fashion_mnist(spec.path or None, split="test"))
    few = PerSeed(lambda key: _few(key, train.label, 10, labels_per_class))
    judged = lambda score: {"train": train, "few": few, "score": score}
    return {"train": train, "val": judged(val), "test": judged(test)}, 10


SOURCES: dict[str, Callable[[ConfigDict, int, bool], Sets]] = {
    "factors": _factors,
    "fashion_mnist": _fashion_mnist,
}


def _few(key: jax.Array, label: jax.Array, classes: int, per_class: int) -> jax.Array:
    """Rows of equally many examples of every class."""
    chosen = data.few_labels(jax.random.fold_in(key, 3), label, num_classes=classes, per_class=per_class)
    return jnp.flatnonzero(chosen, size=classes * per_class)


def _halved(images: jax.Array) -> jax.Array:
    batch, height, width, channels = images.shape
    return images.reshape(batch, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))

"""Images without and with labels, of which every seed has its own few, for the drivers of this family."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxlab import data
from jaxlab.core import InputError
from jaxlab.core.check import check_least
from jaxlab.training import PerSeed


class Sets(NamedTuple):
    """A task.

    Attributes:
      splits: "train" is `data.Images`; "val" and "test" are dicts of `train`, the same images, `few`, the rows of those
        that have a label, and `score`, the images to be judged by.
      num_classes: C.
      shape: `(H, W, C)` of an image.
    """

    splits: dict[str, Any]
    num_classes: int
    shape: tuple[int, ...]


def load_sets(spec: ConfigDict, labels_per_class: int, download: bool) -> Sets:
    """The task that `spec` names."""
    if spec.source not in SOURCES:
        raise InputError(f"data.source is {spec.source!r}: it must be one of {', '.join(SOURCES)}")
    return SOURCES[spec.source](spec, labels_per_class, download)


def _factors(spec: ConfigDict, labels_per_class: int, download: bool) -> Sets:
    """Procedural images: every seed has a draw of all splits."""
    options = spec.options.to_dict()
    classes = {"shape": len(options["shapes"]), "texture": len(options["textures"])}
    if spec.label not in classes:
        raise InputError(f"data.label is {spec.label!r}: it must be one of {', '.join(classes)}")

    def make(number: int, count: int) -> Callable[[jax.Array], data.Images]:
        def images(key: jax.Array) -> data.Images:
            made = data.factor_images(jax.random.fold_in(key, number), count, **options)
            return data.Images(made.image, getattr(made, spec.label))

        return images

    train, count = make(0, spec.train), classes[spec.label]
    _check_few(labels_per_class, spec.train // (classes["shape"] * classes["texture"]))
    few = lambda key: _few(key, train(key).label, count, labels_per_class)
    splits = {"train": PerSeed(train)}
    for number, name in enumerate(("val", "test"), start=1):
        score = PerSeed(make(number, spec[name]))
        splits[name] = {"train": PerSeed(train), "few": PerSeed(few), "score": score}
    check_least("data.options.size", options["size"], 1)
    return Sets(splits, count, (options["size"], options["size"], 1))


def _fashion_mnist(spec: ConfigDict, labels_per_class: int, download: bool) -> Sets:
    """Fashion-MNIST at 14 x 14 pixels, in a frame of one."""
    path, small = spec.path or None, lambda images: data.Images(_framed_halves(images.image), images.label)
    file = small(data.fashion_mnist(path, split="train", download=download))
    return _of_files(file, small(data.fashion_mnist(path, split="test")), spec, labels_per_class)


def _npz(spec: ConfigDict, labels_per_class: int, download: bool) -> Sets:
    """Images of the user's."""
    own = data.images_from_npz(spec.path)
    return _of_files(own["train"], own["test"], spec, labels_per_class)


def _of_files(file: data.Images, test: data.Images, spec: ConfigDict, labels_per_class: int) -> Sets:
    """A quarter of the training file is for searches (`part` "tuning"), the rest for comparisons ("rest")."""
    if spec.part not in ("tuning", "rest"):
        raise InputError(f"data.part is {spec.part!r}: it must be tuning or rest")
    tuning, rest = data.split(
        len(file.label), seed=spec.split_seed, fractions=(0.25, 0.75), labels=file.label
    )
    rows = tuning if spec.part == "tuning" else rest
    if min(spec.train, spec.val) < 1 or spec.train + spec.val > len(rows):
        raise InputError(
            f"data.train and data.val are {spec.train} and {spec.val}: {spec.part} has {len(rows)} images"
        )
    train, val = data.take(file, rows[: spec.train]), data.take(file, rows[spec.train :][: spec.val])
    count = int(file.label.max()) + 1
    _check_few(labels_per_class, int(jnp.bincount(train.label, length=count).min()))
    few = PerSeed(lambda key: _few(key, train.label, count, labels_per_class))
    judged = lambda score: {"train": train, "few": few, "score": score}
    return Sets({"train": train, "val": judged(val), "test": judged(test)}, count, file.image.shape[1:])


SOURCES: dict[str, Callable[[ConfigDict, int, bool], Sets]] = {
    "factors": _factors,
    "fashion_mnist": _fashion_mnist,
    "npz": _npz,
}


def _few(key: jax.Array, label: jax.Array, num_classes: int, per_class: int) -> jax.Array:
    """Rows of equally many examples of every class."""
    chosen = data.few_labels(jax.random.fold_in(key, 3), label, num_classes=num_classes, per_class=per_class)
    return jnp.flatnonzero(chosen, size=num_classes * per_class)


def _check_few(labels_per_class: int, rarest: int) -> None:
    if not 1 <= labels_per_class <= rarest:
        raise InputError(
            f"labels_per_class is {labels_per_class}: it must be between 1 and the {rarest} images of the rarest class"
        )


def _framed_halves(images: jax.Array) -> jax.Array:
    """Means of 2 x 2 pixels, and a black frame: an even number of pixels, twice over."""
    batch, height, width, channels = images.shape
    halves = images.reshape(batch, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))
    return jnp.pad(halves, ((0, 0), (1, 1), (1, 1), (0, 0)))

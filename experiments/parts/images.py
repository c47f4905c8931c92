"""Image sets by the name of their source, cut into training, validation and test images."""

from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from experiments.parts.checks import check_between, choose
from experiments.parts.splits import independent
from jaxlab import data
from jaxlab.core import InputError

Splits = dict[str, data.Images]


def load_images(spec: ConfigDict, download: bool) -> Splits:
    """The train, val and test images that `spec` names; `train_examples` keeps that many of the training images."""
    splits = choose("data.source", spec.source, SOURCES)(spec, download)
    rows = len(splits["train"].label)
    kept = spec.get("train_examples", rows)
    check_between("train_examples", kept, rows, "training images")
    return splits | {"train": jax.tree.map(lambda x: x[:kept], splits["train"])}


def load_files(spec: ConfigDict, download: bool) -> Splits:
    """The images of a source that has a training and a test file."""
    return choose("data.source", spec.source, FILES)(spec, download)


def count_classes(splits: Splits) -> int:
    """Number of classes, over all splits."""
    return int(max(split.label.max() for split in splits.values())) + 1


def pooled(images: jax.Array, size: int) -> jax.Array:
    """Means of `size` x `size` pixels: smaller images are cheaper."""
    batch, height, width, channels = images.shape
    if size < 1 or height % size or width % size:
        raise InputError(f"data.pool is {size}: it must divide the {height} x {width} pixels")
    return images.reshape(batch, height // size, size, width // size, size, channels).mean(axis=(2, 4))


def _fashion_mnist(spec: ConfigDict, download: bool) -> Splits:
    path = spec.path or None
    train = data.fashion_mnist(path, split="train", download=download)
    return {"train": train, "test": data.fashion_mnist(path, split="test")}


FILES: dict[str, Callable[[ConfigDict, bool], Splits]] = {
    "fashion_mnist": _fashion_mnist,
    "npz": lambda spec, download: data.images_from_npz(spec.path),
}


def _digits(spec: ConfigDict, download: bool) -> Splits:
    own = {"fractions": tuple(spec.fractions)} if "fractions" in spec else {}
    return data.split_images(data.digits(), seed=spec.split_seed, **own)


def _files(spec: ConfigDict, download: bool) -> Splits:
    """Validation images are cut from the training file."""
    files = load_files(spec, download)
    share = spec.get("val_fraction")
    fractions = tuple(spec.fractions) if share is None else (1 - share, share, 0)
    kept = data.split_images(files["train"], seed=spec.split_seed, fractions=fractions)
    return {"train": kept["train"], "val": kept["val"], "test": files["test"]}


def _hierarchy(spec: ConfigDict, download: bool) -> Splits:
    """The task is one draw of class prototypes; the splits are independent examples of it."""
    make = lambda task, key, count: data.image_hierarchy(
        task, key, count, num_superclasses=spec.superclasses, classes_per_superclass=spec.classes_per_superclass,
        size=spec.size, difficulty=spec.difficulty,
    )  # fmt: skip
    return independent(jax.jit(make, static_argnums=2), spec)


SOURCES: dict[str, Callable[[ConfigDict, bool], Splits]] = {
    "digits": _digits,
    "fashion_mnist": _files,
    "hierarchy": _hierarchy,
    "npz": _files,
}

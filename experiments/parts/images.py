"""Image sets by the name of their source, cut into training, validation and test images."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.parts.checks import choose, is_own
from experiments.parts.splits import independent, part_rows
from experiments.parts.streams import STREAMS, streamed_images
from jaxlab import data
from jaxlab.core import InputError
from jaxlab.training import PerSeed

Splits = dict[str, data.Images]


class SeededImages(NamedTuple):
    """An image task of which every seed has its own draw.

    Attributes:
      splits: "train", "val" and "test", each `PerSeed` of `data.Images`, or `data.Images` that all seeds share; "train"
        may be `Streamed`.
      rows: training images of a seed.
      num_classes: C.
      example: `[1, H, W, C]`, what an image looks like.
      resplit: `(test rows, training rows)` where the splits are of one finite set, see `Experiment.resplit`.
    """

    splits: dict[str, Any]
    rows: int
    num_classes: int
    example: jax.Array
    resplit: tuple[int, int] | None = None


def seeded_images(spec: ConfigDict, download: bool, *, batch_size: int | None = None) -> SeededImages:
    """The images that `spec` names, `train`, `val` and `test` of them, drawn anew for every seed.

    Of a finite set a fixed quarter is for searches (`part` "tuning"), the rest for comparisons ("rest"). A source of
    the user's, `module:function`, is called as those in FILES are. With a `batch_size` the training images may stay in
    their files (see `parts.streams`); all seeds then share one split.
    """
    streams = {} if batch_size is None else dict.fromkeys(STREAMS, functools.partial(_streamed, batch_size))
    make = _seeded_files if is_own(spec.source) else choose("data.source", spec.source, SEEDED | streams)
    return make(spec, download)


def load_files(spec: ConfigDict, download: bool, *, tested: bool = False) -> Splits:
    """The images of a source that has files: "train" and, unless it has to be cut from it, "test".

    With `tested` nothing is cut, so it has to be there. A source of the user's is called as those in FILES are.
    """
    files = choose("data.source", spec.source, FILES)(spec, download)
    if tested and "test" not in files:
        raise InputError(
            f"data.source {spec.source} gives no test images: this comparison needs a split of them"
        )
    return files


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
    "folder": lambda spec, download: data.images_from_folder(spec.path, **_size(spec)),
    "csv": lambda spec, download: data.images_from_csv(spec.path, **_size(spec)),
    "datasets": lambda spec, download: data.images_from_datasets(spec.path, **_size(spec)),
}


def _size(spec: ConfigDict) -> dict[str, Any]:
    """What pictures are brought to; 0 leaves them as they are."""
    side, channels = spec.get("size", 0), spec.get("channels", 0)
    return {"size": (side, side) if side else None, "channels": channels or None}


def _seeded_digits(spec: ConfigDict, download: bool) -> SeededImages:
    return seeded_digits(spec, ("train", "val", "test"))._replace(resplit=(spec.test, spec.train))


def seeded_digits(spec: ConfigDict, names: tuple[str, ...]) -> SeededImages:
    """Digits in disjoint splits of these names, `spec[name]` of each."""
    return _resplit(_part(data.digits(), spec.part), spec, names)


def _seeded_files(spec: ConfigDict, download: bool) -> SeededImages:
    """A test file is the test split of every seed, and not drawn from; without one every seed has its own."""
    files = {
        name: data.Images(pooled(file.image, spec.get("pool", 1)), file.label)
        for name, file in load_files(spec, download).items()
    }
    whole = _part(files["train"], spec.part)
    if "test" not in files:
        return _resplit(whole, spec, ("train", "val", "test"))._replace(resplit=(spec.test, spec.train))
    drawn = _resplit(whole, spec, ("train", "val"))
    return drawn._replace(splits=drawn.splits | {"test": files["test"]})


def _streamed(batch_size: int, spec: ConfigDict, download: bool) -> SeededImages:
    found = streamed_images(spec, batch_size)
    splits = {"train": found.train, "val": found.val, "test": found.test}
    return SeededImages(splits, spec.train, found.num_classes, jnp.zeros_like(found.val.image[:1]))


def _part(images: data.Images, part: str) -> data.Images:
    return data.take(images, part_rows(images.label, part))


def _resplit(images: data.Images, spec: ConfigDict, names: tuple[str, ...]) -> SeededImages:
    """Disjoint rows of one set for these splits, in an order that the seed's key draws."""
    count = len(images.label)
    sizes = [spec[name] for name in names]
    if min(sizes) < 0 or spec.train < 1 or sum(sizes) > count:
        wanted = ", ".join(f"data.{name} = {size}" for name, size in zip(names, sizes))
        raise InputError(f"{wanted}: {spec.part!r} has {count} images")

    def make(begin: int, size: int) -> Callable[[jax.Array], data.Images]:
        return lambda key: data.take(images, jax.random.permutation(key, count)[begin : begin + size])

    begins = [sum(sizes[:n]) for n in range(len(sizes))]
    splits = {name: PerSeed(make(*own)) for name, *own in zip(names, begins, sizes)}
    return SeededImages(splits, spec.train, int(images.label.max()) + 1, jnp.zeros_like(images.image[:1]))


def _seeded_hierarchy(spec: ConfigDict, download: bool) -> SeededImages:
    """A task is a draw of class prototypes."""
    make = lambda task, key, count: data.image_hierarchy(
        task, key, count, num_superclasses=spec.superclasses, classes_per_superclass=spec.classes_per_superclass,
        size=spec.size, difficulty=spec.difficulty,
    )  # fmt: skip
    count, example = spec.superclasses * spec.classes_per_superclass, jnp.zeros((1, spec.size, spec.size, 1))
    return SeededImages(independent(make, spec), spec.train, count, example)


SEEDED: dict[str, Callable[[ConfigDict, bool], SeededImages]] = {
    "digits": _seeded_digits,
    "fashion_mnist": _seeded_files,
    "hierarchy": _seeded_hierarchy,
    **dict.fromkeys(("npz", "folder", "csv", "datasets"), _seeded_files),
}

"""Images without and with labels, of which every seed has its own few, for the drivers of this family."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.parts.checks import check_between, check_name, choose, is_own
from experiments.parts.images import Splits, load_files, pooled
from experiments.parts.streams import STREAMS, streamed_images
from jaxlab import data
from jaxlab.core import InputError
from jaxlab.core.check import check_least
from jaxlab.training import PerSeed

_POOL = 4  # times the labels of a class


class Sets(NamedTuple):
    """A task.

    Attributes:
      splits: "train" is `data.Images`, or `data.FactorImages` with one of the factors for a label, or `Streamed`;
        "val" and "test" are dicts of `train`, the same images or some of them, `few`, the rows of those that have a
        label, and `score`, the images to be judged by.
      num_classes: C.
      shape: `(H, W, C)` of an image.
    """

    splits: dict[str, Any]
    num_classes: int
    shape: tuple[int, ...]


def load_sets(
    spec: ConfigDict, labels_per_class: int, download: bool, *, batch_sizes: Sequence[int] = ()
) -> Sets:
    """The task that `spec` names; `batch_sizes` are those of the arms, of which images in files take one."""
    streams = dict.fromkeys(STREAMS, functools.partial(_streamed, batch_sizes))
    make = _as_they_are if is_own(spec.source) else choose("data.source", spec.source, SOURCES | streams)
    return make(spec, labels_per_class, download)


def _factors(spec: ConfigDict, labels_per_class: int, download: bool) -> Sets:
    """Procedural images: every seed has a draw of all splits."""
    options = spec.options.to_dict()
    classes = {"shape": len(options["shapes"]), "texture": len(options["textures"])}
    classes["label"] = classes["shape"] * classes["texture"]
    check_name("data.label", spec.label, classes)
    for name in ("train", "val", "test"):
        check_least(f"data.{name}", spec[name], 1)

    def make(number: int, count: int) -> Callable[[jax.Array], data.FactorImages]:
        def images(key: jax.Array) -> data.FactorImages:
            made = data.factor_images(jax.random.fold_in(key, number), count, **options)
            return made._replace(label=getattr(made, spec.label))

        return images

    train, count = make(0, spec.train), classes[spec.label]
    _check_few(labels_per_class, spec.train // classes["label"] * (classes["label"] // count))
    few = lambda key: _few(key, train(key).label, count, labels_per_class)
    splits = {"train": PerSeed(train)}
    for number, name in enumerate(("val", "test"), start=1):
        score = PerSeed(make(number, spec[name]))
        splits[name] = {"train": PerSeed(train), "few": PerSeed(few), "score": score}
    check_least("data.options.size", options["size"], 1)
    return Sets(splits, count, (options["size"], options["size"], 1))


def _framed(spec: ConfigDict, labels_per_class: int, download: bool) -> Sets:
    """At half the pixels a side, in a black frame of one: an even number of pixels, twice over."""
    frame = ((0, 0), (1, 1), (1, 1), (0, 0))
    small = lambda images: data.Images(jnp.pad(pooled(images.image, 2), frame), images.label)
    files = load_files(spec, download, tested=True)
    return _of_files({name: small(file) for name, file in files.items()}, spec, labels_per_class)


def _as_they_are(spec: ConfigDict, labels_per_class: int, download: bool) -> Sets:
    return _of_files(load_files(spec, download, tested=True), spec, labels_per_class)


def _of_files(files: Splits, spec: ConfigDict, labels_per_class: int) -> Sets:
    """A quarter of the training file is for searches (`part` "tuning"), the rest for comparisons ("rest")."""
    check_name("data.part", spec.part, ("tuning", "rest"))
    file, test = files["train"], files["test"]
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


def _streamed(batch_sizes: Sequence[int], spec: ConfigDict, labels_per_class: int, download: bool) -> Sets:
    """Few labels are drawn from the first images of each class, which are in memory."""
    if len(set(batch_sizes)) != 1:
        found = ", ".join(map(str, sorted(set(batch_sizes))))
        raise InputError(
            f"arms.*.batch_size has {found}: images of source {spec.source} are read once for all arms"
        )
    found = streamed_images(spec, batch_sizes[0])
    _check_few(labels_per_class, int(np.bincount(found.label, minlength=found.num_classes).min()))
    first = [
        np.flatnonzero(found.label == own)[: _POOL * labels_per_class] for own in range(found.num_classes)
    ]
    known = found.read(np.concatenate(first))
    few = PerSeed(lambda key: _few(key, known.label, found.num_classes, labels_per_class))
    judged = lambda score: {"train": known, "few": few, "score": score}
    splits = {"train": found.train, "val": judged(found.val), "test": judged(found.test)}
    return Sets(splits, found.num_classes, found.val.image.shape[1:])


SOURCES: dict[str, Callable[[ConfigDict, int, bool], Sets]] = {
    "factors": _factors,
    "fashion_mnist": _framed,
    **dict.fromkeys(("npz", "folder", "csv", "datasets"), _as_they_are),
}


def _few(key: jax.Array, label: jax.Array, num_classes: int, per_class: int) -> jax.Array:
    """Rows of equally many examples of every class."""
    chosen = data.few_labels(jax.random.fold_in(key, 3), label, num_classes=num_classes, per_class=per_class)
    return jnp.flatnonzero(chosen, size=num_classes * per_class)


def _check_few(labels_per_class: int, rarest: int) -> None:
    check_between("labels_per_class", labels_per_class, rarest, "images of the rarest class")

"""Real images of which every seed has its own few labels; the test images are always the same."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.parts.checks import check_between, choose
from experiments.parts.images import load_files, pooled
from jaxlab import data
from jaxlab.training import PerSeed

Sets = tuple[data.Images, data.Images]


def few_label_splits(spec: ConfigDict, labels_per_class: int, download: bool) -> tuple[dict[str, Any], int]:
    """Splits by name, each the images with their labels and the `row` of those that are in it, and their classes."""
    pool, test = choose("data.source", spec.source, SOURCES)(spec, download)
    classes = int(pool.label.max()) + 1
    known, rarest = classes * labels_per_class, int(jnp.bincount(pool.label, length=classes).min())
    check_between("labels_per_class", labels_per_class, rarest, "images of the rarest class")
    check_between("data.val", spec.val, len(pool.label) - known, "other images")
    rows = functools.partial(_rows, pool.label, classes, labels_per_class)
    splits = {
        "train": _split(pool, PerSeed(lambda key: rows(key)[:known])),
        "val": _split(pool, PerSeed(lambda key: rows(key)[known:][: spec.val])),
        "test": _split(test, jnp.arange(len(test.label))),
    }
    return splits, classes


def _digits(spec: ConfigDict, download: bool) -> Sets:
    """A quarter of the digits is for searches, the others are labelled or tested, always the same ones."""
    images = data.digits()
    parts = data.split(
        len(images.label), seed=spec.split_seed, fractions=(0.25, 0.4, 0.35), labels=images.label
    )
    tuning, rest, test = (data.take(images, rows) for rows in parts)
    return choose("data.part", spec.part, {"tuning": tuning, "rest": rest}), test


def _files(spec: ConfigDict, download: bool) -> Sets:
    """A quarter of the training file is for searches; the test file is kept."""
    files = {name: data.Images(pooled(s.image, 2), s.label) for name, s in load_files(spec, download).items()}
    train = files["train"]
    parts = data.split(len(train.label), seed=spec.split_seed, fractions=(0.25, 0.75), labels=train.label)
    tuning, rest = (data.take(train, rows) for rows in parts)
    return choose("data.part", spec.part, {"tuning": tuning, "rest": rest}), files["test"]


SOURCES: dict[str, Callable[[ConfigDict, bool], Sets]] = {"digits": _digits, "fashion_mnist": _files}


def _rows(label: jax.Array, classes: int, per_class: int, key: jax.Array) -> jax.Array:
    """All rows in random order, those that have a label first."""
    chosen_key, order_key = jax.random.split(key)
    chosen = data.few_labels(chosen_key, label, num_classes=classes, per_class=per_class)
    return jnp.argsort(jax.random.uniform(order_key, label.shape) - chosen)


def _split(images: data.Images, row: Any) -> dict[str, Any]:
    return {"image": images.image, "label": images.label, "row": row}

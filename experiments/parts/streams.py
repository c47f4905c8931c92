"""Image sets that memory does not hold: training images stay in their files, those to be judged by are read once.

A set is a folder with a training and a test file. One fixed cut gives all seeds the same training and validation
images; what differs by seed is their order.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.parts.checks import choose
from experiments.parts.splits import part_rows
from jaxlab import data
from jaxlab.core import InputError, pass_rows
from jaxlab.training import Streamed

FIELDS = ("image", "label")


class StreamedImages(NamedTuple):
    """A set of images whose training split is read while it trains.

    Attributes:
      train: the rows of passes over the training images, each pass in an order of its own.
      label: `[N]` of the training images.
      read: from places among the training images, those images in memory.
      val, test: in memory.
      num_classes: C.
    """

    train: Streamed
    label: np.ndarray
    read: Callable[[np.ndarray], data.Images]
    val: data.Images
    test: data.Images
    num_classes: int


# How some fields of a split are opened: `(folder, split, fields) -> source`.
STREAMS: dict[str, Callable[[pathlib.Path, str, tuple[str, ...]], Any]] = {
    "npy": lambda folder, split, fields: data.NpyRows(
        {name: folder / f"{split}_{name}.npy" for name in fields}
    ),
    "arrow": lambda folder, split, fields: data.ArrowRows(folder / split, columns=fields),
}


def streamed_images(spec: ConfigDict, batch_size: int) -> StreamedImages:
    """The images that `spec` names: `train` of the training file to learn from, `val` others, and the test file.

    Of the training file a fixed quarter is for searches (`part` "tuning"), the rest for comparisons ("rest").
    """
    if spec.get("pool", 1) != 1:
        raise InputError(f"data.pool is {spec.pool}: images of source {spec.source} are read as they are")
    if not spec.path:
        raise InputError(f"data.path is empty: source {spec.source} needs a folder")
    folder, opened = pathlib.Path(spec.path), choose("data.source", spec.source, STREAMS)
    source, held = (opened(folder, split, FIELDS) for split in ("train", "test"))
    labels = opened(folder, "train", ("label",))
    label = labels.stacked(np.arange(len(labels)))["label"]
    part = part_rows(label, spec.part)
    if min(spec.train, spec.val) < 1 or spec.train + spec.val > len(part):
        raise InputError(
            f"data.train and data.val are {spec.train} and {spec.val}: {spec.part!r} has {len(part)} images"
        )
    rows, others = part[: spec.train], part[spec.train :][: spec.val]
    val, test = _in_memory(source, others), _in_memory(held, np.arange(len(held)))
    order = lambda key, step: jnp.asarray(rows)[pass_rows(key, step, batch_size=batch_size, size=len(rows))]
    return StreamedImages(
        train=Streamed(source, order),
        label=label[rows],
        read=lambda places: _in_memory(source, rows[places]),
        val=val,
        test=test,
        num_classes=int(max(label.max(), test.label.max())) + 1,
    )


def draw_images(train: Any, key: jax.Array, *, batch_size: int) -> dict[str, jax.Array]:
    """A batch of images in memory; of images in files the one that was read, as float32 `[B, H, W, C]` in [0, 1]."""
    if not isinstance(train, Mapping):
        return data.draw(train, key, batch_size=batch_size)
    image, scale = train["image"], 255 if jnp.issubdtype(train["image"].dtype, jnp.integer) else 1
    image = image.astype(jnp.float32) / scale
    label = train["label"].astype(jnp.int32)
    return {**train, "image": image if image.ndim == 4 else image[..., None], "label": label}


def _in_memory(source: Any, rows: np.ndarray) -> data.Images:
    found = source.stacked(rows)
    return data.images_from_arrays(train=(found["image"], found["label"]))["train"]

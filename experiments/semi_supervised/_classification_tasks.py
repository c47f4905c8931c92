"""What is classified from few labels, and how it is looked at: images."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.parts.checks import check_between
from experiments.parts.images import seeded_images
from experiments.parts.nets import make_net
from jaxlab import data
from jaxlab.core import InputError
from jaxlab.training import PerSeed


class Task(NamedTuple):
    """A data set with its net and its views.

    Attributes:
      splits: "val" and "test" of `input` and `label`; "train", see `few_of_all`.
      rows: training examples of a seed.
      num_classes: K.
      init: `key -> params`.
      apply: `(params, view, key) -> [B, K]` logits; without a key (None) nothing is dropped.
      passes: `(params, view, key, count) -> [count, B, K]` logits, stochastic if the net is.
      view: `(inputs, key, strong, perturb) -> view`, a random look at inputs `[B, ...]`.
      plain: `inputs -> list of views`, those that a prediction is averaged over.
      mix: `(view, partner, key, ratio) -> view`, or None where views cannot be mixed.
      resplit: see `Experiment.resplit`.
    """

    splits: dict[str, Any]
    rows: int
    num_classes: int
    init: Callable
    apply: Callable
    passes: Callable
    view: Callable
    plain: Callable
    mix: Callable | None
    resplit: tuple[int, int] | None = None


def few_of_all(make: Callable[[jax.Array], Any], per_class: int, num_classes: int, rows: int) -> PerSeed:
    """Of every seed all training examples, "unlabelled", and the few of them that are "labelled".

    `make` is `key -> examples` with a `label`, of which there are so many `rows`.
    """
    check_between("labels_per_class", per_class, rows // num_classes, "examples of a class")

    def train(key: jax.Array) -> dict[str, Any]:
        examples, own = make(key), jax.random.fold_in(key, 4)
        chosen = data.few_labels(own, examples["label"], num_classes=num_classes, per_class=per_class)
        few = jnp.flatnonzero(chosen, size=num_classes * per_class)
        return {"labelled": data.take(examples, few), "unlabelled": examples}

    return PerSeed(train)


def image_task(config: ConfigDict, download: bool) -> Task:
    """Real images."""
    images = seeded_images(config.data, download)
    net = make_net(config.net, images.num_classes)
    fields = lambda part: {"input": part.image, "label": part.label}
    made = {
        name: PerSeed(lambda key, make=split.make: fields(make(key)))
        if isinstance(split, PerSeed)
        else fields(split)
        for name, split in images.splits.items()
    }
    train = few_of_all(made["train"].make, config.labels_per_class, images.num_classes, images.rows)

    def view(images: jax.Array, key: jax.Array, strong: bool, perturb: str) -> jax.Array:
        return moved(images, key, config.views.strong if strong else config.views.weak)

    def passes(params: Any, images: jax.Array, key: jax.Array, count: int) -> jax.Array:
        if count != 1:
            raise InputError(f"passes is {count}: the net of images is not stochastic, it must be 1")
        return net.apply(params, images)[None]

    return Task(
        splits=made | {"train": train},
        rows=images.rows,
        num_classes=images.num_classes,
        init=lambda key: net.init(key, images.example),
        apply=lambda params, images, key: net.apply(params, images),
        passes=passes,
        view=view,
        plain=lambda images: [images],
        mix=None,
        resplit=images.resplit,
    )


def moved(images: jax.Array, key: jax.Array, spec: ConfigDict) -> jax.Array:
    """One random view, changed as far as the config says."""
    return data.random_views(images, key, count=1, **spec)[0]

"""What is classified from few labels, and how it is looked at: images."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from experiments.parts.images import count_classes, load_images, pooled
from experiments.parts.nets import make_net
from jaxlab import data
from jaxlab.core import InputError


class Task(NamedTuple):
    """A data set with its net and its views.

    Attributes:
      splits: by name, each a dict of `input` and `label`.
      num_classes: K.
      init: `key -> params`.
      apply: `(params, view, key) -> [B, K]` logits; without a key (None) nothing is dropped.
      passes: `(params, view, key, count) -> [count, B, K]` logits, stochastic if the net is.
      view: `(inputs, key, strong, perturb) -> view`, a random look at inputs `[B, ...]`.
      plain: `inputs -> list of views`, those that a prediction is averaged over.
      mix: `(view, partner, key, ratio) -> view`, or None where views cannot be mixed.
    """

    splits: dict[str, dict[str, jax.Array]]
    num_classes: int
    init: Callable
    apply: Callable
    passes: Callable
    view: Callable
    plain: Callable
    mix: Callable | None


def image_task(config: ConfigDict, download: bool) -> Task:
    """Real images."""
    images = load_images(config.data, download)
    net = make_net(config.net, count_classes(images))
    splits = {
        name: {"input": pooled(split.image, config.data.pool), "label": split.label}
        for name, split in images.items()
    }

    def view(images: jax.Array, key: jax.Array, strong: bool, perturb: str) -> jax.Array:
        return moved(images, key, config.views.strong if strong else config.views.weak)

    def passes(params: Any, images: jax.Array, key: jax.Array, count: int) -> jax.Array:
        if count != 1:
            raise InputError(f"passes is {count}: the net of images is not stochastic, it must be 1")
        return net.apply(params, images)[None]

    return Task(
        splits=splits,
        num_classes=count_classes(images),
        init=lambda key: net.init(key, splits["train"]["input"][:1]),
        apply=lambda params, images, key: net.apply(params, images),
        passes=passes,
        view=view,
        plain=lambda images: [images],
        mix=None,
    )


def moved(images: jax.Array, key: jax.Array, spec: ConfigDict) -> jax.Array:
    """One random view, changed as far as the config says."""
    return data.random_views(images, key, count=1, **spec)[0]

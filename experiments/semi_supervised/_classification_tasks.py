"""What is classified from few labels, and how it is looked at: images, and clips at several temporal levels."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxlab import data, nets
from jaxlab.core import InputError
from jaxlab.semi_supervised import (
    dual_level_indices,
    moderate_perturb,
    shuffle_levels,
    take_levels,
    tube_mask,
    tube_mix,
)

PERTURBATIONS = ("none", "moderate", "reverse", "shuffle")


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


NETS: dict[str, Callable[[ConfigDict, int], nn.Module]] = {
    "mlp": lambda spec, classes: nets.Mlp(features=tuple(spec.features), num_classes=classes),
    "convnet": lambda spec, classes: nets.ConvNet(channels=tuple(spec.features), num_classes=classes),
}


def image_task(config: ConfigDict) -> Task:
    """Real images."""
    spec = config.data
    splits = {
        name: {"input": _pooled(s.image, spec.pool), "label": s.label} for name, s in _images(spec).items()
    }
    classes = int(splits["train"]["label"].max()) + 1
    if config.net.kind not in NETS:
        raise InputError(f"net.kind is {config.net.kind!r}: it must be one of {', '.join(NETS)}")
    net = NETS[config.net.kind](config.net, classes)

    def view(images: jax.Array, key: jax.Array, strong: bool, perturb: str) -> jax.Array:
        return _moved(images, key, config.views.strong if strong else config.views.weak)

    def passes(params: Any, images: jax.Array, key: jax.Array, count: int) -> jax.Array:
        if count != 1:
            raise InputError(f"passes is {count}: the net of images is not stochastic, it must be 1")
        return net.apply(params, images)[None]

    return Task(
        splits=splits,
        num_classes=classes,
        init=lambda key: net.init(key, splits["train"]["input"][:1]),
        apply=lambda params, images, key: net.apply(params, images),
        passes=passes,
        view=view,
        plain=lambda images: [images],
        mix=None,
    )


def _images(spec: ConfigDict) -> dict[str, data.Images]:
    if spec.source == "digits":
        return data.split_images(data.digits(), seed=spec.split_seed, fractions=tuple(spec.fractions))
    if spec.source == "fashion_mnist":
        train = data.fashion_mnist(spec.path or None, split="train")
        parts = data.split_images(train, seed=spec.split_seed, fractions=tuple(spec.fractions))
        test = data.fashion_mnist(spec.path or None, split="test")
        return {"train": parts["train"], "val": parts["val"], "test": test}
    raise InputError(f"data.source is {spec.source!r}: it must be digits, fashion_mnist or clips")


def _pooled(images: jax.Array, size: int) -> jax.Array:
    """Means of `size` x `size` pixels: smaller images are cheaper."""
    batch, height, width, channels = images.shape
    if size < 1 or height % size or width % size:
        raise InputError(f"data.pool is {size}: it must divide the {height} x {width} pixels")
    return images.reshape(batch, height // size, size, width // size, size, channels).mean(axis=(2, 4))


def _moved(images: jax.Array, key: jax.Array, spec: ConfigDict) -> jax.Array:
    """One random view, changed as far as the config says."""
    return data.random_views(images, key, count=1, **spec)[0]


class LevelNet(nn.Module):
    """Frames one by one, then each level, then every level and every pair of levels, then all of them."""

    num_classes: int
    frame: tuple[int, ...]
    level: int
    fused: int

    def setup(self) -> None:
        # A uniform draw is a much smaller program than a truncated normal one, and so is one array for several layers.
        dense = functools.partial(nn.Dense, kernel_init=nn.initializers.he_uniform())
        stacked = nn.initializers.variance_scaling(2.0, "fan_in", "uniform", batch_axis=0)
        self.frames = [dense(width) for width in self.frame]
        self.by_level = [dense(self.level) for _ in range(3)]
        self.single = self.param("single", stacked, (3, self.level, self.fused))
        self.pair = self.param("pair", stacked, (3, 2 * self.level, self.fused))
        self.scale = self.param("scale", nn.initializers.ones, (6, self.fused))
        self.bias = self.param("bias", nn.initializers.zeros, (6, self.fused))
        self.norm = nn.LayerNorm(use_scale=False, use_bias=False)
        self.all, self.last, self.classes = dense(self.fused), nn.LayerNorm(), dense(self.num_classes)

    def __call__(self, levels: tuple[jax.Array, ...]) -> jax.Array:
        return self.classify(self.fuse(levels), jnp.ones(()))

    def fuse(self, levels: tuple[jax.Array, ...]) -> jax.Array:
        """`[B, fused]` of levels `[B, n, H, W, C]`."""
        counts = [level.shape[1] for level in levels]
        x = jnp.concatenate(levels, axis=1)
        x = x.reshape(*x.shape[:2], -1)
        for layer in self.frames:
            x = nn.relu(layer(x))
        parts = jnp.split(x, np.cumsum(counts)[:-1], axis=1)
        e = jnp.stack(
            [nn.gelu(f(part.reshape(len(part), -1))) for f, part in zip(self.by_level, parts)], axis=1
        )
        pairs = jnp.concatenate([e[:, (0, 0, 1)], e[:, (1, 2, 2)]], axis=-1)
        both = jnp.concatenate(
            [jnp.einsum("bld,ldf->blf", pairs, self.pair), jnp.einsum("bld,ldf->blf", e, self.single)], axis=1
        )
        both = self.norm(nn.gelu(both)) * self.scale + self.bias
        return self.last(nn.gelu(self.all(both.reshape(len(both), -1))))

    def classify(self, features: jax.Array, keep: jax.Array) -> jax.Array:
        """Logits of features of which some are dropped."""
        return self.classes(features * keep)


def clip_task(config: ConfigDict) -> Task:
    """Procedural action clips, and a small net that sees a few frames at three levels."""
    splits = _clips(config.data)
    levels, options = tuple(config.net.levels), config.net
    classes = len(data.swing_orders(config.data.num_swings))
    net = LevelNet(classes, tuple(options.frame), options.level, options.fused)
    rate = options.dropout

    # The same frames for every clip, chosen beforehand: within the program it would fold them at length.
    fixed = jax.random.split(jax.random.key(config.data.split_seed), options.views)
    fixed = [
        jax.tree.map(np.asarray, dual_level_indices(key, config.data.num_frames, levels=levels))
        for key in fixed
    ]

    def sampled(clips: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
        length = jnp.full((len(clips),), clips.shape[1])
        return take_levels(clips, dual_level_indices(key, length, levels=levels))

    def view(clips: jax.Array, key: jax.Array, strong: bool, perturb: str) -> tuple[jax.Array, ...]:
        frames_key, order_key, look_key = jax.random.split(key, 3)
        looked = _same_for_all_frames(
            sampled(clips, frames_key), look_key, config.views.strong if strong else config.views.weak
        )
        return _perturbed(looked, order_key, perturb)

    def keep(key: jax.Array, features: jax.Array) -> jax.Array:
        return jax.random.bernoulli(key, 1 - rate, features.shape) / (1 - rate)

    def apply(params: Any, view: Any, key: jax.Array | None) -> jax.Array:
        z = net.apply(params, view, method="fuse")
        kept = jnp.ones(()) if key is None else keep(key, z)
        return net.apply(params, z, kept, method="classify")

    def passes(params: Any, view: Any, key: jax.Array, count: int) -> jax.Array:
        if count == 1:
            return apply(params, view, None)[None]
        z = net.apply(params, view, method="fuse")
        drop = lambda key: net.apply(params, z, keep(key, z), method="classify")
        return jax.vmap(drop)(jax.random.split(key, count))

    return Task(
        splits=splits,
        num_classes=classes,
        init=lambda key: net.init(key, tuple(splits["train"]["input"][:1, frames] for frames in fixed[0])),
        apply=apply,
        passes=passes,
        view=view,
        plain=lambda clips: [tuple(clips[:, frames] for frames in chosen) for chosen in fixed],
        mix=lambda view, partner, key, ratio: _mixed(view, partner, key, ratio, options.patch),
    )


def _clips(spec: ConfigDict) -> dict[str, dict[str, jax.Array]]:
    make = jax.jit(
        lambda key, count: data.action_clips(
            key,
            count,
            num_frames=spec.num_frames,
            size=spec.size,
            num_swings=spec.num_swings,
            difficulty=spec.difficulty,
            burst=tuple(spec.burst),
            imbalance=spec.imbalance,
        ),
        static_argnums=1,
    )
    # One size for all splits is one program instead of three.
    most, found = max(spec.train, spec.val, spec.test), {}
    for number, name in enumerate(("train", "val", "test")):
        clips = make(jax.random.fold_in(jax.random.key(spec.split_seed), number), most)
        found[name] = {"input": clips.video[: spec[name]], "label": clips.label[: spec[name]]}
    return found


def _same_for_all_frames(
    levels: tuple[jax.Array, ...], key: jax.Array, spec: ConfigDict
) -> tuple[jax.Array, ...]:
    """One random look for all frames of a clip: time becomes channels for a moment."""
    counts = [level.shape[1] for level in levels]
    frames = jnp.moveaxis(jnp.concatenate(levels, axis=1), 1, 3)
    moved = _moved(frames.reshape(*frames.shape[:3], -1), key, spec).reshape(frames.shape)
    return tuple(jnp.split(jnp.moveaxis(moved, 3, 1), np.cumsum(counts)[:-1], axis=1))


def _perturbed(levels: tuple[jax.Array, ...], key: jax.Array, perturb: str) -> tuple[jax.Array, ...]:
    if perturb == "moderate":
        return moderate_perturb(levels)
    if perturb == "reverse":
        return moderate_perturb(levels, reverse=(True,) * len(levels))
    return shuffle_levels(key, levels) if perturb == "shuffle" else levels


def _mixed(
    levels: tuple[jax.Array, ...], partner: jax.Array, key: jax.Array, ratio: jax.Array, patch: int
) -> tuple[jax.Array, ...]:
    """Tubes of square patches, one pattern for each level."""
    height, width = levels[0].shape[2:4]
    if height % patch or width % patch:
        raise InputError(f"net.patch is {patch}: it must divide the {height} x {width} pixels")
    rows, columns = height // patch, width // patch
    tubes = jax.vmap(lambda key: tube_mask(key, rows * columns, ratio))(jax.random.split(key, len(levels)))
    mixed = []
    for level, tube in zip(levels, tubes):
        batch, frames, *_, channels = level.shape
        patches = level.reshape(batch, frames, rows, patch, columns, patch, channels).swapaxes(3, 4)
        tokens = patches.reshape(batch, frames, rows * columns, patch, patch, channels)
        tokens = tube_mix(tokens, partner, tube)
        mixed.append(tokens.reshape(patches.shape).swapaxes(3, 4).reshape(level.shape))
    return tuple(mixed)


TASKS: dict[str, Callable[[ConfigDict], Task]] = {
    "digits": image_task,
    "fashion_mnist": image_task,
    "clips": clip_task,
}
